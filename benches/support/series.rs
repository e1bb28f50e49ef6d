//! Series of points that a benchmark keeps for `plots`: one file of JSON lines each, the last run's.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Keeps a series of the figure `of` under `name`, in place of the last run's.
pub fn keep(of: &str, name: &str, points: &[(f64, f64)]) {
    let path = super::results().join(format!("{of}.series.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let mut all: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    all.insert(name.to_owned(), json!(points));
    std::fs::write(path, serde_json::to_string_pretty(&all).unwrap()).unwrap();
}

/// Adds a point to a series, in place of one at the same place.
pub fn add(of: &str, name: &str, point: (f64, f64)) {
    let mut points = self::of(of).and_then(|mut all| all.remove(name)).unwrap_or_default();
    points.retain(|(x, _)| *x != point.0);
    points.push(point);
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    keep(of, name, &points);
}

/// The series of a figure, by name; `None` when its benchmark has not run.
pub fn of(of: &str) -> Option<BTreeMap<String, Vec<(f64, f64)>>> {
    let text = std::fs::read_to_string(super::results().join(format!("{of}.series.json"))).ok()?;
    serde_json::from_str(&text).ok()
}
