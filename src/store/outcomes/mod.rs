//! What became of an attempt: Twilio's answer, a receipt, or silence. Guarded so that late or repeated
//! news changes nothing: our own steps by state and attempt, the provider's by rank.

mod consequences;
pub mod lookups;
mod news;
mod release;

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value, json};

use super::messages::{self, STANDING, STANDING_COLUMNS, Standing, standing_from_row};
use super::{StoreError, Tx, events, triggers};
use crate::clock::Millis;
use crate::domain::event::EventType;
use crate::domain::failure::Failure;
use crate::domain::lookup::FIRST_LOOK;
use crate::domain::message::Status;
use crate::domain::price::Currency;
use crate::domain::retry::Pace;
use crate::domain::rules::Rules;
use consequences::failed;

pub use news::{News, apply_news, find_attempt};

/// One hand-over of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptKey {
    /// The message.
    pub message_id: i64,
    /// 1 for the first.
    pub number: u32,
}

/// How often and when a failed message is tried again.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Hand-overs at most.
    pub max_attempts: u32,
    /// Uniform in 0…1, for the jitter.
    pub random: f64,
    /// Seconds that the provider asked for.
    pub retry_after: Option<u64>,
    /// Final failures in a row after which a number is set unreachable; 0: never.
    pub unreachable_after: u32,
    /// In which prices are counted.
    pub currency: Currency,
}

impl RetryPolicy {
    /// What the rules of the house say, at random within the jitter.
    pub fn of(rules: &Rules, max_attempts: u32) -> RetryPolicy {
        RetryPolicy {
            max_attempts,
            random: rand::random(),
            retry_after: None,
            unreachable_after: rules.unreachable_after,
            currency: rules.prices.currency(),
        }
    }
}

/// What Twilio said when it took a message.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    /// `SM…`.
    pub sid: String,
    /// Twilio's word, mostly `queued` or `accepted`.
    pub twilio_status: String,
    /// Twilio's count of parts, once it knows.
    pub parts: Option<u32>,
}

/// Records that Twilio took the message.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn accepted(tx: &Tx<'_>, key: AttemptKey, acceptance: &Acceptance) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE attempts SET outcome = CASE WHEN outcome = 'put_back' THEN outcome ELSE 'accepted' END,
               answered_at = ?3, http_status = 201, sid = ?4,
               status = coalesce(status, ?5), look_at = NULL
             WHERE message_id = ?1 AND number = ?2",
        )?
        .execute((key.message_id, key.number, tx.now, &acceptance.sid, &acceptance.twilio_status))?;
    let Some(found) = find(tx.conn, key.message_id)?.filter(|found| found.standing.attempts == key.number)
    else {
        return Ok(());
    };
    let counted = acceptance.parts.filter(|n| *n > 0).map(i64::from);
    let parts = counted.unwrap_or(found.parts);
    // A receipt that overtook the answer has settled the state already, and counted the parts as we did.
    if matches!(found.standing.status, Status::Sending | Status::Uncertain) {
        note_acceptance(tx, &found, parts);
        let news = Change { sid: Some(&acceptance.sid), parts: counted, ..Change::default() };
        return advance(tx, &found.standing, Status::Accepted, &news);
    }
    tx.conn
        .prepare_cached("UPDATE messages SET sid = ?2, parts = coalesce(?3, parts) WHERE id = ?1")?
        .execute((key.message_id, &acceptance.sid, counted))?;
    if let Some(campaign_id) = found.standing.campaign_id.filter(|_| !found.standing.is_test) {
        tx.effects.borrow_mut().sums.entry(campaign_id).or_default().parts += parts - found.parts;
    }
    Ok(())
}

/// A message as news of an attempt finds it.
struct Found {
    standing: Standing,
    sid: Option<String>,
    parts: i64,
    was_accepted: bool,
}

fn find(conn: &Connection, id: i64) -> Result<Option<Found>, StoreError> {
    let sql = format!(
        "SELECT {STANDING}, m.sid, coalesce(m.parts, 0), m.accepted_at IS NOT NULL
         FROM messages m WHERE m.id = ?1"
    );
    Ok(conn
        .prepare_cached(&sql)?
        .query_row([id], |row| {
            Ok(Found {
                standing: standing_from_row(row)?,
                sid: row.get(STANDING_COLUMNS)?,
                parts: row.get(STANDING_COLUMNS + 1)?,
                was_accepted: row.get(STANDING_COLUMNS + 2)?,
            })
        })
        .optional()?)
}

/// What comes with a new state.
#[derive(Default)]
struct Change<'a> {
    sid: Option<&'a str>,
    parts: Option<i64>,
    failure: Option<&'a Failure>,
    /// Twilio's list told of it.
    is_found_by_lookup: bool,
}

