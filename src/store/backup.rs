//! Copies of the data file, made while it is served, and put back.
//! <https://www.sqlite.org/backup.html>: pages are copied in steps out of one snapshot, so writers go on meanwhile;
//! the log can't begin anew until the copy is made.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::place::beside;
use super::serving::Serving;
use super::{OpenError, Store, StoreError, StorePaths, cursors, hold, open, verify};
use crate::clock::{Clock, Millis};

/// When the last copy was made that was found whole: milliseconds, in `cursors`.
pub const LAST_BACKUP: &str = "last_backup_at";
/// Pages of one step: a megabyte.
const PAGES: i32 = 256;
/// How long to wait for a lock.
const BUSY_REST: Duration = Duration::from_millis(50);

/// Why no copy was made, or none put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It would be overwritten.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// It can't be written or moved.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite could not.
    #[error("{path}: {source}")]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// The copy is broken.
    #[error("{path} is not whole: {}", problems.join("; "))]
    Broken {
        /// Which file.
        path: PathBuf,
        /// What SQLite found.
        problems: Vec<String>,
    },
    /// The file that was given, or the one in its place, can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> BackupError + '_ {
    |source| BackupError::Io { path: path.to_owned(), source }
}

fn sqlite(path: &Path) -> impl FnOnce(rusqlite::Error) -> BackupError + '_ {
    |source| BackupError::Sqlite { path: path.to_owned(), source }
}

/// Copies the data file of `store` to `target`, whatever else is written meanwhile, checks the copy, and notes when
/// it was made. `told` hears of copied pages and their total. Returns the size of the copy in bytes.
///
/// # Errors
/// [`BackupError`]; nothing stays under `target` then, and what was there before is left.
pub async fn back_up(
    store: &Store,
    target: &Path,
    may_replace: bool,
    told: impl FnMut(u64, u64),
) -> Result<u64, BackupError> {
    if target.exists() && !may_replace {
        return Err(BackupError::Exists(target.to_owned()));
    }
    let part = beside(target, ".part");
    let begun = store.clock().now();
    let made = copy(&store.paths().path, &part, told).and_then(|()| settle(&part));
    let length = match made {
        Ok(length) => length,
        Err(error) => {
            let _ = std::fs::remove_file(&part);
            return Err(error);
        }
    };
    std::fs::rename(&part, target).map_err(io(target))?;
    synchronize_dir(target)?;
    store.write::<_, _, StoreError>(move |tx| cursors::set(tx, LAST_BACKUP, begun)).await?;
    Ok(length)
}

/// When the last good copy was begun, if ever.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn last_backup_at(conn: &Connection) -> Result<Option<Millis>, StoreError> {
    cursors::get(conn, LAST_BACKUP)
}

/// Copies page by page into a new file that only this user can read.
fn copy(from: &Path, to: &Path, mut told: impl FnMut(u64, u64)) -> Result<(), BackupError> {
    create_private(to).map_err(io(to))?;
    let source =
        Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(sqlite(from))?;
    source.busy_timeout(Duration::from_secs(5)).map_err(sqlite(from))?;
    // One snapshot for all steps: without it each write in between would begin the copy anew.
    let snapshot = source.unchecked_transaction().map_err(sqlite(from))?;
    let version: i64 =
        snapshot.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sqlite(from))?;
    let tables: i64 = snapshot
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'store_identity'", [], |row| row.get(0))
        .map_err(sqlite(from))?;
    if version == 0 || tables == 0 {
        let reason = "it holds nothing of this program".to_owned();
        return Err(OpenError::Foreign { path: from.to_owned(), reason }.into());
    }
    let mut target = Connection::open(to).map_err(sqlite(to))?;
    {
        let backup = Backup::new(&snapshot, &mut target).map_err(sqlite(to))?;
        loop {
            let step = backup.step(PAGES).map_err(sqlite(to))?;
            let progress = backup.progress();
            let total = u64::try_from(progress.pagecount).unwrap_or(0);
            told(total.saturating_sub(u64::try_from(progress.remaining).unwrap_or(0)), total);
            match step {
                StepResult::Done => break,
                StepResult::Busy | StepResult::Locked => std::thread::sleep(BUSY_REST),
                _ => {}
            }
        }
    }
    // One file, without a log beside it.
    target.pragma_update(None, "journal_mode", "DELETE").map_err(sqlite(to))?;
    let problems = verify::file_problems(&target)?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(BackupError::Broken { path: to.to_owned(), problems })
}

