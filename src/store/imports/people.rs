//! What a row of an import does to `users`, `subscriptions` and `suppressions`: the statements that run
//! once a row, kept lean. A person who comes in by an import has no event of their own.

use rusqlite::{Connection, OptionalExtension};

use super::super::ledger::{self, ConsentChange};
use super::super::{StoreError, StoreKey, Tx, suppressions, topics};
use crate::domain::consent::Consent;

/// A person whom we know, as far as an import asks.
#[derive(Clone, Debug)]
pub struct Known {
    /// Key.
    pub id: i64,
    /// The state now.
    pub consent: Consent,
    /// As JSON text.
    pub attributes: String,
    /// The import that touched the person last.
    pub import_id: Option<i64>,
    /// Its row; negative when that import added the person.
    pub import_row: Option<i64>,
}

/// Finds a person by E.164.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_known(conn: &Connection, phone: &str) -> Result<Option<Known>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT id, consent, json(attributes), import_id, import_row FROM users WHERE phone = ?1",
        )?
        .query_row([phone], |row| {
            let consent: String = row.get(1)?;
            Ok(Known {
                id: row.get(0)?,
                consent: consent.parse().unwrap_or(Consent::Stop),
                attributes: row.get(2)?,
                import_id: row.get(3)?,
                import_row: row.get(4)?,
            })
        })
        .optional()?)
}

/// A person whom an import adds.
#[derive(Debug)]
pub struct NewPerson<'a> {
    /// E.164.
    pub phone: &'a str,
    /// ISO 3166 alpha-2.
    pub country: Option<&'a str>,
    /// A JSON object, checked.
    pub attributes: &'a str,
    /// `None`: unknown, and nothing in the ledger.
    pub consent: Option<ConsentChange<'a>>,
    /// The import and its row.
    pub import: (i64, i64),
    /// What [`has_suppressions`] says within this write: an empty list need not be asked for each number.
    pub is_list_empty: bool,
}

/// Whether any number is on the list of those never sent to.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn has_suppressions(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn.prepare_cached("SELECT 1 FROM suppressions LIMIT 1")?.exists([])?)
}

/// Adds a person and returns the id, or `None` when the number is known. A suppressed number comes in
/// suppressed.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert_person(tx: &Tx<'_>, person: &NewPerson<'_>) -> Result<Option<i64>, StoreError> {
    let consent = person.consent.as_ref().map_or(Consent::Unknown, |change| change.state);
    let is_suppressed = !person.is_list_empty && suppressions::contains(tx, person.phone)?;
    let added = tx
        .conn
        .prepare_cached(
            "INSERT INTO users (phone, country, consent, suppressed, attributes, import_id, import_row,
                                created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, jsonb(?5), ?6, ?7, ?8, ?8)
             ON CONFLICT (phone) DO NOTHING",
        )?
        .execute((
            person.phone,
            person.country,
            consent.as_str(),
            is_suppressed,
            person.attributes,
            person.import.0,
            -person.import.1,
            tx.now,
        ))?;
    if added == 0 {
        return Ok(None);
    }
    let id = tx.conn.last_insert_rowid();
    *tx.effects.borrow_mut().users.entry(consent).or_default() += 1;
    if let Some(change) = &person.consent {
        ledger::append(tx, id, Consent::Unknown, change)?;
    }
    Ok(Some(id))
}

/// Notes which row of which import touched the person. `row` keeps the sign that it has.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn touch(tx: &Tx<'_>, user_id: i64, (import_id, row): (i64, i64)) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE users SET import_id = ?2, import_row = ?3 WHERE id = ?1")?
        .execute((user_id, import_id, row))?;
    Ok(())
}

/// The same, with attributes (a JSON object, checked) that replace those kept.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn update_person(
    tx: &Tx<'_>,
    user_id: i64,
    attributes: &str,
    (import_id, row): (i64, i64),
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE users SET attributes = jsonb(?2), import_id = ?3, import_row = ?4, updated_at = ?5
             WHERE id = ?1",
        )?
        .execute((user_id, attributes, import_id, row, tx.now))?;
    Ok(())
}

/// Whether everything in the person's ledger, if anything, was recorded by `actor`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_ledger_of(conn: &Connection, user_id: i64, actor: &str) -> Result<bool, StoreError> {
    let has_other = conn
        .prepare_cached("SELECT 1 FROM consent_ledger WHERE user_id = ?1 AND actor <> ?2 LIMIT 1")?
        .exists((user_id, actor))?;
    Ok(!has_other)
}

/// What a person did about a topic: `Some(true)` joined, `Some(false)` left.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn membership(conn: &Connection, user_id: i64, topic_id: i64) -> Result<Option<bool>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT state = 'subscribed' FROM subscriptions WHERE user_id = ?1 AND topic_id = ?2",
        )?
        .query_row((user_id, topic_id), |row| row.get(0))
        .optional()?)
}

/// Lets a person join a topic, without an event.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn join(tx: &Tx<'_>, user_id: i64, topic_id: i64) -> Result<(), StoreError> {
    topics::write(tx, user_id, topic_id, true)?;
    Ok(())
}

/// Where the list of suppressed numbers has a number from, if it is there.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn suppressed_by(conn: &Connection, key: &StoreKey, phone: &str) -> Result<Option<String>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT source FROM suppressions WHERE address_hash = ?1")?
        .query_row([key.hash(phone)], |row| row.get(0))
        .optional()?)
}
