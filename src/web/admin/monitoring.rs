//! `/admin/monitoring`: whether the machine is well, and what limits it; events as they happen; webhooks of Twilio's and
//! to others.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::{Value, context};

use super::attention::{self, Item, Outside};
use super::format::phone;
use super::live::{self, Part, Topic};
use super::page::Page;
use super::{Answer, dashboard, happenings};
use crate::clock::Millis;
use crate::metrics::Reading;
use crate::store::reports::attention::Attention;
use crate::store::reports::figures;
use crate::store::reports::happening::{self, Happening, Wanted};
use crate::store::senders::SenderRow;
use crate::store::{Connection, StoreError, senders, webhook_endpoints};
use crate::twilio::error::explain;
use crate::vitals::{GRAIN, MOST_POINTS, Point};
use crate::web::State;
use crate::web::page::Query;

const DAY: Millis = 86_400_000;
/// Codes are summed over so many days.
const ERROR_DAYS: i64 = 7;
/// Events on the first page of monitoring.
const FEW: usize = 12;
/// Events, and webhooks, of a page of their own.
const PAGE: usize = 50;

/// What the store knows, for all who look.
struct Now {
    errors: Vec<(i64, i64)>,
    errors_today: i64,
    senders: Vec<(SenderRow, i64)>,
    events: Vec<Happening>,
}

fn now(conn: &Connection, now: Millis) -> Result<Now, StoreError> {
    let today = now.div_euclid(DAY);
    let mut known = Vec::new();
    for sender in senders::list(conn)?.into_iter().filter(|sender| sender.is_configured) {
        let used = senders::recipients(conn, sender.id, now - DAY)?;
        known.push((sender, used));
    }
    Ok(Now {
        errors: figures::errors(conn, today - ERROR_DAYS + 1)?,
        errors_today: figures::errors(conn, today)?.iter().map(|(_, n)| n).sum(),
        senders: known,
        events: happening::list_before(conn, i64::MAX, &happenings::news(), FEW)?.rows,
    })
}

/// `GET /admin/monitoring`
pub(super) async fn show(page: Page, state: Data<State>) -> Answer {
    let at = page.now();
    let found = state.store.read(move |conn| now(conn, at)).await?;
    let values = everything(&state, &found).await;
    page.show("monitoring/show.html", context! { title => "Monitoring", section => "monitoring", ..values })
}

/// `GET /admin/live/monitoring`
pub(super) async fn live(page: Page, state: Data<State>) -> Answer {
    let topic = Topic::every("monitoring", Duration::from_secs(1));
    live::stream(&page, &state, topic, |state: Data<State>| async move {
        let at = state.store.clock().now();
        let found = state.store.read(move |conn| now(conn, at)).await?;
        let values = everything(&state, &found).await;
        Ok(move |page: &Page| {
            ["vitals", "attention", "plots", "senders", "errors", "file", "events"]
                .into_iter()
                .map(|id| {
                    Ok(Part::new(id, page.part_text(&format!("monitoring/_{id}.html"), values.clone())?))
                })
                .collect()
        })
    })
}

async fn everything(state: &State, found: &Now) -> Value {
    let numbers = state.badges.now(state).await;
    let outside = Outside::of(state);
    let items = attention::items(&numbers.facts, &outside);
    let trouble = state.vitals.note_trouble(outside.now, !items.is_empty());
    let reading = state.metrics.reading();
    context! {
        items => items.iter().map(Item::value).collect::<Vec<_>>(),
        n_items => items.len(),
        clear_since => trouble,
        vitals => vitals(state, &reading, found.errors_today, outside.now),
        points => points(&state.vitals.points()),
        minutes => MOST_POINTS as i64 * GRAIN / 60_000,
        senders => senders_value(state, &reading, &found.senders, outside.now),
        errors => errors(&found.errors),
        error_days => ERROR_DAYS,
        file => file(state, &numbers.facts, &outside),
        health => dashboard::health(state, &numbers.facts, &outside),
        events => happenings::lines(&found.events),
    }
}

