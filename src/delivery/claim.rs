//! Claiming: due rows through the gate, in one write. Who may go is taken with a row in `attempts`; who may
//! not, or not yet, is told why.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::lanes::Lane;
use super::outbox::{Claimed, Outbox};
use super::purse::{Funds, Purse};
use crate::clock::Millis;
use crate::domain::frequency::Recent;
use crate::domain::gate::{Content, Facts, Reason, Verdict, gate};
use crate::domain::message::{Kind, Status};
use crate::domain::plan::{Plan, Rendered, Text, TopicRule};
use crate::domain::price::Parcel;
use crate::domain::quiet_hours::Policy;
use crate::domain::rules::Rules;
use crate::store::circumstances::{self, Asked, Bounds, DailyLimit, Found};
use crate::store::frequency::{self, Kept};
use crate::store::messages::{self, Claim, Due, Standing};
use crate::store::outcomes::AttemptKey;
use crate::store::{StoreError, Tx, senders, templates, topics, triggers};

const DAY: Millis = 86_400_000;
/// Rows read at a time.
const PAGE: usize = 128;
/// A write should not hold the writer longer than this.
const LONGEST: Duration = Duration::from_millis(12);
/// Twilio keeps a message in its queue for at most this long, in seconds.
const MAX_VALIDITY: i64 = 36_000;

/// A message that may go now.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) key: AttemptKey,
    pub(super) rendered: Rendered,
    /// Seconds.
    pub(super) validity: u32,
}

/// What one look at a lane brought.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) outgoing: Vec<Outgoing>,
    /// SMS parts of those.
    pub(super) parts: u32,
    /// Rows that were skipped or deferred.
    pub(super) refused: usize,
    /// The time for one write was over before the permits were used, most of it spent on rows that don't go.
    pub(super) is_sweeping: bool,
    /// Nothing else is due in this lane now; when the next one is, if any.
    pub(super) is_exhausted: bool,
    pub(super) next_due: Option<Millis>,
    /// The sender may write to nobody new until then.
    pub(super) rests_until: Option<Millis>,
}

/// Takes messages of `lane` until their parts use up the permits; the last one may go beyond.
pub(super) struct Claimer<'a> {
    pub(super) lane: &'a Lane,
    pub(super) rules: &'a Rules,
    pub(super) outbox: &'a Outbox,
    pub(super) batch: u64,
    pub(super) permits: u32,
}

/// A message that the gate lets through and that can be paid for.
struct Accepted<'a> {
    rendered: Rendered,
    closes_at: Option<Millis>,
    charge: Option<i64>,
    found: &'a Found,
}

/// What gathers while a lane is looked at.
struct Round<'a> {
    claims: Claims,
    /// Templates of single messages, parsed once.
    texts: HashMap<(i64, i64), Arc<Text>>,
    bounds: Bounds,
    purse: Purse<'a>,
    /// The campaign stands still since the last message.
    is_paused: bool,
    /// First and last marketing messages of those who were just sent to: a page may hold several messages to
    /// one person, and was read before any of them went.
    noted: HashMap<i64, (Option<i64>, Recent)>,
}

