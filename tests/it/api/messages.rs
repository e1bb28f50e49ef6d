//! Single messages, what people wrote, and the stream of events.

use serde_json::{Value, json};

use crate::support::api::TestApp;

#[actix_web::test]
async fn a_message_is_queued_or_skipped_with_its_reason() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    let body = json!({"to": "+1 415 555 0101", "channel": "sms", "body": "Hi", "kind": "marketing", "reference": "order 7",
        "send_at": "2026-11-23T20:00:00Z", "expires_at": "2026-11-24T20:00:00Z", "topic": "general"});
    let message = app.post("/messages", &body).await.expect(202);
    for (field, value) in [
        ("id", json!(1)),
        ("campaign_id", Value::Null),
        ("phone", json!("+14155550101")),
        ("channel", json!("sms")),
        ("kind", json!("marketing")),
        ("reference", json!("order 7")),
        ("status", json!("queued")),
        ("reason", Value::Null),
        ("sid", Value::Null),
        ("parts", Value::Null),
        ("price", Value::Null),
        ("attempts", json!(0)),
        ("error_code", Value::Null),
        ("body", json!("Hi")),
        ("send_at", json!("2026-11-23T20:00:00Z")),
        ("created_at", json!("2026-11-23T12:00:00Z")),
        ("accepted_at", Value::Null),
        ("delivered_at", Value::Null),
        ("read_at", Value::Null),
    ] {
        assert_eq!(message.get(field), Some(&value), "{field}");
    }
    let skipped = json!({"to": "+14155550102", "channel": "sms", "body": "Hi", "kind": "marketing"});
    let skipped = app.post("/messages", &skipped).await.expect(202);
    assert_eq!((&skipped["status"], &skipped["reason"]), (&json!("skipped"), &json!("consent_unknown")));
    let whole = app.get(&format!("/messages/{}", skipped["id"])).await.expect(200);
    assert_eq!((&whole["attempts"], &whole["receipts"]), (&json!([]), &json!([])));
    assert_eq!(whole["events"][0]["type"], "message.skipped");
    app.get("/messages/99").await.problem(404);
}

#[actix_web::test]
async fn every_wrong_field_of_a_message_is_named() {
    let app = TestApp::start().await;
    app.add_template("hi", "Hi {name}").await;
    assert_eq!(app.post("/messages", &json!({})).await.fields(), ["to", "channel", "body"]);
    let good = json!({"to": "+14155550101", "channel": "sms", "body": "Hi"});
    for (patch, field) in [
        (json!({"to": "12"}), "to"),
        (json!({"to": "+14155550101; +14155550102"}), "to"),
        (json!({"channel": "fax"}), "channel"),
        (json!({"body": "a".repeat(1_601)}), "body"),
        (json!({"body": "a".repeat(64 * 1024)}), "body"),
        (json!({"body": "  "}), "body"),
        (json!({"template_id": 1}), "body"),
        (json!({"body": null, "template_id": 9}), "template_id"),
        (json!({"body": null, "template_id": 1, "channel": "whatsapp"}), "template_id"),
        (json!({"variables": {"name": "x"}}), "variables"),
        (json!({"kind": "confirmation"}), "kind"),
        (json!({"topic": "hats"}), "topic"),
        (json!({"reference": "r".repeat(201)}), "reference"),
        (json!({"send_at": "soon"}), "send_at"),
        (json!({"send_at": "2027-11-25T12:00:00Z"}), "send_at"),
        (json!({"media_urls": ["http://example.com/a.png"]}), "media_urls[0]"),
        (json!({"media_urls": ["https://example.com/a.png", "file:///etc/passwd"]}), "media_urls[1]"),
        (json!({"media_urls": vec!["https://example.com/a.png"; 11]}), "media_urls"),
        (json!({"media_urls": vec!["https://example.com/a.png"; 2], "channel": "whatsapp"}), "media_urls"),
        (json!({"media_urls": "https://example.com/a.png"}), "media_urls"),
        (json!({"expires_at": "2026-11-23T11:00:00Z"}), "expires_at"),
        (json!({"from": "+1"}), "from"),
    ] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        assert_eq!(app.post("/messages", &body).await.fields(), [field], "{patch}");
    }
    let templated =
        json!({"to": "+14155550101", "channel": "sms", "template_id": 1, "variables": {"name": "Bo"}});
    assert_eq!(app.post("/messages", &templated).await.expect(202)["status"], "queued");
}

#[actix_web::test]
async fn a_picture_alone_is_a_message() {
    let app = TestApp::start().await;
    let body =
        json!({"to": "+14155550101", "channel": "sms", "media_urls": vec!["https://example.com/a.png"; 10]});
    assert_eq!(app.post("/messages", &body).await.expect(202)["status"], "queued");
}

