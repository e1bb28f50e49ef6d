//! What one event starts of one campaign, for one person: judged by the same gate, sent through the same rows.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Desk, Made, Trigger};
use crate::campaign::audience::parse;
use crate::campaign::{Audience, CampaignError};
use crate::clock::Millis;
use crate::domain::gate::{Facts, Reason, Verdict, gate};
use crate::domain::message::Status;
use crate::domain::plan::{Plan, TopicRule};
use crate::domain::quiet_hours::Decision;
use crate::store::campaigns::{self, CampaignRow};
use crate::store::circumstances::{self, Asked};
use crate::store::messages::{self, NewMessage};
use crate::store::segment_sql::Predicate;
use crate::store::{StoreError, Tx, templates, topics, users};

const HOUR: f64 = 3_600_000.0;

/// A campaign that waits for events, ready to be started.
pub(super) struct Started {
    pub(super) row: CampaignRow,
    plan: Plan,
    /// Who is not left out; `None`: nobody is.
    included: Option<Predicate>,
}

/// The campaigns that events of this type start.
pub(super) fn started_by(tx: &Tx<'_>, kind: &str) -> Result<Vec<Started>, CampaignError> {
    let rows = campaigns::started_by(tx.conn(), kind)?;
    rows.into_iter().map(|row| Started::of(tx, row)).collect()
}

/// The deadline of what an event starts: the campaign's hours, from the moment that was wanted.
pub(super) fn deadline(campaign: &CampaignRow, wanted: Millis) -> Option<Millis> {
    campaign.plan.expires_after_hours.map(|hours| wanted.saturating_add((hours * HOUR) as i64))
}

impl Started {
    fn of(tx: &Tx<'_>, row: CampaignRow) -> Result<Started, CampaignError> {
        let conn = tx.conn();
        let topic = match row.plan.topic_id {
            Some(id) => topics::list(conn)?.into_iter().find(|topic| topic.id == id),
            None => None,
        };
        let version = row.template_version.unwrap_or_default();
        let template = templates::find_version(conn, row.plan.template_id, version)?
            .ok_or_else(|| StoreError::Internal(format!("the text of campaign {} is gone", row.id)))?;
        let plan = Plan {
            kind: row.plan.kind,
            channel: row.plan.channel,
            topic: topic.map(|topic| TopicRule { is_open_to_opted_in: topic.is_open_to_opted_in }),
            text: Arc::new(template.text.parse()?),
            policy: row.plan.policy(),
            zone: row.plan.zone(),
            local_start: row.plan.local_start(),
        };
        let audience =
            Audience::within(parse(&json!({"all": []}))?, row.definition.as_ref().unwrap_or(&Value::Null))?;
        let included = (!audience.excludes_nobody()).then(|| audience.predicate(tx.now()));
        Ok(Started { row, plan, included })
    }

    /// Queues the message to this person, or keeps it as refused; `None` when the campaign leaves them out. What
    /// goes out at once is judged at once, so that the caller learns of a refusal; what is for later, or for a
    /// campaign that stands still, is judged then, because much may change until then.
    pub(super) fn start(
        &self,
        tx: &Tx<'_>,
        event: &Trigger,
        user_id: i64,
        desk: &Desk<'_>,
    ) -> Result<Option<Made>, CampaignError> {
        if let Some(included) = &self.included
            && !users::satisfies(tx.conn(), user_id, included)?
        {
            return Ok(None);
        }
        let campaign = &self.row;
        let person = messages::person(tx.conn(), user_id, campaign.plan.topic_id)?
            .ok_or_else(|| StoreError::Internal(format!("person {user_id} is gone")))?;
        let wanted = event.send_at.unwrap_or_else(|| tx.now());
        let due_at = wanted.max(tx.now());
        let expires_at = deadline(campaign, wanted);
        let asked = Asked {
            user_id,
            message_id: None,
            person: &person,
            plan: &self.plan,
            variables: None,
            expires_at,
        };
        let mut found = circumstances::load(tx.conn(), &asked, &desk.bounds, due_at)?;
        found.circumstances.variables = event.data.clone();
        let presets = &desk.intake.rules.presets;
        let (facts, _) = self.plan.judge(&person, &found.circumstances, presets, due_at);
        let goes_out_now = due_at <= tx.now() && campaign.status.is_sending();
        let refused = if goes_out_now { refusal(&facts, due_at) } else { None };
        let new = NewMessage {
            user_id,
            campaign_id: Some(campaign.id),
            occasion: &event.id,
            kind: campaign.plan.kind,
            channel: campaign.plan.channel,
            lane: campaign.id,
            due_at,
            closes_at: closing(&facts),
            expires_at,
            sender_id: None,
            topic_id: campaign.plan.topic_id,
            template: campaign.template_version.map(|version| (campaign.plan.template_id, version)),
            variables: None,
            reference: None,
            body: None,
            media_urls: None,
            is_simulated: desk.intake.is_simulated,
            refused,
        };
        let id = messages::insert(tx, &new)?;
        let (status, reason) = refused.unzip();
        Ok(Some(Made {
            id,
            campaign_id: campaign.id,
            status: status.unwrap_or(Status::Queued),
            reason: reason.map(|reason| reason.as_str().to_owned()),
        }))
    }
}

fn refusal(facts: &Facts, now: Millis) -> Option<(Status, Reason)> {
    match gate(facts, now) {
        Verdict::Skip(reason) => Some((Status::Skipped, reason)),
        Verdict::Expire(reason) => Some((Status::Expired, reason)),
        Verdict::Send { .. } | Verdict::Defer { .. } => None,
    }
}

/// The end of the window in which the person can be reached first.
fn closing(facts: &Facts) -> Option<Millis> {
    match facts.hours {
        Some(Decision::Open { closes_at } | Decision::Wait { closes_at, .. }) => Some(closes_at),
        Some(Decision::ZoneTooWide) | None => None,
    }
}
