//! Keys of the configuration as fields of a form: how each is shown, and what a posted one changes. A field that
//! stays as it is becomes no setting, so that a later default still holds.

use std::collections::BTreeMap;

use minijinja::{Value, context};
use serde_json::Value as Json;

use super::super::form::Form;
use crate::config::{Loaded, Shown};
use crate::web::api::settings::Patch;
use crate::web::error::FieldError;

/// What is in front of the name of a box that takes a secret away.
const CLEAR: &str = "clear.";

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One line.
    Text,
    /// A secret: never shown, blank leaves it.
    Secret,
    /// Several lines of text.
    Words,
    /// A whole number.
    Whole,
    /// A number.
    Decimal,
    /// On or off.
    Switch,
    /// A list, one item to a line.
    Lines,
    /// One of these: value and label.
    Choice(&'static [(&'static str, &'static str)]),
    /// A table whose keys are the operator's own: `name = value`, one to a line.
    Entries,
}

/// A key as a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

/// Every key in force, by its path.
pub(super) type Keys = BTreeMap<String, Shown>;

/// The keys in force.
pub(super) fn keys(loaded: &Loaded) -> Keys {
    loaded.shown().into_iter().map(|shown| (shown.key.clone(), shown)).collect()
}

/// Where a value is fixed, in words.
pub(super) fn locked(by: &str) -> &'static str {
    match by {
        "file" => "config.toml",
        _ => "the environment",
    }
}

impl Field {
    fn word(self) -> &'static str {
        match self.kind {
            Kind::Text => "text",
            Kind::Secret => "secret",
            Kind::Words => "words",
            Kind::Whole => "whole",
            Kind::Decimal => "decimal",
            Kind::Switch => "switch",
            Kind::Lines => "lines",
            Kind::Choice(_) => "choice",
            Kind::Entries => "entries",
        }
    }

    /// The entries of an open table that are in force.
    fn entries(self, keys: &Keys) -> impl Iterator<Item = (&str, &Shown)> {
        let within = move |key: &'_ str| key.strip_prefix(self.key)?.strip_prefix('.').map(str::len);
        keys.iter().filter_map(move |(key, shown)| {
            let length = within(key)?;
            Some((key.get(key.len() - length..)?, shown))
        })
    }

    /// The value as the form shows it.
    pub(super) fn text(self, keys: &Keys) -> String {
        if self.kind == Kind::Entries {
            let own = self.entries(keys).filter(|(_, shown)| shown.locked_by().is_none());
            return own.map(|(name, shown)| format!("{name} = {}\n", entry(&shown.value))).collect();
        }
        match keys.get(self.key).map(|shown| &shown.value) {
            _ if self.kind == Kind::Secret => String::new(),
            Some(Json::String(text)) => text.clone(),
            Some(Json::Array(items)) => {
                items.iter().filter_map(Json::as_str).map(|item| format!("{item}\n")).collect()
            }
            Some(Json::Bool(true)) => "1".to_owned(),
            Some(Json::Bool(false)) | Some(Json::Null) | None => String::new(),
            Some(value) => number(value),
        }
    }

    /// What a template needs beside the value.
    pub(super) fn value(self, loaded: &Loaded, keys: &Keys) -> Value {
        let by = match self.kind {
            // A row of the file is locked, the table is not.
            Kind::Entries => None,
            _ => loaded.locked_by(self.key),
        };
        let fixed = self.entries(keys).filter(|(_, shown)| shown.locked_by().is_some());
        let fixed: Vec<Value> = fixed
            .filter(|_| self.kind == Kind::Entries)
            .map(|(name, shown)| {
                let by = locked(shown.locked_by().unwrap_or_default());
                context! { name, value => entry(&shown.value), by }
            })
            .collect();
        let choices = match self.kind {
            Kind::Choice(choices) => choices.to_vec(),
            _ => Vec::new(),
        };
        context! {
            name => self.key,
            label => self.label,
            help => self.help,
            kind => self.word(),
            locked => by.map(locked),
            is_set => self.kind == Kind::Secret && !loaded.value_of(self.key).is_null(),
            clear => format!("{CLEAR}{}", self.key),
            choices => choices,
            fixed => fixed,
        }
    }

    /// What `form` changes here.
    pub(super) fn read(self, form: &Form, loaded: &Loaded, keys: &Keys, change: &mut Change) {
        if self.kind != Kind::Entries && loaded.locked_by(self.key).is_some() {
            return;
        }
        // A box that is off is not posted; any other field that is missing was not on the page.
        let is_box = matches!(self.kind, Kind::Switch | Kind::Secret);
        if form.raw(self.key).is_none() && !is_box {
            return;
        }
        let raw = form.raw(self.key).unwrap_or_default().trim();
        let wanted = match self.kind {
            Kind::Secret => {
                let is_cleared = form.is_on(&format!("{CLEAR}{}", self.key));
                return change.secret(self.key, raw, is_cleared, loaded);
            }
            Kind::Entries => return self.read_entries(raw, keys, change),
            Kind::Text | Kind::Words | Kind::Choice(_) => Json::from(raw),
            Kind::Switch => Json::from(form.is_on(self.key)),
            Kind::Lines => raw.lines().map(str::trim).filter(|line| !line.is_empty()).collect(),
            Kind::Whole | Kind::Decimal if raw.is_empty() => Json::Null,
            Kind::Whole => match raw.replace(['_', ','], "").parse::<i64>() {
                Ok(number) => Json::from(number),
                Err(_) => return change.fault(self.key, "a whole number, such as 30"),
            },
            Kind::Decimal => match raw.replace(',', ".").parse::<f64>().ok().filter(|n| n.is_finite()) {
                Some(number) => Json::from(number),
                None => return change.fault(self.key, "a number, such as 0.5"),
            },
        };
        change.set(self.key, wanted, keys.get(self.key));
    }

    fn read_entries(self, raw: &str, keys: &Keys, change: &mut Change) {
        let mut wanted = BTreeMap::new();
        for line in raw.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some((name, value)) = read_entry(line) else {
                return change.fault(self.key, &format!("{line:?} is not name = value, such as US = 0.0083"));
            };
            wanted.insert(format!("{}.{name}", self.key), value);
        }
        for (name, shown) in self.entries(keys).filter(|(_, shown)| shown.locked_by().is_none()) {
            let key = format!("{}.{name}", self.key);
            match wanted.remove(&key) {
                Some(value) => change.set(&key, value, Some(shown)),
                None => change.take_away(&key),
            }
        }
        for (key, value) in wanted {
            change.alias(&key, self.key);
            change.patch.insert(key, value);
        }
    }
}

