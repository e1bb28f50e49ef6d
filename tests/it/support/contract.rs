//! Holds answers against the document that the API describes itself with: a status that is not declared, a
//! body off its shape, a field that no shape has, or a missing header fails the test that met it.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use event_stream_engine::web::openapi;
use jsonschema::Validator;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi::document);
/// By operation, status and kind of body: to make one takes longer than to use it.
static VALIDATORS: LazyLock<Mutex<HashMap<String, &'static Validator>>> = LazyLock::new(Mutex::default);

/// What a reference stands for; anything else is itself.
pub(crate) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str().and_then(|text| text.strip_prefix('#')) {
        Some(place) => document.pointer(place).unwrap_or_else(|| panic!("{place} leads nowhere")),
        None => value,
    }
}

/// A validator of `schema` in which every shape has just its own fields. Problems may have more.
fn validator(document: &Value, schema: &Value) -> Validator {
    let mut schemas = document["components"]["schemas"].clone();
    for (name, schema) in schemas.as_object_mut().unwrap() {
        if schema.get("properties").is_some()
            && schema.get("additionalProperties").is_none()
            && name != "Problem"
        {
            schema["additionalProperties"] = json!(false);
        }
    }
    let whole = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [schema],
        "components": {"schemas": schemas}});
    jsonschema::options().should_validate_formats(true).build(&whole).unwrap()
}

/// Where a value is off its shape.
pub(crate) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    faults_by(&validator(document, schema), value)
}

fn faults_by(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The operation that a path below `/api/v1` leads to, by its pattern; a word goes before a parameter.
fn pattern_of(path: &str) -> Option<&'static str> {
    let given: Vec<&str> = path.split('/').collect();
    let fits = |pattern: &str| {
        let parts: Vec<&str> = pattern.split('/').collect();
        parts.len() == given.len()
            && parts
                .iter()
                .zip(&given)
                .all(|(part, given)| part == given || (part.starts_with('{') && !given.is_empty()))
    };
    let patterns = DOCUMENT["paths"].as_object().unwrap().keys().map(String::as_str);
    patterns.filter(|pattern| fits(pattern)).min_by_key(|pattern| pattern.matches('{').count())
}

/// Holds one answer against the document.
pub(crate) fn check(method: &str, path: &str, status: u16, headers: &HeaderMap, text: &str) {
    let Some(path) = path.strip_prefix("/api/v1") else {
        return;
    };
    if method == "HEAD" {
        // As GET, without the body.
        assert!(text.is_empty(), "{path}");
        return;
    }
    let place = format!("{method} {path} {status}");
    let operation =
        pattern_of(path).map(|pattern| (pattern, &DOCUMENT["paths"][pattern][method.to_lowercase()]));
    let Some((pattern, operation)) = operation.filter(|(_, operation)| operation.is_object()) else {
        // No operation of ours: a path or a method that is not there.
        assert!([401, 404, 405].contains(&status), "{place} is served but not described: {text}");
        return;
    };
    if status == 304 {
        return;
    }
    let answer = resolved(&DOCUMENT, &operation["responses"][status.to_string()]);
    assert!(answer.is_object(), "{place} is not declared: {text}");
    for (name, header) in answer["headers"].as_object().into_iter().flatten() {
        let header = resolved(&DOCUMENT, header);
        let given = headers.get(name).and_then(|value| value.to_str().ok());
        assert!(given.is_some() || header["required"] != true, "{place} has no {name}");
    }
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let Some(content) = answer["content"].as_object() else {
        assert!(text.is_empty(), "{place} has a body that is not declared: {text}");
        return;
    };
    let media = content.get(kind).unwrap_or_else(|| panic!("{place} is of the undeclared kind {kind:?}"));
    if kind.ends_with("json") {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{place}: no JSON: {text}"));
        let key = format!("{method} {pattern} {status} {kind}");
        let validator = *VALIDATORS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(key)
            .or_insert_with(|| Box::leak(Box::new(validator(&DOCUMENT, &media["schema"]))));
        let faults = faults_by(validator, &value);
        assert!(faults.is_empty(), "{place} is off its shape: {faults:#?}\n{value:#}");
    }
}
