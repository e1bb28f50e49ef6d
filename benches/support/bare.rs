//! The least that any program must do: rows into the same tables with the same durability, by group commit,
//! without a rule, an event chain or a count. What these reach is the ceiling.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

/// Writes of one commit at most, as in the store.
const BATCH: usize = 256;

/// A file with the product's schema and nobody in it.
pub fn create(dir: &tempfile::TempDir) -> std::path::PathBuf {
    let path = dir.path().join("bare.db");
    let conn = connect(&path);
    conn.execute_batch(include_str!("../../schema.sql")).unwrap();
    path
}

/// A connection with the pragmas of the store's writer.
pub fn connect(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.busy_timeout(Duration::from_secs(10)).unwrap();
    conn.pragma_update(None, "journal_mode", "WAL").unwrap();
    conn.pragma_update(None, "synchronous", "FULL").unwrap();
    conn.pragma_update(None, "foreign_keys", "ON").unwrap();
    conn.pragma_update(None, "wal_autocheckpoint", 8_000).unwrap();
    conn.pragma_update(None, "cache_size", -32_768).unwrap();
    conn.set_prepared_statement_cache_capacity(64);
    conn
}

type Answer = Box<dyn FnOnce() + Send>;
type Job = Box<dyn FnOnce(&Connection) -> Answer + Send>;

/// A writer thread that commits whatever waits at once.
#[derive(Clone)]
pub struct Group(Sender<Job>);

impl Group {
    pub fn start(path: &Path) -> Group {
        let conn = connect(path);
        let (sender, jobs) = channel();
        std::thread::spawn(move || work(&conn, &jobs));
        Group(sender)
    }

    /// Runs `change` and answers after the commit.
    pub async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> T {
        let (answer, outcome) = oneshot::channel();
        let job: Job = Box::new(move |conn| {
            let value = change(conn);
            Box::new(move || {
                let _ = answer.send(value);
            })
        });
        self.0.send(job).unwrap();
        outcome.await.unwrap()
    }
}

fn work(conn: &Connection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        conn.prepare_cached("BEGIN IMMEDIATE").unwrap().execute([]).unwrap();
        let mut answers = vec![first(conn)];
        while answers.len() < BATCH
            && let Ok(job) = jobs.try_recv()
        {
            answers.push(job(conn));
        }
        conn.prepare_cached("COMMIT").unwrap().execute([]).unwrap();
        for answer in answers {
            answer();
        }
    }
}
