//! `suppressions`: addresses never sent to, kept as keyed hashes, so they hold for people who were erased
//! and for people whom we don't know yet.

use rusqlite::OptionalExtension;
use serde_json::json;

use super::events::{self, NewEvent};
use super::{StoreError, Tx};
use crate::domain::event::EventType;

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

/// Puts `address` on the list, and marks its owner if there is one. Returns whether it was new.
/// `reason` is `do_not_contact` or `erased`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, address: &str, reason: &str, source: &str) -> Result<bool, StoreError> {
    let is_new = tx
        .conn
        .prepare_cached(
            "INSERT OR IGNORE INTO suppressions (address_hash, reason, source, created_at)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((tx.key.hash(address), reason, source, tx.now))?
        > 0;
    let user_id: Option<i64> = tx
        .conn
        .prepare_cached(
            "UPDATE users SET suppressed = 1, updated_at = ?2
             WHERE phone = ?1 AND suppressed = 0 RETURNING id",
        )?
        .query_row((address, tx.now), |row| row.get(0))
        .optional()?;
    if is_new {
        let event = NewEvent {
            user_id,
            data: Some(json!({"suppressed": true, "reason": reason, "actor": source})),
            ..NewEvent::default()
        };
        events::append(tx, EventType::SuppressionChanged, event)?;
    }
    Ok(is_new)
}
