//! HTTP in: translates requests into calls of flows and store, and nothing else.
//! `webhooks` is what Twilio calls, `api` what integrators call, `admin` the pages for people, `openapi` how that is described; the rest serves both.

pub mod admin;
pub mod api;
pub mod auth;
pub mod body;
pub mod checkup;
pub mod error;
pub mod etag;
pub mod health;
pub mod idempotency;
pub mod limits;
pub mod logins;
pub mod openapi;
pub mod page;
pub mod pages;
pub mod pieces;
pub mod reply;
pub mod request_id;
pub mod streams;
pub mod webhooks;

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

use crate::campaign::Setup;
use crate::config::{Config, InForce};
use crate::content::Contents;
use crate::domain::consent::KeywordTable;
use crate::domain::rules::Rules;
use crate::inbound::Attachments;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::stand_in::StandIn;
use crate::store::Store;
use crate::twilio::client::Client;
use crate::vitals::Vitals;

/// What every handler may use. Clones share it.
#[derive(Clone)]
pub struct State {
    /// The data file.
    pub store: Store,
    /// The configuration in force.
    pub config: Live<Config>,
    /// The same with the origin of each value; what changes it, and all that follows it.
    pub in_force: InForce,
    /// Whether anything can be sent.
    pub setup: Live<Setup>,
    /// Who speaks to Twilio now; none while no account is set.
    pub twilio: Live<Option<Client>>,
    /// Words that people send.
    pub keywords: Live<KeywordTable>,
    /// House rules.
    pub rules: Live<Rules>,
    /// The copy of the data file that is being made.
    pub backups: admin::Backups,
    /// The simulator of this process, if one stands in for Twilio.
    pub stand_in: StandIn,
    /// What the doctor found last.
    pub checkup: checkup::LastCheckup,
    /// Templates at Twilio.
    pub contents: Contents,
    /// What came with messages, at Twilio.
    pub attachments: Attachments,
    /// What is counted.
    pub metrics: Metrics,
    /// How much one caller may ask.
    pub limits: limits::Limits,
    /// Answers that stay open.
    pub streams: streams::Streams,
    /// What was worked out about audiences of late.
    pub looks: admin::campaigns::Looks,
    /// How the process has been doing in the last minutes.
    pub vitals: Vitals,
    /// Those who look at live pages.
    pub watchers: admin::live::Watchers,
    /// The numbers of the side bar.
    pub badges: admin::badges::Badges,
}

/// Everything that is served, for `App::configure`.
pub fn configure(state: State) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config.app_data(web::Data::new(state)).service(
            web::scope("")
                .wrap(from_fn(request_id::edge))
                .service(
                    // Many a watcher asks by HEAD.
                    web::resource("/healthz")
                        .route(web::get().to(health::healthz))
                        .route(web::head().to(health::healthz)),
                )
                .service(
                    web::resource("/readyz")
                        .route(web::get().to(health::readyz))
                        .route(web::head().to(health::readyz)),
                )
                .service(web::resource("/metrics").route(web::get().to(health::metrics)))
                .configure(webhooks::configure)
                .configure(openapi::docs::configure)
                .configure(admin::configure)
                .configure(api::configure)
                .default_service(web::to(nothing_here)),
        );
    }
}

/// No route fits.
async fn nothing_here() -> Result<reply::Reply, error::Problem> {
    Err(error::Problem::not_found("There is nothing under this path."))
}
