//! The list of people: search as one types, filters as chips, and how many there are.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use form_urlencoded::Serializer;
use minijinja::{Value, context};

use super::super::page::Page;
use super::super::{Answer, words};
use crate::domain::consent::Consent;
use crate::domain::people::{Heard, Mark, PeopleFilter};
use crate::domain::user::display_name;
use crate::store::reports::people::{self, Budget, Counted, Order, PersonRow, Wanted, WantedError};
use crate::store::{Connection, StoreError, search, segments, topics};
use crate::web::State;
use crate::web::page::Query;

/// Rows of a page.
const ROWS: usize = 50;
/// Further than this nobody counts.
pub(super) const MOST: i64 = 10_000;
/// Letters of a reply that a row shows.
const WORDS: usize = 80;

/// What an address asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) filter: PeopleFilter,
    pub(super) order: Order,
    /// The attribute in the free column.
    column: Option<String>,
    place: Option<i64>,
    /// Rows that the page has already, when a walk goes on.
    have: usize,
    /// Counted so far.
    counted: i64,
    /// What can't be read, as a sentence.
    fault: Option<String>,
    /// Blank fields of the form stand in the address: it is better without them.
    has_blanks: bool,
}

impl Asked {
    pub(super) fn read(request: &HttpRequest) -> Result<Asked, crate::web::error::Problem> {
        let mut query = Query::of(request)?;
        let mut asked = Asked::default();
        let mut number = |name: &str| query.text(name).and_then(|text| text.parse::<i64>().ok());
        asked.place = number("from").filter(|place| *place > 0);
        asked.have = number("have").and_then(|n| usize::try_from(n).ok()).unwrap_or(0).min(ROWS - 1);
        asked.counted = number("counted").unwrap_or(0).clamp(0, MOST);
        let sort = query.text("sort");
        asked.order = if sort.as_deref() == Some("reply") { Order::LastReply } else { Order::Newest };
        let column = query.text("column");
        asked.column = column.clone().filter(|name| !name.trim().is_empty() && name != "city");
        let (attribute, value) = (query.text("attribute"), query.text("value"));
        let mut pairs = query.prefixed("");
        asked.has_blanks = attribute.is_some()
            || value.is_some()
            || [sort, column].into_iter().flatten().any(|text| text.is_empty() || text == "newest")
            || pairs.iter().any(|(name, value)| value.trim().is_empty() && !name.starts_with("attribute."));
        if let Some(name) = attribute.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()) {
            let pair = (format!("attribute.{name}"), value.unwrap_or_default());
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        match PeopleFilter::read(&pairs) {
            Ok(filter) => asked.filter = filter,
            Err(errors) => {
                let words: Vec<String> =
                    errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
                asked.fault = Some(format!("This filter can't be used. {}.", words.join("; ")));
            }
        }
        Ok(asked)
    }

    /// What can't be read of the address, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.clone()
    }

    /// The pairs that say the same, without a place.
    fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = self.filter.pairs();
        if self.order == Order::LastReply {
            pairs.push(("sort".to_owned(), "reply".to_owned()));
        }
        if let Some(column) = &self.column {
            pairs.push(("column".to_owned(), column.clone()));
        }
        pairs
    }

    fn href(&self, more: &[(&str, String)]) -> String {
        address("/admin/users", self.pairs(), more)
    }

    /// The list without one of its filters.
    fn without(&self, name: &str) -> String {
        let rest = self.pairs().into_iter().filter(|(given, _)| given != name);
        address("/admin/users", rest.collect(), &[])
    }
}

fn address(path: &str, pairs: Vec<(String, String)>, more: &[(&str, String)]) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(pairs).extend_pairs(more);
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// What one read finds.
struct Seen {
    rows: Vec<PersonRow>,
    next: Option<i64>,
    /// The page is not full: the walk goes on from here.
    further: Option<i64>,
    counted: Counted,
    is_cut: bool,
    backlog: i64,
    highest: i64,
    choices: Option<Choices>,
}

/// What the filters offer.
struct Choices {
    topics: Vec<String>,
    segments: Vec<(i64, String)>,
}

pub(super) fn choices_of_topics(conn: &Connection) -> Result<Vec<String>, StoreError> {
    Ok(topics::list(conn)?.into_iter().map(|topic| topic.name).collect())
}

