//! Templates: what messages say.

use serde_json::json;
use utoipa::ToSchema;

use super::content_templates::Approval;
use super::{Attributes, Channel, Time, shape, words};

shape! {
    /// The variables of Twilio's own template by their number, each a text with placeholders.
    ContentVariables = json!({"type": "object", "additionalProperties": true, "examples": [{"1": "{name}"}]});
    /// How a text is encoded on its way.
    Encoding = words(["GSM-7", "UCS-2"]);
}

/// A template in its newest version.
#[derive(Debug, ToSchema)]
pub struct Template {
    /// Key.
    pub id: i64,
    /// For people.
    #[schema(example = "Welcome")]
    pub name: String,
    /// The way its messages go.
    pub channel: Channel,
    /// A language tag, for your own order.
    #[schema(example = "en")]
    pub locale: Option<String>,
    /// The text with placeholders; empty when Twilio's template or the media say it all.
    #[schema(example = "Hi {name|default(\"there\")}")]
    pub body: String,
    /// Attachments.
    #[schema(example = json!([]))]
    pub media_urls: Vec<String>,
    /// Twilio's own template.
    #[schema(example = json!(null))]
    pub content_sid: Option<String>,
    /// Its variables.
    pub content_variables: ContentVariables,
    /// Attributes that the text asks for.
    #[schema(example = json!(["name"]))]
    pub variables: Vec<String>,
    /// What may go wrong with this text.
    #[schema(example = json!([]))]
    pub warnings: Vec<String>,
    /// What is known of the content template; null without one, or while nobody looked.
    #[schema(example = json!(null))]
    pub approval: Option<Approval>,
    /// How the text as it stands would be encoded.
    pub encoding: Encoding,
    /// SMS parts of the text as it stands.
    #[schema(example = 1)]
    pub parts: i64,
    /// Characters of the text as it stands.
    #[schema(example = 29)]
    pub characters: i64,
    /// Of the edit, also the `ETag`.
    #[schema(example = 1)]
    pub version: i64,
    /// When it was added.
    pub created_at: Time,
    /// When it was last edited.
    pub updated_at: Time,
}

/// A template as you write it. One without a `body` needs a `content_sid` or `media_urls`.
#[derive(Debug, ToSchema)]
pub struct NewTemplate {
    /// One line, no other template's.
    #[schema(example = "Welcome", min_length = 1, max_length = 200)]
    pub name: String,
    /// The way its messages go.
    pub channel: Channel,
    /// A language tag, for your own order.
    #[schema(example = "en", max_length = 35)]
    pub locale: Option<String>,
    /// `{name}` stands for an attribute, `{name|default("there")}` has a fallback, `{{` is a brace.
    #[schema(example = "Hi {name|default(\"there\")}")]
    pub body: Option<String>,
    /// Addresses of attachments, http or https.
    #[schema(example = json!([]), max_items = 10)]
    pub media_urls: Option<Vec<String>>,
    /// Twilio's own template: HX and 32 hexadecimal digits.
    #[schema(example = json!(null), pattern = "^HX[0-9a-fA-F]{32}$")]
    pub content_sid: Option<String>,
    /// Its variables.
    pub content_variables: Option<ContentVariables>,
}

/// For whom a preview is: give one of the two.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"attributes": {"name": "Ana"}}))]
pub struct PreviewReader {
    /// A person's number, or their id.
    #[schema(max_length = 100)]
    pub phone: Option<String>,
    /// Somebody made up.
    pub attributes: Option<Attributes>,
}

/// What one person would get. Without a value for each variable there is no text, as there would be no message.
#[derive(Debug, ToSchema)]
pub struct TemplatePreview {
    /// The text.
    #[schema(example = "Hi Ana")]
    pub body: Option<String>,
    /// How it would be encoded.
    pub encoding: Option<Encoding>,
    /// SMS parts.
    #[schema(example = 1)]
    pub parts: Option<i64>,
    /// Characters.
    #[schema(example = 6)]
    pub characters: Option<i64>,
    /// The variables of Twilio's template, filled in.
    pub content_variables: Option<ContentVariables>,
    /// Variables without a value.
    #[schema(example = json!([]))]
    pub missing: Vec<String>,
    /// What may go wrong with this text.
    #[schema(example = json!([]))]
    pub warnings: Vec<String>,
}
