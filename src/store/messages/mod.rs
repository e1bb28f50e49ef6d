//! `messages`: the rows that are the queue. Reading one, adding one, and what the gate decides about it;
//! what the provider says is in `outcomes`.

mod queue;
mod turns;

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Value, json};

use super::effects::CountKey;
use super::events::{self, NewEvent};
use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::event::EventType;
use crate::domain::gate::Reason;
use crate::domain::message::{Kind, Status};
use crate::domain::phone::Channel;

pub use queue::{Due, due, next_due, person};
pub(super) use queue::{PERSON, person_from_row};
pub use turns::{Claim, Retry, cancel_of_campaign, cancel_of_user, claim, close, defer, requeue_failed};

/// `closes_at` of a message that no hours bound: the year 9999.
pub const NEVER_CLOSES: Millis = 253_402_300_799_000;

/// The queue in which single messages of a sender wait. Campaigns use their own id.
pub fn single_lane(sender_id: i64, kind: Kind) -> i64 {
    match kind {
        Kind::Marketing => -(2 * sender_id),
        _ => -(2 * sender_id + 1),
    }
}

/// Where a message stands, as far as counts and guards need it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The message.
    pub id: i64,
    /// Its person.
    pub user_id: i64,
    /// Its campaign.
    pub campaign_id: Option<i64>,
    /// A test send: outside all counts.
    pub is_test: bool,
    /// Its state.
    pub status: Status,
    /// Why it is there.
    pub reason: Option<String>,
    /// The provider's code.
    pub error_code: Option<i64>,
    /// Hand-overs so far.
    pub attempts: u32,
    /// Its deadline.
    pub expires_at: Option<Millis>,
    /// The newest event about it.
    pub last_event_id: Option<i64>,
}

/// The columns of a [`Standing`], over `m` (messages).
pub(super) const STANDING: &str = "m.id, m.user_id, m.campaign_id, m.occasion, m.status, m.reason, m.error_code, m.attempts, m.expires_at, m.last_event_id";

/// How many they are.
pub(super) const STANDING_COLUMNS: usize = 10;

pub(super) fn standing_from_row(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let occasion: String = row.get(3)?;
    let status: String = row.get(4)?;
    Ok(Standing {
        id: row.get(0)?,
        user_id: row.get(1)?,
        campaign_id: row.get(2)?,
        is_test: is_test(&occasion),
        status: Status::parse(&status).unwrap_or(Status::Failed),
        reason: row.get(5)?,
        error_code: row.get(6)?,
        attempts: row.get(7)?,
        expires_at: row.get(8)?,
        last_event_id: row.get(9)?,
    })
}

/// Test sends are outside all counts.
fn is_test(occasion: &str) -> bool {
    occasion.starts_with("test:")
}

impl Standing {
    /// Moves one message from its old cell of `campaign_counts` to a new one.
    pub(super) fn count_move(&self, tx: &Tx<'_>, to: Status, reason: Option<&str>, code: Option<i64>) {
        let Some(campaign_id) = self.campaign_id.filter(|_| !self.is_test) else {
            return;
        };
        let key = |status: Status, reason: Option<&str>, code: Option<i64>| CountKey {
            campaign_id,
            status: status.as_str(),
            reason: reason.unwrap_or_default().to_owned(),
            error_code: code.unwrap_or(0),
        };
        let mut effects = tx.effects.borrow_mut();
        *effects.counts.entry(key(self.status, self.reason.as_deref(), self.error_code)).or_default() -= 1;
        *effects.counts.entry(key(to, reason, code)).or_default() += 1;
    }

    /// Appends an event to the message's chain and returns its id.
    pub(super) fn note(&self, tx: &Tx<'_>, kind: EventType, data: Value) -> Result<i64, StoreError> {
        events::append(
            tx,
            kind,
            NewEvent {
                user_id: Some(self.user_id),
                campaign_id: self.campaign_id,
                message: Some((self.id, self.last_event_id)),
                data: Some(data),
            },
        )
    }
}

/// Where a message stands now.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn standing(conn: &Connection, id: i64) -> Result<Option<Standing>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {STANDING} FROM messages m WHERE m.id = ?1"))?
        .query_row([id], standing_from_row)
        .optional()?)
}

