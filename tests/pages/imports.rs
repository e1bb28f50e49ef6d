//! Imports by the pages: a file is dropped, its columns told, its dry run looked at, and then it comes in.

use event_stream_engine::import::{self, Pace};
use event_stream_engine::store::imports::{self, ImportRow};

use crate::visitor::{Part, Seen, Visitor};

const FILE: &str = "phone,name,city,newsletter\n\
    +94771100001,Ana,Kandy,\n\
    +94771100002,Bo,Galle,yes\n\
    +94771100003,Cy,Galle,yes\n\
    +94771100004,Di,Galle,maybe\n\
    4.15556E+10,Fe,Galle,yes\n";

/// A file as a browser sends it, with the hidden fields of the form.
async fn upload(visitor: &Visitor, name: &str, bytes: &[u8]) -> Seen {
    let form = visitor.get("/admin/imports/new").await;
    send_file(visitor, &form, name, bytes).await
}

async fn send_file(visitor: &Visitor, form: &Seen, name: &str, bytes: &[u8]) -> Seen {
    let parts = [
        Part::text("_csrf", &form.hidden("_csrf")),
        Part::text("_once", &form.hidden("_once")),
        Part::file("file", name, bytes),
    ];
    visitor.post_parts("/admin/imports", &parts).await
}

/// The id at the end of the way that an upload led to.
fn id_in(location: &str) -> i64 {
    location.trim_start_matches("/admin/imports/").split('/').next().unwrap().parse().unwrap()
}

/// What the columns page posts as it stands.
fn as_it_stands(columns: &Seen) -> Vec<(String, String)> {
    columns.form("columns")
}

async fn check(visitor: &Visitor, columns: &Seen, id: i64) -> Seen {
    let answer = visitor.post(&format!("/admin/imports/{id}/columns"), &as_it_stands(columns)).await;
    assert_eq!(answer.location(), format!("/admin/imports/{id}/review"), "{}", answer.text);
    import::run_checks(&visitor.app.store, &Pace::default()).await.unwrap();
    visitor.get(&format!("/admin/imports/{id}/review")).await
}

async fn run(visitor: &Visitor, review: &Seen, id: i64) -> Seen {
    let answer = visitor.post(&format!("/admin/imports/{id}/run"), &review.form("run")).await;
    assert_eq!(answer.location(), format!("/admin/imports/{id}"), "{}", answer.text);
    import::run_queued(&visitor.app.store, &Pace::default()).await.unwrap();
    visitor.get(&format!("/admin/imports/{id}")).await
}

async fn row(visitor: &Visitor, id: i64) -> Option<ImportRow> {
    visitor.app.store.read(move |conn| imports::find(conn, id)).await.unwrap()
}

