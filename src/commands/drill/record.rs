//! The three records that are compared in the end: what the drill did, what Twilio saw, what the data
//! file says. Plain values, so that a test can doctor them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::cast::{Fate, Person};
use crate::clock::Millis;

/// What the drill did and whom it meant.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    /// Everybody.
    pub(super) people: Vec<Person>,
    /// The campaigns, in the order of their plans.
    pub(super) campaigns: Vec<Meant>,
    /// Single messages that were posted.
    pub(super) singles: Vec<Single>,
    /// What people wrote.
    pub(super) words: Vec<Word>,
    /// Starts of the server, the failed ones too.
    pub(super) starts: Vec<Start>,
    /// Moments of the kills.
    pub(super) kills: Vec<Millis>,
    /// From when to when Twilio's lists were late.
    pub(super) late_lists: Vec<(Millis, Millis)>,
}

/// Whom a campaign means.
#[derive(Clone, Debug)]
pub(super) struct Meant {
    /// Its id in the file.
    pub(super) id: i64,
    /// Its name.
    pub(super) name: String,
    /// Numbers of everybody whom its segment holds.
    pub(super) audience: HashSet<String>,
    /// Those of them whom nothing stops but a fate or a word of their own.
    pub(super) may_reach: HashSet<String>,
}

/// A message posted under a key, maybe more than once.
#[derive(Clone, Debug)]
pub(super) struct Single {
    /// The `Idempotency-Key`.
    pub(super) key: String,
    /// To whom.
    pub(super) phone: String,
    /// The id in each answer.
    pub(super) answers: Vec<i64>,
}

/// What somebody wrote.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// The person.
    pub(super) phone: String,
    /// What it means.
    pub(super) meaning: Meaning,
    /// Twilio's id.
    pub(super) sid: String,
    /// When it was written.
    pub(super) sent_at: Millis,
    /// When the webhook's 2xx was there; none if there was none.
    pub(super) answered_at: Option<Millis>,
    /// The server was dead.
    pub(super) was_dead: bool,
}

/// What a word means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Stop,
    Start,
    /// Anything else.
    Plain,
}

/// A start of the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// When the process was made.
    pub(super) spawned_at: Millis,
    /// When it said that it was ready; none if it was killed before.
    pub(super) ready_at: Option<Millis>,
}

/// What Twilio saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Twilio {
    /// Create requests, in order.
    pub(super) requests: Vec<Request>,
    /// Messages that were made, by SID.
    pub(super) messages: HashMap<String, Taken>,
    /// Webhooks, in order.
    pub(super) callbacks: Vec<Callback>,
    /// How often each fault struck.
    pub(super) struck: BTreeMap<String, u64>,
}

/// A create request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// When it was read.
    pub(super) at: Millis,
    /// E.164, without its channel.
    pub(super) phone: String,
    /// The message of ours that it is about.
    pub(super) message_id: i64,
    /// What was made of it.
    pub(super) sid: Option<String>,
}

/// A message that Twilio made.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    /// E.164, without its channel.
    pub(super) phone: String,
    /// The message of ours that it is about.
    pub(super) message_id: i64,
    /// When it was made.
    pub(super) at: Millis,
    /// Twilio's word for where it stands.
    pub(super) status: String,
}

impl Taken {
    /// It reached the person.
    pub(super) fn is_delivered(&self) -> bool {
        matches!(self.status.as_str(), "delivered" | "read")
    }

    /// It never will.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.status.as_str(), "failed" | "undelivered" | "canceled")
    }
}

/// A webhook that Twilio sent.
#[derive(Clone, Debug)]
pub(super) struct Callback {
    /// About a status, or what a person wrote.
    pub(super) is_inbound: bool,
    /// The message.
    pub(super) sid: String,
    /// Twilio's word; empty of what a person wrote.
    pub(super) status: String,
    /// Twilio's code, 0 without one.
    pub(super) code: i64,
    /// What it was answered with.
    pub(super) answer: Option<u16>,
    /// When the answer was there.
    pub(super) ended_at: Millis,
}

impl Callback {
    /// It was promised to be kept.
    pub(super) fn is_answered(&self) -> bool {
        self.answer.is_some_and(|status| (200..300).contains(&status))
    }
}

/// What the data file says.
#[derive(Clone, Debug, Default)]
pub(super) struct Ours {
    /// Every message by id.
    pub(super) messages: HashMap<i64, Message>,
    /// Every receipt: SID, status, code.
    pub(super) receipts: HashSet<(String, String, i64)>,
    /// Everything that people wrote, by SID: where it came from.
    pub(super) inbound: HashMap<String, String>,
    /// Changes of consent of those who wrote: state and moment, oldest first, by number.
    pub(super) consents: HashMap<String, Vec<(String, Millis)>>,
    /// Campaigns by id, with their state.
    pub(super) campaigns: HashMap<i64, String>,
    /// What `ese verify` found wrong.
    pub(super) problems: Vec<String>,
}

/// A message of ours.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Its campaign.
    pub(super) campaign_id: Option<i64>,
    /// To whom.
    pub(super) phone: String,
    /// `marketing`, `transactional` …
    pub(super) kind: String,
    /// Where it stands.
    pub(super) status: String,
    /// Why.
    pub(super) reason: Option<String>,
    /// When each hand-over was claimed.
    pub(super) attempts: Vec<Millis>,
}

impl Message {
    /// Ours to decide what becomes of it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.status.as_str(), "queued" | "sending" | "uncertain")
    }
}

impl Script {
    /// The person with this number.
    pub(super) fn fates(&self) -> HashMap<&str, Fate> {
        self.people.iter().map(|person| (person.phone.as_str(), person.fate)).collect()
    }

    /// Numbers of everybody who ever said STOP.
    pub(super) fn stopped(&self) -> HashSet<&str> {
        let stops = self.words.iter().filter(|word| word.meaning == Meaning::Stop);
        stops.map(|word| word.phone.as_str()).collect()
    }
}
