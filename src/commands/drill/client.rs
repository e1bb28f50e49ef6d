//! The drill's own requests: to the API of the server, as a caller with a key, and to the control API of
//! the stand-in for Twilio.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::simulator::Faults;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon a request that met a dead server is made again.
const AGAIN: Duration = Duration::from_millis(40);
/// How long a request is made again and again.
const INSISTENCE: Duration = Duration::from_secs(60);
/// Records of one page.
const PAGE: usize = 5_000;

fn http() -> Result<reqwest::Client> {
    // The ring provider, as everywhere; the first call wins.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?)
}

/// An answer: its status and its JSON.
pub(super) type Answer = (u16, Value);

/// The API of the server, which may be dead at any moment.
#[derive(Clone)]
pub(super) struct Api {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Api {
    /// A caller with this key.
    pub(super) fn new(base: &str, key: &str) -> Result<Api> {
        Ok(Api { http: http()?, base: base.to_owned(), key: key.to_owned() })
    }

    /// Whether the server says that it is ready.
    pub(super) async fn is_ready(&self) -> bool {
        let request = self.http.get(format!("{}/readyz", self.base)).timeout(Duration::from_secs(2));
        request.send().await.is_ok_and(|answer| answer.status().is_success())
    }

    async fn answer(request: reqwest::RequestBuilder) -> Result<Answer> {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    fn path(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.base)
    }

    /// One look; an error while the server is dead.
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        let (status, body) = Api::answer(self.http.get(self.path(path)).bearer_auth(&self.key)).await?;
        if status != 200 {
            bail!("GET {path}: {status} {body}");
        }
        Ok(body)
    }

    /// One try, under a key.
    pub(super) async fn try_post(&self, path: &str, body: &Value, key: &str) -> Result<Answer> {
        let request = self.http.post(self.path(path)).bearer_auth(&self.key).header("Idempotency-Key", key);
        Api::answer(request.json(body)).await
    }

    /// Posts again and again, under the same key, until the server has answered: as a careful caller
    /// does. 5xx and 429 are no answer.
    pub(super) async fn post(&self, path: &str, body: &Value, key: &str) -> Result<Answer> {
        let end = Instant::now() + INSISTENCE;
        loop {
            let tried = self.try_post(path, body, key).await;
            match tried {
                Ok((status, answer)) if status < 500 && status != 429 => return Ok((status, answer)),
                Ok((status, answer)) if Instant::now() > end => bail!("POST {path}: {status} {answer}"),
                Err(error) if Instant::now() > end => return Err(error.context(format!("POST {path}"))),
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Makes something that must come about. Returns it.
    pub(super) async fn make(&self, path: &str, body: &Value, key: &str) -> Result<Value> {
        match self.post(path, body, key).await? {
            (200..=299, made) => Ok(made),
            (status, said) => bail!("POST {path}: {status} {said}"),
        }
    }
}

/// What came of something that a person wrote.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// Twilio's id of the message.
    pub(super) sid: String,
    /// What the webhook was answered with; none when nobody answered.
    pub(super) status: Option<u16>,
}

/// The control API of the stand-in.
#[derive(Clone)]
pub(super) struct Control {
    http: reqwest::Client,
    base: String,
}

impl Control {
    /// The stand-in at this address.
    pub(super) fn new(base: &str) -> Result<Control> {
        Ok(Control { http: http()?, base: base.to_owned() })
    }

    async fn ask(&self, path: &str) -> Result<Value> {
        let answer = self.http.get(format!("{}/_control/{path}", self.base)).send().await;
        let answer = answer.context("the simulator does not answer")?;
        Ok(answer.error_for_status()?.json().await?)
    }

    async fn tell(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.http.post(format!("{}/_control/{path}", self.base)).json(body).send().await;
        let answer = answer.context("the simulator does not answer")?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// Replaces what goes wrong.
    pub(super) async fn set_faults(&self, faults: &Faults) -> Result<()> {
        self.tell("faults", &serde_json::to_value(faults)?).await.map(drop)
    }

    /// Writes as a person, and waits for what the webhook is answered with.
    pub(super) async fn write(&self, from: &str, to: &str, body: &str) -> Result<Written> {
        let said = serde_json::json!({ "from": from, "to": to, "body": body });
        let result = self.tell("inbound", &said).await?;
        Ok(Written {
            sid: field(&result, "message_sid").as_str().context("a message has an id")?.to_owned(),
            status: field(&result, "status").as_u64().and_then(|status| u16::try_from(status).ok()),
        })
    }

    /// How many messages were accepted, and how many have something ahead of them.
    pub(super) async fn progress(&self) -> Result<(u64, u64)> {
        let busy = self.ask("busy").await?;
        let count = |name: &str| field(&busy, name).as_u64().unwrap_or_default();
        Ok((count("accepted"), count("ahead")))
    }

    /// How often each fault struck.
    pub(super) async fn struck(&self) -> Result<std::collections::BTreeMap<String, u64>> {
        Ok(serde_json::from_value(self.ask("struck").await?)?)
    }

    /// Every message that was accepted.
    pub(super) async fn messages(&self) -> Result<Vec<Value>> {
        Ok(list(self.ask("messages").await?, "messages"))
    }

    /// Every create request.
    pub(super) async fn requests(&self) -> Result<Vec<Value>> {
        self.pages("requests").await
    }

    /// Every webhook.
    pub(super) async fn callbacks(&self) -> Result<Vec<Value>> {
        self.pages("callbacks").await
    }

    async fn pages(&self, what: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        loop {
            let page = self.ask(&format!("{what}?first={}&limit={PAGE}", all.len())).await?;
            let total = field(&page, "total").as_u64().unwrap_or_default();
            let rows = list(page, what);
            if rows.is_empty() {
                return Ok(all);
            }
            all.extend(rows);
            if all.len() as u64 >= total {
                return Ok(all);
            }
        }
    }
}

/// A field of an answer; null if it is not there.
pub(super) fn field<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer.get(name).unwrap_or(&Value::Null)
}

fn list(mut answer: Value, name: &str) -> Vec<Value> {
    match answer.get_mut(name).map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    }
}
