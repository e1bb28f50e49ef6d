//! `/api-keys`: who may call this API. An admin may give every scope: who can make keys can make one for anything.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::Answer;
use crate::clock::Millis;
use crate::store::api_keys::{self, ApiKey, Scope};
use crate::store::{Connection, StoreError, Tx};
use crate::web::State;
use crate::web::auth::{Admin, Scoped};
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::{Page, Paging, api_keys as shapes};
use crate::web::page::{NoQuery, Query};
use crate::web::reply::{Reply, time, time_or_null};

/// Longest name, in characters.
const MAX_NAME: usize = 100;

pub(in crate::web) fn shape(key: &ApiKey) -> Value {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    json!({
        "id": key.id,
        "name": key.name,
        "scopes": scopes,
        "created_at": time(key.created_at),
        "expires_at": time_or_null(key.expires_at),
        "last_used_at": time_or_null(key.last_used_at),
        "revoked_at": time_or_null(key.revoked_at),
    })
}

/// Lists API keys, revoked ones too, newest first.
#[utoipa::path(get, path = "/api-keys", operation_id = "list_api_keys", params(Paging),
    responses((status = 200, body = Page<shapes::ApiKey>)))]
pub(super) async fn list(_: Scoped<Admin>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("api-keys");
    query.finish()?;
    let keys = state.store.read(move |conn| api_keys::page(conn, page.before, page.fetch())).await?;
    Ok(Reply::ok(page.answer(keys, |key| key.id, shape)))
}

fn read_scopes(fields: &mut Fields) -> Vec<Scope> {
    let is_given = fields.has("scopes");
    let words = fields.texts("scopes", Scope::ALL.len());
    if words.is_empty() && !fields.has_error("scopes") {
        fields.error("scopes", if is_given { "must name at least one scope" } else { "missing" });
    }
    let mut scopes = Vec::new();
    for (index, word) in words.iter().enumerate() {
        match Scope::parse(word) {
            Some(scope) => scopes.push(scope),
            None => fields.error(&format!("scopes[{index}]"), "must be one of read, write, send, admin"),
        }
    }
    scopes
}

fn read_end(fields: &mut Fields, now: Millis) -> Option<Millis> {
    let expires_at = fields.time("expires_at");
    if expires_at.is_some_and(|at| at <= now) {
        fields.error("expires_at", "must lie ahead");
    }
    expires_at
}

/// Makes an API key. Its secret is told in this answer alone.
#[utoipa::path(post, path = "/api-keys", operation_id = "create_api_key", request_body = shapes::NewApiKey,
    responses((status = 201, body = shapes::CreatedApiKey)))]
pub(super) async fn create(caller: Scoped<Admin>, state: Data<State>, post: Post) -> Answer {
    let wish = KeyWish::read(post.body.fields()?, state.store.clock().now())?;
    let actor = caller.actor();
    post.once.write(&state.store, move |tx| wish.make(tx, &actor)).await
}

/// A key that somebody asks for.
#[derive(Debug)]
pub(in crate::web) struct KeyWish {
    name: String,
    scopes: Vec<Scope>,
    expires_at: Option<Millis>,
}

impl KeyWish {
    /// Reads `name`, `scopes` and `expires_at`.
    ///
    /// # Errors
    /// 422 with every field at fault.
    pub(in crate::web) fn read(mut fields: Fields, now: Millis) -> Result<KeyWish, Problem> {
        let name = fields.required_name("name", MAX_NAME);
        let scopes = read_scopes(&mut fields);
        let expires_at = read_end(&mut fields, now);
        fields.finish()?;
        Ok(KeyWish { name, scopes, expires_at })
    }

    /// Makes the key; the reply has its secret.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::web) fn make(&self, tx: &Tx<'_>, actor: &str) -> Result<Reply, Problem> {
        let (id, secret) = api_keys::insert(tx, &self.name, &self.scopes, self.expires_at, actor)?;
        let key = find(tx.conn(), id)?;
        Ok(Reply::created(format!("/api/v1/api-keys/{id}"), shape(&key)).with_secret(secret))
    }
}

/// The key with this id.
///
/// # Errors
/// 404.
pub(in crate::web) fn find(conn: &Connection, id: i64) -> Result<ApiKey, Problem> {
    api_keys::find(conn, id)?.ok_or_else(|| Problem::not_found(format!("There is no API key {id}.")))
}

/// Revokes an API key.
///
/// It is refused from now on; it stays in the list, since others name it. A key may revoke itself, but the last
/// one in force that can make keys can't be revoked.
#[utoipa::path(delete, path = "/api-keys/{id}", operation_id = "revoke_api_key",
    responses((status = 204), (status = 409, description = "`last_admin_key`: make another one first.")))]
pub(super) async fn revoke(caller: Scoped<Admin>, state: Data<State>, id: Path<i64>, _: NoQuery) -> Answer {
    let (id, actor) = (id.into_inner(), caller.actor());
    state.store.write(move |tx| revoke_key(tx, id, &actor)).await
}

/// Refuses a key from now on.
///
/// # Errors
/// 404, or 409 for the last one that can make keys.
pub(in crate::web) fn revoke_key(tx: &Tx<'_>, id: i64, actor: &str) -> Result<Reply, Problem> {
    let key = find(tx.conn(), id)?;
    let makes_keys = key.is_in_force(tx.now()) && key.scopes.contains(&Scope::Admin);
    if makes_keys && !others_administer(tx.conn(), id, tx.now())? {
        let detail = "This is the last key with the scope admin that is in force. Make another one first.";
        return Err(Problem::conflict(detail).with_code("last_admin_key"));
    }
    api_keys::revoke(tx, id, actor)?;
    Ok(Reply::no_content())
}

/// Whether a key other than `id` can make keys.
fn others_administer(conn: &Connection, id: i64, now: Millis) -> Result<bool, StoreError> {
    let keys = api_keys::list(conn)?;
    Ok(keys.iter().any(|key| key.id != id && key.is_in_force(now) && key.scopes.contains(&Scope::Admin)))
}
