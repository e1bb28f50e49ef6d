//! `webhook_deliveries`: what was tried, and what is to be tried again. A delivery is named by its event.

use rusqlite::{Connection, OptionalExtension, Row};

use super::{StoreError, Tx};
use crate::clock::Millis;

/// A delivery as the log shows it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event, and the name of the delivery within its endpoint.
    pub event_id: i64,
    /// Its type.
    pub event_type: String,
    /// `pending`, `delivered` or `failed`.
    pub status: String,
    /// Requests so far.
    pub attempts: u32,
    /// Of those, since it was last asked for by hand.
    pub tries: u32,
    /// The last answer.
    pub http_status: Option<u16>,
    /// How long the last answer took.
    pub latency_ms: Option<i64>,
    /// What went wrong last.
    pub error: Option<String>,
    /// When it is tried again.
    pub next_at: Option<Millis>,
    /// When it was first tried.
    pub created_at: Millis,
    /// When it was last tried.
    pub updated_at: Millis,
}

const COLUMNS: &str = "event_id, event_type, status, attempts, tries, http_status, latency_ms, error, \
    next_at, created_at, updated_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        event_id: row.get(0)?,
        event_type: row.get(1)?,
        status: row.get(2)?,
        attempts: row.get(3)?,
        tries: row.get(4)?,
        http_status: row.get(5)?,
        latency_ms: row.get(6)?,
        error: row.get(7)?,
        next_at: row.get(8)?,
        created_at: row.get(9)?,
        updated_at: row.get(10)?,
    })
}

/// The statuses of the log.
pub const STATUSES: [&str; 3] = ["pending", "delivered", "failed"];

/// A page of the log, newest event first, below `before`; of one status, if one is named.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(
    conn: &Connection,
    endpoint_id: i64,
    status: Option<&str>,
    before: i64,
    limit: usize,
) -> Result<Vec<Delivery>, StoreError> {
    // The word itself, so that the index of those that failed serves: it is one of a closed list.
    let status = STATUSES.into_iter().find(|known| status == Some(known));
    let of_status = status.map(|word| format!(" AND status = '{word}'")).unwrap_or_default();
    let sql = format!(
        "SELECT {COLUMNS} FROM webhook_deliveries
         WHERE endpoint_id = ?1 AND event_id < ?2{of_status} ORDER BY event_id DESC LIMIT ?3"
    );
    let rows = conn
        .prepare_cached(&sql)?
        .query_map((endpoint_id, before, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// One delivery.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, endpoint_id: i64, event_id: i64) -> Result<Option<Delivery>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM webhook_deliveries WHERE endpoint_id = ?1 AND event_id = ?2");
    Ok(conn.prepare_cached(&sql)?.query_row((endpoint_id, event_id), from_row).optional()?)
}

/// What is due of an endpoint: the event, and how often it was tried. What waits longest comes first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn due(
    conn: &Connection,
    endpoint_id: i64,
    now: Millis,
    limit: usize,
) -> Result<Vec<(i64, u32)>, StoreError> {
    let rows = conn
        .prepare_cached(
            "SELECT event_id, tries FROM webhook_deliveries
             WHERE endpoint_id = ?1 AND status = 'pending' AND next_at <= ?2
             ORDER BY next_at, event_id LIMIT ?3",
        )?
        .query_map((endpoint_id, now, limit as i64), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// How many deliveries of an endpoint wait for another try.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn waiting(conn: &Connection, endpoint_id: i64) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = ?1 AND status = 'pending'",
        )?
        .query_row([endpoint_id], |row| row.get(0))?)
}

/// What came of a request, as the log keeps it.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// The event.
    pub event_id: i64,
    /// Its type.
    pub event_type: &'a str,
    /// `pending`, `delivered` or `failed`.
    pub status: &'a str,
    /// The answer, if there was one.
    pub http_status: Option<u16>,
    /// How long it took.
    pub latency_ms: i64,
    /// What went wrong.
    pub error: Option<&'a str>,
    /// When it is tried again.
    pub next_at: Option<Millis>,
}

