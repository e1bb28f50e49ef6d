//! `/admin/inbox`: who wants an answer. The `list`, and the `thread` of one person beside it; what operators do with a
//! conversation is in `actions`, canned replies in `canned`, what came with a message in `media`. What templates see is
//! in `shown`, and `compose` for the box in which an answer is written.

mod actions;
mod canned;
mod compose;
mod list;
mod media;
mod shown;
mod thread;

pub(super) use actions::{assign, close, judge, mark_read, mark_unread, reopen, reply};
pub(super) use canned::{create, edit, insertable, list as canned, remove, update};
pub(super) use list::{list, review, unmatched};
pub(super) use media::attachment;
pub(super) use thread::show;

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::context;

use super::Answer;
use super::failure::Failure;
use super::live::{self, Part, Topic};
use super::page::Page;
use crate::store::reports::inbox::{Behind, Filter};
use crate::store::reports::thread::Place;
use crate::web::State;
use crate::web::page::Query;
use list::Listing;
use thread::{Asked, View, Whole};

/// Which list stands beside the conversation, as the address says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tab {
    Open,
    Mine,
    Review,
    Closed,
}

const TABS: [&str; 4] = ["open", "mine", "review", "closed"];

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

/// An address with one more value behind it.
fn with_query(path: &str, name: &str, value: &str) -> String {
    format!("{path}{}{name}={value}", if path.contains('?') { '&' } else { '?' })
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
        thread => whole.map(|whole| shown::thread(page, whole, View::of(tab))),
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
