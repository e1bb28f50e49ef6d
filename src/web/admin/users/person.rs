//! One person: what happened with them, who they are, and whether we may write.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use jiff::Timestamp;
use minijinja::{Value, context};
use serde_json::{Value as Json, json};

use super::super::page::Page;
use super::super::{Answer, words};
use super::told::told;
use super::{find, person_value};
use crate::domain::phone::Phone;
use crate::domain::timezone::{candidates, zone_by_name};
use crate::store::reports::timeline::{self, Entry, Place, Show};
use crate::store::topics::Topic;
use crate::store::users::{self, User};
use crate::store::{Connection, StoreError, campaigns, ledger, topics};
use crate::web::State;
use crate::web::page::{Query, encode};

const LIST: &str = "timeline";
/// Entries of a page.
const ENTRIES: usize = 25;
/// Campaigns that the choice of "why" offers.
const CAMPAIGNS: usize = 20;
/// Zones of a number that are named before "and others".
const ZONES: usize = 1;

/// The ways to look at a timeline, as an address has them.
const WAYS: [(Show, &str, &str); 4] = [
    (Show::All, "all", "All"),
    (Show::Messages, "messages", "Messages"),
    (Show::Consent, "consent", "Consent"),
    (Show::Changes, "changes", "Changes"),
];

