//! `one_time_links`: links that set a password once, of the first admin or of an operator that is there. The token is
//! 256 random bits; the file keeps its SHA-256, which no guess can be tested against in any useful time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, OptionalExtension};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::{StoreError, Tx, operators};
use crate::clock::Millis;

/// How long a link holds, in milliseconds.
pub const LASTS: Millis = 86_400_000;

/// What a link is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It makes the first admin.
    FirstAdmin,
    /// It sets the password of this operator.
    Password(i64),
    /// It was used.
    Used,
    /// It is older than [`LASTS`], or there is an operator now.
    Over,
    /// There is no such link, or a newer one took its place.
    Unknown,
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Makes a link for `operator_id`, or for the first admin, and returns its token, which is told nowhere else. Earlier
/// links for the same end.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, operator_id: Option<i64>) -> Result<SecretString, StoreError> {
    let bits: [u8; 32] = rand::random();
    let token = URL_SAFE_NO_PAD.encode(bits);
    forget(tx, operator_id)?;
    tx.conn
        .prepare_cached(
            "INSERT INTO one_time_links (token_hash, operator_id, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((hash(&token), operator_id, tx.now, tx.now + LASTS))?;
    Ok(token.into())
}

/// Ends every link for `operator_id`, or for the first admin.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn forget(tx: &Tx<'_>, operator_id: Option<i64>) -> Result<(), StoreError> {
    tx.conn.execute("DELETE FROM one_time_links WHERE operator_id IS ?1", [operator_id])?;
    Ok(())
}

/// What this token is good for at `now`. Looking uses nothing up: previews of links do it too.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn look(conn: &Connection, token: &str, now: Millis) -> Result<Link, StoreError> {
    let found: Option<(Option<i64>, Millis, Option<Millis>)> = conn
        .prepare_cached("SELECT operator_id, expires_at, used_at FROM one_time_links WHERE token_hash = ?1")?
        .query_row([hash(token)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    Ok(match found {
        None => Link::Unknown,
        Some((_, _, Some(_))) => Link::Used,
        Some((_, expires_at, None)) if expires_at <= now => Link::Over,
        Some((None, ..)) if operators::is_any(conn)? => Link::Over,
        Some((None, ..)) => Link::FirstAdmin,
        Some((Some(id), ..)) => {
            match operators::find(conn, id)?.is_some_and(|operator| operator.is_enabled()) {
                true => Link::Password(id),
                false => Link::Over,
            }
        }
    })
}

/// The same, and uses it up if it is good for something.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn take(tx: &Tx<'_>, token: &str) -> Result<Link, StoreError> {
    let link = look(tx.conn, token, tx.now)?;
    if matches!(link, Link::FirstAdmin | Link::Password(_)) {
        tx.conn
            .prepare_cached("UPDATE one_time_links SET used_at = ?2 WHERE token_hash = ?1")?
            .execute((hash(token), tx.now))?;
    }
    Ok(link)
}

#[cfg(test)]
mod tests {
    use super::super::operators::NewOperator;
    use super::super::{Store, StorePaths};
    use super::*;
    use crate::clock::Clock;
    use crate::domain::operator::Role;
    use secrecy::ExposeSecret;

    async fn make(store: &Store, whose: Option<i64>) -> String {
        let token = store.write::<_, _, StoreError>(move |tx| insert(tx, whose)).await.unwrap();
        token.expose_secret().to_owned()
    }

    async fn used(store: &Store, token: &str) -> Link {
        let token = token.to_owned();
        store.write::<_, _, StoreError>(move |tx| take(tx, &token)).await.unwrap()
    }

    fn looked(store: &Store, token: &str) -> Link {
        store.read_here(|conn| look(conn, token, store.clock().now())).unwrap()
    }

    #[tokio::test]
    async fn a_link_is_good_once_for_a_day_and_until_there_is_a_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T17:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
        assert_eq!(used(&store, "nonsense").await, Link::Unknown);
        let first = make(&store, None).await;
        let token = make(&store, None).await;
        assert_eq!((looked(&store, &first), looked(&store, &token)), (Link::Unknown, Link::FirstAdmin));
        clock.advance(LASTS - 1);
        assert_eq!(looked(&store, &token), Link::FirstAdmin);
        clock.advance(1);
        assert_eq!((looked(&store, &token), used(&store, &token).await), (Link::Over, Link::Over));
        let token = make(&store, None).await;
        assert_eq!(used(&store, &token).await, Link::FirstAdmin);
        assert_eq!(used(&store, &token).await, Link::Used);

        let token = make(&store, None).await;
        let new =
            NewOperator { email: "ana@example.com".to_owned(), password_hash: None, role: Role::Viewer };
        let id = store.write::<_, _, StoreError>(move |tx| operators::add(tx, &new, "test")).await.unwrap();
        assert_eq!(used(&store, &token).await, Link::Over, "there is an operator now");
        let own = make(&store, id).await;
        assert_eq!(looked(&store, &own), Link::Password(id.unwrap()));
        let off = move |tx: &Tx<'_>| operators::set_enabled(tx, id.unwrap(), false, "test");
        assert!(matches!(store.write::<_, _, StoreError>(off).await.unwrap(), operators::Change::Made));
        assert_eq!(used(&store, &own).await, Link::Unknown, "who is disabled has no link");
    }
}