/// `US = 0.0083` or `"US" = { marketing = 0.1 }`.
fn read_entry(line: &str) -> Option<(String, Json)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim().trim_matches('"').trim();
    let table: toml::Table = format!("v = {}", value.trim()).parse().ok()?;
    let value = serde_json::to_value(table.get("v")?).ok()?;
    (!name.is_empty()).then(|| (name.to_owned(), value))
}

fn entry(value: &Json) -> String {
    match value {
        Json::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name} = {}", entry(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Json::Number(_) => number(value),
        other => other.to_string(),
    }
}

/// `5` and not `5.0`.
fn number(value: &Json) -> String {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(number) => number.to_string(),
        None => value.to_string(),
    }
}

/// What a form changes, and what can't be read of it.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) patch: Patch,
    pub(super) faults: Vec<FieldError>,
    /// Keys that stand in one field together with others.
    aliases: BTreeMap<String, &'static str>,
}

impl Change {
    /// Reads every one of `fields`.
    pub(super) fn read(fields: &[Field], form: &Form, loaded: &Loaded) -> Change {
        let (keys, mut change) = (keys(loaded), Change::default());
        for field in fields {
            field.read(form, loaded, &keys, &mut change);
        }
        change
    }

    pub(super) fn fault(&mut self, key: &str, message: &str) {
        self.faults.push(FieldError { field: key.to_owned(), message: message.to_owned() });
    }

    fn alias(&mut self, key: &str, field: &'static str) {
        self.aliases.insert(key.to_owned(), field);
    }

    /// The field in which a key stands.
    pub(super) fn field_of(&self, key: &str) -> String {
        self.aliases.get(key).map_or_else(|| key.to_owned(), |field| (*field).to_owned())
    }

    fn take_away(&mut self, key: &str) {
        self.patch.insert(key.to_owned(), Json::Null);
    }

    fn secret(&mut self, key: &str, given: &str, is_cleared: bool, loaded: &Loaded) {
        if is_cleared && !loaded.value_of(key).is_null() {
            self.take_away(key);
        } else if !given.is_empty() {
            self.patch.insert(key.to_owned(), Json::from(given));
        }
    }

    /// Sets what differs from what is in force; the default takes the setting away.
    fn set(&mut self, key: &str, wanted: Json, shown: Option<&Shown>) {
        let is_same =
            |value: &Json| *value == wanted || value.as_f64().is_some_and(|n| Some(n) == wanted.as_f64());
        if shown.is_some_and(|shown| is_same(&shown.value)) {
            return;
        }
        let is_default = shown.is_some_and(|shown| is_same(&shown.default));
        self.patch.insert(key.to_owned(), if is_default { Json::Null } else { wanted });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_are_read_as_the_file_has_them() {
        for (line, expected) in [
            ("US = 0.0083", Some(("US", json!(0.0083)))),
            ("\"+1787\" = 0.05", Some(("+1787", json!(0.05)))),
            ("* = 1", Some(("*", json!(1)))),
            (
                "DE = { marketing = 0.14, service = 0.005 }",
                Some(("DE", json!({"marketing": 0.14, "service": 0.005}))),
            ),
            ("US", None),
            ("= 3", None),
            ("US = dear", None),
        ] {
            let read = read_entry(line);
            assert_eq!(read.as_ref().map(|(name, value)| (name.as_str(), value.clone())), expected, "{line}");
            if let Some((_, value)) = read {
                assert_eq!(read_entry(&format!("x = {}", entry(&value))).unwrap().1, value, "{line}");
            }
        }
    }

    #[test]
    fn what_stays_as_it_is_becomes_no_setting_and_the_default_takes_one_away() {
        let shown = |value: Json, default: Json| Shown {
            key: "k".to_owned(),
            value,
            default,
            origin: crate::config::Origin::Settings,
            is_settable: true,
            is_secret: false,
            needs_restart: false,
            description: String::new(),
        };
        for (value, default, wanted, expected) in [
            (json!(5), json!(5), json!(5), None),
            (json!(100.0), json!(100.0), json!(100), None),
            (json!(7), json!(5), json!(5), Some(Json::Null)),
            (json!(7), json!(5), json!(9), Some(json!(9))),
            (json!(""), json!(""), json!("x"), Some(json!("x"))),
        ] {
            let mut change = Change::default();
            change.set("k", wanted.clone(), Some(&shown(value, default)));
            assert_eq!(change.patch.get("k").cloned(), expected, "{wanted}");
        }
    }
}
