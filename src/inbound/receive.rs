//! A message from a person: the raw row first, then, in a savepoint below it, what it means.

use serde_json::json;

use super::catch_up;
use crate::clock::Millis;
use crate::domain::consent::{Consent, Intent, KeywordTable, Replies};
use crate::domain::event::EventType;
use crate::domain::phone::{Address, Channel, Party};
use crate::store::events::{self, NewEvent};
use crate::store::inbound::{self, RawInbound, Understood};
use crate::store::ledger::{self, ConsentChange};
use crate::store::users::{self, User};
use crate::store::{StoreError, Tx, Withdrawal, campaigns, messages, suppressions, topics};
use crate::twilio::webhook::{InboundForm, Params};

/// A person's message counts as a reply to a campaign for this long, in milliseconds.
const REPLY_CREDIT: Millis = 3 * 86_400_000;
/// Automatic answers to one person …
const MOST_REPLIES: i64 = 4;
/// … within this time, in milliseconds: two machines must not talk to each other for ever.
const REPLY_WINDOW: Millis = 3_600_000;

/// A STOP out of Twilio's list and a START out of a webhook are dated by two clocks. Closer together than this,
/// in milliseconds, the STOP counts as the later one.
const DOUBT: Millis = 60_000;

/// How messages are understood and answered.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Words that people send.
    pub keywords: &'a KeywordTable,
    /// What they are answered.
    pub replies: &'a Replies,
}

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Twilio called us.
    Webhook,
    /// We asked Twilio what we missed; the message came in at this moment, by Twilio's clock.
    CatchUp(Millis),
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Source::Webhook => "webhook",
            Source::CatchUp(_) => "catch_up",
        }
    }

    /// When Twilio got the message.
    fn received_at(self, now: Millis) -> Millis {
        match self {
            Source::Webhook => now,
            Source::CatchUp(at) => at.min(now),
        }
    }
}

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// False for one that was here already.
    pub is_new: bool,
    /// What to answer.
    pub reply: Option<String>,
}

/// Takes a message. A repeated one changes nothing. If its effect fails, the raw row stays alone and waits
/// for a replay.
///
/// # Errors
/// [`StoreError`] when nothing could be kept: Twilio must not be told that all is well.
pub fn receive(
    tx: &Tx<'_>,
    form: &InboundForm,
    params: &Params,
    source: Source,
    rules: &Rules<'_>,
) -> Result<Received, StoreError> {
    let raw = RawInbound {
        message_sid: &form.message_sid,
        source: source.as_str(),
        from: &form.from,
        to: &form.to,
        body: &form.body,
        media: &form.media,
        params,
        received_at: source.received_at(tx.now()),
    };
    let Some(id) = inbound::insert(tx, &raw)? else {
        return Ok(Received { is_new: false, reply: None });
    };
    catch_up::note_number(tx, params, "To")?;
    let nothing = Replies::default();
    let rules = match source {
        Source::Webhook => *rules,
        // Nobody waits for an answer any more, and there is no webhook to give one to. That goes for the
        // confirmation of a STOP too: it would be a message of its own, later than the law wants it.
        Source::CatchUp(_) => Rules { replies: &nothing, ..*rules },
    };
    match tx.nested(|tx| understand(tx, id, form, raw.received_at, &rules)) {
        Ok(reply) => Ok(Received { is_new: true, reply }),
        Err(error) if error.is_transient() => Err(error),
        Err(error) => {
            tracing::error!(inbound.id = id, error = %error, "a message was kept but not understood; replay it");
            inbound::mark_failed(tx, id, &error.to_string())?;
            Ok(Received { is_new: true, reply: None })
        }
    }
}

