//! Outbound webhooks: who is told of events, and what was tried.

use utoipa::ToSchema;

use super::events::EventType;
use super::{Time, shape, words};
use crate::domain::event::EventType as Type;
use crate::store::webhook_deliveries::STATUSES;

shape! {
    /// A type of event, or all of a noun with a star, such as `alert.*`.
    EventFilter = filters();
    /// `pending` waits for its first or another try, `failed` was given up.
    DeliveryStatus = words(STATUSES);
}

/// Every type, and every noun with a star.
fn filters() -> serde_json::Value {
    let mut all: Vec<String> = Vec::new();
    for kind in Type::ALL {
        let noun = kind.as_str().split('.').next().unwrap_or_default();
        let star = format!("{noun}.*");
        if !all.contains(&star) {
            all.push(star);
        }
        all.push(kind.as_str().to_owned());
    }
    all.sort_unstable();
    words(all.iter().map(String::as_str))
}

/// An endpoint that is told of events.
#[derive(Debug, ToSchema)]
pub struct WebhookEndpoint {
    /// Key.
    pub id: i64,
    /// Where events are posted to.
    #[schema(example = "https://example.com/hooks/ese")]
    pub url: String,
    /// For people.
    #[schema(example = "CRM")]
    pub description: String,
    /// Which events; empty: all.
    #[schema(example = json!(["message.delivered", "alert.*"]))]
    pub types: Vec<EventFilter>,
    /// Whether anything is sent.
    #[schema(example = true)]
    pub enabled: bool,
    /// Why not, if it is disabled.
    #[schema(example = json!(null))]
    pub disabled_reason: Option<String>,
    /// Since when every request failed.
    #[schema(example = json!(null))]
    pub failing_since: Option<Time>,
    /// Deliveries that wait for another try.
    #[schema(example = 0)]
    pub waiting: i64,
    /// The event up to which everything was tried.
    #[schema(example = 812)]
    pub last_event_id: i64,
    /// The last request.
    pub last_attempt_at: Option<Time>,
    /// The last answer of 200 to 299.
    pub last_success_at: Option<Time>,
    /// Until then the secret before the last rotation signs too.
    #[schema(example = json!(null))]
    pub previous_secret_expires_at: Option<Time>,
    /// When it was added.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
}

/// An endpoint with the secret that was just made for it.
#[derive(Debug, ToSchema)]
pub struct WebhookEndpointWithSecret {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: WebhookEndpoint,
    /// Signs requests to the endpoint, after the Standard Webhooks specification. Told this once: a repeated
    /// request with the same `Idempotency-Key` gets null.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=")]
    pub secret: Option<String>,
}

/// An endpoint to be.
#[derive(Debug, ToSchema)]
pub struct NewWebhookEndpoint {
    /// A public https address, unless the configuration allows others. Not one that leads, by itself or by
    /// its name, into a private network.
    #[schema(example = "https://93.184.216.34/hooks/ese", min_length = 1, max_length = 2000)]
    pub url: String,
    /// For people.
    #[schema(example = "CRM", max_length = 500)]
    pub description: Option<String>,
    /// Which events; left out or empty: all.
    #[schema(example = json!(["message.delivered", "alert.*"]), max_items = 100)]
    pub types: Option<Vec<EventFilter>>,
    /// Whether events are sent, from now on.
    #[schema(example = true)]
    pub enabled: Option<bool>,
}

/// What changes of an endpoint.
#[derive(Debug, ToSchema)]
pub struct WebhookEndpointPatch {
    /// As for a new one.
    #[schema(
        nullable = false,
        example = "https://93.184.216.34/hooks/new",
        min_length = 1,
        max_length = 2000
    )]
    pub url: Option<String>,
    /// For people.
    #[schema(example = "CRM", max_length = 500)]
    pub description: Option<String>,
    /// Which events; null or empty: all.
    #[schema(example = json!(["alert.*"]), max_items = 100)]
    pub types: Option<Vec<EventFilter>>,
    /// true sends again, from the event at which it stood.
    #[schema(example = true)]
    pub enabled: Option<bool>,
}

/// One event on its way to one endpoint.
#[derive(Debug, ToSchema)]
pub struct WebhookDelivery {
    /// The event's id, which names the delivery.
    #[schema(example = 812)]
    pub id: i64,
    /// `webhook-id` of every request, by which the receiver knows a repeated one.
    #[schema(example = "evt_812")]
    pub message_id: String,
    /// The event.
    #[schema(example = 812)]
    pub event_id: i64,
    /// Its type.
    pub event_type: EventType,
    /// What became of it.
    #[schema(example = "delivered")]
    pub status: DeliveryStatus,
    /// Requests so far.
    pub attempts: i64,
    /// Status of the last answer.
    #[schema(example = 200)]
    pub http_status: Option<i64>,
    /// How long the last request took.
    #[schema(example = 48)]
    pub latency_ms: Option<i64>,
    /// What went wrong last.
    #[schema(example = json!(null))]
    pub error: Option<String>,
    /// When it is tried again.
    #[schema(example = json!(null))]
    pub next_attempt_at: Option<Time>,
    /// When it was first tried, or asked for.
    pub created_at: Time,
    /// When it was last tried.
    pub updated_at: Time,
}
