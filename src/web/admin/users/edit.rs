//! Adding a person, and changing their attributes. Each attribute is a row of name, type and text; what a type means
//! is decided here, what may be kept by the same check as in the API.

use actix_web::web::{Data, Path};
use minijinja::{Value, context};
use serde_json::{Map, Number, Value as Json, json};
use sha2::{Digest, Sha256};

use super::super::Answer;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::super::render;
use super::{find, find_for_write, person_value};
use crate::domain::consent::Consent;
use crate::domain::user::check_attributes;
use crate::store::reports::people::{self, Budget, Order, Wanted, WantedError};
use crate::store::users;
use crate::store::{Connection, StoreError};
use crate::web::State;
use crate::web::api::users as api;
use crate::web::body::Fields;
use crate::web::error::{FieldError, Problem};
use crate::web::reply::Reply;

/// Types of an attribute, with their words.
const TYPES: [(&str, &str); 7] = [
    ("text", "Text"),
    ("number", "Number"),
    ("yes_no", "Yes or no"),
    ("date", "Date"),
    ("list", "List"),
    ("null", "Nothing"),
    ("json", "JSON"),
];
/// Blank rows at the end of a form.
const BLANK: usize = 3;
/// People whose attributes suggest names.
const ASKED: usize = 50;
/// Names that everybody knows, offered from the start.
const KNOWN: [&str; 7] = ["first_name", "last_name", "name", "city", "email", "language", "timezone"];

/// A row of the form.
#[derive(Clone, Debug, Default, serde::Serialize)]
struct Row {
    name: String,
    kind: String,
    text: String,
    /// It was there before: its name stands.
    is_kept: bool,
}

fn row_of(name: &str, value: &Json) -> Row {
    let (kind, text) = match value {
        Json::Null => ("null", String::new()),
        Json::Bool(is_so) => ("yes_no", if *is_so { "yes" } else { "no" }.to_owned()),
        Json::Number(number) => ("number", number.to_string()),
        Json::String(text) if text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10 => {
            ("date", text.clone())
        }
        Json::String(text) => ("text", text.clone()),
        Json::Array(items)
            if items.iter().all(|item| item.as_str().is_some_and(|text| !text.contains('\n'))) =>
        {
            let lines: Vec<&str> = items.iter().filter_map(Json::as_str).collect();
            ("list", lines.join("\n"))
        }
        other => ("json", other.to_string()),
    };
    Row { name: name.to_owned(), kind: kind.to_owned(), text, is_kept: true }
}

/// The rows as they were posted, in their order; a row without a name and a text says nothing.
fn rows_of(form: &Form) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (field, value) in form.pairs() {
        match field {
            "attribute" => rows.push(Row { name: value.trim().to_owned(), ..Row::default() }),
            "type" => {
                if let Some(row) = rows.last_mut() {
                    row.kind = value.to_owned();
                }
            }
            "text" => {
                if let Some(row) = rows.last_mut() {
                    row.text = value.to_owned();
                }
            }
            "kept" => {
                if let Some(row) = rows.last_mut() {
                    row.is_kept = true;
                }
            }
            _ => {}
        }
    }
    rows.retain(|row| !row.name.is_empty() || !row.text.trim().is_empty());
    rows
}

/// The attributes that rows mean.
fn attributes_of(rows: &[Row]) -> Result<Map<String, Json>, Vec<FieldError>> {
    let mut attributes = Map::new();
    let mut errors = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let mut fault = |message: String| {
            errors.push(FieldError { field: format!("attribute-{at}"), message });
        };
        if row.kind == "remove" {
            continue;
        }
        if row.name.is_empty() {
            fault("this value has no name".to_owned());
        } else if attributes.contains_key(&row.name) {
            fault(format!("{} stands here twice", row.name));
        } else {
            match value_of(row) {
                Ok(value) => drop(attributes.insert(row.name.clone(), value)),
                Err(message) => fault(format!("{}: {message}", row.name)),
            }
        }
    }
    if errors.is_empty()
        && let Err(error) = check_attributes(&attributes)
    {
        let name = error.field.trim_start_matches("attributes.");
        let at = rows.iter().position(|row| row.name == name).unwrap_or(0);
        errors.push(FieldError { field: format!("attribute-{at}"), message: error.message });
    }
    if errors.is_empty() { Ok(attributes) } else { Err(errors) }
}

