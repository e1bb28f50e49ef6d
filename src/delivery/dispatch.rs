//! The dispatcher: looks at the lanes, takes permits, claims, and sends each claim in a task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::claim::{Claimer, Claims};
use super::concurrency::{Concurrency, Rest};
use super::hand_over::{Desk, hand_over};
use super::lanes::{Lane, Limiters, Outlook, Settings, lanes, look};
use super::outbox::Outbox;
use super::turns::Turns;
use crate::clock::Millis;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, Withdrawal, messages};
use crate::twilio::client::Client;

/// Claims of one write.
const BATCH: u32 = 64;
/// The longest wait between two looks: another process may have written.
const IDLE: Duration = Duration::from_secs(1);
/// How soon to look again while a lane has used up its time and nobody else could be worked either.
const SOON: Duration = Duration::from_millis(20);
/// How long a queue rests that could not be worked because of a defect, in milliseconds.
const DEFECT_REST: Millis = 60_000;
/// How soon a lane with nothing due is looked at again, in milliseconds.
const LOOK_AGAIN: Millis = 1_000;
/// How often the metrics are written, in milliseconds.
const PUBLISH_EVERY: Millis = 200;

/// What one look brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tick {
    /// Messages handed to a sending task.
    pub claimed: usize,
    /// Messages that the gate refused or deferred.
    pub refused: usize,
    /// How long nothing will be due or allowed.
    pub wait: Duration,
    /// As many requests are under way as may be: the next answer makes room.
    pub is_full: bool,
}

/// Why and until when a lane rests.
#[derive(Clone, Copy, Debug)]
struct LaneRest {
    until: Millis,
    /// The daily limit that it waits for: another limit ends the rest. `None`: a defect.
    limit: Option<i64>,
}

/// Moves queued rows to Twilio. One per process.
pub struct Dispatcher {
    desk: Arc<Desk>,
    limiters: Limiters,
    outlook: Option<(u64, Outlook)>,
    turns: Turns,
    /// Lanes that had nothing due, and until when that is so if nobody adds anything.
    sleeping: HashMap<i64, Millis>,
    /// Lanes that have to wait whatever is added: a daily limit, a defect.
    resting: HashMap<i64, LaneRest>,
    /// Something was queued since the last look.
    is_woken: bool,
    tasks: JoinSet<()>,
    batch: u64,
    /// When the metrics were last written.
    published: Millis,
}

impl LaneRest {
    fn holds(&self, lane: &Lane) -> bool {
        self.limit.is_none() || self.limit == lane.recipients_per_day
    }
}

impl Dispatcher {
    /// Makes a dispatcher and lets STOP, pause and cancel reach its claims. While there is no client it claims
    /// nothing.
    pub fn new(
        store: Store,
        client: impl Into<Live<Option<Client>>>,
        settings: Live<Settings>,
        metrics: Metrics,
    ) -> Dispatcher {
        let client = client.into();
        let outbox = Arc::new(Outbox::default());
        let hooked = Arc::clone(&outbox);
        store.on_withdraw(move |whom| hooked.withdraw(whom));
        let concurrency = Concurrency::new(settings.get().max_in_flight, store.clock().clone());
        Dispatcher {
            desk: Arc::new(Desk { store, client, outbox, settings, metrics, concurrency }),
            limiters: Limiters::default(),
            outlook: None,
            turns: Turns::default(),
            sleeping: HashMap::new(),
            resting: HashMap::new(),
            is_woken: false,
            tasks: JoinSet::new(),
            batch: 0,
            published: 0,
        }
    }

