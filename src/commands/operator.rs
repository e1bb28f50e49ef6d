//! `ese operator`: the people who may log in.

use std::io::{IsTerminal, Read, Write};

use anyhow::{Context, Result, bail};
use secrecy::ExposeSecret;

use super::{actor, open};
use crate::config::Config;
use crate::domain::operator::{Role, read_email};
use crate::domain::password::Password;
use crate::store::operators::{self, NewOperator};
use crate::store::{Store, StoreError, one_time_links, second_factors};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Add an operator; asks for the password.
    Add {
        /// The address to log in with.
        email: String,
        /// What they may do.
        #[arg(long, value_parser = ["admin", "operator", "viewer"], default_value = "admin")]
        role: String,
        /// Read the password from standard input instead of asking.
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the operators.
    List,
    /// Print a link with which an operator sets a new password, once and within 24 hours.
    Link {
        /// Whose.
        email: String,
        /// Take the second factor away too: the phone with it is lost.
        #[arg(long)]
        without_second_factor: bool,
    },
}

pub(super) async fn run(config: Config, action: Action) -> Result<()> {
    match action {
        Action::Add { email, role, password_stdin } => add(&config, &email, &role, password_stdin).await,
        Action::List => list(&open(&config)?),
        Action::Link { email, without_second_factor } => link(&config, email, without_second_factor).await,
    }
}

async fn add(config: &Config, email: &str, role: &str, password_stdin: bool) -> Result<()> {
    let email = read_email(email).map_err(|why| anyhow::anyhow!("{email:?}: {why}"))?;
    let role = Role::parse(role).context("there is no such role")?;
    let typed = if password_stdin { read_password()? } else { ask_password(&email)? };
    let hash = Password::choose(&typed, &email)?.hash()?;
    let store = open(config)?;
    let new = NewOperator { email: email.clone(), password_hash: Some(hash), role };
    let actor = actor();
    let added = store.write::<_, _, StoreError>(move |tx| operators::add(tx, &new, &actor)).await?;
    if added.is_none() {
        bail!("there is an operator {email} already");
    }
    writeln!(std::io::stdout(), "Added {email} as {}.", role.as_str())?;
    Ok(())
}

fn list(store: &Store) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for operator in store.read_here(operators::list)? {
        let state = match (operator.is_enabled(), operator.has_password) {
            (false, _) => "disabled",
            (true, false) => "no password yet",
            (true, true) if operator.totp_enabled_at.is_some() => "with second factor",
            (true, true) => "password only",
        };
        writeln!(
            out,
            "{:>4}  {:<8}  {:<18}  {}",
            operator.id,
            operator.role.as_str(),
            state,
            operator.email
        )?;
    }
    Ok(())
}

async fn link(config: &Config, email: String, without_second_factor: bool) -> Result<()> {
    let store = open(config)?;
    let (address, actor) = (email.clone(), actor());
    let token = store
        .write::<_, _, StoreError>(move |tx| {
            let Some(operator) = operators::find_by_email(tx.conn(), &address)?.filter(|o| o.is_enabled())
            else {
                return Ok(None);
            };
            if without_second_factor {
                let _ = second_factors::remove(tx, operator.id, &actor)?;
            }
            operators::note_link(tx, operator.id, &actor)?;
            one_time_links::insert(tx, Some(operator.id)).map(Some)
        })
        .await?
        .with_context(|| format!("there is no operator {email} who is let in"))?;
    let public = config.server.public_base_url.as_str().trim_end_matches('/');
    writeln!(std::io::stdout(), "{public}/admin/setup/{}", token.expose_secret())?;
    Ok(())
}

fn read_password() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().take(4_096).read_to_string(&mut text).context("no password on standard input")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask_password(email: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        bail!("there is no terminal to ask on; give the password with --password-stdin");
    }
    let first = rpassword::prompt_password(format!("Password for {email}: "))?;
    if first != rpassword::prompt_password("Once more: ")? {
        bail!("the two passwords differ");
    }
    Ok(first)
}
