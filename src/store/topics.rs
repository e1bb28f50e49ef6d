//! `topics` and `subscriptions`: what people want to hear about.

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::events::{self, NewEvent};
use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::event::EventType;

/// A topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Key.
    pub id: i64,
    /// Unique, whatever the case.
    pub name: String,
    /// True: everybody who opted in is in until they leave. False: only those who joined.
    pub is_open_to_opted_in: bool,
    /// When it was made.
    pub created_at: Millis,
}

/// Every topic, by name.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection) -> Result<Vec<Topic>, StoreError> {
    let topics = conn
        .prepare_cached(
            "SELECT id, name, default_rule = 'all_opted_in', created_at FROM topics ORDER BY name",
        )?
        .query_map([], |row| {
            Ok(Topic {
                id: row.get(0)?,
                name: row.get(1)?,
                is_open_to_opted_in: row.get(2)?,
                created_at: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(topics)
}

/// The topic of this name, whatever the case.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, name: &str) -> Result<Option<Topic>, StoreError> {
    Ok(list(conn)?.into_iter().find(|topic| topic.name.eq_ignore_ascii_case(name)))
}

/// Adds a topic and returns its id, or `None` when the name is taken.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, name: &str, is_open_to_opted_in: bool) -> Result<Option<i64>, StoreError> {
    let rule = if is_open_to_opted_in { "all_opted_in" } else { "opt_in_required" };
    tx.change_plan();
    Ok(tx
        .conn
        .prepare_cached(
            "INSERT INTO topics (name, default_rule, created_at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING RETURNING id",
        )?
        .query_row((name, rule, tx.now), |row| row.get(0))
        .optional()?)
}

/// When the person left the topic, if they are out of it by their own word.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn left_at(conn: &Connection, user_id: i64, topic_id: i64) -> Result<Option<Millis>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT at FROM subscriptions
             WHERE user_id = ?1 AND topic_id = ?2 AND state = 'unsubscribed'",
        )?
        .query_row((user_id, topic_id), |row| row.get(0))
        .optional()?)
}

/// Changes a topic. Returns false, and changes nothing, when another one has the name.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn update(tx: &Tx<'_>, id: i64, name: &str, is_open_to_opted_in: bool) -> Result<bool, StoreError> {
    let rule = if is_open_to_opted_in { "all_opted_in" } else { "opt_in_required" };
    tx.change_plan();
    let changed = tx.conn.execute(
        "UPDATE topics SET name = ?2, default_rule = ?3
         WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM topics WHERE name = ?2 AND id <> ?1)",
        (id, name, rule),
    )?;
    Ok(changed > 0)
}

/// Removes a topic that no campaign and no message refers to, and everybody's place in it.
///
/// # Errors
/// [`StoreError`] from SQLite, also while something refers to it.
pub fn delete(tx: &Tx<'_>, id: i64) -> Result<(), StoreError> {
    tx.change_plan();
    tx.conn.execute("DELETE FROM topics WHERE id = ?1", [id])?;
    Ok(())
}

/// Records that a person joined or left a topic.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set(
    tx: &Tx<'_>,
    user_id: i64,
    topic: &Topic,
    is_subscribed: bool,
    actor: &str,
) -> Result<(), StoreError> {
    if write(tx, user_id, topic.id, is_subscribed)? {
        let event = NewEvent {
            user_id: Some(user_id),
            data: Some(json!({"topic": topic.name, "subscribed": is_subscribed, "actor": actor})),
            ..NewEvent::default()
        };
        events::append(tx, EventType::TopicChanged, event)?;
    }
    Ok(())
}

/// Dates what [`set`] wrote in this transaction back to when the person said it, and moves the date of what
/// was so already up to it: a word that comes late must not outrank a later one.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn date(tx: &Tx<'_>, user_id: i64, topic_id: i64, said_at: Millis) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE subscriptions SET at = CASE at WHEN ?4 THEN ?3 ELSE max(at, ?3) END
             WHERE user_id = ?1 AND topic_id = ?2",
        )?
        .execute((user_id, topic_id, said_at, tx.now))?;
    Ok(())
}

/// [`set`] without an event, for imports. Returns whether anything changed.
pub(super) fn write(
    tx: &Tx<'_>,
    user_id: i64,
    topic_id: i64,
    is_subscribed: bool,
) -> Result<bool, StoreError> {
    let state = if is_subscribed { "subscribed" } else { "unsubscribed" };
    let changed = tx
        .conn
        .prepare_cached(
            "INSERT INTO subscriptions (user_id, topic_id, state, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET state = excluded.state, at = excluded.at
               WHERE state <> excluded.state",
        )?
        .execute((user_id, topic_id, state, tx.now))?;
    Ok(changed > 0)
}
