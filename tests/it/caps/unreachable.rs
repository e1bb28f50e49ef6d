//! A phone that can't be reached several times is left alone.

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::store::{StoreError, users};
use serde_json::json;

use super::{DAY, failing, wave};
use crate::support::{Engine, SENDER, phone};

/// A wave that the carrier can't deliver: 30004 is told late and not tried again.
async fn lost_wave(engine: &mut Engine) {
    engine.simulator.set_faults(failing(30004, Some(1)));
    wave(engine).await;
}

fn reachable(engine: &Engine) -> (bool, Option<String>, i64) {
    (
        engine.value("SELECT reachable FROM users"),
        engine.value("SELECT unreachable_reason FROM users"),
        engine.value("SELECT failures FROM users"),
    )
}

async fn one_person() -> Engine {
    let engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({})).await;
    engine
}

#[tokio::test]
async fn after_three_in_a_row_the_number_is_left_alone_until_somebody_clears_it() {
    let mut engine = one_person().await;
    for _ in 0..2 {
        lost_wave(&mut engine).await;
    }
    assert_eq!(reachable(&engine), (true, None, 2));
    let updated = engine.events("user.updated");
    lost_wave(&mut engine).await;
    let (is_reachable, reason, _) = reachable(&engine);
    assert!(!is_reachable);
    let reason = reason.unwrap();
    assert!(reason.contains("30004") && reason.contains("3 messages in a row"), "{reason}");
    assert_eq!(engine.events("user.updated"), updated + 1);
    let fourth = wave(&mut engine).await;
    assert_eq!(engine.reasons(fourth).get("skipped:unreachable"), Some(&1));
    // Who says that it works begins the count anew.
    engine.store.write::<_, _, StoreError>(|tx| users::set_reachable(tx, 1, None, "me")).await.unwrap();
    assert_eq!(reachable(&engine), (true, None, 0));
    lost_wave(&mut engine).await;
    assert_eq!(reachable(&engine), (true, None, 1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_arrives_or_is_heard_begins_the_count_anew() {
    let mut engine = one_person().await;
    lost_wave(&mut engine).await;
    lost_wave(&mut engine).await;
    engine.clock.advance(DAY * 1_000);
    wave(&mut engine).await;
    engine.clock.advance(1_000);
    lost_wave(&mut engine).await;
    assert_eq!(reachable(&engine), (true, None, 1), "something arrived in between");
    lost_wave(&mut engine).await;
    engine.clock.advance(1_000);
    engine.simulator.inbound(&phone(0), SENDER, "Hello?").await;
    engine.clock.advance(1_000);
    lost_wave(&mut engine).await;
    assert_eq!(reachable(&engine), (true, None, 1), "the person wrote in between");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn failures_that_say_nothing_about_the_phone_do_not_count() {
    let mut engine = one_person().await;
    for _ in 0..4 {
        engine.simulator.set_faults(failing(30007, Some(1)));
        wave(&mut engine).await;
    }
    assert_eq!(reachable(&engine), (true, None, 0));
    engine.check_and_stop().await;
}
