//! Caps on spending and the words of a first message, as the API shows them.

use event_stream_engine::domain::price::Cost;
use event_stream_engine::store::{StoreError, frequency, spending, users};
use serde_json::{Value, json};

use crate::support::api::TestApp;

async fn spend(app: &TestApp, id: i64, cost: Cost) {
    app.store.write::<_, _, StoreError>(move |tx| spending::add(tx, Some(id), 1, cost)).await.unwrap();
}

#[actix_web::test]
async fn a_spend_cap_is_kept_cloned_and_changed_also_while_the_campaign_runs_or_is_paused() {
    let app = TestApp::start().await;
    app.add_template("hi", "Hi").await;
    let everybody = app.add_segment("everybody", json!({"all": []})).await;
    let plan = json!({"name": "Spring", "template_id": 1, "segment_id": everybody, "channel": "sms",
        "spend_cap": 12.5});
    let made = app.post("/campaigns", &plan).await.expect(201);
    assert_eq!((&made["spend_cap"], &made["spent"]), (&json!(12.5), &json!(0.0)));
    let copy = app.post("/campaigns/1/clone", &json!({})).await;
    assert_eq!(copy.json()["spend_cap"], json!(12.5));
    app.post("/campaigns/1/launch", &json!({})).await;
    let raised = app.patch("/campaigns/1", &json!({"spend_cap": 20})).await.expect(200);
    assert_eq!((&raised["spend_cap"], &raised["rate_limit_per_second"]), (&json!(20.0), &Value::Null));
    app.post("/campaigns/1/pause", &json!({})).await.expect(200);
    let both = json!({"spend_cap": null, "rate_limit_per_second": 3.0});
    let freed = app.patch("/campaigns/1", &both).await.expect(200);
    assert_eq!((&freed["spend_cap"], &freed["rate_limit_per_second"]), (&Value::Null, &json!(3.0)));
    let changed = app.get("/events?types=campaign.spend_cap_changed").await.expect(200);
    assert_eq!(changed["data"].as_array().unwrap().len(), 2);
    for bad in [json!(0), json!(-1), json!("much"), json!(1e300), json!(0.000_000_1)] {
        assert_eq!(app.patch("/campaigns/1", &json!({"spend_cap": bad})).await.fields(), ["spend_cap"]);
        assert_eq!(app.patch("/campaigns/2", &json!({"spend_cap": bad})).await.fields(), ["spend_cap"]);
    }
    let refused = app.patch("/campaigns/1", &json!({"name": "Other"})).await.problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("spend_cap"), "{refused}");
}

#[actix_web::test]
async fn a_cost_is_told_once_every_price_is_known_and_the_known_part_before() {
    let app = TestApp::start().await;
    let id = app.add_campaign("Spring").await;
    spend(&app, id, Cost { known_micros: 1_250_000, unknown: 2 }).await;
    let report = app.get(&format!("/campaigns/{id}/report")).await.expect(200);
    for (field, value) in [
        ("cost", json!("unknown")),
        ("cost_known", json!(1.25)),
        ("unpriced", json!(2)),
        ("currency", json!("USD")),
        ("cost_note", Value::Null),
    ] {
        assert_eq!(report[field], value, "{field}");
    }
    assert_eq!(app.get(&format!("/campaigns/{id}")).await.expect(200)["spent"], json!("unknown"));
    spend(&app, id, Cost { known_micros: 250_000, unknown: -2 }).await;
    let report = app.get(&format!("/campaigns/{id}/report")).await.expect(200);
    assert_eq!((&report["cost"], &report["unpriced"]), (&json!(1.5), &json!(0)));
    // Twilio bills in another currency than the table's: nothing is added up that does not go together.
    app.store
        .write::<_, _, StoreError>(|tx| {
            Ok(tx.conn().execute("UPDATE campaign_sums SET price_unit = 'EUR'", [])?)
        })
        .await
        .unwrap();
    let report = app.get(&format!("/campaigns/{id}/report")).await.expect(200);
    assert_eq!(report["cost"], json!("unknown"));
    assert!(report["cost_note"].as_str().unwrap().contains("Set [prices] currency to EUR"), "{report}");
}

#[actix_web::test]
async fn a_preview_shows_what_a_first_message_says_and_counts_it() {
    let app = TestApp::start().await;
    let user = app.add_user("+14155550101", "opt_in").await;
    let text = "x".repeat(150);
    let id = app.add_template("long", &text).await;
    let path = format!("/templates/{id}/preview");
    let first = app.post(&path, &json!({"phone": "+14155550101"})).await.expect(200);
    assert_eq!(first["body"], json!(format!("{text}\nReply STOP to unsubscribe.")));
    assert_eq!(first["parts"], json!(2));
    assert!(first["warnings"].to_string().contains("first marketing message"), "{first}");
    app.store.write::<_, _, StoreError>(move |tx| frequency::note(tx, user, Some(1), None)).await.unwrap();
    let later = app.post(&path, &json!({"phone": "+14155550101"})).await.expect(200);
    assert_eq!((&later["body"], &later["parts"]), (&json!(text), &json!(1)));
    let made = app.post(&path, &json!({"attributes": {}})).await.expect(200);
    assert_eq!(made["parts"], json!(1), "attributes alone are nobody's");
}

#[actix_web::test]
async fn who_says_that_a_number_works_begins_the_count_of_its_failures_anew() {
    let app = TestApp::start().await;
    let user = app.add_user("+14155550101", "opt_in").await;
    app.store
        .write::<_, _, StoreError>(move |tx| {
            users::note_failure(tx, user)?;
            users::set_reachable(tx, user, Some("30004: 3 messages in a row"), "twilio")
        })
        .await
        .unwrap();
    assert_eq!(app.get("/users/+14155550101").await.expect(200)["reachable"], json!(false));
    let cleared = app.patch("/users/+14155550101", &json!({"reachable": true})).await.expect(200);
    assert_eq!(cleared["reachable"], json!(true));
    let failures: i64 = app
        .store
        .read_here(|conn| {
            Ok::<_, StoreError>(conn.query_row("SELECT failures FROM users", [], |row| row.get(0))?)
        })
        .unwrap();
    assert_eq!(failures, 0);
}
