//! `/admin/settings/audit`: what operators did, and every change of access and settings: who, what, when, from what to
//! what.

use std::collections::HashMap;

use actix_web::HttpRequest;
use actix_web::web::Data;
use jiff::civil::Date;
use minijinja::{Value, context};
use serde_json::Value as Json;

use super::Answer;
use super::happenings;
use super::page::Page;
use crate::clock::Millis;
use crate::store::StoreError;
use crate::store::audit::{self, Act, Wanted};
use crate::store::operators;
use crate::web::State;
use crate::web::error::Problem;
use crate::web::page::{Query, encode};

/// Rows of a page.
const ROWS: usize = 50;
/// The list in its cursors.
const NAME: &str = "audit";

/// What can be filtered by: a noun of events, and how it is called.
const NOUNS: [(&str, &str); 14] = [
    ("admin", "Access and settings"),
    ("campaign", "Campaigns"),
    ("user", "People"),
    ("consent", "Consent"),
    ("hold", "Reviews"),
    ("topic", "Topics"),
    ("suppression", "Suppressions"),
    ("import", "Imports"),
    ("inbound", "Inbox"),
    ("message", "Messages"),
    ("trigger", "Business events"),
    ("content", "Content templates"),
    ("sender", "Senders"),
    ("webhook", "Webhook trials"),
];

/// What the page is asked for.
struct Asked {
    who: Option<String>,
    what: Option<&'static str>,
    from: Option<String>,
    to: Option<String>,
    before: i64,
    wanted: Wanted,
}

/// The instant at which a day of the viewer's begins, `days` later.
fn begin_of(page: &Page, text: &str, days: i64) -> Option<Millis> {
    let day: Date = text.parse().ok()?;
    let day = day.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
    Some(day.to_zoned(page.zone.clone()).ok()?.timestamp().as_millisecond())
}

fn read(page: &Page, request: &HttpRequest) -> Result<Asked, Problem> {
    let mut query = Query::of(request)?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let who = filled(query.text("who"));
    let what = filled(query.text("what"));
    let (from, to) = (filled(query.text("from")), filled(query.text("to")));
    let known = what.as_deref().map(|what| NOUNS.iter().find(|(noun, _)| *noun == what).map(|row| row.0));
    if known == Some(None) {
        query.error("what", "is no kind of act");
    }
    let since = from.as_deref().map(|text| begin_of(page, text, 0));
    let until = to.as_deref().map(|text| begin_of(page, text, 1));
    for (name, read) in [("from", &since), ("to", &until)] {
        if *read == Some(None) {
            query.error(name, "must be a day such as 2026-11-23");
        }
    }
    let cursor = query.cursor(NAME).and_then(|place| place.first().and_then(Json::as_i64));
    query.finish()?;
    let what = known.flatten();
    let noun = what.map(str::to_owned);
    let wanted = Wanted { actor: who.clone(), noun, since: since.flatten(), until: until.flatten() };
    Ok(Asked { who, what, from, to, before: cursor.unwrap_or(i64::MAX), wanted })
}

pub(super) async fn list(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let asked = read(&page, &request)?;
    let (wanted, before) = (asked.wanted.clone(), asked.before);
    let read = state.store.read::<_, _, StoreError>(move |conn| {
        Ok((audit::page(conn, &wanted, before, ROWS + 1)?, operators::list(conn)?))
    });
    let (slice, all) = read.await?;
    let names: HashMap<String, String> = all.iter().map(|one| (one.actor(), one.email.clone())).collect();
    let shown = slice.rows.get(..ROWS).unwrap_or(&slice.rows);
    let more = shown.last().filter(|_| slice.rows.len() > ROWS).map(|act| act.event.id).or(slice.reached);
    let whos: Vec<Value> =
        all.iter().map(|one| context! { value => one.actor(), label => one.email.clone() }).collect();
    let whats: Vec<Value> =
        NOUNS.iter().map(|(value, label)| context! { value => *value, label => *label }).collect();
    let values = context! {
        title => "Audit log",
        section => "settings",
        area => "audit",
        rows => shown.iter().map(|act| row(act, &names)).collect::<Vec<_>>(),
        next => more.map(|id| next(&asked, id)),
        is_filtered => asked.who.is_some() || asked.what.is_some() || asked.from.is_some() || asked.to.is_some(),
        who => asked.who,
        what => asked.what,
        from => asked.from,
        to => asked.to,
        whos,
        whats,
    };
    page.show("settings/audit.html", values)
}

