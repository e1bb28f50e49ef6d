//! `GET /campaigns/{id}/audience`: what a launch would do, told before it.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Map, Value, json};

use super::Answer;
use super::campaigns::{cost_shape, units};
use crate::campaign::{Bucket, Example, House, Waterfall, Way, look_at_audience};
use crate::domain::gate::Reason;
use crate::web::State;
use crate::web::auth::{Read, Scoped};
use crate::web::openapi::shapes::audience as shapes;
use crate::web::page::Query;
use crate::web::reply::{Reply, time, time_or_null};

/// People shown of each exit if nothing is said, and at most.
const SAMPLE: i64 = 5;
const MOST_SAMPLE: i64 = 100;

/// What the configuration in force says about sending.
pub(in crate::web) fn house(state: &State) -> House {
    House {
        rules: state.rules.get(),
        limits: Arc::new(state.config.get().limits()),
        setup: (*state.setup.get()).clone(),
    }
}

/// Tells what a launch would do.
///
/// Everybody in the segment goes through the gate as at the sending, at the moment of the start: who is taken out
/// by an exclude segment, who leaves at which exit, who waits and who goes now, each with examples. Nothing is
/// sampled: a million people take some seconds, one look goes at a time, and who leaves ends it.
#[utoipa::path(get, path = "/campaigns/{id}/audience", operation_id = "get_campaign_audience",
    params(shapes::AudienceFilters), responses((status = 200, body = shapes::CampaignAudience),
        (status = 409, description = "It was launched: the report tells; or events start it."),
        (status = 429, description = "Too many looks wait already, or too many requests with this key.")))]
pub(super) async fn show(_: Scoped<Read>, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let sample = query.integer("sample").unwrap_or(SAMPLE);
    if sample > MOST_SAMPLE {
        query.error("sample", format!("at most {MOST_SAMPLE}"));
    }
    query.finish()?;
    let sample = usize::try_from(sample).unwrap_or(0);
    let _look = state.limits.look()?;
    let seen = look_at_audience(&state.store, &house(&state), *id, sample).await?;
    Ok(Reply::ok(shape(*id, &seen)))
}

fn shape(id: i64, seen: &Waterfall) -> Value {
    let excluded = seen.excluded.iter().map(|excluded| {
        json!({
            "segment_id": excluded.segment_id,
            "name": excluded.name,
            "people": excluded.bucket.people,
            "sample": sample(&excluded.bucket),
        })
    });
    let exits = seen.exits.iter().map(|(way, reason, bucket)| exit(*way, *reason, bucket));
    let parts: Map<String, Value> = seen
        .parts_by_encoding
        .iter()
        .map(|(encoding, parts)| (encoding.as_str().to_owned(), json!(parts)))
        .collect();
    let obstacles = seen.obstacles.iter().map(|(code, detail)| json!({"code": code, "detail": detail}));
    json!({
        "campaign_id": id,
        "at": time(seen.at),
        "expires_at": time_or_null(seen.expires_at),
        "people": seen.people,
        "excluded": excluded.collect::<Value>(),
        "audience": seen.audience(),
        "skipped": by_reason(seen, Way::Skipped),
        "expired": by_reason(seen, Way::Expired),
        "deferred": by_reason(seen, Way::Deferred),
        "now": {"people": seen.now.people, "sample": sample(&seen.now)},
        "would_send": seen.would_send(),
        "would_expire": seen.would_expire,
        "exits": exits.collect::<Value>(),
        "missing_variables": seen.missing,
        "parts": seen.parts,
        "parts_by_encoding": parts,
        "cost": cost_shape(seen.cost),
        "cost_known": units(seen.cost.known_micros),
        "unpriced": seen.cost.unknown,
        "currency": seen.currency.as_str(),
        "forecast": forecast(seen),
        "obstacles": obstacles.collect::<Value>(),
        "advice": advice(seen),
    })
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Skipped => "skipped",
        Way::Expired => "expired",
        Way::Deferred => "deferred",
    }
}

fn sample(bucket: &Bucket) -> Value {
    let show = |one: &Example| json!({"id": one.user_id, "phone": one.phone});
    bucket.sample.iter().map(show).collect()
}

fn exit(way: Way, reason: Reason, bucket: &Bucket) -> Value {
    json!({
        "exit": word(way),
        "reason": reason.as_str(),
        "people": bucket.people,
        "says": reason.says(),
        "what_to_do": reason.what_to_do(),
        "sample": sample(bucket),
    })
}

fn by_reason(seen: &Waterfall, way: Way) -> Value {
    let in_way = seen.exits.iter().filter(|(one, ..)| *one == way);
    Value::Object(
        in_way.map(|(_, reason, bucket)| (reason.as_str().to_owned(), json!(bucket.people))).collect(),
    )
}

fn forecast(seen: &Waterfall) -> Value {
    match seen.forecast {
        None => Value::Null,
        Some(forecast) => json!({
            "first": time_or_null(forecast.first),
            "last": time_or_null(forecast.last),
            "queue_ahead": seen.queue_ahead,
        }),
    }
}

/// A sentence where nobody would get it: which exit took the most, and the way out.
pub(in crate::web) fn advice(seen: &Waterfall) -> Value {
    if seen.would_send() > 0 {
        return Value::Null;
    }
    if seen.people == 0 {
        return json!(
            "The segment has nobody in it. Look at its definition with /segments/preview, or import people first."
        );
    }
    let of = seen.people;
    let excluded = seen.excluded.iter().max_by_key(|excluded| excluded.bucket.people);
    let exit = seen.exits.iter().max_by_key(|(.., bucket)| bucket.people);
    let most = exit.map_or(0, |(.., bucket)| bucket.people);
    if let Some(excluded) = excluded.filter(|excluded| excluded.bucket.people > most) {
        let (people, name) = (excluded.bucket.people, &excluded.name);
        return json!(format!(
            "Nobody would get it. The exclude segment {name:?} takes {people} of {of} people: leave it out of exclude_segment_ids or narrow it."
        ));
    }
    exit.map_or(Value::Null, |(way, reason, bucket)| {
        let (people, word, name) = (bucket.people, word(*way), reason.as_str());
        let (says, what_to_do) = (reason.says(), reason.what_to_do());
        json!(format!("Nobody would get it. {people} of {of} people are {word}, {name}: {says} {what_to_do}"))
    })
}
