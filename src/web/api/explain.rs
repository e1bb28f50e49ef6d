//! `GET /users/{phone}/explain`: every question of the gate about one person, with its answer in words.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::Answer;
use super::audience::house;
use super::users;
use crate::campaign::{CampaignError, Explanation, Question, Standing, explain};
use crate::domain::encoding;
use crate::domain::gate::{Reason, Verdict};
use crate::domain::message::Kind;
use crate::domain::phone::Channel;
use crate::web::State;
use crate::web::auth::{Read, Scoped};
use crate::web::error::Problem;
use crate::web::page::Query;
use crate::web::reply::{Reply, time, time_or_null};

/// What is told without a campaign: a plain message of each kind on each channel.
const PLAIN: [(Channel, Kind); 4] = [
    (Channel::Sms, Kind::Marketing),
    (Channel::Sms, Kind::Transactional),
    (Channel::Whatsapp, Kind::Marketing),
    (Channel::Whatsapp, Kind::Transactional),
];

/// `GET /users/{phone}/explain?campaign_id=`.
pub(super) async fn show(
    _: Scoped<Read>,
    state: Data<State>,
    person: Path<String>,
    request: HttpRequest,
) -> Answer {
    let mut query = Query::of(&request)?;
    let campaign_id = query.integer("campaign_id");
    query.finish()?;
    let (house, now) = (house(&state), state.store.clock().now());
    let body = state
        .store
        .read(move |conn| {
            let user = users::find(conn, &person)?;
            let ask = |question| explain(conn, &house, user.id, question, now);
            let who = json!({"id": user.id, "phone": user.phone, "consent": user.consent.as_str()});
            match campaign_id {
                Some(id) => {
                    let mut body = shape(&ask(Question::Campaign(id))?);
                    if let Some(members) = body.as_object_mut() {
                        members.insert("user".to_owned(), who);
                    }
                    Ok::<_, Problem>(body)
                }
                None => {
                    let shown = PLAIN.iter().map(|(channel, kind)| {
                        let mut shown = shape(&ask(Question::Plain(*channel, *kind))?);
                        if let Some(members) = shown.as_object_mut() {
                            // The words were ours, and say nothing about the person.
                            members.retain(|name, _| !OF_A_TEXT.contains(&name.as_str()));
                        }
                        Ok(shown)
                    });
                    let shown = shown.collect::<Result<Vec<Value>, CampaignError>>()?;
                    Ok(json!({"user": who, "messages": shown}))
                }
            }
        })
        .await?;
    Ok(Reply::ok(body))
}

/// Members that tell of a campaign or its text.
const OF_A_TEXT: [&str; 8] = [
    "campaign_id",
    "campaign_status",
    "in_audience",
    "audience",
    "expires_at",
    "missing_variables",
    "rendered",
    "message",
];

fn shape(told: &Explanation) -> Value {
    let (in_audience, audience) = standing(&told.standing);
    let steps = told.steps.iter().map(|(step, verdict)| {
        let mut shown = verdict_shape(verdict, "pass");
        if let Some(members) = shown.as_object_mut() {
            members.shift_insert(0, "step".to_owned(), json!(step.as_str()));
            members.shift_insert(1, "asks".to_owned(), json!(step.asks()));
        }
        shown
    });
    let clocks = told.clocks.zones.iter().map(|(zone, local)| json!({"zone": zone, "local_time": local}));
    json!({
        "campaign_id": told.campaign.map(|(id, _)| id),
        "campaign_status": told.campaign.map(|(_, status)| status.as_str()),
        "channel": told.channel.as_str(),
        "kind": told.kind.as_str(),
        "at": time(told.at),
        "expires_at": time_or_null(told.expires_at),
        "in_audience": in_audience,
        "audience": audience,
        "steps": steps.collect::<Value>(),
        "verdict": verdict(told, in_audience),
        "missing_variables": told.missing,
        "rendered": rendered(told),
        "clocks": {"by": told.clocks.by, "zones": clocks.collect::<Value>()},
        "sender": sender(told),
        "message": message(told),
    })
}

/// Whether they are in the audience, and a sentence about it.
fn standing(standing: &Standing) -> (bool, Value) {
    match standing {
        Standing::NoAudience => (true, Value::Null),
        Standing::In => (true, json!({"reason": null, "says": "The person is in the audience."})),
        Standing::NotInSegment => (
            false,
            json!({"reason": "not_in_segment", "says": "The campaign's segment does not have the person."}),
        ),
        Standing::Excluded(id, name) => (
            false,
            json!({
                "reason": "excluded",
                "segment_id": id,
                "says": format!("The exclude segment {name:?} takes the person out."),
            }),
        ),
        Standing::CameLater => (
            false,
            json!({"reason": "came_later", "says": "The person was added after the audience was frozen."}),
        ),
    }
}

fn verdict(told: &Explanation, in_audience: bool) -> Value {
    if in_audience {
        return verdict_shape(&told.verdict, "send");
    }
    json!({"verdict": "not_in_audience"})
}

fn verdict_shape(verdict: &Verdict, pass: &str) -> Value {
    let refused = |word: &str, reason: Reason| {
        json!({
            "verdict": word,
            "reason": reason.as_str(),
            "says": reason.says(),
            "what_to_do": reason.what_to_do(),
        })
    };
    match verdict {
        Verdict::Send { closes_at } => json!({"verdict": pass, "closes_at": time_or_null(*closes_at)}),
        Verdict::Skip(reason) => refused("skip", *reason),
        Verdict::Expire(reason) => refused("expire", *reason),
        Verdict::Defer { until, reason, .. } => {
            let mut shown = refused("defer", *reason);
            if let Some(members) = shown.as_object_mut() {
                members.insert("until".to_owned(), time(*until));
            }
            shown
        }
    }
}

fn rendered(told: &Explanation) -> Value {
    let Some(rendered) = &told.rendered else {
        return Value::Null;
    };
    let encoding = (told.channel == Channel::Sms).then(|| encoding::count(&rendered.body).encoding.as_str());
    json!({
        "to": rendered.to,
        "body": rendered.body,
        "parts": rendered.parts,
        "encoding": encoding,
        "media_urls": rendered.media_urls,
    })
}

fn sender(told: &Explanation) -> Value {
    let Some(sender) = &told.sender else {
        return Value::Null;
    };
    let (most, written, renews_at) = sender.daily.map_or((None, None, None), |(most, written, renews_at)| {
        let renews_at = (written >= most).then_some(renews_at);
        (Some(most), Some(written), renews_at)
    });
    json!({
        "address": sender.address,
        "recipients_per_day": most,
        "recipients_today": written,
        "renews_at": time_or_null(renews_at),
        "counts_against_it": sender.daily.is_some() && !sender.is_free,
    })
}

fn message(told: &Explanation) -> Value {
    let Some(place) = &told.message else {
        return Value::Null;
    };
    json!({
        "id": place.message_id,
        "status": place.status.as_str(),
        "reason": place.reason,
        "due_at": time(place.due_at),
    })
}
