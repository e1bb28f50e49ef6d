//! What the last days came to, by UTC day, out of the tables of counts: the cost grows with days, not with messages.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::store::StoreError;

/// Codes that are listed.
const MOST_CODES: i64 = 10;

/// What happened on a day, or on several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that Twilio took.
    pub sent: i64,
    /// That reached the phone.
    pub delivered: i64,
    /// That were opened; each of these was delivered as well, on this day or before.
    pub read: i64,
    /// That were refused, given up, or not delivered by the carrier.
    pub failed: i64,
    /// Messages from people.
    pub replies: i64,
    /// People we knew who opted out or said STOP.
    pub opt_outs: i64,
    /// What the hand-overs are charged, in millionths, as far as it is known …
    pub spent_micros: i64,
    /// … and of how many it is not.
    pub unpriced: i64,
}

impl Tally {
    fn count(&mut self, kind: &str, n: i64) {
        match kind {
            "message.accepted" => self.sent += n,
            "message.delivered" => self.delivered += n,
            "message.read" => self.read += n,
            "message.failed" | "message.undelivered" => self.failed += n,
            "inbound.received" => self.replies += n,
            "opt_out" => self.opt_outs += n,
            _ => {}
        }
    }

    /// Both together.
    pub fn plus(self, other: Tally) -> Tally {
        Tally {
            sent: self.sent + other.sent,
            delivered: self.delivered + other.delivered,
            read: self.read + other.read,
            failed: self.failed + other.failed,
            replies: self.replies + other.replies,
            opt_outs: self.opt_outs + other.opt_outs,
            spent_micros: self.spent_micros + other.spent_micros,
            unpriced: self.unpriced + other.unpriced,
        }
    }

    /// Nothing happened.
    pub fn is_empty(&self) -> bool {
        *self == Tally::default()
    }
}

/// Each day from `from` to `to`, both included, in days since 1970; days without anything too.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn by_day(conn: &Connection, from: i64, to: i64) -> Result<Vec<(i64, Tally)>, StoreError> {
    let mut days: BTreeMap<i64, Tally> = (from..=to).map(|day| (day, Tally::default())).collect();
    let mut counts =
        conn.prepare_cached("SELECT day, type, n FROM daily_counts WHERE day >= ?1 AND day <= ?2")?;
    let mut rows = counts.query((from, to))?;
    while let Some(row) = rows.next()? {
        let kind: String = row.get(1)?;
        days.entry(row.get(0)?).or_default().count(&kind, row.get(2)?);
    }
    let mut spending = conn.prepare_cached(
        "SELECT day, spent_micros, unpriced FROM daily_spending WHERE day >= ?1 AND day <= ?2",
    )?;
    let mut rows = spending.query((from, to))?;
    while let Some(row) = rows.next()? {
        let tally = days.entry(row.get(0)?).or_default();
        (tally.spent_micros, tally.unpriced) = (row.get(1)?, row.get(2)?);
    }
    Ok(days.into_iter().collect())
}

/// Twilio's codes that ended messages from the day `from` on, the most frequent first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn errors(conn: &Connection, from: i64) -> Result<Vec<(i64, i64)>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT error_code, sum(n) FROM daily_errors WHERE day >= ?1
             GROUP BY error_code ORDER BY 2 DESC, 1 LIMIT ?2",
        )?
        .query_map((from, MOST_CODES), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reports::plan_of;

    fn file() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../../schema.sql")).unwrap();
        conn.execute_batch(
            "INSERT INTO daily_counts VALUES (9, 'message.accepted', 90), (10, 'message.accepted', 40),
               (10, 'message.delivered', 30), (10, 'message.read', 5), (10, 'message.failed', 2),
               (10, 'message.undelivered', 3), (10, 'inbound.received', 4), (10, 'opt_out', 1),
               (12, 'user.created', 8);
             INSERT INTO daily_spending VALUES (10, 7000, 2);
             INSERT INTO daily_errors VALUES (9, 30003, 50), (10, 30003, 2), (10, 21610, 3), (11, 30003, 2);",
        )
        .unwrap();
        conn
    }

    #[test]
    fn every_day_of_the_span_is_there_and_only_they() {
        let days = by_day(&file(), 10, 12).unwrap();
        assert_eq!(days.iter().map(|(day, _)| *day).collect::<Vec<_>>(), [10, 11, 12]);
        let expected = Tally {
            sent: 40,
            delivered: 30,
            read: 5,
            failed: 5,
            replies: 4,
            opt_outs: 1,
            spent_micros: 7_000,
            unpriced: 2,
        };
        assert_eq!(days[0].1, expected);
        assert!(days[1].1.is_empty() && days[2].1.is_empty());
        assert_eq!(days.iter().fold(Tally::default(), |sum, (_, one)| sum.plus(*one)), expected);
    }

    #[test]
    fn codes_are_summed_over_the_days_and_the_worst_is_first() {
        assert_eq!(errors(&file(), 10).unwrap(), [(30_003, 4), (21_610, 3)]);
        assert!(errors(&file(), 12).unwrap().is_empty());
    }

    #[test]
    fn days_are_found_by_key() {
        let conn = file();
        for sql in [
            "SELECT day, type, n FROM daily_counts WHERE day >= ?1 AND day <= ?2",
            "SELECT error_code, sum(n) FROM daily_errors WHERE day >= ?1 GROUP BY error_code",
        ] {
            assert!(plan_of(&conn, sql).contains("USING PRIMARY KEY (day>?"), "{}", plan_of(&conn, sql));
        }
    }
}
