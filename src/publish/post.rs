//! One request: signed, posted, and its answer read as delivered, gone or failed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::RETRY_AFTER;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use url::Url;

use super::Settings;
use super::guard::{Guard, Lookup};
use crate::clock::Millis;
use crate::domain::webhook::schedule::Outcome;
use crate::live::Live;
use crate::store::events::Event;
use crate::store::messages::rfc3339;

/// TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer up to this length is read to its end, so that the connection can be used again.
const READ_ANSWER: u64 = 64 * 1024;
/// How long that may take.
const READ_TIME: Duration = Duration::from_secs(1);
/// Longest text kept about a failure, in characters.
const MOST_WHY: usize = 300;

/// Makes requests.
pub(super) struct Poster {
    http: reqwest::Client,
    settings: Live<Settings>,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    pub(super) outcome: Outcome,
    pub(super) http_status: Option<u16>,
    pub(super) latency_ms: i64,
}

impl Poster {
    pub(super) fn new(settings: Live<Settings>, lookup: Lookup) -> reqwest::Result<Poster> {
        // The ring provider, for every TLS client of the process; the first call wins.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(Duration::from_secs(50))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would resolve the name by itself, behind the guard.
            .no_proxy()
            .dns_resolver(Arc::new(Guard { settings: settings.clone(), lookup }))
            .user_agent(concat!("event-stream-engine/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Poster { http, settings })
    }

    /// Posts one event, signed with every secret in force.
    pub(super) async fn post(
        &self,
        url: &str,
        event: &Event,
        secrets: &[SecretString],
        now: Millis,
    ) -> Posted {
        let began = Instant::now();
        let (outcome, http_status) = match self.request(url, event, secrets, now) {
            Ok(request) => self.answer(request).await,
            Err(why) => (failed(why), None),
        };
        let latency_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        Posted { outcome, http_status, latency_ms }
    }

    fn request(
        &self,
        url: &str,
        event: &Event,
        secrets: &[SecretString],
        now: Millis,
    ) -> Result<reqwest::RequestBuilder, String> {
        let settings = self.settings.get();
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        // An address in the URL never passes the resolver, and the rules may have changed since it was set.
        settings.policy.check(&url).map_err(|why| format!("the URL {why}"))?;
        let body = payload(event);
        let (id, timestamp) = (message_id(event.id), now.div_euclid(1_000));
        let signatures = sign(secrets, &id, timestamp, &body)?;
        Ok(self
            .http
            .post(url)
            .timeout(settings.timeout)
            .header("content-type", "application/json")
            .header(HEADER_WEBHOOK_ID, id)
            .header(HEADER_WEBHOOK_TIMESTAMP, timestamp.to_string())
            .header(HEADER_WEBHOOK_SIGNATURE, signatures)
            .body(body))
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> (Outcome, Option<u16>) {
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return (failed(describe(&error)), None),
        };
        let status = answer.status().as_u16();
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let outcome = match status {
            200..=299 => Outcome::Delivered,
            410 => Outcome::Gone,
            300..=399 => failed(format!("answered {status}; redirects are not followed")),
            _ => Outcome::Failed {
                why: format!("answered {status}"),
                retry_after: asked,
                is_limit: status == 429,
            },
        };
        if answer.content_length().is_some_and(|length| length <= READ_ANSWER) {
            let _ = tokio::time::timeout(READ_TIME, answer.bytes()).await;
        }
        (outcome, Some(status))
    }
}

/// The id of the message: the same for every try.
pub(super) fn message_id(event_id: i64) -> String {
    format!("evt_{event_id}")
}

/// The body, as the specification wants it: `type`, `timestamp`, and the event under `data`.
fn payload(event: &Event) -> String {
    json!({"type": event.kind, "timestamp": rfc3339(event.at), "data": event.to_json()}).to_string()
}

/// The signatures of every secret, with blanks between them.
fn sign(secrets: &[SecretString], id: &str, timestamp: i64, body: &str) -> Result<String, String> {
    if secrets.is_empty() {
        return Err("there is no secret to sign with".to_owned());
    }
    let sign_one = |secret: &SecretString| {
        let webhook = Webhook::new(secret.expose_secret()).map_err(|_| "the secret is broken".to_owned())?;
        webhook.sign(id, timestamp, body.as_bytes()).map_err(|_| "the event can't be signed".to_owned())
    };
    Ok(secrets.iter().map(sign_one).collect::<Result<Vec<_>, _>>()?.join(" "))
}

fn failed(why: String) -> Outcome {
    Outcome::Failed { why, retry_after: None, is_limit: false }
}

/// A failure in a few words, without the URL: it may hold a token of the receiver's.
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() && !error.is_connect() {
        return "no answer in time".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let what = if error.is_connect() { "no connection" } else { "no answer" };
    format!("{what}: {innermost}").chars().take(MOST_WHY).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_by_every_secret_as_the_specification_shows_it() {
        // From the reference libraries' own tests.
        let secret: SecretString = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned().into();
        let body = r#"{"email":"test@example.com","username":"test_user"}"#;
        let (id, at) = ("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553);
        let expected = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
        assert_eq!(sign(std::slice::from_ref(&secret), id, at, body).unwrap(), expected);
        let other: SecretString = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned().into();
        let both = sign(&[other, secret], id, at, body).unwrap();
        let parts: Vec<&str> = both.split(' ').collect();
        assert_eq!((parts.len(), parts[1]), (2, expected));
        assert_ne!(parts[0], parts[1]);
        assert!(sign(&[], id, at, body).is_err());
    }

    #[test]
    fn the_body_holds_type_timestamp_and_the_event() {
        let event = Event {
            id: 7,
            kind: "message.sent".to_owned(),
            at: 1_795_422_600_000,
            user_id: Some(1),
            phone: Some("+14155550101".to_owned()),
            campaign_id: None,
            message_id: Some(3),
            reference: None,
            data: json!({}),
        };
        let body: serde_json::Value = serde_json::from_str(&payload(&event)).unwrap();
        assert_eq!(body["type"], "message.sent");
        assert_eq!(body["timestamp"], "2026-11-23T08:30:00Z");
        assert_eq!(body["data"], event.to_json());
        assert_eq!(message_id(event.id), "evt_7");
    }
}
