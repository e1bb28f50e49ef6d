//! `/admin/templates/content`: templates that live at Twilio, what WhatsApp thinks of them, and the way to have one
//! approved.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use minijinja::{Value, context};
use serde_json::{Map, Value as Json, json};

use super::super::Answer;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::may_change;
use crate::domain::content::{Approval, Category};
use crate::store::StoreError;
use crate::store::content_templates::{self as contents, ContentRow};
use crate::web::State;
use crate::web::api::content_templates as api;
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::page::Query;
use crate::web::reply::Reply;

/// Characters of a text in a list.
const BEGINNING: usize = 120;
/// Variables that a new template has fields for.
const SAMPLES: usize = 6;

pub(in crate::web::admin) async fn list(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let paging = query.page("content_templates");
    let status = query.choice("status", Approval::parse, &Approval::ALL.map(Approval::as_str));
    query.finish()?;
    let (rows, next) = state
        .store
        .read(move |conn| {
            let mut rows = contents::list(conn, status.map(Approval::as_str), paging.before, paging.fetch())?;
            let next = paging.cut(&mut rows, |row| row.id);
            Ok::<_, StoreError>((rows, next))
        })
        .await?;
    let values = context! {
        title => "Templates at Twilio",
        section => "templates",
        rows => rows.iter().map(shown).collect::<Vec<_>>(),
        next,
        status => status.map(Approval::as_str),
        statuses => Approval::ALL.map(Approval::as_str).to_vec(),
        has_account => state.contents.has_account(),
        may_change => may_change(&page),
    };
    page.show("templates/content_list.html", values)
}

fn shown(row: &ContentRow) -> Value {
    let body = body_of(&row.types);
    let beginning: String = body.unwrap_or_default().chars().take(BEGINNING).collect();
    let variables: Vec<Value> = row.variables.as_object().map_or_else(Vec::new, |variables| {
        variables
            .iter()
            .map(|(name, sample)| context! { name => name.clone(), sample => sample.as_str().unwrap_or_default() })
            .collect()
    });
    let types: Vec<String> =
        row.types.as_object().map_or_else(Vec::new, |types| types.keys().cloned().collect());
    context! {
        sid => row.sid.clone(),
        name => row.friendly_name.clone(),
        language => row.language.clone(),
        is_cut => beginning.len() < body.map_or(0, str::len),
        beginning,
        body,
        types,
        variables,
        category => row.category.as_deref().map(str::to_lowercase),
        status => if row.deleted_at.is_some() { "deleted".to_owned() } else { row.status.clone() },
        reason => row.rejection_reason.clone(),
        synced_at => row.synced_at,
        deleted_at => row.deleted_at,
        can_submit => row.deleted_at.is_none() && row.status == "unsubmitted",
    }
}

/// The text of the first type that has one.
fn body_of(types: &Json) -> Option<&str> {
    types.as_object()?.values().find_map(|kind| kind["body"].as_str())
}

pub(in crate::web::admin) async fn show(
    page: Page,
    state: Data<State>,
    sid: Path<String>,
    request: HttpRequest,
) -> Answer {
    Query::of(&request)?.finish()?;
    one(&page, &state, &sid, &Filled::default()).await
}

async fn one(page: &Page, state: &State, sid: &str, filled: &Filled) -> Answer {
    let sought = sid.to_owned();
    let (row, used) = state
        .store
        .read(move |conn| {
            let row = api::find(conn, &sought)?;
            let used = contents::templates_of(conn, &sought)?;
            Ok::<_, Problem>((row, used))
        })
        .await?;
    let values = context! {
        title => row.friendly_name.clone(),
        section => "templates",
        content => shown(&row),
        used,
        form => filled.value(),
        categories => categories(),
        has_account => state.contents.has_account(),
        may_change => may_change(page),
    };
    page.show_as(filled.status(), "templates/content.html", values)
}

pub(super) fn categories() -> Vec<Value> {
    let words = Category::WORDS.into_iter().zip([
        "Utility: about something the person did",
        "Marketing: offers and news",
        "Authentication: codes to log in",
    ]);
    words.map(|(value, label)| context! { value, label }).collect()
}

/// Asks Twilio now.
pub(in crate::web::admin) async fn sync(page: Page, state: Data<State>, form: Form) -> Answer {
    let effect = async {
        let synced = state.contents.sync().await?;
        let body = json!({"seen": synced.seen, "changed": synced.changed});
        Ok::<_, Problem>(Reply::ok(body).with_location("/admin/templates/content"))
    };
    let reply = form.once.around(&state.store, effect).await?;
    page.go(&reply, "Twilio was asked. This is what it has now.")
}

