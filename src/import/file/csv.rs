//! CSV as spreadsheets write it: any of four delimiters, quoted line breaks, ragged rows.

use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;

use csv::{ByteRecord, ReaderBuilder};

use super::text::TextFile;
use super::{Cell, FileError, Format, Layout, MAX_ROW_BYTES, RawRow, RowProblem, Source};

/// In order of preference where several fit equally.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// How much of the file decides the delimiter.
const SAMPLE: usize = 64 * 1024;

/// How this file is written.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    file: TextFile,
    delimiter: u8,
    /// Bytes of Excel's own first line `sep=;`, which is no row.
    preamble: usize,
}

impl Dialect {
    fn detect(file: TextFile) -> Result<Dialect, FileError> {
        let mut sample = Vec::new();
        file.open()?.take(SAMPLE as u64).read_to_end(&mut sample)?;
        if let Some((delimiter, preamble)) = told_delimiter(&sample) {
            return Ok(Dialect { file, delimiter, preamble });
        }
        if sample.len() == SAMPLE {
            // The last line of the sample is cut off.
            let end = sample.iter().rposition(|byte| *byte == b'\n').unwrap_or(SAMPLE);
            sample.truncate(end);
        }
        let mut best = (0, b',');
        for delimiter in DELIMITERS {
            let score = fit(&sample, delimiter);
            if score > best.0 {
                best = (score, delimiter);
            }
        }
        Ok(Dialect { file, delimiter: best.1, preamble: 0 })
    }

    fn open<R: Read>(&self, input: R) -> csv::Reader<R> {
        ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .buffer_capacity(SAMPLE)
            .from_reader(input)
    }

    fn input(&self) -> io::Result<impl Read + use<>> {
        let mut input = self.file.open()?;
        let mut left = self.preamble;
        while left > 0 {
            let ready = input.fill_buf()?.len().min(left);
            if ready == 0 {
                break;
            }
            input.consume(ready);
            left -= ready;
        }
        Ok(PlainBreaks { inner: input, was_return: false })
    }
}

/// `sep=;` on the first line.
fn told_delimiter(sample: &[u8]) -> Option<(u8, usize)> {
    let rest = sample.strip_prefix(b"sep=")?;
    let (delimiter, rest) = rest.split_first()?;
    let ending = match rest {
        [b'\r', b'\n', ..] => 2,
        [b'\n' | b'\r', ..] => 1,
        _ => return None,
    };
    Some((*delimiter, 5 + ending))
}

/// How well a delimiter fits: rows as wide as the first one, out of twenty, then its width.
fn fit(sample: &[u8], delimiter: u8) -> usize {
    let reader =
        ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(sample);
    let widths: Vec<usize> =
        reader.into_byte_records().take(20).map_while(|record| record.ok().map(|r| r.len())).collect();
    match widths.first() {
        Some(&width) if width > 1 => {
            let alike = widths.iter().filter(|other| **other == width).count();
            alike * 10_000 / widths.len() + width.min(1_000)
        }
        _ => 0,
    }
}

pub(super) fn survey(file: TextFile) -> Result<Layout, FileError> {
    let dialect = Dialect::detect(file)?;
    let mut watch = QuoteWatch::new(dialect.input()?, dialect.delimiter);
    let mut reader = dialect.open(&mut watch);
    let mut record = ByteRecord::new();
    let mut header = None;
    let mut rows = 0;
    while read(&mut reader, &mut record)? {
        if is_blank(&record) {
            continue;
        }
        if header.is_none() {
            header = Some(record.iter().map(text_of).collect::<Vec<_>>());
        } else {
            rows += 1;
        }
    }
    drop(reader);
    watch.finish()?;
    let Some(mut header) = header else {
        return FileError::refused("The file is empty.");
    };
    while header.last().is_some_and(String::is_empty) {
        header.pop();
    }
    Ok(Layout {
        format: Format::Csv,
        encoding: Some(dialect.file.encoding_name()),
        delimiter: Some(char::from(dialect.delimiter)),
        sheet: None,
        header,
        rows,
        source: Source::Csv(dialect),
    })
}

pub(super) fn each_row(
    dialect: &Dialect,
    columns: usize,
    visit: &mut dyn FnMut(RawRow) -> ControlFlow<()>,
) -> Result<(), FileError> {
    let mut reader = dialect.open(dialect.input()?);
    let mut record = ByteRecord::new();
    let mut number = 0;
    let mut is_header_read = false;
    let mut line = reader.position().line();
    while read(&mut reader, &mut record)? {
        // The reader passes over empty lines; a spreadsheet counts them, and a row with line breaks in
        // its cells as one.
        let breaks = record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        let passed = reader.position().line().saturating_sub(line);
        line = reader.position().line();
        number += 1 + passed.saturating_sub(breaks + 1);
        if is_blank(&record) {
            continue;
        }
        if !is_header_read {
            is_header_read = true;
            continue;
        }
        if visit(raw_row(&record, number, columns)).is_break() {
            break;
        }
    }
    Ok(())
}

