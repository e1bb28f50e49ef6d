//! Opening a data file: folder, key, schema, pragmas.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::closings;
use super::error::OpenError;
use super::key::StoreKey;

const SCHEMA: &str = include_str!("../../schema.sql");

/// Steps from an older schema to today's, oldest first; step n leads from `user_version` n to n + 1.
/// Each is a file of `migrations/`. None yet: the first release has not been made.
const MIGRATIONS: &[&str] = &[];

/// `PRAGMA user_version` of a file with today's schema.
pub(super) const SCHEMA_VERSION: i64 = 1 + MIGRATIONS.len() as i64;

/// How long a writer waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages of 4 KiB after which a commit moves the log into the file. Large enough to smooth random
/// updates, small enough that the log stays within some 32 MiB.
const WAL_AUTOCHECKPOINT: i64 = 8_000;

/// Bytes to which a log that had to grow is cut back when it begins anew.
const LOG_LIMIT: i64 = 64 << 20;

/// Where a store lies.
#[derive(Clone, Debug)]
pub struct StorePaths {
    /// The SQLite file.
    pub path: PathBuf,
    /// The key file beside it.
    pub key_file: PathBuf,
}

impl StorePaths {
    /// `DIR/ese.db` and `DIR/ese.key`.
    pub fn inside(dir: &Path) -> StorePaths {
        StorePaths { path: dir.join("ese.db"), key_file: dir.join("ese.key") }
    }
}

/// Makes or opens the file, brings its schema up to date, checks the key. Returns the writer's connection.
pub(super) fn prepare(paths: &StorePaths, now: i64) -> Result<(Connection, StoreKey), OpenError> {
    let path = &paths.path;
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(|error| not_writable(path, &error))?;
    }
    let is_new = std::fs::metadata(path).map(|data| data.len() == 0).unwrap_or(true);
    if is_new {
        create_private(path).map_err(|error| not_writable(path, &error))?;
    }
    let mut conn = writer(path).map_err(|source| explain(path, source))?;
    let version: i64 = conn
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|source| explain(path, source))?;
    if version > SCHEMA_VERSION {
        return Err(OpenError::Newer { path: path.clone(), found: version, known: SCHEMA_VERSION });
    }
    let key = StoreKey::load(&paths.key_file, path, version == 0)?;
    if version == 0 {
        create_schema(&mut conn, path, &key, now)?;
    } else {
        migrate(&mut conn, version, MIGRATIONS).map_err(|source| explain(path, source))?;
    }
    check_key(&conn, paths, &key)?;
    Ok((conn, key))
}

/// The writing connection.
pub(super) fn writer(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", "ON")?;
    // What is removed is overwritten: an erased number must not lie in a freed page or between two rows. It has
    // to be so from the first row on, because rows move between pages long before anybody is erased.
    conn.pragma_update(None, "secure_delete", "ON")?;
    conn.pragma_update(None, "wal_autocheckpoint", WAL_AUTOCHECKPOINT)?;
    conn.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
    conn.pragma_update(None, "cache_size", -32_768)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.set_prepared_statement_cache_capacity(256);
    closings::register(&conn)?;
    Ok(conn)
}

/// The pragmas of a reading connection.
pub(super) fn prepare_reader(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "query_only", "ON")?;
    conn.pragma_update(None, "cache_size", -4_096)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(())
}

fn create_schema(conn: &mut Connection, path: &Path, key: &StoreKey, now: i64) -> Result<(), OpenError> {
    let explain = |source| explain(path, source);
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(explain)?;
    if tables > 0 {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
            reason: format!("it holds {tables} tables or indexes of something else"),
        });
    }
    let tx = conn.transaction().map_err(explain)?;
    tx.execute_batch(SCHEMA).map_err(explain)?;
    tx.execute(
        "INSERT INTO store_identity (id, key_fingerprint, created_at) VALUES (1, ?1, ?2)",
        (key.fingerprint(), now),
    )
    .map_err(explain)?;
    tx.execute("UPDATE topics SET created_at = ?1", [now]).map_err(explain)?;
    tx.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(explain)?;
    tx.commit().map_err(explain)
}

