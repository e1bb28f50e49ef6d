//! Which tables hold something about a person, how it is handed out, and what an erasure does there. The one list
//! of it: a table that is added and not named here turns `every_table_is_in_export_and_erasure_or_says_why_not` red.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde_json::{Map, Value, json};

use super::StoreError;
use super::messages::rfc3339;

/// What an erasure does to a table.
#[derive(Clone, Copy, Debug)]
pub enum Erased {
    /// These statements, in this order; `:user` is the id, `:now` the moment.
    By(&'static [&'static str]),
    /// Rows are looked for by the number; see [`super::erasure`].
    BySearch,
    /// Nothing, because.
    Stays(&'static str),
}

/// How what a table holds of a person is read.
#[derive(Clone, Copy, Debug)]
pub enum Exported {
    /// This query, in a lasting order; `?1` is the person, `?2` and `?3` are LIMIT and OFFSET.
    By(&'static str),
    /// Rows are looked for by the number; see [`super::erasure`].
    BySearch,
    /// Not at all, because.
    Not(&'static str),
}

/// A table that holds something about people.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    /// Its name.
    pub table: &'static str,
    /// How it is handed out.
    pub exported: Exported,
    /// What an erasure does to it.
    pub erased: Erased,
}

/// Every table that holds something about people, in the order of an export.
pub const HOLDINGS: &[Holding] = &[
    Holding {
        table: "users",
        exported: Exported::By(
            "SELECT id, phone, channel_address, country, consent, hold, reachable, unreachable_reason,
                    suppressed, json(attributes) AS attributes, search_words, last_inbound_at, last_whatsapp_inbound_at,
                    import_id, import_row, failures, last_failure_at, first_marketing_id, recent_marketing,
                    erased_at, created_at, updated_at
             FROM users WHERE id = ?1 LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::By(&[
            super::search::FORGET,
            "UPDATE users SET search_words = NULL, phone = NULL, channel_address = NULL, attributes = jsonb('{}'), suppressed = 1,
               hold = NULL, unreachable_reason = NULL, last_inbound_at = NULL,
               last_whatsapp_inbound_at = NULL, import_id = NULL, import_row = NULL, erased_at = :now,
               updated_at = :now WHERE id = :user",
        ]),
    },
    Holding {
        table: "consent_ledger",
        exported: Exported::By(
            "SELECT id, user_id, previous, state, source, actor, evidence, evidence_hash, obtained_at, at,
                    digest
             FROM consent_ledger WHERE user_id = ?1 ORDER BY id LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::By(&[
            "INSERT OR REPLACE INTO guards (name, upto) VALUES ('erasure', :user)",
            "UPDATE consent_ledger SET evidence = NULL WHERE user_id = :user AND evidence IS NOT NULL",
            "DELETE FROM guards WHERE name = 'erasure'",
        ]),
    },
    Holding {
        table: "subscriptions",
        exported: Exported::By(
            "SELECT s.user_id, s.topic_id, t.name AS topic, s.state, s.at
             FROM subscriptions s JOIN topics t ON t.id = s.topic_id
             WHERE s.user_id = ?1 ORDER BY s.topic_id LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::By(&["DELETE FROM subscriptions WHERE user_id = :user"]),
    },
    Holding {
        table: "suppressions",
        exported: Exported::By(
            "SELECT id, address_hash, reason, source, user_id, erased_at, created_at
             FROM suppressions WHERE user_id = ?1 ORDER BY id LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::Stays("a keyed hash that names nobody: it keeps the promise to leave them alone"),
    },
    Holding {
        table: "messages",
        exported: Exported::By(
            "SELECT id, campaign_id, user_id, occasion, status, reason, kind, channel, lane, due_at,
                    closes_at, expires_at, attempts, sender_id, topic_id, template_id, template_version,
                    variables, reference, body, media_urls, parts, sid, error_code, price_micros, price_unit,
                    is_simulated, last_event_id, created_at, accepted_at, sent_at, delivered_at, read_at,
                    body_removed_at
             FROM messages WHERE user_id = ?1 ORDER BY id LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::By(&[
            "UPDATE messages SET body = NULL, variables = NULL, media_urls = NULL, reference = NULL
             WHERE user_id = :user",
        ]),
    },
    Holding {
        table: "attempts",
        exported: Exported::By(
            "SELECT a.message_id, a.number, a.sender_id, a.charge_micros, a.outcome, a.started_at, a.answered_at,
                    a.http_status, a.sid, a.status, a.error_code, a.error_message, a.look_at
             FROM messages m JOIN attempts a ON a.message_id = m.id
             WHERE m.user_id = ?1 ORDER BY m.id, a.number LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::By(&["UPDATE attempts SET error_message = NULL
             WHERE error_message IS NOT NULL AND message_id IN (SELECT id FROM messages WHERE user_id = :user)"]),
    },
    Holding {
        table: "receipts",
        exported: Exported::By(
            "SELECT id, sid, status, error_code, state, message_id, attempt, params, error, received_at,
                    params_removed_at
             FROM receipts WHERE sid IN (SELECT a.sid FROM messages m JOIN attempts a ON a.message_id = m.id
                                         WHERE m.user_id = ?1 AND a.sid IS NOT NULL)
             ORDER BY id LIMIT ?2 OFFSET ?3",
        ),
        // Those that belong to no attempt are looked for by the number.
        erased: Erased::By(&["UPDATE receipts SET params = NULL, error = NULL WHERE sid IN (
               SELECT a.sid FROM messages m JOIN attempts a ON a.message_id = m.id
               WHERE m.user_id = :user AND a.sid IS NOT NULL)"]),
    },
    Holding {
        table: "inbound",
        exported: Exported::By(
            "SELECT id, message_sid, state, source, user_id, from_address, to_address, channel, kind, body,
                    media, reply, params, error, received_at, params_removed_at, body_removed_at
             FROM inbound WHERE user_id = ?1 ORDER BY id LIMIT ?2 OFFSET ?3",
        ),
        // Those that no person was found for are looked for by the number.
        erased: Erased::By(&[
            "UPDATE inbound SET body = NULL, params = NULL, from_address = NULL, media = '[]', reply = NULL,
               error = NULL WHERE user_id = :user",
        ]),
    },
    Holding {
        table: "conversations",
        exported: Exported::By(
            "SELECT user_id, state, last_at, last_inbound_id, last_message_id, read_id, assigned_to
             FROM conversations WHERE user_id = ?1 LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::By(&["DELETE FROM conversations WHERE user_id = :user"]),
    },
    Holding {
        table: "replies",
        exported: Exported::By(
            "SELECT r.message_id, r.operator_id FROM messages m JOIN replies r ON r.message_id = m.id
             WHERE m.user_id = ?1 ORDER BY m.id LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::Stays("ids: which of our own people wrote a message"),
    },
    Holding {
        table: "events",
        exported: Exported::By(
            "WITH RECURSIVE chain (id) AS (
               SELECT last_event_id FROM messages WHERE user_id = ?1 AND last_event_id IS NOT NULL
               UNION ALL
               SELECT e.previous_id FROM chain JOIN events e USING (id) WHERE e.previous_id IS NOT NULL)
             SELECT e.id, e.type, e.at, e.user_id, e.campaign_id, e.message_id, e.previous_id, e.data
             FROM (SELECT id FROM chain UNION
                   SELECT id FROM events WHERE user_id = ?1 AND message_id IS NULL) own
               JOIN events e USING (id) ORDER BY e.id LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::Stays("events are final, and hold ids and reasons, never a number or words"),
    },
    Holding {
        table: "triggers",
        exported: Exported::By(
            "SELECT id, type, occurred_at, user_id, segment, data, send_at, cancels, cancelled_by, received_at
             FROM triggers WHERE user_id = ?1 ORDER BY type, occurred_at, id LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::By(&["UPDATE triggers SET data = '{}' WHERE user_id = :user"]),
    },
    Holding {
        table: "sender_recipients",
        exported: Exported::By(
            "SELECT sender_id, user_id, at FROM sender_recipients
             WHERE sender_id IN (SELECT id FROM senders) AND user_id = ?1 ORDER BY sender_id
             LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::Stays("ids and a moment, which the daily limit of a sender counts"),
    },
    Holding {
        table: "user_words",
        exported: Exported::Not("an index over users.search_words"),
        erased: Erased::Stays("erasing the row of users takes the words out of it"),
    },
    Holding {
        table: "attribute_examples",
        exported: Exported::By(
            "SELECT name, user_id, value FROM attribute_examples WHERE user_id = ?1 ORDER BY name
             LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::By(&["DELETE FROM attribute_examples WHERE user_id = :user"]),
    },
    Holding {
        table: "import_changes",
        exported: Exported::By(
            "SELECT user_id, import_id, before, after FROM import_changes WHERE user_id = ?1
             ORDER BY import_id LIMIT ?2 OFFSET ?3",
        ),
        erased: Erased::By(&["DELETE FROM import_changes WHERE user_id = :user"]),
    },
    Holding {
        table: "user_words",
        exported: Exported::Not("an index over users.search_words"),
        erased: Erased::Stays("erasing the row of users takes the words out of it"),
    },
    Holding { table: "import_issues", exported: Exported::BySearch, erased: Erased::BySearch },
    Holding {
        table: "idempotency_keys",
        exported: Exported::Not("answers that the caller got already, forgotten after a day"),
        erased: Erased::BySearch,
    },
];

/// Tables that hold nothing about people to whom messages go, each with what it holds.
pub const IMPERSONAL: &[(&str, &str)] = &[
    ("store_identity", "the file itself"),
    ("settings", "the house's own rules"),
    ("guards", "open for a moment within one transaction"),
    ("user_words_config", "how user_words is kept"),
    ("user_words_data", "the pages of user_words"),
    ("user_words_idx", "where words begin in those pages"),
    ("bulk_actions", "filters and reasons that operators wrote, and counts"),
    ("topics", "names of topics"),
    ("consent_links", "hashes over rows of the ledger"),
    ("imports", "counts and options; the file is removed when the import is over"),
    ("import_undos", "how far an undo has come"),
    ("import_mappings", "names of columns and what they were taken for"),
    ("segments", "conditions that operators wrote"),
    ("templates", "names of texts"),
    ("template_versions", "texts with placeholders"),
    ("canned_replies", "texts with placeholders"),
    ("senders", "our own numbers"),
    ("account", "whether it is paused"),
    ("campaigns", "plans and their states"),
    ("content_templates", "texts with placeholders, as Twilio has them"),
    ("trigger_audiences", "how far a trigger's segment was walked"),
    ("cursors", "how far walks have come"),
    ("campaign_counts", "counts"),
    ("campaign_sums", "sums"),
    ("campaign_pace", "counts by span of time"),
    ("daily_counts", "counts"),
    ("daily_errors", "counts"),
    ("daily_spending", "sums"),
    ("user_counts", "counts"),
    ("attribute_walks", "counts"),
    ("attributes", "names of attributes, with counts"),
    ("attribute_values", "values that several people share"),
    ("webhook_endpoints", "who is told of events, and how far"),
    ("webhook_deliveries", "which event was told to whom, by id, and what came of it"),
    ("operators", "who logs in"),
    ("sessions", "who is logged in"),
    ("recovery_codes", "hashes of codes that let operators in"),
    ("one_time_links", "hashes of links that let operators in"),
    ("audit", "which events are what operators did, by id"),
    ("api_keys", "who calls"),
];

/// Columns that hold JSON as text.
const JSON: [&str; 10] = [
    "attributes",
    "variables",
    "media_urls",
    "media",
    "params",
    "data",
    "segment",
    "cells",
    "before",
    "after",
];

/// Rows of one table about a person, from row `offset` on, as objects with a member for each column: instants as
/// RFC 3339, hashes as hexadecimal digits. Empty at the end, and for what is looked for otherwise.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn rows(
    conn: &Connection,
    holding: &Holding,
    user_id: i64,
    (limit, offset): (usize, usize),
) -> Result<Vec<Value>, StoreError> {
    let Exported::By(sql) = holding.exported else {
        return Ok(Vec::new());
    };
    let mut statement = conn.prepare_cached(sql)?;
    let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let found = statement
        .query_map((user_id, limit as i64, offset as i64), |row| object(&names, row))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

fn object(names: &[String], row: &Row<'_>) -> rusqlite::Result<Value> {
    let mut members = Map::new();
    for (column, name) in names.iter().enumerate() {
        let is_instant = name == "at" || name.ends_with("_at");
        let value = match row.get_ref(column)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(millis) if is_instant => json!(rfc3339(millis)),
            ValueRef::Integer(number) => json!(number),
            ValueRef::Real(number) => json!(number),
            ValueRef::Text(text) => {
                let text = String::from_utf8_lossy(text);
                let read = JSON.contains(&name.as_str()).then(|| serde_json::from_str(&text).ok()).flatten();
                read.unwrap_or_else(|| json!(text))
            }
            ValueRef::Blob(bytes) => json!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        };
        members.insert(name.clone(), value);
    }
    Ok(Value::Object(members))
}
