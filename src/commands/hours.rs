//! `ese hours`: the table of hours by country and US state with its sources; with a number, what is known of
//! the place where its owner is, and whether they may be written to now.

use std::io::Write;

use anyhow::{Context, Result, bail};
use jiff::{Timestamp, tz::TimeZone};

use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::domain::message::Kind;
use crate::domain::phone::Phone;
use crate::domain::plan::Timing;
use crate::domain::quiet_hours::{
    BY_REGION, Decision, Policy, Presets, RegionInForce, Whereabouts, shipped_region,
};
use crate::domain::timezone::{Zone, candidates, zone_by_name};
use crate::domain::us_state;

const NO_ADVICE: &str =
    "Not legal advice, and not complete: ask somebody who knows what the law asks of you.";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A number, such as +12125550101: what holds for it now. Left out: the whole table.
    phone: Option<String>,
    /// The person's attribute `timezone`.
    #[arg(long, value_name = "ZONE", requires = "phone")]
    timezone: Option<String>,
    /// The person's attribute `state`.
    #[arg(long, requires = "phone")]
    state: Option<String>,
}

pub(super) fn run(config: &Config, args: &Args) -> Result<()> {
    let presets = &config.quiet_hours;
    if let Some(zone) = args.timezone.as_deref().filter(|zone| zone_by_name(zone).is_none()) {
        bail!("“{zone}” is no time zone: write it like America/New_York");
    }
    if let Some(state) = args.state.as_deref().filter(|state| us_state::named(state).is_none()) {
        bail!("“{state}” is no US state: write it like FL or Florida");
    }
    let text = match &args.phone {
        Some(phone) => {
            let phone = Phone::parse(phone, None)?;
            let who = Whereabouts {
                phone: Some(&phone),
                country: phone.country(),
                timezone: args.timezone.as_deref(),
                state: args.state.as_deref(),
            };
            of_person(presets, &who, Clock::system().now())
        }
        None => table(presets),
    };
    std::io::stdout().write_all(text.as_bytes()).context("standard output is closed")
}

/// Every row with its source.
fn table(presets: &Presets) -> String {
    let mut text = format!("Hours of the preset {BY_REGION}, in the person's own time.\n{NO_ADVICE}\n\n");
    for region in presets.regions() {
        text.push_str(&format!("{:<6} {}\n", region.code, region.hours));
        text.push_str(&source(&region));
    }
    text.push_str("\nEverybody else, and US numbers of no known state: the preset house.\n");
    text
}

/// Where a row comes from, in indented lines.
fn source(region: &RegionInForce<'_>) -> String {
    match shipped_region(region.code).filter(|_| !region.is_own) {
        Some(row) => {
            let note = if row.note.is_empty() { String::new() } else { format!("       {}\n", row.note) };
            format!("       {} ({}, checked {})\n{note}", row.source, row.kind, row.checked)
        }
        None => "       your configuration\n".to_owned(),
    }
}

fn of_person(presets: &Presets, who: &Whereabouts<'_>, now: Millis) -> String {
    let own = who.timezone.and_then(zone_by_name);
    let zones: Vec<&str> = match &own {
        Some(zone) => vec![zone.iana_name().unwrap_or_default()],
        None => who.phone.map(candidates).unwrap_or_default().iter().map(Zone::name).collect(),
    };
    let state = who.us_state().filter(|_| who.country == Some("US"));
    let mut text = format!("Country   {}\n", who.country.unwrap_or("unknown"));
    if let Some(state) = state {
        text.push_str(&format!("State     {state}\n"));
    }
    text.push_str(&format!("Zones     {}\n", zones.join(", ")));
    let local = own.clone().or_else(|| zone_by_name(zones.first()?));
    for name in presets.names() {
        let policy = Policy::Preset(name.to_owned());
        let timing =
            Timing { kind: Kind::Marketing, policy: &policy, zone: None, local_start: None, presets };
        let hours = presets.hours_for(&policy, Kind::Marketing, who);
        let hours = hours.map(ToString::to_string).unwrap_or_default();
        let verdict = told(timing.decision(who, now), local.as_ref());
        text.push_str(&format!("\n{name}: {hours}\n       {verdict}\n"));
        if name == BY_REGION {
            let row = presets.region_of(who);
            let told = row.map(|row| format!("       row {}:\n{}", row.code, source(&row)));
            text.push_str(&told.unwrap_or_else(|| "       no row: the preset house\n".to_owned()));
        }
    }
    text.push_str(&format!("\n{NO_ADVICE}\n"));
    if who.phone.is_some_and(|_| who.timezone.is_none()) {
        text.push_str("A number tells where it was given out, not where its owner is now.\n");
    }
    text
}

fn told(decision: Option<Decision>, zone: Option<&TimeZone>) -> String {
    let at = |millis: Millis| {
        let instant = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
        match zone {
            Some(zone) => instant.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string(),
            None => instant.to_string(),
        }
    };
    match decision {
        Some(Decision::Open { closes_at }) => format!("open now, until {}", at(closes_at)),
        Some(Decision::Wait { until, .. }) => format!("closed now, until {}", at(until)),
        Some(Decision::ZoneTooWide) => {
            "never: the number may be in too many zones; give the campaign a zone".to_owned()
        }
        None => "open".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presets() -> Presets {
        let text = "[quiet_hours.regions]\nDE = { mon_sat = '09:00-18:00' }";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), []).unwrap().config.quiet_hours
    }

    fn asked(phone: &str, timezone: Option<&str>, state: Option<&str>) -> String {
        let phone = Phone::from_e164(phone).unwrap();
        let who = Whereabouts { phone: Some(&phone), country: phone.country(), timezone, state };
        let now: Timestamp = "2026-11-24T01:30:00Z".parse().unwrap();
        of_person(&presets(), &who, now.as_millisecond())
    }

    #[test]
    fn the_table_names_every_source_and_what_is_ones_own() {
        let text = table(&presets());
        for part in [
            "US-FL  daily 08:00-20:00\n       Fla. Stat. § 501.616(6)",
            "checked 2026-11-23",
            "DE     mon-sat 09:00-18:00\n       your configuration\n",
            "Not legal advice",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_number_is_told_its_place_its_hours_and_what_holds_now() {
        for (text, parts) in [
            (
                asked("+13055550101", None, None),
                [
                    "State     FL\nZones     America/New_York\n",
                    "house: mon-sat 09:00-20:00, sun 12:00-20:00\n       closed now, until Tue 2026-11-24 09:00 EST\n",
                    "by_region: daily 08:00-20:00\n       closed now, until Tue 2026-11-24 08:00 EST\n       row US-FL:\n",
                    "where it was given out",
                ],
            ),
            (
                asked("+13055550101", Some("America/Los_Angeles"), Some("California")),
                [
                    "State     CA\nZones     America/Los_Angeles\n",
                    "house: mon-sat 09:00-20:00, sun 12:00-20:00\n       open now, until Mon 2026-11-23 20:00 PST\n",
                    "open now, until Mon 2026-11-23 21:00 PST\n       row US:\n",
                    "Not legal advice",
                ],
            ),
            (
                asked("+18005550101", None, None),
                [
                    "Country   US\nZones     ",
                    "by_region: mon-sat 09:00-20:00",
                    "too many zones",
                    "no row: the preset house",
                ],
            ),
        ] {
            for part in parts {
                assert!(text.contains(part), "{part} in {text}");
            }
        }
    }
}
