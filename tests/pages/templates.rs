//! Templates: the editor and its phone, versions, templates at Twilio, and a test that is really sent.

use event_stream_engine::catalogue::Catalogue;
use event_stream_engine::store::StoreError;
use event_stream_engine::store::content_templates::{self, SeenContent};
use serde_json::{Map, Value, json};

use crate::desk::Desk;
use crate::support::api::TestApp;

const PRICED: &str = r#"
[twilio]
account_sid = "AC00000000000000000000000000000001"
auth_token = "token"
api_base = "http://127.0.0.1:1"
content_base = "http://127.0.0.1:1"
[[senders]]
address = "+15005550006"
kind = "long_code"
[[senders]]
address = "whatsapp:+14155238886"
kind = "sandbox"
[prices.sms]
US = 0.0079
"#;
const SID: &str = "HX00000000000000000000000000000001";

async fn desk(app: &TestApp, role: &'static str) -> Desk {
    Desk::new(&app.store, &app.base, role).await
}

async fn add(app: &TestApp, n: u32, attributes: Value) -> i64 {
    let body = json!({"phone": format!("+1415555{n:04}"), "consent": "opt_in", "attributes": attributes});
    app.post("/users", &body).await.expect(201)["id"].as_i64().unwrap()
}

/// A template that Twilio showed, with this status.
async fn seen(app: &TestApp, status: &'static str, reason: Option<&'static str>) {
    app.store
        .write::<_, _, StoreError>(move |tx| {
            let seen = SeenContent {
                sid: SID.to_owned(),
                friendly_name: "winter_<b>".to_owned(),
                language: "en".to_owned(),
                types: json!({"twilio/text": {"body": "Hi {{1}}, open at {{2}} now."}}),
                variables: json!({"1": "Ana", "2": "7"}).as_object().unwrap().clone(),
                names: vec!["1".to_owned(), "2".to_owned()],
                category: Some("MARKETING".to_owned()),
                status: status.to_owned(),
                rejection_reason: reason.map(str::to_owned),
            };
            content_templates::see(tx, &seen, tx.now()).map(drop)
        })
        .await
        .unwrap();
}

#[actix_web::test]
async fn a_template_is_written_looked_at_saved_changed_and_deleted() {
    let app = TestApp::with_config(PRICED).await;
    add(&app, 1, json!({"name": "Ana", "city": "Kandy"})).await;
    add(&app, 2, json!({"name": "Bo"})).await;
    Catalogue::new(app.store.clone()).walk_through().await.unwrap();
    let desk = desk(&app, "operator").await;
    desk.get("/templates").await.is(200).says("No templates yet");
    desk.get("/templates/new").await.is(200).says("data-insert=\"{city}\"").says("How it reads");

    // The newest person who lacks nothing is the one that is shown.
    let text = [("name", "Winter"), ("channel", "sms"), ("body", "Hi {name}, from {city}")];
    let shown = desk.post("/templates/draft", &text).await;
    shown.is(200).says("<span class=\"filled\">Ana</span>").says("GSM-7").says("$0.0079").says("to US");
    shown.says("50.0 %");

    let saved = desk.post("/templates", &text).await;
    saved.is(303);
    assert_eq!(saved.location, "/admin/templates/1");
    desk.get("/templates").await.says("Winter").says("Hi {name}, from {city}");
    let other = [
        ("name", "Winter"),
        ("channel", "sms"),
        ("body", "  Hello {name}\nBye "),
        ("version", "1"),
        ("id", "1"),
    ];
    desk.post("/templates/1", &other).await.is(303);
    assert_eq!(
        app.get("/templates/1").await.expect(200)["body"],
        "  Hello {name}\nBye ",
        "blanks are the author's"
    );
    desk.get("/templates/1")
        .await
        .says("Version 2")
        .says("Hi {name}, from {city}")
        .says("Edit version 1 again");
    desk.get("/templates/1?version=1").await.is(200).says("value=\"2\"");
    let late = desk.post("/templates/1", &other).await;
    late.is(422).says("Somebody changed this template meanwhile").says("Hello {name}");

    desk.get("/templates/1/delete").await.is(200).says("No campaign uses it");
    desk.post("/templates/1/delete", &[]).await.is(303);
    desk.get("/templates/1").await.is(404);
}

#[actix_web::test]
async fn the_phone_marks_what_is_missing_and_what_doubles_the_price() {
    let app = TestApp::with_config(PRICED).await;
    let ana = add(&app, 1, json!({"name": "Ana <i>"})).await;
    let desk = desk(&app, "operator").await;
    let long = format!("Hi {{name}} of {{city}}, the kettle is on ☕ {}", "and on ".repeat(12));
    let text = [("name", "Winter"), ("channel", "sms"), ("body", long.as_str())];
    desk.post("/templates", &text).await.is(303);
    let page = desk.get(&format!("/templates/1/preview?person={ana}")).await;
    page.is(200).says("<mark class=\"missing\">{city}</mark>").says("would get nothing");
    page.says("<mark>☕</mark>").says("an emoji, U+2615");
    page.says("3 parts instead of 1")
        .says("$0.0237 instead of $0.0079")
        .says("Ana &lt;i&gt;")
        .lacks("Ana <i>");
    let quotes = [("name", "x"), ("channel", "sms"), ("body", "It’s on")];
    desk.post("/templates/draft", &quotes).await.says("a curly apostrophe").says("Write &#x27;");
    let broken = [("name", "x"), ("channel", "sms"), ("body", "Hi {name")];
    desk.post("/templates/draft", &broken).await.is(200).says("is missing; write");
}

