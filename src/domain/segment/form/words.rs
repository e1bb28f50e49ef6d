//! Operators in the words that people use, by what they ask about, and a definition in a sentence.

use serde_json::Value;

use super::super::value::shortened;
use super::{Row, What, rows};
use crate::domain::catalogue::Kind;

/// How an operator's value is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// There is none.
    Nothing,
    /// It is always this.
    Fixed(bool),
    /// A text.
    Text,
    /// A number.
    Number,
    /// Texts with commas between.
    Texts,
    /// Numbers with commas between.
    Numbers,
    /// A number and a unit.
    Span,
}

/// An operator of the form: its key, the operator of the JSON, the value's form, and its words.
const OPERATORS: [(&str, &str, Form, &str); 25] = [
    ("is", "equals", Form::Text, "is"),
    ("is_not", "not_equals", Form::Text, "is not"),
    ("one_of", "in", Form::Texts, "is one of"),
    ("none_of", "not_in", Form::Texts, "is none of"),
    ("contains", "contains", Form::Text, "contains"),
    ("starts_with", "starts_with", Form::Text, "starts with"),
    ("sorts_after", "gt", Form::Text, "comes in the alphabet after"),
    ("sorts_from", "gte", Form::Text, "comes in the alphabet at or after"),
    ("sorts_before", "lt", Form::Text, "comes in the alphabet before"),
    ("sorts_to", "lte", Form::Text, "comes in the alphabet at or before"),
    ("number_is", "equals", Form::Number, "is the number"),
    ("number_is_not", "not_equals", Form::Number, "is not the number"),
    ("at_least", "gte", Form::Number, "is at least"),
    ("more_than", "gt", Form::Number, "is more than"),
    ("at_most", "lte", Form::Number, "is at most"),
    ("less_than", "lt", Form::Number, "is less than"),
    ("number_one_of", "in", Form::Numbers, "is one of the numbers"),
    ("number_none_of", "not_in", Form::Numbers, "is none of the numbers"),
    ("is_yes", "equals", Form::Fixed(true), "is yes"),
    ("is_no", "equals", Form::Fixed(false), "is no"),
    ("before", "before", Form::Text, "is before"),
    ("after", "after", Form::Text, "is after"),
    ("within_last", "within_last", Form::Span, "is within the last"),
    ("exists", "exists", Form::Nothing, "has a value"),
    ("not_exists", "not_exists", Form::Nothing, "has no value"),
];

const TEXT: &[&str] = &[
    "is",
    "is_not",
    "one_of",
    "none_of",
    "contains",
    "starts_with",
    "sorts_after",
    "sorts_from",
    "sorts_before",
    "sorts_to",
];
const NUMBER: &[&str] = &[
    "number_is",
    "number_is_not",
    "at_least",
    "more_than",
    "at_most",
    "less_than",
    "number_one_of",
    "number_none_of",
];
const BOOLEAN: &[&str] = &["is_yes", "is_no"];
const TIME: &[&str] = &["before", "after", "within_last"];
const ANY: &[&str] = &["exists", "not_exists"];
const CHOICE: &[&str] = &["is", "is_not", "one_of", "none_of"];
const PHONE: &[&str] =
    &["is", "is_not", "one_of", "none_of", "contains", "starts_with", "exists", "not_exists"];
const COUNTRY: &[&str] = &["is", "is_not", "one_of", "none_of", "exists", "not_exists"];

/// An operator to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its word in a form.
    pub key: &'static str,
    /// What people read.
    pub words: &'static str,
}

/// The operator of the JSON that a key stands for, and how its value is written.
pub(super) fn meaning(key: &str) -> Option<(&'static str, Form)> {
    OPERATORS.iter().find(|(own, ..)| *own == key).map(|(_, operator, form, _)| (*operator, *form))
}

/// The key for an operator of the JSON with this value.
pub(super) fn key_of(operator: &str, value: &Value) -> Option<&'static str> {
    let fits = |form: &Form| match (form, value) {
        (Form::Nothing, Value::Null) | (Form::Text | Form::Span, Value::String(_)) => true,
        (Form::Number, Value::Number(_)) => true,
        (Form::Fixed(fixed), Value::Bool(is_true)) => fixed == is_true,
        (Form::Texts, Value::Array(items)) => items.iter().all(Value::is_string),
        (Form::Numbers, Value::Array(items)) => items.iter().all(Value::is_number),
        _ => false,
    };
    OPERATORS.iter().find(|(_, own, form, _)| *own == operator && fits(form)).map(|(key, ..)| *key)
}

/// Whether an operator compares with something that is to be written.
pub fn takes_value(key: &str) -> bool {
    !matches!(meaning(key), Some((_, Form::Nothing | Form::Fixed(_))))
}

fn choice(key: &str, what: What) -> Option<Choice> {
    let (key, .., words) = OPERATORS.iter().find(|(own, ..)| *own == key)?;
    let words = match (what, *key) {
        (What::Topic, "is") => "includes",
        (What::Topic, "is_not") => "does not include",
        (What::Topic, "one_of") => "includes one of",
        (What::Topic, "none_of") => "includes none of",
        (What::LastInboundAt, "exists") => "ever",
        (What::LastInboundAt, "not_exists") => "never",
        (What::LastInboundAt | What::CreatedAt, "before") => "before",
        (What::LastInboundAt | What::CreatedAt, "after") => "after",
        (What::LastInboundAt | What::CreatedAt, "within_last") => "within the last",
        (What::Phone | What::Country, "exists") => "is known",
        (What::Phone | What::Country, "not_exists") => "is not known",
        _ => words,
    };
    Some(Choice { key, words })
}

