//! Rows and JSON, both ways.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Definition, MAX_DEPTH};
use super::build::put;
use super::*;
use crate::domain::catalogue::Kind;

/// A definition through rows, the fields of a form, and back.
fn through_a_form(json: &Value) -> Value {
    let rows = rows(json);
    let pairs = pairs(&rows);
    let posted = from_pairs(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))).unwrap();
    assert_eq!(posted, rows);
    let built = definition(&posted, "definition");
    assert_eq!(built.errors, []);
    built.definition
}

/// What each rule becomes: typed fields, or JSON where there are none for it.
#[test]
fn every_kind_of_rule_has_fields_and_comes_back_as_it_was() {
    let rows_of = |json: &Value| rows(json).into_iter().next().unwrap();
    for (rule, operator, value) in [
        (json!({"attribute": "city", "operator": "equals", "value": "Kandy"}), "is", "Kandy"),
        (json!({"attribute": "city", "operator": "equals", "value": ""}), "is", ""),
        (json!({"attribute": "n", "operator": "equals", "value": 5.0}), "number_is", "5.0"),
        (json!({"attribute": "n", "operator": "equals", "value": "5"}), "is", "5"),
        (json!({"attribute": "vip", "operator": "equals", "value": true}), "is_yes", ""),
        (json!({"attribute": "c", "operator": "in", "value": ["a, b", "c"]}), "one_of", "\"a, b\", c"),
        (json!({"attribute": "c", "operator": "not_in", "value": [1, 2.5]}), "number_none_of", "1, 2.5"),
        (json!({"attribute": "n", "operator": "gte", "value": 500}), "at_least", "500"),
        (json!({"attribute": "n", "operator": "gte", "value": "m"}), "sorts_from", "m"),
        (json!({"attribute": "d", "operator": "before", "value": "2026-11-23"}), "before", "2026-11-23"),
        (json!({"attribute": "d", "operator": "within_last", "value": "030d"}), "within_last", "030"),
        (json!({"attribute": "x", "operator": "not_exists"}), "not_exists", ""),
        (
            json!({"field": "consent", "operator": "in", "value": ["opt_in", "unknown"]}),
            "one_of",
            "opt_in, unknown",
        ),
        (json!({"field": "topic", "operator": "equals", "value": "news"}), "is", "news"),
        (json!({"field": "phone", "operator": "starts_with", "value": "+1415"}), "starts_with", "+1415"),
        (json!({"field": "last_inbound_at", "operator": "exists"}), "exists", ""),
        (json!({"engagement": "read"}), "", ""),
        (json!({"engagement": "read", "campaign_id": 7, "within_last": "30d"}), "", "30"),
        (json!({"trigger": "cart", "at_least": 1}), "", ""),
        (json!({"sample": {"percent": 10, "seed": "a"}}), "", "10"),
    ] {
        let row = rows_of(&rule);
        assert_ne!(row.what, What::Json, "{rule}");
        assert_eq!((row.operator.as_str(), row.value.as_str()), (operator, value), "{rule}");
        assert_eq!(through_a_form(&rule), rule);
        assert!(Definition::parse(&rule).is_ok(), "{rule}");
    }
    for rule in [
        json!({"attribute": "x", "operator": "in", "value": [1, "a"]}),
        json!({"attribute": "x", "operator": "equals", "value": "two\nlines"}),
        json!({"attribute": "x", "operator": "contains", "value": 5}),
        json!({"attribute": "x", "operator": "unheard of", "value": 5}),
        json!({"attribute": "x", "operator": "equals", "value": 1, "more": 2}),
        json!({"field": "attribute", "operator": "exists"}),
        json!({"all": 5}),
        json!({"all": [], "any": []}),
        json!([1, {"a": null}]),
        json!("text"),
        Value::Null,
    ] {
        assert_eq!(rows_of(&rule).what, What::Json, "{rule}");
        assert_eq!(through_a_form(&rule), rule);
    }
}

