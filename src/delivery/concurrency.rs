//! How many requests at once, and when none: the ceiling that follows Twilio's 429s, the rest while it is out
//! of reach, and the careful beginning after it.
//!
//! The ceiling is no brake on the rate: that is the limiters' work. At a rate `r` and a latency `l` about
//! `r × l` requests are under way (Little's law), so when Twilio becomes slow more of them are needed, and
//! the ceiling lets them be. Only a 429 lowers it: at Twilio that means too many at once
//! (<https://www.twilio.com/docs/api/errors/20429>). It falls to a share of what was under way and rises again
//! by equal steps, as TCP does (AIMD); a ceiling that is not reached learns nothing and stays.
//!
//! An outage is something else: answers that are lost may be messages that were sent. There nothing is sent for
//! a while, then one request finds out, and after the first answer the ceiling doubles from a few.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::retry::{Pace, backoff};
use crate::twilio::client::SendOutcome;

/// The ceiling never falls below this many.
const FLOOR: usize = 4;
/// What is left of the requests under way after a 429.
const CUT: f64 = 0.7;
/// Within so many seconds the ceiling is back where it was cut.
const CLIMB: f64 = 6.0;
/// One slot of so many is kept for transactional messages.
const RESERVE: usize = 16;
/// Answers lost in a row before there is a rest: one alone is bad luck.
const LOST_IN_A_ROW: u32 = 3;
/// Busy answers in a row, each after a pause, before it is asked with one request alone.
const BUSY_IN_A_ROW: u32 = 3;
/// The first pause after a 429; doubled while nothing but 429 comes. In milliseconds.
const BUSY_PAUSE: f64 = 100.0;
/// The longest of them.
const LONGEST_BUSY_PAUSE: f64 = 5_000.0;
/// The longest rest while Twilio is out of reach, or asks for one, in milliseconds.
const OUTAGE_REST: i64 = 60_000;

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Twilio had too many requests at once.
    Busy,
    /// It can't be reached or does not answer.
    Outage,
}

impl Rest {
    pub(super) const ALL: [Rest; 2] = [Rest::Busy, Rest::Outage];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Rest::Busy => "busy",
            Rest::Outage => "outage",
        }
    }
}

/// What an answer tells about Twilio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// It works, whatever it thinks of the message.
    Well,
    /// 429, with the milliseconds that it asked us to wait.
    Busy(i64),
    /// No connection.
    Unreachable,
    /// No answer, or one that says nothing.
    Lost,
}

impl News {
    fn of(outcome: &SendOutcome) -> News {
        match outcome {
            SendOutcome::Accepted(_) | SendOutcome::Refused { .. } => News::Well,
            SendOutcome::Throttled { retry_after, .. } => {
                let seconds = i64::try_from(retry_after.unwrap_or(0)).unwrap_or(i64::MAX);
                News::Busy(seconds.saturating_mul(1_000).min(OUTAGE_REST))
            }
            SendOutcome::NotSent { .. } => News::Unreachable,
            SendOutcome::Uncertain { .. } => News::Lost,
        }
    }
}

/// The controller. Pure: the time is given, in nanoseconds on a clock that never goes back.
#[derive(Debug)]
struct Controller {
    most: f64,
    ceiling: f64,
    /// The ceiling doubles up to here, and rises by equal steps beyond.
    doubles_to: f64,
    /// Where it was last cut.
    cut_from: f64,
    grown_at: u64,
    /// What began up to this says nothing new: it is of the round that led to the last cut or rest.
    judged_from: u64,
    under_way: usize,
    /// When half of the ceiling was last under way: one that is not reached learns nothing.
    reached_at: Option<u64>,
    lost: u32,
    /// Pauses and rests since the last good answer.
    rounds: u32,
    rests_until: u64,
    rest: Rest,
}

