//! `/admin/campaigns/{id}/messages`: what became of each person, and why; the same as a sheet.

use std::time::{Duration, Instant};

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use minijinja::{Value as Shown, context};

use super::figures::moment;
use super::reasons::word_of;
use super::{Names, shown, view};
use crate::domain::message::Status;
use crate::domain::phone::Phone;
use crate::store::campaigns::CampaignCount;
use crate::store::reports::Slice;
use crate::store::reports::campaigns::{self as reports, CampaignView};
use crate::store::reports::messages::{self, CampaignPage, MessageFilter, MessageView};
use crate::store::{Connection, StoreError};
use crate::twilio::error::explain;
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::page::Page;
use crate::web::api;
use crate::web::error::Problem;
use crate::web::page::Query;

/// How long a page looks for rows that fit before it offers to look further.
const PATIENCE: Duration = Duration::from_millis(20);

/// What the page asks for, in the words of its address.
#[derive(Clone, Debug, Default)]
struct Wish {
    status: Option<Status>,
    reason: Option<String>,
    code: Option<i64>,
    person: Option<String>,
}

impl Wish {
    /// Blank fields of the form ask for nothing.
    fn read(query: &mut Query) -> Wish {
        let mut text = |name: &str| query.text(name).filter(|text| !text.trim().is_empty());
        let (status, reason) = (text("status"), text("reason"));
        let (code, person) = (text("error_code"), text("q"));
        let status = status.and_then(|word| {
            let found = Status::parse(&word);
            if found.is_none() {
                query.error("status", "no such status");
            }
            found
        });
        Wish { status, reason, code: code.and_then(|code| code.parse().ok()), person }
    }

    /// As the store reads it; a number or id that nobody has finds nobody.
    fn filter(&self, conn: &Connection) -> Result<MessageFilter, Problem> {
        let user_id = match &self.person {
            Some(person) => Some(id_of(conn, person)?),
            None => None,
        };
        Ok(MessageFilter {
            user_id,
            status: self.status,
            reason: self.reason.clone(),
            error_code: self.code,
            ..MessageFilter::default()
        })
    }

    fn is_any(&self) -> bool {
        self.status.is_some() || self.reason.is_some() || self.code.is_some() || self.person.is_some()
    }
}

fn id_of(conn: &Connection, person: &str) -> Result<i64, StoreError> {
    let text = person.trim();
    let phone = Phone::parse(text, None)
        .or_else(|_| Phone::parse(&format!("+{}", text.trim_start_matches('+')), None));
    match phone {
        Ok(phone) => api::users::id_of_phone(conn, &phone),
        Err(_) => Ok(text.parse().unwrap_or(0)),
    }
}

