//! `import_mappings`: what was said about files with the same columns, offered when such a file comes again.

use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use super::super::{StoreError, Tx};
use crate::clock::Millis;

/// So many are remembered; the one that was used longest ago goes first.
const KEPT: i64 = 500;

/// What was said about an earlier file.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// How that file was called.
    pub file_name: String,
    /// Its mapping, mode, region and topics, as options.
    pub options: Value,
    /// When that was.
    pub used_at: Millis,
}

/// What was said last about a file with these columns.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn remembered(conn: &Connection, fingerprint: &[u8; 32]) -> Result<Option<Remembered>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT file_name, options, used_at FROM import_mappings WHERE fingerprint = ?1")?
        .query_row([fingerprint], |row| {
            Ok(Remembered {
                file_name: row.get(0)?,
                options: serde_json::from_str(&row.get::<_, String>(1)?).unwrap_or_default(),
                used_at: row.get(2)?,
            })
        })
        .optional()?)
}

/// Remembers what was said about a file with these columns.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn remember(
    tx: &Tx<'_>,
    fingerprint: &[u8; 32],
    file_name: &str,
    options: &Value,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO import_mappings (fingerprint, file_name, options, used_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (fingerprint) DO UPDATE SET file_name = excluded.file_name,
               options = excluded.options, used_at = excluded.used_at",
        )?
        .execute((fingerprint, file_name, options.to_string(), tx.now))?;
    tx.conn
        .prepare_cached(
            "DELETE FROM import_mappings WHERE fingerprint IN (
               SELECT fingerprint FROM import_mappings ORDER BY used_at DESC, fingerprint LIMIT -1 OFFSET ?1)",
        )?
        .execute([KEPT])?;
    Ok(())
}
