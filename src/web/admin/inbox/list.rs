//! The list of conversations: the left column of every page of the inbox, and what stands there alone.

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::{Value, context};
use serde_json::json;

use super::{TABS, Tab, operator_id, shown, with_query};
use crate::store::conversations;
use crate::store::reports::inbox::{self, Behind, Filter, Listed, Unmatched};
use crate::store::{Connection, StoreError};
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::page::Page;
use crate::web::page::{Query, encode};

/// Rows of the list.
const ROWS: usize = 50;
/// Name of the cursor.
const LIST: &str = "inbox";

/// What the left column shows.
#[derive(Clone, Debug)]
pub(super) struct Listing {
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
    /// The first page, or one behind it.
    pub(super) fn read(
        conn: &Connection,
        filter: Filter,
        mine: i64,
        behind: Behind,
    ) -> Result<Listing, StoreError> {
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
    pub(super) fn value(&self, page: &Page, tab: Tab, selected: Option<i64>) -> Value {
        let is_deep = self.is_deep;
        let rows: Vec<Value> = self.rows.iter().map(|row| shown::row(page, row, tab, selected)).collect();
        let next = self.rows.last().filter(|_| self.has_more).map(|last| {
            let cursor = encode(LIST, &[json!(last.last_at), json!(last.user_id)]);
            with_query(tab.href(), "cursor", &cursor)
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

/// The list alone.
pub(in crate::web::admin) async fn list(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let tab = query.choice("filter", Tab::parse, &TABS).unwrap_or(Tab::Open);
    show_list(&page, &state, query, tab).await
}

/// People who may have opted out.
pub(in crate::web::admin) async fn review(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
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
pub(in crate::web::admin) async fn unmatched(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
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
    let rows: Vec<Value> = rows.iter().map(shown::unmatched).collect();
    page.show("inbox/unmatched.html", context! { title => "Unknown senders", section => "inbox", rows, next })
}
