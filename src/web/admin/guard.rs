//! Closes the pages to all but operators who may see them, refuses what another site sends, gives every answer its
//! headers, and renders what went wrong.

use std::collections::HashMap;
use std::sync::LazyLock;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::cookie::time::Duration as CookieAge;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, web};

use super::failure::Failure;
use super::form::Kept;
use super::page::{Page, Viewer};
use super::{OPEN, ROUTES, see_other};
use crate::store::operators::Role;
use crate::store::{StoreError, hold, sessions};
use crate::web::State;
use crate::web::error::Problem;

/// Only what this server serves. `data:` is for the check marks within the style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The least role of each method, by pattern.
static ROLES: LazyLock<HashMap<String, Vec<(&'static str, Role)>>> = LazyLock::new(|| {
    let mut roles: HashMap<String, Vec<_>> = HashMap::new();
    for route in ROUTES {
        roles.entry(format!("/admin{}", route.path)).or_default().push((route.method, route.role));
    }
    roles
});

/// Wraps every page.
///
/// # Errors
/// Whatever the server below can't turn into an answer.
pub(super) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = match admit(&request).await {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(Refusal::Answer(answer)) => request.into_response(*answer),
        Err(Refusal::Failure(failure)) => request.error_response(failure),
    };
    let mut response = with_page(response);
    harden(response.headers_mut());
    Ok(response)
}

enum Refusal {
    Answer(Box<HttpResponse>),
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal::Failure(failure)
    }
}

async fn admit(request: &ServiceRequest) -> Result<(), Refusal> {
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        refuse_other_sites(request)?;
    }
    let pattern = request.match_pattern().unwrap_or_default();
    let viewer = viewer(request).await?;
    let is_open = OPEN.contains(&pattern.as_str());
    if let Some(viewer) = &viewer {
        request.extensions_mut().insert(viewer.clone());
    }
    if is_open {
        return Ok(());
    }
    let Some(viewer) = viewer else {
        return Err(to_login(request));
    };
    let is_part = request.headers().contains_key("hx-request");
    if let Some(state) = request.app_data::<web::Data<State>>().filter(|_| !is_part) {
        // The side bar shows them; a part of a page has none.
        state.badges.now(state).await;
    }
    let method = if *request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
    // What is not in the table leads to no handler either: it is answered by 404 or 405.
    let ways = ROLES.get(&pattern).map(Vec::as_slice).unwrap_or_default();
    let least = ways.iter().find(|(name, _)| *name == method).map(|(_, role)| *role);
    match least {
        Some(least) if viewer.operator.role < least => Err(Failure::forbidden(format!(
            "This page is for {}s. You are logged in as {}, {}.",
            least.as_str(),
            viewer.operator.email,
            viewer.operator.role.as_str(),
        ))
        .into()),
        _ => Ok(()),
    }
}

/// A request that changes something must come from a page of ours. Browsers say so; without the headers the hidden
/// field of the form decides alone.
fn refuse_other_sites(request: &ServiceRequest) -> Result<(), Failure> {
    let header = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_ours = match (header(&SEC_FETCH_SITE), header(&header::ORIGIN)) {
        (Some(site), _) => site == "same-origin" || site == "none",
        // Over plain http a browser says only from which origin a form comes.
        (None, Some(origin)) => is_own_origin(request, origin),
        (None, None) => true,
    };
    if is_ours {
        return Ok(());
    }
    let detail = "This form was sent by another site. Open the page here and send it again.";
    Err(Failure::forbidden(detail))
}

/// Whether an origin is the address under which this request came, or the public one: a proxy may have changed the
/// host.
fn is_own_origin(request: &ServiceRequest, origin: &str) -> bool {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let given = origin.split_once("://").map(|(_, host)| host);
    if given.is_some() && given == host {
        return true;
    }
    let state = request.app_data::<web::Data<State>>();
    state.is_some_and(|state| {
        state.config.get().server.public_base_url.origin().ascii_serialization() == origin
    })
}

/// Who is logged in, if anybody.
async fn viewer(request: &ServiceRequest) -> Result<Option<Viewer>, Failure> {
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        return Ok(None);
    };
    let Some(token) = token(request.request(), &state) else {
        return Ok(None);
    };
    let now = state.store.clock().now();
    let (sought, csrf) = (token.clone(), super::form::csrf_of(&token));
    let found = state.store.read(move |conn| {
        let session = sessions::find(conn, &sought, now)?;
        Ok::<_, StoreError>(session.map(|session| (session, hold::since(conn))))
    });
    let Some((session, held_since)) = found.await? else {
        return Ok(None);
    };
    let is_held = held_since?.is_some();
    if session.is_stale(now) {
        let (store, token_hash) = (state.store.clone(), session.token_hash);
        actix_web::rt::spawn(async move {
            if let Err(error) = store.write(move |tx| sessions::touch(tx, &token_hash)).await {
                tracing::debug!(%error, "the use of a session was not noted");
            }
        });
    }
    Ok(Some(Viewer {
        operator: session.operator,
        token_hash: session.token_hash,
        proved_at: session.proved_at,
        csrf,
        is_held,
    }))
}

