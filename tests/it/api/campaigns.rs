//! Campaigns: written, edited by version, launched, stopped, reported.

use event_stream_engine::campaign::{freeze_all, tick};
use event_stream_engine::domain::message::Status;
use event_stream_engine::store::messages::{close, standing};
use serde_json::{Value, json};

use crate::support::api::{TestApp, send};

const CONTRACT: [&str; 17] = [
    "name",
    "topic",
    "template_id",
    "segment_id",
    "exclude_segment_ids",
    "channel",
    "sender",
    "kind",
    "schedule",
    "if_missed",
    "late_hours",
    "trigger",
    "rate_limit_per_second",
    "quiet_hours",
    "expires_after_hours",
    "max_recipients",
    "status",
];

async fn act(app: &TestApp, id: i64, action: &str) -> crate::support::api::Answer {
    app.post(&format!("/campaigns/{id}/{action}"), &json!({})).await
}

async fn freeze(app: &TestApp) {
    freeze_all(&app.store, &crate::support::presets(), true).await.unwrap();
}

#[actix_web::test]
async fn a_plan_comes_back_as_it_was_written() {
    let app = TestApp::start().await;
    app.add_template("hi", "Hi").await;
    let everybody = app.add_segment("everybody", json!({"all": []})).await;
    let nobody = app.add_segment("nobody", json!({"any": []})).await;
    let plan = json!({"name": "Spring", "topic": "general", "template_id": 1, "segment_id": everybody,
        "exclude_segment_ids": [nobody], "channel": "sms", "sender": "+15005550006", "kind": "marketing",
        "schedule": {"at": "2026-12-01T09:00:00", "timezone": "Asia/Colombo", "local_to_recipient": false},
        "if_missed": "ask", "late_hours": 2.5, "trigger": null, "rate_limit_per_second": 20.0,
        "quiet_hours": {"start": "21:00", "end": "08:00"}, "expires_after_hours": 12.0, "max_recipients": 500});
    let made = app.post("/campaigns", &plan).await;
    assert_eq!((made.header("etag"), made.header("location")), (Some("\"1\""), Some("/api/v1/campaigns/1")));
    let made = made.expect(201);
    for (field, value) in plan.as_object().unwrap() {
        assert_eq!(&made[field], value, "{field}");
    }
    assert_eq!(
        (&made["status"], &made["pause_reason"], &made["launched_at"]),
        (&json!("draft"), &Value::Null, &Value::Null)
    );
    let counts = made["counts"].as_object().unwrap();
    assert_eq!(counts.len(), 12);
    assert!(counts.values().all(|n| *n == 0));
    assert_eq!(app.get("/campaigns/1").await.expect(200), made);
    assert_eq!(app.get("/campaigns?status=draft").await.expect(200)["data"], json!([made]));
    assert_eq!(app.get("/campaigns?status=running").await.expect(200)["data"], json!([]));
    assert_eq!(app.get("/campaigns?status=odd").await.fields(), ["status"]);
    let small =
        json!({"name": "Small", "template_id": 1, "channel": "sms", "trigger": {"type": "order.paid"}});
    let small = app.post("/campaigns", &small).await.expect(201);
    for field in CONTRACT {
        assert!(small.get(field).is_some(), "{field}");
    }
    assert_eq!(
        (&small["kind"], &small["if_missed"], &small["late_hours"]),
        (&json!("marketing"), &json!("send"), &json!(4.0))
    );
}

#[actix_web::test]
async fn a_campaign_without_a_segment_is_refused_and_never_means_everybody() {
    let app = TestApp::start().await;
    app.add_template("hi", "Hi").await;
    let plan = json!({"name": "x", "template_id": 1, "channel": "sms"});
    assert_eq!(app.post("/campaigns", &plan).await.fields(), ["segment_id"]);
    let listed = app.get("/campaigns").await.expect(200);
    assert_eq!(listed["data"], json!([]));
}

