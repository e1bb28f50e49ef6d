//! `ese verify`: the consent chain, the counts, and the file itself.

use std::io::Write;

use anyhow::{Result, bail};

use super::open;
use crate::config::Config;
use crate::store::{StoreError, ledger, verify};

pub(super) async fn run(config: Config) -> Result<()> {
    let store = open(&config)?;
    let key = store.key().clone();
    let (chain, counts, file) = store.read_here(|conn| {
        Ok::<_, StoreError>((
            ledger::verify(conn, &key)?,
            verify::count_problems(conn)?,
            verify::file_problems(conn)?,
        ))
    })?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "Consent chain: {} rows in {} links{}", chain.rows, chain.links, verdict(&chain.problems))?;
    writeln!(out, "Counts{}", verdict(&counts))?;
    writeln!(out, "Data file{}", verdict(&file))?;
    let problems: Vec<String> = [chain.problems, counts, file].concat();
    for problem in &problems {
        writeln!(out, "  {problem}")?;
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{} problems were found", problems.len())
}

fn verdict(problems: &[String]) -> String {
    match problems.len() {
        0 => ": whole".to_owned(),
        n => format!(": {n} problems"),
    }
}