/// Makes sure that the whole file is on disk.
fn settle(path: &Path) -> Result<u64, BackupError> {
    let file = File::open(path).map_err(io(path))?;
    file.sync_all().map_err(io(path))?;
    Ok(file.metadata().map_err(io(path))?.len())
}

fn create_private(path: &Path) -> std::io::Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir)?;
    }
    let _ = std::fs::remove_file(path);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn synchronize_dir(path: &Path) -> Result<(), BackupError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io(dir))
}

/// What a restore left.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Where the file that was there before lies now.
    pub set_aside: Option<PathBuf>,
}

/// Puts the copy at `source` into the place that `paths` name, on hold: [`hold`]. The file that lay there is set
/// aside. The copy is checked first: it has to be whole, of a version that this program knows, and of the key that
/// lies at `paths.key_file`.
///
/// # Errors
/// [`BackupError`]; nothing was changed then. While a server serves the place it is [`OpenError::Served`].
pub async fn restore(
    source: &Path,
    paths: &StorePaths,
    clock: Clock,
    actor: &str,
    told: impl FnMut(u64, u64),
) -> Result<Restored, BackupError> {
    let place = match paths.path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(io(dir))?;
            dir.canonicalize().map_err(io(dir))?.join(paths.path.file_name().unwrap_or_default())
        }
        None => paths.path.clone(),
    };
    let serving = Serving::take(&place)?;
    if source.canonicalize().map_err(io(source))? == place {
        return Err(BackupError::Exists(place));
    }
    let part = beside(&place, ".restoring");
    let prepared = match copy(source, &part, told) {
        Ok(()) => hold_copy(&part, &paths.key_file, clock.clone(), actor).await,
        Err(error) => Err(error),
    };
    if let Err(error) = prepared.and_then(|()| settle(&part)) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(beside(&part, end));
        }
        return Err(error);
    }
    let set_aside = set_aside(&place, clock.now())?;
    std::fs::rename(&part, &place).map_err(io(&place))?;
    synchronize_dir(&place)?;
    drop(serving);
    Ok(Restored { set_aside })
}

/// Opens the copy as the store would, which checks version and key, and puts it on hold.
async fn hold_copy(part: &Path, key_file: &Path, clock: Clock, actor: &str) -> Result<(), BackupError> {
    open::check_key_file(key_file, part)?;
    let paths = StorePaths { path: part.to_owned(), key_file: key_file.to_owned() };
    let store = Store::open(paths, clock)?;
    let actor = actor.to_owned();
    store.write(move |tx| hold::begin(tx, &actor)).await?;
    Ok(store.close().await?)
}

/// Moves the file and its log out of the way, under a name with the moment in it.
fn set_aside(place: &Path, now: Millis) -> Result<Option<PathBuf>, BackupError> {
    if !place.exists() {
        return Ok(None);
    }
    let moment = jiff::Timestamp::from_millisecond(now)
        .map_or_else(|_| now.to_string(), |at| at.strftime("%Y%m%dT%H%M%SZ").to_string());
    let aside = beside(place, &format!(".before-restore-{moment}"));
    if aside.exists() {
        return Err(BackupError::Exists(aside));
    }
    for end in ["-wal", "-shm", ""] {
        let from = beside(place, end);
        if from.exists() {
            std::fs::rename(&from, beside(&aside, end)).map_err(io(&from))?;
        }
    }
    Ok(Some(aside))
}
