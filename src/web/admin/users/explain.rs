//! Why a person gets a campaign, or not: every question of the gate with its answer.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::context;

use super::super::page::Page;
use super::super::{Answer, render, words};
use super::{find, person_value};
use crate::campaign::{Question, explain};
use crate::domain::message::Kind;
use crate::domain::phone::Channel;
use crate::store::campaigns;
use crate::web::State;
use crate::web::api::{audience, explain as api};
use crate::web::error::Problem;
use crate::web::page::Query;

/// Campaigns to choose from.
const CAMPAIGNS: usize = 50;

/// `GET /admin/users/{id}/explain?campaign=`; without one, about a plain marketing message by SMS.
pub(in super::super) async fn show(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Answer {
    let mut query = Query::of(&request)?;
    let campaign = query.text("campaign").filter(|text| !text.is_empty());
    query.finish()?;
    let campaign_id = match campaign {
        None => None,
        Some(text) => match text.parse::<i64>() {
            Ok(id) => Some(id),
            Err(_) => return Err(Problem::field("campaign", "the number of a campaign").into()),
        },
    };
    let question = campaign_id.map_or(Question::Plain(Channel::Sms, Kind::Marketing), Question::Campaign);
    let (house, now, id) = (audience::house(&state), page.now(), *id);
    let (user, told, campaigns) = state
        .store
        .read(move |conn| {
            let user = find(conn, id)?;
            let told = api::shape(&explain(conn, &house, user.id, question, now)?);
            let campaigns = campaigns::list(conn, None, i64::MAX, CAMPAIGNS)?;
            Ok::<_, super::super::failure::Failure>((user, told, campaigns))
        })
        .await?;
    let campaigns: Vec<_> = campaigns
        .into_iter()
        .map(|campaign| {
            context! {
                id => campaign.id,
                name => campaign.plan.name.clone(),
                status => words::word("campaign", campaign.status.as_str()),
            }
        })
        .collect();
    let values = context! {
        title => format!("Why {}", super::person::name_or_number(&page, &user)),
        section => "users",
        person => person_value(&user),
        told => render::values(&told),
        campaigns,
        campaign_id,
    };
    if page.is_htmx {
        return page.part("users/_why.html", values);
    }
    page.show("users/explain.html", values)
}
