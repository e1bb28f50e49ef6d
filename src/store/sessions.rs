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
/// How long a password that was given counts for changes of access, in milliseconds.
pub const PROOF_LIMIT: Millis = 15 * 60_000;
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

/// A session as its owner sees it in a list.
#[derive(Clone, Debug)]
pub struct Place {
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// When it began.
    pub created_at: Millis,
    /// When it was used last, to the minute.
    pub last_seen_at: Millis,
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn new_token() -> SecretString {
    let bits: [u8; 32] = rand::random();
    URL_SAFE_NO_PAD.encode(bits).into()
}

/// Begins a session, and forgets those that are over. The token is told nowhere else.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn begin(tx: &Tx<'_>, operator_id: i64) -> Result<SecretString, StoreError> {
    let token = new_token();
    tx.conn
        .prepare_cached("DELETE FROM sessions WHERE last_seen_at <= ?1 OR created_at <= ?2")?
        .execute((tx.now - IDLE_LIMIT, tx.now - AGE_LIMIT))?;
    tx.conn
        .prepare_cached(
            "INSERT INTO sessions (token_hash, operator_id, created_at, last_seen_at, proved_at)
             VALUES (?1, ?2, ?3, ?3, ?3)",
        )?
        .execute((hash(token.expose_secret()), operator_id, tx.now))?;
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
                last_seen_at: row.get(operators::WIDTH)?,
                proved_at: row.get(operators::WIDTH + 1)?,
            })
        })
        .optional()?)
}

/// Where an operator is logged in, the place used last first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection, operator_id: i64, now: Millis) -> Result<Vec<Place>, StoreError> {
    let rows = conn
        .prepare_cached(
            "SELECT token_hash, created_at, last_seen_at FROM sessions
             WHERE operator_id = ?1 AND last_seen_at > ?2 AND created_at > ?3
             ORDER BY last_seen_at DESC, created_at DESC LIMIT 100",
        )?
        .query_map((operator_id, now - IDLE_LIMIT, now - AGE_LIMIT), |row| {
            Ok(Place { token_hash: row.get(0)?, created_at: row.get(1)?, last_seen_at: row.get(2)? })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
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

/// Notes that the password was given again.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn prove(tx: &Tx<'_>, token_hash: &[u8; 32]) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE sessions SET proved_at = ?2 WHERE token_hash = ?1")?
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

/// Ends every session of an operator.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn end_all(tx: &Tx<'_>, operator_id: i64) -> Result<(), StoreError> {
    tx.conn.prepare_cached("DELETE FROM sessions WHERE operator_id = ?1")?.execute([operator_id])?;
    Ok(())
}

/// Ends every session of an operator but this one. Returns how many.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn end_others(tx: &Tx<'_>, operator_id: i64, token_hash: &[u8; 32]) -> Result<usize, StoreError> {
    Ok(tx
        .conn
        .prepare_cached("DELETE FROM sessions WHERE operator_id = ?1 AND token_hash <> ?2")?
        .execute((operator_id, token_hash))?)
}

#[cfg(test)]
mod tests {
    use super::super::operators::{NewOperator, Role};
    use super::super::{Store, StorePaths};
    use super::*;
    use crate::clock::Clock;

    const HOUR: Millis = 3_600_000;

    async fn write<T: Send + 'static>(
        store: &Store,
        change: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        store.write(change).await.unwrap()
    }

    async fn log_in(store: &Store, id: i64) -> String {
        write(store, move |tx| begin(tx, id)).await.expose_secret().to_owned()
    }

    fn is_in(store: &Store, token: &str) -> bool {
        let now = store.clock().now();
        let found = store.read_here(|conn| find(conn, token, now)).unwrap().is_some();
        let open = store.read_here(|conn| roles(conn, &[hash(token)], now)).unwrap();
        assert_eq!(found, !open.is_empty(), "what stays open ends with the session");
        found
    }

    async fn house(dir: &tempfile::TempDir) -> (Store, Clock, i64) {
        let clock = Clock::manual("2026-11-23T17:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
        let mut ids = Vec::new();
        for email in ["root@example.com", "ana@example.com"] {
            let hash = Some("h".to_owned());
            let new = NewOperator { email: email.to_owned(), password_hash: hash, role: Role::Admin };
            ids.push(write(&store, move |tx| operators::add(tx, &new, "test")).await.unwrap());
        }
        (store, clock, ids[1])
    }

    #[tokio::test]
    async fn a_session_ends_twelve_hours_after_its_last_use_and_thirty_days_after_its_begin() {
        let dir = tempfile::tempdir().unwrap();
        let (store, clock, id) = house(&dir).await;
        let idle = log_in(&store, id).await;
        clock.advance(IDLE_LIMIT - 1);
        assert!(is_in(&store, &idle));
        clock.advance(1);
        assert!(!is_in(&store, &idle));
        let busy = log_in(&store, id).await;
        let begun = clock.now();
        while clock.now() - begun < AGE_LIMIT - HOUR {
            clock.advance(HOUR);
            let token_hash = hash(&busy);
            write(&store, move |tx| touch(tx, &token_hash)).await;
        }
        assert!(is_in(&store, &busy));
        clock.advance(HOUR);
        assert!(!is_in(&store, &busy));
        assert!(!is_in(&store, "nonsense") && !is_in(&store, ""));
    }

    #[tokio::test]
    async fn who_is_disabled_or_has_another_role_or_password_is_out_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _, id) = house(&dir).await;
        for number in 0..4 {
            let (token, other) = (log_in(&store, id).await, log_in(&store, 1).await);
            let _ = write(&store, move |tx| match number {
                0 => operators::set_enabled(tx, id, false, "test"),
                1 => operators::set_enabled(tx, id, true, "test").and(operators::set_role(
                    tx,
                    id,
                    Role::Viewer,
                    "test",
                )),
                2 => operators::set_password(tx, id, "other", "test"),
                _ => operators::sign_out(tx, id, "test"),
            })
            .await;
            assert!(!is_in(&store, &token), "{number}");
            assert!(is_in(&store, &other), "{number}");
        }
    }

    #[tokio::test]
    async fn others_end_and_this_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (store, clock, id) = house(&dir).await;
        let (first, second) = (log_in(&store, id).await, log_in(&store, id).await);
        assert_eq!(store.read_here(|conn| list(conn, id, clock.now())).unwrap().len(), 2);
        let kept = hash(&second);
        assert_eq!(write(&store, move |tx| end_others(tx, id, &kept)).await, 1);
        assert_eq!((is_in(&store, &first), is_in(&store, &second)), (false, true));
    }
}
