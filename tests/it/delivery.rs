//! From a queued row to Twilio and back, over real HTTP.

use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::domain::consent::Consent;
use serde_json::json;

use crate::support::{Engine, SENDER, phone};

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
