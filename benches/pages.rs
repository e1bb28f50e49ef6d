//! The admin pages as an operator's browser asks for them, over real HTTP, in a file with a past; at rest, and while
//! a campaign is sent and people write. The file is made once and kept under `target/`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use event_stream_engine::campaign;
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::store::campaigns::{self, CampaignPlan};
use event_stream_engine::store::templates::{self, TemplateText};
use event_stream_engine::store::{Store, StoreError, StorePaths, operators, search, segments, sessions};
use secrecy::ExposeSecret;
use serde_json::json;
use support::load::{self, Outcome, Plan, Until, Wire};
use support::provider::{Provider, was_provider};
use support::sending::{self, Running};
use support::table::Bench;
use support::{bare, clock, history, people, runtime, webhooks};

/// First names, and beginnings of last names.
const NAMES: [&str; 40] = [
    "ann", "omar", "mei", "lucia", "john", "fatima", "pablo", "nina", "kofi", "hana", "ivan", "sara", "ravi",
    "elena", "tom", "aisha", "lars", "priya", "david", "chloe", "noah", "maria", "ali", "sofia", "james",
    "yuki", "amir", "laura", "daniel", "grace", "leo", "zoe", "adam", "emma", "hugo", "lina", "felix",
    "nora", "oscar", "ruth",
];
/// How long the provider takes for a request, in milliseconds.
const LATENCY: u64 = 60;
/// Parts a second of the campaign that is sent meanwhile.
const RATE: f64 = 80.0;
/// Bytes of HTML that a page may have.
const MOST_BYTES: usize = 100 * 1024;

fn main() {
    if was_provider() {
        return;
    }
    let mut bench = Bench::start("pages");
    let messages = if bench.is_quick { 100_000 } else { 10_000_000 };
    runtime().block_on(one_size(&mut bench, messages));
    bench.note("two connections at the same time, 200 requests of each page; HTML is what one answer had");
    bench.note("busy: a campaign is sent at 80 parts a second with its callbacks, and webhooks of inbound messages come in as fast as one connection brings them");
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
        name_people(&dir).await;
        std::fs::write(done, "").unwrap();
    }
    dir
}

/// Gives everybody one of 40 × 250 names and puts those into the index, as the server does beside its work.
async fn name_people(dir: &Path) {
    let store = support::open_at(dir, &clock()).await;
    let conn = bare::connect(&store.paths().path);
    conn.execute(
        "UPDATE users SET search_words = (SELECT value FROM json_each(?1) WHERE key = users.id % 40)
           || ' ' || (SELECT value FROM json_each(?1) WHERE key = users.id / 40 % 40) || (users.id / 1600 % 7)
           || ' ' || substr(phone, -4)",
        [serde_json::to_string(&NAMES[..]).unwrap()],
    )
    .unwrap();
    drop(conn);
    while store.write::<_, _, StoreError>(|tx| search::catch_up(tx, 5_000)).await.unwrap() {}
    store.close().await.unwrap();
}

/// A campaign of 20,000 people that is sent while pages are asked for.
struct Sending {
    id: i64,
    running: Running,
    provider: Provider,
}

impl Sending {
    async fn start(store: &Store, base_url: &str) -> Sending {
        let text = TemplateText::plain(Channel::Sms, "Hi {name}, the {plan} offer ends tonight.");
        let name = format!("Sent meanwhile, {}", rand::random::<u32>());
        let id = store
            .write::<_, _, StoreError>(move |tx| {
                let template = templates::insert(tx, &name, &text)?;
                let rule = json!({"attribute": "cohort", "operator": "lt", "value": 10});
                let segment = segments::insert(tx, &name, &rule)?;
                campaigns::insert(
                    tx,
                    &CampaignPlan { topic_id: Some(1), ..CampaignPlan::new(&name, segment, template) },
                )
            })
            .await
            .unwrap();
        people::launch(store, id).await;
        campaign::freeze_all(store, &people::presets(), true).await.unwrap();
        let provider = Provider::start(LATENCY, true);
        let running = Running::start(sending::dispatcher_at(store, &provider, base_url, RATE));
        Sending { id, running, provider }
    }

    async fn stop(self, store: &Store) {
        let id = self.id;
        self.running.stop().await;
        drop(self.provider);
        store.write(move |tx| campaign::pause(tx, id, "bench")).await.unwrap();
    }
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
    let sending = Sending::start(&store, &server.base_url()).await;
    let busy = Busy::start(server.address, history::people_of(messages));
    let running = ("running campaign", format!("/admin/campaigns/{}", sending.id));
    for (name, path) in pages(messages).into_iter().chain([running]) {
        let (outcome, _) = measure(server.address, &token, &path).await;
        bench.line(format!("{name}, busy: p99"), outcome.percentile(0.99), "ms");
        bench.target("≤ 50 ms");
    }
    busy.stop().await;
    sending.stop(&store).await;
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
