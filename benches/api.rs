//! What integrators wait for: 10,000 business events in one request, and the audience of a campaign for everybody
//! before its launch, alone and what webhooks feel of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::fmt::Write;
use std::time::{Duration, Instant};

use event_stream_engine::campaign;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::store::api_keys::{self, Scope};
use event_stream_engine::store::campaigns::{self, CampaignPlan};
use event_stream_engine::store::templates::{self, TemplateText};
use event_stream_engine::store::{Store, StoreError};
use rusqlite::Connection;
use secrecy::ExposeSecret;
use serde_json::Value;
use support::load::{self, Plan, Until};
use support::table::Bench;
use support::webhooks::{self, inbound_request};
use support::{bare, clock, folder, open, people, runtime, value};

/// Lines of one request, and of a batch of the bare program.
const LINES: u64 = 10_000;
const BATCH: u64 = 256;

fn main() {
    let mut bench = Bench::start("api");
    let n = if bench.is_quick { 100_000 } else { 1_000_000 };
    runtime().block_on(async {
        let before = bare_events().await;
        let taken = events().await;
        let ceiling = before.min(bare_events().await);
        bench.line(format!("{LINES} business events in one request"), taken, "s").against(ceiling, "≤ 1 s");
        audience(&mut bench, n).await;
    });
    bench.note(format!(
        "ceiling of events: three bare INSERTs a line (event, message, audit row), {BATCH} lines a commit"
    ));
    bench.note("ceiling of the audience: one bare walk over the rows that reads every attribute");
    bench.finish();
}

async fn key(store: &Store) -> String {
    let made = store.write(|tx| api_keys::insert(tx, "bench", &Scope::ALL, None, "bench")).await.unwrap();
    made.1.expose_secret().to_owned()
}

fn body() -> String {
    let mut body = String::new();
    for n in 0..LINES {
        let phone = people::phone(n);
        writeln!(
            body,
            r#"{{"id":"order-{n}","type":"order.paid","phone":"{phone}","data":{{"order":{n}}}}}"#
        )
        .unwrap();
    }
    body
}

/// Seconds until all lines are taken.
async fn events() -> f64 {
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    people::add(&dir, LINES);
    let made = store.write::<_, _, StoreError>(|tx| {
        let text = TemplateText::plain(Channel::Sms, "Hi {name}, order {order} is paid.");
        let template_id = templates::insert(tx, "paid", &text)?;
        let plan = CampaignPlan {
            kind: Kind::Transactional,
            segment_id: None,
            trigger_type: Some("order.paid".to_owned()),
            ..CampaignPlan::new("Paid", 0, template_id)
        };
        campaigns::insert(tx, &plan)
    });
    let id = made.await.unwrap();
    store.write(move |tx| campaign::launch(tx, id, &people::setup())).await.unwrap();
    let (server, key) = (webhooks::product(&store), key(&store).await);
    let request = reqwest::Client::new()
        .post(format!("{}/api/v1/triggers", server.base_url()))
        .bearer_auth(key)
        .header("content-type", "application/x-ndjson")
        .body(body());
    let start = Instant::now();
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!((status.as_u16(), answer["accepted"].as_u64()), (200, Some(LINES)), "{answer:.300}");
    assert_eq!(value(&dir, "SELECT count(*) FROM messages WHERE status = 'queued'"), LINES as i64);
    server.stop().await;
    seconds
}

/// The rows that any program has to write for them.
async fn bare_events() -> f64 {
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    people::add(&dir, LINES);
    let _ = people::draft(&store).await;
    let conn: Connection = bare::connect(&store.paths().path);
    let mut user = conn.prepare("SELECT id FROM users WHERE phone = ?1").unwrap();
    let mut event = conn
        .prepare("INSERT INTO triggers (id, type, occurred_at, user_id, data, received_at) VALUES (?1, 'order.paid', 0, ?2, ?3, 0)")
        .unwrap();
    let mut message = conn
        .prepare(
            "INSERT INTO messages (campaign_id, user_id, occasion, status, kind, channel, lane, due_at, template_id,
               template_version, is_simulated, created_at)
             VALUES (1, ?1, ?2, 'queued', 'transactional', 'sms', 1, 0, 1, 1, 1, 0)",
        )
        .unwrap();
    let mut audit = conn
        .prepare("INSERT INTO events (type, at, user_id, campaign_id, data) VALUES ('trigger.received', 0, ?1, 1, ?2)")
        .unwrap();
    let start = Instant::now();
    for from in (0..LINES).step_by(BATCH as usize) {
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        for n in from..(from + BATCH).min(LINES) {
            let (id, data) = (format!("order-{n}"), format!(r#"{{"order":{n}}}"#));
            let user_id: i64 = user.query_row([people::phone(n)], |row| row.get(0)).unwrap();
            event.execute((&id, user_id, &data)).unwrap();
            message.execute((user_id, &id)).unwrap();
            audit.execute((user_id, &data)).unwrap();
        }
        conn.execute_batch("COMMIT").unwrap();
    }
    start.elapsed().as_secs_f64()
}

/// The look at everybody before a launch, alone and beside webhooks.
async fn audience(bench: &mut Bench, n: u64) {
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    people::add(&dir, n);
    let id = people::draft(&store).await;
    let conn = bare::connect(&store.paths().path);
    let start = Instant::now();
    let read: i64 = conn
        .query_row("SELECT sum(length(json(attributes)) + length(phone)) FROM users", [], |row| row.get(0))
        .unwrap();
    assert!(read > 0);
    let ceiling = start.elapsed().as_secs_f64();
    let (server, key) = (webhooks::product(&store), key(&store).await);
    let look = async || {
        let start = Instant::now();
        let request = reqwest::Client::new()
            .get(format!("{}/api/v1/campaigns/{id}/audience", server.base_url()))
            .bearer_auth(&key);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        answer.bytes().await.unwrap();
        start.elapsed().as_secs_f64()
    };
    bench.line(format!("audience of {n}"), look().await, "s").against(ceiling, "≤ 10 s at 1M");
    let address = server.address;
    let load = load::run(Plan {
        address,
        connections: 16,
        until: Until::Time(Duration::from_secs(5)),
        pause: Duration::from_millis(5),
        request: Box::new(move |n| inbound_request(address, n, 1_000)),
    });
    let (outcome, seconds) = tokio::join!(load, look());
    bench.line("  beside webhooks", seconds, "s");
    bench.line("  webhooks, p99", outcome.percentile(0.99), "ms");
    bench.target("≤ 100 ms");
    server.stop().await;
}
