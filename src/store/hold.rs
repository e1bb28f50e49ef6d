//! Safe hold: a file that was restored from a copy sends nothing until somebody says so. The copy knows nothing of
//! what was sent, and of who said STOP, since it was made.

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::events::{self, NewEvent};
use super::messages::{self, STANDING, standing_from_row};
use super::{StoreError, Tx, campaigns, cursors};
use crate::clock::Millis;
use crate::domain::campaign::CampaignStatus;
use crate::domain::event::EventType;
use crate::domain::message::Status;

/// When Twilio's list was last looked through while the file was held, in `cursors`.
const CAUGHT_UP: &str = "safe_hold.caught_up";

/// Since when the file is held; `None` when it is not.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn since(conn: &Connection) -> Result<Option<Millis>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT coalesce(held_at, created_at) FROM store_identity WHERE id = 1 AND safe_hold = 1",
        )?
        .query_row([], |row| row.get(0))
        .optional()?)
}

/// What a campaign says that stood in the copy.
const RESTORED: &str = "The data file was restored from a copy. Whoever got this campaign after the copy was made would get it again: compare with Twilio's log, then resume or cancel.";

/// Puts the file on hold, and pauses every campaign that would go on by itself, now or at its time: who got it
/// after the copy was made would get it again. One that is paused already says so too, since whoever resumes it
/// has the same to compare. Ids given after the copy was made are not given again: their numbers are passed over.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn begin(tx: &Tx<'_>, actor: &str) -> Result<(), StoreError> {
    skip_ids(tx)?;
    tx.conn.execute("UPDATE store_identity SET safe_hold = 1, held_at = ?1 WHERE id = 1", [tx.now])?;
    for campaign in campaigns::live(tx.conn)? {
        match (campaign.status, campaign.paused_until, &campaign.pause_reason) {
            (CampaignStatus::Paused, None, Some(said)) if said.starts_with(RESTORED) => {}
            (CampaignStatus::Paused, None, Some(said)) => {
                let reason = format!("{RESTORED} It was paused before: {said}");
                campaigns::stay_paused(tx, campaign.id, &reason)?;
            }
            (CampaignStatus::Paused, ..) => campaigns::stay_paused(tx, campaign.id, RESTORED)?,
            _ => campaigns::pause(tx, campaign.id, RESTORED)?,
        }
    }
    tx.change_plan();
    note(tx, true, actor)
}

/// How far ids jump: further than any file comes within the age of a copy. Messages and events come by the
/// million a day, all else by hand.
const MANY_IDS: i64 = 1_000_000_000;
const SOME_IDS: i64 = 1_000_000;
/// Ids stay below what JSON readers hold exactly (2^53), however often a file is restored.
const LAST_JUMP: i64 = 1 << 52;

/// Lets ids go on far behind those of the copy. What was made after the copy is known elsewhere by its id: a
/// receiver drops an event that it has under the same `webhook-id`, a late callback of Twilio's names its message.
/// People, inbound messages and business events have ids without AUTOINCREMENT and can't jump.
fn skip_ids(tx: &Tx<'_>) -> Result<(), StoreError> {
    tx.conn.execute(
        "INSERT INTO sqlite_sequence (name, seq)
         SELECT s.name, 0 FROM sqlite_schema s WHERE s.type = 'table' AND s.sql LIKE '%AUTOINCREMENT%'
           AND NOT EXISTS (SELECT 1 FROM sqlite_sequence q WHERE q.name = s.name)",
        [],
    )?;
    tx.conn.execute(
        "UPDATE sqlite_sequence SET seq = seq + CASE WHEN name IN ('messages', 'events') THEN ?1 ELSE ?2 END
         WHERE seq < ?3",
        (MANY_IDS, SOME_IDS, LAST_JUMP),
    )?;
    Ok(())
}

fn note(tx: &Tx<'_>, is_on: bool, actor: &str) -> Result<(), StoreError> {
    let data = Some(json!({"changed": "safe_hold", "safe_hold": is_on, "actor": actor}));
    events::append(tx, EventType::AdminChanged, NewEvent { data, ..NewEvent::default() })?;
    Ok(())
}

/// Notes that Twilio's list was looked through, if the file is held.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note_caught_up(tx: &Tx<'_>) -> Result<(), StoreError> {
    if since(tx.conn)?.is_some() {
        cursors::set(tx, CAUGHT_UP, tx.now)?;
    }
    Ok(())
}

/// What the one who releases takes upon themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// STOPs sent since the copy was made may be missing.
    pub without_catch_up: bool,
    /// Single messages that waited when the copy was made go out now; some may have gone already.
    pub sends_waiting: bool,
}

/// What came of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Sending goes on.
    Released,
    /// Nothing was held.
    NotHeld,
    /// Twilio's list was not looked through since the hold began: a server has to run, with catch-up.
    NotCaughtUp,
    /// So many single messages wait from before the hold.
    Waiting(i64),
}

/// Lets sending go on, if `terms` cover what speaks against it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn release(tx: &Tx<'_>, terms: Terms, actor: &str) -> Result<Release, StoreError> {
    let Some(since) = since(tx.conn)? else {
        return Ok(Release::NotHeld);
    };
    let is_caught_up = cursors::get(tx.conn, CAUGHT_UP)?.is_some_and(|at| at >= since);
    if !is_caught_up && !terms.without_catch_up {
        return Ok(Release::NotCaughtUp);
    }
    let waiting: i64 = tx
        .conn
        .prepare_cached(
            "SELECT count(*) FROM messages WHERE status = 'queued' AND lane < 0 AND created_at <= ?1",
        )?
        .query_row([since], |row| row.get(0))?;
    if waiting > 0 && !terms.sends_waiting {
        return Ok(Release::Waiting(waiting));
    }
    tx.conn.execute("UPDATE store_identity SET safe_hold = 0, held_at = NULL WHERE id = 1", [])?;
    tx.change_plan();
    tx.wake_delivery();
    note(tx, false, actor)?;
    Ok(Release::Released)
}

/// Cancels at most `limit` of the single messages that wait from before the hold. Returns how many.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn cancel_waiting(tx: &Tx<'_>, limit: usize) -> Result<usize, StoreError> {
    let Some(since) = since(tx.conn)? else {
        return Ok(0);
    };
    let waiting: Vec<_> = tx
        .conn
        .prepare_cached(&format!(
            "SELECT {STANDING} FROM messages m
             WHERE m.status = 'queued' AND m.lane < 0 AND m.created_at <= ?1 LIMIT ?2"
        ))?
        .query_map((since, limit as i64), standing_from_row)?
        .collect::<Result<_, _>>()?;
    for standing in &waiting {
        messages::close(tx, standing, Status::Cancelled, "restored", json!({}))?;
    }
    Ok(waiting.len())
}
