//! What attributes there are: names, the types that their values have, how many people have each, a few
//! examples, and the values that most of them share. Here is the counting; it sees one person after the other
//! and keeps within bounds whatever they hold, so that a hundred thousand names of an attacker cost no more
//! than four thousand.
//!
//! A name is a path as segments and templates write it: `city`, `address.city`, and `a\.b` for a key with a dot.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Names that a catalogue shows: those that most people have.
pub const MAX_NAMES: usize = 1_000;
/// Values kept for one name.
pub const MAX_VALUES: usize = 50;
/// Examples kept for one name, each of another person and another value.
pub const MAX_EXAMPLES: usize = 3;
/// A value that fewer people share is nobody's to suggest: it may tell who somebody is.
pub const FEWEST_HOLDERS: u64 = 3;
/// Longest value that is suggested, in characters; an example is cut there.
pub const MAX_TEXT: usize = 80;

/// Names counted at a time. When there are more, the rarer half is forgotten.
const MAX_COUNTED_NAMES: usize = 4_000;
/// Values counted at a time for one name; more, and the rarer half is forgotten.
const MAX_COUNTED_VALUES: usize = 200;
/// After so many forgettings without a value that two people share, the values of a name count as all different.
const PATIENCE: u32 = 10;
/// How deep objects are walked into, and how many elements of a list are looked at.
const MAX_DEPTH: usize = 4;
const MAX_ELEMENTS: usize = 20;
/// Longest path, in characters: the most that a segment takes.
const MAX_PATH: usize = 500;

/// How many people hold which type under a name. `numbers` and `dates` are texts that read as one, which is what
/// a CSV file gives; they are counted in `text` too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Texts.
    pub text: u64,
    /// Texts that are a number.
    pub numbers: u64,
    /// Texts that begin with a date: `2026-11-23`.
    pub dates: u64,
    /// Numbers.
    pub number: u64,
    /// true or false.
    pub boolean: u64,
    /// Lists.
    pub list: u64,
    /// Objects: their members are names of their own.
    pub object: u64,
}

/// What most values of a name are, for whoever offers operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Numbers, or texts that are.
    Number,
    /// Dates and instants, as text.
    Date,
    /// true and false.
    Boolean,
    /// Lists.
    List,
    /// Objects.
    Object,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Number => "number",
            Kind::Date => "date",
            Kind::Boolean => "yes or no",
            Kind::List => "list",
            Kind::Object => "group",
        }
    }
}

impl Kinds {
    /// The kind that more than half of the values are of; else text.
    pub fn main(&self) -> Kind {
        let all = self.text + self.number + self.boolean + self.list + self.object;
        [
            (Kind::Number, self.number + self.numbers),
            (Kind::Date, self.dates),
            (Kind::Boolean, self.boolean),
            (Kind::List, self.list),
            (Kind::Object, self.object),
        ]
        .into_iter()
        .find(|(_, n)| *n * 2 > all)
        .map_or(Kind::Text, |(kind, _)| kind)
    }

    /// Each type that was seen, with the number of people, the most frequent first.
    pub fn seen(&self) -> Vec<(&'static str, u64)> {
        let plain = self.text - (self.numbers + self.dates).min(self.text);
        let mut seen = vec![
            ("text", plain),
            ("number as text", self.numbers),
            ("date", self.dates),
            ("number", self.number),
            ("yes or no", self.boolean),
            ("list", self.list),
            ("group", self.object),
        ];
        seen.retain(|(_, n)| *n > 0);
        seen.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        seen
    }

    fn note(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::String(text) => {
                self.text += 1;
                self.numbers += u64::from(is_number(text));
                self.dates += u64::from(is_date(text));
            }
            Value::Number(_) => self.number += 1,
            Value::Bool(_) => self.boolean += 1,
            Value::Array(_) => self.list += 1,
            Value::Object(_) => self.object += 1,
        }
    }
}

fn is_number(text: &str) -> bool {
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
    begins && text.len() <= 30 && text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_date(text: &str) -> bool {
    let looks_so = text.as_bytes().get(4) == Some(&b'-') && text.as_bytes().get(7) == Some(&b'-');
    looks_so && text.get(..10).is_some_and(|date| date.parse::<jiff::civil::Date>().is_ok())
}

/// A value that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// `users.id`: an erasure of that person takes the example with it.
    pub user_id: i64,
    /// As it is shown, at most [`MAX_TEXT`] characters.
    pub value: String,
}

