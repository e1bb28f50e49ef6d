//! The values inside a definition: attribute paths, spans of time, dates, phones, numbers.
//! Each reader takes JSON and answers the value, or a sentence that says what would be right.

use serde_json::Value;

use super::{Bound, Number, Scalar};
use crate::domain::consent::Consent;

/// Longest text in a condition, in characters: far below SQLite's limit on patterns.
const MAX_TEXT: usize = 1_000;
/// Longest attribute path, in characters, and the most keys in it.
const MAX_PATH: usize = 500;
const MAX_KEYS: usize = 16;
/// Longest span: a hundred years, so that no sum of instants overflows.
const MAX_SPAN_MINUTES: i64 = 100 * 366 * 24 * 60;

/// Which value of the attributes is meant: one key, or keys of objects inside each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributePath(Vec<String>);

impl AttributePath {
    /// Reads keys joined by dots, `\.` being a dot inside a key and `\\` a backslash. A backslash
    /// before anything else is itself.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let written = text(value)?;
        if written.chars().count() > MAX_PATH {
            return Err(format!("an attribute's path has at most {MAX_PATH} characters"));
        }
        let mut keys = Vec::new();
        let mut key = String::new();
        let mut rest = written.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '\\' => key.push(rest.next_if(|c| matches!(c, '.' | '\\')).unwrap_or('\\')),
                '.' => keys.push(std::mem::take(&mut key)),
                other => key.push(other),
            }
        }
        keys.push(key);
        if keys.iter().any(String::is_empty) {
            return Err("name an attribute, or a path of keys joined by dots".into());
        }
        if keys.len() > MAX_KEYS {
            return Err(format!("a path has at most {MAX_KEYS} keys"));
        }
        Ok(Self(keys))
    }

    /// The keys from the outermost in; at least one, none of them empty or with a NUL in it.
    pub fn keys(&self) -> &[String] {
        &self.0
    }
}

/// A length of time, more than none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    milliseconds: i64,
}

impl Span {
    /// Reads a whole number and a unit: `45m`, `12h`, `30d`, `2w`.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let wrong = || {
            format!("{} is no span of time; write a whole number and m, h, d or w, as in `30d`", shown(value))
        };
        let written = value.as_str().ok_or_else(wrong)?;
        let unit = written.chars().next_back().ok_or_else(wrong)?;
        let minutes_each = match unit {
            'm' => 1,
            'h' => 60,
            'd' => 24 * 60,
            'w' => 7 * 24 * 60,
            _ => return Err(wrong()),
        };
        let digits = written.trim_end_matches(unit);
        let is_number = digits.len() + 1 == written.len() && digits.bytes().all(|b| b.is_ascii_digit());
        let number = is_number
            .then(|| digits.parse::<i64>().ok())
            .flatten()
            .filter(|number| *number > 0)
            .ok_or_else(wrong)?;
        number
            .checked_mul(minutes_each)
            .filter(|minutes| *minutes <= MAX_SPAN_MINUTES)
            .map(|minutes| Self { milliseconds: minutes * 60_000 })
            .ok_or_else(|| "a span lasts at most a hundred years".to_owned())
    }

    /// Its length in milliseconds.
    pub fn as_millis(self) -> i64 {
        self.milliseconds
    }
}

/// Reads `2026-11-23` (midnight UTC) or an RFC 3339 instant, as milliseconds since 1970.
pub(super) fn instant(value: &Value) -> Result<i64, String> {
    let wrong = || format!("{} is no date; write `2026-11-23` or `2026-11-23T09:30:00Z`", shown(value));
    let written = value.as_str().ok_or_else(wrong)?;
    let timestamp = if written.len() == 10 {
        written
            .parse::<jiff::civil::Date>()
            .and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC))
            .map(|midnight| midnight.timestamp())
    } else {
        written.parse::<jiff::Timestamp>()
    };
    timestamp.map(|t| t.as_millisecond()).map_err(|_| wrong())
}

/// Reads a text that a condition compares with.
pub(super) fn text(value: &Value) -> Result<String, String> {
    let written = value.as_str().ok_or_else(|| format!("{} is no text", shown(value)))?;
    if written.contains('\0') {
        return Err("a text has no NUL character in it".into());
    }
    if written.chars().count() > MAX_TEXT {
        return Err(format!("a text has at most {MAX_TEXT} characters"));
    }
    Ok(written.to_owned())
}

/// Reads a text of at least one character: an empty one would be part of every text.
pub(super) fn filled_text(value: &Value) -> Result<String, String> {
    let written = text(value)?;
    if written.is_empty() {
        return Err("the text is empty".into());
    }
    Ok(written)
}

