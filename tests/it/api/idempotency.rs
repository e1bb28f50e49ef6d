//! A POST that is sent twice happens once.

use event_stream_engine::app::App;
use event_stream_engine::clock::Clock;
use event_stream_engine::config::Config;
use event_stream_engine::store::StoreError;
use event_stream_engine::store::api_keys::{self, Scope};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::api::{Answer, TestApp, send};

async fn post(app: &TestApp, key: &str, path: &str, body: &serde_json::Value) -> Answer {
    send(app.request("POST", path).header("idempotency-key", key).json(body)).await
}

#[actix_web::test]
async fn the_same_request_again_gets_the_same_answer() {
    let app = TestApp::start().await;
    let body = json!({"to": "+14155550101", "channel": "sms", "body": "Hi"});
    let first = post(&app, "k1", "/messages", &body).await;
    let second = post(&app, "k1", "/messages", &body).await;
    assert_eq!((first.status, &first.text), (202, &second.text));
    assert_eq!(second.status, 202);
    assert_eq!(app.get("/messages").await.expect(200)["data"].as_array().unwrap().len(), 1);
    let other = json!({"to": "+14155550102", "channel": "sms", "body": "Hi"});
    assert_eq!(post(&app, "k1", "/messages", &other).await.fields(), ["Idempotency-Key"]);
    post(&app, "k2", "/messages", &body).await.expect(202);
    let stranger = app.add_key(&event_stream_engine::store::api_keys::Scope::ALL, None).await;
    send(
        app.bare("POST", "/api/v1/messages")
            .bearer_auth(stranger)
            .header("idempotency-key", "k1")
            .json(&other),
    )
    .await
    .expect(202);
    assert_eq!(app.get("/messages").await.expect(200)["data"].as_array().unwrap().len(), 3);
    let user = json!({"phone": "+14155550109"});
    let made = post(&app, "k1", "/users", &user).await;
    let again = post(&app, "k1", "/users", &user).await;
    assert_eq!((made.status, again.status, made.header("location")), (201, 201, again.header("location")));
    app.clock.advance(86_400_000);
    post(&app, "k1", "/users", &user).await.problem(409);
}

#[actix_web::test]
async fn two_at_once_are_one() {
    let app = TestApp::start().await;
    let body = json!({"phone": "+14155550101"});
    for round in 0..10 {
        let body = json!({"to": "+14155550101", "channel": "sms", "body": round.to_string()});
        let key = format!("round {round}");
        let (first, second) =
            tokio::join!(post(&app, &key, "/messages", &body), post(&app, &key, "/messages", &body));
        assert_eq!((first.status, second.status), (202, 202));
        assert_eq!(first.text, second.text);
    }
    assert_eq!(app.get("/messages").await.expect(200)["data"].as_array().unwrap().len(), 10);
    let (a, b) = (json!({"name": "a"}), json!({"name": "b"}));
    let (first, second) = tokio::join!(post(&app, "u", "/topics", &a), post(&app, "u", "/topics", &b));
    let mut statuses = [first.status, second.status];
    statuses.sort();
    assert_eq!(statuses, [201, 422]);
    post(&app, "x", "/users", &body).await.problem(409);
}

#[actix_web::test]
async fn a_refusal_of_the_effect_is_kept_and_undoes_it() {
    let app = TestApp::start().await;
    let body = json!({"name": "shoes"});
    app.post("/topics", &body).await.expect(201);
    let refused = post(&app, "k", "/topics", &body).await.problem(409);
    app.delete("/topics/shoes").await.expect(204);
    let again = post(&app, "k", "/topics", &body).await.problem(409);
    assert_eq!((&refused["detail"], &refused["code"]), (&again["detail"], &again["code"]));
    assert_ne!(refused["request_id"], again["request_id"]);
    app.get("/topics/shoes").await.problem(404);
    // What is wrong with the body as such is not kept: a corrected one may come under the same key.
    post(&app, "m", "/topics", &json!({"nam": "hats"})).await.problem(422);
    post(&app, "m", "/topics", &json!({"name": "hats"})).await.expect(201);
    assert_eq!(post(&app, &"k".repeat(256), "/topics", &body).await.fields(), ["Idempotency-Key"]);
}

