//! The dispatcher: looks at the lanes, takes permits, claims, and sends each claim in a task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::claim::{Claimer, Claims, Outgoing};
use super::lanes::{Lane, Limiters, Outlook, Settings, lanes, look};
use super::outbox::Outbox;
use super::reach::Reach;
use crate::clock::Millis;
use crate::domain::failure::Failure;
use crate::metrics::Metrics;
use crate::store::outcomes::{self, Acceptance, AttemptKey, RetryPolicy};
use crate::store::{Store, StoreError};
use crate::twilio::client::{Client, MessageResource, OutgoingMessage, SendOutcome};
use crate::twilio::error::explain;

/// Claims of one write.
const BATCH: u32 = 64;
/// The longest wait between two looks: another process may have written.
const IDLE: Duration = Duration::from_secs(1);
/// How long a queue rests that could not be worked because of a defect, in milliseconds.
const DEFECT_REST: Millis = 60_000;
/// How soon to look again while as many requests are under way as may be.
const FULL: Duration = Duration::from_millis(20);
/// How long to wait before an outcome that the store refused is written again.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// What one look brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tick {
    /// Messages handed to a sending task.
    pub claimed: usize,
    /// Messages that the gate refused or deferred.
    pub refused: usize,
    /// How long nothing will be due or allowed.
    pub wait: Duration,
}

/// What sending tasks share.
struct Desk {
    store: Store,
    client: Client,
    outbox: Arc<Outbox>,
    settings: Settings,
    metrics: Metrics,
    reach: Reach,
}

/// Moves queued rows to Twilio. One per process.
pub struct Dispatcher {
    desk: Arc<Desk>,
    limiters: Limiters,
    outlook: Option<(u64, Outlook)>,
    /// Lanes with nothing due before then.
    sleeping: HashMap<i64, Millis>,
    tasks: JoinSet<()>,
    batch: u64,
    turn: usize,
}

