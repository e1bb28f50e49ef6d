//! Moves an import along. Whoever works on one says where it believes the import to stand ([`Place`]); where
//! another process, or another revision of the options, moved it meanwhile, nothing changes.

use serde_json::Value;

use super::super::events::{self, NewEvent};
use super::super::{StoreError, Tx};
use super::{ImportRow, ImportState, Tally, find, signed};
use crate::domain::event::EventType;

/// Where an import stands, as far as who works on it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Key.
    pub id: i64,
    /// Of the options that are worked by.
    pub revision: i64,
    /// Rows done.
    pub rows: u64,
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
        begin_anew(tx, import)?;
    }
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE imports SET state = CASE state WHEN 'checking' THEN state ELSE 'running' END,
                                format = ?3, encoding = ?4, started_at = coalesce(started_at, ?5)
             WHERE id = ?1 AND revision = ?2 AND state IN ('checking', 'queued', 'running')",
        )?
        .execute((import.id, import.revision, format, encoding, tx.now))?;
    Ok(changed > 0)
}

fn begin_anew(tx: &Tx<'_>, import: &ImportRow) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE imports SET bytes_read = 0, rows = 0, created = 0, updated = 0, unchanged = 0,
                                duplicates = 0, rejected = 0, reasons = '{}', details = '{}'
             WHERE id = ?1 AND revision = ?2 AND state IN ('checking', 'queued', 'running')",
        )?
        .execute((import.id, import.revision))?;
    if changed > 0 {
        tx.conn.prepare_cached("DELETE FROM import_issues WHERE import_id = ?1")?.execute([import.id])?;
    }
    Ok(())
}

/// Moves the counters from `place` to `after`. Returns false, and changes nothing, when they do not stand
/// there: another process works on the same import, or its options changed.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn advance(tx: &Tx<'_>, place: &Place, after: &Tally, bytes_read: u64) -> Result<bool, StoreError> {
    let reasons = serde_json::to_string(&after.reasons).unwrap_or_else(|_| "{}".to_owned());
    let details = serde_json::to_string(&after.details).unwrap_or_else(|_| "{}".to_owned());
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE imports SET rows = ?4, created = ?5, updated = ?6, unchanged = ?7, duplicates = ?8,
                                rejected = ?9, reasons = ?10, bytes_read = ?11, details = ?12
             WHERE id = ?1 AND rows = ?2 AND revision = ?3 AND state IN ('checking', 'running')",
        )?
        .execute((
            place.id,
            signed(place.rows),
            place.revision,
            signed(after.rows),
            signed(after.created),
            signed(after.updated),
            signed(after.unchanged),
            signed(after.duplicates),
            signed(after.rejected),
            reasons,
            signed(bytes_read),
            details,
        ))?;
    Ok(changed > 0)
}

/// Ends what was worked on at `place`: an import with the event that tells of it, or the dry run of a draft,
/// which stays a draft. With `error` it failed. Returns false when it stands elsewhere.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn finish(tx: &Tx<'_>, place: &Place, error: Option<&str>) -> Result<bool, StoreError> {
    let (id, rows) = (place.id, signed(place.rows));
    let checked = tx
        .conn
        .prepare_cached(
            "UPDATE imports SET state = 'draft', error = ?4, checked_at = CASE WHEN ?4 IS NULL THEN ?5 END
             WHERE id = ?1 AND rows = ?2 AND revision = ?3 AND state = 'checking'",
        )?
        .execute((id, rows, place.revision, error, tx.now))?;
    if checked > 0 {
        return Ok(true);
    }
    let state = if error.is_some() { ImportState::Failed } else { ImportState::Finished };
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE imports SET state = ?4, error = ?5, finished_at = ?6, spool_path = NULL,
                                bytes_read = CASE WHEN ?5 IS NULL THEN bytes ELSE bytes_read END
             WHERE id = ?1 AND rows = ?2 AND revision = ?3 AND state IN ('queued', 'running')",
        )?
        .execute((id, rows, place.revision, state.as_str(), error, tx.now))?;
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
