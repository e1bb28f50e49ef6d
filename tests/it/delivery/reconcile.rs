//! Messages whose answer was lost, looked for in Twilio's list: found, sent again, or held.

use event_stream_engine::delivery::{Looked, Reconciler, UncertainRules, rescue_pending};
use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::simulator::{Faults, Options};
use event_stream_engine::store::templates::TemplateText;
use event_stream_engine::twilio::client::{Client, OutgoingMessage, SendOutcome};
use serde_json::json;

use super::{launched, nobody_twice, tick_twice};
use crate::support::{Engine, SENDER, Wanted, phone, quick_simulator};

/// How long is looked before the policy decides.
const AFTER: i64 = 120_000;

fn rules(resends: bool) -> UncertainRules {
    UncertainRules { after: AFTER, resends }
}

fn reconciler(engine: &Engine, rules: UncertainRules) -> Reconciler {
    engine.set(|settings| settings.uncertain = rules);
    Reconciler::new(engine.store.clone(), super::client(engine), engine.settings(), Metrics::default())
}

/// The loop of `seconds` seconds, and the last tick's moment.
async fn look_for(engine: &Engine, reconciler: &Reconciler, seconds: usize) -> Looked {
    let mut sum = Looked::default();
    for _ in 0..seconds {
        engine.clock.advance(1_000);
        let looked = reconciler.tick().await.unwrap();
        sum.asked += looked.asked;
        sum.found += looked.found;
        sum.not_found += looked.not_found;
        sum.given_up += looked.given_up;
        sum.held += looked.held;
        sum.failed += looked.failed;
    }
    sum
}

/// The answer of the next `count` requests is lost, and Twilio took the message (or did not).
fn losing(is_accepted: bool, count: u64) -> Faults {
    let share = |condition: bool| if condition { 100.0 } else { 0.0 };
    Faults {
        error_500_after_accept_percent: share(is_accepted),
        error_500_before_percent: share(!is_accepted),
        callbacks_missing_percent: 100.0,
        count: Some(count),
        ..Faults::default()
    }
}

fn everything_lost() -> Faults {
    Faults { read_500_percent: 100.0, ..Faults::default() }
}

/// One person whose message is uncertain.
async fn one_lost(is_accepted: bool) -> (Engine, i64) {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 1).await;
    engine.simulator.set_faults(losing(is_accepted, 1));
    engine.drain().await;
    engine.simulator.wait_until_quiet().await;
    assert_eq!(engine.message_to(0).0, "uncertain");
    (engine, id)
}

fn outcomes(engine: &Engine) -> String {
    engine.value(
        "SELECT group_concat(outcome, ' ') FROM (SELECT outcome FROM attempts ORDER BY message_id, number)",
    )
}

