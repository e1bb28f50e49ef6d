//! Hours by country and US state, from `regions.toml` and the operator's own rows. Not legal advice: the
//! file says what it is and what it is not.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;

use super::week::{HoursError, WeekHours};
use super::whereabouts::Whereabouts;
use crate::domain::phone::Phone;
use crate::domain::us_state;

/// Hours by name of day, as they are written.
pub(super) type Days = BTreeMap<String, String>;

/// A row of the table that comes with the program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// `US`, `US-FL`.
    pub code: String,
    /// What is allowed, by day.
    hours: Days,
    /// What the source speaks of: `marketing`.
    pub kind: String,
    /// Statute, rule or table, and where it was read.
    pub source: String,
    /// The day on which it was looked up: `2026-11-23`.
    pub checked: String,
    /// Doubts, and what is not kept.
    #[serde(default)]
    pub note: String,
}

#[derive(Deserialize)]
struct Table {
    region: Vec<Region>,
}

/// The table that comes with the program.
static SHIPPED: LazyLock<Vec<Region>> = LazyLock::new(|| {
    let table: Table =
        toml::from_str(include_str!("regions.toml")).expect("the embedded table of regions is well-formed");
    table.region
});

/// The row for this code in the table that comes with the program.
pub fn shipped_region(code: &str) -> Option<&'static Region> {
    SHIPPED.iter().find(|region| region.code == code)
}

/// Codes and hours of the table that comes with the program, as the section of the configuration has them.
pub fn shipped_hours() -> BTreeMap<String, Days> {
    SHIPPED.iter().map(|region| (region.code.clone(), region.hours.clone())).collect()
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// The code names nothing.
    #[error("is neither a country like \"FR\" nor a US state like \"US-FL\"")]
    Code,
    /// The hours can't be read, or nothing is left of them within those of the country.
    #[error("{0}")]
    Hours(#[from] HoursError),
}

/// The hours in force, ready to be looked up.
#[derive(Clone, Debug)]
pub(super) struct Regions {
    countries: HashMap<String, WeekHours>,
    /// By two letters; each within the hours of the US.
    states: HashMap<String, WeekHours>,
}

impl Regions {
    /// Reads the rows of the section; the error comes with the code of its row.
    pub(super) fn read(rows: &BTreeMap<String, Days>) -> Result<Regions, (String, RegionError)> {
        let mut regions = Regions { countries: HashMap::new(), states: HashMap::new() };
        // In order of code: the US stand before their states.
        for (code, days) in rows {
            let wrong = |error: RegionError| (code.clone(), error);
            let hours = WeekHours::from_days(days).map_err(|error| wrong(error.into()))?;
            match code.strip_prefix("US-") {
                Some(state) if us_state::named(state) == Some(state) => {
                    let hours = match regions.countries.get("US") {
                        Some(us) => us.intersection(&hours).ok_or_else(|| wrong(HoursError::Never.into()))?,
                        None => hours,
                    };
                    regions.states.insert(state.to_owned(), hours);
                }
                None if is_country(code) => {
                    regions.countries.insert(code.clone(), hours);
                }
                _ => return Err(wrong(RegionError::Code)),
            }
        }
        Ok(regions)
    }

    /// The hours of a country as a whole.
    pub(super) fn country(&self, code: &str) -> Option<&WeekHours> {
        self.countries.get(code)
    }

    /// The hours of a US state that has some of its own.
    pub(super) fn state(&self, state: &str) -> Option<&WeekHours> {
        self.states.get(state)
    }

    /// The hours for somebody there.
    pub(super) fn find(&self, who: &Whereabouts<'_>) -> Found<'_> {
        let country = who.country.or_else(|| who.phone.and_then(Phone::country));
        let row = |code: &str| self.countries.get(code).map_or(Found::NoRow, Found::Hours);
        match country {
            Some("US") => match who.us_state() {
                Some(state) => self.states.get(state).map_or_else(|| row("US"), Found::Hours),
                None => Found::SomewhereInTheUs,
            },
            Some(country) => row(country),
            None => Found::NoRow,
        }
    }
}

/// What the table says about somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Hours(&'a WeekHours),
    /// Toll-free, or an area code that is newer than the table.
    SomewhereInTheUs,
    NoRow,
}

fn is_country(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|letter| letter.is_ascii_uppercase()) && Phone::knows_region(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_hours_a_kind_a_source_and_the_day_it_was_checked() {
        assert!(SHIPPED.len() >= 25);
        for region in SHIPPED.iter() {
            let Region { code, kind, source, checked, note, .. } = region;
            assert!(Regions::read(&[(code.clone(), region.hours.clone())].into()).is_ok(), "{code}");
            assert_eq!(kind, "marketing", "{code}");
            assert!(source.len() > 20, "{code}: {source}");
            let day: jiff::civil::Date = checked.parse().unwrap();
            assert!(day >= jiff::civil::date(2026, 11, 23), "{code}: {day}");
            let is_doubted = note.to_lowercase().contains("disagree");
            assert!(
                !is_doubted
                    || note.contains("stricter")
                    || note.contains("both")
                    || note.contains("Both")
                    || note.contains("here it is"),
                "{code}: {note}"
            );
        }
        let mut codes: Vec<&str> = SHIPPED.iter().map(|region| region.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), SHIPPED.len(), "no code stands twice");
        assert!(Regions::read(&shipped_hours()).is_ok());
    }

    #[test]
    fn the_file_says_that_it_is_no_legal_advice() {
        assert!(include_str!("regions.toml").contains("Not legal advice"));
    }

    #[test]
    fn a_state_is_never_wider_than_the_country() {
        let regions = Regions::read(&shipped_hours()).unwrap();
        let us = regions.country("US").unwrap();
        for (state, hours) in &regions.states {
            assert_eq!(us.intersection(hours).as_ref(), Some(hours), "{state}");
        }
        let days = |text: &str| Days::from([("daily".to_owned(), text.to_owned())]);
        let wide = BTreeMap::from([
            ("US".to_owned(), days("08:00-21:00")),
            ("US-FL".to_owned(), days("06:00-20:00")),
        ]);
        let cut = Regions::read(&wide).unwrap();
        assert_eq!(cut.states["FL"].to_string(), "daily 08:00-20:00");
    }

    #[test]
    fn wrong_rows_are_named() {
        let days = |text: &str| Days::from([("daily".to_owned(), text.to_owned())]);
        for code in ["us", "USA", "US-ZZ", "US-fl", "US-Florida", "XX", "CA-ON", "", "+1"] {
            let error = Regions::read(&[(code.to_owned(), days("08:00-20:00"))].into()).unwrap_err();
            assert_eq!(error, (code.to_owned(), RegionError::Code));
        }
        let never = BTreeMap::from([
            ("US".to_owned(), days("08:00-12:00")),
            ("US-FL".to_owned(), days("13:00-20:00")),
        ]);
        assert_eq!(
            Regions::read(&never).unwrap_err(),
            ("US-FL".to_owned(), RegionError::Hours(HoursError::Never))
        );
    }
}
