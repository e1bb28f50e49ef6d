//! Retention: what is over goes, class by class, in short writes with rests between them, so that no webhook waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Millis;
use crate::domain::retention::RetentionDays;
use crate::metrics::Metrics;
use crate::store::retention::{self, Class};
use crate::store::{Store, StoreError};

const DAY: Millis = 86_400_000;
/// Between two steps of some milliseconds the writer is left to others for so long.
const REST: Duration = Duration::from_millis(40);

/// Days that a class is kept; `None`: for good.
fn days(limits: &RetentionDays, class: Class) -> Option<u32> {
    let days = match class {
        Class::RawWebhooks => limits.raw_webhooks_days,
        Class::Bodies => limits.bodies_days,
        Class::TriggerData => limits.trigger_data_days,
        Class::ImportIssues => limits.import_issues_days,
        Class::ImportChanges => limits.import_changes_days,
        Class::Events => limits.events_days,
        // A day, by the contract of Idempotency-Key; see `store::idempotency`.
        Class::Answers => 1,
    };
    (days > 0).then_some(days)
}

/// Takes away whatever is older than `limits` allow, until nothing is left or `stop` is set; the next call goes on
/// where this one stood. Returns from how many rows something was taken.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub async fn retain(
    store: &Store,
    limits: &RetentionDays,
    metrics: &Metrics,
    stop: &AtomicBool,
) -> Result<u64, StoreError> {
    let mut total = 0;
    for class in Class::ALL {
        let Some(days) = days(limits, class) else {
            continue;
        };
        let before = store.clock().now() - Millis::from(days) * DAY;
        let mut removed = 0;
        for walk in class.walks() {
            removed += walk_on(store, (class, walk), before, stop).await?;
        }
        if removed > 0 {
            metrics.count_removed(class.as_str(), removed);
            tracing::info!(class = class.as_str(), rows = removed, days, "what is over was removed");
        }
        total += removed;
    }
    super::empty_log(store).await?;
    Ok(total)
}

async fn walk_on(
    store: &Store,
    (class, walk): (Class, usize),
    before: Millis,
    stop: &AtomicBool,
) -> Result<u64, StoreError> {
    let mut removed = 0;
    while !stop.load(Ordering::SeqCst) {
        let step = store.write(move |tx| retention::step(tx, class, walk, before)).await?;
        removed += step.removed;
        if step.is_done {
            break;
        }
        tokio::time::sleep(REST).await;
    }
    Ok(removed)
}
