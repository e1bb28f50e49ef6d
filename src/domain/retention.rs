//! How long what is kept about people is kept, by class.

use serde::Deserialize;

/// Days by class; 0 keeps for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionDays {
    /// Raw parameters of inbound messages and receipts.
    pub raw_webhooks_days: u32,
    /// Texts, variables and media of messages that are over, and words of people.
    pub bodies_days: u32,
    /// Events, from the oldest end.
    pub events_days: u32,
    /// Rows of imports that had issues.
    pub import_issues_days: u32,
    /// What imports changed about people, for the undo.
    pub import_changes_days: u32,
    /// `data` of triggers.
    pub trigger_data_days: u32,
}

/// Fewest days that events are kept: the look after messages without news goes along them.
const LEAST_EVENTS: u32 = 7;

impl RetentionDays {
    /// Whether the classes fit each other.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let (raw, bodies) = (self.raw_webhooks_days, self.bodies_days);
        if bodies > 0 && (raw == 0 || raw > bodies) {
            return Err(format!(
                "retention.raw_webhooks_days: {raw} is longer than bodies_days ({bodies}), but raw webhooks hold the words too"
            ));
        }
        if self.events_days > 0 && self.events_days < LEAST_EVENTS {
            return Err(format!("retention.events_days: at least {LEAST_EVENTS}, or 0 for good"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_webhooks_never_outlive_the_words_that_they_hold() {
        for (raw, bodies, events, is_fine) in [
            (180, 730, 730, true),
            (0, 0, 0, true),
            (90, 0, 0, true),
            (30, 30, 7, true),
            (31, 30, 7, false),
            (0, 30, 7, false),
            (1, 1, 6, false),
        ] {
            let days = RetentionDays {
                raw_webhooks_days: raw,
                bodies_days: bodies,
                events_days: events,
                import_issues_days: 0,
                import_changes_days: 0,
                trigger_data_days: 0,
            };
            assert_eq!(days.check().is_ok(), is_fine, "{raw} {bodies} {events}");
        }
    }
}
