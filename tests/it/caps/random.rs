//! The caps in random worlds: campaigns, single messages, refusals, hours that pass and caps that change.

use event_stream_engine::domain::frequency::FrequencyCap;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::simulator::{ErrorFault, Faults};
use event_stream_engine::store::StoreError;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::{HOUR, prices, single};
use crate::support::{Engine, phone};

const PEOPLE: usize = 5;
const HOURS: i64 = 24;
const MESSAGES: usize = 2;
const CENT: i64 = 10_000;

fn weather(dice: &mut StdRng) -> Faults {
    let error = |code, percent| ErrorFault { code, percent, ..ErrorFault::default() };
    Faults {
        rate_429_percent: if dice.random_bool(0.3) { 30.0 } else { 0.0 },
        errors: vec![error(21617, 10.0), error(30003, 15.0), error(30004, 5.0)],
        ..Faults::default()
    }
}

/// Hand-overs of marketing messages by person and time, each message with its last.
fn handed_over(engine: &Engine) -> Vec<(i64, i64)> {
    engine
        .store
        .read_here(|conn| {
            let rows = conn
                .prepare(
                    "SELECT m.user_id, max(a.started_at) FROM messages m JOIN attempts a ON a.message_id = m.id
                     WHERE m.kind = 'marketing' AND a.outcome NOT IN ('withdrawn', 'refused', 'put_back')
                     GROUP BY m.id ORDER BY 1, 2",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            Ok::<_, StoreError>(rows)
        })
        .unwrap()
}

/// Nobody has more than so many within any window that ended under the cap.
fn check_frequency(engine: &Engine, seed: u64) {
    let all = handed_over(engine);
    for few in all.windows(MESSAGES + 1) {
        let [(person, first), .., (last_person, last)] = few else { continue };
        let is_close = last - first < HOURS * HOUR * 1_000;
        assert!(
            person != last_person || !is_close,
            "seed {seed}: person {person} at {first} and {last}: {all:?}"
        );
    }
}

fn check_spending(engine: &Engine, seed: u64, (campaign, day): (i64, i64)) {
    let beyond: i64 = engine.value(&format!(
        "SELECT (SELECT count(*) FROM campaign_sums WHERE spent_micros > {campaign})
              + (SELECT count(*) FROM daily_spending WHERE spent_micros > {day})"
    ));
    assert_eq!(beyond, 0, "seed {seed}: more was spent than may be");
    let problems = engine.store.read_here(event_stream_engine::store::verify::count_problems).unwrap();
    assert!(problems.is_empty(), "seed {seed}: {problems:?}");
}

async fn play(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let engine = Engine::start().await;
    let caps = (dice.random_range(2..8) * CENT, dice.random_range(4..15) * CENT);
    engine.rule(|rules| {
        rules.prices = prices();
        rules.cap_per_day = Some(caps.1);
        rules.frequency_cap = Some(FrequencyCap { messages: MESSAGES, window: HOURS * HOUR * 1_000 });
    });
    let mut engine = engine;
    engine.add_many(PEOPLE).await;
    for _ in 0..25 {
        match dice.random_range(0..7) {
            0 | 1 => {
                let cap = caps.0;
                let id = engine
                    .draft_saying("Hi", move |plan| {
                        plan.quiet_hours = json!("off");
                        plan.spend_cap_micros = Some(cap);
                    })
                    .await;
                engine.launch(id).await;
            }
            2 => {
                let whom = phone(dice.random_range(0..PEOPLE));
                single(&engine, &whom, Kind::Marketing, "Only you").await;
            }
            3 => engine.simulator.set_faults(weather(&mut dice)),
            4 => engine.clock.advance(dice.random_range(1..14) * HOUR * 1_000),
            5 => engine.settle().await,
            // Raised and lowered again before anything goes: what is kept of each person has to follow.
            _ => {
                engine.rule(|rules| rules.frequency_cap = None);
                engine.dispatcher.settle().await;
                let window = HOURS * HOUR * 1_000;
                engine.rule(|rules| rules.frequency_cap = Some(FrequencyCap { messages: MESSAGES, window }));
            }
        }
        engine.drain().await;
        check_frequency(&engine, seed);
        check_spending(&engine, seed, caps);
    }
    engine.simulator.wait_until_quiet().await;
    engine.settle().await;
    check_spending(&engine, seed, caps);
}

#[tokio::test]
async fn nobody_ever_gets_more_than_the_cap_and_nothing_is_spent_beyond_the_caps() {
    let seeds = std::env::var("ESE_CAP_WORLDS").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    for seed in 0..seeds {
        play(seed).await;
    }
}
