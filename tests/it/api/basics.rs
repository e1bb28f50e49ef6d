//! What holds for every route: keys, scopes, errors, ids of requests, hostile input, health.

use event_stream_engine::store::api_keys::{self, Scope};
use event_stream_engine::web::api::ROUTES;
use serde_json::{Value, json};

use crate::support::api::{TestApp, send};

fn filled(path: &str) -> String {
    path.replace("{person}", "1")
        .replace("{topic}", "general")
        .replace("{name}", "general")
        .replace("{id}", "1")
        .replace("{delivery}", "1")
}

#[actix_web::test]
async fn every_route_is_closed_without_a_key() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let expired = app.add_key(&Scope::ALL, Some(now)).await;
    let revoked = app.add_key(&Scope::ALL, None).await;
    let keys = app.store.read(api_keys::list).await.unwrap();
    let id = keys.last().unwrap().id;
    assert!(app.store.write(move |tx| api_keys::revoke(tx, id, "test")).await.unwrap());
    assert!(ROUTES.len() > 40);
    for route in ROUTES {
        let path = format!("/api/v1{}", filled(route.path));
        let answer = send(app.bare(route.method, &path)).await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{route:?}");
        answer.problem(401);
    }
    for token in ["", "nonsense", &expired, &revoked] {
        send(app.bare("GET", "/api/v1/users").bearer_auth(token)).await.problem(401);
    }
    send(app.bare("GET", "/api/v1/users").basic_auth("a", Some("b"))).await.problem(401);
}

#[actix_web::test]
async fn a_missing_scope_is_named_for_every_route() {
    let app = TestApp::start().await;
    for route in ROUTES {
        let path = format!("/api/v1{}", filled(route.path));
        // Every scope but those that would do: a campaign is stopped with send or write.
        let either = ["/campaigns/{id}/pause", "/campaigns/{id}/cancel"].contains(&route.path);
        let would_do = |scope: &Scope| scope.as_str() == route.scope || (either && *scope == Scope::Write);
        let others: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| !would_do(scope)).collect();
        let key = app.add_key(&others, None).await;
        let body = send(app.bare(route.method, &path).bearer_auth(&key)).await.problem(403);
        assert_eq!(body["missing_scope"], route.scope, "{route:?}");
        assert!(body["detail"].as_str().unwrap().contains(route.scope), "{body}");
    }
    let read = app.add_key(&[Scope::Read], None).await;
    send(app.bare("GET", "/api/v1/users").bearer_auth(&read)).await.expect(200);
    send(app.bare("POST", "/api/v1/users").bearer_auth(&read).json(&json!({}))).await.problem(403);
    let write = app.add_key(&[Scope::Write], None).await;
    send(app.bare("POST", "/api/v1/campaigns/1/pause").bearer_auth(&write)).await.problem(404);
    send(app.bare("POST", "/api/v1/campaigns/1/launch").bearer_auth(&write)).await.problem(403);
}

#[actix_web::test]
async fn a_key_notes_its_use_once_a_minute() {
    let app = TestApp::start().await;
    let last_used = async || app.store.read(api_keys::list).await.unwrap()[0].last_used_at;
    let until = async |wanted: i64| {
        for _ in 0..500 {
            if last_used().await == Some(wanted) {
                return;
            }
            app.get("/topics").await.expect(200);
        }
        panic!("never noted");
    };
    let first = app.clock.now();
    until(first).await;
    app.clock.advance(30_000);
    for _ in 0..5 {
        app.get("/topics").await.expect(200);
    }
    assert_eq!(last_used().await, Some(first));
    app.clock.advance(30_000);
    until(first + 60_000).await;
}

#[actix_web::test]
async fn what_is_not_there_is_a_problem_too() {
    let app = TestApp::start().await;
    for path in ["/nothing", "/users/1/nothing", "/campaigns/x", "/campaigns/99999999999999999999", "/"] {
        app.get(path).await.problem(404);
    }
    send(app.bare("GET", "/elsewhere")).await.problem(404);
    let answer = app.delete("/topics").await;
    let allow = answer.header("allow").unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    answer.problem(405);
}

#[actix_web::test]
async fn outside_the_api_a_wrong_path_or_method_is_a_problem_as_well() {
    let app = TestApp::start().await;
    send(app.bare("POST", "/webhooks/twilio/elsewhere")).await.problem(404);
    for (method, path, allowed) in [
        ("GET", "/webhooks/twilio/inbound", "POST"),
        ("GET", "/webhooks/twilio/status?message=1&attempt=1", "POST"),
        ("POST", "/healthz", "GET"),
        ("POST", "/readyz", "GET"),
        ("DELETE", "/metrics", "GET"),
    ] {
        let answer = send(app.bare(method, path)).await;
        assert!(answer.header("allow").is_some_and(|allow| allow.contains(allowed)), "{method} {path}");
        answer.problem(405);
    }
}

#[actix_web::test]
async fn a_delete_takes_no_parameters_and_a_put_without_a_body_no_fields() {
    let app = TestApp::start().await;
    let id = app.add_user("+14155550101", "opt_in").await;
    for route in ROUTES.iter().filter(|route| route.method == "DELETE") {
        let path = format!("{}?dry_run=true", filled(route.path));
        assert_eq!(app.delete(&path).await.fields(), ["dry_run"], "{route:?}");
    }
    let path = format!("/users/{id}/topics/general");
    assert_eq!(app.put(&path, &json!({"since": "today"})).await.fields(), ["since"]);
    app.get(&format!("/users/{id}")).await.expect(200);
    send(app.request("PUT", &path)).await.expect(200);
}

