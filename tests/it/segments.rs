//! Segments: the compiled SQL picks the same people as a plain reading of the JSON, written here a
//! second time over the same people, and stays on its indexes whatever the definition says.

use event_stream_engine::domain::segment::Definition;
use event_stream_engine::store::segment_sql::{Predicate, compile};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params, params_from_iter};
use serde_json::{Map, Value, json};

/// 2026-11-23T12:00:00Z
const NOW: i64 = 1_795_435_200_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

const KEYS: [&str; 16] = [
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
const TOPICS: [(&str, &str); 2] = [("general", "all_opted_in"), ("news", "opt_in_required")];

#[derive(Debug, Clone)]
struct Person {
    phone: Option<String>,
    country: Option<&'static str>,
    consent: &'static str,
    created_at: i64,
    last_inbound_at: Option<i64>,
    attributes: Value,
    /// One per topic: subscribed, unsubscribed or nothing said.
    subscriptions: Vec<Option<&'static str>>,
    messages: Vec<Message>,
    inbound: Vec<i64>,
    triggers: Vec<(&'static str, i64)>,
}

#[derive(Debug, Clone)]
struct Message {
    campaign_id: Option<i64>,
    status: &'static str,
    created_at: i64,
    accepted_at: Option<i64>,
    sent_at: Option<i64>,
    delivered_at: Option<i64>,
    read_at: Option<i64>,
}

// People and definitions at random -----------------------------------------------------------------

/// Single values that people hold and definitions ask for, so that questions often hit.
fn scalar() -> impl Strategy<Value = Value> {
    let texts = [
        "",
        "Ana",
        "ana",
        "ANA LUZ",
        "Ünal",
        "ünal",
        "5",
        "1",
        "true",
        "null",
        "[1]",
        "[\"Ana\"]",
        "{\"a\":1}",
        "a%b",
        "_",
        "50%",
        "it's",
        "say \"hi\"",
        "back\\slash",
        "😀",
        "'; DROP TABLE users; --",
        "2026-11-23",
        "now",
        "+94771234567",
        "é",
        "e\u{301}",
    ];
    prop_oneof![
        4 => select(texts.map(|text| json!(text)).to_vec()),
        3 => select(vec![
            json!(0), json!(1), json!(-1), json!(5), json!(5.0), json!(1.5), json!(0.0), json!(1.0), json!(-2.5),
            json!(18), json!(19), json!(i64::MAX), json!(i64::MIN), json!(1e300), json!(2_147_483_648_i64),
        ]),
        1 => any::<bool>().prop_map(Value::from),
    ]
}

fn date_text() -> impl Strategy<Value = Value> {
    select(vec![
        json!("2026-11-23"),
        json!("2026-11-22"),
        json!("2024-02-29"),
        json!("2023-02-29"),
        json!("2026-02-30"),
        json!("2026-11-23T09:30:00Z"),
        json!("2026-11-23T15:00:00+05:30"),
        json!("2026-11-23T09:30:00.250Z"),
        json!("2026-11-23 09:30"),
        json!("2026-11-23T12:00:00.001Z"),
        json!("2026-11-23T12:00:00Z"),
        json!("2026-13-01"),
        json!("12:00"),
        json!("now"),
        json!("2451545"),
        json!(2_451_545),
        json!("soon"),
        json!("1969-12-31T23:59:59Z"),
        json!("20261123"),
        json!("-2026-11-23"),
        json!("2026-11-23T25:00:00Z"),
    ])
}

fn attribute_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![5 => scalar(), 2 => date_text(), 1 => Just(Value::Null), 1 => Just(json!("a\0b"))];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((select(KEYS.to_vec()), inner), 0..3).prop_map(object),
        ]
    })
}

