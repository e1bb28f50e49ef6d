//! `/admin/login` and `/admin/logout`: in by password and, if the account has one, a second factor; and out. A wrong
//! address, a wrong password and a disabled account get one answer, after the same time.

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minijinja::context;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::form::{Filled, Form};
use super::page::Page;
use super::proof::{self, Caller};
use super::{Answer, guard};
use crate::clock::Millis;
use crate::store::operators::{self, Operator};
use crate::store::{StoreError, Tx, seal, second_factors, sessions};
use crate::web::State;
use crate::web::error::Problem;
use crate::web::page::Query;

/// What the step between password and code is sealed as.
const TICKET: &str = "login ticket";
/// How long it holds, in milliseconds.
const TICKET_LASTS: Millis = 5 * 60_000;

/// That somebody gave the right password, told to their browser so that the server need not remember it.
#[derive(Serialize, Deserialize)]
struct Ticket {
    operator_id: i64,
    /// A password that was set since makes it worthless.
    password_changed_at: Option<Millis>,
    at: Millis,
}

impl Ticket {
    fn seal(&self, state: &State) -> Result<String, StoreError> {
        let text = serde_json::to_string(self).unwrap_or_default();
        Ok(URL_SAFE_NO_PAD.encode(seal::seal(state.store.key(), TICKET, &text)?))
    }

    fn open(state: &State, text: &str) -> Option<Ticket> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = seal::open(state.store.key(), TICKET, &sealed).ok()?;
        let ticket: Ticket = serde_json::from_str(text.expose_secret()).ok()?;
        (state.store.clock().now() - ticket.at < TICKET_LASTS).then_some(ticket)
    }
}

