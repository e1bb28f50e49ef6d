//! From a row of the file to what it says about a person: pure, and run on the reader's thread.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::columns::Field;
use super::file::{Cell, RawRow, RowProblem, as_object};
use crate::domain::consent::Consent;
use crate::domain::phone::{Phone, PhoneError};
use crate::domain::user::{checked_text, names};
use crate::store::imports::NewIssue;

/// Bytes of a row kept with an issue.
const KEPT_CELLS: usize = 8 * 1024;
/// Longest cell that is read as consent, topics or time zone.
const LONGEST_WORD: usize = 1_000;

/// What the consent cell says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Blank, or there is no such column.
    Nothing,
    /// Something, but not what.
    Unclear,
    /// One of the states.
    Clearly(Consent),
}

/// What a row says about one person.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) phone: Phone,
    pub(super) country: Option<&'static str>,
    pub(super) attributes: Map<String, Value>,
    /// The attributes as JSON, written on the reader's thread.
    pub(super) json: String,
    /// What they are called, for the search.
    pub(super) names: String,
    pub(super) consent: Said,
    /// Ids of topics to join.
    pub(super) topics: Vec<i64>,
}

/// A row, read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) raw: RawRow,
    /// `None`: rejected; the last issue says why.
    pub(super) person: Option<Box<Person>>,
    pub(super) issues: Vec<NewIssue>,
}

/// Everything that reading a row depends on.
#[derive(Debug)]
pub(super) struct RowReader {
    pub(super) header: Vec<String>,
    pub(super) fields: Vec<Field>,
    pub(super) phone_column: usize,
    pub(super) default_region: Option<String>,
    /// Lower-case names of topics.
    pub(super) topics: HashMap<String, i64>,
    /// Topics that everybody joins.
    pub(super) joined: Vec<i64>,
}

/// An issue in the making: its reason, column and sentence.
struct Complaint {
    reason: &'static str,
    column: Option<usize>,
    message: String,
}

impl RowReader {
    /// Reads one row.
    pub(super) fn read(&self, raw: RawRow) -> Reading {
        let (phone, country) = match self.phone(&raw) {
            Ok(found) => found,
            Err(complaint) => return self.rejected(raw, None, complaint),
        };
        let mut complaints = Vec::new();
        let mut person = Person {
            country,
            phone,
            attributes: Map::with_capacity(self.fields.len().min(raw.cells.len())),
            json: String::new(),
            names: String::new(),
            consent: Said::Nothing,
            topics: self.joined.clone(),
        };
        for (at, (field, cell)) in self.fields.iter().zip(&raw.cells).enumerate() {
            if *cell != Cell::Blank
                && let Some((reason, message)) = self.take(&mut person, field, cell)
            {
                complaints.push(Complaint { reason, column: Some(at), message });
            }
        }
        match checked_text(&person.attributes) {
            Ok(json) => (person.json, person.names) = (json, names(&person.attributes)),
            Err(error) => {
                let message = format!("{}: {}.", error.field, error.message);
                let complaint = Complaint { reason: "attributes_invalid", column: None, message };
                return self.rejected(raw, Some(&person.phone), complaint);
            }
        }
        let issues =
            complaints.into_iter().map(|c| self.issue(&raw, Some(&person.phone), c, false)).collect();
        Reading { raw, person: Some(Box::new(person)), issues }
    }

    /// An issue about a row that was read, such as one that stands twice in the file.
    pub(super) fn note(
        &self,
        reading: &Reading,
        reason: &'static str,
        message: String,
        is_rejected: bool,
    ) -> NewIssue {
        let complaint = Complaint { reason, column: None, message };
        let phone = reading.person.as_ref().map(|person| &person.phone);
        self.issue(&reading.raw, phone, complaint, is_rejected)
    }

    fn rejected(&self, raw: RawRow, phone: Option<&Phone>, complaint: Complaint) -> Reading {
        let issue = self.issue(&raw, phone, complaint, true);
        Reading { raw, person: None, issues: vec![issue] }
    }

    /// A readable number is kept as E.164 beside the issue, so that erasing the person finds it.
    fn issue(
        &self,
        raw: &RawRow,
        phone: Option<&Phone>,
        complaint: Complaint,
        is_rejected: bool,
    ) -> NewIssue {
        let phone = phone.map(|phone| (self.phone_column, phone.as_str()));
        NewIssue {
            row: raw.number,
            reason: complaint.reason,
            is_rejected,
            column: complaint.column.and_then(|at| self.header.get(at).cloned()),
            message: complaint.message,
            cells: as_object(&self.header, raw, phone, KEPT_CELLS),
        }
    }

