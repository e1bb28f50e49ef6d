//! The import itself, once `prepare` has surveyed the file: chunk after chunk, each with its counters in one write, so
//! that a restart goes on behind the last one. A dry run begins anew.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::apply::{Progress, apply, rehearse};
use super::decide::{Ground, Job, Plan, Planned, foresee};
use super::file::{self, FileError, Layout};
use super::prepare::{Prepared, prepare};
use super::row::Reading;
use super::samples::Samples;
use crate::store::imports::{self, ImportRow, ImportState, Place, Rehearsal, Tally};
use crate::store::{Connection, Store, StoreError};

/// A chunk should hold the writer for about so long.
const CHUNK_TIME: Duration = Duration::from_millis(18);
/// Fewest rows of a chunk: below, the commit costs more than the rows.
const FEWEST: usize = 200;
/// Most rows of a chunk.
const MOST: usize = 5_000;
/// A chunk of wide rows ends at this size, which bounds the memory of an import.
const CHUNK_BYTES: usize = 4 << 20;
/// Chunks read ahead of the writer.
const AHEAD: usize = 1;

/// How far one call may go.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Set on shutdown: an import stops after the chunk at hand and goes on after the next start.
    pub stop: Arc<AtomicBool>,
    /// Most rows of a chunk.
    pub rows_per_chunk: usize,
    /// Most chunks in one call.
    pub chunks: Option<u64>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { stop: Arc::default(), rows_per_chunk: MOST, chunks: None }
    }
}

/// How an import was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It is at its end, well or not; the row says which.
    Ended,
    /// The pace was used up; the next call goes on.
    Stopped,
    /// Another process works on it.
    Elsewhere,
}

/// Why a chunk was not kept.
enum ChunkError {
    Elsewhere,
    Store(StoreError),
}

impl From<StoreError> for ChunkError {
    fn from(error: StoreError) -> ChunkError {
        ChunkError::Store(error)
    }
}

/// Runs every import that is queued or was interrupted, oldest first, until none is left or the pace is
/// used up. Returns how many came to their end.
///
/// # Errors
/// A transient [`StoreError`]: the import at hand goes on with the next call.
pub async fn run_queued(store: &Store, pace: &Pace) -> Result<usize, StoreError> {
    run_each(store, pace, imports::next_open).await
}

/// Makes the dry run of every draft that waits for one, oldest first. Nothing that people or messages wait for
/// hangs on it, so it runs beside [`run_queued`].
///
/// # Errors
/// A transient [`StoreError`]: the dry run at hand begins anew with the next call.
pub async fn run_checks(store: &Store, pace: &Pace) -> Result<usize, StoreError> {
    run_each(store, pace, imports::next_check).await
}

/// The import behind an id that is to be worked on next.
type Next = fn(&Connection, i64) -> Result<Option<ImportRow>, StoreError>;

async fn run_each(store: &Store, pace: &Pace, next: Next) -> Result<usize, StoreError> {
    let mut ended = 0;
    let mut after = 0;
    while let Some(import) = store.read(move |conn| next(conn, after)).await? {
        after = import.id;
        match run_import(store, &import, pace).await? {
            Left::Ended => ended += 1,
            Left::Elsewhere => {}
            Left::Stopped => break,
        }
    }
    Ok(ended)
}

/// Runs one import, from where it stands.
///
/// # Errors
/// A transient [`StoreError`]: the import goes on with the next call.
pub async fn run_import(store: &Store, import: &ImportRow, pace: &Pace) -> Result<Left, StoreError> {
    let prepared = match prepare(store, import).await? {
        Ok(prepared) => prepared,
        Err(error) => return fail(store, import, &import.place(), &error.to_string()).await,
    };
    let (row, format, encoding) = (import.clone(), prepared.layout.format.as_str(), prepared.layout.encoding);
    if !store.write(move |tx| imports::start(tx, &row, format, encoding)).await? {
        return Ok(Left::Elsewhere);
    }
    let mut run = Run::new(store, import, prepared).await?;
    run.go(pace).await
}

