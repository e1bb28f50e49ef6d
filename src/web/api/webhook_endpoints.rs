//! `/webhook-endpoints`: who is told of events. The secret is shown when it is made, and never again.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use url::Url;

use super::Answer;
use super::events::unknown_type;
use crate::domain::webhook::address::MAX_URL;
use crate::domain::webhook::is_known;
use crate::publish::{check_url, system_lookup};
use crate::store::webhook_endpoints::{self, Endpoint, MOST_ENDPOINTS, Wish};
use crate::store::{Connection, StoreError, Tx, webhook_deliveries};
use crate::web::State;
use crate::web::auth::{Admin, Read, Scoped};
use crate::web::body::{Body, Fields};
use crate::web::error::Problem;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::{Page, Paging, webhooks as shapes};
use crate::web::page::{NoQuery, Query};
use crate::web::reply::{Reply, time, time_or_null};

/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 500;
/// Words of a filter.
const MAX_TYPES: usize = 100;
/// Rows of a log that go in one write when its endpoint is removed.
const FORGOTTEN_AT_ONCE: usize = 2_000;

pub(in crate::web) fn shape(conn: &Connection, endpoint: &Endpoint) -> Result<Value, StoreError> {
    Ok(json!({
        "id": endpoint.id,
        "url": endpoint.url,
        "description": endpoint.description,
        "types": endpoint.types,
        "enabled": endpoint.is_enabled,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": time_or_null(endpoint.health.failing_since),
        "waiting": webhook_deliveries::waiting(conn, endpoint.id)?,
        "last_event_id": endpoint.position,
        "last_attempt_at": time_or_null(endpoint.last_attempt_at),
        "last_success_at": time_or_null(endpoint.last_success_at),
        "previous_secret_expires_at": time_or_null(endpoint.previous_secret_until),
        "created_at": time(endpoint.created_at),
        "updated_at": time(endpoint.updated_at),
    }))
}

/// The endpoint with this id.
///
/// # Errors
/// 404.
pub(in crate::web) fn find(conn: &Connection, id: i64) -> Result<Endpoint, Problem> {
    webhook_endpoints::find(conn, id)?
        .ok_or_else(|| Problem::not_found(format!("There is no webhook endpoint {id}.")))
}

/// The fields that are given, over what holds so far.
pub(in crate::web) fn read_wish(fields: &mut Fields, before: Option<&Endpoint>) -> Wish {
    let url = match before.filter(|_| !fields.has("url")) {
        Some(endpoint) => endpoint.url.clone(),
        None => read_url(fields),
    };
    let kept = |get: fn(&Endpoint) -> &String| before.map(get).cloned().unwrap_or_default();
    let description = match fields.has("description") {
        true => fields.text("description", MAX_DESCRIPTION).unwrap_or_default(),
        false => kept(|endpoint| &endpoint.description),
    };
    let types = match fields.has("types") {
        true => read_types(fields),
        false => before.map(|endpoint| endpoint.types.clone()).unwrap_or_default(),
    };
    let was_enabled = before.is_none_or(|endpoint| endpoint.is_enabled);
    let is_enabled = fields.boolean("enabled").unwrap_or(was_enabled);
    Wish { url, description, types, is_enabled }
}

fn read_url(fields: &mut Fields) -> String {
    let text = fields.required_text("url", MAX_URL);
    if fields.has_error("url") {
        return text;
    }
    match Url::parse(text.trim()) {
        Ok(url) => url.to_string(),
        Err(error) => {
            fields.error("url", format!("is no URL: {error}"));
            text
        }
    }
}

fn read_types(fields: &mut Fields) -> Vec<String> {
    let words = fields.texts("types", MAX_TYPES);
    for (index, word) in words.iter().enumerate().filter(|(_, word)| !is_known(word)) {
        let word: String = word.chars().take(100).collect();
        fields.error(&format!("types[{index}]"), unknown_type(&word));
    }
    words
}

/// Refuses a URL that leads into a private network, as it stands or by the name in it.
///
/// # Errors
/// 422 at `url`.
pub(in crate::web) async fn check(state: &State, url: &str) -> Result<(), Problem> {
    let policy = state.config.get().webhooks.policy();
    let url = Url::parse(url).map_err(|error| Problem::field("url", error.to_string()))?;
    check_url(&policy, &url, system_lookup()).await.map_err(|why| Problem::field("url", why))
}

/// Lists webhook endpoints, newest first.
#[utoipa::path(get, path = "/webhook-endpoints", operation_id = "list_webhook_endpoints", params(Paging),
    responses((status = 200, body = Page<shapes::WebhookEndpoint>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("webhook-endpoints");
    query.finish()?;
    let rows = state.store.read(move |conn| {
        let rows = webhook_endpoints::list(conn, page.before, page.fetch())?;
        rows.into_iter().map(|row| Ok((row.id, shape(conn, &row)?))).collect::<Result<Vec<_>, StoreError>>()
    });
    Ok(Reply::ok(page.answer(rows.await?, |(id, _)| *id, |(_, shown)| shown.clone())))
}

/// Adds a webhook endpoint, which is told of events from now on.
///
/// Events are posted after the Standard Webhooks specification: signed, at least once, with an id that stays the same
/// over retries, for some three days. The answer shows the secret, this once.
#[utoipa::path(post, path = "/webhook-endpoints", operation_id = "create_webhook_endpoint",
    request_body = shapes::NewWebhookEndpoint,
    responses((status = 201, body = shapes::WebhookEndpointWithSecret),
        (status = 409, description = "There are too many endpoints.")))]
