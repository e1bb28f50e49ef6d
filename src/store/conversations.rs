//! `conversations`: the inbox. One row for each person who wrote or whom an operator answered, with ids and times
//! alone: what was said stays in `inbound` and `messages`, where retention and erasure find it.

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use super::events::{self, NewEvent};
use super::{StoreError, Tx};
use crate::clock::Millis;
use crate::domain::event::EventType;

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Open, and the person wrote since somebody last looked.
    Unread,
    /// Open.
    Read,
    /// Nothing to be done until the person writes again.
    Closed,
}

impl State {
    /// Every state.
    pub const ALL: [State; 3] = [State::Unread, State::Read, State::Closed];

    /// The word of the table.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Unread => "unread",
            State::Read => "read",
            State::Closed => "closed",
        }
    }

    /// The state with this word.
    pub fn parse(word: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A conversation.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// With whom.
    pub user_id: i64,
    /// Where it stands.
    pub state: State,
    /// When either side wrote last.
    pub last_at: Millis,
    /// The person's last message.
    pub last_inbound_id: Option<i64>,
    /// Our last answer.
    pub last_message_id: Option<i64>,
    /// `inbound.id` up to which somebody has read.
    pub read_id: i64,
    /// The operator who looks after it.
    pub assigned_to: Option<i64>,
}

/// The conversation with a person, if there is one.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, user_id: i64) -> Result<Option<Conversation>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT user_id, state, last_at, last_inbound_id, last_message_id, read_id, assigned_to
             FROM conversations WHERE user_id = ?1",
        )?
        .query_row([user_id], |row| {
            let state: String = row.get(1)?;
            Ok(Conversation {
                user_id: row.get(0)?,
                state: State::parse(&state).unwrap_or(State::Unread),
                last_at: row.get(2)?,
                last_inbound_id: row.get(3)?,
                last_message_id: row.get(4)?,
                read_id: row.get(5)?,
                assigned_to: row.get(6)?,
            })
        })
        .optional()?)
}

/// Notes that the person wrote: a closed conversation is open again. `wants_answer`: it was no word that is
/// answered by itself, so somebody has to read it. One statement, for what comes in thousands a second.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn heard(
    tx: &Tx<'_>,
    user_id: i64,
    inbound_id: i64,
    received_at: Millis,
    wants_answer: bool,
) -> Result<(), StoreError> {
    let state = if wants_answer { State::Unread } else { State::Read };
    tx.conn
        .prepare_cached(
            "INSERT INTO conversations (user_id, state, last_at, last_inbound_id) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (user_id) DO UPDATE SET last_at = max(last_at, excluded.last_at),
               last_inbound_id = max(coalesce(last_inbound_id, 0), excluded.last_inbound_id),
               state = CASE state WHEN 'unread' THEN 'unread' ELSE excluded.state END",
        )?
        .execute((user_id, state.as_str(), received_at, inbound_id))?;
    Ok(())
}

/// Notes an answer of a caller of the API, where there is a conversation. Whether somebody has read stays open.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn answered(tx: &Tx<'_>, user_id: i64, message_id: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE conversations SET last_message_id = ?2, last_at = max(last_at, ?3) WHERE user_id = ?1",
        )?
        .execute((user_id, message_id, tx.now))?;
    Ok(())
}

/// Notes what an operator wrote: whoever answers has read, and a closed conversation is open again.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn replied(tx: &Tx<'_>, user_id: i64, message_id: i64, operator_id: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO conversations (user_id, state, last_at, last_message_id) VALUES (?1, 'read', ?2, ?3)
             ON CONFLICT (user_id) DO UPDATE SET state = 'read', last_at = max(last_at, excluded.last_at),
               last_message_id = excluded.last_message_id, read_id = coalesce(last_inbound_id, 0)",
        )?
        .execute((user_id, tx.now, message_id))?;
    tx.conn
        .prepare_cached("INSERT INTO replies (message_id, operator_id) VALUES (?1, ?2)")?
        .execute((message_id, operator_id))?;
    let actor = format!("operator:{operator_id}");
    note(tx, user_id, json!({"changed": "replied", "message_id": message_id, "actor": actor}))
}

