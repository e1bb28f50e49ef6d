//! What may be spent: by campaign and by day, exactly, and with prices that nobody knows.

use event_stream_engine::campaign;
use event_stream_engine::delivery::Poller;
use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::simulator::Faults;
use event_stream_engine::store::campaigns::{self, CampaignPlan};
use event_stream_engine::store::spending;
use serde_json::json;

use super::{HOUR, failing, prices, single};
use crate::support::{Engine, phone, quick_simulator};

const CENT: i64 = 10_000;

async fn priced(people: usize) -> Engine {
    let engine = Engine::start().await;
    engine.rule(|rules| rules.prices = prices());
    engine.add_many(people).await;
    engine
}

async fn launched(engine: &mut Engine, change: impl FnOnce(&mut CampaignPlan) + Send + 'static) -> i64 {
    let id = engine
        .draft_saying("Hi", |plan| {
            plan.quiet_hours = json!("off");
            change(plan);
        })
        .await;
    engine.launch(id).await;
    engine.settle().await;
    id
}

async fn resume(engine: &mut Engine, id: i64) {
    let setup = engine.setup.clone();
    engine.store.write(move |tx| campaign::resume(tx, id, &setup, "me")).await.unwrap();
    engine.settle().await;
}

async fn raise(engine: &Engine, id: i64, micros: Option<i64>) {
    let raised = engine.store.write(move |tx| campaigns::set_spend_cap(tx, id, micros, "me"));
    raised.await.unwrap();
}

/// Spent or reserved by a campaign, and how many attempts have no price.
fn spent(engine: &Engine, id: i64) -> (i64, i64) {
    let (_, cost) = engine.store.read_here(|conn| spending::of_campaign(conn, id)).unwrap();
    (cost.known_micros, cost.unknown)
}

fn reason(engine: &Engine, id: i64) -> String {
    engine.campaign(id).pause_reason.unwrap_or_default()
}

