//! Freezing an audience: people become queued rows, in chunks short enough that no webhook waits for
//! them, each with the progress in the same transaction. A crash goes on where it stood.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{Audience, CampaignError};
use crate::domain::campaign::CampaignStatus;
use crate::domain::quiet_hours::Presets;
use crate::store::campaigns::{self, CampaignRow, Chunk};
use crate::store::{SharedClosings, Store, Tx};

/// Ids looked at in the first chunk; later ones follow the time that it took.
const FIRST_CHUNK: i64 = 2_000;
const LARGEST_CHUNK: i64 = 50_000;
/// What a chunk should take, in milliseconds: well under the writer's 20.
const CHUNK_MILLIS: f64 = 12.0;

/// Freezes every campaign that is launching, to the end.
///
/// # Errors
/// [`CampaignError`] when the store can't; what was frozen stays, and the next call goes on.
pub async fn freeze_all(
    store: &Store,
    presets: &Arc<Presets>,
    is_simulated: bool,
) -> Result<(), CampaignError> {
    let live = store.read(campaigns::live).await.map_err(CampaignError::Store)?;
    for campaign in live.into_iter().filter(|campaign| campaign.status == CampaignStatus::Launching) {
        let id = campaign.id;
        let closings = Arc::new(Mutex::new(campaign.plan.closings(presets)));
        match freeze(store, id, &closings, is_simulated).await {
            Err(CampaignError::Store(error)) if error.is_transient() => return Err(error.into()),
            // A defect of one campaign stops that one; the others go on.
            Err(error) => {
                let reason = error.to_string();
                store.write(move |tx| campaigns::pause(tx, id, &reason)).await?;
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

async fn freeze(
    store: &Store,
    id: i64,
    closings: &SharedClosings,
    is_simulated: bool,
) -> Result<(), CampaignError> {
    let mut chunk = FIRST_CHUNK;
    loop {
        let closings = Arc::clone(closings);
        let (is_done, millis) =
            store.write(move |tx| freeze_next(tx, id, (chunk, is_simulated), &closings)).await?;
        if is_done {
            return Ok(());
        }
        let scaled = chunk as f64 * (CHUNK_MILLIS / millis.max(0.5)).clamp(0.25, 4.0);
        chunk = (scaled as i64).clamp(200, LARGEST_CHUNK);
    }
}

/// One chunk. Returns whether the freezing is over, and how long the chunk took, in milliseconds.
fn freeze_next(
    tx: &Tx<'_>,
    id: i64,
    (ids, is_simulated): (i64, bool),
    closings: &SharedClosings,
) -> Result<(bool, f64), CampaignError> {
    let started = Instant::now();
    let Some(campaign) = campaigns::find(tx.conn(), id)? else {
        return Ok((true, 0.0));
    };
    if campaign.status != CampaignStatus::Launching {
        // Paused or cancelled meanwhile; a resume comes back here.
        return Ok((true, 0.0));
    }
    let (Some(through), Some(last)) = (campaign.frozen_through, campaign.frozen_last) else {
        return Ok((true, 0.0));
    };
    if through < last {
        let end = last.min(through + ids);
        let audience = Audience::of_frozen(campaign.definition.as_ref().unwrap_or(&serde_json::Value::Null))?;
        let predicate = audience.predicate(campaign.launched_at.unwrap_or_else(|| tx.now()));
        let chunk = Chunk {
            predicate: &predicate,
            after: through,
            through: end,
            occasion: "",
            due_at: tx.now(),
            expires_at: campaign.expires_at,
            is_simulated,
            closings,
        };
        campaigns::freeze_chunk(tx, &campaign, &chunk)?;
        if end < last {
            return Ok((false, started.elapsed().as_secs_f64() * 1_000.0));
        }
    }
    is_frozen(tx, &campaign)?;
    Ok((true, 0.0))
}

fn is_frozen(tx: &Tx<'_>, campaign: &CampaignRow) -> Result<(), CampaignError> {
    campaigns::move_to(tx, campaign.id, &[CampaignStatus::Launching], CampaignStatus::Running, None)?;
    Ok(())
}
