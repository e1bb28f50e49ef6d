//! Attempts whose answer was lost: which are to be looked for, and when. What is done about what was seen is in `seen`,
//! about what was not in `given_up`; messages that Twilio says nothing more about are in `unfinished`.

mod given_up;
mod seen;
mod unfinished;

use rusqlite::Connection;

use super::super::{StoreError, Tx};
use super::AttemptKey;
use crate::clock::Millis;
use crate::domain::phone::{Address, Channel, Phone};

pub use given_up::give_up;
pub(super) use given_up::{call_off, earlier, is_there_by_earlier};
pub use seen::{Seen, found, polled};
pub use unfinished::{Unfinished, unfinished};

/// Somebody for whom attempts are to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The person.
    pub user_id: i64,
    /// Over which channel.
    pub channel: Channel,
    /// Their wire address; `None` when there is none any more, so that nothing can be looked for.
    pub to: Option<String>,
    /// When the oldest of the attempts began.
    pub since: Millis,
}

/// An attempt whose answer was lost.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Which one.
    pub key: AttemptKey,
    /// When it began.
    pub started_at: Millis,
    /// When its answer was given up.
    pub since: Millis,
    /// Wire address of its sender.
    pub from: String,
    /// Its text.
    pub body: String,
    /// Sent as a Content template.
    pub is_content: bool,
}

/// At most `limit` people for whom it is time to look, the longest waiting first. Whoever has a message under
/// way is left out until its answer came or was lost: it may be equal to the one that is looked for.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn due(conn: &Connection, now: Millis, limit: usize) -> Result<Vec<Search>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT m.user_id, m.channel, u.phone, u.channel_address
         FROM attempts a CROSS JOIN messages m ON m.id = a.message_id CROSS JOIN users u ON u.id = m.user_id
         WHERE a.look_at IS NOT NULL AND a.look_at <= ?1
           AND NOT EXISTS (SELECT 1 FROM messages o
                           WHERE o.user_id = m.user_id AND o.channel = m.channel AND o.status = 'sending')
         ORDER BY a.look_at",
    )?;
    let mut rows = statement.query([now])?;
    let mut found: Vec<Search> = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let (user_id, channel): (i64, String) = (row.get(0)?, row.get(1)?);
        let channel = channel.parse().unwrap_or(Channel::Sms);
        if found.iter().any(|search| search.user_id == user_id && search.channel == channel) {
            continue;
        }
        let phone: Option<String> = row.get(2)?;
        let to = match phone.and_then(|text| Phone::from_e164(&text)) {
            Some(phone) => Some(Address::of(channel, &phone).wire()),
            None if channel == Channel::Whatsapp => row.get(3)?,
            None => None,
        };
        let oldest = lost(conn, user_id, channel)?.and_then(|lost| lost.first().map(|lost| lost.started_at));
        found.push(Search { user_id, channel, to, since: oldest.unwrap_or(now) });
    }
    Ok(found)
}

/// Every attempt to a person whose answer was lost, in the order in which they began; `None` while another
/// one is under way.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn lost(conn: &Connection, user_id: i64, channel: Channel) -> Result<Option<Vec<Lost>>, StoreError> {
    let is_busy = conn
        .prepare_cached("SELECT 1 FROM messages WHERE user_id = ?1 AND channel = ?2 AND status = 'sending'")?
        .exists((user_id, channel.as_str()))?;
    if is_busy {
        return Ok(None);
    }
    let found = conn
        .prepare_cached(
            "SELECT a.message_id, a.number, a.started_at, coalesce(a.answered_at, a.started_at), s.address,
                    coalesce(m.body, ''), t.content_sid IS NOT NULL
             FROM messages m CROSS JOIN attempts a ON a.message_id = m.id JOIN senders s ON s.id = a.sender_id
               LEFT JOIN template_versions t
                 ON t.template_id = m.template_id AND t.version = m.template_version
             WHERE m.user_id = ?1 AND m.channel = ?2 AND a.outcome = 'uncertain'
             ORDER BY a.started_at, a.message_id",
        )?
        .query_map((user_id, channel.as_str()), |row| {
            Ok(Lost {
                key: AttemptKey { message_id: row.get(0)?, number: row.get(1)? },
                started_at: row.get(2)?,
                since: row.get(3)?,
                from: row.get(4)?,
                body: row.get(5)?,
                is_content: row.get(6)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(Some(found))
}

/// Whether an attempt has this SID.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_bound(conn: &Connection, sid: &str) -> Result<bool, StoreError> {
    Ok(super::news::attempt_of(conn, sid)?.is_some())
}

/// How many attempts nobody knows the fate of.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count(conn: &Connection) -> Result<i64, StoreError> {
    // The first condition is word for word that of the partial index: SQLite infers nothing.
    Ok(conn
        .prepare_cached(
            "SELECT count(*) FROM attempts
             WHERE outcome IN ('pending', 'uncertain') AND outcome = 'uncertain'",
        )?
        .query_row([], |row| row.get(0))?)
}

/// How many attempts have no outcome: under way, or nobody knows their fate.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count_open(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM attempts WHERE outcome IN ('pending', 'uncertain')")?
        .query_row([], |row| row.get(0))?)
}

/// Sets when an attempt is looked for next; `None`: not any more.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn look_at(tx: &Tx<'_>, key: AttemptKey, at: Option<Millis>) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE attempts SET look_at = ?3 WHERE message_id = ?1 AND number = ?2 AND outcome = 'uncertain'",
        )?
        .execute((key.message_id, key.number, at))?;
    Ok(())
}

/// Puts those whose question failed behind the others who wait to be looked for.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn postpone(tx: &Tx<'_>, user_id: i64, channel: Channel, until: Millis) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE attempts SET look_at = ?3 WHERE look_at IS NOT NULL AND look_at < ?3
               AND message_id IN (SELECT id FROM messages WHERE user_id = ?1 AND channel = ?2)",
        )?
        .execute((user_id, channel.as_str(), until))?;
    Ok(())
}
