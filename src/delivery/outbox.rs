//! Claimed messages on their way to Twilio: whose request has begun, and who was withdrawn before it.
//!
//! The writer thread registers a claim inside the write that makes it, and withdraws after the commit of a
//! STOP, a pause or a cancel, before that is answered. A request may begin only while its claim stands.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::Withdrawal;
use crate::store::outcomes::AttemptKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Claimed,
    Withdrawn,
    Begun,
}

#[derive(Debug)]
struct Entry {
    batch: u64,
    /// The attempt: a claim of the next one is another.
    number: u32,
    user_id: i64,
    campaign_id: Option<i64>,
    sender_id: i64,
    state: State,
}

/// What is known of a claim.
#[derive(Clone, Copy, Debug)]
pub struct Claimed {
    /// The message and its attempt.
    pub key: AttemptKey,
    /// Its person.
    pub user_id: i64,
    /// Its campaign.
    pub campaign_id: Option<i64>,
    /// Its sender.
    pub sender_id: i64,
}

/// Every claim whose outcome is not on disk yet.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: Mutex<HashMap<i64, Entry>>,
    /// Batches whose caller gave up: they may still be on their way through the writer.
    forgotten: Mutex<HashSet<u64>>,
}

impl Outbox {
    fn entries(&self) -> MutexGuard<'_, HashMap<i64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forgotten(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a claim of `batch`.
    pub fn register(&self, batch: u64, claim: Claimed) {
        if self.forgotten().contains(&batch) {
            return;
        }
        let entry = Entry {
            batch,
            number: claim.key.number,
            user_id: claim.user_id,
            campaign_id: claim.campaign_id,
            sender_id: claim.sender_id,
            state: State::Claimed,
        };
        self.entries().insert(claim.key.message_id, entry);
    }

    /// Drops the claims of a batch whose write was lost, or that nobody waits for any more. Should it reach
    /// the disk all the same, its rows have no claim here, and the rescue puts them back.
    pub fn forget_batch(&self, batch: u64) {
        self.forgotten().insert(batch);
        self.entries().retain(|_, entry| entry.batch != batch);
    }

    /// Withdraws every claim of `whom` whose request has not begun.
    pub fn withdraw(&self, whom: &[Withdrawal]) {
        for (message_id, entry) in self.entries().iter_mut() {
            let is_meant = whom.iter().any(|whom| match whom {
                Withdrawal::User(id) => entry.user_id == *id,
                Withdrawal::Campaign(id) => entry.campaign_id == Some(*id),
                Withdrawal::Message(id) => message_id == id,
                Withdrawal::Sender(id) => entry.sender_id == *id,
                Withdrawal::All => true,
            });
            if is_meant && entry.state == State::Claimed {
                entry.state = State::Withdrawn;
            }
        }
    }

    /// Withdraws everything whose request has not begun: the process ends.
    pub fn close(&self) {
        self.withdraw(&[Withdrawal::All]);
    }

    /// Begins a request. `false`: the claim was withdrawn, and the request must not be made.
    ///
    /// Both steps are traced, the second while the claims are locked: whoever listens learns the moment of
    /// the beginning itself, and not a later one.
    pub fn begin(&self, key: AttemptKey) -> bool {
        tracing::trace!(message.id = key.message_id, "a request may begin");
        match self.entries().get_mut(&key.message_id) {
            Some(entry) if entry.state == State::Claimed && entry.number == key.number => {
                entry.state = State::Begun;
                tracing::trace!(message.id = key.message_id, "a request begins");
                true
            }
            _ => false,
        }
    }

    /// Drops a claim whose outcome is on disk. An outcome that was written twice leaves the claim of the next
    /// attempt alone.
    pub fn finish(&self, key: AttemptKey) {
        let mut entries = self.entries();
        if entries.get(&key.message_id).is_some_and(|entry| entry.number == key.number) {
            entries.remove(&key.message_id);
        }
    }

    /// Whether an attempt has a claim.
    pub fn contains(&self, key: AttemptKey) -> bool {
        self.entries().get(&key.message_id).is_some_and(|entry| entry.number == key.number)
    }

    /// How many claims there are.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// True without any claim.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(message_id: i64) -> AttemptKey {
        AttemptKey { message_id, number: 1 }
    }

    fn outbox() -> Outbox {
        let outbox = Outbox::default();
        for message_id in 1..=4 {
            let claim = Claimed {
                key: first(message_id),
                user_id: message_id * 10,
                campaign_id: (message_id < 3).then_some(7),
                sender_id: 1,
            };
            outbox.register(message_id as u64, claim);
        }
        outbox
    }

    #[test]
    fn a_withdrawn_claim_never_begins() {
        let outbox = outbox();
        assert!(outbox.begin(first(1)));
        outbox.withdraw(&[Withdrawal::Campaign(7), Withdrawal::User(30)]);
        assert!(!outbox.begin(first(2)));
        assert!(!outbox.begin(first(3)));
        assert!(outbox.begin(first(4)));
    }

    #[test]
    fn a_claim_begins_once_and_not_after_it_is_forgotten() {
        let outbox = outbox();
        assert!(outbox.begin(first(1)));
        assert!(!outbox.begin(first(1)));
        outbox.forget_batch(2);
        assert!(!outbox.begin(first(2)));
        outbox.register(2, Claimed { key: first(9), user_id: 1, campaign_id: None, sender_id: 1 });
        assert!(!outbox.contains(first(9)));
        outbox.finish(AttemptKey { number: 2, ..first(1) });
        assert!(outbox.contains(first(1)), "another attempt's outcome took it away");
        outbox.finish(first(1));
        assert_eq!(outbox.len(), 2);
    }
}
