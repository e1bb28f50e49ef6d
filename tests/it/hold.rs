//! Safe hold: nothing goes out of a restored file until it is released, whatever waits or comes due.

use event_stream_engine::campaign::{self, CampaignError};
use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::store::StoreError;
use event_stream_engine::store::hold::{self, Release, Terms};
use serde_json::json;

use crate::support::{Engine, phone};

async fn hold(engine: &Engine) {
    engine.store.write::<_, _, StoreError>(|tx| hold::begin(tx, "test")).await.unwrap();
}

async fn release(engine: &Engine, terms: Terms) -> Release {
    engine.store.write::<_, _, StoreError>(move |tx| hold::release(tx, terms, "test")).await.unwrap()
}

#[tokio::test]
async fn in_safe_hold_nothing_is_claimed_started_or_launched_and_afterwards_it_goes_on() {
    let mut engine = Engine::start().await;
    engine.add_many(3).await;
    let running = engine.draft(|plan| plan.rate_limit_per_second = Some(0.001)).await;
    engine.launch(running).await;
    let scheduled = engine
        .draft(|plan| {
            plan.schedule = Some(("2026-11-23T12:10:00".to_owned(), "America/New_York".to_owned()));
            plan.starts_at =
                Some("2026-11-23T17:10:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond());
        })
        .await;
    engine.launch(scheduled).await;
    engine
        .change(
            "INSERT INTO messages (user_id, kind, channel, lane, due_at, created_at, body, sender_id)
                   VALUES (1, 'transactional', 'sms', -3, 0, 0, 'waits', 1)",
        )
        .await;
    hold(&engine).await;
    assert_eq!(engine.campaign(running).status, CampaignStatus::Paused);
    engine.drain_after(900).await;
    assert_eq!(engine.simulator.messages().len(), 0, "nothing goes out");
    assert_eq!(engine.campaign(scheduled).status, CampaignStatus::Scheduled, "nothing is started");
    let (draft, setup) = (engine.draft(|_| {}).await, engine.setup.clone());
    let refused = engine.store.write(move |tx| campaign::launch(tx, draft, &setup)).await.unwrap_err();
    assert!(matches!(refused, CampaignError::SafeHold), "{refused}");

    assert_eq!(release(&engine, Terms::default()).await, Release::NotCaughtUp);
    let terms = Terms { without_catch_up: true, ..Terms::default() };
    assert_eq!(release(&engine, terms).await, Release::Waiting(1));
    let terms = Terms { sends_waiting: true, ..terms };
    assert_eq!(release(&engine, terms).await, Release::Released);
    assert_eq!(release(&engine, terms).await, Release::NotHeld);
    engine.drain().await;
    let bodies: Vec<String> = engine.simulator.messages().into_iter().map(|message| message.body).collect();
    assert!(bodies.contains(&"waits".to_owned()), "{bodies:?}");
    assert_ne!(engine.campaign(scheduled).status, CampaignStatus::Scheduled);
    assert_eq!(engine.campaign(running).status, CampaignStatus::Paused, "somebody has to resume it");
    engine.settle().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_stop_is_taken_while_the_file_is_held_and_a_look_at_twilios_list_is_noted() {
    let engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({})).await;
    hold(&engine).await;
    engine.simulator.inbound(&phone(0), crate::support::SENDER, "STOP").await;
    assert_eq!(engine.consent(&phone(0)), "stop");
    assert_eq!(release(&engine, Terms::default()).await, Release::NotCaughtUp);
    engine.catch_up().tick().await;
    assert_eq!(release(&engine, Terms::default()).await, Release::Released);
    // A later hold wants a look of its own.
    engine.clock.advance(1_000);
    hold(&engine).await;
    assert_eq!(release(&engine, Terms::default()).await, Release::NotCaughtUp);
    engine.check_and_stop().await;
}
