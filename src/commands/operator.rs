//! `ese operator`: the people who may log in.

use std::io::{IsTerminal, Read, Write};

use anyhow::{Context, Result, bail};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;

use super::open;
use crate::config::Config;
use crate::store::{StoreError, operators};

/// As NIST SP 800-63B asks for a password that stands alone.
const SHORTEST_PASSWORD: usize = 12;
/// Longer ones are no safer, and cost the server time.
const LONGEST_PASSWORD: usize = 256;

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
}

pub(super) async fn run(config: Config, action: Action) -> Result<()> {
    let Action::Add { email, role, password_stdin } = action;
    let (name, domain) = email.split_once('@').unwrap_or(("", ""));
    if name.is_empty() || !domain.contains('.') || email.chars().any(char::is_whitespace) {
        bail!("{email:?} is no e-mail address");
    }
    let password = if password_stdin { read_password()? } else { ask_password(&email)? };
    let length = password.chars().count();
    if !(SHORTEST_PASSWORD..=LONGEST_PASSWORD).contains(&length) {
        bail!("a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, this one has {length}");
    }
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| anyhow::anyhow!("the password can't be hashed: {error}"))?
        .to_string();
    let store = open(&config)?;
    let (address, granted) = (email.clone(), role.clone());
    let added =
        store.write::<_, _, StoreError>(move |tx| operators::insert(tx, &address, &hash, &granted)).await?;
    if !added {
        bail!("there is an operator {email} already");
    }
    writeln!(std::io::stdout(), "Added {email} as {role}.")?;
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
