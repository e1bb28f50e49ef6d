//! Text in the encodings of real spreadsheets, as a stream of UTF-8.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::FileError;

const BUFFER: usize = 64 * 1024;

/// A text file whose encoding is known.
#[derive(Clone, Debug)]
pub(super) struct TextFile {
    path: PathBuf,
    encoding: &'static Encoding,
    /// Bytes of the byte order mark.
    skip: u64,
    /// A byte sequence that the encoding does not have is an error; in a guessed one it becomes U+FFFD.
    is_strict: bool,
}

/// Finds the encoding: as told, else by its mark, else UTF-8 if the whole file is that, else UTF-16 by its
/// pattern of NULs, else by the statistics of the whole file.
pub(super) fn detect(path: &Path, told: Option<&str>) -> Result<TextFile, FileError> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    file.by_ref().take(4_096).read_to_end(&mut start)?;
    let mark = Encoding::for_bom(&start);
    let told = told.and_then(|label| Encoding::for_label_no_replacement(label.as_bytes()));
    let known = |encoding, is_strict| {
        let skip = match mark {
            Some((marked, length)) if marked == encoding => length as u64,
            _ => 0,
        };
        Ok(TextFile { path: path.to_owned(), encoding, skip, is_strict })
    };
    if let Some(encoding) = told {
        return known(encoding, true);
    }
    if let Some((encoding, _)) = mark {
        return known(encoding, true);
    }
    if let Some(encoding) = utf_16_by_pattern(&start) {
        return known(encoding, true);
    }
    file.seek(SeekFrom::Start(0))?;
    match look(&mut file)? {
        Look::Utf8 => known(UTF_8, true),
        Look::Binary => FileError::refused(
            "This file holds no text that could be a table. Save the sheet as .xlsx or .csv and choose it again.",
        ),
        Look::Other => {
            file.seek(SeekFrom::Start(0))?;
            known(guess(&mut file)?, false)
        }
    }
}

/// In Western text of UTF-16, nearly every second byte is NUL.
fn utf_16_by_pattern(start: &[u8]) -> Option<&'static Encoding> {
    let nuls = |from: usize| start.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, half) = (nuls(0), nuls(1), start.len() / 2);
    if odd * 10 >= half * 7 && even * 10 < half && half > 1 {
        Some(UTF_16LE)
    } else if even * 10 >= half * 7 && odd * 10 < half && half > 1 {
        Some(UTF_16BE)
    } else {
        None
    }
}

enum Look {
    Utf8,
    Binary,
    Other,
}

fn look(file: &mut File) -> io::Result<Look> {
    let mut buffer = vec![0; BUFFER];
    let mut carried = 0;
    let mut is_utf_8 = true;
    loop {
        let read = file.read(buffer.get_mut(carried..).unwrap_or_default())?;
        let filled = buffer.get(..carried + read).unwrap_or_default();
        if filled.contains(&0) {
            return Ok(Look::Binary);
        }
        if read == 0 {
            // A character that is cut off at the very end is UTF-8 still: the decoder will say so.
            return Ok(if is_utf_8 { Look::Utf8 } else { Look::Other });
        }
        let rest = match std::str::from_utf8(filled) {
            Ok(_) => filled.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => {
                is_utf_8 = false;
                filled.len()
            }
        };
        let end = filled.len();
        buffer.copy_within(rest..end, 0);
        carried = end - rest;
    }
}

fn guess(file: &mut File) -> io::Result<&'static Encoding> {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = file.read(&mut buffer)?;
        detector.feed(buffer.get(..read).unwrap_or_default(), read == 0);
        if read == 0 {
            return Ok(detector.guess(None, Utf8Detection::Allow));
        }
    }
}

impl TextFile {
    /// The name of the encoding, as reports say it.
    pub(super) fn encoding_name(&self) -> &'static str {
        self.encoding.name()
    }

    /// The text as UTF-8, without its mark.
    pub(super) fn open(&self) -> io::Result<BufReader<Decoded>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.skip))?;
        let decoded = Decoded {
            file,
            decoder: self.encoding.new_decoder_without_bom_handling(),
            encoding: self.encoding,
            is_strict: self.is_strict,
            input: vec![0; BUFFER],
            start: 0,
            end: 0,
            is_over: false,
        };
        Ok(BufReader::with_capacity(BUFFER, decoded))
    }
}

/// Decodes as it is read.
pub(super) struct Decoded {
    file: File,
    decoder: Decoder,
    encoding: &'static Encoding,
    is_strict: bool,
    input: Vec<u8>,
    start: usize,
    end: usize,
    is_over: bool,
}

impl Read for Decoded {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.start == self.end && !self.is_over {
                self.start = 0;
                self.end = self.file.read(&mut self.input)?;
                self.is_over = self.end == 0;
            }
            let input = self.input.get(self.start..self.end).unwrap_or_default();
            let (result, read, written, is_malformed) =
                self.decoder.decode_to_utf8(input, output, self.is_over);
            self.start += read;
            if is_malformed && self.is_strict {
                return Err(self.complaint());
            }
            let is_done = self.is_over && result == CoderResult::InputEmpty;
            if written > 0 || is_done {
                // After its last call a decoder is spent; a fresh one makes nothing of no input.
                if is_done {
                    self.decoder = self.encoding.new_decoder_without_bom_handling();
                }
                return Ok(written);
            }
        }
    }
}

impl Decoded {
    fn complaint(&self) -> io::Error {
        let name = self.encoding.name();
        let message = if self.is_over {
            "The file ends in the middle of a character: it was cut off. Save or export it again.".to_owned()
        } else {
            format!(
                "The file is not all {name}. Save it as “CSV UTF-8”, or say in which encoding it was written."
            )
        };
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}
