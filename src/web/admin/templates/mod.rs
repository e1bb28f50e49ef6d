//! `/admin/templates`: what messages say. The list, one template with its editor, and the way out of it; `content`
//! has the templates that live at Twilio, `sending` the test.

pub(super) mod content;
mod editor;
mod look;
pub(super) mod sending;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use minijinja::context;
use serde_json::Value;

use super::Answer;
use super::failure::Failure;
use super::form::{Filled, Form};
use super::page::Page;
use super::uses::{MANY_USES, USES, shown_uses};
use crate::domain::encoding;
use crate::domain::phone::Channel;
use crate::store::operators::Role;
use crate::store::reports::uses::{self, Use};
use crate::store::templates::{self, TemplateRow};
use crate::store::{Connection, StoreError};
use crate::web::State;
use crate::web::api::templates as api;
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::etag::IfMatch;
use crate::web::page::Query;
use crate::web::reply::Reply;

pub(super) use editor::draft;

/// Characters of a text in a list.
const BEGINNING: usize = 120;
/// Versions that a page shows.
const VERSIONS: usize = 20;

pub(super) async fn list(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let paging = query.page("templates");
    query.finish()?;
    let (rows, next) = state
        .store
        .read(move |conn| {
            let mut rows = templates::list(conn, paging.before, paging.fetch())?;
            let next = paging.cut(&mut rows, |row| row.id);
            let rows: Vec<_> = rows.iter().map(|row| listed(conn, row)).collect::<Result<_, _>>()?;
            Ok::<_, StoreError>((rows, next))
        })
        .await?;
    page.show("templates/list.html", context! { title => "Templates", section => "templates", rows, next })
}

fn listed(conn: &Connection, row: &TemplateRow) -> Result<minijinja::Value, StoreError> {
    let used = uses::count_of_template(conn, row.id, MANY_USES)?;
    let text = &row.text;
    let beginning: String = text.body.chars().take(BEGINNING).collect();
    let is_sms = text.channel == Channel::Sms;
    Ok(context! {
        id => row.id,
        name => row.name.clone(),
        is_cut => beginning.len() < text.body.len(),
        beginning,
        channel => text.channel.as_str(),
        has_media => !text.media_urls.is_empty(),
        parts => (is_sms && text.media_urls.is_empty()).then(|| encoding::count(&text.body).parts.max(1)),
        approval => approval(row),
        updated_at => row.updated_at,
        used,
        is_more => used == MANY_USES,
    })
}

/// Twilio's word about the Content template of a template, if it has one.
fn approval(row: &TemplateRow) -> Option<String> {
    row.text.content_sid.as_ref()?;
    Some(match &row.text.known {
        Some(known) if known.is_deleted => "deleted".to_owned(),
        Some(known) => known.status.clone(),
        None => "unseen".to_owned(),
    })
}

pub(super) async fn new(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let (from, content) = (query.integer("from"), query.text("content"));
    query.finish()?;
    let mut filled = Filled::with([("channel", "sms".to_owned())]);
    if let Some(id) = from {
        let row = state.store.read(move |conn| api::find(conn, id)).await?;
        filled = editor::filled(&row);
        filled.set("name", format!("{} (copy)", row.name));
    } else if let Some(sid) = content {
        filled = Filled::with([("channel", "whatsapp".to_owned()), ("content_sid", sid)]);
    }
    editor::show(&page, &state, None, filled).await
}

pub(super) async fn show(page: Page, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let version = query.integer("version");
    query.finish()?;
    let id = *id;
    let (row, shown) = state
        .store
        .read(move |conn| {
            let row = api::find(conn, id)?;
            let shown = match version {
                Some(version) => templates::find_version(conn, id, version)?
                    .ok_or_else(|| Problem::not_found(format!("There is no version {version} of it.")))?,
                None => row.clone(),
            };
            Ok::<_, Problem>((row, shown))
        })
        .await?;
    let mut filled = editor::filled(&shown);
    filled.set("version", row.version.to_string());
    editor::show(&page, &state, Some(row), filled).await
}

