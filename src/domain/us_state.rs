//! The US state of a person: as it was written down, or by the area code of the number.
//!
//! An area code tells where a number was given out. Its owner may have moved and kept it, so what is written
//! down about the person goes before it.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;

use super::phone::Phone;

/// A state, or the District of Columbia.
#[derive(Debug, Deserialize)]
struct State {
    name: String,
    area_codes: Vec<u16>,
}

struct Table {
    by_area_code: HashMap<u16, String>,
    /// Code or name in lower case to the code.
    by_word: HashMap<String, String>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let states: BTreeMap<String, State> = serde_json::from_str(include_str!("data/us_area_codes.json"))
        .expect("the embedded table of area codes is well-formed");
    let (mut by_area_code, mut by_word) = (HashMap::new(), HashMap::new());
    for (code, state) in states {
        by_area_code.extend(state.area_codes.into_iter().map(|area| (area, code.clone())));
        by_word.insert(state.name.to_lowercase(), code.clone());
        by_word.insert(code.to_lowercase(), code);
    }
    Table { by_area_code, by_word }
});

/// The longest name in the table is “district of columbia”.
const LONGEST: usize = 20;

/// The state that a text names, as its two letters: `FL`, `fl`, `US-FL` or `Florida`. `None` for anything else.
pub fn named(text: &str) -> Option<&'static str> {
    let text = text.trim();
    if text.len() > LONGEST {
        return None;
    }
    let word = text.to_lowercase();
    TABLE.by_word.get(word.strip_prefix("us-").unwrap_or(&word)).map(String::as_str)
}

/// The state in which the number's area code lies. `None` for toll-free numbers, other countries, and area
/// codes that are newer than the table.
pub fn of_phone(phone: &Phone) -> Option<&'static str> {
    let area_code = phone.digits().strip_prefix('1')?.get(..3)?.parse().ok()?;
    TABLE.by_area_code.get(&area_code).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_found_by_code_and_name() {
        for (text, state) in [
            ("FL", Some("FL")),
            (" fl ", Some("FL")),
            ("US-FL", Some("FL")),
            ("Florida", Some("FL")),
            ("new york", Some("NY")),
            ("District of Columbia", Some("DC")),
            ("Washington", Some("WA")),
            ("", None),
            ("ZZ", None),
            ("ON", None),
            ("US-", None),
            ("Bavaria", None),
        ] {
            assert_eq!(named(text), state, "{text}");
        }
        assert_eq!(named(&"x".repeat(10_000)), None);
    }

    #[test]
    fn an_area_code_names_its_state() {
        for (phone, state) in [
            ("+12125550101", Some("NY")),
            ("+13055550101", Some("FL")),
            ("+12035550101", Some("CT")),
            ("+12025550101", Some("DC")),
            ("+19075550101", Some("AK")),
            ("+18005550101", None),
            ("+15005550006", None),
            ("+16135550101", None),
            ("+17875550101", None),
            ("+442079460101", None),
        ] {
            assert_eq!(of_phone(&Phone::from_e164(phone).unwrap()), state, "{phone}");
        }
    }

    #[test]
    fn every_area_code_is_a_us_one_by_the_library_and_no_state_is_missing() {
        assert_eq!(TABLE.by_word.len(), 2 * 51);
        assert_eq!(TABLE.by_area_code.len(), 359);
        for area in TABLE.by_area_code.keys() {
            let phone = Phone::from_e164(&format!("+1{area}5550101")).unwrap();
            assert_eq!(phone.country(), Some("US"), "{area}");
        }
    }
}
