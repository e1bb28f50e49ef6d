//! `/admin/setup/{token}`: a link that sets a password once, of the first admin or of an operator that is there.
//! Looking at it uses nothing up.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path};
use minijinja::context;
use secrecy::{ExposeSecret, SecretString};

use super::Answer;
use super::form::{Filled, Form};
use super::login::welcome;
use super::page::Page;
use super::proof::{self, Caller};
use crate::domain::operator::read_email;
use crate::store::one_time_links::{self, Link};
use crate::store::operators::{self, NewOperator, Operator, Role};
use crate::store::{Connection, StoreError, Tx, sessions};
use crate::web::State;
use crate::web::error::Problem;

/// Where the first admin goes on: to what is left to do.
const FIRST_PAGE: &str = "/admin/settings/setup";

pub(super) async fn show(page: Page, state: Data<State>, token: Path<String>) -> Answer {
    let now = page.now();
    let token = token.into_inner();
    let found = state.store.read(move |conn| look(conn, &token, now)).await?;
    answer(&page, &found, &Filled::default())
}

/// A link, and whose it is.
fn look(conn: &Connection, token: &str, now: i64) -> Result<(Link, Option<Operator>), StoreError> {
    let link = one_time_links::look(conn, token, now)?;
    let operator = match link {
        Link::Password(id) => operators::find(conn, id)?,
        _ => None,
    };
    Ok((link, operator))
}

fn answer(page: &Page, (link, operator): &(Link, Option<Operator>), filled: &Filled) -> Answer {
    let why = match link {
        Link::FirstAdmin | Link::Password(_) => {
            let values = context! {
                title => if operator.is_some() { "Set your password" } else { "Create the first login" },
                email => operator.as_ref().map(|operator| operator.email.clone()),
                has_second_factor => operator.as_ref().is_some_and(|operator| operator.totp_enabled_at.is_some()),
                form => filled.value(),
            };
            return page.show_as(filled.status(), "setup_link.html", values);
        }
        Link::Used => "used",
        Link::Over => "over",
        Link::Unknown => "unknown",
    };
    let status = if *link == Link::Unknown { StatusCode::NOT_FOUND } else { StatusCode::GONE };
    page.show_as(status, "setup_link_over.html", context! { title => "This link does not work", why })
}

pub(super) async fn take(
    page: Page,
    state: Data<State>,
    (token, request): (Path<String>, HttpRequest),
    payload: web::Payload,
) -> Answer {
    let form = Form::read(&request, payload.into_inner()).await?;
    let caller = Caller::of(&state, &request);
    let (token, now) = (token.into_inner(), page.now());
    let sought = token.clone();
    let found = state.store.read(move |conn| look(conn, &sought, now)).await?;
    if !matches!(found.0, Link::FirstAdmin | Link::Password(_)) {
        return answer(&page, &found, &Filled::default());
    }
    match set(&state, &form, (token, caller), &found).await {
        Ok(Set::In(session)) => {
            let is_first = found.0 == Link::FirstAdmin;
            welcome(&page, &state, &session, (if is_first { FIRST_PAGE } else { "/admin" }, ""))
        }
        Ok(Set::Password) => {
            page.go_to("/admin/login", "The password is set. Log in with it and your second factor.")
        }
        // Somebody else was quicker with the same link.
        Ok(Set::Nothing(link)) => answer(&page, &(link, None), &Filled::default()),
        Err(problem) => answer(&page, &found, &Filled::refused(&form, problem)?),
    }
}

enum Set {
    In(SecretString),
    Password,
    Nothing(Link),
}

async fn set(
    state: &State,
    form: &Form,
    (token, caller): (String, Caller),
    (_, operator): &(Link, Option<Operator>),
) -> Result<Set, Problem> {
    state.limits.logins().check_network(caller.network)?;
    let email = match operator {
        Some(operator) => operator.email.clone(),
        None => {
            let typed = form.text("email").unwrap_or_default();
            read_email(&typed).map_err(|why| Problem::field("email", why))?
        }
    };
    let hash = proof::hash_new(state, form, &email).await?;
    let address = caller.address;
    state.store.write(move |tx| use_up(tx, &token, (email, hash), &address)).await
}

fn use_up(tx: &Tx<'_>, token: &str, (email, hash): (String, String), address: &str) -> Result<Set, Problem> {
    let id = match one_time_links::take(tx, token)? {
        Link::FirstAdmin => {
            let new = NewOperator { email, password_hash: Some(hash), role: Role::Admin };
            let id = operators::add(tx, &new, "setup link")?;
            id.ok_or_else(|| Problem::field("email", "is taken"))?
        }
        Link::Password(id) => {
            let _ = operators::set_password(tx, id, &hash, &operators::actor(id))?;
            // A link takes the place of the password alone.
            if operators::find(tx.conn(), id)?.is_some_and(|operator| operator.totp_enabled_at.is_some()) {
                return Ok(Set::Password);
            }
            id
        }
        link => return Ok(Set::Nothing(link)),
    };
    let session = sessions::begin(tx, id)?;
    operators::note_login(tx, id, address, None)?;
    Ok(Set::In(session))
}

/// The page that shows a link with its token, this once.
pub(super) fn shown(page: &Page, (title, email): (&str, &str), token: Option<&SecretString>) -> Answer {
    let path = token.map(|token| format!("/admin/setup/{}", token.expose_secret()));
    page.show("settings/operators/link.html", context! { title, email, section => "settings", path })
}
