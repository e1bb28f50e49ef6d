//! The connection beside the writer's that moves the log into the data file: now and then while the process
//! works, as a whole at its end, and at once when somebody moves the files away under it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::place::Place;
use super::{READ_LIMIT, StoreError, open};

/// Pages of 4 KiB in the log, beyond which readers are waited for so that it can begin anew: 64 MiB. As long
/// as some reader always has a snapshot of it, a log only grows.
const LONG_LOG: i64 = 16_384;
/// How long a long log waits for readers; writes wait meanwhile.
const SHORT_PATIENCE: Duration = Duration::from_millis(250);
/// The same for a log four times as long: no reader of this process holds a snapshot for longer.
const LONG_PATIENCE: Duration = READ_LIMIT.saturating_add(Duration::from_millis(500));

/// No reader of this process holds a snapshot for as long as [`LONG_PATIENCE`]: one of another process does, such
/// as a backup. Writes must not wait for it again and again.
const REST: Duration = Duration::from_secs(30);

/// Moves the log. It is open from start to end, so that the log never goes unseen, and so that nothing is
/// ever opened by a path that may have come to mean another file.
pub(super) struct Keeper {
    conn: Mutex<Connection>,
    place: Arc<Place>,
    /// The files are not under their path any more, and what they had was moved together.
    is_adrift: AtomicBool,
    /// Until then a long log is not waited for again.
    rests_until: Mutex<Option<Instant>>,
    /// As the last look found it.
    log: Mutex<Log>,
}

/// The log beside the data file, as the last look found it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Its pages of 4 KiB.
    pub pages: i64,
    /// Those that are in the data file already.
    pub moved: i64,
}

impl Keeper {
    /// Opens the connection.
    pub(super) fn open(path: &Path, place: Arc<Place>) -> rusqlite::Result<Keeper> {
        let conn = open::writer(path)?;
        move_log(&conn, "PRAGMA wal_checkpoint(PASSIVE)")?;
        Ok(Keeper {
            conn: Mutex::new(conn),
            place,
            is_adrift: AtomicBool::new(false),
            rests_until: Mutex::default(),
            log: Mutex::default(),
        })
    }

    fn conn(&self) -> MutexGuard<'_, Connection> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_adrift(&self) -> bool {
        self.is_adrift.load(Ordering::SeqCst)
    }

    /// Moves what it can without making anybody wait; a log that grew long is waited for.
    pub(super) fn tidy(&self) -> Result<(), StoreError> {
        if self.check().is_err() {
            return Ok(());
        }
        let conn = self.conn();
        let (_, length, moved) = move_log(&conn, "PRAGMA wal_checkpoint(PASSIVE)")?;
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Log { pages: length, moved };
        let mut rests_until = self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        if length > LONG_LOG && rests_until.is_none_or(|until| Instant::now() >= until) {
            let patience = if length > 4 * LONG_LOG { LONG_PATIENCE } else { SHORT_PATIENCE };
            conn.busy_timeout(patience)?;
            let has_begun_anew = move_log(&conn, "PRAGMA wal_checkpoint(RESTART)")?.0;
            let is_futile = !has_begun_anew && patience == LONG_PATIENCE;
            *rests_until = is_futile.then(|| Instant::now() + REST);
        }
        Ok(())
    }

    /// The log as the last look found it.
    pub(super) fn log(&self) -> Log {
        *self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the whole log into the file and cuts it to nothing, unless readers keep it from that for longer
    /// than a moment.
    pub(super) fn empty(&self) -> Result<bool, StoreError> {
        self.check()?;
        let conn = self.conn();
        conn.busy_timeout(SHORT_PATIENCE)?;
        Ok(move_log(&conn, "PRAGMA wal_checkpoint(TRUNCATE)")?.0)
    }

    /// At the end of the process: the whole log goes into the file.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        if self.check().is_err() {
            return Ok(());
        }
        let conn = self.conn();
        conn.busy_timeout(LONG_PATIENCE)?;
        move_log(&conn, "PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(())
    }

    /// The files are where they should be, and the writer may go on.
    ///
    /// If not, the log is moved into the file, through the descriptors that are still open: whatever the file
    /// is called now, it holds all that was ever promised, and the log under the old name is empty and can't
    /// spoil a file that takes that place. From then on nothing under the path is touched.
    ///
    /// # Errors
    /// What [`Place::check`] says.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let found = self.place.check();
        if found.is_err() != self.is_adrift() {
            let conn = self.conn();
            // SQLite would delete the log by its path when it closes; by then that may be another's.
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, found.is_err())?;
            let mut is_whole = true;
            if found.is_err() {
                conn.busy_timeout(LONG_PATIENCE)?;
                is_whole = move_log(&conn, "PRAGMA wal_checkpoint(TRUNCATE)")?.0;
            }
            // If somebody still read from the log, the next look tries again.
            if is_whole {
                self.is_adrift.store(found.is_err(), Ordering::SeqCst);
            }
        }
        found
    }
}

/// Runs a checkpoint. Returns whether it came to its end (readers and writers of the moment may keep it from
/// that), how many pages the log has, and how many of them are in the file.
fn move_log(conn: &Connection, pragma: &str) -> rusqlite::Result<(bool, i64, i64)> {
    conn.query_row(pragma, [], |row| Ok((row.get::<_, i64>(0)? == 0, row.get(1)?, row.get(2)?)))
}