impl Controller {
    fn new(most: usize) -> Controller {
        let most = most.max(1) as f64;
        Controller {
            most,
            ceiling: most,
            doubles_to: most,
            cut_from: most,
            grown_at: 0,
            judged_from: 0,
            under_way: 0,
            reached_at: None,
            lost: 0,
            rounds: 0,
            rests_until: 0,
            rest: Rest::Busy,
        }
    }

    /// Another bound. Where the old one alone held the ceiling, the new one does.
    fn bound(&mut self, most: usize) {
        let most = most.max(1) as f64;
        if most == self.most {
            return;
        }
        let was_at_top = self.ceiling >= self.most;
        self.ceiling = if was_at_top { most } else { self.ceiling.min(most) };
        self.doubles_to = if was_at_top { most } else { self.doubles_to.min(most) };
        self.cut_from = if was_at_top { most } else { self.cut_from.min(most) };
        self.most = most;
    }

    fn floor(&self) -> f64 {
        f64::min(FLOOR as f64, self.most)
    }

    /// How many may be under way now.
    fn allowed(&self) -> usize {
        let is_probing = match self.rest {
            Rest::Outage => self.rounds > 0,
            Rest::Busy => self.rounds >= BUSY_IN_A_ROW,
        };
        if is_probing { 1 } else { self.ceiling as usize }
    }

    fn begin(&mut self, now: u64) {
        self.under_way += 1;
        if self.under_way as f64 >= self.ceiling / 2.0 {
            self.reached_at = Some(now);
        }
    }

    /// A request that `begun` then was answered at `now`. `random` is uniform in 0…1.
    fn answered(&mut self, begun: u64, now: u64, news: News, random: f64) {
        match news {
            News::Well => self.well(begun, now),
            News::Busy(asked) => self.busy(begun, now, asked, random),
            News::Unreachable => self.outage(begun, now, random),
            News::Lost => {
                self.lost += 1;
                if self.lost >= LOST_IN_A_ROW || self.rounds > 0 {
                    self.outage(begun, now, random);
                }
            }
        }
        self.under_way = self.under_way.saturating_sub(1);
    }

    fn well(&mut self, begun: u64, now: u64) {
        self.lost = 0;
        if begun <= self.judged_from {
            return;
        }
        self.rounds = 0;
        let passed = (now.saturating_sub(self.grown_at) as f64 / 1e9).min(1.0);
        self.grown_at = now;
        if self.reached_at.is_none_or(|at| at < begun) {
            return;
        }
        let step = if self.ceiling < self.doubles_to {
            1.0
        } else {
            let lost = f64::max(self.ceiling, self.cut_from) * (1.0 - CUT);
            passed * f64::max(1.0, lost / CLIMB)
        };
        self.ceiling = (self.ceiling + step).min(self.most);
    }

    fn busy(&mut self, begun: u64, now: u64, asked: i64, random: f64) {
        self.lost = 0;
        // Many under way fail together: that is one round.
        if begun <= self.judged_from {
            return;
        }
        self.cut_from = f64::min(self.ceiling, self.under_way as f64).max(self.floor());
        self.ceiling = (self.cut_from * CUT).floor().max(self.floor());
        self.doubles_to = self.ceiling;
        let pause = f64::min(LONGEST_BUSY_PAUSE, BUSY_PAUSE * f64::powi(2.0, self.rounds.min(20) as i32));
        let pause = (pause * (0.5 + random.clamp(0.0, 1.0) / 2.0)) as i64;
        self.pause(now, pause.max(asked), Rest::Busy);
    }

    fn outage(&mut self, begun: u64, now: u64, random: f64) {
        if begun <= self.judged_from {
            return;
        }
        self.doubles_to = f64::max(self.doubles_to.min(self.most), self.ceiling * CUT);
        self.ceiling = self.floor();
        let rest = backoff(Pace::Soon, self.rounds + 1, random, None).min(OUTAGE_REST);
        self.pause(now, rest, Rest::Outage);
    }

    fn pause(&mut self, now: u64, millis: i64, why: Rest) {
        self.rounds += 1;
        self.rest = why;
        self.rests_until = now + u64::try_from(millis).unwrap_or(0) * 1_000_000;
        self.judged_from = now;
        self.grown_at = now;
    }
}