#[test]
fn groups_come_back_as_they_were() {
    let leaf = json!({"attribute": "a", "operator": "exists"});
    for group in [
        json!({"all": []}),
        json!({"any": [leaf, {"all": [leaf, leaf]}, leaf]}),
        json!({"not": leaf}),
        json!({"not": {"any": [leaf]}}),
        json!({"not": {"any": [leaf, leaf]}}),
        json!({"not": {"any": []}}),
        json!({"not": {"all": [leaf]}}),
        json!({"not": {"not": leaf}}),
        json!({"not": {"any": 5}}),
        leaf,
    ] {
        assert_eq!(through_a_form(&group), group);
    }
    let two = [Row::new(0, What::Not), Row::new(1, What::Json), Row::new(1, What::Json)];
    assert_eq!(
        definition(&two, "d").definition,
        json!({"not": {"any": ["", ""]}}),
        "not of two is none of them"
    );
}

#[test]
fn rows_that_are_no_tree_become_one() {
    let rule = |depth| Row { value: "1".to_owned(), ..Row::new(depth, What::Json) };
    assert_eq!(definition(&[], "d").definition, json!({"all": []}));
    assert_eq!(definition(&[rule(7)], "d").definition, json!(1));
    assert_eq!(definition(&[rule(0), rule(0)], "d").definition, json!({"all": [1, 1]}));
    let jump = [Row::new(3, What::Any), rule(9), rule(0), Row::new(9, What::All), rule(9)];
    assert_eq!(definition(&jump, "d").definition, json!({"any": [1, 1, {"all": [1]}]}));
    let many: Vec<Row> = (0..500).map(|depth| Row::new(depth, What::All)).collect();
    let deep = definition(&many, "d").definition;
    assert!(Definition::parse(&deep).unwrap_err()[0].message.contains(&format!("at most {MAX_DEPTH} deep")));
}

#[test]
fn a_value_that_is_no_number_is_an_error_and_never_a_text() {
    let row = |what: What, operator: &str, value: &str| Row {
        operator: operator.to_owned(),
        value: value.to_owned(),
        ..Row::new(1, what)
    };
    let rows = [
        Row::new(0, What::All),
        row(What::Attribute, "at_least", "abc"),
        row(What::Attribute, "at_least", ""),
        row(What::Attribute, "number_one_of", "1, two"),
        row(What::Attribute, "within_last", ""),
        Row { campaign: "x".to_owned(), ..row(What::Engagement, "", "") },
        row(What::Attribute, "at_least", " 12 "),
    ];
    let built = definition(&rows, "definition");
    let errors: Vec<(usize, &str)> = built.errors.iter().map(|error| (error.row, error.field)).collect();
    assert_eq!(errors, [(1, "value"), (2, "value"), (3, "value"), (4, "value"), (5, "campaign")]);
    assert_eq!(built.definition["all"][0], Value::Null);
    assert_eq!(built.definition["all"][5]["value"], json!(12));
}

#[test]
fn an_error_of_the_definition_finds_its_row() {
    let json = json!({"all": [
        {"any": [{"attribute": "a", "operator": "exists"}, {"attribute": "", "operator": "is"}]},
        {"not": {"any": [{"attribute": "a", "operator": "exists"}, {"field": "phone", "operator": "equals", "value": "1"}]}},
        {"not": {"field": "consent", "operator": "equals", "value": "maybe"}},
    ]});
    let rows = rows(&json);
    let built = definition(&rows, "definition");
    assert_eq!(built.definition, json);
    let errors = Definition::parse(&built.definition).unwrap_err();
    let found: Vec<Option<usize>> = errors.iter().map(|error| built.row_at(&error.field)).collect();
    assert_eq!(found, [Some(3), Some(3), Some(6), Some(8)], "{errors:?} {:?}", built.places);
    assert_eq!(built.row_at("definition"), Some(0));
    assert_eq!(built.row_at("name"), None);
}

#[test]
fn an_error_of_the_definition_finds_its_line() {
    let text = "{\n  \"all\": [\n    {\"attribute\": \"a\",\n     \"operator\": \"is\"},\n    {\"not\":\n      {\"field\": \"ph\\\"one\"}},\n    [1,\n2]\n  ]\n}";
    let lines = lines(text, "definition");
    for (place, line) in [
        ("definition", 1),
        ("definition.all", 2),
        ("definition.all[0]", 3),
        ("definition.all[0].operator", 4),
        ("definition.all[1].not", 5),
        ("definition.all[1].not.field", 6),
        ("definition.all[1].not.operator", 5),
        ("definition.all[2][1]", 8),
        ("definition.all[9]", 2),
    ] {
        assert_eq!(line_of(&lines, place), Some(line), "{place}");
    }
    assert_eq!(line_of(&lines, "name"), None);
}

