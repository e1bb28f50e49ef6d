//! Content templates: those that live at Twilio, and how WhatsApp judges them.

use serde_json::json;
use utoipa::ToSchema;

use super::{Time, shape, words};
use crate::domain::content::{Approval as Status, Category};

shape! {
    /// A judgement that can be asked for.
    ContentStatus = words(Status::ALL.map(Status::as_str));
    /// What WhatsApp counts a template as.
    ContentCategory = words(Category::WORDS);
    /// Twilio's types with their texts.
    ContentTypes = json!({"type": "object", "additionalProperties": true,
        "examples": [{"twilio/text": {"body": "Hello {{1}}, your order is on its way."}}]});
    /// An example for every variable, by its name.
    ContentSamples = json!({"type": "object", "additionalProperties": {"type": "string"}, "examples": [{"1": "Ana"}]});
    /// An example for every variable of the text, by its name; what has a fallback may be left out.
    Example = json!({"type": "object", "additionalProperties": true, "examples": [{"name": "Ana"}]});
}

/// A template as Twilio showed it last.
#[derive(Debug, ToSchema)]
pub struct ContentTemplate {
    /// HX and 32 hexadecimal digits.
    #[schema(example = "HX0123456789abcdef0123456789abcdef")]
    pub sid: Option<String>,
    /// For people.
    #[schema(example = "order_update")]
    pub name: String,
    /// Such as `en` or `pt_BR`.
    #[schema(example = "en")]
    pub language: String,
    /// The text of the first type that has one.
    #[schema(example = "Hello {{1}}, your order is on its way.")]
    pub body: Option<String>,
    /// Twilio's types with their texts.
    pub types: ContentTypes,
    /// Names of variables with their samples.
    pub variables: ContentSamples,
    /// Twilio's word for what WhatsApp counts it as; before the submission, what was wanted.
    #[schema(example = "UTILITY")]
    pub category: Option<String>,
    /// Twilio's word for the judgement, or `deleted`.
    #[schema(example = "approved")]
    pub status: String,
    /// Why WhatsApp said no.
    #[schema(example = json!(null))]
    pub rejection_reason: Option<String>,
    /// Names of the templates here that are sent by it.
    #[schema(example = json!(["Welcome"]))]
    pub templates: Vec<String>,
    /// When it came here.
    pub created_at: Time,
    /// When Twilio showed it last.
    pub synced_at: Option<Time>,
    /// When it was noticed that Twilio has it no more.
    pub deleted_at: Option<Time>,
}

/// A template to be made at Twilio.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"name": "order_update", "language": "en", "variables": {"1": "Ana"}, "category": "UTILITY",
    "body": "Hello {{1}}, your order is on its way."}))]
pub struct NewContentTemplate {
    /// No other template's in this language.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Such as `en` or `pt_BR`.
    #[schema(pattern = "^[a-z]{2,3}(_[A-Z]{2})?$")]
    pub language: String,
    /// The text with `{{1}}`, `{{2}}` …
    #[schema(min_length = 1, max_length = 1600)]
    pub body: String,
    /// An example for every variable.
    pub variables: Option<ContentSamples>,
    /// What it shall be submitted as.
    pub category: Option<ContentCategory>,
}

/// How a template is submitted.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"category": "UTILITY"}))]
pub struct Submission {
    /// What WhatsApp shall count it as; left out, as it was wanted when it was made.
    pub category: Option<ContentCategory>,
    /// What WhatsApp calls it; left out, after its name.
    #[schema(max_length = 512, pattern = "^[a-z0-9_]+$")]
    pub name: Option<String>,
}

/// How a template of yours is submitted.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"category": "UTILITY", "example": {"name": "Ana"}}))]
pub struct OwnSubmission {
    /// What WhatsApp shall count it as.
    pub category: Option<ContentCategory>,
    /// What WhatsApp calls it; left out, after its name.
    #[schema(max_length = 512, pattern = "^[a-z0-9_]+$")]
    pub name: Option<String>,
    /// Such as `en` or `pt_BR`; left out, the template's locale.
    #[schema(pattern = "^[a-z]{2,3}(_[A-Z]{2})?$")]
    pub language: Option<String>,
    /// An example for every variable of the text.
    pub example: Option<Example>,
}

/// What a look at Twilio brought.
#[derive(Debug, ToSchema)]
pub struct Synced {
    /// Templates that Twilio has.
    #[schema(example = 12)]
    pub seen: i64,
    /// Of those, judged otherwise than before.
    #[schema(example = 1)]
    pub changed: i64,
    /// Templates that Twilio has no more.
    #[schema(example = 0)]
    pub deleted: i64,
    /// When the look began.
    pub synced_at: Time,
}

/// How WhatsApp judges the content template of a template.
#[derive(Debug, ToSchema)]
pub struct Approval {
    /// Twilio's word, or `deleted`.
    #[schema(example = "approved")]
    pub status: String,
    /// Why WhatsApp said no.
    #[schema(example = json!(null))]
    pub reason: Option<String>,
    /// Twilio's word for what WhatsApp counts it as.
    #[schema(example = "UTILITY")]
    pub category: Option<String>,
    /// When Twilio showed it last.
    pub synced_at: Option<Time>,
}
