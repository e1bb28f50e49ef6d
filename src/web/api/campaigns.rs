//! `/campaigns`: plans, as they are written, read and edited. What is done with them is in
//! `campaign_actions`, what came of them in `report`; how a plan is read is in `campaign_plan`.

use std::collections::BTreeMap;

use crate::store::Connection;
use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Map, Value, json};

use super::Answer;
use super::campaign_plan::{read_plan, read_spend_cap};
use crate::config::Config;
use crate::domain::campaign::{Action, CampaignStatus};
use crate::domain::message::Status;
use crate::domain::price::Cost;
use crate::domain::user::merge_patch;
use crate::store::campaigns::{self, CampaignPlan, CampaignRow};
use crate::store::{StoreError, Tx, spending, topics};
use crate::web::State;
use crate::web::auth::{Read, Scoped, Write};
use crate::web::body::{Body, Fields};
use crate::web::error::{FieldError, Problem};
use crate::web::etag::IfMatch;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::{Page, Paging, campaigns as shapes};
use crate::web::page::{NoQuery, Query};
use crate::web::reply::{Reply, time, time_or_null};

/// The part of a campaign that is written by people, by the names of the contract.
pub(in crate::web) fn plan_shape(
    conn: &Connection,
    plan: &CampaignPlan,
) -> Result<Map<String, Value>, StoreError> {
    let topic = match plan.topic_id {
        Some(id) => topics::list(conn)?.into_iter().find(|topic| topic.id == id).map(|topic| topic.name),
        None => None,
    };
    let schedule = plan.schedule.as_ref().map(
        |(at, zone)| json!({"at": at, "timezone": zone, "local_to_recipient": plan.is_local_to_recipient}),
    );
    let shown = json!({
        "name": plan.name,
        "topic": topic,
        "template_id": plan.template_id,
        "segment_id": plan.segment_id,
        "exclude_segment_ids": plan.exclude_segment_ids,
        "channel": plan.channel.as_str(),
        "sender": plan.sender,
        "kind": plan.kind.as_str(),
        "schedule": schedule,
        "if_missed": plan.if_missed,
        "late_hours": plan.late_hours,
        "trigger": plan.trigger_type.as_ref().map(|kind| json!({"type": kind})),
        "rate_limit_per_second": plan.rate_limit_per_second,
        "quiet_hours": plan.quiet_hours,
        "expires_after_hours": plan.expires_after_hours,
        "max_recipients": plan.max_recipients,
        "spend_cap": plan.spend_cap_micros.map(units),
    });
    match shown {
        Value::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

/// Millionths as a number of the currency's units.
pub(in crate::web) fn units(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// What is spent of an amount, or the word for what nobody knows: an unknown price is never taken for nothing.
pub(super) fn cost_shape(cost: Cost) -> Value {
    cost.total().map_or_else(|| json!("unknown"), |micros| json!(units(micros)))
}

/// How many messages are in each state, every state named.
pub(in crate::web) fn counts_by_status(counts: &[campaigns::CampaignCount]) -> BTreeMap<&'static str, i64> {
    let mut by_status: BTreeMap<&'static str, i64> =
        Status::ALL.iter().map(|status| (status.as_str(), 0)).collect();
    for count in counts {
        if let Some(sum) = Status::parse(&count.status).and_then(|s| by_status.get_mut(s.as_str())) {
            *sum += count.n;
        }
    }
    by_status
}

/// The counts as JSON, in the order of the contract.
pub(super) fn counts_shape(counts: &[campaigns::CampaignCount]) -> Value {
    let sums = counts_by_status(counts);
    let in_order = Status::ALL.iter().map(|status| {
        (status.as_str().to_owned(), json!(sums.get(status.as_str()).copied().unwrap_or_default()))
    });
    Value::Object(in_order.collect())
}

/// A campaign as the contract shows it.
pub(super) fn shape(conn: &Connection, campaign: &CampaignRow) -> Result<Value, StoreError> {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(campaign.id));
    shown.insert("status".to_owned(), json!(campaign.status.as_str()));
    shown.extend(plan_shape(conn, &campaign.plan)?);
    shown.insert("counts".to_owned(), counts_shape(&campaigns::counts(conn, campaign.id)?));
    let (_, spent) = spending::of_campaign(conn, campaign.id)?;
    shown.insert("spent".to_owned(), cost_shape(spent));
    shown.insert("pause_reason".to_owned(), json!(campaign.pause_reason));
    shown.insert("paused_until".to_owned(), time_or_null(campaign.paused_until));
    shown.insert("warnings".to_owned(), json!(crate::campaign::warnings(conn, campaign)?));
    shown.insert("created_at".to_owned(), time(campaign.created_at));
    shown.insert("launched_at".to_owned(), time_or_null(campaign.launched_at));
    shown.insert("finished_at".to_owned(), time_or_null(campaign.finished_at));
    Ok(Value::Object(shown))
}

/// The campaign with this id.
pub(in crate::web) fn find(conn: &Connection, id: i64) -> Result<CampaignRow, Problem> {
    campaigns::find(conn, id)?.ok_or_else(|| Problem::not_found(format!("There is no campaign {id}.")))
}

/// Lists campaigns, newest first.
#[utoipa::path(get, path = "/campaigns", operation_id = "list_campaigns",
    params(Paging, ("status" = Option<shapes::CampaignStatus>, Query, description = "That are here.")),
    responses((status = 200, body = Page<shapes::Campaign>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("campaigns");
    let status =
        query.choice("status", CampaignStatus::parse, &CampaignStatus::ALL.map(CampaignStatus::as_str));
    query.finish()?;
    let body = state
        .store
        .read(move |conn| {
            let rows = campaigns::list(conn, status, page.before, page.fetch())?;
            let shown: Vec<(i64, Value)> =
                rows.iter().map(|row| Ok((row.id, shape(conn, row)?))).collect::<Result<_, StoreError>>()?;
            Ok::<_, StoreError>(page.answer(shown, |(id, _)| *id, |(_, row)| row.clone()))
        })
        .await?;
    Ok(Reply::ok(body))
}

/// Adds a campaign as a draft.
#[utoipa::path(post, path = "/campaigns", operation_id = "create_campaign", request_body = shapes::NewCampaign,
    responses((status = 201, body = shapes::Campaign)))]
