//! The Content API: lists, one template, creation, deletion, submission for approval; and the control road on which
//! WhatsApp's judgement is moved.

mod template;

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::errors::ApiError;
use super::faults::{After, Instead, LOST_ANSWER_MS};
use super::rest::{enter, enter_to_read, hang_up};
use super::{Inner, now_millis};
use template::{Approval, CATEGORIES, Content, STATUSES};

pub(super) use template::Contents;

/// What WhatsApp takes of one template and one variable's name
/// (<https://www.twilio.com/docs/content/using-variables-with-content-api>).
const MAX_VARIABLES: usize = 100;
const MAX_VARIABLE_NAME: usize = 16;
/// The types of Twilio's OpenAPI document.
const TYPES: [&str; 14] = [
    "twilio/text",
    "twilio/media",
    "twilio/location",
    "twilio/list-picker",
    "twilio/call-to-action",
    "twilio/quick-reply",
    "twilio/card",
    "twilio/catalog",
    "twilio/carousel",
    "twilio/flows",
    "twilio/schedule",
    "whatsapp/card",
    "whatsapp/authentication",
    "whatsapp/flows",
];

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/v1/Content").route(web::get().to(list)).route(web::post().to(create)))
        .route("/v1/ContentAndApprovals", web::get().to(list_with_approvals))
        .service(
            web::resource("/v1/Content/{sid}").route(web::get().to(fetch)).route(web::delete().to(delete)),
        )
        .route("/v1/Content/{sid}/ApprovalRequests", web::get().to(approval))
        .route("/v1/Content/{sid}/ApprovalRequests/whatsapp", web::post().to(submit));
}

/// `http://host`, for the absolute links of this API.
fn base(request: &HttpRequest) -> String {
    format!("http://{}", request.connection_info().host())
}

async fn list(inner: web::Data<Inner>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let account_sid = &inner.options.account_sid;
    let base = base(&request);
    page(&inner, &request, |content| content.json(account_sid, &base)).await
}

async fn list_with_approvals(
    inner: web::Data<Inner>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account_sid = &inner.options.account_sid;
    page(&inner, &request, |content| content.json_with_approval(account_sid)).await
}

async fn page(
    inner: &Inner,
    request: &HttpRequest,
    json: impl Fn(&Content) -> Value,
) -> Result<HttpResponse, ApiError> {
    let pass = enter_to_read(inner, request).await?;
    let asked = |name: &str| {
        form_urlencoded::parse(request.query_string().as_bytes())
            .find(|(key, _)| key == name)
            .and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let size = asked("PageSize").unwrap_or(50).clamp(1, 1000);
    let page = asked("Page").unwrap_or(0);
    let path = request.path();
    let base = base(request);
    let url = |page: usize| format!("{base}{path}?PageSize={size}&Page={page}");
    let start = page.saturating_mul(size);
    let (has_next, contents) = {
        let state = inner.state();
        let all = state.contents.all();
        let shown: Vec<Value> = all.iter().skip(start).take(size).map(json).collect();
        (all.len() > start.saturating_add(size), shown)
    };
    Ok(pass.answer(HttpResponse::Ok()).json(json!({
        "contents": contents,
        "meta": {
            "page": page,
            "page_size": size,
            "first_page_url": url(0),
            "previous_page_url": page.checked_sub(1).map(url),
            "url": url(page),
            "next_page_url": has_next.then(|| url(page + 1)),
            "key": "contents",
        },
    })))
}

/// The template of the path, as it is now.
fn find(inner: &Inner, sid: &str) -> Result<Content, ApiError> {
    inner.state().contents.find(sid).cloned().ok_or(ApiError::of(20404))
}

async fn fetch(
    inner: web::Data<Inner>,
    request: HttpRequest,
    sid: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let pass = enter_to_read(&inner, &request).await?;
    let json = find(&inner, &sid)?.json(&inner.options.account_sid, &base(&request));
    Ok(pass.answer(HttpResponse::Ok()).json(json))
}

async fn delete(
    inner: web::Data<Inner>,
    request: HttpRequest,
    sid: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let pass = enter(&inner, &request).await?;
    if !inner.state().contents.delete(&sid) {
        return Err(ApiError::of(20404));
    }
    Ok(pass.answer(HttpResponse::NoContent()).finish())
}

async fn approval(
    inner: web::Data<Inner>,
    request: HttpRequest,
    sid: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let pass = enter_to_read(&inner, &request).await?;
    let content = find(&inner, &sid)?;
    let mut whatsapp = content.approval_json();
    if let Some(fields) = whatsapp.as_object_mut() {
        fields.insert("type".to_owned(), Value::from("whatsapp"));
    }
    Ok(pass.answer(HttpResponse::Ok()).json(json!({
        "sid": content.sid,
        "account_sid": inner.options.account_sid,
        "whatsapp": whatsapp,
        "url": format!("{}/v1/Content/{}/ApprovalRequests", base(&request), content.sid),
    })))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::saying(20001, message)
}

/// A JSON body of an object, as this API wants it.
fn body(request: &HttpRequest, body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let content_type = request.headers().get("content-type").and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|text| text.starts_with("application/json")) {
        return Err(invalid("Content-Type must be application/json"));
    }
    serde_json::from_slice(body).map_err(|error| invalid(format!("Invalid JSON: {error}")))
}

