//! What our own side does with a message that waits: claims it, lets it wait on, ends it, queues it again.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::closings::{self, SharedClosings};
use super::super::{StoreError, Tx, campaigns};
use super::{Due, STANDING, Standing, rfc3339, standing_from_row, waiting_in};
use crate::clock::Millis;
use crate::domain::event::EventType;
use crate::domain::message::Status;

/// What goes out with a claimed message.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// Through which sender.
    pub sender_id: i64,
    /// The text for this person.
    pub body: &'a str,
    /// SMS parts.
    pub parts: u32,
    /// What it costs by the price table, in millionths; `None`: unknown.
    pub charge: Option<i64>,
}

/// Takes a due message: `sending`, and its row in `attempts`. Returns the attempt's number.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn claim(tx: &Tx<'_>, due: &Due, claim: &Claim<'_>) -> Result<u32, StoreError> {
    let number = due.standing.attempts + 1;
    tx.conn
        .prepare_cached(
            "UPDATE messages SET status = 'sending', reason = NULL, error_code = NULL, attempts = ?2,
               sender_id = ?3, body = ?4, parts = ?5
             WHERE id = ?1 AND status = 'queued'",
        )?
        .execute((due.standing.id, number, claim.sender_id, claim.body, claim.parts))?;
    tx.conn
        .prepare_cached(
            "INSERT INTO attempts (message_id, number, sender_id, started_at, charge_micros)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((due.standing.id, number, claim.sender_id, tx.now, claim.charge))?;
    due.standing.count_move(tx, Status::Sending, None, None);
    Ok(number)
}

/// Lets a message wait until `until`; `closes_at` is the end of the window that begins then. `None` leaves
/// what was known: who waits for anything else keeps the place in the order.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn defer(
    tx: &Tx<'_>,
    standing: &Standing,
    until: Millis,
    reason: &'static str,
    closes_at: Option<Millis>,
) -> Result<(), StoreError> {
    // Said once: waiting on for the same reason is no news.
    let event_id = if standing.reason.as_deref() == Some(reason) {
        standing.last_event_id
    } else {
        let data = json!({"reason": reason, "until": rfc3339(until)});
        Some(standing.note(tx, EventType::MessageDeferred, data)?)
    };
    tx.conn
        .prepare_cached(
            "UPDATE messages SET due_at = ?2, closes_at = coalesce(?3, closes_at), reason = ?4,
               last_event_id = ?5
             WHERE id = ?1 AND status = 'queued'",
        )?
        .execute((standing.id, until, closes_at, reason, event_id))?;
    standing.count_move(tx, Status::Queued, Some(reason), standing.error_code);
    Ok(())
}

/// Ends a queued message without sending it: `skipped`, `expired` or `cancelled`, with the reason and what
/// else is known of it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn close(
    tx: &Tx<'_>,
    standing: &Standing,
    status: Status,
    reason: &str,
    mut data: Value,
) -> Result<(), StoreError> {
    let kind = match status {
        Status::Expired => EventType::MessageExpired,
        Status::Cancelled => EventType::MessageCancelled,
        _ => EventType::MessageSkipped,
    };
    if let Some(data) = data.as_object_mut() {
        data.insert("reason".to_owned(), json!(reason));
    }
    let event_id = standing.note(tx, kind, data)?;
    tx.conn
        .prepare_cached(
            "UPDATE messages SET status = ?2, reason = ?3, error_code = NULL, last_event_id = ?4
             WHERE id = ?1 AND status = ?5",
        )?
        .execute((standing.id, status.as_str(), reason, event_id, standing.status.as_str()))?;
    standing.count_move(tx, status, Some(reason), None);
    Ok(())
}

/// Cancels everything that waits for a person. Returns how many messages that were.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn cancel_of_user(tx: &Tx<'_>, user_id: i64, reason: &str) -> Result<usize, StoreError> {
    let waiting: Vec<Standing> = tx
        .conn
        .prepare_cached(&format!(
            "SELECT {STANDING} FROM messages m WHERE m.user_id = ?1 AND m.status = 'queued'"
        ))?
        .query_map([user_id], standing_from_row)?
        .collect::<Result<_, _>>()?;
    for standing in &waiting {
        close(tx, standing, Status::Cancelled, reason, json!({}))?;
    }
    Ok(waiting.len())
}

/// Cancels at most `limit` queued messages of a campaign; the campaign's own event tells of them all.
/// Returns how many.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn cancel_of_campaign(tx: &Tx<'_>, campaign_id: i64, limit: usize) -> Result<usize, StoreError> {
    let waiting = waiting_in(tx.conn, campaign_id, limit)?;
    for standing in &waiting {
        tx.conn
            .prepare_cached(
                "UPDATE messages SET status = 'cancelled', reason = 'campaign_cancelled'
                 WHERE id = ?1 AND status = 'queued'",
            )?
            .execute([standing.id])?;
        standing.count_move(tx, Status::Cancelled, Some("campaign_cancelled"), standing.error_code);
    }
    Ok(waiting.len())
}

/// Which failed messages of a campaign are queued again in one write.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Of people from this id on.
    pub after: i64,
    /// How many at most.
    pub limit: usize,
    /// With these codes of Twilio, 0 for those without; `None`: whatever it was.
    pub codes: Option<Arc<[i64]>>,
}

/// Queues failed messages of a campaign again, each with the end of the person's window by `closings`. Returns how many, and the last user looked at, or `None` at the end.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn requeue_failed(
    tx: &Tx<'_>,
    campaign_id: i64,
    retry: &Retry,
    closings: &SharedClosings,
) -> Result<(usize, Option<i64>), StoreError> {
    let codes = retry.codes.as_ref().map(|codes| json!(&codes[..]).to_string());
    let failed: Vec<Standing> = tx
        .conn
        .prepare_cached(&format!(
            "SELECT {STANDING} FROM messages m
             WHERE m.campaign_id = ?1 AND m.user_id >= ?2 AND m.occasion NOT GLOB 'test:*'
               AND m.status IN ('failed', 'undelivered', 'expired')
               AND (?4 IS NULL OR coalesce(m.error_code, 0) IN (SELECT value FROM json_each(?4)))
             ORDER BY m.campaign_id, m.user_id, m.occasion LIMIT ?3"
        ))?
        .query_map((campaign_id, retry.after, retry.limit as i64, codes), standing_from_row)?
        .collect::<Result<_, _>>()?;
    let sql = format!(
        "UPDATE messages SET status = 'queued', reason = NULL, error_code = NULL, due_at = ?2,
           closes_at = (SELECT {} FROM users u WHERE u.id = user_id), last_event_id = ?3 WHERE id = ?1",
        closings::expression(closings)
    );
    for standing in &failed {
        let event_id = standing.note(tx, EventType::MessageRetried, json!({"reason": "retry_failed"}))?;
        closings::with(closings, tx.now, || {
            Ok(tx.conn.prepare_cached(&sql)?.execute((standing.id, tx.now, event_id))?)
        })?;
        standing.count_move(tx, Status::Queued, None, None);
    }
    let last = failed.last().map(|standing| standing.user_id);
    if !failed.is_empty() {
        campaigns::reopen(tx, campaign_id, "retry_failed")?;
    }
    tx.wake_delivery();
    Ok((failed.len(), last.filter(|_| failed.len() == retry.limit)))
}
