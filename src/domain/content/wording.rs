//! The words of a content template: what WhatsApp asks of them, and how they come out of a text of ours.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::template::{RenderError, Template, TemplateError};

/// Variables of one template, and characters of a name and of a sample
/// (<https://www.twilio.com/docs/content/using-variables-with-content-api>).
const MAX_VARIABLES: usize = 100;
const MAX_NAME: usize = 16;
const MAX_SAMPLE: usize = 1_600;
/// Characters of the text: the most that Twilio takes in one message.
const MAX_BODY: usize = 1_600;
/// More blanks in a row than this are refused (<https://www.twilio.com/docs/api/errors/63013>).
const MANY_BLANKS: &str = "     ";

/// A text as Twilio wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct Wording {
    /// With `{{1}}`, `{{2}}` …
    pub body: String,
    /// Twilio's variable to our text: `"1"` to `"{name}"`.
    pub variables: Map<String, Value>,
    /// Twilio's variable to an example, which WhatsApp asks for.
    pub samples: BTreeMap<String, String>,
}

/// Why a text can't be made into a content template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The text is broken.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// It prints two braces in a row, which Twilio would read as a variable.
    #[error("two braces in a row would be a variable at Twilio; leave them out")]
    Braces,
    /// Variables without an example and without a fallback.
    #[error("no example for {}", .0.join(", "))]
    NoExample(Vec<String>),
    /// An example can't be rendered.
    #[error("an example can't be used: {0}")]
    Example(String),
}

impl Wording {
    /// Numbers the placeholders of a text in order of first use; the same placeholder keeps its number.
    /// Examples come from `example`, by the names of the text, or else from fallbacks.
    ///
    /// # Errors
    /// [`DraftError`] says what is missing.
    pub fn of_template(body: &str, example: &Map<String, Value>) -> Result<Wording, DraftError> {
        let numbered = Template::parse(body)?.numbered();
        if numbered.has_double_braces {
            return Err(DraftError::Braces);
        }
        let (mut variables, mut samples, mut missing) = (Map::new(), BTreeMap::new(), Vec::new());
        for (index, source) in numbered.placeholders.iter().enumerate() {
            let (number, text) = ((index + 1).to_string(), format!("{{{source}}}"));
            match Template::parse(&text)?.render(example) {
                Ok(sample) => {
                    let sample = sample.split_whitespace().collect::<Vec<_>>().join(" ");
                    samples.insert(number.clone(), sample);
                }
                Err(RenderError::Missing(names)) => {
                    missing
                        .extend(names.into_iter().filter(|name| !missing.contains(name)).collect::<Vec<_>>());
                }
                Err(error) => return Err(DraftError::Example(error.to_string())),
            }
            variables.insert(number, Value::String(text));
        }
        if !missing.is_empty() {
            return Err(DraftError::NoExample(missing));
        }
        Ok(Wording { body: numbered.body, variables, samples })
    }
}

/// A stretch of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stretch<'a> {
    Text(&'a str),
    Variable(&'a str),
}

fn stretches(body: &str) -> Vec<Stretch<'_>> {
    let mut found = Vec::new();
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else {
            break;
        };
        found.push(Stretch::Text(before));
        found.push(Stretch::Variable(name.trim()));
        rest = behind;
    }
    found.push(Stretch::Text(rest));
    found
}

