//! Puts new people into the search index, in short writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::store::{Store, StoreError, search};

/// People of one write: some ten milliseconds.
const CHUNK: usize = 1_500;
/// Between two writes the writer is left to others.
const REST: Duration = Duration::from_millis(5);

/// Takes in everybody whom the search does not know yet, until `stop` is set. While an import runs it waits: both
/// would share one writer.
///
/// # Errors
/// [`StoreError`] from SQLite; the next call goes on.
pub async fn index(store: &Store, stop: &AtomicBool) -> Result<(), StoreError> {
    loop {
        let (backlog, should_wait) = store
            .read(|conn| Ok::<_, StoreError>((search::backlog(conn)?, search::should_wait(conn)?)))
            .await?;
        if backlog == 0 || should_wait || stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        if !store.write(|tx| search::catch_up(tx, CHUNK)).await? {
            return Ok(());
        }
        tokio::time::sleep(REST).await;
    }
}
