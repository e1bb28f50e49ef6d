//! `cursors`: how far a walk over something that grows has come, kept over restarts.

use rusqlite::{Connection, OptionalExtension};

use super::{StoreError, Tx};

/// Where the walk `name` stands; `None` before its first step.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn get(conn: &Connection, name: &str) -> Result<Option<i64>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT position FROM cursors WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?)
}

/// Notes where the walk `name` stands now.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set(tx: &Tx<'_>, name: &str, position: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO cursors (name, position) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET position = excluded.position",
        )?
        .execute((name, position))?;
    Ok(())
}
