//! Rates over time, for the plots: messages accepted under a limit of 80 a second, and under none beside the bare
//! loop; webhooks answered before and after the launch of a campaign for everybody.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use event_stream_engine::campaign;
use event_stream_engine::store::Store;
use rusqlite::Connection;
use support::bare::Group;
use support::load::{self, Plan, Until};
use support::provider::{Provider, was_provider};
use support::sending::{self, Running};
use support::table::Bench;
use support::webhooks::{self, inbound_request};
use support::{clock, folder, open, people, runtime, series, value};

const ACCEPTED: &str = "SELECT coalesce(sum(accepted), 0) FROM campaign_sums";
const RECEIVED: &str = "SELECT coalesce(max(id), 0) FROM inbound";

fn main() {
    if was_provider() {
        return;
    }
    let mut bench = Bench::start("timeline");
    let (seconds, many, everybody) =
        if bench.is_quick { (10, 20_000, 100_000) } else { (30, 100_000, 1_000_000) };
    runtime().block_on(async {
        limited(&mut bench, seconds).await;
        unlimited(&mut bench, many).await;
        launch(&mut bench, everybody).await;
    });
    bench.note("the series are kept for `cargo bench --bench plots`");
    bench.finish();
}

async fn queued(dir: &tempfile::TempDir, n: u64) -> Store {
    let store = open(dir, &clock()).await;
    people::add(dir, n);
    let id = people::draft(&store).await;
    people::launch(&store, id).await;
    campaign::freeze_all(&store, &people::presets(), true).await.unwrap();
    store
}

/// Asks `sql` again and again and yields the growth per second in each step, until `is_over`.
async fn watch(
    path: PathBuf,
    sql: &'static str,
    step: Duration,
    is_over: impl Fn(i64, Duration) -> bool,
) -> Vec<(f64, f64)> {
    let read = || -> i64 {
        let conn = Connection::open(&path).unwrap();
        conn.busy_timeout(Duration::from_secs(5)).unwrap();
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let (start, mut last, mut seen) = (Instant::now(), Instant::now(), read());
    let mut points = Vec::new();
    loop {
        tokio::time::sleep(step).await;
        let (now, value) = (Instant::now(), read());
        let passed = (now - last).as_secs_f64();
        points.push((start.elapsed().as_secs_f64(), (value - seen) as f64 / passed));
        (last, seen) = (now, value);
        if is_over(value, start.elapsed()) {
            return points;
        }
    }
}

fn mean(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|(_, y)| y).sum::<f64>() / points.len().max(1) as f64
}

async fn limited(bench: &mut Bench, seconds: u64) {
    let dir = folder();
    let store = queued(&dir, 80 * (seconds + 5)).await;
    let server = webhooks::product(&store);
    let provider = Provider::start(50, false);
    let running = Running::start(sending::dispatcher_at(&store, &provider, &server.base_url(), 80.0));
    let time = Duration::from_secs(seconds);
    let points =
        watch(store.paths().path.clone(), ACCEPTED, Duration::from_secs(1), |_, passed| passed >= time).await;
    running.stop().await;
    server.stop().await;
    bench.line("limit 80: mean behind the first second", mean(&points[1..]), "/s");
    bench.target("80, within 1 %");
    series::keep("rate", "limit 80", &points);
}

async fn unlimited(bench: &mut Bench, n: u64) {
    let ceiling = {
        let dir = folder();
        let path = queued(&dir, n / 4).await.paths().path.clone();
        let provider = Provider::start(0, false);
        let start = Instant::now();
        sending::bare(&Group::start(&path), (n / 4) as usize, provider.address, "http://127.0.0.1:9").await;
        (n / 4) as f64 / start.elapsed().as_secs_f64()
    };
    let dir = folder();
    let store = queued(&dir, n).await;
    let server = webhooks::product(&store);
    let provider = Provider::start(0, false);
    let running = Running::start(sending::dispatcher(&store, &provider, &server.base_url()));
    let goal = n as i64;
    let step = Duration::from_millis(500);
    let mut points = watch(store.paths().path.clone(), ACCEPTED, step, |value, passed| {
        value >= goal || passed > Duration::from_secs(180)
    })
    .await;
    running.stop().await;
    server.stop().await;
    assert_eq!(value(&dir, ACCEPTED), goal, "all were accepted");
    // The last step is cut off by the end of the queue.
    points.pop();
    bench.line("no limit: accepted", mean(&points), "/s").against(ceiling, "ratio ≥ 0.60");
    series::keep("rate", "unlimited", &points);
    series::keep("rate", "ceiling", &[(0.0, ceiling)]);
}

async fn launch(bench: &mut Bench, n: u64) {
    const BEFORE: Duration = Duration::from_secs(8);
    const ALL: Duration = Duration::from_secs(25);
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    people::add(&dir, n);
    let id = people::draft(&store).await;
    let server = webhooks::product(&store);
    let provider = Provider::start(0, false);
    let running = Running::start(sending::dispatcher(&store, &provider, &server.base_url()));
    let address = server.address;
    let load = tokio::spawn(load::run(Plan {
        address,
        connections: 16,
        until: Until::Time(ALL + Duration::from_secs(1)),
        pause: Duration::from_millis(5),
        request: Box::new(move |n| inbound_request(address, n, 10_000)),
    }));
    let path = store.paths().path.clone();
    let watched = tokio::spawn(watch(path, RECEIVED, Duration::from_millis(500), |_, passed| passed >= ALL));
    tokio::time::sleep(BEFORE).await;
    people::launch(&store, id).await;
    campaign::freeze_all(&store, &people::presets(), true).await.unwrap();
    let points = watched.await.unwrap();
    let outcome = load.await.unwrap();
    running.stop().await;
    server.stop().await;
    let before = BEFORE.as_secs_f64();
    let (quiet, busy): (Vec<_>, Vec<_>) = points.into_iter().partition(|(x, _)| *x <= before);
    bench.line("webhooks before the launch", mean(&quiet), "/s");
    bench.line("webhooks after the launch", mean(&busy), "/s");
    bench.line("webhooks, p99 of all", outcome.percentile(0.99), "ms");
    bench.target("≤ 100 ms");
    bench.line("webhooks refused", outcome.refused as f64, "rows");
    bench.target("0");
    series::keep("rate", "webhooks before", &quiet);
    series::keep("rate", "webhooks during", &busy);
}
