//! Values on their way between JSON, as settings are kept, and TOML, as the configuration is read.

use serde_json::{Map, Value as Json};
use toml::Value;

use crate::config::{ConfigError, wrong};

/// Deepest nesting of a value.
const DEPTH: usize = 8;

/// `json` in the type that the default has.
pub(super) fn typed(key: &str, default: Option<&Value>, json: &Json) -> Result<Value, ConfigError> {
    let (value, what) = match default {
        Some(Value::String(_)) => (json.as_str().map(|text| Value::String(text.to_owned())), "a text"),
        Some(Value::Integer(_)) => (json.as_i64().map(Value::Integer), "a whole number"),
        Some(Value::Float(_)) => (json.as_f64().map(Value::Float), "a number"),
        Some(Value::Boolean(_)) => (json.as_bool().map(Value::Boolean), "true or false"),
        Some(Value::Array(_)) => (to_toml(json).filter(Value::is_array), "a list"),
        _ => (None, "something that can be kept"),
    };
    value.ok_or_else(|| wrong(format!("{key}: must be {what}")))
}

/// `None`: null, or nested too deep.
pub(super) fn to_toml(json: &Json) -> Option<Value> {
    nested(json, DEPTH)
}

fn nested(json: &Json, depth: usize) -> Option<Value> {
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
            Value::Array(items.iter().map(|item| nested(item, deeper)).collect::<Option<_>>()?)
        }
        Json::Object(entries) => {
            let entries = entries.iter().map(|(name, value)| Some((name.clone(), nested(value, deeper)?)));
            Value::Table(entries.collect::<Option<_>>()?)
        }
    })
}

pub(super) fn to_json(value: &Value) -> Json {
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