fn spooled(visitor: &Visitor) -> usize {
    let dir = import::spool_dir(visitor.app.store.paths());
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

async fn ana(visitor: &Visitor) {
    let body = serde_json::json!({
        "phone": "+94771100001", "consent": "opt_in", "attributes": {"name": "Ana", "city": "Galle"},
    });
    visitor.app.post("/users", &body).await.expect(201);
}

async fn city(visitor: &Visitor) -> String {
    let user = visitor.app.get("/users/+94771100001").await.expect(200);
    user["attributes"]["city"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_file_is_looked_at_comes_in_and_its_changes_are_undone() {
    let visitor = Visitor::operator().await;
    let list = visitor.get("/admin/imports").await;
    assert!(list.text.contains("No imports yet"), "{}", list.text);
    ana(&visitor).await;
    let stop = serde_json::json!({"phone": "+94771100002", "consent": "stop"});
    visitor.app.post("/users", &stop).await.expect(201);

    let answer = upload(&visitor, "people.csv", FILE.as_bytes()).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let id = id_in(answer.location());
    let columns = visitor.get(answer.location()).await;
    for words in ["5 rows", "Ana", "Check 5 rows"] {
        assert!(columns.text.contains(words), "{words} in {}", columns.text);
    }
    let told = as_it_stands(&columns);
    for (name, value) in [("as.0", "phone"), ("as.1", "attribute"), ("name.1", "name"), ("as.3", "consent")] {
        assert!(told.contains(&(name.to_owned(), value.to_owned())), "{name} in {told:?}");
    }
    assert!(visitor.app.get("/imports").await.expect(200)["data"].as_array().unwrap().is_empty());
    assert_eq!(visitor.app.get(&format!("/imports/{id}")).await.status, 404, "a draft is no import yet");

    let review = check(&visitor, &columns, id).await;
    for words in [
        "Dry run. Nothing is saved yet.",
        "Import 4 people",
        "<b>city</b> Galle → Kandy",
        "has STOP since",
        "opted in: “yes” in column newsletter",
        "consent unknown: “maybe” is not clear",
        "“4.15556E+10” was shortened by Excel. Format the column as text and export again.",
        "Consent of the 2 new people",
    ] {
        assert!(review.text.contains(words), "{words} in {}", review.text);
    }
    assert_eq!(city(&visitor).await, "Galle");

    let mut form = review.form("run");
    for (name, value) in &mut form {
        match name.as_str() {
            "consent.source" => "paper form".clone_into(value),
            "consent.evidence" => "Yes, send me offers".clone_into(value),
            _ => {}
        }
    }
    visitor.post(&format!("/admin/imports/{id}/run"), &form).await;
    import::run_queued(&visitor.app.store, &Pace::default()).await.unwrap();
    let ledger = visitor.app.get("/users/+94771100003/consent").await.expect(200);
    assert_eq!(ledger["data"][0]["evidence"], "Yes, send me offers");
    assert_eq!(city(&visitor).await, "Kandy");
    assert_eq!(spooled(&visitor), 0);

    let report = visitor.get(&format!("/admin/imports/{id}")).await;
    for words in ["Undo attribute changes", "Download 1 rejected row<", "Number shortened by Excel"] {
        assert!(report.text.contains(words), "{words} in {}", report.text);
    }
    let sheet = visitor.get(&format!("/admin/imports/{id}/rejected.csv")).await;
    assert_eq!(
        sheet.text,
        "phone,name,city,newsletter,why not imported\r\n\
         4.15556E+10,Fe,Galle,yes,“4.15556E+10” was shortened by Excel. Format the column as text and export again.\r\n"
    );

    let ask = visitor.get(&format!("/admin/imports/{id}/undo")).await;
    assert!(ask.text.contains("Undo the changes of 2 people"), "{}", ask.text);
    let undo = ask.form_to(&format!("/admin/imports/{id}/undo"));
    for _ in 0..2 {
        assert_eq!(visitor.post(&format!("/admin/imports/{id}/undo"), &undo).await.status, 303);
    }
    let page = visitor.get(&format!("/admin/imports/{id}")).await;
    assert!(page.text.contains("Undoing."), "{}", page.text);
    assert_eq!(import::run_undos(&visitor.app.store, &Pace::default()).await.unwrap(), 1);
    assert_eq!(city(&visitor).await, "Galle");
    let report = visitor.get(&format!("/admin/imports/{id}")).await;
    assert!(report.text.contains("2 people have their attributes back."), "{}", report.text);
    assert!(visitor.get("/admin/imports").await.text.contains("people.csv"));
}

#[actix_web::test]
async fn a_file_that_is_no_table_of_people_is_refused_in_words_and_leaves_nothing() {
    let visitor = Visitor::operator().await;
    let cases: [(&str, &[u8], &str); 8] = [
        (
            "a.pdf",
            b"%PDF-1.7\n1 0 obj",
            "This file is a PDF. Save the sheet as .xlsx or .csv and choose it again.",
        ),
        (
            "a.xls",
            b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1",
            "This file is an old Excel file (.xls) or one with a password.",
        ),
        ("a.csv", b" \n ", "The file is empty."),
        (
            "a.csv",
            b"+94771100001,Ana\n+94771100002,Bo\n",
            "not names of columns. Add a row with names on top",
        ),
        ("a.csv", b"phone,name\n", "no row of people below them"),
        ("a.csv", b"phone,name\n+94771100001,\"Ana\n", "a quotation mark is missing"),
        ("a.xlsx", b"PK\x03\x04cut off", "The Excel file is damaged or was cut off on its way."),
        ("a.csv", b"phone\0name\n\x01\x02\x03\0\xFF\xFE\n", "no text that could be a table"),
    ];
    for (name, bytes, words) in cases {
        let answer = upload(&visitor, name, bytes).await;
        assert_eq!(answer.status, 422, "{name} {words}: {}", answer.text);
        assert!(answer.text.contains(words), "{words} in {}", answer.text);
        assert_eq!(spooled(&visitor), 0, "{words}");
    }
    let answer = upload(&visitor, "", b"").await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("Choose a file first."), "{}", answer.text);
}

#[actix_web::test]
async fn a_file_that_is_too_large_is_refused_in_words() {
    let visitor = Visitor::with_config("[import]\nmax_bytes = 100000\n").await;
    let large = format!("phone\n{}", "+94771100001\n".repeat(20_000));
    let answer = upload(&visitor, "large.csv", large.as_bytes()).await;
    assert_eq!(answer.status, 413);
    assert!(answer.text.contains("This file is larger than 100.0 KB."), "{}", answer.text);
    assert_eq!(spooled(&visitor), 0);
}

#[actix_web::test]
async fn names_headers_and_cells_of_strangers_are_only_text() {
    let visitor = Visitor::operator().await;
    ana(&visitor).await;
    let evil = "<script>alert(1)</script>";
    let file = format!(
        "phone,\"{evil}\",\"\"\"><img src=x onerror=alert(2)>\",{{{{7*7}}}}\n\
         +94771100001,{evil},=cmd|'/c calc'!A1,{evil}\n\
         {evil},{evil},=cmd|'/c calc'!A1,x\n\
         +94771100009,{evil},x,x\n"
    );
    let answer = upload(&visitor, "..\\..\\<script>alert(1).csv", file.as_bytes()).await;
    let id = id_in(answer.location());
    let columns = visitor.get(answer.location()).await;
    let review = check(&visitor, &columns, id).await;
    assert!(review.text.contains("Import 2 people"), "{}", review.text);
    let mut pages = vec![columns, visitor.get("/admin/imports").await];
    for show in ["new", "changed", "rejected"] {
        pages.push(visitor.get(&format!("/admin/imports/{id}/review?show={show}")).await);
    }
    pages.push(run(&visitor, &review, id).await);
    pages.push(review);
    pages.push(visitor.get(&format!("/admin/imports/{id}/undo")).await);
    for page in pages {
        assert_eq!(page.status, 200);
        assert!(!page.text.contains("<script>alert"), "{}", page.text);
        assert!(!page.text.contains("<img src=x"), "{}", page.text);
        assert!(page.text.contains("&lt;script&gt;alert(1)"), "{}", page.text);
    }
    let sheet = visitor.get(&format!("/admin/imports/{id}/rejected.csv")).await;
    assert_eq!(sheet.header("content-disposition"), Some("attachment; filename=\"import-1-rejected.csv\""));
    assert!(!sheet.text.contains(",=cmd") && sheet.text.starts_with("phone,"), "{}", sheet.text);
}

#[actix_web::test]
async fn a_double_click_uploads_checks_and_runs_once() {
    let visitor = Visitor::operator().await;
    let form = visitor.get("/admin/imports/new").await;
    let first = send_file(&visitor, &form, "people.csv", FILE.as_bytes()).await;
    let second = send_file(&visitor, &form, "people.csv", FILE.as_bytes()).await;
    assert_eq!(first.location(), second.location());
    assert_eq!(spooled(&visitor), 2, "the file and what it looks like");
    let id = id_in(first.location());
    let columns = visitor.get(first.location()).await;
    let review = check(&visitor, &columns, id).await;
    let form = review.form("run");
    let path = format!("/admin/imports/{id}/run");
    let (one, other) = tokio::join!(visitor.post(&path, &form), visitor.post(&path, &form));
    assert_eq!((one.status, other.status), (303, 303), "{}{}", one.text, other.text);
    // Another tab with the same page.
    let again = visitor.post(&path, &visitor.renewed(&form).await).await;
    assert_eq!(again.status, 409, "{}", again.text);
    import::run_queued(&visitor.app.store, &Pace::default()).await.unwrap();
    let events = visitor.app.get("/events?types=import.finished").await.expect(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 1);
    let late = visitor.get(&format!("/admin/imports/{id}/columns")).await;
    assert_eq!(late.location(), format!("/admin/imports/{id}"));
}

#[actix_web::test]
async fn what_was_looked_at_is_what_comes_in() {
    let visitor = Visitor::operator().await;
    let answer = upload(&visitor, "people.csv", FILE.as_bytes()).await;
    let id = id_in(answer.location());
    let columns = visitor.get(answer.location()).await;
    let review = check(&visitor, &columns, id).await;
    // Somebody else changes the columns meanwhile.
    let mut other = as_it_stands(&visitor.get(&format!("/admin/imports/{id}/columns")).await);
    other.iter_mut().filter(|(name, _)| name == "as.2").for_each(|(_, value)| "skip".clone_into(value));
    visitor.post(&format!("/admin/imports/{id}/columns"), &other).await;
    import::run_checks(&visitor.app.store, &Pace::default()).await.unwrap();
    let answer = visitor.post(&format!("/admin/imports/{id}/run"), &review.form("run")).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(answer.text.contains("changed or discarded meanwhile"), "{}", answer.text);
    assert_eq!(row(&visitor, id).await.unwrap().state, imports::ImportState::Draft);
}

#[actix_web::test]
async fn what_was_said_is_kept_when_it_is_refused() {
    let visitor = Visitor::operator().await;
    let answer = upload(&visitor, "people.csv", FILE.as_bytes()).await;
    let id = id_in(answer.location());
    let columns = visitor.get(answer.location()).await;
    let mut form = as_it_stands(&columns);
    for (name, value) in &mut form {
        match name.as_str() {
            "name.1" => "nickname".clone_into(value),
            "name.2" => "nickname".clone_into(value),
            "consent.state" => "opt_in".clone_into(value),
            "consent.source" => "counter".clone_into(value),
            "default_region" => "Lanka".clone_into(value),
            _ => {}
        }
    }
    let answer = visitor.post(&format!("/admin/imports/{id}/columns"), &form).await;
    assert_eq!(answer.status, 422);
    for words in [
        "value=\"nickname\"",
        "value=\"counter\"",
        "id=\"e-consent.evidence\"",
        "is not a country code such as LK or US",
        "another column is mapped to “nickname” already",
    ] {
        let shown = answer.text.to_lowercase();
        assert!(shown.contains(&words.to_lowercase()), "{words} in {}", answer.text);
    }
    let mut form = as_it_stands(&columns);
    form.iter_mut().filter(|(name, _)| name == "as.0").for_each(|(_, value)| "skip".clone_into(value));
    let answer = visitor.post(&format!("/admin/imports/{id}/columns"), &form).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("Say which column holds the phone number."), "{}", answer.text);
}

#[actix_web::test]
async fn a_file_is_read_again_in_another_encoding() {
    let visitor = Visitor::operator().await;
    let file = b"phone,st\xE4dtename\n+94771100001,K\xF6ln\n";
    let answer = upload(&visitor, "people.csv", file).await;
    let id = id_in(answer.location());
    let path = format!("/admin/imports/{id}/encoding");
    let mut form = visitor.get(answer.location()).await.form_to(&path);
    let mut read_as = async |encoding: &str| {
        form.iter_mut().filter(|(name, _)| name == "encoding").for_each(|(_, v)| encoding.clone_into(v));
        form = visitor.renewed(&form).await;
        visitor.post(&path, &form).await
    };
    let refused = read_as("UTF-8").await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("UTF-8 does not fit"), "{}", refused.text);
    for (encoding, header) in [("windows-1251", "stдdtename"), ("windows-1252", "städtename")] {
        let answer = read_as(encoding).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        let columns = visitor.get(answer.location()).await;
        assert!(columns.text.contains(header), "{header} in {}", columns.text);
    }
    let columns = visitor.get(&format!("/admin/imports/{id}/columns")).await;
    let review = check(&visitor, &columns, id).await;
    run(&visitor, &review, id).await;
    let user = visitor.app.get("/users/+94771100001").await.expect(200);
    assert_eq!(user["attributes"]["städtename"], "Köln");
}