impl Claimer<'_> {
    /// Runs inside one write.
    pub(super) fn run(&self, tx: &Tx<'_>) -> Result<Claims, StoreError> {
        let started = Instant::now();
        // The lane was looked up before; a pause or cancel that was answered since must hold.
        let campaign_id = self.lane.plan.is_some().then_some(self.lane.id);
        if !senders::may_send(tx.conn(), self.lane.sender_id, campaign_id, tx.now())? {
            return Ok(Claims { is_exhausted: true, ..Claims::default() });
        }
        let mut round = Round {
            claims: Claims::default(),
            texts: HashMap::new(),
            bounds: self.bounds(tx)?,
            purse: Purse::open(tx, self.rules, campaign_id)?,
            is_paused: false,
            noted: HashMap::new(),
        };
        self.work(tx, &mut round, started)?;
        round.purse.close(tx)?;
        Ok(round.claims)
    }

    fn work(&self, tx: &Tx<'_>, round: &mut Round<'_>, started: Instant) -> Result<(), StoreError> {
        while round.claims.parts < self.permits {
            if started.elapsed() >= LONGEST {
                round.claims.is_sweeping = round.claims.refused > round.claims.outgoing.len();
                break;
            }
            // Where all are refused, permits say nothing about how many rows it takes.
            let is_sweeping = round.claims.refused > round.claims.outgoing.len();
            let room =
                if is_sweeping { PAGE } else { (self.permits - round.claims.parts) as usize }.min(PAGE);
            let page = messages::due(tx.conn(), self.lane.id, tx.now(), room)?;
            if page.is_empty() {
                round.claims.is_exhausted = true;
                round.claims.next_due = messages::next_due(tx.conn(), self.lane.id)?;
                break;
            }
            for mut due in page {
                if let Some((first, recent)) = round.noted.get(&due.standing.user_id) {
                    due.person.first_marketing_id = *first;
                    due.person.recent_marketing = recent.clone();
                }
                self.judge(tx, &due, round)?;
                if round.is_paused {
                    round.claims.is_exhausted = true;
                }
                if round.is_paused || round.claims.rests_until.is_some() {
                    return Ok(());
                }
                if round.claims.parts >= self.permits {
                    break;
                }
            }
        }
        Ok(())
    }

    fn judge(&self, tx: &Tx<'_>, due: &Due, round: &mut Round<'_>) -> Result<(), StoreError> {
        let Round { claims, texts, bounds, .. } = round;
        if due.is_taken_back {
            return take_back(tx, due, claims);
        }
        let plan = match &self.lane.plan {
            Some(plan) => Arc::clone(plan),
            None => Arc::new(single_plan(tx, due, texts)?),
        };
        let asked = Asked {
            user_id: due.standing.user_id,
            message_id: Some(due.standing.id),
            person: &due.person,
            plan: &plan,
            variables: due.variables.as_deref(),
            expires_at: due.standing.expires_at,
        };
        let found = circumstances::load(tx.conn(), &asked, bounds, tx.now())?;
        let (mut facts, rendered) =
            plan.judge(&due.person, &found.circumstances, &self.rules.presets, tx.now());
        if due.standing.is_test {
            exempt_test(&mut facts);
        }
        match (gate(&facts, tx.now()), rendered) {
            (Verdict::Send { closes_at }, Some(rendered)) => {
                let parcel = Parcel::of(&plan, &due.person, &rendered);
                match round.purse.ask(tx, &parcel, due.standing.is_test)? {
                    Funds::Enough(charge) => {
                        let accepted = Accepted { rendered, closes_at, charge, found: &found };
                        self.accept(tx, due, round, accepted)?;
                    }
                    Funds::Paused => round.is_paused = true,
                    Funds::Wait { until, reason } => {
                        claims.refused += 1;
                        wait_for_money(tx, due, (until, reason), &facts)?;
                    }
                }
            }
            (Verdict::Send { .. }, None) => {
                claims.refused += 1;
                refuse(tx, due, Status::Skipped, Reason::ContentBroken, &facts)?;
            }
            (Verdict::Defer { until, reason, closes_at }, _) => {
                claims.refused += 1;
                messages::defer(tx, &due.standing, until, reason.as_str(), closes_at)?;
                if reason == Reason::DailyLimit {
                    self.wait_for_a_place(tx, round, until)?;
                }
            }
            (Verdict::Skip(reason), _) => {
                claims.refused += 1;
                refuse(tx, due, Status::Skipped, reason, &facts)?;
            }
            (Verdict::Expire(reason), _) => {
                claims.refused += 1;
                refuse(tx, due, Status::Expired, reason, &facts)?;
            }
        }
        Ok(())
    }

    /// The sender may write to nobody new for now.
    fn wait_for_a_place(&self, tx: &Tx<'_>, round: &mut Round<'_>, until: Millis) -> Result<(), StoreError> {
        // Replies wait in the lanes of single messages, and no limit holds those.
        if self.lane.plan.is_some() {
            round.claims.rests_until = Some(until);
        } else if let Some(limit) = round.bounds.daily.as_mut() {
            limit.wait_for_the_next(tx.conn())?;
        }
        Ok(())
    }

    /// Takes a message that may go, with everything that counts it.
    fn accept(
        &self,
        tx: &Tx<'_>,
        due: &Due,
        round: &mut Round<'_>,
        accepted: Accepted<'_>,
    ) -> Result<(), StoreError> {
        let Standing { id, user_id, .. } = due.standing;
        let (found, charge) = (accepted.found, accepted.charge);
        if due.kind == Kind::Marketing {
            // A Content template does not carry the words: they stay for the next message.
            let first = accepted.rendered.is_introducing && due.person.first_marketing_id.is_none();
            let recent = round.bounds.frequency.as_ref().zip(found.recent.as_ref());
            let recent = recent.map(|(kept, recent)| kept.with(recent, id, tx.now()));
            if first || recent.is_some() {
                frequency::note(tx, user_id, first.then_some(id), recent.as_ref())?;
                let first = if first { Some(id) } else { due.person.first_marketing_id };
                round.noted.insert(user_id, (first, recent.unwrap_or_default()));
            }
        }
        let outgoing = self.take(tx, due, accepted)?;
        round.purse.spend(charge);
        if let Some(limit) = round.bounds.daily.as_mut().filter(|_| !found.is_free) {
            senders::note_recipient(tx, self.lane.sender_id, user_id)?;
            limit.written += 1;
        }
        round.claims.parts += outgoing.rendered.parts.max(1);
        round.claims.outgoing.push(outgoing);
        Ok(())
    }

    fn take(&self, tx: &Tx<'_>, due: &Due, accepted: Accepted<'_>) -> Result<Outgoing, StoreError> {
        let Accepted { rendered, closes_at, charge, .. } = accepted;
        let claim =
            Claim { sender_id: self.lane.sender_id, body: &rendered.body, parts: rendered.parts, charge };
        let number = messages::claim(tx, due, &claim)?;
        self.outbox.register(
            self.batch,
            Claimed {
                key: AttemptKey { message_id: due.standing.id, number },
                user_id: due.standing.user_id,
                campaign_id: due.standing.campaign_id,
                sender_id: self.lane.sender_id,
            },
        );
        let ends = [due.standing.expires_at, closes_at].into_iter().flatten().min();
        let seconds = ends.map_or(MAX_VALIDITY, |end| (end - tx.now()) / 1_000).clamp(1, MAX_VALIDITY);
        Ok(Outgoing {
            key: AttemptKey { message_id: due.standing.id, number },
            rendered,
            validity: u32::try_from(seconds).unwrap_or(1),
        })
    }

    fn bounds(&self, tx: &Tx<'_>) -> Result<Bounds, StoreError> {
        let (sender_id, most) = (self.lane.sender_id, self.lane.recipients_per_day);
        if most.is_some() {
            senders::settle_recipients(tx, sender_id, tx.now() - DAY)?;
        }
        Ok(Bounds {
            daily: DailyLimit::of_sender(tx.conn(), sender_id, most, tx.now())?,
            frequency: Kept::settle(tx, self.rules.frequency_cap)?,
            introduction: self.rules.introduction.clone(),
        })
    }
}

