//! How exactly a limit is kept: grants as the store knows them and arrivals by the simulator's own clock, in real
//! time; and how soon a transactional message leaves while a large campaign drains at its limit.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::time::{Duration, Instant};

use event_stream_engine::campaign::{self, SingleMessage};
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::{Channel, Phone};
use event_stream_engine::store::Store;
use rusqlite::Connection;
use serde_json::{Map, Value};
use support::provider::{Provider, was_provider};
use support::sending::{self, Running, until};
use support::table::Bench;
use support::{clock, folder, open, people, runtime, value};

/// What Twilio takes for an answer, in milliseconds.
const LATENCY: u64 = 50;
const ACCEPTED: &str = "SELECT coalesce(sum(n), 0) FROM campaign_counts WHERE status = 'accepted'";

fn main() {
    if was_provider() {
        return;
    }
    let mut bench = Bench::start("rate");
    let seconds = if bench.is_quick { 5 } else { 25 };
    runtime().block_on(async {
        for rate in [1.0, 10.0, 80.0, 400.0, 1_500.0] {
            keep(&mut bench, rate, 1, seconds).await;
        }
        keep(&mut bench, 80.0, 2, seconds).await;
        overtake(&mut bench).await;
    });
    bench.note("mean: arrivals over the limit; windows: the fullest second, any second; counted in parts");
    bench.note("grants may be limit + max(1, 1 %), arrivals limit + max(2, 5 %)");
    bench.finish();
}

/// A frozen campaign of `n` people whose messages have so many parts.
async fn queued(dir: &tempfile::TempDir, n: u64, parts: usize) -> Store {
    let store = open(dir, &clock()).await;
    people::add(dir, n);
    let id = people::draft(&store).await;
    if parts > 1 {
        let body = "x".repeat(153 * parts - 1);
        let conn = Connection::open(store.paths().path.clone()).unwrap();
        conn.execute("UPDATE template_versions SET body = ?1", [body]).unwrap();
    }
    people::launch(&store, id).await;
    campaign::freeze_all(&store, &people::presets(), true).await.unwrap();
    store
}

/// Sends at `rate` parts a second and looks at both ends.
async fn keep(bench: &mut Bench, rate: f64, parts: usize, seconds: u64) {
    let n = (rate * seconds as f64 / parts as f64).ceil() as u64;
    let dir = folder();
    let store = queued(&dir, n, parts).await;
    let provider = Provider::start(LATENCY, false);
    let running = Running::start(sending::dispatcher_at(&store, &provider, "http://127.0.0.1:9", rate));
    until(&store.paths().path.clone(), ACCEPTED, n as i64).await;
    running.stop().await;
    let granted = granted(&store);
    let arrived = arrived(&provider).await;
    assert_eq!(arrived.len() as u64, n, "one request a message");
    let what = if parts > 1 { format!("{rate}/s, {parts} parts") } else { format!("{rate}/s") };
    let span = (arrived[arrived.len() - 1] - arrived[0]) as f64 / 1_000.0;
    let mean = (n - 1) as f64 * parts as f64 / span;
    bench.line(format!("{what}: mean"), mean, "/s").against(rate, "ratio 0.99 to 1.01");
    let most = rate + f64::max(1.0, rate * 0.01);
    let fullest = (fullest(&granted) * parts) as f64;
    bench.line(format!("{what}: fullest second, granted"), fullest, "").against(most, "ratio ≤ 1");
    let most = rate + f64::max(2.0, rate * 0.05);
    let fullest = (self::fullest(&arrived) * parts) as f64;
    bench.line(format!("{what}: fullest second, arrived"), fullest, "").against(most, "ratio ≤ 1");
}

/// When each claim was made, in milliseconds.
fn granted(store: &Store) -> Vec<i64> {
    let conn = Connection::open(store.paths().path.clone()).unwrap();
    let mut rows = conn.prepare("SELECT started_at FROM attempts ORDER BY started_at").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// When each request arrived, by the simulator's clock.
async fn arrived(provider: &Provider) -> Vec<i64> {
    let url = format!("{}/_control/messages", provider.base_url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let seen: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    let mut times: Vec<i64> = seen["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["created_ms"].as_i64().unwrap())
        .collect();
    times.sort_unstable();
    times
}

/// The most of any second.
fn fullest(times: &[i64]) -> usize {
    let (mut most, mut from) = (0, 0);
    for (to, time) in times.iter().enumerate() {
        while times[from] + 1_000 <= *time {
            from += 1;
        }
        most = most.max(to - from + 1);
    }
    most
}

/// A transactional message now and then, while a campaign drains at 80 a second.
async fn overtake(bench: &mut Bench) {
    let (n, tries) = if bench.is_quick { (10_000, 5) } else { (100_000, 20) };
    let dir = folder();
    let store = queued(&dir, n, 1).await;
    let provider = Provider::start(LATENCY, false);
    let running = Running::start(sending::dispatcher_at(&store, &provider, "http://127.0.0.1:9", 80.0));
    until(&store.paths().path.clone(), ACCEPTED, 100).await;
    let mut slowest: f64 = 0.0;
    for n in 0..tries {
        let message = SingleMessage {
            to: Phone::parse(&people::phone(n), None).unwrap().into(),
            from: None,
            channel: Channel::Sms,
            body: Some("Your code is 123456".to_owned()),
            media_urls: Vec::new(),
            template_id: None,
            variables: Map::new(),
            topic: None,
            kind: Kind::Transactional,
            reference: None,
            send_at: None,
            expires_at: None,
        };
        let start = Instant::now();
        let id = store
            .write(move |tx| campaign::send_single(tx, &message, &people::rules(), &people::setup(), "bench"))
            .await
            .unwrap();
        let accepted = format!("SELECT count(*) FROM messages WHERE id = {id} AND sid IS NOT NULL");
        while value(&dir, &accepted) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        slowest = slowest.max(start.elapsed().as_secs_f64());
    }
    assert!(value(&dir, ACCEPTED) < n as i64, "the campaign was over: nothing was overtaken");
    running.stop().await;
    bench
        .line(format!("transactional behind {n}: slowest"), slowest, "s")
        .target("≤ 1 s, 50 ms of it Twilio's");
}
