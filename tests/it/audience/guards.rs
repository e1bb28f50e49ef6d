//! What keeps a launch from going too far: deadlines, sizes, exclusions.

use event_stream_engine::campaign::{self, CampaignError, Clearance};
use event_stream_engine::domain::campaign::CampaignStatus as S;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::gate::Reason;
use event_stream_engine::store::campaigns::CampaignRow;
use event_stream_engine::store::{StoreError, segments};
use futures_util::FutureExt;
use serde_json::json;

use crate::support::{Engine, Wanted, phone};

impl Engine {
    async fn clear(&self, id: i64, accept: bool) -> Clearance {
        campaign::clear(&self.store, &self.house(), id, accept).await.unwrap()
    }

    async fn launch_cleared(&self, id: i64, clearance: &Clearance) -> Result<CampaignRow, CampaignError> {
        let (setup, clearance) = (self.setup.clone(), clearance.clone());
        self.store.write(move |tx| campaign::launch_cleared(tx, id, &setup, &clearance)).await
    }

    async fn look_and_launch(&self, id: i64, accept: bool) -> Result<CampaignRow, CampaignError> {
        self.launch_cleared(id, &self.clear(id, accept).await).await
    }
}

#[tokio::test]
async fn a_deadline_that_passes_before_everybody_had_their_turn_has_to_be_accepted() {
    let wanted = Wanted { rate: 1.0, ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    engine.add_many(10).await;
    let two_seconds = 5.0 / 3_600.0;
    let id = engine
        .draft(move |plan| {
            plan.quiet_hours = json!("off");
            plan.expires_after_hours = Some(two_seconds);
        })
        .await;
    let CampaignError::WouldExpire(told) = engine.look_and_launch(id, false).await.unwrap_err() else {
        panic!("it was launched");
    };
    assert_eq!((told.people, told.of), (5, 10));
    assert!(told.by_reason.is_empty(), "they stand too far back: {told:?}");
    assert_eq!(engine.campaign(id).status, S::Draft);
    assert_eq!(engine.look_and_launch(id, true).await.unwrap().status, S::Launching);
    // Once it runs, nobody is asked again.
    assert_eq!(engine.look_and_launch(id, false).await.unwrap().status, S::Launching);
    engine.drain_after(10).await;
    let counts = engine.counts(id);
    assert!(counts["expired"] >= 4, "{counts:?}");
    // The same with time enough.
    let id = engine
        .draft(|plan| {
            plan.quiet_hours = json!("off");
            plan.expires_after_hours = Some(1.0);
        })
        .await;
    assert_eq!(engine.look_and_launch(id, false).await.unwrap().status, S::Launching);
    engine.drain_after(30).await;
    engine.settle().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn hours_that_leave_no_time_are_told_by_their_reason() {
    let engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({})).await;
    engine.add(&phone(1), Consent::OptIn, json!({"timezone": "Asia/Tokyo"})).await;
    let id = engine.draft(|plan| plan.expires_after_hours = Some(3.0)).await;
    let CampaignError::WouldExpire(told) = engine.look_and_launch(id, false).await.unwrap_err() else {
        panic!("it was launched");
    };
    assert_eq!((told.people, told.of), (1, 2));
    assert_eq!(told.by_reason, [(Reason::QuietHours, 1)]);
    assert!(told.to_string().contains("accept_would_expire"), "{told}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_scheduled_launch_is_asked_when_it_is_scheduled_and_not_at_its_start() {
    let mut engine = Engine::start().await;
    engine.add(&phone(1), Consent::OptIn, json!({"timezone": "Asia/Tokyo"})).await;
    let start = engine.clock.now() + 3_600_000;
    let id = engine
        .draft(move |plan| {
            plan.expires_after_hours = Some(3.0);
            plan.schedule = Some(("2026-11-23T13:00:00".to_owned(), "America/New_York".to_owned()));
            plan.starts_at = Some(start);
        })
        .await;
    let error = engine.look_and_launch(id, false).await.unwrap_err();
    assert!(matches!(error, CampaignError::WouldExpire(_)), "{error:?}");
    assert_eq!(engine.look_and_launch(id, true).await.unwrap().status, S::Scheduled);
    engine.clock.advance(3_600_000);
    campaign::tick(&engine.store, &engine.setup).await.unwrap();
    assert_eq!(engine.campaign(id).status, S::Launching);
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("expired:quiet_hours"), Some(&1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_was_looked_at_holds_only_for_the_plan_that_was_looked_at() {
    let engine = Engine::start().await;
    engine.add_many(2).await;
    let id = engine.draft(|plan| plan.expires_after_hours = Some(3.0)).await;
    let clearance = engine.clear(id, false).await;
    let segment = engine.campaign(id).plan.segment_id.unwrap();
    engine
        .store
        .write::<_, _, StoreError>(move |tx| segments::update(tx, segment, "changed", &json!({"all": []})))
        .await
        .unwrap();
    let error = engine.launch_cleared(id, &clearance).await.unwrap_err();
    assert!(error.to_string().contains("changed while its audience was looked at"), "{error}");
    assert_eq!(engine.look_and_launch(id, false).await.unwrap().status, S::Launching);
}

#[tokio::test]
async fn who_comes_between_the_count_and_the_launch_counts_for_max_recipients() {
    let engine = Engine::start().await;
    engine.add_many(3).await;
    let id = engine.draft(|plan| plan.max_recipients = Some(3)).await;
    let clearance = engine.clear(id, false).await;
    engine.add(&phone(7), Consent::OptIn, json!({})).await;
    let error = engine.launch_cleared(id, &clearance).await.unwrap_err();
    assert!(error.to_string().contains("more than 3 people"), "{error}");
    assert!(engine.look(id).await.obstacles.iter().any(|(code, _)| *code == "max_recipients"));
    // With the deadline looked at, the same count serves.
    let id = engine
        .draft(|plan| {
            plan.max_recipients = Some(4);
            plan.expires_after_hours = Some(30.0);
        })
        .await;
    let clearance = engine.clear(id, false).await;
    engine.add(&phone(8), Consent::OptIn, json!({})).await;
    let error = engine.launch_cleared(id, &clearance).await.unwrap_err();
    assert!(error.to_string().contains("more than 4 people"), "{error}");
}

#[tokio::test]
async fn a_scheduled_launch_above_max_recipients_is_refused_at_once_and_a_clone_keeps_the_limit() {
    let engine = Engine::start().await;
    engine.add_many(3).await;
    let start = engine.clock.now() + 3_600_000;
    let id = engine
        .draft(move |plan| {
            plan.max_recipients = Some(2);
            plan.schedule = Some(("2026-11-23T13:00:00".to_owned(), "America/New_York".to_owned()));
            plan.starts_at = Some(start);
        })
        .await;
    let error = engine.look_and_launch(id, false).await.unwrap_err();
    assert!(error.to_string().contains("more than 2 people"), "{error}");
    assert_eq!(engine.campaign(id).status, S::Draft);
    let copy = engine.store.write(move |tx| campaign::clone(tx, id)).await.unwrap();
    let error = engine.look_and_launch(copy.id, false).await.unwrap_err();
    assert!(error.to_string().contains("more than 2 people"), "{error}");
}

#[tokio::test]
async fn who_enters_an_exclusion_after_the_audience_was_frozen_still_gets_it() {
    let mut engine = Engine::start().await;
    let id = engine.add(&phone(0), Consent::OptIn, json!({})).await;
    engine.add(&phone(1), Consent::OptIn, json!({"vip": true})).await;
    let vip = json!({"attribute": "vip", "operator": "equals", "value": true});
    let excluded =
        engine.store.write::<_, _, StoreError>(move |tx| segments::insert(tx, "vip", &vip)).await.unwrap();
    let campaign_id = engine.draft(move |plan| plan.exclude_segment_ids = vec![excluded]).await;
    let seen = engine.look(campaign_id).await;
    assert_eq!((seen.people, seen.excluded[0].bucket.people, seen.audience()), (2, 1, 1));
    engine.launch(campaign_id).await;
    campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    engine.change(&format!("UPDATE users SET attributes = jsonb('{{\"vip\":true}}') WHERE id = {id}")).await;
    engine.settle().await;
    assert_eq!(engine.counts(campaign_id).get("delivered"), Some(&1), "the audience is that of the launch");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_launch_does_not_wait_for_those_who_only_look() {
    let engine = Engine::start().await;
    engine.add_many(2).await;
    let id = engine.draft(|plan| plan.expires_after_hours = Some(12.0)).await;
    let house = engine.house();
    // Looks that hold their turn and never come to an end.
    let mut looks: Vec<_> =
        (0..3).map(|_| Box::pin(campaign::look_at_audience(&engine.store, &house, id, 0))).collect();
    for look in &mut looks {
        assert!(look.now_or_never().is_none());
    }
    let launch = engine.look_and_launch(id, false);
    let launched = tokio::time::timeout(std::time::Duration::from_secs(10), launch).await;
    assert_eq!(launched.expect("the launch waits for looks").unwrap().status, S::Launching);
    drop(looks);
    engine.change("UPDATE campaigns SET status = 'cancelled'").await;
    engine.check_and_stop().await;
}
