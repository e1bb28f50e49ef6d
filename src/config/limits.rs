//! The sections that bound what people get and what it costs, read into house rules.

use std::sync::Arc;

use serde::Deserialize;

use super::{Config, ConfigError, wrong};
use crate::domain::frequency::FrequencyCap;
use crate::domain::plan::Introduction;
use crate::domain::price::micros;

/// The longest window of the cap on messages to one person, in hours.
const MAX_HOURS: f64 = 8_784.0;
/// The most messages that the cap may allow: so many are kept beside each person.
const MAX_MESSAGES: usize = 100;
/// Characters of a name or a line: the text has to fit beside them.
const MAX_WORDS: usize = 200;

/// `[first_message]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstMessage {
    /// Whether anything is added at all.
    pub enabled: bool,
    /// In front of the text.
    pub sender_name: String,
    /// Behind the text.
    pub opt_out_line: String,
}

/// `[frequency_cap]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrequencyLimit {
    /// Marketing messages to one person; 0: no cap.
    pub messages: usize,
    /// Within so many hours.
    pub hours: f64,
}

/// `[spending]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spending {
    /// In the currency of the price table; 0: no cap.
    pub cap_per_day: f64,
}

impl FirstMessage {
    /// What is added; `None`: nothing.
    pub fn introduction(&self) -> Option<Arc<Introduction>> {
        let introduction = Introduction {
            sender_name: self.sender_name.trim().to_owned(),
            opt_out_line: self.opt_out_line.trim().to_owned(),
        };
        (self.enabled && introduction != Introduction::default()).then(|| Arc::new(introduction))
    }
}

impl FrequencyLimit {
    /// The cap; `None`: none.
    pub fn cap(&self) -> Option<FrequencyCap> {
        let window = (self.hours * 3_600_000.0) as i64;
        (self.messages > 0).then_some(FrequencyCap { messages: self.messages, window })
    }
}

impl Spending {
    /// The cap in millionths; `None`: none.
    pub fn cap_per_day(&self) -> Option<i64> {
        micros(self.cap_per_day).filter(|micros| *micros > 0)
    }
}

impl Config {
    pub(super) fn validate_limits(&self) -> Result<(), ConfigError> {
        let cap = &self.frequency_cap;
        if !(cap.hours > 0.0 && cap.hours <= MAX_HOURS) {
            return Err(wrong(format!("frequency_cap.hours: {} is not from 0 to {MAX_HOURS}", cap.hours)));
        }
        if cap.messages > MAX_MESSAGES {
            return Err(wrong(format!("frequency_cap.messages: must be at most {MAX_MESSAGES}")));
        }
        let daily = self.spending.cap_per_day;
        if micros(daily).is_none() {
            return Err(wrong(format!("spending.cap_per_day: {daily} is not an amount")));
        }
        let first = &self.first_message;
        for (key, words) in [("sender_name", &first.sender_name), ("opt_out_line", &first.opt_out_line)] {
            if words.chars().count() > MAX_WORDS {
                return Err(wrong(format!("first_message.{key}: at most {MAX_WORDS} characters")));
            }
        }
        Ok(())
    }
}
