//! `imports`: files on their way in, and how far they got. What was wrong with their rows is in `issues`,
//! what a row does to people in `people`.

mod issues;
mod people;
mod rehearsal;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Value, json};

use super::events::{self, NewEvent};
use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::event::EventType;

pub use issues::{Issue, MAX_ISSUES, NewIssue, count_issues, insert_issue, issue_columns, issues};
pub use people::{
    Known, NewPerson, Rows, find_known, has_suppressions, is_ledger_of, join, jsonb, membership,
    suppressed_by,
};
pub use rehearsal::Rehearsal;

/// Where an import stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportState {
    /// Waits for its turn.
    Queued,
    /// Rows are being taken in.
    Running,
    /// The whole file is in.
    Finished,
    /// It ended early; `error` says how far it got.
    Failed,
}

impl ImportState {
    /// The name in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            ImportState::Queued => "queued",
            ImportState::Running => "running",
            ImportState::Finished => "finished",
            ImportState::Failed => "failed",
        }
    }

    fn parse(name: &str) -> ImportState {
        match name {
            "queued" => ImportState::Queued,
            "running" => ImportState::Running,
            "finished" => ImportState::Finished,
            _ => ImportState::Failed,
        }
    }
}

/// What became of the rows so far. `rows` is the sum of the five below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows done.
    pub rows: u64,
    /// People added; in mode `suppress`, numbers that joined the list.
    pub created: u64,
    /// People changed.
    pub updated: u64,
    /// Rows that said nothing new, or were to leave people alone.
    pub unchanged: u64,
    /// Rows whose number stood in the file before.
    pub duplicates: u64,
    /// Rows that were not taken.
    pub rejected: u64,
    /// How often each reason was given, also for rows that were taken.
    pub reasons: BTreeMap<String, u64>,
}

/// An import as kept.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// Key.
    pub id: i64,
    /// Where it stands.
    pub state: ImportState,
    /// The name under which the file was given.
    pub file_name: String,
    /// The copy that is read, until the end.
    pub spool_path: Option<PathBuf>,
    /// `csv`, `xlsx`, `json`, `ndjson`, once known.
    pub format: Option<String>,
    /// Of text formats, once known.
    pub encoding: Option<String>,
    /// As they were given, with their defaults.
    pub options: Value,
    /// Who asked for it: `key:3`, `operator:1`, `command`.
    pub actor: String,
    /// Size of the file.
    pub bytes: u64,
    /// The share of it that is done, in bytes.
    pub bytes_read: u64,
    /// What became of the rows.
    pub tally: Tally,
    /// Why it failed, and how far it got.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: Millis,
    /// When the first row was looked at.
    pub started_at: Option<Millis>,
    /// When it ended.
    pub finished_at: Option<Millis>,
}

impl ImportRow {
    /// The share that is done, 0.0 to 1.0.
    pub fn progress(&self) -> f64 {
        match self.state {
            ImportState::Finished => 1.0,
            _ if self.bytes == 0 => 0.0,
            _ => (self.bytes_read as f64 / self.bytes as f64).min(1.0),
        }
    }

    /// The import as the API answers it, times left out.
    pub fn report(&self) -> Value {
        let tally = &self.tally;
        json!({
            "id": self.id,
            "state": self.state.as_str(),
            "file_name": self.file_name,
            "format": self.format,
            "encoding": self.encoding,
            "dry_run": self.is_dry_run(),
            "rows": tally.rows,
            "created": tally.created,
            "updated": tally.updated,
            "unchanged": tally.unchanged,
            "duplicates": tally.duplicates,
            "rejected": tally.rejected,
            "reasons": tally.reasons,
            "progress": self.progress(),
            "error": self.error,
        })
    }

    /// True when nothing but counting was asked for.
    pub fn is_dry_run(&self) -> bool {
        self.options.get("dry_run").and_then(Value::as_bool).unwrap_or(false)
    }
}

/// An import about to be queued.
#[derive(Debug)]
pub struct QueuedImport<'a> {
    /// The name under which the file was given.
    pub file_name: &'a str,
    /// The copy to read.
    pub spool_path: &'a str,
    /// Its size.
    pub bytes: u64,
    /// Checked options as JSON.
    pub options: &'a Value,
    /// Who asks: `key:3`, `operator:1`, `command`.
    pub actor: &'a str,
}

/// Queues an import and returns its id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, import: &QueuedImport<'_>) -> Result<i64, StoreError> {
    tx.wake_import();
    Ok(tx
        .conn
        .prepare_cached(
            "INSERT INTO imports (state, file_name, spool_path, options, actor, bytes, created_at)
             VALUES ('queued', ?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .insert((
            import.file_name,
            import.spool_path,
            import.options.to_string(),
            import.actor,
            signed(import.bytes),
            tx.now,
        ))?)
}

const COLUMNS: &str = "id, state, file_name, spool_path, format, encoding, options, actor, bytes,
   bytes_read, rows, created, updated, unchanged, duplicates, rejected, reasons, error, created_at,
   started_at, finished_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<ImportRow> {
    let count = |at: usize| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
    let text = |at: usize| row.get::<_, String>(at);
    Ok(ImportRow {
        id: row.get(0)?,
        state: ImportState::parse(&text(1)?),
        file_name: row.get(2)?,
        spool_path: row.get::<_, Option<String>>(3)?.map(PathBuf::from),
        format: row.get(4)?,
        encoding: row.get(5)?,
        options: serde_json::from_str(&text(6)?).unwrap_or(Value::Null),
        actor: row.get(7)?,
        bytes: count(8)?,
        bytes_read: count(9)?,
        tally: Tally {
            rows: count(10)?,
            created: count(11)?,
            updated: count(12)?,
            unchanged: count(13)?,
            duplicates: count(14)?,
            rejected: count(15)?,
            reasons: serde_json::from_str(&text(16)?).unwrap_or_default(),
        },
        error: row.get(17)?,
        created_at: row.get(18)?,
        started_at: row.get(19)?,
        finished_at: row.get(20)?,
    })
}

/// Finds an import.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<ImportRow>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM imports WHERE id = ?1"))?
        .query_row([id], from_row)
        .optional()?)
}

