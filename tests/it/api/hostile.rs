//! What nobody means well with, tried on every operation that the document tells of: it is refused, or kept as
//! the harmless text that it is, and never a failure of ours.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use event_stream_engine::web::openapi::document;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::support::api::{TestApp, send};
use crate::support::contract::{resolved, validator};

/// Texts that have broken somebody's program.
fn texts() -> Vec<String> {
    let texts = [
        "'; DROP TABLE users; --",
        "' OR '1'='1",
        "\" OR 1=1 UNION SELECT secret_hash FROM api_keys --",
        "%' ESCAPE '%",
        "{{7*7}}",
        "{{ self.__init__.__globals__ }}",
        "{% for x in range(999999999) %}x{% endfor %}",
        "{name.__class__}",
        "${7*7}#{7*7}<%= 7*7 %>",
        "<script>alert(1)</script>",
        "../../../../etc/passwd",
        "\r\nSet-Cookie: a=b\r\n\r\n",
        "\u{202e}\u{feff}\u{fffd}\u{10ffff}",
        "9223372036854775808",
        "=HYPERLINK(\"http://x\")",
        "a\0b",
    ];
    let mut texts: Vec<String> = texts.map(str::to_owned).into();
    texts.push("A".repeat(70_000));
    texts
}

/// Numbers beyond every bound, as they stand in JSON.
const NUMBERS: [&str; 8] =
    ["1e999", "-1e999", "9223372036854775808", "-9223372036854775809", "1e308", "-1", "0.5", "1e-400"];

/// A place in a body, and the schema of what stands there.
struct Place {
    pointer: String,
    schema: Value,
}

/// Every text and number that the example of a body has a place for.
fn places(document: &Value, schema: &Value, pointer: &str, depth: usize, into: &mut Vec<Place>) {
    let schema = resolved(document, schema);
    if depth > 4 {
        return;
    }
    for part in ["oneOf", "anyOf"].iter().flat_map(|name| schema[*name].as_array().into_iter().flatten()) {
        places(document, part, pointer, depth + 1, into);
    }
    let is = |kind: &str| {
        schema["type"] == kind || schema["type"].as_array().is_some_and(|types| types.contains(&json!(kind)))
    };
    if is("object") {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            places(document, property, &format!("{pointer}/{name}"), depth + 1, into);
        }
    }
    if is("array") {
        places(document, &schema["items"], &format!("{pointer}/0"), depth + 1, into);
    }
    if is("string") || is("integer") || is("number") || schema["enum"].is_array() {
        into.push(Place { pointer: pointer.to_owned(), schema: schema.clone() });
    }
}

/// Puts a value at a place of an example, and makes what is missing on the way.
fn put(body: &mut Value, pointer: &str, value: Value) {
    let mut at = body;
    for step in pointer.split('/').skip(1) {
        at = match step.parse::<usize>() {
            Ok(_) => {
                if at.as_array().is_none_or(Vec::is_empty) {
                    *at = json!([null]);
                }
                &mut at[0]
            }
            Err(_) => {
                if !at.is_object() {
                    *at = Value::Object(Map::new());
                }
                &mut at[step]
            }
        };
    }
    *at = value;
}

/// Closed words, times, numbers and patterns let nothing of the above through.
fn is_narrow(schema: &Value) -> bool {
    let is_text = schema["type"] == "string" || schema["type"][0] == "string";
    !is_text || ["enum", "format", "pattern", "const"].iter().any(|rule| schema.get(rule).is_some())
}

struct Operation {
    method: String,
    path: String,
    /// As JSON, where the operation takes it.
    example: Option<Value>,
    places: Vec<Place>,
    /// Name, where it stands, and schema.
    parameters: Vec<(String, String, Value)>,
}

impl Operation {
    /// The path, its parameters as in a world with one of each, but for one.
    fn filled(&self, but: &str, value: &str) -> String {
        let escaped = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        let of = |name: &str, usual: &str| if name == but { escaped.clone() } else { usual.to_owned() };
        let mut path = self.path.clone();
        for (name, place, schema) in &self.parameters {
            if place == "path" {
                let usual = match name.as_str() {
                    "name" | "topic" => "general",
                    _ if schema["type"] == "integer" || name == "person" => "1",
                    _ => "HX00000000000000000000000000000001",
                };
                path = path.replace(&format!("{{{name}}}"), &of(name, usual));
            }
        }
        path
    }
}