#[test]
fn rules_and_groups_are_added_and_removed_where_they_stand() {
    let leaf = |n: u32| Row { value: n.to_string(), ..Row::new(0, What::Json) };
    let built = |rows: &[Row]| definition(rows, "d").definition;
    let one = add(&[leaf(1)], 0, What::Json);
    assert_eq!(built(&one), json!({"all": [1, ""]}));
    let grouped = add(&one, 0, What::Any);
    let filled = add(&add(&grouped, 3, What::Json), 0, What::Json);
    assert_eq!(built(&filled), json!({"all": [1, "", {"any": [""]}, ""]}));
    assert_eq!(built(&remove(&filled, 3)), json!({"all": [1, "", ""]}), "a group goes with what is in it");
    assert_eq!(built(&remove(&filled, 0)), json!({"all": []}), "the root stays");
    assert_eq!(built(&remove(&filled, 99)), built(&filled));
    assert_eq!(built(&add(&[], 0, What::Json)), json!({"all": [""]}));
    assert_eq!(built(&add(&one, 99, What::Json)), json!({"all": [1, "", ""]}));
}

#[test]
fn operators_for_what_an_attribute_mostly_holds_come_first() {
    let first = |kind| default_operator(What::Attribute, kind);
    assert_eq!(first(None), "is");
    assert_eq!(first(Some(Kind::Number)), "number_is");
    assert_eq!(first(Some(Kind::Date)), "before");
    assert_eq!(first(Some(Kind::Boolean)), "is_yes");
    assert_eq!(default_operator(What::LastInboundAt, None), "exists");
    assert!(!takes_value("is_yes") && !takes_value("exists") && takes_value("is") && takes_value(""));
    // Every operator of the API can be chosen for an attribute.
    let keys: Vec<&str> =
        operators(What::Attribute, None).into_iter().flat_map(|(_, c)| c).map(|choice| choice.key).collect();
    assert_eq!(keys.len(), 25);
}

#[test]
fn a_definition_is_told_in_a_sentence() {
    for (json, expected) in [
        (json!({"all": []}), "everybody"),
        (json!({"any": []}), "nobody"),
        (json!({"not": {"any": []}}), "everybody"),
        (
            json!({"all": [{"attribute": "city", "operator": "in", "value": ["Kandy", "Galle"]},
                           {"field": "consent", "operator": "equals", "value": "opt_in"}]}),
            "city is one of Kandy, Galle and consent is opt_in",
        ),
        (
            json!({"all": [{"attribute": "vip", "operator": "equals", "value": true},
                           {"any": [{"engagement": "read", "within_last": "1d"},
                                    {"field": "last_inbound_at", "operator": "not_exists"}]}]}),
            "vip is yes and (read a message within the last 1 day or wrote to us never)",
        ),
        (json!({"not": {"attribute": "x", "operator": "exists"}}), "not x has a value"),
        (
            json!({"not": {"any": [{"sample": {"percent": 10, "seed": "a"}}, {"trigger": "cart", "at_least": 2}]}}),
            "neither a random 10 % or event cart at least 2 times",
        ),
        (
            json!({"all": [1, 2, 3, 4, 5, {"any": [6]}]}),
            "a rule of its own (1) and a rule of its own (2) and a rule of its own (3) and a rule of its own (4), and 2 rules more",
        ),
    ] {
        assert_eq!(summary(&json), expected, "{json}");
    }
}

#[test]
fn a_form_has_at_most_a_thousand_rows() {
    let pair = |n: usize| (format!("rules.{n}.what"), "json".to_owned());
    let posted: Vec<(String, String)> = (0..=MAX_ROWS).map(pair).collect();
    let borrowed = |upto: usize| posted.iter().take(upto).map(|(k, v)| (k.as_str(), v.as_str()));
    assert_eq!(from_pairs(borrowed(MAX_ROWS)).unwrap().len(), MAX_ROWS);
    assert_eq!(from_pairs(borrowed(MAX_ROWS + 1)), None);
    let odd = [("rules.x.what", "all"), ("rules.3", "y"), ("rules.5.what", "nonsense"), ("other", "1")];
    assert_eq!(from_pairs(odd).unwrap(), [Row::new(0, What::Json)]);
}

