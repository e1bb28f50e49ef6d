//! `/topics`, and a person's place in one.

use crate::store::Connection;
use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::{Answer, users};
use crate::domain::segment::{Condition, Definition};
use crate::store::topics::{self, Topic};
use crate::store::{StoreError, Tx, reports};
use crate::web::State;
use crate::web::auth::{Read, Scoped, Write};
use crate::web::body::{Body, Fields};
use crate::web::error::Problem;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::{Page, Paging, topics as shapes, users::User};
use crate::web::page::{NoQuery, Query, encode, paged};
use crate::web::reply::{Reply, time};

const RULES: [&str; 2] = ["opt_in_required", "all_opted_in"];
/// Longest name, in characters.
const MAX_NAME: usize = 64;

fn shape(topic: &Topic) -> Value {
    json!({
        "id": topic.id,
        "name": topic.name,
        "default": if topic.is_open_to_opted_in { "all_opted_in" } else { "opt_in_required" },
        "created_at": time(topic.created_at),
    })
}

fn find(conn: &Connection, name: &str) -> Result<Topic, Problem> {
    topics::find(conn, name)?.ok_or_else(|| Problem::not_found(format!("There is no topic {name:?}.")))
}

/// Reads `default`; true: open to all who opted in.
fn read_rule(fields: &mut Fields) -> Option<bool> {
    let parse = |word: &str| RULES.contains(&word).then_some(word == "all_opted_in");
    fields.choice("default", parse, &RULES)
}

fn read_name(fields: &mut Fields) -> String {
    let name = fields.required_name("name", MAX_NAME);
    // The name stands in paths.
    if name.contains('/') {
        fields.error("name", "no slash");
    }
    name
}

/// Reads a topic: its name, and whether it is open to all who opted in.
pub(in crate::web) fn read(fields: &mut Fields) -> Result<(String, bool), Problem> {
    let name = read_name(fields);
    let is_open = read_rule(fields).unwrap_or(false);
    fields.finish()?;
    Ok((name, is_open))
}

/// Adds a topic.
///
/// # Errors
/// 409 when the name is taken.
pub(in crate::web) fn add(tx: &Tx<'_>, name: &str, is_open: bool) -> Result<Topic, Problem> {
    if topics::insert(tx, name, is_open)?.is_none() {
        return Err(taken(name));
    }
    find(tx.conn(), name)
}

/// Changes a topic; what is left out stays.
///
/// # Errors
/// 404; 409 when the new name is taken, or a segment names the topic.
pub(in crate::web) fn change(
    tx: &Tx<'_>,
    name: &str,
    new_name: Option<String>,
    is_open: Option<bool>,
) -> Result<Topic, Problem> {
    let topic = find(tx.conn(), name)?;
    let wanted = new_name.unwrap_or_else(|| topic.name.clone());
    if !wanted.eq_ignore_ascii_case(&topic.name) {
        refuse_if_named(tx.conn(), &topic)?;
    }
    if !topics::update(tx, topic.id, &wanted, is_open.unwrap_or(topic.is_open_to_opted_in))? {
        return Err(taken(&wanted));
    }
    find(tx.conn(), &wanted)
}

/// Deletes a topic that nothing uses.
///
/// # Errors
/// 404; 409 that names what uses it.
pub(in crate::web) fn delete(tx: &Tx<'_>, name: &str) -> Result<(), Problem> {
    let topic = find(tx.conn(), name)?;
    refuse_if_used(tx.conn(), &topic)?;
    Ok(topics::delete(tx, topic.id)?)
}

/// Lists topics by name.
#[utoipa::path(get, path = "/topics", operation_id = "list_topics", params(Paging),
    responses((status = 200, body = Page<shapes::Topic>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let limit = query.limit();
    let after = query.cursor("topics").and_then(|at| at.first().and_then(Value::as_str).map(str::to_owned));
    query.finish()?;
    let all = state.store.read(topics::list).await?;
    let key = |topic: &Topic| topic.name.to_ascii_lowercase();
    let behind: Vec<Topic> =
        all.into_iter().filter(|topic| after.as_ref().is_none_or(|after| key(topic) > *after)).collect();
    Ok(Reply::ok(paged(behind, limit, |topic| encode("topics", &[json!(key(topic))]), shape)))
}

/// Adds a topic.
#[utoipa::path(post, path = "/topics", operation_id = "create_topic", request_body = shapes::NewTopic,
    responses((status = 201, body = shapes::Topic), (status = 409, description = "The name is taken.")))]
pub(super) async fn create(_: Scoped<Write>, state: Data<State>, post: Post) -> Answer {
    let (name, is_open) = read(&mut post.body.fields()?)?;
    post.once
        .write(&state.store, move |tx| {
            let topic = add(tx, &name, is_open)?;
            Ok(Reply::created(format!("/api/v1/topics/{}", escaped(&name)), shape(&topic)))
        })
        .await
}

