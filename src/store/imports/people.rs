//! What a row of an import does to `users`, `subscriptions` and `suppressions`: the statements that run
//! once a row, kept lean. A person who comes in by an import has no event of their own.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::super::ledger::{self, ConsentChange};
use super::super::{StoreError, Tx, search, suppressions, topics};
use crate::clock::Millis;
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
    /// The same as it is kept, JSONB: what [`Rows::update`] knows a changed person by.
    pub kept: Vec<u8>,
    /// The import that touched the person last.
    pub import_id: Option<i64>,
    /// Its row; negative when that import added the person.
    pub import_row: Option<i64>,
    /// What the person is found by.
    pub search_words: Option<String>,
}

/// Finds a person by E.164.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_known(conn: &Connection, phone: &str) -> Result<Option<Known>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT id, consent, json(attributes), attributes, import_id, import_row, search_words
             FROM users WHERE phone = ?1",
        )?
        .query_row([phone], |row| {
            let consent = row.get_ref(1)?.as_str()?;
            Ok(Known {
                id: row.get(0)?,
                consent: consent.parse().unwrap_or(Consent::Stop),
                attributes: row.get(2)?,
                kept: row.get(3)?,
                import_id: row.get(4)?,
                import_row: row.get(5)?,
                search_words: row.get(6)?,
            })
        })
        .optional()?)
}

/// JSON text as JSONB. How that looks is SQLite's own affair, so SQLite is asked.
///
/// # Errors
/// [`StoreError`] from SQLite, also for text that is no JSON.
pub fn jsonb(conn: &Connection, text: &str) -> Result<Vec<u8>, StoreError> {
    Ok(conn.prepare_cached("SELECT jsonb(?1)")?.query_row([text], |row| row.get(0))?)
}

/// Whether any number is on the list of those never sent to.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn has_suppressions(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn.prepare_cached("SELECT 1 FROM suppressions LIMIT 1")?.exists([])?)
}

/// A person whom an import adds.
#[derive(Debug)]
pub struct NewPerson<'a> {
    /// E.164.
    pub phone: &'a str,
    /// ISO 3166 alpha-2.
    pub country: Option<&'a str>,
    /// An object as JSONB, checked.
    pub attributes: &'a [u8],
    /// What the person is called, by [`crate::domain::user::names`].
    pub names: &'a str,
    /// `None`: unknown, and nothing in the ledger.
    pub consent: Option<ConsentChange<'a>>,
    /// The import and its row.
    pub import: (i64, i64),
    /// The number's hash, if it is on the list of those never sent to.
    pub suppressed: Option<[u8; 32]>,
}

/// The statements that run once a row, prepared once a chunk.
pub struct Rows<'a> {
    tx: &'a Tx<'a>,
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
    touch: CachedStatement<'a>,
    /// Whose words are in the search index.
    searchable_through: i64,
}

impl<'a> Rows<'a> {
    /// For the rows of one chunk.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn new(tx: &'a Tx<'a>) -> Result<Rows<'a>, StoreError> {
        let insert = tx.conn.prepare_cached(
            "INSERT INTO users (phone, country, consent, suppressed, attributes, import_id, import_row,
                                created_at, updated_at, search_words)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9)
             ON CONFLICT (phone) DO NOTHING",
        )?;
        let update = tx.conn.prepare_cached(
            "UPDATE users SET import_id = ?7, import_row = ?8, attributes = ?9, updated_at = ?10,
               search_words = ?11
             WHERE id = ?1 AND phone = ?2 AND consent = ?3 AND attributes = ?4
               AND import_id IS ?5 AND import_row IS ?6",
        )?;
        let touch = tx.conn.prepare_cached(
            "UPDATE users SET import_id = ?7, import_row = ?8
             WHERE id = ?1 AND phone = ?2 AND consent = ?3 AND attributes = ?4
               AND import_id IS ?5 AND import_row IS ?6",
        )?;
        let searchable_through = search::through(tx.conn)?;
        Ok(Rows { tx, insert, update, touch, searchable_through })
    }

    /// Adds a person and returns the id, or `None` when the number is known.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn insert(&mut self, person: &NewPerson<'_>) -> Result<Option<i64>, StoreError> {
        let tx = self.tx;
        let consent = person.consent.as_ref().map_or(Consent::Unknown, |change| change.state);
        let added = self.insert.execute((
            person.phone,
            person.country,
            consent.as_str(),
            person.suppressed.is_some(),
            person.attributes,
            person.import.0,
            -person.import.1,
            tx.now,
            search::words(person.names, Some(person.phone)),
        ))?;
        if added == 0 {
            return Ok(None);
        }
        let id = tx.conn.last_insert_rowid();
        let mut effects = tx.effects.borrow_mut();
        *effects.users.entry(consent).or_default() += 1;
        effects.attributes += 1;
        drop(effects);
        if let Some(address_hash) = &person.suppressed {
            suppressions::claim(tx, address_hash, id)?;
        }
        if let Some(change) = &person.consent {
            ledger::append(tx, id, Consent::Unknown, change)?;
        }
        Ok(Some(id))
    }

    /// Notes which row of which import touched the person (`row` keeps the sign that it has), with
    /// attributes (JSONB, checked, and what the person is called in them) that replace those kept. Returns false, and changes nothing, when the
    /// person does not stand as `known` says: whatever a decision was based on is compared.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn update(
        &mut self,
        phone: &str,
        known: &Known,
        attributes: Option<(&[u8], &str)>,
        (import_id, row): (i64, i64),
    ) -> Result<bool, StoreError> {
        let (consent, kept) = (known.consent.as_str(), known.kept.as_slice());
        let stood = (known.import_id, known.import_row);
        let changed = match attributes {
            Some((attributes, names)) => {
                self.tx.effects.borrow_mut().attributes += 1;
                let words = search::words(names, Some(phone));
                let changed = self.update.execute(params![
                    known.id,
                    phone,
                    consent,
                    kept,
                    stood.0,
                    stood.1,
                    import_id,
                    row,
                    attributes,
                    self.tx.now,
                    words
                ])?;
                if changed > 0 && known.id <= self.searchable_through {
                    search::replace(self.tx, known.id, known.search_words.as_deref(), words.as_deref())?;
                }
                changed
            }
            None => self.touch.execute((known.id, phone, consent, kept, stood.0, stood.1, import_id, row))?,
        };
        Ok(changed > 0)
    }
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

/// Where the list of suppressed numbers has a number (as its keyed hash) from, if it is there.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn suppressed_by(conn: &Connection, address_hash: &[u8; 32]) -> Result<Option<String>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT source FROM suppressions WHERE address_hash = ?1")?
        .query_row([address_hash], |row| row.get(0))
        .optional()?)
}

/// Where the last word in a person's ledger comes from (`keyword`, `import`, …), and when it was said.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn last_word(conn: &Connection, user_id: i64) -> Result<Option<(String, Millis)>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT source, coalesce(obtained_at, at) FROM consent_ledger
             WHERE user_id = ?1 ORDER BY id DESC LIMIT 1",
        )?
        .query_row([user_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}
