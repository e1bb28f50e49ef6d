//! What the simulator remembers: messages with their indexes, blocks, WhatsApp windows, and how
//! far each sender's queue reaches. No request walks over all messages.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::content::Contents;
use super::faults::Active;
use super::message::{Direction, Message, Sid, Status};
use super::options::Options;
use super::requests::Requests;

/// A WhatsApp person may be written to freely for this long after their last message.
const WINDOW_MS: i64 = 24 * 60 * 60 * 1000;

/// Everything that changes. Lives behind one mutex that is held for microseconds.
#[derive(Debug)]
pub(super) struct State {
    /// In order of creation; an index into it never changes.
    messages: Vec<Message>,
    by_sid: HashMap<u128, usize>,
    by_to: HashMap<Arc<str>, Vec<usize>>,
    by_from: HashMap<Arc<str>, Vec<usize>>,
    /// Messages made by the REST API, per number without its channel.
    counts: HashMap<Box<str>, u64>,
    /// (person, sender) pairs closed by STOP.
    blocks: HashSet<(Box<str>, Box<str>)>,
    /// (person, sender) and the time of the person's last message.
    windows: HashMap<(Box<str>, Box<str>), i64>,
    /// When each sender will have sent what it has, in milliseconds since 1970.
    busy_until: HashMap<Box<str>, f64>,
    pub(super) contents: Contents,
    pub(super) faults: Active,
    pub(super) requests: Requests,
}

/// What a list is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) to: Option<String>,
    pub(super) from: Option<String>,
    /// Sent at or after this time.
    pub(super) since: Option<i64>,
    /// Sent at or before this time.
    pub(super) until: Option<i64>,
    /// Made at or before this time: what is younger is not listed yet.
    pub(super) made_until: Option<i64>,
}

/// Which page of a list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Newest,
    /// Older than the message at this index.
    OlderThan(usize),
    /// Newer than the message at this index.
    NewerThan(usize),
}

/// Indexes of one page, newest first, and whether older messages follow.
#[derive(Debug, PartialEq)]
pub(super) struct Page {
    pub(super) found: Vec<usize>,
    pub(super) has_older: bool,
}

impl State {
    pub(super) fn new(options: &Options) -> State {
        State {
            messages: Vec::new(),
            by_sid: HashMap::new(),
            by_to: HashMap::new(),
            by_from: HashMap::new(),
            counts: HashMap::new(),
            blocks: HashSet::new(),
            windows: HashMap::new(),
            busy_until: HashMap::new(),
            contents: Contents::born(),
            faults: Active::new(options.faults.clone()),
            requests: Requests::default(),
        }
    }

    /// How many messages were ever made; the next one's number.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Keeps a new message and finds it again under this index.
    pub(super) fn insert(&mut self, message: Message) -> usize {
        let index = self.messages.len();
        self.by_sid.insert(message.sid.bits, index);
        self.by_to.entry(Arc::clone(&message.to)).or_default().push(index);
        if let Some(from) = &message.from {
            self.by_from.entry(Arc::clone(from)).or_default().push(index);
        }
        if message.direction == Direction::OutboundApi {
            *self.counts.entry(bare(&message.to).into()).or_default() += 1;
        }
        self.messages.push(message);
        index
    }

