//! Reads both sides when all is over: the stand-in's record over its control API, the data file through
//! the store.

use std::collections::HashMap;

use anyhow::Result;
use serde_json::Value;

use super::children::Place;
use super::client::Control;
use super::record::{Callback, Message, Ours, Request, Script, Taken, Twilio};
use crate::app;
use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::store::reports::{heard, messages};
use crate::store::{Connection, StoreError, campaigns, ledger, users};

/// Rows of one read.
const PAGE: usize = 500;
/// Changes of consent of one person that are looked at; nobody has so many.
const CHANGES: usize = 200;

/// What Twilio saw.
pub(super) async fn twilio(control: &Control) -> Result<Twilio> {
    let messages = control.messages().await?;
    Ok(Twilio {
        requests: control.requests().await?.iter().map(request).collect(),
        messages: messages.iter().map(|message| (text(message, "sid"), taken(message))).collect(),
        callbacks: control.callbacks().await?.iter().map(callback).collect(),
        struck: control.struck().await?,
    })
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn millis(value: &Value, name: &str) -> Millis {
    value[name].as_i64().unwrap_or_default()
}

fn bare(address: &str) -> String {
    address.strip_prefix("whatsapp:").unwrap_or(address).to_owned()
}

/// The message of ours that a callback's address names; 0 for none.
fn message_id(callback: &Value) -> i64 {
    let url = callback.as_str().unwrap_or_default();
    let query = url.split_once('?').map_or("", |(_, rest)| rest).split('#').next().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "message").and_then(|(_, id)| id.parse().ok()).unwrap_or_default()
}

fn request(record: &Value) -> Request {
    Request {
        at: millis(record, "at_ms"),
        phone: bare(&text(record, "to")),
        message_id: message_id(&record["status_callback"]),
        sid: record["sid"].as_str().map(str::to_owned),
    }
}

fn taken(record: &Value) -> Taken {
    Taken {
        phone: bare(&text(record, "to")),
        message_id: message_id(&record["status_callback"]),
        at: millis(record, "created_ms"),
        status: text(record, "status"),
    }
}

fn callback(record: &Value) -> Callback {
    let param = |name: &str| {
        let pairs = record["params"].as_array().into_iter().flatten();
        let found = pairs.filter(|pair| pair[0] == name).filter_map(|pair| pair[1].as_str()).next();
        found.unwrap_or_default().to_owned()
    };
    let is_inbound = record["kind"] == "inbound";
    Callback {
        is_inbound,
        sid: param("MessageSid"),
        status: if is_inbound { String::new() } else { param("MessageStatus") },
        code: param("ErrorCode").parse().unwrap_or_default(),
        answer: record["status"].as_u64().and_then(|status| u16::try_from(status).ok()),
        ended_at: millis(record, "ended_ms"),
    }
}

/// Notes when each word was answered with a 2xx.
pub(super) fn answers(script: &mut Script, twilio: &Twilio) {
    let mut answered: HashMap<&str, Millis> = HashMap::new();
    for callback in twilio.callbacks.iter().filter(|callback| callback.is_inbound && callback.is_answered()) {
        // The first answer counts: the webhook may have come twice.
        answered.entry(&callback.sid).or_insert(callback.ended_at);
    }
    for word in &mut script.words {
        word.answered_at = answered.get(word.sid.as_str()).copied();
    }
}

/// What the data file says. Nobody writes to it any more.
pub(super) async fn ours(place: &Place, script: &Script) -> Result<Ours> {
    let config = Config::load(Some(&place.config()), [])?.config;
    let store = app::open_store(&config, Clock::system())?;
    let mut ours = store.read_here(|conn| {
        Ok::<_, StoreError>(Ours {
            messages: all_messages(conn)?,
            receipts: all_receipts(conn)?.into_iter().collect(),
            inbound: all_inbound(conn)?,
            consents: consents(conn, script)?,
            campaigns: states(conn, script)?,
            problems: Vec::new(),
        })
    })?;
    if let Err(error) = place.run("ese verify", &["verify"]).await {
        ours.problems = format!("{error:#}").lines().map(str::to_owned).collect();
    }
    Ok(ours)
}

fn all_messages(conn: &Connection) -> Result<HashMap<i64, Message>, StoreError> {
    let mut found = HashMap::new();
    let mut before = i64::MAX;
    loop {
        let page = messages::list(conn, &messages::MessageFilter::default(), before, PAGE)?.rows;
        let Some(last) = page.last() else { return Ok(found) };
        before = last.id;
        for view in page {
            let attempts = messages::attempts(conn, view.id)?;
            let message = Message {
                campaign_id: view.campaign_id,
                phone: view.phone.unwrap_or_default(),
                kind: view.kind,
                status: view.status,
                reason: view.reason,
                attempts: attempts.iter().map(|attempt| attempt.started_at).collect(),
            };
            found.insert(view.id, message);
        }
    }
}

fn all_receipts(conn: &Connection) -> Result<Vec<(String, String, i64)>, StoreError> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let page = heard::receipts(conn, after, PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.id;
        found.extend(page.into_iter().map(|receipt| (receipt.sid, receipt.status, receipt.error_code)));
    }
}

fn all_inbound(conn: &Connection) -> Result<HashMap<String, String>, StoreError> {
    let mut found = HashMap::new();
    let mut after = 0;
    loop {
        let page = heard::messages(conn, after, PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.id;
        found.extend(page.into_iter().map(|message| (message.message_sid, message.source)));
    }
}

/// Changes of consent of everybody, oldest first.
fn consents(
    conn: &Connection,
    script: &Script,
) -> Result<HashMap<String, Vec<(String, Millis)>>, StoreError> {
    let mut found = HashMap::new();
    for person in &script.people {
        let Some(user) = users::find(conn, &users::UserKey::Phone(person.phone.clone()))? else { continue };
        let rows = ledger::list(conn, user.id, i64::MAX, CHANGES)?;
        found.insert(person.phone.clone(), rows.into_iter().rev().map(|row| (row.state, row.at)).collect());
    }
    Ok(found)
}

fn states(conn: &Connection, script: &Script) -> Result<HashMap<i64, String>, StoreError> {
    let mut found = HashMap::new();
    for meant in &script.campaigns {
        let campaign = campaigns::find(conn, meant.id)?;
        let state = campaign.map_or("gone", |campaign| campaign.status.as_str());
        found.insert(meant.id, state.to_owned());
    }
    Ok(found)
}
