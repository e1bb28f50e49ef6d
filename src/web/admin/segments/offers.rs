//! What the builder offers to choose from, and its rows as boxes inside boxes.

use minijinja::{Value, context};

use super::super::words;
use super::attributes::{SUGGESTED, fit_for};
use super::draft::{Draft, Faults};
use crate::domain::catalogue::Kind;
use crate::domain::consent::Consent;
use crate::domain::segment::MAX_CONDITIONS;
use crate::domain::segment::form::{self, Choice, Row, What};
use crate::store::{Connection, StoreError, attributes, campaigns, topics};

/// Rows that come with values to choose from; later ones ask for them when they are looked at.
const WITH_VALUES: usize = 20;
/// Names, campaigns and topics to choose from.
const NAMES: usize = 200;
const CAMPAIGNS: usize = 50;
const TOPICS: usize = 200;

/// What the builder offers to choose from.
pub(super) struct Offers {
    pub(super) names: Vec<Value>,
    kinds: Vec<Option<Kind>>,
    values: Vec<Vec<String>>,
    topics: Vec<String>,
    pub(super) campaigns: Vec<Value>,
}

impl Offers {
    /// Reads them for the rows of `draft`, and gives rows that lack an operator the one that fits.
    pub(super) fn read(conn: &Connection, draft: &mut Draft, is_masked: bool) -> Result<Offers, StoreError> {
        let mut kinds = Vec::new();
        let mut values = Vec::new();
        for (index, row) in draft.rows.iter_mut().enumerate() {
            let known = match row.what {
                What::Attribute if !row.name.is_empty() && index <= MAX_CONDITIONS * 2 => {
                    attributes::find(conn, &row.name)?
                }
                _ => None,
            };
            let kind = known.as_ref().map(|known| known.kinds.main());
            if draft.adapts && row.what == What::Attribute && row.value.is_empty() && row.operator == "is" {
                row.operator.clear();
            }
            complete(row, kind);
            kinds.push(kind);
            values.push(match known {
                Some(_) if index < WITH_VALUES => attributes::values(conn, &row.name, "", SUGGESTED)?
                    .iter()
                    .map(|value| fit_for(value, is_masked))
                    .collect(),
                _ => Vec::new(),
            });
        }
        let names = attributes::names(conn, "", NAMES)?
            .into_iter()
            .map(|(name, kinds, people)| context! { value => name, label => kinds.main().as_str(), people })
            .collect();
        let topics = topics::list(conn)?.into_iter().take(TOPICS).map(|topic| topic.name).collect();
        let has_messages = draft.rows.iter().any(|row| row.what == What::Engagement);
        let campaigns =
            if has_messages { campaigns::list(conn, None, i64::MAX, CAMPAIGNS)? } else { Vec::new() };
        let campaigns = campaigns
            .into_iter()
            .map(|campaign| context! { id => campaign.id.to_string(), name => campaign.plan.name })
            .collect();
        Ok(Offers { names, kinds, values, topics, campaigns })
    }
}

/// What a new row, or one that asks about something else now, begins with.
fn complete(row: &mut Row, kind: Option<Kind>) {
    let operators = form::operators(row.what, kind);
    let fits = |choices: &[Choice]| choices.iter().any(|choice| choice.key == row.operator);
    let is_known = operators.iter().any(|(_, choices)| fits(choices));
    if !operators.is_empty() && !is_known {
        form::default_operator(row.what, kind).clone_into(&mut row.operator);
    }
    match row.what {
        What::Engagement if row.name.is_empty() => "read".clone_into(&mut row.name),
        What::Sample => {
            if row.value.is_empty() {
                "10".clone_into(&mut row.value);
            }
            if row.name.is_empty() {
                "1".clone_into(&mut row.name);
            }
        }
        _ => {}
    }
    if row.unit.is_empty() {
        let is_span = matches!(row.what, What::Engagement | What::Trigger) || row.operator == "within_last";
        if is_span {
            "d".clone_into(&mut row.unit);
        }
    }
}

