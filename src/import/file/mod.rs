//! The spooled file: what it is, which columns it has, and its rows one after the other, in constant
//! memory. Nothing here knows people or the store.

mod csv;
mod format;
mod json;
mod text;
mod xlsx;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Map, Value};

pub use format::Format;

/// Columns of one file.
const MAX_COLUMNS: usize = 1_000;
/// One row of a CSV file, one element of JSON, in bytes.
const MAX_ROW_BYTES: usize = 1 << 20;

/// Why a file can't be imported, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is not what it should be.
    #[error("{0}")]
    Refused(String),
    /// The system could not read it.
    #[error("The file could not be read: {0}.")]
    Io(std::io::Error),
}

impl FileError {
    fn refused<T>(message: impl Into<String>) -> Result<T, FileError> {
        Err(FileError::Refused(message.into()))
    }
}

/// Readers pass a sentence of ours through `std::io` as `InvalidData`.
impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> FileError {
        match error.kind() {
            std::io::ErrorKind::InvalidData => FileError::Refused(error.to_string()),
            std::io::ErrorKind::NotFound => {
                FileError::Refused("The uploaded file is gone. Choose it again.".to_owned())
            }
            _ => FileError::Io(error),
        }
    }
}

/// What a cell holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Cell {
    /// Nothing but space, null, or an error value of the spreadsheet.
    #[default]
    Blank,
    /// Text without the space around it.
    Text(String),
    /// A number, truth value, list or object.
    Json(Value),
}

impl Cell {
    fn from_text(text: &str) -> Cell {
        match text.trim() {
            "" => Cell::Blank,
            text => Cell::Text(text.to_owned()),
        }
    }

    fn from_json(value: Value) -> Cell {
        match value {
            Value::Null => Cell::Blank,
            Value::String(text) => Cell::from_text(&text),
            other => Cell::Json(other),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Cell::Blank => 0,
            Cell::Text(text) => text.len(),
            Cell::Json(Value::Array(items)) => 64 * (1 + items.len()),
            Cell::Json(Value::Object(map)) => 64 * (1 + map.len()),
            Cell::Json(_) => 16,
        }
    }
}

/// A row as the file has it; its cells stand under [`Layout::header`].
#[derive(Debug)]
pub(super) struct RawRow {
    /// As a spreadsheet counts: the header is row 1. Elements of JSON count from 1.
    pub(super) number: u64,
    /// One for each column, or fewer: the rest is blank.
    pub(super) cells: Vec<Cell>,
    /// Set when the row can't be read as such.
    pub(super) problem: Option<RowProblem>,
}

impl RawRow {
    /// About how much memory the row takes.
    pub(super) fn bytes(&self) -> usize {
        64 + self.cells.iter().map(|cell| 32 + cell.bytes()).sum::<usize>()
    }
}

/// Why a row is no row of this table.
#[derive(Debug)]
pub(super) enum RowProblem {
    /// More cells than the header has columns: so many.
    TooManyCells(usize),
    /// A line of NDJSON that is no JSON, with the parser's words.
    NotJson(String),
    /// A line of NDJSON that is JSON but no object.
    NotAnObject,
}

/// What the first pass over a file found.
#[derive(Clone, Debug)]
pub struct Layout {
    /// CSV, XLSX, JSON, NDJSON.
    pub format: Format,
    /// Of text formats.
    pub encoding: Option<&'static str>,
    /// Of CSV.
    pub delimiter: Option<char>,
    /// Of a workbook: the sheet that is read.
    pub sheet: Option<String>,
    /// The columns, as the file names them, each with a name of its own; for JSON every field that any element has.
    pub header: Vec<String>,
    /// Rows below the header that are not blank.
    pub rows: u64,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Csv(csv::Dialect),
    Json(text::TextFile),
    Xlsx,
}

/// Reads the whole file once, structure only: a file that is cut off or damaged is refused before any
/// row is acted on.
///
/// # Errors
/// [`FileError`] says what is wrong with the file.
pub fn survey(path: &Path, encoding: Option<&str>) -> Result<Layout, FileError> {
    let format = format::detect(path)?;
    let mut layout = match format {
        Format::Csv => csv::survey(text::detect(path, encoding)?)?,
        Format::Json | Format::Ndjson => json::survey(format, text::detect(path, encoding)?)?,
        Format::Xlsx => xlsx::survey(path)?,
    };
    if layout.header.len() > MAX_COLUMNS {
        return FileError::refused(format!(
            "The file has {} columns; at most {MAX_COLUMNS} are read.",
            layout.header.len()
        ));
    }
    if matches!(format, Format::Csv | Format::Xlsx) {
        name_columns(&mut layout.header);
    }
    Ok(layout)
}

/// Gives columns without a name one, and the second of two with the same name another, so that each can be told.
fn name_columns(header: &mut [String]) {
    let mut taken: HashSet<String> = HashSet::new();
    for (at, name) in header.iter_mut().enumerate() {
        if name.is_empty() {
            *name = format!("column {}", at + 1);
        }
        let (first, mut count) = (name.clone(), 1);
        while !taken.insert(name.clone()) {
            count += 1;
            *name = format!("{first} {count}");
        }
    }
}

/// Hands every row that is not blank to `visit`, in the order of the file, until it breaks.
pub(super) fn each_row(
    path: &Path,
    layout: &Layout,
    visit: &mut dyn FnMut(RawRow) -> ControlFlow<()>,
) -> Result<(), FileError> {
    match &layout.source {
        Source::Csv(dialect) => csv::each_row(dialect, layout.header.len(), visit),
        Source::Json(file) => json::each_row(layout.format, file, &layout.header, visit),
        Source::Xlsx => xlsx::each_row(path, visit),
    }
}

/// The row as a JSON object of its cells that are not blank, at most `limit` bytes: longer cells are cut,
/// and columns that no longer fit are left out. `phone`, if known, stands for the cell at its place.
pub(super) fn as_object(
    header: &[String],
    row: &RawRow,
    phone: Option<(usize, &str)>,
    limit: usize,
) -> String {
    let longest = limit / 8;
    let mut room = limit.saturating_sub(2);
    let mut map = Map::new();
    for (at, cell) in row.cells.iter().enumerate() {
        let value = match (phone, cell) {
            (Some((column, e164)), _) if column == at => Value::from(e164),
            (_, Cell::Blank) => continue,
            (_, Cell::Text(text)) => Value::from(cut(text, longest)),
            (_, Cell::Json(value @ (Value::Array(_) | Value::Object(_)))) => {
                Value::from(cut(&value.to_string(), longest))
            }
            (_, Cell::Json(value)) => value.clone(),
        };
        let name = header.get(at).map_or_else(|| format!("column {}", at + 1), |name| cut(name, longest));
        let size = value.to_string().len() + Value::from(name.as_str()).to_string().len() + 2;
        if size > room {
            continue;
        }
        room -= size;
        map.insert(name, value);
    }
    Value::Object(map).to_string()
}

fn cut(text: &str, bytes: usize) -> String {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > bytes) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
