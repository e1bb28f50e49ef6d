//! For those who watch the process: is it there, can it take work, how is it doing.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::State;
use super::auth::{authenticate, bearer};
use super::error::Problem;
use super::reply::time_or_null;
use crate::metrics;
use crate::store::api_keys::Scope;
use crate::store::reports::workload;
use crate::store::{Store, StoreError, hold, reports, senders};
use crate::vitals::Sample;

/// The span that a sender's limit on people is about, in milliseconds.
const DAY: i64 = 86_400_000;
/// A writer that takes longer than this can't be said to work.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// `GET /readyz`: the data file takes a write. What the provider is doing is told beside it: messages can
/// be taken and kept without it.
pub(super) async fn readyz(state: web::Data<State>) -> HttpResponse {
    let written = tokio::time::timeout(WRITE_PATIENCE, state.store.write(reports::touch)).await;
    if !matches!(written, Ok(Ok(()))) {
        let body = json!({"status": "not_ready", "detail": "The data file can't be written."});
        return HttpResponse::ServiceUnavailable().json(body);
    }
    let provider = provider(&state).await.unwrap_or_else(|_| json!({"state": "unknown"}));
    let inbound = inbound(&state.store);
    let sending = sending(&state.store).await.unwrap_or_else(|_| json!({"state": "unknown"}));
    HttpResponse::Ok()
        .json(json!({"status": "ready", "provider": provider, "inbound": inbound, "sending": sending}))
}

/// Whether messages from people may have been missed; marketing waits while it is so.
fn inbound(store: &Store) -> Value {
    match store.gaps().open() {
        Some(open) => json!({"state": "catching_up", "gap": open.gap.as_str(),
                             "since": time_or_null(Some(open.since)), "detail": open.trouble}),
        None => json!({"state": "ok"}),
    }
}

/// Whether the data file is in safe hold, as a restored one is.
async fn sending(store: &Store) -> Result<Value, StoreError> {
    Ok(match store.read(hold::since).await? {
        Some(since) => json!({"state": "safe_hold", "since": time_or_null(Some(since)),
                              "detail": "The data file was restored from a copy. Release it with ese release."}),
        None => json!({"state": "ok"}),
    })
}

async fn provider(state: &State) -> Result<Value, StoreError> {
    if let Some(problem) = &state.setup.get().problem {
        return Ok(json!({"state": "not_configured", "detail": problem}));
    }
    let now = state.store.clock().now();
    let (account, senders) = state
        .store
        .read(move |conn| Ok::<_, StoreError>((senders::account_pause(conn, now)?, senders::list(conn)?)))
        .await?;
    if let Some((reason, until)) = account {
        return Ok(json!({"state": "degraded", "detail": reason, "until": time_or_null(until)}));
    }
    let paused = senders.iter().find(|sender| sender.is_configured && sender.is_paused(now));
    Ok(match paused {
        Some(sender) => json!({"state": "degraded", "detail": sender.pause_reason,
                               "until": time_or_null(sender.paused_until)}),
        None => json!({"state": "ok"}),
    })
}

/// `GET /metrics`, for the token of the configuration or a key with the scope `admin`.
///
/// # Errors
/// 401, 403, or what the store says.
pub(super) async fn metrics(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let token = bearer(request.headers()).ok_or_else(|| {
        Problem::unauthorized("Send Authorization: Bearer and server.metrics_token, or a key with admin.")
    })?;
    let config = state.config.get();
    let configured = config.server.metrics_token.expose_secret();
    let is_token = !configured.is_empty() && bool::from(configured.as_bytes().ct_eq(token.as_bytes()));
    if !is_token {
        let caller = authenticate(&state, &request, token.to_owned()).await?;
        if !caller.scopes.contains(&Scope::Admin) {
            return Err(Problem::new(StatusCode::FORBIDDEN, "This key lacks the scope admin."));
        }
    }
    collect(&state).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, metrics::CONTENT_TYPE))
        .body(state.metrics.encode()))
}

/// Reads once how the process is doing, for its short history.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub async fn note_vitals(state: &State) -> Result<(), StoreError> {
    let workload = state.store.read(workload::workload).await?;
    let reading = state.metrics.reading();
    let account = reading.paces.iter().find(|pace| pace.level == "account");
    let limit = account.map_or_else(|| state.config.get().delivery.account_rate_per_second, |pace| pace.rate);
    let sample = Sample {
        queued: workload.queued + workload.single,
        accepted: reading.accepted,
        limit: Some(limit),
        in_flight: reading.in_flight,
        ceiling: reading.ceiling,
        campaigns: workload.campaigns,
    };
    state.vitals.note(state.store.clock().now(), sample);
    Ok(())
}

async fn collect(state: &State) -> Result<(), StoreError> {
    let (store, metrics) = (&state.store, &state.metrics);
    metrics.set_commits(store.commits());
    metrics.set_gaps(store.gaps().totals(), store.gaps().open().is_some());
    metrics.set_streams(state.streams.open(), state.streams.sent());
    metrics.set_campaign_messages(store.read(reports::live_counts).await?);
    let since = store.clock().now() - DAY;
    let config = state.config.get();
    let limits = store.read(move |conn| {
        let mut limits = Vec::new();
        for sender in senders::list(conn)? {
            let configured = config.senders.iter().find(|one| one.address == sender.address);
            if let Some(most) = configured.and_then(crate::config::Sender::recipients_per_day) {
                let used = senders::recipients(conn, sender.id, since)?;
                limits.push(metrics::DailyLimit { sender: sender.address, used, most });
            }
        }
        Ok::<_, StoreError>(limits)
    });
    metrics.set_daily_limits(limits.await?);
    Ok(())
}
