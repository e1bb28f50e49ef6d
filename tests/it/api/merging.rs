//! Merge patches (RFC 7396): null removes, objects are merged, everything else is replaced as a whole.

use serde_json::{Value, json};

use crate::support::api::TestApp;

#[actix_web::test]
async fn attributes_are_merged_as_the_rfc_says() {
    let app = TestApp::start().await;
    for (n, (before, patch, after)) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": "b"}), json!({"never": null}), json!({"a": "b"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": [1, 2, 3]}), json!({"a": [4]}), json!({"a": [4]})),
        (json!({"a": [1, 2]}), json!({"a": []}), json!({"a": []})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (
            json!({"a": {"b": {"c": 1, "d": 2}}}),
            json!({"a": {"b": {"c": null}}}),
            json!({"a": {"b": {"d": 2}}}),
        ),
        (json!({"a": {"b": 1}}), json!({"a": {"b": null}}), json!({"a": {}})),
        (json!({"a": "b"}), json!({"a": {"b": {"c": null, "d": 1}}}), json!({"a": {"b": {"d": 1}}})),
        (json!({"a": {"b": 1}}), json!({"a": 5}), json!({"a": 5})),
        (json!({"a": 1}), json!({}), json!({"a": 1})),
    ]
    .into_iter()
    .enumerate()
    {
        let phone = format!("+141555501{n:02}");
        let made = app.post("/users", &json!({"phone": phone, "attributes": before})).await.expect(201);
        assert_eq!(made["attributes"], before);
        let path = format!("/users/{}", made["id"]);
        for _ in 0..2 {
            let patched = app.patch(&path, &json!({"attributes": patch})).await.expect(200);
            assert_eq!(patched["attributes"], after, "{before} with {patch}");
        }
        assert_eq!(app.get(&path).await.expect(200)["attributes"], after);
    }
    for nonsense in [json!([]), json!(null), json!("a")] {
        assert!((400..=422).contains(&app.patch("/users/1", &nonsense).await.status), "{nonsense}");
    }
}

#[actix_web::test]
async fn a_plan_is_merged_field_by_field_and_lists_are_replaced() {
    let app = TestApp::start().await;
    let id = app.add_campaign("Spring").await;
    let path = format!("/campaigns/{id}");
    let (a, b) =
        (app.add_segment("a", json!({"all": []})).await, app.add_segment("b", json!({"all": []})).await);
    let patch = async |patch: Value| app.patch(&path, &patch).await.expect(200);
    let first = patch(json!({
        "exclude_segment_ids": [a, b], "rate_limit_per_second": 2.5, "expires_after_hours": 4,
        "spend_cap": 10.0, "max_recipients": 9,
    }))
    .await;
    assert_eq!(first["exclude_segment_ids"], json!([a, b]));
    let other = patch(json!({"exclude_segment_ids": [b]})).await;
    assert_eq!(other["exclude_segment_ids"], json!([b]), "replaced, not added to");
    assert_eq!((&other["rate_limit_per_second"], &other["max_recipients"]), (&json!(2.5), &json!(9)));
    let none = patch(json!({
        "exclude_segment_ids": null, "rate_limit_per_second": null, "expires_after_hours": null,
        "spend_cap": null, "max_recipients": null,
    }))
    .await;
    assert_eq!(none["exclude_segment_ids"], json!([]));
    for field in ["rate_limit_per_second", "expires_after_hours", "spend_cap", "max_recipients"] {
        assert_eq!(none[field], Value::Null, "{field}");
    }
    assert_eq!((&none["name"], &none["segment_id"]), (&first["name"], &first["segment_id"]));
    // What a plan can't be without is not taken away, and then nothing else of the patch is taken either.
    for field in ["name", "template_id", "channel"] {
        let refused = app.patch(&path, &json!({field: null, "max_recipients": 3})).await.fields();
        assert!(refused.iter().any(|named| named == field), "{field}: {refused:?}");
    }
    assert_eq!(app.patch(&path, &json!({"colour": null})).await.fields(), ["colour"]);
    assert_eq!(app.get(&path).await.expect(200)["max_recipients"], Value::Null);
}
