//! The copy of an uploaded file beside the data file: what a restart goes on with.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use super::{samples, surveyed};
use crate::store::{Store, StoreError, StorePaths, imports};

/// A file that nobody queued is left alone for so long: its upload may be under way.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Where uploads are kept until their import is over.
pub fn spool_dir(paths: &StorePaths) -> PathBuf {
    paths.path.parent().unwrap_or(Path::new("")).join("imports")
}

/// Why an upload was not kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It is longer than `[import] max_bytes`.
    #[error("The file is larger than {}, the limit of [import] max_bytes.", size(*limit))]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The system could not keep it.
    #[error("The file could not be kept: {0}.")]
    Io(#[from] std::io::Error),
}

/// A size as people say it; odd ones to the byte.
fn size(bytes: u64) -> String {
    match bytes {
        whole if whole > 0 && whole.is_multiple_of(1 << 20) => format!("{} MiB", whole >> 20),
        odd => format!("{odd} bytes"),
    }
}

/// An upload on its way to disk. Dropped before [`Spool::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Spool {
    file: NamedTempFile,
    bytes: u64,
    limit: u64,
}

/// An upload on disk.
#[derive(Clone, Debug)]
pub struct Spooled {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Only its owner looks into a folder full of phone numbers.
fn create_private(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

impl Spool {
    /// An empty file in `dir`, readable by this user alone; `limit` in bytes.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn create(dir: &Path, limit: u64) -> Result<Spool, SpoolError> {
        create_private(dir)?;
        let file = tempfile::Builder::new().prefix("upload-").tempfile_in(dir)?;
        Ok(Spool { file, bytes: 0, limit })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`SpoolError::TooLarge`] before anything beyond the limit is written.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), SpoolError> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.limit {
            return Err(SpoolError::TooLarge { limit: self.limit });
        }
        Ok(self.file.write_all(piece)?)
    }

    /// Makes sure that the whole file is on disk, and keeps it.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn finish(self) -> Result<Spooled, SpoolError> {
        self.file.as_file().sync_all()?;
        let (_, path) = self.file.keep().map_err(|error| error.error)?;
        Ok(Spooled { path, bytes: self.bytes })
    }
}

/// Removes a file of the spool and what was kept beside it; what a crash leaves here is swept up later.
pub(super) fn remove(path: &Path) {
    for path in [path.to_owned(), samples::beside(path), surveyed::beside(path)] {
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a file of the spool could not be removed");
        }
    }
}

/// Removes files that a crash left behind between upload and queue. Returns how many.
///
/// # Errors
/// [`StoreError`] when the imports can't be read; a file that can't be removed is left.
pub async fn sweep_spool(store: &Store) -> Result<usize, StoreError> {
    let wanted = store.read(imports::spooled).await?;
    let dir = spool_dir(store.paths());
    let removed = tokio::task::spawn_blocking(move || {
        let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
        entries.flatten().filter(|entry| remove_if_abandoned(&entry.path(), &wanted)).count()
    });
    Ok(removed.await.unwrap_or(0))
}

fn remove_if_abandoned(path: &Path, wanted: &[PathBuf]) -> bool {
    // What is kept beside a file has its name and more.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_wanted = wanted
        .iter()
        .filter_map(|file| file.file_name())
        .any(|wanted| name.starts_with(&*wanted.to_string_lossy()));
    let is_old = std::fs::metadata(path)
        .and_then(|data| data.modified())
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok())
        .is_some_and(|age| age > ABANDONED_AFTER);
    !is_wanted && is_old && std::fs::remove_file(path).is_ok()
}
