//! What comes to the server all the while: signed messages, signed receipts, API writes, reads. Each answer
//! is remembered, and what was answered with a 2xx is looked for in the file.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_stream_engine::twilio::signature::sign;
use rusqlite::Connection;

use super::Place;

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    Message,
    Receipt,
    Person,
    Read,
}

impl Ask {
    pub const WRITES: [Ask; 3] = [Ask::Message, Ask::Receipt, Ask::Person];
}

/// What was answered so far.
#[derive(Default)]
pub struct Record {
    /// How often each status was answered.
    tally: BTreeMap<(Ask, u16), u64>,
    /// Message SIDs of people's messages, with the number if it was a STOP.
    messages: Vec<(String, Option<String>)>,
    receipts: Vec<String>,
    people: Vec<String>,
    /// Answers that nobody should get.
    problems: Vec<String>,
}

/// Requests without end, until dropped.
pub struct Traffic {
    record: Arc<Mutex<Record>>,
    is_over: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

#[derive(Clone)]
struct Caller {
    client: reqwest::Client,
    base: String,
    key: String,
    account: String,
    token: String,
    record: Arc<Mutex<Record>>,
    next: Arc<AtomicU64>,
}

impl Traffic {
    /// Begins to call the server of `place`. It may come and go: a broken connection is no answer.
    pub fn start(place: &Place) -> Traffic {
        let record = Arc::new(Mutex::new(Record::default()));
        let is_over = Arc::new(AtomicBool::new(false));
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let caller = Caller {
            client,
            base: place.url(""),
            key: place.key.clone(),
            account: place.account.clone(),
            token: place.token.clone(),
            record: Arc::clone(&record),
            next: Arc::new(AtomicU64::new(1)),
        };
        let asks = [Ask::Message, Ask::Message, Ask::Receipt, Ask::Person, Ask::Read];
        let tasks = asks.map(|ask| {
            let (caller, is_over) = (caller.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    caller.call(ask).await;
                    // Enough to keep the server busy, and the machine free for it.
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            })
        });
        Traffic { record, is_over, tasks: tasks.into() }
    }

    /// How often `ask` was answered with a status that `is_meant`.
    pub fn count(&self, ask: Ask, is_meant: impl Fn(u16) -> bool) -> u64 {
        let record = self.record.lock().unwrap();
        record.tally.iter().filter(|((of, status), _)| *of == ask && is_meant(*status)).map(|(_, n)| n).sum()
    }

    pub fn taken(&self, ask: Ask) -> u64 {
        self.count(ask, |status| status < 300)
    }

    pub fn refused(&self, ask: Ask) -> u64 {
        self.count(ask, |status| status == 503)
    }