/// Only a place of these pages: another one could be made to look like them.
pub(super) fn is_local(path: &str) -> bool {
    let is_below = path == "/admin" || path.starts_with("/admin/") || path.starts_with("/admin?");
    is_below && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

pub(super) async fn show(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let next = Query::of(&request)?.text("next").filter(|path| is_local(path));
    if page.viewer.is_some() {
        return page.go_to(next.as_deref().unwrap_or("/admin"), "");
    }
    let nobody = !state.store.read(operators::is_any).await?;
    password_form(&page, next.as_deref(), &Filled::default(), nobody)
}

fn password_form(page: &Page, next: Option<&str>, filled: &Filled, nobody: bool) -> Answer {
    let values = context! { title => "Log in", form => filled.value(), next, nobody };
    page.show_as(filled.status(), "login.html", values)
}

fn code_form(page: &Page, next: Option<&str>, ticket: &str, filled: &Filled) -> Answer {
    let values = context! { title => "Second factor", form => filled.value(), next, ticket };
    page.show_as(filled.status(), "login_code.html", values)
}

/// What a step of the login leads to.
enum Step {
    /// The password is right, and a code is asked for.
    Code(String),
    /// In, with this session, and how many recovery codes are left if one was used.
    In(SecretString, Option<i64>),
}

pub(super) async fn enter(
    page: Page,
    state: Data<State>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    let form = Form::read(&request, payload.into_inner()).await?;
    let next = form.text("next").filter(|path| is_local(path));
    let caller = Caller::of(&state, &request);
    let before = page.viewer.as_ref().map(|viewer| viewer.token_hash);
    let ticket = form.text("login_token");
    let step = match &ticket {
        Some(ticket) => code_step(&state, &form, &caller, (ticket, before)).await,
        None => password_step(&state, &form, &caller, before).await,
    };
    let problem = match step {
        Ok(Step::Code(ticket)) => return code_form(&page, next.as_deref(), &ticket, &Filled::default()),
        Ok(Step::In(token, codes_left)) => {
            let notice = codes_left.map(|left| format!("That recovery code is used up. {left} are left."));
            let notice = notice.unwrap_or_default();
            return welcome(&page, &state, &token, (next.as_deref().unwrap_or("/admin"), &notice));
        }
        Err(problem) => problem,
    };
    let retry_after = problem.retry_after();
    let is_over = problem.has_code("ticket_over");
    let filled = Filled::refused(&form, problem)?;
    let mut answer = match ticket.filter(|_| !is_over) {
        Some(ticket) => code_form(&page, next.as_deref(), &ticket, &filled)?,
        None => password_form(&page, next.as_deref(), &filled, false)?,
    };
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(answer)
}

/// To a place of the pages, with the cookie of a new session.
pub(super) fn welcome(
    page: &Page,
    state: &State,
    token: &SecretString,
    (location, notice): (&str, &str),
) -> Answer {
    let mut answer = page.go_to(location, notice)?;
    set_session(&mut answer, state, token)?;
    Ok(answer)
}

/// Adds the cookie of a new session to an answer.
pub(super) fn set_session(
    answer: &mut HttpResponse,
    state: &State,
    token: &SecretString,
) -> Result<(), StoreError> {
    let cookie = guard::session_cookie(state, token.expose_secret());
    answer.add_cookie(&cookie).map_err(|error| StoreError::Internal(error.to_string()))
}

/// One sentence for all that can be wrong: who guesses learns nothing.
fn wrong() -> Problem {
    Problem::field("", "This address and password do not belong together.")
}

async fn password_step(
    state: &State,
    form: &Form,
    caller: &Caller,
    before: Option<[u8; 32]>,
) -> Result<Step, Problem> {
    let email = form.text("email").unwrap_or_default();
    state.limits.logins().check_password(&email, caller.network)?;
    let found = state.store.read(move |conn| -> Result<_, StoreError> {
        let Some(operator) = operators::find_by_email(conn, &email)? else {
            return Ok(None);
        };
        let hash = operators::password_hash(conn, operator.id)?;
        Ok(Some((operator, hash)))
    });
    let (operator, hash) = found.await?.unzip();
    let fits = proof::compare(state, form.raw("password").unwrap_or_default(), hash.flatten()).await?;
    // By id: what was typed may be a password in the wrong field.
    let tried = operator.as_ref().map(|operator| operator.id);
    let Some(operator) = operator.filter(|operator| fits && operator.is_enabled()) else {
        let reason = if fits { "disabled" } else { "password" };
        note_failure(state, tried, reason, caller).await?;
        return Err(wrong());
    };
    if operator.totp_enabled_at.is_none() {
        let token = begin(state, &operator, caller, before).await?;
        return Ok(Step::In(token, None));
    }
    let now = state.store.clock().now();
    let Operator { id: operator_id, password_changed_at, .. } = operator;
    Ok(Step::Code(Ticket { operator_id, password_changed_at, at: now }.seal(state)?))
}

async fn note_failure(
    state: &State,
    id: Option<i64>,
    reason: &'static str,
    caller: &Caller,
) -> Result<(), StoreError> {
    tracing::info!(operator.id = id, reason, "somebody did not get in");
    if !state.limits.logins().may_note() {
        return Ok(());
    }
    let address = caller.address.clone();
    state.store.write(move |tx| operators::note_failed_login(tx, id, reason, &address)).await
}

/// A new session in place of one that the browser had: whoever planted that one does not come in with it.
async fn begin(
    state: &State,
    operator: &Operator,
    caller: &Caller,
    before: Option<[u8; 32]>,
) -> Result<SecretString, Problem> {
    let (id, changed_at, address) = (operator.id, operator.password_changed_at, caller.address.clone());
    let begun = state.store.write::<_, _, Problem>(move |tx| {
        if !is_still(tx, id, changed_at)? {
            return Err(wrong());
        }
        let token = renew(tx, id, before)?;
        operators::note_login(tx, id, &address, None)?;
        Ok(token)
    });
    begun.await
}

/// Whether an operator is let in with the password that was compared.
fn is_still(tx: &Tx<'_>, id: i64, password_changed_at: Option<Millis>) -> Result<bool, StoreError> {
    let found = operators::find(tx.conn(), id)?;
    Ok(found.is_some_and(|now| now.is_enabled() && now.password_changed_at == password_changed_at))
}

fn renew(tx: &Tx<'_>, id: i64, before: Option<[u8; 32]>) -> Result<SecretString, StoreError> {
    if let Some(before) = before {
        sessions::end(tx, &before)?;
    }
    sessions::begin(tx, id)
}

async fn code_step(
    state: &State,
    form: &Form,
    caller: &Caller,
    (ticket, before): (&str, Option<[u8; 32]>),
) -> Result<Step, Problem> {
    let over = || {
        let detail = "The password was given more than five minutes ago. Log in again.";
        Problem::field("", detail).with_code("ticket_over")
    };
    let ticket = Ticket::open(state, ticket).ok_or_else(over)?;
    let id = ticket.operator_id;
    state.limits.logins().check_code(id)?;
    let typed = form.text("totp_code").unwrap_or_default();
    let address = caller.address.clone();
    let outcome = state.store.write::<_, _, Problem>(move |tx| {
        if !is_still(tx, id, ticket.password_changed_at)? {
            return Err(over());
        }
        let Some(factor) = second_factors::take(tx, id, &typed)? else {
            return Ok(None);
        };
        let token = renew(tx, id, before)?;
        operators::note_login(tx, id, &address, Some(factor))?;
        let left = match factor {
            "recovery_code" => Some(second_factors::codes_left(tx.conn(), id)?),
            _ => None,
        };
        Ok(Some(Step::In(token, left)))
    });
    match outcome.await? {
        Some(step) => Ok(step),
        None => {
            note_failure(state, Some(id), "code", caller).await?;
            let detail = "This code is wrong or was used. Take the next one that the app shows";
            Err(Problem::field("totp_code", detail))
        }
    }
}

pub(super) async fn leave(page: Page, state: Data<State>, _form: Form) -> Answer {
    if let Some(viewer) = page.viewer.clone() {
        let left = state.store.write::<_, _, StoreError>(move |tx| {
            sessions::end(tx, &viewer.token_hash)?;
            operators::note_logout(tx, viewer.operator.id)
        });
        left.await?;
    }
    let mut answer = page.go_to("/admin/login", "Logged out.")?;
    let mut cookie = guard::session_cookie(&state, "");
    cookie.make_removal();
    answer.add_cookie(&cookie).map_err(|error| StoreError::Internal(error.to_string()))?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_no_other_site() {
        for (path, is_ours) in [
            ("/admin", true),
            ("/admin/users?q=1", true),
            ("/admin?x=%2F%2Fevil.example", true),
            ("", false),
            ("//evil.example/admin", false),
            ("/admin.evil.example", false),
            ("/adminevil", false),
            ("https://evil.example/admin/", false),
            ("/admin/\\evil", false),
            ("/admin/a\r\nLocation: https://evil.example", false),
            ("/admin/a b", false),
            ("javascript:alert(1)", false),
            ("/api/docs", false),
        ] {
            assert_eq!(is_local(path), is_ours, "{path:?}");
        }
    }
}
