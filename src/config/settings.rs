//! Settings: what an operator changes while the server runs. They lie in the data file, over the defaults and
//! below file and environment, under the path of their key: `delivery.account_rate_per_second`,
//! `quiet_hours.presets.house`, `senders.+14155550100.rate_per_second`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::load::{OPEN_TABLES, SECRETS, SHIPPED, nearest};
use super::{ConfigError, DEFAULTS, Loaded, Origin, Sender, wrong};

/// Tables and keys that no setting changes: where the process lives, who it is at Twilio, its secrets, and which
/// part of the network behind it a key of the API may reach.
const CLOSED: [&str; 6] =
    ["server", "store", "twilio", "log", "webhooks.allow_private", "webhooks.allowed_hosts"];
/// Keys that are read at the start only.
const AT_START: [&str; 1] = ["delivery.catch_up"];
/// What of a sender can be set; address and kind are the file's.
const OF_SENDERS: [&str; 2] = ["rate_per_second", "recipients_per_day"];
/// Deepest nesting of a value.
const DEPTH: usize = 8;
/// Comments of the embedded file by the key or table below them.
static DESCRIPTIONS: LazyLock<BTreeMap<String, String>> = LazyLock::new(descriptions);

/// The rows of the table `settings`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Counts up with every change.
    pub version: i64,
    /// By key.
    pub values: BTreeMap<String, Json>,
}

/// A key of the configuration, as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Its path.
    pub key: String,
    /// What is in force; a secret is not told.
    pub value: Json,
    /// What would be without file, environment and setting.
    pub default: Json,
    /// Where the value comes from.
    pub origin: Origin,
    /// Whether a setting may change it, if file and environment leave it open.
    pub is_settable: bool,
    /// Whether the value is never told.
    pub is_secret: bool,
    /// Whether a change takes effect at the next start only.
    pub needs_restart: bool,
    /// What it is about.
    pub description: String,
}

impl Shown {
    /// Who fixes the value, so that no setting changes it.
    pub fn locked_by(&self) -> Option<&'static str> {
        self.origin.is_fixed().then(|| self.origin.as_str())
    }
}

/// Where a key stands in the tree.
enum Place<'a> {
    Leaf(Vec<&'a str>),
    /// An entry that bears a name of the operator's own, taken as a whole.
    Entry,
    Sender {
        address: &'a str,
        field: &'a str,
    },
}

fn is_closed(key: &str) -> bool {
    CLOSED.iter().any(|closed| key == *closed || key.strip_prefix(closed).is_some_and(|r| r.starts_with('.')))
}

fn place(key: &str) -> Result<Place<'_>, ConfigError> {
    if is_closed(key) && at(&SHIPPED, key.split('.')).is_some() {
        return Err(wrong(format!("{key}: only the file and the environment can say that")));
    }
    if let Some((address, field)) = key.strip_prefix("senders.").and_then(|rest| rest.rsplit_once('.')) {
        if OF_SENDERS.contains(&field) {
            return Ok(Place::Sender { address, field });
        }
        return Err(unknown(key, OF_SENDERS.iter().map(|field| format!("senders.{address}.{field}"))));
    }
    for table in OPEN_TABLES {
        if let Some(name) = key.strip_prefix(table).and_then(|rest| rest.strip_prefix('.')) {
            if name.is_empty() || name.contains('.') || name.chars().count() > 64 {
                return Err(wrong(format!("{key}: a name has 1 to 64 characters and no dot")));
            }
            return Ok(Place::Entry);
        }
    }
    let path: Vec<&str> = key.split('.').collect();
    match at(&SHIPPED, path.iter().copied()) {
        Some(Value::Table(_)) | None => Err(unknown(key, leaves().into_iter())),
        Some(_) => Ok(Place::Leaf(path)),
    }
}

fn unknown(key: &str, known: impl Iterator<Item = String>) -> ConfigError {
    let known: Vec<String> = known.collect();
    match nearest(key, &mut known.iter().map(String::as_str)) {
        Some(candidate) => wrong(format!("{key}: unknown key. Did you mean {candidate}?")),
        None => wrong(format!("{key}: unknown key")),
    }
}

