//! The one task of a topic: it asks, and paints what it heard for each look.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::part::Part;
use super::{Look, Topic, Watchers};
use crate::store::Store;
use crate::web::admin::failure::Failure;
use crate::web::admin::page::Page;

/// Makes the parts of one look.
pub(super) type Painter = Box<dyn Fn(&Page) -> Result<Vec<Part>, Failure> + Send + Sync>;
/// An answer on its way.
pub(super) type Asking = Pin<Box<dyn Future<Output = Result<Painter, Failure>> + Send>>;

/// The task of a topic.
pub(super) struct Task {
    pub(super) watchers: Watchers,
    pub(super) topic: Topic,
    pub(super) number: u64,
    pub(super) joined: Arc<Notify>,
    pub(super) store: Store,
}

/// On every way out, a panic too, the topic goes, and with it the streams that wait for it.
impl Drop for Task {
    fn drop(&mut self) {
        let mut topics = self.watchers.live();
        if topics.get(&self.topic.key).is_some_and(|live| live.task == self.number) {
            topics.remove(&self.topic.key);
        }
    }
}

impl Task {
    /// Asks and paints until nobody looks, the process ends, or an answer can't be had.
    pub(super) async fn run(self, ask: impl Fn() -> Asking) {
        let mut newest = self.store.watch_events();
        let mut closed = self.watchers.streams.closed();
        loop {
            // Seen before the question: what is committed after it wakes the wait below.
            newest.mark_unchanged();
            self.watchers.counts.queries.fetch_add(1, Ordering::Relaxed);
            let painted = match ask().await {
                Ok(painter) => self.paint(&painter, false).map(|()| painter),
                Err(failure) => Err(failure),
            };
            let painter = match painted {
                Ok(painter) => painter,
                Err(failure) => {
                    tracing::warn!(topic = %self.topic.key, error = %failure, "a live page could not be brought up to date");
                    return;
                }
            };
            let due = tokio::time::Instant::now() + self.topic.every;
            let event = async {
                match self.topic.rest {
                    Some(rest) => {
                        tokio::time::sleep(rest).await;
                        if newest.changed().await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(event);
            loop {
                tokio::select! {
                    _ = closed.wait_for(|is_closed| *is_closed) => return,
                    () = tokio::time::sleep_until(due) => break,
                    () = &mut event => break,
                    () = self.joined.notified() => {
                        if self.paint(&painter, true).is_err() {
                            return;
                        }
                    }
                }
            }
            if self.is_alone() {
                return;
            }
        }
    }

    /// Makes the parts for each look that has watchers, or for those alone that have none yet.
    fn paint(&self, painter: &Painter, only_new: bool) -> Result<(), Failure> {
        let now = self.store.clock().now();
        let looks: Vec<(Look, Page)> = {
            let topics = self.watchers.live();
            let looks = topics.get(&self.topic.key).map(|live| &live.looks);
            let wanted = looks
                .into_iter()
                .flatten()
                .filter(|(_, seat)| seat.picture.receiver_count() > 0 && !(only_new && seat.is_painted));
            wanted.map(|(look, seat)| (look.clone(), seat.page.for_all(now))).collect()
        };
        for (look, page) in looks {
            self.watchers.counts.paints.fetch_add(1, Ordering::Relaxed);
            let parts = painter(&page)?;
            let mut topics = self.watchers.live();
            let seat = topics.get_mut(&self.topic.key).and_then(|live| live.looks.get_mut(&look));
            if let Some(seat) = seat {
                seat.is_painted = true;
                seat.picture.send_if_modified(|picture| picture.take(parts));
            }
        }
        Ok(())
    }

    /// Nobody looks any more. Told under the lock of those who come, so that none joins a task that is about to end.
    fn is_alone(&self) -> bool {
        let mut topics = self.watchers.live();
        let Some(live) = topics.get_mut(&self.topic.key) else {
            return true;
        };
        live.looks.retain(|_, seat| seat.picture.receiver_count() > 0);
        if live.looks.is_empty() {
            topics.remove(&self.topic.key);
            return true;
        }
        false
    }
}
