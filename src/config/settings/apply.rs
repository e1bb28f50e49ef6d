//! Lays settings over the configuration: over the defaults, and beside the senders of the file.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Settings;
use super::place::{KIND, OF_SENDERS, Place, at, place};
use super::value::{to_toml, typed};
use crate::config::load::SHIPPED;
use crate::config::{ConfigError, Origin, wrong};

/// Lays the settings over the defaults, senders excepted.
pub(in crate::config) fn apply(
    table: &mut Table,
    settings: &Settings,
    origins: &mut BTreeMap<String, Origin>,
) -> Result<(), ConfigError> {
    for (key, json) in &settings.values {
        let value = match place(key)? {
            Place::Sender { .. } => continue,
            Place::Entry => to_toml(json).ok_or_else(|| wrong(format!("{key}: can't be kept")))?,
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
pub(in crate::config) fn apply_to_senders(
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
