//! People: added, changed, found, erased; their consent and their timeline.

use event_stream_engine::domain::event::EventType;
use event_stream_engine::store::events::{self, NewEvent};
use serde_json::{Value, json};

use crate::support::api::{TestApp, send};

#[actix_web::test]
async fn a_person_is_added_as_the_contract_shows_them() {
    let app = TestApp::start().await;
    let body = json!({"phone": "(415) 555-0101", "default_region": "us", "attributes": {"name": "Ana"},
        "consent": {"state": "opt_in", "source": "paper form", "evidence": "page 3",
                    "obtained_at": "2026-11-01T08:00:00Z"}});
    let answer = app.post("/users", &body).await;
    let location = answer.header("location").unwrap().to_owned();
    let user = answer.expect(201);
    assert_eq!(
        user,
        json!({"id": 1, "phone": "+14155550101", "country": "US", "consent": "opt_in", "reachable": true,
            "hold": null, "attributes": {"name": "Ana"}, "topics": ["general"],
            "created_at": "2026-11-23T12:00:00Z", "updated_at": "2026-11-23T12:00:00Z",
            "last_inbound_at": null})
    );
    for path in [&location["/api/v1".len()..], "/users/+14155550101", "/users/%2B14155550101", "/users/1"] {
        assert_eq!(app.get(path).await.expect(200), user, "{path}");
    }
    let ledger = app.get("/users/1/consent").await.expect(200);
    assert_eq!(
        ledger["data"],
        json!([{"id": 1, "state": "opt_in", "previous": "unknown", "source": "paper form",
            "actor": "key:1", "evidence": "page 3", "obtained_at": "2026-11-01T08:00:00Z",
            "at": "2026-11-23T12:00:00Z"}])
    );
    assert_eq!(app.post("/users", &json!({"phone": "+14155550101"})).await.problem(409)["code"], "duplicate");
}

#[actix_web::test]
async fn every_wrong_field_of_a_new_person_is_named() {
    let app = TestApp::start().await;
    assert_eq!(app.post("/users", &json!({})).await.fields(), ["phone"]);
    let body = json!({"phone": "12", "consent": {"state": "maybe", "why": 1}, "topics": ["general", 5], "name": "x",
        "attributes": {"": 1}});
    let mut fields = app.post("/users", &body).await.fields();
    fields.sort();
    assert_eq!(fields, ["attributes.", "consent.state", "consent.why", "name", "phone", "topics[1]"]);
    let body = json!({"phone": "+14155550101", "topics": ["general", "shoes"]});
    assert_eq!(app.post("/users", &body).await.fields(), ["topics[1]"]);
    for consent in
        [json!("yes"), json!(true), json!({"state": "opt_in", "obtained_at": "2030-01-01T00:00:00Z"})]
    {
        let body = json!({"phone": "+14155550101", "consent": consent});
        assert_eq!(app.post("/users", &body).await.fields().len(), 1, "{consent}");
    }
    assert_eq!(app.get("/users").await.expect(200)["data"], json!([]));
}

#[actix_web::test]
async fn a_patch_merges_attributes_and_refuses_what_it_does_not_know() {
    let app = TestApp::start().await;
    app.post(
        "/users",
        &json!({"phone": "+14155550101", "attributes": {"name": "Ana", "a": {"b": 1, "c": 2}}}),
    )
    .await
    .expect(201);
    let patch = json!({"attributes": {"a": {"b": null, "d": 3}, "city": "Galle"}, "hold": "review"});
    let user = app.patch("/users/1", &patch).await.expect(200);
    assert_eq!(user["attributes"], json!({"name": "Ana", "a": {"c": 2, "d": 3}, "city": "Galle"}));
    assert_eq!(user["hold"], "review");
    assert_eq!(app.patch("/users/1", &json!({"hold": null})).await.expect(200)["hold"], Value::Null);
    app.store
        .write(|tx| event_stream_engine::store::users::set_reachable(tx, 1, Some("30005"), "test"))
        .await
        .unwrap();
    assert_eq!(app.get("/users/1").await.expect(200)["reachable"], false);
    assert_eq!(app.patch("/users/1", &json!({"reachable": true})).await.expect(200)["reachable"], true);
    let odd = json!({"phone": "+14155550102", "reachable": false, "hold": "x", "attributes": 5});
    assert_eq!(app.patch("/users/1", &odd).await.fields(), ["attributes", "hold", "reachable", "phone"]);
    app.patch("/users/77", &json!({})).await.problem(404);
}

