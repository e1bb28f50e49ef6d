//! What is counted of the sending: requests under way, the limiters, the daily limits of senders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Metrics, OutcomeLabels, add};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RestLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PaceLabels {
    level: &'static str,
    name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SenderLabels {
    sender: String,
}

/// Bounds of the histogram of Twilio's answers, in seconds: requests are given up after 15.
const SECONDS: [f64; 10] = [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 15.0];

/// A limiter as the metrics show it.
#[derive(Clone, Debug)]
pub struct Pace {
    /// `campaign`, `sender` or `account`.
    pub level: &'static str,
    /// The campaign's id or the sender's address.
    pub name: String,
    /// Parts a second.
    pub rate: f64,
    /// Parts let through since the start.
    pub granted: u64,
}

/// What pages show of the sending.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Requests to Twilio under way.
    pub in_flight: i64,
    /// And how many may be.
    pub ceiling: i64,
    /// Messages that Twilio took since the start.
    pub accepted: u64,
    /// Why nothing is sent, if so: `busy` or `outage`.
    pub resting: Option<&'static str>,
    /// Limiters in use.
    pub paces: Vec<Pace>,
}

/// A sender's limit on people a day, and how much of it is used.
#[derive(Clone, Debug)]
pub struct DailyLimit {
    /// The sender's address.
    pub sender: String,
    /// People it wrote to within 24 hours.
    pub used: i64,
    /// People it may write to.
    pub most: i64,
}

/// How the sending goes.
#[derive(Clone)]
pub(super) struct Sending {
    in_flight: Gauge,
    in_flight_ceiling: Gauge,
    resting: Family<RestLabels, Gauge>,
    request_seconds: Histogram,
    rates: Family<PaceLabels, Gauge<f64, AtomicU64>>,
    granted: Family<PaceLabels, Counter>,
    recipients: Family<SenderLabels, Gauge>,
    recipients_limit: Family<SenderLabels, Gauge>,
    last: Arc<std::sync::Mutex<(Option<&'static str>, Vec<Pace>)>>,
}

impl Sending {
    pub(super) fn new(all: &mut Registry) -> Sending {
        Sending {
            in_flight: add(all, "in_flight", "Requests to Twilio under way", Default::default()),
            in_flight_ceiling: add(
                all,
                "in_flight_ceiling",
                "Requests to Twilio that may be under way: falls with 429s, rises again",
                Default::default(),
            ),
            resting: add(
                all,
                "resting",
                "1 while nothing is sent: busy after a 429, outage while Twilio does not answer",
                Default::default(),
            ),
            request_seconds: add(
                all,
                "twilio_request_seconds",
                "Time until Twilio answered a request to send",
                Histogram::new(SECONDS),
            ),
            rates: add(
                all,
                "rate_limit_parts_per_second",
                "Parts a second that a campaign, a sender or the account may send",
                Default::default(),
            ),
            granted: add(
                all,
                "rate_limit_granted_parts",
                "Parts that a limiter let through",
                Default::default(),
            ),
            recipients: add(
                all,
                "sender_recipients",
                "People whom a sender wrote to within 24 hours, of those that count against its limit",
                Default::default(),
            ),
            recipients_limit: add(
                all,
                "sender_recipients_limit",
                "People whom a sender may write to within 24 hours",
                Default::default(),
            ),
            last: Arc::default(),
        }
    }
}

impl Metrics {
    /// Sets how many requests to Twilio are under way, and how many may be.
    pub fn set_in_flight(&self, n: usize, ceiling: usize) {
        self.sending.in_flight.set(i64::try_from(n).unwrap_or(i64::MAX));
        self.sending.in_flight_ceiling.set(i64::try_from(ceiling).unwrap_or(i64::MAX));
    }

    /// Notes how long Twilio took for an answer.
    pub fn observe_request(&self, seconds: f64) {
        self.sending.request_seconds.observe(seconds);
    }

    /// Sets whether nothing is sent for this reason.
    pub fn set_resting(&self, reason: &'static str, is_resting: bool) {
        let mut last = self.sending.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if is_resting {
            last.0 = Some(reason);
        } else if last.0 == Some(reason) {
            last.0 = None;
        }
        self.sending.resting.get_or_create(&RestLabels { reason }).set(i64::from(is_resting));
    }

    /// Sets what limiters allow and have let through; others are forgotten.
    pub fn set_paces(&self, paces: Vec<Pace>) {
        self.sending.rates.clear();
        self.sending.granted.clear();
        self.sending.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1.clone_from(&paces);
        for Pace { level, name, rate, granted } in paces {
            let labels = PaceLabels { level, name };
            self.sending.rates.get_or_create(&labels).set(rate);
            self.sending.granted.get_or_create(&labels).inner().store(granted, Ordering::Relaxed);
        }
    }

    /// What was set and counted last of the sending.
    pub fn reading(&self) -> Reading {
        let accepted = self.deliveries.get_or_create(&OutcomeLabels { outcome: "accepted" }).get();
        let last = self.sending.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Reading {
            in_flight: self.sending.in_flight.get(),
            ceiling: self.sending.in_flight_ceiling.get(),
            accepted,
            resting: last.0,
            paces: last.1.clone(),
        }
    }

    /// Sets the daily limits of senders.
    pub fn set_daily_limits(&self, limits: Vec<DailyLimit>) {
        for DailyLimit { sender, used, most } in limits {
            let labels = SenderLabels { sender };
            self.sending.recipients.get_or_create(&labels).set(used);
            self.sending.recipients_limit.get_or_create(&labels).set(most);
        }
    }
}
