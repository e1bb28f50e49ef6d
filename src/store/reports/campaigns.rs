//! Campaigns as those who watch them look at them: the plan with the names of what it points to, how many people
//! are where, how fast it goes, and when those who wait come. All of it comes of the small tables of counts, so a
//! campaign to a million people costs what one to ten costs.

use std::collections::HashMap;

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::clock::Millis;
use crate::domain::campaign::CampaignStatus;
use crate::domain::price::Cost;
use crate::store::campaigns::{self, CampaignCount, CampaignRow, CampaignSums, pace};
use crate::store::{StoreError, messages, spending};

/// A campaign with what is known of its progress.
#[derive(Clone, Debug)]
pub struct CampaignView {
    /// The plan, and where it stands.
    pub campaign: CampaignRow,
    /// When it was edited or moved last.
    pub updated_at: Millis,
    /// Whom it goes to, by the segment's name.
    pub segment: Option<String>,
    /// What it says, by the template's name.
    pub template: Option<String>,
    /// About what, by the topic's name.
    pub topic: Option<String>,
    /// How many messages are where, and why.
    pub counts: Vec<CampaignCount>,
    /// Sums that no state tells.
    pub sums: CampaignSums,
    /// What is spent or reserved.
    pub spent: Cost,
    /// Messages a second of late, while it sends.
    pub rate_now: Option<f64>,
    /// When the next of those who wait is due, while it sends.
    pub next_due: Option<Millis>,
}

/// Campaigns in one of `states`, or in any if there is none, newest first, below id `before`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(
    conn: &Connection,
    states: &[CampaignStatus],
    (before, limit): (i64, usize),
    now: Millis,
) -> Result<Vec<CampaignView>, StoreError> {
    let ids = ids(conn, states, before, limit)?;
    ids.into_iter().filter_map(|id| find(conn, id, now).transpose()).collect()
}

fn ids(
    conn: &Connection,
    states: &[CampaignStatus],
    before: i64,
    limit: usize,
) -> Result<Vec<i64>, StoreError> {
    let sql = ids_sql(states.len());
    let words: Vec<&str> = states.iter().map(|status| status.as_str()).collect();
    let mut ids: Vec<i64> = Vec::new();
    // Each state has its own walk down the index: together they would have to be sorted.
    for word in if words.is_empty() { vec![None] } else { words.into_iter().map(Some).collect() } {
        let mut values = vec![SqlValue::from(before), SqlValue::from(limit as i64)];
        values.extend(word.map(|word| SqlValue::Text(word.to_owned())));
        let mut statement = conn.prepare_cached(sql)?;
        let found = statement.query_map(params_from_iter(values), |row| row.get(0))?;
        ids.extend(found.collect::<Result<Vec<i64>, _>>()?);
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.truncate(limit);
    Ok(ids)
}

fn ids_sql(states: usize) -> &'static str {
    if states == 0 {
        "SELECT id FROM campaigns WHERE id < ?1 ORDER BY id DESC LIMIT ?2"
    } else {
        "SELECT id FROM campaigns WHERE status = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2"
    }
}

/// One campaign with its progress.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64, now: Millis) -> Result<Option<CampaignView>, StoreError> {
    type Names = (Option<String>, Option<String>, Option<String>, Millis);
    let Some(campaign) = campaigns::find(conn, id)? else {
        return Ok(None);
    };
    let (segment, template, topic, updated_at): Names = conn
        .prepare_cached(
            "SELECT s.name, t.name, o.name, c.updated_at FROM campaigns c
               LEFT JOIN segments s ON s.id = c.segment_id LEFT JOIN templates t ON t.id = c.template_id
               LEFT JOIN topics o ON o.id = c.topic_id
             WHERE c.id = ?1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let is_sending = campaign.status.is_sending();
    Ok(Some(CampaignView {
        updated_at,
        segment,
        template,
        topic,
        counts: campaigns::counts(conn, id)?,
        sums: campaigns::sums(conn, id)?,
        spent: spending::of_campaign(conn, id)?.1,
        rate_now: if is_sending { pace::rate_now(conn, id, now)? } else { None },
        next_due: if is_sending { messages::next_due(conn, id)? } else { None },
        campaign,
    }))
}

/// How many campaigns are in each of the states in which something happens or is awaited.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn live(conn: &Connection) -> Result<HashMap<CampaignStatus, i64>, StoreError> {
    let counted = conn
        .prepare_cached(
            "SELECT status, count(*) FROM campaigns
             WHERE status IN ('scheduled', 'launching', 'running', 'paused') GROUP BY status",
        )?
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(counted.into_iter().filter_map(|(word, n)| Some((CampaignStatus::parse(&word)?, n))).collect())
}

/// Whether there is any campaign.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_any(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn.prepare_cached("SELECT 1 FROM campaigns LIMIT 1")?.exists([])?)
}

