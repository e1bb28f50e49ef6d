//! Messages as callers see them: lists with filters, one with everything about it.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde_json::Value;

use super::walk::{Slice, Timed, WINDOW, Window};
use crate::clock::Millis;
use crate::domain::message::{Kind, Status};
use crate::store::StoreError;

const TIMED: Timed = Timed {
    from: "SELECT id, created_at FROM messages WHERE id >= ?1 ORDER BY id LIMIT 1",
    lowest: "SELECT min(id) FROM messages",
    highest_below: "SELECT max(id) FROM messages WHERE id < ?1",
};

/// A message with its person's number and its campaign's name.
#[derive(Clone, Debug)]
pub struct MessageView {
    /// Key.
    pub id: i64,
    /// Its campaign.
    pub campaign_id: Option<i64>,
    /// That campaign's name.
    pub campaign_name: Option<String>,
    /// Its person.
    pub user_id: i64,
    /// That person's number as of now.
    pub phone: Option<String>,
    /// `''` of a launch, a trigger's id, `test:…`.
    pub occasion: String,
    /// `sms` or `whatsapp`.
    pub channel: String,
    /// `marketing` …
    pub kind: String,
    /// The caller's own name for it.
    pub reference: Option<String>,
    /// `queued` …
    pub status: String,
    /// Why it is there.
    pub reason: Option<String>,
    /// Twilio's id.
    pub sid: Option<String>,
    /// SMS parts.
    pub parts: Option<i64>,
    /// Price in millionths.
    pub price_micros: Option<i64>,
    /// Hand-overs.
    pub attempts: i64,
    /// Twilio's code.
    pub error_code: Option<i64>,
    /// The text.
    pub body: Option<String>,
    /// Not before.
    pub due_at: Millis,
    /// When it was made.
    pub created_at: Millis,
    /// When Twilio took it.
    pub accepted_at: Option<Millis>,
    /// When the carrier took it.
    pub sent_at: Option<Millis>,
    /// When it arrived.
    pub delivered_at: Option<Millis>,
    /// When it was opened.
    pub read_at: Option<Millis>,
    /// The newest event about it.
    pub last_event_id: Option<i64>,
    /// When retention removed its text, if it did.
    pub body_removed_at: Option<Millis>,
}

impl MessageView {
    /// A test send.
    pub fn is_test(&self) -> bool {
        self.occasion.starts_with("test:")
    }
}

const COLUMNS: &str = "m.id, m.campaign_id, c.name, m.user_id, u.phone, m.occasion, m.channel, m.kind,
   m.reference, m.status, m.reason, m.sid, m.parts, m.price_micros, m.attempts, m.error_code, m.body,
   m.due_at, m.created_at, m.accepted_at, m.sent_at, m.delivered_at, m.read_at, m.last_event_id,
   m.body_removed_at";

const JOINS: &str = "JOIN users u ON u.id = m.user_id LEFT JOIN campaigns c ON c.id = m.campaign_id";

fn from_row(row: &Row<'_>) -> rusqlite::Result<MessageView> {
    Ok(MessageView {
        id: row.get(0)?,
        campaign_id: row.get(1)?,
        campaign_name: row.get(2)?,
        user_id: row.get(3)?,
        phone: row.get(4)?,
        occasion: row.get(5)?,
        channel: row.get(6)?,
        kind: row.get(7)?,
        reference: row.get(8)?,
        status: row.get(9)?,
        reason: row.get(10)?,
        sid: row.get(11)?,
        parts: row.get(12)?,
        price_micros: row.get(13)?,
        attempts: row.get(14)?,
        error_code: row.get(15)?,
        body: row.get(16)?,
        due_at: row.get(17)?,
        created_at: row.get(18)?,
        accepted_at: row.get(19)?,
        sent_at: row.get(20)?,
        delivered_at: row.get(21)?,
        read_at: row.get(22)?,
        last_event_id: row.get(23)?,
        body_removed_at: row.get(24)?,
    })
}

