//! Nights on which clocks change, several zones at once, and the naive check by the minute.

use proptest::prelude::*;

use super::*;

fn millis(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn show(at: i64) -> String {
    Timestamp::from_millisecond(at).unwrap().to_string()
}

fn zone(name: &str) -> TimeZone {
    zone_by_name(name).unwrap()
}

fn hours(rows: &[(&str, &str)]) -> WeekHours {
    WeekHours::from_days(&rows.iter().map(|(day, text)| ((*day).to_owned(), (*text).to_owned())).collect())
        .unwrap()
}

fn leaked(names: &[&str]) -> &'static [Zone] {
    let zones: Vec<Zone> = names.iter().map(|name| Zone { tz: zone(name) }).collect();
    zones.leak()
}

fn told(decision: Decision) -> String {
    match decision {
        Decision::Open { closes_at } => format!("open, closes {}", show(closes_at)),
        Decision::Wait { until, closes_at } => {
            format!("wait {}, closes {}", show(until), show(closes_at))
        }
        Decision::ZoneTooWide => "too wide".to_owned(),
    }
}

/// Zone, hours of every day, now, and what is decided. Instants are UTC.
const NIGHTS: &[(&str, &str, &str, &str)] = &[
    // New York springs forward on 8 March 2026, 02:00 to 03:00, and back on 1 November.
    (
        "America/New_York",
        "02:30-20:00",
        "2026-03-08T05:00:00Z",
        "wait 2026-03-08T07:00:00Z, closes 2026-03-09T00:00:00Z",
    ),
    (
        "America/New_York",
        "02:10-02:50",
        "2026-03-08T05:00:00Z",
        "wait 2026-03-09T06:10:00Z, closes 2026-03-09T06:50:00Z",
    ),
    (
        "America/New_York",
        "09:00-20:00",
        "2026-03-08T12:59:00Z",
        "wait 2026-03-08T13:00:00Z, closes 2026-03-09T00:00:00Z",
    ),
    ("America/New_York", "20:00-01:30", "2026-11-01T05:00:00Z", "open, closes 2026-11-01T05:30:00Z"),
    (
        "America/New_York",
        "20:00-01:30",
        "2026-11-01T05:45:00Z",
        "wait 2026-11-01T06:00:00Z, closes 2026-11-01T06:30:00Z",
    ),
    (
        "America/New_York",
        "09:00-20:00",
        "2026-11-01T00:00:00Z",
        "wait 2026-11-01T14:00:00Z, closes 2026-11-02T01:00:00Z",
    ),
    // London: 29 March 01:00 to 02:00, 25 October 02:00 to 01:00.
    (
        "Europe/London",
        "01:15-21:00",
        "2026-03-29T00:30:00Z",
        "wait 2026-03-29T01:00:00Z, closes 2026-03-29T20:00:00Z",
    ),
    ("Europe/London", "22:00-06:00", "2026-10-24T21:30:00Z", "open, closes 2026-10-25T06:00:00Z"),
    // Sydney: back on 5 April, forward on 4 October.
    (
        "Australia/Sydney",
        "08:00-21:00",
        "2026-04-04T12:00:00Z",
        "wait 2026-04-04T22:00:00Z, closes 2026-04-05T11:00:00Z",
    ),
    (
        "Australia/Sydney",
        "08:00-21:00",
        "2026-10-03T12:00:00Z",
        "wait 2026-10-03T21:00:00Z, closes 2026-10-04T10:00:00Z",
    ),
    // Lord Howe moves by half an hour: +11:00 in summer, +10:30 in winter.
    (
        "Australia/Lord_Howe",
        "08:00-21:00",
        "2026-04-04T12:00:00Z",
        "wait 2026-04-04T21:30:00Z, closes 2026-04-05T10:30:00Z",
    ),
    (
        "Australia/Lord_Howe",
        "02:15-21:00",
        "2026-10-03T15:00:00Z",
        "wait 2026-10-03T15:30:00Z, closes 2026-10-04T10:00:00Z",
    ),
    // No summer time any more.
    (
        "America/Sao_Paulo",
        "08:00-21:00",
        "2026-11-01T00:30:00Z",
        "wait 2026-11-01T11:00:00Z, closes 2026-11-02T00:00:00Z",
    ),
    (
        "Asia/Tehran",
        "08:00-21:00",
        "2026-03-22T00:00:00Z",
        "wait 2026-03-22T04:30:00Z, closes 2026-03-22T17:30:00Z",
    ),
    (
        "Asia/Kolkata",
        "08:00-21:00",
        "2026-11-23T15:30:00Z",
        "wait 2026-11-24T02:30:00Z, closes 2026-11-24T15:30:00Z",
    ),
    // Casablanca leaves +01 for Ramadan, 15 February to 22 March 2026.
    (
        "Africa/Casablanca",
        "08:00-21:00",
        "2026-02-15T00:00:00Z",
        "wait 2026-02-15T08:00:00Z, closes 2026-02-15T21:00:00Z",
    ),
    (
        "Africa/Casablanca",
        "08:00-21:00",
        "2026-03-22T00:00:00Z",
        "wait 2026-03-22T07:00:00Z, closes 2026-03-22T20:00:00Z",
    ),
];

