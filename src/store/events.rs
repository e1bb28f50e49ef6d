//! `events`: appended in the transaction of the change that they tell of, never changed.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Value, json};

use super::messages::rfc3339;
use super::{StoreError, Tx, audit};
use crate::domain::event::EventType;

/// The walk of the look after messages without news, in `cursors`: the last event that it saw.
pub const POLL: &str = "poll";

/// Milliseconds of a UTC day, the grain of `daily_counts`.
pub(super) const DAY: i64 = 86_400_000;

/// An event about to be written. `data` is a JSON object.
#[derive(Debug, Default)]
pub struct NewEvent {
    /// Whom it concerns.
    pub user_id: Option<i64>,
    /// Which campaign it belongs to.
    pub campaign_id: Option<i64>,
    /// Which message it is about, and the event before it about the same message.
    pub message: Option<(i64, Option<i64>)>,
    /// The reason and other particulars.
    pub data: Option<Value>,
}

/// An event as it is kept.
#[derive(Clone, Debug)]
pub struct Event {
    /// Ascending, never reused.
    pub id: i64,
    /// One of [`EventType`], as text.
    pub kind: String,
    /// Milliseconds since 1970, UTC.
    pub at: i64,
    /// Whom it concerns.
    pub user_id: Option<i64>,
    /// That person's number as of now.
    pub phone: Option<String>,
    /// The campaign.
    pub campaign_id: Option<i64>,
    /// The message.
    pub message_id: Option<i64>,
    /// The caller's own name for that message.
    pub reference: Option<String>,
    /// Particulars.
    pub data: Value,
}

impl Event {
    /// As everybody outside sees it: `/events`, the stream, outbound webhooks.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "type": self.kind,
            "at": rfc3339(self.at),
            "user_id": self.user_id,
            "phone": self.phone,
            "campaign_id": self.campaign_id,
            "message_id": self.message_id,
            "reference": self.reference,
            "data": self.data,
        })
    }
}

/// Appends one event and returns its id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn append(tx: &Tx<'_>, kind: EventType, event: NewEvent) -> Result<i64, StoreError> {
    let data = event.data.as_ref().map_or_else(|| "{}".to_owned(), ToString::to_string);
    let (message_id, previous_id) = event.message.map_or((None, None), |(id, last)| (Some(id), last));
    let id: i64 = tx
        .conn
        .prepare_cached(
            "INSERT INTO events (type, at, user_id, campaign_id, message_id, previous_id, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .insert((kind.as_str(), tx.now, event.user_id, event.campaign_id, message_id, previous_id, data))?;
    count(tx, kind.as_str());
    audit::note(tx, id, kind, event.data.as_ref())?;
    tx.effects.borrow_mut().last_event_id = id;
    Ok(id)
}

/// Counts something that happened today.
pub(super) fn count(tx: &Tx<'_>, what: &'static str) {
    *tx.effects.borrow_mut().daily.entry((tx.now.div_euclid(DAY), what)).or_default() += 1;
}

/// Counts that the provider ended a message with this code today.
pub(super) fn count_error(tx: &Tx<'_>, code: i64) {
    *tx.effects.borrow_mut().errors.entry((tx.now.div_euclid(DAY), code)).or_default() += 1;
}

const COLUMNS: &str =
    "e.id, e.type, e.at, e.user_id, u.phone, e.campaign_id, e.message_id, m.reference, e.data";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Event> {
    let data: String = row.get(8)?;
    Ok(Event {
        id: row.get(0)?,
        kind: row.get(1)?,
        at: row.get(2)?,
        user_id: row.get(3)?,
        phone: row.get(4)?,
        campaign_id: row.get(5)?,
        message_id: row.get(6)?,
        reference: row.get(7)?,
        data: serde_json::from_str(&data).unwrap_or(Value::Null),
    })
}

