//! What operators show beside a password: the secret of an authenticator, sealed under the key file, and hashes of
//! recovery codes. Each code lets somebody in once.

use rusqlite::{Connection, OptionalExtension};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::operators::{self, Change};
use super::{StoreError, StoreKey, Tx, seal};
use crate::domain::second_factor::{self, Authenticator, read_recovery_code};

/// What the secrets are sealed as.
const PURPOSE: &str = "operator totp";

/// The secret of an operator's authenticator, if there is one; `true`: it is asked for at the login.
///
/// # Errors
/// [`StoreError`] from SQLite, or when the secret can't be opened.
pub fn secret(
    conn: &Connection,
    key: &StoreKey,
    id: i64,
) -> Result<Option<(SecretString, bool)>, StoreError> {
    let found: Option<(Option<Vec<u8>>, bool)> = conn
        .prepare_cached("SELECT totp_secret, totp_enabled_at IS NOT NULL FROM operators WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((Some(sealed), is_enabled)) = found else {
        return Ok(None);
    };
    Ok(Some((seal::open(key, PURPOSE, &sealed)?, is_enabled)))
}

/// Begins the set-up: a new secret, which counts for nothing until a code of it was shown. One that is asked for
/// already stays, and so does one that waits.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn begin(tx: &Tx<'_>, id: i64) -> Result<(), StoreError> {
    let sealed = seal::seal(tx.key, PURPOSE, second_factor::new_secret().expose_secret())?;
    tx.conn.execute(
        "UPDATE operators SET totp_secret = ?2, totp_last_step = NULL WHERE id = ?1 AND totp_secret IS NULL",
        (id, sealed),
    )?;
    Ok(())
}

/// Takes a code of the authenticator, if it is right and newer than the last that was taken.
fn take_code(tx: &Tx<'_>, id: i64, code: &str) -> Result<bool, StoreError> {
    let email = operators::find(tx.conn, id)?.map(|operator| operator.email).unwrap_or_default();
    let app = secret(tx.conn, tx.key, id)?.and_then(|(secret, _)| Authenticator::new(&secret, &email));
    let Some(step) = app.and_then(|app| app.step_of(code, tx.now)) else {
        return Ok(false);
    };
    let taken = tx.conn.execute(
        "UPDATE operators SET totp_last_step = ?2 WHERE id = ?1 AND (totp_last_step IS NULL OR totp_last_step < ?2)",
        (id, step),
    )?;
    Ok(taken > 0)
}

/// Ends the set-up with the first code: from now on it is asked for at the login. Returns new recovery codes, which
/// are told nowhere else; `None`: the code is wrong, or there is nothing to end.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn confirm(tx: &Tx<'_>, id: i64, code: &str, actor: &str) -> Result<Option<Vec<String>>, StoreError> {
    let waits = operators::find(tx.conn, id)?.is_some_and(|operator| operator.awaits_code);
    if !waits || !take_code(tx, id, code)? {
        return Ok(None);
    }
    tx.conn.execute("UPDATE operators SET totp_enabled_at = ?2 WHERE id = ?1", (id, tx.now))?;
    operators::note(tx, id, json!({"change": "second_factor_enabled"}), actor)?;
    write_codes(tx, id).map(Some)
}

/// Takes the second factor away: a lost phone, or a set-up that is broken off.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn remove(tx: &Tx<'_>, id: i64, actor: &str) -> Result<Change, StoreError> {
    let Some(operator) = operators::find(tx.conn, id)? else {
        return Ok(Change::Unknown);
    };
    tx.conn.execute(
        "UPDATE operators SET totp_secret = NULL, totp_enabled_at = NULL, totp_last_step = NULL WHERE id = ?1",
        [id],
    )?;
    tx.conn.execute("DELETE FROM recovery_codes WHERE operator_id = ?1", [id])?;
    if operator.totp_enabled_at.is_some() {
        operators::note(tx, id, json!({"change": "second_factor_removed"}), actor)?;
    }
    Ok(Change::Made)
}

/// New recovery codes in place of those before, told nowhere else. `None`: no second factor is asked for.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn renew_codes(tx: &Tx<'_>, id: i64, actor: &str) -> Result<Option<Vec<String>>, StoreError> {
    if operators::find(tx.conn, id)?.and_then(|operator| operator.totp_enabled_at).is_none() {
        return Ok(None);
    }
    operators::note(tx, id, json!({"change": "recovery_codes_renewed"}), actor)?;
    write_codes(tx, id).map(Some)
}

fn hash(key: &StoreKey, id: i64, code: &str) -> [u8; 32] {
    key.hash(&format!("recovery code:{id}:{code}"))
}

fn write_codes(tx: &Tx<'_>, id: i64) -> Result<Vec<String>, StoreError> {
    let codes = second_factor::new_recovery_codes();
    tx.conn.execute("DELETE FROM recovery_codes WHERE operator_id = ?1", [id])?;
    for code in codes.iter().filter_map(|code| read_recovery_code(code)) {
        tx.conn
            .prepare_cached("INSERT INTO recovery_codes (operator_id, code_hash) VALUES (?1, ?2)")?
            .execute((id, hash(tx.key, id, &code)))?;
    }
    Ok(codes)
}

