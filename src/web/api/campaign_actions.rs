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
use crate::web::reply::Reply;

fn reply(conn: &Connection, campaign: &CampaignRow) -> Result<Reply, StoreError> {
    Ok(Reply::ok(shape(conn, campaign)?).with_version(campaign.version))
}

/// `POST /campaigns/{id}/launch`: 202 when it begins or waits for its time now, 200 when it did already. One that
/// would let people expire is 409 until `accept_would_expire` is said.
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

/// `POST /campaigns/{id}/pause`.
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

/// `POST /campaigns/{id}/resume`.
pub(super) async fn resume(caller: Scoped<Send>, state: Data<State>, id: Path<i64>, post: Post) -> Answer {
    post.body.fields()?.finish()?;
    let (actor, setup) = (caller.actor(), state.setup.clone());
    post.once
        .write(&state.store, move |tx| Ok(reply(tx.conn(), &campaign::resume(tx, *id, &setup, &actor)?)?))
        .await
}

/// `POST /campaigns/{id}/cancel`.
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

/// `POST /campaigns/{id}/retry-failed`.
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

/// `POST /campaigns/{id}/clone`: a new draft.
pub(super) async fn clone(_: Scoped<Write>, state: Data<State>, id: Path<i64>, post: Post) -> Answer {
    post.body.fields()?.finish()?;
    post.once
        .write(&state.store, move |tx| {
            let copy = campaign::clone(tx, *id)?;
            Ok(reply(tx.conn(), &copy)?)
        })
        .await
}

fn read_phones(mut fields: Fields) -> Result<Vec<Phone>, Problem> {
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

/// `POST /campaigns/{id}/test`: 202 with the messages, marked as tests.
pub(super) async fn test(caller: Scoped<Send>, state: Data<State>, id: Path<i64>, post: Post) -> Answer {
    let phones = read_phones(post.body.fields()?)?;
    let (actor, setup) = (caller.actor(), state.setup.clone());
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
