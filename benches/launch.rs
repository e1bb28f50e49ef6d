//! Launch: from the launch of a campaign for everybody to the first message out, and until the whole audience
//! is frozen; alone, and while messages go out and people write.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::time::{Duration, Instant};

use event_stream_engine::campaign;
use support::load::{self, Outcome, Plan, Until};
use support::provider::{Provider, was_provider};
use support::sending::{self, Running, until};
use support::table::Bench;
use support::webhooks::{self, inbound_request};
use support::{bare, clock, folder, open, people, runtime, value};

/// Ids of one bare chunk.
const CHUNK: u64 = 10_000;
const FIRST: &str = "SELECT coalesce(max(accepted), 0) FROM campaign_sums";

fn main() {
    if was_provider() {
        return;
    }
    let mut bench = Bench::start("launch");
    let n = if bench.is_quick { 100_000 } else { 1_000_000 };
    runtime().block_on(async {
        // Before and after: a disk that still writes what came before makes the first one slow.
        let before = bare_freeze(n).await;
        let (alone, longest) = freeze_alone(n).await;
        let ceiling = before.min(bare_freeze(n).await);
        bench
            .line(format!("{n} frozen, nothing else"), alone, "s")
            .against(ceiling, "≤ 5 s at 1M; ratio ≤ 1.50");
        bench.line("  longest wait of another write", longest, "ms");
        bench.target("≤ 20 ms and a commit");
        let busy = freeze_and_send(n).await;
        bench.line("first message out", busy.first, "s");
        bench.target("≤ 1 s");
        bench.line(format!("{n} frozen while sending and receiving"), busy.frozen, "s").against(ceiling, "");
        let sent = busy.sent as f64 / busy.webhooks.seconds;
        bench.line("  accepted meanwhile", sent, "/s");
        bench.line("  webhooks meanwhile", busy.webhooks.per_second(), "/s");
        bench.line("  webhooks, p99", busy.webhooks.percentile(0.99), "ms");
        bench.target("≤ 100 ms");
        bench.line("  webhooks refused or lost", busy.lost as f64, "rows");
        bench.target("0");
    });
    bench.note(format!("ceiling: bare INSERT … SELECT of the same rows, {CHUNK} ids a commit"));
    bench.note("meanwhile: from the launch until the audience is frozen, at least 5 s; 16 connections that pause 5 ms");
    bench.finish();
}

async fn bare_freeze(n: u64) -> f64 {
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    people::add(&dir, n);
    let id = people::draft(&store).await;
    let conn = bare::connect(&store.paths().path);
    let mut insert = conn
        .prepare(
            "INSERT INTO messages (campaign_id, user_id, occasion, status, kind, channel, lane, due_at, expires_at,
               topic_id, template_id, template_version, is_simulated, created_at)
             SELECT ?1, u.id, '', 'queued', 'marketing', 'sms', ?1, 0, 86400000, 1, 1, 1, 1, 0
             FROM users u WHERE u.id > ?2 AND u.id <= ?3",
        )
        .unwrap();
    let start = Instant::now();
    for from in (0..n).step_by(CHUNK as usize) {
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        insert.execute((id, from as i64, (from + CHUNK) as i64)).unwrap();
        conn.execute_batch("COMMIT").unwrap();
    }
    start.elapsed().as_secs_f64()
}

/// Seconds until everybody is frozen, and how long a write had to wait for its turn at most, in milliseconds.
async fn freeze_alone(n: u64) -> (f64, f64) {
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    people::add(&dir, n);
    let id = people::draft(&store).await;
    let start = Instant::now();
    people::launch(&store, id).await;
    let watched = store.clone();
    let watch = tokio::spawn(async move {
        let mut longest = 0.0_f64;
        loop {
            let asked = Instant::now();
            let row = watched
                .write::<_, _, event_stream_engine::store::StoreError>(move |tx| {
                    event_stream_engine::store::campaigns::find(tx.conn(), id)
                })
                .await
                .unwrap()
                .unwrap();
            longest = longest.max(asked.elapsed().as_secs_f64() * 1_000.0);
            if row.status != event_stream_engine::domain::campaign::CampaignStatus::Launching {
                return longest;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    campaign::freeze_all(&store, &people::presets(), true).await.unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let longest = watch.await.unwrap();
    assert_eq!(value(&dir, "SELECT count(*) FROM messages") as u64, n);
    (seconds, longest)
}

struct Busy {
    first: f64,
    frozen: f64,
    sent: i64,
    webhooks: Outcome,
    lost: i64,
}

async fn freeze_and_send(n: u64) -> Busy {
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    people::add(&dir, n);
    let id = people::draft(&store).await;
    let server = webhooks::product(&store);
    let provider = Provider::start(0, false);
    let running = Running::start(sending::dispatcher(&store, &provider, &server.base_url()));
    let (address, seconds) = (server.address, if n > 500_000 { 20 } else { 5 });
    let load = tokio::spawn(load::run(Plan {
        address,
        connections: 16,
        until: Until::Time(Duration::from_secs(seconds)),
        pause: Duration::from_millis(5),
        request: Box::new(move |n| inbound_request(address, n, 10_000)),
    }));
    let start = Instant::now();
    people::launch(&store, id).await;
    let path = store.paths().path.clone();
    let first = tokio::spawn(async move { until(&path, FIRST, 1).await });
    campaign::freeze_all(&store, &people::presets(), true).await.unwrap();
    let frozen = start.elapsed().as_secs_f64();
    let first = first.await.unwrap();
    let webhooks = load.await.unwrap();
    let sent = value(&dir, FIRST);
    running.stop().await;
    server.stop().await;
    let kept = value(&dir, "SELECT count(*) FROM inbound WHERE state = 'done'");
    let lost = (webhooks.answered as i64 - kept).abs() + webhooks.refused as i64;
    Busy { first, frozen, sent, webhooks, lost }
}
