//! Demo data: people, a segment, a text and a draft for whoever looks for the first time, and a simulator inside this
//! process that takes the messages. It goes only into an empty file without an account, and a file that holds it takes
//! no real account until it is removed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::context;
use secrecy::ExposeSecret;
use serde_json::{Value as Json, json};

use super::super::Answer;
use super::super::form::Form;
use super::super::page::Page;
use crate::config::Config;
use crate::domain::phone::Channel;
use crate::import::{self, NewImport, Options, Spool, spool_dir};
use crate::stand_in::ACCOUNT_SID;
use crate::store::campaigns::{self, CampaignPlan};
use crate::store::outcomes::lookups;
use crate::store::templates::{self, TemplateText};
use crate::store::{StoreError, Tx, demo, segments, topics, users};
use crate::web::State;
use crate::web::api::settings::{Also, By, Patch, change};
use crate::web::error::Problem;
use crate::web::etag::IfMatch;

/// 1,000 made-up people with fictional numbers, as a shop's sheet looks.
const PEOPLE: &str = include_str!("../../../commands/demo/people.csv");
/// Fictional, as the numbers of the people are.
const SENDER: &str = "+18885550100";
const BODY: &str =
    "Hi {name|default(\"there\")}, our {city} store opens early on Friday. Reply STOP to opt out.";
/// How often it is tried: what was under way may be written in the same moment, and counts what is gone.
const TRIES: usize = 5;
/// How long messages under way get to come to their end before everything goes.
const STEPS: usize = 50;
const STEP: Duration = Duration::from_millis(100);

/// Keys that lead to the simulator, and are taken away with the demo data.
const KEYS: [&str; 5] =
    ["twilio.account_sid", "twilio.auth_token", "twilio.api_base", "twilio.content_base", "twilio.simulator"];

/// Whether demo data can be loaded, as far as the configuration tells.
pub(super) fn may_load(state: &State) -> bool {
    let loaded = state.in_force.get();
    loaded.config.twilio.account_sid.is_empty() && KEYS.iter().all(|key| loaded.locked_by(key).is_none())
}

pub(in crate::web::admin) async fn load(
    page: Page,
    state: Data<State>,
    request: HttpRequest,
    _form: Form,
) -> Answer {
    if !may_load(&state) {
        let detail = "There is an account already, and demo data must never meet a real one. Start a second server with another data file for it.";
        return Err(Problem::conflict(detail).with_code("account_is_set").into());
    }
    let base = own_address(&state, request.app_config().local_addr());
    let token = format!("{:032x}", rand::random::<u128>());
    let inbound = format!("{base}/webhooks/twilio/inbound");
    let started = state.stand_in.start(0, &token, &inbound).await;
    let address =
        started.map_err(|error| StoreError::Internal(format!("the simulator did not start: {error}")))?;
    let patch = patch(&state, address.as_str(), &token, &base);
    let by = By::operator(page.actor());
    let also: Also = Arc::new(|tx| {
        if people(tx)? > 0 {
            let detail = "There are people here already. Demo data goes only into an empty file.";
            return Err(Problem::conflict(detail).with_code("not_empty"));
        }
        Ok(demo::mark(tx)?)
    });
    if let Err(problem) = change(&state, &by, IfMatch::of_version(None), patch, Some(also)).await {
        state.stand_in.stop().await;
        return Err(problem.into());
    }
    fill(&state, &page.actor()).await?;
    let said =
        "The demo data is on its way: 1,000 people, a segment, a text and a draft. Nothing is really sent.";
    page.go_to("/admin/settings/setup", said)
}

