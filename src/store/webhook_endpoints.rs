//! `webhook_endpoints`: who is told of events, how far each has come, and how it has been doing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::{Connection, OptionalExtension, Row};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::events::{self, NewEvent};
use super::{StoreError, StoreKey, Tx, seal};
use crate::clock::Millis;
use crate::domain::event::EventType;
use crate::domain::webhook::schedule::Health;

/// Endpoints of one file. Each is asked about after every commit.
pub const MOST_ENDPOINTS: i64 = 50;
/// How long the secret before a rotation signs too, in milliseconds: a day to change it over there.
pub const OVERLAP: Millis = 86_400_000;
/// What the secrets are sealed as.
const PURPOSE: &str = "webhook secret";
/// Bytes of a secret: the specification wants 24 to 64.
const SECRET_BYTES: usize = 32;

/// An endpoint, without its secrets.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Key.
    pub id: i64,
    /// Where events are posted to.
    pub url: String,
    /// For people.
    pub description: String,
    /// Types or nouns with a star; empty: every event.
    pub types: Vec<String>,
    /// Whether anything is sent.
    pub is_enabled: bool,
    /// Why not, in a sentence.
    pub disabled_reason: Option<String>,
    /// Until then the secret before the last rotation signs too.
    pub previous_secret_until: Option<Millis>,
    /// `events.id` up to which everything was tried.
    pub position: i64,
    /// How it has been doing.
    pub health: Health,
    /// It asked for a rest until then.
    pub resting_until: Option<Millis>,
    /// The last request.
    pub last_attempt_at: Option<Millis>,
    /// The last 2xx.
    pub last_success_at: Option<Millis>,
    /// When it was made.
    pub created_at: Millis,
    /// When it was last edited.
    pub updated_at: Millis,
}

const COLUMNS: &str = "id, url, description, types, is_enabled, disabled_reason, previous_secret_until, \
    position, failures, failing_since, is_alerted, resting_until, last_attempt_at, last_success_at, \
    created_at, updated_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    let types: String = row.get(3)?;
    Ok(Endpoint {
        id: row.get(0)?,
        url: row.get(1)?,
        description: row.get(2)?,
        types: serde_json::from_str(&types).unwrap_or_default(),
        is_enabled: row.get(4)?,
        disabled_reason: row.get(5)?,
        previous_secret_until: row.get(6)?,
        position: row.get(7)?,
        health: Health { failures: row.get(8)?, failing_since: row.get(9)?, is_alerted: row.get(10)? },
        resting_until: row.get(11)?,
        last_attempt_at: row.get(12)?,
        last_success_at: row.get(13)?,
        created_at: row.get(14)?,
        updated_at: row.get(15)?,
    })
}

/// The endpoint with this id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<Endpoint>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM webhook_endpoints WHERE id = ?1"))?
        .query_row([id], from_row)
        .optional()?)
}

/// A page of endpoints, newest first, below id `before`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection, before: i64, limit: usize) -> Result<Vec<Endpoint>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM webhook_endpoints WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
    let rows =
        conn.prepare_cached(&sql)?.query_map((before, limit as i64), from_row)?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Every endpoint that is sent to.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn enabled(conn: &Connection) -> Result<Vec<Endpoint>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM webhook_endpoints WHERE is_enabled ORDER BY id");
    let rows = conn.prepare_cached(&sql)?.query_map([], from_row)?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// How many there are.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn.prepare_cached("SELECT count(*) FROM webhook_endpoints")?.query_row([], |row| row.get(0))?)
}

/// What an operator says about an endpoint.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Where to.
    pub url: String,
    /// For people.
    pub description: String,
    /// Types or nouns with a star; empty: every event.
    pub types: Vec<String>,
    /// Whether anything is sent.
    pub is_enabled: bool,
}

/// `whsec_` and 256 random bits in base64, as the specification writes secrets.
fn new_secret() -> SecretString {
    let bits: [u8; SECRET_BYTES] = rand::random();
    format!("whsec_{}", STANDARD.encode(bits)).into()
}

fn note(tx: &Tx<'_>, id: i64, what: &str, actor: &str) -> Result<i64, StoreError> {
    // The address may hold a token of the receiver's: it stays out of what everybody reads.
    let data = json!({"webhook_endpoint_id": id, "change": what, "actor": actor});
    events::append(tx, EventType::AdminChanged, NewEvent { data: Some(data), ..NewEvent::default() })
}

/// Adds an endpoint, which gets the events from now on. Returns its id and its secret, which is told nowhere
/// else.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, wish: &Wish, actor: &str) -> Result<(i64, SecretString), StoreError> {
    let secret = new_secret();
    let sealed = seal::seal(tx.key, PURPOSE, secret.expose_secret())?;
    let id = tx
        .conn
        .prepare_cached(
            "INSERT INTO webhook_endpoints
               (url, description, types, is_enabled, disabled_reason, secret, position, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?7)",
        )?
        .insert((
            &wish.url,
            &wish.description,
            json!(wish.types).to_string(),
            wish.is_enabled,
            (!wish.is_enabled).then(|| format!("Disabled by {actor}.")),
            sealed,
            tx.now,
        ))?;
    let position = note(tx, id, "added", actor)?;
    move_on(tx, id, position)?;
    Ok((id, secret))
}

