//! After an erasure nothing of the person is left: not in a row, not between two rows, not in the log.

use std::sync::atomic::{AtomicUsize, Ordering};

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::privacy;
use event_stream_engine::store::StoreError;
use event_stream_engine::store::erasure::{self, Looked, Trace};
use event_stream_engine::store::users::{self, UserKey};
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use serde_json::json;

use super::{MARK, full_engine};
use crate::support::{Engine, SENDER, phone};

/// How often `what` stands in the bytes of the data file and of its log.
fn occurrences(engine: &Engine, what: &str) -> usize {
    ["ese.db", "ese.db-wal"]
        .iter()
        .map(|name| {
            let bytes = std::fs::read(engine.dir().join(name)).unwrap_or_default();
            bytes.windows(what.len()).filter(|window| *window == what.as_bytes()).count()
        })
        .sum()
}

#[tokio::test]
async fn after_an_erasure_number_and_name_are_nowhere_in_the_bytes_of_the_file() {
    let engine = full_engine().await;
    // History leaves traces of its own: rows that grew, moved, and were written over.
    for round in 0..40 {
        let long = format!("{MARK} {}", "x".repeat(97 * round));
        engine
            .change(&format!(
                "UPDATE users SET attributes = jsonb('{{\"name\":\"{long}\",\"city\":\"{MARK}\"}}') WHERE id = 1;
                 UPDATE messages SET body = '{long}' WHERE user_id = 1;
                 INSERT INTO settings (key, value, version, updated_at) VALUES ('{round}{MARK}', json_quote('{long}'), 1, 0);"
            ))
            .await;
    }
    engine.change("DELETE FROM settings").await;
    let digits = phone(0)[1..].to_owned();
    engine.store.checkpoint().await.unwrap();
    assert!(occurrences(&engine, MARK) > 0 && occurrences(&engine, &digits) > 0, "nothing to erase");
    assert!(privacy::erase(&engine.store, 1, "test").await.unwrap());
    for what in [MARK, digits.as_str(), &digits[3..]] {
        assert_eq!(occurrences(&engine, what), 0, "{what}");
    }
    assert!(!privacy::erase(&engine.store, 1, "test").await.unwrap(), "twice is once");
    // Only what is theirs went.
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM import_issues WHERE cells LIKE '%Bo%'"), 1);
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM idempotency_keys"), 1);
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM cursors WHERE name LIKE 'erasure%'"), 0);
    assert_eq!(engine.value::<String>("SELECT json(attributes) FROM users WHERE id = 2"), r#"{"name":"Bo"}"#);
    engine.check_and_stop().await;
}

/// Rows that the writer's statements read since they are counted. One writer is watched in this process.
static READ: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn an_erasure_reads_old_texts_beside_the_writer() {
    let engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({"name": "Ana"})).await;
    let (now, number) = (engine.clock.now(), phone(0));
    engine
        .change(&format!(
            "INSERT INTO api_keys (name, secret_hash, scopes, created_at) VALUES ('k', zeroblob(32), 'read', 0);
             INSERT INTO idempotency_keys
               WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
               SELECT 1, '/api/v1/messages', 'k' || i, zeroblob(32), 202,
                      CASE WHEN i % 100 = 0 THEN '{number}' ELSE 'x' END, {now} - 300000 FROM n;
             INSERT INTO imports (id, state, file_name, options, actor, created_at, finished_at)
               VALUES (7, 'finished', 'a.csv', '{{}}', 'test', 0, {now} - 300000),
                      (8, 'running', 'b.csv', '{{}}', 'test', 0, NULL);
             INSERT INTO import_issues
               WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
               SELECT 7 + i % 2, i, 'phone_invalid', 1, NULL, 'x',
                      CASE WHEN i % 100 < 2 THEN '{{\"tel\":\"{number}\"}}' ELSE '{{}}' END FROM n;"
        ))
        .await;
    engine
        .store
        .write::<_, _, StoreError>(|tx| {
            let count = |event: TraceEvent<'_>| {
                if let TraceEvent::Row(_) = event {
                    READ.fetch_add(1, Ordering::Relaxed);
                }
            };
            tx.conn().trace_v2(TraceEventCodes::SQLITE_TRACE_ROW, Some(count));
            Ok(())
        })
        .await
        .unwrap();
    assert!(privacy::erase(&engine.store, 1, "test").await.unwrap());
    let read = READ.load(Ordering::Relaxed);
    assert!(read < 100, "{read} rows were read inside writes");
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM idempotency_keys"), 2_970);
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM import_issues WHERE message = 'erased'"), 60);
    assert_eq!(occurrences(&engine, &number[1..]), 0);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_comes_while_an_erasure_looks_is_found_by_its_own_write() {
    let engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({"name": "Ana"})).await;
    let number = phone(0);
    let issue = |import: i64, row: i64| {
        format!(
            "INSERT INTO import_issues VALUES ({import}, {row}, 'x', 0, NULL, 'x', '{{\"tel\":\"{number}\"}}');"
        )
    };
    let answer = |key: &str, at: i64| {
        format!(
            "INSERT INTO idempotency_keys VALUES (1, '/p', '{key}', zeroblob(32), 201, '{number}', {at});"
        )
    };
    let start = engine.clock.now();
    engine
        .change(&format!(
            "INSERT INTO api_keys (name, secret_hash, scopes, created_at) VALUES ('k', zeroblob(32), 'read', 0);
             INSERT INTO imports (id, state, file_name, options, actor, created_at)
               VALUES (7, 'running', 'a.csv', '{{}}', 'test', 0), (8, 'running', 'b.csv', '{{}}', 'test', 0);
             {}",
            issue(7, 5)
        ))
        .await;
    let rows = engine.store.read(erasure::last_rows).await.unwrap();
    let looked = Looked { until: start, finished: start, rows };
    engine.clock.advance(5_000);
    let now = engine.clock.now();
    engine
        .change(&format!(
            "{}{}{}{} UPDATE imports SET state = 'finished', finished_at = {now} WHERE id = 8;",
            issue(7, 6),
            issue(8, 2),
            answer("a", start),
            answer("b", now)
        ))
        .await;
    for (limit, is_all) in [(1, false), (10, true)] {
        let looked = looked.clone();
        let done = engine
            .store
            .write::<_, _, StoreError>(move |tx| {
                let user = users::find(tx.conn(), &UserKey::Id(1))?.unwrap();
                erasure::forget_new(tx, &Trace::of(&user), &looked, limit)
            })
            .await
            .unwrap();
        assert_eq!(done, is_all, "{limit}");
    }
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM idempotency_keys"), 0);
    let left: String =
        engine.value("SELECT group_concat(import_id || '.' || row) FROM import_issues WHERE cells <> '{}'");
    assert_eq!(left, "7.5", "only what was looked at before is left alone");
    assert!(privacy::erase(&engine.store, 1, "test").await.unwrap());
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM import_issues WHERE cells <> '{}'"), 0);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_waits_for_somebody_who_is_erased_is_cancelled_and_an_import_does_not_bring_them_back() {
    let engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({"name": "Ana"})).await;
    let id = engine.draft(|plan| plan.rate_limit_per_second = Some(0.001)).await;
    engine.launch(id).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    privacy::erase(&engine.store, 1, "test").await.unwrap();
    assert_eq!(engine.message("m.id = 1"), ("cancelled".to_owned(), "erased".to_owned(), 0));
    let back = engine.add(&phone(0), Consent::OptIn, json!({"name": "Ana"})).await;
    let suppressed: i64 = engine.value(&format!("SELECT suppressed FROM users WHERE id = {back}"));
    assert_eq!(suppressed, 1);
    let named: i64 = engine.value("SELECT user_id FROM suppressions");
    assert_eq!(named, back);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_receipt_that_comes_after_the_erasure_leaves_no_number() {
    let mut engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({})).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.settle().await;
    let sid: String = engine.value("SELECT sid FROM messages");
    privacy::erase(&engine.store, 1, "test").await.unwrap();
    let number = phone(0);
    let params = [("MessageSid", sid.as_str()), ("MessageStatus", "read"), ("To", &number), ("From", SENDER)];
    assert_eq!(engine.callback(1, 1, &params).await, 200);
    assert_eq!(engine.message("m.id = 1").0, "read");
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM receipts WHERE params IS NOT NULL"), 0);
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM receipts WHERE status = 'read'"), 1);
    engine.check_and_stop().await;
}
