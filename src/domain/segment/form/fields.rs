//! Rows as fields of a form, both ways.

use super::{MAX_ROWS, Row, What, list};

/// The fields of a form: `rules.0.what`, `rules.0.depth` and so on.
pub fn pairs(rows: &[Row]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        found.push((format!("rules.{index}.depth"), row.depth.to_string()));
        for (field, text) in row.fields() {
            found.push((format!("rules.{index}.{field}"), text.to_owned()));
        }
    }
    found
}

/// The rows of a form, in the order of their numbers, of which some may be missing. `None` when there are more
/// than [`MAX_ROWS`].
pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Vec<Row>> {
    let mut rows: std::collections::BTreeMap<u32, Row> = std::collections::BTreeMap::new();
    for (key, value) in pairs {
        let Some((index, field)) = key.strip_prefix("rules.").and_then(|rest| rest.split_once('.')) else {
            continue;
        };
        let Ok(index) = index.parse::<u32>() else {
            continue;
        };
        if rows.len() >= MAX_ROWS && !rows.contains_key(&index) {
            return None;
        }
        let row = rows.entry(index).or_insert_with(|| Row::new(0, What::Attribute));
        let text = value.to_owned();
        match field {
            "depth" => row.depth = text.parse().unwrap_or(0),
            // What nobody knows stays what it is as JSON that is no definition: never everybody.
            "what" => row.what = What::parse(value).unwrap_or(What::Json),
            "name" => row.name = text,
            "operator" => row.operator = text,
            "value" => row.value = text,
            // Boxes that are ticked come one by one.
            "choice" => row.value = list::with(&row.value, value),
            "unit" => row.unit = text,
            "campaign" => row.campaign = text,
            "at_least" => row.at_least = text,
            _ => {}
        }
    }
    Some(rows.into_values().collect())
}