pub(in crate::web::admin) async fn show(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Answer {
    let mut query = Query::of(&request)?;
    let wish = Wish::read(&mut query);
    let place = api::messages::read_campaign_page(&mut query, *id, false);
    query.finish()?;
    let (now, limit) = (page.now(), place.limit);
    let (asked, id) = (wish.clone(), *id);
    let (found, slice, names) = state
        .store
        .read(move |conn| {
            let found = view(conn, id, now)?;
            let slice = rows(conn, place, &asked.filter(conn)?)?;
            let ids: Vec<i64> = slice.rows.iter().map(|row| row.user_id).collect();
            let names = if ids.is_empty() { Names::new() } else { reports::names(conn, &ids)? };
            Ok::<_, Problem>((found, slice, names))
        })
        .await?;
    let is_cut = slice.rows.len() < limit && slice.reached.is_some();
    let row = |message: &MessageView| row(message, &found, &names, &page);
    let shown_rows: Vec<Shown> = slice.rows.iter().take(limit - 1).map(row).collect();
    let paged = api::messages::by_person(slice, limit);
    let values = context! {
        title => format!("Every person: {}", found.campaign.plan.name),
        section => "campaigns",
        campaign => shown::row(&found, &page.zone, now),
        rows => shown_rows,
        next => paged.get("next_cursor").and_then(|cursor| cursor.as_str()),
        is_cut,
        statuses => statuses(&found.counts),
        reasons => all_reasons(&found, wish.status),
        wish => context! {
            status => wish.status.map(Status::as_str),
            reason => wish.reason.clone(),
            error_code => wish.code,
            code_text => wish.code.map(|code| explain(code).text),
            q => wish.person.clone(),
            is_any => wish.is_any(),
        },
        query => sheet_query(&wish),
    };
    page.show("campaigns/messages.html", values)
}

/// A page of what fits. A filter that fits few is looked for in several windows, as long as that is quick.
fn rows(
    conn: &Connection,
    mut place: CampaignPage,
    filter: &MessageFilter,
) -> Result<Slice<MessageView, (i64, String)>, StoreError> {
    let started = Instant::now();
    let limit = place.limit;
    let mut rows: Vec<MessageView> = Vec::new();
    loop {
        place.limit = limit - rows.len();
        let slice = messages::of_campaign(conn, &place, filter)?;
        rows.extend(slice.rows);
        match slice.reached {
            Some(reached) if rows.len() < limit && started.elapsed() < PATIENCE => place.after = reached,
            reached => return Ok(Slice { reached: reached.filter(|_| rows.len() < limit), rows }),
        }
    }
}

fn row(message: &MessageView, view: &CampaignView, names: &Names, page: &Page) -> Shown {
    let latest = [message.read_at, message.delivered_at, message.sent_at, message.accepted_at];
    let is_waiting = message.status == "queued" && message.due_at > page.now();
    let at = latest.into_iter().flatten().max().unwrap_or(message.created_at);
    let at = if is_waiting { message.due_at } else { at };
    let reason = message.reason.as_deref().filter(|reason| *reason != "provider_error");
    context! {
        id => message.id,
        user_id => message.user_id,
        name => names.get(&message.user_id),
        phone => message.phone.clone(),
        status => message.status.clone(),
        reason => reason.map(|code| word_of(code, view)),
        reason_code => reason,
        code => message.error_code,
        code_text => message.error_code.map(|code| explain(code).text),
        is_waiting,
        is_refused => message.status == "skipped",
        parts => message.parts,
        attempts => message.attempts,
        at => moment(at, &page.zone, page.now()),
        instant => at,
    }
}

/// The states that there are, with how many.
fn statuses(counts: &[CampaignCount]) -> Vec<Shown> {
    let by_status = api::campaigns::counts_by_status(counts);
    Status::ALL
        .iter()
        .filter_map(|status| {
            let n = by_status.get(status.as_str()).copied().filter(|n| *n > 0)?;
            Some(context! { word => status.as_str(), n })
        })
        .collect()
}

/// The reasons that there are within the state that is asked for.
fn all_reasons(view: &CampaignView, status: Option<Status>) -> Vec<Shown> {
    let mut rows: Vec<(String, i64)> = Vec::new();
    for count in &view.counts {
        let fits = status.is_none_or(|status| count.status == status.as_str());
        if !fits || count.reason.is_empty() || count.reason == "provider_error" {
            continue;
        }
        match rows.iter_mut().find(|(reason, _)| *reason == count.reason) {
            Some(row) => row.1 += count.n,
            None => rows.push((count.reason.clone(), count.n)),
        }
    }
    rows.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    rows.iter().map(|(code, n)| context! { code, word => word_of(code, view), n => *n }).collect()
}

/// The same filters for the sheet, and for the next page.
fn sheet_query(wish: &Wish) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let pairs = [
        ("status", wish.status.map(|status| status.as_str().to_owned())),
        ("reason", wish.reason.clone()),
        ("error_code", wish.code.map(|code| code.to_string())),
        ("q", wish.person.clone()),
    ];
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    query.finish()
}

/// All that fits as CSV, in one stream; texts that a spreadsheet would run are defused.
pub(in crate::web::admin) async fn sheet(
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Result<HttpResponse, crate::web::admin::failure::Failure> {
    let mut query = Query::of(&request)?;
    let wish = Wish::read(&mut query);
    query.finish()?;
    let campaign_id = *id;
    let filter = state
        .store
        .read(move |conn| {
            api::campaigns::find(conn, campaign_id)?;
            wish.filter(conn)
        })
        .await?;
    let page = CampaignPage { campaign_id, limit: api::report::SHEET_PAGE, ..CampaignPage::default() };
    Ok(api::report::sheet(state.store.clone(), page, filter))
}
