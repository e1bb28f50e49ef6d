//! The Content API, read-only, over a few templates that the account is born with.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::Inner;
use super::errors::ApiError;
use super::life::is_whatsapp;
use super::rest::enter_to_read;

/// When the templates were made.
const MADE: &str = "2026-01-02T09:00:00Z";

/// A template, and how WhatsApp judged it.
#[derive(Debug)]
pub(super) struct Content {
    sid: &'static str,
    name: &'static str,
    category: &'static str,
    status: &'static str,
    body: &'static str,
    /// Placeholders and their samples, which also stand in for what is not given.
    variables: &'static [(&'static str, &'static str)],
}

/// What the account holds: one approved template per category, and one that waits for approval.
static CONTENTS: [Content; 4] = [
    Content {
        sid: "HX00000000000000000000000000000001",
        name: "order_update",
        category: "UTILITY",
        status: "approved",
        body: "Hello {{1}}, your order {{2}} is on its way to you.",
        variables: &[("1", "Ana"), ("2", "A-1001")],
    },
    Content {
        sid: "HX00000000000000000000000000000002",
        name: "spring_offer",
        category: "MARKETING",
        status: "approved",
        body: "Hi {{1}}, our spring offer is here. Reply STOP to leave.",
        variables: &[("1", "Ana")],
    },
    Content {
        sid: "HX00000000000000000000000000000003",
        name: "login_code",
        category: "AUTHENTICATION",
        status: "approved",
        body: "Your code is {{1}}. It is good for ten minutes.",
        variables: &[("1", "123456")],
    },
    Content {
        sid: "HX00000000000000000000000000000004",
        name: "visit_reminder",
        category: "UTILITY",
        status: "pending",
        body: "Dear {{1}}, we expect you at {{2}} today.",
        variables: &[("1", "Ana"), ("2", "10:30")],
    },
];

/// Area codes of +1 outside the United States: Canada, then the islands.
const NOT_UNITED_STATES: &[&str] = &[
    "204", "226", "236", "249", "250", "257", "263", "289", "306", "343", "354", "365", "367", "368", "382",
    "403", "416", "418", "428", "431", "437", "438", "450", "460", "468", "474", "506", "514", "519", "548",
    "579", "581", "584", "587", "604", "613", "639", "647", "672", "683", "705", "709", "742", "753", "778",
    "780", "782", "807", "819", "825", "867", "873", "879", "902", "905", "942", "242", "246", "264", "268",
    "284", "345", "441", "473", "649", "658", "664", "721", "758", "767", "784", "809", "829", "849", "868",
    "869", "876",
];

/// The template with this SID.
pub(super) fn find(sid: &str) -> Option<&'static Content> {
    CONTENTS.iter().find(|content| content.sid == sid)
}

impl Content {
    /// Whether it may be sent to people who did not write within 24 hours.
    pub(super) fn is_approved(&self) -> bool {
        self.status == "approved"
    }

    /// The text with its placeholders filled.
    pub(super) fn render(&self, given: &Map<String, Value>) -> String {
        let mut body = self.body.to_owned();
        for (name, sample) in self.variables {
            let value = given.get(*name).and_then(Value::as_str).unwrap_or(sample);
            body = body.replace(&format!("{{{{{name}}}}}"), value);
        }
        body
    }

    /// The code with which WhatsApp refuses it for this person with these values.
    pub(super) fn error(&self, to: &str, given: &Map<String, Value>) -> Option<u32> {
        if !is_whatsapp(to) {
            return None;
        }
        let is_unknown = |name: &String| !self.variables.iter().any(|(own, _)| own == name);
        let is_unfit = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            text.contains(['\n', '\r', '\t']) || text.contains("     ")
        };
        if given.keys().any(is_unknown) {
            Some(63028)
        } else if given.values().any(is_unfit) {
            Some(63013)
        } else if self.category == "MARKETING" && is_united_states(to) {
            // Not delivered since 2025-04-01.
            Some(63049)
        } else {
            None
        }
    }

    fn json(&self, account_sid: &str, base: &str) -> Value {
        let url = format!("{base}/v1/Content/{}", self.sid);
        json!({
            "sid": self.sid,
            "account_sid": account_sid,
            "friendly_name": self.name,
            "language": "en",
            "variables": self.samples(),
            "types": { "twilio/text": { "body": self.body } },
            "url": url,
            "date_created": MADE,
            "date_updated": MADE,
            "links": {
                "approval_create": format!("{url}/ApprovalRequests/whatsapp"),
                "approval_fetch": format!("{url}/ApprovalRequests"),
            },
        })
    }

    fn json_with_approval(&self, account_sid: &str) -> Value {
        json!({
            "sid": self.sid,
            "account_sid": account_sid,
            "friendly_name": self.name,
            "language": "en",
            "variables": self.samples(),
            "types": { "twilio/text": { "body": self.body } },
            "date_created": MADE,
            "date_updated": MADE,
            "approval_requests": self.approval(),
        })
    }

    fn approval(&self) -> Value {
        json!({
            "name": self.name,
            "category": self.category,
            "content_type": "twilio/text",
            "status": self.status,
            "rejection_reason": "",
            "allow_category_change": false,
        })
    }

    fn samples(&self) -> Value {
        let pairs = self.variables.iter();
        Value::Object(pairs.map(|(name, sample)| ((*name).to_owned(), Value::from(*sample))).collect())
    }
}

