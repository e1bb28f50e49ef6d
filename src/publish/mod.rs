//! Flow: from events to the endpoints that asked for them, after the Standard Webhooks specification.
//!
//! An endpoint keeps its place in the table of events. `Publisher::tick` looks what each one has to do (what is
//! due again, then what is new) and starts a round for it; the round posts, and its end writes what came of it.
//! Nothing is written where events come from, so ingest and dispatch pay nothing for endpoints. A crash between
//! a request and its note leaves the place where it was: the event is posted again, under the same id.
//!
//! Order: requests of an endpoint begin in the order of the events, one after the other unless
//! `in_flight_per_endpoint` says more. An event that fails is put aside, to be tried again, and later ones go on;
//! an endpoint that fails with everything is asked with one event at a time, at last once a minute, and with 1,000
//! put aside it reads no further until something arrives.

mod guard;
mod post;
mod round;
pub mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch as channel};
use tokio::task::JoinSet;

use crate::clock::Millis;
use crate::domain::webhook::address::Policy;
use crate::domain::webhook::schedule::BACKLOG;
use crate::domain::webhook::selected;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::store::events::{self, Event};
use crate::store::webhook_endpoints::{self, Endpoint};
use crate::store::{Connection, Store, StoreError, webhook_deliveries};

pub use guard::{Lookup, check_url, system_lookup};
use post::Poster;

/// Requests at the same time, over all endpoints.
const MOST_REQUESTS: usize = 16;
/// Events of one round.
const ROUND: usize = 20;
/// Events that a filter passed over before the place is written without a delivery.
const STRIDE: i64 = 10_000;
/// The rest between two looks: a campaign commits hundreds of times a second.
const REST: Duration = Duration::from_millis(50);
/// The longest time without a look.
const INTERVAL: Duration = Duration::from_secs(1);
/// Rows of the log that are looked at in one write. More than an endpoint may have waiting.
const PRUNED_AT_ONCE: usize = 2_000;

/// What the configuration says about endpoints.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which addresses may be called.
    pub policy: Policy,
    /// Requests to one endpoint at the same time; with one, events arrive in order.
    pub in_flight_per_endpoint: usize,
    /// How long an answer is waited for.
    pub timeout: Duration,
}

/// Why no publisher could be made.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client for outbound webhooks: {0}")]
pub struct PublishError(String);

/// Posts events to endpoints.
pub struct Publisher {
    shared: Arc<Shared>,
    rounds: Mutex<JoinSet<()>>,
}

struct Shared {
    store: Store,
    settings: Live<Settings>,
    metrics: Metrics,
    poster: Poster,
    slots: Semaphore,
    /// Endpoints with a round under way, and how far filters have looked ahead of the place in the file.
    states: Mutex<HashMap<i64, State>>,
    /// A round ended.
    done: Notify,
    stopped: channel::Sender<bool>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    is_busy: bool,
    looked: i64,
}

/// One event on its way to one endpoint.
#[derive(Clone, Debug)]
struct Job {
    event_id: i64,
    /// `None`: it is not kept any more.
    event: Option<Event>,
    /// Tries before this one.
    tries: u32,
    /// The endpoint's place moves on behind it.
    is_new: bool,
}

/// What an endpoint has to do now.
struct Work {
    jobs: Vec<Job>,
    /// Up to where its filter has looked.
    looked: i64,
    /// Events that were pruned before it got them: the first and the last.
    lost: Option<(i64, i64)>,
}

impl Publisher {
    /// A publisher over `store`.
    ///
    /// # Errors
    /// When the system gives no HTTP client.
    pub fn new(store: Store, settings: Live<Settings>, metrics: Metrics) -> Result<Publisher, PublishError> {
        Publisher::with_lookup(store, settings, metrics, system_lookup())
    }

    /// The same with another way from names to addresses.
    ///
    /// # Errors
    /// As above.
    pub fn with_lookup(
        store: Store,
        settings: Live<Settings>,
        metrics: Metrics,
        lookup: Lookup,
    ) -> Result<Publisher, PublishError> {
        let poster =
            Poster::new(settings.clone(), lookup).map_err(|error| PublishError(error.to_string()))?;
        let shared = Shared {
            store,
            settings,
            metrics,
            poster,
            slots: Semaphore::new(MOST_REQUESTS),
            states: Mutex::default(),
            done: Notify::new(),
            stopped: channel::channel(false).0,
        };
        Ok(Publisher { shared: Arc::new(shared), rounds: Mutex::default() })
    }

    /// Looks, whenever something was committed or a round ended, until `stopped`. Then requests under way are
    /// cut off: what was not noted is posted again at the next start.
    pub async fn run(self, stopped: impl Future<Output = ()>) {
        let mut newest = self.shared.store.watch_events();
        let mut last_error = String::new();
        let mut stopped = std::pin::pin!(stopped);
        loop {
            newest.mark_unchanged();
            match self.tick().await {
                Ok(_) => last_error.clear(),
                Err(error) if error.to_string() != last_error => {
                    last_error = error.to_string();
                    tracing::warn!(error = last_error, "webhook endpoints can't be looked at and wait");
                }
                Err(_) => {}
            }
            let woken = async {
                tokio::select! {
                    // The store outlives this loop; if it were gone, the interval would do.
                    Ok(()) = newest.changed() => {}
                    () = self.shared.done.notified() => {}
                    () = tokio::time::sleep(INTERVAL) => {}
                }
                tokio::time::sleep(REST).await;
            };
            tokio::select! {
                () = &mut stopped => break,
                () = woken => {}
            }
        }
        self.shared.stopped.send_replace(true);
        self.settle().await;
    }

