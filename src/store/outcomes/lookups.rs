//! Attempts whose answer was lost, and messages that Twilio says nothing more about: which are to be looked
//! for, and what is done about what was seen, or not seen.

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::super::messages::{self, Standing};
use super::super::{StoreError, Tx, frequency, spending};
use super::consequences::{requeue, tries};
use super::{
    AttemptKey, Change, Found, News, RetryPolicy, advance, apply_news, find, note_acceptance, stop_reason,
};
use crate::clock::Millis;
use crate::domain::event::EventType;
use crate::domain::message::Status;
use crate::domain::phone::{Address, Channel, Phone};
use crate::domain::retry::Pace;

/// Why a message waits again whose answer was lost.
const ANSWER_LOST: &str = "answer_lost";
/// Why a message failed whose last attempt was given up.
const USED_UP: &str = "attempts_used_up";

/// Somebody for whom attempts are to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The person.
    pub user_id: i64,
    /// Over which channel.
    pub channel: Channel,
    /// Their wire address; `None` when there is none any more, so that nothing can be looked for.
    pub to: Option<String>,
    /// When the oldest of the attempts began.
    pub since: Millis,
}

/// An attempt whose answer was lost.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Which one.
    pub key: AttemptKey,
    /// When it began.
    pub started_at: Millis,
    /// When its answer was given up.
    pub since: Millis,
    /// Wire address of its sender.
    pub from: String,
    /// Its text.
    pub body: String,
    /// Sent as a Content template.
    pub is_content: bool,
}

/// What Twilio has of a message.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Where it stands.
    pub news: News<'a>,
    /// Twilio's count of parts, once it knows.
    pub parts: Option<u32>,
    /// What it cost, in millionths, once Twilio knows.
    pub price_micros: Option<i64>,
    /// ISO 4217.
    pub price_unit: Option<&'a str>,
}

/// At most `limit` people for whom it is time to look, the longest waiting first. Whoever has a message under
/// way is left out until its answer came or was lost: it may be equal to the one that is looked for.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn due(conn: &Connection, now: Millis, limit: usize) -> Result<Vec<Search>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT m.user_id, m.channel, u.phone, u.channel_address
         FROM attempts a CROSS JOIN messages m ON m.id = a.message_id CROSS JOIN users u ON u.id = m.user_id
         WHERE a.look_at IS NOT NULL AND a.look_at <= ?1
           AND NOT EXISTS (SELECT 1 FROM messages o
                           WHERE o.user_id = m.user_id AND o.channel = m.channel AND o.status = 'sending')
         ORDER BY a.look_at",
    )?;
    let mut rows = statement.query([now])?;
    let mut found: Vec<Search> = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let (user_id, channel): (i64, String) = (row.get(0)?, row.get(1)?);
        let channel = channel.parse().unwrap_or(Channel::Sms);
        if found.iter().any(|search| search.user_id == user_id && search.channel == channel) {
            continue;
        }
        let phone: Option<String> = row.get(2)?;
        let to = match phone.and_then(|text| Phone::from_e164(&text)) {
            Some(phone) => Some(Address::of(channel, &phone).wire()),
            None if channel == Channel::Whatsapp => row.get(3)?,
            None => None,
        };
        let oldest = lost(conn, user_id, channel)?.and_then(|lost| lost.first().map(|lost| lost.started_at));
        found.push(Search { user_id, channel, to, since: oldest.unwrap_or(now) });
    }
    Ok(found)
}

