//! `/admin/campaigns/new` and the steps `/{id}/audience`, `/message`, `/schedule`: each its own address, saved on
//! Next, read and checked by the readers of the API.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::{Value as Shown, context};
use serde_json::{Map, Value, json};

use super::steps::{self, Step, by_field};
use super::{find, home, preview, shown, stale, version_of};
use crate::campaign::Audience;
use crate::clock::Millis;
use crate::domain::campaign::Action;
use crate::domain::phone::Channel;
use crate::store::campaigns::{self, CampaignPlan};
use crate::store::reports::campaigns::CampaignView;
use crate::store::templates::TemplateRow;
use crate::store::users;
use crate::store::{Connection, StoreError, Tx, segments, senders, templates, topics};
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::form::{Filled, Form};
use crate::web::admin::page::Page;
use crate::web::api;
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::page::Query;
use crate::web::reply::Reply;

/// Segments and templates offered in a list, at most.
const OFFERED: usize = 200;
/// Below this many people are counted exactly while somebody chooses.
const COUNTED: i64 = 10_000;
/// What the lists of the forms offer.
struct Offer {
    segments: Vec<(i64, String)>,
    templates: Vec<TemplateRow>,
    topics: Vec<String>,
    senders: Vec<(String, Channel)>,
    people: i64,
}

fn offer(conn: &Connection) -> Result<Offer, StoreError> {
    let found = segments::list(conn, i64::MAX, OFFERED)?;
    let configured = senders::list(conn)?.into_iter().filter(|sender| sender.is_configured);
    Ok(Offer {
        segments: found.into_iter().map(|segment| (segment.id, segment.name)).collect(),
        templates: templates::list(conn, i64::MAX, OFFERED)?,
        topics: topics::list(conn)?.into_iter().map(|topic| topic.name).collect(),
        senders: configured.map(|sender| (sender.address.clone(), sender.channel())).collect(),
        people: users::counts(conn)?.iter().map(|(_, n)| n).sum(),
    })
}

impl Offer {
    fn value(&self, presets: &[String]) -> Shown {
        let templates = self.templates.iter().map(|template| {
            let approval = template.text.known.as_ref().map(|known| known.status.clone());
            context! {
                id => template.id,
                name => template.name.clone(),
                channel => shown::channel(template.text.channel),
                approval,
            }
        });
        context! {
            segments => self.segments.iter().map(|(id, name)| context! { id => *id, name => name.clone() }).collect::<Vec<_>>(),
            templates => templates.collect::<Vec<_>>(),
            topics => self.topics.clone(),
            senders => self.senders
                .iter()
                .map(|(address, channel)| context! { address, channel => shown::channel(*channel) })
                .collect::<Vec<_>>(),
            presets => presets.to_vec(),
            people => self.people,
        }
    }
}

fn presets(state: &State) -> Vec<String> {
    state.config.get().quiet_hours.names().map(str::to_owned).collect()
}

pub(in crate::web::admin) async fn new(page: Page, state: Data<State>) -> Answer {
    new_page(&page, &state, &Filled::with([("kind", "marketing".to_owned())])).await
}

async fn new_page(page: &Page, state: &State, filled: &Filled) -> Answer {
    let offer = state.store.read(offer).await?;
    let values = context! {
        title => "New campaign",
        section => "campaigns",
        lead => Step::Audience.question(),
        steps => steps::shown(None, Some(Step::Audience)),
        form => filled.value(),
        offer => offer.value(&[]),
        has_template => !offer.templates.is_empty(),
    };
    page.show_as(filled.status(), Step::Audience.template(), values)
}

pub(in crate::web::admin) async fn create(page: Page, state: Data<State>, form: Form) -> Answer {
    let patch = Step::Audience.patch(&form);
    let wants_everybody = form.text("segment_id").as_deref() == Some("everybody");
    let config = state.config.get();
    let outcome = form.once.clone().write(&state.store, move |tx| {
        let patch = with_everybody(tx, patch, wants_everybody)?;
        let mut fields: Map<String, Value> =
            patch.into_iter().filter(|(_, value)| !value.is_null()).collect();
        // The next step asks for the text; until then it is the newest one.
        let newest = templates::list(tx.conn(), i64::MAX, 1)?.pop();
        let newest = newest.ok_or_else(|| Problem::conflict("There is no template yet. Write one first."))?;
        fields.insert("template_id".to_owned(), json!(newest.id));
        fields.insert("channel".to_owned(), json!(newest.text.channel.as_str()));
        let plan = api::campaign_plan::read_plan(tx.conn(), &config, Fields::of(Value::Object(fields))?)?;
        let id = campaigns::insert(tx, &plan)?;
        Ok(Reply::created(Step::Audience.next(id), Value::Null))
    });
    match outcome.await {
        Ok(reply) => page.go(&reply, ""),
        Err(problem) => new_page(&page, &state, &Filled::refused(&form, by_field(problem))?).await,
    }
}

/// Puts the segment of everybody in, which is made when somebody wants it first.
fn with_everybody(
    tx: &Tx<'_>,
    mut patch: Map<String, Value>,
    is_wanted: bool,
) -> Result<Map<String, Value>, StoreError> {
    if is_wanted {
        patch.insert("segment_id".to_owned(), json!(segments::everybody(tx)?));
    }
    Ok(patch)
}

pub(in crate::web::admin) async fn audience_step(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    step(&page, &state, *id, Step::Audience).await
}

pub(in crate::web::admin) async fn message_step(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    step(&page, &state, *id, Step::Message).await
}

pub(in crate::web::admin) async fn schedule_step(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    step(&page, &state, *id, Step::Schedule).await
}

