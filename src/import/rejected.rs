//! The rows that had issues, as CSV that a spreadsheet opens without running anything in it.

use serde_json::Value;

use crate::store::imports::Issue;

/// The first line: what is told of each row, then the file's own `columns`
/// ([`crate::store::imports::issue_columns`]).
pub fn issues_csv_header(columns: &[String]) -> String {
    let own = ["row", "reason", "rejected", "message"].map(str::to_owned);
    line(own.iter().chain(columns).map(|name| shielded(name)))
}

/// One line for each issue, in the order given.
pub fn issues_csv_lines(columns: &[String], issues: &[Issue]) -> String {
    issues
        .iter()
        .map(|issue| {
            let own = [
                issue.row.to_string(),
                issue.reason.clone(),
                issue.is_rejected.to_string(),
                shielded(&issue.message),
            ];
            line(own.into_iter().chain(cells(columns, issue)))
        })
        .collect()
}

/// What the last column of [`rejected_csv_lines`] is called; a file with it that comes in again leaves it out.
pub(super) const WHY: &str = "why not imported";

/// The first line of the rows that were not taken: the file's own columns, then why.
pub fn rejected_csv_header(columns: &[String]) -> String {
    line(columns.iter().map(String::as_str).chain([WHY]).map(shielded))
}

/// One line for each row that was not taken: its cells as they stood, then why, so that whoever mends them can
/// choose the same file again.
pub fn rejected_csv_lines(columns: &[String], issues: &[Issue]) -> String {
    issues.iter().map(|issue| line(cells(columns, issue).chain([shielded(&issue.message)]))).collect()
}

fn cells(columns: &[String], issue: &Issue) -> impl Iterator<Item = String> {
    columns.iter().map(|column| match issue.cells.get(column) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => shielded(text),
        Some(value) => value.to_string(),
    })
}

/// A cell that begins like a formula gets an apostrophe, which a spreadsheet takes as "this is text" and
/// an import of ours takes off a number again.
fn shielded(text: &str) -> String {
    let lead = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("{lead}{text}")
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(cells.map(String::into_bytes)).expect("a Vec takes every line");
    let bytes = writer.into_inner().expect("a Vec takes every line");
    String::from_utf8(bytes).expect("made of text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cell_that_looks_like_a_formula_is_text() {
        let columns = ["phone".to_owned(), "=name".to_owned()];
        let issue = Issue {
            row: 2,
            reason: "invalid_phone".to_owned(),
            is_rejected: true,
            column: None,
            message: "no, \"really\"".to_owned(),
            cells: json!({"phone": "+1", "=name": "=cmd|'/c calc'!A1"}).as_object().unwrap().clone(),
        };
        let text = issues_csv_header(&columns) + &issues_csv_lines(&columns, std::slice::from_ref(&issue));
        assert_eq!(
            text,
            "row,reason,rejected,message,phone,'=name\r\n\
             2,invalid_phone,true,\"no, \"\"really\"\"\",'+1,'=cmd|'/c calc'!A1\r\n"
        );
        let rejected = rejected_csv_header(&columns) + &rejected_csv_lines(&columns, &[issue]);
        assert_eq!(
            rejected,
            "phone,'=name,why not imported\r\n'+1,'=cmd|'/c calc'!A1,\"no, \"\"really\"\"\"\r\n"
        );
        for start in ["=", "+", "-", "@", "\t", "\r"] {
            assert!(shielded(start).starts_with('\''));
        }
        assert_eq!(shielded("Ana"), "Ana");
    }
}
