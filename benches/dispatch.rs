//! From queued to accepted: every gate, event and commit of the product, the simulator in a process beside it,
//! callbacks off and on; beside one loop that makes the same requests and writes the same rows.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::path::Path;
use std::time::Instant;

use event_stream_engine::campaign;
use event_stream_engine::store::Store;
use support::bare::Group;
use support::provider::{Provider, was_provider};
use support::sending::{self, Running, until};
use support::table::Bench;
use support::{clock, folder, open, people, runtime, value, webhooks};

/// Rows of the campaign that left the queue, by the table that pages show.
const LEFT: &str = "SELECT coalesce(sum(n), 0) FROM campaign_counts
                    WHERE status IN ('accepted', 'sent', 'delivered')";
const DELIVERED: &str = "SELECT coalesce(sum(n), 0) FROM campaign_counts WHERE status = 'delivered'";
/// The bare loop keeps no counts.
const BARE_DELIVERED: &str = "SELECT count(*) FROM messages WHERE status = 'delivered'";

fn main() {
    if was_provider() {
        return;
    }
    let mut bench = Bench::start("dispatch");
    runtime().block_on(async {
        for latency in if bench.is_quick { vec![0, 50] } else { vec![0, 50, 150] } {
            for has_callbacks in [false, true] {
                measure(&mut bench, latency, has_callbacks).await;
            }
        }
    });
    bench
        .note("ceiling: one loop, raw HTTP, 256 in flight; message ×2, attempt ×2 and event by group commit");
    bench.note("with callbacks both sides take two signed status callbacks a message at the same time");
    bench.note("the simulator is a process of its own on the same cores");
    bench.finish();
}

async fn measure(bench: &mut Bench, latency: u64, has_callbacks: bool) {
    let n: u64 = match (bench.is_quick, latency) {
        (true, _) => 2_000,
        (false, 0) => 30_000,
        (false, _) => 20_000,
    };
    let callbacks = if has_callbacks { "callbacks" } else { "no callbacks" };
    let (bare_accepted, bare_delivered) = bare(n, latency, has_callbacks).await;
    let (accepted, delivered) = product(n, latency, has_callbacks).await;
    let target = if latency == 0 && !has_callbacks { "> 2,200/s; ratio ≥ 0.60" } else { "ratio ≥ 0.60" };
    let n = n as f64;
    bench
        .line(format!("{latency} ms, {callbacks}: accepted"), n / accepted, "/s")
        .against(n / bare_accepted, target);
    if has_callbacks {
        bench
            .line(format!("{latency} ms, {callbacks}: delivered"), n / delivered, "/s")
            .against(n / bare_delivered, "");
    }
}

/// A frozen campaign of `n` people.
async fn queued(dir: &tempfile::TempDir, n: u64) -> Store {
    let store = open(dir, &clock()).await;
    people::add(dir, n);
    let id = people::draft(&store).await;
    people::launch(&store, id).await;
    campaign::freeze_all(&store, &people::presets(), true).await.unwrap();
    store
}

/// Seconds until all are accepted, and until all are delivered.
async fn product(n: u64, latency: u64, has_callbacks: bool) -> (f64, f64) {
    let dir = folder();
    let store = queued(&dir, n).await;
    let server = webhooks::product(&store);
    let provider = Provider::start(latency, has_callbacks);
    let dispatcher = sending::dispatcher(&store, &provider, &server.base_url());
    let start = Instant::now();
    let running = Running::start(dispatcher);
    let path = store.paths().path.clone();
    until(&path, LEFT, n as i64).await;
    let accepted = start.elapsed().as_secs_f64();
    if has_callbacks {
        until(&path, DELIVERED, n as i64).await;
    }
    let delivered = start.elapsed().as_secs_f64();
    running.stop().await;
    server.stop().await;
    let attempts = value(&dir, "SELECT count(*) FROM attempts");
    assert_eq!(attempts as u64, n, "one attempt a message");
    (accepted, delivered)
}

/// The same of the ceiling.
async fn bare(n: u64, latency: u64, has_callbacks: bool) -> (f64, f64) {
    let dir = folder();
    let path = queued(&dir, n).await.paths().path.clone();
    let group = Group::start(&path);
    let server = webhooks::bare(group.clone());
    let provider = Provider::start(latency, has_callbacks);
    let start = Instant::now();
    sending::bare(&group, n as usize, provider.address, &server.base_url()).await;
    let accepted = start.elapsed().as_secs_f64();
    let delivered = if has_callbacks { delivered_since(&path, n, start).await } else { accepted };
    server.stop().await;
    (accepted, delivered)
}

async fn delivered_since(path: &Path, n: u64, start: Instant) -> f64 {
    until(path, BARE_DELIVERED, n as i64).await;
    start.elapsed().as_secs_f64()
}
