//! Makes the document of what the handlers say: adds what is common, closes requests, completes examples.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::components::{self, error_of, reference};
use super::example;
use super::shapes::WHOLE;
use crate::web::api::{OPEN, ROUTES, operations::Operations};

/// Shapes whose answers carry the version of the edit as `ETag`, and whose PUT and PATCH take `If-Match`.
const VERSIONED: [&str; 5] = ["Segment", "Template", "Campaign", "Settings", "Sender"];
/// Errors that every operation with a key may answer.
const ALWAYS: [u16; 7] = [400, 401, 403, 422, 429, 500, 503];

const ABOUT: &str = "WhatsApp and SMS campaigns over Twilio: people and their consent, segments, templates, \
campaigns, single messages, and everything that happens.

Every operation but this document needs `Authorization: Bearer <api key>`; the scope that the key needs stands \
with its security. Times are RFC 3339 in UTC, numbers E.164. An unknown parameter or field is 422 and named. \
Errors are `application/problem+json`; a method that a path does not have is 405. Lists have `limit` and `cursor`.";

/// The whole document.
pub fn document() -> Value {
    let mut whole = serde_json::to_value(Operations::openapi()).unwrap_or_default();
    let mut schemas = take_schemas(&mut whole);
    let requests = reached(&whole, &schemas, "requestBody");
    let answers = reached(&whole, &schemas, "responses");
    for (name, schema) in &mut schemas {
        if requests.contains(name) {
            close(schema);
        } else if answers.contains(name) {
            require_all(schema);
        }
    }
    let mut paths = whole["paths"].take();
    whole["paths"] = json!({});
    // In the order of the table; what it doesn't have comes last, for the tests to find.
    for route in ROUTES.iter().chain(OPEN) {
        let item = paths.get_mut(route.path).and_then(Value::as_object_mut);
        if let Some(mut operation) = item.and_then(|item| item.shift_remove(&route.method.to_lowercase())) {
            complete(&mut operation, route, &schemas);
            whole["paths"][route.path][route.method.to_lowercase()] = operation;
        }
    }
    for (path, item) in paths.as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            whole["paths"][path][method] = operation.clone();
        }
    }
    whole["openapi"] = json!("3.1.0");
    whole["info"] = json!({"title": "Event Stream Engine", "version": env!("CARGO_PKG_VERSION"),
        "description": ABOUT, "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"}});
    whole["servers"] = json!([{"url": "/api/v1"}]);
    whole["tags"] = tags(&whole["paths"]);
    whole["components"] = json!({
        "schemas": schemas,
        "responses": components::responses(),
        "parameters": components::parameters(),
        "headers": components::headers(),
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer",
            "description": "An API key. Its scopes: read, write, send, admin."}},
    });
    whole
}

/// The schemas, those written as JSON in their places, those that have another's fields as one object.
fn take_schemas(whole: &mut Value) -> Map<String, Value> {
    let collected = whole["components"].get_mut("schemas").map(Value::take);
    let mut found = collected.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    for schema in found.values_mut() {
        if let Some(written) = schema.get_mut(WHOLE).map(Value::take) {
            *schema = written;
        }
    }
    let bases = found.clone();
    for (name, schema) in &mut found {
        flatten(schema, &bases);
        refer_to_rows(name, schema, &bases);
    }
    found
}

/// A list says of which shape its rows are, instead of saying the shape again: `Page_User` is of `User`.
fn refer_to_rows(name: &str, schema: &mut Value, bases: &Map<String, Value>) {
    let row = name.split_once('_').map(|(_, row)| row).filter(|row| bases.contains_key(*row));
    if let (Some(row), Some(items)) = (row, schema.pointer_mut("/properties/data/items")) {
        *items = reference("schemas", row);
    }
}

/// Makes one object of a shape that has another's fields beside its own; its own go before.
fn flatten(schema: &mut Value, bases: &Map<String, Value>) {
    let Some(parts) = schema.as_object_mut().and_then(|schema| schema.shift_remove("allOf")) else {
        return;
    };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts.as_array().into_iter().flatten() {
        let base = part["$ref"].as_str().and_then(|text| bases.get(text.rsplit('/').next()?));
        let part = base.unwrap_or(part);
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
    }
    schema["type"] = json!("object");
    schema["properties"] = Value::Object(properties);
    schema["required"] = Value::Array(required);
}

/// Names of the schemas that stand under `member` of any operation, and those that they name.
fn reached(whole: &Value, schemas: &Map<String, Value>, member: &str) -> BTreeSet<String> {
    let operations = whole["paths"].as_object().into_iter().flatten().flat_map(|(_, item)| {
        item.as_object().into_iter().flatten().filter_map(|(_, operation)| operation.get(member))
    });
    let mut open: Vec<&Value> = operations.collect();
    let mut found = BTreeSet::new();
    while let Some(value) = open.pop() {
        match value {
            Value::Array(values) => open.extend(values),
            Value::Object(map) => open.extend(map.values()),
            Value::String(text) => {
                let name = text.strip_prefix("#/components/schemas/").unwrap_or_default();
                if let Some(schema) = schemas.get(name)
                    && found.insert(name.to_owned())
                {
                    open.push(schema);
                }
            }
            _ => {}
        }
    }
    found
}

/// What is sent has no other fields than these.
fn close(schema: &mut Value) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema["additionalProperties"] = json!(false);
    }
}

