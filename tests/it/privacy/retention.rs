//! Retention takes what is over and nothing else, and what is left still works: repeated webhooks, replay, proof,
//! the feed of events.

use std::sync::atomic::AtomicBool;

use event_stream_engine::domain::consent::{Consent, KeywordTable};
use event_stream_engine::domain::retention::RetentionDays;
use event_stream_engine::privacy;
use event_stream_engine::store::outcomes::RetryPolicy;
use event_stream_engine::store::retention::{self, Class};
use event_stream_engine::store::users::UserKey;
use event_stream_engine::store::{StoreError, cursors, events};
use event_stream_engine::{inbound, metrics::Metrics};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Engine, SENDER, phone};

const DAY: i64 = 86_400_000;
const FOR_GOOD: RetentionDays = RetentionDays {
    raw_webhooks_days: 0,
    bodies_days: 0,
    events_days: 0,
    import_issues_days: 0,
    import_changes_days: 0,
    trigger_data_days: 0,
};

async fn retain(engine: &Engine, days: RetentionDays) -> u64 {
    privacy::retain(&engine.store, &days, &Metrics::default(), &AtomicBool::new(false)).await.unwrap()
}

fn proof(engine: &Engine) -> Value {
    let (key, now) = (engine.store.key().clone(), engine.clock.now());
    let whom = UserKey::Phone(phone(0));
    engine.store.read_here(|conn| privacy::proof(conn, &key, &whom, now)).unwrap().unwrap()
}

/// Somebody who got a message and wrote STOP, ten days ago.
async fn engine_of_ten_days() -> Engine {
    let mut engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({"name": "Ana"})).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.settle().await;
    engine.post("/webhooks/twilio/inbound", &stop(&engine)).await;
    engine.clock.advance(10 * DAY);
    engine
}

