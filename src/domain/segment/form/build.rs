//! Rows as JSON.

use serde_json::{Number, Value, json};

use super::{Row, What, list, words};

/// Deeper rows are moved up to here, far beyond what a definition may have, so that it is refused and not misread.
const DEEPEST: usize = 40;

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
pub(super) fn written(row: &Row) -> Result<Value, (&'static str, String)> {
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

pub(super) fn put(rule: &mut Value, key: &str, value: Option<Value>) {
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
            let numbers: Result<Vec<Option<Value>>, _> =
                items.iter().map(|item| number(item, "value")).collect();
            Some(numbers?.into_iter().flatten().collect())
        }
    };
    put(&mut rule, "value", value);
    Ok(rule)
}
