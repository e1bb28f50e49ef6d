//! Erasing a person: asked with the last digits of their number, because nothing brings them back.

use actix_web::web::{Data, Path};
use minijinja::context;
use serde_json::Value as Json;

use super::super::Answer;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::{find, person_value};
use crate::privacy;
use crate::store::users::User;
use crate::web::State;
use crate::web::error::Problem;
use crate::web::reply::Reply;

/// What has to be typed: the number's digits, or the id of somebody without one.
fn expected(user: &User) -> String {
    match &user.phone {
        Some(phone) => phone.clone(),
        None => user.id.to_string(),
    }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// `GET /admin/users/{id}/erase`.
pub(in super::super) async fn ask(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    ask_page(&page, &state, *id, Filled::default()).await
}

async fn ask_page(page: &Page, state: &State, id: i64, filled: Filled) -> Answer {
    let user = state.store.read(move |conn| find(conn, id)).await?;
    page.show_as(
        filled.status(),
        "users/erase.html",
        context! {
            title => format!("Erase {}", super::person::name_or_number(page, &user)),
            section => "users",
            person => person_value(&user),
            form => filled.value(),
            has_number => user.phone.is_some(),
        },
    )
}

/// `POST /admin/users/{id}/erase`.
pub(in super::super) async fn erase(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let user = state.store.read(move |conn| find(conn, id)).await?;
    let typed = form.text("number").unwrap_or_default();
    if digits(&typed) != digits(&expected(&user)) {
        let message = if typed.is_empty() {
            "type the whole number".to_owned()
        } else {
            "this is another number".to_owned()
        };
        // What was typed is a number: it is asked anew rather than shown.
        let filled = Filled::refused_with(Vec::new(), Problem::field("number", message))?;
        let _ = form;
        return ask_page(&page, &state, id, filled).await;
    }
    let (store, actor) = (state.store.clone(), page.actor());
    let reply = form
        .once
        .around(&state.store, async move {
            privacy::erase(&store, id, &actor).await?;
            Ok(Reply::created("/admin/users", Json::Null))
        })
        .await?;
    page.go(&reply, &format!("Person {id} was erased. Their messages stay in the counts, without a name."))
}
