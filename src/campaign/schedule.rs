//! The calendar of campaigns: begin what is due, decide about what was missed, end what is done.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::json;

use super::actions::begin;
use super::clearance::clear_start;
use super::template::check_approved;
use super::{CampaignError, Clearance, Setup};
use crate::clock::Millis;
use crate::domain::campaign::CampaignStatus as S;
use crate::domain::event::EventType;
use crate::store::campaigns::{self, CampaignRow};
use crate::store::{Store, StoreError, Tx, hold, messages, senders};

/// A start this much late is on time: the loop looks every second, and a restart takes a while.
const ON_TIME: Millis = 300_000;
const HOUR: f64 = 3_600_000.0;
/// Rows that a cancelled campaign gives up in one write.
const SWEEP: usize = 2_000;

/// The instant of a schedule. With `is_local`, the civil time comes first where the day begins (UTC+14).
///
/// # Errors
/// Says which part can't be read.
pub fn resolve_start(at: &str, zone: &str, is_local: bool) -> Result<Millis, CampaignError> {
    let civil: DateTime = at.parse().map_err(|_| {
        CampaignError::invalid("schedule.at", format!("{at:?} is no local time such as 2026-12-01T09:00:00"))
    })?;
    let named = TimeZone::get(zone).map_err(|_| {
        CampaignError::invalid("schedule.timezone", format!("{zone:?} is no time zone such as Asia/Colombo"))
    })?;
    let zone = if is_local { TimeZone::fixed(jiff::tz::offset(14)) } else { named };
    let instant = civil
        .to_zoned(zone)
        .map_err(|_| CampaignError::invalid("schedule.at", format!("{at:?} is outside the calendar")))?;
    Ok(instant.timestamp().as_millisecond())
}

/// Looks once at every live campaign: begins, decides, sweeps, finishes.
///
/// # Errors
/// [`CampaignError`] when the store can't; the next tick tries again.
pub async fn tick(store: &Store, setup: &Setup) -> Result<(), CampaignError> {
    let (live, left_over, is_held) = store
        .read(|conn| {
            Ok::<_, CampaignError>((
                campaigns::live(conn)?,
                campaigns::cancelled_with_messages(conn)?,
                hold::since(conn)?.is_some(),
            ))
        })
        .await?;
    let mut outcome = Ok(());
    // In safe hold no start comes about and no rest ends: who got it after the copy was made is not known here.
    let waits = |campaign: &CampaignRow| matches!(campaign.status, S::Scheduled | S::Paused);
    for campaign in live.into_iter().filter(|campaign| !is_held || !waits(campaign)) {
        let id = campaign.id;
        match look_after(store, setup, campaign).await {
            // Its own audience is what takes so long: the others need not wait for it.
            Err(error @ CampaignError::Store(StoreError::TooSlow(_))) => outcome = outcome.and(Err(error)),
            Err(CampaignError::Store(error)) if error.is_transient() => return Err(error.into()),
            // A defect of one campaign stops that one; the others go on.
            Err(error) => {
                let reason = error.to_string();
                store.write(move |tx| campaigns::pause(tx, id, &reason)).await?;
            }
            Ok(()) => {}
        }
    }
    for id in left_over {
        sweep(store, id).await?;
    }
    outcome
}

async fn look_after(store: &Store, setup: &Setup, campaign: CampaignRow) -> Result<(), CampaignError> {
    let (id, now) = (campaign.id, store.clock().now());
    match campaign.status {
        S::Scheduled if campaign.plan.starts_at.is_none_or(|at| at <= now) => {
            let setup = setup.clone();
            let clearance = match clear_start(store, id).await {
                Err(CampaignError::Store(error)) if error.is_transient() => return Err(error.into()),
                // What is wrong shows up again at the start, which says so on the campaign.
                found => found.unwrap_or_default(),
            };
            store.write(move |tx| start(tx, id, &setup, &clearance)).await
        }
        S::Paused if campaign.paused_until.is_some_and(|at| at <= now) => {
            store.write(move |tx| end_rest(tx, id)).await
        }
        S::Launching | S::Running => {
            let plan = &campaign.plan;
            let (channel, wanted) = (plan.channel, plan.sender.clone());
            let is_triggered = plan.trigger_type.is_some();
            store
                .write(move |tx| {
                    if senders::choose(tx.conn(), channel, wanted.as_deref())?.is_none() {
                        let sender = wanted.unwrap_or_else(|| format!("for {}", channel.as_str()));
                        let reason = format!(
                            "The sender {sender} is not configured any more. Configure it, then resume."
                        );
                        return Ok(campaigns::pause(tx, id, &reason)?);
                    }
                    if is_triggered { Ok(()) } else { finish_if_done(tx, id) }
                })
                .await
        }
        _ => Ok(()),
    }
}

