//! Conditions on attributes, which lie as JSONB in one column.
//!
//! Speed hangs on the number of `json_extract` calls per person. The first call of a test decides
//! for nearly everybody; type checks stand behind it and run for the few that are left. They are
//! needed because `json_extract` answers true and false as 1 and 0, and lists and objects as text.

use rusqlite::types::Value;

use super::{Compiler, text};
use crate::domain::segment::{AttributePath, AttributeTest, Bound, Comparison, Number, Scalar, TimeTest};

/// The value of an attribute: texts as text, numbers as number, true and false as 1 and 0, null and
/// nothing as NULL, lists and objects as their JSON text.
const EXTRACT: &str = "json_extract(u.attributes, ?)";

/// Its type: 'text', 'integer', 'real', 'true', 'false', 'null', 'array', 'object'; NULL if missing.
const TYPE: &str = "json_type(u.attributes, ?)";

/// Attributes.
impl Compiler {
    pub(super) fn attribute(&mut self, path: &AttributePath, test: &AttributeTest) {
        let path = json_path(path);
        match test {
            AttributeTest::OneOf(values) => self.attribute_one_of(&path, values),
            AttributeTest::Contains(value) => self.attribute_contains(&path, value),
            AttributeTest::StartsWith(start) => {
                let pattern = format!("{}%", like_literal(start));
                self.bind(
                    &format!("({EXTRACT} LIKE ? ESCAPE '\\' AND {TYPE} = 'text') IS TRUE"),
                    [text(&path), text(&pattern), text(&path)],
                );
            }
            AttributeTest::Exists => {
                self.bind(&format!("({EXTRACT} <> '') IS TRUE"), [text(&path)]);
            }
            AttributeTest::Compare(how, Bound::Text(bound)) => {
                let sign = match how {
                    Comparison::Greater => ">",
                    Comparison::AtLeast => ">=",
                    Comparison::Less => "<",
                    Comparison::AtMost => "<=",
                };
                self.bind(
                    &format!("({EXTRACT} {sign} ? AND {TYPE} = 'text') IS TRUE"),
                    [text(&path), text(bound), text(&path)],
                );
            }
            AttributeTest::Compare(how, Bound::Number(bound)) => {
                self.attribute_number(&path, *how, *bound);
            }
            AttributeTest::Time(test) => self.attribute_time(&path, *test),
        }
    }

    /// Values are sorted by the check that they need besides being equal.
    fn attribute_one_of(&mut self, path: &str, values: &[Scalar]) {
        let mut plain = Vec::new();
        let mut like_json = Vec::new();
        let mut like_bool = Vec::new();
        let mut types = Vec::new();
        for value in values {
            match value {
                Scalar::Bool(true) => types.push(text("true")),
                Scalar::Bool(false) => types.push(text("false")),
                Scalar::Text(written) if written.starts_with(['[', '{']) => {
                    like_json.push(text(written));
                }
                Scalar::Text(written) => plain.push(text(written)),
                Scalar::Number(number) => {
                    // A sheet's cell is text: the same number in plain digits is the same value.
                    plain.extend(plain_digits(*number).map(|digits| text(&digits)));
                    if is_like_bool(*number) {
                        like_bool.push(number_value(*number));
                    } else {
                        plain.push(number_value(*number));
                    }
                }
            }
        }
        let tests = [
            (EXTRACT, plain, None),
            (EXTRACT, like_json, Some("'text'")),
            (EXTRACT, like_bool, Some("'integer', 'real'")),
            (TYPE, types, None),
        ];
        self.push("(");
        let mut joint = "";
        for (asked, values, expected) in tests.into_iter().filter(|(_, values, _)| !values.is_empty()) {
            self.bind(&format!("{joint}{asked} IN ("), [text(path)]);
            self.bind_list(values);
            self.push(")");
            if let Some(expected) = expected {
                self.bind(&format!(" AND {TYPE} IN ({expected})"), [text(path)]);
            }
            joint = " OR ";
        }
        self.push(") IS TRUE");
    }

