//! Business events from their coming to the phone: through the same gate and the same rows, also when the process
//! dies in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use event_stream_engine::campaign::{self, CampaignError, Intake, Taken, Trigger, Whom};
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::message::{Kind, Status};
use event_stream_engine::domain::phone::Phone;
use event_stream_engine::store::campaigns::{self, CampaignPlan};
use event_stream_engine::store::{Store, StoreError, segments, triggers};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use serde_json::json;

use crate::support::{Engine, phone, presets, rules};

fn event(id: &str, whom: Whom) -> Trigger {
    let data = json!({"id": id, "name": "Data"}).as_object().unwrap().clone();
    Trigger {
        id: id.to_owned(),
        kind: "order.paid".to_owned(),
        occurred_at: None,
        whom,
        data,
        send_at: None,
        cancels: None,
    }
}

pub(crate) fn to_person(id: &str, n: usize) -> Trigger {
    event(id, Whom::Person(Phone::parse(&phone(n), None).unwrap()))
}

fn to_everybody(id: &str) -> Trigger {
    event(id, Whom::Segment(json!({"all": []})))
}

fn cancelling(id: &str, target: &str) -> Trigger {
    Trigger { cancels: Some(target.to_owned()), ..event(id, Whom::Nobody) }
}

/// One write of a request, to its end.
pub(crate) async fn take(store: &Store, events: Vec<Trigger>) -> Vec<Taken> {
    let rules = rules();
    store
        .write::<_, _, CampaignError>(move |tx| {
            let intake = Intake { rules: &rules, is_simulated: true, actor: "key:1" };
            campaign::take(tx, &events, &intake, Instant::now() + Duration::from_secs(60))
        })
        .await
        .unwrap()
}

/// A campaign that `order.paid` starts, for people of any consent and at any hour.
pub(crate) async fn waiting_campaign(
    engine: &Engine,
    change: impl FnOnce(&mut CampaignPlan) + Send + 'static,
) -> i64 {
    let id = engine
        .draft_saying("{id} for {name}", |plan| {
            (plan.segment_id, plan.trigger_type) = (None, Some("order.paid".to_owned()));
            plan.kind = Kind::Transactional;
            change(plan);
        })
        .await;
    engine.launch(id).await;
    id
}

fn bodies(engine: &Engine) -> Vec<String> {
    engine.simulator.messages().into_iter().map(|sent| sent.body).collect()
}

async fn expand(engine: &Engine) {
    campaign::expand_all(&engine.store, &presets(), true, &AtomicBool::new(false)).await.unwrap();
}

