//! What Twilio told us, by its own ids: for whoever compares the file with Twilio's record.

use rusqlite::Connection;

use crate::store::StoreError;

/// A receipt by what makes it one of a kind.
#[derive(Clone, Debug)]
pub struct HeardReceipt {
    /// In order of arrival.
    pub id: i64,
    /// Twilio's id of the message.
    pub sid: String,
    /// Twilio's word.
    pub status: String,
    /// Twilio's code, 0 without one.
    pub error_code: i64,
}

/// Receipts behind id `after`, in order of arrival.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn receipts(conn: &Connection, after: i64, limit: usize) -> Result<Vec<HeardReceipt>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id, sid, status, error_code FROM receipts WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?
        .query_map((after, limit as i64), |row| {
            Ok(HeardReceipt {
                id: row.get(0)?,
                sid: row.get(1)?,
                status: row.get(2)?,
                error_code: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// A message from a person, and how it came to us.
#[derive(Clone, Debug)]
pub struct HeardMessage {
    /// In order of arrival.
    pub id: i64,
    /// Twilio's id.
    pub message_sid: String,
    /// `webhook` or `catch_up`.
    pub source: String,
}

/// Messages from people behind id `after`, in order of arrival.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn messages(conn: &Connection, after: i64, limit: usize) -> Result<Vec<HeardMessage>, StoreError> {
    let found = conn
        .prepare_cached("SELECT id, message_sid, source FROM inbound WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map((after, limit as i64), |row| {
            Ok(HeardMessage { id: row.get(0)?, message_sid: row.get(1)?, source: row.get(2)? })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}
