//! How fast: permits at a steady pace, one for each SMS part.

use std::sync::Mutex;
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;

use crate::clock::Clock;

/// A hair under the limit, so that timers which fire late and make up for it stay below.
const MARGIN: f64 = 0.995;
/// Permits that may gather while nobody takes any, as a share of a second's …
const BURST: f64 = 0.01;
/// … but at least this many: with one alone, every late wake-up is lost for good (12 % at 90 a second).
const LEAST_BURST: u32 = 2;
/// Below this pace two at once would show, and a late wake-up does not: one permit alone.
const SLOW: f64 = 1.0;

/// The project's clock in governor's terms, so that tests move it by hand.
#[derive(Clone, Debug)]
struct Pace(Clock);

impl GovernorClock for Pace {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.monotonic_nanos())
    }
}

/// Gives permits at a rate. It starts empty, as after every change and every restart.
#[derive(Debug)]
pub struct Limiter {
    cells: RateLimiter<NotKeyed, InMemoryState, Pace, NoOpMiddleware<Nanos>>,
    pace: Pace,
    /// Permits given back (positive) or used ahead by messages of many parts (negative).
    balance: Mutex<i64>,
    /// Permits that may gather while nobody takes any.
    burst: i64,
}

impl Limiter {
    /// `rate` permits a second, decimals too.
    pub fn per_second(rate: f64, clock: &Clock) -> Limiter {
        let rate = rate.clamp(0.000_1, 1_000_000.0);
        let period = Duration::from_secs_f64(1.0 / (rate * MARGIN));
        let least = if rate < SLOW { 1 } else { LEAST_BURST };
        let burst = NonZeroU32::new(((rate * BURST) as u32).max(least)).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period)
            .expect("a clamped rate has a period of more than nothing")
            .allow_burst(burst);
        let pace = Pace(clock.clone());
        let cells = RateLimiter::direct_with_clock(quota, pace.clone());
        // Whatever the burst would give at once is taken here.
        let _ = cells.check_n(burst);
        Limiter { cells, pace, balance: Mutex::new(0), burst: i64::from(burst.get()) }
    }

    fn balance(&self) -> std::sync::MutexGuard<'_, i64> {
        self.balance.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes up to `most` permits and says how many there were.
    pub fn take(&self, most: u32) -> u32 {
        let mut balance = self.balance();
        let wanted = i64::from(most);
        let mut cells = 0;
        while cells < self.burst && self.cells.check().is_ok() {
            cells += 1;
        }
        // What was given back and what came since are one purse: an idle queue saves nothing up.
        let purse = (*balance + cells).min(self.burst);
        let granted = purse.clamp(0, wanted);
        *balance = purse - granted;
        u32::try_from(granted).unwrap_or(0)
    }

    /// Returns permits that were not used.
    pub fn give_back(&self, permits: u32) {
        let mut balance = self.balance();
        *balance = (*balance + i64::from(permits)).min(self.burst);
    }

    /// Takes permits that later ones pay for: the second and further parts of a message.
    pub fn charge(&self, permits: u32) {
        *self.balance() -= i64::from(permits);
    }

    /// How long until there is a permit again.
    pub fn wait(&self) -> Duration {
        let balance = *self.balance();
        if balance > 0 {
            return Duration::ZERO;
        }
        match self.cells.check() {
            // Looking must not cost: the permit goes back.
            Ok(()) => {
                self.give_back(1);
                Duration::ZERO
            }
            Err(not_until) => {
                let now = self.pace.now();
                not_until.earliest_possible().duration_since(now).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock::manual("2026-11-23T09:00:00Z".parse().unwrap())
    }

    #[test]
    fn permits_come_at_the_rate_and_never_ahead_of_it() {
        for rate in [0.33, 1.0, 10.0, 80.0, 400.0, 1500.0] {
            let clock = clock();
            let limiter = Limiter::per_second(rate, &clock);
            let mut given = 0;
            let seconds = if rate < 5.0 { 100 } else { 20 };
            for _ in 0..seconds * 200 {
                clock.advance(5);
                given += limiter.take(1_000);
            }
            let wanted = rate * f64::from(seconds);
            assert!(f64::from(given) <= wanted + 1.0, "{rate}: {given} of {wanted}");
            assert!(f64::from(given) >= wanted * 0.985 - 1.0, "{rate}: {given} of {wanted}");
        }
    }

    #[test]
    fn a_timer_that_fires_late_costs_nothing_as_long_as_it_is_less_than_a_period() {
        for (rate, late) in [(4.0, 50), (80.0, 10), (80.0, 5), (80.0, 1), (100.0, 3)] {
            let clock = clock();
            let limiter = Limiter::per_second(rate, &clock);
            let mut given = 0;
            for _ in 0..20_000 / late {
                clock.advance(late);
                given += limiter.take(1_000);
            }
            let wanted = rate * 20.0;
            assert!(f64::from(given) >= wanted * 0.985 - 1.0, "{rate}: {given} of {wanted}");
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
        for rate in [0.33, 1.0, 3.0, 80.0, 400.0] {
            let clock = clock();
            let limiter = Limiter::per_second(rate, &clock);
            for _ in 0..300 {
                clock.advance(1_000);
                let taken = limiter.take(64);
                limiter.give_back(taken);
            }
            let most = if rate < SLOW { 1.0 } else { f64::max(2.0, rate * BURST) };
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
}
