//! From what a person typed, or a spreadsheet kept, to a [`Phone`].

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, Region};

use super::{Phone, PhoneError};

/// Longest text worth looking at, in bytes.
const LONGEST: usize = 256;

/// So many digits make a number of their own rather than an area code or an extension.
const WHOLE_NUMBER: usize = 7;

/// The phone, and the country that its validity was found by.
type Found = (Phone, Region);

pub(super) fn read(raw: &str, default_region: Option<&str>) -> Result<Found, PhoneError> {
    let plain = plain(raw);
    let text = unwrap(&plain);
    if text.is_empty() {
        return Err(PhoneError::Empty);
    }
    if raw.len() > LONGEST {
        return Err(PhoneError::Invalid(quoted(raw)));
    }
    if is_scientific(text) {
        return Err(PhoneError::ScientificNotation(quoted(raw)));
    }
    let region = default_region.and_then(known_region);
    if holds_several(text, region) {
        return Err(PhoneError::SeveralNumbers(quoted(raw)));
    }
    let text = without_decimals(text);
    if text.chars().any(is_foreign_to_numbers) {
        return Err(PhoneError::Invalid(quoted(raw)));
    }
    if let Some(found) = one_number(text, region) {
        return Ok(found);
    }
    Err(refusal(text, region, raw))
}

fn refusal(text: &str, region: Option<Region>, raw: &str) -> PhoneError {
    let numbers = text.split_whitespace().filter(|piece| digits_in(piece) >= WHOLE_NUMBER).count();
    if numbers > 1 {
        return PhoneError::SeveralNumbers(quoted(raw));
    }
    let is_national = !text.starts_with('+') && !text.starts_with("00");
    if is_national && region.is_none() && digits_in(text) >= 5 {
        return PhoneError::NoCountry(quoted(raw));
    }
    PhoneError::Invalid(quoted(raw))
}

/// Tries the readings of one number, the likeliest first.
fn one_number(text: &str, region: Option<Region>) -> Option<Found> {
    let after_plus = text.strip_prefix('+').map(str::trim_start);
    let international = match after_plus {
        Some(after) => Some(after.strip_prefix("00").unwrap_or(after)),
        None => text.strip_prefix("00"),
    };
    if let Some(number) = international {
        // "+44 (0)20 …" shows the zero that is dialled at home. Italy and San Marino dial it
        // from abroad as well.
        let keeps_zero = ["39", "378"].iter().any(|code| number.starts_with(code));
        let zero = if keeps_zero { "0" } else { "" };
        let number = format!("+{}", number.replacen("(0)", zero, 1));
        if let Some(found) = valid(&number, None) {
            return Some(found);
        }
        if after_plus.is_some() {
            return None;
        }
    }
    // A region's own way to dial abroad (011 …, 0011 …) and national numbers.
    region.and_then(|region| valid(text, Some(region)))
}

fn valid(text: &str, region: Option<Region>) -> Option<Found> {
    let number: PhoneNumber = PHONE_NUMBER_UTIL.parse(text, region).ok()?;
    // What the library's is_valid_number does, keeping the region on the way: it costs half a parse.
    let found = PHONE_NUMBER_UTIL.get_region_for_number(&number)?;
    if !PHONE_NUMBER_UTIL.is_valid_number_for_region(&number, found) {
        return None;
    }
    let phone = Phone::from_e164(&number.format_as(PhoneNumberFormat::E164))?;
    Some((phone, found))
}

pub(super) fn known_region(code: &str) -> Option<Region> {
    let region = code.trim().parse::<Region>().ok()?;
    PHONE_NUMBER_UTIL.get_country_code_for_region(region).map(|_| region)
}

/// ASCII digits and signs for their look-alikes, a plain space for every space, and nothing for
/// characters without width. A line break is kept: it separates numbers.
fn plain(raw: &str) -> String {
    raw.chars()
        .take(LONGEST + 1)
        .filter_map(|c| match c {
            '\n' | '\r' | '\u{0b}' | '\u{2028}' | '\u{2029}' => Some('\n'),
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => None,
            '\u{2060}'..='\u{2069}' | '\u{feff}' => None,
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' => Some('-'),
            '\u{2018}' | '\u{2019}' => Some('\''),
            '\u{201c}' | '\u{201d}' => Some('"'),
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xff01 + 0x21),
            '\u{660}'..='\u{669}' => char::from_digit(c as u32 - 0x660, 10),
            '\u{6f0}'..='\u{6f9}' => char::from_digit(c as u32 - 0x6f0, 10),
            '\u{966}'..='\u{96f}' => char::from_digit(c as u32 - 0x966, 10),
            c if c.is_whitespace() => Some(' '),
            c => Some(c),
        })
        .collect()
}

