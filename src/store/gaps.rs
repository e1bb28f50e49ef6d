//! Gaps: times in which people may have written without our hearing of it. While one is open, marketing
//! waits until Twilio's list was looked through.
//!
//! Kept in memory: a start of the process is a gap itself, so nothing of this has to outlive it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Millis};

/// Nobody looked at the clock for this long, in milliseconds: the process or the machine stood still, and
/// webhooks may have met a closed door. A running dispatcher looks every second.
const STANDSTILL: Millis = 20_000;
/// After a webhook that could not be kept, Twilio may call again by itself within this time, and the person
/// then gets their answer, which a message out of the list does not get.
const TWILIO_TRIES_AGAIN: Duration = Duration::from_secs(20);

/// Why messages may have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The process was not there.
    Start,
    /// A message from a person could not be kept.
    Webhook,
    /// The process or the machine stood still.
    Standstill,
}

impl Gap {
    const ALL: [Gap; 3] = [Gap::Start, Gap::Webhook, Gap::Standstill];

    /// The word in metrics and in `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            Gap::Start => "start",
            Gap::Webhook => "webhook",
            Gap::Standstill => "standstill",
        }
    }
}

/// A gap that was not looked through yet.
#[derive(Clone, Debug)]
pub struct OpenGap {
    /// Why it is open; the first reason, if there are several.
    pub gap: Gap,
    /// When it was noticed.
    pub since: Millis,
    /// From when on it makes sense to look, on the monotonic clock in nanoseconds.
    pub ripe_at: u64,
    /// The same for what was noticed last.
    pub(super) next_ripe_at: u64,
    /// What kept the last look from succeeding.
    pub trouble: Option<String>,
    /// Counts up with every gap that is noticed: the close wants to know what was seen.
    pub noted: u64,
}

#[cfg(test)]
impl OpenGap {
    /// One that was noticed then.
    pub(crate) fn since(gap: Gap, since: Millis) -> OpenGap {
        OpenGap { gap, since, ripe_at: 0, next_ripe_at: 0, trouble: None, noted: 1 }
    }

    /// With what kept the last look from succeeding.
    pub(crate) fn with_trouble(self, trouble: &str) -> OpenGap {
        OpenGap { trouble: Some(trouble.to_owned()), ..self }
    }
}

#[derive(Debug, Default)]
struct State {
    is_watched: bool,
    noted: u64,
    totals: [u64; Gap::ALL.len()],
    open: Option<OpenGap>,
    last_beat: Option<Millis>,
}

/// The gaps of this process.
#[derive(Debug)]
pub struct Gaps {
    clock: Clock,
    state: Mutex<State>,
    woken: Notify,
}

impl Gaps {
    pub(super) fn new(clock: Clock) -> Gaps {
        Gaps { clock, state: Mutex::default(), woken: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on somebody looks through gaps, and the start is the first. Until then none opens, because
    /// nobody would close it.
    pub fn watch(&self) {
        self.state().is_watched = true;
        self.note(Gap::Start);
    }

    /// Opens a gap, or widens the one that is open.
    pub fn note(&self, gap: Gap) {
        let mut state = self.state();
        if !state.is_watched {
            return;
        }
        state.noted += 1;
        let noted = state.noted;
        for (kind, total) in Gap::ALL.iter().zip(&mut state.totals) {
            *total += u64::from(*kind == gap);
        }
        let patience = if gap == Gap::Webhook { TWILIO_TRIES_AGAIN } else { Duration::ZERO };
        let ripe_at =
            self.clock.monotonic_nanos() + u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX / 2);
        let since = self.clock.now();
        match &mut state.open {
            Some(open) => {
                open.noted = noted;
                open.ripe_at = open.ripe_at.min(ripe_at);
                open.next_ripe_at = ripe_at;
            }
            None => {
                tracing::info!(
                    gap = gap.as_str(),
                    "messages may have been missed; marketing waits for Twilio's list"
                );
                state.open =
                    Some(OpenGap { gap, since, ripe_at, next_ripe_at: ripe_at, trouble: None, noted });
            }
        }
        drop(state);
        self.woken.notify_one();
    }

    /// Somebody is awake. When nobody was for long, that was a gap.
    pub fn beat(&self) {
        let now = self.clock.now();
        let before = self.state().last_beat.replace(now);
        if before.is_some_and(|before| now - before > STANDSTILL) {
            self.note(Gap::Standstill);
        }
    }

    /// Whether marketing has to wait. Asked by the dispatcher before each look at the queue, so that a machine
    /// that was asleep notices before it sends.
    pub fn hold_marketing(&self) -> bool {
        self.beat();
        self.state().open.is_some()
    }

    /// The gap that is open, if one is.
    pub fn open(&self) -> Option<OpenGap> {
        self.state().open.clone()
    }

    /// Notes why the last look through the open gap failed.
    pub fn set_trouble(&self, trouble: &str) {
        if let Some(open) = &mut self.state().open {
            open.trouble = Some(trouble.to_owned());
        }
    }

    /// Closes the gap if no other was noticed since `noted`. Returns whether it is closed.
    pub(super) fn close(&self, noted: u64) -> bool {
        let mut state = self.state();
        match &mut state.open {
            Some(open) if open.noted == noted => state.open = None,
            // The next look is for what was noticed during this one, and leaves it the same time.
            Some(open) => open.ripe_at = open.next_ripe_at,
            None => {}
        }
        state.open.is_none()
    }

    /// Resolves when a gap was noticed.
    pub async fn noted(&self) {
        self.woken.notified().await;
    }

    /// How many gaps of each kind there were.
    pub fn totals(&self) -> Vec<(&'static str, u64)> {
        let totals = self.state().totals;
        Gap::ALL.iter().map(|gap| gap.as_str()).zip(totals).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps() -> (Clock, Gaps) {
        let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
        (clock.clone(), Gaps::new(clock))
    }

    #[test]
    fn nothing_waits_where_nobody_looks() {
        let (_, gaps) = gaps();
        gaps.note(Gap::Webhook);
        assert!(!gaps.hold_marketing() && gaps.open().is_none());
    }

    #[test]
    fn a_gap_that_is_noticed_during_the_look_keeps_the_hold() {
        let (_, gaps) = gaps();
        gaps.watch();
        let seen = gaps.open().unwrap().noted;
        gaps.note(Gap::Webhook);
        assert!(!gaps.close(seen) && gaps.hold_marketing());
        assert!(gaps.close(seen + 1) && !gaps.hold_marketing());
        assert_eq!(gaps.totals(), [("start", 1), ("webhook", 1), ("standstill", 0)]);
    }

    #[test]
    fn a_standstill_is_noticed_by_the_first_who_asks() {
        let (clock, gaps) = gaps();
        gaps.watch();
        gaps.close(1);
        for _ in 0..100 {
            clock.advance(1_000);
            assert!(!gaps.hold_marketing());
        }
        clock.advance(STANDSTILL + 1);
        assert!(gaps.hold_marketing());
        assert_eq!(gaps.open().unwrap().gap, Gap::Standstill);
    }

    #[test]
    fn after_a_failed_webhook_twilio_gets_time_to_call_again_but_a_start_looks_at_once() {
        let (clock, gaps) = gaps();
        gaps.watch();
        assert!(gaps.open().unwrap().ripe_at <= clock.monotonic_nanos());
        gaps.close(1);
        gaps.note(Gap::Webhook);
        assert!(gaps.open().unwrap().ripe_at > clock.monotonic_nanos());
        gaps.note(Gap::Standstill);
        assert!(gaps.open().unwrap().ripe_at <= clock.monotonic_nanos());
    }
}
