//! `/admin/inbox`: who wants an answer. The list, and a conversation beside it; what operators do with one is in
//! `actions`, canned replies in `canned`, what came with a message in `media`, and what templates see in `show`.

mod actions;
mod canned;
mod media;
mod show;

pub(super) use actions::{assign, close, judge, mark_read, mark_unread, reopen, reply};
pub(super) use canned::{create, edit, insertable, list as canned, remove, update};
pub(super) use media::attachment;

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::{Value, context};
use serde_json::json;

use super::Answer;
use super::failure::Failure;
use super::form::Filled;
use super::live::{self, Part, Topic};
use super::page::Page;
use crate::campaign::{self, CampaignError, Footing, Setup};
use crate::clock::Millis;
use crate::domain::gate::{Reason, Verdict};
use crate::domain::rules::Rules;
use crate::store::canned_replies::{self, CannedReply};
use crate::store::conversations::{self, Conversation, Doubt};
use crate::store::operators::{self, Operator, Role};
use crate::store::reports::inbox::{self, Behind, Filter, Listed, Unmatched};
use crate::store::reports::thread::{self, Place, Said};
use crate::store::templates::{self, TemplateRow};
use crate::store::users::{self, User, UserKey};
use crate::store::{Connection, StoreError, inbound, ledger};
use crate::web::State;
use crate::web::page::{Query, encode};

/// Rows of the list.
const ROWS: usize = 50;
/// Messages of a conversation.
const MESSAGES: usize = 30;
/// Templates that are offered.
const TEMPLATES: usize = 50;
/// Names of cursors.
const LIST: &str = "inbox";
const THREAD: &str = "thread";

/// Which list stands beside the conversation, as the address says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tab {
    Open,
    Mine,
    Review,
    Closed,
}

impl Tab {
    const ALL: [Tab; 4] = [Tab::Open, Tab::Mine, Tab::Review, Tab::Closed];

    fn as_str(self) -> &'static str {
        match self {
            Tab::Open => "open",
            Tab::Mine => "mine",
            Tab::Review => "review",
            Tab::Closed => "closed",
        }
    }

    fn parse(word: &str) -> Option<Tab> {
        Tab::ALL.into_iter().find(|tab| tab.as_str() == word)
    }

    fn filter(self, page: &Page) -> Filter {
        match self {
            Tab::Open => Filter::Open,
            Tab::Mine => Filter::Mine(operator_id(page)),
            Tab::Review => Filter::Review,
            Tab::Closed => Filter::Closed,
        }
    }

    /// The address of the list.
    fn href(self) -> &'static str {
        match self {
            Tab::Open => "/admin/inbox",
            Tab::Mine => "/admin/inbox?filter=mine",
            Tab::Review => "/admin/inbox/review",
            Tab::Closed => "/admin/inbox?filter=closed",
        }
    }

    /// The address of a conversation in it.
    fn href_of(self, user_id: i64) -> String {
        match self {
            Tab::Open => format!("/admin/inbox/{user_id}"),
            tab => format!("/admin/inbox/{user_id}?filter={}", tab.as_str()),
        }
    }
}

fn operator_id(page: &Page) -> i64 {
    page.viewer.as_ref().map_or(0, |viewer| viewer.operator.id)
}

/// What the left column shows.
#[derive(Clone, Debug)]
struct Listing {
    rows: Vec<Listed>,
    has_more: bool,
    open: i64,
    mine: i64,
    review: i64,
    unread: i64,
    has_unmatched: bool,
    /// Behind the first page: it stays as it is.
    is_deep: bool,
}

impl Listing {
    fn read(conn: &Connection, filter: Filter, mine: i64, behind: Behind) -> Result<Listing, StoreError> {
        let most = conversations::MOST_COUNTED;
        let mut rows = inbox::list(conn, filter, behind, ROWS + 1)?;
        let has_more = rows.len() > ROWS;
        rows.truncate(ROWS);
        Ok(Listing {
            rows,
            has_more,
            open: inbox::count_open(conn, None, most)?,
            mine: inbox::count_open(conn, Some(mine), most)?,
            review: conversations::on_review(conn)?,
            unread: conversations::unread(conn)?,
            has_unmatched: !inbox::unmatched(conn, i64::MAX, 1)?.is_empty(),
            is_deep: behind != Behind::NOTHING,
        })
    }

    /// As templates see it; `selected` is the conversation beside it.
    fn value(&self, page: &Page, tab: Tab, selected: Option<i64>) -> Value {
        let is_deep = self.is_deep;
        let rows: Vec<Value> = self.rows.iter().map(|row| show::row(page, row, tab, selected)).collect();
        let next = self.rows.last().filter(|_| self.has_more).map(|last| {
            let cursor = encode(LIST, &[json!(last.last_at), json!(last.user_id)]);
            let path = tab.href();
            format!("{path}{}cursor={cursor}", if path.contains('?') { '&' } else { '?' })
        });
        let tabs = [
            (Tab::Open, "Open", Some(self.open)),
            (Tab::Mine, "Mine", Some(self.mine)),
            (Tab::Review, "Review", Some(self.review)),
            (Tab::Closed, "Closed", None),
        ];
        let tabs = tabs.map(|(other, word, n)| {
            context! { href => other.href(), word, count => n.map(counted), is_here => other == tab }
        });
        context! {
            rows, next, tabs => tabs.to_vec(), tab => tab.as_str(),
            has_unmatched => self.has_unmatched,
            lead => lead(self.unread, self.review),
            unread => counted(self.unread),
            live => match selected {
                Some(user_id) => format!("/admin/live/inbox?filter={}&person={user_id}", tab.as_str()),
                None => format!("/admin/live/inbox?filter={}", tab.as_str()),
            },
            is_deep,
        }
    }
}