/// Every attempt to a person whose answer was lost, in the order in which they began; `None` while another
/// one is under way.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn lost(conn: &Connection, user_id: i64, channel: Channel) -> Result<Option<Vec<Lost>>, StoreError> {
    let is_busy = conn
        .prepare_cached("SELECT 1 FROM messages WHERE user_id = ?1 AND channel = ?2 AND status = 'sending'")?
        .exists((user_id, channel.as_str()))?;
    if is_busy {
        return Ok(None);
    }
    let found = conn
        .prepare_cached(
            "SELECT a.message_id, a.number, a.started_at, coalesce(a.answered_at, a.started_at), s.address,
                    coalesce(m.body, ''), t.content_sid IS NOT NULL
             FROM messages m CROSS JOIN attempts a ON a.message_id = m.id JOIN senders s ON s.id = a.sender_id
               LEFT JOIN template_versions t
                 ON t.template_id = m.template_id AND t.version = m.template_version
             WHERE m.user_id = ?1 AND m.channel = ?2 AND a.outcome = 'uncertain'
             ORDER BY a.started_at, a.message_id",
        )?
        .query_map((user_id, channel.as_str()), |row| {
            Ok(Lost {
                key: AttemptKey { message_id: row.get(0)?, number: row.get(1)? },
                started_at: row.get(2)?,
                since: row.get(3)?,
                from: row.get(4)?,
                body: row.get(5)?,
                is_content: row.get(6)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(Some(found))
}

/// Whether an attempt has this SID.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_bound(conn: &Connection, sid: &str) -> Result<bool, StoreError> {
    Ok(super::news::attempt_of(conn, sid)?.is_some())
}

/// How many attempts nobody knows the fate of.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count(conn: &Connection) -> Result<i64, StoreError> {
    // The first condition is word for word that of the partial index: SQLite infers nothing.
    Ok(conn
        .prepare_cached(
            "SELECT count(*) FROM attempts
             WHERE outcome IN ('pending', 'uncertain') AND outcome = 'uncertain'",
        )?
        .query_row([], |row| row.get(0))?)
}

/// How many attempts have no outcome: under way, or nobody knows their fate.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count_open(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM attempts WHERE outcome IN ('pending', 'uncertain')")?
        .query_row([], |row| row.get(0))?)
}

/// Sets when an attempt is looked for next; `None`: not any more.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn look_at(tx: &Tx<'_>, key: AttemptKey, at: Option<Millis>) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE attempts SET look_at = ?3 WHERE message_id = ?1 AND number = ?2 AND outcome = 'uncertain'",
        )?
        .execute((key.message_id, key.number, at))?;
    Ok(())
}

/// Records that Twilio has the message: binds the SID, and takes the message to where it stands there.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn found(tx: &Tx<'_>, key: AttemptKey, seen: &Seen<'_>, policy: &RetryPolicy) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'settled', sid = ?3, status = ?4, look_at = NULL
             WHERE message_id = ?1 AND number = ?2 AND outcome = 'uncertain'",
        )?
        .execute((key.message_id, key.number, seen.news.sid, seen.news.twilio_status))?;
    let Some(found) = find(tx.conn, key.message_id)?.filter(|_| changed > 0) else {
        return Ok(());
    };
    if found.standing.attempts == key.number && found.standing.status == Status::Uncertain {
        let counted = seen.parts.filter(|n| *n > 0).map(i64::from);
        note_acceptance(tx, &found, counted.unwrap_or(found.parts));
        let change = Change {
            sid: Some(seen.news.sid),
            parts: counted,
            is_found_by_lookup: true,
            ..Change::default()
        };
        advance(tx, &found.standing, Status::Accepted, &change)?;
    }
    polled(tx, key, seen, policy)
}

/// Records what Twilio says of a message when asked: its state by rank as a receipt would, parts and price.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn polled(tx: &Tx<'_>, key: AttemptKey, seen: &Seen<'_>, policy: &RetryPolicy) -> Result<(), StoreError> {
    if let Some(found) = find(tx.conn, key.message_id)?
        && found.standing.attempts == key.number
    {
        correct_parts(tx, &found, seen)?;
        note_price(tx, &found.standing, seen)?;
    }
    apply_news(tx, key, &seen.news, policy)?;
    // Behind the news: what failed is free, unless Twilio names a price.
    match seen.price_micros {
        Some(price) => spending::bill(tx, key, (price, seen.price_unit), policy.currency),
        None => Ok(()),
    }
}

/// Twilio's count of a message that is with it, whose parts are in the sums already.
fn correct_parts(tx: &Tx<'_>, found: &Found, seen: &Seen<'_>) -> Result<(), StoreError> {
    let standing = &found.standing;
    let Some(counted) = seen.parts.filter(|n| *n > 0 && !standing.status.is_open()) else {
        return Ok(());
    };
    let more = i64::from(counted) - found.parts;
    if more == 0 {
        return Ok(());
    }
    tx.conn
        .prepare_cached("UPDATE messages SET parts = ?2 WHERE id = ?1")?
        .execute((standing.id, counted))?;
    if let Some(campaign_id) = standing.campaign_id.filter(|_| !standing.is_test) {
        tx.effects.borrow_mut().sums.entry(campaign_id).or_default().parts += more;
    }
    Ok(())
}

