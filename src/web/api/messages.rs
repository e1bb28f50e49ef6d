//! `/messages`: single messages out, and every message looked at one by one.

use crate::store::Connection;
use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Map, Value, json};

use super::templates::{CHANNELS, read_media};
use super::trigger_line::FARTHEST;
use super::{Answer, users};
use crate::campaign::{self, SingleMessage};
use crate::clock::Millis;
use crate::domain::message::{Kind, Status};
use crate::domain::phone::{Channel, Phone};
use crate::domain::plan::MAX_BODY;
use crate::store::messages::{by_reference, standing};
use crate::store::reports::Slice;
use crate::store::reports::messages::{
    self, AttemptView, CampaignPage, MessageFilter, MessageView, ReceiptView,
};
use crate::store::{StoreError, events};
use crate::web::State;
use crate::web::auth::{Read, Scoped, Send};
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::idempotency::{Post, PostWithQuery};
use crate::web::openapi::shapes::{Page, Paging, messages as shapes};
use crate::web::page::{Query, encode, paged_until};
use crate::web::reply::{Reply, time, time_or_null};

/// Longest reference, in characters.
const MAX_REFERENCE: usize = 200;
/// Kinds that a caller may send. A confirmation is only ever the answer to a STOP.
const KINDS: [&str; 3] = ["marketing", "transactional", "reply"];
const ALL_KINDS: [&str; 4] = ["marketing", "transactional", "reply", "confirmation"];

/// A message as the contract shows it. `price` is in the unit of the Twilio account.
pub(super) fn shape(message: &MessageView) -> Value {
    json!({
        "id": message.id,
        "campaign_id": message.campaign_id,
        "user_id": message.user_id,
        "phone": message.phone,
        "channel": message.channel,
        "kind": message.kind,
        "is_test": message.is_test(),
        "reference": message.reference,
        "status": message.status,
        "reason": message.reason,
        "sid": message.sid,
        "parts": message.parts,
        "price": message.price_micros.map(|micros| micros as f64 / 1e6),
        "attempts": message.attempts,
        "error_code": message.error_code,
        "body": message.body,
        "send_at": time(message.due_at),
        "created_at": time(message.created_at),
        "accepted_at": time_or_null(message.accepted_at),
        "sent_at": time_or_null(message.sent_at),
        "delivered_at": time_or_null(message.delivered_at),
        "read_at": time_or_null(message.read_at),
    })
}

fn attempt(attempt: &AttemptView) -> Value {
    json!({
        "number": attempt.number,
        "sender": attempt.sender,
        "outcome": attempt.outcome,
        "started_at": time(attempt.started_at),
        "answered_at": time_or_null(attempt.answered_at),
        "http_status": attempt.http_status,
        "sid": attempt.sid,
        "status": attempt.status,
        "error_code": attempt.error_code,
        "error_message": attempt.error_message,
    })
}

fn receipt(receipt: &ReceiptView) -> Value {
    json!({
        "id": receipt.id,
        "sid": receipt.sid,
        "attempt": receipt.attempt,
        "status": receipt.status,
        "error_code": receipt.error_code,
        "state": receipt.state,
        "params": receipt.params,
        "received_at": time(receipt.received_at),
    })
}

/// The message with this id.
///
/// # Errors
/// 404.
pub(in crate::web) fn find(conn: &Connection, id: i64) -> Result<MessageView, Problem> {
    messages::find(conn, id)?.ok_or_else(|| Problem::not_found(format!("There is no message {id}.")))
}

/// The states by name.
pub(in crate::web) fn read_status(query: &mut Query) -> Option<Status> {
    query.choice("status", Status::parse, &Status::ALL.map(Status::as_str))
}

