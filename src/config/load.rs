//! Reading: the embedded file, below the settings of the data file, below a file of one's own, below the
//! environment, with the origin of each value and the nearest key for an unknown one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use toml::{Table, Value};

use crate::domain::quiet_hours::shipped_hours;

use super::settings::{self, Settings};
use super::{Config, ConfigError, DEFAULTS, wrong};

/// Environment variables that begin like this are read.
const PREFIX: &str = "ESE_";
/// Keys whose values are never printed.
pub(super) const SECRETS: [&str; 4] =
    ["server.metrics_token", "twilio.auth_token", "twilio.auth_token_secondary", "twilio.api_key_secret"];
/// Tables whose keys are the operator's own names.
pub(super) const OPEN_TABLES: [&str; 5] =
    ["quiet_hours.presets", "quiet_hours.regions", "prices.sms", "prices.mms", "prices.whatsapp"];
const SENDER_KEYS: [&str; 4] = ["address", "kind", "rate_per_second", "recipients_per_day"];
/// The embedded file, and the hours by region that come with the program.
pub(super) static SHIPPED: LazyLock<Table> = LazyLock::new(defaults);

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The embedded defaults.
    Default,
    /// The settings of the data file, changed while the server runs.
    Settings,
    /// The file of `--config`.
    File,
    /// An environment variable.
    Environment,
}

/// A configuration, where each of its values came from, and the layers that it is made of.
#[derive(Clone)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// The settings that it was made with, those too that something stronger overrules.
    pub settings: Settings,
    /// The whole tree.
    pub(super) table: Table,
    /// Where what is no default came from, by path.
    pub(super) origins: BTreeMap<String, Origin>,
    layers: Layers,
}

/// What lies over the settings.
#[derive(Clone, Default)]
struct Layers {
    file: Option<Table>,
    /// Section, key and value of each variable.
    environment: Vec<(String, String, Value)>,
    /// What the process found out itself; it has no origin.
    found: Vec<(String, String, Value)>,
}

impl std::fmt::Debug for Loaded {
    /// Without the layers, which hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("config", &self.config).field("settings", &self.settings).finish()
    }
}

impl Origin {
    /// The word of the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Origin::Default => "default",
            Origin::Settings => "settings",
            Origin::File => "file",
            Origin::Environment => "environment",
        }
    }

    /// Whether a setting can't change it.
    pub fn is_fixed(&self) -> bool {
        matches!(self, Origin::File | Origin::Environment)
    }

    pub(super) fn mark(&self) -> &'static str {
        match self {
            Origin::Default => "",
            Origin::Settings => "   # from the settings",
            Origin::File => "   # from the file",
            Origin::Environment => "   # from the environment",
        }
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
        let mut layers = Layers::default();
        if let Some(path) = file {
            let named = |error: &dyn std::fmt::Display| wrong(format!("{}: {error}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
            let own: Table = text.parse().map_err(|error: toml::de::Error| named(&error))?;
            overlay(&mut SHIPPED.clone(), own.clone(), "", &mut BTreeMap::new())
                .map_err(|error| named(&error))?;
            layers.file = Some(own);
        }
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(PREFIX) {
                layers.environment.push(read_environment(&SHIPPED, &name, key, value)?);
            }
        }
        layers.merge(Settings::default())
    }
}

impl Loaded {
    /// The same file and environment over other settings.
    ///
    /// # Errors
    /// Names the key that is unknown, of the wrong type, or makes no sense.
    pub fn with_settings(&self, settings: Settings) -> Result<Loaded, ConfigError> {
        self.layers.clone().merge(settings)
    }

    /// With a value that the process found out itself, such as the port that was free.
    ///
    /// # Errors
    /// As above.
    pub fn with_found(&self, section: &str, key: &str, value: &str) -> Result<Loaded, ConfigError> {
        let mut layers = self.layers.clone();
        layers.found.push((section.to_owned(), key.to_owned(), Value::String(value.to_owned())));
        layers.merge(self.settings.clone())
    }
}

impl Layers {
    fn merge(self, settings: Settings) -> Result<Loaded, ConfigError> {
        let mut table = SHIPPED.clone();
        let mut origins = BTreeMap::new();
        settings::apply(&mut table, &settings, &mut origins)?;
        if let Some(own) = &self.file {
            overlay(&mut table, own.clone(), "", &mut origins)?;
        }
        for (section, key, value) in &self.environment {
            put(&mut table, section, key, value);
            origins.insert(format!("{section}.{key}"), Origin::Environment);
        }
        for (section, key, value) in &self.found {
            put(&mut table, section, key, value);
        }
        settings::apply_to_senders(&mut table, &settings, &mut origins)?;
        let config: Config = Value::Table(table.clone())
            .try_into()
            .map_err(|error: toml::de::Error| wrong(error.to_string().trim().replace('\n', " ")))?;
        config.validate()?;
        Ok(Loaded { config, settings, table, origins, layers: self })
    }
}

fn put(table: &mut Table, section: &str, key: &str, value: &Value) {
    if let Some(Value::Table(entries)) = table.get_mut(section) {
        entries.insert(key.to_owned(), value.clone());
    }
}

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
    match nearest(key, &mut known.iter().copied()) {
        Some(candidate) => wrong(format!("unknown key {name}. Did you mean {candidate}?")),
        None => wrong(format!("unknown key {name}. Known here: {}", known.join(", "))),
    }
}

/// What was probably meant.
pub(super) fn nearest<'a>(key: &str, known: &mut dyn Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(key, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// `ESE_SERVER__LISTEN` sets `server.listen`; a `…_FILE` behind a text key reads the file.
fn read_environment(
    table: &Table,
    name: &str,
    key: &str,
    value: String,
) -> Result<(String, String, Value), ConfigError> {
    let Some((section, key)) = key.split_once("__") else {
        return Err(wrong(format!("{name}: write ESE_<SECTION>__<KEY>, such as ESE_SERVER__LISTEN")));
    };
    let (section, mut key) = (section.to_lowercase(), key.to_lowercase());
    let sections: Vec<String> = table.keys().cloned().collect();
    let Some(Value::Table(entries)) = table.get(&section) else {
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
    let Some(present) = entries.get(&key) else {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        return Err(unknown_key(&format!("{name} ({section}.{key})"), &key, &known));
    };
    let value = typed(present, &value)
        .ok_or_else(|| wrong(format!("{name}: {value:?} is not a {}", present.type_str())))?;
    Ok((section, key, value))
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
