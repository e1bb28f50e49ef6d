//! Campaigns that are at work, come next or stand still: what a dashboard shows of them. By the index of live
//! campaigns and the small tables of counts; the cost grows with the campaigns shown, not with their messages.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::Millis;
use crate::store::StoreError;
use crate::store::campaigns::{self, CampaignCount, CampaignSums};

/// Among so many of the newest the one that ended last is looked for.
const NEWEST: i64 = 200;

/// A campaign with where its people are.
#[derive(Clone, Debug)]
pub struct Running {
    /// Key.
    pub id: i64,
    /// For people.
    pub name: String,
    /// `launching`, `running`, `paused` or `scheduled`.
    pub status: String,
    /// Started by business events of this type.
    pub trigger_type: Option<String>,
    /// When it began.
    pub launched_at: Option<Millis>,
    /// When it will.
    pub starts_at: Option<Millis>,
    /// When it ended.
    pub finished_at: Option<Millis>,
    /// Parts a second that it may send.
    pub rate_limit: Option<f64>,
    /// Its messages by state, reason and code.
    pub counts: Vec<CampaignCount>,
    /// What no state tells.
    pub sums: CampaignSums,
}

impl Running {
    /// Messages in any of these states.
    pub fn in_states(&self, states: &[&str]) -> i64 {
        self.counts.iter().filter(|count| states.contains(&count.status.as_str())).map(|count| count.n).sum()
    }

    /// Messages that wait for a reason of their own, such as the morning where the person is.
    pub fn waiting_for(&self, reason: &str) -> i64 {
        let waits = |count: &&CampaignCount| count.status == "queued" && count.reason == reason;
        self.counts.iter().filter(waits).map(|count| count.n).sum()
    }

    /// Accepted messages a second from the first to the last; nothing can be said of fewer than two moments.
    pub fn throughput(&self) -> Option<f64> {
        let millis = self.sums.last_accepted_at? - self.sums.first_accepted_at?;
        (millis > 0).then(|| (self.sums.accepted - 1) as f64 * 1_000.0 / millis as f64)
    }
}

/// What is out, in all and the newest of it, and what comes next.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Campaigns that send.
    pub n: i64,
    /// The newest of them; those with somebody left to send to come first.
    pub running: Vec<Running>,
    /// The next one that starts by itself.
    pub next: Option<Running>,
    /// When none sends: the one that ended last.
    pub last: Option<Running>,
}

const COLUMNS: &str =
    "id, name, status, trigger_type, launched_at, starts_at, rate_limit_per_second, finished_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Running> {
    Ok(Running {
        id: row.get(0)?,
        name: row.get(1)?,
        status: row.get(2)?,
        trigger_type: row.get(3)?,
        launched_at: row.get(4)?,
        starts_at: row.get(5)?,
        rate_limit: row.get(6)?,
        finished_at: row.get(7)?,
        counts: Vec::new(),
        sums: CampaignSums::default(),
    })
}

/// The `limit` newest campaigns that send, with their counts, and the next one to start.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn work(conn: &Connection, limit: usize) -> Result<Work, StoreError> {
    // The first condition is word for word that of the partial index: SQLite infers nothing.
    let mut running: Vec<Running> = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM campaigns
             WHERE status IN ('scheduled', 'launching', 'running', 'paused')
               AND (status = 'launching' OR status = 'running')
             ORDER BY trigger_type IS NOT NULL, id DESC LIMIT ?1"
        ))?
        .query_map([limit as i64], from_row)?
        .collect::<Result<_, _>>()?;
    for campaign in &mut running {
        campaign.counts = campaigns::counts(conn, campaign.id)?;
        campaign.sums = campaigns::sums(conn, campaign.id)?;
    }
    let next = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM campaigns
             WHERE status IN ('scheduled', 'launching', 'running', 'paused') AND status = 'scheduled'
               AND starts_at IS NOT NULL ORDER BY starts_at, id LIMIT 1"
        ))?
        .query_map([], from_row)?
        .next()
        .transpose()?;
    let last = if running.is_empty() { last(conn)? } else { None };
    Ok(Work { n: count(conn)?, running, next, last })
}

