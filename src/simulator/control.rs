//! The control API under `/_control`: what was accepted, what was called back, what goes wrong,
//! and people who write. It asks for no password, so it only listens on loopback.

use actix_web::error::JsonPayloadError;
use actix_web::guard::{GuardContext, fn_guard};
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::content::{self, Judgement};
use super::inbound::{self, Inbound};
use super::message::{Direction, Message, Status, rfc_3339};
use super::state::bare;
use super::{Faults, Inner};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let from_here = |context: &GuardContext<'_>| is_from_here(context.head().headers());
    config
        .route("/_control/messages", web::get().to(messages))
        .route("/_control/requests", web::get().to(requests))
        .route("/_control/callbacks", web::get().to(callbacks))
        .route("/_control/struck", web::get().to(struck))
        .route("/_control/busy", web::get().to(busy))
        .route("/_control/inbound", web::post().guard(fn_guard(from_here)).to(inbound))
        .route("/_control/content", web::get().to(contents))
        .route("/_control/content", web::post().guard(fn_guard(from_here)).to(judge))
        .route("/_control/faults", web::get().to(faults))
        .route("/_control/faults", web::post().guard(fn_guard(from_here)).to(replace_faults));
}

/// A message that the REST API accepted: an element of `GET /_control/messages`.
#[derive(Clone, Debug, Serialize)]
pub struct MessageRecord {
    /// `SM…` or `MM…`.
    pub sid: String,
    /// As it was given, with its channel.
    pub to: String,
    /// The sender; none while a Messaging Service has not picked one.
    pub from: Option<String>,
    /// The service it was given to.
    pub messaging_service_sid: Option<String>,
    /// What the person reads.
    pub body: String,
    /// The template it was made from.
    pub content_sid: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// Who sent it.
    pub direction: Direction,
    /// Why it failed.
    pub error_code: Option<u32>,
    /// When it was accepted: RFC 3339 with milliseconds.
    pub date_created: String,
    /// The same in milliseconds since 1970.
    pub created_ms: i64,
    /// The callback's URL as given, fragment included.
    pub status_callback: Option<String>,
    /// Seconds it may wait to be sent.
    pub validity_period: u32,
    /// Media URLs.
    pub media: Vec<String>,
    /// Whether the REST API deleted it since.
    pub deleted: bool,
}

impl MessageRecord {
    fn of(message: &Message) -> MessageRecord {
        MessageRecord {
            sid: message.sid.to_string(),
            to: message.to.to_string(),
            from: message.from.as_deref().map(str::to_owned),
            messaging_service_sid: message.service.as_deref().map(str::to_owned),
            body: message.body.to_string(),
            content_sid: message.content_sid.as_deref().map(str::to_owned),
            status: message.status,
            direction: message.direction,
            error_code: message.error,
            date_created: rfc_3339(message.created),
            created_ms: message.created,
            status_callback: message.status_callback.as_deref().map(str::to_owned),
            validity_period: message.validity_seconds,
            media: message.media.clone(),
            deleted: message.is_deleted,
        }
    }
}

/// What the REST API accepted for `to`, or for everybody, oldest first.
pub(super) fn accepted(inner: &Inner, to: Option<&str>) -> Vec<MessageRecord> {
    let state = inner.state();
    state
        .record(to)
        .filter(|message| message.direction == Direction::OutboundApi)
        .map(MessageRecord::of)
        .collect()
}

