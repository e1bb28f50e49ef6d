//! One watcher: the parts that differ from what it has, for as long as its session holds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use tokio::sync::watch;

use super::Watchers;
use super::part::Picture;
use crate::store::operators::Role;
use crate::store::{Store, sessions};
use crate::web::streams::{Follow, Slot};

/// One open stream.
pub(super) struct Follower {
    pub(super) store: Store,
    pub(super) watchers: Watchers,
    pub(super) session: ([u8; 32], Role),
    pub(super) picture: watch::Receiver<Picture>,
    /// The change up to which each part was sent.
    pub(super) seen: HashMap<String, u64>,
    /// Frames that are sent next, the first last.
    pub(super) waiting: Vec<Bytes>,
    pub(super) slot: Slot,
    pub(super) greeted: bool,
}

impl Follow for Follower {
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            return Some(Bytes::from_static(b": parts follow\n\n"));
        }
        let (mut silence, pace) = (Duration::ZERO, self.slot.pace);
        while !self.slot.is_closed() && self.watchers.session_holds(&self.store, self.session).await {
            self.look();
            if let Some(frame) = self.waiting.pop() {
                self.slot.count(1);
                return Some(frame);
            }
            let began = Instant::now();
            let patience = pace.key_check.min(pace.heartbeat.saturating_sub(silence));
            let mut is_over = false;
            let picture = &mut self.picture;
            self.slot.wait(patience, async { is_over = picture.changed().await.is_err() }).await;
            if is_over {
                return None;
            }
            silence += began.elapsed();
            if silence >= pace.heartbeat && !self.slot.is_closed() {
                return Some(Bytes::from_static(b"event: beat\ndata: 1\n\n"));
            }
        }
        None
    }
}

impl Follower {
    /// Queues the parts that differ from what was sent.
    fn look(&mut self) {
        if !self.waiting.is_empty() {
            return;
        }
        let picture = self.picture.borrow_and_update();
        for piece in picture.pieces.iter().rev() {
            if self.seen.get(&piece.id) != Some(&piece.change) {
                self.seen.insert(piece.id.clone(), piece.change);
                self.waiting.push(piece.frame.clone());
            }
        }
    }
}

/// What was found out about sessions last.
#[derive(Debug, Default)]
pub(super) struct Checked {
    at: Option<Instant>,
    roles: HashMap<[u8; 32], Role>,
    /// Who asked since.
    asked: std::collections::HashSet<[u8; 32]>,
}

impl Watchers {
    /// Whether the session is in force and its operator has the role with which it began. One query answers for all
    /// sessions that watch, now and then; between two of them the last answer holds.
    async fn session_holds(&self, store: &Store, session: ([u8; 32], Role)) -> bool {
        let mut checked = self.sessions.lock().await;
        checked.asked.insert(session.0);
        let is_known = checked.roles.contains_key(&session.0);
        if !is_known || checked.at.is_none_or(|at| at.elapsed() >= self.streams.pace().key_check) {
            let asked: Vec<[u8; 32]> = checked.asked.drain().chain([session.0]).collect();
            let now = store.clock().now();
            let Ok(roles) = store.read(move |conn| sessions::roles(conn, &asked, now)).await else {
                return false;
            };
            checked.roles = roles;
            checked.at = Some(Instant::now());
        }
        checked.roles.get(&session.0) == Some(&session.1)
    }
}