pub(super) async fn create(_: Scoped<Write>, state: Data<State>, post: Post) -> Answer {
    let fields = post.body.fields()?;
    let config = state.config.get();
    post.once
        .write(&state.store, move |tx| {
            let plan = read_plan(tx.conn(), &config, fields)?;
            let id = campaigns::insert(tx, &plan)?;
            let campaign = find(tx.conn(), id)?;
            let reply = Reply::created(format!("/api/v1/campaigns/{id}"), shape(tx.conn(), &campaign)?);
            Ok(reply.with_version(campaign.version))
        })
        .await
}

/// Shows a campaign.
#[utoipa::path(get, path = "/campaigns/{id}", operation_id = "get_campaign",
    responses((status = 200, body = shapes::Campaign)))]
pub(super) async fn show(_: Scoped<Read>, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    Query::of(&request)?.finish()?;
    state
        .store
        .read(move |conn| {
            let campaign = find(conn, *id)?;
            Ok(Reply::ok(shape(conn, &campaign)?).with_version(campaign.version))
        })
        .await
}

/// Changes the plan of a campaign.
///
/// A merge patch (RFC 7396). Once it was launched, of the rate and the spend cap alone.
#[utoipa::path(patch, path = "/campaigns/{id}", operation_id = "update_campaign", request_body = shapes::CampaignPatch,
    responses((status = 200, body = shapes::Campaign), (status = 409, description = "Not in this state.")))]
pub(super) async fn update(
    caller: Scoped<Write>,
    state: Data<State>,
    id: Path<i64>,
    if_match: IfMatch,
    body: Body,
) -> Answer {
    let patch = body.object()?;
    let (actor, config) = (caller.actor(), state.config.get());
    state
        .store
        .write(move |tx| {
            let campaign = find(tx.conn(), *id)?;
            if_match.check(campaign.version)?;
            edit(tx, &config, &campaign, patch, &actor)?;
            let campaign = find(tx.conn(), *id)?;
            Ok(Reply::ok(shape(tx.conn(), &campaign)?).with_version(campaign.version))
        })
        .await
}

