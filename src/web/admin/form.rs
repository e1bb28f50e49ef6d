//! What a form posted. Reading it is the check that it came from a page of this session; there is no other way to
//! read a POST. The hidden `_once` makes a double click one effect.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::web::BytesMut;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt;
use minijinja::{Value, context};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::failure::Failure;
use super::page::Viewer;
use super::render;
use crate::web::error::{FieldError, Problem};
use crate::web::idempotency::Once;

/// Largest form, in bytes.
const MAX_FORM: usize = 1024 * 1024;
/// Longest `_once`.
const MAX_ONCE: usize = 100;
const CSRF: &str = "_csrf";
const ONCE: &str = "_once";
/// Parts of names of fields that are never said again.
const SECRETS: [&str; 5] = ["password", "secret", "token", "totp", "recovery"];

/// The fields of a form, in their order.
#[derive(Debug)]
pub(super) struct Form {
    pairs: Vec<(String, String)>,
    /// Runs the effect at most once.
    pub(super) once: Once,
}

/// What was posted, for the error page.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) action: String,
    pub(super) pairs: Vec<(String, String)>,
}

/// What the forms of a session hold: it can be made of the token alone, which no other site knows.
pub(super) fn csrf_of(token: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"csrf:");
    hasher.update(token);
    URL_SAFE_NO_PAD.encode(hasher.finalize())
}

/// A value for `_once` of a new form.
pub(super) fn new_once() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

fn is_secret(name: &str) -> bool {
    SECRETS.iter().any(|part| name.contains(part))
}

/// Checks the hidden field of a form of this session; for uploads, which are no [`Form`].
///
/// # Errors
/// 403.
pub(super) fn check_csrf(viewer: Option<&Viewer>, given: &str) -> Result<(), Failure> {
    let expected = viewer.map(|viewer| viewer.csrf.as_bytes()).unwrap_or_default();
    if !expected.is_empty() && bool::from(expected.ct_eq(given.as_bytes())) {
        return Ok(());
    }
    Err(Failure::forbidden("This form is older than your login. Send it again."))
}

impl FromRequest for Form {
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Form, Failure>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let form = Form::read(&request, payload).await?;
            let viewer = request.extensions().get::<Viewer>().cloned();
            // Kept before the check: nobody loses what they wrote.
            let kept = form.pairs.iter().filter(|(name, _)| !name.starts_with('_') && !is_secret(name));
            let kept = Kept { action: request.uri().path().to_owned(), pairs: kept.cloned().collect() };
            request.extensions_mut().insert(kept);
            check_csrf(viewer.as_ref(), form.text(CSRF).as_deref().unwrap_or_default())?;
            Ok(form)
        })
    }
}

impl Form {
    /// Reads a form without the check: for the login, where there is no session yet.
    ///
    /// # Errors
    /// 400, 413.
    pub(super) async fn read(request: &HttpRequest, mut payload: Payload) -> Result<Form, Failure> {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Problem::unreadable("The form ended early. Send it again."))?;
            if body.len() + chunk.len() > MAX_FORM {
                let detail = "The form is larger than 1 MiB.";
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into());
            }
            body.extend_from_slice(&chunk);
        }
        let mut pairs: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
        for (_, value) in &mut pairs {
            // Browsers send lines of a text area so.
            if value.contains('\r') {
                *value = value.replace("\r\n", "\n");
            }
        }
        let caller = request.extensions().get::<Viewer>().map_or(0, |viewer| viewer.operator.id);
        let key = pairs.iter().find(|(name, _)| name == ONCE).map(|(_, value)| value.clone());
        let key = key.filter(|key| (1..=MAX_ONCE).contains(&key.len())).unwrap_or_else(new_once);
        let shown: Vec<_> = pairs.iter().filter(|(name, _)| !name.starts_with('_')).cloned().collect();
        let once = Once::of_form(format!("operator:{caller}"), request.uri().path(), &key, &shown);
        Ok(Form { pairs, once })
    }

    /// The value of a field, trimmed; `None` when it is missing or blank.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let found = self.pairs.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The value of a field as it was sent.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a field, trimmed, without blank ones.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let given = self.pairs.iter().filter(|(given, _)| given == name);
        given.map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
    }

    /// Whether a check box is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.pairs.iter().any(|(given, value)| given == name && !value.is_empty() && value != "0")
    }

    /// Every field but the hidden ones of the form itself.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let shown = self.pairs.iter().filter(|(name, _)| !name.starts_with('_'));
        shown.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A JSON object of these fields as texts, those that are blank left out; a handler adds what has another type
    /// and gives it to the reader of the API.
    pub(super) fn json(&self, names: &[&str]) -> serde_json::Map<String, serde_json::Value> {
        let given = names.iter().filter_map(|name| Some(((*name).to_owned(), self.text(name)?.into())));
        given.collect()
    }
}

