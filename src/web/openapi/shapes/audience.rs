//! What would come of a launch, and what the gate says to one person.

use utoipa::{IntoParams, ToSchema};

use super::campaigns::{CampaignKind, CampaignStatus};
use super::imports::Counts;
use super::messages::MessageStatus;
use super::report::Cost;
use super::users::Consent;
use super::{Channel, Phone, Time, shape, words};
use crate::domain::encoding::Encoding;
use crate::domain::gate::{Reason, Step};

shape! {
    /// Why somebody does not get a message, or not yet.
    GateReason = words(Reason::ALL.iter().map(|reason| reason.as_str()));
    /// One question that the gate asks.
    GateStep = words(Step::ALL.iter().map(|step| step.as_str()));
    /// How somebody leaves: never, too late, or not yet.
    Exit = words(["skipped", "expired", "deferred"]);
    /// What the gate says: `pass` of one step, `send` of all.
    VerdictWord = words(["pass", "send", "skip", "defer", "expire", "not_in_audience"]);
    /// The alphabet that the text forces.
    PartEncoding = words([Encoding::Gsm7.as_str(), Encoding::Ucs2.as_str()]);
    /// Why somebody is not in the audience.
    AudienceReason = words(["not_in_segment", "excluded", "came_later"]);
    /// How a person's zones were found: by the attribute `timezone`, by the number, by the campaign; `too_wide`
    /// when the number fits too many.
    ClockSource = words(["person", "prefix", "campaign", "too_wide"]);
}

/// What is wanted of an audience.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AudienceFilters {
    /// People shown of each exit.
    #[param(minimum = 0, maximum = 100, default = 5)]
    pub sample: Option<i64>,
}

/// Somebody, to look them up.
#[derive(Debug, ToSchema)]
pub struct Example {
    /// Key.
    #[schema(example = 17)]
    pub id: i64,
    /// The number, if there is one.
    pub phone: Option<Phone>,
}

/// People who have something in common.
#[derive(Debug, ToSchema)]
pub struct SomePeople {
    /// How many.
    #[schema(example = 1)]
    pub people: i64,
    /// Some of them.
    pub sample: Vec<Example>,
}

/// People whom an exclude segment takes out.
#[derive(Debug, ToSchema)]
pub struct ExcludedPeople {
    /// The segment.
    #[schema(example = 3)]
    pub segment_id: i64,
    /// Its name.
    #[schema(example = "Bought already")]
    pub name: String,
    /// How many it takes of those whom none before it took.
    #[schema(example = 1)]
    pub people: i64,
    /// Some of them.
    pub sample: Vec<Example>,
}

/// People who leave at the gate, or wait there, for one reason.
#[derive(Debug, ToSchema)]
pub struct GateExit {
    /// How they leave.
    pub exit: Exit,
    /// Why.
    pub reason: GateReason,
    /// How many.
    #[schema(example = 1)]
    pub people: i64,
    /// The reason in words.
    #[schema(example = "Nobody knows whether the person agreed to marketing.")]
    pub says: String,
    /// What to do about it.
    #[schema(example = "Record the consent that you have with its evidence, or ask for it.")]
    pub what_to_do: String,
    /// Some of them.
    pub sample: Vec<Example>,
}

/// When it would go, by the rates, the hours, the limit on people a day and what waits for the same sender.
#[derive(Debug, ToSchema)]
pub struct AudienceForecast {
    /// The first one; null without anybody to send to.
    pub first: Option<Time>,
    /// The last one; null where that is years away.
    pub last: Option<Time>,
    /// Messages that wait for the same sender already.
    #[schema(example = 0)]
    pub queue_ahead: i64,
}

/// What a launch would be refused for or pause at.
#[derive(Debug, ToSchema)]
pub struct Obstacle {
    /// For a program to go by: `setup_incomplete`, `safe_hold`, `template_not_approved`, `max_recipients` and
    /// `conflict` refuse a launch; it pauses at `spend_cap`, `cap_per_day` and `price_unknown`.
    #[schema(example = "max_recipients")]
    pub code: String,
    /// For a person to read.
    #[schema(example = "The audience has more than 100 people, which is what max_recipients allows.")]
    pub detail: String,
}