#[actix_web::test]
async fn nobody_but_the_person_leads_out_of_stop() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    let message =
        json!({"to": "+14155550101", "channel": "sms", "body": "Hi", "send_at": "2026-11-24T12:00:00Z"});
    let id = app.post("/messages", &message).await.expect(202)["id"].clone();
    let stop = json!({"state": "stop", "source": "phone call", "evidence": "she called"});
    let row = app.post("/users/1/consent", &stop).await.expect(201);
    assert_eq!(
        (&row["state"], &row["previous"], &row["actor"]),
        (&json!("stop"), &json!("opt_in"), &json!("key:1"))
    );
    let message = app.get(&format!("/messages/{id}")).await.expect(200);
    assert_eq!((&message["status"], &message["reason"]), (&json!("cancelled"), &json!("stop")));
    for state in ["opt_in", "opt_out", "unknown"] {
        app.post("/users/1/consent", &json!({"state": state})).await.problem(409);
        app.patch("/users/1", &json!({"consent": state, "attributes": {"x": 1}})).await.problem(409);
    }
    let user = app.get("/users/1").await.expect(200);
    assert_eq!((&user["consent"], &user["attributes"]), (&json!("stop"), &json!({})));
    app.post("/users/1/consent", &json!({"state": "stop"})).await.expect(201);
    assert_eq!(app.get("/users/1/consent?limit=1").await.expect(200)["data"][0]["previous"], "stop");
    assert_eq!(app.post("/users/1/consent", &json!({"evidence": 5})).await.fields(), ["state", "evidence"]);
}

#[actix_web::test]
async fn an_erased_person_is_gone_and_stays_suppressed() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    let message =
        json!({"to": "+14155550101", "channel": "sms", "body": "Hi", "send_at": "2026-11-24T12:00:00Z"});
    app.post("/messages", &message).await.expect(202);
    assert_eq!(app.delete("/users/+14155550101").await.expect(204), Value::Null);
    for path in ["/users/+14155550101", "/users/1", "/users/1/consent", "/users/1/timeline"] {
        app.get(path).await.problem(404);
    }
    app.delete("/users/1").await.problem(404);
    let message = app.get("/messages/1").await.expect(200);
    assert_eq!(
        (&message["status"], &message["phone"], &message["body"]),
        (&json!("cancelled"), &Value::Null, &Value::Null)
    );
    let again = app
        .post("/messages", &json!({"to": "+14155550101", "channel": "sms", "body": "Hi"}))
        .await
        .expect(202);
    assert_eq!((&again["status"], &again["reason"]), (&json!("skipped"), &json!("suppressed")));
}

