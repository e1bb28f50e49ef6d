//! One conversation, read out of one snapshot with all that is shown beside it, and its page.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::context;

use super::list::Listing;
use super::{TABS, Tab, operator_id, shown};
use crate::campaign::{self, CampaignError, Footing, Setup};
use crate::clock::Millis;
use crate::domain::gate::{Reason, Verdict};
use crate::domain::rules::Rules;
use crate::store::canned_replies::{self, CannedReply};
use crate::store::conversations::{self, Conversation, Doubt};
use crate::store::operators::{self, Operator, Role};
use crate::store::reports::inbox::{Behind, Filter};
use crate::store::reports::thread::{self, Place, Said};
use crate::store::templates::{self, TemplateRow};
use crate::store::users::{self, User, UserKey};
use crate::store::{Connection, inbound, ledger};
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::failure::Failure;
use crate::web::admin::form::Filled;
use crate::web::admin::page::Page;
use crate::web::page::Query;

/// Messages of a conversation.
const MESSAGES: usize = 30;
/// Templates that are offered.
const TEMPLATES: usize = 50;

/// Name of the cursor.
pub(super) const THREAD: &str = "thread";

/// Everything about one conversation, out of one snapshot.
pub(super) struct Whole {
    pub(super) listing: Listing,
    pub(super) user: User,
    pub(super) topics: Vec<String>,
    pub(super) since: Option<ledger::LedgerRow>,
    pub(super) conversation: Option<Conversation>,
    pub(super) said: Vec<Said>,
    pub(super) earlier: Option<Place>,
    pub(super) doubt: Option<Doubt>,
    pub(super) stopped_at: Option<Millis>,
    pub(super) footing: Result<Footing, CampaignError>,
    pub(super) templates: Vec<TemplateRow>,
    pub(super) canned: Vec<CannedReply>,
    pub(super) operators: Vec<Operator>,
}

/// What a conversation is asked for with.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) user_id: i64,
    pub(super) filter: Filter,
    pub(super) mine: i64,
    pub(super) place: Place,
    pub(super) now: Millis,
}

impl Whole {
    pub(super) fn read(
        conn: &Connection,
        asked: Asked,
        rules: &Rules,
        setup: &Setup,
    ) -> Result<Whole, Failure> {
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
pub(in crate::web::admin) async fn show(
    page: Page,
    state: Data<State>,
    user_id: Path<i64>,
    request: HttpRequest,
) -> Answer {
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
pub(super) struct View {
    pub(super) tab: Tab,
    pub(super) place: Place,
    pub(super) canned: Option<i64>,
}

impl View {
    /// The newest messages.
    pub(super) fn of(tab: Tab) -> View {
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
pub(super) async fn show_thread(
    page: &Page,
    state: &State,
    user_id: i64,
    view: View,
    filled: &Filled,
) -> Answer {
    let asked = Asked {
        user_id,
        filter: view.tab.filter(page),
        mine: operator_id(page),
        place: view.place,
        now: page.now(),
    };
    let (rules, setup) = (state.rules.get(), state.setup.get());
    let whole = state.store.read(move |conn| Whole::read(conn, asked, &rules, &setup)).await?;
    let title = shown::title(page, &whole.user);
    page.show_as(
        filled.status(),
        "inbox/page.html",
        context! {
            title => format!("{title} · Inbox"),
            section => "inbox",
            list => whole.listing.value(page, view.tab, Some(user_id)),
            thread => shown::thread(page, &whole, view),
            form => filled.value(),
        },
    )
}
