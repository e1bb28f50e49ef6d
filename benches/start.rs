//! A large file: from the start of the real server to `readyz`, after a clean stop and after SIGKILL with a
//! full log; the first read and the first webhook; and how far the log and the memory grow while readers
//! never leave the file alone.
//!
//! The file (10 GB, or about 0.5 GB with `--quick`) is made once and kept under `target/`; `ESE_START_MESSAGES`
//! asks for another size. Beside each figure stands the same exchange with an empty file.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use event_stream_engine::clock::Clock;
use event_stream_engine::store::{Store, StoreError, StorePaths, api_keys};
use rusqlite::{Connection, OpenFlags};
use secrecy::ExposeSecret;
use support::load::{self, Plan, Until, Wire};
use support::table::Bench;
use support::webhooks::inbound_request;
use support::{ACCOUNT, SENDER, TOKEN, runtime};

/// Messages of the full file; a tenth of it are people.
const MESSAGES: u64 = 10_000_000;
/// Messages of the quick one.
const QUICK_MESSAGES: u64 = 500_000;
/// Starts of each kind; the median counts.
const STARTS: usize = 5;
/// The log is filled to this before the kill: where the writer begins to move it into the file.
const FULL_LOG: u64 = 30 << 20;

fn main() {
    let mut bench = Bench::start("start");
    let asked = std::env::var("ESE_START_MESSAGES").ok().and_then(|text| text.parse().ok());
    let messages = asked.unwrap_or(if bench.is_quick { QUICK_MESSAGES } else { MESSAGES });
    let large = Place::large(messages);
    let small = Place::empty();
    bench.line("size of the file", large.megabytes("ese.db"), "MB");
    runtime().block_on(async {
        starts(&mut bench, &large, &small).await;
        kills(&mut bench, &large, &small).await;
        growth(&mut bench, &large).await;
    });
    bench.note("ceiling: the same with an empty file");
    bench.note("the page cache is warm: the file was read shortly before");
    bench.finish();
}

/// A folder with a data file and a configuration.
struct Place {
    dir: PathBuf,
    key: String,
}

impl Place {
    fn large(messages: u64) -> Place {
        let name = format!("start-{messages}");
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench").join(name);
        let done = dir.join("done");
        if !done.exists() {
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(&dir).unwrap();
            let began = Instant::now();
            make(&dir, messages);
            std::fs::write(done, "").unwrap();
            println!("  the file was made in {:.0} s", began.elapsed().as_secs_f64());
        }
        Place::at(dir)
    }

    fn empty() -> Place {
        Place::at(support::folder().keep())
    }

    fn at(dir: PathBuf) -> Place {
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\npublic_base_url = \"http://127.0.0.1:0\"\n\
             [store]\npath = \"{0}/ese.db\"\nkey_file = \"{0}/ese.key\"\n\
             [twilio]\naccount_sid = \"{ACCOUNT}\"\nauth_token = \"{TOKEN}\"\napi_base = \"http://127.0.0.1:9\"\n\
             [[senders]]\naddress = \"{SENDER}\"\nkind = \"long_code\"\n[log]\nlevel = \"error\"\n",
            dir.display()
        );
        std::fs::write(dir.join("own.toml"), text).unwrap();
        let mut place = Place { dir, key: String::new() };
        place.key = runtime().block_on(place.add_key());
        place
    }

    async fn add_key(&self) -> String {
        let store = Store::open(StorePaths::inside(&self.dir), Clock::system()).unwrap();
        let added = store.write::<_, _, StoreError>(|tx| {
            api_keys::insert(tx, "bench", &[api_keys::Scope::Read], None, "bench").map(|(_, secret)| secret)
        });
        let key = added.await.unwrap();
        store.close().await.unwrap();
        key.expose_secret().to_owned()
    }

    fn megabytes(&self, name: &str) -> f64 {
        std::fs::metadata(self.dir.join(name)).map_or(0.0, |data| data.len() as f64 / 1e6)
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.dir.join("ese.db-wal")).map_or(0, |data| data.len())
    }

    /// Starts the server and waits until `readyz` says 200. Returns how long that took.
    async fn serve(&self) -> (Server, Duration) {
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ese"))
            .arg("--config")
            .arg(self.dir.join("own.toml"))
            .arg("serve")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("http://").and_then(|(_, rest)| rest.split('/').next()?.parse().ok())
            })
            .expect("the greeting names the address");
        let server = Server { child, address };
        while server.get("/readyz", "").await != 200 {}
        (server, began.elapsed())
    }
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    async fn get(&self, path: &str, key: &str) -> u16 {
        let mut wire = Wire::connect(self.address).await;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {key}\r\n\r\n", self.address);
        wire.exchange(request.as_bytes()).await.0
    }

    async fn milliseconds(&self, path: &str, key: &str) -> f64 {
        let began = Instant::now();
        assert_eq!(self.get(path, key).await, 200, "{path}");
        began.elapsed().as_secs_f64() * 1e3
    }

    /// Megabytes in memory at most since the start.
    fn peak_memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kibibytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes / 1_024.0
    }

    fn end(mut self, signal: &str) -> Duration {
        let began = Instant::now();
        let told = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        self.child.wait().unwrap();
        began.elapsed()
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

async fn starts(bench: &mut Bench, large: &Place, small: &Place) {
    let mut figures = Vec::new();
    for place in [large, small] {
        let (mut ready, mut read, mut webhook, mut stop) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let (server, took) = place.serve().await;
            ready.push(took.as_secs_f64() * 1e3);
            read.push(server.milliseconds("/api/v1/messages?limit=50", &place.key).await);
            webhook.push(webhooks(&server, 1, 1).await.percentile(1.0));
            stop.push(server.end("-TERM").as_secs_f64() * 1e3);
            assert_eq!(place.log_bytes(), 0, "a stop leaves one file");
        }
        figures.push([ready, read, webhook, stop].map(median));
    }
    let names = ["start to readyz, after a clean stop", "first read", "first webhook", "clean stop"];
    let targets = ["≤ 500 ms", "", "", ""];
    for (n, name) in names.into_iter().enumerate() {
        bench.line(name, figures[0][n], "ms").against(figures[1][n], targets[n]);
    }
}