/// The form of a step; a campaign that was launched has none any more.
async fn step(page: &Page, state: &State, id: i64, step: Step) -> Answer {
    let view = find(&state.store, id, page.now()).await?;
    if Action::Edit.check(view.campaign.status).is_err() {
        return page
            .go_to(&home(id), "It was launched: only its rate and its cap on spending can change now.");
    }
    let filled = step.filled(&view.campaign, view.topic.as_deref());
    step_page(page, state, &view, (step, &filled)).await
}

async fn step_page(
    page: &Page,
    state: &State,
    view: &CampaignView,
    (step, filled): (Step, &Filled),
) -> Answer {
    let plan = view.campaign.plan.clone();
    let introduction = state.rules.get().introduction.clone();
    let now = page.now();
    let (offer, reader) = state
        .store
        .read(move |conn| {
            let reader = match step {
                Step::Message => preview::of(conn, &plan, None, introduction.as_deref(), now)?,
                _ => Shown::UNDEFINED,
            };
            Ok::<_, Problem>((offer(conn)?, reader))
        })
        .await?;
    let values = context! {
        title => format!("{}: {}", step_title(step), view.campaign.plan.name),
        section => "campaigns",
        lead => step.question(),
        campaign => shown::row(view, &page.zone, now),
        steps => steps::shown(Some(view.campaign.id), Some(step)),
        form => filled.value(),
        offer => offer.value(&presets(state)),
        preview => reader,
        has_template => true,
        zone => page.zone.iana_name().unwrap_or("UTC"),
        currency => state.rules.get().prices.currency().as_str(),
    };
    page.show_as(filled.status(), step.template(), values)
}

fn step_title(step: Step) -> &'static str {
    match step {
        Step::Audience => "Audience",
        Step::Message => "Message",
        Step::Schedule => "Schedule",
    }
}

pub(in crate::web::admin) async fn save_audience(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    save(&page, &state, (*id, Step::Audience), form).await
}

pub(in crate::web::admin) async fn save_message(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    save(&page, &state, (*id, Step::Message), form).await
}

pub(in crate::web::admin) async fn save_schedule(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    save(&page, &state, (*id, Step::Schedule), form).await
}

async fn save(page: &Page, state: &State, (id, step): (i64, Step), form: Form) -> Answer {
    let mut patch = step.patch(&form);
    let wants_everybody = form.text("segment_id").as_deref() == Some("everybody");
    let (version, actor, config) = (version_of(&form), page.actor(), state.config.get());
    let outcome = form.once.clone().write(&state.store, move |tx| {
        let campaign = api::campaigns::find(tx.conn(), id)?;
        version.check(campaign.version).map_err(stale)?;
        Action::Edit.check(campaign.status).map_err(|wrong| Problem::conflict(wrong.to_string()))?;
        if step == Step::Message {
            // The text says over which channel it goes.
            let template = patch.get("template_id").and_then(Value::as_i64);
            let template = template.map(|id| templates::find(tx.conn(), id)).transpose()?.flatten();
            let channel = template.map_or(campaign.plan.channel, |template| template.text.channel);
            patch.insert("channel".to_owned(), json!(channel.as_str()));
        }
        let patch = with_everybody(tx, patch, wants_everybody)?;
        api::campaigns::edit(tx, &config, &campaign, patch, &actor)?;
        Ok(Reply::ok(Value::Null))
    });
    match outcome.await {
        Ok(_) if form.text("then").as_deref() == Some("close") => {
            page.go_to("/admin/campaigns", "Saved as a draft. Nothing is sent until you launch.")
        }
        Ok(_) => page.go_to(&step.next(id), ""),
        Err(problem) => {
            let mut filled = Filled::refused(&form, by_field(problem))?;
            let view = find(&state.store, id, page.now()).await?;
            filled.set("version", view.campaign.version.to_string());
            step_page(page, state, &view, (step, &filled)).await
        }
    }
}

/// How many people a choice of segments has, while it is being made.
pub(in crate::web::admin) async fn people(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let segment = query.text("segment_id").unwrap_or_default();
    let excluded: Vec<i64> =
        query.prefixed("exclude_segment_ids").iter().filter_map(|(_, id)| id.parse().ok()).collect();
    let now = page.now();
    let started = std::time::Instant::now();
    let counted = state.store.read(move |conn| count(conn, &segment, excluded, now)).await;
    let values = match counted {
        Ok(Some((people, left))) => context! {
            people,
            left,
            is_more => people > COUNTED,
            took => i64::try_from(started.elapsed().as_millis()).unwrap_or(0),
            counted => COUNTED,
        },
        Ok(None) => context! { is_open => true },
        Err(problem) if problem.status().is_server_error() => context! { is_slow => true },
        Err(problem) => return Err(problem.into()),
    };
    page.part("campaigns/_people.html", values)
}

/// How many are in the segment and how many are left of them, both counted no further than [`COUNTED`] and one.
fn count(
    conn: &Connection,
    segment: &str,
    excluded: Vec<i64>,
    now: Millis,
) -> Result<Option<(i64, i64)>, Problem> {
    if segment == "everybody" && excluded.is_empty() {
        let people = users::counts(conn)?.iter().map(|(_, n)| n).sum();
        return Ok(Some((people, people)));
    }
    let Ok(segment_id) = segment.parse::<i64>() else {
        return Ok(None);
    };
    let mut plan = CampaignPlan::new("", segment_id, 0);
    let (whole, _) = Audience::of_plan(conn, &plan)?;
    let people = users::count_up_to(conn, &whole.predicate(now), COUNTED + 1)?;
    if excluded.is_empty() {
        return Ok(Some((people, people)));
    }
    plan.exclude_segment_ids = excluded;
    let (rest, _) = Audience::of_plan(conn, &plan)?;
    Ok(Some((people, users::count_up_to(conn, &rest.predicate(now), COUNTED + 1)?)))
}
