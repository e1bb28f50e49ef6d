//! Reads a definition from JSON. Everything wrong with it is told at once, each with its place;
//! nothing unknown is passed over, since a condition that is not understood must never mean
//! everybody.

use serde_json::{Map, Value};

use super::operator::{self, OPERATORS, Operator};
use super::value::{self, AttributePath, Span};
use super::{
    AttributeTest, Condition, CountryTest, Definition, DefinitionError, Engagement, EngagementKind,
    LastInboundTest, MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, Node, PhoneTest, Sample, TimeTest, TriggerCount,
};

type Object = Map<String, Value>;

/// What an object of a definition can be, told by the one key of these that it has.
const KINDS: [&str; 8] = ["all", "any", "not", "attribute", "field", "engagement", "trigger", "sample"];

/// Errors told about one definition.
const MAX_ERRORS: usize = 100;

const FIELDS: [&str; 6] = ["phone", "country", "consent", "created_at", "last_inbound_at", "topic"];

const ENGAGEMENTS: [(&str, EngagementKind); 5] = [
    ("sent", EngagementKind::Sent),
    ("delivered", EngagementKind::Delivered),
    ("read", EngagementKind::Read),
    ("replied", EngagementKind::Replied),
    ("failed", EngagementKind::Failed),
];

impl Definition {
    /// Reads the JSON of a definition; places in errors begin with `definition`.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of the JSON, at least one.
    pub fn parse(json: &Value) -> Result<Self, Vec<DefinitionError>> {
        Self::parse_at("definition", json)
    }

    /// The same for a definition that stands under another name, as a trigger's `segment` does.
    ///
    /// # Errors
    /// All that is wrong with it, each place beginning with `root_name`.
    pub fn parse_at(root_name: &str, json: &Value) -> Result<Self, Vec<DefinitionError>> {
        let mut parser = Parser { root_name: root_name.to_owned(), ..Parser::default() };
        let root = parser.node(json, root_name, 0);
        match root {
            Some(root) if parser.errors.is_empty() => Ok(Self { root }),
            _ => Err(parser.errors),
        }
    }
}

#[derive(Default)]
struct Parser {
    root_name: String,
    errors: Vec<DefinitionError>,
    conditions: usize,
    values: usize,
}

/// The operator and value of an attribute's or a field's condition. `at` is the condition's place.
struct Leaf<'a> {
    at: &'a str,
    operator: Operator,
    value: &'a Value,
}

impl Leaf<'_> {
    fn is_negative(&self) -> bool {
        matches!(self.operator, Operator::NotEquals | Operator::NotIn | Operator::NotExists)
    }
}

/// The groups: objects inside objects, and which kind each is.
impl Parser {
    /// Notes an error; after the first hundred nobody reads on.
    fn error(&mut self, field: impl Into<String>, message: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(DefinitionError { field: field.into(), message: message.into() });
        }
    }

    fn node(&mut self, json: &Value, at: &str, depth: usize) -> Option<Node> {
        let Some(object) = json.as_object() else {
            self.error(at, format!("{} is no condition; write an object", value::shown(json)));
            return None;
        };
        let kind = self.kind(object, at)?;
        match kind {
            "all" | "any" | "not" => self.group(kind, object, at, depth),
            _ => self.condition(kind, object, at),
        }
    }

    fn kind(&mut self, object: &Object, at: &str) -> Option<&'static str> {
        let found: Vec<&str> = KINDS.into_iter().filter(|kind| object.contains_key(*kind)).collect();
        match *found.as_slice() {
            [kind] => Some(kind),
            [] => {
                if object.is_empty() {
                    self.error(at, format!("empty; write one of {}", listed(&KINDS)));
                }
                for key in object.keys() {
                    self.error(child(at, key), unknown("key", key, &KINDS));
                }
                None
            }
            _ => {
                let message = format!("has {}: put each into an object of its own", listed(&found));
                self.error(at, message);
                None
            }
        }
    }

    fn group(&mut self, kind: &str, object: &Object, at: &str, depth: usize) -> Option<Node> {
        self.check_keys(object, at, &[kind]);
        if depth == MAX_DEPTH {
            self.error(at, format!("groups stand at most {MAX_DEPTH} deep inside each other"));
            return None;
        }
        let inner = object.get(kind)?;
        let at = child(at, kind);
        if kind == "not" {
            return Some(Node::Not(Box::new(self.node(inner, &at, depth + 1)?)));
        }
        let Some(items) = inner.as_array() else {
            self.error(&at, format!("`{kind}` takes a list of conditions"));
            return None;
        };
        let mut children = Vec::new();
        for (index, item) in items.iter().enumerate() {
            // A list of a million empty groups should not answer with a million errors.
            if self.conditions > MAX_CONDITIONS || self.errors.len() >= MAX_ERRORS {
                return None;
            }
            children.extend(self.node(item, &format!("{at}[{index}]"), depth + 1));
        }
        Some(if kind == "all" { Node::All(children) } else { Node::Any(children) })
    }

    fn condition(&mut self, kind: &str, object: &Object, at: &str) -> Option<Node> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            if self.conditions == MAX_CONDITIONS + 1 {
                let root_name = self.root_name.clone();
                self.error(root_name, format!("has more than {MAX_CONDITIONS} conditions"));
            }
            return None;
        }
        match kind {
            "attribute" => self.attribute(object, at),
            "field" => self.field(object, at),
            "engagement" => self.engagement(object, at),
            "trigger" => self.trigger(object, at),
            _ => self.sample(object, at),
        }
    }
}

