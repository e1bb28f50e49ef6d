//! Triggers: business events that start messages.

use serde_json::json;
use utoipa::ToSchema;

use super::messages::MessageStatus;
use super::segments::Definition;
use super::{Attributes, Time, shape, words};

shape! {
    /// What became of a line.
    TriggerOutcome = words(["accepted", "duplicate", "rejected"]);
    /// The message that the event started, where it concerns one person; of a duplicate, the one that the first
    /// started, as it stands now. Of a rejected line, what is wrong with it, in words. Else null.
    TriggerMessage = json!({
        "oneOf": [{"$ref": "#/components/schemas/StartedMessage"}, {"type": "string"}, {"type": "null"}],
        "examples": [{"id": 12, "campaign_id": 3, "status": "queued", "reason": null}],
    });
    /// One event a line, each as in the array.
    TriggerLines = json!({"type": "string", "examples": [
        "{\"id\":\"paid-1001\",\"type\":\"order.paid\",\"phone\":\"+14155550101\",\"data\":{\"order\":\"1001\"}}\n"]});
}

/// Something that happened in your own business. It concerns one person or the people of a segment, or only takes
/// another event back.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"id": "paid-1001", "type": "order.paid", "occurred_at": "2026-11-23T09:30:00Z",
    "data": {"order": "1001"}, "phone": "+14155550101"}))]
pub struct NewTrigger {
    /// Your own name for this event, taken once for good. `test:` at its beginning is reserved.
    #[schema(min_length = 1, max_length = 200)]
    pub id: String,
    /// What happened. Campaigns with this `trigger.type` that run send a message each.
    #[schema(max_length = 100, pattern = "^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]
    pub r#type: String,
    /// When it happened; now, if left out.
    pub occurred_at: Option<Time>,
    /// What templates see beside the person's attributes, which it goes before.
    pub data: Option<Attributes>,
    /// A number with its country code. Whom we don't know becomes a person of unknown consent.
    #[schema(max_length = 100)]
    pub phone: Option<String>,
    /// Or everybody in this segment, as it is when the event comes.
    pub segment: Option<Definition>,
    /// Not before: a reminder. At most 366 days ahead.
    pub send_at: Option<Time>,
    /// The id of another event: what still waits of its messages is not sent. It may come before that event.
    #[schema(max_length = 200)]
    pub cancels: Option<String>,
}

/// A message that an event started.
#[derive(Debug, ToSchema)]
pub struct StartedMessage {
    /// Key.
    #[schema(example = 12)]
    pub id: i64,
    /// Its campaign.
    #[schema(example = 3)]
    pub campaign_id: i64,
    /// How far it is.
    pub status: MessageStatus,
    /// Why, where the gate said no.
    #[schema(example = json!(null))]
    pub reason: Option<String>,
}

/// What became of one line.
#[derive(Debug, ToSchema)]
pub struct TriggerResult {
    /// The line of the body, or the place in the array, from 1.
    pub line: i64,
    /// The event's own name, where it could be read.
    #[schema(example = "paid-1001")]
    pub id: Option<String>,
    /// What became of it.
    pub result: TriggerOutcome,
    /// The message, or what is wrong.
    pub message: TriggerMessage,
    /// Further messages, where several campaigns wait for the event.
    #[schema(nullable = false)]
    pub more_messages: Option<Vec<StartedMessage>>,
    /// With `cancels`: how many messages to one person were taken back.
    #[schema(nullable = false)]
    pub cancelled: Option<i64>,
    /// What else there is to say.
    #[schema(nullable = false)]
    pub note: Option<String>,
}

/// What became of all lines.
#[derive(Debug, ToSchema)]
pub struct TriggersTaken {
    /// Lines that were taken now.
    pub accepted: i64,
    /// Lines whose id was taken before.
    #[schema(example = 0)]
    pub duplicate: i64,
    /// Lines that can't be taken.
    #[schema(example = 0)]
    pub rejected: i64,
    /// Each line, in order. Empty where a key came before and the first answer was longer than 256 KiB.
    pub results: Vec<TriggerResult>,
    /// Why `results` is empty then.
    #[schema(nullable = false)]
    pub note: Option<String>,
}