/// A test goes to the people who write the campaign: number, STOP and suppression count, the rest does not.
fn exempt_test(facts: &mut Facts) {
    facts.hours = None;
    facts.not_before = None;
    facts.daily_limit_until = None;
}

/// A single message waits for money, or ends with its deadline.
fn wait_for_money(
    tx: &Tx<'_>,
    due: &Due,
    (until, reason): (Millis, Reason),
    facts: &Facts,
) -> Result<(), StoreError> {
    if facts.expires_at.is_some_and(|end| until >= end) {
        return refuse(tx, due, Status::Expired, reason, facts);
    }
    messages::defer(tx, &due.standing, until, reason.as_str(), None)
}

/// Its trigger was taken back before its turn came.
fn take_back(tx: &Tx<'_>, due: &Due, claims: &mut Claims) -> Result<(), StoreError> {
    claims.refused += 1;
    messages::close(tx, &due.standing, Status::Cancelled, triggers::CANCELLED, json!({}))
}

fn refuse(tx: &Tx<'_>, due: &Due, status: Status, reason: Reason, facts: &Facts) -> Result<(), StoreError> {
    let data = match &facts.content {
        Content::Missing(variables) if reason == Reason::MissingVariable => json!({"missing": variables}),
        _ => json!({}),
    };
    messages::close(tx, &due.standing, status, reason.as_str(), data)
}

/// The plan of a message that brings its own words.
fn single_plan(
    tx: &Tx<'_>,
    due: &Due,
    texts: &mut HashMap<(i64, i64), Arc<Text>>,
) -> Result<Plan, StoreError> {
    let text = match due.template {
        Some(key) => match texts.get(&key) {
            Some(text) => Arc::clone(text),
            None => {
                let template = templates::find_version(tx.conn(), key.0, key.1)?
                    .ok_or_else(|| StoreError::Internal(format!("template {} is gone", key.0)))?;
                let text = Arc::new(template.text.parse()?);
                texts.insert(key, Arc::clone(&text));
                text
            }
        },
        None => Arc::new(Text::Literal {
            body: due.body.clone().unwrap_or_default(),
            media_urls: due
                .media_urls
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
        }),
    };
    let topic = match due.topic_id {
        Some(id) => topics::list(tx.conn())?
            .into_iter()
            .find(|topic| topic.id == id)
            .map(|topic| TopicRule { is_open_to_opted_in: topic.is_open_to_opted_in }),
        None => None,
    };
    Ok(Plan {
        kind: due.kind,
        channel: due.channel,
        topic,
        text,
        policy: Policy::House,
        zone: None,
        local_start: None,
    })
}
