//! `operators`: the people who may log in.

use serde_json::json;

use super::events::{self, NewEvent};
use super::{StoreError, Tx};
use crate::domain::event::EventType;

/// Adds an operator. `password_hash` is an argon2id PHC string. False: the address is taken.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, email: &str, password_hash: &str, role: &str) -> Result<bool, StoreError> {
    let added = tx.conn.execute(
        "INSERT INTO operators (email, password_hash, role, created_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (email) DO NOTHING",
        (email, password_hash, role, tx.now),
    )?;
    if added > 0 {
        let data = Some(json!({"operator": email, "role": role, "change": "added"}));
        events::append(tx, EventType::AdminChanged, NewEvent { data, ..NewEvent::default() })?;
    }
    Ok(added > 0)
}
