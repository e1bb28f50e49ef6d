//! A request to ourselves as Twilio would make it, through the public address and whatever stands before it: shows
//! that the address leads here and that signatures fit on arrival.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::client::chain;
use super::signature::{SIGNATURE_HEADER, sign};

/// Where it goes, below the public address.
pub const PATH: &str = "/webhooks/twilio/check";
/// The parameter that the answer repeats.
pub const WORD: &str = "Word";
/// Twilio itself waits 15 seconds; whoever looks at the page does not.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer that is longer is not ours.
const MOST_BYTES: u64 = 1_024;

/// Why it did not come back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoundTripError {
    /// Nobody is there.
    #[error("{0} does not answer ({1})")]
    Unreachable(Url, String),
    /// It came here, and what was signed is not what arrived.
    #[error(
        "{0} leads here, but the signature does not fit on arrival: a proxy changes the path or the query, or the address differs from the one that is called"
    )]
    BadSignature(Url),
    /// Something else lives there.
    #[error("{0} answers {1}, and not this server")]
    Elsewhere(Url, u16),
}

/// Sends a signed form to the public address `base` and looks whether it came here.
///
/// # Errors
/// [`RoundTripError`] in words for an operator.
pub async fn round_trip(base: &Url, account_sid: &str, token: &SecretString) -> Result<(), RoundTripError> {
    let called = format!("{}{PATH}", base.as_str().trim_end_matches('/'));
    let word = format!("{:032x}", rand::random::<u128>());
    let form = [("AccountSid".to_owned(), account_sid.to_owned()), (WORD.to_owned(), word.clone())];
    let signature = sign(token.expose_secret(), &called, &form);
    let lost = |error: &reqwest::Error| RoundTripError::Unreachable(base.clone(), chain(error));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| lost(&error))?;
    let request = http.post(&called).header(SIGNATURE_HEADER, signature).form(&form);
    let answer = request.send().await.map_err(|error| lost(&error))?;
    let status = answer.status().as_u16();
    let is_ours = answer.headers().get("x-request-id").is_some();
    let is_short = answer.content_length().is_some_and(|length| length <= MOST_BYTES);
    match status {
        200 if is_short => {
            let said = answer.text().await.map_err(|error| lost(&error))?;
            if said == word { Ok(()) } else { Err(RoundTripError::Elsewhere(base.clone(), status)) }
        }
        403 if is_ours => Err(RoundTripError::BadSignature(base.clone())),
        _ => Err(RoundTripError::Elsewhere(base.clone(), status)),
    }
}