/// An attribute on one line.
pub(super) fn plain(value: &Json) -> String {
    match value {
        Json::Null => "–".to_owned(),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Everything that the page is made of.
struct Seen {
    user: User,
    topics: Vec<(Topic, Option<bool>, bool)>,
    entries: Vec<(Entry, Option<String>)>,
    next: Option<Place>,
    campaigns: Vec<(i64, String, String)>,
    proof: Proofs,
}

/// What the ledger says in short.
struct Proofs {
    agreed: Option<ledger::LedgerRow>,
    stopped: Option<ledger::LedgerRow>,
    rows: usize,
}

fn look(
    conn: &Connection,
    id: i64,
    (show, place): (Show, Place),
) -> Result<Seen, super::super::failure::Failure> {
    let user = find(conn, id)?;
    let effective = users::topics(conn, user.id, user.consent)?;
    let mut known = Vec::new();
    for topic in topics::list(conn)? {
        let own = crate::store::imports::membership(conn, user.id, topic.id)?;
        let is_in = effective.contains(&topic.name);
        known.push((topic, own, is_in));
    }
    let (entries, next) = entries(conn, id, (show, place))?;
    let campaigns = campaigns::list(conn, None, i64::MAX, CAMPAIGNS)?;
    let campaigns = campaigns
        .into_iter()
        .map(|campaign| (campaign.id, campaign.plan.name.clone(), campaign.status.as_str().to_owned()))
        .collect();
    let history = ledger::list(conn, user.id, i64::MAX, 200)?;
    let proof = Proofs {
        rows: history.len(),
        agreed: history.iter().find(|row| row.state == "opt_in").cloned(),
        stopped: history.iter().find(|row| row.state == "stop").cloned(),
    };
    Ok(Seen { user, topics: known, entries, next, campaigns, proof })
}

type Entries = (Vec<(Entry, Option<String>)>, Option<Place>);

/// A page of the timeline, each entry with the name of who did it.
fn entries(conn: &Connection, id: i64, (show, place): (Show, Place)) -> Result<Entries, StoreError> {
    let (entries, next) = timeline::page_of(conn, (id, show), place, ENTRIES)?;
    let mut named = Vec::with_capacity(entries.len());
    for entry in entries {
        let actor = match &entry {
            Entry::Consent(row) => Some(row.actor.clone()),
            Entry::Event(event) => event.data.get("actor").and_then(Json::as_str).map(str::to_owned),
            _ => None,
        };
        let name = match &actor {
            Some(actor) => timeline::actor_name(conn, actor)?,
            None => None,
        };
        named.push((entry, name));
    }
    Ok((named, next))
}

/// What the address asks for: a way to look, and a place to go on from.
fn read(request: &HttpRequest) -> Result<(Show, &'static str, Place), crate::web::error::Problem> {
    let mut query = Query::of(request)?;
    let word = query.text("show");
    let (show, word, _) = WAYS.iter().find(|(_, name, _)| Some(*name) == word.as_deref()).unwrap_or(&WAYS[0]);
    let place = match query.cursor(LIST) {
        None => Place::START,
        Some(cursor) => {
            let ids: Vec<i64> = cursor.iter().filter_map(Json::as_i64).collect();
            match *ids.as_slice() {
                [message, inbound, consent, event] => Place { message, inbound, consent, event },
                _ => Place::START,
            }
        }
    };
    query.finish()?;
    Ok((*show, word, place))
}

/// `GET /admin/users/{id}`.
pub(in super::super) async fn show(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Answer {
    let (show, way, place) = read(&request)?;
    let id = *id;
    if page.is_htmx {
        let (entries, next) = state
            .store
            .read(move |conn| {
                find(conn, id)?;
                Ok::<_, super::super::failure::Failure>(entries(conn, id, (show, place))?)
            })
            .await?;
        let name = if place == Place::START { "users/_timeline.html" } else { "users/_entries.html" };
        return page.part(name, timeline_value(&page, id, way, (&entries, next)));
    }
    let seen = state.store.read(move |conn| look(conn, id, (show, place))).await?;
    let person = person_value(&seen.user);
    let clock = clock_of(&seen.user, page.now());
    let topics: Vec<Value> = seen
        .topics
        .iter()
        .map(|(topic, own, is_in)| {
            let why = match own {
                Some(true) => "joined",
                Some(false) => "left",
                None if *is_in => "everybody who opted in",
                None => "not joined",
            };
            context! { name => topic.name.clone(), is_in => *is_in, why }
        })
        .collect();
    let attributes: Vec<(String, String)> =
        seen.user.attributes.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
    let proof = &seen.proof;
    let campaigns: Vec<Value> = seen
        .campaigns
        .iter()
        .map(|(id, name, status)| context! { id => *id, name, status => words::word("campaign", status) })
        .collect();
    page.show(
        "users/person.html",
        context! {
            title => name_or_number(&page, &seen.user),
            section => "users",
            person,
            clock,
            topics,
            attributes,
            campaigns,
            proof => context! {
                agreed => proof.agreed.as_ref().map(ledger_value),
                stopped => proof.stopped.as_ref().map(ledger_value),
                rows => proof.rows,
            },
            timeline => timeline_value(&page, id, way, (&seen.entries, seen.next)),
        },
    )
}

fn ledger_value(row: &ledger::LedgerRow) -> Value {
    context! {
        at => row.obtained_at.unwrap_or(row.at),
        source => row.source.clone(),
        evidence => row.evidence.clone(),
    }
}

/// What to call a person in a heading.
pub(super) fn name_or_number(page: &Page, user: &User) -> String {
    crate::domain::user::display_name(&user.attributes).unwrap_or_else(|| {
        let address = user.phone.as_deref().or(user.channel_address.as_deref()).unwrap_or_default();
        super::super::format::phone(address, page.is_masked())
    })
}

/// The time at the person's, and where that is: `10:12` in `Los Angeles`, or in one of several zones.
fn clock_of(user: &User, now: i64) -> Option<Value> {
    let own = user.attributes.get("timezone").and_then(Json::as_str).and_then(zone_by_name);
    let phone = user.phone.as_deref().and_then(Phone::from_e164);
    let (zone, others) = match (own, phone) {
        (Some(zone), _) => (zone, 0),
        (None, Some(phone)) => {
            let zones = candidates(&phone);
            (zones.first()?.tz.clone(), zones.len().saturating_sub(ZONES))
        }
        (None, None) => return None,
    };
    let place = zone.iana_name()?.rsplit('/').next()?.replace('_', " ");
    let at = Timestamp::from_millisecond(now).ok()?.to_zoned(zone).strftime("%H:%M").to_string();
    Some(context! { place, at, others })
}

fn timeline_value(
    page: &Page,
    id: i64,
    way: &str,
    (entries, next): (&[(Entry, Option<String>)], Option<Place>),
) -> Value {
    let next = next.map(|place| {
        let place = [json!(place.message), json!(place.inbound), json!(place.consent), json!(place.event)];
        format!("/admin/users/{id}?show={way}&cursor={}", encode(LIST, &place))
    });
    let ways: Vec<Value> = WAYS
        .iter()
        .map(|(_, word, label)| {
            context! { label => *label, is_current => *word == way, href => format!("/admin/users/{id}?show={word}") }
        })
        .collect();
    let mut days: Vec<Value> = Vec::new();
    let mut last_day = String::new();
    for (entry, actor) in entries {
        let at = entry.at();
        let day = Timestamp::from_millisecond(at)
            .map(|at| at.to_zoned(page.zone.clone()).date().to_string())
            .unwrap_or_default();
        let mut value = told(entry, actor.as_deref());
        if day != last_day {
            value = context! { begins_day => true, ..value };
            last_day = day;
        }
        days.push(value);
    }
    context! { id, entries => days, next, ways }
}
