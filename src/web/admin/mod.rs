//! `/admin`: pages for people. `routes` is the one table of them; each area has a file or folder of its own.
//! A page reads by the store and writes by the same flows and readers as the API, so that nothing is allowed on one
//! road that is refused on the other.
//!
//! - `guard` closes everything to all but operators with the role that the table names
//! - `page` is what a handler knows of its viewer, and how it answers; `form` reads what was posted
//! - `render` turns a template and values into HTML, with the words of `words` and the formats of `format`
//! - `assets` are the files that pages load

mod api_keys;
mod assets;
mod attention;
mod audit;
pub mod badges;
pub mod campaigns;
mod dashboard;
mod failure;
mod form;
mod format;
mod guard;
mod happenings;
mod imports;
mod inbox;
pub mod live;
mod login;
mod monitoring;
mod operators;
mod page;
mod profile;
mod proof;
mod render;
mod routes;
mod search;
mod segments;
pub mod settings;
mod setup_link;
mod templates;
mod users;
mod uses;
mod webhook_endpoints;
mod words;

use actix_web::HttpResponse;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

pub use routes::{ROUTES, Route};
pub use settings::Backups;

/// What a handler answers.
pub(super) type Answer = Result<HttpResponse, failure::Failure>;

/// Mounts the pages below `/admin`.
pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(web::resource("/").route(web::get().to(async || web::Redirect::to("/admin").see_other())))
        .service(
            web::scope("/admin")
                .wrap(from_fn(guard::guard))
                .route("/assets/{name}", web::get().to(assets::show))
                .service(
                    web::resource("/login")
                        .route(routes::way("GET").to(login::show))
                        .route(routes::way("POST").to(login::enter)),
                )
                .service(
                    web::resource("/setup/{token}")
                        .route(routes::way("GET").to(setup_link::show))
                        .route(routes::way("POST").to(setup_link::take)),
                )
                .configure(routes::mount)
                .default_service(web::to(nothing_here)),
        );
}

/// No page fits.
async fn nothing_here() -> Result<&'static str, failure::Failure> {
    Err(failure::Failure::not_found("There is no such page. The address may have a typo."))
}

/// Where the paths lie that need no login; `guard` asks.
const OPEN: &[&str] = &["/admin/assets/{name}", "/admin/login", "/admin/setup/{token}"];

/// An answer that needs no page.
fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((actix_web::http::header::LOCATION, location)).finish()
}
