//! JSON bodies, read field by field, so that a 422 can name all that is wrong at once. A field that nobody
//! asked for is wrong too: it may be a limit with a typo.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::StreamExt;
use serde_json::{Map, Value};

use super::error::{FieldError, Problem};
use super::page::Query;
use crate::clock::Millis;

/// Largest body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;
/// Faults told about one body.
const MAX_ERRORS: usize = 100;
/// Largest value of a number that is counted in floating point: whole numbers are exact up to here.
const MAX_NUMBER: f64 = 9_007_199_254_740_992.0;

/// A JSON body. An empty one is an empty object, for POSTs that need none.
#[derive(Debug)]
pub struct Body {
    /// As it came, for comparing two requests.
    pub raw: Bytes,
    value: Value,
}

impl Body {
    /// The fields of the object.
    ///
    /// # Errors
    /// 422 when it is none.
    pub fn fields(self) -> Result<Fields, Problem> {
        Fields::of(self.value)
    }

    /// Refuses every field, where none is known; null says as little as an empty object.
    ///
    /// # Errors
    /// 422 that names them.
    pub fn expect_nothing(self) -> Result<(), Problem> {
        if self.value.is_null() { Ok(()) } else { self.fields()?.finish() }
    }

    /// The object itself, for a merge patch.
    ///
    /// # Errors
    /// 422 when it is none.
    pub fn object(self) -> Result<Map<String, Value>, Problem> {
        object(self.value)
    }
}

fn object(value: Value) -> Result<Map<String, Value>, Problem> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Problem::field("", "The body must be a JSON object.")),
    }
}

impl Body {
    /// Reads the body of a request, whatever its query says.
    ///
    /// # Errors
    /// 400, 413, 415.
    pub(super) async fn read(request: &HttpRequest, payload: Payload) -> Result<Body, Problem> {
        let raw = read(request, payload, MAX_BODY).await?;
        if raw.is_empty() {
            return Ok(Body { raw, value: Value::Object(Map::new()) });
        }
        check_content_type(request)?;
        let value = serde_json::from_slice(&raw)
            .map_err(|error| Problem::unreadable(format!("The body is not JSON: {error}.")))?;
        Ok(Body { raw, value })
    }
}

impl FromRequest for Body {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Body, Problem>>>>;

    /// Refuses a query: what takes a body takes nothing else, so a parameter here is a mistake.
    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            Query::of(&request)?.finish()?;
            Body::read(&request, payload).await
        })
    }
}

