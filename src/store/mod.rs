//! SQLite: the only place with SQL. Two doors, [`Store::read`] and [`Store::write`]; then one file per
//! noun, whose functions take the connection or the [`Tx`] that a door handed out. Around the doors: `after_commit`
//! wakes who waits for a change, `upkeep` looks after the file.

mod after_commit;
pub mod api_keys;
pub mod attributes;
pub mod audience;
pub mod audit;
pub mod backup;
pub mod bulk;
pub mod campaigns;
pub mod canned_replies;
pub mod circumstances;
mod closings;
pub mod content_templates;
pub mod conversations;
pub mod cursors;
pub mod demo;
mod effects;
pub mod erasure;
mod error;
pub mod events;
pub mod frequency;
mod gaps;
pub mod hold;
pub mod idempotency;
pub mod imports;
pub mod inbound;
mod keeper;
mod key;
pub mod ledger;
pub mod messages;
pub mod one_time_links;
mod open;
pub mod operators;
pub mod outcomes;
pub mod personal;
mod place;
pub mod receipts;
pub mod reports;
pub mod retention;
pub mod seal;
pub mod search;
pub mod second_factors;
pub mod segment_sql;
pub mod segments;
pub mod senders;
mod serving;
pub mod sessions;
pub mod settings;
pub mod spending;
pub mod suppressions;
pub mod templates;
pub mod topics;
pub mod triggers;
mod tx;
mod upkeep;
pub mod users;
pub mod verify;
pub mod webhook_deliveries;
pub mod webhook_endpoints;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::OpenFlags;

use crate::clock::Clock;

pub use closings::SharedClosings;
pub use effects::Withdrawal;
pub use error::{OpenError, StoreError};
pub use gaps::{Gap, Gaps, OpenGap};
pub use keeper::Log;
pub use key::StoreKey;
pub use open::StorePaths;
/// What read functions take: a snapshot, or the writer's transaction.
pub use rusqlite::Connection;
pub use serving::Serving;
pub use tx::Tx;
pub use upkeep::FileWatch;

use after_commit::Shared;
use keeper::Keeper;
use place::Place;
use writer::Writer;

/// How long a snapshot may be held: a longer one keeps the log from being moved into the file.
pub const READ_LIMIT: Duration = Duration::from_secs(2);
/// How long a caller waits for the writer before it is told to come back later.
pub const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How long [`Store::close`] waits for the files to be closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Reading connections. Two cores gain nothing from more than a few.
const READERS: u32 = 4;

/// The data file, open. Clones share it.
#[derive(Clone)]
pub struct Store {
    readers: r2d2::Pool<SqliteConnectionManager>,
    writer: Writer,
    shared: Shared,
    keeper: Arc<Keeper>,
    place: Arc<Place>,
    key: StoreKey,
    paths: Arc<StorePaths>,
}

impl Store {
    /// Opens the file at `paths`, making it if there is none.
    ///
    /// # Errors
    /// Says what is wrong with the folder, the file, its schema or its key, and what to do.
    pub fn open(paths: StorePaths, clock: Clock) -> Result<Store, OpenError> {
        let (conn, key) = open::prepare(&paths, clock.now())?;
        let not_writable = |reason| OpenError::NotWritable { path: paths.path.clone(), reason };
        let place = Arc::new(Place::note(&paths.path).map_err(|error| not_writable(error.to_string()))?);
        let keeper = Keeper::open(place.path(), Arc::clone(&place))
            .map_err(|source| OpenError::Sqlite { path: paths.path.clone(), source })?;
        let keeper = Arc::new(keeper);
        let readers = open_readers(&place).map_err(|error| not_writable(error.to_string()))?;
        let shared = Shared::new(clock);
        let writer =
            Writer::start(conn, Arc::clone(&place), Arc::clone(&keeper), key.clone(), shared.clone());
        Ok(Store { readers, writer, shared, keeper, place, key, paths: Arc::new(paths) })
    }

    /// Takes the right to serve the file: while the returned value lives, no other process gets it. Commands
    /// need none.
    ///
    /// # Errors
    /// [`OpenError::Served`] names the process that has it.
    pub fn serve(&self) -> Result<Serving, OpenError> {
        Serving::take(self.place.path())
    }

