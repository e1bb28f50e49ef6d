//! The export of a person holds all that is held, and nothing of anybody else.

use event_stream_engine::privacy::{EXPORT_PAGE, Export};
use event_stream_engine::store::personal::{Exported, HOLDINGS};
use event_stream_engine::store::users::{self, UserKey};
use serde_json::{Value, json};

use super::{MARK, full_engine};
use crate::support::api::TestApp;
use crate::support::{Engine, phone};

async fn export(engine: &Engine, id: i64) -> Value {
    let user = engine.store.read_here(|conn| users::find(conn, &UserKey::Id(id))).unwrap().unwrap();
    let mut export = Export::new(engine.store.clone(), &user);
    let mut text = String::new();
    while let Some(part) = export.next().await.unwrap() {
        text.push_str(&part);
    }
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn an_export_holds_every_row_of_the_person_and_none_of_others() {
    let engine = full_engine().await;
    let document = export(&engine, 1).await;
    for holding in HOLDINGS {
        let rows = document[holding.table].as_array().map_or(0, Vec::len);
        let is_wanted = !matches!(holding.exported, Exported::Not(_));
        assert_eq!(rows > 0, is_wanted, "{}: {rows} rows", holding.table);
    }
    assert_eq!(document["users"][0]["attributes"]["name"], MARK);
    assert_eq!(document["triggers"][0]["data"]["name"], MARK);
    assert!(document["inbound"][0]["params"].is_array());
    assert!(document["receipts"][0]["params"].is_array());
    assert!(document["messages"][0]["created_at"].as_str().unwrap().starts_with("2026-11-23T"));
    assert_eq!(document["import_issues"].as_array().unwrap().len(), 1);
    let kinds: Vec<&str> =
        document["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    for kind in ["user.created", "message.accepted", "inbound.received", "consent.changed"] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    let text = document.to_string();
    assert!(!text.contains(&phone(1)) && !text.contains("\"Bo\""));
    engine.simulator.stop().await;
}

#[tokio::test]
async fn an_export_longer_than_a_page_is_whole() {
    let engine = full_engine().await;
    let rows = EXPORT_PAGE * 2 + 1;
    engine
        .change(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO triggers (id, type, occurred_at, user_id, received_at)
             SELECT 'many' || i, 'order.paid', i, 1, 0 FROM n"
        ))
        .await;
    let document = export(&engine, 1).await;
    let ids: std::collections::HashSet<&str> =
        document["triggers"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), rows + 1);
    engine.simulator.stop().await;
}

#[actix_web::test]
async fn an_export_is_one_document_to_be_saved() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    let answer = app.get("/users/+14155550101/export").await;
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"person-1.json\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let document = answer.expect(200);
    assert_eq!(document["users"][0]["phone"], "+14155550101");
    assert_eq!(document["messages"], json!([]));
    app.get("/users/+14155550199/export").await.problem(404);
    assert_eq!(app.get("/users/1/export?format=csv").await.fields(), ["format"]);
}
