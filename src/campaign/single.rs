//! One message to one person, outside any campaign: judged by the same gate, sent through the same rows.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{CampaignError, Setup};
use crate::clock::Millis;
use crate::domain::gate::{Reason, Verdict, gate};
use crate::domain::message::{Kind, Status};
use crate::domain::phone::{Channel, Phone};
use crate::domain::plan::{Plan, Text, TopicRule};
use crate::domain::quiet_hours::Policy;
use crate::domain::rules::Rules;
use crate::store::circumstances::{self, Asked, Bounds};
use crate::store::messages::{self, NewMessage, Standing};
use crate::store::{
    Connection, Store, StoreError, Tx, conversations, hold, senders, templates, topics, users,
};

/// Rows of one write while messages without a sender are closed.
const CLOSE_CHUNK: usize = 500;

/// Whom a message is for.
#[derive(Clone, Debug)]
pub enum Recipient {
    /// Whoever has this number; somebody new is added.
    Phone(Phone),
    /// Somebody whom we know, with a number or without one.
    User(i64),
}

impl Recipient {
    /// The number, where it is what was asked for.
    pub fn phone(&self) -> Option<&Phone> {
        match self {
            Recipient::Phone(phone) => Some(phone),
            Recipient::User(_) => None,
        }
    }
}

impl From<Phone> for Recipient {
    fn from(phone: Phone) -> Recipient {
        Recipient::Phone(phone)
    }
}

/// A message as a caller asks for it.
#[derive(Clone, Debug)]
pub struct SingleMessage {
    /// To whom.
    pub to: Recipient,
    /// Over which channel.
    pub channel: Channel,
    /// Through this sender, if it is configured; `None`: the first of the channel.
    pub from: Option<String>,
    /// The words, without a template.
    pub body: Option<String>,
    /// Attachments, without a template.
    pub media_urls: Vec<String>,
    /// Or a template.
    pub template_id: Option<i64>,
    /// For the template.
    pub variables: Map<String, Value>,
    /// About what.
    pub topic: Option<String>,
    /// Why.
    pub kind: Kind,
    /// The caller's own name for it.
    pub reference: Option<String>,
    /// Not before.
    pub send_at: Option<Millis>,
    /// The deadline.
    pub expires_at: Option<Millis>,
}

/// Queues the message; if the gate refuses the person, it is kept as `skipped` with the reason, and as `expired`
/// when its deadline comes before the first moment at which it may go. Returns its id.
///
/// # Errors
/// `setup_incomplete`, or a field that names nothing.
pub fn send_single(
    tx: &Tx<'_>,
    message: &SingleMessage,
    rules: &Rules,
    setup: &Setup,
    actor: &str,
) -> Result<i64, CampaignError> {
    check_setup(tx.conn(), setup)?;
    let mould = Mould::of(tx.conn(), message)?;
    let user_id = match &message.to {
        Recipient::Phone(phone) => users::find_or_add(tx, phone, actor)?.id,
        Recipient::User(id) => *id,
    };
    let draft = mould.draft(tx, message, user_id, rules)?;
    let (id, is_refused) = (draft.insert(tx, message, setup.is_simulated)?, draft.refused.is_some());
    if message.kind == Kind::Reply && !is_refused {
        conversations::answered(tx, user_id, id)?;
    }
    Ok(id)
}

/// Whether anything can be sent at all.
pub(super) fn check_setup(conn: &Connection, setup: &Setup) -> Result<(), CampaignError> {
    if hold::since(conn)?.is_some() {
        return Err(CampaignError::SafeHold);
    }
    match &setup.problem {
        Some(problem) => Err(CampaignError::SetupIncomplete(problem.clone())),
        None => Ok(()),
    }
}

/// What a message is made with, whoever it is for.
pub(super) struct Mould {
    sender_id: i64,
    topic_id: Option<i64>,
    template: Option<(i64, i64)>,
    plan: Plan,
}

