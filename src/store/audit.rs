//! `audit`: which events are what somebody did here. Every act of an operator is in it, and every change of access
//! and settings, whoever made it; the events themselves say the rest. It costs nothing where messages are sent.

use rusqlite::{Connection, Row};
use serde_json::Value;

use super::events::{self, Event};
use super::reports::Slice;
use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::event::EventType;

/// Rows that one page looks at, at most.
const WINDOW: i64 = 20_000;
/// How operators are named as actors.
const OPERATORS: &str = "operator:";

/// Notes an event that is somebody's act.
pub(super) fn note(tx: &Tx<'_>, id: i64, kind: EventType, data: Option<&Value>) -> Result<(), StoreError> {
    let actor = data.and_then(|data| data.get("actor")).and_then(Value::as_str).unwrap_or_default();
    let is_access = kind.as_str().starts_with("admin.");
    if !is_access && !actor.starts_with(OPERATORS) {
        return Ok(());
    }
    tx.conn
        .prepare_cached("INSERT INTO audit (event_id, at, actor, type) VALUES (?1, ?2, ?3, ?4)")?
        .execute((id, tx.now, actor, kind.as_str()))?;
    Ok(())
}

/// An act: its event, and who did it.
#[derive(Clone, Debug)]
pub struct Act {
    /// What was done.
    pub event: Event,
    /// `operator:3`, `key:1`, `command:ana`; empty for a stranger.
    pub actor: String,
}

/// Which acts.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this actor only.
    pub actor: Option<String>,
    /// Of types with this noun only: `campaign`, `admin`.
    pub noun: Option<String>,
    /// From then on.
    pub since: Option<Millis>,
    /// Before then.
    pub until: Option<Millis>,
}

/// A page of acts, newest first, below event `before`. It looks at no more rows than one page may, and says how far.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn page(
    conn: &Connection,
    wanted: &Wanted,
    before: i64,
    limit: usize,
) -> Result<Slice<Act, i64>, StoreError> {
    let before = match wanted.until {
        Some(until) => before.min(last_before(conn, until)? + 1),
        None => before,
    };
    let low = match wanted.since {
        Some(since) => last_before(conn, since)?,
        None => 0,
    };
    let mut statement = conn.prepare_cached(&acts(wanted.actor.is_some()))?;
    let mut rows = statement.query((before, low, &wanted.actor))?;
    let (mut found, mut looked, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        looked += 1;
        let (id, actor, kind) = read(row)?;
        last = Some(id);
        let noun = kind.split('.').next().unwrap_or_default();
        if wanted.noun.as_deref().is_some_and(|wanted| wanted != noun) {
            continue;
        }
        if let Some(event) = events::find(conn, id)? {
            found.push(Act { event, actor });
        }
        if found.len() >= limit {
            return Ok(Slice { rows: found, reached: None });
        }
    }
    Ok(Slice { rows: found, reached: last.filter(|_| looked == WINDOW) })
}

/// The acts between two events, of one actor or of all, newest first.
fn acts(of_one: bool) -> String {
    let by_actor = if of_one { "actor = ?3 AND" } else { "?3 IS NULL AND" };
    format!(
        "SELECT event_id, actor, type FROM audit
         WHERE {by_actor} event_id < ?1 AND event_id > ?2 ORDER BY event_id DESC LIMIT {WINDOW}"
    )
}

/// The last act before a moment.
const LAST_BEFORE: &str = "SELECT event_id FROM audit WHERE at < ?1 ORDER BY at DESC, event_id DESC LIMIT 1";

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, String, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// The last act before `at`, 0 if there is none.
fn last_before(conn: &Connection, at: Millis) -> Result<i64, StoreError> {
    Ok(conn.prepare_cached(LAST_BEFORE)?.query_map([at], |row| row.get(0))?.next().transpose()?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::events::NewEvent;
    use super::super::{Store, StorePaths};
    use super::*;
    use crate::clock::Clock;
    use serde_json::json;

    #[tokio::test]
    async fn no_page_walks_over_all_acts() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StorePaths::inside(dir.path()), Clock::system()).unwrap();
        let plan = |sql: &str| -> String {
            let steps = store.read_here(|conn| -> Result<Vec<String>, StoreError> {
                let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                let mut rows = statement.raw_query();
                let mut steps = Vec::new();
                while let Some(row) = rows.next()? {
                    steps.push(row.get(3)?);
                }
                Ok(steps)
            });
            steps.unwrap().join("; ")
        };
        assert_eq!(plan(&acts(false)), "SEARCH audit USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)");
        assert!(
            plan(&acts(true)).starts_with("SEARCH audit USING INDEX audit_actor (actor=?"),
            "{}",
            plan(&acts(true))
        );
        assert_eq!(plan(LAST_BEFORE), "SEARCH audit USING COVERING INDEX audit_at (at<?)");
    }

    async fn append(store: &Store, kind: EventType, data: Value) {
        let event = NewEvent { data: Some(data), ..NewEvent::default() };
        store.write::<_, _, StoreError>(move |tx| events::append(tx, kind, event)).await.unwrap();
    }

    #[tokio::test]
    async fn what_operators_did_is_found_by_who_what_and_when() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T17:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
        append(&store, EventType::CampaignPaused, json!({"actor": "operator:3"})).await;
        append(&store, EventType::CampaignPaused, json!({"actor": "key:1"})).await;
        append(&store, EventType::MessageSent, json!({})).await;
        clock.advance(1_000);
        let second = clock.now();
        append(&store, EventType::AdminChanged, json!({"actor": "key:1"})).await;
        append(&store, EventType::AdminLoginFailed, json!({})).await;
        clock.advance(1_000);
        append(&store, EventType::UserUpdated, json!({"actor": "operator:3"})).await;
        let seen = |wanted: Wanted| {
            let slice = store.read_here(|conn| page(conn, &wanted, i64::MAX, 50)).unwrap();
            slice.rows.into_iter().map(|act| (act.event.kind, act.actor)).collect::<Vec<_>>()
        };
        let row = |kind: &str, actor: &str| (kind.to_owned(), actor.to_owned());
        let all = [
            row("user.updated", "operator:3"),
            row("admin.login_failed", ""),
            row("admin.changed", "key:1"),
            row("campaign.paused", "operator:3"),
        ];
        assert_eq!(seen(Wanted::default()), all);
        let actor = Some("operator:3".to_owned());
        assert_eq!(seen(Wanted { actor, ..Wanted::default() }), [all[0].clone(), all[3].clone()]);
        let noun = Some("admin".to_owned());
        assert_eq!(seen(Wanted { noun, ..Wanted::default() }), all[1..3]);
        assert_eq!(seen(Wanted { since: Some(second), ..Wanted::default() }), all[..3]);
        assert_eq!(seen(Wanted { until: Some(second), ..Wanted::default() }), all[3..]);
        let some = Wanted { since: Some(second), until: Some(second + 1), ..Wanted::default() };
        assert_eq!(seen(some), all[1..3]);
    }
}