/// A message that is not a campaign's own: by API, a test, a trigger.
#[derive(Clone, Debug)]
pub struct NewMessage<'a> {
    /// The person.
    pub user_id: i64,
    /// Set for tests and triggers.
    pub campaign_id: Option<i64>,
    /// `test:…`, a trigger's id, or ''.
    pub occasion: &'a str,
    /// Why it is sent.
    pub kind: Kind,
    /// Over which channel.
    pub channel: Channel,
    /// The queue.
    pub lane: i64,
    /// Not before.
    pub due_at: Millis,
    /// The end of the person's window; `None`: no hours bound it.
    pub closes_at: Option<Millis>,
    /// The deadline.
    pub expires_at: Option<Millis>,
    /// Through which sender; `None`: the campaign's.
    pub sender_id: Option<i64>,
    /// About what.
    pub topic_id: Option<i64>,
    /// Template and version.
    pub template: Option<(i64, i64)>,
    /// JSON object of variables.
    pub variables: Option<String>,
    /// The caller's own name for it.
    pub reference: Option<&'a str>,
    /// The text, without a template.
    pub body: Option<&'a str>,
    /// JSON array of attachments.
    pub media_urls: Option<String>,
    /// Nothing is really sent.
    pub is_simulated: bool,
    /// The gate's refusal, if it said no: the message is kept as skipped, or as expired.
    pub refused: Option<(Status, Reason)>,
}

/// Adds a message, queued or refused, and returns its id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, message: &NewMessage<'_>) -> Result<i64, StoreError> {
    let (status, reason) = message.refused.unzip();
    let status = status.unwrap_or(Status::Queued);
    let id = tx
        .conn
        .prepare_cached(
            "INSERT INTO messages (campaign_id, user_id, occasion, status, reason, kind, channel, lane,
               due_at, expires_at, sender_id, topic_id, template_id, template_version, variables,
               reference, body, media_urls, is_simulated, created_at, closes_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
                     ?19, ?20, ?21)",
        )?
        .insert(rusqlite::params![
            message.campaign_id,
            message.user_id,
            message.occasion,
            status.as_str(),
            reason.map(Reason::as_str),
            message.kind.as_str(),
            message.channel.as_str(),
            message.lane,
            message.due_at,
            message.expires_at,
            message.sender_id,
            message.topic_id,
            message.template.map(|(id, _)| id),
            message.template.map(|(_, version)| version),
            message.variables,
            message.reference,
            message.body,
            message.media_urls,
            message.is_simulated,
            tx.now,
            message.closes_at.unwrap_or(NEVER_CLOSES),
        ])?;
    if let Some(campaign_id) = message.campaign_id.filter(|_| !is_test(message.occasion)) {
        let reason = reason.map_or("", Reason::as_str).to_owned();
        let key = CountKey { campaign_id, status: status.as_str(), reason, error_code: 0 };
        *tx.effects.borrow_mut().counts.entry(key).or_default() += 1;
    }
    if let Some(reason) = reason {
        let event = NewEvent {
            user_id: Some(message.user_id),
            campaign_id: message.campaign_id,
            message: Some((id, None)),
            data: Some(json!({"reason": reason.as_str()})),
        };
        let kind =
            if status == Status::Expired { EventType::MessageExpired } else { EventType::MessageSkipped };
        let event_id = events::append(tx, kind, event)?;
        tx.conn
            .prepare_cached("UPDATE messages SET last_event_id = ?2 WHERE id = ?1")?
            .execute((id, event_id))?;
    }
    tx.wake_delivery();
    Ok(id)
}

/// True while a campaign has a message that is queued, under way or uncertain. Test sends don't count.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn has_open(conn: &Connection, campaign_id: i64) -> Result<bool, StoreError> {
    let is_waiting = conn
        .prepare_cached("SELECT 1 FROM messages WHERE status = 'queued' AND lane = ?1 LIMIT 1")?
        .exists([campaign_id])?;
    if is_waiting {
        return Ok(true);
    }
    Ok(conn
        .prepare_cached(
            "SELECT 1 FROM attempts a JOIN messages m ON m.id = a.message_id
             WHERE a.outcome IN ('pending', 'uncertain') AND m.campaign_id = ?1
               AND m.status IN ('sending', 'uncertain') AND m.occasion NOT GLOB 'test:*' LIMIT 1",
        )?
        .exists([campaign_id])?)
}

/// At most `limit` messages that wait in a lane, due or not.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn waiting_in(conn: &Connection, lane: i64, limit: usize) -> Result<Vec<Standing>, StoreError> {
    let found = conn
        .prepare_cached(&format!(
            "SELECT {STANDING} FROM messages m WHERE m.status = 'queued' AND m.lane = ?1 LIMIT ?2"
        ))?
        .query_map((lane, limit as i64), standing_from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// The newest messages with this reference, at most `limit`; in one state only, if given.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn by_reference(
    conn: &Connection,
    reference: &str,
    status: Option<Status>,
    limit: usize,
) -> Result<Vec<Standing>, StoreError> {
    let found = conn
        .prepare_cached(&format!(
            "SELECT {STANDING} FROM messages m WHERE m.reference = ?1 AND (?2 IS NULL OR m.status = ?2)
             ORDER BY m.id DESC LIMIT ?3"
        ))?
        .query_map((reference, status.map(Status::as_str), limit as i64), standing_from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Milliseconds as RFC 3339, UTC, with as many digits as needed.
pub(crate) fn rfc3339(millis: Millis) -> String {
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |at| at.to_string())
}