/// The operators that go with what a row asks about, in named groups. Those for the values that an attribute
/// mostly holds come first.
pub fn operators(what: What, kind: Option<Kind>) -> Vec<(&'static str, Vec<Choice>)> {
    let of = |keys: &[&str]| keys.iter().filter_map(|key| choice(key, what)).collect::<Vec<_>>();
    let flat = |keys: &[&str]| vec![("", of(keys))];
    match what {
        What::Attribute => {
            let mut groups = vec![
                ("Text", of(TEXT)),
                ("Number", of(NUMBER)),
                ("Date", of(TIME)),
                ("Yes or no", of(BOOLEAN)),
            ];
            let first = match kind {
                Some(Kind::Number) => "Number",
                Some(Kind::Date) => "Date",
                Some(Kind::Boolean) => "Yes or no",
                _ => "Text",
            };
            groups.sort_by_key(|(name, _)| *name != first);
            groups.push(("Any", of(ANY)));
            groups
        }
        What::Consent | What::Topic => flat(CHOICE),
        What::Country => flat(COUNTRY),
        What::Phone => flat(PHONE),
        What::CreatedAt => flat(TIME),
        What::LastInboundAt => flat(&["exists", "not_exists", "within_last", "before", "after"]),
        _ => Vec::new(),
    }
}

/// The operator that a new row begins with.
pub fn default_operator(what: What, kind: Option<Kind>) -> &'static str {
    operators(what, kind).first().and_then(|(_, choices)| choices.first()).map_or("", |choice| choice.key)
}

/// Rules told in a sentence; the rest is counted.
const TOLD: usize = 4;

/// A definition in a sentence: `city is Kandy and consent is opt_in`.
pub fn summary(definition: &Value) -> String {
    let rows = rows(definition);
    let mut told = Teller { rows: &rows, left: TOLD };
    let sentence = told.node(0, true);
    let rules = rows.iter().filter(|row| !row.what.is_group()).count();
    match rules.saturating_sub(TOLD) {
        0 => sentence,
        1 => format!("{sentence}, and 1 rule more"),
        more => format!("{sentence}, and {more} rules more"),
    }
}

struct Teller<'a> {
    rows: &'a [Row],
    left: usize,
}

impl Teller<'_> {
    fn node(&mut self, index: usize, is_outermost: bool) -> String {
        let Some(row) = self.rows.get(index) else {
            return "everybody".to_owned();
        };
        if !row.what.is_group() {
            if self.left == 0 {
                return String::new();
            }
            self.left -= 1;
            return sentence(row);
        }
        let mut parts = Vec::new();
        let mut next = index + 1;
        while let Some(child) = self.rows.get(next).filter(|child| child.depth > row.depth) {
            if child.depth == row.depth + 1 {
                let part = self.node(next, false);
                if !part.is_empty() {
                    parts.push(part);
                }
            }
            next += 1;
        }
        let (joint, prefix, empty) = match row.what {
            What::All => (" and ", "", "everybody"),
            What::Any => (" or ", "", "nobody"),
            What::Not if parts.len() == 1 => ("", "not ", "everybody"),
            _ => (" or ", "neither ", "everybody"),
        };
        if parts.is_empty() {
            // What is not told is no group without rows.
            return if self.left == 0 { String::new() } else { empty.to_owned() };
        }
        let is_single = parts.len() == 1;
        let joined = parts.join(joint);
        match (prefix, is_single || is_outermost) {
            ("neither ", _) if is_single => format!("not {joined}"),
            ("", true) => joined,
            ("", false) => format!("({joined})"),
            (prefix, true) => format!("{prefix}{joined}"),
            (prefix, false) => format!("{prefix}({joined})"),
        }
    }
}

/// A rule in words.
pub(super) fn sentence(row: &Row) -> String {
    let within = || match (row.value.as_str(), row.unit.as_str()) {
        ("", _) => String::new(),
        (number, unit) => format!(" within the last {}", span(number, unit)),
    };
    let value = shortened(&row.value);
    match row.what {
        What::Engagement => {
            let did = match row.name.as_str() {
                "sent" => "was sent a message",
                "delivered" => "got a message",
                "read" => "read a message",
                "replied" => "replied",
                "failed" => "a message failed",
                other => other,
            };
            let campaign = if row.campaign.is_empty() {
                String::new()
            } else {
                format!(" of campaign {}", row.campaign)
            };
            format!("{did}{campaign}{}", within())
        }
        What::Trigger => {
            let times = match row.at_least.as_str() {
                "" | "1" => String::new(),
                n => format!(" at least {n} times"),
            };
            format!("event {}{times}{}", row.name, within())
        }
        What::Sample => format!("a random {value} %"),
        What::Json => format!("a rule of its own ({})", shortened(&row.value)),
        what => {
            let about = match what {
                What::Attribute => row.name.as_str(),
                What::Consent => "consent",
                What::Topic => "topics",
                What::Country => "country",
                What::Phone => "phone",
                What::CreatedAt => "added",
                _ => "wrote to us",
            };
            let words = choice(&row.operator, what).map_or(row.operator.as_str(), |choice| choice.words);
            if row.operator == "within_last" {
                format!("{about} {words} {}", span(&row.value, &row.unit))
            } else if takes_value(&row.operator) {
                format!("{about} {words} {value}")
            } else {
                format!("{about} {words}")
            }
        }
    }
}

fn span(number: &str, unit: &str) -> String {
    let unit = match unit {
        "m" => "minutes",
        "h" => "hours",
        "d" => "days",
        "w" => "weeks",
        other => other,
    };
    let unit = if number == "1" { unit.strip_suffix('s').unwrap_or(unit) } else { unit };
    format!("{number} {unit}")
}
