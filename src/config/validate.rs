//! Whether values make sense, beyond being of the right type.

use secrecy::ExposeSecret;

use super::{Config, ConfigError, Sender, SenderKind, Twilio, wrong};
use crate::twilio::client::is_loopback;

impl Config {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        rate("delivery.account_rate_per_second", self.delivery.account_rate_per_second)?;
        positive("delivery.max_in_flight", self.delivery.max_in_flight as f64)?;
        positive("delivery.max_attempts", f64::from(self.delivery.max_attempts))?;
        positive("delivery.uncertain_after_seconds", self.delivery.uncertain_after_seconds as f64)?;
        self.validate_limits()?;
        let rate = self.server.api_requests_per_second;
        if !(rate == 0.0 || (0.01..=1_000_000.0).contains(&rate)) {
            return Err(wrong(
                "server.api_requests_per_second: must be from 0.01 to 1000000, or 0 for no limit",
            ));
        }
        positive("server.api_burst", f64::from(self.server.api_burst))?;
        positive("import.max_bytes", self.import.max_bytes as f64)?;
        self.retention.check().map_err(wrong)?;
        if !(1..=60).contains(&self.twilio.request_timeout_seconds) {
            return Err(wrong("twilio.request_timeout_seconds: must be from 1 to 60"));
        }
        if !(1..=8).contains(&self.webhooks.in_flight_per_endpoint) {
            return Err(wrong("webhooks.in_flight_per_endpoint: must be from 1 to 8"));
        }
        if !(1..=60).contains(&self.webhooks.timeout_seconds) {
            return Err(wrong("webhooks.timeout_seconds: must be from 1 to 60"));
        }
        positive("webhooks.log_days", f64::from(self.webhooks.log_days))?;
        if self.twilio.content_sync_minutes > 1_440 {
            return Err(wrong("twilio.content_sync_minutes: must be from 0 (never) to 1440"));
        }
        self.keywords.check().map_err(|(list, error)| wrong(format!("keywords.{list}: {error}")))?;
        let base = &self.server.public_base_url;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(wrong(format!("server.public_base_url: {base} is not an http or https address")));
        }
        if base.query().is_some()
            || base.fragment().is_some()
            || base.host_str().is_some_and(|h| h.contains('_'))
        {
            return Err(wrong(
                "server.public_base_url: give scheme, host and path alone; Twilio refuses hosts with an underscore",
            ));
        }
        self.twilio.validate()?;
        let mut seen = Vec::new();
        for (number, sender) in self.senders.iter().enumerate() {
            sender.validate(number + 1)?;
            if seen.contains(&&sender.address) {
                return Err(wrong(format!("senders: {} is given twice", sender.address)));
            }
            seen.push(&sender.address);
        }
        Ok(())
    }
}

impl Twilio {
    fn validate(&self) -> Result<(), ConfigError> {
        let base = &self.api_base;
        if self.simulator && !(is_loopback(base) && base.port().is_some()) {
            return Err(wrong(format!(
                "twilio.simulator: api_base has to be an address on this machine with a port, not {base}"
            )));
        }
        let sid = &self.account_sid;
        let is_sid = sid.len() == 34
            && sid.strip_prefix("AC").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
        if !sid.is_empty() && !is_sid {
            return Err(wrong(format!(
                "twilio.account_sid: {sid:?} is no account SID; it is AC and 32 hexadecimal digits"
            )));
        }
        if self.api_key_sid.is_empty() != self.api_key_secret.expose_secret().is_empty() {
            return Err(wrong("twilio.api_key_sid and twilio.api_key_secret go together: give both or none"));
        }
        Ok(())
    }
}

impl Sender {
    fn validate(&self, number: usize) -> Result<(), ConfigError> {
        let address = &self.address;
        let bare = address.strip_prefix("whatsapp:").unwrap_or(address);
        let is_number = bare.strip_prefix('+').is_some_and(|digits| {
            (4..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
        });
        let is_short = (3..=8).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_digit());
        let is_whatsapp = address.starts_with("whatsapp:");
        let fits = match self.kind {
            SenderKind::Whatsapp | SenderKind::Sandbox => is_whatsapp && is_number,
            SenderKind::Service => address.len() == 34 && address.starts_with("MG"),
            SenderKind::ShortCode => !is_whatsapp && is_short,
            _ => !is_whatsapp && is_number,
        };
        if !fits {
            return Err(wrong(format!(
                "senders[{number}].address: {address:?} does not fit kind {:?}. whatsapp and sandbox take \"whatsapp:+…\", service takes \"MG…\", short_code takes digits, the others \"+…\"",
                self.kind.as_str()
            )));
        }
        if let Some(rate) = self.rate_per_second {
            self::rate(&format!("senders[{number}].rate_per_second"), rate)?;
        }
        if let Some(people) = self.recipients_per_day {
            positive(&format!("senders[{number}].recipients_per_day"), people as f64)?;
        }
        Ok(())
    }
}

/// A pace. What is beyond any that there is would be a slip of the hand, and no limit at all.
fn rate(key: &str, value: f64) -> Result<(), ConfigError> {
    positive(key, value)?;
    if value <= 1_000_000.0 { Ok(()) } else { Err(wrong(format!("{key}: {value} is more than 1000000"))) }
}

fn positive(key: &str, value: f64) -> Result<(), ConfigError> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(wrong(format!("{key}: {value} is not more than 0")))
}
