//! Lanes: the queues that there are now, each with what it needs to be worked: plan, sender, limits.

use std::collections::HashMap;
use std::sync::Arc;

use crate::store::Connection;

use super::limiter::Limiter;
use super::reconcile::UncertainRules;
use crate::clock::{Clock, Millis};
use crate::domain::message::Kind;
use crate::domain::plan::Plan;
use crate::domain::rules::Rules;
use crate::metrics::Pace;
use crate::store::campaigns::{self, CampaignRow};
use crate::store::senders::{self, SenderRow};
use crate::store::{StoreError, messages};

/// What one sender may do.
#[derive(Clone, Copy, Debug)]
pub struct SenderLimits {
    /// Parts a second.
    pub rate_per_second: f64,
    /// People a day.
    pub recipients_per_day: Option<i64>,
}

/// What the configuration says about delivery.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Parts a second over all senders.
    pub account_rate_per_second: f64,
    /// Requests at the same time.
    pub max_in_flight: usize,
    /// Hand-overs of one message.
    pub max_attempts: u32,
    /// Messages whose answer was lost.
    pub uncertain: UncertainRules,
    /// How Twilio reaches us, without a slash at the end.
    pub public_base_url: String,
    /// By address.
    pub senders: HashMap<String, SenderLimits>,
    /// House rules.
    pub rules: Arc<Rules>,
}

/// A queue with everything that its messages share.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) id: i64,
    /// Set for campaigns; a single message brings its own.
    pub(super) plan: Option<Arc<Plan>>,
    pub(super) is_transactional: bool,
    pub(super) sender_id: i64,
    pub(super) sender_address: String,
    pub(super) recipients_per_day: Option<i64>,
    /// Campaign, then sender, then account.
    pub(super) limiters: Vec<Arc<Limiter>>,
}

/// The limiters that live as long as their rate does.
#[derive(Debug, Default)]
pub(super) struct Limiters {
    by_owner: HashMap<Owner, Owned>,
}

#[derive(Debug)]
struct Owned {
    rate: f64,
    limiter: Arc<Limiter>,
    /// Granted by limiters that were replaced when the rate changed.
    before: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Campaign(i64),
    Sender(i64),
    Account,
}

impl Limiters {
    fn get(&mut self, owner: Owner, rate: f64, clock: &Clock) -> Arc<Limiter> {
        let fresh = || Arc::new(Limiter::per_second(rate, clock));
        let owned = self.by_owner.entry(owner).or_insert_with(|| Owned { rate, limiter: fresh(), before: 0 });
        if owned.rate != rate {
            let before = owned.before + owned.limiter.granted();
            *owned = Owned { rate, limiter: fresh(), before };
        }
        Arc::clone(&owned.limiter)
    }

    /// Forgets the limiters of campaigns that send no longer.
    pub(super) fn keep(&mut self, outlook: &Outlook) {
        self.by_owner.retain(|owner, _| match owner {
            Owner::Campaign(id) => outlook.campaigns.iter().any(|(campaign, _)| campaign.id == *id),
            Owner::Sender(_) | Owner::Account => true,
        });
    }

    /// Rate and permits granted of each, for the metrics.
    pub(super) fn read(&self, outlook: &Outlook) -> Vec<Pace> {
        let read = |(owner, owned): (&Owner, &Owned)| {
            let (level, name) = match owner {
                Owner::Campaign(id) => ("campaign", id.to_string()),
                Owner::Sender(id) => {
                    let sender = outlook.senders.iter().find(|sender| sender.id == *id);
                    ("sender", sender.map(|sender| sender.address.clone()).unwrap_or_default())
                }
                Owner::Account => ("account", String::new()),
            };
            Pace { level, name, rate: owned.rate, granted: owned.before + owned.limiter.granted() }
        };
        self.by_owner.iter().map(read).collect()
    }
}

/// What a look into the store found.
pub(super) struct Outlook {
    campaigns: Vec<(CampaignRow, Arc<Plan>)>,
    senders: Vec<SenderRow>,
    is_account_paused: bool,
    /// When a pause ends by itself.
    pub(super) resumes_at: Option<Millis>,
}