fn object(pairs: Vec<(&str, Value)>) -> Value {
    Value::Object(
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn moment() -> impl Strategy<Value = i64> {
    select(vec![
        NOW - 40 * DAY,
        NOW - 30 * DAY,
        NOW - 7 * DAY,
        NOW - DAY,
        NOW - 12 * HOUR - 1,
        NOW - 12 * HOUR,
        NOW - 1,
        NOW,
        NOW + 1,
        NOW + DAY,
    ])
}

fn message() -> impl Strategy<Value = Message> {
    let statuses = vec![
        "queued",
        "sending",
        "uncertain",
        "accepted",
        "sent",
        "delivered",
        "read",
        "failed",
        "undelivered",
        "expired",
        "skipped",
        "cancelled",
    ];
    let time = || prop::option::of(moment());
    (
        prop::option::of(1..3_i64),
        select(statuses),
        moment(),
        time(),
        time(),
        time(),
        time(),
    )
        .prop_map(
            |(campaign_id, status, created_at, accepted_at, sent_at, delivered_at, read_at)| {
                Message {
                    campaign_id,
                    status,
                    created_at,
                    accepted_at,
                    sent_at,
                    delivered_at,
                    read_at,
                }
            },
        )
}

fn person() -> impl Strategy<Value = Person> {
    let columns = (
        prop::option::weighted(0.9, select(vec!["+9477", "+1415", "+4915"])),
        select(vec![None, Some("LK"), Some("US"), Some("DE")]),
        select(vec!["opt_in", "unknown", "opt_out", "stop"]),
        moment(),
        prop::option::of(moment()),
    );
    let attributes =
        prop::collection::vec((select(KEYS.to_vec()), attribute_value()), 0..7).prop_map(object);
    let state = select(vec![None, Some("subscribed"), Some("unsubscribed")]);
    let history = (
        prop::collection::vec(state, TOPICS.len()),
        prop::collection::vec(message(), 0..4),
        prop::collection::vec(moment(), 0..3),
        prop::collection::vec((select(vec!["order.paid", "cart"]), moment()), 0..4),
    );
    (columns, attributes, history).prop_map(|(columns, attributes, history)| {
        let (prefix, country, consent, created_at, last_inbound_at) = columns;
        let (subscriptions, messages, inbound, triggers) = history;
        let phone = prefix.map(str::to_owned);
        Person {
            phone,
            country,
            consent,
            created_at,
            last_inbound_at,
            attributes,
            subscriptions,
            messages,
            inbound,
            triggers,
        }
    })
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![6 => attribute_leaf(), 3 => field_leaf(), 3 => history_leaf()]
}

fn attribute_leaf() -> impl Strategy<Value = Value> {
    let path = prop::collection::vec(select(KEYS.to_vec()), 1..3).prop_map(|keys| {
        let escaped = keys
            .iter()
            .map(|key| key.replace('\\', "\\\\").replace('.', "\\."));
        escaped.collect::<Vec<_>>().join(".")
    });
    let filled = scalar()
        .prop_filter("not empty", |value| *value != json!(""))
        .boxed();
    let text = filled.clone().prop_filter("text", Value::is_string);
    let bound = scalar().prop_filter("ordered", |value| !value.is_boolean());
    let test = prop_oneof![
        (select(vec!["equals", "not_equals"]), scalar()).boxed(),
        (
            select(vec!["in", "not_in"]),
            prop::collection::vec(scalar(), 1..4).prop_map(Value::from)
        )
            .boxed(),
        (Just("contains"), filled).boxed(),
        (Just("starts_with"), text).boxed(),
        (select(vec!["exists", "not_exists"]), Just(Value::Null)).boxed(),
        (select(vec!["gt", "gte", "lt", "lte"]), bound).boxed(),
        time_test().boxed(),
    ];
    (path, test).prop_map(|(path, (operator, value))| {
        with_value(json!({"attribute": path}), operator, value)
    })
}

fn with_value(mut leaf: Value, operator: &str, value: Value) -> Value {
    leaf["operator"] = json!(operator);
    if !value.is_null() {
        leaf["value"] = value;
    }
    leaf
}

fn time_test() -> impl Strategy<Value = (&'static str, Value)> {
    let instants = [
        "2026-11-23",
        "2026-11-23T09:30:00Z",
        "2026-11-23T12:00:00.001Z",
        "1970-01-01",
    ];
    prop_oneof![
        (
            select(vec!["before", "after"]),
            select(instants.map(|written| json!(written)).to_vec())
        ),
        (Just("within_last"), span()),
    ]
}

fn span() -> impl Strategy<Value = Value> {
    select(vec![json!("30d"), json!("12h"), json!("1w"), json!("1m")])
}

fn field_leaf() -> impl Strategy<Value = Value> {
    let choice = |field: &'static str, values: Vec<Value>| {
        let one = (select(vec!["equals", "not_equals"]), select(values.clone()));
        let many = prop::collection::vec(select(values), 1..3).prop_map(Value::from);
        let many = (select(vec!["in", "not_in"]), many);
        prop_oneof![one.boxed(), many.boxed()]
            .prop_map(move |(operator, value)| with_value(json!({"field": field}), operator, value))
            .boxed()
    };
    let phones =
        (0..6).flat_map(|row| ["+9477", "+1415"].map(|prefix| json!(format!("{prefix}{row:07}"))));
    let other = vec![
        json!({"field": "phone", "operator": "starts_with", "value": "+94"}),
        json!({"field": "phone", "operator": "contains", "value": "15000"}),
        json!({"field": "phone", "operator": "exists"}),
        json!({"field": "country", "operator": "not_exists"}),
        json!({"field": "last_inbound_at", "operator": "exists"}),
        json!({"field": "last_inbound_at", "operator": "not_exists"}),
    ];
    let times = (select(vec!["created_at", "last_inbound_at"]), time_test()).prop_map(
        |(field, (operator, value))| with_value(json!({"field": field}), operator, value),
    );
    prop_oneof![
        choice("phone", phones.collect()),
        choice("country", vec![json!("LK"), json!("us"), json!("FR")]),
        choice(
            "consent",
            vec![json!("opt_in"), json!("stop"), json!("unknown")]
        ),
        choice(
            "topic",
            vec![json!("general"), json!("News"), json!("absent")]
        ),
        select(other),
        times,
    ]
}

fn history_leaf() -> impl Strategy<Value = Value> {
    let kinds = vec!["sent", "delivered", "read", "replied", "failed"];
    let engagement = (
        select(kinds),
        prop::option::of(1..3_i64),
        prop::option::of(span()),
    )
        .prop_map(|(kind, campaign_id, within_last)| {
            let mut leaf = json!({"engagement": kind});
            campaign_id.inspect(|id| leaf["campaign_id"] = json!(id));
            within_last.inspect(|span| leaf["within_last"] = span.clone());
            leaf
        });
    let trigger = (
        select(vec!["order.paid", "cart"]),
        prop::option::of(1..4),
        prop::option::of(span()),
    )
        .prop_map(|(kind, at_least, within_last)| {
            let mut leaf = json!({"trigger": kind});
            at_least.inspect(|count| leaf["at_least"] = json!(count));
            within_last.inspect(|span| leaf["within_last"] = span.clone());
            leaf
        });
    prop_oneof![
        engagement,
        trigger,
        Just(json!({"sample": {"percent": 100, "seed": "x"}}))
    ]
}

fn definition() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(|children| json!({"all": children})),
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(|children| json!({"any": children})),
            1 => inner.prop_map(|child| json!({"not": child})),
        ]
    })
}

