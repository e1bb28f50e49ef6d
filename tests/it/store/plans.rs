//! The hot queries, by the plan that SQLite makes for them: an index where one should serve, and no walk over
//! messages, events or users.

use event_stream_engine::store::StoreError;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::File;

/// What a step of a plan does, as EXPLAIN QUERY PLAN words it.
fn plan_of(file: &File, sql: &str) -> Vec<String> {
    file.store
        .read_here(|conn| {
            let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            // A plan needs no parameters.
            let mut rows = statement.raw_query();
            let mut steps = Vec::new();
            while let Some(row) = rows.next()? {
                steps.push(row.get(3)?);
            }
            Ok::<_, StoreError>(steps)
        })
        .unwrap()
}

/// The SQL of every statement that `run` executes, as the store itself wrote it.
fn statements(file: &File, run: impl FnOnce(&rusqlite::Connection) -> Result<(), StoreError>) -> Vec<String> {
    use std::cell::RefCell;
    thread_local!(static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });
    SEEN.with_borrow_mut(Vec::clear);
    let conn = file.other();
    conn.trace_v2(
        TraceEventCodes::SQLITE_TRACE_STMT,
        Some(|event| {
            if let TraceEvent::Stmt(statement, _) = event {
                SEEN.with_borrow_mut(|seen| seen.push(statement.sql().into_owned()));
            }
        }),
    );
    run(&conn).unwrap();
    SEEN.with_borrow(Clone::clone)
}

/// Fails if a statement of `run` walks over a large table, or if none of them uses `index`.
fn check(name: &str, index: &str, run: impl FnOnce(&rusqlite::Connection) -> Result<(), StoreError>) {
    let file = File::new();
    let mut steps = Vec::new();
    for sql in statements(&file, run) {
        if !sql.trim_start().starts_with("BEGIN") {
            steps.extend(plan_of(&file, &sql));
        }
    }
    for step in &steps {
        let table = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
        let large =
            ["messages", "events", "users", "m", "e", "u", "a", "attempts", "inbound", "i", "receipts"];
        assert!(table.is_none_or(|table| !large.contains(&table)), "{name}: {step} in {steps:?}");
    }
    assert!(steps.iter().any(|step| step.contains(index)), "{name}: no {index} in {steps:?}");
}

#[test]
fn hot_queries_go_by_their_index_and_walk_over_no_large_table() {
    use event_stream_engine::domain::phone::Channel;
    use event_stream_engine::store::outcomes::{self, AttemptKey, lookups};
    use event_stream_engine::store::users::{self, UserKey};
    use event_stream_engine::store::{events, ledger, messages, senders};

    check(
        "what is due, one window",
        "USING INDEX messages_queue (lane=? AND closes_at=? AND due_at<?)",
        |conn| {
            // The statement runs for a window that there is.
            conn.execute_batch(
            "INSERT INTO users (id, phone, attributes, created_at, updated_at) VALUES (1, '+12125550101', jsonb('{}'), 0, 0);
             INSERT INTO messages (user_id, kind, channel, lane, due_at, created_at) VALUES (1, 'marketing', 'sms', 7, 0, 0);",
        )?;
            messages::due(conn, 7, 1, 10).map(drop)
        },
    );
    check("the next window", "USING COVERING INDEX messages_queue (lane=? AND closes_at>?)", |conn| {
        messages::next_due(conn, 7).map(drop)
    });
    check("whether a campaign has somebody open", "messages_queue (lane=?)", |conn| {
        messages::has_open(conn, 7).map(drop)
    });
    check("the attempts under way", "attempts_open (outcome=?", |conn| messages::has_open(conn, 7).map(drop));
    check("the claims of an event", "attempts_open (outcome=?", |conn| {
        event_stream_engine::store::triggers::claimed(conn, "e1").map(drop)
    });
    check(
        "audiences of events",
        "trigger_audiences_open (is_open=? AND (campaign_id,trigger_id)>(?,?))",
        |conn| event_stream_engine::store::triggers::open_audiences(conn, (0, ""), 10).map(drop),
    );
    check("an attempt by its SID", "attempts_sid (sid=?)", |conn| {
        outcomes::find_attempt(conn, None, "SM1").map(drop)
    });
    check("an attempt by its ids", "USING PRIMARY KEY (message_id=? AND number=?)", |conn| {
        outcomes::find_attempt(conn, Some(AttemptKey { message_id: 1, number: 1 }), "SM1").map(drop)
    });
    check("attempts left pending", "attempts_open (outcome=?", |conn| {
        outcomes::pending_attempts(conn, i64::MAX).map(drop)
    });
    check("attempts without an outcome", "attempts_open (outcome=?", |conn| {
        lookups::count_open(conn).map(drop)
    });
    check("attempts to look for", "attempts_look (look_at", |conn| lookups::due(conn, 1, 10).map(drop));
    check("whether something is under way to them", "messages_user (user_id=?)", |conn| {
        lookups::due(conn, 1, 10).map(drop)
    });
    check("a person's lost attempts", "messages_user (user_id=?)", |conn| {
        lookups::lost(conn, 1, Channel::Sms).map(drop)
    });
    check("how many are uncertain", "attempts_open (outcome=?)", |conn| lookups::count(conn).map(drop));
    check("what is overdue", "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", |conn| {
        conn.execute("INSERT INTO events (type, at) VALUES ('message.accepted', 0)", [])?;
        lookups::unfinished(conn, 0, 1, 10).map(drop)
    });
    check("a person by number", "sqlite_autoindex_users_1 (phone=?)", |conn| {
        users::find(conn, &UserKey::Phone("+12125550101".to_owned())).map(drop)
    });
    check("a person without a number", "sqlite_autoindex_users_2 (channel_address=?)", |conn| {
        users::find_by_channel_address(conn, "whatsapp:US.1").map(drop)
    });
    check("events behind an id", "SEARCH e USING INTEGER PRIMARY KEY", |conn| {
        // Without any event nothing is asked.
        conn.execute("INSERT INTO events (type, at) VALUES ('user.created', 0)", []).unwrap();
        events::list_after(conn, 0, &[], 50).map(drop)
    });
    check(
        "what endpoints still want, inside the retention's write",
        "COVERING INDEX webhook_deliveries_pending (endpoint_id=?)",
        |conn| events::may_prune_through(conn).map(drop),
    );
    check("a person's events", "events_user (user_id=? AND id<?)", |conn| {
        events::of_user(conn, 1, i64::MAX, 50).map(drop)
    });
    check("a message's events", "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)", |conn| {
        events::of_message(conn, Some(1)).map(drop)
    });
    check("a person's ledger", "consent_ledger_user (user_id=?", |conn| {
        ledger::list(conn, 1, i64::MAX, 50).map(drop)
    });
    check("people who left a sender's day", "sender_recipients_at (sender_id=? AND at>? AND at<?)", |conn| {
        senders::recipients(conn, 1, i64::MAX).map(drop)
    });
    check("the first of a sender's day", "sender_recipients_at (sender_id=? AND at>?)", |conn| {
        senders::oldest_recipient(conn, 1, 0).map(drop)
    });
    check("messages that wait for a replay", "inbound_pending", |conn| {
        event_stream_engine::store::inbound::to_replay(conn, None, 0, 200).map(drop)
    });
    check("receipts that wait for a replay", "receipts_pending", |conn| {
        event_stream_engine::store::receipts::to_replay(conn, None, 0, 200).map(drop)
    });
    check("answers to one person", "inbound_user (user_id=?", |conn| {
        event_stream_engine::store::inbound::replies_since(conn, 1, 0).map(drop)
    });
}

