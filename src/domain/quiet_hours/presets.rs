//! The house rules of `config.toml`: allowed hours by country calling prefix.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

use super::{
    policy::{Policy, PolicyError},
    week::{HoursError, WeekHours},
    whereabouts::Whereabouts,
};
use crate::domain::message::Kind;
use crate::domain::phone::Phone;

/// The key of the hours for numbers that no prefix names.
const ELSEWHERE: &str = "*";

/// The word for no restriction.
const OFF: &str = "off";

/// The section `[quiet_hours]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Section", into = "Section")]
pub struct Presets {
    section: Section,
    by_name: BTreeMap<String, Preset>,
}

/// The section as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    marketing: String,
    transactional: String,
    presets: BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>,
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
    /// A preset may not be called `off`.
    #[error("quiet_hours.presets: a preset can't be called “off”")]
    Off,
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
        let hours = self.by_name.get(name).and_then(|preset| preset.find(who.phone)).unwrap_or(&STRICTEST);
        Some(hours)
    }

    /// Refuses a policy that names a preset which is not there.
    pub fn check(&self, policy: &Policy) -> Result<(), PolicyError> {
        match policy {
            Policy::Preset(name) if !self.by_name.contains_key(name) => Err(PolicyError {
                field: "quiet_hours.preset".to_owned(),
                message: format!(
                    "there is no preset “{name}”; there is {}",
                    self.names().collect::<Vec<_>>().join(", ")
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The presets that there are, in order of name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

impl Preset {
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
        if by_name.contains_key(OFF) {
            return Err(PresetsError::Off);
        }
        for (kind, name) in
            [(Kind::Marketing, &section.marketing), (Kind::Transactional, &section.transactional)]
        {
            if name != OFF && !by_name.contains_key(name) {
                return Err(PresetsError::Unknown { kind: kind.as_str(), name: name.clone() });
            }
        }
        Ok(Presets { section, by_name })
    }
}

fn preset(name: &str, table: &BTreeMap<String, BTreeMap<String, String>>) -> Result<Preset, PresetsError> {
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
    fn wrong_sections_are_refused_by_name() {
        for (from, to, says) in [
            ("\"house\"", "\"hause\"", "no preset “hause”"),
            ("\"*\" = { mon_fri", "\"+2\" = { mon_fri", "add \"*\""),
            ("\"+1\"", "\"US\"", "“US” is not a prefix"),
            ("mon_sat", "mon_son", "“mon_son” is not a day"),
            ("21:00", "21", "“21” is not a time of day"),
            ("transactional", "transaction", "transaction"),
            ("presets.office", "presets.off", "can't be called"),
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
