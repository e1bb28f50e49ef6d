//! STOP, pause and cancel reach messages that are claimed already: once they are answered, no request begins.

use event_stream_engine::campaign;
use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::store::ledger::{self, ConsentChange};
use event_stream_engine::store::{StoreError, Withdrawal, messages};

use crate::support::Engine;

/// One person, and a campaign whose only permit is about to come.
async fn about_to_claim() -> (Engine, i64) {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    let id = engine.draft(|plan| plan.rate_limit_per_second = Some(1.2)).await;
    engine.launch(id).await;
    campaign::freeze_all(&engine.store, true).await.unwrap();
    engine.dispatcher.tick().await.unwrap();
    // The queues of single messages are looked at now, and sleep a second.
    engine.clock.advance(100);
    engine.dispatcher.tick().await.unwrap();
    engine.clock.advance(900);
    (engine, id)
}

/// Lets the writer take the claim and `change` in one batch: the change is committed after the claim and
/// before the claim is answered.
async fn right_behind_the_claim<T>(engine: &mut Engine, change: impl Future<Output = T>) -> T {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let store = engine.store.clone();
    let block = store.write::<_, _, StoreError>(move |_| {
        held.recv().ok();
        Ok(())
    });
    let release = async move { release.send(()).unwrap() };
    // Polled in this order, each is in the writer's queue before the next.
    let (_, tick, changed, ()) = tokio::join!(biased; block, engine.dispatcher.tick(), change, release);
    assert_eq!(tick.unwrap().claimed, 1, "nothing was claimed, so nothing is shown");
    engine.dispatcher.settle().await;
    assert!(engine.simulator.messages().is_empty(), "a request began after the change was answered");
    assert!(engine.dispatcher.outbox().is_empty());
    assert_eq!(engine.events("message.withdrawn"), 1);
    let outcome: String = engine.value("SELECT outcome FROM attempts");
    assert_eq!(outcome, "withdrawn");
    changed
}

#[tokio::test]
async fn a_stop_withdraws_a_claim_whose_request_has_not_begun() {
    let (mut engine, _) = about_to_claim().await;
    let store = engine.store.clone();
    let stop = store.write::<_, _, StoreError>(|tx| {
        let change = ConsentChange {
            state: Consent::Stop,
            source: "keyword",
            actor: "user",
            evidence: Some("STOP"),
            obtained_at: None,
        };
        ledger::record(tx, 1, Consent::OptIn, &change)?;
        messages::cancel_of_user(tx, 1, "stop")?;
        tx.withdraw(Withdrawal::User(1));
        Ok(())
    });
    right_behind_the_claim(&mut engine, stop).await.unwrap();
    assert_eq!(engine.message_to(0), ("cancelled".to_owned(), "stop".to_owned(), 0));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_pause_puts_the_claim_back_and_resume_sends_it_once() {
    let (mut engine, id) = about_to_claim().await;
    let store = engine.store.clone();
    let pause = store.write(move |tx| campaign::pause(tx, id, "test"));
    right_behind_the_claim(&mut engine, pause).await.unwrap();
    assert_eq!(engine.message_to(0).0, "queued");
    engine.drain_after(60).await;
    assert!(engine.simulator.messages().is_empty());
    let setup = engine.setup.clone();
    engine.store.write(move |tx| campaign::resume(tx, id, &setup, "test")).await.unwrap();
    engine.settle().await;
    assert_eq!(engine.message_to(0).0, "delivered");
    assert_eq!(engine.simulator.messages().len(), 1);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_cancel_ends_the_claim() {
    let (mut engine, id) = about_to_claim().await;
    let store = engine.store.clone();
    let cancel = campaign::cancel(&store, id, "test".to_owned());
    right_behind_the_claim(&mut engine, cancel).await.unwrap();
    assert_eq!(engine.message_to(0), ("cancelled".to_owned(), "campaign_cancelled".to_owned(), 0));
    assert_eq!(engine.campaign(id).status, CampaignStatus::Cancelled);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_pause_of_the_sender_and_of_the_account_withdraw_as_well() {
    for whom in [Withdrawal::Sender(1), Withdrawal::All, Withdrawal::Message(1)] {
        let (mut engine, _) = about_to_claim().await;
        let store = engine.store.clone();
        let withdraw = store.write::<_, _, StoreError>(move |tx| {
            tx.withdraw(whom);
            Ok(())
        });
        right_behind_the_claim(&mut engine, withdraw).await.unwrap();
        assert_eq!(engine.message_to(0).0, "queued", "{whom:?}");
        engine.settle().await;
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn a_change_that_is_undone_withdraws_nobody() {
    let (mut engine, id) = about_to_claim().await;
    engine.dispatcher.tick().await.unwrap();
    let refused = engine
        .store
        .write::<_, (), StoreError>(move |tx| {
            tx.withdraw(Withdrawal::Campaign(id));
            Err(StoreError::Internal("no".to_owned()))
        })
        .await;
    assert!(refused.is_err());
    engine.settle().await;
    assert_eq!(engine.message_to(0).0, "delivered");
    assert_eq!(engine.events("message.withdrawn"), 0);
    engine.check_and_stop().await;
}
