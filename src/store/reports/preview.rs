//! How many people a segment has, as far as a moment's looking tells, and some of them. People are walked from the
//! newest to the oldest in stretches, so that a slow definition over many people ends with "more than" and not
//! with an error.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::super::segment_sql::Predicate;
use super::super::users::{self, User};
use super::super::{READ_LIMIT, StoreError};

/// Ids of the first stretch, and of the longest.
const FIRST_STRETCH: i64 = 2_048;
const LONGEST_STRETCH: i64 = 1 << 20;
/// A stretch that took less is doubled, one that took four times as long is halved.
const AIM: Duration = Duration::from_millis(50);
/// How long a look may take at most: inside [`READ_LIMIT`], with room for the last stretch.
pub const LOOK: Duration = Duration::from_millis(1_500);

/// What a look found.
#[derive(Clone, Debug)]
pub struct Preview {
    /// People who belong to it, of those looked at.
    pub count: i64,
    /// Everybody was looked at: the count is exact. Else it is "more than".
    pub is_whole: bool,
    /// The share of ids that were looked at, in percent.
    pub looked_at: f64,
    /// The newest of them.
    pub sample: Vec<User>,
}

/// Counts who satisfies `predicate`, for at most `budget`, and takes the newest `sample` of them along.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn preview(
    conn: &Connection,
    predicate: &Predicate,
    sample: usize,
    budget: Duration,
) -> Result<Preview, StoreError> {
    let end = Instant::now() + budget.min(READ_LIMIT);
    let newest: i64 =
        conn.prepare_cached("SELECT coalesce(max(id), 0) FROM users")?.query_row([], |row| row.get(0))?;
    let mut found = Preview { count: 0, is_whole: newest == 0, looked_at: 100.0, sample: Vec::new() };
    let (mut high, mut stretch) = (newest, FIRST_STRETCH);
    while high > 0 {
        let began = Instant::now();
        if began >= end {
            break;
        }
        let low = (high - stretch).max(0);
        match look(conn, predicate, (low, high), sample, &mut found) {
            Ok(()) => high = low,
            // The read's own limit was reached first.
            Err(StoreError::TooSlow(_)) => break,
            Err(error) => return Err(error),
        }
        let took = began.elapsed();
        if took < AIM {
            stretch = (stretch * 2).min(LONGEST_STRETCH);
        } else if took > AIM * 4 {
            stretch = (stretch / 2).max(FIRST_STRETCH);
        }
    }
    found.is_whole = high == 0;
    if newest > 0 {
        found.looked_at = 100.0 * (newest - high) as f64 / newest as f64;
    }
    Ok(found)
}

fn look(
    conn: &Connection,
    predicate: &Predicate,
    ids: (i64, i64),
    sample: usize,
    found: &mut Preview,
) -> Result<(), StoreError> {
    let count = users::count_between(conn, predicate, ids)?;
    let missing = sample - found.sample.len().min(sample);
    if count > 0 && missing > 0 {
        found.sample.extend(users::list_between(conn, predicate, ids, missing)?);
    }
    found.count += count;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::Clock;
    use crate::domain::segment::Definition;
    use crate::store::segment_sql::compile;
    use crate::store::{Store, StorePaths};

    async fn of_people(n: i64) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock).unwrap();
        store
            .write::<_, _, StoreError>(move |tx| {
                tx.conn.execute(
                    "INSERT INTO users (id, phone, attributes, created_at, updated_at, erased_at)
                     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                     SELECT i * 3, printf('+1212%07d', i), jsonb(json_object('n', i % 2)), 0, 0,
                            CASE WHEN i = 7 THEN 1 END FROM n",
                    [n],
                )?;
                Ok(())
            })
            .await
            .unwrap();
        (dir, store)
    }

    fn predicate(definition: &Value) -> Predicate {
        compile(&Definition::parse(definition).unwrap(), 0)
    }

    #[tokio::test]
    async fn a_preview_counts_everybody_once_and_shows_the_newest() {
        let (_dir, store) = of_people(10_000).await;
        let odd = json!({"attribute": "n", "operator": "equals", "value": 1});
        for (definition, expected, newest) in [
            (json!({"all": []}), 9_999, Some(30_000)),
            (odd, 4_999, Some(29_997)),
            (json!({"any": []}), 0, None),
            (json!({"field": "phone", "operator": "equals", "value": "+12120000003"}), 1, Some(9)),
        ] {
            let predicate = predicate(&definition);
            let found = store.read(move |conn| preview(conn, &predicate, 10, LOOK)).await.unwrap();
            assert_eq!((found.count, found.is_whole), (expected, true), "{definition}");
            assert_eq!(found.sample.len() as i64, expected.min(10));
            assert_eq!(found.sample.first().map(|user| user.id), newest);
            assert!(found.sample.is_sorted_by(|a, b| a.id > b.id));
        }
    }

    #[tokio::test]
    async fn a_stretch_is_searched_by_the_key() {
        let (_dir, store) = of_people(10).await;
        let sql = "EXPLAIN QUERY PLAN SELECT count(*) FROM users u
                   WHERE u.id > 1 AND u.id <= 5 AND u.erased_at IS NULL AND (1)";
        let plan: String =
            store.read_here(|conn| Ok::<_, StoreError>(conn.query_row(sql, [], |row| row.get(3))?)).unwrap();
        assert!(plan.contains("SEARCH u USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"), "{plan}");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_more_than_and_not_an_error() {
        let (_dir, store) = of_people(10_000).await;
        let everybody = predicate(&json!({"all": []}));
        let found = store.read(move |conn| preview(conn, &everybody, 10, Duration::ZERO)).await.unwrap();
        assert_eq!((found.count, found.is_whole), (0, false));
        assert!(found.looked_at < 100.0);
        // A stretch in which SQLite is interrupted, as the limit of a read does, ends it too.
        let endless = Predicate {
            sql: "u.id < 0 OR (WITH RECURSIVE n (i) AS (SELECT u.id UNION ALL SELECT i + 1 FROM n) \
                  SELECT count(*) FROM n) > 0"
                .to_owned(),
            params: Vec::new(),
        };
        let found = store
            .read(move |conn| {
                conn.progress_handler(1_000, Some(|| true))?;
                preview(conn, &endless, 10, LOOK)
            })
            .await
            .unwrap();
        assert_eq!((found.count, found.is_whole), (0, false));
    }
}