/// The session's token. Where the public address is https, a cookie without the prefix counts only under another
/// host: whoever set the address from there keeps the session, and no neighbour of the public host can plant one.
fn token(request: &HttpRequest, state: &State) -> Option<String> {
    let value = |name: &str| request.cookie(name).map(|cookie| cookie.value().to_owned());
    let is_public = || {
        let config = state.config.get();
        let host =
            request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        config.server.public_base_url.host_str().is_some_and(|public| public.eq_ignore_ascii_case(name))
    };
    value(cookie_name(state)).or_else(|| value(PLAIN).filter(|_| !is_public()))
}

/// Gives the session of `request` the cookie that counts now, if the public address was just set.
pub(super) fn carry_over(request: &HttpRequest, state: &State, answer: &mut HttpResponse) {
    let Some(token) = request.cookie(PLAIN).filter(|_| is_https(state)) else {
        return;
    };
    if answer.add_cookie(&session_cookie(state, token.value())).is_err() {
        tracing::debug!("a session could not be carried over");
    }
}

fn to_login(request: &ServiceRequest) -> Refusal {
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        let detail =
            "You are not logged in any more. Log in in another tab, come back here, and send it again.";
        return Refusal::Failure(Failure(Problem::new(StatusCode::UNAUTHORIZED, detail)));
    }
    let here = request.uri().path_and_query().map_or("/admin", |path| path.as_str());
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", here).finish();
    let location = format!("/admin/login?{query}");
    if request.headers().contains_key("hx-request") {
        // A part of a page can't hold the login: the browser goes there.
        let answer = HttpResponse::Unauthorized().insert_header(("HX-Redirect", location)).finish();
        return Refusal::Answer(Box::new(answer));
    }
    Refusal::Answer(Box::new(see_other(&location)))
}

/// Without https the prefix of the other one is refused by browsers.
const PLAIN: &str = "ese_session";

/// The name of the session's cookie. The prefix binds it to this host and to https (RFC 6265bis, 4.1.3.2).
pub(super) fn cookie_name(state: &State) -> &'static str {
    if is_https(state) { "__Host-ese_session" } else { PLAIN }
}

fn is_https(state: &State) -> bool {
    state.config.get().server.public_base_url.scheme() == "https"
}

/// The cookie that carries a session.
pub(super) fn session_cookie(state: &State, token: &str) -> Cookie<'static> {
    Cookie::build(cookie_name(state), token.to_owned())
        .path("/")
        .http_only(true)
        .secure(is_https(state))
        .same_site(SameSite::Lax)
        .max_age(CookieAge::milliseconds(sessions::AGE_LIMIT))
        .finish()
}

/// Renders a failure as a page, with what was posted still in it.
fn with_page(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let request = response.request().clone();
    let problem = match response.response().error() {
        Some(error) => {
            let own = error.as_error::<Failure>().map(|failure| failure.0.clone());
            own.or_else(|| error.as_error::<Problem>().cloned())
        }
        None => None,
    };
    let status = response.status();
    let is_bare = response.headers().get(header::CONTENT_TYPE).is_none()
        && (status.is_client_error() || status.is_server_error())
        && !response.headers().contains_key("hx-redirect");
    let problem = match problem {
        Some(problem) => problem,
        None if is_bare && response.response().error().is_some() => match status {
            StatusCode::METHOD_NOT_ALLOWED => Problem::new(status, "This page can't be used so."),
            StatusCode::NOT_FOUND => {
                Problem::not_found("There is no such page. The address may have a typo.")
            }
            _ => Problem::new(status, "The request can't be taken."),
        },
        None if is_bare => Problem::new(status, "The request can't be taken."),
        None => return response,
    };
    let page = Page::of(&request);
    if problem.status().is_server_error() {
        let route = request.match_pattern().unwrap_or_default();
        tracing::error!(request.id = %page.request_id, http.route = %route, http.status = problem.status().as_u16(),
            error = problem.cause().unwrap_or_default(), "a page failed");
    }
    let kept = request.extensions_mut().remove::<Kept>();
    response.into_response(page.failed(&problem, kept))
}

/// Headers of every answer below `/admin`.
fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [(header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-store")] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
