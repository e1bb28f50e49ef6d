//! Segments: the list, the builder without scripts, JSON, the count, the catalogue, and who may do what.

use event_stream_engine::catalogue::Catalogue;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::support::api::TestApp;

/// A name that would be markup if it were not escaped.
const HOSTILE: &str = "<script>alert(1)</script>\"'&";

async fn desk(app: &TestApp, role: &'static str) -> Desk {
    Desk::new(&app.store, &app.base, role).await
}

async fn add(app: &TestApp, n: u32, attributes: Value) {
    let body = json!({"phone": format!("+1415555{n:04}"), "consent": "opt_in", "attributes": attributes});
    app.post("/users", &body).await.expect(201);
}

/// The fields of a builder with one group and these rows: what, name, operator, value.
fn rules<'a>(rows: &'a [(&'a str, &'a str, &'a str, &'a str)]) -> Vec<(String, String)> {
    let mut fields = vec![("mode", "rules"), ("rules.0.what", "all"), ("rules.0.depth", "0")]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect::<Vec<_>>();
    for (index, (what, name, operator, value)) in rows.iter().enumerate() {
        let row = index + 1;
        for (key, value) in
            [("what", *what), ("depth", "1"), ("name", *name), ("operator", *operator), ("value", *value)]
        {
            fields.push((format!("rules.{row}.{key}"), value.to_owned()));
        }
    }
    fields
}

fn with<'a>(fields: &'a [(String, String)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all: Vec<(&str, &str)> =
        fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    all.extend_from_slice(more);
    all
}

async fn definition(app: &TestApp, id: i64) -> Value {
    app.get(&format!("/segments/{id}")).await.expect(200)["definition"].clone()
}

#[actix_web::test]
async fn a_segment_is_built_counted_saved_changed_and_deleted_without_scripts() {
    let app = TestApp::start().await;
    for n in 0..12 {
        add(&app, n, json!({"city": if n < 11 { "Kandy" } else { "Galle" }, "name": format!("Ana {n}")}))
            .await;
    }
    let desk = desk(&app, "operator").await;
    desk.get("/segments").await.is(200).says("No segments yet");
    desk.get("/segments/new").await.is(200).says("Rules").says("Count").says("name=\"rules.1.what\"");

    let fields = rules(&[("attribute", "city", "is", "Kandy")]);
    let counted =
        desk.post("/segments/build", &with(&fields, &[("do", "count"), ("name", "In Kandy")])).await;
    counted
        .is(200)
        .says("<b>11</b>")
        .says("of 12 people")
        .says("The newest 10")
        .says("Ana 10")
        .says("In Kandy");

    // Each button answers with the page again, and nothing that was written is lost.
    let grown = desk.post("/segments/build", &with(&fields, &[("do", "add:0"), ("name", "In Kandy")])).await;
    grown.is(200).says("rules.2.what").says("value=\"Kandy\"").says("value=\"In Kandy\"");
    let shrunk = desk.post("/segments/build", &with(&fields, &[("do", "remove:1")])).await;
    shrunk.is(200).lacks("rules.1.what").says("Everybody, as long as no rule stands here.");

    let saved = desk.post("/segments", &with(&fields, &[("name", "In Kandy")])).await;
    saved.is(303);
    assert_eq!(saved.location, "/admin/segments/1");
    let kandy = json!({"attribute": "city", "operator": "equals", "value": "Kandy"});
    assert_eq!(definition(&app, 1).await, json!({"all": [kandy]}));
    desk.get("/segments").await.says("In Kandy").says("city is Kandy");

    let changed = rules(&[("attribute", "city", "one_of", "Kandy, Galle"), ("consent", "", "is", "opt_in")]);
    let change = [("name", "Two cities"), ("version", "1"), ("id", "1")];
    desk.post("/segments/1", &with(&changed, &change)).await.is(303);
    assert_eq!(definition(&app, 1).await["all"][0]["value"], json!(["Kandy", "Galle"]));
    // The same form of another window was made of a version that is gone.
    let late = desk.post("/segments/1", &with(&changed, &change)).await;
    late.is(412).says("Somebody changed this segment meanwhile").says("value=\"Two cities\"");

    desk.get("/segments/1/delete").await.is(200).says("No campaign uses it");
    desk.post("/segments/1/delete", &[]).await.is(303);
    desk.get("/segments/1").await.is(404);
}

