//! The small count tables of campaigns: what pages show, and the recount that it has to equal.

use rusqlite::{Connection, OptionalExtension};

use super::super::{StoreError, Tx};
use crate::clock::Millis;

/// Rows of a campaign that are alike: state, reason, code, how many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CampaignCount {
    /// `queued` …
    pub status: String,
    /// '' without one.
    pub reason: String,
    /// 0 without one.
    pub error_code: i64,
    /// How many rows.
    pub n: i64,
}

/// The counts of a campaign; test sends are left out.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn counts(conn: &Connection, id: i64) -> Result<Vec<CampaignCount>, StoreError> {
    read_counts(
        conn,
        "SELECT status, reason, error_code, n FROM campaign_counts
         WHERE campaign_id = ?1 AND n <> 0 ORDER BY status, reason, error_code",
        id,
    )
}

/// The same by counting the rows themselves: what the count table has to equal.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn recount(conn: &Connection, id: i64) -> Result<Vec<CampaignCount>, StoreError> {
    read_counts(
        conn,
        "SELECT status, coalesce(reason, ''), coalesce(error_code, 0), count(*) FROM messages
         WHERE campaign_id = ?1 AND occasion NOT GLOB 'test:*'
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        id,
    )
}

fn read_counts(conn: &Connection, sql: &str, id: i64) -> Result<Vec<CampaignCount>, StoreError> {
    let counts = conn
        .prepare_cached(sql)?
        .query_map([id], |row| {
            Ok(CampaignCount {
                status: row.get(0)?,
                reason: row.get(1)?,
                error_code: row.get(2)?,
                n: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(counts)
}

/// Sums over a campaign that no state tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignSums {
    /// SMS parts handed over.
    pub parts: i64,
    /// Messages whose price is known.
    pub priced: i64,
    /// Their price together, in millionths.
    pub price_micros: i64,
    /// The currency in which the provider told the last of them.
    pub price_unit: Option<String>,
    /// People's messages that followed one of the campaign's.
    pub replies: i64,
    /// STOPs that did.
    pub opt_outs: i64,
    /// Messages that the provider took.
    pub accepted: i64,
    /// The first of them.
    pub first_accepted_at: Option<Millis>,
    /// The last of them.
    pub last_accepted_at: Option<Millis>,
}

/// The sums of a campaign.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn sums(conn: &Connection, id: i64) -> Result<CampaignSums, StoreError> {
    let sums = conn
        .prepare_cached(
            "SELECT parts, priced, price_micros, replies, opt_outs, accepted, first_accepted_at,
                    last_accepted_at, price_unit
             FROM campaign_sums WHERE campaign_id = ?1",
        )?
        .query_row([id], |row| {
            Ok(CampaignSums {
                parts: row.get(0)?,
                priced: row.get(1)?,
                price_micros: row.get(2)?,
                replies: row.get(3)?,
                opt_outs: row.get(4)?,
                accepted: row.get(5)?,
                first_accepted_at: row.get(6)?,
                last_accepted_at: row.get(7)?,
                price_unit: row.get(8)?,
            })
        })
        .optional()?;
    Ok(sums.unwrap_or_default())
}

/// Our clock and Twilio's differ a little, and Twilio's dates are to the second. In milliseconds.
const CLOCKS_DIFFER: Millis = 2_000;

/// Credits a person's message, written at `at`, to the campaign whose message they last got by then, if that
/// was within `within` milliseconds.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn credit_reply(
    tx: &Tx<'_>,
    user_id: i64,
    is_stop: bool,
    at: Millis,
    within: Millis,
) -> Result<(), StoreError> {
    let campaign_id: Option<i64> = tx
        .conn
        .prepare_cached(
            "SELECT campaign_id FROM messages
             WHERE user_id = ?1 AND campaign_id IS NOT NULL AND accepted_at > ?2 AND accepted_at <= ?3
               AND occasion NOT GLOB 'test:*'
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row((user_id, at - within, at + CLOCKS_DIFFER), |row| row.get(0))
        .optional()?;
    if let Some(id) = campaign_id {
        let mut effects = tx.effects.borrow_mut();
        let sums = effects.sums.entry(id).or_default();
        sums.replies += 1;
        sums.opt_outs += i64::from(is_stop);
    }
    Ok(())
}
