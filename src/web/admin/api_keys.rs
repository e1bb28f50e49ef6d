//! `/admin/settings/api-keys`: who may call the API. A secret is shown once; read and written as the API does.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::context;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::form::{Filled, Form};
use super::page::Page;
use super::render;
use super::{Answer, proof};
use crate::clock::Millis;
use crate::store::api_keys::{self, ApiKey, Scope};
use crate::web::State;
use crate::web::api::api_keys::{KeyWish, find, revoke_key, shape};
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::page::Query;
use crate::web::reply::time;

const LIST: &str = "/admin/settings/api-keys";
const DAY: Millis = 86_400_000;

/// The state of a key, as `words` has it.
fn state_of(key: &ApiKey, now: Millis) -> &'static str {
    match (key.revoked_at, key.is_in_force(now)) {
        (Some(_), _) => "revoked",
        (None, false) => "expired",
        (None, true) => "active",
    }
}

fn row(key: &ApiKey, now: Millis) -> Value {
    let mut row = shape(key);
    if let Value::Object(members) = &mut row {
        members.insert("state".to_owned(), json!(state_of(key, now)));
    }
    row
}

pub(super) async fn list(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let slice = query.page("api-keys");
    query.finish()?;
    let keys = state.store.read(move |conn| api_keys::page(conn, slice.before, slice.fetch())).await?;
    let now = page.now();
    let keys = slice.answer(keys, |key| key.id, |key| row(key, now));
    page.show(
        "settings/api_keys/list.html",
        context! { title => "API keys", section => "settings", area => "api-keys", keys => render::values(keys) },
    )
}

pub(super) async fn new(page: Page) -> Answer {
    edit(&page, &Filled::default())
}

fn edit(page: &Page, filled: &Filled) -> Answer {
    let scopes = [
        (Scope::Read, "Look at everything"),
        (Scope::Write, "Change people, imports, segments, templates, campaigns and topics"),
        (Scope::Send, "Make messages go out: launch, single messages, business events"),
        (Scope::Admin, "Keys, settings, webhook endpoints, metrics"),
    ];
    let scopes = scopes.map(|(scope, says)| context! { value => scope.as_str(), label => says });
    let values = context! {
        title => "New API key",
        section => "settings",
        area => "api-keys",
        form => filled.value(),
        scopes => scopes.to_vec(),
    };
    page.show_as(filled.status(), "settings/api_keys/new.html", values)
}

fn read(form: &Form, now: Millis) -> Result<KeyWish, Problem> {
    let mut fields = form.json(&["name"]);
    fields.insert("scopes".to_owned(), json!(form.all("scopes")));
    if let Some(days) = form.text("days") {
        let days: i64 = days
            .parse()
            .ok()
            .filter(|days| (1..=3_650).contains(days))
            .ok_or_else(|| Problem::field("days", "must be a whole number from 1 to 3,650, or empty"))?;
        fields.insert("expires_at".to_owned(), time(now + days * DAY));
    }
    KeyWish::read(Fields::inside("", fields), now)
}

pub(super) async fn create(page: Page, state: Data<State>, form: Form) -> Answer {
    if let Some(answer) = proof::ask(&page, &state, &form).await? {
        return Ok(answer);
    }
    let actor = page.actor();
    let outcome = match read(&form, page.now()) {
        Ok(wish) => form.once.clone().write(&state.store, move |tx| wish.make(tx, &actor)).await,
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(reply) => {
            let secret = reply.secret().map(|secret| secret.expose_secret().to_owned());
            let values = context! {
                title => "API key made",
                section => "settings",
                area => "api-keys",
                key => render::values(reply.body()),
                secret,
            };
            page.show("settings/api_keys/made.html", values)
        }
        Err(problem) => edit(&page, &Filled::refused(&form, problem)?),
    }
}

pub(super) async fn confirm_revoke(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    revoking(&page, &state, *id, &Filled::default()).await
}

async fn revoking(page: &Page, state: &State, id: i64, filled: &Filled) -> Answer {
    let key = state.store.read(move |conn| find(conn, id)).await?;
    if key.revoked_at.is_some() {
        return page.go_to(LIST, &format!("{} is revoked.", key.name));
    }
    let values = context! {
        title => format!("Revoke {}", key.name),
        section => "settings",
        area => "api-keys",
        key => render::values(row(&key, page.now())),
        form => filled.value(),
    };
    page.show_as(filled.status(), "settings/api_keys/revoke.html", values)
}

pub(super) async fn revoke(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let (id, actor) = (*id, page.actor());
    match state.store.write(move |tx| revoke_key(tx, id, &actor)).await {
        Ok(_) => page.go_to(LIST, "Revoked. Whoever uses this key is refused from now on."),
        Err(problem) => revoking(&page, &state, id, &Filled::refused(&form, problem)?).await,
    }
}
