//! A segment as its form has it: as rows or as JSON, with what its buttons do, and where faults stand.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use serde_json::Value as Json;

use super::super::failure::Failure;
use super::super::form::Form;
use crate::domain::segment::MAX_CONDITIONS;
use crate::domain::segment::form::{self, Row, What};
use crate::web::error::Problem;

/// A segment as the form has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) id: Option<i64>,
    /// The version that the form was made of.
    pub(super) version: Option<i64>,
    pub(super) name: String,
    pub(super) is_json: bool,
    pub(super) rows: Vec<Row>,
    pub(super) json: String,
    /// A rule that nobody finished takes the operator that fits its attribute.
    pub(super) adapts: bool,
}

/// What is wrong with a draft, at its places.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) status: Option<StatusCode>,
    pub(super) summary: Option<String>,
    pub(super) name: Option<String>,
    pub(super) rows: BTreeMap<usize, Vec<String>>,
    /// Line of the JSON, if it is known, and message.
    pub(super) lines: Vec<(Option<usize>, String)>,
}

impl Faults {
    pub(super) fn is_empty(&self) -> bool {
        self.status.is_none()
    }
}

fn pretty(definition: &Json) -> String {
    serde_json::to_string_pretty(definition).unwrap_or_default()
}

impl Draft {
    /// Of a segment that is kept.
    pub(super) fn of(saved: Option<(i64, i64)>, name: &str, definition: &Json) -> Draft {
        Draft {
            id: saved.map(|(id, _)| id),
            version: saved.map(|(_, version)| version),
            name: name.to_owned(),
            is_json: false,
            rows: form::rows(definition),
            json: String::new(),
            adapts: false,
        }
    }

    /// Of rows that nobody wrote yet.
    pub(super) fn fresh(rows: Vec<Row>) -> Draft {
        Draft { rows, ..Draft::default() }
    }

    /// True while no rule says anything: nothing is wrong with it, it is only not begun.
    pub(super) fn is_untouched(&self) -> bool {
        let is_blank = |row: &Row| {
            row.what.is_group()
                || row.what == What::Attribute && row.name.trim().is_empty() && row.value.trim().is_empty()
        };
        !self.is_json && self.rows.iter().all(is_blank)
    }

    /// As it was posted.
    ///
    /// # Errors
    /// 422 for more rows than a definition can have.
    pub(super) fn posted(posted: &Form) -> Result<Draft, Failure> {
        let is_json = posted.raw("mode") == Some("json");
        let rows = form::from_pairs(posted.pairs()).ok_or_else(|| {
            Problem::field("definition", format!("has more than {MAX_CONDITIONS} conditions"))
        })?;
        let number = |name: &str| posted.text(name).and_then(|text| text.parse().ok());
        Ok(Draft {
            id: number("id"),
            version: number("version"),
            name: posted.raw("name").unwrap_or_default().to_owned(),
            is_json,
            rows: if is_json { Vec::new() } else { form::settled(&rows) },
            json: posted.raw("json").unwrap_or_default().to_owned(),
            adapts: false,
        })
    }

    /// The definition that it says.
    ///
    /// # Errors
    /// What can't be written as JSON, or read as such.
    pub(super) fn definition(&self) -> Result<Json, Faults> {
        let mut faults = Faults { status: Some(StatusCode::UNPROCESSABLE_ENTITY), ..Faults::default() };
        if self.is_json {
            return serde_json::from_str(&self.json).map_err(|error| {
                faults.lines.push((Some(error.line()), format!("This is no JSON: {error}.")));
                faults
            });
        }
        let built = form::definition(&self.rows, "definition");
        if built.errors.is_empty() {
            return Ok(built.definition);
        }
        for error in built.errors {
            faults.rows.entry(error.row).or_default().push(sentence(&error.message));
        }
        Err(faults)
    }

    /// Where the faults of a problem stand in this draft.
    ///
    /// # Errors
    /// What is no fault of the form.
    pub(super) fn refused(&self, problem: Problem) -> Result<Faults, Failure> {
        let status = problem.status();
        if !matches!(
            status,
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED
        ) {
            return Err(problem.into());
        }
        let mut faults = Faults { status: Some(status), ..Faults::default() };
        let detail = problem.to_string();
        let found = problem.into_fields();
        if found.is_empty() {
            if status == StatusCode::CONFLICT {
                faults.name = Some(detail);
            } else {
                faults.summary = Some(
                    "Somebody changed this segment meanwhile. Open it in another window to compare, then save again."
                        .to_owned(),
                );
            }
            return Ok(faults);
        }
        let built = form::definition(&self.rows, "definition");
        let lines = if self.is_json { form::lines(&self.json, "definition") } else { Default::default() };
        for fault in found {
            let message = sentence(&fault.message);
            if fault.field == "name" {
                faults.name = Some(message);
            } else if self.is_json {
                let key =
                    fault.field.rsplit('.').next().filter(|key| *key != fault.field).unwrap_or_default();
                let named = if key.is_empty() { message } else { format!("{key}: {message}") };
                faults.lines.push((form::line_of(&lines, &fault.field), named));
            } else {
                let row = built.row_at(&fault.field).unwrap_or(0);
                faults.rows.entry(row).or_default().push(message);
            }
        }
        Ok(faults)
    }

