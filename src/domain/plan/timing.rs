//! When a plan may reach somebody: what its hours say, and where its local time begins.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Hours;
use crate::domain::gate::LEAST_VALIDITY;
use crate::domain::message::Kind;
use crate::domain::quiet_hours::{
    Decision, Policy, Presets, WeekHours, Whereabouts, Zones, decide, local_instant, resolve_zones,
};

/// Every hour of the week: for plans that keep to a local time without quiet hours.
static ALWAYS: LazyLock<WeekHours> = LazyLock::new(|| {
    let days = [("daily".to_owned(), "00:00-24:00".to_owned())];
    WeekHours::from_days(&days.into()).expect("the whole day is a range of hours")
});

/// The part of a plan that says when.
#[derive(Clone, Copy, Debug)]
pub struct Timing<'a> {
    /// Why it is sent.
    pub kind: Kind,
    /// When not.
    pub policy: &'a Policy,
    /// The campaign's own zone.
    pub zone: Option<&'a TimeZone>,
    /// Not before this civil time where the person is.
    pub local_start: Option<DateTime>,
    /// The hours of the house.
    pub presets: &'a Presets,
}

impl Timing<'_> {
    /// What the hours say at `now` (milliseconds UTC); `None` without quiet hours. A window about to close
    /// counts as closed: the provider's queue may take a while, and nothing may arrive after it.
    pub fn decision(&self, who: &Whereabouts<'_>, now: i64) -> Option<Decision> {
        let hours = self.presets.hours_for(self.policy, self.kind, who)?;
        let zones = self.zones(who, hours, now);
        match decide(hours, &zones, now) {
            Decision::Open { closes_at } if closes_at - now < LEAST_VALIDITY => {
                Some(decide(hours, &zones, closes_at))
            }
            decision => Some(decision),
        }
    }

    /// Both of these for somebody there.
    pub fn hours(&self, who: &Whereabouts<'_>, now: i64) -> Hours {
        Hours { not_before: self.not_before(who, now), decision: self.decision(who, now) }
    }

    /// The instant of the local start, if there is one.
    pub fn not_before(&self, who: &Whereabouts<'_>, now: i64) -> Option<i64> {
        let start = self.local_start?;
        let hours = self.presets.hours_for(self.policy, self.kind, who).unwrap_or(&ALWAYS);
        local_instant(start, &self.zones(who, hours, now))
    }

    /// The end of the window in which somebody there can be reached: of the one that is open, else of the
    /// next; behind the local start, if that is to come. `None` where no hours bound it.
    pub fn closes_at(&self, who: &Whereabouts<'_>, now: i64) -> Option<i64> {
        let from = self.not_before(who, now).map_or(now, |start| start.max(now));
        match self.decision(who, from)? {
            Decision::Open { closes_at } | Decision::Wait { closes_at, .. } => Some(closes_at),
            Decision::ZoneTooWide => None,
        }
    }

    /// Whose clocks count there.
    pub fn zones_of(&self, who: &Whereabouts<'_>, now: i64) -> Zones {
        let hours = self.presets.hours_for(self.policy, self.kind, who).unwrap_or(&ALWAYS);
        self.zones(who, hours, now)
    }

    fn zones(&self, who: &Whereabouts<'_>, hours: &WeekHours, now: i64) -> Zones {
        resolve_zones(who.timezone, who.phone, self.zone, hours, now)
    }
}
