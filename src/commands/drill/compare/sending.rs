//! Who got what, how often, and if not, why not.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::cast::Fate;
use super::super::record::{Ours, Script, Taken, Twilio};
use super::Check;
use crate::clock::Millis;

/// Lists show messages at most this much later than they were made; what is younger, nobody could have
/// found there.
pub(in crate::commands::drill) const LIST_LATE: Millis = 1_500;
/// How many of the deliverable have to arrive.
const SHARE: f64 = 0.99;

/// Each campaign holds each of its people once, and nobody else.
pub(super) fn one_message_each(script: &Script, ours: &Ours) -> Check {
    let mut faults = Vec::new();
    let mut people = 0;
    for meant in &script.campaigns {
        let mut rows: HashMap<&str, u32> = HashMap::new();
        for message in ours.messages.values().filter(|message| message.campaign_id == Some(meant.id)) {
            *rows.entry(&message.phone).or_default() += 1;
        }
        people += meant.audience.len();
        for phone in &meant.audience {
            match rows.remove(phone.as_str()) {
                Some(1) => {}
                None => faults.push(format!("{}: {phone} has no message", meant.name)),
                Some(n) => faults.push(format!("{}: {phone} has {n} messages", meant.name)),
            }
        }
        faults.extend(rows.keys().map(|phone| format!("{}: {phone} was not meant", meant.name)));
    }
    Check {
        name: "Each campaign has exactly one message for each of its people",
        numbers: format!("{} campaigns, {people} messages", script.campaigns.len()),
        faults,
    }
}

/// What Twilio made of each message of ours, oldest first.
fn by_message(twilio: &Twilio) -> BTreeMap<i64, Vec<&Taken>> {
    let mut by_message: BTreeMap<i64, Vec<&Taken>> = BTreeMap::new();
    for taken in twilio.messages.values() {
        by_message.entry(taken.message_id).or_default().push(taken);
    }
    for all in by_message.values_mut() {
        all.sort_by_key(|taken| taken.at);
    }
    by_message
}

/// No message was taken again while an earlier one was good; but for those that no list could tell yet.
pub(super) fn nobody_twice(twilio: &Twilio, ours: &Ours) -> Check {
    let (mut faults, mut untold, mut again) = (Vec::new(), 0, 0);
    for (id, all) in by_message(twilio) {
        for pair in all.windows(2) {
            let [first, second] = pair else { continue };
            if first.has_failed() {
                again += 1;
            } else if second.at - first.at <= LIST_LATE {
                untold += 1;
            } else {
                let apart = second.at - first.at;
                faults.push(format!("message {id} to {}: again after {apart} ms", second.phone));
            }
        }
    }
    let retried = ours.messages.values().filter(|message| message.attempts.len() > 1).count();
    Check {
        name: "Nobody got a message twice that Twilio's list could have told of",
        numbers: format!(
            "{} messages at Twilio, {} doubles that its list could have told of, {untold} that it could not yet; \
             {retried} messages needed more than one request, {again} of them after a failure",
            twilio.messages.len(),
            faults.len(),
        ),
        faults,
    }
}

/// Whoever got nothing has a state that is an end, and a reason.
pub(super) fn nothing_without_a_reason(twilio: &Twilio, ours: &Ours) -> Check {
    let taken: HashSet<i64> = twilio.messages.values().map(|taken| taken.message_id).collect();
    let mut faults = Vec::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for (id, message) in ours.messages.iter().filter(|(id, _)| !taken.contains(id)) {
        let is_end =
            matches!(message.status.as_str(), "skipped" | "cancelled" | "failed" | "undelivered" | "expired");
        match &message.reason {
            Some(reason) if is_end => {
                *reasons.entry(format!("{} {reason}", message.status)).or_default() += 1;
            }
            _ => faults.push(format!("message {id} to {} is {}", message.phone, message.status)),
        }
    }
    let told: Vec<String> =
        reasons.iter().map(|(reason, n)| format!("{n} {}", reason.replace('_', " "))).collect();
    Check {
        name: "Whoever got nothing has a recorded reason",
        numbers: if told.is_empty() { "nobody got nothing".to_owned() } else { told.join(", ") },
        faults,
    }
}

