//! The end of the window for each of many people, at the price of a look-up.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Timing;
use super::places::{Place, Places};
use crate::domain::gate::LEAST_VALIDITY;
use crate::domain::message::Kind;
use crate::domain::quiet_hours::{Policy, Presets, Whereabouts};

/// Ends of windows under one plan.
#[derive(Clone, Debug)]
pub struct Closings {
    kind: Kind,
    policy: Policy,
    zone: Option<TimeZone>,
    local_start: Option<DateTime>,
    presets: Arc<Presets>,
    places: Places,
    ends: HashMap<Place, Option<i64>>,
}

impl Closings {
    /// For a plan that says this. `zone` and `local_start` are the campaign's.
    pub fn new(
        kind: Kind,
        policy: Policy,
        (zone, local_start): (Option<TimeZone>, Option<DateTime>),
        presets: Arc<Presets>,
    ) -> Closings {
        let (places, ends) = (Places::default(), HashMap::new());
        Closings { kind, policy, zone, local_start, presets, places, ends }
    }

    /// True when no hours bound anybody: nobody need be asked for.
    pub fn is_unbounded(&self) -> bool {
        self.presets.hours_for(&self.policy, self.kind, &Whereabouts::default()).is_none()
    }

    /// As [`Timing::closes_at`] says it.
    pub fn closes_at(&mut self, who: &Whereabouts<'_>, now: i64) -> Option<i64> {
        let hours = self.presets.hours_for(&self.policy, self.kind, who)?;
        let place = self.places.find(who, Some(hours));
        if let Some(&end) = self.ends.get(&place)
            && end.is_none_or(|end| end - now >= LEAST_VALIDITY)
        {
            return end;
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
}