/// `count` webhooks from people, each with a SID of its own.
async fn webhooks(server: &Server, connections: usize, count: u64) -> load::Outcome {
    let address = server.address;
    let base: u64 = u64::from(rand::random::<u32>()) << 24;
    let request = Box::new(move |n| inbound_request(address, base + n, 100_000));
    let plan = Plan { address, connections, until: Until::Count(count), pause: Duration::ZERO, request };
    let outcome = load::run(plan).await;
    assert_eq!(outcome.answered, count);
    outcome
}

/// A log as full as it gets, then SIGKILL.
async fn kills(bench: &mut Bench, large: &Place, small: &Place) {
    let mut figures = Vec::new();
    let mut largest = 0;
    for place in [large, small] {
        let mut ready = Vec::new();
        for _ in 0..STARTS {
            let (server, _) = place.serve().await;
            while place.log_bytes() < FULL_LOG {
                webhooks(&server, 64, 2_000).await;
            }
            largest = largest.max(place.log_bytes());
            server.end("-KILL");
            let (server, took) = place.serve().await;
            ready.push(took.as_secs_f64() * 1e3);
            server.end("-TERM");
        }
        figures.push(median(ready));
    }
    bench.line("start to readyz, after SIGKILL", figures[0], "ms").against(figures[1], "≤ 2000 ms");
    bench.line("  with a log of", largest as f64 / 1e6, "MB");
}

/// Sustained writes beside readers that overlap, so that the log is never left alone.
async fn growth(bench: &mut Bench, place: &Place) {
    let (server, _) = place.serve().await;
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|n| {
            let (over, path) = (Arc::clone(&over), place.dir.join("ese.db"));
            std::thread::spawn(move || overlapping_snapshots(&path, n, &over))
        })
        .collect();
    let log = largest_log(place, &over);
    let address = server.address;
    let time = Duration::from_secs(if bench.is_quick { 15 } else { 60 });
    let base: u64 = u64::from(rand::random::<u32>()) << 24;
    let request = Box::new(move |n| inbound_request(address, base + n, 100_000));
    let plan = Plan { address, connections: 64, until: Until::Time(time), pause: Duration::ZERO, request };
    let outcome = load::run(plan).await;
    let memory = server.peak_memory();
    over.store(true, Ordering::SeqCst);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    bench.line("webhooks beside overlapping readers", outcome.per_second(), "/s");
    bench.line("  p99", outcome.percentile(0.99), "ms");
    bench.line("  longest", outcome.percentile(1.0), "ms");
    bench.line("  refused", outcome.refused as f64, "").target("0");
    bench.line("  the log at its largest", log.join().unwrap() as f64 / 1e6, "MB").target("≤ 100 MB");
    bench.line("  memory at its largest", memory, "MiB").target("≤ 120 MiB");
    server.end("-TERM");
}

/// Snapshots of half a second from another process's point of view, out of step with those of the others.
fn overlapping_snapshots(path: &Path, n: u64, over: &AtomicBool) {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).unwrap();
    std::thread::sleep(Duration::from_millis(170 * n));
    while !over.load(Ordering::SeqCst) {
        conn.execute_batch("BEGIN; SELECT count(*) FROM settings").unwrap();
        std::thread::sleep(Duration::from_millis(500));
        conn.execute_batch("COMMIT").unwrap();
    }
}

