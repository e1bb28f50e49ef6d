//! From a text of ours to an approved template and a campaign of it.

use event_stream_engine::simulator::Faults;
use serde_json::{Value, json};

use super::app_with_twilio;
use crate::support::api::TestApp;

const TEXT: &str =
    "Hello {name}, your order {order|upper} is on its way, says {shop|default(\"the shop\")} today.";

async fn add(app: &TestApp, channel: &str, body: &str) -> i64 {
    let body = json!({"name": "order", "channel": channel, "locale": "en", "body": body});
    app.post("/templates", &body).await.expect(201)["id"].as_i64().unwrap()
}

fn wanted() -> Value {
    json!({"category": "UTILITY", "example": {"name": "Ana", "order": "a-1"}})
}

#[actix_web::test]
async fn a_text_with_names_becomes_an_approved_template() {
    let (app, simulator) = app_with_twilio().await;
    let id = add(&app, "whatsapp", TEXT).await;
    let submitted = app.post(&format!("/templates/{id}/submit"), &wanted()).await;
    assert_eq!(submitted.header("etag"), Some("\"2\""));
    let submitted = submitted.expect(202);
    assert_eq!(
        submitted["content_variables"],
        json!({"1": "{name}", "2": "{order|upper}", "3": "{shop|default(\"the shop\")}"})
    );
    assert_eq!(submitted["body"], TEXT);
    assert_eq!(
        (&submitted["approval"]["status"], &submitted["approval"]["category"]),
        (&json!("received"), &json!("UTILITY"))
    );
    let sid = submitted["content_sid"].as_str().unwrap();
    let made = app.get(&format!("/content-templates/{sid}")).await.expect(200);
    assert_eq!(made["body"], "Hello {{1}}, your order {{2}} is on its way, says {{3}} today.");
    assert_eq!(made["variables"], json!({"1": "Ana", "2": "A-1", "3": "the shop"}));
    assert_eq!(made["templates"], json!(["order"]));
    // Again changes nothing.
    let again = app.post(&format!("/templates/{id}/submit"), &wanted()).await.expect(202);
    assert_eq!((&again["version"], &again["content_sid"]), (&json!(2), &json!(sid)));
    assert_eq!(simulator.contents().len(), 5);
    let segment = app.add_segment("all", json!({"all": []})).await;
    let campaign = json!({"name": "c", "channel": "whatsapp", "template_id": id, "segment_id": segment,
        "kind": "transactional"});
    let campaign = app.post("/campaigns", &campaign).await.expect(201)["id"].clone();
    let launch = format!("/campaigns/{campaign}/launch");
    assert_eq!(app.post(&launch, &json!({})).await.problem(409)["content_status"], "received");
    simulator.judge(sid, "approved", "").unwrap();
    app.clock.advance(1_000);
    app.post("/content-templates/sync", &json!({})).await.expect(200);
    app.post(&launch, &json!({})).await.expect(202);
    simulator.stop().await;
}

#[actix_web::test]
async fn what_is_missing_for_a_submission_is_named() {
    let (app, simulator) = app_with_twilio().await;
    let id = add(&app, "whatsapp", TEXT).await;
    let path = format!("/templates/{id}/submit");
    let fields = app.post(&path, &json!({"category": "UTILITY"})).await.fields();
    assert_eq!(fields, ["example.name", "example.order"]);
    let mut blank = wanted();
    blank["example"]["name"] = json!("  ");
    assert_eq!(app.post(&path, &blank).await.fields(), ["example.name"]);
    assert_eq!(
        app.post(&path, &json!({"category": "X", "samples": {}})).await.fields(),
        ["category", "samples"]
    );
    assert_eq!(simulator.contents().len(), 4, "Twilio was asked before all was right");
    let short = json!({"name": "short", "channel": "whatsapp", "body": "Hi {name} bye"});
    let short = app.post("/templates", &short).await.expect(201)["id"].clone();
    assert_eq!(app.post(&format!("/templates/{short}/submit"), &wanted()).await.fields(), ["body"]);
    let silent = json!({"name": "silent", "channel": "whatsapp", "body": "Hello there, all of you"});
    let silent = app.post("/templates", &silent).await.expect(201)["id"].clone();
    assert_eq!(app.post(&format!("/templates/{silent}/submit"), &wanted()).await.fields(), ["language"]);
    let sms = json!({"name": "sms", "channel": "sms", "body": TEXT});
    let sms = app.post("/templates", &sms).await.expect(201)["id"].clone();
    app.post(&format!("/templates/{sms}/submit"), &wanted()).await.problem(409);
    app.post("/templates/99/submit", &wanted()).await.problem(404);
    simulator.stop().await;
}

#[actix_web::test]
async fn a_loss_between_making_and_submitting_is_gone_on_with() {
    let (app, simulator) = app_with_twilio().await;
    let id = add(&app, "whatsapp", TEXT).await;
    let path = format!("/templates/{id}/submit");
    simulator.set_faults(Faults { drop_after_accept_percent: 100.0, count: Some(1), ..Faults::default() });
    app.post(&path, &wanted()).await.problem(503);
    assert_eq!(app.get(&format!("/templates/{id}")).await.expect(200)["content_sid"], Value::Null);
    let submitted = app.post(&path, &wanted()).await.expect(202);
    assert_eq!(submitted["approval"]["status"], "received");
    assert_eq!(simulator.contents().len(), 5);
    simulator.stop().await;
}