/// The controller on the process's clock.
#[derive(Debug)]
pub(super) struct Concurrency {
    clock: Clock,
    controller: Mutex<Controller>,
}

/// A request under way. Given back with its outcome.
#[derive(Debug)]
pub(super) struct Begun(u64);

/// What pages and metrics show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) under_way: usize,
    pub(super) ceiling: usize,
    pub(super) rest: Option<Rest>,
}

impl Concurrency {
    /// At most `most` requests at once.
    pub(super) fn new(most: usize, clock: Clock) -> Concurrency {
        Concurrency { clock, controller: Mutex::new(Controller::new(most)) }
    }

    fn controller(&self) -> MutexGuard<'_, Controller> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on at most `most` requests at once; what is under way beyond is waited for.
    pub(super) fn bound(&self, most: usize) {
        self.controller().bound(most);
    }

    /// A request begins.
    pub(super) fn begin(&self) -> Begun {
        let now = self.clock.monotonic_nanos();
        self.controller().begin(now);
        Begun(now)
    }

    /// Learns from its outcome and returns its seconds.
    pub(super) fn end(&self, begun: &Begun, outcome: &SendOutcome, random: f64) -> f64 {
        let now = self.clock.monotonic_nanos();
        self.controller().answered(begun.0, now, News::of(outcome), random);
        now.saturating_sub(begun.0) as f64 / 1e9
    }

    /// How long nothing should be sent.
    pub(super) fn rest(&self) -> Option<Duration> {
        let until = self.controller().rests_until;
        let rest = until.saturating_sub(self.clock.monotonic_nanos());
        (rest > 0).then(|| Duration::from_nanos(rest))
    }

    /// How many more requests may begin beside `taken` ones. Marketing leaves a few slots free, so that a
    /// transactional message never waits for slow answers to a campaign.
    pub(super) fn room(&self, taken: usize, is_transactional: bool) -> usize {
        let allowed = self.controller().allowed();
        let reserved = if is_transactional || allowed < 2 { 0 } else { (allowed / RESERVE).max(1) };
        (allowed - reserved).saturating_sub(taken)
    }

