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

/// The walks whose names begin with `prefix`, each with where it stands.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection, prefix: &str) -> Result<Vec<(String, i64)>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT name, position FROM cursors
             WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1 ORDER BY name",
        )?
        .query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Notes where the walk `name` is to begin, unless it began already.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn begin(tx: &Tx<'_>, name: &str, position: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("INSERT INTO cursors (name, position) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute((name, position))?;
    Ok(())
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

/// Forgets the walk `name`, if it still stands at `position`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn remove(tx: &Tx<'_>, name: &str, position: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("DELETE FROM cursors WHERE name = ?1 AND position = ?2")?
        .execute((name, position))?;
    Ok(())
}
