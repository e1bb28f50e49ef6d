//! The Content API: templates that live at Twilio, and their approval by WhatsApp.
//! <https://www.twilio.com/docs/content/content-api-resources>

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use url::Url;

use super::client::{Client, chain, error_body, retry_after};

/// Templates of one page: the most that the API gives.
const PAGE_SIZE: &str = "1000";

/// Speaks to the Content API of one account. Clones share the connections.
#[derive(Clone, Debug)]
pub struct ContentClient {
    client: Client,
    base: Url,
}

/// Why nothing came of a request to the Content API.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ContentError {
    /// Too many requests at once: nothing was done; ask again later.
    #[error("Twilio is too busy to answer (429)")]
    Throttled {
        /// Seconds, if Twilio said so.
        retry_after: Option<u64>,
    },
    /// Nothing was changed: there was no connection, or it was only a question. Ask again later.
    #[error("Twilio could not be asked: {0}")]
    Unavailable(String),
    /// A change was asked for and the answer was lost: look whether it was made before asking again.
    #[error("nobody knows whether Twilio did it: {0}")]
    Uncertain(String),
    /// An answer that makes no sense; asking again changes nothing.
    #[error("Twilio's answer can't be used: {0}")]
    Unreadable(String),
    /// Twilio refuses: 401 and 403 for the credentials or their rights, anything else for what was asked.
    #[error("Twilio refused: HTTP {http_status}, code {code} {message}")]
    Refused {
        /// HTTP status, 300 to 499 but for 404 and 429.
        http_status: u16,
        /// Twilio's code, 0 without one.
        code: i64,
        /// Twilio's words.
        message: String,
    },
    /// Twilio has no such template (any more).
    #[error("Twilio has no such template")]
    NotFound,
}

/// How WhatsApp judges a template. Unknown words are kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ApprovalResource {
    /// What it was submitted under.
    #[serde(default)]
    pub name: Option<String>,
    /// `UTILITY`, `MARKETING` or `AUTHENTICATION`; empty before the submission.
    #[serde(default)]
    pub category: Option<String>,
    /// `unsubmitted`, `received`, `pending`, `approved`, `rejected`, `paused` or `disabled`.
    #[serde(default)]
    pub status: Option<String>,
    /// Empty unless it was rejected.
    #[serde(default)]
    pub rejection_reason: Option<String>,
}

/// The parts of Twilio's Content resource that matter here. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ContentResource {
    /// `HX…`.
    pub sid: String,
    /// For people.
    #[serde(default)]
    pub friendly_name: Option<String>,
    /// Such as `en` or `pt_BR`.
    #[serde(default)]
    pub language: Option<String>,
    /// Names of variables with their samples.
    #[serde(default)]
    pub variables: Option<Map<String, Value>>,
    /// `twilio/text` and its like, with their texts.
    #[serde(default)]
    pub types: Option<Map<String, Value>>,
    /// Set in lists with approvals.
    #[serde(default)]
    pub approval_requests: Option<ApprovalResource>,
}

/// Where the next page is.
#[derive(Clone, Debug)]
pub struct NextContents(Url);

/// One page of templates.
#[derive(Clone, Debug)]
pub struct ContentPage {
    /// With their approvals.
    pub contents: Vec<ContentResource>,
    /// Set while there are more.
    pub next: Option<NextContents>,
}

/// A template to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewContent<'a> {
    /// For people.
    pub friendly_name: &'a str,
    /// Such as `en`.
    pub language: &'a str,
    /// Names of variables with their samples.
    pub variables: &'a Map<String, Value>,
    /// `{"twilio/text": {"body": "Hello {{1}}, …"}}`.
    pub types: &'a Value,
}

#[derive(Deserialize)]
struct Listed {
    contents: Vec<ContentResource>,
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    next_page_url: Option<String>,
}

#[derive(Deserialize)]
struct Fetched {
    #[serde(default)]
    whatsapp: Option<ApprovalResource>,
}

impl ContentClient {
    /// Speaks to `base` (`https://content.twilio.com`, or a simulator) with the credentials of `client`.
    pub fn new(client: Client, base: Url) -> ContentClient {
        ContentClient { client, base }
    }

    /// The first page of all templates with their approvals.
    ///
    /// # Errors
    /// [`ContentError`] says whether to ask again.
    pub async fn list(&self) -> Result<ContentPage, ContentError> {
        let mut url = self.url("/v1/ContentAndApprovals")?;
        url.query_pairs_mut().append_pair("PageSize", PAGE_SIZE);
        self.page(url).await
    }

    /// The page behind `next`.
    ///
    /// # Errors
    /// [`ContentError`] says whether to ask again.
    pub async fn next_page(&self, next: &NextContents) -> Result<ContentPage, ContentError> {
        self.page(next.0.clone()).await
    }

    async fn page(&self, url: Url) -> Result<ContentPage, ContentError> {
        let listed: Listed = read(self.ask(url).await.map_err(no_api)?)?;
        let next = match listed.meta.next_page_url {
            Some(link) => Some(NextContents(self.within(&link)?)),
            None => None,
        };
        Ok(ContentPage { contents: listed.contents, next })
    }