/// Walks from `version` to the end of `steps`, each step in a transaction of its own.
fn migrate(conn: &mut Connection, version: i64, steps: &[&str]) -> rusqlite::Result<()> {
    let done = usize::try_from(version - 1).unwrap_or(0);
    for (number, step) in steps.iter().enumerate().skip(done) {
        let tx = conn.transaction()?;
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", number as i64 + 2)?;
        tx.commit()?;
    }
    Ok(())
}

fn check_key(conn: &Connection, paths: &StorePaths, key: &StoreKey) -> Result<(), OpenError> {
    let stored: Vec<u8> = conn
        .query_row("SELECT key_fingerprint FROM store_identity WHERE id = 1", [], |row| row.get(0))
        .map_err(|source| explain(&paths.path, source))?;
    if stored == key.fingerprint() {
        return Ok(());
    }
    Err(OpenError::KeyMismatch { key_file: paths.key_file.clone(), path: paths.path.clone() })
}

/// Whether the key at `key_file` is the one that the file at `path` was made with.
pub(super) fn check_key_file(key_file: &Path, path: &Path) -> Result<(), OpenError> {
    let key = StoreKey::load(key_file, path, false)?;
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|source| explain(path, source))?;
    let paths = StorePaths { path: path.to_owned(), key_file: key_file.to_owned() };
    check_key(&conn, &paths, &key)
}

/// Only its owner may read a file full of phone numbers.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn not_writable(path: &Path, error: &std::io::Error) -> OpenError {
    OpenError::NotWritable { path: path.to_owned(), reason: error.to_string() }
}

fn explain(path: &Path, source: rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode as Code;
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(Code::NotADatabase) => {
            OpenError::Foreign { path, reason: "it is not an SQLite file".to_owned() }
        }
        Some(Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied) => {
            OpenError::NotWritable { path, reason: source.to_string() }
        }
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            OpenError::NotWritable { path, reason: "another process holds the lock on it".to_owned() }
        }
        _ => OpenError::Sqlite { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(conn: &Connection) -> Vec<(String, String)> {
        conn.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn migrations_walk_every_step_once_and_end_at_the_same_schema() {
        let mut old = Connection::open_in_memory().unwrap();
        old.execute_batch("CREATE TABLE a (x); PRAGMA user_version = 1").unwrap();
        let steps = ["CREATE TABLE b (x)", "CREATE TABLE c (x)"];
        migrate(&mut old, 1, &steps).unwrap();
        migrate(&mut old, 3, &steps).unwrap();
        let today = Connection::open_in_memory().unwrap();
        today.execute_batch("CREATE TABLE a (x); CREATE TABLE b (x); CREATE TABLE c (x)").unwrap();
        assert_eq!(shape(&old), shape(&today));
        let version: i64 = old.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, 3);
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let paths = StorePaths::inside(dir.path());
        drop(prepare(&paths, 1).unwrap());
        let conn = Connection::open(&paths.path).unwrap();
        conn.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        drop(conn);
        let error = prepare(&paths, 1).unwrap_err();
        assert!(matches!(error, OpenError::Newer { .. }), "{error}");
    }

    #[test]
    fn a_missing_or_foreign_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let paths = StorePaths::inside(dir.path());
        drop(prepare(&paths, 1).unwrap());
        std::fs::remove_file(&paths.key_file).unwrap();
        assert!(matches!(prepare(&paths, 1), Err(OpenError::KeyMissing { .. })));
        std::fs::write(&paths.key_file, "0".repeat(64)).unwrap();
        assert!(matches!(prepare(&paths, 1), Err(OpenError::KeyMismatch { .. })));
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let paths = StorePaths::inside(dir.path());
        std::fs::write(&paths.path, "name,phone\nAna,+14155550101\n".repeat(100)).unwrap();
        assert!(matches!(prepare(&paths, 1), Err(OpenError::Foreign { .. })));
        let foreign = StorePaths::inside(&dir.path().join("other"));
        std::fs::create_dir(dir.path().join("other")).unwrap();
        Connection::open(&foreign.path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(matches!(prepare(&foreign, 1), Err(OpenError::Foreign { .. })));
    }
}
