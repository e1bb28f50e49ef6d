//! Erasing a person: number, attributes, words and raw webhooks go; rows, counts and a keyed hash that suppresses
//! the number stay. What names the person by id is found by index; what only holds the number somewhere in a text
//! (cells of a file, answers kept for a day, webhooks of nobody) is looked for, page by page, before.

use std::collections::HashMap;

use rusqlite::{Connection, named_params};
use serde_json::{Value, json};

use super::events::{self, NewEvent};
use super::personal::{Erased, HOLDINGS};
use super::users::User;
use super::{StoreError, Tx, attributes, cursors, suppressions};
use crate::clock::Millis;
use crate::domain::event::EventType;

/// Digits at the end of a number by which it is recognised however it was written, with or without its country.
const TELLING: usize = 8;
/// How far a clock may be set back between two writes without hiding an answer, in milliseconds.
const SLACK: Millis = 250;
/// Set while the log may still hold what was erased.
pub const IN_LOG: &str = "erasure.in_log";

/// How a person's number is recognised inside texts.
#[derive(Clone, Debug)]
pub struct Trace {
    user_id: i64,
    /// All digits of the number; empty for somebody without one.
    number: String,
    /// The last of them.
    digits: String,
    /// The address as channels write it.
    addresses: Vec<String>,
}

impl Trace {
    /// Of this person.
    pub fn of(user: &User) -> Trace {
        let phone = user.phone.as_deref().unwrap_or_default();
        let all: String = phone.chars().filter(char::is_ascii_digit).collect();
        let digits = all.get(all.len().saturating_sub(TELLING)..).unwrap_or_default().to_owned();
        let mut addresses: Vec<String> = user.channel_address.iter().cloned().collect();
        if !phone.is_empty() {
            addresses.extend([phone.to_owned(), format!("whatsapp:{phone}")]);
        }
        Trace { user_id: user.id, number: all, digits, addresses }
    }

    /// Whether a text holds the number, whatever stands between its digits.
    fn is_in(&self, text: &str) -> bool {
        if self.addresses.iter().any(|address| text.contains(address.as_str())) {
            return true;
        }
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        !self.digits.is_empty() & digits.contains(&self.digits)
    }

    /// Whether an answer of ours, or its path, holds the number: those write it in one way only, and may be full of
    /// other digits.
    fn is_in_answer(&self, text: &str) -> bool {
        let is_number = !self.number.is_empty() & text.contains(&self.number);
        is_number || self.addresses.iter().any(|address| text.contains(address.as_str()))
    }

    fn is_in_cells(&self, cells: &str) -> bool {
        match serde_json::from_str::<Value>(cells) {
            Ok(Value::Object(map)) => map.values().any(|cell| match cell {
                Value::String(text) => self.is_in(text),
                other => self.is_in(&other.to_string()),
            }),
            _ => self.is_in(cells),
        }
    }
}

/// A row of `import_issues`: import, row, reason. Rows are walked in this order.
pub type IssueKey = (i64, i64, String);

/// A row of a file that holds the person's number.
#[derive(Clone, Debug)]
pub struct IssueTrace {
    /// Which row.
    pub key: IssueKey,
    /// As it stood in the file.
    pub cells: Value,
}

/// Looks through the next `limit` issues behind `after` for the number. The second value is the last row looked
/// at, or `None` at the end.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_issues(
    conn: &Connection,
    trace: &Trace,
    after: &IssueKey,
    limit: usize,
) -> Result<(Vec<IssueTrace>, Option<IssueKey>), StoreError> {
    let mut found = Vec::new();
    let (mut looked, mut last) = (0, None);
    let mut rows = conn.prepare_cached(
        "SELECT import_id, row, reason, cells, message FROM import_issues
         WHERE (import_id, row, reason) > (?1, ?2, ?3) ORDER BY import_id, row, reason LIMIT ?4",
    )?;
    let mut rows = rows.query((after.0, after.1, &after.2, limit as i64))?;
    while let Some(row) = rows.next()? {
        let key: IssueKey = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (cells, message): (String, String) = (row.get(3)?, row.get(4)?);
        if trace.is_in_cells(&cells) || trace.is_in(&message) {
            found.push(IssueTrace {
                key: key.clone(),
                cells: serde_json::from_str(&cells).unwrap_or_default(),
            });
        }
        looked += 1;
        last = Some(key);
    }
    Ok((found, last.filter(|_| looked == limit)))
}

/// Blanks the cells of these rows.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn blank_issues(tx: &Tx<'_>, found: &[IssueTrace]) -> Result<(), StoreError> {
    for IssueTrace { key: (import_id, row, reason), .. } in found {
        tx.conn
            .prepare_cached(
                "UPDATE import_issues SET cells = '{}', message = 'erased'
                 WHERE import_id = ?1 AND row = ?2 AND reason = ?3",
            )?
            .execute((import_id, row, reason))?;
    }
    Ok(())
}

/// An answer kept for a repeated request, in the order in which answers are looked through: when it was given, API
/// key, path, key.
pub type AnswerKey = (Millis, String, String, String);

