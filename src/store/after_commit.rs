//! What the writer tells the rest of the process after a commit: claims that are withdrawn, who may look again, and how
//! much was written since the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

use super::Store;
use super::effects::{Effects, Withdrawal};
use super::gaps::Gaps;
use crate::clock::Clock;

/// Called on the writer's thread after each commit that withdraws something, before anybody is answered.
type WithdrawHook = Box<dyn Fn(&[Withdrawal]) + Send + Sync>;

/// What the writer tells the rest of the process after a commit.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) inner: Arc<SharedInner>,
}

pub(super) struct SharedInner {
    withdraw: std::sync::OnceLock<WithdrawHook>,
    delivery: Notify,
    import: Notify,
    import_checks: Notify,
    campaigns: Notify,
    triggers: Notify,
    people: Notify,
    gaps: Gaps,
    plan_version: AtomicU64,
    last_event: watch::Sender<i64>,
    batches: AtomicU64,
    closures: AtomicU64,
    pub(super) reads: AtomicU64,
}

impl Shared {
    /// Nothing was committed yet.
    pub(super) fn new(clock: Clock) -> Shared {
        let gaps = Gaps::new(clock.clone());
        let inner = SharedInner {
            withdraw: std::sync::OnceLock::new(),
            delivery: Notify::new(),
            import: Notify::new(),
            import_checks: Notify::new(),
            campaigns: Notify::new(),
            triggers: Notify::new(),
            people: Notify::new(),
            gaps,
            plan_version: AtomicU64::new(0),
            last_event: watch::channel(0).0,
            batches: AtomicU64::new(0),
            closures: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        };
        Shared { clock, inner: Arc::new(inner) }
    }

    /// Tells of one batch of the writer.
    pub(super) fn committed(&self, effects: Effects, closures: usize) {
        let inner = &self.inner;
        if !effects.withdrawals.is_empty()
            && let Some(hook) = inner.withdraw.get()
        {
            tracing::trace!(withdrawals = effects.withdrawals.len(), "claims are withdrawn");
            hook(&effects.withdrawals);
        }
        if effects.changes_plan {
            inner.plan_version.fetch_add(1, Ordering::SeqCst);
            inner.campaigns.notify_one();
        }
        if effects.wakes_triggers {
            inner.triggers.notify_one();
        }
        if effects.wakes_people {
            inner.people.notify_one();
        }
        if effects.wakes_delivery || effects.changes_plan {
            inner.delivery.notify_one();
        }
        if effects.wakes_import {
            inner.import.notify_one();
            inner.import_checks.notify_one();
        }
        if effects.last_event_id > 0 {
            inner.last_event.send_replace(effects.last_event_id);
        }
        inner.batches.fetch_add(1, Ordering::Relaxed);
        inner.closures.fetch_add(closures as u64, Ordering::Relaxed);
    }
}

impl Store {
    /// Installs what is called after each commit that withdraws claimed messages, before the caller of
    /// that write is answered. The first call wins.
    pub fn on_withdraw(&self, hook: impl Fn(&[Withdrawal]) + Send + Sync + 'static) {
        let _ = self.shared.inner.withdraw.set(Box::new(hook));
    }

    /// Resolves when a commit left something to deliver.
    pub async fn delivery_woken(&self) {
        self.shared.inner.delivery.notified().await;
    }

    /// Resolves when a commit left a draft whose dry run is to be made.
    pub async fn import_checks_woken(&self) {
        self.shared.inner.import_checks.notified().await;
    }

    /// Resolves when a commit left something to import.
    pub async fn import_woken(&self) {
        self.shared.inner.import.notified().await;
    }

    /// Resolves when a campaign, sender or template changed.
    pub async fn campaigns_woken(&self) {
        self.shared.inner.campaigns.notified().await;
    }

    /// Resolves when an event named a segment, or one that did was taken back.
    pub async fn triggers_woken(&self) {
        self.shared.inner.triggers.notified().await;
    }

    /// Resolves when somebody was added whom the search does not find yet, or an action on many people began.
    pub async fn people_woken(&self) {
        self.shared.inner.people.notified().await;
    }

    /// Times in which messages from people may have been missed.
    pub fn gaps(&self) -> &Gaps {
        &self.shared.inner.gaps
    }

    /// Closes the gap that was looked through, unless another was noticed since `noted`, and lets marketing
    /// go on. Returns whether it does.
    pub fn close_gap(&self, noted: u64) -> bool {
        let is_closed = self.gaps().close(noted);
        if is_closed {
            self.shared.inner.delivery.notify_one();
        }
        is_closed
    }

    /// Follows the events: changes after each commit that wrote some, and when another process may have. The
    /// value says nothing that the file doesn't; whoever is woken looks there.
    ///
    /// What is committed becomes visible in the order of the ids: SQLite gives an id inside a write
    /// transaction, and there is one of those at a time, over all processes. So who read up to an id has
    /// missed nothing before it.
    pub fn watch_events(&self) -> watch::Receiver<i64> {
        self.shared.inner.last_event.subscribe()
    }

    /// Counts up whenever campaigns, senders, templates or settings change.
    pub fn plan_version(&self) -> u64 {
        self.shared.inner.plan_version.load(Ordering::SeqCst)
    }

    /// Tells everybody to look again, because another process may have written.
    pub fn plan_changed(&self) {
        let inner = &self.shared.inner;
        inner.plan_version.fetch_add(1, Ordering::SeqCst);
        inner.campaigns.notify_one();
        inner.delivery.notify_one();
        inner.import.notify_one();
        inner.import_checks.notify_one();
        inner.last_event.send_modify(|_| {});
    }

    /// Batches and closures committed since the start.
    pub fn commits(&self) -> (u64, u64) {
        let inner = &self.shared.inner;
        (inner.batches.load(Ordering::Relaxed), inner.closures.load(Ordering::Relaxed))
    }

    /// Snapshots that were asked for by [`Store::read`] since the start.
    pub fn reads(&self) -> u64 {
        self.shared.inner.reads.load(Ordering::Relaxed)
    }
}