/// One attribute of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The path.
    pub name: String,
    /// How many people have a value: neither null nor "".
    pub people: u64,
    /// Of which types.
    pub kinds: Kinds,
    /// False when the count may lack people, because the name was forgotten for a while.
    pub is_exact: bool,
    /// Hardly a value comes twice.
    pub is_varied: bool,
    /// A few of the values.
    pub examples: Vec<Example>,
    /// The most frequent values with the least number of people who hold them.
    pub values: Vec<(String, u64)>,
}

#[derive(Debug, Default)]
struct Counted {
    people: u64,
    kinds: Kinds,
    is_late: bool,
    examples: Vec<Example>,
    values: HashMap<String, u64>,
    forgettings: u32,
    is_varied: bool,
}

/// Counts the attributes of people who come one by one.
#[derive(Debug, Default)]
pub struct Count {
    people: u64,
    names: HashMap<String, Counted>,
    has_forgotten: bool,
}

/// What the counting came to.
#[derive(Debug)]
pub struct Counts {
    /// How many people were looked at.
    pub people: u64,
    /// The attributes, the most frequent first.
    pub attributes: Vec<Attribute>,
    /// There are more names than are told.
    pub is_cut: bool,
}

impl Count {
    /// Counts one more person.
    pub fn note(&mut self, user_id: i64, attributes: &Map<String, Value>) {
        self.people += 1;
        self.walk(user_id, "", attributes, 1);
    }

    /// How many were counted.
    pub fn people(&self) -> u64 {
        self.people
    }

    fn walk(&mut self, user_id: i64, prefix: &str, members: &Map<String, Value>, depth: usize) {
        for (key, value) in members {
            if value.is_null() || value.as_str() == Some("") {
                continue;
            }
            if prefix.is_empty() && !key.contains(['.', '\\']) {
                self.count(user_id, key, value);
            } else {
                let path = joined(prefix, key);
                if path.chars().count() <= MAX_PATH {
                    self.count(user_id, &path, value);
                }
            }
            if let Value::Object(inner) = value
                && depth < MAX_DEPTH
            {
                self.walk(user_id, &joined(prefix, key), inner, depth + 1);
            }
        }
    }

    fn count(&mut self, user_id: i64, name: &str, value: &Value) {
        if let Some(counted) = self.names.get_mut(name) {
            return counted.note(user_id, value);
        }
        if self.names.len() >= MAX_COUNTED_NAMES {
            forget_rarer_half(&mut self.names, |counted| counted.people);
            self.has_forgotten = true;
        }
        let mut counted = Counted { is_late: self.has_forgotten, ..Counted::default() };
        counted.note(user_id, value);
        self.names.insert(name.to_owned(), counted);
    }

    /// The catalogue.
    pub fn finish(self) -> Counts {
        let is_cut = self.has_forgotten || self.names.len() > MAX_NAMES;
        let mut attributes: Vec<Attribute> =
            self.names.into_iter().map(|(name, counted)| counted.finish(name)).collect();
        attributes.sort_by(|a, b| b.people.cmp(&a.people).then_with(|| a.name.cmp(&b.name)));
        attributes.truncate(MAX_NAMES);
        Counts { people: self.people, attributes, is_cut }
    }
}

impl Counted {
    fn note(&mut self, user_id: i64, value: &Value) {
        self.people += 1;
        self.kinds.note(value);
        match value {
            Value::Array(elements) => {
                let mut seen: Vec<String> = elements.iter().take(MAX_ELEMENTS).filter_map(shown).collect();
                seen.sort();
                seen.dedup();
                if self.examples.len() < MAX_EXAMPLES && !seen.is_empty() {
                    self.exemplify(user_id, &seen.join(", "));
                }
                seen.into_iter().for_each(|element| self.hold(&element));
            }
            Value::String(text) => self.note_text(user_id, text),
            other => {
                if let Some(text) = shown(other) {
                    self.note_text(user_id, &text);
                }
            }
        }
    }

    fn note_text(&mut self, user_id: i64, text: &str) {
        self.exemplify(user_id, text);
        self.hold(text);
    }