    /// The claims under way.
    pub fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.desk.outbox)
    }

    /// Works until `stop` resolves; then claims nothing more, withdraws what has not begun, and waits for
    /// the answers in flight.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let tick = self.tick().await.unwrap_or_else(|error| {
                tracing::warn!(error = %error, "the queue could not be looked at; trying again");
                Tick { wait: IDLE, ..Tick::default() }
            });
            let store = self.desk.store.clone();
            tokio::select! {
                () = &mut stop => break,
                () = store.delivery_woken() => self.is_woken = true,
                Some(_) = self.tasks.join_next(), if tick.is_full => {}
                () = tokio::time::sleep(tick.wait) => {}
            }
        }
        self.desk.outbox.close();
        self.settle().await;
    }

    /// Waits until every message under way has its outcome on disk.
    pub async fn settle(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// One look at every lane. What is claimed is being sent when this returns.
    ///
    /// # Errors
    /// [`StoreError`] when the store can't be read or written; nothing is lost by it.
    pub async fn tick(&mut self) -> Result<Tick, StoreError> {
        while self.tasks.try_join_next().is_some() {}
        let now = self.desk.store.clock().now();
        let mut tick = Tick { wait: IDLE, ..Tick::default() };
        if self.desk.client.get().is_none() {
            return Ok(tick);
        }
        self.desk.concurrency.bound(self.desk.settings.get().max_in_flight);
        if let Some(rest) = self.desk.concurrency.rest() {
            tick.wait = rest.min(IDLE);
            self.publish(now);
            return Ok(tick);
        }
        let mut lanes = self.lanes(now).await?;
        if self.desk.store.gaps().hold_marketing() {
            // A STOP may be among what was missed.
            lanes.retain(|lane| lane.is_transactional);
        }
        self.rouse(now, &lanes).await?;
        for lane in self.turns.order(lanes) {
            let id = lane.id;
            // A gap may open while others are worked.
            if !lane.is_transactional && self.desk.store.gaps().hold_marketing() {
                continue;
            }
            let wait = match self.work(lane, now, &mut tick).await {
                Ok(wait) => wait,
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    // A defect in one campaign is no reason to stand still with the others.
                    tracing::error!(lane = id, error = %error, "a queue could not be worked; it rests");
                    self.resting.insert(id, LaneRest { until: now + DEFECT_REST, limit: None });
                    self.turns.leave(id);
                    IDLE
                }
            };
            tick.wait = tick.wait.min(wait);
        }
        if self.turns.is_sweeping() {
            // Who has used up its time goes on at once, but nobody is asked in circles for nothing.
            let has_worked = tick.claimed + tick.refused > 0;
            tick.wait = if has_worked { Duration::ZERO } else { tick.wait.min(SOON) };
        }
        self.publish(now);
        Ok(tick)
    }

    /// Wakes the lanes that slept and have something due by now. They are looked at in one read, so that a
    /// hundred campaigns with nothing to do don't take the writer's time.
    async fn rouse(&mut self, now: Millis, lanes: &[Lane]) -> Result<(), StoreError> {
        let is_woken = std::mem::take(&mut self.is_woken);
        let asleep: Vec<i64> = lanes
            .iter()
            .map(|lane| lane.id)
            .filter(|id| self.sleeping.get(id).is_some_and(|until| is_woken || *until <= now))
            .collect();
        if asleep.is_empty() {
            return Ok(());
        }
        let found = self
            .desk
            .store
            .read(move |conn| {
                let due = |id: i64| messages::next_due(conn, id).map(|due| (id, due));
                asleep.into_iter().map(due).collect::<Result<Vec<_>, StoreError>>()
            })
            .await;
        if found.is_err() {
            self.is_woken = is_woken;
        }
        for (id, due) in found? {
            match due {
                Some(due) if due <= now => {
                    self.sleeping.remove(&id);
                }
                due => {
                    self.sleeping.insert(id, due.unwrap_or(now + LOOK_AGAIN));
                }
            }
        }
        Ok(())
    }

    /// Works one lane and says how long it has nothing to do.
    async fn work(&mut self, lane: Lane, now: Millis, tick: &mut Tick) -> Result<Duration, StoreError> {
        let rest = self.resting.get(&lane.id).filter(|rest| rest.holds(&lane)).map(|rest| rest.until);
        let waits = rest.into_iter().chain(self.sleeping.get(&lane.id).copied());
        if let Some(until) = waits.max().filter(|until| *until > now) {
            return Ok(millis(until - now));
        }
        let room = self.desk.concurrency.room(self.tasks.len(), lane.is_transactional);
        if room == 0 {
            tick.is_full = true;
            return Ok(IDLE);
        }
        let permits = lane.permits(BATCH.min(u32::try_from(room).unwrap_or(BATCH)));
        if permits == 0 {
            return Ok(lane.wait().max(Duration::from_millis(1)));
        }
        let lane = Arc::new(lane);
        let claims = match self.claim(&lane, permits).await {
            Ok(claims) => claims,
            Err(error) => {
                lane.settle(permits, 0, false);
                return Err(error);
            }
        };
        if !lane.is_transactional && self.desk.store.gaps().hold_marketing() {
            // A gap opened while the claim was on its way: a STOP may be in it, so the claims are put back.
            let back = claims.outgoing.iter().map(|one| Withdrawal::Message(one.key.message_id));
            self.desk.outbox.withdraw(&back.collect::<Vec<_>>());
        }
        let wait = self.next_look(&lane, now, &claims);
        lane.settle(permits, claims.parts, wait.is_some());
        self.turns.note(&lane, claims.parts, claims.is_sweeping);
        tick.claimed += claims.outgoing.len();
        tick.refused += claims.refused;
        if claims.refused > 0 {
            self.desk.metrics.count_deliveries("gate", claims.refused);
        }
        for outgoing in claims.outgoing {
            self.tasks.spawn(hand_over(Arc::clone(&self.desk), lane.sender_address.clone(), outgoing));
        }
        Ok(wait.unwrap_or_else(|| lane.wait()))
    }

    /// How long a lane has nothing to do, if so.
    fn next_look(&mut self, lane: &Lane, now: Millis, claims: &Claims) -> Option<Duration> {
        if let Some(until) = claims.rests_until {
            self.resting.insert(lane.id, LaneRest { until, limit: lane.recipients_per_day });
            return Some(millis(until - now));
        }
        if !claims.is_exhausted {
            return None;
        }
        let due = claims.next_due.unwrap_or(now + LOOK_AGAIN);
        self.sleeping.insert(lane.id, due);
        Some(millis(due - now))
    }

    /// Writes the metrics, a few times a second.
    fn publish(&mut self, now: Millis) {
        if (now - self.published).abs() < PUBLISH_EVERY {
            return;
        }
        self.published = now;
        let reading = self.desk.concurrency.read();
        let metrics = &self.desk.metrics;
        metrics.set_in_flight(reading.under_way, reading.ceiling);
        for rest in Rest::ALL {
            metrics.set_resting(rest.as_str(), reading.rest == Some(rest));
        }
        if let Some((_, outlook)) = &self.outlook {
            metrics.set_paces(self.limiters.read(outlook));
        }
    }

    async fn claim(&mut self, lane: &Arc<Lane>, permits: u32) -> Result<Claims, StoreError> {
        self.batch += 1;
        let (lane, batch) = (Arc::clone(lane), self.batch);
        let (rules, outbox) = (Arc::clone(&self.desk.settings.get().rules), self.outbox());
        let claimed = self
            .desk
            .store
            .write(move |tx| Claimer { lane: &lane, rules: &rules, outbox: &outbox, batch, permits }.run(tx))
            .await;
        if claimed.is_err() {
            self.desk.outbox.forget_batch(batch);
        }
        claimed
    }

    async fn lanes(&mut self, now: Millis) -> Result<Vec<Lane>, StoreError> {
        let version = self.desk.store.plan_version();
        let is_fresh = self
            .outlook
            .as_ref()
            .is_some_and(|(seen, outlook)| *seen == version && outlook.resumes_at.is_none_or(|at| now < at));
        if !is_fresh {
            let outlook = self.desk.store.read(move |conn| look(conn, now)).await?;
            self.limiters.keep(&outlook);
            let lanes =
                lanes(&outlook, &self.desk.settings.get(), &mut self.limiters, self.desk.store.clock());
            self.turns.keep(&lanes);
            self.outlook = Some((version, outlook));
            // Every write of this process counts as a change too: nobody is woken by it, only looked at.
            self.resting.retain(|id, _| lanes.iter().any(|lane| lane.id == *id));
            for until in self.sleeping.values_mut() {
                *until = now;
            }
            return Ok(lanes);
        }
        let (clock, settings) = (self.desk.store.clock(), self.desk.settings.get());
        Ok(self
            .outlook
            .as_ref()
            .map_or_else(Vec::new, |(_, outlook)| lanes(outlook, &settings, &mut self.limiters, clock)))
    }
}

fn millis(millis: Millis) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