fn is_united_states(to: &str) -> bool {
    super::state::bare(to)
        .strip_prefix("+1")
        .and_then(|national| national.get(..3))
        .is_some_and(|area| !NOT_UNITED_STATES.contains(&area))
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/v1/Content", web::get().to(list))
        .route("/v1/ContentAndApprovals", web::get().to(list_with_approvals))
        .route("/v1/Content/{sid}", web::get().to(fetch))
        .route("/v1/Content/{sid}/ApprovalRequests", web::get().to(approval));
}

/// `http://host`, for the absolute links of this API.
fn base(request: &HttpRequest) -> String {
    format!("http://{}", request.connection_info().host())
}

async fn list(inner: web::Data<Inner>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let account_sid = &inner.options.account_sid;
    let base = base(&request);
    page(&inner, &request, |content| content.json(account_sid, &base)).await
}

async fn list_with_approvals(
    inner: web::Data<Inner>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account_sid = &inner.options.account_sid;
    page(&inner, &request, |content| content.json_with_approval(account_sid)).await
}

async fn page(
    inner: &Inner,
    request: &HttpRequest,
    json: impl Fn(&Content) -> Value,
) -> Result<HttpResponse, ApiError> {
    let pass = enter_to_read(inner, request).await?;
    let asked = |name: &str| {
        form_urlencoded::parse(request.query_string().as_bytes())
            .find(|(key, _)| key == name)
            .and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let size = asked("PageSize").unwrap_or(50).clamp(1, 1000);
    let page = asked("Page").unwrap_or(0);
    let path = request.path();
    let base = base(request);
    let url = |page: usize| format!("{base}{path}?PageSize={size}&Page={page}");
    let start = page.saturating_mul(size);
    let has_next = CONTENTS.len() > start.saturating_add(size);
    let contents: Vec<Value> = CONTENTS.iter().skip(start).take(size).map(json).collect();
    Ok(pass.answer(HttpResponse::Ok()).json(json!({
        "contents": contents,
        "meta": {
            "page": page,
            "page_size": size,
            "first_page_url": url(0),
            "previous_page_url": page.checked_sub(1).map(url),
            "url": url(page),
            "next_page_url": has_next.then(|| url(page + 1)),
            "key": "contents",
        },
    })))
}

async fn fetch(
    inner: web::Data<Inner>,
    request: HttpRequest,
    sid: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let pass = enter_to_read(&inner, &request).await?;
    let content = find(&sid).ok_or(ApiError::of(20404))?;
    let json = content.json(&inner.options.account_sid, &base(&request));
    Ok(pass.answer(HttpResponse::Ok()).json(json))
}

async fn approval(
    inner: web::Data<Inner>,
    request: HttpRequest,
    sid: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let pass = enter_to_read(&inner, &request).await?;
    let content = find(&sid).ok_or(ApiError::of(20404))?;
    let mut whatsapp = content.approval();
    if let Some(fields) = whatsapp.as_object_mut() {
        fields.insert("type".to_owned(), Value::from("whatsapp"));
    }
    Ok(pass.answer(HttpResponse::Ok()).json(json!({
        "sid": content.sid,
        "account_sid": inner.options.account_sid,
        "whatsapp": whatsapp,
        "url": format!("{}/v1/Content/{}/ApprovalRequests", base(&request), content.sid),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_take_their_values_or_samples() {
        let content = find("HX00000000000000000000000000000001").unwrap();
        let given = serde_json::from_str(r#"{"1":"Bo"}"#).unwrap();
        assert_eq!(content.render(&given), "Hello Bo, your order A-1001 is on its way to you.");
    }

    #[test]
    fn marketing_reaches_canada_and_not_the_united_states() {
        let content = find("HX00000000000000000000000000000002").unwrap();
        let table = [
            ("whatsapp:+14155550101", Some(63049)),
            ("whatsapp:+14165550101", None),
            ("whatsapp:+94771234567", None),
            ("+14155550101", None),
        ];
        for (to, expected) in table {
            assert_eq!(content.error(to, &Map::new()), expected, "{to}");
        }
    }

    #[test]
    fn values_that_whatsapp_refuses_are_refused() {
        let content = find("HX00000000000000000000000000000001").unwrap();
        let table = [
            (r#"{"3":"x"}"#, Some(63028)),
            (r#"{"1":"a\nb"}"#, Some(63013)),
            (r#"{"1":"a     b"}"#, Some(63013)),
            (r#"{"1":"a","2":"b"}"#, None),
        ];
        for (given, expected) in table {
            let given = serde_json::from_str(given).unwrap();
            assert_eq!(content.error("whatsapp:+94771234567", &given), expected);
        }
    }
}
