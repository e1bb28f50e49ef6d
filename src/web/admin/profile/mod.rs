//! `/admin/settings/profile`: what an operator sets for themselves: how the pages look, password, second factor, and
//! where they are logged in.

pub(super) mod second_factor;

use actix_web::web::Data;
use jiff::tz::TimeZoneDatabase;
use minijinja::{Value, context};

use super::form::{Filled, Form};
use super::login::set_session;
use super::page::{Page, Viewer};
use super::{Answer, proof};
use crate::domain::operator::Theme;
use crate::domain::timezone::zone_by_name;
use crate::store::operators::{self, Preferences};
use crate::store::{StoreError, second_factors, sessions};
use crate::web::State;
use crate::web::error::Problem;

/// Where all of it is shown.
pub(super) const HERE: &str = "/admin/settings/profile";

/// The viewer; behind the login there is one.
///
/// # Errors
/// 403 where nobody is logged in.
pub(super) fn viewer(page: &Page) -> Result<Viewer, Problem> {
    page.viewer
        .clone()
        .ok_or_else(|| Problem::new(actix_web::http::StatusCode::FORBIDDEN, "Nobody is logged in."))
}

pub(super) async fn show(page: Page, state: Data<State>) -> Answer {
    answer(&page, &state, &Filled::default(), "").await
}

/// The page, with the form `which` as it was refused.
async fn answer(page: &Page, state: &State, filled: &Filled, which: &str) -> Answer {
    let viewer = viewer(page)?;
    let (id, now) = (viewer.operator.id, page.now());
    let read = state.store.read::<_, _, StoreError>(move |conn| {
        Ok((sessions::list(conn, id, now)?, second_factors::codes_left(conn, id)?))
    });
    let (places, codes_left) = read.await?;
    let places: Vec<Value> = places
        .iter()
        .map(|place| {
            let is_here = place.token_hash == viewer.token_hash;
            context! { created_at => place.created_at, last_seen_at => place.last_seen_at, is_here }
        })
        .collect();
    let form_of = |name: &str| if name == which { filled.value() } else { Filled::default().value() };
    let operator = &viewer.operator;
    let values = context! {
        title => "Your profile",
        section => "settings",
        area => "profile",
        operator => context! {
            email => operator.email.clone(),
            role => operator.role.as_str(),
            zone => operator.zone.clone(),
            theme => operator.theme.as_str(),
            has_shortcuts => operator.has_shortcuts,
            password_changed_at => operator.password_changed_at,
            totp_enabled_at => operator.totp_enabled_at,
        },
        looks => form_of("looks"),
        password => form_of("password"),
        zones => zones(),
        places,
        codes_left,
    };
    page.show_as(filled.status(), "settings/profile/show.html", values)
}

/// The zones that a person lives in: `Area/City`.
fn zones() -> Vec<String> {
    const AREAS: [&str; 10] = [
        "Africa/",
        "America/",
        "Antarctica/",
        "Arctic/",
        "Asia/",
        "Atlantic/",
        "Australia/",
        "Europe/",
        "Indian/",
        "Pacific/",
    ];
    let known = TimeZoneDatabase::bundled();
    let names = known.available().map(|name| name.as_str().to_owned());
    names.filter(|name| AREAS.iter().any(|area| name.starts_with(area))).collect()
}

pub(super) async fn save(page: Page, state: Data<State>, form: Form) -> Answer {
    let preferences = match read_preferences(&form) {
        Ok(preferences) => preferences,
        Err(problem) => return answer(&page, &state, &Filled::refused(&form, problem)?, "looks").await,
    };
    let id = viewer(&page)?.operator.id;
    let saved = move |tx: &crate::store::Tx<'_>| operators::set_preferences(tx, id, &preferences).map(drop);
    state.store.write::<_, _, StoreError>(saved).await?;
    page.go_to(HERE, "Saved.")
}

fn read_preferences(form: &Form) -> Result<Preferences, Problem> {
    let zone = match form.text("zone") {
        Some(name) => {
            let known = zone_by_name(&name).and_then(|zone| zone.iana_name().map(str::to_owned));
            let wrong = "is no zone that is known; one looks like America/Los_Angeles";
            Some(known.ok_or_else(|| Problem::field("zone", wrong))?)
        }
        None => None,
    };
    let theme = form.text("theme").as_deref().and_then(Theme::parse);
    let theme = theme.ok_or_else(|| Problem::field("theme", "choose one of the three"))?;
    Ok(Preferences { zone, theme, has_shortcuts: form.is_on("has_shortcuts") })
}

pub(super) async fn set_password(page: Page, state: Data<State>, form: Form) -> Answer {
    match change_password(&page, &state, &form).await {
        Ok(token) => {
            let mut gone =
                page.go_to(HERE, "The password is changed. Everywhere else you are logged out.")?;
            set_session(&mut gone, &state, &token)?;
            Ok(gone)
        }
        Err(problem) => answer(&page, &state, &Filled::refused(&form, problem)?, "password").await,
    }
}

/// Sets the own password; the session goes on under a new token, and all others end.
async fn change_password(page: &Page, state: &State, form: &Form) -> Result<secrecy::SecretString, Problem> {
    let viewer = viewer(page)?;
    proof::check_own(page, state, "password_now", form.raw("password_now").unwrap_or_default()).await?;
    let hash = proof::hash_new(state, form, &viewer.operator.email).await?;
    let id = viewer.operator.id;
    let changed = state.store.write::<_, _, Problem>(move |tx| {
        let _ = operators::set_password(tx, id, &hash, &operators::actor(id))?;
        Ok(sessions::begin(tx, id)?)
    });
    changed.await
}

pub(super) async fn leave_others(page: Page, state: Data<State>, _form: Form) -> Answer {
    let viewer = viewer(&page)?;
    let ended = state.store.write::<_, _, StoreError>(move |tx| {
        sessions::end_others(tx, viewer.operator.id, &viewer.token_hash)
    });
    let notice = match ended.await? {
        0 => "You are logged in nowhere else.".to_owned(),
        1 => "Logged out in 1 other place.".to_owned(),
        n => format!("Logged out in {n} other places."),
    };
    page.go_to(HERE, &notice)
}
