//! Message templates: checked, versioned, previewed.

use serde_json::{Value, json};

use crate::support::api::{TestApp, send};

#[actix_web::test]
async fn a_template_tells_its_variables_and_warnings() {
    let app = TestApp::start().await;
    let body = json!({"name": "offer", "channel": "whatsapp", "locale": "en", "body": "Hi {name}, reply YES for {code|upper}",
        "content_sid": format!("HX{}", "a".repeat(32)), "content_variables": {"1": "{name}", "2": "{city}"}});
    let made = app.post("/templates", &body).await;
    assert_eq!((made.header("etag"), made.header("location")), (Some("\"1\""), Some("/api/v1/templates/1")));
    let made = made.expect(201);
    assert_eq!(made["variables"], json!(["name", "code", "city"]));
    assert_eq!(made["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&made["version"], &made["parts"], &made["encoding"]),
        (&json!(1), &json!(1), &json!("GSM-7"))
    );
    for field in ["channel", "locale", "body", "content_sid", "content_variables"] {
        assert_eq!(made[field], body[field], "{field}");
    }
    assert_eq!(made["media_urls"], json!([]));
    app.post("/templates", &body).await.problem(409);
}

#[actix_web::test]
async fn every_wrong_field_of_a_template_is_named() {
    let app = TestApp::start().await;
    assert_eq!(app.post("/templates", &json!({})).await.fields(), ["name", "channel", "body"]);
    let body = json!({"name": "x", "channel": "fax", "body": "Hi {name", "media_urls": ["ftp://x", "https://example.com/a.png"],
        "content_sid": "HX12", "content_variables": {"a b": "{x}"}, "text": 1});
    let mut fields = app.post("/templates", &body).await.fields();
    fields.sort();
    assert_eq!(fields, ["body", "channel", "content_sid", "content_variables", "media_urls[0]", "text"]);
    let wrong = app
        .post("/templates", &json!({"name": "x", "channel": "sms", "body": "a\nb {name|nope}"}))
        .await
        .problem(422);
    assert!(wrong["errors"][0]["message"].as_str().unwrap().contains("line 2, column 3"), "{wrong}");
    let body = json!({"name": "x", "channel": "sms", "body": "Hi", "content_variables": {"1": "{x}"}});
    assert_eq!(app.post("/templates", &body).await.fields(), ["content_variables"]);
    let body = json!({"name": "x", "channel": "sms", "body": "a".repeat(64 * 1024)});
    assert_eq!(app.post("/templates", &body).await.fields(), ["body"]);
}

#[actix_web::test]
async fn an_edit_is_a_new_version_and_a_template_in_use_stays() {
    let app = TestApp::start().await;
    let campaign = app.add_campaign("spring").await;
    let body = json!({"name": "new words", "channel": "sms", "body": "Bye"});
    send(app.request("PUT", "/templates/1").header("if-match", "\"2\"").json(&body)).await.problem(412);
    let edited =
        send(app.request("PUT", "/templates/1").header("if-match", "\"1\"").json(&body)).await.expect(200);
    assert_eq!((&edited["version"], &edited["body"]), (&json!(2), &json!("Bye")));
    let other_channel = json!({"name": "new words", "channel": "whatsapp", "body": "Bye"});
    app.put("/templates/1", &other_channel).await.problem(409);
    assert_eq!(app.delete("/templates/1").await.problem(409)["used_by"], json!(["spring"]));
    app.delete(&format!("/campaigns/{campaign}")).await.expect(204);
    app.delete("/templates/1").await.expect(204);
    app.get("/templates/1").await.problem(404);
    app.add_template("new words", "again").await;
}

#[actix_web::test]
async fn a_preview_is_what_the_person_would_get() {
    let app = TestApp::start().await;
    app.post("/users", &json!({"phone": "+14155550101", "attributes": {"name": "Zoë"}})).await.expect(201);
    app.add_template("hi", "Hi {name}, {city|default(\"you\")} {phone}").await;
    let shown = app.post("/templates/1/preview", &json!({"phone": "+14155550101"})).await.expect(200);
    // The first that a person gets says how to end it.
    assert_eq!(shown["body"], "Hi Zoë, you +14155550101\nReply STOP to unsubscribe.");
    assert_eq!(
        (&shown["encoding"], &shown["parts"], &shown["characters"], &shown["missing"]),
        (&json!("UCS-2"), &json!(1), &json!(51), &json!([]))
    );
    let shown = app.post("/templates/1/preview", &json!({"attributes": {"name": ""}})).await.expect(200);
    assert_eq!((&shown["body"], &shown["missing"]), (&Value::Null, &json!(["name", "phone"])));
    assert_eq!(app.post("/templates/1/preview", &json!({})).await.fields(), ["phone"]);
    assert_eq!(app.post("/templates/1/preview", &json!({"phone": "+14155550109"})).await.fields(), ["phone"]);
    let both = json!({"phone": "+14155550101", "attributes": {}});
    assert_eq!(app.post("/templates/1/preview", &both).await.fields(), ["phone"]);
    app.post("/templates/9/preview", &json!({"attributes": {}})).await.problem(404);
}
