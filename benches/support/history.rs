//! A data file with a past: people, finished campaigns, and for each message its hand-over, its events and its
//! receipts. Rows are made by `INSERT … SELECT` without durability, indexes last; SIDs are random as Twilio's.

use std::path::Path;
use std::time::Instant;

use event_stream_engine::clock::Clock;
use event_stream_engine::store::StorePaths;
use rusqlite::Connection;

use super::{bare, people};

/// People in a file at most; more messages make more campaigns.
pub const MOST_PEOPLE: u64 = 1_000_000;
/// People who share the attribute `cohort`, spread over the whole table.
pub const COHORT: u64 = 2_000;

/// People in a file of so many messages.
pub fn people_of(messages: u64) -> u64 {
    messages.min(MOST_PEOPLE)
}

/// The number of cohorts that a file of so many messages has.
pub fn cohorts_of(messages: u64) -> u64 {
    (people_of(messages) / COHORT).max(1)
}

/// Makes the file in `dir`. Returns the seconds that it took.
pub async fn make(dir: &Path, clock: &Clock, messages: u64) -> f64 {
    let start = Instant::now();
    let paths = StorePaths::inside(dir);
    let store = super::open_at(dir, clock).await;
    let users = people_of(messages);
    people::draft(&store).await;
    store.close().await.unwrap();
    let conn = bare::connect(&paths.path);
    conn.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 50000; PRAGMA cache_size = -400000",
    )
    .unwrap();
    let indexes = without_indexes(&conn);
    add_people(&conn, users);
    add_campaigns(&conn, messages.div_ceil(users));
    // A transaction each, so that the log is moved into the file on the way.
    const PIECE: u64 = 500_000;
    for from in (0..messages).step_by(PIECE as usize) {
        conn.execute_batch("BEGIN").unwrap();
        add_messages(&conn, users, from, messages.min(from + PIECE));
        conn.execute_batch("COMMIT").unwrap();
    }
    add_counts(&conn);
    for sql in indexes {
        conn.execute_batch(&sql).unwrap();
    }
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    start.elapsed().as_secs_f64()
}

fn without_indexes(conn: &Connection) -> Vec<String> {
    let mut select = conn
        .prepare(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL
             AND tbl_name IN ('messages', 'attempts', 'events', 'inbound')",
        )
        .unwrap();
    let found: Vec<(String, String)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    for (name, _) in &found {
        conn.execute_batch(&format!("DROP INDEX {name}")).unwrap();
    }
    found.into_iter().map(|(_, sql)| sql).collect()
}

fn add_people(conn: &Connection, n: u64) {
    conn.execute(
        "INSERT INTO users (phone, country, consent, attributes, created_at, updated_at)
         WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
         SELECT printf('+1%s%07d', substr(?2, i % 12 * 3 + 1, 3), 2000000 + i / 12), 'US', 'opt_in',
                jsonb_object('name', 'Person ' || i, 'city', 'City ' || (i % 1000), 'age', 18 + i % 60,
                             'plan', CASE i % 3 WHEN 0 THEN 'basic' WHEN 1 THEN 'plus' ELSE 'pro' END,
                             'is_member', i % 2 = 0, 'cohort', i % ?3),
                0, 0
         FROM n",
        (n as i64, people::AREAS, (n / COHORT).max(1) as i64),
    )
    .unwrap();
    conn.execute("UPDATE user_counts SET n = ?1 WHERE consent = 'opt_in'", [n as i64]).unwrap();
    conn.execute(
        "INSERT INTO inbound (message_sid, state, source, user_id, from_address, to_address, channel, kind, body,
                              params, received_at)
         SELECT 'SM' || lower(hex(randomblob(16))), 'done', 'webhook', id, phone, '+14155550100', 'sms',
                CASE id % 1000 WHEN 0 THEN 'help' ELSE 'message' END, 'Is the offer still open?',
                '[[\"Body\",\"Is the offer still open?\"]]', 1795000000000 + id
         FROM users WHERE id % 10 = 0",
        [],
    )
    .unwrap();
}