#[actix_web::test]
async fn every_wrong_field_of_a_plan_is_named() {
    let app = TestApp::start().await;
    app.add_template("hi", "Hi").await;
    app.add_segment("everybody", json!({"all": []})).await;
    assert_eq!(
        app.post("/campaigns", &json!({})).await.fields(),
        ["name", "channel", "template_id", "segment_id"]
    );
    let good = json!({"name": "x", "template_id": 1, "segment_id": 1, "channel": "sms"});
    for (patch, field) in [
        (json!({"template_id": 9}), "template_id"),
        (json!({"template_id": "1"}), "template_id"),
        (json!({"channel": "whatsapp"}), "template_id"),
        (json!({"channel": "fax"}), "channel"),
        (json!({"segment_id": 9}), "segment_id"),
        (json!({"segment_id": null}), "segment_id"),
        (json!({"exclude_segment_ids": [1, 9]}), "exclude_segment_ids[1]"),
        (json!({"trigger": {"type": "order.paid"}}), "trigger"),
        (json!({"segment_id": null, "trigger": {}}), "trigger.type"),
        (json!({"topic": "hats"}), "topic"),
        (json!({"sender": "+15005550007"}), "sender"),
        (json!({"sender": "whatsapp:+14155238886"}), "sender"),
        (json!({"kind": "reply"}), "kind"),
        (json!({"schedule": {"at": "tomorrow", "timezone": "Asia/Colombo"}}), "schedule.at"),
        (json!({"schedule": {"at": "2026-12-01T09:00:00"}}), "schedule.timezone"),
        (json!({"schedule": {"at": "2026-12-01T09:00:00", "timezone": "Mars/Olympus"}}), "schedule.timezone"),
        (json!({"schedule": {"at": "2026-12-01T09:00:00", "timezone": "UTC", "zone": 1}}), "schedule.zone"),
        (json!({"rate_limit_per_second": 0}), "rate_limit_per_second"),
        (json!({"rate_limit_per_second": -2}), "rate_limit_per_second"),
        (json!({"quiet_hours": "on"}), "quiet_hours"),
        (json!({"quiet_hours": {"start": "25:00", "end": "08:00"}}), "quiet_hours.start"),
        (json!({"quiet_hours": {"preset": "none"}}), "quiet_hours.preset"),
        (json!({"if_missed": "later"}), "if_missed"),
        (json!({"late_hours": -1}), "late_hours"),
        (json!({"expires_after_hours": 1e12}), "expires_after_hours"),
        (json!({"max_recipients": 0}), "max_recipients"),
        (json!({"max_recipients": 1.5}), "max_recipients"),
        (json!({"status": "running"}), "status"),
    ] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        assert_eq!(app.post("/campaigns", &body).await.fields(), [field], "{patch}");
    }
    app.post("/campaigns", &good).await.expect(201);
}

#[actix_web::test]
async fn a_draft_is_edited_by_version_and_a_running_campaign_in_its_rate_alone() {
    let app = TestApp::start().await;
    let id = app.add_campaign("spring").await;
    let path = format!("/campaigns/{id}");
    let patch = |tag: &'static str, body: Value| {
        send(app.request("PATCH", &path).header("if-match", tag).json(&body))
    };
    patch("\"5\"", json!({"name": "x"})).await.problem(412);
    let edited =
        patch("\"1\"", json!({"quiet_hours": {"preset": "house"}, "rate_limit_per_second": 5})).await;
    assert_eq!(edited.header("etag"), Some("\"2\""));
    let edited = edited.expect(200);
    assert_eq!(
        (&edited["quiet_hours"], &edited["rate_limit_per_second"]),
        (&json!({"preset": "house"}), &json!(5.0))
    );
    assert_eq!(app.patch(&path, &json!({"segment_id": null})).await.fields(), ["segment_id"]);
    assert_eq!(app.patch(&path, &json!({"counts": {}, "colour": 1})).await.fields(), ["counts", "colour"]);
    assert_eq!(app.patch(&path, &json!({"colour": null})).await.fields(), ["colour"]);
    assert_eq!(app.patch(&path, &json!({})).await.header("etag"), Some("\"2\""));
    act(&app, id, "launch").await.expect(202);
    let refused = app.patch(&path, &json!({"name": "y", "rate_limit_per_second": 7})).await.problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("rate_limit_per_second"), "{refused}");
    let faster = app.patch(&path, &json!({"rate_limit_per_second": 7})).await.expect(200);
    assert_eq!(faster["rate_limit_per_second"], 7.0);
    assert_eq!(
        app.patch(&path, &json!({"rate_limit_per_second": 0})).await.fields(),
        ["rate_limit_per_second"]
    );
    assert_eq!(
        app.patch(&path, &json!({"rate_limit_per_second": null})).await.expect(200)["rate_limit_per_second"],
        Value::Null
    );
    app.delete(&path).await.problem(409);
    act(&app, id, "cancel").await.expect(200);
    app.patch(&path, &json!({"rate_limit_per_second": 7})).await.problem(409);
}