/// Lists messages, newest first; with `campaign_id` by person.
#[utoipa::path(get, path = "/messages", operation_id = "list_messages",
    params(Paging, shapes::MessageFilters), responses((status = 200, body = Page<shapes::Message>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let campaign_id = query.integer("campaign_id");
    let phone = users::read_phone(&mut query);
    let mut filter = MessageFilter {
        status: read_status(&mut query),
        kind: query.choice("kind", Kind::parse, &ALL_KINDS),
        reference: query.text("reference"),
        since: query.time("since"),
        ..MessageFilter::default()
    };
    if let Some(campaign_id) = campaign_id {
        let page = read_campaign_page(&mut query, campaign_id, true);
        query.finish()?;
        let (slice, limit) = state
            .store
            .read(move |conn| {
                filter.user_id = phone.map(|phone| users::id_of_phone(conn, &phone)).transpose()?;
                Ok::<_, StoreError>((messages::of_campaign(conn, &page, &filter)?, page.limit))
            })
            .await?;
        return Ok(Reply::ok(by_person(slice, limit)));
    }
    let page = query.page("messages");
    query.finish()?;
    let slice = state
        .store
        .read(move |conn| {
            filter.user_id = phone.map(|phone| users::id_of_phone(conn, &phone)).transpose()?;
            messages::list(conn, &filter, page.before, page.fetch())
        })
        .await?;
    Ok(Reply::ok(page.answer_slice(slice, |row| row.id, shape)))
}

pub(in crate::web) const BY_PERSON: &str = "campaign_messages";

/// `limit` and `cursor` of a campaign's messages; the limit is one more than the page shows.
pub(in crate::web) fn read_campaign_page(
    query: &mut Query,
    campaign_id: i64,
    with_tests: bool,
) -> CampaignPage {
    let limit = query.limit() + 1;
    let after = match query.cursor(BY_PERSON).as_deref() {
        None => (0, String::new()),
        Some([user_id, occasion]) if user_id.is_i64() && occasion.is_string() => {
            (user_id.as_i64().unwrap_or_default(), occasion.as_str().unwrap_or_default().to_owned())
        }
        Some(_) => {
            query.error("cursor", "is not a cursor of this list; start again without it");
            (0, String::new())
        }
    };
    CampaignPage { campaign_id, with_tests, after, limit }
}

/// A page of a campaign's messages.
pub(in crate::web) fn by_person(slice: Slice<MessageView, (i64, String)>, fetched: usize) -> Value {
    let place = |user_id: i64, occasion: &str| encode(BY_PERSON, &[json!(user_id), json!(occasion)]);
    let reached = slice.reached.map(|(user_id, occasion)| place(user_id, &occasion));
    let cursor = |row: &MessageView| place(row.user_id, &row.occasion);
    paged_until(slice.rows, fetched - 1, cursor, shape, reached)
}

/// Shows a message with its hand-overs, events and receipts.
#[utoipa::path(get, path = "/messages/{id}", operation_id = "get_message",
    responses((status = 200, body = shapes::WholeMessage)))]
pub(super) async fn show(_: Scoped<Read>, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    Query::of(&request)?.finish()?;
    let body = state
        .store
        .read(move |conn| {
            let message = find(conn, *id)?;
            let mut body = shape(&message);
            let parts = [
                ("attempts", messages::attempts(conn, *id)?.iter().map(attempt).collect::<Value>()),
                (
                    "events",
                    events::of_message(conn, message.last_event_id)?
                        .iter()
                        .map(super::events::shape)
                        .collect(),
                ),
                ("receipts", messages::receipts(conn, *id)?.iter().map(receipt).collect()),
            ];
            if let Some(body) = body.as_object_mut() {
                body.extend(parts.map(|(name, value)| (name.to_owned(), value)));
            }
            Ok::<_, Problem>(body)
        })
        .await?;
    Ok(Reply::ok(body))
}

/// Reads a message to one person.
///
/// # Errors
/// 422 with every fault.
pub(in crate::web) fn read_new(mut fields: Fields, now: Millis) -> Result<SingleMessage, Problem> {
    let to = read_phone(&mut fields, "to");
    let channel = fields.choice("channel", |word| word.parse().ok(), &CHANNELS);
    if channel.is_none() && !fields.has_error("channel") {
        fields.error("channel", "missing: sms or whatsapp");
    }
    let body = fields.text("body", MAX_BODY);
    let template_id = fields.id("template_id");
    let media_urls = read_media(&mut fields, channel);
    let variables = fields.map("variables").unwrap_or_default();
    check_text(&mut fields, body.as_deref(), template_id, &media_urls, &variables);
    let topic = fields.text("topic", 64);
    let kind = fields.choice("kind", |word| KINDS.contains(&word).then(|| Kind::parse(word))?, &KINDS);
    let reference = fields.text("reference", MAX_REFERENCE);
    let send_at = fields.time("send_at");
    if send_at.is_some_and(|at| at > now + FARTHEST) {
        fields.error("send_at", "at most 366 days ahead");
    }
    let expires_at = fields.time("expires_at");
    if expires_at.is_some_and(|at| at <= send_at.unwrap_or(now).max(now)) {
        fields.error("expires_at", "must be later than now and than send_at");
    }
    fields.finish()?;
    Ok(SingleMessage {
        to: to.ok_or_else(|| Problem::field("to", "missing"))?.into(),
        from: None,
        channel: channel.unwrap_or(Channel::Sms),
        body,
        media_urls,
        template_id,
        variables,
        topic,
        kind: kind.unwrap_or(Kind::Transactional),
        reference,
        send_at,
        expires_at,
    })
}

/// Reads a number that messages can go to.
fn read_phone(fields: &mut Fields, name: &str) -> Option<Phone> {
    let text = fields.required_text(name, 100);
    if fields.has_error(name) {
        return None;
    }
    Phone::parse(&text, None).map_err(|error| fields.error(name, error.to_string())).ok()
}

