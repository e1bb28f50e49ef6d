//! Twilio's error codes as this stand-in answers them: text, HTTP status, and whether a code
//! comes with the answer or later by callback.

use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use crate::twilio::error;

/// A refusal of the REST API, answered as Twilio's error JSON.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub(super) struct ApiError {
    status: StatusCode,
    code: u32,
    message: String,
}

impl ApiError {
    /// The code with its usual text and HTTP status.
    pub(super) fn of(code: u32) -> ApiError {
        ApiError::saying(code, text(code))
    }

    /// Twilio's code.
    pub(super) fn code(&self) -> u32 {
        self.code
    }

    /// The code with a text of its own.
    pub(super) fn saying(code: u32, message: impl Into<String>) -> ApiError {
        ApiError { status: http_status(code), code, message: message.into() }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        super::rest::add_headers(&mut response, None);
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Basic realm=\"Twilio API\""));
        }
        response.json(json!({
            "code": self.code,
            "message": self.message,
            "more_info": format!("https://www.twilio.com/docs/errors/{}", self.code),
            "status": self.status.as_u16(),
        }))
    }
}

fn http_status(code: u32) -> StatusCode {
    match code {
        20003 => StatusCode::UNAUTHORIZED,
        10001 | 20005 | 20006 | 20008 => StatusCode::FORBIDDEN,
        20404 => StatusCode::NOT_FOUND,
        20004 => StatusCode::METHOD_NOT_ALLOWED,
        20409 => StatusCode::CONFLICT,
        20429 => StatusCode::TOO_MANY_REQUESTS,
        20500 => StatusCode::INTERNAL_SERVER_ERROR,
        20503 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Whether `code` is told later, by status, and not as the answer to the POST. With a Messaging
/// Service a sender is only picked later, so what concerns the pair of numbers comes later too.
pub(super) fn comes_later(code: u32, by_service: bool) -> bool {
    match code {
        21610 | 21611 | 21703 | 21704 => by_service,
        63007 | 63031 => false,
        30000..=34999 | 63000..=63999 => true,
        _ => false,
    }
}

/// Whether a code that comes later is the carrier's (`undelivered`, after `sent`) and not found
/// out before sending (`failed`).
pub(super) fn comes_after_sending(code: u32) -> bool {
    matches!(
        code,
        30003
            ..=30008
                | 30017
                | 30019
                | 30022
                | 30023
                | 30027
                | 30034
                | 63014
                | 63018
                | 63024
                | 63032
                | 63033
                | 63049
    )
}

/// Twilio's title of a code; where the API words an answer otherwise, that wording.
pub(super) fn text(code: u32) -> String {
    let worded = match code {
        20003 => "Authenticate",
        20404 => "The requested resource was not found",
        20500 => "An internal server error has occurred",
        21604 => "A 'To' phone number is required.",
        21609 => "The 'StatusCallback' URL is not a valid URL.",
        21619 => "A text message body or media urls must be specified.",
        _ => return error::explain(i64::from(code)).text,
    };
    worded.to_owned()
}
