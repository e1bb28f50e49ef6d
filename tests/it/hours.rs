//! A year of changing clocks: what is decided about hours, against a plain reading of the clock on the wall.

use std::collections::BTreeMap;
use std::sync::Arc;

use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::Phone;
use event_stream_engine::domain::plan::{Closings, Timing};
use event_stream_engine::domain::quiet_hours::{
    BY_REGION, Decision, Policy, WeekHours, Whereabouts, Zones, decide,
};
use event_stream_engine::domain::timezone::zone_by_name;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::support::presets;

const MINUTE: i64 = 60_000;
const QUARTER: i64 = 15 * MINUTE;
const DAY: i64 = 96 * QUARTER;

/// Whole, half and quarter hours; clocks that change by an hour, half of one or two; at midnight; the other way
/// round (Dublin); in the south; during Ramadan; no more, again, or never.
const ZONES: [&str; 56] = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "Africa/Johannesburg",
    "Africa/Lagos",
    "Africa/Windhoek",
    "America/Adak",
    "America/Anchorage",
    "America/Asuncion",
    "America/Bogota",
    "America/Chicago",
    "America/Denver",
    "America/Halifax",
    "America/Havana",
    "America/Los_Angeles",
    "America/Mexico_City",
    "America/New_York",
    "America/Nuuk",
    "America/Phoenix",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/Scoresbysund",
    "America/St_Johns",
    "America/Tijuana",
    "Antarctica/Troll",
    "Asia/Almaty",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Colombo",
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Asia/Kabul",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Shanghai",
    "Asia/Tehran",
    "Asia/Yangon",
    "Atlantic/Azores",
    "Australia/Adelaide",
    "Australia/Brisbane",
    "Australia/Eucla",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Chisinau",
    "Europe/Dublin",
    "Europe/Istanbul",
    "Europe/Lisbon",
    "Europe/London",
    "Europe/Volgograd",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Easter",
    "Pacific/Kiritimati",
    "Pacific/Marquesas",
];

