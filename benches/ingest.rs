//! Webhook ingest: signed messages from people, and status callbacks that advance messages, on the real
//! handlers and a real store, beside a bare server that does the least.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::bare::{self, Group};
use support::load::{self, Outcome, Plan, Until};
use support::table::Bench;
use support::webhooks::{self, inbound_request, status_request};
use support::{clock, folder, open, people, runtime, value};

/// People who write; each of them many times.
const PEOPLE: u64 = 10_000;

fn main() {
    let mut bench = Bench::start("ingest");
    runtime().block_on(async {
        for connections in if bench.is_quick { vec![64] } else { vec![64, 256] } {
            messages(&mut bench, connections).await;
        }
        for connections in if bench.is_quick { vec![64] } else { vec![64, 256] } {
            callbacks(&mut bench, connections).await;
        }
    });
    bench.note("ceiling of messages: bare actix, the same HMAC check, one row by group commit");
    bench.note("ceiling of callbacks: the same with the four rows that a callback has to change");
    bench.note("the load client runs on one thread of the same process and shares its cores");
    bench.finish();
}

fn plan(address: SocketAddr, connections: usize, until: Until) -> Plan {
    let request = Box::new(move |n| inbound_request(address, n, PEOPLE));
    Plan { address, connections, until, pause: Duration::ZERO, request }
}

async fn messages(bench: &mut Bench, connections: usize) {
    let time = Until::Time(Duration::from_secs(if bench.is_quick { 3 } else { 20 }));
    let ceiling = bare_messages(connections, time).await;
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    people::add(&dir, PEOPLE);
    let server = webhooks::product(&store);
    let outcome = load::run(plan(server.address, connections, time)).await;
    server.stop().await;
    let kept = value(&dir, "SELECT count(*) FROM inbound WHERE state = 'done' AND user_id IS NOT NULL");
    let events = value(&dir, "SELECT count(*) FROM events WHERE type = 'inbound.received'");
    report(bench, &format!("messages, {connections} connections"), &outcome, &ceiling);
    let lost = outcome.answered as i64 - kept;
    bench.line(
        format!("  lost, refused, of {}", outcome.answered),
        (lost.abs() + outcome.refused as i64) as f64,
        "rows",
    );
    bench.target("0");
    assert_eq!(events, kept, "every message has its event");
    let (batches, closures) = store.commits();
    bench.note(format!(
        "{connections} connections: {:.0} webhooks a commit",
        closures as f64 / batches as f64
    ));
}

async fn bare_messages(connections: usize, until: Until) -> Outcome {
    let dir = folder();
    let server = webhooks::bare(Group::start(&bare::create(&dir)));
    let outcome = load::run(plan(server.address, connections, until)).await;
    server.stop().await;
    outcome
}

fn report(bench: &mut Bench, what: &str, outcome: &Outcome, ceiling: &Outcome) {
    let target = if what.starts_with("messages") { "ratio ≥ 0.70" } else { "ratio ≥ 0.60" };
    bench.line(what, outcome.per_second(), "/s").against(ceiling.per_second(), target);
    bench.line("  p50", outcome.percentile(0.50), "ms").against(ceiling.percentile(0.50), "");
    bench
        .line("  p99", outcome.percentile(0.99), "ms")
        .against(ceiling.percentile(0.99), "p99 ≤ 25 ms at 64");
}

/// Messages that Twilio accepted, their attempts, and the counts that pages show.
fn accepted_messages(path: &std::path::Path, n: u64) {
    let conn = bare::connect(path);
    conn.execute_batch(&format!(
        "INSERT OR IGNORE INTO senders (id, address, kind, created_at) VALUES (1, '+14155550100', 'long_code', 0);
         INSERT INTO templates (id, name, created_at, updated_at) VALUES (1, 'offer', 0, 0);
         INSERT INTO segments (id, name, definition, created_at, updated_at) VALUES (1, 'all', '{{}}', 0, 0);
         INSERT INTO campaigns (id, name, status, kind, channel, template_id, segment_id, created_at, updated_at)
           VALUES (1, 'Offer', 'running', 'marketing', 'sms', 1, 1, 0, 0);
         INSERT INTO messages (id, campaign_id, user_id, status, kind, channel, lane, due_at, attempts, sender_id,
                               body, parts, sid, created_at, accepted_at)
           SELECT id, 1, id, 'accepted', 'marketing', 'sms', 1, 0, 1, 1, 'Hi, the offer ends tonight.', 1,
                  printf('SM%032x', id), 0, 0 FROM users;
         INSERT INTO attempts (message_id, number, sender_id, outcome, started_at, answered_at, http_status, sid, status)
           SELECT id, 1, 1, 'accepted', 0, 0, 201, sid, 'queued' FROM messages;
         INSERT INTO campaign_counts (campaign_id, status, n) VALUES (1, 'accepted', {n});
         PRAGMA wal_checkpoint(TRUNCATE);"
    ))
    .unwrap();
}

/// `sent` for all, then `delivered` for all: two callbacks a message, each advancing it.
fn callbacks_plan(address: SocketAddr, connections: usize, n: u64) -> Plan {
    let request = Box::new(move |k| {
        let status = if k < n { "sent" } else { "delivered" };
        status_request(address, k % n + 1, status)
    });
    Plan { address, connections, until: Until::Count(2 * n), pause: Duration::ZERO, request }
}

async fn callbacks(bench: &mut Bench, connections: usize) {
    let n = if bench.is_quick { 10_000 } else { 60_000 };
    let ceiling = bare_callbacks(connections, n).await;
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    people::add(&dir, n);
    accepted_messages(&store.paths().path, n);
    let server = webhooks::product(&store);
    let outcome = load::run(callbacks_plan(server.address, connections, n)).await;
    server.stop().await;
    let delivered =
        value(&dir, "SELECT count(*) FROM messages WHERE status = 'delivered' AND sent_at IS NOT NULL");
    assert_eq!(delivered as u64, n, "every message is delivered");
    report(bench, &format!("status callbacks, {connections} connections"), &outcome, &ceiling);
}

async fn bare_callbacks(connections: usize, n: u64) -> Outcome {
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    people::add(&dir, n);
    accepted_messages(&store.paths().path, n);
    let server = webhooks::bare(Group::start(&store.paths().path));
    let outcome = load::run(callbacks_plan(server.address, connections, n)).await;
    server.stop().await;
    outcome
}