/// The variables of a text, each once, in order of first use.
pub fn variables_of(body: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for stretch in stretches(body) {
        if let Stretch::Variable(name) = stretch
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}

/// What WhatsApp would refuse about a text with these examples: the field (`body` or `variables.1`) and what is
/// wrong. Empty for one that can be submitted.
pub fn faults(body: &str, samples: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut of_body = |message: &str| found.push(("body".to_owned(), message.to_owned()));
    if body.chars().count() > MAX_BODY {
        of_body(&format!("at most {MAX_BODY} characters"));
    }
    if body.contains(MANY_BLANKS) {
        of_body("more than four blanks in a row");
    }
    let names = variables_of(body);
    if names.len() > MAX_VARIABLES {
        of_body(&format!("at most {MAX_VARIABLES} variables"));
    }
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        of_body(&format!("{{{{{name}}}}}: a name has 1 to {MAX_NAME} letters, digits or _"));
    }
    for message in shape_faults(body, &names) {
        of_body(&message);
    }
    for name in &names {
        let Some(fault) = sample_fault(samples.get(name).map(String::as_str)) else {
            continue;
        };
        found.push((format!("variables.{name}"), fault));
    }
    for name in samples.keys().filter(|name| !names.contains(name)) {
        found.push((format!("variables.{name}"), format!("the body has no {{{{{name}}}}}")));
    }
    found
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Where variables may stand, how they are numbered, and how many words they need beside them.
fn shape_faults(body: &str, names: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut numbers: Vec<usize> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    if numbers.iter().enumerate().any(|(index, number)| *number != index + 1) {
        found.push("numbered variables begin at {{1}} and leave no number out".to_owned());
    }
    let pieces = stretches(body.trim());
    let is_blank = |stretch: &Stretch<'_>| matches!(stretch, Stretch::Text(text) if text.trim().is_empty());
    if !names.is_empty() && (pieces.first().is_some_and(is_blank) || pieces.last().is_some_and(is_blank)) {
        found.push("a variable can't stand at the beginning or the end; add words around it".to_owned());
    }
    let inner = pieces.get(1..pieces.len().saturating_sub(1)).unwrap_or_default();
    if inner.iter().any(is_blank) {
        found.push("two variables can't stand side by side; add words between them".to_owned());
    }
    let words = pieces
        .iter()
        .filter_map(|stretch| match stretch {
            Stretch::Text(text) => Some(text.split_whitespace()),
            Stretch::Variable(_) => None,
        })
        .flatten()
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .count();
    let variables = pieces.iter().filter(|stretch| matches!(stretch, Stretch::Variable(_))).count();
    if words < 2 * variables + 1 {
        found.push(format!(
            "{variables} variables need at least {} words beside them, and there are {words}",
            2 * variables + 1
        ));
    }
    found
}

fn sample_fault(sample: Option<&str>) -> Option<String> {
    let Some(sample) = sample.filter(|sample| !sample.trim().is_empty()) else {
        return Some("missing: WhatsApp asks for an example of every variable".to_owned());
    };
    if sample.chars().count() > MAX_SAMPLE {
        Some(format!("at most {MAX_SAMPLE} characters"))
    } else if sample.contains(['\n', '\r', '\t']) || sample.contains(MANY_BLANKS) {
        Some("no line breaks, tabs or more than four blanks in a row".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn samples(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, sample)| ((*name).to_owned(), (*sample).to_owned())).collect()
    }

    fn example(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn placeholders_become_numbers_and_keep_their_filters() {
        let body =
            "Hello {name}, your order {order|upper} is ready. Bye {name}, or {nick|default(\"friend\")}!";
        let wording = Wording::of_template(body, &example(json!({"name": "Ana", "order": "a-1"}))).unwrap();
        assert_eq!(wording.body, "Hello {{1}}, your order {{2}} is ready. Bye {{1}}, or {{3}}!");
        assert_eq!(
            Value::Object(wording.variables),
            json!({"1": "{name}", "2": "{order|upper}", "3": "{nick|default(\"friend\")}"})
        );
        assert_eq!(wording.samples, samples(&[("1", "Ana"), ("2", "A-1"), ("3", "friend")]));
    }

    #[test]
    fn what_has_no_example_is_named_and_printed_braces_are_refused() {
        let error = Wording::of_template("Hi {name} from {city}, {name}", &Map::new()).unwrap_err();
        assert_eq!(error, DraftError::NoExample(vec!["name".to_owned(), "city".to_owned()]));
        let error = Wording::of_template("Hi {{{{name}}}}", &Map::new()).unwrap_err();
        assert_eq!(error, DraftError::Braces);
        let plain = Wording::of_template("A {{ brace", &Map::new()).unwrap();
        assert_eq!(plain.body, "A { brace");
    }

    /// A text, its samples, and the fields at fault.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

    #[test]
    fn each_rule_of_whatsapp_is_named_and_a_good_text_has_no_fault() {
        let long = "a".repeat(1_601);
        let table: &[Case<'_>] = &[
            ("Hello {{1}}, your order {{2}} is on its way to you.", &[("1", "Ana"), ("2", "A-1")], &[]),
            ("No variables at all.", &[], &[]),
            ("{{1}}, welcome to our little shop.", &[("1", "Ana")], &["body"]),
            ("Welcome to our little shop, {{1}}", &[("1", "Ana")], &["body"]),
            ("We greet you {{1}} {{2}} in our little shop", &[("1", "a"), ("2", "b")], &["body"]),
            ("Dear {{1}}, all of us greet {{3}} today.", &[("1", "a"), ("3", "b")], &["body"]),
            ("Hi {{1}} bye", &[("1", "Ana")], &["body"]),
            ("Hi {{first name}}, welcome to us", &[("first name", "Ana")], &["body"]),
            ("Hi {{1}}, welcome to our shop.", &[], &["variables.1"]),
            ("Hi {{1}}, welcome to our shop.", &[("1", "a\nb")], &["variables.1"]),
            ("Hi {{1}}, welcome to our shop.", &[("1", "a     b")], &["variables.1"]),
            ("Hi {{1}}, welcome to our shop.", &[("1", &long)], &["variables.1"]),
            ("Hi {{1}}, welcome to our shop.", &[("1", "a"), ("2", "b")], &["variables.2"]),
            ("Hi     there, my friend", &[], &["body"]),
            (&long, &[], &["body"]),
        ];
        for (body, given, fields) in table {
            let found: Vec<String> =
                faults(body, &samples(given)).into_iter().map(|(field, _)| field).collect();
            assert_eq!(found, *fields, "{body}");
        }
    }

    #[test]
    fn variables_are_read_in_order_and_an_open_brace_is_text() {
        assert_eq!(variables_of("a {{2}} b {{ name }} c {{2}} d {{"), ["2", "name"]);
        assert!(variables_of("nothing").is_empty());
    }
}