    fn phone(&self, raw: &RawRow) -> Result<(Phone, Option<&'static str>), Complaint> {
        if let Some(problem) = &raw.problem {
            return Err(self.misshapen(problem));
        }
        let cell = raw.cells.get(self.phone_column).unwrap_or(&Cell::Blank);
        let refuse = |reason, message| Complaint { reason, column: Some(self.phone_column), message };
        let text = match cell {
            Cell::Blank => return Err(refuse("phone_missing", PhoneError::Empty.to_string())),
            Cell::Text(text) => Cow::from(text),
            Cell::Json(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                Cow::from(number.to_string())
            }
            Cell::Json(Value::Number(number)) => {
                let error = PhoneError::ScientificNotation(number.to_string());
                return Err(refuse(error.reason(), error.to_string()));
            }
            Cell::Json(other) => {
                let error = PhoneError::Invalid(other.to_string().chars().take(40).collect());
                return Err(refuse(error.reason(), error.to_string()));
            }
        };
        Phone::parse_with_country(&text, self.default_region.as_deref()).map_err(|error| {
            let reason = if error == PhoneError::Empty { "phone_missing" } else { error.reason() };
            refuse(reason, error.to_string())
        })
    }

    fn misshapen(&self, problem: &RowProblem) -> Complaint {
        let (reason, message) = match problem {
            RowProblem::TooManyCells(found) => (
                "too_many_cells",
                format!(
                    "The row has {found} cells, the header {}. A cell with a comma or semicolon in it needs quotation marks.",
                    self.header.len()
                ),
            ),
            RowProblem::NotJson(reason) => ("invalid_json", format!("The line is no JSON: {reason}.")),
            RowProblem::NotAnObject => ("invalid_json", "The line is no JSON object.".to_owned()),
        };
        Complaint { reason, column: None, message }
    }

    /// Puts a cell where it belongs; a reason and a sentence when it can't be.
    fn take(&self, person: &mut Person, field: &Field, cell: &Cell) -> Option<(&'static str, String)> {
        match field {
            Field::Phone | Field::Ignored => None,
            Field::Attribute(name) => {
                person.attributes.insert(name.clone(), value_of(cell));
                None
            }
            Field::Consent => {
                let word = words_of(cell);
                match Consent::from_cell(&word) {
                    Some(consent) => {
                        person.consent = Said::Clearly(consent);
                        None
                    }
                    None => {
                        person.consent = Said::Unclear;
                        let shown: String = word.chars().take(40).collect();
                        let message =
                            format!("“{shown}” is no clear consent. Write opt_in, opt_out, stop or unknown.");
                        Some(("consent_unclear", message))
                    }
                }
            }
            Field::Topics => self.take_topics(person, cell),
            Field::Timezone => {
                let name = words_of(cell);
                let zone = TimeZone::get(name.trim()).ok();
                match zone.as_ref().and_then(TimeZone::iana_name) {
                    Some(name) => {
                        person.attributes.insert("timezone".to_owned(), Value::from(name));
                        None
                    }
                    None => {
                        let shown: String = name.chars().take(40).collect();
                        let message = format!("“{shown}” is no time zone. Write it like Asia/Colombo.");
                        Some(("timezone_unknown", message))
                    }
                }
            }
        }
    }

    fn take_topics(&self, person: &mut Person, cell: &Cell) -> Option<(&'static str, String)> {
        let words = match cell {
            Cell::Json(Value::Array(items)) => {
                items.iter().map(|item| words_of(&Cell::Json(item.clone()))).collect()
            }
            _ => words_of(cell).split([',', ';', '|']).map(str::to_owned).collect::<Vec<_>>(),
        };
        let mut unknown = Vec::new();
        for word in words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
            match self.topics.get(&word.to_lowercase()) {
                Some(topic) if person.topics.contains(topic) => {}
                Some(topic) => person.topics.push(*topic),
                None => unknown.push(format!("“{}”", word.chars().take(40).collect::<String>())),
            }
        }
        if unknown.is_empty() {
            return None;
        }
        unknown.truncate(5);
        Some(("topic_unknown", format!("There is no topic {}. Make it first.", unknown.join(", "))))
    }
}

fn value_of(cell: &Cell) -> Value {
    match cell {
        Cell::Blank => Value::Null,
        Cell::Text(text) => Value::String(text.clone()),
        Cell::Json(value) => value.clone(),
    }
}

fn words_of(cell: &Cell) -> String {
    match cell {
        Cell::Blank => String::new(),
        Cell::Text(text) => text.chars().take(LONGEST_WORD).collect(),
        Cell::Json(Value::String(text)) => text.chars().take(LONGEST_WORD).collect(),
        Cell::Json(value) => value.to_string().chars().take(LONGEST_WORD).collect(),
    }
}