/// What a launch would do. `people` are `excluded`, `skipped`, `expired`, `deferred` and `now` together.
#[derive(Debug, ToSchema)]
pub struct CampaignAudience {
    /// The campaign.
    #[schema(example = 7)]
    pub campaign_id: i64,
    /// The moment at which people are judged: the start, or now.
    pub at: Time,
    /// When what still waits expires.
    pub expires_at: Option<Time>,
    /// People of the segment.
    #[schema(example = 4)]
    pub people: i64,
    /// Whom the exclude segments take out, in their order.
    pub excluded: Vec<ExcludedPeople>,
    /// People for whom a message is made.
    #[schema(example = 3)]
    pub audience: i64,
    /// Who never gets it, by reason.
    pub skipped: Counts,
    /// For whom it will be too late, by what they wait for.
    pub expired: Counts,
    /// Who waits, by reason.
    pub deferred: Counts,
    /// Who goes at once.
    pub now: SomePeople,
    /// `now` and `deferred`.
    #[schema(example = 2)]
    pub would_send: i64,
    /// Who would wait until it is too late: `expired`, and those whose turn comes after the deadline.
    #[schema(example = 0)]
    pub would_expire: i64,
    /// Every exit of the gate that somebody takes.
    pub exits: Vec<GateExit>,
    /// How many lack each variable.
    pub missing_variables: Counts,
    /// SMS parts of all who would get it; messages, on WhatsApp.
    #[schema(example = 2)]
    pub parts: i64,
    /// SMS parts by `GSM-7` and `UCS-2`.
    pub parts_by_encoding: Counts,
    /// What it would cost by the price table.
    pub cost: Cost,
    /// The known part of it.
    #[schema(example = 0.0)]
    pub cost_known: f64,
    /// Messages whose price the table does not name.
    #[schema(example = 2)]
    pub unpriced: i64,
    /// ISO 4217.
    #[schema(example = "USD")]
    pub currency: String,
    /// Null where no sender fits.
    pub forecast: Option<AudienceForecast>,
    /// What a launch would be refused for or pause at, beside what would expire.
    pub obstacles: Vec<Obstacle>,
    /// Where nobody would get it: which exit took the most, and what to do.
    #[schema(example = json!(null))]
    pub advice: Option<String>,
}

/// What a person is asked about.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExplainFilters {
    /// A campaign; without it, a plain message.
    #[param(minimum = 0)]
    pub campaign_id: Option<i64>,
    /// Of the plain message.
    pub channel: Option<Channel>,
    /// Of the plain message.
    pub kind: Option<CampaignKind>,
}

/// The person who is explained.
#[derive(Debug, ToSchema)]
pub struct ExplainedUser {
    /// Key.
    #[schema(example = 17)]
    pub id: i64,
    /// The number, if there is one.
    pub phone: Option<Phone>,
    /// Their consent.
    pub consent: Consent,
}

/// A verdict in words.
#[derive(Debug, ToSchema)]
pub struct GateVerdict {
    /// What it is.
    pub verdict: VerdictWord,
    /// Why, unless it passes.
    pub reason: Option<GateReason>,
    /// The reason in words.
    #[schema(example = "The person said STOP.")]
    pub says: Option<String>,
    /// What to do about it.
    #[schema(example = "Nothing: only the person leads out of STOP, by START.")]
    pub what_to_do: Option<String>,
    /// On `defer`: not before.
    pub until: Option<Time>,
    /// On `pass` and `send`: when the person's hours end; null where none bound it.
    pub closes_at: Option<Time>,
}

/// One question of the gate, answered by itself.
#[derive(Debug, ToSchema)]
pub struct ExplainedStep {
    /// The step.
    pub step: GateStep,
    /// What it asks.
    #[schema(example = "Does the person's consent cover this?")]
    pub asks: String,
    /// What it says.
    pub verdict: VerdictWord,
    /// Why, unless it passes.
    pub reason: Option<GateReason>,
    /// The reason in words.
    #[schema(example = "The person said STOP.")]
    pub says: Option<String>,
    /// What to do about it.
    #[schema(example = "Nothing: only the person leads out of STOP, by START.")]
    pub what_to_do: Option<String>,
    /// On `defer`: not before.
    pub until: Option<Time>,
    /// On `pass`: when the person's hours end; null where none bound it.
    pub closes_at: Option<Time>,
}

