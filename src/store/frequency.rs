//! Marketing messages handed over to each person: their first, and the last few while a cap is in force.
//!
//! Both lie in the person's own row, which the queue reads anyway: asking costs nothing, and a claim writes
//! one row by its key. A table of hand-overs, or an index on messages by time, would be paid for every message
//! of everybody. What was sent while no cap was in force is not in these rows; it is looked up among the
//! person's messages until the window has moved past it.

use rusqlite::{Connection, OptionalExtension};

use super::{StoreError, Tx, cursors};
use crate::clock::Millis;
use crate::domain::frequency::{FrequencyCap, Recent};

/// Since when the rows are kept, and how many entries each.
const SINCE: &str = "frequency_cap_since";
const ROOM: &str = "frequency_cap_room";
/// Attempts that handed nothing over.
const HANDED_OVER: &str = "outcome NOT IN ('withdrawn', 'refused', 'put_back')";

/// A cap, and what is kept to hold it.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The cap.
    pub cap: FrequencyCap,
    /// What was handed over before is not in the people's rows.
    since: Millis,
    /// Entries of each row.
    room: usize,
}

impl Kept {
    /// The cap as a reader finds it.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn read(conn: &Connection, cap: FrequencyCap, now: Millis) -> Result<Kept, StoreError> {
        let since = cursors::get(conn, SINCE)?;
        let room = cursors::get(conn, ROOM)?.and_then(|room| usize::try_from(room).ok()).unwrap_or(0);
        match since {
            // A row with less room may have dropped what a higher cap has to see.
            Some(since) if room >= cap.messages => Ok(Kept { cap, since, room }),
            _ => Ok(Kept { cap, since: now, room: cap.messages }),
        }
    }

    /// Notes the cap in force, or that there is none, before anybody is sent to under it.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn settle(tx: &Tx<'_>, cap: Option<FrequencyCap>) -> Result<Option<Kept>, StoreError> {
        let since = cursors::get(tx.conn, SINCE)?;
        let Some(cap) = cap else {
            if since.is_some() {
                tx.conn.execute("DELETE FROM cursors WHERE name IN (?1, ?2)", [SINCE, ROOM])?;
            }
            return Ok(None);
        };
        let kept = Kept::read(tx.conn, cap, tx.now)?;
        if since != Some(kept.since) {
            cursors::set(tx, SINCE, kept.since)?;
            cursors::set(tx, ROOM, i64::try_from(kept.room).unwrap_or(i64::MAX))?;
        }
        Ok(Some(kept))
    }

    /// What a person was handed within the window: `own`, their row, or what their messages tell while that
    /// is not whole.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn recent(
        &self,
        conn: &Connection,
        user_id: i64,
        own: &Recent,
        now: Millis,
    ) -> Result<Recent, StoreError> {
        if now - self.cap.window > self.since {
            return Ok(own.clone());
        }
        let found: Vec<(i64, Millis)> = conn
            .prepare_cached(&format!(
                "SELECT m.id, max(a.started_at) FROM messages m CROSS JOIN attempts a ON a.message_id = m.id
                 WHERE m.user_id = ?1 AND m.kind = 'marketing' AND a.started_at > ?2 AND a.{HANDED_OVER}
                 GROUP BY m.id"
            ))?
            .query_map((user_id, now - self.cap.window), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(Recent::new(found))
    }

    /// `recent` with one more.
    pub fn with(&self, recent: &Recent, message_id: i64, now: Millis) -> Recent {
        recent.with(message_id, now, self.room)
    }
}

/// Notes a marketing message that is being handed over: as their first if there was none, and among the last
/// if these are kept.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note(
    tx: &Tx<'_>,
    user_id: i64,
    first: Option<i64>,
    recent: Option<&Recent>,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE users SET first_marketing_id = coalesce(first_marketing_id, ?2),
               recent_marketing = coalesce(?3, recent_marketing) WHERE id = ?1",
        )?
        .execute((user_id, first, recent.map(Recent::to_json)))?;
    Ok(())
}

/// Whether no marketing message was handed over to the person yet.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_first(conn: &Connection, user_id: i64) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM users WHERE id = ?1 AND first_marketing_id IS NULL")?
        .exists([user_id])?)
}

/// The message did not reach the person: if it was their first, the next one is.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn was_not_first(tx: &Tx<'_>, user_id: i64, message_id: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE users SET first_marketing_id = NULL WHERE id = ?1 AND first_marketing_id = ?2",
        )?
        .execute((user_id, message_id))?;
    Ok(())
}

/// An attempt of the message handed nothing over: it counts by an earlier one, or not at all.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn take_back(tx: &Tx<'_>, user_id: i64, message_id: i64) -> Result<(), StoreError> {
    let recent: Option<Option<String>> = tx
        .conn
        .prepare_cached("SELECT recent_marketing FROM users WHERE id = ?1")?
        .query_row([user_id], |row| row.get(0))
        .optional()?;
    let Some(recent) = recent.flatten().map(|text| Recent::from_json(&text)) else {
        return Ok(());
    };
    let earlier: Option<Millis> = tx
        .conn
        .prepare_cached(&format!(
            "SELECT max(started_at) FROM attempts WHERE message_id = ?1 AND {HANDED_OVER}"
        ))?
        .query_row([message_id], |row| row.get(0))?;
    let changed = recent.moved(message_id, earlier);
    if changed != recent {
        tx.conn
            .prepare_cached("UPDATE users SET recent_marketing = ?2 WHERE id = ?1")?
            .execute((user_id, changed.to_json()))?;
    }
    Ok(())
}
