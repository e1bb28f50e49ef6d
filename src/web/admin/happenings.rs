//! What happened, as sentences. A sentence is a list of bits, so that a template decides how a person, a campaign or
//! a time looks, and escapes what strangers wrote.

use minijinja::{Value, context};

use super::words;
use crate::domain::event::EventType;
use crate::store::reports::happening::{Happening, Wanted};
use crate::twilio::error::explain;

/// What stands before a sentence, and its pattern. In a pattern `{who}` is the person, `{campaign}` the campaign,
/// `{until}` a time, `{reason}` a reason in words, and another word what the event tells under that name.
type Telling = (&'static str, &'static str, &'static str);

/// A sentence with its icon, its tone and the event that it tells of.
pub(super) fn line(happening: &Happening) -> Value {
    let (icon, tone, pattern) = telling(&happening.kind, &happening.data);
    context! {
        id => happening.id,
        kind => happening.kind.clone(),
        at => happening.at,
        icon,
        tone,
        message_id => happening.message_id,
        bits => bits(pattern, happening),
    }
}

/// Sentences of several.
pub(super) fn lines(rows: &[Happening]) -> Vec<Value> {
    rows.iter().map(line).collect()
}

fn telling(kind: &str, data: &serde_json::Value) -> Telling {
    let Some(kind) = EventType::parse(kind) else {
        return ("circle-dashed", "", "Something happened that this release has no words for");
    };
    of_messages(kind)
        .or_else(|| of_people(kind, data))
        .or_else(|| of_campaigns(kind))
        .unwrap_or_else(|| of_system(kind, data))
}

fn of_messages(kind: EventType) -> Option<Telling> {
    use EventType as E;
    Some(match kind {
        E::MessageDeferred => ("moon-stars", "", "{who} waits until {until}. {reason}"),
        E::MessageSkipped => ("x", "", "Skipped {who}. {reason}"),
        E::MessageCancelled => ("x", "", "Taken back before it went to {who}. {reason}"),
        E::MessageExpired => ("clock-pause", "", "Too late for {who}. {reason}"),
        E::MessageWithdrawn => ("arrow-back-up", "", "Put back before its request to {who} began"),
        E::MessageRetried => ("refresh", "", "Queued again for {who}. {reason}"),
        E::MessageUncertain => ("help-circle", "warn", "Twilio’s answer about {who} was lost"),
        E::MessageAccepted => ("check", "info", "Twilio took the message to {who}"),
        E::MessageSent => ("check", "info", "Sent to {who}"),
        E::MessageDelivered => ("checks", "ok", "Delivered to {who}"),
        E::MessageRead => ("eye", "ok", "Read by {who}"),
        E::MessageFailed => ("circle-x", "bad", "Failed for {who}. {error_code} {why}"),
        E::MessageUndelivered => ("message-off", "bad", "Not delivered to {who}. {error_code} {why}"),
        E::ReceiptUnknown => {
            ("help-circle", "warn", "Twilio told “{status}” of the message to {who}, a word unknown here")
        }
        _ => return None,
    })
}

fn of_people(kind: EventType, data: &serde_json::Value) -> Option<Telling> {
    use EventType as E;
    let word = |key: &str| data.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    Some(match kind {
        E::UserCreated => ("user-plus", "", "{who} was added by {actor}"),
        E::UserUpdated => ("pencil", "", "{who}: {changed} changed by {actor}"),
        E::UserErased => ("trash", "", "A person was erased"),
        E::ConsentChanged => match word("state") {
            "stop" => ("ban", "bad", "STOP from {who}"),
            "opt_in" => ("check", "ok", "{who} opted in"),
            "opt_out" => ("message-off", "warn", "{who} opted out"),
            _ => ("circle-dashed", "", "What {who} agreed to is unknown now"),
        },
        E::HoldChanged if word("hold").is_empty() => ("user-check", "", "It was decided what {who} meant"),
        E::HoldChanged => ("user-question", "warn", "{who} waits for a decision: it may be an opt-out"),
        E::TopicChanged if data.get("subscribed") == Some(&serde_json::Value::Bool(true)) => {
            ("tag", "", "{who} joined {topic}")
        }
        E::TopicChanged => ("tag", "", "{who} left {topic}"),
        E::SuppressionChanged => ("shield", "", "The list of those never sent to changed"),
        E::InboundReceived => match word("kind") {
            "stop" => ("ban", "bad", "{who} wrote STOP"),
            "start" => ("message-circle", "ok", "{who} wrote START"),
            "help" => ("message-circle", "info", "{who} asked for help"),
            "review" => ("user-question", "warn", "{who} wrote what may be an opt-out"),
            "unmatched" => ("message-circle", "", "A message from an address that belongs to nobody"),
            _ => ("message-circle", "info", "Reply from {who}"),
        },
        E::ConversationChanged => match word("changed") {
            "replied" => ("send", "info", "{actor} answered {who}"),
            "assigned" => ("user-check", "", "The conversation with {who} changed hands, by {actor}"),
            "closed" => ("archive", "", "{actor} closed the conversation with {who}"),
            _ => ("message-circle", "", "{actor} opened the conversation with {who} again"),
        },
        _ => return None,
    })
}

fn of_campaigns(kind: EventType) -> Option<Telling> {
    use EventType as E;
    Some(match kind {
        E::CampaignLaunched => ("player-play", "info", "{campaign} began"),
        E::CampaignScheduled => ("calendar-time", "", "{campaign} is scheduled"),
        E::CampaignPaused => ("player-pause", "warn", "{campaign} stands still. {reason}"),
        E::CampaignResumed => ("player-play", "info", "{campaign} goes on, by {actor}"),
        E::CampaignCancelled => ("x", "", "{campaign} was cancelled. {reason}"),
        E::CampaignFinished => ("circle-check", "ok", "{campaign} is finished"),
        E::CampaignRetried => ("refresh", "", "{campaign}: failed messages were queued again"),
        E::CampaignMissed => ("clock-pause", "warn", "{campaign} missed its time"),
        E::CampaignTested => ("flask", "", "{campaign} was tested with {people} numbers by {actor}"),
        E::CampaignRateChanged => {
            ("adjustments", "", "{campaign} may send {rate_limit_per_second} a second now")
        }
        E::CampaignSpendCapChanged => ("coin", "", "{campaign} may spend {spend_cap} now"),
        E::TriggerReceived => ("bolt", "", "Event {type} for {who} started {messages} messages"),
        E::TriggerCancelled => ("bolt", "", "An event for {who} was taken back"),
        E::TriggerRefused => {
            ("bolt", "warn", "{campaign} did not start for an event: its segment is too large")
        }
        _ => return None,
    })
}

fn of_system(kind: EventType, data: &serde_json::Value) -> Telling {
    use EventType as E;
    match kind {
        E::ImportFinished if data.get("error").is_some_and(|error| !error.is_null()) => {
            ("circle-x", "bad", "Import of {file_name} ended early. {error}")
        }
        E::ImportFinished => (
            "file-import",
            "ok",
            "Import of {file_name}: {created} new, {updated} changed, {rejected} rejected",
        ),
        E::ImportUndone => (
            "arrow-back-up",
            "",
            "An import was undone by {actor}: {restored} people have their attributes back",
        ),
        E::ContentStatusChanged => ("template", "info", "WhatsApp template {sid} is {status} now. {reason}"),
        E::SenderPaused => ("player-pause", "warn", "A sender stands still. {reason}"),
        E::SenderResumed => ("player-play", "info", "A sender goes on, by {actor}"),
        E::AccountPaused => ("player-pause", "bad", "All sending stands still. {reason}"),
        E::AccountResumed => ("player-play", "info", "Sending on the account goes on, by {actor}"),
        E::AdminLogin => ("login", "", "{actor} logged in"),
        E::AdminLoginFailed => ("login", "warn", "Somebody did not get in"),
        E::AdminLogout => ("logout", "", "{actor} logged out"),
        E::WebhookTested => ("webhook", "", "A webhook endpoint was tested"),
        E::AlertCampaignFinished => ("bell", "", "Told: {campaign} is finished"),
        E::AlertCampaignPaused => ("bell", "warn", "Told: {campaign} stands still"),
        E::AlertSenderPaused => ("bell", "warn", "Told: a sender stands still"),
        E::AlertAccountPaused => ("bell", "bad", "Told: all sending stands still"),
        E::AlertWebhookFailing => ("bell", "warn", "A webhook endpoint fails. {reason}"),
        E::AlertWebhookDisabled => ("bell", "bad", "A webhook endpoint was switched off. {reason}"),
        E::AlertDiskLow => ("bell", "bad", "Little room on the disk: {free_mb} MB"),
        E::AlertBackupOld => ("bell", "warn", "The last backup is {age_hours} hours old"),
        _ if data.get("setting").is_some() => ("settings", "", "Setting {setting} was changed by {actor}"),
        _ if data.get("safe_hold").is_some() => ("shield", "warn", "Safe hold was switched by {actor}"),
        _ if data.get("api_key_id").is_some() => ("key", "", "API keys were changed by {actor}"),
        _ if data.get("operator").is_some() => ("user", "", "Operator {operator}: {change}"),
        _ if data.get("webhook_endpoint_id").is_some() => {
            ("webhook", "", "Webhook endpoints were changed by {actor}")
        }
        _ => ("settings", "", "Something was set by {actor}"),
    }
}

/// The pattern with its holes filled. Text of strangers is a bit of its own and holds no holes.
fn bits(pattern: &str, happening: &Happening) -> Vec<Value> {
    let mut bits = Vec::new();
    let mut rest = pattern;
    while let Some((before, hole, after)) = rest
        .split_once('{')
        .and_then(|(before, tail)| tail.split_once('}').map(|(hole, after)| (before, hole, after)))
    {
        if !before.is_empty() {
            bits.push(context! { text => before });
        }
        bits.extend(filled(hole, happening));
        rest = after;
    }
    if !rest.is_empty() {
        bits.push(context! { text => rest });
    }
    bits
}

fn filled(hole: &str, happening: &Happening) -> Option<Value> {
    let told = happening.data.get(hole);
    match hole {
        "who" => Some(context! {
            who => true, id => happening.user_id, name => happening.name.clone(), phone => happening.phone.clone(),
        }),
        "campaign" => {
            let told = told.or_else(|| happening.data.get("name")).and_then(|name| name.as_str());
            let name = happening.campaign.clone().or(told.map(str::to_owned));
            Some(
                context! { campaign => happening.campaign_id, name => name.unwrap_or_else(|| "A campaign".to_owned()) },
            )
        }
        "until" => told.and_then(|at| at.as_str()).map(|at| context! { until => at }),
        "reason" => {
            let code = told.and_then(|reason| reason.as_str())?;
            Some(context! { text => words::reason(code).map_or_else(|| plain(code), str::to_owned) })
        }
        "actor" => {
            Some(context! { text => actor(told.and_then(|actor| actor.as_str()).unwrap_or("the system")) })
        }
        "error_code" => told
            .and_then(serde_json::Value::as_i64)
            .filter(|code| *code != 0)
            .map(|code| context! { text => code }),
        "why" => happening.data.get("error_code").and_then(serde_json::Value::as_i64).map(|code| {
            context! { text => explain(code).text }
        }),
        _ => told
            .map(|told| context! { text => told.as_str().map_or_else(|| told.to_string(), str::to_owned) }),
    }
}

/// A code without a sentence of its own, without its underscores.
fn plain(code: &str) -> String {
    match code.contains(' ') {
        true => code.to_owned(),
        false => {
            let words = code.replace('_', " ");
            let mut letters = words.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_uppercase().chain(letters).collect::<String>() + "."
            })
        }
    }
}

