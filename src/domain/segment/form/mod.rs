//! A definition as flat rows, which a form can hold: one row for each group and each rule, in the order in which
//! they stand, with how deep. Both ways and without loss: what a form has no fields for stands in it as JSON, so a
//! definition that somebody wrote by hand is shown, and saved again, as it was.
//!
//! Nothing is checked here that [`super::Definition::parse`] checks: rows become JSON, and that is read as any other.

mod edit;
mod lines;
mod list;
mod words;

use serde_json::{Map, Number, Value, json};

pub use edit::{add, remove};
pub use lines::{line_of, lines};
pub use words::{Choice, default_operator, operators, summary, takes_value};

/// Rows of one form: a hundred rules, and groups around them.
pub const MAX_ROWS: usize = 1_000;
/// Deeper rows are moved up to here, far beyond what a definition may have, so that it is refused and not misread.
const DEEPEST: usize = 40;

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
    read.filter(|row| row.is_one_line() && written(row).as_ref() == Ok(json))
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

/// What is wrong with a row before it can be JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Which row.
    pub row: usize,
    /// Which of its fields: `value`, `at_least`, `campaign`.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// What rows come to.
#[derive(Clone, Debug)]
pub struct Built {
    /// The definition; where a row has an error, null stands.
    pub definition: Value,
    /// The place of each row in it, as errors of a definition name it.
    pub places: Vec<String>,
    /// What could not be written.
    pub errors: Vec<RowError>,
}

impl Built {
    /// The row that an error of the definition is about: the innermost at its place.
    pub fn row_at(&self, place: &str) -> Option<usize> {
        let is_inside = |own: &str| {
            let rest = place.strip_prefix(own)?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some(own.len())
        };
        let found = self.places.iter().enumerate().filter_map(|(row, own)| Some((is_inside(own)?, row)));
        found.max().map(|(_, row)| row)
    }
}

/// The definition that rows say, with the place of each; `root` is what places begin with.
pub fn definition(rows: &[Row], root: &str) -> Built {
    let rows = settled(rows);
    let mut builder = Builder { rows: &rows, places: vec![String::new(); rows.len()], errors: Vec::new() };
    let (value, _) = builder.node(0, root.to_owned());
    Built { definition: value, places: builder.places, errors: builder.errors }
}

/// Rows that are a tree: one root, no row inside a rule, no row deeper than its group's rows.
pub fn settled(rows: &[Row]) -> Vec<Row> {
    let has_root = rows.first().is_some_and(|root| root.what.is_group() || rows.len() == 1);
    let mut settled: Vec<Row> = Vec::with_capacity(rows.len() + 1);
    if !has_root {
        settled.push(Row::new(0, What::All));
    }
    for row in rows {
        let (least, most) = match settled.last() {
            None => (0, 0),
            Some(above) if above.what.is_group() => (1, above.depth + 1),
            Some(above) => (1, above.depth),
        };
        settled.push(Row { depth: row.depth.clamp(least, most.max(least)).min(DEEPEST), ..row.clone() });
    }
    settled
}

struct Builder<'a> {
    rows: &'a [Row],
    places: Vec<String>,
    errors: Vec<RowError>,
}

impl Builder<'_> {
    /// The JSON of the row at `index` and what is inside it, and the index behind that.
    fn node(&mut self, index: usize, place: String) -> (Value, usize) {
        let Some(row) = self.rows.get(index) else {
            return (json!({"all": []}), index);
        };
        if let Some(own) = self.places.get_mut(index) {
            place.clone_into(own);
        }
        if !row.what.is_group() {
            let value = written(row).unwrap_or_else(|(field, message)| {
                self.errors.push(RowError { row: index, field, message });
                Value::Null
            });
            return (value, index + 1);
        }
        // With one row inside, `not` needs no list around it.
        let is_plain_not = row.what == What::Not && self.inside(index) == 1;
        let inner = match row.what {
            What::All => "all",
            What::Any => "any",
            _ if is_plain_not => "not",
            _ => "not.any",
        };
        let mut children = Vec::new();
        let mut next = index + 1;
        while self.rows.get(next).is_some_and(|child| child.depth > row.depth) {
            let at = if is_plain_not {
                format!("{place}.not")
            } else {
                format!("{place}.{inner}[{}]", children.len())
            };
            let (child, behind) = self.node(next, at);
            children.push(child);
            next = behind;
        }
        let value = match row.what {
            What::All => json!({"all": children}),
            What::Any => json!({"any": children}),
            _ if is_plain_not => json!({"not": children.pop()}),
            _ => json!({"not": {"any": children}}),
        };
        (value, next)
    }

    /// How many rows stand directly inside the group at `index`.
    fn inside(&self, index: usize) -> usize {
        let depth = self.rows.get(index).map_or(0, |row| row.depth);
        let inner = self.rows.iter().skip(index + 1).take_while(|row| row.depth > depth);
        inner.filter(|row| row.depth == depth + 1).count()
    }
}

