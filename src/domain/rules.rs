//! The house rules that hold for every message: what an operator sets once for all campaigns.

use std::sync::Arc;

use super::consent::Replies;
use super::quiet_hours::Presets;

/// House rules as they stand at one moment.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Hours in which people are written to.
    pub presets: Arc<Presets>,
    /// What people are answered at once.
    pub replies: Arc<Replies>,
}
