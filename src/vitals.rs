//! How the process has been doing in the last minutes: a short history in memory, fed once a second by one ticker
//! and by every webhook. Bounded, and gone with the process; what has to last is counted in the data file.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Millis;

/// Milliseconds that a point of the history stands for.
pub const GRAIN: Millis = 10_000;
/// Points that are kept: a quarter of an hour.
pub const MOST_POINTS: usize = 90;
/// Seconds of a campaign's pace that are kept.
pub const MOST_SECONDS: usize = 300;
/// Webhooks of which the time is kept, for the percentiles of now.
const MOST_WEBHOOKS: usize = 2_000;
/// Older ones say nothing about now, in milliseconds.
const RECENT: Millis = 300_000;
/// Campaigns whose pace is kept.
const MOST_CAMPAIGNS: usize = 200;

/// What the ticker reads each second.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Messages that wait.
    pub queued: i64,
    /// Messages that Twilio took since the start of the process.
    pub accepted: u64,
    /// Parts a second that the account may send.
    pub limit: Option<f64>,
    /// Requests under way.
    pub in_flight: i64,
    /// And how many may be.
    pub ceiling: i64,
    /// Campaigns that send: id, and messages that Twilio took of each so far.
    pub campaigns: Vec<(i64, i64)>,
}

/// Ten seconds of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// When they ended.
    pub at: Millis,
    /// Messages that waited at the end.
    pub queued: i64,
    /// Messages a second that Twilio took.
    pub per_second: f64,
    /// Parts a second that were allowed.
    pub limit: Option<f64>,
    /// The most requests that were under way at once, as far as was looked.
    pub in_flight: i64,
    /// How many might have been at the end.
    pub ceiling: i64,
    /// Webhooks that came.
    pub webhooks: usize,
    /// Half of them were answered within so many milliseconds …
    pub p50: Option<f64>,
    /// … and all but one of a hundred within so many.
    pub p99: Option<f64>,
}

/// How webhooks have been answered of late.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// The last one whose signature was good.
    pub last_kept_at: Option<Millis>,
    /// The last one that was turned away.
    pub last_refused_at: Option<Millis>,
    /// Turned away since the start.
    pub refused: u64,
    /// Of how many the percentiles are.
    pub n: usize,
    /// Half of those of the last five minutes, in milliseconds.
    pub p50: Option<f64>,
    /// All but one of a hundred of them.
    pub p99: Option<f64>,
}

/// The history. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Vitals(Arc<Mutex<History>>);

#[derive(Debug, Default)]
struct History {
    points: VecDeque<Point>,
    begun: Option<Begun>,
    now: Sample,
    webhooks: VecDeque<(Millis, f64)>,
    fresh: Vec<f64>,
    last_kept_at: Option<Millis>,
    last_refused_at: Option<Millis>,
    refused: u64,
    pace: VecDeque<(Millis, u64)>,
    campaigns: HashMap<i64, Track>,
    troubled_at: Option<Millis>,
}

/// The point that is being collected.
#[derive(Clone, Copy, Debug)]
struct Begun {
    at: Millis,
    accepted: u64,
    most_in_flight: i64,
}

#[derive(Debug, Default)]
struct Track {
    last: Option<(Millis, i64)>,
    per_second: VecDeque<(Millis, f64)>,
}

impl Vitals {
    fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was read at `at`, about a second after the last time.
    pub fn note(&self, at: Millis, sample: Sample) {
        let mut history = self.history();
        history.follow_campaigns(at, &sample.campaigns);
        history.pace.push_back((at, sample.accepted));
        while history.pace.len() > 6 {
            history.pace.pop_front();
        }
        let begun = history.begun.get_or_insert(Begun { at, accepted: sample.accepted, most_in_flight: 0 });
        begun.most_in_flight = begun.most_in_flight.max(sample.in_flight);
        let begun = *begun;
        if at - begun.at >= GRAIN {
            history.close(at, begun, &sample);
        }
        history.now = sample;
    }

