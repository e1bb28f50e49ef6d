//! What the hours say to everybody of an audience at one moment, and when each place opens from then on.

use std::collections::HashMap;
use std::sync::Arc;

use super::places::{Place, Places};
use super::{Person, Plan};
use crate::domain::gate::LEAST_VALIDITY;
use crate::domain::phone::Phone;
use crate::domain::quiet_hours::{Decision, Presets, Whereabouts, Zones};
use crate::domain::timezone::Zone;

/// What the hours say to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The campaign's local time where the person is.
    pub not_before: Option<i64>,
    /// `None` without quiet hours.
    pub decision: Option<Decision>,
}

/// A place, as the timetable numbers them.
pub type PlaceNumber = usize;

/// The hours of many people under one plan, as seen at one moment.
#[derive(Debug)]
pub struct Timetable {
    plan: Arc<Plan>,
    presets: Arc<Presets>,
    now: i64,
    places: Places,
    numbers: HashMap<Place, PlaceNumber>,
    rows: Vec<Row>,
}

/// A place, and somebody there.
#[derive(Debug)]
struct Row {
    hours: Hours,
    phone: Option<Phone>,
    country: Option<String>,
    timezone: Option<String>,
    state: Option<String>,
}

impl Row {
    fn whereabouts(&self) -> Whereabouts<'_> {
        Whereabouts {
            phone: self.phone.as_ref(),
            country: self.country.as_deref(),
            timezone: self.timezone.as_deref(),
            state: self.state.as_deref(),
        }
    }
}

impl Timetable {
    /// For `plan`, as seen at `now` (milliseconds UTC).
    pub fn new(plan: Arc<Plan>, presets: Arc<Presets>, now: i64) -> Timetable {
        let (places, numbers, rows) = (Places::default(), HashMap::new(), Vec::new());
        Timetable { plan, presets, now, places, numbers, rows }
    }

    /// What the hours say to this person, and where the person is.
    pub fn look(&mut self, person: &Person) -> (PlaceNumber, Hours) {
        let who = person.whereabouts();
        let timing = self.plan.timing(&self.presets);
        let hours = self.presets.hours_for(&self.plan.policy, self.plan.kind, &who);
        let place = self.places.find(&who, hours);
        if let Some(&number) = self.numbers.get(&place)
            && let Some(row) = self.rows.get(number)
        {
            return (number, row.hours);
        }
        let hours = timing.hours(&who, self.now);
        let number = self.rows.len();
        self.rows.push(Row {
            hours,
            phone: person.phone.clone(),
            country: who.country.map(str::to_owned),
            timezone: who.timezone.map(str::to_owned),
            state: who.state.map(str::to_owned),
        });
        self.numbers.insert(place, number);
        (number, hours)
    }

    /// Whose clocks count there, by name: more than one where a number fits several zones and all have to allow.
    /// Empty where no zone is known.
    pub fn zones(&self, place: PlaceNumber) -> Vec<String> {
        let Some(row) = self.rows.get(place) else {
            return Vec::new();
        };
        match self.plan.timing(&self.presets).zones_of(&row.whereabouts(), self.now) {
            Zones::Person(tz) | Zones::Campaign(tz) => vec![Zone { tz }.name().to_owned()],
            Zones::Prefix(zones) | Zones::TooWide(zones) => {
                zones.iter().map(|zone| zone.name().to_owned()).collect()
            }
        }
    }

    /// The first span at or after `at` in which people there may be written to, from and to; `None`: never.
    pub fn open(&self, place: PlaceNumber, at: i64) -> Option<(i64, i64)> {
        let row = self.rows.get(place)?;
        let who = row.whereabouts();
        let timing = self.plan.timing(&self.presets);
        let from = row.hours.not_before.map_or(at, |start| start.max(at));
        match timing.decision(&who, from) {
            None => Some((from, i64::MAX)),
            Some(Decision::Open { closes_at }) => Some((from, closes_at - LEAST_VALIDITY + 1)),
            Some(Decision::Wait { until, closes_at }) => {
                Some((until, (closes_at - LEAST_VALIDITY + 1).max(until + 1)))
            }
            Some(Decision::ZoneTooWide) => None,
        }
    }
}
