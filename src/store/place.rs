//! Whether the files under the path are still those that are open.
//!
//! SQLite goes on writing to the file that it opened, wherever somebody moves it, and to a log that somebody
//! deleted: a commit succeeds, and is gone at the next start. So the place is looked at before each batch and
//! again before its answers. Two calls of `stat` cost some microseconds beside a sync of hundreds.

use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Asks by name and never opens: closing a second descriptor of the file would take SQLite's locks away
    /// (<https://www.sqlite.org/howtocorrupt.html>, 2.2).
    #[cfg(unix)]
    fn of(path: &Path) -> io::Result<FileId> {
        use std::os::unix::fs::MetadataExt;
        let data = std::fs::metadata(path)?;
        Ok(FileId { device: data.dev(), inode: data.ino() })
    }

    /// Other systems don't let an open file be replaced; that it is there is all that is asked.
    #[cfg(not(unix))]
    fn of(path: &Path) -> io::Result<FileId> {
        std::fs::metadata(path).map(|_| FileId { device: 0, inode: 0 })
    }
}

/// The data file and its log as they were when they were opened.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    log_path: PathBuf,
    file: FileId,
    log: FileId,
}

impl Place {
    /// Notes the files under `path`. A connection that has read must be open: it holds the log in place.
    pub(super) fn note(path: &Path) -> io::Result<Place> {
        // SQLite follows links too, and puts the log beside the file itself.
        let path = path.canonicalize()?;
        let log_path = beside(&path, "-wal");
        Ok(Place { file: FileId::of(&path)?, log: FileId::of(&log_path)?, path, log_path })
    }

    /// The data file, without links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is written now will be found under the path at the next start.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] that says what is missing and what to do.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (path, id, what) in [
            (&self.path, self.file, "put it back, or restart on what is there now"),
            (&self.log_path, self.log, "restart; what it held was moved into the data file"),
        ] {
            let problem = match FileId::of(path) {
                Ok(found) if found == id => continue,
                Ok(_) => "was replaced".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => "was moved or deleted".to_owned(),
                Err(error) => format!("can't be looked at ({error})"),
            };
            let path = path.display();
            return Err(StoreError::Unavailable(format!("{path} {problem} while it was in use: {what}")));
        }
        Ok(())
    }
}

/// `path` with something behind its name: `ese.db-wal`.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Whether `file` is what lies under `path`.
pub(super) fn is_under(path: &Path, file: &std::fs::File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let open = file.metadata().map(|data| FileId { device: data.dev(), inode: data.ino() });
        matches!((open, FileId::of(path)), (Ok(open), Ok(found)) if open == found)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}
