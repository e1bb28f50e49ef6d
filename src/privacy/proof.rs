//! A proof for a complaint: what was agreed, when and in which words, what was sent at which local time, and
//! how long it took from STOP to block. Everything in it is read from rows; what is not kept any more is said.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::clock::Millis;
use crate::domain::phone::Phone;
use crate::domain::timezone::{candidates, zone_by_name};
use crate::store::reports::messages::{self, AttemptView, MessageFilter, MessageView, ReceiptView};
use crate::store::reports::proof::{self, ConsentRow, HeardRow};
use crate::store::suppressions::{self, Suppression};
use crate::store::users::{self, User, UserKey};
use crate::store::{Connection, StoreError, StoreKey, ledger};

/// Messages in either direction that one proof holds, the newest ones. The export of a person holds them all.
pub const MAX_MESSAGES: usize = 2_000;

/// Everything that shows what a person agreed to and got, as one JSON document, or `None` when nothing at all is
/// known. An erased person is found by id; of their number only the place on the list of suppressed ones is left.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn proof(
    conn: &Connection,
    key: &StoreKey,
    whom: &UserKey,
    now: Millis,
) -> Result<Option<Value>, StoreError> {
    let user = users::find(conn, whom)?;
    let listed = match (whom, &user) {
        (UserKey::Phone(phone), _) => suppressions::find(conn, key, phone)?,
        (UserKey::Id(_), Some(user)) => match user.phone.as_deref().or(user.channel_address.as_deref()) {
            Some(address) => suppressions::find(conn, key, address)?,
            None => None,
        },
        (UserKey::Id(_), None) => None,
    };
    if user.is_none() && listed.is_none() {
        return Ok(None);
    }
    let asked = match whom {
        UserKey::Phone(phone) => json!({"phone": phone}),
        UserKey::Id(id) => json!({"user_id": id}),
    };
    let number = match whom {
        UserKey::Phone(phone) => Some(phone.as_str()),
        UserKey::Id(_) => user.as_ref().and_then(|user| user.phone.as_deref()),
    };
    let place = Place::of(user.as_ref(), number);
    let mut document = json!({
        "made_at": place.time(now),
        "made_by": format!("ese {}", env!("CARGO_PKG_VERSION")),
        "asked_for": asked,
        "time_zone": place.shown(),
        "suppression": listed.as_ref().map(|row| suppression(&place, row)),
        "person": user.as_ref().map(|user| person(&place, user)),
    });
    if let (Some(user), Some(document)) = (&user, document.as_object_mut()) {
        for (name, value) in history(conn, key, user, &place)? {
            document.insert(name.to_owned(), value);
        }
    }
    Ok(Some(document))
}

