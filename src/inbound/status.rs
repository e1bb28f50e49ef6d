//! A status callback: news of a message that we sent.

use super::catch_up;
use crate::domain::message::Status;
use crate::store::outcomes::{self, AttemptKey, News, RetryPolicy};
use crate::store::receipts::{self, RawReceipt};
use crate::store::{StoreError, Tx};
use crate::twilio::error::{explain, without_numbers};
use crate::twilio::webhook::{Params, StatusForm};

/// A receipt, read as far as that needs no transaction.
#[derive(Clone, Debug)]
pub struct Told {
    form: StatusForm,
    /// Everything that came, as JSON.
    params: String,
    /// Our number, if it is one of a Messaging Service.
    service_number: Option<String>,
}

impl Told {
    /// Reads what `form` tells; `params` is everything that came with it.
    pub fn new(form: StatusForm, params: &Params) -> Told {
        Told {
            form,
            params: serde_json::to_string(params).unwrap_or_default(),
            service_number: catch_up::service_number(params, "From"),
        }
    }
}

/// Takes a receipt. `named` is the attempt that the callback URL names. Repeated news changes nothing; late
/// news changes the attempt alone. If the effect fails, the raw row stays and waits for a replay.
///
/// # Errors
/// [`StoreError`] when nothing could be kept.
pub fn status(
    tx: &Tx<'_>,
    told: &Told,
    named: Option<AttemptKey>,
    policy: &RetryPolicy,
) -> Result<(), StoreError> {
    let form = &told.form;
    if receipts::is_known(tx.conn(), &form.message_sid, &form.status, form.error_code.unwrap_or(0))? {
        return Ok(());
    }
    let attempt = outcomes::find_attempt(tx.conn(), named, &form.message_sid)?;
    let mut raw = RawReceipt {
        sid: &form.message_sid,
        status: &form.status,
        error_code: form.error_code.unwrap_or(0),
        state: if attempt.is_some() { "done" } else { "unmatched" },
        attempt,
        params: &told.params,
        error: None,
    };
    // The effect first: nothing is written before it, so undoing it needs no savepoint of its own.
    let applied = match attempt {
        Some(key) => tx.nested(|tx| apply(tx, key, form, policy)),
        None => Ok(()),
    };
    catch_up::note_number(tx, told.service_number.as_deref())?;
    match applied {
        Ok(()) => receipts::insert(tx, &raw),
        Err(error) if error.is_transient() => Err(error),
        Err(error) => {
            tracing::error!(receipt.sid = raw.sid, error = %error, "a receipt was kept but not applied; replay it");
            let error = error.to_string();
            (raw.state, raw.error) = ("pending", Some(error.as_str()));
            receipts::insert(tx, &raw)
        }
    }
}

/// Applies what a receipt says.
pub(super) fn apply(
    tx: &Tx<'_>,
    key: AttemptKey,
    form: &StatusForm,
    policy: &RetryPolicy,
) -> Result<(), StoreError> {
    let status = Status::from_twilio(&form.status, form.error_code);
    let has_failed = status.is_some_and(|status| status.rank() == Status::Failed.rank());
    let failure = has_failed.then(|| {
        let mut failure = explain(form.error_code.unwrap_or(0));
        if failure.code == 0
            && let Some(words) = &form.error_message
        {
            failure.text = without_numbers(words);
        }
        failure
    });
    let news = News { sid: &form.message_sid, twilio_status: &form.status, status, failure };
    outcomes::apply_news(tx, key, &news, policy)
}
