//! XLSX: the first visible sheet with something in it, cell by cell. What Excel keeps apart from the
//! sheet, its table of texts, has to stay in memory and is bounded for that.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use calamine::{DataRef, ExcelDateTime, Reader, SheetType, SheetVisible, Xlsx, XlsxError};
use serde_json::{Number, Value};

use super::{Cell, FileError, Format, Layout, MAX_COLUMNS, RawRow, RowProblem, Source};

/// The table of texts, unpacked. In memory it takes about twice that.
const MAX_TEXTS: u64 = 64 << 20;
/// Everything else that is unpacked: a zip of a few kilobytes may hold petabytes.
const MAX_UNPACKED: u64 = 8 << 30;
/// Beyond 2^53 a number in a spreadsheet has lost its last digits.
const EXACT: f64 = 9_007_199_254_740_992.0;

const DAMAGED: &str =
    "The Excel file is damaged or was cut off on its way. Save it again and choose it again.";

pub(super) fn survey(path: &Path) -> Result<Layout, FileError> {
    check_sizes(path)?;
    let mut header = Vec::new();
    let mut rows = 0;
    let sheet = each_sheet_row(path, &mut |_, cells| {
        if header.is_empty() {
            header = cells.iter().map(name_of).collect();
        } else {
            rows += 1;
        }
        ControlFlow::Continue(())
    })?;
    while header.last().is_some_and(String::is_empty) {
        header.pop();
    }
    if header.is_empty() {
        return FileError::refused("No sheet of the workbook has anything in it.");
    }
    Ok(Layout {
        format: Format::Xlsx,
        encoding: None,
        delimiter: None,
        sheet,
        header,
        rows,
        source: Source::Xlsx,
    })
}

pub(super) fn each_row(
    path: &Path,
    visit: &mut dyn FnMut(RawRow) -> ControlFlow<()>,
) -> Result<(), FileError> {
    let mut columns = None;
    each_sheet_row(path, &mut |number, mut cells| {
        while cells.last() == Some(&Cell::Blank) {
            cells.pop();
        }
        let Some(columns) = columns else {
            columns = Some(cells.len());
            return ControlFlow::Continue(());
        };
        let problem = (cells.len() > columns).then_some(RowProblem::TooManyCells(cells.len()));
        visit(RawRow { number, cells, problem })
    })
    .map(drop)
}

/// Refuses what would not fit into memory before anything of it is unpacked there.
fn check_sizes(path: &Path) -> Result<(), FileError> {
    let damaged = |_| FileError::Refused(DAMAGED.to_owned());
    let mut archive = zip::ZipArchive::new(BufReader::new(File::open(path)?)).map_err(damaged)?;
    let mut unpacked = 0_u64;
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(damaged)?;
        unpacked = unpacked.saturating_add(entry.size());
        if entry.name().is_ok_and(|name| name.eq_ignore_ascii_case("xl/sharedStrings.xml")) {
            check_texts(entry)?;
        }
    }
    if unpacked > MAX_UNPACKED {
        return FileError::refused("The workbook is too large once unpacked. Save the sheet as CSV.");
    }
    Ok(())
}

fn check_texts(mut entry: impl Read) -> Result<(), FileError> {
    let mut start = Vec::new();
    let damaged = |_| FileError::Refused(DAMAGED.to_owned());
    entry.by_ref().take(4_096).read_to_end(&mut start).map_err(damaged)?;
    let rest = std::io::copy(&mut entry.take(MAX_TEXTS + 1), &mut std::io::sink()).map_err(damaged)?;
    let size = start.len() as u64 + rest;
    if size > MAX_TEXTS {
        return FileError::refused(
            "The texts of the workbook take more than 64 MiB. Save the sheet as CSV: that has no such limit.",
        );
    }
    // Memory is set aside by the count that the file declares; one text takes five bytes at least.
    let start = String::from_utf8_lossy(&start);
    let declared = start
        .split_once("uniqueCount=\"")
        .and_then(|(_, rest)| rest.split('"').next())
        .map_or(0, |count| count.parse::<u64>().unwrap_or(u64::MAX));
    if declared > size / 5 + 1 {
        return FileError::refused(DAMAGED);
    }
    Ok(())
}