fn check_text(
    fields: &mut Fields,
    body: Option<&str>,
    template_id: Option<i64>,
    media_urls: &[String],
    variables: &Map<String, Value>,
) {
    match (body, template_id) {
        (Some(_), Some(_)) => fields.error("body", "give either body or template_id"),
        (None, None)
            if media_urls.is_empty() && !fields.has_error("body") && !fields.has_error("template_id") =>
        {
            fields.error("body", "missing; give body or template_id");
        }
        (Some(text), None) if text.trim().is_empty() && media_urls.is_empty() => {
            fields.error("body", "must not be empty");
        }
        _ => {}
    }
    if template_id.is_some() && !media_urls.is_empty() {
        fields.error("media_urls", "come with the template");
    }
    if template_id.is_none() && !variables.is_empty() {
        fields.error("variables", "go with a template_id");
    }
    if let Err(error) = crate::domain::user::check_attributes(variables) {
        fields.error("variables", error.message);
    }
}

/// Sends a message to one person.
///
/// For a person whom the gate refuses the status is `skipped`, with the reason; `expired` where `expires_at` comes
/// before the first moment at which it may go.
#[utoipa::path(post, path = "/messages", operation_id = "create_message", request_body = shapes::NewMessage,
    responses((status = 202, body = shapes::Message), (status = 409, description = "Something is not set up.")))]
pub(super) async fn create(caller: Scoped<Send>, state: Data<State>, post: Post) -> Answer {
    let message = read_new(post.body.fields()?, state.store.clock().now())?;
    let actor = caller.actor();
    let (rules, setup) = (state.rules.get(), state.setup.get());
    post.once
        .write(&state.store, move |tx| {
            let id = campaign::send_single(tx, &message, &rules, &setup, &actor)?;
            Ok(Reply::accepted(shape(&find(tx.conn(), id)?)))
        })
        .await
}

/// Takes a message back that still waits.
#[utoipa::path(post, path = "/messages/{id}/cancel", operation_id = "cancel_message",
    responses((status = 200, body = shapes::Message), (status = 409, description = "It does not wait any more.")))]
pub(super) async fn cancel(caller: Scoped<Send>, state: Data<State>, id: Path<i64>, post: Post) -> Answer {
    post.body.fields()?.finish()?;
    let actor = caller.actor();
    post.once
        .write(&state.store, move |tx| {
            let found = standing(tx.conn(), *id)?
                .ok_or_else(|| Problem::not_found(format!("There is no message {id}.")))?;
            campaign::cancel_single(tx, &found, &actor)?;
            Ok(Reply::ok(shape(&find(tx.conn(), *id)?)))
        })
        .await
}

/// Rows that the answer to a cancel by reference shows.
const SHOWN: usize = 200;

/// Takes back every message with a reference that still waits.
///
/// At most 50,000 of them; `remaining` says how many wait beyond that, for another request. The answer shows the
/// newest 200 that are cancelled, also those that were before.
#[utoipa::path(post, path = "/messages/cancel", operation_id = "cancel_messages_by_reference",
    params(("reference" = String, Query, description = "Your own name for them.", example = "order-1001")),
    responses((status = 200, body = shapes::CancelledMessages), (status = 404, description = "There is none."),
        (status = 409, description = "None of them waits any more.")))]
pub(super) async fn cancel_by_reference(
    caller: Scoped<Send>,
    state: Data<State>,
    request: HttpRequest,
    PostWithQuery(post): PostWithQuery,
) -> Answer {
    let mut query = Query::of(&request)?;
    let reference = query.text("reference").unwrap_or_default();
    if reference.is_empty() {
        query.error("reference", "missing");
    }
    query.finish()?;
    post.body.fields()?.finish()?;
    let (store, actor) = (state.store.clone(), caller.actor());
    let effect = async move {
        let taken_back = campaign::cancel_by_reference(&store, &reference, &actor).await?;
        let shown = store.read(move |conn| show_cancelled(conn, &reference)).await?;
        let (cancelled, remaining) = (taken_back.cancelled, taken_back.remaining);
        Ok(Reply::ok(json!({"data": shown, "cancelled": cancelled, "remaining": remaining})))
    };
    post.once.around(&state.store, effect).await
}

/// The newest messages with a reference that are cancelled. None: 404, or 409 where there are others.
fn show_cancelled(conn: &Connection, reference: &str) -> Result<Vec<Value>, Problem> {
    let cancelled = by_reference(conn, reference, Some(Status::Cancelled), SHOWN)?;
    if cancelled.is_empty() {
        let newest = by_reference(conn, reference, None, 1)?;
        let newest =
            newest.first().ok_or_else(|| Problem::not_found("There is no message with this reference."))?;
        return Err(campaign::not_waiting(newest).into());
    }
    cancelled.iter().map(|message| Ok(shape(&find(conn, message.id)?))).collect()
}
