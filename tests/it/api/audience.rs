//! `/campaigns/{id}/audience`, `/users/{phone}/explain`, and a launch that asks first.

use event_stream_engine::web::limits::MOST_LOOKS;
use serde_json::{Value, json};

use crate::support::api::{TestApp, send};

/// Five people, of whom one may be written to at once: the clock stands at one in the afternoon in Berlin.
async fn with_people() -> (TestApp, i64) {
    let app = TestApp::start().await;
    for (phone, consent, attributes) in [
        ("+4915112345601", "opt_in", json!({"name": "Ana"})),
        ("+4915112345602", "unknown", json!({"name": "Bo"})),
        ("+4915112345603", "opt_in", json!({})),
        ("+4915112345604", "opt_in", json!({"name": "Di", "vip": true})),
        ("+819012345678", "opt_in", json!({"name": "Emi"})),
    ] {
        let body = json!({"phone": phone, "consent": consent, "attributes": attributes});
        app.post("/users", &body).await.expect(201);
    }
    let template = app.add_template("text", "Hi {name}").await;
    let everybody = app.add_segment("everybody", json!({"all": []})).await;
    let vip = json!({"attribute": "vip", "operator": "equals", "value": true});
    let vips = app.add_segment("vips", vip).await;
    let body = json!({"name": "Spring", "channel": "sms", "template_id": template, "segment_id": everybody,
        "exclude_segment_ids": [vips]});
    let id = app.post("/campaigns", &body).await.expect(201)["id"].as_i64().unwrap();
    (app, id)
}

#[tokio::test]
async fn the_audience_tells_every_exit_with_examples_and_what_to_do() {
    let (app, id) = with_people().await;
    let seen = app.get(&format!("/campaigns/{id}/audience")).await.expect(200);
    assert_eq!(seen["people"], 5);
    assert_eq!(seen["audience"], 4);
    assert_eq!(seen["excluded"][0]["name"], "vips");
    assert_eq!(seen["excluded"][0]["people"], 1);
    assert_eq!(seen["excluded"][0]["sample"][0]["phone"], "+4915112345604");
    assert_eq!(seen["skipped"], json!({"consent_unknown": 1, "missing_variable": 1}));
    assert_eq!(seen["deferred"], json!({"quiet_hours": 1}));
    assert_eq!(seen["expired"], json!({}));
    assert_eq!(seen["now"]["people"], 1);
    assert_eq!(seen["now"]["sample"][0]["phone"], "+4915112345601");
    assert_eq!(seen["would_send"], 2);
    assert_eq!(seen["would_expire"], 0);
    assert_eq!(seen["missing_variables"], json!({"name": 1}));
    assert_eq!(seen["parts"], 2);
    assert_eq!(seen["parts_by_encoding"], json!({"GSM-7": 2}));
    assert_eq!((&seen["cost"], &seen["unpriced"]), (&json!("unknown"), &json!(2)));
    assert_eq!(seen["at"], "2026-11-23T12:00:00Z");
    assert_eq!(seen["forecast"]["first"], "2026-11-23T12:00:00Z");
    // Eight in the morning in Tokyo.
    let last = seen["forecast"]["last"].as_str().unwrap();
    assert!(last.starts_with("2026-11-23T23:00:0"), "{last}");
    assert_eq!(seen["advice"], Value::Null);
    for exit in seen["exits"].as_array().unwrap() {
        assert!(exit["says"].as_str().unwrap().ends_with('.') && exit["what_to_do"].is_string(), "{exit}");
        assert_eq!(exit["sample"].as_array().unwrap().len(), 1);
    }
    let none = app.get(&format!("/campaigns/{id}/audience?sample=0")).await.expect(200);
    assert_eq!(none["now"], json!({"people": 1, "sample": []}));
    assert_eq!(app.get(&format!("/campaigns/{id}/audience?sample=101")).await.fields(), ["sample"]);
    assert_eq!(app.get(&format!("/campaigns/{id}/audience?all=1")).await.fields(), ["all"]);
    app.get("/campaigns/99/audience").await.problem(404);
}

