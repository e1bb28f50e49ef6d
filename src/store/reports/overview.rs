//! What happened on which day, over everything. All of it comes of the small tables of counts: the cost grows with
//! days and campaigns, not with messages.

use rusqlite::Connection;

use crate::clock::Millis;
use crate::store::StoreError;

/// Milliseconds of a day.
const DAY: Millis = 86_400_000;

/// Counts of one span of days.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overview {
    /// People by consent, as of now.
    pub users: Vec<(String, i64)>,
    /// Day (since 1970, UTC), type of event, how often.
    pub daily: Vec<(i64, String, i64)>,
    /// Twilio's codes in campaigns that were launched in the span, the most frequent first.
    pub errors: Vec<(i64, i64)>,
}

/// Reads the counts from the day `from` to the day `to`, both included.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn overview(conn: &Connection, (from, to): (i64, i64)) -> Result<Overview, StoreError> {
    let users = conn
        .prepare_cached("SELECT consent, n FROM user_counts ORDER BY consent")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let daily = conn
        .prepare_cached("SELECT day, type, n FROM daily_counts WHERE day >= ?1 AND day <= ?2 ORDER BY day")?
        .query_map((from, to), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let errors = conn
        .prepare_cached(
            "SELECT n.error_code, sum(n.n) FROM campaigns c
               JOIN campaign_counts n ON n.campaign_id = c.id
             WHERE c.launched_at >= ?1 AND c.launched_at < ?2 AND n.error_code <> 0
               AND n.status IN ('failed', 'undelivered', 'expired')
             GROUP BY 1 HAVING sum(n.n) > 0 ORDER BY 2 DESC, 1 LIMIT 10",
        )?
        .query_map((from * DAY, (to + 1) * DAY), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(Overview { users, daily, errors })
}
