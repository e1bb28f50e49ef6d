//! The one table of the pages: every address below `/admin` behind the login, with the least role that each method
//! needs and the handler that answers. The server is built from it, `guard` closes by it, and tests walk it.
//!
//! Of two addresses that fit, the first in the table answers: `/users/new` stands before `/users/{id}`.

use actix_web::guard;
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};

use super::{
    api_keys, audit, campaigns, dashboard, imports, inbox, login, monitoring, operators, profile, search,
    segments, settings, templates, users, webhook_endpoints,
};
use crate::store::operators::Role;

/// A way into the pages.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Below `/admin`, with `{…}` for what varies.
    pub path: &'static str,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The least that an operator must be.
    pub role: Role,
}

/// Writes the table once, for the server and for whoever checks it.
macro_rules! routes {
    ($($path:literal { $($method:ident $role:ident => $handler:path),+ $(,)? })+) => {
        /// Every page behind the login.
        pub const ROUTES: &[Route] = &[
            $($(Route { path: $path, method: routes!(@ $method), role: Role::$role },)+)+
        ];

        /// Mounts every page behind the login.
        pub(super) fn mount(config: &mut ServiceConfig) {
            $(config.service(web::resource($path)$(.route(way(routes!(@ $method)).to($handler)))+);)+
        }
    };
    (@ get) => { "GET" };
    (@ post) => { "POST" };
}

