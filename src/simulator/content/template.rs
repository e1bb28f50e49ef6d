//! Templates of the account, how WhatsApp judges them, and what a message made of one meets.

use serde_json::{Map, Value, json};

use super::super::life::is_whatsapp;
use super::super::message::rfc_3339;
use super::super::state::bare;

/// When the templates that the account is born with were made: 2026-01-02 at nine.
const BORN: i64 = 1_767_344_400_000;

/// How WhatsApp judges a template: every word of the Content API.
pub(super) const STATUSES: [&str; 7] =
    ["unsubmitted", "received", "pending", "approved", "rejected", "paused", "disabled"];
/// What WhatsApp counts a template as.
pub(super) const CATEGORIES: [&str; 3] = ["UTILITY", "MARKETING", "AUTHENTICATION"];

/// What WhatsApp said of a template.
#[derive(Clone, Debug, Default)]
pub(super) struct Approval {
    /// Empty before the submission.
    pub(super) name: String,
    /// Empty before the submission.
    pub(super) category: String,
    pub(super) status: String,
    pub(super) rejection_reason: String,
}

/// A template, and how WhatsApp judged it.
#[derive(Clone, Debug)]
pub(in crate::simulator) struct Content {
    pub(super) sid: String,
    pub(super) friendly_name: String,
    pub(super) language: String,
    /// Placeholders and their samples, which also stand in for what is not given.
    pub(super) variables: Map<String, Value>,
    /// As they were given: `{"twilio/text": {"body": …}}`.
    pub(super) types: Map<String, Value>,
    pub(super) approval: Approval,
    pub(super) created: i64,
    pub(super) updated: i64,
}

/// All templates of the account, in order of creation.
#[derive(Debug)]
pub(in crate::simulator) struct Contents {
    all: Vec<Content>,
    /// How many were ever made, deleted ones too: the number of the next SID.
    made: u64,
}

/// Area codes of +1 outside the United States: Canada, then the islands.
const NOT_UNITED_STATES: &[&str] = &[
    "204", "226", "236", "249", "250", "257", "263", "289", "306", "343", "354", "365", "367", "368", "382",
    "403", "416", "418", "428", "431", "437", "438", "450", "460", "468", "474", "506", "514", "519", "548",
    "579", "581", "584", "587", "604", "613", "639", "647", "672", "683", "705", "709", "742", "753", "778",
    "780", "782", "807", "819", "825", "867", "873", "879", "902", "905", "942", "242", "246", "264", "268",
    "284", "345", "441", "473", "649", "658", "664", "721", "758", "767", "784", "809", "829", "849", "868",
    "869", "876",
];

impl Contents {
    /// What every account is born with: one approved template per category, and one that waits for approval.
    pub(in crate::simulator) fn born() -> Contents {
        let born = [
            (
                "order_update",
                "UTILITY",
                "approved",
                "Hello {{1}}, your order {{2}} is on its way to you.",
                json!({"1": "Ana", "2": "A-1001"}),
            ),
            (
                "spring_offer",
                "MARKETING",
                "approved",
                "Hi {{1}}, our spring offer is here. Reply STOP to leave.",
                json!({"1": "Ana"}),
            ),
            (
                "login_code",
                "AUTHENTICATION",
                "approved",
                "Your code is {{1}}. It is good for ten minutes.",
                json!({"1": "123456"}),
            ),
            (
                "visit_reminder",
                "UTILITY",
                "pending",
                "Dear {{1}}, we expect you at {{2}} today.",
                json!({"1": "Ana", "2": "10:30"}),
            ),
        ];
        let content =
            |(index, (name, category, status, body, variables)): (usize, (&str, &str, &str, &str, Value))| {
                Content {
                    sid: format!("HX{:032x}", index + 1),
                    friendly_name: name.to_owned(),
                    language: "en".to_owned(),
                    variables: variables.as_object().cloned().unwrap_or_default(),
                    types: Map::from_iter([("twilio/text".to_owned(), json!({"body": body}))]),
                    approval: Approval {
                        name: name.to_owned(),
                        category: category.to_owned(),
                        status: status.to_owned(),
                        rejection_reason: String::new(),
                    },
                    created: BORN,
                    updated: BORN,
                }
            };
        let all: Vec<Content> = born.into_iter().enumerate().map(content).collect();
        Contents { made: all.len() as u64, all }
    }

    /// Every template, in order of creation.
    pub(super) fn all(&self) -> &[Content] {
        &self.all
    }

    /// The template with this SID.
    pub(in crate::simulator) fn find(&self, sid: &str) -> Option<&Content> {
        self.all.iter().find(|content| content.sid == sid)
    }

    pub(super) fn find_mut(&mut self, sid: &str) -> Option<&mut Content> {
        self.all.iter_mut().find(|content| content.sid == sid)
    }

    /// Keeps a new template; its SID is drawn from `identity`.
    pub(super) fn insert(&mut self, identity: u64, content: Content) -> Content {
        let draw = super::super::chance::identity(identity ^ 0x4858, self.made);
        self.made += 1;
        let content = Content { sid: format!("HX{draw:032x}"), ..content };
        self.all.push(content.clone());
        content
    }

    /// Whether there was one with this SID.
    pub(super) fn delete(&mut self, sid: &str) -> bool {
        let before = self.all.len();
        self.all.retain(|content| content.sid != sid);
        self.all.len() < before
    }