impl Operation {
    /// The path with one parameter.
    fn asked(&self, name: &str, value: &str) -> String {
        format!("{}?{name}={}", self.filled("", ""), utf8_percent_encode(value, NON_ALPHANUMERIC))
    }
}

fn operations() -> Vec<Operation> {
    let document = document();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, one) in item.as_object().unwrap() {
            let media = &one["requestBody"]["content"]["application/json"];
            let mut places_found = Vec::new();
            places(&document, &media["schema"], "", 0, &mut places_found);
            let parameters = one["parameters"].as_array().unwrap().iter().map(|parameter| {
                let parameter = resolved(&document, parameter);
                let text = |member: &str| parameter[member].as_str().unwrap().to_owned();
                (text("name"), text("in"), resolved(&document, &parameter["schema"]).clone())
            });
            found.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                example: media.get("example").cloned(),
                places: places_found,
                parameters: parameters.collect(),
            });
        }
    }
    assert!(found.len() > 40);
    found
}

/// One of each thing, with the key 1.
async fn world() -> TestApp {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    app.add_campaign("Spring").await;
    app
}

/// The file is whole, and all that was in it is there.
async fn assert_unharmed(app: &TestApp) {
    let file = rusqlite::Connection::open(app.dir.path().join("ese.db")).unwrap();
    let state: String = file.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(state, "ok");
    let people = app.get("/users?limit=200").await.expect(200);
    assert!(
        people["data"].as_array().unwrap().iter().any(|user| user["phone"] == "+14155550101"),
        "{people}"
    );
    app.get("/campaigns").await.expect(200);
    app.get("/templates").await.expect(200);
}