#[tokio::test]
async fn an_audience_of_nobody_says_which_exit_took_them_and_the_way_out() {
    let app = TestApp::start().await;
    let id = app.add_campaign("Empty").await;
    let advice = async || {
        let seen = app.get(&format!("/campaigns/{id}/audience")).await.expect(200);
        assert_eq!(seen["would_send"], 0);
        assert_eq!(seen["forecast"]["first"], Value::Null);
        seen["advice"].as_str().unwrap().to_owned()
    };
    assert!(advice().await.contains("nobody in it"));
    app.add_user("+4915112345601", "unknown").await;
    app.add_user("+4915112345602", "unknown").await;
    app.add_user("+4915112345603", "opt_out").await;
    let said = advice().await;
    assert!(said.contains("2 of 3 people") && said.contains("consent_unknown"), "{said}");
    assert!(said.contains("Record the consent"), "{said}");
    let everybody = app.add_segment("all", json!({"all": []})).await;
    app.patch(&format!("/campaigns/{id}"), &json!({"exclude_segment_ids": [everybody]})).await.expect(200);
    let said = advice().await;
    assert!(said.contains("exclude segment \"all\" takes 3 of 3"), "{said}");
}

#[tokio::test]
async fn the_audience_is_told_before_the_launch_only() {
    let app = TestApp::start().await;
    let id = app.add_campaign("Spring").await;
    app.post(&format!("/campaigns/{id}/launch"), &json!({})).await.expect(202);
    let problem = app.get(&format!("/campaigns/{id}/audience")).await.problem(409);
    assert_eq!(problem["code"], "wrong_state");
    assert!(problem["detail"].as_str().unwrap().contains("/report"));
    let template = app.add_template("t", "Hi").await;
    let body =
        json!({"name": "T", "channel": "sms", "template_id": template, "trigger": {"type": "order.paid"}});
    let id = app.post("/campaigns", &body).await.expect(201)["id"].as_i64().unwrap();
    let problem = app.get(&format!("/campaigns/{id}/audience")).await.problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("triggers"));
}

#[tokio::test]
async fn a_launch_that_would_let_people_expire_is_refused_until_it_is_accepted() {
    let (app, id) = with_people().await;
    app.patch(&format!("/campaigns/{id}"), &json!({"expires_after_hours": 2})).await.expect(200);
    let launch = format!("/campaigns/{id}/launch");
    let problem = app.post(&launch, &json!({})).await.problem(409);
    assert_eq!(problem["code"], "would_expire");
    assert_eq!((&problem["would_expire"], &problem["people"]), (&json!(1), &json!(2)));
    assert_eq!(problem["by_reason"], json!({"quiet_hours": 1}));
    assert_eq!(problem["expires_at"], "2026-11-23T14:00:00Z");
    assert_eq!(problem["accept_with"], json!({"accept_would_expire": true}));
    assert_eq!(app.get(&format!("/campaigns/{id}")).await.expect(200)["status"], "draft");
    let keyed = |body: Value| app.request("POST", &launch).header("idempotency-key", "k").json(&body);
    let first = send(keyed(json!({}))).await.problem(409);
    assert_eq!(send(keyed(json!({}))).await.problem(409)["would_expire"], first["would_expire"]);
    let other = json!({"accept_would_expire": true});
    assert_eq!(send(keyed(other.clone())).await.problem(422)["code"], "key_reused");
    assert_eq!(
        app.post(&launch, &json!({"accept_would_expire": "yes"})).await.fields(),
        ["accept_would_expire"]
    );
    assert_eq!(app.post(&launch, &json!({"accept": true})).await.fields(), ["accept"]);
    assert_eq!(app.post(&launch, &other).await.expect(202)["status"], "launching");
    app.post(&launch, &json!({})).await.expect(200);
}

