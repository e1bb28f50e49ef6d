//! Answers that stay open: how many at once, and that all of them end when the process does. A worker that
//! still has one would keep a stop waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Open streams at once. Each costs a connection, a page of events, and a read when something happens.
pub const MOST_STREAMS: usize = 64;

/// A comment is sent after this much silence, so that proxies keep the connection and a dead one is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often a stream asks whether its key still holds.
const KEY_CHECK: Duration = Duration::from_secs(3);

/// The open streams of the process. Clones share them.
#[derive(Clone, Debug)]
pub struct Streams {
    slots: Arc<Semaphore>,
    closed: watch::Sender<bool>,
    sent: Arc<AtomicU64>,
    pace: Pace,
}

/// What a stream does when nothing happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Silence before a comment.
    pub(super) heartbeat: Duration,
    /// Time between two looks at the key.
    pub(super) key_check: Duration,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams::new(HEARTBEAT, KEY_CHECK)
    }
}

/// The right to keep one answer open.
#[derive(Debug)]
pub(super) struct Slot {
    closed: watch::Receiver<bool>,
    sent: Arc<AtomicU64>,
    pub(super) pace: Pace,
    _permit: OwnedSemaphorePermit,
}

impl Streams {
    /// Streams with another pace than usual: how much silence ends in a comment, and how often the key is
    /// looked at.
    pub fn new(heartbeat: Duration, key_check: Duration) -> Streams {
        Streams {
            slots: Arc::new(Semaphore::new(MOST_STREAMS)),
            closed: watch::channel(false).0,
            sent: Arc::default(),
            pace: Pace { heartbeat, key_check },
        }
    }

    /// A place for one more, if there is one.
    pub(super) fn take(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let (closed, sent) = (self.closed.subscribe(), Arc::clone(&self.sent));
        Some(Slot { closed, sent, pace: self.pace, _permit: permit })
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        MOST_STREAMS - self.slots.available_permits()
    }

    /// Events handed to sockets since the start.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends every stream, those to come as well.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }
}

impl Slot {
    /// Counts events that were handed to the socket.
    pub(super) fn count(&self, events: usize) {
        self.sent.fetch_add(events as u64, Ordering::Relaxed);
    }

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
