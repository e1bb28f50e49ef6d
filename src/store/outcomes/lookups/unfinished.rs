//! Messages that Twilio says nothing more about, found along the events.

use rusqlite::{Connection, OptionalExtension};

use crate::clock::Millis;
use crate::store::StoreError;

/// A message that Twilio said nothing more about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The event of its last progress.
    pub event_id: i64,
    /// Its SID.
    pub sid: String,
}

/// Messages whose last progress, behind event `after` and before `until`, was that Twilio or the carrier took
/// them: at most `limit`, oldest first. The second value is the event up to which was looked; a call reads no
/// more than 100,000 events.
///
/// Events are in order of time, so this needs no index on messages. A message that moved on has a later event.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn unfinished(
    conn: &Connection,
    after: i64,
    until: Millis,
    limit: usize,
) -> Result<(Vec<Unfinished>, i64), StoreError> {
    /// Windows of one call: most of what is overdue was heard of long ago.
    const WINDOWS: usize = 20;
    let mut place = after;
    for _ in 0..WINDOWS {
        let (found, looked) = unfinished_in_window(conn, place, until, limit)?;
        if !found.is_empty() || looked == place {
            return Ok((found, looked));
        }
        place = looked;
    }
    Ok((Vec::new(), place))
}

fn unfinished_in_window(
    conn: &Connection,
    after: i64,
    until: Millis,
    limit: usize,
) -> Result<(Vec<Unfinished>, i64), StoreError> {
    const WINDOW: i64 = 5_000;
    // Retention may have taken what comes next.
    let first: Option<i64> = conn
        .prepare_cached("SELECT id FROM events WHERE id > ?1 ORDER BY id LIMIT 1")?
        .query_row([after], |row| row.get(0))
        .optional()?;
    let Some(first) = first else {
        return Ok((Vec::new(), after));
    };
    let last: Option<i64> = conn
        .prepare_cached(
            "SELECT coalesce(min(CASE WHEN at > ?3 THEN id END) - 1, max(id))
             FROM events WHERE id >= ?1 AND id < ?2",
        )?
        .query_row((first, first + WINDOW, until), |row| row.get(0))?;
    let last = last.unwrap_or(after).max(after);
    let found: Vec<Unfinished> = conn
        .prepare_cached(
            "SELECT e.id, m.sid FROM events e CROSS JOIN messages m ON m.id = e.message_id
             WHERE e.id >= ?1 AND e.id <= ?2 AND m.sid IS NOT NULL
               AND ((e.type = 'message.accepted' AND m.status = 'accepted')
                 OR (e.type = 'message.sent' AND m.status = 'sent'))
             ORDER BY e.id LIMIT ?3",
        )?
        .query_map((first, last, limit as i64), |row| {
            Ok(Unfinished { event_id: row.get(0)?, sid: row.get(1)? })
        })?
        .collect::<Result<_, _>>()?;
    let looked = match found.last() {
        Some(unfinished) if found.len() == limit => unfinished.event_id,
        _ => last,
    };
    Ok((found, looked))
}
