//! `triggers`: business events, each taken once for good, and how far the people of a segment that one names
//! have become messages. What an event starts is decided in `campaign`.

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use super::campaigns::Added;
use super::effects::Withdrawal;
use super::events::{self, NewEvent};
use super::messages::{self, STANDING, Standing, standing_from_row};
use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::event::EventType;
use crate::domain::message::Status;

/// Why a message is taken back whose trigger was.
pub const CANCELLED: &str = "trigger_cancelled";

/// An event about to be kept. Checked before it comes here.
#[derive(Clone, Debug)]
pub struct NewTrigger<'a> {
    /// The sender's own name for it.
    pub id: &'a str,
    /// `order.paid` …
    pub kind: &'a str,
    /// When it happened.
    pub occurred_at: Millis,
    /// To whom.
    pub user_id: Option<i64>,
    /// Or to everybody in this segment.
    pub segment: Option<String>,
    /// What templates see, a JSON object.
    pub data: &'a str,
    /// Messages go out no earlier.
    pub send_at: Option<Millis>,
    /// The id of the event whose messages it takes back.
    pub cancels: Option<&'a str>,
    /// The id of the event that took it back before it came.
    pub cancelled_by: Option<&'a str>,
}

/// An event as kept, as far as later ones ask about it.
#[derive(Clone, Debug)]
pub struct TriggerRow {
    /// Whom it concerns.
    pub user_id: Option<i64>,
    /// The segment that it concerns.
    pub segment: Option<Value>,
    /// Messages go out no earlier.
    pub send_at: Option<Millis>,
    /// The event that took it back.
    pub cancelled_by: Option<String>,
    /// When it came.
    pub received_at: Millis,
}

/// The event with this id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: &str) -> Result<Option<TriggerRow>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT user_id, segment, send_at, cancelled_by, received_at FROM triggers WHERE id = ?1",
        )?
        .query_row([id], |row| {
            let segment: Option<String> = row.get(1)?;
            Ok(TriggerRow {
                user_id: row.get(0)?,
                segment: segment.and_then(|text| serde_json::from_str(&text).ok()),
                send_at: row.get(2)?,
                cancelled_by: row.get(3)?,
                received_at: row.get(4)?,
            })
        })
        .optional()?)
}

/// Keeps an event. The caller made sure that its id is new.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, trigger: &NewTrigger<'_>) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO triggers (id, type, occurred_at, user_id, segment, data, send_at, cancels,
                                   cancelled_by, received_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            trigger.id,
            trigger.kind,
            trigger.occurred_at,
            trigger.user_id,
            &trigger.segment,
            trigger.data,
            trigger.send_at,
            trigger.cancels,
            trigger.cancelled_by,
            tx.now,
        ))?;
    Ok(())
}

/// Writes an event about a trigger.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note(
    tx: &Tx<'_>,
    kind: EventType,
    user_id: Option<i64>,
    campaign_id: Option<i64>,
    data: Value,
) -> Result<(), StoreError> {
    events::append(tx, kind, NewEvent { user_id, campaign_id, data: Some(data), ..NewEvent::default() })?;
    Ok(())
}

/// The event that took `id` back before it came, if one did.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn cancelled_before(conn: &Connection, id: &str) -> Result<Option<String>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT id FROM triggers WHERE cancels = ?1 ORDER BY received_at LIMIT 1")?
        .query_row([id], |row| row.get(0))
        .optional()?)
}

/// The messages that an event started for one person.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn messages_for(conn: &Connection, user_id: i64, id: &str) -> Result<Vec<Standing>, StoreError> {
    let found = conn
        .prepare_cached(&format!(
            "SELECT {STANDING} FROM messages m
             WHERE m.user_id = ?1 AND m.occasion = ?2 AND m.campaign_id IS NOT NULL ORDER BY m.id"
        ))?
        .query_map((user_id, id), standing_from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Takes an event back: from now on no message of it is claimed, and claims whose request has not begun are
/// withdrawn. Returns whether it stood until now.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn cancel(tx: &Tx<'_>, id: &str, by: &str) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached("UPDATE triggers SET cancelled_by = ?2 WHERE id = ?1 AND cancelled_by IS NULL")?
        .execute((id, by))?;
    if changed == 0 {
        return Ok(false);
    }
    for message_id in claimed(tx.conn, id)? {
        tx.withdraw(Withdrawal::Message(message_id));
    }
    // What was frozen so far is walked once more, to be taken back; the rest is never frozen.
    let audiences = tx
        .conn
        .prepare_cached(
            "UPDATE trigger_audiences SET is_cancelled = 1, is_open = through > 0, last = through, through = 0
             WHERE trigger_id = ?1 AND NOT is_cancelled",
        )?
        .execute([id])?;
    if audiences > 0 {
        tx.wake_triggers();
    }
    Ok(true)
}

/// The messages of an event that are claimed.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn claimed(conn: &Connection, id: &str) -> Result<Vec<i64>, StoreError> {
    // The first condition is that of the index, word for word: without it every attempt there is would be read.
    let found = conn
        .prepare_cached(
            "SELECT m.id FROM attempts a JOIN messages m ON m.id = a.message_id
             WHERE a.outcome IN ('pending', 'uncertain') AND a.outcome = 'pending' AND m.occasion = ?1
               AND m.status = 'sending'",
        )?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// The people of a trigger's segment on their way to become messages of a campaign, or those messages on their
