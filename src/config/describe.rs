//! What `ese config` prints: the configuration in force as TOML, with the origin of each value.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::load::SECRETS;
use super::{Loaded, Origin};

/// A key as TOML wants it: bare where it may be, quoted where not.
fn bare_or_quoted(name: &str) -> String {
    let is_bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_bare { name.to_owned() } else { format!("\"{name}\"") }
}

impl Loaded {
    /// What is in force as TOML, secrets redacted, values that are not defaults marked.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        // By table, then name: a header stands once.
        let mut values = BTreeMap::new();
        flatten(&self.table, "", (&self.origins, &Origin::Default), &mut values);
        let mut rows: Vec<_> = values
            .iter()
            .filter_map(|(key, (value, origin))| Some((key.rsplit_once('.')?, (key, value, origin))))
            .collect();
        rows.sort_by_key(|(place, _)| *place);
        for ((table, name), (key, value, origin)) in rows {
            if table != section {
                let path: Vec<String> = table.split('.').map(bare_or_quoted).collect();
                text.push_str(&format!("\n[{}]\n", path.join(".")));
                section = table;
            }
            let is_set = value.as_str().is_none_or(|text| !text.is_empty());
            let shown = if SECRETS.contains(&key.as_str()) && is_set {
                "\"(set, not shown)\"".to_owned()
            } else {
                value.to_string()
            };
            text.push_str(&format!("{} = {shown}{}\n", bare_or_quoted(name), origin.mark()));
        }
        // Lists of tables come last: TOML ends them with the next header.
        for (key, (value, origin)) in values.iter().filter(|(key, _)| !key.contains('.')) {
            for entry in value.as_array().into_iter().flatten().filter_map(Value::as_table) {
                text.push_str(&format!("\n[[{key}]]{}\n", origin.mark()));
                let address = entry.get("address").and_then(Value::as_str).unwrap_or_default();
                for (name, value) in entry {
                    let own = self.origins.get(&format!("{key}.{address}.{name}"));
                    let mark = own.filter(|own| **own == Origin::Settings).map_or("", Origin::mark);
                    text.push_str(&format!("{name} = {value}{mark}\n"));
                }
            }
        }
        text.trim_start().to_owned()
    }
}

fn flatten(
    table: &Table,
    path: &str,
    (origins, above): (&BTreeMap<String, Origin>, &Origin),
    values: &mut BTreeMap<String, (Value, Origin)>,
) {
    for (key, value) in table {
        let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let origin = origins.get(&name).unwrap_or(above);
        match value {
            Value::Table(inner) => flatten(inner, &name, (origins, origin), values),
            _ => {
                values.insert(name, (value.clone(), origin.clone()));
            }
        }
    }
}
