//! `/users/{person}/export`: everything that is held about one person, for the person who asks for it. The scope is
//! `read`: piece by piece such a key sees all of it anyway.

use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;

use super::users;
use crate::privacy::Export;
use crate::store::users::User;
use crate::web::State;
use crate::web::auth::{Read, Scoped};
use crate::web::error::Problem;
use crate::web::openapi::shapes::privacy as shapes;
use crate::web::page::Query;

/// Hands out everything that is held about a person, as one document.
///
/// It is written as it is read. If the store fails on the way the connection breaks off, so that nobody takes half of
/// it for all.
#[utoipa::path(get, path = "/users/{person}/export", operation_id = "export_user",
    responses((status = 200, body = shapes::PersonExport)))]
pub(super) async fn show(
    _: Scoped<Read>,
    state: Data<State>,
    person: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    Query::of(&request)?.finish()?;
    let user = state.store.read(move |conn| users::find(conn, &person)).await?;
    Ok(document(&state, &user))
}

/// The document about this person, written as it is read.
pub(in crate::web) fn document(state: &State, user: &User) -> HttpResponse {
    let name = format!("attachment; filename=\"person-{}.json\"", user.id);
    let export = Export::new(state.store.clone(), user);
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
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header(("content-disposition", name))
        .insert_header(("cache-control", "no-store"))
        .streaming(parts)
}
