//! The one writer thread: whatever waits is run in one transaction, committed once, answered after.
//!
//! A closure that returns an error is undone alone, by its savepoint. When the transaction itself is lost
//! (disk full, I/O error, a failed COMMIT), every closure of the batch gets a transient error and the
//! connection is opened anew: nobody is told "done" for what is not on disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::after_commit::Shared;
use super::effects::Effects;
use super::keeper::Keeper;
use super::key::StoreKey;
use super::place::Place;
use super::tx::{BEGIN_CLOSURE, END_CLOSURE, UNDO_CLOSURE};
use super::{StoreError, Tx, ledger, open};

/// Closures that wait for the writer at most; a caller beyond them waits, and is refused after
/// [`super::WRITE_LIMIT`].
const QUEUE: usize = 4_096;
/// One batch ends at this many closures …
const BATCH_CLOSURES: usize = 256;
/// … or after this time, so that nobody waits long for the commit.
const BATCH_TIME: Duration = Duration::from_millis(10);

/// A closure on its way through a batch.
trait Job: Send {
    /// Runs inside a savepoint. `false`: undo what it wrote.
    fn run(&mut self, tx: &Tx<'_>) -> bool;
    /// Replaces the outcome, because the closure panicked or the batch was lost.
    fn fail(&mut self, error: StoreError);
    /// Sends the outcome to whoever waits for it.
    fn answer(self: Box<Self>);
    /// True when the caller gave up, so that running it would only surprise.
    fn is_abandoned(&self) -> bool;
}

struct Closure<F, T, E> {
    run: Option<F>,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Closure<F, T, E>
where
    F: FnOnce(&Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> bool {
        let Some(run) = self.run.take() else {
            return false;
        };
        let outcome = run(tx);
        let is_kept = outcome.is_ok();
        self.outcome = Some(outcome);
        is_kept
    }

    fn fail(&mut self, error: StoreError) {
        self.outcome = Some(Err(error.into()));
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // The caller may have given up meanwhile; the outcome is on disk either way.
            let _ = self.reply.send(outcome);
        }
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// The sending end: hands closures to the thread.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
    /// Closed when the thread has ended.
    thread: watch::Receiver<()>,
}

impl Writer {
    /// Starts the thread on `conn`.
    pub(super) fn start(
        conn: Connection,
        place: Arc<Place>,
        keeper: Arc<Keeper>,
        key: StoreKey,
        shared: Shared,
    ) -> Writer {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (running, ended) = watch::channel(());
        let thread = Thread { conn: Some(conn), place, keeper, key, shared, jobs, trouble: None };
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                // A writer that can't go on must not leave a process that looks alive.
                if catch_unwind(AssertUnwindSafe(|| thread.run())).is_err() {
                    // Whatever panicked may be what would write this line.
                    let _ = catch_unwind(|| tracing::error!("the store's writer panicked; the process ends"));
                    std::process::abort();
                }
                drop(running);
            })
            .expect("the system can start one more thread");
        Writer { queue, thread: ended }
    }

    /// Queues `run`; the receiver yields its outcome after the commit.
    pub(super) async fn submit<F, T, E>(&self, run: F) -> Result<oneshot::Receiver<Result<T, E>>, StoreError>
    where
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        let job = Box::new(Closure { run: Some(run), outcome: None, reply });
        self.queue.send(job).await.map_err(|_| StoreError::Unavailable("the store is closed".to_owned()))?;
        Ok(outcome)
    }

    /// Resolves when the thread has closed the file, after the last clone is gone.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut thread = self.thread.clone();
        async move { while thread.changed().await.is_ok() {} }
    }

    /// Lets the thread look whether it can still write, though nobody has anything to write.
    pub(super) fn nudge(&self) {
        let (reply, _) = oneshot::channel::<Result<(), StoreError>>();
        let nothing = |_: &Tx<'_>| Ok(());
        // A full queue means that it is looking already.
        let _ = self.queue.try_send(Box::new(Closure { run: Some(nothing), outcome: None, reply }));
    }
}

struct Thread {
    conn: Option<Connection>,
    place: Arc<Place>,
    keeper: Arc<Keeper>,
    key: StoreKey,
    shared: Shared,
    jobs: mpsc::Receiver<Box<dyn Job>>,
    trouble: Option<Trouble>,
}

