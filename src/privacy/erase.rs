//! Erasing a person, in steps that keep the writer free: first what has to be looked for by the number, then, in
//! one write, all that is found by the person's id.

use crate::store::erasure::{self, IssueKey, Trace};
use crate::store::users::{self, UserKey};
use crate::store::{Store, StoreError, Withdrawal, cursors, messages};

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
    blank_issues(store, &trace).await?;
    let mut since = Some(0);
    while let Some(from) = since {
        let trace = trace.clone();
        since = store.write(move |tx| erasure::forget_answers(tx, &trace, from, PAGE)).await?;
    }
    let actor = actor.to_owned();
    let is_erased = store
        .write(move |tx| {
            let found = users::find(tx.conn(), &UserKey::Id(user_id))?;
            let Some(user) = found.filter(|user| user.erased_at.is_none()) else {
                return Ok(false);
            };
            messages::cancel_of_user(tx, user_id, "erased")?;
            tx.withdraw(Withdrawal::User(user_id));
            erasure::erase(tx, &user, &actor)?;
            Ok::<_, StoreError>(true)
        })
        .await?;
    // The erasure holds either way; a log that is read from right now is emptied a little later.
    if let Err(error) = empty_log(store).await {
        tracing::warn!(error = %error, "the log could not be emptied after an erasure");
    }
    Ok(is_erased)
}

async fn blank_issues(store: &Store, trace: &Trace) -> Result<(), StoreError> {
    let mut after: Option<IssueKey> = Some((0, 0, String::new()));
    while let Some(from) = after {
        let looking = trace.clone();
        let (found, next) = store.read(move |conn| erasure::find_issues(conn, &looking, &from, PAGE)).await?;
        if !found.is_empty() {
            store.write(move |tx| erasure::blank_issues(tx, &found)).await?;
        }
        after = next;
    }
    Ok(())
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