// A plain reading of the JSON ------------------------------------------------------------------------

fn matches(node: &Value, person: &Person) -> bool {
    let node = node.as_object().unwrap();
    if let Some(children) = node.get("all") {
        return children
            .as_array()
            .unwrap()
            .iter()
            .all(|child| matches(child, person));
    }
    if let Some(children) = node.get("any") {
        return children
            .as_array()
            .unwrap()
            .iter()
            .any(|child| matches(child, person));
    }
    if let Some(inner) = node.get("not") {
        return !matches(inner, person);
    }
    if let Some(path) = node.get("attribute") {
        let found = look_up(&person.attributes, path.as_str().unwrap());
        return attribute_matches(node["operator"].as_str().unwrap(), node.get("value"), found);
    }
    if let Some(field) = node.get("field") {
        return field_matches(field.as_str().unwrap(), node, person);
    }
    if let Some(kind) = node.get("engagement") {
        return engagement_matches(kind.as_str().unwrap(), node, person);
    }
    if let Some(kind) = node.get("trigger") {
        let at_least = node
            .get("at_least")
            .map_or(1, |count| count.as_u64().unwrap()) as usize;
        let counted = person
            .triggers
            .iter()
            .filter(|(own, at)| kind == own && is_recent(node, Some(*at)));
        return counted.count() >= at_least;
    }
    node["sample"]["percent"] == 100
}

fn look_up<'a>(attributes: &'a Value, path: &str) -> Option<&'a Value> {
    // The escapes of the path, put aside before it is cut at its dots.
    let hidden = path.replace("\\\\", "\u{1}").replace("\\.", "\u{2}");
    hidden.split('.').try_fold(attributes, |inside, key| {
        inside
            .as_object()?
            .get(&key.replace('\u{1}', "\\").replace('\u{2}', "."))
    })
}

