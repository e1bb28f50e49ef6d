//! What a file is, told by its first bytes: never by its name, which people change.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::Serialize;

use super::FileError;

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lines of cells behind commas, semicolons, tabs or bars.
    Csv,
    /// The first visible sheet of an Excel workbook.
    Xlsx,
    /// One array of objects.
    Json,
    /// One object a line.
    Ndjson,
}

impl Format {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Xlsx => "xlsx",
            Format::Json => "json",
            Format::Ndjson => "ndjson",
        }
    }
}

const SAVE_AS: &str = "Save the sheet as .xlsx or .csv and choose it again.";

pub(super) fn detect(path: &Path) -> Result<Format, FileError> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    file.by_ref().take(1_024).read_to_end(&mut start)?;
    if start.iter().all(u8::is_ascii_whitespace) || start == [0xEF, 0xBB, 0xBF] {
        return FileError::refused("The file is empty.");
    }
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        file.seek(SeekFrom::Start(0))?;
        return archive(file);
    }
    let foreign: [(&[u8], &str); 8] = [
        (b"%PDF", "a PDF"),
        (b"\xD0\xCF\x11\xE0", "an old Excel file (.xls) or one with a password"),
        (b"\x1F\x8B", "compressed with gzip"),
        (b"7z\xBC\xAF", "a 7-Zip archive"),
        (b"Rar!", "a RAR archive"),
        (b"\x89PNG", "a picture"),
        (b"\xFF\xD8\xFF", "a picture"),
        (b"{\\rtf", "a text document (RTF)"),
    ];
    if let Some((_, what)) = foreign.iter().find(|(magic, _)| start.starts_with(magic)) {
        return FileError::refused(format!("This file is {what}. {SAVE_AS}"));
    }
    // What is left is text in some encoding: its signs are ASCII but for NULs of UTF-16.
    let signs: Vec<u8> = start.iter().copied().filter(|byte| *byte != 0 && byte.is_ascii()).collect();
    let text = signs.trim_ascii_start();
    match text.first() {
        Some(b'[') => Ok(Format::Json),
        Some(b'{') => Ok(Format::Ndjson),
        Some(b'<') if looks_like_markup(text) => {
            FileError::refused(format!("This file is a web page or XML, whatever its name says. {SAVE_AS}"))
        }
        _ => Ok(Format::Csv),
    }
}

fn looks_like_markup(text: &[u8]) -> bool {
    matches!(text.get(1), Some(b'!' | b'?' | b'/')) || text.get(1).is_some_and(u8::is_ascii_alphabetic)
}

fn archive(file: File) -> Result<Format, FileError> {
    let Ok(archive) = zip::ZipArchive::new(file) else {
        return FileError::refused(
            "The Excel file is damaged or was cut off on its way. Save it again and choose it again.",
        );
    };
    let has = |name: &str| archive.index_for_name(name).is_some();
    if has("xl/workbook.xml") {
        return Ok(Format::Xlsx);
    }
    let what = if has("xl/workbook.bin") {
        "a binary Excel workbook (.xlsb)"
    } else if has("word/document.xml") {
        "a Word document"
    } else if has("content.xml") && has("mimetype") {
        "an OpenDocument file (.ods)"
    } else if has("Index/Document.iwa") {
        "a Numbers file"
    } else {
        "a ZIP archive"
    };
    FileError::refused(format!("This file is {what}. {SAVE_AS}"))
}
