//! `window_end(…)`: the SQL function that tells a statement when each person's window ends, so that a million
//! rows are frozen by one `INSERT … SELECT` and not one by one.
//!
//! It is known to the writing connection alone and stands in no schema: any shell can open the file. SQLite
//! runs a function on the thread that runs its statement, which is how the statement's plan comes to it.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};

use super::StoreError;
use super::messages::NEVER_CLOSES;
use crate::clock::Millis;
use crate::domain::phone::Phone;
use crate::domain::plan::Closings;
use crate::domain::quiet_hours::Whereabouts;

/// Ends of windows, kept from one chunk of a freezing to the next.
pub type SharedClosings = Arc<Mutex<Closings>>;

thread_local! {
    /// What the statement at hand is run with.
    static AT_HAND: RefCell<Option<(SharedClosings, Millis)>> = const { RefCell::new(None) };
    /// For how many people it asked so far.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

/// Makes the functions known to `conn`.
pub(super) fn register(conn: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    conn.create_scalar_function("never_closes", 0, flags, |_| {
        ASKED.set(ASKED.get() + 1);
        Ok(NEVER_CLOSES)
    })?;
    conn.create_scalar_function("window_end", 4, flags, |row| {
        ASKED.set(ASKED.get() + 1);
        AT_HAND.with_borrow(|at_hand| {
            Ok(at_hand.as_ref().and_then(|(closings, now)| window_end(row, &mut lock(closings), *now)))
        })
    })
}

/// Runs `statement`, in which [`expression`] stands, with these closings at this moment. Also returns for how many
/// people it asked, whether or not they became rows.
pub(super) fn with<T>(
    closings: &SharedClosings,
    now: Millis,
    statement: impl FnOnce() -> Result<T, StoreError>,
) -> Result<(T, usize), StoreError> {
    AT_HAND.set(Some((Arc::clone(closings), now)));
    ASKED.set(0);
    let outcome = statement();
    AT_HAND.set(None);
    Ok((outcome?, ASKED.get()))
}

/// The end of the window of the person `u` (of `users`), as SQL.
pub(super) fn expression(closings: &SharedClosings) -> String {
    if lock(closings).is_unbounded() {
        return "never_closes()".to_owned();
    }
    format!(
        "coalesce(window_end(u.phone, u.attributes ->> '$.timezone', u.country,
           coalesce(u.attributes ->> '$.state', u.attributes ->> '$.region')), {NEVER_CLOSES})"
    )
}

fn window_end(row: &Context<'_>, closings: &mut Closings, now: Millis) -> Option<Millis> {
    let text = |at: usize| row.get_raw(at).as_str().ok();
    let phone = text(0).and_then(Phone::from_e164);
    let who = Whereabouts { phone: phone.as_ref(), timezone: text(1), country: text(2), state: text(3) };
    closings.closes_at(&who, now)
}

fn lock(closings: &SharedClosings) -> MutexGuard<'_, Closings> {
    closings.lock().unwrap_or_else(PoisonError::into_inner)
}
