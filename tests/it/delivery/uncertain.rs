//! The answer was lost: nobody knows whether the message is on its way, so it is never sent blindly again.

use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::simulator::Faults;

use super::launched;
use crate::support::Engine;

/// Whatever happened to the answer, the message is uncertain and is not handed over once more.
async fn stays_uncertain(faults: Faults, accepted: usize) -> (Engine, i64) {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 1).await;
    let faults = Faults { callbacks_missing_percent: 100.0, count: Some(1), ..faults };
    engine.simulator.set_faults(faults);
    engine.drain().await;
    for _ in 0..3 {
        engine.drain_after(600).await;
    }
    let expected = ("uncertain".to_owned(), "answer_lost".to_owned(), 0);
    assert_eq!(engine.message_to(0), expected);
    assert_eq!(engine.simulator.messages().len(), accepted);
    let attempts: i64 = engine.value("SELECT count(*) FROM attempts");
    assert_eq!(attempts, 1);
    assert_eq!(engine.campaign(id).status, CampaignStatus::Running, "finished with an open row");
    (engine, id)
}

#[tokio::test]
async fn a_500_after_acceptance_is_settled_by_the_callback_when_it_comes() {
    let faults = Faults { error_500_after_accept_percent: 100.0, ..Faults::default() };
    let (mut engine, id) = stays_uncertain(faults, 1).await;
    let message: i64 = engine.value("SELECT id FROM messages");
    let sid = engine.simulator.messages()[0].sid.clone();
    let news = [("MessageSid", sid.as_str()), ("MessageStatus", "delivered")];
    assert_eq!(engine.callback(message, 1, &news).await, 200);
    assert_eq!(engine.message_to(0).0, "delivered");
    let kept: String = engine.value("SELECT sid FROM messages");
    assert_eq!(kept, sid);
    let outcome: String = engine.value("SELECT outcome FROM attempts");
    assert_eq!(outcome, "settled");
    engine.drain().await;
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_callback_may_also_say_that_an_uncertain_message_failed() {
    let faults = Faults { error_500_after_accept_percent: 100.0, ..Faults::default() };
    let (engine, _) = stays_uncertain(faults, 1).await;
    let message: i64 = engine.value("SELECT id FROM messages");
    let news = [("MessageSid", "SM1"), ("MessageStatus", "undelivered"), ("ErrorCode", "30004")];
    assert_eq!(engine.callback(message, 1, &news).await, 200);
    assert_eq!(engine.message_to(0), ("undelivered".to_owned(), "provider_error".to_owned(), 30004));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_500_before_acceptance_looks_the_same_and_is_treated_the_same() {
    let faults = Faults { error_500_before_percent: 100.0, ..Faults::default() };
    stays_uncertain(faults, 0).await.0.check_and_stop().await;
}

#[tokio::test]
async fn a_dropped_connection_is_uncertain() {
    let faults = Faults { drop_connection_percent: 100.0, ..Faults::default() };
    stays_uncertain(faults, 0).await.0.check_and_stop().await;
}

#[tokio::test]
async fn a_connection_lost_after_acceptance_is_uncertain() {
    let mut engine = Engine::start().await;
    launched(&engine, 1).await;
    let faults =
        Faults { timeout_after_accept_percent: 100.0, callbacks_missing_percent: 100.0, ..Faults::default() };
    engine.simulator.set_faults(faults);
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    super::tick_twice(&mut engine).await;
    engine.until("acceptance", |engine| engine.simulator.messages().len() == 1).await;
    engine.simulator.stop().await;
    engine.dispatcher.settle().await;
    assert_eq!(engine.message_to(0).0, "uncertain");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_callback_that_overtakes_a_lost_answer_leaves_nothing_uncertain() {
    let mut engine = Engine::start().await;
    launched(&engine, 1).await;
    let faults = Faults { timeout_after_accept_percent: 100.0, ..Faults::default() };
    engine.simulator.set_faults(faults);
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    super::tick_twice(&mut engine).await;
    engine.until("the callback", |engine| engine.message_to(0).0 == "delivered").await;
    engine.simulator.wait_until_quiet().await;
    engine.simulator.stop().await;
    engine.dispatcher.settle().await;
    assert_eq!(engine.message_to(0).0, "delivered");
    assert_eq!(engine.events("message.uncertain"), 0);
    engine.check_and_stop().await;
}
