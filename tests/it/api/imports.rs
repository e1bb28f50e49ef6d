//! Imports: a file is taken over HTTP and queued, and what became of its rows is read back.

use event_stream_engine::import::{Pace, run_queued, spool_dir};
use serde_json::{Value, json};

use crate::support::api::{Answer, TestApp, send};

const SHEET: &str = "phone,name,consent\n+14155550101,Ana,yes\n+14155550102,=Bo,maybe\nnonsense,\"C, D\",yes\n+14155550101,Ana,yes\n";

/// A form of these parts: name, file name, content.
fn form(parts: &[(&str, Option<&str>, &str)]) -> String {
    let mut body = String::new();
    for (name, file_name, content) in parts {
        let file_name = file_name.map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
        body.push_str(&format!(
            "--edge\r\nContent-Disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n{content}\r\n"
        ));
    }
    body + "--edge--\r\n"
}

async fn upload(app: &TestApp, key: Option<&str>, parts: &[(&str, Option<&str>, &str)]) -> Answer {
    let mut request = app
        .request("POST", "/imports")
        .header("content-type", "multipart/form-data; boundary=edge")
        .body(form(parts));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    send(request).await
}

async fn run(app: &TestApp) {
    run_queued(&app.store, &Pace::default()).await.unwrap();
}

fn spooled(app: &TestApp) -> usize {
    std::fs::read_dir(spool_dir(app.store.paths())).map_or(0, Iterator::count)
}

#[actix_web::test]
async fn a_form_is_queued_and_its_rows_are_accounted_for() {
    let app = TestApp::start().await;
    let options = json!({"topics": ["general"], "consent": {"source": "paper form"}}).to_string();
    let queued =
        upload(&app, None, &[("options", None, &options), ("file", Some("people.csv"), SHEET)]).await;
    assert_eq!(queued.header("location"), Some("/api/v1/imports/1"));
    let queued = queued.expect(202);
    assert_eq!(
        (&queued["id"], &queued["state"], &queued["file_name"]),
        (&json!(1), &json!("queued"), &json!("people.csv"))
    );
    run(&app).await;
    let done = app.get("/imports/1").await.expect(200);
    assert_eq!(
        (&done["state"], &done["progress"], &done["error"]),
        (&json!("finished"), &json!(1.0), &Value::Null)
    );
    for (field, n) in [("rows", 4), ("created", 2), ("updated", 0), ("duplicates", 1), ("rejected", 1)] {
        assert_eq!(done[field], n, "{field} in {done}");
    }
    assert_eq!(done["reasons"]["invalid_phone"], 1);
    assert_eq!(app.get("/imports").await.expect(200)["data"], json!([done]));
    assert_eq!(app.get("/users/+14155550101").await.expect(200)["consent"], "opt_in");
    assert_eq!(spooled(&app), 0);

    let first = app.get("/imports/1/issues?limit=1").await.expect(200);
    let next = first["next_cursor"].as_str().unwrap();
    let rest = app.get(&format!("/imports/1/issues?cursor={next}")).await.expect(200);
    let mut reasons: Vec<&str> = [&first, &rest]
        .iter()
        .flat_map(|page| page["data"].as_array().unwrap())
        .map(|issue| issue["reason"].as_str().unwrap())
        .collect();
    reasons.sort();
    assert_eq!(reasons, ["consent_unclear", "duplicate_in_file", "invalid_phone"]);
    let sheet = app.get("/imports/1/issues?format=csv").await;
    assert_eq!(sheet.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(sheet.text.lines().count(), 4, "{}", sheet.text);
    assert!(sheet.text.starts_with("row,reason,rejected,message,phone,name,consent"), "{}", sheet.text);
    assert!(sheet.text.contains(",'=Bo,"), "{}", sheet.text);
    app.get("/imports/9").await.problem(404);
    app.get("/imports/9/issues?format=csv").await.problem(404);
}

#[actix_web::test]
async fn a_file_may_be_the_whole_body() {
    let app = TestApp::start().await;
    let send_as = |kind: &'static str, query: &'static str, body: &'static str| {
        send(app.request("POST", &format!("/imports{query}")).header("content-type", kind).body(body))
    };
    send_as("text/csv", "?options=%7B%22dry_run%22%3Atrue%7D&file_name=a.csv", SHEET).await.expect(202);
    send_as("application/json", "", "[{\"phone\":\"+14155550109\"}]").await.expect(202);
    run(&app).await;
    let rehearsed = app.get("/imports/1").await.expect(200);
    assert_eq!(
        (&rehearsed["dry_run"], &rehearsed["created"], &rehearsed["file_name"]),
        (&json!(true), &json!(2), &json!("a.csv"))
    );
    let people = app.get("/users").await.expect(200);
    assert_eq!(people["data"].as_array().unwrap().len(), 1);
    send_as("application/x-www-form-urlencoded", "", SHEET).await.problem(415);
    send_as("image/png", "", SHEET).await.problem(415);
    assert_eq!(send_as("text/csv", "?option=1", SHEET).await.fields(), ["option"]);
    assert_eq!(spooled(&app), 0);
}

#[actix_web::test]
async fn every_wrong_option_is_named_and_leaves_nothing_behind() {
    let app = TestApp::start().await;
    let file = ("file", Some("people.csv"), SHEET);
    for (options, fields) in [
        ("{", vec!["options"]),
        ("[]", vec!["options"]),
        ("{\"mod\":\"merge\",\"mode\":\"all\"}", vec!["options.mod", "options.mode"]),
        ("{\"topics\":[\"hats\"]}", vec!["options.topics.0"]),
        (
            "{\"consent\":{\"state\":\"opt_in\",\"source\":\"form\",\"evidence\":\"page 3\",\"obtained_at\":\"2030-01-01T00:00:00Z\"}}",
            vec!["options.consent.obtained_at"],
        ),
    ] {
        assert_eq!(
            upload(&app, None, &[file, ("options", None, options)]).await.fields(),
            fields,
            "{options}"
        );
    }
    assert_eq!(upload(&app, None, &[("options", None, "{}")]).await.fields(), ["file"]);
    assert_eq!(upload(&app, None, &[file, file]).await.fields(), ["file"]);
    assert_eq!(upload(&app, None, &[file, ("notes", None, "x")]).await.fields(), ["notes"]);
    let broken = send(
        app.request("POST", "/imports")
            .header("content-type", "multipart/form-data; boundary=edge")
            .body("no form"),
    );
    broken.await.problem(400);
    assert_eq!(app.get("/imports").await.expect(200)["data"], json!([]));
    assert_eq!(spooled(&app), 0);
}

#[actix_web::test]
async fn an_upload_that_is_repeated_is_one_import() {
    let app = TestApp::start().await;
    let file = ("file", Some("people.csv"), SHEET);
    let first = upload(&app, Some("k"), &[file]).await;
    let again = upload(&app, Some("k"), &[file]).await;
    assert_eq!((first.status, &first.text), (202, &again.text));
    assert_eq!(
        upload(&app, Some("k"), &[("file", None, "phone\n+14155550109\n")]).await.fields(),
        ["Idempotency-Key"]
    );
    assert_eq!(app.get("/imports").await.expect(200)["data"].as_array().unwrap().len(), 1);
    assert_eq!(spooled(&app), 1);
}

#[actix_web::test]
async fn a_file_beyond_the_limit_is_413() {
    let app = TestApp::with_config("[import]\nmax_bytes = 1000\n").await;
    let long = "x".repeat(1_001);
    upload(&app, None, &[("file", Some("people.csv"), &long)]).await.problem(413);
    assert_eq!(spooled(&app), 0);
}
