//! What is done with a campaign: pause and resume at once, cancel, retry and delete after a page that says for how
//! many; the rate in place.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::context;
use serde_json::{Map, Value};

use super::figures::Figures;
use super::watch::failures;
use super::{find, home, shown, stale, steps, version_of};
use crate::campaign;
use crate::domain::campaign::Action;
use crate::store::reports::campaigns::CampaignView;
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::failure::Failure;
use crate::web::admin::form::{Filled, Form};
use crate::web::admin::format;
use crate::web::admin::page::Page;
use crate::web::api;
use crate::web::error::Problem;
use crate::web::page::Query;
use crate::web::reply::Reply;

pub(in crate::web::admin) async fn pause(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let (id, actor) = (*id, page.actor());
    let effect = form.once.clone().write(&state.store, move |tx| {
        campaign::pause(tx, id, &actor)?;
        Ok(Reply::ok(Value::Null))
    });
    effect.await?;
    back(&page, &form, id, "Paused. Nobody more gets it until you resume; nobody gets it twice.")
}

pub(in crate::web::admin) async fn resume(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let (id, actor, setup) = (*id, page.actor(), state.setup.get());
    let effect = form.once.clone().write(&state.store, move |tx| {
        campaign::resume(tx, id, &setup, &actor)?;
        Ok(Reply::ok(Value::Null))
    });
    effect.await?;
    back(&page, &form, id, "It goes on where it stood.")
}

/// To the page that the button stood on.
fn back(page: &Page, form: &Form, id: i64, notice: &str) -> Answer {
    let is_list = form.text("from").as_deref() == Some("list");
    let place = if is_list { "/admin/campaigns".to_owned() } else { home(id) };
    page.go_to(&place, notice)
}

/// The page of a question: what would happen to how many.
#[derive(Clone, Copy)]
struct Question {
    template: &'static str,
    word: &'static str,
    action: Action,
}

const CANCEL: Question =
    Question { template: "campaigns/cancel.html", word: "Cancel", action: Action::Cancel };
const RETRY: Question =
    Question { template: "campaigns/retry.html", word: "Retry", action: Action::RetryFailed };
const DELETE: Question =
    Question { template: "campaigns/delete.html", word: "Delete", action: Action::Delete };

fn ask(
    page: &Page,
    view: &CampaignView,
    question: Question,
    (filled, chosen): (&Filled, Option<Vec<i64>>),
) -> Answer {
    question.action.check(view.campaign.status).map_err(campaign::CampaignError::from)?;
    let figures = Figures::of(&view.counts);
    let rows = failures(&view.counts);
    let is_chosen =
        |code: i64, may_help: bool| chosen.as_ref().map_or(may_help, |codes| codes.contains(&code));
    let values = context! {
        title => format!("{}: {}", question.word, view.campaign.plan.name),
        section => "campaigns",
        campaign => shown::row(view, &page.zone, page.now()),
        figures => figures.value(),
        others => figures.total - figures.open(),
        failures => rows
            .iter()
            .map(|row| context! {
                code => row.code,
                text => row.text.clone(),
                what_to_do => row.what_to_do.clone(),
                people => row.people,
                is_chosen => is_chosen(row.code, row.may_help),
            })
            .collect::<Vec<_>>(),
        chosen_people => rows.iter().filter(|r| is_chosen(r.code, r.may_help)).map(|r| r.people).sum::<i64>(),
        form => filled.value(),
    };
    page.show_as(filled.status(), question.template, values)
}

pub(in crate::web::admin) async fn ask_cancel(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let view = find(&state.store, *id, page.now()).await?;
    ask(&page, &view, CANCEL, (&Filled::default(), None))
}

pub(in crate::web::admin) async fn cancel(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let (id, actor) = (*id, page.actor());
    let effect = async {
        campaign::cancel(&state.store, id, actor).await?;
        Ok(Reply::ok(Value::Null))
    };
    form.once.clone().around(&state.store, effect).await?;
    let view = find(&state.store, id, page.now()).await?;
    let figures = Figures::of(&view.counts);
    let notice = format!(
        "Cancelled. {} people do not get it; what was handed over stays as it is.",
        format::number(figures.cancelled)
    );
    page.go_to(&home(id), &notice)
}

