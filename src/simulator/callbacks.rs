//! Webhooks out: status callbacks and inbound messages, signed, retried as the URL's fragment
//! says (<https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides>), remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::message::{Direction, Message, Status, rfc_3339};
use super::options::Options;
use super::state::{Change, bare};
use super::{Inner, chance, errors, now_millis};
use crate::twilio::signature::{SIGNATURE_HEADER, sign};

/// Longest answer that is read: TwiML over 64 kB is refused anyway.
const LONGEST_ANSWER: usize = 64 * 1024;

/// One webhook that was sent, and what came back: an element of `GET /_control/callbacks`.
#[derive(Clone, Debug, Serialize)]
pub struct CallbackRecord {
    /// `status` or `inbound`.
    pub kind: &'static str,
    /// The URL that was called, without its fragment.
    pub url: String,
    /// The form, in order.
    pub params: Vec<(String, String)>,
    /// The signature that was sent.
    pub signature: String,
    /// `I-Twilio-Idempotency-Token`, the same for all attempts of one callback.
    pub token: String,
    /// From 1.
    pub attempt: u32,
    /// Status of the answer; none if there was no answer.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// When the attempt ended, RFC 3339.
    pub at: String,
    /// When the attempt began, in milliseconds since 1970.
    pub began_ms: i64,
    /// When its answer had come, or it was given up.
    pub ended_ms: i64,
}

impl CallbackRecord {
    /// The value of a parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A status callback about to be sent.
#[derive(Clone, Debug)]
pub(super) struct News {
    url: String,
    params: Vec<(String, String)>,
}

impl News {
    /// What is told about `change`, if the message has a callback.
    pub(super) fn of(message: &Message, change: &Change, account_sid: &str) -> Option<News> {
        let url = message.status_callback.as_deref()?.to_owned();
        let status = change.status.as_str();
        let sid = message.sid.to_string();
        let mut params = Vec::with_capacity(16);
        let mut add = |name: &str, value: &str| params.push((name.to_owned(), value.to_owned()));
        if let Some(code) = change.error {
            add("ErrorCode", &code.to_string());
            add("ErrorMessage", &errors::text(code));
        }
        if message.to.starts_with("whatsapp:") {
            add("ChannelInstallSid", "XE00000000000000000000000000000001");
            add("ChannelPrefix", "whatsapp");
            add("ChannelToAddress", &masked(bare(&message.to)));
            add("StructuredMessage", "false");
            if let Some(code) = change.error {
                add("ChannelStatusMessage", &errors::text(code));
            }
            if change.status == Status::Read {
                add("EventType", "READ");
            }
        } else if matches!(change.status, Status::Delivered | Status::Undelivered) {
            add("RawDlrDoneDate", &carrier_date());
        }
        add("SmsSid", &sid);
        add("SmsStatus", status);
        add("MessageStatus", status);
        add("To", &message.to);
        if let Some(service) = &message.service {
            add("MessagingServiceSid", service);
        }
        add("MessageSid", &sid);
        add("AccountSid", account_sid);
        if let Some(from) = &message.from {
            add("From", from);
        }
        add("ApiVersion", "2010-04-01");
        debug_assert!(message.direction != Direction::Inbound);
        Some(News { url, params })
    }
}

/// `+91994541XXXX`, as WhatsApp's callbacks hide the number.
fn masked(number: &str) -> String {
    let kept = number.chars().count().saturating_sub(4);
    number.chars().take(kept).chain("XXXX".chars()).collect()
}

/// `YYMMDDhhmm`, here in UTC; carriers use whatever zone they like.
fn carrier_date() -> String {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).strftime("%y%m%d%H%M").to_string()
}

/// What came back of a webhook.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: Option<u16>,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

/// Sends webhooks and remembers them.
#[derive(Debug)]
pub(super) struct Courier {
    /// One client per connect timeout: reqwest sets that per client.
    clients: Mutex<HashMap<u64, Client>>,
    permits: Semaphore,
    log: Mutex<VecDeque<CallbackRecord>>,
    keep: usize,
    forgotten: AtomicU64,
}

