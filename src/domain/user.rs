//! A person's attributes: what may be kept, and how a partial change is merged (RFC 7396).

use serde_json::{Map, Value};

/// Attributes of one person together, as JSON text, in bytes.
pub const MAX_ATTRIBUTES_BYTES: usize = 32 * 1024;
/// Attributes of one person.
pub const MAX_ATTRIBUTES: usize = 200;
/// One attribute's name, in characters.
pub const MAX_NAME: usize = 64;
/// How deep values may nest.
const MAX_DEPTH: usize = 8;

/// Why attributes were refused: the field and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AttributesError {
    /// `attributes.<name>`, or `attributes` for the whole.
    pub field: String,
    /// What is wrong, in words.
    pub message: String,
}

fn refused(field: impl Into<String>, message: impl Into<String>) -> AttributesError {
    AttributesError { field: field.into(), message: message.into() }
}

/// Checks names, depth and size.
///
/// # Errors
/// Names the attribute that breaks a limit.
pub fn check_attributes(attributes: &Map<String, Value>) -> Result<(), AttributesError> {
    checked_text(attributes).map(drop)
}

/// The attributes as JSON text, checked as by [`check_attributes`]: the size is that of the text, so it is
/// written once.
///
/// # Errors
/// Names the attribute that breaks a limit.
pub fn checked_text(attributes: &Map<String, Value>) -> Result<String, AttributesError> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(refused(
            "attributes",
            format!("{} attributes; at most {MAX_ATTRIBUTES} are kept", attributes.len()),
        ));
    }
    for (name, value) in attributes {
        let length = name.chars().count();
        if length == 0 || length > MAX_NAME || name.chars().any(char::is_control) {
            let shown: String = name.chars().take(MAX_NAME).filter(|c| !c.is_control()).collect();
            return Err(refused(
                format!("attributes.{shown}"),
                format!("a name has 1 to {MAX_NAME} characters, without control characters"),
            ));
        }
        if is_deeper_than(value, MAX_DEPTH) {
            return Err(refused(format!("attributes.{name}"), format!("nested deeper than {MAX_DEPTH}")));
        }
        if has_nul(value) {
            return Err(refused(format!("attributes.{name}"), "a NUL character can't be kept"));
        }
    }
    let text = serde_json::to_string(attributes)
        .map_err(|error| refused("attributes", format!("can't be written as JSON: {error}")))?;
    if text.len() > MAX_ATTRIBUTES_BYTES {
        return Err(refused(
            "attributes",
            format!("{} bytes; at most {MAX_ATTRIBUTES_BYTES} are kept for one person", text.len()),
        ));
    }
    Ok(text)
}

fn is_deeper_than(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth == 0 || items.iter().any(|item| is_deeper_than(item, depth - 1)),
        Value::Object(map) => depth == 0 || map.values().any(|item| is_deeper_than(item, depth - 1)),
        _ => false,
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(key, item)| key.contains('\0') || has_nul(item)),
        _ => false,
    }
}

/// Merges `patch` into `target` by RFC 7396: null removes, objects merge, anything else replaces.
/// Returns whether anything changed.
pub fn merge_patch(target: &mut Map<String, Value>, patch: &Map<String, Value>) -> bool {
    let mut changed = false;
    for (name, value) in patch {
        match value {
            Value::Null => changed |= target.shift_remove(name).is_some(),
            Value::Object(inner) => {
                if let Some(Value::Object(present)) = target.get_mut(name) {
                    changed |= merge_patch(present, inner);
                } else {
                    let mut fresh = Map::new();
                    merge_patch(&mut fresh, inner);
                    target.insert(name.clone(), Value::Object(fresh));
                    changed = true;
                }
            }
            _ => {
                if target.get(name) != Some(value) {
                    target.insert(name.clone(), value.clone());
                    changed = true;
                }
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn patches_merge_as_rfc_7396_has_it() {
        let mut target = map(json!({"a": "b", "c": {"d": "e", "f": "g"}}));
        assert!(merge_patch(
            &mut target,
            &map(json!({"a": "z", "c": {"f": null}, "n": {"x": null, "y": 1}}))
        ));
        assert_eq!(Value::Object(target.clone()), json!({"a": "z", "c": {"d": "e"}, "n": {"y": 1}}));
        assert!(!merge_patch(&mut target, &map(json!({"a": "z", "gone": null}))));
    }

    #[test]
    fn limits_are_named_by_attribute() {
        assert!(check_attributes(&map(json!({"name": "Ana", "tags": ["a"]}))).is_ok());
        let mut deep = json!(1);
        for _ in 0..10 {
            deep = json!([deep]);
        }
        assert_eq!(check_attributes(&map(json!({"x": deep}))).unwrap_err().field, "attributes.x");
        assert_eq!(check_attributes(&map(json!({"": 1}))).unwrap_err().field, "attributes.");
        assert_eq!(check_attributes(&map(json!({"n": "a\0b"}))).unwrap_err().field, "attributes.n");
        let long = map(json!({"n": "x".repeat(MAX_ATTRIBUTES_BYTES)}));
        assert_eq!(check_attributes(&long).unwrap_err().field, "attributes");
    }
}
