//! `/admin/campaigns/{id}/review`: what a launch would do, before it does it.
//! The walk over the audience takes seconds for a million people: the page answers at once, and what was found
//! comes after it, or by a link where no script runs.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::{Value as Shown, context};

use super::look::{Look, look};
use super::waterfall::{lines, zones};
use super::{CONFIRM_FROM, find, home, preview, shown, steps};
use crate::campaign::Way;
use crate::domain::campaign::CampaignStatus;
use crate::store::reports::campaigns::{self as reports, CampaignView, TestSend};
use crate::store::segments;
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::form::Filled;
use crate::web::admin::page::Page;
use crate::web::api;
use crate::web::error::Problem;
use crate::web::page::Query;

/// Test sends that are shown.
const TESTS: usize = 5;

/// What stands in the two forms of the page, as typed.
#[derive(Default)]
pub(super) struct Typed {
    pub(super) launch: Filled,
    pub(super) test: Filled,
}

pub(in crate::web::admin) async fn show(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Answer {
    let mut query = Query::of(&request)?;
    let works_it_out = query.text("look").is_some();
    query.finish()?;
    let view = find(&state.store, *id, page.now()).await?;
    if view.campaign.status != CampaignStatus::Draft && view.campaign.launched_at.is_some() {
        return page.go_to(&home(*id), "");
    }
    let known = state.looks.known(*id, view.campaign.version, page.now());
    let found = match known {
        None if works_it_out => Some(look(&state, *id, view.campaign.version).await),
        known => known.map(Ok),
    };
    review_page(&page, &state, &view, (found, &Typed::default())).await
}

/// The part that holds what was worked out.
pub(in crate::web::admin) async fn part(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let view = find(&state.store, *id, page.now()).await?;
    let found = look(&state, *id, view.campaign.version).await;
    let values = values(&page, &state, &view, (Some(found), &Typed::default())).await?;
    page.part("campaigns/_look.html", values)
}

pub(super) type Found = Option<Result<Look, Problem>>;

/// The page, with what was found so far and what was typed.
pub(super) async fn review_page(
    page: &Page,
    state: &State,
    view: &CampaignView,
    (found, typed): (Found, &Typed),
) -> Answer {
    let status = if typed.test.status().is_success() { typed.launch.status() } else { typed.test.status() };
    let values = values(page, state, view, (found, typed)).await?;
    page.show_as(status, "campaigns/review.html", values)
}

async fn values(
    page: &Page,
    state: &State,
    view: &CampaignView,
    (found, typed): (Found, &Typed),
) -> Result<Shown, Problem> {
    let (id, now) = (view.campaign.id, page.now());
    let wanted = view.campaign.plan.clone();
    let introduction = state.rules.get().introduction.clone();
    let (preview, tests, excluded) = state
        .store
        .read(move |conn| {
            let preview = preview::of(conn, &wanted, None, introduction.as_deref(), now)?;
            let mut excluded: Vec<String> = Vec::new();
            for id in &wanted.exclude_segment_ids {
                excluded.extend(segments::find(conn, *id)?.map(|segment| segment.name));
            }
            Ok::<_, Problem>((preview, reports::test_sends(conn, id, TESTS)?, excluded))
        })
        .await?;
    let currency = state.rules.get().prices.currency();
    let (seen, trouble) = match found {
        None => (None, None),
        Some(Ok(look)) => (Some(look), None),
        Some(Err(problem)) if problem.status().is_server_error() => return Err(problem),
        Some(Err(problem)) => (None, Some(problem.to_string())),
    };
    let is_triggered = view.campaign.plan.trigger_type.is_some();
    Ok(context! {
        title => format!("Review: {}", view.campaign.plan.name),
        section => "campaigns",
        campaign => shown::row(view, &page.zone, now),
        steps => steps::shown(Some(id), None),
        settings => shown::settings(view, currency.as_str(), &page.zone, now),
        starts => shown::starts(&view.campaign.plan, &page.zone, now),
        is_later => view.campaign.plan.starts_at.is_some_and(|at| at > now),
        excluded,
        preview,
        tests => tests.iter().map(test_row).collect::<Vec<_>>(),
        is_triggered,
        // Not `look`: that is what templates ask for the words of a state.
        found => seen.as_ref().map(|look| look_value(look, view, page)),
        trouble => trouble.filter(|_| !is_triggered),
        form => typed.launch.value(),
        test_form => typed.test.value(),
        is_simulated => state.setup.get().is_simulated,
    })
}

fn test_row(test: &TestSend) -> Shown {
    context! {
        user_id => test.user_id,
        phone => test.phone.clone(),
        status => test.status.clone(),
        reason => test.reason.clone(),
        error => test.error_code.map(|code| crate::twilio::error::explain(code).text),
        at => test.at,
    }
}

/// What was worked out, as the page shows it.
fn look_value(look: &Look, view: &CampaignView, page: &Page) -> Shown {
    let seen = &look.seen;
    let (zone, now) = (&page.zone, page.now());
    let would_send = seen.would_send();
    let gets_it = (would_send - seen.would_expire.saturating_sub(seen.in_way(Way::Expired))).max(0);
    let forecast = seen.forecast.as_ref();
    let advice = api::audience::advice(seen);
    let blocking = ["setup_incomplete", "safe_hold", "template_not_approved", "max_recipients", "conflict"];
    let parts_each = if would_send > 0 { seen.parts as f64 / would_send as f64 } else { 0.0 };
    context! {
        at => look.at,
        took => i64::try_from(look.took.as_millis()).unwrap_or(i64::MAX),
        version => look.version,
        people => seen.people,
        audience => seen.audience(),
        would_send,
        gets_it,
        would_expire => seen.would_expire,
        expires_at => seen.expires_at,
        deferred => seen.in_way(Way::Deferred),
        parts => seen.parts,
        parts_each => shown::plain((parts_each * 10.0).round() / 10.0),
        is_ucs2 => seen.parts_by_encoding.iter().any(|(encoding, _)| encoding.as_str() == "UCS-2"),
        cost => seen.cost.total(),
        cost_known => seen.cost.known_micros,
        unpriced => seen.cost.unknown,
        currency => seen.currency.as_str(),
        first => forecast.and_then(|forecast| forecast.first),
        last => forecast.and_then(|forecast| forecast.last),
        has_forecast => forecast.is_some(),
        queue_ahead => seen.queue_ahead,
        lines => lines(seen, view),
        zones => zones(seen, zone, now),
        missing => seen.missing.iter().map(|(name, n)| context! { name, n => *n }).collect::<Vec<_>>(),
        obstacles => seen.obstacles
            .iter()
            .map(|(code, text)| context! { code => *code, text => text.clone(), blocks => blocking.contains(code) })
            .collect::<Vec<_>>(),
        is_blocked => seen.obstacles.iter().any(|(code, _)| blocking.contains(code)),
        advice => advice.as_str(),
        confirm => (would_send >= CONFIRM_FROM).then_some(would_send),
    }
}