impl Mould {
    pub(super) fn of(conn: &Connection, message: &SingleMessage) -> Result<Mould, CampaignError> {
        let named = match &message.from {
            Some(address) => senders::choose(conn, message.channel, Some(address))?,
            None => None,
        };
        let sender = match named {
            Some(sender) => sender,
            None => senders::choose(conn, message.channel, None)?.ok_or_else(|| {
                let channel = message.channel.as_str();
                CampaignError::SetupIncomplete(format!("No sender for {channel} is configured."))
            })?,
        };
        let topic = match &message.topic {
            Some(name) => Some(
                topics::find(conn, name)?
                    .ok_or_else(|| CampaignError::invalid("topic", format!("there is no topic {name:?}")))?,
            ),
            None => None,
        };
        let (text, template) = text_of(conn, message)?;
        let plan = Plan {
            kind: message.kind,
            channel: message.channel,
            topic: topic.as_ref().map(|topic| TopicRule { is_open_to_opted_in: topic.is_open_to_opted_in }),
            text: Arc::new(text),
            policy: Policy::House,
            zone: None,
            local_start: None,
        };
        Ok(Mould { sender_id: sender.id, topic_id: topic.map(|topic| topic.id), template, plan })
    }

    /// The message for this person, with what the gate says of it now.
    pub(super) fn draft(
        &self,
        tx: &Tx<'_>,
        message: &SingleMessage,
        user_id: i64,
        rules: &Rules,
    ) -> Result<Draft<'_>, CampaignError> {
        let due_at = message.send_at.unwrap_or_else(|| tx.now()).max(tx.now());
        let verdict = self.verdict(tx.conn(), message, (user_id, due_at), rules)?;
        let (refused, closes_at) = match verdict {
            Verdict::Skip(reason) => (Some((Status::Skipped, reason)), None),
            Verdict::Send { closes_at } | Verdict::Defer { closes_at, .. } => (None, closes_at),
            Verdict::Expire(reason) => (Some((Status::Expired, reason)), None),
        };
        Ok(Draft { mould: self, user_id, due_at, closes_at, refused })
    }

    /// What the gate says of the message to this person at this time.
    pub(super) fn verdict(
        &self,
        conn: &Connection,
        message: &SingleMessage,
        (user_id, due_at): (i64, Millis),
        rules: &Rules,
    ) -> Result<Verdict, CampaignError> {
        let person = messages::person(conn, user_id, self.topic_id)?
            .ok_or_else(|| CampaignError::NotFound(format!("person {user_id}")))?;
        // The sender's limit on people is asked about when its turn comes.
        let bounds = Bounds::read(conn, rules, None, due_at)?;
        let asked = Asked {
            user_id,
            message_id: None,
            person: &person,
            plan: &self.plan,
            variables: None,
            expires_at: message.expires_at,
        };
        let mut found = circumstances::load(conn, &asked, &bounds, due_at)?;
        found.circumstances.variables = message.variables.clone();
        let (facts, _) = self.plan.judge(&person, &found.circumstances, &rules.presets, due_at);
        Ok(gate(&facts, due_at))
    }
}

/// A message that is not written yet.
pub(super) struct Draft<'a> {
    mould: &'a Mould,
    user_id: i64,
    due_at: Millis,
    closes_at: Option<Millis>,
    /// Why this person will never get it, if so. What only has to wait is queued.
    pub(super) refused: Option<(Status, Reason)>,
}

impl Draft<'_> {
    pub(super) fn insert(
        &self,
        tx: &Tx<'_>,
        message: &SingleMessage,
        is_simulated: bool,
    ) -> Result<i64, CampaignError> {
        let media = (!message.media_urls.is_empty()).then(|| json!(message.media_urls).to_string());
        let new = NewMessage {
            user_id: self.user_id,
            campaign_id: None,
            occasion: "",
            kind: message.kind,
            channel: message.channel,
            lane: messages::single_lane(self.mould.sender_id, message.kind),
            due_at: self.due_at,
            closes_at: self.closes_at,
            expires_at: message.expires_at,
            sender_id: Some(self.mould.sender_id),
            topic_id: self.mould.topic_id,
            template: self.mould.template,
            variables: (!message.variables.is_empty())
                .then(|| Value::Object(message.variables.clone()).to_string()),
            reference: message.reference.as_deref(),
            body: message.body.as_deref(),
            media_urls: media,
            is_simulated,
            refused: self.refused,
        };
        Ok(messages::insert(tx, &new)?)
    }
}

type Versioned = (Text, Option<(i64, i64)>);

