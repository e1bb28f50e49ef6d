//! `ese key`: API keys. The secret is shown once, alone on the last line, so that a script can take it.

use std::io::Write;

use anyhow::{Context, Result, bail};
use secrecy::ExposeSecret;

use super::{actor, open};
use crate::config::Config;
use crate::store::StoreError;
use crate::store::api_keys::{self, Scope};
use crate::store::messages::rfc3339;

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
    /// List the keys: what each may do, until when, and when it was last used.
    List,
    /// Refuse a key from now on.
    Revoke {
        /// Its number, as `ese key list` shows it.
        id: i64,
    },
}

pub(super) async fn run(config: Config, action: Action) -> Result<()> {
    match action {
        Action::Add { name, scope, expires_in } => add(&config, name, scope, expires_in).await,
        Action::List => list(&config).await,
        Action::Revoke { id } => revoke(&config, id).await,
    }
}

async fn list(config: &Config) -> Result<()> {
    let store = open(config)?;
    let now = store.clock().now();
    let mut out = std::io::stdout().lock();
    for key in store.read(api_keys::list).await? {
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let state = match (key.revoked_at, key.expires_at) {
            (Some(at), _) => format!("revoked {}", rfc3339(at)),
            (None, Some(at)) if at <= now => format!("expired {}", rfc3339(at)),
            (None, Some(at)) => format!("until {}", rfc3339(at)),
            (None, None) => "in force".to_owned(),
        };
        let used =
            key.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("used {}", rfc3339(at)));
        writeln!(out, "{:>4}  {}  {}  {state}, {used}", key.id, key.name, scopes.join(","))?;
    }
    Ok(())
}

async fn revoke(config: &Config, id: i64) -> Result<()> {
    let store = open(config)?;
    let actor = actor();
    if !store.write::<_, _, StoreError>(move |tx| api_keys::revoke(tx, id, &actor)).await? {
        bail!("there is no key {id} in force; `ese key list` shows them");
    }
    writeln!(std::io::stdout(), "Key {id} is refused from now on.")?;
    Ok(())
}

async fn add(config: &Config, name: String, scope: Vec<String>, expires_in: Option<u32>) -> Result<()> {
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
    let store = open(config)?;
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
