//! Flow: from a plan to queued rows. What people do with a campaign is in `actions`, the freezing of
//! its audience in `freeze`, its calendar in `schedule`; `audience` turns segments into a predicate, and
//! `triggers` takes in business events, which start campaigns that wait for them. What a launch would do is
//! told before it by `waterfall`, with the forecast of `outlook`.

mod actions;
mod audience;
mod before;
mod clearance;
mod explain;
mod freeze;
mod outlook;
mod reply;
mod schedule;
mod single;
mod stride;
mod template;
mod triggers;
mod turns;
mod waterfall;

pub use actions::{
    MAX_TEST_PHONES, Setup, cancel, clone, launch, launch_cleared, pause, resume, retry_failed, retry_some,
    send_test,
};
pub use audience::{Audience, is_larger_than};
pub use before::House;
pub use clearance::{Clearance, WouldExpire, clear};
pub use explain::{Clocks, Explanation, Question, SenderSaid, Standing, explain};
pub use freeze::freeze_all;
pub use reply::{Answer, Footing, Words, footing, reply};
pub use schedule::{resolve_start, tick};
pub use single::{
    Recipient, SingleMessage, TakenBack, cancel_by_reference, cancel_single, close_removed_senders,
    not_waiting, send_single,
};
pub use template::warnings;
pub use triggers::{Intake, Made, Taken, Trigger, Whom, expand_all, take};
pub use turns::audience as look_at_audience;
pub use waterfall::{Bucket, Example, Excluded, Waterfall, Way, ZoneOutlook};

use crate::domain::campaign::WrongState;
use crate::domain::content::Refusal;
use crate::domain::gate::Reason;
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
    /// It was launched, and what is asked for is about the time before.
    #[error("{0}")]
    Launched(String),
    /// A deadline would let people expire, and nobody accepted that.
    #[error("{0}")]
    WouldExpire(Box<WouldExpire>),
    /// Nothing can be sent yet.
    #[error("{0}")]
    SetupIncomplete(String),
    /// The data file was restored from a copy, and nobody released it yet.
    #[error(
        "The data file was restored from a copy and is in safe hold: nothing is sent until it is released (`ese release`)."
    )]
    SafeHold,
    /// Its Content template is known to be one that WhatsApp does not take.
    #[error("{0}")]
    TemplateNotApproved(Refusal),
    /// The gate refuses it, and what is refused is not kept.
    #[error("The message was not sent: {}.", .0.as_str())]
    Refused(Reason),
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