    /// The message, unless it was deleted.
    pub(super) fn get(&self, index: usize) -> Option<&Message> {
        self.messages.get(index).filter(|message| !message.is_deleted)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Message> {
        self.messages.get_mut(index).filter(|message| !message.is_deleted)
    }

    /// Where the message with this SID lies, deleted or not: a page may end at a deleted one.
    pub(super) fn index_of(&self, sid: Sid) -> Option<usize> {
        self.by_sid.get(&sid.bits).copied()
    }

    /// Sets a message's status. Does nothing to a deleted or cancelled one, and says so.
    pub(super) fn advance(&mut self, index: usize, change: Change, now: i64) -> bool {
        let picked = self.get_mut(index).and_then(|message| {
            if message.status == Status::Canceled {
                return None;
            }
            message.status = change.status;
            message.error = change.error;
            message.updated = now;
            if change.status == Status::Sent {
                message.sent = Some(now);
            }
            message.parts = change.parts;
            let picked = message.from.is_none().then(|| change.from.clone()).flatten();
            if picked.is_some() {
                message.from.clone_from(&picked);
            }
            Some(picked)
        });
        if let Some(Some(from)) = &picked {
            let ascending = self.by_from.entry(Arc::clone(from)).or_default();
            let at = ascending.partition_point(|other| *other < index);
            ascending.insert(at, index);
        }
        picked.is_some()
    }

    /// One page of what fits `filter`.
    pub(super) fn list(&self, filter: &Filter, place: Place, size: usize) -> Page {
        let (low, mut high) = match place {
            Place::Newest => (0, self.messages.len()),
            Place::OlderThan(bound) => (0, bound),
            Place::NewerThan(bound) => (bound + 1, self.messages.len()),
        };
        if let Some(until) = filter.until {
            // What was created later cannot have been sent by then.
            high = high.min(self.messages.partition_point(|m| m.created <= until));
        }
        let narrow = filter.to.as_ref().map(|to| self.by_to.get(to.as_str()));
        let narrow = narrow.or_else(|| filter.from.as_ref().map(|f| self.by_from.get(f.as_str())));
        let candidates: Box<dyn DoubleEndedIterator<Item = usize>> = match narrow {
            None => Box::new(low..high),
            Some(indexes) => Box::new(between(indexes, low, high).iter().copied()),
        };
        let fitting = candidates.filter(|index| self.fits(*index, filter));
        match place {
            Place::NewerThan(_) => {
                let mut found: Vec<usize> = fitting.take(size).collect();
                found.reverse();
                Page { found, has_older: true }
            }
            Place::Newest | Place::OlderThan(_) => {
                let mut found: Vec<usize> = fitting.rev().take(size + 1).collect();
                let has_older = found.len() > size;
                found.truncate(size);
                Page { found, has_older }
            }
        }
    }

    fn fits(&self, index: usize, filter: &Filter) -> bool {
        self.get(index).is_some_and(|message| {
            let sent = message.sent_or_created();
            filter.to.as_deref().is_none_or(|to| to == &*message.to)
                && filter.from.as_deref().is_none_or(|from| Some(from) == message.from.as_deref())
                && filter.since.is_none_or(|since| sent >= since)
                && filter.until.is_none_or(|until| sent <= until)
                && filter.made_until.is_none_or(|until| message.created <= until)
        })
    }

    /// All messages to and from a number on every channel, oldest first.
    pub(super) fn conversation(&self, number: &str) -> Vec<&Message> {
        let mut indexes: Vec<usize> = Vec::new();
        for address in [number.to_owned(), format!("whatsapp:{number}")] {
            indexes.extend(self.by_to.get(address.as_str()).into_iter().flatten());
            indexes.extend(self.by_from.get(address.as_str()).into_iter().flatten());
        }
        indexes.sort_unstable();
        indexes.dedup();
        indexes.into_iter().filter_map(|index| self.get(index)).collect()
    }

    /// The last message with each person, newest first, out of the newest `depth` messages.
    pub(super) fn recent_people(&self, depth: usize) -> Vec<&Message> {
        let mut seen = HashSet::new();
        self.messages
            .iter()
            .rev()
            .take(depth)
            .filter(|message| !message.is_deleted && seen.insert(bare(message.person())))
            .collect()
    }

    /// The messages to `to` (with or without its channel; everybody's without it), oldest first,
    /// deleted ones included: this is the record of what was accepted.
    pub(super) fn record(&self, to: Option<&str>) -> Box<dyn Iterator<Item = &Message> + '_> {
        let Some(to) = to else {
            return Box::new(self.messages.iter());
        };
        let mut indexes: Vec<usize> = Vec::new();
        for address in [to.to_owned(), format!("whatsapp:{to}")] {
            indexes.extend(self.by_to.get(address.as_str()).into_iter().flatten());
        }
        indexes.sort_unstable();
        Box::new(indexes.into_iter().filter_map(|index| self.messages.get(index)))
    }

