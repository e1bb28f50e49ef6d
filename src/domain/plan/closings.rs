//! The end of the window for each of many people, at the price of a look-up.
//!
//! A million people live in a few hundred places. What the hours say is worked out once for each place and
//! remembered.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Timing;
use crate::domain::gate::LEAST_VALIDITY;
use crate::domain::message::Kind;
use crate::domain::quiet_hours::{Policy, Presets, Whereabouts};
use crate::domain::timezone::{candidates, zone_by_name};

/// Remembered at most; there are a few hundred but for spellings of zones, which have no end.
const MOST_PLACES: usize = 10_000;

/// Ends of windows under one plan.
#[derive(Clone, Debug)]
pub struct Closings {
    kind: Kind,
    policy: Policy,
    zone: Option<TimeZone>,
    local_start: Option<DateTime>,
    presets: Arc<Presets>,
    /// Values of the attribute `timezone` that name a zone, numbered as they were met.
    names: HashMap<String, usize>,
    ends: HashMap<Place, Option<i64>>,
}

/// What decides about the hours: whose clocks count, and the hours themselves, both by where they lie in
/// memory, which the presets and the table of prefixes keep still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    clock: Clock,
    hours: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Clock {
    Own(usize),
    OfPrefix(usize),
}

impl Closings {
    /// For a plan that says this. `zone` and `local_start` are the campaign's.
    pub fn new(
        kind: Kind,
        policy: Policy,
        (zone, local_start): (Option<TimeZone>, Option<DateTime>),
        presets: Arc<Presets>,
    ) -> Closings {
        let (names, ends) = (HashMap::new(), HashMap::new());
        Closings { kind, policy, zone, local_start, presets, names, ends }
    }

    /// True when no hours bound anybody: nobody need be asked for.
    pub fn is_unbounded(&self) -> bool {
        self.presets.hours_for(&self.policy, self.kind, &Whereabouts::default()).is_none()
    }

    /// As [`Timing::closes_at`] says it.
    pub fn closes_at(&mut self, who: &Whereabouts<'_>, now: i64) -> Option<i64> {
        let hours = self.presets.hours_for(&self.policy, self.kind, who)?;
        let hours = std::ptr::from_ref(hours) as usize;
        let place = Place { clock: self.clock(who), hours };
        if let Some(&end) = self.ends.get(&place)
            && end.is_none_or(|end| end - now >= LEAST_VALIDITY)
        {
            return end;
        }
        if self.ends.len() >= MOST_PLACES {
            self.ends.clear();
            self.names.clear();
        }
        let timing = Timing {
            kind: self.kind,
            policy: &self.policy,
            zone: self.zone.as_ref(),
            local_start: self.local_start,
            presets: &self.presets,
        };
        let end = timing.closes_at(who, now);
        self.ends.insert(place, end);
        end
    }

    fn clock(&mut self, who: &Whereabouts<'_>) -> Clock {
        let own = who.timezone.and_then(|name| match self.names.get(name) {
            Some(&number) => Some(number),
            None => {
                zone_by_name(name)?;
                // In capitals or not, a zone has many spellings; a number is never given twice.
                let number = self.names.len();
                self.names.insert(name.to_owned(), number);
                Some(number)
            }
        });
        own.map_or_else(
            || Clock::OfPrefix(who.phone.map(candidates).unwrap_or_default().as_ptr() as usize),
            Clock::Own,
        )
    }
}
