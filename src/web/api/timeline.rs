//! `/users/{person}/timeline`: everything about one person, newest first.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::{Answer, consent, users};
use crate::store::reports::timeline::{self, Entry, Place};
use crate::web::State;
use crate::web::auth::{Read, Scoped};
use crate::web::error::Problem;
use crate::web::openapi::shapes::{Page, Paging, users as shapes};
use crate::web::page::{Query, encode};
use crate::web::reply::{Reply, time};

const LIST: &str = "timeline";

fn read_place(query: &mut Query) -> Place {
    let Some(cursor) = query.cursor(LIST) else {
        return Place::START;
    };
    let ids: Vec<i64> = cursor.iter().filter_map(Value::as_i64).collect();
    match *ids.as_slice() {
        [message, inbound, consent, event] => Place { message, inbound, consent, event },
        _ => {
            query.error("cursor", "is not a cursor of this list; start again without it");
            Place::START
        }
    }
}

fn shape(entry: &Entry) -> Value {
    let (kind, data) = match entry {
        Entry::Message(message, events) => {
            let mut data = super::messages::shape(message);
            if let Some(data) = data.as_object_mut() {
                data.insert("campaign_name".to_owned(), json!(message.campaign_name));
                data.insert("events".to_owned(), events.iter().map(super::events::shape).collect());
            }
            ("message", data)
        }
        Entry::Inbound(inbound) => ("inbound", super::inbound::shape(inbound)),
        Entry::Consent(row) => ("consent", consent::shape(row)),
        Entry::Event(event) => ("event", super::events::shape(event)),
    };
    json!({"at": time(entry.at()), "type": kind, "data": data})
}

/// Tells everything about a person, newest first.
#[utoipa::path(get, path = "/users/{person}/timeline", operation_id = "get_timeline", params(Paging),
    responses((status = 200, body = Page<shapes::TimelineEntry>)))]
pub(super) async fn show(
    _: Scoped<Read>,
    state: Data<State>,
    person: Path<String>,
    request: HttpRequest,
) -> Answer {
    let mut query = Query::of(&request)?;
    let limit = query.limit();
    let place = read_place(&mut query);
    query.finish()?;
    let (entries, next) = state
        .store
        .read(move |conn| {
            let user = users::find(conn, &person)?;
            Ok::<_, Problem>(timeline::page(conn, user.id, place, limit)?)
        })
        .await?;
    let next = next.map(|place| {
        encode(LIST, &[json!(place.message), json!(place.inbound), json!(place.consent), json!(place.event)])
    });
    let data: Vec<Value> = entries.iter().map(shape).collect();
    Ok(Reply::ok(json!({"data": data, "next_cursor": next})))
}
