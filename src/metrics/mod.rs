//! What is counted for Prometheus: typed handles that the web layer and delivery count with, and the
//! registry that writes them out; those of the sending are in `sending`. No label ever holds a person or a path
//! with one in it.

mod sending;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use sending::Sending;
pub use sending::{DailyLimit, Pace, Reading};

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: String,
    status: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClassLabels {
    class: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WebhookLabels {
    webhook: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LookupLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GapLabels {
    gap: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CampaignLabels {
    campaign_id: i64,
    status: String,
}

/// All counters. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<std::sync::Mutex<Registry>>,
    sending: Sending,
    requests: Family<RequestLabels, Counter>,
    webhooks: Family<WebhookLabels, Counter>,
    removed: Family<ClassLabels, Counter>,
    deliveries: Family<OutcomeLabels, Counter>,
    outbound_webhooks: Family<OutcomeLabels, Counter>,
    event_streams: Gauge,
    streamed_events: Counter,
    lookups: Family<LookupLabels, Counter>,
    uncertain: Gauge,
    campaign_messages: Family<CampaignLabels, Gauge>,
    store_batches: Counter,
    store_closures: Counter,
    catching_up: CatchingUp,
}

/// What was missed, and fetched.
#[derive(Clone)]
struct CatchingUp {
    gaps: Family<GapLabels, Counter>,
    marketing_waits: Gauge,
    catch_ups: Family<OutcomeLabels, Counter>,
    caught_up: Counter,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Registers a metric and hands it out.
fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl CatchingUp {
    fn new(all: &mut Registry) -> CatchingUp {
        CatchingUp {
            gaps: add(
                all,
                "gaps",
                "Times in which messages from people may have been missed",
                Default::default(),
            ),
            marketing_waits: add(
                all,
                "marketing_waits",
                "1 while marketing waits until missed messages were looked for",
                Default::default(),
            ),
            catch_ups: add(
                all,
                "catch_ups",
                "Looks through Twilio's list for missed messages",
                Default::default(),
            ),
            caught_up: add(
                all,
                "caught_up_messages",
                "Missed messages that came out of it",
                Default::default(),
            ),
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("ese");
        let all = &mut registry;
        Metrics {
            sending: Sending::new(all),
            requests: add(all, "http_requests", "Requests by route, method, status", Default::default()),
            removed: add(
                all,
                "retention_removed",
                "Rows from which retention took something",
                Default::default(),
            ),
            webhooks: add(all, "webhooks", "Webhooks by kind and outcome", Default::default()),
            deliveries: add(
                all,
                "deliveries",
                "Requests to Twilio and verdicts of the gate",
                Default::default(),
            ),
            outbound_webhooks: add(
                all,
                "outbound_webhooks",
                "Requests to webhook endpoints by outcome",
                Default::default(),
            ),
            event_streams: add(all, "event_streams", "Open event streams", Default::default()),
            streamed_events: add(all, "streamed_events", "Events sent over streams", Default::default()),
            lookups: add(
                all,
                "lookups",
                "Messages looked up at Twilio, by kind and outcome",
                Default::default(),
            ),
            uncertain: add(all, "uncertain", "Attempts whose answer was lost", Default::default()),
            campaign_messages: add(
                all,
                "campaign_messages",
                "Messages of campaigns that are not over, by status",
                Default::default(),
            ),
            store_batches: add(all, "store_batches", "Commits of the data file", Default::default()),
            store_closures: add(all, "store_closures", "Changes within those commits", Default::default()),
            catching_up: CatchingUp::new(all),
            registry: Arc::new(std::sync::Mutex::new(registry)),
        }
    }
}

impl Metrics {
    /// Counts an answer. `route` is the pattern, never the path itself.
    pub fn count_request(&self, route: &str, method: &str, status: u16) {
        let labels = RequestLabels {
            route: route.to_owned(),
            method: known_method(method).to_owned(),
            status: format!("{}xx", status / 100),
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts rows from which retention took something, by class.
    pub fn count_removed(&self, class: &'static str, n: u64) {
        self.removed.get_or_create(&ClassLabels { class }).inc_by(n);
    }

    /// Counts a webhook: `inbound` or `status`, and what became of it.
    pub fn count_webhook(&self, webhook: &'static str, outcome: &'static str) {
        self.webhooks.get_or_create(&WebhookLabels { webhook, outcome }).inc();
    }

    /// Counts what became of messages on their way to Twilio: `accepted`, `refused`, `gate` …
    pub fn count_deliveries(&self, outcome: &'static str, n: usize) {
        self.deliveries.get_or_create(&OutcomeLabels { outcome }).inc_by(n as u64);
    }

    /// Counts a request to a webhook endpoint: `delivered`, `failed` or `gone`.
    pub fn count_outbound_webhook(&self, outcome: &'static str) {
        self.outbound_webhooks.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Sets how many event streams are open, and how many events they were sent since the start.
    pub fn set_streams(&self, open: usize, sent: u64) {
        self.event_streams.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.streamed_events.inner().store(sent, Ordering::Relaxed);
    }

    /// Counts messages that Twilio was asked about: `uncertain` or `unfinished` ones, and what came of it:
    /// `found`, `not_found`, or `failed` for a question without an answer.
    pub fn count_lookups(&self, kind: &'static str, outcome: &'static str, n: usize) {
        if n > 0 {
            self.lookups.get_or_create(&LookupLabels { kind, outcome }).inc_by(n as u64);
        }
    }

    /// Sets how many attempts nobody knows the fate of.
    pub fn set_uncertain(&self, n: i64) {
        self.uncertain.set(n);
    }

    /// Sets what the store has committed since the start.
    pub fn set_commits(&self, (batches, closures): (u64, u64)) {
        self.store_batches.inner().store(batches, Ordering::Relaxed);
        self.store_closures.inner().store(closures, Ordering::Relaxed);
    }

    /// Counts a look through Twilio's list, `done` or `failed`, and the messages that it brought.
    pub fn count_catch_up(&self, outcome: &'static str, messages: u64) {
        self.catching_up.catch_ups.get_or_create(&OutcomeLabels { outcome }).inc();
        self.catching_up.caught_up.inc_by(messages);
    }

    /// Sets how many gaps of each kind there were, and whether marketing waits for one to be looked through.
    pub fn set_gaps(&self, totals: Vec<(&'static str, u64)>, marketing_waits: bool) {
        for (gap, total) in totals {
            self.catching_up.gaps.get_or_create(&GapLabels { gap }).inner().store(total, Ordering::Relaxed);
        }
        self.catching_up.marketing_waits.set(i64::from(marketing_waits));
    }

    /// Sets the number of messages of each live campaign by status; others are forgotten.
    pub fn set_campaign_messages(&self, counts: Vec<(i64, String, i64)>) {
        self.campaign_messages.clear();
        for (campaign_id, status, n) in counts {
            self.campaign_messages.get_or_create(&CampaignLabels { campaign_id, status }).set(n);
        }
    }

    /// Adds metrics of another part of the program.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Everything in the text format of OpenMetrics.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        encode(&mut text, &registry).expect("writing to a string can't fail");
        text
    }
}

/// A method as a label: a caller could make up any number of others.
fn known_method(method: &str) -> &str {
    match method {
        "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS" => method,
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_written_out() {
        let metrics = Metrics::default();
        metrics.count_request("/api/v1/users", "GET", 200);
        metrics.count_request("/api/v1/users", "BREW", 404);
        metrics.count_webhook("inbound", "bad_signature");
        metrics.set_commits((2, 9));
        metrics.count_lookups("uncertain", "found", 2);
        metrics.count_lookups("uncertain", "failed", 0);
        metrics.set_uncertain(4);
        metrics.set_campaign_messages(vec![(7, "queued".to_owned(), 3)]);
        let text = metrics.encode();
        for line in [
            "ese_http_requests_total{route=\"/api/v1/users\",method=\"GET\",status=\"2xx\"} 1",
            "ese_http_requests_total{route=\"/api/v1/users\",method=\"other\",status=\"4xx\"} 1",
            "ese_webhooks_total{webhook=\"inbound\",outcome=\"bad_signature\"} 1",
            "ese_store_closures_total 9",
            "ese_lookups_total{kind=\"uncertain\",outcome=\"found\"} 2",
            "ese_uncertain 4",
            "ese_campaign_messages{campaign_id=\"7\",status=\"queued\"} 3",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
