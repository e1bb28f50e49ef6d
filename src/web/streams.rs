//! Answers that stay open: how many at once, and that all of them end when the process does. A worker that
//! still has one would keep a stop waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Open streams at once. Each costs a connection, a page of events, and a read when something happens.
pub const MOST_STREAMS: usize = 64;

/// The open streams of the process. Clones share them.
#[derive(Clone, Debug)]
pub struct Streams {
    slots: Arc<Semaphore>,
    closed: watch::Sender<bool>,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams { slots: Arc::new(Semaphore::new(MOST_STREAMS)), closed: watch::channel(false).0 }
    }
}

/// The right to keep one answer open.
#[derive(Debug)]
pub(super) struct Slot {
    closed: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Streams {
    /// A place for one more, if there is one.
    pub(super) fn take(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(Slot { closed: self.closed.subscribe(), _permit: permit })
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        MOST_STREAMS - self.slots.available_permits()
    }

    /// Ends every stream, those to come as well.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }
}

impl Slot {
    /// True when the process ends.
    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits for `event` or `limit`, whichever comes first. True: `event` came. Ends at once with the process.
    pub(super) async fn wait(&mut self, limit: Duration, event: impl Future<Output = ()>) -> bool {
        tokio::select! {
            _ = self.closed.wait_for(|is_closed| *is_closed) => false,
            () = event => true,
            () = tokio::time::sleep(limit) => false,
        }
    }
}