/// Finds the person, reads what is meant, and does it. Returns the answer.
pub(super) fn understand(
    tx: &Tx<'_>,
    id: i64,
    form: &InboundForm,
    received_at: Millis,
    rules: &Rules<'_>,
) -> Result<Option<String>, StoreError> {
    let channel = channel_of(&form.from);
    let intent = read(tx, form, rules)?;
    let Some(user) = find_or_add(tx, &form.from)? else {
        // Nobody that we can know, but a STOP holds for whoever comes with this address later.
        if intent == Intent::Stop {
            suppressions::insert(tx, &form.from, "do_not_contact", "keyword")?;
        }
        let understood = Understood { user_id: None, channel, kind: "unmatched", reply: None };
        inbound::mark_done(tx, id, &understood)?;
        return note(tx, id, None, channel, "unmatched").map(|()| None);
    };
    users::note_inbound(tx, user.id, received_at, channel == Channel::Whatsapp)?;
    let is_stop = intent == Intent::Stop;
    if !inbound::is_understood(tx.conn(), id)? {
        let is_opt_out = is_stop && user.consent != Consent::Stop;
        campaigns::credit_reply(tx, user.id, is_opt_out, received_at, REPLY_CREDIT)?;
    }
    let meaning = Meaning { user: &user, intent: &intent, form, received_at };
    let (kind, reply) = meaning.act(tx, rules.replies)?;
    let reply = reply.filter(|text| !text.is_empty());
    let reply = match reply {
        Some(text) if may_reply(tx, user.id, form, kind, rules.replies)? => Some(text),
        _ => None,
    };
    let understood = Understood { user_id: Some(user.id), channel, kind, reply: reply.as_deref() };
    inbound::mark_done(tx, id, &understood)?;
    note(tx, id, Some(user.id), channel, kind)?;
    Ok(reply)
}

fn note(tx: &Tx<'_>, id: i64, user_id: Option<i64>, channel: Channel, kind: &str) -> Result<(), StoreError> {
    let event = NewEvent {
        user_id,
        data: Some(json!({"inbound_id": id, "kind": kind, "channel": channel.as_str()})),
        ..NewEvent::default()
    };
    events::append(tx, EventType::InboundReceived, event)?;
    Ok(())
}

fn channel_of(from: &str) -> Channel {
    Address::parse_wire(from).map_or(Channel::Sms, |address| address.channel)
}

/// What the person means; Twilio's own reading (Advanced Opt-Out) counts before ours.
pub(super) fn read(tx: &Tx<'_>, form: &InboundForm, rules: &Rules<'_>) -> Result<Intent, StoreError> {
    Ok(match form.opt_out_type.as_deref() {
        Some("STOP") => Intent::Stop,
        Some("START") => Intent::Start,
        Some("HELP") => Intent::Help,
        _ => {
            let names: Vec<String> = topics::list(tx.conn())?.into_iter().map(|topic| topic.name).collect();
            rules.keywords.classify(&form.body, &names)
        }
    })
}

fn find_or_add(tx: &Tx<'_>, from: &str) -> Result<Option<User>, StoreError> {
    let Some(address) = Address::parse_wire(from) else {
        return Ok(None);
    };
    let phone = match &address.party {
        Party::Phone(phone) => phone,
        Party::Id(_) => return users::find_by_channel_address(tx.conn(), &address.wire()),
    };
    users::find_or_add(tx, phone, "user").map(Some)
}

/// Twilio's answer, or one of ours, is enough; and nobody is answered without end.
fn may_reply(
    tx: &Tx<'_>,
    user_id: i64,
    form: &InboundForm,
    kind: &str,
    replies: &Replies,
) -> Result<bool, StoreError> {
    let is_sms = channel_of(&form.from) == Channel::Sms;
    let has_answered = replies.twilio_answers_sms_keywords && is_sms && is_twilio_keyword(&form.body);
    // HELP is answered by both: Twilio's own words don't say whose messages these are.
    if form.opt_out_type.is_some() || (has_answered && kind != "help") {
        return Ok(false);
    }
    Ok(inbound::replies_since(tx.conn(), user_id, tx.now() - REPLY_WINDOW)? < MOST_REPLIES)
}

/// Whether Twilio's default handling of SMS answers this message: one of its own words and nothing else
/// (<https://help.twilio.com/articles/223134027>). Ours are more, in more languages.
fn is_twilio_keyword(body: &str) -> bool {
    const WORDS: [&str; 11] = [
        "STOP",
        "STOPALL",
        "UNSUBSCRIBE",
        "CANCEL",
        "END",
        "QUIT",
        "REVOKE",
        "OPTOUT",
        "START",
        "YES",
        "UNSTOP",
    ];
    WORDS.iter().any(|word| body.trim().eq_ignore_ascii_case(word))
}

/// A message with its person and what it means.
struct Meaning<'a> {
    user: &'a User,
    intent: &'a Intent,
    form: &'a InboundForm,
    received_at: Millis,
}