/// Marks what the person wrote up to `inbound_id` as read. What came since stays unread.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn mark_read(tx: &Tx<'_>, user_id: i64, inbound_id: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE conversations SET read_id = min(?2, coalesce(last_inbound_id, 0)),
               state = CASE WHEN state = 'unread' AND ?2 >= coalesce(last_inbound_id, 0) THEN 'read' ELSE state END
             WHERE user_id = ?1 AND read_id < ?2",
        )?
        .execute((user_id, inbound_id))?;
    Ok(())
}

/// Marks an open conversation as unread, for somebody else or for later. False: there is none that is read.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn mark_unread(tx: &Tx<'_>, user_id: i64) -> Result<bool, StoreError> {
    // The last message shows as new again.
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE conversations SET state = 'unread', read_id = coalesce(last_inbound_id, 1) - 1
             WHERE user_id = ?1 AND state = 'read'",
        )?
        .execute([user_id])?;
    Ok(changed > 0)
}

/// Gives the conversation to an operator, who must be there, or to nobody. False: it was so, or there is none.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn assign(tx: &Tx<'_>, user_id: i64, to: Option<i64>, actor: &str) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE conversations SET assigned_to = ?2 WHERE user_id = ?1 AND assigned_to IS NOT ?2",
        )?
        .execute((user_id, to))?;
    if changed > 0 {
        note(tx, user_id, json!({"changed": "assigned", "operator_id": to, "actor": actor}))?;
    }
    Ok(changed > 0)
}

/// Closes the conversation until the person writes again. False: it was closed, or there is none.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn close(tx: &Tx<'_>, user_id: i64, actor: &str) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE conversations SET state = 'closed', read_id = coalesce(last_inbound_id, 0)
             WHERE user_id = ?1 AND state <> 'closed'",
        )?
        .execute([user_id])?;
    if changed > 0 {
        note(tx, user_id, json!({"changed": "closed", "actor": actor}))?;
    }
    Ok(changed > 0)
}

/// Opens a closed conversation. False: it was open, or there is none.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn reopen(tx: &Tx<'_>, user_id: i64, actor: &str) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached("UPDATE conversations SET state = 'read' WHERE user_id = ?1 AND state = 'closed'")?
        .execute([user_id])?;
    if changed > 0 {
        note(tx, user_id, json!({"changed": "reopened", "actor": actor}))?;
    }
    Ok(changed > 0)
}

fn note(tx: &Tx<'_>, user_id: i64, data: Value) -> Result<(), StoreError> {
    let event = NewEvent { user_id: Some(user_id), data: Some(data), ..NewEvent::default() };
    events::append(tx, EventType::ConversationChanged, event)?;
    Ok(())
}

/// Counts end here: a page shows "99+".
pub const MOST_COUNTED: i64 = 100;

/// How many conversations somebody has to read, no further than [`MOST_COUNTED`].
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn unread(conn: &Connection) -> Result<i64, StoreError> {
    counted(conn, "SELECT count(*) FROM (SELECT 1 FROM conversations WHERE state = 'unread' LIMIT ?1)")
}

/// How many people wait for a decision whether they opted out, no further than [`MOST_COUNTED`].
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn on_review(conn: &Connection) -> Result<i64, StoreError> {
    counted(conn, "SELECT count(*) FROM (SELECT 1 FROM users WHERE hold IS NOT NULL LIMIT ?1)")
}

fn counted(conn: &Connection, sql: &str) -> Result<i64, StoreError> {
    Ok(conn.prepare_cached(sql)?.query_row([MOST_COUNTED], |row| row.get(0))?)
}

