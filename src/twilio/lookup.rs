//! Looking at what Twilio has: lists of messages, one message, its attachments. Reading only, so every
//! request may be repeated.
//! <https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources>

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::client::{Client, MessageResource, chain, error_body, retry_after};

/// Which messages are asked for. Twilio answers with the newest first.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Wire address of the recipient.
    pub to: Option<String>,
    /// Wire address of the sender.
    pub from: Option<String>,
    /// Only messages sent or received at or after this moment, in milliseconds; Twilio looks at the second.
    /// A message that still waits at Twilio was not sent yet: leave this out where such ones matter.
    pub sent_since: Option<i64>,
    /// 1 to 1,000.
    pub page_size: u16,
}

/// Where the next page is.
#[derive(Clone, Debug)]
pub struct NextPage(Url);

/// One page of a list, the newest message first.
#[derive(Clone, Debug)]
pub struct MessagePage {
    /// At most as many as were asked for.
    pub messages: Vec<MessageResource>,
    /// Set while there are older ones.
    pub next: Option<NextPage>,
    /// Twilio's clock as it answered, in milliseconds, to the second.
    pub answered_at: Option<i64>,
}

/// Why nothing could be seen. Nothing was changed by asking.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookupError {
    /// Too many requests at once; ask again later.
    #[error("Twilio is too busy to answer (429)")]
    Throttled {
        /// Seconds, if Twilio said so.
        retry_after: Option<u64>,
    },
    /// No answer, or one of the kind 5xx; ask again later.
    #[error("Twilio could not be asked: {0}")]
    Unavailable(String),
    /// An answer that makes no sense: what was asked about is at fault, or what stands between.
    #[error("Twilio's answer can't be used: {0}")]
    Unreadable(String),
    /// Twilio refuses to tell, mostly for its credentials: asking again changes nothing.
    #[error("Twilio refused to tell: HTTP {http_status}, code {code} {message}")]
    Refused {
        /// HTTP status, 300 to 499.
        http_status: u16,
        /// Twilio's code, 0 without one.
        code: i64,
        /// Twilio's words.
        message: String,
    },
}

impl LookupError {
    /// True when other questions may well be answered: this one has something of its own that is wrong.
    pub fn is_about_one(&self) -> bool {
        match self {
            LookupError::Throttled { .. } | LookupError::Unavailable(_) => false,
            LookupError::Unreadable(_) => true,
            LookupError::Refused { http_status, .. } => !matches!(http_status, 401 | 403),
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    messages: Vec<MessageResource>,
    #[serde(default)]
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
struct MediaListed {
    media_list: Vec<Media>,
}

#[derive(Deserialize)]
struct Media {
    uri: String,
    #[serde(default)]
    content_type: Option<String>,
}

/// An attachment of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaItem {
    /// Where it can be fetched with the account's credentials.
    pub url: String,
    /// MIME type, such as `image/jpeg`; empty when Twilio does not say.
    pub content_type: String,
}

impl Client {
    /// The newest page of a list.
    ///
    /// # Errors
    /// [`LookupError`] says whether to ask again.
    pub async fn list(&self, query: &ListQuery) -> Result<MessagePage, LookupError> {
        let mut url = self.messages().clone();
        {
            let mut pairs = url.query_pairs_mut();
            pairs.extend_pairs(query.to.as_ref().map(|to| ("To", to)));
            pairs.extend_pairs(query.from.as_ref().map(|from| ("From", from)));
            let since =
                query.sent_since.and_then(|at| jiff::Timestamp::from_second(at.div_euclid(1_000)).ok());
            // The comparison is part of the name, and means "at or after".
            pairs.extend_pairs(since.map(|at| ("DateSent>", at.to_string())));
            pairs.append_pair("PageSize", &query.page_size.clamp(1, 1_000).to_string());
        }
        self.page(url).await
    }

    /// The page behind `next`.
    ///
    /// # Errors
    /// [`LookupError`] says whether to ask again.
    pub async fn next_page(&self, next: &NextPage) -> Result<MessagePage, LookupError> {
        self.page(next.0.clone()).await
    }

    async fn page(&self, url: Url) -> Result<MessagePage, LookupError> {
        let (listed, answered_at): (Listed, _) = self.ask(url).await?;
        let next = match listed.next_page_uri {
            Some(uri) => Some(NextPage(self.within(&uri)?)),
            None => None,
        };
        Ok(MessagePage { messages: listed.messages, next, answered_at })
    }

    /// One message; `None` when Twilio does not know it (any more).
    ///
    /// # Errors
    /// [`LookupError`] says whether to ask again.
    pub async fn fetch(&self, sid: &str) -> Result<Option<MessageResource>, LookupError> {
        let Some(url) = self.beside_messages(sid, ".json") else {
            return Ok(None);
        };
        match self.ask(url).await {
            Ok((resource, _)) => Ok(Some(resource)),
            Err(LookupError::Refused { http_status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The attachments of a message.
    ///
    /// # Errors
    /// [`LookupError`] says whether to ask again.
    pub async fn media(&self, sid: &str) -> Result<Vec<MediaItem>, LookupError> {
        let Some(url) = self.beside_messages(sid, "/Media.json") else {
            return Ok(Vec::new());
        };
        let (listed, _): (MediaListed, _) = self.ask(url).await?;
        listed
            .media_list
            .into_iter()
            .map(|media| {
                let url = self.within(media.uri.trim_end_matches(".json"))?;
                Ok(MediaItem { url: url.into(), content_type: media.content_type.unwrap_or_default() })
            })
            .collect()
    }

    /// `…/Messages/`, the SID and `tail`; `None` when `sid` is none and could lead elsewhere.
    fn beside_messages(&self, sid: &str, tail: &str) -> Option<Url> {
        let base = self.messages().as_str().trim_end_matches(".json");
        let is_sid = !sid.is_empty() && sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_sid.then(|| Url::parse(&format!("{base}/{sid}{tail}")).ok()).flatten()
    }

    /// A relative path of Twilio's as an address of the same server: credentials never go elsewhere.
    fn within(&self, path: &str) -> Result<Url, LookupError> {
        let base = self.messages();
        base.join(path)
            .ok()
            .filter(|url| url.origin() == base.origin())
            .ok_or_else(|| LookupError::Unreadable(format!("the link {path:?} leads away from {base}")))
    }

    /// A question for JSON, with Twilio's clock as it answered.
    pub(super) async fn ask<T: DeserializeOwned>(&self, url: Url) -> Result<(T, Option<i64>), LookupError> {
        let lost = |error: &reqwest::Error| LookupError::Unavailable(chain(error));
        let answer = self.get(url).send().await.map_err(|error| lost(&error))?;
        let status = answer.status().as_u16();
        let retry_after = retry_after(&answer);
        let answered_at = answer
            .headers()
            .get("date")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
            .map(|at| at.timestamp().as_millisecond());
        match status {
            429 => return Err(LookupError::Throttled { retry_after }),
            500.. => return Err(LookupError::Unavailable(format!("HTTP {status}"))),
            _ => {}
        }
        let body = answer.bytes().await.map_err(|error| lost(&error))?;
        if !(200..300).contains(&status) {
            let (code, message) = error_body(&body);
            return Err(LookupError::Refused { http_status: status, code, message });
        }
        let read =
            serde_json::from_slice(&body).map_err(|error| LookupError::Unreadable(error.to_string()))?;
        Ok((read, answered_at))
    }
}