/// One import between its first and its last chunk.
struct Run<'a> {
    store: &'a Store,
    import: &'a ImportRow,
    layout: Layout,
    job: Arc<Job>,
    tally: Tally,
    issues: u64,
    rehearsal: Option<Arc<Mutex<Rehearsed>>>,
    /// Cleared while the file brings nobody but new people: they need not be looked up.
    looks_up: Arc<AtomicBool>,
}

/// What a dry run remembers of the rows so far.
struct Rehearsed {
    seen: Rehearsal,
    samples: Samples,
}

impl<'a> Run<'a> {
    async fn new(store: &'a Store, import: &'a ImportRow, prepared: Prepared) -> Result<Run<'a>, StoreError> {
        let is_dry_run = import.is_dry_run();
        let id = import.id;
        let issues = store.read(move |conn| imports::count_issues(conn, id)).await?;
        let rehearsal = match is_dry_run {
            true => {
                let samples = Samples::new(&prepared.job.reader.fields);
                Some(Arc::new(Mutex::new(Rehearsed { seen: Rehearsal::new()?, samples })))
            }
            false => None,
        };
        let tally = if is_dry_run { Tally::default() } else { import.tally.clone() };
        let Prepared { layout, job } = prepared;
        let looks_up = Arc::new(AtomicBool::new(true));
        Ok(Run { store, import, layout, job: Arc::new(job), tally, issues, rehearsal, looks_up })
    }

    async fn go(&mut self, pace: &Pace) -> Result<Left, StoreError> {
        let size = Arc::new(AtomicUsize::new(FEWEST.min(pace.rows_per_chunk)));
        let (readings, reading) = self.read_ahead(Arc::clone(&size));
        let mut chunks = self.plan_ahead(readings);
        let mut left = pace.chunks;
        while let Some(rows) = chunks.recv().await {
            if pace.stop.load(Ordering::Relaxed) || left == Some(0) {
                return Ok(Left::Stopped);
            }
            left = left.map(|chunks| chunks - 1);
            let (mut first, mut count) = (self.tally.rows + 1, 0);
            let taken = match rows {
                Ok(rows) => {
                    first = rows.first().map_or(0, |row| row.reading.raw.number);
                    count = rows.len();
                    self.take_in(rows).await
                }
                Err(error) => Err(ChunkError::Store(error)),
            };
            match taken {
                Ok(time) => size.store(next_size(count, time, pace.rows_per_chunk), Ordering::Relaxed),
                Err(ChunkError::Elsewhere) => return Ok(Left::Elsewhere),
                Err(ChunkError::Store(error)) if error.is_transient() => return Err(error),
                Err(ChunkError::Store(error)) => {
                    tracing::error!(import.id = self.import.id, error = %error, "a chunk of an import failed");
                    let message = format!("The rows from row {} on could not be stored.", grouped(first));
                    return fail(self.store, self.import, &self.place(), &message).await;
                }
            }
        }
        let outcome = reading
            .await
            .unwrap_or_else(|_| Err(FileError::Refused("The file can't be read any further.".to_owned())));
        match outcome {
            Ok(()) => self.finish().await,
            Err(error) => fail(self.store, self.import, &self.place(), &error.to_string()).await,
        }
    }

    /// Reads and parses on a thread of its own, a few chunks ahead of the writer.
    fn read_ahead(
        &self,
        size: Arc<AtomicUsize>,
    ) -> (mpsc::Receiver<Vec<Reading>>, tokio::task::JoinHandle<Result<(), FileError>>) {
        let (sender, chunks) = mpsc::channel(AHEAD);
        let job = Arc::clone(&self.job);
        let layout = self.layout.clone();
        let path = self.import.spool_path.clone().unwrap_or_default();
        let done = self.tally.rows;
        let reading = tokio::task::spawn_blocking(move || {
            let mut skipped = 0;
            let mut rows = Vec::new();
            let mut bytes = 0;
            file::each_row(&path, &layout, &mut |raw| {
                if skipped < done {
                    skipped += 1;
                    return ControlFlow::Continue(());
                }
                bytes += raw.bytes();
                rows.push(job.reader.read(raw));
                if rows.len() < size.load(Ordering::Relaxed) && bytes < CHUNK_BYTES {
                    return ControlFlow::Continue(());
                }
                bytes = 0;
                match sender.blocking_send(std::mem::take(&mut rows)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })?;
            if !rows.is_empty() {
                let _ = sender.blocking_send(rows);
            }
            Ok(())
        });
        (chunks, reading)
    }

    /// Makes out on snapshots what the rows bring about, ahead of the writer. A snapshot is as old as the
    /// chunks between it and the writer, so the write compares what a plan was based on.
    fn plan_ahead(
        &self,
        mut readings: mpsc::Receiver<Vec<Reading>>,
    ) -> mpsc::Receiver<Result<Vec<Planned>, StoreError>> {
        let (sender, chunks) = mpsc::channel(1);
        let (store, job, looks_up) = (self.store.clone(), Arc::clone(&self.job), Arc::clone(&self.looks_up));
        let is_dry_run = self.rehearsal.is_some();
        tokio::spawn(async move {
            while let Some(rows) = readings.recv().await {
                let planned = if is_dry_run {
                    Ok(rows.into_iter().map(|reading| Planned { reading, plan: Plan::Open }).collect())
                } else {
                    let (key, job, looks_up) = (store.key().clone(), Arc::clone(&job), Arc::clone(&looks_up));
                    store
                        .read(move |conn| {
                            Ok(plan(&Ground { conn, key: &key, seen: None }, &job, rows, &looks_up))
                        })
                        .await
                };
                if sender.send(planned).await.is_err() {
                    return;
                }
            }
        });
        chunks
    }

    /// Writes one chunk and moves the counters. Returns how long the writer was held.
    async fn take_in(&mut self, mut rows: Vec<Planned>) -> Result<Duration, ChunkError> {
        let (id, place) = (self.import.id, self.place());
        let after = place.rows + rows.len() as u64;
        let bytes_read = match self.layout.rows {
            0 => 0,
            total => (self.import.bytes as f64 * (after as f64 / total as f64).min(1.0)) as u64,
        };
        let mut progress = Progress { tally: self.tally.clone(), issues: self.issues };
        let job = Arc::clone(&self.job);
        let (progress, time) = if let Some(rehearsal) = &self.rehearsal {
            let rehearsal = Arc::clone(rehearsal);
            let key = self.store.key().clone();
            let (progress, issues) = self
                .store
                .read(move |conn| {
                    let mut rehearsal = rehearsal.lock().unwrap_or_else(PoisonError::into_inner);
                    let Rehearsed { seen, samples } = &mut *rehearsal;
                    let ground = Ground { conn, key: &key, seen: Some(seen) };
                    let issues = rehearse(&ground, &job, &rows, (&mut progress, samples))?;
                    Ok::<_, StoreError>((progress, issues))
                })
                .await?;
            self.store
                .write(move |tx| {
                    let started = Instant::now();
                    move_on(tx, &place, bytes_read, &progress)?;
                    issues.iter().try_for_each(|issue| imports::insert_issue(tx, id, issue))?;
                    Ok::<_, ChunkError>((progress, started.elapsed()))
                })
                .await?
        } else {
            // The rows come back, so that the writer's thread does not spend its time on freeing them.
            let (progress, time, overtaken, rows) = self
                .store
                .write(move |tx| {
                    let started = Instant::now();
                    let overtaken = apply(tx, &job, &mut rows, &mut progress)?;
                    move_on(tx, &place, bytes_read, &progress)?;
                    Ok::<_, ChunkError>((progress, started.elapsed(), overtaken, rows))
                })
                .await?;
            if overtaken > rows.len() / 100 {
                self.looks_up.store(true, Ordering::Relaxed);
            }
            (progress, time)
        };
        self.tally = progress.tally;
        self.issues = progress.issues;
        Ok(time)
    }

    fn place(&self) -> Place {
        Place { rows: self.tally.rows, ..self.import.place() }
    }

    async fn finish(&self) -> Result<Left, StoreError> {
        if self.import.state == ImportState::Checking {
            self.keep_samples().await;
        }
        let place = self.place();
        if !self.store.write(move |tx| imports::finish(tx, &place, None)).await? {
            return Ok(Left::Elsewhere);
        }
        remove(self.import);
        Ok(Left::Ended)
    }

    /// Without them the page shows the counts alone.
    async fn keep_samples(&self) {
        let (Some(rehearsal), Some(path)) = (self.rehearsal.clone(), self.import.spool_path.clone()) else {
            return;
        };
        let kept = tokio::task::spawn_blocking(move || {
            rehearsal.lock().unwrap_or_else(PoisonError::into_inner).samples.write(&path)
        });
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(import.id = self.import.id, %error, "the samples of a dry run could not be kept");
        }
    }
}

