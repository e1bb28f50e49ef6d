//! No send after STOP: changes that race with the sending, at thousands of moments of chance.
//!
//! A request *begins* when `Outbox::begin` says yes, and that moment is noted while the claims are locked. A
//! change is *answered* when the server has its response, before a byte of it is on the wire. Both moments are
//! of one monotonic clock of one process, so no network blurs their order: the first has to be before the
//! second, each time. The provider's own view is checked beside it: what comes there did begin, as
//! often and no earlier. A request that began in time may arrive a moment after the answer, because it
//! is on its way then; how often and how much later is told.
//!
//! Orders are shuffled by chance at three points (before a request begins, between a commit and the
//! withdrawal, at the provider), and changes wait for a claim, a request or a second try to come about.
//! A longer run: `ESE_INTERLEAVINGS=100000 cargo test --test it interleavings -- --nocapture`.

mod bench;
mod cell;
mod dice;
mod probe;
mod provider;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};

use bench::Bench;
use cell::{Cell, Tally};
use probe::{FIRST_MESSAGE, probe};

/// Changes that race in one run, unless the environment says otherwise.
const CHANGES: usize = 3_000;
/// Cells of one bench: a file that grows makes the cells slow.
const CELLS: u64 = 250;
/// Cells at the same time.
const WORKERS: usize = 24;
/// A request that began before the answer is at the provider within this time.
const LONGEST_WAY: Duration = Duration::from_secs(2);

async fn run_bench(number: u64, threads: &Handle) -> Tally {
    let bench = Arc::new(Bench::start(FIRST_MESSAGE + number as i64 * 1_000_000, number, threads).await);
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        let (bench, next) = (Arc::clone(&bench), Arc::clone(&next));
        workers.spawn(async move {
            let mut tally = Tally::default();
            loop {
                let n = next.fetch_add(1, Ordering::SeqCst);
                if n >= CELLS {
                    return tally;
                }
                tally.add(&Cell::run(&bench, n, number * CELLS + n).await);
            }
        });
    }
    let mut whole = Tally::default();
    while let Some(tally) = workers.join_next().await {
        whole.add(&tally.unwrap());
    }
    Arc::into_inner(bench).expect("every worker is done").check_and_stop().await;
    whole
}

#[test]
fn no_request_begins_after_a_stop_a_pause_or_a_cancel_is_answered() {
    let wanted = std::env::var("ESE_INTERLEAVINGS").map_or(CHANGES, |n| n.parse().unwrap());
    probe().hold_up(1);
    let threads = |n: usize| Builder::new_multi_thread().worker_threads(n).enable_all().build().unwrap();
    let (runtime, held_up) = (threads(2), threads(16));
    let started = Instant::now();
    let mut whole = Tally::default();
    let mut number = 0;
    while whole.changes < wanted {
        whole.add(&runtime.block_on(run_bench(number, held_up.handle())));
        number += 1;
    }
    let first: Vec<&String> = whole.wrong.iter().take(5).collect();
    assert!(first.is_empty(), "{} of {} cells went wrong: {first:#?}", whole.wrong.len(), number * CELLS);
    println!("{whole:?} in {:.1} s", started.elapsed().as_secs_f64());
    assert!(whole.longest_way < LONGEST_WAY, "{whole:?}");
    // A run in which hardly anything raced would show nothing.
    let share = |part: usize| part * 100 / whole.changes;
    assert!(share(whole.withdrawn) >= 5 && share(whole.begun_before) >= 20, "{whole:?}");
    assert!(share(whole.unclaimed) >= 5 && whole.between_tries > 0, "{whole:?}");
}
