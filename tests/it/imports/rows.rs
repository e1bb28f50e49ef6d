//! What becomes of a row: reasons, modes, duplicates, topics, dry runs.

use super::*;
use event_stream_engine::privacy;
use event_stream_engine::store::{events, suppressions, topics};

#[tokio::test]
async fn every_row_that_is_not_taken_says_why() {
    let shop = Shop::new();
    let file = "Phone No,Vorname,tz\n\
        0771100001,Ana,Asia/Colombo\n\
        9.47711E+10,b,\n\
        0771100002 / 0771100003,c,\n\
        hello,d,\n\
        ,e,\n\
        0771100004,f,Mars/Olympus\n\
        0771100005,g,,,x\n\
        0771100006\n";
    let row = shop.import(file, json!({"default_region": "LK", "mapping": {"Vorname": "name"}})).await;
    assert_eq!(row.error, None);
    let found: Vec<_> = shop
        .issues(row.id)
        .await
        .into_iter()
        .map(|issue| (issue.row, issue.reason, issue.is_rejected, issue.column))
        .collect();
    let issue = |row: i64, reason: &str, is_rejected, column: Option<&str>| {
        (row, reason.to_owned(), is_rejected, column.map(str::to_owned))
    };
    assert_eq!(
        found,
        [
            issue(3, "scientific_notation", true, Some("Phone No")),
            issue(4, "several_numbers_in_cell", true, Some("Phone No")),
            issue(5, "invalid_phone", true, Some("Phone No")),
            issue(6, "phone_missing", true, Some("Phone No")),
            issue(7, "timezone_unknown", false, Some("tz")),
            issue(8, "too_many_cells", true, None),
        ]
    );
    assert_eq!(row.tally.reasons.values().sum::<u64>(), 6);
    assert_eq!((row.tally.rows, row.tally.created, row.tally.rejected), (8, 3, 5));
    let expected = json!({"name": "Ana", "timezone": "Asia/Colombo"});
    assert_eq!(shop.attributes("+94771100001").await, expected);
    assert_eq!(shop.attributes("+94771100004").await, json!({"name": "f"}));
    assert_eq!(shop.user("+94771100001").await.unwrap().country.as_deref(), Some("LK"));
    assert_eq!(
        row.report(),
        json!({"id": row.id, "state": "finished", "file_name": "people.csv", "format": "csv",
               "encoding": "UTF-8", "dry_run": false, "rows": 8, "created": 3, "updated": 0,
               "unchanged": 0, "duplicates": 0, "rejected": 5,
               "reasons": {"scientific_notation": 1, "several_numbers_in_cell": 1, "invalid_phone": 1,
                           "phone_missing": 1, "timezone_unknown": 1, "too_many_cells": 1},
               "progress": 1.0, "error": null})
    );
    let row = shop.import("phone\n0771100009\n", json!({})).await;
    assert_eq!(shop.reasons(row.id).await, [(2, "no_country".to_owned())]);
}

#[tokio::test]
async fn a_row_with_too_much_in_it_is_rejected() {
    let shop = Shop::new();
    let row = shop.import(format!("phone,a\n+94771100001,{}\n", "x".repeat(40_000)), json!({})).await;
    assert_eq!(row.tally.reasons.get("attributes_invalid"), Some(&1));
    let issue = &shop.issues(row.id).await[0];
    assert!(serde_json::to_string(&issue.cells).unwrap().len() <= 8_192);
    shop.add("+94771100002", Consent::Unknown, json!({"a": "y".repeat(20_000)})).await;
    let row = shop.import(format!("phone,b\n+94771100002,{}\n", "x".repeat(20_000)), json!({})).await;
    assert_eq!((row.tally.rejected, row.tally.updated), (1, 0));
    assert_eq!(shop.reasons(row.id).await, [(2, "attributes_invalid".to_owned())]);
}

