//! A long body cut into its pieces as it comes: lines of NDJSON, or elements of one JSON array. Never more than
//! one piece is held, and none that is too long.

use std::collections::VecDeque;

/// How the pieces stand in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON text on each line.
    Lines,
    /// One JSON array.
    Array,
}

/// One piece with its number, from 1: the line of the body, or the place in the array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What stands there, not yet read.
    Text(usize, Vec<u8>),
    /// More than [`Cutter::new`] allowed, thrown away.
    TooLong(usize),
    /// The array can't be followed from here on; nothing comes after this.
    Broken(usize, &'static str),
}

/// The body is no array at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoArray {
    /// It is another kind of JSON.
    #[error("The body must be a JSON array.")]
    OtherJson,
    /// It is nothing that can be read.
    #[error("The body is not JSON: an array begins with [.")]
    NoJson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the bracket that opens the array.
    Begin,
    /// Within a piece, or before the first character of one.
    Piece,
    /// Behind the bracket that closes the array.
    End,
    /// Behind a fault.
    Nowhere,
}

/// Cuts one body.
#[derive(Debug)]
pub struct Cutter {
    format: Format,
    longest: usize,
    at: At,
    number: usize,
    piece: Vec<u8>,
    is_too_long: bool,
    /// Brackets and braces that are open within the piece.
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl Cutter {
    /// Pieces of at most `longest` bytes.
    pub fn new(format: Format, longest: usize) -> Cutter {
        Cutter {
            format,
            longest,
            at: if format == Format::Lines { At::Piece } else { At::Begin },
            number: 1,
            piece: Vec::new(),
            is_too_long: false,
            depth: 0,
            is_in_text: false,
            is_escaped: false,
        }
    }

    /// Takes what came, and adds the pieces that it ends.
    ///
    /// # Errors
    /// [`NoArray`] when an array was expected and something else begins.
    pub fn push(&mut self, bytes: &[u8], pieces: &mut VecDeque<Piece>) -> Result<(), NoArray> {
        match self.format {
            Format::Lines => self.push_lines(bytes, pieces),
            Format::Array => {
                for byte in bytes {
                    self.push_byte(*byte, pieces)?;
                }
            }
        }
        Ok(())
    }

    /// The body is over: adds the piece that it ended with.
    ///
    /// # Errors
    /// [`NoArray`] when an array was expected and nothing came.
    pub fn finish(mut self, pieces: &mut VecDeque<Piece>) -> Result<(), NoArray> {
        match (self.format, self.at) {
            (Format::Lines, _) => self.end_line(pieces),
            (Format::Array, At::Begin) => return Err(NoArray::NoJson),
            (Format::Array, At::Piece) => {
                pieces.push_back(Piece::Broken(self.number, "the array is not closed"));
            }
            (Format::Array, At::End | At::Nowhere) => {}
        }
        Ok(())
    }

    fn push_lines(&mut self, mut bytes: &[u8], pieces: &mut VecDeque<Piece>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.keep(line);
            self.end_line(pieces);
            self.number += 1;
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.is_too_long || self.piece.len() + bytes.len() > self.longest {
            self.is_too_long = true;
            self.piece = Vec::new();
        } else {
            self.piece.extend_from_slice(bytes);
        }
    }

    /// Blank lines are counted and say nothing.
    fn end_line(&mut self, pieces: &mut VecDeque<Piece>) {
        let mut line = std::mem::take(&mut self.piece);
        if self.number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        if std::mem::take(&mut self.is_too_long) {
            pieces.push_back(Piece::TooLong(self.number));
        } else if !line.trim_ascii().is_empty() {
            pieces.push_back(Piece::Text(self.number, line));
        }
    }

    fn push_byte(&mut self, byte: u8, pieces: &mut VecDeque<Piece>) -> Result<(), NoArray> {
        match self.at {
            At::Begin => self.begin(byte)?,
            At::Piece => self.follow(byte, pieces),
            At::End if byte.is_ascii_whitespace() => {}
            At::End => {
                pieces.push_back(Piece::Broken(self.number, "something follows the array"));
                self.at = At::Nowhere;
            }
            At::Nowhere => {}
        }
        Ok(())
    }

    fn begin(&mut self, byte: u8) -> Result<(), NoArray> {
        match byte {
            b'[' => self.at = At::Piece,
            b'{' | b'"' => return Err(NoArray::OtherJson),
            _ if byte.is_ascii_whitespace() || BYTE_ORDER_MARK.contains(&byte) => {}
            _ => return Err(NoArray::NoJson),
        }
        Ok(())
    }

    fn follow(&mut self, byte: u8, pieces: &mut VecDeque<Piece>) {
        if self.is_in_text {
            self.is_in_text = self.is_escaped || byte != b'"';
            self.is_escaped = !self.is_escaped && byte == b'\\';
            return self.keep(&[byte]);
        }
        match byte {
            b',' if self.depth == 0 => return self.end_element(pieces),
            b']' if self.depth == 0 => {
                let is_empty = self.number == 1 && self.piece.trim_ascii().is_empty() && !self.is_too_long;
                if !is_empty {
                    self.end_element(pieces);
                }
                self.at = At::End;
                return;
            }
            b'"' => self.is_in_text = true,
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.keep(&[byte]);
    }

    fn end_element(&mut self, pieces: &mut VecDeque<Piece>) {
        let element = std::mem::take(&mut self.piece);
        pieces.push_back(if std::mem::take(&mut self.is_too_long) {
            Piece::TooLong(self.number)
        } else {
            Piece::Text(self.number, element)
        });
        self.number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn cut(format: Format, body: &[u8], step: usize) -> Result<Vec<Piece>, NoArray> {
        let (mut cutter, mut pieces) = (Cutter::new(format, 20), VecDeque::new());
        for chunk in body.chunks(step) {
            cutter.push(chunk, &mut pieces)?;
        }
        cutter.finish(&mut pieces)?;
        Ok(pieces.into())
    }

    fn text(number: usize, text: &str) -> Piece {
        Piece::Text(number, text.as_bytes().to_vec())
    }

    #[test]
    fn lines_are_cut_wherever_the_network_cuts_them() {
        let long = format!("a\n{}\nb", "x".repeat(21));
        for (body, pieces) in [
            ("", vec![]),
            ("\n\r\n  \n", vec![]),
            ("a\nb", vec![text(1, "a"), text(2, "b")]),
            ("\u{feff}a\r\n\nb\n", vec![text(1, "a\r"), text(3, "b")]),
            (&long, vec![text(1, "a"), Piece::TooLong(2), text(3, "b")]),
        ] {
            for step in 1..=body.len().max(1) {
                assert_eq!(
                    cut(Format::Lines, body.as_bytes(), step),
                    Ok(pieces.clone()),
                    "{body:?} by {step}"
                );
            }
        }
    }

    #[test]
    fn arrays_are_cut_at_their_own_commas() {
        let long = format!("[1,\"{}\",2]", "x".repeat(21));
        for (body, pieces) in [
            ("[]", vec![]),
            (" \u{feff}[ ] \n", vec![]),
            (
                r#"[{"a":[1,2]},"]}\",[" , 3]"#,
                vec![text(1, r#"{"a":[1,2]}"#), text(2, r#""]}\",[" "#), text(3, " 3")],
            ),
            ("[1,]", vec![text(1, "1"), text(2, "")]),
            ("[,]", vec![text(1, ""), text(2, "")]),
            (&long, vec![text(1, "1"), Piece::TooLong(2), text(3, "2")]),
            ("[1,2", vec![text(1, "1"), Piece::Broken(2, "the array is not closed")]),
            ("[1] x y", vec![text(1, "1"), Piece::Broken(2, "something follows the array")]),
            (r#"["a"#, vec![Piece::Broken(1, "the array is not closed")]),
            (r#"["\\"]"#, vec![text(1, r#""\\""#)]),
        ] {
            for step in 1..=body.len() {
                assert_eq!(
                    cut(Format::Array, body.as_bytes(), step),
                    Ok(pieces.clone()),
                    "{body:?} by {step}"
                );
            }
        }
        for (body, why) in [
            ("", NoArray::NoJson),
            ("  ", NoArray::NoJson),
            ("nonsense", NoArray::NoJson),
            ("{}", NoArray::OtherJson),
            ("\"[\"", NoArray::OtherJson),
        ] {
            assert_eq!(cut(Format::Array, body.as_bytes(), 1), Err(why), "{body:?}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[\\PC\"\\\\\\[\\]{},]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[a\",\\[{]{1,3}", inner), 0..3)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_elements_of_an_array_are_those_that_a_reader_of_the_whole_finds(
            values in proptest::collection::vec(json(), 0..6),
            is_pretty: bool,
            step in 1_usize..40,
        ) {
            let whole = Value::from(values.clone());
            let body = if is_pretty { format!("{whole:#}") } else { whole.to_string() };
            let (mut cutter, mut pieces) = (Cutter::new(Format::Array, 10_000), VecDeque::new());
            for chunk in body.as_bytes().chunks(step) {
                cutter.push(chunk, &mut pieces).unwrap();
            }
            cutter.finish(&mut pieces).unwrap();
            let read: Vec<Value> = pieces
                .into_iter()
                .map(|piece| match piece {
                    Piece::Text(_, text) => serde_json::from_slice(&text).unwrap(),
                    other => panic!("{other:?}"),
                })
                .collect();
            prop_assert_eq!(read, values);
        }
    }
}
