//! `operators`: the people who may log in. What they log in with beside a password is in `second_factors`.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Value, json};

use super::events::{self, NewEvent};
use super::{StoreError, Tx, one_time_links, sessions};
use crate::clock::Millis;
use crate::domain::event::EventType;
pub use crate::domain::operator::{Role, Theme};

/// Operators of one file: the list is one page.
pub const MOST_OPERATORS: i64 = 100;

/// An operator, without what they log in with.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Key; rows name it as `operator:3`.
    pub id: i64,
    /// What they log in with, and how they are called.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// Whether there is a password yet.
    pub has_password: bool,
    /// When it was last set.
    pub password_changed_at: Option<Millis>,
    /// Since when a second factor is asked for.
    pub totp_enabled_at: Option<Millis>,
    /// A secret waits for its first code.
    pub awaits_code: bool,
    /// IANA name of the zone in which times are shown.
    pub zone: Option<String>,
    /// Light or dark.
    pub theme: Theme,
    /// Whether single keys do something.
    pub has_shortcuts: bool,
    /// When the account was made.
    pub created_at: Millis,
    /// The last time that somebody logged in.
    pub last_login_at: Option<Millis>,
    /// Since when they are not let in.
    pub disabled_at: Option<Millis>,
}

impl Operator {
    /// Whether they are let in.
    pub fn is_enabled(&self) -> bool {
        self.disabled_at.is_none()
    }

    /// As ledger and events name them: `operator:3`.
    pub fn actor(&self) -> String {
        actor(self.id)
    }
}

/// As ledger and events name the operator with this id: `operator:3`.
pub fn actor(id: i64) -> String {
    format!("operator:{id}")
}

/// Columns of an operator, for [`from_row`].
pub(super) const COLUMNS: &str = "operators.id, operators.email, operators.role,
    operators.password_hash IS NOT NULL, operators.password_changed_at, operators.totp_enabled_at,
    operators.totp_secret IS NOT NULL AND operators.totp_enabled_at IS NULL, operators.zone, operators.theme,
    operators.has_shortcuts, operators.created_at, operators.last_login_at, operators.disabled_at";
/// How many they are.
pub(super) const WIDTH: usize = 13;

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Operator> {
    let (role, theme): (String, String) = (row.get(2)?, row.get(8)?);
    Ok(Operator {
        id: row.get(0)?,
        email: row.get(1)?,
        // A word that is none is the least.
        role: Role::parse(&role).unwrap_or(Role::Viewer),
        has_password: row.get(3)?,
        password_changed_at: row.get(4)?,
        totp_enabled_at: row.get(5)?,
        awaits_code: row.get(6)?,
        zone: row.get(7)?,
        theme: Theme::parse(&theme).unwrap_or_default(),
        has_shortcuts: row.get(9)?,
        created_at: row.get(10)?,
        last_login_at: row.get(11)?,
        disabled_at: row.get(12)?,
    })
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Change {
    /// It holds, or did before.
    Made,
    /// There is no such operator.
    Unknown,
    /// Nobody would be left who may change operators.
    LastAdmin,
}

/// An operator to be added.
#[derive(Clone, Debug)]
pub struct NewOperator {
    /// As [`crate::domain::operator::read_email`] gives it.
    pub email: String,
    /// An argon2id PHC string; none: a link sets the first password.
    pub password_hash: Option<String>,
    /// What they may do.
    pub role: Role,
}

/// Adds an operator with an argon2id PHC string, made by the program itself. False: the address is taken.
///
/// # Errors
/// [`StoreError`] from SQLite, or for a word that is no role.
pub fn insert(tx: &Tx<'_>, email: &str, password_hash: &str, role: &str) -> Result<bool, StoreError> {
    let role = Role::parse(role).ok_or_else(|| StoreError::Internal(format!("{role} is no role")))?;
    let new = NewOperator { email: email.to_owned(), password_hash: Some(password_hash.to_owned()), role };
    Ok(add(tx, &new, "program")?.is_some())
}

/// Adds an operator. `None`: the address is taken. `actor` is who asked.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn add(tx: &Tx<'_>, new: &NewOperator, actor: &str) -> Result<Option<i64>, StoreError> {
    let id: Option<i64> = tx
        .conn
        .prepare_cached(
            "INSERT INTO operators (email, password_hash, password_changed_at, role, created_at)
             VALUES (?1, ?2, iif(?2 IS NULL, NULL, ?4), ?3, ?4) ON CONFLICT (email) DO NOTHING RETURNING id",
        )?
        .query_row((&new.email, &new.password_hash, new.role.as_str(), tx.now), |row| row.get(0))
        .optional()?;
    if let Some(id) = id {
        note(tx, id, json!({"change": "added", "new": new.role.as_str()}), actor)?;
    }
    Ok(id)
}

