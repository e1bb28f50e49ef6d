//! Campaigns: plans, and what became of them.

use serde_json::json;
use utoipa::ToSchema;

use super::report::Cost;
use super::{Channel, Time, shape, words};
use crate::domain::campaign::CampaignStatus as State;

shape! {
    /// How far a campaign is.
    CampaignStatus = words(State::ALL.map(State::as_str));
    /// Marketing asks for consent; transactional is what a person did something for.
    CampaignKind = words(["marketing", "transactional"]);
    /// What happens when the start was missed.
    IfMissed = words(["send", "skip", "ask"]);
    /// When people are left alone: null is the house's own, `off`, a window, or a preset by name.
    QuietHours = json!({"oneOf": [
        {"type": "null"},
        {"const": "off"},
        {"type": "object", "additionalProperties": false, "required": ["start", "end"],
            "properties": {"start": {"type": "string"}, "end": {"type": "string"}}},
        {"type": "object", "additionalProperties": false, "required": ["preset"],
            "properties": {"preset": {"type": "string"}}},
    ], "examples": [{"start": "21:00", "end": "08:00"}]});
}

/// When a campaign starts.
#[derive(Debug, ToSchema)]
pub struct Schedule {
    /// Local time, without an offset.
    #[schema(example = "2026-12-01T09:00:00", max_length = 40)]
    pub at: String,
    /// An IANA zone.
    #[schema(example = "Asia/Colombo", max_length = 60)]
    pub timezone: String,
    /// That time on each person's own clock.
    #[schema(example = false)]
    pub local_to_recipient: Option<bool>,
}

/// What starts messages one by one.
#[derive(Debug, ToSchema)]
pub struct CampaignTrigger {
    /// The type of the triggers.
    #[schema(example = "order.paid", min_length = 1, max_length = 100)]
    pub r#type: String,
}

/// How many messages are in each state.
#[derive(Debug, ToSchema)]
#[allow(missing_docs, reason = "the names of the states, which MessageStatus explains")]
pub struct StatusCounts {
    pub queued: i64,
    pub sending: i64,
    pub uncertain: i64,
    pub accepted: i64,
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub failed: i64,
    pub undelivered: i64,
    pub expired: i64,
    pub skipped: i64,
    pub cancelled: i64,
}

/// A campaign.
#[derive(Debug, ToSchema)]
pub struct Campaign {
    /// Key.
    #[schema(example = 7)]
    pub id: i64,
    /// How far it is.
    pub status: CampaignStatus,
    /// For people.
    #[schema(example = "Spring")]
    pub name: String,
    /// What it is about.
    #[schema(example = "general")]
    pub topic: Option<String>,
    /// What it says.
    pub template_id: i64,
    /// Who gets it; null with a trigger.
    #[schema(example = 2)]
    pub segment_id: Option<i64>,
    /// Who doesn't.
    #[schema(example = json!([]))]
    pub exclude_segment_ids: Vec<i64>,
    /// The way it goes.
    pub channel: Channel,
    /// Through which sender; null: any that fits.
    #[schema(example = json!(null))]
    pub sender: Option<String>,
    /// What it is.
    pub kind: CampaignKind,
    /// When it starts.
    pub schedule: Option<Schedule>,
    /// What happens when the start was missed.
    pub if_missed: IfMissed,
    /// A start that comes later than this is late.
    #[schema(example = 4.0)]
    pub late_hours: f64,
    /// What starts its messages.
    pub trigger: Option<CampaignTrigger>,
    /// Messages a second, at most.
    #[schema(example = 20.0)]
    pub rate_limit_per_second: Option<f64>,
    /// When people are left alone.
    pub quiet_hours: QuietHours,
    /// Messages that wait longer are given up.
    #[schema(example = json!(null))]
    pub expires_after_hours: Option<f64>,
    /// A larger audience is refused.
    #[schema(example = json!(null))]
    pub max_recipients: Option<i64>,
    /// What it may cost, in the currency of the price table; null: no cap.
    #[schema(example = 250.0)]
    pub spend_cap: Option<f64>,
    /// What is spent or reserved of it.
    pub spent: Cost,
    /// How many messages are in each state.
    pub counts: StatusCounts,
    /// Why it is paused.
    #[schema(example = json!(null))]
    pub pause_reason: Option<String>,
    /// When it goes on by itself; null: when somebody resumes it.
    pub paused_until: Option<Time>,
    /// What is odd about the template that it sends.
    #[schema(example = json!([]))]
    pub warnings: Vec<String>,
    /// When it was added.
    pub created_at: Time,
    /// When it was launched.
    pub launched_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
}

