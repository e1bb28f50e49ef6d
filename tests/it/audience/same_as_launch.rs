//! What is said before a launch is what the launch and the delivery do when nothing changes in between: to the
//! same people, for the same reasons. A longer run: `PROPTEST_CASES=500 cargo test --test it same_as_launch`.

use std::collections::BTreeMap;

use event_stream_engine::campaign::{self, Explanation, Standing, Waterfall, Way};
use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::domain::frequency::FrequencyCap;
use event_stream_engine::domain::gate::Verdict;
use event_stream_engine::store::{StoreError, audience};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use super::random::{Someone, Wish, earlier, plant, someone, wish};
use crate::support::{Engine, Wanted, rules};

/// Worlds of one run, unless the environment says otherwise.
const CASES: u32 = 40;
const PEOPLE: usize = 24;

/// What becomes of each person, in words: `sent`, `skipped stop`, `deferred quiet_hours until …`, `nothing`.
type Fates = BTreeMap<i64, String>;

/// As the waterfall has it, without the times.
fn foretold(ids: &[i64], seen: &Waterfall) -> Fates {
    let mut fates: Fates = ids.iter().map(|id| (*id, "nothing".to_owned())).collect();
    for one in &seen.now.sample {
        fates.insert(one.user_id, "sent".to_owned());
    }
    for (way, reason, bucket) in &seen.exits {
        let word = match way {
            Way::Skipped => "skipped",
            Way::Expired => "expired",
            Way::Deferred => "deferred",
        };
        for one in &bucket.sample {
            fates.insert(one.user_id, format!("{word} {}", reason.as_str()));
        }
        assert_eq!(bucket.people, bucket.sample.len() as i64);
    }
    fates
}

/// As the explanation of one person has it.
fn explained(told: &Explanation) -> (String, Option<i64>) {
    if !matches!(told.standing, Standing::In) {
        return ("nothing".to_owned(), None);
    }
    match &told.verdict {
        Verdict::Send { .. } => ("sent".to_owned(), None),
        Verdict::Skip(reason) => (format!("skipped {}", reason.as_str()), None),
        Verdict::Expire(reason) => (format!("expired {}", reason.as_str()), None),
        Verdict::Defer { until, reason, .. } => (format!("deferred {}", reason.as_str()), Some(*until)),
    }
}

/// As it came, with the instants until which people wait.
fn came(engine: &Engine, ids: &[i64], campaign_id: i64) -> (Fates, BTreeMap<i64, i64>) {
    let mut waits = BTreeMap::new();
    let fates = ids.iter().map(|id| {
        let place = engine.store.read_here(|conn| audience::place_of(conn, campaign_id, *id)).unwrap();
        let Some(place) = place else {
            return (*id, "nothing".to_owned());
        };
        let reason = place.reason.unwrap_or_default();
        let word = match place.status.as_str() {
            "queued" => {
                waits.insert(*id, place.due_at);
                format!("deferred {reason}")
            }
            "skipped" | "expired" => format!("{} {reason}", place.status.as_str()),
            // What the provider makes of it is another matter: it looks at windows of its own.
            "accepted" | "sent" | "delivered" | "read" | "failed" | "undelivered" => "sent".to_owned(),
            other => format!("{other} {reason}"),
        };
        (*id, word)
    });
    (fates.collect(), waits)
}

async fn begin(engine: &Engine, id: i64) {
    engine.launch(id).await;
    if let Some(start) = engine.campaign(id).plan.starts_at.filter(|start| *start > engine.clock.now()) {
        assert_eq!(engine.campaign(id).status, CampaignStatus::Scheduled);
        engine.clock.set(jiff::Timestamp::from_millisecond(start).unwrap());
        campaign::tick(&engine.store, &engine.setup).await.unwrap();
    }
    assert_eq!(engine.campaign(id).status, CampaignStatus::Launching);
}

async fn play(people: Vec<Someone>, wish: Wish, start: i64) -> Result<(), TestCaseError> {
    let now = Some(jiff::Timestamp::from_second(start).unwrap());
    let mut engine = Engine::start_with(Wanted { now, ..Wanted::default() }).await;
    let (cap, introduces, had_earlier) = (wish.cap, wish.introduces, wish.had_earlier);
    engine.rule(|house| {
        house.frequency_cap =
            cap.map(|(messages, hours)| FrequencyCap { messages, window: hours * 3_600_000 });
        house.introduction = rules().introduction.filter(|_| introduces);
    });
    let (ids, id) =
        engine.store.write::<_, _, StoreError>(move |tx| plant(tx, &people, &wish)).await.unwrap();
    if had_earlier {
        let before = engine.store.write::<_, _, StoreError>(earlier).await.unwrap();
        engine.launch(before).await;
        engine.settle().await;
    }
    let seen = engine.look(id).await;
    let expected = foretold(&ids, &seen);
    let told: BTreeMap<i64, Explanation> =
        ids.iter().map(|user| (*user, engine.explain(*user, id))).collect();
    begin(&engine, id).await;
    engine.settle().await;
    let (fates, waits) = came(&engine, &ids, id);
    prop_assert_eq!(&fates, &expected, "the launch did otherwise than was said");
    for (user, told) in &told {
        let (fate, until) = explained(told);
        prop_assert_eq!(Some(&fate), fates.get(user), "person {} was told otherwise", user);
        prop_assert_eq!(until, waits.get(user).copied(), "person {} waits otherwise", user);
    }
    // The numbers add up, and are those of the rows.
    let excluded: i64 = seen.excluded.iter().map(|excluded| excluded.bucket.people).sum();
    let leaving = seen.in_way(Way::Skipped) + seen.in_way(Way::Expired);
    prop_assert_eq!(seen.people, excluded + leaving + seen.would_send());
    prop_assert_eq!(seen.audience(), engine.counts(id).values().sum::<i64>());
    let parts = |is_meant: &dyn Fn(&str) -> bool| -> i64 {
        let meant = told.values().filter(|told| is_meant(&explained(told).0));
        meant.map(|told| i64::from(told.rendered.as_ref().unwrap().parts)).sum()
    };
    prop_assert_eq!(seen.parts, parts(&|fate| fate == "sent" || fate.starts_with("deferred")));
    let sent: i64 = engine.value(&format!(
        "SELECT coalesce(sum(parts), 0) FROM messages WHERE campaign_id = {id} AND status <> 'queued'"
    ));
    prop_assert_eq!(sent, parts(&|fate| fate == "sent"), "the texts are as long as was said");
    engine.check_and_stop().await;
    Ok(())
}

#[test]
fn what_is_said_before_a_launch_is_what_the_launch_does() {
    crate::support::probe::probe();
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var("PROPTEST_CASES").is_err() {
        config.cases = CASES;
    }
    let people = prop::collection::vec(someone(), 1..=PEOPLE);
    // Any second of a week that is not near a whole minute.
    let start = (0_i64..7 * 24 * 60).prop_map(|minutes| 1_795_363_200 + minutes * 60 + 23);
    TestRunner::new(config)
        .run(&(people, wish(), start), |(people, wish, start)| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, play(people, wish, start))
        })
        .unwrap();
}
