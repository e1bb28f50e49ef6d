//! Examples of whole bodies, put together from those of their fields.

use serde_json::{Map, Value, json};

/// Shapes within shapes: deeper than any that we have.
const DEEPEST: usize = 12;

/// An example of a schema: its own, or one made of its parts.
pub(super) fn of(schemas: &Map<String, Value>, schema: &Value) -> Value {
    at(schemas, schema, 0)
}

fn at(schemas: &Map<String, Value>, schema: &Value, depth: usize) -> Value {
    if depth > DEEPEST {
        return Value::Null;
    }
    let given = schema.get("example").or_else(|| schema["examples"].get(0)).or_else(|| schema.get("const"));
    if let Some(given) = given.or_else(|| schema["enum"].get(0)) {
        return given.clone();
    }
    if let Some(target) = schema["$ref"].as_str().and_then(|text| schemas.get(text.rsplit('/').next()?)) {
        return at(schemas, target, depth + 1);
    }
    for alternatives in ["oneOf", "anyOf", "allOf"] {
        let mut alternatives = schema[alternatives].as_array().into_iter().flatten();
        if let Some(first) = alternatives.find(|schema| schema["type"] != "null") {
            return at(schemas, first, depth + 1);
        }
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"].get(0).and_then(Value::as_str));
    match kind {
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            // What may be missing is left out, unless it says what it could be.
            let required = schema["required"].as_array();
            let is_shown = |name: &str, property: &Value| {
                property.get("example").is_some()
                    || required.is_some_and(|names| names.iter().any(|one| one == name))
            };
            let shown = properties
                .filter(|(name, property)| is_shown(name, property))
                .map(|(name, property)| (name.clone(), at(schemas, property, depth + 1)));
            Value::Object(shown.collect())
        }
        Some("array") => json!([at(schemas, &schema["items"], depth + 1)]),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("boolean") => json!(false),
        Some("string") => json!("text"),
        _ => Value::Null,
    }
}
