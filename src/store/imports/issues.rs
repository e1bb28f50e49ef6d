//! `import_issues`: what was wrong with the rows of a file.

use rusqlite::Connection;
use serde_json::Value;

use super::super::{StoreError, Tx};
use super::signed;

/// Issues kept for one import; the counts go on beyond them.
pub const MAX_ISSUES: u64 = 10_000;

/// An issue about to be kept.
#[derive(Clone, Debug)]
pub struct NewIssue {
    /// As a spreadsheet counts: the header is row 1. Elements of JSON count from 1.
    pub row: u64,
    /// The name that programs go by.
    pub reason: &'static str,
    /// The row was not taken.
    pub is_rejected: bool,
    /// The column it is about.
    pub column: Option<String>,
    /// A sentence for the person who made the file.
    pub message: String,
    /// JSON object: the row as it stood in the file.
    pub cells: String,
}

/// An issue as kept.
#[derive(Clone, Debug)]
pub struct Issue {
    /// As a spreadsheet counts.
    pub row: i64,
    /// The name that programs go by.
    pub reason: String,
    /// The row was not taken.
    pub is_rejected: bool,
    /// The column it is about.
    pub column: Option<String>,
    /// A sentence for the person who made the file.
    pub message: String,
    /// The row as it stood in the file; empty once the person was erased.
    pub cells: serde_json::Map<String, Value>,
}

/// Keeps an issue.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert_issue(tx: &Tx<'_>, import_id: i64, issue: &NewIssue) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO import_issues (import_id, row, reason, rejected, column_name, message, cells)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        )?
        .execute((
            import_id,
            signed(issue.row),
            issue.reason,
            issue.is_rejected,
            &issue.column,
            &issue.message,
            &issue.cells,
        ))?;
    Ok(())
}

/// How many issues are kept.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count_issues(conn: &Connection, import_id: i64) -> Result<u64, StoreError> {
    let count: i64 = conn
        .prepare_cached("SELECT count(*) FROM import_issues WHERE import_id = ?1")?
        .query_row([import_id], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Which issues are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only of rows that were not taken.
    pub only_rejected: bool,
    /// Only for this reason.
    pub reason: Option<String>,
}

/// A page of issues in the order of the file, behind `(row, reason)`; begin behind `(0, "")`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn issues(
    conn: &Connection,
    import_id: i64,
    after: (i64, &str),
    limit: usize,
) -> Result<Vec<Issue>, StoreError> {
    issues_of(conn, import_id, &Wanted::default(), after, limit)
}

/// The same of those that are wanted. What is passed over is read too: an import keeps [`MAX_ISSUES`] at most.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn issues_of(
    conn: &Connection,
    import_id: i64,
    wanted: &Wanted,
    after: (i64, &str),
    limit: usize,
) -> Result<Vec<Issue>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT row, reason, rejected, column_name, message, cells FROM import_issues
             WHERE import_id = ?1 AND (row, reason) > (?2, ?3)
               AND rejected >= ?5 AND (?6 IS NULL OR reason = ?6) ORDER BY row, reason LIMIT ?4",
        )?
        .query_map(
            (import_id, after.0, after.1, limit as i64, wanted.only_rejected, &wanted.reason),
            |row| {
                Ok(Issue {
                    row: row.get(0)?,
                    reason: row.get(1)?,
                    is_rejected: row.get(2)?,
                    column: row.get(3)?,
                    message: row.get(4)?,
                    cells: serde_json::from_str(&row.get::<_, String>(5)?).unwrap_or_default(),
                })
            },
        )?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// The columns that the kept rows have, in the order of the file.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn issue_columns(conn: &Connection, import_id: i64) -> Result<Vec<String>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT j.key FROM import_issues i, json_each(i.cells) j WHERE i.import_id = ?1
             GROUP BY j.key ORDER BY avg(j.id), min(i.row)",
        )?
        .query_map([import_id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}
