//! `operators`: the people who may log in.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::json;

use super::events::{self, NewEvent};
use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::event::EventType;

/// What an operator may do; each may do what those before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look, with numbers masked.
    Viewer,
    /// Work: people, imports, segments, templates, campaigns, inbox.
    Operator,
    /// Set up, and say who may come in.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// The word of the table and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// The role with this word.
    pub fn parse(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// Somebody who may log in.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Key of the table; rows name it as `operator:3`.
    pub id: i64,
    /// What they log in with.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// argon2id, PHC string.
    pub password_hash: String,
    /// When they were added.
    pub created_at: Millis,
    /// The last time that they came in.
    pub last_login_at: Option<Millis>,
    /// Since then they may not.
    pub disabled_at: Option<Millis>,
}

pub(super) const COLUMNS: &str = "operators.id, operators.email, operators.role, operators.password_hash,
    operators.created_at, operators.last_login_at, operators.disabled_at";

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Operator> {
    let role: String = row.get(2)?;
    Ok(Operator {
        id: row.get(0)?,
        email: row.get(1)?,
        role: Role::parse(&role).unwrap_or(Role::Viewer),
        password_hash: row.get(3)?,
        created_at: row.get(4)?,
        last_login_at: row.get(5)?,
        disabled_at: row.get(6)?,
    })
}

/// The operator with this address, in any case of letters.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_by_email(conn: &Connection, email: &str) -> Result<Option<Operator>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM operators WHERE email = ?1"))?
        .query_row([email], from_row)
        .optional()?)
}

/// The operator with this id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<Operator>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM operators WHERE id = ?1"))?
        .query_row([id], from_row)
        .optional()?)
}

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

/// Those who may do what `least` may and are not disabled, by address.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn able(conn: &Connection, least: Role) -> Result<Vec<Operator>, StoreError> {
    let found: Vec<Operator> = conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM operators WHERE disabled_at IS NULL ORDER BY email"))?
        .query_map([], from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found.into_iter().filter(|operator| operator.role >= least).collect())
}