/// Changes a campaign as a merge patch says: its plan before the launch, then the rate and the spend cap alone.
pub(in crate::web) fn edit(
    tx: &Tx<'_>,
    config: &Config,
    campaign: &CampaignRow,
    patch: Map<String, Value>,
    actor: &str,
) -> Result<(), Problem> {
    if Action::Edit.check(campaign.status).is_ok() {
        let plan = patched(tx.conn(), config, campaign, &patch)?;
        if plan != campaign.plan {
            campaigns::update(tx, campaign.id, &plan)?;
        }
        return Ok(());
    }
    let (rate, spend_cap) = read_limits(campaign, patch)?;
    if rate != campaign.plan.rate_limit_per_second {
        campaigns::set_rate(tx, campaign.id, rate, actor)?;
    }
    if spend_cap != campaign.plan.spend_cap_micros {
        campaigns::set_spend_cap(tx, campaign.id, spend_cap, actor)?;
    }
    Ok(())
}

fn patched(
    conn: &Connection,
    config: &Config,
    campaign: &CampaignRow,
    patch: &Map<String, Value>,
) -> Result<CampaignPlan, Problem> {
    let mut merged = plan_shape(conn, &campaign.plan)?;
    // Merging drops a null: what no plan has must be found before.
    let unknown: Vec<FieldError> = patch
        .keys()
        .filter(|name| !merged.contains_key(*name))
        .map(|name| FieldError {
            field: name.chars().take(100).collect(),
            message: "unknown field".to_owned(),
        })
        .collect();
    if !unknown.is_empty() {
        return Err(Problem::fields(unknown));
    }
    // A window and a preset don't mix: quiet hours are said anew as a whole.
    if patch.contains_key("quiet_hours") {
        merged.shift_remove("quiet_hours");
    }
    merge_patch(&mut merged, patch);
    let plan = read_plan(conn, config, Fields::of(Value::Object(merged))?)?;
    if campaign.status == CampaignStatus::Scheduled && plan.starts_at.is_none() {
        let message = "a scheduled campaign needs one; cancel it, or give another time";
        return Err(Problem::field("schedule", message));
    }
    Ok(plan)
}

/// What may change once a campaign was launched.
const LIMITS: [&str; 2] = ["rate_limit_per_second", "spend_cap"];

/// The new rate and spend cap of a campaign that runs.
fn read_limits(
    campaign: &CampaignRow,
    patch: Map<String, Value>,
) -> Result<(Option<f64>, Option<i64>), Problem> {
    let has_others = patch.keys().any(|key| !LIMITS.contains(&key.as_str()));
    if has_others || Action::ChangeRate.check(campaign.status).is_err() {
        let detail = match Action::ChangeRate.check(campaign.status) {
            Ok(()) => format!(
                "The campaign is {}: only rate_limit_per_second and spend_cap can change now.",
                campaign.status.as_str()
            ),
            Err(wrong) => wrong.to_string(),
        };
        return Err(Problem::conflict(detail).with_code("wrong_state"));
    }
    let (has_rate, has_cap) = (patch.contains_key(LIMITS[0]), patch.contains_key(LIMITS[1]));
    let mut fields = Fields::of(Value::Object(patch))?;
    let rate =
        if has_rate { fields.positive("rate_limit_per_second") } else { campaign.plan.rate_limit_per_second };
    let spend_cap = if has_cap { read_spend_cap(&mut fields) } else { campaign.plan.spend_cap_micros };
    fields.finish()?;
    Ok((rate, spend_cap))
}

/// Deletes a draft.
#[utoipa::path(delete, path = "/campaigns/{id}", operation_id = "delete_campaign",
    responses((status = 204), (status = 409, description = "Not in this state.")))]
pub(super) async fn remove(_: Scoped<Write>, state: Data<State>, id: Path<i64>, _: NoQuery) -> Answer {
    state.store.write(move |tx| delete(tx, *id)).await?;
    Ok(Reply::no_content())
}

/// Removes a draft.
pub(in crate::web) fn delete(tx: &Tx<'_>, id: i64) -> Result<(), Problem> {
    let campaign = find(tx.conn(), id)?;
    Action::Delete
        .check(campaign.status)
        .map_err(|wrong| Problem::from(crate::campaign::CampaignError::from(wrong)))?;
    Ok(campaigns::delete(tx, campaign.id)?)
}
