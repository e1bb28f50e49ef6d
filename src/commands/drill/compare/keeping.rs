//! What was promised to be kept, and whether everything came to its end.

use super::super::record::{Ours, Script, Twilio};
use super::Check;

/// How long a start should take at most, in milliseconds. Told, not judged: it is the machine's doing too.
const QUICK: i64 = 2_000;

/// Every status callback that was answered with 2xx is in the file.
pub(super) fn receipts(twilio: &Twilio, ours: &Ours) -> Check {
    let answered = twilio.callbacks.iter().filter(|callback| !callback.is_inbound && callback.is_answered());
    let (mut n, mut faults) = (0, Vec::new());
    for callback in answered {
        n += 1;
        let key = (callback.sid.clone(), callback.status.clone(), callback.code);
        if !ours.receipts.contains(&key) {
            faults.push(format!("{} {} {} is not in the file", callback.sid, callback.status, callback.code));
        }
    }
    let unanswered = twilio.callbacks.iter().filter(|c| !c.is_inbound && !c.is_answered()).count();
    Check {
        name: "Every status callback answered with 2xx is in the file",
        numbers: format!("{n} answered, {unanswered} met a dead server; {} receipts", ours.receipts.len()),
        faults,
    }
}

/// A message whose arrival was told counts as arrived.
pub(super) fn told_and_kept(twilio: &Twilio, ours: &Ours) -> Check {
    let (mut n, mut faults) = (0, Vec::new());
    for callback in &twilio.callbacks {
        if !callback.is_answered() || !matches!(callback.status.as_str(), "delivered" | "read") {
            continue;
        }
        n += 1;
        let message = twilio
            .messages
            .get(&callback.sid)
            .and_then(|taken| Some((taken.message_id, ours.messages.get(&taken.message_id)?)));
        let Some((id, message)) = message else { continue };
        // What was taken back here stays so.
        if !matches!(message.status.as_str(), "delivered" | "read" | "cancelled") {
            faults.push(format!("message {id} was told to be {} and is {}", callback.status, message.status));
        }
    }
    Check {
        name: "Whoever was told to have been reached counts as reached",
        numbers: format!("{n} callbacks of arrivals"),
        faults,
    }
}

/// Everything that people wrote and that was answered with 2xx is in the file.
pub(super) fn webhooks(twilio: &Twilio, ours: &Ours) -> Check {
    let answered: Vec<&str> = twilio
        .callbacks
        .iter()
        .filter(|callback| callback.is_inbound && callback.is_answered())
        .map(|callback| callback.sid.as_str())
        .collect();
    let lost = answered.iter().filter(|sid| !ours.inbound.contains_key(**sid));
    Check {
        name: "Every inbound webhook answered with 2xx is in the file",
        numbers: format!("{} answered", answered.len()),
        faults: lost.map(|sid| format!("{sid} is not in the file")).collect(),
    }
}

/// Everything that people wrote is in the file, heard or caught up with.
pub(super) fn everything_written(script: &Script, ours: &Ours) -> Check {
    let lost = script.words.iter().filter(|word| !ours.inbound.contains_key(&word.sid));
    let caught_up = ours.inbound.values().filter(|source| *source == "catch_up").count();
    let dead = script.words.iter().filter(|word| word.was_dead).count();
    Check {
        name: "Everything that people wrote is in the file, also while the server was dead",
        numbers: format!(
            "{} written, {dead} of them to a dead server; {caught_up} were caught up with",
            script.words.len()
        ),
        faults: lost.map(|word| format!("{} of {} is not in the file", word.sid, word.phone)).collect(),
    }
}

/// Nothing is left open.
pub(super) fn closed(ours: &Ours) -> Check {
    let mut faults: Vec<String> = ours
        .campaigns
        .iter()
        .filter(|(_, status)| *status != "finished")
        .map(|(id, status)| format!("campaign {id} is {status}"))
        .collect();
    let open = ours.messages.iter().filter(|(_, message)| message.is_open());
    faults
        .extend(open.map(|(id, message)| format!("message {id} to {} is {}", message.phone, message.status)));
    Check {
        name: "Every campaign is finished, and nothing is queued, sending or uncertain",
        numbers: format!("{} campaigns, {} messages", ours.campaigns.len(), ours.messages.len()),
        faults,
    }
}

/// What `ese verify` says.
pub(super) fn verified(ours: &Ours) -> Check {
    Check {
        name: "ese verify: counts equal a recount, the consent chain and the file are whole",
        numbers: format!("{} problems", ours.problems.len()),
        faults: ours.problems.clone(),
    }
}

/// The server came back after every kill.
pub(super) fn starts(script: &Script) -> Check {
    let mut faults = Vec::new();
    for (number, kill) in script.kills.iter().enumerate() {
        let came_back =
            script.starts.iter().any(|start| start.spawned_at >= *kill && start.ready_at.is_some());
        if !came_back {
            faults.push(format!("kill {} was followed by no start that was ready", number + 1));
        }
    }
    let mut took: Vec<i64> =
        script.starts.iter().filter_map(|start| Some(start.ready_at? - start.spawned_at)).collect();
    took.sort_unstable();
    let cut_short = script.starts.iter().filter(|start| start.ready_at.is_none()).count();
    let slow = took.iter().filter(|took| **took > QUICK).count();
    let middle = took.get(took.len() / 2).copied().unwrap_or_default();
    Check {
        name: "After every kill the server came back",
        numbers: format!(
            "{} kills, {} starts ready after {middle} ms in the middle and {} ms at worst, {slow} after more than \
             2 s; {cut_short} starts were killed before they were ready",
            script.kills.len(),
            took.len(),
            took.last().copied().unwrap_or_default(),
        ),
        faults,
    }
}
