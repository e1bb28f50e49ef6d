//! The two doors of the store, and what happens when the disk, a neighbour or a closure fails.

mod counts;
mod deep_pages;
mod guards;
mod plans;

use std::time::{Duration, Instant};

use event_stream_engine::clock::Clock;
use event_stream_engine::store::{READ_LIMIT, Store, StoreError, StorePaths};
use rusqlite::Connection;

struct File {
    store: Store,
    dir: tempfile::TempDir,
}

impl File {
    fn new() -> File {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock).unwrap();
        File { store, dir }
    }

    /// A connection of another process.
    fn other(&self) -> Connection {
        Connection::open(self.dir.path().join("ese.db")).unwrap()
    }

    /// Puts a setting, or fails as `then` says.
    async fn put(&self, key: &str, then: Then) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.store
            .write(move |tx| {
                tx.conn()
                    .execute("INSERT INTO settings (key, value, updated_at) VALUES (?1, 'x', 0)", [key])?;
                match then {
                    Then::Keep => Ok(()),
                    Then::Fail => Err(StoreError::Internal("refused".to_owned())),
                    Then::Panic => panic!("on purpose"),
                }
            })
            .await
    }

    fn keys(&self) -> Vec<String> {
        self.store
            .read_here(|conn| {
                let keys = conn
                    .prepare("SELECT key FROM settings ORDER BY key")?
                    .query_map([], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                Ok::<_, StoreError>(keys)
            })
            .unwrap()
    }

    /// Runs the futures of `writes` in one batch: the writer is held until all wait.
    async fn in_one_batch<F: Future>(&self, writes: impl IntoIterator<Item = F>) -> Vec<F::Output> {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let block = self.store.write::<_, _, StoreError>(move |_| {
            held.recv().ok();
            Ok(())
        });
        let before = self.store.commits();
        let all = futures_util::future::join_all(writes);
        let release = async move { release.send(()).unwrap() };
        let (blocked, outcomes, ()) = tokio::join!(biased; block, all, release);
        blocked.unwrap();
        let batches = self.store.commits().0 - before.0;
        assert!(batches <= 2, "{batches} batches");
        outcomes
    }
}

#[derive(Clone, Copy)]
enum Then {
    Keep,
    Fail,
    Panic,
}

#[tokio::test]
async fn a_failing_closure_is_undone_alone() {
    let file = File::new();
    let writes = [
        file.put("a", Then::Keep),
        file.put("b", Then::Fail),
        file.put("c", Then::Keep),
        file.put("a", Then::Keep),
        file.put("d", Then::Keep),
    ];
    let kept: Vec<bool> = file.in_one_batch(writes).await.iter().map(Result::is_ok).collect();
    assert_eq!(kept, [true, false, true, false, true]);
    assert_eq!(file.keys(), ["a", "c", "d"]);
}

#[tokio::test]
async fn a_panic_in_a_closure_is_caught_and_undone_alone() {
    let file = File::new();
    let writes = [file.put("a", Then::Keep), file.put("b", Then::Panic), file.put("c", Then::Keep)];
    let outcomes = file.in_one_batch(writes).await;
    assert!(matches!(&outcomes[1], Err(StoreError::Internal(_))), "{outcomes:?}");
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert_eq!(file.keys(), ["a", "c"]);
    file.put("e", Then::Keep).await.unwrap();
}