/// Conditions on attributes and fields.
impl Parser {
    fn attribute(&mut self, object: &Object, at: &str) -> Option<Node> {
        let path = self.read(object, at, "attribute", AttributePath::parse);
        let names = OPERATORS.map(|(name, _)| name);
        let leaf = self.leaf(object, at, "attribute", &names)?;
        let test = match leaf.operator {
            Operator::Equals | Operator::NotEquals | Operator::In | Operator::NotIn => {
                AttributeTest::OneOf(self.choices(&leaf, value::scalar)?)
            }
            Operator::Contains => AttributeTest::Contains(self.value(&leaf, value::part)?),
            Operator::StartsWith => AttributeTest::StartsWith(self.value(&leaf, value::filled_text)?),
            Operator::Exists | Operator::NotExists => AttributeTest::Exists,
            Operator::Compare(how) => AttributeTest::Compare(how, self.value(&leaf, value::bound)?),
            Operator::Before | Operator::After | Operator::WithinLast => {
                AttributeTest::Time(self.time(&leaf)?)
            }
        };
        Some(wrapped(&leaf, Condition::Attribute { path: path?, test }))
    }

    fn field(&mut self, object: &Object, at: &str) -> Option<Node> {
        let field = self.read(object, at, "field", value::text)?;
        let allowed = match field.as_str() {
            "phone" => operator::PHONE,
            "country" => operator::COUNTRY,
            "consent" | "topic" => operator::CHOICE,
            "created_at" => operator::TIME,
            "last_inbound_at" => operator::OPTIONAL_TIME,
            other => {
                let message = unknown("field", other, &FIELDS);
                self.error(child(at, "field"), message);
                return None;
            }
        };
        let leaf = self.leaf(object, at, "field", allowed)?;
        let condition = match field.as_str() {
            "phone" => Condition::Phone(self.phone(&leaf)?),
            "country" => Condition::Country(match leaf.operator {
                Operator::Exists | Operator::NotExists => CountryTest::Exists,
                _ => CountryTest::OneOf(self.choices(&leaf, value::country)?),
            }),
            "consent" => Condition::Consent(self.choices(&leaf, value::consent)?),
            "topic" => Condition::Topic(self.choices(&leaf, value::filled_text)?),
            "created_at" => Condition::CreatedAt(self.time(&leaf)?),
            _ => Condition::LastInboundAt(match leaf.operator {
                Operator::Exists | Operator::NotExists => LastInboundTest::Exists,
                _ => LastInboundTest::Time(self.time(&leaf)?),
            }),
        };
        Some(wrapped(&leaf, condition))
    }

    fn phone(&mut self, leaf: &Leaf) -> Option<PhoneTest> {
        Some(match leaf.operator {
            Operator::Exists | Operator::NotExists => PhoneTest::Exists,
            Operator::Contains => PhoneTest::Contains(self.value(leaf, value::phone_part)?),
            Operator::StartsWith => PhoneTest::StartsWith(self.value(leaf, value::phone_start)?),
            _ => PhoneTest::OneOf(self.choices(leaf, value::phone)?),
        })
    }

    /// The operator, if it is one of the allowed, and the value, if the operator takes one.
    fn leaf<'a>(
        &mut self,
        object: &'a Object,
        at: &'a str,
        kind: &str,
        allowed: &[&str],
    ) -> Option<Leaf<'a>> {
        self.check_keys(object, at, &[kind, "operator", "value"]);
        let name = self.read(object, at, "operator", value::text)?;
        let known = OPERATORS.iter().find(|(known, _)| *known == name && allowed.contains(known));
        let Some((_, operator)) = known else {
            self.error(child(at, "operator"), unknown("operator", &name, allowed));
            return None;
        };
        let takes_value = !matches!(operator, Operator::Exists | Operator::NotExists);
        match object.get("value") {
            Some(value) if takes_value => Some(Leaf { at, operator: *operator, value }),
            None if !takes_value => Some(Leaf { at, operator: *operator, value: &Value::Null }),
            Some(_) => {
                self.error(child(at, "value"), format!("`{name}` takes no value"));
                None
            }
            None => {
                self.error(child(at, "value"), format!("missing; `{name}` compares with a value"));
                None
            }
        }
    }

    fn value<T>(&mut self, leaf: &Leaf, read: fn(&Value) -> Result<T, String>) -> Option<T> {
        self.checked(read(leaf.value), child(leaf.at, "value"))
    }

    /// The one value of `equals`, or the list of `in`.
    fn choices<T>(&mut self, leaf: &Leaf, read: fn(&Value) -> Result<T, String>) -> Option<Vec<T>> {
        let at = child(leaf.at, "value");
        if matches!(leaf.operator, Operator::Equals | Operator::NotEquals) {
            return Some(vec![self.checked(read(leaf.value), at)?]);
        }
        let Some(items) = leaf.value.as_array().filter(|items| !items.is_empty()) else {
            self.error(at, "write a list of at least one value");
            return None;
        };
        self.values += items.len();
        if self.values > MAX_VALUES {
            self.error(at, format!("a definition has at most {MAX_VALUES} values in its lists"));
            return None;
        }
        let read_items = items.iter().enumerate();
        read_items.map(|(i, item)| self.checked(read(item), format!("{at}[{i}]"))).collect()
    }

    fn time(&mut self, leaf: &Leaf) -> Option<TimeTest> {
        Some(match leaf.operator {
            Operator::Before => TimeTest::Before(self.value(leaf, value::instant)?),
            Operator::After => TimeTest::After(self.value(leaf, value::instant)?),
            _ => TimeTest::WithinLast(self.value(leaf, Span::parse)?),
        })
    }
}

