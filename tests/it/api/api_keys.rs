//! API keys: made, listed, revoked.

use event_stream_engine::store::api_keys::Scope;
use serde_json::{Value, json};

use crate::support::api::{TestApp, send};

#[actix_web::test]
async fn the_secret_is_told_once_and_kept_hashed() {
    let app = TestApp::start().await;
    let body = json!({"name": "shop", "scopes": ["read", "send"], "expires_at": "2026-12-01T00:00:00Z"});
    let post =
        async || send(app.request("POST", "/api-keys").header("idempotency-key", "k").json(&body)).await;
    let first = post().await;
    let location = first.header("location").unwrap().to_owned();
    let first = first.expect(201);
    let secret = first["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("ese_"));
    assert_eq!(location, format!("/api/v1/api-keys/{}", first["id"]));
    // The same request again says so instead of telling it again, and makes no second key.
    let again = post().await.expect(201);
    assert_eq!(again["secret"], Value::Null);
    assert_eq!(again["id"], first["id"]);
    let listed = app.get("/api-keys").await;
    assert!(!listed.text.contains(&secret));
    let listed = listed.expect(200)["data"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["scopes"], json!(["read", "send"]));
    assert_eq!(listed[0]["expires_at"], "2026-12-01T00:00:00Z");
    for file in ["ese.db", "ese.db-wal"] {
        let bytes = std::fs::read(app.dir.path().join(file)).unwrap_or_default();
        assert!(
            !bytes.windows(secret.len()).any(|part| part == secret.as_bytes()),
            "{file} holds the secret"
        );
    }
    send(app.bare("GET", "/api/v1/topics").bearer_auth(&secret)).await.expect(200);
    send(app.bare("POST", "/api/v1/topics").bearer_auth(&secret).json(&json!({}))).await.problem(403);
    app.clock.set("2026-12-01T00:00:00Z".parse().unwrap());
    send(app.bare("GET", "/api/v1/topics").bearer_auth(&secret)).await.problem(401);
}

#[actix_web::test]
async fn what_makes_no_key_is_named() {
    let app = TestApp::start().await;
    for (body, named) in [
        (json!({}), vec!["name", "scopes"]),
        (json!({"name": " ", "scopes": []}), vec!["name", "scopes"]),
        (json!({"name": "x", "scopes": ["read", "fly"]}), vec!["scopes[1]"]),
        (json!({"name": "x", "scopes": "read"}), vec!["scopes"]),
        (json!({"name": "x".repeat(101), "scopes": ["read"]}), vec!["name"]),
        (json!({"name": "x", "scopes": ["read"], "expires_at": "2026-11-23T12:00:00Z"}), vec!["expires_at"]),
        (json!({"name": "x", "scopes": ["read"], "secret": "mine"}), vec!["secret"]),
    ] {
        assert_eq!(app.post("/api-keys", &body).await.fields(), named, "{body}");
    }
}

#[actix_web::test]
async fn a_revoked_key_is_refused_at_once_and_the_last_admin_stays() {
    let app = TestApp::start().await;
    let shop = app.post("/api-keys", &json!({"name": "shop", "scopes": ["read"]})).await.expect(201);
    let secret = shop["secret"].as_str().unwrap().to_owned();
    let path = format!("/api-keys/{}", shop["id"]);
    app.delete(&path).await.expect(204);
    send(app.bare("GET", "/api/v1/topics").bearer_auth(&secret)).await.problem(401);
    app.delete(&path).await.expect(204);
    app.delete("/api-keys/99").await.problem(404);
    // The key that the tests use is the only admin: expired and revoked ones count for nothing.
    app.add_key(&[Scope::Admin], Some(app.clock.now())).await;
    assert_eq!(app.delete("/api-keys/1").await.problem(409)["code"], "last_admin_key");
    let second = app.post("/api-keys", &json!({"name": "ops", "scopes": ["admin"]})).await.expect(201);
    let second = second["secret"].as_str().unwrap().to_owned();
    app.delete("/api-keys/1").await.expect(204);
    app.get("/topics").await.problem(401);
    let events = send(app.bare("GET", "/api/v1/api-keys").bearer_auth(&second)).await.expect(200);
    let revoked =
        events["data"].as_array().unwrap().iter().filter(|key| !key["revoked_at"].is_null()).count();
    assert_eq!(revoked, 2);
    let conn = rusqlite::Connection::open(app.dir.path().join("ese.db")).unwrap();
    let trail: Vec<String> = conn
        .prepare("SELECT data FROM events WHERE type = 'admin.changed' AND data LIKE '%\"actor\":\"key:1\"%' ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(trail.len(), 4, "{trail:?}");
}
