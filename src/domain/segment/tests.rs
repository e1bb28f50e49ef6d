//! What a definition may say, and how it is told what it may not.

#![allow(clippy::too_many_lines, reason = "tables of cases")]

use serde_json::{Value, json};

use super::*;

fn parsed(json: Value) -> Node {
    match Definition::parse(&json) {
        Ok(definition) => definition.root,
        Err(errors) => panic!("{json}: {errors:?}"),
    }
}

fn errors(json: Value) -> Vec<DefinitionError> {
    match Definition::parse(&json) {
        Ok(definition) => panic!("{json} was read as {definition:?}"),
        Err(errors) => errors,
    }
}

fn attribute(path: &[&str], test: AttributeTest) -> Node {
    let keys: Vec<&str> = path.to_vec();
    let written = keys.iter().map(|key| key.replace('.', "\\.")).collect::<Vec<_>>().join(".");
    let path = AttributePath::parse(&json!(written)).unwrap();
    assert_eq!(path.keys(), keys);
    Node::Condition(Condition::Attribute { path, test })
}

fn not(node: Node) -> Node {
    Node::Not(Box::new(node))
}

#[test]
fn the_empty_all_is_everybody_and_the_empty_any_nobody() {
    assert_eq!(parsed(json!({"all": []})), Node::All(vec![]));
    assert_eq!(parsed(json!({"any": []})), Node::Any(vec![]));
}

#[test]
fn attribute_conditions_are_typed_by_their_value() {
    let text = |written: &str| Scalar::Text(written.into());
    let whole = |number| Scalar::Number(Number::Integer(number));
    let cases = [
        (json!(["city", "equals", "Kandy"]), attribute(&["city"], AttributeTest::OneOf(vec![text("Kandy")]))),
        (json!(["age", "equals", 5]), attribute(&["age"], AttributeTest::OneOf(vec![whole(5)]))),
        (
            json!(["a.b", "in", [1.5, true, "1"]]),
            attribute(
                &["a", "b"],
                AttributeTest::OneOf(vec![Scalar::Number(Number::Real(1.5)), Scalar::Bool(true), text("1")]),
            ),
        ),
        (
            json!(["a\\.b.c", "not_equals", 0]),
            not(attribute(&["a.b", "c"], AttributeTest::OneOf(vec![whole(0)]))),
        ),
        (json!(["x", "not_in", ["a"]]), not(attribute(&["x"], AttributeTest::OneOf(vec![text("a")])))),
        (json!(["x", "contains", "a"]), attribute(&["x"], AttributeTest::Contains(text("a")))),
        (json!(["x", "starts_with", "a"]), attribute(&["x"], AttributeTest::StartsWith("a".into()))),
        (json!(["x", "exists"]), attribute(&["x"], AttributeTest::Exists)),
        (json!(["x", "not_exists"]), not(attribute(&["x"], AttributeTest::Exists))),
        (
            json!(["x", "gte", 18]),
            attribute(
                &["x"],
                AttributeTest::Compare(Comparison::AtLeast, Bound::Number(Number::Integer(18))),
            ),
        ),
        (
            json!(["x", "lt", "m"]),
            attribute(&["x"], AttributeTest::Compare(Comparison::Less, Bound::Text("m".into()))),
        ),
        (
            json!(["x", "before", "1970-01-02"]),
            attribute(&["x"], AttributeTest::Time(TimeTest::Before(86_400_000))),
        ),
        (
            json!(["x", "after", "1970-01-01T05:30:00.250+05:30"]),
            attribute(&["x"], AttributeTest::Time(TimeTest::After(250))),
        ),
    ];
    for (short, expected) in cases {
        let mut leaf = json!({"attribute": short[0], "operator": short[1]});
        if let Some(value) = short.get(2) {
            leaf["value"] = value.clone();
        }
        assert_eq!(parsed(leaf.clone()), expected, "{leaf}");
    }
}

#[test]
fn fields_and_history_are_read() {
    let day = Span::parse(&json!("1d")).unwrap();
    let cases = [
        (
            json!({"field": "phone", "operator": "in", "value": ["+14155550101"]}),
            Condition::Phone(PhoneTest::OneOf(vec!["+14155550101".into()])),
        ),
        (
            json!({"field": "country", "operator": "equals", "value": "lk"}),
            Condition::Country(CountryTest::OneOf(vec!["LK".into()])),
        ),
        (
            json!({"field": "consent", "operator": "in", "value": ["opt_in", "unknown"]}),
            Condition::Consent(vec![Consent::OptIn, Consent::Unknown]),
        ),
        (
            json!({"field": "created_at", "operator": "within_last", "value": "1d"}),
            Condition::CreatedAt(TimeTest::WithinLast(day)),
        ),
        (
            json!({"field": "last_inbound_at", "operator": "exists"}),
            Condition::LastInboundAt(LastInboundTest::Exists),
        ),
        (
            json!({"field": "topic", "operator": "equals", "value": "general"}),
            Condition::Topic(vec!["general".into()]),
        ),
        (
            json!({"engagement": "read", "campaign_id": 7, "within_last": "1d"}),
            Condition::Engagement(Engagement {
                kind: EngagementKind::Read,
                campaign_id: Some(7),
                within_last: Some(day),
            }),
        ),
        (
            json!({"engagement": "failed"}),
            Condition::Engagement(Engagement {
                kind: EngagementKind::Failed,
                campaign_id: None,
                within_last: None,
            }),
        ),
        (
            json!({"trigger": "order.paid"}),
            Condition::Trigger(TriggerCount { kind: "order.paid".into(), at_least: 1, within_last: None }),
        ),
        (
            json!({"sample": {"percent": 0.5, "seed": "a"}}),
            Condition::Sample(Sample { share_ppm: 5_000, seed: "a".into() }),
        ),
    ];
    for (leaf, expected) in cases {
        assert_eq!(parsed(leaf.clone()), Node::Condition(expected), "{leaf}");
    }
}

