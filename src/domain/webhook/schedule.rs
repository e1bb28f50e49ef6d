//! When a delivery is tried again, when the next one waits, and when an endpoint is given up.

use crate::domain::event::EventType;

/// Milliseconds, as clocks and tables have them.
type Millis = i64;

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;

/// What is waited after the first, second … failure: the schedule that the specification suggests, some
/// three days in all.
const WAITS: [Millis; 9] =
    [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
/// A wish to wait, from `Retry-After`, is heard up to here.
const LONGEST_WISH: Millis = 24 * HOUR;
/// An endpoint that gave nothing but failures for this long is disabled.
pub const DISABLE_AFTER: Millis = 5 * 24 * HOUR;
/// An endpoint that gave nothing but failures for this long is worth an alert.
pub const ALERT_AFTER: Millis = HOUR;
/// Failures in a row after which an endpoint counts as down: it is asked with one event at a time.
pub const DOWN_AFTER: u32 = 5;
/// While an endpoint is down, it is asked at most this often.
const PROBE_EVERY: Millis = MINUTE;
/// Deliveries of an endpoint that may wait for another try. With so many, later events wait in the table
/// of events, where they are anyway.
pub const BACKLOG: i64 = 1_000;

/// Milliseconds until the try after `tries`, or `None` when that was the last. `random` is uniform in 0…1: the
/// wait is lengthened by up to a fifth, so that a crowd spreads and nobody comes early. `asked` is the
/// endpoint's own wish in seconds, which is never undercut.
pub fn wait(tries: u32, random: f64, asked: Option<u64>) -> Option<Millis> {
    let index = usize::try_from(tries.max(1) - 1).ok()?;
    let planned = *WAITS.get(index)?;
    let jittered = planned + (planned as f64 * 0.2 * random.clamp(0.0, 1.0)) as Millis;
    Some(jittered.max(wish(asked)))
}

/// What the endpoint asked for, in milliseconds.
pub fn wish(asked: Option<u64>) -> Millis {
    let seconds = asked.map_or(0, |seconds| Millis::try_from(seconds).unwrap_or(Millis::MAX));
    seconds.saturating_mul(SECOND).min(LONGEST_WISH)
}

/// What came of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx.
    Delivered,
    /// 410: the endpoint wants no more.
    Gone,
    /// Anything else. The text says what, and `retry_after` in seconds is the endpoint's own wish.
    Failed {
        /// What was answered, or why nothing was.
        why: String,
        /// From `Retry-After`.
        retry_after: Option<u64>,
        /// True when the endpoint itself said "too much" (429): everything else to it waits too.
        is_limit: bool,
    },
}

/// How an endpoint has been doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Failures in a row.
    pub failures: u32,
    /// Since when nothing else came.
    pub failing_since: Option<Millis>,
    /// Whether the alert about it was told.
    pub is_alerted: bool,
}

/// What follows for the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Fine,
    /// It goes on, and was down until now: what it first refused since then is due.
    Recovered {
        /// When the failures began.
        since: Millis,
    },
    /// It goes on, and somebody should know.
    Alert(String),
    /// No more.
    Disable(String),
}

impl Verdict {
    /// The alert that tells it.
    pub fn alert(&self) -> Option<(EventType, &str)> {
        match self {
            Verdict::Alert(reason) => Some((EventType::AlertWebhookFailing, reason)),
            Verdict::Disable(reason) => Some((EventType::AlertWebhookDisabled, reason)),
            _ => None,
        }
    }
}

impl Health {
    /// True when it is asked with one event at a time.
    pub fn is_down(&self) -> bool {
        self.failures >= DOWN_AFTER
    }

    /// How long an endpoint is left alone after a request: not at all while it answers, a second once it is
    /// down, then twice as long with each failure, up to a minute.
    pub fn rest(&self) -> Millis {
        match self.failures.checked_sub(DOWN_AFTER) {
            None => 0,
            Some(more) => (SECOND << more.min(6)).min(PROBE_EVERY),
        }
    }

