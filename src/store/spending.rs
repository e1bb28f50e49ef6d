//! What attempts are charged, and the sums of it: by campaign, and by UTC day.
//!
//! The charge of an attempt is what the price table expects when it is claimed, and is in the sums from then
//! on: what may still be spent is known before a request begins. It is given back when nothing was handed
//! over, and corrected once Twilio tells its price. Sums are written in the statement's own transaction and
//! not beside it (`effects`): the next claim of the same batch has to see them.

use rusqlite::{Connection, OptionalExtension};

use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::price::{Cost, Currency};
use crate::store::outcomes::AttemptKey;

const DAY: Millis = 86_400_000;

/// The UTC day of an instant, in days since 1970.
pub fn day_of(at: Millis) -> i64 {
    at.div_euclid(DAY)
}

/// The first instant of the next UTC day.
pub fn next_day(now: Millis) -> Millis {
    (day_of(now) + 1) * DAY
}

/// A campaign's cap on spending and what is spent or reserved of it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn of_campaign(conn: &Connection, id: i64) -> Result<(Option<i64>, Cost), StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT c.spend_cap_micros, coalesce(s.spent_micros, 0), coalesce(s.unpriced, 0)
             FROM campaigns c LEFT JOIN campaign_sums s ON s.campaign_id = c.id WHERE c.id = ?1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, Cost { known_micros: row.get(1)?, unknown: row.get(2)? })))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// What is spent or reserved on a UTC day.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn of_day(conn: &Connection, day: i64) -> Result<Cost, StoreError> {
    let found = conn
        .prepare_cached("SELECT spent_micros, unpriced FROM daily_spending WHERE day = ?1")?
        .query_row([day], |row| Ok(Cost { known_micros: row.get(0)?, unknown: row.get(1)? }))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Adds to the sums, or takes away.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn add(tx: &Tx<'_>, campaign_id: Option<i64>, day: i64, more: Cost) -> Result<(), StoreError> {
    if more == Cost::default() {
        return Ok(());
    }
    if let Some(id) = campaign_id {
        tx.conn
            .prepare_cached(
                "INSERT INTO campaign_sums (campaign_id, spent_micros, unpriced) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET spent_micros = spent_micros + excluded.spent_micros,
                   unpriced = unpriced + excluded.unpriced",
            )?
            .execute((id, more.known_micros, more.unknown))?;
    }
    tx.conn
        .prepare_cached(
            "INSERT INTO daily_spending (day, spent_micros, unpriced) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET spent_micros = spent_micros + excluded.spent_micros,
               unpriced = unpriced + excluded.unpriced",
        )?
        .execute((day, more.known_micros, more.unknown))?;
    Ok(())
}

/// An attempt turned out to be charged `charge`, and the sums follow.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn charge(tx: &Tx<'_>, key: AttemptKey, charge: i64) -> Result<(), StoreError> {
    type Before = (Option<i64>, Millis, Option<i64>);
    let before: Option<Before> = tx
        .conn
        .prepare_cached(
            "SELECT a.charge_micros, a.started_at,
                    CASE WHEN m.occasion NOT GLOB 'test:*' THEN m.campaign_id END
             FROM attempts a JOIN messages m ON m.id = a.message_id WHERE a.message_id = ?1 AND a.number = ?2",
        )?
        .query_row((key.message_id, key.number), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((before, started_at, campaign_id)) = before.filter(|(before, ..)| *before != Some(charge))
    else {
        return Ok(());
    };
    tx.conn
        .prepare_cached("UPDATE attempts SET charge_micros = ?3 WHERE message_id = ?1 AND number = ?2")?
        .execute((key.message_id, key.number, charge))?;
    let more = Cost { known_micros: charge - before.unwrap_or(0), unknown: -i64::from(before.is_none()) };
    add(tx, campaign_id, day_of(started_at), more)
}

/// What Twilio says that an attempt cost. In another currency than the table's it can't be added up: the
/// charge stays as it was, and the campaign's report says so.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn bill(
    tx: &Tx<'_>,
    key: AttemptKey,
    (price, unit): (i64, Option<&str>),
    currency: Currency,
) -> Result<(), StoreError> {
    let unit = unit.and_then(Currency::parse).unwrap_or(currency);
    tx.conn
        .prepare_cached(
            "UPDATE campaign_sums SET price_unit = ?2
             WHERE campaign_id = (SELECT campaign_id FROM messages WHERE id = ?1) AND price_unit IS NOT ?2",
        )?
        .execute((key.message_id, unit.as_str()))?;
    if unit == currency { charge(tx, key, price) } else { Ok(()) }
}

/// Sums that differ from a recount of the attempts, in words.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub(super) fn problems(conn: &Connection, problems: &mut Vec<String>) -> Result<(), StoreError> {
    let mut compare = |what: &str, sql: &str| -> Result<(), StoreError> {
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let (spent, unpriced): (i64, i64) = (row.get(1)?, row.get(2)?);
            let (sum, unknown): (i64, i64) = (row.get(3)?, row.get(4)?);
            problems.push(format!(
                "{what} {id}: {spent} millionths are kept as spent and {unpriced} attempts as without a price, {sum} and {unknown} are counted"
            ));
        }
        Ok(())
    };
    compare(
        "campaign",
        "WITH counted AS (
           SELECT m.campaign_id AS id, coalesce(sum(a.charge_micros), 0) AS spent,
                  count(*) - count(a.charge_micros) AS unpriced
           FROM messages m CROSS JOIN attempts a ON a.message_id = m.id
           WHERE m.campaign_id IS NOT NULL AND m.occasion NOT GLOB 'test:*' GROUP BY 1)
         SELECT c.id, coalesce(s.spent_micros, 0), coalesce(s.unpriced, 0), coalesce(n.spent, 0),
                coalesce(n.unpriced, 0)
         FROM campaigns c LEFT JOIN campaign_sums s ON s.campaign_id = c.id LEFT JOIN counted n ON n.id = c.id
         WHERE coalesce(s.spent_micros, 0) <> coalesce(n.spent, 0)
            OR coalesce(s.unpriced, 0) <> coalesce(n.unpriced, 0)",
    )?;
    compare(
        "day",
        "WITH counted AS (
           SELECT started_at / 86400000 AS day, coalesce(sum(charge_micros), 0) AS spent,
                  count(*) - count(charge_micros) AS unpriced
           FROM attempts GROUP BY 1)
         SELECT d.day, d.spent_micros, d.unpriced, coalesce(n.spent, 0), coalesce(n.unpriced, 0)
         FROM daily_spending d LEFT JOIN counted n ON n.day = d.day
         WHERE d.spent_micros <> coalesce(n.spent, 0) OR d.unpriced <> coalesce(n.unpriced, 0)
         UNION ALL
         SELECT n.day, 0, 0, n.spent, n.unpriced FROM counted n
         WHERE (n.spent <> 0 OR n.unpriced <> 0) AND n.day NOT IN (SELECT day FROM daily_spending)",
    )
}
