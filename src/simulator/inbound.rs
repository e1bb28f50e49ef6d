//! A person writes: the message is kept, keywords act, and the webhook is called.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::callbacks::{self, Answer};
use super::life::{self, Prospect, is_whatsapp};
use super::message::{Direction, Message, Sid, Status};
use super::rest::media;
use super::state::bare;
use super::{Inner, lock, twiml};
use crate::domain::encoding::count;

/// What a person writes: the JSON of `POST /_control/inbound`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// The person, `+…` or `whatsapp:+…`.
    pub from: String,
    /// Our number, on the same channel.
    pub to: String,
    /// The text; may be empty with media.
    #[serde(default)]
    pub body: String,
    /// URLs of pictures, or MIME types of files that the simulator makes up and hands out as Twilio does.
    #[serde(default)]
    pub media: Vec<String>,
    /// Name that a WhatsApp person shows.
    #[serde(default)]
    pub profile_name: Option<String>,
    /// Payload of a button that was tapped; its text is `body`.
    #[serde(default)]
    pub button: Option<String>,
    /// The SID of our message that this one replies to.
    #[serde(default)]
    pub replied_sid: Option<String>,
    /// The Messaging Service whose number was written to.
    #[serde(default)]
    pub messaging_service_sid: Option<String>,
    /// When it was written, in milliseconds since 1970; now, if left out.
    #[serde(default)]
    pub created_ms: Option<i64>,
    /// Whether the webhook is called. Without it the message is only in the list, as when the
    /// receiver was down.
    #[serde(default = "yes")]
    pub deliver: bool,
}

fn yes() -> bool {
    true
}

impl Inbound {
    /// A plain text.
    pub fn text(from: &str, to: &str, body: &str) -> Inbound {
        Inbound {
            from: from.to_owned(),
            to: to.to_owned(),
            body: body.to_owned(),
            media: Vec::new(),
            profile_name: None,
            button: None,
            replied_sid: None,
            messaging_service_sid: None,
            created_ms: None,
            deliver: true,
        }
    }
}

/// What became of an inbound message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InboundResult {
    /// SID of the message in the list.
    pub message_sid: String,
    /// Status of the webhook's answer; none if it was not called or gave none.
    pub status: Option<u16>,
    /// First text that the answer sends back.
    pub reply: Option<String>,
    /// The answer's body as it came.
    pub twiml: String,
    /// What Twilio's debugger would show: 11200 no 2xx, 11205 no connection, 11750 too long,
    /// 12100 no readable TwiML, 12300 content type.
    pub warning: Option<u32>,
}

/// What a whole message of one word does, before it reaches us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keyword {
    Stop,
    Start,
    Help,
}

impl Keyword {
    fn of(body: &str) -> Option<Keyword> {
        match body.trim().to_ascii_uppercase().as_str() {
            "STOP" | "STOPALL" | "UNSUBSCRIBE" | "END" | "QUIT" | "CANCEL" | "REVOKE" | "OPTOUT" => {
                Some(Keyword::Stop)
            }
            "START" | "YES" | "UNSTOP" => Some(Keyword::Start),
            "HELP" | "INFO" => Some(Keyword::Help),
            _ => None,
        }
    }

    fn opt_out_type(self) -> &'static str {
        match self {
            Keyword::Stop => "STOP",
            Keyword::Start => "START",
            Keyword::Help => "HELP",
        }
    }
}

/// Keeps the message, applies its keyword, calls the webhook and records the reply.
pub(super) async fn receive(inner: &Arc<Inner>, inbound: Inbound) -> InboundResult {
    let keyword = keyword(inner, &inbound);
    let sid = keep(inner, &inbound, keyword);
    let message_sid = sid.to_string();
    let url = lock(&inner.inbound_url).clone();
    let (Some(url), true) = (url, inbound.deliver) else {
        return InboundResult { message_sid, status: None, reply: None, twiml: String::new(), warning: None };
    };
    let params = params(inner, &inbound, sid, keyword);
    let answer = callbacks::send_inbound(inner, url.clone(), params.clone()).await;
    let is_doubled = inner.state().faults.doubles_inbound(inner.options.seed);
    if is_doubled {
        callbacks::send_inbound(inner, url, params).await;
    }
    let (replies, warning) = replies(&answer);
    for reply in &replies {
        send_reply(inner, &inbound, reply);
    }
    InboundResult {
        message_sid,
        status: answer.status,
        reply: replies.into_iter().next(),
        twiml: String::from_utf8_lossy(&answer.body).into_owned(),
        warning,
    }
}