/// way to be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerAudience {
    /// The campaign.
    pub campaign_id: i64,
    /// The event, which is the messages' occasion.
    pub trigger_id: String,
    /// It was taken back.
    pub is_cancelled: bool,
    /// Done up to this `users.id` …
    pub through: i64,
    /// … of those up to this one.
    pub last: i64,
}

/// Queues a segment's people for a campaign: everybody there is now. The work is done in chunks later.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn add_audience(tx: &Tx<'_>, campaign_id: i64, trigger_id: &str) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO trigger_audiences (campaign_id, trigger_id, last)
             VALUES (?1, ?2, (SELECT coalesce(max(id), 0) FROM users))",
        )?
        .execute((campaign_id, trigger_id))?;
    tx.wake_triggers();
    Ok(())
}

const AUDIENCE: &str = "campaign_id, trigger_id, is_cancelled, through, last";

fn audience_from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<TriggerAudience> {
    Ok(TriggerAudience {
        campaign_id: row.get(0)?,
        trigger_id: row.get(1)?,
        is_cancelled: row.get(2)?,
        through: row.get(3)?,
        last: row.get(4)?,
    })
}

/// At most `limit` audiences of which something is left to be done, in the order of campaign and event, behind
/// those of `after`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn open_audiences(
    conn: &Connection,
    after: (i64, &str),
    limit: usize,
) -> Result<Vec<TriggerAudience>, StoreError> {
    let found = conn
        .prepare_cached(&format!(
            "SELECT {AUDIENCE} FROM trigger_audiences
             WHERE is_open = 1 AND (campaign_id, trigger_id) > (?1, ?2)
             ORDER BY campaign_id, trigger_id LIMIT ?3"
        ))?
        .query_map((after.0, after.1, limit as i64), audience_from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// The audience as it is now, if something is left to be done of it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn open_audience(
    conn: &Connection,
    campaign_id: i64,
    trigger_id: &str,
) -> Result<Option<TriggerAudience>, StoreError> {
    Ok(conn
        .prepare_cached(&format!(
            "SELECT {AUDIENCE} FROM trigger_audiences
             WHERE campaign_id = ?1 AND trigger_id = ?2 AND is_open = 1"
        ))?
        .query_row((campaign_id, trigger_id), audience_from_row)
        .optional()?)
}

/// Notes how far an audience has come. Done as a whole when `through` is its last person.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn advance(tx: &Tx<'_>, audience: &TriggerAudience, through: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE trigger_audiences SET through = ?3, is_open = ?3 < last
             WHERE campaign_id = ?1 AND trigger_id = ?2",
        )?
        .execute((audience.campaign_id, &audience.trigger_id, through))?;
    Ok(())
}

/// Ends the work on an audience where it stands, unless its event was taken back since it was read: the sweep is
/// another work. Returns whether it ended.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn close_audience(tx: &Tx<'_>, audience: &TriggerAudience) -> Result<bool, StoreError> {
    let closed = tx
        .conn
        .prepare_cached(
            "UPDATE trigger_audiences SET is_open = 0
             WHERE campaign_id = ?1 AND trigger_id = ?2 AND is_open = 1 AND is_cancelled = ?3",
        )?
        .execute((audience.campaign_id, &audience.trigger_id, audience.is_cancelled))?;
    Ok(closed > 0)
}

/// Takes back what still waits of a cancelled audience, for its people up to `through` and at most `rows` of them;
/// the trigger's own event tells of them all. Returns how many there were, and how far it came.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn sweep(tx: &Tx<'_>, audience: &TriggerAudience, through: i64, rows: i64) -> Result<Added, StoreError> {
    let waiting: Vec<Standing> = tx
        .conn
        .prepare_cached(&format!(
            "SELECT {STANDING} FROM messages m
             WHERE m.campaign_id = ?1 AND m.user_id > ?2 AND m.user_id <= ?3 AND m.occasion = ?4
               AND m.status = 'queued' ORDER BY m.user_id LIMIT ?5"
        ))?
        .query_map(
            (audience.campaign_id, audience.through, through, &audience.trigger_id, rows),
            standing_from_row,
        )?
        .collect::<Result<_, _>>()?;
    for standing in &waiting {
        tx.conn
            .prepare_cached(
                "UPDATE messages SET status = 'cancelled', reason = ?2 WHERE id = ?1 AND status = 'queued'",
            )?
            .execute((standing.id, CANCELLED))?;
        standing.count_move(tx, Status::Cancelled, Some(CANCELLED), standing.error_code);
    }
    let is_full = waiting.len() as i64 >= rows;
    let reached = waiting.last().filter(|_| is_full).map_or(through, |last| last.user_id);
    advance(tx, audience, reached)?;
    Ok(Added { rows: waiting.len(), through: reached })
}

/// Takes back the messages to one person that still wait. Returns how many, and how many had left already.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn cancel_for(tx: &Tx<'_>, user_id: i64, id: &str, by: &str) -> Result<(usize, usize), StoreError> {
    let (mut taken_back, mut gone) = (0, 0);
    for standing in messages_for(tx.conn, user_id, id)? {
        match standing.status {
            Status::Queued => {
                let data = json!({"cancelled_by": by});
                messages::close(tx, &standing, Status::Cancelled, CANCELLED, data)?;
                taken_back += 1;
            }
            Status::Skipped | Status::Cancelled | Status::Expired => {}
            _ => gone += 1,
        }
    }
    Ok((taken_back, gone))
}