/// A text of the body; `None` when it is not there.
fn text(map: &Map<String, Value>, name: &str) -> Result<Option<String>, ApiError> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(format!("{name} must be a string"))),
    }
}

/// Reads a create request as strictly as Twilio's document describes it.
fn read(map: &Map<String, Value>) -> Result<Content, ApiError> {
    let language = text(map, "language")?.filter(|text| !text.is_empty());
    let language = language.ok_or_else(|| invalid("language is required"))?;
    let mut types = map.get("types").and_then(Value::as_object).cloned().unwrap_or_default();
    // Twilio's own libraries name every type and leave the others null.
    types.retain(|_, fields| !fields.is_null());
    if types.is_empty() {
        return Err(invalid("types is required"));
    }
    for (kind, fields) in &types {
        if !TYPES.contains(&kind.as_str()) || !fields.is_object() {
            return Err(invalid(format!("{kind} is no content type")));
        }
        if kind == "twilio/text" && fields["body"].as_str().is_none_or(str::is_empty) {
            return Err(invalid("twilio/text needs a body"));
        }
        if kind == "twilio/media" && !fields["media"].is_array() {
            return Err(invalid("twilio/media needs media"));
        }
    }
    let variables = match map.get("variables") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(variables)) if variables.values().all(Value::is_string) => variables.clone(),
        Some(_) => return Err(invalid("variables must be an object of strings")),
    };
    let is_name = |name: &String| !name.contains(' ') && (1..=MAX_VARIABLE_NAME).contains(&name.len());
    if variables.len() > MAX_VARIABLES || !variables.keys().all(is_name) {
        return Err(invalid("too many variables, or a name that is none"));
    }
    let now = now_millis();
    Ok(Content {
        sid: String::new(),
        friendly_name: text(map, "friendly_name")?.unwrap_or_default(),
        language,
        variables,
        types,
        approval: Approval { status: "unsubmitted".to_owned(), ..Approval::default() },
        created: now,
        updated: now,
    })
}

/// Makes a template. It meets the faults of messages, as one to its name.
async fn create(
    inner: web::Data<Inner>,
    request: HttpRequest,
    bytes: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let pass = enter(&inner, &request).await?;
    let content = read(&body(&request, &bytes)?)?;
    let met = inner.state().faults.meet(inner.options.seed, &content.friendly_name, false);
    match met.instead {
        Some(Instead::Error(code)) => return Err(ApiError::of(code)),
        Some(Instead::Drop) => return Ok(hang_up(&request)),
        Some(Instead::Lost) => return Ok(never(&request).await),
        None => {}
    }
    let made = inner.state().contents.insert(inner.identity, content);
    match met.after {
        Some(After::Error500) => Err(ApiError::of(20500)),
        Some(After::Lost) => Ok(never(&request).await),
        Some(After::Drop) => Ok(hang_up(&request)),
        None => {
            let json = made.json(&inner.options.account_sid, &base(&request));
            Ok(pass.answer(HttpResponse::Created()).json(json))
        }
    }
}

