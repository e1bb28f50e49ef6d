//! Segments: definitions of an audience.

use serde_json::json;
use utoipa::ToSchema;

use super::users::User;
use super::{Time, shape};

shape! {
    /// Who belongs: a condition (`attribute`, `field`, `engagement`, `trigger` or `sample`), or a group of
    /// them (`all`, `any`, `not`), to depth 8 and 100 conditions. Everybody is `{"all":[]}`.
    Definition = json!({
        "type": "object",
        "minProperties": 1,
        "additionalProperties": false,
        "properties": {
            "all": {"type": "array", "items": {"$ref": "#/components/schemas/Definition"}},
            "any": {"type": "array", "items": {"$ref": "#/components/schemas/Definition"}},
            "not": {"$ref": "#/components/schemas/Definition"},
            "attribute": {"type": "string", "description": "A name, or a path by dots."},
            "field": {"enum": ["phone", "country", "consent", "created_at", "last_inbound_at", "topic"]},
            "operator": {"enum": ["equals", "not_equals", "in", "not_in", "contains", "starts_with", "exists",
                "not_exists", "gt", "gte", "lt", "lte", "before", "after", "within_last"]},
            "value": {"description": "Typed as written: a text, a number, true or false, or a list for `in`; `30d` for `within_last`."},
            "engagement": {"enum": ["sent", "delivered", "read", "replied", "failed"]},
            "campaign_id": {"type": "integer", "minimum": 1},
            "within_last": {"type": "string", "examples": ["30d"]},
            "trigger": {"type": "string", "description": "The type of a trigger."},
            "at_least": {"type": "integer", "minimum": 1},
            "sample": {"type": "object", "additionalProperties": false, "required": ["percent"],
                "properties": {"percent": {"type": "number"}, "seed": {"type": "string"}}},
        },
        "examples": [{"all": [
            {"field": "consent", "operator": "equals", "value": "opt_in"},
            {"attribute": "city", "operator": "equals", "value": "Galle"}]}],
    });
}

/// A named definition of an audience.
#[derive(Debug, ToSchema)]
pub struct Segment {
    /// Key.
    #[schema(example = 2)]
    pub id: i64,
    /// For people.
    #[schema(example = "Galle")]
    pub name: String,
    /// Who belongs.
    pub definition: Definition,
    /// Of the edit, also the `ETag`.
    #[schema(example = 1)]
    pub version: i64,
    /// When it was added.
    pub created_at: Time,
    /// When it was last edited.
    pub updated_at: Time,
}

/// A segment as you write it.
#[derive(Debug, ToSchema)]
pub struct NewSegment {
    /// One line, no other segment's.
    #[schema(example = "Galle", min_length = 1, max_length = 200)]
    pub name: String,
    /// Who belongs.
    pub definition: Definition,
}

/// A definition to try.
#[derive(Debug, ToSchema)]
pub struct DefinitionToTry {
    /// Who would belong.
    pub definition: Definition,
}

/// Who would belong to a segment now.
#[derive(Debug, ToSchema)]
pub struct SegmentPreview {
    /// How many.
    #[schema(example = 1)]
    pub count: i64,
    /// False when counting was ended before everybody was looked at: there are more.
    pub is_exact: bool,
    /// The newest of them.
    pub sample: Vec<User>,
    /// Milliseconds that counting took.
    #[schema(example = 3)]
    pub elapsed_ms: i64,
}
