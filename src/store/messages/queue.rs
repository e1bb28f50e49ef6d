//! The rows as the queue: whose turn has come, with the person whom the gate will look at.

use rusqlite::{Connection, OptionalExtension, Row};

use super::super::StoreError;
use super::{STANDING, Standing, standing_from_row};
use crate::clock::Millis;
use crate::domain::consent::Consent;
use crate::domain::frequency::Recent;
use crate::domain::message::Kind;
use crate::domain::phone::{Channel, Phone};
use crate::domain::plan::Person;

/// A message whose turn has come, with the person it is for.
#[derive(Clone, Debug)]
pub struct Due {
    /// The message itself.
    pub standing: Standing,
    /// The sender chosen when it was queued; `None`: the campaign's.
    pub sender_id: Option<i64>,
    /// Why it is sent.
    pub kind: Kind,
    /// Over which channel.
    pub channel: Channel,
    /// Text given with a single message.
    pub body: Option<String>,
    /// Attachments given with a single message, a JSON array.
    pub media_urls: Option<String>,
    /// Variables of a single message, or the data of the trigger that started it, a JSON object.
    pub variables: Option<String>,
    /// The trigger that started it was taken back.
    pub is_taken_back: bool,
    /// Its template.
    pub template: Option<(i64, i64)>,
    /// Its topic.
    pub topic_id: Option<i64>,
    /// The person.
    pub person: Person,
}

/// The columns of a [`Person`], over `u` (users) and `s` (subscriptions, left-joined).
pub(in crate::store) const PERSON: &str =
    "u.phone, u.channel_address, u.country, u.consent, u.hold IS NOT NULL,
   u.reachable, u.suppressed, json(u.attributes), u.last_inbound_at, u.last_whatsapp_inbound_at,
   s.state = 'subscribed', u.first_marketing_id, u.recent_marketing";

/// Reads a [`Person`] from column `at` on.
pub(in crate::store) fn person_from_row(row: &Row<'_>, at: usize) -> rusqlite::Result<Person> {
    let (phone, consent, attributes): (Option<String>, String, String) =
        (row.get(at)?, row.get(at + 3)?, row.get(at + 7)?);
    let recent: Option<String> = row.get(at + 12)?;
    Ok(Person {
        phone: phone.and_then(|text| Phone::from_e164(&text)),
        channel_address: row.get(at + 1)?,
        country: row.get(at + 2)?,
        consent: consent.parse().unwrap_or(Consent::Stop),
        is_held: row.get(at + 4)?,
        is_reachable: row.get(at + 5)?,
        is_suppressed: row.get(at + 6)?,
        attributes: serde_json::from_str(&attributes).unwrap_or_default(),
        last_inbound_at: row.get(at + 8)?,
        last_whatsapp_inbound_at: row.get(at + 9)?,
        is_subscribed: row.get(at + 10)?,
        first_marketing_id: row.get(at + 11)?,
        recent_marketing: recent.as_deref().map(Recent::from_json).unwrap_or_default(),
    })
}

/// The person `user_id` as the gate needs them, with their standing to topic `topic_id`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn person(conn: &Connection, user_id: i64, topic_id: Option<i64>) -> Result<Option<Person>, StoreError> {
    let sql = format!(
        "SELECT {PERSON} FROM users u
           LEFT JOIN subscriptions s ON s.user_id = u.id AND s.topic_id = ?2
         WHERE u.id = ?1"
    );
    Ok(conn.prepare_cached(&sql)?.query_row((user_id, topic_id), |row| person_from_row(row, 0)).optional()?)
}

fn channel_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Channel> {
    let word: String = row.get(at)?;
    Ok(if word == "whatsapp" { Channel::Whatsapp } else { Channel::Sms })
}

fn due_from_row(row: &Row<'_>) -> rusqlite::Result<Due> {
    let kind: String = row.get(11)?;
    let template_id: Option<i64> = row.get(16)?;
    let version: Option<i64> = row.get(17)?;
    Ok(Due {
        standing: standing_from_row(row)?,
        sender_id: row.get(10)?,
        kind: Kind::parse(&kind).unwrap_or(Kind::Marketing),
        channel: channel_of(row, 12)?,
        body: row.get(13)?,
        media_urls: row.get(14)?,
        variables: row.get(15)?,
        template: template_id.zip(version),
        topic_id: row.get(18)?,
        is_taken_back: row.get(19)?,
        person: person_from_row(row, 20)?,
    })
}

/// At most `limit` messages of `lane` whose time has come, those first whose window closes first.
///
/// Works through the few distinct values of `closes_at`, so that what is deferred within each is
/// skipped by the index and never read.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn due(conn: &Connection, lane: i64, now: Millis, limit: usize) -> Result<Vec<Due>, StoreError> {
    let sql = format!(
        "SELECT {STANDING}, m.sender_id, m.kind, m.channel, m.body, m.media_urls,
                CASE WHEN m.variables IS NULL AND m.occasion <> ''
                  THEN (SELECT g.data FROM triggers g WHERE g.id = m.occasion) ELSE m.variables END,
                m.template_id, m.template_version, m.topic_id,
                CASE WHEN m.occasion <> '' THEN EXISTS (SELECT 1 FROM triggers g
                  WHERE g.id = m.occasion AND g.cancelled_by IS NOT NULL) ELSE 0 END, {PERSON}
         FROM messages m JOIN users u ON u.id = m.user_id
           LEFT JOIN subscriptions s ON s.user_id = m.user_id AND s.topic_id = m.topic_id
         WHERE m.status = 'queued' AND m.lane = ?1 AND m.closes_at = ?2 AND m.due_at <= ?3
         ORDER BY m.due_at, m.id LIMIT ?4"
    );
    let mut found = Vec::new();
    let mut closes_at = next_window(conn, lane, i64::MIN)?;
    while let Some(at) = closes_at {
        let room = limit - found.len();
        for row in conn.prepare_cached(&sql)?.query_map((lane, at, now, room as i64), due_from_row)? {
            found.push(row?);
        }
        if found.len() >= limit {
            break;
        }
        closes_at = next_window(conn, lane, at)?;
    }
    Ok(found)
}

fn next_window(conn: &Connection, lane: i64, after: Millis) -> Result<Option<Millis>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT min(closes_at) FROM messages
             WHERE status = 'queued' AND lane = ?1 AND closes_at > ?2",
        )?
        .query_row((lane, after), |row| row.get(0))?)
}

/// When the next message of `lane` is due; `None` when nothing is queued there.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn next_due(conn: &Connection, lane: i64) -> Result<Option<Millis>, StoreError> {
    let mut soonest: Option<Millis> = None;
    let mut closes_at = next_window(conn, lane, i64::MIN)?;
    while let Some(at) = closes_at {
        let due: Option<Millis> = conn
            .prepare_cached(
                "SELECT min(due_at) FROM messages
                 WHERE status = 'queued' AND lane = ?1 AND closes_at = ?2",
            )?
            .query_row((lane, at), |row| row.get(0))?;
        soonest = [soonest, due].into_iter().flatten().min();
        closes_at = next_window(conn, lane, at)?;
    }
    Ok(soonest)
}
