//! `users`: people, found by phone or id, with their attributes and topics.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde_json::{Map, Value, json};

use super::events::{self, NewEvent};
use super::ledger::{self, ConsentChange};
use super::segment_sql::Predicate;
use super::{StoreError, Tx, search, suppressions};
use crate::clock::Millis;
use crate::domain::consent::Consent;
use crate::domain::event::EventType;
use crate::domain::phone::Phone;
use crate::domain::user::names;

/// How a person is named in a path: by number or by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserKey {
    /// E.164.
    Phone(String),
    /// `users.id`.
    Id(i64),
}

/// A person as kept.
#[derive(Clone, Debug)]
pub struct User {
    /// Key of every table about people.
    pub id: i64,
    /// E.164; `None` after erasure or for people known by a channel id alone.
    pub phone: Option<String>,
    /// `whatsapp:US.1349…` of somebody without a number.
    pub channel_address: Option<String>,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// May we write of our own accord.
    pub consent: Consent,
    /// `review` while an operator has to decide what the person meant.
    pub hold: Option<String>,
    /// False once the number proved dead.
    pub is_reachable: bool,
    /// Why it is not reachable.
    pub unreachable_reason: Option<String>,
    /// On the list of numbers never sent to.
    pub is_suppressed: bool,
    /// Free-form facts.
    pub attributes: Map<String, Value>,
    /// Last message from the person.
    pub last_inbound_at: Option<Millis>,
    /// Set when the person's data was erased.
    pub erased_at: Option<Millis>,
    /// When first kept.
    pub created_at: Millis,
    /// When last changed.
    pub updated_at: Millis,
}

const COLUMNS: &str = "u.id, u.phone, u.channel_address, u.country, u.consent, u.hold, u.reachable,
   u.unreachable_reason, u.suppressed, json(u.attributes), u.last_inbound_at, u.erased_at, u.created_at,
   u.updated_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<User> {
    let consent: String = row.get(4)?;
    let attributes: String = row.get(9)?;
    Ok(User {
        id: row.get(0)?,
        phone: row.get(1)?,
        channel_address: row.get(2)?,
        country: row.get(3)?,
        consent: consent.parse().unwrap_or(Consent::Unknown),
        hold: row.get(5)?,
        is_reachable: row.get(6)?,
        unreachable_reason: row.get(7)?,
        is_suppressed: row.get(8)?,
        attributes: serde_json::from_str(&attributes).unwrap_or_default(),
        last_inbound_at: row.get(10)?,
        erased_at: row.get(11)?,
        created_at: row.get(12)?,
        updated_at: row.get(13)?,
    })
}

/// A person about to be added.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// E.164, or `None` with a channel address.
    pub phone: Option<&'a str>,
    /// For people without a number.
    pub channel_address: Option<&'a str>,
    /// ISO 3166 alpha-2.
    pub country: Option<&'a str>,
    /// Checked by [`crate::domain::user::check_attributes`].
    pub attributes: &'a Map<String, Value>,
    /// The first state, with where it comes from. `None`: unknown, and nothing in the ledger.
    pub consent: Option<ConsentChange<'a>>,
    /// Who adds it: `key:3`, `import:5`, `user`.
    pub actor: &'a str,
    /// The import and the row in its file; such a person gets no event of his own, the import has one.
    pub import: Option<(i64, i64)>,
}

