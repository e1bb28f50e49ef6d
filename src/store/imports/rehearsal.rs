//! What a dry run remembers of its file: numbers and rows, in a file of its own that SQLite removes.

use rusqlite::{Connection, OptionalExtension};

use super::super::StoreError;

/// A temporary table of numbers. It takes some memory for its cache and the rest on disk.
#[derive(Debug)]
pub struct Rehearsal {
    conn: Connection,
}

impl Rehearsal {
    /// An empty one.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn new() -> Result<Rehearsal, StoreError> {
        let conn = Connection::open("")?;
        conn.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
             CREATE TABLE seen (phone TEXT PRIMARY KEY, row INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
        )?;
        Ok(Rehearsal { conn })
    }

    /// Notes that `phone` stands in `row`, and returns the row in which it stood before.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn note(&self, phone: &str, row: i64) -> Result<Option<i64>, StoreError> {
        let before = self
            .conn
            .prepare_cached("SELECT row FROM seen WHERE phone = ?1")?
            .query_row([phone], |row| row.get(0))
            .optional()?;
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO seen (phone, row) VALUES (?1, ?2)")?
            .execute((phone, row))?;
        Ok(before)
    }
}
