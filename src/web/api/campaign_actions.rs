//! What is done with a campaign: `launch`, `pause`, `resume`, `cancel`, `retry-failed`, `clone`, `test`.
//! The rules are in the flow; here they get a key, an idempotent request and an answer.

use crate::store::Connection;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::Answer;
use super::audience::house;
use super::campaigns::{find, shape};
use crate::campaign::{self, CampaignError, MAX_TEST_PHONES};
use crate::domain::campaign::CampaignStatus;
use crate::domain::phone::Phone;
use crate::store::StoreError;
use crate::store::campaigns::CampaignRow;
use crate::store::reports::messages;
use crate::web::State;
use crate::web::auth::{Scoped, Send, SendOrWrite, Write};
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::{Rows, campaigns as shapes, messages::Message};
use crate::web::reply::Reply;

fn reply(conn: &Connection, campaign: &CampaignRow) -> Result<Reply, StoreError> {
    Ok(Reply::ok(shape(conn, campaign)?).with_version(campaign.version))
}

/// Launches a campaign.
///
/// 202 when it begins or waits for its time now, 200 when it did already. One that would let people expire is 409
/// until `accept_would_expire` is said.
#[utoipa::path(post, path = "/campaigns/{id}/launch", operation_id = "launch_campaign",
    request_body = shapes::LaunchCampaign,
    responses((status = 202, body = shapes::Campaign), (status = 200, body = shapes::Campaign),
        (status = 409, description = "Not in this state, people would expire, the template is not approved, or something is not set up.")))]
pub(super) async fn launch(_: Scoped<Send>, state: Data<State>, id: Path<i64>, post: Post) -> Answer {
    let mut fields = post.body.fields()?;
    let accept_would_expire = fields.boolean("accept_would_expire").unwrap_or(false);
    fields.finish()?;
    let house = house(&state);
    let clearance = campaign::clear(&state.store, &house, *id, accept_would_expire).await?;
    post.once
        .write(&state.store, move |tx| {
            let was_draft = find(tx.conn(), *id)?.status == CampaignStatus::Draft;
            let campaign = campaign::launch_cleared(tx, *id, &house.setup, &clearance)?;
            let shown = shape(tx.conn(), &campaign)?;
            let reply = if was_draft { Reply::accepted(shown) } else { Reply::ok(shown) };
            Ok(reply.with_version(campaign.version))
        })
        .await
}

/// Pauses a campaign.
///
/// The scope `write` will do as well.
#[utoipa::path(post, path = "/campaigns/{id}/pause", operation_id = "pause_campaign",
    responses((status = 200, body = shapes::Campaign), (status = 409, description = "Not in this state.")))]
pub(super) async fn pause(
    caller: Scoped<SendOrWrite>,
    state: Data<State>,
    id: Path<i64>,
    post: Post,
) -> Answer {
    post.body.fields()?.finish()?;
    let actor = caller.actor();
    post.once.write(&state.store, move |tx| Ok(reply(tx.conn(), &campaign::pause(tx, *id, &actor)?)?)).await
}

/// Lets a paused campaign go on.
#[utoipa::path(post, path = "/campaigns/{id}/resume", operation_id = "resume_campaign",
    responses((status = 200, body = shapes::Campaign),
        (status = 409, description = "Not in this state, the template is not approved, or something is not set up.")))]
pub(super) async fn resume(caller: Scoped<Send>, state: Data<State>, id: Path<i64>, post: Post) -> Answer {
    post.body.fields()?.finish()?;
    let (actor, setup) = (caller.actor(), state.setup.get());
    post.once
        .write(&state.store, move |tx| Ok(reply(tx.conn(), &campaign::resume(tx, *id, &setup, &actor)?)?))
        .await
}

/// Ends a campaign before everybody had their turn.
///
/// The scope `write` will do as well.
#[utoipa::path(post, path = "/campaigns/{id}/cancel", operation_id = "cancel_campaign",
    responses((status = 200, body = shapes::Campaign), (status = 409, description = "Not in this state.")))]
pub(super) async fn cancel(
    caller: Scoped<SendOrWrite>,
    state: Data<State>,
    id: Path<i64>,
    post: Post,
) -> Answer {
    post.body.fields()?.finish()?;
    let actor = caller.actor();
    let effect = async {
        campaign::cancel(&state.store, *id, actor).await?;
        current(&state, *id).await
    };
    post.once.around(&state.store, effect).await
}

/// Queues the failed messages of a campaign again.
#[utoipa::path(post, path = "/campaigns/{id}/retry-failed", operation_id = "retry_failed_campaign",
    responses((status = 200, body = shapes::Campaign), (status = 409, description = "Not in this state.")))]
pub(super) async fn retry_failed(
    caller: Scoped<Send>,
    state: Data<State>,
    id: Path<i64>,
    post: Post,
) -> Answer {
    post.body.fields()?.finish()?;
    let actor = caller.actor();
    let effect = async {
        let rules = state.rules.get();
        campaign::retry_failed(&state.store, &rules.presets, *id, actor).await?;
        current(&state, *id).await
    };
    post.once.around(&state.store, effect).await
}

/// The campaign after the writes that went before, its counts among them.
async fn current(state: &State, id: i64) -> Answer {
    state.store.read(move |conn| Ok(reply(conn, &find(conn, id)?)?)).await
}

/// Copies a campaign to a new draft.
#[utoipa::path(post, path = "/campaigns/{id}/clone", operation_id = "clone_campaign",
    responses((status = 200, body = shapes::Campaign)))]
pub(super) async fn clone(_: Scoped<Write>, state: Data<State>, id: Path<i64>, post: Post) -> Answer {
    post.body.fields()?.finish()?;
    post.once
        .write(&state.store, move |tx| {
            let copy = campaign::clone(tx, *id)?;
            Ok(reply(tx.conn(), &copy)?)
        })
        .await
}

pub(in crate::web) fn read_phones(mut fields: Fields) -> Result<Vec<Phone>, Problem> {
    let texts = fields.texts("phones", MAX_TEST_PHONES);
    if texts.is_empty() && !fields.has_error("phones") {
        fields.error("phones", format!("missing; 1 to {MAX_TEST_PHONES} numbers"));
    }
    let mut phones: Vec<Phone> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match Phone::parse(text, None) {
            Ok(phone) if phones.contains(&phone) => {}
            Ok(phone) => phones.push(phone),
            Err(error) => fields.error(&format!("phones[{index}]"), error.to_string()),
        }
    }
    fields.finish()?;
    Ok(phones)
}

/// Sends a campaign's text to a few numbers to look at.
///
/// For real, marked as tests; they obey `stop` and take nobody's place.
#[utoipa::path(post, path = "/campaigns/{id}/test", operation_id = "test_campaign", request_body = shapes::TestPhones,
    responses((status = 202, body = Rows<Message>),
        (status = 409, description = "Not in this state, or something is not set up.")))]
pub(super) async fn test(caller: Scoped<Send>, state: Data<State>, id: Path<i64>, post: Post) -> Answer {
    let phones = read_phones(post.body.fields()?)?;
    let (actor, setup) = (caller.actor(), state.setup.get());
    post.once
        .write(&state.store, move |tx| {
            let sent = campaign::send_test(tx, *id, &phones, &setup, &actor)?;
            let mut shown: Vec<Value> = Vec::with_capacity(sent.len());
            for id in sent {
                let message = messages::find(tx.conn(), id)?
                    .ok_or_else(|| CampaignError::NotFound(format!("message {id}")))?;
                shown.push(super::messages::shape(&message));
            }
            Ok(Reply::accepted(json!({"data": shown})))
        })
        .await
}
