//! What a campaign says about quiet hours, as its JSON has it.

use serde_json::{Value, json};

use super::week::WeekHours;

/// Quiet hours as a campaign chose them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// Nothing said: the preset of the campaign's kind.
    #[default]
    House,
    /// A preset by name.
    Preset(String),
    /// No quiet hours, said aloud.
    Off,
    /// A window of its own in which nobody is written to, every day.
    Window {
        /// First quiet minute, `HH:MM`.
        start: String,
        /// First minute after it, `HH:MM`; before `start` if the window crosses midnight.
        end: String,
        /// The hours that the window leaves.
        hours: WeekHours,
    },
}

/// What is wrong in a campaign's `quiet_hours`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct PolicyError {
    /// The field, as a 422 names it: `quiet_hours` or `quiet_hours.start`.
    pub field: String,
    /// What to write instead.
    pub message: String,
}

fn wrong(field: &str, message: impl Into<String>) -> PolicyError {
    let dot = if field.is_empty() { "" } else { "." };
    PolicyError { field: format!("quiet_hours{dot}{field}"), message: message.into() }
}

impl Policy {
    /// Reads `null` (house preset), `"off"`, `{"start","end"}` or `{"preset"}`. Whether the
    /// preset exists is for [`super::Presets::check`] to say.
    pub fn parse(value: &Value) -> Result<Policy, PolicyError> {
        const SHAPES: &str =
            r#"write "off", {"start":"21:00","end":"08:00"}, {"preset":"house"}, or leave it out"#;
        let object = match value {
            Value::Null => return Ok(Policy::House),
            Value::String(text) if text == "off" => return Ok(Policy::Off),
            Value::Object(object) => object,
            _ => return Err(wrong("", SHAPES)),
        };
        if let Some(key) = object.keys().find(|key| !["start", "end", "preset"].contains(&key.as_str())) {
            return Err(wrong(key, "unknown field"));
        }
        let text = |key: &str| match object.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(wrong(key, "must be a text")),
        };
        match (text("preset")?, text("start")?, text("end")?) {
            (Some(preset), None, None) => Ok(Policy::Preset(preset.to_owned())),
            (None, Some(start), Some(end)) => {
                let hours = WeekHours::outside(start, end)
                    .map_err(|error| wrong(field_of(start), error.to_string()))?;
                Ok(Policy::Window { start: start.trim().to_owned(), end: end.trim().to_owned(), hours })
            }
            (None, Some(_), None) => Err(wrong("end", "is missing")),
            (None, None, Some(_)) => Err(wrong("start", "is missing")),
            (Some(_), ..) => Err(wrong("preset", "stands alone, without start and end")),
            (None, None, None) => Err(wrong("", SHAPES)),
        }
    }

    /// The JSON that [`Policy::parse`] reads back.
    pub fn to_json(&self) -> Value {
        match self {
            Policy::House => Value::Null,
            Policy::Off => json!("off"),
            Policy::Preset(name) => json!({ "preset": name }),
            Policy::Window { start, end, .. } => json!({ "start": start, "end": end }),
        }
    }
}

/// The field to blame for a wrong window: `start` unless that one is fine by itself.
fn field_of(start: &str) -> &'static str {
    match WeekHours::outside(start, if start.trim() == "12:00" { "13:00" } else { "12:00" }) {
        Ok(_) => "end",
        Err(_) => "start",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_says_its_quiet_hours_in_four_ways() {
        assert_eq!(Policy::parse(&Value::Null), Ok(Policy::House));
        assert_eq!(Policy::parse(&json!("off")), Ok(Policy::Off));
        assert_eq!(Policy::parse(&json!({"preset": "house"})), Ok(Policy::Preset("house".to_owned())));
        let window = json!({"start": "21:00", "end": "08:00"});
        let policy = Policy::parse(&window).unwrap();
        assert_eq!(policy.to_json(), window);
        let Policy::Window { hours, .. } = policy else {
            panic!("a window was given");
        };
        assert!(hours.allows(0, 480) && !hours.allows(0, 479));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, field) in [
            (json!("on"), "quiet_hours"),
            (json!(true), "quiet_hours"),
            (json!([]), "quiet_hours"),
            (json!({}), "quiet_hours"),
            (json!({"start": "21:00"}), "quiet_hours.end"),
            (json!({"end": "21:00"}), "quiet_hours.start"),
            (json!({"start": "21:00", "end": "21:00"}), "quiet_hours.end"),
            (json!({"start": "21", "end": "08:00"}), "quiet_hours.start"),
            (json!({"start": "21:00", "end": "8"}), "quiet_hours.end"),
            (json!({"start": 21, "end": "08:00"}), "quiet_hours.start"),
            (json!({"start": "21:00", "end": "08:00", "zone": "UTC"}), "quiet_hours.zone"),
            (json!({"preset": "house", "start": "21:00"}), "quiet_hours.preset"),
        ] {
            assert_eq!(Policy::parse(&value).map_err(|error| error.field), Err(field.to_owned()), "{value}");
        }
    }
}
