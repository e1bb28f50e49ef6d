//! One action on everybody who fits a filter: how many they are and who, asked before it begins; then how far it
//! came. And the same people as a CSV file.

use actix_web::http::header;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use minijinja::{Value, context};
use serde_json::{Value as Json, json};

use super::super::failure::Failure;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::super::{Answer, words};
use super::list::{Asked, chips_of};
use crate::domain::bulk::BulkAction;
use crate::domain::consent::Consent;
use crate::domain::people::PeopleFilter;
use crate::people::Sheet;
use crate::store::bulk::{self, BulkRow, NewBulk};
use crate::store::reports::people::{self, Budget, Counted, Order, PersonRow, Wanted, WantedError};
use crate::store::reports::timeline::actor_name;
use crate::store::{StoreError, topics};
use crate::web::State;
use crate::web::error::{FieldError, Problem};
use crate::web::reply::Reply;

/// People whom the confirmation shows.
const SAMPLE: usize = 10;
/// From so many people on the number has to be typed.
const TYPED: i64 = 1_000;
/// Longest reason, in characters.
const MAX_REASON: usize = 500;
/// Counting for a confirmation goes no further.
const MOST: i64 = super::list::MOST;

/// What can be done, as the form has it.
const ACTIONS: [(&str, &str); 6] = [
    ("consent", "Change their consent"),
    ("join", "Add them to a topic"),
    ("leave", "Take them out of a topic"),
    ("set", "Set an attribute"),
    ("remove", "Remove an attribute"),
    ("suppress", "Suppress their numbers"),
];

/// A filter that leads nowhere, as a problem of the page.
pub(super) fn problem_of(error: WantedError) -> Failure {
    match error {
        WantedError::Missing(_, message) => Failure::not_found(message),
        WantedError::Store(error) => error.into(),
    }
}

struct Seen {
    counted: Counted,
    sample: Vec<PersonRow>,
    topics: Vec<String>,
    recent: Vec<(BulkRow, Option<String>)>,
}

/// `GET /admin/users/bulk`: whom, how many, and what.
pub(in super::super) async fn ask(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let asked = Asked::read(&request)?;
    if let Some(fault) = asked.fault() {
        return Err(Failure::not_found(fault));
    }
    ask_page(&page, &state, asked.filter, Filled::default()).await
}

async fn ask_page(page: &Page, state: &State, filter: PeopleFilter, filled: Filled) -> Answer {
    let now = page.now();
    let looking = filter.clone();
    let seen = state
        .store
        .read(move |conn| {
            let wanted = Wanted::of(conn, &looking, now)?;
            let found = people::walk(conn, &wanted, (Order::Newest, i64::MAX), SAMPLE, Budget::PAGE)?;
            let ids: Vec<i64> = found.people.iter().map(|(_, id)| *id).collect();
            let mut recent = Vec::new();
            for row in bulk::newest(conn, 5)? {
                let name = actor_name(conn, &row.actor)?;
                recent.push((row, name));
            }
            Ok::<_, WantedError>(Seen {
                counted: people::count(conn, &wanted, (0, i64::MAX), MOST, Budget::PAGE)?,
                sample: people::rows(conn, &ids)?,
                topics: topics::list(conn)?.into_iter().map(|topic| topic.name).collect(),
                recent,
            })
        })
        .await
        .map_err(problem_of)?;
    let sample: Vec<Value> = seen.sample.iter().map(|row| super::person_value(&row.user)).collect();
    let counted = seen.counted;
    let is_sure = counted.reached.is_none();
    let states: Vec<Value> = [Consent::OptOut, Consent::OptIn, Consent::Unknown]
        .iter()
        .map(|state| context! { value => state.as_str(), label => words::word("consent", state.as_str()) })
        .collect();
    page.show_as(
        filled.status(),
        "users/bulk.html",
        context! {
            title => "Act on many people",
            section => "users",
            form => filled.value(),
            pairs => filter.pairs(),
            chips => chips_of(&filter, None).into_iter().map(|(_, said)| said).collect::<Vec<_>>(),
            is_everybody => filter.is_everybody(),
            is_search => filter.q.is_some(),
            n => counted.n.min(MOST),
            is_more => !is_sure,
            must_type => !is_sure || counted.n >= TYPED,
            sample,
            states,
            topics => seen.topics,
            actions => ACTIONS.iter().map(|(value, label)| context! { value => *value, label => *label }).collect::<Vec<_>>(),
            back => list_address(&filter),
            recent => seen.recent.iter().map(|(row, name)| row_value(row, name.as_deref())).collect::<Vec<_>>(),
        },
    )
}

