//! What goes wrong, as a caller sees it: `application/problem+json` (RFC 9457), with the request's id
//! and, for a body or a query that can't be taken, every field at fault. What broke inside is for the
//! log alone.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::{Map, Value, json};

use super::reply::time_or_null;
use crate::campaign::{CampaignError, WouldExpire};
use crate::content::ContentsError;
use crate::store::StoreError;

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One field of a request at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// As the request names it: `schedule.at`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// An answer that is no success. Boxed, since most answers are.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    /// Machine-readable name of the particular problem, if the status does not tell it all.
    code: Option<String>,
    detail: String,
    errors: Vec<FieldError>,
    extra: Map<String, Value>,
    /// When it is worth another try, in seconds.
    retry_after: Option<u64>,
    /// For the log: never sent.
    cause: Option<String>,
}

impl Problem {
    /// A problem with a sentence for the caller.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem(Box::new(Parts {
            status,
            code: None,
            detail: detail.into(),
            errors: Vec::new(),
            extra: Map::new(),
            retry_after: None,
            cause: None,
        }))
    }

    /// 429, and after how many seconds it is worth another try.
    pub fn too_many(detail: impl Into<String>, retry_after: u64) -> Problem {
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
        problem.0.retry_after = Some(retry_after);
        problem
    }

    /// 400: the request can't be read at all.
    pub fn unreadable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401, with the challenge.
    pub fn unauthorized(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// 422 with one field at fault.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem::fields(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// 422 with every field at fault.
    pub fn fields(errors: Vec<FieldError>) -> Problem {
        let detail = match errors.as_slice() {
            [only] if only.field.is_empty() => only.message.clone(),
            [only] => format!("{}: {}", only.field, only.message),
            many => format!("{} fields can't be taken.", many.len()),
        };
        let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        problem.0.errors = errors;
        problem
    }

    /// Names the particular problem: the end of `type`, and the member `code`.
    #[must_use]
    pub fn with_code(mut self, code: &str) -> Problem {
        self.0.code = Some(code.to_owned());
        self
    }

    /// Adds a member of its own.
    #[must_use]
    pub fn with(mut self, member: &str, value: Value) -> Problem {
        self.0.extra.insert(member.to_owned(), value);
        self
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Whether it is the particular problem of this name.
    pub fn has_code(&self, code: &str) -> bool {
        self.0.code.as_deref() == Some(code)
    }

    /// With its fields named otherwise.
    #[must_use]
    pub fn map_fields(mut self, name: impl Fn(&String) -> String) -> Problem {
        for error in &mut self.0.errors {
            error.field = name(&error.field);
        }
        self
    }

    /// When it is worth another try, in seconds.
    pub fn retry_after(&self) -> Option<u64> {
        self.0.retry_after
    }

    /// The fields at fault.
    pub fn into_fields(self) -> Vec<FieldError> {
        self.0.errors
    }

    /// What broke inside, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The members of the body but for the request's id.
    pub fn members(&self) -> Map<String, Value> {
        let title = self.0.status.canonical_reason().unwrap_or("Error");
        let kind =
            self.0.code.as_ref().map_or_else(|| "about:blank".to_owned(), |code| format!("/problems/{code}"));
        let mut members = Map::new();
        members.insert("type".to_owned(), json!(kind));
        members.insert("title".to_owned(), json!(title));
        members.insert("status".to_owned(), json!(self.0.status.as_u16()));
        members.insert("detail".to_owned(), json!(self.0.detail));
        if let Some(code) = &self.0.code {
            members.insert("code".to_owned(), json!(code));
        }
        members.extend(self.0.extra.clone());
        if self.0.status == StatusCode::UNPROCESSABLE_ENTITY {
            let errors = self.0.errors.iter().map(|e| json!({"field": e.field, "message": e.message}));
            members.insert("errors".to_owned(), errors.collect());
        }
        members
    }

    /// What has to be kept to say the same again.
    pub fn to_json(&self) -> Value {
        let errors: Vec<Value> =
            self.0.errors.iter().map(|e| json!({"field": e.field, "message": e.message})).collect();
        json!({"code": self.0.code, "detail": self.0.detail, "errors": errors, "extra": self.0.extra})
    }

    /// The problem that [`Problem::to_json`] kept.
    pub fn from_json(status: StatusCode, kept: &Value) -> Problem {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let errors = kept["errors"].as_array().into_iter().flatten();
        Problem(Box::new(Parts {
            status,
            code: kept["code"].as_str().map(str::to_owned),
            detail: text(&kept["detail"]),
            errors: errors
                .map(|e| FieldError { field: text(&e["field"]), message: text(&e["message"]) })
                .collect(),
            extra: kept["extra"].as_object().cloned().unwrap_or_default(),
            retry_after: None,
            cause: None,
        }))
    }

    /// The answer, with the id of the request that it belongs to.
    pub fn respond(&self, request_id: &str) -> HttpResponse {
        let mut answer = respond(self.0.status, self.members(), request_id);
        if let Some(seconds) = self.0.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// An answer of these members.
pub(super) fn respond(status: StatusCode, mut members: Map<String, Value>, request_id: &str) -> HttpResponse {
    members.insert("request_id".to_owned(), json!(request_id));
    let mut builder = HttpResponseBuilder::new(status);
    builder.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON)));
    match status {
        StatusCode::UNAUTHORIZED => {
            builder.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let seconds = members.get("retry_after").and_then(Value::as_u64).unwrap_or(5);
            builder.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            builder.insert_header((header::RETRY_AFTER, HeaderValue::from_static("1")));
        }
        _ => {}
    }
    builder.body(Value::Object(members).to_string())
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    /// Without a request at hand there is no id; the edge writes the answer anew with it.
    fn error_response(&self) -> HttpResponse {
        self.respond("")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        let mut problem = if error.is_transient() {
            let detail = "The data file can't answer right now. Try again shortly.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        } else {
            let detail = "Something went wrong here. It is logged under the request_id.";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        };
        problem.0.cause = Some(error.to_string());
        problem
    }
}

