//! What a failure brings about: another try, a person marked, a sender or the account stopped.

use rusqlite::OptionalExtension;
use serde_json::json;

use super::super::effects::Withdrawal;
use super::super::events::{self, NewEvent};
use super::super::ledger::{self, ConsentChange};
use super::super::messages::{self, Standing, rfc3339};
use super::super::{StoreError, Tx, campaigns, content_templates, frequency, senders, users};
use super::{AttemptKey, Change, RetryPolicy, advance, close_if_stopped, lookups, release, stop_reason};
use crate::clock::Millis;
use crate::domain::consent::Consent;
use crate::domain::content::Approval;
use crate::domain::event::EventType;
use crate::domain::failure::{Failure, Meaning, Renewal};
use crate::domain::message::Status;
use crate::domain::retry::{Pace, backoff};

const DAY: Millis = 86_400_000;
/// Outside WhatsApp's 24 hours. A template that gets this is not approved, and nobody else will get it either
/// (<https://www.twilio.com/docs/api/errors/63016>).
const TAKEN_FOR_FREE_TEXT: i64 = 63016;

/// Draws the consequences of a failure: try again, mark the person, stop a sender, or just fail.
pub(super) fn failed(
    tx: &Tx<'_>,
    standing: &Standing,
    status: Status,
    failure: &Failure,
    policy: &RetryPolicy,
) -> Result<(), StoreError> {
    // Whoever was to get their first marketing message did not: the next one is.
    frequency::was_not_first(tx, standing.user_id, standing.id)?;
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
        Meaning::PauseSender { renews } => {
            let begun = put_back(tx, standing)?;
            // Queued first: a campaign that finished meanwhile runs again by it, and is paused after.
            if !is_over {
                requeue(tx, standing, Pace::Soon, policy, "sender_paused")?;
            }
            pause_sender(tx, standing, failure, (begun, renews))?;
            if !is_over {
                return Ok(());
            }
        }
        Meaning::PauseAccount { renews } => {
            let begun = put_back(tx, standing)?;
            if !is_over {
                requeue(tx, standing, Pace::Soon, policy, "account_paused")?;
            }
            pause_account(tx, failure, (begun, renews))?;
            if !is_over {
                return Ok(());
            }
        }
        Meaning::FixConfig => pause_campaign(tx, standing, failure)?,
        Meaning::FixTemplate => template_failed(tx, standing, failure)?,
        Meaning::Fail if failure.code == TAKEN_FOR_FREE_TEXT => not_a_template(tx, standing)?,
        Meaning::OptedOut => opt_out(tx, standing, failure)?,
        Meaning::InvalidNumber => {
            let reason = format!("{} {}", failure.code, failure.text);
            users::set_reachable(tx, standing.user_id, Some(&reason), "twilio")?;
        }
        _ if failure.is_about_the_phone => note_failure(tx, standing, failure, policy)?,
        _ => {}
    }
    advance(tx, standing, status, &Change { failure: Some(failure), ..Change::default() })
}

/// Counts a final failure that says something about the person's phone. After so many in a row the number is
/// left alone, until somebody says that it works.
fn note_failure(
    tx: &Tx<'_>,
    standing: &Standing,
    failure: &Failure,
    policy: &RetryPolicy,
) -> Result<(), StoreError> {
    let failures = users::note_failure(tx, standing.user_id)?;
    if policy.unreachable_after == 0 || failures < i64::from(policy.unreachable_after) {
        return Ok(());
    }
    let reason = format!("{} {}: {failures} messages in a row failed for good", failure.code, failure.text);
    users::set_reachable(tx, standing.user_id, Some(&reason), "twilio")
}

/// Notes that the last attempt failed by no fault of the message. Returns when it began.
fn put_back(tx: &Tx<'_>, standing: &Standing) -> Result<Millis, StoreError> {
    let begun = tx
        .conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'put_back' WHERE message_id = ?1 AND number = ?2
             RETURNING started_at",
        )?
        .query_row((standing.id, standing.attempts), |row| row.get(0))
        .optional()?
        .unwrap_or(tx.now);
    let key = AttemptKey { message_id: standing.id, number: standing.attempts };
    release::nothing_handed_over(tx, key, Some(standing))?;
    Ok(begun)
}

/// Hand-overs that Twilio looked at. Those that it was too busy for, that never reached it, or that a limit
/// of the sender or the account stopped, take nobody's attempts away.
pub(super) fn tries(tx: &Tx<'_>, message_id: i64) -> Result<u32, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "SELECT count(*) FROM attempts WHERE message_id = ?1 AND outcome NOT IN ('withdrawn', 'put_back')
               AND NOT (outcome = 'refused' AND http_status IS NULL)",
        )?
        .query_row([message_id], |row| row.get(0))?)
}

