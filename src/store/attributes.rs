//! `attributes`: the catalogue of what people's attributes are. A walk over everybody counts it, off the writer
//! ([`crate::domain::catalogue`]); here is how the walk reads people, and how what it found is kept, shown and
//! taken back when somebody is erased.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value, json};

use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::catalogue::{Attribute, Counts, FEWEST_HOLDERS, Kinds, MAX_EXAMPLES, held};

/// How the catalogue stands to the people there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When the walk began that it comes from; `None` before the first one ended.
    pub as_of: Option<Millis>,
    /// Whom it saw.
    pub people: i64,
    /// Changes of people since then.
    pub behind: i64,
    /// There are more names than are kept.
    pub is_cut: bool,
}

/// Where a walk begins: what was changed and erased before is seen by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    changes: i64,
    erasures: i64,
}

/// An attribute as the catalogue shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeRow {
    /// The path.
    pub name: String,
    /// How many people have a value.
    pub people: i64,
    /// Of which types.
    pub kinds: Kinds,
    /// False: at least so many.
    pub is_exact: bool,
    /// Hardly a value comes twice.
    pub is_varied: bool,
    /// Values of a few people.
    pub examples: Vec<String>,
    /// Values that several people share, the most frequent first, with the least number of them.
    pub values: Vec<(String, i64)>,
}

/// How the catalogue stands to the people there are.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn standing(conn: &Connection) -> Result<Standing, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT as_of, people, changes - seen_changes, is_cut FROM attribute_walks WHERE id = 1",
        )?
        .query_row([], |row| {
            Ok(Standing { as_of: row.get(0)?, people: row.get(1)?, behind: row.get(2)?, is_cut: row.get(3)? })
        })?)
}

/// Where a walk that begins now begins.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn mark(conn: &Connection) -> Result<Mark, StoreError> {
    Ok(conn
        .prepare_cached("SELECT changes, erasures FROM attribute_walks WHERE id = 1")?
        .query_row([], |row| Ok(Mark { changes: row.get(0)?, erasures: row.get(1)? }))?)
}

/// A person's id, and their attributes.
pub type Described = (i64, Map<String, Value>);

/// The attributes of the next `limit` people behind id `after`, as they lie: in the order of their ids.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn people(conn: &Connection, after: i64, limit: usize) -> Result<Vec<Described>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, json(attributes) FROM users WHERE id > ?1 AND erased_at IS NULL ORDER BY id LIMIT ?2",
    )?;
    let mut rows = statement.query((after, limit as i64))?;
    let mut found = Vec::with_capacity(limit);
    while let Some(row) = rows.next()? {
        let text = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        let attributes = serde_json::from_str(text).unwrap_or_default();
        found.push((row.get(0)?, attributes));
    }
    Ok(found)
}

/// Puts `attributes`, found by a walk that began at `mark`, in the place of what was kept of the same names. What
/// was counted of people who were erased since is left out.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn replace(tx: &Tx<'_>, found: &[Attribute], mark: Mark, as_of: Millis) -> Result<(), StoreError> {
    let erased = self::mark(tx.conn)?.erasures - mark.erasures;
    let fewest = FEWEST_HOLDERS as i64 + erased;
    let conn = tx.conn;
    let mut is_erased = conn.prepare_cached("SELECT 1 FROM users WHERE id = ?1 AND erased_at IS NOT NULL")?;
    for attribute in found {
        clear(tx, &attribute.name)?;
        conn.prepare_cached(
            "INSERT OR REPLACE INTO attributes (name, people, kinds, is_exact, is_varied, as_of)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((
            &attribute.name,
            attribute.people as i64,
            kinds_text(&attribute.kinds),
            attribute.is_exact,
            attribute.is_varied,
            as_of,
        ))?;
        for example in &attribute.examples {
            if erased == 0 || !is_erased.exists([example.user_id])? {
                conn.prepare_cached(
                    "INSERT OR IGNORE INTO attribute_examples (name, user_id, value) VALUES (?1, ?2, ?3)",
                )?
                .execute((&attribute.name, example.user_id, &example.value))?;
            }
        }
        for (value, n) in attribute.values.iter().filter(|(_, n)| *n as i64 >= fewest) {
            conn.prepare_cached("INSERT INTO attribute_values (name, value, n) VALUES (?1, ?2, ?3)")?
                .execute((&attribute.name, value, *n as i64 - erased))?;
        }
    }
    Ok(())
}

