//! The configuration as an operator sees it: every key with its value, where that comes from and what it is about.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value as Json;
use toml::Value;

use super::is_secret;
use super::place::{KIND, OF_SENDERS, Place, at, is_closed, is_of_operators, place, walk};
use super::value::to_json;
use crate::config::load::{OPEN_TABLES, SHIPPED};
use crate::config::{DEFAULTS, Loaded, Origin, Sender};

/// Keys that are read at the start only.
const AT_START: [&str; 1] = ["delivery.catch_up"];

/// What is told of a secret that is set.
const SET: &str = "(set, not shown)";

/// Comments of the embedded file by the key or table below them.
static DESCRIPTIONS: LazyLock<BTreeMap<String, String>> = LazyLock::new(descriptions);

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