    /// One template, without its approval.
    ///
    /// # Errors
    /// [`ContentError::NotFound`], or whether to ask again.
    pub async fn fetch(&self, sid: &str) -> Result<ContentResource, ContentError> {
        read(self.ask(self.item(sid, "")?).await?)
    }

    /// How WhatsApp judges a template.
    ///
    /// # Errors
    /// [`ContentError::NotFound`], or whether to ask again.
    pub async fn approval(&self, sid: &str) -> Result<ApprovalResource, ContentError> {
        let fetched: Fetched = read(self.ask(self.item(sid, "/ApprovalRequests")?).await?)?;
        Ok(fetched.whatsapp.unwrap_or_default())
    }

    /// Makes a template.
    ///
    /// # Errors
    /// [`ContentError::Uncertain`] when it may have been made.
    pub async fn create(&self, new: &NewContent<'_>) -> Result<ContentResource, ContentError> {
        let body = json!({
            "friendly_name": new.friendly_name,
            "language": new.language,
            "variables": new.variables,
            "types": new.types,
        });
        let answer =
            self.change(Method::POST, self.url("/v1/Content")?, Some(&body)).await.map_err(no_api)?;
        // It was made, whatever stands in the answer.
        read(answer).map_err(uncertain)
    }

    /// Asks WhatsApp to approve a template.
    ///
    /// # Errors
    /// [`ContentError::Uncertain`] when the request may have been taken.
    pub async fn submit(
        &self,
        sid: &str,
        name: &str,
        category: &str,
    ) -> Result<ApprovalResource, ContentError> {
        let body = json!({"name": name, "category": category});
        let url = self.item(sid, "/ApprovalRequests/whatsapp")?;
        read(self.change(Method::POST, url, Some(&body)).await?).map_err(uncertain)
    }

    /// Deletes a template; one that is gone already is as good as deleted.
    ///
    /// # Errors
    /// [`ContentError`] says whether to ask again; asking twice does no harm.
    pub async fn delete(&self, sid: &str) -> Result<(), ContentError> {
        match self.change(Method::DELETE, self.item(sid, "")?, None).await {
            Ok(_) | Err(ContentError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn url(&self, path: &str) -> Result<Url, ContentError> {
        self.base.join(path).map_err(|_| ContentError::Unreadable(format!("{} is no address", self.base)))
    }

    /// `/v1/Content/`, the SID and `tail`. What is no SID could lead elsewhere.
    fn item(&self, sid: &str, tail: &str) -> Result<Url, ContentError> {
        let is_sid = !sid.is_empty() && sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_sid { self.url(&format!("/v1/Content/{sid}{tail}")) } else { Err(ContentError::NotFound) }
    }

    /// A link of Twilio's as an address of the same server: credentials never go elsewhere.
    fn within(&self, link: &str) -> Result<Url, ContentError> {
        self.base.join(link).ok().filter(|url| url.origin() == self.base.origin()).ok_or_else(|| {
            ContentError::Unreadable(format!("the link {link:?} leads away from {}", self.base))
        })
    }

    async fn ask(&self, url: Url) -> Result<Vec<u8>, ContentError> {
        let answer = self.client.get(url).send().await;
        let answer = answer.map_err(|error| ContentError::Unavailable(chain(&error)))?;
        settle(answer).await.map_err(|error| match error {
            ContentError::Uncertain(why) => ContentError::Unavailable(why),
            error => error,
        })
    }

    async fn change(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Vec<u8>, ContentError> {
        let mut request = self.client.change(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        match request.send().await {
            Ok(answer) => settle(answer).await,
            Err(error) if error.is_connect() || error.is_builder() => {
                Err(ContentError::Unavailable(chain(&error)))
            }
            Err(error) => Err(ContentError::Uncertain(chain(&error))),
        }
    }
}

/// The body of a good answer, or what a bad one means.
async fn settle(answer: reqwest::Response) -> Result<Vec<u8>, ContentError> {
    let http_status = answer.status().as_u16();
    let retry_after = retry_after(&answer);
    match http_status {
        404 => return Err(ContentError::NotFound),
        429 => return Err(ContentError::Throttled { retry_after }),
        500.. => return Err(ContentError::Uncertain(format!("HTTP {http_status}"))),
        _ => {}
    }
    let body = answer.bytes().await.map_err(|error| ContentError::Uncertain(chain(&error)))?;
    if !(200..300).contains(&http_status) {
        let (code, message) = error_body(&body);
        return Err(ContentError::Refused { http_status, code, message });
    }
    Ok(body.to_vec())
}

fn read<T: DeserializeOwned>(body: Vec<u8>) -> Result<T, ContentError> {
    serde_json::from_slice(&body).map_err(|error| ContentError::Unreadable(error.to_string()))
}

/// A 404 where no template was named: something else answers at this address.
fn no_api(error: ContentError) -> ContentError {
    match error {
        ContentError::NotFound => ContentError::Unreadable("there is no Content API here (404)".to_owned()),
        error => error,
    }
}

fn uncertain(error: ContentError) -> ContentError {
    match error {
        ContentError::Unreadable(why) => ContentError::Uncertain(why),
        error => error,
    }
}
