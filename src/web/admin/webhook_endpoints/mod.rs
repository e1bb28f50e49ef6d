//! `/admin/settings/webhook-endpoints`: who is told of events. Read and written as the API does; the secret is shown
//! once.

pub(super) mod deliveries;

use std::collections::BTreeSet;

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::{Value as Shown, context};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::Answer;
use super::form::{Filled, Form};
use super::page::Page;
use super::render;
use crate::domain::event::EventType;
use crate::store::webhook_endpoints as store_endpoints;
use crate::store::{StoreError, webhook_deliveries};
use crate::web::State;
use crate::web::api::webhook_endpoints as api;
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::page::Query;

const LIST: &str = "/admin/settings/webhook-endpoints";

/// An endpoint as its pages show it: as the API does, with its state in a word.
fn with_state(mut shown: Value) -> Value {
    let is_null = |name: &str| shown.get(name).is_none_or(Value::is_null);
    let is_enabled = shown.get("enabled") == Some(&Value::Bool(true));
    let state = match (is_enabled, is_null("failing_since")) {
        (false, _) => "disabled",
        (true, false) => "failing",
        (true, true) if is_null("last_attempt_at") => "new",
        (true, true) => "working",
    };
    if let Value::Object(members) = &mut shown {
        members.insert("state".to_owned(), json!(state));
    }
    shown
}

pub(super) async fn list(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let slice = query.page("webhook-endpoints");
    query.finish()?;
    let rows = state.store.read(move |conn| {
        let rows = store_endpoints::list(conn, slice.before, slice.fetch())?;
        let shown = rows.into_iter().map(|row| Ok((row.id, with_state(api::shape(conn, &row)?))));
        shown.collect::<Result<Vec<_>, StoreError>>()
    });
    let endpoints = slice.answer(rows.await?, |(id, _)| *id, |(_, shown)| shown.clone());
    let values = context! {
        title => "Webhook endpoints",
        section => "settings",
        area => "webhook-endpoints",
        endpoints => render::values(endpoints),
    };
    page.show("settings/webhook_endpoints/list.html", values)
}

pub(super) async fn new(page: Page) -> Answer {
    edit(&page, &Filled::default())
}

fn edit(page: &Page, filled: &Filled) -> Answer {
    let values = context! {
        title => "New webhook endpoint",
        section => "settings",
        area => "webhook-endpoints",
        form => filled.value(),
        nouns => nouns(),
    };
    page.show_as(filled.status(), "settings/webhook_endpoints/new.html", values)
}

/// The nouns of events, each as the filter that takes all of them.
fn nouns() -> Vec<Shown> {
    let nouns: BTreeSet<&str> =
        EventType::ALL.iter().filter_map(|kind| kind.as_str().split('.').next()).collect();
    nouns
        .into_iter()
        // Trials go to the endpoint that they are made for, whatever its filter.
        .filter(|noun| *noun != "webhook")
        .map(|noun| {
            let own = EventType::ALL.iter().map(|kind| kind.as_str());
            let ends: Vec<&str> = own.filter_map(|kind| kind.strip_prefix(noun)?.strip_prefix('.')).collect();
            context! { value => format!("{noun}.*"), noun, types => ends }
        })
        .collect()
}

/// The fields of the form as the API takes them.
fn fields(form: &Form) -> Map<String, Value> {
    let mut fields = form.json(&["url", "description"]);
    fields.entry("description").or_insert_with(|| json!(""));
    // Whole nouns are boxes, single types are words in a text.
    let mut types = form.all("types");
    for line in form.all("single_types") {
        types.extend(line.split([',', ' ', '\n']).map(str::to_owned).filter(|word| !word.is_empty()));
    }
    fields.insert("types".to_owned(), json!(types));
    fields
}

/// Faults of `types[3]` stand at the text in which single types are written.
fn renamed(problem: Problem) -> Problem {
    problem.map_fields(|field| match field.starts_with("types") {
        true => "single_types".to_owned(),
        false => field.clone(),
    })
}

pub(super) async fn create(page: Page, state: Data<State>, form: Form) -> Answer {
    match add(&state, &form, page.actor()).await {
        Ok(reply) => {
            let id = reply.body().and_then(|body| body["id"].as_i64()).unwrap_or_default();
            secret(&page, ("Webhook endpoint added", id), reply.secret())
        }
        Err(problem) => edit(&page, &Filled::refused(&form, renamed(problem))?),
    }
}