pub(super) async fn create(caller: Scoped<Admin>, state: Data<State>, post: Post) -> Answer {
    let mut fields = post.body.fields()?;
    let wish = read_wish(&mut fields, None);
    fields.finish()?;
    check(&state, &wish.url).await?;
    let actor = caller.actor();
    post.once.write(&state.store, move |tx| add(tx, &wish, &actor)).await
}

/// Adds an endpoint; the reply has its secret.
///
/// # Errors
/// 409 when there are too many.
pub(in crate::web) fn add(tx: &Tx<'_>, wish: &Wish, actor: &str) -> Result<Reply, Problem> {
    if webhook_endpoints::count(tx.conn())? >= MOST_ENDPOINTS {
        let detail = format!("There are {MOST_ENDPOINTS} endpoints already; remove one.");
        return Err(Problem::conflict(detail).with_code("too_many"));
    }
    let (id, secret) = webhook_endpoints::insert(tx, wish, actor)?;
    let shown = shape(tx.conn(), &find(tx.conn(), id)?)?;
    Ok(Reply::created(format!("/api/v1/webhook-endpoints/{id}"), shown).with_secret(secret))
}

/// Shows a webhook endpoint.
#[utoipa::path(get, path = "/webhook-endpoints/{id}", operation_id = "get_webhook_endpoint",
    responses((status = 200, body = shapes::WebhookEndpoint)))]
pub(super) async fn show(_: Scoped<Read>, state: Data<State>, id: Path<i64>, _: NoQuery) -> Answer {
    let shown = state.store.read(move |conn| Ok::<_, Problem>(shape(conn, &find(conn, *id)?)?));
    Ok(Reply::ok(shown.await?))
}

/// Changes a webhook endpoint.
///
/// One that is enabled again goes on with the event at which it stood.
#[utoipa::path(patch, path = "/webhook-endpoints/{id}", operation_id = "update_webhook_endpoint",
    request_body = shapes::WebhookEndpointPatch, responses((status = 200, body = shapes::WebhookEndpoint)))]
pub(super) async fn update(caller: Scoped<Admin>, state: Data<State>, id: Path<i64>, body: Body) -> Answer {
    change(&state, *id, body.object()?, caller.actor()).await
}

/// Changes the fields of an endpoint that `patch` names.
///
/// # Errors
/// 404, 422.
pub(in crate::web) async fn change(
    state: &State,
    id: i64,
    patch: Map<String, Value>,
    actor: String,
) -> Result<Reply, Problem> {
    let before = state.store.read(move |conn| find(conn, id)).await?;
    let wish = read_patch(patch.clone(), &before)?;
    // Also to enable it: what was public when it was set may lead elsewhere now.
    if wish.url != before.url || wish.is_enabled {
        check(state, &wish.url).await?;
    }
    let shown = state.store.write(move |tx| {
        let endpoint = find(tx.conn(), id)?;
        let wish = read_patch(patch, &endpoint)?;
        webhook_endpoints::update(tx, &endpoint, &wish, &actor)?;
        Ok::<_, Problem>(shape(tx.conn(), &find(tx.conn(), id)?)?)
    });
    Ok(Reply::ok(shown.await?))
}

fn read_patch(patch: Map<String, Value>, before: &Endpoint) -> Result<Wish, Problem> {
    let mut fields = Fields::inside("", patch);
    let wish = read_wish(&mut fields, Some(before));
    fields.finish()?;
    Ok(wish)
}

/// Removes a webhook endpoint and its log.
#[utoipa::path(delete, path = "/webhook-endpoints/{id}", operation_id = "delete_webhook_endpoint",
    responses((status = 204)))]
pub(super) async fn remove(caller: Scoped<Admin>, state: Data<State>, id: Path<i64>, _: NoQuery) -> Answer {
    forget(&state, *id, caller.actor()).await
}

/// Removes an endpoint and its log.
///
/// # Errors
/// 404.
pub(in crate::web) async fn forget(state: &State, id: i64, actor: String) -> Result<Reply, Problem> {
    state.store.read(move |conn| find(conn, id)).await?;
    // A long log goes in steps, so that no webhook waits for it.
    loop {
        let forgotten = state
            .store
            .write::<_, _, StoreError>(move |tx| webhook_deliveries::forget_some(tx, id, FORGOTTEN_AT_ONCE));
        if forgotten.await? < FORGOTTEN_AT_ONCE {
            break;
        }
    }
    state
        .store
        .write(move |tx| {
            let endpoint = find(tx.conn(), id)?;
            Ok::<_, Problem>(webhook_endpoints::delete(tx, endpoint.id, &actor)?)
        })
        .await?;
    Ok(Reply::no_content())
}

/// Makes a new secret for a webhook endpoint.
///
/// It is shown this once. For 24 hours both secrets sign, so the receiver can change over without a gap.
#[utoipa::path(post, path = "/webhook-endpoints/{id}/rotate-secret", operation_id = "rotate_webhook_secret",
    responses((status = 200, body = shapes::WebhookEndpointWithSecret)))]
pub(super) async fn rotate(caller: Scoped<Admin>, state: Data<State>, id: Path<i64>, post: Post) -> Answer {
    post.body.expect_nothing()?;
    let actor = caller.actor();
    post.once.write(&state.store, move |tx| renew_secret(tx, *id, &actor)).await
}

/// Makes a new secret; the reply has it.
///
/// # Errors
/// 404.
pub(in crate::web) fn renew_secret(tx: &Tx<'_>, id: i64, actor: &str) -> Result<Reply, Problem> {
    find(tx.conn(), id)?;
    let secret: SecretString = webhook_endpoints::rotate(tx, id, actor)?;
    let shown = shape(tx.conn(), &find(tx.conn(), id)?)?;
    Ok(Reply::ok(shown).with_secret(secret))
}
