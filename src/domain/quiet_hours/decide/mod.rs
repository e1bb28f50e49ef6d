//! From hours and zones to instants.
//!
//! Between two changes of its clock a zone is a constant offset from UTC, so its hours are a
//! plain weekly pattern there. All is computed on such stretches, which makes the nights of the
//! change right by construction: an opening that the clock skips opens at the first instant
//! after the gap, and a repeated hour is judged each time by what the clock shows.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::week::WeekHours;
use crate::domain::{
    phone::Phone,
    timezone::{Zone, candidates, is_same_zone, zone_by_name},
};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// How far ahead a decision looks: a week, and a day for clocks that change.
const HORIZON: i64 = 8 * DAY;

/// Fewer shared minutes than this on an average open day are too few to reach people in.
const LEAST_MINUTES: i64 = 120;

/// Whose clocks count, and how they were found.
#[derive(Clone, Debug)]
pub enum Zones {
    /// The person's own `timezone` attribute.
    Person(TimeZone),
    /// All zones of the number's prefix: every one must allow.
    Prefix(&'static [Zone]),
    /// The campaign's zone.
    Campaign(TimeZone),
    /// The prefix leaves too few hours (or none is known) and the campaign's zone can't decide.
    TooWide(&'static [Zone]),
}

/// Whether a message may go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Open {
        /// The first instant at which it may not any more, at most 8 days ahead.
        closes_at: i64,
    },
    /// Not yet.
    Wait {
        /// The first instant at which it may.
        until: i64,
        /// The first instant after `until` at which it may not any more, at most 8 days ahead.
        closes_at: i64,
    },
    /// There are too few hours in which every possible zone allows it.
    ZoneTooWide,
}

/// Finds the zones that count: the person's `attribute` if it names a zone, else all zones of
/// the number's prefix, else the campaign's. Where the prefix leaves less than two hours on an
/// average open day of the week after `now`, the campaign's zone decides if it is one of them.
pub fn resolve_zones(
    attribute: Option<&str>,
    phone: Option<&Phone>,
    campaign: Option<&TimeZone>,
    hours: &WeekHours,
    now: i64,
) -> Zones {
    if let Some(zone) = attribute.and_then(zone_by_name) {
        return Zones::Person(zone);
    }
    let possible = phone.map(candidates).unwrap_or_default();
    match (possible, campaign) {
        ([], Some(zone)) => Zones::Campaign(zone.clone()),
        ([], None) => Zones::TooWide(possible),
        (_, _) if is_wide_enough(possible, hours, now) => Zones::Prefix(possible),
        (_, Some(zone)) if possible.iter().any(|one| is_same_zone(&one.tz, zone)) => {
            Zones::Campaign(zone.clone())
        }
        _ => Zones::TooWide(possible),
    }
}

/// Says whether a message may go at `now` (milliseconds UTC), and when else.
pub fn decide(hours: &WeekHours, zones: &Zones, now: i64) -> Decision {
    let end = now.saturating_add(HORIZON);
    let span = match zones {
        Zones::Person(zone) | Zones::Campaign(zone) => ZoneClock::at(zone, now).span(hours, now, end),
        Zones::Prefix(zones) => next_shared(&mut clocks(zones, now), hours, (now, end)),
        Zones::TooWide(_) => None,
    };
    match span {
        None => Decision::ZoneTooWide,
        Some((start, closes_at)) if start <= now => Decision::Open { closes_at },
        Some((until, closes_at)) => Decision::Wait { until, closes_at },
    }
}

/// The first instant by which it is, or was, this civil time in every zone that counts. A time
/// that a clock skips counts as an hour later there, one that it shows twice as the first.
/// None where no zone is known.
pub fn local_instant(civil: DateTime, zones: &Zones) -> Option<i64> {
    let instant = |zone: &TimeZone| {
        let at = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
        Some(at.as_millisecond())
    };
    match zones {
        Zones::Person(zone) | Zones::Campaign(zone) => instant(zone),
        Zones::Prefix(zones) | Zones::TooWide(zones) => {
            zones.iter().filter_map(|zone| instant(&zone.tz)).max()
        }
    }
}