fn is_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left == right,
            _ => left.as_f64() == right.as_f64(),
        },
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => left == right,
        _ => false,
    }
}

fn order(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
        (Value::String(left), Value::String(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        _ => None,
    }
}

/// As `contains` and `starts_with` see a text: up to a NUL, A–Z as a–z.
fn folded(text: &str) -> String {
    text.split('\0').next().unwrap().to_ascii_lowercase()
}

fn attribute_matches(operator: &str, value: Option<&Value>, found: Option<&Value>) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let null = Value::Null;
    let value = value.unwrap_or(&null);
    let found = found.unwrap_or(&null);
    match operator {
        "equals" => is_equal(found, value),
        "not_equals" => !is_equal(found, value),
        "in" => value
            .as_array()
            .unwrap()
            .iter()
            .any(|one| is_equal(found, one)),
        "not_in" => !value
            .as_array()
            .unwrap()
            .iter()
            .any(|one| is_equal(found, one)),
        "contains" => match (found, value) {
            (Value::Array(items), _) => items.iter().any(|item| is_equal(item, value)),
            (Value::String(text), Value::String(part)) => folded(text).contains(&folded(part)),
            _ => false,
        },
        "starts_with" => match (found, value) {
            (Value::String(text), Value::String(start)) => folded(text).starts_with(&folded(start)),
            _ => false,
        },
        "exists" => !found.is_null() && found != "",
        "not_exists" => found.is_null() || found == "",
        "gt" => order(found, value) == Some(Greater),
        "gte" => matches!(order(found, value), Some(Greater | Equal)),
        "lt" => order(found, value) == Some(Less),
        "lte" => matches!(order(found, value), Some(Less | Equal)),
        _ => time_matches(operator, value, found.as_str().and_then(instant_of)),
    }
}

/// Milliseconds of a text that is a date or an instant.
fn instant_of(text: &str) -> Option<i64> {
    let utc = jiff::tz::TimeZone::UTC;
    let day = text.get(..10)?;
    if day.len() != 10 || day.matches('-').count() != 2 {
        return None;
    }
    let date: jiff::civil::Date = day.parse().ok()?;
    if text.len() == 10 {
        return Some(date.to_zoned(utc).ok()?.timestamp().as_millisecond());
    }
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    Some(civil.to_zoned(utc).ok()?.timestamp().as_millisecond())
}

fn time_matches(operator: &str, value: &Value, at: Option<i64>) -> bool {
    let value = value.as_str().unwrap();
    let Some(at) = at else { return false };
    match operator {
        "before" => at < instant_of(value).unwrap(),
        "after" => at > instant_of(value).unwrap(),
        "within_last" => at <= NOW && at >= NOW - span_ms(value),
        other => panic!("{other}"),
    }
}

fn span_ms(written: &str) -> i64 {
    match written {
        "30d" => 30 * DAY,
        "12h" => 12 * HOUR,
        "1w" => 7 * DAY,
        "1m" => 60_000,
        other => panic!("{other}"),
    }
}

fn is_recent(node: &Map<String, Value>, at: Option<i64>) -> bool {
    match node.get("within_last") {
        Some(span) => time_matches("within_last", span, at),
        None => true,
    }
}

fn field_matches(field: &str, node: &Map<String, Value>, person: &Person) -> bool {
    let operator = node["operator"].as_str().unwrap();
    let value = node.get("value").cloned().unwrap_or(Value::Null);
    match field {
        "phone" => attribute_matches(operator, Some(&value), Some(&json!(person.phone))),
        "consent" => attribute_matches(operator, Some(&value), Some(&json!(person.consent))),
        "country" => {
            let upper: Value =
                serde_json::from_str(&value.to_string().to_uppercase().replace("NULL", "null"))
                    .unwrap();
            attribute_matches(operator, Some(&upper), Some(&json!(person.country)))
        }
        "topic" => {
            let names = value
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![value.clone()]);
            let is_in = names
                .iter()
                .any(|name| is_subscribed(person, name.as_str().unwrap()));
            is_in != operator.starts_with("not")
        }
        "created_at" => time_matches(operator, &value, Some(person.created_at)),
        "last_inbound_at" => match operator {
            "exists" => person.last_inbound_at.is_some(),
            "not_exists" => person.last_inbound_at.is_none(),
            _ => time_matches(operator, &value, person.last_inbound_at),
        },
        other => panic!("{other}"),
    }
}

