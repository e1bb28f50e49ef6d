//! Replay: raw rows whose effect failed, or all since a moment after a parser was mended.

use super::receive::{Heard, note_in_inbox, understand_again};
use super::status;
use crate::clock::Millis;
use crate::domain::consent::{Consent, Intent, KeywordTable};
use crate::store::inbound::{self, ReplayRow};
use crate::store::outcomes::{self, RetryPolicy};
use crate::store::{StoreError, Tx, ledger, receipts};
use crate::twilio::webhook::{InboundForm, StatusForm};

/// Rows of one call.
const PAGE: usize = 200;

/// What a replay did, and where the next call goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Messages from people that were looked at.
    pub inbound: usize,
    /// Receipts that were looked at.
    pub receipts: usize,
    /// Rows whose effect changed something.
    pub changed: usize,
    /// The last row of each table that was looked at; `None` at the end.
    pub next: Option<(i64, i64)>,
}

/// Replays one page behind `after` (inbound id, receipt id). A message that is understood as before is left
/// alone; an old START never undoes a later STOP.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn replay(
    tx: &Tx<'_>,
    since: Option<Millis>,
    after: (i64, i64),
    keywords: &KeywordTable,
    policy: &RetryPolicy,
) -> Result<Replayed, StoreError> {
    let messages = inbound::to_replay(tx.conn(), since, after.0, PAGE)?;
    let news = receipts::to_replay(tx.conn(), since, after.1, PAGE)?;
    let mut done = Replayed { inbound: messages.len(), receipts: news.len(), ..Replayed::default() };
    let next = (messages.last().map_or(after.0, |row| row.id), news.last().map_or(after.1, |row| row.id));
    if messages.len() == PAGE || news.len() == PAGE {
        done.next = Some(next);
    }
    for row in messages {
        let id = row.id;
        match tx.nested(|tx| replay_message(tx, &row, keywords)) {
            Ok(is_changed) => done.changed += usize::from(is_changed),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => inbound::mark_failed(tx, id, &error.to_string())?,
        }
    }
    for row in news {
        let id = row.id;
        let Ok(form) = StatusForm::read(&row.params) else {
            continue;
        };
        // The attempt that the callback URL named: if Twilio's answer was lost, nothing else knows the SID.
        let key = outcomes::find_attempt(tx.conn(), row.attempt, &form.message_sid)?;
        let Some(key) = key else {
            continue;
        };
        match tx.nested(|tx| status::apply(tx, key, &form, policy)) {
            Ok(()) => {
                receipts::mark(tx, id, "done", Some(key), None)?;
                done.changed += 1;
            }
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => receipts::mark(tx, id, "pending", Some(key), Some(&error.to_string()))?,
        }
    }
    Ok(done)
}

fn replay_message(tx: &Tx<'_>, row: &ReplayRow, keywords: &KeywordTable) -> Result<bool, StoreError> {
    let Ok(form) = InboundForm::read(&row.params) else {
        return Ok(false);
    };
    let heard = Heard::new(form, &row.params, keywords);
    let intent = heard.intent(tx)?;
    let is_as_before = match row.kind.as_deref() {
        Some("unmatched") => heard.has_no_person(tx)?,
        // What a YES meant hung on the state that the person was in then.
        Some("start" | "message") if intent == Intent::Yes => true,
        // Nothing is to be reviewed of somebody who had said STOP by then.
        Some("message") if intent == Intent::Review && was_stopped(tx, row)? => true,
        Some(kind) => kind == kind_of(&intent),
        None => false,
    };
    if is_as_before {
        return Ok(false);
    }
    let understood = understand_again(tx, row.id, &heard, row.received_at, row.kind.is_none())?;
    if row.user_id.is_none() {
        // Nobody saw it yet, whatever was understood of it before.
        note_in_inbox(tx, row.id, &understood, row.received_at)?;
    }
    Ok(true)
}

/// Whether the person of a message was in `stop` when it came.
fn was_stopped(tx: &Tx<'_>, row: &ReplayRow) -> Result<bool, StoreError> {
    let Some(user_id) = row.user_id else {
        return Ok(false);
    };
    let state = ledger::state_at(tx.conn(), user_id, row.received_at)?;
    Ok(state.as_deref() == Some(Consent::Stop.as_str()))
}

fn kind_of(intent: &Intent) -> &'static str {
    match intent {
        Intent::Stop => "stop",
        Intent::Start => "start",
        Intent::Help => "help",
        Intent::Subscribe(_) => "subscribe",
        Intent::Unsubscribe(_) => "unsubscribe",
        Intent::Review => "review",
        Intent::Yes | Intent::Plain => "message",
    }
}
