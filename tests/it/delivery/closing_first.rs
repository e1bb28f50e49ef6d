//! Whose window closes first is sent to first, and nobody is lost who could have been reached.

use event_stream_engine::campaign;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::plan::Timing;
use event_stream_engine::domain::quiet_hours::{BY_REGION, Policy};
use event_stream_engine::store::messages::{self, NEVER_CLOSES};
use event_stream_engine::store::{Store, StoreError, StorePaths};
use serde_json::{Value, json};

use super::failing;
use crate::support::{Engine, Wanted, presets};

/// The last first: a launch that went by the list would write to the west coast while the east goes to bed.
/// It is Monday noon in New York. +1 numbers close at 20:00, others at 21:00 of their clocks.
const PEOPLE: [(&str, Option<&str>, &str); 8] = [
    ("+12135550101", None, "2026-11-24T04:00:00Z"),
    ("+13035550101", None, "2026-11-24T03:00:00Z"),
    ("+13125550101", None, "2026-11-24T02:00:00Z"),
    ("+12125550101", None, "2026-11-24T01:00:00Z"),
    ("+12135550102", Some("America/Halifax"), "2026-11-24T00:00:00Z"),
    ("+12135550103", Some("America/St_Johns"), "2026-11-23T23:30:00Z"),
    ("+442079460101", None, "2026-11-23T21:00:00Z"),
    // Night there; its next window is the last to end.
    ("+94771234567", None, "2026-11-24T15:30:00Z"),
];

fn millis(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

async fn freeze(engine: &Engine) {
    campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
}

async fn add(engine: &Engine, phone: &str, timezone: Option<&str>) -> i64 {
    let attributes = timezone.map_or(json!({}), |zone| json!({"timezone": zone}));
    engine.add(phone, Consent::OptIn, attributes).await
}

/// Ticks `times`, moving the clock before each.
async fn run(engine: &mut Engine, times: usize, millis: i64) {
    for _ in 0..times {
        engine.clock.advance(millis);
        engine.dispatcher.tick().await.unwrap();
        engine.dispatcher.settle().await;
    }
}

fn sent(engine: &Engine) -> Vec<String> {
    engine.simulator.messages().into_iter().map(|message| message.to).collect()
}

#[tokio::test]
async fn whose_window_closes_first_is_sent_to_first() {
    let mut engine = Engine::start_with(Wanted { rate: 1.0, ..Wanted::default() }).await;
    for (phone, timezone, _) in PEOPLE {
        add(&engine, phone, timezone).await;
    }
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    freeze(&engine).await;
    for (phone, _, ends) in PEOPLE {
        let closes_at: i64 = engine.value(&format!(
            "SELECT m.closes_at FROM messages m JOIN users u ON u.id = m.user_id WHERE u.phone = '{phone}'"
        ));
        assert_eq!(closes_at, millis(ends), "{phone}");
    }
    run(&mut engine, 12, 1_000).await;
    let mut order: Vec<&str> = PEOPLE.iter().map(|(phone, ..)| *phone).rev().collect();
    assert_eq!(order.remove(0), "+94771234567");
    assert_eq!(sent(&engine), order);
    assert_eq!(engine.message("u.phone = '+94771234567'").1, "quiet_hours");
    engine.clock.set("2026-11-24T02:30:01Z".parse().unwrap());
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&8));
    engine.check_and_stop().await;
}

/// Forty people in Los Angeles, forty in New York behind them, ten minutes before New York closes, one message
/// in ten seconds and a deadline in an hour: by the list, thirty would expire.
#[tokio::test]
async fn nobody_expires_who_could_have_been_sent_to() {
    let mut engine = Engine::start_with(Wanted { rate: 0.1, ..Wanted::default() }).await;
    for (area, n) in [(213, 40), (212, 40)] {
        for number in 101..101 + n {
            add(&engine, &format!("+1{area}5550{number}"), None).await;
        }
    }
    engine.clock.set("2026-11-24T00:50:00Z".parse().unwrap());
    let id = engine.draft(|plan| plan.expires_after_hours = Some(1.0)).await;
    engine.launch(id).await;
    freeze(&engine).await;
    run(&mut engine, 90, 10_100).await;
    let sent = sent(&engine);
    assert_eq!(sent.len(), 80);
    assert!(sent[..40].iter().all(|phone| phone.starts_with("+1212")), "{sent:?}");
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&80), "{:?}", engine.reasons(id));
    engine.check_and_stop().await;
}

/// Each row's window as it was frozen, beside the one that its person is judged by.
fn assert_ends_are_right(engine: &Engine, quiet_hours: &Value) {
    let (presets, policy) = (presets(), Policy::parse(quiet_hours).unwrap());
    let timing =
        Timing { kind: Kind::Marketing, policy: &policy, zone: None, local_start: None, presets: &presets };
    let rows: Vec<(i64, i64)> = engine
        .store
        .read_here(|conn| {
            let rows = conn
                .prepare("SELECT user_id, closes_at FROM messages WHERE status = 'queued'")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            Ok::<_, StoreError>(rows)
        })
        .unwrap();
    assert!(rows.len() > 4, "{rows:?}");
    for (user_id, closes_at) in rows {
        let person = engine.store.read_here(|conn| messages::person(conn, user_id, None)).unwrap().unwrap();
        let expected = timing.closes_at(&person.whereabouts(), engine.clock.now());
        assert_eq!(closes_at, expected.unwrap_or(NEVER_CLOSES), "{person:?} {quiet_hours}");
    }
}

