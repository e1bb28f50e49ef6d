//! What a campaign's counts add up to: the bar, shares with the base that they are of, how long it takes and what it
//! will cost, and the one fact that matters next. Values in, values out.

use jiff::tz::TimeZone;
use minijinja::{Value, context};

use crate::clock::Millis;
use crate::domain::campaign::CampaignStatus as State;
use crate::store::campaigns::CampaignCount;
use crate::store::campaigns::pace::Span;
use crate::store::reports::campaigns::CampaignView;
use crate::web::admin::format::{self, Fineness};
use crate::web::admin::happenings;

/// Points of the plot, at most: as many as tell apart on a screen, and a page stays small.
const MOST_POINTS: i64 = 120;
/// Reasons for which a queued message waits for a later hour, not for its turn.
const LATER: [&str; 5] = ["quiet_hours", "local_time", "daily_limit", "frequency_cap", "spending_cap"];

/// How many people are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) total: i64,
    /// Wait for their turn.
    pub(super) waiting: i64,
    /// Wait for a later hour.
    pub(super) deferred: i64,
    /// At Twilio or on the way there.
    pub(super) on_way: i64,
    pub(super) uncertain: i64,
    pub(super) delivered: i64,
    pub(super) read: i64,
    /// Refused, not delivered, or too late.
    pub(super) failed: i64,
    pub(super) skipped: i64,
    pub(super) cancelled: i64,
}

impl Figures {
    pub(super) fn of(counts: &[CampaignCount]) -> Figures {
        let mut sums = Figures::default();
        for count in counts {
            let sum = match count.status.as_str() {
                "queued" if LATER.contains(&count.reason.as_str()) => &mut sums.deferred,
                "queued" => &mut sums.waiting,
                "uncertain" => &mut sums.uncertain,
                "delivered" => &mut sums.delivered,
                "read" => &mut sums.read,
                "failed" | "undelivered" | "expired" => &mut sums.failed,
                "skipped" => &mut sums.skipped,
                "cancelled" => &mut sums.cancelled,
                _ => &mut sums.on_way,
            };
            *sum += count.n;
            sums.total += count.n;
        }
        sums
    }

    /// Nothing more happens to them by our doing.
    pub(super) fn settled(&self) -> i64 {
        self.total - self.open() - self.on_way - self.uncertain
    }

    /// Who has not got it yet and still may.
    pub(super) fn open(&self) -> i64 {
        self.waiting + self.deferred
    }

    /// Arrived, read or not.
    pub(super) fn arrived(&self) -> i64 {
        self.delivered + self.read
    }

    /// Of whom it is known whether it arrived: the base of the share that did.
    pub(super) fn answered(&self) -> i64 {
        self.arrived() + self.failed
    }

    /// Handed over to Twilio, whatever became of it.
    pub(super) fn handed_over(&self) -> i64 {
        self.answered() + self.on_way
    }

    /// The parts of the bar, in their order: kind, word, how many. They add up to the total.
    pub(super) fn parts(&self) -> [(&'static str, &'static str, i64); 7] {
        [
            ("read", "Read", self.read),
            ("delivered", "Delivered", self.delivered),
            ("sent", "On their way", self.on_way + self.uncertain),
            ("failed", "Failed", self.failed),
            ("skipped", "Skipped", self.skipped),
            ("cancelled", "Not sent", self.cancelled),
            ("open", "Open", self.open()),
        ]
    }

    pub(super) fn value(&self) -> Value {
        let parts = self.parts();
        let shown = parts.iter().filter(|(_, _, n)| *n > 0);
        context! {
            total => self.total,
            settled => self.settled(),
            share => if self.total > 0 { self.settled() * 100 / self.total } else { 0 },
            open => self.open(),
            waiting => self.waiting,
            deferred => self.deferred,
            on_way => self.on_way,
            uncertain => self.uncertain,
            delivered => self.delivered,
            read => self.read,
            arrived => self.arrived(),
            answered => self.answered(),
            handed_over => self.handed_over(),
            failed => self.failed,
            skipped => self.skipped,
            cancelled => self.cancelled,
            parts => shown.map(|(kind, label, n)| context! { kind => *kind, label => *label, n => *n }).collect::<Vec<_>>(),
            says => says(&parts),
        }
    }
}

/// The bar in words, for who does not see it.
fn says(parts: &[(&str, &str, i64)]) -> String {
    let shown = parts.iter().filter(|(_, _, n)| *n > 0);
    let words: Vec<String> =
        shown.map(|(_, label, n)| format!("{} {}", format::number(*n), label.to_lowercase())).collect();
    if words.is_empty() { "nobody yet".to_owned() } else { words.join(", ") }
}