/// The words that put a person on review, with what an answer to them needs.
#[derive(Clone, Debug)]
pub struct Doubt {
    /// `inbound.id`.
    pub inbound_id: i64,
    /// Twilio's id, for the ledger.
    pub message_sid: String,
    /// The words, unless they are gone.
    pub body: Option<String>,
    /// When Twilio got them.
    pub received_at: Millis,
}

/// What a person wrote last that may be an opt-out. Looks at their last 1,000 messages.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn doubt(conn: &Connection, user_id: i64) -> Result<Option<Doubt>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT id, message_sid, body, received_at FROM (
               SELECT id, message_sid, body, received_at, kind FROM inbound
               WHERE user_id = ?1 ORDER BY id DESC LIMIT 1000)
             WHERE kind = 'review' LIMIT 1",
        )?
        .query_row([user_id], |row| {
            Ok(Doubt {
                inbound_id: row.get(0)?,
                message_sid: row.get(1)?,
                body: row.get(2)?,
                received_at: row.get(3)?,
            })
        })
        .optional()?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::Clock;
    use crate::domain::phone::Phone;
    use crate::store::{Store, StorePaths, operators, users};

    async fn store() -> (tempfile::TempDir, Store, i64) {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock).unwrap();
        let phone = Phone::parse("+14155550101", None).unwrap();
        let user_id = store
            .write::<_, _, StoreError>(move |tx| {
                operators::insert(tx, "mara@example.com", "", "operator")?;
                Ok(users::find_or_add(tx, &phone, "test")?.id)
            })
            .await
            .unwrap();
        (dir, store, user_id)
    }

    type Step = Box<dyn Fn(&Tx<'_>, i64) -> Result<(), StoreError> + Send>;

    fn step(run: impl Fn(&Tx<'_>, i64) -> Result<(), StoreError> + Send + 'static) -> Step {
        Box::new(run)
    }

    #[tokio::test]
    async fn a_conversation_goes_through_its_states() {
        let (_dir, store, user_id) = store().await;
        let heard = |id, at, wants| step(move |tx, user| heard(tx, user, id, at, wants));
        let table: Vec<(&str, Step, State, i64)> = vec![
            ("a word that is answered by itself", heard(1, 1_000, false), State::Read, 0),
            ("somebody has to read this", heard(2, 2_000, true), State::Unread, 0),
            ("a keyword does not make it read", heard(3, 3_000, false), State::Unread, 0),
            ("read, but not the newest", step(|tx, user| mark_read(tx, user, 2)), State::Unread, 2),
            ("read", step(|tx, user| mark_read(tx, user, 3)), State::Read, 3),
            ("read again changes nothing", step(|tx, user| mark_read(tx, user, 1)), State::Read, 3),
            ("for later", step(|tx, user| mark_unread(tx, user).map(drop)), State::Unread, 2),
            ("closed", step(|tx, user| close(tx, user, "operator:1").map(drop)), State::Closed, 3),
            ("closed is not unread", step(|tx, user| mark_unread(tx, user).map(drop)), State::Closed, 3),
            ("a new message reopens", heard(4, 4_000, true), State::Unread, 3),
            ("closed again", step(|tx, user| close(tx, user, "operator:1").map(drop)), State::Closed, 4),
            ("a STOP reopens without asking", heard(5, 5_000, false), State::Read, 4),
            ("closed", step(|tx, user| close(tx, user, "operator:1").map(drop)), State::Closed, 5),
            ("opened by hand", step(|tx, user| reopen(tx, user, "operator:1").map(drop)), State::Read, 5),
            ("an old one that was fetched late", heard(6, 10, true), State::Unread, 5),
        ];
        for (what, step, state, read_id) in table {
            store.write(move |tx| step(tx, user_id)).await.unwrap();
            let found = store.read_here(|conn| find(conn, user_id)).unwrap().unwrap();
            assert_eq!((found.state, found.read_id), (state, read_id), "{what}");
        }
        let found = store.read_here(|conn| find(conn, user_id)).unwrap().unwrap();
        assert_eq!((found.last_at, found.last_inbound_id), (5_000, Some(6)), "time never goes back");
    }

    #[tokio::test]
    async fn only_a_change_is_told_and_by_whom() {
        let (_dir, store, user_id) = store().await;
        store.write(move |tx| heard(tx, user_id, 1, 1_000, true)).await.unwrap();
        for expected in [true, false] {
            let assigned = store.write(move |tx| assign(tx, user_id, Some(1), "operator:1")).await.unwrap();
            let closed = store.write(move |tx| close(tx, user_id, "operator:1")).await.unwrap();
            assert_eq!((assigned, closed), (expected, expected));
        }
        let told = store.read_here(|conn| events::of_user(conn, user_id, i64::MAX, 10)).unwrap();
        let told: Vec<_> = told
            .iter()
            .filter(|event| event.kind == "conversation.changed")
            .map(|event| (event.data["changed"].as_str().unwrap(), event.data["actor"].as_str().unwrap()))
            .collect();
        assert_eq!(told, [("closed", "operator:1"), ("assigned", "operator:1")]);
    }

    /// What comes in thousands a second pays for the inbox: by steps of SQLite's machine, about a third of what the row
    /// itself and its event cost, and the same however many conversations there are.
    #[tokio::test]
    async fn a_message_costs_the_inbox_little_at_any_size() {
        let (_dir, store, user_id) = store().await;
        let measure = |first_id: i64| {
            move |tx: &Tx<'_>| -> Result<(u64, u64), StoreError> {
                let steps = Arc::new(AtomicU64::new(0));
                let counted = Arc::clone(&steps);
                let count = move || {
                    counted.fetch_add(1, Ordering::Relaxed);
                    false
                };
                let mut costs = Vec::new();
                // Twice each: the first time makes the statements.
                for number in first_id..first_id + 2 {
                    tx.conn.progress_handler(1, Some(count.clone())).unwrap();
                    steps.store(0, Ordering::Relaxed);
                    heard(tx, user_id, number, number, true)?;
                    let inbox = steps.swap(0, Ordering::Relaxed);
                    users::note_inbound(tx, user_id, number, false)?;
                    let sid = format!("SM{number}");
                    let raw = crate::store::inbound::RawInbound {
                        message_sid: &sid,
                        source: "webhook",
                        from: "+14155550101",
                        to: "+14155550100",
                        body: "hello",
                        media: "[]",
                        params: "[]",
                        received_at: number,
                    };
                    let understood = crate::store::inbound::Understood {
                        user_id: Some(user_id),
                        channel: crate::domain::phone::Channel::Sms,
                        kind: "message",
                        reply: None,
                    };
                    crate::store::inbound::insert(tx, &raw, &understood)?;
                    let event = NewEvent { user_id: Some(user_id), ..NewEvent::default() };
                    events::append(tx, EventType::InboundReceived, event)?;
                    costs.push((inbox, steps.load(Ordering::Relaxed)));
                    tx.conn.progress_handler(0, None::<fn() -> bool>).unwrap();
                }
                Ok(costs[1])
            }
        };
        let (few, rest) = store.write(measure(1)).await.unwrap();
        store
            .write::<_, _, StoreError>(|tx| {
                tx.conn.execute_batch(
                    "INSERT INTO users (id, phone, attributes, created_at, updated_at)
                       WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
                       SELECT i, printf('+1212%07d', i), jsonb('{}'), 0, 0 FROM n;
                     INSERT INTO conversations (user_id, state, last_at) SELECT id, 'unread', id FROM users WHERE id >= 100;",
                )?;
                Ok(())
            })
            .await
            .unwrap();
        let (many, _) = store.write(measure(50_000)).await.unwrap();
        assert!(many <= few + 4, "{many} steps among 20,000 conversations, {few} alone");
        assert!(few * 5 <= rest * 2, "{few} steps beside {rest}");
    }
}
