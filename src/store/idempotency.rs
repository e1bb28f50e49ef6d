//! `idempotency_keys`: the answer that a caller got to a POST, kept for a day, so that the same request
//! again gets the same answer and does nothing.

use rusqlite::{Connection, OptionalExtension};

use super::{StoreError, Tx};
use crate::clock::Millis;

/// How long an answer is kept, in milliseconds.
pub const KEPT_FOR: Millis = 86_400_000;
/// Answers forgotten at each new one: more than come in, so the table never grows beyond a day.
const FORGOTTEN_AT_ONCE: usize = 20;
/// Bytes of answers forgotten at once, but for the last: a long one is given back page by page.
const FORGOTTEN_BYTES: i64 = 512 * 1024;

/// Which request: the caller's key for it is unique to the caller and the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// Who calls: `key:3`, `operator:2`.
    pub caller: String,
    /// The path as it was called.
    pub path: String,
    /// `Idempotency-Key`.
    pub key: String,
    /// SHA-256 over query and body.
    pub body_hash: [u8; 32],
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it answered: SHA-256 over query and body of the first request.
    pub body_hash: [u8; 32],
    /// HTTP status.
    pub status: u16,
    /// Whatever the web layer needs to say it again.
    pub body: String,
}

/// The answer given to this key within the last day.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, request: &RequestKey, now: Millis) -> Result<Option<Answer>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT body_hash, status, body FROM idempotency_keys
             WHERE caller = ?1 AND path = ?2 AND key = ?3 AND created_at > ?4",
        )?
        .query_row((&request.caller, &request.path, &request.key, now - KEPT_FOR), |row| {
            Ok(Answer { body_hash: row.get(0)?, status: row.get(1)?, body: row.get(2)? })
        })
        .optional()?)
}

/// Keeps an answer, in place of one that is older than a day, and forgets some of those.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, request: &RequestKey, status: u16, body: &str) -> Result<(), StoreError> {
    forget(tx, FORGOTTEN_AT_ONCE)?;
    tx.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO idempotency_keys (caller, path, key, body_hash, status, body, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((&request.caller, &request.path, &request.key, request.body_hash, status, body, tx.now))?;
    Ok(())
}

/// Forgets at most `limit` answers that are older than a day, fewer where they are long. Returns how many.
pub(super) fn forget(tx: &Tx<'_>, limit: usize) -> Result<usize, StoreError> {
    type Old = (String, String, String, i64);
    let old: Vec<Old> = tx
        .conn
        .prepare_cached(
            "SELECT caller, path, key, octet_length(body) FROM idempotency_keys
             WHERE created_at <= ?1 ORDER BY created_at LIMIT ?2",
        )?
        .query_map((tx.now - KEPT_FOR, limit as i64), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Result<_, _>>()?;
    let (mut forgotten, mut bytes) = (0, 0);
    for (caller, path, key, length) in &old {
        if bytes >= FORGOTTEN_BYTES {
            break;
        }
        bytes += length;
        forgotten += tx
            .conn
            .prepare_cached("DELETE FROM idempotency_keys WHERE caller = ?1 AND path = ?2 AND key = ?3")?
            .execute((caller, path, key))?;
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::{Store, StorePaths};

    #[tokio::test]
    async fn long_answers_are_forgotten_a_few_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
        let key = move |n: usize| RequestKey {
            caller: "key:1".to_owned(),
            path: "/x".into(),
            key: n.to_string(),
            body_hash: [1; 32],
        };
        for n in 0..10 {
            let text = "x".repeat(256 * 1024);
            store.write(move |tx| insert(tx, &key(n), 200, &text)).await.unwrap();
        }
        clock.advance(KEPT_FOR + 1);
        for expected in [2, 2, 2, 2, 2, 0] {
            let forgotten = store.write(|tx| forget(tx, 64)).await.unwrap();
            assert_eq!(forgotten, expected);
        }
    }
}