/// Reads a text, a number or a boolean.
pub(super) fn scalar(value: &Value) -> Result<Scalar, String> {
    match value {
        Value::String(_) => text(value).map(Scalar::Text),
        Value::Number(_) => number(value).map(Scalar::Number),
        Value::Bool(is_true) => Ok(Scalar::Bool(*is_true)),
        Value::Null => Err("null is no value here; ask with `exists` or `not_exists`".into()),
        Value::Array(_) => Err("a list goes with `in` and `not_in`; here it is one value".into()),
        Value::Object(_) => Err("a value is a text, a number or a boolean".into()),
    }
}

/// Reads what `contains` looks for.
pub(super) fn part(value: &Value) -> Result<Scalar, String> {
    match value {
        Value::String(_) => filled_text(value).map(Scalar::Text),
        _ => scalar(value),
    }
}

/// Reads what `gt`, `gte`, `lt` and `lte` compare with.
pub(super) fn bound(value: &Value) -> Result<Bound, String> {
    match value {
        Value::String(_) => text(value).map(Bound::Text),
        Value::Number(_) => number(value).map(Bound::Number),
        _ => Err(format!("{} has no order; write a number or a text", shown(value))),
    }
}

fn number(value: &Value) -> Result<Number, String> {
    match (value.as_i64(), value.as_f64()) {
        (Some(whole), _) => Ok(Number::Integer(whole)),
        (None, Some(real)) if real.is_finite() => Ok(Number::Real(real)),
        _ => Err(format!("{} is no number", shown(value))),
    }
}

/// Reads a whole E.164 number; how many digits a country has is not asked here.
pub(super) fn phone(value: &Value) -> Result<String, String> {
    let written = text(value)?;
    let is_phone = written.strip_prefix('+').is_some_and(|digits| {
        (4..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    });
    if is_phone {
        Ok(written)
    } else {
        Err(format!("{} is no E.164 number, as `+14155550101` is", shown(value)))
    }
}

/// Reads the first characters of an E.164 number.
pub(super) fn phone_start(value: &Value) -> Result<String, String> {
    let written = text(value)?;
    match written.strip_prefix('+') {
        Some(digits) if digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(written),
        _ => Err("a phone starts with + and digits, as in `+1415`".into()),
    }
}

/// Reads digits that stand somewhere in a number.
pub(super) fn phone_part(value: &Value) -> Result<String, String> {
    let written = filled_text(value)?;
    if written.len() <= 15 && written.bytes().all(|b| b.is_ascii_digit()) {
        Ok(written)
    } else {
        Err("write the digits that the phone contains, at most 15".into())
    }
}

/// Reads a country code, in either case.
pub(super) fn country(value: &Value) -> Result<String, String> {
    match value.as_str() {
        Some(code) if code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic()) => {
            Ok(code.to_ascii_uppercase())
        }
        _ => Err(format!("{} is no country; write two letters, as in `LK`", shown(value))),
    }
}

/// Reads a state of consent.
pub(super) fn consent(value: &Value) -> Result<Consent, String> {
    value.as_str().and_then(|name| name.parse().ok()).ok_or_else(|| {
        let states = Consent::ALL.map(|state| format!("`{}`", state.as_str())).join(", ");
        format!("{} is no state of consent; there are {states}", shown(value))
    })
}

/// Reads the id of a row.
pub(super) fn row_id(value: &Value) -> Result<i64, String> {
    value
        .as_i64()
        .filter(|id| *id > 0)
        .ok_or_else(|| format!("{} is no id; write a whole number from 1", shown(value)))
}

/// Reads a count of at least one.
pub(super) fn count(value: &Value) -> Result<u32, String> {
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("{} is no count; write a whole number from 1", shown(value)))
}

/// Reads a percentage as millionths.
pub(super) fn share_ppm(value: &Value) -> Result<u32, String> {
    value
        .as_f64()
        .filter(|percent| *percent > 0.0 && *percent <= 100.0)
        .map(|percent| (percent * 10_000.0).round() as u32)
        .filter(|ppm| *ppm > 0)
        .ok_or_else(|| format!("{} is no percentage; write a number from 0.0001 to 100", shown(value)))
}

/// A value as an error shows it, cut short.
pub(super) fn shown(value: &Value) -> String {
    format!("`{}`", shortened(&value.to_string()))
}

/// The first 60 characters.
pub(super) fn shortened(written: &str) -> String {
    match written.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", written.get(..end).unwrap_or_default()),
        None => written.to_owned(),
    }
}