/// Hours as they are written, and the same as a person would say them of a weekday (Monday = 0) and a minute.
type Reading = (&'static [(&'static str, &'static str)], fn(i8, i32) -> bool);

const READINGS: [Reading; 3] = [
    (&[("mon_sat", "09:00-20:00"), ("sun", "12:00-20:00")], |day, minute| {
        (if day == 6 { 720 } else { 540 }..1200).contains(&minute)
    }),
    // Over midnight, and over every hour in which clocks are changed.
    (&[("daily", "23:30-02:15"), ("sun", "closed")], |day, minute| {
        (day != 6 && minute >= 1410) || (day != 0 && minute < 135)
    }),
    (&[("mon_fri", "10:00-13:00, 14:00-20:00")], |day, minute| {
        day < 5 && ((600..780).contains(&minute) || (840..1200).contains(&minute))
    }),
];

fn hours(rows: &[(&str, &str)]) -> WeekHours {
    let days: BTreeMap<String, String> =
        rows.iter().map(|(day, text)| ((*day).to_owned(), (*text).to_owned())).collect();
    WeekHours::from_days(&days).unwrap()
}

fn millis(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

/// Instants to look at: every quarter of an hour, and every minute within a day of a change.
fn instants(zone: &TimeZone, from: i64, to: i64) -> Vec<i64> {
    let start = Timestamp::from_millisecond(from).unwrap();
    let changes: Vec<i64> = zone
        .following(start)
        .map(|change| change.timestamp().as_millisecond())
        .take_while(|at| *at < to)
        .collect();
    let mut instants = Vec::new();
    let mut at = from;
    while at < to {
        instants.push(at);
        let is_near = changes.iter().any(|change| (at - change).abs() <= DAY);
        at = if is_near { at + MINUTE } else { (at / QUARTER + 1) * QUARTER };
    }
    instants
}

/// When it is allowed and when not, in turns, found by stepping: each stretch with its first instant.
fn stretches(civil: &[(i64, i8, i32)], is_allowed: fn(i8, i32) -> bool) -> Vec<(i64, bool)> {
    let mut stretches: Vec<(i64, bool)> = Vec::new();
    for &(at, day, minute) in civil {
        let is_open = is_allowed(day, minute);
        if stretches.last().is_none_or(|(_, before)| *before != is_open) {
            stretches.push((at, is_open));
        }
    }
    stretches
}

/// Compares decisions in a stretch: around its beginning, and now and then within. Returns how many.
fn check(hours: &WeekHours, zones: &Zones, name: &str, [here, next, after]: [(i64, bool); 3]) -> usize {
    let expected = match here.1 {
        true => Decision::Open { closes_at: next.0 },
        false => Decision::Wait { until: next.0, closes_at: after.0 },
    };
    let mut looked_at = vec![here.0, here.0 + 1, here.0 + MINUTE, next.0 - MINUTE, next.0 - 1];
    looked_at.extend((here.0..next.0).step_by(197 * MINUTE as usize));
    looked_at.retain(|at| (here.0..next.0).contains(at));
    for at in &looked_at {
        let shown = Timestamp::from_millisecond(*at).unwrap();
        assert_eq!(decide(hours, zones, *at), expected, "{name} {shown}");
    }
    looked_at.len()
}

#[test]
fn a_year_of_clocks_in_fifty_zones_is_decided_as_the_wall_shows_it() {
    let (from, to) = (millis("2026-01-01T00:00:00Z"), millis("2027-01-01T00:00:00Z"));
    let (mut decisions, mut changes) = (0, 0);
    for name in ZONES {
        let zone = zone_by_name(name).unwrap();
        changes += zone
            .following(Timestamp::from_millisecond(from).unwrap())
            .take_while(|change| change.timestamp().as_millisecond() < to)
            .count();
        let civil: Vec<(i64, i8, i32)> = instants(&zone, from, to + 9 * DAY)
            .into_iter()
            .map(|at| {
                let shown = zone.to_datetime(Timestamp::from_millisecond(at).unwrap());
                let minute = i32::from(shown.hour()) * 60 + i32::from(shown.minute());
                (at, shown.weekday().to_monday_zero_offset(), minute)
            })
            .collect();
        let zones = Zones::Person(zone);
        for (rows, is_allowed) in READINGS {
            let hours = hours(rows);
            // The first stretch began before the year.
            for three in stretches(&civil, is_allowed)[1..].windows(3).filter(|three| three[0].0 < to) {
                decisions += check(&hours, &zones, name, three.try_into().unwrap());
            }
        }
    }
    assert!(decisions > 300_000, "{decisions}");
    assert!(changes >= 60, "{changes} changes of clocks");
}

#[test]
fn remembered_ends_of_windows_are_those_that_each_person_is_judged_by() {
    let presets = presets();
    let phones = [
        "+12125550101",
        "+12125550102",
        "+13055550101",
        "+12055550101",
        "+18005550101",
        "+33612345678",
        "+442079460101",
        "+94771234567",
        "+61412345678",
        "+80012345678",
    ]
    .map(|text| Phone::from_e164(text).unwrap());
    let policies =
        [json!(null), json!({"preset": BY_REGION}), json!({"start": "21:00", "end": "08:00"}), json!("off")];
    let berlin = zone_by_name("Europe/Berlin");
    let morning = jiff::civil::date(2026, 3, 30).at(9, 0, 0, 0);
    for (policy, local_start) in policies.iter().flat_map(|policy| [(policy, None), (policy, Some(morning))])
    {
        let policy = Policy::parse(policy).unwrap();
        let timing = Timing {
            kind: Kind::Marketing,
            policy: &policy,
            zone: berlin.as_ref(),
            local_start,
            presets: &presets,
        };
        let when = (berlin.clone(), local_start);
        let mut closings = Closings::new(Kind::Marketing, policy.clone(), when, Arc::clone(&presets));
        assert_eq!(closings.is_unbounded(), policy == Policy::Off);
        let start = millis("2026-03-28T00:00:00Z");
        for now in (start..start + 4 * DAY).step_by(23 * MINUTE as usize) {
            for phone in [None].into_iter().chain(phones.iter().map(Some)) {
                let country = phone.and_then(Phone::country);
                for (timezone, state) in [
                    (None, None),
                    (Some("Asia/Colombo"), None),
                    (Some("Mars"), Some("FL")),
                    (None, Some("Texas")),
                ] {
                    let who = Whereabouts { phone, country, timezone, state };
                    assert_eq!(closings.closes_at(&who, now), timing.closes_at(&who, now), "{who:?} {now}");
                }
            }
        }
    }
}