fn note_price(tx: &Tx<'_>, standing: &Standing, seen: &Seen<'_>) -> Result<(), StoreError> {
    let Some(price) = seen.price_micros else {
        return Ok(());
    };
    let before: Option<i64> = tx
        .conn
        .prepare_cached("SELECT price_micros FROM messages WHERE id = ?1")?
        .query_row([standing.id], |row| row.get(0))?;
    if before == Some(price) {
        return Ok(());
    }
    tx.conn
        .prepare_cached("UPDATE messages SET price_micros = ?2, price_unit = ?3 WHERE id = ?1")?
        .execute((standing.id, price, seen.price_unit))?;
    if let Some(campaign_id) = standing.campaign_id.filter(|_| !standing.is_test) {
        let mut effects = tx.effects.borrow_mut();
        let sums = effects.sums.entry(campaign_id).or_default();
        sums.priced += i64::from(before.is_none());
        sums.price_micros += price - before.unwrap_or(0);
    }
    Ok(())
}

/// Gives up an attempt that Twilio's list does not show: the message waits for another one, which asks the
/// gate as any retry does. It counts as a try; after the last one the message has failed.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn give_up(tx: &Tx<'_>, key: AttemptKey, policy: &RetryPolicy) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'given_up', look_at = NULL
             WHERE message_id = ?1 AND number = ?2 AND outcome = 'uncertain'",
        )?
        .execute((key.message_id, key.number))?;
    let Some(standing) = messages::standing(tx.conn, key.message_id)? else {
        return Ok(());
    };
    if changed == 0 || standing.attempts != key.number || standing.status != Status::Uncertain {
        return Ok(());
    }
    // As far as anybody can tell nobody got it. It stays charged and counted: it may turn up yet.
    frequency::was_not_first(tx, standing.user_id, standing.id)?;
    // Whoever stopped meanwhile is told so, not that tries ran out.
    let is_over = stop_reason(tx, &standing)?.is_some();
    if is_over || tries(tx, standing.id)? < policy.max_attempts {
        return requeue(tx, &standing, Pace::Soon, policy, ANSWER_LOST);
    }
    let event_id = standing.note(tx, EventType::MessageFailed, json!({"reason": USED_UP}))?;
    tx.conn
        .prepare_cached(
            "UPDATE messages SET status = 'failed', reason = ?2, error_code = NULL, last_event_id = ?3
             WHERE id = ?1",
        )?
        .execute((standing.id, USED_UP, event_id))?;
    standing.count_move(tx, Status::Failed, Some(USED_UP), None);
    Ok(())
}

/// News of an attempt that was given up, before the message went out again: Twilio had it all along, and the
/// next try is called off. The message stands as accepted then, and the news may take it further.
pub(super) fn call_off(tx: &Tx<'_>, found: Found, news: &News<'_>) -> Result<Found, StoreError> {
    let standing = &found.standing;
    let may_be = match standing.status {
        Status::Queued => true,
        Status::Failed => standing.reason.as_deref() == Some(USED_UP),
        _ => false,
    };
    if !may_be {
        return Ok(found);
    }
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'settled'
             WHERE message_id = ?1 AND number = ?2 AND outcome = 'given_up'",
        )?
        .execute((standing.id, standing.attempts))?;
    if changed == 0 {
        return Ok(found);
    }
    note_acceptance(tx, &found, found.parts);
    advance(tx, standing, Status::Accepted, &Change { sid: Some(news.sid), ..Change::default() })?;
    Ok(find(tx.conn, standing.id)?.unwrap_or(found))
}

/// News of an attempt that was given up, after later ones began. While none of those is with Twilio it counts:
/// the message is there, and nobody is sent to again. Else it stays with its attempt.
pub(super) fn earlier(
    tx: &Tx<'_>,
    key: AttemptKey,
    found: &Found,
    news: &News<'_>,
) -> Result<(), StoreError> {
    let standing = &found.standing;
    if !matches!(standing.status, Status::Queued | Status::Uncertain) || news.failure.is_some() {
        return Ok(());
    }
    if !is_given_up(tx, key)? {
        return Ok(());
    }
    settle_on(tx, found, key, news.sid, news.status.unwrap_or(Status::Accepted))
}

fn is_given_up(tx: &Tx<'_>, key: AttemptKey) -> Result<bool, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "SELECT 1 FROM attempts WHERE message_id = ?1 AND number = ?2 AND outcome = 'given_up'",
        )?
        .exists((key.message_id, key.number))?)
}

/// The message stands where an earlier attempt brought it; what became of the last one is looked for no more.
fn settle_on(
    tx: &Tx<'_>,
    found: &Found,
    key: AttemptKey,
    sid: &str,
    status: Status,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE attempts SET outcome = 'settled' WHERE message_id = ?1 AND number = ?2")?
        .execute((key.message_id, key.number))?;
    tx.conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'given_up', look_at = NULL
             WHERE message_id = ?1 AND outcome = 'uncertain'",
        )?
        .execute([key.message_id])?;
    note_acceptance(tx, found, found.parts);
    advance(tx, &found.standing, status, &Change { sid: Some(sid), ..Change::default() })
}

