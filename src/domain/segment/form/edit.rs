//! Adding and removing rows.

use super::{Row, What, settled};

/// Adds a row at the end of the group at `group`; a rule at the root gets a group around it first.
pub fn add(rows: &[Row], group: usize, what: What) -> Vec<Row> {
    let mut rows = if rows.first().is_some_and(|root| root.what.is_group()) {
        settled(rows)
    } else {
        let mut wrapped = vec![Row::new(0, What::All)];
        wrapped.extend(rows.iter().map(|row| Row { depth: row.depth + 1, ..row.clone() }));
        settled(&wrapped)
    };
    let group = if rows.get(group).is_some_and(|row| row.what.is_group()) { group } else { 0 };
    let depth = rows.get(group).map_or(0, |row| row.depth);
    let behind = end_of(&rows, group);
    rows.insert(behind, Row::new(depth + 1, what));
    rows
}

/// Removes a row with all that stands inside it; the root stays, without what was inside.
pub fn remove(rows: &[Row], index: usize) -> Vec<Row> {
    let mut rows = settled(rows);
    if index < rows.len() {
        let behind = end_of(&rows, index);
        let from =
            if index == 0 && rows.first().is_some_and(|root| root.what.is_group()) { 1 } else { index };
        rows.drain(from..behind.max(from));
    }
    rows
}

/// The index behind a row and what stands inside it.
fn end_of(rows: &[Row], index: usize) -> usize {
    let depth = rows.get(index).map_or(0, |row| row.depth);
    index + 1 + rows.iter().skip(index + 1).take_while(|row| row.depth > depth).count()
}