    fn exemplify(&mut self, user_id: i64, text: &str) {
        if self.examples.len() >= MAX_EXAMPLES {
            return;
        }
        let value = cut(text);
        if !self.examples.iter().any(|example| example.value == value) {
            self.examples.push(Example { user_id, value });
        }
    }

    fn hold(&mut self, text: &str) {
        if self.is_varied {
            return;
        }
        if let Some(n) = self.values.get_mut(text) {
            *n += 1;
            return;
        }
        // Bytes first: they are never fewer than the characters.
        if text.len() > MAX_TEXT && text.chars().count() > MAX_TEXT {
            return;
        }
        if self.values.len() >= MAX_COUNTED_VALUES {
            let is_shared = self.values.values().any(|n| *n > 1);
            self.forgettings += 1;
            if !is_shared && self.forgettings > PATIENCE {
                self.is_varied = true;
                self.values = HashMap::new();
                return;
            }
            forget_rarer_half(&mut self.values, |n| *n);
        }
        self.values.insert(text.to_owned(), 1);
    }

    fn finish(self, name: String) -> Attribute {
        let mut values: Vec<(String, u64)> =
            self.values.into_iter().filter(|(_, n)| *n >= FEWEST_HOLDERS).collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        values.truncate(MAX_VALUES);
        Attribute {
            name,
            people: self.people,
            kinds: self.kinds,
            is_exact: !self.is_late,
            is_varied: self.is_varied,
            examples: self.examples,
            values,
        }
    }
}

/// Keeps the half that counts most; of equals, those that come first by name.
fn forget_rarer_half<T>(counted: &mut HashMap<String, T>, weight: impl Fn(&T) -> u64) {
    let mut order: Vec<(u64, String)> =
        counted.iter().map(|(name, counted)| (weight(counted), name.clone())).collect();
    order.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    for (_, name) in order.drain(counted.len() / 2..) {
        counted.remove(&name);
    }
}

/// The values of a person as [`Count`] counts them, each under its path: what an erasure takes back.
pub fn held(attributes: &Map<String, Value>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect("", attributes, 1, &mut found);
    found
}

fn collect(prefix: &str, members: &Map<String, Value>, depth: usize, found: &mut Vec<(String, String)>) {
    for (key, value) in members {
        let path = joined(prefix, key);
        match value {
            Value::Object(inner) if depth < MAX_DEPTH => collect(&path, inner, depth + 1, found),
            Value::Array(elements) => {
                let mut seen: Vec<String> = elements.iter().take(MAX_ELEMENTS).filter_map(shown).collect();
                seen.sort();
                seen.dedup();
                found.extend(seen.into_iter().map(|element| (path.clone(), element)));
            }
            other => found.extend(shown(other).map(|text| (path.clone(), text))),
        }
    }
}

