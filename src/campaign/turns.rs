//! Whose turn it is to walk an audience: those who look, and launches.

use tokio::sync::Semaphore;

use super::waterfall::{self, Waterfall};
use super::{CampaignError, House};
use crate::store::Store;

/// Walks at the same time: one keeps a core busy. Launches have a turn of their own, so that those who only look
/// keep none of them waiting.
static LOOKS: Semaphore = Semaphore::const_new(1);
static LAUNCHES: Semaphore = Semaphore::const_new(1);

/// Walks the whole audience of a campaign that was not launched yet, with up to `sample` people of each exit.
///
/// # Errors
/// Not found; wrong state, when it was launched; [`CampaignError::Store`] when the store can't.
pub async fn audience(
    store: &Store,
    house: &House,
    id: i64,
    sample: usize,
) -> Result<Waterfall, CampaignError> {
    // Never closed; without a turn one would walk beside others, no more.
    let _turn = LOOKS.acquire().await;
    waterfall::walk(store, house, id, sample).await
}

/// The same before a launch, which waits for other launches alone.
///
/// # Errors
/// As [`audience`].
pub(super) async fn before_launch(store: &Store, house: &House, id: i64) -> Result<Waterfall, CampaignError> {
    let _turn = LAUNCHES.acquire().await;
    waterfall::walk(store, house, id, 0).await
}
