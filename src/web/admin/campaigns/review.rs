//! `/admin/campaigns/{id}/review`: what a launch would do, before it does it; the launch itself, and tests before it.
//! The walk over the audience takes seconds for a million people: the page answers at once, and what was found
//! comes after it, or by a link where no script runs.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::{Value as Shown, context};
use serde_json::{Value, json};

use super::look::{Look, look};
use super::{CONFIRM_FROM, find, home, plan, shown, steps, version_of};
use crate::campaign::{self, Bucket, Example, Waterfall, Way};
use crate::clock::Millis;
use crate::domain::campaign::CampaignStatus;
use crate::domain::gate::Reason;
use crate::store::reports::campaigns::{self as reports, CampaignView, TestSend};
use crate::store::segments;
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::form::{Filled, Form};
use crate::web::admin::format::{self, Fineness};
use crate::web::admin::page::Page;
use crate::web::api;
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::page::Query;
use crate::web::reply::Reply;

/// Zones of the forecast that are named; the rest is one line.
const ZONES: usize = 12;
/// Test sends that are shown.
const TESTS: usize = 5;

/// What stands in the two forms of the page, as typed.
#[derive(Default)]
struct Typed {
    launch: Filled,
    test: Filled,
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

type Found = Option<Result<Look, Problem>>;

async fn review_page(
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
            let preview = plan::preview_of(conn, &wanted, None, introduction.as_deref(), now)?;
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

/// The waterfall: a line for each exit, with how many are left behind it, and bars in thousandths of all people.
fn lines(seen: &Waterfall, view: &CampaignView) -> Vec<Shown> {
    let all = seen.people.max(1);
    let share = |people: i64| people as f64 * 1_000.0 / all as f64;
    let mut left = seen.people;
    let mut rows = Vec::new();
    let mut fall = |word: String, says: String, what_to_do: String, kind: &str, bucket: &Bucket| {
        left -= bucket.people;
        context! {
            word,
            says,
            what_to_do,
            kind,
            people => bucket.people,
            left,
            x => format!("{:.1}", share(left)),
            width => format!("{:.1}", share(bucket.people)),
            sample => people(&bucket.sample),
        }
    };
    for excluded in &seen.excluded {
        let what_to_do = "Leave the segment out of the exclusions, or narrow it.".to_owned();
        let mut row = fall(
            excluded.name.clone(),
            "Taken out by the excluded segment.".to_owned(),
            what_to_do,
            "excluded",
            &excluded.bucket,
        );
        row = context! { segment_id => excluded.segment_id, ..row };
        rows.push(row);
    }
    let ends = seen.exits.iter().filter(|(way, ..)| *way != Way::Deferred);
    for (way, reason, bucket) in ends {
        let kind = if *way == Way::Expired { "expired" } else { "skipped" };
        let word = word(*reason, view);
        let says = if *way == Way::Expired {
            "Their hours leave no time before the deadline.".to_owned()
        } else {
            reason.says().to_owned()
        };
        let mut row = fall(word, says, reason.what_to_do().to_owned(), kind, bucket);
        if *reason == Reason::MissingVariable {
            let names: Vec<String> = seen.missing.keys().cloned().collect();
            row = context! { variables => names, ..row };
        }
        row = context! { reason => reason.as_str(), ..row };
        rows.push(row);
    }
    rows
}

fn people(sample: &[Example]) -> Vec<Shown> {
    sample.iter().map(|one| context! { id => one.user_id, phone => one.phone.clone() }).collect()
}

/// A reason as the head of a line.
fn word(reason: Reason, view: &CampaignView) -> String {
    match reason {
        Reason::NoAddress => "No address on this channel".to_owned(),
        Reason::Suppressed => "Never to be sent to".to_owned(),
        Reason::Stop => "Said STOP".to_owned(),
        Reason::OptedOut => "Opted out".to_owned(),
        Reason::ConsentUnknown => "Consent unknown".to_owned(),
        Reason::NotSubscribed => {
            let topic = view.topic.as_deref().unwrap_or("the topic");
            format!("Not subscribed to “{topic}”")
        }
        Reason::Held => "On review".to_owned(),
        Reason::Unreachable => "Number unreachable".to_owned(),
        Reason::Deadline => "Past the deadline".to_owned(),
        Reason::MissingVariable => "A value is missing".to_owned(),
        Reason::ContentTooLong => "Text too long".to_owned(),
        Reason::ContentBroken => "Text can’t be made".to_owned(),
        Reason::OutsideWhatsappWindow => "Outside WhatsApp’s 24 hours".to_owned(),
        Reason::WhatsappUsMarketing => "US number on WhatsApp".to_owned(),
        Reason::TemplateNotApproved => "Template not approved".to_owned(),
        Reason::ZoneTooWide => "Time zone unclear".to_owned(),
        Reason::LocalTime => "Another hour there".to_owned(),
        Reason::QuietHours => "Quiet hours".to_owned(),
        Reason::DailyLimit => "Daily limit of the sender".to_owned(),
        Reason::FrequencyCap => "Had enough for now".to_owned(),
        Reason::SpendingCap => "Budget of the day spent".to_owned(),
        Reason::PriceUnknown => "Price unknown".to_owned(),
        other => other.as_str().replace('_', " "),
    }
}

/// The word of a reason by its code, for other pages.
pub(super) fn word_of(code: &str, view: &CampaignView) -> String {
    let found = Reason::ALL.iter().find(|reason| reason.as_str() == code);
    match found {
        Some(reason) => word(*reason, view),
        None if code == "retry_later" => "Tried again soon".to_owned(),
        None => code.replace('_', " "),
    }
}

/// When those of each zone may have it, on their clocks and on the viewer's.
fn zones(seen: &Waterfall, zone: &TimeZone, now: Millis) -> Vec<Shown> {
    let mut rows: Vec<Shown> = Vec::new();
    for row in seen.zones.iter().take(ZONES) {
        let own = row.zones.first().and_then(|name| TimeZone::get(name).ok());
        let local = row.opens.zip(own.as_ref()).map(|(opens, own)| clock(opens, own));
        rows.push(context! {
            name => zone_words(&row.zones),
            people => row.people,
            local,
            yours => row.opens.map(|opens| format::time(opens, zone, now, Fineness::Minute)),
            is_open => row.opens.is_some_and(|opens| opens <= seen.at),
            is_never => row.opens.is_none(),
        });
    }
    let rest: i64 = seen.zones.iter().skip(ZONES).map(|row| row.people).sum();
    if rest > 0 {
        let opens = seen.zones.iter().skip(ZONES).filter_map(|row| row.opens).min();
        rows.push(context! {
            name => format!("{} other zones", seen.zones.len() - ZONES),
            people => rest,
            yours => opens.map(|opens| format::time(opens, zone, now, Fineness::Minute)),
            is_rest => true,
        });
    }
    rows
}

/// The hour with the letters of its zone.
fn clock(at: Millis, zone: &TimeZone) -> String {
    let zoned = Timestamp::from_millisecond(at).map(|at| at.to_zoned(zone.clone()));
    zoned.map(|at| at.strftime("%H:%M %Z").to_string()).unwrap_or_default()
}

/// A zone by its town; several by the first of them and how many there are.
fn zone_words(zones: &[String]) -> String {
    let town = |name: &str| name.rsplit('/').next().unwrap_or(name).replace('_', " ");
    match zones {
        [] => "Zone unknown".to_owned(),
        [one] => town(one),
        [first, rest @ ..] => format!("{} and {} more", town(first), rest.len()),
    }
}

pub(in crate::web::admin) async fn launch(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    match start(&state, *id, &form).await {
        Ok(_) => {
            let view = find(&state.store, *id, page.now()).await?;
            page.go_to(&home(*id), &launched(&view, &page))
        }
        Err(problem) => {
            let launch = Filled::refused(&form, problem)?;
            let view = find(&state.store, *id, page.now()).await?;
            if view.campaign.launched_at.is_some() {
                return page.go_to(&home(*id), "");
            }
            let found = state.looks.known(*id, view.campaign.version, page.now()).map(Ok);
            review_page(&page, &state, &view, (found, &Typed { launch, ..Typed::default() })).await
        }
    }
}

fn launched(view: &CampaignView, page: &Page) -> String {
    match (view.campaign.status, view.campaign.plan.starts_at) {
        (CampaignStatus::Scheduled, Some(at)) if !view.campaign.plan.is_local_to_recipient => {
            format!("Scheduled for {}.", format::time(at, &page.zone, page.now(), Fineness::Minute))
        }
        (CampaignStatus::Scheduled, _) => "Scheduled.".to_owned(),
        _ => "Launched. The first messages are on their way.".to_owned(),
    }
}

/// Launches by the same road as the API. A draft asks for its number of people first; a second click finds it
/// launched and gets the first one's answer.
async fn start(state: &State, id: i64, form: &Form) -> Result<Reply, Problem> {
    let campaign = state.store.read(move |conn| api::campaigns::find(conn, id)).await?;
    let accepts = form.is_on("accept_would_expire");
    let version = version_of(form);
    let is_draft = campaign.status == CampaignStatus::Draft;
    let is_triggered = campaign.plan.trigger_type.is_some();
    if is_draft && !is_triggered {
        version.check(campaign.version).map_err(plan::stale)?;
        let known = look(state, id, campaign.version).await?;
        check_confirmed(form, known.seen.would_send())?;
    }
    let house = api::audience::house(state);
    let clearance = campaign::clear(&state.store, &house, id, accepts).await?;
    form.once
        .clone()
        .write(&state.store, move |tx| {
            let before = api::campaigns::find(tx.conn(), id)?;
            if before.status == CampaignStatus::Draft {
                version.check(before.version).map_err(plan::stale)?;
            }
            campaign::launch_cleared(tx, id, &house.setup, &clearance)?;
            Ok(Reply::accepted(Value::Null))
        })
        .await
}

/// From [`CONFIRM_FROM`] people on their number has to be typed.
fn check_confirmed(form: &Form, people: i64) -> Result<(), Problem> {
    if people < CONFIRM_FROM {
        return Ok(());
    }
    let typed = form.text("confirm").unwrap_or_default();
    let bare = typed.replace([',', '.', ' ', '’', '\u{202f}', '\u{a0}'], "");
    match bare.parse::<i64>() {
        Ok(number) if number == people => Ok(()),
        Ok(number) => {
            let (number, wanted) = (format::number(number), people);
            Err(Problem::field("confirm", format!("You typed {number}. Type {wanted} to confirm.")))
        }
        Err(_) => Err(Problem::field("confirm", format!("Type {people} to confirm."))),
    }
}

pub(in crate::web::admin) async fn test(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let phones: Vec<String> = form
        .text("phones")
        .unwrap_or_default()
        .split([',', ';', '\n'])
        .map(|phone| phone.trim().to_owned())
        .filter(|phone| !phone.is_empty())
        .collect();
    let (actor, setup, campaign_id) = (page.actor(), state.setup.get(), *id);
    let people = phones.len();
    let outcome = match Fields::of(json!({"phones": phones})).and_then(api::campaign_actions::read_phones) {
        Err(problem) => Err(problem),
        Ok(phones) => {
            let effect = form.once.clone().write(&state.store, move |tx| {
                campaign::send_test(tx, campaign_id, &phones, &setup, &actor)?;
                Ok(Reply::accepted(Value::Null))
            });
            effect.await
        }
    };
    match outcome {
        Ok(_) => {
            let words = if people == 1 { "A test is".to_owned() } else { format!("{people} tests are") };
            page.go_to(
                &format!("{}/review", home(*id)),
                &format!("{words} on the way. It takes nobody’s place."),
            )
        }
        Err(problem) => {
            let test = Filled::refused(&form, steps::by_field(problem))?;
            let view = find(&state.store, *id, page.now()).await?;
            let found = state.looks.known(*id, view.campaign.version, page.now()).map(Ok);
            review_page(&page, &state, &view, (found, &Typed { test, ..Typed::default() })).await
        }
    }
}

/// People who leave at each exit, by reason, of a campaign that runs: where their number is known.
pub(super) fn reasons(counts: &[crate::store::campaigns::CampaignCount], status: &str) -> Vec<(String, i64)> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for count in counts.iter().filter(|count| count.status == status) {
        *sums.entry(&count.reason).or_default() += count.n;
    }
    let mut rows: Vec<(String, i64)> = sums.into_iter().map(|(reason, n)| (reason.to_owned(), n)).collect();
    rows.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_called_by_their_town() {
        for (zones, words) in [
            (vec![], "Zone unknown"),
            (vec!["America/New_York"], "New York"),
            (vec!["America/Chicago", "America/Denver"], "Chicago and 1 more"),
        ] {
            let zones: Vec<String> = zones.into_iter().map(str::to_owned).collect();
            assert_eq!(zone_words(&zones), words);
        }
    }
}
