//! The shapes of requests and answers, as the document tells them: one file for each noun, as in
//! `web/api`. They are read by nothing but the document; every answer that a test of the API gets is held
//! against them, so a shape that is not what is sent fails those tests.
//!
//! In a request `Option` is a field that may be left out, and null says the same. In an answer every field
//! is always there, and `Option` may be null; a field that may be missing has `#[schema(nullable = false)]`.

pub mod api_keys;
pub mod audience;
pub mod campaigns;
pub mod content_templates;
pub mod events;
pub mod imports;
pub mod messages;
pub mod overview;
pub mod privacy;
pub mod report;
pub mod segments;
pub mod senders;
pub mod settings;
pub mod suppressions;
pub mod templates;
pub mod topics;
pub mod triggers;
pub mod users;
pub mod webhooks;

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema};

use imports::Counts;

/// The extension under which a whole schema is handed to `assemble`, which puts it in its place.
pub(super) const WHOLE: &str = "x-whole";

/// A schema that is written as JSON.
pub(super) fn whole(doc: &[&str], mut schema: Value) -> RefOr<Schema> {
    let description: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), Value::from(description.join(" ")));
    }
    let extensions = ExtensionsBuilder::new().add(WHOLE, schema).build();
    RefOr::T(Schema::Object(ObjectBuilder::new().extensions(Some(extensions)).build()))
}

/// A shape that is written as JSON Schema, since Rust's types can't say it: closed words, patterns,
/// alternatives. Its doc comment is the description.
macro_rules! shape {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)+) => { $(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub enum $name {}

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                $crate::web::openapi::shapes::whole(&[$($doc),+], $schema)
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed(stringify!($name))
            }
        }
    )+ };
}
pub(super) use shape;

/// One word of a closed list.
pub(super) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Value {
    serde_json::json!({"type": "string", "enum": words.into_iter().collect::<Vec<_>>()})
}

shape! {
    /// An instant, RFC 3339 in UTC.
    Time = serde_json::json!({"type": "string", "format": "date-time", "examples": ["2026-11-23T09:30:00Z"]});
    /// A number in E.164.
    Phone = serde_json::json!({"type": "string", "pattern": "^\\+[1-9][0-9]{4,14}$", "examples": ["+14155550101"]});
    /// What is known of a person, by names of your own: any JSON, objects and lists among it.
    Attributes = serde_json::json!({"type": "object", "additionalProperties": true,
        "examples": [{"name": "Ana", "city": "Galle"}]});
    /// The way a message goes.
    Channel = words(["sms", "whatsapp"]);
    /// How a long list is wanted: a page of JSON, or all of it as a sheet.
    SheetFormat = words(["json", "csv"]);
    /// Comma-separated values in UTF-8, the names of the columns in the first line.
    Sheet = serde_json::json!({"type": "string", "examples": ["id,phone,status\n1,+14155550101,delivered\n"]});
}

/// One page of a list, newest first unless the operation says otherwise.
#[derive(Debug, ToSchema)]
pub struct Page<T> {
    /// The rows. A page may be short, or empty, and still have a next one.
    pub data: Vec<T>,
    /// Give it as `cursor` for the next page; null on the last one.
    #[schema(example = json!(null))]
    pub next_cursor: Option<String>,
}

/// All rows at once.
#[derive(Debug, ToSchema)]
pub struct Rows<T> {
    /// The rows.
    pub data: Vec<T>,
}

/// The parameters of every list.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Rows of one page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<i64>,
    /// `next_cursor` of the page before. Opaque, and stable while rows are added.
    pub cursor: Option<String>,
}

/// What went wrong: `application/problem+json` (RFC 9457). Some kinds have members of their own beside these.
#[derive(Debug, ToSchema)]
pub struct Problem {
    /// `about:blank`, or `/problems/<code>`.
    #[schema(example = "about:blank")]
    pub r#type: String,
    /// The status in words.
    #[schema(example = "Not Found")]
    pub title: String,
    /// The status of the answer.
    #[schema(example = 404)]
    pub status: i64,
    /// What is wrong with this request, for a person to read.
    #[schema(example = "There is no such person.")]
    pub detail: String,
    /// The particular problem, for a program to go by: `duplicate`, `wrong_state`, `setup_incomplete`, …
    #[schema(nullable = false, example = "wrong_state")]
    pub code: Option<String>,
    /// On 422: every field or parameter at fault.
    #[schema(nullable = false)]
    pub errors: Option<Vec<FieldError>>,
    /// On 403: the scope that the key lacks.
    #[schema(nullable = false, example = "send")]
    pub missing_scope: Option<String>,
    /// On 409 `wrong_state`: what the campaign is now.
    #[schema(nullable = false, example = "paused")]
    pub status_now: Option<String>,
    /// On 409 `wrong_state`: the states in which it would be possible.
    #[schema(nullable = false, example = json!(["running"]))]
    pub allowed_in: Option<Vec<String>>,
    /// On 409 `would_expire`: how many people would not get it before the deadline.
    #[schema(nullable = false, example = 12)]
    pub would_expire: Option<i64>,
    /// On 409 `would_expire`: of how many.
    #[schema(nullable = false, example = 400)]
    pub people: Option<i64>,
    /// On 409 `would_expire`: those whose own hours leave no time, by what they would wait for.
    #[schema(nullable = false)]
    pub by_reason: Option<Counts>,
    /// On 409 `in_use`: what uses it.
    #[schema(nullable = false, example = json!(["campaign Spring"]))]
    pub used_by: Option<Vec<String>>,
    /// On 409 `locked`: who fixes the value, `file` or `environment`.
    #[schema(nullable = false, example = "file")]
    pub locked_by: Option<String>,
    /// The id under which this request is logged.
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    pub request_id: String,
}

/// One field of a request at fault.
#[derive(Debug, ToSchema)]
pub struct FieldError {
    /// As the request names it; empty for the body as a whole.
    #[schema(example = "schedule.at")]
    pub field: String,
    /// What is wrong, and what would be right.
    #[schema(example = "must be a time such as 2026-11-23T09:30:00Z")]
    pub message: String,
}
