//! Reads as callers make them, over real HTTP: lists on their first and deepest page, with filters that few rows
//! fit, a campaign's report, a person's timeline, a segment's count; in files of 10,000 messages and ten and a
//! hundred times as many. Memory of the process, at rest and at most.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_stream_engine::store::api_keys::{self, Scope};
use event_stream_engine::store::{Store, StoreError};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use support::load::{self, Outcome, Plan, Until, Wire};
use support::memory::Peak;
use support::table::Bench;
use support::{clock, folder, history, resident, runtime, series, webhooks};

/// One kind of read: its name, its target in milliseconds (p99), and its request.
struct Kind {
    name: &'static str,
    target: f64,
    request: Request,
}

enum Request {
    Get(String),
    Post(&'static str, Value),
}

fn main() {
    let mut bench = Bench::start("reads");
    let sizes: &[u64] = if bench.is_quick { &[10_000, 100_000] } else { &[10_000, 100_000, 1_000_000] };
    runtime().block_on(async {
        for messages in sizes {
            one_size(&mut bench, *messages).await;
        }
    });
    bench.note("two connections at the same time; p99 of at least 200 requests (of 20 where one takes longer than 50 ms)");
    bench.note("deepest: the last page of the list; rare: a filter that no row, or one in a thousand, fits");
    bench.finish();
}

async fn one_size(bench: &mut Bench, messages: u64) {
    let (dir, clock) = (folder(), clock());
    history::make(dir.path(), &clock, messages).await;
    let store = support::open_at(dir.path(), &clock).await;
    let key = key(&store).await;
    let server = webhooks::product(&store);
    let idle = resident();
    let peak = Peak::start();
    for kind in kinds(messages) {
        let outcome = measure(server.address, &key, &kind.request).await;
        let (p50, p99) = (outcome.percentile(0.5), outcome.percentile(0.99));
        assert_eq!(outcome.refused, 0, "{}", kind.name);
        bench.line(format!("{}, {messages}: p50", kind.name), p50, "ms");
        bench.line(format!("{}, {messages}: p99", kind.name), p99, "ms");
        bench.target(if kind.target > 10.0 { "≤ 300 ms" } else { "≤ 10 ms" });
        series::add("reads", kind.name, (messages as f64, p99));
    }
    bench.line(format!("memory with {messages}, before the first read"), idle, "MiB");
    bench.line(format!("memory with {messages}, at most"), peak.stop(), "MiB");
    bench.target("≤ 120 MiB");
    server.stop().await;
}

async fn key(store: &Store) -> String {
    let made =
        store.write::<_, _, StoreError>(|tx| api_keys::insert(tx, "bench", &Scope::ALL, None, "bench"));
    made.await.unwrap().1.expose_secret().to_owned()
}

/// A cursor as the server would have given it for the end of the list.
fn cursor(list: &str, place: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json!([list, place]).to_string())
}

fn kinds(messages: u64) -> Vec<Kind> {
    let people = history::people_of(messages);
    let get = |name, path: String| Kind { name, target: 10.0, request: Request::Get(path) };
    let behind = |list: &str| cursor(list, &json!([60]));
    let last_person = cursor("campaign_messages", &json!([people - 60, ""]));
    let three = json!({"all": [
        {"attribute": "plan", "operator": "in", "value": ["plus", "pro"]},
        {"any": [{"attribute": "age", "operator": "gte", "value": 50},
                 {"all": [{"attribute": "is_member", "operator": "equals", "value": true},
                          {"attribute": "city", "operator": "starts_with", "value": "City 1"}]}]}
    ]});
    vec![
        get("users, first page", "/users".to_owned()),
        get("users, deepest", format!("/users?cursor={}", behind("users"))),
        get("messages, first page", "/messages".to_owned()),
        get("messages, deepest", format!("/messages?cursor={}", behind("messages"))),
        get("messages of a campaign", "/messages?campaign_id=2".to_owned()),
        get("messages of a campaign, deepest", format!("/messages?campaign_id=2&cursor={last_person}")),
        get("messages, status=failed", "/messages?status=failed".to_owned()),
        get("messages, status=uncertain (rare)", "/messages?status=uncertain".to_owned()),
        get("messages, status=accepted (rare)", "/messages?status=accepted".to_owned()),
        get("messages, status=queued (rare)", "/messages?status=queued".to_owned()),
        get("messages, kind=reply (rare)", "/messages?kind=reply".to_owned()),
        get("messages, since later than all", "/messages?since=2031-01-01T00:00:00Z".to_owned()),
        get("inbound, first page", "/inbound".to_owned()),
        get("inbound, kind=stop (rare)", "/inbound?kind=stop".to_owned()),
        get("inbound, since later than all", "/inbound?since=2031-01-01T00:00:00Z".to_owned()),
        get("events, the oldest", "/events".to_owned()),
        get("events, one type (rare)", "/events?types=user.erased".to_owned()),
        get("campaigns", "/campaigns".to_owned()),
        get("report of a campaign", "/campaigns/2/report".to_owned()),
        get(
            "a campaign's failures, deepest",
            format!("/campaigns/2/messages?status=failed&cursor={last_person}"),
        ),
        get("timeline of a person", format!("/users/{}/timeline", people / 2)),
        get("one message, whole", format!("/messages/{}", messages / 2)),
        Kind {
            name: "segment of three nested conditions",
            target: 300.0,
            request: Request::Post("/segments/preview", json!({"definition": three})),
        },
    ]
}

fn bytes(address: SocketAddr, key: &str, request: &Request) -> Vec<u8> {
    let head = |method: &str, path: &str| {
        format!("{method} /api/v1{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n")
    };
    match request {
        Request::Get(path) => format!("{}\r\n", head("GET", path)).into_bytes(),
        Request::Post(path, body) => {
            let body = body.to_string();
            let length = body.len();
            let head = head("POST", path);
            format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
                .into_bytes()
        }
    }
}

/// The first request shows how many can be made in a bounded time.
async fn measure(address: SocketAddr, key: &str, request: &Request) -> Outcome {
    let bytes = bytes(address, key, request);
    let began = Instant::now();
    let (status, answer) = {
        let mut wire = Wire::connect(address).await;
        let (status, answer) = wire.exchange(&bytes).await;
        (status, String::from_utf8_lossy(answer).into_owned())
    };
    let is_slow = began.elapsed() > Duration::from_millis(50);
    assert_eq!(status, 200, "{answer}");
    let count = if is_slow { 20 } else { 300 };
    load::run(Plan {
        address,
        connections: 2,
        until: Until::Count(count),
        pause: Duration::ZERO,
        request: Box::new(move |_| bytes.clone()),
    })
    .await
}
