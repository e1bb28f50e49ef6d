//! What a campaign would begin with, or goes by since it began: everything that is the same for all of its
//! people. The audience before launch and the explanation of one person stand on it.

use std::sync::Arc;

use serde_json::json;

use super::actions::{HOUR, Setup};
use super::{Audience, CampaignError};
use crate::clock::Millis;
use crate::domain::forecast::{Limits, SenderLimit};
use crate::domain::plan::Plan;
use crate::domain::rules::Rules;
use crate::domain::segment::Definition;
use crate::store::campaigns::{self, CampaignRow};
use crate::store::circumstances::Bounds;
use crate::store::senders::{self, SenderRow};
use crate::store::{Connection, audience};

/// What the configuration says about sending.
#[derive(Clone, Debug)]
pub struct House {
    /// The rules for every message.
    pub rules: Arc<Rules>,
    /// How fast and to how many.
    pub limits: Arc<Limits>,
    /// Whether anything can be sent.
    pub setup: Setup,
}

/// A campaign at the moment at which its people are judged.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub(super) campaign: CampaignRow,
    pub(super) plan: Arc<Plan>,
    /// For a campaign that events start, everybody but whom it leaves out; each event brings its own people.
    pub(super) audience: Audience,
    /// When its people are judged: at its start if that is to come, else now.
    pub(super) at: Millis,
    pub(super) expires_at: Option<Millis>,
    /// `None` where no sender fits.
    pub(super) sender: Option<(SenderRow, Option<SenderLimit>)>,
    pub(super) bounds: Bounds,
    /// The people of this moment have ids up to this one.
    pub(super) last_id: i64,
}

impl Before {
    pub(super) fn read(
        conn: &Connection,
        id: i64,
        house: &House,
        now: Millis,
    ) -> Result<Before, CampaignError> {
        let campaign =
            campaigns::find(conn, id)?.ok_or_else(|| CampaignError::NotFound(format!("campaign {id}")))?;
        let gone = || CampaignError::Conflict(format!("Template {} was deleted.", campaign.plan.template_id));
        let plan = Arc::new(campaigns::ready_plan(conn, &campaign)?.ok_or_else(gone)?);
        let audience = match (&campaign.plan.trigger_type, &campaign.definition) {
            (Some(_), Some(frozen)) if campaign.launched_at.is_some() => {
                Audience::within(everybody(), frozen)?
            }
            (Some(_), _) => Audience::within(everybody(), &Audience::of_triggers(conn, &campaign.plan)?)?,
            (None, Some(frozen)) if campaign.launched_at.is_some() => Audience::of_frozen(frozen)?,
            (None, _) => Audience::of_plan(conn, &campaign.plan)?.0,
        };
        let at = match campaign.launched_at {
            Some(_) => now,
            None => campaign.plan.starts_at.map_or(now, |start| start.max(now)),
        };
        let expires_at = match campaign.launched_at {
            // The deadline of a message that an event starts counts from that event.
            Some(_) if campaign.plan.trigger_type.is_none() => campaign.expires_at,
            _ => campaign.plan.expires_after_hours.map(|hours| at + (hours * HOUR) as i64),
        };
        let chosen = senders::choose(conn, campaign.plan.channel, campaign.plan.sender.as_deref())?;
        let sender = chosen.map(|row| {
            let limit = house.limits.senders.get(&row.address).copied();
            (row, limit)
        });
        let bounds = bounds_of(conn, &house.rules, sender.as_ref(), at)?;
        let last_id = match campaign.launched_at {
            Some(_) if campaign.plan.trigger_type.is_none() => campaign.frozen_last.unwrap_or(0),
            _ => audience::last_id(conn)?,
        };
        Ok(Before { campaign, plan, audience, at, expires_at, sender, bounds, last_id })
    }
}

/// The segment that has everybody.
fn everybody() -> Definition {
    Definition::parse(&json!({"all": []})).expect("the empty group is a definition")
}

/// What bounds a sender at `at`.
pub(super) fn bounds_of(
    conn: &Connection,
    rules: &Rules,
    sender: Option<&(SenderRow, Option<SenderLimit>)>,
    at: Millis,
) -> Result<Bounds, CampaignError> {
    let sender = sender.map(|(row, limit)| (row.id, limit.and_then(|limit| limit.recipients_per_day)));
    Ok(Bounds::read(conn, rules, sender, at)?)
}
