//! `GET /api/v1/openapi.json`: the document, made once, open to everybody.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};

/// Bytes that don't change while the process runs, with their strong `ETag`.
struct Fixed {
    bytes: Vec<u8>,
    etag: String,
}

static DOCUMENT: LazyLock<Fixed> = LazyLock::new(|| {
    let bytes = super::document().to_string().into_bytes();
    let etag = etag(&bytes);
    Fixed { bytes, etag }
});

/// A strong tag of these bytes.
pub(super) fn etag(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let words: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{words}\"")
}

/// True when the caller has the version with this tag (RFC 9110, 13.1.2).
pub(super) fn is_known(request: &HttpRequest, etag: &str) -> bool {
    let given = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    given.is_some_and(|tags| {
        tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
    })
}

/// Describes this API.
///
/// OpenAPI 3.1. Open to everybody; `/api/docs` shows it as a page.
#[utoipa::path(get, path = "/openapi.json", operation_id = "get_openapi",
    responses((status = 200, body = Value, description = "This document.")))]
pub(in crate::web) async fn document(request: HttpRequest) -> HttpResponse {
    let mut answer =
        if is_known(&request, &DOCUMENT.etag) { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((header::ETAG, DOCUMENT.etag.clone()))
        .insert_header((header::CACHE_CONTROL, "no-cache"));
    if is_known(&request, &DOCUMENT.etag) {
        return answer.finish();
    }
    answer.content_type("application/json").body(DOCUMENT.bytes.clone())
}