#[test]
fn spans_are_whole_numbers_with_a_unit() {
    let cases = [("45m", 45 * 60_000), ("12h", 43_200_000), ("30d", 2_592_000_000), ("2w", 1_209_600_000)];
    for (written, expected) in cases {
        assert_eq!(Span::parse(&json!(written)).unwrap().as_millis(), expected, "{written}");
    }
    let refused = [
        json!(""),
        json!("d"),
        json!("0d"),
        json!("-1d"),
        json!("+1d"),
        json!("1.5d"),
        json!("30"),
        json!("30 d"),
        json!("30dd"),
        json!("1s"),
        json!("1y"),
        json!("30D"),
        json!("99999999999999999999d"),
        json!("101000w"),
        json!("9223372036854775807w"),
        json!(30),
        json!(null),
        json!("٣d"),
        json!("30д"),
    ];
    for written in refused {
        assert!(Span::parse(&written).is_err(), "{written}");
    }
}

#[test]
fn every_error_names_its_place_and_what_is_allowed() {
    // The definition, the place below `definition`, and words of the message.
    let cases: Vec<(Value, &str, &[&str])> = vec![
        (json!(null), "", &["object"]),
        (json!([]), "", &["object"]),
        (json!({}), "", &["empty", "`all`", "`attribute`"]),
        (json!({"alll": []}), ".alll", &["unknown key `alll`", "did you mean `all`?"]),
        (json!({"all": {}}), ".all", &["list"]),
        (json!({"all": [], "any": []}), "", &["`all`, `any`", "object of its own"]),
        (json!({"all": [], "name": "x"}), ".name", &["unknown key `name`"]),
        (json!({"all": [{"not": []}]}), ".all[0].not", &["object"]),
        (
            json!({"attribute": "x", "operator": "equal", "value": 1}),
            ".operator",
            &["`equal`", "did you mean `equals`?"],
        ),
        (
            json!({"attribute": "x", "operator": "=", "value": 1}),
            ".operator",
            &["`starts_with`", "`within_last`"],
        ),
        (json!({"attribute": "x", "operator": "equals"}), ".value", &["missing"]),
        (json!({"attribute": "x", "value": 1}), ".operator", &["missing"]),
        (json!({"attribute": "x", "operator": "exists", "value": 1}), ".value", &["takes no value"]),
        (json!({"attribute": "x", "operator": "equals", "value": null}), ".value", &["`not_exists`"]),
        (json!({"attribute": "x", "operator": "equals", "value": [1]}), ".value", &["`in`"]),
        (
            json!({"attribute": "x", "operator": "equals", "value": {}}),
            ".value",
            &["text, a number or a boolean"],
        ),
        (json!({"attribute": "x", "operator": "in", "value": []}), ".value", &["at least one"]),
        (json!({"attribute": "x", "operator": "in", "value": "a"}), ".value", &["list"]),
        (json!({"attribute": "x", "operator": "in", "value": [1, null]}), ".value[1]", &["null"]),
        (json!({"attribute": "x", "operator": "contains", "value": ""}), ".value", &["empty"]),
        (json!({"attribute": "x", "operator": "starts_with", "value": 5}), ".value", &["`5` is no text"]),
        (json!({"attribute": "x", "operator": "gt", "value": true}), ".value", &["number or a text"]),
        (json!({"attribute": "x", "operator": "before", "value": "2026-02-30"}), ".value", &["no date"]),
        (
            json!({"attribute": "x", "operator": "before", "value": "2026-11-23T09:00:00"}),
            ".value",
            &["09:30:00Z"],
        ),
        (json!({"attribute": "x", "operator": "within_last", "value": "30"}), ".value", &["`30d`"]),
        (
            json!({"attribute": "x", "operator": "equals", "value": 1, "valeu": 2}),
            ".valeu",
            &["did you mean `value`?"],
        ),
        (json!({"attribute": "a..b", "operator": "exists"}), ".attribute", &["dots"]),
        (json!({"attribute": "", "operator": "exists"}), ".attribute", &["name an attribute"]),
        (json!({"attribute": 5, "operator": "exists"}), ".attribute", &["no text"]),
        (json!({"attribute": "a\0", "operator": "exists"}), ".attribute", &["NUL"]),
        (json!({"field": "fone", "operator": "exists"}), ".field", &["unknown field", "`phone`"]),
        (json!({"field": "phone", "operator": "gt", "value": 1}), ".operator", &["`gt`", "`starts_with`"]),
        (json!({"field": "phone", "operator": "equals", "value": "0771234567"}), ".value", &["E.164"]),
        (json!({"field": "phone", "operator": "starts_with", "value": "94"}), ".value", &["+"]),
        (json!({"field": "country", "operator": "equals", "value": "Sri Lanka"}), ".value", &["two letters"]),
        (json!({"field": "consent", "operator": "equals", "value": "yes"}), ".value", &["`opt_in`"]),
        (json!({"field": "consent", "operator": "exists"}), ".operator", &["`not_in`"]),
        (json!({"field": "created_at", "operator": "exists"}), ".operator", &["`before`"]),
        (json!({"engagement": "opened"}), ".engagement", &["`replied`"]),
        (json!({"engagement": "read", "campaign_id": 0}), ".campaign_id", &["whole number from 1"]),
        (json!({"engagement": "read", "campaign": 7}), ".campaign", &["did you mean `campaign_id`?"]),
        (json!({"trigger": "x", "at_least": 0}), ".at_least", &["from 1"]),
        (json!({"trigger": ""}), ".trigger", &["empty"]),
        (json!({"sample": 10}), ".sample", &["`percent` and `seed`"]),
        (json!({"sample": {"percent": 10}}), ".sample.seed", &["missing"]),
        (json!({"sample": {"percent": 0, "seed": "a"}}), ".sample.percent", &["0.0001 to 100"]),
        (json!({"sample": {"percent": 101, "seed": "a"}}), ".sample.percent", &["100"]),
        (json!({"sample": {"percent": 1, "seed": "a", "sed": 1}}), ".sample.sed", &["did you mean `seed`?"]),
    ];
    for (json, place, words) in cases {
        let found = errors(json.clone());
        let [error] = found.as_slice() else { panic!("{json}: {found:?}") };
        assert_eq!(error.field, format!("definition{place}"), "{json}: {error}");
        for word in words {
            assert!(error.message.contains(word), "{json}: {error} lacks {word}");
        }
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let found = errors(json!({"all": [
        {"attribute": "x", "operator": "is", "value": 1},
        {"all": []},
        {"any": [{"field": "phone"}, {"not": {"engagement": "seen", "within_last": "1y"}}]},
    ]}));
    let places: Vec<&str> = found.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(
        places,
        [
            "definition.all[0].operator",
            "definition.all[2].any[0].operator",
            "definition.all[2].any[1].not.engagement",
            "definition.all[2].any[1].not.within_last",
        ]
    );
}

#[test]
fn places_begin_with_the_name_that_the_caller_gives() {
    let found = Definition::parse_at("segment", &json!({"any": [5]})).unwrap_err();
    assert_eq!(found[0].field, "segment.any[0]");
}

#[test]
fn groups_stand_eight_deep_and_no_deeper() {
    let nested = |depth: usize| {
        let leaf = json!({"field": "phone", "operator": "exists"});
        (0..depth).fold(leaf, |inner, level| match level % 3 {
            0 => json!({"all": [inner]}),
            1 => json!({"any": [inner]}),
            _ => json!({"not": inner}),
        })
    };
    assert!(Definition::parse(&nested(8)).is_ok());
    assert!(errors(nested(9))[0].message.contains("at most 8 deep"));
    assert!(Definition::parse(&nested(100)).is_err());
}

#[test]
fn a_hundred_conditions_and_ten_thousand_values_are_the_most() {
    let many = |count: usize| json!({"any": vec![json!({"engagement": "read"}); count]});
    let definition = Definition::parse(&many(100)).unwrap();
    assert_eq!(definition.conditions().len(), 100);
    let found = errors(many(101));
    assert_eq!((found.len(), found[0].field.as_str()), (1, "definition"));
    assert!(found[0].message.contains("100 conditions"));

    let listing = |count: usize| json!({"attribute": "x", "operator": "in", "value": vec![json!(1); count]});
    assert!(Definition::parse(&listing(10_000)).is_ok());
    assert_eq!(errors(json!({"all": [listing(5_000), listing(5_001)]}))[0].field, "definition.all[1].value");
}

#[test]
fn a_huge_wrong_definition_gets_a_bounded_answer() {
    let keys: serde_json::Map<String, Value> = (0..5_000).map(|i| (format!("k{i}"), json!(1))).collect();
    let definition = json!({"all": vec![Value::Object(keys); 5]});
    assert_eq!(errors(definition).len(), 100);
    assert_eq!(errors(json!({"all": vec![json!(1); 5_000]})).len(), 100);
    let long = "x".repeat(100_000);
    let found = errors(json!({"attribute": "a", "operator": long, (long.clone()): 1}));
    assert!(found.iter().all(|error| error.field.len() + error.message.len() < 700), "{found:?}");
}