/// When those who wait for their turn would be through at the pace of late, or at the limit before there is one.
/// `None` when nobody waits or nothing is sent.
pub(super) fn eta(view: &CampaignView, figures: &Figures, now: Millis) -> Option<Millis> {
    let rate = view.rate_now.or(view.campaign.plan.rate_limit_per_second)?;
    let is_going = view.campaign.status.is_sending() && figures.waiting > 0 && rate > 0.0;
    is_going.then(|| now.saturating_add((figures.waiting as f64 / rate * 1_000.0) as Millis))
}

/// What all of it would cost if the rest costs what the first did; in millionths. `None` while nothing was handed
/// over or a price is unknown.
pub(super) fn cost_at_end(view: &CampaignView, figures: &Figures) -> Option<i64> {
    let sent = view.sums.accepted;
    if sent <= 0 || view.spent.unknown > 0 || view.spent.known_micros <= 0 {
        return None;
    }
    let rest = figures.open() as f64 / sent as f64;
    Some(view.spent.known_micros + (view.spent.known_micros as f64 * rest) as i64)
}

/// Messages a second for people: one decimal below a hundred.
pub(super) fn per_second(rate: f64) -> String {
    if rate >= 100.0 {
        format!("{} / s", format::number(rate.round() as i64))
    } else {
        format!("{rate:.1} / s")
    }
}

/// A time beside others: the hour alone if it is today.
pub(super) fn moment(at: Millis, zone: &TimeZone, now: Millis) -> String {
    let day = |at| format::time(at, zone, now, Fineness::Day);
    let minute = format::time(at, zone, now, Fineness::Minute);
    let today = format!("{} ", day(now));
    minute.strip_prefix(&today).map_or(minute.clone(), str::to_owned)
}

/// The one fact that matters next about a campaign, in a line.
pub(super) fn next_fact(view: &CampaignView, zone: &TimeZone, now: Millis) -> String {
    let figures = Figures::of(&view.counts);
    let campaign = &view.campaign;
    let at = |at: Millis| moment(at, zone, now);
    match campaign.status {
        State::Draft => "Next: review and launch".to_owned(),
        State::Scheduled => match campaign.plan.starts_at {
            Some(_) if campaign.plan.is_local_to_recipient => {
                let (at, _) = campaign.plan.schedule.clone().unwrap_or_default();
                format!("Starts {} where each person is", format::wall_clock(&at, zone, now))
            }
            Some(starts_at) => format!("Starts {}", at(starts_at)),
            None => "Waits for its start".to_owned(),
        },
        State::Paused => {
            let reason =
                campaign.pause_reason.as_deref().map_or_else(|| "Stands still.".to_owned(), paused_by);
            match campaign.paused_until {
                Some(until) => format!("{reason} Goes on {}.", at(until)),
                None => reason,
            }
        }
        State::Launching | State::Running => running(view, &figures, zone, now),
        State::Finished => match campaign.launched_at.zip(campaign.finished_at) {
            Some((from, to)) => format!("Finished in {}", format::duration(to - from)),
            None => "Finished".to_owned(),
        },
        State::Cancelled => format!("{} not sent", format::number(figures.cancelled + figures.open())),
    }
}

/// Why it is paused, with who did it in words.
fn paused_by(reason: &str) -> String {
    match reason.strip_prefix("Paused by ").and_then(|rest| rest.strip_suffix('.')) {
        Some(actor) => format!("Paused by {}.", happenings::actor(actor)),
        None => reason.to_owned(),
    }
}

fn running(view: &CampaignView, figures: &Figures, zone: &TimeZone, now: Millis) -> String {
    let at = |at: Millis| moment(at, zone, now);
    let rate = view.rate_now.map(per_second);
    if figures.waiting > 0 {
        return match (rate, eta(view, figures, now)) {
            (Some(rate), Some(eta)) => format!("{rate}, done by {}", at(eta)),
            (Some(rate), None) => rate,
            (None, _) => format!("{} wait for their turn", format::number(figures.waiting)),
        };
    }
    if figures.deferred > 0 {
        let people = format::number(figures.deferred);
        return match view.next_due.filter(|due| *due > now) {
            Some(due) => format!("{people} wait until {}", at(due)),
            None => format!("{people} wait for their hour"),
        };
    }
    match &view.campaign.plan.trigger_type {
        Some(kind) => format!("Waits for events {kind}"),
        None if figures.on_way > 0 => format!("{} on their way", format::number(figures.on_way)),
        None => "Nearly done".to_owned(),
    }
}

