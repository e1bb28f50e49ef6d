//! `canned_replies`: texts that operators answer with again and again, with variables of the person.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::json;

use super::events::{self, NewEvent};
use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::event::EventType;

/// So many there can be: all of them are offered at once.
pub const MOST: usize = 100;

/// A text to answer with.
#[derive(Clone, Debug)]
pub struct CannedReply {
    /// Key.
    pub id: i64,
    /// Unique, whatever the case.
    pub name: String,
    /// The text, with variables.
    pub body: String,
    /// Counts the edits.
    pub version: i64,
    /// Who wrote it last: `operator:3`.
    pub updated_by: String,
    /// When.
    pub updated_at: Millis,
}

const COLUMNS: &str = "id, name, body, version, updated_by, updated_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<CannedReply> {
    Ok(CannedReply {
        id: row.get(0)?,
        name: row.get(1)?,
        body: row.get(2)?,
        version: row.get(3)?,
        updated_by: row.get(4)?,
        updated_at: row.get(5)?,
    })
}

/// All of them, by name.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection) -> Result<Vec<CannedReply>, StoreError> {
    let found = conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM canned_replies ORDER BY name"))?
        .query_map([], from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// The one with this id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<CannedReply>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM canned_replies WHERE id = ?1"))?
        .query_row([id], from_row)
        .optional()?)
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is there under this id.
    Done(i64),
    /// Another one has the name.
    NameTaken,
    /// There are [`MOST`] already.
    TooMany,
    /// There is none with this id and version: somebody else changed or removed it.
    Changed,
}

/// Adds a text.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, name: &str, body: &str, actor: &str) -> Result<Saved, StoreError> {
    let there: i64 = tx.conn.query_row("SELECT count(*) FROM canned_replies", [], |row| row.get(0))?;
    if there >= MOST as i64 {
        return Ok(Saved::TooMany);
    }
    let id: Option<i64> = tx
        .conn
        .prepare_cached(
            "INSERT INTO canned_replies (name, body, updated_by, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING RETURNING id",
        )?
        .query_row((name, body, actor, tx.now), |row| row.get(0))
        .optional()?;
    let Some(id) = id else {
        return Ok(Saved::NameTaken);
    };
    note(tx, id, "added", name, actor)?;
    Ok(Saved::Done(id))
}

/// Changes a text that is still as it was seen.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn update(
    tx: &Tx<'_>,
    seen: (i64, i64),
    name: &str,
    body: &str,
    actor: &str,
) -> Result<Saved, StoreError> {
    let (id, version) = seen;
    let is_taken = tx
        .conn
        .prepare_cached("SELECT 1 FROM canned_replies WHERE name = ?1 AND id <> ?2")?
        .exists((name, id))?;
    if is_taken {
        return Ok(Saved::NameTaken);
    }
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE canned_replies SET name = ?3, body = ?4, updated_by = ?5, updated_at = ?6,
               version = version + 1 WHERE id = ?1 AND version = ?2",
        )?
        .execute((id, version, name, body, actor, tx.now))?;
    if changed == 0 {
        return Ok(Saved::Changed);
    }
    note(tx, id, "changed", name, actor)?;
    Ok(Saved::Done(id))
}

/// Removes a text. False: it was gone.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn delete(tx: &Tx<'_>, id: i64, actor: &str) -> Result<bool, StoreError> {
    let name: Option<String> = tx
        .conn
        .prepare_cached("DELETE FROM canned_replies WHERE id = ?1 RETURNING name")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    if let Some(name) = &name {
        note(tx, id, "removed", name, actor)?;
    }
    Ok(name.is_some())
}

fn note(tx: &Tx<'_>, id: i64, change: &str, name: &str, actor: &str) -> Result<(), StoreError> {
    let data = json!({"canned_reply_id": id, "name": name, "change": change, "actor": actor});
    events::append(tx, EventType::AdminChanged, NewEvent { data: Some(data), ..NewEvent::default() })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::{Store, StorePaths};

    #[tokio::test]
    async fn names_are_unique_and_an_edit_that_was_overtaken_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StorePaths::inside(dir.path()), Clock::system()).unwrap();
        let write = |change: fn(&Tx<'_>) -> Result<Saved, StoreError>| store.write(change);
        assert_eq!(
            write(|tx| insert(tx, "Hours", "We open at 9", "operator:1")).await.unwrap(),
            Saved::Done(1)
        );
        assert_eq!(write(|tx| insert(tx, "HOURS", "x", "operator:1")).await.unwrap(), Saved::NameTaken);
        assert!(matches!(write(|tx| insert(tx, "Thanks", "x", "operator:1")).await.unwrap(), Saved::Done(_)));
        let renamed = write(|tx| {
            let thanks = list(tx.conn)?.pop().map_or(0, |reply| reply.id);
            update(tx, (thanks, 1), "hours", "x", "operator:2")
        });
        assert_eq!(renamed.await.unwrap(), Saved::NameTaken);
        let edited = write(|tx| update(tx, (1, 1), "hours", "We open at 10", "operator:2")).await.unwrap();
        assert_eq!(edited, Saved::Done(1));
        assert_eq!(
            write(|tx| update(tx, (1, 1), "Hours", "lost", "operator:1")).await.unwrap(),
            Saved::Changed
        );
        let found = store.read_here(|conn| find(conn, 1)).unwrap().unwrap();
        assert_eq!((found.body.as_str(), found.version), ("We open at 10", 2));
        assert!(store.write(|tx| delete(tx, 1, "operator:1")).await.unwrap());
        assert!(!store.write(|tx| delete(tx, 1, "operator:1")).await.unwrap());
        assert_eq!(store.read_here(list).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn there_is_an_end_to_how_many_there_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StorePaths::inside(dir.path()), Clock::system()).unwrap();
        let last = store
            .write::<_, _, StoreError>(|tx| {
                for n in 0..MOST {
                    insert(tx, &format!("n{n}"), "x", "operator:1")?;
                }
                insert(tx, "one more", "x", "operator:1")
            })
            .await
            .unwrap();
        assert_eq!(last, Saved::TooMany);
    }
}
