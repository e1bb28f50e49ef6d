//! Places: people for whom the hours say the same at any moment.
//!
//! A million people live in a few hundred places. What the hours say is worked out once for each place.

use std::collections::HashMap;

use crate::domain::quiet_hours::{WeekHours, Whereabouts};
use crate::domain::timezone::{Zone, candidates, zone_by_name};

/// Spellings of zones that are remembered at most; they have no end, the zones have.
const MOST_SPELLINGS: usize = 10_000;

/// What decides about the hours: whose clocks count, and the hours themselves, both by where they lie in
/// memory, which the presets and the table of prefixes keep still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    clock: Clock,
    hours: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Clock {
    Own(usize),
    OfPrefix(usize),
}

/// Tells places apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Values of the attribute `timezone` as they are written, by the number of their zone; `None` names none.
    spellings: HashMap<String, Option<usize>>,
    /// Zones by their present name, numbered as they were met.
    zones: HashMap<String, usize>,
}

impl Places {
    /// The place of somebody there, under these hours.
    pub(super) fn find(&mut self, who: &Whereabouts<'_>, hours: Option<&WeekHours>) -> Place {
        let hours = hours.map_or(0, |hours| std::ptr::from_ref(hours) as usize);
        let own = who.timezone.and_then(|name| self.zone(name));
        let clock = own.map_or_else(
            || Clock::OfPrefix(who.phone.map(candidates).unwrap_or_default().as_ptr() as usize),
            Clock::Own,
        );
        Place { clock, hours }
    }

    fn zone(&mut self, spelling: &str) -> Option<usize> {
        if let Some(&number) = self.spellings.get(spelling) {
            return number;
        }
        if self.spellings.len() >= MOST_SPELLINGS {
            self.spellings.clear();
        }
        let number = zone_by_name(spelling).map(|tz| {
            let name = Zone { tz }.name().to_owned();
            let next = self.zones.len();
            *self.zones.entry(name).or_insert(next)
        });
        self.spellings.insert(spelling.to_owned(), number);
        number
    }
}