/// A count that ends at 99.
fn counted(n: i64) -> String {
    if n >= conversations::MOST_COUNTED { "99+".to_owned() } else { n.to_string() }
}

/// The sentence under the title.
fn lead(unread: i64, review: i64) -> String {
    let unread = match unread {
        0 => "Everything is read".to_owned(),
        n => format!("{} unread", counted(n)),
    };
    match review {
        0 => unread,
        1 => format!("{unread}, 1 possible opt-out waits for a decision"),
        n => format!("{unread}, {} possible opt-outs wait for a decision", counted(n)),
    }
}

fn behind(query: &mut Query) -> Behind {
    let place = query.cursor(LIST).unwrap_or_default();
    match place.as_slice() {
        [] => Behind::NOTHING,
        [at, user_id] if at.is_i64() && user_id.is_i64() => {
            Behind { at: at.as_i64().unwrap_or_default(), user_id: user_id.as_i64().unwrap_or_default() }
        }
        _ => {
            query.error("cursor", "is not a cursor of this list; start again without it");
            Behind::NOTHING
        }
    }
}

const TABS: [&str; 4] = ["open", "mine", "review", "closed"];

/// The list alone.
pub(super) async fn list(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let tab = query.choice("filter", Tab::parse, &TABS).unwrap_or(Tab::Open);
    show_list(&page, &state, query, tab).await
}

/// People who may have opted out.
pub(super) async fn review(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    show_list(&page, &state, Query::of(&request)?, Tab::Review).await
}

async fn show_list(page: &Page, state: &State, mut query: Query, tab: Tab) -> Answer {
    let behind = behind(&mut query);
    query.finish()?;
    let (filter, mine) = (tab.filter(page), operator_id(page));
    let listing = state.store.read(move |conn| Listing::read(conn, filter, mine, behind)).await?;
    page.show(
        "inbox/page.html",
        context! {
            title => if tab == Tab::Review { "Review" } else { "Inbox" },
            section => "inbox",
            list => listing.value(page, tab, None),
        },
    )
}

/// Messages from addresses that nobody is known by.
pub(super) async fn unmatched(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let before = query.page("unmatched").before;
    query.finish()?;
    let mut rows: Vec<Unmatched> =
        state.store.read(move |conn| inbox::unmatched(conn, before, ROWS + 1)).await?;
    let has_more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let next = rows
        .last()
        .filter(|_| has_more)
        .map(|last| format!("/admin/inbox/unmatched?cursor={}", encode("unmatched", &[json!(last.id)])));
    let rows: Vec<Value> = rows.iter().map(show::unmatched).collect();
    page.show("inbox/unmatched.html", context! { title => "Unknown senders", section => "inbox", rows, next })
}

/// `GET /admin/live/inbox`: the list and the conversation beside it, while somebody looks.
pub(super) async fn live(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let tab = query.choice("filter", Tab::parse, &TABS).unwrap_or(Tab::Open);
    let selected = query.integer("person");
    query.finish()?;
    let (filter, mine) = (tab.filter(&page), operator_id(&page));
    // How many are one's own is part of what is shown.
    let key = format!("inbox:{}:{}:{mine}", tab.as_str(), selected.unwrap_or(0));
    let topic = Topic::every(key, Duration::from_secs(20)).or_on_events(Duration::from_millis(500));
    live::stream(&page, &state, topic, move |state: Data<State>| async move {
        let (rules, setup, now) = (state.rules.get(), state.setup.get(), state.store.clock().now());
        let found = state
            .store
            .read(move |conn| match selected {
                None => {
                    let listing = Listing::read(conn, filter, mine, Behind::NOTHING)?;
                    Ok::<_, Failure>((listing, None))
                }
                Some(user_id) => {
                    let asked = Asked { user_id, filter, mine, place: Place::START, now };
                    let whole = Whole::read(conn, asked, &rules, &setup)?;
                    Ok((whole.listing.clone(), Some(whole)))
                }
            })
            .await?;
        Ok(move |page: &Page| parts(page, &found.0, found.1.as_ref(), (tab, selected)))
    })
}

