//! The people of an event's segment become queued rows, in chunks short enough that no webhook waits for them,
//! each with the progress in the same transaction. A crash goes on where it stood. The messages of an event that
//! was taken back are swept the same way.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use super::starting::deadline;
use crate::campaign::audience::parse;
use crate::campaign::{Audience, CampaignError, is_larger_than};
use crate::domain::campaign::CampaignStatus as S;
use crate::domain::event::EventType;
use crate::domain::quiet_hours::Presets;
use crate::store::campaigns::{self, CampaignRow, Chunk};
use crate::store::triggers::{self, TriggerAudience, TriggerRow};
use crate::store::{Connection, SharedClosings, Store, StoreError, Tx};

/// Ids looked at in the first chunk; later ones follow the time that it took.
const FIRST_CHUNK: i64 = 2_000;
const LARGEST_CHUNK: i64 = 50_000;
/// What a chunk should take, in milliseconds: well under the writer's 20.
const CHUNK_MILLIS: f64 = 12.0;
/// Audiences of one look.
const AT_ONCE: usize = 100;

/// Works off every audience of which something is left to be done.
///
/// # Errors
/// [`CampaignError`] when the store can't; what was done stays, and the next call goes on.
pub async fn expand_all(
    store: &Store,
    presets: &Arc<Presets>,
    is_simulated: bool,
) -> Result<(), CampaignError> {
    loop {
        let open = store.read(|conn| triggers::open_audiences(conn, AT_ONCE)).await?;
        if open.is_empty() {
            return Ok(());
        }
        for audience in open {
            match expand(store, &audience, presets, is_simulated).await {
                Err(CampaignError::Store(error)) if error.is_transient() => return Err(error.into()),
                // A defect of one event stops that one; the others go on.
                Err(error) => refuse(store, audience, error.to_string()).await?,
                Ok(()) => {}
            }
        }
    }
}

async fn expand(
    store: &Store,
    audience: &TriggerAudience,
    presets: &Arc<Presets>,
    is_simulated: bool,
) -> Result<(), CampaignError> {
    let key = (audience.campaign_id, audience.trigger_id.clone());
    let asked = key.clone();
    let (campaign, excess) = store.read(move |conn| look(conn, asked.0, &asked.1)).await?;
    if let Some(excess) = excess.filter(|_| audience.through == 0 && !audience.is_cancelled) {
        return refuse(store, audience.clone(), excess).await;
    }
    let closings: SharedClosings = Arc::new(Mutex::new(campaign.plan.closings(presets)));
    let mut ids = FIRST_CHUNK;
    loop {
        let (key, closings) = (key.clone(), Arc::clone(&closings));
        let (is_done, millis) =
            store.write(move |tx| next_chunk(tx, &key, (ids, is_simulated), &closings)).await?;
        if is_done {
            return Ok(());
        }
        let scaled = ids as f64 * (CHUNK_MILLIS / millis.max(0.5)).clamp(0.25, 4.0);
        ids = (scaled as i64).clamp(200, LARGEST_CHUNK);
    }
}

/// The campaign, and what to say if more people are meant than it may reach at once.
fn look(
    conn: &Connection,
    id: i64,
    trigger_id: &str,
) -> Result<(CampaignRow, Option<String>), CampaignError> {
    let campaign =
        campaigns::find(conn, id)?.ok_or_else(|| CampaignError::NotFound(format!("campaign {id}")))?;
    let trigger = find(conn, trigger_id)?;
    let Some(most) = campaign.plan.max_recipients else {
        return Ok((campaign, None));
    };
    let is_larger = is_larger_than(conn, &meant(&campaign, &trigger)?, most, trigger.received_at)?;
    let excess = format!("The segment has more than {most} people, which is what max_recipients allows.");
    Ok((campaign, is_larger.then_some(excess)))
}

fn find(conn: &Connection, trigger_id: &str) -> Result<TriggerRow, CampaignError> {
    triggers::find(conn, trigger_id)?
        .ok_or_else(|| CampaignError::Store(StoreError::Internal(format!("the event {trigger_id} is gone"))))
}

/// The event's segment without those whom the campaign leaves out.
fn meant(campaign: &CampaignRow, trigger: &TriggerRow) -> Result<Audience, CampaignError> {
    let include = parse(trigger.segment.as_ref().unwrap_or(&Value::Null))?;
    Audience::within(include, campaign.definition.as_ref().unwrap_or(&Value::Null))
}

/// Ends an audience that can't be reached, with an event that says why.
async fn refuse(store: &Store, audience: TriggerAudience, why: String) -> Result<(), CampaignError> {
    store
        .write(move |tx| {
            let data = json!({"id": audience.trigger_id, "reason": why});
            triggers::note(tx, EventType::TriggerRefused, None, Some(audience.campaign_id), data)?;
            Ok(triggers::close_audience(tx, &audience)?)
        })
        .await
}

/// One chunk. Returns whether nothing is left, and how long the chunk took, in milliseconds.
fn next_chunk(
    tx: &Tx<'_>,
    (campaign_id, trigger_id): &(i64, String),
    (ids, is_simulated): (i64, bool),
    closings: &SharedClosings,
) -> Result<(bool, f64), CampaignError> {
    let started = Instant::now();
    // Taken back or ended meanwhile, it is another work or none.
    let Some(audience) = triggers::open_audience(tx.conn(), *campaign_id, trigger_id)? else {
        return Ok((true, 0.0));
    };
    let through = audience.last.min(audience.through + ids);
    if audience.is_cancelled {
        triggers::sweep(tx, &audience, through)?;
    } else {
        let campaign = campaigns::find(tx.conn(), *campaign_id)?
            .ok_or_else(|| CampaignError::NotFound(format!("campaign {campaign_id}")))?;
        if !matches!(campaign.status, S::Running | S::Paused) {
            triggers::close_audience(tx, &audience)?;
            return Ok((true, 0.0));
        }
        let trigger = find(tx.conn(), trigger_id)?;
        let wanted = trigger.send_at.unwrap_or(trigger.received_at);
        let chunk = Chunk {
            predicate: &meant(&campaign, &trigger)?.predicate(trigger.received_at),
            after: audience.through,
            through,
            occasion: trigger_id,
            due_at: wanted.max(tx.now()),
            expires_at: deadline(&campaign, wanted),
            is_simulated,
            closings,
        };
        campaigns::add_people(tx, &campaign, &chunk)?;
        triggers::advance(tx, &audience, through)?;
    }
    Ok((through >= audience.last, started.elapsed().as_secs_f64() * 1_000.0))
}
