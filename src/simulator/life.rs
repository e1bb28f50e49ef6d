//! The life of an accepted message: which statuses it takes, when, and what of it is called back.
//!
//! `plan` decides everything at acceptance, so that a seed repeats; `live` only waits and acts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::Inner;
use super::callbacks::{self, News};
use super::chance;
use super::faults::CallbackFaults;
use super::message::Status;
use super::options::Options;
use super::state::Change;

/// Codes that a message fails with by chance.
const SMS_FAILURES: [u32; 5] = [30003, 30005, 30006, 30007, 30008];
const WHATSAPP_FAILURES: [u32; 3] = [63024, 63032, 63033];

/// What is known of a message at its acceptance.
#[derive(Clone, Debug)]
pub(super) struct Prospect {
    pub(super) to: Arc<str>,
    pub(super) sender: Arc<str>,
    pub(super) by_service: bool,
    pub(super) parts: u32,
    /// How many messages this number got before, so that a resend has its own fate.
    pub(super) earlier: u64,
    /// A code already known to strike later.
    pub(super) known_error: Option<u32>,
    /// Wait for the schedule, then for the sender's turn, in milliseconds.
    pub(super) scheduled_ms: u64,
    pub(super) queue_ms: u64,
    pub(super) validity_ms: u64,
}

/// A status and when it comes after acceptance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) after_ms: u64,
    pub(super) change: Change,
}

/// Lays out a message's life, the initial status left out.
pub(super) fn plan(prospect: &Prospect, options: &Options) -> Vec<Step> {
    let mut steps = Vec::with_capacity(4);
    let mut after_ms = prospect.scheduled_ms;
    let mut push = |after_ms: u64, status: Status, error: Option<u32>| {
        let from = prospect.by_service.then(|| Arc::clone(&prospect.sender));
        steps.push(Step { after_ms, change: Change { status, error, parts: prospect.parts, from } });
    };
    let pause = options.callback_delay_ms;
    if prospect.by_service {
        after_ms += pause;
        push(after_ms, Status::Queued, None);
    }
    let error = prospect.known_error.or_else(|| chance_error(prospect, options));
    if let Some(code) = error.filter(|code| !super::errors::comes_after_sending(*code)) {
        push(after_ms + pause, Status::Failed, Some(code));
        return steps;
    }
    if prospect.queue_ms > prospect.validity_ms {
        let expired = after_ms + prospect.validity_ms;
        push(expired, Status::Failed, Some(30036));
        return steps;
    }
    after_ms += prospect.queue_ms + pause;
    push(after_ms, Status::Sent, None);
    after_ms += pause;
    if let Some(code) = error {
        push(after_ms, Status::Undelivered, Some(code));
        return steps;
    }
    push(after_ms, Status::Delivered, None);
    if is_whatsapp(&prospect.to) && draws(options.read_percent, "read", prospect, options) {
        push(after_ms + pause, Status::Read, None);
    }
    steps
}

fn chance_error(prospect: &Prospect, options: &Options) -> Option<u32> {
    if !draws(options.fail_percent, "fails", prospect, options) {
        return None;
    }
    let choices = if is_whatsapp(&prospect.to) { &WHATSAPP_FAILURES[..] } else { &SMS_FAILURES[..] };
    chance::one_of(choices, options.seed, "code", &[prospect.to.as_bytes()])
}

fn draws(share: f64, decision: &str, prospect: &Prospect, options: &Options) -> bool {
    let facts = [prospect.to.as_bytes(), &prospect.earlier.to_be_bytes()];
    chance::happens(share, options.seed, decision, &facts)
}

pub(super) fn is_whatsapp(address: &str) -> bool {
    address.starts_with("whatsapp:")
}

/// What happens at one moment.
#[derive(Debug, PartialEq)]
enum Act {
    /// The step with this number takes place.
    Advance(usize),
    /// The step with this number is called back.
    Tell(usize),
}

