//! Passwords at the pages: compared and hashed beside the threads that serve, few at once; and asked for again before
//! access is changed, if it was last given a while ago. Whoever finds a browser open changes nothing so.

use std::net::IpAddr;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use minijinja::context;

use super::failure::Failure;
use super::form::{Filled, Form};
use super::page::Page;
use crate::domain::password::Password;
use crate::store::{StoreError, operators, sessions};
use crate::web::State;
use crate::web::error::Problem;

/// The field in which the own password is typed again.
pub(super) const FIELD: &str = "own_password";

/// Where a request comes from: what is counted, and what is written down.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) network: IpAddr,
    pub(super) address: String,
}

impl Caller {
    pub(super) fn of(state: &State, request: &HttpRequest) -> Caller {
        let address = state.limits.caller(request).map(|address| address.to_string());
        Caller { network: state.limits.network(request), address: address.unwrap_or_default() }
    }
}

/// Whether `typed` is the password with this hash. Without a hash it is not, and that takes as long.
///
/// # Errors
/// 429 when too many are compared already.
pub(super) async fn compare(state: &State, typed: &str, hash: Option<String>) -> Result<bool, Problem> {
    let place = state.limits.logins().comparing().await?;
    let typed = Password::typed(typed);
    let fits = tokio::task::spawn_blocking(move || {
        // The place is held until the work is done, also when nobody waits for it any more.
        let _place = place;
        typed.is_some_and(|typed| typed.fits(hash.as_deref()))
    });
    Ok(fits.await.map_err(|error| StoreError::Internal(error.to_string()))?)
}

/// Reads a new password from the fields `password_new` and `password_again`, and hashes it.
///
/// # Errors
/// 422 at the field, or 429 when too many are hashed already.
pub(super) async fn hash_new(state: &State, form: &Form, email: &str) -> Result<String, Problem> {
    let typed = form.raw("password_new").unwrap_or_default();
    let chosen =
        Password::choose(typed, email).map_err(|why| Problem::field("password_new", why.to_string()))?;
    if form.raw("password_again") != Some(typed) {
        return Err(Problem::field("password_again", "the two passwords differ"));
    }
    let place = state.limits.logins().comparing().await?;
    let hashed = tokio::task::spawn_blocking(move || {
        let _place = place;
        chosen.hash()
    });
    let hashed = hashed.await.map_err(|error| StoreError::Internal(error.to_string()))?;
    Ok(hashed.map_err(|error| StoreError::Internal(error.to_string()))?)
}

/// Compares with the viewer's own password and notes that it was given.
///
/// # Errors
/// 422 at `field` when it is wrong, 429 when it was tried too often.
pub(super) async fn check_own(page: &Page, state: &State, field: &str, typed: &str) -> Result<(), Problem> {
    let Some(viewer) = page.viewer.clone() else {
        return Err(Problem::new(StatusCode::FORBIDDEN, "Nobody is logged in."));
    };
    let id = viewer.operator.id;
    state.limits.logins().check_proof(id)?;
    let hash = state.store.read(move |conn| operators::password_hash(conn, id)).await?;
    if compare(state, typed, hash).await? {
        return Ok(state
            .store
            .write::<_, _, StoreError>(move |tx| sessions::prove(tx, &viewer.token_hash))
            .await?);
    }
    if state.limits.logins().may_note() {
        let noted =
            move |tx: &crate::store::Tx<'_>| operators::note_failed_login(tx, Some(id), "password_again", "");
        state.store.write::<_, _, StoreError>(noted).await?;
    }
    Err(Problem::field(field, "this is not your password"))
}

/// Whether the password was last given too long ago for changes of access.
pub(super) fn is_old(page: &Page) -> bool {
    let proved_at = page.viewer.as_ref().map_or(0, |viewer| viewer.proved_at);
    page.now() - proved_at >= sessions::PROOF_LIMIT
}

/// The page that asks for the own password, if it was last given too long ago. What was posted is kept in it, so that
/// it goes on by itself.
///
/// # Errors
/// What the store says.
pub(super) async fn ask(page: &Page, state: &State, form: &Form) -> Result<Option<HttpResponse>, Failure> {
    if !is_old(page) {
        return Ok(None);
    }
    let filled = match form.raw(FIELD).filter(|typed| !typed.is_empty()) {
        None => Filled::default(),
        Some(typed) => match check_own(page, state, FIELD, typed).await {
            Ok(()) => return Ok(None),
            Err(problem) => Filled::refused(form, problem)?,
        },
    };
    let kept = form.pairs().filter(|(name, _)| *name != FIELD);
    let kept: Vec<Vec<String>> = kept.map(|(name, value)| vec![name.to_owned(), value.to_owned()]).collect();
    let values = context! {
        title => "Your password, once more",
        section => "settings",
        form => filled.value(),
        action => page.here.clone(),
        kept => kept,
    };
    page.show_as(StatusCode::FORBIDDEN, "settings/proof.html", values).map(Some)
}