/// Looks through the next `limit` answers behind `after` for the number, or for the person in their path. The second
/// value is the last one looked at, or `None` at the end.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_answers(
    conn: &Connection,
    trace: &Trace,
    after: &AnswerKey,
    limit: usize,
) -> Result<(Vec<AnswerKey>, Option<AnswerKey>), StoreError> {
    let about = format!("/users/{}/", trace.user_id);
    let mut found = Vec::new();
    let (mut looked, mut last) = (0, None);
    let mut rows = conn.prepare_cached(
        "SELECT created_at, caller, path, key, body FROM idempotency_keys
         WHERE (created_at, caller, path, key) > (?1, ?2, ?3, ?4)
         ORDER BY created_at, caller, path, key LIMIT ?5",
    )?;
    let mut rows = rows.query((after.0, &after.1, &after.2, &after.3, limit as i64))?;
    while let Some(row) = rows.next()? {
        let key: AnswerKey = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let body: String = row.get(4)?;
        if key.2.contains(&about) || trace.is_in_answer(&key.2) || trace.is_in_answer(&body) {
            found.push(key.clone());
        }
        looked += 1;
        last = Some(key);
    }
    Ok((found, last.filter(|_| looked == limit)))
}

/// Forgets these answers.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn forget_answers(tx: &Tx<'_>, found: &[AnswerKey]) -> Result<(), StoreError> {
    for (_, caller, path, key) in found {
        tx.conn
            .prepare_cached("DELETE FROM idempotency_keys WHERE caller = ?1 AND path = ?2 AND key = ?3")?
            .execute((caller, path, key))?;
    }
    Ok(())
}

/// How far texts were looked through already.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// Answers given before this moment.
    pub until: Millis,
    /// Imports that finished before this moment.
    pub finished: Millis,
    /// The last row with an issue of those that went on then: issues come in the order of the file.
    pub rows: HashMap<i64, i64>,
}

/// The last row with an issue of every import that goes on.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn last_rows(conn: &Connection) -> Result<HashMap<i64, i64>, StoreError> {
    let sql = "SELECT id, (SELECT max(row) FROM import_issues WHERE import_id = i.id) AS row FROM imports i
               WHERE state = 'running' AND row IS NOT NULL";
    Ok(conn
        .prepare_cached(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?)
}

/// Removes what was written since `looked` and holds the number, and says whether that was all: of either kind no
/// more than `limit` rows are read.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn forget_new(tx: &Tx<'_>, trace: &Trace, looked: &Looked, limit: usize) -> Result<bool, StoreError> {
    let since = looked.until.min(tx.now) - SLACK;
    let behind = (since, String::new(), String::new(), String::new());
    let (answers, more) = find_answers(tx.conn, trace, &behind, limit)?;
    forget_answers(tx, &answers)?;
    if more.is_some() {
        return Ok(false);
    }
    let finished = looked.finished.min(tx.now) - SLACK;
    let growing: Vec<i64> = tx
        .conn
        .prepare_cached(
            "SELECT id FROM imports
             WHERE state IN ('checking', 'running') OR finished_at >= ?1 OR checked_at >= ?1",
        )?
        .query_map([finished], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for import_id in growing {
        let seen = looked.rows.get(&import_id).copied().unwrap_or(-1);
        let (issues, more) = find_issues(tx.conn, trace, &(import_id, seen + 1, String::new()), limit)?;
        blank_issues(tx, &issues)?;
        if more.is_some_and(|(last, ..)| last == import_id) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Erases what is known of a person, in one write. What holds the number somewhere in a text is the caller's to
/// remove: [`find_issues`], [`find_answers`], and in the same write [`forget_new`].
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn erase(tx: &Tx<'_>, user: &User, actor: &str) -> Result<(), StoreError> {
    if user.erased_at.is_some() {
        return Ok(());
    }
    let trace = Trace::of(user);
    for address in user.phone.iter().chain(&user.channel_address) {
        suppressions::erase(tx, address, actor)?;
    }
    erase_unmatched(tx, &trace)?;
    attributes::forget(tx, &user.attributes)?;
    for holding in HOLDINGS {
        if let Erased::By(statements) = holding.erased {
            for sql in statements {
                run(tx, sql, user.id)?;
            }
        }
    }
    *tx.effects.borrow_mut().users.entry(user.consent).or_default() -= 1;
    let event =
        NewEvent { user_id: Some(user.id), data: Some(json!({"actor": actor})), ..NewEvent::default() };
    events::append(tx, EventType::UserErased, event)?;
    cursors::set(tx, IN_LOG, tx.now)
}

fn run(tx: &Tx<'_>, sql: &str, user_id: i64) -> Result<(), StoreError> {
    let mut statement = tx.conn.prepare_cached(sql)?;
    for (name, value) in named_params! {":user": user_id, ":now": tx.now} {
        if let Some(index) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    statement.raw_execute()?;
    Ok(())
}

/// Webhooks of the person's number that belong to nobody: small indexes lead to them.
fn erase_unmatched(tx: &Tx<'_>, trace: &Trace) -> Result<(), StoreError> {
    for address in &trace.addresses {
        tx.conn.prepare_cached(
            "UPDATE inbound SET body = NULL, params = NULL, from_address = NULL, media = '[]', reply = NULL,
               error = NULL, state = 'done' WHERE user_id IS NULL AND from_address = ?1",
        )?
        .execute([address])?;
        tx.conn
            .prepare_cached(
                "UPDATE receipts SET params = NULL, error = NULL
                 WHERE state = 'unmatched' AND params IS NOT NULL AND instr(params, ?1) > 0",
            )?
            .execute([address])?;
    }
    Ok(())
}
