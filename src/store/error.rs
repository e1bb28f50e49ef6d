//! What can go wrong in the store, told by what the caller can do about it.

use std::path::PathBuf;

/// An answer that the store could not give.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't take or give data now (full, locked, read-only, moved away, queue too long). Nothing of
    /// the call is promised; trying again later is right. After a commit whose sync failed, or for a caller
    /// who gave up waiting, it may turn out that it was kept all the same. HTTP: 503.
    #[error("the data file can't be used right now: {0}")]
    Unavailable(String),
    /// A read took longer than a snapshot may be held. HTTP: 503.
    #[error("the question took longer than {0} ms and was given up")]
    TooSlow(u64),
    /// A defect: a statement or a closure that should never fail did. HTTP: 500.
    #[error("the store failed: {0}")]
    Internal(String),
}

impl StoreError {
    /// True when the same call may well work later.
    pub fn is_transient(&self) -> bool {
        !matches!(self, StoreError::Internal(_))
    }
}

impl StoreError {
    /// The same for another closure of a batch that was lost: transient, whatever it was for the one.
    pub(super) fn for_another(&self) -> StoreError {
        match self {
            StoreError::Unavailable(reason) => StoreError::Unavailable(reason.clone()),
            other => StoreError::Unavailable(other.to_string()),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        use rusqlite::ErrorCode as Code;
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => StoreError::Unavailable("disk full".to_owned()),
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
                StoreError::Unavailable("another process holds the lock".to_owned())
            }
            Some(Code::ReadOnly) => StoreError::Unavailable("read-only".to_owned()),
            Some(
                Code::SystemIoFailure
                // What a failing disk gives to read is no page of ours. It may be mended, so nobody is told
                // that their request was wrong, and no answer of Twilio's is given up.
                | Code::DatabaseCorrupt
                | Code::NotADatabase
                | Code::CannotOpen
                | Code::PermissionDenied
                | Code::OutOfMemory
                | Code::FileLockingProtocolFailed,
            ) => StoreError::Unavailable(error.to_string()),
            Some(Code::OperationInterrupted) => {
                StoreError::TooSlow(super::READ_LIMIT.as_millis().try_into().unwrap_or(u64::MAX))
            }
            _ => StoreError::Internal(error.to_string()),
        }
    }
}

/// Why a data file was not opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file can't be made or written.
    #[error("{path}: {reason}. Check that the folder exists and that this user may write there")]
    NotWritable {
        /// The file in question.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Another process serves the file.
    #[error(
        "{path} is already served by process {process}. Stop that server first; commands such as ese import may run beside it"
    )]
    Served {
        /// The data file.
        path: PathBuf,
        /// The process's number, as it wrote it down.
        process: String,
    },
    /// Made by a newer release.
    #[error(
        "{path} has schema {found}, this program knows up to {known}. Use the newer program, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The data file.
        path: PathBuf,
        /// `PRAGMA user_version` of the file.
        found: i64,
        /// The last version that this program knows.
        known: i64,
    },
    /// Some other program's file.
    #[error("{path} is not a data file of this program: {reason}")]
    Foreign {
        /// The file in question.
        path: PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// The key that hashes suppressed numbers is gone.
    #[error(
        "{key_file} is missing, but {path} was made with a key. Put the key file back: without it, suppressed numbers can't be recognised"
    )]
    KeyMissing {
        /// Where the key was looked for.
        key_file: PathBuf,
        /// The data file.
        path: PathBuf,
    },
    /// A key of another file.
    #[error("{key_file} is not the key that {path} was made with. Put the right one back")]
    KeyMismatch {
        /// The key that was read.
        key_file: PathBuf,
        /// The data file.
        path: PathBuf,
    },
    /// SQLite refused.
    #[error("{path}: {source}")]
    Sqlite {
        /// The data file.
        path: PathBuf,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
}