    /// Messages made by the REST API, per number without its channel.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().map(|(number, count)| (&**number, *count))
    }

    /// How many messages the REST API made to this number.
    pub(super) fn count_to(&self, to: &str) -> u64 {
        self.counts.get(bare(to)).copied().unwrap_or_default()
    }

    pub(super) fn block(&mut self, person: &str, sender: &str) {
        self.blocks.insert((person.into(), sender.into()));
    }

    pub(super) fn unblock(&mut self, person: &str, sender: &str) {
        self.blocks.remove(&(person.into(), sender.into()));
    }

    pub(super) fn is_blocked(&self, person: &str, sender: &str) -> bool {
        !self.blocks.is_empty() && self.blocks.contains(&(person.into(), sender.into()))
    }

    /// Opens the WhatsApp window of this pair.
    pub(super) fn heard(&mut self, person: &str, sender: &str, now: i64) {
        self.windows.insert((person.into(), sender.into()), now);
    }

    pub(super) fn is_window_open(&self, person: &str, sender: &str, now: i64) -> bool {
        self.windows.get(&(person.into(), sender.into())).is_some_and(|heard| now - heard < WINDOW_MS)
    }

    /// Milliseconds until a message of this many parts would leave `sender` at `rate` parts per
    /// second.
    pub(super) fn wait(&self, sender: &str, now: i64) -> f64 {
        let until = self.busy_until.get(sender).copied().unwrap_or_default();
        (until - now as f64).max(0.0)
    }

    /// Takes the next place in the sender's queue.
    pub(super) fn enqueue(&mut self, sender: &str, parts: u32, rate: f64, now: i64) {
        let start = self.wait(sender, now) + now as f64;
        self.busy_until.insert(sender.into(), start + f64::from(parts) * 1000.0 / rate);
    }
}

/// What one step of its life makes of a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) status: Status,
    pub(super) error: Option<u32>,
    pub(super) parts: u32,
    /// The sender that a Messaging Service picked.
    pub(super) from: Option<Arc<str>>,
}

/// A number without its channel.
pub(super) fn bare(address: &str) -> &str {
    address.strip_prefix("whatsapp:").unwrap_or(address)
}

/// The part of an ascending list from `low` to below `high`.
fn between(indexes: Option<&Vec<usize>>, low: usize, high: usize) -> &[usize] {
    let indexes = indexes.map(Vec::as_slice).unwrap_or_default();
    let from = indexes.partition_point(|index| *index < low);
    let to = indexes.partition_point(|index| *index < high);
    indexes.get(from..to).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: &str = "+14155550101";
    const SENDER: &str = "+15005550006";

    fn message(number: u64, created: i64, sent: Option<i64>) -> Message {
        Message {
            sid: Sid::draw(1, number, false),
            service: None,
            to: PERSON.into(),
            from: Some(SENDER.into()),
            body: "x".into(),
            content_sid: None,
            media: Vec::new(),
            status: Status::Queued,
            direction: Direction::OutboundApi,
            parts: 1,
            error: None,
            created,
            updated: created,
            sent,
            status_callback: None,
            validity_seconds: 36_000,
            is_deleted: false,
        }
    }

    #[test]
    fn date_filters_go_by_the_time_of_sending_once_there_is_one() {
        let mut state = State::new(&Options::default());
        state.insert(message(0, 100, Some(300)));
        state.insert(message(1, 150, None));
        let found = |since, until| {
            let filter = Filter { since, until, ..Filter::default() };
            state.list(&filter, Place::Newest, 50).found
        };
        assert_eq!(found(None, Some(200)), [1]);
        assert_eq!(found(Some(200), None), [0]);
        assert_eq!(found(Some(150), Some(300)), [1, 0]);
        assert_eq!(found(None, Some(99)), [0_usize; 0]);
    }

    #[test]
    fn a_sender_picked_later_is_found_in_order() {
        let mut state = State::new(&Options::default());
        let mut by_service = message(0, 100, None);
        by_service.from = None;
        let first = state.insert(by_service);
        let second = state.insert(message(1, 100, None));
        let change = Change { status: Status::Queued, error: None, parts: 1, from: Some(SENDER.into()) };
        assert!(state.advance(first, change, 200));
        let filter = Filter { from: Some(SENDER.to_owned()), ..Filter::default() };
        let page = state.list(&filter, Place::Newest, 50);
        assert_eq!(page.found, [second, first]);
    }

    #[test]
    fn a_window_closes_a_day_after_the_person_wrote() {
        let mut state = State::new(&Options::default());
        state.heard(PERSON, SENDER, 0);
        assert!(state.is_window_open(PERSON, SENDER, WINDOW_MS - 1));
        assert!(!state.is_window_open(PERSON, SENDER, WINDOW_MS));
        assert!(!state.is_window_open(SENDER, PERSON, 0));
    }
}