#[tokio::test]
async fn what_an_event_says_wins_over_what_is_known_and_hours_and_consent_hold() {
    let mut engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({"name": "Ana"})).await;
    engine.add(&phone(1), Consent::Unknown, json!({})).await;
    let id = waiting_campaign(&engine, |plan| {
        plan.kind = Kind::Marketing;
        plan.quiet_hours = json!({"start": "00:00", "end": "13:00"});
    })
    .await;
    let taken = take(&engine.store, vec![to_person("e1", 0), to_person("e2", 1)]).await;
    assert_eq!(taken[0].made[0].reason, None);
    assert_eq!(taken[1].made[0].reason.as_deref(), Some("consent_unknown"));
    engine.settle().await;
    assert_eq!(engine.message_to(0), ("queued".to_owned(), "quiet_hours".to_owned(), 0));
    assert!(bodies(&engine).is_empty());
    engine.drain_after(3_600).await;
    engine.settle().await;
    assert_eq!(bodies(&engine), ["e1 for Data"]);
    assert_eq!(engine.counts(id).get("delivered"), Some(&1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_reminder_waits_for_its_time_and_passes_the_gate_then() {
    let mut engine = Engine::start().await;
    for n in 0..2 {
        engine.add(&phone(n), if n == 0 { Consent::Unknown } else { Consent::OptIn }, json!({})).await;
    }
    waiting_campaign(&engine, |plan| {
        plan.kind = Kind::Marketing;
        plan.expires_after_hours = Some(1.0);
    })
    .await;
    let send_at = Some(engine.clock.now() + 3_600_000);
    let reminder = |id: &str, n| Trigger { send_at, ..to_person(id, n) };
    let taken = take(&engine.store, vec![reminder("e1", 0), reminder("e2", 1)]).await;
    assert!(taken.iter().all(|taken| taken.made[0].reason.is_none()));
    engine.drain().await;
    assert!(bodies(&engine).is_empty());
    engine
        .change("UPDATE users SET consent = CASE id WHEN 1 THEN 'opt_in' ELSE 'opt_out' END;
                 UPDATE user_counts SET n = CASE consent WHEN 'opt_in' THEN 1 WHEN 'opt_out' THEN 1 ELSE 0 END;")
        .await;
    engine.drain_after(3_600).await;
    engine.settle().await;
    assert_eq!(bodies(&engine), ["e1 for Data"]);
    assert_eq!(engine.message_to(1).1, "opted_out");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_comes_back_after_its_event_was_taken_back_is_not_sent_again() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    waiting_campaign(&engine, |_| {}).await;
    take(&engine.store, vec![to_person("e1", 0)]).await;
    // Claimed, and its request under way: it is too late for this one, and not for the next try.
    engine
        .change(
            "UPDATE messages SET status = 'sending', attempts = 1 WHERE id = 1;
                 INSERT INTO attempts (message_id, number, sender_id, started_at) VALUES (1, 1, 1, 0);
                 UPDATE campaign_counts SET status = 'sending';",
        )
        .await;
    let taken = take(&engine.store, vec![cancelling("c1", "e1")]).await;
    assert_eq!(taken[0].taken_back, Some(0));
    assert!(taken[0].notes[0].contains("had left already, or is under way"), "{taken:?}");
    engine
        .change(
            "DELETE FROM attempts; UPDATE messages SET status = 'queued', attempts = 0;
                 UPDATE campaign_counts SET status = 'queued';",
        )
        .await;
    engine.settle().await;
    assert!(bodies(&engine).is_empty());
    assert_eq!(engine.message_to(0), ("cancelled".to_owned(), "trigger_cancelled".to_owned(), 0));
    engine.check_and_stop().await;
}

/// People enough for several chunks, added without a word.
async fn crowd(engine: &Engine, n: usize) {
    engine
        .change(&format!(
            "INSERT INTO users (phone, country, consent, attributes, created_at, updated_at)
             WITH RECURSIVE k (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n + 1 < {n})
             SELECT printf('+1212555%04d', n), 'US', 'opt_in', jsonb('{{}}'), 0, 0 FROM k;
             UPDATE user_counts SET n = n + {n} WHERE consent = 'opt_in';"
        ))
        .await;
}

/// Begins to expand and drops it once the first chunk is on disk and not the last, as a crash would.
async fn expand_a_little(engine: &Engine) -> i64 {
    let presets = presets();
    let stop = AtomicBool::new(false);
    let expanding = campaign::expand_all(&engine.store, &presets, true, &stop);
    tokio::pin!(expanding);
    loop {
        tokio::select! {
            biased;
            done = &mut expanding => panic!("it was over before it could be cut short: {done:?}"),
            _ = engine.store.write::<_, _, StoreError>(|_| Ok(())) => {}
        }
        let through: i64 = engine.value("SELECT through FROM trigger_audiences");
        if through > 0 {
            return through;
        }
    }
}

#[tokio::test]
async fn everybody_in_the_segment_gets_one_also_when_a_crash_cuts_it_short() {
    let mut engine = Engine::start().await;
    crowd(&engine, 9_000).await;
    let left_out = engine
        .store
        .write::<_, _, StoreError>(|tx| {
            segments::insert(
                tx,
                "out",
                &json!({"field": "phone", "operator": "starts_with", "value": "+12125550"}),
            )
        })
        .await
        .unwrap();
    let id = waiting_campaign(&engine, move |plan| plan.exclude_segment_ids = vec![left_out]).await;
    let taken = take(&engine.store, vec![to_everybody("e1")]).await;
    assert!(taken[0].made.is_empty() && taken[0].notes[0].contains("Everybody in the segment"), "{taken:?}");
    let through = expand_a_little(&engine).await;
    let frozen: i64 = engine.value("SELECT count(*) FROM messages");
    assert!((1..8_000).contains(&frozen) && through < 9_000, "{frozen} through {through}");
    // Who comes after the event is not meant by it.
    engine.add("+14155550123", Consent::OptIn, json!({})).await;
    engine = engine.restart().await;
    expand(&engine).await;
    expand(&engine).await;
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM messages WHERE occasion = 'e1'"), 8_000);
    assert_eq!(engine.value::<i64>("SELECT count(DISTINCT user_id) FROM messages"), 8_000);
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM trigger_audiences WHERE is_open"), 0);
    assert_eq!(engine.counts(id).get("queued"), Some(&8_000));
    // The same people once more: another event is another occasion.
    take(&engine.store, vec![to_everybody("e2"), to_everybody("e1")]).await;
    expand(&engine).await;
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM messages"), 16_001);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_segments_event_that_is_taken_back_sends_nothing_more() {
    let mut engine = Engine::start().await;
    crowd(&engine, 6_000).await;
    let id = waiting_campaign(&engine, |plan| plan.rate_limit_per_second = Some(10.0)).await;
    take(&engine.store, vec![to_everybody("e1"), to_person("other", 0)]).await;
    expand_a_little(&engine).await;
    for _ in 0..20 {
        engine.dispatcher.tick().await.unwrap();
        engine.dispatcher.settle().await;
        engine.clock.advance(100);
    }
    let sent = bodies(&engine).len();
    assert!(sent > 3, "nothing was sent, so nothing is shown");
    take(&engine.store, vec![cancelling("c1", "e1")]).await;
    // Before anything is swept, nothing of it is claimed any more.
    engine.clock.advance(2_000);
    for _ in 0..20 {
        engine.dispatcher.tick().await.unwrap();
        engine.dispatcher.settle().await;
        engine.clock.advance(100);
    }
    let after: BTreeSet<String> = bodies(&engine).into_iter().skip(sent).collect();
    assert!(after.iter().all(|body| body.starts_with("other")), "{after:?}");
    engine = engine.restart().await;
    expand(&engine).await;
    engine.settle().await;
    let open: i64 = engine.value("SELECT count(*) FROM messages WHERE status IN ('queued', 'sending')");
    assert_eq!((open, engine.value::<i64>("SELECT count(*) FROM trigger_audiences WHERE is_open")), (0, 0));
    let reasons = engine.reasons(id);
    assert!(reasons["cancelled:trigger_cancelled"] > 1_000, "{reasons:?}");
    assert_eq!(engine.events("trigger.cancelled"), 1);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_segment_beyond_max_recipients_is_refused_with_an_event() {
    let mut engine = Engine::start().await;
    engine.add_many(3).await;
    waiting_campaign(&engine, |plan| plan.max_recipients = Some(2)).await;
    let two = event(
        "two",
        Whom::Segment(json!({"field": "phone", "operator": "in", "value": [phone(0), phone(1)]})),
    );
    take(&engine.store, vec![to_everybody("three"), two]).await;
    expand(&engine).await;
    engine.settle().await;
    assert_eq!(bodies(&engine), ["two for Data", "two for Data"]);
    let why: String = engine.value("SELECT data ->> '$.reason' FROM events WHERE type = 'trigger.refused'");
    assert!(why.contains("max_recipients"), "{why}");
    engine.check_and_stop().await;
}

/// People and ids of the random sequences: few, so that they meet.
const PEOPLE: usize = 3;
const IDS: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    /// Events in one write. The request may have died after some of them.
    Take(Vec<Draw>),
    /// The dispatcher works for a while.
    Send,
    /// People of segments become messages.
    Expand,
    /// Time passes.
    Wait,
    /// The process dies and starts again.
    Crash,
}

#[derive(Clone, Debug)]
struct Draw {
    id: usize,
    /// `None`: everybody.
    person: Option<usize>,
    is_later: bool,
    cancels: Option<usize>,
    only_cancels: bool,
}

impl Draw {
    fn event(&self, now: i64) -> Trigger {
        let id = format!("e{}", self.id);
        let cancels = self.cancels.filter(|target| *target != self.id).map(|target| format!("e{target}"));
        let only_cancels = self.only_cancels && cancels.is_some();
        let base = match self.person {
            _ if only_cancels => event(&id, Whom::Nobody),
            Some(n) => to_person(&id, n),
            None => to_everybody(&id),
        };
        Trigger { send_at: self.is_later.then_some(now + 60_000), cancels, ..base }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let draw = (
        0..IDS,
        prop::option::weighted(0.8, 0..PEOPLE),
        any::<bool>(),
        prop::option::of(0..IDS),
        any::<bool>(),
    )
        .prop_map(|(id, person, is_later, cancels, only_cancels)| Draw {
            id,
            person,
            is_later,
            cancels,
            only_cancels,
        });
    let step = prop_oneof![
        6 => prop::collection::vec(draw, 1..5).prop_map(Step::Take),
        3 => Just(Step::Send),
        2 => Just(Step::Expand),
        1 => Just(Step::Wait),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 3..14)
}

/// What was told to the caller.
#[derive(Default)]
struct Told {
    /// Who gets something, by event.
    accepted: BTreeMap<String, BTreeSet<usize>>,
    /// How many had gone out of an event when its cancel was answered.
    cancelled: BTreeMap<String, usize>,
}

impl Told {
    fn hear(&mut self, events: &[Trigger], taken: &[Taken], sent: &[String]) {
        for (event, taken) in events.iter().zip(taken) {
            if taken.is_duplicate {
                assert!(self.accepted.contains_key(&event.id), "{} never came before", event.id);
                continue;
            }
            let people = match &event.whom {
                Whom::Nobody => BTreeSet::new(),
                Whom::Segment(_) => (0..PEOPLE).collect(),
                Whom::Person(to) => (0..PEOPLE).filter(|n| phone(*n) == to.as_str()).collect(),
            };
            assert!(self.accepted.insert(event.id.clone(), people).is_none(), "{} came before", event.id);
            if let Some(target) = &event.cancels {
                let gone = sent.iter().filter(|body| body.starts_with(&format!("{target} "))).count();
                self.cancelled.entry(target.clone()).or_insert(gone);
            }
        }
    }
}

async fn play(steps: &[Step]) {
    let mut engine = Engine::start().await;
    engine.add_many(PEOPLE).await;
    let id = waiting_campaign(&engine, |_| {}).await;
    let mut told = Told::default();
    for step in steps {
        match step {
            Step::Take(draws) => {
                let events: Vec<Trigger> = draws.iter().map(|draw| draw.event(engine.clock.now())).collect();
                let taken = take(&engine.store, events.clone()).await;
                told.hear(&events, &taken, &bodies(&engine));
            }
            Step::Send => {
                engine.dispatcher.tick().await.unwrap();
                engine.dispatcher.settle().await;
                engine.clock.advance(1_000);
            }
            Step::Expand => expand(&engine).await,
            Step::Wait => engine.clock.advance(30_000),
            Step::Crash => engine = engine.restart().await,
        }
    }
    expand(&engine).await;
    engine.drain_after(61).await;
    engine.settle().await;
    let mut sent: BTreeMap<(String, String), usize> = BTreeMap::new();
    for message in engine.simulator.messages() {
        let id = message.body.split(' ').next().unwrap().to_owned();
        *sent.entry((id, message.to)).or_default() += 1;
    }
    assert!(sent.values().all(|n| *n == 1), "somebody got something twice: {sent:?}");
    for (event, people) in &told.accepted {
        let got: BTreeSet<usize> =
            people.iter().copied().filter(|n| sent.contains_key(&(event.clone(), phone(*n)))).collect();
        match told.cancelled.get(event) {
            None => assert_eq!(&got, people, "{event}"),
            Some(before) => assert_eq!(got.len(), *before, "{event} went on after it was taken back"),
        }
    }
    assert!(sent.keys().all(|(id, _)| told.accepted.contains_key(id)));
    let rows: i64 = engine.value(&format!("SELECT count(*) FROM messages WHERE campaign_id = {id}"));
    let distinct: i64 =
        engine.value("SELECT count(*) FROM (SELECT DISTINCT campaign_id, user_id, occasion FROM messages)");
    assert_eq!(rows, distinct);
    engine.check_and_stop().await;
}

/// Nothing is told twice and nothing is lost, whatever comes in whatever order, and what was taken back stays
/// back. Long: `PROPTEST_CASES=500 cargo test --test it triggers::any_sequence`.
#[test]
fn any_sequence_of_events_cancels_and_crashes_keeps_every_promise() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(16);
    let mut runner =
        TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runner
        .run(&steps(), |steps| {
            let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                tokio::task::LocalSet::new().block_on(&runtime, play(&steps));
            }));
            played.map_err(|panic| {
                let why = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned());
                TestCaseError::fail(why)
            })
        })
        .unwrap();
}

