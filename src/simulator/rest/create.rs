//! `POST …/Messages.json`: check, accept, start the message's life, answer, or go wrong.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};

use super::super::errors::ApiError;
use super::super::faults::{After, Instead, LOST_ANSWER_MS, Met};
use super::super::life::{self, Prospect, is_whatsapp};
use super::super::message::{Direction, Message, Sid, Status};
use super::super::state::State;
use super::super::{Inner, chance};
use super::parameters::{self, Matter, Origin, Request};
use super::{enter, hang_up};
use crate::domain::encoding::count;

/// A sender's queue holds this much: 10 hours of SMS, 4 hours of WhatsApp.
const SMS_QUEUE_MS: f64 = 36_000_000.0;
const WHATSAPP_QUEUE_MS: f64 = 14_400_000.0;

pub(super) async fn create(
    inner: web::Data<Inner>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let inner = inner.into_inner();
    let form = parameters::form(&request, &body);
    let number = inner.state().requests.begin(inner.now(), &form);
    let answer = answer(&inner, &request, &form, number).await;
    if let Err(refusal) = &answer {
        inner.state().requests.refused(number, refusal.code());
    }
    answer
}

async fn answer(
    inner: &Arc<Inner>,
    request: &HttpRequest,
    form: &[(String, String)],
    number: usize,
) -> Result<HttpResponse, ApiError> {
    let pass = enter(inner, request).await?;
    let wanted = parameters::read(form, &inner.options)?;
    let by_service = wanted.origin.service.is_some();
    let seed = inner.options.seed;
    let met = inner.state().faults.meet(seed, &wanted.to, by_service);
    if met.latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(met.latency_ms)).await;
    }
    match met.instead {
        Some(Instead::Error(code)) => return Err(ApiError::of(code)),
        Some(Instead::Drop) => return Ok(hang_up(request)),
        Some(Instead::Lost) => return Ok(never(request).await),
        None => {}
    }
    let accepted = accept(inner, wanted, &met)?;
    inner.state().requests.accepted(number, accepted.index);
    match met.after {
        Some(After::Error500) => Err(ApiError::of(20500)),
        Some(After::Lost) => Ok(never(request).await),
        Some(After::Drop) => Ok(hang_up(request)),
        None => {
            Ok(pass.answer(HttpResponse::Created()).content_type(ContentType::json()).body(accepted.json))
        }
    }
}

/// Withholds the answer, and in the end the connection.
async fn never(request: &HttpRequest) -> HttpResponse {
    tokio::time::sleep(Duration::from_millis(LOST_ANSWER_MS)).await;
    hang_up(request)
}

/// A message that was taken: where it lies, and its resource as it is at this moment.
struct Accepted {
    index: usize,
    json: String,
}

/// Keeps the message and starts its life.
fn accept(inner: &Arc<Inner>, wanted: Request, met: &Met) -> Result<Accepted, ApiError> {
    let now = inner.now();
    let mut state = inner.state();
    let rendered = render(&state, &wanted)?;
    let sender = pick_sender(inner, &wanted.to, &wanted.origin);
    let refusal = refusal(inner, &state, &wanted, sender.as_deref(), now);
    let by_service = wanted.origin.service.is_some();
    // What is wrong with the template itself is told before the window is looked at.
    let known_error = match rendered
        .error
        .filter(|code| matches!(code, 63041 | 63042))
        .or(refusal)
        .or(met.later)
        .or(rendered.error)
    {
        Some(code) if !super::super::errors::comes_later(code, by_service) => {
            return Err(ApiError::of(code));
        }
        code => code,
    };
    let sender: Arc<str> = sender.unwrap_or_default().into();
    let parts =
        if is_whatsapp(&wanted.to) || !wanted.media.is_empty() { 1 } else { count(&rendered.body).parts };
    let queue_ms = state.wait(&sender, now);
    if let Some(rate) = inner.options.rate_of(&sender) {
        state.enqueue(&sender, parts, rate, now);
    }
    let prospect = Prospect {
        to: wanted.to.as_str().into(),
        sender,
        by_service,
        parts,
        earlier: state.count_to(&wanted.to),
        known_error,
        scheduled_ms: wanted.send_at.and_then(|at| u64::try_from(at - now).ok()).unwrap_or_default(),
        // Whole milliseconds; a queue is far shorter than the range.
        queue_ms: queue_ms as u64,
        validity_ms: u64::from(wanted.validity_seconds) * 1000,
    };
    let message = message(inner, &state, wanted, rendered.body, &prospect);
    let index = state.insert(message);
    let resource =
        state.get(index).map(|message| serde_json::to_string(&message.resource(&inner.options.account_sid)));
    drop(state);
    let steps = life::plan(&prospect, &inner.options);
    life::start(inner, index, steps, &met.callbacks);
    let json = resource.and_then(Result::ok).ok_or_else(|| ApiError::of(20500))?;
    Ok(Accepted { index, json })
}

