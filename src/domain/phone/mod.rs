//! Phone numbers (E.164) and channel addresses.
//!
//! [`Phone::parse`] reads what people type and spreadsheets keep (in `read`); [`Address`] reads
//! and writes what Twilio puts into `From` and `To`. What else is told from a number (its zones)
//! lives in [`super::timezone`].

mod address;
mod read;

use std::{fmt, sync::LazyLock};

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use address::{Address, Channel, Party, UnknownChannel};

/// A phone number in E.164: `+`, a digit from 1 to 9, then 3 to 14 more digits.
///
/// Orders and hashes by its text. Serialises as that text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phone(Box<str>);

/// Why a text is not a phone number. [`PhoneError::reason`] is the name under which an import
/// counts it; `Display` is a sentence for the person who typed it. The sentence repeats the text,
/// so it belongs on a page or in an answer, not in a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// Nothing there but space.
    #[error("The phone number is missing.")]
    Empty,
    /// No number that a country's numbering plan knows.
    #[error("“{0}” is not a phone number. Write it with its country code, such as +14155550101.")]
    Invalid(String),
    /// A spreadsheet rounded the number: its last digits are lost.
    #[error("“{0}” was shortened by Excel. Format the column as text and export again.")]
    ScientificNotation(String),
    /// Two or more numbers where one belongs; which one is meant is not ours to guess.
    #[error("“{0}” holds several numbers. Keep one number per cell.")]
    SeveralNumbers(String),
    /// A number without country code, and nobody said which country is meant.
    #[error("“{0}” has no country code. Write it like +14155550101, or choose a default country.")]
    NoCountry(String),
}

impl PhoneError {
    /// The name of this error in import reports and API answers.
    pub fn reason(&self) -> &'static str {
        match self {
            PhoneError::Empty => "empty",
            PhoneError::Invalid(_) => "invalid_phone",
            PhoneError::ScientificNotation(_) => "scientific_notation",
            PhoneError::SeveralNumbers(_) => "several_numbers_in_cell",
            PhoneError::NoCountry(_) => "no_country",
        }
    }
}

impl Phone {
    /// Reads a number as a person or a spreadsheet wrote it; `default_region` (ISO 3166 alpha-2,
    /// any case) is the country of numbers without a country code.
    ///
    /// Takes spaces of any kind, dots, dashes, `(0)`, a leading `00`, `'` or `tel:`, and digits
    /// of other scripts. Letters are refused, and so are extensions.
    ///
    /// The number must be valid by libphonenumber's metadata, not only possible by its length.
    /// That metadata counts the fictional 555-0100 to 555-0199 and Twilio's magic +1500555xxxx
    /// as valid, so they need no exception here; a test holds that.
    pub fn parse(raw: &str, default_region: Option<&str>) -> Result<Phone, PhoneError> {
        read::read(raw, default_region).map(|(phone, _)| phone)
    }

    /// [`Phone::parse`] together with [`Phone::country`], for half the price of one after the other.
    pub fn parse_with_country(
        raw: &str,
        default_region: Option<&str>,
    ) -> Result<(Phone, Option<&'static str>), PhoneError> {
        read::read(raw, default_region)
            .map(|(phone, region)| (phone, alpha_2(region.as_region_str().as_bytes())))
    }

    /// Takes a text that is E.164 already, such as a value from our own tables or Twilio's
    /// `From`. Checks the shape alone, not the numbering plan.
    pub fn from_e164(text: &str) -> Option<Phone> {
        let digits = text.strip_prefix('+')?;
        let fits = (4..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| Phone(text.into()))
    }

    /// Whether `code` (ISO 3166 alpha-2, any case) is a country that [`Phone::parse`] knows.
    pub fn knows_region(code: &str) -> bool {
        read::known_region(code).is_some()
    }

    /// The number as E.164 text, with its `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits after the `+`.
    pub fn digits(&self) -> &str {
        self.0.get(1..).unwrap_or_default()
    }

    /// The country, ISO 3166 alpha-2. None for numbers of no country (+800, +883) and for codes
    /// that are not in use. Toll-free +1 numbers count as US, as the library has it.
    pub fn country(&self) -> Option<&'static str> {
        let number = PHONE_NUMBER_UTIL.parse(self.as_str(), None).ok()?;
        let code = region_of(&number)?;
        alpha_2(code.as_bytes())
    }

    /// The country calling code: 1 for +1…, 44 for +44….
    pub fn calling_code(&self) -> u16 {
        self.digits()
            .get(..calling_code_length(self.digits()))
            .and_then(|code| code.parse().ok())
            .unwrap_or_default()
    }

    /// The number in the groups of its country, for people: `+1 415 555 0101`.
    pub fn grouped(&self) -> String {
        match PHONE_NUMBER_UTIL.parse(self.as_str(), None) {
            Ok(number) => {
                let grouped = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::International);
                grouped.replace(['-', '(', ')'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
            }
            Err(_) => self.as_str().to_owned(),
        }
    }

    /// The number with its middle hidden, for lists and logs: `+1 415 ··· ··01`.
    pub fn masked(&self) -> String {
        let (code, national) =
            self.digits().split_at(calling_code_length(self.digits()).min(self.digits().len()));
        let tail = national.get(national.len().saturating_sub(2)..).unwrap_or_default();
        match national.get(..3) {
            Some(head) if national.len() >= 8 => format!("+{code} {head} ··· ··{tail}"),
            _ => format!("+{code} ··· ··{tail}"),
        }
    }
}

