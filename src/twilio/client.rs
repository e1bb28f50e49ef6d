//! The client of Twilio's Messages API: one request, one outcome that says whether it may be repeated.
//! <https://www.twilio.com/docs/messaging/api/message-resource>

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

/// TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The whole exchange, if nobody says otherwise; after it nobody knows whether Twilio acted.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Who we are at Twilio, and where it is.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// `AC…`: in every path.
    pub account_sid: String,
    /// User of Basic auth: the account's or an API key's SID.
    pub user: String,
    /// Auth token or API key secret.
    pub password: SecretString,
    /// `https://api.twilio.com`, or a simulator.
    pub api_base: Url,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL can't carry the path of the API.
    #[error("[twilio] api_base {0} is not an http or https address")]
    BadBase(Url),
    /// No TLS, no sockets.
    #[error("no HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

/// A message as Twilio wants it.
#[derive(Clone, Debug, Default)]
pub struct OutgoingMessage {
    /// Wire address of the person.
    pub to: String,
    /// Wire address of the sender, or `MG…` for a Messaging Service.
    pub from: String,
    /// The text; empty with a Content template.
    pub body: String,
    /// At most 10.
    pub media_urls: Vec<String>,
    /// `HX…` and its variables as a JSON object in a string.
    pub content: Option<(String, String)>,
    /// Where receipts go; the fragment asks for repeats.
    pub status_callback: String,
    /// Seconds, 1 to 36,000.
    pub validity_period: u32,
}

/// The parts of Twilio's Message resource that matter here. Unknown fields are ignored, as Twilio asks.
#[derive(Clone, Debug, Deserialize)]
pub struct MessageResource {
    /// `SM…` or `MM…`.
    pub sid: String,
    /// Twilio's word.
    pub status: String,
    /// Wire address of the person.
    #[serde(default)]
    pub to: Option<String>,
    /// Wire address of the sender.
    #[serde(default)]
    pub from: Option<String>,
    /// The text.
    #[serde(default)]
    pub body: Option<String>,
    /// SMS parts, as text; "0" while a Messaging Service has not chosen.
    #[serde(default)]
    pub num_segments: Option<String>,
    /// Such as "-0.00750"; comes later.
    #[serde(default)]
    pub price: Option<String>,
    /// ISO 4217.
    #[serde(default)]
    pub price_unit: Option<String>,
    /// Set when it failed.
    #[serde(default)]
    pub error_code: Option<i64>,
    /// Its text.
    #[serde(default)]
    pub error_message: Option<String>,
    /// RFC 2822.
    #[serde(default)]
    pub date_created: Option<String>,
    /// RFC 2822; of a message from a person, when it came.
    #[serde(default)]
    pub date_sent: Option<String>,
    /// `inbound`, `outbound-api`, `outbound-reply` or `outbound-call`.
    #[serde(default)]
    pub direction: Option<String>,
    /// `MG…`, when a Messaging Service had part in it.
    #[serde(default)]
    pub messaging_service_sid: Option<String>,
    /// Attachments, as text.
    #[serde(default)]
    pub num_media: Option<String>,
}

impl MessageResource {
    /// When Twilio made it, in milliseconds by Twilio's clock, to the second.
    pub fn created_at(&self) -> Option<i64> {
        let at = jiff::fmt::rfc2822::parse(self.date_created.as_deref()?).ok()?;
        Some(at.timestamp().as_millisecond())
    }

    /// True for a message that a person wrote.
    pub fn is_inbound(&self) -> bool {
        self.direction.as_deref() == Some("inbound")
    }

    /// How many attachments it has.
    pub fn media_count(&self) -> u32 {
        self.num_media.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The price in millionths of its unit, negative as Twilio writes it; `None` while it is not known.
    pub fn price_micros(&self) -> Option<i64> {
        price_micros(self.price.as_deref()?)
    }
}

/// `-0.00750` as millionths, without the detour over a binary fraction. More than six digits are cut off.
fn price_micros(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !(whole.bytes().chain(fraction.bytes())).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(6)
        .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)?.checked_mul(sign)
}