/// The plan of a campaign as you write it: with a segment, or with a trigger.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"name": "Spring", "topic": "general", "template_id": 1, "segment_id": 2,
    "channel": "sms", "schedule": {"at": "2026-12-01T09:00:00", "timezone": "Asia/Colombo",
    "local_to_recipient": false}, "rate_limit_per_second": 20.0, "quiet_hours": {"start": "21:00", "end": "08:00"}}))]
pub struct NewCampaign {
    /// One line.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// What it is about.
    #[schema(max_length = 64)]
    pub topic: Option<String>,
    /// A template of the same channel.
    #[schema(minimum = 1)]
    pub template_id: i64,
    /// Who gets it. Everybody is a segment with `{"all":[]}`.
    #[schema(minimum = 1)]
    pub segment_id: Option<i64>,
    /// Who doesn't.
    #[schema(max_items = 50)]
    pub exclude_segment_ids: Option<Vec<i64>>,
    /// The way it goes.
    pub channel: Channel,
    /// A configured sender.
    #[schema(max_length = 100)]
    pub sender: Option<String>,
    /// `marketing` if left out.
    pub kind: Option<CampaignKind>,
    /// At once if left out.
    pub schedule: Option<Schedule>,
    /// `send` if left out.
    pub if_missed: Option<IfMissed>,
    /// 4 if left out.
    #[schema(minimum = 0, maximum = 87600)]
    pub late_hours: Option<f64>,
    /// Instead of a segment.
    pub trigger: Option<CampaignTrigger>,
    /// Messages a second, at most.
    #[schema(exclusive_minimum = 0)]
    pub rate_limit_per_second: Option<f64>,
    /// When people are left alone.
    pub quiet_hours: Option<QuietHours>,
    /// Messages that wait longer are given up.
    #[schema(exclusive_minimum = 0, maximum = 87600)]
    pub expires_after_hours: Option<f64>,
    /// A larger audience is refused.
    #[schema(minimum = 1)]
    pub max_recipients: Option<i64>,
    /// It pauses before it costs more, in the currency of the price table; also while it runs.
    #[schema(exclusive_minimum = 0)]
    pub spend_cap: Option<f64>,
}

/// What changes of the plan (RFC 7396): null takes a setting away, what is left out stays.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"rate_limit_per_second": 5.0}))]
#[allow(missing_docs, reason = "the fields of NewCampaign")]
pub struct CampaignPatch {
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
    #[schema(max_length = 64)]
    pub topic: Option<String>,
    #[schema(minimum = 1)]
    pub template_id: Option<i64>,
    #[schema(minimum = 1)]
    pub segment_id: Option<i64>,
    #[schema(max_items = 50)]
    pub exclude_segment_ids: Option<Vec<i64>>,
    pub channel: Option<Channel>,
    #[schema(max_length = 100)]
    pub sender: Option<String>,
    pub kind: Option<CampaignKind>,
    pub schedule: Option<Schedule>,
    pub if_missed: Option<IfMissed>,
    #[schema(minimum = 0, maximum = 87600)]
    pub late_hours: Option<f64>,
    pub trigger: Option<CampaignTrigger>,
    #[schema(exclusive_minimum = 0)]
    pub rate_limit_per_second: Option<f64>,
    pub quiet_hours: Option<QuietHours>,
    #[schema(exclusive_minimum = 0, maximum = 87600)]
    pub expires_after_hours: Option<f64>,
    #[schema(minimum = 1)]
    pub max_recipients: Option<i64>,
    #[schema(exclusive_minimum = 0)]
    pub spend_cap: Option<f64>,
}

/// Where a test goes.
#[derive(Debug, ToSchema)]
pub struct TestPhones {
    /// Numbers with their country code.
    #[schema(example = json!(["+14155550101"]), min_items = 1, max_items = 10)]
    pub phones: Vec<String>,
}

/// What a launch has to be told.
#[derive(Debug, ToSchema)]
pub struct LaunchCampaign {
    /// True lets a campaign go whose deadline comes before everybody's turn.
    #[schema(example = false)]
    pub accept_would_expire: Option<bool>,
}