impl Courier {
    pub(super) fn new(options: &Options) -> Courier {
        // Fails if a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Courier {
            clients: Mutex::default(),
            permits: Semaphore::new(options.callback_concurrency.max(1)),
            log: Mutex::default(),
            keep: options.callback_log,
            forgotten: AtomicU64::new(0),
        }
    }

    pub(super) fn log(&self) -> Vec<CallbackRecord> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().cloned().collect()
    }

    /// Up to `limit` entries from number `first` on, counted from 0 since the start, and how many
    /// there were in all. Forgotten ones are left out.
    pub(super) fn page(&self, first: u64, limit: usize) -> (u64, Vec<CallbackRecord>) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = self.forgotten.load(Ordering::Relaxed);
        let skipped = usize::try_from(first.saturating_sub(forgotten)).unwrap_or(usize::MAX);
        (forgotten + log.len() as u64, log.iter().skip(skipped).take(limit).cloned().collect())
    }

    fn remember(&self, record: CallbackRecord) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= self.keep {
            log.pop_front();
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        log.push_back(record);
    }

    fn client(&self, connect_ms: u64) -> Result<Client, reqwest::Error> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&connect_ms) {
            return Ok(client.clone());
        }
        let client = Client::builder()
            .user_agent("TwilioProxy/1.1")
            .connect_timeout(Duration::from_millis(connect_ms))
            .redirect(Policy::none())
            .no_proxy()
            .build()?;
        clients.insert(connect_ms, client.clone());
        Ok(client)
    }

    /// Posts a signed form, with the retries that the URL's fragment asks for. Never fails: a
    /// webhook that can't be delivered is only logged, at Twilio too.
    pub(super) async fn post(&self, inner: &Inner, kind: &'static str, news: &News) -> Answer {
        let Ok(_permit) = self.permits.acquire().await else {
            return Answer::default();
        };
        let (url, fragment) = news.url.split_once('#').unwrap_or((&news.url, ""));
        let rules = Rules::parse(fragment);
        let number = inner.next_webhook();
        let token = format!("{:032x}", chance::identity(!inner.options.seed, number));
        let signature = sign(&inner.options.auth_token, url, &news.params);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&news.params).finish();
        let mut attempt = 1;
        loop {
            let began_ms = now_millis();
            let sent = self.attempt(&rules, url, &body, [&signature, &token]).await;
            let (answer, failure, error) = match sent {
                Ok(answer) => (Some(answer), None, None),
                Err(failed) => (None, Some(failed.0), Some(failed.1)),
            };
            let status = answer.as_ref().and_then(|answer| answer.status);
            self.remember(CallbackRecord {
                kind,
                url: url.to_owned(),
                params: news.params.clone(),
                signature: signature.clone(),
                token: token.clone(),
                attempt,
                status,
                error,
                at: rfc_3339(now_millis()),
                began_ms,
                ended_ms: now_millis(),
            });
            if attempt > rules.retries || !rules.retries_after(status, failure) {
                return answer.unwrap_or_default();
            }
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        rules: &Rules,
        url: &str,
        body: &str,
        [signature, token]: [&str; 2],
    ) -> Result<Answer, (Failure, String)> {
        let failed = |error: reqwest::Error| {
            let failure = if error.is_connect() { Failure::Connect } else { Failure::Read };
            (failure, root_cause(&error.without_url()))
        };
        let client = self.client(rules.connect_ms).map_err(failed)?;
        let mut response = client
            .post(url)
            .timeout(Duration::from_millis(rules.connect_ms + rules.read_ms))
            .header("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
            .header("Accept", "*/*")
            .header(SIGNATURE_HEADER, signature)
            .header("I-Twilio-Idempotency-Token", token)
            .body(body.to_owned())
            .send()
            .await
            .map_err(failed)?;
        let content_type = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let mut answer = Answer { status: Some(response.status().as_u16()), content_type, body: Vec::new() };
        while answer.body.len() <= LONGEST_ANSWER {
            match response.chunk().await {
                Ok(Some(chunk)) => answer.body.extend_from_slice(&chunk),
                // A partial answer is never retried.
                Ok(None) | Err(_) => break,
            }
        }
        Ok(answer)
    }
}