/// Sorts steps and callbacks by time, faults applied. A callback never comes before its step
/// in the same millisecond.
fn timeline(steps: &[Step], tells: bool, faults: &CallbackFaults, luck: &Luck) -> Vec<(u64, Act)> {
    let mut acts: Vec<(u64, Act)> = Vec::with_capacity(steps.len() * 2);
    for (number, step) in steps.iter().enumerate() {
        acts.push((step.after_ms, Act::Advance(number)));
    }
    if tells {
        let last_ms = steps.last().map_or(0, |step| step.after_ms);
        for (number, step) in steps.iter().enumerate() {
            if luck.strikes(faults.missing_percent, "missing", number) {
                continue;
            }
            // Shuffled: all after the last status, the newest first.
            let at = if faults.is_shuffled { last_ms + (steps.len() - number) as u64 } else { step.after_ms };
            acts.push((at + faults.late_ms, Act::Tell(number)));
            if luck.strikes(faults.doubled_percent, "doubled", number) {
                acts.push((at + faults.late_ms, Act::Tell(number)));
            }
        }
    }
    acts.sort_by_key(|(at, _)| *at);
    acts
}

/// Chance for the callbacks of one message.
struct Luck {
    seed: u64,
    sid: u128,
}

impl Luck {
    fn strikes(&self, share: f64, decision: &str, number: usize) -> bool {
        let facts = [&self.sid.to_be_bytes()[..], &number.to_be_bytes()[..]];
        chance::happens(share, self.seed, decision, &facts)
    }
}

/// Counts what the callbacks of one message meet.
fn note_callback_faults(inner: &Inner, acts: &[(u64, Act)], steps: usize, faults: &CallbackFaults) {
    let told: Vec<usize> = acts
        .iter()
        .filter_map(|(_, act)| match act {
            Act::Tell(number) => Some(*number),
            Act::Advance(_) => None,
        })
        .collect();
    let once = told.iter().collect::<std::collections::HashSet<_>>().len();
    let active = &mut inner.state().faults;
    active.note("callbacks_missing_percent", steps.saturating_sub(once) as u64);
    active.note("callbacks_doubled_percent", told.len().saturating_sub(once) as u64);
    active.note("callbacks_late_ms", if faults.late_ms > 0 { told.len() as u64 } else { 0 });
    active.note("callbacks_shuffled", u64::from(faults.is_shuffled && once > 1));
}

/// Starts the life of the message at `index`.
pub(super) fn start(inner: &Arc<Inner>, index: usize, steps: Vec<Step>, faults: &CallbackFaults) {
    let (sid, tells) = {
        let state = inner.state();
        match state.get(index) {
            Some(message) => (message.sid.bits, message.status_callback.is_some()),
            None => return,
        }
    };
    let luck = Luck { seed: inner.options.seed, sid };
    let acts = timeline(&steps, tells, faults, &luck);
    if tells {
        note_callback_faults(inner, &acts, steps.len(), faults);
    }
    let life = Life { inner: Arc::clone(inner), index, steps };
    let busy = inner.busy();
    inner.runtime.spawn(async move {
        let (sender, receiver) = unbounded_channel();
        // Apart from each other, so that a slow callback holds back the next callback and no status.
        tokio::join!(life.pass(acts, sender), life.call_back(receiver));
        drop(busy);
    });
}

struct Life {
    inner: Arc<Inner>,
    index: usize,
    steps: Vec<Step>,
}

impl Life {
    /// Waits for each act and does it; ends early when the message was cancelled or
    /// deleted, or the simulator stopped.
    async fn pass(&self, acts: Vec<(u64, Act)>, due: UnboundedSender<usize>) {
        let began = Instant::now();
        for (after_ms, act) in acts {
            sleep_until(began + Duration::from_millis(after_ms)).await;
            if self.inner.is_stopped() {
                return;
            }
            match act {
                Act::Tell(number) => {
                    if due.send(number).is_err() {
                        return;
                    }
                }
                Act::Advance(number) => {
                    let Some(step) = self.steps.get(number) else {
                        return;
                    };
                    let change = step.change.clone();
                    if !self.inner.state().advance(self.index, change, self.inner.now()) {
                        return;
                    }
                }
            }
        }
    }

    /// Sends the callbacks that are due, one after the other.
    async fn call_back(&self, mut due: UnboundedReceiver<usize>) {
        while let Some(number) = due.recv().await {
            if let Some(step) = self.steps.get(number) {
                tell(&self.inner, self.index, &step.change).await;
            }
        }
    }
}

/// Calls the message's status callback, if it has one, about one change.
pub(super) async fn tell(inner: &Inner, index: usize, change: &Change) {
    let news = {
        let state = inner.state();
        state.get(index).and_then(|message| News::of(message, change, &inner.options.account_sid))
    };
    if let Some(news) = news {
        callbacks::send_status(inner, &news).await;
    }
}
