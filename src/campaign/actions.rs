//! What people do with a campaign: launch, pause, resume, cancel, retry, clone, test.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::schedule::sweep;
use super::template::check_approved;
use super::{Audience, CampaignError, Clearance};
use crate::clock::Millis;
use crate::domain::campaign::{Action, CampaignStatus as S};
use crate::domain::event::EventType;
use crate::domain::message::Kind;
use crate::domain::phone::Phone;
use crate::domain::quiet_hours::Presets;
use crate::store::campaigns::{self, CampaignRow, Freeze};
use crate::store::messages::{self, NewMessage, Retry};
use crate::store::{Connection, SharedClosings, Store, Tx, Withdrawal, hold, senders, templates, users};

pub(super) const HOUR: f64 = 3_600_000.0;
/// Numbers of one test send.
pub const MAX_TEST_PHONES: usize = 10;
/// Rows of one write while failed messages are queued again.
const RETRY_CHUNK: usize = 1_000;

/// What the configuration says about sending.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Why nothing can be sent, if so.
    pub problem: Option<String>,
    /// Nothing is really sent: Twilio is a stand-in on this machine.
    pub is_simulated: bool,
}

fn find(tx: &Tx<'_>, id: i64) -> Result<CampaignRow, CampaignError> {
    campaigns::find(tx.conn(), id)?.ok_or_else(|| CampaignError::NotFound(format!("campaign {id}")))
}

/// Starts a campaign without a look at whom its deadline would let expire, and with everybody counted here for
/// `max_recipients`. Else as [`launch_cleared`].
///
/// # Errors
/// As there.
pub fn launch(tx: &Tx<'_>, id: i64, setup: &Setup) -> Result<CampaignRow, CampaignError> {
    launch_cleared(tx, id, setup, &Clearance::default())
}

/// Starts a campaign, or lets it wait for its schedule. One that runs already is left as it is.
///
/// # Errors
/// Wrong state, `setup_incomplete`, an audience above `max_recipients`, or people who would expire.
pub fn launch_cleared(
    tx: &Tx<'_>,
    id: i64,
    setup: &Setup,
    clearance: &Clearance,
) -> Result<CampaignRow, CampaignError> {
    let campaign = find(tx, id)?;
    Action::Launch.check(campaign.status)?;
    if matches!(campaign.status, S::Launching | S::Running | S::Scheduled) {
        return Ok(campaign);
    }
    check_startable(tx.conn(), &campaign, setup)?;
    clearance.check_deadline(tx, &campaign)?;
    if campaign.plan.starts_at.is_some_and(|at| at > tx.now()) {
        // Who would be too many now will hardly be fewer then; the start counts again.
        if campaign.plan.segment_id.is_some() {
            let (audience, _) = Audience::of_plan(tx.conn(), &campaign.plan)?;
            clearance.check_size(tx, &campaign, &audience)?;
        }
        campaigns::move_to(tx, id, &[S::Draft], S::Scheduled, None)?;
        let at = campaign.plan.schedule.as_ref().map(|(at, zone)| json!({"at": at, "timezone": zone}));
        campaigns::note(tx, id, EventType::CampaignScheduled, at.unwrap_or(Value::Null))?;
    } else {
        check_not_long_past(&campaign, tx.now())?;
        begin(tx, &campaign, setup, clearance)?;
    }
    find(tx, id)
}

/// A start that lies further back than `late_hours` is a slip of the pen, or a draft that was forgotten. Where the
/// hour counts for each person, it has come for the last of them 26 hours after the first.
fn check_not_long_past(campaign: &CampaignRow, now: Millis) -> Result<(), CampaignError> {
    let plan = &campaign.plan;
    let around_the_earth = if plan.is_local_to_recipient { 26.0 } else { 0.0 };
    let latest = plan.starts_at.map(|at| at + ((plan.late_hours + around_the_earth) * HOUR) as i64);
    if latest.is_some_and(|latest| latest < now) {
        let text = format!(
            "lies further back than late_hours ({}) allows; change it, or set schedule to null to start now",
            plan.late_hours
        );
        return Err(CampaignError::invalid("schedule.at", text));
    }
    Ok(())
}

fn check_sendable(conn: &Connection, campaign: &CampaignRow, setup: &Setup) -> Result<(), CampaignError> {
    if hold::since(conn)?.is_some() {
        return Err(CampaignError::SafeHold);
    }
    if let Some(problem) = &setup.problem {
        return Err(CampaignError::SetupIncomplete(problem.clone()));
    }
    let plan = &campaign.plan;
    if senders::choose(conn, plan.channel, plan.sender.as_deref())?.is_none() {
        let problem = match &plan.sender {
            Some(address) => format!("The sender {address} is not configured for {}.", plan.channel.as_str()),
            None => {
                format!("No sender for {} is configured. Add one under [[senders]].", plan.channel.as_str())
            }
        };
        return Err(CampaignError::SetupIncomplete(problem));
    }
    if templates::find(conn, plan.template_id)?.is_none() {
        return Err(CampaignError::Conflict(format!("Template {} was deleted.", plan.template_id)));
    }
    Ok(())
}