fn stop(engine: &Engine) -> [(&'static str, &str); 5] {
    [
        ("MessageSid", "SM00000000000000000000000000000077"),
        ("AccountSid", engine.account_sid()),
        ("From", "+12125550101"),
        ("To", SENDER),
        ("Body", "STOP"),
    ]
}

#[tokio::test]
async fn raw_webhooks_go_and_a_repeated_one_is_still_known_and_a_replay_passes_over_it() {
    let engine = engine_of_ten_days().await;
    assert_eq!(retain(&engine, RetentionDays { raw_webhooks_days: 11, ..FOR_GOOD }).await, 0);
    let removed = retain(&engine, RetentionDays { raw_webhooks_days: 9, ..FOR_GOOD }).await;
    assert!(removed >= 2, "{removed}");
    let left: i64 = engine.value(
        "SELECT (SELECT count(*) FROM inbound WHERE params IS NOT NULL)
              + (SELECT count(*) FROM receipts WHERE params IS NOT NULL)",
    );
    assert_eq!(left, 0);
    let before: i64 = engine.value("SELECT count(*) FROM events");
    assert_eq!(engine.post("/webhooks/twilio/inbound", &stop(&engine)).await.0, 200);
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM events"), before, "a repeated STOP changes nothing");
    let replayed = engine
        .store
        .write::<_, _, StoreError>(|tx| {
            let policy = RetryPolicy { random: 0.5, ..RetryPolicy::of(&crate::support::rules(), 3) };
            inbound::replay(tx, Some(0), (0, 0), &KeywordTable::default(), &policy)
        })
        .await
        .unwrap();
    assert_eq!((replayed.inbound, replayed.receipts), (0, 0));
    let proof = proof(&engine);
    assert_eq!(proof["inbound"][0]["params_missing"]["because"], "retention");
    assert!(proof["inbound"][0]["params_missing"]["at"]["utc"].as_str().unwrap().starts_with("2026-12-03"));
    assert_eq!(proof["messages"][0]["receipts"][0]["params_missing"]["because"], "retention");
    assert_eq!(
        (&proof["inbound"][0]["body"], &proof["stops"][0]["seconds_to_block"]),
        (&json!("STOP"), &json!(0.0))
    );
    engine.check_and_stop().await;
}

#[tokio::test]
async fn texts_go_when_their_message_is_over_and_those_that_wait_are_come_back_to() {
    let engine = engine_of_ten_days().await;
    engine
        .change(
            "INSERT INTO messages (user_id, kind, channel, lane, due_at, created_at, body)
             VALUES (1, 'transactional', 'sms', -3, 9e15, 0, 'later')",
        )
        .await;
    let days = RetentionDays { raw_webhooks_days: 9, bodies_days: 9, ..FOR_GOOD };
    retain(&engine, days).await;
    let bodies = "SELECT group_concat(coalesce(body, '-')) FROM (SELECT body FROM messages ORDER BY id)";
    assert_eq!(engine.value::<String>(bodies), "-,later");
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM inbound WHERE body IS NOT NULL"), 0);
    let shown = proof(&engine);
    assert_eq!(shown["messages"][1]["body_missing"]["because"], "retention");
    assert_eq!(shown["messages"][1]["status"], "delivered");
    // It is sent long after it was queued: young, until as many days have gone by since.
    let now = engine.clock.now();
    engine.change(&format!("UPDATE messages SET status = 'delivered', due_at = {now} WHERE id = 2")).await;
    engine.clock.advance(2 * DAY);
    retain(&engine, days).await;
    retain(&engine, days).await;
    assert_eq!(engine.value::<String>(bodies), "-,later");
    engine.clock.advance(10 * DAY);
    retain(&engine, days).await;
    retain(&engine, days).await;
    assert_eq!(engine.value::<String>(bodies), "-,-");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn events_go_from_the_oldest_end_as_far_as_those_who_follow_them_have_come() {
    let engine = engine_of_ten_days().await;
    engine.add(&phone(1), Consent::OptIn, json!({})).await;
    let count = || engine.value::<i64>("SELECT count(*) FROM events");
    let all = count();
    let days = RetentionDays { events_days: 9, ..FOR_GOOD };
    engine.store.write::<_, _, StoreError>(|tx| cursors::set(tx, events::POLL, 2)).await.unwrap();
    assert_eq!(retain(&engine, days).await, 2);
    engine
        .change(
            "UPDATE cursors SET position = 1 << 40 WHERE name = 'poll';
             INSERT INTO webhook_endpoints (id, url, secret, position, created_at, updated_at)
               VALUES (1, 'https://example.com', zeroblob(1), 5, 0, 0);
             INSERT INTO webhook_deliveries (endpoint_id, event_id, event_type, status, next_at, created_at, updated_at)
               VALUES (1, 4, 'user.created', 'pending', 0, 0, 0);",
        )
        .await;
    assert_eq!(retain(&engine, days).await, 1, "a delivery that is tried again is waited for");
    engine.change("DELETE FROM webhook_deliveries").await;
    assert_eq!(retain(&engine, days).await, 2, "and so is the endpoint's place");
    engine.change("UPDATE webhook_endpoints SET is_enabled = 0").await;
    engine.store.write::<_, _, StoreError>(move |tx| cursors::set(tx, events::POLL, all)).await.unwrap();
    retain(&engine, days).await;
    let oldest: i64 = engine.value("SELECT min(at) FROM events");
    assert_eq!(oldest, engine.clock.now(), "only today's are left");
    assert!(count() >= 1);
    let message = proof(&engine)["messages"][0].clone();
    assert_eq!(message["status"], "delivered", "a message outlives its events");
    let chain = engine.store.read_here(|conn| events::of_message(conn, Some(3))).unwrap();
    assert!(chain.is_empty());
    // The newest stays however old it is: by it readers know what they missed.
    engine.clock.advance(100 * DAY);
    engine.store.write::<_, _, StoreError>(move |tx| cursors::set(tx, events::POLL, 1 << 40)).await.unwrap();
    retain(&engine, days).await;
    assert_eq!(count(), 1);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn rows_of_files_data_of_triggers_and_old_answers_go() {
    let engine = super::full_engine().await;
    engine.clock.advance(10 * DAY);
    engine
        .change(
            "INSERT INTO triggers (id, type, occurred_at, user_id, data, send_at, received_at)
                   VALUES ('t2', 'order.paid', 0, 1, '{\"a\":1}', 9000000000000, 0)",
        )
        .await;
    let days = RetentionDays { import_issues_days: 9, trigger_data_days: 9, ..FOR_GOOD };
    retain(&engine, days).await;
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM import_issues"), 0);
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM imports"), 1);
    assert_eq!(engine.value::<String>("SELECT group_concat(id) FROM triggers WHERE data <> '{}'"), "t2");
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM idempotency_keys"), 0);
    engine.simulator.stop().await;
}

#[tokio::test]
async fn a_step_is_short_goes_on_where_it_stood_and_what_is_kept_for_good_stays() {
    let engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({})).await;
    engine
        .change(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO receipts (sid, status, state, params, received_at)
             SELECT 'SM' || i, 'sent', 'unmatched', '[[\"To\",\"x\"]]', 0 FROM n",
        )
        .await;
    assert_eq!(retain(&engine, FOR_GOOD).await, 0);
    let (mut steps, mut removed) = (0, 0);
    loop {
        let step = engine
            .store
            .write::<_, _, StoreError>(|tx| retention::step(tx, Class::RawWebhooks, 1, 1))
            .await
            .unwrap();
        (steps, removed) = (steps + 1, removed + step.removed);
        let left: i64 = engine.value("SELECT count(*) FROM receipts WHERE params IS NOT NULL");
        assert_eq!(left as u64, 5000 - removed);
        if step.is_done {
            break;
        }
    }
    assert!(steps > 1 && removed == 5000, "{steps} steps, {removed} rows");
    engine.check_and_stop().await;
}

/// A row of each kind as somebody may find it: its age in days, and whether it may go.
#[derive(Clone, Copy, Debug)]
struct Row {
    age: i64,
    is_open: bool,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0..20i64, any::<bool>()).prop_map(|(age, is_open)| Row { age, is_open }), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_younger_or_still_open_is_touched_and_all_else_goes(mut rows in rows(), limit in 1..20u32) {
        // Ids are in order of time; what a catch-up dates back is seen in the tests above.
        rows.sort_by_key(|row| -row.age);
        actix_web::rt::System::new().block_on(async move {
            let engine = Engine::start().await;
            engine.add(&phone(0), Consent::OptIn, json!({})).await;
            engine.clock.advance(100 * DAY);
            let now = engine.clock.now();
            for (n, row) in rows.iter().enumerate() {
                let at = now - row.age * DAY - 1;
                let (state, status) = if row.is_open { ("pending", "queued") } else { ("done", "delivered") };
                engine.change(&format!(
                    "INSERT INTO inbound (message_sid, state, source, body, params, received_at)
                       VALUES ('SM{n}', '{state}', 'webhook', 'x', '[]', {at});
                     INSERT INTO receipts (sid, status, state, params, received_at)
                       VALUES ('SM{n}', 'sent', '{state}', '[]', {at});
                     INSERT INTO messages (user_id, status, kind, channel, lane, due_at, created_at, body)
                       VALUES (1, '{status}', 'transactional', 'sms', -3, {at}, {at}, 'x');"
                )).await;
            }
            let days = RetentionDays { raw_webhooks_days: limit, bodies_days: limit, ..FOR_GOOD };
            retain(&engine, days).await;
            for (n, row) in rows.iter().enumerate() {
                let is_kept = row.is_open || row.age < i64::from(limit);
                let id = n + 1;
                for sql in [
                    format!("SELECT params IS NOT NULL FROM inbound WHERE message_sid = 'SM{n}'"),
                    format!("SELECT body IS NOT NULL FROM inbound WHERE message_sid = 'SM{n}'"),
                    format!("SELECT params IS NOT NULL FROM receipts WHERE sid = 'SM{n}'"),
                    format!("SELECT body IS NOT NULL FROM messages WHERE id = {id}"),
                ] {
                    assert_eq!(engine.value::<bool>(&sql), is_kept, "{row:?}, limit {limit}: {sql}");
                }
            }
            engine.simulator.stop().await;
        });
    }
}