/// The keyword that Twilio itself acts on: on long codes always, elsewhere only with Advanced
/// Opt-Out. YES does not reopen a toll-free number.
fn keyword(inner: &Inner, inbound: &Inbound) -> Option<Keyword> {
    let keyword = Keyword::of(&inbound.body)?;
    let is_long_code = inbound.to.starts_with('+');
    if !is_long_code && !inner.options.advanced_opt_out {
        return None;
    }
    let is_toll_free = ["800", "833", "844", "855", "866", "877", "888"]
        .iter()
        .any(|code| inbound.to.strip_prefix("+1").is_some_and(|national| national.starts_with(code)));
    let is_yes = inbound.body.trim().eq_ignore_ascii_case("yes");
    (!(is_toll_free && is_yes)).then_some(keyword)
}

fn keep(inner: &Inner, inbound: &Inbound, keyword: Option<Keyword>) -> Sid {
    let now = inbound.created_ms.unwrap_or_else(|| inner.now());
    let mut state = inner.state();
    match keyword {
        Some(Keyword::Stop) => state.block(&inbound.from, &inbound.to),
        Some(Keyword::Start) => state.unblock(&inbound.from, &inbound.to),
        Some(Keyword::Help) | None => {}
    }
    if is_whatsapp(&inbound.from) {
        state.heard(&inbound.from, &inbound.to, now);
    }
    let number = u64::try_from(state.len()).unwrap_or(u64::MAX);
    let sid = Sid::draw(inner.identity, number, !inbound.media.is_empty());
    state.insert(Message {
        sid,
        service: inbound.messaging_service_sid.as_deref().map(Arc::from),
        to: inbound.to.as_str().into(),
        from: Some(inbound.from.as_str().into()),
        body: inbound.body.as_str().into(),
        content_sid: None,
        media: inbound.media.clone(),
        status: Status::Received,
        direction: Direction::Inbound,
        parts: parts_of(inbound),
        error: None,
        created: now,
        updated: now,
        sent: Some(now),
        status_callback: None,
        validity_seconds: 0,
        is_deleted: false,
    });
    sid
}

/// A WhatsApp message is one part however long.
fn parts_of(inbound: &Inbound) -> u32 {
    if is_whatsapp(&inbound.from) { 1 } else { count(&inbound.body).parts }
}

/// The form, with everything that real webhooks carry
/// (<https://www.twilio.com/docs/messaging/guides/webhook-request>), empty places included.
fn params(inner: &Inner, inbound: &Inbound, sid: Sid, keyword: Option<Keyword>) -> Vec<(String, String)> {
    let mut params = Vec::with_capacity(32);
    let mut add = |name: &str, value: &str| params.push((name.to_owned(), value.to_owned()));
    if is_whatsapp(&inbound.from) {
        whatsapp_params(inbound, &mut add);
    } else {
        for place in ["ToCountry", "ToState", "ToCity", "ToZip"] {
            add(place, "");
        }
        for place in ["FromCountry", "FromState", "FromCity", "FromZip"] {
            add(place, "");
        }
    }
    if let Some(sid) = &inbound.replied_sid {
        add("OriginalRepliedMessageSid", sid);
        add("OriginalRepliedMessageSender", &inbound.to);
    }
    if let Some(service) = &inbound.messaging_service_sid {
        add("MessagingServiceSid", service);
    }
    if let Some(keyword) = keyword.filter(|_| inner.options.advanced_opt_out) {
        add("OptOutType", keyword.opt_out_type());
    }
    let base = inner.base_url();
    for (number, media) in inbound.media.iter().enumerate() {
        let (url, kind) = media::told(&base, &inner.options.account_sid, sid, number, media);
        add(&format!("MediaContentType{number}"), &kind);
        add(&format!("MediaUrl{number}"), &url);
    }
    for name in ["SmsMessageSid", "SmsSid", "MessageSid"] {
        add(name, &sid.to_string());
    }
    add("NumMedia", &inbound.media.len().to_string());
    add("SmsStatus", "received");
    add("Body", &inbound.body);
    add("To", &inbound.to);
    add("NumSegments", &parts_of(inbound).to_string());
    add("AccountSid", &inner.options.account_sid);
    add("From", &inbound.from);
    add("ApiVersion", "2010-04-01");
    params
}

