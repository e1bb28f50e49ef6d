//! The report of a campaign.

use serde_json::json;
use utoipa::ToSchema;

use super::campaigns::StatusCounts;
use super::imports::Counts;
use super::{Time, shape};

shape! {
    /// An amount in the currency of the price table, or `unknown` while one of its prices is.
    Cost = json!({"oneOf": [{"type": "number"}, {"const": "unknown"}], "examples": ["unknown"]});
}

/// What came of a campaign so far. The counts add up to `total`.
#[derive(Debug, ToSchema)]
pub struct CampaignReport {
    /// People.
    pub total: i64,
    /// Messages by state.
    pub counts: StatusCounts,
    /// Skipped messages by reason.
    pub skipped: Counts,
    /// Waiting messages by what they wait for.
    pub deferred: Counts,
    /// What failed, the most frequent first.
    pub failures: Vec<Failure>,
    /// The share that arrived of what left the queue; null while nothing left.
    #[schema(example = 0.98)]
    pub delivered_of_deliverable: Option<f64>,
    /// People who took their consent back after it.
    #[schema(example = 0)]
    pub opt_outs: i64,
    /// Messages that came back.
    #[schema(example = 0)]
    pub replies: i64,
    /// SMS parts.
    pub parts: i64,
    /// What it cost so far: by the price table, then by what Twilio tells.
    pub cost: Cost,
    /// The known part of it.
    #[schema(example = 12.5)]
    pub cost_known: f64,
    /// Hand-overs whose price nobody knows.
    #[schema(example = 0)]
    pub unpriced: i64,
    /// ISO 4217.
    #[schema(example = "USD")]
    pub currency: String,
    /// What is wrong with the prices, if anything.
    #[schema(example = json!(null))]
    pub cost_note: Option<String>,
    /// Over the time from the first to the last accepted message.
    #[schema(example = 19.5)]
    pub throughput_per_second: Option<f64>,
    /// When the last message would leave at this pace.
    pub eta: Option<Time>,
    /// When it was launched.
    pub launched_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
}

/// Messages that failed for one cause.
#[derive(Debug, ToSchema)]
pub struct Failure {
    /// Twilio's code; null when the cause is our own.
    #[schema(example = 30005)]
    pub code: Option<i64>,
    /// What it means.
    #[schema(example = "Unknown destination handset")]
    pub text: String,
    /// What to do.
    #[schema(example = "Check the number.")]
    pub what_to_do: String,
    /// How many.
    pub count: i64,
}