/// The figures of this second, each with what limits it.
fn vitals(state: &State, reading: &Reading, errors_today: i64, now: Millis) -> Value {
    let config = state.config.get();
    let sample = state.vitals.now();
    let latency = state.vitals.latency(now);
    context! {
        queued => sample.queued,
        per_second => state.vitals.per_second(),
        limit => sample.limit.unwrap_or(config.delivery.account_rate_per_second),
        in_flight => reading.in_flight,
        ceiling => reading.ceiling,
        most_in_flight => config.delivery.max_in_flight,
        resting => reading.resting,
        p50 => latency.p50,
        p99 => latency.p99,
        webhooks => latency.n,
        refused => latency.refused,
        kept_at => latency.last_kept_at,
        errors_today,
        gap => state.store.gaps().open().map(|gap| gap.since),
    }
}

fn points(points: &[Point]) -> Vec<Value> {
    let value = |point: &Point| {
        context! {
            at => point.at,
            queued => point.queued,
            per_second => point.per_second,
            limit => point.limit,
            in_flight => point.in_flight,
            ceiling => point.ceiling,
            p50 => point.p50,
            p99 => point.p99,
        }
    };
    points.iter().map(value).collect()
}

fn senders_value(state: &State, reading: &Reading, senders: &[(SenderRow, i64)], now: Millis) -> Vec<Value> {
    let config = state.config.get();
    let value = |(sender, used): &(SenderRow, i64)| {
        let configured = config.senders.iter().find(|one| one.address == sender.address);
        let pace = reading.paces.iter().find(|pace| pace.level == "sender" && pace.name == sender.address);
        context! {
            address => phone(&sender.address, false),
            channel => sender.channel().as_str(),
            kind => sender.kind.clone(),
            is_paused => sender.is_paused(now),
            reason => sender.pause_reason.clone(),
            until => sender.paused_until,
            rate => pace.map(|pace| pace.rate).or_else(|| configured.map(crate::config::Sender::rate_per_second)),
            used,
            most => configured.and_then(crate::config::Sender::recipients_per_day),
        }
    };
    senders.iter().map(value).collect()
}

fn errors(errors: &[(i64, i64)]) -> Vec<Value> {
    let value = |(code, n): &(i64, i64)| {
        let known = explain(*code);
        context! { code, n, text => known.text, what_to_do => known.what_to_do }
    };
    errors.iter().map(value).collect()
}

/// The data file and its log.
fn file(state: &State, facts: &Attention, outside: &Outside) -> Value {
    let (size, log_size) = state.store.sizes();
    let (log, (commits, changes)) = (state.store.log(), state.store.commits());
    context! {
        size,
        log_size,
        log_pages => log.pages,
        log_waits => (log.pages - log.moved).max(0),
        commits,
        per_commit => (commits > 0).then(|| changes as f64 / commits as f64),
        reads => state.store.reads(),
        free => outside.free_bytes,
        least_free => outside.least_free,
        is_low => outside.is_disk_low(),
        backup_at => facts.last_backup_at,
        watchers => state.watchers.open(),
        streams => state.streams.open(),
    }
}

/// What an address asks of the events.
#[derive(Clone, Debug)]
struct Asked {
    group: Option<String>,
    campaign_id: Option<i64>,
    user_id: Option<i64>,
    before: Option<i64>,
}

impl Asked {
    fn of(request: &HttpRequest) -> Result<Asked, super::failure::Failure> {
        let mut query = Query::of(request)?;
        let words = happenings::GROUPS.map(|(word, ..)| word);
        let asked = Asked {
            // An empty field of the form is no wish.
            group: query.text("group").filter(|word| words.contains(&word.as_str())),
            campaign_id: query.text("campaign").and_then(|id| id.parse().ok()),
            user_id: query.text("person").and_then(|id| id.parse().ok()),
            before: query.text("before").and_then(|id| id.parse().ok()),
        };
        query.finish()?;
        Ok(asked)
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            types: self.group.as_deref().map(happenings::types_of).unwrap_or_default(),
            campaign_id: self.campaign_id,
            user_id: self.user_id,
        }
    }

    /// The filters as they stand in an address.
    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(group) = &self.group {
            query.append_pair("group", group);
        }
        for (name, id) in [("campaign", self.campaign_id), ("person", self.user_id)] {
            if let Some(id) = id {
                query.append_pair(name, &id.to_string());
            }
        }
        query.finish()
    }

    fn is_filtered(&self) -> bool {
        self.group.is_some() || self.campaign_id.is_some() || self.user_id.is_some()
    }
}