/// The next `limit` events behind id `after`, oldest first; of `types` only, unless that is empty.
///
/// Looks at no more than 20,000 rows, so a rare type costs a bounded read: the second value is the id
/// up to which was looked.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list_after(
    conn: &Connection,
    after: i64,
    types: &[EventType],
    limit: usize,
) -> Result<(Vec<Event>, i64), StoreError> {
    const WINDOW: i64 = 20_000;
    // Ids jump where a file was restored: the window begins at the next event, not at the next id.
    let first: Option<i64> = conn
        .prepare_cached("SELECT min(id) FROM events WHERE id > ?1")?
        .query_row([after], |row| row.get(0))?;
    let Some(first) = first else {
        return Ok((Vec::new(), after));
    };
    let after = first - 1;
    let wanted: Vec<&str> = types.iter().map(|kind| kind.as_str()).collect();
    let wanted = serde_json::to_string(&wanted).unwrap_or_default();
    let sql = format!(
        "SELECT {COLUMNS} FROM events e
           LEFT JOIN users u ON u.id = e.user_id
           LEFT JOIN messages m ON m.id = e.message_id
         WHERE e.id > ?1 AND e.id <= ?1 + ?2
           AND (?3 = '[]' OR e.type IN (SELECT value FROM json_each(?3)))
         ORDER BY e.id LIMIT ?4"
    );
    let found: Vec<Event> = conn
        .prepare_cached(&sql)?
        .query_map((after, WINDOW, &wanted, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    let newest: i64 =
        conn.prepare_cached("SELECT coalesce(max(id), 0) FROM events")?.query_row([], |row| row.get(0))?;
    let looked = match found.last() {
        Some(last) if found.len() == limit => last.id,
        _ => newest.min(after.saturating_add(WINDOW)).max(after),
    };
    Ok((found, looked))
}

/// The event with this id, if it is kept.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<Event>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events e
           LEFT JOIN users u ON u.id = e.user_id
           LEFT JOIN messages m ON m.id = e.message_id
         WHERE e.id = ?1"
    );
    Ok(conn.prepare_cached(&sql)?.query_row([id], from_row).optional()?)
}

/// The last event that retention may remove, however old: whoever follows the events on our side has to have seen
/// it. That is the look after messages without news (`cursors`), and each enabled webhook endpoint.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn may_prune_through(conn: &Connection) -> Result<i64, StoreError> {
    let polled = super::cursors::get(conn, POLL)?.unwrap_or(i64::MAX);
    // What is to be tried again lies before an endpoint's place. By the index of those alone: the log is long, and
    // this is asked inside a write.
    let told: Option<i64> = conn
        .prepare_cached(
            "SELECT min(coalesce((SELECT min(d.event_id) - 1 FROM webhook_deliveries d INDEXED BY webhook_deliveries_pending
                                  WHERE d.endpoint_id = e.id AND d.status = 'pending'), e.position))
             FROM webhook_endpoints e WHERE e.is_enabled = 1",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(polled.min(told.unwrap_or(i64::MAX)))
}

/// The oldest id that is still kept. When every event was pruned, the id that the next one will have: who
/// stands before it has missed some.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn oldest_id(conn: &Connection) -> Result<i64, StoreError> {
    let kept: Option<i64> =
        conn.prepare_cached("SELECT min(id) FROM events")?.query_row([], |row| row.get(0))?;
    match kept {
        Some(id) => Ok(id),
        None => Ok(newest_id(conn)? + 1),
    }
}

/// The highest id that was ever given to an event, 0 before the first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn newest_id(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'events'")?
        .query_row([], |row| row.get(0))
        .optional()?
        .unwrap_or(0))
}

/// A message's own events, newest first, along their chain from `last_event_id`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn of_message(conn: &Connection, last_event_id: Option<i64>) -> Result<Vec<Event>, StoreError> {
    let sql = format!(
        "WITH RECURSIVE chain (id) AS (
           SELECT ?1 WHERE ?1 IS NOT NULL
           UNION ALL
           SELECT previous_id FROM chain JOIN events USING (id) WHERE previous_id IS NOT NULL)
         SELECT {COLUMNS} FROM chain JOIN events e ON e.id = chain.id
           LEFT JOIN users u ON u.id = e.user_id
           LEFT JOIN messages m ON m.id = e.message_id
         ORDER BY e.id DESC LIMIT 500"
    );
    let found = conn.prepare_cached(&sql)?.query_map([last_event_id], from_row)?.collect::<Result<_, _>>()?;
    Ok(found)
}

/// Events about a person that are not about one of their messages, newest first, below id `before`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn of_user(conn: &Connection, user_id: i64, before: i64, limit: usize) -> Result<Vec<Event>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events e
           LEFT JOIN users u ON u.id = e.user_id
           LEFT JOIN messages m ON m.id = e.message_id
         WHERE e.user_id = ?1 AND e.message_id IS NULL AND e.id < ?2
         ORDER BY e.id DESC LIMIT ?3"
    );
    let found = conn
        .prepare_cached(&sql)?
        .query_map((user_id, before, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}
