//! What is handed out about a person: the proof for a complaint, and everything that is held. Both as the API has them.

use actix_web::web::{Data, Path};

use super::super::Answer;
use super::super::failure::Failure;
use super::find;
use crate::privacy;
use crate::store::users::UserKey;
use crate::web::State;
use crate::web::api::{export, proof as proofs};

/// `GET /admin/users/{id}/proof`: the page to print, the same as the API's.
pub(in super::super) async fn proof(state: Data<State>, id: Path<i64>) -> Answer {
    let (key, now, whom) = (state.store.key().clone(), state.store.clock().now(), UserKey::Id(*id));
    let proof = state
        .store
        .read(move |conn| privacy::proof(conn, &key, &whom, now))
        .await?
        .ok_or_else(|| Failure::not_found(format!("There is no person {id}.")))?;
    Ok(proofs::to_print(&proof)?)
}

/// `GET /admin/users/{id}/export`: everything that is held about the person, as one JSON document.
pub(in super::super) async fn export(state: Data<State>, id: Path<i64>) -> Answer {
    let user = state.store.read(move |conn| find(conn, *id)).await?;
    Ok(export::document(&state, &user))
}
