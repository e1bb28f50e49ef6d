//! STOP and START: what was sent to whom after which word.

use std::collections::HashMap;

use super::super::record::{Meaning, Ours, Request, Script, Twilio, Word};
use super::{Check, LIST_LATE};
use crate::clock::Millis;

/// How long a request may be on its way from the moment it begins in the server to the moment it is read,
/// through two processes that share a busy machine. Tests in the engine hold the exact border; the order
/// within the file is checked here to the millisecond.
const ON_THE_WAY: Millis = 500;

/// How long after a start the first look into the list comes, at most.
const FIRST_LOOK: Millis = 3_000;

/// A START that comes this soon after an unheard STOP may be dated before it; a second for Twilio's own, which
/// go by whole seconds.
const DOUBT: Millis = 61_000;

/// The requests to each number, oldest first.
fn by_phone(twilio: &Twilio) -> HashMap<&str, Vec<&Request>> {
    let mut by_phone: HashMap<&str, Vec<&Request>> = HashMap::new();
    for request in &twilio.requests {
        by_phone.entry(&request.phone).or_default().push(request);
    }
    by_phone
}

/// When the person next wrote START.
fn until(script: &Script, stop: &Word) -> Millis {
    let starts = script.words.iter().filter(|word| {
        word.meaning == Meaning::Start && word.phone == stop.phone && word.sent_at >= stop.sent_at
    });
    starts.map(|word| word.sent_at).min().unwrap_or(Millis::MAX)
}

fn stops(script: &Script, is_answered: bool) -> impl Iterator<Item = &Word> {
    script
        .words
        .iter()
        .filter(move |word| word.meaning == Meaning::Stop && word.answered_at.is_some() == is_answered)
}

/// Nobody got a request that began after the 2xx to their STOP.
pub(super) fn after_the_answer(script: &Script, twilio: &Twilio) -> Check {
    let requests = by_phone(twilio);
    let (mut n, mut on_the_way, mut longest, mut faults) = (0, 0, 0, Vec::new());
    for stop in stops(script, true) {
        n += 1;
        let answered_at = stop.answered_at.unwrap_or_default();
        let until = until(script, stop);
        for request in requests.get(stop.phone.as_str()).into_iter().flatten() {
            let late = request.at - answered_at;
            if late <= 0 || request.at >= until {
                continue;
            }
            if late <= ON_THE_WAY {
                on_the_way += 1;
                longest = longest.max(late);
            } else {
                faults.push(format!(
                    "{}: a request of message {} began {late} ms after the answer to STOP",
                    stop.phone, request.message_id
                ));
            }
        }
    }
    Check {
        name: "Nobody got a request that began after their STOP was answered",
        numbers: format!(
            "{n} STOPs answered; {on_the_way} requests were on their way then and read within {ON_THE_WAY} ms, \
             the last after {longest} ms"
        ),
        faults,
    }
}

/// The first start whose look into Twilio's list could show the STOP, and whether earlier ones could not: a
/// late list does not show what is young.
fn told_at(script: &Script, stop: &Word) -> (Option<Millis>, bool) {
    let after = script.starts.iter().map(|start| start.spawned_at).filter(|at| *at >= stop.sent_at);
    let mut was_hidden = false;
    for started in after {
        let is_young = started - stop.sent_at < LIST_LATE;
        let is_late =
            script.late_lists.iter().any(|(from, to)| *from < started + FIRST_LOOK && started < *to);
        if !is_young || !is_late {
            return (Some(started), was_hidden);
        }
        was_hidden = true;
    }
    (None, was_hidden)
}

