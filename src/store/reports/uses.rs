//! Which campaigns use a segment or a template.

use rusqlite::{Connection, Row};

use super::super::StoreError;

/// A campaign that uses something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Its key.
    pub campaign_id: i64,
    /// Its name.
    pub name: String,
    /// Its state.
    pub status: String,
    /// The segment's people are left out of it, not written to.
    pub is_exclusion: bool,
}

/// Campaigns that were looked through for exclusions: the newest.
const LOOKED_AT: i64 = 1_000;

fn from_row(row: &Row<'_>) -> rusqlite::Result<Use> {
    Ok(Use { campaign_id: row.get(0)?, name: row.get(1)?, status: row.get(2)?, is_exclusion: row.get(3)? })
}

/// The newest campaigns with the segment as audience, then those that leave its people out; at most `limit` of
/// each.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn of_segment(conn: &Connection, id: i64, limit: usize) -> Result<Vec<Use>, StoreError> {
    let mut found: Vec<Use> = conn
        .prepare_cached(
            "SELECT id, name, status, 0 FROM campaigns WHERE segment_id = ?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map((id, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    let excluding: Vec<Use> = conn
        .prepare_cached(
            "SELECT id, name, status, 1 FROM (
               SELECT id, name, status, exclude_segment_ids FROM campaigns
               WHERE exclude_segment_ids <> '[]' ORDER BY id DESC LIMIT ?3)
             WHERE EXISTS (SELECT 1 FROM json_each(exclude_segment_ids) WHERE value = ?1) LIMIT ?2",
        )?
        .query_map((id, limit as i64, LOOKED_AT), from_row)?
        .collect::<Result<_, _>>()?;
    found.extend(excluding);
    Ok(found)
}

/// The newest campaigns that say the template, at most `limit`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn of_template(conn: &Connection, id: i64, limit: usize) -> Result<Vec<Use>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id, name, status, 0 FROM campaigns WHERE template_id = ?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map((id, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// How many campaigns have the segment as audience, counted up to `most`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count_of_segment(conn: &Connection, id: i64, most: i64) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM campaigns WHERE segment_id = ?1 LIMIT ?2)")?
        .query_row((id, most), |row| row.get(0))?)
}

/// How many campaigns say the template, counted up to `most`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count_of_template(conn: &Connection, id: i64, most: i64) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM campaigns WHERE template_id = ?1 LIMIT ?2)")?
        .query_row((id, most), |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::{Store, StorePaths};

    /// The plans of what is asked here, in SQLite's words.
    #[tokio::test]
    async fn campaigns_are_found_by_what_they_use_and_never_walked_over() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock).unwrap();
        store
            .read_here(|conn| {
                let plan = |condition: &str| -> Result<String, StoreError> {
                    let sql =
                        format!("EXPLAIN QUERY PLAN SELECT id FROM campaigns WHERE {condition} LIMIT 20");
                    Ok(conn.query_row(&sql, [], |row| row.get(3))?)
                };
                assert!(
                    plan("segment_id = 1 ORDER BY id DESC")?.contains("campaigns_segment (segment_id=?)")
                );
                assert!(
                    plan("template_id = 1 ORDER BY id DESC")?.contains("campaigns_template (template_id=?)")
                );
                let excluding = plan("exclude_segment_ids <> '[]' ORDER BY id DESC")?;
                assert!(excluding.contains("campaigns_excluding"), "{excluding}");
                Ok::<_, StoreError>(())
            })
            .unwrap();
    }

    #[tokio::test]
    async fn uses_are_told_with_their_state_and_exclusions_apart() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock).unwrap();
        store
            .write::<_, _, StoreError>(|tx| {
                tx.conn.execute_batch(
                    "INSERT INTO segments (id, name, definition, created_at, updated_at)
                       VALUES (1, 'a', '{}', 0, 0), (2, 'b', '{}', 0, 0);
                     INSERT INTO templates (id, name, created_at, updated_at) VALUES (1, 't', 0, 0);
                     INSERT INTO campaigns (id, name, status, kind, channel, template_id, segment_id,
                                            exclude_segment_ids, created_at, updated_at)
                       VALUES (1, 'one', 'draft', 'marketing', 'sms', 1, 1, '[]', 0, 0),
                              (2, 'two', 'finished', 'marketing', 'sms', 1, 1, '[2]', 0, 0),
                              (3, 'three', 'running', 'marketing', 'sms', 1, 2, '[1, 2]', 0, 0);",
                )?;
                let told = |uses: Vec<Use>| -> Vec<(i64, bool)> {
                    uses.iter().map(|one| (one.campaign_id, one.is_exclusion)).collect()
                };
                assert_eq!(told(of_segment(tx.conn, 1, 9)?), [(2, false), (1, false), (3, true)]);
                assert_eq!(told(of_segment(tx.conn, 2, 9)?), [(3, false), (3, true), (2, true)]);
                assert_eq!(told(of_template(tx.conn, 1, 2)?), [(3, false), (2, false)]);
                assert_eq!((count_of_segment(tx.conn, 1, 9)?, count_of_segment(tx.conn, 1, 1)?), (2, 1));
                assert_eq!(count_of_template(tx.conn, 1, 100)?, 3);
                Ok(())
            })
            .await
            .unwrap();
    }
}