impl Dispatcher {
    /// Makes a dispatcher and lets STOP, pause and cancel reach its claims.
    pub fn new(store: Store, client: Client, settings: Settings, metrics: Metrics) -> Dispatcher {
        let outbox = Arc::new(Outbox::default());
        let hooked = Arc::clone(&outbox);
        store.on_withdraw(move |whom| hooked.withdraw(whom));
        let reach = Reach::new(store.clock().clone());
        Dispatcher {
            desk: Arc::new(Desk { store, client, outbox, settings, metrics, reach }),
            limiters: Limiters::default(),
            outlook: None,
            sleeping: HashMap::new(),
            tasks: JoinSet::new(),
            batch: 0,
            turn: 0,
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
            let wait = match self.tick().await {
                Ok(tick) => tick.wait,
                Err(error) => {
                    tracing::warn!(error = %error, "the queue could not be looked at; trying again");
                    IDLE
                }
            };
            let store = self.desk.store.clone();
            let is_full = self.tasks.len() >= self.desk.settings.max_in_flight;
            tokio::select! {
                () = &mut stop => break,
                () = store.delivery_woken(), if !is_full => self.sleeping.clear(),
                Some(_) = self.tasks.join_next(), if is_full => {}
                () = tokio::time::sleep(wait), if !is_full => {}
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
        if let Some(rest) = self.desk.reach.rest() {
            return Ok(Tick { wait: rest.min(IDLE), ..Tick::default() });
        }
        let mut lanes = self.lanes(now).await?;
        if self.desk.store.gaps().hold_marketing() {
            // A STOP may be among what was missed.
            lanes.retain(|lane| lane.is_transactional);
        }
        let mut tick = Tick { wait: IDLE, ..Tick::default() };
        // Lanes of one rank take turns in being first, so that none starves.
        self.turn = self.turn.wrapping_add(1);
        let marketing = lanes.iter().position(|lane| !lane.is_transactional).unwrap_or(lanes.len());
        for rank in [0..marketing, marketing..lanes.len()] {
            if let Some(rank) = lanes.get_mut(rank).filter(|rank| !rank.is_empty()) {
                rank.rotate_left(self.turn % rank.len());
            }
        }
        for lane in lanes {
            let id = lane.id;
            let wait = match self.work(lane, now, &mut tick).await {
                Ok(wait) => wait,
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    // A defect in one campaign is no reason to stand still with the others.
                    tracing::error!(lane = id, error = %error, "a queue could not be worked; it rests");
                    self.sleeping.insert(id, now + DEFECT_REST);
                    IDLE
                }
            };
            tick.wait = tick.wait.min(wait);
        }
        self.desk.metrics.set_in_flight(self.tasks.len());
        Ok(tick)
    }

    /// Works one lane and says how long it has nothing to do.
    async fn work(&mut self, lane: Lane, now: Millis, tick: &mut Tick) -> Result<Duration, StoreError> {
        if let Some(until) = self.sleeping.get(&lane.id).filter(|until| **until > now) {
            return Ok(millis(*until - now));
        }
        let most = self.desk.reach.most_in_flight(self.desk.settings.max_in_flight);
        let room = most.saturating_sub(self.tasks.len());
        if room == 0 {
            // The next answer makes room.
            return Ok(FULL);
        }
        let permits = lane.permits(BATCH.min(u32::try_from(room).unwrap_or(BATCH)));
        if permits == 0 {
            return Ok(lane.wait().max(Duration::from_millis(1)));
        }
        let lane = Arc::new(lane);
        let claims = match self.claim(&lane, permits).await {
            Ok(claims) => claims,
            Err(error) => {
                lane.give_back(permits);
                return Err(error);
            }
        };
        let used = claims.outgoing.len();
        lane.give_back(permits - u32::try_from(used).unwrap_or(permits));
        let parts: u32 = claims.outgoing.iter().map(|outgoing| outgoing.rendered.parts - 1).sum();
        lane.charge(parts);
        tick.claimed += used;
        tick.refused += claims.refused;
        if claims.refused > 0 {
            self.desk.metrics.count_deliveries("gate", claims.refused);
        }
        let wait = self.next_look(&lane, now, &claims);
        for outgoing in claims.outgoing {
            self.tasks.spawn(hand_over(Arc::clone(&self.desk), lane.sender_address.clone(), outgoing));
        }
        Ok(wait)
    }

    fn next_look(&mut self, lane: &Lane, now: Millis, claims: &Claims) -> Duration {
        if let Some(until) = claims.rests_until {
            self.sleeping.insert(lane.id, until);
            return millis(until - now);
        }
        if !claims.is_exhausted {
            return lane.wait();
        }
        match claims.next_due {
            Some(due) => {
                self.sleeping.insert(lane.id, due);
                millis(due - now)
            }
            None => {
                // A commit that queues something clears this.
                self.sleeping.insert(lane.id, now + IDLE.as_millis() as Millis);
                IDLE
            }
        }
    }

    async fn claim(&mut self, lane: &Arc<Lane>, permits: u32) -> Result<Claims, StoreError> {
        self.batch += 1;
        let (lane, batch) = (Arc::clone(lane), self.batch);
        let (presets, outbox) = (Arc::clone(&self.desk.settings.presets), self.outbox());
        let claimed = self
            .desk
            .store
            .write(move |tx| {
                Claimer { lane: &lane, presets: &presets, outbox: &outbox, batch, permits }.run(tx)
            })
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
            self.outlook = Some((version, outlook));
            self.sleeping.clear();
        }
        let clock = self.desk.store.clock().clone();
        Ok(self.outlook.as_ref().map_or_else(Vec::new, |(_, outlook)| {
            lanes(outlook, &self.desk.settings, &mut self.limiters, &clock)
        }))
    }
}

fn millis(millis: Millis) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Sends one claim and writes down what came of it.
async fn hand_over(desk: Arc<Desk>, from: String, outgoing: Outgoing) {
    let key = outgoing.key;
    let is_kept = if desk.outbox.begin(key.message_id) {
        let message = desk.message(from, outgoing);
        let outcome = desk.client.send(&message).await;
        desk.reach.note(&outcome, rand::random());
        desk.metrics.count_deliveries(word(&outcome), 1);
        record_until_kept(&desk, key, outcome).await
            // What can't be written for a defect is not known: held, and listed as such.
            || keep(&desk, move |tx| outcomes::uncertain(tx, key, "its outcome could not be written")).await
    } else {
        keep(&desk, move |tx| outcomes::withdrawn(tx, key)).await
    };
    // A request that began is known as long as the process lives: nobody may take it for one that did not.
    if is_kept {
        desk.outbox.finish(key.message_id);
    }
}