#[actix_web::test]
async fn hostile_texts_in_every_field_are_refused_or_kept_as_text() {
    let (app, document) = (world().await, document());
    let mut tried = 0;
    for operation in operations() {
        let Some(example) = &operation.example else { continue };
        let path = operation.filled("", "");
        for place in operation.places.iter().filter(|place| !place.pointer.is_empty()) {
            let shape = validator(&document, &place.schema);
            for text in texts() {
                let mut body = example.clone();
                put(&mut body, &place.pointer, json!(text));
                let answer = send(app.request(&operation.method, &path).json(&body)).await;
                let told =
                    format!("{} {path} {}: {text:.60?} {}", operation.method, place.pointer, answer.text);
                assert!(answer.status < 500, "{told}");
                let can_be_valid = shape.is_valid(&json!(text)) && !text.contains('\0');
                // A line of its own result says what was wrong with it.
                let is_rejected = operation.path == "/triggers" && answer.text.contains("\"rejected\":1");
                assert!(can_be_valid || answer.status >= 400 || is_rejected, "taken: {told}");
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
    assert_unharmed(&app).await;
}

#[actix_web::test]
async fn hostile_texts_in_every_parameter_are_refused_or_find_nothing() {
    let app = world().await;
    let mut tried = 0;
    for operation in operations() {
        for (name, place, schema) in &operation.parameters {
            for text in texts() {
                if text.len() > 10_000 {
                    // Longer than a request line may be.
                    continue;
                }
                let request = match place.as_str() {
                    "path" => app.request(&operation.method, &operation.filled(name, &text)),
                    "query" => app.request(&operation.method, &operation.asked(name, &text)),
                    _ => match reqwest::header::HeaderValue::from_str(&text) {
                        Ok(value) => app
                            .request(&operation.method, &operation.filled("", ""))
                            .header(name.as_str(), value),
                        Err(_) => continue,
                    },
                };
                // A stream that is opened never ends.
                if operation.path.ends_with("/stream") && place == "header" {
                    continue;
                }
                let request = match (&operation.example, operation.method.as_str()) {
                    (Some(example), _) => request.json(example),
                    _ => request,
                };
                let answer = send(request).await;
                let told =
                    format!("{} {} {name}: {text:.60?} {}", operation.method, operation.path, answer.text);
                assert!(answer.status < 500, "{told}");
                let never_fits =
                    place == "path" || (place == "query" && (is_narrow(schema) || text.contains('\0')));
                assert!(!never_fits || answer.status >= 400, "taken: {told}");
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
    assert_unharmed(&app).await;
}

#[actix_web::test]
async fn enormous_numbers_in_every_field_and_parameter_are_refused() {
    let app = world().await;
    let long = "1".repeat(401);
    let mut tried = 0;
    for operation in operations() {
        let is_number = |schema: &Value| {
            ["integer", "number"].iter().any(|kind| schema["type"] == *kind || schema["type"][0] == *kind)
        };
        for place in operation.places.iter().filter(|place| is_number(&place.schema)) {
            let example = operation.example.clone().unwrap_or_default();
            for number in NUMBERS.iter().chain([&long.as_str()]) {
                let mut body = example.clone();
                put(&mut body, &place.pointer, json!("@number@"));
                let body = body.to_string().replace("\"@number@\"", number);
                let request = app.request(&operation.method, &operation.filled("", ""));
                let answer = send(request.header("content-type", "application/json").body(body)).await;
                let told = format!(
                    "{} {} {}: {number}: {}",
                    operation.method, operation.path, place.pointer, answer.text
                );
                assert!(answer.status < 500, "{told}");
                // What is no JSON number that fits is never taken; the rest is as the field has it.
                let is_beyond = number.contains("e999") || number.len() > 18;
                let is_rejected = operation.path == "/triggers" && answer.text.contains("\"rejected\":1");
                assert!(!is_beyond || answer.status >= 400 || is_rejected, "taken: {told}");
                tried += 1;
            }
        }
        for (name, place, schema) in operation.parameters.iter().filter(|(.., schema)| is_number(schema)) {
            for number in NUMBERS.iter().chain([&long.as_str()]) {
                let request = match place.as_str() {
                    "path" => app.request(&operation.method, &operation.filled(name, number)),
                    "query" => app.request(&operation.method, &operation.asked(name, number)),
                    _ => continue,
                };
                let answer = send(request).await;
                let told = format!(
                    "{} {} {name}={number}: {schema} {}",
                    operation.method, operation.path, answer.text
                );
                assert!((400..500).contains(&answer.status), "{told}");
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried}");
    assert_unharmed(&app).await;
}

#[actix_web::test]
async fn a_body_that_is_no_text_or_nested_without_end_is_unreadable_everywhere() {
    let app = world().await;
    for operation in
        operations().iter().filter(|operation| ["POST", "PUT", "PATCH"].contains(&operation.method.as_str()))
    {
        // An import takes any file, and says of each row what is wrong with it; triggers say it of each line.
        if ["/imports", "/triggers"].contains(&operation.path.as_str()) {
            continue;
        }
        let path = operation.filled("", "");
        let deep =
            |open: &str, close: &str| format!("{}{}", open.repeat(50_000), close.repeat(50_000)).into_bytes();
        for body in [
            b"{\"a\":\"\xff\xfe\"}".to_vec(),
            b"\xef\xbb\xbf{}".to_vec(),
            b"{\"a\":\"\\ud800\"}".to_vec(),
            b"{\"a\":\"\x00\"}".to_vec(),
            b"{\"a\":1e999}".to_vec(),
            b"{\"a\":NaN}".to_vec(),
            b"{".to_vec(),
            deep("[", "]"),
            deep("{\"a\":", "}"),
        ] {
            let request = app.request(&operation.method, &path).header("content-type", "application/json");
            send(request.body(body)).await.problem(400);
        }
        let request = app.request(&operation.method, &path).header("content-type", "text/html");
        send(request.body("<html>")).await.problem(415);
    }
    assert_unharmed(&app).await;
}

#[actix_web::test]
async fn bytes_that_are_no_text_are_refused_in_query_path_and_header() {
    let app = world().await;
    for operation in operations() {
        if operation.path == "/openapi.json" {
            continue;
        }
        let path = operation.filled("", "");
        send(app.request(&operation.method, &format!("{path}?q=%ff%fe"))).await.problem(400);
        for (name, ..) in operation.parameters.iter().filter(|(_, place, _)| place == "path") {
            let broken = operation.filled(name, "@").replace("%40", "%ff%fe");
            let answer = send(app.request(&operation.method, &broken)).await;
            // What else is wrong with the request may be told first.
            assert!((400..500).contains(&answer.status), "{} {broken}: {}", operation.method, answer.text);
        }
        if operation.method == "POST" && operation.path != "/triggers" {
            let key = reqwest::header::HeaderValue::from_bytes(b"\xff\xfe").unwrap();
            let request = app.request("POST", &path).header("idempotency-key", key);
            let answer = send(request.json(&operation.example.clone().unwrap_or_else(|| json!({})))).await;
            assert!(
                [415, 422].contains(&answer.status) || path.ends_with("preview"),
                "{path}: {}",
                answer.text
            );
        }
    }
    let id = reqwest::header::HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    let answer = send(app.request("GET", "/topics").header("x-request-id", id.clone())).await;
    assert_eq!(answer.header("x-request-id").map(str::len), Some(32));
    let answer = send(app.bare("GET", "/api/v1/topics").header("authorization", id)).await;
    answer.problem(401);
}

/// Sends a head and then pieces until the server answers, and tells the answer and how many bytes of body went.
fn pour(app: &TestApp, head: &str, piece: &[u8], pieces: usize) -> (String, usize) {
    let address = app.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("{head}Host: {address}\r\nAuthorization: Bearer {}\r\n\r\n", app.key);
    stream.write_all(head.as_bytes()).unwrap();
    let (mut sent, mut answer) = (0, vec![0; 64 * 1024]);
    let end = Instant::now() + Duration::from_secs(20);
    for n in 0.. {
        // With nothing left to send, the answer is waited for.
        let is_over = n >= pieces;
        stream.set_nonblocking(!is_over).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        match stream.read(&mut answer) {
            Ok(length) => return (String::from_utf8_lossy(&answer[..length]).into_owned(), sent),
            Err(error) if error.kind() == ErrorKind::WouldBlock && !is_over => {}
            Err(error) => panic!("no answer after {sent} bytes: {error}"),
        }
        assert!(Instant::now() < end, "no answer after {sent} bytes");
        stream.set_nonblocking(false).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        match stream.write(piece) {
            Ok(length) => sent += length,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    unreachable!()
}

#[actix_web::test]
async fn a_body_over_the_limit_is_refused_by_its_announcement() {
    let app = world().await;
    for operation in
        operations().iter().filter(|operation| ["POST", "PUT", "PATCH"].contains(&operation.method.as_str()))
    {
        let path = operation.filled("", "");
        let query = if operation.path == "/messages/cancel" { "?reference=x" } else { "" };
        let kind = if operation.path == "/imports" { "text/csv" } else { "application/json" };
        let head = format!(
            "{} /api/v1{path}{query} HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: 1099511627776\r\n",
            operation.method
        );
        let (answer, _) = pour(&app, &head, b"", 0);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{} {path}: {answer}", operation.method);
    }
}

#[actix_web::test]
async fn a_body_without_an_announced_end_is_cut_off_at_the_limit() {
    let app = world().await;
    let head =
        "POST /api/v1/users HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 65_536], b"\r\n"].concat();
    // 512 MB, were it read to its end.
    let (answer, sent) = pour(&app, head, &chunk, 8_192);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // The limit is 1 MiB; the rest is what lies in the buffers of two sockets.
    assert!(sent < 16 * 1024 * 1024, "{sent}");
    assert_unharmed(&app).await;
}

#[actix_web::test]
async fn a_text_is_never_rendered_twice() {
    let app = world().await;
    let template = app.add_template("greeting", "Hi {name}").await;
    for name in ["{{7*7}}", "{name}", "{% raw %}", "{name|default(\"x\")}", "{7*7}"] {
        let body = json!({"attributes": {"name": name}});
        let shown = app.post(&format!("/templates/{template}/preview"), &body).await.expect(200);
        assert_eq!(shown["body"], format!("Hi {name}"));
    }
    for body in
        ["{7*7}", "{name.upper()}", "{% if x %}", "{self}", "{''.__class__}", "{config|tojson}", "{range(9)}"]
    {
        let answer = app.post("/templates", &json!({"name": body, "channel": "sms", "body": body})).await;
        if answer.status == 201 {
            let id = answer.json()["id"].clone();
            let shown =
                app.post(&format!("/templates/{id}/preview"), &json!({"attributes": {}})).await.expect(200);
            assert_eq!(shown["body"], Value::Null, "{body} was taken for more than a variable: {shown}");
        }
    }
}
