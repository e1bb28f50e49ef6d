//! When a campaign would be through: its people poured out at the rates, within their hours and under the
//! limit on people a day.
//!
//! A fluid model. It knows means and no single message, so it answers "until 25 December" and not a minute.

use std::collections::VecDeque;

const DAY: i64 = 86_400_000;
/// A span is looked at in steps of at most this long, in milliseconds.
const STEP: i64 = 3_600_000;
/// Steps after which it gives up: some years of hours.
const MOST_STEPS: usize = 200_000;

/// People whose hours are the same.
pub struct Group<'a> {
    /// How many would get it.
    pub people: i64,
    /// The first span at or after an instant in which they may be written to, from and to in milliseconds UTC;
    /// `None`: never.
    pub open: &'a dyn Fn(i64) -> Option<(i64, i64)>,
}

/// A limit on people within 24 hours.
#[derive(Clone, Debug, Default)]
pub struct DailyLimit {
    /// How many may be written to.
    pub most: i64,
    /// Whom the sender wrote to already: when and how many, oldest first. Younger than a day.
    pub used: Vec<(i64, i64)>,
}

/// What decides how fast it goes.
#[derive(Clone, Debug)]
pub struct Pace {
    /// The least of the limits of campaign, sender and account, in parts a second.
    pub parts_per_second: f64,
    /// Mean parts of a message.
    pub parts_per_message: f64,
    /// The sender's limit on people a day.
    pub daily: Option<DailyLimit>,
    /// When what waits expires.
    pub expires_at: Option<i64>,
}

/// What will come of it, as far as can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// When the first message goes; `None` without anybody to send to.
    pub first: Option<i64>,
    /// When the last one goes.
    pub last: Option<i64>,
    /// How many would wait until it is too late.
    pub would_expire: i64,
}

/// Those who wait, and the people who count against the daily limit.
struct Waiting<'a> {
    groups: Vec<(f64, &'a Group<'a>)>,
    /// When places become free again, and how many.
    used: VecDeque<(i64, f64)>,
    free: f64,
}

