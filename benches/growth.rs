//! What one message costs as the file grows: from queued to delivered (claim, gate, hand-over, acceptance, two
//! callbacks), and from the webhook of a person's message to its row, in files that hold 10,000 messages and
//! ten, a hundred and, with `--ten-million`, a thousand times as many.
//!
//! The files take turns round by round, and each round is compared with the smallest file's of the same round.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::path::PathBuf;
use std::time::Instant;

use event_stream_engine::campaign;
use event_stream_engine::clock::Clock;
use event_stream_engine::store::campaigns::{self, CampaignPlan};
use event_stream_engine::store::{Store, StoreError, segments};
use serde_json::json;
use support::history::{self, COHORT, cohorts_of, people_of};
use support::load::{self, Plan, Until};
use support::provider::{Provider, was_provider};
use support::sending::{self, Running, until};
use support::table::Bench;
use support::webhooks::{self, inbound_request_as};
use support::{clock, folder, people, runtime, series};

const DELIVERED: &str = "SELECT coalesce(sum(n), 0) FROM campaign_counts
                         WHERE status = 'delivered' AND campaign_id = (SELECT max(id) FROM campaigns)";
/// Of the messages out in one round, those that are waited for: a callback may get lost on a busy machine.
const MOST: u64 = COHORT * 95 / 100;
/// Messages from people in one round.
const INBOUND: u64 = 4_000;

/// A file of one size.
struct Subject {
    messages: u64,
    store: Store,
    _folder: Option<tempfile::TempDir>,
}

/// Microseconds of a message: by the clock on the wall, and of processor time of this process.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

fn main() {
    if was_provider() {
        return;
    }
    let mut bench = Bench::start("growth");
    let mut sizes = vec![10_000, 100_000];
    if !bench.is_quick {
        sizes.push(1_000_000);
    }
    if std::env::args().any(|argument| argument == "--ten-million") {
        sizes.push(10_000_000);
    }
    let rounds = if bench.is_quick { 3 } else { 5 };
    runtime().block_on(async {
        let clock = clock();
        let mut subjects = Vec::new();
        for messages in sizes {
            subjects.push(subject(&mut bench, messages, &clock).await);
        }
        let provider = Provider::start(0, true);
        let mut costs = vec![Vec::new(); subjects.len()];
        for round in 0..rounds {
            for (at, subject) in subjects.iter().enumerate() {
                let out = dispatch(subject, round, &provider).await;
                let inbound = receive(subject).await;
                costs[at].push((out, inbound));
            }
        }
        report(&mut bench, &subjects, &costs);
    });
    bench.note(format!(
        "{rounds} rounds, {COHORT} messages out and {INBOUND} in each; people spread over the whole table, random SIDs; medians"
    ));
    bench.note("the ratio is the median of the rounds' own ratios to the file of 10,000 messages");
    bench.finish();
}

async fn subject(bench: &mut Bench, messages: u64, clock: &Clock) -> Subject {
    let (path, folder) = place(messages);
    if !path.join("made").exists() {
        let seconds = history::make(&path, clock, messages).await;
        std::fs::write(path.join("made"), "").unwrap();
        bench.note(format!("the file of {messages} messages was made in {seconds:.0} s"));
    }
    Subject { messages, store: support::open_at(&path, clock).await, _folder: folder }
}

/// The large file is made once for each schema and kept; the others are made anew.
fn place(messages: u64) -> (PathBuf, Option<tempfile::TempDir>) {
    if messages < 10_000_000 {
        let folder = folder();
        return (folder.path().to_owned(), Some(folder));
    }
    let schema = include_str!("../schema.sql").bytes();
    let mark = schema.fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let path = support::results().join(format!("file-{messages}-{mark:016x}"));
    std::fs::create_dir_all(&path).unwrap();
    (path, None)
}

/// A campaign to one cohort, from its launch until all callbacks are in; freezing is not counted.
async fn dispatch(subject: &Subject, round: u64, provider: &Provider) -> Cost {
    let store = &subject.store;
    let cohort = round % cohorts_of(subject.messages);
    let name = format!("cohort {cohort} {}", rand::random::<u32>());
    let draft = store.write::<_, _, StoreError>(move |tx| {
        let definition = json!({"all": [{"attribute": "cohort", "operator": "equals", "value": cohort}]});
        let segment_id = segments::insert(tx, &name, &definition)?;
        let plan = CampaignPlan {
            topic_id: Some(1),
            expires_after_hours: Some(24.0),
            ..CampaignPlan::new("Now", segment_id, 1)
        };
        campaigns::insert(tx, &plan)
    });
    let id = draft.await.unwrap();
    people::launch(store, id).await;
    campaign::freeze_all(store, &people::presets(), true).await.unwrap();
    let server = webhooks::product(store);
    let (start, before) = (Instant::now(), processor());
    let running = Running::start(sending::dispatcher(store, provider, &server.base_url()));
    until(&store.paths().path, DELIVERED, MOST as i64).await;
    let cost = cost(start, before, MOST);
    running.stop().await;
    server.stop().await;
    cost
}

/// Messages from people all over the table.
async fn receive(subject: &Subject) -> Cost {
    let server = webhooks::product(&subject.store);
    let (address, people) = (server.address, people_of(subject.messages));
    let (start, before) = (Instant::now(), processor());
    let outcome = load::run(Plan {
        address,
        connections: 32,
        until: Until::Count(INBOUND),
        pause: std::time::Duration::ZERO,
        request: Box::new(move |n| {
            let sid = format!("SM{:032x}", rand::random::<u128>());
            inbound_request_as(address, n, &sid, rand::random::<u64>() % people)
        }),
    })
    .await;
    assert_eq!((outcome.answered, outcome.refused), (INBOUND, 0));
    let cost = cost(start, before, INBOUND);
    server.stop().await;
    cost
}

fn cost(start: Instant, before: f64, n: u64) -> Cost {
    let each = 1e6 / n as f64;
    Cost { wall: start.elapsed().as_secs_f64() * each, cpu: (processor() - before) * each }
}

/// Seconds of processor time that this process has used, to a hundredth.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

type Pick = fn(&(Cost, Cost)) -> f64;

fn report(bench: &mut Bench, subjects: &[Subject], costs: &[Vec<(Cost, Cost)>]) {
    let picks: [(&str, Pick); 4] = [
        ("queued to delivered", |(out, _)| out.wall),
        ("queued to delivered, processor", |(out, _)| out.cpu),
        ("message from a person", |(_, inbound)| inbound.wall),
        ("message from a person, processor", |(_, inbound)| inbound.cpu),
    ];
    for (what, pick) in picks {
        let mut points = Vec::new();
        for (at, subject) in subjects.iter().enumerate() {
            let figure = median(costs[at].iter().map(pick).collect());
            let ratio =
                median(costs[at].iter().zip(&costs[0]).map(|(own, first)| pick(own) / pick(first)).collect());
            points.push((subject.messages as f64, ratio));
            let line = bench.line(format!("{what}, {} in the file", subject.messages), figure, "µs");
            if at > 0 {
                line.against(figure / ratio, "≤ 1.30");
            }
        }
        series::keep("growth", what, &points);
    }
}
