//! What nobody may change: events, the ledger and its chain. And what erasure leaves.

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::store::users::{self, UserKey};
use event_stream_engine::store::{StoreError, erasure, ledger};
use serde_json::json;

use crate::support::{Engine, SENDER, phone};

async fn engine_with_history() -> Engine {
    let engine = Engine::start().await;
    for n in 0..4 {
        engine.add(&phone(n), Consent::OptIn, json!({"name": "Ana"})).await;
    }
    engine.simulator.inbound(&phone(0), SENDER, "STOP").await;
    engine.simulator.inbound(&phone(1), SENDER, "STOP").await;
    engine
}

fn problems(engine: &Engine) -> Vec<String> {
    let key = engine.store.key().clone();
    engine.store.read_here(|conn| ledger::verify(conn, &key)).unwrap().problems
}

#[tokio::test]
async fn events_ledger_and_chain_refuse_every_change_through_plain_sql() {
    let engine = engine_with_history().await;
    let table = [
        ("UPDATE events SET data = '{}'", "events are final"),
        ("UPDATE events SET at = 0 WHERE id = 1", "events are final"),
        ("DELETE FROM events", "retention only"),
        ("DELETE FROM events WHERE id = (SELECT max(id) FROM events)", "retention only"),
        ("UPDATE consent_ledger SET state = 'opt_in'", "ledger is final"),
        ("UPDATE consent_ledger SET evidence = NULL", "ledger is final"),
        ("UPDATE consent_ledger SET digest = zeroblob(32)", "ledger is final"),
        ("DELETE FROM consent_ledger", "keeps its rows"),
        ("UPDATE consent_links SET hash = zeroblob(32)", "chain is final"),
        ("DELETE FROM consent_links", "keeps its links"),
        ("INSERT OR REPLACE INTO consent_links SELECT id, first_id, last_id, hash, 0 FROM consent_links", ""),
    ];
    let conn = rusqlite::Connection::open(engine.dir().join("ese.db")).unwrap();
    conn.pragma_update(None, "recursive_triggers", "ON").unwrap();
    for (sql, said) in table {
        let error = conn.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains(said), "{sql}: {error}");
    }
    assert!(problems(&engine).is_empty());
    engine.check_and_stop().await;
}

#[tokio::test]
async fn erasure_leaves_a_whole_chain_whole_counts_and_a_number_that_stays_suppressed() {
    let engine = engine_with_history().await;
    engine
        .store
        .write::<_, _, StoreError>(|tx| {
            let user = users::find(tx.conn(), &UserKey::Id(1))?.unwrap();
            erasure::erase(tx, &user, "test")
        })
        .await
        .unwrap();
    assert!(problems(&engine).is_empty(), "{:?}", problems(&engine));
    let words: i64 =
        engine.value("SELECT count(*) FROM consent_ledger WHERE user_id = 1 AND evidence IS NOT NULL");
    let rows: i64 = engine.value("SELECT count(*) FROM consent_ledger WHERE user_id = 1");
    assert_eq!((words, rows), (0, 2));
    let raw: i64 = engine
        .value("SELECT count(*) FROM inbound WHERE user_id = 1 AND (body IS NOT NULL OR params IS NOT NULL)");
    assert_eq!(raw, 0);
    // The number comes back by another road, and is still not to be sent to.
    engine.add(&phone(0), Consent::OptIn, json!({})).await;
    let suppressed: i64 = engine.value(&format!("SELECT suppressed FROM users WHERE phone = '{}'", phone(0)));
    assert_eq!(suppressed, 1);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn nobody_finds_an_erased_number_anywhere_in_the_file() {
    let mut engine = engine_with_history().await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.settle().await;
    engine.simulator.inbound(&phone(2), SENDER, "My name is Ana Erasable").await;
    engine
        .store
        .write::<_, _, StoreError>(|tx| {
            let user = users::find(tx.conn(), &UserKey::Id(3))?.unwrap();
            erasure::erase(tx, &user, "test")
        })
        .await
        .unwrap();
    engine.change("PRAGMA user_version").await;
    let tables: Vec<String> = engine
        .store
        .read_here(|conn| {
            let names = conn
                .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            Ok::<_, StoreError>(names)
        })
        .unwrap();
    for table in tables {
        for secret in [phone(2), phone(2)[1..].to_owned(), "Erasable".to_owned()] {
            let found = engine
                .store
                .read_here(|conn| {
                    let mut statement = conn.prepare(&format!("SELECT * FROM {table}"))?;
                    let columns = statement.column_count();
                    let mut rows = statement.query([])?;
                    while let Some(row) = rows.next()? {
                        for column in 0..columns {
                            let bytes = match row.get_ref(column)? {
                                rusqlite::types::ValueRef::Text(bytes)
                                | rusqlite::types::ValueRef::Blob(bytes) => bytes,
                                _ => continue,
                            };
                            if String::from_utf8_lossy(bytes).contains(&secret) {
                                return Ok(true);
                            }
                        }
                    }
                    Ok::<_, StoreError>(false)
                })
                .unwrap();
            assert!(!found, "{secret} is still in {table}");
        }
    }
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_row_or_a_link_that_was_tampered_with_is_found() {
    let table = [
        (
            "ledger_is_final",
            "UPDATE consent_ledger SET state = 'opt_in' WHERE id = 5",
            "row 5: it was changed",
        ),
        (
            "ledger_is_final",
            "UPDATE consent_ledger SET evidence = 'forged' WHERE id = 1",
            "row 1: the evidence",
        ),
        ("ledger_keeps_rows", "DELETE FROM consent_ledger WHERE id = 2", "missing"),
        ("ledger_keeps_rows", "DELETE FROM consent_ledger WHERE id = 6", "missing"),
        ("links_are_final", "UPDATE consent_links SET hash = zeroblob(32) WHERE id = 2", "link 2: the hash"),
        (
            "links_stay",
            "DELETE FROM consent_links WHERE id = (SELECT max(id) FROM consent_links)",
            "belong to no link",
        ),
    ];
    for (trigger, sql, expected) in table {
        let engine = engine_with_history().await;
        assert!(problems(&engine).is_empty());
        engine.change(&format!("DROP TRIGGER {trigger}; {sql};")).await;
        let found = problems(&engine);
        assert!(found.iter().any(|problem| problem.contains(expected)), "{sql}: {found:?}");
        engine.simulator.stop().await;
    }
}
