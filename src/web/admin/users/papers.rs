//! What is handed out about a person: the proof for a complaint, and everything that is held.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Bytes, Data, Path};
use futures_util::stream;

use super::super::Answer;
use super::super::failure::Failure;
use super::find;
use crate::privacy::{self, Export};
use crate::store::StoreError;
use crate::store::users::UserKey;
use crate::web::State;
use crate::web::pages;

/// `GET /admin/users/{id}/proof`: the page to print, the same as the API's.
pub(in super::super) async fn proof(state: Data<State>, id: Path<i64>) -> Answer {
    let (key, now, whom) = (state.store.key().clone(), state.store.clock().now(), UserKey::Id(*id));
    let proof = state
        .store
        .read(move |conn| privacy::proof(conn, &key, &whom, now))
        .await?
        .ok_or_else(|| Failure::not_found(format!("There is no person {id}.")))?;
    let body = pages::proof(&proof).map_err(|error| StoreError::Internal(error.to_string()))?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            format!("{}; frame-ancestors 'none'", pages::proof_policy()),
        ))
        .body(body))
}

/// `GET /admin/users/{id}/export`: everything that is held about the person, as one JSON document.
pub(in super::super) async fn export(state: Data<State>, id: Path<i64>) -> Answer {
    let id = *id;
    let user = state.store.read(move |conn| find(conn, id)).await?;
    let export = Export::new(state.store.clone(), &user);
    let parts = stream::unfold(Some(export), |export| async move {
        let mut export = export?;
        match export.next().await {
            Ok(Some(part)) => Some((Ok(Bytes::from(part)), Some(export))),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(error = %error, "an export broke off");
                Some((Err(error), None))
            }
        }
    });
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"person-{id}.json\"")))
        .streaming(parts))
}
