//! `/api/v1`: what integrators call. This is the one table of its routes; each noun has a file of its own.
//! Handlers read the request, call a flow or the store, and say what came of it.

pub(super) mod api_keys;
pub(super) mod audience;
pub(super) mod campaign_actions;
pub(super) mod campaign_plan;
pub(super) mod campaigns;
pub(super) mod consent;
pub(super) mod content_templates;
pub(super) mod event_stream;
pub(super) mod events;
pub(super) mod explain;
pub(super) mod export;
pub(super) mod imports;
pub(super) mod inbound;
pub(super) mod messages;
pub(super) mod operations;
pub(super) mod overview;
pub(super) mod proof;
pub(super) mod report;
pub(super) mod segments;
pub(super) mod senders;
pub(super) mod settings;
pub(super) mod suppressions;
pub(super) mod templates;
pub(super) mod timeline;
pub(super) mod topics;
pub(super) mod trigger_line;
pub(super) mod triggers;
pub(super) mod users;
pub(super) mod webhook_deliveries;
pub(super) mod webhook_endpoints;

use actix_web::guard;
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

use super::auth::require_key;
use super::error::Problem;
use super::openapi;
use super::reply::Reply;

/// What every handler answers.
type Answer = Result<Reply, Problem>;

/// A way into the API.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Below `/api/v1`, with `{…}` for what varies.
    pub path: &'static str,
    /// `GET`, `POST` …
    pub method: &'static str,
    /// The scope that a key needs; where two would do, the first of them.
    pub scope: &'static str,
}

/// Writes the table once, for the server and for whoever describes or checks it.
macro_rules! routes {
    ($($path:literal { $($method:ident $name:literal $scope:literal => $handler:path,)+ })+) => {
        /// Every route that needs a key.
        pub const ROUTES: &[Route] = &[
            $($(Route { path: $path, method: $name, scope: $scope },)+)+
        ];

        fn mount(config: &mut ServiceConfig) {
            $(config.service(web::resource($path)$(.route(way($path, $name).to($handler)))+);)+
        }
    };
}

