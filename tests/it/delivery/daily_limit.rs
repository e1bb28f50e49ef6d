//! How many people a day, and the rest until a limit renews.

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::simulator::Faults;
use event_stream_engine::store::senders;
use event_stream_engine::store::templates::TemplateText;
use serde_json::json;

use super::{failing, launched, tell};
use crate::support::{Engine, WHATSAPP_SENDER, Wanted, phone, quick_simulator};

const DAY: i64 = 86_400;
/// The tests begin at 17:00 UTC: nine in the morning in California, fifteen hours before midnight there.
const TO_MIDNIGHT: i64 = 15 * 3_600;

/// The first sender's limit is used up by so many, as the store counts.
fn used(engine: &Engine) -> i64 {
    let since = engine.clock.now() - DAY * 1_000;
    engine.store.read_here(|conn| senders::recipients(conn, 1, since)).unwrap()
}

fn paused_until(engine: &Engine) -> i64 {
    engine.value("SELECT max(paused_until) FROM senders")
}

#[tokio::test]
async fn the_window_rolls_and_the_count_outlives_a_restart() {
    let wanted = Wanted { recipients_per_day: Some(4), ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    let id = launched(&engine, 2).await;
    engine.settle().await;
    engine.drain_after(6 * 3_600).await;
    assert_eq!(used(&engine), 2);
    let mut engine = engine.restart().await;
    for n in 2..9 {
        engine.add(&phone(n), Consent::OptIn, json!({})).await;
    }
    let second = engine.draft(|plan| plan.quiet_hours = json!("off")).await;
    engine.launch(second).await;
    engine.settle().await;
    // Two of the first campaign are known today and free; two of the others have room.
    assert_eq!(engine.counts(second).get("delivered"), Some(&4), "{:?}", engine.reasons(second));
    assert_eq!(used(&engine), 4);
    // The first two leave the window eighteen hours later, the next two after a whole day.
    engine.drain_after(18 * 3_600 - 60).await;
    assert_eq!(engine.counts(second).get("delivered"), Some(&4));
    engine.drain_after(120).await;
    engine.settle().await;
    assert_eq!(engine.counts(second).get("delivered"), Some(&6), "{:?}", engine.reasons(second));
    assert_eq!(used(&engine), 4);
    engine.drain_after(DAY).await;
    engine.settle().await;
    assert_eq!(engine.counts(second).get("delivered"), Some(&9), "{:?}", engine.reasons(second));
    assert_eq!(engine.counts(id).get("delivered"), Some(&2));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_waits_for_the_daily_limit_does_not_ask_again_with_every_message_that_comes() {
    let wanted = Wanted { recipients_per_day: Some(1), ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    launched(&engine, 40).await;
    engine.drain().await;
    let deferred = engine.events("message.deferred");
    for _ in 0..20 {
        engine.clock.advance(2_000);
        engine.dispatcher.tick().await.unwrap();
    }
    assert_eq!(engine.events("message.deferred"), deferred, "the queue rests");
    engine.settle().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_carriers_daily_cap_rests_the_sender_until_midnight_in_california_and_takes_nobodys_attempts() {
    for code in [30023, 30027] {
        let mut engine = Engine::start().await;
        let id = launched(&engine, 3).await;
        engine.simulator.set_faults(failing(code, Some(3)));
        engine.settle().await;
        assert_eq!(engine.reasons(id).get("queued:sender_paused"), Some(&3), "{:?}", engine.reasons(id));
        assert_eq!(engine.events("sender.paused"), 1);
        assert_eq!(
            paused_until(&engine),
            "2026-11-24T08:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond()
        );
        let reason: String = engine.value("SELECT max(pause_reason) FROM senders");
        assert!(
            reason.contains(&code.to_string()) && reason.contains("until 2026-11-24T08:00:00Z"),
            "{reason}"
        );
        engine.drain_after(TO_MIDNIGHT - 3_600).await;
        let sent = engine.simulator.messages().len();
        engine.drain_after(3_600).await;
        // Midnight in California is before the morning: the people wait on for their hours.
        engine.drain_after(9 * 3_600).await;
        engine.settle().await;
        assert_eq!(sent, 3, "nothing is sent while it rests");
        assert_eq!(engine.counts(id).get("delivered"), Some(&3), "{:?}", engine.reasons(id));
        let lost: i64 = engine.value("SELECT count(*) FROM attempts WHERE outcome = 'put_back'");
        assert_eq!(lost, 3);
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn more_refusals_by_a_limit_than_there_are_attempts_cost_nobody_the_message() {
    let mut engine = Engine::start().await;
    let id = engine.draft(|plan| plan.quiet_hours = json!("off")).await;
    engine.add_many(1).await;
    engine.launch(id).await;
    engine.simulator.set_faults(failing(30023, Some(5)));
    for _ in 0..5 {
        engine.settle().await;
        assert_eq!(engine.reasons(id).get("queued:sender_paused"), Some(&1), "{:?}", engine.reasons(id));
        engine.clock.advance(DAY * 1_000);
    }
    // The phone is off for once: one of its three attempts, not the sixth.
    engine.simulator.set_faults(failing(30003, Some(1)));
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("queued:retry_later"), Some(&1), "{:?}", engine.reasons(id));
    engine.drain_after(4 * 3_600).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&1), "{:?}", engine.reasons(id));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn news_of_yesterdays_limit_does_not_stop_today() {
    let mut engine = Engine::start().await;
    let id = engine.draft(|plan| plan.quiet_hours = json!("off")).await;
    engine.add_many(1).await;
    engine.launch(id).await;
    engine.simulator.set_faults(super::silent(Some(1)));
    engine.drain().await;
    engine
        .change("UPDATE senders SET pause_reason = 'yesterday', paused_until = (SELECT max(started_at) + 1000 FROM attempts)")
        .await;
    engine.clock.advance(60_000);
    tell(&engine, 1, "failed", Some("30023")).await;
    assert_eq!(engine.events("sender.paused"), 0);
    assert_eq!(engine.reasons(id).get("queued:sender_paused"), Some(&1), "{:?}", engine.reasons(id));
    engine.drain_after(60).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&1), "{:?}", engine.reasons(id));
    nobody_twice_but_for_the_repeat(&engine);
    engine.check_and_stop().await;
}

fn nobody_twice_but_for_the_repeat(engine: &Engine) {
    assert!(engine.simulator.counts().values().all(|n| *n == 2));
}

#[tokio::test]
async fn a_full_window_of_conversations_rests_until_one_leaves_it() {
    let simulator = event_stream_engine::simulator::Options { window_open: true, ..quick_simulator() };
    let mut engine = Engine::start_with(Wanted { simulator, ..Wanted::default() }).await;
    let whatsapp: i64 = engine.value(&format!("SELECT id FROM senders WHERE address = '{WHATSAPP_SENDER}'"));
    // +44: no WhatsApp marketing reaches the United States.
    let people = ["+447400123456", "+447400123457"];
    for person in people {
        engine.add(person, Consent::OptIn, json!({"timezone": "Europe/London"})).await;
    }
    engine.change("UPDATE users SET last_whatsapp_inbound_at = 1795452000000").await;
    // Somebody was written to 22 hours ago.
    engine
        .change(&format!(
            "INSERT INTO sender_recipients VALUES ({whatsapp}, 1, {0}); UPDATE senders SET recipients = 1 WHERE id = {whatsapp}",
            engine.clock.now() - 22 * 3_600_000
        ))
        .await;
    let text = TemplateText::plain(Channel::Whatsapp, "Hi");
    let id = engine.draft_with(text, |plan| plan.quiet_hours = json!("off")).await;
    engine.launch(id).await;
    engine.simulator.set_faults(failing(63018, Some(2)));
    let start = engine.clock.now();
    engine.settle().await;
    let rest = paused_until(&engine) - start;
    assert!((7_200_000..7_205_000).contains(&rest), "{rest}: {:?}", engine.reasons(id));
    assert_eq!(engine.reasons(id).get("queued:sender_paused"), Some(&2), "{:?}", engine.reasons(id));
    engine.drain_after(7_100).await;
    assert_eq!(engine.counts(id).get("queued"), Some(&2));
    engine.drain_after(200).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("queued"), None, "{:?}", engine.reasons(id));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_accounts_daily_limit_rests_everything_and_asks_again_in_hours() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 2).await;
    engine.simulator.set_faults(failing(63038, Some(2)));
    engine.settle().await;
    let until: i64 = engine.value("SELECT paused_until FROM account");
    assert!(until > engine.clock.now() + 3 * 3_600_000);
    assert_eq!(engine.reasons(id).get("queued:account_paused"), Some(&2), "{:?}", engine.reasons(id));
    assert_eq!(engine.campaign(id).pause_reason, None, "it goes on by itself");
    engine.simulator.set_faults(Faults::default());
    engine.drain_after(4 * 3_600 + 60).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&2), "{:?}", engine.reasons(id));
    engine.check_and_stop().await;
}
