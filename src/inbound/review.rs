//! An operator's word on what a person meant who may have opted out. Either way the ledger keeps who decided, on what
//! words and why, and the hold ends.

use crate::domain::consent::Consent;
use crate::store::ledger::{self, ConsentChange};
use crate::store::users::{self, UserKey};
use crate::store::{StoreError, Tx, Withdrawal, conversations, messages};

/// What the operator decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The person wants nothing more: as if they had said STOP, because in their own words they did.
    OptOut,
    /// The person meant something else: consent stays as it was.
    NotOptOut,
}

impl Judgement {
    /// The decision with this word.
    pub fn parse(word: &str) -> Option<Judgement> {
        match word {
            "opt_out" => Some(Judgement::OptOut),
            "not_opt_out" => Some(Judgement::NotOptOut),
            _ => None,
        }
    }
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is no such person.
    #[error("there is no person {0}")]
    NotFound(i64),
    /// Nothing waits for a decision: somebody else decided, or the person has said START or STOP since.
    #[error("nothing waits for a decision any more")]
    Decided,
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Records the decision with its reason. After an opt-out nothing that waits for the person begins any more.
///
/// # Errors
/// [`ReviewError`]; nothing is written then.
pub fn judge(
    tx: &Tx<'_>,
    user_id: i64,
    judgement: Judgement,
    reason: &str,
    actor: &str,
) -> Result<(), ReviewError> {
    let user = users::find(tx.conn(), &UserKey::Id(user_id))?.ok_or(ReviewError::NotFound(user_id))?;
    if user.hold.is_none() {
        return Err(ReviewError::Decided);
    }
    let doubt = conversations::doubt(tx.conn(), user_id)?;
    let words = doubt.as_ref().map_or_else(
        || "no words are kept".to_owned(),
        |doubt| format!("{}: {}", doubt.message_sid, doubt.body.as_deref().unwrap_or("(words removed)")),
    );
    let (state, verdict) = match judgement {
        Judgement::OptOut => (Consent::Stop, "An opt-out"),
        Judgement::NotOptOut => (user.consent, "Not an opt-out"),
    };
    let evidence = format!("{verdict}, decided by {actor}: {reason}\n{words}");
    let change = ConsentChange {
        state,
        source: "operator",
        actor,
        evidence: Some(&evidence),
        obtained_at: doubt.map(|doubt| doubt.received_at),
    };
    ledger::record(tx, user_id, user.consent, &change)?;
    users::set_hold(tx, user_id, None, actor)?;
    if judgement == Judgement::OptOut {
        messages::cancel_of_user(tx, user_id, "stop")?;
        tx.withdraw(Withdrawal::User(user_id));
    }
    Ok(())
}
