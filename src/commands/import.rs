//! `ese import`: a file of people, from the terminal. A running server beside it may take the import over.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::{actor, open, progress};
use crate::config::Config;
use crate::import::{self, NewImport, Options, Pace, Spool, spool_dir};
use crate::store::imports::{self, ImportRow, ImportState};
use crate::store::{Store, StoreError};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// CSV, XLSX, JSON or NDJSON.
    file: PathBuf,
    /// Look at every row and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Take a column for a field: --map "Phone No=phone"; may be repeated.
    #[arg(long, value_name = "COLUMN=FIELD")]
    map: Vec<String>,
    /// Put the numbers on the list of those never sent to.
    #[arg(long)]
    suppress: bool,
    /// merge, replace or skip_existing.
    #[arg(long, value_parser = ["merge", "replace", "skip_existing"], conflicts_with = "suppress")]
    mode: Option<String>,
    /// Country of numbers without one: --region LK.
    #[arg(long, value_name = "COUNTRY")]
    region: Option<String>,
    /// Topic that everybody joins; may be repeated.
    #[arg(long = "topic", value_name = "NAME")]
    topics: Vec<String>,
    /// Options as the API takes them, as JSON; the flags above win.
    #[arg(long, value_name = "JSON")]
    options: Option<String>,
}

pub(super) async fn run(config: Config, args: Args) -> Result<()> {
    let options = options(&args)?;
    let store = open(&config)?;
    let name = args.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let file = File::open(&args.file).with_context(|| format!("{} can't be read", args.file.display()))?;
    let id = queue(&store, file, &name, options, config.import.max_bytes).await?;
    let row = finish(&store, id).await?;
    tell(&row)
}

fn options(args: &Args) -> Result<Options> {
    let mut json: Map<String, Value> = match &args.options {
        Some(text) => serde_json::from_str(text).context("--options is no JSON object")?,
        None => Map::new(),
    };
    if !args.map.is_empty() {
        let mut mapping = Map::new();
        for pair in &args.map {
            let (column, field) = pair.rsplit_once('=').with_context(|| {
                format!("--map {pair:?}: write COLUMN=FIELD, such as --map \"Phone No=phone\"")
            })?;
            mapping.insert(column.trim().to_owned(), json!(field.trim()));
        }
        json.insert("mapping".to_owned(), Value::Object(mapping));
    }
    let mode = if args.suppress { Some("suppress") } else { args.mode.as_deref() };
    for (key, value) in [
        ("mode", mode.map(|mode| json!(mode))),
        ("default_region", args.region.as_ref().map(|region| json!(region))),
    ] {
        if let Some(value) = value {
            json.insert(key.to_owned(), value);
        }
    }
    if args.dry_run {
        json.insert("dry_run".to_owned(), json!(true));
    }
    if !args.topics.is_empty() {
        json.insert("topics".to_owned(), json!(args.topics));
    }
    Options::parse(&Value::Object(json)).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

/// Copies the file to the spool and queues its import. Returns the import's id.
pub(super) async fn queue(
    store: &Store,
    mut source: impl Read,
    name: &str,
    options: Options,
    max_bytes: u64,
) -> Result<i64> {
    let mut spool = Spool::create(&spool_dir(store.paths()), max_bytes)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = source.read(&mut buffer).context("the file can't be read")?;
        match buffer.get(..read) {
            Some(piece) if !piece.is_empty() => spool.write(piece)?,
            _ => break,
        }
    }
    let file = spool.finish()?;
    let import = NewImport { file_name: name.to_owned(), file, options, actor: actor() };
    let queued = import.clone();
    match store.write(move |tx| import::queue(tx, &queued)).await {
        Ok(id) => Ok(id),
        Err(error) => {
            import::discard(&import.file);
            Err(error.into())
        }
    }
}

/// Works on the import, or watches a server that does, until it is at its end.
pub(super) async fn finish(store: &Store, id: i64) -> Result<ImportRow> {
    let bar = progress::bar("rows", 1_000);
    let worker = store.clone();
    let pace = Pace::default();
    let work = tokio::spawn(async move { import::run_queued(&worker, &pace).await });
    let row = loop {
        let row = store
            .read(move |conn| imports::find(conn, id))
            .await?
            .ok_or_else(|| StoreError::Internal(format!("import {id} is gone")))?;
        bar.update((row.progress() * 1_000.0) as u64, &format!("{} rows", row.tally.rows));
        if matches!(row.state, ImportState::Finished | ImportState::Failed) {
            break row;
        }
        tokio::time::sleep(progress::STEP).await;
    };
    bar.finish();
    work.await??;
    Ok(row)
}

/// Says what came of it.
pub(super) fn tell(row: &ImportRow) -> Result<()> {
    let tally = &row.tally;
    let mut out = std::io::stdout().lock();
    let rehearsed = if row.is_dry_run() { " (dry run, nothing was changed)" } else { "" };
    writeln!(out, "Import {} of {}{rehearsed}: {} rows", row.id, row.file_name, tally.rows)?;
    for (n, what) in [
        (tally.created, "new"),
        (tally.updated, "changed"),
        (tally.unchanged, "as they were"),
        (tally.duplicates, "twice in the file; the last row wins"),
        (tally.rejected, "rejected"),
    ] {
        if n > 0 {
            writeln!(out, "  {n:>7}  {what}")?;
        }
    }
    if !tally.reasons.is_empty() {
        let reasons: Vec<String> =
            tally.reasons.iter().map(|(reason, n)| format!("{n} {}", reason.replace('_', " "))).collect();
        writeln!(out, "  What was noticed: {}", reasons.join(", "))?;
    }
    if let Some(error) = &row.error {
        bail!("{error}");
    }
    Ok(())
}