/// `operator:3` and its like in words.
pub(super) fn actor(actor: &str) -> String {
    match actor.split_once(':') {
        Some(("operator", id)) => format!("operator {id}"),
        Some(("key", id)) => format!("API key {id}"),
        Some(("import", id)) => format!("import {id}"),
        Some(("command", "" | "unknown")) => "the command line".to_owned(),
        Some(("command", name)) => format!("{name}, on the command line"),
        _ => match actor {
            "user" => "themselves".to_owned(),
            "command" => "the command line".to_owned(),
            "calendar" => "the calendar".to_owned(),
            "restart" => "the restart".to_owned(),
            "twilio" => "Twilio".to_owned(),
            other => other.to_owned(),
        },
    }
}

/// Groups of types for filters: word of the address, words for people, beginnings of the types.
pub(super) const GROUPS: [(&str, &str, &[&str]); 8] = [
    ("messages", "Messages", &["message.", "receipt."]),
    (
        "failures",
        "Failures",
        &["message.failed", "message.undelivered", "message.expired", "message.uncertain"],
    ),
    ("lost", "Lost answers", &["message.uncertain"]),
    ("replies", "Replies", &["inbound.", "conversation."]),
    ("consent", "Consent", &["consent.", "hold.", "topic.", "suppression."]),
    ("people", "People and imports", &["user.", "people.", "import."]),
    ("campaigns", "Campaigns", &["campaign.", "trigger."]),
    ("system", "System", &["sender.", "account.", "admin.", "webhook.", "alert.", "content."]),
];