/// Writes down what was done to an operator.
pub(super) fn note(tx: &Tx<'_>, id: i64, mut data: Value, actor: &str) -> Result<(), StoreError> {
    let email: Option<String> = tx
        .conn
        .prepare_cached("SELECT email FROM operators WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    if let Value::Object(members) = &mut data {
        members.insert("operator_id".to_owned(), json!(id));
        members.insert("operator".to_owned(), json!(email));
        members.insert("actor".to_owned(), json!(actor));
    }
    events::append(tx, EventType::AdminChanged, NewEvent { data: Some(data), ..NewEvent::default() })?;
    Ok(())
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

/// The operator with this address, in any case.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_by_email(conn: &Connection, email: &str) -> Result<Option<Operator>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM operators WHERE email = ?1"))?
        .query_row([email], from_row)
        .optional()?)
}

/// Every operator by address, those who are let in first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection) -> Result<Vec<Operator>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM operators ORDER BY disabled_at IS NOT NULL, email LIMIT {MOST_OPERATORS}"
    );
    let rows = conn.prepare_cached(&sql)?.query_map([], from_row)?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// How many there are.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn.prepare_cached("SELECT count(*) FROM operators")?.query_row([], |row| row.get(0))?)
}

/// Whether there is any operator: without one, a link makes the first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_any(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn.prepare_cached("SELECT 1 FROM operators LIMIT 1")?.exists([])?)
}

/// The hash of the password of this operator, to compare with; `None` when there is none.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn password_hash(conn: &Connection, id: i64) -> Result<Option<String>, StoreError> {
    let found: Option<Option<String>> = conn
        .prepare_cached("SELECT password_hash FROM operators WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(found.flatten())
}

/// Whether somebody else could change operators if `id` could not.
fn is_last_admin(tx: &Tx<'_>, operator: &Operator) -> Result<bool, StoreError> {
    if operator.role != Role::Admin || !operator.is_enabled() {
        return Ok(false);
    }
    let others = tx
        .conn
        .prepare_cached(
            "SELECT 1 FROM operators
             WHERE id <> ?1 AND role = 'admin' AND disabled_at IS NULL AND password_hash IS NOT NULL LIMIT 1",
        )?
        .exists([operator.id])?;
    Ok(!others)
}

/// Changes what an operator may do, and ends their sessions: they log in to what they may do now.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_role(tx: &Tx<'_>, id: i64, role: Role, actor: &str) -> Result<Change, StoreError> {
    let Some(operator) = find(tx.conn, id)? else {
        return Ok(Change::Unknown);
    };
    if operator.role == role {
        return Ok(Change::Made);
    }
    if is_last_admin(tx, &operator)? {
        return Ok(Change::LastAdmin);
    }
    tx.conn.execute("UPDATE operators SET role = ?2 WHERE id = ?1", (id, role.as_str()))?;
    sessions::end_all(tx, id)?;
    let data = json!({"change": "role", "old": operator.role.as_str(), "new": role.as_str()});
    note(tx, id, data, actor)?;
    Ok(Change::Made)
}

