//! The reasons in words: what each says about a person, and what the reader can do about it.

use super::{Reason, Step};

impl Reason {
    /// What it says, as a sentence about one person.
    pub fn says(self) -> &'static str {
        match self {
            Reason::NoAddress => "There is no address on this channel, or the person was erased.",
            Reason::Suppressed => "The number is on the list of those never sent to.",
            Reason::Stop => "The person said STOP.",
            Reason::OptedOut => "The person opted out of marketing.",
            Reason::ConsentUnknown => "Nobody knows whether the person agreed to marketing.",
            Reason::NotSubscribed => "The person is not subscribed to the topic.",
            Reason::Held => "The person wrote something that an operator has to decide about.",
            Reason::Unreachable => "The number proved dead.",
            Reason::Deadline => "The deadline passed.",
            Reason::ReplyWindowClosed => "The person's own message is older than 24 hours.",
            Reason::AlreadyConfirmed => "The STOP was confirmed already.",
            Reason::MissingVariable => "The text needs a value that the person does not have.",
            Reason::ContentTooLong => "The text for this person is longer than the channel takes.",
            Reason::ContentBroken => "The text for this person is empty or can't be made.",
            Reason::OutsideWhatsappWindow => {
                "WhatsApp takes free text only within 24 hours of the person's own message."
            }
            Reason::WhatsappUsMarketing => "WhatsApp delivers no marketing to US numbers.",
            Reason::TemplateNotApproved => "WhatsApp has not approved the template, or stopped it.",
            Reason::ZoneTooWide => "The number fits so many time zones that too few hours suit all of them.",
            Reason::LocalTime => "The campaign's hour has not come where the person is.",
            Reason::QuietHours => "It is an hour at which nobody there is written to.",
            Reason::DailyLimit => "The sender has written to as many people as it may in 24 hours.",
            Reason::FrequencyCap => "The person has had as much marketing as they may for now.",
            Reason::SpendingCap => "What may be spent today is spent.",
            Reason::PriceUnknown => {
                "A cap on spending is in force, and the price table does not name this country."
            }
        }
    }

    /// What to do about it, as a sentence.
    pub fn what_to_do(self) -> &'static str {
        match self {
            Reason::NoAddress => "Choose a channel on which the person can be reached, or add the number.",
            Reason::Suppressed => "Take the number off the suppressions, if it was put there by mistake.",
            Reason::Stop => "Nothing: only the person leads out of STOP, by START.",
            Reason::OptedOut => "Ask the person for consent, and record it with its evidence.",
            Reason::ConsentUnknown => {
                "Record the consent that you have with its evidence, or ask for it; an import may carry it."
            }
            Reason::NotSubscribed => {
                "Let the person join the topic, choose another topic, or open the topic to all who opted in."
            }
            Reason::Held => "Read what the person wrote and decide: record the consent that was meant.",
            Reason::Unreachable => "Correct the number, or mark it reachable again if you know better.",
            Reason::Deadline => "Give the messages more time with expires_after_hours, or leave it out.",
            Reason::ReplyWindowClosed => "Send a template instead of a reply.",
            Reason::AlreadyConfirmed => "Nothing: one confirmation is enough.",
            Reason::MissingVariable => {
                "Give the variable a fallback, as in {name|default(\"there\")}, or fill in the attribute."
            }
            Reason::ContentTooLong => "Shorten the text or the attribute that makes it long.",
            Reason::ContentBroken => "Preview the template for this person and mend it.",
            Reason::OutsideWhatsappWindow => "Use a template with an approved content_sid.",
            Reason::WhatsappUsMarketing => "Send it over SMS, or make it transactional if it is.",
            Reason::TemplateNotApproved => {
                "Look at the template's approval, submit it, or use an approved one."
            }
            Reason::ZoneTooWide => {
                "Set the person's attribute timezone, or give the campaign a schedule with a time zone."
            }
            Reason::LocalTime => "Wait: it goes when the clock there shows the campaign's time.",
            Reason::QuietHours => "Wait for the morning there, or change quiet_hours.",
            Reason::DailyLimit => {
                "Wait, or raise the sender's recipients_per_day once Twilio has raised your limit."
            }
            Reason::FrequencyCap => "Wait until the person may get the next one, or raise the cap.",
            Reason::SpendingCap => "Wait for the next UTC day, or raise [spending] cap_per_day.",
            Reason::PriceUnknown => "Add the price under [prices], or take the cap on spending away.",
        }
    }
}

impl Step {
    /// What it asks.
    pub fn asks(self) -> &'static str {
        match self {
            Step::Address => "Is there an address, and may it be used?",
            Step::Consent => "Does the person's consent cover this?",
            Step::Topic => "Does the person want this topic?",
            Step::Hold => "Has an operator to decide something first?",
            Step::Reachable => "Is the number alive?",
            Step::Deadline => "Is there still time?",
            Step::Content => "Is there a text for this person?",
            Step::Whatsapp => "Does WhatsApp take it?",
            Step::FrequencyCap => "Has the person room for one more?",
            Step::Hours => "Is it the hour where the person is?",
            Step::DailyLimit => "May the sender write to one more person today?",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_says_something_and_names_a_way_out() {
        let mut seen = std::collections::HashSet::new();
        for reason in Reason::ALL {
            for text in [reason.says(), reason.what_to_do()] {
                assert!(text.ends_with('.') && text.len() > 15, "{reason:?}: {text}");
                assert!(seen.insert(text), "{reason:?} says what another says: {text}");
            }
        }
    }
}
