//! Segments: who belongs to an audience. Here is what a definition means once it has been read;
//! `parse` reads the JSON, `operator` and `value`
//! the words and values in it. SQL is made from it in the store.
//!
//! # What a condition means
//!
//! Every condition says yes or no about a person, never "unknown":
//!
//! - A person who lacks the attribute, or holds it with another type, doesn't match: `true` and `1`
//!   differ. The value decides how it is compared. A number also matches text that is one, since
//!   that is what a CSV file gives: `gte 500` matches `"706"`, and `equals 5` matches `"5"`, though
//!   not `"05"`; `gt` a number beyond 2^53 asks numbers alone. A text matches text alone.
//! - `not_equals`, `not_in`, `not_exists` and `not` are plain complements: everybody whom the
//!   positive form leaves out, people without the attribute among them.
//! - `exists` takes null and `""` for missing, as message templates do.
//! - `{"all":[]}` is everybody, `{"any":[]}` nobody.
//!
//! # Operators
//!
//! | on | operators | value |
//! |---|---|---|
//! | attribute | `equals` `not_equals` | text, number or boolean |
//! | | `in` `not_in` | list of those, not empty |
//! | | `contains` | in a text: part of it, A–Z and a–z alike; in a list: an element that equals the value |
//! | | `starts_with` | text, A–Z and a–z alike |
//! | | `gt` `gte` `lt` `lte` | number, or text (compared byte by byte) |
//! | | `before` `after` | date or instant |
//! | | `within_last` | span: from so long ago up to now |
//! | | `exists` `not_exists` | none |
//! | `phone` | `equals` `not_equals` `in` `not_in` | E.164 |
//! | | `contains` `starts_with` | digits; a start begins with `+` |
//! | | `exists` `not_exists` | none; people known only by a channel address have no phone |
//! | `country` | `equals` `not_equals` `in` `not_in` `exists` `not_exists` | two letters, ISO 3166-1 |
//! | `consent` | `equals` `not_equals` `in` `not_in` | `opt_in`, `unknown`, `opt_out`, `stop` |
//! | `created_at` | `before` `after` `within_last` | date, instant, span |
//! | `last_inbound_at` | `before` `after` `within_last` `exists` `not_exists` | date, instant, span |
//! | `topic` | `equals` `not_equals` `in` `not_in` | a topic's name, in any case |
//!
//! Texts are equal when they are the same, case and all; only `contains` and `starts_with` look past
//! the case, and only of A–Z, which is as far as SQLite goes without a function of ours. Both stop
//! reading an attribute at a NUL; and a key with a NUL in it can't be told from the same key cut
//! there, so an import should let none in.
//!
//! A date is `2026-11-23` (its first instant, UTC), an instant RFC 3339 (`2026-11-23T09:30:00Z`).
//! Attributes hold them as text; there a missing zone means UTC, the seconds may be left out, and a
//! blank may stand for the `T`. Text that is no date, or a day that no calendar has, never matches.
//! `before` and `after` are strict. A span is a whole number of `m`, `h`, `d` or `w`: `30d`.
//!
//! An attribute is named by its path, keys joined by dots: `address.city`. A dot inside a key is
//! written `\.`. Lists are not walked into: `tags[0]` and `tags.0` are keys like any other.
//!
//! `topic` asks for effective membership: subscribed, or opted in to everything under a topic that
//! takes all opted-in people, and not unsubscribed from it.
//!
//! Engagement looks at all messages to the person, tests included. `sent`, `delivered` and `read`
//! each take in what comes after. `replied` is any message from the person; with a campaign, one
//! since the campaign's first message was accepted. `failed` takes in `undelivered` and `expired`.
//! The time of `failed` is that of the hand-over, since no other is kept.
//!
//! `sample` picks by the person's id and the seed alone: the same people every time; 10 percent of a
//! seed lie within its 20 percent, and two seeds pick independently.

pub mod form;
mod operator;
mod parse;
mod value;

pub use value::{AttributePath, Span};

use super::consent::Consent;

/// Groups may stand inside each other this deep.
pub const MAX_DEPTH: usize = 8;
/// Conditions in one definition.
pub const MAX_CONDITIONS: usize = 100;
/// Values in all lists of one definition, well below SQLite's 32,766 parameters.
pub const MAX_VALUES: usize = 10_000;

/// A segment's definition, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    root: Node,
}

/// One thing wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct DefinitionError {
    /// Where, from the root on: `definition.all[2].operator`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// A group of conditions, or one of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Matches who matches every one; everybody when empty.
    All(Vec<Node>),
    /// Matches who matches at least one; nobody when empty.
    Any(Vec<Node>),
    /// Matches who doesn't match the inner node.
    Not(Box<Node>),
    /// A single condition.
    Condition(Condition),
}