async fn change(app: &TestApp, sql: &'static str) {
    app.store
        .write(move |tx| Ok::<_, event_stream_engine::store::StoreError>(tx.conn().execute_batch(sql)?))
        .await
        .unwrap();
}

#[actix_web::test]
async fn each_refusal_of_the_gate_is_told_at_once() {
    let app = TestApp::start().await;
    app.add_template("order", "Order {order}").await;
    app.post("/topics", &json!({"name": "shoes", "default": "opt_in_required"})).await.expect(201);
    for (n, consent) in
        ["opt_in", "opt_out", "stop", "unknown", "opt_in", "opt_in", "opt_in"].iter().enumerate()
    {
        app.add_user(&format!("+1415555010{n}"), consent).await;
    }
    change(
        &app,
        "UPDATE users SET hold = 'review' WHERE id = 5; UPDATE users SET reachable = 0 WHERE id = 6;
         UPDATE users SET suppressed = 1 WHERE id = 7;",
    )
    .await;
    for (to, patch, reason) in [
        (2, json!({"kind": "transactional"}), "stop"),
        (1, json!({}), "opted_out"),
        (3, json!({}), "consent_unknown"),
        (9, json!({}), "consent_unknown"),
        (0, json!({"topic": "shoes"}), "not_subscribed"),
        (4, json!({}), "held"),
        (5, json!({}), "unreachable"),
        (6, json!({"kind": "transactional"}), "suppressed"),
        (0, json!({"kind": "reply"}), "reply_window_closed"),
        (0, json!({"body": null, "template_id": 1}), "missing_variable"),
        (
            0,
            json!({"body": null, "template_id": 1, "variables": {"order": "x".repeat(1_600)}}),
            "content_too_long",
        ),
        (0, json!({"body": null, "template_id": 1, "variables": {"order": ""}}), "missing_variable"),
        (0, json!({"channel": "whatsapp", "kind": "transactional"}), "outside_whatsapp_window"),
        (0, json!({"channel": "whatsapp"}), "whatsapp_us_marketing"),
    ] {
        let mut body =
            json!({"to": format!("+1415555010{to}"), "channel": "sms", "body": "Hi", "kind": "marketing"});
        body.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        let message = app.post("/messages", &body).await.expect(202);
        assert_eq!((&message["status"], &message["reason"]), (&json!("skipped"), &json!(reason)), "{patch}");
    }
    // Seven in the morning in San Francisco's area is none of the hours; at the deadline it still is not.
    let late = json!({"to": "+14155550100", "channel": "sms", "body": "Hi", "kind": "marketing",
        "expires_at": "2026-11-23T12:30:00Z"});
    let late = app.post("/messages", &late).await.expect(202);
    assert_eq!((&late["status"], &late["reason"]), (&json!("expired"), &json!("quiet_hours")));
    let whole = app.get(&format!("/messages/{}", late["id"])).await.expect(200);
    assert_eq!(whole["events"][0]["type"], "message.expired");
}

#[actix_web::test]
async fn an_approved_template_needs_no_window_and_free_text_does() {
    let app = TestApp::start().await;
    let template = json!({"name": "order", "channel": "whatsapp", "body": "Order {order}",
        "content_sid": format!("HX{}", "0".repeat(32)), "content_variables": {"1": "{order}"}});
    let id = app.post("/templates", &template).await.expect(201)["id"].clone();
    let two = json!({"name": "two", "channel": "whatsapp", "body": "Hi", "media_urls": vec!["https://example.com/a"; 2]});
    assert_eq!(app.post("/templates", &two).await.fields(), ["media_urls"]);
    let body =
        json!({"to": "+442071838750", "channel": "whatsapp", "template_id": id, "variables": {"order": 7}});
    assert_eq!(app.post("/messages", &body).await.expect(202)["status"], "queued");
    let free = json!({"to": "+442071838750", "channel": "whatsapp", "body": "Hi", "media_urls": ["https://example.com/a"]});
    assert_eq!(app.post("/messages", &free).await.expect(202)["reason"], "outside_whatsapp_window");
    change(
        &app,
        "UPDATE users SET last_inbound_at = 1795431600000, last_whatsapp_inbound_at = 1795431600000",
    )
    .await;
    assert_eq!(app.post("/messages", &free).await.expect(202)["status"], "queued");
    let reply = json!({"to": "+442071838750", "channel": "whatsapp", "body": "Hi", "kind": "reply"});
    assert_eq!(app.post("/messages", &reply).await.expect(202)["status"], "queued");
}