/// A page of imports, newest first, below id `before`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection, before: i64, limit: usize) -> Result<Vec<ImportRow>, StoreError> {
    let found = conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM imports WHERE id < ?1 ORDER BY id DESC LIMIT ?2"))?
        .query_map((before, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// The oldest import behind id `after` that is not at its end.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn next_open(conn: &Connection, after: i64) -> Result<Option<ImportRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM imports WHERE state IN ('queued', 'running') AND id > ?1 ORDER BY id LIMIT 1"
    );
    Ok(conn.prepare_cached(&sql)?.query_row([after], from_row).optional()?)
}

/// Files that imports not at their end still need.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn spooled(conn: &Connection) -> Result<Vec<PathBuf>, StoreError> {
    let found = conn
        .prepare_cached("SELECT spool_path FROM imports WHERE spool_path IS NOT NULL")?
        .query_map([], |row| row.get::<_, String>(0).map(PathBuf::from))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Marks an import as running, with what its file turned out to be. A dry run begins anew: what it
/// remembered of the file went with the process. Returns false when it is at its end already.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn start(
    tx: &Tx<'_>,
    import: &ImportRow,
    format: &str,
    encoding: Option<&str>,
) -> Result<bool, StoreError> {
    if import.is_dry_run() {
        tx.conn.prepare_cached("DELETE FROM import_issues WHERE import_id = ?1")?.execute([import.id])?;
        tx.conn
            .prepare_cached(
                "UPDATE imports SET bytes_read = 0, rows = 0, created = 0, updated = 0, unchanged = 0,
                                    duplicates = 0, rejected = 0, reasons = '{}'
                 WHERE id = ?1 AND state IN ('queued', 'running')",
            )?
            .execute([import.id])?;
    }
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE imports SET state = 'running', format = ?2, encoding = ?3,
                                started_at = coalesce(started_at, ?4)
             WHERE id = ?1 AND state IN ('queued', 'running')",
        )?
        .execute((import.id, format, encoding, tx.now))?;
    Ok(changed > 0)
}

/// Moves the counters from `before` to `after`. Returns false, and changes nothing, when they do not stand
/// at `before`: another process works on the same import.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn advance(
    tx: &Tx<'_>,
    id: i64,
    before: u64,
    after: &Tally,
    bytes_read: u64,
) -> Result<bool, StoreError> {
    let reasons = serde_json::to_string(&after.reasons).unwrap_or_else(|_| "{}".to_owned());
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE imports SET rows = ?3, created = ?4, updated = ?5, unchanged = ?6, duplicates = ?7,
                                rejected = ?8, reasons = ?9, bytes_read = ?10
             WHERE id = ?1 AND rows = ?2 AND state = 'running'",
        )?
        .execute((
            id,
            signed(before),
            signed(after.rows),
            signed(after.created),
            signed(after.updated),
            signed(after.unchanged),
            signed(after.duplicates),
            signed(after.rejected),
            reasons,
            signed(bytes_read),
        ))?;
    Ok(changed > 0)
}

/// Ends an import that stands at `rows`, with the event that tells of it. With `error` it failed. Returns
/// false when another process moved it meanwhile.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn finish(tx: &Tx<'_>, id: i64, rows: u64, error: Option<&str>) -> Result<bool, StoreError> {
    let state = if error.is_some() { ImportState::Failed } else { ImportState::Finished };
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE imports SET state = ?3, error = ?4, finished_at = ?5, spool_path = NULL,
                                bytes_read = CASE WHEN ?4 IS NULL THEN bytes ELSE bytes_read END
             WHERE id = ?1 AND rows = ?2 AND state IN ('queued', 'running')",
        )?
        .execute((id, signed(rows), state.as_str(), error, tx.now))?;
    if changed == 0 {
        return Ok(false);
    }
    tx.effects.borrow_mut().wakes_people = true;
    if let Some(import) = find(tx.conn, id)? {
        let mut data = import.report();
        if let Some(data) = data.as_object_mut() {
            data.remove("progress");
            data.insert("import_id".to_owned(), data.get("id").cloned().unwrap_or_default());
            data.remove("id");
            data.insert("actor".to_owned(), Value::from(import.actor));
        }
        events::append(tx, EventType::ImportFinished, NewEvent { data: Some(data), ..NewEvent::default() })?;
    }
    Ok(true)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