/// The message with this id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<MessageView>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM messages m {JOINS} WHERE m.id = ?1"))?
        .query_row([id], from_row)
        .optional()?)
}

/// Which messages are wanted.
#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    /// To this person.
    pub user_id: Option<i64>,
    /// In this state.
    pub status: Option<Status>,
    /// With this reason.
    pub reason: Option<String>,
    /// With this code of Twilio.
    pub error_code: Option<i64>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// With this reference.
    pub reference: Option<String>,
    /// Made at this time or later.
    pub since: Option<Millis>,
}

impl MessageFilter {
    /// Conditions and their values.
    fn conditions(&self) -> (Vec<&'static str>, Vec<SqlValue>) {
        let text = |word: &str| SqlValue::Text(word.to_owned());
        let all = [
            ("m.user_id = ?", self.user_id.map(SqlValue::from)),
            ("m.status = ?", self.status.map(|status| text(status.as_str()))),
            ("m.reason = ?", self.reason.as_deref().map(text)),
            ("m.error_code = ?", self.error_code.map(SqlValue::from)),
            ("m.kind = ?", self.kind.map(|kind| text(kind.as_str()))),
            ("m.reference = ?", self.reference.as_deref().map(text)),
            ("m.created_at >= ?", self.since.map(SqlValue::from)),
        ];
        all.into_iter().filter_map(|(sql, value)| Some((sql, value?))).unzip()
    }

    /// A person or a reference is asked for: an index leads to their few messages.
    fn is_led(&self) -> bool {
        self.user_id.is_some() || self.reference.is_some()
    }

    /// States in which few messages are: the index that knows them, and its condition.
    fn rare(&self) -> Option<(&'static str, &'static str)> {
        if self.is_led() {
            return None;
        }
        // A partial index is taken where its own condition stands word for word.
        const FAILED: &str = "m.status IN ('failed', 'undelivered')";
        const OPEN: &str =
            "m.id IN (SELECT message_id FROM attempts WHERE outcome IN ('pending', 'uncertain'))";
        match self.status? {
            Status::Failed | Status::Undelivered => Some(("INDEXED BY messages_failed", FAILED)),
            Status::Sending | Status::Uncertain => Some(("", OPEN)),
            _ => None,
        }
    }

    /// Nothing is asked: every row fits.
    fn is_open(&self) -> bool {
        self.conditions().0.is_empty()
    }
}

/// Messages that fit, newest first, below id `before`. What no index leads to is looked for in a window of
/// ids; see [`Slice`].
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(
    conn: &Connection,
    filter: &MessageFilter,
    before: i64,
    limit: usize,
) -> Result<Slice<MessageView, i64>, StoreError> {
    let (mut conditions, mut values) = filter.conditions();
    let (index, condition) = filter.rare().unzip();
    conditions.extend(condition);
    let mut reached = None;
    if filter.is_led() || filter.is_open() || index.is_some() {
        values.push(SqlValue::from(before));
    } else {
        let window = Window::below(conn, &TIMED, before, filter.since)?;
        conditions.push("m.id >= ?");
        values.extend([window.low, window.high].map(SqlValue::from));
        reached = window.goes_on.then_some(window.low);
    }
    values.push(SqlValue::from(limit as i64));
    let rows: Vec<MessageView> = conn
        .prepare_cached(&newest_first(index.unwrap_or_default(), conditions))?
        .query_map(params_from_iter(values), from_row)?
        .collect::<Result<_, _>>()?;
    let reached = reached.filter(|_| rows.len() < limit);
    Ok(Slice { rows, reached })
}

fn newest_first(index: &str, mut conditions: Vec<&'static str>) -> String {
    conditions.push("m.id < ?");
    format!(
        "SELECT {COLUMNS} FROM messages m {index} {JOINS} WHERE {} ORDER BY m.id DESC LIMIT ?",
        conditions.join(" AND ")
    )
}