/// Lets an operator in again, or no longer: their sessions and links end at once.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_enabled(tx: &Tx<'_>, id: i64, is_enabled: bool, actor: &str) -> Result<Change, StoreError> {
    let Some(operator) = find(tx.conn, id)? else {
        return Ok(Change::Unknown);
    };
    if operator.is_enabled() == is_enabled {
        return Ok(Change::Made);
    }
    if !is_enabled && is_last_admin(tx, &operator)? {
        return Ok(Change::LastAdmin);
    }
    let since = (!is_enabled).then_some(tx.now);
    tx.conn.execute("UPDATE operators SET disabled_at = ?2 WHERE id = ?1", (id, since))?;
    if !is_enabled {
        one_time_links::forget(tx, Some(id))?;
        sessions::end_all(tx, id)?;
    }
    note(tx, id, json!({"change": if is_enabled { "enabled" } else { "disabled" }}), actor)?;
    Ok(Change::Made)
}

/// Sets a password: an argon2id PHC string. Every session and link of the operator ends; who changes their own gets a
/// new session from the caller.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_password(tx: &Tx<'_>, id: i64, password_hash: &str, actor: &str) -> Result<Change, StoreError> {
    let changed = tx.conn.execute(
        "UPDATE operators SET password_hash = ?2, password_changed_at = ?3 WHERE id = ?1",
        (id, password_hash, tx.now),
    )?;
    if changed == 0 {
        return Ok(Change::Unknown);
    }
    sessions::end_all(tx, id)?;
    // The link that was just used stays, to say so when it is opened again.
    tx.conn.execute("DELETE FROM one_time_links WHERE operator_id = ?1 AND used_at IS NULL", [id])?;
    note(tx, id, json!({"change": "password"}), actor)?;
    Ok(Change::Made)
}

/// Notes that a link was made with which an operator sets their password.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note_link(tx: &Tx<'_>, id: i64, actor: &str) -> Result<(), StoreError> {
    note(tx, id, json!({"change": "password_link"}), actor)
}

/// How the pages look to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preferences {
    /// IANA name.
    pub zone: Option<String>,
    /// Light or dark.
    pub theme: Theme,
    /// Whether single keys do something.
    pub has_shortcuts: bool,
}

/// Sets how the pages look. That is nobody's business but their own: no event.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_preferences(tx: &Tx<'_>, id: i64, preferences: &Preferences) -> Result<Change, StoreError> {
    let changed = tx.conn.execute(
        "UPDATE operators SET zone = ?2, theme = ?3, has_shortcuts = ?4 WHERE id = ?1",
        (id, &preferences.zone, preferences.theme.as_str(), preferences.has_shortcuts),
    )?;
    Ok(if changed > 0 { Change::Made } else { Change::Unknown })
}

/// Ends every session of an operator, wherever they are logged in.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn sign_out(tx: &Tx<'_>, id: i64, actor: &str) -> Result<Change, StoreError> {
    if find(tx.conn, id)?.is_none() {
        return Ok(Change::Unknown);
    }
    sessions::end_all(tx, id)?;
    note(tx, id, json!({"change": "signed_out"}), actor)?;
    Ok(Change::Made)
}

/// Notes that somebody logged in: from which address, and by what beside the password (`totp`, `recovery_code`).
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note_login(tx: &Tx<'_>, id: i64, address: &str, factor: Option<&str>) -> Result<(), StoreError> {
    tx.conn.prepare_cached("UPDATE operators SET last_login_at = ?2 WHERE id = ?1")?.execute((id, tx.now))?;
    let data = json!({"operator_id": id, "address": address, "second_factor": factor, "actor": actor(id)});
    events::append(tx, EventType::AdminLogin, NewEvent { data: Some(data), ..NewEvent::default() })?;
    Ok(())
}

/// Notes that somebody did not get in, and why. What they typed is not kept: it may be a password in the wrong field.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note_failed_login(
    tx: &Tx<'_>,
    id: Option<i64>,
    reason: &str,
    address: &str,
) -> Result<(), StoreError> {
    let data = json!({"operator_id": id, "reason": reason, "address": address});
    events::append(tx, EventType::AdminLoginFailed, NewEvent { data: Some(data), ..NewEvent::default() })?;
    Ok(())
}

