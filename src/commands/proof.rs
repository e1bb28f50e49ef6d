//! `ese proof`: what a person agreed to and got, on the terminal or as a page to print.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::open;
use crate::config::Config;
use crate::domain::phone::Phone;
use crate::privacy;
use crate::store::users::UserKey;
use crate::web::pages;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A number such as +14155550101, or the id of somebody who was erased.
    person: String,
    /// Write a page to print into this file, instead of JSON to the terminal.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(super) async fn run(config: Config, args: Args) -> Result<()> {
    let whom = match Phone::parse(&args.person, None) {
        Ok(phone) => UserKey::Phone(phone.as_str().to_owned()),
        Err(error) => match args.person.parse() {
            Ok(id) => UserKey::Id(id),
            Err(_) => bail!("{}: {error}", args.person),
        },
    };
    let store = open(&config)?;
    let (key, now) = (store.key().clone(), store.clock().now());
    let Some(proof) = store.read_here(|conn| privacy::proof(conn, &key, &whom, now))? else {
        bail!("nothing is known of {}", args.person);
    };
    match args.html {
        None => writeln!(std::io::stdout(), "{proof:#}")?,
        Some(path) => {
            write_private(&path, &pages::proof(&proof)?)
                .with_context(|| format!("can't write {}", path.display()))?;
            writeln!(std::io::stdout(), "{}", path.display())?;
        }
    }
    Ok(())
}

/// Only its owner may read what was said to whom.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}