fn message(inner: &Inner, state: &State, wanted: Request, body: String, prospect: &Prospect) -> Message {
    let now = inner.now();
    let number = u64::try_from(state.len()).unwrap_or(u64::MAX);
    let status = match (wanted.send_at, prospect.by_service) {
        (Some(_), _) => Status::Scheduled,
        (None, true) => Status::Accepted,
        (None, false) => Status::Queued,
    };
    Message {
        sid: Sid::draw(inner.identity, number, !wanted.media.is_empty()),
        service: wanted.origin.service.map(Arc::from),
        to: Arc::clone(&prospect.to),
        from: (!prospect.by_service).then(|| Arc::clone(&prospect.sender)),
        body: body.into(),
        content_sid: match wanted.matter {
            Matter::Text => None,
            Matter::Content { sid, .. } => Some(sid.into()),
        },
        media: wanted.media,
        status,
        direction: Direction::OutboundApi,
        parts: if prospect.by_service { 0 } else { prospect.parts },
        error: None,
        created: now,
        updated: now,
        sent: None,
        status_callback: wanted.status_callback.map(Arc::from),
        validity_seconds: wanted.validity_seconds,
        is_deleted: false,
    }
}

/// What the person will read, and what is already known to be wrong with it.
struct Rendered {
    body: String,
    error: Option<u32>,
}

fn render(state: &State, wanted: &Request) -> Result<Rendered, ApiError> {
    match &wanted.matter {
        Matter::Text => Ok(Rendered { body: wanted.body.clone(), error: None }),
        Matter::Content { sid, variables } => {
            let content = state.contents.find(sid).ok_or(ApiError::of(21655))?;
            Ok(Rendered { body: content.render(variables), error: content.error(&wanted.to, variables) })
        }
    }
}

/// The given sender, or the one that the service picks: always the same for the same person.
fn pick_sender(inner: &Inner, to: &str, origin: &Origin) -> Option<String> {
    if origin.from.is_some() {
        return origin.from.clone();
    }
    let fitting: Vec<&String> = service_senders(inner, to).collect();
    chance::one_of(&fitting, inner.options.seed, "sender", &[to.as_bytes()]).cloned()
}

fn service_senders<'a>(inner: &'a Inner, to: &str) -> impl Iterator<Item = &'a String> {
    let is_whatsapp_wanted = is_whatsapp(to);
    let senders = inner.options.service_senders.iter();
    senders.filter(move |sender| is_whatsapp(sender) == is_whatsapp_wanted)
}

/// Why what is remembered forbids this message.
fn refusal(inner: &Inner, state: &State, wanted: &Request, sender: Option<&str>, now: i64) -> Option<u32> {
    let Some(sender) = sender else {
        return Some(21703);
    };
    let to = wanted.to.as_str();
    // A block closes a single sender, or all senders of a service.
    let by_service = wanted.origin.service.is_some();
    let is_blocked = state.is_blocked(to, sender)
        || by_service && service_senders(inner, to).any(|own| state.is_blocked(to, own));
    if is_blocked {
        return Some(21610);
    }
    let queue = state.wait(sender, now);
    if is_whatsapp(to) {
        let is_template = match &wanted.matter {
            Matter::Text => false,
            Matter::Content { sid, .. } => state.contents.find(sid).is_some_and(|c| c.is_approved()),
        };
        let may_write = is_template || inner.options.window_open || state.is_window_open(to, sender, now);
        if !may_write {
            return Some(63016);
        }
        (queue > WHATSAPP_QUEUE_MS).then_some(63018)
    } else if queue > SMS_QUEUE_MS {
        Some(if by_service { 30001 } else { 21611 })
    } else {
        None
    }
}