/// Adds a person and returns the id. A suppressed number comes in suppressed.
///
/// # Errors
/// [`StoreError`] from SQLite; the caller made sure that the number is new.
pub fn insert(tx: &Tx<'_>, user: &NewUser<'_>) -> Result<i64, StoreError> {
    let consent = user.consent.as_ref().map_or(Consent::Unknown, |change| change.state);
    let address = user.phone.or(user.channel_address).unwrap_or_default();
    let is_suppressed = suppressions::contains(tx, address)?;
    let attributes = serde_json::to_string(user.attributes).unwrap_or_else(|_| "{}".to_owned());
    let id = tx
        .conn
        .prepare_cached(
            "INSERT INTO users (phone, channel_address, country, consent, suppressed, attributes,
                                import_id, import_row, created_at, updated_at, search_words)
             VALUES (?1, ?2, ?3, ?4, ?5, jsonb(?6), ?7, ?8, ?9, ?9, ?10)",
        )?
        .insert((
            user.phone,
            user.channel_address,
            user.country,
            consent.as_str(),
            is_suppressed,
            attributes,
            user.import.map(|(id, _)| id),
            user.import.map(|(_, row)| row),
            tx.now,
            search::words(&names(user.attributes), user.phone),
        ))?;
    let mut effects = tx.effects.borrow_mut();
    effects.wakes_people = true;
    *effects.users.entry(consent).or_default() += 1;
    effects.attributes += 1;
    effects.wakes_people = true;
    drop(effects);
    if is_suppressed {
        suppressions::claim(tx, &tx.key.hash(address), id)?;
    }
    if user.import.is_none() {
        let event =
            NewEvent { user_id: Some(id), data: Some(json!({"actor": user.actor})), ..NewEvent::default() };
        events::append(tx, EventType::UserCreated, event)?;
    }
    if let Some(change) = &user.consent {
        ledger::append(tx, id, Consent::Unknown, change)?;
    }
    Ok(id)
}

/// Finds a person, erased ones by id only.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, key: &UserKey) -> Result<Option<User>, StoreError> {
    let found = match key {
        UserKey::Phone(phone) => conn
            .prepare_cached(&format!("SELECT {COLUMNS} FROM users u WHERE u.phone = ?1"))?
            .query_row([phone], from_row)
            .optional()?,
        UserKey::Id(id) => conn
            .prepare_cached(&format!("SELECT {COLUMNS} FROM users u WHERE u.id = ?1"))?
            .query_row([id], from_row)
            .optional()?,
    };
    Ok(found)
}

/// The person with this number, added with unknown consent if there is none.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_or_add(tx: &Tx<'_>, phone: &Phone, actor: &str) -> Result<User, StoreError> {
    let key = UserKey::Phone(phone.as_str().to_owned());
    if let Some(user) = find(tx.conn, &key)? {
        return Ok(user);
    }
    let new = NewUser {
        phone: Some(phone.as_str()),
        channel_address: None,
        country: phone.country(),
        attributes: &Map::new(),
        consent: None,
        actor,
        import: None,
    };
    let id = insert(tx, &new)?;
    find(tx.conn, &UserKey::Id(id))?
        .ok_or_else(|| StoreError::Internal(format!("person {id} is gone in the write that added them")))
}

/// Finds somebody who has no number, by the address on the channel.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_by_channel_address(conn: &Connection, address: &str) -> Result<Option<User>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users u WHERE u.channel_address = ?1"))?
        .query_row([address], from_row)
        .optional()?)
}

/// What a message from a person has to know of them.
#[derive(Clone, Copy, Debug)]
pub struct Contact {
    /// The person.
    pub id: i64,
    /// Their standing.
    pub consent: Consent,
}

/// The person with this number, if there is one: two columns, for what comes in thousands a second.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn contact(conn: &Connection, phone: &Phone) -> Result<Option<Contact>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT id, consent FROM users WHERE phone = ?1")?
        .query_row([phone.as_str()], |row| {
            let consent: String = row.get(1)?;
            Ok(Contact { id: row.get(0)?, consent: consent.parse().unwrap_or(Consent::Stop) })
        })
        .optional()?)
}