/// Each message at Twilio is one of ours, to the same person, that the gate let through.
pub(super) fn what_twilio_took_is_known(twilio: &Twilio, ours: &Ours) -> Check {
    let (mut faults, mut closed) = (Vec::new(), 0);
    for (sid, taken) in &twilio.messages {
        match ours.messages.get(&taken.message_id) {
            None => faults.push(format!("{sid} to {} belongs to no message", taken.phone)),
            Some(message) if message.phone != taken.phone => {
                faults.push(format!("{sid} went to {} instead of {}", taken.phone, message.phone));
            }
            Some(message) if message.status == "skipped" => {
                faults.push(format!("{sid} to {} was sent and counts as skipped", taken.phone));
            }
            Some(message) => closed += u64::from(matches!(message.status.as_str(), "cancelled" | "expired")),
        }
    }
    Check {
        name: "Whatever Twilio took is known here, and to the same person",
        numbers: format!(
            "{} messages; {closed} were taken back here while nobody knew that Twilio had them",
            twilio.messages.len()
        ),
        faults,
    }
}

/// A key makes one message, however often it is posted.
pub(super) fn one_message_per_key(script: &Script, ours: &Ours) -> Check {
    let mut faults = Vec::new();
    let mut made: HashSet<i64> = HashSet::new();
    for single in &script.singles {
        let ids: HashSet<i64> = single.answers.iter().copied().collect();
        if ids.len() != 1 {
            faults.push(format!("{}: the answers name {} messages", single.key, ids.len()));
        }
        for id in ids {
            let is_right = ours
                .messages
                .get(&id)
                .is_some_and(|message| message.campaign_id.is_none() && message.phone == single.phone);
            if !is_right || !made.insert(id) {
                faults.push(format!("{}: message {id} is not there for it alone", single.key));
            }
        }
    }
    let strangers = ours
        .messages
        .iter()
        .filter(|(id, message)| message.campaign_id.is_none() && !made.contains(id))
        .map(|(id, message)| format!("message {id} to {} belongs to no key", message.phone));
    faults.extend(strangers);
    let posts: usize = script.singles.iter().map(|single| single.answers.len()).sum();
    Check {
        name: "Each Idempotency-Key made one message",
        numbers: format!("{} keys, {posts} answers", script.singles.len()),
        faults,
    }
}

/// Of those whom nothing stops, nearly all got it.
pub(super) fn delivered(script: &Script, twilio: &Twilio, ours: &Ours) -> Check {
    let fates = script.fates();
    let stopped = script.stopped();
    let is_deliverable = |phone: &str| {
        fates.get(phone).is_some_and(|fate| *fate == Fate::Reachable) && !stopped.contains(phone)
    };
    let arrived: HashSet<i64> =
        twilio.messages.values().filter(|taken| taken.is_delivered()).map(|taken| taken.message_id).collect();
    let may_reach: HashMap<i64, &HashSet<String>> =
        script.campaigns.iter().map(|meant| (meant.id, &meant.may_reach)).collect();
    let (mut deliverable, mut delivered, mut known) = (0_u64, 0_u64, 0_u64);
    let mut missed = Vec::new();
    for (id, message) in &ours.messages {
        let is_meant = message
            .campaign_id
            .is_none_or(|id| may_reach.get(&id).is_some_and(|who| who.contains(&message.phone)));
        if !is_meant || !is_deliverable(&message.phone) {
            continue;
        }
        deliverable += 1;
        if arrived.contains(id) {
            delivered += 1;
        } else {
            let reason = message.reason.as_deref().unwrap_or("no reason");
            missed.push(format!("message {id} to {}: {}, {reason}", message.phone, message.status));
        }
        known += u64::from(matches!(message.status.as_str(), "delivered" | "read"));
    }
    let share = delivered as f64 / deliverable.max(1) as f64;
    Check {
        name: "At least 99 % of the deliverable are delivered",
        numbers: format!(
            "{delivered} of {deliverable}, {:.2} %; {known} of them are known here as delivered",
            share * 100.0
        ),
        faults: if share < SHARE || deliverable == 0 {
            missed.push(format!("{:.2} % are too few", share * 100.0));
            missed.rotate_right(1);
            missed
        } else {
            Vec::new()
        },
    }
}
