//! `/admin/settings/topics`: what people subscribe to.

use actix_web::web::{Data, Path};
use minijinja::context;

use super::super::Answer;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use crate::store::topics;
use crate::web::State;
use crate::web::api::topics as shared;
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::reply::Reply;

const HERE: &str = "/admin/settings/topics";

pub(in crate::web::admin) async fn list(page: Page, state: Data<State>) -> Answer {
    render(&page, &state, &Filled::default()).await
}

async fn render(page: &Page, state: &State, filled: &Filled) -> Answer {
    let rows = state.store.read(topics::list).await?;
    let rows: Vec<_> = rows
        .iter()
        .map(|topic| {
            context! { name => topic.name.clone(), is_open => topic.is_open_to_opted_in, created_at => topic.created_at }
        })
        .collect();
    let values = context! {
        title => "Topics",
        section => "settings",
        area => "topics",
        rows => rows,
        form => filled.value(),
    };
    page.show_as(filled.status(), "settings/topics.html", values)
}

fn read(form: &Form) -> Result<(String, bool), Problem> {
    let mut fields = Fields::of(form.json(&["name", "default"]).into())?;
    shared::read(&mut fields)
}

pub(in crate::web::admin) async fn create(page: Page, state: Data<State>, form: Form) -> Answer {
    let added = match read(&form) {
        Ok((name, is_open)) => {
            let effect = form.once.clone().write(&state.store, move |tx| {
                shared::add(tx, &name, is_open)?;
                Ok(Reply::no_content().with_location(HERE))
            });
            effect.await
        }
        Err(problem) => Err(problem),
    };
    match added {
        Ok(reply) => page.go(&reply, "Added."),
        Err(problem) => render(&page, &state, &Filled::refused(&form, problem)?).await,
    }
}

pub(in crate::web::admin) async fn save(
    page: Page,
    state: Data<State>,
    name: Path<String>,
    form: Form,
) -> Answer {
    let saved = match read(&form) {
        Ok((new_name, is_open)) => {
            state.store.write(move |tx| shared::change(tx, &name, Some(new_name), Some(is_open))).await
        }
        Err(problem) => Err(problem),
    };
    match saved {
        Ok(_) => page.go_to(HERE, "Saved."),
        Err(problem) => render(&page, &state, &Filled::refused(&form, problem)?).await,
    }
}

pub(in crate::web::admin) async fn remove(
    page: Page,
    state: Data<State>,
    name: Path<String>,
    form: Form,
) -> Answer {
    let shown = name.clone();
    match state.store.write(move |tx| shared::delete(tx, &name)).await {
        Ok(()) => page.go_to(HERE, &format!("The topic {shown} is gone.")),
        Err(problem) => render(&page, &state, &Filled::refused(&form, problem)?).await,
    }
}