/// Without the wrapping that spreadsheets, links and Twilio's own exports put around a number.
fn unwrap(text: &str) -> &str {
    let mut text = text.trim_matches([' ', '\n', '\'', '"', '`', ',', ';']);
    for scheme in ["tel:", "whatsapp:"] {
        if let Some((start, rest)) = text.split_at_checked(scheme.len())
            && start.eq_ignore_ascii_case(scheme)
        {
            text = rest.trim();
        }
    }
    text
}

/// `9.47711E+10`, also with a decimal comma.
fn is_scientific(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        return false;
    };
    let mantissa = mantissa.trim_start_matches(['+', '-']);
    let exponent = exponent.trim_start_matches(['+', '-']);
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    [whole, fraction, exponent]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn holds_several(text: &str, region: Option<Region>) -> bool {
    if text.matches('+').count() > 1 {
        return true;
    }
    let is_between = |c: char| c.is_alphabetic() || ";,/|&\n".contains(c);
    let mut pieces = text.split(is_between).filter(|piece| digits_in(piece) > 0);
    let (Some(first), Some(second)) = (pieces.next(), pieces.next()) else {
        return false;
    };
    if std::iter::once(second).chain(pieces).all(|piece| digits_in(piece) < WHOLE_NUMBER) {
        // "030/123456" is one number; "+49 30 1234567/8" is two that share their start.
        return text.contains('/') && one_number(first.trim(), region).is_some();
    }
    digits_in(first) >= WHOLE_NUMBER
}

/// A number that went through a floating point column: `94771234567.0`.
fn without_decimals(text: &str) -> &str {
    match text.strip_suffix(".0").or_else(|| text.strip_suffix(",0")) {
        Some(whole)
            if digits_in(whole) >= WHOLE_NUMBER && whole.bytes().all(|b| b.is_ascii_digit() || b == b'+') =>
        {
            whole
        }
        _ => text,
    }
}

fn is_foreign_to_numbers(c: char) -> bool {
    !c.is_ascii_digit() && !"+ -./()[]~\n".contains(c)
}

fn digits_in(text: &str) -> usize {
    text.bytes().filter(u8::is_ascii_digit).count()
}

