//! The life of a campaign: what may be done in each state, and that nobody gets anything twice by it.

use event_stream_engine::campaign::{self, CampaignError};
use event_stream_engine::domain::campaign::{Action, CampaignStatus as S};
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::{Channel, Phone};
use event_stream_engine::store::messages::{self, NewMessage};
use event_stream_engine::store::{StoreError, campaigns, segments, senders};
use serde_json::json;

use crate::support::{Engine, SENDER, Wanted, phone, presets, quick_simulator};

async fn act(engine: &Engine, action: Action, id: i64) -> Result<S, CampaignError> {
    let setup = engine.setup.clone();
    let store = &engine.store;
    let campaign = match action {
        Action::Launch => store.write(move |tx| campaign::launch(tx, id, &setup)).await?,
        Action::Pause => store.write(move |tx| campaign::pause(tx, id, "test")).await?,
        Action::Resume => store.write(move |tx| campaign::resume(tx, id, &setup, "test")).await?,
        Action::Cancel => campaign::cancel(store, id, "test".to_owned()).await?,
        Action::RetryFailed => {
            campaign::retry_failed(store, &crate::support::presets(), id, "test".to_owned()).await?
        }
        Action::Edit | Action::ChangeRate | Action::Delete => unreachable!("plain saves of the API"),
    };
    Ok(campaign.status)
}

#[tokio::test]
async fn every_action_in_every_state_moves_the_campaign_or_says_where_it_would() {
    let engine = Engine::start().await;
    // In order of CampaignStatus::ALL: draft, scheduled, launching, running, paused, finished, cancelled.
    let table = [
        (
            Action::Launch,
            [Some(S::Launching), Some(S::Scheduled), Some(S::Launching), Some(S::Running), None, None, None],
        ),
        (
            Action::Pause,
            [None, Some(S::Paused), Some(S::Paused), Some(S::Paused), Some(S::Paused), None, None],
        ),
        (Action::Resume, [None, None, Some(S::Launching), Some(S::Running), Some(S::Launching), None, None]),
        (
            Action::Cancel,
            [
                None,
                Some(S::Cancelled),
                Some(S::Cancelled),
                Some(S::Cancelled),
                Some(S::Cancelled),
                None,
                Some(S::Cancelled),
            ],
        ),
        // Nothing failed, so what is over stays so.
        (Action::RetryFailed, [None, None, None, Some(S::Running), None, Some(S::Finished), None]),
    ];
    for (action, row) in table {
        for (status, expected) in S::ALL.into_iter().zip(row) {
            let id = engine.draft(|_| {}).await;
            engine
                .change(&format!("UPDATE campaigns SET status = '{}' WHERE id = {id}", status.as_str()))
                .await;
            match (act(&engine, action, id).await, expected) {
                (Ok(found), Some(expected)) => assert_eq!(found, expected, "{action:?} on {status:?}"),
                (Err(CampaignError::WrongState(wrong)), None) => {
                    assert_eq!((wrong.action, wrong.status), (action, status));
                    assert_eq!(engine.campaign(id).status, status);
                }
                (found, _) => panic!("{action:?} on {status:?}: {found:?}"),
            }
        }
    }
    engine.check_and_stop().await;
}

#[tokio::test]
async fn launching_twice_adds_nothing() {
    let mut engine = Engine::start().await;
    engine.add_many(5).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.launch(id).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&5));
    assert!(engine.simulator.counts().values().all(|n| *n == 1));
    assert_eq!(engine.events("campaign.launched"), 1);
    engine.check_and_stop().await;
}

/// Adds `n` opted-in people with plain SQL, quickly.
async fn add_crowd(engine: &Engine, n: i64) {
    let now = engine.clock.now();
    engine
        .change(&format!(
            "WITH RECURSIVE crowd (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM crowd WHERE n < {n})
             INSERT INTO users (phone, country, consent, attributes, created_at, updated_at)
               SELECT printf('+1212%07d', 2000000 + n), 'US', 'opt_in', jsonb('{{}}'), {now}, {now} FROM crowd;
             UPDATE user_counts SET n = n + {n} WHERE consent = 'opt_in';"
        ))
        .await;
}

