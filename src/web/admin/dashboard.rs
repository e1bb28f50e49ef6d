//! `/admin`: what is going out, and whether anything needs somebody.

use std::time::Duration;

use actix_web::web::Data;
use jiff::tz::TimeZone;
use minijinja::{Value, context};

use super::Answer;
use super::attention::{self, Item, Outside};
use super::format::{Fineness, time};
use super::happenings;
use super::live::{self, Part, Topic};
use super::page::Page;
use crate::clock::Millis;
use crate::store::reports::attention::Attention;
use crate::store::reports::figures::{self, Tally};
use crate::store::reports::happening::{self, Happening};
use crate::store::reports::running::{self, Running, Work};
use crate::store::{Connection, StoreError};
use crate::vitals::Latency;
use crate::web::State;

/// Days of the figures and plots.
const DAYS: i64 = 30;
const DAY: Millis = 86_400_000;
/// Campaigns that are shown; the others are a link.
const MOST_RUNNING: usize = 4;
/// Steps of set-up.
const STEPS: usize = 8;
/// The last events.
const MOST_EVENTS: usize = 8;
/// Things that need somebody and are shown.
const MOST_ITEMS: usize = 6;

/// What changes from second to second.
struct Now {
    work: Work,
    events: Vec<Happening>,
}

fn now(conn: &Connection) -> Result<Now, StoreError> {
    let work = running::work(conn, MOST_RUNNING)?;
    let events = happening::list_before(conn, i64::MAX, &happenings::news(), MOST_EVENTS)?.rows;
    Ok(Now { work, events })
}

/// `GET /admin`
pub(super) async fn show(page: Page, state: Data<State>) -> Answer {
    let today = page.now().div_euclid(DAY);
    let (found, days, is_new) = state
        .store
        .read(move |conn| {
            let days = figures::by_day(conn, today - DAYS + 1, today)?;
            Ok::<_, StoreError>((now(conn)?, days, running::is_untouched(conn)?))
        })
        .await?;
    let numbers = state.badges.now(&state).await;
    let outside = Outside::of(&state);
    let items = attention::items(&numbers.facts, &outside);
    let sum = days.iter().fold(Tally::default(), |sum, (_, tally)| sum.plus(*tally));
    page.show(
        "dashboard/show.html",
        context! {
            title => "Dashboard",
            section => "dashboard",
            is_new,
            is_set_up => outside.problem.is_none(),
            done_steps => STEPS.saturating_sub(numbers.open_steps),
            steps => STEPS,
            sum => tally(&sum),
            days => days.iter().map(|(day, one)| one_day(*day, one, page.now())).collect::<Vec<_>>(),
            currency => state.rules.get().prices.currency().as_str(),
            ..parts(&state, &found, &items, &numbers.facts, &outside)
        },
    )
}

/// `GET /admin/live/dashboard`
pub(super) async fn live(page: Page, state: Data<State>) -> Answer {
    let topic = Topic::every("dashboard", Duration::from_secs(5)).or_on_events(Duration::from_secs(1));
    live::stream(&page, &state, topic, |state: Data<State>| async move {
        let found = state.store.read(now).await?;
        let numbers = state.badges.now(&state).await;
        let outside = Outside::of(&state);
        let items = attention::items(&numbers.facts, &outside);
        let values = parts(&state, &found, &items, &numbers.facts, &outside);
        Ok(move |page: &Page| {
            ["summary", "running", "attention", "health", "events"]
                .into_iter()
                .map(|id| {
                    Ok(Part::new(id, page.part_text(&format!("dashboard/_{id}.html"), values.clone())?))
                })
                .collect()
        })
    })
}

/// What the live parts show; the same for all who look.
fn parts(state: &State, found: &Now, items: &[Item], facts: &Attention, outside: &Outside) -> Value {
    let trouble = state.vitals.note_trouble(outside.now, !items.is_empty());
    let running: Vec<Value> =
        found.work.running.iter().map(|campaign| card(state, campaign, outside.now)).collect();
    context! {
        running,
        n_running => found.work.n,
        more_running => found.work.n - i64::try_from(found.work.running.len()).unwrap_or(0),
        last => found.work.last.as_ref().map(|last| card(state, last, outside.now)),
        next => found.work.next.as_ref().map(|next| context! {
            id => next.id, name => next.name.clone(), starts_at => next.starts_at,
        }),
        items => items.iter().take(MOST_ITEMS).map(Item::value).collect::<Vec<_>>(),
        n_items => items.len(),
        clear_since => trouble,
        health => health(state, facts, outside),
        events => happenings::lines(&found.events),
    }
}

/// A day with its name. Counts are by UTC days, so the viewer's zone has no say in it.
fn one_day(day: i64, one: &Tally, now: Millis) -> Value {
    let label = time(day * DAY, &TimeZone::UTC, now, Fineness::Day);
    context! { at => day * DAY, label, ..tally(one) }
}

fn tally(tally: &Tally) -> Value {
    let answered = tally.delivered.max(tally.read) + tally.failed;
    context! {
        sent => tally.sent,
        delivered => tally.delivered,
        read => tally.read,
        unread => (tally.delivered - tally.read).max(0),
        failed => tally.failed,
        answered,
        replies => tally.replies,
        opt_outs => tally.opt_outs,
        spent_micros => tally.spent_micros,
        unpriced => tally.unpriced,
    }
}

