//! Which people an operator looks at: the filters of the list of people, as its address has them. The same words
//! are kept with an action on everybody who fits.

use serde_json::{Value, json};

use super::consent::Consent;
use super::segment::{Definition, DefinitionError};

/// Longest value of a filter, in characters.
const MAX_VALUE: usize = 200;
/// Attributes that one filter may name.
const MAX_ATTRIBUTES: usize = 10;

/// When somebody wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Never.
    Never,
    /// Ever.
    Ever,
    /// Within this span, as a segment writes it.
    Within(&'static str),
}

impl Heard {
    /// All there are, with the words of the address and of the page.
    pub const ALL: [(Heard, &'static str, &'static str); 6] = [
        (Heard::Within("24h"), "24h", "in the last 24 hours"),
        (Heard::Within("7d"), "7d", "in the last 7 days"),
        (Heard::Within("30d"), "30d", "in the last 30 days"),
        (Heard::Within("90d"), "90d", "in the last 90 days"),
        (Heard::Ever, "ever", "at some time"),
        (Heard::Never, "never", "never"),
    ];
}

/// People of whom an index keeps a list, because they are few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// On hold until somebody decides what they meant.
    Held,
    /// The number proved dead.
    Unreachable,
    /// On the list of numbers never sent to.
    Suppressed,
}

impl Mark {
    /// All there are, with the words of the address and of the page.
    pub const ALL: [(Mark, &'static str, &'static str); 3] = [
        (Mark::Held, "review", "On review"),
        (Mark::Unreachable, "unreachable", "Unreachable"),
        (Mark::Suppressed, "suppressed", "Suppressed"),
    ];

    /// The word in the address.
    pub fn as_str(self) -> &'static str {
        Mark::ALL.iter().find(|(mark, ..)| *mark == self).map_or("", |(_, word, _)| word)
    }
}

/// Everybody who fits all of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeopleFilter {
    /// What was typed: a name, or part of a number.
    pub q: Option<String>,
    /// Their consent.
    pub consent: Option<Consent>,
    /// A topic that they are in.
    pub topic: Option<String>,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// What they are marked with.
    pub mark: Option<Mark>,
    /// When they wrote last.
    pub heard: Option<Heard>,
    /// The segment they belong to.
    pub segment_id: Option<i64>,
    /// Attributes with the text of their value, or an empty text: that they have it.
    pub attributes: Vec<(String, String)>,
}

/// A filter that can't be read: its name, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// Which of them.
    pub field: String,
    /// What would be right.
    pub message: String,
}

fn error(field: impl Into<String>, message: impl Into<String>) -> FilterError {
    FilterError { field: field.into(), message: message.into() }
}

/// Names of the filters in an address; an attribute's is `attribute.<name>`.
pub const FIELDS: [&str; 7] = ["q", "consent", "topic", "country", "mark", "heard", "segment"];