type Parts = Vec<(&'static str, Value)>;

fn history(conn: &Connection, key: &StoreKey, user: &User, place: &Place) -> Result<Parts, StoreError> {
    let changes = proof::consent(conn, user.id)?;
    let heard = proof::heard(conn, user.id, MAX_MESSAGES + 1)?;
    let filter = MessageFilter { user_id: Some(user.id), ..MessageFilter::default() };
    let sent = messages::list(conn, &filter, i64::MAX, MAX_MESSAGES + 1)?.rows;
    let chain = ledger::verify_person(conn, key, user.id)?;
    let mut notes = notes(user, &changes);
    for (what, n) in [("messages to the person", sent.len()), ("messages from the person", heard.len())] {
        if n > MAX_MESSAGES {
            notes.push(format!("Only the newest {MAX_MESSAGES} {what} are shown; the export has all."));
        }
    }
    let topics: Vec<Value> = proof::topics(conn, user.id)?
        .iter()
        .map(|row| {
            json!({"topic": row.name, "default": row.default_rule, "state": row.state,
                   "at": row.at.map(|at| place.time(at))})
        })
        .collect();
    let stops = stops(conn, user.id, place, &changes, &heard)?;
    let mut shown = Vec::with_capacity(sent.len().min(MAX_MESSAGES));
    for message in sent.iter().take(MAX_MESSAGES) {
        shown.push(message_to(conn, place, user, message)?);
    }
    let heard: Vec<Value> =
        heard.iter().take(MAX_MESSAGES).map(|row| message_from(place, user, row)).collect();
    Ok(vec![
        ("consent", consent_now(place, user, &changes)),
        ("changes", changes.iter().map(|row| change(place, row)).collect()),
        (
            "chain",
            json!({"rows": chain.rows, "links": chain.links, "holds": chain.problems.is_empty(),
                   "problems": chain.problems,
                   "covers": "the rows of this person and the links that hold them; ese verify walks the whole chain"}),
        ),
        ("topics", Value::Array(topics)),
        ("stops", Value::Array(stops)),
        ("messages", Value::Array(shown)),
        ("inbound", Value::Array(heard)),
        ("notes", json!(notes)),
    ])
}

fn person(place: &Place, user: &User) -> Value {
    json!({
        "user_id": user.id,
        "phone": user.phone,
        "channel_address": user.channel_address,
        "country": user.country,
        "reachable": user.is_reachable,
        "unreachable_reason": user.unreachable_reason,
        "hold": user.hold,
        "suppressed": user.is_suppressed,
        "known_since": place.time(user.created_at),
        "last_inbound_at": user.last_inbound_at.map(|at| place.time(at)),
        "erased_at": user.erased_at.map(|at| place.time(at)),
    })
}

fn suppression(place: &Place, row: &Suppression) -> Value {
    let since = place.time(row.created_at);
    json!({
        "since": since,
        "reason": row.reason,
        "source": row.source,
        "erased_at": row.erased_at.map(|at| place.time(at)),
        "user_id": row.user_id,
        "known_by": "a keyed hash of the number; the number itself is not on the list",
    })
}

fn notes(user: &User, changes: &[ConsentRow]) -> Vec<String> {
    let mut notes = Vec::new();
    if user.erased_at.is_some() {
        notes.push(
            "The person was erased: number, attributes, words and raw webhooks are gone for good.".to_owned(),
        );
    }
    if changes.iter().any(|row| row.had_evidence && row.evidence.is_none()) {
        notes.push(
            "Evidence that was erased is still covered by the chain, as a keyed hash of its words."
                .to_owned(),
        );
    }
    notes.push(
        "A signature is checked before a webhook is stored, and an unsigned one is refused: a row that came as a webhook had a signature that held. A row fetched from Twilio's list has none; it was read over the account's own connection to Twilio."
            .to_owned(),
    );
    notes
}

fn consent_now(place: &Place, user: &User, changes: &[ConsentRow]) -> Value {
    let since = changes.iter().rfind(|row| row.previous != row.state && row.state == user.consent.as_str());
    json!({"state": user.consent.as_str(), "since": since.map(|row| place.time(row.at)),
           "recorded": !changes.is_empty()})
}

fn change(place: &Place, row: &ConsentRow) -> Value {
    json!({
        "id": row.id,
        "previous": row.previous,
        "state": row.state,
        "source": row.source,
        "actor": row.actor,
        "at": place.time(row.at),
        "obtained_at": row.obtained_at.map(|at| place.time(at)),
        "evidence": row.evidence,
        "evidence_erased": row.had_evidence && row.evidence.is_none(),
    })
}

/// Every STOP of the person, each with what it brought about and in which time.
fn stops(
    conn: &Connection,
    user_id: i64,
    place: &Place,
    changes: &[ConsentRow],
    heard: &[HeardRow],
) -> Result<Vec<Value>, StoreError> {
    let mut shown = Vec::new();
    for stop in heard.iter().filter(|row| row.kind.as_deref() == Some("stop")) {
        let recorded = changes.iter().find(|row| {
            row.state == "stop" && row.actor == "user" && row.obtained_at == Some(stop.received_at)
        });
        let mut entry = json!({
            "message_sid": stop.message_sid,
            "words": stop.body,
            "source": stop.source,
            "received_at": place.time(stop.received_at),
        });
        let Some((row, entry_map)) = recorded.zip(entry.as_object_mut()) else {
            if let Some(entry) = entry.as_object_mut() {
                entry.insert(
                    "effect".to_owned(),
                    json!("none: the person was out already, or said START later"),
                );
            }
            shown.push(entry);
            continue;
        };
        let reopened = changes.iter().find(|next| next.id > row.id && next.state != "stop");
        let around = proof::around_stop(conn, user_id, row.at, reopened.map(|next| next.at))?;
        let blocked_at = row.at.max(around.last_cancelled_at.unwrap_or(row.at));
        let members = [
            ("recorded_at", place.time(row.at)),
            ("messages_cancelled", json!(around.cancelled)),
            ("last_cancelled_at", around.last_cancelled_at.map_or(Value::Null, |at| place.time(at))),
            ("claims_withdrawn", json!(around.withdrawn)),
            ("last_request_at", around.last_request_at.map_or(Value::Null, |at| place.time(at))),
            ("requests_after", json!(around.requests_after)),
            ("seconds_to_block", json!(seconds(blocked_at - stop.received_at))),
            ("again_from", reopened.map_or(Value::Null, |next| place.time(next.at))),
        ];
        entry_map.extend(members.map(|(name, value)| (name.to_owned(), value)));
        shown.push(entry);
    }
    Ok(shown)
}

fn seconds(millis: Millis) -> f64 {
    millis.max(0) as f64 / 1_000.0
}

fn message_to(
    conn: &Connection,
    place: &Place,
    user: &User,
    message: &MessageView,
) -> Result<Value, StoreError> {
    let attempts = messages::attempts(conn, message.id)?;
    let sender = attempts.last().map(|attempt| attempt.sender.clone());
    let receipts = messages::receipts(conn, message.id)?;
    Ok(json!({
        "id": message.id,
        "campaign_id": message.campaign_id,
        "campaign": message.campaign_name,
        "is_test": message.is_test(),
        "kind": message.kind,
        "channel": message.channel,
        "sender": sender,
        "status": message.status,
        "reason": message.reason,
        "error_code": message.error_code,
        "sid": message.sid,
        "body": message.body,
        "body_missing": missing(user, message.body.is_none() && !attempts.is_empty(), message.body_removed_at, place),
        "queued_at": place.time(message.created_at),
        "accepted_at": message.accepted_at.map(|at| place.time(at)),
        "sent_at": message.sent_at.map(|at| place.time(at)),
        "delivered_at": message.delivered_at.map(|at| place.time(at)),
        "read_at": message.read_at.map(|at| place.time(at)),
        "attempts": attempts.iter().map(|row| attempt(place, row)).collect::<Vec<_>>(),
        "receipts": receipts.iter().map(|row| receipt(place, user, row)).collect::<Vec<_>>(),
    }))
}

fn attempt(place: &Place, row: &AttemptView) -> Value {
    json!({
        "number": row.number,
        "sender": row.sender,
        "outcome": row.outcome,
        "started_at": place.time(row.started_at),
        "answered_at": row.answered_at.map(|at| place.time(at)),
        "sid": row.sid,
        "error_code": row.error_code,
    })
}

fn receipt(place: &Place, user: &User, row: &ReceiptView) -> Value {
    json!({
        "id": row.id,
        "sid": row.sid,
        "status": row.status,
        "error_code": row.error_code,
        "received_at": place.time(row.received_at),
        "signature": signature("webhook"),
        "params": row.params,
        "params_missing": missing(user, row.params.is_null(), row.params_removed_at, place),
    })
}

fn message_from(place: &Place, user: &User, row: &HeardRow) -> Value {
    json!({
        "id": row.id,
        "message_sid": row.message_sid,
        "kind": row.kind,
        "channel": row.channel,
        "to": row.to_address,
        "received_at": place.time(row.received_at),
        "body": row.body,
        "body_missing": missing(user, row.body.is_none(), row.body_removed_at, place),
        "reply": row.reply,
        "source": row.source,
        "signature": signature(&row.source),
        "params": row.params,
        "params_missing": missing(user, row.params.is_null(), row.params_removed_at, place),
    })
}

/// What is known of a row's signature.
fn signature(source: &str) -> &'static str {
    match source {
        "webhook" => "verified at receipt",
        _ => "none: fetched from Twilio's list",
    }
}

