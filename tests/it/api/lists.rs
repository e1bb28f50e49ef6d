//! Pages: stable while rows are added, the same size from first to last.

use std::cell::Cell;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

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

/// Reads a list to its end, page by page, and lets `grow` add rows after each.
async fn read_through(app: &TestApp, path: &str, limit: usize, grow: impl AsyncFn()) -> Vec<i64> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("{path}?limit={limit}{cursor}")).await.expect(200);
        let rows = page["data"].as_array().unwrap();
        assert!(rows.len() <= limit);
        ids.extend(rows.iter().map(|row| row["id"].as_i64().unwrap()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
        grow().await;
    }
}

/// Whatever the size of the pages and whatever comes between them: everything that was there at the start is seen
/// once, in order, and nothing else.
#[actix_web::test]
async fn pages_of_any_size_show_what_was_there_at_the_start_once_whatever_comes_between() {
    let app = TestApp::start().await;
    let last = Cell::new(0);
    let add = async || {
        last.set(last.get() + 1);
        let phone = format!("+1415555{:04}", 100 + last.get());
        app.add_user(&phone, "opt_in").await;
        let body = json!({"to": phone, "channel": "sms", "body": "Hi"});
        app.post("/messages", &body).await.expect(202)["id"].as_i64().unwrap();
    };
    let mut runner = TestRunner::deterministic();
    for _ in 0..12 {
        let cases = (0_usize..5, 1_usize..9, 0_usize..4);
        let (more, limit, between) = cases.new_tree(&mut runner).unwrap().current();
        for _ in 0..more {
            add().await;
        }
        for path in ["/users", "/messages"] {
            let there: Vec<i64> = (1..=last.get()).rev().collect();
            let grow = async || {
                for _ in 0..between {
                    add().await;
                }
            };
            let seen = read_through(&app, path, limit, grow).await;
            assert_eq!(seen, there, "{path} {limit} {between}");
        }
    }
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

/// What no index leads to is looked for in windows: a page may be short or empty and still have a cursor.
#[actix_web::test]
async fn a_filter_that_few_rows_fit_is_found_by_following_the_cursor() {
    let app = TestApp::start().await;
    let campaign_id = app.add_campaign("Past").await;
    let file = rusqlite::Connection::open(app.dir.path().join("ese.db")).unwrap();
    file.execute_batch(&format!(
        "BEGIN;
         INSERT INTO users (id, phone, attributes, created_at, updated_at)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 45000)
         SELECT i, printf('+1212%07d', 2000000 + i), jsonb('{{}}'), 0, 0 FROM n;
         INSERT INTO messages (campaign_id, user_id, status, kind, channel, lane, due_at, created_at)
         SELECT {campaign_id}, id, CASE WHEN id IN (3, 30003) THEN 'skipped' WHEN id = 5 THEN 'failed' ELSE 'delivered' END,
                'marketing', 'sms', {campaign_id}, 0, 1795000000000 + id * 1000 FROM users;
         INSERT INTO inbound (message_sid, state, source, kind, received_at)
         SELECT 'SM' || id, 'done', 'webhook', CASE id WHEN 2 THEN 'stop' ELSE 'message' END, 1795000000000 + id * 1000
         FROM users;
         COMMIT"
    ))
    .unwrap();
    for (list, filter, found, pages) in [
        ("/messages", "status=skipped".to_owned(), vec![30_003, 3], 3),
        ("/messages", "status=failed".to_owned(), vec![5], 1),
        ("/messages", "kind=reply".to_owned(), vec![], 3),
        ("/messages", "since=2031-01-01T00:00:00Z".to_owned(), vec![], 1),
        ("/messages", "since=2026-11-18T23:29:59Z&status=skipped".to_owned(), vec![], 1),
        ("/messages", format!("campaign_id={campaign_id}&status=skipped"), vec![3, 30_003], 3),
        ("/inbound", "kind=stop".to_owned(), vec![2], 3),
        ("/inbound", "since=2031-01-01T00:00:00Z".to_owned(), vec![], 1),
    ] {
        let (mut ids, mut read, mut cursor) = (Vec::new(), 0, String::new());
        loop {
            let page = app.get(&format!("{list}?{filter}{cursor}")).await.expect(200);
            read += 1;
            ids.extend(page["data"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!((ids, read), (found, pages), "{list}?{filter}");
    }
    let sheet = app.get(&format!("/campaigns/{campaign_id}/messages?format=csv&status=skipped")).await;
    assert_eq!(sheet.text.lines().count(), 3, "{}", sheet.text);
}
