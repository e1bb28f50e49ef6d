//! `ese key`: API keys. The secret is shown once, alone on the last line, so that a script can take it.

use std::io::Write;

use anyhow::{Context, Result, bail};
use secrecy::ExposeSecret;

use super::{actor, open};
use crate::config::Config;
use crate::store::StoreError;
use crate::store::api_keys::{self, Scope};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Make an API key and print its secret, once, on the last line.
    Add {
        /// What it is for, to tell keys apart.
        name: String,
        /// What it may do: read, write, send, admin; several with commas.
        #[arg(long, value_delimiter = ',', required = true, value_parser = ["read", "write", "send", "admin"])]
        scope: Vec<String>,
        /// Refuse it after so many days.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3_650))]
        expires_in: Option<u32>,
    },
}

pub(super) async fn run(config: Config, action: Action) -> Result<()> {
    let Action::Add { name, scope, expires_in } = action;
    if name.trim().is_empty() || name.chars().count() > 100 {
        bail!("a name has 1 to 100 characters");
    }
    let mut scopes: Vec<Scope> = Vec::new();
    for word in &scope {
        let parsed = Scope::parse(word).context("clap let only known scopes through")?;
        if !scopes.contains(&parsed) {
            scopes.push(parsed);
        }
    }
    let store = open(&config)?;
    let expires_at = expires_in.map(|days| store.clock().now() + i64::from(days) * 86_400_000);
    let (label, actor) = (name.clone(), actor());
    let (id, secret) = store
        .write::<_, _, StoreError>(move |tx| api_keys::insert(tx, &label, &scopes, expires_at, &actor))
        .await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "Key {id} ({name}) may {}. Its secret is shown this once:", scope.join(", "))?;
    writeln!(out, "{}", secret.expose_secret())?;
    Ok(())
}
