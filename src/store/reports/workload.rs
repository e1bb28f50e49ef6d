//! How much waits and how far the campaigns at work have come: one small read, taken every second.

use rusqlite::Connection;

use crate::store::StoreError;

/// Single messages that wait are counted up to here.
pub const MOST_SINGLE: i64 = 10_000;
/// Campaigns whose pace is followed.
const MOST_CAMPAIGNS: i64 = 100;

/// What there is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Messages of campaigns that wait, for their turn or for a reason of their own.
    pub queued: i64,
    /// Of these, for a reason: the morning, a limit of the day …
    pub deferred: i64,
    /// Single messages that wait, up to [`MOST_SINGLE`] and one.
    pub single: i64,
    /// Campaigns that send: id, and messages that Twilio took so far.
    pub campaigns: Vec<(i64, i64)>,
}

/// Reads it. By the tables of counts and the partial index of the queue.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn workload(conn: &Connection) -> Result<Workload, StoreError> {
    let (queued, deferred) = conn
        .prepare_cached(
            "SELECT coalesce(sum(n.n), 0), coalesce(sum(n.n) FILTER (WHERE n.reason <> ''), 0)
             FROM campaigns c JOIN campaign_counts n ON n.campaign_id = c.id AND n.status = 'queued'
             WHERE c.status IN ('scheduled', 'launching', 'running', 'paused')",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let single = conn
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM messages WHERE status = 'queued' AND lane < 0 LIMIT ?1)",
        )?
        .query_row([MOST_SINGLE + 1], |row| row.get(0))?;
    let campaigns = conn
        .prepare_cached(
            "SELECT c.id, coalesce(s.accepted, 0) FROM campaigns c
               LEFT JOIN campaign_sums s ON s.campaign_id = c.id
             WHERE c.status IN ('scheduled', 'launching', 'running', 'paused')
               AND (c.status = 'launching' OR c.status = 'running') ORDER BY c.id DESC LIMIT ?1",
        )?
        .query_map([MOST_CAMPAIGNS], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(Workload { queued, deferred, single, campaigns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reports::plan_of;

    #[test]
    fn what_waits_is_counted_with_and_without_a_reason_and_only_of_campaigns_that_are_not_over() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../../schema.sql")).unwrap();
        conn.execute_batch(
            "INSERT INTO templates (id, name, created_at, updated_at) VALUES (1, 't', 0, 0);
             INSERT INTO segments (id, name, definition, created_at, updated_at) VALUES (1, 's', '{}', 0, 0);
             INSERT INTO campaigns (id, name, status, kind, channel, template_id, segment_id, created_at, updated_at)
               VALUES (1, 'a', 'running', 'marketing', 'sms', 1, 1, 0, 0),
                      (2, 'b', 'paused', 'marketing', 'sms', 1, 1, 0, 0),
                      (3, 'c', 'cancelled', 'marketing', 'sms', 1, 1, 0, 0);
             INSERT INTO campaign_counts VALUES (1, 'queued', '', 0, 5), (1, 'queued', 'quiet_hours', 0, 2),
               (1, 'sent', '', 0, 9), (2, 'queued', '', 0, 10), (3, 'queued', '', 0, 100);
             INSERT INTO campaign_sums (campaign_id, accepted) VALUES (1, 9);
             INSERT INTO users (id, phone, attributes, created_at, updated_at)
               VALUES (1, '+14155550101', jsonb('{}'), 0, 0);
             INSERT INTO messages (user_id, kind, channel, lane, due_at, created_at)
               VALUES (1, 'transactional', 'sms', -3, 0, 0);",
        )
        .unwrap();
        let expected = Workload { queued: 17, deferred: 2, single: 1, campaigns: vec![(1, 9)] };
        assert_eq!(workload(&conn).unwrap(), expected);
        let plan = plan_of(
            &conn,
            "SELECT count(*) FROM (SELECT 1 FROM messages WHERE status = 'queued' AND lane < 0 LIMIT 9)",
        );
        assert!(plan.contains("messages_queue"), "{plan}");
    }
}
