//! What a dry run shows of its rows: the first of each kind, with what would change. Kept beside the draft's file,
//! not in the store: it goes with the file, and names people who may never come in.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::columns::Field;
use super::decide::{Action, Facts, Ground, Outcome, Verdict};
use super::file::Cell;
use super::row::Reading;
use crate::clock::Millis;
use crate::domain::consent::Consent;
use crate::store::imports::{self, Change};
use crate::store::{Connection, StoreError};

/// Rows of one kind that are kept.
pub const MAX_SAMPLES: usize = 200;
/// Names of attributes that a row shows.
const MAX_NAMES: usize = 12;
/// Longest text of a value, in characters.
const LONGEST: usize = 60;

/// What the dry run made of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleKind {
    /// Somebody comes in; in mode `suppress`, a number joins the list.
    New,
    /// Something about somebody known changes.
    Changed,
    /// The file would loosen a consent, which stays.
    Kept,
}

impl SampleKind {
    /// The name in addresses of pages.
    pub fn as_str(self) -> &'static str {
        match self {
            SampleKind::New => "new",
            SampleKind::Changed => "changed",
            SampleKind::Kept => "kept",
        }
    }
}

/// An attribute that a row changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// Its name.
    pub name: String,
    /// As it stands; `None`: it is not there.
    pub before: Option<String>,
    /// As it is to be; `None`: it goes.
    pub after: Option<String>,
}

/// A row of the file and what would come of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// As a spreadsheet counts.
    pub row: u64,
    /// What the dry run made of it.
    pub kind: SampleKind,
    /// E.164.
    pub phone: String,
    /// The person's name, if an attribute says one.
    pub name: Option<String>,
    /// The consent as it stands, if somebody is known.
    pub consent_before: Option<Consent>,
    /// The consent that the row leads to, or would: see `kind`.
    pub consent_after: Option<Consent>,
    /// What the row's cell says about consent.
    pub said: Option<String>,
    /// Attributes that change.
    pub shifts: Vec<Shift>,
    /// Attributes that change beyond those.
    pub more_shifts: usize,
    /// The person joins a topic.
    pub joins_topics: bool,
    /// Where the consent that is kept comes from, and since when.
    pub last_word: Option<(String, Millis)>,
}

/// Collects samples, a bounded number of each kind.
#[derive(Debug, Default)]
pub(super) struct Samples {
    rows: Vec<Sample>,
    counts: [usize; 3],
    consent_column: Option<usize>,
}

/// The kinds that a verdict is an example of.
fn kinds(outcome: Outcome, facts: &Facts) -> impl Iterator<Item = SampleKind> {
    let counts = matches!(outcome, Outcome::Updated | Outcome::Unchanged);
    [
        (outcome == Outcome::Created).then_some(SampleKind::New),
        (outcome == Outcome::Updated).then_some(SampleKind::Changed),
        (counts && facts.kept.is_some()).then_some(SampleKind::Kept),
    ]
    .into_iter()
    .flatten()
}

impl Samples {
    pub(super) fn new(fields: &[Field]) -> Samples {
        let consent_column = fields.iter().position(|field| *field == Field::Consent);
        Samples { consent_column, ..Samples::default() }
    }

    pub(super) fn take(
        &mut self,
        ground: &Ground<'_>,
        reading: &Reading,
        verdict: &Verdict,
    ) -> Result<(), StoreError> {
        for kind in kinds(verdict.outcome, &verdict.facts) {
            let Some(count) = self.counts.get_mut(kind as usize).filter(|count| **count < MAX_SAMPLES) else {
                continue;
            };
            *count += 1;
            let sample = self.sample(ground.conn, reading, verdict, kind)?;
            self.rows.extend(sample);
        }
        Ok(())
    }

    fn sample(
        &self,
        conn: &Connection,
        reading: &Reading,
        verdict: &Verdict,
        kind: SampleKind,
    ) -> Result<Option<Sample>, StoreError> {
        let Some(person) = &reading.person else { return Ok(None) };
        let facts = &verdict.facts;
        let consent = if kind == SampleKind::Kept { facts.kept } else { facts.consent };
        let (mut change, mut known) = (Change::default(), None);
        if let Action::Change(decided) = &verdict.action {
            if let Some((before, after)) = &decided.difference {
                change.before = serde_json::from_str(before).unwrap_or_default();
                change.after = serde_json::from_str(after).unwrap_or_default();
            }
            known = Some(&decided.known);
        }
        let last_word = match known.filter(|_| kind == SampleKind::Kept) {
            Some(known) => imports::last_word(conn, known.id)?,
            None => None,
        };
        let kept: Map<String, Value> =
            known.and_then(|known| serde_json::from_str(&known.attributes).ok()).unwrap_or_default();
        let shifts: Vec<Shift> = change.names().take(MAX_NAMES).map(|name| shift(&change, name)).collect();
        Ok(Some(Sample {
            row: reading.raw.number,
            kind,
            phone: person.phone.as_str().to_owned(),
            name: name_in(&person.attributes).or_else(|| name_in(&kept)),
            consent_before: consent.map(|(before, _)| before),
            consent_after: facts.new_consent.or(consent.map(|(_, after)| after)),
            said: self.consent_column.and_then(|at| reading.raw.cells.get(at)).and_then(shown_cell),
            more_shifts: change.names().count() - shifts.len(),
            shifts,
            joins_topics: facts.has_topics,
            last_word,
        }))
    }

    /// Keeps the samples beside the file of a draft.
    pub(super) fn write(&self, spooled: &Path) -> std::io::Result<()> {
        let text = serde_json::to_vec(&self.rows)?;
        let dir = spooled.parent().unwrap_or(Path::new(""));
        let mut file = tempfile::Builder::new().prefix("upload-").tempfile_in(dir)?;
        std::io::Write::write_all(&mut file, &text)?;
        file.persist(beside(spooled)).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Where the samples of a draft lie.
pub(super) fn beside(spooled: &Path) -> PathBuf {
    let mut name = spooled.as_os_str().to_owned();
    name.push(".samples");
    PathBuf::from(name)
}

/// The samples of a draft, in the order of the file; none when they can't be read.
pub fn samples(spooled: &Path) -> Vec<Sample> {
    let text = std::fs::read(beside(spooled)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn shift(change: &Change, name: &str) -> Shift {
    Shift {
        name: cut(name),
        before: change.before.get(name).map(shown),
        after: change.after.get(name).map(shown),
    }
}

fn name_in(attributes: &Map<String, Value>) -> Option<String> {
    let names = ["name", "full_name", "first_name", "vorname", "nombre", "prénom"];
    names.iter().find_map(|name| attributes.get(*name)).and_then(Value::as_str).map(cut)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => cut(text),
        other => cut(&other.to_string()),
    }
}

pub(super) fn shown_cell(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Blank => None,
        Cell::Text(text) => Some(cut(text)),
        Cell::Json(value) => Some(shown(value)),
    }
}

/// A value short enough for a table.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