/// What became of a request to send.
#[derive(Clone, Debug)]
pub enum SendOutcome {
    /// Twilio took it.
    Accepted(Box<MessageResource>),
    /// Twilio refused it; nothing was sent.
    Refused {
        /// HTTP status, 400 to 499 but for 429.
        http_status: u16,
        /// Twilio's code, 0 without one.
        code: i64,
        /// Twilio's words.
        message: String,
    },
    /// Too many at once: never processed, always safe to repeat
    /// (<https://www.twilio.com/docs/api/errors/20429>).
    Throttled {
        /// Twilio's code, 0 without one.
        code: i64,
        /// Seconds, if Twilio said so.
        retry_after: Option<u64>,
    },
    /// No connection was made, so nothing was sent.
    NotSent {
        /// What the system said.
        why: String,
    },
    /// The request may have been carried out: never repeat it blindly.
    Uncertain {
        /// HTTP status, if there was one.
        http_status: Option<u16>,
        /// What is known.
        why: String,
    },
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    code: Option<i64>,
    #[serde(default)]
    message: Option<String>,
}

/// Speaks to one account. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    credentials: Credentials,
    messages: Url,
    account: Url,
    request_timeout: Duration,
}

impl Client {
    /// Makes a client with its pool of kept-alive connections; nothing is sent yet.
    ///
    /// # Errors
    /// When the base URL is of no use or the system gives no HTTP client.
    pub fn new(credentials: Credentials) -> Result<Client, ClientError> {
        // The ring provider, for every TLS client of the process; the first call wins.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(512)
            .pool_idle_timeout(Duration::from_secs(50))
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("event-stream-engine/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let url = |path: &str| {
            credentials.api_base.join(path).map_err(|_| ClientError::BadBase(credentials.api_base.clone()))
        };
        let sid = &credentials.account_sid;
        let messages = url(&format!("/2010-04-01/Accounts/{sid}/Messages.json"))?;
        let account = url(&format!("/2010-04-01/Accounts/{sid}.json"))?;
        Ok(Client { http, messages, account, credentials, request_timeout: REQUEST_TIMEOUT })
    }

    /// Waits this long for a whole exchange.
    #[must_use]
    pub fn with_request_timeout(self, request_timeout: Duration) -> Client {
        Client { request_timeout, ..self }
    }

    /// `AC…`: whose messages it reads and writes.
    pub fn account_sid(&self) -> &str {
        &self.credentials.account_sid
    }

    /// True when Twilio is a stand-in on this machine.
    pub fn is_simulated(&self) -> bool {
        is_loopback(&self.credentials.api_base)
    }

    /// Sends one message. Never repeats by itself.
    pub async fn send(&self, message: &OutgoingMessage) -> SendOutcome {
        let validity = message.validity_period.to_string();
        let form = form(message, &validity);
        let answer = self.authorized(self.http.post(self.messages.clone())).form(&form).send().await;
        match answer {
            Ok(answer) => read_answer(answer).await,
            Err(error) if error.is_connect() || error.is_builder() => {
                SendOutcome::NotSent { why: chain(&error) }
            }
            Err(error) => SendOutcome::Uncertain { http_status: None, why: chain(&error) },
        }
    }

    /// A request to read something of the account.
    pub(super) fn get(&self, url: Url) -> reqwest::RequestBuilder {
        self.authorized(self.http.get(url))
    }

    /// A request that tells nobody who we are.
    pub(super) fn get_plain(&self, url: Url) -> reqwest::RequestBuilder {
        self.http.get(url)
    }

    /// A request to change something of the account by JSON.
    pub(super) fn change(&self, method: reqwest::Method, url: Url) -> reqwest::RequestBuilder {
        self.authorized(self.http.request(method, url))
    }

    /// `…/Accounts/AC….json`.
    pub(super) fn account(&self) -> &Url {
        &self.account
    }

    /// `…/Messages.json` of the account.
    pub(super) fn messages(&self) -> &Url {
        &self.messages
    }

