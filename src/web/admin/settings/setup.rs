//! `/admin/settings/setup`: eight steps in order, the current one open, and beside it what was looked at. A step says
//! what it waits for.

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::{Value, context};

use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::super::{Answer, guard};
use super::account::{checkup_value, save_account};
use super::fields::{Field, locked};
use super::section::{filled, values};
use super::sections::{ACCOUNT, PUBLIC_URL};
use super::{demo, senders};
use crate::config::{Config, Loaded};
use crate::store::reports::{self, Begun};
use crate::twilio::client::is_loopback;
use crate::web::State;
use crate::web::checkup::{Topic, Verdict};
use crate::web::error::Problem;

const HERE: &str = "/admin/settings/setup";

/// A step and whether it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Login,
    DataFile,
    Account,
    Sender,
    PublicUrl,
    People,
    Template,
    Campaign,
}

impl Step {
    const ALL: [Step; 8] = [
        Step::Login,
        Step::DataFile,
        Step::Account,
        Step::Sender,
        Step::PublicUrl,
        Step::People,
        Step::Template,
        Step::Campaign,
    ];

    fn name(self) -> &'static str {
        match self {
            Step::Login => "login",
            Step::DataFile => "data_file",
            Step::Account => "account",
            Step::Sender => "sender",
            Step::PublicUrl => "public_url",
            Step::People => "people",
            Step::Template => "template",
            Step::Campaign => "campaign",
        }
    }

    /// Whether nothing is left to do.
    fn is_done(self, config: &Config, begun: &Begun) -> bool {
        let twilio = &config.twilio;
        match self {
            Step::Login | Step::DataFile => true,
            Step::Account => !twilio.account_sid.is_empty(),
            Step::Sender => !config.senders.is_empty(),
            Step::PublicUrl => {
                let base = &config.server.public_base_url;
                let is_simulated = !twilio.account_sid.is_empty() && is_loopback(&twilio.api_base);
                is_simulated || (base.scheme() == "https" && !is_loopback(base))
            }
            Step::People => begun.people > 0,
            Step::Template => begun.has_template,
            Step::Campaign => begun.has_launched,
        }
    }

    /// What has to come first, in words.
    fn waits_for(self, config: &Config, begun: &Begun) -> Option<&'static str> {
        let is_open = |step: Step| !step.is_done(config, begun);
        match self {
            Step::Campaign => match (is_open(Step::People), is_open(Step::Template)) {
                (true, true) => Some("after 6 and 7"),
                (true, false) => Some("after 6"),
                (false, true) => Some("after 7"),
                (false, false) if config.setup_problem().is_some() => Some("after 3, 4 and 5"),
                (false, false) => None,
            },
            _ => None,
        }
    }
}

/// How many steps are open, for the badge.
pub(in crate::web::admin) fn open_steps(config: &Config, begun: &Begun) -> usize {
    Step::ALL.iter().filter(|step| !step.is_done(config, begun)).count()
}

pub(in crate::web::admin) async fn show(page: Page, state: Data<State>) -> Answer {
    render(&page, &state, &Filled::default()).await
}

async fn render(page: &Page, state: &State, form: &Filled) -> Answer {
    let begun = state.store.read(reports::begun).await?;
    let loaded = state.in_force.get();
    let config = &loaded.config;
    let current = Step::ALL.into_iter().find(|step| !step.is_done(config, &begun));
    let steps: Vec<Value> = Step::ALL
        .iter()
        .enumerate()
        .map(|(at, step)| {
            context! {
                number => at + 1,
                name => step.name(),
                is_done => step.is_done(config, &begun),
                is_now => current == Some(*step),
                waits_for => step.waits_for(config, &begun),
            }
        })
        .collect();
    let open = open_steps(config, &begun);
    let mut shown = form.clone();
    let fields: Vec<Field> = [ACCOUNT, PUBLIC_URL].concat();
    shown.fill(filled(&fields, &loaded));
    let values = context! {
        title => "Set up",
        section => "settings",
        area => "setup",
        steps => steps,
        done => Step::ALL.len() - open,
        total => Step::ALL.len(),
        account => values(ACCOUNT, &loaded),
        public_url => values(PUBLIC_URL, &loaded),
        kinds => senders::KINDS.to_vec(),
        facts => facts(state, &loaded, &begun),
        checkup => checkup_value(state),
        account_trouble => trouble(state),
        may_load_demo => demo::may_load(state) && begun.people == 0,
        is_demo => config.twilio.simulator,
        form => shown.value(),
    };
    page.show_as(form.status(), "settings/setup.html", values)
}

/// What each step that is done says.
fn facts(state: &State, loaded: &Loaded, begun: &Begun) -> Value {
    let config = &loaded.config;
    let by = |key: &str| loaded.locked_by(key).map(locked);
    let sender = config.senders.first().map(|sender| {
        context! {
            address => sender.address.trim_start_matches("whatsapp:"),
            kind => senders::kind_name(sender.kind.as_str()),
            rate => sender.rate_per_second().to_string(),
            most => sender.recipients_per_day(),
            others => config.senders.len() - 1,
        }
    });
    context! {
        data_file => config.store.path.display().to_string(),
        data_file_locked => by("store.path"),
        account_sid => config.twilio.account_sid.clone(),
        account_locked => by("twilio.account_sid"),
        is_simulated => is_loopback(&config.twilio.api_base) && !config.twilio.account_sid.is_empty(),
        sender => sender,
        public_url => config.server.public_base_url.as_str().trim_end_matches('/'),
        public_url_locked => by("server.public_base_url"),
        people => begun.people,
        problem => state.setup.get().problem.clone(),
    }
}

/// What the doctor found wrong with the account, which is set all the same: it may have been closed since.
fn trouble(state: &State) -> Option<String> {
    let last = state.checkup.get();
    let findings = &last.as_ref().as_ref()?.findings;
    let bad = |finding: &&crate::web::checkup::Finding| {
        finding.topic == Topic::Account && finding.verdict == Verdict::Bad
    };
    findings.iter().find(bad).map(|finding| finding.text.clone())
}

async fn answer(page: &Page, state: &State, form: &Form, saved: Result<String, Problem>) -> Answer {
    match saved {
        Ok(said) => page.go_to(HERE, &said),
        Err(problem) => render(page, state, &Filled::refused(form, problem)?).await,
    }
}

/// The account, from its step.
pub(in crate::web::admin) async fn account(page: Page, state: Data<State>, form: Form) -> Answer {
    let saved = save_account(&page, &state, ACCOUNT, &form).await;
    answer(&page, &state, &form, saved).await
}

/// The first sender, from its step.
pub(in crate::web::admin) async fn sender(page: Page, state: Data<State>, form: Form) -> Answer {
    let saved = senders::add(&page, &state, &form).await;
    let saved = saved.map(|_| "The sender is there, and sends as soon as the account does.".to_owned());
    answer(&page, &state, &form, saved).await
}

/// The public URL, from its step; the round trip shows at once whether it leads here.
pub(in crate::web::admin) async fn public_url(
    page: Page,
    state: Data<State>,
    request: HttpRequest,
    form: Form,
) -> Answer {
    let saved = save_account(&page, &state, PUBLIC_URL, &form).await;
    let mut answer = answer(&page, &state, &form, saved).await?;
    guard::carry_over(&request, &state, &mut answer);
    Ok(answer)
}