/// Notes a request.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note(tx: &Tx<'_>, endpoint_id: i64, attempt: &Attempt<'_>) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO webhook_deliveries (endpoint_id, event_id, event_type, status, attempts, tries,
               http_status, latency_ms, error, next_at, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, 1, 1, ?5, ?6, ?7, ?8, ?9, ?9)
             ON CONFLICT (endpoint_id, event_id) DO UPDATE SET
               status = excluded.status, attempts = attempts + 1, tries = tries + 1,
               http_status = excluded.http_status, latency_ms = excluded.latency_ms, error = excluded.error,
               next_at = excluded.next_at, updated_at = excluded.updated_at",
        )?
        .execute((
            endpoint_id,
            attempt.event_id,
            attempt.event_type,
            attempt.status,
            attempt.http_status,
            attempt.latency_ms,
            attempt.error,
            attempt.next_at,
            tx.now,
        ))?;
    Ok(())
}

/// Ends the waiting of a delivery whose event is not kept any more.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn give_up(tx: &Tx<'_>, endpoint_id: i64, event_id: i64, error: &str) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE webhook_deliveries SET status = 'failed', next_at = NULL, error = ?3, updated_at = ?4
             WHERE endpoint_id = ?1 AND event_id = ?2 AND status = 'pending'",
        )?
        .execute((endpoint_id, event_id, error, tx.now))?;
    Ok(())
}

/// Makes a delivery due now, with all its tries before it, whatever became of it so far.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn ask(tx: &Tx<'_>, endpoint_id: i64, event_id: i64, event_type: &str) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO webhook_deliveries
               (endpoint_id, event_id, event_type, status, next_at, created_at, updated_at)
             VALUES (?1, ?2, ?3, 'pending', ?4, ?4, ?4)
             ON CONFLICT (endpoint_id, event_id) DO UPDATE SET status = 'pending', tries = 0, next_at = ?4",
        )?
        .execute((endpoint_id, event_id, event_type, tx.now))?;
    Ok(())
}

/// Makes everything due that waits and was first tried at `since` or later: the endpoint answers again. What
/// had failed before keeps to its schedule, since it did so while other events were taken.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn hasten(tx: &Tx<'_>, endpoint_id: i64, since: Millis) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE webhook_deliveries SET next_at = ?2
             WHERE endpoint_id = ?1 AND status = 'pending' AND next_at > ?2 AND created_at >= ?3",
        )?
        .execute((endpoint_id, tx.now, since))?;
    Ok(())
}

/// Removes up to `most` rows of an endpoint's log, those of the oldest events first. Returns how many.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn forget_some(tx: &Tx<'_>, endpoint_id: i64, most: usize) -> Result<usize, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "DELETE FROM webhook_deliveries WHERE endpoint_id = ?1 AND event_id IN (
               SELECT event_id FROM webhook_deliveries WHERE endpoint_id = ?1 ORDER BY event_id LIMIT ?2)",
        )?
        .execute((endpoint_id, most as i64))?)
}

/// Removes rows last touched before `before` that wait for nothing, among the `most` oldest of an endpoint
/// behind event `after`. Returns how many were removed and the last event looked at, if there may be more.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn prune(
    tx: &Tx<'_>,
    endpoint_id: i64,
    after: i64,
    before: Millis,
    most: usize,
) -> Result<(usize, Option<i64>), StoreError> {
    let (looked, last): (i64, Option<i64>) = tx
        .conn
        .prepare_cached(
            "SELECT count(*), max(event_id) FROM (
               SELECT event_id FROM webhook_deliveries WHERE endpoint_id = ?1 AND event_id > ?2
               ORDER BY event_id LIMIT ?3)",
        )?
        .query_row((endpoint_id, after, most as i64), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some(last) = last else {
        return Ok((0, None));
    };
    let removed = tx
        .conn
        .prepare_cached(
            "DELETE FROM webhook_deliveries
             WHERE endpoint_id = ?1 AND event_id > ?2 AND event_id <= ?3
               AND status <> 'pending' AND updated_at < ?4",
        )?
        .execute((endpoint_id, after, last, before))?;
    // A stretch of which nothing went is young: what follows is younger still.
    let more = looked == most as i64 && removed > 0;
    Ok((removed, more.then_some(last)))
}
