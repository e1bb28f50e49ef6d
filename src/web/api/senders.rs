//! `/senders`: numbers and services to send from, how fast they may, and whether they stand still. Which there are
//! is the file's to say.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::Answer;
use super::settings::{self, Also, Patch};
use crate::clock::Millis;
use crate::config::Loaded;
use crate::domain::message::Kind;
use crate::store::campaigns;
use crate::store::senders::{self, SenderRow};
use crate::store::{Connection, StoreError, messages, reports};
use crate::web::State;
use crate::web::auth::{Admin, Read, Scoped};
use crate::web::body::Body;
use crate::web::error::Problem;
use crate::web::etag::IfMatch;
use crate::web::openapi::shapes::{Page, Paging, senders as shapes};
use crate::web::page::{Query, encode, paged};
use crate::web::reply::{Reply, time_or_null};

/// The span that a sender's limit on people is about, in milliseconds.
const DAY: Millis = 86_400_000;
/// Waiting single messages are counted up to here.
const MOST_WAITING: i64 = 10_000;
const RATE: &str = "rate_per_second";
const PEOPLE: &str = "recipients_per_day";

fn key(address: &str, field: &str) -> String {
    format!("senders.{address}.{field}")
}

fn shape(conn: &Connection, loaded: &Loaded, sender: &SenderRow, now: Millis) -> Result<Value, StoreError> {
    let configured = loaded.config.senders.iter().find(|one| one.address == sender.address);
    let is_paused = sender.is_paused(now);
    let locked = |field: &str| loaded.locked_by(&key(&sender.address, field));
    Ok(json!({
        "id": sender.id,
        "address": sender.address,
        "kind": sender.kind,
        "channel": sender.channel().as_str(),
        "configured": configured.is_some(),
        RATE: configured.map(|one| one.rate_per_second()),
        PEOPLE: configured.and_then(|one| one.recipients_per_day()),
        "recipients_last_day": senders::recipients(conn, sender.id, now - DAY)?,
        "waiting": waiting(conn, sender)?,
        "paused": is_paused,
        "pause_reason": sender.pause_reason.as_ref().filter(|_| is_paused),
        "paused_until": time_or_null(sender.paused_until.filter(|_| is_paused)),
        "locked_by": {RATE: locked(RATE), PEOPLE: locked(PEOPLE)},
    }))
}

/// Messages that wait for this sender: those of the campaigns that send from it, from their counts, and single ones.
pub(in crate::web) fn waiting(conn: &Connection, sender: &SenderRow) -> Result<i64, StoreError> {
    let queued = reports::live_counts(conn)?;
    let mut waiting = 0;
    for campaign in campaigns::live(conn)? {
        let chosen = senders::choose(conn, campaign.plan.channel, campaign.plan.sender.as_deref())?;
        if chosen.is_some_and(|chosen| chosen.id == sender.id) {
            let of_it = queued.iter().filter(|(id, status, _)| *id == campaign.id && status == "queued");
            waiting += of_it.map(|(_, _, n)| n).sum::<i64>();
        }
    }
    for kind in [Kind::Transactional, Kind::Marketing] {
        waiting += senders::waiting_in(conn, messages::single_lane(sender.id, kind), MOST_WAITING)?;
    }
    Ok(waiting)
}

/// Refuses to take senders away for which messages wait: nobody else would send them.
pub(super) fn refuse_removal(conn: &Connection, removed: &[String]) -> Result<(), Problem> {
    for sender in senders::list(conn)?.iter().filter(|sender| removed.contains(&sender.address)) {
        let n = waiting(conn, sender)?;
        if n > 0 {
            let text =
                format!("{n} messages wait for {}. Cancel them or let them go out first.", sender.address);
            return Err(Problem::conflict(text).with_code("in_use"));
        }
    }
    Ok(())
}

fn find(conn: &Connection, wanted: &str) -> Result<SenderRow, Problem> {
    let fits = |sender: &SenderRow| sender.address == wanted || wanted.parse() == Ok(sender.id);
    let found = senders::list(conn)?.into_iter().find(fits);
    found.ok_or_else(|| Problem::not_found("There is no such sender. It is named by its id or its address."))
}

