//! At most so many marketing messages to one person within so many hours.

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::frequency::FrequencyCap;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::Phone;
use serde_json::json;

use super::{DAY, HOUR, failing, single, wave};
use crate::support::{Engine, phone};

fn cap(messages: usize, hours: i64) -> Option<FrequencyCap> {
    Some(FrequencyCap { messages, window: hours * HOUR * 1_000 })
}

/// An engine with this cap and one person.
async fn capped(messages: usize) -> Engine {
    let engine = Engine::start().await;
    engine.rule(|rules| rules.frequency_cap = cap(messages, 24));
    engine.add_many(1).await;
    engine
}

#[tokio::test]
async fn who_has_had_enough_waits_until_the_oldest_of_them_leaves_the_window() {
    let mut engine = capped(2).await;
    wave(&mut engine).await;
    engine.clock.advance(HOUR * 1_000);
    wave(&mut engine).await;
    let third = wave(&mut engine).await;
    assert_eq!(engine.reasons(third).get("queued:frequency_cap"), Some(&1), "{:?}", engine.reasons(third));
    engine.drain_after(22 * HOUR).await;
    assert_eq!(engine.simulator.messages().len(), 2);
    engine.drain_after(HOUR).await;
    engine.settle().await;
    assert_eq!(engine.reasons(third).get("delivered:"), Some(&1), "{:?}", engine.reasons(third));
    let fourth = wave(&mut engine).await;
    assert_eq!(engine.reasons(fourth).get("queued:frequency_cap"), Some(&1), "two within a day again");
    engine.drain_after(DAY).await;
    engine.settle().await;
    assert_eq!(engine.reasons(fourth).get("delivered:"), Some(&1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn campaigns_that_race_for_a_person_and_single_messages_share_the_cap() {
    let mut engine = Engine::start().await;
    engine.rule(|rules| rules.frequency_cap = cap(1, 24));
    engine.add_many(30).await;
    for _ in 0..3 {
        let id = engine.draft(|plan| plan.quiet_hours = json!("off")).await;
        engine.launch(id).await;
    }
    single(&engine, &phone(3), Kind::Marketing, "Only you").await;
    engine.settle().await;
    let counts = engine.simulator.counts();
    assert_eq!(counts.len(), 30);
    assert!(counts.values().all(|n| *n == 1), "{counts:?}");
    // Who waits for something is not kept from what they asked for themselves.
    single(&engine, &phone(3), Kind::Transactional, "Your order is on its way.").await;
    engine.settle().await;
    assert_eq!(engine.simulator.counts().get(&phone(3)), Some(&2));
    engine.change("UPDATE campaigns SET status = 'cancelled'").await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn who_would_wait_beyond_the_deadline_expires_with_the_reason() {
    let mut engine = capped(1).await;
    wave(&mut engine).await;
    let id = engine
        .draft(|plan| {
            plan.expires_after_hours = Some(20.0);
            plan.quiet_hours = json!("off");
        })
        .await;
    engine.launch(id).await;
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("expired:frequency_cap"), Some(&1), "{:?}", engine.reasons(id));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn tries_of_one_message_count_once_and_what_was_refused_not_at_all() {
    let mut engine = capped(2).await;
    engine.simulator.set_faults(failing(30003, Some(1)));
    // Handed over, not delivered, tried again hours later: one message all the same.
    let first = wave(&mut engine).await;
    engine.drain_after(4 * HOUR).await;
    engine.settle().await;
    assert_eq!(engine.reasons(first).get("delivered:"), Some(&1), "{:?}", engine.reasons(first));
    let attempts: i64 = engine.value("SELECT count(*) FROM attempts");
    assert_eq!(attempts, 2);
    engine.simulator.set_faults(failing(21610, Some(1)));
    engine.simulator.set_faults(failing(21617, Some(1)));
    let refused = wave(&mut engine).await;
    assert_eq!(engine.counts(refused).get("failed"), Some(&1), "{:?}", engine.reasons(refused));
    let third = wave(&mut engine).await;
    assert_eq!(engine.reasons(third).get("delivered:"), Some(&1), "the refused one counted");
    let fourth = wave(&mut engine).await;
    assert_eq!(engine.reasons(fourth).get("queued:frequency_cap"), Some(&1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_test_neither_counts_nor_is_held() {
    let mut engine = capped(1).await;
    let id = engine.draft(|plan| plan.quiet_hours = json!("off")).await;
    for _ in 0..2 {
        let (phones, setup) = ([Phone::parse(&phone(0), None).unwrap()], engine.setup.clone());
        let sent = engine
            .store
            .write(move |tx| event_stream_engine::campaign::send_test(tx, id, &phones, &setup, "me"));
        sent.await.unwrap();
    }
    engine.settle().await;
    assert_eq!(engine.simulator.messages().len(), 2);
    engine.launch(id).await;
    engine.settle().await;
    assert_eq!(engine.simulator.messages().len(), 3, "{:?}", engine.reasons(id));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_cap_that_is_set_raised_or_taken_away_holds_from_the_next_message_on() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    wave(&mut engine).await;
    wave(&mut engine).await;
    // What was sent before the cap came counts.
    engine.rule(|rules| rules.frequency_cap = cap(2, 24));
    let third = wave(&mut engine).await;
    assert_eq!(engine.reasons(third).get("queued:frequency_cap"), Some(&1), "{:?}", engine.reasons(third));
    engine.rule(|rules| rules.frequency_cap = cap(4, 24));
    // A raise is seen when the person is asked about again.
    engine.change("UPDATE messages SET due_at = 0 WHERE status = 'queued'").await;
    engine.drain_after(2).await;
    assert_eq!(engine.simulator.messages().len(), 3);
    engine.rule(|rules| rules.frequency_cap = None);
    wave(&mut engine).await;
    wave(&mut engine).await;
    engine.rule(|rules| rules.frequency_cap = cap(5, 24));
    let sixth = wave(&mut engine).await;
    assert_eq!(engine.reasons(sixth).get("queued:frequency_cap"), Some(&1), "what went without a cap counts");
    engine.rule(|rules| rules.frequency_cap = cap(6, 24));
    engine.change("UPDATE messages SET due_at = 0 WHERE status = 'queued'").await;
    engine.drain_after(2).await;
    let seventh = wave(&mut engine).await;
    assert_eq!(engine.simulator.messages().len(), 6);
    assert_eq!(
        engine.reasons(seventh).get("queued:frequency_cap"),
        Some(&1),
        "a row with less room is not enough"
    );
    engine.settle().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_count_outlives_a_restart_and_without_a_cap_nothing_is_kept() {
    let mut engine = capped(1).await;
    wave(&mut engine).await;
    let mut engine = engine.restart().await;
    engine.rule(|rules| rules.frequency_cap = cap(1, 24));
    let second = wave(&mut engine).await;
    assert_eq!(engine.reasons(second).get("queued:frequency_cap"), Some(&1), "{:?}", engine.reasons(second));
    engine.rule(|rules| rules.frequency_cap = None);
    engine.add(&phone(7), Consent::OptIn, json!({})).await;
    wave(&mut engine).await;
    let kept: i64 = engine.value(&format!(
        "SELECT (SELECT count(*) FROM users WHERE phone = '{}' AND recent_marketing IS NOT NULL)
              + (SELECT count(*) FROM cursors WHERE name LIKE 'frequency%')",
        phone(7)
    ));
    assert_eq!(kept, 0);
    engine.check_and_stop().await;
}
