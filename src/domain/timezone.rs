//! From a phone number to the time zones in which its owner may be.
//!
//! The table is libphonenumber's: the longest prefix of the number names one or more zones. A
//! number tells where it was issued, not where the person is; a `timezone` attribute of the
//! person goes before it (see [`super::quiet_hours::resolve_zones`]).

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::phone::Phone;

/// A time zone of the IANA database.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its rules.
    pub tz: TimeZone,
}

impl Zone {
    /// The zone's present name: `Asia/Kolkata`, also where the data says `Asia/Calcutta`.
    pub fn name(&self) -> &str {
        canonical_name(&self.tz)
    }
}

/// Every zone in which the owner of this number may be, without repetition, in order of name.
/// Empty for numbers of no country (+800, +883).
pub fn candidates(phone: &Phone) -> &'static [Zone] {
    TABLE.find(phone.digits())
}

/// The zone of this IANA name, in any case, old names too. None for unknown names.
/// Repeated look-ups are answered from jiff's cache.
pub fn zone_by_name(name: &str) -> Option<TimeZone> {
    let zone = jiff::tz::db().get(name.trim()).ok()?;
    (!zone.is_unknown()).then_some(zone)
}

/// Whether both are the same zone, if need be under an old and a new name.
pub fn is_same_zone(a: &TimeZone, b: &TimeZone) -> bool {
    a == b || (!canonical_name(a).is_empty() && canonical_name(a) == canonical_name(b))
}

fn canonical_name(zone: &TimeZone) -> &str {
    zone.primary_iana_name().or_else(|| zone.iana_name()).unwrap_or_default()
}

/// Longest prefix in the data, in digits. A test holds it.
const LONGEST_PREFIX: usize = 9;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("data/phone_tz_prefixes.json")));

#[derive(Deserialize)]
struct Source {
    prefixes: BTreeMap<String, Vec<String>>,
}

struct Table {
    /// Prefix, as a number, to an index in `sets`. No prefix begins with 0, so none collide.
    by_prefix: HashMap<u32, usize>,
    sets: Vec<Vec<Zone>>,
}

impl Table {
    fn read(json: &str) -> Table {
        let source: Source = serde_json::from_str(json).expect("the embedded prefix table is well-formed");
        let mut index: HashMap<Vec<String>, usize> = HashMap::new();
        let mut sets = Vec::new();
        let by_prefix = source
            .prefixes
            .into_iter()
            .filter_map(|(prefix, names)| {
                let at = *index.entry(names).or_insert_with_key(|names| {
                    sets.push(zones_of(names));
                    sets.len() - 1
                });
                Some((prefix.parse().ok()?, at))
            })
            .collect();
        Table { by_prefix, sets }
    }

    fn find(&self, digits: &str) -> &[Zone] {
        let start = digits.get(..LONGEST_PREFIX).unwrap_or(digits);
        let mut prefix: u32 = start.parse().unwrap_or(0);
        while prefix > 0 {
            if let Some(&at) = self.by_prefix.get(&prefix) {
                return self.sets.get(at).map(Vec::as_slice).unwrap_or_default();
            }
            prefix /= 10;
        }
        &[]
    }
}

fn zones_of(names: &[String]) -> Vec<Zone> {
    let mut zones: Vec<Zone> =
        names.iter().filter_map(|name| zone_by_name(name)).map(|tz| Zone { tz }).collect();
    zones.sort_by(|a, b| a.name().cmp(b.name()));
    zones.dedup_by(|a, b| a.name() == b.name());
    zones
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(phone: &str) -> Vec<&'static str> {
        candidates(&Phone::from_e164(phone).unwrap()).iter().map(Zone::name).collect()
    }

    #[test]
    fn a_number_names_the_zones_of_its_longest_prefix() {
        for (phone, zones) in [
            ("+12125550101", vec!["America/New_York"]),
            ("+14155550101", vec!["America/Los_Angeles"]),
            ("+12082155501", vec!["America/Los_Angeles"]),
            ("+12082015501", vec!["America/Denver"]),
            ("+12082005501", vec!["America/Boise", "America/Los_Angeles"]),
            ("+94771234567", vec!["Asia/Colombo"]),
            ("+919812345678", vec!["Asia/Kolkata"]),
            ("+442079460101", vec!["Europe/London"]),
            ("+447400123456", vec!["Europe/Guernsey", "Europe/Isle_of_Man", "Europe/London"]),
            ("+80012345678", vec![]),
            ("+9991", vec![]),
        ] {
            assert_eq!(names(phone), zones, "{phone}");
        }
        assert_eq!(names("+18005550101").len(), 42);
    }

    #[test]
    fn every_name_in_the_data_is_a_known_zone_and_every_prefix_is_found() {
        let source: Source = serde_json::from_str(include_str!("data/phone_tz_prefixes.json")).unwrap();
        assert_eq!(source.prefixes.len(), 3240);
        for (prefix, names) in &source.prefixes {
            assert!(prefix.len() <= LONGEST_PREFIX, "{prefix}");
            assert!(!prefix.starts_with('0'), "{prefix}");
            assert!(names.iter().all(|name| zone_by_name(name).is_some()));
            let found = TABLE.find(prefix);
            assert!(!found.is_empty(), "{prefix}");
            for name in names {
                let zone = zone_by_name(name).unwrap();
                assert!(found.iter().any(|one| is_same_zone(&one.tz, &zone)), "{prefix} {name}");
            }
        }
    }

    #[test]
    fn zones_are_found_by_old_and_new_names() {
        let old = zone_by_name("asia/calcutta").unwrap();
        let new = zone_by_name(" Asia/Kolkata ").unwrap();
        assert!(is_same_zone(&old, &new));
        assert!(!is_same_zone(&new, &zone_by_name("Asia/Colombo").unwrap()));
        let both = ["Asia/Calcutta", "Asia/Kolkata"].map(str::to_owned);
        assert_eq!(zones_of(&both).len(), 1);
        for bad in ["", "Mars/Olympus", "+05:30", "EST5EDT4", "Etc/Unknown"] {
            assert!(zone_by_name(bad).is_none(), "{bad}");
        }
    }
}
