//! Sending: the product's dispatcher, and the one loop that makes the same requests and writes the same rows.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use event_stream_engine::app;
use event_stream_engine::config::Config;
use event_stream_engine::delivery::{Dispatcher, SenderLimits, Settings, UncertainRules};
use event_stream_engine::live::Live;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::store::Store;
use event_stream_engine::twilio::client::{Client, Credentials};
use rusqlite::Connection;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::bare::Group;
use super::load::{Wire, find};
use super::provider::Provider;
use super::{ACCOUNT, SENDER, TOKEN};

/// Requests at the same time: the product's default.
pub const IN_FLIGHT: usize = 256;
/// A rate that limits nothing.
const UNLIMITED: f64 = 1_000_000.0;

/// The product's dispatcher at `provider`, told to be called back at `base_url`.
pub fn dispatcher(store: &Store, provider: &Provider, base_url: &str) -> Dispatcher {
    dispatcher_at(store, provider, base_url, UNLIMITED)
}

/// The same with a sender that may send `rate` parts a second.
pub fn dispatcher_at(store: &Store, provider: &Provider, base_url: &str, rate: f64) -> Dispatcher {
    let client = Client::new(Credentials {
        account_sid: ACCOUNT.to_owned(),
        user: ACCOUNT.to_owned(),
        password: TOKEN.into(),
        api_base: provider.base_url().parse().unwrap(),
    });
    let limits = SenderLimits { rate_per_second: rate, recipients_per_day: None };
    let settings = Settings {
        account_rate_per_second: UNLIMITED,
        max_in_flight: IN_FLIGHT,
        max_attempts: 3,
        uncertain: UncertainRules { after: 120_000, resends: true },
        public_base_url: base_url.to_owned(),
        senders: HashMap::from([(SENDER.to_owned(), limits)]),
        rules: Arc::new(app::rules(&Config::load(None, []).unwrap().config)),
    };
    Dispatcher::new(store.clone(), client.unwrap(), Live::new(settings), Metrics::default())
}

/// A dispatcher at work.
pub struct Running {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub fn start(dispatcher: Dispatcher) -> Running {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(dispatcher.run(async {
            let _ = stopped.await;
        }));
        Running { stop, task }
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap();
    }
}

/// Waits until `sql` yields at least `n` and says how long that took; a minute without progress is an error.
pub async fn until(path: &Path, sql: &'static str, n: i64) -> f64 {
    let start = Instant::now();
    let conn = Connection::open(path).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    let (mut seen, mut moved) = (0, Instant::now());
    loop {
        let value: i64 = conn.prepare_cached(sql).unwrap().query_row([], |row| row.get(0)).unwrap();
        if value >= n {
            return start.elapsed().as_secs_f64();
        }
        if value != seen {
            (seen, moved) = (value, Instant::now());
        }
        assert!(moved.elapsed() < Duration::from_secs(60), "{sql}: stuck at {value} of {n}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

struct Row {
    id: i64,
    phone: String,
    body: String,
}

/// Takes the next queued rows: two statements each.
fn claim(conn: &Connection) -> Vec<Row> {
    let mut select = conn
        .prepare_cached(
            "SELECT m.id, u.phone FROM messages m JOIN users u ON u.id = m.user_id
             WHERE m.status = 'queued' AND m.lane = 1 ORDER BY m.closes_at, m.due_at, m.id LIMIT 64",
        )
        .unwrap();
    let rows: Vec<Row> = select
        .query_map([], |row| {
            let id: i64 = row.get(0)?;
            let body = format!("Hi Person {}, the basic offer ends tonight. Reply STOP to leave.", id - 1);
            Ok(Row { id, phone: row.get(1)?, body })
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for row in &rows {
        conn.prepare_cached(
            "UPDATE messages SET status = 'sending', attempts = 1, sender_id = 1, body = ?2, parts = 1 WHERE id = ?1",
        )
        .unwrap()
        .execute((row.id, &row.body))
        .unwrap();
        conn.prepare_cached(
            "INSERT INTO attempts (message_id, number, sender_id, started_at) VALUES (?1, 1, 1, 0)",
        )
        .unwrap()
        .execute([row.id])
        .unwrap();
    }
    rows
}

/// Notes an acceptance: three statements.
fn accepted(conn: &Connection, id: i64, sid: &str) {
    conn.prepare_cached(
        "UPDATE attempts SET outcome = 'accepted', answered_at = 0, http_status = 201, sid = ?2, status = 'queued'
         WHERE message_id = ?1 AND number = 1",
    )
    .unwrap()
    .execute((id, sid))
    .unwrap();
    conn.prepare_cached(
        "INSERT INTO events (type, at, user_id, campaign_id, message_id, data)
         VALUES ('message.accepted', 0, ?1, 1, ?1, ?2)",
    )
    .unwrap()
    .execute((id, format!("{{\"sid\":\"{sid}\"}}")))
    .unwrap();
    let event = conn.last_insert_rowid();
    // A callback may have overtaken the answer.
    conn.prepare_cached(
        "UPDATE messages SET status = CASE status WHEN 'sending' THEN 'accepted' ELSE status END, sid = ?2,
           last_event_id = ?3, accepted_at = 0
         WHERE id = ?1",
    )
    .unwrap()
    .execute((id, sid, event))
    .unwrap();
}

fn request(address: SocketAddr, base_url: &str, row: &Row) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    let callback =
        format!("{base_url}/webhooks/twilio/status?message={}&attempt=1#rc=2&rp=5xx,ct,rt", row.id);
    form.append_pair("To", &row.phone);
    form.append_pair("From", SENDER);
    form.append_pair("StatusCallback", &callback);
    form.append_pair("ValidityPeriod", "36000");
    form.append_pair("Body", &row.body);
    let body = form.finish();
    let authorization = base64::engine::general_purpose::STANDARD.encode(format!("{ACCOUNT}:{TOKEN}"));
    format!(
        "POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n\
         Authorization: Basic {authorization}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The ceiling: claims, sends and records everything that is queued in `path`; as many requests in flight as
/// the product allows itself. Returns when `n` are accepted.
pub async fn bare(group: &Group, n: usize, address: SocketAddr, base_url: &str) {
    let (rows, queue) = mpsc::channel::<Row>(64);
    let queue = Arc::new(Mutex::new(queue));
    let mut tasks = Vec::new();
    for _ in 0..IN_FLIGHT.min(n) {
        let (group, queue, base_url) = (group.clone(), queue.clone(), base_url.to_owned());
        tasks.push(tokio::spawn(async move {
            let mut wire = Wire::connect(address).await;
            loop {
                let Some(row) = queue.lock().await.recv().await else { return };
                let (status, answer) = wire.exchange(&request(address, &base_url, &row)).await;
                assert_eq!(status, 201, "{}", String::from_utf8_lossy(answer));
                let at = find(answer, b"\"sid\":\"").unwrap() + 7;
                let sid = String::from_utf8_lossy(&answer[at..at + 34]).into_owned();
                group.write(move |conn| accepted(conn, row.id, &sid)).await;
            }
        }));
    }
    loop {
        let claimed = group.write(claim).await;
        if claimed.is_empty() {
            break;
        }
        for row in claimed {
            rows.send(row).await.unwrap();
        }
    }
    drop(rows);
    for task in tasks {
        task.await.unwrap();
    }
}
