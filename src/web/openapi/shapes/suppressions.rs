//! Suppressions: numbers never to be sent to.

use serde_json::json;
use utoipa::ToSchema;

use super::{Phone, Time, shape, words};
use crate::store::suppressions::REASONS;

shape! {
    /// Why a number is on the list; `erased` comes from an erasure alone.
    SuppressionReason = words(REASONS);
    /// Why a number is to be on the list.
    GivenReason = words(["do_not_contact", "opted_out_elsewhere", "complaint"]);
    /// Numbers for the list of those never to be sent to: `phone` for one, or `phones` for up to 200.
    NewSuppressions = json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "phone": {"type": ["string", "null"], "description": "One number with its country."},
            "phones": {"type": ["array", "null"], "items": {"type": "string"}, "minItems": 1, "maxItems": 200,
                "description": "Several numbers."},
            "reason": {"anyOf": [{"$ref": "#/components/schemas/GivenReason"}, {"type": "null"}],
                "description": "`do_not_contact` if left out."},
            "source": {"type": ["string", "null"], "maxLength": 200,
                "description": "The name of the list, or of whoever says so."}
        },
        "examples": [{"phones": ["+14155550101", "+14155550102"], "reason": "opted_out_elsewhere",
            "source": "former provider"}]
    });
}

/// A number on the list. The number itself is not kept, only its keyed hash.
#[derive(Debug, ToSchema)]
pub struct Suppression {
    /// Ascending.
    #[schema(example = 1)]
    pub id: i64,
    /// The first half of the keyed hash's first bytes, as hexadecimal digits: enough to tell rows apart.
    #[schema(example = "9f86d081884c")]
    pub hash: String,
    /// Why it is there.
    pub reason: SuppressionReason,
    /// The name of a list, or who put it there.
    #[schema(example = "former provider")]
    pub source: String,
    /// The number, where we hold a person with it.
    pub phone: Option<Phone>,
    /// That person.
    #[schema(example = json!(null))]
    pub user_id: Option<i64>,
    /// When the person with this number was erased, if so: only their own START leads back.
    #[schema(example = json!(null))]
    pub erased_at: Option<Time>,
    /// Since when.
    pub created_at: Time,
}

/// What became of numbers for the list.
#[derive(Debug, ToSchema)]
pub struct Suppressed {
    /// How many joined the list.
    #[schema(example = 1)]
    pub added: i64,
    /// How many stood there.
    #[schema(example = 0)]
    pub unchanged: i64,
    /// Each number's row, in the order given, a repeated number once.
    pub data: Vec<Suppression>,
}

/// The parameters of the list.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SuppressionFilters {
    /// Whether this number is on the list.
    #[param(example = "+14155550101")]
    pub phone: Option<String>,
    /// Those with this reason.
    #[param(inline = false)]
    pub reason: Option<SuppressionReason>,
}
