//! One thing that happened to a person, as a sentence. Words of strangers stand apart from ours, as `bubble`.

use minijinja::{Value, context};
use serde_json::Value as Json;

use super::super::{format, words};
use super::person::plain;
use crate::store::events::Event;
use crate::store::ledger::LedgerRow;
use crate::store::reports::inbound::InboundView;
use crate::store::reports::messages::MessageView;
use crate::store::reports::timeline::Entry;

/// An entry with its tone, icon, headline and sentence.
pub(super) fn told(entry: &Entry, actor: Option<&str>) -> Value {
    let value = match entry {
        Entry::Message(message, events) => told_message(message, events),
        Entry::Inbound(inbound) => told_inbound(inbound),
        Entry::Consent(row) => told_consent(row, actor),
        Entry::Event(event) => told_event(event, actor),
    };
    context! { at => entry.at(), ..value }
}

/// Who did it, as the end of a sentence: `by ann@example.com`.
fn by(actor: &str, name: Option<&str>) -> String {
    match (actor.split(':').next().unwrap_or_default(), name) {
        ("operator", Some(name)) => format!("by {name}"),
        ("key", Some(name)) => format!("by the API key “{name}”"),
        ("import", Some(name)) => format!("from {name}"),
        ("user", _) => "by the person".to_owned(),
        ("twilio", _) => "by Twilio".to_owned(),
        ("command", _) => "from the terminal".to_owned(),
        _ if actor.is_empty() => String::new(),
        _ => format!("by {actor}"),
    }
}

fn channel_word(channel: &str) -> &str {
    match channel {
        "whatsapp" => "WhatsApp",
        "sms" => "SMS",
        other => other,
    }
}

fn told_message(message: &MessageView, events: &[Event]) -> Value {
    let look = words::look_of("message", &message.status);
    let what = match (&message.campaign_name, message.is_test()) {
        (Some(name), true) => format!("Test of {name}"),
        (Some(name), false) => name.clone(),
        (None, _) if message.kind == "reply" => "Reply".to_owned(),
        (None, _) if message.kind == "confirmation" => "Confirmation of the STOP".to_owned(),
        (None, _) => "Single message".to_owned(),
    };
    let mut facts = vec![what, channel_word(&message.channel).to_owned()];
    if let Some(parts) = message.parts.filter(|_| message.channel == "sms") {
        facts.push(if parts == 1 { "1 part".to_owned() } else { format!("{parts} parts") });
    }
    if let Some(price) = message.price_micros {
        facts.push(format::money(price, "USD"));
    }
    let mut text = format!("{}.", facts.join(", "));
    if let Some(reason) = &message.reason {
        let said = words::reason(reason).map_or_else(|| format!("{reason}."), str::to_owned);
        text = format!("{text} {said}");
    }
    if let Some(code) = message.error_code {
        text = format!("{text} Twilio said {code}.");
    }
    let steps: Vec<Value> = events
        .iter()
        .rev()
        .map(|event| {
            let word = event.kind.strip_prefix("message.").unwrap_or(&event.kind);
            let reason = event.data.get("reason").and_then(Json::as_str);
            let until = event.data.get("until").and_then(Json::as_str);
            context! {
                at => event.at,
                word => words::word("message", word).to_owned(),
                reason => reason.map(|code| words::reason(code).unwrap_or(code).to_owned()),
                until,
            }
        })
        .collect();
    let body = message.body.clone();
    let is_gone = body.is_none() && message.body_removed_at.is_some();
    context! {
        tone => look.0, icon => look.1, head => look.2, text, steps,
        bubble => body, is_out => true, is_gone,
        campaign_id => message.campaign_id,
    }
}

fn told_inbound(inbound: &InboundView) -> Value {
    let (tone, icon, head) = match inbound.kind.as_deref() {
        Some("stop") => ("bad", "ban", "STOP"),
        Some("start") => ("ok", "circle-check", "START"),
        Some("help") => ("info", "help-circle", "Asked for help"),
        Some("subscribe") => ("ok", "tag", "Asked to join a topic"),
        Some("unsubscribe") => ("warn", "tag", "Asked to leave a topic"),
        Some("review") => ("warn", "user-question", "Reply put on review"),
        _ => ("info", "message-circle", "Wrote"),
    };
    let mut text = inbound.channel.as_deref().map(channel_word).unwrap_or_default().to_owned();
    if let Some(files) = inbound.media.as_array().map(Vec::len).filter(|n| *n > 0) {
        let files = if files == 1 { "1 attachment".to_owned() } else { format!("{files} attachments") };
        text = format!("{text}, {files}");
    }
    if inbound.state == "pending" {
        text = format!("{text}. Its effect failed and is tried again");
    }
    context! {
        tone, icon, head, text => format!("{text}."),
        bubble => inbound.body.clone(),
        reply => inbound.reply.clone(),
    }
}

