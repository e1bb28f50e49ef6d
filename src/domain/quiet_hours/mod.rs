//! When a person may be written to: weekly hours, presets, and the next allowed minute.
//!
//! Hours are civil time in the person's zone. [`Policy`] is what a campaign says, [`Presets`]
//! what the configuration says, [`WeekHours`] what follows for one number, and [`decide`] turns
//! them into instants. Nothing here knows what time it is: `now` comes in as milliseconds UTC.

mod decide;
mod policy;
mod presets;
mod regions;
mod week;
mod whereabouts;

pub use decide::{Decision, Zones, decide, local_instant, resolve_zones};
pub use policy::{Policy, PolicyError};
pub use presets::{BY_REGION, Presets, PresetsError, RegionInForce};
pub use regions::{Region, RegionError, shipped_hours, shipped_region};
pub use week::{HoursError, WeekHours};
pub use whereabouts::Whereabouts;
