//! What is kept of one person, told: the proof for a complaint, and the export.

use serde_json::json;

use super::{shape, words};

shape! {
    /// As data, or as a page to print.
    ProofFormat = words(["json", "html"]);
    /// What a person agreed to and got. Each instant is an object of `utc` and `local`, the time at the person.
    /// Of a number that is only on the list of suppressed ones, `person` is null and nothing follows it.
    Proof = json!({
        "type": "object", "additionalProperties": true,
        "required": ["made_at", "made_by", "asked_for", "time_zone", "suppression", "person"],
        "properties": {
            "made_at": {"type": "object", "description": "When it was made."},
            "made_by": {"type": "string", "description": "By which version."},
            "asked_for": {"type": "object", "description": "The number or id that was asked for."},
            "time_zone": {"type": "object", "description": "The zone of local times, and why that one."},
            "suppression": {"type": ["object", "null"],
                "description": "Since when and why the number is never sent to."},
            "person": {"type": ["object", "null"], "description": "The person, if held."},
            "consent": {"type": "object", "description": "The state now, and since when."},
            "changes": {"type": "array", "items": {"type": "object"},
                "description": "Every change of consent with its evidence, oldest first."},
            "chain": {"type": "object",
                "description": "Whether the person's rows of the ledger are what was recorded."},
            "topics": {"type": "array", "items": {"type": "object"},
                "description": "What the person said about each topic."},
            "stops": {"type": "array", "items": {"type": "object"},
                "description": "Every STOP, with the seconds until nothing went out any more."},
            "messages": {"type": "array", "items": {"type": "object"},
                "description": "Messages to the person with attempts and raw receipts, newest first."},
            "inbound": {"type": "array", "items": {"type": "object"},
                "description": "Messages from the person with their raw parameters, newest first."},
            "notes": {"type": "array", "items": {"type": "string"}, "description": "What is to be known beside."}
        },
        "examples": [{"made_at": {"utc": "2026-11-23T12:00:00Z", "local": "2026-11-23 04:00:00 -08:00 America/Los_Angeles"},
            "made_by": "ese 0.1.0", "asked_for": {"phone": "+14155550101"},
            "time_zone": {"name": "America/Los_Angeles", "because": "the number's prefix", "others_possible": []},
            "suppression": null, "person": null}]
    });
    /// The proof as one page, without script and without anything loaded from elsewhere.
    ProofPage = json!({"type": "string", "examples": ["<!doctype html>…"]});
    /// Everything that is held about a person: a member for each table, its rows as they are kept.
    PersonExport = json!({
        "type": "object", "required": ["made_at", "made_by", "user_id", "users"],
        "properties": {
            "made_at": {"type": "string", "format": "date-time", "description": "When it was begun."},
            "made_by": {"type": "string", "description": "By which version."},
            "user_id": {"type": "integer", "description": "The person."}
        },
        "additionalProperties": {"type": "array", "items": {"type": "object"}},
        "examples": [{"made_at": "2026-11-23T12:00:00Z", "made_by": "ese 0.1.0", "user_id": 17,
            "users": [{"id": 17, "phone": "+14155550101"}]}]
    });
}
