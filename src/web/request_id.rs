//! The edge that every request passes once: its id, its count, and the one place where a failure is
//! logged. Bodies, numbers and paths never are; the pattern of the route says enough.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest};

use super::State;
use super::error::{PROBLEM_JSON, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id of a caller's own that is passed on, in bytes.
const MAX_LENGTH: usize = 128;

/// The id under which a request is logged and answered.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

impl RequestId {
    /// The caller's own, if it is one that may stand in a log line; else a random one.
    fn of(request: &ServiceRequest) -> RequestId {
        let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
        let fits = |text: &&str| {
            (1..=MAX_LENGTH).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
        };
        match given.filter(fits) {
            Some(text) => RequestId(text.to_owned()),
            None => RequestId(format!("{:032x}", rand::random::<u128>())),
        }
    }
}

/// Wraps everything that is served.
///
/// # Errors
/// Whatever the server below can't turn into an answer.
pub(super) async fn edge(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    let state = request.app_data::<actix_web::web::Data<State>>().cloned();
    let began = Instant::now();
    let response = next.call(request).await?.map_into_boxed_body();
    let mut response = with_problem(response, &id.0);
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if response.request().path().starts_with("/api/") {
        guard_headers(response.headers_mut());
    }
    let route = response.request().match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let status = response.status();
    if let Some(state) = state {
        state.metrics.count_request(&route, response.request().method().as_str(), status.as_u16());
        if route.starts_with("/webhooks/twilio/") {
            let millis = began.elapsed().as_secs_f64() * 1_000.0;
            state.vitals.note_webhook(state.store.clock().now(), millis, status.is_success());
        }
    }
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(request.id = %id.0, http.route = %route, http.status = status.as_u16(), millis, "answered");
    Ok(response)
}

/// Answers of the API are for the caller alone: no cache keeps them, no browser guesses what they are, and no
/// other page frames them. There is no CORS header, so no page of another origin reads them either. A page or
/// file that says otherwise about caching has its way.
fn guard_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Gives an error its shape and the request's id, and logs it if the fault is ours.
fn with_problem(response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>()).cloned();
    if let Some(problem) = problem {
        if problem.status().is_server_error() {
            let route = response.request().match_pattern().unwrap_or_default();
            tracing::error!(request.id = %id, http.route = %route, http.status = problem.status().as_u16(),
                error = problem.cause().unwrap_or_default(), "a request failed");
        }
        return response.into_response(problem.respond(id));
    }
    let status = response.status();
    if is_bare_error(&response) {
        let (request, bare) = response.into_parts();
        let mut answer = foreign(&request, status).respond(id);
        // 405 comes with the methods that there are.
        if let Some(allow) = bare.headers().get(header::ALLOW) {
            answer.headers_mut().insert(header::ALLOW, allow.clone());
        }
        return ServiceResponse::new(request, answer);
    }
    response
}

/// An error that no handler of ours made: one of the API, or one without a body.
fn is_bare_error(response: &ServiceResponse<BoxBody>) -> bool {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_ours = content_type.is_some_and(|value| value.as_bytes() == PROBLEM_JSON.as_bytes());
    is_error && !is_ours && (content_type.is_none() || response.request().path().starts_with("/api/"))
}

fn foreign(request: &HttpRequest, status: StatusCode) -> Problem {
    let detail = match status {
        StatusCode::METHOD_NOT_ALLOWED => format!("{} is not possible here.", request.method()),
        StatusCode::NOT_FOUND => "There is nothing under this path.".to_owned(),
        _ => "The request can't be taken.".to_owned(),
    };
    Problem::new(status, detail)
}
