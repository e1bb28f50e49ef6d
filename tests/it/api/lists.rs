//! Pages: stable while rows are added, the same size from first to last.

use serde_json::Value;

use crate::support::api::TestApp;

#[actix_web::test]
async fn a_list_is_read_once_through_while_rows_are_added() {
    let app = TestApp::start().await;
    for n in 0..7 {
        app.add_user(&format!("+141555501{n:02}"), "opt_in").await;
    }
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    for round in 10.. {
        let page = app.get(&format!("/users?limit=3{cursor}")).await.expect(200);
        ids.extend(page["data"].as_array().unwrap().iter().map(|user| user["id"].as_i64().unwrap()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
        app.add_user(&format!("+141555501{round}"), "opt_in").await;
    }
    assert_eq!(ids, [7, 6, 5, 4, 3, 2, 1]);
}

#[actix_web::test]
async fn a_last_page_that_is_just_full_has_no_next() {
    let app = TestApp::start().await;
    for n in 0..4 {
        app.add_segment(&format!("s{n}"), serde_json::json!({"all": []})).await;
        app.post("/topics", &serde_json::json!({"name": format!("t{n}")})).await.expect(201);
    }
    let first = app.get("/segments?limit=2").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap().to_owned();
    let last = app.get(&format!("/segments?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((last["data"].as_array().unwrap().len(), &last["next_cursor"]), (2, &Value::Null));
    assert_eq!(app.get(&format!("/templates?cursor={cursor}")).await.fields(), ["cursor"]);
    let first = app.get("/topics?limit=2").await.expect(200);
    assert_eq!(first["data"][1]["name"], "t0");
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = app.get(&format!("/topics?cursor={cursor}")).await.expect(200);
    assert_eq!(rest["data"].as_array().unwrap().len(), 3);
}

#[actix_web::test]
async fn limits_and_parameters_are_checked_on_every_list() {
    let app = TestApp::start().await;
    for path in
        ["/users", "/topics", "/segments", "/templates", "/campaigns", "/messages", "/inbound", "/events"]
    {
        for limit in ["0", "201", "x", ""] {
            assert_eq!(app.get(&format!("{path}?limit={limit}")).await.fields(), ["limit"], "{path}");
        }
        assert_eq!(app.get(&format!("{path}?ofset=3")).await.fields(), ["ofset"], "{path}");
        app.get(&format!("{path}?limit=200")).await.expect(200);
    }
}

#[actix_web::test]
async fn a_phone_that_is_no_number_is_refused_instead_of_finding_nothing() {
    let app = TestApp::start().await;
    for path in ["/messages", "/inbound"] {
        for phone in ["junk", "1", "", "%2B1"] {
            assert_eq!(app.get(&format!("{path}?phone={phone}")).await.fields(), ["phone"], "{path} {phone}");
        }
        for phone in ["%2B14155550101", "+14155550101", "14155550101"] {
            app.get(&format!("{path}?phone={phone}")).await.expect(200);
        }
    }
}
