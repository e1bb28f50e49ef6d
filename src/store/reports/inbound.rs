//! Messages from people, as callers see them.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Row, params_from_iter};
use serde_json::Value;

use super::walk::{Slice, Timed, Window};
use crate::clock::Millis;
use crate::store::StoreError;

/// What was fetched from Twilio's list bears the time of its writing and the id of its arrival: only webhooks are
/// in order of both, and whatever was fetched before one of them was also written before it.
const TIMED: Timed = Timed {
    from: "SELECT id, received_at FROM inbound WHERE id >= ?1 AND source = 'webhook' ORDER BY id LIMIT 1",
    lowest: "SELECT min(id) FROM inbound",
    highest_below: "SELECT max(id) FROM inbound WHERE id < ?1",
};

/// How a message from a person can have been understood.
pub const KINDS: [&str; 8] =
    ["message", "stop", "start", "help", "subscribe", "unsubscribe", "review", "unmatched"];

/// A message from a person.
#[derive(Clone, Debug)]
pub struct InboundView {
    /// In order of arrival.
    pub id: i64,
    /// Twilio's id.
    pub message_sid: String,
    /// `done`, or `pending` until its effect worked.
    pub state: String,
    /// The person; `None`: unmatched.
    pub user_id: Option<i64>,
    /// That person's number as of now.
    pub phone: Option<String>,
    /// As Twilio wrote it.
    pub from_address: Option<String>,
    /// Our own address.
    pub to_address: Option<String>,
    /// `sms` or `whatsapp`.
    pub channel: Option<String>,
    /// One of [`KINDS`].
    pub kind: Option<String>,
    /// The words.
    pub body: Option<String>,
    /// Attachments.
    pub media: Value,
    /// What the webhook's answer said back.
    pub reply: Option<String>,
    /// When it came.
    pub received_at: Millis,
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<InboundView> {
    let media: String = row.get(10)?;
    Ok(InboundView {
        id: row.get(0)?,
        message_sid: row.get(1)?,
        state: row.get(2)?,
        user_id: row.get(3)?,
        phone: row.get(4)?,
        from_address: row.get(5)?,
        to_address: row.get(6)?,
        channel: row.get(7)?,
        kind: row.get(8)?,
        body: row.get(9)?,
        media: serde_json::from_str(&media).unwrap_or_default(),
        reply: row.get(11)?,
        received_at: row.get(12)?,
    })
}

/// Which messages are wanted.
#[derive(Clone, Debug, Default)]
pub struct InboundFilter {
    /// From this person.
    pub user_id: Option<i64>,
    /// Understood so.
    pub kind: Option<String>,
    /// Received at this time or later.
    pub since: Option<Millis>,
}

/// Messages that fit, newest first, below id `before`. A kind or a time is looked for in a window of ids; see
/// [`Slice`].
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(
    conn: &Connection,
    filter: &InboundFilter,
    before: i64,
    limit: usize,
) -> Result<Slice<InboundView, i64>, StoreError> {
    let mut window = Window { low: 0, high: before, goes_on: false };
    if filter.user_id.is_none() && (filter.kind.is_some() || filter.since.is_some()) {
        window = Window::below(conn, &TIMED, before, filter.since)?;
    }
    let all = [
        ("i.id < ?", Some(SqlValue::from(window.high))),
        ("i.id >= ?", Some(SqlValue::from(window.low))),
        ("i.user_id = ?", filter.user_id.map(SqlValue::from)),
        ("i.kind = ?", filter.kind.clone().map(SqlValue::Text)),
        ("i.received_at >= ?", filter.since.map(SqlValue::from)),
    ];
    let (conditions, mut values): (Vec<&str>, Vec<SqlValue>) =
        all.into_iter().filter_map(|(sql, value)| Some((sql, value?))).unzip();
    values.push(SqlValue::from(limit as i64));
    let sql = format!(
        "SELECT i.id, i.message_sid, i.state, i.user_id, u.phone, i.from_address, i.to_address, i.channel,
                i.kind, i.body, i.media, i.reply, i.received_at
         FROM inbound i LEFT JOIN users u ON u.id = i.user_id
         WHERE {} ORDER BY i.id DESC LIMIT ?",
        conditions.join(" AND ")
    );
    let rows: Vec<InboundView> = conn
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), from_row)?
        .collect::<Result<_, _>>()?;
    let reached = (window.goes_on && rows.len() < limit).then_some(window.low);
    Ok(Slice { rows, reached })
}
