//! Takes back what an import changed about attributes, where they still are as it wrote them: in short writes,
//! each with its place, so that a restart goes on behind the last one. Consent, topics and the list of suppressed
//! numbers stay as they are, and so does everybody whom the import brought.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::run::Pace;
use crate::clock::Millis;
use crate::store::imports::{self, ImportRow, ImportState, Undo};
use crate::store::{Store, StoreError, Tx};

/// A write should hold the writer for about so long.
const CHUNK_TIME: Duration = Duration::from_millis(15);
/// Changes looked at in one read, and people in one write.
const LOOKS: usize = 2_000;
const DAY: Millis = 86_400_000;

/// Whether an import can be undone, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undoable {
    /// It can, until then; `None`: for good.
    Until(Option<Millis>),
    /// It is not at its end yet, or nothing was ever written by it.
    NotYet,
    /// It changed no attribute of anybody whom we knew.
    Nothing,
    /// What it changed is no longer kept.
    TooLate,
    /// It was asked for.
    Asked(Undo),
}

/// Whether `import` can be undone at `now`, when changes are kept for `days` (0: for good).
pub fn undoable(import: &ImportRow, undo: Option<Undo>, days: u32, now: Millis) -> Undoable {
    if let Some(undo) = undo {
        return Undoable::Asked(undo);
    }
    let Some(finished_at) = import.finished_at else { return Undoable::NotYet };
    let is_over = matches!(import.state, ImportState::Finished | ImportState::Failed);
    if !is_over || import.is_dry_run() {
        return Undoable::NotYet;
    }
    if import.tally.details.changes == 0 {
        return Undoable::Nothing;
    }
    let until = finished_at + Millis::from(days) * DAY;
    match days {
        0 => Undoable::Until(None),
        _ if until <= now => Undoable::TooLate,
        _ => Undoable::Until(Some(until)),
    }
}

/// Why an undo was not begun.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// There is no such import.
    #[error("There is no import {0}.")]
    Unknown(i64),
    /// It is not over.
    #[error("This import is not at its end yet.")]
    NotYet,
    /// It changed nothing that could be taken back.
    #[error("This import changed no attribute of anybody who was here before.")]
    Nothing,
    /// It is too old.
    #[error("What this import changed is no longer kept.")]
    TooLate,
    /// The store can't take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asks for the undo of an import, and wakes the importer. Asked again, nothing happens twice.
///
/// # Errors
/// [`UndoError`].
pub fn undo(tx: &Tx<'_>, id: i64, days: u32, actor: &str) -> Result<(), UndoError> {
    let import = imports::find(tx.conn(), id)?.ok_or(UndoError::Unknown(id))?;
    let asked = imports::find_undo(tx.conn(), id)?;
    match undoable(&import, asked, days, tx.now()) {
        Undoable::Until(_) => {
            imports::ask_undo(tx, id, actor)?;
            Ok(())
        }
        Undoable::Asked(_) => Ok(()),
        Undoable::NotYet => Err(UndoError::NotYet),
        Undoable::Nothing => Err(UndoError::Nothing),
        Undoable::TooLate => Err(UndoError::TooLate),
    }
}

/// Carries out every undo that was asked for, until none is left or the pace is used up. Returns how many came to
/// their end.
///
/// # Errors
/// [`StoreError`]: the undo at hand goes on with the next call.
pub async fn run_undos(store: &Store, pace: &Pace) -> Result<usize, StoreError> {
    let (mut ended, mut after, mut left) = (0, 0, pace.chunks);
    while let Some(undo) = store.read(move |conn| imports::next_undo(conn, after)).await? {
        let import_id = undo.import_id;
        loop {
            if pace.stop.load(Ordering::Relaxed) || left == Some(0) {
                return Ok(ended);
            }
            left = left.map(|chunks| chunks - 1);
            let most = LOOKS.min(pace.rows_per_chunk);
            match step(store, import_id, most).await? {
                Step::On => {}
                Step::Ended => {
                    ended += 1;
                    break;
                }
                Step::Elsewhere => break,
            }
        }
        after = import_id;
    }
    Ok(ended)
}

enum Step {
    On,
    Ended,
    Elsewhere,
}

async fn step(store: &Store, import_id: i64, most: usize) -> Result<Step, StoreError> {
    let look = move |conn: &crate::store::Connection| {
        let undo = imports::find_undo(conn, import_id)?.filter(|undo| undo.finished_at.is_none());
        let Some(undo) = undo else { return Ok::<_, StoreError>(None) };
        let (people, end) = imports::changes_of(conn, import_id, undo.walked, most)?;
        Ok(Some((undo, people, end)))
    };
    let Some((undo, people, end)) = store.read(look).await? else {
        return Ok(Step::Elsewhere);
    };
    store
        .write(move |tx| {
            let started = Instant::now();
            let (mut restored, mut kept, mut walked) = (0, 0, None);
            for user_id in people {
                if let Some((restores, leaves)) = imports::restore(tx, import_id, user_id)? {
                    restored += u64::from(restores);
                    kept += u64::from(leaves);
                }
                if started.elapsed() > CHUNK_TIME {
                    walked = Some(user_id);
                    break;
                }
            }
            let is_through = walked.is_none() && end.is_none();
            let walked = walked.or(end).unwrap_or(undo.walked);
            if !imports::walk_undo(tx, &undo, walked, (restored, kept))? {
                // Another process was here: what this closure did is undone with it.
                return Err(StoreError::Internal("an undo is carried out elsewhere".to_owned()));
            }
            if is_through {
                imports::finish_undo(tx, import_id)?;
                return Ok(Step::Ended);
            }
            Ok(Step::On)
        })
        .await
}