impl Meaning<'_> {
    /// Does what is meant. Returns the kind and the answer that fits.
    fn act(&self, tx: &Tx<'_>, replies: &Replies) -> Result<(&'static str, Option<String>), StoreError> {
        Ok(match self.intent {
            Intent::Stop => {
                let is_news = self.stop(tx)?;
                ("stop", is_news.then(|| replies.stop.clone()))
            }
            Intent::Start => {
                let is_news = self.opt_in(tx)?;
                ("start", is_news.then(|| replies.start.clone()))
            }
            // A yes to who knows what; only after STOP it can mean nothing else.
            Intent::Yes if self.user.consent == Consent::Stop => {
                let is_news = self.opt_in(tx)?;
                ("start", is_news.then(|| replies.start.clone()))
            }
            Intent::Help => ("help", Some(replies.help.clone())),
            Intent::Subscribe(topic) => {
                self.set_topic(tx, topic, true)?;
                ("subscribe", Some(replies.subscribe.replace("{topic}", topic)))
            }
            Intent::Unsubscribe(topic) => {
                self.set_topic(tx, topic, false)?;
                ("unsubscribe", Some(replies.unsubscribe.replace("{topic}", topic)))
            }
            Intent::Review if self.user.consent != Consent::Stop && !self.is_followed_by_start(tx)? => {
                users::set_hold(tx, self.user.id, Some("review"), "keyword")?;
                ("review", None)
            }
            Intent::Review | Intent::Yes | Intent::Plain => ("message", None),
        })
    }

    fn source(&self) -> &'static str {
        if self.form.opt_out_type.is_some() { "twilio" } else { "keyword" }
    }

    /// STOP: recorded, and everything that waits for the person is taken back. False: it was so already.
    fn stop(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if self.user.consent == Consent::Stop || self.is_followed_by_start(tx)? {
            return Ok(false);
        }
        self.record(tx, Consent::Stop)?;
        users::set_hold(tx, self.user.id, None, "keyword")?;
        messages::cancel_of_user(tx, self.user.id, "stop")?;
        tx.withdraw(Withdrawal::User(self.user.id));
        Ok(true)
    }

    /// True when the person has said START since: this message was replayed, or came out of Twilio's list.
    /// What others recorded since is no such word: had the STOP come in time, they could not have undone it.
    fn is_followed_by_start(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if self.received_at >= tx.now() {
            return Ok(false);
        }
        let turns = ledger::turns(tx.conn(), self.user.id)?;
        Ok(turns.loosened_at.is_some_and(|at| at > self.received_at + DOUBT))
    }

    /// True when the person has said STOP since, or somebody else recorded that they want less.
    fn is_followed_by_stop(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if self.received_at >= tx.now() {
            return Ok(false);
        }
        let tightened_at = ledger::turns(tx.conn(), self.user.id)?.tightened_at;
        let stopped_at = inbound::last_stop_at(tx.conn(), self.user.id)?;
        Ok([tightened_at, stopped_at].into_iter().flatten().any(|at| at > self.received_at))
    }

    /// START: recorded, unless something later stands against it.
    fn opt_in(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if self.is_followed_by_stop(tx)? {
            return Ok(false);
        }
        self.record(tx, Consent::OptIn)?;
        users::set_hold(tx, self.user.id, None, "keyword")?;
        Ok(true)
    }

    fn record(&self, tx: &Tx<'_>, state: Consent) -> Result<(), StoreError> {
        let evidence = format!("{}: {}", self.form.message_sid, self.form.body);
        let change = ConsentChange {
            state,
            source: self.source(),
            actor: "user",
            evidence: Some(&evidence),
            obtained_at: Some(self.received_at),
        };
        ledger::record(tx, self.user.id, self.user.consent, &change)
    }

    fn set_topic(&self, tx: &Tx<'_>, name: &str, is_subscribed: bool) -> Result<(), StoreError> {
        let Some(topic) = topics::find(tx.conn(), name)? else {
            return Ok(());
        };
        // An old message that is replayed does not bring back somebody who left since.
        let left_at = topics::left_at(tx.conn(), self.user.id, topic.id)?;
        if is_subscribed && left_at.is_some_and(|at| at > self.received_at) {
            return Ok(());
        }
        topics::set(tx, self.user.id, &topic, is_subscribed, "user")?;
        topics::date(tx, self.user.id, topic.id, self.received_at)
    }
}
