//! Files that are looked at before they come in: uploaded, their columns told, a dry run made, and only then run.
//! The id of a draft stays that of its import.

use std::path::Path;

use serde_json::{Map, Value};

use super::options::Options;
use super::spool::{self, Spooled};
use super::surveyed::{self, Survey};
use super::{QueueError, plain_name, settled};
use crate::store::imports::{self, ImportRow};
use crate::store::{Store, StoreError, Tx};

/// A draft that nobody runs is removed with its file after so many days.
pub const DRAFT_DAYS: i64 = 3;

/// A file about to become a draft.
#[derive(Clone, Debug)]
pub struct NewDraft {
    /// The name under which the file was given.
    pub file_name: String,
    /// The copy that was kept.
    pub file: Spooled,
    /// What it looks like.
    pub survey: Survey,
    /// Whose it is: `operator:1`.
    pub actor: String,
}

/// Why a draft was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// It was run, discarded or changed by somebody else meanwhile.
    #[error("This draft was run, changed or discarded meanwhile.")]
    Moved,
    /// An option names what is not there.
    #[error(transparent)]
    Refused(#[from] QueueError),
    /// The store can't take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps what was found out about a file beside it. Waits for the disk.
///
/// # Errors
/// The system's.
pub fn keep_survey(file: &Path, survey: &Survey) -> std::io::Result<()> {
    surveyed::keep(file, survey)
}

/// Keeps a draft, with what was said about the last file with the same columns, or else what its columns look
/// like. Returns its id.
///
/// # Errors
/// [`StoreError`].
pub fn draft(tx: &Tx<'_>, new: &NewDraft) -> Result<i64, StoreError> {
    let remembered = imports::remembered(tx.conn(), &new.survey.fingerprint())?;
    let offered = match remembered {
        // Columns of the same names may stand in another case.
        Some(remembered) if fits(&remembered.options, &new.survey) => remembered.options,
        _ => new.survey.offered(),
    };
    let file_name = plain_name(&new.file_name);
    imports::insert_draft(
        tx,
        &imports::NewDraft {
            file_name: if file_name.is_empty() { "upload" } else { &file_name },
            spool_path: &new.file.path.to_string_lossy(),
            bytes: new.file.bytes,
            format: &new.survey.format,
            encoding: new.survey.encoding.as_deref(),
            options: &offered,
            actor: &new.actor,
        },
    )
}

/// Whether options name columns that the file has, by the very same names.
fn fits(options: &Value, survey: &Survey) -> bool {
    let Some(mapping) = options.get("mapping").and_then(Value::as_object) else {
        return false;
    };
    mapping.keys().all(|name| survey.columns.iter().any(|column| column.name.trim() == name))
}

/// Gives a draft its options and lets the dry run begin.
///
/// # Errors
/// [`DraftError`].
pub fn check(tx: &Tx<'_>, id: i64, options: &Options) -> Result<(), DraftError> {
    let options = settled(tx, &Options { dry_run: false, ..options.clone() })?;
    if imports::begin_check(tx, id, &options)? { Ok(()) } else { Err(DraftError::Moved) }
}

/// Gives a draft the encoding that its file is read in from now on, with what its columns look like then.
///
/// # Errors
/// [`DraftError::Moved`]; [`StoreError`].
pub fn read_again(tx: &Tx<'_>, id: i64, survey: &Survey) -> Result<(), DraftError> {
    let mut options = survey.offered();
    if let Some(map) = options.as_object_mut() {
        map.insert("encoding".to_owned(), Value::from(survey.encoding.clone()));
    }
    if imports::set_encoding(tx, id, &options, survey.encoding.as_deref())? {
        Ok(())
    } else {
        Err(DraftError::Moved)
    }
}

/// Queues a draft whose dry run of this revision has ended, and remembers its mapping under the fingerprint of
/// its columns. `options` may say more about consent than those of the dry run, and nothing else.
///
/// # Errors
/// [`DraftError`].
pub fn run_draft(
    tx: &Tx<'_>,
    (id, revision): (i64, i64),
    options: &Options,
    fingerprint: &[u8; 32],
    actor: &str,
) -> Result<(), DraftError> {
    let Some(draft) = imports::find_draft(tx.conn(), id)? else {
        return Err(DraftError::Moved);
    };
    let options = settled(tx, &Options { dry_run: false, ..options.clone() })?;
    if !imports::begin_run(tx, (id, revision), &options, actor)? {
        return Err(DraftError::Moved);
    }
    let mut lasting = Map::new();
    for name in ["mapping", "mode", "default_region", "topics"] {
        // What was said about consent holds for those people alone.
        lasting.insert(name.to_owned(), options.get(name).cloned().unwrap_or_default());
    }
    imports::remember(tx, fingerprint, &draft.file_name, &Value::Object(lasting))?;
    Ok(())
}

/// Removes a draft and its file. Returns false when it is no draft any more.
///
/// # Errors
/// [`StoreError`].
pub async fn discard_draft(store: &Store, draft: &ImportRow) -> Result<bool, StoreError> {
    let id = draft.id;
    let is_removed = store.write(move |tx| imports::discard_draft(tx, id)).await?;
    if is_removed && let Some(path) = draft.spool_path.clone() {
        let removed = tokio::task::spawn_blocking(move || spool::remove(&path)).await;
        removed.map_err(|error| StoreError::Internal(error.to_string()))?;
    }
    Ok(is_removed)
}

/// Removes drafts that nobody ran for [`DRAFT_DAYS`]. Returns how many.
///
/// # Errors
/// [`StoreError`].
pub async fn sweep_drafts(store: &Store) -> Result<usize, StoreError> {
    const DAY: i64 = 86_400_000;
    let before = store.clock().now() - DRAFT_DAYS * DAY;
    let old = store.read(move |conn| imports::old_drafts(conn, before)).await?;
    let mut removed = 0;
    for draft in old {
        removed += usize::from(discard_draft(store, &draft).await?);
    }
    Ok(removed)
}
