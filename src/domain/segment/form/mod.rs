//! A definition as flat rows, which a form can hold: one row for each group and each rule, in the order in which
//! they stand, with how deep. Both ways and without loss: what a form has no fields for stands in it as JSON, so a
//! definition that somebody wrote by hand is shown, and saved again, as it was.
//!
//! Nothing is checked here that [`super::Definition::parse`] checks: rows become JSON, and that is read as any other.

mod build;
mod edit;
mod fields;
mod lines;
mod list;
mod words;

use serde_json::{Map, Value};

pub use build::{Built, RowError, definition, settled};
pub use edit::{add, remove};
pub use fields::{from_pairs, pairs};
pub use lines::{line_of, lines};
pub use list::split;
pub use words::{Choice, default_operator, operators, summary, takes_value};

/// Rows of one form: a hundred rules, and groups around them.
pub const MAX_ROWS: usize = 1_000;

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Group: every row inside holds.
    All,
    /// Group: at least one row inside holds.
    Any,
    /// Group: no row inside holds, written as `not` around `any`.
    NoneOf,
    /// Group: the one row inside does not hold, written as `not`.
    Not,
    /// About a value of the attributes.
    Attribute,
    /// About the state of consent.
    Consent,
    /// About a topic.
    Topic,
    /// About the country.
    Country,
    /// About the number.
    Phone,
    /// About when the person became known.
    CreatedAt,
    /// About when the person last wrote.
    LastInboundAt,
    /// About what became of messages.
    Engagement,
    /// About business events.
    Trigger,
    /// A share of everybody.
    Sample,
    /// Anything else, as JSON.
    Json,
}

impl What {
    /// All of them, groups first.
    pub const ALL: [What; 15] = [
        What::All,
        What::Any,
        What::NoneOf,
        What::Not,
        What::Attribute,
        What::Consent,
        What::Topic,
        What::Country,
        What::Phone,
        What::CreatedAt,
        What::LastInboundAt,
        What::Engagement,
        What::Trigger,
        What::Sample,
        What::Json,
    ];

    /// The word in a form.
    pub fn as_str(self) -> &'static str {
        match self {
            What::All => "all",
            What::Any => "any",
            What::NoneOf => "none",
            What::Not => "not",
            What::Attribute => "attribute",
            What::Consent => "consent",
            What::Topic => "topic",
            What::Country => "country",
            What::Phone => "phone",
            What::CreatedAt => "created_at",
            What::LastInboundAt => "last_inbound_at",
            What::Engagement => "engagement",
            What::Trigger => "trigger",
            What::Sample => "sample",
            What::Json => "json",
        }
    }

    fn parse(word: &str) -> Option<What> {
        What::ALL.into_iter().find(|what| what.as_str() == word)
    }

    /// Other rows stand inside it.
    pub fn is_group(self) -> bool {
        matches!(self, What::All | What::Any | What::NoneOf | What::Not)
    }
}

/// A group or a rule. Which of the texts mean something depends on `what`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// How many groups stand around it.
    pub depth: usize,
    /// What it is.
    pub what: What,
    /// An attribute's path, what became of messages, an event's type, a sample's seed.
    pub name: String,
    /// Of [`operators`].
    pub operator: String,
    /// What it is compared with; of a span, the number; of a list, its values with commas between; of
    /// [`What::Json`], the JSON.
    pub value: String,
    /// Of a span: m, h, d or w.
    pub unit: String,
    /// Of messages: the campaign's id, or nothing.
    pub campaign: String,
    /// Of events: how many at least, or nothing.
    pub at_least: String,
}

impl Row {
    /// An empty row.
    pub fn new(depth: usize, what: What) -> Row {
        Row {
            depth,
            what,
            name: String::new(),
            operator: String::new(),
            value: String::new(),
            unit: String::new(),
            campaign: String::new(),
            at_least: String::new(),
        }
    }

