//! What was sent to an endpoint: one delivery with its event, a trial, and an event again.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::context;
use serde_json::Value;

use super::super::Answer;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::super::render;
use super::{LIST, one};
use crate::store::events;
use crate::store::webhook_deliveries::{Delivery, STATUSES};
use crate::store::webhook_endpoints::note_resent;
use crate::web::State;
use crate::web::api::{webhook_deliveries as api, webhook_endpoints};
use crate::web::error::Problem;
use crate::web::page::{Page as Slice, Query};
use crate::web::reply::Reply;

/// Which deliveries the page of an endpoint shows.
pub(super) fn wanted(query: &mut Query) -> (Option<&'static str>, Slice) {
    let slice = query.page("webhook-deliveries");
    let known = |word: &str| STATUSES.into_iter().find(|status| *status == word);
    (query.choice("status", known, &STATUSES), slice)
}

/// A page of them, `{data, next_cursor}`.
pub(super) fn shown(slice: Slice, rows: Vec<Delivery>) -> Value {
    slice.answer(rows, |row| row.event_id, api::shape)
}

pub(in super::super) async fn show(page: Page, state: Data<State>, path: Path<(i64, i64)>) -> Answer {
    answer(&page, &state, path.into_inner(), &Filled::default()).await
}

async fn answer(page: &Page, state: &State, (id, event_id): (i64, i64), filled: &Filled) -> Answer {
    let is_masked = page.is_masked();
    let read = state.store.read::<_, _, Problem>(move |conn| {
        let endpoint = webhook_endpoints::find(conn, id)?;
        let delivery = api::find_delivery(conn, id, event_id)?;
        Ok((endpoint, delivery, events::find(conn, event_id)?))
    });
    let (endpoint, delivery, event) = read.await?;
    // What was sent has numbers in it: who sees them masked does not see it.
    let event = event.filter(|_| !is_masked).map(|event| event.to_json());
    let body = event.as_ref().and_then(|event| serde_json::to_string_pretty(event).ok());
    let values = context! {
        title => format!("Delivery of event {event_id}"),
        section => "settings",
        area => "webhook-endpoints",
        endpoint => context! { id => endpoint.id, url => endpoint.url, is_enabled => endpoint.is_enabled },
        delivery => render::values(api::shape(&delivery)),
        body,
        form => filled.value(),
    };
    page.show_as(filled.status(), "settings/webhook_endpoints/delivery.html", values)
}

pub(in super::super) async fn resend(
    page: Page,
    state: Data<State>,
    path: Path<(i64, i64)>,
    form: Form,
) -> Answer {
    let (id, event_id) = path.into_inner();
    let actor = page.actor();
    let asked = form.once.clone().write(&state.store, move |tx| -> Result<Reply, Problem> {
        let reply = api::send_again(tx, id, event_id)?;
        note_resent(tx, id, event_id, &actor)?;
        Ok(reply)
    });
    match asked.await {
        Ok(_) => {
            page.go_to(&format!("{LIST}/{id}/deliveries/{event_id}"), "Asked for. It goes within a second.")
        }
        Err(problem) => answer(&page, &state, (id, event_id), &Filled::refused(&form, problem)?).await,
    }
}

pub(in super::super) async fn test(
    page: Page,
    state: Data<State>,
    (id, request): (Path<i64>, HttpRequest),
    form: Form,
) -> Answer {
    let (id, actor) = (*id, page.actor());
    match form.once.clone().write(&state.store, move |tx| api::try_out(tx, id, &actor)).await {
        Ok(reply) => {
            let event_id = reply.body().and_then(|body| body["event_id"].as_i64()).unwrap_or_default();
            page.go_to(&format!("{LIST}/{id}/deliveries/{event_id}"), "A trial is on its way.")
        }
        Err(problem) => one(&page, &state, (id, &request), &Filled::refused(&form, problem)?).await,
    }
}
