//! `receipts`: status callbacks, raw and with the attempt that they are about.

use rusqlite::Connection;

use super::inbound::Params;
use super::outcomes::AttemptKey;
use super::{StoreError, Tx};
use crate::clock::Millis;

/// A status callback.
#[derive(Clone, Debug)]
pub struct RawReceipt<'a> {
    /// `SM…`.
    pub sid: &'a str,
    /// Twilio's word.
    pub status: &'a str,
    /// 0 without one.
    pub error_code: i64,
    /// The attempt, if it is one of ours.
    pub attempt: Option<AttemptKey>,
    /// `done`, `unmatched`, or `pending` when the effect failed.
    pub state: &'a str,
    /// Everything that came: a JSON array of pairs.
    pub params: &'a str,
    /// Why the effect failed.
    pub error: Option<&'a str>,
}

/// Whether this news was here already.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_known(conn: &Connection, sid: &str, status: &str, error_code: i64) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM receipts WHERE sid = ?1 AND status = ?2 AND error_code = ?3")?
        .exists((sid, status, error_code))?)
}

/// Keeps the receipt, which must not be known yet. Of news about somebody who was erased meanwhile the raw
/// parameters are not kept: they hold the number.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, raw: &RawReceipt<'_>) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO receipts (sid, status, error_code, state, message_id, attempt, params, error,
                                   received_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6,
                     CASE WHEN EXISTS (SELECT 1 FROM messages m JOIN users u ON u.id = m.user_id
                                       WHERE m.id = ?5 AND u.erased_at IS NOT NULL) THEN NULL ELSE ?7 END,
                     ?8, ?9)",
        )?
        .execute((
            raw.sid,
            raw.status,
            raw.error_code,
            raw.state,
            raw.attempt.map(|key| key.message_id),
            raw.attempt.map(|key| key.number),
            raw.params,
            raw.error,
            tx.now,
        ))?;
    Ok(())
}

/// Notes how the effect of a receipt went: `done`, `unmatched`, or `pending` with the error.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn mark(
    tx: &Tx<'_>,
    id: i64,
    state: &str,
    attempt: Option<AttemptKey>,
    error: Option<&str>,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE receipts SET state = ?2, message_id = coalesce(?3, message_id),
               attempt = coalesce(?4, attempt), error = ?5
             WHERE id = ?1",
        )?
        .execute((id, state, attempt.map(|key| key.message_id), attempt.map(|key| key.number), error))?;
    Ok(())
}

/// A raw receipt that a replay looks at.
#[derive(Clone, Debug)]
pub struct ReplayReceipt {
    /// The row.
    pub id: i64,
    /// The attempt that it was found to be about.
    pub attempt: Option<AttemptKey>,
    /// Everything that came.
    pub params: Params,
}

/// Receipts above id `after` whose effect failed; with `since`, also those that no attempt was found for.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn to_replay(
    conn: &Connection,
    since: Option<Millis>,
    after: i64,
    limit: usize,
) -> Result<Vec<ReplayReceipt>, StoreError> {
    // Looked for every minute: what waits is found by its own small index.
    let sql = match since {
        None => {
            "SELECT id, message_id, attempt, params FROM receipts
             WHERE state = 'pending' AND id > ?1 AND params IS NOT NULL ORDER BY id LIMIT ?3"
        }
        Some(_) => {
            "SELECT id, message_id, attempt, params FROM receipts
             WHERE id > ?1 AND params IS NOT NULL
               AND (state = 'pending' OR (state = 'unmatched' AND received_at >= ?2))
             ORDER BY id LIMIT ?3"
        }
    };
    let rows = conn
        .prepare_cached(sql)?
        .query_map((after, since, limit as i64), |row| {
            let (message_id, number): (Option<i64>, Option<u32>) = (row.get(1)?, row.get(2)?);
            let params: String = row.get(3)?;
            Ok(ReplayReceipt {
                id: row.get(0)?,
                attempt: message_id.zip(number).map(|(message_id, number)| AttemptKey { message_id, number }),
                params: serde_json::from_str(&params).unwrap_or_default(),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}