/// How many answers are kept.
fn kept(app: &TestApp) -> i64 {
    let count = |conn: &rusqlite::Connection| {
        conn.query_row("SELECT count(*) FROM idempotency_keys", [], |row| row.get(0))
    };
    app.store.read_here(|conn| Ok::<i64, StoreError>(count(conn)?)).unwrap()
}

async fn change(app: &TestApp, sql: &'static str) {
    app.store.write::<_, _, StoreError>(move |tx| Ok(tx.conn().execute_batch(sql)?)).await.unwrap();
}

#[actix_web::test]
async fn what_may_be_over_soon_is_not_kept() {
    let app = TestApp::with_config("[server]\napi_requests_per_second = 1.0\napi_burst = 1\n").await;
    let body = json!({"name": "shoes"});
    let with = |key: &str| {
        app.bare("POST", "/api/v1/topics").bearer_auth(key).header("idempotency-key", "k").json(&body)
    };
    send(with("nobody's")).await.problem(401);
    let reader = app.add_key(&[Scope::Read], None).await;
    send(with(&reader)).await.problem(403);
    app.get("/topics").await.expect(200);
    post(&app, "k", "/topics", &body).await.problem(429);
    app.clock.advance(1_000);
    change(&app, "CREATE TRIGGER broken BEFORE INSERT ON topics BEGIN SELECT RAISE(ABORT, 'broken'); END")
        .await;
    let refused = post(&app, "k", "/topics", &body).await;
    assert!(refused.status >= 500, "{}", refused.text);
    assert_eq!(kept(&app), 0);
    change(&app, "DROP TRIGGER broken").await;
    app.clock.advance(1_000);
    post(&app, "k", "/topics", &body).await.expect(201);
    assert_eq!(kept(&app), 1);
    app.clock.advance(1_000);
    post(&app, "l", "/topics", &body).await.problem(409);
    assert_eq!(kept(&app), 2, "a conflict is an answer");
}

#[actix_web::test]
async fn actions_of_several_writes_are_kept_too() {
    let app = TestApp::start().await;
    let id = app.add_campaign("spring").await;
    let launch = format!("/campaigns/{id}/launch");
    assert_eq!(post(&app, "k", &launch, &json!({})).await.status, 202);
    assert_eq!(post(&app, "k", &launch, &json!({})).await.status, 202);
    assert_eq!(post(&app, "l", &launch, &json!({})).await.status, 200);
    let cancel = format!("/campaigns/{id}/cancel");
    let first = post(&app, "k", &cancel, &json!({})).await;
    let again = post(&app, "k", &cancel, &json!({})).await;
    assert_eq!((first.status, &first.text, again.status), (200, &again.text, 200));
    let clone = format!("/campaigns/{id}/clone");
    let first = post(&app, "k", &clone, &json!({})).await.expect(200)["id"].clone();
    assert_eq!(post(&app, "k", &clone, &json!({})).await.expect(200)["id"], first);
}

#[tokio::test]
async fn an_answer_is_kept_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (file, place) = (dir.path().join("own.toml"), dir.path().display());
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"{place}/ese.db\"\nkey_file = \"{place}/ese.key\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let start = async || App::start(Config::load(Some(&file), []).unwrap(), Clock::system()).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |app: &App, key: &str, name: &str| {
        let url = format!("http://{}/api/v1/topics", app.address);
        let request = client.post(url).bearer_auth(key).header("idempotency-key", "k");
        let answer = request.json(&json!({"name": name})).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let app = start().await;
    let (_, key) =
        app.store.write(|tx| api_keys::insert(tx, "k", &[Scope::Write], None, "test")).await.unwrap();
    let first = post(&app, key.expose_secret(), "shoes").await;
    assert_eq!(first.0, 201, "{}", first.1);
    app.stop().await;
    let app = start().await;
    assert_eq!(post(&app, key.expose_secret(), "shoes").await, first);
    assert_eq!(post(&app, key.expose_secret(), "hats").await.0, 422);
    app.stop().await;
}