/// A single value as text; nothing for what holds no value or several.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_true) => Some(is_true.to_string()),
        _ => None,
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT - 1) {
        Some((end, last)) if end + last.len_utf8() < text.len() => {
            format!("{}…", text.get(..end).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

/// A key behind a path, as segments write it.
fn joined(prefix: &str, key: &str) -> String {
    let mut path = String::with_capacity(prefix.len() + key.len() + 1);
    path.push_str(prefix);
    if !prefix.is_empty() {
        path.push('.');
    }
    for character in key.chars() {
        if matches!(character, '.' | '\\') {
            path.push('\\');
        }
        path.push(character);
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::segment::{Condition, Definition, Node};

    fn count(people: &[Value]) -> Counts {
        let mut count = Count::default();
        for (id, person) in people.iter().enumerate() {
            count.note(id as i64 + 1, person.as_object().unwrap());
        }
        count.finish()
    }

    fn of<'a>(counts: &'a Counts, name: &str) -> &'a Attribute {
        counts.attributes.iter().find(|attribute| attribute.name == name).unwrap()
    }

    #[test]
    fn names_types_examples_and_shared_values_are_counted() {
        let counts = count(&[
            json!({"city": "Kandy", "visits": 3, "vip": true, "address": {"zip": "8000"}, "tags": ["a", "b"]}),
            json!({"city": "Kandy", "visits": "12", "vip": false, "tags": ["a", "a"]}),
            json!({"city": "Kandy", "visits": null, "joined": "2026-11-23", "tags": ["a"]}),
            json!({"city": "", "joined": "2026-13-45", "a.b": 1}),
        ]);
        let city = of(&counts, "city");
        assert_eq!((city.people, city.kinds.text), (3, 3), "an empty text is no value");
        assert_eq!(city.values, [("Kandy".to_owned(), 3)]);
        assert_eq!(city.examples, [Example { user_id: 1, value: "Kandy".to_owned() }]);
        let visits = of(&counts, "visits");
        assert_eq!((visits.people, visits.kinds.number, visits.kinds.numbers), (2, 1, 1));
        assert_eq!(visits.kinds.main(), Kind::Number);
        assert_eq!(visits.values, [], "two people are too few to name their value");
        let joined = of(&counts, "joined");
        assert_eq!((joined.kinds.text, joined.kinds.dates), (2, 1));
        assert_eq!(of(&counts, "tags").values, [("a".to_owned(), 3)], "an element counts once for a person");
        assert_eq!(of(&counts, "address").kinds.main(), Kind::Object);
        assert_eq!(of(&counts, "address.zip").people, 1);
        assert_eq!(of(&counts, "a\\.b").people, 1);
        assert_eq!(counts.attributes[0].name, "city");
        assert!(!counts.is_cut && counts.attributes.iter().all(|attribute| attribute.is_exact));
    }

    #[test]
    fn a_hundred_thousand_names_stay_bounded_and_the_frequent_ones_are_found() {
        let mut count = Count::default();
        for id in 0..100_000_i64 {
            let mut person = json!({"city": if id % 2 == 0 { "Kandy" } else { "Galle" }});
            person[format!("hostile {id}")] = json!("x");
            count.note(id, person.as_object().unwrap());
            assert!(count.names.len() <= MAX_COUNTED_NAMES);
        }
        let counts = count.finish();
        assert_eq!((counts.people, counts.attributes.len(), counts.is_cut), (100_000, MAX_NAMES, true));
        let city = &counts.attributes[0];
        assert_eq!((city.name.as_str(), city.people, city.is_exact), ("city", 100_000, true));
        assert_eq!(city.values.len(), 2);
        assert!(counts.attributes.iter().skip(1).any(|attribute| !attribute.is_exact));
    }

    #[test]
    fn values_that_all_differ_are_not_kept_and_frequent_ones_among_them_are() {
        let mut count = Count::default();
        for id in 0..20_000_i64 {
            let source = if id % 5 == 0 { "shop".to_owned() } else { format!("s{id}") };
            let person = json!({"email": format!("{id}@example.com"), "source": source,
                                "essay": "x".repeat(MAX_TEXT + 1)});
            count.note(id, person.as_object().unwrap());
        }
        let counts = count.finish();
        let email = of(&counts, "email");
        assert!(email.is_varied && email.values.is_empty(), "{email:?}");
        assert_eq!(email.examples.len(), MAX_EXAMPLES);
        assert_eq!(of(&counts, "source").values, [("shop".to_owned(), 4_000)]);
        let essay = of(&counts, "essay");
        assert!(essay.values.is_empty() && essay.examples[0].value.chars().count() == MAX_TEXT);
        assert!(essay.examples[0].value.ends_with('…'));
    }

    #[test]
    fn what_an_erasure_takes_back_is_what_was_counted() {
        let person = json!({"city": "Kandy", "n": 5, "vip": true, "tags": ["a", "a", 1], "none": null, "e": "",
                            "address": {"zip": "8000"}});
        let held = held(person.as_object().unwrap());
        let counts = count(&[person.clone(), person.clone(), person]);
        let counted: Vec<(String, String)> = counts
            .attributes
            .iter()
            .flat_map(|a| a.values.iter().map(|(value, _)| (a.name.clone(), value.clone())))
            .collect();
        assert_eq!(held.len(), counted.len());
        assert!(held.iter().all(|pair| counted.contains(pair)), "{held:?} {counted:?}");
    }

    proptest! {
        #[test]
        fn a_path_reads_back_as_the_keys_that_it_was_made_of(keys in prop::collection::vec("[a.\\\\b]{1,5}", 1..4)) {
            let path = keys.iter().fold(String::new(), |path, key| joined(&path, key));
            let definition = Definition::parse(&json!({"attribute": path, "operator": "exists"})).unwrap();
            let Node::Condition(Condition::Attribute { path, .. }) = definition.root() else { panic!() };
            prop_assert_eq!(path.keys(), keys.as_slice());
        }
    }
}
