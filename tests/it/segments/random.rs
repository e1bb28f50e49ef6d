//! People and definitions at random.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::people::*;

/// Single values that people hold and definitions ask for, so that questions often hit.
pub(super) fn scalars() -> Vec<Value> {
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
    let others = [
        json!(0),
        json!(1),
        json!(-1),
        json!(5),
        json!(5.0),
        json!(1.5),
        json!(0.0),
        json!(1.0),
        json!(-2.5),
        json!(18),
        json!(19),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(2_147_483_648_i64),
        json!(true),
        json!(false),
    ];
    texts.map(Value::from).into_iter().chain(others).collect()
}

/// Texts that are dates, and some that SQLite would take for dates.
pub(super) fn date_texts() -> Vec<Value> {
    vec![
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
    ]
}

fn attribute_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![5 => select(scalars()), 2 => select(date_texts()), 1 => Just(Value::Null), 1 => Just(json!("a\0b"))];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((select(KEYS.to_vec()), inner), 0..3).prop_map(object),
        ]
    })
}

fn object(pairs: Vec<(&str, Value)>) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
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
    (prop::option::of(1..3_i64), select(statuses), moment(), time(), time(), time(), time()).prop_map(
        |(campaign_id, status, created_at, accepted_at, sent_at, delivered_at, read_at)| Message {
            campaign_id,
            status,
            created_at,
            accepted_at,
            sent_at,
            delivered_at,
            read_at,
        },
    )
}

pub(super) fn person() -> impl Strategy<Value = Person> {
    let columns = (
        prop::option::weighted(0.9, select(vec!["+9477", "+1415", "+4915"])),
        select(vec![None, Some("LK"), Some("US"), Some("DE")]),
        select(vec!["opt_in", "unknown", "opt_out", "stop"]),
        moment(),
        prop::option::of(moment()),
    );
    let attributes = prop::collection::vec((select(KEYS.to_vec()), attribute_value()), 0..7).prop_map(object);
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
        let escaped = keys.iter().map(|key| key.replace('\\', "\\\\").replace('.', "\\."));
        escaped.collect::<Vec<_>>().join(".")
    });
    let filled = select(scalars()).prop_filter("not empty", |value| *value != json!("")).boxed();
    let text = filled.clone().prop_filter("text", Value::is_string);
    let bound = select(scalars()).prop_filter("ordered", |value| !value.is_boolean());
    let test = prop_oneof![
        (select(vec!["equals", "not_equals"]), select(scalars())).boxed(),
        (select(vec!["in", "not_in"]), prop::collection::vec(select(scalars()), 1..4).prop_map(Value::from))
            .boxed(),
        (Just("contains"), filled).boxed(),
        (Just("starts_with"), text).boxed(),
        (select(vec!["exists", "not_exists"]), Just(Value::Null)).boxed(),
        (select(vec!["gt", "gte", "lt", "lte"]), bound).boxed(),
        time_test().boxed(),
    ];
    (path, test).prop_map(|(path, (operator, value))| with_value(json!({"attribute": path}), operator, value))
}

pub(super) fn with_value(mut leaf: Value, operator: &str, value: Value) -> Value {
    leaf["operator"] = json!(operator);
    if !value.is_null() {
        leaf["value"] = value;
    }
    leaf
}

fn time_test() -> impl Strategy<Value = (&'static str, Value)> {
    let instants = ["2026-11-23", "2026-11-23T09:30:00Z", "2026-11-23T12:00:00.001Z", "1970-01-01"];
    prop_oneof![
        (select(vec!["before", "after"]), select(instants.map(|written| json!(written)).to_vec())),
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
    let phones = (0..6).flat_map(|row| ["+9477", "+1415"].map(|prefix| json!(format!("{prefix}{row:07}"))));
    let other = vec![
        json!({"field": "phone", "operator": "starts_with", "value": "+94"}),
        json!({"field": "phone", "operator": "contains", "value": "15000"}),
        json!({"field": "phone", "operator": "exists"}),
        json!({"field": "country", "operator": "not_exists"}),
        json!({"field": "last_inbound_at", "operator": "exists"}),
        json!({"field": "last_inbound_at", "operator": "not_exists"}),
    ];
    let times = (select(vec!["created_at", "last_inbound_at"]), time_test())
        .prop_map(|(field, (operator, value))| with_value(json!({"field": field}), operator, value));
    prop_oneof![
        choice("phone", phones.collect()),
        choice("country", vec![json!("LK"), json!("us"), json!("FR")]),
        choice("consent", vec![json!("opt_in"), json!("stop"), json!("unknown")]),
        choice("topic", vec![json!("general"), json!("News"), json!("absent")]),
        select(other),
        times,
    ]
}

fn history_leaf() -> impl Strategy<Value = Value> {
    let kinds = vec!["sent", "delivered", "read", "replied", "failed"];
    let engagement = (select(kinds), prop::option::of(1..3_i64), prop::option::of(span())).prop_map(
        |(kind, campaign_id, within_last)| {
            let mut leaf = json!({"engagement": kind});
            campaign_id.inspect(|id| leaf["campaign_id"] = json!(id));
            within_last.inspect(|span| leaf["within_last"] = span.clone());
            leaf
        },
    );
    let trigger = (select(vec!["order.paid", "cart"]), prop::option::of(1..4), prop::option::of(span()))
        .prop_map(|(kind, at_least, within_last)| {
            let mut leaf = json!({"trigger": kind});
            at_least.inspect(|count| leaf["at_least"] = json!(count));
            within_last.inspect(|span| leaf["within_last"] = span.clone());
            leaf
        });
    prop_oneof![engagement, trigger, Just(json!({"sample": {"percent": 100, "seed": "x"}}))]
}

pub(super) fn definition() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(|children| json!({"all": children})),
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(|children| json!({"any": children})),
            1 => inner.prop_map(|child| json!({"not": child})),
        ]
    })
}
