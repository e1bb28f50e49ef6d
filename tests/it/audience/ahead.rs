//! The forecast against what really came, where hours and limits stretch a campaign.

use event_stream_engine::domain::consent::Consent;
use serde_json::json;

use crate::support::{Engine, Wanted, phone};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Sends until nobody waits, hour by hour. Returns when the first and the last message were accepted.
async fn run_out(engine: &mut Engine, id: i64, days: i64) -> (i64, i64) {
    for _ in 0..days * 24 {
        engine.settle().await;
        if engine.counts(id).get("queued").copied().unwrap_or_default() == 0 {
            break;
        }
        // To the next whole hour, so that no opening is passed over.
        let now = engine.clock.now();
        engine.clock.advance(HOUR - now.rem_euclid(HOUR));
    }
    assert_eq!(engine.counts(id).get("queued").copied().unwrap_or_default(), 0, "{:?}", engine.reasons(id));
    let bound = |which: &str| {
        engine.value(&format!("SELECT {which}(accepted_at) FROM messages WHERE campaign_id = {id}"))
    };
    (bound("min"), bound("max"))
}

#[tokio::test]
async fn a_daily_limit_stretches_it_as_the_forecast_says() {
    let wanted = Wanted { recipients_per_day: Some(4), ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    engine.add_many(14).await;
    let id = engine.draft(|plan| plan.quiet_hours = json!("off")).await;
    let seen = engine.look(id).await;
    assert_eq!((seen.now.people, seen.would_send()), (4, 14));
    let forecast = seen.forecast.unwrap();
    let start = engine.clock.now();
    assert_eq!(forecast.first, Some(start));
    engine.launch(id).await;
    let (first, last) = run_out(&mut engine, id, 8).await;
    // Three helpings more, each a day after the one before.
    assert!((forecast.last.unwrap() - start - 3 * DAY).abs() < HOUR, "{forecast:?}");
    assert!((first - start).abs() < HOUR && (last - forecast.last.unwrap()).abs() <= 2 * HOUR, "{last}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn nights_stretch_it_as_the_forecast_says() {
    // A Monday, six in the evening in New York; three in the afternoon in California.
    let now = Some("2026-11-23T23:00:20Z".parse().unwrap());
    let wanted = Wanted { now, rate: 0.003, ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    for n in (0..40).chain(100..120) {
        engine.add(&phone(n), Consent::OptIn, json!({})).await;
    }
    for (n, zone) in [(200, "Europe/Berlin"), (201, "Asia/Tokyo")] {
        engine.add(&phone(n), Consent::OptIn, json!({"timezone": zone})).await;
    }
    let id = engine.draft(|_| {}).await;
    let forecast = engine.look(id).await.forecast.unwrap();
    assert_eq!(forecast.first, Some(engine.clock.now()));
    engine.launch(id).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    let mut rounds = 0;
    while engine.counts(id).get("queued").copied().unwrap_or(0) > 0 {
        engine.clock.advance(20_000);
        engine.dispatcher.tick().await.unwrap();
        engine.dispatcher.settle().await;
        rounds += 1;
        assert!(rounds < 20_000, "{:?}", engine.reasons(id));
    }
    let last: i64 = engine.value(&format!("SELECT max(accepted_at) FROM messages WHERE campaign_id = {id}"));
    let off = (last - forecast.last.unwrap()) as f64 / HOUR as f64;
    assert!(off.abs() < 2.0, "{off} hours late");
    engine.settle().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_waits_for_the_same_sender_comes_first() {
    let wanted = Wanted { rate: 1.0, ..Wanted::default() };
    let engine = Engine::start_with(wanted).await;
    engine.add_many(100).await;
    let earlier = engine.draft(|plan| plan.quiet_hours = json!("off")).await;
    engine.launch(earlier).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    let id = engine.draft(|plan| plan.quiet_hours = json!("off")).await;
    let seen = engine.look(id).await;
    let start = engine.clock.now();
    assert_eq!(seen.queue_ahead, 100);
    let forecast = seen.forecast.unwrap();
    assert_eq!((forecast.first, forecast.last), (Some(start + 100_000), Some(start + 200_000)));
    // Another sender has nothing to do.
    let free = engine
        .draft_with(
            event_stream_engine::store::templates::TemplateText::plain(
                event_stream_engine::domain::phone::Channel::Whatsapp,
                "Hi",
            ),
            |plan| plan.kind = event_stream_engine::domain::message::Kind::Transactional,
        )
        .await;
    assert_eq!(engine.look(free).await.queue_ahead, 0);
}