#[actix_web::test]
async fn what_is_under_way_is_not_cancelled_and_nobody_says_so() {
    let app = TestApp::start().await;
    let body = json!({"to": "+14155550101", "channel": "sms", "body": "Hi", "reference": "order 7"});
    for _ in 0..2 {
        app.post("/messages", &body).await.expect(202);
    }
    change(&app, "UPDATE messages SET status = 'sending' WHERE id = 1").await;
    let refused = app.post("/messages/1/cancel", &json!({})).await.problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("Message 1 is sending"), "{refused}");
    let rest = app.post("/messages/cancel?reference=order%207", &json!({})).await.expect(200);
    let cancelled: Vec<i64> =
        rest["data"].as_array().unwrap().iter().map(|message| message["id"].as_i64().unwrap()).collect();
    assert_eq!(cancelled, [2]);
    assert_eq!(app.get("/messages/1").await.expect(200)["status"], "sending");
}

#[actix_web::test]
async fn a_message_is_cancelled_by_id_or_reference() {
    let app = TestApp::start().await;
    let body = json!({"to": "+14155550101", "channel": "sms", "body": "Hi", "reference": "order 7"});
    for _ in 0..3 {
        app.post("/messages", &body).await.expect(202);
    }
    let cancelled = app.post("/messages/1/cancel", &json!({})).await.expect(200);
    assert_eq!(
        (&cancelled["status"], &cancelled["reason"]),
        (&json!("cancelled"), &json!("cancelled_by_request"))
    );
    app.post("/messages/1/cancel", &Value::Null).await.problem(422);
    app.post("/messages/1/cancel", &json!({})).await.expect(200);
    app.post("/messages/9/cancel", &json!({})).await.problem(404);
    app.post("/messages/cancel?reference=nothing", &json!({})).await.problem(404);
    assert_eq!(app.post("/messages/cancel", &json!({})).await.fields(), ["reference"]);
    assert_eq!(app.post("/messages/1/cancel?reference=x", &json!({})).await.fields(), ["reference"]);
    let all = app.post("/messages/cancel?reference=order%207", &json!({})).await.expect(200);
    assert!(all["data"].as_array().unwrap().iter().all(|message| message["status"] == "cancelled"));
    assert_eq!(all["data"].as_array().unwrap().len(), 3);
    app.store
        .write(|tx| {
            Ok::<_, event_stream_engine::store::StoreError>(
                tx.conn().execute("UPDATE messages SET status = 'sent'", [])?,
            )
        })
        .await
        .unwrap();
    app.post("/messages/2/cancel", &json!({})).await.problem(409);
    app.post("/messages/cancel?reference=order%207", &json!({})).await.problem(409);
}

#[actix_web::test]
async fn a_reference_takes_back_all_that_wait_however_many_there_are() {
    let app = TestApp::start().await;
    let body = json!({"to": "+14155550101", "channel": "sms", "body": "Hi", "reference": "visit 4"});
    app.post("/messages", &body).await.expect(202);
    // Older ones wait behind newer ones that have left.
    for (n, status) in [(449, "queued"), (250, "sent")] {
        let more = format!(
            "INSERT INTO messages (user_id, kind, channel, lane, due_at, created_at, status, reference)
                 WITH RECURSIVE k (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {n})
                 SELECT user_id, kind, channel, lane, due_at, created_at, '{status}', reference
                 FROM messages JOIN k WHERE id = 1"
        );
        change(&app, Box::leak(more.into_boxed_str())).await;
    }
    let answer = app.post("/messages/cancel?reference=visit%204", &json!({})).await.expect(200);
    assert_eq!((&answer["cancelled"], &answer["remaining"]), (&json!(450), &json!(0)));
    assert_eq!(answer["data"].as_array().unwrap().len(), 200);
    assert!(answer["data"].as_array().unwrap().iter().all(|message| message["status"] == "cancelled"));
    assert_eq!(app.get("/messages/1").await.expect(200)["status"], "cancelled");
    let again = app.post("/messages/cancel?reference=visit%204", &json!({})).await.expect(200);
    assert_eq!(again["cancelled"], 0);
}

