//! A message from a person: the raw row first, then, in a savepoint below it, what it means.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::json;

use super::catch_up;
use crate::clock::Millis;
use crate::domain::consent::{Consent, Intent, KeywordTable, Replies, Said};
use crate::domain::event::EventType;
use crate::domain::phone::{Address, Channel, Party};
use crate::store::events::{self, NewEvent};
use crate::store::inbound::{self, RawInbound, Understood};
use crate::store::ledger::{self, ConsentChange};
use crate::store::users::{self, Contact};
use crate::store::{StoreError, Tx, Withdrawal, campaigns, conversations, messages, suppressions, topics};
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

/// A message from Twilio, read as far as that needs no transaction: the writer has more to do.
#[derive(Clone, Debug)]
pub struct Heard {
    form: InboundForm,
    /// Everything that came, as JSON.
    params: String,
    media: String,
    address: Option<Address>,
    /// `None`: Twilio read it already (Advanced Opt-Out).
    said: Option<Said>,
    /// A parser stumbled over it: the row is kept, and replayed once that is mended.
    is_broken: bool,
    /// Our number, if it is one of a Messaging Service.
    service_number: Option<String>,
}

impl Heard {
    /// Reads what `form` says; `params` is everything that came with it.
    pub fn new(form: InboundForm, params: &Params, keywords: &KeywordTable) -> Heard {
        let is_read = matches!(form.opt_out_type.as_deref(), Some("STOP" | "START" | "HELP"));
        // What a stranger sent may break a parser: that must cost neither the row nor the loop that fetches it.
        let read = catch_unwind(AssertUnwindSafe(|| {
            (Address::parse_wire(&form.from), (!is_read).then(|| keywords.read(&form.body)))
        }));
        let is_broken = read.is_err();
        let (address, said) = read.unwrap_or_default();
        Heard {
            params: serde_json::to_string(params).unwrap_or_default(),
            media: serde_json::to_string(&form.media).unwrap_or_default(),
            address,
            is_broken,
            service_number: catch_up::service_number(params, "To"),
            said,
            form,
        }
    }

    fn raw(&self, source: Source, now: Millis) -> RawInbound<'_> {
        RawInbound {
            message_sid: &self.form.message_sid,
            source: source.as_str(),
            from: &self.form.from,
            to: &self.form.to,
            body: &self.form.body,
            media: &self.media,
            params: &self.params,
            received_at: source.received_at(now),
        }
    }

    fn channel(&self) -> Channel {
        self.address.as_ref().map_or(Channel::Sms, |address| address.channel)
    }

    /// What the person means; Twilio's own reading counts before ours.
    pub(super) fn intent(&self, tx: &Tx<'_>) -> Result<Intent, StoreError> {
        if self.is_broken {
            return Err(StoreError::Internal("the words of a message could not be read".to_owned()));
        }
        Ok(match (&self.said, self.form.opt_out_type.as_deref()) {
            (Some(said), _) if said.may_name_a_topic() => {
                let names: Vec<String> =
                    topics::list(tx.conn())?.into_iter().map(|topic| topic.name).collect();
                said.clone().intent(&names)
            }
            (Some(said), _) => said.clone().intent(&[""; 0]),
            (None, Some("STOP")) => Intent::Stop,
            (None, Some("START")) => Intent::Start,
            (None, _) => Intent::Help,
        })
    }

    /// Whether the address that it came from can be known by now.
    pub(super) fn has_no_person(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        match &self.address {
            Some(address) if address.phone().is_some() => Ok(false),
            Some(address) => Ok(users::find_by_channel_address(tx.conn(), &address.wire())?.is_none()),
            None => Ok(true),
        }
    }
}

/// Takes a message. A repeated one changes nothing. If its effect fails, the raw row stays alone and waits
/// for a replay.
///
/// # Errors
/// [`StoreError`] when nothing could be kept: Twilio must not be told that all is well.
pub fn receive(
    tx: &Tx<'_>,
    heard: &Heard,
    source: Source,
    replies: &Replies,
) -> Result<Received, StoreError> {
    if inbound::is_known(tx.conn(), &heard.form.message_sid)? {
        return Ok(Received { is_new: false, reply: None });
    }
    let nothing = Replies::default();
    let replies = match source {
        Source::Webhook => replies,
        // Nobody waits for an answer any more, and there is no webhook to give one to. That goes for the
        // confirmation of a STOP too: it would be a message of its own, later than the law wants it.
        Source::CatchUp(_) => &nothing,
    };
    let raw = heard.raw(source, tx.now());
    // The effect first: nothing is written before it, so undoing it needs no savepoint of its own.
    let understood = tx.nested(|tx| {
        let understood = understand(tx, heard, raw.received_at, replies, true)?;
        let id = inbound::insert(tx, &raw, &understood)?;
        note_in_inbox(tx, id, &understood, raw.received_at)?;
        note(tx, id, &understood)?;
        Ok(understood)
    });
    catch_up::note_number(tx, heard.service_number.as_deref())?;
    match understood {
        Ok(understood) => Ok(Received { is_new: true, reply: understood.reply }),
        Err(error) if StoreError::is_transient(&error) => Err(error),
        Err(error) => {
            tracing::error!(message.sid = raw.message_sid, error = %error, "a message was kept but not understood; replay it");
            inbound::insert_failed(tx, &raw, &error.to_string())?;
            Ok(Received { is_new: true, reply: None })
        }
    }
}