/// Reads campaigns that send, their texts, and who may send at all.
pub(super) fn look(conn: &Connection, now: Millis) -> Result<Outlook, StoreError> {
    let mut running = Vec::new();
    for campaign in campaigns::live(conn)?.into_iter().filter(|campaign| campaign.status.is_sending()) {
        match campaigns::ready_plan(conn, &campaign) {
            Ok(Some(plan)) => running.push((campaign, Arc::new(plan))),
            Ok(None) => {}
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                tracing::error!(campaign.id = campaign.id, error = %error, "a campaign's text can't be read; it waits");
            }
        }
    }
    let senders = senders::list(conn)?;
    let account = senders::account_pause(conn, now)?;
    let ends = senders.iter().filter_map(|sender| sender.paused_until.filter(|until| *until > now));
    let resumes_at = ends.chain(account.as_ref().and_then(|(_, until)| *until)).min();
    Ok(Outlook { campaigns: running, senders, is_account_paused: account.is_some(), resumes_at })
}

/// The lanes that may be worked now, transactional ones first.
pub(super) fn lanes(
    outlook: &Outlook,
    settings: &Settings,
    limiters: &mut Limiters,
    clock: &Clock,
) -> Vec<Lane> {
    let now = clock.now();
    if outlook.is_account_paused {
        return Vec::new();
    }
    let account = limiters.get(Owner::Account, settings.account_rate_per_second, clock);
    let mut lanes = Vec::new();
    let working: Vec<&SenderRow> =
        outlook.senders.iter().filter(|sender| sender.is_configured && !sender.is_paused(now)).collect();
    for (campaign, plan) in &outlook.campaigns {
        let wanted = campaign.plan.sender.as_deref();
        // A paused sender is not replaced by another: people would see a strange number.
        let Some(chosen) = outlook.senders.iter().find(|sender| {
            sender.is_configured
                && sender.channel() == campaign.plan.channel
                && wanted.is_none_or(|address| sender.address == address)
        }) else {
            continue;
        };
        let Some(mut lane) = lane_of(chosen, settings, limiters, clock).filter(|_| !chosen.is_paused(now))
        else {
            continue;
        };
        lane.id = campaign.id;
        lane.is_transactional = plan.kind != Kind::Marketing;
        lane.plan = Some(Arc::clone(plan));
        if let Some(rate) = campaign.plan.rate_limit_per_second {
            lane.limiters.insert(0, limiters.get(Owner::Campaign(campaign.id), rate, clock));
        }
        lanes.push(lane);
    }
    for sender in working {
        for kind in [Kind::Transactional, Kind::Marketing] {
            if let Some(mut lane) = lane_of(sender, settings, limiters, clock) {
                lane.id = messages::single_lane(sender.id, kind);
                lane.is_transactional = kind == Kind::Transactional;
                lanes.push(lane);
            }
        }
    }
    for lane in &mut lanes {
        lane.limiters.push(Arc::clone(&account));
    }
    lanes.sort_by_key(|lane| (!lane.is_transactional, lane.id > 0));
    lanes
}

fn lane_of(sender: &SenderRow, settings: &Settings, limiters: &mut Limiters, clock: &Clock) -> Option<Lane> {
    let limits = settings.senders.get(&sender.address)?;
    Some(Lane {
        id: 0,
        plan: None,
        is_transactional: true,
        sender_id: sender.id,
        sender_address: sender.address.clone(),
        recipients_per_day: limits.recipients_per_day,
        limiters: vec![limiters.get(Owner::Sender(sender.id), limits.rate_per_second, clock)],
    })
}

impl Lane {
    /// Takes up to `most` permits of every limiter; what one of them lacks goes back to those before it.
    pub(super) fn permits(&self, most: u32) -> u32 {
        let mut granted = most;
        for (level, limiter) in self.limiters.iter().enumerate() {
            let taken = limiter.take(granted);
            for earlier in self.limiters.iter().take(level).filter(|_| taken < granted) {
                earlier.give_back(granted - taken);
                earlier.rest();
            }
            granted = taken;
            if granted == 0 {
                break;
            }
        }
        granted
    }

    /// Settles a turn: `used` parts of `granted` permits. `is_idle`: nobody waits for the rest.
    pub(super) fn settle(&self, granted: u32, used: u32, is_idle: bool) {
        for limiter in &self.limiters {
            limiter.give_back(granted.saturating_sub(used));
            limiter.charge(used.saturating_sub(granted));
            if is_idle {
                limiter.rest();
            }
        }
    }

    /// How long until every limiter has a permit.
    pub(super) fn wait(&self) -> std::time::Duration {
        self.limiters.iter().map(|limiter| limiter.wait()).max().unwrap_or_default()
    }
}