fn text_of(conn: &Connection, message: &SingleMessage) -> Result<Versioned, CampaignError> {
    let Some(id) = message.template_id else {
        let body = message.body.clone().unwrap_or_default();
        return Ok((Text::Literal { body, media_urls: message.media_urls.clone() }, None));
    };
    let template = templates::find(conn, id)?
        .ok_or_else(|| CampaignError::invalid("template_id", format!("there is no template {id}")))?;
    if template.text.channel != message.channel {
        return Err(CampaignError::invalid(
            "template_id",
            format!("template {id} is for {}", template.text.channel.as_str()),
        ));
    }
    Ok((template.text.parse()?, Some((id, template.version))))
}

/// Ends single messages whose sender is not configured any more: nobody would ever take them, and another
/// number would be a stranger's to the person. Returns how many there were.
///
/// # Errors
/// [`CampaignError`] when the store can't.
pub async fn close_removed_senders(store: &Store) -> Result<usize, CampaignError> {
    let removed: Vec<i64> = store
        .read(|conn| {
            let rows = senders::list(conn)?.into_iter().filter(|sender| !sender.is_configured);
            Ok::<_, CampaignError>(rows.map(|sender| sender.id).collect())
        })
        .await?;
    let mut closed = 0;
    for sender_id in removed {
        for kind in [Kind::Transactional, Kind::Marketing] {
            let lane = messages::single_lane(sender_id, kind);
            loop {
                let n = store
                    .write::<_, _, CampaignError>(move |tx| {
                        let waiting = messages::waiting_in(tx.conn(), lane, CLOSE_CHUNK)?;
                        for standing in &waiting {
                            messages::close(tx, standing, Status::Cancelled, "sender_removed", json!({}))?;
                        }
                        Ok(waiting.len())
                    })
                    .await?;
                closed += n;
                if n < CLOSE_CHUNK {
                    break;
                }
            }
        }
    }
    Ok(closed)
}

/// Messages with one reference that are taken back by one request.
const MOST_TAKEN_BACK: usize = 50_000;
/// Of them in one write.
const TAKEN_BACK_AT_ONCE: usize = 200;

/// What became of the messages with a reference that waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenBack {
    /// How many were taken back.
    pub cancelled: usize,
    /// How many still wait, because they are more than one request takes back.
    pub remaining: usize,
}

/// Takes back all messages with a reference that wait, in several writes. Each is safe to happen twice.
///
/// # Errors
/// [`CampaignError`] when the store can't; what was taken back stays so.
pub async fn cancel_by_reference(
    store: &Store,
    reference: &str,
    actor: &str,
) -> Result<TakenBack, CampaignError> {
    let wanted = reference.to_owned();
    let mut waiting: Vec<i64> = store
        .read(move |conn| {
            let found = messages::by_reference(conn, &wanted, Some(Status::Queued), usize::MAX >> 1)?;
            Ok::<_, StoreError>(found.into_iter().map(|standing| standing.id).collect())
        })
        .await?;
    // The oldest first: they are the next to go out.
    waiting.reverse();
    let remaining = waiting.len().saturating_sub(MOST_TAKEN_BACK);
    waiting.truncate(MOST_TAKEN_BACK);
    let mut cancelled = 0;
    for ids in waiting.chunks(TAKEN_BACK_AT_ONCE) {
        let (ids, actor) = (ids.to_vec(), actor.to_owned());
        cancelled += store
            .write(move |tx| {
                let mut n = 0;
                for id in ids {
                    // Some may have left since they were found.
                    let standing = messages::standing(tx.conn(), id)?;
                    if let Some(standing) = standing.filter(|found| found.status == Status::Queued) {
                        cancel_single(tx, &standing, &actor)?;
                        n += 1;
                    }
                }
                Ok::<_, CampaignError>(n)
            })
            .await?;
    }
    Ok(TakenBack { cancelled, remaining })
}

/// Takes back a message that still waits.
///
/// # Errors
/// Conflict when it has left already.
pub fn cancel_single(tx: &Tx<'_>, standing: &Standing, actor: &str) -> Result<(), CampaignError> {
    match standing.status {
        Status::Queued => {
            let data = json!({"actor": actor});
            Ok(messages::close(tx, standing, Status::Cancelled, "cancelled_by_request", data)?)
        }
        Status::Cancelled => Ok(()),
        _ => Err(not_waiting(standing)),
    }
}

/// What to say of a message that can't be taken back any more.
pub fn not_waiting(standing: &Standing) -> CampaignError {
    let (id, status) = (standing.id, standing.status.as_str());
    CampaignError::Conflict(format!("Message {id} is {status}. Only a queued one can be cancelled."))
}