#[actix_web::test]
async fn a_campaign_goes_through_its_life() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    app.add_user("+14155550102", "opt_in").await;
    let id = app.add_campaign("spring").await;
    let refused = act(&app, id, "pause").await.problem(409);
    assert_eq!(refused["allowed_in"], json!(["scheduled", "launching", "running", "paused"]));
    let launched = act(&app, id, "launch").await.expect(202);
    assert_eq!(
        (&launched["status"], &launched["launched_at"]),
        (&json!("launching"), &json!("2026-11-23T12:00:00Z"))
    );
    freeze(&app).await;
    let again = act(&app, id, "launch").await.expect(200);
    assert_eq!((&again["status"], &again["counts"]["queued"]), (&json!("running"), &json!(2)));
    let paused = act(&app, id, "pause").await.expect(200);
    assert_eq!((&paused["status"], &paused["pause_reason"]), (&json!("paused"), &json!("Paused by key:1.")));
    act(&app, id, "launch").await.problem(409);
    assert_eq!(act(&app, id, "resume").await.expect(200)["status"], "running");
    let cancelled = act(&app, id, "cancel").await.expect(200);
    assert_eq!((&cancelled["status"], &cancelled["counts"]["cancelled"]), (&json!("cancelled"), &json!(2)));
    act(&app, id, "retry-failed").await.problem(409);
    let copy = act(&app, id, "clone").await.expect(200);
    assert_eq!(
        (&copy["status"], &copy["name"], &copy["id"]),
        (&json!("draft"), &json!("spring (copy)"), &json!(id + 1))
    );
    act(&app, 99, "launch").await.problem(404);
    act(&app, 99, "cancel").await.problem(404);
    assert_eq!(app.post(&format!("/campaigns/{id}/launch"), &json!({"now": true})).await.fields(), ["now"]);
    send(app.request("POST", &format!("/campaigns/{}/launch", id + 1))).await.expect(202);
}

#[actix_web::test]
async fn a_scheduled_campaign_waits_and_keeps_a_schedule() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    let id = app.add_campaign("spring").await;
    let path = format!("/campaigns/{id}");
    let at = json!({"schedule": {"at": "2026-11-23T18:00:00", "timezone": "Asia/Colombo"}});
    app.patch(&path, &at).await.expect(200);
    assert_eq!(act(&app, id, "launch").await.expect(202)["status"], "scheduled");
    assert_eq!(act(&app, id, "launch").await.expect(200)["status"], "scheduled");
    assert_eq!(app.patch(&path, &json!({"schedule": null})).await.fields(), ["schedule"]);
    app.patch(&path, &json!({"schedule": {"at": "2026-11-23T18:15:00"}})).await.expect(200);
    app.clock.advance(44 * 60_000);
    tick(&app.store, &Default::default()).await.unwrap();
    assert_eq!(app.get(&path).await.expect(200)["status"], "scheduled");
    app.clock.advance(60_000);
    tick(&app.store, &Default::default()).await.unwrap();
    assert_eq!(app.get(&path).await.expect(200)["status"], "launching");
}

#[actix_web::test]
async fn without_a_sender_nothing_is_launched_or_sent() {
    let app = TestApp::with_config("").await;
    let id = app.add_campaign("spring").await;
    let message = json!({"to": "+14155550101", "channel": "sms", "body": "Hi"});
    for refused in [
        act(&app, id, "launch").await,
        app.post("/messages", &message).await,
        app.post(&format!("/campaigns/{id}/test"), &json!({"phones": ["+14155550101"]})).await,
    ] {
        let body = refused.problem(409);
        assert_eq!(body["code"], "setup_incomplete");
        assert!(body["type"].as_str().unwrap().ends_with("setup_incomplete"), "{body}");
    }
}

#[actix_web::test]
async fn a_test_goes_to_ten_at_most_and_takes_nobodys_place() {
    let app = TestApp::start().await;
    let id = app.add_campaign("spring").await;
    let path = format!("/campaigns/{id}/test");
    let sent = app
        .post(&path, &json!({"phones": ["+14155550101", "+1 415 555 0101", "+14155550102"]}))
        .await
        .expect(202);
    let data = sent["data"].as_array().unwrap();
    assert_eq!(data.len(), 2);
    assert!(data.iter().all(|message| message["is_test"] == true && message["campaign_id"] == id));
    assert_eq!(app.get(&format!("/campaigns/{id}/report")).await.expect(200)["total"], 0);
    assert_eq!(app.get(&format!("/campaigns/{id}/messages")).await.expect(200)["data"], json!([]));
    assert_eq!(
        app.get(&format!("/messages?campaign_id={id}")).await.expect(200)["data"].as_array().unwrap().len(),
        2
    );
    let many: Vec<String> = (0..11).map(|n| format!("+141555501{n:02}")).collect();
    assert_eq!(app.post(&path, &json!({"phones": many})).await.fields(), ["phones"]);
    assert_eq!(app.post(&path, &json!({"phones": []})).await.fields(), ["phones"]);
    assert_eq!(app.post(&path, &json!({"phones": ["+14155550101", "x"]})).await.fields(), ["phones[1]"]);
}

