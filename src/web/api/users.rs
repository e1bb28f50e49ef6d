//! `/users`: people, found by number or id, with their attributes, consent and topics.

use crate::store::Connection;
use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Map, Value, json};

use super::Answer;
use super::consent::{self, Wish};
use crate::clock::Millis;
use crate::domain::phone::Phone;
use crate::domain::segment::Definition;
use crate::domain::user::{check_attributes, merge_patch};
use crate::privacy;
use crate::store::segment_sql::{Predicate, compile};
use crate::store::topics::Topic;
use crate::store::users::{self, NewUser, User, UserKey};
use crate::store::{StoreError, Tx, segments, topics};
use crate::web::State;
use crate::web::auth::{Read, Scoped, Write};
use crate::web::body::{Body, Fields};
use crate::web::error::Problem;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::{Page, Paging, users as shapes};
use crate::web::page::{NoQuery, Query};
use crate::web::reply::{Reply, time, time_or_null};

/// Topics named when a person is added, at most.
const MAX_TOPICS: usize = 100;

/// A person as the contract shows them.
pub(super) fn shape(conn: &Connection, user: &User) -> Result<Value, StoreError> {
    let topics = users::topics(conn, user.id, user.consent)?;
    Ok(json!({
        "id": user.id,
        "phone": user.phone,
        "country": user.country,
        "consent": user.consent.as_str(),
        "reachable": user.is_reachable,
        "hold": user.hold,
        "attributes": user.attributes,
        "topics": topics,
        "created_at": time(user.created_at),
        "updated_at": time(user.updated_at),
        "last_inbound_at": time_or_null(user.last_inbound_at),
    }))
}

/// Whom a path names: a number, or an id.
pub(in crate::web) fn read_key(person: &str) -> Result<UserKey, Problem> {
    if let Some(phone) = Phone::from_e164(person) {
        return Ok(UserKey::Phone(phone.as_str().to_owned()));
    }
    // A number that was cut off is nobody's id.
    let is_id = person.bytes().all(|byte| byte.is_ascii_digit()) && !person.starts_with('0');
    match person.parse() {
        Ok(id) if is_id => Ok(UserKey::Id(id)),
        _ => Err(Problem::not_found("A person is named by a number such as +14155550101, or by their id.")),
    }
}

/// The person whom a path names. Erased people are nobody.
pub(in crate::web) fn find(conn: &Connection, person: &str) -> Result<User, Problem> {
    users::find(conn, &read_key(person)?)?
        .filter(|user| user.erased_at.is_none())
        .ok_or_else(|| Problem::not_found("There is no such person."))
}

/// The parameter `phone` of a list.
pub(super) fn read_phone(query: &mut Query) -> Option<Phone> {
    let text = query.text("phone")?;
    // In a query a plus stands for a blank, and many forget to write %2B.
    match Phone::parse(&format!("+{}", text.trim_start_matches([' ', '+'])), None) {
        Ok(phone) => Some(phone),
        Err(_) => {
            query.error("phone", "must be a number such as %2B14155550101");
            None
        }
    }
}

/// The id of the person with this number; 0, nobody's, for one that we don't know.
pub(in crate::web) fn id_of_phone(conn: &Connection, phone: &Phone) -> Result<i64, StoreError> {
    let key = UserKey::Phone(phone.as_str().to_owned());
    Ok(users::find(conn, &key)?.map_or(0, |user| user.id))
}

