//! JSON: one array of objects, read element by element, or one object a line.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::text::TextFile;
use super::{Cell, FileError, Format, Layout, MAX_COLUMNS, MAX_ROW_BYTES, RawRow, RowProblem, Source};

type Element = Result<Map<String, Value>, RowProblem>;

pub(super) fn survey(format: Format, file: TextFile) -> Result<Layout, FileError> {
    let mut header: Vec<String> = Vec::new();
    let mut known: HashMap<String, ()> = HashMap::new();
    let mut rows = 0;
    let mut first_problem = None;
    let mut good = 0_u64;
    each_element(format, &file, &mut |_, element| {
        rows += 1;
        match element {
            Ok(map) => {
                good += 1;
                for name in map.keys().filter(|name| !known.contains_key(*name)).collect::<Vec<_>>() {
                    known.insert(name.clone(), ());
                    header.push(name.clone());
                }
            }
            Err(problem) => {
                first_problem.get_or_insert((rows, problem));
            }
        }
        if header.len() > MAX_COLUMNS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match first_problem {
        Some((1, RowProblem::NotJson(reason))) => {
            return FileError::refused(format!(
                "The first line is no complete JSON object ({reason}). Write one object a line, or an array of objects."
            ));
        }
        _ if rows == 0 => return FileError::refused("The file holds no people."),
        _ if good == 0 => return FileError::refused("No line of the file is a JSON object."),
        _ => {}
    }
    Ok(Layout {
        format,
        encoding: Some(file.encoding_name()),
        delimiter: None,
        sheet: None,
        header,
        rows,
        source: Source::Json(file),
    })
}

pub(super) fn each_row(
    format: Format,
    file: &TextFile,
    header: &[String],
    visit: &mut dyn FnMut(RawRow) -> ControlFlow<()>,
) -> Result<(), FileError> {
    let places: HashMap<&str, usize> =
        header.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    each_element(format, file, &mut |number, element| {
        let row = match element {
            Ok(map) => {
                let mut cells = vec![Cell::Blank; header.len()];
                for (name, value) in map {
                    if let Some(cell) = places.get(name.as_str()).and_then(|at| cells.get_mut(*at)) {
                        *cell = Cell::from_json(value);
                    }
                }
                RawRow { number, cells, problem: None }
            }
            Err(problem) => RawRow { number, cells: Vec::new(), problem: Some(problem) },
        };
        visit(row)
    })
}

fn each_element(
    format: Format,
    file: &TextFile,
    visit: &mut dyn FnMut(u64, Element) -> ControlFlow<()>,
) -> Result<(), FileError> {
    if format == Format::Json { each_of_array(file, visit) } else { each_line(file, visit) }
}

fn each_line(
    file: &TextFile,
    visit: &mut dyn FnMut(u64, Element) -> ControlFlow<()>,
) -> Result<(), FileError> {
    let mut input = file.open()?;
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        (&mut input).take(MAX_ROW_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        number += 1;
        if line.len() > MAX_ROW_BYTES {
            return FileError::refused(format!(
                "Line {number} is longer than 1 MiB. Write one object a line, or an array of objects."
            ));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let element = match serde_json::from_slice::<Value>(&line) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(RowProblem::NotAnObject),
            Err(error) if error.is_eof() && !line.ends_with(b"\n") => {
                return FileError::refused(format!(
                    "The file ends in the middle of line {number}: it was cut off."
                ));
            }
            Err(error) => Err(RowProblem::NotJson(error.to_string())),
        };
        if visit(number, element).is_break() {
            return Ok(());
        }
    }
}

fn each_of_array(
    file: &TextFile,
    visit: &mut dyn FnMut(u64, Element) -> ControlFlow<()>,
) -> Result<(), FileError> {
    let mut input = file.open()?;
    let mut number = 0;
    let cut = |number: u64| {
        FileError::Refused(format!("The file ends behind element {number}: it was cut off, “]” is missing."))
    };
    if next_sign(&mut input)? != Some(b'[') {
        return FileError::refused("The file is no JSON array.");
    }
    input.consume(1);
    loop {
        match next_sign(&mut input)? {
            Some(b']') => break,
            Some(b',') if number > 0 => input.consume(1),
            None => return Err(cut(number)),
            _ if number > 0 => {
                return FileError::refused(format!("A comma is missing behind element {number}."));
            }
            _ => {}
        }
        match next_sign(&mut input)? {
            Some(b'{') => {}
            None => return Err(cut(number)),
            _ => {
                return FileError::refused(format!("Element {} is not an object with fields.", number + 1));
            }
        }
        number += 1;
        let element = one_object(&mut input, number)?;
        if visit(number, Ok(element)).is_break() {
            return Ok(());
        }
    }
    input.consume(1);
    match next_sign(&mut input)? {
        None => Ok(()),
        Some(_) => FileError::refused("Something follows the end of the JSON array."),
    }
}

/// An object ends at its own brace, so the parser reads no byte beyond it.
fn one_object(input: &mut impl BufRead, number: u64) -> Result<Map<String, Value>, FileError> {
    let mut bounded = Bounded { inner: input, left: MAX_ROW_BYTES, number };
    let mut parser = serde_json::Deserializer::from_reader(&mut bounded);
    Map::deserialize(&mut parser).map_err(|error| {
        if error.is_io() {
            return FileError::from(io::Error::from(error));
        }
        FileError::Refused(if error.is_eof() {
            format!("The file ends in the middle of element {number}: it was cut off.")
        } else {
            format!("Element {number} is no JSON: {error}.")
        })
    })
}

/// The next byte that is not space, left where it is.
fn next_sign(input: &mut impl BufRead) -> Result<Option<u8>, FileError> {
    loop {
        let ready = input.fill_buf()?;
        if ready.is_empty() {
            return Ok(None);
        }
        match ready.iter().position(|byte| !byte.is_ascii_whitespace()) {
            Some(at) => {
                let sign = ready.get(at).copied();
                input.consume(at);
                return Ok(sign);
            }
            None => {
                let length = ready.len();
                input.consume(length);
            }
        }
    }
}

struct Bounded<'a, R> {
    inner: &'a mut R,
    left: usize,
    number: u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read).ok_or_else(|| {
            let message = format!("Element {} is longer than 1 MiB.", self.number);
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        Ok(read)
    }
}