fn is_wide_enough(zones: &[Zone], hours: &WeekHours, now: i64) -> bool {
    if zones.len() == 1 {
        return true;
    }
    let enough = LEAST_MINUTES * MINUTE * hours.open_days() as i64;
    let mut clocks = clocks(zones, now);
    let (mut at, end) = (now, now.saturating_add(7 * DAY));
    let mut shared = 0;
    while shared < enough {
        let Some((start, closes)) = next_shared(&mut clocks, hours, (at, end)) else {
            return false;
        };
        shared += closes - start;
        at = closes;
    }
    true
}

/// The first span in `within` that is allowed by every clock.
fn next_shared(clocks: &mut [ZoneClock<'_>], hours: &WeekHours, within: (i64, i64)) -> Option<(i64, i64)> {
    let (mut at, horizon) = within;
    while at < horizon {
        let (mut start, mut end) = (at, horizon);
        for clock in &mut *clocks {
            let (opens, closes) = clock.span(hours, at, horizon)?;
            start = start.max(opens);
            end = end.min(closes);
            if start >= end {
                break;
            }
        }
        if start < end {
            return Some((start, end));
        }
        at = start;
    }
    None
}

/// The clocks of these zones; of those that show the same up to the horizon, one.
fn clocks(zones: &[Zone], now: i64) -> Vec<ZoneClock<'_>> {
    let horizon = now.saturating_add(HORIZON);
    let mut clocks: Vec<ZoneClock<'_>> = Vec::with_capacity(zones.len());
    for zone in zones {
        let clock = ZoneClock::at(&zone.tz, now);
        let is_same = |other: &ZoneClock<'_>| {
            clock.offset == other.offset && clock.until > horizon && other.until > horizon
        };
        if !clocks.iter().any(is_same) {
            clocks.push(clock);
        }
    }
    clocks
}

/// A zone's clock on a stretch of constant offset.
#[derive(Clone, Copy)]
struct ZoneClock<'a> {
    zone: &'a TimeZone,
    /// What it shows ahead of UTC, in milliseconds.
    offset: i64,
    /// When that changes.
    until: i64,
}

impl<'a> ZoneClock<'a> {
    fn at(zone: &'a TimeZone, at: i64) -> ZoneClock<'a> {
        let timestamp = Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX);
        ZoneClock {
            zone,
            offset: i64::from(zone.to_offset(timestamp).seconds()) * 1000,
            until: zone
                .following(timestamp)
                .next()
                .map_or(i64::MAX, |change| change.timestamp().as_millisecond()),
        }
    }

    /// The first allowed span that ends after `from`, cut to `from..horizon`. Pieces that touch
    /// (at midnight, or where the clock changes) are one span. `from` must not go back.
    fn span(&mut self, hours: &WeekHours, from: i64, horizon: i64) -> Option<(i64, i64)> {
        if from >= self.until {
            *self = ZoneClock::at(self.zone, from);
        }
        let mut clock = *self;
        let mut at = from;
        let mut span: Option<(i64, i64)> = None;
        while at < horizon {
            if at >= clock.until {
                clock = ZoneClock::at(clock.zone, at);
            }
            match (clock.piece(hours, at), span) {
                (Piece::Allowed(start, end), Some((first, last))) if start == last => {
                    span = Some((first, end));
                    at = end;
                }
                (_, Some(_)) => break,
                (Piece::Allowed(start, end), None) => {
                    span = Some((start, end));
                    at = end;
                }
                (Piece::None(end), None) => at = end,
            }
        }
        span.filter(|(start, _)| *start < horizon).map(|(start, end)| (start, end.min(horizon)))
    }

    /// What comes first from `at` on: an allowed piece of this day and stretch, or their end.
    fn piece(&self, hours: &WeekHours, at: i64) -> Piece {
        let local = at + self.offset;
        let (day, time) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let midnight = day * DAY - self.offset;
        // Day 0 was a Thursday; Monday is 0.
        let weekday = (day + 3).rem_euclid(7) as usize;
        let range = hours
            .on(weekday)
            .iter()
            .map(|range| (i64::from(range.start), i64::from(range.end)))
            .find(|(_, end)| end * MINUTE > time)
            .map(|(start, end)| (at.max(midnight + start * MINUTE), midnight + end * MINUTE));
        match range {
            Some((start, end)) if start < self.until => Piece::Allowed(start, end.min(self.until)),
            _ => Piece::None(self.until.min(midnight + DAY)),
        }
    }
}

enum Piece {
    Allowed(i64, i64),
    None(i64),
}

#[cfg(test)]
mod tests;
