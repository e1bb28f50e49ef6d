//! How fast: permits at a steady pace, one for each SMS part.
//!
//! The pace is governor's (GCRA); over it lies a look back over the last second. A bucket alone has to choose:
//! a small one loses what a timer that fires late should have taken, a large one lets a crowd through at once.
//! With the look back it may be large while work waits, because no second gets more than the limit and 1 %;
//! while none waits it is small, so an idle queue saves nothing up.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Reference;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

/// A hair under the limit: what leaves in one second may arrive in a shorter one.
const MARGIN: f64 = 0.995;
/// Permits that may gather while nobody waits for any, as a share of a second's …
const BURST: f64 = 0.01;
/// … but at least this many.
const LEAST_BURST: f64 = 2.0;
/// Below this pace two at once would show: one permit alone.
const SLOW: f64 = 1.0;
/// What a timer that fires late is owed, at most, in seconds.
const LATENESS: f64 = 0.5;
/// The span that the limit is about.
const SECOND: u64 = 1_000_000_000;
/// Grants are remembered by slots of this many nanoseconds, and held to be as late as their slot may be.
const SLOT: u64 = 1_000_000;

/// Gives permits at a rate. It starts empty, as after every change and every restart.
#[derive(Debug)]
pub struct Limiter {
    /// Lets a cell through each time that a permit is due, and keeps as many as a late timer is owed.
    cells: RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Nanos>>,
    /// How many cells may gather.
    capacity: u32,
    clock: Clock,
    rate: f64,
    /// Permits that any second may get.
    most: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Permits that are there; below zero when long messages took more than there were.
    purse: f64,
    /// Somebody went away with less than was asked for: what comes late is owed.
    is_wanted: bool,
    /// Grants of the last second: when and how many.
    recent: VecDeque<(u64, f64)>,
    /// Their sum.
    sum: f64,
    granted: u64,
}

impl Limiter {
    /// `rate` permits a second, decimals too.
    pub fn per_second(rate: f64, clock: &Clock) -> Limiter {
        let rate = rate.clamp(0.000_1, 1_000_000.0);
        let capacity = f64::max(burst(rate), rate * LATENESS).ceil() as u32;
        let kept = NonZeroU32::new(capacity).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_secs_f64(1.0 / (rate * MARGIN)))
            .expect("a clamped rate has a period of more than nothing")
            .allow_burst(kept);
        let cells = RateLimiter::direct_with_clock(quota, clock.clone());
        // What could be had at once is taken here.
        let _ = cells.check_n(kept);
        let state = State { purse: 0.0, is_wanted: false, recent: VecDeque::new(), sum: 0.0, granted: 0 };
        let most = (rate + f64::max(1.0, rate * BURST)).floor();
        Limiter { cells, capacity, clock: clock.clone(), rate, most, state: Mutex::new(state) }
    }

    /// The rate as it was asked for.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Permits granted since the start and not given back.
    pub fn granted(&self) -> u64 {
        self.state().granted
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state as of now: filled, and without what is older than a second.
    fn filled(&self) -> (MutexGuard<'_, State>, u64) {
        let now = self.clock.monotonic_nanos();
        let mut state = self.state();
        let room = if state.is_wanted { f64::from(self.capacity) } else { burst(self.rate) };
        state.purse = (state.purse + f64::from(self.drawn())).min(room);
        while let Some((_, permits)) = state.recent.front().copied().filter(|(at, _)| at + SECOND <= now) {
            state.recent.pop_front();
            state.sum -= permits;
        }
        if state.recent.is_empty() {
            state.sum = 0.0;
        }
        (state, now)
    }

    /// Takes every cell that is there, in a few steps of halves.
    fn drawn(&self) -> u32 {
        let mut drawn = 0;
        let mut step = NonZeroU32::new(self.capacity.next_power_of_two());
        while let Some(size) = step {
            if matches!(self.cells.check_n(size), Ok(Ok(()))) {
                drawn += size.get();
            }
            step = NonZeroU32::new(size.get() / 2);
        }
        drawn
    }

    /// Takes up to `most` permits and says how many there were.
    pub fn take(&self, most: u32) -> u32 {
        let (mut state, now) = self.filled();
        // A rounding error of many small sums must not cost a permit.
        let there = f64::min(state.purse, self.most - state.sum) + 1e-9;
        let granted = there.floor().clamp(0.0, f64::from(most));
        state.is_wanted = granted < f64::from(most);
        if granted > 0.0 {
            state.book(now, granted);
        }
        granted as u32
    }

    /// Returns permits that were not used.
    pub fn give_back(&self, permits: u32) {
        if permits > 0 {
            let (mut state, _) = self.filled();
            state.unbook(f64::from(permits));
        }
    }

    /// Nobody waits for permits any more: what comes until somebody does is not owed.
    pub fn rest(&self) {
        self.state().is_wanted = false;
    }

    /// Takes permits that later ones pay for: the parts of a message that went beyond what was there.
    pub fn charge(&self, permits: u32) {
        if permits > 0 {
            let (mut state, now) = self.filled();
            state.book(now, f64::from(permits));
        }
    }

    /// How long until there is a permit again.
    pub fn wait(&self) -> Duration {
        let (mut state, now) = self.filled();
        let purse = if state.purse + 1e-9 >= 1.0 {
            Duration::ZERO
        } else {
            let period = 1.0 / (self.rate * MARGIN);
            // The cell after which there is one is the last of those that are missing.
            let missing = (1.0 - state.purse).ceil() - 1.0;
            self.until_next_cell(&mut state) + Duration::from_secs_f64(missing.max(0.0) * period)
        };
        let mut over = state.sum + 1.0 - self.most;
        let mut window = Duration::ZERO;
        for (at, permits) in &state.recent {
            if over <= 1e-9 {
                break;
            }
            over -= permits;
            window = Duration::from_nanos((at + SECOND).saturating_sub(now));
        }
        purse.max(window)
    }
}