#[tokio::test]
async fn a_person_is_explained_step_by_step() {
    let (app, id) = with_people().await;
    let ask =
        async |phone: &str| app.get(&format!("/users/{phone}/explain?campaign_id={id}")).await.expect(200);
    let told = ask("+4915112345601").await;
    assert_eq!(told["verdict"]["verdict"], "send");
    assert_eq!(told["in_audience"], true);
    // The first marketing message to her says how to leave.
    let body = told["rendered"]["body"].as_str().unwrap();
    assert!(body.starts_with("Hi Ana") && body.contains("STOP"), "{body}");
    assert_eq!((&told["rendered"]["parts"], &told["rendered"]["encoding"]), (&json!(1), &json!("GSM-7")));
    assert_eq!(told["clocks"]["by"], "prefix");
    assert_eq!(told["clocks"]["zones"][0]["zone"], "Europe/Berlin");
    assert_eq!(told["sender"]["address"], "+15005550006");
    assert_eq!(told["message"], Value::Null);
    let steps: Vec<&str> =
        told["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(
        steps,
        [
            "address",
            "consent",
            "topic",
            "hold",
            "reachable",
            "deadline",
            "content",
            "whatsapp",
            "frequency_cap",
            "hours",
            "daily_limit"
        ]
    );
    assert!(told["steps"].as_array().unwrap().iter().all(|step| step["verdict"] == "pass"), "{told}");
    let told = ask("+4915112345602").await;
    assert_eq!(told["verdict"]["verdict"], "skip");
    assert_eq!(told["verdict"]["reason"], "consent_unknown");
    assert_eq!(told["steps"][1]["reason"], "consent_unknown");
    let told = ask("+4915112345603").await;
    assert_eq!(told["missing_variables"], json!(["name"]));
    assert_eq!(told["rendered"], Value::Null);
    let told = ask("+4915112345604").await;
    assert_eq!(told["verdict"]["verdict"], "not_in_audience");
    assert_eq!(told["verdict"]["reason"], Value::Null);
    assert_eq!(told["audience"]["reason"], "excluded");
    let told = ask("+819012345678").await;
    assert_eq!(told["verdict"]["until"], "2026-11-23T23:00:00Z");
    assert_eq!(told["clocks"]["zones"][0]["local_time"], "2026-11-23T21:00:00+09:00");
    app.get("/users/+4915112345609/explain").await.problem(404);
    app.get("/users/+4915112345601/explain?campaign_id=99").await.problem(404);
}

#[tokio::test]
async fn after_the_launch_the_explanation_shows_the_message_and_who_came_later() {
    let (app, id) = with_people().await;
    app.post(&format!("/campaigns/{id}/launch"), &json!({})).await.expect(202);
    event_stream_engine::campaign::freeze_all(&app.store, &crate::support::presets(), true).await.unwrap();
    let ask =
        async |phone: &str| app.get(&format!("/users/{phone}/explain?campaign_id={id}")).await.expect(200);
    let told = ask("+4915112345601").await;
    assert_eq!(told["message"]["status"], "queued");
    assert_eq!(told["campaign_status"], "running");
    app.add_user("+4915112345605", "opt_in").await;
    let told = ask("+4915112345605").await;
    assert_eq!(told["audience"]["reason"], "came_later");
    assert_eq!(told["message"], Value::Null);
}

#[tokio::test]
async fn without_a_campaign_each_kind_of_message_is_explained() {
    let app = TestApp::start().await;
    app.add_user("+4915112345601", "unknown").await;
    for (query, verdict, reason) in [
        ("", "skip", "consent_unknown"),
        ("?kind=transactional", "send", ""),
        ("?channel=whatsapp", "skip", "consent_unknown"),
        ("?channel=whatsapp&kind=transactional", "skip", "outside_whatsapp_window"),
    ] {
        let told = app.get(&format!("/users/+4915112345601/explain{query}")).await.expect(200);
        assert_eq!(told["verdict"]["verdict"], verdict, "{query}");
        assert_eq!(told["verdict"]["reason"].as_str().unwrap_or_default(), reason, "{query}");
        for nothing in ["campaign_id", "rendered", "message", "audience"] {
            assert_eq!(told[nothing], Value::Null, "{nothing}");
        }
    }
    let both = app.get("/users/+4915112345601/explain?campaign_id=1&kind=marketing").await;
    assert_eq!(both.fields(), ["kind"]);
}

#[tokio::test]
async fn a_look_behind_many_others_is_asked_to_come_back_later() {
    let (app, id) = with_people().await;
    let path = format!("/campaigns/{id}/audience");
    let mut waiting: Vec<_> = (0..MOST_LOOKS).map(|_| app.state.limits.look().unwrap()).collect();
    let refused = app.get(&path).await;
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(refused.problem(429)["code"], "too_many_looks");
    // A launch with a deadline looks too, and is none of them.
    let deadline = json!({"expires_after_hours": 48});
    app.patch(&format!("/campaigns/{id}"), &deadline).await.expect(200);
    app.post(&format!("/campaigns/{id}/launch"), &json!({})).await.expect(202);
    waiting.pop();
    app.get(&path).await.problem(409);
    app.get("/campaigns/999/audience").await.problem(404);
}