pub(in crate::web::admin) async fn ask_retry(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Answer {
    let mut query = Query::of(&request)?;
    let codes: Vec<i64> = query.prefixed("codes").iter().filter_map(|(_, code)| code.parse().ok()).collect();
    query.finish()?;
    let view = find(&state.store, *id, page.now()).await?;
    ask(&page, &view, RETRY, (&Filled::default(), (!codes.is_empty()).then_some(codes)))
}

pub(in crate::web::admin) async fn retry(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let codes: Vec<i64> = form.all("codes").iter().filter_map(|code| code.parse().ok()).collect();
    let id = *id;
    if codes.is_empty() {
        let problem = Problem::field("codes", "Choose at least one line.");
        let view = find(&state.store, id, page.now()).await?;
        return ask(&page, &view, RETRY, (&Filled::refused(&form, problem)?, Some(codes)));
    }
    let (actor, rules) = (page.actor(), state.rules.get());
    let effect = async {
        campaign::retry_some(&state.store, &rules.presets, id, Some(codes), actor).await?;
        Ok(Reply::ok(Value::Null))
    };
    form.once.clone().around(&state.store, effect).await?;
    page.go_to(&home(id), "Queued again. The same rules decide about each person once more.")
}

pub(in crate::web::admin) async fn ask_delete(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let view = find(&state.store, *id, page.now()).await?;
    ask(&page, &view, DELETE, (&Filled::default(), None))
}

pub(in crate::web::admin) async fn delete(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let id = *id;
    let effect = form.once.clone().write(&state.store, move |tx| {
        api::campaigns::delete(tx, id)?;
        Ok(Reply::ok(Value::Null))
    });
    effect.await?;
    page.go_to("/admin/campaigns", "The draft was deleted.")
}

pub(in crate::web::admin) async fn clone(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let id = *id;
    let effect = form.once.clone().write(&state.store, move |tx| {
        let copy = campaign::clone(tx, id)?;
        Ok(Reply::created(format!("/admin/campaigns/{}/audience", copy.id), Value::Null))
    });
    page.go(&effect.await?, "This is a copy, as a draft. Change what is different this time.")
}

pub(in crate::web::admin) async fn ask_rate(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let view = find(&state.store, *id, page.now()).await?;
    rate_page(&page, &state, &view, &filled_rate(&view))
}

fn filled_rate(view: &CampaignView) -> Filled {
    let plan = &view.campaign.plan;
    let mut values = vec![("version", view.campaign.version.to_string())];
    values.extend(plan.rate_limit_per_second.map(|rate| ("rate_limit_per_second", shown::plain(rate))));
    values.extend(plan.spend_cap_micros.map(|cap| ("spend_cap", crate::domain::price::amount(cap))));
    Filled::with(values)
}

fn rate_page(page: &Page, state: &State, view: &CampaignView, filled: &Filled) -> Answer {
    Action::ChangeRate.check(view.campaign.status).map_err(campaign::CampaignError::from)?;
    let values = context! {
        title => format!("Rate: {}", view.campaign.plan.name),
        section => "campaigns",
        campaign => shown::row(view, &page.zone, page.now()),
        form => filled.value(),
        currency => state.rules.get().prices.currency().as_str(),
    };
    page.show_as(filled.status(), "campaigns/rate.html", values)
}

pub(in crate::web::admin) async fn rate(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let (id, actor, config) = (*id, page.actor(), state.config.get());
    let mut patch = Map::new();
    for name in ["rate_limit_per_second", "spend_cap"] {
        // The small form beside the figure has the rate alone.
        if form.raw(name).is_some() {
            patch.insert(name.to_owned(), steps::number(&form, name));
        }
    }
    let version = version_of(&form);
    let outcome = form.once.clone().write(&state.store, move |tx| {
        let campaign = api::campaigns::find(tx.conn(), id)?;
        version.check(campaign.version).map_err(stale)?;
        api::campaigns::edit(tx, &config, &campaign, patch, &actor)?;
        Ok(Reply::ok(Value::Null))
    });
    let outcome = outcome.await;
    let view = find(&state.store, id, page.now()).await?;
    match outcome {
        Ok(_) => {
            let now = view.campaign.plan.rate_limit_per_second.map(shown::plain);
            let notice = now.map_or_else(
                || "It goes as fast as the sender may, from now on.".to_owned(),
                |rate| format!("At most {rate} parts a second from now on."),
            );
            page.go_to(&home(id), &notice)
        }
        Err(problem) => {
            let mut filled = Filled::refused(&form, problem)?;
            filled.set("version", view.campaign.version.to_string());
            rate_page(&page, &state, &view, &filled)
        }
    }
}

impl From<crate::domain::campaign::WrongState> for Failure {
    fn from(wrong: crate::domain::campaign::WrongState) -> Failure {
        campaign::CampaignError::from(wrong).into()
    }
}
