//! What else decides whether a person is written to: topics, the list of numbers never sent to, a dead number.

use actix_web::web::{Data, Path};
use minijinja::context;
use serde_json::Value as Json;

use super::super::Answer;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::{find, find_for_write, person_value};
use crate::store::users;
use crate::store::{suppressions, topics};
use crate::web::State;
use crate::web::error::Problem;
use crate::web::reply::Reply;

/// Reasons for a suppression, as somebody gives them.
const REASONS: [(&str, &str); 3] = [
    ("do_not_contact", "They want no messages at all"),
    ("complaint", "They complained"),
    ("opted_out_elsewhere", "They opted out somewhere else"),
];

/// `POST /admin/users/{id}/topics`: joins or leaves a topic.
pub(in super::super) async fn set_topic(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let name = form.text("topic").unwrap_or_default();
    let joins = form.text("joins").as_deref() == Some("1");
    let (actor, sought) = (page.actor(), name.clone());
    let reply = form
        .once
        .write(&state.store, move |tx| {
            let user = find_for_write(tx.conn(), id)?;
            let topic = topics::find(tx.conn(), &sought)?
                .ok_or_else(|| Problem::not_found(format!("There is no topic “{sought}” any more.")))?;
            topics::set(tx, user.id, &topic, joins, &actor)?;
            Ok(Reply::created(format!("/admin/users/{id}"), Json::Null))
        })
        .await?;
    page.go(&reply, &format!("{} “{name}”.", if joins { "Joined" } else { "Left" }))
}

/// `POST /admin/users/{id}/reachable`: a number that proved dead is tried again.
pub(in super::super) async fn clear(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let actor = page.actor();
    let reply = form
        .once
        .write(&state.store, move |tx| {
            let user = find_for_write(tx.conn(), id)?;
            users::set_reachable(tx, user.id, None, &actor)?;
            Ok(Reply::created(format!("/admin/users/{id}"), Json::Null))
        })
        .await?;
    page.go(&reply, "The number is tried again from now on.")
}

/// `GET /admin/users/{id}/suppress`.
pub(in super::super) async fn ask(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    ask_page(&page, &state, *id, Filled::default()).await
}

async fn ask_page(page: &Page, state: &State, id: i64, filled: Filled) -> Answer {
    let user = state.store.read(move |conn| find(conn, id)).await?;
    let reasons: Vec<_> =
        REASONS.iter().map(|(value, label)| context! { value => *value, label => *label }).collect();
    page.show_as(
        filled.status(),
        "users/suppress.html",
        context! {
            title => format!("Suppress {}", super::person::name_or_number(page, &user)),
            section => "users",
            person => person_value(&user),
            form => filled.value(),
            reasons,
        },
    )
}

/// `POST /admin/users/{id}/suppress`.
pub(in super::super) async fn suppress(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let given = form.text("reason").unwrap_or_default();
    let Some((reason, _)) = REASONS.iter().find(|(reason, _)| *reason == given) else {
        let problem = Problem::field("reason", "choose one");
        return ask_page(&page, &state, id, Filled::refused(&form, problem)?).await;
    };
    let actor = page.actor();
    let source = form.text("source").unwrap_or_else(|| actor.clone());
    let reply = form
        .once
        .write(&state.store, move |tx| {
            let user = find_for_write(tx.conn(), id)?;
            if let Some(address) = user.phone.as_deref().or(user.channel_address.as_deref()) {
                suppressions::insert_by(tx, address, (reason, &source), &actor)?;
            }
            Ok(Reply::created(format!("/admin/users/{id}"), Json::Null))
        })
        .await?;
    page.go(&reply, "Suppressed. Nothing is sent to this number any more.")
}

/// `POST /admin/users/{id}/unsuppress`.
pub(in super::super) async fn lift(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let actor = page.actor();
    let reply = form
        .once
        .write(&state.store, move |tx| {
            let user = find_for_write(tx.conn(), id)?;
            let address = user.phone.or(user.channel_address).unwrap_or_default();
            let found = suppressions::find(tx.conn(), tx.key(), &address)?;
            if found.is_some_and(|found| found.erased_at.is_some()) {
                let detail = "The person with this number was erased once and promised to be left alone. Only their \
                              own START leads back.";
                return Err(Problem::conflict(detail));
            }
            suppressions::remove(tx, &address, &actor)?;
            Ok(Reply::created(format!("/admin/users/{id}"), Json::Null))
        })
        .await?;
    page.go(&reply, "Taken off the suppression list. What was cancelled stays so.")
}
