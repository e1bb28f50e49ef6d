//! Flow: templates that live at Twilio. `sync` learns what there is and how WhatsApp judges it, `make` creates and
//! submits, `ours` makes one out of a template of ours. Twilio is asked outside of transactions; what is to be made
//! is a row first, so that a repetition finds it.

mod make;
mod ours;
mod sync;

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::domain::content::variables_of;
use crate::live::Live;
use crate::store::content_templates::SeenContent;
use crate::store::{Store, StoreError};
use crate::twilio::content::{ApprovalResource, ContentClient, ContentError, ContentResource};

pub use make::Submission;
pub use ours::OwnSubmission;
pub use sync::Synced;

/// Twilio's templates of one account. Clones share it.
#[derive(Clone)]
pub struct Contents {
    store: Store,
    client: Live<Option<ContentClient>>,
    turn: Arc<Mutex<()>>,
}

/// Why something could not be done with a template at Twilio.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// There is none, here or at Twilio.
    #[error("there is no {0}")]
    NotFound(String),
    /// No account is configured.
    #[error(
        "The Twilio account is not configured. Set it under Settings, or [twilio] account_sid, auth_token and content_base."
    )]
    NoAccount,
    /// There is one of this name and language.
    #[error("There is a content template {name:?} in this language already: {sid}.")]
    Duplicate {
        /// Its name.
        name: String,
        /// `HX…`.
        sid: String,
    },
    /// Its state does not allow it; the text says what does.
    #[error("{0}")]
    Conflict(String),
    /// Fields at fault, each with what is wrong.
    #[error("{} fields can't be taken", .0.len())]
    Invalid(Vec<(String, String)>),
    /// Twilio refuses; asking again changes nothing.
    #[error("Twilio refused with {code}: {message}")]
    Refused {
        /// Twilio's code, 0 without one.
        code: i64,
        /// Twilio's words.
        message: String,
    },
    /// Twilio can't be asked now, or not with these credentials; ask again later: whatever was made is found then.
    #[error("{0}")]
    Unavailable(String),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ContentError> for ContentsError {
    fn from(error: ContentError) -> ContentsError {
        match error {
            ContentError::NotFound => ContentsError::NotFound("such content template at Twilio".to_owned()),
            ContentError::Refused { http_status: 401 | 403, code, message } => ContentsError::Unavailable(
                format!("Twilio does not let these credentials use the Content API ({code} {message})."),
            ),
            ContentError::Refused { code, message, .. } => ContentsError::Refused { code, message },
            ContentError::Uncertain(why) => ContentsError::Unavailable(format!(
                "Twilio's answer was lost ({why}). Ask again in a minute: it is looked up before anything is made."
            )),
            error => ContentsError::Unavailable(format!("{error}.")),
        }
    }
}

impl Contents {
    /// `client`: none while no account is configured.
    pub fn new(store: Store, client: impl Into<Live<Option<ContentClient>>>) -> Contents {
        Contents { store, client: client.into(), turn: Arc::default() }
    }

    /// Taken once for everything that belongs together.
    fn client(&self) -> Result<ContentClient, ContentsError> {
        self.client.get().as_ref().clone().ok_or(ContentsError::NoAccount)
    }

    /// Whether Twilio can be asked at all.
    pub fn has_account(&self) -> bool {
        self.client.get().is_some()
    }

    /// One at a time makes and submits: of two equal requests at once the second finds what the first made.
    pub async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }
}

/// A resource with its approval, as the store keeps it.
fn seen(resource: ContentResource, approval: Option<ApprovalResource>) -> SeenContent {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let approval = approval.or(resource.approval_requests).unwrap_or_default();
    let variables = resource.variables.unwrap_or_default();
    let types = resource.types.unwrap_or_default();
    SeenContent {
        names: names(&variables, &types),
        friendly_name: filled(resource.friendly_name).unwrap_or_else(|| resource.sid.clone()),
        sid: resource.sid,
        language: resource.language.unwrap_or_default(),
        types: Value::Object(types),
        variables,
        category: filled(approval.category),
        status: filled(approval.status).unwrap_or_else(|| "unsubmitted".to_owned()),
        rejection_reason: filled(approval.rejection_reason),
    }
}

/// Variables with a sample, then those that stand in texts without one.
fn names(variables: &Map<String, Value>, types: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<String> = variables.keys().cloned().collect();
    let mut waiting: Vec<&Value> = types.values().collect();
    while let Some(value) = waiting.pop() {
        match value {
            Value::String(text) => {
                let new = variables_of(text).into_iter().filter(|name| !names.contains(name));
                names.extend(new.collect::<Vec<_>>());
            }
            Value::Array(items) => waiting.extend(items),
            Value::Object(fields) => waiting.extend(fields.values()),
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_are_those_with_a_sample_and_those_in_any_text() {
        let variables = json!({"1": "Ana"}).as_object().unwrap().clone();
        let types = json!({"twilio/quick-reply": {"body": "Hi {{1}} and {{name}}",
            "actions": [{"title": "{{3}}"}, {"title": "No", "id": 4}]}});
        assert_eq!(names(&variables, types.as_object().unwrap()), ["1", "3", "name"]);
    }
}