#[tokio::test]
async fn lost_after_acceptance_it_is_found_and_nothing_is_sent_again() {
    let (mut engine, id) = one_lost(true).await;
    let reconciler = reconciler(&engine, rules(true));
    assert_eq!(reconciler.tick().await.unwrap(), Looked::default(), "too early for a look");
    let looked = look_for(&engine, &reconciler, 2).await;
    assert_eq!((looked.asked, looked.found), (1, 1));
    assert_eq!(engine.message_to(0), ("delivered".to_owned(), String::new(), 0));
    let sid: String = engine.value("SELECT sid FROM messages");
    assert_eq!(sid, engine.simulator.messages()[0].sid);
    assert_eq!(outcomes(&engine), "settled");
    let found: i64 = engine.value(
        "SELECT count(*) FROM events WHERE type = 'message.accepted' AND data ->> 'found_by' = 'lookup'",
    );
    assert_eq!(found, 1);
    let price: (i64, i64) = (
        engine.value("SELECT price_micros FROM messages"),
        engine.value("SELECT price_micros FROM campaign_sums"),
    );
    assert_eq!(price, (7_500, 7_500));
    let accepted: i64 = engine.value("SELECT accepted FROM campaign_sums");
    assert_eq!(accepted, 1);
    engine.drain_after(600).await;
    assert_eq!(engine.simulator.messages().len(), 1);
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    assert_eq!(look_for(&engine, &reconciler, 200).await.asked, 0, "nothing is left to look for");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn lost_before_acceptance_it_is_sent_once_more_and_not_before_its_time() {
    let (mut engine, id) = one_lost(false).await;
    let since: i64 = engine.value("SELECT answered_at FROM attempts");
    let reconciler = reconciler(&engine, rules(true));
    let early = look_for(&engine, &reconciler, 118).await;
    assert_eq!((early.asked, early.given_up), (3, 0), "looks at 2, 15 and 60 s");
    assert!(engine.clock.now() < since + AFTER);
    assert_eq!(engine.message_to(0).0, "uncertain");
    let last = look_for(&engine, &reconciler, 2).await;
    assert_eq!((last.asked, last.given_up), (1, 1));
    assert_eq!(engine.message_to(0), ("queued".to_owned(), "answer_lost".to_owned(), 0));
    assert_eq!(engine.events("message.retried"), 1);
    engine.drain().await;
    engine.settle().await;
    assert_eq!(engine.message_to(0).0, "delivered");
    assert_eq!(outcomes(&engine), "given_up accepted");
    assert_eq!(engine.simulator.messages().len(), 1);
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn by_the_policy_hold_it_stays_uncertain_until_a_callback_settles_it() {
    let (mut engine, id) = one_lost(false).await;
    let reconciler = reconciler(&engine, rules(false));
    let looked = look_for(&engine, &reconciler, 200).await;
    assert_eq!((looked.asked, looked.held, looked.given_up), (4, 1, 0));
    engine.drain_after(600).await;
    assert_eq!(engine.message_to(0).0, "uncertain");
    assert_eq!(engine.simulator.messages().len(), 0);
    assert_eq!(engine.campaign(id).status, CampaignStatus::Running, "finished with an open row");
    let news = [("MessageSid", "SM1"), ("MessageStatus", "delivered")];
    assert_eq!(engine.callback(1, 1, &news).await, 200);
    engine.drain().await;
    assert_eq!(engine.message_to(0).0, "delivered");
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn after_a_stop_it_is_not_sent_again() {
    let (mut engine, _) = one_lost(false).await;
    engine.simulator.inbound(&phone(0), SENDER, "STOP").await;
    let looked = look_for(&engine, &reconciler(&engine, rules(true)), 125).await;
    assert_eq!(looked.given_up, 1);
    engine.drain_after(600).await;
    assert_eq!(engine.message_to(0), ("cancelled".to_owned(), "stop".to_owned(), 0));
    assert_eq!(engine.simulator.messages().len(), 0);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn at_night_the_second_try_waits_for_the_morning() {
    let (mut engine, _) = one_lost(false).await;
    // Twenty past eight in the evening where the person is.
    engine.clock.set("2026-11-24T01:20:00Z".parse().unwrap());
    let looked = look_for(&engine, &reconciler(&engine, rules(true)), 1).await;
    assert_eq!(looked.given_up, 1);
    engine.drain().await;
    assert_eq!(engine.message_to(0), ("queued".to_owned(), "quiet_hours".to_owned(), 0));
    assert_eq!(engine.simulator.messages().len(), 0);
    engine.drain_after(13 * 3_600).await;
    engine.settle().await;
    assert_eq!(engine.message_to(0).0, "delivered");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn past_its_deadline_it_expires_instead_of_going_again() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    let id = engine.draft(|plan| plan.expires_after_hours = Some(0.1)).await;
    engine.launch(id).await;
    engine.simulator.set_faults(losing(false, 1));
    engine.drain().await;
    engine.clock.advance(400_000);
    assert_eq!(look_for(&engine, &reconciler(&engine, rules(true)), 1).await.given_up, 1);
    engine.drain().await;
    assert_eq!(engine.message_to(0), ("expired".to_owned(), "deadline".to_owned(), 0));
    assert_eq!(engine.simulator.messages().len(), 0);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_attempt_that_was_given_up_counts_and_after_the_last_the_message_has_failed() {
    let (mut engine, id) = one_lost(false).await;
    engine.simulator.set_faults(losing(false, 9));
    let reconciler = reconciler(&engine, rules(true));
    for _ in 0..3 {
        assert_eq!(engine.message_to(0).0, "uncertain");
        assert_eq!(look_for(&engine, &reconciler, 125).await.given_up, 1);
        engine.drain_after(400).await;
    }
    assert_eq!(engine.message_to(0), ("failed".to_owned(), "attempts_used_up".to_owned(), 0));
    assert_eq!(outcomes(&engine), "given_up given_up given_up");
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    // Twilio had the last one all the same.
    let news = [("MessageSid", "SM3"), ("MessageStatus", "sent")];
    assert_eq!(engine.callback(1, 3, &news).await, 200);
    assert_eq!(engine.message_to(0), ("sent".to_owned(), String::new(), 0));
    let accepted: i64 = engine.value("SELECT accepted FROM campaign_sums");
    assert_eq!((accepted, outcomes(&engine).as_str()), (1, "given_up given_up settled"));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_callback_before_the_look_leaves_nothing_to_look_for() {
    let (engine, _) = one_lost(true).await;
    let sid = engine.simulator.messages()[0].sid.clone();
    let news = [("MessageSid", sid.as_str()), ("MessageStatus", "sent")];
    assert_eq!(engine.callback(1, 1, &news).await, 200);
    assert_eq!(engine.message_to(0).0, "sent");
    assert_eq!(look_for(&engine, &reconciler(&engine, rules(true)), 125).await.asked, 0);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn callbacks_after_the_look_go_on_where_it_ended() {
    let waiting = Options { callback_delay_ms: 600_000, ..quick_simulator() };
    let mut engine = Engine::start_with(Wanted { simulator: waiting, ..Wanted::default() }).await;
    launched(&engine, 1).await;
    engine.simulator.set_faults(losing(true, 1));
    engine.drain().await;
    assert_eq!(look_for(&engine, &reconciler(&engine, rules(true)), 2).await.found, 1);
    assert_eq!(engine.message_to(0).0, "accepted");
    let sid = engine.simulator.messages()[0].sid.clone();
    for status in ["queued", "sent", "delivered", "read", "delivered"] {
        let news = [("MessageSid", sid.as_str()), ("MessageStatus", status)];
        assert_eq!(engine.callback(1, 1, &news).await, 200);
    }
    assert_eq!(engine.message_to(0).0, "read");
    assert_eq!(outcomes(&engine), "settled");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn news_of_an_attempt_that_was_given_up_calls_the_next_try_off_in_time() {
    for (status, code, expected) in [
        ("sent", None, "sent"),
        ("delivered", None, "delivered"),
        ("queued", None, "accepted"),
        ("undelivered", Some("30004"), "undelivered"),
    ] {
        let (mut engine, id) = one_lost(false).await;
        look_for(&engine, &reconciler(&engine, rules(true)), 125).await;
        assert_eq!(engine.message_to(0).0, "queued");
        let mut news = vec![("MessageSid", "SM1"), ("MessageStatus", status)];
        news.extend(code.map(|code| ("ErrorCode", code)));
        assert_eq!(engine.callback(1, 1, &news).await, 200);
        assert_eq!(engine.message_to(0).0, expected);
        engine.drain_after(600).await;
        assert_eq!(engine.simulator.messages().len(), 0, "it was sent again");
        assert_eq!(outcomes(&engine), "settled");
        assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn news_of_an_attempt_that_was_given_up_comes_too_late_and_stays_with_it() {
    let (mut engine, _) = one_lost(false).await;
    look_for(&engine, &reconciler(&engine, rules(true)), 125).await;
    engine.simulator.set_faults(super::silent(None));
    engine.drain_after(10).await;
    assert_eq!(engine.message_to(0).0, "accepted");
    let second: String = engine.value("SELECT sid FROM messages");
    let news = [("MessageSid", "SM1"), ("MessageStatus", "delivered")];
    assert_eq!(engine.callback(1, 1, &news).await, 200);
    assert_eq!(engine.message_to(0).0, "accepted");
    assert_eq!(engine.value::<String>("SELECT sid FROM messages"), second);
    assert_eq!(outcomes(&engine), "given_up accepted");
    let first: String = engine.value("SELECT sid || ' ' || status FROM attempts WHERE number = 1");
    assert_eq!(first, "SM1 delivered");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn news_of_the_first_attempt_ends_it_also_when_the_second_never_got_there() {
    for is_lost_too in [false, true] {
        let (mut engine, id) = one_lost(false).await;
        let reconciler = reconciler(&engine, rules(true));
        look_for(&engine, &reconciler, 125).await;
        let busy = Faults { rate_429_percent: 100.0, ..Faults::default() };
        engine.simulator.set_faults(if is_lost_too { losing(false, 1) } else { busy });
        engine.drain_after(10).await;
        assert_eq!(engine.message_to(0).0, if is_lost_too { "uncertain" } else { "queued" });
        let news = |status| [("MessageSid", "SM1"), ("MessageStatus", status)];
        assert_eq!(engine.callback(1, 1, &news("sent")).await, 200);
        assert_eq!(engine.message_to(0).0, "sent");
        assert_eq!(engine.callback(1, 1, &news("delivered")).await, 200);
        assert_eq!(engine.message_to(0).0, "delivered", "it goes on with the attempt that arrived");
        engine.simulator.set_faults(Faults::default());
        look_for(&engine, &reconciler, 300).await;
        engine.drain_after(600).await;
        assert_eq!(engine.simulator.messages().len(), 0, "it was sent again");
        assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn news_of_the_first_attempt_during_the_second_leaves_no_third() {
    let (mut engine, _) = one_lost(false).await;
    look_for(&engine, &reconciler(&engine, rules(true)), 125).await;
    engine.simulator.set_faults(Faults { rate_429_percent: 100.0, latency_ms: 300, ..Faults::default() });
    engine.clock.advance(10_000);
    tick_twice(&mut engine).await;
    assert_eq!(engine.message_to(0).0, "sending");
    let news = [("MessageSid", "SM1"), ("MessageStatus", "sent")];
    assert_eq!(engine.callback(1, 1, &news).await, 200);
    engine.dispatcher.settle().await;
    engine.simulator.set_faults(Faults::default());
    engine.drain_after(600).await;
    assert_eq!(engine.message_to(0).0, "accepted");
    assert_eq!(engine.simulator.messages().len(), 0, "it was sent again");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_restart_in_the_middle_changes_nothing() {
    let (engine, _) = one_lost(false).await;
    let before = look_for(&engine, &reconciler(&engine, rules(true)), 70).await;
    assert_eq!(before.asked, 3);
    let mut engine = engine.restart().await;
    assert_eq!(rescue_pending(&engine.store).await.unwrap(), 0);
    let after = look_for(&engine, &reconciler(&engine, rules(true)), 55).await;
    assert_eq!((after.asked, after.given_up), (1, 1), "one last look, when its time was up");
    engine.settle().await;
    assert_eq!(engine.message_to(0).0, "delivered");
    assert_eq!(engine.simulator.messages().len(), 1);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_was_under_way_at_a_crash_goes_the_same_road() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 3).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    engine.simulator.set_faults(Faults { timeout_after_accept_percent: 100.0, ..super::silent(None) });
    tick_twice(&mut engine).await;
    engine.until("acceptance", |engine| engine.simulator.messages().len() == 3).await;
    assert_eq!(engine.counts(id).get("sending"), Some(&3));
    let engine = engine.restart().await;
    assert_eq!(rescue_pending(&engine.store).await.unwrap(), 3);
    engine.simulator.wait_until_quiet().await;
    let looked = look_for(&engine, &reconciler(&engine, rules(true)), 2).await;
    assert_eq!((looked.asked, looked.found), (3, 3));
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&3));
    nobody_twice(&engine);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_sid_that_another_message_has_is_left_out() {
    let mut engine = Engine::start().await;
    let first = launched(&engine, 1).await;
    engine.settle().await;
    assert_eq!(engine.message_to(0).0, "delivered");
    // The same words to the same person, seconds later, and this time Twilio got nothing.
    let second = engine.draft(|_| {}).await;
    engine.launch(second).await;
    engine.simulator.set_faults(losing(false, 1));
    engine.drain().await;
    let looked = look_for(&engine, &reconciler(&engine, rules(true)), 125).await;
    assert_eq!((looked.found, looked.given_up), (0, 1));
    engine.settle().await;
    assert_eq!(engine.simulator.counts()[&phone(0)], 2);
    for id in [first, second] {
        assert_eq!(engine.reasons(id).get("delivered:"), Some(&1));
    }
    engine.check_and_stop().await;
}

#[tokio::test]
async fn of_two_equal_messages_to_one_person_one_is_found_and_the_other_sent() {
    let mut engine = Engine::start().await;
    let first = launched(&engine, 1).await;
    let second = engine.draft(|_| {}).await;
    // Twilio gets the second alone.
    engine.simulator.set_faults(losing(false, 1));
    engine.drain().await;
    engine.launch(second).await;
    engine.simulator.set_faults(losing(true, 1));
    engine.drain().await;
    let uncertain: i64 = engine.value("SELECT count(*) FROM messages WHERE status = 'uncertain'");
    assert_eq!(uncertain, 2);
    let reconciler = reconciler(&engine, rules(true));
    let looked = look_for(&engine, &reconciler, 3).await;
    assert_eq!((looked.asked, looked.found), (1, 1), "one question for both");
    let looked = look_for(&engine, &reconciler, 125).await;
    assert_eq!((looked.found, looked.given_up), (0, 1));
    engine.settle().await;
    assert_eq!(engine.simulator.counts()[&phone(0)], 2, "as many as were wanted");
    for id in [first, second] {
        assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    }
    // The callback names the attempt that Twilio really got, and its SID is bound to its equal by now.
    let sid = engine.simulator.messages()[0].sid.clone();
    let news = [("MessageSid", sid.as_str()), ("MessageStatus", "read")];
    assert_eq!(engine.callback(2, 1, &news).await, 200);
    let read: i64 = engine.value("SELECT count(*) FROM messages WHERE status = 'read'");
    assert_eq!(read, 1);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn nothing_is_looked_for_while_another_message_to_the_person_is_under_way() {
    let (mut engine, _) = one_lost(true).await;
    let second = engine.draft(|_| {}).await;
    engine.launch(second).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    engine.simulator.set_faults(Faults { timeout_after_accept_percent: 100.0, ..super::silent(Some(1)) });
    tick_twice(&mut engine).await;
    engine.until("acceptance", |engine| engine.simulator.messages().len() == 2).await;
    let reconciler = reconciler(&engine, rules(true));
    assert_eq!(look_for(&engine, &reconciler, 200).await.asked, 0);
    // Its own callback tells which of the two it was.
    let sid = engine.simulator.messages()[1].sid.clone();
    let news = [("MessageSid", sid.as_str()), ("MessageStatus", "delivered")];
    assert_eq!(engine.callback(2, 1, &news).await, 200);
    assert_eq!(look_for(&engine, &reconciler, 1).await.found, 1);
    let first: String = engine.value("SELECT sid FROM attempts WHERE message_id = 1");
    assert_eq!(first, engine.simulator.messages()[0].sid);
    assert_eq!(engine.simulator.messages().len(), 2);
    engine.simulator.stop().await;
    engine.dispatcher.settle().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn it_is_found_behind_more_messages_than_a_page_holds() {
    let (engine, _) = one_lost(true).await;
    let client: Client = super::client(&engine);
    for number in 0..120 {
        let other = OutgoingMessage {
            to: phone(0),
            from: SENDER.to_owned(),
            body: format!("Code {number}"),
            validity_period: 600,
            ..OutgoingMessage::default()
        };
        assert!(matches!(client.send(&other).await, SendOutcome::Accepted(_)));
    }
    engine.simulator.wait_until_quiet().await;
    let looked = look_for(&engine, &reconciler(&engine, rules(true)), 2).await;
    assert_eq!((looked.asked, looked.found), (1, 1));
    assert_eq!(engine.message_to(0).0, "delivered");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn without_a_good_look_at_the_end_nothing_is_decided() {
    for is_accepted in [false, true] {
        let (mut engine, _) = one_lost(is_accepted).await;
        engine.simulator.set_faults(everything_lost());
        let reconciler = reconciler(&engine, rules(true));
        let looked = look_for(&engine, &reconciler, 1_800).await;
        assert_eq!((looked.given_up, looked.held, looked.asked), (0, 0, looked.failed));
        assert!((10..90).contains(&looked.failed), "{} questions in half an hour of outage", looked.failed);
        assert_eq!(engine.message_to(0).0, "uncertain");
        engine.simulator.set_faults(Faults::default());
        let looked = look_for(&engine, &reconciler, 61).await;
        assert_eq!((looked.found, looked.given_up), (usize::from(is_accepted), usize::from(!is_accepted)));
        engine.settle().await;
        assert_eq!(engine.message_to(0).0, "delivered");
        assert_eq!(engine.simulator.messages().len(), 1);
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn a_message_that_failed_at_twilio_is_found_with_its_code() {
    let mut engine = Engine::start().await;
    launched(&engine, 1).await;
    engine.simulator.set_faults(Faults { errors: super::failing(30004, Some(1)).errors, ..losing(true, 1) });
    engine.drain().await;
    engine.simulator.wait_until_quiet().await;
    assert_eq!(look_for(&engine, &reconciler(&engine, rules(true)), 2).await.found, 1);
    assert_eq!(engine.message_to(0), ("undelivered".to_owned(), "provider_error".to_owned(), 30004));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_person_who_was_erased_meanwhile_is_given_up_and_skipped() {
    let (mut engine, _) = one_lost(true).await;
    engine
        .change(
            "UPDATE users SET phone = NULL, erased_at = 1;
             UPDATE user_counts SET n = n - 1 WHERE consent = 'opt_in'",
        )
        .await;
    let looked = look_for(&engine, &reconciler(&engine, rules(true)), 125).await;
    assert_eq!((looked.found, looked.given_up, looked.failed), (0, 1, 0));
    engine.drain_after(10).await;
    let status: String = engine.value("SELECT status FROM messages");
    assert_eq!((status.as_str(), engine.simulator.messages().len()), ("skipped", 1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_a_messaging_service_took_is_found_whichever_sender_it_picked() {
    const SERVICE: &str = "MG00000000000000000000000000000001";
    let wanted = Wanted { senders: vec![(SERVICE, "service")], ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    engine.add_many(1).await;
    let id = engine.draft(|plan| plan.sender = Some(SERVICE.to_owned())).await;
    engine.launch(id).await;
    engine.simulator.set_faults(losing(true, 1));
    engine.drain().await;
    engine.simulator.wait_until_quiet().await;
    assert_eq!(look_for(&engine, &reconciler(&engine, rules(true)), 2).await.found, 1);
    assert_eq!(engine.message_to(0).0, "delivered");
    engine.check_and_stop().await;
}

/// One person whose message, a Content template, is with Twilio and uncertain here. Our clock is so many milliseconds
/// behind Twilio's.
async fn content_lost(behind: i64) -> Engine {
    let mut engine = Engine::start().await;
    let real = jiff::Timestamp::now().as_millisecond();
    engine.simulator.set_clock_ahead(engine.clock.now() + behind - real);
    engine.add("+447911123456", Consent::OptIn, json!({"name": "Ann"})).await;
    let variables = json!({"1": "{name}", "2": "A1"}).as_object().unwrap().clone();
    let text = TemplateText {
        content_sid: Some("HX00000000000000000000000000000001".to_owned()),
        content_variables: variables,
        ..TemplateText::plain(Channel::Whatsapp, "Your order comes, {name}.")
    };
    let id = engine.draft_with(text, |_| {}).await;
    engine.launch(id).await;
    engine.simulator.set_faults(losing(true, 1));
    engine.drain().await;
    engine.simulator.wait_until_quiet().await;
    assert_ne!(engine.simulator.messages()[0].body, engine.value::<String>("SELECT body FROM messages"));
    engine
}

#[tokio::test]
async fn after_our_clock_was_set_right_a_content_template_waits_rather_than_goes_twice() {
    let behind = 3_600_000;
    let mut engine = content_lost(behind).await;
    engine.clock.advance(behind);
    let looked = look_for(&engine, &reconciler(&engine, rules(true)), 1).await;
    assert_eq!((looked.found, looked.given_up, looked.held), (0, 0, 1));
    engine.drain().await;
    assert_eq!(engine.simulator.messages().len(), 1);
    assert_eq!(engine.value::<String>("SELECT status FROM messages"), "uncertain");
}

#[tokio::test]
async fn a_content_template_is_found_though_twilio_words_it_otherwise() {
    let engine = content_lost(0).await;
    assert_eq!(look_for(&engine, &reconciler(&engine, rules(true)), 2).await.found, 1);
    assert_eq!(engine.simulator.messages().len(), 1);
    let sid: String = engine.value("SELECT sid FROM messages");
    assert_eq!(sid, engine.simulator.messages()[0].sid);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_thousand_are_worked_through_steadily_with_a_question_each() {
    const PEOPLE: usize = 1_000;
    let mut engine = Engine::start().await;
    launched(&engine, PEOPLE).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    // An outage in which each request counted: claimed, and the process ended. Twilio took every other one.
    engine
        .change(
            "INSERT INTO attempts (message_id, number, sender_id, started_at, charge_micros)
               SELECT id, 1, 1, created_at, 0 FROM messages;
             UPDATE messages SET status = 'sending', attempts = 1, sender_id = 1, parts = 1,
               body = (SELECT 'Hi ' || (attributes ->> 'name') FROM users WHERE users.id = user_id);
             UPDATE campaign_counts SET status = 'sending' WHERE status = 'queued'",
        )
        .await;
    let client = super::client(&engine);
    for number in (0..PEOPLE).step_by(2) {
        let message = OutgoingMessage {
            to: phone(number),
            from: SENDER.to_owned(),
            body: format!("Hi P{number}"),
            validity_period: 600,
            ..OutgoingMessage::default()
        };
        assert!(matches!(client.send(&message).await, SendOutcome::Accepted(_)));
    }
    assert_eq!(rescue_pending(&engine.store).await.unwrap(), PEOPLE);
    let reconciler = reconciler(&engine, rules(true));
    let mut sum = Looked::default();
    let mut seconds = 0;
    while engine.value::<i64>("SELECT count(*) FROM attempts WHERE outcome = 'uncertain'") > 0 {
        let looked = look_for(&engine, &reconciler, 1).await;
        assert!(looked.asked <= 10, "{} people in a second", looked.asked);
        sum.asked += looked.asked;
        sum.found += looked.found;
        sum.given_up += looked.given_up;
        seconds += 1;
        assert!(seconds < 300, "{sum:?}");
    }
    assert_eq!((sum.found, sum.given_up), (500, 500));
    assert!(sum.asked <= 3 * PEOPLE, "{sum:?}");
    engine.settle().await;
    assert_eq!(engine.simulator.messages().len(), PEOPLE);
    nobody_twice(&engine);
    engine.check_and_stop().await;
}