/// The address of the next page.
fn next(asked: &Asked, id: i64) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let given = [
        ("who", asked.who.as_deref()),
        ("what", asked.what),
        ("from", asked.from.as_deref()),
        ("to", asked.to.as_deref()),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.append_pair("cursor", &encode(NAME, &[Json::from(id)]));
    format!("/admin/settings/audit?{}", query.finish())
}

fn row(act: &Act, names: &HashMap<String, String>) -> Value {
    let who = match names.get(&act.actor) {
        Some(email) => email.clone(),
        None if act.actor.is_empty() => "somebody".to_owned(),
        None => happenings::actor(&act.actor),
    };
    let data = &act.event.data;
    let value = |name: &str| data.get(name).filter(|value| !value.is_null()).map(plain);
    context! {
        id => act.event.id,
        at => act.event.at,
        who,
        actor => act.actor.clone(),
        kind => act.event.kind.clone(),
        what => says(&act.event.kind, data),
        old => value("old"),
        new => value("new"),
        subject => subject(act),
        more => particulars(data),
    }
}

/// A value of an event as a person reads it.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// What an act was about, and where it is.
fn subject(act: &Act) -> Value {
    let data = &act.event.data;
    let id = |name: &str| data.get(name).and_then(Json::as_i64);
    let link = |label: String, href: String| context! { label, href };
    if let Some(id) = act.event.campaign_id {
        return link(format!("Campaign {id}"), format!("/admin/campaigns/{id}"));
    }
    if let Some(id) = act.event.user_id {
        return link(format!("Person {id}"), format!("/admin/users/{id}"));
    }
    if let Some(id) = id("webhook_endpoint_id").or_else(|| id("endpoint_id")) {
        return link(format!("Webhook endpoint {id}"), format!("/admin/settings/webhook-endpoints/{id}"));
    }
    if let Some(id) = id("operator_id") {
        // What somebody did about themselves stands under who.
        if act.actor == operators::actor(id) {
            return Value::from(());
        }
        let email = data.get("operator").and_then(Json::as_str);
        let label = email.map_or_else(|| format!("Operator {id}"), str::to_owned);
        return link(label, format!("/admin/settings/operators/{id}"));
    }
    if let Some(id) = id("import_id") {
        return link(format!("Import {id}"), format!("/admin/imports/{id}"));
    }
    if let Some(id) = id("api_key_id") {
        return link(format!("API key {id}"), "/admin/settings/api-keys".to_owned());
    }
    Value::from(())
}

/// What else an event holds, as `name: value`; not what other columns show.
fn particulars(data: &Json) -> Vec<Value> {
    const SHOWN: [&str; 13] = [
        "actor",
        "old",
        "new",
        "operator_id",
        "operator",
        "webhook_endpoint_id",
        "endpoint_id",
        "api_key_id",
        "import_id",
        "change",
        "setting",
        "changed",
        "added",
    ];
    let members = data.as_object().into_iter().flatten();
    members
        .filter(|(name, value)| !SHOWN.contains(&name.as_str()) && !value.is_null())
        .take(6)
        .map(|(name, value)| {
            let text: String = plain(value).chars().take(120).collect();
            context! { name => name.replace('_', " "), value => text }
        })
        .collect()
}

/// What was done, in a few words.
fn says(kind: &str, data: &Json) -> String {
    let text = |name: &str| data.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    if kind != "admin.changed" {
        return verb(kind).map_or_else(|| kind.to_owned(), str::to_owned);
    }
    if data.get("setting").is_some() {
        return format!("Changed the setting {}", text("setting"));
    }
    if data.get("api_key_id").is_some() {
        return match data.get("revoked").is_some() {
            true => "Revoked an API key".to_owned(),
            false => format!("Made the API key {}", text("added")),
        };
    }
    let change = text("change");
    if data.get("webhook_endpoint_id").is_some() {
        let known = CHANGES.iter().find(|(of, word, _)| *of == "endpoint" && *word == change);
        return known.map_or_else(|| format!("Changed a webhook endpoint: {change}"), |row| row.2.to_owned());
    }
    if data.get("operator_id").is_some() {
        let known = CHANGES.iter().find(|(of, word, _)| *of == "operator" && *word == change);
        return known.map_or_else(|| format!("Changed an operator: {change}"), |row| row.2.to_owned());
    }
    if data.get("safe_hold").is_some() {
        let is_on = data["safe_hold"] == true;
        return if is_on { "Put the file on safe hold" } else { "Released the file" }.to_owned();
    }
    "Changed something".to_owned()
}

