//! `ese check`: the doctor. Each line says what was looked at, what was found, and what mends it.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use secrecy::ExposeSecret;

use crate::app;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{StoreError, senders};
use crate::twilio::client::is_loopback;

/// What a look found.
enum Finding {
    Good(String),
    /// Works, but somebody should know.
    Note(String),
    Bad(String),
}

pub(super) async fn run(config: Config) -> Result<()> {
    let mut findings =
        vec![("Configuration", Finding::Good("every key is known and makes sense".to_owned()))];
    findings.push(("Data file", data_file(&config).await));
    findings.push(("Key file", private(&config.store.key_file)));
    findings.push(("Account", account(&config).await));
    findings.push(("Senders", configured_senders(&config)));
    findings.push(("Public address", public_address(&config)));
    let mut out = std::io::stdout().lock();
    let mut bad = 0;
    for (what, finding) in &findings {
        let (mark, text) = match finding {
            Finding::Good(text) => ("ok  ", text),
            Finding::Note(text) => ("note", text),
            Finding::Bad(text) => {
                bad += 1;
                ("MEND", text)
            }
        };
        writeln!(out, "{mark}  {what:<15} {text}")?;
    }
    match bad {
        0 => Ok(writeln!(out, "Ready to send.")?),
        1 => bail!("one thing is to be mended"),
        n => bail!("{n} things are to be mended"),
    }
}

async fn data_file(config: &Config) -> Finding {
    let store = match app::open_store(config, Clock::system()) {
        Ok(store) => store,
        Err(error) => return Finding::Bad(format!("{error:#}")),
    };
    let paused = store.read_here(|conn| {
        let now = store.clock().now();
        let account = senders::account_pause(conn, now)?.map(|(reason, _)| reason);
        let sender = senders::list(conn)?.into_iter().find(|sender| sender.is_paused(now));
        Ok::<_, StoreError>(account.or(sender.and_then(|sender| sender.pause_reason)))
    });
    match paused {
        Ok(None) => match private(&config.store.path) {
            Finding::Good(_) => Finding::Good(format!("{} can be written", config.store.path.display())),
            other => other,
        },
        Ok(Some(reason)) => Finding::Bad(format!("sending is paused: {reason}")),
        Err(error) => Finding::Bad(error.to_string()),
    }
}

#[cfg(unix)]
fn private(path: &Path) -> Finding {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::metadata(path) {
        Ok(data) if data.permissions().mode() & 0o077 == 0 => {
            Finding::Good(format!("{} is readable by its owner alone", path.display()))
        }
        Ok(data) => Finding::Bad(format!(
            "{} can be read by others (mode {:o}). Run: chmod 600 {}",
            path.display(),
            data.permissions().mode() & 0o777,
            path.display()
        )),
        Err(error) => Finding::Bad(format!("{}: {error}", path.display())),
    }
}

#[cfg(not(unix))]
fn private(path: &Path) -> Finding {
    match std::fs::metadata(path) {
        Ok(_) => {
            Finding::Note(format!("{} is there; its permissions are not looked at here", path.display()))
        }
        Err(error) => Finding::Bad(format!("{}: {error}", path.display())),
    }
}

async fn account(config: &Config) -> Finding {
    let twilio = &config.twilio;
    let token = twilio.auth_token.expose_secret();
    if twilio.account_sid.is_empty() || token.is_empty() {
        return Finding::Bad(
            "set [twilio] account_sid and auth_token, both from the Twilio console".to_owned(),
        );
    }
    let hint = if token.len() == 32 || is_loopback(&twilio.api_base) {
        String::new()
    } else {
        format!(" The token has {} characters, a token of Twilio's has 32: copy it again.", token.len())
    };
    match app::client(config) {
        Ok(Some(client)) => match client.check_account().await {
            Ok(name) if client.is_simulated() => {
                Finding::Note(format!("{name} at {}: a simulator, nothing is really sent", twilio.api_base))
            }
            Ok(name) => Finding::Good(format!("{name} is active")),
            Err(error) => Finding::Bad(format!("{} says: {error}.{hint}", twilio.api_base)),
        },
        Ok(None) => Finding::Bad("set [twilio] account_sid".to_owned()),
        Err(error) => Finding::Bad(format!("{error:#}")),
    }
}

fn configured_senders(config: &Config) -> Finding {
    if config.senders.is_empty() {
        return Finding::Bad(
            "add [[senders]] with the address and kind of a number of the account".to_owned(),
        );
    }
    let list: Vec<String> = config
        .senders
        .iter()
        .map(|sender| {
            let limit = sender
                .recipients_per_day()
                .map_or_else(String::new, |people| format!(", {people} people a day"));
            format!(
                "{} ({}, {} parts a second{limit})",
                sender.address,
                sender.kind.as_str(),
                sender.rate_per_second()
            )
        })
        .collect();
    Finding::Good(list.join("; "))
}

fn public_address(config: &Config) -> Finding {
    let base = &config.server.public_base_url;
    if is_loopback(&config.twilio.api_base) {
        return Finding::Note(format!("{base}; a simulator on this machine reaches it"));
    }
    match config.setup_problem() {
        Some(problem) if is_loopback(base) || base.scheme() != "https" => Finding::Bad(problem),
        _ => Finding::Good(format!(
            "{base}; set {}/webhooks/twilio/inbound for incoming messages in the Twilio console",
            base.as_str().trim_end_matches('/')
        )),
    }
}
