//! HTTP in: translates requests into calls of flows and store, and nothing else.
//! `webhooks` is what Twilio calls, `api` what integrators call; the rest serves both.

pub mod webhooks;

use std::sync::Arc;

use crate::campaign::Setup;
use crate::config::Config;
use crate::domain::consent::KeywordTable;
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
}
