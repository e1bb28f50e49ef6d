//! Who calls: `Authorization: Bearer <api key>`. One middleware closes everything below it; a handler
//! then names the scope that it needs by its first argument, such as [`Scoped<Read>`].

use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::ops::Deref;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, web};
use serde_json::json;

use super::State;
use super::error::Problem;
use crate::clock::Millis;
use crate::store::Store;
use crate::store::api_keys::{self, ApiKey, Scope};

/// `last_used_at` is told to this many milliseconds: a write per call would be too dear.
const TOUCH_EVERY: Millis = 60_000;

/// The key that a request came with.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `api_keys.id`.
    pub id: i64,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

impl Caller {
    /// As ledger and events name it: `key:3`.
    pub fn actor(&self) -> String {
        format!("key:{}", self.id)
    }
}

/// A set of scopes of which the caller needs one.
pub trait Needed: 'static {
    /// Any of these will do; the first is named when none is there.
    const ANY_OF: &'static [Scope];
}

/// The scope `read`.
#[derive(Debug)]
pub enum Read {}
/// The scope `write`.
#[derive(Debug)]
pub enum Write {}
/// The scope `send`.
#[derive(Debug)]
pub enum Send {}
/// The scope `admin`.
#[derive(Debug)]
pub enum Admin {}
/// `send` or `write`: who may start a campaign may stop it, and so may who may edit it.
#[derive(Debug)]
pub enum SendOrWrite {}

impl Needed for Read {
    const ANY_OF: &'static [Scope] = &[Scope::Read];
}
impl Needed for Write {
    const ANY_OF: &'static [Scope] = &[Scope::Write];
}
impl Needed for Send {
    const ANY_OF: &'static [Scope] = &[Scope::Send];
}
impl Needed for Admin {
    const ANY_OF: &'static [Scope] = &[Scope::Admin];
}
impl Needed for SendOrWrite {
    const ANY_OF: &'static [Scope] = &[Scope::Send, Scope::Write];
}

/// A caller with the scope `S`. As the first argument of a handler it is checked before the body is read.
#[derive(Debug)]
pub struct Scoped<S> {
    caller: Caller,
    scope: PhantomData<S>,
}

impl<S> Deref for Scoped<S> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<S: Needed> FromRequest for Scoped<S> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match request.extensions().get::<Caller>() {
            None => Err(no_key()),
            Some(caller) if S::ANY_OF.iter().any(|scope| caller.scopes.contains(scope)) => {
                Ok(Scoped { caller: caller.clone(), scope: PhantomData })
            }
            Some(_) => Err(missing_scope(S::ANY_OF)),
        })
    }
}

fn no_key() -> Problem {
    Problem::unauthorized("Send an API key: Authorization: Bearer <key>.")
}

/// 403 that names what is missing.
fn missing_scope(any_of: &[Scope]) -> Problem {
    let words: Vec<&str> = any_of.iter().map(|scope| scope.as_str()).collect();
    Problem::new(StatusCode::FORBIDDEN, format!("This key lacks the scope {}.", words.join(" or ")))
        .with("missing_scope", json!(words.first()))
}

/// The token of `Authorization: Bearer …`; the scheme in any case, as RFC 9110 has it.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Closes what is below it to all but valid keys.
///
/// # Errors
/// Whatever the server below can't turn into an answer.
pub(super) async fn require_key(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let state = request.app_data::<web::Data<State>>().cloned();
    let token = bearer(request.headers()).map(str::to_owned);
    let outcome = match (state, token) {
        (Some(state), Some(token)) => {
            authenticate(&state, request.request(), token).await.and_then(|caller| {
                state.limits.check_key(caller.id)?;
                Ok(caller)
            })
        }
        _ => Err(no_key()),
    };
    match outcome {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            Ok(next.call(request).await?.map_into_boxed_body())
        }
        Err(problem) => Ok(request.error_response(problem)),
    }
}

/// The caller behind a token, if it is in force. A wrong one counts against the address that it came from.
///
/// # Errors
/// 401, 429 for the many, or what the store says.
pub(super) async fn authenticate(
    state: &State,
    request: &HttpRequest,
    token: String,
) -> Result<Caller, Problem> {
    let outcome = look_up(&state.store, token).await;
    if outcome.as_ref().is_err_and(|problem| problem.status() == StatusCode::UNAUTHORIZED) {
        state.limits.note_wrong_key(request)?;
    }
    outcome
}

async fn look_up(store: &Store, token: String) -> Result<Caller, Problem> {
    let now = store.clock().now();
    let found = store.read(move |conn| api_keys::find_by_secret(conn, &token)).await?;
    let key = found.ok_or_else(|| Problem::unauthorized("There is no such API key."))?;
    if key.revoked_at.is_some() {
        return Err(Problem::unauthorized("This API key was revoked."));
    }
    if key.expires_at.is_some_and(|at| at <= now) {
        return Err(Problem::unauthorized("This API key has expired."));
    }
    note_use(store, &key, now);
    Ok(Caller { id: key.id, scopes: key.scopes })
}

/// Beside the request: nobody waits for it, and a store that can't be written may still be read.
fn note_use(store: &Store, key: &ApiKey, now: Millis) {
    if key.last_used_at.is_some_and(|at| now - at < TOUCH_EVERY) {
        return;
    }
    let (store, id) = (store.clone(), key.id);
    actix_web::rt::spawn(async move {
        if let Err(error) = store.write(move |tx| api_keys::touch(tx, id)).await {
            tracing::debug!(api_key.id = id, %error, "the use of a key was not noted");
        }
    });
}
