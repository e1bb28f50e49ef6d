//! What an end in the middle leaves behind.

use event_stream_engine::delivery::{rescue_orphans, rescue_pending};
use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::store::messages::{self, Claim};
use event_stream_engine::store::{Store, StoreError};

use super::{launched, tick_twice};
use crate::support::{Engine, Wanted, quick_simulator};

/// A simulator that answers after the test is over.
fn slow() -> Wanted {
    let mut simulator = quick_simulator();
    simulator.latency_ms = 60_000;
    Wanted { simulator, ..Wanted::default() }
}

#[tokio::test]
async fn requests_under_way_at_a_crash_are_uncertain_and_never_sent_again_blindly() {
    let mut engine = Engine::start_with(slow()).await;
    let id = launched(&engine, 3).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    tick_twice(&mut engine).await;
    assert_eq!(engine.counts(id).get("sending"), Some(&3));
    let mut engine = engine.restart().await;
    assert_eq!(rescue_pending(&engine.store).await.unwrap(), 3);
    assert_eq!(engine.reasons(id).get("uncertain:answer_lost"), Some(&3));
    engine.drain_after(600).await;
    assert_eq!(engine.counts(id).get("uncertain"), Some(&3));
    let attempts: i64 = engine.value("SELECT count(*) FROM attempts");
    assert_eq!(attempts, 3);
    assert_eq!(engine.campaign(id).status, CampaignStatus::Running);
    assert_eq!(rescue_pending(&engine.store).await.unwrap(), 0);
    engine.check_and_stop().await;
}

/// Claims the only due message of `lane` behind the dispatcher's back: as when a commit was reported lost
/// and had reached the disk.
async fn claim_silently(store: &Store, lane: i64) {
    let claimed = store.write::<_, _, StoreError>(move |tx| {
        let due = messages::due(tx.conn(), lane, tx.now(), 1)?.remove(0);
        messages::claim(tx, &due, &Claim { sender_id: 1, body: "Hi", parts: 1, charge: Some(0) })
    });
    assert_eq!(claimed.await.unwrap(), 1);
}

#[tokio::test]
async fn a_claim_that_nobody_works_is_put_back_after_three_minutes() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 1).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    claim_silently(&engine.store, id).await;
    let outbox = engine.dispatcher.outbox();
    engine.clock.advance(180_000);
    assert_eq!(rescue_orphans(&engine.store, &outbox).await.unwrap(), 0, "too early");
    engine.clock.advance(1);
    assert_eq!(rescue_orphans(&engine.store, &outbox).await.unwrap(), 1);
    assert_eq!(engine.message_to(0).0, "queued");
    engine.settle().await;
    assert_eq!(engine.message_to(0).0, "delivered");
    assert_eq!(engine.simulator.messages().len(), 1);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_claim_that_somebody_works_is_left_alone_however_long_it_takes() {
    let mut engine = Engine::start_with(slow()).await;
    launched(&engine, 1).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    tick_twice(&mut engine).await;
    let outbox = engine.dispatcher.outbox();
    engine.clock.advance(600_000);
    assert_eq!(rescue_orphans(&engine.store, &outbox).await.unwrap(), 0);
    assert_eq!(engine.message_to(0).0, "sending");
    let engine = engine.restart().await;
    rescue_pending(&engine.store).await.unwrap();
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_outcome_that_can_not_be_written_is_never_taken_for_a_claim_that_did_not_begin() {
    let mut engine = Engine::start().await;
    launched(&engine, 1).await;
    engine.simulator.set_faults(super::silent(None));
    engine
        .change(
            "CREATE TRIGGER broken BEFORE UPDATE ON attempts WHEN NEW.outcome = 'accepted'
             BEGIN SELECT RAISE(ABORT, 'broken'); END",
        )
        .await;
    engine.drain().await;
    assert_eq!(engine.simulator.messages().len(), 1);
    engine.clock.advance(61_000);
    let outbox = engine.dispatcher.outbox();
    assert_eq!(rescue_orphans(&engine.store, &outbox).await.unwrap(), 0);
    engine.drain_after(600).await;
    assert_eq!(engine.simulator.messages().len(), 1, "it was sent twice");
    // Not left as under way for as long as the process lives: held, and listed as what it is.
    assert_eq!(engine.message_to(0).0, "uncertain");
    engine.change("DROP TRIGGER broken").await;
    let engine = engine.restart().await;
    rescue_pending(&engine.store).await.unwrap();
    assert_eq!(engine.message_to(0).0, "uncertain");
    engine.check_and_stop().await;
}