/// The value of a query parameter that was given.
fn asked(request: &HttpRequest, name: &str) -> Option<String> {
    form_urlencoded::parse(request.query_string().as_bytes())
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

fn asked_number(request: &HttpRequest, name: &str) -> Option<usize> {
    asked(request, name).and_then(|text| text.parse().ok())
}

/// `?to=` narrows to a number, with or without its channel; `?limit=` shows only the newest so
/// many, counts untouched.
async fn messages(inner: web::Data<Inner>, request: HttpRequest) -> HttpResponse {
    // A `+` that was not escaped arrives as a space.
    let to = asked(&request, "to").map(|to| to.replace(' ', "+"));
    let limit = asked_number(&request, "limit");
    let found = accepted(&inner, to.as_deref());
    let skipped = limit.map_or(0, |limit| found.len().saturating_sub(limit));
    let state = inner.state();
    let counts: Map<String, Value> = match &to {
        Some(to) => Map::from_iter([(bare(to).to_owned(), Value::from(found.len()))]),
        None => state.counts().map(|(number, count)| (number.to_owned(), Value::from(count))).collect(),
    };
    drop(state);
    HttpResponse::Ok().json(json!({
        "total": found.len(),
        "counts": counts,
        "messages": found.get(skipped..),
    }))
}

/// Create requests from number `?first=` on, oldest first, at most `?limit=`.
async fn requests(inner: web::Data<Inner>, request: HttpRequest) -> HttpResponse {
    let first = asked_number(&request, "first").unwrap_or_default();
    let limit = asked_number(&request, "limit").unwrap_or(usize::MAX);
    let state = inner.state();
    let page = state.requests.page(first, limit, |index| state.get(index));
    HttpResponse::Ok().json(json!({ "total": state.requests.len(), "requests": page }))
}

/// Webhooks from number `?first=` on, oldest first, at most `?limit=`. `total` counts those since the
/// start, or without paging those that are remembered.
async fn callbacks(inner: web::Data<Inner>, request: HttpRequest) -> HttpResponse {
    let Some(first) = asked_number(&request, "first") else {
        let log = inner.courier.log();
        return HttpResponse::Ok().json(json!({ "total": log.len(), "callbacks": log }));
    };
    let limit = asked_number(&request, "limit").unwrap_or(usize::MAX);
    let (total, page) = inner.courier.page(first as u64, limit);
    HttpResponse::Ok().json(json!({ "total": total, "callbacks": page }))
}

/// How often each fault struck since the start.
async fn struck(inner: web::Data<Inner>) -> HttpResponse {
    HttpResponse::Ok().json(inner.state().faults.struck())
}

/// How many messages were accepted, and how many have a status or a callback ahead of them.
async fn busy(inner: web::Data<Inner>) -> HttpResponse {
    let ahead = inner.lives.running.load(std::sync::atomic::Ordering::SeqCst);
    let accepted = inner.state().requests.count_accepted();
    HttpResponse::Ok().json(json!({ "accepted": accepted, "ahead": ahead }))
}

async fn inbound(inner: web::Data<Inner>, asked: web::Json<Inbound>) -> HttpResponse {
    let asked = asked.into_inner();
    let is_one_channel = asked.from.starts_with("whatsapp:") == asked.to.starts_with("whatsapp:");
    if asked.from.is_empty() || asked.to.is_empty() || !is_one_channel {
        return HttpResponse::BadRequest()
            .json(json!({ "error": "from and to must be addresses of the same channel" }));
    }
    let result = inbound::receive(&inner.into_inner(), asked).await;
    HttpResponse::Ok().json(result)
}

/// Templates, and how WhatsApp judges them.
async fn contents(inner: web::Data<Inner>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "contents": content::records(&inner) }))
}

/// Moves a template to another judgement.
async fn judge(inner: web::Data<Inner>, judgement: web::Json<Judgement>) -> HttpResponse {
    match content::judge(&inner, &judgement) {
        Ok(()) => contents(inner).await,
        Err(error) => HttpResponse::BadRequest().json(json!({ "error": error })),
    }
}

async fn faults(inner: web::Data<Inner>) -> HttpResponse {
    HttpResponse::Ok().json(inner.state().faults.faults())
}

/// Replaces the whole set; `{}` ends all faults.
async fn replace_faults(inner: web::Data<Inner>, faults: web::Json<Faults>) -> HttpResponse {
    let mut state = inner.state();
    state.faults.replace(faults.into_inner());
    HttpResponse::Ok().json(state.faults.faults())
}

/// JSON whatever its content type says, and a plain word about what is wrong with it.
pub(super) fn json_config() -> web::JsonConfig {
    web::JsonConfig::default().content_type_required(false).content_type(|_| true).error_handler(refuse)
}

fn refuse(error: JsonPayloadError, _: &HttpRequest) -> actix_web::Error {
    let said = error.to_string();
    let response = HttpResponse::BadRequest().json(json!({ "error": said }));
    actix_web::error::InternalError::from_response(error, response).into()
}

/// Whether a request was made by our own page or by no page at all, and not by another site
/// that is open in a browser on this machine.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = header("host").unwrap_or_default();
    header("origin").is_none_or(|origin| origin.strip_prefix("http://") == Some(host))
}
