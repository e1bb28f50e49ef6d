//! The rows that a dry run shows: what would change, and why not. Each has the same shape, wherever it comes from.

use serde_json::{Value, json};

use super::super::page::Page;
use crate::domain::phone::Phone;
use crate::import::{Sample, SampleKind};
use crate::store::imports::{ImportRow, Issue};

/// The column whose cells the mapping takes for `field`.
pub(super) fn column_of(import: &ImportRow, field: &str) -> Option<String> {
    let mapping = import.options.get("mapping")?.as_object()?;
    let found = mapping.iter().find(|(_, target)| target.as_str() == Some(field));
    found.map(|(column, _)| column.clone())
}

/// A sample of a dry run.
pub(super) fn of_sample(sample: &Sample) -> Value {
    json!({
        "row": sample.row,
        "kind": sample.kind.as_str(),
        "phone": sample.phone,
        "name": sample.name,
        "said": sample.said,
        "before": sample.consent_before,
        "after": sample.consent_after,
        "shifts": sample.shifts,
        "more_shifts": sample.more_shifts,
        "joins_topics": sample.joins_topics,
        "since": sample.last_word.as_ref().map(|(_, at)| at),
    })
}

/// A row that something was noticed about. Whoever may not see numbers gets the reason without the file's words.
pub(super) fn of_issue(issue: &Issue, phone_column: Option<&str>, page: &Page) -> Value {
    let cell = phone_column.and_then(|column| {
        let found = issue.cells.iter().find(|(name, _)| name.trim() == column)?.1;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    });
    let is_number = cell.as_deref().is_some_and(|cell| Phone::from_e164(cell).is_some());
    let name = ["name", "Name", "first_name", "First name", "Vorname"];
    let name = name.iter().find_map(|name| issue.cells.get(*name)).and_then(Value::as_str);
    json!({
        "row": issue.row,
        "kind": if issue.is_rejected { "rejected" } else { "noticed" },
        "reason": issue.reason,
        "phone": cell.as_deref().filter(|_| is_number),
        "cell": cell.as_deref().filter(|_| !is_number && !page.is_masked()),
        "name": name.filter(|_| !page.is_masked()),
        "column": issue.column,
        "message": (!page.is_masked()).then_some(&issue.message),
    })
}

/// So many rows of each kind stand in the sample of all.
const OF_EACH: usize = 4;

/// Some rows of each kind, in the order of the file.
pub(super) fn some_of_each(samples: &[Sample], rejected: Vec<Value>) -> Vec<Value> {
    let kinds = [SampleKind::New, SampleKind::Changed, SampleKind::Kept];
    let mut rows: Vec<Value> = kinds
        .iter()
        .flat_map(|kind| samples.iter().filter(move |sample| sample.kind == *kind).take(OF_EACH))
        .map(of_sample)
        .chain(rejected.into_iter().take(OF_EACH))
        .collect();
    rows.sort_by_key(|row| row.get("row").and_then(Value::as_i64));
    rows
}

/// The kind that a word in an address names.
pub(super) fn kind_of(word: &str) -> Option<SampleKind> {
    [SampleKind::New, SampleKind::Changed, SampleKind::Kept].into_iter().find(|kind| kind.as_str() == word)
}
