//! What an operator may do to everybody who fits a filter.

use serde_json::{Map, Value, json};

use super::consent::Consent;
use super::user::{MAX_NAME, check_attributes};

/// One action.
#[derive(Clone, Debug, PartialEq)]
pub enum BulkAction {
    /// Their consent becomes this; never `stop`, and nobody is led out of it.
    Consent(Consent),
    /// They join a topic; who left it by their own word stays out.
    Join(String),
    /// They leave a topic.
    Leave(String),
    /// An attribute gets this value.
    Set(String, Value),
    /// An attribute goes.
    Remove(String),
    /// Their numbers join the list of those never sent to.
    Suppress,
}

impl BulkAction {
    /// As it is kept.
    pub fn to_json(&self) -> Value {
        match self {
            BulkAction::Consent(state) => json!({"do": "consent", "state": state.as_str()}),
            BulkAction::Join(topic) => json!({"do": "join", "topic": topic}),
            BulkAction::Leave(topic) => json!({"do": "leave", "topic": topic}),
            BulkAction::Set(name, value) => json!({"do": "set", "attribute": name, "value": value}),
            BulkAction::Remove(name) => json!({"do": "remove", "attribute": name}),
            BulkAction::Suppress => json!({"do": "suppress"}),
        }
    }

    /// Reads what [`BulkAction::to_json`] wrote. `None`: this release does not know it.
    pub fn from_json(kept: &Value) -> Option<BulkAction> {
        let text = |name: &str| kept.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(match text("do")?.as_str() {
            "consent" => BulkAction::Consent(text("state")?.parse().ok()?),
            "join" => BulkAction::Join(text("topic")?),
            "leave" => BulkAction::Leave(text("topic")?),
            "set" => BulkAction::Set(text("attribute")?, kept.get("value")?.clone()),
            "remove" => BulkAction::Remove(text("attribute")?),
            "suppress" => BulkAction::Suppress,
            _ => return None,
        })
    }

    /// Checks what can be without the data.
    ///
    /// # Errors
    /// The field at fault, and a sentence.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        match self {
            BulkAction::Consent(Consent::Stop) => {
                Err(("state", "only a person's own STOP leads there; choose opted out".to_owned()))
            }
            BulkAction::Set(name, value) => {
                let one: Map<String, Value> = [(name.clone(), value.clone())].into_iter().collect();
                check_attributes(&one).map_err(|error| ("attribute", error.message))
            }
            BulkAction::Remove(name) if name.is_empty() || name.chars().count() > MAX_NAME => {
                Err(("attribute", format!("a name has 1 to {MAX_NAME} characters")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_reads_back_as_it_was_kept() {
        for action in [
            BulkAction::Consent(Consent::OptOut),
            BulkAction::Join("offers".to_owned()),
            BulkAction::Leave("offers".to_owned()),
            BulkAction::Set("vip".to_owned(), json!(true)),
            BulkAction::Remove("vip".to_owned()),
            BulkAction::Suppress,
        ] {
            assert_eq!(BulkAction::from_json(&action.to_json()), Some(action.clone()));
            assert!(action.check().is_ok());
        }
        assert!(BulkAction::Consent(Consent::Stop).check().is_err());
        assert!(BulkAction::Set(String::new(), json!(1)).check().is_err());
        assert!(BulkAction::Remove(String::new()).check().is_err());
        assert_eq!(BulkAction::from_json(&json!({"do": "erase"})), None);
    }
}
