//! What became of an attempt: Twilio's answer, a receipt, or silence. Guarded so that late or repeated
//! news changes nothing: our own steps by state and attempt, the provider's by rank.

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use super::effects::Withdrawal;
use super::events::{self, NewEvent};
use super::ledger::{self, ConsentChange};
use super::messages::{self, NEVER_CLOSES, Standing, rfc3339};
use super::{StoreError, Tx, campaigns, senders, users};
use crate::clock::Millis;
use crate::domain::consent::Consent;
use crate::domain::event::EventType;
use crate::domain::failure::{Failure, Meaning};
use crate::domain::message::Status;
use crate::domain::retry::{Pace, backoff};

/// A day: how long a used-up daily limit keeps a sender or the account still.
const UNTIL_TOMORROW: Millis = 86_400_000;

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
            "UPDATE attempts SET outcome = 'accepted', answered_at = ?3, http_status = 201, sid = ?4,
               status = coalesce(status, ?5)
             WHERE message_id = ?1 AND number = ?2",
        )?
        .execute((key.message_id, key.number, tx.now, &acceptance.sid, &acceptance.twilio_status))?;
    let Some(standing) = messages::standing(tx.conn, key.message_id)? else {
        return Ok(());
    };
    if standing.attempts != key.number {
        return Ok(());
    }
    let before = parts(tx, standing.id)?;
    tx.conn
        .prepare_cached("UPDATE messages SET sid = ?2, parts = coalesce(?3, parts) WHERE id = ?1")?
        .execute((key.message_id, &acceptance.sid, acceptance.parts.filter(|n| *n > 0)))?;
    // A receipt that overtook the answer has settled the state already, and counted the parts as we did.
    if matches!(standing.status, Status::Sending | Status::Uncertain) {
        advance(tx, &standing, Status::Accepted, None, json!({"sid": acceptance.sid}))?;
    } else if let Some(campaign_id) = standing.campaign_id.filter(|_| !standing.is_test) {
        let more = parts(tx, standing.id)? - before;
        tx.effects.borrow_mut().sums.entry(campaign_id).or_default().parts += more;
    }
    Ok(())
}

fn parts(tx: &Tx<'_>, message_id: i64) -> Result<i64, StoreError> {
    Ok(tx
        .conn
        .prepare_cached("SELECT coalesce(parts, 0) FROM messages WHERE id = ?1")?
        .query_row([message_id], |row| row.get(0))?)
}

/// Moves a message to what the provider says of it, with its event, counts and times.
fn advance(
    tx: &Tx<'_>,
    standing: &Standing,
    to: Status,
    failure: Option<&Failure>,
    mut data: Value,
) -> Result<(), StoreError> {
    let kind = match to {
        Status::Accepted => EventType::MessageAccepted,
        Status::Sent => EventType::MessageSent,
        Status::Delivered => EventType::MessageDelivered,
        Status::Read => EventType::MessageRead,
        Status::Undelivered => EventType::MessageUndelivered,
        Status::Expired => EventType::MessageExpired,
        _ => EventType::MessageFailed,
    };
    let code = failure.map(|failure| failure.code).filter(|code| *code != 0);
    if let (Some(data), Some(failure)) = (data.as_object_mut(), failure) {
        data.insert("error_code".to_owned(), json!(failure.code));
        data.insert("error".to_owned(), json!(failure.text));
    }
    if standing.status.is_open()
        && matches!(to, Status::Accepted | Status::Sent | Status::Delivered | Status::Read)
    {
        note_acceptance(tx, standing)?;
    }
    let event_id = standing.note(tx, kind, data)?;
    let reason = failure.map(|_| "provider_error");
    tx.conn
        .prepare_cached(
            "UPDATE messages SET status = ?2, reason = ?3, error_code = ?4, last_event_id = ?5,
               accepted_at = CASE WHEN ?2 IN ('accepted', 'sent', 'delivered', 'read')
                 THEN coalesce(accepted_at, ?6) ELSE accepted_at END,
               sent_at = CASE WHEN ?2 IN ('sent', 'delivered', 'read') THEN coalesce(sent_at, ?6) ELSE sent_at END,
               delivered_at = CASE WHEN ?2 IN ('delivered', 'read')
                 THEN coalesce(delivered_at, ?6) ELSE delivered_at END,
               read_at = CASE WHEN ?2 = 'read' THEN coalesce(read_at, ?6) ELSE read_at END
             WHERE id = ?1",
        )?
        .execute((standing.id, to.as_str(), reason, code, event_id, tx.now))?;
    standing.count_move(tx, to, reason, code);
    Ok(())
}

