//! Segments: kept, edited by version, previewed.

use serde_json::json;

use crate::support::api::{TestApp, send};

#[actix_web::test]
async fn a_segment_is_edited_by_version() {
    let app = TestApp::start().await;
    let body = json!({"name": "adults", "definition": {"attribute": "age", "operator": "gte", "value": 18}});
    let made = app.post("/segments", &body).await;
    assert_eq!((made.header("etag"), made.header("location")), (Some("\"1\""), Some("/api/v1/segments/1")));
    assert_eq!(made.expect(201)["definition"], body["definition"]);
    app.post("/segments", &body).await.problem(409);
    let put = |tag: &'static str, name: &'static str| {
        let body = json!({"name": name, "definition": {"all": []}});
        send(app.request("PUT", "/segments/1").header("if-match", tag).json(&body))
    };
    put("\"7\"", "all").await.problem(412);
    let edited = put("\"1\"", "all").await;
    assert_eq!(edited.header("etag"), Some("\"2\""));
    assert_eq!(edited.expect(200)["version"], 2);
    put("\"1\"", "more").await.problem(412);
    app.put("/segments/1", &json!({"name": "any", "definition": {"any": []}})).await.expect(200);
    assert_eq!(app.get("/segments/1").await.header("etag"), Some("\"3\""));
    app.put("/segments/9", &body).await.problem(404);
    app.delete("/segments/1").await.expect(204);
    app.get("/segments/1").await.problem(404);
}

#[actix_web::test]
async fn a_wrong_definition_is_told_place_by_place() {
    let app = TestApp::start().await;
    for (definition, fields) in [
        (
            json!({"all": [{"attribute": "age", "operator": "gtt", "value": 1}, {"field": "colour", "operator": "equals", "value": "x"}]}),
            vec!["definition.all[0].operator", "definition.all[1].field"],
        ),
        (json!({"field": "topic", "operator": "in", "value": ["general", "hats"]}), vec!["definition"]),
        (json!({"engagement": "read", "campaign_id": 7}), vec!["definition"]),
        (json!([]), vec!["definition"]),
        (json!(null), vec!["definition"]),
    ] {
        let body = json!({"name": "x", "definition": definition});
        assert_eq!(app.post("/segments", &body).await.fields(), fields, "{definition}");
        let preview = json!({"definition": definition});
        assert_eq!(app.post("/segments/preview", &preview).await.fields(), fields, "{definition}");
    }
    let body = json!({"definition": {"all": [{}]}, "extra": 1});
    assert_eq!(app.post("/segments", &body).await.fields(), ["name", "definition.all[0]", "extra"]);
    let mut deep = json!({"all": []});
    for _ in 0..20 {
        deep = json!({"not": deep});
    }
    app.post("/segments/preview", &json!({"definition": deep})).await.problem(422);
}

#[actix_web::test]
async fn a_preview_counts_and_shows_ten() {
    let app = TestApp::start().await;
    for n in 0..12 {
        app.add_user(&format!("+141555501{n:02}"), "opt_in").await;
    }
    app.add_user("+94771234567", "opt_in").await;
    let body = json!({"definition": {"field": "country", "operator": "equals", "value": "US"}});
    let preview = app.post("/segments/preview", &body).await.expect(200);
    assert_eq!(preview["count"], 12);
    assert_eq!(preview["sample"].as_array().unwrap().len(), 10);
    assert_eq!(preview["sample"][0]["country"], "US");
    assert!(preview["elapsed_ms"].is_u64());
}

#[actix_web::test]
async fn a_segment_in_use_stays() {
    let app = TestApp::start().await;
    let campaign = app.add_campaign("spring").await;
    assert_eq!(app.delete("/segments/1").await.problem(409)["used_by"], json!(["spring"]));
    let other = app.add_segment("others", json!({"any": []})).await;
    app.patch(&format!("/campaigns/{campaign}"), &json!({"exclude_segment_ids": [other]})).await.expect(200);
    assert_eq!(app.delete(&format!("/segments/{other}")).await.problem(409)["used_by"], json!(["spring"]));
}