/// Moves a message to what the provider says of it, with its event, counts and times, in one change of its
/// row.
fn advance(tx: &Tx<'_>, standing: &Standing, to: Status, change: &Change<'_>) -> Result<(), StoreError> {
    let kind = match to {
        Status::Accepted => EventType::MessageAccepted,
        Status::Sent => EventType::MessageSent,
        Status::Delivered => EventType::MessageDelivered,
        Status::Read => EventType::MessageRead,
        Status::Undelivered => EventType::MessageUndelivered,
        Status::Expired => EventType::MessageExpired,
        _ => EventType::MessageFailed,
    };
    let code = change.failure.map(|failure| failure.code).filter(|code| *code != 0);
    let mut data = Map::new();
    if let Some(sid) = change.sid {
        data.insert("sid".to_owned(), json!(sid));
    }
    if change.is_found_by_lookup {
        data.insert("found_by".to_owned(), json!("lookup"));
    }
    if let Some(failure) = change.failure {
        data.insert("error_code".to_owned(), json!(failure.code));
        data.insert("error".to_owned(), json!(failure.text));
    }
    if let Some(code) = code {
        events::count_error(tx, code);
    }
    let event_id = standing.note(tx, kind, Value::Object(data))?;
    let reason = change.failure.map(|_| "provider_error");
    tx.conn
        .prepare_cached(
            "UPDATE messages SET status = ?2, reason = ?3, error_code = ?4, last_event_id = ?5,
               sid = coalesce(?7, sid), parts = coalesce(?8, parts),
               accepted_at = CASE WHEN ?2 = 'accepted' OR ?2 = 'sent' OR ?2 = 'delivered' OR ?2 = 'read'
                 THEN coalesce(accepted_at, ?6) ELSE accepted_at END,
               sent_at = CASE WHEN ?2 = 'sent' OR ?2 = 'delivered' OR ?2 = 'read'
                 THEN coalesce(sent_at, ?6) ELSE sent_at END,
               delivered_at = CASE WHEN ?2 IN ('delivered', 'read')
                 THEN coalesce(delivered_at, ?6) ELSE delivered_at END,
               read_at = CASE WHEN ?2 = 'read' THEN coalesce(read_at, ?6) ELSE read_at END
             WHERE id = ?1",
        )?
        .execute((standing.id, to.as_str(), reason, code, event_id, tx.now, change.sid, change.parts))?;
    standing.count_move(tx, to, reason, code);
    Ok(())
}

/// Sums that hang on the news that an attempt is with the provider: parts for each, the message itself only
/// for the first.
fn note_acceptance(tx: &Tx<'_>, found: &Found, parts: i64) {
    let Some(campaign_id) = found.standing.campaign_id.filter(|_| !found.standing.is_test) else {
        return;
    };
    let mut effects = tx.effects.borrow_mut();
    let sums = effects.sums.entry(campaign_id).or_default();
    sums.parts += parts;
    sums.accepted += i64::from(!found.was_accepted);
    sums.accepted_at = Some(tx.now);
}

/// Records that Twilio refused the message, and draws the consequences.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn refused(
    tx: &Tx<'_>,
    key: AttemptKey,
    http_status: u16,
    failure: &Failure,
    policy: &RetryPolicy,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE attempts SET outcome = CASE WHEN outcome = 'put_back' THEN outcome ELSE 'refused' END,
               answered_at = ?3, http_status = ?4, error_code = ?5,
               error_message = ?6, look_at = NULL
             WHERE message_id = ?1 AND number = ?2",
        )?
        .execute((key.message_id, key.number, tx.now, http_status, failure.code, &failure.text))?;
    let standing = messages::standing(tx.conn, key.message_id)?;
    release::nothing_handed_over(tx, key, standing.as_ref())?;
    let Some(standing) = standing else {
        return Ok(());
    };
    if standing.attempts != key.number || standing.status != Status::Sending {
        return Ok(());
    }
    failed(tx, &standing, Status::Failed, failure, policy)
}

/// Records that no connection was made or that Twilio was too busy: nothing was sent, it is tried again.
/// Waiting for Twilio takes nobody's attempts away: only the deadline ends it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn not_sent(
    tx: &Tx<'_>,
    key: AttemptKey,
    why: &str,
    code: i64,
    policy: &RetryPolicy,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'refused', answered_at = ?3, error_code = nullif(?4, 0),
               error_message = ?5, look_at = NULL
             WHERE message_id = ?1 AND number = ?2",
        )?
        .execute((key.message_id, key.number, tx.now, code, why))?;
    let standing = messages::standing(tx.conn, key.message_id)?;
    release::nothing_handed_over(tx, key, standing.as_ref())?;
    let Some(standing) = standing else {
        return Ok(());
    };
    if standing.attempts == key.number && standing.status == Status::Sending {
        consequences::requeue(tx, &standing, Pace::Soon, policy, "provider_busy")?;
    }
    Ok(())
}

