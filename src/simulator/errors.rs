//! Twilio's error codes as this stand-in answers them: text, HTTP status, and whether a code
//! comes with the answer or later by callback.

use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

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

    /// The code with a text of its own.
    pub(super) fn saying(code: u32, message: impl Into<String>) -> ApiError {
        ApiError {
            status: http_status(code),
            code,
            message: message.into(),
        }
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

/// Twilio's title of a code.
pub(super) fn text(code: u32) -> &'static str {
    TEXTS
        .binary_search_by_key(&code, |(known, _)| *known)
        .ok()
        .and_then(|at| TEXTS.get(at))
        .map_or("Simulated error", |(_, text)| text)
}

/// Titles from Twilio's dictionary of errors, by code.
const TEXTS: &[(u32, &str)] = &[
    (10001, "Account is not active"),
    (14107, "SMS send rate limit exceeded"),
    (20001, "Unknown parameters"),
    (20003, "Authenticate"),
    (20004, "Method not allowed"),
    (20005, "Account not active"),
    (20404, "The requested resource was not found"),
    (20409, "Conflict"),
    (20429, "Too Many Requests"),
    (20500, "An internal server error has occurred"),
    (20503, "Service unavailable"),
    (21211, "Invalid 'To' Phone Number"),
    (21212, "Invalid From Number (caller ID)"),
    (
        21408,
        "Permission to send an SMS has not been enabled for the region indicated by the 'To' number",
    ),
    (
        21601,
        "Phone number is not a valid SMS-capable inbound phone number",
    ),
    (
        21603,
        "A 'From' or 'MessagingServiceSid' parameter is required to send a message",
    ),
    (21604, "A 'To' phone number is required."),
    (
        21606,
        "The 'From' phone number provided is not a valid message-capable Twilio phone number for this destination.",
    ),
    (
        21608,
        "The 'to' phone number provided is not yet verified for this account.",
    ),
    (21609, "The 'StatusCallback' URL is not a valid URL."),
    (21610, "Attempt to send to unsubscribed recipient"),
    (
        21611,
        "This 'From' number has exceeded the maximum number of queued messages",
    ),
    (
        21612,
        "The 'To' phone number is not currently reachable via SMS",
    ),
    (21614, "'To' number is not a valid mobile number"),
    (
        21617,
        "The concatenated message body exceeds the 1600 character limit",
    ),
    (
        21619,
        "A text message body or media urls must be specified.",
    ),
    (21620, "Invalid media URL(s)"),
    (21623, "Number of media files exceeds allowed limit"),
    (21624, "Invalid validity period value"),
    (21654, "ContentSid Required"),
    (21655, "The ContentSid is Invalid"),
    (21656, "The ContentVariables Parameter is invalid"),
    (21701, "The Messaging Service does not exist"),
    (
        21910,
        "Invalid From and To pair. From and To should be of the same channel.",
    ),
    (30001, "Queue overflow"),
    (30002, "Account suspended"),
    (30003, "Unreachable destination handset"),
    (30004, "Message blocked"),
    (30005, "Unknown destination handset"),
    (30006, "Landline or unreachable carrier"),
    (30007, "Message filtered"),
    (30008, "Unknown error"),
    (30017, "Carrier network congestion"),
    (30022, "US A2P 10DLC - Rate Limits Exceeded"),
    (30023, "US A2P 10DLC - Daily Message Cap Reached"),
    (30034, "US A2P 10DLC - Message from an Unregistered Number"),
    (30036, "Validity Period Expired"),
    (35111, "SendAt timestamp is missing"),
    (35114, "Scheduling does not support this timestamp"),
    (
        35118,
        "MessagingServiceSid is required to schedule a message",
    ),
    (63003, "Channel could not find To address"),
    (
        63005,
        "Channel did not accept given content. Please see Channel specific error message for more information",
    ),
    (
        63007,
        "Twilio could not find a Channel with the specified From address",
    ),
    (63013, "Channel policy violation"),
    (63014, "Channel message blocked by user action"),
    (
        63015,
        "Channel Sandbox can only send messages to phone numbers that have joined the Sandbox",
    ),
    (
        63016,
        "Failed to send freeform message because you are outside the allowed window. If you are using WhatsApp, please use a Message Template.",
    ),
    (63018, "Rate limit exceeded for Channel"),
    (63024, "Invalid message recipient"),
    (
        63028,
        "Number of parameters provided does not match the expected number of parameters",
    ),
    (63031, "Channels message cannot have same From and To"),
    (
        63032,
        "We cannot send this message to this user because of a WhatsApp limitation.",
    ),
    (63033, "Recipient blocked to receive message"),
    (
        63049,
        "Meta chose not to deliver this WhatsApp marketing message",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_sorted_so_that_each_is_found() {
        assert!(TEXTS.is_sorted_by(|one, next| one.0 < next.0));
        assert_eq!(text(30003), "Unreachable destination handset");
        assert_eq!(text(1), "Simulated error");
    }
}