/// Lists people, newest first.
///
/// `attribute.<name>=` asks for people with this value.
#[utoipa::path(get, path = "/users", operation_id = "list_users",
    params(Paging, shapes::UserFilters), responses((status = 200, body = Page<shapes::User>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("users");
    let now = state.store.clock().now();
    let filters = Filters::read(&mut query);
    query.finish()?;
    let body = state
        .store
        .read(move |conn| {
            let predicate = filters.predicate(conn, now)?;
            let found = users::list(conn, &predicate, page.before, page.fetch())?;
            let shown: Vec<(i64, Value)> = found
                .iter()
                .map(|user| Ok((user.id, shape(conn, user)?)))
                .collect::<Result<_, StoreError>>()?;
            Ok::<_, Problem>(page.answer(shown, |(id, _)| *id, |(_, user)| user.clone()))
        })
        .await?;
    Ok(Reply::ok(body))
}

/// What `GET /users` asks for: conditions as a segment has them, each under its parameter's name.
struct Filters {
    conditions: Vec<(String, Value)>,
    segment_id: Option<i64>,
}

impl Filters {
    fn read(query: &mut Query) -> Filters {
        let mut conditions = Vec::new();
        for field in ["consent", "topic", "country"] {
            if let Some(value) = query.text(field) {
                conditions
                    .push((field.to_owned(), json!({"field": field, "operator": "equals", "value": value})));
            }
        }
        if let Some(part) = query.text("q").filter(|part| !part.trim().is_empty()) {
            conditions.push(("q".to_owned(), search(part.trim())));
        }
        for (name, value) in query.prefixed("attribute.") {
            let condition = json!({"attribute": name, "operator": "in", "value": readings(&value)});
            conditions.push((format!("attribute.{name}"), condition));
        }
        Filters { conditions, segment_id: query.integer("segment_id") }
    }

    fn predicate(&self, conn: &Connection, now: Millis) -> Result<Predicate, Problem> {
        let mut whole = Predicate { sql: "1".to_owned(), params: Vec::new() };
        let mut add = |definition: &Definition| {
            let part = compile(definition, now);
            whole.sql = format!("{} AND {}", whole.sql, part.sql);
            whole.params.extend(part.params);
        };
        for (name, condition) in &self.conditions {
            let definition = Definition::parse_at(name, condition).map_err(|errors| {
                let message = errors.first().map_or_else(String::new, |error| error.message.clone());
                Problem::field(name.clone(), message)
            })?;
            super::segments::check_names(conn, name, &definition)?;
            add(&definition);
        }
        if let Some(id) = self.segment_id {
            let segment = segments::find(conn, id)?
                .ok_or_else(|| Problem::field("segment_id", format!("there is no segment {id}")))?;
            add(&super::segments::parse("segment_id", &segment.definition)?);
        }
        Ok(whole)
    }
}

/// Part of a number, or of the attribute `name`.
fn search(part: &str) -> Value {
    let name = json!({"attribute": "name", "operator": "contains", "value": part});
    let digits: String = part.chars().filter(char::is_ascii_digit).collect();
    let is_number = !digits.is_empty() && part.chars().all(|c| c.is_ascii_digit() || "+-(). ".contains(c));
    if is_number {
        json!({"any": [{"field": "phone", "operator": "contains", "value": digits}, name]})
    } else {
        name
    }
}

/// A parameter is text; the attribute may be a number or a boolean that reads the same.
fn readings(value: &str) -> Vec<Value> {
    let mut readings = vec![json!(value)];
    if let Ok(other @ (Value::Number(_) | Value::Bool(_))) = serde_json::from_str::<Value>(value) {
        readings.push(other);
    }
    readings
}

/// Shows a person.
#[utoipa::path(get, path = "/users/{person}", operation_id = "get_user",
    responses((status = 200, body = shapes::User)))]
pub(super) async fn show(
    _: Scoped<Read>,
    state: Data<State>,
    person: Path<String>,
    request: HttpRequest,
) -> Answer {
    Query::of(&request)?.finish()?;
    let body = state.store.read(move |conn| Ok::<_, Problem>(shape(conn, &find(conn, &person)?)?)).await?;
    Ok(Reply::ok(body))
}

/// A person about to be added.
pub(in crate::web) struct NewPerson {
    phone: Phone,
    attributes: Map<String, Value>,
    consent: Option<Wish>,
    topics: Vec<String>,
}

pub(in crate::web) fn read_new(mut fields: Fields, now: Millis) -> Result<NewPerson, Problem> {
    let region = fields.text("default_region", 2);
    let text = fields.required_text("phone", 100);
    let phone = match Phone::parse(&text, region.as_deref()) {
        Ok(phone) => Some(phone),
        Err(error) => {
            if !fields.has_error("phone") {
                fields.error("phone", error.to_string());
            }
            None
        }
    };
    let attributes = fields.map("attributes").unwrap_or_default();
    if let Err(error) = check_attributes(&attributes) {
        fields.error_at(error.field, error.message);
    }
    let consent = consent::read_wish(&mut fields, now);
    let topics = fields.texts("topics", MAX_TOPICS);
    fields.finish()?;
    let phone = phone.ok_or_else(|| Problem::field("phone", "missing"))?;
    Ok(NewPerson { phone, attributes, consent, topics })
}

/// Adds a person.
#[utoipa::path(post, path = "/users", operation_id = "create_user", request_body = shapes::NewUser,
    responses((status = 201, body = shapes::User), (status = 409, description = "The number is known already.")))]
pub(super) async fn create(caller: Scoped<Write>, state: Data<State>, post: Post) -> Answer {
    let new = read_new(post.body.fields()?, state.store.clock().now())?;
    let actor = caller.actor();
    post.once.write(&state.store, move |tx| insert(tx, &new, &actor)).await
}

