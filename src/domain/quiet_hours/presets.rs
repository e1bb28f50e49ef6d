//! The house rules of `config.toml`: allowed hours by country calling prefix.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

use super::{
    policy::{Policy, PolicyError},
    regions::{Days, Found, RegionError, Regions, shipped_hours},
    week::{HoursError, WeekHours},
    whereabouts::Whereabouts,
};
use crate::domain::message::Kind;
use crate::domain::phone::Phone;

/// The key of the hours for numbers that no prefix names.
const ELSEWHERE: &str = "*";

/// The word for no restriction.
const OFF: &str = "off";

/// The preset of hours by country and US state.
pub const BY_REGION: &str = "by_region";

/// The preset that fills what the table of regions leaves open.
const HOUSE: &str = "house";

/// The section `[quiet_hours]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Section", into = "Section")]
pub struct Presets {
    section: Section,
    by_name: BTreeMap<String, Preset>,
    regions: Regions,
    /// The house hours by prefix, cut by those of the US: for US numbers of no known state.
    somewhere_in_the_us: Option<Preset>,
}

/// The section as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    marketing: String,
    transactional: String,
    presets: BTreeMap<String, BTreeMap<String, Days>>,
    /// By country and US state. Left out: the table that comes with the program.
    #[serde(default = "shipped_hours")]
    regions: BTreeMap<String, Days>,
}

/// Hours by prefix with its `+`, the longest prefix first, `*` last.
#[derive(Clone, Debug)]
struct Preset(Vec<(String, WeekHours)>);

/// What is wrong in the section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresetsError {
    /// A kind names a preset that is not there.
    #[error("quiet_hours.{kind}: there is no preset “{name}”")]
    Unknown {
        /// `marketing` or `transactional`.
        kind: &'static str,
        /// The name that was looked for.
        name: String,
    },
    /// A preset has no `"*"`, so some numbers would have no hours.
    #[error("quiet_hours.presets.{0}: add \"*\", the hours of all other countries")]
    NoElsewhere(String),
    /// A key is neither `"*"` nor a prefix.
    #[error("quiet_hours.presets.{preset}: “{key}” is not a prefix: write it like \"+1\"")]
    Prefix {
        /// The preset.
        preset: String,
        /// The key.
        key: String,
    },
    /// The hours of one prefix can't be read.
    #[error("quiet_hours.presets.{preset}.\"{key}\": {error}")]
    Hours {
        /// The preset.
        preset: String,
        /// The key.
        key: String,
        /// Why.
        error: HoursError,
    },
    /// A preset may not be called `off` or `by_region`.
    #[error("quiet_hours.presets: a preset can't be called “{0}”")]
    Taken(&'static str),
    /// A row of the regions is wrong.
    #[error("quiet_hours.regions.\"{code}\": {error}")]
    Region {
        /// Its code.
        code: String,
        /// Why.
        error: RegionError,
    },
}