/// Before a message waits for another try: whether an attempt that was given up has turned out to be with Twilio
/// meanwhile. Then the message stands there, and `true` says that no other try is made.
pub(super) fn is_there_by_earlier(tx: &Tx<'_>, standing: &Standing) -> Result<bool, StoreError> {
    let earlier: Option<(u32, String)> = tx
        .conn
        .prepare_cached(
            "SELECT number, sid FROM attempts
             WHERE message_id = ?1 AND number < ?2 AND outcome = 'given_up' AND sid IS NOT NULL
               AND coalesce(status, '') NOT IN ('failed', 'undelivered', 'canceled')
             ORDER BY number LIMIT 1",
        )?
        .query_row((standing.id, standing.attempts), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some(((number, sid), found)) = earlier.zip(find(tx.conn, standing.id)?) else {
        return Ok(false);
    };
    settle_on(tx, &found, AttemptKey { message_id: standing.id, number }, &sid, Status::Accepted)?;
    Ok(true)
}

/// Puts those whose question failed behind the others who wait to be looked for.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn postpone(tx: &Tx<'_>, user_id: i64, channel: Channel, until: Millis) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE attempts SET look_at = ?3 WHERE look_at IS NOT NULL AND look_at < ?3
               AND message_id IN (SELECT id FROM messages WHERE user_id = ?1 AND channel = ?2)",
        )?
        .execute((user_id, channel.as_str(), until))?;
    Ok(())
}

/// A message that Twilio said nothing more about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The event of its last progress.
    pub event_id: i64,
    /// Its SID.
    pub sid: String,
}

/// Messages whose last progress, behind event `after` and before `until`, was that Twilio or the carrier took
/// them: at most `limit`, oldest first. The second value is the event up to which was looked; a call reads no
/// more than 100,000 events.
///
/// Events are in order of time, so this needs no index on messages. A message that moved on has a later event.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn unfinished(
    conn: &Connection,
    after: i64,
    until: Millis,
    limit: usize,
) -> Result<(Vec<Unfinished>, i64), StoreError> {
    /// Windows of one call: most of what is overdue was heard of long ago.
    const WINDOWS: usize = 20;
    let mut place = after;
    for _ in 0..WINDOWS {
        let (found, looked) = unfinished_in_window(conn, place, until, limit)?;
        if !found.is_empty() || looked == place {
            return Ok((found, looked));
        }
        place = looked;
    }
    Ok((Vec::new(), place))
}

fn unfinished_in_window(
    conn: &Connection,
    after: i64,
    until: Millis,
    limit: usize,
) -> Result<(Vec<Unfinished>, i64), StoreError> {
    const WINDOW: i64 = 5_000;
    // Retention may have taken what comes next.
    let first: Option<i64> = conn
        .prepare_cached("SELECT id FROM events WHERE id > ?1 ORDER BY id LIMIT 1")?
        .query_row([after], |row| row.get(0))
        .optional()?;
    let Some(first) = first else {
        return Ok((Vec::new(), after));
    };
    let last: Option<i64> = conn
        .prepare_cached(
            "SELECT coalesce(min(CASE WHEN at > ?3 THEN id END) - 1, max(id))
             FROM events WHERE id >= ?1 AND id < ?2",
        )?
        .query_row((first, first + WINDOW, until), |row| row.get(0))?;
    let last = last.unwrap_or(after).max(after);
    let found: Vec<Unfinished> = conn
        .prepare_cached(
            "SELECT e.id, m.sid FROM events e CROSS JOIN messages m ON m.id = e.message_id
             WHERE e.id >= ?1 AND e.id <= ?2 AND m.sid IS NOT NULL
               AND ((e.type = 'message.accepted' AND m.status = 'accepted')
                 OR (e.type = 'message.sent' AND m.status = 'sent'))
             ORDER BY e.id LIMIT ?3",
        )?
        .query_map((first, last, limit as i64), |row| {
            Ok(Unfinished { event_id: row.get(0)?, sid: row.get(1)? })
        })?
        .collect::<Result<_, _>>()?;
    let looked = match found.last() {
        Some(unfinished) if found.len() == limit => unfinished.event_id,
        _ => last,
    };
    Ok((found, looked))
}
