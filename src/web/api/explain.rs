//! `GET /users/{phone}/explain`: every question of the gate about one person, with its answer in words.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::Answer;
use super::audience::house;
use super::templates::CHANNELS;
use super::users;
use crate::campaign::{Explanation, Question, Standing, explain};
use crate::clock::Millis;
use crate::domain::encoding;
use crate::domain::gate::{Reason, Verdict};
use crate::domain::message::Kind;
use crate::domain::phone::Channel;
use crate::web::State;
use crate::web::auth::{Read, Scoped};
use crate::web::error::Problem;
use crate::web::openapi::shapes::audience as shapes;
use crate::web::page::Query;
use crate::web::reply::{Reply, time, time_or_null};

const KINDS: [&str; 2] = ["marketing", "transactional"];

/// Explains what the gate says to a person.
///
/// About a campaign: at its start if that is to come, else now. Without `campaign_id`, about a plain message of the
/// given `channel` and `kind`, now.
#[utoipa::path(get, path = "/users/{person}/explain", operation_id = "explain_user",
    params(shapes::ExplainFilters), responses((status = 200, body = shapes::Explanation)))]
pub(super) async fn show(
    _: Scoped<Read>,
    state: Data<State>,
    person: Path<String>,
    request: HttpRequest,
) -> Answer {
    let mut query = Query::of(&request)?;
    let campaign_id = query.integer("campaign_id");
    let channel = query.choice("channel", |word| word.parse().ok(), &CHANNELS);
    let kind = query.choice("kind", |word| KINDS.contains(&word).then(|| Kind::parse(word))?, &KINDS);
    for (name, is_given) in [("channel", channel.is_some()), ("kind", kind.is_some())] {
        if is_given && campaign_id.is_some() {
            query.error(name, "the campaign says it");
        }
    }
    query.finish()?;
    let plain = Question::Plain(channel.unwrap_or(Channel::Sms), kind.unwrap_or(Kind::Marketing));
    let question = campaign_id.map_or(plain, Question::Campaign);
    let (house, now) = (house(&state), state.store.clock().now());
    let body = state
        .store
        .read(move |conn| {
            let user = users::find(conn, &person)?;
            let told = explain(conn, &house, user.id, question, now)?;
            let mut body = shape(&told);
            if let Some(members) = body.as_object_mut() {
                let who = json!({"id": user.id, "phone": user.phone, "consent": user.consent.as_str()});
                members.shift_insert(0, "user".to_owned(), who);
            }
            Ok::<_, Problem>(body)
        })
        .await?;
    Ok(Reply::ok(body))
}

/// An explanation as the contract shows it.
pub(in crate::web) fn shape(told: &Explanation) -> Value {
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
    let (reason, segment_id, says) = match standing {
        Standing::NoAudience => return (true, Value::Null),
        Standing::In => (None, None, "The person is in the audience.".to_owned()),
        Standing::NotInSegment => {
            (Some("not_in_segment"), None, "The campaign's segment does not have the person.".to_owned())
        }
        Standing::Excluded(id, name) => {
            (Some("excluded"), Some(*id), format!("The exclude segment {name:?} takes the person out."))
        }
        Standing::CameLater => {
            (Some("came_later"), None, "The person was added after the audience was frozen.".to_owned())
        }
    };
    (reason.is_none(), json!({"reason": reason, "segment_id": segment_id, "says": says}))
}

fn verdict(told: &Explanation, in_audience: bool) -> Value {
    if in_audience {
        return verdict_shape(&told.verdict, "send");
    }
    members_of("not_in_audience", None, None, None)
}

fn verdict_shape(verdict: &Verdict, pass: &str) -> Value {
    match verdict {
        Verdict::Send { closes_at } => members_of(pass, None, None, *closes_at),
        Verdict::Skip(reason) => members_of("skip", Some(*reason), None, None),
        Verdict::Expire(reason) => members_of("expire", Some(*reason), None, None),
        Verdict::Defer { until, reason, .. } => members_of("defer", Some(*reason), Some(*until), None),
    }
}

fn members_of(word: &str, reason: Option<Reason>, until: Option<Millis>, closes_at: Option<Millis>) -> Value {
    json!({
        "verdict": word,
        "reason": reason.map(Reason::as_str),
        "says": reason.map(Reason::says),
        "what_to_do": reason.map(Reason::what_to_do),
        "until": time_or_null(until),
        "closes_at": time_or_null(closes_at),
    })
}

fn rendered(told: &Explanation) -> Value {
    // The words of a plain message would be ours, and say nothing about the person.
    let Some(rendered) = told.rendered.as_ref().filter(|_| told.campaign.is_some()) else {
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