#[test]
fn taking_back_what_waits_for_a_person_reads_that_persons_messages_alone() {
    let file = File::new();
    // Inside a write, so the statement can't be watched from a connection of one's own.
    let steps = plan_of(&file, "SELECT m.id FROM messages m WHERE m.user_id = 1 AND m.status = 'queued'");
    assert!(steps[0].contains("messages_user (user_id=?)"), "{steps:?}");
    let steps =
        plan_of(&file, "SELECT m.id FROM messages m WHERE m.status = 'queued' AND m.lane = 7 LIMIT 2000");
    assert!(steps[0].contains("messages_queue (lane=?)"), "{steps:?}");
}

/// A word list of three or more in a CHECK, or in a statement that runs once a row, is a temporary b-tree built
/// for every row.
#[test]
fn no_row_that_is_written_builds_a_temporary_tree() {
    let file = File::new();
    let conn = file.other();
    let opcodes = |sql: &str| -> Vec<String> {
        let mut statement = conn.prepare(&format!("EXPLAIN {sql}")).unwrap();
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            found.push(row.get(1).unwrap());
        }
        found
    };
    let tables: Vec<(String, String)> = conn
        .prepare(
            // Campaigns are few: the list in the condition of their index may stay. Pages of the search are FTS5's.
            "SELECT t.name, group_concat(c.name || ' = ' || c.name) FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> 'campaigns' AND c.pk = 0
               AND t.name NOT LIKE 'user_words%'
             GROUP BY t.name",
        )
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(tables.len() > 20, "{tables:?}");
    for (table, columns) in tables {
        for sql in [
            format!("INSERT INTO {table} DEFAULT VALUES"),
            format!("UPDATE {table} SET {columns} WHERE rowid = 1"),
        ] {
            if sql.contains("rowid") && conn.prepare(&sql).is_err() {
                continue;
            }
            let opcodes = opcodes(&sql);
            assert!(!opcodes.iter().any(|code| code == "OpenEphemeral"), "{sql}: {opcodes:?}");
        }
    }
}

#[test]
fn what_the_pages_of_imports_read_is_found_by_its_keys() {
    use event_stream_engine::store::imports::{self, Wanted};
    check("the list", "imports USING INTEGER PRIMARY KEY", |conn| {
        imports::list_all(conn, i64::MAX, 51).map(drop)
    });
    let wanted = Wanted { only_rejected: true, reason: Some("no_country".to_owned()) };
    check("issues", "import_issues USING PRIMARY KEY", |conn| {
        imports::issues_of(conn, 1, &wanted, (7, "a"), 51).map(drop)
    });
    check("drafts that are over", "imports_drafts", |conn| imports::old_drafts(conn, 0).map(drop));
    check("changes to undo", "import_changes USING PRIMARY KEY", |conn| {
        imports::changes_of(conn, 1, 7, 2_000).map(drop)
    });
    check("an undo", "import_undos USING INTEGER PRIMARY KEY", |conn| imports::find_undo(conn, 1).map(drop));
}
