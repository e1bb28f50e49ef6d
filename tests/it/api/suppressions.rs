//! `/suppressions`: the list of numbers never to be sent to.

use event_stream_engine::store::StoreError;
use serde_json::{Value, json};

use crate::support::api::{TestApp, send};

async fn ids(app: &TestApp, query: &str) -> Vec<i64> {
    let page = app.get(&format!("/suppressions{query}")).await.expect(200);
    page["data"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[actix_web::test]
async fn a_suppressed_number_is_shown_as_a_hash_and_its_person_named_where_we_hold_one() {
    let app = TestApp::start().await;
    let known = app.add_user("+14155550101", "opt_in").await;
    let body = json!({"phones": ["+14155550101", "+1 415 555 0102", "+14155550102"],
        "reason": "opted_out_elsewhere", "source": "old provider"});
    let added = app.post("/suppressions", &body).await.expect(201);
    assert_eq!((&added["added"], &added["unchanged"]), (&json!(2), &json!(0)));
    let rows = added["data"].as_array().unwrap();
    assert_eq!((&rows[0]["phone"], &rows[0]["user_id"]), (&json!("+14155550101"), &json!(known)));
    assert_eq!((&rows[1]["phone"], &rows[1]["user_id"]), (&Value::Null, &Value::Null));
    assert_eq!(rows[0]["hash"].as_str().unwrap().len(), 12);
    assert_ne!(rows[0]["hash"], rows[1]["hash"]);
    let again = app.post("/suppressions", &json!({"phone": "+14155550101"})).await.expect(200);
    assert_eq!((&again["added"], &again["unchanged"]), (&json!(0), &json!(1)));
    assert_eq!(again["data"][0]["reason"], "opted_out_elsewhere");
    let stranger: Vec<u8> = app
        .store
        .read_here(|conn| {
            Ok::<_, StoreError>(conn.query_row(
                "SELECT address_hash FROM suppressions WHERE id = 2",
                [],
                |r| r.get(0),
            )?)
        })
        .unwrap();
    assert_eq!(stranger, app.store.key().hash("+14155550102"));
    // The stranger comes in later and is named from then on.
    let late = app.add_user("+14155550102", "opt_in").await;
    let found = app.get("/suppressions?phone=%2B14155550102").await.expect(200);
    assert_eq!(found["data"][0]["user_id"], late);
    let refused = json!({"to": "+14155550102", "channel": "sms", "body": "Hi"});
    assert_eq!(app.post("/messages", &refused).await.expect(202)["reason"], "suppressed");
}

#[actix_web::test]
async fn the_list_is_paged_and_filtered() {
    let app = TestApp::start().await;
    for n in 0..5 {
        let reason = if n % 2 == 0 { "complaint" } else { "do_not_contact" };
        let body = json!({"phone": format!("+1415555010{n}"), "reason": reason});
        app.post("/suppressions", &body).await.expect(201);
    }
    assert_eq!(ids(&app, "").await, [5, 4, 3, 2, 1]);
    assert_eq!(ids(&app, "?reason=complaint").await, [5, 3, 1]);
    assert_eq!(ids(&app, "?phone=%2B14155550103").await, [4]);
    assert_eq!(ids(&app, "?phone=%2B14155550103&reason=complaint").await, [0; 0]);
    assert_eq!(ids(&app, "?phone=%2B14155550199").await, [0; 0]);
    let first = app.get("/suppressions?limit=2").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(ids(&app, &format!("?limit=3&cursor={cursor}")).await, [3, 2, 1]);
    for (query, field) in
        [("reason=spite", "reason"), ("phone=12", "phone"), ("source=x", "source"), ("cursor=x", "cursor")]
    {
        assert_eq!(app.get(&format!("/suppressions?{query}")).await.fields(), [field], "{query}");
    }
}

#[actix_web::test]
async fn suppressing_cancels_what_waits_in_the_same_write() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    let message = json!({"to": "+14155550101", "channel": "sms", "body": "Hi"});
    let id = app.post("/messages", &message).await.expect(202)["id"].clone();
    app.post("/suppressions", &json!({"phone": "+14155550101"})).await.expect(201);
    let message = app.get(&format!("/messages/{id}")).await.expect(200);
    assert_eq!((&message["status"], &message["reason"]), (&json!("cancelled"), &json!("suppressed")));
    let events = app.get("/events?types=suppression.changed").await.expect(200);
    assert_eq!(events["data"][0]["data"]["suppressed"], true);
    assert!(!events.to_string().contains("5550199"));
}

#[actix_web::test]
async fn a_number_comes_off_the_list_but_not_somebody_who_was_erased() {
    let app = TestApp::start().await;
    let id = app.add_user("+14155550101", "opt_in").await;
    app.post("/suppressions", &json!({"phone": "+14155550101"})).await.expect(201);
    app.delete("/suppressions?phone=%2B14155550101").await.expect(204);
    assert_eq!(app.delete("/suppressions?phone=%2B14155550101").await.problem(404)["status"], 404);
    let message = json!({"to": "+14155550101", "channel": "sms", "body": "Hi"});
    assert_eq!(app.post("/messages", &message).await.expect(202)["status"], "queued");
    // Erased by way of a list or not: it holds until the person comes back.
    app.post("/suppressions", &json!({"phone": "+14155550101", "reason": "complaint"})).await.expect(201);
    app.delete(&format!("/users/{id}")).await.expect(204);
    let refused = app.delete("/suppressions?phone=%2B14155550101").await.problem(409);
    assert_eq!(refused["code"], "erased");
    let row = &app.get("/suppressions?phone=%2B14155550101").await.expect(200)["data"][0];
    assert_eq!((&row["user_id"], &row["reason"]), (&Value::Null, &json!("complaint")));
    assert!(row["erased_at"].is_string());
    assert_eq!(app.delete("/suppressions").await.fields(), ["phone"]);
}

#[actix_web::test]
async fn what_can_not_be_suppressed_is_named_by_its_field() {
    let app = TestApp::start().await;
    for (body, fields) in [
        (json!({}), vec!["phone"]),
        (json!({"phone": "+14155550101", "phones": ["+14155550102"]}), vec!["phones"]),
        (json!({"phones": []}), vec!["phones"]),
        (json!({"phones": ["+14155550101", "nonsense"]}), vec!["phones[1]"]),
        (json!({"phone": "+14155550101", "reason": "erased"}), vec!["reason"]),
        (json!({"phone": "+14155550101", "soruce": "x"}), vec!["soruce"]),
        (json!({"phone": 5}), vec!["phone"]),
        (json!({"phones": vec!["+14155550101"; 201]}), vec!["phones"]),
    ] {
        assert_eq!(app.post("/suppressions", &body).await.fields(), fields, "{body}");
    }
    assert_eq!(ids(&app, "").await, [0; 0]);
    let key = "the same";
    for _ in 0..2 {
        let request = app.request("POST", "/suppressions").header("idempotency-key", key);
        send(request.json(&json!({"phone": "+14155550101"}))).await.expect(201);
    }
}