/// What people are called, by their id: their attribute `name`, else `first_name`. Those without are left out.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn names(conn: &Connection, user_ids: &[i64]) -> Result<HashMap<i64, String>, StoreError> {
    let places = vec!["?"; user_ids.len()].join(", ");
    let found = conn
        .prepare(&format!(
            "SELECT id, coalesce(attributes ->> '$.name', attributes ->> '$.first_name') FROM users
             WHERE id IN ({places})"
        ))?
        .query_map(params_from_iter(user_ids), |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().filter_map(|(id, name)| Some((id, name?))).collect())
}

/// A test send of a campaign.
#[derive(Clone, Debug)]
pub struct TestSend {
    /// To whom.
    pub user_id: i64,
    /// The number.
    pub phone: Option<String>,
    /// Where it stands.
    pub status: String,
    /// Why, where that says something.
    pub reason: Option<String>,
    /// Twilio's code.
    pub error_code: Option<i64>,
    /// When it was made.
    pub at: Millis,
}

const TEST_SENDS: &str = "SELECT m.user_id, u.phone, m.status, m.reason, m.error_code, m.created_at
   FROM messages m JOIN users u ON u.id = m.user_id
   WHERE m.id > ?1 AND +m.campaign_id = ?2 AND m.occasion GLOB 'test:*' ORDER BY m.id DESC LIMIT ?3";

/// The newest test sends of a campaign, at most `limit`, looked for among the newest messages of all: a test is
/// looked at within minutes.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn test_sends(conn: &Connection, campaign_id: i64, limit: usize) -> Result<Vec<TestSend>, StoreError> {
    /// Messages that are looked through.
    const NEWEST: i64 = 2_000;
    let newest: Option<i64> = conn
        .prepare_cached("SELECT max(id) FROM messages")?
        .query_row([], |row| row.get(0))
        .optional()?
        .flatten();
    let found = conn
        .prepare_cached(TEST_SENDS)?
        .query_map((newest.unwrap_or(0) - NEWEST, campaign_id, limit as i64), |row| {
            Ok(TestSend {
                user_id: row.get(0)?,
                phone: row.get(1)?,
                status: row.get(2)?,
                reason: row.get(3)?,
                error_code: row.get(4)?,
                at: row.get(5)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(n: i64) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../../schema.sql")).unwrap();
        conn.execute_batch(&format!(
            "INSERT INTO templates (id, name, created_at, updated_at) VALUES (1, 'Hello', 0, 0);
             INSERT INTO segments (id, name, definition, created_at, updated_at) VALUES (1, 'All', '{{}}', 0, 0);
             INSERT INTO campaigns (name, status, kind, channel, template_id, segment_id, created_at, updated_at)
               WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})
               SELECT 'c' || i, CASE WHEN i % 100 = 1 THEN 'running' WHEN i % 100 = 2 THEN 'launching' ELSE 'finished' END,
                      'marketing', 'sms', 1, 1, 0, 0 FROM n;
             INSERT INTO campaign_counts (campaign_id, status, n) SELECT id, 'queued', 5 FROM campaigns;"
        ))
        .unwrap();
        conn
    }

    #[test]
    fn a_page_of_two_states_is_in_order_and_goes_on_where_it_ended() {
        let conn = file(1_000);
        let sending = [CampaignStatus::Running, CampaignStatus::Launching];
        let first = list(&conn, &sending, (i64::MAX, 3), 0).unwrap();
        assert_eq!(first.iter().map(|view| view.campaign.id).collect::<Vec<_>>(), [902, 901, 802]);
        let next = list(&conn, &sending, (802, 3), 0).unwrap();
        assert_eq!(next.iter().map(|view| view.campaign.id).collect::<Vec<_>>(), [801, 702, 701]);
        let all = list(&conn, &[], (i64::MAX, 2), 0).unwrap();
        assert_eq!(all.iter().map(|view| view.campaign.id).collect::<Vec<_>>(), [1_000, 999]);
        assert_eq!((all[0].segment.as_deref(), all[0].template.as_deref()), (Some("All"), Some("Hello")));
        assert_eq!(all[0].counts[0].n, 5);
    }

    #[test]
    fn the_live_ones_are_counted_by_state() {
        let counted = live(&file(1_000)).unwrap();
        assert_eq!((counted[&CampaignStatus::Running], counted[&CampaignStatus::Launching]), (10, 10));
        assert_eq!(counted.len(), 2);
    }

    #[test]
    fn no_list_of_campaigns_scans_or_sorts() {
        let conn = file(1);
        for (sql, index) in [
            (ids_sql(0), "SEARCH campaigns USING INTEGER PRIMARY KEY"),
            (ids_sql(1), "SEARCH campaigns USING COVERING INDEX campaigns_status"),
            (TEST_SENDS, "SEARCH m USING INTEGER PRIMARY KEY"),
        ] {
            let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let nulls = vec![rusqlite::types::Value::Null; statement.parameter_count()];
            let steps = statement.query_map(params_from_iter(nulls), |row| row.get::<_, String>(3)).unwrap();
            let plan = steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
            assert!(plan.contains(index), "{plan}");
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{plan}");
        }
    }
}
