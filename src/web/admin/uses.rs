//! Campaigns that use a segment or a template: how many a list counts, and what a page names before one is deleted.

use minijinja::{Value, context};

use crate::store::reports::uses::Use;

/// Campaigns that a list counts.
pub(super) const MANY_USES: i64 = 100;
/// Campaigns that a page names.
pub(super) const USES: usize = 20;

/// Those campaigns as a page names them.
pub(super) fn shown_uses(used: &[Use]) -> Vec<Value> {
    let shown = used.iter().map(|one| {
        context! { id => one.campaign_id, name => one.name.clone(), status => one.status.clone(), is_exclusion => one.is_exclusion }
    });
    shown.collect()
}