/// A page of events, and where the next one begins.
async fn read_events(state: &State, asked: &Asked) -> Result<Value, StoreError> {
    let (wanted, before) = (asked.wanted(), asked.before.unwrap_or(i64::MAX));
    let slice = state.store.read(move |conn| happening::list_before(conn, before, &wanted, PAGE)).await?;
    let last = slice.rows.last().map(|row| row.id);
    let next = slice.reached.or(last.filter(|_| slice.rows.len() == PAGE));
    Ok(context! {
        events => happenings::lines(&slice.rows),
        next,
        reached => slice.reached,
        looked_at => happening::LOOKED_AT,
        query => asked.query(),
        is_filtered => asked.is_filtered(),
    })
}

/// `GET /admin/monitoring/events`
pub(super) async fn events(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let asked = Asked::of(&request)?;
    let values = read_events(&state, &asked).await?;
    let groups: Vec<Value> =
        happenings::GROUPS.iter().map(|&(word, label, _)| context! { word, label }).collect();
    page.show(
        "monitoring/events.html",
        context! {
            title => "Events",
            section => "monitoring",
            groups,
            group => asked.group.clone(),
            campaign => asked.campaign_id,
            person => asked.user_id,
            is_first => asked.before.is_none(),
            ..values
        },
    )
}

/// `GET /admin/live/events`: the first page of events, with the same filters.
pub(super) async fn live_events(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let asked = Asked { before: None, ..Asked::of(&request)? };
    let topic = Topic::every(format!("events?{}", asked.query()), Duration::from_secs(30))
        .or_on_events(Duration::from_secs(1));
    live::stream(&page, &state, topic, move |state: Data<State>| {
        let asked = asked.clone();
        async move {
            let values = read_events(&state, &asked).await?;
            Ok(move |page: &Page| {
                let values = context! { is_first => true, ..values.clone() };
                Ok(vec![Part::new("events", page.part_text("monitoring/_list.html", values)?)])
            })
        }
    })
}

/// `GET /admin/monitoring/webhooks`
pub(super) async fn webhooks(page: Page, state: Data<State>) -> Answer {
    let (heard, endpoints) = state
        .store
        .read(|conn| {
            let endpoints = webhook_endpoints::list(conn, i64::MAX, PAGE)?;
            Ok::<_, StoreError>((happening::webhooks(conn, PAGE)?, endpoints))
        })
        .await?;
    let numbers = state.badges.now(&state).await;
    let config = state.config.get();
    let base = config.server.public_base_url.as_str().trim_end_matches('/').to_owned();
    let heard: Vec<Value> = heard
        .into_iter()
        .map(|one| {
            context! {
                webhook => one.webhook,
                at => one.at,
                sid => one.sid,
                what => one.what,
                error_code => one.error_code,
                state => one.state,
                error => one.error,
                message_id => one.message_id,
                user_id => one.user_id,
            }
        })
        .collect();
    let endpoints: Vec<Value> = endpoints.into_iter().map(endpoint).collect();
    page.show(
        "monitoring/webhooks.html",
        context! {
            title => "Webhooks",
            section => "monitoring",
            heard,
            endpoints,
            unapplied => numbers.facts.unapplied,
            vitals => vitals(&state, &state.metrics.reading(), 0, page.now()),
            inbound_url => format!("{base}/webhooks/twilio/inbound"),
        },
    )
}

/// An endpoint without its whole address, which may hold a token of its owner's.
fn endpoint(endpoint: webhook_endpoints::Endpoint) -> Value {
    let host = url::Url::parse(&endpoint.url).ok().and_then(|url| url.host_str().map(str::to_owned));
    context! {
        id => endpoint.id,
        host => host.unwrap_or_else(|| "unknown".to_owned()),
        description => endpoint.description,
        is_enabled => endpoint.is_enabled,
        reason => endpoint.disabled_reason,
        failures => endpoint.health.failures,
        failing_since => endpoint.health.failing_since,
        resting_until => endpoint.resting_until,
        last_attempt_at => endpoint.last_attempt_at,
        last_success_at => endpoint.last_success_at,
    }
}