#[actix_web::test]
async fn people_are_found_by_what_is_known_of_them() {
    let app = TestApp::start().await;
    for (phone, consent, attributes) in [
        ("+14155550101", "opt_in", json!({"name": "Ana Silva", "age": 30, "vip": true})),
        ("+14155550102", "unknown", json!({"name": "Bo", "age": "30"})),
        ("+94771234567", "opt_in", json!({"name": "Chandra"})),
    ] {
        let body = json!({"phone": phone, "consent": consent, "attributes": attributes});
        app.post("/users", &body).await.expect(201);
    }
    app.post("/topics", &json!({"name": "shoes"})).await.expect(201);
    app.request("PUT", "/users/2/topics/shoes").send().await.unwrap();
    let segment =
        app.add_segment("sri lanka", json!({"field": "country", "operator": "equals", "value": "LK"})).await;
    let cases = [
        ("consent=opt_in".to_owned(), vec![3, 1]),
        ("topic=general".to_owned(), vec![3, 1]),
        ("topic=SHOES".to_owned(), vec![2]),
        ("country=US".to_owned(), vec![2, 1]),
        ("q=silva".to_owned(), vec![1]),
        ("q=555-0102".to_owned(), vec![2]),
        ("q=%2B9477".to_owned(), vec![3]),
        ("attribute.age=30".to_owned(), vec![2, 1]),
        ("attribute.vip=true".to_owned(), vec![1]),
        ("attribute.name=Bo&consent=unknown".to_owned(), vec![2]),
        ("attribute.name=Bo&consent=opt_in".to_owned(), vec![]),
        (format!("segment_id={segment}"), vec![3]),
    ];
    for (query, expected) in cases {
        let found = app.get(&format!("/users?{query}")).await.expect(200);
        let ids: Vec<i64> =
            found["data"].as_array().unwrap().iter().map(|u| u["id"].as_i64().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
    }
    for (query, field) in [
        ("consent=yes", "consent"),
        ("topic=nothing", "topic"),
        ("country=Mars", "country"),
        ("segment_id=99", "segment_id"),
        ("segment_id=x", "segment_id"),
        ("name=Bo", "name"),
        ("consent=opt_in&consent=stop", "consent"),
        ("attribute.=1", "attribute."),
    ] {
        assert_eq!(app.get(&format!("/users?{query}")).await.fields(), [field], "{query}");
    }
}

#[actix_web::test]
async fn a_timeline_tells_everything_once_and_newest_first() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    let message = json!({"to": "+14155550101", "channel": "sms", "body": "Hi"});
    for step in 0..4 {
        app.clock.advance(1_000);
        app.post("/messages", &message).await.expect(202);
        app.clock.advance(1_000);
        app.patch("/users/1", &json!({"attributes": {"step": step}})).await.expect(200);
        let sid = format!("SM{step:032x}");
        let sql = "INSERT INTO inbound (message_sid, state, source, user_id, kind, body, received_at)
                   VALUES (?1, 'done', 'webhook', 1, 'message', 'hello', ?2)";
        let at = app.clock.now();
        app.store
            .write(move |tx| {
                tx.conn().execute(sql, (sid, at))?;
                events::append(
                    tx,
                    EventType::InboundReceived,
                    NewEvent { user_id: Some(1), ..NewEvent::default() },
                )
            })
            .await
            .unwrap();
    }
    app.clock.advance(1_000);
    app.post("/users/1/consent", &json!({"state": "stop"})).await.expect(201);
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/users/1/timeline?limit=3{cursor}")).await.expect(200);
        all.extend(page["data"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let count = |kind: &str| all.iter().filter(|entry| entry["type"] == kind).count();
    assert_eq!(
        (count("message"), count("inbound"), count("consent"), count("event")),
        (4, 4, 2, 5),
        "{all:#?}"
    );
    let times: Vec<&str> = all.iter().map(|entry| entry["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    assert_eq!(all[0]["type"], "consent");
    let message = all.iter().find(|entry| entry["type"] == "message").unwrap();
    assert_eq!(message["data"]["events"][0]["type"], "message.cancelled");
    let whole = app.get("/users/1/timeline?limit=200").await.expect(200);
    assert_eq!(whole["data"].as_array().unwrap(), &all);
    assert_eq!(app.get("/users/1/timeline?cursor=abc").await.fields(), ["cursor"]);
    send(app.request("GET", "/users/9/timeline")).await.problem(404);
}

#[actix_web::test]
async fn a_proof_is_json_or_a_strict_page() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    let proof = app.get("/users/+14155550101/proof").await.expect(200);
    assert_eq!(proof["consent"]["state"], "opt_in");
    assert_eq!(app.get("/users/1/proof").await.expect(200)["person"]["phone"], "+14155550101");
    let page = app.get("/users/1/proof?format=html").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(page.text.starts_with("<!doctype html>") && page.header("cache-control") == Some("no-store"));
    let browser = app.request("GET", "/users/1/proof").header("accept", "text/html,*/*;q=0.8");
    assert!(send(browser).await.text.starts_with("<!doctype html>"));
    let both = app.request("GET", "/users/1/proof").header("accept", "application/json, text/html");
    assert!(send(both).await.text.starts_with('{'));
    assert_eq!(app.get("/users/1/proof?format=pdf").await.fields(), ["format"]);
    app.get("/users/+14155550199/proof").await.problem(404);
    app.post("/suppressions", &json!({"phone": "+14155550199"})).await.expect(201);
    let listed = app.get("/users/+14155550199/proof").await.expect(200);
    assert_eq!(
        (&listed["person"], &listed["suppression"]["reason"]),
        (&Value::Null, &json!("do_not_contact"))
    );
}

#[actix_web::test]
async fn a_number_that_was_cut_off_names_nobody() {
    let app = TestApp::start().await;
    for n in 0..3 {
        app.add_user(&format!("+1415555010{n}"), "opt_in").await;
    }
    for name in ["+2", "+1", "+0000003", "%2B2", "02", "-1", "1.0", " 1", "+"] {
        let path = format!("/users/{name}");
        app.get(&path).await.problem(404);
        app.delete(&path).await.problem(404);
        app.get(&format!("{path}/export")).await.problem(404);
        app.get(&format!("{path}/proof")).await.problem(404);
    }
    assert_eq!(app.get("/users").await.expect(200)["data"].as_array().unwrap().len(), 3);
    assert_eq!(app.get("/users/2").await.expect(200)["id"], 2);
}
