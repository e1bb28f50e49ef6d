//! A proof says what rows say: consent with its evidence, what was sent when at the person's place, and how
//! long it took from STOP to block.

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::privacy;
use event_stream_engine::simulator::Inbound;
use event_stream_engine::store::users::{self, UserKey};
use event_stream_engine::store::{StoreError, erasure};
use event_stream_engine::web::pages;
use serde_json::{Value, json};

use crate::support::{Engine, SENDER, Wanted, phone};

fn proof_of(engine: &Engine, whom: UserKey) -> Option<Value> {
    let (key, now) = (engine.store.key().clone(), engine.clock.now());
    engine.store.read_here(|conn| privacy::proof(conn, &key, &whom, now)).unwrap()
}

fn by_phone(engine: &Engine, n: usize) -> Value {
    proof_of(engine, UserKey::Phone(phone(n))).unwrap()
}

/// Somebody who got a campaign, wrote STOP while another waited, and a message after which they came back.
async fn engine_with_a_complaint() -> Engine {
    let mut engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({"name": "<b>Ana</b>"})).await;
    let first = engine.draft_saying("Hi {name}", |_| {}).await;
    engine.launch(first).await;
    engine.settle().await;
    let second = engine.draft(|plan| plan.rate_limit_per_second = Some(0.001)).await;
    engine.launch(second).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    engine.clock.advance(60_000);
    engine.simulator.inbound(&phone(0), SENDER, "STOP").await;
    engine.clock.advance(60_000);
    engine
}

#[tokio::test]
async fn a_proof_tells_what_was_agreed_what_was_sent_and_how_fast_a_stop_was_honoured() {
    let engine = engine_with_a_complaint().await;
    let proof = by_phone(&engine, 0);
    assert_eq!(proof["asked_for"]["phone"], phone(0));
    assert_eq!(proof["consent"]["state"], "stop");
    let changes = proof["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2);
    assert_eq!((&changes[0]["state"], &changes[0]["evidence"]), (&json!("opt_in"), &json!("said so")));
    assert!(changes[1]["evidence"].as_str().unwrap().ends_with("STOP"));
    assert_eq!((&proof["chain"]["holds"], &proof["chain"]["rows"]), (&json!(true), &json!(2)));
    assert_eq!(proof["time_zone"]["name"], "America/New_York");
    let messages = proof["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 2);
    let sent = &messages[1];
    assert_eq!((&sent["status"], &sent["body"]), (&json!("delivered"), &json!("Hi <b>Ana</b>")));
    assert_eq!(sent["sender"], SENDER);
    let local = sent["accepted_at"]["local"].as_str().unwrap();
    assert!(local.starts_with("2026-11-23 12:00:") && local.ends_with("-05:00 America/New_York"), "{local}");
    let receipts = sent["receipts"].as_array().unwrap();
    assert!(!receipts.is_empty() && receipts.iter().all(|r| r["signature"] == "verified at receipt"));
    assert!(receipts[0]["params"].as_array().unwrap().iter().any(|pair| pair[0] == "MessageSid"));
    assert_eq!((&messages[0]["status"], &messages[0]["reason"]), (&json!("cancelled"), &json!("stop")));
    let stop = &proof["stops"][0];
    assert_eq!((&stop["seconds_to_block"], &stop["requests_after"]), (&json!(0.0), &json!(0)));
    assert_eq!((&stop["messages_cancelled"], &stop["words"]), (&json!(1), &json!("STOP")));
    assert_eq!(proof["inbound"][0]["signature"], "verified at receipt");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_stop_that_came_out_of_twilios_list_says_so_and_counts_from_when_it_was_sent() {
    let now = Some(jiff::Timestamp::now());
    let engine = Engine::start_with(Wanted { now, ..Wanted::default() }).await;
    engine.add(&phone(0), Consent::OptIn, json!({"timezone": "Asia/Colombo"})).await;
    let lost = Inbound {
        deliver: false,
        created_ms: Some(engine.clock.now() - 90_000),
        ..Inbound::text(&phone(0), SENDER, "STOP")
    };
    engine.simulator.inbound_message(lost).await;
    engine.catch_up().tick().await;
    let proof = by_phone(&engine, 0);
    assert_eq!(proof["consent"]["state"], "stop", "{proof:#}");
    assert_eq!(proof["time_zone"]["because"], "the person's attribute timezone");
    let stop = &proof["stops"][0];
    assert_eq!(stop["source"], "catch_up");
    assert!(stop["seconds_to_block"].as_f64().unwrap() >= 89.0, "{stop}");
    assert_eq!(proof["inbound"][0]["signature"], "none: fetched from Twilio's list");
    engine.simulator.stop().await;
}

#[tokio::test]
async fn a_request_after_a_stop_would_be_told_and_so_is_a_row_that_was_tampered_with() {
    let engine = engine_with_a_complaint().await;
    let late = engine.clock.now();
    engine
        .change(&format!(
            "INSERT INTO attempts (message_id, number, sender_id, outcome, started_at) VALUES (1, 9, 1, 'accepted', {late});
             DROP TRIGGER ledger_is_final; UPDATE consent_ledger SET evidence = 'forged' WHERE id = 1;"
        ))
        .await;
    let proof = by_phone(&engine, 0);
    assert_eq!(proof["stops"][0]["requests_after"], 1);
    assert_eq!(proof["chain"]["holds"], false);
    assert!(proof["chain"]["problems"][0].as_str().unwrap().contains("evidence"));
    engine.simulator.stop().await;
}

#[tokio::test]
async fn of_an_erased_number_the_proof_tells_since_when_it_is_suppressed() {
    let engine = engine_with_a_complaint().await;
    engine
        .store
        .write::<_, _, StoreError>(|tx| {
            let user = users::find(tx.conn(), &UserKey::Id(1))?.unwrap();
            erasure::erase(tx, &user, "key:1")
        })
        .await
        .unwrap();
    let proof = by_phone(&engine, 0);
    assert_eq!((&proof["person"], &proof["suppression"]["reason"]), (&Value::Null, &json!("erased")));
    assert!(pages::proof(&proof).unwrap().contains("Nobody with this number is held."));
    assert!(proof_of(&engine, UserKey::Phone(phone(1))).is_none());
    let by_id = proof_of(&engine, UserKey::Id(1)).unwrap();
    assert_eq!(by_id["person"]["phone"], Value::Null);
    assert_eq!(by_id["chain"]["holds"], true);
    assert!(by_id["changes"].as_array().unwrap().iter().all(|row| row["evidence_erased"] == true));
    assert!(by_id["messages"].as_array().unwrap().iter().all(|row| row["body"].is_null()));
    assert_eq!(by_id["messages"][1]["body_missing"]["because"], "erasure");
    assert!(!by_id.to_string().contains(&phone(0)[1..]), "{by_id:#}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_page_loads_nothing_runs_nothing_and_escapes_everything() {
    let engine = engine_with_a_complaint().await;
    let page = pages::proof(&by_phone(&engine, 0)).unwrap();
    assert!(page.contains("Hi &lt;b&gt;Ana&lt;") && !page.contains("<b>Ana"), "{page}");
    assert!(page.contains("Blocked after") && page.contains("0.0 seconds"));
    for forbidden in ["<script", "<link", "<img", "<iframe", "<form", "refresh", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    engine.check_and_stop().await;
}