    /// Runs `query` on one snapshot, on a blocking thread, for at most [`READ_LIMIT`].
    ///
    /// # Errors
    /// What `query` returns, or [`StoreError`] when no connection is free or the limit is passed.
    pub async fn read<F, T, E>(&self, query: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.shared.inner.reads.fetch_add(1, Ordering::Relaxed);
        let readers = self.readers.clone();
        tokio::task::spawn_blocking(move || on_snapshot(&readers, Some(READ_LIMIT), query))
            .await
            .unwrap_or_else(|_| Err(StoreError::Internal("a read panicked".to_owned()).into()))
    }

    /// Like [`Store::read`] on the calling thread and without a limit: for commands, not for the server.
    ///
    /// # Errors
    /// What `query` returns, or [`StoreError`].
    pub fn read_here<F, T, E>(&self, query: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E>,
        E: From<StoreError>,
    {
        on_snapshot(&self.readers, None, query)
    }

    /// Hands `change` to the writer and waits until it is on disk.
    ///
    /// An `Err` of the closure undoes what it wrote. The closure should take no longer than 20 ms.
    ///
    /// # Errors
    /// What `change` returns, or [`StoreError::Unavailable`] when nothing was kept.
    pub async fn write<F, T, E>(&self, change: F) -> Result<T, E>
    where
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let answer = async {
            let outcome = self.writer.submit(change).await?;
            outcome
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable("the store is closed".to_owned()).into()))
        };
        match tokio::time::timeout(WRITE_LIMIT, answer).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(StoreError::Unavailable(format!("no answer within {} s", WRITE_LIMIT.as_secs())).into())
            }
        }
    }

    /// At the end of the process: the whole log goes into the file. If this was the last clone, and no other
    /// process has the file open, that one file is left.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub async fn close(self) -> Result<(), StoreError> {
        let keeper = Arc::clone(&self.keeper);
        let settled = on_a_thread(move || keeper.settle()).await;
        let ended = self.writer.ended();
        drop(self);
        let _ = tokio::time::timeout(CLOSE_LIMIT, ended).await;
        settled
    }

    /// The key that hashes addresses.
    pub fn key(&self) -> &StoreKey {
        &self.key
    }

    /// Where the file and its key lie.
    pub fn paths(&self) -> &StorePaths {
        &self.paths
    }

    /// The clock that stamps rows.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }
}

/// When the file was made.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn created_at(conn: &Connection) -> Result<crate::clock::Millis, StoreError> {
    Ok(conn
        .prepare_cached("SELECT created_at FROM store_identity WHERE id = 1")?
        .query_row([], |row| row.get(0))?)
}

/// The reading connections. They stay open: one that is opened later may find another file under the path.
fn open_readers(place: &Arc<Place>) -> Result<r2d2::Pool<SqliteConnectionManager>, r2d2::Error> {
    let noted = Arc::clone(place);
    let manager = SqliteConnectionManager::file(place.path())
        .with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .with_init(move |conn| {
            noted.check().map_err(|error| {
                let reason = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
                rusqlite::Error::SqliteFailure(reason, Some(error.to_string()))
            })?;
            open::prepare_reader(conn)
        });
    r2d2::Pool::builder()
        .max_size(READERS)
        .min_idle(Some(1))
        .max_lifetime(None)
        .idle_timeout(None)
        .connection_timeout(WRITE_LIMIT)
        .build(manager)
}

async fn on_a_thread(
    work: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
) -> Result<(), StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Internal(error.to_string()))?
}

fn on_snapshot<F, T, E>(
    readers: &r2d2::Pool<SqliteConnectionManager>,
    limit: Option<Duration>,
    query: F,
) -> Result<T, E>
where
    F: FnOnce(&Connection) -> Result<T, E>,
    E: From<StoreError>,
{
    let conn =
        readers.get().map_err(|error| StoreError::Unavailable(format!("no reader is free: {error}")))?;
    let limit = limit.map(|limit| {
        let end = Instant::now() + limit;
        move || Instant::now() > end
    });
    conn.progress_handler(10_000, limit).map_err(StoreError::from)?;
    // Dropped on every way out, a panic too: the connection goes back to the pool without a transaction.
    let snapshot = conn.unchecked_transaction().map_err(StoreError::from)?;
    let answer = query(&snapshot);
    drop(snapshot);
    answer
}