#[actix_web::test]
async fn a_request_keeps_its_id() {
    let app = TestApp::start().await;
    let given = send(app.request("GET", "/users/7").header("x-request-id", "trace-1:a.b")).await;
    assert_eq!(given.header("x-request-id"), Some("trace-1:a.b"));
    assert_eq!(given.problem(404)["request_id"], "trace-1:a.b");
    let odd = send(app.request("GET", "/topics").header("x-request-id", "two words \"x\"")).await;
    assert_eq!(odd.header("x-request-id").unwrap().len(), 32);
    assert_ne!(app.get("/topics").await.header("x-request-id"), odd.header("x-request-id"));
}

#[actix_web::test]
async fn bodies_that_can_not_be_taken_are_told_apart() {
    let app = TestApp::start().await;
    let post = |body: Vec<u8>| {
        send(app.request("POST", "/users").header("content-type", "application/json").body(body))
    };
    for unreadable in [&b"{"[..], b"\xff\xfe{}", b"{\"phone\":\"\xc3\x28\"}", b"not json", b"{\"a\":1}x"] {
        post(unreadable.to_vec()).await.problem(400);
    }
    post(vec![b'['; 100_000]).await.problem(400);
    let nested = format!(
        "{{\"phone\":\"+14155550101\",\"attributes\":{{\"a\":{}1{}}}}}",
        "[".repeat(60),
        "]".repeat(60)
    );
    assert_eq!(post(nested.into_bytes()).await.fields(), ["attributes.a"]);
    for no_object in ["[]", "null", "5", "\"x\""] {
        post(no_object.into()).await.problem(422);
    }
    let typed = |kind: &'static str| {
        send(app.request("POST", "/users").header("content-type", kind).body("{\"phone\":\"+14155550101\"}"))
    };
    typed("text/plain").await.problem(415);
    typed("application/x-www-form-urlencoded").await.problem(415);
    typed("application/json; charset=utf-8").await.expect(201);
    let big = format!("{{\"phone\":\"{}\"}}", "1".repeat(1024 * 1024));
    post(big.into_bytes()).await.problem(413);
    let long = json!({"phone": "1".repeat(64 * 1024)});
    assert_eq!(app.post("/users", &long).await.fields(), ["phone"]);
    let huge = "{\"name\":\"x\",\"channel\":\"sms\",\"template_id\":1e400}";
    let huge =
        send(app.request("POST", "/campaigns").header("content-type", "application/json").body(huge)).await;
    assert!(huge.status == 400 || huge.status == 422, "{huge:?}");
    let nul = json!({"phone": "+14155550102", "attributes": {"n": "a\u{0}b"}});
    assert_eq!(app.post("/users", &nul).await.fields(), ["attributes.n"]);
}

#[actix_web::test]
async fn hostile_paths_and_queries_are_refused() {
    let app = TestApp::start().await;
    app.get("/users?q=%ff%fe").await.problem(400);
    assert_eq!(app.get("/users?q=%00").await.fields(), ["q"]);
    assert_eq!(app.get(&format!("/users?q={}", "a".repeat(5_000))).await.fields(), ["q"]);
    for path in [
        "/users/%00",
        "/users/+1",
        "/users/abc",
        "/users/-5",
        "/users/%2B1415555010112345678",
        "/topics/%00",
        "/users/'%20OR%201=1",
    ] {
        app.get(path).await.problem(404);
    }
    assert_eq!(app.get("/users?limit=1e9").await.fields(), ["limit"]);
}

#[actix_web::test]
async fn the_process_tells_how_it_is() {
    let app = TestApp::start().await;
    send(app.bare("GET", "/healthz")).await.expect(200);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(send(app.bare("HEAD", path)).await.status, 200, "{path}");
    }
    let ready = send(app.bare("GET", "/readyz")).await.expect(200);
    let ok = json!({"state": "ok"});
    assert_eq!(ready, json!({"status": "ready", "provider": ok, "inbound": ok, "sending": ok}));
    let unset = TestApp::with_config("").await;
    let ready = send(unset.bare("GET", "/readyz")).await.expect(200);
    assert_eq!(ready["provider"]["state"], "not_configured");
}

#[actix_web::test]
async fn metrics_need_the_token_or_an_admin() {
    let app = TestApp::start().await;
    send(app.bare("GET", "/metrics")).await.problem(401);
    let read = app.add_key(&[Scope::Read], None).await;
    send(app.bare("GET", "/metrics").bearer_auth(&read)).await.problem(403);
    app.get("/users/1").await.problem(404);
    let id = app.add_campaign("spring").await;
    app.post(&format!("/campaigns/{id}/launch"), &json!({})).await.expect(202);
    let text = send(app.bare("GET", "/metrics").bearer_auth("metrics-token")).await;
    assert_eq!(text.status, 200);
    let wanted = "ese_http_requests_total{route=\"/api/v1/users/{person}\",method=\"GET\",status=\"4xx\"} 1";
    assert!(text.text.contains(wanted), "{}", text.text);
    assert_eq!(send(app.bare("GET", "/metrics").bearer_auth(&app.key)).await.status, 200);
}

#[actix_web::test]
async fn a_file_that_can_not_be_written_is_503_and_tells_nothing() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    let other = rusqlite::Connection::open(app.dir.path().join("ese.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = app.post("/users", &json!({"phone": "+14155550102"})).await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    let body: Value = answer.problem(503);
    assert!(!body.to_string().contains("lock"), "{body}");
    assert_eq!(send(app.bare("GET", "/readyz")).await.status, 503);
    app.get("/users/1").await.expect(200);
    other.execute_batch("ROLLBACK").unwrap();
    app.post("/users", &json!({"phone": "+14155550102"})).await.expect(201);
    send(app.bare("GET", "/readyz")).await.expect(200);
}
