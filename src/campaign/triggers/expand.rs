//! The people of an event's segment become queued rows, in chunks short enough that no webhook waits for them,
//! each with the progress in the same transaction. A crash goes on where it stood. The messages of an event that
//! was taken back are swept the same way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use super::starting::deadline;
use crate::campaign::audience::parse;
use crate::campaign::clearance::count_pieces;
use crate::campaign::stride::{Step, Stride};
use crate::campaign::{Audience, CampaignError};
use crate::domain::campaign::CampaignStatus as S;
use crate::domain::event::EventType;
use crate::domain::quiet_hours::Presets;
use crate::store::campaigns::{self, CampaignRow, Chunk};
use crate::store::triggers::{self, TriggerAudience, TriggerRow};
use crate::store::{Connection, SharedClosings, Store, StoreError, Tx};

/// Audiences of one look.
const AT_ONCE: usize = 100;

/// Works off every audience of which something is left to be done, until `stop` is set. One that can't be counted
/// in time holds up no other.
///
/// # Errors
/// [`CampaignError`] when the store can't; what was done stays, and the next call goes on.
pub async fn expand_all(
    store: &Store,
    presets: &Arc<Presets>,
    is_simulated: bool,
    stop: &AtomicBool,
) -> Result<(), CampaignError> {
    let mut outcome = Ok(());
    let mut after = (0, String::new());
    loop {
        let behind = after.clone();
        let open =
            store.read(move |conn| triggers::open_audiences(conn, (behind.0, &behind.1), AT_ONCE)).await?;
        let Some(last) = open.last() else {
            return outcome;
        };
        after = (last.campaign_id, last.trigger_id.clone());
        for audience in open {
            if stop.load(Ordering::SeqCst) {
                return outcome;
            }
            match expand(store, &audience, presets, is_simulated, stop).await {
                Err(error @ CampaignError::Store(StoreError::TooSlow(_))) => {
                    outcome = outcome.and(Err(error))
                }
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
    stop: &AtomicBool,
) -> Result<(), CampaignError> {
    let key = (audience.campaign_id, audience.trigger_id.clone());
    let asked = key.clone();
    let (campaign, trigger) = store.read(move |conn| look(conn, asked.0, &asked.1)).await?;
    if let Some(excess) = excess(store, audience, &campaign, &trigger).await? {
        return refuse(store, audience.clone(), excess).await;
    }
    let closings: SharedClosings = Arc::new(Mutex::new(campaign.plan.closings(presets)));
    let mut stride = Stride::default();
    while !stop.load(Ordering::SeqCst) {
        let (key, closings) = (key.clone(), Arc::clone(&closings));
        let step = store.write(move |tx| next_chunk(tx, &key, (stride, is_simulated), &closings)).await?;
        if step.is_done {
            break;
        }
        stride = stride.after(&step);
    }
    Ok(())
}

fn look(conn: &Connection, id: i64, trigger_id: &str) -> Result<(CampaignRow, TriggerRow), CampaignError> {
    let campaign =
        campaigns::find(conn, id)?.ok_or_else(|| CampaignError::NotFound(format!("campaign {id}")))?;
    Ok((campaign, find(conn, trigger_id)?))
}

/// What to say if more people are meant than the campaign may reach at once. Asked before the first of them only.
async fn excess(
    store: &Store,
    audience: &TriggerAudience,
    campaign: &CampaignRow,
    trigger: &TriggerRow,
) -> Result<Option<String>, CampaignError> {
    let is_fresh = audience.through == 0 && !audience.is_cancelled;
    let Some(most) = campaign.plan.max_recipients.filter(|_| is_fresh) else {
        return Ok(None);
    };
    let whole = meant(campaign, trigger)?.predicate(trigger.received_at);
    let (_, people) = count_pieces(store, &whole, audience.last, most).await?;
    let text = format!("The segment has more than {most} people, which is what max_recipients allows.");
    Ok((people > most).then_some(text))
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

/// Ends an audience that can't be reached, with an event that says why. Taken back meanwhile, it is another work,
/// and its sweep is still to come.
async fn refuse(store: &Store, audience: TriggerAudience, why: String) -> Result<(), CampaignError> {
    store
        .write(move |tx| {
            if triggers::close_audience(tx, &audience)? {
                let data = json!({"id": audience.trigger_id, "reason": why});
                triggers::note(tx, EventType::TriggerRefused, None, Some(audience.campaign_id), data)?;
            }
            Ok(())
        })
        .await
}

/// One chunk.
fn next_chunk(
    tx: &Tx<'_>,
    (campaign_id, trigger_id): &(i64, String),
    (stride, is_simulated): (Stride, bool),
    closings: &SharedClosings,
) -> Result<Step, CampaignError> {
    let started = Instant::now();
    // Taken back or ended meanwhile, it is another work or none.
    let Some(audience) = triggers::open_audience(tx.conn(), *campaign_id, trigger_id)? else {
        return Ok(Step::DONE);
    };
    let through = audience.last.min(audience.through + stride.ids);
    let done = if audience.is_cancelled {
        triggers::sweep(tx, &audience, through, stride.rows)?
    } else {
        let campaign = campaigns::find(tx.conn(), *campaign_id)?
            .ok_or_else(|| CampaignError::NotFound(format!("campaign {campaign_id}")))?;
        if !matches!(campaign.status, S::Running | S::Paused) {
            triggers::close_audience(tx, &audience)?;
            return Ok(Step::DONE);
        }
        let trigger = find(tx.conn(), trigger_id)?;
        let wanted = trigger.send_at.unwrap_or(trigger.received_at);
        let chunk = Chunk {
            predicate: &meant(&campaign, &trigger)?.predicate(trigger.received_at),
            after: audience.through,
            through,
            rows: stride.rows,
            occasion: trigger_id,
            due_at: wanted.max(tx.now()),
            expires_at: deadline(&campaign, wanted),
            is_simulated,
            closings,
        };
        let added = campaigns::add_people(tx, &campaign, &chunk)?;
        triggers::advance(tx, &audience, added.through)?;
        added
    };
    let millis = started.elapsed().as_secs_f64() * 1_000.0;
    Ok(Step { is_done: done.through >= audience.last, rows: done.rows, millis })
}