/// Lists senders, oldest first, those too that the configuration names no longer.
#[utoipa::path(get, path = "/senders", operation_id = "list_senders", params(Paging),
    responses((status = 200, body = Page<shapes::Sender>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let limit = query.limit();
    let after = query.cursor("senders").and_then(|at| at.first().and_then(Value::as_i64)).unwrap_or(0);
    query.finish()?;
    let (loaded, now) = (state.in_force.get(), state.store.clock().now());
    let body = state
        .store
        .read(move |conn| {
            let mut shown = Vec::new();
            let rows = senders::list(conn)?.into_iter().filter(|sender| sender.id > after);
            for sender in rows.take(limit + 1) {
                shown.push((sender.id, shape(conn, &loaded, &sender, now)?));
            }
            let cursor = |(id, _): &(i64, Value)| encode("senders", &[json!(id)]);
            Ok::<_, Problem>(paged(shown, limit, cursor, |(_, sender)| sender.clone()))
        })
        .await?;
    Ok(Reply::ok(body))
}

/// Shows a sender, by its id or its address.
#[utoipa::path(get, path = "/senders/{id}", operation_id = "get_sender",
    responses((status = 200, body = shapes::Sender)))]
pub(super) async fn show(
    _: Scoped<Read>,
    state: Data<State>,
    id: Path<String>,
    request: HttpRequest,
) -> Answer {
    Query::of(&request)?.finish()?;
    answer(&state, &id).await
}

async fn answer(state: &State, id: &str) -> Answer {
    let (loaded, now, id) = (state.in_force.get(), state.store.clock().now(), id.to_owned());
    let version = loaded.settings.version;
    let body =
        state.store.read(move |conn| Ok::<_, Problem>(shape(conn, &loaded, &find(conn, &id)?, now)?)).await?;
    Ok(Reply::ok(body).with_version(version))
}

/// Changes rate and limit of a sender, stops it, or lets it go on.
///
/// Rate and limit are settings, so `ETag` and `If-Match` are those of the settings. A sender that was stopped here
/// stays so until it is resumed here, over restarts too.
#[utoipa::path(patch, path = "/senders/{id}", operation_id = "update_sender", request_body = shapes::SenderPatch,
    responses((status = 200, body = shapes::Sender),
        (status = 409, description = "`locked`: the file fixes the value; `resting`: it waits for its limit to renew.")))]
pub(super) async fn update(
    caller: Scoped<Admin>,
    state: Data<State>,
    id: Path<String>,
    if_match: IfMatch,
    body: Body,
) -> Answer {
    let mut fields = body.fields()?;
    let limits: Vec<(&str, Option<Value>)> =
        [RATE, PEOPLE].into_iter().map(|field| (field, fields.take_or_null(field))).collect();
    let is_paused = fields.boolean("paused");
    fields.finish()?;
    let wanted = id.clone();
    let sender = state.store.read(move |conn| find(conn, &wanted)).await?;
    let patch: Patch =
        limits.into_iter().filter_map(|(field, value)| Some((key(&sender.address, field), value?))).collect();
    let (actor, now) = (caller.actor(), state.store.clock().now());
    if is_paused == Some(false) && sender.is_paused(now) && sender.paused_until.is_some() {
        return Err(Problem::conflict("The sender rests until its limit renews; nothing else ends that.")
            .with_code("resting")
            .with("paused_until", time_or_null(sender.paused_until)));
    }
    let also = is_paused.map(|is_paused| pausing(sender.id, is_paused, actor.clone()));
    let changed = settings::change(&state, &settings::By::key(actor), if_match, patch, also).await;
    changed.map_err(|problem| short_fields(problem, &sender.address))?;
    answer(&state, &id).await
}

fn pausing(id: i64, is_paused: bool, actor: String) -> Also {
    Arc::new(move |tx| {
        let written = match is_paused {
            true => senders::pause_by_operator(tx, id, &actor),
            false => senders::resume(tx, id, &actor),
        };
        Ok(written?)
    })
}

/// Names the fields as the request did.
fn short_fields(problem: Problem, address: &str) -> Problem {
    problem.map_fields(|field| {
        field.strip_prefix(&key(address, "")).map_or_else(|| field.clone(), str::to_owned)
    })
}
