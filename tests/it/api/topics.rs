//! Topics, and people's place in them.

use serde_json::{Value, json};

use crate::support::api::TestApp;

#[actix_web::test]
async fn topics_are_made_changed_and_removed() {
    let app = TestApp::start().await;
    let list = app.get("/topics").await.expect(200);
    assert_eq!(
        (&list["data"][0]["name"], &list["data"][0]["default"]),
        (&json!("general"), &json!("all_opted_in"))
    );
    let made = app.post("/topics", &json!({"name": "Shoe sales", "default": "opt_in_required"})).await;
    assert_eq!(made.header("location"), Some("/api/v1/topics/Shoe%20sales"));
    made.expect(201);
    assert_eq!(app.get("/topics/shoe%20SALES").await.expect(200)["name"], "Shoe sales");
    app.post("/topics", &json!({"name": "SHOE sales"})).await.problem(409);
    assert_eq!(
        app.post("/topics", &json!({"name": " ", "default": "all"})).await.fields(),
        ["name", "default"]
    );
    assert_eq!(app.post("/topics", &json!({"name": "a/b", "x": 1})).await.fields(), ["name", "x"]);
    let changed = app
        .patch("/topics/Shoe%20sales", &json!({"name": "shoes", "default": "all_opted_in"}))
        .await
        .expect(200);
    assert_eq!((&changed["name"], &changed["default"]), (&json!("shoes"), &json!("all_opted_in")));
    app.patch("/topics/shoes", &json!({"name": "General"})).await.problem(409);
    app.get("/topics/Shoe%20sales").await.problem(404);
    app.delete("/topics/shoes").await.expect(204);
    app.delete("/topics/shoes").await.problem(404);
    app.delete("/topics/general").await.expect(204);
}

#[actix_web::test]
async fn a_topic_in_use_stays() {
    let app = TestApp::start().await;
    let segment = app
        .add_segment("general ones", json!({"field": "topic", "operator": "equals", "value": "General"}))
        .await;
    assert_eq!(app.delete("/topics/general").await.problem(409)["used_by"], json!(["segment general ones"]));
    app.patch("/topics/general", &json!({"name": "all"})).await.problem(409);
    app.delete(&format!("/segments/{segment}")).await.expect(204);
    let campaign = app.add_campaign("spring").await;
    app.patch(&format!("/campaigns/{campaign}"), &json!({"topic": "general"})).await.expect(200);
    assert_eq!(app.delete("/topics/general").await.problem(409)["used_by"], json!(["campaign spring"]));
    app.delete(&format!("/campaigns/{campaign}")).await.expect(204);
    app.add_user("+14155550101", "opt_in").await;
    let body = json!({"to": "+14155550101", "channel": "sms", "body": "Hi", "topic": "general"});
    app.post("/messages", &body).await.expect(202);
    app.delete("/topics/general").await.problem(409);
}

#[actix_web::test]
async fn people_join_and_leave() {
    let app = TestApp::start().await;
    app.add_user("+14155550101", "opt_in").await;
    app.post("/topics", &json!({"name": "shoes"})).await.expect(201);
    let user = app.put("/users/1/topics/shoes", &Value::Null).await.expect(200);
    assert_eq!(user["topics"], json!(["general", "shoes"]));
    app.delete("/users/+14155550101/topics/general").await.expect(204);
    assert_eq!(app.get("/users/1").await.expect(200)["topics"], json!(["shoes"]));
    app.put("/users/1/topics/hats", &Value::Null).await.problem(404);
    app.put("/users/9/topics/shoes", &Value::Null).await.problem(404);
}
