//! News of Twilio's in any order, twice, late, about the wrong attempt, or about nobody we know.

use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::simulator::{Faults, Options};

use super::{failing, launched, nobody_twice, silent, tell, tick_twice};
use crate::support::{Engine, Wanted, quick_simulator};

#[tokio::test]
async fn callbacks_that_come_twice_late_and_in_any_order_end_in_the_same_place() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 20).await;
    engine.simulator.set_faults(Faults {
        callbacks_doubled_percent: 100.0,
        callbacks_shuffled: true,
        callbacks_late_ms: 20,
        ..Faults::default()
    });
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&20), "{:?}", engine.reasons(id));
    nobody_twice(&engine);
    assert_eq!(engine.events("message.delivered"), 20);
    let receipts: i64 = engine.value("SELECT count(*) FROM receipts");
    assert_eq!(receipts, 40, "sent and delivered, each kept once");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn missing_callbacks_leave_a_message_accepted_and_its_campaign_finished() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 3).await;
    engine.simulator.set_faults(silent(None));
    engine.settle().await;
    assert_eq!(engine.counts(id).get("accepted"), Some(&3));
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_state_never_goes_backwards() {
    let mut engine = Engine::start().await;
    launched(&engine, 1).await;
    engine.simulator.set_faults(silent(None));
    engine.settle().await;
    // What comes, and where the message stands then.
    let table = [
        ("delivered", None, "delivered"),
        ("sent", None, "delivered"),
        ("queued", None, "delivered"),
        ("undelivered", Some("30008"), "delivered"),
        ("failed", Some("30003"), "delivered"),
        ("read", None, "read"),
        ("delivered", Some("1"), "read"),
    ];
    for (status, code, expected) in table {
        tell(&engine, 1, status, code).await;
        assert_eq!(engine.message_to(0).0, expected, "after {status}");
    }
    let word: String = engine.value("SELECT status FROM attempts");
    assert_eq!(word, "delivered", "the attempt keeps Twilio's last word");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn delivered_after_failed_counts_because_the_phone_has_it() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 1).await;
    engine.simulator.set_faults(silent(None));
    engine.settle().await;
    tell(&engine, 1, "undelivered", Some("30004")).await;
    assert_eq!(engine.reasons(id).get("undelivered:30004"), Some(&1));
    tell(&engine, 1, "delivered", None).await;
    assert_eq!(engine.message_to(0), ("delivered".to_owned(), String::new(), 0));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn delivered_while_a_retry_waits_calls_the_retry_off() {
    let mut engine = Engine::start().await;
    launched(&engine, 1).await;
    engine.simulator.set_faults(silent(Some(1)));
    engine.drain().await;
    tell(&engine, 1, "undelivered", Some("30003")).await;
    assert_eq!(engine.message_to(0).0, "queued");
    tell(&engine, 1, "sent", None).await;
    assert_eq!(engine.message_to(0).0, "queued", "late news of the failed attempt");
    tell(&engine, 1, "delivered", None).await;
    engine.drain_after(4 * 3_600).await;
    assert_eq!(engine.message_to(0).0, "delivered");
    assert_eq!(engine.simulator.messages().len(), 1);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_unknown_status_is_kept_and_changes_nothing() {
    let mut engine = Engine::start().await;
    launched(&engine, 1).await;
    engine.simulator.set_faults(silent(None));
    engine.settle().await;
    tell(&engine, 1, "teleported", None).await;
    assert_eq!(engine.message_to(0).0, "accepted");
    assert_eq!(engine.events("receipt.unknown"), 1);
    let kept: String = engine.value("SELECT state FROM receipts WHERE status = 'teleported'");
    assert_eq!(kept, "done");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn news_of_an_older_attempt_is_kept_there_alone() {
    let mut engine = Engine::start().await;
    launched(&engine, 1).await;
    engine.simulator.set_faults(silent(None));
    engine.drain().await;
    tell(&engine, 1, "undelivered", Some("30003")).await;
    engine.drain_after(4 * 3_600).await;
    assert_eq!(engine.message_to(0).0, "accepted");
    let second: String = engine.value("SELECT sid FROM messages");
    tell(&engine, 1, "failed", Some("30008")).await;
    assert_eq!(engine.message_to(0), ("accepted".to_owned(), String::new(), 0));
    let first: String = engine.value("SELECT status FROM attempts WHERE number = 1");
    assert_eq!(first, "failed");
    let kept: String = engine.value("SELECT sid FROM messages");
    assert_eq!(kept, second);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_foreign_sid_is_kept_as_unmatched() {
    let mut engine = Engine::start().await;
    launched(&engine, 1).await;
    engine.simulator.set_faults(silent(None));
    engine.settle().await;
    let sid = engine.account_sid().to_owned();
    let form = |message: &'static str| {
        [
            ("AccountSid", sid.clone()),
            ("MessageSid", message.to_owned()),
            ("MessageStatus", "failed".to_owned()),
        ]
    };
    // Without ids, with ids that fit nothing, with ids of a message whose SID is another, with nonsense.
    let queries = ["", "?message=999&attempt=1", "?message=1&attempt=1", "?message=x&attempt=-1"];
    for (query, message) in queries.into_iter().zip(["SMa", "SMb", "SMc", "SMd"]) {
        let form = form(message);
        let form: Vec<(&str, &str)> = form.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let (status, _) = engine.post(&format!("/webhooks/twilio/status{query}"), &form).await;
        assert_eq!(status, 200, "{query}");
    }
    let unmatched: i64 = engine.value("SELECT count(*) FROM receipts WHERE state = 'unmatched'");
    assert_eq!(unmatched, 4);
    assert_eq!(engine.message_to(0).0, "accepted");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_callback_without_ids_finds_its_message_by_sid() {
    let mut engine = Engine::start().await;
    launched(&engine, 1).await;
    engine.simulator.set_faults(silent(None));
    engine.settle().await;
    let (account, sid) =
        (engine.account_sid().to_owned(), engine.value::<String>("SELECT sid FROM messages"));
    let form = [("AccountSid", account.as_str()), ("SmsSid", sid.as_str()), ("SmsStatus", "delivered")];
    let (status, body) = engine.post("/webhooks/twilio/status", &form).await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(engine.message_to(0).0, "delivered");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_callback_that_overtakes_the_answer_is_not_undone_by_it() {
    // The same identity gives the same SIDs, so a first run tells what the answer will say.
    let simulator = Options { identity: Some(7), ..quick_simulator() };
    let mut first = Engine::start_with(Wanted { simulator, ..Wanted::default() }).await;
    launched(&first, 1).await;
    first.settle().await;
    let sid = first.simulator.messages()[0].sid.clone();
    let sums = sums(&first);
    first.check_and_stop().await;

    let simulator = Options { identity: Some(7), latency_ms: 300, ..quick_simulator() };
    let mut engine = Engine::start_with(Wanted { simulator, ..Wanted::default() }).await;
    launched(&engine, 1).await;
    engine.simulator.set_faults(silent(None));
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    tick_twice(&mut engine).await;
    assert_eq!(engine.message_to(0).0, "sending");
    let message: i64 = engine.value("SELECT id FROM messages");
    let news = [("MessageSid", sid.as_str()), ("MessageStatus", "delivered")];
    assert_eq!(engine.callback(message, 1, &news).await, 200);
    assert_eq!(engine.message_to(0).0, "delivered");
    engine.dispatcher.settle().await;
    assert_eq!(engine.simulator.messages()[0].sid, sid, "a pinned identity repeats its SIDs");
    assert_eq!(engine.message_to(0).0, "delivered");
    assert_eq!(self::sums(&engine), sums, "counted once, whoever was first");
    engine.check_and_stop().await;
}

fn sums(engine: &Engine) -> (i64, i64) {
    let accepted = engine.value("SELECT sum(accepted) FROM campaign_sums");
    (accepted, engine.value("SELECT sum(parts) FROM campaign_sums"))
}

#[tokio::test]
async fn the_code_of_a_failure_is_counted_where_the_pages_show_it() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 4).await;
    engine.simulator.set_faults(failing(30004, Some(3)));
    engine.settle().await;
    let reasons = engine.reasons(id);
    assert_eq!(reasons.get("undelivered:30004"), Some(&3), "{reasons:?}");
    assert_eq!(reasons.get("delivered:"), Some(&1), "{reasons:?}");
    engine.check_and_stop().await;
}