    /// Moves a template to another judgement. Says whether there is one with this SID.
    pub(super) fn judge(&mut self, sid: &str, status: &str, reason: &str, now: i64) -> bool {
        let Some(content) = self.find_mut(sid) else {
            return false;
        };
        status.clone_into(&mut content.approval.status);
        reason.clone_into(&mut content.approval.rejection_reason);
        content.updated = now;
        true
    }
}

impl Content {
    /// Whether it may be sent to people who did not write within 24 hours.
    pub(in crate::simulator) fn is_approved(&self) -> bool {
        self.approval.status == "approved"
    }

    /// Whether it stands at this word.
    pub(super) fn is(&self, status: &str) -> bool {
        self.approval.status == status
    }

    fn body(&self) -> &str {
        self.types.values().find_map(|kind| kind["body"].as_str()).unwrap_or_default()
    }

    /// The text with its placeholders filled.
    pub(in crate::simulator) fn render(&self, given: &Map<String, Value>) -> String {
        let mut body = self.body().to_owned();
        for (name, sample) in &self.variables {
            let value = given.get(name).unwrap_or(sample).as_str().unwrap_or_default();
            body = body.replace(&format!("{{{{{name}}}}}"), value);
        }
        body
    }

    /// The code with which WhatsApp refuses it for this person with these values.
    pub(in crate::simulator) fn error(&self, to: &str, given: &Map<String, Value>) -> Option<u32> {
        if !is_whatsapp(to) {
            return None;
        }
        let is_unfit = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            text.contains(['\n', '\r', '\t']) || text.contains("     ")
        };
        match self.approval.status.as_str() {
            "paused" => return Some(63041),
            "disabled" => return Some(63042),
            _ => {}
        }
        if given.keys().any(|name| !self.variables.contains_key(name)) {
            Some(63028)
        } else if given.values().any(is_unfit) {
            Some(63013)
        } else if self.approval.category == "MARKETING" && is_united_states(to) {
            // Not delivered since 2025-04-01.
            Some(63049)
        } else {
            None
        }
    }

    pub(super) fn json(&self, account_sid: &str, base: &str) -> Value {
        let url = format!("{base}/v1/Content/{}", self.sid);
        json!({
            "sid": self.sid,
            "account_sid": account_sid,
            "friendly_name": self.friendly_name,
            "language": self.language,
            "variables": self.variables,
            "types": self.types,
            "url": url,
            "date_created": rfc_3339(self.created),
            "date_updated": rfc_3339(self.updated),
            "links": {
                "approval_create": format!("{url}/ApprovalRequests/whatsapp"),
                "approval_fetch": format!("{url}/ApprovalRequests"),
            },
        })
    }

    pub(super) fn json_with_approval(&self, account_sid: &str) -> Value {
        json!({
            "sid": self.sid,
            "account_sid": account_sid,
            "friendly_name": self.friendly_name,
            "language": self.language,
            "variables": self.variables,
            "types": self.types,
            "date_created": rfc_3339(self.created),
            "date_updated": rfc_3339(self.updated),
            "approval_requests": self.approval_json(),
        })
    }

    pub(super) fn approval_json(&self) -> Value {
        let is_submitted = self.approval.status != "unsubmitted";
        let content_type = self.types.keys().next().filter(|_| is_submitted);
        json!({
            "name": self.approval.name,
            "category": self.approval.category,
            "content_type": content_type.map_or("", String::as_str),
            "status": self.approval.status,
            "rejection_reason": self.approval.rejection_reason,
            "allow_category_change": !self.is_approved(),
        })
    }
}

fn is_united_states(to: &str) -> bool {
    bare(to)
        .strip_prefix("+1")
        .and_then(|national| national.get(..3))
        .is_some_and(|area| !NOT_UNITED_STATES.contains(&area))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn born(number: u8) -> Content {
        Contents::born().find(&format!("HX{number:032x}")).unwrap().clone()
    }

    #[test]
    fn placeholders_take_their_values_or_samples() {
        let given = serde_json::from_str(r#"{"1":"Bo"}"#).unwrap();
        assert_eq!(born(1).render(&given), "Hello Bo, your order A-1001 is on its way to you.");
    }

    #[test]
    fn marketing_reaches_canada_and_not_the_united_states() {
        let table = [
            ("whatsapp:+14155550101", Some(63049)),
            ("whatsapp:+14165550101", None),
            ("whatsapp:+94771234567", None),
            ("+14155550101", None),
        ];
        for (to, expected) in table {
            assert_eq!(born(2).error(to, &Map::new()), expected, "{to}");
        }
    }

    #[test]
    fn values_and_judgements_that_whatsapp_refuses_are_refused() {
        let table = [
            (r#"{"3":"x"}"#, Some(63028)),
            (r#"{"1":"a\nb"}"#, Some(63013)),
            (r#"{"1":"a     b"}"#, Some(63013)),
            (r#"{"1":"a","2":"b"}"#, None),
        ];
        for (given, expected) in table {
            let given = serde_json::from_str(given).unwrap();
            assert_eq!(born(1).error("whatsapp:+94771234567", &given), expected);
        }
        for (status, expected) in [("paused", Some(63041)), ("disabled", Some(63042)), ("rejected", None)] {
            let mut content = born(1);
            content.approval.status = status.to_owned();
            assert_eq!(content.error("whatsapp:+94771234567", &Map::new()), expected, "{status}");
        }
    }
}