/// The innermost reason, which says more than "error sending request".
fn root_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => root_cause(source),
        None => error.to_string(),
    }
}

/// Sends one status callback.
pub(super) async fn send_status(inner: &Inner, news: &News) {
    inner.courier.post(inner, "status", news).await;
}

/// Sends an inbound message to `url`.
pub(super) async fn send_inbound(inner: &Inner, url: String, params: Vec<(String, String)>) -> Answer {
    let news = News { url, params };
    inner.courier.post(inner, "inbound", &news).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Connect,
    Read,
}

/// Connection overrides of one URL.
#[derive(Clone, Debug, PartialEq)]
struct Rules {
    retries: u32,
    policies: Vec<String>,
    connect_ms: u64,
    read_ms: u64,
}

impl Rules {
    /// Reads `rc=2&rp=5xx,ct,rt&ct=…&rt=…`. What is left out or out of range keeps its default:
    /// one retry, and only if no connection came about.
    fn parse(fragment: &str) -> Rules {
        let mut rules =
            Rules { retries: 1, policies: vec!["ct".to_owned()], connect_ms: 5000, read_ms: 15_000 };
        let within = |value: &str, low: u64, high: u64| {
            value.parse().ok().filter(|number| (low..=high).contains(number))
        };
        for pair in fragment.split('&') {
            match pair.split_once('=') {
                Some(("rc", value)) => {
                    let retries = within(value, 0, 5).and_then(|n| u32::try_from(n).ok());
                    rules.retries = retries.unwrap_or(rules.retries);
                }
                Some(("rp", value)) => {
                    rules.policies = value.split(',').map(str::to_owned).collect();
                }
                Some(("ct", value)) => {
                    rules.connect_ms = within(value, 100, 10_000).unwrap_or(rules.connect_ms);
                }
                Some(("rt", value)) => {
                    rules.read_ms = within(value, 100, 15_000).unwrap_or(rules.read_ms);
                }
                _ => {}
            }
        }
        rules
    }

    fn retries_after(&self, status: Option<u16>, failure: Option<Failure>) -> bool {
        let policy = match (status, failure) {
            (Some(400..=499), _) => "4xx",
            (Some(500..=599), _) => "5xx",
            (None, Some(Failure::Connect)) => "ct",
            (None, Some(Failure::Read)) => "rt",
            _ => return false,
        };
        self.policies.iter().any(|named| named == policy || named == "all")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fragment_decides_about_retries() {
        let table = [
            ("", Some(500), None, false),
            ("", None, Some(Failure::Connect), true),
            ("", None, Some(Failure::Read), false),
            ("rc=2&rp=5xx,ct,rt", Some(503), None, true),
            ("rc=2&rp=5xx,ct,rt", Some(404), None, false),
            ("rc=2&rp=5xx,ct,rt", Some(200), None, false),
            ("rc=2&rp=5xx,ct,rt", None, Some(Failure::Read), true),
            ("rp=all", Some(404), None, true),
        ];
        for (fragment, status, failure, expected) in table {
            let rules = Rules::parse(fragment);
            assert_eq!(rules.retries_after(status, failure), expected, "{fragment} {status:?} {failure:?}");
        }
    }

    #[test]
    fn overrides_out_of_range_are_ignored() {
        let rules = Rules::parse("rc=9&ct=1&rt=99999&sni=y");
        assert_eq!(rules, Rules::parse(""));
        let rules = Rules::parse("rc=0&ct=200&rt=300");
        assert_eq!((rules.retries, rules.connect_ms, rules.read_ms), (0, 200, 300));
    }

    #[test]
    fn whatsapp_callbacks_hide_the_last_four_digits() {
        assert_eq!(masked("+919945412345"), "+91994541XXXX");
    }
}
