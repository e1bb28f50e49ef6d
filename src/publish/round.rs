//! A round: some events to one endpoint, and what came of them, written in one go.

use futures_util::{StreamExt, stream};

use super::post::Posted;
use super::{Job, Shared, Work};
use crate::clock::Millis;
use crate::domain::webhook::schedule::{self, Outcome, Verdict};
use crate::store::webhook_deliveries::{self, Attempt};
use crate::store::webhook_endpoints::{self, Endpoint};
use crate::store::{StoreError, Tx};

/// What became of a job. `None`: its event is not kept any more.
type Done = (Job, Option<Posted>);

impl Shared {
    /// Posts what there is to do, one after the other or some at a time, until an answer says to stop. Returns
    /// how far the endpoint has looked now; an error is logged, and the round is done again.
    pub(super) async fn round(&self, endpoint: Endpoint, work: Work) -> Option<i64> {
        let (id, wanted) = (endpoint.id, work.jobs.len());
        let at_once = self.settings.get().in_flight_per_endpoint.max(1);
        let mut health = endpoint.health;
        let mut done: Vec<Done> = Vec::with_capacity(wanted);
        {
            let posts = stream::iter(work.jobs).map(|job| self.post(&endpoint, job)).buffered(at_once);
            let mut posts = std::pin::pin!(posts);
            let mut stopped = self.stopped.subscribe();
            loop {
                let next = tokio::select! {
                    biased;
                    _ = stopped.wait_for(|is_stopped| *is_stopped) => None,
                    next = posts.next() => next,
                };
                let Some(next) = next else { break };
                let (job, posted) = match next {
                    Ok(next) => next,
                    Err(error) => {
                        tracing::warn!(endpoint.id = id, %error, "a webhook endpoint waits");
                        break;
                    }
                };
                let is_end = posted.as_ref().is_some_and(|posted| {
                    health.note(&posted.outcome, self.store.clock().now());
                    health.is_down()
                        || matches!(posted.outcome, Outcome::Gone | Outcome::Failed { is_limit: true, .. })
                });
                done.push((job, posted));
                if is_end {
                    break;
                }
            }
        }
        self.count(&done);
        let is_whole = done.len() == wanted;
        let place = done.iter().filter(|(job, _)| job.is_new).map(|(job, _)| job.event_id).max();
        let looked = if is_whole { Some(work.looked) } else { place };
        match self.store.write(move |tx| settle(tx, &endpoint, &done)).await {
            Ok(()) => looked,
            Err(error) => {
                tracing::warn!(endpoint.id = id, %error, "what came of webhooks was not noted; they are sent again");
                None
            }
        }
    }

    async fn post(&self, endpoint: &Endpoint, job: Job) -> Result<Done, StoreError> {
        let Some(event) = job.event.clone() else {
            return Ok((job, None));
        };
        // Nobody closes the slots; without one the request would go out beyond the bound, and no more.
        let _slot = self.slots.acquire().await;
        let (id, key, now) = (endpoint.id, self.store.key().clone(), self.store.clock().now());
        let secrets = self.store.read(move |conn| webhook_endpoints::secrets(conn, &key, id, now)).await?;
        let posted = self.poster.post(&endpoint.url, &event, &secrets, now).await;
        Ok((job, Some(posted)))
    }

    fn count(&self, done: &[Done]) {
        for posted in done.iter().filter_map(|(_, posted)| posted.as_ref()) {
            let outcome = match posted.outcome {
                Outcome::Delivered => "delivered",
                Outcome::Gone => "gone",
                Outcome::Failed { .. } => "failed",
            };
            self.metrics.count_outbound_webhook(outcome);
        }
    }
}

/// Writes what came of a round: the log, the endpoint's place and how it is doing. `asked` is the endpoint as it
/// was when the round began.
fn settle(tx: &Tx<'_>, asked: &Endpoint, done: &[Done]) -> Result<(), StoreError> {
    let id = asked.id;
    // Removed meanwhile: there is nothing to write it to.
    let Some(endpoint) = webhook_endpoints::find(tx.conn(), id)? else {
        return Ok(());
    };
    // What the old address answered says nothing about the new one.
    let is_moved = endpoint.url != asked.url;
    let (mut health, mut is_disabled) = (endpoint.health, !endpoint.is_enabled);
    for (job, posted) in done {
        let Some(posted) = posted else {
            webhook_deliveries::give_up(tx, id, job.event_id, "the event is not kept any more")?;
            continue;
        };
        note(tx, id, job, posted, is_moved)?;
        if is_moved {
            continue;
        }
        webhook_endpoints::note_attempt(tx, id, posted.outcome == Outcome::Delivered)?;
        if let Outcome::Failed { is_limit: true, retry_after, .. } = &posted.outcome {
            let least = schedule::wait(1, 0.0, None).unwrap_or_default();
            webhook_endpoints::rest(tx, id, Some(tx.now() + schedule::wish(*retry_after).max(least)))?;
        }
        let verdict = health.note(&posted.outcome, tx.now());
        if let Verdict::Recovered { since } = verdict {
            webhook_deliveries::hasten(tx, id, since)?;
        }
        if let Some((kind, reason)) = verdict.alert().filter(|_| !is_disabled) {
            if let Verdict::Disable(reason) = &verdict {
                webhook_endpoints::disable(tx, id, reason)?;
                is_disabled = true;
            }
            webhook_endpoints::alert(tx, id, kind, reason)?;
        }
    }
    if health != endpoint.health {
        webhook_endpoints::set_health(tx, id, &health)?;
    }
    match done.iter().filter(|(job, _)| job.is_new).map(|(job, _)| job.event_id).max() {
        Some(place) => webhook_endpoints::move_on(tx, id, place),
        None => Ok(()),
    }
}

/// The row of the log.
fn note(tx: &Tx<'_>, id: i64, job: &Job, posted: &Posted, is_moved: bool) -> Result<(), StoreError> {
    let (status, error, next_at): (_, _, Option<Millis>) = match &posted.outcome {
        Outcome::Delivered => ("delivered", None, None),
        Outcome::Gone if is_moved => ("pending", Some("answered 410 at the address before"), Some(tx.now())),
        Outcome::Gone => ("failed", Some("answered 410: no more events are wanted"), None),
        Outcome::Failed { why, retry_after, .. } => {
            let wait = schedule::wait(job.tries + 1, rand::random(), *retry_after);
            let status = if wait.is_some() { "pending" } else { "failed" };
            (status, Some(why.as_str()), wait.map(|wait| tx.now() + wait))
        }
    };
    let event_type = job.event.as_ref().map_or("", |event| event.kind.as_str());
    let attempt = Attempt {
        event_id: job.event_id,
        event_type,
        status,
        http_status: posted.http_status,
        latency_ms: posted.latency_ms,
        error,
        next_at,
    };
    webhook_deliveries::note(tx, id, &attempt)
}
