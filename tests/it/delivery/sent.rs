//! What Twilio is asked for: sender, text, callback, validity.

use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::store::templates::TemplateText;
use event_stream_engine::store::{StoreError, senders};
use serde_json::json;

use crate::support::{Engine, SENDER, WHATSAPP_SENDER, Wanted};

const SECOND_SENDER: &str = "+14155550199";

#[tokio::test]
async fn the_callback_url_names_message_and_attempt_and_asks_for_retries() {
    let mut engine = Engine::start().await;
    super::launched(&engine, 1).await;
    engine.settle().await;
    let message: i64 = engine.value("SELECT id FROM messages");
    let sent = engine.simulator.messages().remove(0);
    let expected =
        format!("{}/webhooks/twilio/status?message={message}&attempt=1#rc=2&rp=5xx,ct,rt", engine.base_url);
    assert_eq!(sent.status_callback, Some(expected));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn twilio_may_not_keep_a_message_past_the_night_or_the_deadline() {
    // Noon in New York, the hours close at 20:00.
    let table = [
        (json!(null), None, 8 * 3_600),
        (json!(null), Some(1.0), 3_600),
        (json!("off"), None, 36_000),
        (json!({"start": "12:30", "end": "08:00"}), Some(5.0), 1_800),
    ];
    for (quiet_hours, expires_after_hours, seconds) in table {
        let mut engine = Engine::start().await;
        engine.add_many(1).await;
        let case = format!("{quiet_hours} {expires_after_hours:?}");
        let id = engine
            .draft(move |plan| {
                (plan.quiet_hours, plan.expires_after_hours) = (quiet_hours, expires_after_hours);
            })
            .await;
        engine.launch(id).await;
        engine.settle().await;
        let validity = i64::from(engine.simulator.messages()[0].validity_period);
        assert!((seconds - 5..=seconds).contains(&validity), "{case}: {validity}");
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn each_channel_has_its_sender() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    let sms = engine.draft(|_| {}).await;
    let text = TemplateText {
        content_sid: Some("HX00000000000000000000000000000001".to_owned()),
        content_variables: json!({"1": "{name}", "2": "A-1"}).as_object().unwrap().clone(),
        ..TemplateText::plain(Channel::Whatsapp, "Hello {name}")
    };
    let whatsapp = engine.draft_with(text, |plan| plan.kind = Kind::Transactional).await;
    engine.launch(sms).await;
    engine.launch(whatsapp).await;
    engine.settle().await;
    let mut pairs: Vec<(String, Option<String>, Option<String>)> = engine
        .simulator
        .messages()
        .into_iter()
        .map(|message| (message.to, message.from, message.content_sid))
        .collect();
    pairs.sort();
    let expected = [
        ("+12125550101".to_owned(), Some(SENDER.to_owned()), None),
        (
            "whatsapp:+12125550101".to_owned(),
            Some(WHATSAPP_SENDER.to_owned()),
            Some("HX00000000000000000000000000000001".to_owned()),
        ),
    ];
    assert_eq!(pairs, expected);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_campaign_sends_through_the_sender_that_it_names() {
    let wanted = Wanted { senders: vec![(SECOND_SENDER, "long_code")], ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    engine.add_many(2).await;
    let id = engine.draft(|plan| plan.sender = Some(SECOND_SENDER.to_owned())).await;
    engine.launch(id).await;
    engine.settle().await;
    assert!(engine.simulator.messages().iter().all(|sent| sent.from.as_deref() == Some(SECOND_SENDER)));
    assert_eq!(engine.counts(id).get("delivered"), Some(&2));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_paused_sender_is_waited_for_and_not_replaced() {
    let wanted = Wanted { senders: vec![(SECOND_SENDER, "long_code")], ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    let first: i64 = engine.value(&format!("SELECT id FROM senders WHERE address = '{SENDER}'"));
    let until = engine.clock.now() + 3_600_000;
    engine
        .store
        .write::<_, _, StoreError>(move |tx| senders::pause(tx, first, "full", Some(until)))
        .await
        .unwrap();
    let id = super::launched(&engine, 2).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("queued"), Some(&2));
    assert!(engine.simulator.messages().is_empty());
    // It goes on by itself when the pause ends, without anybody's word.
    engine.clock.advance(3_600_000);
    engine.drain().await;
    engine.settle().await;
    assert!(engine.simulator.messages().iter().all(|sent| sent.from.as_deref() == Some(SENDER)));
    assert_eq!(engine.counts(id).get("delivered"), Some(&2));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_text_of_each_person_is_kept_as_it_went_out() {
    let mut engine = Engine::start().await;
    engine.add_many(2).await;
    let body = format!("Dear {{name}}, {}", "x".repeat(320));
    let id = engine.draft_saying(&body, |_| {}).await;
    engine.launch(id).await;
    engine.settle().await;
    for sent in engine.simulator.messages() {
        let kept: String = engine.value(&format!("SELECT body FROM messages WHERE sid = '{}'", sent.sid));
        assert_eq!(kept, sent.body);
        assert!(kept.starts_with("Dear P"), "{kept}");
    }
    let parts: i64 = engine.value("SELECT sum(parts) FROM messages");
    let summed: i64 = engine.value(&format!("SELECT parts FROM campaign_sums WHERE campaign_id = {id}"));
    assert_eq!((parts, summed), (6, 6));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn whatsapp_outside_the_window_is_skipped_and_within_it_free_text_goes() {
    let mut engine = Engine::start().await;
    engine.add_many(2).await;
    let person = format!("whatsapp:{}", crate::support::phone(0));
    engine.simulator.inbound(&person, WHATSAPP_SENDER, "Are you open?").await;
    let text = TemplateText::plain(Channel::Whatsapp, "Yes, until six.");
    let id = engine.draft_with(text, |plan| plan.kind = Kind::Transactional).await;
    engine.launch(id).await;
    engine.settle().await;
    let reasons = engine.reasons(id);
    assert_eq!(reasons.get("skipped:outside_whatsapp_window"), Some(&1), "{reasons:?}");
    assert_eq!(engine.simulator.messages_to(&crate::support::phone(0)).len(), 1);
    engine.check_and_stop().await;
}
