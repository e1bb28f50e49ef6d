//! The one source of time. Production reads the system's clock; a test moves its own by hand.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use governor::nanos::Nanos;
use jiff::Timestamp;

/// An instant as tables keep it: milliseconds since 1970, UTC.
pub type Millis = i64;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Tells the time. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that stands still at `start` until [`Clock::advance`] or [`Clock::set`] moves it.
    pub fn manual(start: Timestamp) -> Clock {
        Clock(Source::Manual(Arc::new(AtomicI64::new(start.as_millisecond()))))
    }

    /// Milliseconds since 1970, UTC.
    pub fn now(&self) -> Millis {
        match &self.0 {
            Source::System => Timestamp::now().as_millisecond(),
            Source::Manual(millis) => millis.load(Ordering::SeqCst),
        }
    }

    /// Nanoseconds that only ever grow, from an arbitrary start: for measuring paces, not for dates.
    pub fn monotonic_nanos(&self) -> u64 {
        match &self.0 {
            Source::System => u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Source::Manual(millis) => {
                u64::try_from(millis.load(Ordering::SeqCst)).unwrap_or(0).saturating_mul(1_000_000)
            }
        }
    }

    /// Moves a manual clock forward (or back, with a negative number) by `millis`.
    /// Does nothing to the system's clock.
    pub fn advance(&self, millis: Millis) {
        if let Source::Manual(at) = &self.0 {
            at.fetch_add(millis, Ordering::SeqCst);
        }
    }

    /// Sets a manual clock to `to`. Does nothing to the system's clock.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual(at) = &self.0 {
            at.store(to.as_millisecond(), Ordering::SeqCst);
        }
    }
}

/// The clock in governor's terms, so that tests move its limiters by hand too.
impl governor::clock::Clock for Clock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.monotonic_nanos())
    }
}
