//! `/admin/inbox/replies`: texts to answer with, and one of them filled in for a person.

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use actix_web::web::{Data, Path};
use minijinja::{Value, context};
use serde_json::Value as Json;

use super::compose;
use crate::domain::plan::MAX_BODY;
use crate::domain::template::Template;
use crate::store::Tx;
use crate::store::canned_replies::{self, CannedReply, Saved};
use crate::store::users::{self, UserKey};
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::failure::Failure;
use crate::web::admin::form::{Filled, Form};
use crate::web::admin::page::Page;
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::reply::Reply;

/// Longest name, in characters.
const MAX_NAME: usize = 60;
const HOME: &str = "/admin/inbox/replies";

fn value(reply: &CannedReply) -> Value {
    let variables = Template::parse(&reply.body).map(|text| text.variables().to_vec()).unwrap_or_default();
    context! {
        id => reply.id, name => reply.name.clone(), body => reply.body.clone(), version => reply.version,
        updated_by => reply.updated_by.clone(), updated_at => reply.updated_at, variables,
    }
}

/// All of them, and a form for one more.
pub(in crate::web::admin) async fn list(page: Page, state: Data<State>) -> Answer {
    show_list(&page, &state, &Filled::default()).await
}

async fn show_list(page: &Page, state: &State, form: &Filled) -> Answer {
    let rows = state.store.read(canned_replies::list).await?;
    let rows: Vec<Value> = rows.iter().map(value).collect();
    page.show_as(
        form.status(),
        "inbox/replies.html",
        context! { title => "Canned replies", section => "inbox", rows, most => canned_replies::MOST, form => form.value() },
    )
}

/// Name and text; the text must be one that a person's values can be put into.
fn read(form: &Form) -> Result<(String, String), Problem> {
    let mut fields = Fields::of(Json::Object(form.json(&["name", "body"])))?;
    let name = fields.required_name("name", MAX_NAME);
    let body = fields.required_text("body", MAX_BODY);
    if let Err(error) = Template::parse(&body) {
        fields.error("body", error.to_string());
    }
    fields.finish()?;
    Ok((name, body))
}

fn saved(saved: Saved) -> Result<Reply, Problem> {
    match saved {
        Saved::Done(_) => Ok(Reply::created(HOME, Json::Null)),
        Saved::NameTaken => Err(Problem::field("name", "there is one of this name already")),
        Saved::TooMany => Err(Problem::conflict(format!(
            "There are {} already. Remove one that nobody uses.",
            canned_replies::MOST
        ))),
        Saved::Changed => {
            Err(Problem::conflict("Somebody changed or removed this one meanwhile. Open it again."))
        }
    }
}

/// Adds one.
pub(in crate::web::admin) async fn create(page: Page, state: Data<State>, form: Form) -> Answer {
    let outcome = match read(&form) {
        Ok((name, body)) => {
            let actor = page.actor();
            let add = move |tx: &Tx<'_>| saved(canned_replies::insert(tx, &name, &body, &actor)?);
            form.once.clone().write(&state.store, add).await
        }
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(reply) => page.go(&reply, "Added."),
        Err(problem) => show_list(&page, &state, &Filled::refused(&form, problem)?).await,
    }
}

async fn find(state: &State, id: i64) -> Result<CannedReply, Failure> {
    let found = state.store.read(move |conn| canned_replies::find(conn, id)).await?;
    found.ok_or_else(|| Failure::not_found("There is no such canned reply. Somebody may have removed it."))
}

/// One of them, to be changed.
pub(in crate::web::admin) async fn edit(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    show_one(&page, &state, *id, &Filled::default()).await
}

async fn show_one(page: &Page, state: &State, id: i64, form: &Filled) -> Answer {
    let reply = find(state, id).await?;
    page.show_as(
        form.status(),
        "inbox/reply_edit.html",
        context! { title => reply.name.clone(), section => "inbox", reply => value(&reply), form => form.value() },
    )
}

/// Changes one.
pub(in crate::web::admin) async fn update(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let seen = (*id, form.text("version").and_then(|text| text.parse().ok()).unwrap_or(0));
    let outcome = match read(&form) {
        Ok((name, body)) => {
            let actor = page.actor();
            let change = move |tx: &Tx<'_>| saved(canned_replies::update(tx, seen, &name, &body, &actor)?);
            form.once.clone().write(&state.store, change).await
        }
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(reply) => page.go(&reply, "Saved."),
        Err(problem) => show_one(&page, &state, *id, &Filled::refused(&form, problem)?).await,
    }
}

/// Removes one.
pub(in crate::web::admin) async fn remove(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let actor = page.actor();
    form.once
        .write(&state.store, move |tx| {
            canned_replies::delete(tx, *id, &actor)?;
            Ok(Reply::no_content())
        })
        .await?;
    page.go_to(HOME, "Removed.")
}

/// The text for one person, as plain text: a script puts it where the cursor is.
pub(in crate::web::admin) async fn insertable(state: Data<State>, path: Path<(i64, i64)>) -> Answer {
    let (user_id, id) = path.into_inner();
    let user = state.store.read(move |conn| users::find(conn, &UserKey::Id(user_id))).await?;
    let user = user.ok_or_else(|| Failure::not_found(format!("There is no person {user_id}.")))?;
    let reply = find(&state, id).await?;
    let (text, _) = compose::rendered(&reply.body, &compose::values_of(&user));
    Ok(HttpResponse::Ok().insert_header(ContentType::plaintext()).body(text))
}
