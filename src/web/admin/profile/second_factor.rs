//! `/admin/settings/profile/second-factor`: setting up an authenticator, with a QR code and the same as text, and the
//! recovery codes, which are shown once.

use actix_web::HttpResponse;
use actix_web::web::Data;
use minijinja::{Value, context};
use qrcode::{Color, EcLevel, QrCode};
use secrecy::ExposeSecret;

use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::super::{Answer, login, proof};
use super::{HERE, viewer};
use crate::domain::second_factor::Authenticator;
use crate::store::{StoreError, Tx, second_factors, sessions};
use crate::web::State;
use crate::web::error::Problem;

/// Light modules around a QR code (ISO/IEC 18004, section 9.1).
const QUIET: usize = 4;

/// A QR code as the `d` of one path over squares of 1, and how many there are on a side.
fn drawing(text: &str) -> Option<(String, usize)> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let mut path = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            path.push_str(&format!("M{} {}h1v1h-1z", at % width, at / width));
        }
    }
    Some((path, width))
}

fn qr(text: &str) -> Value {
    drawing(text).map_or(Value::UNDEFINED, |(path, width)| {
        context! { path, quiet => QUIET, side => width + 2 * QUIET }
    })
}

pub(in super::super) async fn begin(page: Page, state: Data<State>, form: Form) -> Answer {
    if let Some(answer) = proof::ask(&page, &state, &form).await? {
        return Ok(answer);
    }
    let id = viewer(&page)?.operator.id;
    state.store.write::<_, _, StoreError>(move |tx| second_factors::begin(tx, id)).await?;
    page.go_to("/admin/settings/profile/second-factor", "")
}

pub(in super::super) async fn show(page: Page, state: Data<State>) -> Answer {
    answer(&page, &state, &Filled::default()).await
}

async fn answer(page: &Page, state: &State, filled: &Filled) -> Answer {
    let operator = viewer(page)?.operator;
    // Who finds a browser open reads no secret: the way here led past the password.
    if !operator.awaits_code || proof::is_old(page) {
        return page.go_to(HERE, "");
    }
    let (id, key) = (operator.id, state.store.key().clone());
    let secret = state.store.read(move |conn| second_factors::secret(conn, &key, id)).await?;
    let Some((secret, app)) =
        secret.and_then(|(secret, _)| Authenticator::new(&secret, &operator.email).map(|app| (secret, app)))
    else {
        return page.go_to(HERE, "");
    };
    let letters: Vec<char> = secret.expose_secret().chars().collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    let values = context! {
        title => "Set up the second factor",
        section => "settings",
        area => "profile",
        form => filled.value(),
        qr => qr(&app.url()),
        url => app.url(),
        secret => groups.join(" "),
    };
    page.show_as(filled.status(), "settings/profile/second_factor.html", values)
}

pub(in super::super) async fn confirm(page: Page, state: Data<State>, form: Form) -> Answer {
    let viewer = viewer(&page)?;
    let (id, actor) = (viewer.operator.id, page.actor());
    let typed = form.text("totp_code").unwrap_or_default();
    if let Err(problem) = state.limits.logins().check_code(id) {
        return answer(&page, &state, &Filled::refused(&form, problem)?).await;
    }
    let confirmed = state.store.write::<_, _, StoreError>(move |tx| {
        let Some(codes) = second_factors::confirm(tx, id, &typed, &actor)? else {
            return Ok(None);
        };
        // From here on it takes more to be in: what began with less ends.
        sessions::end_all(tx, id)?;
        Ok(Some((codes, sessions::begin(tx, id)?)))
    });
    match confirmed.await? {
        Some((codes, token)) => {
            let mut shown = show_codes(&page, &codes, true)?;
            login::set_session(&mut shown, &state, &token)?;
            Ok(shown)
        }
        None => {
            let detail =
                "this code is wrong. Look whether the clock of the phone is right, and take the next one";
            let problem = Problem::field("totp_code", detail);
            answer(&page, &state, &Filled::refused(&form, problem)?).await
        }
    }
}

fn show_codes(
    page: &Page,
    codes: &[String],
    is_new: bool,
) -> Result<HttpResponse, super::super::failure::Failure> {
    let values = context! {
        title => "Recovery codes",
        section => "settings",
        area => "profile",
        codes => codes.to_vec(),
        is_new,
    };
    page.show("settings/profile/recovery_codes.html", values)
}

pub(in super::super) async fn renew_codes(page: Page, state: Data<State>, form: Form) -> Answer {
    if let Some(answer) = proof::ask(&page, &state, &form).await? {
        return Ok(answer);
    }
    let (id, actor) = (viewer(&page)?.operator.id, page.actor());
    let renewed = move |tx: &Tx<'_>| second_factors::renew_codes(tx, id, &actor);
    match state.store.write::<_, _, StoreError>(renewed).await? {
        Some(codes) => show_codes(&page, &codes, false),
        None => page.go_to(HERE, ""),
    }
}

pub(in super::super) async fn remove(page: Page, state: Data<State>, form: Form) -> Answer {
    if let Some(answer) = proof::ask(&page, &state, &form).await? {
        return Ok(answer);
    }
    let operator = viewer(&page)?.operator;
    let was_on = operator.totp_enabled_at.is_some();
    let (id, actor) = (operator.id, page.actor());
    let removed = move |tx: &Tx<'_>| second_factors::remove(tx, id, &actor).map(drop);
    state.store.write::<_, _, StoreError>(removed).await?;
    let notice =
        if was_on { "The second factor is removed. The password alone lets you in now." } else { "" };
    page.go_to(HERE, notice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_as_the_library_has_it() {
        let (path, width) = drawing("otpauth://totp/x?secret=AAAA").unwrap();
        // Three corners have a dark square of seven each.
        for corner in [(0, 0), (width - 7, 0), (0, width - 7)] {
            for step in 0..7 {
                assert!(path.contains(&format!("M{} {}h1v1h-1z", corner.0 + step, corner.1)), "{corner:?}");
            }
        }
        assert!(!path.contains("M1 1h1v1h-1z"), "the ring of a corner is light");
        assert!(drawing(&"x".repeat(4_000)).is_none());
    }
}