#[tokio::test]
async fn a_campaign_pauses_at_its_cap_and_not_one_message_goes_beyond() {
    let mut engine = priced(100).await;
    let id = launched(&mut engine, |plan| plan.spend_cap_micros = Some(10 * CENT + CENT / 2)).await;
    assert_eq!(engine.simulator.messages().len(), 10);
    assert_eq!(engine.campaign(id).status, CampaignStatus::Paused);
    assert_eq!(spent(&engine, id), (10 * CENT, 0));
    let said = reason(&engine, id);
    for part in ["0.105 USD is reached", "0.10 are spent", "costs 0.01", "Raise it, then resume"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // To resume without raising it sends nothing.
    resume(&mut engine, id).await;
    assert_eq!(engine.simulator.messages().len(), 10);
    raise(&engine, id, Some(40 * CENT)).await;
    resume(&mut engine, id).await;
    assert_eq!(engine.simulator.messages().len(), 40);
    raise(&engine, id, None).await;
    resume(&mut engine, id).await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&100));
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_handed_nothing_over_is_given_back_and_every_hand_over_is_paid_for() {
    let mut engine = priced(6).await;
    engine.simulator.set_faults(Faults { rate_429_percent: 100.0, count: Some(3), ..Faults::default() });
    let id = launched(&mut engine, |plan| plan.spend_cap_micros = Some(6 * CENT)).await;
    engine.drain_after(HOUR).await;
    engine.settle().await;
    let attempts: i64 = engine.value("SELECT count(*) FROM attempts");
    assert_eq!(attempts, 9);
    assert_eq!(engine.counts(id).get("delivered"), Some(&6), "{:?}", engine.reasons(id));
    assert_eq!(spent(&engine, id), (6 * CENT, 0));
    // The carrier had it and lost it: paid for, and the second try again.
    engine.simulator.set_faults(failing(30003, Some(1)));
    let second = launched(&mut engine, |plan| plan.name = "Second".to_owned()).await;
    engine.drain_after(4 * HOUR).await;
    engine.settle().await;
    let attempts: i64 = engine.value("SELECT count(*) FROM attempts");
    assert_eq!(attempts, 16);
    let undelivered: i64 = engine.value("SELECT count(*) FROM attempts WHERE status = 'undelivered'");
    assert_eq!(spent(&engine, second).0, (6 + undelivered) * CENT);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_day_is_one_for_all_marketing_and_goes_on_by_itself_on_the_next() {
    let mut engine = priced(30).await;
    engine.rule(|rules| rules.cap_per_day = Some(20 * CENT));
    let first = launched(&mut engine, |_| {}).await;
    let second = launched(&mut engine, |plan| plan.name = "Second".to_owned()).await;
    assert_eq!(engine.simulator.messages().len(), 20);
    let said = reason(&engine, first);
    assert!(said.contains("0.20 USD a day is reached") && said.contains("by itself"), "{said}");
    assert_eq!(engine.campaign(second).status, CampaignStatus::Paused);
    // Seven hours to midnight UTC. What people wait for still goes, and counts.
    single(&engine, &phone(0), Kind::Transactional, "Your order").await;
    let waiting = single(&engine, &phone(0), Kind::Marketing, "Only you").await;
    engine.settle().await;
    assert_eq!(engine.simulator.messages().len(), 21);
    assert_eq!(
        engine.message(&format!("m.id = {waiting}")),
        ("queued".to_owned(), "spending_cap".to_owned(), 0)
    );
    engine.drain_after(7 * HOUR - 120).await;
    assert_eq!(engine.campaign(first).status, CampaignStatus::Paused);
    engine.clock.advance(240_000);
    campaign::tick(&engine.store, &engine.setup).await.unwrap();
    engine.settle().await;
    assert_eq!(engine.simulator.messages().len(), 41, "the cap holds on the next day too");
    let days: i64 = engine.value("SELECT count(*) FROM daily_spending WHERE spent_micros <= 210000");
    assert_eq!(days, 2);
    assert_eq!(engine.events("campaign.resumed"), 2);
    engine.change("UPDATE campaigns SET status = 'cancelled' WHERE status = 'paused'").await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn who_pauses_a_campaign_that_rests_keeps_it_from_going_on_by_itself() {
    let mut engine = priced(3).await;
    engine.rule(|rules| rules.cap_per_day = Some(CENT));
    let id = launched(&mut engine, |_| {}).await;
    assert!(engine.campaign(id).paused_until.is_some());
    engine.store.write(move |tx| campaign::pause(tx, id, "me")).await.unwrap();
    assert_eq!(reason(&engine, id), "Paused by me.");
    engine.clock.advance(24 * HOUR * 1_000);
    campaign::tick(&engine.store, &engine.setup).await.unwrap();
    engine.settle().await;
    assert_eq!(engine.simulator.messages().len(), 1);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_price_that_nobody_knows_stops_a_campaign_with_a_cap_and_is_never_nothing() {
    let mut engine = priced(2).await;
    engine.add("+27821234567", Consent::OptIn, json!({})).await;
    let capped = launched(&mut engine, |plan| plan.spend_cap_micros = Some(100 * CENT)).await;
    assert_eq!(engine.simulator.messages().len(), 2);
    let said = reason(&engine, capped);
    assert!(said.contains("The price of SMS to ZA is not in the price table"), "{said}");
    // Without a cap it goes, and is counted as unknown.
    let free = launched(&mut engine, |plan| plan.name = "Free".to_owned()).await;
    assert_eq!(engine.counts(free).get("delivered"), Some(&3), "{:?}", engine.reasons(free));
    assert_eq!(spent(&engine, free), (2 * CENT, 1));
    engine.rule(|rules| rules.cap_per_day = Some(1_000 * CENT));
    let waiting = single(&engine, "+27821234567", Kind::Marketing, "Hi").await;
    engine.settle().await;
    assert_eq!(
        engine.message(&format!("m.id = {waiting}")),
        ("queued".to_owned(), "price_unknown".to_owned(), 0)
    );
    engine.change("UPDATE campaigns SET status = 'cancelled' WHERE status = 'paused'").await;
    engine.check_and_stop().await;
}

/// Twilio's own price of the simulator is 0.0075 a part.
#[tokio::test]
async fn twilios_price_corrects_the_expected_one_unless_it_is_in_another_currency() {
    for (currency, expected, told) in [("USD", (4 * 7_500, 0), "USD"), ("EUR", (4 * CENT, 0), "USD")] {
        let mut engine = priced(4).await;
        let table = json!({"currency": currency, "sms": {"US": 0.01}, "mms": {}, "whatsapp": {}});
        engine.rule(|rules| rules.prices = serde_json::from_value(table).map(std::sync::Arc::new).unwrap());
        engine.simulator.set_faults(Faults { callbacks_missing_percent: 100.0, ..Faults::default() });
        let id = launched(&mut engine, |_| {}).await;
        assert_eq!(spent(&engine, id), (4 * CENT, 0));
        engine.clock.advance(13 * HOUR * 1_000);
        let options = quick_simulator();
        let client = event_stream_engine::twilio::client::Client::new(
            event_stream_engine::twilio::client::Credentials {
                account_sid: options.account_sid.clone(),
                user: options.account_sid,
                password: options.auth_token.into(),
                api_base: engine.simulator.base_url().parse().unwrap(),
            },
        );
        let poller =
            Poller::new(engine.store.clone(), client.unwrap(), engine.settings(), Metrics::default());
        assert_eq!(poller.tick().await.unwrap().found, 4);
        assert_eq!(spent(&engine, id), expected, "{currency}");
        let unit: String = engine.value("SELECT price_unit FROM campaign_sums");
        assert_eq!(unit, told);
        engine.check_and_stop().await;
    }
}

#[tokio::test]
async fn a_sum_that_was_tampered_with_is_found() {
    let mut engine = priced(2).await;
    launched(&mut engine, |_| {}).await;
    engine.change("UPDATE campaign_sums SET spent_micros = spent_micros - 1").await;
    engine.change("UPDATE daily_spending SET unpriced = unpriced + 1").await;
    let problems = engine.store.read_here(event_stream_engine::store::verify::count_problems).unwrap();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("19999 millionths") && problems[1].starts_with("day "), "{problems:?}");
}

#[tokio::test]
async fn the_audience_says_which_cap_the_launch_will_meet() {
    type Case = (Option<i64>, Option<i64>, bool, Option<&'static str>);
    let cases: [Case; 6] = [
        (None, None, true, None),
        (Some(5 * CENT), None, true, None),
        (Some(5 * CENT - 1), None, true, Some("spend_cap")),
        (None, Some(5 * CENT), true, None),
        (None, Some(5 * CENT - 1), true, Some("cap_per_day")),
        (Some(5 * CENT), None, false, Some("price_unknown")),
    ];
    for (cap, per_day, is_priced, expected) in cases {
        let mut engine = Engine::start().await;
        engine.rule(|rules| {
            rules.cap_per_day = per_day;
            if is_priced {
                rules.prices = prices();
            }
        });
        engine.add_many(5).await;
        let id = engine
            .draft_saying("Hi", move |plan| {
                plan.quiet_hours = json!("off");
                plan.spend_cap_micros = cap;
            })
            .await;
        let seen = campaign::look_at_audience(&engine.store, &engine.house(), id, 0).await.unwrap();
        let codes: Vec<&str> = seen.obstacles.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, expected.into_iter().collect::<Vec<_>>(), "{cap:?} {per_day:?} {is_priced}");
        engine.launch(id).await;
        engine.settle().await;
        let is_paused = engine.campaign(id).status == CampaignStatus::Paused;
        assert_eq!(is_paused, expected.is_some(), "{cap:?} {per_day:?} {is_priced}: {}", reason(&engine, id));
        engine.check_and_stop().await;
    }
}
