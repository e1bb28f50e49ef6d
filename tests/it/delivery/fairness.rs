//! Who goes when several want to: campaigns share what a sender may send, and transactional goes first.

use std::collections::BTreeMap;

use event_stream_engine::campaign;
use event_stream_engine::domain::message::Kind;
use serde_json::json;

use crate::support::{Engine, Wanted, presets};

/// Ticks every 25 ms of the clock for a second. Returns how many of each text were sent.
async fn second(engine: &mut Engine) -> BTreeMap<String, usize> {
    let before = engine.simulator.messages().len();
    for _ in 0..40 {
        engine.clock.advance(25);
        engine.dispatcher.tick().await.unwrap();
        engine.dispatcher.settle().await;
    }
    let mut sent = BTreeMap::new();
    for message in &engine.simulator.messages()[before..] {
        *sent.entry(message.body.clone()).or_default() += 1;
    }
    sent
}

/// Campaigns with these texts and limits of their own, for the same people.
async fn running(engine: &mut Engine, people: usize, campaigns: &[(&'static str, Option<f64>)]) -> Vec<i64> {
    engine.add_many(people).await;
    let mut ids = Vec::new();
    for (body, rate) in campaigns.iter().copied() {
        let id = engine.draft_saying(body, move |plan| plan.rate_limit_per_second = rate).await;
        engine.launch(id).await;
        ids.push(id);
    }
    campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
    engine.dispatcher.tick().await.unwrap();
    ids
}

#[tokio::test]
async fn campaigns_of_one_sender_get_equal_shares_of_every_second() {
    const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    for (count, rate) in [(2, 20.0), (3, 30.0), (10, 40.0)] {
        let mut engine = Engine::start_with(Wanted { rate, ..Wanted::default() }).await;
        let campaigns: Vec<_> = NAMES[..count].iter().map(|name| (*name, None)).collect();
        running(&mut engine, 40, &campaigns).await;
        let share = rate as usize / count;
        for _ in 0..3 {
            let sent = second(&mut engine).await;
            assert_eq!(sent.len(), count, "somebody starved: {sent:?}");
            assert!(sent.values().all(|n| n.abs_diff(share) <= 1), "{sent:?} of {share} each");
        }
        nobody_twice_a_campaign(&engine);
        engine.check_and_stop().await;
    }
}

fn nobody_twice_a_campaign(engine: &Engine) {
    let mut seen = std::collections::HashSet::new();
    let messages = engine.simulator.messages();
    assert!(messages.iter().all(|message| seen.insert((&message.to, &message.body))));
}

#[tokio::test]
async fn what_a_slow_campaign_leaves_goes_to_the_others_in_equal_shares() {
    let mut engine = Engine::start_with(Wanted { rate: 20.0, ..Wanted::default() }).await;
    running(&mut engine, 60, &[("slow", Some(2.0)), ("one", None), ("two", None)]).await;
    second(&mut engine).await;
    for _ in 0..4 {
        let sent = second(&mut engine).await;
        assert!((1..=3).contains(&sent["slow"]), "{sent:?}");
        assert!(sent["one"].abs_diff(9) <= 1 && sent["two"].abs_diff(9) <= 1, "{sent:?}");
    }
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_campaign_that_comes_later_gets_its_share_and_nothing_for_the_time_before() {
    let mut engine = Engine::start_with(Wanted { rate: 20.0, ..Wanted::default() }).await;
    running(&mut engine, 99, &[("first", None)]).await;
    for _ in 0..3 {
        second(&mut engine).await;
    }
    let late = engine.draft_saying("second", |_| {}).await;
    engine.launch(late).await;
    campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
    let sent = second(&mut engine).await;
    assert!(sent["first"].abs_diff(10) <= 1 && sent["second"].abs_diff(10) <= 1, "{sent:?}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn campaigns_full_of_people_who_are_skipped_or_wait_take_nothing_from_the_others() {
    let mut engine = Engine::start_with(Wanted { rate: 20.0, ..Wanted::default() }).await;
    // Many more than one turn can look at.
    engine
        .change(
            "INSERT INTO users (phone, country, consent, attributes, created_at, updated_at)
             WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2999)
             SELECT printf('+1617%07d', 2000000 + i), 'US', 'opt_in', jsonb_object('city', 'Boston'), 0, 0 FROM n;
             UPDATE user_counts SET n = n + 3000 WHERE consent = 'opt_in';",
        )
        .await;
    let night = json!({"start": "00:00", "end": "23:00"});
    running(&mut engine, 0, &[("works", None), ("{nothing}", None), ("{city} {nothing}", None)]).await;
    let waits = engine.draft_saying("waits", move |plan| plan.quiet_hours = night).await;
    engine.launch(waits).await;
    campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
    for _ in 0..3 {
        let sent = second(&mut engine).await;
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!((19..=20).contains(&sent["works"]), "{sent:?}");
    }
    let swept: i64 = engine.value("SELECT count(*) FROM messages WHERE reason = 'missing_variable'");
    assert!(swept > 500, "the others are looked at meanwhile: {swept}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn behind_thousands_of_marketing_messages_a_transactional_one_leaves_within_a_second() {
    let mut engine = Engine::start_with(Wanted { rate: 10.0, ..Wanted::default() }).await;
    engine
        .change(
            "INSERT INTO users (phone, country, consent, attributes, created_at, updated_at)
             WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 4999)
             SELECT printf('+1617%07d', 2000000 + i), 'US', 'opt_in', jsonb_object('city', 'Boston'), 0, 0 FROM n;
             UPDATE user_counts SET n = n + 5000 WHERE consent = 'opt_in';",
        )
        .await;
    running(&mut engine, 0, &[("offer", None), ("another", None)]).await;
    second(&mut engine).await;
    for n in 0..3 {
        let code = engine
            .draft_saying("code", move |plan| {
                plan.kind = Kind::Transactional;
                plan.name = format!("code {n}");
            })
            .await;
        let person = engine.value::<i64>("SELECT max(id) FROM users");
        engine
            .change(&format!(
                "UPDATE segments SET definition = json_object('all', json_array(json_object('field', 'phone', \
                 'operator', 'equals', 'value', (SELECT phone FROM users WHERE id = {person}))))
                 WHERE id = (SELECT segment_id FROM campaigns WHERE id = {code})"
            ))
            .await;
        engine.launch(code).await;
        campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
        let sent = second(&mut engine).await;
        assert_eq!(sent.get("code"), Some(&1), "{sent:?}");
    }
    engine.check_and_stop().await;
}
