//! `/admin/login`: in and out.

use actix_web::HttpRequest;
use actix_web::web::{self, Data};
use argon2::{Argon2, PasswordHash, PasswordVerifier};
use minijinja::context;
use secrecy::ExposeSecret;

use super::form::{Filled, Form};
use super::page::Page;
use super::{Answer, guard};
use crate::store::{StoreError, operators, sessions};
use crate::web::State;
use crate::web::error::Problem;
use crate::web::page::Query;

/// Only a place of these pages: another one could be made to look like them.
fn is_local(path: &str) -> bool {
    path == "/admin" || (path.starts_with("/admin/") && !path.contains('\\')) || path.starts_with("/admin?")
}

pub(super) async fn show(page: Page, request: HttpRequest) -> Answer {
    let next = Query::of(&request)?.text("next").filter(|path| is_local(path));
    if page.viewer.is_some() {
        return page.go_to(next.as_deref().unwrap_or("/admin"), "");
    }
    form(&page, next.as_deref(), &Filled::default())
}

fn form(page: &Page, next: Option<&str>, filled: &Filled) -> Answer {
    let values = context! { title => "Log in", form => filled.value(), next => next };
    page.show_as(filled.status(), "login.html", values)
}

pub(super) async fn enter(
    page: Page,
    state: Data<State>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    let form_posted = Form::read(&request, payload.into_inner()).await?;
    let next = form_posted.text("next").filter(|path| is_local(path));
    let email = form_posted.text("email").unwrap_or_default();
    let password = form_posted.raw("password").unwrap_or_default().to_owned();
    let sought = email.clone();
    let found = state.store.read(move |conn| operators::find_by_email(conn, &sought)).await?;
    let found = found.filter(|operator| operator.disabled_at.is_none());
    let is_right = tokio::task::spawn_blocking(move || {
        let operator = found?;
        let hash = PasswordHash::new(&operator.password_hash).ok()?;
        Argon2::default().verify_password(password.as_bytes(), &hash).ok()?;
        Some(operator)
    });
    let operator = is_right.await.map_err(|error| StoreError::Internal(error.to_string()))?;
    let Some(operator) = operator else {
        let problem = Problem::field("", "This address and password do not belong together.");
        return form(&page, next.as_deref(), &Filled::refused(&form_posted, problem)?);
    };
    let token = state.store.write::<_, _, StoreError>(move |tx| sessions::begin(tx, operator.id)).await?;
    let mut answer = page.go_to(next.as_deref().unwrap_or("/admin"), "")?;
    let cookie = guard::session_cookie(&state, token.expose_secret());
    answer.add_cookie(&cookie).map_err(|error| StoreError::Internal(error.to_string()))?;
    Ok(answer)
}

pub(super) async fn leave(page: Page, state: Data<State>, _form: Form) -> Answer {
    if let Some(viewer) = &page.viewer {
        let token_hash = viewer.token_hash;
        state.store.write::<_, _, StoreError>(move |tx| sessions::end(tx, &token_hash)).await?;
    }
    let mut answer = page.go_to("/admin/login", "")?;
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
            ("//evil.example/admin", false),
            ("/admin.evil.example", false),
            ("https://evil.example/admin/", false),
            ("/admin/\\evil", false),
            ("/api/docs", false),
        ] {
            assert_eq!(is_local(path), is_ours, "{path}");
        }
    }
}
