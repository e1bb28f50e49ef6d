//! Segments: the compiled SQL picks the same people as a plain reading of the JSON, written here a
//! second time over the same people, and stays on its indexes whatever the definition says.

mod people;
mod plain_reading;
mod random;

use event_stream_engine::domain::segment::Definition;
use event_stream_engine::store::segment_sql::{Predicate, compile};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Value, json};

use people::{NOW, Person, database, fill, people_with};
use plain_reading::matches;
use random::{date_texts, definition, person, scalars};

fn compiled(definition: &Value) -> Predicate {
    match Definition::parse(definition) {
        Ok(parsed) => compile(&parsed, NOW),
        Err(errors) => panic!("{definition}: {errors:?}"),
    }
}

fn selected(connection: &Connection, predicate: &Predicate) -> Vec<i64> {
    let sql =
        format!("SELECT u.id FROM users AS u WHERE u.erased_at IS NULL AND {} ORDER BY u.id", predicate.sql);
    let mut statement = connection.prepare(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = statement.query_map(params_from_iter(&predicate.params), |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn read_plainly(definition: &Value, people: &[Person]) -> Vec<i64> {
    let numbered = people.iter().zip(1..);
    numbered.filter(|(person, _)| matches(definition, person)).map(|(_, id)| id).collect()
}

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
            let expected = read_plainly(&definition, &people);
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
fn every_operator_meets_every_value() {
    let containers = [
        json!([]),
        json!({}),
        json!([1]),
        json!([1.0]),
        json!([true]),
        json!([null]),
        json!(["Ana"]),
        json!(["ana"]),
        json!(["[1]"]),
        json!([[1]]),
        json!([{"a": 1}]),
        json!({"a": 1}),
        json!({"Ana": "Ana"}),
        json!(["1", "5", ""]),
        json!([0, false]),
        json!(null),
        json!("a\0b"),
    ];
    let held: Vec<Value> = scalars().into_iter().chain(date_texts()).chain(containers).collect();
    let mut attributes: Vec<Value> = held.iter().map(|value| json!({"x": value})).collect();
    attributes.push(json!({}));
    let people = people_with(&attributes);
    let connection = database();
    fill(&connection, &people);
    let operators = [
        "equals",
        "not_equals",
        "contains",
        "starts_with",
        "gt",
        "gte",
        "lt",
        "lte",
        "before",
        "after",
        "in",
        "not_in",
    ];
    let asked: Vec<Value> = held.iter().filter(|value| !value.is_array()).cloned().collect();
    let mut compared = 0;
    for operator in operators {
        for value in &asked {
            let value = if operator.ends_with("in") { json!([value, "Ana", true, 1]) } else { value.clone() };
            let definition = json!({"attribute": "x", "operator": operator, "value": value});
            // Values that an operator doesn't take are the parser's own tests.
            let Ok(parsed) = Definition::parse(&definition) else {
                continue;
            };
            let found = selected(&connection, &compile(&parsed, NOW));
            assert_eq!(found, read_plainly(&definition, &people), "{definition}");
            compared += 1;
        }
    }
    assert!(compared > 400, "{compared}");
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
        assert_eq!(selected(&connection, &compiled(&definition)), [row as i64 + 1], "{name:?}");
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
    assert!(!predicate.sql.contains("marker") && !predicate.sql.contains("77001"), "{}", predicate.sql);
    assert_eq!(predicate.sql.matches('?').count(), predicate.params.len());
}

#[test]
fn a_predicate_stands_in_a_bigger_statement_with_parameters_of_its_own() {
    let connection = database();
    fill(&connection, &people_with(&[json!({"age": 30}), json!({"age": 10}), json!({"age": 40})]));
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
    assert_eq!(connection.execute(&sql, params_from_iter(values)).unwrap(), 1);
    let user: i64 = connection.query_row("SELECT user_id FROM messages", [], |row| row.get(0)).unwrap();
    assert_eq!(user, 1);
}

#[test]
fn history_is_looked_up_by_index() {
    let connection = database();
    let cases = [
        (json!({"engagement": "delivered"}), "messages_user"),
        (json!({"engagement": "sent", "within_last": "30d"}), "messages_user"),
        (json!({"engagement": "failed", "campaign_id": 7}), "campaign_id=? AND user_id=?"),
        (json!({"engagement": "replied", "campaign_id": 7}), "inbound_user"),
        (json!({"field": "topic", "operator": "equals", "value": "general"}), "user_id=? AND topic_id=?"),
    ];
    for (definition, expected) in cases {
        let predicate = compiled(&definition);
        let sql = format!("EXPLAIN QUERY PLAN SELECT u.id FROM users AS u WHERE {}", predicate.sql);
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement.query_map(params_from_iter(&predicate.params), |row| row.get(3)).unwrap();
        let plan: Vec<String> = rows.collect::<Result<_, _>>().unwrap();
        assert!(plan.iter().any(|step| step.contains(expected)), "{definition}: {plan:?}");
        let scans: Vec<_> = plan.iter().filter(|step| step.starts_with("SCAN")).collect();
        assert!(matches!(*scans, [only] if only.starts_with("SCAN u")), "{definition}: {plan:?}");
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
        selected(&connection, &compiled(&json!({"sample": {"percent": percent, "seed": seed}})))
    };
    let seeds = ["", "a", "b", "spring", "2026-11", "😀"];
    let picked: Vec<Vec<i64>> = seeds.iter().map(|seed| sample(10.0, seed)).collect();
    for (seed, ids) in seeds.iter().zip(&picked) {
        // 4,000 expected; the deviation of a fair coin would be 60.
        assert!((3_760..=4_240).contains(&ids.len()), "{seed}: {}", ids.len());
        for residue in 0..10 {
            let class = ids.iter().filter(|id| **id % 10 == residue).count();
            assert!((300..=500).contains(&class), "{seed}: {class} of those that end in {residue}");
        }
        for block in 0..10 {
            let class = ids.iter().filter(|id| (**id - 1) / 4_000 == block).count();
            assert!((300..=500).contains(&class), "{seed}: {class} in block {block}");
        }
    }
    for (index, one) in picked.iter().enumerate() {
        for (other, ids) in picked.iter().enumerate().skip(index + 1) {
            let shared = ids.iter().filter(|id| one.binary_search(id).is_ok()).count();
            // 400 expected, deviation 19.
            assert!((300..=500).contains(&shared), "{} and {}: {shared}", seeds[index], seeds[other]);
        }
    }
    let wider = sample(20.0, "a");
    assert!(picked[1].iter().all(|id| wider.binary_search(id).is_ok()), "10 percent lie within 20");
    assert_eq!(sample(100.0, "a").len(), 40_000);
    assert_eq!(picked[1], sample(10.0, "a"));
    assert_eq!(picked[1][..5], FIRST_OF_SEED_A, "a sample never changes from one version to the next");
}

/// The first people whom 10 percent of the seed `a` pick, for good.
const FIRST_OF_SEED_A: [i64; 5] = [19, 20, 23, 26, 28];
