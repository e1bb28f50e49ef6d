//! `settings`: what an operator changed of the configuration while the server ran, by the path of the key.
//! What a key may be is known to `config` alone.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::{Connection, OpenFlags};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::events::{self, NewEvent};
use super::{StoreError, StoreKey, Tx, seal};
use crate::domain::event::EventType;

/// The one member of what stands for a secret: what was sealed, in base64.
const SEALED: &str = "sealed";

/// Every setting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// That of the last change.
    pub version: i64,
    /// By key. Secrets are sealed until [`Rows::opened`].
    pub values: BTreeMap<String, Value>,
}

impl Rows {
    /// With its secrets in plain words. One that was sealed under another key is left out, with a line in the log.
    #[must_use]
    pub fn opened(mut self, key: &StoreKey) -> Rows {
        self.values.retain(|name, value| {
            let Some(sealed) = sealed(value) else {
                return true;
            };
            let bytes = STANDARD.decode(sealed).unwrap_or_default();
            match seal::open(key, &purpose(name), &bytes) {
                Ok(secret) => {
                    *value = Value::from(secret.expose_secret());
                    true
                }
                Err(error) => {
                    tracing::warn!(key = name, %error, "a secret can't be opened and is left out: set it again");
                    false
                }
            }
        });
        self
    }

    fn has_sealed(&self) -> bool {
        self.values.values().any(|value| sealed(value).is_some())
    }
}

fn sealed(value: &Value) -> Option<&str> {
    value.as_object().filter(|members| members.len() == 1)?.get(SEALED)?.as_str()
}

fn purpose(name: &str) -> String {
    format!("setting:{name}")
}

/// One key of a change.
#[derive(Clone, Debug)]
pub struct Change {
    /// Path in the configuration.
    pub key: String,
    /// The setting; null: taken away.
    pub value: Value,
    /// Whether it is kept sealed.
    pub is_secret: bool,
    /// What was in force before and is after it, for the trail.
    pub from_to: (Value, Value),
}

/// The version of the last change; 0 before the first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn version(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT coalesce(max(version), 0) FROM settings")?
        .query_row([], |row| row.get(0))?)
}

/// Every setting in force.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn all(conn: &Connection) -> Result<Rows, StoreError> {
    let mut rows = Rows { version: version(conn)?, values: BTreeMap::new() };
    let mut statement = conn.prepare_cached("SELECT key, value FROM settings WHERE value <> 'null'")?;
    let found = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for row in found {
        let (key, text) = row?;
        let value = serde_json::from_str(&text)
            .map_err(|error| StoreError::Internal(format!("setting {key}: {error}")))?;
        rows.values.insert(key, value);
    }
    Ok(rows)
}

/// The settings of the file at `path` without opening a store, secrets opened with the key of `key_file`; none
/// where there is no file yet.
///
/// # Errors
/// [`StoreError`] when the file is none of ours or can't be read.
pub fn peek(path: &Path, key_file: &Path) -> Result<Rows, StoreError> {
    if !path.exists() {
        return Ok(Rows::default());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let rows = all(&Connection::open_with_flags(path, flags)?)?;
    if !rows.has_sealed() {
        return Ok(rows);
    }
    let key =
        StoreKey::load(key_file, path, false).map_err(|error| StoreError::Internal(error.to_string()))?;
    Ok(rows.opened(&key))
}

/// Writes changes made of version `base`, each with its event. `false`, with nothing written: somebody else
/// changed something meanwhile.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn write(tx: &Tx<'_>, base: i64, changes: &[Change], actor: &str) -> Result<bool, StoreError> {
    if version(tx.conn)? != base {
        return Ok(false);
    }
    for change in changes {
        let value = match change.value.as_str().filter(|_| change.is_secret) {
            Some(secret) => {
                let bytes = seal::seal(tx.key, &purpose(&change.key), secret)?;
                json!({ SEALED: STANDARD.encode(bytes) })
            }
            None => change.value.clone(),
        };
        tx.conn
            .prepare_cached(
                "INSERT INTO settings (key, value, version, updated_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET value = excluded.value, version = excluded.version,
                                           updated_at = excluded.updated_at",
            )?
            .execute((&change.key, value.to_string(), base + 1, tx.now))?;
        let (old, new) = &change.from_to;
        let data = json!({"setting": change.key, "old": old, "new": new, "actor": actor});
        events::append(tx, EventType::AdminChanged, NewEvent { data: Some(data), ..NewEvent::default() })?;
    }
    tx.change_plan();
    Ok(true)
}