/// One thing asked about a person. Negative operators are a [`Node::Not`] around the positive one.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// About a value of the person's attributes.
    Attribute {
        /// Which value.
        path: AttributePath,
        /// What is asked of it.
        test: AttributeTest,
    },
    /// About the phone number.
    Phone(PhoneTest),
    /// About the number's country.
    Country(CountryTest),
    /// The state of consent is one of these.
    Consent(Vec<Consent>),
    /// When the person became known.
    CreatedAt(TimeTest),
    /// When the person last wrote.
    LastInboundAt(LastInboundTest),
    /// Effectively subscribed to at least one topic of these names.
    Topic(Vec<String>),
    /// What became of messages to the person.
    Engagement(Engagement),
    /// How often a business event named the person.
    Trigger(TriggerCount),
    /// A share of everybody, the same people every time.
    Sample(Sample),
}

/// What is asked of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeTest {
    /// Equals one of the values, type included.
    OneOf(Vec<Scalar>),
    /// A text with the value in it, or a list with an element that equals it.
    Contains(Scalar),
    /// A text that starts so.
    StartsWith(String),
    /// Is there, and neither null nor "".
    Exists,
    /// Stands in this relation to the bound, and has its type.
    Compare(Comparison, Bound),
    /// A date or instant at such a time.
    Time(TimeTest),
}

/// What is asked of the phone number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhoneTest {
    /// One of these, in E.164.
    OneOf(Vec<String>),
    /// Has these digits in it.
    Contains(String),
    /// Starts so: `+1415`.
    StartsWith(String),
    /// There is a number.
    Exists,
}

/// What is asked of the country.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountryTest {
    /// One of these, two capital letters each.
    OneOf(Vec<String>),
    /// The country is known.
    Exists,
}

/// What is asked of the person's last message to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastInboundTest {
    /// There was one.
    Exists,
    /// It came at such a time.
    Time(TimeTest),
}

/// A single JSON value that can be equal to another.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// A number, whole or not: `5` equals `5.0`.
    Number(Number),
    /// true or false.
    Bool(bool),
}

/// A JSON number as SQLite holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Whole, within 64 bits.
    Integer(i64),
    /// Any other; finite.
    Real(f64),
}

/// What `gt`, `gte`, `lt` and `lte` compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// Numbers by size.
    Number(Number),
    /// Texts byte by byte.
    Text(String),
}

/// How a value stands to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `gt`
    Greater,
    /// `gte`
    AtLeast,
    /// `lt`
    Less,
    /// `lte`
    AtMost,
}

/// What is asked of a point in time. Instants are milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeTest {
    /// Earlier than this instant.
    Before(i64),
    /// Later than this instant.
    After(i64),
    /// From so long ago up to now.
    WithinLast(Span),
}

/// What became of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engagement {
    /// What happened.
    pub kind: EngagementKind,
    /// To a message of this campaign; of any when missing.
    pub campaign_id: Option<i64>,
    /// So recently; ever when missing.
    pub within_last: Option<Span>,
}

/// What can become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngagementKind {
    /// Twilio took it.
    Sent,
    /// It arrived.
    Delivered,
    /// It was read.
    Read,
    /// The person wrote back.
    Replied,
    /// It didn't arrive and won't.
    Failed,
}

/// How often a business event named the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerCount {
    /// The event's type.
    pub kind: String,
    /// At least so often; 1 or more.
    pub at_least: u32,
    /// Counting only what occurred so recently; everything when missing.
    pub within_last: Option<Span>,
}

/// A share of everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// In millionths: 100,000 are 10 percent. From 1 to 1,000,000.
    pub share_ppm: u32,
    /// Another seed picks other people.
    pub seed: String,
}

impl Definition {
    /// The outermost node.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// All conditions in the order of the JSON, for checks against what the store holds: whether
    /// the topics and campaigns that they name exist.
    pub fn conditions(&self) -> Vec<&Condition> {
        let mut found = Vec::new();
        collect(&self.root, &mut found);
        found
    }
}

fn collect<'a>(node: &'a Node, found: &mut Vec<&'a Condition>) {
    match node {
        Node::All(children) | Node::Any(children) => {
            for child in children {
                collect(child, found);
            }
        }
        Node::Not(inner) => collect(inner, found),
        Node::Condition(condition) => found.push(condition),
    }
}

#[cfg(test)]
mod tests;