    /// Notes that a webhook was answered within so many milliseconds, and whether it was let in.
    pub fn note_webhook(&self, at: Millis, millis: f64, is_kept: bool) {
        let mut history = self.history();
        if !is_kept {
            history.last_refused_at = Some(at);
            history.refused += 1;
            return;
        }
        history.last_kept_at = Some(at);
        if history.fresh.len() < MOST_WEBHOOKS {
            history.fresh.push(millis);
        }
        history.webhooks.push_back((at, millis));
        while history.webhooks.len() > MOST_WEBHOOKS {
            history.webhooks.pop_front();
        }
    }

    /// Notes whether anything needs somebody at `at`, and tells when something last did, if it was seen.
    pub fn note_trouble(&self, at: Millis, is_troubled: bool) -> Option<Millis> {
        let mut history = self.history();
        if is_troubled {
            history.troubled_at = Some(at);
        }
        history.troubled_at
    }

    /// The points so far, oldest first.
    pub fn points(&self) -> Vec<Point> {
        self.history().points.iter().copied().collect()
    }

    /// The last second.
    pub fn now(&self) -> Sample {
        self.history().now.clone()
    }

    /// Messages a second that Twilio took in the last seconds.
    pub fn per_second(&self) -> f64 {
        let history = self.history();
        match (history.pace.front(), history.pace.back()) {
            (Some((from, before)), Some((to, after))) if to > from => {
                after.saturating_sub(*before) as f64 * 1_000.0 / (to - from) as f64
            }
            _ => 0.0,
        }
    }

    /// How webhooks have been answered of late.
    pub fn latency(&self, now: Millis) -> Latency {
        let history = self.history();
        let mut recent: Vec<f64> =
            history.webhooks.iter().filter(|(at, _)| now - at <= RECENT).map(|(_, millis)| *millis).collect();
        recent.sort_by(f64::total_cmp);
        Latency {
            last_kept_at: history.last_kept_at,
            last_refused_at: history.last_refused_at,
            refused: history.refused,
            n: recent.len(),
            p50: percentile(&recent, 50),
            p99: percentile(&recent, 99),
        }
    }

    /// Messages a second that Twilio took of a campaign, each second of the last five minutes in which it sent.
    pub fn campaign_pace(&self, id: i64) -> Vec<(Millis, f64)> {
        self.history()
            .campaigns
            .get(&id)
            .map_or_else(Vec::new, |track| track.per_second.iter().copied().collect())
    }

    /// The same over the last five seconds; `None` when it was not looked at for two of them.
    pub fn campaign_per_second(&self, id: i64) -> Option<f64> {
        let history = self.history();
        let track = history.campaigns.get(&id)?;
        let last: Vec<f64> = track.per_second.iter().rev().take(5).map(|(_, n)| *n).collect();
        (last.len() > 1).then(|| last.iter().sum::<f64>() / last.len() as f64)
    }
}

impl History {
    fn close(&mut self, at: Millis, begun: Begun, sample: &Sample) {
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.sort_by(f64::total_cmp);
        let seconds = (at - begun.at) as f64 / 1_000.0;
        self.points.push_back(Point {
            at,
            queued: sample.queued,
            per_second: sample.accepted.saturating_sub(begun.accepted) as f64 / seconds,
            limit: sample.limit,
            in_flight: begun.most_in_flight,
            ceiling: sample.ceiling,
            webhooks: fresh.len(),
            p50: percentile(&fresh, 50),
            p99: percentile(&fresh, 99),
        });
        while self.points.len() > MOST_POINTS {
            self.points.pop_front();
        }
        self.begun = Some(Begun { at, accepted: sample.accepted, most_in_flight: sample.in_flight });
    }