impl From<CampaignError> for Problem {
    fn from(error: CampaignError) -> Problem {
        match error {
            CampaignError::NotFound(what) => Problem::not_found(format!("There is no {what}.")),
            CampaignError::WrongState(wrong) => {
                let states: Vec<&str> = wrong.action.allowed_in().iter().map(|s| s.as_str()).collect();
                Problem::conflict(wrong.to_string())
                    .with_code("wrong_state")
                    .with("status_now", json!(wrong.status.as_str()))
                    .with("allowed_in", json!(states))
            }
            CampaignError::Launched(text) => Problem::conflict(text).with_code("wrong_state"),
            CampaignError::WouldExpire(told) => would_expire(&told),
            CampaignError::SafeHold => Problem::conflict(error.to_string()).with_code("safe_hold"),
            CampaignError::SetupIncomplete(text) => Problem::conflict(text).with_code("setup_incomplete"),
            CampaignError::TemplateNotApproved(refusal) => Problem::conflict(refusal.to_string())
                .with_code("template_not_approved")
                .with("content_sid", json!(refusal.sid))
                .with("content_status", json!(refusal.status))
                .with("reason", json!(refusal.reason))
                .with("what_to_do", json!(refusal.what_to_do)),
            CampaignError::Refused(reason) => Problem::conflict(reason.says())
                .with_code("refused")
                .with("reason", json!(reason.as_str()))
                .with("what_to_do", json!(reason.what_to_do())),
            CampaignError::Conflict(text) => Problem::conflict(text),
            CampaignError::Invalid { field, message } => Problem::field(field, message),
            CampaignError::Store(error) => error.into(),
        }
    }
}

/// 409 with the numbers, and what has to be said to launch all the same.
fn would_expire(told: &WouldExpire) -> Problem {
    let by_reason: Map<String, Value> =
        told.by_reason.iter().map(|(reason, n)| (reason.as_str().to_owned(), json!(n))).collect();
    Problem::conflict(told.to_string())
        .with_code("would_expire")
        .with("would_expire", json!(told.people))
        .with("people", json!(told.of))
        .with("by_reason", Value::Object(by_reason))
        .with("expires_at", time_or_null(told.expires_at))
        .with("forecast_last", time_or_null(told.last))
        .with("accept_with", json!({"accept_would_expire": true}))
}

impl From<ContentsError> for Problem {
    fn from(error: ContentsError) -> Problem {
        let text = error.to_string();
        match error {
            ContentsError::NotFound(what) => Problem::not_found(format!("There is no {what}.")),
            ContentsError::NoAccount => Problem::conflict(text).with_code("setup_incomplete"),
            ContentsError::Duplicate { sid, .. } => {
                Problem::conflict(text).with_code("duplicate").with("sid", json!(sid))
            }
            ContentsError::Conflict(text) => Problem::conflict(text),
            ContentsError::Invalid(errors) => Problem::fields(
                errors.into_iter().map(|(field, message)| FieldError { field, message }).collect(),
            ),
            ContentsError::Refused { code, message } => {
                Problem::conflict(format!("Twilio refused: {message} ({code})."))
                    .with_code("twilio_refused")
                    .with("twilio_code", json!(code))
            }
            ContentsError::Unavailable(text) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, text).with_code("twilio_unavailable")
            }
            ContentsError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_broken_store_reaches_the_caller() {
        for error in [StoreError::Internal("no such table: x".into()), StoreError::Unavailable("lock".into())]
        {
            let secret = error.to_string();
            let problem = Problem::from(error);
            assert!(problem.status().is_server_error());
            assert_eq!(problem.cause(), Some(secret.as_str()));
            let body = Value::Object(problem.members()).to_string();
            assert!(!body.contains("no such table") && !body.contains("lock"), "{body}");
        }
    }

    #[test]
    fn one_field_at_fault_is_told_in_the_detail_too() {
        let members = Problem::field("name", "missing").members();
        assert_eq!(members["detail"], "name: missing");
        assert_eq!(members["errors"], json!([{"field": "name", "message": "missing"}]));
    }
}
