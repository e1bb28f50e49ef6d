//! What goes wrong on purpose: the fault options, and which of them one request meets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::chance;
use super::errors::comes_later;

/// Everything that may be made to go wrong. Percentages are of the create requests, or of the
/// callbacks where the name says so; all zero means that nothing does.
///
/// The same names are the JSON of `POST /_control/faults`, which replaces the whole set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// 429 before anything happened: safe to retry.
    pub rate_429_percent: f64,
    /// Errors by code.
    pub errors: Vec<ErrorFault>,
    /// The message is accepted, and the answer never comes: the connection closes late.
    pub timeout_after_accept_percent: f64,
    /// The message is accepted, and the answer is a 500.
    pub error_500_after_accept_percent: f64,
    /// A 500, and nothing was accepted.
    pub error_500_before_percent: f64,
    /// The connection is closed without an answer, and nothing was accepted.
    pub drop_connection_percent: f64,
    /// The message is accepted, and the connection is closed without an answer.
    pub drop_after_accept_percent: f64,
    /// No answer ever comes, and nothing was accepted: the connection closes late.
    pub timeout_before_accept_percent: f64,
    /// Every create request that meets the faults takes this much longer, in milliseconds.
    pub latency_ms: u64,
    /// 429 to a fetch or a list.
    pub read_429_percent: f64,
    /// 500 to a fetch or a list.
    pub read_500_percent: f64,
    /// Messages show up in lists only this much later than they were made, in milliseconds.
    pub list_late_ms: u64,
    /// Every callback comes this much later than the status it tells, in milliseconds.
    pub callbacks_late_ms: u64,
    /// Callbacks that come twice.
    pub callbacks_doubled_percent: f64,
    /// The callbacks of a message come in another order than its statuses.
    pub callbacks_shuffled: bool,
    /// Callbacks that never come.
    pub callbacks_missing_percent: f64,
    /// Announcements of what people write that come twice.
    pub inbound_doubled_percent: f64,
    /// Only messages to this number meet the faults above (reads apart).
    pub to: Option<String>,
    /// Only the next so many create requests that fit `to` meet them.
    pub count: Option<u64>,
}

/// One error code and whom it meets. Codes that Twilio answers with are answered; the others come
/// later as the message's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorFault {
    /// Twilio's code.
    pub code: u32,
    /// Share of the requests that fit; all of them if left out.
    pub percent: f64,
    /// Only messages to this number.
    pub to: Option<String>,
    /// Only the next so many messages that fit.
    pub count: Option<u64>,
}

impl Default for ErrorFault {
    /// Every message, for ever. The code has to be named.
    fn default() -> ErrorFault {
        ErrorFault { code: 30008, percent: 100.0, to: None, count: None }
    }
}

/// How long an answer is withheld when it is to be lost, before the connection closes.
pub(super) const LOST_ANSWER_MS: u64 = 60_000;

/// What one create request meets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Met {
    /// Time added before anything else happens.
    pub(super) latency_ms: u64,
    pub(super) instead: Option<Instead>,
    pub(super) after: Option<After>,
    /// A code that comes later.
    pub(super) later: Option<u32>,
    pub(super) callbacks: CallbackFaults,
}

/// What happens instead of accepting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    Error(u32),
    Drop,
    Lost,
}

/// What happens to the answer of an accepted message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Lost,
    Error500,
    Drop,
}

/// What happens to the callbacks of an accepted message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CallbackFaults {
    pub(super) late_ms: u64,
    pub(super) doubled_percent: f64,
    pub(super) missing_percent: f64,
    pub(super) is_shuffled: bool,
}

/// The faults in force and how often they may still strike.
#[derive(Debug, Default)]
pub(super) struct Active {
    faults: Faults,
    /// Requests looked at so far: the number that chance is drawn for.
    seen: u64,
    /// How often each fault really struck, by its name; codes as `error_21610`.
    struck: BTreeMap<String, u64>,
}

impl Active {
    pub(super) fn new(faults: Faults) -> Active {
        Active { faults, seen: 0, struck: BTreeMap::new() }
    }

