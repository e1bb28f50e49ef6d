//! How fast, how many a day, and who comes first.

use std::collections::BTreeMap;

use event_stream_engine::campaign;
use event_stream_engine::domain::message::Kind;
use serde_json::json;

use super::{launched, nobody_twice};
use crate::support::{Engine, Wanted, phone};

const DAY: i64 = 86_400;

/// Ticks every 50 ms of the clock for `seconds`.
async fn run_for(engine: &mut Engine, seconds: i64) {
    for _ in 0..seconds * 20 {
        engine.clock.advance(50);
        engine.dispatcher.tick().await.unwrap();
        engine.dispatcher.settle().await;
    }
}

async fn ready(engine: &mut Engine) {
    campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    engine.dispatcher.tick().await.unwrap();
}

#[tokio::test]
async fn a_senders_rate_is_kept_by_the_clock() {
    let mut engine = Engine::start_with(Wanted { rate: 2.0, ..Wanted::default() }).await;
    launched(&engine, 30).await;
    ready(&mut engine).await;
    for second in 1..=10 {
        run_for(&mut engine, 1).await;
        let sent = engine.simulator.messages().len() as i64;
        assert!((2 * second - 1..=2 * second).contains(&sent), "{sent} after {second} s at 2 a second");
    }
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_slowest_of_campaign_and_sender_decides_and_a_change_holds_at_once() {
    let mut engine = Engine::start_with(Wanted { rate: 100.0, ..Wanted::default() }).await;
    engine.add_many(30).await;
    let id = engine.draft(|plan| plan.rate_limit_per_second = Some(1.0)).await;
    engine.launch(id).await;
    ready(&mut engine).await;
    run_for(&mut engine, 5).await;
    let slow = engine.simulator.messages().len();
    assert!((4..=5).contains(&slow), "{slow}");
    engine
        .store
        .write(move |tx| event_stream_engine::store::campaigns::set_rate(tx, id, Some(4.0), "test"))
        .await
        .unwrap();
    engine.dispatcher.tick().await.unwrap();
    run_for(&mut engine, 5).await;
    let fast = engine.simulator.messages().len() - slow;
    assert!((19..=20).contains(&fast), "{fast}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn every_part_of_a_long_message_is_paid_for() {
    let mut engine = Engine::start_with(Wanted { rate: 1.0, ..Wanted::default() }).await;
    engine.add_many(5).await;
    let body = "x".repeat(400);
    let id = engine.draft_saying(&body, |_| {}).await;
    engine.launch(id).await;
    ready(&mut engine).await;
    run_for(&mut engine, 10).await;
    let sent = engine.simulator.messages().len();
    assert!((3..=4).contains(&sent), "{sent} of three parts each in 10 s at one part a second");
    let parts: i64 = engine.value("SELECT min(parts) FROM messages WHERE parts IS NOT NULL");
    assert_eq!(parts, 3);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_daily_limit_lets_the_rest_wait_for_tomorrow() {
    let wanted = Wanted { recipients_per_day: Some(3), ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    let id = launched(&engine, 5).await;
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&3), "{:?}", engine.reasons(id));
    assert_eq!(engine.counts(id).get("queued"), Some(&2));
    assert!(engine.reasons(id).contains_key("queued:daily_limit"), "{:?}", engine.reasons(id));
    engine.drain_after(DAY / 2).await;
    engine.drain_after(DAY / 2 - 3_600).await;
    assert_eq!(engine.simulator.messages().len(), 3, "the day is not over");
    engine.drain_after(3_600).await;
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&5), "{:?}", engine.reasons(id));
    nobody_twice(&engine);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn people_written_to_today_count_once_against_the_daily_limit() {
    let wanted = Wanted { recipients_per_day: Some(3), ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    launched(&engine, 3).await;
    engine.settle().await;
    let again = engine.draft(|_| {}).await;
    engine.launch(again).await;
    engine.settle().await;
    assert_eq!(engine.reasons(again).get("delivered:"), Some(&3), "{:?}", engine.reasons(again));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn transactional_goes_before_marketing() {
    let mut engine = Engine::start_with(Wanted { max_in_flight: 1, ..Wanted::default() }).await;
    engine.add_many(5).await;
    let marketing = engine.draft_saying("offer", |_| {}).await;
    let transactional = engine.draft_saying("code", |plan| plan.kind = Kind::Transactional).await;
    engine.launch(marketing).await;
    engine.launch(transactional).await;
    engine.settle().await;
    let order: Vec<String> = engine.simulator.messages().into_iter().map(|message| message.body).collect();
    assert_eq!(order, [vec!["code"; 5], vec!["offer"; 5]].concat());
    engine.check_and_stop().await;
}

#[tokio::test]
async fn campaigns_of_one_rank_take_turns() {
    let mut engine = Engine::start_with(Wanted { max_in_flight: 1, ..Wanted::default() }).await;
    engine.add_many(10).await;
    for body in ["first", "second"] {
        let id = engine.draft_saying(body, |_| {}).await;
        engine.launch(id).await;
    }
    engine.settle().await;
    let messages = engine.simulator.messages();
    assert_eq!(messages.len(), 20);
    let mut early: BTreeMap<&str, usize> = BTreeMap::new();
    for message in &messages[..10] {
        *early.entry(&message.body).or_default() += 1;
    }
    assert!(early.len() == 2 && early.values().all(|n| *n >= 3), "{early:?}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn whose_window_closes_first_comes_first() {
    let mut engine = Engine::start_with(Wanted { max_in_flight: 1, ..Wanted::default() }).await;
    // 08:30 in New York: everybody waits for their morning.
    engine.clock.set("2026-11-23T13:30:00Z".parse().unwrap());
    for zone in ["America/Los_Angeles", "America/Chicago", "America/New_York"] {
        let phone = phone(engine.value::<i64>("SELECT count(*) FROM users") as usize);
        engine
            .add(&phone, event_stream_engine::domain::consent::Consent::OptIn, json!({"timezone": zone}))
            .await;
    }
    let id = engine.draft_saying("{timezone}", |_| {}).await;
    engine.launch(id).await;
    engine.drain().await;
    assert_eq!(engine.reasons(id).get("queued:quiet_hours"), Some(&3), "{:?}", engine.reasons(id));
    engine.clock.set("2026-11-23T18:00:00Z".parse().unwrap());
    engine.settle().await;
    let order: Vec<String> = engine.simulator.messages().into_iter().map(|message| message.body).collect();
    assert_eq!(order, ["America/New_York", "America/Chicago", "America/Los_Angeles"]);
    engine.check_and_stop().await;
}
