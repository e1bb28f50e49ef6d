//! Erasing a person, in steps that keep the writer free: first what has to be looked for by the number, then, in
//! one write, all that is found by the person's id.

use crate::clock::Millis;
use crate::store::erasure::{self, IssueKey, Looked, Trace};
use crate::store::users::{self, UserKey};
use crate::store::{Store, StoreError, Tx, Withdrawal, cursors, messages};

/// Rows looked through at a time.
const PAGE: usize = 500;

/// Erases the person `user_id`: what waits for them is taken back, number, attributes, words, raw webhooks and
/// whatever else holds the number are gone, and a keyed hash keeps it from being sent to. Done again after a crash
/// it goes on. Returns false when there is no such person.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub async fn erase(store: &Store, user_id: i64, actor: &str) -> Result<bool, StoreError> {
    let found = store.read(move |conn| users::find(conn, &UserKey::Id(user_id))).await?;
    let Some(user) = found.filter(|user| user.erased_at.is_none()) else {
        return Ok(false);
    };
    let trace = Trace::of(&user);
    let mut looked = Looked::default();
    let mut limit = PAGE;
    let is_erased = loop {
        look_through(store, &trace, &mut looked).await?;
        let (trace, looked, actor) = (trace.clone(), looked.clone(), actor.to_owned());
        let done = store.write(move |tx| finish(tx, user_id, &actor, (&trace, &looked, limit))).await?;
        if let Some(is_erased) = done {
            break is_erased;
        }
        // However much comes, it ends.
        limit = limit.saturating_mul(2);
    };
    // The erasure holds either way; a log that is read from right now is emptied a little later.
    if let Err(error) = empty_log(store).await {
        tracing::warn!(error = %error, "the log could not be emptied after an erasure");
    }
    Ok(is_erased)
}

/// The erasure's own write. `None`: too much came since it was looked; it is to be looked again.
fn finish(
    tx: &Tx<'_>,
    user_id: i64,
    actor: &str,
    (trace, looked, limit): (&Trace, &Looked, usize),
) -> Result<Option<bool>, StoreError> {
    let found = users::find(tx.conn(), &UserKey::Id(user_id))?;
    let Some(user) = found.filter(|user| user.erased_at.is_none()) else {
        return Ok(Some(false));
    };
    if !erasure::forget_new(tx, trace, looked, limit)? {
        return Ok(None);
    }
    messages::cancel_of_user(tx, user_id, "erased")?;
    tx.withdraw(Withdrawal::User(user_id));
    erasure::erase(tx, &user, actor)?;
    Ok(Some(true))
}

/// Looks through every text that may hold the number, by reads; only what is found is written.
async fn look_through(store: &Store, trace: &Trace, looked: &mut Looked) -> Result<(), StoreError> {
    looked.finished = written(store).await?;
    looked.rows = store.read(erasure::last_rows).await?;
    let mut after: Option<IssueKey> = Some((0, 0, String::new()));
    while let Some(from) = after {
        let looking = trace.clone();
        let (found, next) = store.read(move |conn| erasure::find_issues(conn, &looking, &from, PAGE)).await?;
        if !found.is_empty() {
            store.write(move |tx| erasure::blank_issues(tx, &found)).await?;
        }
        after = next;
    }
    // Last, because answers come all the time.
    let behind = (looked.until, String::new(), String::new(), String::new());
    looked.until = written(store).await?;
    let mut after = Some(behind);
    while let Some(from) = after {
        let looking = trace.clone();
        let (found, next) =
            store.read(move |conn| erasure::find_answers(conn, &looking, &from, PAGE)).await?;
        if !found.is_empty() {
            store.write(move |tx| erasure::forget_answers(tx, &found)).await?;
        }
        after = next;
    }
    Ok(())
}

/// A moment before which every write is in the file.
async fn written(store: &Store) -> Result<Millis, StoreError> {
    store.write::<_, _, StoreError>(|tx| Ok(tx.now())).await
}

/// Takes what was erased out of the log too, if anything was since the last time.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub async fn empty_log(store: &Store) -> Result<(), StoreError> {
    let noted = store.read(|conn| cursors::get(conn, erasure::IN_LOG)).await?;
    if noted.is_some() && store.empty_log().await? {
        store.write(move |tx| cursors::remove(tx, erasure::IN_LOG, noted.unwrap_or(0))).await?;
    }
    Ok(())
}