pub(super) fn requeue(
    tx: &Tx<'_>,
    standing: &Standing,
    pace: Pace,
    policy: &RetryPolicy,
    reason: &'static str,
) -> Result<(), StoreError> {
    if lookups::is_there_by_earlier(tx, standing)? {
        return Ok(());
    }
    let until = tx.now + backoff(pace, standing.attempts, policy.random, policy.retry_after);
    let data = json!({"reason": reason, "until": rfc3339(until)});
    let event_id = standing.note(tx, EventType::MessageRetried, data)?;
    tx.conn
        .prepare_cached(
            // The end of the window stays: within minutes it is the same, and once it has passed, whoever
            // missed it comes first and is asked about by the gate.
            "UPDATE messages SET status = 'queued', reason = ?2, error_code = NULL, due_at = ?3,
               last_event_id = ?4
             WHERE id = ?1",
        )?
        .execute((standing.id, reason, until, event_id))?;
    standing.count_move(tx, Status::Queued, Some(reason), None);
    if let Some(campaign_id) = standing.campaign_id.filter(|_| !standing.is_test) {
        campaigns::reopen(tx, campaign_id, reason)?;
    }
    close_if_stopped(tx, standing.id)?;
    tx.wake_delivery();
    Ok(())
}

fn opt_out(tx: &Tx<'_>, standing: &Standing, failure: &Failure) -> Result<(), StoreError> {
    let user_id = standing.user_id;
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
    if let Some(id) = standing.campaign_id.filter(|_| !standing.is_test) {
        tx.effects.borrow_mut().sums.entry(id).or_default().opt_outs += 1;
    }
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

/// Stops whatever sends the template, if Twilio says how WhatsApp judges it now, and the message's campaign in any
/// case.
fn template_failed(tx: &Tx<'_>, standing: &Standing, failure: &Failure) -> Result<(), StoreError> {
    if let (Some(approval), Some(sid)) = (Approval::of_error(failure.code), content_sid(tx, standing)?) {
        content_templates::judged(tx, &sid, approval)?;
    }
    pause_campaign(tx, standing, failure)
}

/// A Content template that WhatsApp took for free text stops its campaign: it is not approved, whatever we know.
fn not_a_template(tx: &Tx<'_>, standing: &Standing) -> Result<(), StoreError> {
    let (Some(id), Some(sid)) =
        (standing.campaign_id.filter(|_| !standing.is_test), content_sid(tx, standing)?)
    else {
        return Ok(());
    };
    let reason = format!(
        "WhatsApp did not take {sid} for an approved template (63016). Have it approved for this language, then resume."
    );
    campaigns::pause(tx, id, &reason)
}

/// The Content template that the message was made from, if any.
fn content_sid(tx: &Tx<'_>, standing: &Standing) -> Result<Option<String>, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "SELECT v.content_sid FROM messages m
               JOIN template_versions v ON v.template_id = m.template_id AND v.version = m.template_version
             WHERE m.id = ?1",
        )?
        .query_row([standing.id], |row| row.get(0))
        .optional()?
        .flatten())
}

/// The sentence of a pause, with its end.
fn sentence_until(failure: &Failure, until: Option<Millis>) -> String {
    let end = until.map(|until| format!(" It rests until {}.", rfc3339(until))).unwrap_or_default();
    format!("{}{end}", sentence(failure))
}

/// Stops the sender of a message whose attempt began at `begun`.
fn pause_sender(
    tx: &Tx<'_>,
    standing: &Standing,
    failure: &Failure,
    (begun, renews): (Millis, Option<Renewal>),
) -> Result<(), StoreError> {
    let sender_id: Option<i64> = tx
        .conn
        .prepare_cached("SELECT sender_id FROM messages WHERE id = ?1")?
        .query_row([standing.id], |row| row.get(0))?;
    let Some(sender_id) = sender_id else {
        return Ok(());
    };
    // News of a limit may come after the limit renewed, and says nothing about the new day.
    if renews.is_some() && senders::rested_since(tx.conn, sender_id, begun, tx.now)? {
        return Ok(());
    }
    let until = match renews {
        Some(renews) => {
            let oldest = senders::oldest_recipient(tx.conn, sender_id, tx.now - DAY)?;
            Some(renews.after(tx.now, oldest))
        }
        None => None,
    };
    let reason = sentence_until(failure, until);
    if senders::pause(tx, sender_id, &reason, until)? {
        let data = json!({"sender_id": sender_id, "reason": reason, "until": until.map(rfc3339)});
        for kind in [EventType::SenderPaused, EventType::AlertSenderPaused] {
            events::append(tx, kind, NewEvent { data: Some(data.clone()), ..NewEvent::default() })?;
        }
    }
    if renews.is_none() {
        pause_campaign(tx, standing, failure)?;
    }
    tx.withdraw(Withdrawal::Sender(sender_id));
    Ok(())
}

fn pause_account(
    tx: &Tx<'_>,
    failure: &Failure,
    (begun, renews): (Millis, Option<Renewal>),
) -> Result<(), StoreError> {
    if renews.is_some() && senders::account_rested_since(tx.conn, begun, tx.now)? {
        return Ok(());
    }
    let until = renews.map(|renews| renews.after(tx.now, None));
    let reason = sentence_until(failure, until);
    if senders::pause_account(tx, &reason, until)? {
        let data = json!({"reason": reason, "until": until.map(rfc3339)});
        for kind in [EventType::AccountPaused, EventType::AlertAccountPaused] {
            events::append(tx, kind, NewEvent { data: Some(data.clone()), ..NewEvent::default() })?;
        }
    }
    if renews.is_none() {
        campaigns::pause_all(tx, &reason)?;
    }
    tx.withdraw(Withdrawal::All);
    Ok(())
}
