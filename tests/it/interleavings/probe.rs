//! What listens inside the process: notes the moment at which each request begins, and holds threads up for
//! a random moment at the points where the order matters.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// Messages of the tests that listen have ids above this, so that no other test's requests are noted.
pub(super) const FIRST_MESSAGE: i64 = 1_000_000_000;

/// What is known of one message from inside.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// How often its request was about to begin.
    pub(super) approached: usize,
    /// When its requests began.
    pub(super) begun: Vec<Instant>,
}

/// The listener of the test binary.
pub(super) struct Probe {
    seen: Mutex<HashMap<i64, Seen>>,
    /// Wakes whoever waits for a step.
    pub(super) steps: Notify,
    /// Seed of the holding up, counted on at each point; 0: nobody is held up.
    chance: AtomicU64,
    /// Withdrawals so far, and who waits for the next.
    withdrawals: Mutex<u64>,
    withdrawal: Condvar,
}

static PROBE: OnceLock<Probe> = OnceLock::new();

/// The probe, listening from the first call on.
pub(super) fn probe() -> &'static Probe {
    PROBE.get_or_init(|| {
        tracing::subscriber::set_global_default(Ear).expect("no other test listens to the whole process");
        Probe {
            seen: Mutex::default(),
            steps: Notify::new(),
            chance: AtomicU64::new(0),
            withdrawals: Mutex::default(),
            withdrawal: Condvar::new(),
        }
    })
}

impl Probe {
    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on threads are held up by chance.
    pub(super) fn hold_up(&self, seed: u64) {
        self.chance.store(seed | 1, Ordering::SeqCst);
    }

    /// What is known of a message.
    pub(super) fn seen(&self, message: i64) -> Seen {
        self.lock().get(&message).cloned().unwrap_or_default()
    }

    /// Whether a request of one of these messages was about to begin.
    pub(super) fn has_approached(&self, messages: &[i64]) -> bool {
        let seen = self.lock();
        messages.iter().any(|id| seen.get(id).is_some_and(|seen| seen.approached > 0))
    }

    /// Now and then not at all, else for a moment, or until the third withdrawal from now: then it is a race.
    fn hold_up_request(&self) {
        match self.draw() {
            Some(drawn) if drawn % 8 == 0 => std::thread::sleep(Duration::from_micros(drawn / 8 % 2_000)),
            Some(drawn) if drawn % 8 < 6 => {
                let seen = self.withdrawals.lock().unwrap_or_else(PoisonError::into_inner);
                let enough = *seen + 1 + drawn / 8 % 3;
                let limit = Duration::from_millis(10);
                let _ = self.withdrawal.wait_timeout_while(seen, limit, |now| *now < enough);
            }
            _ => {}
        }
    }

    fn hold_up_writer(&self) {
        *self.withdrawals.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.withdrawal.notify_all();
        match self.draw() {
            Some(drawn) if drawn % 4 == 0 => std::thread::sleep(Duration::from_micros(drawn / 4 % 1_000)),
            Some(drawn) if drawn % 4 == 1 => std::thread::yield_now(),
            _ => {}
        }
    }

    fn draw(&self) -> Option<u64> {
        let is_active = self.chance.load(Ordering::Relaxed) != 0;
        is_active.then(|| scramble(self.chance.fetch_add(2, Ordering::Relaxed)))
    }

    fn note(&self, event: &str, message: i64) {
        match event {
            "a request may begin" if message >= FIRST_MESSAGE => {
                self.lock().entry(message).or_default().approached += 1;
                self.steps.notify_waiters();
                self.hold_up_request();
            }
            // Under the lock of the claims: noted, and nothing else.
            "a request begins" if message >= FIRST_MESSAGE => {
                let now = Instant::now();
                self.lock().entry(message).or_default().begun.push(now);
            }
            "claims are withdrawn" => self.hold_up_writer(),
            _ => {}
        }
    }
}

/// SplitMix64: a number that looks like none of its neighbours.
pub(super) fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Hears the three steps and nothing else, so that other tests pay nothing for it.
struct Ear;

impl Subscriber for Ear {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        const HEARD: [&str; 2] = ["event_stream_engine::delivery::outbox", "event_stream_engine::store"];
        metadata.is_event() && *metadata.level() == Level::TRACE && HEARD.contains(&metadata.target())
    }

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        if let Some(probe) = PROBE.get() {
            probe.note(&words.message, words.id);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Words {
    message: String,
    id: i64,
}

impl Visit for Words {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "message.id" {
            self.id = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}