#[tokio::test]
async fn a_campaign_that_stands_still_queues_whom_it_could_not_reach_now() {
    let mut engine = Engine::start().await;
    engine.add(&phone(0), Consent::Unknown, json!({})).await;
    let id = waiting_campaign(&engine, |plan| plan.kind = Kind::Marketing).await;
    engine.store.write(move |tx| campaigns::pause(tx, id, "its template is paused")).await.unwrap();
    let taken = take(&engine.store, vec![to_person("e1", 0)]).await;
    assert_eq!(taken[0].made[0].status, Status::Queued, "{taken:?}");
    engine
        .change(
            "UPDATE users SET consent = 'opt_in';
             UPDATE user_counts SET n = CASE consent WHEN 'opt_in' THEN 1 ELSE 0 END;
             INSERT OR IGNORE INTO user_counts (consent, n) VALUES ('opt_in', 1);",
        )
        .await;
    let setup = engine.setup.clone();
    engine.store.write(move |tx| campaign::resume(tx, id, &setup, "test")).await.unwrap();
    engine.settle().await;
    assert_eq!(bodies(&engine), ["e1 for Data"]);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_id_that_resembles_a_test_send_counts_as_any_other() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    let id = waiting_campaign(&engine, |_| {}).await;
    // The border refuses it; a row that is there all the same is counted the same everywhere.
    take(&engine.store, vec![to_person("Test:1", 0)]).await;
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn who_comes_after_the_event_does_not_count_for_max_recipients() {
    let mut engine = Engine::start().await;
    engine.add_many(2).await;
    waiting_campaign(&engine, |plan| plan.max_recipients = Some(2)).await;
    take(&engine.store, vec![to_everybody("e1")]).await;
    engine.add("+14155550199", Consent::OptIn, json!({})).await;
    expand(&engine).await;
    engine.settle().await;
    assert_eq!(bodies(&engine).len(), 2);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_audience_that_cant_be_counted_in_time_holds_up_no_other() {
    let engine = Engine::start().await;
    engine.add_many(1).await;
    let waiting = waiting_campaign(&engine, |plan| plan.max_recipients = Some(5)).await;
    // A person with so long a history that a hundred questions about it take longer than a read may.
    engine
        .change(
            "INSERT INTO messages (user_id, kind, channel, lane, due_at, created_at, status)
             WITH RECURSIVE k (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n + 1 < 150000)
             SELECT 1, 'marketing', 'sms', -2, 0, 0, 'skipped' FROM k;",
        )
        .await;
    let asked = json!({"any": vec![json!({"engagement": "sent"}); 100]});
    let slow = event("a-slow", Whom::Segment(asked));
    take(&engine.store, vec![slow, to_everybody("b-quick")]).await;
    let outcome = campaign::expand_all(&engine.store, &presets(), true, &AtomicBool::new(false)).await;
    assert!(matches!(outcome, Err(CampaignError::Store(StoreError::TooSlow(_)))), "{outcome:?}");
    let made: i64 = engine.value(&format!("SELECT count(*) FROM messages WHERE campaign_id = {waiting}"));
    assert_eq!(made, 1, "the quick one was not held up");
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM trigger_audiences WHERE is_open"), 1);
}

#[tokio::test]
async fn a_stop_ends_the_work_on_a_segment_between_two_chunks() {
    let engine = Engine::start().await;
    crowd(&engine, 3_000).await;
    waiting_campaign(&engine, |_| {}).await;
    take(&engine.store, vec![to_everybody("e1")]).await;
    campaign::expand_all(&engine.store, &presets(), true, &AtomicBool::new(true)).await.unwrap();
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM messages"), 0);
    expand(&engine).await;
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM messages"), 3_000);
}

/// Nobody in a long stretch of ids is meant, and everybody behind it.
const SPARSE: usize = 45_000;
const DENSE: usize = 12_000;

/// Notes after each chunk how many messages there are in this state.
async fn watch_chunks(engine: &Engine, table: &str, column: &str, status: &str) {
    engine
        .change(&format!(
            "CREATE TABLE IF NOT EXISTS chunks (n INTEGER);
             DELETE FROM chunks;
             INSERT INTO chunks VALUES (0);
             DROP TRIGGER IF EXISTS watch;
             CREATE TRIGGER watch AFTER UPDATE OF {column} ON {table} BEGIN
               INSERT INTO chunks SELECT count(*) FROM messages WHERE status = '{status}'; END;"
        ))
        .await;
}

/// Each chunk writes few rows at first, and then no more than its time allows.
fn check_chunks(engine: &Engine, what: &str) {
    let first: i64 = engine.value("SELECT min(n) FROM chunks WHERE n > 0");
    let all: i64 = engine.value("SELECT max(n) FROM chunks");
    assert!(first <= 2_000, "{what}: the first chunk of the dense stretch wrote {first} rows at once");
    assert_eq!(all, DENSE as i64, "{what}");
}

#[tokio::test]
async fn a_sparse_stretch_leads_to_no_large_write_in_the_dense_one_behind_it() {
    let engine = Engine::start().await;
    crowd(&engine, SPARSE + DENSE).await;
    engine
        .change(&format!("UPDATE users SET country = CASE WHEN id <= {SPARSE} THEN 'CA' ELSE 'US' END"))
        .await;
    let american = json!({"field": "country", "operator": "equals", "value": "US"});
    waiting_campaign(&engine, |_| {}).await;
    watch_chunks(&engine, "trigger_audiences", "through", "queued").await;
    take(&engine.store, vec![event("e1", Whom::Segment(american.clone()))]).await;
    expand(&engine).await;
    check_chunks(&engine, "an event's segment");
    watch_chunks(&engine, "trigger_audiences", "through", "cancelled").await;
    take(&engine.store, vec![cancelling("c1", "e1")]).await;
    expand(&engine).await;
    check_chunks(&engine, "a sweep");
    let segment = engine
        .store
        .write::<_, _, StoreError>(move |tx| segments::insert(tx, "american", &american))
        .await
        .unwrap();
    let id = engine.draft(move |plan| plan.segment_id = Some(segment)).await;
    watch_chunks(&engine, "campaigns", "frozen_through", "queued").await;
    engine.launch(id).await;
    campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
    check_chunks(&engine, "a launch");
    engine.change("DROP TRIGGER watch; DROP TABLE chunks;").await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn people_who_were_met_before_hide_nobody_behind_them() {
    let engine = Engine::start().await;
    crowd(&engine, 5_000).await;
    waiting_campaign(&engine, |_| {}).await;
    take(&engine.store, vec![to_everybody("e1")]).await;
    expand(&engine).await;
    engine
        .change(
            "DELETE FROM messages WHERE user_id > 4990; UPDATE campaign_counts SET n = 4990;
             UPDATE trigger_audiences SET through = 0, is_open = 1;",
        )
        .await;
    expand(&engine).await;
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM messages"), 5_000);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_audience_read_before_its_event_was_taken_back_is_not_closed() {
    let engine = Engine::start().await;
    crowd(&engine, 6_000).await;
    let id = waiting_campaign(&engine, |_| {}).await;
    take(&engine.store, vec![to_everybody("e1")]).await;
    expand_a_little(&engine).await;
    let before =
        engine.store.read(move |conn| triggers::open_audience(conn, id, "e1")).await.unwrap().unwrap();
    take(&engine.store, vec![cancelling("c1", "e1")]).await;
    engine.store.write(move |tx| triggers::close_audience(tx, &before)).await.unwrap();
    expand(&engine).await;
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM messages WHERE status = 'queued'"), 0);
    engine.check_and_stop().await;
}
