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
    /// Of a page: a dozen milliseconds.
    pub const PAGE: Budget = Budget { rows: 200_000, time: Duration::from_millis(12) };
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
        let unread =
            |what: &str| StoreError::Internal(format!("a filter that was read does not read: {what}"));
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
                    return Err(missing(format!(
                        "The segment {:?} names a topic that is gone.",
                        segment.name
                    )));
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
        Some(name) => Some(
            topics::find(conn, name)?
                .ok_or_else(|| WantedError::Missing("topic", format!("There is no topic “{name}”.")))?,
        ),
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
                Road::Marked(Mark::Held) => ("users_reviewed", "u.hold IS NOT NULL"),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering as Atomic};

    use super::*;
    use crate::clock::Clock;
    use crate::store::{Store, StorePaths};

    const WIDE: Budget = Budget { rows: 1_000_000, time: Duration::from_secs(60) };

    /// `n` people: every seventh from Sri Lanka, every hundredth opted out, held, unreachable or suppressed,
    /// every tenth in `offers`, every fifth wrote once, person 3 twice.
    fn filled(n: i64) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock).unwrap();
        let conn = Connection::open(dir.path().join("ese.db")).unwrap();
        conn.execute_batch(&format!(
            "BEGIN;
             CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})
               SELECT i FROM n;
             INSERT INTO topics (name, default_rule, created_at) VALUES ('offers', 'opt_in_required', 0);
             INSERT INTO segments (name, definition, created_at, updated_at)
               VALUES ('gold', '{{\"attribute\":\"tier\",\"operator\":\"equals\",\"value\":\"gold\"}}', 0, 0);
             INSERT INTO users (phone, country, consent, hold, reachable, suppressed, attributes, search_words,
                                last_inbound_at, created_at, updated_at)
               SELECT '+1' || (2125550000 + i), iif(i % 7, 'US', 'LK'),
                      CASE i % 100 WHEN 1 THEN 'opt_out' WHEN 2 THEN 'stop' ELSE 'opt_in' END,
                      iif(i % 100 = 3, 'review', NULL), i % 100 <> 4, i % 100 = 5,
                      jsonb(json_object('name', 'Person' || i, 'tier', iif(i % 1000 = 6, 'gold', 'basic'))),
                      'Person' || i || ' Son' || (i % 50) || ' ' || substr('0000' || i, -4),
                      iif(i % 5 = 3, 1795000000000 + i, NULL), 0, 0 FROM n;
             INSERT INTO user_words (rowid, search_words) SELECT id, search_words FROM users;
             INSERT INTO cursors VALUES ('search', {n});
             INSERT INTO subscriptions SELECT i, 2, 'subscribed', 0 FROM n WHERE i % 10 = 0;
             INSERT INTO inbound (message_sid, state, source, user_id, body, received_at)
               SELECT 'SM' || i, 'done', 'webhook', i, 'yes ' || i, 1795000000000 + i FROM n WHERE i % 5 = 3;
             INSERT INTO inbound (message_sid, state, source, user_id, body, received_at)
               VALUES ('SMlast', 'done', 'webhook', 3, 'again', 1796000000000);
             INSERT INTO messages (user_id, kind, channel, lane, due_at, status, created_at)
               SELECT i, 'marketing', 'sms', 1, 0, 'delivered', 0 FROM n;
             UPDATE user_counts SET n = (SELECT count(*) FROM users u WHERE u.consent = user_counts.consent);
             COMMIT"
        ))
        .unwrap();
        (dir, store)
    }

    fn filter(pairs: &[(&str, &str)]) -> PeopleFilter {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        PeopleFilter::read(&pairs).unwrap()
    }

    fn ids(conn: &Connection, pairs: &[(&str, &str)], order: Order) -> Vec<i64> {
        let wanted = Wanted::of(conn, &filter(pairs), 1_795_000_000_000).unwrap();
        let found = walk(conn, &wanted, (order, i64::MAX), 10_000, WIDE).unwrap();
        assert_eq!(found.reached, None);
        found.people.into_iter().map(|(_, id)| id).collect()
    }

    #[test]
    fn every_filter_finds_whom_it_says_in_order() {
        let (_dir, store) = filled(2_000);
        store
            .read_here::<_, _, StoreError>(|conn| {
                let every = |step: i64, rest: i64| -> Vec<i64> {
                    (1..=2_000).rev().filter(|i| i % step == rest).collect()
                };
                for (pairs, expected) in [
                    (&[][..], every(1, 0)),
                    (&[("consent", "opt_out")], every(100, 1)),
                    (&[("consent", "stop")], every(100, 2)),
                    (&[("mark", "review")], every(100, 3)),
                    (&[("mark", "unreachable")], every(100, 4)),
                    (&[("mark", "suppressed")], every(100, 5)),
                    (&[("country", "lk")], every(7, 0)),
                    (&[("topic", "offers")], every(10, 0)),
                    (&[("segment", "1")], vec![1_006, 6]),
                    (&[("attribute.tier", "gold")], vec![1_006, 6]),
                    (&[("attribute.tier", "gold"), ("q", "son6")], vec![1_006, 6]),
                    (&[("q", "person1999")], vec![1_999]),
                    (&[("q", "2125551999")], vec![1_999]),
                    (&[("q", "551999"), ("country", "LK")], vec![]),
                    (&[("heard", "ever"), ("q", "son33")], every(50, 33)),
                    (&[("heard", "ever"), ("q", "son32")], vec![]),
                    (&[("heard", "never"), ("mark", "review")], vec![]),
                    (&[("consent", "stop"), ("country", "LK")], vec![1_302, 602]),
                    (&[("q", "x")], vec![]),
                ] {
                    assert_eq!(ids(conn, pairs, Order::Newest), expected, "{pairs:?}");
                }
                let mut replied: Vec<i64> = (1..=2_000).rev().filter(|i| i % 5 == 3 && *i != 3).collect();
                replied.insert(0, 3);
                assert_eq!(ids(conn, &[], Order::LastReply), replied);
                assert_eq!(ids(conn, &[("mark", "review")], Order::LastReply).len(), 20);
                assert_eq!(ids(conn, &[("q", "person3")], Order::LastReply)[0], 3);
                assert_eq!(ids(conn, &[("q", "2125550003")], Order::LastReply), [3]);
                let row = rows(conn, &[3]).unwrap().remove(0);
                assert_eq!(row.last_reply, Some((Some("again".to_owned()), 1_796_000_000_000)));
                assert_eq!(row.last_message.unwrap().status, "delivered");
                for pairs in [[("topic", "gone")], [("segment", "9")]] {
                    assert!(matches!(
                        Wanted::of(conn, &filter(&pairs), 0),
                        Err(WantedError::Missing(name, _)) if name == pairs[0].0
                    ));
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_walk_goes_on_where_its_budget_ended_and_a_count_adds_up() {
        let (_dir, store) = filled(2_000);
        store
            .read_here::<_, _, StoreError>(|conn| {
                let little = Budget { rows: 130, time: Duration::from_secs(60) };
                for (pairs, order, total) in [
                    (&[("attribute.tier", "gold")][..], Order::Newest, 2),
                    (&[("country", "LK")], Order::Newest, 285),
                    (&[("country", "LK")], Order::LastReply, 57),
                    (&[("q", "son7")], Order::Newest, 40),
                ] {
                    let wanted = Wanted::of(conn, &filter(pairs), 0).unwrap();
                    let (mut place, mut seen) = (i64::MAX, Vec::new());
                    loop {
                        let found = walk(conn, &wanted, (order, place), 25, little)?;
                        assert!(found.looked <= 130);
                        let last = found.people.last().map(|(place, _)| *place);
                        seen.extend(found.people.iter().map(|(_, id)| *id));
                        match if found.people.len() == 25 { last } else { found.reached } {
                            Some(next) => place = next,
                            None => break,
                        }
                    }
                    assert_eq!(seen.len(), total, "{pairs:?} {order:?}");
                    let (mut n, mut place) = (0, i64::MAX);
                    while let Order::Newest = order {
                        let counted = count(conn, &wanted, (n, place), 10_000, little)?;
                        n = counted.n;
                        match counted.reached {
                            Some(next) => place = next,
                            None => break,
                        }
                    }
                    assert!(order != Order::Newest || n == total as i64, "{pairs:?}: {n}");
                }
                let wanted = Wanted::of(conn, &filter(&[("country", "LK")]), 0).unwrap();
                let counted = count(conn, &wanted, (0, i64::MAX), 100, WIDE)?;
                assert!(counted.n == 101 && counted.reached.is_some(), "{counted:?}");
                for (pairs, n) in [(&[][..], 2_000), (&[("consent", "stop")], 20)] {
                    let wanted = Wanted::of(conn, &filter(pairs), 0).unwrap();
                    let none = Budget { rows: 0, time: Duration::ZERO };
                    assert_eq!(count(conn, &wanted, (0, i64::MAX), 1, none)?, Counted { n, reached: None });
                }
                Ok(())
            })
            .unwrap();
    }

    /// Steps of SQLite's machine for a page of each filter.
    fn steps(n: i64) -> Vec<(String, u64)> {
        let (dir, _store) = filled(n);
        let conn = Connection::open(dir.path().join("ese.db")).unwrap();
        let steps = Arc::new(AtomicU64::new(0));
        let mut costs = Vec::new();
        let cases: [(&[(&str, &str)], Order); 13] = [
            (&[], Order::Newest),
            (&[], Order::LastReply),
            (&[("consent", "opt_out")], Order::Newest),
            (&[("consent", "stop")], Order::Newest),
            (&[("consent", "opt_in")], Order::Newest),
            (&[("mark", "review")], Order::Newest),
            (&[("mark", "unreachable")], Order::Newest),
            (&[("mark", "suppressed")], Order::Newest),
            (&[("topic", "offers")], Order::Newest),
            (&[("q", "person")], Order::Newest),
            (&[("q", "pe so")], Order::Newest),
            (&[("q", "2125550099")], Order::Newest),
            (&[("attribute.tier", "platinum")], Order::Newest),
        ];
        for (pairs, order) in cases {
            let run = || {
                let wanted = Wanted::of(&conn, &filter(pairs), 0).unwrap();
                let budget = Budget { rows: 2_000, time: Duration::from_secs(60) };
                let found = walk(&conn, &wanted, (order, i64::MAX), 20, budget).unwrap();
                let ids: Vec<i64> = found.people.iter().map(|(_, id)| *id).collect();
                rows(&conn, &ids).unwrap();
            };
            // Preparing has steps of its own.
            run();
            let counted = Arc::clone(&steps);
            conn.progress_handler(
                1,
                Some(move || {
                    counted.fetch_add(1, Atomic::Relaxed);
                    false
                }),
            )
            .unwrap();
            steps.store(0, Atomic::Relaxed);
            run();
            conn.progress_handler(1, None::<fn() -> bool>).unwrap();
            costs.push((format!("{pairs:?} {order:?}"), steps.load(Atomic::Relaxed)));
        }
        costs
    }

    #[test]
    fn a_page_of_people_costs_the_same_at_any_size() {
        for ((name, few), (_, many)) in steps(3_000).into_iter().zip(steps(30_000)) {
            assert!(many <= few + few / 4 + 200, "{name}: {few} steps of few, {many} of many");
        }
    }
}
