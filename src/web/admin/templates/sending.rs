//! A test of a template: one real message to one number, confirmed by its last digits.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::{Value, context};
use serde_json::{Map, Value as Json, json};

use super::super::Answer;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use crate::campaign;
use crate::domain::phone::Phone;
use crate::store::StoreError;
use crate::store::templates::TemplateRow;
use crate::store::users::{self, UserKey};
use crate::web::State;
use crate::web::api::messages as message_api;
use crate::web::api::templates as api;
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::page::Query;
use crate::web::reply::Reply;

/// Digits that confirm a number.
const CONFIRMED: usize = 4;
/// A message in one of these states changes by itself.
const MOVING: [&str; 4] = ["queued", "sending", "accepted", "sent"];

pub(in crate::web::admin) async fn show(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Answer {
    let mut query = Query::of(&request)?;
    let (message, person) = (query.integer("message"), query.integer("person"));
    query.finish()?;
    let row = state.store.read(move |conn| api::find(conn, *id)).await?;
    let sent = match message {
        Some(message) => Some(sent(&state, message).await?),
        None => None,
    };
    if page.is_htmx {
        return page.part("templates/_sent.html", context! { sent, template => context! { id => row.id } });
    }
    let filled = match person {
        Some(person) => suggested(&state, &row, person).await?,
        None => Filled::default(),
    };
    form(&page, &state, &row, &filled, sent)
}

/// The values that a person has for the variables of a template.
async fn suggested(state: &State, row: &TemplateRow, person: i64) -> Result<Filled, StoreError> {
    let user = state.store.read(move |conn| users::find(conn, &UserKey::Id(person))).await?;
    let mut filled = Filled::default();
    for name in api::variables(&row.text) {
        let value = user.as_ref().and_then(|user| value_at(&user.attributes, &name));
        if let Some(value) = value {
            filled.set(&format!("variables.{name}"), value);
        }
    }
    Ok(filled)
}

fn value_at(attributes: &Map<String, Json>, path: &str) -> Option<String> {
    let mut keys = path.split('.');
    let mut value = attributes.get(keys.next()?)?;
    for key in keys {
        value = value.get(key)?;
    }
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
        other => Some(other.to_string()),
    }
}

/// What became of a test, as far as it is known.
async fn sent(state: &State, id: i64) -> Result<Value, Problem> {
    let message = state.store.read(move |conn| message_api::find(conn, id)).await?;
    Ok(context! {
        is_moving => MOVING.contains(&message.status.as_str()),
        id => message.id,
        status => message.status,
        reason => message.reason,
        phone => message.phone,
        error_code => message.error_code,
        body => message.body,
        at => message.created_at,
    })
}

fn form(page: &Page, state: &State, row: &TemplateRow, filled: &Filled, sent: Option<Value>) -> Answer {
    let values = context! {
        title => "Send a test",
        section => "templates",
        template => context! {
            id => row.id,
            name => row.name.clone(),
            channel => row.text.channel.as_str(),
            variables => api::variables(&row.text).into_iter().filter(|name| name != "phone").collect::<Vec<_>>(),
        },
        form => filled.value(),
        problem => state.setup.get().problem.clone(),
        sent,
    };
    page.show_as(filled.status(), "templates/test.html", values)
}

pub(in crate::web::admin) async fn send(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    posted: Form,
) -> Answer {
    let row = state.store.read(move |conn| api::find(conn, *id)).await?;
    let outcome = match read(&posted, &row, &state) {
        Err(problem) => Err(problem),
        Ok(message) => {
            let (rules, setup, actor) = (state.rules.get(), state.setup.get(), page.actor());
            let template = row.id;
            posted
                .once
                .clone()
                .write(&state.store, move |tx| {
                    let id = campaign::send_single(tx, &message, &rules, &setup, &actor)?;
                    let location = format!("/admin/templates/{template}/test?message={id}");
                    Ok::<_, Problem>(Reply::created(location, Json::Null))
                })
                .await
        }
    };
    match outcome {
        Ok(reply) => page.go(&reply, ""),
        Err(problem) => {
            let filled = Filled::refused(&posted, problem)?;
            form(&page, &state, &row, &filled, None)
        }
    }
}

/// The message as the API reads it, once its number is confirmed.
fn read(posted: &Form, row: &TemplateRow, state: &State) -> Result<campaign::SingleMessage, Problem> {
    let to = posted.text("to").unwrap_or_default();
    let variables: Map<String, Json> = posted
        .pairs()
        .filter_map(|(key, value)| Some((key.strip_prefix("variables.")?, value.trim())))
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect();
    let body = json!({
        "to": to,
        "channel": row.text.channel.as_str(),
        "template_id": row.id,
        "variables": nested(variables),
        "kind": "transactional",
        "reference": format!("test of template {}", row.id),
    });
    let message = message_api::read_new(Fields::of(body)?, state.store.clock().now())?;
    let typed = posted.text("confirm").unwrap_or_default();
    if message.to.phone().is_some_and(|phone| confirms(phone, &typed)) {
        return Ok(message);
    }
    let wrong = if typed.is_empty() {
        format!("Type the last {CONFIRMED} digits of the number to send")
    } else {
        format!("\u{201c}{typed}\u{201d} does not end this number")
    };
    Err(Problem::field("confirm", wrong))
}

/// A template looks for `address.city` inside `address`.
fn nested(flat: Map<String, Json>) -> Map<String, Json> {
    let mut found = Map::new();
    for (path, value) in flat {
        let mut keys: Vec<&str> = path.split('.').collect();
        let last = keys.pop().unwrap_or_default();
        let mut place = &mut found;
        for key in keys {
            let inner = place.entry(key.to_owned()).or_insert_with(|| json!({}));
            if !inner.is_object() {
                *inner = json!({});
            }
            place = match inner {
                Json::Object(map) => map,
                _ => return Map::new(),
            };
        }
        place.insert(last.to_owned(), value);
    }
    found
}

fn confirms(phone: &Phone, typed: &str) -> bool {
    let digits: String = typed.chars().filter(char::is_ascii_digit).collect();
    digits.len() >= CONFIRMED && phone.as_str().ends_with(&digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_confirmed_by_its_last_digits() {
        let phone = Phone::from_e164("+14155550101").unwrap();
        for (typed, is_right) in [
            ("0101", true),
            ("01 01", true),
            ("5550101", true),
            ("+14155550101", true),
            ("101", false),
            ("0102", false),
            ("", false),
        ] {
            assert_eq!(confirms(&phone, typed), is_right, "{typed}");
        }
    }

    #[test]
    fn variables_of_a_path_stand_inside_each_other() {
        let flat = json!({"name": "Ana", "address.city": "Kandy", "address.zip": "8", "name.x": "y"});
        let found = nested(flat.as_object().unwrap().clone());
        assert_eq!(
            Json::Object(found),
            json!({"name": {"x": "y"}, "address": {"city": "Kandy", "zip": "8"}})
        );
    }

    #[test]
    fn states_that_change_by_themselves_are_states() {
        for word in MOVING {
            assert!(crate::domain::message::Status::parse(word).is_some(), "{word}");
        }
    }
}