#[test]
fn hours_are_civil_time_on_the_nights_when_clocks_change() {
    for (name, daily, now, expected) in NIGHTS {
        let zones = Zones::Person(zone(name));
        let decision = decide(&hours(&[("daily", daily)]), &zones, millis(now));
        assert_eq!(told(decision), *expected, "{name} {daily} {now}");
    }
}

#[test]
fn sunday_opens_at_noon() {
    let house = hours(&[("mon_sat", "09:00-20:00"), ("sun", "12:00-20:00")]);
    let zones = Zones::Prefix(leaked(&["America/Chicago"]));
    for (now, expected) in [
        ("2026-11-22T15:00:00Z", "wait 2026-11-22T18:00:00Z, closes 2026-11-23T02:00:00Z"),
        ("2026-11-23T15:00:00Z", "open, closes 2026-11-24T02:00:00Z"),
        ("2026-11-24T02:00:00Z", "wait 2026-11-24T15:00:00Z, closes 2026-11-25T02:00:00Z"),
    ] {
        assert_eq!(told(decide(&house, &zones, millis(now))), expected, "{now}");
    }
}

#[test]
fn every_zone_must_allow() {
    let daily = hours(&[("daily", "09:00-20:00")]);
    let zones = Zones::Prefix(leaked(&["America/New_York", "America/Los_Angeles"]));
    for (now, expected) in [
        ("2026-11-23T14:00:00Z", "wait 2026-11-23T17:00:00Z, closes 2026-11-24T01:00:00Z"),
        ("2026-11-24T00:59:59Z", "open, closes 2026-11-24T01:00:00Z"),
    ] {
        assert_eq!(told(decide(&daily, &zones, millis(now))), expected, "{now}");
    }
    let apart = Zones::Prefix(leaked(&["Pacific/Auckland", "Europe/London"]));
    let short = hours(&[("daily", "12:00-13:00")]);
    assert_eq!(decide(&short, &apart, 0), Decision::ZoneTooWide);
}

#[test]
fn zones_that_part_within_the_week_are_both_asked() {
    // Both show the same until New York leaves summer time on 1 November.
    let zones = Zones::Prefix(leaked(&["America/Caracas", "America/New_York"]));
    let daily = hours(&[("daily", "09:00-20:00")]);
    assert_eq!(
        told(decide(&daily, &zones, millis("2026-11-01T00:30:00Z"))),
        "wait 2026-11-01T14:00:00Z, closes 2026-11-02T00:00:00Z"
    );
}

#[test]
fn hours_without_end_stay_open_to_the_horizon() {
    let always = hours(&[("daily", "00:00-24:00")]);
    let now = millis("2026-10-24T21:30:00Z");
    assert_eq!(
        decide(&always, &Zones::Person(zone("Europe/London")), now),
        Decision::Open { closes_at: now + HORIZON }
    );
}

#[test]
fn the_zone_is_the_persons_then_the_prefixes_then_the_campaigns() {
    let daily = hours(&[("daily", "09:00-20:00")]);
    let now = millis("2026-11-23T14:00:00Z");
    let toll_free = Phone::from_e164("+18005550101");
    let german = Phone::from_e164("+4930123456");
    let global = Phone::from_e164("+80012345678");
    let chicago = zone("US/Central");
    let berlin = zone("Europe/Berlin");
    let kind = |attribute, phone: &Option<Phone>, campaign| match resolve_zones(
        attribute,
        phone.as_ref(),
        campaign,
        &daily,
        now,
    ) {
        Zones::Person(_) => "person",
        Zones::Prefix(_) => "prefix",
        Zones::Campaign(_) => "campaign",
        Zones::TooWide(_) => "too wide",
    };
    assert_eq!(kind(Some("Asia/Colombo"), &german, Some(&berlin)), "person");
    assert_eq!(kind(Some("Sri Lanka"), &german, Some(&chicago)), "prefix");
    assert_eq!(kind(None, &german, None), "prefix");
    assert_eq!(kind(None, &toll_free, Some(&chicago)), "campaign");
    assert_eq!(kind(None, &toll_free, Some(&berlin)), "too wide");
    assert_eq!(kind(None, &toll_free, None), "too wide");
    assert_eq!(kind(None, &global, Some(&berlin)), "campaign");
    assert_eq!(kind(None, &None, Some(&berlin)), "campaign");
    assert_eq!(kind(None, &None, None), "too wide");
}

