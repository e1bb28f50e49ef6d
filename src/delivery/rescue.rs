//! What an end in the middle left behind.

use super::outbox::Outbox;
use crate::clock::Millis;
use crate::store::outcomes::{self, AttemptKey};
use crate::store::{Store, StoreError};

/// Attempts of one write.
const CHUNK: usize = 200;
/// A claim that nobody works for this long was lost on its way, in milliseconds: three times the longest request.
const ORPHANED: Millis = 180_000;

/// At the start: attempts under way when the process ended. Their requests may have reached Twilio, so they
/// are uncertain, and nobody is sent to again blindly. Returns how many there were.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub async fn rescue_pending(store: &Store) -> Result<usize, StoreError> {
    let pending = store.read(|conn| outcomes::pending_attempts(conn, i64::MAX)).await?;
    each_chunk(store, &pending, |tx, key| outcomes::uncertain(tx, key, "the process ended")).await?;
    Ok(pending.len())
}

/// While running: claims whose write was reported lost but did reach the disk. Their requests never began.
/// Returns how many there were.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub async fn rescue_orphans(store: &Store, outbox: &Outbox) -> Result<usize, StoreError> {
    let before = store.clock().now() - ORPHANED;
    let pending = store.read(move |conn| outcomes::pending_attempts(conn, before)).await?;
    let orphans: Vec<AttemptKey> = pending.into_iter().filter(|key| !outbox.contains(*key)).collect();
    each_chunk(store, &orphans, outcomes::withdrawn).await?;
    Ok(orphans.len())
}

async fn each_chunk(
    store: &Store,
    keys: &[AttemptKey],
    change: impl Fn(&crate::store::Tx<'_>, AttemptKey) -> Result<(), StoreError> + Copy + Send + 'static,
) -> Result<(), StoreError> {
    for chunk in keys.chunks(CHUNK) {
        let chunk = chunk.to_vec();
        store.write(move |tx| chunk.into_iter().try_for_each(|key| change(tx, key))).await?;
    }
    Ok(())
}
