//! Settings: what an operator changes while the server runs. They lie in the data file, over the defaults and
//! below file and environment, under the path of their key: `delivery.account_rate_per_second`,
//! `quiet_hours.presets.house`, `senders.+14155550100.rate_per_second`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::load::{OPEN_TABLES, SECRETS, SHIPPED, nearest};
use super::{ConfigError, DEFAULTS, Loaded, Origin, Sender, wrong};
use crate::twilio::client::is_loopback;

/// Tables and keys that no setting changes: where the process lives, and which part of the network behind it is
/// reached.
const CLOSED: [&str; 5] = ["server", "store", "log", "webhooks.allow_private", "webhooks.allowed_hosts"];
/// What only an operator sets, and no key of the API: who we are at Twilio, and where Twilio reaches us. A key that
/// was lost must not send the account's secrets elsewhere.
const OF_OPERATORS: [&str; 2] = ["twilio", "server.public_base_url"];
/// Where the secrets of the account are sent to.
const BASES: [&str; 2] = ["twilio.api_base", "twilio.content_base"];
/// The secrets that are sent there.
const SENT: [&str; 2] = ["twilio.auth_token", "twilio.api_key_secret"];
/// Keys that are read at the start only.
const AT_START: [&str; 1] = ["delivery.catch_up"];
/// What of a sender can be set.
const OF_SENDERS: [&str; 2] = ["rate_per_second", "recipients_per_day"];
/// Set for an address that the file does not name, it adds a sender.
const KIND: &str = "kind";
/// What is told of a secret that is set.
const SET: &str = "(set, not shown)";
/// Deepest nesting of a value.
const DEPTH: usize = 8;
/// Comments of the embedded file by the key or table below them.
static DESCRIPTIONS: LazyLock<BTreeMap<String, String>> = LazyLock::new(descriptions);

/// The rows of the table `settings`.
#[derive(Clone, Default, PartialEq)]
pub struct Settings {
    /// Counts up with every change.
    pub version: i64,
    /// By key, secrets in plain words.
    pub values: BTreeMap<String, Json>,
}

impl std::fmt::Debug for Settings {
    /// Without the values: secrets are among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&String> = self.values.keys().collect();
        f.debug_struct("Settings").field("version", &self.version).field("keys", &keys).finish()
    }
}

/// Who changes settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setter {
    /// A key of the API, with the scope `admin`.
    Key,
    /// A person at the pages, with the role of an admin.
    Operator,
}

/// Whether the value of `key` is never told, and kept sealed.
pub fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key)
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
    /// Whether a key of the API may change it, if file and environment leave it open.
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

fn lies_in(key: &str, table: &str) -> bool {
    key == table || key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}

fn is_of_operators(key: &str) -> bool {
    OF_OPERATORS.iter().any(|table| lies_in(key, table))
}

fn is_closed(key: &str) -> bool {
    CLOSED.iter().any(|closed| lies_in(key, closed)) && !is_of_operators(key)
}