/// The campaign that ended last, among the newest.
fn last(conn: &Connection) -> Result<Option<Running>, StoreError> {
    let found = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM (SELECT {COLUMNS} FROM campaigns ORDER BY id DESC LIMIT {NEWEST})
             WHERE status = 'finished' ORDER BY finished_at DESC LIMIT 1"
        ))?
        .query_row([], from_row)
        .optional()?;
    let Some(mut last) = found else {
        return Ok(None);
    };
    last.counts = campaigns::counts(conn, last.id)?;
    last.sums = campaigns::sums(conn, last.id)?;
    Ok(Some(last))
}

/// How many campaigns send.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT count(*) FROM campaigns WHERE status IN ('scheduled', 'launching', 'running', 'paused')
               AND (status = 'launching' OR status = 'running')",
        )?
        .query_row([], |row| row.get(0))?)
}

/// Nothing was ever planned or sent from this file.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_untouched(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT NOT EXISTS (SELECT 1 FROM campaigns) AND NOT EXISTS (SELECT 1 FROM messages)",
        )?
        .query_row([], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reports::plan_of;

    fn file() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../../schema.sql")).unwrap();
        conn.execute_batch(
            "INSERT INTO templates (id, name, created_at, updated_at) VALUES (1, 't', 0, 0);
             INSERT INTO segments (id, name, definition, created_at, updated_at) VALUES (1, 's', '{}', 0, 0);
             INSERT INTO campaigns (id, name, status, kind, channel, template_id, segment_id, trigger_type,
                                    starts_at, created_at, updated_at) VALUES
               (1, 'Paid', 'running', 'transactional', 'sms', 1, NULL, 'order.paid', NULL, 0, 0),
               (2, 'Spring', 'running', 'marketing', 'sms', 1, 1, NULL, NULL, 0, 0),
               (3, 'Summer', 'paused', 'marketing', 'sms', 1, 1, NULL, NULL, 0, 0),
               (4, 'Late', 'scheduled', 'marketing', 'sms', 1, 1, NULL, 900, 0, 0),
               (5, 'Soon', 'scheduled', 'marketing', 'sms', 1, 1, NULL, 500, 0, 0);
             INSERT INTO campaign_counts VALUES (2, 'queued', 'quiet_hours', 0, 7), (2, 'queued', '', 0, 3),
               (2, 'delivered', '', 0, 5);
             INSERT INTO campaign_sums (campaign_id, accepted, first_accepted_at, last_accepted_at)
               VALUES (2, 11, 1000, 3000);",
        )
        .unwrap();
        conn
    }

    #[test]
    fn one_with_an_end_stands_before_those_that_events_start_and_the_soonest_comes_next() {
        let work = work(&file(), 5).unwrap();
        assert_eq!(work.running.iter().map(|one| one.id).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((work.n, work.next.map(|one| one.id)), (2, Some(5)));
    }

    #[test]
    fn what_waits_is_counted_by_its_reason_and_the_pace_by_the_time_between() {
        let work = work(&file(), 5).unwrap();
        let spring = &work.running[0];
        assert_eq!(spring.in_states(&["queued"]), 10);
        assert_eq!(spring.waiting_for("quiet_hours"), 7);
        assert_eq!(spring.throughput(), Some(5.0));
        assert_eq!(work.running[1].throughput(), None);
    }

    #[test]
    fn campaigns_at_work_are_found_by_their_state() {
        let conn = file();
        for sql in [
            "SELECT count(*) FROM campaigns WHERE status IN ('scheduled', 'launching', 'running', 'paused')
               AND (status = 'launching' OR status = 'running')",
            "SELECT id FROM campaigns WHERE status IN ('scheduled', 'launching', 'running', 'paused')
               AND status = 'scheduled' AND starts_at IS NOT NULL ORDER BY starts_at, id LIMIT 1",
        ] {
            let plan = plan_of(&conn, sql);
            assert!(plan.contains("campaigns_live") || plan.contains("campaigns_status"), "{plan}");
        }
    }
}