fn taken(name: &str) -> Problem {
    Problem::conflict(format!("There is a topic {name:?} already.")).with_code("duplicate")
}

fn escaped(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Shows a topic.
#[utoipa::path(get, path = "/topics/{name}", operation_id = "get_topic", responses((status = 200, body = shapes::Topic)))]
pub(super) async fn show(
    _: Scoped<Read>,
    state: Data<State>,
    name: Path<String>,
    request: HttpRequest,
) -> Answer {
    Query::of(&request)?.finish()?;
    let topic = state.store.read(move |conn| find(conn, &name)).await?;
    Ok(Reply::ok(shape(&topic)))
}

/// Changes a topic.
#[utoipa::path(patch, path = "/topics/{name}", operation_id = "update_topic", request_body = shapes::TopicPatch,
    responses((status = 200, body = shapes::Topic), (status = 409, description = "The name is taken, or a segment names the topic.")))]
pub(super) async fn update(_: Scoped<Write>, state: Data<State>, name: Path<String>, body: Body) -> Answer {
    let mut fields = body.fields()?;
    let new_name = fields.has("name").then(|| read_name(&mut fields));
    let is_open = read_rule(&mut fields);
    fields.finish()?;
    let topic = state.store.write(move |tx| change(tx, &name, new_name, is_open)).await?;
    Ok(Reply::ok(shape(&topic)))
}

/// Deletes a topic that nothing uses.
#[utoipa::path(delete, path = "/topics/{name}", operation_id = "delete_topic",
    responses((status = 204), (status = 409, description = "Something uses it; `used_by` names it.")))]
pub(super) async fn remove(_: Scoped<Write>, state: Data<State>, name: Path<String>, _: NoQuery) -> Answer {
    state.store.write(move |tx| delete(tx, &name)).await?;
    Ok(Reply::no_content())
}

fn refuse_if_used(conn: &Connection, topic: &Topic) -> Result<(), Problem> {
    refuse_if_named(conn, topic)?;
    refuse(reports::users_of_topic(conn, topic.id)?)
}

/// A segment goes by names: under a new one it would silently find nobody, or with `not` everybody.
fn refuse_if_named(conn: &Connection, topic: &Topic) -> Result<(), Problem> {
    refuse(segments_naming(conn, &topic.name)?)
}

fn refuse(used_by: Vec<String>) -> Result<(), Problem> {
    if used_by.is_empty() {
        return Ok(());
    }
    Err(Problem::conflict(format!("The topic is used by {}.", used_by.join(", ")))
        .with_code("in_use")
        .with("used_by", json!(used_by)))
}

fn segments_naming(conn: &Connection, topic: &str) -> Result<Vec<String>, StoreError> {
    let names_it = |definition: &Value| {
        Definition::parse(definition).is_ok_and(|definition| {
            definition.conditions().into_iter().any(|condition| match condition {
                Condition::Topic(names) => names.iter().any(|name| name.eq_ignore_ascii_case(topic)),
                _ => false,
            })
        })
    };
    let all = reports::segment_definitions(conn)?;
    Ok(all
        .into_iter()
        .filter(|(_, definition)| names_it(definition))
        .map(|(name, _)| format!("segment {name}"))
        .collect())
}

/// Lets a person join a topic.
#[utoipa::path(put, path = "/users/{person}/topics/{topic}", operation_id = "join_topic",
    responses((status = 200, body = User)))]
pub(super) async fn join(
    caller: Scoped<Write>,
    state: Data<State>,
    path: Path<(String, String)>,
    body: Body,
) -> Answer {
    body.expect_nothing()?;
    set(caller.actor(), state, path, true).await
}

/// Lets a person leave a topic.
#[utoipa::path(delete, path = "/users/{person}/topics/{topic}", operation_id = "leave_topic",
    responses((status = 204)))]
pub(super) async fn leave(
    caller: Scoped<Write>,
    state: Data<State>,
    path: Path<(String, String)>,
    _: NoQuery,
) -> Answer {
    set(caller.actor(), state, path, false).await?;
    Ok(Reply::no_content())
}

async fn set(actor: String, state: Data<State>, path: Path<(String, String)>, is_subscribed: bool) -> Answer {
    let (person, name) = path.into_inner();
    state
        .store
        .write(move |tx| {
            let user = users::find(tx.conn(), &person)?;
            let topic = find(tx.conn(), &name)?;
            topics::set(tx, user.id, &topic, is_subscribed, &actor)?;
            Ok(Reply::ok(users::shape(tx.conn(), &user)?))
        })
        .await
}