/// Sums that hang on the news that an attempt is with the provider: parts for each, the message itself only
/// for the first.
fn note_acceptance(tx: &Tx<'_>, standing: &Standing) -> Result<(), StoreError> {
    let Some(campaign_id) = standing.campaign_id.filter(|_| !standing.is_test) else {
        return Ok(());
    };
    let (parts, is_first): (i64, bool) = tx
        .conn
        .prepare_cached("SELECT coalesce(parts, 0), accepted_at IS NULL FROM messages WHERE id = ?1")?
        .query_row([standing.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut effects = tx.effects.borrow_mut();
    let sums = effects.sums.entry(campaign_id).or_default();
    sums.parts += parts;
    sums.accepted += i64::from(is_first);
    sums.accepted_at = Some(tx.now);
    Ok(())
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
            "UPDATE attempts SET outcome = 'refused', answered_at = ?3, http_status = ?4, error_code = ?5,
               error_message = ?6
             WHERE message_id = ?1 AND number = ?2",
        )?
        .execute((key.message_id, key.number, tx.now, http_status, failure.code, &failure.text))?;
    let Some(standing) = messages::standing(tx.conn, key.message_id)? else {
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
               error_message = ?5
             WHERE message_id = ?1 AND number = ?2",
        )?
        .execute((key.message_id, key.number, tx.now, code, why))?;
    let Some(standing) = messages::standing(tx.conn, key.message_id)? else {
        return Ok(());
    };
    if standing.attempts == key.number && standing.status == Status::Sending {
        requeue(tx, &standing, Pace::Soon, policy, "provider_busy")?;
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
    Ok(())
}

/// Puts a claimed message back whose request never began. If its person or campaign stopped meanwhile, the
/// gate or the sweep of cancelled campaigns ends it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn withdrawn(tx: &Tx<'_>, key: AttemptKey) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'withdrawn', answered_at = ?3 WHERE message_id = ?1 AND number = ?2",
        )?
        .execute((key.message_id, key.number, tx.now))?;
    let Some(standing) = messages::standing(tx.conn, key.message_id)? else {
        return Ok(());
    };
    if standing.attempts != key.number || standing.status != Status::Sending {
        return Ok(());
    }
    let event_id = standing.note(tx, EventType::MessageWithdrawn, json!({}))?;
    tx.conn
        .prepare_cached("UPDATE messages SET status = 'queued', last_event_id = ?2 WHERE id = ?1")?
        .execute((standing.id, event_id))?;
    standing.count_move(tx, Status::Queued, None, None);
    if let Some(reason) = stop_reason(tx, &standing)? {
        let standing = Standing {
            status: Status::Queued,
            reason: None,
            error_code: None,
            last_event_id: Some(event_id),
            ..standing
        };
        messages::close(tx, &standing, Status::Cancelled, reason, json!({}))?;
    }
    tx.wake_delivery();
    Ok(())
}