fn by_person(mut conditions: Vec<&'static str>) -> String {
    conditions.push("1");
    format!(
        "SELECT {COLUMNS} FROM messages m {JOINS}
         WHERE m.campaign_id = ? AND (m.user_id, m.occasion) > (?, ?) AND {}
         ORDER BY m.user_id, m.occasion LIMIT ?",
        conditions.join(" AND ")
    )
}

/// Person and occasion of the row that is [`WINDOW`] rows behind the beginning of a page.
fn end_of_window(conn: &Connection, page: &CampaignPage) -> Result<Option<(i64, String)>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT user_id, occasion FROM messages
             WHERE campaign_id = ?1 AND (user_id, occasion) > (?2, ?3)
             ORDER BY user_id, occasion LIMIT 1 OFFSET ?4",
        )?
        .query_row((page.campaign_id, page.after.0, &page.after.1, WINDOW), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?)
}

/// Which part of a campaign's messages a page shows: those behind this person and occasion.
#[derive(Clone, Debug, Default)]
pub struct CampaignPage {
    /// The campaign.
    pub campaign_id: i64,
    /// Test sends too.
    pub with_tests: bool,
    /// The last row of the page before.
    pub after: (i64, String),
    /// Rows.
    pub limit: usize,
}

/// A campaign's messages that fit, by person: the order of the index, so any page costs the same. With a
/// filter it looks at a window of them; see [`Slice`].
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn of_campaign(
    conn: &Connection,
    page: &CampaignPage,
    filter: &MessageFilter,
) -> Result<Slice<MessageView, (i64, String)>, StoreError> {
    let (mut conditions, rest) = filter.conditions();
    let end = match filter.is_open() || filter.user_id.is_some() {
        true => None,
        false => end_of_window(conn, page)?,
    };
    if !page.with_tests {
        conditions.push("m.occasion NOT GLOB 'test:*'");
    }
    let mut values = vec![
        SqlValue::from(page.campaign_id),
        SqlValue::from(page.after.0),
        SqlValue::Text(page.after.1.clone()),
    ];
    values.extend(rest);
    if let Some((user_id, occasion)) = &end {
        conditions.push("(m.user_id, m.occasion) <= (?, ?)");
        values.extend([SqlValue::from(*user_id), SqlValue::Text(occasion.clone())]);
    }
    values.push(SqlValue::from(page.limit as i64));
    let rows: Vec<MessageView> = conn
        .prepare_cached(&by_person(conditions))?
        .query_map(params_from_iter(values), from_row)?
        .collect::<Result<_, _>>()?;
    let reached = end.filter(|_| rows.len() < page.limit);
    Ok(Slice { rows, reached })
}

/// One hand-over of a message.
#[derive(Clone, Debug)]
pub struct AttemptView {
    /// From 1.
    pub number: i64,
    /// Through which sender.
    pub sender: String,
    /// `accepted` …
    pub outcome: String,
    /// When it began.
    pub started_at: Millis,
    /// When Twilio answered.
    pub answered_at: Option<Millis>,
    /// With which status.
    pub http_status: Option<i64>,
    /// Twilio's id.
    pub sid: Option<String>,
    /// Twilio's own last word.
    pub status: Option<String>,
    /// Twilio's code.
    pub error_code: Option<i64>,
    /// And its words.
    pub error_message: Option<String>,
}

