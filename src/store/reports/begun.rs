//! How far somebody has come who begins: what the steps of set-up ask.

use rusqlite::Connection;

use crate::store::{StoreError, users};

/// What is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Erased ones left out.
    pub people: i64,
    /// A text of ours or a template at Twilio.
    pub has_template: bool,
    /// Some campaign was launched.
    pub has_launched: bool,
}

/// Reads it: counts and the first rows of small tables.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn begun(conn: &Connection) -> Result<Begun, StoreError> {
    let people = users::counts(conn)?.iter().map(|(_, n)| n).sum();
    let (has_template, has_launched) = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM templates) OR EXISTS (SELECT 1 FROM content_templates),
                    EXISTS (SELECT 1 FROM campaigns WHERE launched_at IS NOT NULL)",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Begun { people, has_template, has_launched })
}