#[actix_web::test]
async fn what_can_not_be_kept_stands_at_its_field_with_everything_that_was_written() {
    let app = TestApp::start().await;
    app.add_template("Taken", "Hi").await;
    let desk = desk(&app, "operator").await;
    let wrong =
        [("name", ""), ("channel", "sms"), ("body", "Hi {name <b>"), ("media_urls", "http://x/a.png")];
    let refused = desk.post("/templates", &wrong).await;
    refused.is(422).says("Hi {name &lt;b&gt;").says("https address").says("id=\"e-body\"").lacks("<b>\"");
    let taken = [("name", "Taken"), ("channel", "sms"), ("body", "Hi")];
    desk.post("/templates", &taken).await.is(422).says("There is a template").says("id=\"e-name\"");
}

#[actix_web::test]
async fn a_content_template_fills_its_variables_and_tells_what_whatsapp_says() {
    let app = TestApp::start().await;
    seen(&app, "rejected", Some("It says <b>free</b>")).await;
    let desk = desk(&app, "operator").await;
    desk.get("/templates/content")
        .await
        .is(200)
        .says("winter_&lt;b&gt;")
        .says("Rejected")
        .says("It says &lt;b&gt;free");
    desk.get("/templates/content?status=approved").await.says("None is approved");
    desk.get(&format!("/templates/content/{SID}"))
        .await
        .is(200)
        .says("Hi {{1}}, open at {{2}} now.")
        .says("WhatsApp said no");
    desk.get(&format!("/templates/new?content={SID}"))
        .await
        .is(200)
        .says("content_variables.1")
        .says("Rejected by WhatsApp");
    let text = [
        ("name", "Winter"),
        ("channel", "whatsapp"),
        ("content_sid", SID),
        ("content_variables.1", "{name}"),
        ("content_variables.2", "7"),
    ];
    desk.post("/templates", &text).await.is(303);
    let kept = app.get("/templates/1").await.expect(200);
    assert_eq!(kept["content_variables"], json!({"1": "{name}", "2": "7"}));
    desk.get("/templates/1").await.is(200).says("WhatsApp says: It says &lt;b&gt;free").says("Rejected");
    let unknown = [&text[..3], &[("content_variables.9", "x")]].concat();
    let unknown: Vec<(&str, &str)> =
        unknown.into_iter().map(|(k, v)| if k == "name" { (k, "Other") } else { (k, v) }).collect();
    desk.post("/templates", &unknown).await.is(422).says("no such variable at Twilio");
}

#[actix_web::test]
async fn twilio_out_of_reach_is_said_and_the_form_is_kept() {
    let app = TestApp::with_config(PRICED).await;
    let desk = desk(&app, "operator").await;
    let failed = desk.post("/templates/content/sync", &[]).await;
    assert!(failed.status >= 500, "{}", failed.status);
    let wanted =
        [("name", "winter"), ("language", "en"), ("body", "Hi {{1}}, we open."), ("variables.1", "Ana")];
    let failed = desk.post("/templates/content", &wanted).await;
    assert!(failed.status >= 500);
    failed.says("Hi {{1}}, we open.").says("Try again");
    let wrong =
        [("name", "winter"), ("language", "english"), ("body", "{{1}} first"), ("category", "MARKETING")];
    desk.post("/templates/content", &wrong).await.is(422).says("Must be a language").says("{{1}} first");
    seen(&app, "unsubmitted", None).await;
    let wrong = [("category", "MARKETING"), ("name", "Not This")];
    desk.post(&format!("/templates/content/{SID}/submit"), &wrong).await.is(422).says("Small letters");
}

#[actix_web::test]
async fn a_test_is_sent_once_its_number_is_confirmed() {
    let app = TestApp::start().await;
    app.add_template("Winter", "Hi {name}, from {address.city}").await;
    let desk = desk(&app, "operator").await;
    desk.get("/templates/1/test").await.is(200).says("variables.address.city");
    let form = [("to", "+1 415 555 0199"), ("variables.name", "Ana"), ("variables.address.city", "Kandy")];
    let unconfirmed = desk.post("/templates/1/test", &form).await;
    unconfirmed.is(422).says("Type the last 4 digits").says("value=\"Kandy\"");
    desk.post("/templates/1/test", &[&form[..], &[("confirm", "0198")]].concat())
        .await
        .is(422)
        .says("does not end");
    assert_eq!(app.get("/messages").await.expect(200)["data"], json!([]));
    let sent = desk.post("/templates/1/test", &[&form[..], &[("confirm", "0199")]].concat()).await;
    sent.is(303);
    let messages = app.get("/messages").await.expect(200);
    let message = &messages["data"][0];
    assert_eq!((&message["phone"], &message["kind"]), (&json!("+14155550199"), &json!("transactional")));
    assert_eq!(sent.location, format!("/admin/templates/1/test?message={}", message["id"]));
    desk.get(&sent.location.replace("/admin", "")).await.is(200).says("Queued").says("+1 415 555 0199");
}

#[actix_web::test]
async fn viewers_look_and_change_nothing() {
    let app = TestApp::start().await;
    app.add_template("Winter", "Hi {name}").await;
    add(&app, 1, json!({"name": "Ana"})).await;
    let desk = desk(&app, "viewer").await;
    desk.get("/templates").await.is(200).says("Winter").lacks("New template");
    desk.get("/templates/1").await.is(200).lacks(">Save<").lacks("Send a test");
    desk.get("/templates/1/preview").await.is(200).says("Ana");
    for path in [
        "/templates",
        "/templates/1",
        "/templates/1/delete",
        "/templates/1/test",
        "/templates/content",
        "/templates/content/sync",
    ] {
        desk.post(path, &[("name", "x")]).await.is(403);
    }
    let empty: Map<String, Value> = Map::new();
    assert_eq!(app.get("/templates/1").await.expect(200)["content_variables"], Value::Object(empty));
}
