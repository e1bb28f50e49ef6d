//! Imports: a CSV file of people, new and again with other values; beside bare inserts and updates of rows
//! that are ready, 5,000 a transaction.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::fmt::Write;
use std::time::Instant;

use event_stream_engine::import::{self, NewImport, Options, Pace, Spool, spool_dir};
use event_stream_engine::store::Store;
use event_stream_engine::store::imports::{self, ImportState};
use rusqlite::Connection;
use serde_json::json;
use support::memory::Peak;
use support::table::Bench;
use support::{bare, clock, folder, open, people, resident, runtime, value};

/// Rows of one bare transaction.
const CHUNK: u64 = 5_000;

fn main() {
    let mut bench = Bench::start("import");
    let n = if bench.is_quick { 100_000 } else { 1_000_000 };
    runtime().block_on(async {
        plain(&mut bench, n).await;
        with_consent(&mut bench, n.min(200_000)).await;
    });
    bench.note("6 columns: phone, name, city, age, plan, joined; “again” changes the plan of everybody");
    bench.note("ceiling: bare statements with ready rows, 5,000 a commit; making the rows is not counted");
    bench.finish();
}

async fn plain(bench: &mut Bench, n: u64) {
    let (bare_new, bare_again) = bare_import(n, false);
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    let before = resident();
    let peak = Peak::start();
    let new = product(&store, n, 0, json!({})).await;
    let again = product(&store, n, 1, json!({})).await;
    let peak = peak.stop();
    bench.line(format!("{n} new"), n as f64 / new, "rows/s").against(n as f64 / bare_new, "ratio ≥ 0.50");
    bench
        .line(format!("{n} again, changed"), n as f64 / again, "rows/s")
        .against(n as f64 / bare_again, "ratio ≥ 0.50");
    bench.line("memory before", before, "MiB");
    bench.line("memory at most", peak, "MiB");
    bench.target("≤ 120 MiB");
    assert_eq!(value(&dir, "SELECT count(*) FROM users") as u64, n);
}

/// With a consent each: a row of the ledger and its hashes beside the person.
async fn with_consent(bench: &mut Bench, n: u64) {
    let (bare_new, _) = bare_import(n, true);
    let (dir, clock) = (folder(), clock());
    let store = open(&dir, &clock).await;
    let new = product(
        &store,
        n,
        0,
        json!({"consent": {"state": "opt_in", "source": "form", "evidence": "form of May 2026"}}),
    )
    .await;
    bench
        .line(format!("{n} new, with consent"), n as f64 / new, "rows/s")
        .against(n as f64 / bare_new, "ratio ≥ 0.50");
}

fn plan(i: u64, round: u64) -> &'static str {
    ["basic", "plus", "pro"][((i + round) % 3) as usize]
}

fn spool(store: &Store, n: u64, round: u64) -> import::Spooled {
    let mut spool = Spool::create(&spool_dir(store.paths()), 1 << 32).unwrap();
    spool.write(b"phone,name,city,age,plan,joined\n").unwrap();
    let mut piece = String::new();
    for i in 0..n {
        let (phone, plan, age) = (people::phone(i), plan(i, round), 18 + i % 60);
        writeln!(piece, "{phone},Person {i},City {},{age},{plan},2026-0{}-11", i % 1_000, 1 + i % 9).unwrap();
        if piece.len() > 64 * 1_024 {
            spool.write(piece.as_bytes()).unwrap();
            piece.clear();
        }
    }
    spool.write(piece.as_bytes()).unwrap();
    spool.finish().unwrap()
}

/// Seconds from the queued file to the finished import.
async fn product(store: &Store, n: u64, round: u64, options: serde_json::Value) -> f64 {
    let import = NewImport {
        file_name: "people.csv".to_owned(),
        file: spool(store, n, round),
        options: Options::parse(&options).unwrap(),
        actor: "command".to_owned(),
    };
    let start = Instant::now();
    let id = store.write(move |tx| import::queue(tx, &import)).await.unwrap();
    import::run_queued(store, &Pace::default()).await.unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let row = store.read(move |conn| imports::find(conn, id)).await.unwrap().unwrap();
    assert!(matches!(row.state, ImportState::Finished), "{row:?}");
    let expected = if round == 0 { row.tally.created } else { row.tally.updated };
    assert_eq!(expected, n, "{:?}", row.tally);
    seconds
}

/// Seconds that bare inserts take, and bare updates of the same people.
fn bare_import(n: u64, has_consent: bool) -> (f64, f64) {
    let dir = folder();
    let conn = bare::connect(&bare::create(&dir));
    let new = timed(n, 0, &conn, |i, (phone, attributes)| {
        conn.prepare_cached(
            "INSERT INTO users (phone, country, consent, attributes, import_id, import_row, created_at, updated_at)
             VALUES (?1, 'US', 'opt_in', jsonb(?2), 1, ?3, 0, 0)",
        )
        .unwrap()
        .execute((phone, attributes, -(i as i64)))
        .unwrap();
        if has_consent {
            let digest = [7_u8; 32];
            conn.prepare_cached(
                "INSERT INTO consent_ledger (user_id, previous, state, source, actor, evidence, evidence_hash, at, digest)
                 VALUES (?1, 'unknown', 'opt_in', 'form', 'import:1', 'import 1, row 100000, file people.csv', ?2, 0, ?2)",
            )
            .unwrap()
            .execute((conn.last_insert_rowid(), digest))
            .unwrap();
        }
    });
    let again = timed(n, 1, &conn, |i, (phone, attributes)| {
        conn.prepare_cached(
            "UPDATE users SET attributes = jsonb(?2), import_id = 2, import_row = ?3, updated_at = 1 WHERE phone = ?1",
        )
        .unwrap()
        .execute((phone, attributes, i as i64))
        .unwrap();
    });
    (new, again)
}

fn timed(n: u64, round: u64, conn: &Connection, each: impl Fn(u64, &(String, String))) -> f64 {
    let mut seconds = 0.0;
    for from in (0..n).step_by(CHUNK as usize) {
        let rows: Vec<(String, String)> = (from..n.min(from + CHUNK))
            .map(|i| {
                let attributes = format!(
                    r#"{{"name":"Person {i}","city":"City {}","age":{},"plan":"{}","joined":"2026-0{}-11"}}"#,
                    i % 1_000,
                    18 + i % 60,
                    plan(i, round),
                    1 + i % 9
                );
                (people::phone(i), attributes)
            })
            .collect();
        let start = Instant::now();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        for (at, row) in rows.iter().enumerate() {
            each(from + at as u64, row);
        }
        conn.execute_batch("COMMIT").unwrap();
        seconds += start.elapsed().as_secs_f64();
    }
    seconds
}
