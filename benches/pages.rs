//! The admin pages as an operator's browser asks for them, over real HTTP, in a file with a past; at rest, and while
//! somebody writes messages and receipts beside. The file is made once and kept under `target/`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use event_stream_engine::store::{Store, StoreError, StorePaths, operators, sessions};
use secrecy::ExposeSecret;
use support::load::{self, Outcome, Plan, Until, Wire};
use support::table::Bench;
use support::{clock, history, runtime, webhooks};

/// Bytes of HTML that a page may have.
const MOST_BYTES: usize = 100 * 1024;

fn main() {
    let mut bench = Bench::start("pages");
    let messages = if bench.is_quick { 100_000 } else { 10_000_000 };
    runtime().block_on(one_size(&mut bench, messages));
    bench.note("two connections at the same time, 200 requests of each page; HTML is what one answer had");
    bench.note("busy: webhooks of inbound messages come in beside, as fast as one connection brings them");
    bench.finish();
}

/// The folder of the file: made by the first run, used by those after it.
async fn file(messages: u64) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("target/bench-pages-{messages}"));
    let done = dir.join("done");
    if !done.exists() {
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        history::make(&dir, &clock(), messages).await;
        std::fs::write(done, "").unwrap();
    }
    dir
}

async fn session(store: &Store) -> String {
    let begun = store.write::<_, _, StoreError>(|tx| {
        operators::insert(tx, "bench@example.com", "no password", "admin")?;
        let operator = operators::find_by_email(tx.conn(), "bench@example.com")?.unwrap();
        sessions::begin(tx, operator.id)
    });
    begun.await.unwrap().expose_secret().to_owned()
}

fn pages(messages: u64) -> Vec<(&'static str, String)> {
    let person = history::people_of(messages) / 2;
    let page = |name, path: &str| (name, format!("/admin{path}"));
    vec![
        page("dashboard", ""),
        page("inbox", "/inbox"),
        page("campaigns", "/campaigns"),
        page("campaign", "/campaigns/2"),
        page("people of a campaign", "/campaigns/2/messages"),
        page("people", "/users"),
        page("people by name", "/users?q=ann"),
        page("people by number", "/users?q=1415"),
        page("people by consent", "/users?consent=opt_in"),
        page("person", &format!("/users/{person}")),
        page("segments", "/segments"),
        page("attributes", "/segments/attributes"),
        page("imports", "/imports"),
        page("templates", "/templates"),
        page("monitoring", "/monitoring"),
        page("events", "/monitoring/events"),
        page("settings", "/settings/setup"),
        page("audit", "/settings/audit"),
    ]
}

async fn one_size(bench: &mut Bench, messages: u64) {
    let dir = file(messages).await;
    let clock = clock();
    assert!(StorePaths::inside(&dir).path.exists());
    let store = support::open_at(&dir, &clock).await;
    let token = session(&store).await;
    let server = webhooks::product(&store);
    for (name, path) in pages(messages) {
        let (outcome, length) = measure(server.address, &token, &path).await;
        bench.line(format!("{name}: p50"), outcome.percentile(0.5), "ms");
        bench.line(format!("{name}: p99"), outcome.percentile(0.99), "ms");
        bench.target("≤ 50 ms");
        bench.line(format!("{name}: HTML"), length as f64 / 1024.0, "KiB");
        assert!(length <= MOST_BYTES, "{name} has {length} bytes");
    }
    let busy = Busy::start(server.address, history::people_of(messages));
    for (name, path) in pages(messages) {
        let (outcome, _) = measure(server.address, &token, &path).await;
        bench.line(format!("{name}, busy: p99"), outcome.percentile(0.99), "ms");
        bench.target("≤ 50 ms");
    }
    busy.stop().await;
    server.stop().await;
}

async fn measure(address: SocketAddr, token: &str, path: &str) -> (Outcome, usize) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: ese_session={token}\r\n\r\n");
    let length = {
        let mut wire = Wire::connect(address).await;
        let (status, answer) = wire.exchange(request.as_bytes()).await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(answer));
        answer.len()
    };
    let outcome = load::run(Plan {
        address,
        connections: 2,
        until: Until::Count(200),
        pause: Duration::ZERO,
        request: Box::new(move |_| request.clone().into_bytes()),
    })
    .await;
    assert_eq!(outcome.refused, 0, "{path}");
    (outcome, length)
}

/// Inbound messages on one connection until it is stopped.
struct Busy {
    is_over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Busy {
    fn start(address: SocketAddr, people: u64) -> Busy {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let first = rand::random::<u32>();
        let task = tokio::spawn(async move {
            let mut wire = Wire::connect(address).await;
            while !over.load(Ordering::Relaxed) {
                let n = u64::from(first) * 1_000_000 + NEXT.fetch_add(1, Ordering::Relaxed);
                let (status, _) = wire.exchange(&webhooks::inbound_request(address, n, people)).await;
                assert!(status < 300, "{status}");
            }
        });
        Busy { is_over, task }
    }

    async fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}