/// Plans the rows of one chunk. A row that can't be planned is decided in the write.
fn plan(ground: &Ground<'_>, job: &Job, rows: Vec<Reading>, looks_up: &AtomicBool) -> Vec<Planned> {
    let is_likely_new = !looks_up.load(Ordering::Relaxed);
    let planned: Vec<Planned> = rows
        .into_iter()
        .map(|reading| {
            let plan = foresee(ground, job, &reading, is_likely_new).unwrap_or(Plan::Open);
            Planned { reading, plan }
        })
        .collect();
    let has_known =
        planned.iter().any(|row| row.reading.person.is_some() && !matches!(row.plan, Plan::Add { .. }));
    if planned.len() >= FEWEST && !has_known {
        looks_up.store(false, Ordering::Relaxed);
    }
    planned
}

fn move_on(
    tx: &crate::store::Tx<'_>,
    place: &Place,
    bytes_read: u64,
    progress: &Progress,
) -> Result<(), ChunkError> {
    if imports::advance(tx, place, &progress.tally, bytes_read)? {
        Ok(())
    } else {
        Err(ChunkError::Elsewhere)
    }
}

/// Ends an import that can't go on, with a sentence that says how far it got.
async fn fail(store: &Store, import: &ImportRow, place: &Place, reason: &str) -> Result<Left, StoreError> {
    let message = match place.rows {
        _ if import.state == ImportState::Checking => reason.to_owned(),
        _ if import.is_dry_run() => format!("{reason} Nothing was imported: it was a dry run."),
        0 => format!("{reason} Nothing was imported."),
        1 => format!("{reason} The first row of the file is in; nothing behind it was imported."),
        rows => {
            let rows = grouped(rows);
            format!("{reason} The first {rows} rows are in; nothing behind them was imported.")
        }
    };
    let place = *place;
    if !store.write(move |tx| imports::finish(tx, &place, Some(&message))).await? {
        return Ok(Left::Elsewhere);
    }
    remove(import);
    Ok(Left::Ended)
}