fn stop_reason(tx: &Tx<'_>, standing: &Standing) -> Result<Option<&'static str>, StoreError> {
    let (is_stopped, is_cancelled): (bool, bool) = tx
        .conn
        .prepare_cached(
            "SELECT u.consent = 'stop', coalesce(c.status = 'cancelled', 0)
             FROM messages m JOIN users u ON u.id = m.user_id LEFT JOIN campaigns c ON c.id = m.campaign_id
             WHERE m.id = ?1",
        )?
        .query_row([standing.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(if is_stopped {
        Some("stop")
    } else if is_cancelled {
        Some("campaign_cancelled")
    } else {
        None
    })
}

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
        if known.is_some_and(|known| known.is_none_or(|known| known == sid)) {
            return Ok(Some(key));
        }
    }
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
    let code = news.failure.as_ref().map(|failure| failure.code);
    tx.conn
        .prepare_cached(
            "UPDATE attempts SET sid = coalesce(sid, ?3), status = ?4, error_code = coalesce(?5, error_code),
               outcome = CASE WHEN outcome IN ('pending', 'uncertain') THEN 'settled' ELSE outcome END
             WHERE message_id = ?1 AND number = ?2",
        )?
        .execute((key.message_id, key.number, news.sid, news.twilio_status, code))?;
    let Some(standing) = messages::standing(tx.conn, key.message_id)? else {
        return Ok(());
    };
    if standing.attempts != key.number {
        return Ok(());
    }
    tx.conn
        .prepare_cached("UPDATE messages SET sid = ?2 WHERE id = ?1 AND sid IS NOT ?2")?
        .execute((key.message_id, news.sid))?;
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
    match &news.failure {
        Some(failure) if status.rank() == Status::Failed.rank() => {
            failed(tx, &standing, status, failure, policy)
        }
        _ => advance(tx, &standing, status, None, json!({"sid": news.sid})),
    }
}

/// Draws the consequences of a failure: try again, mark the person, stop a sender, or just fail.
fn failed(
    tx: &Tx<'_>,
    standing: &Standing,
    status: Status,
    failure: &Failure,
    policy: &RetryPolicy,
) -> Result<(), StoreError> {
    let is_over = stop_reason(tx, standing)?.is_some();
    let may_repeat = !is_over && tries(tx, standing.id)? < policy.max_attempts;
    let is_in_time = standing.expires_at.is_none_or(|end| tx.now < end);
    match failure.meaning {
        Meaning::Retry if may_repeat => {
            return requeue(tx, standing, Pace::Soon, policy, "provider_busy");
        }
        Meaning::Later if may_repeat => return requeue(tx, standing, Pace::Later, policy, "retry_later"),
        Meaning::TooLate if may_repeat && is_in_time => {
            return requeue(tx, standing, Pace::Soon, policy, "too_late_at_twilio");
        }
        // What is wrong with a sender or the account takes nobody's attempts away.
        Meaning::PauseSender { until_tomorrow } => {
            pause_sender(tx, standing, failure, until_tomorrow)?;
            if !is_over {
                return requeue(tx, standing, Pace::Soon, policy, "sender_paused");
            }
        }
        Meaning::PauseAccount { until_tomorrow } => {
            pause_account(tx, failure, until_tomorrow)?;
            if !is_over {
                return requeue(tx, standing, Pace::Soon, policy, "account_paused");
            }
        }
        Meaning::FixConfig | Meaning::FixTemplate => pause_campaign(tx, standing, failure)?,
        Meaning::OptedOut => opt_out(tx, standing.user_id, failure)?,
        Meaning::InvalidNumber => {
            let reason = format!("{} {}", failure.code, failure.text);
            users::set_reachable(tx, standing.user_id, Some(&reason), "twilio")?;
        }
        _ => {}
    }
    advance(tx, standing, status, Some(failure), json!({}))
}

/// Hand-overs that Twilio looked at. Those that it was too busy for, or that never reached it, take
/// nobody's attempts away.
fn tries(tx: &Tx<'_>, message_id: i64) -> Result<u32, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "SELECT count(*) FROM attempts WHERE message_id = ?1 AND outcome <> 'withdrawn'
               AND NOT (outcome = 'refused' AND http_status IS NULL)",
        )?
        .query_row([message_id], |row| row.get(0))?)
}

