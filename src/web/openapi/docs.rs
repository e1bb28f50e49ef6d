//! `GET /api/docs`: the description of the API as a page to browse, with Swagger UI from within the binary. It
//! asks nothing of any other host, and its policy lets no other script run.

use actix_web::http::header;
use actix_web::web::{self, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use super::serve::{etag, is_known};
use crate::web::error::Problem;

/// Only what this server serves; the images are those within the style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file that the page is made of.
struct Asset {
    name: &'static str,
    kind: &'static str,
    /// Packed by gzip, which every browser can read; 1.9 MB would lie in the binary else.
    is_packed: bool,
    bytes: &'static [u8],
}

macro_rules! file {
    ($path:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/assets/", $path))
    };
}

const PAGE: Asset =
    Asset { name: "", kind: "text/html; charset=utf-8", is_packed: false, bytes: file!("docs/index.html") };

const ASSETS: [Asset; 4] = [
    Asset { name: "page.js", kind: "text/javascript", is_packed: false, bytes: file!("docs/page.js") },
    Asset { name: "page.css", kind: "text/css", is_packed: false, bytes: file!("docs/page.css") },
    Asset {
        name: "swagger-ui-bundle.js",
        kind: "text/javascript; charset=utf-8",
        is_packed: true,
        bytes: file!("vendor/swagger-ui/swagger-ui-bundle.js.gz"),
    },
    Asset {
        name: "swagger-ui.css",
        kind: "text/css; charset=utf-8",
        is_packed: true,
        bytes: file!("vendor/swagger-ui/swagger-ui.css.gz"),
    },
];

/// Mounts the page and its files.
pub(in crate::web) fn configure(config: &mut ServiceConfig) {
    config
        .service(web::resource("/api/docs").route(web::get().to(page)))
        .service(web::resource("/api/docs/{name}").route(web::get().to(asset)));
}

async fn page(request: HttpRequest) -> HttpResponse {
    answer(&request, &PAGE)
}

async fn asset(request: HttpRequest, name: Path<String>) -> Result<HttpResponse, Problem> {
    let found = ASSETS.iter().find(|asset| asset.name == name.as_str());
    let asset = found.ok_or_else(|| Problem::not_found("There is nothing under this path."))?;
    Ok(answer(&request, asset))
}

fn answer(request: &HttpRequest, asset: &Asset) -> HttpResponse {
    let tag = etag(asset.bytes);
    let is_known = is_known(request, &tag);
    let mut answer: HttpResponseBuilder =
        if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"));
    if is_known {
        return answer.finish();
    }
    if asset.is_packed {
        answer.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    answer.content_type(asset.kind).body(asset.bytes)
}