#[tokio::test]
async fn modes_say_what_happens_to_people_whom_we_know() {
    let file = "phone,name,city\n+94771100001,,Kandy\n+94771100002,Bo,\n";
    for (mode, outcome, attributes) in [
        ("merge", (1, 1, 0), json!({"name": "Ana", "age": 41, "city": "Kandy"})),
        ("replace", (1, 1, 0), json!({"city": "Kandy"})),
        ("skip_existing", (1, 0, 1), json!({"name": "Ana", "age": 41, "city": "Galle"})),
    ] {
        let shop = Shop::new();
        let kept = json!({"name": "Ana", "age": 41, "city": "Galle"});
        shop.add("+94771100001", Consent::OptIn, kept).await;
        let row = shop.import(file, json!({"mode": mode})).await;
        let tally = &row.tally;
        assert_eq!((tally.created, tally.updated, tally.unchanged), outcome, "{mode}");
        assert_eq!(shop.attributes("+94771100001").await, attributes, "{mode}");
        assert_eq!(shop.attributes("+94771100002").await, json!({"name": "Bo"}), "{mode}");
        let again = shop.import(file, json!({"mode": mode})).await;
        assert_eq!((again.tally.unchanged, again.tally.rows), (2, 2), "{mode}");
    }
}

#[tokio::test]
async fn suppressing_adds_nobody_and_stops_those_we_know() {
    let shop = Shop::new();
    shop.add("+94771100001", Consent::OptIn, json!({"name": "Ana"})).await;
    let file = "phone,name\n+94771100001,x\n+94771100002,y\n+94771100002,y\nbad,z\n";
    let row = shop.import(file, json!({"mode": "suppress"})).await;
    let tally = &row.tally;
    assert_eq!((tally.created, tally.updated, tally.duplicates, tally.rejected), (1, 1, 1, 1));
    assert_eq!(shop.count_users().await, 1);
    let ana = shop.user("+94771100001").await.unwrap();
    assert!(ana.is_suppressed);
    assert_eq!((ana.consent, ana.attributes.get("name").cloned()), (Consent::OptIn, Some(json!("Ana"))));
    let is_listed = shop.store.write(|tx| suppressions::contains(tx, "+94771100002")).await.unwrap();
    assert!(is_listed);
    let again = shop.import(file, json!({"mode": "suppress"})).await;
    assert_eq!((again.tally.unchanged, again.tally.rejected), (3, 1));
    shop.import("phone,consent\n+94771100002,yes\n", json!({})).await;
    assert!(shop.user("+94771100002").await.unwrap().is_suppressed);
}

#[tokio::test]
async fn the_last_of_several_rows_with_one_number_wins() {
    let shop = Shop::new();
    shop.add("+94771100002", Consent::Unknown, json!({})).await;
    let file = "phone,name,city\n\
        +94771100001,Ana,Galle\n+94771100002,Bo,\n+94 77 110 0001,Anna,\n+94771100002,,Kandy\n+94771100001,,Matara\n";
    for dry_run in [true, false] {
        let row = shop.import(file, json!({"dry_run": dry_run})).await;
        let tally = &row.tally;
        assert_eq!((tally.created, tally.updated, tally.duplicates), (1, 1, 3), "dry run {dry_run}");
        let issues = shop.issues(row.id).await;
        let told: Vec<_> = issues.iter().map(|issue| (issue.row, issue.message.as_str())).collect();
        assert_eq!(
            told,
            [
                (4, "The number stood in row 2 already; this row replaced that one."),
                (5, "The number stood in row 3 already; this row replaced that one."),
                (6, "The number stood in row 4 already; this row replaced that one."),
            ]
        );
        assert!(issues.iter().all(|issue| issue.reason == "duplicate_in_file" && !issue.is_rejected));
    }
    assert_eq!(shop.attributes("+94771100001").await, json!({"name": "Anna", "city": "Matara"}));
    assert_eq!(shop.attributes("+94771100002").await, json!({"name": "Bo", "city": "Kandy"}));
}

#[tokio::test]
async fn a_dry_run_counts_the_same_and_changes_nothing() {
    let file = "phone,name,consent,topics\n\
        +94771100001,Ana,yes,general\n+94771100002,Bo,maybe,\n+94771100003,Cy,stop,dogs\n\
        +94771100002,Bo,yes,\nbad,x,,\n+94771100004,,,\n";
    for mode in ["merge", "replace", "skip_existing", "suppress"] {
        let shop = Shop::new();
        shop.add("+94771100001", Consent::OptOut, json!({"name": "Ana", "age": 1})).await;
        shop.add("+94771100004", Consent::Unknown, json!({})).await;
        let dry = shop.import(file, json!({"mode": mode, "dry_run": true})).await;
        assert_eq!((shop.count_users().await, dry.is_dry_run()), (2, true), "{mode}");
        assert_eq!(shop.attributes("+94771100001").await, json!({"name": "Ana", "age": 1}), "{mode}");
        let real = shop.import(file, json!({"mode": mode})).await;
        // What an undo would lead back is kept by a real one alone.
        let mut counted = real.tally.clone();
        assert_eq!(std::mem::take(&mut counted.details.changes), u64::from(mode == "replace"), "{mode}");
        assert_eq!(dry.tally, counted, "{mode}");
        assert_eq!(shop.reasons(dry.id).await, shop.reasons(real.id).await, "{mode}");
    }
}

