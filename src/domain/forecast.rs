//! When a campaign would be through: its people poured out at the rates, within their hours and under the
//! limit on people a day, behind those who wait for the same sender already.
//!
//! A fluid model. It knows means and no single message, so it answers "until 25 December" and not a minute.

use std::collections::{HashMap, VecDeque};

const DAY: i64 = 86_400_000;
/// A span is looked at in steps of at most this long, in milliseconds.
const STEP: i64 = 3_600_000;
/// Steps after which it gives up: some years of hours.
const MOST_STEPS: usize = 50_000;

/// How fast and how much may be sent, by the configuration in force.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Parts a second over all senders.
    pub account_rate_per_second: f64,
    /// By address.
    pub senders: HashMap<String, SenderLimit>,
}

/// How fast and to how many one sender may send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SenderLimit {
    /// Parts a second.
    pub rate_per_second: f64,
    /// People a day; `None`: no bound.
    pub recipients_per_day: Option<i64>,
}

/// People whose hours are the same.
pub struct Group<'a> {
    /// How many would get it.
    pub people: i64,
    /// The first span at or after an instant in which they may be written to, from and to in milliseconds UTC;
    /// `None`: never. Asked again only when the span that it gave is over.
    pub open: &'a dyn Fn(i64) -> Option<(i64, i64)>,
    /// They count against the sender's limit on people a day.
    pub takes_place: bool,
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
    /// Those who wait for the same sender already, and go first.
    pub ahead: Ahead,
}

/// Messages of others that the sender has to send.
#[derive(Clone, Debug, Default)]
pub struct Ahead {
    /// When they are due, and how many.
    pub due: Vec<(i64, i64)>,
    /// How many of them go in a second, without our campaign's own limit.
    pub per_second: f64,
}

/// What will come of it, as far as can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// When the first message goes; `None` without anybody to send to.
    pub first: Option<i64>,
    /// When the last one goes; `None` where somebody is left at the end of the years that it looks ahead.
    pub last: Option<i64>,
    /// How many would wait until it is too late.
    pub would_expire: i64,
}

/// A group on its way.
struct Stream<'a> {
    people: f64,
    source: Source<'a>,
    takes_place: bool,
    /// The span that was answered last, and from when on it is the right answer.
    span: Option<(i64, (i64, i64))>,
}

enum Source<'a> {
    Own(&'a Group<'a>),
    /// Due then.
    Ahead(i64),
}

/// Those who wait, and the people who count against the daily limit.
struct Waiting<'a> {
    streams: Vec<Stream<'a>>,
    /// When places become free again, and how many.
    used: VecDeque<(i64, f64)>,
    free: f64,
}

/// What comes next.
enum Next {
    /// This stream flows now, until then at most.
    Flow(usize, i64),
    /// Nobody before then.
    Wait(i64),
    /// Nobody any more.
    Never,
}

