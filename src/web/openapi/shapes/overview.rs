//! The report on everything.

use serde_json::json;
use utoipa::ToSchema;

use super::report::Failure;
use super::shape;

shape! {
    /// A UTC day.
    Day = json!({"type": "string", "format": "date", "examples": ["2026-11-23"]});
}

/// The span of a report.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OverviewSpan {
    /// The first day; thirty days before the last unless given.
    #[param(format = Date, example = "2026-11-01")]
    pub from: Option<String>,
    /// The last day; today unless given.
    #[param(format = Date, example = "2026-11-23")]
    pub to: Option<String>,
}

/// How often messages reached each state.
#[derive(Debug, ToSchema)]
pub struct ReachedCounts {
    /// Twilio took it.
    pub accepted: i64,
    /// The carrier took it.
    pub sent: i64,
    /// It reached the phone.
    pub delivered: i64,
    /// The person opened it.
    pub read: i64,
    /// It was refused or given up.
    pub failed: i64,
    /// The carrier could not deliver it.
    pub undelivered: i64,
    /// Its deadline passed.
    pub expired: i64,
    /// The gate refused it.
    pub skipped: i64,
    /// It was taken back.
    pub cancelled: i64,
}

/// What happened on one day.
#[derive(Debug, ToSchema)]
pub struct DayCounts {
    /// Which.
    pub day: Day,
    /// Messages by the state that they reached on it.
    pub messages: ReachedCounts,
    /// Messages from people.
    pub inbound: i64,
    /// People we knew who opted out or said STOP.
    pub opt_outs: i64,
}

/// What happened on all days.
#[derive(Debug, ToSchema)]
pub struct TotalCounts {
    /// Messages by the states that they reached.
    pub messages: ReachedCounts,
    /// Messages from people.
    pub inbound: i64,
    /// People we knew who opted out or said STOP.
    pub opt_outs: i64,
}

/// People as of now.
#[derive(Debug, ToSchema)]
pub struct ConsentCounts {
    /// Agreed to marketing.
    pub opt_in: i64,
    /// Never asked.
    pub unknown: i64,
    /// Declined marketing.
    pub opt_out: i64,
    /// Said STOP.
    pub stop: i64,
    /// Everybody.
    pub total: i64,
}

/// People by consent, and what happened by day.
#[derive(Debug, ToSchema)]
pub struct Overview {
    /// The first day.
    pub from: Day,
    /// The last day.
    pub to: Day,
    /// People by consent, as of now.
    pub users: ConsentCounts,
    /// Every day of the span.
    pub days: Vec<DayCounts>,
    /// Their sums.
    pub totals: TotalCounts,
    /// The ten most frequent of Twilio's codes.
    pub errors: Vec<Failure>,
    /// What the numbers are made of.
    #[schema(example = "Counts that are written with each change.")]
    pub based_on: String,
}
