//! The people of an audience in order of their ids, piece by piece, and what waits before them.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::StoreError;
use super::messages::{self, PERSON, person_from_row};
use super::segment_sql::Predicate;
use crate::clock::Millis;
use crate::domain::message::{Kind, Status};
use crate::domain::plan::Person;

/// An hour in milliseconds.
const HOUR: Millis = 3_600_000;

/// A piece of the people that a segment has.
#[derive(Clone, Debug)]
pub struct Band<'a> {
    /// Who is in.
    pub include: &'a Predicate,
    /// Who is taken out again, in order: the first that takes somebody counts.
    pub exclude: &'a [Predicate],
    /// The topic to which they stand in some way.
    pub topic_id: Option<i64>,
    /// Behind this id …
    pub after: i64,
    /// … up to this one.
    pub through: i64,
}

/// Somebody in it.
#[derive(Clone, Debug)]
pub struct Member {
    /// The key.
    pub user_id: i64,
    /// Taken out by this one of the exclusions, counted from 0.
    pub excluded_by: Option<usize>,
    /// The person.
    pub person: Person,
}

/// Calls `visit` for everybody of the piece until it says that it is enough. Returns the id up to which
/// everybody was visited.
///
/// # Errors
/// [`StoreError`] from SQLite, or what `visit` returns.
pub fn visit<E: From<StoreError>>(
    conn: &Connection,
    band: &Band<'_>,
    mut visit: impl FnMut(Member) -> Result<bool, E>,
) -> Result<i64, E> {
    let cases: String =
        band.exclude.iter().enumerate().map(|(at, one)| format!(" WHEN {} THEN {at}", one.sql)).collect();
    let excluded_by = if cases.is_empty() { "NULL".to_owned() } else { format!("CASE{cases} END") };
    let sql = format!(
        "SELECT u.id, {excluded_by}, {PERSON}
         FROM users u LEFT JOIN subscriptions s ON s.user_id = u.id AND s.topic_id = ?
         WHERE u.id > ? AND u.id <= ? AND u.erased_at IS NULL AND {} ORDER BY u.id",
        band.include.sql
    );
    let mut values: Vec<SqlValue> = band.exclude.iter().flat_map(|one| one.params.iter().cloned()).collect();
    values.push(band.topic_id.map_or(SqlValue::Null, SqlValue::Integer));
    values.extend([SqlValue::Integer(band.after), SqlValue::Integer(band.through)]);
    values.extend(band.include.params.iter().cloned());
    let mut statement = conn.prepare_cached(&sql).map_err(StoreError::from)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(StoreError::from)?;
    while let Some(row) = rows.next().map_err(StoreError::from)? {
        let read = || -> rusqlite::Result<Member> {
            let excluded_by = row.get::<_, Option<i64>>(1)?.and_then(|at| usize::try_from(at).ok());
            Ok(Member { user_id: row.get(0)?, excluded_by, person: person_from_row(row, 2)? })
        };
        let member = read().map_err(StoreError::from)?;
        let id = member.user_id;
        if !visit(member)? {
            return Ok(id);
        }
    }
    Ok(band.through)
}

/// How many of the piece are in and not taken out, no further than `most`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count(conn: &Connection, whole: &Predicate, after: i64, through: i64) -> Result<i64, StoreError> {
    let sql = format!(
        "SELECT count(*) FROM users u WHERE u.id > ? AND u.id <= ? AND u.erased_at IS NULL AND {}",
        whole.sql
    );
    let mut values = vec![SqlValue::Integer(after), SqlValue::Integer(through)];
    values.extend(whole.params.iter().cloned());
    Ok(conn.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| row.get(0))?)
}

/// The highest id of a person; 0 without people.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn last_id(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn.prepare_cached("SELECT coalesce(max(id), 0) FROM users")?.query_row([], |row| row.get(0))?)
}

/// What waits in these lanes, by the hour: when it is due and how much.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn waiting_by_hour(conn: &Connection, lanes: &[i64]) -> Result<Vec<(Millis, i64)>, StoreError> {
    let mut found = Vec::new();
    for lane in lanes {
        let rows = conn
            .prepare_cached(
                "SELECT due_at / ?2, count(*) FROM messages WHERE status = 'queued' AND lane = ?1 GROUP BY 1",
            )?
            .query_map((lane, HOUR), |row| Ok((row.get::<_, i64>(0)? * HOUR, row.get(1)?)))?
            .collect::<Result<Vec<(Millis, i64)>, _>>()?;
        found.extend(rows);
    }
    found.sort_unstable();
    Ok(found)
}

/// The lanes of single messages of a sender.
pub fn single_lanes(sender_id: i64) -> [i64; 2] {
    [Kind::Transactional, Kind::Marketing].map(|kind| messages::single_lane(sender_id, kind))
}

/// What became of somebody in a campaign.
#[derive(Clone, Debug)]
pub struct Place {
    /// The message.
    pub message_id: i64,
    /// Its state.
    pub status: Status,
    /// Why.
    pub reason: Option<String>,
    /// When it is due, or was.
    pub due_at: Millis,
}

/// The newest message of a campaign to this person; test sends are none.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn place_of(conn: &Connection, campaign_id: i64, user_id: i64) -> Result<Option<Place>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT id, status, reason, due_at FROM messages
             WHERE campaign_id = ?1 AND user_id = ?2 AND occasion NOT GLOB 'test:*' ORDER BY id DESC LIMIT 1",
        )?
        .query_row((campaign_id, user_id), |row| {
            let status: String = row.get(1)?;
            Ok(Place {
                message_id: row.get(0)?,
                status: Status::parse(&status).unwrap_or(Status::Failed),
                reason: row.get(2)?,
                due_at: row.get(3)?,
            })
        })
        .optional()?)
}
