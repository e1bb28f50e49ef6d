//! What each kind of refusal and failure brings about.

use event_stream_engine::campaign;
use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::simulator::Faults;
use event_stream_engine::store::templates::TemplateText;
use serde_json::json;

use super::{failing, launched, nobody_twice, silent, tell, tick_twice};
use crate::support::{Engine, Wanted, phone};

async fn resume(engine: &Engine, id: i64) {
    let setup = engine.setup.clone();
    engine.store.write(move |tx| campaign::resume(tx, id, &setup, "test")).await.unwrap();
}

#[tokio::test]
async fn opted_out_at_twilio_is_a_stop_here_and_takes_back_what_waits() {
    let mut engine = Engine::start().await;
    engine.add_many(2).await;
    let slow = engine.draft(|plan| plan.rate_limit_per_second = Some(0.000_1)).await;
    engine.launch(slow).await;
    engine.drain().await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    let mut faults = failing(21610, None);
    faults.errors[0].to = Some(phone(0));
    engine.simulator.set_faults(faults);
    engine.settle().await;
    assert_eq!(engine.consent(&phone(0)), "stop");
    assert_eq!(engine.consent(&phone(1)), "opt_in");
    let source: String = engine.value("SELECT source FROM consent_ledger ORDER BY id DESC LIMIT 1");
    assert_eq!(source, "twilio");
    assert_eq!(engine.reasons(id).get("failed:21610"), Some(&1));
    assert_eq!(
        engine.value::<i64>(&format!("SELECT opt_outs FROM campaign_sums WHERE campaign_id = {id}")),
        1
    );
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&1));
    assert_eq!(engine.reasons(slow).get("cancelled:stop"), Some(&1), "{:?}", engine.reasons(slow));
    assert_eq!(engine.reasons(slow).get("queued:"), Some(&1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_block_on_whatsapp_is_a_stop_here_too() {
    for code in [63014, 63033] {
        let mut engine = Engine::start().await;
        let id = launched(&engine, 1).await;
        engine.simulator.set_faults(failing(code, None));
        engine.settle().await;
        assert_eq!(engine.consent(&phone(0)), "stop", "{code}");
        let reasons = engine.reasons(id);
        let ended: i64 =
            reasons.iter().filter(|(why, _)| why.ends_with(&format!(":{code}"))).map(|(_, n)| n).sum();
        assert_eq!(ended, 1, "{reasons:?}");
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn a_dead_number_is_marked_whether_twilio_says_so_at_once_or_later() {
    for (code, status) in [(21211, "failed"), (21614, "failed"), (30005, "undelivered")] {
        let mut engine = Engine::start().await;
        let id = launched(&engine, 1).await;
        engine.simulator.set_faults(failing(code, Some(1)));
        engine.settle().await;
        let expected = (status.to_owned(), "provider_error".to_owned(), i64::from(code));
        assert_eq!(engine.message(&format!("m.campaign_id = {id}")), expected);
        let reason: String = engine.value("SELECT unreachable_reason FROM users WHERE reachable = 0");
        assert!(reason.starts_with(&code.to_string()), "{reason}");
        let next = engine.draft(|_| {}).await;
        engine.launch(next).await;
        engine.settle().await;
        assert_eq!(engine.reasons(next).get("skipped:unreachable"), Some(&1), "{code}");
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn wrong_credentials_pause_everything_and_lose_nobody() {
    let wanted = Wanted { password: Some("wrong".to_owned()), ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    let id = launched(&engine, 5).await;
    engine.drain().await;
    // However often somebody resumes without mending it, nobody is given up for it.
    for _ in 0..4 {
        let campaign = engine.campaign(id);
        assert_eq!(campaign.status, CampaignStatus::Paused);
        assert!(campaign.pause_reason.unwrap().contains("Copy account SID and auth token again"));
        let paused: String = engine.value("SELECT pause_reason FROM account");
        assert!(paused.contains("20003"), "{paused}");
        assert_eq!(engine.counts(id).get("queued"), Some(&5), "{:?}", engine.counts(id));
        resume(&engine, id).await;
        engine.drain_after(600).await;
    }
    assert!(engine.simulator.messages().is_empty());
    let mut engine = engine.restart_with_right_password().await;
    resume(&engine, id).await;
    engine.drain_after(600).await;
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&5), "{:?}", engine.reasons(id));
    nobody_twice(&engine);
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_mistake_in_set_up_stops_the_campaign_at_the_first_message() {
    let table =
        [(21608, "Verify the number"), (21606, "Check [[senders]] address"), (21408, "Geo permissions")];
    for (code, line) in table {
        let wanted = Wanted { max_in_flight: 1, ..Wanted::default() };
        let mut engine = Engine::start_with(wanted).await;
        let id = launched(&engine, 10).await;
        engine.simulator.set_faults(failing(code, None));
        engine.drain().await;
        let campaign = engine.campaign(id);
        assert_eq!(campaign.status, CampaignStatus::Paused, "{code}");
        assert!(campaign.pause_reason.unwrap().contains(line), "{code}");
        let reasons = engine.reasons(id);
        assert_eq!(reasons.get(&format!("failed:{code}")), Some(&1), "{reasons:?}");
        assert_eq!(reasons.get("queued:"), Some(&9), "{reasons:?}");
        engine.simulator.set_faults(Faults::default());
        resume(&engine, id).await;
        engine.settle().await;
        campaign::retry_failed(&engine.store, &crate::support::presets(), id, "test".to_owned())
            .await
            .unwrap();
        engine.settle().await;
        assert_eq!(engine.reasons(id).get("delivered:"), Some(&10), "{code}: {:?}", engine.reasons(id));
        nobody_twice(&engine);
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn a_sender_that_can_not_send_stands_still_and_the_message_waits() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    let text = TemplateText {
        content_sid: Some("HX00000000000000000000000000000001".to_owned()),
        content_variables: json!({"1": "{name}", "2": "A-1"}).as_object().unwrap().clone(),
        ..TemplateText::plain(Channel::Whatsapp, "Hello")
    };
    let id = engine.draft_with(text, |plan| plan.kind = Kind::Transactional).await;
    engine.launch(id).await;
    engine.simulator.set_faults(failing(63007, Some(1)));
    engine.settle().await;
    let paused: String = engine.value("SELECT address FROM senders WHERE pause_reason IS NOT NULL");
    assert_eq!(paused, crate::support::WHATSAPP_SENDER);
    assert_eq!(engine.campaign(id).status, CampaignStatus::Paused);
    assert_eq!(engine.reasons(id).get("queued:sender_paused"), Some(&1));
    resume(&engine, id).await;
    engine.drain_after(600).await;
    engine.settle().await;
    let counts = engine.counts(id);
    let arrived = counts.get("delivered").or(counts.get("read"));
    assert_eq!(arrived, Some(&1), "{counts:?}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_unregistered_sender_is_told_later_and_stands_still_all_the_same() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 1).await;
    engine.simulator.set_faults(failing(30034, Some(1)));
    engine.settle().await;
    assert_eq!(engine.campaign(id).status, CampaignStatus::Paused);
    assert!(engine.campaign(id).pause_reason.unwrap().contains("registration"));
    assert_eq!(engine.reasons(id).get("queued:sender_paused"), Some(&1), "{:?}", engine.reasons(id));
    assert_eq!(engine.events("sender.paused"), 1);
    resume(&engine, id).await;
    engine.drain_after(600).await;
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&1), "{:?}", engine.reasons(id));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_phone_that_is_off_is_tried_again_and_reopens_a_finished_campaign() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 1).await;
    engine.simulator.set_faults(silent(Some(1)));
    engine.drain().await;
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    tell(&engine, 1, "undelivered", Some("30003")).await;
    assert_eq!(engine.reasons(id).get("queued:retry_later"), Some(&1), "{:?}", engine.reasons(id));
    assert_eq!(engine.campaign(id).status, CampaignStatus::Running, "finished with an open row");
    engine.drain_after(4 * 3_600).await;
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&1), "{:?}", engine.reasons(id));
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn max_attempts_ends_the_trying() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    let id = engine.draft(|plan| plan.quiet_hours = json!("off")).await;
    engine.launch(id).await;
    engine.simulator.set_faults(failing(30003, None));
    engine.settle().await;
    for _ in 0..5 {
        engine.drain_after(4 * 3_600).await;
        engine.settle().await;
    }
    let expected = ("undelivered".to_owned(), "provider_error".to_owned(), 30003);
    assert_eq!(engine.message_to(0), expected);
    assert_eq!(engine.simulator.messages().len(), 3);
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    let sums: (i64, i64) = engine
        .store
        .read_here(|conn| {
            let sums = event_stream_engine::store::campaigns::sums(conn, id)?;
            Ok::<_, event_stream_engine::store::StoreError>((sums.accepted, sums.parts))
        })
        .unwrap();
    assert_eq!(sums, (1, 3), "one message that the provider took, three parts handed over");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_failure_after_the_campaign_was_cancelled_is_not_tried_again() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 1).await;
    engine.simulator.set_faults(silent(Some(1)));
    campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    tick_twice(&mut engine).await;
    engine.dispatcher.settle().await;
    assert_eq!(engine.message_to(0).0, "accepted");
    campaign::cancel(&engine.store, id, "test".to_owned()).await.unwrap();
    tell(&engine, 1, "undelivered", Some("30003")).await;
    assert_eq!(engine.message_to(0), ("undelivered".to_owned(), "provider_error".to_owned(), 30003));
    assert_eq!(engine.campaign(id).status, CampaignStatus::Cancelled);
    engine.simulator.wait_until_quiet().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_twilio_gave_up_as_too_late_goes_once_more_if_there_is_time() {
    for (hours, expected) in [(None, "delivered"), (Some(0.01), "expired")] {
        let mut engine = Engine::start().await;
        engine.add_many(1).await;
        let id = engine.draft(move |plan| plan.expires_after_hours = hours).await;
        engine.launch(id).await;
        engine.simulator.set_faults(silent(Some(1)));
        engine.drain().await;
        engine.clock.advance(60_000);
        tell(&engine, 1, "failed", Some("30036")).await;
        engine.drain_after(60).await;
        engine.settle().await;
        assert_eq!(engine.message_to(0).0, expected, "{hours:?} {:?}", engine.message_to(0));
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn an_unknown_code_fails_is_kept_and_not_tried_again() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 1).await;
    engine.simulator.set_faults(failing(99_999, Some(1)));
    engine.settle().await;
    engine.drain_after(4 * 3_600).await;
    let expected = ("failed".to_owned(), "provider_error".to_owned(), 99_999);
    assert_eq!(engine.message_to(0), expected);
    let attempts: i64 = engine.value("SELECT count(*) FROM attempts");
    assert_eq!(attempts, 1);
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn too_many_requests_cost_no_attempt_and_nobody_gets_it_twice() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 3).await;
    // More refusals than max_attempts allows failures.
    let faults = Faults { rate_429_percent: 100.0, count: Some(15), ..Faults::default() };
    engine.simulator.set_faults(faults);
    engine.settle().await;
    for _ in 0..12 {
        engine.drain_after(300).await;
    }
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&3), "{:?}", engine.reasons(id));
    nobody_twice(&engine);
    let attempts: i64 = engine.value("SELECT max(attempts) FROM messages");
    assert!(attempts > 3, "the faults did not strike: {attempts}");
    engine.check_and_stop().await;
}