pub(in crate::web) fn insert(tx: &Tx<'_>, new: &NewPerson, actor: &str) -> Answer {
    let conn = tx.conn();
    if let Some(known) = users::find(conn, &UserKey::Phone(new.phone.as_str().to_owned()))? {
        return Err(Problem::conflict("There is a person with this number already.")
            .with_code("duplicate")
            .with("id", json!(known.id)));
    }
    let joined = known_topics(conn, &new.topics)?;
    let id = users::insert(
        tx,
        &NewUser {
            phone: Some(new.phone.as_str()),
            channel_address: None,
            country: new.phone.country(),
            attributes: &new.attributes,
            consent: new.consent.as_ref().map(|wish| wish.change(actor)),
            actor,
            import: None,
        },
    )?;
    for topic in &joined {
        topics::set(tx, id, topic, true, actor)?;
    }
    let user = users::find(conn, &UserKey::Id(id))?
        .ok_or_else(|| StoreError::Internal("a person just added is gone".to_owned()))?;
    Ok(Reply::created(format!("/api/v1/users/{id}"), shape(conn, &user)?))
}

fn known_topics(conn: &Connection, names: &[String]) -> Result<Vec<Topic>, Problem> {
    let mut found = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let topic = topics::find(conn, name)?.ok_or_else(|| {
            Problem::field(format!("topics[{index}]"), format!("there is no topic {name:?}"))
        })?;
        found.push(topic);
    }
    Ok(found)
}

/// What a PATCH wants. Outer `None`: left as it is.
struct Change {
    attributes: Option<Map<String, Value>>,
    consent: Option<Wish>,
    hold: Option<Option<String>>,
    becomes_reachable: bool,
}

fn read_change(mut fields: Fields, now: Millis) -> Result<Change, Problem> {
    let attributes = fields.map("attributes");
    let consent = consent::read_wish(&mut fields, now);
    let hold = match fields.take_or_null("hold") {
        None => None,
        Some(Value::Null) => Some(None),
        Some(Value::String(word)) if word == "review" => Some(Some(word)),
        Some(_) => {
            fields.error("hold", "must be null or \"review\"");
            None
        }
    };
    let becomes_reachable = match fields.boolean("reachable") {
        Some(false) => {
            fields.error("reachable", "can only be set to true: a dead number is found out by sending");
            false
        }
        other => other.is_some(),
    };
    fields.finish()?;
    Ok(Change { attributes, consent, hold, becomes_reachable })
}

/// Changes a person.
///
/// Attributes are merged (RFC 7396). Nothing here leads out of `stop`.
#[utoipa::path(patch, path = "/users/{person}", operation_id = "update_user", request_body = shapes::UserPatch,
    responses((status = 200, body = shapes::User), (status = 409, description = "The person said STOP.")))]
pub(super) async fn update(
    caller: Scoped<Write>,
    state: Data<State>,
    person: Path<String>,
    body: Body,
) -> Answer {
    let change = read_change(body.fields()?, state.store.clock().now())?;
    let actor = caller.actor();
    state
        .store
        .write(move |tx| {
            let user = find(tx.conn(), &person)?;
            apply(tx, &user, &change, &actor)?;
            Ok(Reply::ok(shape(tx.conn(), &find(tx.conn(), &person)?)?))
        })
        .await
}

fn apply(tx: &Tx<'_>, user: &User, change: &Change, actor: &str) -> Result<(), Problem> {
    if let Some(patch) = &change.attributes {
        let mut merged = user.attributes.clone();
        if merge_patch(&mut merged, patch) {
            check_attributes(&merged).map_err(|error| Problem::field(error.field, error.message))?;
            users::set_attributes(tx, user.id, &merged, actor)?;
        }
    }
    if let Some(wish) = &change.consent {
        consent::change(tx, user, wish, actor)?;
    }
    if let Some(hold) = &change.hold {
        users::set_hold(tx, user.id, hold.as_deref(), actor)?;
    }
    if change.becomes_reachable {
        users::set_reachable(tx, user.id, None, actor)?;
    }
    Ok(())
}

/// Erases what is known of a person.
///
/// Whatever waits for them is taken back first. A keyed hash of the number stays and suppresses.
#[utoipa::path(delete, path = "/users/{person}", operation_id = "erase_user", responses((status = 204)))]
pub(super) async fn erase(
    caller: Scoped<Write>,
    state: Data<State>,
    person: Path<String>,
    _: NoQuery,
) -> Answer {
    let user = state.store.read(move |conn| find(conn, &person)).await?;
    // Somebody else may have erased them in between: then it is done all the same.
    privacy::erase(&state.store, user.id, &caller.actor()).await?;
    Ok(Reply::no_content())
}
