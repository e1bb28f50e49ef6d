//! Answers that stay open: how they are sent, how many at once, in all and with one key, and that all of them end when
//! the process does. A worker that still has one would keep a stop waiting.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::stream;
use tokio::sync::watch;

use super::error::Problem;

/// Open streams at once. Each costs a connection, a page of events, and a read when something happens.
pub const MOST_STREAMS: usize = 64;

/// Of these with one API key, so that no key takes every place.
pub const MOST_OF_KEY: usize = 16;

/// A comment is sent after this much silence, so that proxies keep the connection and a dead one is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often a stream asks whether its key still holds.
const KEY_CHECK: Duration = Duration::from_secs(3);

/// What an answer that stays open sends.
pub(super) trait Follow {
    /// What is sent next, when there is something. `None`: the stream ends.
    async fn next(&mut self) -> Option<Bytes>;
}

/// An answer of server-sent events that stays open for as long as `follower` has something to wait for.
pub(super) fn server_sent(follower: impl Follow + 'static) -> HttpResponse {
    let body = stream::unfold(follower, |mut follower| async move {
        let chunk = follower.next().await?;
        Some((Ok::<_, Problem>(chunk), follower))
    });
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Proxies that collect an answer before they pass it on would show nothing.
        .insert_header(("X-Accel-Buffering", "no"))
        .force_close()
        .streaming(body)
}

/// The open streams of the process. Clones share them.
#[derive(Clone, Debug)]
pub struct Streams {
    open: Arc<Mutex<HashMap<i64, usize>>>,
    closed: watch::Sender<bool>,
    sent: Arc<AtomicU64>,
    pace: Pace,
    most: usize,
    most_of_one: usize,
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
    _place: Place,
}

/// Why there is no place for one more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Full {
    /// [`MOST_OF_KEY`] are open with this key.
    OfKey,
    /// [`MOST_STREAMS`] are open.
    OfAll,
}

/// One of a key's places, given back when it is dropped.
#[derive(Debug)]
struct Place {
    open: Arc<Mutex<HashMap<i64, usize>>>,
    api_key_id: i64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut own) = open.entry(self.api_key_id) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

impl Streams {
    /// Streams with another pace than usual: how much silence ends in a comment, and how often the key is
    /// looked at.
    pub fn new(heartbeat: Duration, key_check: Duration) -> Streams {
        Streams {
            open: Arc::default(),
            closed: watch::channel(false).0,
            sent: Arc::default(),
            pace: Pace { heartbeat, key_check },
            most: MOST_STREAMS,
            most_of_one: MOST_OF_KEY,
        }
    }

    /// The same with room for others than usual: so many in all, and so many of one caller.
    pub(super) fn with_room(self, most: usize, most_of_one: usize) -> Streams {
        Streams { most, most_of_one, ..self }
    }

    /// What a stream does when nothing happens.
    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// True once the process ends.
    pub(super) fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// A place for one more of this API key.
    ///
    /// # Errors
    /// How many are open already, when that is the most.
    pub(super) fn take(&self, api_key_id: i64) -> Result<Slot, Full> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(&api_key_id).is_some_and(|own| *own >= self.most_of_one) {
            return Err(Full::OfKey);
        }
        if open.values().sum::<usize>() >= self.most {
            return Err(Full::OfAll);
        }
        *open.entry(api_key_id).or_default() += 1;
        let place = Place { open: Arc::clone(&self.open), api_key_id };
        let (closed, sent) = (self.closed.subscribe(), Arc::clone(&self.sent));
        Ok(Slot { closed, sent, pace: self.pace, _place: place })
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
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