#[actix_web::test]
async fn columns_are_filled_in_as_they_were_told_last_time() {
    let visitor = Visitor::operator().await;
    for (name, expected) in [("october.csv", "name"), ("november.csv", "first_name")] {
        let answer = upload(&visitor, name, FILE.as_bytes()).await;
        let id = id_in(answer.location());
        let columns = visitor.get(answer.location()).await;
        let mut form = as_it_stands(&columns);
        assert!(form.contains(&("name.1".to_owned(), expected.to_owned())), "{form:?}");
        assert_eq!(columns.text.contains("as you said last time, for october.csv"), name == "november.csv");
        form.iter_mut().filter(|(name, _)| name == "name.1").for_each(|(_, v)| "first_name".clone_into(v));
        visitor.post(&format!("/admin/imports/{id}/columns"), &form).await;
        import::run_checks(&visitor.app.store, &Pace::default()).await.unwrap();
        let review = visitor.get(&format!("/admin/imports/{id}/review")).await;
        if name == "october.csv" {
            run(&visitor, &review, id).await;
        } else {
            let path = format!("/admin/imports/{id}/guess");
            visitor
                .post(&path, &visitor.get(&format!("/admin/imports/{id}/columns")).await.form_to(&path))
                .await;
            let form = as_it_stands(&visitor.get(&format!("/admin/imports/{id}/columns")).await);
            assert!(form.contains(&("name.1".to_owned(), "name".to_owned())), "{form:?}");
        }
    }
}