/// Every country calling code in use, by libphonenumber's metadata: some 215.
pub fn calling_codes() -> &'static [i32] {
    static CODES: LazyLock<Vec<i32>> =
        LazyLock::new(|| PHONE_NUMBER_UTIL.get_supported_calling_codes().collect());
    &CODES
}

fn region_of(number: &PhoneNumber) -> Option<rlibphonenumber::RegionStr> {
    PHONE_NUMBER_UTIL
        .get_region_for_number(number)
        .or_else(|| PHONE_NUMBER_UTIL.get_region_for_country_code(number.country_code))
        .map(|region| region.as_region_str())
}

/// ITU-T E.164 list of assigned codes: 1 and 7 have one digit, these have two, the rest three.
fn calling_code_length(digits: &str) -> usize {
    const TWO: [&str; 44] = [
        "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48",
        "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81",
        "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
    ];
    match digits.get(..2) {
        Some(start) if start.starts_with(['1', '7']) => 1,
        Some(start) if TWO.contains(&start) => 2,
        _ => 3,
    }
}

/// All pairs of letters in a row, so that a country code can be lent as `&'static str`.
static PAIRS: LazyLock<String> = LazyLock::new(|| {
    ('A'..='Z').flat_map(|first| ('A'..='Z').flat_map(move |second| [first, second])).collect()
});

fn alpha_2(code: &[u8]) -> Option<&'static str> {
    let [first, second] = *code else { return None };
    let row = first.checked_sub(b'A')? as usize;
    let column = second.checked_sub(b'A').filter(|&c| c < 26)? as usize;
    let at = (row * 26 + column) * 2;
    PAIRS.get(at..at + 2)
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Masked, so that a number does not slip into a log by way of `{:?}`.
impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phone({})", self.masked())
    }
}

impl Serialize for Phone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Takes E.164 text by its shape, as [`Phone::from_e164`] does.
impl<'de> Deserialize<'de> for Phone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Phone, D::Error> {
        let text = String::deserialize(deserializer)?;
        Phone::from_e164(&text)
            .ok_or_else(|| serde::de::Error::custom("a phone number looks like +14155550101"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e164_text_is_taken_by_its_shape_alone() {
        for good in ["+14155550101", "+9477", "+123456789012345"] {
            assert_eq!(Phone::from_e164(good).as_ref().map(Phone::as_str), Some(good));
        }
        for bad in
            ["", "+", "+123", "14155550101", "+04155550101", "+1234567890123456", "+1415 5550101", "+١٢٣٤٥٦٧"]
        {
            assert_eq!(Phone::from_e164(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_number_tells_its_country_and_calling_code() {
        for (text, country, code) in [
            ("+14155550101", Some("US"), 1),
            ("+18005550101", Some("US"), 1),
            ("+16135550101", Some("CA"), 1),
            ("+18765550101", Some("JM"), 1),
            ("+94771234567", Some("LK"), 94),
            ("+447400123456", Some("GB"), 44),
            ("+77012345678", Some("KZ"), 7),
            ("+79161234567", Some("RU"), 7),
            ("+35312345678", Some("IE"), 353),
            ("+80012345678", None, 800),
            ("+999123456", None, 999),
        ] {
            let phone = Phone::from_e164(text).unwrap();
            assert_eq!(phone.country(), country, "{text}");
            assert_eq!(phone.calling_code(), code, "{text}");
            if let Ok(found) = Phone::parse_with_country(text, None) {
                assert_eq!(found, (phone, country), "{text}");
            }
        }
    }

    #[test]
    fn calling_codes_agree_with_the_library() {
        for code in PHONE_NUMBER_UTIL.get_supported_calling_codes() {
            let text = format!("{code}1234567");
            assert_eq!(calling_code_length(&text), code.to_string().len(), "calling code {code}");
        }
    }

    #[test]
    fn a_masked_number_shows_neither_its_middle_nor_a_short_number_whole() {
        for (text, masked) in [
            ("+14155550101", "+1 415 ··· ··01"),
            ("+94771234567", "+94 771 ··· ··67"),
            ("+2901234", "+290 ··· ··34"),
            ("+9477", "+94 ··· ··77"),
        ] {
            let phone = Phone::from_e164(text).unwrap();
            assert_eq!(phone.masked(), masked);
            assert!(!format!("{phone:?}").contains(text.trim_start_matches('+')));
        }
    }

    #[test]
    fn json_is_the_e164_text() {
        let phone = Phone::from_e164("+14155550101").unwrap();
        assert_eq!(serde_json::to_string(&phone).unwrap(), r#""+14155550101""#);
        let back: Phone = serde_json::from_str(r#""+14155550101""#).unwrap();
        assert_eq!(back, phone);
        assert!(serde_json::from_str::<Phone>(r#""4155550101""#).is_err());
    }
}