fn is_subscribed(person: &Person, name: &str) -> bool {
    let position = TOPICS
        .iter()
        .position(|(topic, _)| topic.eq_ignore_ascii_case(name));
    position.is_some_and(|topic| match person.subscriptions[topic] {
        Some(state) => state == "subscribed",
        None => TOPICS[topic].1 == "all_opted_in" && person.consent == "opt_in",
    })
}

fn engagement_matches(kind: &str, node: &Map<String, Value>, person: &Person) -> bool {
    let campaign_id = node.get("campaign_id").map(|id| id.as_i64().unwrap());
    let of_campaign = person
        .messages
        .iter()
        .filter(|message| campaign_id.is_none() || message.campaign_id == campaign_id);
    if kind == "replied" {
        let since = match campaign_id {
            None => Some(i64::MIN),
            Some(_) => of_campaign.filter_map(|message| message.accepted_at).min(),
        };
        let Some(since) = since else { return false };
        return person
            .inbound
            .iter()
            .any(|at| *at >= since && is_recent(node, Some(*at)));
    }
    of_campaign.into_iter().any(|m| {
        let (statuses, at): (&[&str], _) = match kind {
            "sent" => (
                &["accepted", "sent", "delivered", "read"],
                Some(m.accepted_at.or(m.sent_at).unwrap_or(m.created_at)),
            ),
            "delivered" => (&["delivered", "read"], m.delivered_at.or(m.read_at)),
            "read" => (&["read"], m.read_at),
            "failed" => (
                &["failed", "undelivered", "expired"],
                Some(m.accepted_at.unwrap_or(m.created_at)),
            ),
            other => panic!("{other}"),
        };
        statuses.contains(&m.status) && is_recent(node, at)
    })
}

// The same people in SQLite ---------------------------------------------------------------------------

fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch(include_str!("../../schema.sql"))
        .unwrap();
    // Campaigns, templates and senders don't matter here and are left out.
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    connection
}

fn fill(connection: &Connection, people: &[Person]) {
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

fn fill_history(connection: &Connection, id: i64, person: &Person) {
    for (topic, state) in person.subscriptions.iter().enumerate() {
        let sql = "INSERT INTO subscriptions (user_id, topic_id, state, at) SELECT ?1, ?2, ?3, 0 WHERE ?3 IS NOT NULL";
        connection
            .execute(sql, params![id, topic as i64 + 1, state])
            .unwrap();
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
        connection
            .execute(sql, params![format!("{id}/{number}"), id, at])
            .unwrap();
    }
    for (number, (kind, at)) in person.triggers.iter().enumerate() {
        let sql = "INSERT INTO triggers (id, type, occurred_at, user_id, received_at) VALUES (?, ?, ?, ?, 0)";
        connection
            .execute(sql, params![format!("{id}/{number}"), kind, at, id])
            .unwrap();
    }
}

fn compiled(definition: &Value) -> Predicate {
    match Definition::parse(definition) {
        Ok(parsed) => compile(&parsed, NOW),
        Err(errors) => panic!("{definition}: {errors:?}"),
    }
}

fn selected(connection: &Connection, predicate: &Predicate) -> Vec<i64> {
    let sql = format!(
        "SELECT u.id FROM users AS u WHERE u.erased_at IS NULL AND {} ORDER BY u.id",
        predicate.sql
    );
    let mut statement = connection
        .prepare(&sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = statement
        .query_map(params_from_iter(&predicate.params), |row| row.get(0))
        .unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn people_with(attributes: &[Value]) -> Vec<Person> {
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

// Tests -----------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(Config {
        cases: 384,
        rng_seed: RngSeed::Fixed(20_261_123),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    })]

    #[test]
    fn sql_picks_whom_a_plain_reading_picks(
        mut people in prop::collection::vec(person(), 1..12),
        definitions in prop::collection::vec(definition(), 10),
    ) {
        for (row, person) in people.iter_mut().enumerate() {
            person.phone = person.phone.take().map(|prefix| format!("{prefix}{row:07}"));
        }
        let connection = database();
        fill(&connection, &people);
        for definition in definitions {
            let expected: Vec<i64> = people
                .iter()
                .zip(1..)
                .filter(|(person, _)| matches(&definition, person))
                .map(|(_, id)| id)
                .collect();
            let predicate = compiled(&definition);
            prop_assert_eq!(selected(&connection, &predicate), expected, "{} => {}", definition, predicate.sql);
            // Neither 1 nor 0 would be NULL: then a NOT around it would lose people.
            let sql = format!("SELECT count(*) FROM users AS u WHERE ({0}) IS NULL", predicate.sql);
            let nulls: i64 =
                connection.query_row(&sql, params_from_iter(&predicate.params), |row| row.get(0)).unwrap();
            prop_assert_eq!(nulls, 0, "{}", predicate.sql);
        }
    }
}