async fn add(state: &State, form: &Form, actor: String) -> Result<crate::web::reply::Reply, Problem> {
    let mut fields = Fields::inside("", fields(form));
    let wish = api::read_wish(&mut fields, None);
    fields.finish()?;
    api::check(state, &wish.url).await?;
    form.once.clone().write(&state.store, move |tx| api::add(tx, &wish, &actor)).await
}

/// The page that shows a secret, this once.
fn secret(page: &Page, (title, id): (&str, i64), secret: Option<&SecretString>) -> Answer {
    let secret = secret.map(|secret| secret.expose_secret().to_owned());
    let values = context! { title, section => "settings", area => "webhook-endpoints", id, secret };
    page.show("settings/webhook_endpoints/secret.html", values)
}

pub(super) async fn show(page: Page, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    one(&page, &state, (*id, &request), &Filled::default()).await
}

async fn one(page: &Page, state: &State, (id, request): (i64, &HttpRequest), filled: &Filled) -> Answer {
    let mut query = Query::of(request)?;
    let (status, slice) = deliveries::wanted(&mut query);
    query.finish()?;
    let read = state.store.read::<_, _, Problem>(move |conn| {
        let endpoint = api::find(conn, id)?;
        let rows = webhook_deliveries::list(conn, id, status, slice.before, slice.fetch())?;
        Ok((with_state(api::shape(conn, &endpoint)?), rows))
    });
    let (endpoint, rows) = read.await?;
    let given: Vec<String> = endpoint
        .get("types")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect();
    let (whole, single): (Vec<String>, Vec<String>) =
        given.into_iter().partition(|word| word.ends_with(".*"));
    let values = context! {
        title => "Webhook endpoint",
        section => "settings",
        area => "webhook-endpoints",
        endpoint => render::values(&endpoint),
        whole,
        single => single.join(" "),
        nouns => nouns(),
        deliveries => render::values(deliveries::shown(slice, rows)),
        status,
        form => filled.value(),
    };
    page.show_as(filled.status(), "settings/webhook_endpoints/show.html", values)
}

pub(super) async fn update(
    page: Page,
    state: Data<State>,
    (id, request): (Path<i64>, HttpRequest),
    form: Form,
) -> Answer {
    match api::change(&state, *id, fields(&form), page.actor()).await {
        Ok(_) => page.go_to(&format!("{LIST}/{id}"), "Saved."),
        Err(problem) => {
            let filled = Filled::refused(&form, renamed(problem))?;
            one(&page, &state, (*id, &request), &filled).await
        }
    }
}

/// Enables or disables, by the field `enabled`.
pub(super) async fn switch(
    page: Page,
    state: Data<State>,
    (id, request): (Path<i64>, HttpRequest),
    form: Form,
) -> Answer {
    let is_on = form.is_on("enabled");
    let patch = Map::from_iter([("enabled".to_owned(), json!(is_on))]);
    let notice = if is_on { "Enabled. It goes on with the event at which it stood." } else { "Disabled." };
    match api::change(&state, *id, patch, page.actor()).await {
        Ok(_) => page.go_to(&format!("{LIST}/{id}"), notice),
        Err(problem) => one(&page, &state, (*id, &request), &Filled::refused(&form, problem)?).await,
    }
}

pub(super) async fn rotate(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let (id, actor) = (*id, page.actor());
    let renewed = form.once.write(&state.store, move |tx| api::renew_secret(tx, id, &actor)).await?;
    secret(&page, ("New secret", id), renewed.secret())
}

pub(super) async fn confirm_remove(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let id = *id;
    let read = state
        .store
        .read::<_, _, Problem>(move |conn| Ok(with_state(api::shape(conn, &api::find(conn, id)?)?)));
    let values = context! {
        title => "Remove webhook endpoint",
        section => "settings",
        area => "webhook-endpoints",
        endpoint => render::values(read.await?),
    };
    page.show("settings/webhook_endpoints/remove.html", values)
}

pub(super) async fn remove(page: Page, state: Data<State>, id: Path<i64>, _form: Form) -> Answer {
    api::forget(&state, *id, page.actor()).await?;
    page.go_to(LIST, "Removed, with its log.")
}
