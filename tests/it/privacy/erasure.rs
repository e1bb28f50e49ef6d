//! After an erasure nothing of the person is left: not in a row, not between two rows, not in the log.

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::privacy;
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
                "UPDATE users SET attributes = jsonb('{{\"name\":\"{long}\"}}') WHERE id = 1;
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
