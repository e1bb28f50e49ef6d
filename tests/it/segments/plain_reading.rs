//! What a definition means, written a second time, straight over its JSON.

use serde_json::{Map, Value, json};

use super::people::{DAY, HOUR, NOW, Person, TOPICS};

pub(super) fn matches(node: &Value, person: &Person) -> bool {
    let node = node.as_object().unwrap();
    if let Some(children) = node.get("all") {
        return children.as_array().unwrap().iter().all(|child| matches(child, person));
    }
    if let Some(children) = node.get("any") {
        return children.as_array().unwrap().iter().any(|child| matches(child, person));
    }
    if let Some(inner) = node.get("not") {
        return !matches(inner, person);
    }
    if let Some(path) = node.get("attribute") {
        let found = look_up(&person.attributes, path.as_str().unwrap());
        return attribute_matches(node["operator"].as_str().unwrap(), node.get("value"), found);
    }
    if let Some(field) = node.get("field") {
        return field_matches(field.as_str().unwrap(), node, person);
    }
    if let Some(kind) = node.get("engagement") {
        return engagement_matches(kind.as_str().unwrap(), node, person);
    }
    if let Some(kind) = node.get("trigger") {
        let at_least = node.get("at_least").map_or(1, |count| count.as_u64().unwrap()) as usize;
        let counted = person.triggers.iter().filter(|(own, at)| kind == own && is_recent(node, Some(*at)));
        return counted.count() >= at_least;
    }
    node["sample"]["percent"] == 100
}

fn look_up<'a>(attributes: &'a Value, path: &str) -> Option<&'a Value> {
    // The escapes of the path, put aside before it is cut at its dots.
    let hidden = path.replace("\\\\", "\u{1}").replace("\\.", "\u{2}");
    hidden.split('.').try_fold(attributes, |inside, key| {
        inside.as_object()?.get(&key.replace('\u{1}', "\\").replace('\u{2}', "."))
    })
}

fn is_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left == right,
            _ => left.as_f64() == right.as_f64(),
        },
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => left == right,
        _ => false,
    }
}

/// As `equals` and `in` see an attribute: a number is also its plain digits.
fn is_same(found: &Value, value: &Value) -> bool {
    match (found, value) {
        (Value::String(digits), Value::Number(number)) => *digits == plain(number),
        _ => is_equal(found, value),
    }
}

fn plain(number: &serde_json::Number) -> String {
    match number.as_i64() {
        Some(whole) => whole.to_string(),
        None => number.as_f64().unwrap().to_string(),
    }
}

/// A text that is a number, as a sheet's cell may be.
fn cell_number(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| " \t\n\u{b}\u{c}\r".contains(c));
    let first = text.trim_start_matches(['+', '-']).chars().next()?;
    let number: f64 = text.parse().ok()?;
    (first.is_ascii_digit() || first == '.').then_some(number)
}

fn order(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
        (Value::String(left), Value::String(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Value::String(left), Value::Number(right)) => match (left.trim().parse::<i64>(), right.as_i64()) {
            (Ok(left), Some(right)) => Some(left.cmp(&right)),
            _ => cell_number(left)?.partial_cmp(&right.as_f64()?),
        },
        _ => None,
    }
}

/// As `contains` and `starts_with` see a text: up to a NUL, A–Z as a–z.
fn folded(text: &str) -> String {
    text.split('\0').next().unwrap().to_ascii_lowercase()
}

fn attribute_matches(operator: &str, value: Option<&Value>, found: Option<&Value>) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let null = Value::Null;
    let value = value.unwrap_or(&null);
    let found = found.unwrap_or(&null);
    match operator {
        "equals" => is_same(found, value),
        "not_equals" => !is_same(found, value),
        "in" => value.as_array().unwrap().iter().any(|one| is_same(found, one)),
        "not_in" => !value.as_array().unwrap().iter().any(|one| is_same(found, one)),
        "contains" => match (found, value) {
            (Value::Array(items), _) => items.iter().any(|item| is_equal(item, value)),
            (Value::String(text), Value::String(part)) => folded(text).contains(&folded(part)),
            _ => false,
        },
        "starts_with" => match (found, value) {
            (Value::String(text), Value::String(start)) => folded(text).starts_with(&folded(start)),
            _ => false,
        },
        "exists" => !found.is_null() && found != "",
        "not_exists" => found.is_null() || found == "",
        // More than a number beyond 2^53 is asked of numbers alone.
        "gt" if found.is_string()
            && value.as_f64().is_some_and(|bound| bound.abs() > 9_007_199_254_740_991.0) =>
        {
            false
        }
        "gt" => order(found, value) == Some(Greater),
        "gte" => matches!(order(found, value), Some(Greater | Equal)),
        "lt" => order(found, value) == Some(Less),
        "lte" => matches!(order(found, value), Some(Less | Equal)),
        _ => time_matches(operator, value, found.as_str().and_then(instant_of)),
    }
}