#[actix_web::test]
async fn what_can_not_be_kept_stands_at_its_row_with_everything_that_was_written() {
    let app = TestApp::start().await;
    app.add_segment("Taken", json!({"all": []})).await;
    let desk = desk(&app, "operator").await;
    let wrong = rules(&[("attribute", "visits", "at_least", "many"), ("attribute", "", "is", "x")]);
    let refused = desk.post("/segments", &with(&wrong, &[("name", HOSTILE)])).await;
    refused.is(422).says("“many” is no number").says("value=\"many\"");
    refused.says("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;").lacks("<script>alert");
    let nameless = rules(&[("attribute", "visits", "at_least", "5"), ("attribute", "", "is", "x")]);
    let refused = desk.post("/segments", &with(&nameless, &[("name", "A")])).await;
    refused.is(422).says("Name an attribute");
    let row = refused.text.split("id=\"rule-2\"").nth(1).unwrap();
    assert!(row.contains("Name an attribute"), "the fault stands at the second rule");
    let fine = rules(&[("attribute", "visits", "at_least", "5")]);
    desk.post("/segments", &with(&fine, &[("name", "Taken")])).await.is(409).says("There is a segment");
    let topic = rules(&[("topic", "", "is", "nothing like it")]);
    desk.post("/segments", &with(&topic, &[("name", "B")])).await.is(422).says("There is no topic");
    assert_eq!(app.get("/segments").await.expect(200)["data"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn json_goes_both_ways_and_its_faults_name_their_line() {
    let app = TestApp::start().await;
    let desk = desk(&app, "operator").await;
    let fields = rules(&[("attribute", "city", "is", "Kandy")]);
    let json_tab = desk.post("/segments/build", &with(&fields, &[("do", "json")])).await;
    json_tab.is(200).says("&quot;attribute&quot;: &quot;city&quot;").says("name=\"json\"");
    let text =
        "{\"all\": [\n  {\"attribute\": \"city\",\n   \"operator\": \"is like\", \"value\": \"K\"}\n]}";
    let wrong = [("mode", "json"), ("json", text), ("name", "By hand")];
    desk.post("/segments", &wrong).await.is(422).says("data-line=\"3\"").says("is like").says("By hand");
    let broken = [("mode", "json"), ("json", "{\"all\":\n[}"), ("name", "By hand"), ("do", "rules")];
    desk.post("/segments/build", &broken).await.is(422).says("data-line=\"2\"").says("This is no JSON");
    let mixed = json!({"all": [{"attribute": "x", "operator": "in", "value": [1, "a"]}, {"not": {"attribute": "y", "operator": "exists"}}]});
    let text = mixed.to_string();
    let right = [("mode", "json"), ("json", text.as_str()), ("name", "By hand")];
    let back = desk.post("/segments/build", &[&right[..], &[("do", "rules")]].concat()).await;
    back.is(200).says("Other, as JSON").says("None of these holds");
    desk.post("/segments", &right).await.is(303);
    assert_eq!(definition(&app, 1).await, mixed);
}

#[actix_web::test]
async fn a_segment_in_use_names_its_campaigns_and_can_not_be_deleted() {
    let app = TestApp::start().await;
    app.add_campaign("Winter").await;
    let desk = desk(&app, "operator").await;
    desk.get("/segments/1").await.is(200).says("Used by").says("Winter");
    desk.get("/segments/1/delete").await.is(200).says("It is in use").lacks("Delete this segment");
    desk.post("/segments/1/delete", &[]).await.is(409).says("It is in use");
}

#[actix_web::test]
async fn viewers_look_and_count_and_change_nothing() {
    let app = TestApp::start().await;
    add(&app, 1, json!({"city": "Kandy", "other_phone": "+14155550177"})).await;
    let kandy = json!({"all": [{"attribute": "city", "operator": "equals", "value": "Kandy"}]});
    app.add_segment("In Kandy", kandy).await;
    let desk = desk(&app, "viewer").await;
    desk.get("/segments").await.is(200).says("In Kandy").lacks("New segment");
    desk.get("/segments/1").await.is(200).says("disabled").lacks("Add rule").lacks(">Save<");
    desk.get("/segments/new").await.is(403);
    desk.post("/segments/1", &[("name", "x")]).await.is(403);
    desk.post("/segments/1/delete", &[]).await.is(403);
    let counted = desk.post("/segments/preview", &[("id", "1")]).await;
    counted.is(200).says("<b>1</b>").says("+1 415 ··· ··01").lacks("555 0001");
    Catalogue::new(app.store.clone()).walk_through().await.unwrap();
    desk.get("/segments/attributes").await.is(200).says("city").says("+1 415 ··· ··77").lacks("5550177");
}

#[actix_web::test]
async fn a_form_without_its_hidden_field_changes_nothing() {
    let app = TestApp::start().await;
    let desk = desk(&app, "operator").await;
    desk.post_bare("/segments", &[("name", "A"), ("mode", "json"), ("json", "{\"all\":[]}")]).await.is(403);
    assert_eq!(app.get("/segments").await.expect(200)["data"], json!([]));
}

#[actix_web::test]
async fn the_catalogue_shows_what_people_have_and_escapes_it() {
    let app = TestApp::start().await;
    let desk = desk(&app, "operator").await;
    desk.get("/segments/attributes").await.is(200).says("No attributes yet");
    for n in 0..4 {
        add(&app, n, json!({"city": "Kandy", HOSTILE: HOSTILE, "visits": n, "joined": "2026-11-23"})).await;
    }
    Catalogue::new(app.store.clone()).walk_through().await.unwrap();
    let page = desk.get("/segments/attributes").await;
    page.is(200).says("What is known of 4 people").says("<code>city</code>").says("Kandy");
    page.says("100.0 %").says("&lt;script&gt;").lacks("<script>alert");
    add(&app, 9, json!({})).await;
    desk.get("/segments/attributes").await.says("with 1 change of people since");
    let found = desk.get("/segments/attributes?q=VIS").await;
    found.says("<code>visits</code>").lacks("<code>city</code>");
    desk.get("/segments/attributes?q=nothing").await.says("No attribute matches");
    desk.get("/segments/names?rules.3.name=vis")
        .await
        .is(200)
        .says("value=\"visits\"")
        .says("number, 4 people");
    desk.get("/segments/values?rules.3.name=city&rules.3.value=ka").await.is(200).says("value=\"Kandy\"");
    desk.get("/segments/values?rules.3.name=city&rules.3.value=x").await.is(200).lacks("Kandy");
    // A link of the catalogue leads to a builder with that attribute, and the operators that fit it first.
    let built = desk.get("/segments/new?attribute=visits").await;
    built.is(200).says("value=\"visits\"").says("<optgroup label=\"Number\">");
    let number = built.text.find("<optgroup label=\"Number\"").unwrap();
    assert!(number < built.text.find("<optgroup label=\"Text\"").unwrap());
}