#[actix_web::test]
async fn a_report_adds_up() {
    let app = TestApp::start().await;
    for n in 0..5 {
        app.add_user(&format!("+1415555010{n}"), "opt_in").await;
    }
    let id = app.add_campaign("spring").await;
    act(&app, id, "launch").await.expect(202);
    freeze(&app).await;
    app.store
        .write(|tx| {
            for (message, status, reason) in
                [(1, Status::Skipped, "stop"), (2, Status::Skipped, "held"), (3, Status::Expired, "deadline")]
            {
                let found = standing(tx.conn(), message)?.unwrap();
                close(tx, &found, status, reason, json!({}))?;
            }
            Ok::<_, event_stream_engine::store::StoreError>(())
        })
        .await
        .unwrap();
    let report = app.get(&format!("/campaigns/{id}/report")).await.expect(200);
    let sum: i64 = report["counts"].as_object().unwrap().values().map(|n| n.as_i64().unwrap()).sum();
    assert_eq!((&report["total"], sum), (&json!(5), 5));
    assert_eq!(report["skipped"], json!({"held": 1, "stop": 1}));
    assert_eq!(report["deferred"], json!({}));
    assert_eq!(report["failures"][0]["count"], 1);
    assert_eq!(report["delivered_of_deliverable"], 0.0);
    // Nothing was handed over.
    assert_eq!(report["cost"], 0.0);
    assert_eq!(
        (&report["opt_outs"], &report["replies"], &report["parts"]),
        (&json!(0), &json!(0), &json!(0))
    );
    assert_eq!((&report["throughput_per_second"], &report["eta"]), (&Value::Null, &Value::Null));
    assert_eq!(report["launched_at"], "2026-11-23T12:00:00Z");
    app.get("/campaigns/99/report").await.problem(404);

    app.patch(&format!("/campaigns/{id}"), &json!({"rate_limit_per_second": 2})).await.expect(200);
    assert_eq!(app.get(&format!("/campaigns/{id}/report")).await.expect(200)["eta"], "2026-11-23T12:00:01Z");
}

#[actix_web::test]
async fn everybody_is_one_row_also_in_the_sheet() {
    let app = TestApp::start().await;
    for n in 0..5 {
        app.add_user(&format!("+1415555010{n}"), "opt_in").await;
    }
    let id = app.add_campaign("spring").await;
    act(&app, id, "launch").await.expect(202);
    freeze(&app).await;
    let path = format!("/campaigns/{id}/messages");
    let first = app.get(&format!("{path}?limit=2")).await.expect(200);
    assert_eq!(first["data"][0]["phone"], "+14155550100");
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = app.get(&format!("{path}?limit=200&cursor={cursor}")).await.expect(200);
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["next_cursor"]), (3, &Value::Null));
    assert_eq!(app.get(&format!("{path}?status=failed")).await.expect(200)["data"], json!([]));
    let sheet = app.get(&format!("{path}?format=csv&status=queued")).await;
    assert_eq!(sheet.header("content-type"), Some("text/csv; charset=utf-8"));
    let lines: Vec<&str> = sheet.text.lines().collect();
    assert_eq!(lines.len(), 6, "{}", sheet.text);
    assert!(lines[0].starts_with("id,phone,status,reason"));
    assert!(lines[1].starts_with("1,+14155550100,queued,"), "{}", lines[1]);
    assert_eq!(app.get(&format!("{path}?format=xml")).await.fields(), ["format"]);
    app.get("/campaigns/99/messages?format=csv").await.problem(404);
}

#[actix_web::test]
async fn a_start_that_lies_long_past_is_refused_at_the_launch() {
    let app = TestApp::start().await;
    app.add_user("+14155550100", "opt_in").await;
    let id = app.add_campaign("spring").await;
    let at = |at: &str| json!({"schedule": {"at": at, "timezone": "Etc/UTC"}});
    let path = format!("/campaigns/{id}");
    app.patch(&path, &at("2020-12-01T09:00:00")).await.expect(200);
    assert_eq!(act(&app, id, "launch").await.fields(), ["schedule.at"]);
    assert_eq!(app.get(&path).await.expect(200)["status"], "draft");
    // It is noon: three hours are within late_hours.
    app.patch(&path, &at("2026-11-23T09:00:00")).await.expect(200);
    act(&app, id, "launch").await.expect(202);
}