/// A page of people who satisfy `predicate`, newest first, below id `before`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(
    conn: &Connection,
    predicate: &Predicate,
    before: i64,
    limit: usize,
) -> Result<Vec<User>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM users u
         WHERE u.erased_at IS NULL AND u.id < ? AND ({}) ORDER BY u.id DESC LIMIT ?",
        predicate.sql
    );
    let mut values = vec![SqlValue::from(before)];
    values.extend(predicate.params.iter().cloned());
    values.push(SqlValue::from(limit as i64));
    let found = conn
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// How many people satisfy `predicate`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count(conn: &Connection, predicate: &Predicate) -> Result<i64, StoreError> {
    let sql = format!("SELECT count(*) FROM users u WHERE u.erased_at IS NULL AND ({})", predicate.sql);
    Ok(conn.prepare_cached(&sql)?.query_row(params_from_iter(predicate.params.iter()), |row| row.get(0))?)
}

/// How many people with an id in `(low, high]` satisfy `predicate`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub(super) fn count_between(
    conn: &Connection,
    predicate: &Predicate,
    (low, high): (i64, i64),
) -> Result<i64, StoreError> {
    let sql = format!(
        "SELECT count(*) FROM users u
         WHERE u.id > ? AND u.id <= ? AND u.erased_at IS NULL AND ({})",
        predicate.sql
    );
    let values =
        [SqlValue::from(low), SqlValue::from(high)].into_iter().chain(predicate.params.iter().cloned());
    Ok(conn.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| row.get(0))?)
}

/// The newest people with an id in `(low, high]` who satisfy `predicate`, at most `limit`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub(super) fn list_between(
    conn: &Connection,
    predicate: &Predicate,
    (low, high): (i64, i64),
    limit: usize,
) -> Result<Vec<User>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM users u
         WHERE u.id > ? AND u.id <= ? AND u.erased_at IS NULL AND ({}) ORDER BY u.id DESC LIMIT ?",
        predicate.sql
    );
    let mut values = vec![SqlValue::from(low), SqlValue::from(high)];
    values.extend(predicate.params.iter().cloned());
    values.push(SqlValue::from(limit as i64));
    let found = conn
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// The same as [`count`], but no further than `most`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count_up_to(conn: &Connection, predicate: &Predicate, most: i64) -> Result<i64, StoreError> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM users u WHERE u.erased_at IS NULL AND ({}) LIMIT ?)",
        predicate.sql
    );
    let values = predicate.params.iter().cloned().chain([SqlValue::from(most)]);
    Ok(conn.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| row.get(0))?)
}

/// Whether a person satisfies `predicate`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn satisfies(conn: &Connection, user_id: i64, predicate: &Predicate) -> Result<bool, StoreError> {
    let sql = format!("SELECT 1 FROM users u WHERE u.id = ? AND {}", predicate.sql);
    let values = [SqlValue::from(user_id)].into_iter().chain(predicate.params.iter().cloned());
    Ok(conn.prepare_cached(&sql)?.exists(params_from_iter(values))?)
}

/// Writes the whole set of attributes, with an event that names what changed.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_attributes(
    tx: &Tx<'_>,
    user_id: i64,
    attributes: &Map<String, Value>,
    actor: &str,
) -> Result<(), StoreError> {
    write_attributes(tx, user_id, attributes)?;
    note_update(tx, user_id, json!({"changed": "attributes", "actor": actor}))
}

