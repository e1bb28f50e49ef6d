//! HTTP in: translates requests into calls of flows and store, and nothing else.
//! `webhooks` is what Twilio calls, `api` what integrators call; the rest serves both.

pub mod webhooks;

use std::sync::Arc;

use crate::campaign::Setup;
use crate::config::Config;
use crate::domain::consent::KeywordTable;
use crate::inbound::Replies;
use crate::store::Store;

/// What every handler may use. Clones share it.
#[derive(Clone)]
pub struct State {
    /// The data file.
    pub store: Store,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// Whether anything can be sent.
    pub setup: Setup,
    /// Words that people send.
    pub keywords: Arc<KeywordTable>,
    /// What they are answered.
    pub replies: Arc<Replies>,
}

/// Mounts everything.
pub fn configure(config: &mut actix_web::web::ServiceConfig) {
    webhooks::configure(config);
}

/// A refusal as `application/problem+json` (RFC 9457).
pub(crate) fn problem(status: actix_web::http::StatusCode, detail: &str) -> actix_web::HttpResponse {
    actix_web::HttpResponse::build(status).content_type("application/problem+json").body(detail.to_owned())
}
