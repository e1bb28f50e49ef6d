//! The description of the API, as a document: it names what the server has, and says enough of it.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use event_stream_engine::web::api::{OPEN, ROUTES};
use event_stream_engine::web::openapi::document;
use serde_json::{Map, Value};

use crate::process::{Place, free_port, simulate};
use crate::simulator::clients::{installed, interpreter, scripts};
use crate::support::api::{TestApp, send};
use crate::support::contract;

/// `GET /users`, and the operation.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, _)| {
        let item: &Map<String, Value> = Value::as_object(item).unwrap();
        item.iter()
            .map(|(method, one)| (format!("{} {path}", method.to_uppercase()), one))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn the_document_has_the_operations_of_the_server_and_no_others() {
    let document = document();
    let described: BTreeSet<String> = operations(&document).into_iter().map(|(name, _)| name).collect();
    let served: BTreeSet<String> =
        ROUTES.iter().chain(OPEN).map(|route| format!("{} {}", route.method, route.path)).collect();
    let missing: Vec<_> = served.difference(&described).collect();
    assert!(missing.is_empty(), "not described; src/web/openapi/mod.rs says how: {missing:?}");
    let extra: Vec<_> = described.difference(&served).collect();
    assert!(extra.is_empty(), "described, but not served: {extra:?}");
}

#[test]
fn every_operation_names_its_key_and_scope() {
    let document = document();
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        assert_eq!(operation["security"][0]["key"][0], route.scope, "{route:?}");
    }
    for route in OPEN {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        assert_eq!(operation["security"], serde_json::json!([]), "{route:?}");
    }
}

#[test]
fn every_operation_is_told_in_words_and_by_example() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let text = |member: &str| operation[member].as_str().unwrap_or_default().to_owned();
        let summary = text("summary");
        assert!(summary.ends_with('.') && summary.len() > 10, "{name}: {summary:?}");
        assert!(!summary.contains('`') || !summary.contains(" /"), "{name} tells of its path: {summary:?}");
        let id = text("operationId");
        assert!(id.contains('_'), "{name}: name the operation as its callers will: {id:?}");
        assert!(ids.insert(id.clone()), "{name}: {id} is taken");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{name}");
        let answers = operation["responses"].as_object().unwrap();
        let is_success = |status: &&String| status.starts_with('2');
        assert!(answers.keys().any(|status| is_success(&status)), "{name} has no success");
        for (status, answer) in answers {
            let answer = contract::resolved(&document, answer);
            assert!(!answer["description"].as_str().unwrap_or_default().is_empty(), "{name} {status}");
            check_examples(&document, &format!("{name} {status}"), &answer["content"]);
        }
        check_examples(&document, &format!("{name} request"), &operation["requestBody"]["content"]);
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = contract::resolved(&document, parameter);
            assert!(parameter["description"].is_string(), "{name}: {}", parameter["name"]);
        }
    }
}

/// Each kind of body has an example, and JSON fits its own shape.
fn check_examples(document: &Value, place: &str, content: &Value) {
    for (kind, media) in content.as_object().into_iter().flatten() {
        let example = media.get("example").unwrap_or_else(|| panic!("{place} {kind} has no example"));
        if kind.ends_with("json") {
            let faults = contract::faults(document, &media["schema"], example);
            assert!(faults.is_empty(), "{place}: the example {example} is off its shape: {faults:?}");
        }
    }
}

#[test]
fn every_field_says_what_it_is() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let properties = schema["properties"].as_object().into_iter().flatten();
        // Names of states and of settings explain themselves by the shape that they belong to.
        for (field, property) in
            properties.filter(|_| !["StatusCounts", "CampaignPatch", "Definition"].contains(&name.as_str()))
        {
            let said = property.get("description").or_else(|| property["oneOf"][0].get("description"));
            assert!(said.is_some_and(|text| text.as_str() != Some("")), "{name}.{field}: {property}");
        }
    }
}

