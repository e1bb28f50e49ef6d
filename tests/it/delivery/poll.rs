//! Messages of which nothing more was heard, asked about half a day later.

use event_stream_engine::delivery::{Polled, Poller};
use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::simulator::Faults;

use super::{launched, silent, tell};
use crate::support::Engine;

const HOUR: i64 = 3_600_000;

fn poller(engine: &Engine) -> Poller {
    Poller::new(engine.store.clone(), super::client(engine), engine.settings(), Metrics::default())
}

/// `n` people whose receipts never came.
async fn silent_campaign(n: usize) -> (Engine, i64) {
    let mut engine = Engine::start().await;
    let id = launched(&engine, n).await;
    engine.simulator.set_faults(silent(None));
    engine.settle().await;
    assert_eq!(engine.counts(id).get("accepted"), Some(&(n as i64)));
    (engine, id)
}

fn cursor(engine: &Engine) -> i64 {
    engine.value("SELECT coalesce(max(position), 0) FROM cursors WHERE name = 'poll'")
}

#[tokio::test]
async fn after_half_a_day_without_a_receipt_twilio_is_asked_and_its_answer_counts() {
    let (engine, id) = silent_campaign(7).await;
    let poller = poller(&engine);
    engine.clock.advance(12 * HOUR - 60_000);
    assert_eq!(poller.tick().await.unwrap(), Polled::default(), "too early");
    engine.clock.advance(60_000);
    assert_eq!(poller.tick().await.unwrap(), Polled { found: 7, ..Polled::default() });
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&7));
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    let priced: (i64, i64) = (
        engine.value("SELECT priced FROM campaign_sums"),
        engine.value("SELECT price_micros FROM campaign_sums"),
    );
    assert_eq!(priced, (7, 7 * 7_500));
    engine.clock.advance(48 * HOUR);
    assert_eq!(poller.tick().await.unwrap(), Polled::default(), "there is nothing more to ask");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_message_that_is_still_sent_is_asked_about_and_one_that_moved_on_is_not() {
    let (engine, _) = silent_campaign(1).await;
    engine.clock.advance(6 * HOUR);
    tell(&engine, 1, "sent", None).await;
    let poller = poller(&engine);
    engine.clock.advance(7 * HOUR);
    assert_eq!(poller.tick().await.unwrap(), Polled::default(), "it moved on six hours ago");
    engine.clock.advance(6 * HOUR);
    assert_eq!(poller.tick().await.unwrap().found, 1);
    assert_eq!(engine.message_to(0).0, "delivered");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn nobody_asks_about_what_arrived() {
    let mut engine = Engine::start().await;
    launched(&engine, 5).await;
    engine.settle().await;
    let poller = poller(&engine);
    engine.clock.advance(13 * HOUR);
    assert_eq!(poller.tick().await.unwrap(), Polled::default());
    let newest: i64 = engine.value("SELECT max(id) FROM events");
    assert_eq!(cursor(&engine), newest, "and it is not looked at again");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_walk_moves_only_past_what_was_answered_and_goes_on_after_a_restart() {
    let (engine, id) = silent_campaign(250).await;
    engine.clock.advance(13 * HOUR);
    let poller_before = poller(&engine);
    assert_eq!(poller_before.tick().await.unwrap().found, 100, "a bounded number in a tick");
    engine.simulator.set_faults(Faults { read_500_percent: 100.0, ..Faults::default() });
    let place = cursor(&engine);
    let polled = poller_before.tick().await.unwrap();
    assert_eq!((polled.found, polled.failed), (0, 1));
    assert_eq!(cursor(&engine), place);
    assert_eq!(poller_before.tick().await.unwrap(), Polled::default(), "it rests after a failure");
    engine.simulator.set_faults(Faults { read_429_percent: 30.0, ..Faults::default() });
    let engine = engine.restart().await;
    let poller_after = poller(&engine);
    let mut ticks = 0;
    while engine.counts(id).get("accepted").is_some_and(|n| *n > 0) {
        engine.clock.advance(10_000);
        poller_after.tick().await.unwrap();
        ticks += 1;
        assert!(ticks < 2_000);
    }
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&250));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_twilio_does_not_know_any_more_is_passed() {
    let (engine, id) = silent_campaign(2).await;
    engine.change("UPDATE messages SET sid = 'SM00000000000000000000000000000000' WHERE id = 1").await;
    engine.clock.advance(13 * HOUR);
    let polled = poller(&engine).tick().await.unwrap();
    assert_eq!(polled, Polled { found: 1, not_found: 1, failed: 0 });
    assert_eq!(poller(&engine).tick().await.unwrap(), Polled::default());
    assert_eq!(engine.counts(id).get("accepted"), Some(&1));
    engine.check_and_stop().await;
}