/// What a short list shows: everything but alerts that say again what an event before them says.
pub(super) fn news() -> Wanted {
    use EventType as E;
    let again =
        [E::AlertCampaignFinished, E::AlertCampaignPaused, E::AlertSenderPaused, E::AlertAccountPaused];
    let types = EventType::ALL.iter().filter(|kind| !again.contains(kind)).copied().collect();
    Wanted { types, ..Wanted::default() }
}

/// The types of a group.
pub(super) fn types_of(group: &str) -> Vec<EventType> {
    let beginnings = GROUPS.iter().find(|(word, ..)| *word == group).map_or(&[] as &[&str], |(.., all)| all);
    let fits = |kind: &&EventType| beginnings.iter().any(|begin| kind.as_str().starts_with(begin));
    EventType::ALL.iter().filter(fits).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn happening(kind: EventType, data: serde_json::Value) -> Happening {
        Happening {
            id: 1,
            kind: kind.as_str().to_owned(),
            at: 0,
            user_id: Some(7),
            phone: Some("+14155550101".to_owned()),
            name: Some("Ana".to_owned()),
            campaign_id: Some(3),
            campaign: Some("Spring".to_owned()),
            message_id: None,
            data,
        }
    }

    /// The sentence as plain text.
    fn text(kind: EventType, data: serde_json::Value) -> String {
        let happening = happening(kind, data.clone());
        let bits = bits(telling(kind.as_str(), &data).2, &happening);
        let word = |bit: &Value, name: &str| bit.get_attr(name).ok().filter(|value| !value.is_undefined());
        let shown = bits.iter().map(|bit| {
            word(bit, "text")
                .or_else(|| word(bit, "name"))
                .or_else(|| word(bit, "until"))
                .unwrap_or_default()
                .to_string()
        });
        shown.collect()
    }

    #[test]
    fn everything_that_happens_has_a_sentence_an_icon_and_a_group() {
        for kind in EventType::ALL {
            let (icon, _, pattern) = telling(kind.as_str(), &json!({}));
            assert!(!pattern.contains("no words for"), "{}", kind.as_str());
            let file = format!("{}/templates/assets/icons/{icon}.svg", env!("CARGO_MANIFEST_DIR"));
            assert!(std::path::Path::new(&file).exists(), "{icon}");
            assert!(GROUPS.iter().any(|(group, ..)| types_of(group).contains(kind)), "{}", kind.as_str());
        }
    }

    #[test]
    fn sentences_read_as_somebody_would_say_them() {
        use EventType as E;
        for (kind, data, expected) in [
            (E::MessageDelivered, json!({}), "Delivered to Ana"),
            (E::ConsentChanged, json!({"state": "stop"}), "STOP from Ana"),
            (E::CampaignPaused, json!({"reason": "Twilio said no."}), "Spring stands still. Twilio said no."),
            (
                E::MessageDeferred,
                json!({"reason": "quiet_hours", "until": "2026-11-23T19:00:00Z"}),
                "Ana waits until 2026-11-23T19:00:00Z. It is an hour at which nobody there is written to.",
            ),
            (E::MessageRetried, json!({"reason": "provider_busy"}), "Queued again for Ana. Provider busy."),
            (
                E::AdminChanged,
                json!({"setting": "delivery.max_attempts", "actor": "operator:3"}),
                "Setting delivery.max_attempts was changed by operator 3",
            ),
            (E::TopicChanged, json!({"topic": "{who}", "subscribed": true}), "Ana joined {who}"),
        ] {
            assert_eq!(text(kind, data), expected);
        }
        assert!(
            text(E::MessageUndelivered, json!({"error_code": 30003}))
                .starts_with("Not delivered to Ana. 30003 ")
        );
    }
}
