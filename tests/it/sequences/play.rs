//! How each step is carried out.

use std::time::{Duration, Instant};

use actix_web::http::Method;
use event_stream_engine::campaign;
use event_stream_engine::import::{self, NewImport, Options, Pace, Spool};
use event_stream_engine::simulator::{ErrorFault, Faults};
use serde_json::json;

use super::step::{Fault, MOST_CAMPAIGNS, Step};
use super::world::{World, silent};
use crate::support::{SENDER, WHATSAPP_SENDER, presets};

/// What people write.
const TEXTS: [&str; 10] = [
    "STOP",
    "Stop.",
    "START",
    "YES",
    "hello",
    "please stop writing to me",
    "STOP news",
    "SUBSCRIBE news",
    "HELP",
    "STOP",
];
const STATES: [&str; 4] = ["opt_in", "unknown", "opt_out", "stop"];
/// Words of a consent column: clear, unclear, blank.
const CONSENTS: [&str; 6] = ["opt_in", "yes", "no", "stop", "perhaps", ""];

impl World {
    /// Carries out a step, and notes whom it put into `stop`.
    pub(super) async fn take(&mut self, step: &Step) {
        match step {
            Step::Crash => self.crash().await,
            Step::CrashDuring(step, moments) => {
                let is_over = tokio::select! {
                    biased;
                    () = pass(*moments) => false,
                    () = self.carry_out(step) => true,
                };
                self.simulator.set_faults(silent());
                if !is_over || moments.is_multiple_of(2) {
                    self.crash().await;
                }
            }
            step => self.carry_out(step).await,
        }
        self.note_stops(step);
    }

    fn note_stops(&mut self, step: &Step) {
        let now = Instant::now();
        let in_stop: Vec<String> =
            self.values("SELECT phone FROM users WHERE consent = 'stop' AND phone IS NOT NULL");
        let left: Vec<String> =
            self.stopped.keys().filter(|phone| !in_stop.contains(phone)).cloned().collect();
        for gone in left {
            assert!(self.may_leave_stop(step, &gone), "{gone} left stop by {step:?}");
            self.stopped.remove(&gone);
        }
        for phone in in_stop {
            self.stopped.entry(phone).or_insert(now);
        }
    }

    async fn carry_out(&mut self, step: &Step) {
        match step {
            Step::Import { rows, mode } => self.import(rows, *mode).await,
            Step::Launch(n) => self.act(*n, "launch").await,
            Step::Pause(n) => self.act(*n, "pause").await,
            Step::Resume(n) => self.act(*n, "resume").await,
            Step::Cancel(n) => self.act(*n, "cancel").await,
            Step::RetryFailed(n) => self.act(*n, "retry-failed").await,
            Step::CloneAndLaunch(n) => self.clone_and_launch(*n).await,
            Step::TestSend(campaign, person) => {
                if let Some(id) = self.campaigns.get(*campaign) {
                    let body = json!({"phones": [self.phone(*person)]});
                    self.api(Method::POST, &format!("/campaigns/{id}/test"), Some(body)).await;
                }
            }
            Step::Text { person, words, is_doubled } => self.text(*person, *words, *is_doubled).await,
            Step::Consent(person, state) => {
                let body = json!({"state": STATES[usize::from(*state) % 4], "source": "test"});
                self.api(Method::POST, &format!("/users/{}/consent", self.phone(*person)), Some(body)).await;
            }
            Step::Topic(person, joins) => {
                let method = if *joins { Method::PUT } else { Method::DELETE };
                self.api(method, &format!("/users/{}/topics/news", self.phone(*person)), None).await;
            }
            Step::Single { person, is_marketing, minutes } => {
                let kind = if *is_marketing { "marketing" } else { "transactional" };
                let send_at = rfc3339(self.clock.now() + minutes * 60_000);
                let body = json!({"to": self.phone(*person), "channel": "sms", "body": "Hi", "kind": kind,
                    "send_at": send_at});
                self.api(Method::POST, "/messages", Some(body)).await;
            }
            Step::CancelSingle(n) => {
                let ids: Vec<i64> = self.values("SELECT id FROM messages WHERE campaign_id IS NULL");
                if let Some(id) = ids.get(n % ids.len().max(1)) {
                    self.api(Method::POST, &format!("/messages/{id}/cancel"), None).await;
                }
            }
            Step::Erase(person) => {
                self.api(Method::DELETE, &format!("/users/{}", self.phone(*person)), None).await;
            }
            Step::Tick { fault, count } => {
                self.simulator.set_faults(faults(*fault, *count));
                self.tick().await;
                self.simulator.set_faults(silent());
            }
            Step::Receipts { which, from, many } => self.receipts(*which, *from, *many).await,
            Step::Clock(seconds) => self.let_pass(seconds * 1_000),
            Step::LookAfter => self.look_after().await,
            Step::Crash | Step::CrashDuring(..) => self.crash().await,
        }
    }

    /// An action of a campaign; in the wrong state it is refused, and that is all.
    async fn act(&mut self, campaign: usize, action: &str) {
        if let Some(id) = self.campaigns.get(campaign) {
            let (status, body) = self.api(Method::POST, &format!("/campaigns/{id}/{action}"), None).await;
            assert!(matches!(status, 200 | 202 | 409), "{action}: {status} {body}");
        }
    }

    async fn clone_and_launch(&mut self, campaign: usize) {
        let Some(id) = self.campaigns.get(campaign).filter(|_| self.campaigns.len() < MOST_CAMPAIGNS) else {
            return;
        };
        let (_, body) = self.api(Method::POST, &format!("/campaigns/{id}/clone"), None).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        self.campaigns.push(body["id"].as_i64().unwrap());
        self.act(self.campaigns.len() - 1, "launch").await;
    }