pub(in crate::web::admin) async fn new(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    Query::of(&request)?.finish()?;
    empty(&page, &state, &Filled::default())
}

fn empty(page: &Page, state: &State, filled: &Filled) -> Answer {
    let values = context! {
        title => "New template at Twilio",
        section => "templates",
        form => filled.value(),
        categories => categories(),
        samples => (1..=SAMPLES).collect::<Vec<_>>(),
        has_account => state.contents.has_account(),
    };
    page.show_as(filled.status(), "templates/content_new.html", values)
}

/// The fields behind a prefix as an object, blank ones left out.
fn object(form: &Form, prefix: &str) -> Map<String, Json> {
    let found = form.pairs().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value.trim())));
    found.filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), json!(value))).collect()
}

pub(in crate::web::admin) async fn create(page: Page, state: Data<State>, form: Form) -> Answer {
    let mut body = form.json(&["name", "language", "category"]);
    body.insert("body".to_owned(), json!(form.raw("body").unwrap_or_default()));
    body.insert("variables".to_owned(), Json::Object(object(&form, "variables.")));
    let outcome = match Fields::of(Json::Object(body)).and_then(api::read_wanted) {
        Err(problem) => Err(problem),
        Ok(wanted) => {
            let _turn = state.contents.turn().await;
            let effect = async {
                let (row, is_new) = state.contents.make(wanted).await?;
                let sid = row.sid.unwrap_or_default();
                if !is_new {
                    return Err(Problem::field("name", format!("There is one of this name already: {sid}")));
                }
                Ok(Reply::created(format!("/admin/templates/content/{sid}"), Json::Null))
            };
            form.once.clone().around(&state.store, effect).await
        }
    };
    match outcome {
        Ok(reply) => page.go(&reply, "Twilio has it. Submit it to WhatsApp next."),
        Err(problem) => empty(&page, &state, &Filled::refused(&form, problem)?),
    }
}

pub(in crate::web::admin) async fn submit(
    page: Page,
    state: Data<State>,
    sid: Path<String>,
    form: Form,
) -> Answer {
    let body = Json::Object(form.json(&["category", "name"]));
    let outcome = match Fields::of(body).and_then(api::read_whole_submission) {
        Err(problem) => Err(problem),
        Ok(submission) => {
            let _turn = state.contents.turn().await;
            let effect = async {
                state.contents.submit(&sid, &submission).await?;
                Ok::<_, Problem>(Reply::created(format!("/admin/templates/content/{sid}"), Json::Null))
            };
            form.once.clone().around(&state.store, effect).await
        }
    };
    match outcome {
        Ok(reply) => page.go(&reply, "Submitted. WhatsApp mostly decides within a day."),
        Err(problem) => one(&page, &state, &sid, &Filled::refused(&form, problem)?).await,
    }
}

/// Submits a template of ours: Twilio's template is made of it first, if there is none.
pub(in crate::web::admin) async fn submit_own(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let mut body = form.json(&["category", "language"]);
    body.insert("example".to_owned(), Json::Object(object(&form, "example.")));
    let wanted = Fields::of(Json::Object(body)).and_then(api::read_own_submission);
    let outcome = match wanted {
        Err(problem) => Err(problem),
        Ok(wanted) => {
            let _turn = state.contents.turn().await;
            let effect = async {
                state.contents.submit_own(*id, &wanted).await?;
                Ok::<_, Problem>(Reply::created(format!("/admin/templates/{id}"), Json::Null))
            };
            form.once.clone().around(&state.store, effect).await
        }
    };
    match outcome {
        Ok(reply) => page.go(&reply, "Submitted. WhatsApp mostly decides within a day."),
        Err(problem) => refused_own(&page, &state, *id, &form, problem).await,
    }
}

/// The page of the template again, with what is wrong at the fields of the submission.
async fn refused_own(page: &Page, state: &State, id: i64, form: &Form, problem: Problem) -> Answer {
    let status = problem.status();
    let row = state.store.read(move |conn| crate::web::api::templates::find(conn, id)).await?;
    let mut filled = Filled::refused(form, problem)?;
    let kept = super::editor::filled(&row);
    for (name, value) in kept.pairs() {
        if filled.get(&name).is_none() {
            filled.set(&name, value);
        }
    }
    filled.set("version", row.version.to_string());
    debug_assert_ne!(status, StatusCode::OK);
    super::editor::show(page, state, Some(row), filled).await
}
