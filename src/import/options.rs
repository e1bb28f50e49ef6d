//! What the caller of an import may choose, read from JSON with every error named by its field.

use std::collections::BTreeMap;

use encoding_rs::Encoding;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::consent::Consent;
use crate::domain::phone::Phone;

/// Longest source of a consent, in characters.
const MAX_SOURCE: usize = 200;
/// Longest evidence of a consent, in characters.
const MAX_EVIDENCE: usize = 4_000;

/// What happens to people whom we know already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A cell with something in it replaces that attribute; a blank one keeps it.
    #[default]
    Merge,
    /// The row's attributes replace all that were kept.
    Replace,
    /// They are left alone, whatever the row says.
    SkipExisting,
    /// Nobody is added or changed: the numbers join the list of those never sent to.
    Suppress,
}

/// What is told about the consent of the people in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConsentOptions {
    /// Of rows whose consent cell is blank, or that have none.
    pub state: Option<Consent>,
    /// Where it came from, such as `paper form`.
    pub source: Option<String>,
    /// The words or the document that show it.
    pub evidence: Option<String>,
    /// When the people said so.
    pub obtained_at: Option<Timestamp>,
    /// Also let the file loosen the consent of people whom we know; never out of `stop`.
    pub loosen: bool,
}

/// The options of one import, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Options {
    /// Column of the file to `phone`, `consent`, `topics`, `timezone` or an attribute; `None` leaves the
    /// column out.
    pub mapping: BTreeMap<String, Option<String>>,
    /// What happens to people whom we know already.
    pub mode: Mode,
    /// ISO 3166 alpha-2: the country of numbers without a country code.
    pub default_region: Option<String>,
    /// A label of the WHATWG Encoding Standard; `None`: find out.
    pub encoding: Option<String>,
    /// Count and report, change nothing.
    pub dry_run: bool,
    /// Topics that everybody in the file joins.
    pub topics: Vec<String>,
    /// What is told about consent.
    pub consent: ConsentOptions,
}

/// A refused option: the field and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct OptionsError {
    /// `consent.evidence`, `mapping.Phone No`, …
    pub field: String,
    /// What is wrong, in words.
    pub message: String,
}

impl OptionsError {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> OptionsError {
        OptionsError { field: field.into(), message: message.into() }
    }
}

impl Options {
    /// Reads options as `POST /imports` takes them. A field left out, or null, has its default.
    ///
    /// # Errors
    /// Every field that is unknown or breaks a rule.
    pub fn parse(json: &Value) -> Result<Options, Vec<OptionsError>> {
        let Some(map) = json.as_object() else {
            return Err(vec![OptionsError::new("options", "is a JSON object")]);
        };
        let mut reader = Reader { prefix: "", map, errors: Vec::new() };
        reader.refuse_unknown(&[
            "mapping",
            "mode",
            "default_region",
            "encoding",
            "dry_run",
            "topics",
            "consent",
        ]);
        let options = Options {
            mapping: reader.mapping(),
            mode: reader.mode(),
            default_region: reader.region(),
            encoding: reader.encoding(),
            dry_run: reader.flag("dry_run"),
            topics: reader.topics(),
            consent: reader.consent(),
        };
        if reader.errors.is_empty() { Ok(options) } else { Err(reader.errors) }
    }
}

struct Reader<'a> {
    prefix: &'static str,
    map: &'a Map<String, Value>,
    errors: Vec<OptionsError>,
}