/// Pours everybody out from `now` on.
pub fn forecast(now: i64, groups: &[Group<'_>], pace: &Pace) -> Forecast {
    let per_milli = pace.parts_per_second / pace.parts_per_message.max(1.0) / 1_000.0;
    let mut waiting = Waiting::new(groups, pace.daily.as_ref());
    let end = pace.expires_at.unwrap_or(i64::MAX);
    let (mut at, mut first, mut last) = (now, None, None);
    for _ in 0..MOST_STEPS {
        if waiting.people() < 0.5 || at >= end || per_milli <= 0.0 {
            break;
        }
        waiting.renew(at);
        let Some((index, from, to)) = waiting.next_open(at) else {
            break;
        };
        if from > at {
            at = from.min(end);
            continue;
        }
        if waiting.free < 0.5 {
            // Nobody is written to before a place becomes free.
            match waiting.used.front() {
                Some((until, _)) => at = (*until).max(at + 1).min(end),
                None => break,
            }
            continue;
        }
        let span = (to.min(end) - at).clamp(1, STEP);
        let sent = waiting.pour(index, at, span as f64 * per_milli);
        first = first.or(Some(at));
        at += ((sent / per_milli).ceil() as i64).clamp(1, span);
        last = Some(at);
    }
    Forecast { first, last, would_expire: waiting.people().round() as i64 }
}

impl<'a> Waiting<'a> {
    fn new(groups: &'a [Group<'a>], daily: Option<&DailyLimit>) -> Waiting<'a> {
        let groups = groups.iter().map(|group| (group.people as f64, group)).collect();
        let used: VecDeque<(i64, f64)> = daily
            .map(|daily| daily.used.iter().map(|(at, n)| (at + DAY, *n as f64)).collect())
            .unwrap_or_default();
        let taken: f64 = used.iter().map(|(_, n)| n).sum();
        let free = daily.map_or(f64::INFINITY, |daily| daily.most as f64 - taken);
        Waiting { groups, used, free }
    }

    fn people(&self) -> f64 {
        self.groups.iter().map(|(people, _)| people).sum()
    }

    /// Gives back the places whose day is over.
    fn renew(&mut self, at: i64) {
        while let Some((_, n)) = self.used.front().filter(|(until, _)| *until <= at) {
            self.free += n;
            self.used.pop_front();
        }
    }

    /// The group that goes now, or next: the one whose hours end first among those that are open.
    fn next_open(&self, at: i64) -> Option<(usize, i64, i64)> {
        let spans = self.groups.iter().enumerate().filter(|(_, (people, _))| *people > 0.0);
        let spans = spans.filter_map(|(index, (_, group))| {
            (group.open)(at).map(|(from, to)| (index, from.max(at), to.max(at + 1)))
        });
        spans.min_by_key(|(_, from, to)| (*from, *to))
    }

    /// Takes up to `most` people of a group away and says how many.
    fn pour(&mut self, index: usize, at: i64, most: f64) -> f64 {
        let Some((people, _)) = self.groups.get_mut(index) else {
            return 0.0;
        };
        let sent = most.min(*people).min(self.free);
        *people -= sent;
        if self.free.is_finite() {
            self.free -= sent;
            self.used.push_back((at + DAY, sent));
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;
    const START: i64 = 20_000 * DAY + 17 * HOUR;

    fn always(at: i64) -> Option<(i64, i64)> {
        Some((at, i64::MAX))
    }

    /// Nine to eight in the evening, UTC.
    fn by_day(at: i64) -> Option<(i64, i64)> {
        let midnight = at - at.rem_euclid(DAY);
        let (from, to) = (midnight + 9 * HOUR, midnight + 20 * HOUR);
        Some(if at < to { (from.max(at), to) } else { (from + DAY, to + DAY) })
    }

    fn pace(parts_per_second: f64) -> Pace {
        Pace { parts_per_second, parts_per_message: 1.0, daily: None, expires_at: None }
    }

    fn limited(most: i64, used: Vec<(i64, i64)>) -> Pace {
        Pace { daily: Some(DailyLimit { most, used }), ..pace(80.0) }
    }

    #[test]
    fn people_over_rate_is_the_time_it_takes() {
        for (people, rate, parts, seconds) in
            [(8_000, 80.0, 1.0, 100), (8_000, 80.0, 2.0, 200), (10, 0.33, 1.0, 31)]
        {
            let groups = [Group { people, open: &always }];
            let seen = forecast(START, &groups, &Pace { parts_per_message: parts, ..pace(rate) });
            assert_eq!(seen.first, Some(START));
            let took = (seen.last.unwrap() - START) / 1_000;
            assert!((took - seconds).abs() <= 1, "{took} for {people} at {rate}");
            assert_eq!(seen.would_expire, 0);
        }
    }

    #[test]
    fn eight_thousand_people_at_250_a_day_take_until_christmas() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let start = at("2026-11-23T17:00:00Z");
        let groups = [Group { people: 8_000, open: &always }];
        let seen = forecast(start, &groups, &limited(250, Vec::new()));
        // 32 helpings, the first at once: 31 days.
        let last = seen.last.unwrap();
        assert!((at("2026-12-24T17:00:00Z")..at("2026-12-24T17:05:00Z")).contains(&last), "{last}");
        // Half of the first day is used up, two hours ago.
        let seen = forecast(start, &groups, &limited(250, vec![(start - 2 * HOUR, 125)]));
        assert_eq!(seen.first, Some(start));
        let last = seen.last.unwrap();
        assert!((at("2026-12-25T15:00:00Z")..at("2026-12-25T15:05:00Z")).contains(&last), "{last}");
        // All of it.
        let seen = forecast(start, &groups, &limited(250, vec![(start - 2 * HOUR, 250)]));
        assert_eq!(seen.first, Some(start + 22 * HOUR));
    }

    #[test]
    fn nights_are_waited_for_and_who_closes_first_goes_first() {
        let groups = [Group { people: 20_000, open: &by_day }];
        // Three hours at one a second, eleven the next day, the rest on the third.
        let seen = forecast(START, &groups, &pace(1.0));
        assert_eq!(seen.last, Some(START + 16 * HOUR + (20_000 - 3 * 3_600) * 1_000));
        let before_dawn = START - 12 * HOUR;
        let seen = forecast(before_dawn, &[Group { people: 1, open: &by_day }], &pace(1.0));
        assert_eq!(seen.first, Some(before_dawn + 4 * HOUR));
        // Both fit in before the evening only if the one with the shorter day goes first.
        let groups = [Group { people: 10_000, open: &always }, Group { people: 10_000, open: &by_day }];
        let seen = forecast(START, &groups, &pace(1.0));
        assert!(seen.last.unwrap() <= START + 20_001 * 1_000, "{seen:?}");
    }

    #[test]
    fn who_waits_longer_than_the_deadline_is_counted() {
        let groups = [Group { people: 1_000, open: &always }];
        let deadline = Pace { expires_at: Some(START + 100_000), ..pace(4.0) };
        let seen = forecast(START, &groups, &deadline);
        assert_eq!((seen.last, seen.would_expire), (Some(START + 100_000), 600));
        let daily = Pace { expires_at: Some(START + 3 * DAY - HOUR), ..limited(250, Vec::new()) };
        assert_eq!(forecast(START, &groups, &daily).would_expire, 250);
        let never = [Group { people: 7, open: &|_| None }];
        assert_eq!(
            forecast(START, &never, &pace(1.0)),
            Forecast { first: None, last: None, would_expire: 7 }
        );
    }

    proptest! {
        #[test]
        fn more_people_or_a_smaller_limit_never_end_earlier(
            people in 1_i64..3_000, more in 0_i64..1_000, most in 50_i64..500, rate in 1_u32..100,
        ) {
            let end = |people, most| {
                let pace = Pace { parts_per_second: f64::from(rate), ..limited(most, Vec::new()) };
                forecast(START, &[Group { people, open: &by_day }], &pace).last.unwrap()
            };
            prop_assert!(end(people, most) <= end(people + more, most));
            prop_assert!(end(people, most + 50) <= end(people, most) + 2_000);
        }
    }
}