/// Withholds the answer, and in the end the connection.
async fn never(request: &HttpRequest) -> HttpResponse {
    tokio::time::sleep(Duration::from_millis(LOST_ANSWER_MS)).await;
    hang_up(request)
}

/// Takes a request for approval. WhatsApp decides after [`approve_after_ms`](super::Options::approve_after_ms), or when
/// the control API says so.
async fn submit(
    inner: web::Data<Inner>,
    request: HttpRequest,
    sid: web::Path<String>,
    bytes: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let inner = inner.into_inner();
    let pass = enter(&inner, &request).await?;
    let map = body(&request, &bytes)?;
    let name = text(&map, "name")?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| invalid("name is required"))?;
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err(invalid("name takes small letters, digits and underscores"));
    }
    let category = text(&map, "category")?.filter(|word| CATEGORIES.contains(&word.as_str()));
    let category =
        category.ok_or_else(|| invalid("category must be UTILITY, MARKETING or AUTHENTICATION"))?;
    let json = {
        let mut state = inner.state();
        let content = state.contents.find_mut(&sid).ok_or(ApiError::of(20404))?;
        if content.approval.status != "unsubmitted" {
            return Err(ApiError::saying(20409, "An approval request exists already"));
        }
        let status = "received".to_owned();
        content.approval = Approval { name, category, status, rejection_reason: String::new() };
        content.updated = now_millis();
        content.approval_json()
    };
    decide_later(&inner, &sid);
    Ok(pass.answer(HttpResponse::Created()).json(json))
}

/// Lets WhatsApp look at a template and approve it, if that goes by itself.
fn decide_later(inner: &Arc<Inner>, sid: &str) {
    let Some(after_ms) = inner.options.approve_after_ms else {
        return;
    };
    let (inner, sid) = (Arc::clone(inner), sid.to_owned());
    let busy = inner.busy();
    inner.clone().runtime.spawn(async move {
        for (before, next) in [("received", "pending"), ("pending", "approved")] {
            tokio::time::sleep(Duration::from_millis(after_ms / 2)).await;
            let mut state = inner.state();
            let waits = state.contents.find(&sid).is_some_and(|content| content.is(before));
            if inner.is_stopped() || !waits {
                break;
            }
            state.contents.judge(&sid, next, "", now_millis());
        }
        drop(busy);
    });
}

/// Another judgement, as `POST /_control/content` takes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// `HX…`.
    pub sid: String,
    /// `unsubmitted`, `received`, `pending`, `approved`, `rejected`, `paused` or `disabled`.
    pub status: String,
    /// Why it was rejected.
    #[serde(default)]
    pub reason: String,
}

/// A template, as the control API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ContentRecord {
    /// `HX…`.
    pub sid: String,
    /// For people.
    pub friendly_name: String,
    /// What it was submitted under.
    pub whatsapp_name: String,
    /// What it was submitted as.
    pub category: String,
    /// How WhatsApp judges it.
    pub status: String,
    /// Why it was rejected.
    pub rejection_reason: String,
}

/// All templates, in order of creation.
pub(super) fn records(inner: &Inner) -> Vec<ContentRecord> {
    let record = |content: &Content| ContentRecord {
        sid: content.sid.clone(),
        friendly_name: content.friendly_name.clone(),
        whatsapp_name: content.approval.name.clone(),
        category: content.approval.category.clone(),
        status: content.approval.status.clone(),
        rejection_reason: content.approval.rejection_reason.clone(),
    };
    inner.state().contents.all().iter().map(record).collect()
}

/// Moves a template to another judgement.
///
/// # Errors
/// A sentence that says what is not known.
pub(super) fn judge(inner: &Inner, judgement: &Judgement) -> Result<(), String> {
    let Judgement { sid, status, reason } = judgement;
    if !STATUSES.contains(&status.as_str()) {
        return Err(format!("{status:?} is no status; one of {}", STATUSES.join(", ")));
    }
    let is_known = inner.state().contents.judge(sid, status, reason, now_millis());
    if is_known { Ok(()) } else { Err(format!("there is no template {sid:?}")) }
}