fn place(key: &str) -> Result<Place<'_>, ConfigError> {
    if is_closed(key) && at(&SHIPPED, key.split('.')).is_some() {
        return Err(wrong(format!("{key}: only the file and the environment can say that")));
    }
    if let Some((address, field)) = key.strip_prefix("senders.").and_then(|rest| rest.rsplit_once('.')) {
        if OF_SENDERS.contains(&field) || field == KIND {
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
    found.retain(|key| !is_closed(key) && !is_of_operators(key));
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

/// Adds the senders that settings name, behind those of the file, and lays their settings over what the file left
/// open. One of a sender that nobody names means nothing.
pub(super) fn apply_to_senders(
    table: &mut Table,
    settings: &Settings,
    origins: &mut BTreeMap<String, Origin>,
) -> Result<(), ConfigError> {
    let entry = table.entry("senders").or_insert_with(|| Value::Array(Vec::new()));
    let Some(list) = entry.as_array_mut() else {
        return Ok(());
    };
    let of_file: Vec<String> = list.iter().filter_map(|entry| address_of(entry).map(str::to_owned)).collect();
    for (entry, address) in list.iter().zip(&of_file) {
        for field in OF_SENDERS.into_iter().chain([KIND]).filter(|field| entry.get(field).is_some()) {
            origins.insert(format!("senders.{address}.{field}"), Origin::File);
        }
    }
    for (key, json) in &settings.values {
        let Place::Sender { address, field: KIND } = place(key)? else {
            continue;
        };
        let kind = typed(key, Some(&Value::String(String::new())), json)?;
        if !of_file.iter().any(|one| one == address) {
            let named = [("address".to_owned(), Value::from(address)), (KIND.to_owned(), kind)];
            list.push(Value::Table(named.into_iter().collect()));
            origins.insert(key.clone(), Origin::Settings);
        }
    }
    let mut senders: Vec<&mut Table> = list.iter_mut().filter_map(|entry| entry.as_table_mut()).collect();
    for (key, json) in &settings.values {
        let Place::Sender { address, field } = place(key)? else {
            continue;
        };
        if field == KIND {
            continue;
        }
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

fn address_of(entry: &Value) -> Option<&str> {
    entry.get("address").and_then(Value::as_str)
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
        let is_secret = is_secret(key);
        let told = |value: Option<Json>| value.filter(|_| !is_secret).unwrap_or(Json::Null);
        Shown {
            key: key.to_owned(),
            value: told(value),
            default: told(default),
            origin: self.origins.get(key).cloned().unwrap_or(Origin::Default),
            is_settable: !is_closed(key) && !is_of_operators(key),
            is_secret,
            needs_restart: is_closed(key) || AT_START.contains(&key),
            description: describe(key),
        }
    }

    /// Who fixes `key`, so that no setting changes it.
    pub fn locked_by(&self, key: &str) -> Option<&'static str> {
        self.origins.get(key).filter(|origin| origin.is_fixed()).map(Origin::as_str)
    }

    /// The value of `key` as [`Loaded::shown`] has it; of a secret only that there is one.
    pub fn value_of(&self, key: &str) -> Json {
        if is_secret(key) {
            let value = at(&self.table, key.split('.')).and_then(Value::as_str).unwrap_or_default();
            return if value.is_empty() { Json::Null } else { Json::from(SET) };
        }
        if let Ok(Place::Sender { address, field: KIND }) = place(key) {
            return self.sender(address).map_or(Json::Null, |sender| Json::from(sender.kind.as_str()));
        }
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
    /// The configuration with `patch` of `setter` over its settings; null takes a setting away.
    ///
    /// # Errors
    /// Every key that is unknown or whose value can't be taken. Nothing is changed then.
    pub fn patched(&self, patch: &BTreeMap<String, Json>, setter: Setter) -> Result<Loaded, Faults> {
        let mut faults: Faults = Vec::new();
        let is_added = |address: &str| patch.contains_key(&format!("senders.{address}.{KIND}"));
        for key in patch.keys() {
            let known = match place(key) {
                Ok(_) if setter == Setter::Key && is_of_operators(key) => {
                    Err(wrong(format!("{key}: only an operator, the file and the environment can say that")))
                }
                Ok(Place::Sender { address, .. }) if self.sender(address).is_none() && !is_added(address) => {
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
            Ok(loaded) => {
                let strays = self.strays(&loaded, patch);
                return if strays.is_empty() { Ok(loaded) } else { Err(strays) };
            }
            Err(error) => error,
        };
        // Whose absence mends it is at fault; if two are, neither mends it alone, and each is tried alone.
        for key in patch.keys().filter(|key| without_one(Some(key)).is_ok()) {
            faults.push((key.clone(), without(key, &error)));
        }
        if faults.is_empty() && patch.len() > 1 {
            let alone = patch.iter().map(|(key, value)| BTreeMap::from([(key.clone(), value.clone())]));
            faults.extend(alone.filter_map(|alone| self.patched(&alone, setter).err()).flatten());
        }
        if faults.is_empty() {
            let keys: Vec<&str> = patch.keys().map(String::as_str).collect();
            faults.push((keys.join(", "), error.to_string()));
        }
        Err(faults)
    }

    /// What would send the account's secrets where they were not meant to go: an address that is neither Twilio's nor
    /// on this machine, or another one with secrets that were given for the last.
    fn strays(&self, after: &Loaded, patch: &BTreeMap<String, Json>) -> Faults {
        let base = |loaded: &Loaded, key: &str| at(&loaded.table, key.split('.')).map(to_json);
        let moved: Vec<&str> = BASES.into_iter().filter(|key| base(self, key) != base(after, key)).collect();
        let mut faults = Faults::new();
        for key in &moved {
            let twilio = &after.config.twilio;
            let url = if *key == "twilio.api_base" { &twilio.api_base } else { &twilio.content_base };
            if !is_twilio(url) && !is_loopback(url) {
                let text = "must be an https address of twilio.com, or of a simulator on this machine";
                faults.push(((*key).to_owned(), text.to_owned()));
            }
        }
        let is_given = |key: &str| patch.get(key).is_some_and(|value| !value.is_null());
        for key in SENT.into_iter().filter(|key| !moved.is_empty() && !is_given(key)) {
            if !after.value_of(key).is_null() {
                let text = "give it again: it is not sent to another address unseen";
                faults.push((key.to_owned(), text.to_owned()));
            }
        }
        faults
    }

    fn sender(&self, address: &str) -> Option<&Sender> {
        self.config.senders.iter().find(|sender| sender.address == address)
    }
}

fn is_twilio(url: &url::Url) -> bool {
    url.scheme() == "https"
        && url.host_str().is_some_and(|host| host == "twilio.com" || host.ends_with(".twilio.com"))
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