/// Ends a walk: forgets up to `limit` names that it did not find, and once none is left notes what it saw. Returns
/// whether it is at its end.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn finish(
    tx: &Tx<'_>,
    counts: &Counts,
    (mark, as_of): (Mark, Millis),
    limit: usize,
) -> Result<bool, StoreError> {
    let gone: Vec<String> = tx
        .conn
        .prepare_cached("SELECT name FROM attributes WHERE as_of <> ?1 LIMIT ?2")?
        .query_map((as_of, limit as i64), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for name in &gone {
        clear(tx, name)?;
        tx.conn.prepare_cached("DELETE FROM attributes WHERE name = ?1")?.execute([name])?;
    }
    if gone.len() == limit {
        return Ok(false);
    }
    tx.conn
        .prepare_cached(
            "UPDATE attribute_walks SET seen_changes = ?1, as_of = ?2, people = ?3, is_cut = ?4 WHERE id = 1",
        )?
        .execute((mark.changes, as_of, counts.people as i64, counts.is_cut))?;
    Ok(true)
}

fn clear(tx: &Tx<'_>, name: &str) -> Result<(), StoreError> {
    tx.conn.prepare_cached("DELETE FROM attribute_examples WHERE name = ?1")?.execute([name])?;
    tx.conn.prepare_cached("DELETE FROM attribute_values WHERE name = ?1")?.execute([name])?;
    Ok(())
}

/// Takes back from the shared values what somebody who is erased held; their examples are theirs by id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub(super) fn forget(tx: &Tx<'_>, attributes: &Map<String, Value>) -> Result<(), StoreError> {
    for (name, value) in held(attributes) {
        let left: Option<i64> = tx
            .conn
            .prepare_cached(
                "UPDATE attribute_values SET n = n - 1 WHERE name = ?1 AND value = ?2 RETURNING n",
            )?
            .query_row((&name, &value), |row| row.get(0))
            .optional()?;
        if left.is_some_and(|n| n < FEWEST_HOLDERS as i64) {
            tx.conn
                .prepare_cached("DELETE FROM attribute_values WHERE name = ?1 AND value = ?2")?
                .execute((&name, &value))?;
        }
    }
    let mut effects = tx.effects.borrow_mut();
    effects.attributes += 1;
    effects.erasures += 1;
    Ok(())
}

/// A page of the catalogue, the attributes that most people have first. There are at most
/// [`crate::domain::catalogue::MAX_NAMES`].
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection, limit: usize, offset: usize) -> Result<Vec<AttributeRow>, StoreError> {
    let mut rows: Vec<AttributeRow> = conn
        .prepare_cached(
            "SELECT name, people, kinds, is_exact, is_varied FROM attributes
             ORDER BY people DESC, name LIMIT ?1 OFFSET ?2",
        )?
        .query_map((limit as i64, offset as i64), from_row)?
        .collect::<Result<_, _>>()?;
    for row in &mut rows {
        fill(conn, row)?;
    }
    Ok(rows)
}

/// One attribute of the catalogue.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, name: &str) -> Result<Option<AttributeRow>, StoreError> {
    let found = conn
        .prepare_cached("SELECT name, people, kinds, is_exact, is_varied FROM attributes WHERE name = ?1")?
        .query_row([name], from_row)
        .optional()?;
    let Some(mut row) = found else {
        return Ok(None);
    };
    fill(conn, &mut row)?;
    Ok(Some(row))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<AttributeRow> {
    let kinds: String = row.get(2)?;
    Ok(AttributeRow {
        name: row.get(0)?,
        people: row.get(1)?,
        kinds: kinds_of(&kinds),
        is_exact: row.get(3)?,
        is_varied: row.get(4)?,
        examples: Vec::new(),
        values: Vec::new(),
    })
}

fn fill(conn: &Connection, row: &mut AttributeRow) -> Result<(), StoreError> {
    row.examples = conn
        .prepare_cached("SELECT value FROM attribute_examples WHERE name = ?1 ORDER BY user_id LIMIT ?2")?
        .query_map((&row.name, MAX_EXAMPLES as i64), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    row.values = conn
        .prepare_cached(
            "SELECT value, n FROM attribute_values WHERE name = ?1 ORDER BY n DESC, value LIMIT 50",
        )?
        .query_map([&row.name], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(())
}

/// Names with `part` in them, in any case of A to Z, with what they mostly hold; the most frequent first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn names(conn: &Connection, part: &str, limit: usize) -> Result<Vec<(String, Kinds, i64)>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT name, kinds, people FROM attributes
             WHERE instr(lower(name), lower(?1)) > 0 ORDER BY people DESC, name LIMIT ?2",
        )?
        .query_map((part, limit as i64), |row| {
            let kinds: String = row.get(1)?;
            Ok((row.get(0)?, kinds_of(&kinds), row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Values of one attribute that begin with `start`, in any case of A to Z: those that most people share, then
/// examples.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn values(conn: &Connection, name: &str, start: &str, limit: usize) -> Result<Vec<String>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT value FROM (
               SELECT value, n FROM attribute_values WHERE name = ?1
               UNION ALL
               SELECT value, 0 FROM attribute_examples WHERE name = ?1)
             WHERE lower(substr(value, 1, length(?2))) = lower(?2)
             GROUP BY value ORDER BY max(n) DESC, value LIMIT ?3",
        )?
        .query_map((name, start, limit as i64), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

fn kinds_text(kinds: &Kinds) -> String {
    json!([kinds.text, kinds.numbers, kinds.dates, kinds.number, kinds.boolean, kinds.list, kinds.object])
        .to_string()
}

fn kinds_of(text: &str) -> Kinds {
    let [text, numbers, dates, number, boolean, list, object]: [u64; 7] =
        serde_json::from_str(text).unwrap_or_default();
    Kinds { text, numbers, dates, number, boolean, list, object }
}
