//! Senders: numbers and services to send from.

use utoipa::ToSchema;

use super::{Channel, Time, shape, words};

shape! {
    /// What a sender is.
    SenderKind = words(["whatsapp", "sandbox", "long_code", "toll_free", "ten_dlc", "short_code", "service"]);
    /// Who fixes a value, so that it can't be changed here.
    LockedBy = words(["file", "environment"]);
}

/// A number or service to send from.
#[derive(Debug, ToSchema)]
pub struct Sender {
    /// Key.
    pub id: i64,
    /// `+1…`, `whatsapp:+…` or `MG…`.
    #[schema(example = "+14155550100")]
    pub address: String,
    /// What it is.
    pub kind: SenderKind,
    /// The way its messages go.
    pub channel: Channel,
    /// Whether the configuration still names it; if not, it sends nothing.
    #[schema(example = true)]
    pub configured: bool,
    /// SMS parts a second.
    #[schema(example = 1.0)]
    pub rate_per_second: Option<f64>,
    /// People a day that it may write to of its own accord; null: no bound.
    #[schema(example = 250)]
    pub recipients_per_day: Option<i64>,
    /// People it wrote to of its own accord in the last 24 hours.
    #[schema(example = 12)]
    pub recipients_last_day: i64,
    /// Messages that wait for it; single ones are counted up to 10,000 of a kind.
    #[schema(example = 0)]
    pub waiting: i64,
    /// Whether it stands still.
    pub paused: bool,
    /// Why.
    #[schema(example = json!(null))]
    pub pause_reason: Option<String>,
    /// Until when; null: until somebody resumes it.
    pub paused_until: Option<Time>,
    /// Who fixes rate and limit.
    pub locked_by: SenderLocks,
}

/// Who fixes rate and limit; null: they can be changed here.
#[derive(Debug, ToSchema)]
pub struct SenderLocks {
    /// Of the rate.
    pub rate_per_second: Option<LockedBy>,
    /// Of the limit.
    pub recipients_per_day: Option<LockedBy>,
}

/// What changes of a sender.
#[derive(Debug, ToSchema)]
pub struct SenderPatch {
    /// SMS parts a second; null: as its kind has it.
    #[schema(example = 3.0, exclusive_minimum = 0)]
    pub rate_per_second: Option<f64>,
    /// People a day; null: as its kind has it.
    #[schema(example = 1000, minimum = 1)]
    pub recipients_per_day: Option<i64>,
    /// Stop it, or let it go on.
    pub paused: Option<bool>,
}
