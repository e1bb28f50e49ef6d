//! What was said between a person and us, newest first: messages of both sides, merged from two tables that are
//! each in order of time already.

use rusqlite::{Connection, OptionalExtension};

use super::inbound::{self, InboundFilter, InboundView};
use super::messages::{self, MessageFilter, MessageView};
use crate::clock::Millis;
use crate::domain::phone::Channel;
use crate::store::StoreError;

/// One message.
#[derive(Clone, Debug)]
pub enum Said {
    /// From the person.
    ByPerson(Box<InboundView>),
    /// From us, with the operator who wrote it by hand.
    ByUs(Box<MessageView>, Option<String>),
}

impl Said {
    /// When.
    pub fn at(&self) -> Millis {
        match self {
            Said::ByPerson(inbound) => inbound.received_at,
            Said::ByUs(message, _) => message.sent_at.or(message.accepted_at).unwrap_or(message.created_at),
        }
    }
}

/// How far each table was read: only rows with a smaller id follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In `inbound`.
    pub inbound: i64,
    /// In `messages`.
    pub message: i64,
}

impl Place {
    /// The newest end.
    pub const START: Place = Place { inbound: i64::MAX, message: i64::MAX };
}

/// A page of what was said, newest first, and the place behind it, if there is more.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn page(
    conn: &Connection,
    user_id: i64,
    place: Place,
    limit: usize,
) -> Result<(Vec<Said>, Option<Place>), StoreError> {
    let fetch = limit + 1;
    let from_person = InboundFilter { user_id: Some(user_id), ..InboundFilter::default() };
    let to_person = MessageFilter { user_id: Some(user_id), ..MessageFilter::default() };
    let mut theirs =
        inbound::list(conn, &from_person, place.inbound, fetch)?.rows.into_iter().map(Box::new).peekable();
    let mut ours =
        messages::list(conn, &to_person, place.message, fetch)?.rows.into_iter().map(Box::new).peekable();
    let mut said = Vec::new();
    while said.len() < fetch {
        let is_theirs = match (theirs.peek(), ours.peek()) {
            (Some(inbound), Some(message)) => inbound.received_at >= message.created_at,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => break,
        };
        if is_theirs {
            said.extend(theirs.next().map(Said::ByPerson));
        } else if let Some(message) = ours.next() {
            let author = author(conn, message.id)?;
            said.push(Said::ByUs(message, author));
        }
    }
    let has_more = said.len() > limit;
    said.truncate(limit);
    let mut end = place;
    for one in &said {
        match one {
            Said::ByPerson(inbound) => end.inbound = inbound.id,
            Said::ByUs(message, _) => end.message = message.id,
        }
    }
    Ok((said, has_more.then_some(end)))
}

fn author(conn: &Connection, message_id: i64) -> Result<Option<String>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT o.email FROM replies r JOIN operators o ON o.id = r.operator_id WHERE r.message_id = ?1",
        )?
        .query_row([message_id], |row| row.get(0))
        .optional()?)
}

/// By which door a person came in last: the channel, and the address of ours that they wrote to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// Over which channel.
    pub channel: Channel,
    /// Our own address.
    pub to: Option<String>,
}

/// The door of the person's last message; `None` when they never wrote.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn door(conn: &Connection, user_id: i64) -> Result<Option<Door>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT channel, to_address FROM inbound
             WHERE user_id = ?1 AND channel IS NOT NULL ORDER BY id DESC LIMIT 1",
        )?
        .query_row([user_id], |row| {
            let channel: String = row.get(0)?;
            let channel = channel.parse().unwrap_or(Channel::Sms);
            Ok(Door { channel, to: row.get::<_, Option<String>>(1)?.filter(|to| !to.is_empty()) })
        })
        .optional()?)
}

/// URL and content type of the attachment `number` of a message from this person.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn attachment(
    conn: &Connection,
    user_id: i64,
    inbound_id: i64,
    number: usize,
) -> Result<Option<(String, String)>, StoreError> {
    let media: Option<String> = conn
        .prepare_cached("SELECT media FROM inbound WHERE id = ?1 AND user_id = ?2")?
        .query_row((inbound_id, user_id), |row| row.get(0))
        .optional()?;
    let media: Vec<(String, String)> =
        media.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(media.into_iter().nth(number))
}
