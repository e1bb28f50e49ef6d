//! `/reports/overview`: people by consent, and what happened on each day.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use actix_web::web::Data;
use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::{Answer, report};
use crate::store::reports::overview::{Overview, overview};
use crate::web::State;
use crate::web::auth::{Read, Scoped};
use crate::web::body::parse_time;
use crate::web::error::Problem;
use crate::web::openapi::shapes::overview as shapes;
use crate::web::page::Query;
use crate::web::reply::Reply;

/// States of messages that are told by the day.
const STATUSES: [&str; 9] =
    ["accepted", "sent", "delivered", "read", "failed", "undelivered", "expired", "skipped", "cancelled"];
/// Days of a span that is not given, and of the longest.
const USUAL_DAYS: i32 = 30;
const MOST_DAYS: i32 = 366;
/// What the numbers are made of.
const BASED_ON: &str = "Counts that are written with each change. users: as of now. days: how often a message \
reached the state on that UTC day, so one message is counted in several states. errors: campaigns launched in the \
span, whenever their messages failed; single messages are not among them.";

/// Reports on everything, by day.
///
/// Days are UTC, both included; without `from` it is the last thirty, at most 366. The numbers come of small
/// tables of counts, so the report costs the same whatever was sent.
#[utoipa::path(get, path = "/reports/overview", operation_id = "get_overview", params(shapes::OverviewSpan),
    responses((status = 200, body = shapes::Overview)))]
pub(super) async fn show(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let now = state.store.clock().now();
    let (from, to) = span(Query::of(&request)?, now)?;
    let days = (day_number(from), day_number(to));
    let found = state.store.read(move |conn| overview(conn, days)).await?;
    Ok(Reply::ok(shape(&found, (from, to))))
}

fn span(mut query: Query, now: i64) -> Result<(Date, Date), Problem> {
    let today = date(now.div_euclid(86_400_000));
    let mut read = |name: &str| {
        let text = query.text(name)?;
        let day = text.parse::<Date>().ok().filter(|_| !text.contains('T'));
        // An instant names the UTC day in which it lies.
        let day = day.or_else(|| {
            let at = parse_time(&text.replace(' ', "+")).ok()?;
            Some(date(at.div_euclid(86_400_000)))
        });
        let parsed = day.filter(|date| (1970..=9000).contains(&date.year()));
        if parsed.is_none() {
            query.error(name, "must be a day such as 2026-11-23, or an instant in it");
        }
        parsed
    };
    let (from, to) = (read("from"), read("to"));
    let to = to.unwrap_or(today);
    let from = from.unwrap_or_else(|| to.saturating_sub((USUAL_DAYS - 1).days()));
    let length = day_number(to) - day_number(from) + 1;
    if length < 1 {
        query.error("to", "must not lie before from");
    } else if length > i64::from(MOST_DAYS) {
        query.error("to", format!("at most {MOST_DAYS} days at once"));
    }
    query.finish()?;
    Ok((from, to))
}

fn date(day: i64) -> Date {
    let epoch = Date::constant(1970, 1, 1);
    epoch.saturating_add(i32::try_from(day).unwrap_or(0).days())
}

fn day_number(date: Date) -> i64 {
    let since = date.since(Date::constant(1970, 1, 1));
    since.map_or(0, |span| i64::from(span.get_days()))
}

/// What happened on a day, or on all.
#[derive(Clone, Default)]
struct Tally {
    messages: [i64; STATUSES.len()],
    inbound: i64,
    opt_outs: i64,
}

impl Tally {
    fn add(&mut self, kind: &str, n: i64) {
        match kind.split_once('.') {
            Some(("message", status)) => {
                let place = STATUSES.iter().position(|one| *one == status);
                if let Some(count) = place.and_then(|place| self.messages.get_mut(place)) {
                    *count += n;
                }
            }
            Some(("inbound", "received")) => self.inbound += n,
            None if kind == "opt_out" => self.opt_outs += n,
            _ => {}
        }
    }

    fn shape(&self) -> Map<String, Value> {
        let messages = STATUSES.iter().zip(self.messages).map(|(status, n)| ((*status).to_owned(), json!(n)));
        let mut shape = Map::new();
        shape.insert("messages".to_owned(), Value::Object(messages.collect()));
        shape.insert("inbound".to_owned(), json!(self.inbound));
        shape.insert("opt_outs".to_owned(), json!(self.opt_outs));
        shape
    }
}

fn shape(found: &Overview, (from, to): (Date, Date)) -> Value {
    let mut total = Tally::default();
    let mut by_day: BTreeMap<i64, Tally> =
        (day_number(from)..=day_number(to)).map(|day| (day, Tally::default())).collect();
    for (day, kind, n) in &found.daily {
        total.add(kind, *n);
        by_day.entry(*day).or_default().add(kind, *n);
    }
    let days = by_day.iter().map(|(day, tally)| {
        let mut shape = tally.shape();
        shape.shift_insert(0, "day".to_owned(), json!(date(*day).to_string()));
        Value::Object(shape)
    });
    let mut users: Map<String, Value> =
        found.users.iter().map(|(consent, n)| (consent.clone(), json!(n))).collect();
    users.insert("total".to_owned(), json!(found.users.iter().map(|(_, n)| n).sum::<i64>()));
    let errors = found.errors.iter().map(|(code, n)| report::failure(*code, "", *n));
    json!({
        "from": from.to_string(),
        "to": to.to_string(),
        "users": users,
        "days": days.collect::<Vec<_>>(),
        "totals": total.shape(),
        "errors": errors.collect::<Vec<_>>(),
        "based_on": BASED_ON,
    })
}