/// Milliseconds of a text that is a date or an instant.
fn instant_of(text: &str) -> Option<i64> {
    let utc = jiff::tz::TimeZone::UTC;
    let day = text.get(..10)?;
    if day.len() != 10 || day.matches('-').count() != 2 {
        return None;
    }
    let date: jiff::civil::Date = day.parse().ok()?;
    if text.len() == 10 {
        return Some(date.to_zoned(utc).ok()?.timestamp().as_millisecond());
    }
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    Some(civil.to_zoned(utc).ok()?.timestamp().as_millisecond())
}

fn time_matches(operator: &str, value: &Value, at: Option<i64>) -> bool {
    let value = value.as_str().unwrap();
    let Some(at) = at else { return false };
    match operator {
        "before" => at < instant_of(value).unwrap(),
        "after" => at > instant_of(value).unwrap(),
        "within_last" => at <= NOW && at >= NOW - span_ms(value),
        other => panic!("{other}"),
    }
}

fn span_ms(written: &str) -> i64 {
    match written {
        "30d" => 30 * DAY,
        "12h" => 12 * HOUR,
        "1w" => 7 * DAY,
        "1m" => 60_000,
        other => panic!("{other}"),
    }
}

fn is_recent(node: &Map<String, Value>, at: Option<i64>) -> bool {
    match node.get("within_last") {
        Some(span) => time_matches("within_last", span, at),
        None => true,
    }
}

fn field_matches(field: &str, node: &Map<String, Value>, person: &Person) -> bool {
    let operator = node["operator"].as_str().unwrap();
    let value = node.get("value").cloned().unwrap_or(Value::Null);
    match field {
        "phone" => attribute_matches(operator, Some(&value), Some(&json!(person.phone))),
        "consent" => attribute_matches(operator, Some(&value), Some(&json!(person.consent))),
        "country" => {
            let upper: Value =
                serde_json::from_str(&value.to_string().to_uppercase().replace("NULL", "null")).unwrap();
            attribute_matches(operator, Some(&upper), Some(&json!(person.country)))
        }
        "topic" => {
            let names = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            let is_in = names.iter().any(|name| is_subscribed(person, name.as_str().unwrap()));
            is_in != operator.starts_with("not")
        }
        "created_at" => time_matches(operator, &value, Some(person.created_at)),
        "last_inbound_at" => match operator {
            "exists" => person.last_inbound_at.is_some(),
            "not_exists" => person.last_inbound_at.is_none(),
            _ => time_matches(operator, &value, person.last_inbound_at),
        },
        other => panic!("{other}"),
    }
}

fn is_subscribed(person: &Person, name: &str) -> bool {
    let position = TOPICS.iter().position(|(topic, _)| topic.eq_ignore_ascii_case(name));
    position.is_some_and(|topic| match person.subscriptions[topic] {
        Some(state) => state == "subscribed",
        None => TOPICS[topic].1 == "all_opted_in" && person.consent == "opt_in",
    })
}

fn engagement_matches(kind: &str, node: &Map<String, Value>, person: &Person) -> bool {
    let campaign_id = node.get("campaign_id").map(|id| id.as_i64().unwrap());
    let of_campaign =
        person.messages.iter().filter(|message| campaign_id.is_none() || message.campaign_id == campaign_id);
    if kind == "replied" {
        let since = match campaign_id {
            None => Some(i64::MIN),
            Some(_) => of_campaign.filter_map(|message| message.accepted_at).min(),
        };
        let Some(since) = since else { return false };
        return person.inbound.iter().any(|at| *at >= since && is_recent(node, Some(*at)));
    }
    of_campaign.into_iter().any(|m| {
        let (statuses, at): (&[&str], _) = match kind {
            "sent" => (
                &["accepted", "sent", "delivered", "read"],
                Some(m.accepted_at.or(m.sent_at).unwrap_or(m.created_at)),
            ),
            "delivered" => (&["delivered", "read"], m.delivered_at.or(m.read_at)),
            "read" => (&["read"], m.read_at),
            "failed" => (&["failed", "undelivered", "expired"], Some(m.accepted_at.unwrap_or(m.created_at))),
            other => panic!("{other}"),
        };
        statuses.contains(&m.status) && is_recent(node, at)
    })
}
