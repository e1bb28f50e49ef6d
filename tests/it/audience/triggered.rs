//! What is told about somebody and a campaign that waits for events: the same as an event then does.

use event_stream_engine::campaign::Standing;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::gate::{Reason, Verdict};
use event_stream_engine::domain::message::Kind;
use event_stream_engine::store::{StoreError, segments};
use serde_json::json;

use crate::support::{Engine, phone};
use crate::triggers::{take, to_person};

#[tokio::test]
async fn what_is_explained_about_a_triggered_campaign_is_what_its_events_do() {
    let mut engine = Engine::start().await;
    let vip = json!({"attribute": "vip", "operator": "equals", "value": true});
    let excluded =
        engine.store.write::<_, _, StoreError>(move |tx| segments::insert(tx, "vips", &vip)).await.unwrap();
    let mut people = Vec::new();
    for (consent, attributes) in [
        (Consent::OptIn, json!({})),
        (Consent::OptIn, json!({"vip": true})),
        (Consent::Unknown, json!({})),
        (Consent::Stop, json!({})),
        (Consent::OptIn, json!({"vip": true})),
        (Consent::OptIn, json!({})),
    ] {
        people.push(engine.add(&phone(people.len()), consent, attributes).await);
    }
    let id = engine
        .draft_saying("Paid", move |plan| {
            (plan.segment_id, plan.trigger_type) = (None, Some("order.paid".to_owned()));
            plan.kind = Kind::Marketing;
            plan.quiet_hours = json!("off");
            plan.exclude_segment_ids = vec![excluded];
        })
        .await;
    engine.launch(id).await;
    engine.drain().await;
    // Who comes, leaves the exclusion or enters it after the launch counts as they are when an event comes.
    people.push(engine.add(&phone(6), Consent::OptIn, json!({})).await);
    engine.change(&format!("UPDATE users SET attributes = jsonb('{{}}') WHERE id = {}", people[4])).await;
    engine
        .change(&format!("UPDATE users SET attributes = jsonb('{{\"vip\":true}}') WHERE id = {}", people[5]))
        .await;
    let out = || Standing::Excluded(excluded, "vips".to_owned());
    let expected = [
        (Standing::NoAudience, None, "delivered"),
        (out(), None, ""),
        (Standing::NoAudience, Some(Reason::ConsentUnknown), "skipped"),
        (Standing::NoAudience, Some(Reason::Stop), "skipped"),
        (Standing::NoAudience, None, "delivered"),
        (out(), None, ""),
        (Standing::NoAudience, None, "delivered"),
    ];
    for (n, (standing, reason, _)) in expected.iter().enumerate() {
        let told = engine.explain(people[n], id);
        assert_eq!(&told.standing, standing, "{n}");
        match (reason, &told.verdict) {
            (None, Verdict::Send { .. }) => {}
            (Some(reason), Verdict::Skip(said)) => assert_eq!(said, reason, "{n}"),
            other => panic!("{n}: {other:?}"),
        }
        assert!(told.message.is_none());
    }
    let events = (0..people.len()).map(|n| to_person(&format!("e{n}"), n)).collect();
    take(&engine.store, events).await;
    engine.settle().await;
    for (n, (_, _, status)) in expected.iter().enumerate() {
        let sql = format!(
            "SELECT coalesce((SELECT status FROM messages WHERE campaign_id = {id} AND user_id = {}), '')",
            people[n]
        );
        assert_eq!(&engine.value::<String>(&sql), status, "{n}");
    }
    engine.check_and_stop().await;
}
