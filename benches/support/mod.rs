//! What the benchmarks share: a data file with people in it, a load client that costs next to nothing, the
//! bare programs that make the ceilings, and the table at the end.
//!
//! Each benchmark is a program of its own and uses a part of this.
#![allow(dead_code)]

pub mod bare;
pub mod history;
pub mod load;
pub mod memory;
pub mod people;
pub mod plot;
pub mod provider;
pub mod sending;
pub mod series;
pub mod table;
pub mod webhooks;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use event_stream_engine::clock::Clock;
use event_stream_engine::store::{Store, StoreError, StorePaths, senders};

/// Our number.
pub const SENDER: &str = "+14155550100";
/// The account that signs.
pub const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// Its key.
pub const TOKEN: &str = "simulated-auth-token";
/// A Monday noon in New York: no quiet hours anywhere among the people of the benchmarks, so that the gate
/// judges as always and lets everybody pass.
pub const NOON: &str = "2026-11-23T17:00:00Z";

/// A folder on the disk of the build, not in a memory file system: a commit has to reach a disk.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Where results are kept.
pub fn results() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// A clock that runs like the system's but shows [`NOON`] at the start.
pub fn clock() -> Clock {
    let clock = Clock::manual(NOON.parse().unwrap());
    let moved = clock.clone();
    std::thread::spawn(move || {
        let start = Instant::now();
        let mut shown = 0;
        loop {
            std::thread::sleep(Duration::from_millis(1));
            let passed = start.elapsed().as_millis() as i64;
            moved.advance(passed - shown);
            shown = passed;
        }
    });
    clock
}

/// Moves the log of `store` into its file from the side, as the server does; `CHECKPOINT_MS` says how often.
fn checkpoint_from_the_side(store: &Store) {
    let every = std::env::var("CHECKPOINT_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000);
    let conn = bare::connect(&store.paths().path);
    let path = store.paths().path.clone();
    std::thread::spawn(move || {
        while path.exists() {
            std::thread::sleep(Duration::from_millis(every));
            let _ = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
    });
}

/// A new data file as the server opens it: WAL, `synchronous=FULL`, one sender.
pub async fn open(dir: &tempfile::TempDir, clock: &Clock) -> Store {
    open_at(dir.path(), clock).await
}

/// The same of the file in a folder that is kept.
pub async fn open_at(dir: &Path, clock: &Clock) -> Store {
    let store = Store::open(StorePaths::inside(dir), clock.clone()).unwrap();
    let configured = vec![(SENDER.to_owned(), "long_code".to_owned())];
    store.write::<_, _, StoreError>(move |tx| senders::synchronize(tx, &configured)).await.unwrap();
    checkpoint_from_the_side(&store);
    store
}

/// The runtime of everything that is measured.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Resident memory of this process, in MiB.
pub fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kibibytes: f64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    kibibytes / 1_024.0
}

/// Reads one number with plain SQL, on a connection of its own.
pub fn value(dir: &tempfile::TempDir, sql: &str) -> i64 {
    let conn = rusqlite::Connection::open(StorePaths::inside(dir.path()).path).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}
