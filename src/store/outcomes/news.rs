//! What a receipt, or Twilio when asked, says of an attempt: found by its ids or its SID, and applied unless it is
//! late, repeated or about an older attempt.

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::consequences::failed;
use super::{AttemptKey, Change, Found, RetryPolicy, advance, find, lookups, note_acceptance};
use crate::domain::event::EventType;
use crate::domain::failure::Failure;
use crate::domain::message::Status;
use crate::store::{StoreError, Tx, spending};

/// What a receipt tells.
#[derive(Clone, Debug)]
pub struct News<'a> {
    /// `SM…`.
    pub sid: &'a str,
    /// Twilio's word.
    pub twilio_status: &'a str,
    /// What it means; `None` for a word that this release does not know.
    pub status: Option<Status>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// Which attempt a receipt is about: by the ids in the callback URL if they fit the SID, else by SID.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_attempt(
    conn: &Connection,
    named: Option<AttemptKey>,
    sid: &str,
) -> Result<Option<AttemptKey>, StoreError> {
    if let Some(key) = named {
        let known: Option<Option<String>> = conn
            .prepare_cached("SELECT sid FROM attempts WHERE message_id = ?1 AND number = ?2")?
            .query_row((key.message_id, key.number), |row| row.get(0))
            .optional()?;
        match known {
            Some(Some(known)) if known == sid => return Ok(Some(key)),
            // A look-up may have bound it to an equal message to the same person; there it stays.
            Some(None) => return Ok(attempt_of(conn, sid)?.or(Some(key))),
            _ => {}
        }
    }
    attempt_of(conn, sid)
}

/// The attempt that has this SID.
pub(super) fn attempt_of(conn: &Connection, sid: &str) -> Result<Option<AttemptKey>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT message_id, number FROM attempts WHERE sid = ?1")?
        .query_row([sid], |row| Ok(AttemptKey { message_id: row.get(0)?, number: row.get(1)? }))
        .optional()?)
}

/// Applies a receipt to its attempt, and to the message unless the news is late, repeated or about an
/// older attempt.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn apply_news(
    tx: &Tx<'_>,
    key: AttemptKey,
    news: &News<'_>,
    policy: &RetryPolicy,
) -> Result<(), StoreError> {
    note_on_attempt(tx, key, news)?;
    let Some(found) = find(tx.conn, key.message_id)? else {
        return Ok(());
    };
    // A message that an earlier attempt turned out to have brought there goes on with that one.
    let is_its_own = found.sid.as_deref() == Some(news.sid) && !found.standing.status.is_open();
    if found.standing.attempts != key.number && !is_its_own {
        return lookups::earlier(tx, key, &found, news);
    }
    if found.sid.as_deref() != Some(news.sid) {
        tx.conn
            .prepare_cached("UPDATE messages SET sid = ?2 WHERE id = ?1")?
            .execute((key.message_id, news.sid))?;
    }
    let found = lookups::call_off(tx, found, news)?;
    let found = if news.status.is_none() { taken(tx, found, news)? } else { found };
    let standing = &found.standing;
    let Some(status) = news.status else {
        let data = json!({"status": news.twilio_status});
        let event_id = standing.note(tx, EventType::ReceiptUnknown, data)?;
        tx.conn
            .prepare_cached("UPDATE messages SET last_event_id = ?2 WHERE id = ?1")?
            .execute((standing.id, event_id))?;
        return Ok(());
    };
    // A message that waits for another try takes no further news of the last one, except that it did arrive:
    // then nobody is sent to again.
    let is_final = status.rank() >= Status::Delivered.rank();
    if status.rank() <= standing.status.rank() || (standing.status == Status::Queued && !is_final) {
        return Ok(());
    }
    if let Some(failure) = news.failure.as_ref().filter(|_| status.rank() == Status::Failed.rank()) {
        if status != Status::Undelivered {
            // No carrier had it, so nobody charges for it; should Twilio do so, its price says it.
            spending::charge(tx, key, 0)?;
        }
        return failed(tx, standing, status, failure, policy);
    }
    // One that waits for another try was counted when its last one was accepted.
    let is_counted = standing.status == Status::Queued && found.was_accepted;
    if standing.status.is_open() && !is_counted && status.rank() != Status::Failed.rank() {
        note_acceptance(tx, &found, found.parts);
    }
    advance(tx, standing, status, &Change { sid: Some(news.sid), ..Change::default() })
}

/// A word that this release does not know shows all the same that Twilio has the message. Its attempt is
/// settled by now: were the message left open, nobody would look after it any more.
fn taken(tx: &Tx<'_>, found: Found, news: &News<'_>) -> Result<Found, StoreError> {
    if !matches!(found.standing.status, Status::Sending | Status::Uncertain) {
        return Ok(found);
    }
    note_acceptance(tx, &found, found.parts);
    let change = Change { sid: Some(news.sid), ..Change::default() };
    advance(tx, &found.standing, Status::Accepted, &change)?;
    Ok(find(tx.conn, found.standing.id)?.unwrap_or(found))
}

/// Notes Twilio's last word on an attempt. An answered one keeps what its indexes hold, so that they need
/// not be written anew: nearly every receipt is about such a one.
fn note_on_attempt(tx: &Tx<'_>, key: AttemptKey, news: &News<'_>) -> Result<(), StoreError> {
    let code = news.failure.as_ref().map(|failure| failure.code);
    let answered = tx
        .conn
        .prepare_cached(
            "UPDATE attempts SET status = ?4, error_code = coalesce(?5, error_code)
             WHERE message_id = ?1 AND number = ?2 AND sid = ?3 AND outcome NOT IN ('pending', 'uncertain')",
        )?
        .execute((key.message_id, key.number, news.sid, news.twilio_status, code))?;
    if answered == 0 {
        tx.conn
            .prepare_cached(
                "UPDATE attempts SET sid = coalesce(sid, ?3), status = ?4, look_at = NULL,
                   error_code = coalesce(?5, error_code),
                   outcome = CASE WHEN outcome IN ('pending', 'uncertain') THEN 'settled' ELSE outcome END
                 WHERE message_id = ?1 AND number = ?2",
            )?
            .execute((key.message_id, key.number, news.sid, news.twilio_status, code))?;
    }
    Ok(())
}