/// After the commit that ends an import nobody needs its file; what a crash leaves here is swept up later.
fn remove(import: &ImportRow) {
    if import.state == ImportState::Checking {
        return;
    }
    if let Some(path) = &import.spool_path {
        super::spool::remove(path);
    }
}

fn next_size(rows: usize, time: Duration, most: usize) -> usize {
    let fitting = rows as f64 * CHUNK_TIME.as_secs_f64() / time.as_secs_f64().max(1e-6);
    // Grows by half at most, so that one lucky chunk does not make the next one long.
    (fitting as usize).min(rows + rows / 2).clamp(FEWEST, MOST).min(most)
}

/// `12001` as `12,001`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_the_speed_of_the_disk() {
        let ms = Duration::from_millis;
        assert_eq!(next_size(1_000, ms(18), MOST), 1_000);
        assert_eq!(next_size(1_000, ms(1), MOST), 1_500);
        assert_eq!(next_size(1_000, ms(72), MOST), 250);
        assert_eq!(next_size(1_000, ms(10_000), MOST), FEWEST);
        assert_eq!(next_size(5_000, ms(1), MOST), MOST);
        assert_eq!(next_size(1_000, ms(1), 3), 3);
        assert_eq!(grouped(1), "1");
        assert_eq!(grouped(12_001), "12,001");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }
}
