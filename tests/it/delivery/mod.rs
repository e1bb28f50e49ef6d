//! From a queued row to Twilio and back, over real HTTP.

mod callbacks;
mod changed;
mod closing_first;
mod concurrency;
mod daily_limit;
mod errors;
mod fairness;
mod pace;
mod poll;
mod reconcile;
mod refusing;
mod rescue;
mod sent;
mod uncertain;
mod withdrawal;

use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::simulator::{ErrorFault, Faults};
use event_stream_engine::twilio::client::{Client, Credentials};
use serde_json::json;

use crate::support::{Engine, SENDER, phone, quick_simulator};

/// The next `count` messages (all, if `None`) meet this code.
fn failing(code: u32, count: Option<u64>) -> Faults {
    let errors = vec![ErrorFault { code, count, ..ErrorFault::default() }];
    Faults { errors, ..Faults::default() }
}

/// An engine with `n` people and a running campaign for them; returns its id.
async fn launched(engine: &Engine, n: usize) -> i64 {
    engine.add_many(n).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    id
}

/// A client like the engine's own.
fn client(engine: &Engine) -> Client {
    client_at(&engine.simulator.base_url())
}

/// The same with another Twilio.
fn client_at(base: &str) -> Client {
    let options = quick_simulator();
    Client::new(Credentials {
        account_sid: options.account_sid.clone(),
        user: options.account_sid,
        password: options.auth_token.into(),
        api_base: base.parse().unwrap(),
    })
    .unwrap()
}

/// Limiters start empty: one tick makes them, the second finds permits.
async fn tick_twice(engine: &mut Engine) {
    engine.dispatcher.tick().await.unwrap();
    engine.clock.advance(100);
    engine.dispatcher.tick().await.unwrap();
}

/// The next `count` messages get no callback by themselves: the test sends them.
fn silent(count: Option<u64>) -> Faults {
    Faults { callbacks_missing_percent: 100.0, count, ..Faults::default() }
}

/// Twilio tells about attempt `attempt` of the only message.
async fn tell(engine: &Engine, attempt: u32, status: &str, code: Option<&str>) {
    let message: i64 = engine.value("SELECT id FROM messages");
    let sid: String = engine.value(&format!("SELECT sid FROM attempts WHERE number = {attempt}"));
    let mut news = vec![("MessageSid", sid.as_str()), ("MessageStatus", status)];
    news.extend(code.map(|code| ("ErrorCode", code)));
    assert_eq!(engine.callback(message, attempt, &news).await, 200);
}

fn nobody_twice(engine: &Engine) {
    let twice: Vec<_> = engine.simulator.counts().into_iter().filter(|(_, n)| *n > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[tokio::test]
async fn everybody_who_may_gets_it_once_and_the_rest_has_a_reason() {
    let mut engine = Engine::start().await;
    engine.add_many(60).await;
    engine.add("+13125550188", Consent::Unknown, json!({})).await;
    engine.add("+13125550189", Consent::OptOut, json!({})).await;
    engine.add("+13125550190", Consent::Stop, json!({})).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.settle().await;
    let reasons = engine.reasons(id);
    assert_eq!(reasons.get("delivered:"), Some(&60), "{reasons:?}");
    assert_eq!(reasons.get("skipped:consent_unknown"), Some(&1));
    assert_eq!(reasons.get("skipped:opted_out"), Some(&1));
    assert_eq!(reasons.get("skipped:stop"), Some(&1));
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    let counts = engine.simulator.counts();
    assert_eq!(counts.len(), 60);
    assert!(counts.values().all(|n| *n == 1), "somebody got it twice");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_stop_takes_back_what_waits_and_is_confirmed_once() {
    let mut engine = Engine::start().await;
    engine.add_many(3).await;
    let id = engine.draft(|plan| plan.rate_limit_per_second = Some(0.001)).await;
    engine.launch(id).await;
    engine.drain().await;
    let answer = engine.simulator.inbound(&phone(1), SENDER, "Stop.").await;
    assert_eq!(answer.reply.as_deref(), Some("You are out."));
    let again = engine.simulator.inbound(&phone(1), SENDER, "STOP").await;
    assert_eq!(again.reply, None);
    let reasons = engine.reasons(id);
    assert_eq!(reasons.get("cancelled:stop"), Some(&1), "{reasons:?}");
    let consent: String = engine.value(&format!("SELECT consent FROM users WHERE phone = '{}'", phone(1)));
    assert_eq!(consent, "stop");
    engine.check_and_stop().await;
}
