//! What a proof needs of one person beside their messages: every change of consent with its evidence, what
//! they wrote as it came, and how long after a STOP anything still went out.

use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use crate::clock::Millis;
use crate::store::StoreError;

/// A change of consent with its evidence.
#[derive(Clone, Debug)]
pub struct ConsentRow {
    /// In order of recording.
    pub id: i64,
    /// The state before.
    pub previous: String,
    /// The state after.
    pub state: String,
    /// Where it came from.
    pub source: String,
    /// Who recorded it.
    pub actor: String,
    /// The words.
    pub evidence: Option<String>,
    /// There were words, whether they are still there or not.
    pub had_evidence: bool,
    /// When the person said so, if told.
    pub obtained_at: Option<Millis>,
    /// When it was recorded.
    pub at: Millis,
}

/// Every change of a person's consent, oldest first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn consent(conn: &Connection, user_id: i64) -> Result<Vec<ConsentRow>, StoreError> {
    let rows = conn
        .prepare_cached(
            "SELECT id, previous, state, source, actor, evidence, evidence_hash IS NOT NULL, obtained_at, at
             FROM consent_ledger WHERE user_id = ?1 ORDER BY id",
        )?
        .query_map([user_id], |row| {
            Ok(ConsentRow {
                id: row.get(0)?,
                previous: row.get(1)?,
                state: row.get(2)?,
                source: row.get(3)?,
                actor: row.get(4)?,
                evidence: row.get(5)?,
                had_evidence: row.get(6)?,
                obtained_at: row.get(7)?,
                at: row.get(8)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// What a person did about a topic.
#[derive(Clone, Debug)]
pub struct TopicRow {
    /// The topic.
    pub name: String,
    /// `opt_in_required` or `all_opted_in`.
    pub default_rule: String,
    /// `subscribed` or `unsubscribed`; `None`: they never said.
    pub state: Option<String>,
    /// Since when.
    pub at: Option<Millis>,
}

/// A person's place in every topic.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn topics(conn: &Connection, user_id: i64) -> Result<Vec<TopicRow>, StoreError> {
    let rows = conn
        .prepare_cached(
            "SELECT t.name, t.default_rule, s.state, s.at FROM topics t
               LEFT JOIN subscriptions s ON s.topic_id = t.id AND s.user_id = ?1 ORDER BY t.name",
        )?
        .query_map([user_id], |row| {
            Ok(TopicRow { name: row.get(0)?, default_rule: row.get(1)?, state: row.get(2)?, at: row.get(3)? })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// A message from the person as it came.
#[derive(Clone, Debug)]
pub struct HeardRow {
    /// In order of arrival.
    pub id: i64,
    /// Twilio's id.
    pub message_sid: String,
    /// `webhook` or `catch_up`.
    pub source: String,
    /// How it was understood.
    pub kind: Option<String>,
    /// To which address of ours.
    pub to_address: Option<String>,
    /// `sms` or `whatsapp`.
    pub channel: Option<String>,
    /// The words.
    pub body: Option<String>,
    /// What the webhook's answer said back.
    pub reply: Option<String>,
    /// The raw parameters in their order.
    pub params: Value,
    /// When Twilio got it.
    pub received_at: Millis,
    /// When retention removed the parameters, if it did.
    pub params_removed_at: Option<Millis>,
    /// When retention removed the words, if it did.
    pub body_removed_at: Option<Millis>,
}

/// What a person wrote, newest first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn heard(conn: &Connection, user_id: i64, limit: usize) -> Result<Vec<HeardRow>, StoreError> {
    let rows = conn
        .prepare_cached(
            "SELECT id, message_sid, source, kind, to_address, channel, body, reply, params, received_at,
                    params_removed_at, body_removed_at
             FROM inbound WHERE user_id = ?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map((user_id, limit as i64), |row| {
            let params: Option<String> = row.get(8)?;
            Ok(HeardRow {
                id: row.get(0)?,
                message_sid: row.get(1)?,
                source: row.get(2)?,
                kind: row.get(3)?,
                to_address: row.get(4)?,
                channel: row.get(5)?,
                body: row.get(6)?,
                reply: row.get(7)?,
                params: params.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null),
                received_at: row.get(9)?,
                params_removed_at: row.get(10)?,
                body_removed_at: row.get(11)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// What went out around a STOP that was recorded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around {
    /// Messages that waited and were cancelled with it.
    pub cancelled: i64,
    /// When the last of them was, as far as its event is still kept.
    pub last_cancelled_at: Option<Millis>,
    /// Claims whose request had not begun, and did not begin any more.
    pub withdrawn: i64,
    /// When the last request before it was taken up.
    pub last_request_at: Option<Millis>,
    /// Requests that were taken up after it, other than the one confirmation.
    pub requests_after: i64,
}

/// What went out to a person around a STOP recorded at `stopped_at`, until `reopened_at`, when they said START.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn around_stop(
    conn: &Connection,
    user_id: i64,
    stopped_at: Millis,
    reopened_at: Option<Millis>,
) -> Result<Around, StoreError> {
    let (cancelled, last_cancelled_at) = conn
        .prepare_cached(
            "SELECT count(*), max(e.at) FROM messages m JOIN events e ON e.id = m.last_event_id
             WHERE m.user_id = ?1 AND m.status = 'cancelled' AND m.reason = 'stop' AND e.at = ?2",
        )?
        .query_row((user_id, stopped_at), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found = conn
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE a.outcome = 'withdrawn' AND a.started_at <= ?2),
                    max(a.started_at) FILTER (WHERE a.outcome NOT IN ('withdrawn', 'put_back')
                                                AND a.started_at <= ?2),
                    count(*) FILTER (WHERE a.outcome NOT IN ('withdrawn', 'put_back') AND a.started_at > ?2
                                       AND m.kind <> 'confirmation')
             FROM messages m JOIN attempts a ON a.message_id = m.id
             WHERE m.user_id = ?1 AND (?3 IS NULL OR a.started_at < ?3)",
        )?
        .query_row((user_id, stopped_at, reopened_at), |row| {
            Ok(Around {
                cancelled,
                last_cancelled_at,
                withdrawn: row.get(0)?,
                last_request_at: row.get(1)?,
                requests_after: row.get(2)?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}
