//! `/segments`: named definitions of an audience, and how many people one has right now.

use std::time::Instant;

use crate::store::Connection;
use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::{Answer, users};
use crate::domain::segment::{Condition, Definition};
use crate::store::reports::preview::{LOOK, Preview, preview as look};
use crate::store::segment_sql::compile;
use crate::store::segments::{self, SegmentRow};
use crate::store::{StoreError, Tx, campaigns, topics};
use crate::web::State;
use crate::web::auth::{Read, Scoped, Write};
use crate::web::body::{Body, Fields};
use crate::web::error::{FieldError, Problem};
use crate::web::etag::IfMatch;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::{Page, Paging, segments as shapes};
use crate::web::page::{NoQuery, Query};
use crate::web::reply::{Reply, time};

/// Longest name, in characters.
const MAX_NAME: usize = 200;
/// People that a preview shows.
const SAMPLE: usize = 10;

fn shape(segment: &SegmentRow) -> Value {
    json!({
        "id": segment.id,
        "name": segment.name,
        "definition": segment.definition,
        "version": segment.version,
        "created_at": time(segment.created_at),
        "updated_at": time(segment.updated_at),
    })
}

/// The segment with this id.
///
/// # Errors
/// 404.
pub(in crate::web) fn find(conn: &Connection, id: i64) -> Result<SegmentRow, Problem> {
    segments::find(conn, id)?.ok_or_else(|| Problem::not_found(format!("There is no segment {id}.")))
}

/// Reads a definition that stands in the field `name`.
///
/// # Errors
/// 422 with the place of every fault.
pub(in crate::web) fn parse(name: &str, definition: &Value) -> Result<Definition, Problem> {
    Definition::parse_at(name, definition).map_err(|errors| {
        let named = |error: crate::domain::segment::DefinitionError| FieldError {
            field: error.field,
            message: error.message,
        };
        Problem::fields(errors.into_iter().map(named).collect())
    })
}

/// Refuses a definition that names a topic or a campaign which is not there: with `not` around it, a typo
/// would mean everybody.
///
/// # Errors
/// 422 that names them.
pub(in crate::web) fn check_names(
    conn: &Connection,
    name: &str,
    definition: &Definition,
) -> Result<(), Problem> {
    let mut errors = Vec::new();
    let mut missing = |message: String| errors.push(FieldError { field: name.to_owned(), message });
    for condition in definition.conditions() {
        match condition {
            Condition::Topic(names) => {
                for topic in names {
                    if topics::find(conn, topic)?.is_none() {
                        missing(format!("there is no topic {topic:?}"));
                    }
                }
            }
            Condition::Engagement(engagement) => {
                if let Some(id) = engagement.campaign_id
                    && campaigns::find(conn, id)?.is_none()
                {
                    missing(format!("there is no campaign {id}"));
                }
            }
            _ => {}
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::fields(errors)) }
}

/// A segment as a caller wrote it.
pub(in crate::web) struct Draft {
    name: String,
    value: Value,
    definition: Definition,
}

fn read_definition(fields: &mut Fields) -> Value {
    let definition = fields.take("definition");
    if definition.is_none() {
        fields.error("definition", "missing; everybody is {\"all\":[]}");
    }
    definition.unwrap_or_default()
}

/// Reads name and definition.
///
/// # Errors
/// 422 with every fault.
pub(in crate::web) fn read_draft(mut fields: Fields) -> Result<Draft, Problem> {
    let name = fields.required_name("name", MAX_NAME);
    let value = read_definition(&mut fields);
    let definition = if value.is_null() { None } else { fields.keep(parse("definition", &value)) };
    fields.finish()?;
    let definition = definition.ok_or_else(|| Problem::field("definition", "missing"))?;
    Ok(Draft { name, value, definition })
}

/// Lists segments, newest first.
#[utoipa::path(get, path = "/segments", operation_id = "list_segments", params(Paging),
    responses((status = 200, body = Page<shapes::Segment>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("segments");
    query.finish()?;
    let rows = state.store.read(move |conn| segments::list(conn, page.before, page.fetch())).await?;
    Ok(Reply::ok(page.answer(rows, |row| row.id, shape)))
}

/// Adds a segment.
#[utoipa::path(post, path = "/segments", operation_id = "create_segment", request_body = shapes::NewSegment,
    responses((status = 201, body = shapes::Segment), (status = 409, description = "The name is taken.")))]
pub(super) async fn create(_: Scoped<Write>, state: Data<State>, post: Post) -> Answer {
    let draft = read_draft(post.body.fields()?)?;
    post.once
        .write(&state.store, move |tx| {
            let segment = insert(tx, &draft)?;
            let reply = Reply::created(format!("/api/v1/segments/{}", segment.id), shape(&segment));
            Ok(reply.with_version(segment.version))
        })
        .await
}

/// Adds what was read.
///
/// # Errors
/// 409 for a taken name, 422 for a topic or campaign that is not there.
pub(in crate::web) fn insert(tx: &Tx<'_>, draft: &Draft) -> Result<SegmentRow, Problem> {
    check_names(tx.conn(), "definition", &draft.definition)?;
    refuse_taken(tx.conn(), &draft.name, None)?;
    let id = segments::insert(tx, &draft.name, &draft.value)?;
    find(tx.conn(), id)
}