#[test]
fn boxes_that_are_ticked_are_a_list() {
    let posted = [("rules.0.choice", "opt_in"), ("rules.0.choice", "a, b"), ("rules.1.what", "json")];
    let rows = from_pairs(posted).unwrap();
    assert_eq!(split(&rows[0].value), ["opt_in", "a, b"]);
}

fn leaf() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[a-z ,\"]{0,6}", "\\PC{0,8}", "\\p{any}{0,4}"];
    let number = prop_oneof![
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| json!(n)),
    ];
    let scalar =
        prop_oneof![text.clone().prop_map(|t| json!(t)), number, any::<bool>().prop_map(|b| json!(b))];
    let value = prop_oneof![scalar.clone(), prop::collection::vec(scalar, 0..4).prop_map(Value::Array)];
    let operator = prop::sample::select(vec![
        "equals",
        "not_equals",
        "in",
        "not_in",
        "contains",
        "starts_with",
        "exists",
        "not_exists",
        "gt",
        "gte",
        "lt",
        "lte",
        "before",
        "after",
        "within_last",
    ]);
    let about = prop_oneof![
        text.clone().prop_map(|name| ("attribute", name)),
        prop::sample::select(vec!["phone", "country", "consent", "created_at", "last_inbound_at", "topic"])
            .prop_map(|name| ("field", name.to_owned())),
    ];
    let comparison =
        (about, operator, prop::option::of(value)).prop_map(|((kind, name), operator, value)| {
            let mut rule = json!({kind: name, "operator": operator});
            if let Some(value) = value {
                rule["value"] = value;
            }
            rule
        });
    let span = prop::option::of("[0-9]{1,3}[mhdw]");
    let engagement =
        (text.clone(), prop::option::of(1..99_i64), span.clone()).prop_map(|(name, id, span)| {
            let mut rule = json!({"engagement": name});
            put(&mut rule, "campaign_id", id.map(|id| json!(id)));
            put(&mut rule, "within_last", span.map(|span| json!(span)));
            rule
        });
    let trigger = (text.clone(), prop::option::of(1..9_u32), span).prop_map(|(name, n, span)| {
        let mut rule = json!({"trigger": name});
        put(&mut rule, "at_least", n.map(|n| json!(n)));
        put(&mut rule, "within_last", span.map(|span| json!(span)));
        rule
    });
    let sample =
        (0.0001_f64..100.0, text).prop_map(|(p, seed)| json!({"sample": {"percent": p, "seed": seed}}));
    prop_oneof![8 => comparison, 2 => engagement, 2 => trigger, 1 => sample]
}

fn tree() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(8, 100, 5, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            list.clone().prop_map(|items| json!({"all": items})),
            list.clone().prop_map(|items| json!({"any": items})),
            list.prop_map(|items| json!({"not": {"any": items}})),
            inner.prop_map(|item| json!({"not": item})),
        ]
    })
}

proptest! {
    #[test]
    fn any_definition_comes_back_from_a_form_as_it_was(json in tree()) {
        prop_assert_eq!(through_a_form(&json), json);
    }

    #[test]
    fn whatever_a_form_says_becomes_some_definition_and_stays_the_same_from_there(
        posted in prop::collection::vec(("rules\\.[0-9]\\.(what|depth|operator|value|name)",
                                         "(all|any|not|none|json|attribute|sample|is|at_least|[0-9]|x)"), 0..30),
    ) {
        let rows = from_pairs(posted.iter().map(|(k, v)| (k.as_str(), v.as_str()))).unwrap();
        let built = definition(&rows, "definition");
        let _ = Definition::parse(&built.definition);
        let _ = summary(&built.definition);
        if built.errors.is_empty() {
            prop_assert_eq!(through_a_form(&built.definition), built.definition);
        }
    }

    #[test]
    fn lines_are_found_in_any_text(text in "[\\[\\]{}\",:a\\n\\\\ ]{0,40}") {
        let _ = lines(&text, "definition");
    }
}
