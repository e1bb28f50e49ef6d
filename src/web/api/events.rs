//! `/events`: everything that happens, in order, for whoever follows along. Ids ascend and are never
//! reused; a reader that kept the last one misses nothing as long as the events are kept.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde_json::{Value, json};

use super::Answer;
use crate::domain::event::EventType;
use crate::store::Connection;
use crate::store::events::{self, Event};
use crate::web::State;
use crate::web::auth::{Read, Scoped};
use crate::web::error::Problem;
use crate::web::openapi::shapes::events as shapes;
use crate::web::page::Query;
use crate::web::reply::Reply;

/// An event as the contract shows it.
pub(super) fn shape(event: &Event) -> Value {
    event.to_json()
}

/// Reads `types`: words with commas between them.
pub(super) fn read_types(query: &mut Query) -> Vec<EventType> {
    let mut types = Vec::new();
    for word in query.text("types").unwrap_or_default().split(',').map(str::trim).filter(|w| !w.is_empty()) {
        match EventType::parse(word) {
            Some(kind) => types.push(kind),
            None => query.error("types", unknown_type(word)),
        }
    }
    types
}

/// What is wrong with a type that is none.
pub(super) fn unknown_type(word: &str) -> String {
    let all: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    format!("{word:?} is none of {}", all.join(", "))
}

/// Where a reader begins that has seen `after`; without it, before the oldest event that is kept.
///
/// # Errors
/// 410 when what follows `after` is not kept any more, or when no event has that id yet: the file was restored
/// from a copy, and what the reader saw since is not in it.
pub(super) fn begin(conn: &Connection, after: Option<i64>) -> Result<i64, Problem> {
    let oldest_id = events::oldest_id(conn)?;
    let gone = |detail| Err(Problem::new(StatusCode::GONE, detail).with("oldest_id", json!(oldest_id)));
    match after {
        Some(after) if after < oldest_id - 1 => {
            gone(format!("Events before {oldest_id} are not kept any more. Go on from there."))
        }
        Some(after) if after >= oldest_id && after > events::newest_id(conn)? => gone(format!(
            "No event has the id {after} yet: the data file is another, or was restored from a copy. Go on from {oldest_id}."
        )),
        after => Ok(after.unwrap_or(oldest_id - 1)),
    }
}

/// Lists events behind a place, in order.
///
/// Without `after` it begins with the oldest event that is kept. Ids ascend and are never reused.
#[utoipa::path(get, path = "/events", operation_id = "list_events",
    params(("after" = Option<i64>, Query, description = "The last id that you have.", minimum = 0),
        ("types" = Option<String>, Query, description = "Only these, with commas between."),
        ("limit" = Option<i64>, Query, description = "Events at once.", minimum = 1, maximum = 200)),
    responses((status = 200, body = shapes::EventPage),
        (status = 410, description = "Not all behind `after` is kept any more, or no event has that id yet; \
            `oldest_id` says where to go on.")))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let after = query.integer("after");
    let types = read_types(&mut query);
    let limit = query.limit();
    query.finish()?;
    let (found, next_after) = state
        .store
        .read(move |conn| {
            let after = begin(conn, after)?;
            Ok::<_, Problem>(events::list_after(conn, after, &types, limit)?)
        })
        .await?;
    let data: Vec<Value> = found.iter().map(shape).collect();
    Ok(Reply::ok(json!({"data": data, "next_after": next_after})))
}
