//! One server to a data file: two dispatchers on one file would take each other's messages for lost ones.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::error::OpenError;
use super::place::{beside, is_under};

/// The right to serve a data file, until it is dropped or the process ends in whatever way.
///
/// It is a lock of the operating system on a file beside the data file (`ese.db-lock`), which goes with the
/// process; the file holds the process's number for whoever is refused, and is removed in an orderly end. After
/// a crash it stays without a lock, and the next server takes it over. The data file itself can't carry the
/// lock: closing a descriptor of it would take SQLite's locks away.
#[derive(Debug)]
pub struct Serving {
    file: File,
    path: PathBuf,
}

impl Serving {
    /// Takes the right to serve the file at `path`.
    pub(super) fn take(path: &Path) -> Result<Serving, OpenError> {
        let lock = beside(path, "-lock");
        let failed =
            |error: std::io::Error| OpenError::NotWritable { path: lock.clone(), reason: error.to_string() };
        loop {
            let mut file = open(&lock).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut process = String::new();
                    let _ = file.read_to_string(&mut process);
                    return Err(OpenError::Served {
                        path: path.to_owned(),
                        process: process.trim().to_owned(),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Whoever held it may have removed the file between the opening and the lock.
            if is_under(&lock, &file) {
                file.set_len(0).map_err(failed)?;
                writeln!(file, "{}", std::process::id()).map_err(failed)?;
                return Ok(Serving { file, path: lock });
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Still under the lock, so that nobody else's file is removed.
        if is_under(&self.path, &self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_served_once_at_a_time_and_nothing_stays_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ese.db");
        let first = Serving::take(&path).unwrap();
        let refused = Serving::take(&path).unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        assert!(!dir.path().join("ese.db-lock").exists());
        drop(Serving::take(&path).unwrap());
    }

    #[test]
    fn a_lock_file_that_a_crash_left_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ese.db");
        std::fs::write(dir.path().join("ese.db-lock"), "999999999\n").unwrap();
        let serving = Serving::take(&path).unwrap();
        let text = std::fs::read_to_string(dir.path().join("ese.db-lock")).unwrap();
        assert_eq!(text.trim(), std::process::id().to_string());
        drop(serving);
    }
}