fn look(conn: &Connection, asked: &Asked, now: i64, with_choices: bool) -> Result<Seen, WantedError> {
    let wanted = Wanted::of(conn, &asked.filter, now)?;
    let place = asked.place.unwrap_or(i64::MAX);
    let room = ROWS - asked.have;
    let mut found = people::walk(conn, &wanted, (asked.order, place), room + 1, Budget::PAGE)?;
    let has_next = found.people.len() > room;
    found.people.truncate(room);
    let last = found.people.last().map(|(place, _)| *place);
    let ids: Vec<i64> = found.people.iter().map(|(_, id)| *id).collect();
    let counted = if asked.place.is_none() {
        people::count(conn, &wanted, (0, i64::MAX), MOST, Budget::PAGE)?
    } else {
        Counted { n: 0, reached: None }
    };
    let choices = if with_choices {
        let segments = segments::list(conn, i64::MAX, 200)?;
        Some(Choices {
            topics: choices_of_topics(conn)?,
            segments: segments.into_iter().map(|segment| (segment.id, segment.name)).collect(),
        })
    } else {
        None
    };
    Ok(Seen {
        rows: people::rows(conn, &ids)?,
        next: last.filter(|_| has_next),
        further: found.reached.filter(|_| !has_next),
        counted,
        is_cut: wanted.is_cut,
        backlog: search::backlog(conn)?,
        highest: people::highest(conn)?,
        choices,
    })
}

/// `GET /admin/users`.
pub(in super::super) async fn list(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let asked = Asked::read(&request)?;
    if asked.has_blanks && asked.fault.is_none() && !page.is_htmx {
        return page.go_to(&asked.href(&[]), "");
    }
    let now = page.now();
    let (looking, with_choices) = (asked.clone(), !page.is_htmx);
    let seen = match &asked.fault {
        Some(fault) => Err(fault.clone()),
        None => match state.store.read(move |conn| look(conn, &looking, now, with_choices)).await {
            Ok(seen) => Ok(seen),
            Err(WantedError::Missing(_, fault)) => Err(fault),
            Err(WantedError::Store(error)) => return Err(error.into()),
        },
    };
    let status = if seen.is_ok() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let values = values(&asked, seen);
    if !page.is_htmx {
        return page.show_as(status, "users/list.html", values);
    }
    if asked.place.is_some() {
        return page.part("users/_rows.html", values);
    }
    let mut answer = page.part("users/_found.html", values)?;
    let here = actix_web::http::header::HeaderValue::from_str(&asked.href(&[]));
    if let Ok(here) = here {
        answer.headers_mut().insert(actix_web::http::header::HeaderName::from_static("hx-push-url"), here);
    }
    Ok(answer)
}

fn values(asked: &Asked, seen: Result<Seen, String>) -> Value {
    let (seen, fault) = match seen {
        Ok(seen) => (Some(seen), None),
        Err(fault) => (None, Some(fault)),
    };
    let column = asked.column.clone().unwrap_or_else(|| "city".to_owned());
    let rows: Vec<Value> =
        seen.iter().flat_map(|seen| &seen.rows).map(|row| row_value(row, &column)).collect();
    let have = asked.have + rows.len();
    let further = seen.as_ref().and_then(|seen| seen.further).map(|place| {
        context! {
            href => asked.href(&[("from", place.to_string()), ("have", have.min(ROWS - 1).to_string())]),
            looked => seen.as_ref().map(|seen| looked(asked, seen.highest, place)),
        }
    });
    let next =
        seen.as_ref().and_then(|seen| seen.next).map(|place| asked.href(&[("from", place.to_string())]));
    let filter = &asked.filter;
    context! {
        title => "People",
        section => "users",
        fault,
        rows,
        have,
        next,
        further,
        is_first => asked.place.is_none(),
        count => seen.as_ref().map(|seen| count_value(asked, seen.counted)),
        is_cut => seen.as_ref().is_some_and(|seen| seen.is_cut),
        backlog => seen.as_ref().map_or(0, |seen| seen.backlog),
        is_empty => seen.as_ref().is_some_and(|seen| seen.highest == 0),
        is_filtered => !filter.is_everybody(),
        chips => chips(asked, seen.as_ref().and_then(|seen| seen.choices.as_ref())),
        column,
        q => filter.q.clone(),
        sort => if asked.order == Order::LastReply { "reply" } else { "newest" },
        by_newest => Asked { order: Order::Newest, ..asked.clone() }.href(&[]),
        by_reply => Asked { order: Order::LastReply, ..asked.clone() }.href(&[]),
        kept => asked.pairs().into_iter().filter(|(name, _)| name.starts_with("attribute.")).collect::<Vec<_>>(),
        chosen => context! {
            consent => filter.consent.map(Consent::as_str),
            topic => filter.topic.clone(),
            country => filter.country.clone(),
            mark => filter.mark.map(Mark::as_str),
            heard => filter.pairs().into_iter().find(|(name, _)| name == "heard").map(|(_, value)| value),
            segment => filter.segment_id,
        },
        offers => seen.as_ref().and_then(|seen| seen.choices.as_ref()).map(offers),
        bulk => address("/admin/users/bulk", filter.pairs(), &[]),
        sheet => address("/admin/users/export", filter.pairs(), &[]),
    }
}