#[test]
fn requests_are_closed_and_every_reference_leads_somewhere() {
    let document = document();
    for name in ["NewUser", "UserPatch", "NewMessage", "NewCampaign", "Schedule", "NewSegment", "ConsentWish"]
    {
        let schema = &document["components"]["schemas"][name];
        let is_closed = schema["additionalProperties"] == false || schema.get("oneOf").is_some();
        assert!(is_closed, "{name}: {schema}");
    }
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(values) => open.extend(values),
            Value::Object(map) => {
                if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                    let place = target.strip_prefix('#').unwrap();
                    assert!(document.pointer(place).is_some(), "{target}");
                }
                open.extend(map.values());
            }
            _ => {}
        }
    }
}

#[actix_web::test]
async fn it_is_served_to_everybody_and_known_by_its_tag() {
    let app = TestApp::start().await;
    let answer = send(app.bare("GET", "/api/v1/openapi.json")).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let tag = answer.header("etag").unwrap().to_owned();
    assert_eq!(answer.expect(200), document());
    for (given, status) in [(tag.as_str(), 304), ("\"other\"", 200), ("*", 304), ("W/\"x\"", 200)] {
        let again = send(app.bare("GET", "/api/v1/openapi.json").header("if-none-match", given)).await;
        assert_eq!(again.status, status, "{given}");
        assert_eq!(again.header("etag"), Some(tag.as_str()));
        assert_eq!(again.text.is_empty(), status == 304);
    }
    send(app.bare("POST", "/api/v1/openapi.json")).await.problem(405);
}

#[actix_web::test]
async fn the_page_is_served_from_the_binary_and_asks_nobody_else() {
    let app = TestApp::start().await;
    let page = send(app.bare("GET", "/api/docs")).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
    // No script or style within the page, and every file of it from here.
    assert!(!page.text.contains("style=") && !page.text.contains("<style"), "{}", page.text);
    assert!(!page.text.contains("//"), "{}", page.text);
    let quoted: Vec<&str> = page.text.split('"').filter(|text| text.starts_with("docs/")).collect();
    assert_eq!(quoted.len(), 4, "{}", page.text);
    for file in quoted {
        let answer = app.bare("GET", &format!("/api/{file}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{file}");
        let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.contains(if file.ends_with(".js") { "javascript" } else { "css" }), "{file}: {kind}");
        let again = app.bare("GET", &format!("/api/{file}")).header("if-none-match", tag);
        assert_eq!(send(again).await.status, 304, "{file}");
    }
    send(app.bare("GET", "/api/docs/other.js")).await.problem(404);
    send(app.bare("POST", "/api/docs")).await.problem(405);
}

/// Requests made up from the document, good and bad, against the real program with a stand-in for Twilio: no
/// failure of ours, no status that is not declared, no answer off its shape, and nothing without a key.
#[test]
fn requests_made_up_from_the_document_get_answers_that_it_declares() {
    let Some(python) = interpreter(".venv/bin/schemathesis", ".venv/bin/python") else {
        return;
    };
    let simulator_port = free_port();
    let place = Place::new(simulator_port);
    let _simulator = simulate(simulator_port, place.port, &[]);
    let _server = place.serve();
    let key = place.run(&["key", "add", "made-up", "--scope", "read,write,send,admin"]).stdout;
    let key = String::from_utf8(key).unwrap().lines().last().unwrap().to_owned();
    let output = Command::new(scripts().join("schemathesis.sh"))
        .args([&format!("http://127.0.0.1:{}", place.port), &key, "2", "1"])
        .env("TWILIO_CLIENTS_DIR", installed())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(python.exists() && output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // Nobody was kept out: what is not let in is not tried.
    assert!(!said.contains("Authentication failed") && !said.contains("Rate limited"), "{said}");
    // All that can be tried was tried: the stream of events has no end to wait for, and the document itself was read.
    let selected = said.split("Selected: ").nth(1).and_then(|rest| rest.split('/').next());
    let selected: usize = selected.and_then(|number| number.parse().ok()).unwrap_or_default();
    assert_eq!(selected, operations(&document()).len() - 2, "{said}");
}
