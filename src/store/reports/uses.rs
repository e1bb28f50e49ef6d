//! Which campaigns use a segment or a template.

use rusqlite::{Connection, Row};

use super::super::StoreError;

/// A campaign that uses something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Its key.
    pub campaign_id: i64,
    /// Its name.
    pub name: String,
    /// Its state.
    pub status: String,
    /// The segment's people are left out of it, not written to.
    pub is_exclusion: bool,
}

/// Campaigns that were looked through for exclusions: the newest.
const LOOKED_AT: i64 = 1_000;

fn from_row(row: &Row<'_>) -> rusqlite::Result<Use> {
    Ok(Use { campaign_id: row.get(0)?, name: row.get(1)?, status: row.get(2)?, is_exclusion: row.get(3)? })
}

/// The newest campaigns with the segment as audience, then those that leave its people out; at most `limit` of
/// each.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn of_segment(conn: &Connection, id: i64, limit: usize) -> Result<Vec<Use>, StoreError> {
    let mut found: Vec<Use> = conn
        .prepare_cached(
            "SELECT id, name, status, 0 FROM campaigns WHERE segment_id = ?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map((id, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    let excluding: Vec<Use> = conn
        .prepare_cached(
            "SELECT id, name, status, 1 FROM (
               SELECT id, name, status, exclude_segment_ids FROM campaigns
               WHERE exclude_segment_ids <> '[]' ORDER BY id DESC LIMIT ?3)
             WHERE EXISTS (SELECT 1 FROM json_each(exclude_segment_ids) WHERE value = ?1) LIMIT ?2",
        )?
        .query_map((id, limit as i64, LOOKED_AT), from_row)?
        .collect::<Result<_, _>>()?;
    found.extend(excluding);
    Ok(found)
}

/// The newest campaigns that say the template, at most `limit`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn of_template(conn: &Connection, id: i64, limit: usize) -> Result<Vec<Use>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id, name, status, 0 FROM campaigns WHERE template_id = ?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map((id, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// How many campaigns have the segment as audience, counted up to `most`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count_of_segment(conn: &Connection, id: i64, most: i64) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM campaigns WHERE segment_id = ?1 LIMIT ?2)")?
        .query_row((id, most), |row| row.get(0))?)
}

/// How many campaigns say the template, counted up to `most`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count_of_template(conn: &Connection, id: i64, most: i64) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM campaigns WHERE template_id = ?1 LIMIT ?2)")?
        .query_row((id, most), |row| row.get(0))?)
}