/// Pours everybody out from `now` on.
pub fn forecast(now: i64, groups: &[Group<'_>], pace: &Pace) -> Forecast {
    let own_rate = pace.parts_per_second / pace.parts_per_message.max(1.0) / 1_000.0;
    let mut waiting = Waiting::new(groups, pace);
    let end = pace.expires_at.unwrap_or(i64::MAX);
    let (mut at, mut first, mut last) = (now, None, None);
    for _ in 0..MOST_STEPS {
        if waiting.people() < 0.5 || at >= end || own_rate <= 0.0 {
            break;
        }
        waiting.renew(at);
        match waiting.next(at) {
            Next::Never => break,
            Next::Wait(until) => at = until.max(at + 1).min(end),
            Next::Flow(index, to) => {
                let is_own = waiting.is_own(index);
                let rate = if is_own { own_rate } else { (pace.ahead.per_second / 1_000.0).max(own_rate) };
                let span = (to.min(end) - at).clamp(1, STEP);
                let sent = waiting.pour(index, at, span as f64 * rate);
                first = first.or_else(|| is_own.then_some(at));
                at += ((sent / rate).ceil() as i64).clamp(1, span);
                last = if is_own { Some(at) } else { last };
            }
        }
    }
    let left = waiting.people().round() as i64;
    let is_over = left == 0 || pace.expires_at.is_some();
    Forecast { first, last: last.filter(|_| is_over), would_expire: if is_over { left } else { 0 } }
}

impl<'a> Waiting<'a> {
    fn new(groups: &'a [Group<'a>], pace: &Pace) -> Waiting<'a> {
        let stream = |people: i64, source, takes_place| Stream {
            people: people as f64,
            source,
            takes_place,
            span: None,
        };
        let ahead = pace.ahead.due.iter().map(|(due, n)| stream(*n, Source::Ahead(*due), true));
        let own = groups.iter().map(|group| stream(group.people, Source::Own(group), group.takes_place));
        let daily = pace.daily.as_ref();
        let used: VecDeque<(i64, f64)> = daily
            .map(|daily| daily.used.iter().map(|(at, n)| (at + DAY, *n as f64)).collect())
            .unwrap_or_default();
        let taken: f64 = used.iter().map(|(_, n)| n).sum();
        let free = daily.map_or(f64::INFINITY, |daily| daily.most as f64 - taken);
        Waiting { streams: ahead.chain(own).collect(), used, free }
    }

    /// Our own who wait.
    fn people(&self) -> f64 {
        let own = self.streams.iter().filter(|stream| matches!(stream.source, Source::Own(_)));
        own.map(|stream| stream.people).sum()
    }

    fn is_own(&self, index: usize) -> bool {
        self.streams.get(index).is_some_and(|stream| matches!(stream.source, Source::Own(_)))
    }

    /// Gives back the places whose day is over.
    fn renew(&mut self, at: i64) {
        while let Some((_, n)) = self.used.front().filter(|(until, _)| *until <= at) {
            self.free += n;
            self.used.pop_front();
        }
    }

    /// Who goes now: others first, then the group whose hours end first among those that are open. Nobody who
    /// takes a place goes before one is free.
    fn next(&mut self, at: i64) -> Next {
        let has_place = self.free >= 0.5;
        let mut flows: Option<((bool, i64), usize)> = None;
        let mut opens: Option<i64> = None;
        let mut waits_for_place = false;
        for (index, stream) in self.streams.iter_mut().enumerate().filter(|(_, stream)| stream.people > 0.0) {
            if stream.takes_place && !has_place {
                waits_for_place = true;
                continue;
            }
            let Some((from, to)) = stream.open(at) else {
                continue;
            };
            if from > at {
                opens = Some(opens.map_or(from, |soonest| soonest.min(from)));
                continue;
            }
            let key = (matches!(stream.source, Source::Own(_)), to);
            if flows.is_none_or(|(best, _)| key < best) {
                flows = Some((key, index));
            }
        }
        if let Some(((_, to), index)) = flows {
            return Next::Flow(index, to);
        }
        let place = self.used.front().map(|(until, _)| *until).filter(|_| waits_for_place);
        match [opens, place].into_iter().flatten().min() {
            Some(until) => Next::Wait(until),
            None => Next::Never,
        }
    }

    /// Takes up to `most` people of a stream away and says how many.
    fn pour(&mut self, index: usize, at: i64, most: f64) -> f64 {
        let Some(stream) = self.streams.get_mut(index) else {
            return 0.0;
        };
        let places = if stream.takes_place { self.free } else { f64::INFINITY };
        let sent = most.min(stream.people).min(places);
        stream.people -= sent;
        if stream.takes_place && self.free.is_finite() {
            self.free -= sent;
            self.used.push_back((at + DAY, sent));
        }
        sent
    }
}

