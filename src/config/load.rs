//! Reading: the embedded file, below a file of one's own, below the environment, with the origin of each
//! value and the nearest key for an unknown one.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use crate::domain::quiet_hours::shipped_hours;

use super::{Config, ConfigError, DEFAULTS, wrong};

/// Environment variables that begin like this are read.
const PREFIX: &str = "ESE_";
/// Keys whose values are never printed.
const SECRETS: [&str; 4] =
    ["server.metrics_token", "twilio.auth_token", "twilio.auth_token_secondary", "twilio.api_key_secret"];
/// Tables whose keys are the operator's own names.
const OPEN_TABLES: [&str; 5] =
    ["quiet_hours.presets", "quiet_hours.regions", "prices.sms", "prices.mms", "prices.whatsapp"];
const SENDER_KEYS: [&str; 4] = ["address", "kind", "rate_per_second", "recipients_per_day"];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The embedded defaults.
    Default,
    /// The file of `--config`.
    File,
    /// An environment variable.
    Environment,
}

/// A configuration and where each of its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// `section.key` to value and origin.
    values: BTreeMap<String, (Value, Origin)>,
}

impl Origin {
    fn mark(&self) -> &'static str {
        match self {
            Origin::Default => "",
            Origin::File => "   # from the file",
            Origin::Environment => "   # from the environment",
        }
    }
}

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
        let mut rows: Vec<_> = self
            .values
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
        for (key, (value, origin)) in self.values.iter().filter(|(key, _)| !key.contains('.')) {
            for entry in value.as_array().into_iter().flatten().filter_map(Value::as_table) {
                text.push_str(&format!("\n[[{key}]]{}\n", origin.mark()));
                for (name, value) in entry {
                    text.push_str(&format!("{name} = {value}\n"));
                }
            }
        }
        text.trim_start().to_owned()
    }
}

impl Config {
    /// Reads the defaults, the file and the environment, in this order, and checks the result.
    ///
    /// # Errors
    /// Names the key that is unknown, of the wrong type, or makes no sense.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigError> {
        let mut table = defaults();
        let mut origins = BTreeMap::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            let own: Table = text.parse().map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            overlay(&mut table, own, "", &mut origins)
                .map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        }
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(PREFIX) {
                set_from_environment(&mut table, &name, key, value, &mut origins)?;
            }
        }
        let config: Config = Value::Table(table.clone())
            .try_into()
            .map_err(|error: toml::de::Error| wrong(error.to_string().trim().replace('\n', " ")))?;
        config.validate()?;
        let mut values = BTreeMap::new();
        flatten(&table, "", (&origins, &Origin::Default), &mut values);
        Ok(Loaded { config, values })
    }
}

/// The embedded file, and the hours by region that come with the program.
fn defaults() -> Table {
    let mut table: Table = DEFAULTS.parse().expect("the embedded file parses, a test shows it");
    let regions = table
        .get_mut("quiet_hours")
        .and_then(|section| section.get_mut("regions"))
        .and_then(Value::as_table_mut)
        .expect("the embedded file has the table, a test shows it");
    for (code, days) in shipped_hours() {
        let days = days.into_iter().map(|(day, hours)| (day, Value::String(hours))).collect();
        regions.insert(code, Value::Table(days));
    }
    table
}

/// Lays `own` over `table`, refusing keys that `table` does not have.
fn overlay(
    table: &mut Table,
    own: Table,
    path: &str,
    origins: &mut BTreeMap<String, Origin>,
) -> Result<(), ConfigError> {
    for (key, value) in own {
        let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if name == "senders" {
            check_senders(&value)?;
            origins.insert(name, Origin::File);
            table.insert(key, value);
            continue;
        }
        if OPEN_TABLES.contains(&path) {
            origins.insert(name, Origin::File);
            table.insert(key, value);
            continue;
        }
        if !table.contains_key(&key) {
            let mut known: Vec<&str> = table.keys().map(String::as_str).collect();
            if path.is_empty() {
                known.push("senders");
            }
            return Err(unknown_key(&name, &key, &known));
        }
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(own)) => overlay(inner, own, &name, origins)?,
            (Some(Value::Table(_)), _) => return Err(wrong(format!("{name} is a table: write [{name}]"))),
            (_, value) => {
                origins.insert(name, Origin::File);
                table.insert(key, value);
            }
        }
    }
    Ok(())
}

fn check_senders(value: &Value) -> Result<(), ConfigError> {
    let Some(senders) = value.as_array() else {
        return Err(wrong("senders is a list: write [[senders]]"));
    };
    for (number, sender) in senders.iter().enumerate() {
        for key in sender.as_table().into_iter().flat_map(|table| table.keys()) {
            if !SENDER_KEYS.contains(&key.as_str()) {
                return Err(unknown_key(&format!("senders[{}].{key}", number + 1), key, &SENDER_KEYS));
            }
        }
    }
    Ok(())
}

fn unknown_key(name: &str, key: &str, known: &[&str]) -> ConfigError {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(key, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, candidate)) => wrong(format!("unknown key {name}. Did you mean {candidate}?")),
        None => wrong(format!("unknown key {name}. Known here: {}", known.join(", "))),
    }
}

/// `ESE_SERVER__LISTEN` sets `server.listen`; a `…_FILE` behind a text key reads the file.
fn set_from_environment(
    table: &mut Table,
    name: &str,
    key: &str,
    value: String,
    origins: &mut BTreeMap<String, Origin>,
) -> Result<(), ConfigError> {
    let Some((section, key)) = key.split_once("__") else {
        return Err(wrong(format!("{name}: write ESE_<SECTION>__<KEY>, such as ESE_SERVER__LISTEN")));
    };
    let (section, mut key) = (section.to_lowercase(), key.to_lowercase());
    let sections: Vec<String> = table.keys().cloned().collect();
    let Some(Value::Table(entries)) = table.get_mut(&section) else {
        let known: Vec<&str> = sections.iter().map(String::as_str).collect();
        return Err(unknown_key(&format!("{name} (section {section})"), &section, &known));
    };
    let mut value = value;
    if !entries.contains_key(&key)
        && let Some(bare) = key.strip_suffix("_file").filter(|bare| entries.contains_key(*bare))
    {
        value = std::fs::read_to_string(&value)
            .map_err(|error| wrong(format!("{name}: {value}: {error}")))?
            .trim_end_matches(['\r', '\n'])
            .to_owned();
        key = bare.to_owned();
    }
    let known: Vec<String> = entries.keys().cloned().collect();
    let Some(present) = entries.get_mut(&key) else {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        return Err(unknown_key(&format!("{name} ({section}.{key})"), &key, &known));
    };
    *present = typed(present, &value)
        .ok_or_else(|| wrong(format!("{name}: {value:?} is not a {}", present.type_str())))?;
    origins.insert(format!("{section}.{key}"), Origin::Environment);
    Ok(())
}

/// `text` in the type that the default has.
fn typed(default: &Value, text: &str) -> Option<Value> {
    match default {
        Value::String(_) => Some(Value::String(text.to_owned())),
        Value::Integer(_) => text.parse().ok().map(Value::Integer),
        Value::Float(_) => text.parse().ok().map(Value::Float),
        Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        _ => None,
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