/// What changes while somebody looks.
fn parts(
    page: &Page,
    listing: &Listing,
    whole: Option<&Whole>,
    (tab, selected): (Tab, Option<i64>),
) -> Result<Vec<Part>, Failure> {
    let values = context! {
        list => listing.value(page, tab, selected),
        thread => whole.map(|whole| show::thread(page, whole, View::of(tab))),
    };
    let always = ["lead", "tabs", "list"];
    let beside = ["messages", "window"];
    let names = always.into_iter().chain(beside.into_iter().filter(|_| whole.is_some()));
    names
        .map(|name| {
            let html = page.part_text(&format!("inbox/_{name}.html"), values.clone())?;
            Ok(Part::new(format!("inbox-{name}"), html))
        })
        .collect()
}

/// Everything about one conversation, out of one snapshot.
struct Whole {
    listing: Listing,
    user: User,
    topics: Vec<String>,
    since: Option<ledger::LedgerRow>,
    conversation: Option<Conversation>,
    said: Vec<Said>,
    earlier: Option<Place>,
    doubt: Option<Doubt>,
    stopped_at: Option<Millis>,
    footing: Result<Footing, CampaignError>,
    templates: Vec<TemplateRow>,
    canned: Vec<CannedReply>,
    operators: Vec<Operator>,
}

/// What a conversation is asked for with.
#[derive(Clone, Copy)]
struct Asked {
    user_id: i64,
    filter: Filter,
    mine: i64,
    place: Place,
    now: Millis,
}

impl Whole {
    fn read(conn: &Connection, asked: Asked, rules: &Rules, setup: &Setup) -> Result<Whole, Failure> {
        let Asked { user_id, filter, mine, place, now } = asked;
        let user = users::find(conn, &UserKey::Id(user_id))?
            .ok_or_else(|| Failure::not_found(format!("There is no person {user_id}.")))?;
        if user.erased_at.is_some() {
            let detail = format!("Person {user_id} was erased, and with them what was said.");
            return Err(Failure::not_found(detail));
        }
        let (said, earlier) = thread::page(conn, user_id, place, MESSAGES)?;
        let footing = match &setup.problem {
            Some(problem) => Err(CampaignError::SetupIncomplete(problem.clone())),
            None => campaign::footing(conn, user_id, rules, now),
        };
        let templates = match &footing {
            Ok(footing) => templates::list(conn, i64::MAX, TEMPLATES * 2)?
                .into_iter()
                .filter(|template| template.text.channel == footing.channel)
                .take(TEMPLATES)
                .collect(),
            Err(_) => Vec::new(),
        };
        let is_stopped = matches!(&footing, Ok(Footing { verdict: Verdict::Skip(Reason::Stop), .. }));
        Ok(Whole {
            listing: Listing::read(conn, filter, mine, Behind::NOTHING)?,
            topics: users::topics(conn, user_id, user.consent)?,
            since: ledger::list(conn, user_id, i64::MAX, 1)?.into_iter().next(),
            conversation: conversations::find(conn, user_id)?,
            said,
            earlier,
            doubt: if user.hold.is_some() { conversations::doubt(conn, user_id)? } else { None },
            stopped_at: if is_stopped { inbound::last_stop_at(conn, user_id)? } else { None },
            footing,
            templates,
            canned: canned_replies::list(conn)?,
            operators: operators::able(conn, Role::Operator)?,
            user,
        })
    }
}

/// One conversation, with the list beside it.
pub(super) async fn show(page: Page, state: Data<State>, user_id: Path<i64>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let view = View {
        tab: query.choice("filter", Tab::parse, &TABS).unwrap_or(Tab::Open),
        place: place(&mut query),
        canned: query.integer("canned"),
    };
    query.finish()?;
    show_thread(&page, &state, *user_id, view, &Filled::default()).await
}

/// How a conversation is looked at.
#[derive(Clone, Copy)]
struct View {
    tab: Tab,
    place: Place,
    canned: Option<i64>,
}

impl View {
    /// The newest messages.
    fn of(tab: Tab) -> View {
        View { tab, place: Place::START, canned: None }
    }
}

fn place(query: &mut Query) -> Place {
    let place = query.cursor(THREAD).unwrap_or_default();
    match place.as_slice() {
        [] => Place::START,
        [inbound, message] if inbound.is_i64() && message.is_i64() => Place {
            inbound: inbound.as_i64().unwrap_or_default(),
            message: message.as_i64().unwrap_or_default(),
        },
        _ => {
            query.error("cursor", "is not a cursor of this list; start again without it");
            Place::START
        }
    }
}

/// The page of a conversation; `filled`: an answer that was refused, with its words.
async fn show_thread(page: &Page, state: &State, user_id: i64, view: View, filled: &Filled) -> Answer {
    let asked = Asked {
        user_id,
        filter: view.tab.filter(page),
        mine: operator_id(page),
        place: view.place,
        now: page.now(),
    };
    let (rules, setup) = (state.rules.get(), state.setup.get());
    let whole = state.store.read(move |conn| Whole::read(conn, asked, &rules, &setup)).await?;
    let title = show::title(page, &whole.user);
    page.show_as(
        filled.status(),
        "inbox/page.html",
        context! {
            title => format!("{title} · Inbox"),
            section => "inbox",
            list => whole.listing.value(page, view.tab, Some(user_id)),
            thread => show::thread(page, &whole, view),
            form => filled.value(),
        },
    )
}