/// How a person stands to the campaign's audience.
#[derive(Debug, ToSchema)]
pub struct ExplainedStanding {
    /// Why they are not in it; null when they are.
    pub reason: Option<AudienceReason>,
    /// On `excluded`: the segment that takes them out.
    #[schema(example = 3)]
    pub segment_id: Option<i64>,
    /// In words.
    #[schema(example = "The person is in the audience.")]
    pub says: String,
}

/// The text as the person would get it.
#[derive(Debug, ToSchema)]
pub struct ExplainedText {
    /// The wire address.
    #[schema(example = "+14155550101")]
    pub to: String,
    /// The words.
    #[schema(example = "Hi Ana")]
    pub body: String,
    /// SMS parts; 1 on WhatsApp.
    pub parts: i64,
    /// Null on WhatsApp.
    pub encoding: Option<PartEncoding>,
    /// Attachments.
    #[schema(example = json!([]))]
    pub media_urls: Vec<String>,
}

/// A zone and the time there.
#[derive(Debug, ToSchema)]
pub struct ZoneClock {
    /// An IANA zone.
    #[schema(example = "Asia/Colombo")]
    pub zone: String,
    /// With its offset.
    #[schema(example = "2026-11-23T15:00:00+05:30")]
    pub local_time: String,
}

/// Whose clocks count for a person.
#[derive(Debug, ToSchema)]
pub struct PersonClocks {
    /// How they were found.
    pub by: ClockSource,
    /// Every zone that counts.
    pub zones: Vec<ZoneClock>,
}

/// The sender, and its limit on people a day.
#[derive(Debug, ToSchema)]
pub struct ExplainedSender {
    /// The wire address.
    #[schema(example = "+14155550100")]
    pub address: String,
    /// People whom it may write to in 24 hours; null: no bound.
    #[schema(example = 250)]
    pub recipients_per_day: Option<i64>,
    /// How many it wrote to.
    #[schema(example = 12)]
    pub recipients_today: Option<i64>,
    /// When the next place becomes free, if none is.
    pub renews_at: Option<Time>,
    /// Whether a message to this person would take a place.
    #[schema(example = true)]
    pub counts_against_it: bool,
}

/// The person's message of the campaign.
#[derive(Debug, ToSchema)]
pub struct ExplainedMessage {
    /// Key.
    #[schema(example = 91)]
    pub id: i64,
    /// How far it is.
    pub status: MessageStatus,
    /// Why.
    #[schema(example = json!(null))]
    pub reason: Option<String>,
    /// When it is due, or was.
    pub due_at: Time,
}

/// What the gate says to a person.
#[derive(Debug, ToSchema)]
pub struct Explanation {
    /// The person.
    pub user: ExplainedUser,
    /// The campaign; null for a plain message.
    #[schema(example = 7)]
    pub campaign_id: Option<i64>,
    /// How far it is.
    pub campaign_status: Option<CampaignStatus>,
    /// The way it goes.
    pub channel: Channel,
    /// What it is.
    pub kind: CampaignKind,
    /// The moment that is asked about.
    pub at: Time,
    /// The deadline.
    pub expires_at: Option<Time>,
    /// Whether the segment has the person and no exclude segment takes them out.
    #[schema(example = true)]
    pub in_audience: bool,
    /// The same in words; null for a plain message, and for a campaign that events start.
    pub audience: Option<ExplainedStanding>,
    /// Every question of the gate, in order, each answered by itself.
    pub steps: Vec<ExplainedStep>,
    /// What they come to: the first step that does not pass.
    pub verdict: GateVerdict,
    /// Variables without value or fallback.
    #[schema(example = json!([]))]
    pub missing_variables: Vec<String>,
    /// The text; null where it can't be made, and for a plain message.
    pub rendered: Option<ExplainedText>,
    /// The person's clocks.
    pub clocks: PersonClocks,
    /// Null where no sender fits.
    pub sender: Option<ExplainedSender>,
    /// Null while there is none.
    pub message: Option<ExplainedMessage>,
}