/// Notes that an operator logged out.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note_logout(tx: &Tx<'_>, id: i64) -> Result<(), StoreError> {
    let data = json!({"operator_id": id, "actor": actor(id)});
    events::append(tx, EventType::AdminLogout, NewEvent { data: Some(data), ..NewEvent::default() })?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::super::{Store, StorePaths};
    use super::*;
    use crate::clock::Clock;

    fn store(dir: &tempfile::TempDir) -> Store {
        let clock = Clock::manual("2026-11-23T17:00:00Z".parse().unwrap());
        Store::open(StorePaths::inside(dir.path()), clock).unwrap()
    }

    async fn new(store: &Store, email: &str, role: Role, hash: Option<&str>) -> Option<i64> {
        let new = NewOperator { email: email.to_owned(), password_hash: hash.map(str::to_owned), role };
        store.write::<_, _, StoreError>(move |tx| add(tx, &new, "test")).await.unwrap()
    }

    async fn write<T: Send + 'static>(
        store: &Store,
        change: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        store.write(change).await.unwrap()
    }

    #[tokio::test]
    async fn an_address_is_one_account_in_whatever_case() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        assert!(!store.read_here(is_any).unwrap());
        let ana = new(&store, "Ana@Example.com", Role::Admin, Some("h")).await;
        assert_eq!(new(&store, "ana@example.COM", Role::Viewer, None).await, None);
        let found = store.read_here(|conn| find_by_email(conn, "ANA@example.com")).unwrap().unwrap();
        assert_eq!((Some(found.id), found.role, found.has_password), (ana, Role::Admin, true));
        assert!(store.read_here(|conn| find_by_email(conn, "ana")).unwrap().is_none());
        assert_eq!(store.read_here(count).unwrap(), 1);
    }

    #[tokio::test]
    async fn the_last_admin_who_can_log_in_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let ana = new(&store, "ana@example.com", Role::Admin, Some("h")).await.unwrap();
        new(&store, "invited@example.com", Role::Admin, None).await.unwrap();
        let bob = new(&store, "bob@example.com", Role::Admin, Some("h")).await.unwrap();
        assert_eq!(write(&store, move |tx| set_enabled(tx, bob, false, "test")).await, Change::Made);
        assert_eq!(write(&store, move |tx| set_enabled(tx, ana, false, "test")).await, Change::LastAdmin);
        assert_eq!(write(&store, move |tx| set_role(tx, ana, Role::Viewer, "test")).await, Change::LastAdmin);
        assert_eq!(write(&store, move |tx| set_role(tx, ana, Role::Admin, "test")).await, Change::Made);
        assert_eq!(write(&store, move |tx| set_enabled(tx, bob, true, "test")).await, Change::Made);
        assert_eq!(write(&store, move |tx| set_role(tx, ana, Role::Viewer, "test")).await, Change::Made);
        assert_eq!(write(&store, |tx| set_role(tx, 99, Role::Viewer, "test")).await, Change::Unknown);
    }

    #[tokio::test]
    async fn every_change_tells_who_what_and_from_what_to_what() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        new(&store, "ana@example.com", Role::Admin, Some("h")).await;
        let bob = new(&store, "bob@example.com", Role::Viewer, None).await.unwrap();
        let change = move |tx: &Tx<'_>| {
            let made = [
                set_role(tx, bob, Role::Operator, "operator:1")?,
                set_password(tx, bob, "secret-hash", "operator:1")?,
                set_enabled(tx, bob, false, "operator:1")?,
            ];
            assert_eq!(made, [Change::Made; 3]);
            note_failed_login(tx, Some(bob), "password", "192.0.2.1")
        };
        write(&store, change).await;
        let (events, _) = store.read_here(|conn| events::list_after(conn, 2, &[], 10)).unwrap();
        let told: Vec<String> = events.iter().map(|event| event.data.to_string()).collect();
        assert_eq!(
            told,
            [
                r#"{"change":"role","old":"viewer","new":"operator","operator_id":2,"operator":"bob@example.com","actor":"operator:1"}"#,
                r#"{"change":"password","operator_id":2,"operator":"bob@example.com","actor":"operator:1"}"#,
                r#"{"change":"disabled","operator_id":2,"operator":"bob@example.com","actor":"operator:1"}"#,
                r#"{"operator_id":2,"reason":"password","address":"192.0.2.1"}"#,
            ]
        );
    }
}