/// Why something is not there, if it is not.
fn missing(user: &User, is_missing: bool, removed_at: Option<Millis>, place: &Place) -> Value {
    match (is_missing, removed_at, user.erased_at) {
        (false, ..) => Value::Null,
        (true, Some(at), _) => json!({"because": "retention", "at": place.time(at)}),
        (true, None, Some(at)) => json!({"because": "erasure", "at": place.time(at)}),
        (true, None, None) => json!({"because": "never kept", "at": null}),
    }
}

/// Where the person is, for local times.
struct Place {
    zone: TimeZone,
    name: String,
    because: &'static str,
    others: Vec<String>,
}

impl Place {
    fn of(user: Option<&User>, number: Option<&str>) -> Place {
        let attribute = user.and_then(|user| user.attributes.get("timezone")).and_then(Value::as_str);
        if let Some((zone, name)) = attribute.and_then(|name| Some((zone_by_name(name)?, name))) {
            let name = zone.iana_name().unwrap_or(name).to_owned();
            return Place { zone, name, because: "the person's attribute timezone", others: Vec::new() };
        }
        let zones = number.and_then(Phone::from_e164).map_or(&[][..], |phone| candidates(&phone));
        match zones.split_first() {
            Some((first, rest)) => Place {
                zone: first.tz.clone(),
                name: first.name().to_owned(),
                because: "the number's prefix",
                others: rest.iter().map(|zone| zone.name().to_owned()).collect(),
            },
            None => Place {
                zone: TimeZone::UTC,
                name: "UTC".to_owned(),
                because: "nothing says where the person is",
                others: Vec::new(),
            },
        }
    }

    fn shown(&self) -> Value {
        json!({"name": self.name, "because": self.because, "others_possible": self.others})
    }

    /// An instant in UTC and at the person.
    fn time(&self, at: Millis) -> Value {
        let Ok(instant) = Timestamp::from_millisecond(at) else {
            return json!({"utc": at.to_string(), "local": null});
        };
        let local = instant.to_zoned(self.zone.clone());
        json!({"utc": instant.to_string(),
               "local": format!("{} {}", local.strftime("%Y-%m-%d %H:%M:%S %:z"), self.name)})
    }
}