fn complaint(error: XlsxError) -> FileError {
    match error {
        XlsxError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => FileError::from(error),
        XlsxError::Password => {
            FileError::Refused("The workbook has a password. Save it without one.".to_owned())
        }
        _ => FileError::Refused(DAMAGED.to_owned()),
    }
}

/// Rows that are not blank, with their numbers. Returns the name of the sheet that they stand in.
fn each_sheet_row(
    path: &Path,
    visit: &mut dyn FnMut(u64, Vec<Cell>) -> ControlFlow<()>,
) -> Result<Option<String>, FileError> {
    let mut workbook: Xlsx<_> = Xlsx::new(BufReader::new(File::open(path)?)).map_err(complaint)?;
    let sheets: Vec<String> = workbook
        .sheets_metadata()
        .iter()
        .filter(|sheet| sheet.typ == SheetType::WorkSheet && sheet.visible == SheetVisible::Visible)
        .map(|sheet| sheet.name.clone())
        .collect();
    for name in sheets {
        let mut is_empty = true;
        let mut noted = |number, cells: Vec<Cell>| {
            if cells.iter().all(|cell| *cell == Cell::Blank) {
                return ControlFlow::Continue(());
            }
            is_empty = false;
            visit(number, cells)
        };
        each_row_of(&mut workbook, &name, &mut noted)?;
        if !is_empty {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn each_row_of(
    workbook: &mut Xlsx<BufReader<File>>,
    sheet: &str,
    visit: &mut dyn FnMut(u64, Vec<Cell>) -> ControlFlow<()>,
) -> Result<(), FileError> {
    let mut reader = workbook.worksheet_cells_reader(sheet).map_err(complaint)?;
    let mut row = 0;
    let mut cells: Vec<Cell> = Vec::new();
    while let Some(found) = reader.next_cell().map_err(complaint)? {
        let (at, column) = found.get_position();
        if at != row {
            if at < row {
                return FileError::refused(DAMAGED);
            }
            if visit(u64::from(row) + 1, std::mem::take(&mut cells)).is_break() {
                return Ok(());
            }
            row = at;
        }
        let column = column as usize;
        let cell = cell_of(found.get_value());
        if cell == Cell::Blank {
            continue;
        }
        if column >= MAX_COLUMNS {
            return FileError::refused(format!(
                "Row {} has something in column {}; at most {MAX_COLUMNS} columns are read.",
                row + 1,
                column + 1
            ));
        }
        if cells.len() <= column {
            cells.resize(column + 1, Cell::Blank);
        }
        if let Some(place) = cells.get_mut(column) {
            *place = cell;
        }
    }
    let _ = visit(u64::from(row) + 1, cells);
    Ok(())
}

fn cell_of(value: &DataRef<'_>) -> Cell {
    match value {
        DataRef::Int(number) => Cell::Json(Value::from(*number)),
        DataRef::Float(number) => number_of(*number),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            Cell::from_text(text)
        }
        DataRef::SharedString(text) => Cell::from_text(text),
        DataRef::Bool(flag) => Cell::Json(Value::Bool(*flag)),
        DataRef::DateTime(instant) => Cell::Text(date_of(instant)),
        DataRef::Error(_) | DataRef::Empty => Cell::Blank,
    }
}

fn number_of(number: f64) -> Cell {
    #[expect(clippy::cast_possible_truncation, reason = "integral and below 2^53")]
    if number.fract() == 0.0 && number.abs() < EXACT {
        return Cell::Json(Value::from(number as i64));
    }
    Number::from_f64(number).map_or(Cell::Blank, |number| Cell::Json(Value::Number(number)))
}

/// ISO 8601: a day, a time of day, or both. A spreadsheet knows no time zone.
fn date_of(instant: &ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, _) = instant.to_ymd_hms_milli();
    let serial = instant.as_f64();
    if instant.is_duration() || serial < 1.0 {
        let hours = u64::from(hour) + if serial >= 1.0 { 24 * serial.trunc() as u64 } else { 0 };
        return format!("{hours:02}:{minute:02}:{second:02}");
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if (hour, minute, second) == (0, 0, 0) {
        date
    } else {
        format!("{date}T{hour:02}:{minute:02}:{second:02}")
    }
}

fn name_of(cell: &Cell) -> String {
    match cell {
        Cell::Blank => String::new(),
        Cell::Text(text) => text.clone(),
        Cell::Json(value) => value.to_string(),
    }
}