/// A rule as JSON, or the field that can't be written and why.
fn written(row: &Row) -> Result<Value, (&'static str, String)> {
    match row.what {
        What::Json => Ok(serde_json::from_str(&row.value).unwrap_or_else(|_| json!(row.value))),
        What::Attribute => comparison(row, "attribute", &row.name),
        What::Engagement => {
            let mut rule = json!({"engagement": row.name});
            put(&mut rule, "campaign_id", number(&row.campaign, "campaign")?);
            put(&mut rule, "within_last", span(row));
            Ok(rule)
        }
        What::Trigger => {
            let mut rule = json!({"trigger": row.name});
            put(&mut rule, "at_least", number(&row.at_least, "at_least")?);
            put(&mut rule, "within_last", span(row));
            Ok(rule)
        }
        What::Sample => {
            let percent = number(&row.value, "value")?.unwrap_or_default();
            Ok(json!({"sample": {"percent": percent, "seed": row.name}}))
        }
        field => comparison(row, "field", field.as_str()),
    }
}

fn put(rule: &mut Value, key: &str, value: Option<Value>) {
    if let (Some(object), Some(value)) = (rule.as_object_mut(), value) {
        object.insert(key.to_owned(), value);
    }
}

/// A number, or nothing where nothing stands.
fn number(text: &str, field: &'static str) -> Result<Option<Value>, (&'static str, String)> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str::<Number>(text)
        .map(|number| Some(Value::Number(number)))
        .map_err(|_| (field, format!("\u{201c}{text}\u{201d} is no number; write it like 12 or 0.5")))
}

fn span(row: &Row) -> Option<Value> {
    let number = row.value.trim();
    (!number.is_empty()).then(|| json!(format!("{number}{}", row.unit)))
}

fn comparison(row: &Row, kind: &str, name: &str) -> Result<Value, (&'static str, String)> {
    let mut rule = json!({kind: name});
    let Some((operator, form)) = words::meaning(&row.operator) else {
        put(&mut rule, "operator", Some(json!(row.operator)));
        return Ok(rule);
    };
    put(&mut rule, "operator", Some(json!(operator)));
    let missing = || ("value", "write what to compare with".to_owned());
    let value = match form {
        words::Form::Nothing => None,
        words::Form::Fixed(is_true) => Some(json!(is_true)),
        words::Form::Text => Some(json!(row.value)),
        words::Form::Number => Some(number(&row.value, "value")?.ok_or_else(missing)?),
        words::Form::Span => Some(span(row).ok_or_else(missing)?),
        words::Form::Texts => Some(list::split(&row.value).into_iter().map(Value::String).collect()),
        words::Form::Numbers => {
            let items = list::split(&row.value);
            let numbers: Result<Vec<Option<Value>>, _> = items.iter().map(|item| number(item, "value")).collect();
            Some(numbers?.into_iter().flatten().collect())
        }
    };
    put(&mut rule, "value", value);
    Ok(rule)
}

/// The fields of a form: `rules.0.what`, `rules.0.depth` and so on.
pub fn pairs(rows: &[Row]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        found.push((format!("rules.{index}.depth"), row.depth.to_string()));
        for (field, text) in row.fields() {
            found.push((format!("rules.{index}.{field}"), text.to_owned()));
        }
    }
    found
}

/// The rows of a form, in the order of their numbers, of which some may be missing. `None` when there are more
/// than [`MAX_ROWS`].
pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Vec<Row>> {
    let mut rows: std::collections::BTreeMap<u32, Row> = std::collections::BTreeMap::new();
    for (key, value) in pairs {
        let Some((index, field)) = key.strip_prefix("rules.").and_then(|rest| rest.split_once('.')) else {
            continue;
        };
        let Ok(index) = index.parse::<u32>() else {
            continue;
        };
        if rows.len() >= MAX_ROWS && !rows.contains_key(&index) {
            return None;
        }
        let row = rows.entry(index).or_insert_with(|| Row::new(0, What::Attribute));
        let text = value.to_owned();
        match field {
            "depth" => row.depth = text.parse().unwrap_or(0),
            // What nobody knows stays what it is as JSON that is no definition: never everybody.
            "what" => row.what = What::parse(value).unwrap_or(What::Json),
            "name" => row.name = text,
            "operator" => row.operator = text,
            "value" => row.value = text,
            "unit" => row.unit = text,
            "campaign" => row.campaign = text,
            "at_least" => row.at_least = text,
            _ => {}
        }
    }
    Some(rows.into_values().collect())
}

#[cfg(test)]
mod tests;