fn whatsapp_params(inbound: &Inbound, add: &mut impl FnMut(&str, &str)) {
    let person = bare(&inbound.from);
    let name = inbound.profile_name.as_deref().unwrap_or("Simulated person");
    add("ProfileName", name);
    add("WaId", person.trim_start_matches('+'));
    add("Forwarded", "false");
    add("FrequentlyForwarded", "false");
    add("ReferralNumMedia", "0");
    add("ChannelMetadata", r#"{"type":"whatsapp","data":{}}"#);
    match &inbound.button {
        Some(payload) => {
            add("MessageType", "button");
            add("ButtonPayload", payload);
            add("ButtonText", &inbound.body);
        }
        None => add("MessageType", "text"),
    }
}

/// The texts that an answer sends back, or what is wrong with it.
fn replies(answer: &Answer) -> (Vec<String>, Option<u32>) {
    let wrong = |code| (Vec::new(), Some(code));
    let kind = answer.content_type.split(';').next().unwrap_or_default();
    match (answer.status, kind.trim().to_ascii_lowercase().as_str()) {
        (None, _) => wrong(11205),
        (Some(status), _) if !(200..300).contains(&status) => wrong(11200),
        _ if answer.body.is_empty() => (Vec::new(), None),
        _ if answer.body.len() > twiml::LONGEST => wrong(11750),
        (_, "text/plain") => {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            (vec![text], None)
        }
        (_, "text/xml" | "application/xml" | "text/html") => match twiml::messages(&answer.body) {
            Some(texts) => (texts, None),
            None => wrong(12100),
        },
        _ => wrong(12300),
    }
}

/// Sends our side's reply to the person. A reply to somebody who is blocked fails.
fn send_reply(inner: &Arc<Inner>, inbound: &Inbound, body: &str) {
    let now = inner.now();
    let mut state = inner.state();
    let is_blocked = state.is_blocked(&inbound.from, &inbound.to);
    let number = u64::try_from(state.len()).unwrap_or(u64::MAX);
    let prospect = Prospect {
        to: inbound.from.as_str().into(),
        sender: inbound.to.as_str().into(),
        by_service: false,
        parts: if is_whatsapp(&inbound.from) { 1 } else { count(body).parts },
        earlier: number,
        known_error: is_blocked.then_some(21610),
        scheduled_ms: 0,
        queue_ms: 0,
        validity_ms: u64::MAX,
    };
    let index = state.insert(Message {
        sid: Sid::draw(inner.identity, number, false),
        service: None,
        to: Arc::clone(&prospect.to),
        from: Some(Arc::clone(&prospect.sender)),
        body: body.into(),
        content_sid: None,
        media: Vec::new(),
        status: Status::Queued,
        direction: Direction::OutboundReply,
        parts: prospect.parts,
        error: None,
        created: now,
        updated: now,
        sent: None,
        status_callback: None,
        validity_seconds: 36_000,
        is_deleted: false,
    });
    drop(state);
    let steps = life::plan(&prospect, &inner.options);
    life::start(inner, index, steps, &Default::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_count_only_as_the_whole_message() {
        let table = [
            ("STOP", Some(Keyword::Stop)),
            (" stop ", Some(Keyword::Stop)),
            ("OptOut", Some(Keyword::Stop)),
            ("STOP PLEASE", None),
            ("opt out", None),
            ("yes", Some(Keyword::Start)),
            ("Info", Some(Keyword::Help)),
            ("", None),
        ];
        for (body, expected) in table {
            assert_eq!(Keyword::of(body), expected, "{body:?}");
        }
    }

    #[test]
    fn answers_are_read_by_their_content_type() {
        let empty = "<?xml version=\"1.0\"?><Response/>";
        let table = [
            (Some(200), "text/xml; charset=utf-8", empty, None, None),
            (Some(200), "text/xml", "<Response><Message>Hi</Message></Response>", Some("Hi"), None),
            (Some(200), "text/plain", "Hello", Some("Hello"), None),
            (Some(200), "application/json", "{}", None, Some(12300)),
            (Some(200), "text/xml", "no xml", None, Some(12100)),
            (Some(204), "", "", None, None),
            (Some(500), "text/xml", empty, None, Some(11200)),
            (None, "", "", None, Some(11205)),
        ];
        for (status, content_type, body, reply, warning) in table {
            let answer =
                Answer { status, content_type: content_type.to_owned(), body: body.as_bytes().to_vec() };
            let (texts, found) = replies(&answer);
            assert_eq!(texts.first().map(String::as_str), reply, "{body}");
            assert_eq!(found, warning, "{body}");
        }
    }
}