impl Stream<'_> {
    fn open(&mut self, at: i64) -> Option<(i64, i64)> {
        let group = match &self.source {
            Source::Ahead(due) => return Some((at.max(*due), i64::MAX)),
            Source::Own(group) => group,
        };
        if let Some((asked, (from, to))) = self.span
            && (asked..to).contains(&at)
        {
            return Some((from.max(at), to));
        }
        let (from, to) = (group.open)(at)?;
        let span = (from.max(at), to.max(from.max(at) + 1));
        self.span = Some((at, span));
        Some(span)
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
        Pace {
            parts_per_second,
            parts_per_message: 1.0,
            daily: None,
            expires_at: None,
            ahead: Ahead::default(),
        }
    }

    fn group<'a>(people: i64, open: &'a dyn Fn(i64) -> Option<(i64, i64)>) -> Group<'a> {
        Group { people, open, takes_place: true }
    }

    fn limited(most: i64, used: Vec<(i64, i64)>) -> Pace {
        Pace { daily: Some(DailyLimit { most, used }), ..pace(80.0) }
    }

    #[test]
    fn people_over_rate_is_the_time_it_takes() {
        for (people, rate, parts, seconds) in
            [(8_000, 80.0, 1.0, 100), (8_000, 80.0, 2.0, 200), (10, 0.33, 1.0, 31)]
        {
            let groups = [group(people, &always)];
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
        let groups = [group(8_000, &always)];
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
        let groups = [group(20_000, &by_day)];
        // Three hours at one a second, eleven the next day, the rest on the third.
        let seen = forecast(START, &groups, &pace(1.0));
        assert_eq!(seen.last, Some(START + 16 * HOUR + (20_000 - 3 * 3_600) * 1_000));
        let before_dawn = START - 12 * HOUR;
        let seen = forecast(before_dawn, &[group(1, &by_day)], &pace(1.0));
        assert_eq!(seen.first, Some(before_dawn + 4 * HOUR));
        // Both fit in before the evening only if the one with the shorter day goes first.
        let groups = [group(10_000, &always), group(10_000, &by_day)];
        let seen = forecast(START, &groups, &pace(1.0));
        assert!(seen.last.unwrap() <= START + 20_001 * 1_000, "{seen:?}");
    }

    #[test]
    fn who_waits_longer_than_the_deadline_is_counted() {
        let groups = [group(1_000, &always)];
        let deadline = Pace { expires_at: Some(START + 100_000), ..pace(4.0) };
        let seen = forecast(START, &groups, &deadline);
        assert_eq!((seen.last, seen.would_expire), (Some(START + 100_000), 600));
        let daily = Pace { expires_at: Some(START + 3 * DAY - HOUR), ..limited(250, Vec::new()) };
        assert_eq!(forecast(START, &groups, &daily).would_expire, 250);
        let never = [group(7, &|_| None)];
        assert_eq!(forecast(START, &never, &deadline), Forecast { first: None, last: None, would_expire: 7 });
        // Without a deadline nobody expires, and nobody says when the last one goes.
        assert_eq!(
            forecast(START, &never, &pace(1.0)),
            Forecast { first: None, last: None, would_expire: 0 }
        );
    }

    #[test]
    fn those_who_wait_for_the_sender_already_go_first() {
        let groups = [group(600, &always)];
        let behind =
            |due, n, per_second| Pace { ahead: Ahead { due: vec![(due, n)], per_second }, ..pace(1.0) };
        let seen = forecast(START, &groups, &behind(START - HOUR, 1_000, 10.0));
        assert_eq!((seen.first, seen.last), (Some(START + 100_000), Some(START + 700_000)));
        // Who is due later only comes between.
        let seen = forecast(START, &groups, &behind(START + 2 * HOUR, 1_000, 10.0));
        assert_eq!((seen.first, seen.last), (Some(START), Some(START + 600_000)));
        // They take places of the day too.
        let daily = Some(DailyLimit { most: 1_000, used: Vec::new() });
        let seen = forecast(START, &groups, &Pace { daily, ..behind(START, 1_000, 1_000.0) });
        assert_eq!(seen.first, Some(START + DAY));
    }

    #[test]
    fn who_takes_no_place_of_the_day_goes_although_none_is_free() {
        let spent = limited(5, vec![(START - 2 * HOUR, 5)]);
        let known = Group { people: 80, open: &always, takes_place: false };
        let seen = forecast(START, &[known], &spent);
        assert_eq!((seen.first, seen.last), (Some(START), Some(START + 1_000)));
        let known = Group { people: 80, open: &by_day, takes_place: false };
        let seen = forecast(START, &[known, group(5, &always)], &spent);
        assert_eq!(seen.first, Some(START));
        assert!((START + 22 * HOUR..START + 22 * HOUR + 2_000).contains(&seen.last.unwrap()), "{seen:?}");
    }

    proptest! {
        #[test]
        fn more_people_or_a_smaller_limit_never_end_earlier(
            people in 1_i64..3_000, more in 0_i64..1_000, most in 50_i64..500, rate in 1_u32..100,
        ) {
            let end = |people, most| {
                let pace = Pace { parts_per_second: f64::from(rate), ..limited(most, Vec::new()) };
                forecast(START, &[group(people, &by_day)], &pace).last.unwrap()
            };
            prop_assert!(end(people, most) <= end(people + more, most));
            prop_assert!(end(people, most + 50) <= end(people, most) + 2_000);
        }
    }
}