/// Messages that a stretch of a plot holds on average, at least: with fewer a line is teeth and no rate.
const LEAST_EACH: i64 = 5;
/// Points that a plot keeps however slow a run is, if there are as many seconds.
const LEAST_POINTS: i64 = 12;

/// Messages a second of a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) at: Millis,
    pub(super) handed_over: f64,
    pub(super) delivered: f64,
}

/// The spans of a run as at most [`MOST_POINTS`] stretches of one length, also those in which nothing happened, and
/// that length in seconds. A stretch that is not over yet is left out.
pub(super) fn points(spans: &[Span], now: Millis) -> (Vec<Point>, i64) {
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
        return (Vec::new(), 0);
    };
    let width = last.seconds.max(1) * 1_000;
    let all = (last.at - first.at) / width + 1;
    let sent: i64 = spans.iter().map(|span| span.handed_over).sum();
    let calm = (all * LEAST_EACH / sent.max(1)).min(all / LEAST_POINTS);
    let each = calm.max((all + MOST_POINTS - 1) / MOST_POINTS);
    let length = width * each.max(1);
    let mut sums = vec![(0_i64, 0_i64); usize::try_from((last.at - first.at) / length + 1).unwrap_or(0)];
    for span in spans {
        let at = usize::try_from((span.at - first.at) / length).unwrap_or(0);
        if let Some(sum) = sums.get_mut(at) {
            *sum = (sum.0 + span.handed_over, sum.1 + span.delivered);
        }
    }
    let seconds = length as f64 / 1_000.0;
    let mut points: Vec<Point> = (0..)
        .zip(sums)
        .map(|(n, (handed_over, delivered))| Point {
            at: first.at + n * length,
            handed_over: handed_over as f64 / seconds,
            delivered: delivered as f64 / seconds,
        })
        .collect();
    let is_open = points.last().is_some_and(|point| point.at + length > now);
    if is_open && points.len() > 1 {
        points.pop();
    }
    (points, length / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(status: &str, reason: &str, n: i64) -> CampaignCount {
        CampaignCount { status: status.to_owned(), reason: reason.to_owned(), error_code: 0, n }
    }

    #[test]
    fn the_parts_of_the_bar_add_up_to_everybody() {
        let counts: Vec<CampaignCount> = crate::domain::message::Status::ALL
            .iter()
            .zip(1..)
            .map(|(status, n)| count(status.as_str(), if n % 2 == 1 { "quiet_hours" } else { "" }, n))
            .collect();
        let figures = Figures::of(&counts);
        assert_eq!(figures.total, 78);
        assert_eq!(figures.parts().iter().map(|(_, _, n)| n).sum::<i64>(), figures.total);
        assert_eq!((figures.waiting, figures.deferred), (0, 1));
        assert_eq!(figures.settled() + figures.open() + figures.on_way + figures.uncertain, figures.total);
    }

    #[test]
    fn who_waits_for_the_morning_does_not_wait_for_a_turn() {
        let figures = Figures::of(&[
            count("queued", "quiet_hours", 3),
            count("queued", "retry_later", 2),
            count("queued", "", 1),
        ]);
        assert_eq!((figures.deferred, figures.waiting), (3, 3));
    }

    #[test]
    fn a_long_run_is_drawn_in_few_points_and_keeps_its_pauses() {
        let span = |at: i64, n| Span { at: at * 10_000, seconds: 10, handed_over: n, delivered: n / 2 };
        assert_eq!(points(&[], 0), (Vec::new(), 0));
        let (drawn, seconds) = points(&[span(0, 100), span(1, 50), span(4, 20)], 1_000_000);
        assert_eq!(seconds, 10);
        let rates: Vec<f64> = drawn.iter().map(|point| point.handed_over).collect();
        assert_eq!(rates, [10.0, 5.0, 0.0, 0.0, 2.0]);
        // The last stretch is not over yet.
        assert_eq!(points(&[span(0, 100), span(1, 50)], 15_000).0.len(), 1);
        let long: Vec<Span> = (0..700).map(|at| span(at, 10)).collect();
        let (drawn, seconds) = points(&long, 10_000_000);
        assert!(drawn.len() as i64 <= MOST_POINTS && drawn.len() > 60, "{}", drawn.len());
        let total: f64 = drawn.iter().map(|point| point.handed_over * seconds as f64).sum();
        assert_eq!(total.round() as i64, 7_000);
    }
}
