//! STOP, pause and cancel reach messages that are claimed already: once they are answered, no request begins.

use event_stream_engine::campaign;
use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::store::ledger::{self, ConsentChange};
use event_stream_engine::store::{Store, StoreError, StorePaths, Withdrawal, messages, senders};

use crate::support::Engine;

/// One person, and a campaign whose only permit is about to come.
async fn about_to_claim() -> (Engine, i64) {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    let id = engine.draft(|plan| plan.rate_limit_per_second = Some(1.2)).await;
    engine.launch(id).await;
    campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
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

/// A dispatcher that looked before, and a change by another process, of which it does not know yet.
async fn changed_behind_its_back(
    change: impl FnOnce(&Store, i64) -> futures_util::future::BoxFuture<'_, ()>,
) {
    let (mut engine, id) = about_to_claim().await;
    let other = Store::open(StorePaths::inside(engine.dir()), engine.clock.clone()).unwrap();
    change(&other, id).await;
    assert_eq!(engine.dispatcher.tick().await.unwrap().claimed, 0, "a message was claimed after the answer");
    engine.dispatcher.settle().await;
    assert!(engine.simulator.messages().is_empty());
    assert_eq!(engine.counts(id).get("queued"), Some(&1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_pause_answered_before_a_claim_holds_though_the_dispatcher_looked_earlier() {
    changed_behind_its_back(|store, id| {
        Box::pin(async move {
            store.write(move |tx| campaign::pause(tx, id, "somebody else")).await.unwrap();
        })
    })
    .await;
}

#[tokio::test]
async fn a_paused_sender_and_a_paused_account_hold_at_once() {
    changed_behind_its_back(|store, _| {
        Box::pin(async move {
            store.write::<_, _, StoreError>(|tx| senders::pause(tx, 1, "test", None)).await.unwrap();
        })
    })
    .await;
    changed_behind_its_back(|store, _| {
        Box::pin(async move {
            store.write::<_, _, StoreError>(|tx| senders::pause_account(tx, "test", None)).await.unwrap();
        })
    })
    .await;
}

#[tokio::test]
async fn a_campaign_whose_sender_is_gone_says_so_and_single_messages_of_it_are_ended() {
    let engine = Engine::start().await;
    engine.add_many(1).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    engine
        .change(
            "INSERT INTO messages (user_id, kind, channel, lane, due_at, created_at)
                   VALUES (1, 'transactional', 'sms', -3, 0, 0)",
        )
        .await;
    let none: [(String, String); 0] = [];
    engine.store.write::<_, _, StoreError>(move |tx| senders::synchronize(tx, &none)).await.unwrap();
    campaign::tick(&engine.store, &engine.setup).await.unwrap();
    assert_eq!(engine.campaign(id).status, CampaignStatus::Paused);
    assert!(engine.campaign(id).pause_reason.unwrap().contains("not configured any more"));
    assert_eq!(campaign::close_removed_senders(&engine.store).await.unwrap(), 1);
    let reason: String = engine.value("SELECT reason FROM messages WHERE campaign_id IS NULL");
    assert_eq!(reason, "sender_removed");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_event_that_is_taken_back_withdraws_its_claim() {
    use event_stream_engine::campaign::{Trigger, Whom};
    use event_stream_engine::domain::phone::Phone;

    use crate::triggers::{take, waiting_campaign};

    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    waiting_campaign(&engine, |plan| plan.rate_limit_per_second = Some(1.2)).await;
    let event = |id: &str, whom: Whom, cancels: Option<&str>| Trigger {
        id: id.to_owned(),
        kind: "order.paid".to_owned(),
        occurred_at: None,
        whom,
        data: serde_json::Map::from_iter([("id".to_owned(), id.into()), ("name".to_owned(), "Ana".into())]),
        send_at: None,
        cancels: cancels.map(str::to_owned),
    };
    let to = Phone::parse(&crate::support::phone(0), None).unwrap();
    take(&engine.store, vec![event("e1", Whom::Person(to), None)]).await;
    engine.dispatcher.tick().await.unwrap();
    engine.clock.advance(100);
    engine.dispatcher.tick().await.unwrap();
    engine.clock.advance(900);
    let store = engine.store.clone();
    let cancel = event("c1", Whom::Nobody, Some("e1"));
    right_behind_the_claim(&mut engine, async move { take(&store, vec![cancel]).await }).await;
    assert_eq!(engine.message_to(0), ("cancelled".to_owned(), "trigger_cancelled".to_owned(), 0));
    engine.settle().await;
    assert!(engine.simulator.messages().is_empty());
    engine.check_and_stop().await;
}
