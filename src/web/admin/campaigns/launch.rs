//! What begins on the review page: the launch, and tests before it. What is refused comes back to that page, with what
//! was typed.

use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::look::look;
use super::review::{Typed, review_page};
use super::{CONFIRM_FROM, find, home, stale, steps, version_of};
use crate::campaign;
use crate::domain::campaign::CampaignStatus;
use crate::store::reports::campaigns::CampaignView;
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::form::{Filled, Form};
use crate::web::admin::format::{self, Fineness};
use crate::web::admin::page::Page;
use crate::web::api;
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::reply::Reply;

pub(in crate::web::admin) async fn launch(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    match start(&state, *id, &form).await {
        Ok(_) => {
            let view = find(&state.store, *id, page.now()).await?;
            page.go_to(&home(*id), &launched(&view, &page))
        }
        Err(problem) => {
            let launch = Filled::refused(&form, problem)?;
            let view = find(&state.store, *id, page.now()).await?;
            if view.campaign.launched_at.is_some() {
                return page.go_to(&home(*id), "");
            }
            let found = state.looks.known(*id, view.campaign.version, page.now()).map(Ok);
            review_page(&page, &state, &view, (found, &Typed { launch, ..Typed::default() })).await
        }
    }
}

fn launched(view: &CampaignView, page: &Page) -> String {
    match (view.campaign.status, view.campaign.plan.starts_at) {
        (CampaignStatus::Scheduled, Some(at)) if !view.campaign.plan.is_local_to_recipient => {
            format!("Scheduled for {}.", format::time(at, &page.zone, page.now(), Fineness::Minute))
        }
        (CampaignStatus::Scheduled, _) => "Scheduled.".to_owned(),
        _ => "Launched. The first messages are on their way.".to_owned(),
    }
}

/// Launches by the same road as the API. A draft asks for its number of people first; a second click finds it
/// launched and gets the first one's answer.
async fn start(state: &State, id: i64, form: &Form) -> Result<Reply, Problem> {
    let campaign = state.store.read(move |conn| api::campaigns::find(conn, id)).await?;
    let accepts = form.is_on("accept_would_expire");
    let version = version_of(form);
    let is_draft = campaign.status == CampaignStatus::Draft;
    let is_triggered = campaign.plan.trigger_type.is_some();
    if is_draft && !is_triggered {
        version.check(campaign.version).map_err(stale)?;
        let known = look(state, id, campaign.version).await?;
        check_confirmed(form, known.seen.would_send())?;
    }
    let house = api::audience::house(state);
    let clearance = campaign::clear(&state.store, &house, id, accepts).await?;
    form.once
        .clone()
        .write(&state.store, move |tx| {
            let before = api::campaigns::find(tx.conn(), id)?;
            if before.status == CampaignStatus::Draft {
                version.check(before.version).map_err(stale)?;
            }
            campaign::launch_cleared(tx, id, &house.setup, &clearance)?;
            Ok(Reply::accepted(Value::Null))
        })
        .await
}

/// From [`CONFIRM_FROM`] people on their number has to be typed.
fn check_confirmed(form: &Form, people: i64) -> Result<(), Problem> {
    if people < CONFIRM_FROM {
        return Ok(());
    }
    let typed = form.text("confirm").unwrap_or_default();
    let bare = typed.replace([',', '.', ' ', '’', '\u{202f}', '\u{a0}'], "");
    match bare.parse::<i64>() {
        Ok(number) if number == people => Ok(()),
        Ok(number) => {
            let (number, wanted) = (format::number(number), people);
            Err(Problem::field("confirm", format!("You typed {number}. Type {wanted} to confirm.")))
        }
        Err(_) => Err(Problem::field("confirm", format!("Type {people} to confirm."))),
    }
}

pub(in crate::web::admin) async fn test(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let phones: Vec<String> = form
        .text("phones")
        .unwrap_or_default()
        .split([',', ';', '\n'])
        .map(|phone| phone.trim().to_owned())
        .filter(|phone| !phone.is_empty())
        .collect();
    let (actor, setup, campaign_id) = (page.actor(), state.setup.get(), *id);
    let people = phones.len();
    let outcome = match Fields::of(json!({"phones": phones})).and_then(api::campaign_actions::read_phones) {
        Err(problem) => Err(problem),
        Ok(phones) => {
            let effect = form.once.clone().write(&state.store, move |tx| {
                campaign::send_test(tx, campaign_id, &phones, &setup, &actor)?;
                Ok(Reply::accepted(Value::Null))
            });
            effect.await
        }
    };
    match outcome {
        Ok(_) => {
            let words = if people == 1 { "A test is".to_owned() } else { format!("{people} tests are") };
            page.go_to(
                &format!("{}/review", home(*id)),
                &format!("{words} on the way. It takes nobody’s place."),
            )
        }
        Err(problem) => {
            let test = Filled::refused(&form, steps::by_field(problem))?;
            let view = find(&state.store, *id, page.now()).await?;
            let found = state.looks.known(*id, view.campaign.version, page.now()).map(Ok);
            review_page(&page, &state, &view, (found, &Typed { test, ..Typed::default() })).await
        }
    }
}
