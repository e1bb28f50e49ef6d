//! Settings that change while messages are on their way: what is claimed next goes by them.

use event_stream_engine::delivery::{Looked, Poller, Reconciler, Settings, UncertainRules};
use event_stream_engine::metrics::Metrics;
use event_stream_engine::simulator::Faults;

use super::{launched, silent};
use crate::support::{Engine, SENDER, Wanted};

fn limits(settings: &mut Settings) -> &mut event_stream_engine::delivery::SenderLimits {
    settings.senders.get_mut(SENDER).unwrap()
}

/// Ticks for so many seconds of the clock, and says how many messages Twilio has then.
async fn sent_after(engine: &mut Engine, seconds: usize) -> usize {
    for _ in 0..seconds * 20 {
        engine.dispatcher.tick().await.unwrap();
        engine.dispatcher.settle().await;
        engine.clock.advance(50);
    }
    engine.simulator.messages().len()
}

#[tokio::test]
async fn another_rate_holds_from_the_next_message_on() {
    let mut engine = Engine::start_with(Wanted { rate: 1.0, ..Wanted::default() }).await;
    launched(&engine, 60).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    let slow = sent_after(&mut engine, 10).await;
    assert!((9..=11).contains(&slow), "{slow}");
    engine.set(|settings| limits(settings).rate_per_second = 10.0);
    let fast = sent_after(&mut engine, 3).await - slow;
    assert!((27..=31).contains(&fast), "{fast}");
    engine.settle().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_raised_daily_limit_lets_a_campaign_that_rests_go_on_and_a_lowered_one_holds_it() {
    let mut engine = Engine::start_with(Wanted { recipients_per_day: Some(2), ..Wanted::default() }).await;
    let id = launched(&engine, 12).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&2));
    engine.set(|settings| limits(settings).recipients_per_day = Some(5));
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&5), "{:?}", engine.reasons(id));
    engine.set(|settings| limits(settings).recipients_per_day = Some(3));
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&5), "{:?}", engine.reasons(id));
    engine.set(|settings| limits(settings).recipients_per_day = None);
    engine.settle().await;
    // Who was told a time waits for that: one each time that the queue began to rest.
    assert_eq!(engine.counts(id).get("delivered"), Some(&9), "{:?}", engine.reasons(id));
    engine.drain_after(86_400).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&12));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn as_many_requests_are_under_way_at_once_as_are_allowed_now() {
    let mut engine = Engine::start_with(Wanted { max_in_flight: 4, ..Wanted::default() }).await;
    launched(&engine, 40).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    // The limiters begin empty.
    engine.dispatcher.tick().await.unwrap();
    for (most, claimed) in [(4, 3), (16, 15), (2, 1)] {
        engine.set(|settings| settings.max_in_flight = most);
        engine.clock.advance(1_000);
        // A slot stays free for transactional messages.
        assert_eq!(engine.dispatcher.tick().await.unwrap().claimed, claimed, "{most}");
        engine.dispatcher.settle().await;
    }
    engine.settle().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_lost_message_is_held_or_sent_again_as_the_policy_says_when_it_is_decided() {
    for resends in [false, true] {
        let mut engine = Engine::start().await;
        launched(&engine, 1).await;
        engine.simulator.set_faults(Faults {
            error_500_before_percent: 100.0,
            count: Some(1),
            ..Faults::default()
        });
        engine.drain().await;
        assert_eq!(engine.message_to(0).0, "uncertain");
        engine.set(|settings| settings.uncertain = UncertainRules { after: 600_000, resends: !resends });
        let reconciler = Reconciler::new(
            engine.store.clone(),
            super::client(&engine),
            engine.settings(),
            Metrics::default(),
        );
        engine.clock.advance(60_000);
        let looked = reconciler.tick().await.unwrap();
        assert_eq!((looked.not_found, looked.held, looked.given_up), (1, 0, 0), "it is too early");
        engine.set(|settings| settings.uncertain = UncertainRules { after: 120_000, resends });
        let mut decided = Looked::default();
        for _ in 0..700 {
            engine.clock.advance(1_000);
            let looked = reconciler.tick().await.unwrap();
            decided.held += looked.held;
            decided.given_up += looked.given_up;
        }
        let expected = if resends { (0, 1) } else { (1, 0) };
        assert_eq!((decided.held, decided.given_up), expected);
        engine.settle().await;
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn what_a_poll_finds_failed_is_tried_as_often_as_is_allowed_now() {
    for (most, status) in [(3, "queued"), (1, "undelivered")] {
        let mut engine = Engine::start().await;
        launched(&engine, 1).await;
        engine
            .simulator
            .set_faults(Faults { errors: super::failing(30_003, Some(1)).errors, ..silent(Some(1)) });
        engine.drain().await;
        engine.simulator.wait_until_quiet().await;
        let poller =
            Poller::new(engine.store.clone(), super::client(&engine), engine.settings(), Metrics::default());
        engine.set(|settings| settings.max_attempts = most);
        engine.clock.advance(13 * 3_600_000);
        poller.tick().await.unwrap();
        assert_eq!(engine.message_to(0).0, status, "{most}");
        engine.settle().await;
        engine.check_and_stop().await;
    }
}
