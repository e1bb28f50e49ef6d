//! The door of the webhooks: body within bounds, signature by one of our tokens, account ours.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use futures_util::StreamExt;
use secrecy::ExposeSecret;

use super::MAX_BODY;
use crate::config::Config;
use crate::store::StoreError;
use crate::twilio::signature::verify_form;
use crate::twilio::webhook::{MissingParam, Params, parse_form};
use crate::web::State;
use crate::web::error::Problem;

/// Why a webhook was not taken. The sentences name no secret and nothing of the body.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the request has no X-Twilio-Signature")]
    Unsigned,
    #[error(
        "the signature does not fit; check auth_token, and that public_base_url is the address that Twilio calls"
    )]
    BadSignature,
    #[error("the account is not the configured one")]
    ForeignAccount,
    #[error("the body is longer than {MAX_BODY} bytes")]
    TooLarge,
    #[error("the body is not application/x-www-form-urlencoded")]
    NotAForm,
    #[error("the body broke off")]
    BrokenOff,
    #[error(transparent)]
    Missing(#[from] MissingParam),
    #[error("{0}")]
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Store(error)
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Unsigned | Refusal::BadSignature | Refusal::ForeignAccount => StatusCode::FORBIDDEN,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::BrokenOff | Refusal::Missing(_) => StatusCode::BAD_REQUEST,
            Refusal::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Logs why a webhook was not taken, and answers with it.
    pub(super) fn into_problem(self) -> Problem {
        match self {
            Refusal::Store(error) => error.into(),
            refusal => {
                tracing::warn!(reason = %refusal, "a webhook was refused");
                Problem::new(refusal.status(), format!("{refusal}."))
            }
        }
    }
}

/// The decoded form of a request that Twilio signed.
pub(super) struct Signed {
    pub(super) params: Params,
}

impl Signed {
    pub(super) fn check_account(&self, account_sid: &str, config: &Config) -> Result<(), Refusal> {
        if account_sid == config.twilio.account_sid {
            return Ok(());
        }
        Err(Refusal::ForeignAccount)
    }
}

impl FromRequest for Signed {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Signed, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            let checked = check(&request, payload).await;
            if checked.is_err() {
                state(&request).metrics.count_webhook("twilio", "refused");
            }
            checked.map_err(Refusal::into_problem)
        })
    }
}

fn state(request: &HttpRequest) -> &Data<State> {
    request.app_data::<Data<State>>().expect("the application registers its state before its routes")
}

async fn check(request: &HttpRequest, payload: Payload) -> Result<Signed, Refusal> {
    let signature = header(request, "x-twilio-signature").ok_or(Refusal::Unsigned)?;
    let is_form = header(request, CONTENT_TYPE.as_str())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Err(Refusal::NotAForm);
    }
    let body = read_body(request, payload).await?;
    let params = parse_form(&body);
    let config = &state(request).config.get();
    let tokens = config.twilio.signing_tokens();
    let tokens: Vec<&str> = tokens.iter().map(ExposeSecret::expose_secret).collect();
    if tokens.is_empty() || !verify_form(&tokens, &called_url(config, request), &params, &signature) {
        return Err(Refusal::BadSignature);
    }
    Ok(Signed { params })
}

/// The URL that Twilio signed: ours by configuration, never by what a proxy or a stranger says in a header.
fn called_url(config: &Config, request: &HttpRequest) -> String {
    let base = config.server.public_base_url.as_str().trim_end_matches('/');
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    format!("{base}{path}")
}

fn header(request: &HttpRequest, name: &str) -> Option<String> {
    request.headers().get(name)?.to_str().ok().map(str::to_owned)
}

async fn read_body(request: &HttpRequest, mut payload: Payload) -> Result<Vec<u8>, Refusal> {
    let announced = header(request, "content-length").and_then(|text| text.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY) {
        return Err(Refusal::TooLarge);
    }
    let mut body = Vec::with_capacity(announced.unwrap_or(1_024));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Refusal::BrokenOff)?;
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Refusal::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