/// Writes attributes without an event: an import has one for all its rows.
pub(super) fn write_attributes(
    tx: &Tx<'_>,
    user_id: i64,
    attributes: &Map<String, Value>,
) -> Result<(), StoreError> {
    let text = serde_json::to_string(attributes).unwrap_or_else(|_| "{}".to_owned());
    let found: Option<(Option<String>, Option<String>)> = tx
        .conn
        .prepare_cached("SELECT search_words, phone FROM users WHERE id = ?1")?
        .query_row([user_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (before, phone) = found.unwrap_or_default();
    let after = search::words(&names(attributes), phone.as_deref());
    tx.conn
        .prepare_cached(
            "UPDATE users SET attributes = jsonb(?2), updated_at = ?3, search_words = ?4 WHERE id = ?1",
        )?
        .execute((user_id, text, tx.now, &after))?;
    tx.effects.borrow_mut().attributes += 1;
    search::change(tx, user_id, before.as_deref(), after.as_deref())
}

fn note_update(tx: &Tx<'_>, user_id: i64, data: Value) -> Result<(), StoreError> {
    let event = NewEvent { user_id: Some(user_id), data: Some(data), ..NewEvent::default() };
    events::append(tx, EventType::UserUpdated, event)?;
    Ok(())
}

/// Marks a number dead, or alive again with `reason` = `None`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_reachable(tx: &Tx<'_>, user_id: i64, reason: Option<&str>, actor: &str) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE users SET reachable = ?2, unreachable_reason = ?3, updated_at = ?4,
               failures = CASE WHEN ?2 THEN 0 ELSE failures END
             WHERE id = ?1 AND reachable <> ?2",
        )?
        .execute((user_id, reason.is_none(), reason, tx.now))?;
    if changed > 0 {
        let data = json!({"changed": "reachable", "reachable": reason.is_none(), "reason": reason,
                          "actor": actor});
        note_update(tx, user_id, data)?;
    }
    Ok(())
}

/// Counts a message that failed for good because the phone could not be reached, and says how many have in a
/// row. Whatever the person wrote or got since the last one begins the count anew; that is looked up here, so
/// that no delivery has to write it down.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note_failure(tx: &Tx<'_>, user_id: i64) -> Result<i64, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "UPDATE users SET last_failure_at = ?2, failures = 1 + CASE
               WHEN last_inbound_at > last_failure_at THEN 0
               WHEN EXISTS (SELECT 1 FROM messages m WHERE m.user_id = users.id
                              AND (m.delivered_at > users.last_failure_at
                                   OR m.read_at > users.last_failure_at)) THEN 0
               ELSE failures END
             WHERE id = ?1 RETURNING failures",
        )?
        .query_row((user_id, tx.now), |row| row.get(0))
        .optional()?
        .unwrap_or(0))
}

/// Puts a person on hold for review, or takes them off it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_hold(tx: &Tx<'_>, user_id: i64, hold: Option<&str>, actor: &str) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached("UPDATE users SET hold = ?2, updated_at = ?3 WHERE id = ?1 AND hold IS NOT ?2")?
        .execute((user_id, hold, tx.now))?;
    if changed > 0 {
        let event = NewEvent {
            user_id: Some(user_id),
            data: Some(json!({"hold": hold, "actor": actor})),
            ..NewEvent::default()
        };
        events::append(tx, EventType::HoldChanged, event)?;
    }
    Ok(())
}

/// Notes that the person wrote to us; on WhatsApp this opens the 24-hour window.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note_inbound(tx: &Tx<'_>, user_id: i64, at: Millis, is_whatsapp: bool) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE users SET last_inbound_at = max(coalesce(last_inbound_at, 0), ?2),
               last_whatsapp_inbound_at = CASE WHEN ?3
                 THEN max(coalesce(last_whatsapp_inbound_at, 0), ?2) ELSE last_whatsapp_inbound_at END
             WHERE id = ?1",
        )?
        .execute((user_id, at, is_whatsapp))?;
    Ok(())
}

/// The person's topics in effect: joined, or open to all who opted in and not left.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn topics(conn: &Connection, user_id: i64, consent: Consent) -> Result<Vec<String>, StoreError> {
    let names = conn
        .prepare_cached(
            "SELECT t.name FROM topics t
               LEFT JOIN subscriptions s ON s.topic_id = t.id AND s.user_id = ?1
             WHERE coalesce(s.state = 'subscribed', t.default_rule = 'all_opted_in' AND ?2)
             ORDER BY t.name",
        )?
        .query_map((user_id, consent == Consent::OptIn), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(names)
}

/// People by consent, erased ones left out.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn counts(conn: &Connection) -> Result<Vec<(String, i64)>, StoreError> {
    let counts = conn
        .prepare_cached("SELECT consent, n FROM user_counts ORDER BY consent")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(counts)
}
