//! Whether Twilio can be reached: a rest after it was too busy, out of reach or lost its answers, and one
//! request at a time after the rest, until an answer shows that it is well again.
//!
//! Without it an outage would turn a whole queue into messages whose fate nobody knows.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::retry::{Pace, backoff};
use crate::twilio::client::SendOutcome;

/// Answers lost in a row before there is a rest: one alone is bad luck.
const LOST_IN_A_ROW: u32 = 3;
/// The longest rest after Twilio said that it was too busy, in milliseconds.
const BUSY_REST: i64 = 5_000;
/// The longest rest while it is out of reach, in milliseconds.
const OUTAGE_REST: i64 = 60_000;

#[derive(Debug, Default)]
struct State {
    /// Lost answers since the last good one.
    lost: u32,
    /// Rests since the last good answer.
    rounds: u32,
    /// On the monotonic clock, in nanoseconds: the calendar may be set back.
    rests_until: u64,
}

/// What the last answers tell.
#[derive(Debug)]
pub(super) struct Reach {
    clock: Clock,
    state: Mutex<State>,
}

impl Reach {
    pub(super) fn new(clock: Clock) -> Reach {
        Reach { clock, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long nothing should be sent.
    pub(super) fn rest(&self) -> Option<Duration> {
        let until = self.state().rests_until;
        let rest = until.saturating_sub(self.clock.monotonic_nanos());
        (rest > 0).then(|| Duration::from_nanos(rest))
    }

    /// How many requests may be under way: one, to find out, after a rest.
    pub(super) fn most_in_flight(&self, usual: usize) -> usize {
        if self.state().rounds > 0 { 1 } else { usual }
    }

    /// Learns from an answer. `random` is uniform in 0…1.
    pub(super) fn note(&self, outcome: &SendOutcome, random: f64) {
        let now = self.clock.monotonic_nanos();
        let mut state = self.state();
        let (longest, retry_after) = match outcome {
            SendOutcome::Accepted(_) | SendOutcome::Refused { .. } => {
                state.lost = 0;
                state.rounds = 0;
                return;
            }
            SendOutcome::Throttled { retry_after, .. } => (BUSY_REST, *retry_after),
            SendOutcome::NotSent { .. } => (OUTAGE_REST, None),
            SendOutcome::Uncertain { .. } => {
                state.lost += 1;
                if state.lost < LOST_IN_A_ROW && state.rounds == 0 {
                    return;
                }
                (OUTAGE_REST, None)
            }
        };
        // Many in flight fail together: that is one round.
        if now < state.rests_until {
            return;
        }
        state.rounds += 1;
        let asked = i64::try_from(retry_after.unwrap_or(0)).unwrap_or(0).saturating_mul(1_000);
        let rest = backoff(Pace::Soon, state.rounds, random, None).min(longest).max(asked.min(OUTAGE_REST));
        state.rests_until = now + u64::try_from(rest).unwrap_or(0) * 1_000_000;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> SendOutcome {
        SendOutcome::Uncertain { http_status: Some(503), why: String::new() }
    }

    fn refused() -> SendOutcome {
        SendOutcome::Refused { http_status: 400, code: 21211, message: String::new() }
    }

    #[test]
    fn an_outage_costs_a_few_messages_and_then_one_at_a_time() {
        let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
        let reach = Reach::new(clock.clone());
        let (mut sent, mut rested) = (0, 0);
        for _ in 0..600 {
            clock.advance(1_000);
            if reach.rest().is_some() {
                rested += 1;
                continue;
            }
            for _ in 0..reach.most_in_flight(80) {
                sent += 1;
                reach.note(&lost(), 1.0);
            }
        }
        assert!(sent < 80 + 30 && rested > 500, "{sent} sent in ten minutes of outage, {rested} s rested");
        clock.advance(60_000);
        reach.note(&refused(), 1.0);
        assert_eq!((reach.rest(), reach.most_in_flight(80)), (None, 80));
    }

    #[test]
    fn one_lost_answer_is_no_outage_and_a_busy_twilio_is_asked_again_soon() {
        let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
        let reach = Reach::new(clock.clone());
        reach.note(&lost(), 1.0);
        assert_eq!(reach.rest(), None);
        reach.note(&SendOutcome::Throttled { code: 20429, retry_after: None }, 1.0);
        assert_eq!(reach.rest(), Some(Duration::from_secs(1)));
        clock.set("2026-11-23T09:00:01Z".parse().unwrap());
        assert_eq!(reach.rest(), None);
    }
}