/// Conditions on what happened, and samples.
impl Parser {
    fn engagement(&mut self, object: &Object, at: &str) -> Option<Node> {
        self.check_keys(object, at, &["engagement", "campaign_id", "within_last"]);
        let name = self.read(object, at, "engagement", value::text);
        let kind = name.and_then(|name| {
            let known = ENGAGEMENTS.iter().find(|(known, _)| *known == name);
            if known.is_none() {
                let names = ENGAGEMENTS.map(|(name, _)| name);
                self.error(child(at, "engagement"), unknown("engagement", &name, &names));
            }
            known.map(|(_, kind)| *kind)
        });
        let campaign_id = self.optional(object, at, "campaign_id", value::row_id);
        let within_last = self.optional(object, at, "within_last", Span::parse);
        let engagement = Engagement { kind: kind?, campaign_id: campaign_id?, within_last: within_last? };
        Some(Node::Condition(Condition::Engagement(engagement)))
    }

    fn trigger(&mut self, object: &Object, at: &str) -> Option<Node> {
        self.check_keys(object, at, &["trigger", "at_least", "within_last"]);
        let kind = self.read(object, at, "trigger", value::filled_text);
        let at_least = self.optional(object, at, "at_least", value::count);
        let within_last = self.optional(object, at, "within_last", Span::parse);
        let count = TriggerCount { kind: kind?, at_least: at_least?.unwrap_or(1), within_last: within_last? };
        Some(Node::Condition(Condition::Trigger(count)))
    }

    fn sample(&mut self, object: &Object, at: &str) -> Option<Node> {
        self.check_keys(object, at, &["sample"]);
        let at = child(at, "sample");
        let Some(inner) = object.get("sample").and_then(Value::as_object) else {
            self.error(at, "write an object with `percent` and `seed`");
            return None;
        };
        self.check_keys(inner, &at, &["percent", "seed"]);
        let share_ppm = self.read(inner, &at, "percent", value::share_ppm);
        let seed = self.read(inner, &at, "seed", value::text);
        let sample = Sample { share_ppm: share_ppm?, seed: seed? };
        Some(Node::Condition(Condition::Sample(sample)))
    }
}

/// Keys and values.
impl Parser {
    fn check_keys(&mut self, object: &Object, at: &str, allowed: &[&str]) {
        for key in object.keys().filter(|key| !allowed.contains(&key.as_str())) {
            self.error(child(at, key), unknown("key", key, allowed));
        }
    }

    /// A key that must be there.
    fn read<T>(
        &mut self,
        object: &Object,
        at: &str,
        key: &str,
        read: fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        match object.get(key) {
            Some(value) => self.checked(read(value), child(at, key)),
            None => {
                self.error(child(at, key), "missing");
                None
            }
        }
    }

    /// A key that may be left out. The outer None is an error already told.
    fn optional<T>(
        &mut self,
        object: &Object,
        at: &str,
        key: &str,
        read: fn(&Value) -> Result<T, String>,
    ) -> Option<Option<T>> {
        match object.get(key) {
            Some(value) => self.checked(read(value), child(at, key)).map(Some),
            None => Some(None),
        }
    }

    fn checked<T>(&mut self, read: Result<T, String>, at: String) -> Option<T> {
        read.map_err(|message| self.error(at, message)).ok()
    }
}

fn wrapped(leaf: &Leaf, condition: Condition) -> Node {
    let node = Node::Condition(condition);
    if leaf.is_negative() { Node::Not(Box::new(node)) } else { node }
}

fn child(at: &str, key: &str) -> String {
    format!("{at}.{}", value::shortened(key))
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn unknown(what: &str, name: &str, allowed: &[&str]) -> String {
    let near = allowed
        .iter()
        .map(|known| (strsim::jaro_winkler(known, &name.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = near.map(|(_, known)| format!("; did you mean `{known}`?")).unwrap_or_default();
    let name = value::shortened(name);
    let allowed = listed(allowed);
    if hint.is_empty() {
        format!("unknown {what} `{name}`; allowed here: {allowed}")
    } else {
        format!("unknown {what} `{name}`{hint} Allowed here: {allowed}")
    }
}