    /// Notes what came of a request at `now`.
    pub fn note(&mut self, outcome: &Outcome, now: Millis) -> Verdict {
        let why = match outcome {
            Outcome::Delivered => {
                let before = std::mem::take(self);
                let since = before.failing_since.filter(|_| before.is_down());
                return since.map_or(Verdict::Fine, |since| Verdict::Recovered { since });
            }
            Outcome::Gone => {
                return Verdict::Disable("It answered 410 Gone: it wants no more events.".to_owned());
            }
            Outcome::Failed { why, .. } => why,
        };
        self.failures = self.failures.saturating_add(1);
        let lasts = now - *self.failing_since.get_or_insert(now);
        if lasts >= DISABLE_AFTER && self.is_down() {
            let days = DISABLE_AFTER / (24 * HOUR);
            return Verdict::Disable(format!(
                "For {days} days every request failed; the last one: {why}. Mend it, then enable it again."
            ));
        }
        if lasts >= ALERT_AFTER && !self.is_alerted {
            self.is_alerted = true;
            return Verdict::Alert(format!("For an hour every request failed; the last one: {why}."));
        }
        Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failed() -> Outcome {
        Outcome::Failed { why: "answered 500".to_owned(), retry_after: None, is_limit: false }
    }

    #[test]
    fn waits_grow_over_three_days_and_end() {
        let table = [
            (1, 5_000),
            (2, 300_000),
            (3, 1_800_000),
            (4, 7_200_000),
            (5, 18_000_000),
            (6, 36_000_000),
            (7, 50_400_000),
            (8, 72_000_000),
            (9, 86_400_000),
        ];
        for (tries, expected) in table {
            assert_eq!(wait(tries, 0.0, None), Some(expected), "after {tries}");
            assert_eq!(wait(tries, 1.0, None), Some(expected / 5 * 6), "after {tries}");
        }
        assert_eq!(wait(10, 0.0, None), None);
        let days: Millis = table.iter().map(|(_, wait)| wait).sum::<Millis>() / (24 * HOUR);
        assert_eq!(days, 3);
    }

    #[test]
    fn a_wish_of_the_endpoint_is_never_undercut_and_heard_up_to_a_day() {
        assert_eq!(wait(1, 0.0, Some(60)), Some(60_000));
        assert_eq!(wait(3, 0.0, Some(60)), Some(1_800_000));
        assert_eq!(wait(1, 0.0, Some(u64::MAX)), Some(86_400_000));
        assert_eq!(wish(Some(10_000_000)), 86_400_000);
        assert_eq!(wait(10, 0.0, Some(60)), None);
    }

    #[test]
    fn only_days_of_nothing_but_failures_disable_and_an_alert_comes_once_before() {
        let mut health = Health::default();
        let mut told = Vec::new();
        for hour in 0..=5 * 24 {
            match health.note(&failed(), hour * HOUR) {
                Verdict::Fine => {}
                verdict => told.push((hour, verdict)),
            }
        }
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(matches!(&told[0], (1, Verdict::Alert(text)) if text.contains("answered 500")));
        assert!(matches!(&told[1], (120, Verdict::Disable(text)) if text.contains("5 days")));
        // One good answer, and it counts anew.
        let mut health = Health::default();
        for hour in 0..1_000 {
            let outcome = if hour % 100 == 0 { Outcome::Delivered } else { failed() };
            assert!(!matches!(health.note(&outcome, hour * HOUR), Verdict::Disable(_)), "{hour}");
        }
    }

    #[test]
    fn one_failure_after_days_of_silence_is_not_five_days_of_failures() {
        let mut health = Health::default();
        health.note(&failed(), 0);
        assert!(!matches!(health.note(&failed(), DISABLE_AFTER), Verdict::Disable(_)));
    }

    #[test]
    fn gone_disables_at_once() {
        assert!(
            matches!(Health::default().note(&Outcome::Gone, 0), Verdict::Disable(text) if text.contains("410"))
        );
    }

    #[test]
    fn who_was_down_has_recovered_with_the_first_good_answer() {
        let mut health = Health::default();
        assert_eq!(health.note(&Outcome::Delivered, 0), Verdict::Fine);
        for at in 0..DOWN_AFTER {
            assert!(!health.is_down());
            health.note(&failed(), Millis::from(at));
        }
        assert!(health.is_down());
        let rests: Vec<Millis> =
            [4, 5, 6, 10, 11, 99, u32::MAX].map(|failures| Health { failures, ..health }.rest()).to_vec();
        assert_eq!(rests, [0, 1_000, 2_000, 32_000, 60_000, 60_000, 60_000]);
        assert_eq!(health.note(&Outcome::Delivered, 9), Verdict::Recovered { since: 0 });
        assert_eq!(health, Health::default());
    }

    proptest! {
        #[test]
        fn a_wait_is_never_shorter_than_planned_or_wished(tries in 0_u32..12, random in -1.0..2.0, asked in proptest::option::of(0_u64..200_000)) {
            let planned = wait(tries, 0.0, None);
            let waited = wait(tries, random, asked);
            prop_assert_eq!(planned.is_some(), waited.is_some());
            if let (Some(planned), Some(waited)) = (planned, waited) {
                prop_assert!(waited >= planned && waited >= wish(asked));
                prop_assert!(waited <= (planned / 5 * 6).max(wish(asked)));
            }
        }
    }
}