    /// Compares as numbers, which SQLite tries with texts too, as the bounds are cast: `706` of a sheet's
    /// cell is one. What is no number stays text and sorts above all numbers, so an upper bound of infinity
    /// keeps it out within the same extraction. true and false are kept out where 0 or 1 are in the range.
    fn attribute_number(&mut self, path: &str, how: Comparison, bound: Number) {
        /// Up to here every whole number is a double, so more than one is at least the next.
        const LAST_EXACT: f64 = 9_007_199_254_740_991.0;
        let near = match bound {
            Number::Integer(whole) => whole as f64,
            Number::Real(real) => real,
        };
        let exact = number_value(bound);
        let (range, value, is_clear_of_bools) = match how {
            Comparison::Greater if near.abs() <= LAST_EXACT => {
                (" BETWEEN CAST(? AS NUMERIC) AND CAST(9e999 AS NUMERIC)", near.next_up().into(), near >= 1.0)
            }
            // Beyond, only numbers: a text could not be told from its neighbours.
            Comparison::Greater => (" > ?", exact, false),
            Comparison::AtLeast => {
                (" BETWEEN CAST(? AS NUMERIC) AND CAST(9e999 AS NUMERIC)", exact, near > 1.0)
            }
            Comparison::Less => (" < CAST(? AS NUMERIC)", exact, near <= 0.0),
            Comparison::AtMost => {
                (" BETWEEN CAST(-9e999 AS NUMERIC) AND CAST(? AS NUMERIC)", exact, near < 0.0)
            }
        };
        let is_beyond = matches!(how, Comparison::Greater) && near.abs() > LAST_EXACT;
        self.bind(&format!("({EXTRACT}{range}"), [text(path), value]);
        if is_beyond {
            self.bind(&format!(" AND {TYPE} IN ('integer', 'real')"), [text(path)]);
        } else if !is_clear_of_bools {
            self.bind(&format!(" AND {TYPE} IN ('integer', 'real', 'text')"), [text(path)]);
        }
        self.push(") IS TRUE");
    }

    fn attribute_contains(&mut self, path: &str, value: &Scalar) {
        self.bind(&format!("CASE {TYPE}"), [text(path)]);
        if let Scalar::Text(part) = value {
            let pattern = format!("%{}%", like_literal(part));
            self.bind(
                &format!(" WHEN 'text' THEN {EXTRACT} LIKE ? ESCAPE '\\'"),
                [text(path), text(&pattern)],
            );
        }
        self.bind(
            " WHEN 'array' THEN EXISTS (SELECT 1 FROM json_each(u.attributes, ?) AS e WHERE ",
            [text(path)],
        );
        match value {
            Scalar::Text(part) => self.bind("e.atom = ?", [text(part)]),
            Scalar::Number(number) => {
                self.bind("e.atom = ? AND e.type IN ('integer', 'real')", [number_value(*number)])
            }
            Scalar::Bool(true) => self.push("e.type = 'true'"),
            Scalar::Bool(false) => self.push("e.type = 'false'"),
        }
        self.push(") ELSE 0 END");
    }

    /// SQLite also takes 'now', '12:00', day numbers and the 30th of February for dates. None of
    /// these comes back unchanged from date().
    fn attribute_time(&mut self, path: &str, test: TimeTest) {
        self.bind(&format!("(unixepoch({EXTRACT}, 'subsec')"), [text(path)]);
        match test {
            TimeTest::Before(instant) => self.bind(" < ?", [seconds(instant)]),
            TimeTest::After(instant) => self.bind(" > ?", [seconds(instant)]),
            TimeTest::WithinLast(span) => {
                let start = self.now_ms.saturating_sub(span.as_millis());
                self.bind(" BETWEEN ? AND ?", [seconds(start), seconds(self.now_ms)]);
            }
        }
        self.bind(
            &format!(" AND date(substr({EXTRACT}, 1, 10)) = substr({EXTRACT}, 1, 10)) IS TRUE"),
            [text(path), text(path)],
        );
    }
}

/// As unixepoch(…, 'subsec') says it: the same division, so equal instants are equal doubles.
fn seconds(instant_ms: i64) -> Value {
    Value::Real(instant_ms as f64 / 1000.0)
}

/// true and false are extracted as 1 and 0.
fn is_like_bool(number: Number) -> bool {
    match number {
        Number::Integer(whole) => matches!(whole, 0 | 1),
        Number::Real(real) => real == 0.0 || real == 1.0,
    }
}

/// The number as a sheet shows it, if that is without an exponent.
fn plain_digits(number: Number) -> Option<String> {
    match number {
        Number::Integer(whole) => Some(whole.to_string()),
        Number::Real(real) if real.abs() < 1e15 && (real == 0.0 || real.abs() >= 1e-6) => {
            Some(real.to_string())
        }
        Number::Real(_) => None,
    }
}

fn number_value(number: Number) -> Value {
    match number {
        Number::Integer(whole) => Value::Integer(whole),
        Number::Real(real) => Value::Real(real),
    }
}

/// `$."address"."city"`: quoted, so that no character of a key means anything to SQLite.
fn json_path(path: &AttributePath) -> String {
    let mut written = String::from("$");
    for key in path.keys() {
        written.push_str(".\"");
        for character in key.chars() {
            if matches!(character, '"' | '\\') {
                written.push('\\');
            }
            written.push(character);
        }
        written.push('"');
    }
    written
}

/// Takes the meaning from `%` and `_`.
fn like_literal(part: &str) -> String {
    let mut pattern = String::new();
    for character in part.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
