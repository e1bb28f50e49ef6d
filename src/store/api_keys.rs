//! `api_keys`: who may call the HTTP API, and what for. The secret is 256 random bits, shown once; the
//! file keeps its SHA-256, which no guess can be tested against in any useful time, so the lookup by hash
//! needs no slow function and tells nothing by its timing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, OptionalExtension, Row};
use secrecy::SecretString;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::events::{self, NewEvent};
use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::event::EventType;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Look at everything.
    Read,
    /// Change users, imports, segments, templates, campaigns and topics.
    Write,
    /// Make messages go out: launch, single messages, triggers.
    Send,
    /// Keys, operators, settings, metrics.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Scope::Read, Scope::Write, Scope::Send, Scope::Admin];

    /// The word of the table, the command line and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Send => "send",
            Scope::Admin => "admin",
        }
    }

    /// The scope with this word.
    pub fn parse(word: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// A key as kept, without its secret.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Key of the table; rows name it as `key:3`.
    pub id: i64,
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Millis,
    /// From then on it is refused.
    pub expires_at: Option<Millis>,
    /// The last call, to the minute.
    pub last_used_at: Option<Millis>,
    /// Since then it is refused.
    pub revoked_at: Option<Millis>,
}

const COLUMNS: &str = "id, name, scopes, created_at, expires_at, last_used_at, revoked_at";
/// Every secret begins so, which lets secret scanners find one that leaked.
const PREFIX: &str = "ese_";

fn from_row(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let scopes: String = row.get(2)?;
    Ok(ApiKey {
        id: row.get(0)?,
        name: row.get(1)?,
        scopes: scopes.split(',').filter_map(Scope::parse).collect(),
        created_at: row.get(3)?,
        expires_at: row.get(4)?,
        last_used_at: row.get(5)?,
        revoked_at: row.get(6)?,
    })
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Makes a key and returns its id and its secret, which is told nowhere else. `actor` is who asked.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(
    tx: &Tx<'_>,
    name: &str,
    scopes: &[Scope],
    expires_at: Option<Millis>,
    actor: &str,
) -> Result<(i64, SecretString), StoreError> {
    let bits: [u8; 32] = rand::random();
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits));
    let mut scopes = scopes.to_vec();
    scopes.sort();
    scopes.dedup();
    let words: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let id = tx
        .conn
        .prepare_cached(
            "INSERT INTO api_keys (name, secret_hash, scopes, created_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert((name, hash(&secret), words.join(","), tx.now, expires_at))?;
    let data = json!({"api_key_id": id, "added": name, "scopes": words, "actor": actor});
    events::append(tx, EventType::AdminChanged, NewEvent { data: Some(data), ..NewEvent::default() })?;
    Ok((id, secret.into()))
}

/// The key with this secret, also if it expired or was revoked.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_by_secret(conn: &Connection, secret: &str) -> Result<Option<ApiKey>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE secret_hash = ?1"))?
        .query_row([hash(secret)], from_row)
        .optional()?)
}

/// Whether the key with this id is neither revoked nor expired at `now`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_in_force(conn: &Connection, id: i64, now: Millis) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT 1 FROM api_keys
             WHERE id = ?1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)",
        )?
        .exists((id, now))?)
}

/// Every key, oldest first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection) -> Result<Vec<ApiKey>, StoreError> {
    let keys = conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys ORDER BY id"))?
        .query_map([], from_row)?
        .collect::<Result<_, _>>()?;
    Ok(keys)
}

/// The key with this id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<ApiKey>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE id = ?1"))?
        .query_row([id], from_row)
        .optional()?)
}

/// Keys with a smaller id than `before`, newest first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn page(conn: &Connection, before: i64, limit: usize) -> Result<Vec<ApiKey>, StoreError> {
    let keys = conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE id < ?1 ORDER BY id DESC LIMIT ?2"))?
        .query_map((before, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(keys)
}

impl ApiKey {
    /// Whether it is neither revoked nor expired.
    pub fn is_in_force(&self, now: Millis) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }
}

/// Notes that the key was used.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn touch(tx: &Tx<'_>, id: i64) -> Result<(), StoreError> {
    tx.conn.prepare_cached("UPDATE api_keys SET last_used_at = ?2 WHERE id = ?1")?.execute((id, tx.now))?;
    Ok(())
}

/// Refuses the key from now on. Returns whether there was one in force.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn revoke(tx: &Tx<'_>, id: i64, actor: &str) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .execute("UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL", (id, tx.now))?;
    if changed > 0 {
        let data = json!({"api_key_id": id, "revoked": true, "actor": actor});
        events::append(tx, EventType::AdminChanged, NewEvent { data: Some(data), ..NewEvent::default() })?;
    }
    Ok(changed > 0)
}
