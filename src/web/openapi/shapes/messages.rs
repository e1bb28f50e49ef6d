//! Messages, out and in.

use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::events::Event;
use super::{Attributes, Channel, Phone, Time, shape, words};
use crate::domain::message::Status;
use crate::store::reports::inbound::KINDS;

shape! {
    /// What a message is.
    MessageKind = words(["marketing", "transactional", "reply", "confirmation"]);
    /// What a message of your own may be.
    NewMessageKind = words(["marketing", "transactional", "reply"]);
    /// How far a message is.
    MessageStatus = words(Status::ALL.map(Status::as_str));
    /// How a message from a person was understood.
    InboundKind = words(KINDS);
    /// `done`, or `pending` until its effect worked.
    EffectState = words(["done", "pending", "failed"]);
    /// An attachment as Twilio told of it.
    Media = json!({"type": "object", "additionalProperties": true});
    /// Raw parameters in their order; null once they were erased.
    RawParameters = json!({});
}

/// A message.
#[derive(Debug, ToSchema)]
pub struct Message {
    /// Key.
    pub id: i64,
    /// Its campaign; null for a single message.
    #[schema(example = json!(null))]
    pub campaign_id: Option<i64>,
    /// Its person.
    #[schema(example = 17)]
    pub user_id: i64,
    /// That person's number as of now.
    pub phone: Option<Phone>,
    /// The way it goes.
    pub channel: Channel,
    /// What it is.
    pub kind: MessageKind,
    /// Sent by a campaign's `test`.
    #[schema(example = false)]
    pub is_test: bool,
    /// Your own name for it.
    #[schema(example = "order-1001")]
    pub reference: Option<String>,
    /// How far it is.
    pub status: MessageStatus,
    /// Why it is there: of `skipped`, what the gate says; of `queued`, what it waits for.
    #[schema(example = json!(null))]
    pub reason: Option<String>,
    /// Twilio's id.
    #[schema(example = json!(null))]
    pub sid: Option<String>,
    /// SMS parts.
    #[schema(example = 1)]
    pub parts: Option<i64>,
    /// In the unit of the Twilio account; null until it is told.
    #[schema(example = json!(null))]
    pub price: Option<f64>,
    /// Hand-overs to Twilio.
    #[schema(example = 0)]
    pub attempts: i64,
    /// Twilio's code.
    #[schema(example = json!(null))]
    pub error_code: Option<i64>,
    /// The text; null before it is rendered and once it is erased.
    #[schema(example = "Your order 1001 is on its way.")]
    pub body: Option<String>,
    /// Not before.
    pub send_at: Time,
    /// When it was made.
    pub created_at: Time,
    /// When Twilio took it.
    pub accepted_at: Option<Time>,
    /// When the carrier took it.
    pub sent_at: Option<Time>,
    /// When it arrived.
    pub delivered_at: Option<Time>,
    /// When it was opened.
    pub read_at: Option<Time>,
}

/// A message with all that is known of it.
#[derive(Debug, ToSchema)]
pub struct WholeMessage {
    /// The message; here `attempts` are the hand-overs themselves.
    #[serde(flatten)]
    pub message: Message,
    /// Hand-overs to Twilio, in order.
    pub attempts: Vec<Attempt>,
    /// What happened to it.
    pub events: Vec<Event>,
    /// What Twilio reported of it.
    pub receipts: Vec<Receipt>,
}

/// A message in the story of a person.
#[derive(Debug, ToSchema)]
pub struct TimelineMessage {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// Its campaign's name.
    #[schema(example = json!(null))]
    pub campaign_name: Option<String>,
    /// What happened to it.
    pub events: Vec<Event>,
}

/// One hand-over to Twilio.
#[derive(Debug, ToSchema)]
pub struct Attempt {
    /// From 1.
    #[schema(example = 1)]
    pub number: i64,
    /// Through which sender.
    #[schema(example = "+15005550006")]
    pub sender: String,
    /// What came of it.
    #[schema(example = "accepted")]
    pub outcome: String,
    /// When it began.
    pub started_at: Time,
    /// When Twilio answered.
    pub answered_at: Option<Time>,
    /// With which status.
    #[schema(example = 201)]
    pub http_status: Option<i64>,
    /// Twilio's id.
    #[schema(example = "SM00000000000000000000000000000001")]
    pub sid: Option<String>,
    /// Twilio's last word.
    #[schema(example = "delivered")]
    pub status: Option<String>,
    /// Twilio's code.
    #[schema(example = json!(null))]
    pub error_code: Option<i64>,
    /// And its words.
    #[schema(example = json!(null))]
    pub error_message: Option<String>,
}