fn add_campaigns(conn: &Connection, n: u64) {
    for at in 1..=n {
        conn.execute(
            "INSERT INTO campaigns (name, status, kind, channel, topic_id, template_id, template_version, segment_id,
                                    definition, created_at, updated_at, launched_at, finished_at)
             VALUES ('Past ' || ?1, 'finished', 'marketing', 'sms', 1, 1, 1, 1, '{\"all\":[]}', 0, 0, 0, 1)",
            [at as i64],
        )
        .unwrap();
    }
}

/// One in fifty failed, one in fifty was skipped, the rest arrived. Campaign 1 is the draft.
fn add_messages(conn: &Connection, users: u64, from: u64, to: u64) {
    let range = (from as i64, to as i64);
    conn.execute(
        "INSERT INTO messages (id, campaign_id, user_id, status, reason, kind, channel, lane, due_at, attempts,
                               sender_id, topic_id, template_id, template_version, body, parts, sid, error_code,
                               is_simulated, last_event_id, created_at, accepted_at, sent_at, delivered_at)
         WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
         SELECT i + 1, 2 + i / ?3, 1 + i % ?3,
                CASE i % 50 WHEN 7 THEN 'failed' WHEN 8 THEN 'skipped' ELSE 'delivered' END,
                CASE i % 50 WHEN 8 THEN 'quiet_hours' END,
                'marketing', 'sms', 2 + i / ?3, 1795000000000, 1, 1, 1, 1, 1,
                'Hi Person ' || (i % ?3) || ', the basic offer ends tonight. Reply STOP to leave.', 1,
                'SM' || lower(hex(randomblob(16))), CASE i % 50 WHEN 7 THEN 30003 END, 1, 3 * (i + 1),
                1795000000000 + i / 100, 1795000000000 + i / 100, 1795000000500 + i / 100, 1795000001000 + i / 100
         FROM n",
        (range.0, range.1, users as i64),
    )
    .unwrap();
    conn.execute(
        "INSERT INTO attempts (message_id, number, sender_id, outcome, started_at, answered_at, http_status, sid, status)
         SELECT id, 1, 1, 'accepted', accepted_at, accepted_at, 201, sid, 'delivered'
         FROM messages WHERE id > ?1 AND id <= ?2",
        range,
    )
    .unwrap();
    conn.execute(
        "INSERT INTO events (id, type, at, user_id, campaign_id, message_id, previous_id, data)
         SELECT 3 * m.id - 2 + s.at, s.type, m.created_at, m.user_id, m.campaign_id, m.id,
                CASE s.at WHEN 0 THEN NULL ELSE 3 * m.id - 3 + s.at END,
                CASE s.at WHEN 0 THEN '{\"sid\":\"' || m.sid || '\"}' ELSE '{}' END
         FROM messages m
         JOIN (SELECT 0 AS at, 'message.accepted' AS type UNION ALL SELECT 1, 'message.sent'
               UNION ALL SELECT 2, 'message.delivered') s
         WHERE m.id > ?1 AND m.id <= ?2",
        range,
    )
    .unwrap();
    conn.execute(
        "INSERT INTO receipts (sid, status, error_code, state, message_id, attempt, params, received_at)
         SELECT m.sid, s.status, 0, 'done', m.id, 1, NULL, m.created_at
         FROM messages m JOIN (SELECT 'sent' AS status UNION ALL SELECT 'delivered') s
         WHERE m.id > ?1 AND m.id <= ?2 ORDER BY m.sid",
        range,
    )
    .unwrap();
}

fn add_counts(conn: &Connection) {
    conn.execute_batch(
        "INSERT INTO campaign_counts (campaign_id, status, reason, error_code, n)
         SELECT campaign_id, status, coalesce(reason, ''), coalesce(error_code, 0), count(*)
         FROM messages GROUP BY 1, 2, 3, 4;
         INSERT INTO campaign_sums (campaign_id, parts, accepted, first_accepted_at, last_accepted_at)
         SELECT campaign_id, sum(parts), count(*), min(accepted_at), max(accepted_at) FROM messages GROUP BY 1;
         UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM events) WHERE name = 'events';",
    )
    .unwrap();
}