/// A STOP that nobody heard holds from the next start on: no marketing before it is caught up with.
pub(super) fn after_the_start(script: &Script, twilio: &Twilio, ours: &Ours) -> Check {
    let requests = by_phone(twilio);
    let (mut n, mut hidden, mut faults) = (0, 0, Vec::new());
    for stop in stops(script, false) {
        n += 1;
        let (started, was_hidden) = told_at(script, stop);
        hidden += u64::from(was_hidden);
        let Some(started) = started else { continue };
        let until = until(script, stop);
        for request in requests.get(stop.phone.as_str()).into_iter().flatten() {
            let message = ours.messages.get(&request.message_id);
            let is_marketing = message.is_none_or(|message| message.kind == "marketing");
            if is_marketing && request.at > started && request.at < until {
                faults.push(format!(
                    "{}: a request of message {} began {} ms after the start that followed an unheard STOP",
                    stop.phone,
                    request.message_id,
                    request.at - started
                ));
            }
        }
    }
    Check {
        name: "Nobody got marketing after the start that followed a STOP which nobody heard",
        numbers: format!(
            "{n} STOPs unheard; {hidden} of them were too young for a late list at the next start, and count from \
             the one after"
        ),
        faults,
    }
}

/// By the file's own clock, nothing was claimed for somebody while `stop` was in force.
pub(super) fn in_the_order_of_the_file(ours: &Ours) -> Check {
    let mut claims: HashMap<&str, Vec<(i64, Millis)>> = HashMap::new();
    for (id, message) in &ours.messages {
        let at = message.attempts.iter().map(|at| (*id, *at));
        claims.entry(&message.phone).or_default().extend(at);
    }
    let (mut n, mut faults) = (0, Vec::new());
    for (phone, changes) in &ours.consents {
        for (number, (state, at)) in changes.iter().enumerate() {
            if state != "stop" {
                continue;
            }
            n += 1;
            let until = changes
                .get(number + 1..)
                .unwrap_or_default()
                .iter()
                .find(|(next, _)| next != "stop")
                .map_or(Millis::MAX, |(_, at)| *at);
            let claimed = claims.get(phone.as_str()).into_iter().flatten();
            for (id, claimed_at) in claimed.filter(|(_, claimed_at)| *claimed_at > *at && *claimed_at < until)
            {
                faults.push(format!("{phone}: message {id} was claimed {} ms after stop", claimed_at - at));
            }
        }
    }
    Check {
        name: "In the order of the file, nothing was claimed for anybody while stop was in force",
        numbers: format!("{n} changes to stop"),
        faults,
    }
}

/// The last word of each person is the state in the file. A START shortly after a STOP that nobody heard may
/// count as the earlier one: two clocks date them, and in doubt the STOP holds.
pub(super) fn last_word(script: &Script, ours: &Ours) -> Check {
    let mut last: HashMap<&str, &Word> = HashMap::new();
    for word in script.words.iter().filter(|word| word.meaning != Meaning::Plain) {
        let newest = last.entry(&word.phone).or_insert(word);
        if word.sent_at >= newest.sent_at {
            *newest = word;
        }
    }
    let is_in_doubt = |start: &Word| {
        let stops = stops(script, false).filter(|stop| stop.phone == start.phone);
        stops.into_iter().any(|stop| (0..DOUBT).contains(&(start.sent_at - stop.sent_at)))
    };
    let (mut doubts, mut faults) = (0, Vec::new());
    for (phone, word) in &last {
        let changes = ours.consents.get(*phone).and_then(|changes| changes.last());
        let state = changes.map_or("without a state", |(state, _)| state);
        let wanted = if word.meaning == Meaning::Stop { "stop" } else { "opt_in" };
        if state == wanted {
            continue;
        }
        if word.meaning == Meaning::Start && state == "stop" && is_in_doubt(word) {
            doubts += 1;
        } else {
            faults.push(format!("{phone} is {state} and should be {wanted}"));
        }
    }
    Check {
        name: "The last STOP or START of each person is what the file says",
        numbers: format!(
            "{} people; {doubts} of them said START within a minute after a STOP that nobody heard, and stop holds",
            last.len()
        ),
        faults,
    }
}