    fn fields(&self) -> [(&'static str, &str); 7] {
        [
            ("what", self.what.as_str()),
            ("name", &self.name),
            ("operator", &self.operator),
            ("value", &self.value),
            ("unit", &self.unit),
            ("campaign", &self.campaign),
            ("at_least", &self.at_least),
        ]
    }

    /// Fits into fields of one line: a browser takes line breaks out of them.
    fn is_one_line(&self) -> bool {
        self.fields().iter().all(|(_, text)| !text.contains(char::is_control))
    }
}

/// The rows of a definition, of any JSON: what is no definition becomes a row of JSON.
pub fn rows(definition: &Value) -> Vec<Row> {
    let mut found = Vec::new();
    push_rows(definition, 0, &mut found);
    found
}

fn push_rows(json: &Value, depth: usize, found: &mut Vec<Row>) {
    let group = |what: What, children: &Vec<Value>, found: &mut Vec<Row>| {
        found.push(Row::new(depth, what));
        children.iter().for_each(|child| push_rows(child, depth + 1, found));
    };
    match only_member(json) {
        Some(("all", Value::Array(children))) => group(What::All, children, found),
        Some(("any", Value::Array(children))) => group(What::Any, children, found),
        Some(("not", inner)) => match only_member(inner) {
            Some(("any", Value::Array(children))) => group(What::NoneOf, children, found),
            _ => {
                found.push(Row::new(depth, What::Not));
                push_rows(inner, depth + 1, found);
            }
        },
        _ => found.push(rule(json, depth)),
    }
}

fn only_member(json: &Value) -> Option<(&str, &Value)> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    object.iter().next().map(|(key, value)| (key.as_str(), value))
}

/// A rule in fields if they say exactly the same, else as JSON.
fn rule(json: &Value, depth: usize) -> Row {
    let read = json.as_object().and_then(|object| read_rule(object, depth));
    read.filter(|row| row.is_one_line() && build::written(row).as_ref() == Ok(json))
        .unwrap_or_else(|| Row { value: json.to_string(), ..Row::new(depth, What::Json) })
}

fn text_of(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

fn read_rule(object: &Map<String, Value>, depth: usize) -> Option<Row> {
    if let Some(name) = text_of(object, "attribute") {
        let row = Row { name, ..Row::new(depth, What::Attribute) };
        return read_comparison(object, row);
    }
    if let Some(field) = text_of(object, "field") {
        let what = What::parse(&field)?;
        return read_comparison(object, Row::new(depth, what));
    }
    let (value, unit) = match object.get("within_last") {
        Some(span) => split_span(span.as_str()?)?,
        None => (String::new(), String::new()),
    };
    if let Some(name) = text_of(object, "engagement") {
        let campaign = object.get("campaign_id").map(Value::to_string).unwrap_or_default();
        return Some(Row { name, value, unit, campaign, ..Row::new(depth, What::Engagement) });
    }
    if let Some(name) = text_of(object, "trigger") {
        let at_least = object.get("at_least").map(Value::to_string).unwrap_or_default();
        return Some(Row { name, value, unit, at_least, ..Row::new(depth, What::Trigger) });
    }
    let sample = object.get("sample")?.as_object()?;
    let value = sample.get("percent")?.to_string();
    Some(Row { name: text_of(sample, "seed")?, value, ..Row::new(depth, What::Sample) })
}

fn read_comparison(object: &Map<String, Value>, row: Row) -> Option<Row> {
    let operator = object.get("operator")?.as_str()?;
    let json = object.get("value").unwrap_or(&Value::Null);
    let key = words::key_of(operator, json)?;
    let (value, unit) = match json {
        Value::String(text) if operator == "within_last" => split_span(text)?,
        Value::String(text) => (text.clone(), String::new()),
        Value::Number(number) => (number.to_string(), String::new()),
        Value::Array(items) => (list::join(items), String::new()),
        _ => (String::new(), String::new()),
    };
    Some(Row { operator: key.to_owned(), value, unit, ..row })
}

fn split_span(span: &str) -> Option<(String, String)> {
    let unit = span.chars().next_back().filter(char::is_ascii_alphabetic)?;
    let number = span.get(..span.len() - 1)?;
    Some((number.to_owned(), unit.to_string()))
}

#[cfg(test)]
mod tests;
