//! Recording a consent: its state, where it comes from, in which words, and when. Nobody leaves STOP here.

use actix_web::web::{Data, Path};
use minijinja::{Value, context};
use serde_json::{Map, Value as Json};

use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::super::{Answer, words};
use super::{find, find_for_write, person_value};
use crate::domain::consent::Consent;
use crate::store::users::User;
use crate::web::State;
use crate::web::api::consent as api;
use crate::web::body::Fields;
use crate::web::error::{FieldError, Problem};
use crate::web::reply::Reply;

/// Places where people usually say so, to choose from.
const SOURCES: [&str; 6] = ["paper form", "web form", "at the counter", "by phone", "by e-mail", "contract"];

/// The states that an operator may record, the present one marked.
pub(super) fn states(now: Consent) -> Vec<Value> {
    let may = |state: &Consent| now != Consent::Stop || *state == Consent::Stop;
    Consent::ALL
        .iter()
        .filter(|state| may(state))
        .map(|state| {
            context! {
                value => state.as_str(),
                label => words::word("consent", state.as_str()),
                is_now => *state == now,
            }
        })
        .collect()
}

/// The fields of a form as the API has them. A day is its first instant, UTC.
pub(super) fn wish_of(form: &Form) -> Map<String, Json> {
    let mut wish = form.json(&["state", "evidence"]);
    wish.insert("source".to_owned(), form.text("source").unwrap_or_else(|| "operator".to_owned()).into());
    if let Some(day) = form.text("obtained_on") {
        let instant = if day.len() == 10 { format!("{day}T00:00:00Z") } else { day };
        wish.insert("obtained_at".to_owned(), instant.into());
    }
    wish
}

/// Faults by the names that the form has for its fields.
pub(super) fn named(problem: Problem) -> Problem {
    problem.map_fields(|name| {
        let name = name.strip_prefix("consent.").unwrap_or(name);
        if name == "obtained_at" { "obtained_on".to_owned() } else { name.to_owned() }
    })
}

/// `GET /admin/users/{id}/consent`.
pub(in super::super) async fn show(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    consent_page(&page, &state, *id, Filled::default()).await
}

async fn consent_page(page: &Page, state: &State, id: i64, filled: Filled) -> Answer {
    let user: User = state.store.read(move |conn| find(conn, id)).await?;
    page.show_as(
        filled.status(),
        "users/consent.html",
        context! {
            title => format!("Consent of {}", super::person::name_or_number(page, &user)),
            section => "users",
            person => person_value(&user),
            form => filled.value(),
            states => states(user.consent),
            sources => SOURCES,
            is_stopped => user.consent == Consent::Stop,
        },
    )
}

/// What the form says. That an opt-in has words, the pages ask beyond the API: somebody will want to read them.
fn read(form: &Form, now: i64) -> Result<api::Wish, Problem> {
    let mut fields = Fields::of(Json::Object(wish_of(form)))?;
    let wish = api::read_object(&mut fields, now);
    let mut faults = match fields.finish() {
        Ok(()) => Vec::new(),
        Err(problem) => named(problem).into_fields(),
    };
    let is_opt_in = form.text("state").as_deref() == Some("opt_in");
    if is_opt_in && form.text("evidence").is_none() {
        let message = "the words or the document that show it".to_owned();
        faults.push(FieldError { field: "evidence".to_owned(), message });
    }
    match wish {
        Some(wish) if faults.is_empty() => Ok(wish),
        _ => Err(Problem::fields(faults)),
    }
}

/// `POST /admin/users/{id}/consent`.
pub(in super::super) async fn record(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let kept = form.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>();
    let outcome = match read(&form, page.now()) {
        Err(problem) => Err(problem),
        Ok(wish) => {
            let actor = page.actor();
            form.once
                .write(&state.store, move |tx| {
                    let user = find_for_write(tx.conn(), id)?;
                    api::change(tx, &user, &wish, &actor)?;
                    Ok(Reply::created(format!("/admin/users/{id}"), Json::Null))
                })
                .await
        }
    };
    match outcome {
        Ok(reply) => page.go(&reply, "Consent recorded."),
        Err(problem) => consent_page(&page, &state, id, Filled::refused_with(kept, problem)?).await,
    }
}
