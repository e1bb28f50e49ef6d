//! Drafts: files that were uploaded to be looked at. A draft is a row of `imports` that nobody has run yet; its
//! dry run counts into the same columns, which begin anew when it comes in.

use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use super::super::{StoreError, Tx};
use super::{COLUMNS, ImportRow, from_row, signed};
use crate::clock::Millis;

/// A file about to become a draft.
#[derive(Debug)]
pub struct NewDraft<'a> {
    /// The name under which the file was given.
    pub file_name: &'a str,
    /// The copy to read.
    pub spool_path: &'a str,
    /// Its size.
    pub bytes: u64,
    /// `csv`, `xlsx`, `json`, `ndjson`.
    pub format: &'a str,
    /// Of text formats.
    pub encoding: Option<&'a str>,
    /// What is offered, checked options as JSON.
    pub options: &'a Value,
    /// Whose it is: `operator:1`.
    pub actor: &'a str,
}

/// Keeps a draft and returns its id, which stays that of the import.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert_draft(tx: &Tx<'_>, draft: &NewDraft<'_>) -> Result<i64, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "INSERT INTO imports (state, file_name, spool_path, options, actor, bytes, format, encoding,
                                  created_at)
             VALUES ('draft', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .insert((
            draft.file_name,
            draft.spool_path,
            draft.options.to_string(),
            draft.actor,
            signed(draft.bytes),
            draft.format,
            draft.encoding,
            tx.now,
        ))?)
}

/// Finds a draft.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_draft(conn: &Connection, id: i64) -> Result<Option<ImportRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM imports WHERE id = ?1 AND state IN ('draft', 'checking')");
    Ok(conn.prepare_cached(&sql)?.query_row([id], from_row).optional()?)
}

/// Gives a draft these options and lets its dry run begin, anew if one is under way. Returns false when it is no
/// draft any more.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn begin_check(tx: &Tx<'_>, id: i64, options: &Value) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE imports SET state = 'checking', options = ?2, revision = revision + 1, error = NULL,
                                checked_at = NULL, started_at = NULL, bytes_read = 0, rows = 0
             WHERE id = ?1 AND state IN ('draft', 'checking')",
        )?
        .execute((id, options.to_string()))?;
    tx.wake_import();
    Ok(changed > 0)
}

/// Gives a draft other options, which a dry run has not been made of yet: what it was read as changed.
/// Returns false when it is no draft any more.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_encoding(
    tx: &Tx<'_>,
    id: i64,
    options: &Value,
    encoding: Option<&str>,
) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE imports SET state = 'draft', options = ?2, encoding = ?3, revision = revision + 1,
                                error = NULL, checked_at = NULL, bytes_read = 0, rows = 0
             WHERE id = ?1 AND state IN ('draft', 'checking')",
        )?
        .execute((id, options.to_string(), encoding))?;
    Ok(changed > 0)
}

/// Queues a draft whose dry run of `revision` has ended; from now on it is the import of `actor`. Its counters and issues begin anew. Returns false when
/// it stands elsewhere: it was run, changed or discarded meanwhile.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn begin_run(
    tx: &Tx<'_>,
    (id, revision): (i64, i64),
    options: &Value,
    actor: &str,
) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE imports SET state = 'queued', options = ?3, revision = revision + 1, bytes_read = 0,
                                rows = 0, created = 0, updated = 0, unchanged = 0, duplicates = 0,
                                rejected = 0, reasons = '{}', details = '{}', started_at = NULL, actor = ?4
             WHERE id = ?1 AND revision = ?2 AND state = 'draft' AND checked_at IS NOT NULL",
        )?
        .execute((id, revision, options.to_string(), actor))?;
    if changed > 0 {
        tx.conn.prepare_cached("DELETE FROM import_issues WHERE import_id = ?1")?.execute([id])?;
        tx.wake_import();
    }
    Ok(changed > 0)
}

/// Removes a draft and what its dry run noticed. Its file is the caller's to remove. Returns false when it is no
/// draft any more.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn discard_draft(tx: &Tx<'_>, id: i64) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached("DELETE FROM imports WHERE id = ?1 AND state IN ('draft', 'checking')")?
        .execute([id])?;
    Ok(changed > 0)
}

/// Drafts that nobody touched since `before`: uploaded then, and their dry run, if any, ended then.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn old_drafts(conn: &Connection, before: Millis) -> Result<Vec<ImportRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM imports INDEXED BY imports_drafts
         WHERE state IN ('draft', 'checking') AND coalesce(checked_at, created_at) < ?1 ORDER BY id LIMIT 100"
    );
    let found = conn.prepare_cached(&sql)?.query_map([before], from_row)?.collect::<Result<_, _>>()?;
    Ok(found)
}
