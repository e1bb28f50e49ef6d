//! SQLite: the only place with SQL. Two doors, [`Store::read`] and [`Store::write`]; then one file per
//! noun, whose functions take the connection or the [`Tx`] that a door handed out.

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
pub mod users;
pub mod verify;
pub mod webhook_deliveries;
pub mod webhook_endpoints;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::OpenFlags;
use tokio::sync::{Notify, watch};

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

use effects::Effects;
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

/// Called on the writer's thread after each commit that withdraws something, before anybody is answered.
type WithdrawHook = Box<dyn Fn(&[Withdrawal]) + Send + Sync>;

/// What the writer tells the rest of the process after a commit.
#[derive(Clone)]
struct Shared {
    clock: Clock,
    inner: Arc<SharedInner>,
}

struct SharedInner {
    withdraw: std::sync::OnceLock<WithdrawHook>,
    delivery: Notify,
    import: Notify,
    import_checks: Notify,
    campaigns: Notify,
    triggers: Notify,
    people: Notify,
    gaps: Gaps,
    plan_version: AtomicU64,
    last_event: watch::Sender<i64>,
    batches: AtomicU64,
    closures: AtomicU64,
    reads: AtomicU64,
}

impl Shared {
    fn committed(&self, effects: Effects, closures: usize) {
        let inner = &self.inner;
        if !effects.withdrawals.is_empty()
            && let Some(hook) = inner.withdraw.get()
        {
            tracing::trace!(withdrawals = effects.withdrawals.len(), "claims are withdrawn");
            hook(&effects.withdrawals);
        }
        if effects.changes_plan {
            inner.plan_version.fetch_add(1, Ordering::SeqCst);
            inner.campaigns.notify_one();
        }
        if effects.wakes_triggers {
            inner.triggers.notify_one();
        }
        if effects.wakes_people {
            inner.people.notify_one();
        }
        if effects.wakes_delivery || effects.changes_plan {
            inner.delivery.notify_one();
        }
        if effects.wakes_import {
            inner.import.notify_one();
            inner.import_checks.notify_one();
        }
        if effects.last_event_id > 0 {
            inner.last_event.send_replace(effects.last_event_id);
        }
        inner.batches.fetch_add(1, Ordering::Relaxed);
        inner.closures.fetch_add(closures as u64, Ordering::Relaxed);
    }
}

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
        let gaps = Gaps::new(clock.clone());
        let shared = Shared {
            clock,
            inner: Arc::new(SharedInner {
                withdraw: std::sync::OnceLock::new(),
                delivery: Notify::new(),
                import: Notify::new(),
                import_checks: Notify::new(),
                campaigns: Notify::new(),
                triggers: Notify::new(),
                people: Notify::new(),
                gaps,
                plan_version: AtomicU64::new(0),
                last_event: watch::channel(0).0,
                batches: AtomicU64::new(0),
                closures: AtomicU64::new(0),
                reads: AtomicU64::new(0),
            }),
        };
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

    /// Installs what is called after each commit that withdraws claimed messages, before the caller of
    /// that write is answered. The first call wins.
    pub fn on_withdraw(&self, hook: impl Fn(&[Withdrawal]) + Send + Sync + 'static) {
        let _ = self.shared.inner.withdraw.set(Box::new(hook));
    }

    /// Resolves when a commit left something to deliver.
    pub async fn delivery_woken(&self) {
        self.shared.inner.delivery.notified().await;
    }

    /// Resolves when a commit left a draft whose dry run is to be made.
    pub async fn import_checks_woken(&self) {
        self.shared.inner.import_checks.notified().await;
    }

    /// Resolves when a commit left something to import.
    pub async fn import_woken(&self) {
        self.shared.inner.import.notified().await;
    }

    /// Resolves when a campaign, sender or template changed.
    pub async fn campaigns_woken(&self) {
        self.shared.inner.campaigns.notified().await;
    }

    /// Resolves when an event named a segment, or one that did was taken back.
    pub async fn triggers_woken(&self) {
        self.shared.inner.triggers.notified().await;
    }

    /// Resolves when somebody was added whom the search does not find yet, or an action on many people began.
    pub async fn people_woken(&self) {
        self.shared.inner.people.notified().await;
    }

    /// Times in which messages from people may have been missed.
    pub fn gaps(&self) -> &Gaps {
        &self.shared.inner.gaps
    }

    /// Closes the gap that was looked through, unless another was noticed since `noted`, and lets marketing
    /// go on. Returns whether it does.
    pub fn close_gap(&self, noted: u64) -> bool {
        let is_closed = self.gaps().close(noted);
        if is_closed {
            self.shared.inner.delivery.notify_one();
        }
        is_closed
    }

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

    /// Follows the events: changes after each commit that wrote some, and when another process may have. The
    /// value says nothing that the file doesn't; whoever is woken looks there.
    ///
    /// What is committed becomes visible in the order of the ids: SQLite gives an id inside a write
    /// transaction, and there is one of those at a time, over all processes. So who read up to an id has
    /// missed nothing before it.
    pub fn watch_events(&self) -> watch::Receiver<i64> {
        self.shared.inner.last_event.subscribe()
    }

    /// Counts up whenever campaigns, senders, templates or settings change.
    pub fn plan_version(&self) -> u64 {
        self.shared.inner.plan_version.load(Ordering::SeqCst)
    }

    /// Tells everybody to look again, because another process may have written.
    pub fn plan_changed(&self) {
        let inner = &self.shared.inner;
        inner.plan_version.fetch_add(1, Ordering::SeqCst);
        inner.campaigns.notify_one();
        inner.delivery.notify_one();
        inner.import.notify_one();
        inner.import_checks.notify_one();
        inner.last_event.send_modify(|_| {});
    }

    /// Batches and closures committed since the start.
    pub fn commits(&self) -> (u64, u64) {
        let inner = &self.shared.inner;
        (inner.batches.load(Ordering::Relaxed), inner.closures.load(Ordering::Relaxed))
    }

    /// Snapshots that were asked for by [`Store::read`] since the start.
    pub fn reads(&self) -> u64 {
        self.shared.inner.reads.load(Ordering::Relaxed)
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

/// When the file was made.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn created_at(conn: &Connection) -> Result<crate::clock::Millis, StoreError> {
    Ok(conn
        .prepare_cached("SELECT created_at FROM store_identity WHERE id = 1")?
        .query_row([], |row| row.get(0))?)
}

fn data_version(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn.query_row("PRAGMA data_version", [], |row| row.get(0))?)
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