/// The rows as a tree, for boxes inside boxes.
pub(super) fn nodes(rows: &[Row], offers: &Offers, faults: &Faults) -> Vec<Value> {
    let mut open: Vec<(usize, Vec<Value>)> = vec![(0, Vec::new())];
    for (index, row) in rows.iter().enumerate().rev() {
        // From the end on: what stands deeper below a row was met before it.
        let mut inside = Vec::new();
        while let Some((depth, _)) = open.last() {
            if *depth <= row.depth {
                break;
            }
            inside = open.pop().map(|(_, nodes)| nodes).unwrap_or_default();
        }
        inside.reverse();
        let node = node(index, row, inside, offers, faults);
        match open.last_mut() {
            Some((depth, nodes)) if *depth == row.depth => nodes.push(node),
            _ => open.push((row.depth, vec![node])),
        }
    }
    let mut roots = open.into_iter().next().map(|(_, nodes)| nodes).unwrap_or_default();
    roots.reverse();
    roots
}

fn node(index: usize, row: &Row, inside: Vec<Value>, offers: &Offers, faults: &Faults) -> Value {
    let kind = offers.kinds.get(index).copied().flatten();
    let operators: Vec<Value> = form::operators(row.what, kind)
        .into_iter()
        .map(|(name, choices)| {
            let choices: Vec<Value> = choices
                .into_iter()
                .map(|choice| context! { key => choice.key, words => choice.words })
                .collect();
            context! { name, choices }
        })
        .collect();
    let is_many = matches!(row.operator.as_str(), "one_of" | "none_of");
    context! {
        index,
        depth => row.depth,
        what => row.what.as_str(),
        is_group => row.what.is_group(),
        is_root => index == 0,
        name => row.name.clone(),
        operator => row.operator.clone(),
        value => row.value.clone(),
        unit => row.unit.clone(),
        campaign => row.campaign.clone(),
        at_least => row.at_least.clone(),
        operators,
        input => input(row),
        is_many,
        chosen => form::split(&row.value),
        choices => choices(row, offers),
        values => offers.values.get(index).cloned(),
        kind => kind.map(Kind::as_str),
        errors => faults.rows.get(&index).cloned(),
        inside,
    }
}

/// The kind of field in which the value is written.
fn input(row: &Row) -> &'static str {
    if !form::takes_value(&row.operator) {
        return "none";
    }
    match (row.what, row.operator.as_str()) {
        (What::Consent | What::Topic, "one_of" | "none_of") => "boxes",
        (What::Consent | What::Topic, _) => "select",
        (_, "within_last") => "span",
        (_, "before" | "after") if row.value.is_empty() || row.value.len() == 10 => "date",
        (_, "number_is" | "number_is_not" | "at_least" | "more_than" | "at_most" | "less_than") => "number",
        _ => "text",
    }
}

/// What a row of consent or topics chooses from; what it holds is among it, known or not.
fn choices(row: &Row, offers: &Offers) -> Vec<Value> {
    let mut found: Vec<(String, String)> = match row.what {
        What::Consent => Consent::ALL
            .iter()
            .map(|state| (state.as_str().to_owned(), words::word("consent", state.as_str()).to_owned()))
            .collect(),
        What::Topic => offers.topics.iter().map(|name| (name.clone(), name.clone())).collect(),
        _ => return Vec::new(),
    };
    for held in form::split(&row.value) {
        if !found.iter().any(|(key, _)| *key == held) {
            found.push((held.clone(), held));
        }
    }
    found.into_iter().map(|(key, words)| context! { key, words }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_become_boxes_inside_boxes() {
        let offers =
            Offers { names: vec![], kinds: vec![], values: vec![], topics: vec![], campaigns: vec![] };
        let definition = json!({"all": [1, {"any": [2, {"not": 3}]}, 4]});
        let tree = nodes(&form::rows(&definition), &offers, &Faults::default());
        fn told(nodes: &Value) -> String {
            let nodes = nodes.try_iter().unwrap().map(|node| {
                let inside = node.get_attr("inside").unwrap();
                match node.get_attr("is_group").unwrap().is_true() {
                    true => format!("{}({})", node.get_attr("what").unwrap(), told(&inside)),
                    false => node.get_attr("value").unwrap().to_string(),
                }
            });
            nodes.collect::<Vec<_>>().join(" ")
        }
        assert_eq!(told(&Value::from(tree)), "all(1 any(2 not(3)) 4)");
    }
}