    async fn import(&mut self, rows: &[(usize, u8)], mode: u8) {
        let mut file = "phone,consent,name\n".to_owned();
        for (person, word) in rows {
            let consent = CONSENTS[usize::from(*word) % CONSENTS.len()];
            file.push_str(&format!("{},{consent},N{word}\n", self.phone(*person)));
        }
        let options = match mode % 5 {
            0 => json!({}),
            1 => json!({"mode": "replace"}),
            2 => json!({"mode": "skip_existing"}),
            3 => json!({"mode": "suppress"}),
            _ => {
                json!({"consent": {"state": "opt_in", "source": "form", "evidence": "signed", "loosen": true}})
            }
        };
        let mut spool = Spool::create(&import::spool_dir(self.store().paths()), 1 << 20).unwrap();
        spool.write(file.as_bytes()).unwrap();
        let import = NewImport {
            file_name: "people.csv".to_owned(),
            file: spool.finish().unwrap(),
            options: Options::parse(&options).unwrap(),
            actor: "key:1".to_owned(),
        };
        self.store().write(move |tx| import::queue(tx, &import)).await.unwrap();
        import::run_queued(self.store(), &Pace::default()).await.unwrap();
    }

    async fn text(&mut self, person: usize, words: u8, is_doubled: bool) {
        self.texts.set(self.texts.get() + 1);
        let sid = format!("SM{:032x}", self.texts.get());
        let (prefix, to) =
            if words.is_multiple_of(3) { ("whatsapp:", WHATSAPP_SENDER) } else { ("", SENDER) };
        let from = format!("{prefix}{}", self.phone(person));
        let form = [
            ("MessageSid", sid.as_str()),
            ("From", &from),
            ("To", to),
            ("Body", TEXTS[usize::from(words) % TEXTS.len()]),
        ];
        for _ in 0..=u8::from(is_doubled) {
            assert_eq!(self.webhook("/webhooks/twilio/inbound", &form).await.0, 200);
        }
    }

    /// Out of `stop` leads only the person, or their erasure.
    fn may_leave_stop(&self, step: &Step, gone: &str) -> bool {
        match step {
            Step::Text { person, .. } | Step::Erase(person) => self.phone(*person) == gone,
            Step::CrashDuring(step, _) => self.may_leave_stop(step, gone),
            // A START that was kept and is replayed.
            Step::LookAfter => true,
            _ => false,
        }
    }

    /// What the background loops and the dispatcher do in a moment.
    pub(super) async fn tick(&mut self) -> usize {
        import::run_queued(self.store(), &Pace::default()).await.unwrap();
        campaign::freeze_all(self.store(), &presets(), true).await.unwrap();
        self.store().plan_changed();
        let mut worked = 0;
        for _ in 0..2 {
            // Limiters start empty: the first look makes them.
            self.let_pass(25);
            let tick = self.dispatcher().tick().await.unwrap();
            self.dispatcher().settle().await;
            worked += tick.claimed + tick.refused;
        }
        let setup = self.setup.clone();
        campaign::tick(self.store(), &setup).await.unwrap();
        worked
    }

    async fn receipts(&mut self, which: usize, from: u8, many: u8) {
        self.simulator.wait_until_quiet().await;
        let taken = self.taken();
        if taken.is_empty() {
            return;
        }
        let (message, attempt, record) = &taken[which % taken.len()];
        for n in 0..many {
            self.receipt(
                *message,
                *attempt,
                record,
                usize::from(from / 7) + usize::from(n) * usize::from(from),
            )
            .await;
        }
    }

    /// One word of what Twilio has to tell about a message; `n` in any order.
    pub(super) async fn receipt(
        &self,
        message: i64,
        attempt: u32,
        record: &event_stream_engine::simulator::MessageRecord,
        n: usize,
    ) {
        let end = record.status.as_str();
        let words = match end {
            "read" => vec!["queued", "sent", "delivered", "read", "frobnicated"],
            "failed" => vec!["queued", "failed", "frobnicated"],
            end => vec!["queued", "sending", "sent", end, "frobnicated"],
        };
        let word = words[n % words.len()];
        let code = record.error_code.map(|code| code.to_string()).unwrap_or_default();
        let mut form = vec![("MessageSid", record.sid.as_str()), ("MessageStatus", word)];
        if word == end && !code.is_empty() {
            form.push(("ErrorCode", &code));
        }
        let path = format!("/webhooks/twilio/status?message={message}&attempt={attempt}");
        assert_eq!(self.webhook(&path, &form).await.0, 200);
    }
}

fn rfc3339(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).unwrap().to_string()
}

fn faults(fault: Fault, count: u64) -> Faults {
    let all = |is_it: bool| if is_it { 100.0 } else { 0.0 };
    let code = match fault {
        Fault::Code(code) => vec![ErrorFault { code, count: Some(count), ..ErrorFault::default() }],
        _ => Vec::new(),
    };
    let mut faults = Faults {
        rate_429_percent: all(fault == Fault::Busy),
        error_500_after_accept_percent: all(fault == Fault::LostAfterAccept),
        error_500_before_percent: all(fault == Fault::LostBefore),
        drop_connection_percent: all(fault == Fault::Dropped),
        errors: code,
        ..silent()
    };
    // The count bounds everything, the silence of callbacks too, so codes have one of their own.
    if !matches!(fault, Fault::None | Fault::Code(_)) {
        faults.count = Some(count);
    }
    faults
}

/// So many moments.
async fn pass(moments: u16) {
    for _ in 0..moments {
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_micros(20));
    }
}
