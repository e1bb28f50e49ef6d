//! When Twilio may be asked again after a question that it did not answer: longer each time, and then one
//! question alone, until an answer comes. Questions may be repeated, so nothing is lost by waiting.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::domain::retry::{Pace, backoff};
use crate::twilio::lookup::LookupError;

/// The longest rest, in milliseconds.
const LONGEST: i64 = 60_000;

#[derive(Debug, Default)]
struct State {
    /// Rests since the last answer.
    rounds: u32,
    /// On the monotonic clock, in nanoseconds: the calendar may be set back.
    rests_until: u64,
}

/// What the last questions tell.
#[derive(Debug)]
pub(super) struct Patience {
    clock: Clock,
    state: Mutex<State>,
}

impl Patience {
    pub(super) fn new(clock: Clock) -> Patience {
        Patience { clock, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many questions may be asked now: none during a rest, one after it, else `usual`.
    pub(super) fn most(&self, usual: usize) -> usize {
        let state = self.state();
        if state.rests_until > self.clock.monotonic_nanos() {
            0
        } else if state.rounds > 0 {
            1
        } else {
            usual
        }
    }

    /// An answer came.
    pub(super) fn answered(&self) {
        *self.state() = State::default();
    }

    /// No answer came. `random` is uniform in 0…1. Several that fail together are one round.
    pub(super) fn failed(&self, error: &LookupError, random: f64) {
        let now = self.clock.monotonic_nanos();
        let mut state = self.state();
        if state.rests_until > now {
            return;
        }
        if state.rounds == 0 {
            tracing::warn!(error = %error, "what became of messages could not be looked up; trying again");
        }
        state.rounds += 1;
        let asked = match error {
            LookupError::Throttled { retry_after } => *retry_after,
            LookupError::Unavailable(_) | LookupError::Unreadable(_) | LookupError::Refused { .. } => None,
        };
        let rest = backoff(Pace::Soon, state.rounds, random, asked).min(LONGEST);
        state.rests_until = now + u64::try_from(rest).unwrap_or(0) * 1_000_000;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_asked_about_ever_less_often_and_by_one_question() {
        let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
        let patience = Patience::new(clock.clone());
        assert_eq!(patience.most(10), 10);
        let lost = LookupError::Unavailable("HTTP 503".to_owned());
        let mut asked = 0;
        for _ in 0..600 {
            clock.advance(1_000);
            for _ in 0..patience.most(10) {
                asked += 1;
                patience.failed(&lost, 1.0);
            }
        }
        assert!((10..30).contains(&asked), "{asked} questions in ten minutes of outage");
        clock.advance(60_000);
        assert_eq!(patience.most(10), 1);
        patience.answered();
        assert_eq!(patience.most(10), 10);
    }

    #[test]
    fn a_busy_twilio_is_left_alone_for_as_long_as_it_says() {
        let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
        let patience = Patience::new(clock.clone());
        patience.failed(&LookupError::Throttled { retry_after: Some(20) }, 0.0);
        clock.advance(19_999);
        assert_eq!(patience.most(10), 0);
        clock.advance(1);
        assert_eq!(patience.most(10), 1);
    }
}