impl Limiter {
    /// Governor tells it only to whoever asks for a cell; one that is there by now counts as no wait.
    fn until_next_cell(&self, state: &mut State) -> Duration {
        match self.cells.check() {
            Ok(()) => {
                state.purse += 1.0;
                Duration::ZERO
            }
            Err(not_until) => {
                let now = governor::clock::Clock::now(&self.clock);
                not_until.earliest_possible().duration_since(now).into()
            }
        }
    }
}

/// Permits that may gather at `rate` while nobody waits for any.
fn burst(rate: f64) -> f64 {
    let least = if rate < SLOW { 1.0 } else { LEAST_BURST };
    f64::max(least, rate * BURST)
}

impl State {
    fn book(&mut self, now: u64, permits: f64) {
        self.purse -= permits;
        self.sum += permits;
        self.granted = self.granted.saturating_add(permits as u64);
        let slot = (now / SLOT + 1) * SLOT;
        match self.recent.back_mut().filter(|(at, _)| *at >= slot) {
            Some((_, sum)) => *sum += permits,
            None => self.recent.push_back((slot, permits)),
        }
    }

    /// What was granted last was not used.
    fn unbook(&mut self, permits: f64) {
        self.purse += permits;
        self.granted = self.granted.saturating_sub(permits as u64);
        let mut left = permits;
        while let Some((_, sum)) = self.recent.back_mut().filter(|_| left > 0.0) {
            let taken = left.min(*sum);
            *sum -= taken;
            left -= taken;
            self.sum -= taken;
            if *sum <= 0.0 {
                self.recent.pop_back();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATES: [f64; 7] = [0.33, 1.0, 3.0, 10.0, 80.0, 400.0, 1500.0];

    fn clock() -> Clock {
        Clock::manual("2026-11-23T09:00:00Z".parse().unwrap())
    }

    #[test]
    fn permits_come_at_the_rate_and_never_ahead_of_it() {
        for rate in RATES {
            let clock = clock();
            let limiter = Limiter::per_second(rate, &clock);
            let mut given = 0;
            let seconds = if rate < 5.0 { 100 } else { 20 };
            for _ in 0..seconds * 200 {
                clock.advance(5);
                given += limiter.take(1_000);
            }
            let wanted = rate * f64::from(seconds);
            assert!(f64::from(given) <= wanted, "{rate}: {given} of {wanted}");
            assert!(f64::from(given) >= wanted * 0.99 - 1.0, "{rate}: {given} of {wanted}");
            assert_eq!(limiter.granted(), u64::from(given));
        }
    }

    #[test]
    fn a_timer_that_fires_late_costs_nothing() {
        // Always late by a little, or by more once a second. Much more is lost for good: whoever makes up for
        // it overfills the second that follows.
        for (rate, late, seldom) in [
            (4.0, 50, 50),
            (80.0, 10, 10),
            (80.0, 5, 20),
            (100.0, 5, 20),
            (400.0, 5, 15),
            (1500.0, 5, 15),
            (1500.0, 10, 10),
        ] {
            let clock = clock();
            let limiter = Limiter::per_second(rate, &clock);
            let (mut given, mut passed) = (0, 0);
            for tick in 0.. {
                let step = if tick % 200 == 199 { seldom } else { late };
                clock.advance(step);
                passed += step;
                given += limiter.take(1_000);
                if passed >= 20_000 {
                    break;
                }
            }
            let wanted = rate * passed as f64 / 1_000.0;
            assert!(f64::from(given) >= wanted * 0.99 - 1.0, "{rate}: {given} of {wanted}");
            assert!(f64::from(given) <= wanted, "{rate}: {given} of {wanted}");
        }
    }

    #[test]
    fn two_permits_never_come_at_once_at_a_slow_pace() {
        let clock = clock();
        let limiter = Limiter::per_second(0.33, &clock);
        clock.advance(60_000);
        assert_eq!(limiter.take(5), 1);
    }

    #[test]
    fn an_idle_queue_saves_no_permits_up() {
        for rate in RATES {
            let clock = clock();
            let limiter = Limiter::per_second(rate, &clock);
            for _ in 0..300 {
                clock.advance(1_000);
                let taken = limiter.take(64);
                limiter.give_back(taken);
                limiter.rest();
            }
            let most = if rate < SLOW { 1.0 } else { f64::max(LEAST_BURST, rate * BURST) };
            // Taken one by one, as behind a slower limiter, it is no more than at once.
            let granted: u32 = (0..64).map(|_| limiter.take(1)).sum();
            assert!(f64::from(granted) <= most, "{rate}: {granted}");
        }
    }

    #[test]
    fn a_long_message_is_paid_for_by_those_behind_it() {
        let clock = clock();
        let limiter = Limiter::per_second(1.0, &clock);
        clock.advance(1_100);
        assert_eq!(limiter.take(5), 1);
        limiter.charge(2);
        clock.advance(1_100);
        assert_eq!(limiter.take(5), 0);
        clock.advance(1_100);
        assert_eq!(limiter.take(5), 0);
        clock.advance(1_100);
        assert_eq!(limiter.take(5), 1);
    }

    #[test]
    fn a_permit_given_back_is_there_at_once() {
        let clock = clock();
        let limiter = Limiter::per_second(1.0, &clock);
        clock.advance(1_100);
        assert_eq!(limiter.take(1), 1);
        assert_eq!(limiter.take(1), 0);
        limiter.give_back(1);
        assert_eq!(limiter.wait(), Duration::ZERO);
        assert_eq!(limiter.take(1), 1);
        assert!(limiter.wait() > Duration::from_millis(500));
    }

    #[test]
    fn who_waits_as_long_as_told_finds_a_permit() {
        for rate in RATES {
            let clock = clock();
            let limiter = Limiter::per_second(rate, &clock);
            for _ in 0..200 {
                clock.advance(limiter.wait().as_millis() as i64 + 1);
                assert!(limiter.take(1_000) > 0, "{rate}");
            }
        }
    }

    proptest! {
        /// Whatever comes when, is given back or takes more parts than thought.
        #[test]
        fn no_second_gets_more_than_the_limit(
            rate in prop::sample::select(RATES.to_vec()),
            steps in prop::collection::vec((0_i64..700, 0_u32..40, 0_u32..3), 1..400),
        ) {
            let clock = clock();
            let limiter = Limiter::per_second(rate, &clock);
            let mut grants: Vec<(i64, u32)> = Vec::new();
            for (millis, most, returned) in steps {
                clock.advance(millis);
                let granted = limiter.take(most);
                let returned = returned.min(granted);
                limiter.give_back(returned);
                grants.push((clock.now(), granted - returned));
                let since = clock.now() - 1_000;
                let sum: u32 = grants.iter().filter(|(at, _)| *at > since).map(|(_, n)| n).sum();
                prop_assert!(f64::from(sum) <= rate + f64::max(1.0, rate * 0.01), "{sum} at {rate}");
            }
        }
    }
}
