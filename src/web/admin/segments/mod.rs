//! `/admin/segments`: who is in. The list, one segment with its builder, and what attributes people have.

mod attributes;
mod builder;
mod draft;
mod offers;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use minijinja::context;
use serde_json::{Value, json};

use super::Answer;
use super::failure::Failure;
use super::form::Form;
use super::page::Page;
use super::uses::{MANY_USES, USES, shown_uses};
use crate::domain::segment::form;
use crate::store::operators::Role;
use crate::store::reports::uses::{self, Use};
use crate::store::segments::{self, SegmentRow};
use crate::store::{Connection, StoreError};
use crate::web::State;
use crate::web::api::segments as api;
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::etag::IfMatch;
use crate::web::page::Query;
use crate::web::reply::Reply;

pub(super) use attributes::{catalogue, fit_for, names, values};
pub(super) use builder::{build, count};

use draft::{Draft, Faults};

pub(super) async fn list(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let paging = query.page("segments");
    query.finish()?;
    let (rows, next) = state
        .store
        .read(move |conn| {
            let mut rows = segments::list(conn, paging.before, paging.fetch())?;
            let next = paging.cut(&mut rows, |row| row.id);
            let rows: Vec<_> = rows.iter().map(|row| listed(conn, row)).collect::<Result<_, _>>()?;
            Ok::<_, StoreError>((rows, next))
        })
        .await?;
    page.show("segments/list.html", context! { title => "Segments", section => "segments", rows, next })
}

fn listed(conn: &Connection, row: &SegmentRow) -> Result<minijinja::Value, StoreError> {
    let used = uses::count_of_segment(conn, row.id, MANY_USES)?;
    Ok(context! {
        id => row.id,
        name => row.name.clone(),
        summary => form::summary(&row.definition),
        updated_at => row.updated_at,
        used,
        is_more => used == MANY_USES,
    })
}

pub(super) async fn new(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let from = query.integer("from");
    let attribute = query.text("attribute");
    query.finish()?;
    let draft = match (from, attribute) {
        (Some(id), _) => {
            let row = state.store.read(move |conn| api::find(conn, id)).await?;
            Draft { name: format!("{} (copy)", row.name), ..Draft::of(None, &row.name, &row.definition) }
        }
        (None, Some(name)) => {
            let row = form::Row { name, ..form::Row::new(1, form::What::Attribute) };
            Draft::fresh(vec![form::Row::new(0, form::What::All), row])
        }
        (None, None) => {
            Draft::fresh(vec![form::Row::new(0, form::What::All), form::Row::new(1, form::What::Attribute)])
        }
    };
    draft.show(&page, &state, &Faults::default(), None).await
}

pub(super) async fn show(page: Page, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    Query::of(&request)?.finish()?;
    let row = state.store.read(move |conn| api::find(conn, *id)).await?;
    let draft = Draft::of(Some((row.id, row.version)), &row.name, &row.definition);
    draft.show(&page, &state, &Faults::default(), None).await
}

pub(super) async fn create(page: Page, state: Data<State>, form: Form) -> Answer {
    save(page, state, form, None).await
}

pub(super) async fn change(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    save(page, state, form, Some(*id)).await
}

/// Reads what was posted as the API reads it, and keeps it.
async fn save(page: Page, state: Data<State>, form: Form, id: Option<i64>) -> Answer {
    let mut draft = Draft::posted(&form)?;
    draft.id = id;
    let definition = match draft.definition() {
        Ok(definition) => definition,
        Err(faults) => return draft.show(&page, &state, &faults, None).await,
    };
    let body = json!({"name": draft.name.trim(), "definition": definition});
    let read = Fields::of(body).and_then(api::read_draft);
    let if_match = IfMatch::of_version(draft.version);
    let outcome = match read {
        Err(problem) => Err(problem),
        Ok(read) => {
            form.once
                .clone()
                .write(&state.store, move |tx| {
                    let row = match id {
                        Some(id) => api::change(tx, id, &if_match, &read)?,
                        None => api::insert(tx, &read)?,
                    };
                    Ok::<_, Problem>(Reply::created(format!("/admin/segments/{}", row.id), Value::Null))
                })
                .await
        }
    };
    match outcome {
        Ok(reply) => page.go(&reply, &format!("Saved \u{201c}{}\u{201d}.", draft.name.trim())),
        Err(problem) => {
            let faults = draft.refused(problem)?;
            draft.show(&page, &state, &faults, None).await
        }
    }
}

/// Asks before a segment is deleted, or says what it is needed for.
pub(super) async fn ask_delete(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let (row, used) = state.store.read(move |conn| with_uses(conn, *id)).await?;
    confirm(&page, StatusCode::OK, &row, &used)
}

fn with_uses(conn: &Connection, id: i64) -> Result<(SegmentRow, Vec<Use>), Problem> {
    let row = api::find(conn, id)?;
    let used = uses::of_segment(conn, id, USES)?;
    Ok((row, used))
}

fn confirm(page: &Page, status: StatusCode, row: &SegmentRow, used: &[Use]) -> Answer {
    let values = context! {
        title => format!("Delete \u{201c}{}\u{201d}", row.name),
        section => "segments",
        segment => context! { id => row.id, name => row.name.clone(), summary => form::summary(&row.definition) },
        uses => shown_uses(used),
    };
    page.show_as(status, "segments/delete.html", values)
}

pub(super) async fn delete(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let (row, used) = state.store.read(move |conn| with_uses(conn, id)).await?;
    let outcome = form
        .once
        .write(&state.store, move |tx| {
            api::delete(tx, id)?;
            Ok::<_, Problem>(Reply::created("/admin/segments".to_owned(), Value::Null))
        })
        .await;
    match outcome {
        Ok(reply) => page.go(&reply, &format!("Deleted \u{201c}{}\u{201d}.", row.name)),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            confirm(&page, StatusCode::CONFLICT, &row, &used)
        }
        Err(problem) => Err(Failure::from(problem)),
    }
}

/// Whether the viewer may change segments.
fn may_change(page: &Page) -> bool {
    page.may(Role::Operator)
}
