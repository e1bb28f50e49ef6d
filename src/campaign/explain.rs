//! Why one person would get a message, or not: every step of the gate with its verdict, by the same facts as at
//! the sending.

use jiff::Timestamp;

use super::before::{Before, House, bounds_of};
use super::{Audience, CampaignError};
use crate::clock::Millis;
use crate::domain::campaign::CampaignStatus;
use crate::domain::gate::{Content, Facts, Step, Verdict, check, gate};
use crate::domain::message::Kind;
use crate::domain::phone::Channel;
use crate::domain::plan::{Person, Plan, Rendered, Text};
use crate::domain::quiet_hours::{Policy, Zones};
use crate::domain::timezone::Zone;
use crate::store::audience::{self, Band, Place};
use crate::store::circumstances::{self, Asked, Bounds};
use crate::store::{Connection, messages, segments, senders};

/// What a person is asked about.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// A campaign: at its start if that is to come, else now.
    Campaign(i64),
    /// A plain message, now.
    Plain(Channel, Kind),
}

/// How somebody stands to a campaign's audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is no audience: a plain message, or a campaign that is started by triggers.
    NoAudience,
    /// In it.
    In,
    /// The segment does not have them.
    NotInSegment,
    /// Taken out by this exclude segment; the name is empty if it is gone.
    Excluded(i64, String),
    /// Added after the audience was frozen.
    CameLater,
}

/// Whose clocks count for somebody, and what they show.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// `person`, `prefix`, `campaign`, or `too_wide`.
    pub by: &'static str,
    /// Names of the zones with the time there.
    pub zones: Vec<(String, String)>,
}

/// A sender and its limit on people a day.
#[derive(Clone, Debug)]
pub struct SenderSaid {
    /// The wire address.
    pub address: String,
    /// People a day, how many of them it has written to, and when the next place becomes free.
    pub daily: Option<(i64, i64, Millis)>,
    /// The message would take none of the places.
    pub is_free: bool,
}

/// What the gate says to one person.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The campaign and where it stands.
    pub campaign: Option<(i64, CampaignStatus)>,
    /// Over which channel.
    pub channel: Channel,
    /// Why it is sent.
    pub kind: Kind,
    /// The moment that was asked about.
    pub at: Millis,
    /// The deadline.
    pub expires_at: Option<Millis>,
    /// How they stand to the audience.
    pub standing: Standing,
    /// Every step by itself.
    pub steps: Vec<(Step, Verdict)>,
    /// What all of them come to.
    pub verdict: Verdict,
    /// Variables without value or fallback.
    pub missing: Vec<String>,
    /// What would go out.
    pub rendered: Option<Rendered>,
    /// Their clocks.
    pub clocks: Clocks,
    /// `None` where no sender fits.
    pub sender: Option<SenderSaid>,
    /// Their message of this campaign, if there is one.
    pub message: Option<Place>,
}

/// The question, with all that is the same for everybody.
struct Asking {
    campaign: Option<Before>,
    plan: std::sync::Arc<Plan>,
    at: Millis,
    expires_at: Option<Millis>,
    bounds: Bounds,
    sender: Option<String>,
}

/// Judges one person.
///
/// # Errors
/// Not found, or the store can't.
pub fn explain(
    conn: &Connection,
    house: &House,
    user_id: i64,
    question: Question,
    now: Millis,
) -> Result<Explanation, CampaignError> {
    let asking = Asking::read(conn, house, question, now)?;
    let Asking { campaign, plan, at, expires_at, bounds, .. } = &asking;
    let topic_id = campaign.as_ref().and_then(|before| before.campaign.plan.topic_id);
    let person = messages::person(conn, user_id, topic_id)?
        .ok_or_else(|| CampaignError::NotFound(format!("person {user_id}")))?;
    let (standing, message) = match campaign {
        Some(before) => {
            (standing(conn, before, user_id)?, audience::place_of(conn, before.campaign.id, user_id)?)
        }
        None => (Standing::NoAudience, None),
    };
    let asked = Asked {
        user_id,
        message_id: message.as_ref().map(|place| place.message_id),
        person: &person,
        plan,
        variables: None,
        expires_at: *expires_at,
    };
    let found = circumstances::load(conn, &asked, bounds, *at)?;
    let (facts, rendered) = plan.judge(&person, &found.circumstances, &house.rules.presets, *at);
    let daily = bounds.daily.map(|daily| (daily.most, daily.written, daily.renews_at));
    Ok(Explanation {
        campaign: campaign.as_ref().map(|before| (before.campaign.id, before.campaign.status)),
        channel: plan.channel,
        kind: plan.kind,
        at: *at,
        expires_at: *expires_at,
        standing,
        steps: Step::ALL.iter().map(|step| (*step, alone(*step, &facts, *at))).collect(),
        verdict: gate(&facts, *at),
        missing: match facts.content {
            Content::Missing(names) => names,
            _ => Vec::new(),
        },
        rendered,
        clocks: clocks(plan, house, &person, *at),
        sender: asking.sender.map(|address| SenderSaid { address, daily, is_free: found.is_free }),
        message,
    })
}

