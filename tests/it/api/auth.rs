//! Who may come in: every route of the server with every wrong kind of credential, and how often.

use event_stream_engine::store::api_keys::{self, Scope};
use event_stream_engine::web::api::{OPEN, ROUTES};
use serde_json::json;

use crate::support::api::{TestApp, send};

/// Routes outside the table that anybody may call, with why.
const OPEN_ELSEWHERE: [(&str, &str); 6] = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    // What the API looks like is no secret.
    ("GET", "/api/docs"),
    ("GET", "/api/v1/openapi.json"),
    // Signed by Twilio instead: without a signature 403.
    ("POST", "/webhooks/twilio/inbound"),
    ("POST", "/webhooks/twilio/status?message=1&attempt=1"),
];

fn filled(path: &str) -> String {
    let mut filled = path.to_owned();
    while let (Some(from), Some(to)) = (filled.find('{'), filled.find('}')) {
        filled.replace_range(from..=to, "1");
    }
    filled
}

/// Values of `Authorization` that open nothing.
async fn wrong_credentials(app: &TestApp) -> Vec<String> {
    let now = app.clock.now();
    let expired = app.add_key(&Scope::ALL, Some(now)).await;
    let revoked = app.add_key(&Scope::ALL, None).await;
    let id = app.store.read(api_keys::list).await.unwrap().last().unwrap().id;
    assert!(app.store.write(move |tx| api_keys::revoke(tx, id, "test")).await.unwrap());
    let right = &app.key;
    let other_case: String =
        right.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c }).collect();
    vec![
        format!("Bearer {expired}"),
        format!("Bearer {revoked}"),
        "Bearer nonsense".to_owned(),
        "Bearer ".to_owned(),
        "Bearer".to_owned(),
        format!("Bearer {}", &right[..right.len() - 1]),
        format!("Bearer {right}x"),
        format!("Bearer {other_case}"),
        format!("Bearer {right} {right}"),
        format!("Basic {right}"),
        format!("Token {right}"),
        right.clone(),
        "Bearer ' OR 1=1 --".to_owned(),
    ]
}

#[actix_web::test]
async fn every_route_is_closed_unless_listed_as_open() {
    let app = TestApp::start().await;
    let wrong = wrong_credentials(&app).await;
    assert!(ROUTES.len() > 50);
    assert_eq!(OPEN.iter().map(|route| route.path).collect::<Vec<_>>(), ["/openapi.json"]);
    for route in ROUTES {
        let path = format!("/api/v1{}", filled(route.path));
        let bare = send(app.bare(route.method, &path)).await;
        assert_eq!(bare.header("www-authenticate"), Some("Bearer"), "{route:?}");
        bare.problem(401);
        send(app.bare(route.method, &format!("{path}?api_key={0}&access_token={0}", app.key)))
            .await
            .problem(401);
        for value in &wrong {
            let answer = send(app.bare(route.method, &path).header("authorization", value)).await;
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{route:?} {value}");
            answer.problem(401);
        }
    }
    // What is no route tells a stranger nothing, not even that.
    for (method, path) in [
        ("GET", "/api/v1/nothing"),
        ("DELETE", "/api/v1/users"),
        ("OPTIONS", "/api/v1/users"),
        ("GET", "/api/v1"),
    ] {
        send(app.bare(method, path)).await.problem(401);
    }
    send(app.bare("GET", "/metrics")).await.problem(401);
    for value in &wrong {
        send(app.bare("GET", "/metrics").header("authorization", value)).await.problem(401);
    }
    for (method, path) in OPEN_ELSEWHERE {
        let answer = send(app.bare(method, path)).await;
        let is_signed = path.starts_with("/webhooks");
        assert_eq!(answer.status, if is_signed { 403 } else { 200 }, "{path} {}", answer.text);
    }
}

#[actix_web::test]
async fn the_scheme_is_read_in_any_case_and_one_header_is_enough() {
    let app = TestApp::start().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {}", app.key);
        send(app.bare("GET", "/api/v1/topics").header("authorization", value)).await.expect(200);
    }
}

#[actix_web::test]
async fn a_key_that_calls_too_often_waits_and_the_wait_is_told() {
    let app = TestApp::with_config("[server]\napi_requests_per_second = 0.5\napi_burst = 3").await;
    let post = async |key: &str| {
        let request = app.bare("POST", "/api/v1/topics").bearer_auth(key).header("idempotency-key", "k");
        send(request.json(&json!({"name": "shoes"}))).await
    };
    for _ in 0..3 {
        app.get("/topics").await.expect(200);
    }
    let refused = post(&app.key).await;
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(wait, 2);
    refused.problem(429);
    // Another key is another caller.
    let other = app.add_key(&[Scope::Read], None).await;
    send(app.bare("GET", "/api/v1/topics").bearer_auth(&other)).await.expect(200);
    app.clock.advance(wait * 1_000);
    // The 429 was not kept under the key of the request.
    post(&app.key).await.expect(201);
    app.get("/topics").await.problem(429);
}

#[actix_web::test]
async fn wrong_keys_are_counted_by_address_and_a_right_one_still_comes_in() {
    let app = TestApp::with_config("[server]\nwrong_keys_per_minute = 3").await;
    let from = async |address: &str, key: &str| {
        send(app.bare("GET", "/api/v1/topics").bearer_auth(key).header("x-forwarded-for", address)).await
    };
    for _ in 0..3 {
        from("198.51.100.7", "wrong").await.problem(401);
    }
    let refused = from("198.51.100.7", "wrong").await;
    assert_eq!(refused.header("retry-after"), Some("20"));
    refused.problem(429);
    from("198.51.100.7", &app.key).await.expect(200);
    from("198.51.100.8", "wrong").await.problem(401);
    // An address that the caller made up stands left of the one that the proxy saw.
    from("203.0.113.1, 198.51.100.7", "wrong").await.problem(429);
    app.clock.advance(20_000);
    from("198.51.100.7", "wrong").await.problem(401);
}

#[actix_web::test]
async fn answers_are_for_the_caller_alone() {
    let app = TestApp::start().await;
    let user = app.add_user("+14155550101", "opt_in").await;
    for (path, status) in [(format!("/users/{user}"), 200), ("/users/999".to_owned(), 404)] {
        let request = app.request("GET", &path).header("origin", "https://evil.example");
        let answer = send(request).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let asked = app
        .request("OPTIONS", "/users")
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "DELETE");
    let asked = send(asked).await;
    assert_eq!(asked.header("access-control-allow-origin"), None);
    assert!(asked.header("allow").unwrap().contains("POST"));
    asked.problem(405);
}

#[actix_web::test]
async fn whoever_may_get_may_ask_by_head() {
    let app = TestApp::start().await;
    let user = app.add_user("+14155550101", "opt_in").await;
    for (path, status) in [(format!("/users/{user}"), 200), ("/users?limit=0".to_owned(), 422)] {
        let (head, get) = (send(app.request("HEAD", &path)).await, app.get(&path).await);
        assert_eq!((head.status, get.status, head.text.as_str()), (status, status, ""));
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
    let refused = app.delete("/topics").await;
    let allow = refused.header("allow").unwrap();
    assert!(["GET", "HEAD", "POST"].iter().all(|method| allow.contains(method)), "{allow}");
    send(app.bare("HEAD", &format!("/api/v1/users/{user}"))).await.headers.get("www-authenticate").unwrap();
}
