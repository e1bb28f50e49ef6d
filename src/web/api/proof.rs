//! `/users/{person}/proof`: what a person agreed to and got, for a complaint; JSON, or a page to print.

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, Responder};
use serde_json::Value;

use super::users;
use crate::privacy;
use crate::web::State;
use crate::web::auth::{Read, Scoped};
use crate::web::error::Problem;
use crate::web::openapi::shapes::privacy as shapes;
use crate::web::page::Query;
use crate::web::pages;
use crate::web::reply::Reply;

/// How the proof is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Html,
}

/// `format` of the query, or else what the caller accepts: HTML only for who asks for HTML and not for JSON.
fn read_format(query: &mut Query, headers: &HeaderMap) -> Format {
    const WORDS: [&str; 2] = ["json", "html"];
    let read = |word: &str| match word {
        "json" => Some(Format::Json),
        "html" => Some(Format::Html),
        _ => None,
    };
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wants_page = accepted.contains("text/html") && !accepted.contains("application/json");
    let otherwise = if wants_page { Format::Html } else { Format::Json };
    query.choice("format", read, &WORDS).unwrap_or(otherwise)
}

/// Shows what a person agreed to and got, for a complaint.
///
/// Consent with its evidence, each text with its local time, raw webhooks, and the seconds from STOP to block. Works
/// for numbers of which only the place on the list of suppressed ones is left, and for erased people by their id. As a
/// page to print with `format=html`, or for who accepts HTML and not JSON.
#[utoipa::path(get, path = "/users/{person}/proof", operation_id = "get_proof",
    params(("format" = Option<shapes::ProofFormat>, Query, description = "By `Accept` if left out.")),
    responses((status = 200, content((shapes::Proof = "application/json"), (shapes::ProofPage = "text/html")))))]
pub(super) async fn show(
    _: Scoped<Read>,
    state: Data<State>,
    person: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let mut query = Query::of(&request)?;
    let format = read_format(&mut query, request.headers());
    query.finish()?;
    let whom = users::read_key(&person)?;
    let (key, now) = (state.store.key().clone(), state.store.clock().now());
    let proof = state
        .store
        .read(move |conn| privacy::proof(conn, &key, &whom, now))
        .await?
        .ok_or_else(|| Problem::not_found("Nothing is known of this person or number."))?;
    if format == Format::Json {
        return Ok(Reply::ok(proof).respond_to(&request).map_into_boxed_body());
    }
    to_print(&proof)
}

/// The proof as a page to print.
pub(in crate::web) fn to_print(proof: &Value) -> Result<HttpResponse, Problem> {
    let page = pages::proof(proof).map_err(|error| crate::store::StoreError::Internal(error.to_string()))?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            format!("{}; frame-ancestors 'none'", pages::proof_policy()),
        ))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(page))
}
