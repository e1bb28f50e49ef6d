//! What an attempt took when it was claimed, given back: money, a place under the cap on messages to one
//! person, and the words of a first message.

use super::super::messages::Standing;
use super::super::{StoreError, Tx, frequency, spending};
use super::AttemptKey;

/// The attempt handed nothing over. `standing` is its message, if no later attempt was claimed since.
pub(super) fn nothing_handed_over(
    tx: &Tx<'_>,
    key: AttemptKey,
    standing: Option<&Standing>,
) -> Result<(), StoreError> {
    spending::charge(tx, key, 0)?;
    if let Some(standing) = standing.filter(|standing| standing.attempts == key.number) {
        frequency::take_back(tx, standing.user_id, standing.id)?;
        frequency::was_not_first(tx, standing.user_id, standing.id)?;
    }
    Ok(())
}