/// The same for everybody in the audience: its Content template has to be one that WhatsApp takes. Tests go to the
/// gate without it, for they reach people who wrote first.
pub(super) fn check_startable(
    conn: &Connection,
    campaign: &CampaignRow,
    setup: &Setup,
) -> Result<(), CampaignError> {
    check_sendable(conn, campaign, setup)?;
    check_approved(conn, campaign)
}

/// Freezes what is sent and to whom; the rows follow in chunks.
pub(super) fn begin(
    tx: &Tx<'_>,
    campaign: &CampaignRow,
    setup: &Setup,
    clearance: &Clearance,
) -> Result<(), CampaignError> {
    check_startable(tx.conn(), campaign, setup)?;
    let plan = &campaign.plan;
    // The deadline of a message that an event starts counts from that event.
    let hours = plan.expires_after_hours.filter(|_| plan.trigger_type.is_none());
    let expires_at = hours.map(|hours| tx.now() + (hours * HOUR) as i64);
    let template = templates::find(tx.conn(), plan.template_id)?
        .ok_or_else(|| CampaignError::Conflict(format!("Template {} was deleted.", plan.template_id)))?;
    let definition = match plan.trigger_type {
        Some(_) => Audience::of_triggers(tx.conn(), plan)?,
        None => {
            let (audience, frozen) = Audience::of_plan(tx.conn(), plan)?;
            clearance.check_size(tx, campaign, &audience)?;
            frozen
        }
    };
    let freeze = Freeze { template_version: template.version, definition: &definition, expires_at };
    campaigns::begin_launch(tx, campaign.id, &freeze)?;
    if plan.trigger_type.is_some() {
        campaigns::move_to(tx, campaign.id, &[S::Launching], S::Running, None)?;
    }
    Ok(())
}

/// An audience above `max_recipients`, in a sentence.
pub(super) fn too_many(most: i64) -> String {
    format!(
        "The audience has more than {most} people, which is what max_recipients allows. Narrow the segment or raise the limit."
    )
}

/// Lets a campaign stand still. After this returns and is committed, no request of it begins.
///
/// # Errors
/// Wrong state.
pub fn pause(tx: &Tx<'_>, id: i64, actor: &str) -> Result<CampaignRow, CampaignError> {
    let campaign = find(tx, id)?;
    Action::Pause.check(campaign.status)?;
    let reason = format!("Paused by {actor}.");
    if campaign.status != S::Paused {
        campaigns::pause_by(tx, id, &reason)?;
    } else if campaign.launched_at.is_some() {
        // It may rest until something renews, with claims still on their way: from now on nothing begins, and
        // it does not go on by itself.
        tx.withdraw(Withdrawal::Campaign(id));
        if campaign.paused_until.is_some() {
            campaigns::move_to(tx, id, &[S::Paused], S::Paused, Some(&reason))?;
            campaigns::note(tx, id, EventType::CampaignPaused, json!({"reason": reason}))?;
        }
    }
    find(tx, id)
}

/// Lets a paused campaign go on where it stood. What stopped its sender or the account counts as mended: if
/// it is not, the first message stops them again.
///
/// # Errors
/// Wrong state, or `setup_incomplete`.
pub fn resume(tx: &Tx<'_>, id: i64, setup: &Setup, actor: &str) -> Result<CampaignRow, CampaignError> {
    let campaign = find(tx, id)?;
    Action::Resume.check(campaign.status)?;
    if campaign.status != S::Paused {
        return Ok(campaign);
    }
    check_startable(tx.conn(), &campaign, setup)?;
    senders::resume_all(tx, actor)?;
    if campaign.launched_at.is_none() {
        // It stood before its start: either the start is still to come, or somebody decided to send now.
        if campaign.plan.starts_at.is_some_and(|at| at > tx.now()) {
            campaigns::move_to(tx, id, &[S::Paused], S::Scheduled, None)?;
        } else {
            begin(tx, &campaign, setup, &Clearance::default())?;
        }
    } else {
        campaigns::go_on(tx, &campaign)?;
    }
    campaigns::note(tx, id, EventType::CampaignResumed, json!({"actor": actor}))?;
    find(tx, id)
}

/// Ends a campaign: nobody who waits gets it any more.
///
/// # Errors
/// Wrong state.
pub async fn cancel(store: &Store, id: i64, actor: String) -> Result<CampaignRow, CampaignError> {
    store
        .write(move |tx| {
            let campaign = find(tx, id)?;
            Action::Cancel.check(campaign.status)?;
            let from = [S::Scheduled, S::Launching, S::Running, S::Paused];
            if campaigns::move_to(tx, id, &from, S::Cancelled, None)? {
                campaigns::note(tx, id, EventType::CampaignCancelled, json!({"actor": actor}))?;
                tx.withdraw(Withdrawal::Campaign(id));
            }
            Ok::<_, CampaignError>(())
        })
        .await?;
    // A crash in the middle is no harm: the tick sweeps what is left.
    sweep(store, id).await?;
    store.write(move |tx| find(tx, id)).await
}