#[tokio::test]
async fn an_error_below_a_savepoint_undoes_that_alone() {
    let file = File::new();
    let insert = |key: &'static str| {
        move |conn: &Connection| {
            conn.execute("INSERT INTO settings (key, value, updated_at) VALUES (?1, 'x', 0)", [key])
        }
    };
    file.store
        .write::<_, _, StoreError>(move |tx| {
            insert("raw")(tx.conn())?;
            let effect = tx.nested::<(), StoreError>(|tx| {
                insert("effect")(tx.conn())?;
                Err(StoreError::Internal("no".to_owned()))
            });
            assert!(effect.is_err());
            tx.nested::<_, StoreError>(|tx| Ok(insert("other")(tx.conn())?))?;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(file.keys(), ["other", "raw"]);
}

#[tokio::test]
async fn a_full_disk_loses_the_whole_batch_tells_everybody_and_is_got_over() {
    let file = File::new();
    file.put("before", Then::Keep).await.unwrap();
    let fill = file.store.write::<_, (), StoreError>(|tx| {
        let pages: i64 = tx.conn().query_row("PRAGMA page_count", [], |row| row.get(0))?;
        tx.conn().query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        tx.conn().execute(
            "INSERT INTO settings (key, value, updated_at) VALUES ('big', printf('%.*c', 1000000, 'x'), 0)",
            [],
        )?;
        Ok(())
    });
    let error = fill.await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(file.keys(), ["before"]);
    // The limit went with the connection, as a full disk goes when somebody makes room.
    let outcomes = file.in_one_batch([file.put("a", Then::Keep), file.put("b", Then::Keep)]).await;
    if outcomes.iter().any(Result::is_err) {
        file.put("a", Then::Keep).await.unwrap();
        file.put("b", Then::Keep).await.unwrap();
    }
    assert_eq!(file.keys(), ["a", "b", "before"]);
}

#[tokio::test]
async fn a_commit_that_fails_answers_nobody_with_done() {
    let file = File::new();
    // A deferred foreign key is looked at by COMMIT alone.
    let broken = async {
        file.store
            .write::<_, _, StoreError>(|tx| {
                tx.conn().pragma_update(None, "defer_foreign_keys", "ON")?;
                tx.conn().execute(
                    "INSERT INTO subscriptions (user_id, topic_id, state, at) VALUES (999, 1, 'subscribed', 0)",
                    [],
                )?;
                Ok(())
            })
            .await
    };
    let (release, held) = std::sync::mpsc::channel::<()>();
    let block = file.store.write::<_, _, StoreError>(move |_| {
        held.recv().ok();
        Ok(())
    });
    let (_, a, b, c, ()) = tokio::join!(
        biased;
        block,
        file.put("a", Then::Keep),
        broken,
        file.put("c", Then::Keep),
        async move { release.send(()).unwrap() },
    );
    for outcome in [a, b, c] {
        let error = outcome.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
    }
    assert_eq!(file.keys(), Vec::<String>::new());
    file.put("d", Then::Keep).await.unwrap();
    assert_eq!(file.keys(), ["d"]);
}

#[tokio::test]
async fn a_lock_held_by_another_process_is_waited_for_and_then_told() {
    let file = File::new();
    let other = file.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    let error = file.put("a", Then::Keep).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(_)), "{error:?}");
    assert!(began.elapsed() >= Duration::from_secs(4), "it did not wait: {:?}", began.elapsed());
    other.execute_batch("COMMIT").unwrap();
    file.put("b", Then::Keep).await.unwrap();
    assert_eq!(file.keys(), ["b"]);
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_given_up_and_the_next_one_works() {
    const ENDLESS: &str =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let file = File::new();
    let began = Instant::now();
    let read =
        file.store.read::<_, i64, StoreError>(|conn| Ok(conn.query_row(ENDLESS, [], |row| row.get(0))?));
    let error = read.await.unwrap_err();
    assert!(matches!(error, StoreError::TooSlow(_)), "{error:?}");
    assert!(began.elapsed() < READ_LIMIT * 3, "{:?}", began.elapsed());
    let one =
        file.store.read::<_, i64, StoreError>(|conn| Ok(conn.query_row("SELECT 1", [], |row| row.get(0))?));
    assert_eq!(one.await.unwrap(), 1);
}

