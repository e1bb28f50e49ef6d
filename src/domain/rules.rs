//! The house rules that hold for every message: what an operator sets once for all campaigns.

use std::sync::Arc;

use super::consent::Replies;
use super::frequency::FrequencyCap;
use super::plan::Introduction;
use super::price::PriceTable;
use super::quiet_hours::Presets;

/// House rules as they stand at one moment.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Hours in which people are written to.
    pub presets: Arc<Presets>,
    /// What people are answered at once.
    pub replies: Arc<Replies>,
    /// What the first marketing message to a person says beside its text; `None`: nothing.
    pub introduction: Option<Arc<Introduction>>,
    /// How much marketing one person gets; `None`: no bound.
    pub frequency_cap: Option<FrequencyCap>,
    /// What messages cost.
    pub prices: Arc<PriceTable>,
    /// What may be spent on a UTC day before marketing rests, in millionths; `None`: no bound.
    pub cap_per_day: Option<i64>,
    /// Final failures in a row after which a number is left alone; 0: never.
    pub unreachable_after: u32,
}