/// A status callback.
#[derive(Debug, ToSchema)]
pub struct Receipt {
    /// In order of arrival.
    pub id: i64,
    /// About which hand-over, by Twilio's id.
    #[schema(example = "SM00000000000000000000000000000001")]
    pub sid: String,
    /// That hand-over's number, if told.
    #[schema(example = 1)]
    pub attempt: Option<i64>,
    /// Twilio's word.
    #[schema(example = "delivered")]
    pub status: String,
    /// Twilio's code.
    #[schema(example = json!(null))]
    pub error_code: Option<i64>,
    /// How far its effect is.
    pub state: EffectState,
    /// What was sent.
    pub params: RawParameters,
    /// When it came.
    pub received_at: Time,
}

/// A message to one person: a text, a template, or media alone.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"to": "+14155550101", "channel": "sms", "body": "Your order 1001 is on its way.",
    "reference": "order-1001"}))]
pub struct NewMessage {
    /// A number with its country code. Whom we don't know becomes a person of unknown consent.
    #[schema(max_length = 100)]
    pub to: String,
    /// The way it goes.
    pub channel: Channel,
    /// The text; or give a template.
    #[schema(max_length = 1600)]
    pub body: Option<String>,
    /// A template of the same channel.
    #[schema(minimum = 1)]
    pub template_id: Option<i64>,
    /// Values for the template beside the person's attributes, which they go before.
    pub variables: Option<Attributes>,
    /// Addresses (https) of attachments to a text of your own; on WhatsApp one.
    #[schema(max_items = 10)]
    pub media_urls: Option<Vec<String>>,
    /// What it is about; without one, consent alone decides.
    #[schema(max_length = 64)]
    pub topic: Option<String>,
    /// `transactional` if left out.
    pub kind: Option<NewMessageKind>,
    /// Your own name for it, by which it can be found and cancelled.
    #[schema(max_length = 200)]
    pub reference: Option<String>,
    /// Not before. At most 366 days ahead.
    pub send_at: Option<Time>,
    /// Not after.
    pub expires_at: Option<Time>,
}

/// The filters of messages.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MessageFilters {
    /// Of this campaign, ordered by person.
    #[param(minimum = 0)]
    pub campaign_id: Option<i64>,
    /// Of the person with this number.
    pub phone: Option<String>,
    /// That are here.
    pub status: Option<MessageStatus>,
    /// Of this kind.
    pub kind: Option<MessageKind>,
    /// With your own name.
    pub reference: Option<String>,
    /// Made at this time or later.
    pub since: Option<Time>,
}

/// A message from a person.
#[derive(Debug, ToSchema)]
pub struct Inbound {
    /// In order of arrival.
    pub id: i64,
    /// Twilio's id.
    #[schema(example = "SM00000000000000000000000000000002")]
    pub sid: String,
    /// The person; null: unmatched.
    #[schema(example = 17)]
    pub user_id: Option<i64>,
    /// That person's number as of now.
    pub phone: Option<Phone>,
    /// As Twilio wrote it.
    #[schema(example = "+14155550101")]
    pub from: Option<String>,
    /// Our own address.
    #[schema(example = "+15005550006")]
    pub to: Option<String>,
    /// The way it came.
    pub channel: Option<Channel>,
    /// How it was understood; null until then.
    pub kind: Option<InboundKind>,
    /// The words; null once they are erased.
    #[schema(example = "When do you open?")]
    pub body: Option<String>,
    /// Attachments.
    #[schema(example = json!([]))]
    pub media: Vec<Media>,
    /// What the webhook's answer said back.
    #[schema(example = json!(null))]
    pub reply: Option<String>,
    /// How far its effect is.
    pub state: EffectState,
    /// When it came.
    pub received_at: Time,
}

/// What a cancel by reference took back.
#[derive(Debug, ToSchema)]
pub struct CancelledMessages {
    /// The newest 200 with this reference that are cancelled.
    pub data: Vec<Message>,
    /// How many this request took back.
    #[schema(example = 1)]
    pub cancelled: i64,
    /// How many still wait, because they are more than one request takes back; send it again.
    #[schema(example = 0)]
    pub remaining: i64,
}