/// A campaign that sends: where its people are, how fast it goes and when it will be done.
pub(super) fn card(state: &State, campaign: &Running, now: Millis) -> Value {
    let open = campaign.in_states(&["queued", "sending", "uncertain"]);
    let parts = [
        ("delivered", "Delivered", campaign.in_states(&["delivered", "read"])),
        ("sent", "On their way", campaign.in_states(&["accepted", "sent"])),
        ("failed", "Failed", campaign.in_states(&["failed", "undelivered", "expired"])),
        ("skipped", "Skipped", campaign.in_states(&["skipped", "cancelled"])),
        ("open", "Open", open),
    ];
    let total: i64 = parts.iter().map(|(.., n)| n).sum();
    let per_second = state.vitals.campaign_per_second(campaign.id).or_else(|| campaign.throughput());
    let waiting: Vec<(&str, i64)> = waits(campaign);
    let held_back: i64 = waiting.iter().map(|(_, n)| n).sum();
    let ready = (open - held_back).max(0);
    let pace = per_second.filter(|pace| *pace > 0.0).or(campaign.rate_limit);
    let end =
        pace.filter(|_| ready > 0).map(|pace| now.saturating_add((ready as f64 / pace * 1_000.0) as Millis));
    context! {
        id => campaign.id,
        name => campaign.name.clone(),
        status => campaign.status.clone(),
        trigger => campaign.trigger_type.clone(),
        launched_at => campaign.launched_at,
        finished_at => campaign.finished_at,
        last_at => campaign.sums.last_accepted_at,
        parts => parts.iter().map(|&(kind, label, n)| context! { kind, label, n }).collect::<Vec<_>>(),
        total,
        done => total - open,
        open,
        per_second,
        limit => campaign.rate_limit,
        end,
        waiting => waiting.iter().map(|&(reason, n)| context! { reason, n }).collect::<Vec<_>>(),
    }
}

/// What waits for a reason that its own pace does not end.
fn waits(campaign: &Running) -> Vec<(&str, i64)> {
    const REASONS: [&str; 5] = ["quiet_hours", "local_time", "daily_limit", "frequency_cap", "spending_cap"];
    let waiting = REASONS.iter().map(|reason| (*reason, campaign.waiting_for(reason)));
    waiting.filter(|(_, n)| *n > 0).collect()
}

/// How everything around the sending is doing: tone, title, detail, and a button where something can be done.
pub(super) fn health(state: &State, facts: &Attention, outside: &Outside) -> Vec<Value> {
    let latency = state.vitals.latency(outside.now);
    vec![
        account(facts, outside),
        webhooks(&latency),
        catch_up(state, outside),
        disk(state, outside),
        backup(facts, outside),
    ]
}

fn account(facts: &Attention, outside: &Outside) -> Value {
    match (&outside.problem, &facts.account) {
        (Some(problem), _) => context! {
            tone => "warn", title => "Twilio account", text => problem.clone(),
            href => "/admin/settings/setup", action => "Set up",
        },
        (None, Some((reason, until))) => context! {
            tone => "bad", title => "Twilio account", text => reason.clone(), until => *until,
            href => "/admin/settings/senders", action => "Look",
        },
        (None, None) => {
            context! { tone => "ok", title => "Twilio account", text => "Nothing stops the sending." }
        }
    }
}

fn webhooks(latency: &Latency) -> Value {
    let is_odd =
        latency.last_refused_at.is_some_and(|refused| latency.last_kept_at.is_none_or(|kept| kept < refused));
    context! {
        tone => if is_odd { "warn" } else if latency.last_kept_at.is_some() { "ok" } else { "" },
        title => "Webhooks from Twilio",
        kept_at => latency.last_kept_at,
        refused_at => latency.last_refused_at.filter(|_| is_odd),
        p99 => latency.p99,
        href => if is_odd { "/admin/monitoring/webhooks" } else { "" },
        action => "Look",
        is_webhooks => true,
    }
}

fn catch_up(state: &State, outside: &Outside) -> Value {
    match &outside.gap {
        Some(gap) => context! {
            tone => "warn", title => "Messages from people", since => gap.since,
            text => gap.trouble.clone().unwrap_or_else(|| "Twilio’s list is being looked through; marketing waits.".to_owned()),
        },
        None if state.config.get().delivery.catch_up => context! {
            tone => "ok", title => "Messages from people", text => "No gap: whatever came while nobody listened was fetched.",
        },
        None => context! {
            tone => "", title => "Messages from people", text => "Missed messages are not looked for: catch-up is off.",
        },
    }
}

fn disk(state: &State, outside: &Outside) -> Value {
    let (size, log) = state.store.sizes();
    context! {
        tone => if outside.is_disk_low() { "bad" } else { "ok" },
        title => "Data file",
        size, log, free => outside.free_bytes,
        is_disk => true,
    }
}

fn backup(facts: &Attention, outside: &Outside) -> Value {
    let is_old = outside.is_backup_old(facts.last_backup_at.unwrap_or(facts.created_at));
    context! {
        tone => match (is_old, facts.last_backup_at) { (true, _) => "warn", (false, Some(_)) => "ok", _ => "" },
        title => "Backup",
        backup_at => facts.last_backup_at,
        href => "/admin/settings/backup",
        action => "Back up",
        is_backup => true,
    }
}