    /// Where it stands.
    pub(super) fn read(&self) -> Reading {
        let controller = self.controller();
        let is_resting = controller.rests_until > self.clock.monotonic_nanos();
        Reading {
            under_way: controller.under_way,
            ceiling: controller.allowed(),
            rest: is_resting.then_some(controller.rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BinaryHeap;

    use proptest::prelude::*;

    use super::super::limiter::Limiter;
    use super::*;

    const MILLI: u64 = 1_000_000;

    /// A Twilio of the mind: answers after a latency, and with 429 what is too many at once.
    struct Twilio {
        latency_ms: u64,
        limit: usize,
        is_down: bool,
    }

    /// What happened in a span.
    #[derive(Debug, Default)]
    struct Seen {
        well: u32,
        busy: u32,
        lost: u32,
        highest: usize,
        lowest: usize,
    }

    /// A dispatcher of the mind, a millisecond at a time.
    struct Desk {
        clock: Clock,
        limiter: Limiter,
        controller: Controller,
        twilio: Twilio,
        /// Latest first: when each answer comes (negated), when it began, and what it says.
        answers: BinaryHeap<(std::cmp::Reverse<u64>, u64, u8)>,
    }

    impl Desk {
        fn new(rate: f64, most: usize, twilio: Twilio) -> Desk {
            let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
            let limiter = Limiter::per_second(rate, &clock);
            Desk { clock, limiter, controller: Controller::new(most), twilio, answers: BinaryHeap::new() }
        }

        fn run(&mut self, seconds: u64) -> Seen {
            let mut seen = Seen { lowest: usize::MAX, ..Seen::default() };
            for _ in 0..seconds * 1_000 {
                self.run_a_milli(&mut seen);
            }
            seen
        }

        fn run_a_milli(&mut self, seen: &mut Seen) {
            self.clock.advance(1);
            let now = self.clock.monotonic_nanos();
            while self.answers.peek().is_some_and(|(at, ..)| at.0 <= now) {
                let (_, begun, what) = self.answers.pop().unwrap();
                let (news, count) = match what {
                    0 => (News::Well, &mut seen.well),
                    1 => (News::Busy(0), &mut seen.busy),
                    _ => (News::Lost, &mut seen.lost),
                };
                *count += 1;
                self.controller.answered(begun, now, news, 0.5);
            }
            if self.controller.rests_until <= now {
                let room = self.controller.allowed().saturating_sub(self.controller.under_way);
                for _ in 0..self.limiter.take(room as u32) {
                    self.begin(now);
                }
            }
            seen.highest = seen.highest.max(self.controller.under_way);
            seen.lowest = seen.lowest.min(self.controller.allowed());
        }

        fn begin(&mut self, now: u64) {
            self.controller.begin(now);
            let is_busy = self.controller.under_way > self.twilio.limit;
            let (what, latency) = match () {
                () if self.twilio.is_down => (2, 1_000),
                () if is_busy => (1, self.twilio.latency_ms),
                () => (0, self.twilio.latency_ms),
            };
            self.answers.push((std::cmp::Reverse(now + latency * MILLI), now, what));
        }
    }

    const WELL: Twilio = Twilio { latency_ms: 50, limit: usize::MAX, is_down: false };

    #[test]
    fn when_latency_rises_from_50_to_500_ms_more_are_under_way_and_the_rate_holds() {
        for rate in [80.0, 400.0] {
            let mut desk = Desk::new(rate, 256, WELL);
            let fast = desk.run(10);
            desk.twilio.latency_ms = 500;
            desk.run(1);
            let slow = desk.run(10);
            let wanted = rate * 10.0;
            for seen in [&fast, &slow] {
                assert!((f64::from(seen.well) - wanted).abs() <= wanted * 0.015, "{seen:?} at {rate}");
            }
            let (few, many) = (rate * 0.05, rate * 0.5);
            assert!((fast.highest as f64) < few * 1.3 + 2.0, "{fast:?}");
            assert!((slow.highest as f64) >= many * 0.95, "{slow:?}");
        }
    }

    #[test]
    fn it_falls_under_429_stays_close_to_what_twilio_takes_and_recovers() {
        for limit in [10, 40, 100] {
            let rate = 100_000.0;
            let mut desk = Desk::new(rate, 256, Twilio { limit, ..WELL });
            let first = desk.run(5);
            assert!(first.lowest < limit, "it fell: {first:?}");
            let seen = desk.run(60);
            let taken = f64::from(seen.well) / (limit as f64 / 0.05 * 60.0);
            let refused = f64::from(seen.busy) / f64::from(seen.well);
            assert!(taken > 0.75, "{taken} of what Twilio takes at {limit}: {seen:?}");
            assert!(refused < 0.01, "{refused} answered 429 at {limit}: {seen:?}");
            desk.twilio.limit = usize::MAX;
            desk.run(90);
            assert_eq!(desk.controller.allowed(), 256, "with the limit of {limit} gone it climbs to the top");
        }
    }

    #[test]
    fn a_single_429_is_a_short_pause_and_no_standstill() {
        let mut desk = Desk::new(80.0, 256, Twilio { latency_ms: 500, ..WELL });
        desk.run(5);
        let now = desk.clock.monotonic_nanos();
        desk.controller.under_way += 1;
        desk.controller.answered(now - MILLI, now, News::Busy(0), 1.0);
        assert_eq!(desk.controller.rests_until, now + 100 * MILLI);
        assert_eq!(desk.controller.allowed(), 28, "0.7 of the 41 under way");
        let seen = desk.run(20);
        assert!(f64::from(seen.well) > 80.0 * 20.0 * 0.94, "{seen:?}");
        assert!(desk.controller.allowed() >= 40);
        desk.controller.under_way += 1;
        let now = desk.clock.monotonic_nanos();
        desk.controller.answered(now - MILLI, now, News::Busy(7_000), 1.0);
        assert_eq!(desk.controller.rests_until, now + 7_000 * MILLI, "Retry-After is honoured");
    }

    #[test]
    fn nothing_but_429_is_asked_ever_more_seldom_with_one_request() {
        let mut desk = Desk::new(10_000.0, 256, Twilio { limit: 0, ..WELL });
        let seen = desk.run(120);
        assert!(seen.busy < 256 + 180 + 126 + 60, "{seen:?}");
        let later = desk.run(60);
        assert!((10..=25).contains(&later.busy) && later.highest == 1, "{later:?}");
    }

    #[test]
    fn an_outage_costs_a_few_messages_and_then_one_at_a_time() {
        let mut desk = Desk::new(10_000.0, 80, WELL);
        desk.run(2);
        desk.twilio.is_down = true;
        let seen = desk.run(600);
        assert!(seen.lost < 80 + 40, "{seen:?}");
        desk.twilio.is_down = false;
        let back = desk.run(61);
        assert!(back.well > 0, "{back:?}");
        assert_eq!(desk.controller.allowed(), 80);
    }

    #[test]
    fn after_an_outage_it_begins_with_a_few_and_doubles() {
        let mut desk = Desk::new(100_000.0, 256, Twilio { is_down: true, ..WELL });
        desk.run(4);
        assert_eq!(desk.controller.allowed(), 1, "one finds out");
        desk.twilio.is_down = false;
        while desk.controller.rounds > 0 {
            desk.run_a_milli(&mut Seen::default());
        }
        assert_eq!(desk.controller.allowed(), FLOOR);
        let mut doubled = Vec::new();
        for _ in 0..6 {
            for _ in 0..51 {
                desk.run_a_milli(&mut Seen::default());
            }
            doubled.push(desk.controller.allowed());
        }
        assert!(doubled.is_sorted() && doubled[2] >= 24 && doubled[5] >= 200, "{doubled:?}");
    }

    #[test]
    fn one_lost_answer_is_no_outage() {
        let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
        let concurrency = Concurrency::new(64, clock);
        let lost = SendOutcome::Uncertain { http_status: Some(503), why: String::new() };
        for n in 1..=3 {
            let begun = concurrency.begin();
            concurrency.end(&begun, &lost, 1.0);
            assert_eq!(concurrency.rest().is_some(), n == 3);
        }
        assert_eq!(concurrency.read().rest, Some(Rest::Outage));
    }

    #[test]
    fn marketing_leaves_room_for_transactional() {
        let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
        for (most, marketing) in [(1, 1), (2, 1), (4, 3), (64, 60), (256, 240)] {
            let concurrency = Concurrency::new(most, clock.clone());
            assert_eq!(concurrency.room(0, false), marketing);
            assert_eq!(concurrency.room(marketing, false), 0);
            assert_eq!(concurrency.room(marketing, true), most - marketing);
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_the_ceiling_stays_between_its_bounds_and_rests_end(
            most in 1_usize..300,
            steps in prop::collection::vec((0_u64..5_000, 0_u8..4, 0.0_f64..1.0), 1..300),
        ) {
            let mut controller = Controller::new(most);
            let mut now = 1;
            for (millis, what, random) in steps {
                controller.under_way += 1;
                let begun = now;
                now += millis * MILLI;
                let news = match what {
                    0 => News::Well,
                    1 => News::Busy(0),
                    2 => News::Unreachable,
                    _ => News::Lost,
                };
                controller.answered(begun, now, news, random);
                prop_assert!(controller.ceiling >= controller.floor() && controller.ceiling <= controller.most);
                prop_assert!((1..=most).contains(&controller.allowed()));
                prop_assert!(controller.rests_until <= now + 60_000 * MILLI);
                prop_assert_eq!(controller.under_way, 0);
            }
        }
    }
}