fn list_address(filter: &PeopleFilter) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(filter.pairs()).finish();
    if query.is_empty() { "/admin/users".to_owned() } else { format!("/admin/users?{query}") }
}

/// The filter of a form: its pairs stand in it as `filter.<name>`.
fn filter_of(form: &Form) -> Result<PeopleFilter, Problem> {
    let pairs: Vec<(String, String)> = form
        .pairs()
        .filter_map(|(name, value)| Some((name.strip_prefix("filter.")?.to_owned(), value.to_owned())))
        .collect();
    PeopleFilter::read(&pairs).map_err(|errors| {
        let named = |error: crate::domain::people::FilterError| FieldError {
            field: error.field,
            message: error.message,
        };
        Problem::fields(errors.into_iter().map(named).collect())
    })
}

fn action_of(form: &Form) -> Result<BulkAction, FieldError> {
    let fault =
        |field: &str, message: &str| FieldError { field: field.to_owned(), message: message.to_owned() };
    let text = |name: &str, missing: &str| form.text(name).ok_or_else(|| fault(name, missing));
    let action = match form.text("action").unwrap_or_default().as_str() {
        "consent" => {
            let state = text("state", "choose a state")?;
            BulkAction::Consent(state.parse().map_err(|_| fault("state", "choose a state"))?)
        }
        "join" => BulkAction::Join(text("topic", "choose a topic")?),
        "leave" => BulkAction::Leave(text("topic", "choose a topic")?),
        "set" => BulkAction::Set(
            text("attribute", "name the attribute")?,
            value_of(&text("value", "give its value")?),
        ),
        "remove" => BulkAction::Remove(text("attribute", "name the attribute")?),
        "suppress" => BulkAction::Suppress,
        _ => return Err(fault("action", "choose what to do")),
    };
    action.check().map_err(|(field, message)| fault(field, &message))?;
    Ok(action)
}

/// Numbers and yes are kept as what they are.
fn value_of(text: &str) -> Json {
    match text {
        "yes" => json!(true),
        "no" => json!(false),
        _ => match serde_json::from_str::<Json>(text) {
            Ok(number @ (Json::Number(_) | Json::Bool(_))) if !text.starts_with('0') || text == "0" => number,
            _ => json!(text),
        },
    }
}

/// What the form asks for, every fault named.
fn read(form: &Form, filter: &PeopleFilter, counted: Counted) -> Result<(BulkAction, String), Problem> {
    let mut faults = Vec::new();
    let mut fault =
        |field: &str, message: String| faults.push(FieldError { field: field.to_owned(), message });
    if filter.q.is_some() {
        fault("action", "clear the search first: an action goes by filters".to_owned());
    }
    let reason = form.text("reason").unwrap_or_default();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        fault("reason", format!("say why, in at most {MAX_REASON} characters: it stays in the record"));
    }
    let is_many = counted.reached.is_some() || counted.n >= TYPED;
    let word = if counted.reached.is_some() { "all".to_owned() } else { counted.n.to_string() };
    let typed = form.text("typed").unwrap_or_default().replace([',', ' '], "").to_lowercase();
    if is_many && typed != word {
        fault("typed", format!("type {word}: that many people change"));
    }
    match action_of(form) {
        Ok(action) if faults.is_empty() => Ok((action, reason)),
        Ok(_) => Err(Problem::fields(faults)),
        Err(error) => {
            faults.insert(0, error);
            Err(Problem::fields(faults))
        }
    }
}

/// `POST /admin/users/bulk`.
pub(in super::super) async fn start(page: Page, state: Data<State>, form: Form) -> Answer {
    let filter = filter_of(&form)?;
    let (looking, now) = (filter.clone(), page.now());
    let counted = state
        .store
        .read(move |conn| {
            let wanted = Wanted::of(conn, &looking, now)?;
            Ok::<_, WantedError>(people::count(conn, &wanted, (0, i64::MAX), MOST, Budget::PAGE)?)
        })
        .await
        .map_err(problem_of)?;
    let (action, reason) = match read(&form, &filter, counted) {
        Ok(wanted) => wanted,
        Err(problem) => return ask_page(&page, &state, filter, Filled::refused(&form, problem)?).await,
    };
    let (actor, pairs) = (page.actor(), filter.pairs());
    let reply = form
        .once
        .write(&state.store, move |tx| {
            let new = NewBulk { filter: &pairs, action: &action.to_json(), reason: &reason, actor: &actor };
            let id = bulk::insert(tx, &new)?;
            Ok(Reply::created(format!("/admin/users/bulk/{id}"), Json::Null))
        })
        .await?;
    page.go(&reply, "")
}

