//! Events: everything that happens, in order.

use serde_json::json;
use utoipa::ToSchema;

use super::{Phone, Time, shape, words};
use crate::domain::event::EventType as Type;

shape! {
    /// What happened.
    EventType = words(Type::ALL.iter().map(|kind| kind.as_str()));
    /// Server-sent events: `id` and `event` are those of the JSON in `data`.
    EventStream = json!({"type": "string", "examples": [
        "id: 1\nevent: user.created\ndata: {\"id\":1,\"type\":\"user.created\"}\n\n"]});
    /// Particulars, by type.
    EventData = json!({"type": "object", "additionalProperties": true});
}

/// Something that happened.
#[derive(Debug, ToSchema)]
pub struct Event {
    /// Ascending, never reused.
    #[schema(example = 1)]
    pub id: i64,
    /// What happened.
    pub r#type: EventType,
    /// When.
    pub at: Time,
    /// Whom it concerns.
    #[schema(example = 17)]
    pub user_id: Option<i64>,
    /// That person's number as of now.
    pub phone: Option<Phone>,
    /// The campaign.
    #[schema(example = json!(null))]
    pub campaign_id: Option<i64>,
    /// The message.
    #[schema(example = json!(null))]
    pub message_id: Option<i64>,
    /// Your own name for that message.
    #[schema(example = json!(null))]
    pub reference: Option<String>,
    /// Particulars.
    pub data: EventData,
}

/// Events behind a place.
#[derive(Debug, ToSchema)]
pub struct EventPage {
    /// In order.
    pub data: Vec<Event>,
    /// Give it as `after` to go on.
    #[schema(example = 1)]
    pub next_after: i64,
}