#[test]
fn two_hours_a_day_are_just_enough() {
    // Five hours apart: nine hours a day share four, seven share two, less than seven too few.
    let apart = leaked(&["Asia/Dubai", "Asia/Tokyo"]);
    let now = millis("2026-11-23T14:00:00Z");
    for (daily, enough) in [("09:00-18:00", true), ("09:00-16:00", true), ("09:00-15:59", false)] {
        for days in ["daily", "mon_fri", "wed"] {
            assert_eq!(is_wide_enough(apart, &hours(&[(days, daily)]), now), enough, "{days} {daily}");
        }
    }
}

#[test]
fn a_local_time_is_reached_when_the_last_zone_reaches_it() {
    let nine = jiff::civil::date(2026, 12, 1).at(9, 0, 0, 0);
    let coasts = Zones::Prefix(leaked(&["America/New_York", "America/Los_Angeles"]));
    for (zones, instant) in [
        (coasts, Some("2026-12-01T17:00:00Z")),
        (Zones::Person(zone("Asia/Colombo")), Some("2026-12-01T03:30:00Z")),
        (Zones::TooWide(&[]), None),
    ] {
        assert_eq!(local_instant(nine, &zones), instant.map(millis));
    }
    let skipped = jiff::civil::date(2026, 3, 8).at(2, 30, 0, 0);
    let twice = jiff::civil::date(2026, 11, 1).at(1, 30, 0, 0);
    let york = Zones::Campaign(zone("America/New_York"));
    assert_eq!(local_instant(skipped, &york), Some(millis("2026-03-08T07:30:00Z")));
    assert_eq!(local_instant(twice, &york), Some(millis("2026-11-01T05:30:00Z")));
}

const ZONES: [&str; 10] = [
    "America/New_York",
    "America/Los_Angeles",
    "Europe/London",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Tehran",
    "Asia/Kolkata",
    "Africa/Casablanca",
    "Pacific/Chatham",
];

/// Nights of change in 2026, by which the random instants lie.
const CHANGES: [&str; 7] = [
    "2026-02-15T02:00:00Z",
    "2026-03-08T07:00:00Z",
    "2026-03-29T01:00:00Z",
    "2026-04-04T15:00:00Z",
    "2026-10-03T15:30:00Z",
    "2026-10-25T01:00:00Z",
    "2026-11-01T06:00:00Z",
];

fn is_allowed(hours: &WeekHours, zones: &[Zone], at: i64) -> bool {
    zones.iter().all(|zone| {
        let civil = zone.tz.to_datetime(Timestamp::from_millisecond(at).unwrap());
        let weekday = civil.weekday().to_monday_zero_offset() as usize;
        hours.allows(weekday, civil.hour() as u16 * 60 + civil.minute() as u16)
    })
}

fn any_hours() -> impl Strategy<Value = WeekHours> {
    let range = (0_u16..96, 0_u16..96).prop_filter("not empty", |(from, to)| from != to);
    (range.clone(), range).prop_map(|(week, sunday)| {
        let text = |(from, to): (u16, u16)| {
            let time = |at: u16| format!("{:02}:{:02}", at / 4, at % 4 * 15);
            format!("{}-{}", time(from), time(to))
        };
        hours(&[("mon_sat", &text(week)), ("sun", &text(sunday))])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn decisions_agree_with_the_clock_on_the_wall_minute_by_minute(
        hours in any_hours(),
        names in proptest::collection::vec(0..ZONES.len(), 1..4),
        change in 0..CHANGES.len(),
        minutes in -3000_i64..1500,
        rest in 0..MINUTE,
    ) {
        let names: Vec<&str> = names.iter().map(|&at| ZONES[at]).collect();
        let zones = leaked(&names);
        let now = millis(CHANGES[change]) + minutes * MINUTE + rest;
        let next_minute = (now - rest) + MINUTE;
        let (from, to, allowed) = match decide(&hours, &Zones::Prefix(zones), now) {
            Decision::Open { closes_at } => {
                prop_assert!(is_allowed(&hours, zones, closes_at - MINUTE) || closes_at < next_minute);
                if closes_at < now + HORIZON {
                    prop_assert!(!is_allowed(&hours, zones, closes_at));
                }
                (now, closes_at, true)
            }
            Decision::Wait { until, closes_at } => {
                prop_assert!(is_allowed(&hours, zones, until));
                prop_assert!(is_allowed(&hours, zones, closes_at - 1));
                if closes_at < now + HORIZON {
                    prop_assert!(!is_allowed(&hours, zones, closes_at));
                }
                (now, until, false)
            }
            Decision::ZoneTooWide => (now, now + HORIZON, false),
        };
        prop_assert_eq!(is_allowed(&hours, zones, from), allowed);
        let mut at = next_minute;
        while at < to.min(now + 3 * DAY) {
            prop_assert_eq!(is_allowed(&hours, zones, at), allowed, "{} {}", show(now), show(at));
            at += MINUTE;
        }
        // One zone by itself takes the short road and must say the same.
        if let [only] = zones {
            prop_assert_eq!(
                decide(&hours, &Zones::Person(only.tz.clone()), now),
                decide(&hours, &Zones::Prefix(zones), now)
            );
        }
    }
}
