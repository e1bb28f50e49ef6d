//! The list of people: a filter, walked from the newest on. Where an index holds the few who fit it is followed;
//! else people are looked at one by one, no longer than a [`Budget`] allows, and the page says how far it came.

use std::time::{Duration, Instant};

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde_json::json;

use crate::clock::Millis;
use crate::domain::consent::Consent;
use crate::domain::people::{Mark, PeopleFilter};
use crate::domain::segment::{Condition, Definition};
use crate::store::search::{self, Typed};
use crate::store::segment_sql::{Predicate, compile};
use crate::store::users::{self, User, UserKey};
use crate::store::{StoreError, audience, segments, topics};

/// How far one read looks.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// People looked at, at most.
    pub rows: u64,
    /// Time, at most.
    pub time: Duration,
}

impl Budget {
    /// Of a page: some twenty milliseconds.
    pub const PAGE: Budget = Budget { rows: 200_000, time: Duration::from_millis(20) };
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Who came in last first.
    #[default]
    Newest,
    /// Who wrote last first; who never wrote is left out.
    LastReply,
}

/// Where the walk goes along.
#[derive(Clone, Debug, PartialEq)]
enum Road {
    Everybody,
    Marked(Mark),
    /// `opt_out` or `stop`: the few.
    Out(Consent),
    /// Who joined a topic that nobody is in otherwise.
    Topic(i64),
    Words(String),
    /// Ids, highest first.
    Numbers(Vec<i64>),
    Nobody,
}

/// A filter, made ready to be walked.
#[derive(Clone, Debug)]
pub struct Wanted {
    road: Road,
    predicate: Predicate,
    is_everybody: bool,
    /// Only this consent is asked for.
    consent_alone: Option<Consent>,
    /// The number that was typed leads to more people than are looked at.
    pub is_cut: bool,
}

/// A filter that leads nowhere: the name of its part, and a sentence.
#[derive(Debug, thiserror::Error)]
pub enum WantedError {
    /// What it names is not there.
    #[error("{1}")]
    Missing(&'static str, String),
    /// From SQLite.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Wanted {
    /// Looks up what the filter names, as seen at `now`.
    ///
    /// # Errors
    /// Names the topic or the segment that is not there.
    pub fn of(conn: &Connection, filter: &PeopleFilter, now: Millis) -> Result<Wanted, WantedError> {
        let unread = |what: &str| StoreError::Internal(format!("a filter that was read does not read: {what}"));
        let mut definitions = filter.conditions().map_err(|errors| unread(&format!("{errors:?}")))?;
        if let Some(id) = filter.segment_id {
            definitions.push(definition(conn, id)?);
        }
        let mut predicate = Predicate { sql: "1".to_owned(), params: Vec::new() };
        for definition in &definitions {
            let part = compile(definition, now);
            predicate.sql = format!("{} AND {}", predicate.sql, part.sql);
            predicate.params.extend(part.params);
        }
        if let Some(mark) = filter.mark {
            predicate.sql.push_str(match mark {
                Mark::Held => " AND u.hold IS NOT NULL",
                Mark::Unreachable => " AND u.reachable = 0",
                Mark::Suppressed => " AND u.suppressed = 1",
            });
        }
        let (road, is_cut) = road(conn, filter)?;
        let consent_alone =
            filter.consent.filter(|state| filter.pairs().len() == 1 && filter.consent == Some(*state));
        Ok(Wanted { road, predicate, is_everybody: filter.is_everybody(), consent_alone, is_cut })
    }

    /// The conditions alone, for a look at one person.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }
}

fn definition(conn: &Connection, id: i64) -> Result<Definition, WantedError> {
    let missing = |message: String| WantedError::Missing("segment", message);
    let segment =
        segments::find(conn, id)?.ok_or_else(|| missing(format!("There is no segment {id} any more.")))?;
    let definition = Definition::parse_at("segment", &segment.definition)
        .map_err(|_| missing(format!("The segment {:?} does not read any more.", segment.name)))?;
    for condition in definition.conditions() {
        if let Condition::Topic(names) = condition {
            for name in names {
                if topics::find(conn, name)?.is_none() {
                    return Err(missing(format!("The segment {:?} names a topic that is gone.", segment.name)));
                }
            }
        }
    }
    Ok(definition)
}

/// The shortest way to everybody who may fit, and whether there are more than it leads to.
fn road(conn: &Connection, filter: &PeopleFilter) -> Result<(Road, bool), WantedError> {
    let topic = match &filter.topic {
        None => None,
        Some(name) => Some(topics::find(conn, name)?.ok_or_else(|| {
            WantedError::Missing("topic", format!("There is no topic “{name}”."))
        })?),
    };
    if let Some(text) = &filter.q {
        return Ok(match Typed::read(text) {
            None => (Road::Nobody, false),
            Some(Typed::Words(words)) => (Road::Words(words), false),
            Some(Typed::Number { digits, is_international }) => {
                let (ids, is_all) = search::by_number(conn, &digits, is_international)?;
                (Road::Numbers(ids), !is_all)
            }
        });
    }
    let road = match (filter.mark, filter.consent, topic) {
        (Some(mark), ..) => Road::Marked(mark),
        (_, Some(state @ (Consent::OptOut | Consent::Stop)), _) => Road::Out(state),
        (_, _, Some(topic)) if !topic.is_open_to_opted_in => Road::Topic(topic.id),
        _ => Road::Everybody,
    };
    Ok((road, false))
}

/// People found by one walk.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Who fits, in order: the place of each, and the id.
    pub people: Vec<(i64, i64)>,
    /// The place up to which was looked, when the budget ended the walk and more may follow.
    pub reached: Option<i64>,
    /// How many were looked at.
    pub looked: u64,
}