#[actix_web::test]
async fn messages_are_found_by_each_filter() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    let send = async |to: &str, kind: &str, reference: Option<&str>| {
        let body = json!({"to": to, "channel": "sms", "body": "Hi", "kind": kind, "reference": reference});
        app.post("/messages", &body).await.expect(202);
    };
    send("+14155550101", "marketing", Some("a")).await;
    app.clock.advance(60_000);
    send("+14155550101", "transactional", None).await;
    send("+14155550102", "marketing", Some("b")).await;
    for (query, ids) in [
        ("", vec![3, 2, 1]),
        ("phone=%2B14155550101", vec![2, 1]),
        ("phone=+14155550102", vec![3]),
        ("phone=%2B14155550109", vec![]),
        ("status=skipped", vec![3]),
        ("kind=marketing", vec![3, 1]),
        ("reference=a", vec![1]),
        ("since=2026-11-23T12:01:00Z", vec![3, 2]),
        ("since=2026-11-23T13:01:00%2B01:00&kind=marketing", vec![3]),
        ("campaign_id=1", vec![]),
    ] {
        let found = app.get(&format!("/messages?{query}")).await.expect(200);
        let found: Vec<i64> =
            found["data"].as_array().unwrap().iter().map(|m| m["id"].as_i64().unwrap()).collect();
        assert_eq!(found, ids, "{query}");
    }
    for field in ["status", "kind", "since", "campaign_id", "state"] {
        assert_eq!(app.get(&format!("/messages?{field}=odd")).await.fields(), [field]);
    }
}

#[actix_web::test]
async fn what_people_wrote_is_listed() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    app.store
        .write(|tx| {
            for (sid, user, kind, at) in [("SM1", Some(1), "stop", 1_000), ("SM2", None, "unmatched", 2_000), ("SM3", Some(1), "message", 3_000)] {
                tx.conn().execute(
                    "INSERT INTO inbound (message_sid, state, source, user_id, from_address, to_address, channel, kind, body, params, received_at)
                     VALUES (?1, 'done', 'webhook', ?2, 'whatsapp:+14155550101', 'whatsapp:+14155238886', 'whatsapp', ?3, 'text', '[]', ?4)",
                    (sid, user, kind, at),
                )?;
            }
            Ok::<_, event_stream_engine::store::StoreError>(())
        })
        .await
        .unwrap();
    for (query, ids) in [
        ("", vec![3, 2, 1]),
        ("kind=unmatched", vec![2]),
        ("phone=%2B14155550101", vec![3, 1]),
        ("since=1970-01-01T00:00:02Z", vec![3, 2]),
    ] {
        let found = app.get(&format!("/inbound?{query}")).await.expect(200);
        let found: Vec<i64> =
            found["data"].as_array().unwrap().iter().map(|m| m["id"].as_i64().unwrap()).collect();
        assert_eq!(found, ids, "{query}");
    }
    let newest = &app.get("/inbound?limit=1").await.expect(200)["data"][0];
    assert_eq!(
        (&newest["kind"], &newest["from"], &newest["phone"], &newest["received_at"]),
        (
            &json!("message"),
            &json!("whatsapp:+14155550101"),
            &json!("+14155550101"),
            &json!("1970-01-01T00:00:03Z")
        )
    );
    assert_eq!(app.get("/inbound?kind=odd").await.fields(), ["kind"]);
}

#[actix_web::test]
async fn events_are_followed_without_a_gap() {
    let app = TestApp::start().await;
    for n in 0..5 {
        app.add_user(&format!("+1415555010{n}"), "opt_in").await;
    }
    app.post("/users/1/consent", &json!({"state": "stop"})).await.expect(201);
    let (mut after, mut ids) = (0, Vec::new());
    loop {
        let page = app.get(&format!("/events?after={after}&limit=2")).await.expect(200);
        let data = page["data"].as_array().unwrap().clone();
        after = page["next_after"].as_i64().unwrap();
        if data.is_empty() {
            break;
        }
        ids.extend(data.iter().map(|event| event["id"].as_i64().unwrap()));
    }
    assert_eq!(ids, (1..=7).collect::<Vec<i64>>());
    let changed = app.get("/events?types=consent.changed,user.erased").await.expect(200);
    assert_eq!(changed["next_after"], 7);
    let event = &changed["data"][0];
    assert_eq!(
        (&event["type"], &event["user_id"], &event["phone"], &event["data"]["state"], &event["campaign_id"]),
        (&json!("consent.changed"), &json!(1), &json!("+14155550100"), &json!("stop"), &Value::Null)
    );
    assert_eq!(app.get("/events?types=consent.changed,odd").await.fields(), ["types"]);
    assert_eq!(app.get("/events?after=-1").await.fields(), ["after"]);
    app.store
        .write(|tx| {
            tx.conn().execute_batch(
                "INSERT INTO guards (name, upto) VALUES ('retention', 4);
                 DELETE FROM events WHERE id <= 4; DELETE FROM guards WHERE name = 'retention';",
            )?;
            Ok::<_, event_stream_engine::store::StoreError>(())
        })
        .await
        .unwrap();
    assert_eq!(app.get("/events?after=3").await.problem(410)["oldest_id"], 5);
    assert_eq!(app.get("/events?after=4").await.expect(200)["data"][0]["id"], 5);
    assert_eq!(app.get("/events").await.expect(200)["data"][0]["id"], 5);
}
