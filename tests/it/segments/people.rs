//! People with their history, and the same people in SQLite.

use rusqlite::{Connection, params};
use serde_json::Value;

/// 2026-11-23T12:00:00Z
pub(super) const NOW: i64 = 1_795_435_200_000;
pub(super) const HOUR: i64 = 3_600_000;
pub(super) const DAY: i64 = 24 * HOUR;

pub(super) const KEYS: [&str; 16] = [
    "name",
    "age",
    "tags",
    "joined",
    "nested",
    "a\"b",
    "a.b",
    "a",
    "b",
    "$",
    "[0]",
    "tags[0]",
    "'; DROP TABLE users; --",
    "😀",
    "back\\slash",
    "new\nline",
];
pub(super) const TOPICS: [(&str, &str); 2] = [("general", "all_opted_in"), ("news", "opt_in_required")];

#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) phone: Option<String>,
    pub(super) country: Option<&'static str>,
    pub(super) consent: &'static str,
    pub(super) created_at: i64,
    pub(super) last_inbound_at: Option<i64>,
    pub(super) attributes: Value,
    /// One per topic: subscribed, unsubscribed or nothing said.
    pub(super) subscriptions: Vec<Option<&'static str>>,
    pub(super) messages: Vec<Message>,
    pub(super) inbound: Vec<i64>,
    pub(super) triggers: Vec<(&'static str, i64)>,
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) campaign_id: Option<i64>,
    pub(super) status: &'static str,
    pub(super) created_at: i64,
    pub(super) accepted_at: Option<i64>,
    pub(super) sent_at: Option<i64>,
    pub(super) delivered_at: Option<i64>,
    pub(super) read_at: Option<i64>,
}

pub(super) fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(include_str!("../../../schema.sql")).unwrap();
    // Campaigns, templates and senders don't matter here and are left out.
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    connection
}

pub(super) fn fill(connection: &Connection, people: &[Person]) {
    for ((name, rule), id) in TOPICS.iter().zip(1..) {
        let sql = "INSERT OR REPLACE INTO topics (id, name, default_rule, created_at) VALUES (?, ?, ?, 0)";
        connection.execute(sql, params![id, name, rule]).unwrap();
    }
    for (row, person) in people.iter().enumerate() {
        let id = row as i64 + 1;
        let sql = "INSERT INTO users (id, phone, channel_address, country, consent, attributes, last_inbound_at, \
                   created_at, updated_at) VALUES (?, ?, ?, ?, ?, jsonb(?), ?, ?, 0)";
        connection
            .execute(
                sql,
                params![
                    id,
                    person.phone,
                    format!("whatsapp:{id}"),
                    person.country,
                    person.consent,
                    person.attributes.to_string(),
                    person.last_inbound_at,
                    person.created_at
                ],
            )
            .unwrap();
        fill_history(connection, id, person);
    }
}

pub(super) fn fill_history(connection: &Connection, id: i64, person: &Person) {
    for (topic, state) in person.subscriptions.iter().enumerate() {
        let sql = "INSERT INTO subscriptions (user_id, topic_id, state, at) SELECT ?1, ?2, ?3, 0 WHERE ?3 IS NOT NULL";
        connection.execute(sql, params![id, topic as i64 + 1, state]).unwrap();
    }
    for (number, m) in person.messages.iter().enumerate() {
        let sql = "INSERT INTO messages (campaign_id, user_id, occasion, status, kind, channel, lane, due_at, \
                   created_at, accepted_at, sent_at, delivered_at, read_at) \
                   VALUES (?, ?, ?, ?, 'marketing', 'sms', 1, 0, ?, ?, ?, ?, ?)";
        connection
            .execute(
                sql,
                params![
                    m.campaign_id,
                    id,
                    number.to_string(),
                    m.status,
                    m.created_at,
                    m.accepted_at,
                    m.sent_at,
                    m.delivered_at,
                    m.read_at
                ],
            )
            .unwrap();
    }
    for (number, at) in person.inbound.iter().enumerate() {
        let sql = "INSERT INTO inbound (message_sid, state, source, user_id, received_at) \
                   VALUES (?, 'done', 'webhook', ?, ?)";
        connection.execute(sql, params![format!("{id}/{number}"), id, at]).unwrap();
    }
    for (number, (kind, at)) in person.triggers.iter().enumerate() {
        let sql = "INSERT INTO triggers (id, type, occurred_at, user_id, received_at) VALUES (?, ?, ?, ?, 0)";
        connection.execute(sql, params![format!("{id}/{number}"), kind, at, id]).unwrap();
    }
}

pub(super) fn people_with(attributes: &[Value]) -> Vec<Person> {
    let person = |attributes: &Value| Person {
        phone: None,
        country: None,
        consent: "unknown",
        created_at: 0,
        last_inbound_at: None,
        attributes: attributes.clone(),
        subscriptions: vec![None; TOPICS.len()],
        messages: vec![],
        inbound: vec![],
        triggers: vec![],
    };
    attributes.iter().map(person).collect()
}