fn value_of(row: &Row) -> Result<Json, String> {
    let text = row.text.trim();
    match row.kind.as_str() {
        "null" => Ok(Json::Null),
        "number" => {
            let plain = text.replace(',', "");
            let number = plain.parse::<Number>().map_err(|_| format!("“{text}” is no number"))?;
            Ok(Json::Number(number))
        }
        "yes_no" => match text.to_lowercase().as_str() {
            "yes" | "true" | "1" => Ok(json!(true)),
            "no" | "false" | "0" => Ok(json!(false)),
            _ => Err("write yes or no".to_owned()),
        },
        "date" => {
            let date = text.parse::<jiff::civil::Date>();
            date.map(|date| json!(date.to_string())).map_err(|_| "write a date as 2026-11-23".to_owned())
        }
        "list" => {
            let lines: Vec<&str> = row.text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            Ok(json!(lines))
        }
        "json" => serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}")),
        _ => Ok(json!(row.text.trim_end())),
    }
}

/// Tells whether somebody else changed the attributes since a form was made.
fn mark_of(attributes: &Map<String, Json>) -> String {
    let text = serde_json::to_string(attributes).unwrap_or_default();
    Sha256::digest(text).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Names of attributes that people have, to choose from.
fn suggestions(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut names: std::collections::BTreeSet<String> = KNOWN.iter().map(|name| (*name).to_owned()).collect();
    let everybody = Wanted::of(conn, &crate::domain::people::PeopleFilter::default(), 0);
    let everybody = everybody.map_err(|error| match error {
        WantedError::Store(error) => error,
        WantedError::Missing(_, message) => StoreError::Internal(message),
    })?;
    let found = people::walk(conn, &everybody, (Order::Newest, i64::MAX), ASKED, Budget::PAGE)?;
    for (_, id) in found.people {
        if let Some(user) = users::find(conn, &users::UserKey::Id(id))? {
            names.extend(user.attributes.into_iter().map(|(name, _)| name));
        }
    }
    Ok(names.into_iter().collect())
}

fn with_blanks(mut rows: Vec<Row>) -> Vec<Row> {
    let blank = Row { kind: "text".to_owned(), ..Row::default() };
    rows.extend(std::iter::repeat_n(blank, BLANK));
    rows
}

fn types() -> Vec<Value> {
    TYPES.iter().map(|(value, label)| context! { value => *value, label => *label }).collect()
}

/// `GET /admin/users/new`.
pub(in super::super) async fn new(page: Page, state: Data<State>) -> Answer {
    let rows = ["first_name", "last_name", "city"].map(|name| Row {
        name: name.to_owned(),
        kind: "text".to_owned(),
        ..Row::default()
    });
    new_page(&page, &state, (Filled::default(), rows.to_vec())).await
}

async fn new_page(page: &Page, state: &State, (filled, rows): (Filled, Vec<Row>)) -> Answer {
    let (names, topics) = state
        .store
        .read(|conn| Ok::<_, StoreError>((suggestions(conn)?, super::list::choices_of_topics(conn)?)))
        .await?;
    page.show_as(
        filled.status(),
        "users/new.html",
        context! {
            title => "Add a person",
            section => "users",
            form => filled.value(),
            rows => render::values(with_blanks(rows)),
            types => types(),
            names,
            topics,
            states => super::consent::states(Consent::Unknown),
        },
    )
}

/// `POST /admin/users`.
pub(in super::super) async fn create(page: Page, state: Data<State>, form: Form) -> Answer {
    let rows = rows_of(&form);
    let new = read_new(&form, &rows, page.now());
    let (new, actor) = match new {
        Ok(new) => (new, page.actor()),
        Err(problem) => return new_page(&page, &state, (Filled::refused(&form, problem)?, rows)).await,
    };
    let kept = form.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>();
    let outcome = form
        .once
        .write(&state.store, move |tx| {
            let made = api::insert(tx, &new, &actor)?;
            let location = made.location().unwrap_or_default().replace("/api/v1/", "/admin/");
            Ok(Reply::created(location, Json::Null))
        })
        .await;
    match outcome {
        Ok(reply) => page.go(&reply, "Added."),
        Err(problem) if problem.has_code("duplicate") => {
            let id = problem.members().get("id").and_then(Json::as_i64).unwrap_or_default();
            page.go_to(&format!("/admin/users/{id}"), "This person was here already. Nothing was changed.")
        }
        Err(problem) => {
            let filled = Filled::refused_with(kept, problem)?;
            new_page(&page, &state, (filled, rows)).await
        }
    }
}

/// What the form says, through the reader of the API.
fn read_new(form: &Form, rows: &[Row], now: i64) -> Result<api::NewPerson, Problem> {
    let mut body = form.json(&["phone", "default_region"]);
    let topics = form.all("topics");
    if !topics.is_empty() {
        body.insert("topics".to_owned(), json!(topics));
    }
    let filled: Vec<Row> =
        rows.iter().filter(|row| !row.text.trim().is_empty() || row.kind == "null").cloned().collect();
    let attributes = attributes_of(&filled);
    if let Ok(attributes) = &attributes {
        body.insert("attributes".to_owned(), Json::Object(attributes.clone()));
    }
    if form.text("state").is_some_and(|state| state != "unknown") {
        body.insert("consent".to_owned(), Json::Object(super::consent::wish_of(form)));
    }
    let mut faults = attributes.err().unwrap_or_default();
    let read = Fields::of(Json::Object(body)).and_then(|fields| api::read_new(fields, now));
    match (read, faults.is_empty()) {
        (Ok(new), true) => Ok(new),
        (Ok(_), false) => Err(Problem::fields(faults)),
        (Err(problem), _) => {
            faults.extend(super::consent::named(problem).into_fields());
            Err(Problem::fields(faults))
        }
    }
}

/// `GET /admin/users/{id}/edit`.
pub(in super::super) async fn show(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    edit_page(&page, &state, *id, None).await
}

async fn edit_page(
    page: &Page,
    state: &State,
    id: i64,
    refused: Option<(Filled, Vec<Row>, String)>,
) -> Answer {
    let (user, names) = state
        .store
        .read(move |conn| Ok::<_, super::super::failure::Failure>((find(conn, id)?, suggestions(conn)?)))
        .await?;
    let fresh = || user.attributes.iter().map(|(name, value)| row_of(name, value)).collect();
    let (filled, rows, mark) = match refused {
        Some((filled, rows, mark)) => (filled, rows, mark),
        None => (Filled::default(), fresh(), mark_of(&user.attributes)),
    };
    page.show_as(
        filled.status(),
        "users/edit.html",
        context! {
            title => format!("Edit {}", super::person::name_or_number(page, &user)),
            section => "users",
            person => person_value(&user),
            form => filled.value(),
            rows => render::values(with_blanks(rows)),
            types => types(),
            names,
            mark,
        },
    )
}

/// `POST /admin/users/{id}/edit`.
pub(in super::super) async fn save(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let rows = rows_of(&form);
    let mark = form.text("mark").unwrap_or_default();
    let kept = form.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>();
    let attributes = match attributes_of(&rows) {
        Ok(attributes) => attributes,
        Err(faults) => {
            let filled = Filled::refused(&form, Problem::fields(faults))?;
            return edit_page(&page, &state, id, Some((filled, rows, mark))).await;
        }
    };
    let (actor, seen) = (page.actor(), mark.clone());
    let outcome = form
        .once
        .write(&state.store, move |tx| {
            let user = find_for_write(tx.conn(), id)?;
            if mark_of(&user.attributes) != seen {
                let detail = "Somebody changed this person meanwhile. Open the page in another tab, compare, and send \
                              yours again from there.";
                return Err(Problem::conflict(detail).with_code("changed_meanwhile"));
            }
            if attributes != user.attributes {
                users::set_attributes(tx, id, &attributes, &actor)?;
            }
            Ok(Reply::created(format!("/admin/users/{id}"), Json::Null))
        })
        .await;
    match outcome {
        Ok(reply) => page.go(&reply, "Saved."),
        Err(problem) => {
            let filled = Filled::refused_with(kept, problem)?;
            edit_page(&page, &state, id, Some((filled, rows, mark))).await
        }
    }
}