/// The values and faults with which a form is shown: `form` in a template.
#[derive(Clone, Debug, Default)]
pub(super) struct Filled {
    values: BTreeMap<String, Vec<String>>,
    errors: Vec<FieldError>,
    /// What is wrong with the whole.
    summary: Option<String>,
    status: Option<StatusCode>,
}

impl Filled {
    /// A form with these values.
    pub(super) fn with<'a>(values: impl IntoIterator<Item = (&'a str, String)>) -> Filled {
        let mut filled = Filled::default();
        for (name, value) in values {
            filled.values.entry(name.to_owned()).or_default().push(value);
        }
        filled
    }

    /// Puts a value in the place of what was there.
    pub(super) fn set(&mut self, name: &str, value: String) {
        self.values.insert(name.to_owned(), vec![value]);
    }

    /// The value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.first().map(String::as_str)
    }

    /// Every field with its first value.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let first =
            self.values.iter().filter_map(|(name, values)| Some((name.clone(), values.first()?.clone())));
        first.collect()
    }

    /// A form as it was posted, with what is wrong with it.
    ///
    /// # Errors
    /// What is no fault of the form: the error page has it.
    pub(super) fn refused(form: &Form, problem: Problem) -> Result<Filled, Failure> {
        let status = problem.status();
        let is_of_form = matches!(
            status,
            StatusCode::UNPROCESSABLE_ENTITY
                | StatusCode::CONFLICT
                | StatusCode::PRECONDITION_FAILED
                | StatusCode::BAD_REQUEST
                | StatusCode::TOO_MANY_REQUESTS
        );
        if !is_of_form {
            return Err(problem.into());
        }
        let shown = form.pairs().filter(|(name, _)| !is_secret(name));
        let mut filled = Filled::with(shown.map(|(name, value)| (name, value.to_owned())));
        filled.status = Some(status);
        filled.summary = Some(problem.to_string());
        filled.errors = problem.into_fields();
        Ok(filled)
    }

    /// The same from pairs that were put by, for a form whose effect was tried.
    ///
    /// # Errors
    /// As above.
    pub(super) fn refused_with(pairs: Vec<(String, String)>, problem: Problem) -> Result<Filled, Failure> {
        let form = Form { pairs, once: Once::none() };
        Filled::refused(&form, problem)
    }

    /// With the values of `others` for fields that have none.
    pub(super) fn fill(&mut self, others: Filled) {
        for (name, values) in others.values {
            self.values.entry(name).or_insert(values);
        }
    }

    /// The same values, refused for this.
    pub(super) fn refuse(&mut self, problem: Problem) {
        self.status = Some(problem.status());
        self.summary = Some(problem.to_string());
        self.errors = problem.into_fields();
    }

    /// 200, or the status of what was refused.
    pub(super) fn status(&self) -> StatusCode {
        self.status.unwrap_or(StatusCode::OK)
    }

    /// As a template reads it: `form.values.name`, `form.lists.name`, `form.errors.name`, `form.faults`.
    pub(super) fn value(&self) -> Value {
        let first: BTreeMap<&str, &str> = self
            .values
            .iter()
            .filter_map(|(name, values)| Some((name.as_str(), values.first()?.as_str())))
            .collect();
        let errors: BTreeMap<&str, String> =
            self.errors.iter().map(|e| (e.field.as_str(), sentence(&e.message))).collect();
        let faults: Vec<Value> = self
            .errors
            .iter()
            .map(|e| context! { field => e.field.clone(), message => sentence(&e.message) })
            .collect();
        context! {
            values => render::values(&first),
            lists => render::values(&self.values),
            errors => render::values(&errors),
            faults => faults,
            summary => self.summary.clone(),
            is_refused => self.status.is_some(),
        }
    }
}

/// A message of the API as a sentence of its own.
fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if message.ends_with(['.', '?', ':']) { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hidden_field_is_another_for_every_session_and_is_not_the_token() {
        assert_ne!(csrf_of("a"), csrf_of("b"));
        assert!(!csrf_of("token").contains("token"));
        assert!(check_csrf(None, "").is_err());
    }

    #[test]
    fn what_the_api_says_of_a_field_reads_as_a_sentence() {
        for (message, shown) in [("missing", "Missing."), ("Already there.", "Already there.")] {
            assert_eq!(sentence(message), shown);
        }
    }
}
