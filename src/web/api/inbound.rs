//! `/inbound`: what people wrote to us.

use actix_web::HttpRequest;
use actix_web::web::Data;
use serde_json::{Value, json};

use super::{Answer, users};
use crate::store::reports::inbound::{self, InboundFilter, InboundView, KINDS};
use crate::web::State;
use crate::web::auth::{Read, Scoped};
use crate::web::openapi::shapes::Time;
use crate::web::openapi::shapes::{Page, Paging, messages as shapes};
use crate::web::page::Query;
use crate::web::reply::{Reply, time};

/// A message from a person as callers see it.
pub(super) fn shape(inbound: &InboundView) -> Value {
    json!({
        "id": inbound.id,
        "sid": inbound.message_sid,
        "user_id": inbound.user_id,
        "phone": inbound.phone,
        "from": inbound.from_address,
        "to": inbound.to_address,
        "channel": inbound.channel,
        "kind": inbound.kind,
        "body": inbound.body,
        "media": inbound.media,
        "reply": inbound.reply,
        "state": inbound.state,
        "received_at": time(inbound.received_at),
    })
}

/// Lists what people wrote to us, newest first.
#[utoipa::path(get, path = "/inbound", operation_id = "list_inbound",
    params(Paging, ("phone" = Option<String>, Query, description = "Of the person with this number."),
        ("kind" = Option<shapes::InboundKind>, Query, description = "That were understood so."),
        ("since" = Option<Time>, Query, description = "That came at this time or later.")),
    responses((status = 200, body = Page<shapes::Inbound>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("inbound");
    let phone = users::read_phone(&mut query);
    let kind = query.choice("kind", |word| KINDS.contains(&word).then(|| word.to_owned()), &KINDS);
    let since = query.time("since");
    query.finish()?;
    let slice = state
        .store
        .read(move |conn| {
            let user_id = phone.map(|phone| users::id_of_phone(conn, &phone)).transpose()?;
            let filter = InboundFilter { user_id, kind, since };
            inbound::list(conn, &filter, page.before, page.fetch())
        })
        .await?;
    Ok(Reply::ok(page.answer_slice(slice, |row| row.id, shape)))
}
