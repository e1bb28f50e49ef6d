//! Senders: how fast each may, and whether it stands still.

use event_stream_engine::store::{StoreError, senders};
use serde_json::{Value, json};

use crate::support::api::{TestApp, send};

#[actix_web::test]
async fn a_sender_is_found_by_id_and_address_and_its_pace_changes_at_once() {
    let app = TestApp::start().await;
    let listed = app.get("/senders").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    let sender = listed["data"][0].clone();
    assert_eq!(sender["address"], "+15005550006");
    assert_eq!((&sender["rate_per_second"], &sender["recipients_per_day"]), (&json!(1.0), &Value::Null));
    assert_eq!(sender["locked_by"], json!({"rate_per_second": null, "recipients_per_day": null}));
    for path in ["/senders/1", "/senders/%2B15005550006", "/senders/+15005550006"] {
        assert_eq!(app.get(path).await.expect(200), sender, "{path}");
    }
    for path in ["/senders/9", "/senders/x", "/senders/%00"] {
        app.get(path).await.problem(404);
    }
    let changed = app.patch("/senders/1", &json!({"rate_per_second": 4, "recipients_per_day": 20})).await;
    assert_eq!(changed.header("etag"), Some("\"1\""));
    let changed = changed.expect(200);
    assert_eq!((&changed["rate_per_second"], &changed["recipients_per_day"]), (&json!(4.0), &json!(20)));
    let limits = app.delivery.get().senders["+15005550006"];
    assert_eq!((limits.rate_per_second, limits.recipients_per_day), (4.0, Some(20)));
    let settings = app.get("/settings").await.expect(200);
    assert_eq!(settings["settings"]["senders.+15005550006.rate_per_second"]["origin"], "settings");
    let back = app.patch("/senders/1", &json!({"rate_per_second": null})).await.expect(200);
    assert_eq!(back["rate_per_second"], 1.0);
    for (body, field) in [
        (json!({"rate_per_second": 0}), "rate_per_second"),
        (json!({"recipients_per_day": "many"}), "recipients_per_day"),
        (json!({"paused": "yes"}), "paused"),
        (json!({"address": "+1"}), "address"),
    ] {
        assert_eq!(app.patch("/senders/1", &body).await.fields(), [field], "{body}");
    }
    let stale =
        send(app.request("PATCH", "/senders/1").header("if-match", "\"1\"").json(&json!({"paused": true})));
    stale.await.problem(412);
    let first = app.get("/senders?limit=1").await.expect(200);
    let rest =
        app.get(&format!("/senders?cursor={}", first["next_cursor"].as_str().unwrap())).await.expect(200);
    assert_eq!((rest["data"][0]["id"].as_i64(), &rest["next_cursor"]), (Some(2), &Value::Null));
}

#[actix_web::test]
async fn a_pace_of_the_file_is_locked() {
    let app = TestApp::with_config(
        "[[senders]]\naddress = '+15005550006'\nkind = 'long_code'\nrate_per_second = 2.0\nrecipients_per_day = 5",
    )
    .await;
    let sender = app.get("/senders/1").await.expect(200);
    assert_eq!(sender["locked_by"], json!({"rate_per_second": "file", "recipients_per_day": "file"}));
    let refused = app.patch("/senders/1", &json!({"rate_per_second": 3, "paused": true})).await.problem(409);
    assert_eq!((&refused["code"], &refused["locked_by"]), (&json!("locked"), &json!("file")));
    assert_eq!(app.get("/senders/1").await.expect(200)["paused"], false);
}

