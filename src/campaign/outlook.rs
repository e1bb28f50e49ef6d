//! From an audience to a forecast: who may be written to when, what waits before them, and at what pace it goes.

use std::collections::HashMap;

use super::before::{Before, House};
use super::waterfall::ZoneOutlook;
use super::{CampaignError, actions};
use crate::clock::Millis;
use crate::domain::forecast::{Ahead, DailyLimit, Forecast, Group, Pace, forecast as pour};
use crate::domain::message::Kind;
use crate::domain::plan::{PlaceNumber, Timetable};
use crate::domain::price::{Cost, amount};
use crate::store::{Connection, audience, campaigns, senders, spending};

const DAY: Millis = 86_400_000;
const HOUR: Millis = 3_600_000;
/// Places whose hours are the same for this long count as one, in milliseconds.
const ALIKE: Millis = 8 * DAY;

/// People of one place who may be written to from the same hour on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stream {
    pub(super) place: PlaceNumber,
    /// Not before; 0: whenever the place is open.
    pub(super) from: Millis,
    /// They take no place of the sender's day.
    pub(super) is_free: bool,
}

/// The hour in which an instant lies, as its end: nobody is said to go too early.
pub(super) fn hour_of(at: Millis) -> Millis {
    at.div_euclid(HOUR) * HOUR + HOUR
}

/// What the sender has to do already.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    /// When it is due and how much.
    pub(super) due: Vec<(Millis, i64)>,
    /// Whom it wrote to within a day, by the hour.
    used: Vec<(Millis, i64)>,
}

/// Reads what waits for the campaign's sender: other campaigns that run, and single messages.
pub(super) fn queue(conn: &Connection, before: &Before) -> Result<Queue, CampaignError> {
    let Some((sender, limit)) = &before.sender else {
        return Ok(Queue::default());
    };
    let mut lanes = audience::single_lanes(sender.id).to_vec();
    for other in campaigns::live(conn)?.iter().filter(|other| other.status.is_sending()) {
        let plan = &other.plan;
        let chosen = senders::choose(conn, plan.channel, plan.sender.as_deref())?;
        if other.id != before.campaign.id && chosen.is_some_and(|chosen| chosen.id == sender.id) {
            lanes.push(other.id);
        }
    }
    let due = audience::waiting_by_hour(conn, &lanes)?;
    let used = match limit.and_then(|limit| limit.recipients_per_day) {
        Some(_) => senders::recipients_by_hour(conn, sender.id, before.at - DAY)?,
        None => Vec::new(),
    };
    Ok(Queue { due, used })
}

/// When the first and the last of these people would have their message; `None` where no sender fits.
pub(super) fn forecast(
    house: &House,
    before: &Before,
    queue: Queue,
    (timetable, streams, parts_per_message): (&Timetable, &HashMap<Stream, i64>, f64),
) -> Option<Forecast> {
    let (_, limit) = before.sender.as_ref()?;
    let limit = (*limit)?;
    let sender_rate = limit.rate_per_second.min(house.limits.account_rate_per_second);
    let own = before.campaign.plan.rate_limit_per_second.unwrap_or(f64::INFINITY);
    let daily = limit.recipients_per_day.map(|most| DailyLimit { most, used: queue.used });
    let pace = Pace {
        parts_per_second: sender_rate.min(own),
        parts_per_message,
        daily,
        expires_at: before.expires_at,
        ahead: Ahead { due: queue.due, per_second: sender_rate },
    };
    let merged = merge(before.at, timetable, streams);
    let opens: Vec<_> = merged
        .iter()
        .map(|(stream, _)| move |at: Millis| timetable.open(stream.place, at.max(stream.from)))
        .collect();
    let groups: Vec<Group<'_>> = merged
        .iter()
        .zip(&opens)
        .map(|((stream, people), open)| Group { people: *people, open, takes_place: !stream.is_free })
        .collect();
    Some(pour(before.at, &groups, &pace))
}

/// The people by the zones whose clocks count for them, the most first, with the first moment at which their hours
/// allow it.
pub(super) fn by_zone(at: Millis, timetable: &Timetable, streams: &HashMap<Stream, i64>) -> Vec<ZoneOutlook> {
    let mut places: HashMap<PlaceNumber, Vec<String>> = HashMap::new();
    let mut zones: HashMap<Vec<String>, (i64, Option<Millis>)> = HashMap::new();
    for (stream, people) in streams {
        let names = places.entry(stream.place).or_insert_with(|| timetable.zones(stream.place));
        let opens = timetable.open(stream.place, at.max(stream.from)).map(|(from, _)| from);
        let (sum, first) = zones.entry(names.clone()).or_default();
        *sum += people;
        *first = [*first, opens].into_iter().flatten().min();
    }
    let mut rows: Vec<ZoneOutlook> =
        zones.into_iter().map(|(zones, (people, opens))| ZoneOutlook { zones, people, opens }).collect();
    rows.sort_by(|a, b| b.people.cmp(&a.people).then_with(|| a.zones.cmp(&b.zones)));
    rows
}