fn largest_log(place: &Place, over: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let (over, path) = (Arc::clone(over), place.dir.join("ese.db-wal"));
    std::thread::spawn(move || {
        let mut largest = 0;
        while !over.load(Ordering::SeqCst) {
            largest = largest.max(std::fs::metadata(&path).map_or(0, |data| data.len()));
            std::thread::sleep(Duration::from_millis(20));
        }
        largest
    })
}

/// A file as a year leaves it: campaigns that are over, each message with attempt, events and receipts.
fn make(dir: &Path, messages: u64) {
    let people = messages / 10;
    println!("  making a file of {messages} messages; this happens once");
    let paths = StorePaths::inside(dir);
    drop(Store::open(paths.clone(), Clock::system()).unwrap());
    let conn = Connection::open(&paths.path).unwrap();
    // The store is closed by a thread of its own, a moment after it was dropped.
    while conn.execute_batch("PRAGMA journal_mode = DELETE").is_err() {}
    conn.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA foreign_keys = OFF; PRAGMA cache_size = -1000000; PRAGMA temp_store = FILE;",
    )
    .unwrap();
    let late: Vec<(String, String)> = conn
        .prepare(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL
               AND tbl_name IN ('messages', 'attempts', 'events', 'receipts', 'inbound')",
        )
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (name, _) in &late {
        conn.execute_batch(&format!("DROP INDEX {name}")).unwrap();
    }
    conn.execute_batch(&format!(
        "{HEAD}
         INSERT INTO users (id, phone, country, consent, attributes, created_at, updated_at)
           WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {people})
           SELECT i + 1, printf('+1212%07d', 2000000 + i), 'US', 'opt_in',
                  jsonb_object('name', 'Person ' || i, 'city', 'City ' || (i % 1000), 'age', 18 + i % 60), 0, 0 FROM n;
         UPDATE user_counts SET n = {people} WHERE consent = 'opt_in';
         INSERT INTO messages (id, campaign_id, user_id, status, kind, channel, lane, due_at, attempts, sender_id,
                               body, parts, sid, last_event_id, created_at, accepted_at, sent_at, delivered_at)
           WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {messages})
           SELECT i + 1, i / {people} + 1, i % {people} + 1, 'delivered', 'marketing', 'sms', i / {people} + 1, 0, 1, 1,
                  'Hi Person ' || i || ', the plus offer of this week ends tonight. Reply STOP to leave.', 1,
                  printf('SM%032x', i), i * 3 + 3, 0, 0, 0, 0 FROM n;
         INSERT INTO attempts (message_id, number, sender_id, outcome, started_at, answered_at, http_status, sid, status)
           SELECT id, 1, 1, 'accepted', 0, 0, 201, sid, 'delivered' FROM messages;
         INSERT INTO events (type, at, user_id, campaign_id, message_id, previous_id)
           SELECT CASE n WHEN 1 THEN 'message.accepted' WHEN 2 THEN 'message.sent' ELSE 'message.delivered' END,
                  0, m.user_id, m.campaign_id, m.id, CASE n WHEN 1 THEN NULL ELSE (m.id - 1) * 3 + n - 1 END
           FROM messages m CROSS JOIN (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3);
         INSERT INTO receipts (sid, status, state, message_id, attempt, params, received_at)
           SELECT sid, 'delivered', 'done', id, 1,
                  '[[\"MessageSid\",\"' || sid || '\"],[\"MessageStatus\",\"delivered\"],[\"AccountSid\",\"{ACCOUNT}\"],'
                  || '[\"From\",\"{SENDER}\"],[\"ApiVersion\",\"2010-04-01\"]]', 0 FROM messages;
         INSERT INTO campaign_counts (campaign_id, status, n)
           SELECT campaign_id, status, count(*) FROM messages GROUP BY 1, 2;"
    ))
    .unwrap();
    for (_, sql) in &late {
        conn.execute_batch(sql).unwrap();
    }
    conn.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA locking_mode = NORMAL; SELECT 1").unwrap();
}

/// What the rows refer to.
const HEAD: &str = "
    INSERT INTO senders (id, address, kind, created_at) VALUES (1, '+14155550100', 'long_code', 0);
    INSERT INTO templates (id, name, created_at, updated_at) VALUES (1, 'offer', 0, 0);
    INSERT INTO segments (id, name, definition, created_at, updated_at) VALUES (1, 'all', '{\"all\":[]}', 0, 0);
    INSERT INTO campaigns (id, name, status, kind, channel, template_id, segment_id, created_at, updated_at)
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10)
      SELECT i, 'Offer ' || i, 'finished', 'marketing', 'sms', 1, 1, 0, 0 FROM n;";