#[test]
fn hostile_names_and_values_are_only_data() {
    let hostile = [
        "'; DROP TABLE users; --",
        "\"",
        "'",
        "$",
        "$.name",
        "[0]",
        "tags[0]",
        "#-1",
        "a\" OR 1=1 --",
        "\\",
        "\\\"",
        "😀",
        "%",
        "_",
        "?",
        "?1",
        ":name",
        "@x",
        "\u{1}",
        "\u{7f}",
        "\u{feff}",
        "ünï",
        "\r\n",
        "null",
        "{",
        "}}",
    ];
    let people: Vec<Value> = hostile.iter().map(|name| json!({ *name: name })).collect();
    let connection = database();
    fill(&connection, &people_with(&people));
    for (row, name) in hostile.iter().enumerate() {
        let path = name.replace('\\', "\\\\").replace('.', "\\.");
        for operator in ["equals", "contains", "starts_with", "gte"] {
            let definition = json!({"attribute": path, "operator": operator, "value": name});
            let ids = selected(&connection, &compiled(&definition));
            assert_eq!(ids, [row as i64 + 1], "{name:?} {operator}");
        }
        let definition = json!({"attribute": path, "operator": "exists"});
        assert_eq!(
            selected(&connection, &compiled(&definition)),
            [row as i64 + 1],
            "{name:?}"
        );
    }
    for definition in [
        json!({"field": "topic", "operator": "equals", "value": "'; DROP TABLE users; --"}),
        json!({"trigger": "'; DROP TABLE users; --"}),
    ] {
        assert_eq!(selected(&connection, &compiled(&definition)), [0; 0]);
    }
    for (name, value) in [("a\0b", "x"), ("name", "a\0b")] {
        let definition = json!({"attribute": name, "operator": "equals", "value": value});
        let errors = Definition::parse(&definition).unwrap_err();
        assert!(errors[0].message.contains("NUL"), "{errors:?}");
    }
}

#[test]
fn no_value_stands_in_the_sql_text() {
    let definition = json!({"all": [
        {"attribute": "marker", "operator": "equals", "value": "marker"},
        {"attribute": "marker", "operator": "contains", "value": "marker"},
        {"attribute": "marker", "operator": "in", "value": ["marker", "[marker", 77_001, 1, true]},
        {"attribute": "marker", "operator": "gt", "value": 77_001},
        {"field": "topic", "operator": "equals", "value": "marker"},
        {"field": "phone", "operator": "equals", "value": "+77001"},
        {"trigger": "marker", "at_least": 77_001},
        {"engagement": "replied", "campaign_id": 77_001},
        {"sample": {"percent": 10, "seed": "marker"}},
    ]});
    let predicate = compiled(&definition);
    assert!(
        !predicate.sql.contains("marker") && !predicate.sql.contains("77001"),
        "{}",
        predicate.sql
    );
    assert_eq!(predicate.sql.matches('?').count(), predicate.params.len());
}

#[test]
fn a_predicate_stands_in_a_bigger_statement_with_parameters_of_its_own() {
    let connection = database();
    fill(
        &connection,
        &people_with(&[json!({"age": 30}), json!({"age": 10}), json!({"age": 40})]),
    );
    let adults = compiled(&json!({"attribute": "age", "operator": "gte", "value": 18}));
    let older = compiled(&json!({"attribute": "age", "operator": "gt", "value": 35}));
    let sql = format!(
        "INSERT INTO messages (campaign_id, user_id, kind, channel, lane, due_at, created_at) \
         SELECT ?, u.id, 'marketing', 'sms', ?, ?, ? FROM users AS u \
         WHERE u.id > ? AND u.erased_at IS NULL AND {} AND NOT {} ORDER BY u.id LIMIT ?",
        adults.sql, older.sql
    );
    let mut values: Vec<SqlValue> = [7, 7, 0, 0, 0].map(SqlValue::from).to_vec();
    values.extend(adults.params);
    values.extend(older.params);
    values.push(100.into());
    assert_eq!(
        connection.execute(&sql, params_from_iter(values)).unwrap(),
        1
    );
    let user: i64 = connection
        .query_row("SELECT user_id FROM messages", [], |row| row.get(0))
        .unwrap();
    assert_eq!(user, 1);
}