    /// Waits until each of `asks` was counted `more` times again by `count`.
    pub async fn until_more(
        &self,
        what: &str,
        asks: &[Ask],
        more: u64,
        count: impl Fn(&Traffic, Ask) -> u64,
    ) {
        let goals: Vec<(Ask, u64)> = asks.iter().map(|ask| (*ask, count(self, *ask) + more)).collect();
        let end = std::time::Instant::now() + super::PATIENCE;
        while !goals.iter().all(|(ask, goal)| count(self, *ask) >= *goal) {
            assert!(std::time::Instant::now() < end, "{what}: {:?}", self.record.lock().unwrap().tally);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it, compares for the last time, and tells what was answered how often.
    pub async fn end_and_check(mut self, conn: &Connection) -> String {
        self.is_over.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        self.check(conn);
        format!("{:?}", self.record.lock().unwrap().tally)
    }

    /// Everything that was answered with a 2xx up to now is in the file, and nobody got an answer that
    /// nobody should get.
    pub fn check(&self, conn: &Connection) {
        let record = self.record.lock().unwrap();
        assert!(record.problems.is_empty(), "{:#?}", &record.problems[..record.problems.len().min(5)]);
        let all = |sql: &str| -> HashSet<String> {
            conn.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let kept = all("SELECT message_sid FROM inbound WHERE state = 'done'");
        let stopped = all("SELECT phone FROM users WHERE consent = 'stop'");
        for (sid, stop) in &record.messages {
            assert!(kept.contains(sid), "message {sid} was answered with a 2xx and is not in the file");
            assert!(stop.iter().all(|phone| stopped.contains(phone)), "a STOP of {stop:?} was lost");
        }
        let kept = all("SELECT sid FROM receipts");
        for sid in &record.receipts {
            assert!(kept.contains(sid), "receipt {sid} was answered with a 2xx and is not in the file");
        }
        let kept = all("SELECT phone FROM users");
        for phone in &record.people {
            assert!(kept.contains(phone), "{phone} was answered with a 2xx and is not in the file");
        }
    }

    /// How many 2xx there were to anything that writes.
    pub fn promises(&self) -> u64 {
        Ask::WRITES.iter().map(|ask| self.taken(*ask)).sum()
    }
}

impl Caller {
    async fn call(&self, ask: Ask) {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        match ask {
            Ask::Message => self.message(n).await,
            Ask::Receipt => self.receipt(n).await,
            Ask::Person => self.person(n).await,
            Ask::Read => self.read(n).await,
        }
    }

    /// A message from somebody new; every third one is a STOP.
    async fn message(&self, n: u64) {
        let (sid, phone) = (format!("SM{n:032x}"), format!("+1212{:07}", 3_000_000 + n));
        let body = if n.is_multiple_of(3) { "STOP" } else { "When do you open?" };
        let form = [("MessageSid", sid.as_str()), ("From", &phone), ("To", "+18885550100"), ("Body", body)];
        if self.webhook(Ask::Message, "/webhooks/twilio/inbound", &form).await {
            let stop = (body == "STOP").then_some(phone.clone());
            self.record.lock().unwrap().messages.push((sid, stop));
        }
    }

    /// News of a message that somebody else sent: kept as unmatched.
    async fn receipt(&self, n: u64) {
        let sid = format!("SM{n:031x}f");
        let form = [("MessageSid", sid.as_str()), ("MessageStatus", "delivered"), ("To", "+12125550101")];
        if self.webhook(Ask::Receipt, "/webhooks/twilio/status", &form).await {
            self.record.lock().unwrap().receipts.push(sid);
        }
    }

    async fn person(&self, n: u64) {
        let phone = format!("+1312{:07}", 3_000_000 + n);
        let body = serde_json::json!({"phone": phone, "attributes": {"name": format!("P{n}")}});
        let request = self.client.post(format!("{}/api/v1/users", self.base)).json(&body);
        if self.send(Ask::Person, request.bearer_auth(&self.key)).await {
            self.record.lock().unwrap().people.push(phone);
        }
    }

    async fn read(&self, n: u64) {
        let paths = [
            "/healthz",
            "/api/v1/users?limit=5",
            "/api/v1/campaigns/1/report",
            "/api/v1/events?after=0&limit=5",
        ];
        let path = paths[n as usize % paths.len()];
        let request = self.client.get(format!("{}{path}", self.base));
        self.send(Ask::Read, request.bearer_auth(&self.key)).await;
    }

    async fn webhook(&self, ask: Ask, path: &str, form: &[(&str, &str)]) -> bool {
        let mut params: Vec<(String, String)> =
            form.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        params.push(("AccountSid".to_owned(), self.account.clone()));
        let url = format!("{}{path}", self.base);
        let signature = sign(&self.token, &url, &params);
        self.send(ask, self.client.post(url).header("x-twilio-signature", signature).form(&params)).await
    }

    /// Sends a request and remembers its answer. True for a 2xx.
    async fn send(&self, ask: Ask, request: reqwest::RequestBuilder) -> bool {
        let Ok(answer) = request.send().await else {
            // The server is being killed or is not there yet.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return false;
        };
        let status = answer.status();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let is_told_well = header("content-type").as_deref() == Some("application/problem+json")
            && header("retry-after").is_some();
        let mut record = self.record.lock().unwrap();
        *record.tally.entry((ask, status.as_u16())).or_default() += 1;
        if !(status.is_success() || status.as_u16() == 503 && is_told_well) {
            record.problems.push(format!("{ask:?}: {status}, Retry-After and problem: {is_told_well}"));
        }
        status.is_success()
    }
}

/// `GET path`, without a key: the status.
pub async fn get(place: &Place, path: &str) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(place.url(path)).send().await.unwrap().status().as_u16()
}