#[actix_web::test]
async fn a_dry_run_and_an_import_that_are_cut_off_show_how_far_they_are_and_go_on() {
    let visitor = Visitor::operator().await;
    let rows: String = (0..40).map(|n| format!("+9477110{n:04},n{n}\n")).collect();
    let answer = upload(&visitor, "people.csv", format!("phone,name\n{rows}").as_bytes()).await;
    let id = id_in(answer.location());
    let columns = visitor.get(answer.location()).await;
    visitor.post(&format!("/admin/imports/{id}/columns"), &as_it_stands(&columns)).await;
    let pace = Pace { rows_per_chunk: 10, chunks: Some(2), ..Pace::default() };
    import::run_checks(&visitor.app.store, &pace).await.unwrap();
    let review = visitor.get(&format!("/admin/imports/{id}/review")).await;
    assert!(review.text.contains("Checking every row. Nothing is saved."), "{}", review.text);
    assert!(review.text.contains("20 rows, "), "{}", review.text);
    import::run_checks(&visitor.app.store, &Pace::default()).await.unwrap();
    let review = visitor.get(&format!("/admin/imports/{id}/review")).await;
    assert!(review.text.contains("Import 40 people"), "{}", review.text);
    visitor.post(&format!("/admin/imports/{id}/run"), &review.form("run")).await;
    assert!(visitor.get(&format!("/admin/imports/{id}")).await.text.contains("Waits for its turn."));
    import::run_queued(&visitor.app.store, &pace).await.unwrap();
    let page = visitor.get(&format!("/admin/imports/{id}")).await;
    assert!(page.text.contains("Importing.") && page.text.contains("20 rows, "), "{}", page.text);
    import::run_queued(&visitor.app.store, &Pace::default()).await.unwrap();
    let report = visitor.get(&format!("/admin/imports/{id}")).await;
    assert!(report.text.contains("Nothing to mend"), "{}", report.text);
}

