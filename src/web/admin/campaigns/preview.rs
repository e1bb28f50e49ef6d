//! `/admin/campaigns/{id}/preview`: the phone of one person with the text on it, beside the step that chooses the text
//! and before the launch.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::{Value as Shown, context};
use serde_json::{Map, Value, json};

use super::{Names, shown};
use crate::campaign::Audience;
use crate::clock::Millis;
use crate::domain::encoding;
use crate::domain::phone::Channel;
use crate::store::campaigns::CampaignPlan;
use crate::store::reports::campaigns as reports;
use crate::store::segment_sql::compile;
use crate::store::users::{self, User};
use crate::store::{Connection, StoreError, frequency, templates};
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::page::Page;
use crate::web::api;
use crate::web::error::Problem;
use crate::web::page::Query;

/// People who are looked at to find one whose message is shown.
const TRIED: usize = 200;

/// The phone of a real person with this text, while it is being chosen.
pub(in crate::web::admin) async fn show(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Answer {
    let mut query = Query::of(&request)?;
    let (template_id, person) = (query.integer("template_id"), query.text("person"));
    let introduction = state.rules.get().introduction.clone();
    let (now, id) = (page.now(), *id);
    let preview = state
        .store
        .read(move |conn| {
            let mut plan = api::campaigns::find(conn, id)?.plan;
            plan.template_id = template_id.unwrap_or(plan.template_id);
            of(conn, &plan, person.as_deref().filter(|p| !p.trim().is_empty()), introduction.as_deref(), now)
        })
        .await?;
    page.part("campaigns/_preview.html", context! { preview, campaign => context! { id } })
}

/// What one person would read. Without a wish it is somebody of the audience; `None` of it when nobody is there.
pub(super) fn of(
    conn: &Connection,
    plan: &CampaignPlan,
    wish: Option<&str>,
    introduction: Option<&crate::domain::plan::Introduction>,
    now: Millis,
) -> Result<Shown, Problem> {
    let Some(template) = templates::find(conn, plan.template_id)? else {
        return Ok(context! { is_gone => true });
    };
    let (reader, is_unknown) = match wish {
        Some(wish) => {
            let found = api::users::find(conn, wish.trim()).ok();
            let is_unknown = found.is_none();
            (found, is_unknown)
        }
        None => (somebody(conn, plan, now)?, false),
    };
    let (attributes, is_first) = match &reader {
        Some(user) => {
            let mut attributes = user.attributes.clone();
            attributes.extend(user.phone.as_ref().map(|phone| ("phone".to_owned(), json!(phone))));
            (attributes, frequency::is_first(conn, user.id)?)
        }
        None => (Map::new(), false),
    };
    let said = api::templates::rendered(&template.text, &attributes, introduction.filter(|_| is_first))?;
    let names = match &reader {
        Some(user) => reports::names(conn, &[user.id])?,
        None => Names::new(),
    };
    let word = |name: &str| said.get(name).and_then(Value::as_str);
    let forcing = word("body").filter(|_| word("encoding") == Some("UCS-2"));
    let forcing = forcing.and_then(encoding::forcing_character).map(String::from);
    Ok(context! {
        template => context! {
            id => template.id,
            name => template.name,
            locale => template.text.locale,
            channel => shown::channel(template.text.channel),
            raw => template.text.body,
        },
        person => reader.as_ref().map(|user| context! {
            id => user.id,
            name => names.get(&user.id),
            phone => user.phone.clone(),
        }),
        wish => wish,
        is_unknown,
        is_sms => template.text.channel == Channel::Sms,
        forcing,
        said => Shown::from(minijinja::value::Serde(said)),
    })
}

/// Somebody of the audience, looked for among those who came last; else whoever came last.
fn somebody(conn: &Connection, plan: &CampaignPlan, now: Millis) -> Result<Option<User>, Problem> {
    let everybody = crate::domain::segment::Definition::parse(&json!({"all": []}));
    let everybody = everybody.map_err(|_| StoreError::Internal("everybody is no segment".to_owned()))?;
    let newest = users::list(conn, &compile(&everybody, now), i64::MAX, TRIED)?;
    let wanted = match plan.segment_id {
        Some(_) => Some(Audience::of_plan(conn, plan)?.0.predicate(now)),
        None => None,
    };
    if let Some(wanted) = wanted {
        for user in &newest {
            if users::satisfies(conn, user.id, &wanted)? {
                return Ok(Some(user.clone()));
            }
        }
    }
    Ok(newest.into_iter().next())
}