/// Batches lost in a row.
struct Trouble {
    reason: String,
    since: Instant,
    batches: u64,
}

impl Thread {
    fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            self.batch(first);
        }
        // An orderly end leaves one file without a log beside it.
        self.conn = None;
        let _ = self.keeper.settle();
    }

    /// One transaction: `first` and whatever else waits.
    fn batch(&mut self, first: Box<dyn Job>) {
        let started = Instant::now();
        let mut done: Vec<Box<dyn Job>> = Vec::new();
        let mut effects = Effects::default();
        let mut lost = self.begin().err();
        let mut next = Some(first);
        while let Some(mut job) = next.take() {
            if job.is_abandoned() {
                job.fail(StoreError::Unavailable("the caller gave up".to_owned()));
            } else if lost.is_none() {
                lost = self.run_one(job.as_mut(), &mut effects).err();
            }
            done.push(job);
            if done.len() < BATCH_CLOSURES && started.elapsed() < BATCH_TIME {
                next = self.jobs.try_recv().ok();
            }
        }
        let outcome = match lost {
            Some(error) => Err(error),
            None => self.commit(&mut effects),
        };
        // What is on disk holds for claims under way, whoever may be told of it.
        let outcome = outcome.map(|()| self.shared.committed(effects, done.len()));
        // On disk, but where nobody will find it: that is no "done" either.
        match outcome.and_then(|()| self.keeper.check()) {
            Ok(()) => self.mended(),
            Err(error) => {
                self.reopen(&error);
                for job in &mut done {
                    job.fail(error.for_another());
                }
            }
        }
        for job in done {
            job.answer();
        }
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.keeper.check()?;
        if self.conn.is_none() {
            self.conn = Some(open::writer(self.place.path())?);
        }
        Ok(self.connection().execute_batch("BEGIN IMMEDIATE")?)
    }

    fn connection(&self) -> &Connection {
        self.conn.as_ref().expect("begin() opened it for this batch")
    }

    /// Runs one closure in its savepoint. `Err`: the whole transaction is gone.
    fn run_one(&self, job: &mut dyn Job, effects: &mut Effects) -> Result<(), StoreError> {
        let conn = self.connection();
        conn.prepare_cached(BEGIN_CLOSURE)?.execute([])?;
        let tx = Tx::new(conn, &self.key, self.shared.clock.now());
        let is_kept = match catch_unwind(AssertUnwindSafe(|| job.run(&tx))) {
            Ok(is_kept) => is_kept,
            Err(_) => {
                job.fail(StoreError::Internal("a write panicked and was undone".to_owned()));
                false
            }
        };
        if conn.is_autocommit() {
            return Err(StoreError::Unavailable("the transaction was rolled back by SQLite".to_owned()));
        }
        if is_kept {
            effects.merge(tx.into_effects());
        } else {
            conn.prepare_cached(UNDO_CLOSURE)?.execute([])?;
        }
        conn.prepare_cached(END_CLOSURE)?.execute([])?;
        Ok(())
    }

    fn commit(&self, effects: &mut Effects) -> Result<(), StoreError> {
        let conn = self.connection();
        ledger::append_link(conn, &effects.ledger, self.shared.clock.now())?;
        effects.write_counts(conn, self.shared.clock.now())?;
        conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// A batch was lost: the next one begins on a new connection. A trouble that lasts is logged once.
    fn reopen(&mut self, error: &StoreError) {
        // Dropping the connection rolls back whatever it still holds.
        self.conn = None;
        let reason = error.to_string();
        match &mut self.trouble {
            Some(trouble) if trouble.reason == reason => trouble.batches += 1,
            trouble => {
                tracing::error!(
                    error = reason,
                    "writes are refused; the data file is opened anew for the next"
                );
                let (since, batches) =
                    trouble.as_ref().map_or((Instant::now(), 0), |trouble| (trouble.since, trouble.batches));
                *trouble = Some(Trouble { reason, since, batches: batches + 1 });
            }
        }
    }

    fn mended(&mut self) {
        if let Some(trouble) = self.trouble.take() {
            let seconds = trouble.since.elapsed().as_secs();
            tracing::info!(batches = trouble.batches, seconds, "writes are taken again");
        }
    }
}