/// Understands again a message that is kept already as row `id`.
pub(super) fn understand_again(
    tx: &Tx<'_>,
    id: i64,
    heard: &Heard,
    received_at: Millis,
    is_first: bool,
) -> Result<Understood, StoreError> {
    // Nobody waits for an answer any more, and none may be noted as given.
    let understood = understand(tx, heard, received_at, &Replies::default(), is_first)?;
    inbound::mark_done(tx, id, &understood)?;
    note(tx, id, &understood)?;
    Ok(understood)
}

/// What is answered by itself, or has done what the person wants, need not be read by anybody.
pub(super) fn note_in_inbox(
    tx: &Tx<'_>,
    id: i64,
    understood: &Understood,
    received_at: Millis,
) -> Result<(), StoreError> {
    let Some(user_id) = understood.user_id else {
        return Ok(());
    };
    let is_done = matches!(understood.kind, "stop" | "start" | "subscribe" | "unsubscribe");
    conversations::heard(tx, user_id, id, received_at, !is_done)
}

/// Finds the person, reads what is meant, and does it. `is_first`: it was never understood before.
fn understand(
    tx: &Tx<'_>,
    heard: &Heard,
    received_at: Millis,
    replies: &Replies,
    is_first: bool,
) -> Result<Understood, StoreError> {
    let channel = heard.channel();
    let intent = heard.intent(tx)?;
    let form = &heard.form;
    let Some(user) = find_or_add(tx, heard)? else {
        // Nobody that we can know, but a STOP holds for whoever comes with this address later.
        match intent {
            Intent::Stop => drop(suppressions::insert(tx, &form.from, "do_not_contact", "keyword")?),
            Intent::Start => drop(suppressions::lift_by_person(tx, &form.from, received_at)?),
            _ => {}
        }
        return Ok(Understood { user_id: None, channel, kind: "unmatched", reply: None });
    };
    users::note_inbound(tx, user.id, received_at, channel == Channel::Whatsapp)?;
    if is_first {
        let is_opt_out = intent == Intent::Stop && user.consent != Consent::Stop;
        campaigns::credit_reply(tx, user.id, is_opt_out, received_at, REPLY_CREDIT)?;
    }
    let address = match &heard.address {
        Some(Address { party: Party::Phone(phone), .. }) => phone.as_str().to_owned(),
        _ => form.from.clone(),
    };
    let meaning = Meaning { user, address, intent: &intent, form, received_at };
    let (kind, reply) = meaning.act(tx, replies)?;
    let reply = match reply.filter(|text| !text.is_empty()) {
        Some(text) if may_reply(tx, user.id, heard, kind, replies)? => Some(text),
        _ => None,
    };
    Ok(Understood { user_id: Some(user.id), channel, kind, reply })
}

fn note(tx: &Tx<'_>, id: i64, understood: &Understood) -> Result<(), StoreError> {
    let channel = understood.channel.as_str();
    let event = NewEvent {
        user_id: understood.user_id,
        data: Some(json!({"inbound_id": id, "kind": understood.kind, "channel": channel})),
        ..NewEvent::default()
    };
    events::append(tx, EventType::InboundReceived, event)?;
    Ok(())
}

fn find_or_add(tx: &Tx<'_>, heard: &Heard) -> Result<Option<Contact>, StoreError> {
    let Some(address) = &heard.address else {
        return Ok(None);
    };
    let phone = match &address.party {
        Party::Phone(phone) => phone,
        Party::Id(_) => {
            let user = users::find_by_channel_address(tx.conn(), &address.wire())?;
            return Ok(user.map(|user| Contact { id: user.id, consent: user.consent }));
        }
    };
    match users::contact(tx.conn(), phone)? {
        Some(contact) => Ok(Some(contact)),
        None => {
            let user = users::find_or_add(tx, phone, "user")?;
            Ok(Some(Contact { id: user.id, consent: user.consent }))
        }
    }
}

/// Twilio's answer, or one of ours, is enough; and nobody is answered without end.
fn may_reply(
    tx: &Tx<'_>,
    user_id: i64,
    heard: &Heard,
    kind: &str,
    replies: &Replies,
) -> Result<bool, StoreError> {
    let form = &heard.form;
    let is_sms = heard.channel() == Channel::Sms;
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
    user: Contact,
    /// As the list of suppressed ones knows the person: a number, or a channel's address without one.
    address: String,
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

    /// START: recorded, unless something later stands against it. It also ends what the person's own wish had
    /// put them on the list of suppressed ones for: somebody who was erased and writes START is back.
    fn opt_in(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if self.is_followed_by_stop(tx)? {
            return Ok(false);
        }
        self.record(tx, Consent::OptIn)?;
        suppressions::lift_by_person(tx, &self.address, self.received_at)?;
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