/// The hand-overs of a message, in order.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn attempts(conn: &Connection, message_id: i64) -> Result<Vec<AttemptView>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT a.number, s.address, a.outcome, a.started_at, a.answered_at, a.http_status, a.sid,
                    a.status, a.error_code, a.error_message
             FROM attempts a JOIN senders s ON s.id = a.sender_id WHERE a.message_id = ?1 ORDER BY a.number",
        )?
        .query_map([message_id], |row| {
            Ok(AttemptView {
                number: row.get(0)?,
                sender: row.get(1)?,
                outcome: row.get(2)?,
                started_at: row.get(3)?,
                answered_at: row.get(4)?,
                http_status: row.get(5)?,
                sid: row.get(6)?,
                status: row.get(7)?,
                error_code: row.get(8)?,
                error_message: row.get(9)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// A status callback.
#[derive(Clone, Debug)]
pub struct ReceiptView {
    /// In order of arrival.
    pub id: i64,
    /// About which hand-over, by Twilio's id.
    pub sid: String,
    /// The hand-over's number, if told.
    pub attempt: Option<i64>,
    /// Twilio's word.
    pub status: String,
    /// Twilio's code.
    pub error_code: Option<i64>,
    /// `done`, or `pending` until its effect worked.
    pub state: String,
    /// The raw parameters in their order, unless erased or removed.
    pub params: Value,
    /// When it came.
    pub received_at: Millis,
    /// When retention removed the parameters, if it did.
    pub params_removed_at: Option<Millis>,
}

/// The status callbacks of a message, in order of arrival: found by the SIDs of its hand-overs.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn receipts(conn: &Connection, message_id: i64) -> Result<Vec<ReceiptView>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT r.id, r.sid, r.attempt, r.status, nullif(r.error_code, 0), r.state, r.params,
                    r.received_at, r.params_removed_at
             FROM receipts r WHERE r.sid IN (SELECT sid FROM attempts WHERE message_id = ?1)
             ORDER BY r.id LIMIT 500",
        )?
        .query_map([message_id], |row| {
            let params: Option<String> = row.get(6)?;
            Ok(ReceiptView {
                id: row.get(0)?,
                sid: row.get(1)?,
                attempt: row.get(2)?,
                status: row.get(3)?,
                error_code: row.get(4)?,
                state: row.get(5)?,
                params: params.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null),
                received_at: row.get(7)?,
                params_removed_at: row.get(8)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sql: &str, parameters: usize) -> String {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../../schema.sql")).unwrap();
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nulls = vec![SqlValue::Null; parameters];
        let steps = statement.query_map(params_from_iter(nulls), |row| row.get::<_, String>(3)).unwrap();
        steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
    }

    #[test]
    fn a_page_of_a_campaign_walks_its_index_and_sorts_nothing() {
        let all = MessageFilter {
            status: Some(Status::Failed),
            reason: Some(String::new()),
            ..MessageFilter::default()
        };
        for (filter, end, parameters) in
            [(MessageFilter::default(), None, 4), (all, Some("(m.user_id, m.occasion) <= (?, ?)"), 8)]
        {
            let mut conditions = filter.conditions().0;
            conditions.extend(end);
            let plan = plan(&by_person(conditions), parameters);
            assert!(plan.contains("SEARCH m USING INDEX sqlite_autoindex_messages_1"), "{plan}");
            assert!(!plan.contains("B-TREE") && !plan.contains("SCAN"), "{plan}");
        }
    }

    #[test]
    fn a_page_of_a_person_a_reference_or_a_rare_state_is_looked_up() {
        let of = |filter: &MessageFilter| {
            let (mut conditions, values) = filter.conditions();
            let (index, condition) = filter.rare().unzip();
            conditions.extend(condition);
            plan(&newest_first(index.unwrap_or_default(), conditions), values.len() + 2)
        };
        let with = |status| MessageFilter { status: Some(status), ..MessageFilter::default() };
        let person = MessageFilter { user_id: Some(1), ..MessageFilter::default() };
        let reference = MessageFilter { reference: Some(String::new()), ..MessageFilter::default() };
        for (filter, index) in [
            (person, "SEARCH m USING INDEX messages_user"),
            (reference, "SEARCH m USING INDEX messages_reference"),
            (with(Status::Failed), "SEARCH m USING INDEX messages_failed"),
            (with(Status::Undelivered), "SEARCH m USING INDEX messages_failed"),
            (with(Status::Uncertain), "SEARCH attempts USING COVERING INDEX attempts_open"),
            (MessageFilter::default(), "SEARCH m USING INTEGER PRIMARY KEY"),
            (with(Status::Delivered), "SEARCH m USING INTEGER PRIMARY KEY"),
        ] {
            let plan = of(&filter);
            assert!(plan.contains(index), "{filter:?}: {plan}");
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{filter:?}: {plan}");
        }
    }
}
