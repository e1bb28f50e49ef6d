//! Demo data: a mark on the file while it holds any, and the way back to an empty one. People, messages and what
//! happened to them go together, the consent record too: nobody of them is real. Who may log in, what is set, and the
//! trail of that stay.

use rusqlite::Connection;

use super::{StoreError, Tx, cursors};
use crate::clock::Millis;

/// When demo data was loaded, in `cursors`.
const MARK: &str = "demo.loaded_at";

/// Tables that say nothing about people.
const KEPT: &[&str] = &[
    "store_identity",
    "settings",
    "guards",
    "topics",
    "senders",
    "account",
    "webhook_endpoints",
    "operators",
    "sessions",
    "api_keys",
    "audit",
    "one_time_links",
    "recovery_codes",
    "canned_replies",
    "import_mappings",
];

/// Tables that are emptied, and those whose rows are set to 0 or kept in part.
const EMPTIED: &[&str] = &[
    "users",
    "subscriptions",
    "consent_ledger",
    "consent_links",
    "suppressions",
    "imports",
    "import_issues",
    "segments",
    "templates",
    "template_versions",
    "content_templates",
    "sender_recipients",
    "campaigns",
    "messages",
    "attempts",
    "inbound",
    "receipts",
    "triggers",
    "trigger_audiences",
    "webhook_deliveries",
    "campaign_counts",
    "campaign_sums",
    "daily_counts",
    "daily_spending",
    "idempotency_keys",
    "attributes",
    "attribute_examples",
    "attribute_values",
    "bulk_actions",
    "campaign_pace",
    "conversations",
    "daily_errors",
    "import_changes",
    "import_undos",
    "replies",
];
/// Treated on their own below.
const IN_PART: &[&str] = &[
    "cursors",
    "events",
    "user_counts",
    "attribute_walks",
    "user_words",
    "user_words_config",
    "user_words_data",
    "user_words_idx",
];

/// Marks the file.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn mark(tx: &Tx<'_>) -> Result<(), StoreError> {
    cursors::set(tx, MARK, tx.now)
}

/// When demo data was loaded; `None`: there is none.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn loaded_at(conn: &Connection) -> Result<Option<Millis>, StoreError> {
    cursors::get(conn, MARK)
}

/// Empties a marked file. A table that nobody decided about stops it: nothing is left half.
///
/// # Errors
/// [`StoreError`] from SQLite, and for a file that is not marked.
pub fn remove(tx: &Tx<'_>) -> Result<(), StoreError> {
    if loaded_at(tx.conn)?.is_none() {
        return Err(StoreError::Internal("this file holds no demo data".to_owned()));
    }
    let undecided = undecided(tx.conn)?;
    if !undecided.is_empty() {
        return Err(StoreError::Internal(format!("nobody decided about {}", undecided.join(", "))));
    }
    let conn = tx.conn;
    conn.pragma_update(None, "defer_foreign_keys", true)?;
    // The guards of events and ledger are for people. They are put back as they were before anybody else writes.
    let guards: Vec<(String, String)> = conn
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (name, _) in &guards {
        conn.execute_batch(&format!("DROP TRIGGER \"{name}\""))?;
    }
    for table in EMPTIED {
        conn.execute(&format!("DELETE FROM {table}"), [])?;
    }
    conn.execute("DELETE FROM events WHERE type <> 'admin.changed'", [])?;
    conn.execute("UPDATE user_counts SET n = 0", [])?;
    conn.execute("INSERT INTO user_words (user_words) VALUES ('delete-all')", [])?;
    conn.execute(
        "UPDATE attribute_walks SET changes = changes + 1, seen_changes = -1, as_of = NULL, people = 0, is_cut = 0",
        [],
    )?;
    conn.execute("UPDATE senders SET recipients = 0, recipients_after = 0", [])?;
    conn.execute("UPDATE account SET pause_reason = NULL, paused_until = NULL", [])?;
    // Walks through what is gone begin anew; when the last backup was made is still true.
    conn.execute("DELETE FROM cursors WHERE name <> ?1", [super::backup::LAST_BACKUP])?;
    for (_, sql) in &guards {
        conn.execute_batch(sql)?;
    }
    tx.change_plan();
    Ok(())
}

fn undecided(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let tables: Vec<String> = conn
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let is_known =
        |table: &String| [KEPT, EMPTIED, IN_PART].iter().any(|list| list.contains(&table.as_str()));
    Ok(tables.into_iter().filter(|table| !is_known(table)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::users::{self, NewUser};
    use crate::store::{Store, StorePaths, verify};

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StorePaths::inside(dir.path()), Clock::system()).unwrap();
        (dir, store)
    }

    #[actix_web::test]
    async fn every_table_is_kept_or_emptied() {
        let (_dir, store) = store();
        let undecided = store.read(undecided).await.unwrap();
        assert!(undecided.is_empty(), "add to KEPT or EMPTIED: {undecided:?}");
    }

    fn count(store: &Store, query: &'static str) -> i64 {
        store.read_here(|conn| Ok::<_, StoreError>(conn.query_row(query, [], |row| row.get(0))?)).unwrap()
    }

    #[actix_web::test]
    async fn only_a_marked_file_is_emptied_and_the_guards_stand_again() {
        const PEOPLE: &str = "SELECT count(*) FROM users";
        const GUARDS: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'";
        let (_dir, store) = store();
        let guards = count(&store, GUARDS);
        let add = |tx: &Tx<'_>| {
            let (attributes, phone) = (serde_json::Map::new(), Some("+12125550101"));
            let (channel_address, country, consent, import) = (None, None, None, None);
            let actor = "test";
            users::insert(
                tx,
                &NewUser { phone, channel_address, country, attributes: &attributes, consent, actor, import },
            )
        };
        store.write(add).await.unwrap();
        assert!(store.write::<_, _, StoreError>(remove).await.is_err());
        assert_eq!(count(&store, PEOPLE), 1);
        store.write::<_, _, StoreError>(|tx| mark(tx).and_then(|()| remove(tx))).await.unwrap();
        assert_eq!(count(&store, PEOPLE), 0);
        let problems = store.read_here(verify::count_problems).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert!(guards > 0 && count(&store, GUARDS) == guards);
        assert_eq!(store.read(loaded_at).await.unwrap(), None);
    }
}
