//! Read models: what lists, reports and those who watch the process look at, joined from several tables.

pub mod attention;
mod begun;
pub mod campaigns;
pub mod figures;
pub mod found;
pub mod happening;
pub mod heard;
pub mod inbound;
pub mod inbox;
pub mod messages;
pub mod overview;
pub mod people;
pub mod preview;
pub mod proof;
pub mod running;
pub mod thread;
pub mod timeline;
pub mod uses;
mod walk;
pub mod workload;

use rusqlite::Connection;

use super::{StoreError, Tx};

pub use begun::{Begun, begun};
pub use walk::Slice;

/// Proves that the file takes a write. It has to change something: SQLite writes no page for a row that stays
/// as it was, and a full disk would not be noticed.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn touch(tx: &Tx<'_>) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE store_identity SET write_proofs = write_proofs + 1 WHERE id = 1")?
        .execute([])?;
    Ok(())
}

/// Campaigns that are not over, with the number of their messages in each state.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn live_counts(conn: &Connection) -> Result<Vec<(i64, String, i64)>, StoreError> {
    let counts = conn
        .prepare_cached(
            "SELECT n.campaign_id, n.status, sum(n.n) FROM campaigns c
               JOIN campaign_counts n ON n.campaign_id = c.id
             WHERE c.status IN ('scheduled', 'launching', 'running', 'paused')
             GROUP BY 1, 2",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    Ok(counts)
}

/// Names of what refers to a topic: campaigns, then single messages as a whole. Such a topic can't be removed.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn users_of_topic(conn: &Connection, topic_id: i64) -> Result<Vec<String>, StoreError> {
    let mut names: Vec<String> = conn
        .prepare_cached("SELECT 'campaign ' || name FROM campaigns WHERE topic_id = ?1 ORDER BY id LIMIT 20")?
        .query_map([topic_id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut single = conn.prepare_cached(
        "SELECT 1 FROM messages
         WHERE campaign_id IS NULL AND topic_id IS NOT NULL AND topic_id = ?1 LIMIT 1",
    )?;
    if names.is_empty() && single.exists([topic_id])? {
        names.push("messages that were sent about it".to_owned());
    }
    Ok(names)
}

/// Every segment by name with its definition, for checks of what definitions name.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn segment_definitions(conn: &Connection) -> Result<Vec<(String, serde_json::Value)>, StoreError> {
    let found = conn
        .prepare_cached("SELECT name, definition FROM segments ORDER BY id")?
        .query_map([], |row| {
            let definition: String = row.get(1)?;
            Ok((row.get(0)?, serde_json::from_str(&definition).unwrap_or_default()))
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// How SQLite would run a statement, one step a line: for tests that no table is walked.
#[cfg(test)]
pub(in crate::store) fn plan_of(conn: &Connection, sql: &str) -> String {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let none = rusqlite::params_from_iter(std::iter::repeat_n(1, statement.parameter_count()));
    let steps = statement.query_map(none, |row| row.get::<_, String>(3)).unwrap();
    steps.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
}
