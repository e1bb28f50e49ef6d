//! The calendar: named zones, clocks that change, people's own mornings, and starts that were missed.

use event_stream_engine::campaign;
use event_stream_engine::domain::campaign::CampaignStatus as S;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::store::campaigns::CampaignPlan;
use serde_json::json;

use crate::support::{Engine, phone};

fn at(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

#[test]
fn a_schedule_is_civil_time_in_its_zone() {
    let table = [
        ("2026-12-01T09:00:00", "Asia/Colombo", "2026-12-01T03:30:00Z"),
        ("2026-12-01T09:00:00", "America/New_York", "2026-12-01T14:00:00Z"),
        ("2026-07-01T09:00:00", "America/New_York", "2026-07-01T13:00:00Z"),
        ("2026-12-01T09:00:00", "UTC", "2026-12-01T09:00:00Z"),
        // Skipped in New York: an hour later by the clock, the same instant as if it had not been.
        ("2027-03-14T02:30:00", "America/New_York", "2027-03-14T07:30:00Z"),
        // Twice in New York: the first.
        ("2026-11-01T01:30:00", "America/New_York", "2026-11-01T05:30:00Z"),
        ("2026-12-01T09:00", "Pacific/Kiritimati", "2026-11-30T19:00:00Z"),
    ];
    for (civil, zone, instant) in table {
        assert_eq!(campaign::resolve_start(civil, zone, false).unwrap(), at(instant), "{civil} {zone}");
    }
    // Where the day begins first on earth, whatever the named zone.
    let local = campaign::resolve_start("2026-12-01T09:00:00", "America/New_York", true).unwrap();
    assert_eq!(local, at("2026-11-30T19:00:00Z"));
    for (civil, zone) in
        [("tomorrow", "UTC"), ("2026-13-01T09:00:00", "UTC"), ("2026-12-01T09:00:00", "Mars")]
    {
        assert!(campaign::resolve_start(civil, zone, false).is_err(), "{civil} {zone}");
        assert!(campaign::resolve_start(civil, zone, true).is_err(), "{civil} {zone}");
    }
}

fn schedule(plan: &mut CampaignPlan, civil: &str, zone: &str, is_local: bool) {
    plan.schedule = Some((civil.to_owned(), zone.to_owned()));
    plan.is_local_to_recipient = is_local;
    plan.starts_at = Some(campaign::resolve_start(civil, zone, is_local).unwrap());
}

/// One person and a launched campaign for 14:00 in New York; it is noon there.
async fn scheduled(change: impl FnOnce(&mut CampaignPlan) + Send + 'static) -> (Engine, i64) {
    let engine = Engine::start().await;
    engine.add_many(1).await;
    let id = engine
        .draft(move |plan| {
            schedule(plan, "2026-11-23T14:00:00", "America/New_York", false);
            change(plan);
        })
        .await;
    assert_eq!(engine.launch(id).await.status, S::Scheduled);
    (engine, id)
}

async fn tick_at(engine: &Engine, instant: &str) {
    engine.clock.set(instant.parse().unwrap());
    campaign::tick(&engine.store, &engine.setup).await.unwrap();
}

#[tokio::test]
async fn a_campaign_begins_when_its_time_has_come_and_not_before() {
    let (mut engine, id) = scheduled(|_| {}).await;
    assert_eq!(engine.launch(id).await.status, S::Scheduled, "a second launch changes nothing");
    tick_at(&engine, "2026-11-23T18:59:59.999Z").await;
    assert_eq!(engine.campaign(id).status, S::Scheduled);
    tick_at(&engine, "2026-11-23T19:00:00Z").await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&1));
    assert_eq!(engine.events("campaign.missed"), 0);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_missed_start_follows_the_campaigns_policy() {
    // Policy, how late the server is back, what becomes of the campaign, whether it counts as missed.
    let table = [
        ("send", "2026-11-23T19:05:00Z", S::Launching, 0),
        ("skip", "2026-11-23T19:05:00Z", S::Launching, 0),
        ("send", "2026-11-23T19:05:00.001Z", S::Launching, 1),
        ("send", "2026-11-23T23:00:00Z", S::Launching, 1),
        ("send", "2026-11-23T23:00:01Z", S::Paused, 1),
        ("skip", "2026-11-23T19:06:00Z", S::Cancelled, 1),
        ("ask", "2026-11-23T19:06:00Z", S::Paused, 1),
    ];
    for (policy, back, expected, missed) in table {
        let (engine, id) = scheduled(move |plan| plan.if_missed = policy.to_owned()).await;
        tick_at(&engine, back).await;
        assert_eq!(engine.campaign(id).status, expected, "{policy} at {back}");
        assert_eq!(engine.events("campaign.missed"), missed, "{policy} at {back}");
        if expected == S::Paused {
            let reason = engine.campaign(id).pause_reason.unwrap();
            assert!(reason.contains("missed") && reason.contains("Resume to send now"), "{reason}");
        }
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn who_was_asked_about_a_missed_start_may_send_now() {
    let (mut engine, id) = scheduled(|plan| plan.if_missed = "ask".to_owned()).await;
    tick_at(&engine, "2026-11-23T20:00:00Z").await;
    let setup = engine.setup.clone();
    engine.store.write(move |tx| campaign::resume(tx, id, &setup, "test")).await.unwrap();
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_pause_before_the_start_waits_and_a_resume_before_it_keeps_the_date() {
    let (engine, id) = scheduled(|_| {}).await;
    let setup = engine.setup.clone();
    engine.store.write(move |tx| campaign::pause(tx, id, "test")).await.unwrap();
    let resumed = engine.store.write(move |tx| campaign::resume(tx, id, &setup, "test")).await.unwrap();
    assert_eq!(resumed.status, S::Scheduled);
    engine.store.write(move |tx| campaign::pause(tx, id, "test")).await.unwrap();
    tick_at(&engine, "2026-11-23T19:00:00Z").await;
    assert_eq!(engine.campaign(id).status, S::Paused, "a paused campaign does not start");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_speaks_against_a_start_is_told_on_the_campaign_and_the_others_go_on() {
    let (engine, big) = scheduled(|plan| plan.max_recipients = Some(1)).await;
    let gone = engine.draft(|plan| schedule(plan, "2026-11-23T14:00:00", "America/New_York", false)).await;
    let fine = engine.draft(|plan| schedule(plan, "2026-11-23T14:00:00", "America/New_York", false)).await;
    engine.launch(gone).await;
    engine.launch(fine).await;
    engine.add(&phone(1), Consent::OptIn, json!({})).await;
    let template = engine.campaign(gone).plan.template_id;
    engine.change(&format!("UPDATE templates SET deleted_at = 1 WHERE id = {template}")).await;
    tick_at(&engine, "2026-11-23T19:00:00Z").await;
    assert!(engine.campaign(big).pause_reason.unwrap().contains("more than 1 people"));
    assert!(engine.campaign(gone).pause_reason.unwrap().contains("was deleted"));
    assert_eq!(engine.campaign(fine).status, S::Launching);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_local_campaign_reaches_each_person_at_their_own_hour() {
    let mut engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({"city": "New York"})).await;
    engine.add("+94771234567", Consent::OptIn, json!({"city": "Colombo"})).await;
    engine
        .add("+14155550101", Consent::OptIn, json!({"city": "Auckland", "timezone": "Pacific/Auckland"}))
        .await;
    let id = engine
        .draft_saying("{city}", |plan| schedule(plan, "2026-12-01T10:00:00", "Europe/Paris", true))
        .await;
    assert_eq!(engine.launch(id).await.status, S::Scheduled);
    tick_at(&engine, "2026-11-30T20:00:00Z").await;
    engine.drain().await;
    assert_eq!(engine.reasons(id).get("queued:local_time"), Some(&3), "{:?}", engine.reasons(id));
    let table = [
        ("2026-11-30T20:59:00Z", 0),
        ("2026-11-30T21:00:00Z", 1),
        ("2026-12-01T04:29:00Z", 1),
        ("2026-12-01T04:30:00Z", 2),
        ("2026-12-01T14:59:00Z", 2),
        ("2026-12-01T15:00:00Z", 3),
    ];
    for (instant, sent) in table {
        engine.clock.set(instant.parse().unwrap());
        engine.drain().await;
        assert_eq!(engine.simulator.messages().len(), sent, "{instant}");
    }
    engine.settle().await;
    let order: Vec<String> = engine.simulator.messages().into_iter().map(|sent| sent.body).collect();
    assert_eq!(order, ["Auckland", "Colombo", "New York"]);
    engine.check_and_stop().await;
}
