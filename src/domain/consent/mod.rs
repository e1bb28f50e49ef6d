//! Consent: its states, and the keywords by which people change it.

mod keywords;
mod normal;
mod replies;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use keywords::{Intent, KeywordLists, KeywordTable, Said};
pub use replies::Replies;

/// What a person has agreed to. Ordered from loose to strict: a greater state allows less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Agreed to marketing, with evidence in the ledger.
    OptIn,
    /// Known to us, never asked: transactional messages only.
    Unknown,
    /// Declined marketing: transactional messages only.
    OptOut,
    /// Said STOP, or the provider blocks the number: nothing but the one confirmation.
    Stop,
}

/// The name is none of the four states.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no consent: opt_in, unknown, opt_out or stop")]
pub struct UnknownConsent(String);

impl Consent {
    /// All states, loose to strict.
    pub const ALL: [Self; 4] = [Self::OptIn, Self::Unknown, Self::OptOut, Self::Stop];

    /// The name in tables, JSON and exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OptIn => "opt_in",
            Self::Unknown => "unknown",
            Self::OptOut => "opt_out",
            Self::Stop => "stop",
        }
    }

    /// Whether a change allows less than before. An import may only tighten the consent of someone
    /// known; the same state again tightens nothing.
    pub fn tightens(from: Self, to: Self) -> bool {
        to > from
    }

    /// Reads a cell of an imported sheet; `None` is `consent_unclear` (or blank, which the caller
    /// keeps apart). Only clear words count: "y", "ok" or a date is no consent.
    pub fn from_cell(cell: &str) -> Option<Self> {
        let word = cell.trim().to_lowercase().replace(['-', ' '], "_");
        match word.as_str() {
            "opt_in" | "yes" | "true" | "1" | "subscribed" => Some(Self::OptIn),
            "opt_out" | "no" | "false" | "0" | "unsubscribed" => Some(Self::OptOut),
            "stop" => Some(Self::Stop),
            "unknown" => Some(Self::Unknown),
            _ => None,
        }
    }
}

impl std::str::FromStr for Consent {
    type Err = UnknownConsent;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|consent| consent.as_str() == name)
            .ok_or_else(|| UnknownConsent(name.to_owned()))
    }
}

impl std::fmt::Display for Consent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_one_name_everywhere() {
        for consent in Consent::ALL {
            let name = consent.as_str();
            assert_eq!(name.parse(), Ok(consent));
            assert_eq!(consent.to_string(), name);
            let json = serde_json::to_string(&consent).expect("json");
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Consent>(&json).expect("state"), consent);
        }
        assert_eq!("STOP".parse::<Consent>(), Err(UnknownConsent("STOP".into())));
    }

    #[test]
    fn an_import_tightens_only_towards_stop() {
        for (rank, from) in Consent::ALL.into_iter().enumerate() {
            for (other, to) in Consent::ALL.into_iter().enumerate() {
                assert_eq!(Consent::tightens(from, to), other > rank, "{from} to {to}");
            }
        }
    }

    #[test]
    fn a_cell_counts_only_when_it_is_clear() {
        let rows = [
            ("opt_in", Some(Consent::OptIn)),
            (" Yes ", Some(Consent::OptIn)),
            ("TRUE", Some(Consent::OptIn)),
            ("1", Some(Consent::OptIn)),
            ("Subscribed", Some(Consent::OptIn)),
            ("Opt-In", Some(Consent::OptIn)),
            ("opt out", Some(Consent::OptOut)),
            ("No", Some(Consent::OptOut)),
            ("false", Some(Consent::OptOut)),
            ("0", Some(Consent::OptOut)),
            ("UNSUBSCRIBED", Some(Consent::OptOut)),
            ("Stop", Some(Consent::Stop)),
            ("unknown", Some(Consent::Unknown)),
            ("", None),
            ("y", None),
            ("ok", None),
            ("maybe", None),
            ("11", None),
            ("yes, by phone", None),
            ("2024-01-01", None),
        ];
        for (cell, expected) in rows {
            assert_eq!(Consent::from_cell(cell), expected, "{cell:?}");
        }
    }
}