/// Where the simulator reaches this server: what is set, if it is on this machine or fixed, else where it listens.
fn own_address(state: &State, listens: SocketAddr) -> String {
    let loaded = state.in_force.get();
    if loaded.locked_by("server.public_base_url").is_some() {
        return loaded.config.server.public_base_url.as_str().trim_end_matches('/').to_owned();
    }
    let host = if listens.ip().is_unspecified() { "127.0.0.1".to_owned() } else { listens.ip().to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    format!("http://{host}:{}", listens.port())
}

fn patch(state: &State, simulator: &str, token: &str, base: &str) -> Patch {
    let values = [json!(ACCOUNT_SID), json!(token), json!(simulator), json!(simulator), json!(true)];
    let mut patch: Patch = KEYS.iter().map(|key| (*key).to_owned()).zip(values).collect();
    let loaded = state.in_force.get();
    if loaded.locked_by("server.public_base_url").is_none() {
        patch.insert("server.public_base_url".to_owned(), json!(base));
    }
    if loaded.config.senders.is_empty() {
        patch.insert(format!("senders.{SENDER}.kind"), json!("toll_free"));
        patch.insert(format!("senders.{SENDER}.rate_per_second"), json!(90.0));
    }
    patch
}

fn people(tx: &Tx<'_>) -> Result<i64, StoreError> {
    Ok(users::counts(tx.conn())?.iter().map(|(_, n)| n).sum())
}

/// People by the same import as any file, and what a first campaign needs.
async fn fill(state: &State, actor: &str) -> Result<(), Problem> {
    let failed = |error: String| Problem::from(StoreError::Internal(error));
    let options = Options::parse(&json!({"default_region": "US"}));
    let options = options.map_err(|_| failed("the options of the demo's import".to_owned()))?;
    let mut spool = Spool::create(&spool_dir(state.store.paths()), PEOPLE.len() as u64)
        .map_err(|error| failed(error.to_string()))?;
    spool.write(PEOPLE.as_bytes()).map_err(|error| failed(error.to_string()))?;
    let file = spool.finish().map_err(|error| failed(error.to_string()))?;
    let import = NewImport { file_name: "people.csv".to_owned(), file, options, actor: actor.to_owned() };
    let queued = state.store.write(move |tx| {
        let members = json!({"attribute": "plan", "operator": "in", "value": ["basic", "gold"]});
        let segment = segments::insert(tx, "Members", &members)?;
        let template = templates::insert(tx, "Friday", &TemplateText::plain(Channel::Sms, BODY))?;
        let topic_id = topics::find(tx.conn(), "general")?.map(|topic| topic.id);
        let plan = CampaignPlan {
            topic_id,
            quiet_hours: json!("off"),
            ..CampaignPlan::new("Friday", segment, template)
        };
        campaigns::insert(tx, &plan)?;
        import::queue(tx, &import).map_err(|error| Problem::from(StoreError::Internal(error.to_string())))
    });
    queued.await.map(drop)
}

/// What would go.
pub(in crate::web::admin) async fn confirm(page: Page, state: Data<State>) -> Answer {
    let (loaded_at, people) = state
        .store
        .read(|conn| {
            let people = users::counts(conn)?.iter().map(|(_, n)| n).sum::<i64>();
            Ok::<_, StoreError>((demo::loaded_at(conn)?, people))
        })
        .await?;
    let values = context! {
        title => "Remove the demo data",
        section => "settings",
        area => "setup",
        loaded_at => loaded_at,
        people => people,
    };
    page.show("settings/demo.html", values)
}

async fn empty(state: &State, by: &By, patch: &Patch) -> Result<(), Problem> {
    let mut tried = 0;
    loop {
        let emptied: Also = Arc::new(|tx| Ok(demo::remove(tx)?));
        match change(state, by, IfMatch::of_version(None), patch.clone(), Some(emptied)).await {
            Ok(_) => return Ok(()),
            Err(problem) if tried == TRIES || !problem.status().is_server_error() => return Err(problem),
            Err(_) => {
                tried += 1;
                tokio::time::sleep(STEP).await;
            }
        }
    }
}

/// As before: the simulator stands in again.
async fn go_on(state: &State, config: &Config) {
    let inbound =
        format!("{}/webhooks/twilio/inbound", config.server.public_base_url.as_str().trim_end_matches('/'));
    let (port, token) = (config.twilio.api_base.port().unwrap_or_default(), &config.twilio.auth_token);
    if let Err(error) = state.stand_in.start(port, token.expose_secret(), &inbound).await {
        tracing::error!(error = %error, "the simulator of this process did not start again");
    }
    state.twilio.set(config.twilio.client().ok().flatten());
}

pub(in crate::web::admin) async fn remove(page: Page, state: Data<State>, _form: Form) -> Answer {
    if state.store.read(demo::loaded_at).await?.is_none() {
        return page.go_to("/admin/settings/setup", "There is no demo data here.");
    }
    // Nothing new begins; what is under way comes to its end.
    state.twilio.set(None);
    for _ in 0..STEPS {
        if state.store.read(lookups::count_open).await? == 0 {
            break;
        }
        tokio::time::sleep(STEP).await;
    }
    let mut patch: Patch = KEYS.iter().map(|key| ((*key).to_owned(), Json::Null)).collect();
    let loaded = state.in_force.get();
    let is_set = |key: &String| loaded.settings.values.contains_key(key);
    let beside = ["server.public_base_url".to_owned()]
        .into_iter()
        .chain(["kind", "rate_per_second"].map(|field| format!("senders.{SENDER}.{field}")));
    patch.extend(beside.filter(is_set).map(|key| (key, Json::Null)));
    // No receipt comes any more while everything goes.
    state.stand_in.stop().await;
    if let Err(problem) = empty(&state, &By::operator(page.actor()), &patch).await {
        go_on(&state, &loaded.config).await;
        return Err(problem.into());
    }
    page.go_to("/admin/settings/setup", "The demo data is gone. Logins and settings are still here.")
}
