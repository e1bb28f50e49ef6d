//! `campaign_pace`: how many messages a campaign handed over and saw arrive, by span of time. What the plot of its
//! run is drawn from, so that nobody has to look at a million messages for it.
//!
//! A campaign of some minutes wants seconds, one that events start for years has to end somewhere: spans begin
//! short, and whenever there are too many, each two become one.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use super::super::StoreError;
use crate::clock::Millis;

/// How long the spans of a campaign are at first, in seconds.
pub const FIRST_SPAN: i64 = 1;
/// Spans of one campaign, at most: twelve minutes of the shortest.
pub const MOST_SPANS: i64 = 720;

/// Messages of one span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Pace {
    pub(in crate::store) handed_over: i64,
    pub(in crate::store) delivered: i64,
}

/// A span in which something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it begins.
    pub at: Millis,
    /// How long it is.
    pub seconds: i64,
    /// Messages that Twilio took, each once.
    pub handed_over: i64,
    /// Messages that arrived, read or not.
    pub delivered: i64,
}

/// Adds to the span of `now`.
pub(in crate::store) fn add(
    conn: &Connection,
    campaign_id: i64,
    now: Millis,
    more: Pace,
) -> rusqlite::Result<()> {
    // A message that was read before somebody heard that it arrived leaves nothing to count.
    if more == Pace::default() {
        return Ok(());
    }
    let seconds: Option<i64> = conn
        .prepare_cached("SELECT seconds FROM campaign_pace WHERE campaign_id = ?1 LIMIT 1")?
        .query_row([campaign_id], |row| row.get(0))
        .optional()?;
    let seconds = seconds.unwrap_or(FIRST_SPAN);
    let at = begin_of(now, seconds);
    let known = conn
        .prepare_cached(
            "UPDATE campaign_pace SET handed_over = handed_over + ?3, delivered = delivered + ?4
             WHERE campaign_id = ?1 AND at = ?2",
        )?
        .execute((campaign_id, at, more.handed_over, more.delivered))?;
    if known == 0 {
        let span = Span { at, seconds, handed_over: more.handed_over, delivered: more.delivered };
        insert(conn, campaign_id, &span)?;
        merge_if_too_many(conn, campaign_id)?;
    }
    Ok(())
}

fn begin_of(at: Millis, seconds: i64) -> Millis {
    at.div_euclid(seconds * 1_000) * seconds * 1_000
}

fn insert(conn: &Connection, campaign_id: i64, span: &Span) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO campaign_pace (campaign_id, at, seconds, handed_over, delivered)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((campaign_id, span.at, span.seconds, span.handed_over, span.delivered))?;
    Ok(())
}

fn merge_if_too_many(conn: &Connection, campaign_id: i64) -> rusqlite::Result<()> {
    let n: i64 = conn
        .prepare_cached("SELECT count(*) FROM campaign_pace WHERE campaign_id = ?1")?
        .query_row([campaign_id], |row| row.get(0))?;
    if n <= MOST_SPANS {
        return Ok(());
    }
    let mut spans = read(conn, campaign_id, Millis::MIN)?;
    while spans.len() as i64 > MOST_SPANS {
        spans = merge(&spans);
    }
    conn.prepare_cached("DELETE FROM campaign_pace WHERE campaign_id = ?1")?.execute([campaign_id])?;
    spans.iter().try_for_each(|span| insert(conn, campaign_id, span))
}

/// The same in spans of twice the length.
fn merge(spans: &[Span]) -> Vec<Span> {
    let mut merged: BTreeMap<Millis, Span> = BTreeMap::new();
    for span in spans {
        let seconds = span.seconds * 2;
        let at = begin_of(span.at, seconds);
        let sum = merged.entry(at).or_insert(Span { at, seconds, handed_over: 0, delivered: 0 });
        sum.handed_over += span.handed_over;
        sum.delivered += span.delivered;
    }
    merged.into_values().collect()
}

fn read(conn: &Connection, campaign_id: i64, since: Millis) -> rusqlite::Result<Vec<Span>> {
    conn.prepare_cached(
        "SELECT at, seconds, handed_over, delivered FROM campaign_pace
         WHERE campaign_id = ?1 AND at >= ?2 ORDER BY at",
    )?
    .query_map((campaign_id, since), |row| {
        Ok(Span { at: row.get(0)?, seconds: row.get(1)?, handed_over: row.get(2)?, delivered: row.get(3)? })
    })?
    .collect()
}

