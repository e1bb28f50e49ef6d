//! Flow: from a plan to queued rows. What people do with a campaign is in `actions`, the freezing of
//! its audience in `freeze`, its calendar in `schedule`; `audience` turns segments into a predicate;
//! `triggers` takes in business events, which start campaigns that wait for them.

mod actions;
mod audience;
mod freeze;
mod schedule;
mod single;
mod triggers;

pub use actions::{MAX_TEST_PHONES, Setup, cancel, clone, launch, pause, resume, retry_failed, send_test};
pub use audience::{Audience, is_larger_than};
pub use freeze::freeze_all;
pub use schedule::{resolve_start, tick};
pub use single::{SingleMessage, cancel_single, close_removed_senders, send_single};
pub use triggers::{Intake, Made, Taken, Trigger, Whom, expand_all, take};

use crate::domain::campaign::WrongState;
use crate::store::StoreError;

/// Why something could not be done with a campaign or a message.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// There is none with this id.
    #[error("there is no {0}")]
    NotFound(String),
    /// Its state does not allow it.
    #[error(transparent)]
    WrongState(#[from] WrongState),
    /// Nothing can be sent yet.
    #[error("{0}")]
    SetupIncomplete(String),
    /// It collides with something else.
    #[error("{0}")]
    Conflict(String),
    /// A field is wrong.
    #[error("{field}: {message}")]
    Invalid {
        /// As the API names it.
        field: String,
        /// What would be right.
        message: String,
    },
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CampaignError {
    /// A field is wrong.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> CampaignError {
        CampaignError::Invalid { field: field.into(), message: message.into() }
    }
}
