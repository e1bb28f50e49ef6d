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

/// Attributes that say what a person is called, the whole name first. Imports write headers so.
const NAMES: [&str; 8] =
    ["name", "full_name", "first_name", "given_name", "last_name", "family_name", "surname", "nickname"];
/// Longest text of names, in characters: more is nobody's name.
const MAX_NAMES: usize = 160;

fn name_in<'a>(attributes: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    attributes.get(key).and_then(Value::as_str).map(str::trim).filter(|name| !name.is_empty())
}

/// Everything that a person is called, each word to be found by its beginning. Empty for who has no name.
pub fn names(attributes: &Map<String, Value>) -> String {
    let mut all = String::new();
    for name in NAMES.iter().filter_map(|key| name_in(attributes, key)) {
        if !all.contains(name) {
            all.push_str(if all.is_empty() { "" } else { " " });
            all.push_str(name);
        }
    }
    match all.char_indices().nth(MAX_NAMES) {
        Some((end, _)) => all.get(..end).unwrap_or_default().to_owned(),
        None => all,
    }
}

/// What to call a person on a page: the whole name, or what there is of it.
pub fn display_name(attributes: &Map<String, Value>) -> Option<String> {
    if let Some(name) = name_in(attributes, "name").or_else(|| name_in(attributes, "full_name")) {
        return Some(name.to_owned());
    }
    let first = name_in(attributes, "first_name").or_else(|| name_in(attributes, "given_name"));
    let last = ["last_name", "family_name", "surname"].iter().find_map(|key| name_in(attributes, key));
    match (first, last) {
        (Some(first), Some(last)) => Some(format!("{first} {last}")),
        (found, other) => found.or(other).or_else(|| name_in(attributes, "nickname")).map(str::to_owned),
    }
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
    fn a_person_is_called_by_the_names_that_there_are() {
        for (attributes, shown, found) in [
            (json!({}), None, ""),
            (json!({"name": "  "}), None, ""),
            (json!({"name": 7}), None, ""),
            (json!({"name": "Ana Perera", "first_name": "Ana"}), Some("Ana Perera"), "Ana Perera"),
            (json!({"last_name": "Perera", "first_name": "Ana"}), Some("Ana Perera"), "Ana Perera"),
            (json!({"surname": "Perera", "nickname": "Nan"}), Some("Perera"), "Perera Nan"),
            (json!({"full_name": "Bo Silva", "city": "Kandy"}), Some("Bo Silva"), "Bo Silva"),
        ] {
            assert_eq!(display_name(&map(attributes.clone())).as_deref(), shown, "{attributes}");
            assert_eq!(names(&map(attributes.clone())), found, "{attributes}");
        }
        assert_eq!(names(&map(json!({"name": "é".repeat(500)}))).chars().count(), MAX_NAMES);
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
