//! `inbound`: what people wrote to us, raw and as it was understood.

use rusqlite::Connection;

use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::phone::Channel;

/// Parameters in the order in which they came.
pub type Params = Vec<(String, String)>;

/// A message from a person as it came.
#[derive(Clone, Copy, Debug)]
pub struct RawInbound<'a> {
    /// `SM…`; taken once.
    pub message_sid: &'a str,
    /// `webhook` or `catch_up`.
    pub source: &'a str,
    /// Wire address of the person.
    pub from: &'a str,
    /// Wire address of ours.
    pub to: &'a str,
    /// The words.
    pub body: &'a str,
    /// URL and content type of each attachment: a JSON array of pairs.
    pub media: &'a str,
    /// Everything that came: a JSON array of pairs.
    pub params: &'a str,
    /// When Twilio got it, as far as is known.
    pub received_at: Millis,
}

/// What was understood of a message.
#[derive(Clone, Debug)]
pub struct Understood {
    /// The person; `None`: nobody that we can know.
    pub user_id: Option<i64>,
    /// Over which channel it came.
    pub channel: Channel,
    /// `message`, `stop` …
    pub kind: &'static str,
    /// What was answered at once.
    pub reply: Option<String>,
}

/// Whether the message was here already.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_known(conn: &Connection, message_sid: &str) -> Result<bool, StoreError> {
    Ok(conn.prepare_cached("SELECT 1 FROM inbound WHERE message_sid = ?1")?.exists([message_sid])?)
}

/// Keeps a message, which must not be known yet, with what was understood of it. Returns its id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, raw: &RawInbound<'_>, understood: &Understood) -> Result<i64, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "INSERT INTO inbound (message_sid, state, source, from_address, to_address, body, media, params,
                                  received_at, user_id, channel, kind, reply)
             VALUES (?1, 'done', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .insert((
            raw.message_sid,
            raw.source,
            raw.from,
            raw.to,
            raw.body,
            raw.media,
            raw.params,
            raw.received_at,
            understood.user_id,
            understood.channel.as_str(),
            understood.kind,
            &understood.reply,
        ))?)
}

/// Keeps a message, which must not be known yet, whose effect failed; a replay tries again.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert_failed(tx: &Tx<'_>, raw: &RawInbound<'_>, error: &str) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO inbound (message_sid, state, source, from_address, to_address, body, media, params,
                                  received_at, error)
             VALUES (?1, 'pending', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            raw.message_sid,
            raw.source,
            raw.from,
            raw.to,
            raw.body,
            raw.media,
            raw.params,
            raw.received_at,
            error,
        ))?;
    Ok(())
}

/// Notes what a replay understood.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn mark_done(tx: &Tx<'_>, id: i64, understood: &Understood) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE inbound SET state = 'done', user_id = ?2, channel = ?3, kind = ?4,
               reply = coalesce(?5, reply), error = NULL
             WHERE id = ?1",
        )?
        .execute((id, understood.user_id, understood.channel.as_str(), understood.kind, &understood.reply))?;
    Ok(())
}

/// Notes why the effect of a raw message failed again; the next replay tries again.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn mark_failed(tx: &Tx<'_>, id: i64, error: &str) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE inbound SET state = 'pending', error = ?2 WHERE id = ?1")?
        .execute((id, error))?;
    Ok(())
}

/// When a person last said STOP, by the moments at which Twilio got it; also one that changed nothing because
/// they were out already.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn last_stop_at(conn: &Connection, user_id: i64) -> Result<Option<Millis>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT max(received_at) FROM inbound WHERE user_id = ?1 AND kind = 'stop'")?
        .query_row([user_id], |row| row.get(0))?)
}

/// Those of `sids` that were never kept.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn missing(conn: &Connection, sids: Vec<String>) -> Result<Vec<String>, StoreError> {
    let mut known = conn.prepare_cached("SELECT 1 FROM inbound WHERE message_sid = ?1")?;
    let mut missing = Vec::new();
    for sid in sids {
        if !known.exists([&sid])? {
            missing.push(sid);
        }
    }
    Ok(missing)
}

/// How many automatic answers a person got since `since`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn replies_since(conn: &Connection, user_id: i64, since: Millis) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT count(*) FROM inbound WHERE user_id = ?1 AND received_at > ?2 AND reply IS NOT NULL",
        )?
        .query_row((user_id, since), |row| row.get(0))?)
}

/// A raw message that a replay looks at.
#[derive(Clone, Debug)]
pub struct ReplayRow {
    /// The row.
    pub id: i64,
    /// How it was understood, if it was.
    pub kind: Option<String>,
    /// The person, if known.
    pub user_id: Option<i64>,
    /// When it came.
    pub received_at: Millis,
    /// Everything that came.
    pub params: Params,
}

/// Raw messages above id `after` that wait for their effect or that nobody could be found for; with
/// `since`, all that came at or after it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn to_replay(
    conn: &Connection,
    since: Option<Millis>,
    after: i64,
    limit: usize,
) -> Result<Vec<ReplayRow>, StoreError> {
    // Looked for every minute: what waits is found by its own small index, not by a walk over all that came.
    let sql = match since {
        None => {
            "SELECT id, kind, user_id, received_at, params FROM inbound
             WHERE state = 'pending' AND id > ?1 AND params IS NOT NULL ORDER BY id LIMIT ?3"
        }
        Some(_) => {
            "SELECT id, kind, user_id, received_at, params FROM inbound
             WHERE id > ?1 AND params IS NOT NULL AND (state = 'pending' OR received_at >= ?2)
             ORDER BY id LIMIT ?3"
        }
    };
    let rows = conn
        .prepare_cached(sql)?
        .query_map((after, since, limit as i64), |row| {
            let params: String = row.get(4)?;
            Ok(ReplayRow {
                id: row.get(0)?,
                kind: row.get(1)?,
                user_id: row.get(2)?,
                received_at: row.get(3)?,
                params: serde_json::from_str(&params).unwrap_or_default(),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}