/// Every key that can be set, but for those with names of the operator's own.
fn leaves() -> Vec<String> {
    let mut found = Vec::new();
    walk(&SHIPPED, "", &mut |key, _| found.push(key.to_owned()));
    found.retain(|key| !is_closed(key));
    found
}

fn at<'a, 'k>(table: &'a Table, mut path: impl Iterator<Item = &'k str>) -> Option<&'a Value> {
    let mut found = table.get(path.next()?)?;
    for name in path {
        found = found.as_table()?.get(name)?;
    }
    Some(found)
}

/// Calls `visit` with every leaf, and with every entry of an open table as a whole.
fn walk(table: &Table, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    for (name, value) in table {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Table(inner) if !OPEN_TABLES.contains(&path) => walk(inner, &key, visit),
            Value::Array(_) if key == "senders" => {}
            _ => visit(&key, value),
        }
    }
}

/// Lays the settings over the defaults, senders excepted.
pub(super) fn apply(
    table: &mut Table,
    settings: &Settings,
    origins: &mut BTreeMap<String, Origin>,
) -> Result<(), ConfigError> {
    for (key, json) in &settings.values {
        let value = match place(key)? {
            Place::Sender { .. } => continue,
            Place::Entry => to_toml(json, DEPTH).ok_or_else(|| wrong(format!("{key}: can't be kept")))?,
            Place::Leaf(path) => typed(key, at(&SHIPPED, path.into_iter()), json)?,
        };
        set(table, key, value);
        origins.insert(key.clone(), Origin::Settings);
    }
    Ok(())
}

fn set(table: &mut Table, key: &str, value: Value) {
    let Some((parent, name)) = key.rsplit_once('.') else {
        return;
    };
    let mut inner = table;
    for part in parent.split('.') {
        match inner.get_mut(part) {
            Some(Value::Table(next)) => inner = next,
            _ => return,
        }
    }
    inner.insert(name.to_owned(), value);
}

/// Lays the settings of senders over what the file left open. One of a sender that the file no longer names
/// means nothing.
pub(super) fn apply_to_senders(
    table: &mut Table,
    settings: &Settings,
    origins: &mut BTreeMap<String, Origin>,
) -> Result<(), ConfigError> {
    let senders = table.get_mut("senders").and_then(Value::as_array_mut);
    let mut senders: Vec<&mut Table> =
        senders.into_iter().flatten().filter_map(|entry| entry.as_table_mut()).collect();
    for entry in &senders {
        let address = entry.get("address").and_then(Value::as_str).unwrap_or_default();
        for field in OF_SENDERS.iter().filter(|field| entry.contains_key(**field)) {
            origins.insert(format!("senders.{address}.{field}"), Origin::File);
        }
    }
    for (key, json) in &settings.values {
        let Place::Sender { address, field } = place(key)? else {
            continue;
        };
        let default = if field == "rate_per_second" { Value::Float(0.0) } else { Value::Integer(0) };
        let value = typed(key, Some(&default), json)?;
        let named =
            senders.iter_mut().find(|entry| entry.get("address").and_then(Value::as_str) == Some(address));
        if let Some(entry) = named.filter(|entry| !entry.contains_key(field)) {
            entry.insert(field.to_owned(), value);
            origins.insert(key.clone(), Origin::Settings);
        }
    }
    Ok(())
}

/// `json` in the type that the default has.
fn typed(key: &str, default: Option<&Value>, json: &Json) -> Result<Value, ConfigError> {
    let (value, what) = match default {
        Some(Value::String(_)) => (json.as_str().map(|text| Value::String(text.to_owned())), "a text"),
        Some(Value::Integer(_)) => (json.as_i64().map(Value::Integer), "a whole number"),
        Some(Value::Float(_)) => (json.as_f64().map(Value::Float), "a number"),
        Some(Value::Boolean(_)) => (json.as_bool().map(Value::Boolean), "true or false"),
        Some(Value::Array(_)) => (to_toml(json, DEPTH).filter(Value::is_array), "a list"),
        _ => (None, "something that can be kept"),
    };
    value.ok_or_else(|| wrong(format!("{key}: must be {what}")))
}