/// Records that the answer was lost: the message may or may not be on its way.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn uncertain(tx: &Tx<'_>, key: AttemptKey, why: &str) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'uncertain', answered_at = ?3, error_message = ?4
             WHERE message_id = ?1 AND number = ?2 AND outcome = 'pending'",
        )?
        .execute((key.message_id, key.number, tx.now, why))?;
    let Some(standing) = messages::standing(tx.conn, key.message_id)? else {
        return Ok(());
    };
    if changed == 0 || standing.attempts != key.number || standing.status != Status::Sending {
        return Ok(());
    }
    let event_id =
        standing.note(tx, EventType::MessageUncertain, json!({"reason": "answer_lost", "why": why}))?;
    tx.conn
        .prepare_cached(
            "UPDATE messages SET status = 'uncertain', reason = 'answer_lost', last_event_id = ?2 WHERE id = ?1",
        )?
        .execute((standing.id, event_id))?;
    standing.count_move(tx, Status::Uncertain, Some("answer_lost"), None);
    lookups::look_at(tx, key, Some(tx.now + FIRST_LOOK))
}

/// Puts a claimed message back whose request never began. If its person or campaign stopped meanwhile, the
/// gate or the sweep of cancelled campaigns ends it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn withdrawn(tx: &Tx<'_>, key: AttemptKey) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'withdrawn', answered_at = ?3
             WHERE message_id = ?1 AND number = ?2 AND outcome = 'pending'",
        )?
        .execute((key.message_id, key.number, tx.now))?;
    let standing = messages::standing(tx.conn, key.message_id)?;
    if changed > 0 {
        release::nothing_handed_over(tx, key, standing.as_ref())?;
    }
    let Some(standing) = standing else {
        return Ok(());
    };
    if changed == 0 || standing.attempts != key.number || standing.status != Status::Sending {
        return Ok(());
    }
    if lookups::is_there_by_earlier(tx, &standing)? {
        return Ok(());
    }
    let event_id = standing.note(tx, EventType::MessageWithdrawn, json!({}))?;
    tx.conn
        .prepare_cached("UPDATE messages SET status = 'queued', last_event_id = ?2 WHERE id = ?1")?
        .execute((standing.id, event_id))?;
    standing.count_move(tx, Status::Queued, None, None);
    close_if_stopped(tx, standing.id)?;
    tx.wake_delivery();
    Ok(())
}

/// A message that is queued again has nothing to wait for if its person or campaign stopped meanwhile, or its
/// trigger was taken back.
fn close_if_stopped(tx: &Tx<'_>, id: i64) -> Result<(), StoreError> {
    let Some(standing) = messages::standing(tx.conn, id)? else {
        return Ok(());
    };
    match stop_reason(tx, &standing)? {
        Some(reason) => messages::close(tx, &standing, Status::Cancelled, reason, json!({})),
        None => Ok(()),
    }
}

fn stop_reason(tx: &Tx<'_>, standing: &Standing) -> Result<Option<&'static str>, StoreError> {
    let (is_stopped, is_cancelled, is_taken_back): (bool, bool, bool) = tx
        .conn
        .prepare_cached(
            "SELECT u.consent = 'stop', coalesce(c.status = 'cancelled', 0), g.cancelled_by IS NOT NULL
             FROM messages m JOIN users u ON u.id = m.user_id LEFT JOIN campaigns c ON c.id = m.campaign_id
               LEFT JOIN triggers g ON g.id = m.occasion
             WHERE m.id = ?1",
        )?
        .query_row([standing.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(if is_stopped {
        Some("stop")
    } else if is_cancelled {
        Some("campaign_cancelled")
    } else if is_taken_back {
        Some(triggers::CANCELLED)
    } else {
        None
    })
}

/// Attempts begun before `before` without an outcome.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn pending_attempts(conn: &Connection, before: Millis) -> Result<Vec<AttemptKey>, StoreError> {
    // The first condition is word for word that of the partial index: SQLite infers nothing.
    let keys = conn
        .prepare_cached(
            "SELECT message_id, number FROM attempts
             WHERE outcome IN ('pending', 'uncertain') AND outcome = 'pending' AND started_at < ?1",
        )?
        .query_map([before], |row| Ok(AttemptKey { message_id: row.get(0)?, number: row.get(1)? }))?
        .collect::<Result<_, _>>()?;
    Ok(keys)
}