fn told_consent(row: &LedgerRow, actor: Option<&str>) -> Value {
    let look = words::look_of("consent", &row.state);
    let head = if row.state == row.previous {
        format!("{}, said again", look.2)
    } else {
        format!("{}, was {}", look.2, words::word("consent", &row.previous).to_lowercase())
    };
    let source = match row.source.as_str() {
        "keyword" => "By text message".to_owned(),
        "api" => "Through the API".to_owned(),
        "operator" => "Recorded".to_owned(),
        "import" => "Imported".to_owned(),
        "twilio" => "Told".to_owned(),
        other => format!("Source: {other}, recorded"),
    };
    let text = match row.actor.as_str() {
        "user" => format!("{source}, by the person."),
        actor_code => format!("{source} {}.", by(actor_code, actor)),
    };
    context! {
        tone => look.0, icon => look.1, head, text,
        quote => row.evidence.clone(),
        said_at => row.obtained_at,
    }
}

fn told_event(event: &Event, actor: Option<&str>) -> Value {
    let text_of = |name: &str| event.data.get(name).and_then(Json::as_str).unwrap_or_default();
    let who = by(text_of("actor"), actor);
    let is = |name: &str| event.data.get(name).and_then(Json::as_bool).unwrap_or(false);
    let (tone, icon, head, text) = match event.kind.as_str() {
        "user.created" => ("", "user-plus", "Added".to_owned(), who),
        "user.updated" if text_of("changed") == "reachable" => match is("reachable") {
            true => ("ok", "phone", "Number cleared".to_owned(), format!("Tried again from now on, {who}")),
            false => ("bad", "phone", "Number unreachable".to_owned(), reachable(text_of("reason"))),
        },
        "user.updated" => ("", "pencil", "Changed".to_owned(), changes(&event.data, &who)),
        "hold.changed" if event.data.get("hold").is_some_and(|hold| !hold.is_null()) => (
            "warn",
            "user-question",
            "Put on review".to_owned(),
            "No marketing until somebody decides".to_owned(),
        ),
        "hold.changed" => ("ok", "user-check", "Review decided".to_owned(), who),
        "topic.changed" => {
            let verb = if is("subscribed") { "Joined" } else { "Left" };
            ("info", "tag", format!("{verb} “{}”", text_of("topic")), who)
        }
        "suppression.changed" if is("suppressed") => {
            ("bad", "ban", "Suppressed".to_owned(), format!("{} {who}", suppressed(text_of("reason"))))
        }
        "suppression.changed" => ("ok", "circle-check", "Off the suppression list".to_owned(), who),
        "trigger.received" => {
            ("", "bolt", format!("Event {}", text_of("trigger_type")), text_of("id").to_owned())
        }
        "trigger.cancelled" => ("", "bolt", "Event taken back".to_owned(), text_of("id").to_owned()),
        other => ("", "history", other.replace(['.', '_'], " "), who),
    };
    let text = text.trim();
    context! { tone, icon, head, text => if text.is_empty() { String::new() } else { capital(text) } }
}

/// What changed about the attributes, as far as the event tells.
fn changes(data: &Json, who: &str) -> String {
    let Some(Json::Object(values)) = data.get("attributes") else {
        return format!("Attributes, {who}");
    };
    let each: Vec<String> = values.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
    format!("{} {who}", each.join(", "))
}

fn reachable(reason: &str) -> String {
    match reason {
        "" => "Nothing is sent to it until somebody clears it".to_owned(),
        reason => format!("{reason}. Nothing is sent to it until somebody clears it"),
    }
}

pub(super) fn suppressed(reason: &str) -> &'static str {
    match reason {
        "complaint" => "After a complaint,",
        "opted_out_elsewhere" => "Opted out elsewhere,",
        "erased" => "Erased,",
        _ => "Not to be contacted,",
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