/// Walks from below `place` (`i64::MAX`: from the beginning) until `wanted` people are found, everybody was looked
/// at, or the budget is used up.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn walk(
    conn: &Connection,
    wanted: &Wanted,
    (order, place): (Order, i64),
    most: usize,
    budget: Budget,
) -> Result<Found, StoreError> {
    let mut found = Found::default();
    if wanted.road == Road::Nobody {
        return Ok(found);
    }
    // A list of ids can't be bound in pieces; as JSON it is one value. It is cut where the page begins.
    let (sql, values) = statement(wanted, order, place);
    let mut statement = conn.prepare_cached(&sql)?;
    let started = Instant::now();
    let outcome = (|| -> rusqlite::Result<()> {
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            found.looked += 1;
            let (place, id): (i64, i64) = (row.get(0)?, row.get(1)?);
            if row.get(2)? {
                found.people.push((place, id));
                if found.people.len() >= most {
                    break;
                }
            }
            let is_time = found.looked % 64 == 0 && started.elapsed() >= budget.time;
            if is_time || found.looked >= budget.rows {
                found.reached = Some(place);
                break;
            }
        }
        Ok(())
    })();
    match outcome {
        // Letters that the index takes for no letters make a phrase of what looked like a word: nobody has it.
        Err(error) if error.to_string().contains("fts5") => Ok(Found::default()),
        other => other.map(|()| found).map_err(StoreError::from),
    }
}

/// Everybody along the road, in order, each with whether they fit.
fn statement(wanted: &Wanted, order: Order, place: i64) -> (String, Vec<SqlValue>) {
    let fits = format!("CASE WHEN {} THEN 1 ELSE 0 END", wanted.predicate.sql);
    let mut values: Vec<SqlValue> = wanted.predicate.params.clone();
    if order == Order::LastReply {
        return by_reply(wanted, place, &fits, values);
    }
    let sql = match &wanted.road {
        Road::Everybody | Road::Nobody => format!(
            "SELECT u.id, u.id, {fits} FROM users u WHERE u.erased_at IS NULL AND u.id < ? ORDER BY u.id DESC"
        ),
        Road::Marked(_) | Road::Out(_) => {
            let (index, is_in) = match &wanted.road {
                Road::Marked(Mark::Held) => ("users_held", "u.hold IS NOT NULL"),
                Road::Marked(Mark::Unreachable) => ("users_unreachable", "u.reachable = 0"),
                Road::Marked(Mark::Suppressed) => ("users_suppressed", "u.suppressed = 1"),
                Road::Out(Consent::OptOut) => ("users_opted_out", "u.consent = 'opt_out'"),
                _ => ("users_stopped", "u.consent = 'stop'"),
            };
            format!(
                "SELECT u.id, u.id, {fits} FROM users u INDEXED BY {index}
                 WHERE {is_in} AND u.erased_at IS NULL AND u.id < ? ORDER BY u.id DESC"
            )
        }
        Road::Topic(topic_id) => {
            values.push(SqlValue::Integer(*topic_id));
            format!(
                "SELECT u.id, u.id, {fits} FROM subscriptions j INDEXED BY subscriptions_topic
                   CROSS JOIN users u ON u.id = j.user_id
                 WHERE j.topic_id = ? AND j.state = 'subscribed' AND j.user_id < ? AND u.erased_at IS NULL
                 ORDER BY j.user_id DESC"
            )
        }
        Road::Words(words) => {
            values.push(SqlValue::Text(words.clone()));
            format!(
                "SELECT u.id, u.id, {fits} FROM user_words w CROSS JOIN users u ON u.id = w.rowid
                 WHERE w.user_words MATCH ? AND w.rowid < ? AND u.erased_at IS NULL ORDER BY w.rowid DESC"
            )
        }
        Road::Numbers(ids) => {
            let rest: Vec<i64> = ids.iter().copied().filter(|id| *id < place).collect();
            values.push(SqlValue::Text(json!(rest).to_string()));
            return (
                format!(
                    "SELECT u.id, u.id, {fits} FROM json_each(?) n CROSS JOIN users u ON u.id = n.value
                     WHERE u.erased_at IS NULL ORDER BY n.key"
                ),
                values,
            );
        }
    };
    values.push(SqlValue::Integer(place));
    (sql, values)
}

