//! `suppressions`: addresses never sent to, kept as keyed hashes, so they hold for people who were erased
//! and for people whom we don't know yet.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::json;

use super::events::{self, NewEvent};
use super::{StoreError, StoreKey, Tx, Withdrawal, messages};
use crate::clock::Millis;
use crate::domain::event::EventType;

/// Why an address is on the list. `erased` comes from an erasure alone.
pub const REASONS: [&str; 4] = ["do_not_contact", "opted_out_elsewhere", "complaint", "erased"];

/// An address on the list. The address itself is not kept.
#[derive(Clone, Debug)]
pub struct Suppression {
    /// Ascending.
    pub id: i64,
    /// HMAC-SHA-256 of the address.
    pub address_hash: Vec<u8>,
    /// One of [`REASONS`].
    pub reason: String,
    /// A list's name, or who put it there.
    pub source: String,
    /// The person with this address, if we hold one.
    pub user_id: Option<i64>,
    /// Their number.
    pub phone: Option<String>,
    /// When the person with this address was erased, if so.
    pub erased_at: Option<Millis>,
    /// Since when.
    pub created_at: Millis,
}

const COLUMNS: &str =
    "s.id, s.address_hash, s.reason, s.source, s.user_id, u.phone, s.erased_at, s.created_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Suppression> {
    Ok(Suppression {
        id: row.get(0)?,
        address_hash: row.get(1)?,
        reason: row.get(2)?,
        source: row.get(3)?,
        user_id: row.get(4)?,
        phone: row.get(5)?,
        erased_at: row.get(6)?,
        created_at: row.get(7)?,
    })
}

/// True if `address` (E.164, or a channel address without a number) is on the list.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn contains(tx: &Tx<'_>, address: &str) -> Result<bool, StoreError> {
    Ok(tx
        .conn
        .prepare_cached("SELECT 1 FROM suppressions WHERE address_hash = ?1")?
        .exists([tx.key.hash(address)])?)
}

/// What the list says of `address`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, key: &StoreKey, address: &str) -> Result<Option<Suppression>, StoreError> {
    Ok(conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM suppressions s LEFT JOIN users u ON u.id = s.user_id
             WHERE s.address_hash = ?1"
        ))?
        .query_row([key.hash(address)], from_row)
        .optional()?)
}

/// A page of the list, newest first, below id `before`; with `reason`, those of that reason.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(
    conn: &Connection,
    reason: Option<&str>,
    before: i64,
    limit: usize,
) -> Result<Vec<Suppression>, StoreError> {
    let condition = if reason.is_some() { "s.reason = ?3 AND" } else { "?3 IS NULL AND" };
    let found = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM suppressions s LEFT JOIN users u ON u.id = s.user_id
             WHERE {condition} s.id < ?1 ORDER BY s.id DESC LIMIT ?2"
        ))?
        .query_map((before, limit as i64, reason), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Puts `address` on the list, and marks its owner if there is one: what waits for them is cancelled, and what
/// is claimed withdrawn. Returns whether it was new. `reason` is one of [`REASONS`], `source` who says so.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, address: &str, reason: &str, source: &str) -> Result<bool, StoreError> {
    insert_by(tx, address, (reason, source), source)
}

/// The same, where `source` names a list and `actor` brought it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert_by(
    tx: &Tx<'_>,
    address: &str,
    (reason, source): (&str, &str),
    actor: &str,
) -> Result<bool, StoreError> {
    let user_id: Option<i64> = tx
        .conn
        .prepare_cached("SELECT id FROM users WHERE phone = ?1 OR channel_address = ?1")?
        .query_row([address], |row| row.get(0))
        .optional()?;
    let is_new = tx
        .conn
        .prepare_cached(
            "INSERT INTO suppressions (address_hash, reason, source, user_id, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (address_hash) DO NOTHING",
        )?
        .execute((tx.key.hash(address), reason, source, user_id, tx.now))?
        > 0;
    if let Some(user_id) = user_id {
        mark(tx, user_id)?;
    }
    if is_new {
        note(tx, user_id, json!({"suppressed": true, "reason": reason, "actor": actor}))?;
    }
    Ok(is_new)
}

fn mark(tx: &Tx<'_>, user_id: i64) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached("UPDATE users SET suppressed = 1, updated_at = ?2 WHERE id = ?1 AND suppressed = 0")?
        .execute((user_id, tx.now))?;
    if changed > 0 {
        messages::cancel_of_user(tx, user_id, "suppressed")?;
        tx.withdraw(Withdrawal::User(user_id));
    }
    Ok(())
}

fn note(tx: &Tx<'_>, user_id: Option<i64>, data: serde_json::Value) -> Result<(), StoreError> {
    let event = NewEvent { user_id, data: Some(data), ..NewEvent::default() };
    events::append(tx, EventType::SuppressionChanged, event)?;
    Ok(())
}

/// Names the person who came in with an address that stands on the list.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub(super) fn claim(tx: &Tx<'_>, address_hash: &[u8; 32], user_id: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE suppressions SET user_id = ?2 WHERE address_hash = ?1")?
        .execute((address_hash, user_id))?;
    Ok(())
}

/// Notes that the person with `address` is being erased: from now on the list names nobody for it, and only
/// that person leads off it.
pub(super) fn erase(tx: &Tx<'_>, address: &str, actor: &str) -> Result<(), StoreError> {
    insert(tx, address, "erased", actor)?;
    tx.conn
        .prepare_cached(
            "UPDATE suppressions SET user_id = NULL, erased_at = coalesce(erased_at, ?2)
             WHERE address_hash = ?1",
        )?
        .execute((tx.key.hash(address), tx.now))?;
    Ok(())
}

/// Takes `address` off the list; what was cancelled stays so. Returns whether it was there.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn remove(tx: &Tx<'_>, address: &str, actor: &str) -> Result<bool, StoreError> {
    let removed: Option<String> = tx
        .conn
        .prepare_cached("DELETE FROM suppressions WHERE address_hash = ?1 RETURNING reason")?
        .query_row([tx.key.hash(address)], |row| row.get(0))
        .optional()?;
    let Some(reason) = removed else {
        return Ok(false);
    };
    let user_id: Option<i64> = tx
        .conn
        .prepare_cached(
            "UPDATE users SET suppressed = 0, updated_at = ?2
             WHERE (phone = ?1 OR channel_address = ?1) AND suppressed = 1 RETURNING id",
        )?
        .query_row((address, tx.now), |row| row.get(0))
        .optional()?;
    note(tx, user_id, json!({"suppressed": false, "reason": reason, "actor": actor}))?;
    Ok(true)
}

/// What a START of the person themselves, said at `said_at`, does to the list: their word is newer than an
/// erasure, an opt-out elsewhere or a STOP of an address without a number, and ends those. What the house put
/// there (`do_not_contact` from a list, `complaint`) stays until the house takes it off. Returns whether it
/// ended one.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn lift_by_person(tx: &Tx<'_>, address: &str, said_at: Millis) -> Result<bool, StoreError> {
    let may_lift = tx
        .conn
        .prepare_cached(
            "SELECT 1 FROM suppressions
             WHERE address_hash = ?1 AND max(created_at, coalesce(erased_at, 0)) <= ?2
               AND (reason IN ('erased', 'opted_out_elsewhere') OR source = 'keyword')",
        )?
        .exists((tx.key.hash(address), said_at))?;
    Ok(may_lift && remove(tx, address, "user")?)
}