/// Of what, the word in the event, and what it says.
const CHANGES: [(&str, &str, &str); 17] = [
    ("operator", "added", "Added an operator"),
    ("operator", "role", "Changed the role of an operator"),
    ("operator", "enabled", "Let an operator log in again"),
    ("operator", "disabled", "Disabled an operator"),
    ("operator", "password", "Set a password"),
    ("operator", "password_link", "Made a link to set a password"),
    ("operator", "signed_out", "Logged an operator out everywhere"),
    ("operator", "second_factor_enabled", "Set up a second factor"),
    ("operator", "second_factor_removed", "Removed a second factor"),
    ("operator", "recovery_codes_renewed", "Made new recovery codes"),
    ("endpoint", "added", "Added a webhook endpoint"),
    ("endpoint", "changed", "Changed a webhook endpoint"),
    ("endpoint", "enabled", "Enabled a webhook endpoint"),
    ("endpoint", "disabled", "Disabled a webhook endpoint"),
    ("endpoint", "removed", "Removed a webhook endpoint"),
    ("endpoint", "secret_rotated", "Made a new webhook secret"),
    ("endpoint", "event_resent", "Sent an event again"),
];

/// What an event of this type says that somebody did.
fn verb(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "admin.login" => "Logged in",
        "admin.login_failed" => "Did not get in",
        "admin.logout" => "Logged out",
        "user.created" => "Added a person",
        "user.updated" => "Changed a person",
        "user.erased" => "Erased a person",
        "consent.changed" => "Changed consent",
        "hold.changed" => "Decided a review",
        "topic.changed" => "Changed a topic of a person",
        "suppression.changed" => "Changed the suppression list",
        "inbound.received" => "Worked on an incoming message",
        "import.finished" => "Imported a file",
        "campaign.launched" => "Launched a campaign",
        "campaign.scheduled" => "Scheduled a campaign",
        "campaign.paused" => "Paused a campaign",
        "campaign.resumed" => "Resumed a campaign",
        "campaign.cancelled" => "Cancelled a campaign",
        "campaign.retried" => "Tried failed messages again",
        "campaign.tested" => "Sent a test",
        "campaign.rate_changed" => "Changed the rate of a campaign",
        "campaign.spend_cap_changed" => "Changed the spend cap of a campaign",
        "message.cancelled" => "Took a message back",
        "trigger.received" => "Sent in a business event",
        "trigger.cancelled" => "Took a business event back",
        "content.status_changed" => "Changed a content template",
        "sender.paused" => "Paused a sender",
        "sender.resumed" => "Resumed a sender",
        "account.paused" => "Paused sending",
        "account.resumed" => "Resumed sending",
        "webhook.tested" => "Tried a webhook endpoint out",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventType;
    use serde_json::json;

    #[test]
    fn every_act_reads_as_a_sentence() {
        for (kind, data, words) in [
            (
                "admin.changed",
                json!({"setting": "delivery.max_attempts", "old": 3, "new": 5}),
                "Changed the setting delivery.max_attempts",
            ),
            ("admin.changed", json!({"api_key_id": 1, "added": "shop"}), "Made the API key shop"),
            ("admin.changed", json!({"api_key_id": 1, "revoked": true}), "Revoked an API key"),
            ("admin.changed", json!({"operator_id": 1, "change": "role"}), "Changed the role of an operator"),
            (
                "admin.changed",
                json!({"webhook_endpoint_id": 1, "change": "removed"}),
                "Removed a webhook endpoint",
            ),
            ("admin.changed", json!({"safe_hold": false}), "Released the file"),
            ("campaign.paused", json!({}), "Paused a campaign"),
        ] {
            assert_eq!(says(kind, &data), words);
        }
    }

    #[test]
    fn every_kind_that_can_be_filtered_by_is_a_noun_of_events() {
        for (noun, _) in NOUNS {
            assert!(
                EventType::ALL.iter().any(|kind| kind.as_str().split('.').next() == Some(noun)),
                "{noun}"
            );
        }
        for kind in EventType::ALL.iter().map(|kind| kind.as_str()) {
            if ["admin", "campaign", "sender", "account"]
                .iter()
                .any(|noun| kind.starts_with(&format!("{noun}.")))
            {
                let known = verb(kind).is_some()
                    || ["admin.changed", "campaign.finished", "campaign.missed"].contains(&kind);
                assert!(known, "{kind} has no words");
            }
        }
    }
}
