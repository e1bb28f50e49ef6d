//! A successful answer as plain data: it can leave a write closure, and be kept to be said again.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Responder};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;

use crate::clock::Millis;
use crate::store::messages::rfc3339;

/// What is kept of a reply.
#[derive(Serialize)]
struct Kept<'a> {
    body: &'a Option<Value>,
    location: &'a Option<String>,
    version: Option<i64>,
}

/// An answer with a JSON body, or none.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    status: StatusCode,
    body: Option<Value>,
    location: Option<String>,
    version: Option<i64>,
    secret: Option<Secret>,
}

/// Told once, and never kept: a repeated request gets null in its place.
#[derive(Clone, Debug)]
struct Secret(SecretString);

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Reply {
    fn new(status: StatusCode, body: Option<Value>) -> Reply {
        Reply { status, body, location: None, version: None, secret: None }
    }

    /// 200.
    pub fn ok(body: Value) -> Reply {
        Reply::new(StatusCode::OK, Some(body))
    }

    /// 201, and where the new thing is.
    pub fn created(location: impl Into<String>, body: Value) -> Reply {
        Reply { location: Some(location.into()), ..Reply::new(StatusCode::CREATED, Some(body)) }
    }

    /// 202: it is on disk, and goes on from there.
    pub fn accepted(body: Value) -> Reply {
        Reply::new(StatusCode::ACCEPTED, Some(body))
    }

    /// 204.
    pub fn no_content() -> Reply {
        Reply::new(StatusCode::NO_CONTENT, None)
    }

    /// Adds the version of the edit as `ETag`.
    #[must_use]
    pub fn with_version(mut self, version: i64) -> Reply {
        self.version = Some(version);
        self
    }

    /// Adds where the thing is.
    #[must_use]
    pub fn with_location(mut self, location: impl Into<String>) -> Reply {
        self.location = Some(location.into());
        self
    }

    /// Adds a member `secret` that is told this once: what is kept of the answer has null there.
    #[must_use]
    pub fn with_secret(mut self, secret: SecretString) -> Reply {
        if let Some(Value::Object(body)) = &mut self.body {
            body.insert("secret".to_owned(), Value::Null);
        }
        self.secret = Some(Secret(secret));
        self
    }

    /// Where the thing is.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// What it says.
    pub fn body(&self) -> Option<&Value> {
        self.body.as_ref()
    }

    /// What is told this once, for a page; none when the answer is said again.
    pub fn secret(&self) -> Option<&SecretString> {
        self.secret.as_ref().map(|Secret(secret)| secret)
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What has to be kept to say the same again, as text.
    pub fn to_kept(&self) -> String {
        let kept = Kept { body: &self.body, location: &self.location, version: self.version };
        serde_json::to_string(&kept).expect("values have text keys")
    }

    /// The reply that [`Reply::to_kept`] told.
    pub fn from_json(status: StatusCode, kept: &Value) -> Reply {
        Reply {
            status,
            body: kept.get("body").filter(|body| !body.is_null()).cloned(),
            location: kept["location"].as_str().map(str::to_owned),
            version: kept["version"].as_i64(),
            secret: None,
        }
    }
}

impl Responder for Reply {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let mut builder = HttpResponseBuilder::new(self.status);
        if let Some(location) = self.location.and_then(|text| HeaderValue::from_str(&text).ok()) {
            builder.insert_header((header::LOCATION, location));
        }
        if let Some(version) = self.version {
            builder.insert_header((header::ETAG, format!("\"{version}\"")));
        }
        let mut body = self.body;
        if let Some((Value::Object(body), Secret(secret))) = body.as_mut().zip(self.secret) {
            body.insert("secret".to_owned(), Value::from(secret.expose_secret()));
        }
        match body {
            Some(body) => builder.content_type("application/json").body(body.to_string()),
            None => builder.finish(),
        }
    }
}

/// An instant as JSON has it: RFC 3339, UTC.
pub fn time(at: Millis) -> Value {
    Value::String(rfc3339(at))
}

/// The same, or null.
pub fn time_or_null(at: Option<Millis>) -> Value {
    at.map_or(Value::Null, time)
}