#[actix_web::test]
async fn a_sender_that_an_operator_paused_stays_so_until_it_is_resumed() {
    let app = TestApp::start().await;
    let paused = app.patch("/senders/1", &json!({"paused": true})).await.expect(200);
    assert_eq!((&paused["paused"], &paused["paused_until"]), (&json!(true), &Value::Null));
    assert!(paused["pause_reason"].as_str().unwrap().contains("operator"));
    // A start and a resumed campaign mean that what failed is mended; nobody says that of this.
    app.store.write::<_, _, StoreError>(|tx| senders::resume_all(tx, "restart")).await.unwrap();
    assert_eq!(app.get("/senders/1").await.expect(200)["paused"], true);
    app.patch("/senders/1", &json!({"paused": true})).await.expect(200);
    let resumed = app.patch("/senders/1", &json!({"paused": false})).await.expect(200);
    assert_eq!((&resumed["paused"], &resumed["pause_reason"]), (&json!(false), &Value::Null));
    let until = app.clock.now() + 3_600_000;
    app.store
        .write::<_, _, StoreError>(move |tx| senders::pause(tx, 2, "The day is full.", Some(until)))
        .await
        .unwrap();
    let resting = app.patch("/senders/2", &json!({"paused": false})).await.problem(409);
    assert_eq!(
        (&resting["code"], &resting["paused_until"]),
        (&json!("resting"), &json!("2026-11-23T13:00:00Z"))
    );
    app.clock.advance(3_600_000);
    app.patch("/senders/2", &json!({"paused": false})).await.expect(200);
    let events = app.get("/events?types=sender.paused,sender.resumed").await.expect(200);
    let kinds: Vec<&str> =
        events["data"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["sender.paused", "sender.resumed"]);
}

#[actix_web::test]
async fn what_waits_for_a_sender_is_counted() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    for n in 0..3 {
        let body = json!({"to": "+14155550101", "channel": "sms", "body": n.to_string()});
        app.post("/messages", &body).await.expect(202);
    }
    let listed = app.get("/senders").await.expect(200);
    assert_eq!((&listed["data"][0]["waiting"], &listed["data"][1]["waiting"]), (&json!(3), &json!(0)));
}

#[actix_web::test]
async fn a_sender_is_added_by_a_setting_and_taken_away_while_nothing_waits_for_it() {
    let app = TestApp::with_config(
        "[twilio]\naccount_sid = 'AC00000000000000000000000000000001'\nauth_token = 'token'\napi_base = 'http://127.0.0.1:1'\n[[senders]]\naddress = 'whatsapp:+14155238886'\nkind = 'sandbox'",
    )
    .await;
    let patch = json!({"senders": {"+15005550111": {"kind": "toll_free", "recipients_per_day": 9}}});
    app.patch("/settings", &patch).await.expect(200);
    let added = app.get("/senders/+15005550111").await.expect(200);
    assert_eq!((&added["configured"], &added["kind"]), (&json!(true), &json!("toll_free")));
    assert_eq!(app.delivery.get().senders["+15005550111"].rate_per_second, 3.0);
    assert_eq!(app.delivery.get().senders["+15005550111"].recipients_per_day, Some(9));
    for (key, value) in [
        ("senders.+15005550112.rate_per_second", json!(3)),
        ("senders.+15005550112.kind", json!("pigeon")),
        ("senders.+15005550112.kind", json!("whatsapp")),
        ("senders.5005550112x.kind", json!("long_code")),
    ] {
        assert_eq!(app.patch("/settings", &json!({key: value})).await.fields(), [key]);
    }
    let locked =
        app.patch("/settings", &json!({"senders.whatsapp:+14155238886.kind": null})).await.problem(409);
    assert_eq!(locked["code"], "locked");
    app.add_user("+12125550101", "opt_in").await;
    let message = json!({"to": "+12125550101", "channel": "sms", "kind": "transactional", "body": "Hi"});
    let message = app.post("/messages", &message).await.expect(202)["id"].as_i64().unwrap();
    let away = json!({"senders.+15005550111.kind": null, "senders.+15005550111.recipients_per_day": null});
    assert_eq!(app.patch("/settings", &away).await.problem(409)["code"], "in_use");
    app.post(&format!("/messages/{message}/cancel"), &json!({})).await.expect(200);
    app.patch("/settings", &away).await.expect(200);
    let gone = app.get("/senders/+15005550111").await.expect(200);
    assert_eq!(gone["configured"], json!(false));
}