    /// Starts a round for each endpoint that has something to do. Returns how many it started.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn tick(&self) -> Result<usize, StoreError> {
        let mut started = 0;
        for endpoint in self.shared.store.read(webhook_endpoints::enabled).await? {
            let now = self.shared.store.clock().now();
            let state = self.shared.state(endpoint.id);
            if state.is_busy || is_resting(&endpoint, now) {
                continue;
            }
            let place = endpoint.position.max(state.looked);
            let asked = endpoint.clone();
            let work = self.shared.store.read(move |conn| find_work(conn, &asked, place, now)).await?;
            if let Some(lost) = work.lost {
                self.shared.note_loss(endpoint.id, lost).await?;
            }
            if work.jobs.is_empty() {
                self.shared.look_on(&endpoint, work.looked).await?;
                continue;
            }
            self.shared.set_state(endpoint.id, State { is_busy: true, looked: place });
            let shared = Arc::clone(&self.shared);
            let id = endpoint.id;
            let task = async move {
                let looked = shared.round(endpoint, work).await.unwrap_or(place);
                shared.set_state(id, State { is_busy: false, looked });
                shared.done.notify_one();
            };
            let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
            while rounds.try_join_next().is_some() {}
            rounds.spawn(task);
            started += 1;
        }
        Ok(started)
    }

    /// Waits until every round under way has ended.
    pub async fn settle(&self) {
        let rounds = std::mem::take(&mut *self.rounds.lock().unwrap_or_else(PoisonError::into_inner));
        rounds.join_all().await;
    }
}

impl Shared {
    fn states(&self) -> MutexGuard<'_, HashMap<i64, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self, id: i64) -> State {
        self.states().get(&id).copied().unwrap_or_default()
    }

    fn set_state(&self, id: i64, state: State) {
        self.states().insert(id, state);
    }

    /// Nothing up to `looked` is meant for the endpoint. Written only after a long stretch: a filter that lets
    /// little through would else write at every commit.
    async fn look_on(&self, endpoint: &Endpoint, looked: i64) -> Result<(), StoreError> {
        let id = endpoint.id;
        if looked >= endpoint.position + STRIDE {
            self.store.write(move |tx| webhook_endpoints::move_on(tx, id, looked)).await?;
        }
        self.set_state(id, State { is_busy: false, looked });
        Ok(())
    }

    /// Events went by retention before the endpoint got them: somebody should know.
    async fn note_loss(&self, id: i64, (first, last): (i64, i64)) -> Result<(), StoreError> {
        use crate::domain::event::EventType::AlertWebhookFailing;
        self.store
            .write(move |tx| {
                webhook_endpoints::move_on(tx, id, last)?;
                let reason =
                    format!("The events {first} to {last} were not delivered and are not kept any more.");
                webhook_endpoints::alert(tx, id, AlertWebhookFailing, &reason)
            })
            .await
    }
}

/// Whether nothing may be sent right now: the endpoint asked for a rest, or is down and was just asked.
fn is_resting(endpoint: &Endpoint, now: Millis) -> bool {
    let rests = endpoint.last_attempt_at.is_some_and(|at| now - at < endpoint.health.rest());
    rests || endpoint.resting_until.is_some_and(|until| until > now)
}

/// What is due of an endpoint, then what is new to it behind `place`. One that is down is asked with a single
/// event, a new one if there is one: those that are due again may be the very ones that it can't take.
fn find_work(conn: &Connection, endpoint: &Endpoint, place: i64, now: Millis) -> Result<Work, StoreError> {
    let is_down = endpoint.health.is_down();
    let oldest = events::oldest_id(conn)?;
    let lost = (place < oldest - 1).then_some((place + 1, oldest - 1));
    let place = place.max(oldest - 1);
    let due = webhook_deliveries::due(conn, endpoint.id, now, if is_down { 1 } else { ROUND / 2 })?;
    let room = match () {
        () if webhook_deliveries::waiting(conn, endpoint.id)? >= BACKLOG => 0,
        () if is_down => 1,
        () => ROUND - due.len(),
    };
    let (mut new, mut looked) = (Vec::new(), place);
    if room > 0 {
        (new, looked) = events::list_after(conn, place, &selected(&endpoint.types), room)?;
    }
    let mut jobs = Vec::with_capacity(due.len() + new.len());
    if !is_down || new.is_empty() {
        for (event_id, tries) in due {
            jobs.push(Job { event_id, event: events::find(conn, event_id)?, tries, is_new: false });
        }
    }
    jobs.extend(new.into_iter().map(|event| Job {
        event_id: event.id,
        event: Some(event),
        tries: 0,
        is_new: true,
    }));
    Ok(Work { jobs, looked, lost })
}

/// Forgets what the log has kept for longer than `kept`, a stretch at a time.
///
/// # Errors
/// When the store can't be written; the next call goes on.
pub async fn prune_log(store: &Store, kept: Millis) -> Result<usize, StoreError> {
    let before = store.clock().now() - kept;
    let mut removed = 0;
    for endpoint in store.read(|conn| webhook_endpoints::list(conn, i64::MAX, usize::MAX >> 1)).await? {
        let mut after = Some(0);
        while let Some(place) = after {
            let id = endpoint.id;
            let (gone, more) = store
                .write(move |tx| webhook_deliveries::prune(tx, id, place, before, PRUNED_AT_ONCE))
                .await?;
            removed += gone;
            after = more;
        }
    }
    Ok(removed)
}
