//! The Content API of the stand-in: what is made, how WhatsApp judges it, and what a message of it meets.

use event_stream_engine::simulator::{Faults, Options};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Twilio, WHATSAPP_ALICE, WHATSAPP_SENDER};

const ORDER: &str = "HX00000000000000000000000000000001";

impl Twilio {
    async fn content(&self, method: &str, path: &str, body: Option<&Value>) -> reqwest::Response {
        let url = format!("{}{path}", self.simulator.base_url());
        let request = self.client.request(method.parse().unwrap(), url);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.signed_in(request).send().await.unwrap()
    }

    /// Makes a template and answers its SID.
    async fn made(&self) -> String {
        let response = self.content("POST", "/v1/Content", Some(&wanted())).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        let made: Value = response.json().await.unwrap();
        made["sid"].as_str().unwrap().to_owned()
    }

    async fn submitted(&self, sid: &str, body: &Value) -> reqwest::Response {
        self.content("POST", &format!("/v1/Content/{sid}/ApprovalRequests/whatsapp"), Some(body)).await
    }

    async fn approval(&self, sid: &str) -> Value {
        let response = self.content("GET", &format!("/v1/Content/{sid}/ApprovalRequests"), None).await;
        response.json::<Value>().await.unwrap()["whatsapp"].clone()
    }

    /// How a message of this template ends: its code.
    async fn end_of(&self, sid: &str) -> Value {
        let form = [("To", WHATSAPP_ALICE), ("From", WHATSAPP_SENDER), ("ContentSid", sid)];
        let message = self.accepted(&form).await;
        self.simulator.wait_until_quiet().await;
        self.fetch(&message).await["error_code"].clone()
    }
}

fn wanted() -> Value {
    json!({"friendly_name": "news", "language": "en", "variables": {"1": "Ana"},
        "types": {"twilio/text": {"body": "Hello {{1}}, there is news for you."}}})
}

#[tokio::test]
async fn what_is_made_is_submitted_once_and_judged_by_the_control_api() {
    let twilio = Twilio::start().await;
    let sid = twilio.made().await;
    let before = twilio.approval(&sid).await;
    assert_eq!((&before["status"], &before["category"]), (&json!("unsubmitted"), &json!("")));
    for body in [
        json!({"category": "UTILITY"}),
        json!({"name": "Upper Case", "category": "UTILITY"}),
        json!({"name": "news", "category": "OTHER"}),
    ] {
        assert_eq!(twilio.submitted(&sid, &body).await.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    let body = json!({"name": "news", "category": "UTILITY"});
    let response = twilio.submitted(&sid, &body).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.json::<Value>().await.unwrap()["status"], "received");
    assert_eq!(twilio.submitted(&sid, &body).await.status(), StatusCode::CONFLICT);
    twilio.simulator.judge(&sid, "rejected", "INVALID_FORMAT").unwrap();
    let after = twilio.approval(&sid).await;
    assert_eq!(
        (&after["status"], &after["rejection_reason"]),
        (&json!("rejected"), &json!("INVALID_FORMAT"))
    );
    assert!(twilio.simulator.judge(&sid, "gone", "").is_err());
    assert!(twilio.simulator.judge("HX1", "approved", "").is_err());
}

#[tokio::test]
async fn the_control_api_moves_a_judgement_and_refuses_what_it_does_not_know() {
    let twilio = Twilio::start().await;
    let url = format!("{}/_control/content", twilio.simulator.base_url());
    let moved = json!({"sid": ORDER, "status": "paused"});
    let answer = twilio.client.post(&url).json(&moved).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["contents"][0]["status"], "paused");
    for wrong in [
        json!({"sid": "HX1", "status": "paused"}),
        json!({"sid": ORDER, "status": "x"}),
        json!({"sid": ORDER}),
    ] {
        let answer = twilio.client.post(&url).json(&wrong).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert_eq!(twilio.simulator.contents()[0].status, "paused");
}

#[tokio::test]
async fn whatsapp_approves_by_itself_after_the_delay() {
    let twilio = Twilio::with(Options { approve_after_ms: Some(10), ..Options::default() }).await;
    let sid = twilio.made().await;
    twilio.submitted(&sid, &json!({"name": "news", "category": "UTILITY"})).await;
    twilio.simulator.wait_until_quiet().await;
    assert_eq!(twilio.approval(&sid).await["status"], "approved");
    assert_eq!(twilio.end_of(&sid).await, Value::Null);
}

#[tokio::test]
async fn a_message_of_a_template_meets_what_whatsapp_thinks_of_it() {
    let twilio = Twilio::start().await;
    let table = [
        ("approved", Value::Null),
        ("unsubmitted", json!(63016)),
        ("received", json!(63016)),
        ("pending", json!(63016)),
        ("rejected", json!(63016)),
        ("paused", json!(63041)),
        ("disabled", json!(63042)),
    ];
    for (status, code) in table {
        twilio.simulator.judge(ORDER, status, "").unwrap();
        assert_eq!(twilio.end_of(ORDER).await, code, "{status}");
    }
    // Within the person's 24 hours it is free text, but what is paused stays paused.
    twilio.simulator.inbound(WHATSAPP_ALICE, WHATSAPP_SENDER, "Hello").await;
    for (status, code) in [("rejected", Value::Null), ("paused", json!(63041))] {
        twilio.simulator.judge(ORDER, status, "").unwrap();
        assert_eq!(twilio.end_of(ORDER).await, code, "{status}");
    }
    let deleted = twilio.content("DELETE", &format!("/v1/Content/{ORDER}"), None).await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    let form = [("To", WHATSAPP_ALICE), ("From", WHATSAPP_SENDER), ("ContentSid", ORDER)];
    assert_eq!(Twilio::code(twilio.create(&form).await).await, 21655);
}

#[tokio::test]
async fn what_is_no_template_is_refused() {
    let twilio = Twilio::start().await;
    let text = json!({"twilio/text": {"body": "Hi"}});
    for body in [
        json!({}),
        json!({"language": "en"}),
        json!({"language": "en", "types": {}}),
        json!({"types": text}),
        json!({"language": "en", "types": {"twilio/poem": {"body": "Hi"}}}),
        json!({"language": "en", "types": {"twilio/text": {}}}),
        json!({"language": "en", "types": text, "variables": {"1": 5}}),
        json!({"language": "en", "types": text, "variables": {"first name": "x"}}),
        json!({"language": 5, "types": text}),
    ] {
        let response = twilio.content("POST", "/v1/Content", Some(&body)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(Twilio::code(response).await, 20001, "{body}");
    }
    for (method, path) in [
        ("GET", "/v1/Content/HX1"),
        ("DELETE", "/v1/Content/HX1"),
        ("GET", "/v1/Content/HX1/ApprovalRequests"),
    ] {
        assert_eq!(Twilio::code(twilio.content(method, path, None).await).await, 20404, "{method} {path}");
    }
    assert_eq!(twilio.simulator.contents().len(), 4);
}

#[tokio::test]
async fn a_creation_meets_the_faults_of_messages() {
    let twilio = Twilio::start().await;
    let only = |faults| Faults { to: Some("news".to_owned()), count: Some(1), ..faults };
    let before = only(Faults { error_500_before_percent: 100.0, ..Faults::default() });
    let after = only(Faults { error_500_after_accept_percent: 100.0, ..Faults::default() });
    for (faults, made) in [(before, 4), (after, 5)] {
        twilio.simulator.set_faults(faults);
        let response = twilio.content("POST", "/v1/Content", Some(&wanted())).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(twilio.simulator.contents().len(), made);
    }
}