    /// What a button asks for: `add:0`, `group:0`, `remove:3`, `json`, `rules`.
    pub(super) fn act(&mut self, action: &str) -> Faults {
        let (verb, index) = action.split_once(':').unwrap_or((action, ""));
        let index: usize = index.parse().unwrap_or(0);
        match verb {
            "add" => self.rows = form::add(&self.rows, index, What::Attribute),
            "group" => {
                let behind = form::add(&self.rows, index, What::Any);
                let at = newest(&self.rows, &behind);
                self.rows = form::add(&behind, at, What::Attribute);
            }
            "remove" => self.rows = form::remove(&self.rows, index),
            "json" if !self.is_json => match self.definition() {
                Ok(definition) => {
                    self.json = pretty(&definition);
                    self.is_json = true;
                }
                Err(faults) => return faults,
            },
            "rules" if self.is_json => match self.definition() {
                Ok(definition) => {
                    self.rows = form::rows(&definition);
                    self.is_json = false;
                }
                Err(faults) => return faults,
            },
            _ => {}
        }
        Faults::default()
    }
}

/// The index of the row that `after` has and `before` has not.
fn newest(before: &[Row], after: &[Row]) -> usize {
    let shift = after.len().saturating_sub(before.len() + 1);
    let same = after.iter().skip(shift).zip(before).take_while(|(a, b)| a == b).count();
    shift + same
}

fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if message.ends_with(['.', '?', '`']) { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::api;
    use super::*;

    fn draft(definition: &Json) -> Draft {
        Draft::of(None, "x", definition)
    }

    #[test]
    fn buttons_add_remove_and_turn_rules_into_json_and_back() {
        let leaf = json!({"attribute": "a", "operator": "exists"});
        let mut draft = draft(&json!({"all": [leaf]}));
        assert!(draft.act("group:0").is_empty());
        draft.rows[3].name = "b".to_owned();
        draft.rows[3].operator = "exists".to_owned();
        let grown = json!({"all": [leaf, {"any": [{"attribute": "b", "operator": "exists"}]}]});
        assert_eq!(draft.definition().unwrap(), grown);
        assert!(draft.act("json").is_empty());
        assert_eq!(draft.json, pretty(&grown));
        draft.json = "{\"all\":\n[}".to_owned();
        assert_eq!(draft.act("rules").lines[0].0, Some(2), "what can't be read stays as it was written");
        assert!(draft.is_json);
        draft.json = json!({"all": [leaf, leaf]}).to_string();
        assert!(draft.act("rules").is_empty());
        draft.act("remove:1");
        draft.act("anything");
        assert_eq!(draft.definition().unwrap(), json!({"all": [leaf]}));
    }

    #[test]
    fn a_draft_is_untouched_until_a_rule_says_something() {
        let mut draft = Draft::fresh(vec![Row::new(0, What::All), Row::new(1, What::Attribute)]);
        assert!(draft.is_untouched());
        draft.rows[1].value = "Boston".to_owned();
        assert!(!draft.is_untouched());
        let consent = Draft::fresh(vec![Row::new(0, What::All), Row::new(1, What::Consent)]);
        assert!(!consent.is_untouched());
        assert!(!Draft { is_json: true, ..Draft::default() }.is_untouched());
    }

    #[test]
    fn faults_of_the_api_stand_at_their_row_or_line() {
        let wrong = json!({"all": [{"attribute": "a", "operator": "exists"}, {"attribute": "", "operator": "equals", "value": "x"}]});
        let refused = |draft: &Draft| {
            let problem = api::parse("definition", &draft.definition().unwrap()).unwrap_err();
            draft.refused(problem).unwrap()
        };
        let faults = refused(&draft(&wrong));
        assert_eq!(faults.rows.keys().collect::<Vec<_>>(), [&2]);
        let written = Draft { is_json: true, json: pretty(&wrong), ..Draft::default() };
        let faults = refused(&written);
        assert_eq!(faults.lines[0].0, Some(8), "{faults:?}");
        let taken = draft(&wrong).refused(Problem::conflict("There is one.")).unwrap();
        assert_eq!(taken.name.as_deref(), Some("There is one."));
        assert!(draft(&wrong).refused(Problem::not_found("x")).is_err());
    }
}