impl Asking {
    fn read(
        conn: &Connection,
        house: &House,
        question: Question,
        now: Millis,
    ) -> Result<Asking, CampaignError> {
        let (channel, kind) = match question {
            Question::Campaign(id) => {
                let before = Before::read(conn, id, house, now)?;
                return Ok(Asking {
                    plan: std::sync::Arc::clone(&before.plan),
                    at: before.at,
                    expires_at: before.expires_at,
                    bounds: before.bounds.clone(),
                    sender: before.sender.as_ref().map(|(row, _)| row.address.clone()),
                    campaign: Some(before),
                });
            }
            Question::Plain(channel, kind) => (channel, kind),
        };
        let sender = senders::choose(conn, channel, None)?.map(|row| {
            let limit = house.limits.senders.get(&row.address).copied();
            (row, limit)
        });
        let bounds = bounds_of(conn, &house.rules, sender.as_ref(), now)?;
        // The words say nothing about the person: any that can go out will do.
        let text = Text::Literal { body: "…".to_owned(), media_urls: Vec::new() };
        let plan = Plan {
            kind,
            channel,
            topic: None,
            text: std::sync::Arc::new(text),
            policy: Policy::House,
            zone: None,
            local_start: None,
        };
        Ok(Asking {
            campaign: None,
            plan: std::sync::Arc::new(plan),
            at: now,
            expires_at: None,
            bounds,
            sender: sender.map(|(row, _)| row.address),
        })
    }
}

/// What a step says by itself, with the deadline in view as the gate has it.
fn alone(step: Step, facts: &Facts, at: Millis) -> Verdict {
    match check(step, facts, at) {
        Verdict::Defer { until, reason, .. } if facts.expires_at.is_some_and(|end| until >= end) => {
            Verdict::Expire(reason)
        }
        verdict => verdict,
    }
}

fn standing(conn: &Connection, before: &Before, user_id: i64) -> Result<Standing, CampaignError> {
    if before.campaign.launched_at.is_some() && user_id > before.last_id {
        return Ok(Standing::CameLater);
    }
    let is_triggered = before.campaign.plan.trigger_type.is_some();
    // As the freezing saw it; an event looks when it comes.
    let seen_at = before.campaign.launched_at.filter(|_| !is_triggered).unwrap_or(before.at);
    let (include, exclude) = Audience::predicates(&before.audience, seen_at);
    let band = Band {
        include: &include,
        exclude: &exclude,
        topic_id: before.campaign.plan.topic_id,
        after: user_id - 1,
        through: user_id,
    };
    let mut standing = Standing::NotInSegment;
    audience::visit(conn, &band, |member| {
        standing = match member.excluded_by {
            None if is_triggered => Standing::NoAudience,
            None => Standing::In,
            Some(at) => {
                let id = before.campaign.plan.exclude_segment_ids.get(at).copied().unwrap_or_default();
                let name = segments::find(conn, id)?.map(|segment| segment.name).unwrap_or_default();
                Standing::Excluded(id, name)
            }
        };
        Ok::<_, CampaignError>(true)
    })?;
    Ok(standing)
}

fn clocks(plan: &Plan, house: &House, person: &Person, at: Millis) -> Clocks {
    let zones = plan.timing(&house.rules.presets).zones_of(&person.whereabouts(), at);
    let (by, zones) = match zones {
        Zones::Person(tz) => ("person", vec![Zone { tz }]),
        Zones::Campaign(tz) => ("campaign", vec![Zone { tz }]),
        Zones::Prefix(zones) => ("prefix", zones.to_vec()),
        Zones::TooWide(zones) => ("too_wide", zones.to_vec()),
    };
    let shown = zones.iter().filter_map(|zone| {
        let local = Timestamp::from_millisecond(at).ok()?.to_zoned(zone.tz.clone());
        Some((zone.name().to_owned(), local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()))
    });
    Clocks { by, zones: shown.collect() }
}
