//! `sessions`: operators who are logged in. The token is 256 random bits in a cookie; the file keeps its SHA-256,
//! so that a copy of the file lets nobody in.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, OptionalExtension};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::operators::{self, Operator, Role};
use super::{StoreError, Tx};
use crate::clock::Millis;

/// A session nobody uses ends after this, in milliseconds.
pub const IDLE_LIMIT: Millis = 12 * 3_600_000;
/// No session is older than this, in milliseconds.
pub const AGE_LIMIT: Millis = 30 * 86_400_000;
/// `last_seen_at` is told to this many milliseconds: a write per page would be too dear.
const TOUCH_EVERY: Millis = 60_000;

/// A session in force, and whose it is.
#[derive(Clone, Debug)]
pub struct Session {
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// Whose.
    pub operator: Operator,
    /// When it was used last, to the minute.
    pub last_seen_at: Millis,
    /// When the password was given last.
    pub proved_at: Millis,
}

impl Session {
    /// Whether its use is to be noted.
    pub fn is_stale(&self, now: Millis) -> bool {
        now - self.last_seen_at >= TOUCH_EVERY
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Begins a session, and forgets those that are over. The token is told nowhere else.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn begin(tx: &Tx<'_>, operator_id: i64) -> Result<SecretString, StoreError> {
    let bits: [u8; 32] = rand::random();
    let token = SecretString::from(URL_SAFE_NO_PAD.encode(bits));
    tx.conn
        .prepare_cached("DELETE FROM sessions WHERE last_seen_at < ?1 OR created_at < ?2")?
        .execute((tx.now - IDLE_LIMIT, tx.now - AGE_LIMIT))?;
    tx.conn
        .prepare_cached(
            "INSERT INTO sessions (token_hash, operator_id, created_at, last_seen_at, proved_at)
             VALUES (?1, ?2, ?3, ?3, ?3)",
        )?
        .execute((hash(token.expose_secret()), operator_id, tx.now))?;
    tx.conn
        .prepare_cached("UPDATE operators SET last_login_at = ?2 WHERE id = ?1")?
        .execute((operator_id, tx.now))?;
    Ok(token)
}

/// The session of a token, if it is in force at `now` and its operator may still come in.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, token: &str, now: Millis) -> Result<Option<Session>, StoreError> {
    let columns = operators::COLUMNS;
    let token_hash = hash(token);
    Ok(conn
        .prepare_cached(&format!(
            "SELECT {columns}, sessions.last_seen_at, sessions.proved_at
             FROM sessions JOIN operators ON operators.id = sessions.operator_id
             WHERE sessions.token_hash = ?1 AND sessions.last_seen_at > ?2 AND sessions.created_at > ?3
               AND operators.disabled_at IS NULL"
        ))?
        .query_row((token_hash, now - IDLE_LIMIT, now - AGE_LIMIT), |row| {
            Ok(Session {
                token_hash,
                operator: operators::from_row(row)?,
                last_seen_at: row.get(7)?,
                proved_at: row.get(8)?,
            })
        })
        .optional()?)
}

/// The roles of the operators of those sessions that are in force at `now`, by the hash of their token.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn roles(
    conn: &Connection,
    token_hashes: &[[u8; 32]],
    now: Millis,
) -> Result<HashMap<[u8; 32], Role>, StoreError> {
    let mut roles = HashMap::new();
    let mut find = conn.prepare_cached(
        "SELECT operators.role FROM sessions JOIN operators ON operators.id = sessions.operator_id
         WHERE sessions.token_hash = ?1 AND sessions.last_seen_at > ?2 AND sessions.created_at > ?3
           AND operators.disabled_at IS NULL",
    )?;
    for hash in token_hashes {
        let times = (hash, now - IDLE_LIMIT, now - AGE_LIMIT);
        let role: Option<String> = find.query_row(times, |row| row.get(0)).optional()?;
        if let Some(role) = role.as_deref().and_then(Role::parse) {
            roles.insert(*hash, role);
        }
    }
    Ok(roles)
}

/// Notes that a session is used.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn touch(tx: &Tx<'_>, token_hash: &[u8; 32]) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE sessions SET last_seen_at = ?2 WHERE token_hash = ?1")?
        .execute((token_hash, tx.now))?;
    Ok(())
}

/// Ends a session.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn end(tx: &Tx<'_>, token_hash: &[u8; 32]) -> Result<(), StoreError> {
    tx.conn.prepare_cached("DELETE FROM sessions WHERE token_hash = ?1")?.execute([token_hash])?;
    Ok(())
}
