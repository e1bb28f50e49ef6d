//! `/webhook-endpoints/{id}/deliveries`: what was tried and what came of it, and the two ways to ask for one
//! more: a trial, and an event again. A delivery is named by its event.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::Answer;
use super::webhook_endpoints::find;
use crate::domain::event::EventType;
use crate::store::events::{self, NewEvent};
use crate::store::webhook_deliveries::{self, Delivery, STATUSES};
use crate::store::webhook_endpoints::Endpoint;
use crate::store::{Connection, Tx};
use crate::web::State;
use crate::web::auth::{Admin, Read, Scoped};
use crate::web::error::Problem;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::{Page, Paging, webhooks as shapes};
use crate::web::page::{NoQuery, Query};
use crate::web::reply::{Reply, time, time_or_null};

pub(in crate::web) fn shape(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.event_id,
        "message_id": format!("evt_{}", delivery.event_id),
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "http_status": delivery.http_status,
        "latency_ms": delivery.latency_ms,
        "error": delivery.error,
        "next_attempt_at": time_or_null(delivery.next_at),
        "created_at": time(delivery.created_at),
        "updated_at": time(delivery.updated_at),
    })
}

/// The delivery of an event.
///
/// # Errors
/// 404.
pub(in crate::web) fn find_delivery(
    conn: &Connection,
    endpoint_id: i64,
    event_id: i64,
) -> Result<Delivery, Problem> {
    webhook_deliveries::find(conn, endpoint_id, event_id)?
        .ok_or_else(|| Problem::not_found(format!("There is no delivery {event_id} in the log.")))
}

/// Lists what was tried, newest event first.
#[utoipa::path(get, path = "/webhook-endpoints/{id}/deliveries", operation_id = "list_webhook_deliveries",
    params(Paging, ("status" = Option<shapes::DeliveryStatus>, Query, description = "Only these.")),
    responses((status = 200, body = Page<shapes::WebhookDelivery>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("webhook-deliveries");
    let known = |word: &str| STATUSES.into_iter().find(|status| *status == word);
    let status = query.choice("status", known, &STATUSES);
    query.finish()?;
    let rows = state.store.read(move |conn| {
        let endpoint = find(conn, *id)?;
        Ok::<_, Problem>(webhook_deliveries::list(conn, endpoint.id, status, page.before, page.fetch())?)
    });
    Ok(Reply::ok(page.answer(rows.await?, |row| row.event_id, shape)))
}

/// Shows one delivery.
#[utoipa::path(get, path = "/webhook-endpoints/{id}/deliveries/{delivery}", operation_id = "get_webhook_delivery",
    responses((status = 200, body = shapes::WebhookDelivery)))]
pub(super) async fn show(_: Scoped<Read>, state: Data<State>, path: Path<(i64, i64)>, _: NoQuery) -> Answer {
    let (id, event_id) = path.into_inner();
    let delivery = state.store.read(move |conn| {
        find(conn, id)?;
        find_delivery(conn, id, event_id)
    });
    Ok(Reply::ok(shape(&delivery.await?)))
}

/// Sends an event of type `webhook.tested` to this endpoint alone, by the road of all others.
#[utoipa::path(post, path = "/webhook-endpoints/{id}/test", operation_id = "test_webhook_endpoint",
    responses((status = 202, body = shapes::WebhookDelivery),
        (status = 409, description = "The endpoint is disabled.")))]
pub(super) async fn test(caller: Scoped<Admin>, state: Data<State>, id: Path<i64>, post: Post) -> Answer {
    post.body.expect_nothing()?;
    let actor = caller.actor();
    post.once.write(&state.store, move |tx| try_out(tx, *id, &actor)).await
}

/// Asks for a trial of an endpoint.
///
/// # Errors
/// 404, or 409 when it is disabled.
pub(in crate::web) fn try_out(tx: &Tx<'_>, id: i64, actor: &str) -> Result<Reply, Problem> {
    let endpoint = find_enabled(tx.conn(), id)?;
    let data = Some(json!({"endpoint_id": endpoint.id, "actor": actor}));
    let kind = EventType::WebhookTested;
    let event_id = events::append(tx, kind, NewEvent { data, ..NewEvent::default() })?;
    ask(tx, &endpoint, event_id, kind.as_str())
}

/// Sends an event again, under the same id.
///
/// Any event that is kept, whatever became of it, also one that the endpoint's filter passed over.
#[utoipa::path(post, path = "/webhook-endpoints/{id}/deliveries/{delivery}/resend",
    operation_id = "resend_webhook_delivery",
    responses((status = 202, body = shapes::WebhookDelivery),
        (status = 409, description = "The endpoint is disabled.")))]
pub(super) async fn resend(
    _: Scoped<Admin>,
    state: Data<State>,
    path: Path<(i64, i64)>,
    post: Post,
) -> Answer {
    post.body.expect_nothing()?;
    let (id, event_id) = path.into_inner();
    post.once.write(&state.store, move |tx| send_again(tx, id, event_id)).await
}

/// Asks for an event again.
///
/// # Errors
/// 404, or 409 when the endpoint is disabled.
pub(in crate::web) fn send_again(tx: &Tx<'_>, id: i64, event_id: i64) -> Result<Reply, Problem> {
    let endpoint = find_enabled(tx.conn(), id)?;
    let event = events::find(tx.conn(), event_id)?
        .filter(|event| {
            event.kind != EventType::WebhookTested.as_str()
                || event.data.get("endpoint_id").is_some_and(|of| *of == id)
        })
        .ok_or_else(|| Problem::not_found(format!("The event {event_id} is not kept.")))?;
    ask(tx, &endpoint, event_id, &event.kind)
}

fn find_enabled(conn: &Connection, id: i64) -> Result<Endpoint, Problem> {
    let endpoint = find(conn, id)?;
    if !endpoint.is_enabled {
        let detail = format!("The webhook endpoint {id} is disabled. Enable it first.");
        return Err(Problem::conflict(detail).with_code("endpoint_disabled"));
    }
    Ok(endpoint)
}

fn ask(tx: &Tx<'_>, endpoint: &Endpoint, event_id: i64, event_type: &str) -> Result<Reply, Problem> {
    webhook_deliveries::ask(tx, endpoint.id, event_id, event_type)?;
    Ok(Reply::accepted(shape(&find_delivery(tx.conn(), endpoint.id, event_id)?)))
}