routes! {
    // What runs now, and where to find it.
    "" { get Viewer => dashboard::show }
    "/live/dashboard" { get Viewer => dashboard::live }
    "/live/monitoring" { get Viewer => monitoring::live }
    "/live/events" { get Viewer => monitoring::live_events }
    "/monitoring" { get Viewer => monitoring::show }
    "/monitoring/events" { get Viewer => monitoring::events }
    "/monitoring/webhooks" { get Viewer => monitoring::webhooks }
    "/search" { get Viewer => search::show }

    // Campaigns.
    "/campaigns" { get Viewer => campaigns::list::show }
    "/campaigns/new" {
        get Operator => campaigns::plan::new,
        post Operator => campaigns::plan::create,
    }
    "/campaigns/people" { get Operator => campaigns::plan::people }
    "/campaigns/compare" { get Viewer => campaigns::compare::show }
    "/campaigns/{id}" { get Viewer => campaigns::watch::show }
    "/live/campaigns/{id}" { get Viewer => campaigns::watch::live }
    "/campaigns/{id}/audience" {
        get Operator => campaigns::plan::audience_step,
        post Operator => campaigns::plan::save_audience,
    }
    "/campaigns/{id}/message" {
        get Operator => campaigns::plan::message_step,
        post Operator => campaigns::plan::save_message,
    }
    "/campaigns/{id}/schedule" {
        get Operator => campaigns::plan::schedule_step,
        post Operator => campaigns::plan::save_schedule,
    }
    "/campaigns/{id}/preview" { get Operator => campaigns::preview::show }
    "/campaigns/{id}/review" { get Operator => campaigns::review::show }
    "/campaigns/{id}/waterfall" { get Operator => campaigns::review::part }
    "/campaigns/{id}/launch" { post Operator => campaigns::launch::launch }
    "/campaigns/{id}/test" { post Operator => campaigns::launch::test }
    "/campaigns/{id}/pause" { post Operator => campaigns::act::pause }
    "/campaigns/{id}/resume" { post Operator => campaigns::act::resume }
    "/campaigns/{id}/cancel" {
        get Operator => campaigns::act::ask_cancel,
        post Operator => campaigns::act::cancel,
    }
    "/campaigns/{id}/retry" {
        get Operator => campaigns::act::ask_retry,
        post Operator => campaigns::act::retry,
    }
    "/campaigns/{id}/rate" {
        get Operator => campaigns::act::ask_rate,
        post Operator => campaigns::act::rate,
    }
    "/campaigns/{id}/clone" { post Operator => campaigns::act::clone }
    "/campaigns/{id}/delete" {
        get Operator => campaigns::act::ask_delete,
        post Operator => campaigns::act::delete,
    }
    "/campaigns/{id}/messages" { get Viewer => campaigns::people::show }
    "/campaigns/{id}/messages.csv" { get Operator => campaigns::people::sheet }

    // People.
    "/users" {
        get Viewer => users::list::list,
        post Operator => users::edit::create,
    }
    "/users/new" { get Operator => users::edit::new }
    "/users/count" { get Viewer => users::list::count }
    "/users/export" { get Operator => users::bulk::sheet }
    "/users/bulk" {
        get Operator => users::bulk::ask,
        post Operator => users::bulk::start,
    }
    "/users/bulk/{id}" { get Operator => users::bulk::show }
    "/users/bulk/{id}/cancel" { post Operator => users::bulk::cancel }
    "/users/{id}" { get Viewer => users::person::show }
    "/users/{id}/edit" {
        get Operator => users::edit::show,
        post Operator => users::edit::save,
    }
    "/users/{id}/consent" {
        get Operator => users::consent::show,
        post Operator => users::consent::record,
    }
    "/users/{id}/topics" { post Operator => users::standing::set_topic }
    "/users/{id}/reachable" { post Operator => users::standing::clear }
    "/users/{id}/suppress" {
        get Operator => users::standing::ask,
        post Operator => users::standing::suppress,
    }
    "/users/{id}/unsuppress" { post Operator => users::standing::lift }
    "/users/{id}/explain" { get Viewer => users::explain::show }
    "/users/{id}/proof" { get Operator => users::papers::proof }
    "/users/{id}/export" { get Operator => users::papers::export }
    "/users/{id}/erase" {
        get Admin => users::erase::ask,
        post Admin => users::erase::erase,
    }

    // Imports.
    "/live/imports/{id}" { get Viewer => imports::live }
    "/imports" {
        get Viewer => imports::list,
        post Operator => imports::upload,
    }
    "/imports/new" { get Operator => imports::new }
    "/imports/{id}" { get Viewer => imports::show }
    "/imports/{id}/columns" {
        get Operator => imports::columns,
        post Operator => imports::save,
    }
    "/imports/{id}/encoding" { post Operator => imports::read_again }
    "/imports/{id}/guess" { post Operator => imports::guess }
    "/imports/{id}/review" { get Operator => imports::review }
    "/imports/{id}/run" { post Operator => imports::run }
    "/imports/{id}/discard" { post Operator => imports::discard }
    "/imports/{id}/undo" {
        get Operator => imports::ask_undo,
        post Operator => imports::undo,
    }
    "/imports/{id}/rejected.csv" { get Operator => imports::sheet }

    // Segments.
    "/segments" {
        get Viewer => segments::list,
        post Operator => segments::create,
    }
    "/segments/new" { get Operator => segments::new }
    "/segments/build" { post Operator => segments::build }
    "/segments/preview" { post Viewer => segments::count }
    "/segments/attributes" { get Viewer => segments::catalogue }
    "/segments/names" { get Viewer => segments::names }
    "/segments/values" { get Viewer => segments::values }
    "/segments/{id}" {
        get Viewer => segments::show,
        post Operator => segments::change,
    }
    "/segments/{id}/delete" {
        get Operator => segments::ask_delete,
        post Operator => segments::delete,
    }

    // Templates.
    "/templates" {
        get Viewer => templates::list,
        post Operator => templates::create,
    }
    "/templates/new" { get Operator => templates::new }
    "/templates/draft" { post Viewer => templates::draft }
    "/templates/content" {
        get Viewer => templates::content::list,
        post Operator => templates::content::create,
    }
    "/templates/content/new" { get Operator => templates::content::new }
    "/templates/content/sync" { post Operator => templates::content::sync }
    "/templates/content/{sid}" { get Viewer => templates::content::show }
    "/templates/content/{sid}/submit" { post Operator => templates::content::submit }
    "/templates/{id}" {
        get Viewer => templates::show,
        post Operator => templates::change,
    }
    "/templates/{id}/delete" {
        get Operator => templates::ask_delete,
        post Operator => templates::delete,
    }
    "/templates/{id}/preview" { get Viewer => templates::preview }
    "/templates/{id}/submit" { post Operator => templates::content::submit_own }
    "/templates/{id}/test" {
        get Operator => templates::sending::show,
        post Operator => templates::sending::send,
    }

    // The inbox.
    "/inbox/{user_id}/media/{inbound_id}/{number}" { get Viewer => inbox::attachment }
    "/live/inbox" { get Viewer => inbox::live }
    "/inbox" { get Viewer => inbox::list }
    "/inbox/review" { get Viewer => inbox::review }
    "/inbox/unmatched" { get Viewer => inbox::unmatched }
    "/inbox/replies" {
        get Viewer => inbox::canned,
        post Operator => inbox::create,
    }
    "/inbox/replies/{id}" {
        get Operator => inbox::edit,
        post Operator => inbox::update,
    }
    "/inbox/replies/{id}/remove" { post Operator => inbox::remove }
    "/inbox/{user_id}" { get Viewer => inbox::show }
    "/inbox/{user_id}/reply" { post Operator => inbox::reply }
    "/inbox/{user_id}/read" { post Operator => inbox::mark_read }
    "/inbox/{user_id}/unread" { post Operator => inbox::mark_unread }
    "/inbox/{user_id}/close" { post Operator => inbox::close }
    "/inbox/{user_id}/reopen" { post Operator => inbox::reopen }
    "/inbox/{user_id}/assign" { post Operator => inbox::assign }
    "/inbox/{user_id}/judge" { post Operator => inbox::judge }
    "/inbox/{user_id}/canned/{id}" { get Operator => inbox::insertable }

    // One’s own account.
    "/logout" { post Viewer => login::leave }
    "/settings/profile" {
        get Viewer => profile::show,
        post Viewer => profile::save,
    }
    "/settings/profile/password" { post Viewer => profile::set_password }
    "/settings/profile/leave-others" { post Viewer => profile::leave_others }
    "/settings/profile/second-factor" {
        get Viewer => profile::second_factor::show,
        post Viewer => profile::second_factor::confirm,
    }
    "/settings/profile/second-factor/begin" { post Viewer => profile::second_factor::begin }
    "/settings/profile/second-factor/remove" { post Viewer => profile::second_factor::remove }
    "/settings/profile/recovery-codes" { post Viewer => profile::second_factor::renew_codes }

    // Who and what has access, and what they did.
    "/settings/operators" {
        get Admin => operators::list,
        post Admin => operators::create,
    }
    "/settings/operators/new" { get Admin => operators::new }
    "/settings/operators/{id}" {
        get Admin => operators::show,
        post Admin => operators::set_role,
    }
    "/settings/operators/{id}/disable" { post Admin => operators::disable }
    "/settings/operators/{id}/enable" { post Admin => operators::enable }
    "/settings/operators/{id}/link" { post Admin => operators::link }
    "/settings/operators/{id}/second-factor/remove" { post Admin => operators::remove_second_factor }
    "/settings/operators/{id}/sign-out" { post Admin => operators::sign_out }
    "/settings/api-keys" {
        get Admin => api_keys::list,
        post Admin => api_keys::create,
    }
    "/settings/api-keys/new" { get Admin => api_keys::new }
    "/settings/api-keys/{id}/revoke" {
        get Admin => api_keys::confirm_revoke,
        post Admin => api_keys::revoke,
    }
    "/settings/webhook-endpoints" {
        get Operator => webhook_endpoints::list,
        post Admin => webhook_endpoints::create,
    }
    "/settings/webhook-endpoints/new" { get Admin => webhook_endpoints::new }
    "/settings/webhook-endpoints/{id}" {
        get Operator => webhook_endpoints::show,
        post Admin => webhook_endpoints::update,
    }
    "/settings/webhook-endpoints/{id}/switch" { post Admin => webhook_endpoints::switch }
    "/settings/webhook-endpoints/{id}/rotate" { post Admin => webhook_endpoints::rotate }
    "/settings/webhook-endpoints/{id}/test" { post Admin => webhook_endpoints::deliveries::test }
    "/settings/webhook-endpoints/{id}/remove" {
        get Admin => webhook_endpoints::confirm_remove,
        post Admin => webhook_endpoints::remove,
    }
    "/settings/webhook-endpoints/{id}/deliveries/{delivery}" {
        get Operator => webhook_endpoints::deliveries::show,
    }
    "/settings/webhook-endpoints/{id}/deliveries/{delivery}/resend" {
        post Admin => webhook_endpoints::deliveries::resend,
    }
    "/settings/audit" { get Admin => audit::list }

    // How the engine works.
    "/settings" { get Viewer => settings::index }
    "/settings/setup" { get Operator => settings::setup::show }
    "/settings/setup/account" { post Admin => settings::setup::account }
    "/settings/setup/sender" { post Admin => settings::setup::sender }
    "/settings/setup/public-url" { post Admin => settings::setup::public_url }
    "/settings/setup/test" { post Admin => settings::account::test }
    "/settings/demo" {
        get Admin => settings::demo::confirm,
        post Admin => settings::demo::load,
    }
    "/settings/demo/remove" { post Admin => settings::demo::remove }
    "/settings/twilio" {
        get Admin => settings::account::show,
        post Admin => settings::account::save,
    }
    "/settings/senders" {
        get Admin => settings::senders::list,
        post Admin => settings::senders::create,
    }
    "/settings/senders/{id}" {
        get Admin => settings::senders::show,
        post Admin => settings::senders::save,
    }
    "/settings/senders/{id}/pause" { post Admin => settings::senders::pause }
    "/settings/senders/{id}/remove" { post Admin => settings::senders::remove }
    "/settings/topics" {
        get Operator => settings::topics::list,
        post Operator => settings::topics::create,
    }
    "/settings/topics/{name}" { post Operator => settings::topics::save }
    "/settings/topics/{name}/remove" { post Operator => settings::topics::remove }
    "/settings/keywords" {
        get Admin => settings::section::show,
        post Admin => settings::section::save,
    }
    "/settings/first-message" {
        get Admin => settings::section::show,
        post Admin => settings::section::save,
    }
    "/settings/prices" {
        get Admin => settings::section::show,
        post Admin => settings::section::save,
    }
    "/settings/delivery" {
        get Admin => settings::section::show,
        post Admin => settings::section::save,
    }
    "/settings/retention" {
        get Admin => settings::section::show,
        post Admin => settings::section::save,
    }
    "/settings/quiet-hours" {
        get Admin => settings::quiet_hours::show,
        post Admin => settings::quiet_hours::save,
    }
    "/settings/quiet-hours/preset" { post Admin => settings::quiet_hours::save_preset }
    "/settings/backup" {
        get Admin => settings::backup::show,
        post Admin => settings::backup::save,
    }
    "/settings/backup/make" { post Admin => settings::backup::make }
    "/settings/backup/release" { post Admin => settings::backup::release }
    "/settings/backup/{name}" { get Admin => settings::backup::download }
    "/settings/backup/{name}/remove" { post Admin => settings::backup::remove }
}

/// The route of a method; whoever may GET may ask by HEAD.
pub(super) fn way(method: &str) -> actix_web::Route {
    match method {
        "GET" => web::route().guard(guard::Any(guard::Get()).or(guard::Head())),
        _ => web::method(Method::POST),
    }
}
