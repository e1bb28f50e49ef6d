//! Lists whose filters no index serves: how far one page may walk. A page that finds too little within its
//! window ends early and says where, so that a filter that fits nothing costs as much as one that fits all.

use rusqlite::{Connection, OptionalExtension};

use crate::clock::Millis;
use crate::store::StoreError;

/// Rows that one page looks at, at most: some ten milliseconds.
pub(super) const WINDOW: i64 = 20_000;

/// A clock may have been set back by so much while rows were made.
const SET_BACK: Millis = 3_600_000;

/// Rows of a page, and where it stopped although more may follow.
#[derive(Clone, Debug)]
pub struct Slice<Row, Place> {
    /// What fits.
    pub rows: Vec<Row>,
    /// The page is not full, and this is how far it looked. `None`: it is full, or the list is at its end.
    pub reached: Option<Place>,
}

/// A table in order of time: `(id, time)` of the first row from an id on whose time is that of its arrival, the
/// lowest id of all, and the highest below an id.
pub(super) struct Timed {
    pub(super) from: &'static str,
    pub(super) lowest: &'static str,
    pub(super) highest_below: &'static str,
}

/// The part of a table that one page looks at: ids from `low` up to, not including, `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) low: i64,
    pub(super) high: i64,
    /// Rows may follow below `low`.
    pub(super) goes_on: bool,
}

impl Window {
    /// Below `before`; with `since` only where rows of that time can be.
    pub(super) fn below(
        conn: &Connection,
        table: &Timed,
        before: i64,
        since: Option<Millis>,
    ) -> Result<Window, StoreError> {
        let highest: Option<i64> =
            conn.prepare_cached(table.highest_below)?.query_row([before], |row| row.get(0))?;
        // Ids jump where a file was restored: the window begins at a row.
        let high = before.min(highest.unwrap_or(0) + 1);
        let end = match since {
            Some(since) => first_since(conn, table, high, since - SET_BACK)?,
            None => first_since(conn, table, high, Millis::MIN)?,
        };
        let low = (high - WINDOW).max(end);
        Ok(Window { low, high, goes_on: low > end })
    }
}

/// The lowest id whose row is of `since` or later, by halves: ids ascend with time.
fn first_since(conn: &Connection, table: &Timed, high: i64, since: Millis) -> Result<i64, StoreError> {
    let mut statement = conn.prepare_cached(table.from)?;
    let mut first_from = |id: i64| -> Result<Option<(i64, Millis)>, StoreError> {
        Ok(statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    };
    let lowest: Option<i64> = conn.prepare_cached(table.lowest)?.query_row([], |row| row.get(0))?;
    let (mut low, mut high) = (lowest.unwrap_or(high), high);
    while low < high {
        let middle = low + (high - low) / 2;
        match first_from(middle)? {
            Some((id, at)) if at < since => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Timed = Timed {
        from: "SELECT id, at FROM t WHERE id >= ?1 ORDER BY id LIMIT 1",
        lowest: "SELECT min(id) FROM t",
        highest_below: "SELECT max(id) FROM t WHERE id < ?1",
    };

    #[test]
    fn a_window_ends_at_its_width_or_where_the_time_begins() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER NOT NULL)").unwrap();
        let below = |before, since: Option<Millis>| Window::below(&conn, &TABLE, before, since).unwrap();
        assert_eq!(below(i64::MAX, None), Window { low: 1, high: 1, goes_on: false });
        conn.execute_batch(
            "INSERT INTO t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
             SELECT i, i * 1000 FROM n WHERE i % 7 > 0",
        )
        .unwrap();
        assert_eq!(below(i64::MAX, None), Window { low: 30_001, high: 50_001, goes_on: true });
        assert_eq!(below(30_001, None), Window { low: 10_001, high: 30_001, goes_on: true });
        assert_eq!(below(10_001, None), Window { low: 1, high: 10_001, goes_on: false });
        let since = |row: i64| Some(row * 1_000 + SET_BACK);
        assert_eq!(below(i64::MAX, since(49_990)), Window { low: 49_990, high: 50_001, goes_on: false });
        assert_eq!(below(i64::MAX, since(49_994)), Window { low: 49_994, high: 50_001, goes_on: false });
        assert_eq!(below(i64::MAX, since(90_000)), Window { low: 50_001, high: 50_001, goes_on: false });
        assert_eq!(below(40_000, since(45_000)), Window { low: 40_000, high: 40_000, goes_on: false });
        conn.execute("INSERT INTO t VALUES (9000000, 60000000)", []).unwrap();
        assert_eq!(below(i64::MAX, None), Window { low: 8_980_001, high: 9_000_001, goes_on: true });
        assert_eq!(below(8_980_001, None), Window { low: 30_001, high: 50_001, goes_on: true });
    }
}
