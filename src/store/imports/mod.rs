//! `imports`: files on their way in, and how far they got. What was wrong with their rows is in `issues`,
//! what a row does to people in `people`, what can be undone of that in `changes`; `drafts` are files of which
//! nobody said yet that they come in, `work` moves an import along.

mod changes;
mod drafts;
mod issues;
mod mappings;
mod people;
mod rehearsal;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{StoreError, Tx};
use crate::clock::Millis;

pub use changes::{
    Change, Undo, ask_undo, changes_of, find_undo, finish_undo, next_undo, note_change, restore, walk_undo,
};
pub use drafts::{
    NewDraft, begin_check, begin_run, discard_draft, find_draft, insert_draft, old_drafts, set_encoding,
};
pub use issues::{
    Issue, MAX_ISSUES, NewIssue, Wanted, count_issues, insert_issue, issue_columns, issues, issues_of,
};
pub use mappings::{Remembered, remember, remembered};
pub use people::{
    Known, NewPerson, Rows, find_known, has_suppressions, is_ledger_of, join, jsonb, last_word, membership,
    suppressed_by,
};
pub use rehearsal::Rehearsal;
pub use work::{Place, advance, finish, start};

/// Where an import stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportState {
    /// The file is here; nobody said yet that it comes in.
    Draft,
    /// A draft whose dry run waits or is under way.
    Checking,
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
    /// Every state, in the order of a life.
    pub const ALL: [ImportState; 6] = [
        ImportState::Draft,
        ImportState::Checking,
        ImportState::Queued,
        ImportState::Running,
        ImportState::Finished,
        ImportState::Failed,
    ];

    /// Whether the file is not yet, and may never be, an import.
    pub fn is_draft(self) -> bool {
        matches!(self, ImportState::Draft | ImportState::Checking)
    }

    /// The name in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            ImportState::Draft => "draft",
            ImportState::Checking => "checking",
            ImportState::Queued => "queued",
            ImportState::Running => "running",
            ImportState::Finished => "finished",
            ImportState::Failed => "failed",
        }
    }

    fn parse(name: &str) -> ImportState {
        match name {
            "draft" => ImportState::Draft,
            "checking" => ImportState::Checking,
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
    /// What the counts above are made of.
    pub details: Details,
}

/// Further counts, for the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// Of the people added: those who came in opted in,
    pub new_opt_in: u64,
    /// … with a consent that is unknown,
    pub new_unknown: u64,
    /// … opted out,
    pub new_opt_out: u64,
    /// … with STOP.
    pub new_stop: u64,
    /// Of the people changed: those whose attributes changed,
    pub attributes: u64,
    /// … whose consent changed,
    pub consent: u64,
    /// … who joined a topic.
    pub topics: u64,
    /// People whose attributes are kept as they were, for the undo.
    pub changes: u64,
    /// Rows that would have loosened a consent, which stayed as it was.
    pub consent_kept: u64,
    /// Of these, rows that changed nothing else.
    pub only_kept: u64,
}

/// An import as kept.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// Key.
    pub id: i64,
    /// Where it stands.
    pub state: ImportState,
    /// Of the options: it grows with each change of them.
    pub revision: i64,
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
    /// Of a draft: when the dry run of its options ended.
    pub checked_at: Option<Millis>,
    /// When it ended.
    pub finished_at: Option<Millis>,
}

impl ImportRow {
    /// Where the import stands, as [`advance`] and [`finish`] compare it.
    pub fn place(&self) -> Place {
        Place { id: self.id, revision: self.revision, rows: self.tally.rows }
    }

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
        self.state.is_draft() || self.has_dry_run()
    }

    fn has_dry_run(&self) -> bool {
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
   started_at, finished_at, revision, details, checked_at";

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
            details: serde_json::from_str(&text(22)?).unwrap_or_default(),
        },
        error: row.get(17)?,
        created_at: row.get(18)?,
        started_at: row.get(19)?,
        finished_at: row.get(20)?,
        revision: row.get(21)?,
        checked_at: row.get(23)?,
    })
}

/// Finds an import, a draft too.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<ImportRow>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM imports WHERE id = ?1"))?
        .query_row([id], from_row)
        .optional()?)
}

/// A page of imports, newest first, below id `before`. Drafts are left out.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection, before: i64, limit: usize) -> Result<Vec<ImportRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM imports WHERE id < ?1 AND state NOT IN ('draft', 'checking')
         ORDER BY id DESC LIMIT ?2"
    );
    let found =
        conn.prepare_cached(&sql)?.query_map((before, limit as i64), from_row)?.collect::<Result<_, _>>()?;
    Ok(found)
}

/// A page of everything that the page of imports lists, drafts too: newest first, below id `before`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list_all(conn: &Connection, before: i64, limit: usize) -> Result<Vec<ImportRow>, StoreError> {
    let found = conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM imports WHERE id < ?1 ORDER BY id DESC LIMIT ?2"))?
        .query_map((before, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// The oldest import behind id `after` that is not at its end; drafts are left out.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn next_open(conn: &Connection, after: i64) -> Result<Option<ImportRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM imports WHERE state IN ('queued', 'running') AND id > ?1 ORDER BY id LIMIT 1"
    );
    Ok(conn.prepare_cached(&sql)?.query_row([after], from_row).optional()?)
}

/// The oldest draft behind id `after` whose dry run is to be made.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn next_check(conn: &Connection, after: i64) -> Result<Option<ImportRow>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM imports WHERE state = 'checking' AND id > ?1 ORDER BY id LIMIT 1");
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

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