fn raw_row(record: &ByteRecord, number: u64, columns: usize) -> RawRow {
    let mut cells: Vec<Cell> = record
        .iter()
        .map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Cell::from_text(text),
            Err(_) => Cell::from_text(&String::from_utf8_lossy(bytes)),
        })
        .collect();
    while cells.len() > columns && cells.last() == Some(&Cell::Blank) {
        cells.pop();
    }
    let problem = (cells.len() > columns).then_some(RowProblem::TooManyCells(cells.len()));
    RawRow { number, cells, problem }
}

fn read<R: Read>(reader: &mut csv::Reader<R>, record: &mut ByteRecord) -> Result<bool, FileError> {
    reader.read_byte_record(record).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => FileError::from(error),
        other => FileError::Refused(format!("The file could not be read as CSV: {other:?}.")),
    })
}

fn is_blank(record: &ByteRecord) -> bool {
    record.as_slice().iter().all(u8::is_ascii_whitespace)
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Every line break as `\n`, in cells too: what reads on counts lines by it.
struct PlainBreaks<R> {
    inner: R,
    was_return: bool,
}

impl<R: Read> Read for PlainBreaks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.inner.read(buffer)?;
            let filled = buffer.get_mut(..read).unwrap_or_default();
            let kept = if self.was_return || filled.contains(&b'\r') { self.rewrite(filled) } else { read };
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

impl<R> PlainBreaks<R> {
    /// In place; returns how many bytes are left.
    fn rewrite(&mut self, bytes: &mut [u8]) -> usize {
        let mut kept = 0;
        for at in 0..bytes.len() {
            let byte = bytes.get(at).copied().unwrap_or_default();
            let is_second_half = byte == b'\n' && self.was_return;
            self.was_return = byte == b'\r';
            if is_second_half {
                continue;
            }
            if let Some(place) = bytes.get_mut(kept) {
                *place = if byte == b'\r' { b'\n' } else { byte };
            }
            kept += 1;
        }
        kept
    }
}

/// Follows the quotation marks of the text that passes through, by the rules of the `csv` crate, which
/// takes an open quotation at the end of the file in silence.
struct QuoteWatch<R> {
    inner: R,
    delimiter: u8,
    at: At,
    line: u64,
    opened_on: u64,
    record_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    FieldStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

impl<R> QuoteWatch<R> {
    fn new(inner: R, delimiter: u8) -> QuoteWatch<R> {
        QuoteWatch { inner, delimiter, at: At::FieldStart, line: 1, opened_on: 0, record_bytes: 0 }
    }

    fn follow(&mut self, bytes: &[u8]) -> io::Result<()> {
        for &byte in bytes {
            self.record_bytes += 1;
            let ends_line = byte == b'\n';
            self.at = match (self.at, byte) {
                (At::Quoted, b'"') => At::QuoteInQuoted,
                (At::Quoted, _) => At::Quoted,
                (At::QuoteInQuoted, b'"') => At::Quoted,
                (At::FieldStart, b'"') => {
                    self.opened_on = self.line;
                    At::Quoted
                }
                (_, byte) if byte == self.delimiter => At::FieldStart,
                _ if ends_line => {
                    self.record_bytes = 0;
                    At::FieldStart
                }
                _ => At::Plain,
            };
            self.line += u64::from(byte == b'\n');
        }
        if self.record_bytes > MAX_ROW_BYTES {
            return Err(self.too_long());
        }
        Ok(())
    }

    fn too_long(&self) -> io::Error {
        let message = if self.at == At::Quoted {
            format!(
                "A quotation mark opens on line {} and does not close within 1 MiB. Close it, or save the sheet again.",
                self.opened_on
            )
        } else {
            format!("Line {} is longer than 1 MiB. This is not a table of people.", self.line)
        };
        io::Error::new(io::ErrorKind::InvalidData, message)
    }

    fn finish(&self) -> Result<(), FileError> {
        if self.at == At::Quoted {
            return FileError::refused(format!(
                "The file ends inside a quotation that opens on line {}: it was cut off, or a quotation mark is missing.",
                self.opened_on
            ));
        }
        Ok(())
    }
}

impl<R: Read> Read for QuoteWatch<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.follow(buffer.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}
