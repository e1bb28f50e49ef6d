//! `segments`: named definitions of an audience.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value;

use super::{StoreError, Tx};
use crate::clock::Millis;

/// A segment.
#[derive(Clone, Debug)]
pub struct SegmentRow {
    /// Key.
    pub id: i64,
    /// Unique.
    pub name: String,
    /// As it was given; it parses.
    pub definition: Value,
    /// Counts the edits.
    pub version: i64,
    /// When it was made.
    pub created_at: Millis,
    /// When it was last edited.
    pub updated_at: Millis,
}

const COLUMNS: &str = "id, name, definition, version, created_at, updated_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<SegmentRow> {
    let definition: String = row.get(2)?;
    Ok(SegmentRow {
        id: row.get(0)?,
        name: row.get(1)?,
        definition: serde_json::from_str(&definition).unwrap_or(Value::Null),
        version: row.get(3)?,
        created_at: row.get(4)?,
        updated_at: row.get(5)?,
    })
}

/// The segment with this id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<SegmentRow>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM segments WHERE id = ?1"))?
        .query_row([id], from_row)
        .optional()?)
}

/// A page of segments, newest first, below id `before`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection, before: i64, limit: usize) -> Result<Vec<SegmentRow>, StoreError> {
    let rows = conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM segments WHERE id < ?1 ORDER BY id DESC LIMIT ?2"))?
        .query_map((before, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// True when another segment has this name.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_name_taken(conn: &Connection, name: &str, but: Option<i64>) -> Result<bool, StoreError> {
    Ok(conn.prepare_cached("SELECT 1 FROM segments WHERE name = ?1 AND id IS NOT ?2")?.exists((name, but))?)
}

/// Adds a segment and returns its id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, name: &str, definition: &Value) -> Result<i64, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "INSERT INTO segments (name, definition, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)",
        )?
        .insert((name, definition.to_string(), tx.now))?)
}

/// The segment of everybody, made when it is not there yet.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn everybody(tx: &Tx<'_>) -> Result<i64, StoreError> {
    let known: Option<i64> = tx
        .conn
        .prepare_cached(r#"SELECT id FROM segments WHERE definition = '{"all":[]}' ORDER BY id LIMIT 1"#)?
        .query_row([], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    let mut name = "Everybody".to_owned();
    let mut n = 2;
    while is_name_taken(tx.conn, &name, None)? {
        name = format!("Everybody {n}");
        n += 1;
    }
    insert(tx, &name, &serde_json::json!({"all": []}))
}

/// Changes a segment. Campaigns that froze it keep what they froze.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn update(tx: &Tx<'_>, id: i64, name: &str, definition: &Value) -> Result<(), StoreError> {
    tx.conn.execute(
        "UPDATE segments SET name = ?2, definition = ?3, version = version + 1, updated_at = ?4 WHERE id = ?1",
        (id, name, definition.to_string(), tx.now),
    )?;
    Ok(())
}

/// Removes a segment that nothing uses.
///
/// # Errors
/// [`StoreError`] from SQLite, also while a campaign refers to it.
pub fn delete(tx: &Tx<'_>, id: i64) -> Result<(), StoreError> {
    tx.conn.execute("DELETE FROM segments WHERE id = ?1", [id])?;
    Ok(())
}

/// Names of campaigns that use the segment as audience or as exclusion.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn users_of(conn: &Connection, id: i64) -> Result<Vec<String>, StoreError> {
    let names = conn
        .prepare_cached(
            "SELECT name FROM campaigns
             WHERE segment_id = ?1
                OR EXISTS (SELECT 1 FROM json_each(exclude_segment_ids) WHERE value = ?1)
             ORDER BY id LIMIT 20",
        )?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(names)
}