/// Changes an endpoint. One that is enabled again goes on where it stood, and as if nothing had failed.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn update(tx: &Tx<'_>, endpoint: &Endpoint, wish: &Wish, actor: &str) -> Result<(), StoreError> {
    let reason = match (endpoint.is_enabled, wish.is_enabled) {
        (true, false) => Some(format!("Disabled by {actor}.")),
        (false, false) => endpoint.disabled_reason.clone(),
        (_, true) => None,
    };
    tx.conn
        .prepare_cached(
            "UPDATE webhook_endpoints
             SET url = ?2, description = ?3, types = ?4, is_enabled = ?5, disabled_reason = ?6, updated_at = ?7
             WHERE id = ?1",
        )?
        .execute((
            endpoint.id,
            &wish.url,
            &wish.description,
            json!(wish.types).to_string(),
            wish.is_enabled,
            reason,
            tx.now,
        ))?;
    let what = match (endpoint.is_enabled, wish.is_enabled) {
        (true, false) => "disabled",
        (false, true) => "enabled",
        _ => "changed",
    };
    if what == "enabled" || wish.url != endpoint.url {
        set_health(tx, endpoint.id, &Health::default())?;
        rest(tx, endpoint.id, None)?;
        super::webhook_deliveries::hasten(tx, endpoint.id, 0)?;
    }
    note(tx, endpoint.id, what, actor)?;
    Ok(())
}

/// Notes that somebody asked for an event again.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note_resent(tx: &Tx<'_>, id: i64, event_id: i64, actor: &str) -> Result<(), StoreError> {
    let data =
        json!({"webhook_endpoint_id": id, "change": "event_resent", "event_id": event_id, "actor": actor});
    events::append(tx, EventType::AdminChanged, NewEvent { data: Some(data), ..NewEvent::default() })?;
    Ok(())
}

/// Removes an endpoint and what is left of its log; most of a long log goes before, by
/// [`super::webhook_deliveries::forget_some`].
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn delete(tx: &Tx<'_>, id: i64, actor: &str) -> Result<(), StoreError> {
    tx.conn.execute("DELETE FROM webhook_endpoints WHERE id = ?1", [id])?;
    note(tx, id, "removed", actor)?;
    Ok(())
}

/// Gives an endpoint a new secret, which is told nowhere else. For [`OVERLAP`] the one before signs too.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn rotate(tx: &Tx<'_>, id: i64, actor: &str) -> Result<SecretString, StoreError> {
    let secret = new_secret();
    let sealed = seal::seal(tx.key, PURPOSE, secret.expose_secret())?;
    tx.conn
        .prepare_cached(
            "UPDATE webhook_endpoints
             SET previous_secret = secret, previous_secret_until = ?3, secret = ?2, updated_at = ?4
             WHERE id = ?1",
        )?
        .execute((id, sealed, tx.now + OVERLAP, tx.now))?;
    note(tx, id, "secret_rotated", actor)?;
    Ok(secret)
}

/// The secrets that sign at `now`, the newest first. Empty when there is no such endpoint.
///
/// # Errors
/// [`StoreError`] from SQLite, or when a secret can't be opened.
pub fn secrets(
    conn: &Connection,
    key: &StoreKey,
    id: i64,
    now: Millis,
) -> Result<Vec<SecretString>, StoreError> {
    let sealed: Option<(Vec<u8>, Option<Vec<u8>>)> = conn
        .prepare_cached(
            "SELECT secret, CASE WHEN previous_secret_until > ?2 THEN previous_secret END
             FROM webhook_endpoints WHERE id = ?1",
        )?
        .query_row((id, now), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (current, previous) = sealed.unzip();
    current.into_iter().chain(previous.flatten()).map(|sealed| seal::open(key, PURPOSE, &sealed)).collect()
}

/// Notes up to which event everything was tried. Never goes back.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn move_on(tx: &Tx<'_>, id: i64, position: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE webhook_endpoints SET position = ?2 WHERE id = ?1 AND position < ?2")?
        .execute((id, position))?;
    Ok(())
}

/// Notes how the endpoint is doing.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_health(tx: &Tx<'_>, id: i64, health: &Health) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE webhook_endpoints SET failures = ?2, failing_since = ?3, is_alerted = ?4 WHERE id = ?1",
        )?
        .execute((id, health.failures, health.failing_since, health.is_alerted))?;
    Ok(())
}

/// Notes a request, good or not.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note_attempt(tx: &Tx<'_>, id: i64, is_success: bool) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE webhook_endpoints
             SET last_attempt_at = ?2, last_success_at = CASE WHEN ?3 THEN ?2 ELSE last_success_at END
             WHERE id = ?1",
        )?
        .execute((id, tx.now, is_success))?;
    Ok(())
}

/// Sends nothing until then, because the endpoint asked for it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn rest(tx: &Tx<'_>, id: i64, until: Option<Millis>) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE webhook_endpoints SET resting_until = ?2 WHERE id = ?1")?
        .execute((id, until))?;
    Ok(())
}

/// Stops sending, for a reason that an operator reads.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn disable(tx: &Tx<'_>, id: i64, reason: &str) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE webhook_endpoints SET is_enabled = 0, disabled_reason = ?2, updated_at = ?3 WHERE id = ?1",
        )?
        .execute((id, reason, tx.now))?;
    Ok(())
}

/// Writes an alert about an endpoint.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn alert(tx: &Tx<'_>, id: i64, kind: EventType, reason: &str) -> Result<(), StoreError> {
    let data: Value = json!({"endpoint_id": id, "reason": reason});
    events::append(tx, kind, NewEvent { data: Some(data), ..NewEvent::default() })?;
    Ok(())
}