/// The text as an error message repeats it: at most 40 characters.
fn quoted(raw: &str) -> String {
    raw.trim().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &str, default_region: Option<&str>) -> Result<Phone, PhoneError> {
        Phone::parse(raw, default_region)
    }

    #[test]
    fn numbers_are_read_as_people_and_spreadsheets_write_them() {
        for (raw, region, e164) in [
            ("+94771234567", None, "+94771234567"),
            ("+94 77 123 4567", None, "+94771234567"),
            ("+94\u{a0}77\u{202f}123\u{2009}4567", None, "+94771234567"),
            ("\u{202a}+94771234567\u{202c}", None, "+94771234567"),
            ("\u{feff}+94 77-123-4567\t", None, "+94771234567"),
            ("＋９４７７１２３４５６７", None, "+94771234567"),
            ("+٩٤٧٧١٢٣٤٥٦٧", None, "+94771234567"),
            ("+94.77.123.4567", None, "+94771234567"),
            ("+94 77\u{2011}123\u{2013}4567", None, "+94771234567"),
            ("0094771234567", None, "+94771234567"),
            ("0094 (0)77 123 4567", None, "+94771234567"),
            ("+0094771234567", None, "+94771234567"),
            ("'+94771234567", None, "+94771234567"),
            ("\"+94771234567\"", None, "+94771234567"),
            ("+94771234567;", None, "+94771234567"),
            ("tel:+94-77-123-4567", None, "+94771234567"),
            ("whatsapp:+94771234567", None, "+94771234567"),
            ("0771234567", Some("LK"), "+94771234567"),
            ("771234567", Some("lk"), "+94771234567"),
            ("'0771234567", Some("LK"), "+94771234567"),
            ("94771234567", Some("LK"), "+94771234567"),
            ("94771234567.0", Some("LK"), "+94771234567"),
            ("+44 (0)20 7946 0101", None, "+442079460101"),
            ("+44(0)7911 123456", Some("LK"), "+447911123456"),
            ("+39 (0)6 698 12345", None, "+390669812345"),
            ("+34 (0)912 345 678", None, "+34912345678"),
            ("030/123456", Some("DE"), "+4930123456"),
            ("(415) 555-0101", Some("US"), "+14155550101"),
            ("011 44 20 7946 0101", Some("US"), "+442079460101"),
            ("0011 44 20 7946 0101", Some("AU"), "+442079460101"),
        ] {
            assert_eq!(read(raw, region).map(|phone| phone.to_string()), Ok(e164.to_owned()), "{raw}");
        }
    }

    #[test]
    fn fictional_and_magic_numbers_are_taken() {
        for raw in [
            "+14155550100",
            "+14155550101",
            "+14155550199",
            "+12125550142",
            "+15005550000",
            "+15005550001",
            "+15005550006",
            "+15005550009",
        ] {
            assert_eq!(read(raw, None).map(|p| p.to_string()), Ok(raw.to_owned()));
        }
    }

    const REFUSED: &[(&str, Option<&str>, &str)] = &[
        ("", None, "empty"),
        (" \u{a0} ", Some("US"), "empty"),
        ("'", None, "empty"),
        ("4.15556E+10", None, "scientific_notation"),
        ("9,47711E+10", Some("LK"), "scientific_notation"),
        ("9E10", None, "scientific_notation"),
        ("+9.4771e+10", None, "scientific_notation"),
        ("+94771234567; +94777654321", None, "several_numbers_in_cell"),
        ("+94771234567 +94777654321", None, "several_numbers_in_cell"),
        ("0771234567 / 0777654321", Some("LK"), "several_numbers_in_cell"),
        ("0771234567/0777654321", None, "several_numbers_in_cell"),
        ("0771234567 or 0777654321", Some("LK"), "several_numbers_in_cell"),
        ("0771234567\n0777654321", Some("LK"), "several_numbers_in_cell"),
        ("0771234567 0777654321", Some("LK"), "several_numbers_in_cell"),
        ("0771234567,0777654321", Some("LK"), "several_numbers_in_cell"),
        ("+94 77 123 4567/8", None, "several_numbers_in_cell"),
        ("0771234567", None, "no_country"),
        ("94771234567", None, "no_country"),
        ("0771234567", Some("XX"), "no_country"),
        ("0771234567", Some("Lanka"), "no_country"),
        ("hello", Some("US"), "invalid_phone"),
        ("1-800-FLOWERS", Some("US"), "invalid_phone"),
        ("+1 415 555 0101 ext. 12", None, "invalid_phone"),
        ("+1 415 555 010", None, "invalid_phone"),
        ("+1 115 555 0101", None, "invalid_phone"),
        ("+999 123 456 789", None, "invalid_phone"),
        ("+94771234567#", None, "invalid_phone"),
        ("123", None, "invalid_phone"),
        ("-", None, "invalid_phone"),
    ];

    #[test]
    fn refusals_have_names() {
        for &(raw, region, reason) in REFUSED {
            assert_eq!(read(raw, region).map_err(|error| error.reason()), Err(reason), "{raw}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do_and_repeats_little() {
        assert_eq!(
            read("4.15556E+10", None).unwrap_err().to_string(),
            "“4.15556E+10” was shortened by Excel. Format the column as text and export again."
        );
        let long = read(&"x".repeat(10_000), None).unwrap_err();
        assert_eq!(long.reason(), "invalid_phone");
        assert!(long.to_string().len() < 200);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}", region in "[A-Z]{2}") {
            if let Ok(phone) = read(&text, Some(&region)) {
                prop_assert_eq!(read(phone.as_str(), None), Ok(phone));
            }
        }

        #[test]
        fn spacing_does_not_change_the_number(gaps in proptest::collection::vec(0_usize..4, 12)) {
            let text: String = "+94771234567"
                .chars()
                .zip(gaps)
                .flat_map(|(c, gap)| [c.to_string(), ["", " ", "-", "."][gap].to_owned()])
                .collect();
            prop_assert_eq!(read(&text, None).map(|p| p.to_string()), Ok("+94771234567".to_owned()));
        }
    }
}
