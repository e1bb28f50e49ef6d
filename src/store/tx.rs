//! An open write transaction: the connection, the moment, and what the closure brings about beside its rows.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;

use super::effects::{Effects, Withdrawal};
use super::{StoreError, StoreKey};
use crate::clock::Millis;

/// The savepoint that the writer opens for each closure.
pub(super) const BEGIN_CLOSURE: &str = "SAVEPOINT closure";
/// Undoes what the closure wrote, and leaves its savepoint open.
pub(super) const UNDO_CLOSURE: &str = "ROLLBACK TO closure";
/// Ends it.
pub(super) const END_CLOSURE: &str = "RELEASE closure";

/// An open write transaction, as a closure sees it.
pub struct Tx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) key: &'a StoreKey,
    pub(super) now: Millis,
    pub(super) effects: RefCell<Effects>,
    /// Rows changed on the connection when the closure began; `None` inside a nested part.
    changes: Option<u64>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(conn: &'a Connection, key: &'a StoreKey, now: Millis) -> Tx<'a> {
        Tx { conn, key, now, effects: RefCell::default(), changes: Some(conn.total_changes()) }
    }

    pub(super) fn into_effects(self) -> Effects {
        self.effects.into_inner()
    }

    /// The connection, for the read functions that take one.
    pub fn conn(&self) -> &'a Connection {
        self.conn
    }

    /// When this closure runs: milliseconds since 1970, UTC.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The key that hashes addresses.
    pub fn key(&self) -> &StoreKey {
        self.key
    }

    /// After the commit, let the dispatcher look for due messages.
    pub fn wake_delivery(&self) {
        self.effects.borrow_mut().wakes_delivery = true;
    }

    /// After the commit, let the importer look for queued files.
    pub fn wake_import(&self) {
        self.effects.borrow_mut().wakes_import = true;
    }

    /// After the commit, let the people of events' segments be looked at.
    pub fn wake_triggers(&self) {
        self.effects.borrow_mut().wakes_triggers = true;
    }

    /// Campaigns, senders, templates or settings changed: nothing cached of them holds any more.
    pub fn change_plan(&self) {
        self.effects.borrow_mut().changes_plan = true;
    }

    /// After the commit and before the answer, no claimed message of `whom` may start.
    pub fn withdraw(&self, whom: Withdrawal) {
        self.effects.borrow_mut().withdrawals.push(whom);
    }

    /// Runs `body` so that its error undoes its rows, not the rest of the closure: in a savepoint of its own,
    /// or, while the closure has changed no row yet, in that of the closure, which spares a level of copied
    /// pages. So a caller that comes back for every message does its effect first and its other rows after.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn nested<T, E: From<StoreError>>(&self, body: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        let inner = Tx { changes: None, ..Tx::new(self.conn, self.key, self.now) };
        let is_first = self.changes == Some(self.conn.total_changes());
        let run = |sql: &str| {
            self.conn
                .prepare_cached(sql)
                .and_then(|mut statement| statement.execute([]))
                .map_err(StoreError::from)
        };
        if !is_first {
            run("SAVEPOINT nested")?;
        }
        // What a stranger sent may break a parser: that undoes its effect and nothing else.
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&inner)))
            .unwrap_or_else(|_| Err(StoreError::Internal("a nested write panicked".to_owned()).into()));
        if self.conn.is_autocommit() {
            return Err(
                StoreError::Unavailable("the transaction was rolled back by SQLite".to_owned()).into()
            );
        }
        match outcome {
            Ok(value) => {
                self.effects.borrow_mut().merge(inner.into_effects());
                if !is_first {
                    run("RELEASE nested")?;
                }
                Ok(value)
            }
            Err(error) if is_first => {
                run(UNDO_CLOSURE)?;
                Err(error)
            }
            Err(error) => {
                run("ROLLBACK TO nested")?;
                run("RELEASE nested")?;
                Err(error)
            }
        }
    }
}
