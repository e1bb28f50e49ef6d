//! Freezing an audience: people become queued rows, in chunks short enough that no webhook waits for
//! them, each with the progress in the same transaction. A crash goes on where it stood.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::stride::{Step, Stride};
use super::{Audience, CampaignError};
use crate::domain::campaign::CampaignStatus;
use crate::domain::quiet_hours::Presets;
use crate::store::campaigns::{self, CampaignRow, Chunk};
use crate::store::{SharedClosings, Store, Tx};

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
    let mut stride = Stride::default();
    loop {
        let closings = Arc::clone(closings);
        let step = store.write(move |tx| freeze_next(tx, id, (stride, is_simulated), &closings)).await?;
        if step.is_done {
            return Ok(());
        }
        stride = stride.after(&step);
    }
}

/// One chunk.
fn freeze_next(
    tx: &Tx<'_>,
    id: i64,
    (stride, is_simulated): (Stride, bool),
    closings: &SharedClosings,
) -> Result<Step, CampaignError> {
    let started = Instant::now();
    let Some(campaign) = campaigns::find(tx.conn(), id)? else {
        return Ok(Step::DONE);
    };
    if campaign.status != CampaignStatus::Launching {
        // Paused or cancelled meanwhile; a resume comes back here.
        return Ok(Step::DONE);
    }
    let (Some(through), Some(last)) = (campaign.frozen_through, campaign.frozen_last) else {
        return Ok(Step::DONE);
    };
    if through < last {
        let end = last.min(through + stride.ids);
        let audience = Audience::of_frozen(campaign.definition.as_ref().unwrap_or(&serde_json::Value::Null))?;
        let predicate = audience.predicate(campaign.launched_at.unwrap_or_else(|| tx.now()));
        let chunk = Chunk {
            predicate: &predicate,
            after: through,
            through: end,
            rows: stride.rows,
            occasion: "",
            due_at: tx.now(),
            expires_at: campaign.expires_at,
            is_simulated,
            closings,
        };
        let added = campaigns::freeze_chunk(tx, &campaign, &chunk)?;
        if added.through < last {
            let millis = started.elapsed().as_secs_f64() * 1_000.0;
            return Ok(Step { is_done: false, rows: added.rows, millis });
        }
    }
    is_frozen(tx, &campaign)?;
    Ok(Step::DONE)
}

fn is_frozen(tx: &Tx<'_>, campaign: &CampaignRow) -> Result<(), CampaignError> {
    campaigns::move_to(tx, campaign.id, &[CampaignStatus::Launching], CampaignStatus::Running, None)?;
    Ok(())
}