routes! {
    "/users" {
        get "GET" "read" => users::list,
        post "POST" "write" => users::create,
    }
    "/users/{person}" {
        get "GET" "read" => users::show,
        patch "PATCH" "write" => users::update,
        delete "DELETE" "write" => users::erase,
    }
    "/users/{person}/consent" {
        get "GET" "read" => consent::list,
        post "POST" "write" => consent::record,
    }
    "/users/{person}/topics/{topic}" {
        put "PUT" "write" => topics::join,
        delete "DELETE" "write" => topics::leave,
    }
    "/users/{person}/explain" {
        get "GET" "read" => explain::show,
    }
    "/users/{person}/timeline" {
        get "GET" "read" => timeline::show,
    }
    "/users/{person}/export" {
        get "GET" "read" => export::show,
    }
    "/users/{person}/proof" {
        get "GET" "read" => proof::show,
    }
    "/topics" {
        get "GET" "read" => topics::list,
        post "POST" "write" => topics::create,
    }
    "/topics/{name}" {
        get "GET" "read" => topics::show,
        patch "PATCH" "write" => topics::update,
        delete "DELETE" "write" => topics::remove,
    }
    "/imports" {
        get "GET" "read" => imports::list,
        post "POST" "write" => imports::create,
    }
    "/imports/{id}" {
        get "GET" "read" => imports::show,
    }
    "/imports/{id}/issues" {
        get "GET" "read" => imports::issues,
    }
    "/suppressions" {
        get "GET" "read" => suppressions::list,
        post "POST" "write" => suppressions::create,
        delete "DELETE" "write" => suppressions::remove,
    }
    "/segments" {
        get "GET" "read" => segments::list,
        post "POST" "write" => segments::create,
    }
    "/segments/preview" {
        post "POST" "read" => segments::preview,
    }
    "/segments/{id}" {
        get "GET" "read" => segments::show,
        put "PUT" "write" => segments::replace,
        delete "DELETE" "write" => segments::remove,
    }
    "/templates" {
        get "GET" "read" => templates::list,
        post "POST" "write" => templates::create,
    }
    "/templates/{id}" {
        get "GET" "read" => templates::show,
        put "PUT" "write" => templates::replace,
        delete "DELETE" "write" => templates::remove,
    }
    "/templates/{id}/preview" {
        post "POST" "read" => templates::preview,
    }
    "/templates/{id}/submit" {
        post "POST" "write" => content_templates::submit_own,
    }
    "/content-templates" {
        get "GET" "read" => content_templates::list,
        post "POST" "write" => content_templates::create,
    }
    "/content-templates/sync" {
        post "POST" "write" => content_templates::sync,
    }
    "/content-templates/{sid}" {
        get "GET" "read" => content_templates::show,
    }
    "/content-templates/{sid}/submit" {
        post "POST" "write" => content_templates::submit,
    }
    "/campaigns" {
        get "GET" "read" => campaigns::list,
        post "POST" "write" => campaigns::create,
    }
    "/campaigns/{id}" {
        get "GET" "read" => campaigns::show,
        patch "PATCH" "write" => campaigns::update,
        delete "DELETE" "write" => campaigns::remove,
    }
    "/campaigns/{id}/launch" {
        post "POST" "send" => campaign_actions::launch,
    }
    "/campaigns/{id}/pause" {
        post "POST" "send" => campaign_actions::pause,
    }
    "/campaigns/{id}/resume" {
        post "POST" "send" => campaign_actions::resume,
    }
    "/campaigns/{id}/cancel" {
        post "POST" "send" => campaign_actions::cancel,
    }
    "/campaigns/{id}/retry-failed" {
        post "POST" "send" => campaign_actions::retry_failed,
    }
    "/campaigns/{id}/clone" {
        post "POST" "write" => campaign_actions::clone,
    }
    "/campaigns/{id}/test" {
        post "POST" "send" => campaign_actions::test,
    }
    "/campaigns/{id}/audience" {
        get "GET" "read" => audience::show,
    }
    "/campaigns/{id}/report" {
        get "GET" "read" => report::show,
    }
    "/campaigns/{id}/messages" {
        get "GET" "read" => report::people,
    }
    "/messages" {
        get "GET" "read" => messages::list,
        post "POST" "send" => messages::create,
    }
    "/messages/cancel" {
        post "POST" "send" => messages::cancel_by_reference,
    }
    "/messages/{id}" {
        get "GET" "read" => messages::show,
    }
    "/messages/{id}/cancel" {
        post "POST" "send" => messages::cancel,
    }
    "/reports/overview" {
        get "GET" "read" => overview::show,
    }
    "/senders" {
        get "GET" "read" => senders::list,
    }
    "/senders/{id}" {
        get "GET" "read" => senders::show,
        patch "PATCH" "admin" => senders::update,
    }
    "/api-keys" {
        get "GET" "admin" => api_keys::list,
        post "POST" "admin" => api_keys::create,
    }
    "/api-keys/{id}" {
        delete "DELETE" "admin" => api_keys::revoke,
    }
    "/settings" {
        get "GET" "read" => settings::show,
        patch "PATCH" "admin" => settings::update,
    }
    "/triggers" {
        post "POST" "send" => triggers::receive,
    }
    "/inbound" {
        get "GET" "read" => inbound::list,
    }
    "/events" {
        get "GET" "read" => events::list,
    }
    "/events/stream" {
        get "GET" "read" => event_stream::show,
    }
    "/webhook-endpoints" {
        get "GET" "read" => webhook_endpoints::list,
        post "POST" "admin" => webhook_endpoints::create,
    }
    "/webhook-endpoints/{id}" {
        get "GET" "read" => webhook_endpoints::show,
        patch "PATCH" "admin" => webhook_endpoints::update,
        delete "DELETE" "admin" => webhook_endpoints::remove,
    }
    "/webhook-endpoints/{id}/rotate-secret" {
        post "POST" "admin" => webhook_endpoints::rotate,
    }
    "/webhook-endpoints/{id}/test" {
        post "POST" "admin" => webhook_deliveries::test,
    }
    "/webhook-endpoints/{id}/deliveries" {
        get "GET" "read" => webhook_deliveries::list,
    }
    "/webhook-endpoints/{id}/deliveries/{delivery}" {
        get "GET" "read" => webhook_deliveries::show,
    }
    "/webhook-endpoints/{id}/deliveries/{delivery}/resend" {
        post "POST" "admin" => webhook_deliveries::resend,
    }
}

/// The route of a method. Whoever may GET may ask by HEAD, but for a stream, which has no end.
fn way(path: &str, method: &str) -> actix_web::Route {
    match Method::from_bytes(method.as_bytes()) {
        Ok(Method::GET) if !path.ends_with("/stream") => {
            web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
        }
        Ok(method) => web::method(method),
        Err(_) => web::route(),
    }
}

/// Routes that need no key. `web::api::configure` mounts them one by one, before the rest is closed.
pub const OPEN: &[Route] = &[Route { path: "/openapi.json", method: "GET", scope: "" }];

/// Mounts the API below `/api/v1`, closed to all but valid keys.
pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(web::resource("/api/v1/openapi.json").route(web::get().to(openapi::serve::document)));
    config.service(
        web::scope("/api/v1")
            .wrap(from_fn(require_key))
            .configure(mount)
            .default_service(web::to(super::nothing_here)),
    );
}