fn to_toml(json: &Json, depth: usize) -> Option<Value> {
    let deeper = depth.checked_sub(1)?;
    Some(match json {
        Json::Null => return None,
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Integer(whole),
            None => Value::Float(number.as_f64()?),
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => {
            Value::Array(items.iter().map(|item| to_toml(item, deeper)).collect::<Option<_>>()?)
        }
        Json::Object(entries) => {
            let entries = entries.iter().map(|(name, value)| Some((name.clone(), to_toml(value, deeper)?)));
            Value::Table(entries.collect::<Option<_>>()?)
        }
    })
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::String(text) => Json::from(text.as_str()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Boolean(flag) => Json::from(*flag),
        Value::Datetime(at) => Json::from(at.to_string()),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Table(entries) => {
            let entries = entries.iter().map(|(name, value)| (name.clone(), to_json(value)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}

impl Loaded {
    /// Every key with its value and where that comes from, by section.
    pub fn shown(&self) -> Vec<Shown> {
        let mut found = Vec::new();
        walk(&self.table, "", &mut |key, value| {
            let default = at(&SHIPPED, key.split('.'));
            found.push(self.show(key, Some(to_json(value)), default.map(to_json)));
        });
        for sender in &self.config.senders {
            for field in OF_SENDERS {
                let (value, default) = of_sender(sender, field);
                found.push(self.show(&format!("senders.{}.{field}", sender.address), value, default));
            }
        }
        found
    }

    fn show(&self, key: &str, value: Option<Json>, default: Option<Json>) -> Shown {
        let is_secret = SECRETS.contains(&key);
        let told = |value: Option<Json>| value.filter(|_| !is_secret).unwrap_or(Json::Null);
        Shown {
            key: key.to_owned(),
            value: told(value),
            default: told(default),
            origin: self.origins.get(key).cloned().unwrap_or(Origin::Default),
            is_settable: !is_closed(key),
            is_secret,
            needs_restart: is_closed(key) || AT_START.contains(&key),
            description: describe(key),
        }
    }

    /// Who fixes `key`, so that no setting changes it.
    pub fn locked_by(&self, key: &str) -> Option<&'static str> {
        self.origins.get(key).filter(|origin| origin.is_fixed()).map(Origin::as_str)
    }

    /// The value of `key` as [`Loaded::shown`] has it.
    pub fn value_of(&self, key: &str) -> Json {
        self.shown().into_iter().find(|shown| shown.key == key).map_or(Json::Null, |shown| shown.value)
    }

    /// With those of `settings` that can be taken, and what is wrong with the others: a file that was changed
    /// meanwhile must not keep the server from starting.
    ///
    /// # Errors
    /// When nothing can be taken at all.
    pub fn with_usable_settings(
        &self,
        settings: Settings,
    ) -> Result<(Loaded, Vec<ConfigError>), ConfigError> {
        if let Ok(whole) = self.with_settings(settings.clone()) {
            return Ok((whole, Vec::new()));
        }
        let mut left_out = Vec::new();
        let mut usable = Settings { version: settings.version, values: BTreeMap::new() };
        for (key, value) in settings.values {
            usable.values.insert(key.clone(), value);
            if let Err(error) = self.with_settings(usable.clone()) {
                usable.values.remove(&key);
                left_out.push(error);
            }
        }
        Ok((self.with_settings(usable)?, left_out))
    }
}

/// Whether `key` is a table whose keys are settings: what stands in it is meant then.
pub fn is_section(key: &str) -> bool {
    let is_sender = key.strip_prefix("senders.").is_some_and(|address| !address.contains('.'));
    key == "senders"
        || is_sender
        || (at(&SHIPPED, key.split('.')).is_some_and(Value::is_table) && place(key).is_err())
}

/// What is wrong with a change, by key.
pub type Faults = Vec<(String, String)>;

impl Loaded {
    /// The configuration with `patch` over its settings; null takes a setting away.
    ///
    /// # Errors
    /// Every key that is unknown or whose value can't be taken. Nothing is changed then.
    pub fn patched(&self, patch: &BTreeMap<String, Json>) -> Result<Loaded, Faults> {
        let mut faults: Faults = Vec::new();
        for key in patch.keys() {
            let known = match place(key) {
                Ok(Place::Sender { address, .. }) if self.sender(address).is_none() => {
                    let senders = self.config.senders.iter().map(|sender| sender.address.clone());
                    Err(unknown(key, senders))
                }
                other => other.map(drop),
            };
            faults.extend(known.err().map(|error| (key.clone(), without(key, &error))));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let without_one = |left_out: Option<&str>| {
            let mut values = self.settings.values.clone();
            for (key, value) in patch.iter().filter(|(key, _)| Some(key.as_str()) != left_out) {
                match value {
                    Json::Null => values.remove(key),
                    value => values.insert(key.clone(), value.clone()),
                };
            }
            self.with_settings(Settings { version: self.settings.version + 1, values })
        };
        let error = match without_one(None) {
            Ok(loaded) => return Ok(loaded),
            Err(error) => error,
        };
        // Whose absence mends it is at fault; if two are, neither mends it alone, and each is tried alone.
        for key in patch.keys().filter(|key| without_one(Some(key)).is_ok()) {
            faults.push((key.clone(), without(key, &error)));
        }
        if faults.is_empty() && patch.len() > 1 {
            let alone = patch.iter().map(|(key, value)| BTreeMap::from([(key.clone(), value.clone())]));
            faults.extend(alone.filter_map(|alone| self.patched(&alone).err()).flatten());
        }
        if faults.is_empty() {
            let keys: Vec<&str> = patch.keys().map(String::as_str).collect();
            faults.push((keys.join(", "), error.to_string()));
        }
        Err(faults)
    }

    fn sender(&self, address: &str) -> Option<&Sender> {
        self.config.senders.iter().find(|sender| sender.address == address)
    }
}

/// The error without the key that it begins with.
fn without(key: &str, error: &ConfigError) -> String {
    let text = error.to_string();
    text.strip_prefix(key).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text).to_owned()
}

fn of_sender(sender: &Sender, field: &str) -> (Option<Json>, Option<Json>) {
    if field == "rate_per_second" {
        return (Some(Json::from(sender.rate_per_second())), Some(Json::from(sender.kind.default_rate())));
    }
    (sender.recipients_per_day().map(Json::from), sender.kind.default_recipients().map(Json::from))
}

fn describe(key: &str) -> String {
    let of_sender =
        || key.starts_with("senders.").then(|| format!("senders.{}", key.rsplit('.').next()?).into());
    let of_table =
        || OPEN_TABLES.iter().find(|table| key.starts_with(*table)).map(|table| (*table).to_owned());
    let own = DESCRIPTIONS.get(key);
    let found = own.or_else(|| DESCRIPTIONS.get(&of_sender().flatten().or_else(of_table)?));
    found.cloned().unwrap_or_default()
}

/// The comment above each key and table header of the embedded file.
fn descriptions() -> BTreeMap<String, String> {
    let mut found = BTreeMap::from([
        ("senders.rate_per_second".to_owned(), "SMS parts a second.".to_owned()),
        (
            "senders.recipients_per_day".to_owned(),
            "People a day that the sender writes to of its own accord; null: no bound.".to_owned(),
        ),
    ]);
    let (mut section, mut comment) = (String::new(), Vec::new());
    for line in DEFAULTS.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
            continue;
        }
        let key = match line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            Some(header) => {
                section = header.to_owned();
                Some(section.clone())
            }
            None => line.split_once('=').map(|(name, _)| format!("{section}.{}", name.trim())),
        };
        if let Some(key) = key.filter(|_| !comment.is_empty()) {
            found.insert(key, comment.join(" "));
        }
        comment.clear();
    }
    found
}
