//! What nobody else notices: the disk fills, the last backup grows old. Each is told once, and again only after
//! it was over in between; a restart changes nothing about that.

use crate::clock::Millis;
use crate::domain::event::EventType;
use crate::store::events::{self, NewEvent};
use crate::store::{self, Store, StoreError, backup, cursors};
use serde_json::{Value, json};

const HOUR: Millis = 3_600_000;
const MB: u64 = 1_000_000;

/// From when on somebody should know. 0: never.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// Megabytes that should be free on the disk of the data file.
    pub disk_free_mb: u64,
    /// Hours that the last backup may be old.
    pub backup_max_age_hours: u64,
}

/// Looks once, given the bytes free on the disk, if they could be found out.
///
/// # Errors
/// When the store can't.
pub async fn look(store: &Store, thresholds: Thresholds, free: Option<u64>) -> Result<(), StoreError> {
    let now = store.clock().now();
    let (age, told) = store
        .read(move |conn| {
            let last = backup::last_backup_at(conn)?;
            let since = last.map_or_else(|| store::created_at(conn), Ok)?;
            Ok::<_, StoreError>(((now - since) / HOUR, cursors::list(conn, "alert.")?))
        })
        .await?;
    let hours = Millis::try_from(thresholds.backup_max_age_hours).unwrap_or(Millis::MAX);
    let is_old = hours > 0 && age >= hours;
    let free_mb = free.map(|bytes| bytes / MB);
    let is_low = free_mb.is_some_and(|free| free < thresholds.disk_free_mb);
    let was_told = |kind: EventType| told.iter().any(|(name, at)| name == kind.as_str() && *at > 0);
    for (kind, is_so, data) in [
        (
            EventType::AlertDiskLow,
            is_low,
            json!({"free_mb": free_mb, "threshold_mb": thresholds.disk_free_mb}),
        ),
        (EventType::AlertBackupOld, is_old, json!({"age_hours": age, "threshold_hours": hours})),
    ] {
        if is_so != was_told(kind) {
            tell(store, kind, is_so, data).await?;
        }
    }
    Ok(())
}

async fn tell(store: &Store, kind: EventType, is_so: bool, data: Value) -> Result<(), StoreError> {
    store
        .write(move |tx| {
            if is_so {
                events::append(tx, kind, NewEvent { data: Some(data), ..NewEvent::default() })?;
            }
            cursors::set(tx, kind.as_str(), if is_so { tx.now() } else { 0 })
        })
        .await
}