/// The whole body, unless it is longer than `most` bytes.
///
/// # Errors
/// 413, or 400 when the connection broke.
async fn read(request: &HttpRequest, mut payload: Payload, most: usize) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The body is larger than {most} bytes."));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::unreadable("The body ended early."))?;
        if body.len() + chunk.len() > most {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn check_content_type(request: &HttpRequest) -> Result<(), Problem> {
    let given = request.content_type().to_ascii_lowercase();
    if given == "application/json" || (given.starts_with("application/") && given.ends_with("+json")) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send JSON with Content-Type: application/json."))
}

/// Reads an instant.
///
/// # Errors
/// A sentence that shows how one looks.
pub(super) fn parse_time(text: &str) -> Result<Millis, String> {
    text.parse::<jiff::Timestamp>()
        .map(|at| at.as_millisecond())
        .map_err(|_| "must be a time such as 2026-11-23T09:30:00Z".to_owned())
}

/// The fields of one object, taken out one by one. A reader of a wrong field notes the fault and answers
/// something harmless; [`Fields::finish`] then refuses the whole, so nothing made of it is ever used.
#[derive(Debug)]
pub struct Fields {
    at: String,
    map: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// The fields of the body.
    ///
    /// # Errors
    /// 422 when it is no object.
    pub fn of(value: Value) -> Result<Fields, Problem> {
        Ok(Fields { at: String::new(), map: object(value)?, errors: Vec::new() })
    }

    /// The fields of an object that stands under `name` in the body.
    pub fn inside(name: &str, map: Map<String, Value>) -> Fields {
        Fields { at: name.to_owned(), map, errors: Vec::new() }
    }

    fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// Notes a fault of the field `name` of this object.
    pub fn error(&mut self, name: &str, message: impl Into<String>) {
        let field = self.path(name);
        self.error_at(field, message);
    }

    /// Notes a fault under a whole path.
    pub fn error_at(&mut self, field: impl Into<String>, message: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(FieldError { field: field.into(), message: message.into() });
        }
    }

    /// True when `name` is given, null or not.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// What was read elsewhere, or its faults noted among these.
    pub fn keep<T>(&mut self, read: Result<T, Problem>) -> Option<T> {
        read.map_err(|problem| self.errors.extend(problem.into_fields())).ok()
    }

    /// The value of `name`; null counts as left out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.shift_remove(name).filter(|value| !value.is_null())
    }

    /// The value of `name`; null is null.
    pub fn take_or_null(&mut self, name: &str) -> Option<Value> {
        self.map.shift_remove(name)
    }

    fn typed<T>(&mut self, name: &str, what: &str, read: impl Fn(Value) -> Option<T>) -> Option<T> {
        let value = self.take(name)?;
        let read = read(value);
        if read.is_none() {
            self.error(name, format!("must be {what}"));
        }
        read
    }

    /// A text of at most `most` characters, without NUL.
    pub fn text(&mut self, name: &str, most: usize) -> Option<String> {
        let text = self.typed(name, "a text", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })?;
        if text.contains('\0') {
            self.error(name, "a NUL character can't be kept");
        } else if text.chars().count() > most {
            self.error(name, format!("at most {most} characters"));
        }
        Some(text)
    }

    /// The same, not blank.
    pub fn required_text(&mut self, name: &str, most: usize) -> String {
        let is_given = self.map.get(name).is_some_and(|value| !value.is_null());
        let text = self.text(name, most).unwrap_or_default();
        if !is_given {
            self.error(name, "missing");
        } else if text.trim().is_empty() && !self.has_error(name) {
            self.error(name, "must not be empty");
        }
        text
    }

    /// True when a fault of `name` was noted.
    pub fn has_error(&self, name: &str) -> bool {
        let path = self.path(name);
        self.errors.iter().any(|error| error.field == path)
    }

    /// A name for people: one line, trimmed.
    pub fn required_name(&mut self, name: &str, most: usize) -> String {
        let text = self.required_text(name, most).trim().to_owned();
        if text.chars().any(|c| c.is_control() && c != '\0') {
            self.error(name, "no control characters");
        }
        text
    }

    /// One word of a closed list.
    pub fn choice<T>(&mut self, name: &str, parse: impl Fn(&str) -> Option<T>, words: &[&str]) -> Option<T> {
        let value = self.take(name)?;
        let found = value.as_str().and_then(parse);
        if found.is_none() {
            self.error(name, format!("must be one of {}", words.join(", ")));
        }
        found
    }

    /// A whole number from 1 on.
    pub fn id(&mut self, name: &str) -> Option<i64> {
        self.typed(name, "a whole number from 1 on", |value| value.as_i64().filter(|n| *n >= 1))
    }

    /// A number above 0.
    pub fn positive(&mut self, name: &str) -> Option<f64> {
        self.typed(name, "a number above 0", |value| value.as_f64().filter(|n| *n > 0.0 && *n <= MAX_NUMBER))
    }

    /// A number from 0 on.
    pub fn not_negative(&mut self, name: &str) -> Option<f64> {
        self.typed(name, "a number from 0 on", |value| {
            value.as_f64().filter(|n| (0.0..=MAX_NUMBER).contains(n))
        })
    }

    /// true or false.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        self.typed(name, "true or false", |value| value.as_bool())
    }

    /// An instant, RFC 3339.
    pub fn time(&mut self, name: &str) -> Option<Millis> {
        let value = self.take(name)?;
        match value.as_str().ok_or_else(|| "must be a text".to_owned()).and_then(parse_time) {
            Ok(at) => Some(at),
            Err(message) => {
                self.error(name, message);
                None
            }
        }
    }

    /// An object as it stands.
    pub fn map(&mut self, name: &str) -> Option<Map<String, Value>> {
        self.typed(name, "an object", |value| match value {
            Value::Object(map) => Some(map),
            _ => None,
        })
    }

    /// An object whose own fields are read next. Give it back to [`Fields::absorb`].
    pub fn child(&mut self, name: &str) -> Option<Fields> {
        let at = self.path(name);
        let map = self.map(name)?;
        Some(Fields { at, map, errors: Vec::new() })
    }

    /// Takes over the faults of a child, what it left over among them.
    pub fn absorb(&mut self, mut child: Fields) {
        child.refuse_rest();
        for error in child.errors {
            self.error_at(error.field, error.message);
        }
    }

    /// A list of whole numbers from 1 on.
    pub fn ids(&mut self, name: &str, most: usize) -> Vec<i64> {
        self.list(name, most, "a whole number from 1 on", |value| value.as_i64().filter(|n| *n >= 1))
    }

    /// A list of texts, not blank, without NUL.
    pub fn texts(&mut self, name: &str, most: usize) -> Vec<String> {
        self.list(name, most, "a text that is not empty", |value| {
            value.as_str().filter(|t| !t.trim().is_empty() && !t.contains('\0')).map(str::to_owned)
        })
    }

    fn list<T>(&mut self, name: &str, most: usize, what: &str, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
        let Some(values) = self.typed(name, "a list", |value| match value {
            Value::Array(values) => Some(values),
            _ => None,
        }) else {
            return Vec::new();
        };
        if values.len() > most {
            self.error(name, format!("at most {most} of them"));
            return Vec::new();
        }
        let mut found = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            match read(value) {
                Some(item) => found.push(item),
                None => self.error(&format!("{name}[{index}]"), format!("must be {what}")),
            }
        }
        found
    }

    fn refuse_rest(&mut self) {
        for (name, _) in std::mem::take(&mut self.map) {
            let name: String = name.chars().take(100).collect();
            self.error(&name, "unknown field");
        }
    }

    /// Refuses what is left over, and everything at fault so far.
    ///
    /// # Errors
    /// 422 with every field at fault.
    pub fn finish(&mut self) -> Result<(), Problem> {
        self.refuse_rest();
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(std::mem::take(&mut self.errors))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_fault_is_named_by_its_path() {
        let body = json!({"name": 5, "rate": -1, "ids": [1, "x", 0], "inner": {"at": "never", "odd": 1},
                          "typo": true, "huge": 1e300, "nul": "a\0b", "none": null});
        let mut fields = Fields::of(body).unwrap();
        fields.required_text("name", 10);
        fields.required_text("missing", 10);
        fields.positive("rate");
        fields.positive("huge");
        fields.text("nul", 10);
        fields.ids("ids", 10);
        assert_eq!(fields.text("none", 10), None);
        let mut inner = fields.child("inner").unwrap();
        inner.time("at");
        fields.absorb(inner);
        let members = fields.finish().unwrap_err().members();
        let named: Vec<&str> =
            members["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
        assert_eq!(
            named,
            ["name", "missing", "rate", "huge", "nul", "ids[1]", "ids[2]", "inner.at", "inner.odd", "typo"]
        );
    }
}