impl Presets {
    /// The hours that hold for somebody there under this policy; None = no restriction. Without a
    /// number (a WhatsApp user id) the hours are those of `"*"`.
    ///
    /// A policy that names a preset which is gone from the configuration falls back to the
    /// strictest hours that we ship (Mon–Sat 9–20, Sun 12–20), never to none.
    pub fn hours_for<'a>(
        &'a self,
        policy: &'a Policy,
        kind: Kind,
        who: &Whereabouts<'_>,
    ) -> Option<&'a WeekHours> {
        let name = match policy {
            Policy::Off => return None,
            Policy::Window { hours, .. } => return Some(hours),
            Policy::Preset(name) => name,
            Policy::House => match kind {
                Kind::Marketing => &self.section.marketing,
                Kind::Transactional => &self.section.transactional,
                Kind::Reply | Kind::Confirmation => return None,
            },
        };
        if name == OFF && *policy == Policy::House {
            return None;
        }
        if name == BY_REGION {
            return Some(self.hours_there(who));
        }
        Some(self.find(name, who))
    }

    /// The hours of the table of regions: those of the US state or country. Where it has no row, and for US
    /// numbers of no known state, those of the house.
    fn hours_there(&self, who: &Whereabouts<'_>) -> &WeekHours {
        match (self.regions.find(who), &self.somewhere_in_the_us) {
            (Found::Hours(hours), _) => hours,
            (Found::SomewhereInTheUs, Some(preset)) => preset.find(who.phone).unwrap_or(&STRICTEST),
            (Found::SomewhereInTheUs, None) => &STRICTEST,
            (Found::NoRow, _) => self.find(HOUSE, who),
        }
    }

    fn find(&self, name: &str, who: &Whereabouts<'_>) -> &WeekHours {
        self.by_name.get(name).and_then(|preset| preset.find(who.phone)).unwrap_or(&STRICTEST)
    }

    /// The table of regions as it is in force, in order of code.
    pub fn regions(&self) -> impl Iterator<Item = RegionInForce<'_>> {
        let shipped = shipped_hours();
        self.section.regions.iter().filter_map(move |(code, days)| {
            let hours = match code.strip_prefix("US-") {
                Some(state) => self.regions.state(state),
                None => self.regions.country(code),
            }?;
            let is_own = shipped.get(code) != Some(days);
            Some(RegionInForce { code, hours, is_own })
        })
    }

    /// The row of the table of regions that holds for somebody there, if one does.
    pub fn region_of(&self, who: &Whereabouts<'_>) -> Option<RegionInForce<'_>> {
        let Found::Hours(found) = self.regions.find(who) else {
            return None;
        };
        self.regions().find(|region| std::ptr::eq(region.hours, found))
    }

    /// Refuses a policy that names a preset which is not there.
    pub fn check(&self, policy: &Policy) -> Result<(), PolicyError> {
        match policy {
            Policy::Preset(name) if !self.has(name) => Err(PolicyError {
                field: "quiet_hours.preset".to_owned(),
                message: format!(
                    "there is no preset “{name}”; there is {}",
                    self.names().collect::<Vec<_>>().join(", ")
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The presets that there are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str).chain([BY_REGION])
    }

    fn has(&self, name: &str) -> bool {
        name == BY_REGION || self.by_name.contains_key(name)
    }
}

/// A row of the table of regions.
#[derive(Clone, Copy, Debug)]
pub struct RegionInForce<'a> {
    /// `US`, `US-FL`.
    pub code: &'a str,
    /// What is allowed; of a state, what the country leaves of it.
    pub hours: &'a WeekHours,
    /// The configuration says so, not the table that comes with the program.
    pub is_own: bool,
}

impl Preset {
    /// The same, cut by `hours`. A prefix of which nothing is left goes.
    fn within(&self, hours: &WeekHours) -> Preset {
        let cut = |(prefix, own): &(String, WeekHours)| Some((prefix.clone(), own.intersection(hours)?));
        Preset(self.0.iter().filter_map(cut).collect())
    }

    fn find(&self, phone: Option<&Phone>) -> Option<&WeekHours> {
        self.0
            .iter()
            .find(|(prefix, _)| {
                prefix == ELSEWHERE || phone.is_some_and(|phone| phone.as_str().starts_with(prefix))
            })
            .map(|(_, hours)| hours)
    }
}

static STRICTEST: LazyLock<WeekHours> = LazyLock::new(|| {
    let days = [("mon_sat", "09:00-20:00"), ("sun", "12:00-20:00")];
    WeekHours::from_days(&days.map(|(day, text)| (day.to_owned(), text.to_owned())).into())
        .expect("these hours are well-formed")
});

impl TryFrom<Section> for Presets {
    type Error = PresetsError;

    fn try_from(section: Section) -> Result<Presets, PresetsError> {
        let mut by_name = BTreeMap::new();
        for (name, table) in &section.presets {
            by_name.insert(name.clone(), preset(name, table)?);
        }
        if let Some(name) = [OFF, BY_REGION].into_iter().find(|name| by_name.contains_key(*name)) {
            return Err(PresetsError::Taken(name));
        }
        for (kind, name) in
            [(Kind::Marketing, &section.marketing), (Kind::Transactional, &section.transactional)]
        {
            if name != OFF && name != BY_REGION && !by_name.contains_key(name) {
                return Err(PresetsError::Unknown { kind: kind.as_str(), name: name.clone() });
            }
        }
        let regions =
            Regions::read(&section.regions).map_err(|(code, error)| PresetsError::Region { code, error })?;
        let somewhere_in_the_us = match (by_name.get(HOUSE), regions.country("US")) {
            (Some(house), Some(us)) => Some(house.within(us)),
            (house, _) => house.cloned(),
        };
        Ok(Presets { section, by_name, regions, somewhere_in_the_us })
    }
}

fn preset(name: &str, table: &BTreeMap<String, Days>) -> Result<Preset, PresetsError> {
    let mut hours = Vec::with_capacity(table.len());
    for (key, days) in table {
        let is_prefix = key.strip_prefix('+').is_some_and(|digits| {
            (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
        });
        if key != ELSEWHERE && !is_prefix {
            return Err(PresetsError::Prefix { preset: name.to_owned(), key: key.clone() });
        }
        let week = WeekHours::from_days(days).map_err(|error| PresetsError::Hours {
            preset: name.to_owned(),
            key: key.clone(),
            error,
        })?;
        hours.push((key.clone(), week));
    }
    if !table.contains_key(ELSEWHERE) {
        return Err(PresetsError::NoElsewhere(name.to_owned()));
    }
    // "*" is one byte, the shortest prefix two: it sorts last.
    hours.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    Ok(Preset(hours))
}

impl From<Presets> for Section {
    fn from(presets: Presets) -> Section {
        presets.section
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECTION: &str = r#"
        marketing = "house"
        transactional = "off"
        [presets.house]
        "+1" = { mon_sat = "09:00-20:00", sun = "12:00-20:00" }
        "+1808" = { daily = "10:00-16:00" }
        "*" = { daily = "08:00-21:00" }
        [presets.office]
        "*" = { mon_fri = "09:00-17:00" }
    "#;

    fn presets() -> Presets {
        toml::from_str(SECTION).unwrap()
    }

    fn at(phone: Option<&Phone>) -> Whereabouts<'_> {
        Whereabouts { phone, ..Whereabouts::default() }
    }

    #[test]
    fn the_longest_prefix_names_the_hours() {
        let presets = presets();
        for (phone, open, closed) in [
            (Some("+14155550101"), 540, 539),
            (Some("+18085550101"), 600, 599),
            (Some("+94771234567"), 480, 479),
            (None, 480, 479),
        ] {
            let phone = phone.map(|text| Phone::from_e164(text).unwrap());
            let hours = presets.hours_for(&Policy::House, Kind::Marketing, &at(phone.as_ref())).unwrap();
            assert!(hours.allows(0, open), "{phone:?}");
            assert!(!hours.allows(0, closed), "{phone:?}");
        }
    }

    #[test]
    fn what_a_campaign_says_goes_before_the_house() {
        let presets = presets();
        let hours = |policy: &Policy, kind| presets.hours_for(policy, kind, &at(None)).cloned();
        assert_eq!(hours(&Policy::Off, Kind::Marketing), None);
        assert_eq!(hours(&Policy::House, Kind::Transactional), None);
        let window = Policy::parse(&json!({"start": "12:00", "end": "13:00"})).unwrap();
        assert!(hours(&window, Kind::Transactional).unwrap().allows(6, 0));
        let office = Policy::Preset("office".to_owned());
        assert!(!hours(&office, Kind::Marketing).unwrap().allows(5, 600));
    }

    #[test]
    fn a_preset_that_is_gone_restricts_more_not_less() {
        let presets = presets();
        for name in ["gone", "off"] {
            let policy = Policy::Preset(name.to_owned());
            assert!(presets.check(&policy).is_err());
            let hours = presets.hours_for(&policy, Kind::Transactional, &at(None)).unwrap();
            assert!(hours.allows(0, 540) && !hours.allows(6, 719) && hours.allows(6, 720));
        }
        assert!(presets.check(&Policy::Preset("house".to_owned())).is_ok());
    }

    #[test]
    fn the_table_of_regions_goes_by_state_then_country_then_house() {
        let presets = presets();
        let by_region = Policy::Preset(BY_REGION.to_owned());
        let line = |phone: &str, country: Option<&str>, state: Option<&str>| {
            let phone = Phone::from_e164(phone);
            let who = Whereabouts { phone: phone.as_ref(), country, state, timezone: None };
            presets.hours_for(&by_region, Kind::Marketing, &who).unwrap().to_string()
        };
        for (phone, state, hours) in [
            ("+13055550101", None, "daily 08:00-20:00"),
            ("+12125550101", None, "daily 08:00-21:00"),
            ("+12125550101", Some("Florida"), "daily 08:00-20:00"),
            ("+12125550101", Some("US-TX"), "mon-sat 09:00-21:00, sun 12:00-21:00"),
            ("+12125550101", Some("upper"), "daily 08:00-21:00"),
            ("+12055550101", None, "mon-sat 08:00-20:00"),
            ("+18005550101", None, "mon-sat 09:00-20:00, sun 12:00-20:00"),
            ("+18005550101", Some("WA"), "daily 08:00-20:00"),
            ("+16135550101", None, "mon-fri 09:00-20:00, sat-sun 10:00-18:00"),
            ("+17875550101", None, "mon-sat 09:00-20:00, sun 12:00-20:00"),
            ("+33612345678", None, "mon-fri 10:00-13:00 and 14:00-20:00"),
            ("+33612345678", Some("FL"), "mon-fri 10:00-13:00 and 14:00-20:00"),
            ("+94771234567", None, "daily 08:00-21:00"),
            ("", None, "daily 08:00-21:00"),
        ] {
            assert_eq!(line(phone, None, state), hours, "{phone} {state:?}");
            let country = Phone::from_e164(phone).and_then(|phone| phone.country());
            assert_eq!(line(phone, country, state), hours, "{phone} {state:?}");
        }
        assert_eq!(line("", Some("FR"), None), "mon-fri 10:00-13:00 and 14:00-20:00");
        assert!(presets.check(&by_region).is_ok());
    }

    #[test]
    fn a_row_of_ones_own_replaces_the_one_that_came_with_the_program() {
        let own = r#"
            [regions]
            "US" = { daily = "08:00-21:00" }
            "US-FL" = { mon_fri = "10:00-12:00" }
            "DE" = { mon_sat = "09:00-18:00" }
        "#;
        let presets: Presets = toml::from_str(&format!("{SECTION}{own}")).unwrap();
        let told: Vec<String> = presets
            .regions()
            .map(|region| format!("{} {} {}", region.code, region.hours, region.is_own))
            .collect();
        assert_eq!(
            told,
            ["DE mon-sat 09:00-18:00 true", "US daily 08:00-21:00 false", "US-FL mon-fri 10:00-12:00 true"]
        );
        let miami = Phone::from_e164("+13055550101");
        assert_eq!(presets.region_of(&at(miami.as_ref())).unwrap().code, "US-FL");
        let colombo = Phone::from_e164("+94771234567");
        assert!(presets.region_of(&at(colombo.as_ref())).is_none());
    }

    #[test]
    fn a_number_of_no_known_state_is_never_freer_than_the_house_or_the_us() {
        let loose = SECTION
            .replace(r#"{ mon_sat = "09:00-20:00", sun = "12:00-20:00" }"#, r#"{ daily = "00:00-24:00" }"#);
        let presets: Presets = toml::from_str(&loose).unwrap();
        let toll_free = Phone::from_e164("+18005550101");
        let by_region = Policy::Preset(BY_REGION.to_owned());
        let hours = presets.hours_for(&by_region, Kind::Marketing, &at(toll_free.as_ref())).unwrap();
        assert_eq!(hours.to_string(), "daily 08:00-21:00");
    }

    #[test]
    fn wrong_sections_are_refused_by_name() {
        for (from, to, says) in [
            ("\"house\"", "\"hause\"", "no preset “hause”"),
            ("\"*\" = { mon_fri", "\"+2\" = { mon_fri", "add \"*\""),
            ("\"+1\"", "\"US\"", "“US” is not a prefix"),
            ("mon_sat", "mon_son", "“mon_son” is not a day"),
            ("21:00", "21", "“21” is not a time of day"),
            ("transactional", "transaction", "transaction"),
            ("presets.office", "presets.off", "can't be called"),
            ("presets.office", "presets.by_region", "can't be called"),
            ("[presets.house]", "[regions]\n\"US-ZZ\" = { mon = \"09:00-10:00\" }\n[presets.house]", "US-ZZ"),
        ] {
            let text = SECTION.replace(from, to);
            let error = toml::from_str::<Presets>(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_section_is_written_back_as_it_was_read() {
        let json = serde_json::to_value(presets()).unwrap();
        assert_eq!(json["presets"]["house"]["+1"]["sun"], "12:00-20:00");
        assert!(serde_json::from_value::<Presets>(json).is_ok());
    }
}
