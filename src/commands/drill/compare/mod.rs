//! Both sides compared: what Twilio saw against what the data file says, and both against what the drill
//! did. A pure function over three records; each check goes red in the tests beside it.

mod consent;
mod keeping;
mod sending;

use super::record::{Ours, Script, Twilio};

pub(super) use sending::LIST_LATE;

/// Examples that a check shows at most.
const EXAMPLES: usize = 5;

/// One thing that has to hold.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// What holds.
    pub(super) name: &'static str,
    /// The numbers behind it.
    pub(super) numbers: String,
    /// What contradicts it, in words; empty: it holds.
    pub(super) faults: Vec<String>,
}

impl Check {
    /// It holds.
    pub(super) fn passed(&self) -> bool {
        self.faults.is_empty()
    }

    /// The first few contradictions, and how many more there are.
    pub(super) fn examples(&self) -> Vec<String> {
        let mut shown: Vec<String> = self.faults.iter().take(EXAMPLES).cloned().collect();
        if self.faults.len() > EXAMPLES {
            shown.push(format!("and {} more", self.faults.len() - EXAMPLES));
        }
        shown
    }
}

/// Every check, in the order in which the report lists them.
pub(super) fn compare(script: &Script, twilio: &Twilio, ours: &Ours) -> Vec<Check> {
    vec![
        sending::one_message_each(script, ours),
        sending::nobody_twice(twilio, ours),
        sending::nothing_without_a_reason(twilio, ours),
        sending::what_twilio_took_is_known(twilio, ours),
        sending::one_message_per_key(script, ours),
        sending::delivered(script, twilio, ours),
        keeping::receipts(twilio, ours),
        keeping::told_and_kept(twilio, ours),
        keeping::webhooks(twilio, ours),
        keeping::everything_written(script, ours),
        consent::after_the_answer(script, twilio),
        consent::after_the_start(script, twilio, ours),
        consent::in_the_order_of_the_file(ours),
        consent::last_word(script, ours),
        keeping::closed(ours),
        keeping::verified(ours),
        keeping::starts(script),
    ]
}

#[cfg(test)]
mod tests;