impl<'a> Reader<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(OptionsError::new(format!("{}{name}", self.prefix), message));
    }

    fn refuse_unknown(&mut self, known: &[&str]) {
        for name in self.map.keys().filter(|name| !known.contains(&name.as_str())) {
            self.refuse(name, format!("is not an option; there are {}", known.join(", ")));
        }
    }

    fn text(&mut self, name: &str, longest: usize) -> Option<String> {
        match self.get(name)? {
            Value::String(text) if text.trim().is_empty() => None,
            Value::String(text) if text.chars().count() > longest => {
                self.refuse(name, format!("has at most {longest} characters"));
                None
            }
            Value::String(text) => Some(text.trim().to_owned()),
            _ => {
                self.refuse(name, "is a text");
                None
            }
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.get(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.refuse(name, "is true or false");
                false
            }
        }
    }

    fn mapping(&mut self) -> BTreeMap<String, Option<String>> {
        let mut mapping = BTreeMap::new();
        let Some(value) = self.get("mapping") else { return mapping };
        let Some(columns) = value.as_object() else {
            self.refuse("mapping", "is an object: column of the file to field");
            return mapping;
        };
        for (column, field) in columns {
            let name = format!("mapping.{column}");
            let target = match field {
                Value::Null => None,
                Value::String(target) if !target.trim().is_empty() => Some(target.trim().to_owned()),
                _ => {
                    self.refuse(&name, "is the name of a field, or null to leave the column out");
                    continue;
                }
            };
            if target.is_some() && mapping.values().any(|taken| *taken == target) {
                let target = target.unwrap_or_default();
                self.refuse(&name, format!("another column is mapped to “{target}” already"));
                continue;
            }
            mapping.insert(column.trim().to_owned(), target);
        }
        mapping
    }

    fn mode(&mut self) -> Mode {
        match self.get("mode").map(Value::as_str) {
            None | Some(Some("merge")) => Mode::Merge,
            Some(Some("replace")) => Mode::Replace,
            Some(Some("skip_existing")) => Mode::SkipExisting,
            Some(Some("suppress")) => Mode::Suppress,
            Some(_) => {
                self.refuse("mode", "is merge, replace, skip_existing or suppress");
                Mode::Merge
            }
        }
    }

    fn region(&mut self) -> Option<String> {
        let region = self.text("default_region", 8)?;
        if !Phone::knows_region(&region) {
            self.refuse("default_region", format!("“{region}” is not a country code such as LK or US"));
        }
        Some(region.to_ascii_uppercase())
    }

    fn encoding(&mut self) -> Option<String> {
        let label = self.text("encoding", 40)?;
        if Encoding::for_label_no_replacement(label.as_bytes()).is_none() {
            self.refuse(
                "encoding",
                format!("“{label}” is not a known encoding, such as utf-8, utf-16le or windows-1252"),
            );
        }
        Some(label)
    }

    fn topics(&mut self) -> Vec<String> {
        let Some(value) = self.get("topics") else { return Vec::new() };
        let names: Option<Vec<String>> = value.as_array().and_then(|topics| {
            topics.iter().map(|topic| topic.as_str().map(|name| name.trim().to_owned())).collect()
        });
        names.unwrap_or_else(|| {
            self.refuse("topics", "is a list of names of topics");
            Vec::new()
        })
    }

    fn consent(&mut self) -> ConsentOptions {
        let Some(value) = self.get("consent") else { return ConsentOptions::default() };
        let Some(map) = value.as_object() else {
            self.refuse("consent", "is an object");
            return ConsentOptions::default();
        };
        let mut reader = Reader { prefix: "consent.", map, errors: Vec::new() };
        reader.refuse_unknown(&["state", "source", "evidence", "obtained_at", "loosen"]);
        let consent = ConsentOptions {
            state: reader.state(),
            source: reader.text("source", MAX_SOURCE),
            evidence: reader.text("evidence", MAX_EVIDENCE),
            obtained_at: reader.instant("obtained_at"),
            loosen: reader.flag("loosen"),
        };
        let needs_evidence = consent.loosen || consent.state == Some(Consent::OptIn);
        if needs_evidence && consent.evidence.is_none() {
            reader.refuse("evidence", "say what shows that these people agreed, such as “form of May 2026”");
        }
        if consent.state == Some(Consent::OptIn) && consent.source.is_none() {
            reader.refuse("source", "say where the consent came from, such as “paper form”");
        }
        self.errors.append(&mut reader.errors);
        consent
    }

    fn state(&mut self) -> Option<Consent> {
        let name = self.text("state", 40)?;
        let state = name.parse().ok();
        if state.is_none() {
            self.refuse("state", format!("“{name}” is none of opt_in, unknown, opt_out, stop"));
        }
        state
    }

    fn instant(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.text(name, 40)?;
        let day = |text: &str| -> Option<Timestamp> {
            let date: jiff::civil::Date = text.parse().ok()?;
            Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        };
        let instant = text.parse().ok().or_else(|| day(&text));
        if instant.is_none() {
            self.refuse(name, "is a time such as 2026-05-01T09:30:00Z, or a day such as 2026-05-01");
        }
        instant
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_read_what_they_write() {
        let json = json!({
            "mapping": {"Phone No": "phone", "Vorname": "name", "Notes": null},
            "mode": "replace", "default_region": "lk", "encoding": "windows-1252", "dry_run": true,
            "topics": ["news"],
            "consent": {"state": "opt_in", "source": "paper form", "evidence": "form of May",
                        "obtained_at": "2026-05-01", "loosen": true}
        });
        let options = Options::parse(&json).unwrap();
        assert_eq!(options.default_region.as_deref(), Some("LK"));
        assert_eq!(options.consent.obtained_at.unwrap().to_string(), "2026-05-01T00:00:00Z");
        assert_eq!(Options::parse(&serde_json::to_value(&options).unwrap()), Ok(options));
        assert_eq!(Options::parse(&json!({})), Ok(Options::default()));
    }

    #[test]
    fn every_wrong_option_is_named_by_its_field() {
        for (json, field) in [
            (json!([]), "options"),
            (json!({"mod": "merge"}), "mod"),
            (json!({"mode": "upsert"}), "mode"),
            (json!({"mapping": {"a": 1}}), "mapping.a"),
            (json!({"mapping": {"a": "phone", "b": "phone"}}), "mapping.b"),
            (json!({"default_region": "Lanka"}), "default_region"),
            (json!({"encoding": "utf-9"}), "encoding"),
            (json!({"dry_run": "yes"}), "dry_run"),
            (json!({"topics": "news"}), "topics"),
            (json!({"consent": "opt_in"}), "consent"),
            (json!({"consent": {"state": "yes"}}), "consent.state"),
            (json!({"consent": {"state": "opt_in", "source": "form"}}), "consent.evidence"),
            (json!({"consent": {"state": "opt_in", "evidence": "form"}}), "consent.source"),
            (json!({"consent": {"loosen": true}}), "consent.evidence"),
            (json!({"consent": {"obtained_at": "May"}}), "consent.obtained_at"),
            (json!({"consent": {"why": 1}}), "consent.why"),
        ] {
            let errors = Options::parse(&json).unwrap_err();
            let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
            assert_eq!(fields, [field], "{json}");
        }
    }
}
