//! Attachments, fetched from where Twilio keeps them. The address came with a webhook: it is asked for only where the
//! API itself is, with our credentials, and what that answers leads only to Twilio's own stores, without them.
//! <https://www.twilio.com/docs/messaging/api/media-resource>

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, LOCATION};
use url::{Host, Url};

use super::client::{Client, chain};

/// Longest attachment, in bytes: WhatsApp's limit is 16 MB, documents may have more.
pub const LARGEST: u64 = 32 * 1024 * 1024;
/// The whole exchange.
const PATIENCE: Duration = Duration::from_secs(60);
/// Twilio answers with one redirect, to the store.
const MOST_REDIRECTS: usize = 3;
/// Where Twilio keeps attachments.
const STORES: [&str; 2] = ["twilio.com", "twiliocdn.com"];
/// The same on Amazon's servers, below a path of Twilio's own.
const SHARED_STORE: (&str, &str) = ("s3-external-1.amazonaws.com", "/media.twiliocdn.com/");

/// Why there is nothing to show.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MediaError {
    /// The address, or what it leads to, is none of Twilio's.
    #[error("the attachment is not kept at Twilio")]
    Elsewhere,
    /// Twilio has it no more.
    #[error("Twilio has the attachment no more")]
    Gone,
    /// Longer than [`LARGEST`].
    #[error("the attachment is too large")]
    TooLarge,
    /// Ask again later.
    #[error("Twilio could not be asked: {0}")]
    Unavailable(String),
}

/// An attachment on its way.
#[derive(Debug)]
pub struct Media {
    /// MIME type as the store says; empty when it does not.
    pub content_type: String,
    /// Bytes, if told beforehand.
    pub length: Option<u64>,
    answer: reqwest::Response,
    left: u64,
}

impl Media {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`MediaError`] when it breaks off or gets too long.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, MediaError> {
        let chunk = self.answer.chunk().await.map_err(|error| MediaError::Unavailable(chain(&error)))?;
        if let Some(chunk) = &chunk {
            self.left = self.left.checked_sub(chunk.len() as u64).ok_or(MediaError::TooLarge)?;
        }
        Ok(chunk.map(Vec::from))
    }
}

impl Client {
    /// Begins to fetch the attachment at `url`, as a webhook told it.
    ///
    /// # Errors
    /// [`MediaError`] says whether to ask again.
    pub async fn open_media(&self, url: &str) -> Result<Media, MediaError> {
        let base = self.messages().clone();
        let mut url =
            Url::parse(url).ok().filter(|url| is_resource(&base, url)).ok_or(MediaError::Elsewhere)?;
        let mut request = self.get(url.clone());
        for _ in 0..=MOST_REDIRECTS {
            let answer = request.timeout(PATIENCE).send().await;
            let answer = answer.map_err(|error| MediaError::Unavailable(chain(&error)))?;
            match answer.status().as_u16() {
                200 => return begin(answer),
                300..=399 => {
                    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                    let next = location.and_then(|location| url.join(location).ok());
                    url = next.filter(|next| is_store(&base, next)).ok_or(MediaError::Elsewhere)?;
                    request = self.get_plain(url.clone());
                }
                404 | 410 => return Err(MediaError::Gone),
                status => return Err(MediaError::Unavailable(format!("HTTP {status}"))),
            }
        }
        Err(MediaError::Elsewhere)
    }
}

fn begin(answer: reqwest::Response) -> Result<Media, MediaError> {
    let length = answer.content_length();
    if length.is_some_and(|length| length > LARGEST) {
        return Err(MediaError::TooLarge);
    }
    let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Ok(Media { content_type: content_type.unwrap_or_default().to_owned(), length, answer, left: LARGEST })
}

/// True for an attachment of a message below the API that we speak to: nobody else gets our credentials.
fn is_resource(base: &Url, url: &Url) -> bool {
    let segments: Vec<&str> = url.path().split('/').collect();
    let is_path = matches!(segments.as_slice(),
        ["", "2010-04-01", "Accounts", account, "Messages", message, "Media", media]
            if [account, message, media].iter().all(|sid| is_sid(sid)));
    is_path && url.origin() == base.origin() && url.username().is_empty() && url.password().is_none()
}

fn is_sid(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// True for the servers from which Twilio hands attachments out, or the stand-in that we speak to.
fn is_store(base: &Url, url: &Url) -> bool {
    if url.origin() == base.origin() {
        return true;
    }
    let Some(Host::Domain(host)) = url.host() else {
        return false;
    };
    let is_own = STORES
        .iter()
        .any(|store| host.strip_suffix(store).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    let is_shared = host == SHARED_STORE.0 && url.path().starts_with(SHARED_STORE.1);
    url.scheme() == "https" && url.port().is_none() && (is_own || is_shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_api_gets_the_credentials_and_only_twilios_stores_are_followed() {
        let base = Url::parse("https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json").unwrap();
        for (url, asked, followed) in [
            ("https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1", true, true),
            ("https://api.twilio.com:443/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1", true, true),
            ("http://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1", false, false),
            ("https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/../../../x", false, true),
            ("https://api.twilio.com/2010-04-01/Accounts/AC1.json", false, true),
            ("https://u:p@api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1", false, true),
            (
                "https://api.twilio.com.evil.example/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1",
                false,
                false,
            ),
            ("https://media.twiliocdn.com/AC1/x", false, true),
            ("https://mms.twiliocdn.com/x?Expires=1&Signature=y", false, true),
            ("https://eviltwiliocdn.com/x", false, false),
            ("https://s3-external-1.amazonaws.com/media.twiliocdn.com/AC1/x", false, true),
            ("https://s3-external-1.amazonaws.com/other/x", false, false),
            ("https://media.twiliocdn.com:8443/x", false, false),
            ("https://169.254.169.254/latest/meta-data", false, false),
            ("http://127.0.0.1:9010/x", false, false),
            ("https://[::1]/x", false, false),
            ("file:///etc/passwd", false, false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(is_resource(&base, &url), asked, "{url}");
            assert_eq!(is_store(&base, &url), followed, "{url}");
        }
    }
}
