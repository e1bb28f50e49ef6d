//! An operator's answer to one person: judged by the same gate as every message, and sent through the same rows. It
//! goes out by the door that the person came in by. What the gate refuses is not kept: the operator is told at once.

use serde_json::{Map, Value};

use super::single::{Mould, Recipient, check_setup};
use super::{CampaignError, Setup, SingleMessage};
use crate::clock::Millis;
use crate::domain::gate::{REPLY_WINDOW, Verdict};
use crate::domain::message::Kind;
use crate::domain::phone::Channel;
use crate::domain::rules::Rules;
use crate::store::messages::Standing;
use crate::store::reports::thread;
use crate::store::users::{self, User, UserKey};
use crate::store::{Connection, Tx, conversations, messages, templates};

/// What an operator answers with.
#[derive(Clone, Debug)]
pub enum Words {
    /// Words of their own.
    Text(String),
    /// A template, with variables beside the person's attributes.
    Template {
        /// Which.
        id: i64,
        /// For it.
        variables: Map<String, Value>,
    },
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// To whom.
    pub user_id: i64,
    /// What.
    pub words: Words,
    /// Whose.
    pub operator_id: i64,
}

/// Queues the answer and notes it in the conversation.
///
/// # Errors
/// [`CampaignError::Refused`] when the gate says no, and nothing is kept; otherwise as a single message.
pub fn reply(tx: &Tx<'_>, answer: &Answer, rules: &Rules, setup: &Setup) -> Result<Standing, CampaignError> {
    check_setup(tx.conn(), setup)?;
    let user = person(tx.conn(), answer.user_id)?;
    let channel = match &answer.words {
        Words::Text(_) => None,
        Words::Template { id, .. } => {
            let template = templates::find(tx.conn(), *id)?;
            let template = template
                .ok_or_else(|| CampaignError::invalid("template_id", format!("there is no template {id}")))?;
            Some(template.text.channel)
        }
    };
    let mut message = blank(tx.conn(), &user, channel, tx.now())?;
    match &answer.words {
        Words::Text(text) => message.body = Some(text.clone()),
        Words::Template { id, variables } => {
            message.template_id = Some(*id);
            message.variables = variables.clone();
        }
    }
    let mould = Mould::of(tx.conn(), &message)?;
    let draft = mould.draft(tx, &message, user.id, rules)?;
    if let Some((_, reason)) = draft.refused {
        return Err(CampaignError::Refused(reason));
    }
    let id = draft.insert(tx, &message, setup.is_simulated)?;
    conversations::replied(tx, user.id, id, answer.operator_id)?;
    messages::standing(tx.conn(), id)?
        .ok_or_else(|| CampaignError::NotFound(format!("message {id} in the write that added it")))
}

/// How an answer in words of one's own would stand now.
#[derive(Clone, Debug)]
pub struct Footing {
    /// Over which channel it would go.
    pub channel: Channel,
    /// What the gate says.
    pub verdict: Verdict,
    /// When WhatsApp takes free text no more; `None` on SMS, which knows no such end, and before the person's first
    /// message.
    pub window_ends_at: Option<Millis>,
}

/// What the gate would say of an answer in words of one's own, before anybody writes it.
///
/// # Errors
/// When there is no such person, or no sender for the channel.
pub fn footing(
    conn: &Connection,
    user_id: i64,
    rules: &Rules,
    now: Millis,
) -> Result<Footing, CampaignError> {
    let user = person(conn, user_id)?;
    let mut message = blank(conn, &user, None, now)?;
    message.body = Some("Hello".to_owned());
    let verdict = Mould::of(conn, &message)?.verdict(conn, &message, (user_id, now), rules)?;
    let last = messages::person(conn, user_id, None)?.and_then(|person| person.last_whatsapp_inbound_at);
    let window_ends_at = last.filter(|_| message.channel == Channel::Whatsapp).map(|at| at + REPLY_WINDOW);
    Ok(Footing { channel: message.channel, verdict, window_ends_at })
}

fn person(conn: &Connection, user_id: i64) -> Result<User, CampaignError> {
    users::find(conn, &UserKey::Id(user_id))?
        .ok_or_else(|| CampaignError::NotFound(format!("person {user_id}")))
}

/// A message without words: over which channel, from which of our numbers, and as what. Within 24 hours of the
/// person's message it is a reply, which waits for no morning; later it is one of our own accord.
fn blank(
    conn: &Connection,
    user: &User,
    channel: Option<Channel>,
    now: Millis,
) -> Result<SingleMessage, CampaignError> {
    let door = thread::door(conn, user.id)?;
    let usual = if user.phone.is_none() { Channel::Whatsapp } else { Channel::Sms };
    let channel = channel.or(door.as_ref().map(|door| door.channel)).unwrap_or(usual);
    let is_answer = user.last_inbound_at.is_some_and(|at| now - at < REPLY_WINDOW);
    Ok(SingleMessage {
        to: Recipient::User(user.id),
        channel,
        from: door.filter(|door| door.channel == channel).and_then(|door| door.to),
        body: None,
        media_urls: Vec::new(),
        template_id: None,
        variables: Map::new(),
        topic: None,
        kind: if is_answer { Kind::Reply } else { Kind::Transactional },
        reference: None,
        send_at: None,
        expires_at: None,
    })
}