#[tokio::test]
async fn people_join_topics_but_nobody_who_left_is_brought_back() {
    let shop = Shop::new();
    let left = shop.add("+94771100002", Consent::OptIn, json!({})).await;
    shop.store
        .write(move |tx| {
            topics::insert(tx, "News", false)?;
            let news = topics::find(tx.conn(), "news")?.unwrap();
            topics::set(tx, left, &news, false, "user")
        })
        .await
        .unwrap();
    let file = "phone,topics\n+94771100001,\"news, cats\"\n+94771100002,NEWS\n+94771100003,\n";
    let row = shop.import(file, json!({})).await;
    assert_eq!(shop.reasons(row.id).await, [(2, "topic_unknown".to_owned()), (3, "topic_left".to_owned())]);
    assert_eq!((row.tally.created, row.tally.unchanged, row.tally.rejected), (2, 1, 0));
    let topics_of = async |phone: &str| {
        let user = shop.user(phone).await.unwrap();
        shop.store.read(move |conn| users::topics(conn, user.id, user.consent)).await.unwrap()
    };
    assert_eq!(topics_of("+94771100001").await, ["News"]);
    assert_eq!(topics_of("+94771100002").await, ["general"]);
    let row = shop.import("phone\n+94771100003\n", json!({"topics": ["news"]})).await;
    assert_eq!(row.tally.updated, 1);
    assert_eq!(topics_of("+94771100003").await, ["News"]);
    let refused = shop.try_queue(b"phone\n", json!({"topics": ["general", "dogs"]})).await.unwrap_err();
    assert_eq!(refused.to_string(), "topics.1: there is no topic “dogs”");
}

#[tokio::test]
async fn an_import_is_one_event_and_its_people_have_none() {
    let shop = Shop::new();
    let row = shop.import("phone\n+94771100001\n+94771100002\n", json!({})).await;
    let (events, _) = shop.store.read(|conn| events::list_after(conn, 0, &[], 100)).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["import.finished"]);
    assert_eq!(events[0].data["import_id"], json!(row.id));
    assert_eq!(events[0].data["created"], json!(2));
    assert_eq!(events[0].data["actor"], json!("key:1"));
}

#[tokio::test]
async fn issues_can_be_downloaded_and_are_erased_with_the_person() {
    let shop = Shop::new();
    let file = "name,phone,consent\n=1+1,0771100001,perhaps\nBo,4.15E+10,\n";
    let row = shop.import(file, json!({"default_region": "LK"})).await;
    let csv = async |id: i64| {
        let columns = shop.store.read(move |conn| imports::issue_columns(conn, id)).await.unwrap();
        import::issues_csv_header(&columns) + &import::issues_csv_lines(&columns, &shop.issues(id).await)
    };
    assert_eq!(
        csv(row.id).await,
        "row,reason,rejected,message,name,phone,consent\r\n\
         2,consent_unclear,false,\"“perhaps” is no clear consent. Write opt_in, opt_out, stop or unknown.\",'=1+1,'+94771100001,perhaps\r\n\
         3,scientific_notation,true,“4.15E+10” was shortened by Excel. Format the column as text and export again.,Bo,4.15E+10,\r\n"
    );
    let ana = shop.user("+94771100001").await.unwrap();
    assert!(privacy::erase(&shop.store, ana.id, "operator:1").await.unwrap());
    let kept = csv(row.id).await;
    assert!(!kept.contains("1100001") && !kept.contains("=1+1") && kept.contains("4.15E+10"), "{kept}");
}

#[tokio::test]
async fn ten_thousand_issues_are_kept_and_all_are_counted() {
    let shop = Shop::new();
    let row = shop.import(format!("phone\n{}", "bad\n".repeat(10_050)), json!({})).await;
    assert_eq!(row.tally.reasons.get("invalid_phone"), Some(&10_050));
    let id = row.id;
    let kept = shop.store.read(move |conn| imports::count_issues(conn, id)).await.unwrap();
    assert_eq!(kept, 10_000);
}
