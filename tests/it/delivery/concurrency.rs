//! How many requests at once: more when Twilio is slow, fewer when it says 429.

use std::time::Instant;

use event_stream_engine::campaign;
use event_stream_engine::simulator::{Faults, Options};

use super::{launched, nobody_twice};
use crate::support::{Engine, Wanted, presets, quick_simulator};

/// A metric's value as `/metrics` shows it.
fn metric(engine: &Engine, name: &str) -> f64 {
    let text = engine.metrics.encode();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
}

/// What a span of the clock brought.
struct Span {
    claimed: usize,
    most_under_way: usize,
}

/// Lets the clock run like a real one for `seconds`, but never faster than the dispatcher looks.
async fn run_for(engine: &mut Engine, seconds: i64) -> Span {
    let mut span = Span { claimed: 0, most_under_way: 0 };
    let end = engine.clock.now() + seconds * 1_000;
    let mut looked = Instant::now();
    while engine.clock.now() < end {
        let passed = looked.elapsed().as_millis().min(5) as i64;
        if passed > 0 {
            engine.clock.advance(passed);
            looked = Instant::now();
        }
        span.claimed += engine.dispatcher.tick().await.unwrap().claimed;
        span.most_under_way = span.most_under_way.max(engine.dispatcher.outbox().len());
        tokio::task::yield_now().await;
    }
    span
}

#[tokio::test]
async fn when_twilio_takes_half_a_second_more_requests_are_under_way_and_the_rate_holds() {
    const RATE: f64 = 40.0;
    let simulator = Options { latency_ms: 50, ..quick_simulator() };
    let mut engine = Engine::start_with(Wanted { simulator, rate: RATE, ..Wanted::default() }).await;
    launched(&engine, 200).await;
    campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
    let fast = run_for(&mut engine, 2).await;
    engine.simulator.set_faults(Faults { latency_ms: 450, ..Faults::default() });
    let slow = run_for(&mut engine, 2).await;
    for span in [&fast, &slow] {
        let wanted = RATE * 2.0;
        assert!((span.claimed as f64 - wanted).abs() <= wanted * 0.03, "{} of {wanted}", span.claimed);
    }
    // On a machine that stands still now and then the clock of the test runs slower than Twilio's.
    let (few, many) = (fast.most_under_way, slow.most_under_way);
    assert!(many >= 10 && many > few, "{few} under way at 50 ms, {many} at 500 ms");
    assert!(metric(&engine, "ese_in_flight") > 0.0);
    assert!(metric(&engine, "ese_twilio_request_seconds_count") > 50.0);
    assert!(metric(&engine, "ese_rate_limit_granted_parts_total{level=\"account\",name=\"\"}") > 150.0);
    engine.settle().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_ceiling_falls_with_429_and_recovers_and_nobody_is_lost() {
    let mut engine = Engine::start_with(Wanted { max_in_flight: 32, ..Wanted::default() }).await;
    let id = launched(&engine, 60).await;
    campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
    engine.dispatcher.tick().await.unwrap();
    assert_eq!(metric(&engine, "ese_in_flight_ceiling"), 32.0);
    engine.simulator.set_faults(Faults { rate_429_percent: 100.0, count: Some(30), ..Faults::default() });
    engine.clock.advance(200);
    assert_eq!(engine.dispatcher.tick().await.unwrap().claimed, 30, "two slots are kept free");
    engine.dispatcher.settle().await;
    assert_eq!(engine.dispatcher.tick().await.unwrap().claimed, 0, "a short pause");
    engine.clock.advance(200);
    let next = engine.dispatcher.tick().await.unwrap();
    assert!((15..=21).contains(&next.claimed), "{} after 30 were too many", next.claimed);
    engine.dispatcher.settle().await;
    let fallen = metric(&engine, "ese_in_flight_ceiling");
    assert!((16.0..=22.0).contains(&fallen), "{fallen}");
    let text = engine.metrics.encode();
    assert!(text.contains("ese_deliveries_total{outcome=\"throttled\"} 30"), "{text}");
    engine.drain_after(10).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&60), "{:?}", engine.reasons(id));
    // With work to do it climbs back, step by step.
    for round in 0..8 {
        let again = engine.draft(|_| {}).await;
        engine.launch(again).await;
        engine.drain_after(1).await;
        if metric(&engine, "ese_in_flight_ceiling") >= 32.0 {
            break;
        }
        assert!(round < 7, "the ceiling is still {}", metric(&engine, "ese_in_flight_ceiling"));
    }
    engine.settle().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_twilio_that_takes_few_at_once_gets_no_more_and_everybody_gets_theirs() {
    let simulator = Options { concurrency_limit: Some(6), latency_ms: 5, ..quick_simulator() };
    let mut engine = Engine::start_with(Wanted { simulator, ..Wanted::default() }).await;
    let id = launched(&engine, 80).await;
    for _ in 0..60 {
        engine.drain_after(5).await;
        if !engine.counts(id).contains_key("queued") {
            break;
        }
    }
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&80), "{:?}", engine.reasons(id));
    let ceiling = metric(&engine, "ese_in_flight_ceiling");
    assert!(ceiling < 12.0, "{ceiling}");
    nobody_twice(&engine);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn slow_answers_to_a_campaign_leave_a_slot_for_a_transactional_message() {
    let simulator = Options { latency_ms: 300, ..quick_simulator() };
    let mut engine = Engine::start_with(Wanted { simulator, max_in_flight: 8, ..Wanted::default() }).await;
    launched(&engine, 10).await;
    campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
    engine.dispatcher.tick().await.unwrap();
    engine.clock.advance(100);
    assert_eq!(engine.dispatcher.tick().await.unwrap().claimed, 7);
    let code = engine
        .draft_saying("code", |plan| plan.kind = event_stream_engine::domain::message::Kind::Transactional)
        .await;
    engine.launch(code).await;
    campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
    let next = engine.dispatcher.tick().await.unwrap();
    assert_eq!(next.claimed, 1, "one slot was kept, and all others are taken by slow answers");
    assert!(next.is_full);
    engine.settle().await;
    engine.check_and_stop().await;
}