/// Streams that open and close alike, as one.
fn merge(at: Millis, timetable: &Timetable, streams: &HashMap<Stream, i64>) -> Vec<(Stream, i64)> {
    type Spans = Vec<(Millis, Millis)>;
    let mut by_place: HashMap<PlaceNumber, usize> = HashMap::new();
    let mut by_spans: HashMap<Spans, usize> = HashMap::new();
    let mut merged: HashMap<(usize, Millis, bool), (Stream, i64)> = HashMap::new();
    for (stream, people) in streams {
        let alike = *by_place.entry(stream.place).or_insert_with(|| {
            let next = by_spans.len();
            *by_spans.entry(spans(at, timetable, stream.place)).or_insert(next)
        });
        let key = (alike, stream.from, stream.is_free);
        merged.entry(key).or_insert((*stream, 0)).1 += people;
    }
    let mut merged: Vec<(Stream, i64)> = merged.into_values().collect();
    merged.sort_by_key(|(stream, people)| (stream.place, stream.from, stream.is_free, *people));
    merged
}

fn spans(at: Millis, timetable: &Timetable, place: PlaceNumber) -> Vec<(Millis, Millis)> {
    let mut spans = Vec::new();
    let mut from = at;
    while from < at + ALIKE {
        let Some((open, close)) = timetable.open(place, from) else {
            break;
        };
        spans.push((open, close));
        from = close.max(from + 1);
    }
    spans
}

/// What a launch would be refused for before anybody is looked at: the code and a sentence.
pub(super) fn obstacle(
    conn: &Connection,
    house: &House,
    before: &Before,
) -> Result<Option<(&'static str, String)>, CampaignError> {
    match actions::check_startable(conn, &before.campaign, &house.setup) {
        Ok(()) => Ok(None),
        Err(CampaignError::Store(error)) => Err(error.into()),
        Err(refusal) => {
            let code = match &refusal {
                CampaignError::SetupIncomplete(_) => "setup_incomplete",
                CampaignError::SafeHold => "safe_hold",
                CampaignError::TemplateNotApproved(_) => "template_not_approved",
                _ => "conflict",
            };
            Ok(Some((code, refusal.to_string())))
        }
    }
}

/// Which cap on spending these messages would meet on their way: the code and a sentence. The sender asks the same
/// sums at every claim and pauses there.
pub(super) fn cap_met(
    conn: &Connection,
    house: &House,
    before: &Before,
    cost: Cost,
) -> Result<Option<(&'static str, String)>, CampaignError> {
    let (rules, plan) = (&house.rules, &before.campaign.plan);
    let per_day = rules.cap_per_day.filter(|_| plan.kind == Kind::Marketing);
    if plan.spend_cap_micros.is_none() && per_day.is_none() {
        return Ok(None);
    }
    let currency = rules.prices.currency();
    if cost.unknown > 0 {
        let text = format!(
            "{} of the messages have no price under [prices], so the cap on spending can't be kept: the campaign pauses at the first of them.",
            cost.unknown
        );
        return Ok(Some(("price_unknown", text)));
    }
    let spent = spending::of_campaign(conn, before.campaign.id)?.1.known_micros;
    if let Some(cap) = plan.spend_cap_micros.filter(|cap| spent.saturating_add(cost.known_micros) > *cap) {
        let text = format!(
            "The messages cost {} {currency} and spend_cap allows {}: the campaign pauses when it is reached.",
            amount(cost.known_micros),
            amount((cap - spent).max(0))
        );
        return Ok(Some(("spend_cap", text)));
    }
    let today = spending::of_day(conn, spending::day_of(before.at))?.known_micros;
    if let Some(cap) = per_day.filter(|cap| today.saturating_add(cost.known_micros) > *cap) {
        let text = format!(
            "The messages cost {} {currency} and [spending] cap_per_day leaves {} on their first day: what is over goes on later UTC days, which the forecast does not know.",
            amount(cost.known_micros),
            amount((cap - today).max(0))
        );
        return Ok(Some(("cap_per_day", text)));
    }
    Ok(None)
}