/// The spans of a campaign in which something happened, in order.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn spans(conn: &Connection, campaign_id: i64) -> Result<Vec<Span>, StoreError> {
    Ok(read(conn, campaign_id, Millis::MIN)?)
}

/// Messages a second that were handed over of late: in the last half minute, or in the last two spans where those
/// are longer. `None` when nothing was.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn rate_now(conn: &Connection, campaign_id: i64, now: Millis) -> Result<Option<f64>, StoreError> {
    /// Milliseconds.
    const OF_LATE: Millis = 30_000;
    let newest: Option<(Millis, i64)> = conn
        .prepare_cached(
            "SELECT at, seconds FROM campaign_pace WHERE campaign_id = ?1 ORDER BY at DESC LIMIT 1",
        )?
        .query_row([campaign_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((_, seconds)) = newest else {
        return Ok(None);
    };
    let since = begin_of(now - OF_LATE.max(seconds * 1_000), seconds);
    let recent = read(conn, campaign_id, since)?;
    let handed_over: i64 = recent.iter().map(|span| span.handed_over).sum();
    // A campaign that began within that time is not slower for it.
    let from = recent.first().map_or(since, |span| span.at);
    let is_first = spans_before(conn, campaign_id, since)? == 0;
    let from = if is_first { from } else { since };
    let millis = (now - from).max(1_000);
    Ok((handed_over > 0).then(|| handed_over as f64 * 1_000.0 / millis as f64))
}

/// Whether the campaign did anything before: 0 or 1.
fn spans_before(conn: &Connection, campaign_id: i64, at: Millis) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM campaign_pace WHERE campaign_id = ?1 AND at < ?2)")?
        .query_row((campaign_id, at), |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../../schema.sql")).unwrap();
        conn.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        conn
    }

    fn one(handed_over: i64, delivered: i64) -> Pace {
        Pace { handed_over, delivered }
    }

    #[test]
    fn what_happens_within_a_span_is_added_up() {
        let conn = file();
        for (at, pace) in [(1_000, one(3, 0)), (1_999, one(2, 1)), (2_000, one(0, 4)), (5_000, one(0, 0))] {
            add(&conn, 7, at, pace).unwrap();
        }
        let span = |at, handed_over, delivered| Span { at, seconds: 1, handed_over, delivered };
        assert_eq!(spans(&conn, 7).unwrap(), [span(1_000, 5, 1), span(2_000, 0, 4)]);
        assert_eq!(spans(&conn, 8).unwrap(), []);
    }

    #[test]
    fn a_campaign_of_any_length_keeps_few_spans_and_loses_nothing() {
        let conn = file();
        for minute in 0..6_000 {
            add(&conn, 7, minute * 60_000, one(2, 1)).unwrap();
            add(&conn, 8, minute * 60_000 * 24 * 60, one(1, 0)).unwrap();
        }
        for (id, total) in [(7, 12_000), (8, 6_000)] {
            let spans = spans(&conn, id).unwrap();
            assert!(
                spans.len() as i64 <= MOST_SPANS && spans.len() as i64 * 4 > MOST_SPANS,
                "{}",
                spans.len()
            );
            assert_eq!(spans.iter().map(|span| span.handed_over).sum::<i64>(), total);
            assert!(spans.iter().all(|span| span.seconds == spans[0].seconds));
            assert!(spans.windows(2).all(|two| two[1].at - two[0].at >= two[0].seconds * 1_000));
        }
    }

    #[test]
    fn the_rate_of_late_forgets_what_was_long_ago() {
        let conn = file();
        assert_eq!(rate_now(&conn, 7, 0).unwrap(), None);
        for second in 0..60 {
            add(&conn, 7, second * 1_000, one(10, 0)).unwrap();
        }
        assert_eq!(rate_now(&conn, 7, 60_000).unwrap(), Some(10.0));
        assert_eq!(rate_now(&conn, 7, 75_000).unwrap(), Some(5.0));
        assert_eq!(rate_now(&conn, 7, 300_000).unwrap(), None);
        // One that began two seconds ago did not stand still before.
        add(&conn, 8, 60_000, one(20, 0)).unwrap();
        assert_eq!(rate_now(&conn, 8, 62_000).unwrap(), Some(10.0));
    }
}