#[tokio::test]
async fn every_way_to_say_hours_freezes_the_window_that_the_gate_sees() {
    for quiet_hours in
        [json!(null), json!("off"), json!({"start": "19:00", "end": "10:00"}), json!({"preset": BY_REGION})]
    {
        let engine = Engine::start().await;
        for (phone, timezone, _) in PEOPLE {
            add(&engine, phone, timezone).await;
        }
        for (phone, attributes) in [
            ("+13055550101", json!({})),
            ("+12125550102", json!({"state": "Florida"})),
            ("+12125550103", json!({"region": "US-AL", "timezone": "Chicago"})),
            ("+12125550104", json!({"state": 7, "timezone": {"deep": true}})),
            ("+18005550101", json!({})),
            ("+33612345678", json!({"region": "FL"})),
        ] {
            engine.add(phone, Consent::OptIn, attributes).await;
        }
        let said = quiet_hours.clone();
        let id = engine.draft(move |plan| plan.quiet_hours = said).await;
        engine.launch(id).await;
        freeze(&engine).await;
        assert_ends_are_right(&engine, &quiet_hours);
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn what_failed_is_queued_again_with_todays_window() {
    let mut engine = Engine::start().await;
    for (phone, timezone, _) in &PEOPLE[..7] {
        add(&engine, phone, *timezone).await;
    }
    let id = engine.draft(|_| {}).await;
    engine.simulator.set_faults(failing(99_999, None));
    engine.launch(id).await;
    engine.settle().await;
    engine.clock.advance(86_400_000);
    campaign::retry_failed(&engine.store, &presets(), id, "test".to_owned()).await.unwrap();
    let least: i64 = engine.value("SELECT min(closes_at) FROM messages WHERE status = 'queued'");
    assert_eq!(least, millis("2026-11-24T21:00:00Z"));
    assert_ends_are_right(&engine, &json!(null));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_message_that_is_tried_again_keeps_its_place() {
    let mut engine = Engine::start_with(Wanted { rate: 1.0, ..Wanted::default() }).await;
    add(&engine, "+12135550101", None).await;
    add(&engine, "+12125550101", None).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    freeze(&engine).await;
    engine.simulator.set_faults(failing(20429, Some(1)));
    run(&mut engine, 3, 1_000).await;
    let closes_at: i64 = engine.value(
        "SELECT m.closes_at FROM messages m JOIN users u ON u.id = m.user_id WHERE u.phone = '+12125550101'",
    );
    assert_eq!(closes_at, millis("2026-11-24T01:00:00Z"));
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&2));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn who_waits_for_a_local_time_keeps_the_window_that_follows_it() {
    let mut engine = Engine::start().await;
    for (phone, ..) in &PEOPLE[..4] {
        add(&engine, phone, None).await;
    }
    let id = engine
        .draft(|plan| {
            let (at, zone) = ("2026-11-24T10:00:00", "America/New_York");
            plan.schedule = Some((at.to_owned(), zone.to_owned()));
            plan.is_local_to_recipient = true;
            plan.starts_at = Some(campaign::resolve_start(at, zone, true).unwrap());
        })
        .await;
    engine.launch(id).await;
    engine.clock.set("2026-11-23T20:00:00Z".parse().unwrap());
    engine.drain().await;
    campaign::tick(&engine.store, &engine.setup).await.unwrap();
    engine.drain().await;
    for (phone, _, ends) in &PEOPLE[..4] {
        let (status, reason, _) = engine.message(&format!("u.phone = '{phone}'"));
        assert_eq!((status.as_str(), reason.as_str()), ("queued", "local_time"), "{phone}");
        let closes_at: i64 = engine.value(&format!(
            "SELECT m.closes_at FROM messages m JOIN users u ON u.id = m.user_id WHERE u.phone = '{phone}'"
        ));
        assert_eq!(closes_at, millis(ends) + 86_400_000, "{phone}");
    }
    engine.check_and_stop().await;
}

/// Virtual-machine steps of one look for due messages among `n` that wait in forty places; those whose windows
/// close first are not due yet.
async fn steps_among(n: u32) -> u64 {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let clock = event_stream_engine::clock::Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
    let store = Store::open(StorePaths::inside(dir.path()), clock).unwrap();
    store
        .write::<_, _, StoreError>(move |tx| {
            Ok(tx.conn().execute_batch(&format!(
                "INSERT INTO users (id, phone, attributes, created_at, updated_at)
                 VALUES (1, '+12125550101', jsonb('{{}}'), 0, 0);
                 INSERT INTO messages (user_id, occasion, kind, channel, lane, due_at, closes_at, created_at)
                 WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {n})
                 SELECT 1, i, 'marketing', 'sms', 7, (1 - i % 40 / 20) * 1000000, i % 40, 0 FROM n;"
            ))?)
        })
        .await
        .unwrap();
    let conn = rusqlite::Connection::open(dir.path().join("ese.db")).unwrap();
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    messages::due(&conn, 7, 1_000, 64).unwrap();
    conn.progress_handler(
        1,
        Some(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            false
        }),
    )
    .unwrap();
    assert_eq!(messages::due(&conn, 7, 1_000, 64).unwrap().len(), 64);
    messages::next_due(&conn, 7).unwrap();
    steps.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_look_for_who_is_next_costs_the_same_however_many_wait() {
    let (few, many) = (steps_among(4_000).await, steps_among(40_000).await);
    assert!(few > 100, "{few}");
    assert!(many <= few + few / 20, "{few} steps among 4,000, {many} among 40,000");
}