fn requeue(
    tx: &Tx<'_>,
    standing: &Standing,
    pace: Pace,
    policy: &RetryPolicy,
    reason: &'static str,
) -> Result<(), StoreError> {
    let until = tx.now + backoff(pace, standing.attempts, policy.random, policy.retry_after);
    let data = json!({"reason": reason, "until": rfc3339(until)});
    let event_id = standing.note(tx, EventType::MessageRetried, data)?;
    tx.conn
        .prepare_cached(
            "UPDATE messages SET status = 'queued', reason = ?2, error_code = NULL, due_at = ?3,
               closes_at = ?4, last_event_id = ?5
             WHERE id = ?1",
        )?
        .execute((standing.id, reason, until, NEVER_CLOSES, event_id))?;
    standing.count_move(tx, Status::Queued, Some(reason), None);
    if let Some(campaign_id) = standing.campaign_id.filter(|_| !standing.is_test) {
        campaigns::reopen(tx, campaign_id, reason)?;
    }
    tx.wake_delivery();
    Ok(())
}

fn opt_out(tx: &Tx<'_>, user_id: i64, failure: &Failure) -> Result<(), StoreError> {
    let current: Option<String> = tx
        .conn
        .prepare_cached("SELECT consent FROM users WHERE id = ?1")?
        .query_row([user_id], |row| row.get(0))
        .optional()?;
    let current = current.and_then(|word| word.parse().ok()).unwrap_or(Consent::Unknown);
    if current == Consent::Stop {
        return Ok(());
    }
    let evidence = format!("Twilio error {}: {}", failure.code, failure.text);
    let change = ConsentChange {
        state: Consent::Stop,
        source: "twilio",
        actor: "twilio",
        evidence: Some(&evidence),
        obtained_at: None,
    };
    ledger::record(tx, user_id, current, &change)?;
    messages::cancel_of_user(tx, user_id, "stop")?;
    tx.withdraw(Withdrawal::User(user_id));
    Ok(())
}

fn sentence(failure: &Failure) -> String {
    format!("{} ({}). {}", failure.text.trim_end_matches('.'), failure.code, failure.what_to_do)
}

fn pause_campaign(tx: &Tx<'_>, standing: &Standing, failure: &Failure) -> Result<(), StoreError> {
    match standing.campaign_id {
        Some(id) if !standing.is_test => campaigns::pause(tx, id, &sentence(failure)),
        _ => Ok(()),
    }
}

fn pause_sender(
    tx: &Tx<'_>,
    standing: &Standing,
    failure: &Failure,
    until_tomorrow: bool,
) -> Result<(), StoreError> {
    let sender_id: Option<i64> = tx
        .conn
        .prepare_cached("SELECT sender_id FROM messages WHERE id = ?1")?
        .query_row([standing.id], |row| row.get(0))?;
    let Some(sender_id) = sender_id else {
        return Ok(());
    };
    let until = until_tomorrow.then_some(tx.now + UNTIL_TOMORROW);
    let reason = sentence(failure);
    if senders::pause(tx, sender_id, &reason, until)? {
        let event = NewEvent {
            data: Some(json!({"sender_id": sender_id, "reason": reason, "until": until.map(rfc3339)})),
            ..NewEvent::default()
        };
        events::append(tx, EventType::SenderPaused, event)?;
    }
    if !until_tomorrow {
        pause_campaign(tx, standing, failure)?;
    }
    tx.withdraw(Withdrawal::Sender(sender_id));
    Ok(())
}

fn pause_account(tx: &Tx<'_>, failure: &Failure, until_tomorrow: bool) -> Result<(), StoreError> {
    let until = until_tomorrow.then_some(tx.now + UNTIL_TOMORROW);
    let reason = sentence(failure);
    if senders::pause_account(tx, &reason, until)? {
        let event = NewEvent {
            data: Some(json!({"reason": reason, "until": until.map(rfc3339)})),
            ..NewEvent::default()
        };
        events::append(tx, EventType::AccountPaused, event)?;
    }
    if !until_tomorrow {
        campaigns::pause_all(tx, &reason)?;
    }
    tx.withdraw(Withdrawal::All);
    Ok(())
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
