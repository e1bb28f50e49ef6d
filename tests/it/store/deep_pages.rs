//! A deep page costs what the first costs, however many rows there are: counted in steps of SQLite's machine, at
//! two sizes of the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use event_stream_engine::domain::message::{Kind, Status};
use event_stream_engine::domain::segment::Definition;
use event_stream_engine::store::reports::inbound::{self, InboundFilter};
use event_stream_engine::store::reports::messages::{self, MessageFilter};
use event_stream_engine::store::segment_sql::{Predicate, compile};
use event_stream_engine::store::{StoreError, api_keys, events, ledger, segments, templates, users};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::File;

/// Rows of a page, and one more.
const PAGE: usize = 51;

/// A file in which everything is there `n` times, filters fit every second row, and person 1 has a share of all.
fn filled(n: i64) -> File {
    let file = File::new();
    file.other()
        .execute_batch(&format!(
            "BEGIN;
             CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})
               SELECT i FROM n;
             INSERT INTO users (id, phone, country, consent, attributes, created_at, updated_at)
               SELECT i, printf('+1212%07d', i), 'US', CASE i % 2 WHEN 0 THEN 'opt_in' ELSE 'unknown' END,
                      jsonb(json_object('name', 'Person ' || i, 'city', CASE i % 2 WHEN 0 THEN 'Galle' ELSE 'Kandy' END)), 0, 0
               FROM n;
             INSERT INTO messages (user_id, occasion, status, kind, channel, lane, due_at, reference, created_at)
               SELECT 1 + i % 2 * (i - 1), i, CASE i % 2 WHEN 0 THEN 'delivered' ELSE 'failed' END, 'marketing', 'sms', 7, 0,
                      'order', 1795000000000 + i FROM n;
             INSERT INTO inbound (message_sid, state, source, user_id, kind, received_at)
               SELECT 'SM' || i, 'done', 'webhook', 1 + i % 2 * (i - 1), CASE i % 2 WHEN 0 THEN 'stop' ELSE 'message' END,
                      1795000000000 + i FROM n;
             INSERT INTO events (type, at, user_id)
               SELECT CASE i % 2 WHEN 0 THEN 'user.updated' ELSE 'hold.changed' END, 1795000000000 + i, 1 + i % 2 * (i - 1) FROM n;
             INSERT INTO consent_ledger (user_id, previous, state, source, actor, at, digest)
               SELECT 1 + i % 2 * (i - 1), 'unknown', 'opt_in', 'test', 'test', 0, zeroblob(32) FROM n;
             INSERT INTO segments (name, definition, created_at, updated_at) SELECT 's' || i, '{{}}', 0, 0 FROM n;
             INSERT INTO templates (name, created_at, updated_at) SELECT 't' || i, 0, 0 FROM n;
             INSERT INTO template_versions (template_id, version, channel, body, created_at)
               SELECT id, 1, 'sms', 'Hi', 0 FROM templates;
             INSERT INTO api_keys (name, secret_hash, scopes, created_at)
               SELECT 'k' || i, CAST(printf('%032d', i) AS BLOB), 'read', 0 FROM n;
             COMMIT"
        ))
        .unwrap();
    file
}

fn predicate(definition: &Value) -> Predicate {
    compile(&Definition::parse_at("x", definition).unwrap(), 0)
}

type List = (&'static str, Box<dyn Fn(&Connection, i64) -> Result<usize, StoreError>>);

/// Every list that pages by id, with every filter that is its own: rows below an id.
fn lists() -> Vec<List> {
    let people = |name: &'static str, definition: Value| -> List {
        let predicate = predicate(&definition);
        (name, Box::new(move |conn, before| Ok(users::list(conn, &predicate, before, PAGE)?.len())))
    };
    let messages = |name: &'static str, filter: MessageFilter| -> List {
        (name, Box::new(move |conn, before| Ok(messages::list(conn, &filter, before, PAGE)?.rows.len())))
    };
    let heard = |name: &'static str, filter: InboundFilter| -> List {
        (name, Box::new(move |conn, before| Ok(inbound::list(conn, &filter, before, PAGE)?.rows.len())))
    };
    let any = MessageFilter::default;
    vec![
        people("users", json!({"all": []})),
        people("users of a consent", json!({"field": "consent", "operator": "equals", "value": "opt_in"})),
        people("users of a country", json!({"field": "country", "operator": "equals", "value": "US"})),
        people("users of an attribute", json!({"attribute": "city", "operator": "in", "value": ["Galle"]})),
        people(
            "users by part of a name",
            json!({"attribute": "name", "operator": "contains", "value": "son"}),
        ),
        messages("messages", any()),
        messages("messages of a person", MessageFilter { user_id: Some(1), ..any() }),
        messages("messages in a state", MessageFilter { status: Some(Status::Delivered), ..any() }),
        messages("failed messages", MessageFilter { status: Some(Status::Failed), ..any() }),
        messages("messages of a kind", MessageFilter { kind: Some(Kind::Marketing), ..any() }),
        messages("messages of a reference", MessageFilter { reference: Some("order".to_owned()), ..any() }),
        messages("messages since", MessageFilter { since: Some(1_795_000_000_000), ..any() }),
        heard("inbound", InboundFilter::default()),
        heard("inbound of a person", InboundFilter { user_id: Some(1), ..InboundFilter::default() }),
        heard(
            "inbound of a kind",
            InboundFilter { kind: Some("stop".to_owned()), ..InboundFilter::default() },
        ),
        heard("inbound since", InboundFilter { since: Some(1_795_000_000_000), ..InboundFilter::default() }),
        ("a person's ledger", Box::new(|conn, before| Ok(ledger::list(conn, 1, before, PAGE)?.len()))),
        ("a person's events", Box::new(|conn, before| Ok(events::of_user(conn, 1, before, PAGE)?.len()))),
        ("segments", Box::new(|conn, before| Ok(segments::list(conn, before, PAGE)?.len()))),
        ("templates", Box::new(|conn, before| Ok(templates::list(conn, before, PAGE)?.len()))),
        ("api keys", Box::new(|conn, before| Ok(api_keys::page(conn, before, PAGE)?.len()))),
    ]
}

/// Steps of a first page and of one near the end.
fn steps(file: &File, list: &List, n: i64) -> (u64, u64) {
    let conn = file.other();
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    // Prepared once: making a statement has steps of its own.
    (list.1)(&conn, i64::MAX).unwrap();
    conn.progress_handler(
        1,
        Some(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            false
        }),
    )
    .unwrap();
    let cost = |before: i64| {
        steps.store(0, Ordering::Relaxed);
        assert_eq!((list.1)(&conn, before).unwrap(), PAGE, "{} below {before}", list.0);
        steps.load(Ordering::Relaxed)
    };
    (cost(i64::MAX), cost(n / 8))
}

#[test]
fn a_deep_page_of_every_list_costs_what_the_first_costs_at_any_size() {
    const FEW: i64 = 3_000;
    const MANY: i64 = 30_000;
    let (few, many) = (filled(FEW), filled(MANY));
    for list in lists() {
        let (first, deep) = steps(&few, &list, FEW);
        let (first_of_many, deep_of_many) = steps(&many, &list, MANY);
        let most = first + first / 4 + 200;
        for (which, cost) in
            [("deep", deep), ("first of many", first_of_many), ("deep of many", deep_of_many)]
        {
            assert!(cost <= most, "{}: {which} {cost} steps, first {first}", list.0);
        }
    }
}
