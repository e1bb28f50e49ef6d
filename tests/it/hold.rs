//! Safe hold: nothing goes out of a restored file until it is released, whatever waits or comes due.

use event_stream_engine::campaign::{self, CampaignError};
use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::event::EventType;
use event_stream_engine::store::hold::{self, Release, Terms};
use event_stream_engine::store::{StoreError, campaigns, events};
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
    let standing = engine.campaign(scheduled);
    assert_eq!(standing.status, CampaignStatus::Paused, "nothing is started, then or later");
    assert!(standing.pause_reason.unwrap().contains("restored from a copy"));
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
    for id in [running, scheduled] {
        assert_eq!(engine.campaign(id).status, CampaignStatus::Paused, "somebody has to resume it");
    }
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

/// Midnight of the copy: one campaign is to start in the morning, one rests until then, one was paused by a person.
/// All three went out before the copy was put back; the copy does not know it.
#[tokio::test]
async fn what_would_have_started_or_gone_on_by_itself_waits_for_somebody_after_a_restore() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    let scheduled = engine
        .draft(|plan| {
            plan.if_missed = "send".to_owned();
            plan.late_hours = 4.0;
            plan.schedule = Some(("2026-11-23T13:00:00".to_owned(), "America/New_York".to_owned()));
            plan.starts_at =
                Some("2026-11-23T18:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond());
        })
        .await;
    let (resting, paused) = (engine.draft(|_| {}).await, engine.draft(|_| {}).await);
    for id in [scheduled, resting, paused] {
        engine.launch(id).await;
    }
    let until = engine.clock.now() + 3_600_000;
    engine
        .store
        .write::<_, _, StoreError>(move |tx| {
            let rest = campaigns::Rest { reason: "The cap of the day is reached.", until: Some(until) };
            campaigns::rest(tx, resting, &rest)
        })
        .await
        .unwrap();
    engine.store.write(move |tx| campaign::pause(tx, paused, "me")).await.unwrap();
    engine.clock.advance(1_800_000);
    hold(&engine).await;
    engine.drain_after(3 * 3_600).await;
    let terms = Terms { without_catch_up: true, ..Terms::default() };
    assert_eq!(release(&engine, terms).await, Release::Released);
    engine.drain_after(3_600).await;
    for id in [scheduled, resting, paused] {
        let campaign = engine.campaign(id);
        assert_eq!((campaign.status, campaign.paused_until), (CampaignStatus::Paused, None), "{id}");
        let said = campaign.pause_reason.unwrap();
        assert!(said.contains("restored from a copy"), "{id}: {said}");
        assert_eq!(said.contains("It was paused before: Paused by me."), id == paused, "{id}: {said}");
    }
    assert!(engine.simulator.messages().is_empty(), "nobody gets it again");
    // A second restore of the same copy says nothing twice.
    hold(&engine).await;
    let said = engine.campaign(paused).pause_reason.unwrap();
    assert_eq!(said.matches("restored").count(), 1, "{said}");
    engine.change("UPDATE campaigns SET status = 'cancelled'").await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_rest_does_not_end_while_the_file_is_held() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.store.write(move |tx| campaign::pause(tx, id, "me")).await.unwrap();
    hold(&engine).await;
    // As another version of the program would have left it.
    engine.change("UPDATE campaigns SET paused_until = 1").await;
    engine.drain_after(60).await;
    assert_eq!(engine.campaign(id).status, CampaignStatus::Paused);
    engine.change("UPDATE campaigns SET status = 'cancelled'").await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn no_id_that_was_given_after_the_copy_is_given_again() {
    let engine = Engine::start().await;
    engine.add_many(1).await;
    let before: i64 = engine.value("SELECT max(id) FROM events");
    let template: i64 = engine.value("SELECT coalesce(max(id), 0) FROM templates");
    hold(&engine).await;
    let noted: i64 = engine.value("SELECT max(id) FROM events");
    assert!(noted > before + 1_000_000, "{noted}");
    engine.draft(|_| {}).await;
    assert!(engine.value::<i64>("SELECT max(id) FROM templates") > template + 1_000_000);
    engine
        .change(
            "INSERT INTO messages (user_id, kind, channel, lane, due_at, created_at, body, sender_id)
                   VALUES (1, 'transactional', 'sms', -3, 0, 0, 'waits', 1)",
        )
        .await;
    assert!(engine.value::<i64>("SELECT max(id) FROM messages") > 1_000_000, "also where there was none");
    // A reader that stands before the jump needs no thousand empty pages to cross it.
    let (found, looked) = engine.store.read_here(|conn| events::list_after(conn, before, &[], 1)).unwrap();
    assert_eq!((found.len(), looked), (1, noted));
    let other = [EventType::CampaignFinished];
    let (none, looked) = engine.store.read_here(|conn| events::list_after(conn, before, &other, 1)).unwrap();
    assert!(none.is_empty() && looked >= noted, "{looked}");
    // However often: ids stay exact for readers of JSON.
    engine.change("UPDATE sqlite_sequence SET seq = 1 << 52 WHERE name = 'campaigns'").await;
    hold(&engine).await;
    assert_eq!(engine.value::<i64>("SELECT seq FROM sqlite_sequence WHERE name = 'campaigns'"), 1 << 52);
    engine.change("UPDATE messages SET status = 'cancelled'").await;
}
