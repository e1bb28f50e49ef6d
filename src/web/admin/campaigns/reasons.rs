//! Why somebody does not get a campaign, as its pages call it, and how many leave for each reason.

use std::collections::BTreeMap;

use crate::domain::gate::Reason;
use crate::store::campaigns::CampaignCount;
use crate::store::reports::campaigns::CampaignView;

/// A reason as the head of a line.
pub(super) fn word(reason: Reason, view: &CampaignView) -> String {
    match reason {
        Reason::NoAddress => "No address on this channel".to_owned(),
        Reason::Suppressed => "Never to be sent to".to_owned(),
        Reason::Stop => "Said STOP".to_owned(),
        Reason::OptedOut => "Opted out".to_owned(),
        Reason::ConsentUnknown => "Consent unknown".to_owned(),
        Reason::NotSubscribed => {
            let topic = view.topic.as_deref().unwrap_or("the topic");
            format!("Not subscribed to “{topic}”")
        }
        Reason::Held => "On review".to_owned(),
        Reason::Unreachable => "Number unreachable".to_owned(),
        Reason::Deadline => "Past the deadline".to_owned(),
        Reason::MissingVariable => "A value is missing".to_owned(),
        Reason::ContentTooLong => "Text too long".to_owned(),
        Reason::ContentBroken => "Text can’t be made".to_owned(),
        Reason::OutsideWhatsappWindow => "Outside WhatsApp’s 24 hours".to_owned(),
        Reason::WhatsappUsMarketing => "US number on WhatsApp".to_owned(),
        Reason::TemplateNotApproved => "Template not approved".to_owned(),
        Reason::ZoneTooWide => "Time zone unclear".to_owned(),
        Reason::LocalTime => "Another hour there".to_owned(),
        Reason::QuietHours => "Quiet hours".to_owned(),
        Reason::DailyLimit => "Daily limit of the sender".to_owned(),
        Reason::FrequencyCap => "Had enough for now".to_owned(),
        Reason::SpendingCap => "Budget of the day spent".to_owned(),
        Reason::PriceUnknown => "Price unknown".to_owned(),
        other => other.as_str().replace('_', " "),
    }
}

/// The word of a reason by its code, for other pages.
pub(super) fn word_of(code: &str, view: &CampaignView) -> String {
    let found = Reason::ALL.iter().find(|reason| reason.as_str() == code);
    match found {
        Some(reason) => word(*reason, view),
        None if code == "retry_later" => "Tried again soon".to_owned(),
        None => code.replace('_', " "),
    }
}

/// People who leave at each exit, by reason, of a campaign that runs: where their number is known.
pub(super) fn reasons(counts: &[CampaignCount], status: &str) -> Vec<(String, i64)> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for count in counts.iter().filter(|count| count.status == status) {
        *sums.entry(&count.reason).or_default() += count.n;
    }
    let mut rows: Vec<(String, i64)> = sums.into_iter().map(|(reason, n)| (reason.to_owned(), n)).collect();
    rows.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    rows
}
