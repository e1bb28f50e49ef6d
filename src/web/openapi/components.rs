//! The components of the document but for the shapes: parameters, headers and errors that many operations
//! have, each said once and referred to.

use serde_json::{Map, Value, json};

/// A schema, header, parameter or answer by reference.
pub(super) fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

/// An error that any operation of some kind may answer.
pub(super) struct Error {
    pub(super) status: u16,
    /// Its name among the components.
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// The title of the status.
    title: &'static str,
    /// A detail as it may be.
    detail: &'static str,
}

const fn error(
    status: u16,
    name: &'static str,
    title: &'static str,
    description: &'static str,
    detail: &'static str,
) -> Error {
    Error { status, name, description, title, detail }
}

/// All errors that are more than one operation's own.
pub(super) const ERRORS: [Error; 14] = [
    error(400, "Unreadable", "Bad Request", "The request can't be read.", "The query string is not UTF-8."),
    error(
        401,
        "Unauthorized",
        "Unauthorized",
        "No key, or none in force.",
        "Send an API key: Authorization: Bearer <key>.",
    ),
    error(403, "Forbidden", "Forbidden", "The key lacks the scope.", "This key lacks the scope read."),
    error(404, "NotFound", "Not Found", "There is no such thing.", "There is no such person."),
    error(405, "NoSuchMethod", "Method Not Allowed", "Not with this method.", "PUT is not possible here."),
    error(409, "Conflict", "Conflict", "Not as things stand.", "There is a topic \"offers\" already."),
    error(
        410,
        "Gone",
        "Gone",
        "Not kept any more.",
        "Events before 812 are not kept any more. Go on from there.",
    ),
    error(
        412,
        "Stale",
        "Precondition Failed",
        "It was changed meanwhile.",
        "It was changed meanwhile and is now version 3. Fetch it again.",
    ),
    error(
        413,
        "TooLarge",
        "Payload Too Large",
        "The body is too long.",
        "The body is larger than 1048576 bytes.",
    ),
    error(
        415,
        "UnsupportedMediaType",
        "Unsupported Media Type",
        "The body is of another kind.",
        "Send JSON with Content-Type: application/json.",
    ),
    error(
        422,
        "Invalid",
        "Unprocessable Entity",
        "Fields or parameters are at fault.",
        "conset: unknown parameter",
    ),
    error(
        429,
        "TooManyRequests",
        "Too Many Requests",
        "Too many requests with this key.",
        "Try again in 2 s.",
    ),
    error(
        500,
        "Broken",
        "Internal Server Error",
        "Something went wrong here.",
        "Something went wrong here. It is logged under the request_id.",
    ),
    error(
        503,
        "Unavailable",
        "Service Unavailable",
        "The data file can't answer right now.",
        "The data file can't answer right now. Try again shortly.",
    ),
];

/// The error of this status.
pub(super) fn error_of(status: u16) -> Option<&'static Error> {
    ERRORS.iter().find(|error| error.status == status)
}

impl Error {
    /// The answer as the document has it, with a description of its own.
    pub(super) fn response(&self, description: &str) -> Value {
        let mut example = json!({"type": "about:blank", "title": self.title, "status": self.status,
            "detail": self.detail, "request_id": "4bf92f3577b34da6a3ce929d0e0e4736"});
        if self.status == 422 {
            example["errors"] = json!([{"field": "conset", "message": "unknown parameter"}]);
        }
        let mut headers = json!({"X-Request-Id": reference("headers", "RequestId")});
        match self.status {
            401 => headers["WWW-Authenticate"] = reference("headers", "Challenge"),
            405 => headers["Allow"] = reference("headers", "Allow"),
            429 | 503 => headers["Retry-After"] = reference("headers", "RetryAfter"),
            _ => {}
        }
        json!({
            "description": description,
            "headers": headers,
            "content": {"application/problem+json": {
                "schema": reference("schemas", "Problem"),
                "example": example,
            }},
        })
    }
}

fn header(description: &str, schema: &Value) -> Value {
    json!({"description": description, "required": true, "schema": schema})
}

/// Headers of answers, by name.
pub(super) fn headers() -> Value {
    let text = json!({"type": "string"});
    json!({
        "RequestId": header("The id under which the request is logged.", &json!({"type": "string", "minLength": 1})),
        "Location": header("Where the new thing is.", &text),
        "ETag": header("The version of the edit, for If-Match.", &json!({"type": "string", "pattern": "^\"[0-9]+\"$"})),
        "Challenge": header("How to authenticate.", &text),
        "Allow": header("The methods that there are.", &text),
        "RetryAfter": header("Seconds to wait.", &json!({"type": "integer", "minimum": 1})),
    })
}

/// Parameters that many operations have, by name.
pub(super) fn parameters() -> Value {
    json!({
        "RequestId": {
            "name": "X-Request-Id", "in": "header", "required": false,
            "description": "Your own id for the request: letters, digits and -_.: up to 128. Another is replaced.",
            "schema": {"type": "string"},
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "Makes the request happen once: sent again within 24 hours with the same body, it gets the same answer; with another body 422.",
            // No example: a page to try things out would send it, and get the first answer ever after.
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        },
        "IfMatch": {
            "name": "If-Match", "in": "header", "required": false,
            "description": "The `ETag` of the version that the edit was made of: 412 if there is a newer one.",
            "schema": {"type": "string"},
        },
        "person": {
            "name": "person", "in": "path", "required": true,
            "description": "A number such as +14155550101, or the person's id.",
            "schema": {"type": "string"}, "example": "17",
        },
        "id": {
            "name": "id", "in": "path", "required": true,
            "description": "The key.",
            "schema": {"type": "integer", "format": "int64", "minimum": 1}, "example": 1,
        },
        "delivery": {
            "name": "delivery", "in": "path", "required": true,
            "description": "The delivery, by the id of its event.",
            "schema": {"type": "integer", "format": "int64", "minimum": 1}, "example": 1,
        },
        "sid": {
            "name": "sid", "in": "path", "required": true,
            "description": "A content template by its SID.",
            "schema": {"type": "string"}, "example": "HX0123456789abcdef0123456789abcdef",
        },
        "name": {
            "name": "name", "in": "path", "required": true,
            "description": "The name, in any case.",
            "schema": {"type": "string"}, "example": "general",
        },
        "topic": {
            "name": "topic", "in": "path", "required": true,
            "description": "A topic by name, in any case.",
            "schema": {"type": "string"}, "example": "general",
        },
    })
}

/// The errors, by name.
pub(super) fn responses() -> Value {
    let named = ERRORS.iter().map(|error| (error.name.to_owned(), error.response(error.description)));
    Value::Object(named.collect::<Map<String, Value>>())
}