#[test]
fn history_is_looked_up_by_index() {
    let connection = database();
    let cases = [
        (json!({"engagement": "delivered"}), "messages_user"),
        (
            json!({"engagement": "sent", "within_last": "30d"}),
            "messages_user",
        ),
        (
            json!({"engagement": "failed", "campaign_id": 7}),
            "campaign_id=? AND user_id=?",
        ),
        (
            json!({"engagement": "replied", "campaign_id": 7}),
            "inbound_user",
        ),
        (
            json!({"field": "topic", "operator": "equals", "value": "general"}),
            "user_id=? AND topic_id=?",
        ),
    ];
    for (definition, expected) in cases {
        let predicate = compiled(&definition);
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT u.id FROM users AS u WHERE {}",
            predicate.sql
        );
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement
            .query_map(params_from_iter(&predicate.params), |row| row.get(3))
            .unwrap();
        let plan: Vec<String> = rows.collect::<Result<_, _>>().unwrap();
        assert!(
            plan.iter().any(|step| step.contains(expected)),
            "{definition}: {plan:?}"
        );
        let scans: Vec<_> = plan
            .iter()
            .filter(|step| step.starts_with("SCAN"))
            .collect();
        assert!(
            matches!(*scans, [only] if only.starts_with("SCAN u")),
            "{definition}: {plan:?}"
        );
    }
}

#[test]
fn a_sample_is_a_fair_share_and_two_seeds_are_independent() {
    let connection = database();
    let sql = "INSERT INTO users (id, channel_address, attributes, created_at, updated_at) \
               WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 40000) \
               SELECT id, 'whatsapp:' || id, jsonb('{}'), 0, 0 FROM n";
    connection.execute(sql, []).unwrap();
    let sample = |percent: f64, seed: &str| {
        selected(
            &connection,
            &compiled(&json!({"sample": {"percent": percent, "seed": seed}})),
        )
    };
    let seeds = ["", "a", "b", "spring", "2026-11", "😀"];
    let picked: Vec<Vec<i64>> = seeds.iter().map(|seed| sample(10.0, seed)).collect();
    for (seed, ids) in seeds.iter().zip(&picked) {
        // 4,000 expected; the deviation of a fair coin would be 60.
        assert!(
            (3_760..=4_240).contains(&ids.len()),
            "{seed}: {}",
            ids.len()
        );
        for residue in 0..10 {
            let class = ids.iter().filter(|id| **id % 10 == residue).count();
            assert!(
                (300..=500).contains(&class),
                "{seed}: {class} of those that end in {residue}"
            );
        }
        for block in 0..10 {
            let class = ids.iter().filter(|id| (**id - 1) / 4_000 == block).count();
            assert!(
                (300..=500).contains(&class),
                "{seed}: {class} in block {block}"
            );
        }
    }
    for (index, one) in picked.iter().enumerate() {
        for (other, ids) in picked.iter().enumerate().skip(index + 1) {
            let shared = ids
                .iter()
                .filter(|id| one.binary_search(id).is_ok())
                .count();
            // 400 expected, deviation 19.
            assert!(
                (300..=500).contains(&shared),
                "{} and {}: {shared}",
                seeds[index],
                seeds[other]
            );
        }
    }
    let wider = sample(20.0, "a");
    assert!(
        picked[1].iter().all(|id| wider.binary_search(id).is_ok()),
        "10 percent lie within 20"
    );
    assert_eq!(sample(100.0, "a").len(), 40_000);
    assert_eq!(picked[1], sample(10.0, "a"));
    assert_eq!(
        picked[1][..5],
        FIRST_OF_SEED_A,
        "a sample never changes from one version to the next"
    );
}

/// The first people whom 10 percent of the seed `a` pick, for good.
const FIRST_OF_SEED_A: [i64; 5] = [19, 20, 23, 26, 28];
