//! Care for the data file while it is open: its log, its size, the room on its disk, and whether another process wrote
//! to it.

use std::sync::Arc;

use rusqlite::OpenFlags;

use super::keeper::Log;
use super::{Connection, Store, StoreError, on_a_thread};

impl Store {
    /// Moves what it can of the log into the file. Writes wait for it only when the log grew long.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        let keeper = Arc::clone(&self.keeper);
        on_a_thread(move || keeper.tidy()).await
    }

    /// Moves the whole log into the file and empties it, so that nothing that was removed stays behind in it.
    /// Writes wait for readers meanwhile, a quarter of a second at most. Returns whether the log is empty.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub async fn empty_log(&self) -> Result<bool, StoreError> {
        let keeper = Arc::clone(&self.keeper);
        tokio::task::spawn_blocking(move || keeper.empty())
            .await
            .map_err(|error| StoreError::Internal(error.to_string()))?
    }

    /// Bytes that this user may still write on the disk of the data file; `None` where the system doesn't tell.
    pub fn free_bytes(&self) -> Option<u64> {
        #[cfg(unix)]
        {
            let disk = rustix::fs::statvfs(self.place.path()).ok()?;
            Some(disk.f_bavail.saturating_mul(disk.f_frsize))
        }
        #[cfg(not(unix))]
        None
    }

    /// Bytes of the data file and of the log beside it; `None` for what is not there.
    pub fn sizes(&self) -> (Option<u64>, Option<u64>) {
        let path = self.place.path();
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let size = |path: &std::path::Path| std::fs::metadata(path).ok().map(|found| found.len());
        (size(path), size(std::path::Path::new(&log)))
    }

    /// The log as the last checkpoint found it.
    pub fn log(&self) -> Log {
        self.keeper.log()
    }

    /// Starts the watch for other processes that write to the file.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn watch_file(&self) -> Result<FileWatch, StoreError> {
        let conn = Connection::open_with_flags(
            self.place.path(),
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        let seen = data_version(&conn)?;
        Ok(FileWatch { conn, seen })
    }
}

/// Notices commits, those of other processes among them.
pub struct FileWatch {
    conn: Connection,
    seen: i64,
}

impl FileWatch {
    /// Looks once. If anything was committed since, everybody looks again: whose commit it was can't be
    /// told, and looking is cheap. If the file is not in its place any more, the writer hears of it without
    /// waiting for somebody who writes.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn look(&mut self, store: &Store) -> Result<(), StoreError> {
        if store.place.check().is_err() {
            store.writer.nudge();
        }
        let version = data_version(&self.conn)?;
        if version != self.seen {
            self.seen = version;
            store.plan_changed();
        }
        Ok(())
    }
}

fn data_version(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn.query_row("PRAGMA data_version", [], |row| row.get(0))?)
}
