//! What the first marketing message to a person says beside its text.

use std::sync::Arc;

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::domain::plan::Introduction;
use event_stream_engine::simulator::Faults;
use event_stream_engine::store::templates::TemplateText;
use serde_json::json;

use super::{HOUR, bodies, failing, single, wave};
use crate::support::{Engine, WHATSAPP_SENDER, phone};

const FIRST: &str = "Acme: Hi\nReply STOP to unsubscribe.";

async fn introducing(people: usize) -> Engine {
    let engine = Engine::start().await;
    engine.rule(|rules| {
        rules.introduction = Some(Arc::new(Introduction {
            sender_name: "Acme".to_owned(),
            opt_out_line: "Reply STOP to unsubscribe.".to_owned(),
        }));
    });
    engine.add_many(people).await;
    engine
}

#[tokio::test]
async fn the_first_marketing_message_says_who_writes_and_how_to_end_it_and_the_next_does_not() {
    let mut engine = introducing(1).await;
    single(&engine, &phone(0), Kind::Transactional, "Your order").await;
    engine.settle().await;
    wave(&mut engine).await;
    wave(&mut engine).await;
    assert_eq!(bodies(&engine), ["Your order", FIRST, "Hi"]);
    // What went out is what is kept.
    let kept: String = engine.value("SELECT body FROM messages WHERE id = 2");
    assert_eq!(kept, FIRST);
    single(&engine, &phone(5), Kind::Marketing, "Hi").await;
    engine.settle().await;
    assert_eq!(engine.message(&format!("u.phone = '{}'", phone(5))).0, "skipped", "nobody asked them");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn it_counts_in_the_parts() {
    let mut engine = introducing(1).await;
    let text = "x".repeat(150);
    let id = engine.draft_saying(&text, |_| {}).await;
    engine.launch(id).await;
    engine.settle().await;
    let parts: i64 = engine.value("SELECT parts FROM messages");
    assert_eq!(parts, 2);
    let parts: i64 = engine.value("SELECT parts FROM campaign_sums");
    assert_eq!(parts, 2);
    // With it the text would be longer than Twilio takes.
    engine.add(&phone(1), Consent::OptIn, json!({})).await;
    let long = engine.draft_saying(&"x".repeat(1_590), |_| {}).await;
    engine.launch(long).await;
    engine.settle().await;
    let reasons = engine.reasons(long);
    assert_eq!(reasons.get("skipped:content_too_long"), Some(&1), "{reasons:?}");
    assert_eq!(reasons.get("delivered:"), Some(&1), "who knows us gets it");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_retry_says_the_same_again() {
    let mut engine = introducing(1).await;
    engine.simulator.set_faults(failing(30003, Some(1)));
    wave(&mut engine).await;
    engine.drain_after(4 * HOUR).await;
    engine.settle().await;
    assert_eq!(bodies(&engine), [FIRST, FIRST]);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn when_the_first_fails_for_good_or_is_refused_the_next_is_the_first() {
    for code in [21617, 30007] {
        let mut engine = introducing(1).await;
        engine.simulator.set_faults(failing(code, Some(1)));
        let failed = wave(&mut engine).await;
        assert_eq!(engine.counts(failed).get("delivered"), None, "{:?}", engine.reasons(failed));
        wave(&mut engine).await;
        wave(&mut engine).await;
        let said = bodies(&engine);
        assert_eq!(said.iter().filter(|body| *body == "Hi").count(), 1, "{code}: {said:?}");
        assert_eq!(said.last().map(String::as_str), Some("Hi"));
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn when_the_first_is_withdrawn_the_next_is_the_first() {
    let mut engine = introducing(1).await;
    // Twilio is too busy for it, so it waits, and another comes first.
    engine.simulator.set_faults(Faults { rate_429_percent: 100.0, count: Some(1), ..Faults::default() });
    let id = engine.draft_saying("Early", |plan| plan.quiet_hours = json!("off")).await;
    engine.launch(id).await;
    engine.drain().await;
    let first: Option<i64> = engine.value("SELECT first_marketing_id FROM users");
    assert_eq!(first, Some(1), "tried again, it is the first again");
    engine.settle().await;
    assert_eq!(bodies(&engine), ["Acme: Early\nReply STOP to unsubscribe."]);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn of_two_campaigns_at_once_one_is_the_first() {
    let mut engine = introducing(20).await;
    for _ in 0..2 {
        let id = engine.draft_saying("Hi", |_| {}).await;
        engine.launch(id).await;
    }
    engine.settle().await;
    let said = bodies(&engine);
    assert_eq!((said.len(), said.iter().filter(|body| *body == FIRST).count()), (40, 20));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn of_two_single_messages_at_once_one_is_the_first() {
    let mut engine = introducing(1).await;
    single(&engine, &phone(0), Kind::Marketing, "Hi").await;
    single(&engine, &phone(0), Kind::Marketing, "Hi").await;
    engine.settle().await;
    let mut said = bodies(&engine);
    said.sort();
    assert_eq!(said, [FIRST, "Hi"]);
    engine.check_and_stop().await;
}

/// A content template to everybody over WhatsApp, kept here as these words.
async fn content_wave(engine: &mut Engine, words: &str) {
    let text = TemplateText {
        content_sid: Some("HX00000000000000000000000000000002".to_owned()),
        content_variables: json!({"1": "Ana"}).as_object().unwrap().clone(),
        ..TemplateText::plain(Channel::Whatsapp, words)
    };
    let id = engine.draft_with(text, |plan| plan.quiet_hours = json!("off")).await;
    engine.launch(id).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("read").or(engine.counts(id).get("delivered")), Some(&1));
}

#[tokio::test]
async fn a_content_template_does_not_use_up_the_words_that_it_does_not_carry() {
    let mut engine = introducing(0).await;
    engine.add("+4915112345678", Consent::OptIn, json!({})).await;
    content_wave(&mut engine, "An offer").await;
    assert_eq!(engine.value::<Option<i64>>("SELECT first_marketing_id FROM users"), None);
    wave(&mut engine).await;
    wave(&mut engine).await;
    assert_eq!(bodies(&engine)[1..], [FIRST, "Hi"], "the first text message says how to end it");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_content_template_that_says_it_all_is_the_first_message() {
    let mut engine = introducing(0).await;
    engine.add("+4915112345678", Consent::OptIn, json!({})).await;
    content_wave(&mut engine, "Acme: an offer. Reply STOP to unsubscribe.").await;
    wave(&mut engine).await;
    assert_eq!(bodies(&engine)[1..], ["Hi"]);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn free_text_on_whatsapp_gets_it_too() {
    let mut engine = introducing(0).await;
    let number = "+4915112345678";
    engine.add(number, Consent::OptIn, json!({})).await;
    engine.simulator.inbound(&format!("whatsapp:{number}"), WHATSAPP_SENDER, "Hallo").await;
    let free = TemplateText::plain(Channel::Whatsapp, "Hi");
    let id = engine.draft_with(free, |plan| plan.quiet_hours = json!("off")).await;
    engine.launch(id).await;
    engine.settle().await;
    assert_eq!(bodies(&engine), [FIRST], "{:?}", engine.reasons(id));
    engine.check_and_stop().await;
}
