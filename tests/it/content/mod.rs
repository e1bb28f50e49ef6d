//! Content templates: learned from Twilio, made and submitted there, and what their approval means for sending.

mod campaigns;
mod make;
mod own;
mod sync;

use event_stream_engine::content::Contents;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::simulator::Simulator;
use event_stream_engine::store::templates::TemplateText;
use event_stream_engine::twilio::client::{Client, Credentials};
use event_stream_engine::twilio::content::ContentClient;
use serde_json::{Value, json};

use crate::support::api::TestApp;
use crate::support::{Engine, quick_simulator};

/// Approved as UTILITY, with variables 1 and 2.
const ORDER: &str = "HX00000000000000000000000000000001";
/// Approved as MARKETING, with variable 1.
const OFFER: &str = "HX00000000000000000000000000000002";
/// Pending.
const VISIT: &str = "HX00000000000000000000000000000004";

/// The flow over the engine's own store and Twilio.
fn contents(engine: &Engine) -> Contents {
    let options = quick_simulator();
    let base: url::Url = engine.simulator.base_url().parse().unwrap();
    let client = Client::new(Credentials {
        account_sid: options.account_sid.clone(),
        user: options.account_sid,
        password: options.auth_token.into(),
        api_base: base.clone(),
    })
    .unwrap();
    Contents::new(engine.store.clone(), Some(ContentClient::new(client, base)))
}

/// A text that is sent by a content template.
fn by_content(sid: &str, variables: Value) -> TemplateText {
    TemplateText {
        content_sid: Some(sid.to_owned()),
        content_variables: variables.as_object().unwrap().clone(),
        ..TemplateText::plain(Channel::Whatsapp, "Hello {name}")
    }
}

/// A transactional draft to everybody with the order template.
async fn order_draft(engine: &Engine) -> i64 {
    let text = by_content(ORDER, json!({"1": "{name}", "2": "A-1"}));
    engine.draft_with(text, |plan| plan.kind = Kind::Transactional).await
}

/// A server whose Twilio is a simulator.
async fn app_with_twilio() -> (TestApp, Simulator) {
    let options = quick_simulator();
    let simulator = Simulator::start(options.clone()).await.unwrap();
    let app = app_at(&simulator, &options.auth_token).await;
    (app, simulator)
}

async fn app_at(simulator: &Simulator, token: &str) -> TestApp {
    let base = simulator.base_url();
    TestApp::with_config(&format!(
        "[twilio]\naccount_sid = \"{}\"\nauth_token = \"{token}\"\napi_base = \"{base}\"\ncontent_base = \"{base}\"\n\
         [[senders]]\naddress = \"+15005550006\"\nkind = \"long_code\"\n\
         [[senders]]\naddress = \"whatsapp:+14155238886\"\nkind = \"whatsapp\"\n",
        quick_simulator().account_sid
    ))
    .await
}
