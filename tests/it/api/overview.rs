//! The report on everything, held against a recount.

use event_stream_engine::domain::consent::Consent;
use serde_json::{Value, json};

use crate::support::Engine;
use crate::support::api::TestApp;

#[actix_web::test]
async fn a_span_is_checked() {
    let app = TestApp::start().await;
    let usual = app.get("/reports/overview").await.expect(200);
    assert_eq!((&usual["from"], &usual["to"]), (&json!("2026-10-25"), &json!("2026-11-23")));
    assert_eq!(usual["days"].as_array().unwrap().len(), 30);
    for (query, field) in [
        ("from=soon", "from"),
        ("to=2026-13-01", "to"),
        ("from=2026-11-24&to=2026-11-23", "to"),
        ("from=2020-01-01&to=2026-11-23", "to"),
        ("form=2026-11-01", "form"),
        ("from=0001-01-01", "from"),
    ] {
        assert_eq!(app.get(&format!("/reports/overview?{query}")).await.fields(), [field], "{query}");
    }
    let one = app.get("/reports/overview?from=2026-11-23&to=2026-11-23").await.expect(200);
    assert_eq!(one["days"][0]["day"], "2026-11-23");
    let instants = "from=2026-11-22T23:30:00Z&to=2026-11-23T01:00:00%2B02:00";
    let one = app.get(&format!("/reports/overview?{instants}")).await.expect(200);
    assert_eq!((&one["from"], &one["to"]), (&json!("2026-11-22"), &json!("2026-11-22")), "by UTC");
    let leap = app.get("/reports/overview?from=2028-02-28&to=2028-03-01").await.expect(200);
    assert_eq!(leap["days"].as_array().unwrap().len(), 3);
}

#[actix_web::test]
async fn the_numbers_are_those_of_a_recount() {
    use event_stream_engine::store::reports::overview::overview;
    let mut engine = Engine::start().await;
    engine.add_many(12).await;
    engine.add(&crate::support::phone(20), Consent::OptOut, json!({})).await;
    let id = engine.draft(|_| ()).await;
    engine.launch(id).await;
    engine.settle().await;
    for n in 0..3 {
        let (sid, from) = (format!("SM{n:032}"), crate::support::phone(n));
        let account = engine.account_sid().to_owned();
        let body = ["STOP", "Thanks", "stop"][n];
        let params = [
            ("MessageSid", sid.as_str()),
            ("AccountSid", &account),
            ("From", &from),
            ("To", crate::support::SENDER),
            ("Body", body),
        ];
        assert_eq!(engine.post("/webhooks/twilio/inbound", &params).await.0, 200);
        engine.clock.advance(86_400_000);
    }
    let first = engine.value::<i64>("SELECT min(at) / 86400000 FROM events");
    let found = engine.store.read_here(|conn| overview(conn, (first, first + 9))).unwrap();
    let recounted = |sql: &str| -> Vec<(i64, String, i64)> {
        engine
            .store
            .read_here(|conn| {
                let mut statement = conn.prepare(sql)?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                Ok::<_, event_stream_engine::store::StoreError>(rows.map(Result::unwrap).collect())
            })
            .unwrap()
    };
    let mut counted = recounted("SELECT at / 86400000, type, count(*) FROM events GROUP BY 1, 2");
    counted.extend(recounted(
        "SELECT at / 86400000, 'opt_out', count(*) FROM events
         WHERE type = 'consent.changed' AND data ->> 'previous' IN ('opt_in', 'unknown')
           AND data ->> 'state' IN ('opt_out', 'stop') GROUP BY 1",
    ));
    counted.sort();
    let mut kept = found.daily.clone();
    kept.sort();
    assert_eq!(kept, counted);
    let opt_outs: Vec<i64> =
        kept.iter().filter(|(_, kind, _)| kind == "opt_out").map(|(_, _, n)| *n).collect();
    assert_eq!(opt_outs, [1, 1]);
    let people = recounted("SELECT 0, consent, count(*) FROM users GROUP BY 2 ORDER BY 2");
    let kept: Vec<(i64, String, i64)> =
        found.users.iter().filter(|(_, n)| *n > 0).map(|(consent, n)| (0, consent.clone(), *n)).collect();
    assert_eq!(kept, people);
    engine.check_and_stop().await;
}

#[actix_web::test]
async fn errors_come_of_campaigns_of_the_span_and_days_add_up() {
    let app = TestApp::start().await;
    let id = app.add_campaign("Past").await;
    let file = rusqlite::Connection::open(app.dir.path().join("ese.db")).unwrap();
    file.execute_batch(&format!(
        "UPDATE campaigns SET launched_at = 1795392000000 WHERE id = {id};
         INSERT INTO campaign_counts (campaign_id, status, error_code, n)
         VALUES ({id}, 'failed', 30003, 5), ({id}, 'undelivered', 30005, 7), ({id}, 'delivered', 0, 90);
         INSERT INTO daily_counts (day, type, n) VALUES
           (20779, 'message.delivered', 4), (20780, 'message.delivered', 6), (20780, 'inbound.received', 2),
           (20780, 'opt_out', 1), (20780, 'message.deferred', 9)"
    ))
    .unwrap();
    let report = app.get("/reports/overview?from=2026-11-22&to=2026-11-23").await.expect(200);
    let of_day = |n: usize, what: &str| report["days"][n]["messages"][what].clone();
    assert_eq!((of_day(0, "delivered"), of_day(1, "delivered")), (json!(4), json!(6)));
    assert_eq!(report["totals"]["messages"]["delivered"], 10);
    assert_eq!((&report["totals"]["inbound"], &report["totals"]["opt_outs"]), (&json!(2), &json!(1)));
    let codes: Vec<&Value> = report["errors"].as_array().unwrap().iter().map(|row| &row["code"]).collect();
    assert_eq!(codes, [30_005, 30_003]);
    assert!(!report["errors"][0]["what_to_do"].as_str().unwrap().is_empty());
    let before = app.get("/reports/overview?from=2026-11-21&to=2026-11-21").await.expect(200);
    assert_eq!(before["errors"], json!([]));
}