/// The same, looked at and not changed: for whoever follows a link to how it reads.
pub(super) async fn preview(page: Page, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let person = query.integer("person");
    query.finish()?;
    let row = state.store.read(move |conn| api::find(conn, *id)).await?;
    editor::preview(&page, &state, &row, person).await
}

pub(super) async fn create(page: Page, state: Data<State>, form: Form) -> Answer {
    save(page, state, form, None).await
}

pub(super) async fn change(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    save(page, state, form, Some(*id)).await
}

/// Reads what was posted as the API reads it, and keeps it.
async fn save(page: Page, state: Data<State>, form: Form, id: Option<i64>) -> Answer {
    let name = form.text("name").unwrap_or_default();
    let if_match = IfMatch::of_version(form.text("version").and_then(|text| text.parse().ok()));
    let read = Fields::of(editor::body_of(&form)).and_then(api::read);
    let outcome = match read {
        Err(problem) => Err(problem),
        Ok((name, text)) => {
            form.once
                .clone()
                .write(&state.store, move |tx| {
                    let row = match id {
                        Some(id) => api::change(tx, id, &if_match, (&name, &text))?,
                        None => api::insert(tx, &name, &text)?,
                    };
                    Ok::<_, Problem>(Reply::created(format!("/admin/templates/{}", row.id), Value::Null))
                })
                .await
        }
    };
    match outcome {
        Ok(reply) => page.go(&reply, &format!("Saved \u{201c}{name}\u{201d}.")),
        Err(problem) => {
            let form = form_of(problem, &form)?;
            let row = match id {
                Some(id) => Some(state.store.read(move |conn| api::find(conn, id)).await?),
                None => None,
            };
            editor::show(&page, &state, row, form).await
        }
    }
}

/// The form again. A taken name stands at the name, and what was changed meanwhile is said in words of the page.
fn form_of(problem: Problem, form: &Form) -> Result<Filled, Failure> {
    let problem = match problem.status() {
        StatusCode::CONFLICT if problem.has_code("duplicate") => Problem::field("name", problem.to_string()),
        StatusCode::PRECONDITION_FAILED => Problem::field(
            "body",
            "Somebody changed this template meanwhile. Open it in another window to compare, then save again",
        ),
        _ => problem,
    };
    // One field holds all addresses, and one all samples of a variable.
    let problem = problem.map_fields(|field| match field.split_once('[') {
        Some(("media_urls", _)) => "media_urls".to_owned(),
        _ => field.clone(),
    });
    Filled::refused(form, problem)
}

pub(super) async fn ask_delete(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let (row, used) = state.store.read(move |conn| with_uses(conn, *id)).await?;
    confirm(&page, StatusCode::OK, &row, &used)
}

fn with_uses(conn: &Connection, id: i64) -> Result<(TemplateRow, Vec<Use>), Problem> {
    let row = api::find(conn, id)?;
    let used = uses::of_template(conn, id, USES)?;
    Ok((row, used))
}

fn confirm(page: &Page, status: StatusCode, row: &TemplateRow, used: &[Use]) -> Answer {
    let is_over = |one: &&Use| matches!(one.status.as_str(), "finished" | "cancelled");
    let values = context! {
        title => format!("Delete \u{201c}{}\u{201d}", row.name),
        section => "templates",
        template => context! { id => row.id, name => row.name.clone() },
        uses => shown_uses(used),
        is_blocked => used.iter().any(|one| !is_over(&one)),
    };
    page.show_as(status, "templates/delete.html", values)
}

pub(super) async fn delete(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let (row, used) = state.store.read(move |conn| with_uses(conn, id)).await?;
    let outcome = form
        .once
        .write(&state.store, move |tx| {
            api::delete(tx, id)?;
            Ok::<_, Problem>(Reply::created("/admin/templates".to_owned(), Value::Null))
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

/// Whether the viewer may change templates.
fn may_change(page: &Page) -> bool {
    page.may(Role::Operator)
}
