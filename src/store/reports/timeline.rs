//! Everything about one person, newest first: messages, what they wrote, their consent, and what else
//! happened to them, merged from four tables that are each in order of time already.

use rusqlite::{Connection, OptionalExtension};

use super::inbound::{self, InboundFilter, InboundView};
use super::messages::{self, MessageFilter, MessageView};
use crate::clock::Millis;
use crate::store::StoreError;
use crate::store::events::{self, Event};
use crate::store::ledger::{self, LedgerRow};

/// Told better by the rows of the ledger and of `inbound`.
const TOLD_ELSEWHERE: [&str; 2] = ["consent.changed", "inbound.received"];

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A message to the person, with what became of it.
    Message(Box<MessageView>, Vec<Event>),
    /// A message from the person.
    Inbound(Box<InboundView>),
    /// A change of consent.
    Consent(LedgerRow),
    /// Anything else.
    Event(Event),
}

impl Entry {
    /// When it happened.
    pub fn at(&self) -> Millis {
        match self {
            Entry::Message(message, _) => message.created_at,
            Entry::Inbound(inbound) => inbound.received_at,
            Entry::Consent(row) => row.at,
            Entry::Event(event) => event.at,
        }
    }
}

/// How far each table was read: only rows with a smaller id follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In `messages`.
    pub message: i64,
    /// In `inbound`.
    pub inbound: i64,
    /// In the ledger.
    pub consent: i64,
    /// In `events`.
    pub event: i64,
}

impl Place {
    /// The newest end.
    pub const START: Place =
        Place { message: i64::MAX, inbound: i64::MAX, consent: i64::MAX, event: i64::MAX };

    fn pass(&mut self, entry: &Entry) {
        match entry {
            Entry::Message(message, _) => self.message = message.id,
            Entry::Inbound(inbound) => self.inbound = inbound.id,
            Entry::Consent(row) => self.consent = row.id,
            Entry::Event(event) => self.event = event.id,
        }
    }
}

/// Which entries are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// Everything.
    #[default]
    All,
    /// What was said, both ways.
    Messages,
    /// What the person allows: the ledger, topics, holds, the list of those never sent to.
    Consent,
    /// Everything else.
    Changes,
}

/// Events about what a person allows.
const OF_CONSENT: [&str; 3] = ["topic.changed", "hold.changed", "suppression.changed"];

impl Show {
    fn takes(self, event: &Event) -> bool {
        let is_of_consent = OF_CONSENT.contains(&event.kind.as_str());
        match self {
            Show::All => true,
            Show::Messages => false,
            Show::Consent => is_of_consent,
            Show::Changes => !is_of_consent,
        }
    }
}

/// A page of a person's timeline from `place` on, and the place behind it, if there is more.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn page(
    conn: &Connection,
    user_id: i64,
    place: Place,
    limit: usize,
) -> Result<(Vec<Entry>, Option<Place>), StoreError> {
    page_of(conn, (user_id, Show::All), place, limit)
}

/// The same, of one kind.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn page_of(
    conn: &Connection,
    (user_id, show): (i64, Show),
    place: Place,
    limit: usize,
) -> Result<(Vec<Entry>, Option<Place>), StoreError> {
    let fetch = limit + 1;
    let of = |wanted: Show| if show == Show::All || show == wanted { fetch } else { 0 };
    let to_person = MessageFilter { user_id: Some(user_id), ..MessageFilter::default() };
    let from_person = InboundFilter { user_id: Some(user_id), ..InboundFilter::default() };
    let sources: [Vec<Entry>; 4] = [
        messages::list(conn, &to_person, place.message, of(Show::Messages))?
            .rows
            .into_iter()
            .map(|message| Entry::Message(Box::new(message), Vec::new()))
            .collect(),
        inbound::list(conn, &from_person, place.inbound, of(Show::Messages))?
            .rows
            .into_iter()
            .map(|inbound| Entry::Inbound(Box::new(inbound)))
            .collect(),
        ledger::list(conn, user_id, place.consent, of(Show::Consent))?
            .into_iter()
            .map(Entry::Consent)
            .collect(),
        other_events(conn, (user_id, show), place.event, fetch)?.into_iter().map(Entry::Event).collect(),
    ];
    let mut entries = merge(sources, fetch);
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let mut end = place;
    for entry in &entries {
        end.pass(entry);
    }
    for entry in &mut entries {
        if let Entry::Message(message, own) = entry {
            *own = events::of_message(conn, message.last_event_id)?;
        }
    }
    Ok((entries, has_more.then_some(end)))
}

/// The newest of all heads, again and again. Each table keeps its own order even where a clock was set
/// back, so that a place in it never passes over a row.
fn merge(sources: [Vec<Entry>; 4], wanted: usize) -> Vec<Entry> {
    let mut heads = sources.map(|source| source.into_iter().peekable());
    let mut merged = Vec::new();
    while merged.len() < wanted {
        let newest = heads
            .iter_mut()
            .filter_map(|head| Some((head.peek()?.at(), head)))
            .reduce(|best, next| if next.0 > best.0 { next } else { best });
        match newest.and_then(|(_, head)| head.next()) {
            Some(entry) => merged.push(entry),
            None => break,
        }
    }
    merged
}

/// Events of a person that no other table tells better.
fn other_events(
    conn: &Connection,
    (user_id, show): (i64, Show),
    mut before: i64,
    wanted: usize,
) -> Result<Vec<Event>, StoreError> {
    let mut found = Vec::new();
    if show == Show::Messages {
        return Ok(found);
    }
    loop {
        let rows = events::of_user(conn, user_id, before, wanted)?;
        let is_end = rows.len() < wanted;
        before = rows.last().map_or(before, |last| last.id);
        let is_wanted = |event: &Event| !TOLD_ELSEWHERE.contains(&event.kind.as_str()) && show.takes(event);
        found.extend(rows.into_iter().filter(is_wanted));
        if is_end || found.len() >= wanted {
            return Ok(found);
        }
    }
}

/// Whom `operator:3`, `key:7` or `import:5` means, in a word that a person knows; `None` for others.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn actor_name(conn: &Connection, actor: &str) -> Result<Option<String>, StoreError> {
    let Some((kind, id)) = actor.split_once(':') else {
        return Ok(None);
    };
    let sql = match kind {
        "operator" => "SELECT email FROM operators WHERE id = ?1",
        "key" => "SELECT name FROM api_keys WHERE id = ?1",
        "import" => "SELECT file_name FROM imports WHERE id = ?1",
        _ => return Ok(None),
    };
    let id: i64 = id.parse().unwrap_or(0);
    Ok(conn.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?)
}
