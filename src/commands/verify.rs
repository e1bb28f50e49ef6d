//! `ese verify`: the consent chain, the counts, and the file itself.

use std::io::Write;
use std::time::Instant;

use anyhow::{Result, bail};

use super::open;
use crate::config::Config;
use crate::store::{ledger, verify};

pub(super) async fn run(config: Config) -> Result<()> {
    let store = open(&config)?;
    let key = store.key().clone();
    let mut problems = Vec::new();
    let mut say = |what: String, begun: Instant, found: Vec<String>| -> Result<()> {
        let seconds = begun.elapsed().as_secs_f64();
        writeln!(std::io::stdout(), "{what}{} ({seconds:.1} s)", verdict(&found))?;
        problems.extend(found);
        Ok(())
    };
    // Each part is told when it is done: on a large file the last one takes long.
    let begun = Instant::now();
    let chain = store.read_here(|conn| ledger::verify(conn, &key))?;
    say(format!("Consent chain: {} rows in {} links", chain.rows, chain.links), begun, chain.problems)?;
    let begun = Instant::now();
    say("Counts".to_owned(), begun, store.read_here(verify::count_problems)?)?;
    let begun = Instant::now();
    say("Data file".to_owned(), begun, store.read_here(verify::file_problems)?)?;
    let mut out = std::io::stdout().lock();
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