    /// The faults, with what is left of their counts.
    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(super) fn replace(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// How often each fault struck since the start.
    pub(super) fn struck(&self) -> &BTreeMap<String, u64> {
        &self.struck
    }

    /// Notes that the fault of this name struck `times` times.
    pub(super) fn note(&mut self, name: &str, times: u64) {
        if times == 0 {
            return;
        }
        match self.struck.get_mut(name) {
            Some(count) => *count += times,
            None => {
                self.struck.insert(name.to_owned(), times);
            }
        }
    }

    /// Decides about the next create request, and uses up counts.
    pub(super) fn meet(&mut self, seed: u64, to: &str, by_service: bool) -> Met {
        self.seen += 1;
        let number = self.seen.to_be_bytes();
        let strikes = |share: f64, what: &str| chance::happens(share, seed, what, &[&number]);
        let mut met = Met::default();
        let faults = &mut self.faults;
        if fits(faults.to.as_deref(), to) && take(&mut faults.count) {
            let struck = faults.strike(strikes);
            met.latency_ms = faults.latency_ms;
            met.callbacks = CallbackFaults {
                late_ms: faults.callbacks_late_ms,
                doubled_percent: faults.callbacks_doubled_percent,
                missing_percent: faults.callbacks_missing_percent,
                is_shuffled: faults.callbacks_shuffled,
            };
            self.note("latency_ms", u64::from(met.latency_ms > 0));
            if let Some((name, what)) = struck {
                self.note(name, 1);
                match what {
                    What::Instead(instead) => met.instead = Some(instead),
                    What::After(after) => met.after = Some(after),
                }
            }
        }
        if met.instead.is_some() {
            return met;
        }
        let struck = self.faults.errors.iter_mut().find_map(|error| {
            let strikes = fits(error.to.as_deref(), to)
                && strikes(error.percent, &error.code.to_string())
                && take(&mut error.count);
            strikes.then_some(error.code)
        });
        if let Some(code) = struck {
            self.note(&format!("error_{code}"), 1);
        }
        match struck {
            Some(code) if comes_later(code, by_service) => met.later = Some(code),
            Some(code) => met.instead = Some(Instead::Error(code)),
            None => {}
        }
        met
    }

    /// The code that a fetch or a list meets.
    pub(super) fn meet_read(&mut self, seed: u64) -> Option<u32> {
        self.seen += 1;
        let number = self.seen.to_be_bytes();
        let strikes = |share: f64, what: &str| chance::happens(share, seed, what, &[&number]);
        let (name, code) = if strikes(self.faults.read_429_percent, "read 429") {
            ("read_429_percent", 20429)
        } else if strikes(self.faults.read_500_percent, "read 500") {
            ("read_500_percent", 20500)
        } else {
            return None;
        };
        self.note(name, 1);
        Some(code)
    }

    /// The youngest messages that lists show at `now`, if the youngest are left out.
    pub(super) fn listed_until(&self, now: i64) -> Option<i64> {
        let late_ms = i64::try_from(self.faults.list_late_ms).unwrap_or(i64::MAX);
        (late_ms > 0).then(|| now.saturating_sub(late_ms))
    }

    /// Whether the next announcement of a person's message comes twice.
    pub(super) fn doubles_inbound(&mut self, seed: u64) -> bool {
        self.seen += 1;
        let number = self.seen.to_be_bytes();
        let doubles =
            chance::happens(self.faults.inbound_doubled_percent, seed, "inbound doubled", &[&number]);
        self.note("inbound_doubled_percent", u64::from(doubles));
        doubles
    }
}

/// What a fault does to a create request.
#[derive(Clone, Copy, Debug)]
enum What {
    Instead(Instead),
    After(After),
}

impl Faults {
    /// The first fault that strikes, with its name.
    fn strike(&self, strikes: impl Fn(f64, &str) -> bool) -> Option<(&'static str, What)> {
        let table = [
            (self.rate_429_percent, "429", "rate_429_percent", What::Instead(Instead::Error(20429))),
            (
                self.error_500_before_percent,
                "500 before",
                "error_500_before_percent",
                What::Instead(Instead::Error(20500)),
            ),
            (self.drop_connection_percent, "drop", "drop_connection_percent", What::Instead(Instead::Drop)),
            (
                self.timeout_before_accept_percent,
                "timeout before",
                "timeout_before_accept_percent",
                What::Instead(Instead::Lost),
            ),
            (
                self.timeout_after_accept_percent,
                "timeout",
                "timeout_after_accept_percent",
                What::After(After::Lost),
            ),
            (
                self.error_500_after_accept_percent,
                "500 after",
                "error_500_after_accept_percent",
                What::After(After::Error500),
            ),
            (
                self.drop_after_accept_percent,
                "drop after",
                "drop_after_accept_percent",
                What::After(After::Drop),
            ),
        ];
        let struck = table.into_iter().find(|(share, draw, _, _)| strikes(*share, draw));
        struck.map(|(_, _, name, what)| (name, what))
    }
}

/// Whether a filter, given with or without its channel, names `to`.
fn fits(filter: Option<&str>, to: &str) -> bool {
    filter.is_none_or(|filter| filter == to || to.strip_prefix("whatsapp:") == Some(filter))
}

fn take(count: &mut Option<u64>) -> bool {
    match count {
        None => true,
        Some(0) => false,
        Some(left) => {
            *left -= 1;
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: &str = "+14155550101";

    #[test]
    fn a_count_is_used_up_by_requests_that_fit() {
        let mut active = Active::new(Faults {
            rate_429_percent: 100.0,
            to: Some(TO.to_owned()),
            count: Some(2),
            ..Faults::default()
        });
        let mut refused = |to| active.meet(1, to, false).instead.is_some();
        assert_eq!(
            [refused("+14155550199"), refused(TO), refused("whatsapp:+14155550101"), refused(TO)],
            [false, true, true, false]
        );
    }

    #[test]
    fn codes_strike_at_once_or_later_by_their_phase() {
        let table = [
            (21610, false, true),
            (21610, true, false),
            (21614, true, true),
            (30003, false, false),
            (63016, false, false),
            (63007, false, true),
            (20503, false, true),
        ];
        for (code, by_service, at_once) in table {
            let mut active = Active::new(Faults {
                errors: vec![ErrorFault { code, ..ErrorFault::default() }],
                ..Faults::default()
            });
            let met = active.meet(1, TO, by_service);
            assert_eq!(met.instead.is_some(), at_once, "{code}");
            assert_eq!(met.later.is_some(), !at_once, "{code}");
        }
    }

    #[test]
    fn a_misspelt_fault_is_refused() {
        assert!(serde_json::from_str::<Faults>(r#"{"rate_429_percnt": 10}"#).is_err());
        let faults: Faults =
            serde_json::from_str(r#"{"errors":[{"code":21610,"to":"+14155550101"}]}"#).unwrap();
        assert_eq!(faults.errors[0].percent, 100.0);
    }
}
