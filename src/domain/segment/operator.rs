//! The operators by name, and which of them go with which field.

use super::Comparison;

/// How a condition asks about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equals,
    NotEquals,
    In,
    NotIn,
    Contains,
    StartsWith,
    Exists,
    NotExists,
    Compare(Comparison),
    Before,
    After,
    WithinLast,
}

/// All of them by name, in the order of the documentation; an attribute takes any.
pub(super) const OPERATORS: [(&str, Operator); 15] = [
    ("equals", Operator::Equals),
    ("not_equals", Operator::NotEquals),
    ("in", Operator::In),
    ("not_in", Operator::NotIn),
    ("contains", Operator::Contains),
    ("starts_with", Operator::StartsWith),
    ("exists", Operator::Exists),
    ("not_exists", Operator::NotExists),
    ("gt", Operator::Compare(Comparison::Greater)),
    ("gte", Operator::Compare(Comparison::AtLeast)),
    ("lt", Operator::Compare(Comparison::Less)),
    ("lte", Operator::Compare(Comparison::AtMost)),
    ("before", Operator::Before),
    ("after", Operator::After),
    ("within_last", Operator::WithinLast),
];

/// Those that go with a phone.
pub(super) const PHONE: &[&str] =
    &["equals", "not_equals", "in", "not_in", "contains", "starts_with", "exists", "not_exists"];
/// Those that go with a country.
pub(super) const COUNTRY: &[&str] = &["equals", "not_equals", "in", "not_in", "exists", "not_exists"];
/// Those that go with one of a few words.
pub(super) const CHOICE: &[&str] = &["equals", "not_equals", "in", "not_in"];
/// Those that go with a time that is always there.
pub(super) const TIME: &[&str] = &["before", "after", "within_last"];
/// Those that go with a time that may be missing.
pub(super) const OPTIONAL_TIME: &[&str] = &["before", "after", "within_last", "exists", "not_exists"];