/// Queues what failed, was not delivered or came too late once more. The gate decides about each again.
///
/// # Errors
/// Wrong state.
pub async fn retry_failed(
    store: &Store,
    presets: &Arc<Presets>,
    id: i64,
    actor: String,
) -> Result<CampaignRow, CampaignError> {
    retry_some(store, presets, id, None, actor).await
}

/// The same for what failed with one of these codes of Twilio, 0 standing for none; `None`: whatever it was.
///
/// # Errors
/// Wrong state.
pub async fn retry_some(
    store: &Store,
    presets: &Arc<Presets>,
    id: i64,
    codes: Option<Vec<i64>>,
    actor: String,
) -> Result<CampaignRow, CampaignError> {
    let presets = Arc::clone(presets);
    let first = Retry { after: 0, limit: RETRY_CHUNK, codes: codes.map(Into::into) };
    let mut next = first.clone();
    let (mut after, closings) = store
        .write(move |tx| {
            let campaign = find(tx, id)?;
            let closings: SharedClosings = Arc::new(Mutex::new(campaign.plan.closings(&presets)));
            Action::RetryFailed.check(campaign.status)?;
            check_approved(tx.conn(), &campaign)?;
            // In the same write: a campaign that runs with nothing open would be finished at once.
            let (queued, last) = messages::requeue_failed(tx, id, &first, &closings)?;
            if queued > 0 {
                campaigns::move_to(tx, id, &[S::Finished], S::Running, None)?;
                campaigns::note(tx, id, EventType::CampaignRetried, json!({"actor": actor}))?;
            }
            Ok::<_, CampaignError>((last, closings))
        })
        .await?;
    while let Some(from) = after {
        let closings = Arc::clone(&closings);
        next.after = from;
        let chunk = next.clone();
        let (_, last) = store.write(move |tx| messages::requeue_failed(tx, id, &chunk, &closings)).await?;
        after = last;
    }
    store.write(move |tx| find(tx, id)).await
}

/// A new draft with the same plan, without its schedule.
///
/// # Errors
/// When there is no such campaign.
pub fn clone(tx: &Tx<'_>, id: i64) -> Result<CampaignRow, CampaignError> {
    let campaign = find(tx, id)?;
    let mut plan = campaign.plan;
    plan.name = format!("{} (copy)", plan.name);
    plan.schedule = None;
    plan.starts_at = None;
    plan.is_local_to_recipient = false;
    let copy = campaigns::insert(tx, &plan)?;
    find(tx, copy)
}

/// Sends the campaign's text to a few numbers, for real but outside its counts. Obeys `stop` and
/// suppression; consent, topic and hours don't apply to the people who write the campaign.
///
/// # Errors
/// `setup_incomplete`, or numbers that are none.
pub fn send_test(
    tx: &Tx<'_>,
    id: i64,
    phones: &[Phone],
    setup: &Setup,
    actor: &str,
) -> Result<Vec<i64>, CampaignError> {
    let campaign = find(tx, id)?;
    check_sendable(tx.conn(), &campaign, setup)?;
    let plan = &campaign.plan;
    let template = templates::find(tx.conn(), plan.template_id)?
        .ok_or_else(|| CampaignError::Conflict(format!("Template {} was deleted.", plan.template_id)))?;
    let sender = senders::choose(tx.conn(), plan.channel, plan.sender.as_deref())?
        .ok_or_else(|| CampaignError::SetupIncomplete("The sender is gone.".to_owned()))?;
    let mut sent = Vec::new();
    campaigns::note(tx, id, EventType::CampaignTested, json!({"actor": actor, "people": phones.len()}))?;
    for phone in phones {
        let user_id = users::find_or_add(tx, phone, actor)?.id;
        // A test may be repeated as often as one likes: each is an occasion of its own.
        let occasion = format!("test:{:016x}", rand::random::<u64>());
        let message = NewMessage {
            user_id,
            campaign_id: Some(id),
            occasion: &occasion,
            kind: Kind::Transactional,
            channel: plan.channel,
            lane: messages::single_lane(sender.id, Kind::Transactional),
            due_at: tx.now(),
            closes_at: None,
            expires_at: Some(tx.now() + HOUR as i64),
            sender_id: Some(sender.id),
            topic_id: None,
            template: Some((template.id, template.version)),
            variables: None,
            reference: None,
            body: None,
            media_urls: None,
            is_simulated: setup.is_simulated,
            refused: None,
        };
        sent.push(messages::insert(tx, &message)?);
    }
    Ok(sent)
}