fn word(outcome: &SendOutcome) -> &'static str {
    match outcome {
        SendOutcome::Accepted(_) => "accepted",
        SendOutcome::Refused { .. } => "refused",
        SendOutcome::Throttled { .. } => "throttled",
        SendOutcome::NotSent { .. } => "not_sent",
        SendOutcome::Uncertain { .. } => "uncertain",
    }
}

impl Desk {
    fn message(&self, from: String, outgoing: Outgoing) -> OutgoingMessage {
        let AttemptKey { message_id, number } = outgoing.key;
        let base = &self.settings.public_base_url;
        OutgoingMessage {
            to: outgoing.rendered.to,
            from,
            body: outgoing.rendered.body,
            media_urls: outgoing.rendered.media_urls,
            content: outgoing.rendered.content,
            status_callback: format!(
                "{base}/webhooks/twilio/status?message={message_id}&attempt={number}#rc=2&rp=5xx,ct,rt"
            ),
            validity_period: outgoing.validity,
        }
    }

    fn policy(&self, retry_after: Option<u64>) -> RetryPolicy {
        RetryPolicy { max_attempts: self.settings.max_attempts, random: rand::random(), retry_after }
    }
}

async fn record_until_kept(desk: &Desk, key: AttemptKey, outcome: SendOutcome) -> bool {
    match outcome {
        SendOutcome::Accepted(resource) => {
            let acceptance = acceptance(*resource);
            keep(desk, move |tx| outcomes::accepted(tx, key, &acceptance)).await
        }
        SendOutcome::Refused { http_status, code, message } => {
            let failure = failure(code, &message);
            tracing::info!(message.id = key.message_id, code, "Twilio refused a message");
            let policy = desk.policy(None);
            keep(desk, move |tx| outcomes::refused(tx, key, http_status, &failure, &policy)).await
        }
        SendOutcome::Throttled { code, retry_after } => {
            let policy = desk.policy(retry_after);
            keep(desk, move |tx| outcomes::not_sent(tx, key, "Too Many Requests", code, &policy)).await
        }
        SendOutcome::NotSent { why } => {
            tracing::warn!(message.id = key.message_id, why, "Twilio could not be reached");
            let policy = desk.policy(None);
            keep(desk, move |tx| outcomes::not_sent(tx, key, &why, 0, &policy)).await
        }
        SendOutcome::Uncertain { http_status, why } => {
            tracing::warn!(
                message.id = key.message_id,
                http_status,
                why,
                "Twilio's answer was lost; the message may be on its way"
            );
            keep(desk, move |tx| outcomes::uncertain(tx, key, &why)).await
        }
    }
}

fn acceptance(resource: MessageResource) -> Acceptance {
    Acceptance {
        sid: resource.sid,
        twilio_status: resource.status,
        parts: resource.num_segments.and_then(|text| text.parse().ok()),
    }
}

/// The table's reading of a code; a refusal without a known code keeps Twilio's own words.
fn failure(code: i64, message: &str) -> Failure {
    let mut failure = explain(code);
    if code == 0 && !message.is_empty() {
        failure.text = message.chars().take(300).collect();
    }
    failure
}

/// Writes an outcome, again and again while the store can't: an answer of Twilio's is never dropped.
/// `false`: a defect, which is logged and left for the next start; that finds the attempt pending.
async fn keep(
    desk: &Desk,
    change: impl Fn(&crate::store::Tx<'_>) -> Result<(), StoreError> + Clone + Send + 'static,
) -> bool {
    loop {
        match desk.store.write(change.clone()).await {
            Ok(()) => return true,
            Err(error) if error.is_transient() => {
                tracing::warn!(error = %error, "an outcome could not be written; trying again");
                tokio::time::sleep(STORE_RETRY).await;
            }
            Err(error) => {
                tracing::error!(error = %error, "an outcome could not be written");
                return false;
            }
        }
    }
}
