//! What a look at Twilio's templates brings, and when it changes nothing.

use event_stream_engine::domain::content::Approval;
use event_stream_engine::simulator::Faults;
use event_stream_engine::store::StoreError;
use event_stream_engine::store::content_templates::{self, SeenContent};
use event_stream_engine::twilio::client::{Client, Credentials};
use event_stream_engine::twilio::content::{ContentClient, ContentError, NewContent};
use serde_json::{Map, Value, json};

use super::{ORDER, VISIT, app_with_twilio, contents};
use crate::support::{Engine, quick_simulator};

/// The client of the engine's Twilio.
fn client(engine: &Engine, password: &str) -> ContentClient {
    let base: url::Url = engine.simulator.base_url().parse().unwrap();
    let account_sid = quick_simulator().account_sid;
    let credentials = Credentials {
        user: account_sid.clone(),
        account_sid,
        password: password.to_owned().into(),
        api_base: base.clone(),
    };
    ContentClient::new(Client::new(credentials).unwrap(), base)
}

fn right(engine: &Engine) -> ContentClient {
    client(engine, &quick_simulator().auth_token)
}

#[tokio::test]
async fn a_changed_judgement_is_an_event_and_what_is_gone_is_marked() {
    let engine = Engine::start().await;
    let contents = contents(&engine);
    let first = contents.sync().await.unwrap();
    assert_eq!((first.seen, first.changed, first.deleted), (4, 0, 0));
    assert_eq!(engine.events("content.status_changed"), 0, "what is seen for the first time has not changed");
    engine.clock.advance(1_000);
    engine.simulator.judge(VISIT, "rejected", "INVALID_FORMAT").unwrap();
    right(&engine).delete(ORDER).await.unwrap();
    let second = contents.sync().await.unwrap();
    assert_eq!((second.seen, second.changed, second.deleted), (3, 1, 1));
    let told: Vec<Value> = ["rejected", "deleted"]
        .iter()
        .map(|status| {
            let data: String = engine.value(&format!(
                "SELECT data FROM events WHERE type = 'content.status_changed' AND data ->> 'status' = '{status}'"
            ));
            serde_json::from_str(&data).unwrap()
        })
        .collect();
    assert_eq!(
        told[0],
        json!({"sid": VISIT, "friendly_name": "visit_reminder", "status": "rejected", "previous": "pending",
            "reason": "INVALID_FORMAT", "category": "UTILITY"})
    );
    assert_eq!((&told[1]["sid"], &told[1]["previous"]), (&json!(ORDER), &json!("approved")));
    engine.clock.advance(1_000);
    let third = contents.sync().await.unwrap();
    assert_eq!((third.seen, third.changed, third.deleted), (3, 0, 0));
    assert_eq!(engine.events("content.status_changed"), 2);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_list_of_many_pages_is_walked_to_its_end() {
    let engine = Engine::start().await;
    let client = right(&engine);
    let types = json!({"twilio/text": {"body": "Hi"}});
    for number in 0..1_000 {
        let name = format!("t{number}");
        let new = NewContent { friendly_name: &name, language: "en", variables: &Map::new(), types: &types };
        client.create(&new).await.unwrap();
    }
    assert_eq!(contents(&engine).sync().await.unwrap().seen, 1_004);
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM content_templates"), 1_004);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_look_that_fails_says_nothing_about_what_is_gone() {
    let engine = Engine::start().await;
    let contents = contents(&engine);
    contents.sync().await.unwrap();
    engine.clock.advance(1_000);
    for faults in [
        Faults { read_500_percent: 100.0, ..Faults::default() },
        Faults { read_429_percent: 100.0, ..Faults::default() },
    ] {
        engine.simulator.set_faults(faults);
        contents.sync().await.unwrap_err();
    }
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM content_templates WHERE deleted_at IS NOT NULL"), 0);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_error_of_the_content_api_says_what_can_be_done() {
    let engine = Engine::start().await;
    let types = json!({"twilio/text": {"body": "Hi"}});
    let new = NewContent { friendly_name: "x", language: "en", variables: &Map::new(), types: &types };
    let client = right(&engine);
    let faults = |faults: Faults| engine.simulator.set_faults(faults);
    let denied = super::sync::client(&engine, "wrong").list().await;
    assert!(matches!(denied, Err(ContentError::Refused { http_status: 401, code: 20003, .. })), "{denied:?}");
    for sid in ["HX1", "../Accounts", ""] {
        assert!(matches!(client.fetch(sid).await, Err(ContentError::NotFound)), "{sid}");
        assert!(matches!(client.approval(sid).await, Err(ContentError::NotFound)), "{sid}");
    }
    let empty = NewContent { language: "", ..new.clone() };
    let refused = client.create(&empty).await;
    assert!(matches!(refused, Err(ContentError::Refused { http_status: 400, .. })), "{refused:?}");
    faults(Faults { rate_429_percent: 100.0, ..Faults::default() });
    assert!(matches!(client.create(&new).await, Err(ContentError::Throttled { .. })));
    faults(Faults { error_500_before_percent: 100.0, ..Faults::default() });
    assert!(matches!(client.create(&new).await, Err(ContentError::Uncertain(_))));
    faults(Faults { drop_after_accept_percent: 100.0, ..Faults::default() });
    assert!(matches!(client.create(&new).await, Err(ContentError::Uncertain(_))));
    faults(Faults { read_500_percent: 100.0, ..Faults::default() });
    assert!(matches!(client.list().await, Err(ContentError::Unavailable(_))));
    faults(Faults::default());
    let base = "http://127.0.0.1:1".parse().unwrap();
    let options = quick_simulator();
    let credentials = Credentials {
        account_sid: options.account_sid.clone(),
        user: options.account_sid,
        password: options.auth_token.into(),
        api_base: engine.simulator.base_url().parse().unwrap(),
    };
    let nobody = ContentClient::new(Client::new(credentials).unwrap(), base);
    assert!(matches!(nobody.create(&new).await, Err(ContentError::Unavailable(_))), "nothing was sent");
    client.delete(ORDER).await.unwrap();
    client.delete(ORDER).await.unwrap();
    engine.check_and_stop().await;
}

#[tokio::test]
async fn news_from_sending_is_not_undone_by_a_page_that_was_asked_for_before() {
    let engine = Engine::start().await;
    contents(&engine).sync().await.unwrap();
    let asked_at = engine.clock.now();
    engine.clock.advance(1_000);
    let older = SeenContent {
        sid: ORDER.to_owned(),
        friendly_name: "order_update".to_owned(),
        language: "en".to_owned(),
        types: json!({}),
        variables: Map::new(),
        names: Vec::new(),
        category: None,
        status: "approved".to_owned(),
        rejection_reason: None,
    };
    let newer = older.clone();
    engine
        .store
        .write::<_, _, StoreError>(move |tx| {
            content_templates::judged(tx, ORDER, Approval::Paused)?;
            assert!(!content_templates::see(tx, &older, asked_at)?);
            Ok(())
        })
        .await
        .unwrap();
    let status =
        || engine.value::<String>(&format!("SELECT status FROM content_templates WHERE sid = '{ORDER}'"));
    assert_eq!(status(), "paused");
    engine.clock.advance(1_000);
    engine
        .store
        .write::<_, _, StoreError>(move |tx| content_templates::see(tx, &newer, tx.now()).map(drop))
        .await
        .unwrap();
    assert_eq!(status(), "approved");
    engine.check_and_stop().await;
}

#[actix_web::test]
async fn templates_at_twilio_are_listed_by_status_and_shown_with_their_text() {
    let (app, simulator) = app_with_twilio().await;
    let synced = app.post("/content-templates/sync", &json!({})).await.expect(200);
    assert_eq!((&synced["seen"], &synced["deleted"]), (&json!(4), &json!(0)));
    let listed = app.get("/content-templates?status=approved&limit=2").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest =
        app.get(&format!("/content-templates?status=approved&limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!(rest["data"].as_array().unwrap().len(), 1);
    assert_eq!(app.get("/content-templates?status=fine").await.fields(), ["status"]);
    assert_eq!(app.get("/content-templates?state=approved").await.fields(), ["state"]);
    let shown = app.get(&format!("/content-templates/{ORDER}")).await.expect(200);
    for (field, value) in [
        ("name", json!("order_update")),
        ("language", json!("en")),
        ("status", json!("approved")),
        ("category", json!("UTILITY")),
        ("body", json!("Hello {{1}}, your order {{2}} is on its way to you.")),
        ("variables", json!({"1": "Ana", "2": "A-1001"})),
        ("templates", json!([])),
        ("deleted_at", Value::Null),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    app.get("/content-templates/HX1").await.problem(404);
    simulator.stop().await;
}

#[actix_web::test]
async fn without_an_account_or_its_rights_nobody_is_asked() {
    let app = crate::support::api::TestApp::start().await;
    let refused = app.post("/content-templates/sync", &json!({})).await.problem(409);
    assert_eq!(refused["code"], "setup_incomplete");
    let simulator = event_stream_engine::simulator::Simulator::start(quick_simulator()).await.unwrap();
    let app = super::app_at(&simulator, "wrong").await;
    let request =
        || app.request("POST", "/content-templates/sync").header("idempotency-key", "k").json(&json!({}));
    let refused = crate::support::api::send(request()).await.problem(503);
    assert_eq!(refused["code"], "twilio_unavailable");
    assert!(refused["detail"].as_str().unwrap().contains("20003"), "{refused}");
    simulator.stop().await;
}