#[actix_web::test]
async fn a_draft_is_discarded_with_its_file() {
    let visitor = Visitor::operator().await;
    let answer = upload(&visitor, "people.csv", FILE.as_bytes()).await;
    let id = id_in(answer.location());
    let path = format!("/admin/imports/{id}/discard");
    let form = visitor.get(answer.location()).await.form_to(&path);
    assert_eq!(visitor.post(&path, &form).await.location(), "/admin/imports");
    assert_eq!(spooled(&visitor), 0);
    assert!(row(&visitor, id).await.is_none());
    let gone = visitor.get(&format!("/admin/imports/{id}/columns")).await;
    assert_eq!(gone.status, 404);
    assert!(gone.text.contains(&format!("There is no import {id}.")), "{}", gone.text);
}

#[actix_web::test]
async fn an_upload_that_no_form_of_ours_sent_is_refused() {
    let visitor = Visitor::operator().await;
    for parts in [
        vec![Part::file("file", "people.csv", FILE.as_bytes())],
        vec![Part::text("_csrf", "made up"), Part::file("file", "people.csv", FILE.as_bytes())],
    ] {
        let answer = visitor.post_parts("/admin/imports", &parts).await;
        assert_eq!(answer.status, 403, "{}", answer.text);
    }
    assert_eq!(spooled(&visitor), 0);
    assert!(row(&visitor, 1).await.is_none());
}

#[actix_web::test]
async fn viewers_see_what_came_of_imports_and_no_numbers() {
    let operator = Visitor::operator().await;
    let answer = upload(&operator, "people.csv", (FILE.to_owned() + "+94771100003,Cy,x,\n").as_bytes()).await;
    let id = id_in(answer.location());
    let columns = operator.get(answer.location()).await;
    let review = check(&operator, &columns, id).await;
    run(&operator, &review, id).await;
    let viewer = operator.viewer().await;
    for path in [
        "/admin/imports/new".to_owned(),
        format!("/admin/imports/{id}/undo"),
        format!("/admin/imports/{id}/rejected.csv"),
    ] {
        assert_eq!(viewer.get(&path).await.status, 403, "{path}");
    }
    let report = viewer.get(&format!("/admin/imports/{id}")).await;
    assert!(report.text.contains("Twice in the file, last row wins"), "{}", report.text);
    for hidden in ["771 100 003", "771100003", "4.15556E+10", "Undo attribute changes", "rejected.csv"] {
        assert!(!report.text.contains(hidden), "{hidden} in {}", report.text);
    }
    let list = viewer.get("/admin/imports").await;
    assert!(list.text.contains("people.csv") && !list.text.contains("/admin/imports/new"), "{}", list.text);
}
