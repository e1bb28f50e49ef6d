//! Several values in one line: commas between them, quotes around what has a comma, a quote or a blank at its end.

use serde_json::Value;

/// Values as one line; only of use where all are texts or all numbers.
pub(super) fn join(items: &[Value]) -> String {
    let written = items.iter().map(|item| match item {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    });
    written.collect::<Vec<_>>().join(", ")
}

/// One value more at the end of a line.
pub(super) fn with(line: &str, item: &str) -> String {
    if line.is_empty() { quoted(item) } else { format!("{line}, {}", quoted(item)) }
}

fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty() && text.trim() == text && !text.contains([',', '"']);
    if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// The values in a line.
pub fn split(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('"') {
            let (item, behind) = unquoted(inner);
            found.push(item);
            rest = behind.split_once(',').map_or("", |(_, next)| next).trim_start();
        } else {
            let (item, next) = rest.split_once(',').unwrap_or((rest, ""));
            let item = item.trim();
            if !item.is_empty() {
                found.push(item.to_owned());
            }
            rest = next.trim_start();
        }
    }
    found
}

/// What stands up to the closing quote, or to the end, and what comes behind it.
fn unquoted(text: &str) -> (String, &str) {
    let mut item = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('"') {
        item.push_str(before);
        match behind.strip_prefix('"') {
            Some(next) => {
                item.push('"');
                rest = next;
            }
            None => return (item, behind),
        }
    }
    item.push_str(rest);
    (item, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_read_as_people_write_it() {
        for (line, expected) in [
            ("Kandy, Galle", vec!["Kandy", "Galle"]),
            ("Kandy,Galle,", vec!["Kandy", "Galle"]),
            (" \"Galle, Fort\" , Kandy", vec!["Galle, Fort", "Kandy"]),
            ("\"say \"\"hi\"\"\"", vec!["say \"hi\""]),
            ("\"\"", vec![""]),
            ("\"open", vec!["open"]),
            ("", vec![]),
            (",,", vec![]),
        ] {
            assert_eq!(split(line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_joined_is_split_again(items in prop::collection::vec("[a, \"b]{0,4}", 0..6)) {
            let values: Vec<Value> = items.iter().map(|item| json!(item)).collect();
            prop_assert_eq!(split(&join(&values)), items);
        }
    }
}
