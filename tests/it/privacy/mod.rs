//! What is kept of people: shown for a complaint, handed out, erased, and removed in time.

mod erasure;
mod export;
mod proof;
mod retention;

use std::collections::BTreeMap;

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::store::StoreError;
use event_stream_engine::store::personal::{Exported, HOLDINGS, IMPERSONAL};
use serde_json::json;

use crate::support::{Engine, SENDER, phone};

/// Tables of the schema with their columns.
fn tables(engine: &Engine) -> BTreeMap<String, Vec<String>> {
    engine
        .store
        .read_here(|conn| {
            let mut tables = BTreeMap::<String, Vec<String>>::new();
            let mut columns = conn.prepare(
                "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
                 WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'",
            )?;
            let mut rows = columns.query([])?;
            while let Some(row) = rows.next()? {
                tables.entry(row.get(0)?).or_default().push(row.get(1)?);
            }
            Ok::<_, StoreError>(tables)
        })
        .unwrap()
}

/// Words that stand for the first person and nobody else.
const MARK: &str = "Zyx-Erasable";

/// An engine in which every table that can hold something about the first person does, with [`MARK`] in every
/// text that is theirs.
async fn full_engine() -> Engine {
    let mut engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({"name": MARK, "city": MARK})).await;
    engine.add(&phone(1), Consent::OptIn, json!({"name": "Bo"})).await;
    let id = engine.draft_saying("Hi {name|default(\"you\")}", |_| {}).await;
    engine.launch(id).await;
    engine.settle().await;
    engine.simulator.inbound(&phone(0), SENDER, &format!("My name is {MARK}")).await;
    engine.simulator.inbound(&phone(0), SENDER, "STOP").await;
    let digits = &phone(0)[1..];
    let local = format!("({}) {}-{}", &digits[1..4], &digits[4..7], &digits[7..]);
    engine
        .change(&format!(
            "INSERT INTO subscriptions VALUES (1, 1, 'subscribed', 0);
             INSERT INTO triggers (id, type, occurred_at, user_id, data, received_at)
               VALUES ('t1', 'order.paid', 0, 1, '{{\"name\":\"{MARK}\"}}', 0);
             UPDATE messages SET variables = '{{\"name\":\"{MARK}\"}}', reference = 'order {MARK}',
               media_urls = '[\"https://x/{MARK}\"]' WHERE user_id = 1;
             UPDATE attempts SET error_message = 'number +{digits} {MARK}' WHERE message_id = 1;
             INSERT INTO operators (email, password_hash, role, created_at) VALUES ('o@example.com', 'x', 'viewer', 0);
             INSERT INTO replies VALUES (1, 1);
             INSERT INTO sender_recipients VALUES (1, 1, 0) ON CONFLICT DO NOTHING;
             UPDATE senders SET recipients_after = 9e15, recipients = 0;
             INSERT INTO attribute_examples VALUES ('name', 1, '{MARK}'), ('name', 2, 'Bo');
             INSERT INTO attribute_values VALUES ('city', '{MARK}', 3);
             INSERT INTO imports (id, state, file_name, options, actor, created_at, finished_at)
               VALUES (7, 'finished', 'a.csv', '{{}}', 'test', 0, 0);
             INSERT INTO import_changes VALUES (1, 7, '{{\"name\":\"{MARK}\"}}', '{{\"name\":\"Ana\"}}'),
               (2, 7, '{{\"name\":\"Al\"}}', '{{\"name\":\"Bo\"}}');
             INSERT INTO import_issues VALUES (7, 2, 'consent_unclear', 0, NULL, 'said {local}',
               '{{\"tel\":\"{local}\",\"name\":\"{MARK}\"}}');
             INSERT INTO import_issues VALUES (7, 3, 'consent_unclear', 0, NULL, 'x',
               '{{\"tel\":\"{}\",\"name\":\"Bo\"}}');
             INSERT INTO api_keys (name, secret_hash, scopes, created_at)
               VALUES ('k', zeroblob(32), 'read', 0);
             INSERT INTO idempotency_keys VALUES ('key:1', '/api/v1/users', 'a', zeroblob(32), 201,
               '{{\"phone\":\"+{digits}\",\"name\":\"{MARK}\"}}', 0);
             INSERT INTO idempotency_keys VALUES ('key:1', '/api/v1/users/1/consent', 'b', zeroblob(32), 201,
               '{{\"evidence\":\"{MARK}\"}}', 0);
             INSERT INTO idempotency_keys VALUES ('key:1', '/api/v1/users', 'c', zeroblob(32), 201,
               '{{\"phone\":\"{}\"}}', 0);
             INSERT INTO inbound (message_sid, state, source, from_address, to_address, body, params, received_at)
               VALUES ('SMlost', 'done', 'webhook', '+{digits}', '{SENDER}', '{MARK}', '[[\"From\",\"+{digits}\"]]', 0);
             INSERT INTO receipts (sid, status, state, params, received_at)
               VALUES ('SMlost', 'sent', 'unmatched', '[[\"To\",\"+{digits}\"]]', 0);
             INSERT INTO suppressions (address_hash, reason, source, user_id, created_at)
               VALUES (randomblob(32), 'complaint', 'x', 1, 0);",
            phone(1),
            phone(1),
        ))
        .await;
    engine
}

#[tokio::test]
async fn every_table_is_in_export_and_erasure_or_says_why_not() {
    let engine = Engine::start().await;
    let tables = tables(&engine);
    // Texts of ours, with placeholders where a person would be named.
    let of_texts = ["template_versions", "canned_replies"];
    for (table, columns) in &tables {
        let holding = HOLDINGS.iter().find(|holding| holding.table == table);
        let is_impersonal = IMPERSONAL.iter().any(|(name, _)| name == table);
        assert!(
            holding.is_some() != is_impersonal,
            "{table} must stand either in HOLDINGS or in IMPERSONAL of src/store/personal.rs"
        );
        let names_people = ["user_id", "phone", "from_address", "channel_address", "params", "body", "cells"]
            .iter()
            .any(|name| columns.iter().any(|column| column == name));
        assert!(
            !names_people || holding.is_some() || of_texts.contains(&table.as_str()),
            "{table} names people"
        );
        if let Some(Exported::By(sql)) = holding.map(|holding| holding.exported) {
            for column in columns {
                let is_named =
                    sql.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == column);
                assert!(is_named, "{table}.{column} is not exported");
            }
        }
    }
    for name in HOLDINGS.iter().map(|h| h.table).chain(IMPERSONAL.iter().map(|(name, _)| *name)) {
        assert!(tables.contains_key(name), "{name} is no table any more");
    }
    engine.check_and_stop().await;
}
