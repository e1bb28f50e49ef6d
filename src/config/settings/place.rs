//! Where a key stands in the tree of the configuration, and whether a setting may change it at all.

use toml::{Table, Value};

use crate::config::load::{OPEN_TABLES, SHIPPED, nearest};
use crate::config::{ConfigError, wrong};

/// Tables and keys that no setting changes: where the process lives, and which part of the network behind it is
/// reached.
const CLOSED: [&str; 5] = ["server", "store", "log", "webhooks.allow_private", "webhooks.allowed_hosts"];
/// What only an operator sets, and no key of the API: who we are at Twilio, and where Twilio reaches us. A key that
/// was lost must not send the account's secrets elsewhere.
const OF_OPERATORS: [&str; 2] = ["twilio", "server.public_base_url"];
/// What of a sender can be set.
pub(super) const OF_SENDERS: [&str; 2] = ["rate_per_second", "recipients_per_day"];
/// Set for an address that the file does not name, it adds a sender.
pub(super) const KIND: &str = "kind";
/// Where a key stands in the tree.
pub(super) enum Place<'a> {
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

pub(super) fn is_of_operators(key: &str) -> bool {
    OF_OPERATORS.iter().any(|table| lies_in(key, table))
}

pub(super) fn is_closed(key: &str) -> bool {
    CLOSED.iter().any(|closed| lies_in(key, closed)) && !is_of_operators(key)
}

pub(super) fn place(key: &str) -> Result<Place<'_>, ConfigError> {
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

pub(super) fn unknown(key: &str, known: impl Iterator<Item = String>) -> ConfigError {
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

pub(super) fn at<'a, 'k>(table: &'a Table, mut path: impl Iterator<Item = &'k str>) -> Option<&'a Value> {
    let mut found = table.get(path.next()?)?;
    for name in path {
        found = found.as_table()?.get(name)?;
    }
    Some(found)
}

/// Calls `visit` with every leaf, and with every entry of an open table as a whole.
pub(super) fn walk(table: &Table, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    for (name, value) in table {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Table(inner) if !OPEN_TABLES.contains(&path) => walk(inner, &key, visit),
            Value::Array(_) if key == "senders" => {}
            _ => visit(&key, value),
        }
    }
}

/// Whether `key` is a table whose keys are settings: what stands in it is meant then.
pub fn is_section(key: &str) -> bool {
    let is_sender = key.strip_prefix("senders.").is_some_and(|address| !address.contains('.'));
    key == "senders"
        || is_sender
        || (at(&SHIPPED, key.split('.')).is_some_and(Value::is_table) && place(key).is_err())
}