/// The same in the order of replies: messages from people, the newest of each person.
fn by_reply(wanted: &Wanted, place: i64, fits: &str, mut values: Vec<SqlValue>) -> (String, Vec<SqlValue>) {
    let among = match &wanted.road {
        Road::Words(words) => {
            values.push(SqlValue::Text(words.clone()));
            " AND u.id IN (SELECT w.rowid FROM user_words w WHERE w.user_words MATCH ?)"
        }
        Road::Numbers(ids) => {
            values.push(SqlValue::Text(json!(ids).to_string()));
            " AND u.id IN (SELECT n.value FROM json_each(?) n)"
        }
        _ => "",
    };
    // What stands in the select list is bound first, so the condition does too.
    let fits = fits.replacen(" THEN 1 ", &format!("{among} THEN 1 "), 1);
    values.push(SqlValue::Integer(place));
    let sql = format!(
        "SELECT i.id, u.id, {fits} FROM inbound i CROSS JOIN users u ON u.id = i.user_id
         WHERE i.id < ? AND i.user_id IS NOT NULL AND u.erased_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM inbound l WHERE l.user_id = i.user_id AND l.id > i.id)
         ORDER BY i.id DESC"
    );
    (sql, values)
}

/// How many fit, as far as was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// So many were found.
    pub n: i64,
    /// The place to count on from; `None`: that is all.
    pub reached: Option<i64>,
}

/// Counts from below `place` on, with `n` counted before, up to `most` or as far as the budget goes. Everybody, and
/// everybody of one consent, is read from the table of counts.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count(
    conn: &Connection,
    wanted: &Wanted,
    (n, place): (i64, i64),
    most: i64,
    budget: Budget,
) -> Result<Counted, StoreError> {
    if wanted.is_everybody || wanted.consent_alone.is_some() {
        let counts = users::counts(conn)?;
        let is_in = |state: &str| wanted.consent_alone.is_none_or(|alone| alone.as_str() == state);
        let n = counts.iter().filter(|(state, _)| is_in(state)).map(|(_, n)| n).sum();
        return Ok(Counted { n, reached: None });
    }
    let room = usize::try_from(most - n + 1).unwrap_or(0);
    let found = walk(conn, wanted, (Order::Newest, place), room, budget)?;
    let n = n + i64::try_from(found.people.len()).unwrap_or(i64::MAX);
    let last = found.people.last().map(|(place, _)| *place);
    Ok(Counted { n, reached: if n > most { last } else { found.reached } })
}

/// A person as the list shows them.
#[derive(Clone, Debug)]
pub struct PersonRow {
    /// The person.
    pub user: User,
    /// Their topics in effect.
    pub topics: Vec<String>,
    /// The last message to them.
    pub last_message: Option<LastMessage>,
    /// The last message from them: its words, unless they were removed, and when.
    pub last_reply: Option<(Option<String>, Millis)>,
}

/// The last message to somebody.
#[derive(Clone, Debug)]
pub struct LastMessage {
    /// The message.
    pub id: i64,
    /// Its state.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// `sms` or `whatsapp`.
    pub channel: String,
    /// When the last thing happened to it that is known.
    pub at: Millis,
}

/// The people with these ids, in this order.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn rows(conn: &Connection, ids: &[i64]) -> Result<Vec<PersonRow>, StoreError> {
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(user) = users::find(conn, &UserKey::Id(*id))? else {
            continue;
        };
        let topics = users::topics(conn, user.id, user.consent)?;
        let last_reply = match user.last_inbound_at {
            None => None,
            Some(at) => Some(last_words(conn, user.id)?.unwrap_or((None, at))),
        };
        let last_message = last_message(conn, user.id)?;
        rows.push(PersonRow { user, topics, last_message, last_reply });
    }
    Ok(rows)
}

fn last_message(conn: &Connection, user_id: i64) -> Result<Option<LastMessage>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT id, status, reason, channel,
                    coalesce(read_at, delivered_at, sent_at, accepted_at, created_at)
             FROM messages WHERE user_id = ?1 ORDER BY id DESC LIMIT 1",
        )?
        .query_row([user_id], |row| {
            Ok(LastMessage {
                id: row.get(0)?,
                status: row.get(1)?,
                reason: row.get(2)?,
                channel: row.get(3)?,
                at: row.get(4)?,
            })
        })
        .optional()?)
}

fn last_words(conn: &Connection, user_id: i64) -> Result<Option<(Option<String>, Millis)>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT body, received_at FROM inbound WHERE user_id = ?1 ORDER BY id DESC LIMIT 1")?
        .query_row([user_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// How many people there are, erased ones among them, by their highest id: for a word on how far a walk came.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn highest(conn: &Connection) -> Result<i64, StoreError> {
    audience::last_id(conn)
}