    fn follow_campaigns(&mut self, at: Millis, campaigns: &[(i64, i64)]) {
        for (id, accepted) in campaigns.iter().take(MOST_CAMPAIGNS) {
            let track = self.campaigns.entry(*id).or_default();
            if let Some((before, n)) = track.last
                && at > before
            {
                let per_second = (accepted - n).max(0) as f64 * 1_000.0 / (at - before) as f64;
                track.per_second.push_back((at, per_second));
            }
            track.last = Some((at, *accepted));
            while track.per_second.len() > MOST_SECONDS {
                track.per_second.pop_front();
            }
        }
        let forgotten = at - MOST_SECONDS as Millis * 1_000;
        self.campaigns.retain(|_, track| track.last.is_some_and(|(last, _)| last > forgotten));
    }
}

/// The value below which so many of a hundred lie, of values in order.
fn percentile(sorted: &[f64], hundredth: usize) -> Option<f64> {
    let rank = (sorted.len() * hundredth).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(accepted: u64, in_flight: i64) -> Sample {
        Sample { accepted, in_flight, ceiling: 64, queued: 7, ..Sample::default() }
    }

    #[test]
    fn ten_seconds_are_a_point_with_their_pace_and_their_peak() {
        let vitals = Vitals::default();
        for second in 0..=20 {
            vitals.note(second * 1_000, sample(second as u64 * 5, if second == 3 { 40 } else { 2 }));
        }
        let points = vitals.points();
        assert_eq!(points.len(), 2);
        assert_eq!((points[0].at, points[0].per_second, points[0].in_flight), (10_000, 5.0, 40));
        assert_eq!((points[1].at, points[1].in_flight, points[1].queued), (20_000, 2, 7));
        assert_eq!(vitals.per_second(), 5.0);
    }

    #[test]
    fn the_history_is_bounded() {
        let vitals = Vitals::default();
        for second in 0..5_000 {
            let campaigns = (0..500).map(|id| (id, second)).collect();
            vitals.note(second * 1_000, Sample { campaigns, ..Sample::default() });
            vitals.note_webhook(second * 1_000, 1.0, true);
        }
        let history = vitals.history();
        assert_eq!(history.points.len(), MOST_POINTS);
        assert_eq!(history.webhooks.len(), MOST_WEBHOOKS);
        assert_eq!(history.campaigns.len(), MOST_CAMPAIGNS);
        assert!(history.campaigns.values().all(|track| track.per_second.len() == MOST_SECONDS));
    }

    #[test]
    fn a_campaign_that_is_over_is_forgotten() {
        let vitals = Vitals::default();
        vitals.note(0, Sample { campaigns: vec![(7, 0)], ..Sample::default() });
        vitals.note(1_000, Sample { campaigns: vec![(7, 9)], ..Sample::default() });
        vitals.note(3_000, Sample { campaigns: vec![(7, 13)], ..Sample::default() });
        assert_eq!(vitals.campaign_pace(7), [(1_000, 9.0), (3_000, 2.0)]);
        assert_eq!(vitals.campaign_per_second(7), Some(5.5));
        vitals.note(400_000, Sample::default());
        assert!(vitals.campaign_pace(7).is_empty());
    }

    #[test]
    fn percentiles_are_of_the_last_minutes_and_of_what_was_let_in() {
        let vitals = Vitals::default();
        vitals.note_webhook(0, 900.0, true);
        for n in 1..=100 {
            vitals.note_webhook(400_000, f64::from(n), true);
        }
        vitals.note_webhook(400_001, 5_000.0, false);
        let latency = vitals.latency(400_002);
        assert_eq!((latency.n, latency.p50, latency.p99), (100, Some(50.0), Some(99.0)));
        assert_eq!((latency.refused, latency.last_refused_at), (1, Some(400_001)));
        assert_eq!(Vitals::default().latency(0).p99, None);
    }

    #[test]
    fn the_last_trouble_is_remembered() {
        let vitals = Vitals::default();
        assert_eq!(vitals.note_trouble(5, false), None);
        assert_eq!(vitals.note_trouble(7, true), Some(7));
        assert_eq!(vitals.note_trouble(9, false), Some(7));
    }
}