    fn authorized(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request
            .timeout(self.request_timeout)
            .basic_auth(&self.credentials.user, Some(self.credentials.password.expose_secret()))
    }
}

/// The parameters of a request to send. Nothing is ever scheduled at Twilio: a STOP could not take it back.
fn form<'a>(message: &'a OutgoingMessage, validity: &'a str) -> Vec<(&'static str, &'a str)> {
    let sender = if message.from.starts_with("MG") { "MessagingServiceSid" } else { "From" };
    let mut form: Vec<(&str, &str)> = vec![
        ("To", &message.to),
        (sender, &message.from),
        ("StatusCallback", &message.status_callback),
        ("ValidityPeriod", validity),
    ];
    match &message.content {
        Some((sid, variables)) => {
            form.push(("ContentSid", sid));
            form.push(("ContentVariables", variables));
        }
        None => form.push(("Body", &message.body)),
    }
    form.extend(message.media_urls.iter().map(|url| ("MediaUrl", url.as_str())));
    form
}

/// True for an address that never leaves this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

async fn read_answer(answer: reqwest::Response) -> SendOutcome {
    let status = answer.status().as_u16();
    let retry_after = retry_after(&answer);
    let body = match answer.bytes().await {
        Ok(body) => body,
        Err(_) if status == 429 => Default::default(),
        Err(error) => {
            return SendOutcome::Uncertain { http_status: Some(status), why: chain(&error) };
        }
    };
    match status {
        200..=299 => match serde_json::from_slice::<MessageResource>(&body) {
            Ok(resource) => SendOutcome::Accepted(Box::new(resource)),
            Err(error) => SendOutcome::Uncertain {
                http_status: Some(status),
                why: format!("the answer could not be read: {error}"),
            },
        },
        429 => SendOutcome::Throttled { code: error_body(&body).0, retry_after },
        400..=499 => {
            let (code, message) = error_body(&body);
            SendOutcome::Refused {
                http_status: status,
                // A 401 without a body still means what 20003 means.
                code: if code == 0 && status == 401 { 20003 } else { code },
                message,
            }
        }
        _ => SendOutcome::Uncertain { http_status: Some(status), why: format!("HTTP {status}") },
    }
}

/// Seconds that the answer asks us to wait, if it does.
pub(super) fn retry_after(answer: &reqwest::Response) -> Option<u64> {
    answer.headers().get("retry-after")?.to_str().ok()?.parse().ok()
}

/// Code and words of an error; 0 and nothing where the body is not one of Twilio's.
pub(super) fn error_body(body: &[u8]) -> (i64, String) {
    let parsed: Option<ErrorBody> = serde_json::from_slice(body).ok();
    parsed.map_or((0, String::new()), |error| (error.code.unwrap_or(0), error.message.unwrap_or_default()))
}

/// An error with its causes, without the URL.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "timeout".to_owned() } else { "connection".to_owned() };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_to_the_millionth_without_rounding() {
        let cases = [
            ("-0.00750", Some(-7_500)),
            ("0", Some(0)),
            ("1", Some(1_000_000)),
            ("+12.3456789", Some(12_345_678)),
            ("-0.0000004", Some(0)),
            ("", None),
            (".5", None),
            ("1.-5", None),
            ("1e3", None),
            ("99999999999999999999", None),
        ];
        for (text, micros) in cases {
            assert_eq!(price_micros(text), micros, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_ever_scheduled_at_twilio() {
        let text = OutgoingMessage { from: "MG1".to_owned(), ..OutgoingMessage::default() };
        let content = OutgoingMessage {
            content: Some(("HX1".to_owned(), "{}".to_owned())),
            media_urls: vec!["https://a".to_owned()],
            ..OutgoingMessage::default()
        };
        let keys = |message: &OutgoingMessage| -> Vec<&'static str> {
            form(message, "60").into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(&text), ["To", "MessagingServiceSid", "StatusCallback", "ValidityPeriod", "Body"]);
        assert_eq!(
            keys(&content),
            ["To", "From", "StatusCallback", "ValidityPeriod", "ContentSid", "ContentVariables", "MediaUrl"]
        );
    }
}
