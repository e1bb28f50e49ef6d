//! Handing one claim over: the request, and what came of it, written until it is kept.

use std::sync::Arc;
use std::time::Duration;

use super::claim::Outgoing;
use super::concurrency::Concurrency;
use super::lanes::Settings;
use super::outbox::Outbox;
use crate::domain::failure::Failure;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::outcomes::{self, Acceptance, AttemptKey, RetryPolicy};
use crate::twilio::client::{Client, MessageResource, OutgoingMessage, SendOutcome};
use crate::twilio::error::{explain, without_numbers};

/// How long to wait before an outcome that the store refused is written again.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// What sending tasks share.
pub(super) struct Desk {
    pub(super) store: Store,
    /// Who speaks to Twilio now; none while no account is set.
    pub(super) client: Live<Option<Client>>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) settings: Live<Settings>,
    pub(super) metrics: Metrics,
    pub(super) concurrency: Concurrency,
}

/// Sends one claim and writes down what came of it.
pub(super) async fn hand_over(desk: Arc<Desk>, from: String, outgoing: Outgoing) {
    let key = outgoing.key;
    // The attempt ends with the client that it begins with, whoever takes its place meanwhile.
    let client = desk.client.get();
    let is_kept = if let Some(client) = client.as_ref()
        && desk.outbox.begin(key)
    {
        let message = desk.message(from, outgoing);
        let begun = desk.concurrency.begin();
        let outcome = client.send(&message).await;
        let seconds = desk.concurrency.end(&begun, &outcome, rand::random());
        desk.metrics.count_deliveries(word(&outcome), 1);
        desk.metrics.observe_request(seconds);
        record_until_kept(&desk, key, outcome).await
            // What can't be written for a defect is not known: held, and listed as such.
            || keep(&desk, move |tx| outcomes::uncertain(tx, key, "its outcome could not be written")).await
    } else {
        keep(&desk, move |tx| outcomes::withdrawn(tx, key)).await
    };
    // A request that began is known as long as the process lives: nobody may take it for one that did not.
    if is_kept {
        desk.outbox.finish(key);
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
        let settings = self.settings.get();
        let base = &settings.public_base_url;
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
        let settings = self.settings.get();
        RetryPolicy { retry_after, ..RetryPolicy::of(&settings.rules, settings.max_attempts) }
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
        failure.text = without_numbers(message);
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
