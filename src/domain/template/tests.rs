//! Tables for the template language; the language itself is in the neighbouring files.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn context(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => panic!("not an object: {other}"),
    }
}

fn ana() -> Map<String, Value> {
    context(json!({
        "name": "Ana", "empty": "", "nothing": null, "blank": "  ", "age": 5, "price": 5.5,
        "whole": 5.0, "big": 12_345_678_901_234_567_890_u64, "is_member": true,
        "address": {"city": "Galle", "zip": null}, "tags": ["a", "b"], "none": [],
        "first-name": "Ana", "ශ්‍රී": "x", "Straße": "Ring", "html": "<b>&", "mean": "{name}",
        "digits": "12.345",
    }))
}

fn render(body: &str) -> Result<String, RenderError> {
    Template::parse(body).expect(body).render(&ana())
}

#[test]
fn placeholders_are_filled() {
    let rows = [
        ("", ""),
        ("Hi", "Hi"),
        ("Hi {name}", "Hi Ana"),
        ("{ name }, {name}", "Ana, Ana"),
        ("{{name}} {{{name}}}", "{name} {Ana}"),
        ("{age} {price} {whole} {big} {is_member}", "5 5.5 5 12345678901234567890 true"),
        ("{address.city|upper}", "GALLE"),
        ("{tags.1} {tags|join(\", \")} {tags|length}", "b a, b 2"),
        ("{first-name} {ශ්‍රී} {Straße}", "Ana x Ring"),
        ("{html}{mean}", "<b>&{name}"),
        ("{name|replace(\"A\", 'E')|lower}", "ena"),
        ("{name|replace(name, 'x')}", "x"),
        ("{digits|float|round(1)} {digits|float|int}", "12.3 12"),
        ("{price|round} {age|float}", "6 5"),
        ("{name|default(\"}\")} {empty|default('}\\'{')}", "Ana }'{"),
        ("line\r\n{name}\t€ 👍", "line\r\nAna\t€ 👍"),
    ];
    for (body, expected) in rows {
        assert_eq!(render(body).as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn a_fallback_stands_in_for_what_is_missing() {
    let rows = [
        ("{name|default(\"there\")}", "Ana"),
        ("{absent|default(\"there\")}", "there"),
        ("{empty|default(\"there\")}", "there"),
        ("{nothing|d(\"there\")}", "there"),
        ("{absent.city|default(\"there\")}", "there"),
        ("{name.city|default(\"there\")}", "there"),
        ("{address.zip|default(\"there\", true)}", "there"),
        ("{absent|upper|default(\"there\")}", "there"),
        ("{blank|trim|default(\"there\")}", "there"),
        ("{none|first|default(\"there\")}", "there"),
        ("{absent|default(\"there\")|upper}", "THERE"),
        ("{absent|default(name)}", "Ana"),
        ("{absent|default(empty)|default(7)}", "7"),
        ("{absent|default(\"\")}!", "!"),
    ];
    for (body, expected) in rows {
        assert_eq!(render(body).as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn all_missing_variables_are_told_at_once() {
    let rows: [(&str, &[&str]); 8] = [
        ("{a} {name} {b.c} {a}", &["a", "b.c"]),
        ("{empty}{nothing}", &["empty", "nothing"]),
        ("{address.zip|upper}", &["address.zip"]),
        ("{a|default(\"x\")} {b}", &["b"]),
        ("{a|default(b)}", &["b"]),
        ("{tags|join(separator)}", &["separator"]),
        ("{blank|trim}", &["blank"]),
        ("{tags.7}", &["tags.7"]),
    ];
    for (body, names) in rows {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(render(body), Err(RenderError::Missing(names)), "{body}");
    }
}

/// Body, line, column, the placeholder as told, and a piece of the reason.
const REFUSED: [(&str, usize, usize, &str, &str); 20] = [
    ("Hi {name", 1, 4, "{name", "`}` is missing"),
    ("Hi\n {name|default(\"x}", 2, 2, "{name|default(\"x}", "quote is not closed"),
    ("a } b", 1, 3, "}", "without its `{`"),
    ("{}", 1, 1, "{}", "name is missing"),
    ("{ }", 1, 1, "{ }", "name is missing"),
    ("{% if x %}", 1, 1, "{% if x %}", "tags"),
    ("{a b}", 1, 1, "{a b}", "no spaces"),
    ("{a {b}", 1, 1, "{a {", "brace inside"),
    ("{name|uper}", 1, 1, "{name|uper}", "did you mean `upper`?"),
    ("{name|indent(99)}", 1, 1, "{name|indent(99)}", "no filter `indent`"),
    ("{name|}", 1, 1, "{name|}", "filter is missing"),
    ("{name|default}", 1, 1, "{name|default}", "default(\"there\")"),
    ("{name|default(“x”)}", 1, 1, "{name|default(“x”)}", "straight quotes"),
    ("{name|upper(1)}", 1, 1, "{name|upper(1)}", "takes no arguments"),
    ("{name|replace('a' 'b')}", 1, 1, "{name|replace('a' 'b')}", "`,` or `)`"),
    ("{a.}", 1, 1, "{a.}", "behind `.`"),
    ("{1 + 1}", 1, 1, "{1 + 1}", "begins no name"),
    ("{a * b}", 1, 1, "{a * b}", "`*` is not expected"),
    ("{range(9)}", 1, 1, "{range(9)}", "can't be called"),
    ("{a|round(1.2.3)}", 1, 1, "{a|round(1.2.3)}", "not a number"),
];

#[test]
fn an_error_names_the_place_and_what_to_write() {
    for (body, line, column, placeholder, reason) in REFUSED {
        let Err(TemplateError::Placeholder { line: l, column: c, placeholder: p, reason: r }) =
            Template::parse(body)
        else {
            panic!("{body} was taken");
        };
        assert_eq!((l, c, p.as_str()), (line, column, placeholder), "{body}");
        assert!(r.contains(reason), "{body}: {r}");
    }
}

#[test]
fn sizes_are_bounded() {
    assert!(Template::parse(&"é".repeat(MAX_BODY)).is_ok());
    let error = Template::parse(&"é".repeat(MAX_BODY + 1)).expect_err("too long");
    assert_eq!(error, TemplateError::TooLong);
    assert!(Template::parse(&"{a}".repeat(MAX_PLACEHOLDERS)).is_ok());
    let error = Template::parse(&"{a}".repeat(MAX_PLACEHOLDERS + 1)).expect_err("too many");
    assert_eq!(error, TemplateError::TooManyPlaceholders);
    assert!(Template::parse(&format!("{{{}}}", "a".repeat(MAX_EXPRESSION))).is_ok());
    assert!(Template::parse(&format!("{{{}}}", "a".repeat(MAX_EXPRESSION + 1))).is_err());

    let template = Template::parse("{a}").expect("template");
    let long = |length: usize| context(json!({"a": "é".repeat(length)}));
    assert!(template.render(&long(MAX_OUTPUT)).is_ok());
    assert_eq!(template.render(&long(MAX_OUTPUT + 1)), Err(RenderError::TooLong));
}

#[test]
fn a_growing_chain_of_filters_is_refused() {
    let grow = "|replace('a','aaaaaaaaaaaaaaaa')".repeat(4);
    let template = Template::parse(&format!("{{a{grow}}}")).expect("template");
    let outcome = template.render(&context(json!({"a": "a".repeat(1000)})));
    assert!(matches!(outcome, Err(RenderError::Failed(_))), "{outcome:?}");
}

#[test]
fn what_is_no_text_fails_with_a_hint() {
    for body in ["{tags}", "{address}", "{tags|sort}", "{name|abs}", "{name|int}"] {
        assert!(matches!(render(body), Err(RenderError::Failed(_))), "{body}");
    }
}

#[test]
fn variables_are_listed_once_in_order_of_use() {
    let template = Template::parse("{b|default(c)} {a.x} {b} {d|join(e)} {{f}}").expect("template");
    assert_eq!(template.variables(), ["b", "c", "a.x", "d", "e"]);
}

#[test]
fn templates_are_shared_between_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Template>();
    is_shared::<ContentVariables>();
}

#[test]
fn business_answers_that_change_consent_are_warned_of() {
    let warned = [
        ("Reply YES to confirm", "YES"),
        ("Please reply with \"yes\" to confirm your visit", "YES"),
        ("Reply C to confirm or CANCEL to cancel your appointment", "CANCEL"),
        ("Text STOP to cancel your order", "STOP"),
        ("Type END when you are done", "END"),
        ("Send quit for the next question", "QUIT"),
        ("REPLY YES TO CONFIRM", "YES"),
        ("Reply STOP or START for the game", "STOP"),
    ];
    for (body, keyword) in warned {
        let warnings = warnings(body);
        assert_eq!(warnings.len(), 1, "{body}: {warnings:?}");
        assert!(warnings[0].contains(keyword), "{body}: {warnings:?}");
    }
    let quiet = [
        "Hi {name}",
        "Reply STOP to opt out",
        "Reply STOP to unsubscribe.",
        "Sale! Reply STOP",
        "Txt STOP 2 end. Thanks",
        "Reply STOP to cancel",
        "Reply STOP, END or QUIT to unsubscribe",
        "Text STOP to stop receiving messages, HELP for help",
        "Reply STOP at any time to opt-out",
        "Reply STOP to end these texts",
        "Send us a photo before the end of May",
        "SEND US A PHOTO BEFORE THE END OF MAY",
        "We write to say the shop is closed. YES, closed",
        "Stop by and say hello",
        "{{ is a brace, so is }}",
    ];
    for body in quiet {
        assert_eq!(warnings(body), Vec::<String>::new(), "{body}");
    }
}

#[test]
fn doubled_braces_are_warned_of() {
    let warnings = warnings("Hi {{ name }}");
    assert_eq!(warnings, ["`{{name}}` prints {name} as it stands; write `{name}` for the variable"]);
}

#[test]
fn content_variables_become_one_json_text() {
    let variables =
        ContentVariables::parse(&context(json!({"1": "{name}", "2": "{address.city}, {a|default('x')}"})))
            .expect("variables");
    assert_eq!(variables.variables(), ["name", "address.city", "a"]);
    assert_eq!(variables.render(&ana()).as_deref(), Ok(r#"{"1":"Ana","2":"Galle, x"}"#));
    let spaced = context(json!({"name": " A\r\n\tB     \"C\" ", "address": {"city": "x"}}));
    assert_eq!(variables.render(&spaced).as_deref(), Ok(r#"{"1":"A B \"C\"","2":"x, x"}"#));
    assert_eq!(
        variables.render(&Map::new()),
        Err(RenderError::Missing(vec!["name".into(), "address.city".into()]))
    );
    let long = context(json!({"name": "x".repeat(1601), "address": {"city": "x"}}));
    assert_eq!(variables.render(&long), Err(RenderError::TooLong));
    let blank = context(json!({"name": " \n ", "address": {"city": "x"}}));
    assert!(matches!(variables.render(&blank), Err(RenderError::Failed(_))));
}

#[test]
fn content_variables_are_checked() {
    let rows = [
        json!({"": "x"}),
        json!({"a b": "x"}),
        json!({"abcdefghijklmnopq": "x"}),
        json!({"1": 5}),
        json!({"1": " "}),
        json!({"1": "{name"}),
    ];
    for row in rows {
        let error = ContentVariables::parse(&context(row.clone())).expect_err("refused");
        assert!(matches!(error, TemplateError::ContentVariable { .. }), "{row}: {error}");
    }
}

proptest! {
    #[test]
    fn any_body_is_taken_or_refused_without_a_panic(body in "[{}|.,()\"'\\\\a-c0-9% \\n“é]{0,60}") {
        if let Ok(template) = Template::parse(&body) {
            let _ = template.render(&context(json!({"a": "x", "b": {"c": 1}})));
        }
        let _ = warnings(&body);
    }

    #[test]
    fn text_with_doubled_braces_comes_out_as_it_went_in(text in "\\PC{0,80}") {
        let body = text.replace('{', "{{").replace('}', "}}");
        let template = Template::parse(&body).expect("escaped text");
        prop_assert_eq!(template.render(&Map::new()), Ok(text));
    }
}

#[test]
fn a_preview_shows_each_piece_and_what_is_missing_at_its_place() {
    let template = Template::parse("Hi {name|default(\"you\")}, {city}: {n|round(\"x\")} {{ok}}").unwrap();
    let context = json!({"n": 5});
    let shown = template.shown(context.as_object().unwrap());
    assert_eq!(
        shown[..4],
        [
            Shown::Text("Hi ".to_owned()),
            Shown::Value("you".to_owned()),
            Shown::Text(", ".to_owned()),
            Shown::Missing("city".to_owned()),
        ]
    );
    assert!(matches!(&shown[5], Shown::Failed(source, _) if source.starts_with("n|round")), "{shown:?}");
    assert_eq!(shown[6], Shown::Text(" {ok}".to_owned()));
    let long = Template::parse(&"{a}".repeat(100)).unwrap();
    let context = json!({"a": "x".repeat(5_000)});
    assert_eq!(long.shown(context.as_object().unwrap()).len(), 3, "a preview ends");
}