/// Puts what was read in the place of what was there.
///
/// # Errors
/// 404, 412, and those of [`insert`].
pub(in crate::web) fn change(
    tx: &Tx<'_>,
    id: i64,
    if_match: &IfMatch,
    draft: &Draft,
) -> Result<SegmentRow, Problem> {
    if_match.check(find(tx.conn(), id)?.version)?;
    check_names(tx.conn(), "definition", &draft.definition)?;
    refuse_taken(tx.conn(), &draft.name, Some(id))?;
    segments::update(tx, id, &draft.name, &draft.value)?;
    find(tx.conn(), id)
}

/// Removes a segment that nothing uses.
///
/// # Errors
/// 404, 409.
pub(in crate::web) fn delete(tx: &Tx<'_>, id: i64) -> Result<(), Problem> {
    let segment = find(tx.conn(), id)?;
    let used_by = segments::users_of(tx.conn(), segment.id)?;
    if !used_by.is_empty() {
        let detail = format!("The segment is used by {}.", used_by.join(", "));
        return Err(Problem::conflict(detail).with_code("in_use").with("used_by", json!(used_by)));
    }
    Ok(segments::delete(tx, segment.id)?)
}

fn refuse_taken(conn: &Connection, name: &str, but: Option<i64>) -> Result<(), Problem> {
    if segments::is_name_taken(conn, name, but)? {
        return Err(Problem::conflict(format!("There is a segment {name:?} already.")).with_code("duplicate"));
    }
    Ok(())
}

/// Shows a segment.
#[utoipa::path(get, path = "/segments/{id}", operation_id = "get_segment",
    responses((status = 200, body = shapes::Segment)))]
pub(super) async fn show(_: Scoped<Read>, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    Query::of(&request)?.finish()?;
    let segment = state.store.read(move |conn| find(conn, *id)).await?;
    Ok(Reply::ok(shape(&segment)).with_version(segment.version))
}

/// Replaces a segment.
#[utoipa::path(put, path = "/segments/{id}", operation_id = "replace_segment", request_body = shapes::NewSegment,
    responses((status = 200, body = shapes::Segment), (status = 409, description = "The name is taken.")))]
pub(super) async fn replace(
    _: Scoped<Write>,
    state: Data<State>,
    id: Path<i64>,
    if_match: IfMatch,
    body: Body,
) -> Answer {
    let draft = read_draft(body.fields()?)?;
    state
        .store
        .write(move |tx| {
            let segment = change(tx, *id, &if_match, &draft)?;
            Ok(Reply::ok(shape(&segment)).with_version(segment.version))
        })
        .await
}

/// Deletes a segment that nothing uses.
#[utoipa::path(delete, path = "/segments/{id}", operation_id = "delete_segment",
    responses((status = 204), (status = 409, description = "Something uses it; `used_by` names it.")))]
pub(super) async fn remove(_: Scoped<Write>, state: Data<State>, id: Path<i64>, _: NoQuery) -> Answer {
    state.store.write(move |tx| delete(tx, *id)).await?;
    Ok(Reply::no_content())
}

/// Who belongs to a definition now, as far as a second and a half of looking tells, and how long that took.
///
/// # Errors
/// 422 for a topic or campaign that is not there.
pub(in crate::web) async fn count(state: &State, definition: Definition) -> Result<(Preview, u64), Problem> {
    let now = state.store.clock().now();
    let began = Instant::now();
    let found = state
        .store
        .read(move |conn| {
            check_names(conn, "definition", &definition)?;
            Ok::<_, Problem>(look(conn, &compile(&definition, now), SAMPLE, LOOK)?)
        })
        .await?;
    Ok((found, u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)))
}

/// Counts who would belong to a definition now.
///
/// Counting ends after a second and a half: `is_exact` is false then, and there are more than `count`.
#[utoipa::path(post, path = "/segments/preview", operation_id = "preview_segment",
    request_body = shapes::DefinitionToTry, responses((status = 200, body = shapes::SegmentPreview)))]
pub(super) async fn preview(_: Scoped<Read>, state: Data<State>, body: Body) -> Answer {
    let mut fields = body.fields()?;
    let value = read_definition(&mut fields);
    let definition = if value.is_null() { None } else { fields.keep(parse("definition", &value)) };
    fields.finish()?;
    let definition = definition.ok_or_else(|| Problem::field("definition", "missing"))?;
    let (found, elapsed_ms) = count(&state, definition).await?;
    let (people, is_exact) = (found.count, found.is_whole);
    let sample = state
        .store
        .read(move |conn| {
            found
                .sample
                .iter()
                .map(|user| users::shape(conn, user))
                .collect::<Result<Vec<Value>, StoreError>>()
        })
        .await?;
    let answer = json!({"count": people, "is_exact": is_exact, "sample": sample, "elapsed_ms": elapsed_ms});
    Ok(Reply::ok(answer))
}
