//! `bulk_actions`: what operators do to everybody who fits a filter, and how far each came.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Value, json};

use super::events::{self, NewEvent};
use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::event::EventType;

/// An action as kept.
#[derive(Clone, Debug)]
pub struct BulkRow {
    /// Key.
    pub id: i64,
    /// `running`, `finished`, `cancelled` or `failed`.
    pub state: String,
    /// Pairs of [`crate::domain::people::PeopleFilter`].
    pub filter: Vec<(String, String)>,
    /// A [`crate::domain::bulk::BulkAction`].
    pub action: Value,
    /// The operator's words.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// Whoever has a smaller id is still to come.
    pub place: i64,
    /// What became of the people so far.
    pub tally: BulkTally,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: Millis,
    /// When it ended.
    pub finished_at: Option<Millis>,
}

/// What became of people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkTally {
    /// Something changed.
    pub changed: i64,
    /// It was so already.
    pub unchanged: i64,
    /// Reasons for which people were left as they are.
    pub refused: BTreeMap<String, i64>,
}

const COLUMNS: &str = "id, state, filter, action, reason, actor, place, changed, unchanged, refused, error,
   created_at, finished_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<BulkRow> {
    let text = |at: usize| row.get::<_, String>(at);
    Ok(BulkRow {
        id: row.get(0)?,
        state: row.get(1)?,
        filter: serde_json::from_str(&text(2)?).unwrap_or_default(),
        action: serde_json::from_str(&text(3)?).unwrap_or_default(),
        reason: row.get(4)?,
        actor: row.get(5)?,
        place: row.get(6)?,
        tally: BulkTally {
            changed: row.get(7)?,
            unchanged: row.get(8)?,
            refused: serde_json::from_str(&text(9)?).unwrap_or_default(),
        },
        error: row.get(10)?,
        created_at: row.get(11)?,
        finished_at: row.get(12)?,
    })
}

/// An action about to begin.
#[derive(Clone, Debug)]
pub struct NewBulk<'a> {
    /// Pairs of [`crate::domain::people::PeopleFilter`], without what was typed to search: it may be a number.
    pub filter: &'a [(String, String)],
    /// A [`crate::domain::bulk::BulkAction`].
    pub action: &'a Value,
    /// The operator's words.
    pub reason: &'a str,
    /// Who.
    pub actor: &'a str,
}

/// Begins an action on everybody who is here now, and returns its id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, new: &NewBulk<'_>) -> Result<i64, StoreError> {
    let place = super::audience::last_id(tx.conn)? + 1;
    tx.effects.borrow_mut().wakes_people = true;
    Ok(tx
        .conn
        .prepare_cached(
            "INSERT INTO bulk_actions (state, filter, action, reason, actor, place, created_at)
             VALUES ('running', ?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .insert((
            json!(new.filter).to_string(),
            new.action.to_string(),
            new.reason,
            new.actor,
            place,
            tx.now,
        ))?)
}

/// Finds an action.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<BulkRow>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM bulk_actions WHERE id = ?1"))?
        .query_row([id], from_row)
        .optional()?)
}

/// The newest actions.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn newest(conn: &Connection, limit: usize) -> Result<Vec<BulkRow>, StoreError> {
    let found = conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM bulk_actions ORDER BY id DESC LIMIT ?1"))?
        .query_map([limit as i64], from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// The oldest action at work behind id `after`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn next_running(conn: &Connection, after: i64) -> Result<Option<BulkRow>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM bulk_actions WHERE state = 'running' AND id > ?1 ORDER BY id LIMIT 1");
    Ok(conn.prepare_cached(&sql)?.query_row([after], from_row).optional()?)
}

/// Moves an action from `before` to `place`, with what became of the people between. Returns false, and changes
/// nothing, when it does not stand at `before` any more, or was cancelled.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn advance(
    tx: &Tx<'_>,
    id: i64,
    (before, place): (i64, i64),
    tally: &BulkTally,
) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE bulk_actions SET place = ?3, changed = ?4, unchanged = ?5, refused = ?6
             WHERE id = ?1 AND place = ?2 AND state = 'running'",
        )?
        .execute((id, before, place, tally.changed, tally.unchanged, json!(tally.refused).to_string()))?;
    Ok(changed > 0)
}

/// Ends an action with the one event that tells of it: by itself, by somebody (`cancelled`), or because of `error`.
/// Returns whether it was at work.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn end(tx: &Tx<'_>, id: i64, state: &str, error: Option<&str>) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE bulk_actions SET state = ?2, error = ?3, finished_at = ?4
             WHERE id = ?1 AND state = 'running'",
        )?
        .execute((id, state, error, tx.now))?;
    let Some(row) = find(tx.conn, id)?.filter(|_| changed > 0) else {
        return Ok(false);
    };
    let data = json!({
        "bulk_id": row.id, "state": row.state, "action": row.action, "filter": row.filter,
        "reason": row.reason, "actor": row.actor, "changed": row.tally.changed,
        "unchanged": row.tally.unchanged, "refused": row.tally.refused, "error": row.error,
    });
    events::append(tx, EventType::PeopleChanged, NewEvent { data: Some(data), ..NewEvent::default() })?;
    Ok(true)
}
