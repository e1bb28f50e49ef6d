//! Whatever happens in whatever order: counts equal a recount, nobody gets anything twice, and nobody who
//! said STOP gets anything after it.

use std::collections::HashMap;

use event_stream_engine::campaign;
use event_stream_engine::domain::campaign::CampaignStatus as S;
use event_stream_engine::simulator::Faults;
use proptest::prelude::*;

use crate::support::{Engine, SENDER, Wanted, phone, quick_simulator};

const PEOPLE: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Step {
    Launch(usize),
    Tick,
    Wait(i64),
    Pause(usize),
    Resume(usize),
    Cancel(usize),
    Retry(usize),
    Stop(usize),
    Start(usize),
    Faults(u8),
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..2_usize).prop_map(Step::Launch),
        8 => Just(Step::Tick),
        3 => (1..40_000_i64).prop_map(Step::Wait),
        2 => (0..2_usize).prop_map(Step::Pause),
        3 => (0..2_usize).prop_map(Step::Resume),
        1 => (0..2_usize).prop_map(Step::Cancel),
        2 => (0..2_usize).prop_map(Step::Retry),
        2 => (0..PEOPLE).prop_map(Step::Stop),
        1 => (0..PEOPLE).prop_map(Step::Start),
        2 => any::<u8>().prop_map(Step::Faults),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 10..40)
}

fn faults(bits: u8) -> Faults {
    let percent = |bit: u8, share: f64| if bits & (1 << bit) == 0 { 0.0 } else { share };
    Faults {
        rate_429_percent: percent(0, 30.0),
        error_500_after_accept_percent: percent(1, 20.0),
        drop_connection_percent: percent(2, 20.0),
        callbacks_doubled_percent: percent(3, 50.0),
        callbacks_missing_percent: percent(4, 30.0),
        callbacks_shuffled: bits & 32 != 0,
        errors: [(6_u8, 30003), (7, 30004)]
            .into_iter()
            .filter(|(bit, _)| bits & (1 << bit) != 0)
            .map(|(_, code)| event_stream_engine::simulator::ErrorFault {
                code,
                percent: 30.0,
                ..Default::default()
            })
            .collect(),
        ..Faults::default()
    }
}

async fn take(engine: Engine, ids: &[i64], step: Step, stopped: &mut HashMap<String, usize>) -> Engine {
    let mut engine = engine;
    let setup = engine.setup.clone();
    let store = engine.store.clone();
    match step {
        Step::Launch(n) => drop(
            store
                .write({
                    let id = ids[n];
                    move |tx| campaign::launch(tx, id, &setup)
                })
                .await,
        ),
        Step::Pause(n) => drop(
            store
                .write({
                    let id = ids[n];
                    move |tx| campaign::pause(tx, id, "test")
                })
                .await,
        ),
        Step::Resume(n) => {
            let id = ids[n];
            drop(store.write(move |tx| campaign::resume(tx, id, &setup, "test")).await);
        }
        Step::Cancel(n) => drop(campaign::cancel(&store, ids[n], "test".to_owned()).await),
        Step::Retry(n) => {
            drop(campaign::retry_failed(&store, &crate::support::presets(), ids[n], "test".to_owned()).await)
        }
        Step::Tick => {
            campaign::freeze_all(&store, &crate::support::presets(), true).await.unwrap();
            store.plan_changed();
            engine.dispatcher.tick().await.unwrap();
            engine.dispatcher.settle().await;
            campaign::tick(&store, &setup).await.unwrap();
        }
        Step::Wait(millis) => engine.clock.advance(millis),
        Step::Stop(n) => {
            let answer = engine.simulator.inbound(&phone(n), SENDER, "STOP").await;
            assert_eq!(answer.status, Some(200));
            let so_far = engine.simulator.messages_to(&phone(n)).len();
            stopped.insert(phone(n), so_far);
        }
        Step::Start(n) => {
            engine.simulator.inbound(&phone(n), SENDER, "START").await;
            stopped.remove(&phone(n));
        }
        Step::Faults(bits) => engine.simulator.set_faults(faults(bits)),
        Step::Crash => {
            drop((store, setup));
            engine = engine.restart().await;
            event_stream_engine::delivery::rescue_pending(&engine.store).await.unwrap();
        }
    }
    for (phone, so_far) in stopped {
        let now = engine.simulator.messages_to(phone).len();
        assert!(now <= *so_far, "{phone} got something after STOP ({step:?})");
    }
    engine
}

async fn play(steps: Vec<Step>) {
    let wanted = Wanted { simulator: quick_simulator(), rate: 200.0, ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    engine.add_many(PEOPLE).await;
    let mut ids = Vec::new();
    for body in ["first", "second"] {
        ids.push(engine.draft_saying(body, |plan| plan.quiet_hours = "off".into()).await);
    }
    let mut stopped = HashMap::new();
    for step in steps {
        engine = take(engine, &ids, step, &mut stopped).await;
    }
    engine.simulator.set_faults(Faults::default());
    engine.settle().await;
    for id in ids {
        if engine.campaign(id).status == S::Finished {
            let open: i64 = engine.value(&format!(
                "SELECT count(*) FROM messages WHERE campaign_id = {id} AND status IN ('queued', 'sending', 'uncertain')"
            ));
            assert_eq!(open, 0, "finished with open rows");
        }
    }
    // Each acceptance at Twilio belongs to an attempt of its own, and a person has one message per campaign.
    let attempts: i64 = engine.value("SELECT count(*) FROM attempts WHERE outcome NOT IN ('withdrawn')");
    assert!(engine.simulator.messages().len() as i64 <= attempts);
    // A receipt that comes late may be an attempt's last word after its failure: the code tells that it failed.
    let twice: i64 = engine.value(
        "SELECT count(*) FROM attempts a JOIN attempts b ON a.message_id = b.message_id AND a.number < b.number
         WHERE a.outcome = 'uncertain' OR (a.outcome IN ('accepted', 'settled') AND a.error_code IS NULL
               AND a.status NOT IN ('failed', 'undelivered'))",
    );
    assert_eq!(twice, 0, "handed over again though the first may have arrived");
    engine.check_and_stop().await;
}

#[test]
fn counts_equal_a_recount_after_any_sequence_of_events() {
    let config =
        ProptestConfig { cases: 12, max_shrink_iters: 40, failure_persistence: None, ..Default::default() };
    proptest!(config, |(steps in steps())| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps));
    });
}