/// How many recovery codes are left.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn codes_left(conn: &Connection, id: i64) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM recovery_codes WHERE operator_id = ?1")?
        .query_row([id], |row| row.get(0))?)
}

/// Takes what somebody typed at the login: a code of the authenticator or a recovery code. Returns which it was
/// (`totp`, `recovery_code`); `None`: neither, or one that was used.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn take(tx: &Tx<'_>, id: i64, typed: &str) -> Result<Option<&'static str>, StoreError> {
    let is_asked = operators::find(tx.conn, id)?.is_some_and(|operator| operator.totp_enabled_at.is_some());
    if !is_asked {
        return Ok(None);
    }
    if take_code(tx, id, typed)? {
        return Ok(Some("totp"));
    }
    let Some(code) = read_recovery_code(typed) else {
        return Ok(None);
    };
    let taken = tx.conn.execute(
        "DELETE FROM recovery_codes WHERE operator_id = ?1 AND code_hash = ?2",
        (id, hash(tx.key, id, &code)),
    )?;
    Ok((taken > 0).then_some("recovery_code"))
}

#[cfg(test)]
mod tests {
    use super::super::operators::NewOperator;
    use super::super::{Store, StorePaths};
    use super::*;
    use crate::clock::Clock;
    use crate::domain::operator::Role;

    async fn write<T: Send + 'static>(
        store: &Store,
        change: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        store.write(change).await.unwrap()
    }

    fn code(store: &Store, id: i64) -> String {
        let (secret, _) = store.read_here(|conn| secret(conn, store.key(), id)).unwrap().unwrap();
        Authenticator::new(&secret, "ana@example.com").unwrap().code_at(store.clock().now())
    }

    async fn show(store: &Store, id: i64, typed: &str) -> Option<&'static str> {
        let typed = typed.to_owned();
        write(store, move |tx| take(tx, id, &typed)).await
    }

    #[tokio::test]
    async fn every_code_lets_in_once() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T17:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
        let new = NewOperator { email: "ana@example.com".to_owned(), password_hash: None, role: Role::Admin };
        let id = write(&store, move |tx| operators::add(tx, &new, "test")).await.unwrap();
        assert_eq!(write(&store, move |tx| confirm(tx, id, "000000", "test")).await, None);
        write(&store, move |tx| begin(tx, id)).await;
        let first = code(&store, id);
        assert_eq!(show(&store, id, &first).await, None, "it is not asked for yet");
        write(&store, move |tx| begin(tx, id)).await;
        assert_eq!(code(&store, id), first, "a second look keeps the secret");
        let shown = first.clone();
        let codes = write(&store, move |tx| confirm(tx, id, &shown, "test")).await.unwrap();
        assert_eq!(show(&store, id, &first).await, None, "the code that ended the set-up");
        clock.advance(30_000);
        let next = code(&store, id);
        assert_eq!(show(&store, id, &next).await, Some("totp"));
        assert_eq!(show(&store, id, &next).await, None);
        assert_eq!(show(&store, id, &first).await, None, "an older step that the clock would still allow");
        assert_eq!(show(&store, id, &codes[3].to_uppercase()).await, Some("recovery_code"));
        assert_eq!(show(&store, id, &codes[3]).await, None);
        assert_eq!(store.read_here(|conn| codes_left(conn, id)).unwrap(), 9);
        let renewed = write(&store, move |tx| renew_codes(tx, id, "test")).await.unwrap();
        assert_eq!(show(&store, id, &codes[4]).await, None, "those before are gone");
        assert_eq!(show(&store, id, &renewed[4]).await, Some("recovery_code"));
        assert_eq!(write(&store, move |tx| remove(tx, id, "test")).await, Change::Made);
        assert_eq!(show(&store, id, &renewed[5]).await, None);
    }

    #[tokio::test]
    async fn the_file_holds_neither_secret_nor_codes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StorePaths::inside(dir.path()), Clock::system()).unwrap();
        let new = NewOperator { email: "ana@example.com".to_owned(), password_hash: None, role: Role::Admin };
        let id = write(&store, move |tx| operators::add(tx, &new, "test")).await.unwrap();
        write(&store, move |tx| begin(tx, id)).await;
        let shown = code(&store, id);
        let codes = write(&store, move |tx| confirm(tx, id, &shown, "test")).await.unwrap();
        let (secret, _) = store.read_here(|conn| secret(conn, store.key(), id)).unwrap().unwrap();
        let mut bytes = std::fs::read(&store.paths().path).unwrap();
        let log = store.paths().path.with_extension("db-wal");
        bytes.extend(std::fs::read(log).unwrap());
        let bare = read_recovery_code(&codes[0]).unwrap();
        for text in [secret.expose_secret(), &codes[0], &bare] {
            assert!(!bytes.windows(text.len()).any(|part| part == text.as_bytes()), "{text}");
        }
        assert!(
            bytes.windows(15).any(|part| part == b"ana@example.com"),
            "the test looks into the right file"
        );
    }
}