/// How far a walk came, in people: ids are given one after the other.
fn looked(asked: &Asked, highest: i64, place: i64) -> Option<i64> {
    (asked.order == Order::Newest && place <= highest).then(|| highest - place + 1)
}

fn count_value(asked: &Asked, counted: Counted) -> Value {
    let is_more = counted.n > MOST;
    let further = counted.reached.filter(|_| !is_more).map(|place| {
        let more = [("counted", counted.n.to_string()), ("from", place.to_string())];
        address("/admin/users/count", asked.filter.pairs(), &more)
    });
    context! { n => counted.n.min(MOST), is_more, further }
}

fn row_value(row: &PersonRow, column: &str) -> Value {
    let reply = row.last_reply.as_ref().map(|(words, at)| {
        let words = words.as_deref().map(|words| {
            let short: String = words.chars().take(WORDS).collect();
            if short.len() < words.len() { format!("{short}…") } else { short }
        });
        context! { words, at => *at }
    });
    let message = row.last_message.as_ref().map(|message| {
        context! {
            status => message.status.clone(),
            reason => message.reason.as_deref().and_then(words::reason),
            channel => message.channel.clone(),
            at => message.at,
        }
    });
    let user = &row.user;
    context! {
        id => user.id,
        name => display_name(&user.attributes),
        phone => user.phone.clone().or_else(|| user.channel_address.clone()),
        consent => user.consent.as_str(),
        is_on_review => user.hold.is_some(),
        is_reachable => user.is_reachable,
        is_suppressed => user.is_suppressed,
        topics => row.topics.join(", "),
        cell => user.attributes.get(column).map(super::person::plain),
        reply,
        message,
    }
}

fn offers(choices: &Choices) -> Value {
    let pair = |value: &str, label: &str| context! { value, label };
    let consents: Vec<Value> = Consent::ALL
        .iter()
        .map(|state| pair(state.as_str(), words::word("consent", state.as_str())))
        .collect();
    let marks: Vec<Value> = Mark::ALL.iter().map(|(_, value, label)| pair(value, label)).collect();
    let heard: Vec<Value> = Heard::ALL.iter().map(|(_, value, label)| pair(value, label)).collect();
    let topics: Vec<Value> = choices.topics.iter().map(|name| pair(name, name)).collect();
    let segments: Vec<Value> =
        choices.segments.iter().map(|(id, name)| pair(&id.to_string(), name)).collect();
    context! { consents, marks, heard, topics, segments }
}

/// Filters in words, each with the way to be rid of it.
pub(super) fn chips_of(filter: &PeopleFilter, segment: Option<&str>) -> Vec<(String, String)> {
    filter
        .pairs()
        .into_iter()
        .map(|(name, value)| {
            let said = match name.as_str() {
                "q" => format!("“{value}”"),
                "consent" => words::word("consent", &value).to_owned(),
                "topic" => format!("In topic {value}"),
                "country" => format!("Country {value}"),
                "mark" => {
                    Mark::ALL.iter().find(|(_, w, _)| *w == value).map_or(value.clone(), |f| f.2.to_owned())
                }
                "heard" => {
                    let said =
                        Heard::ALL.iter().find(|(_, word, _)| *word == value).map_or("", |found| found.2);
                    format!("Wrote {said}")
                }
                "segment" => match segment {
                    Some(segment) => format!("Segment {segment}"),
                    None => format!("Segment {value}"),
                },
                _ if value.is_empty() => format!("Has {}", name.trim_start_matches("attribute.")),
                _ => format!("{} is {value}", name.trim_start_matches("attribute.")),
            };
            (name, said)
        })
        .collect()
}

fn chips(asked: &Asked, choices: Option<&Choices>) -> Vec<Value> {
    let segment = choices.and_then(|choices| {
        choices
            .segments
            .iter()
            .find(|(id, _)| Some(*id) == asked.filter.segment_id)
            .map(|(_, name)| name.as_str())
    });
    chips_of(&asked.filter, segment)
        .into_iter()
        .map(|(name, said)| context! { said, href => asked.without(&name) })
        .collect()
}

/// `GET /admin/users/count`: counts on, a dozen milliseconds at a time.
pub(in super::super) async fn count(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let asked = Asked::read(&request)?;
    let now = page.now();
    let looking = asked.clone();
    let counted = state
        .store
        .read(move |conn| {
            let wanted = Wanted::of(conn, &looking.filter, now)?;
            let from = (looking.counted, looking.place.unwrap_or(i64::MAX));
            Ok::<_, WantedError>(people::count(conn, &wanted, from, MOST, Budget::PAGE)?)
        })
        .await
        .map_err(super::bulk::problem_of)?;
    page.part("users/_count.html", context! { count => count_value(&asked, counted) })
}