/// What is answered has all of its fields, null where there is nothing.
fn require_all(schema: &mut Value) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    let given = schema["required"].as_array().cloned().unwrap_or_default();
    let is_there =
        |name: &str, property: &Value| given.iter().any(|one| one == name) || is_nullable(property);
    let required: Value = properties
        .iter()
        .filter(|(name, property)| is_there(name, property))
        .map(|(name, _)| json!(name))
        .collect();
    schema["required"] = required;
}

fn is_nullable(property: &Value) -> bool {
    let is_null = |value: &Value| value == "null";
    property["type"].as_array().is_some_and(|types| types.iter().any(is_null))
        || property["oneOf"].as_array().is_some_and(|parts| parts.iter().any(|part| is_null(&part["type"])))
}

/// Adds to an operation what it has in common with others.
fn complete(operation: &mut Value, route: &crate::web::api::Route, schemas: &Map<String, Value>) {
    operation["tags"] = json!([tag_of(route.path)]);
    operation["security"] = if route.scope.is_empty() { json!([]) } else { json!([{"key": [route.scope]}]) };
    let is_edit = matches!(route.method, "PUT" | "PATCH") && is_versioned(&operation["responses"]);
    complete_parameters(operation, route, is_edit);
    if operation.get("requestBody").is_some() {
        complete_body(&mut operation["requestBody"], route.method, schemas);
    }
    let mut expected: Vec<u16> = if route.scope.is_empty() { vec![500] } else { ALWAYS.to_vec() };
    if route.path.contains('{') {
        expected.push(404);
    }
    if matches!(route.method, "POST" | "PUT" | "PATCH") {
        expected.extend([413, 415]);
    }
    if is_edit {
        expected.push(412);
    }
    complete_responses(operation, &expected, schemas);
}

fn complete_parameters(operation: &mut Value, route: &crate::web::api::Route, is_edit: bool) {
    let mut common = Vec::new();
    for part in route.path.split('/') {
        if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            common.push(name);
        }
    }
    common.extend((route.method == "POST").then_some("IdempotencyKey"));
    common.extend(is_edit.then_some("IfMatch"));
    common.push("RequestId");
    let own = operation.get_mut("parameters").map(Value::take);
    let mut all: Vec<Value> = own.and_then(|own| own.as_array().cloned()).unwrap_or_default();
    all.extend(common.into_iter().map(|name| reference("parameters", name)));
    operation["parameters"] = Value::Array(all);
}

fn complete_body(body: &mut Value, method: &str, schemas: &Map<String, Value>) {
    // An empty body is an empty object.
    let schema = &body["content"]["application/json"]["schema"];
    let name = schema["$ref"].as_str().and_then(|text| text.rsplit('/').next()).unwrap_or_default();
    let may_be_empty = schemas.get(name).is_some_and(|schema| {
        schema["type"] == "object" && schema["required"].as_array().is_none_or(Vec::is_empty)
    });
    body["required"] = json!(!may_be_empty);
    let Some(content) = body["content"].as_object_mut() else {
        return;
    };
    for media in content.values_mut() {
        add_example(media, schemas);
    }
    if let Some(json) = content.get("application/json").filter(|_| method == "PATCH").cloned() {
        content.insert("application/merge-patch+json".to_owned(), json);
    }
}

fn add_example(media: &mut Value, schemas: &Map<String, Value>) {
    if media.get("example").is_none() && media.get("examples").is_none() {
        media["example"] = example::of(schemas, &media["schema"]);
    }
}

fn is_versioned(responses: &Value) -> bool {
    let shape = responses["200"]["content"]["application/json"]["schema"]["$ref"].as_str();
    shape.and_then(|shape| shape.rsplit('/').next()).is_some_and(|name| VERSIONED.contains(&name))
}

fn complete_responses(operation: &mut Value, expected: &[u16], schemas: &Map<String, Value>) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, response) in responses.iter_mut() {
        match status.parse().ok().and_then(error_of) {
            Some(error) => {
                let description = response["description"].as_str().unwrap_or(error.description).to_owned();
                *response = error.response(&description);
            }
            None => complete_success(response, status, &id, schemas),
        }
    }
    for error in expected.iter().filter_map(|status| error_of(*status)) {
        let status = error.status.to_string();
        responses.entry(status).or_insert_with(|| reference("responses", error.name));
    }
    responses.sort_keys();
}

fn complete_success(response: &mut Value, status: &str, id: &str, schemas: &Map<String, Value>) {
    let mut headers = json!({"X-Request-Id": reference("headers", "RequestId")});
    let shape = response["content"]["application/json"]["schema"]["$ref"].as_str().unwrap_or_default();
    if VERSIONED.iter().any(|name| shape.ends_with(&format!("/{name}"))) {
        headers["ETag"] = reference("headers", "ETag");
    }
    if status == "201" || id == "create_import" {
        headers["Location"] = reference("headers", "Location");
    }
    response["headers"] = headers;
    if response["description"].as_str().is_none_or(str::is_empty) {
        response["description"] = json!(match status {
            "201" => "Added.",
            "202" => "Taken; it goes on from here.",
            "204" => "Done.",
            _ => "Here it is.",
        });
    }
    for media in
        response.get_mut("content").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
    {
        add_example(media, schemas);
    }
}

/// The first word of a path.
fn tag_of(path: &str) -> &str {
    path.split(['/', '.']).nth(1).unwrap_or_default()
}

/// The first words of the paths, in the order of the table.
fn tags(paths: &Value) -> Value {
    let mut names: Vec<&str> = Vec::new();
    for path in paths.as_object().into_iter().flat_map(Map::keys) {
        let name = tag_of(path);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| json!({"name": name})).collect()
}
