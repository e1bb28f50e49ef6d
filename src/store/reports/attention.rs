//! What somebody should look at: facts, bounded and by index, without a word about what to do. Pages say that.

use rusqlite::Connection;

use crate::clock::Millis;
use crate::store::senders::{self, SenderRow};
use crate::store::{StoreError, backup, created_at, hold};

/// Of what is listed one by one, at most so many.
const MOST: i64 = 20;
/// Counts end here: "more than 1,000".
pub const MOST_COUNTED: i64 = 1_000;
/// Imports are looked through this far back.
const IMPORTS: i64 = 100;

/// A campaign that stands still, not because somebody wanted it.
#[derive(Clone, Debug)]
pub struct PausedCampaign {
    /// Key.
    pub id: i64,
    /// For people.
    pub name: String,
    /// The line that mends it.
    pub reason: String,
    /// It goes on by itself then.
    pub until: Option<Millis>,
    /// When it stopped.
    pub since: Millis,
}

/// A webhook endpoint that fails, or was disabled because it did.
#[derive(Clone, Debug)]
pub struct TroubledEndpoint {
    /// Key.
    pub id: i64,
    /// Where to.
    pub url: String,
    /// Still tried.
    pub is_enabled: bool,
    /// Why it is not.
    pub reason: Option<String>,
    /// Nothing but failures since then.
    pub since: Option<Millis>,
}

/// An import that ended early, or of which rows were not taken.
#[derive(Clone, Debug)]
pub struct TroubledImport {
    /// Key.
    pub id: i64,
    /// The file, as a stranger named it.
    pub file_name: String,
    /// Why it ended early.
    pub error: Option<String>,
    /// Rows that were not taken.
    pub rejected: i64,
    /// When it ended.
    pub at: Millis,
}

/// Everything that may need somebody.
#[derive(Clone, Debug, Default)]
pub struct Attention {
    /// The file was restored from a copy and sends nothing since then.
    pub held_since: Option<Millis>,
    /// Why the account stands still, and until when.
    pub account: Option<(String, Option<Millis>)>,
    /// Senders that stand still.
    pub senders: Vec<SenderRow>,
    /// Campaigns that paused by themselves.
    pub campaigns: Vec<PausedCampaign>,
    /// Endpoints that fail.
    pub endpoints: Vec<TroubledEndpoint>,
    /// Messages whose answer was lost, up to [`MOST_COUNTED`] and one.
    pub uncertain: i64,
    /// When the next of them is looked for.
    pub next_look_at: Option<Millis>,
    /// People whose words may mean an opt-out, up to [`MOST_COUNTED`] and one.
    pub reviews: i64,
    /// Imports since `since`.
    pub imports: Vec<TroubledImport>,
    /// Webhooks that are kept and not applied yet, up to [`MOST_COUNTED`] and one.
    pub unapplied: i64,
    /// When the last good copy was begun.
    pub last_backup_at: Option<Millis>,
    /// When the file was made.
    pub created_at: Millis,
}

/// Looks at everything; at imports that ended after `since`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn attention(conn: &Connection, now: Millis, since: Millis) -> Result<Attention, StoreError> {
    let is_paused = |sender: &SenderRow| sender.is_configured && sender.is_paused(now);
    let (uncertain, next_look_at) = uncertain(conn)?;
    Ok(Attention {
        held_since: hold::since(conn)?,
        account: senders::account_pause(conn, now)?,
        senders: senders::list(conn)?.into_iter().filter(is_paused).collect(),
        campaigns: paused(conn)?,
        endpoints: endpoints(conn)?,
        uncertain,
        next_look_at,
        reviews: reviews(conn)?,
        imports: imports(conn, since)?,
        unapplied: unapplied(conn)?,
        last_backup_at: backup::last_backup_at(conn)?,
        created_at: created_at(conn)?,
    })
}

