//! Attempts that Twilio's list does not show: they are given up, and taken back where it turns out that Twilio had the
//! message all along.

use rusqlite::OptionalExtension;
use serde_json::json;

use super::super::consequences::{requeue, tries};
use super::super::{
    AttemptKey, Change, Found, News, RetryPolicy, advance, find, note_acceptance, stop_reason,
};
use crate::domain::event::EventType;
use crate::domain::message::Status;
use crate::domain::retry::Pace;
use crate::store::messages::{self, Standing};
use crate::store::{StoreError, Tx, frequency};

/// Why a message waits again whose answer was lost.
const ANSWER_LOST: &str = "answer_lost";
/// Why a message failed whose last attempt was given up.
const USED_UP: &str = "attempts_used_up";

/// Gives up an attempt that Twilio's list does not show: the message waits for another one, which asks the
/// gate as any retry does. It counts as a try; after the last one the message has failed.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn give_up(tx: &Tx<'_>, key: AttemptKey, policy: &RetryPolicy) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'given_up', look_at = NULL
             WHERE message_id = ?1 AND number = ?2 AND outcome = 'uncertain'",
        )?
        .execute((key.message_id, key.number))?;
    let Some(standing) = messages::standing(tx.conn, key.message_id)? else {
        return Ok(());
    };
    if changed == 0 || standing.attempts != key.number || standing.status != Status::Uncertain {
        return Ok(());
    }
    // As far as anybody can tell nobody got it. It stays charged and counted: it may turn up yet.
    frequency::was_not_first(tx, standing.user_id, standing.id)?;
    // Whoever stopped meanwhile is told so, not that tries ran out.
    let is_over = stop_reason(tx, &standing)?.is_some();
    if is_over || tries(tx, standing.id)? < policy.max_attempts {
        return requeue(tx, &standing, Pace::Soon, policy, ANSWER_LOST);
    }
    let event_id = standing.note(tx, EventType::MessageFailed, json!({"reason": USED_UP}))?;
    tx.conn
        .prepare_cached(
            "UPDATE messages SET status = 'failed', reason = ?2, error_code = NULL, last_event_id = ?3
             WHERE id = ?1",
        )?
        .execute((standing.id, USED_UP, event_id))?;
    standing.count_move(tx, Status::Failed, Some(USED_UP), None);
    Ok(())
}

/// News of an attempt that was given up, before the message went out again: Twilio had it all along, and the
/// next try is called off. The message stands as accepted then, and the news may take it further.
pub(in crate::store::outcomes) fn call_off(
    tx: &Tx<'_>,
    found: Found,
    news: &News<'_>,
) -> Result<Found, StoreError> {
    let standing = &found.standing;
    let may_be = match standing.status {
        Status::Queued => true,
        Status::Failed => standing.reason.as_deref() == Some(USED_UP),
        _ => false,
    };
    if !may_be {
        return Ok(found);
    }
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'settled'
             WHERE message_id = ?1 AND number = ?2 AND outcome = 'given_up'",
        )?
        .execute((standing.id, standing.attempts))?;
    if changed == 0 {
        return Ok(found);
    }
    note_acceptance(tx, &found, found.parts);
    advance(tx, standing, Status::Accepted, &Change { sid: Some(news.sid), ..Change::default() })?;
    Ok(find(tx.conn, standing.id)?.unwrap_or(found))
}

/// News of an attempt that was given up, after later ones began. While none of those is with Twilio it counts:
/// the message is there, and nobody is sent to again. Else it stays with its attempt.
pub(in crate::store::outcomes) fn earlier(
    tx: &Tx<'_>,
    key: AttemptKey,
    found: &Found,
    news: &News<'_>,
) -> Result<(), StoreError> {
    let standing = &found.standing;
    if !matches!(standing.status, Status::Queued | Status::Uncertain) || news.failure.is_some() {
        return Ok(());
    }
    if !is_given_up(tx, key)? {
        return Ok(());
    }
    settle_on(tx, found, key, news.sid, news.status.unwrap_or(Status::Accepted))
}

fn is_given_up(tx: &Tx<'_>, key: AttemptKey) -> Result<bool, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "SELECT 1 FROM attempts WHERE message_id = ?1 AND number = ?2 AND outcome = 'given_up'",
        )?
        .exists((key.message_id, key.number))?)
}

/// The message stands where an earlier attempt brought it; what became of the last one is looked for no more.
fn settle_on(
    tx: &Tx<'_>,
    found: &Found,
    key: AttemptKey,
    sid: &str,
    status: Status,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE attempts SET outcome = 'settled' WHERE message_id = ?1 AND number = ?2")?
        .execute((key.message_id, key.number))?;
    tx.conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'given_up', look_at = NULL
             WHERE message_id = ?1 AND outcome = 'uncertain'",
        )?
        .execute([key.message_id])?;
    note_acceptance(tx, found, found.parts);
    advance(tx, &found.standing, status, &Change { sid: Some(sid), ..Change::default() })
}

/// Before a message waits for another try: whether an attempt that was given up has turned out to be with Twilio
/// meanwhile. Then the message stands there, and `true` says that no other try is made.
pub(in crate::store::outcomes) fn is_there_by_earlier(
    tx: &Tx<'_>,
    standing: &Standing,
) -> Result<bool, StoreError> {
    let earlier: Option<(u32, String)> = tx
        .conn
        .prepare_cached(
            "SELECT number, sid FROM attempts
             WHERE message_id = ?1 AND number < ?2 AND outcome = 'given_up' AND sid IS NOT NULL
               AND coalesce(status, '') NOT IN ('failed', 'undelivered', 'canceled')
             ORDER BY number LIMIT 1",
        )?
        .query_row((standing.id, standing.attempts), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some(((number, sid), found)) = earlier.zip(find(tx.conn, standing.id)?) else {
        return Ok(false);
    };
    settle_on(tx, &found, AttemptKey { message_id: standing.id, number }, &sid, Status::Accepted)?;
    Ok(true)
}
