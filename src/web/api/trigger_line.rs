//! One line of `POST /triggers`: a business event, read and checked.

use serde_json::Value;

use super::segments;
use crate::campaign::{Trigger, Whom};
use crate::clock::Millis;
use crate::domain::phone::Phone;
use crate::domain::trigger::{MAX_ID, check_id, check_type};
use crate::domain::user::check_attributes;
use crate::store::Connection;
use crate::web::body::Fields;
use crate::web::error::Problem;

/// Nothing is sent later than this from now, in milliseconds: a leap year.
pub(super) const FARTHEST: Millis = 366 * 86_400_000;

/// Refuses a segment that names a topic or a campaign which is not there.
pub(super) fn check_segment(conn: &Connection, definition: &Value) -> Result<(), Problem> {
    segments::check_names(conn, "segment", &segments::parse("segment", definition)?)
}

/// Reads one event.
pub(super) fn read(value: Value, now: Millis) -> Result<Trigger, Problem> {
    let mut fields = Fields::of(value)?;
    let id = fields.required_text("id", MAX_ID);
    check(&mut fields, "id", &id, check_id);
    let kind = fields.required_text("type", MAX_ID);
    check(&mut fields, "type", &kind, check_type);
    let occurred_at = fields.time("occurred_at");
    let data = fields.map("data").unwrap_or_default();
    if let Err(error) = check_attributes(&data) {
        fields.error_at(error.field.replacen("attributes", "data", 1), error.message);
    }
    let send_at = fields.time("send_at");
    if send_at.is_some_and(|at| at > now + FARTHEST) {
        fields.error("send_at", "at most 366 days ahead");
    }
    let cancels = fields.text("cancels", MAX_ID);
    if let Some(target) = &cancels {
        check(&mut fields, "cancels", target, check_id);
        if *target == id {
            fields.error("cancels", "an event can't take itself back");
        }
    }
    let whom = read_whom(&mut fields, cancels.is_some());
    fields.finish()?;
    Ok(Trigger { id, kind, occurred_at, whom, data, send_at, cancels })
}

fn check(fields: &mut Fields, name: &str, text: &str, check: fn(&str) -> Result<(), String>) {
    if let Err(message) = check(text)
        && !fields.has_error(name)
    {
        fields.error(name, message);
    }
}

fn read_whom(fields: &mut Fields, only_cancels: bool) -> Whom {
    let phone = fields.text("phone", 100);
    let segment = fields.map("segment");
    match (phone, segment) {
        (Some(_), Some(_)) => fields.error("segment", "give either phone or segment"),
        (None, None) if only_cancels || fields.has_error("phone") || fields.has_error("segment") => {}
        (None, None) => fields.error("phone", "missing; give phone or segment"),
        (Some(text), None) => match Phone::parse(&text, None) {
            Ok(phone) => return Whom::Person(phone),
            Err(error) => fields.error("phone", error.to_string()),
        },
        (None, Some(definition)) => {
            let definition = Value::Object(definition);
            if fields.keep(segments::parse("segment", &definition)).is_some() {
                return Whom::Segment(definition);
            }
        }
    }
    Whom::Nobody
}

/// All faults of a line in one sentence.
pub(super) fn sentence(problem: Problem) -> String {
    let faults = problem.into_fields().into_iter().map(|fault| match fault.field.as_str() {
        "" => "must be a JSON object".to_owned(),
        field => format!("{field}: {}", fault.message),
    });
    faults.collect::<Vec<_>>().join("; ")
}
