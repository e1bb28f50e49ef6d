//! Flow: from a file to users.
//!
//! An upload is copied to the [spool](spool_dir) and queued ([`queue`]); [`run_queued`] surveys the whole
//! file, so that a damaged one changes nothing, and takes its rows in chunk by chunk. Memory does not grow
//! with the file: rows are read a few chunks ahead, and a number that stands twice is noticed by the mark
//! that its first row left on the person.

mod apply;
mod columns;
mod decide;
mod drafts;
mod file;
mod options;
mod prepare;
mod rejected;
mod row;
mod run;
mod samples;
mod spool;
mod surveyed;
mod undo;

use std::path::Path;

use serde::Serialize;

pub use columns::Field;
pub use drafts::{
    DRAFT_DAYS, DraftError, NewDraft, check, discard_draft, draft, keep_survey, read_again, run_draft,
    sweep_drafts,
};
pub use file::{FileError, Format, Layout, survey};
pub use options::{ConsentOptions, Mode, Options, OptionsError};
pub use rejected::{issues_csv_header, issues_csv_lines, rejected_csv_header, rejected_csv_lines};
pub use run::{Left, Pace, run_checks, run_import, run_queued};
pub use samples::{MAX_SAMPLES, Sample, SampleKind, Shift, samples};
pub use spool::{Spool, SpoolError, Spooled, spool_dir, sweep_spool};
pub use surveyed::{Column, Kind, RegionGuess, Survey, load_survey, survey_file};
pub use undo::{UndoError, Undoable, run_undos, undo, undoable};

use crate::store::imports::{self, QueuedImport};
use crate::store::{StoreError, Tx, topics};

/// An import as a handler or a command asks for it.
#[derive(Clone, Debug)]
pub struct NewImport {
    /// The name under which the file was given; said in the evidence of each consent.
    pub file_name: String,
    /// The copy that [`Spool::finish`] kept.
    pub file: Spooled,
    /// Checked by [`Options::parse`].
    pub options: Options,
    /// Who asks: `key:3`, `operator:1`, `command`.
    pub actor: String,
}

/// Why an import was not queued. Its file is the caller's to remove.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// An option names what is not there.
    #[error("{0}")]
    Options(OptionsError),
    /// The store can't take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Queues an import and wakes the importer after the commit. Returns its id.
///
/// # Errors
/// [`QueueError::Options`] for an unknown topic or a consent obtained in the future; [`StoreError`].
pub fn queue(tx: &Tx<'_>, import: &NewImport) -> Result<i64, QueueError> {
    let options = settled(tx, &import.options)?;
    let file_name = plain_name(&import.file_name);
    Ok(imports::insert(
        tx,
        &QueuedImport {
            file_name: &file_name,
            spool_path: &import.file.path.to_string_lossy(),
            bytes: import.file.bytes,
            options: &options,
            actor: &import.actor,
        },
    )?)
}

/// Options as the store keeps them, once what they name is there.
fn settled(tx: &Tx<'_>, options: &Options) -> Result<serde_json::Value, QueueError> {
    let refused = |field: &str, message: String| Err(QueueError::Options(OptionsError::new(field, message)));
    for (at, name) in options.topics.iter().enumerate() {
        if topics::find(tx.conn(), name)?.is_none() {
            return refused(&format!("topics.{at}"), format!("there is no topic “{name}”"));
        }
    }
    if options.consent.obtained_at.is_some_and(|at| at.as_millisecond() > tx.now()) {
        return refused("consent.obtained_at", "lies in the future".to_owned());
    }
    let json = serde_json::to_value(options);
    Ok(json.map_err(|error| StoreError::Internal(format!("options can't be written: {error}")))?)
}

/// The name of a file, fit for a line of text.
fn plain_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(255).collect()
}

/// What an import of a file would take each column for.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// CSV, XLSX, JSON, NDJSON.
    pub format: Format,
    /// Of text formats.
    pub encoding: Option<&'static str>,
    /// Of CSV.
    pub delimiter: Option<char>,
    /// Rows below the header that are not blank.
    pub rows: u64,
    /// Column and the field that it goes to: `phone`, `consent`, `topics`, `timezone`, an attribute, or
    /// `None` for a column that is left out.
    pub columns: Vec<(String, Option<String>)>,
}

/// Looks at a file without an import: what it is, how long, and which column becomes what.
///
/// # Errors
/// [`FileError`] says why an import of it would fail.
pub fn inspect(path: &Path, options: &Options) -> Result<Inspection, FileError> {
    let layout = survey(path, options.encoding.as_deref())?;
    let fields = columns::assign(&layout, options)?;
    let name = |field: Field| match field {
        Field::Phone => Some("phone".to_owned()),
        Field::Consent => Some("consent".to_owned()),
        Field::Topics => Some("topics".to_owned()),
        Field::Timezone => Some("timezone".to_owned()),
        Field::Attribute(name) => Some(name),
        Field::Ignored => None,
    };
    Ok(Inspection {
        format: layout.format,
        encoding: layout.encoding,
        delimiter: layout.delimiter,
        rows: layout.rows,
        columns: layout.header.iter().cloned().zip(fields.into_iter().map(name)).collect(),
    })
}

/// The name that a column's header would have as an attribute: letters and digits in lower case, everything else
/// one `_`.
pub fn attribute_name(header: &str) -> String {
    columns::normalise(header)
}

/// Every reason that a row of a file may be given; see [`Issue`](imports::Issue).
pub const REASONS: &[&str] = &[
    "phone_missing",
    "invalid_phone",
    "scientific_notation",
    "several_numbers_in_cell",
    "no_country",
    "duplicate_in_file",
    "too_many_cells",
    "invalid_json",
    "attributes_invalid",
    "consent_unclear",
    "topic_unknown",
    "topic_left",
    "timezone_unknown",
];

/// Removes the file of an import that was not queued after all.
pub fn discard(file: &Spooled) {
    spool::remove(&file.path);
}