#[tokio::test]
async fn a_reader_can_not_write_and_sees_one_moment() {
    let file = File::new();
    let refused = file.store.read::<_, usize, StoreError>(|conn| {
        Ok(conn.execute("INSERT INTO settings (key, value, updated_at) VALUES ('a', 'x', 0)", [])?)
    });
    assert!(refused.await.is_err());
    let other = file.other();
    let counts = file.store.read_here(|conn| {
        let count = || conn.query_row("SELECT count(*) FROM settings", [], |row| row.get::<_, i64>(0));
        let before = count()?;
        other.execute("INSERT INTO settings (key, value, updated_at) VALUES ('b', 'x', 0)", [])?;
        Ok::<_, StoreError>((before, count()?))
    });
    assert_eq!(counts.unwrap(), (0, 0));
    assert_eq!(file.keys(), ["b"]);
}

#[tokio::test]
async fn a_hundred_writers_share_a_few_commits() {
    let file = File::new();
    let keys: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    let outcomes = file.in_one_batch(keys.iter().map(|key| file.put(key, Then::Keep))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(file.keys(), keys);
}

#[test]
fn the_sqlite3_shell_opens_the_file_and_reads_people() {
    let file = File::new();
    file.other()
        .execute_batch(
            "INSERT INTO users (phone, attributes, created_at, updated_at)
             VALUES ('+12125550101', jsonb('{\"name\":\"Ana\"}'), 0, 0)",
        )
        .unwrap();
    let shell = std::process::Command::new("sqlite3")
        .arg(file.dir.path().join("ese.db"))
        .arg("SELECT phone, consent FROM users; PRAGMA integrity_check;")
        .output();
    let Ok(shell) = shell else {
        println!("no sqlite3 shell on this machine: not shown here");
        return;
    };
    let told = String::from_utf8(shell.stdout).unwrap();
    assert_eq!(told.trim(), "+12125550101|unknown\nok", "{:?}", String::from_utf8(shell.stderr));
}

#[tokio::test]
async fn a_panic_in_a_read_leaves_no_transaction_behind() {
    let file = File::new();
    for _ in 0..12 {
        let panicked = file.store.read(|_| -> Result<(), StoreError> { panic!("a defect") }).await;
        assert!(matches!(panicked, Err(StoreError::Internal(_))), "{panicked:?}");
    }
    file.put("a", Then::Keep).await.unwrap();
    for _ in 0..12 {
        let seen = file
            .store
            .read(|conn| {
                Ok::<_, StoreError>(
                    conn.query_row("SELECT count(*) FROM settings", [], |row| row.get::<_, i64>(0))?,
                )
            })
            .await;
        assert_eq!(seen.unwrap(), 1, "a reader still sees an old snapshot");
    }
}

#[tokio::test]
async fn a_panic_below_a_savepoint_undoes_that_alone() {
    let file = File::new();
    let insert = "INSERT INTO settings (key, value, updated_at) VALUES (?1, 'x', 0)";
    file.store
        .write(move |tx| {
            tx.conn().execute(insert, ["raw"])?;
            let effect = tx.nested(|tx| -> Result<(), StoreError> {
                tx.conn().execute(insert, ["effect"])?;
                panic!("a parser broke");
            });
            assert!(matches!(effect, Err(StoreError::Internal(_))));
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let kept: String =
        file.other().query_row("SELECT group_concat(key) FROM settings", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, "raw");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_waits_ten_seconds_is_told_to_come_back_and_nothing_is_done_behind_them() {
    let file = File::new();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (began, has_begun) = std::sync::mpsc::channel::<()>();
    let store = file.store.clone();
    let block = tokio::spawn(async move {
        store
            .write::<_, _, StoreError>(move |_| {
                began.send(()).ok();
                held.recv().ok();
                Ok(())
            })
            .await
    });
    tokio::task::yield_now().await;
    has_begun.recv().unwrap();
    // Tokio's clock jumps ahead while everybody waits: ten seconds pass at once.
    let late = file.put("late", Then::Keep).await;
    assert!(matches!(&late, Err(StoreError::Unavailable(why)) if why.contains("10 s")), "{late:?}");
    tokio::time::resume();
    release.send(()).unwrap();
    let _ = block.await.unwrap();
    file.put("next", Then::Keep).await.unwrap();
    let kept: String =
        file.other().query_row("SELECT group_concat(key) FROM settings", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, "next");
}