impl PeopleFilter {
    /// Reads the pairs of an address; blank ones say nothing.
    ///
    /// # Errors
    /// Every filter that is unknown, or whose value is none.
    pub fn read(pairs: &[(String, String)]) -> Result<PeopleFilter, Vec<FilterError>> {
        let mut filter = PeopleFilter::default();
        let mut errors = Vec::new();
        for (name, value) in pairs {
            let value = value.trim();
            if value.chars().count() > MAX_VALUE || value.contains('\0') {
                errors.push(error(name, format!("at most {MAX_VALUE} characters")));
            } else if let Some(attribute) = name.strip_prefix("attribute.") {
                filter.attributes.push((attribute.to_owned(), value.to_owned()));
            } else if pairs.iter().filter(|(other, _)| other == name).count() > 1 {
                errors.push(error(name, "given twice"));
            } else if !value.is_empty()
                && let Err(message) = filter.set(name, value)
            {
                errors.push(error(name, message));
            }
        }
        if filter.attributes.len() > MAX_ATTRIBUTES {
            errors.push(error("attribute", format!("at most {MAX_ATTRIBUTES} attributes")));
        }
        errors.extend(filter.conditions().err().into_iter().flatten());
        if errors.is_empty() { Ok(filter) } else { Err(errors) }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "q" => self.q = Some(value.to_owned()),
            "topic" => self.topic = Some(value.to_owned()),
            "country" => self.country = Some(value.to_uppercase()),
            "consent" => {
                let state = value.parse().map_err(|_| "opt_in, unknown, opt_out or stop".to_owned())?;
                self.consent = Some(state);
            }
            "mark" => {
                let mark = Mark::ALL.iter().find(|(_, word, _)| *word == value);
                self.mark = Some(mark.ok_or("review, unreachable or suppressed")?.0);
            }
            "heard" => {
                let heard = Heard::ALL.iter().find(|(_, word, _)| *word == value);
                self.heard = Some(heard.ok_or("24h, 7d, 30d, 90d, ever or never")?.0);
            }
            "segment" => {
                let id = value.parse().ok().filter(|id| *id > 0);
                self.segment_id = Some(id.ok_or("the number of a segment")?);
            }
            _ => return Err("there is no such filter".to_owned()),
        }
        Ok(())
    }

    /// The same as pairs, in a lasting order.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut push = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                pairs.push((name.to_owned(), value));
            }
        };
        push("q", self.q.clone());
        push("consent", self.consent.map(|state| state.as_str().to_owned()));
        push("topic", self.topic.clone());
        push("country", self.country.clone());
        push("mark", self.mark.map(|mark| mark.as_str().to_owned()));
        let heard = self.heard.and_then(|wanted| Heard::ALL.iter().find(|(heard, ..)| *heard == wanted));
        push("heard", heard.map(|(_, word, _)| (*word).to_owned()));
        push("segment", self.segment_id.map(|id| id.to_string()));
        for (name, value) in &self.attributes {
            push(&format!("attribute.{name}"), Some(value.clone()));
        }
        pairs
    }

    /// Everybody.
    pub fn is_everybody(&self) -> bool {
        *self == PeopleFilter::default()
    }

    /// What of it a segment could say, as conditions: consent, country, topic, last words, attributes.
    ///
    /// # Errors
    /// Conditions that no segment takes.
    pub fn conditions(&self) -> Result<Vec<Definition>, Vec<FilterError>> {
        let mut wanted: Vec<(String, Value)> = Vec::new();
        let mut equals = |field: &str, value: Option<&str>| {
            if let Some(value) = value {
                let condition = json!({"field": field, "operator": "equals", "value": value});
                wanted.push((field.to_owned(), condition));
            }
        };
        equals("consent", self.consent.map(Consent::as_str));
        equals("country", self.country.as_deref());
        equals("topic", self.topic.as_deref());
        if let Some(heard) = self.heard {
            let condition = match heard {
                Heard::Never => json!({"field": "last_inbound_at", "operator": "not_exists"}),
                Heard::Ever => json!({"field": "last_inbound_at", "operator": "exists"}),
                Heard::Within(span) => {
                    json!({"field": "last_inbound_at", "operator": "within_last", "value": span})
                }
            };
            wanted.push(("heard".to_owned(), condition));
        }
        for (name, value) in &self.attributes {
            let condition = match value.as_str() {
                "" => json!({"attribute": name, "operator": "exists"}),
                value => json!({"attribute": name, "operator": "in", "value": readings(value)}),
            };
            wanted.push((format!("attribute.{name}"), condition));
        }
        let mut definitions = Vec::new();
        let mut errors = Vec::new();
        for (name, condition) in wanted {
            match Definition::parse_at(&name, &condition) {
                Ok(definition) => definitions.push(definition),
                Err(found) => errors.extend(first(&name, &found)),
            }
        }
        if errors.is_empty() { Ok(definitions) } else { Err(errors) }
    }
}

fn first(name: &str, found: &[DefinitionError]) -> Option<FilterError> {
    found.first().map(|found| error(name, found.message.clone()))
}

/// An address holds text; the attribute may be a number or a yes that reads the same.
fn readings(value: &str) -> Vec<Value> {
    let mut readings = vec![json!(value)];
    if let Ok(other @ (Value::Number(_) | Value::Bool(_))) = serde_json::from_str::<Value>(value) {
        readings.push(other);
    }
    readings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_filter_reads_back_as_it_was_written() {
        let all = pairs(&[
            ("q", "ana"),
            ("consent", "opt_in"),
            ("topic", "offers"),
            ("country", "LK"),
            ("mark", "review"),
            ("heard", "30d"),
            ("segment", "7"),
            ("attribute.city", "Galle"),
            ("attribute.tier", ""),
        ]);
        let filter = PeopleFilter::read(&all).unwrap();
        assert_eq!(filter.pairs(), all);
        assert!(!filter.is_everybody());
        let blank = PeopleFilter::read(&pairs(&[("q", " "), ("consent", ""), ("segment", "")])).unwrap();
        assert!(blank.is_everybody() && blank.pairs().is_empty());
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        for (name, value) in [
            ("consent", "yes"),
            ("country", "Ceylon"),
            ("mark", "dead"),
            ("heard", "1y"),
            ("segment", "-1"),
            ("conset", "opt_in"),
            ("attribute.", "x"),
        ] {
            let errors = PeopleFilter::read(&pairs(&[(name, value)])).unwrap_err();
            assert_eq!(errors[0].field, name, "{errors:?}");
        }
        assert!(PeopleFilter::read(&pairs(&[("q", &"x".repeat(201))])).is_err());
        assert!(PeopleFilter::read(&pairs(&[("consent", "stop"), ("consent", "opt_in")])).is_err());
    }
}