fn action_words(action: &Json) -> String {
    match BulkAction::from_json(action) {
        Some(BulkAction::Consent(state)) => {
            format!("Consent to {}", words::word("consent", state.as_str()).to_lowercase())
        }
        Some(BulkAction::Join(topic)) => format!("Add to topic {topic}"),
        Some(BulkAction::Leave(topic)) => format!("Take out of topic {topic}"),
        Some(BulkAction::Set(name, value)) => format!("Set {name} to {}", super::person::plain(&value)),
        Some(BulkAction::Remove(name)) => format!("Remove {name}"),
        Some(BulkAction::Suppress) => "Suppress".to_owned(),
        None => "Unknown".to_owned(),
    }
}

fn refused_words(reason: &str) -> &'static str {
    match reason {
        "stop" => "said STOP: only they lead out of it",
        "left_topic" => "left this topic themselves and stay out",
        "too_much" => "have as many attributes as can be kept",
        _ => "were left as they are",
    }
}

fn row_value(row: &BulkRow, name: Option<&str>) -> Value {
    let filter = PeopleFilter::read(&row.filter).unwrap_or_default();
    let refused: Vec<Value> = row
        .tally
        .refused
        .iter()
        .map(|(reason, n)| context! { n => *n, said => refused_words(reason) })
        .collect();
    context! {
        id => row.id,
        state => row.state.clone(),
        action => action_words(&row.action),
        chips => chips_of(&filter, None).into_iter().map(|(_, said)| said).collect::<Vec<_>>(),
        back => list_address(&filter),
        reason => row.reason.clone(),
        who => name.unwrap_or(&row.actor).to_owned(),
        changed => row.tally.changed,
        unchanged => row.tally.unchanged,
        refused,
        error => row.error.clone(),
        created_at => row.created_at,
        finished_at => row.finished_at,
    }
}

/// `GET /admin/users/bulk/{id}`: how far it came. While it runs, the part asks again by itself.
pub(in super::super) async fn show(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let id = *id;
    let (row, name) = state
        .store
        .read(move |conn| {
            let row = bulk::find(conn, id)?
                .ok_or_else(|| Failure::not_found(format!("There is no action {id}.")))?;
            let name = actor_name(conn, &row.actor)?;
            Ok::<_, Failure>((row, name))
        })
        .await?;
    let values = context! {
        title => action_words(&row.action),
        section => "users",
        bulk => row_value(&row, name.as_deref()),
    };
    if page.is_htmx {
        page.part("users/_bulk.html", values)
    } else {
        page.show("users/bulk_done.html", values)
    }
}

/// `POST /admin/users/bulk/{id}/cancel`.
pub(in super::super) async fn cancel(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let reply = form
        .once
        .write(&state.store, move |tx| {
            bulk::end(tx, id, "cancelled", None)?;
            Ok::<_, Problem>(Reply::created(format!("/admin/users/bulk/{id}"), Json::Null))
        })
        .await?;
    page.go(&reply, "Stopped. Who was changed already stays so.")
}

/// `GET /admin/users/export`: everybody who fits, as CSV.
pub(in super::super) async fn sheet(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let asked = Asked::read(&request)?;
    if let Some(fault) = asked.fault() {
        return Err(Failure::not_found(fault));
    }
    let (looking, now) = (asked.filter.clone(), page.now());
    // What is not there is said before the first byte.
    state.store.read(move |conn| Wanted::of(conn, &looking, now).map(drop)).await.map_err(problem_of)?;
    let sheet = Sheet::new(state.store.clone(), asked.filter);
    let lines = stream::unfold(Some(sheet), |sheet| async move {
        let mut sheet = sheet?;
        match sheet.next().await {
            Ok(Some(lines)) => Some((Ok(Bytes::from(lines)), Some(sheet))),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(error = %error, "a sheet of people broke off");
                Some((Err(StoreError::Internal(error.to_string())), None))
            }
        }
    });
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"people.csv\""))
        .streaming(lines))
}