/// Cancels what still waits of a cancelled campaign.
pub(super) async fn sweep(store: &Store, id: i64) -> Result<(), CampaignError> {
    loop {
        let swept = store.write(move |tx| messages::cancel_of_campaign(tx, id, SWEEP)).await?;
        if swept < SWEEP {
            return Ok(());
        }
    }
}

fn start(tx: &Tx<'_>, id: i64, setup: &Setup, clearance: &Clearance) -> Result<(), CampaignError> {
    let Some(campaign) = campaigns::find(tx.conn(), id)? else {
        return Ok(());
    };
    let late = tx.now() - campaign.plan.starts_at.unwrap_or_else(|| tx.now());
    if campaign.status != S::Scheduled || late < 0 {
        return Ok(());
    }
    let verdict = if late <= ON_TIME { "send" } else { missed(&campaign, late) };
    if late > ON_TIME {
        let data =
            json!({"policy": campaign.plan.if_missed, "decision": verdict, "late_seconds": late / 1_000});
        campaigns::note(tx, id, EventType::CampaignMissed, data)?;
    }
    match verdict {
        "send" => match begin(tx, &campaign, setup, clearance) {
            Ok(()) => Ok(()),
            Err(CampaignError::Store(error)) => Err(error.into()),
            // What speaks against it is told on the campaign, and the others go on.
            Err(refusal) => Ok(campaigns::pause(tx, id, &refusal.to_string())?),
        },
        "skip" => {
            campaigns::move_to(tx, id, &[S::Scheduled], S::Cancelled, None)?;
            campaigns::note(tx, id, EventType::CampaignCancelled, json!({"reason": "schedule_missed"}))?;
            Ok(())
        }
        _ => {
            let reason = format!(
                "The start was missed by {:.1} hours. Resume to send now, or cancel.",
                late as f64 / HOUR
            );
            Ok(campaigns::pause(tx, id, &reason)?)
        }
    }
}

/// What a campaign rested for is there again. Its template may have been paused meanwhile: whoever is sent to then
/// is skipped for good, so it waits for somebody instead.
fn end_rest(tx: &Tx<'_>, id: i64) -> Result<(), CampaignError> {
    let Some(campaign) = campaigns::find(tx.conn(), id)? else {
        return Ok(());
    };
    if campaign.status != S::Paused || campaign.paused_until.is_none_or(|at| at > tx.now()) {
        return Ok(());
    }
    match check_approved(tx.conn(), &campaign) {
        Ok(()) => {}
        Err(CampaignError::TemplateNotApproved(refusal)) => {
            return Ok(campaigns::stay_paused(tx, id, &format!("{refusal} Then resume."))?);
        }
        Err(error) => return Err(error),
    }
    if campaigns::go_on(tx, &campaign)? {
        campaigns::note(tx, id, EventType::CampaignResumed, json!({"actor": "calendar"}))?;
    }
    Ok(())
}

/// What the campaign's policy says about a start that was missed.
fn missed(campaign: &CampaignRow, late: Millis) -> &'static str {
    match campaign.plan.if_missed.as_str() {
        "send" if late as f64 <= campaign.plan.late_hours * HOUR => "send",
        "skip" => "skip",
        _ => "ask",
    }
}

/// Ends a campaign that has nobody left.
fn finish_if_done(tx: &Tx<'_>, id: i64) -> Result<(), CampaignError> {
    if messages::has_open(tx.conn(), id)? {
        return Ok(());
    }
    campaigns::finish(tx, id)?;
    Ok(())
}
