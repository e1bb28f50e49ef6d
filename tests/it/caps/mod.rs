//! What bounds marketing: how much one person gets, what may be spent, what a first message says, and whose
//! phone is left alone.

mod first_message;
mod frequency;
mod random;
mod spending;
mod unreachable;

use event_stream_engine::campaign::{self, SingleMessage};
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::{Channel, Phone};
use event_stream_engine::domain::price::PriceTable;
use event_stream_engine::simulator::{ErrorFault, Faults};
use serde_json::{Map, json};
use std::sync::Arc;

use crate::support::Engine;

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// SMS to the US at 0.01 a part; other countries have no price.
fn prices() -> Arc<PriceTable> {
    let table = json!({"currency": "USD", "sms": {"US": 0.01}, "mms": {}, "whatsapp": {}});
    Arc::new(serde_json::from_value(table).unwrap())
}

/// The next `count` messages (all, if `None`) meet this code.
fn failing(code: u32, count: Option<u64>) -> Faults {
    Faults { errors: vec![ErrorFault { code, count, ..ErrorFault::default() }], ..Faults::default() }
}

/// Launches "Hi" to everybody at any hour, and lets it go as far as it gets.
async fn wave(engine: &mut Engine) -> i64 {
    let id = engine.draft_saying("Hi", |plan| plan.quiet_hours = json!("off")).await;
    engine.launch(id).await;
    engine.settle().await;
    id
}

/// Queues one message to `phone`.
async fn single(engine: &Engine, phone: &str, kind: Kind, body: &str) -> i64 {
    let message = SingleMessage {
        to: Phone::parse(phone, None).unwrap().into(),
        from: None,
        channel: Channel::Sms,
        body: Some(body.to_owned()),
        media_urls: Vec::new(),
        template_id: None,
        variables: Map::new(),
        topic: None,
        kind,
        reference: None,
        send_at: None,
        expires_at: None,
    };
    let (rules, setup) = (engine.rules().get(), engine.setup.clone());
    engine.store.write(move |tx| campaign::send_single(tx, &message, &rules, &setup, "test")).await.unwrap()
}

/// What everybody got, in order.
fn bodies(engine: &Engine) -> Vec<String> {
    engine.simulator.messages().iter().map(|message| message.body.clone()).collect()
}