#[tokio::test]
async fn a_crash_while_freezing_goes_on_where_it_stood_with_the_people_of_the_launch() {
    let engine = Engine::start().await;
    add_crowd(&engine, 5_000).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine
        .change(
            "CREATE TRIGGER crash BEFORE INSERT ON messages WHEN NEW.user_id = 3000
             BEGIN SELECT RAISE(ABORT, 'crash'); END",
        )
        .await;
    campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    // A defect stops this campaign alone, and says so.
    assert_eq!(engine.campaign(id).status, S::Paused);
    assert!(engine.campaign(id).pause_reason.unwrap().contains("crash"));
    let through = engine.campaign(id).frozen_through.unwrap();
    assert!((1..3_000).contains(&through), "{through}");
    assert_eq!(engine.counts(id).get("queued"), Some(&through));
    engine.change("DROP TRIGGER crash").await;
    let engine = engine.restart().await;
    engine.add(&phone(0), Consent::OptIn, json!({})).await;
    assert_eq!(act(&engine, Action::Resume, id).await.unwrap(), S::Launching);
    campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    assert_eq!(engine.campaign(id).status, S::Running);
    assert_eq!(engine.counts(id).get("queued"), Some(&5_000));
    campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    assert_eq!(engine.counts(id).get("queued"), Some(&5_000));
    // And a cancel takes them all back, in as many writes as it needs.
    campaign::cancel(&engine.store, id, "test".to_owned()).await.unwrap();
    assert_eq!(engine.counts(id).get("cancelled"), Some(&5_000), "{:?}", engine.counts(id));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_cancel_cut_short_by_a_crash_is_finished_by_the_calendar() {
    let engine = Engine::start().await;
    engine.add_many(3).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    engine.change(&format!("UPDATE campaigns SET status = 'cancelled' WHERE id = {id}")).await;
    campaign::tick(&engine.store, &engine.setup).await.unwrap();
    assert_eq!(engine.reasons(id).get("cancelled:campaign_cancelled"), Some(&3));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_pause_while_freezing_stops_it_and_resume_goes_on() {
    let mut engine = Engine::start().await;
    engine.add_many(3).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    act(&engine, Action::Pause, id).await.unwrap();
    engine.drain().await;
    assert!(engine.counts(id).is_empty());
    assert_eq!(act(&engine, Action::Resume, id).await.unwrap(), S::Launching);
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&3));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn excluded_segments_leave_out_those_in_them_and_nobody_else() {
    let mut engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({"tier": "gold"})).await;
    engine.add(&phone(1), Consent::OptIn, json!({"tier": "tin"})).await;
    engine.add(&phone(2), Consent::OptIn, json!({})).await;
    engine.add(&phone(3), Consent::OptIn, json!({"tier": null, "vip": true})).await;
    let excluded = engine
        .store
        .write::<_, _, StoreError>(|tx| {
            let gold = json!({"attribute": "tier", "operator": "equals", "value": "gold"});
            let vip = json!({"attribute": "vip", "operator": "equals", "value": true});
            Ok(vec![segments::insert(tx, "gold", &gold)?, segments::insert(tx, "vip", &vip)?])
        })
        .await
        .unwrap();
    let id = engine.draft(move |plan| plan.exclude_segment_ids = excluded).await;
    engine.launch(id).await;
    // Later edits of a segment change nothing for a campaign that was launched.
    engine.change("UPDATE segments SET definition = '{\"all\":[]}' WHERE name = 'gold'").await;
    engine.settle().await;
    let mut reached: Vec<String> = engine.simulator.counts().into_keys().collect();
    reached.sort();
    assert_eq!(reached, [phone(1), phone(2)]);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_audience_above_max_recipients_is_refused() {
    let engine = Engine::start().await;
    engine.add_many(3).await;
    let id = engine.draft(|plan| plan.max_recipients = Some(2)).await;
    let error = act(&engine, Action::Launch, id).await.unwrap_err();
    assert!(matches!(&error, CampaignError::Conflict(_)), "{error:?}");
    assert!(error.to_string().contains("more than 2 people, which is what max_recipients allows"), "{error}");
    assert_eq!(engine.campaign(id).status, S::Draft);
    let enough = engine.draft(|plan| plan.max_recipients = Some(3)).await;
    assert_eq!(act(&engine, Action::Launch, enough).await.unwrap(), S::Launching);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn nothing_is_launched_without_a_sender_for_it() {
    let engine = Engine::start().await;
    let id = engine.draft(|plan| plan.sender = Some("+19995550100".to_owned())).await;
    let error = act(&engine, Action::Launch, id).await.unwrap_err();
    assert!(matches!(&error, CampaignError::SetupIncomplete(_)), "{error:?}");
    assert!(error.to_string().contains("+19995550100"), "{error}");
    engine.store.write::<_, _, StoreError>(|tx| senders::synchronize(tx, &[])).await.unwrap();
    let id = engine.draft(|_| {}).await;
    let error = act(&engine, Action::Launch, id).await.unwrap_err();
    assert!(error.to_string().contains("[[senders]]"), "{error}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn pause_and_resume_send_to_nobody_twice_and_to_nobody_not() {
    let mut engine = Engine::start().await;
    engine.add_many(40).await;
    let id = engine.draft(|plan| plan.rate_limit_per_second = Some(10.0)).await;
    engine.launch(id).await;
    for _ in 0..4 {
        campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
        for _ in 0..12 {
            engine.dispatcher.tick().await.unwrap();
            engine.clock.advance(100);
        }
        act(&engine, Action::Pause, id).await.unwrap();
        engine.dispatcher.settle().await;
        let before = engine.simulator.messages().len();
        engine.drain().await;
        assert_eq!(engine.simulator.messages().len(), before, "it went on while it was paused");
        act(&engine, Action::Resume, id).await.unwrap();
    }
    engine.drain_after(5).await;
    engine.drain_after(5).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&40), "{:?}", engine.counts(id));
    assert!(engine.simulator.counts().values().all(|n| *n == 1));
    assert_eq!(engine.campaign(id).status, S::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_cancel_ends_those_who_wait_and_finishes_those_under_way() {
    let mut simulator = quick_simulator();
    simulator.latency_ms = 200;
    let wanted = Wanted { simulator, max_in_flight: 3, ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    engine.add_many(5).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    engine.dispatcher.tick().await.unwrap();
    engine.clock.advance(100);
    engine.dispatcher.tick().await.unwrap();
    assert_eq!(engine.counts(id).get("sending"), Some(&2));
    // One of the three slots is kept for transactional messages. Both requests begin as soon as this task lets go;
    // a cancel after that can't call them back.
    tokio::task::yield_now().await;
    act(&engine, Action::Cancel, id).await.unwrap();
    engine.settle().await;
    let counts = engine.counts(id);
    assert_eq!((counts.get("cancelled"), counts.get("delivered")), (Some(&3), Some(&2)), "{counts:?}");
    assert_eq!(engine.simulator.messages().len(), 2);
    assert_eq!(engine.campaign(id).status, S::Cancelled);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_campaign_with_somebody_who_waits_is_not_finished() {
    let mut engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({})).await;
    engine.add(&phone(1), Consent::OptIn, json!({"timezone": "Asia/Tokyo"})).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.settle().await;
    let reasons = engine.reasons(id);
    assert_eq!(reasons.get("queued:quiet_hours"), Some(&1), "{reasons:?}");
    assert_eq!(engine.campaign(id).status, S::Running);
    engine.drain_after(8 * 3_600).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&2));
    assert_eq!(engine.campaign(id).status, S::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn retry_failed_asks_the_gate_again() {
    let mut engine = Engine::start().await;
    engine.add_many(2).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine
        .simulator
        .set_faults(serde_json::from_value(json!({"errors": [{"code": 30004, "count": 2}]})).unwrap());
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("undelivered:30004"), Some(&2));
    engine.simulator.inbound(&phone(0), SENDER, "STOP").await;
    assert_eq!(act(&engine, Action::RetryFailed, id).await.unwrap(), S::Running);
    engine.settle().await;
    let reasons = engine.reasons(id);
    assert_eq!(reasons.get("skipped:stop"), Some(&1), "{reasons:?}");
    assert_eq!(reasons.get("delivered:"), Some(&1), "{reasons:?}");
    assert_eq!(engine.campaign(id).status, S::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_clone_is_a_draft_with_the_same_plan_and_no_schedule() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    let now = engine.clock.now();
    let id = engine
        .draft(move |plan| {
            plan.schedule = Some(("2026-12-01T09:00:00".to_owned(), "Asia/Colombo".to_owned()));
            plan.starts_at = Some(now);
            plan.is_local_to_recipient = true;
            plan.max_recipients = Some(9);
        })
        .await;
    engine.launch(id).await;
    engine.drain().await;
    let copy = engine.store.write(move |tx| campaign::clone(tx, id)).await.unwrap();
    assert_eq!((copy.status, copy.plan.name.as_str()), (S::Draft, "Test (copy)"));
    assert_eq!(
        (copy.plan.schedule, copy.plan.starts_at, copy.plan.is_local_to_recipient),
        (None, None, false)
    );
    assert_eq!((copy.plan.max_recipients, copy.launched_at), (Some(9), None));
    assert!(engine.counts(copy.id).is_empty());
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_is_too_late_expires_with_the_reason_it_waited_for() {
    let mut engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({"timezone": "Asia/Tokyo"})).await;
    let id = engine.draft(|plan| plan.expires_after_hours = Some(2.0)).await;
    engine.launch(id).await;
    let slow = engine
        .draft(|plan| {
            plan.expires_after_hours = Some(1.0);
            plan.rate_limit_per_second = Some(0.000_1);
            plan.quiet_hours = json!("off");
        })
        .await;
    engine.launch(slow).await;
    engine.drain().await;
    assert_eq!(engine.reasons(id).get("expired:quiet_hours"), Some(&1), "{:?}", engine.reasons(id));
    engine.drain_after(4 * 3_600).await;
    assert_eq!(engine.reasons(slow).get("expired:deadline"), Some(&1), "{:?}", engine.reasons(slow));
    assert!(engine.simulator.messages().is_empty());
    engine.check_and_stop().await;
}

async fn send_test(engine: &Engine, id: i64, phones: &[String]) -> Vec<i64> {
    let phones: Vec<Phone> = phones.iter().map(|phone| Phone::parse(phone, None).unwrap()).collect();
    let setup = engine.setup.clone();
    engine.store.write(move |tx| campaign::send_test(tx, id, &phones, &setup, "test")).await.unwrap()
}

#[tokio::test]
async fn test_sends_obey_stop_and_take_nobodys_place() {
    let mut engine = Engine::start().await;
    // Night in New York: tests go out all the same.
    engine.clock.set("2026-11-23T08:00:00Z".parse().unwrap());
    engine.add(&phone(0), Consent::Unknown, json!({})).await;
    engine.add(&phone(1), Consent::Stop, json!({})).await;
    engine.add(&phone(3), Consent::OptIn, json!({})).await;
    let id = engine.draft(|_| {}).await;
    send_test(&engine, id, &[phone(0), phone(1), phone(2), phone(3)]).await;
    send_test(&engine, id, &[phone(3)]).await;
    engine.settle().await;
    assert!(engine.counts(id).is_empty(), "{:?}", engine.counts(id));
    assert_eq!(engine.message_to(0).0, "delivered");
    assert_eq!(engine.message_to(1), ("skipped".to_owned(), "stop".to_owned(), 0));
    assert_eq!(engine.message_to(2).0, "delivered", "a number that nobody knew");
    assert_eq!(engine.simulator.messages_to(&phone(3)).len(), 2, "as often as one likes");
    assert_eq!(engine.consent(&phone(2)), "unknown");
    engine.launch(id).await;
    engine.drain_after(8 * 3_600).await;
    engine.settle().await;
    assert_eq!(engine.simulator.messages_to(&phone(3)).len(), 3, "the launch reaches those tested as well");
    assert_eq!(engine.counts(id).get("delivered"), Some(&1));
    assert_eq!(engine.campaign(id).status, S::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn deleting_a_draft_leaves_its_test_sends() {
    let mut engine = Engine::start().await;
    let id = engine.draft(|_| {}).await;
    send_test(&engine, id, &[phone(0)]).await;
    engine.store.write::<_, _, StoreError>(move |tx| campaigns::delete(tx, id)).await.unwrap();
    engine.settle().await;
    assert_eq!(engine.message_to(0).0, "delivered");
    let orphaned: i64 = engine.value("SELECT count(*) FROM messages WHERE campaign_id IS NULL");
    assert_eq!(orphaned, 1);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_triggered_campaign_sends_once_for_each_occasion_and_runs_until_it_is_ended() {
    let mut engine = Engine::start().await;
    let user_id = engine.add(&phone(0), Consent::OptIn, json!({"name": "Ana"})).await;
    let id = engine
        .draft_saying("{name}: order {order}", |plan| {
            (plan.segment_id, plan.trigger_type) = (None, Some("order.paid".to_owned()));
        })
        .await;
    assert_eq!(engine.launch(id).await.status, S::Running);
    let (template, version): (i64, i64) =
        (engine.campaign(id).plan.template_id, engine.campaign(id).template_version.unwrap());
    let queue = |occasion: &'static str, order: &'static str| {
        let store = engine.store.clone();
        async move {
            store
                .write::<_, _, StoreError>(move |tx| {
                    let message = NewMessage {
                        user_id,
                        campaign_id: Some(id),
                        occasion,
                        kind: Kind::Marketing,
                        channel: Channel::Sms,
                        lane: id,
                        due_at: tx.now(),
                        closes_at: None,
                        expires_at: None,
                        sender_id: Some(1),
                        topic_id: None,
                        template: Some((template, version)),
                        variables: Some(json!({"order": order}).to_string()),
                        reference: None,
                        body: None,
                        media_urls: None,
                        is_simulated: true,
                        refused: None,
                    };
                    messages::insert(tx, &message)
                })
                .await
        }
    };
    queue("t1", "A-1").await.unwrap();
    queue("t2", "A-2").await.unwrap();
    queue("t1", "A-1").await.unwrap_err();
    engine.settle().await;
    let bodies: Vec<String> = engine.simulator.messages().into_iter().map(|sent| sent.body).collect();
    assert_eq!(bodies, ["Ana: order A-1", "Ana: order A-2"]);
    assert_eq!(engine.counts(id).get("delivered"), Some(&2), "{:?}", engine.counts(id));
    assert_eq!(engine.campaign(id).status, S::Running);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_edit_after_the_launch_changes_nothing_that_was_launched() {
    let mut engine = Engine::start().await;
    engine.add_many(2).await;
    let id = engine.draft_saying("old", |plan| plan.rate_limit_per_second = Some(1.0)).await;
    engine.launch(id).await;
    let template = engine.campaign(id).plan.template_id;
    engine
        .change(&format!(
            "INSERT INTO template_versions (template_id, version, channel, body, created_at)
               VALUES ({template}, 2, 'sms', 'new', 0);
             UPDATE templates SET version = 2 WHERE id = {template};"
        ))
        .await;
    engine.drain_after(2).await;
    engine.settle().await;
    let bodies: Vec<String> = engine.simulator.messages().into_iter().map(|sent| sent.body).collect();
    assert_eq!(bodies, ["old", "old"]);
    let next = engine.draft(move |plan| plan.template_id = template).await;
    engine.launch(next).await;
    engine.settle().await;
    assert_eq!(engine.simulator.messages().last().unwrap().body, "new");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_retry_with_nothing_that_failed_leaves_a_finished_campaign_finished() {
    let mut engine = Engine::start().await;
    engine.add_many(3).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.settle().await;
    assert_eq!(engine.campaign(id).status, S::Finished);
    let before: i64 = engine.value("SELECT max(id) FROM events");
    let after = campaign::retry_failed(&engine.store, &presets(), id, "test".to_owned()).await.unwrap();
    assert_eq!((after.status, engine.value::<i64>("SELECT max(id) FROM events")), (S::Finished, before));
    engine.check_and_stop().await;
}