/// Campaigns that paused by themselves. An operator who paused one knows of it: `campaigns::pause_by` names them.
fn paused(conn: &Connection) -> Result<Vec<PausedCampaign>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id, name, coalesce(pause_reason, ''), paused_until, updated_at FROM campaigns
             WHERE status IN ('scheduled', 'launching', 'running', 'paused') AND status = 'paused'
               AND coalesce(pause_reason, '') NOT LIKE 'Paused by %' ORDER BY id DESC LIMIT ?1",
        )?
        .query_map([MOST], |row| {
            Ok(PausedCampaign {
                id: row.get(0)?,
                name: row.get(1)?,
                reason: row.get(2)?,
                until: row.get(3)?,
                since: row.get(4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Endpoints with an alert, or disabled for a reason. There are few, so that all may be looked at.
fn endpoints(conn: &Connection) -> Result<Vec<TroubledEndpoint>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id, url, is_enabled, disabled_reason, failing_since FROM webhook_endpoints
             WHERE is_alerted = 1 OR (is_enabled = 0 AND disabled_reason IS NOT NULL) ORDER BY id LIMIT ?1",
        )?
        .query_map([MOST], |row| {
            Ok(TroubledEndpoint {
                id: row.get(0)?,
                url: row.get(1)?,
                is_enabled: row.get(2)?,
                reason: row.get(3)?,
                since: row.get(4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

fn uncertain(conn: &Connection) -> Result<(i64, Option<Millis>), StoreError> {
    let n = conn
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM attempts
               WHERE outcome IN ('pending', 'uncertain') AND outcome = 'uncertain' LIMIT ?1)",
        )?
        .query_row([MOST_COUNTED + 1], |row| row.get(0))?;
    let next = conn
        .prepare_cached("SELECT min(look_at) FROM attempts WHERE look_at IS NOT NULL")?
        .query_row([], |row| row.get(0))?;
    Ok((n, next))
}

fn reviews(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM users WHERE hold IS NOT NULL LIMIT ?1)")?
        .query_row([MOST_COUNTED + 1], |row| row.get(0))?)
}

fn imports(conn: &Connection, since: Millis) -> Result<Vec<TroubledImport>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id, file_name, CASE WHEN state = 'failed' THEN coalesce(error, '') END, rejected,
                    coalesce(finished_at, created_at) AS at
             FROM (SELECT id, file_name, state, error, rejected, finished_at, created_at
                   FROM imports ORDER BY id DESC LIMIT ?1)
             WHERE at >= ?2 AND (state = 'failed' OR (state = 'finished' AND rejected > 0)) LIMIT 5",
        )?
        .query_map((IMPORTS, since), |row| {
            Ok(TroubledImport {
                id: row.get(0)?,
                file_name: row.get(1)?,
                error: row.get(2)?,
                rejected: row.get(3)?,
                at: row.get(4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

fn unapplied(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM inbound WHERE state = 'pending' LIMIT ?1))
                  + (SELECT count(*) FROM (SELECT 1 FROM receipts WHERE state = 'pending' LIMIT ?1))",
        )?
        .query_row([MOST_COUNTED + 1], |row| row.get(0))?)
}

/// Imports that wait or are being taken in, of the newest.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn imports_at_work(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT count(*) FROM (SELECT state FROM imports ORDER BY id DESC LIMIT ?1)
             WHERE state = 'queued' OR state = 'running'",
        )?
        .query_row([IMPORTS], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reports::plan_of;

    fn file() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../../schema.sql")).unwrap();
        conn.execute_batch(
            "INSERT INTO store_identity (id, key_fingerprint, created_at) VALUES (1, zeroblob(32), 5);
             INSERT INTO templates (id, name, created_at, updated_at) VALUES (1, 't', 0, 0);
             INSERT INTO segments (id, name, definition, created_at, updated_at) VALUES (1, 's', '{}', 0, 0);",
        )
        .unwrap();
        conn
    }

    #[test]
    fn a_new_file_needs_nobody() {
        let found = attention(&file(), 1_000, 0).unwrap();
        assert!(found.senders.is_empty() && found.campaigns.is_empty() && found.endpoints.is_empty());
        assert!(found.imports.is_empty() && found.account.is_none() && found.held_since.is_none());
        assert_eq!((found.uncertain, found.reviews, found.unapplied), (0, 0, 0));
        assert_eq!((found.last_backup_at, found.created_at), (None, 5));
    }

    #[test]
    fn what_somebody_paused_is_no_news_to_them() {
        let conn = file();
        conn.execute_batch(
            "INSERT INTO campaigns (id, name, status, pause_reason, kind, channel, template_id, segment_id,
                                    created_at, updated_at) VALUES
               (1, 'a', 'paused', 'Paused by operator:1.', 'marketing', 'sms', 1, 1, 0, 0),
               (2, 'b', 'paused', 'The template was paused by WhatsApp.', 'marketing', 'sms', 1, 1, 0, 9),
               (3, 'c', 'finished', 'Old.', 'marketing', 'sms', 1, 1, 0, 0);",
        )
        .unwrap();
        let found = attention(&conn, 1_000, 0).unwrap().campaigns;
        assert_eq!(found.iter().map(|one| (one.id, one.since)).collect::<Vec<_>>(), [(2, 9)]);
    }

    #[test]
    fn imports_are_told_of_while_they_are_news_and_only_if_something_is_wrong() {
        let conn = file();
        conn.execute_batch(
            "INSERT INTO imports (id, state, file_name, options, actor, rejected, error, created_at, finished_at) VALUES
               (1, 'finished', 'old.csv', '{}', 'x', 3, NULL, 10, 20),
               (2, 'finished', 'good.csv', '{}', 'x', 0, NULL, 110, 120),
               (3, 'finished', 'some.csv', '{}', 'x', 26, NULL, 110, 130),
               (4, 'failed', 'bad.csv', '{}', 'x', 0, 'cut off', 110, 140),
               (5, 'running', 'now.csv', '{}', 'x', 2, NULL, 150, NULL);",
        )
        .unwrap();
        let found = attention(&conn, 1_000, 100).unwrap().imports;
        let found: Vec<_> = found.iter().map(|one| (one.id, one.error.as_deref(), one.rejected)).collect();
        assert_eq!(found, [(4, Some("cut off"), 0), (3, None, 26)]);
        assert_eq!(imports_at_work(&conn).unwrap(), 1);
    }

    #[test]
    fn nothing_that_grows_is_walked_to_find_what_needs_somebody() {
        let conn = file();
        for (sql, index) in [
            ("SELECT 1 FROM users WHERE hold IS NOT NULL LIMIT 1001", "INDEX users_"),
            (
                "SELECT 1 FROM attempts WHERE outcome IN ('pending', 'uncertain') AND outcome = 'uncertain' LIMIT 1",
                "attempts_open",
            ),
            ("SELECT min(look_at) FROM attempts WHERE look_at IS NOT NULL", "attempts_look"),
            ("SELECT 1 FROM inbound WHERE state = 'pending' LIMIT 1", "inbound_pending"),
            ("SELECT 1 FROM receipts WHERE state = 'pending' LIMIT 1", "receipts_pending"),
        ] {
            let plan = plan_of(&conn, sql);
            assert!(plan.contains(index), "{sql}\n{plan}");
        }
    }
}
