//! `/admin/settings/twilio`: who we are at Twilio and where Twilio reaches us. Twilio is asked before anything is
//! saved: credentials that it refuses never come into force.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::{Value, context};

use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::super::{Answer, guard};
use super::fields::{Change, Field};
use super::section::{filled, refill, save_fields, values};
use super::sections::{ACCOUNT, ACCOUNT_MORE, PUBLIC_URL};
use crate::config::{Config, Loaded, Setter};
use crate::store::senders;
use crate::twilio::lookup::LookupError;
use crate::web::State;
use crate::web::api::settings::{Also, faulty};
use crate::web::checkup::{Checkup, Patient, refusal};
use crate::web::error::Problem;

const HERE: &str = "/admin/settings/twilio";

/// Every field of the page.
fn fields() -> Vec<Field> {
    [ACCOUNT, ACCOUNT_MORE, PUBLIC_URL].concat()
}

pub(in crate::web::admin) async fn show(page: Page, state: Data<State>) -> Answer {
    let loaded = state.in_force.get();
    render(&page, &state, &loaded, &filled(&fields(), &loaded))
}

fn render(page: &Page, state: &State, loaded: &Loaded, form: &Filled) -> Answer {
    let values = context! {
        title => "Twilio account",
        section => "settings",
        area => "twilio",
        account => values(ACCOUNT, loaded),
        more => values(ACCOUNT_MORE, loaded),
        public_url => values(PUBLIC_URL, loaded),
        is_demo => loaded.config.twilio.simulator,
        checkup => checkup_value(state),
        form => form.value(),
    };
    page.show_as(form.status(), "settings/twilio.html", values)
}

pub(in crate::web::admin) async fn save(
    page: Page,
    state: Data<State>,
    request: HttpRequest,
    form: Form,
) -> Answer {
    match save_account(&page, &state, &fields(), &form).await {
        Ok(said) => {
            let mut answer = page.go_to(HERE, &said)?;
            guard::carry_over(&request, &state, &mut answer);
            Ok(answer)
        }
        Err(problem) => {
            let loaded = state.in_force.get();
            let refused = refill(Filled::refused(&form, problem)?, &fields(), &loaded);
            render(&page, &state, &loaded, &refused)
        }
    }
}

/// Saves these fields of the account, once Twilio took the credentials, and looks at everything anew. Returns what
/// is said of it.
///
/// # Errors
/// 422 for what Twilio refuses, 409 while demo data is in the file.
pub(super) async fn save_account(
    page: &Page,
    state: &State,
    fields: &[Field],
    form: &Form,
) -> Result<String, Problem> {
    let loaded = state.in_force.get();
    let read = Change::read(fields, form, &loaded);
    if !read.faults.is_empty() {
        return Err(Problem::fields(read.faults));
    }
    let after = loaded.patched(&read.patch, Setter::Operator).map_err(faulty)?;
    let is_other = !after.config.twilio.has_client_of(&loaded.config.twilio);
    if is_other && loaded.config.twilio.simulator {
        let detail = "Demo data is in this file, and a real account must never write to it. Remove the demo data first.";
        return Err(Problem::conflict(detail).with_code("demo_data"));
    }
    let unasked = if is_other { ask(&after.config).await? } else { None };
    // Who gives other credentials says "mended": what stopped the account is tried again.
    let actor = page.actor();
    let resumed: Also = Arc::new(move |tx| Ok(senders::resume_all(tx, &actor)?));
    save_fields(page, state, fields, form, is_other.then_some(resumed)).await?;
    look(state).await;
    Ok(match unasked {
        Some(why) => format!("Saved, but Twilio could not be asked: {why}."),
        None if is_other => {
            "Saved. Twilio knows the account, and messages go out with it from now on.".to_owned()
        }
        None => "Saved. It holds from now on.".to_owned(),
    })
}

/// Asks Twilio whether it knows the account of `config`. `Some`: it could not be asked.
async fn ask(config: &Config) -> Result<Option<String>, Problem> {
    let client =
        config.twilio.client().map_err(|error| Problem::field("twilio.api_base", error.to_string()))?;
    let Some(client) = client else {
        return Ok(None);
    };
    let secret = match config.twilio.api_key_sid.is_empty() {
        true => "twilio.auth_token",
        false => "twilio.api_key_secret",
    };
    match client.look_at_account().await {
        Ok(seen) if seen.status == "active" => Ok(None),
        Ok(seen) => Err(Problem::field(
            "twilio.account_sid",
            format!("Twilio says that this account is {}", seen.status),
        )),
        Err(error @ LookupError::Refused { http_status: 401 | 403, .. }) => {
            Err(Problem::field(secret, refusal(config, &error)))
        }
        Err(LookupError::Refused { http_status: 404, .. }) => {
            Err(Problem::field("twilio.account_sid", "Twilio knows no such account"))
        }
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// Looks at everything, and keeps what was found for whoever asks.
pub(super) async fn look(state: &State) {
    let (config, client) = (state.config.get(), state.twilio.get());
    let patient =
        Patient { config: &config, store: &state.store, client: client.as_ref().as_ref(), is_serving: true };
    let found = patient.look().await;
    state.checkup.set(Some(Arc::new(found)));
}

/// What was found last, for templates.
pub(super) fn checkup_value(state: &State) -> Value {
    let last = state.checkup.get();
    let Some(Checkup { at, findings }) = last.as_ref().as_deref() else {
        return Value::from(());
    };
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            context! {
                title => finding.topic.title(),
                verdict => finding.verdict.as_str(),
                text => capital(&finding.text),
            }
        })
        .collect();
    context! { at => at, findings => findings }
}

/// With a capital, unless it begins with a path or an address.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text.starts_with("http") => first.to_uppercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// Looks again.
pub(in crate::web::admin) async fn test(page: Page, state: Data<State>, form: Form) -> Answer {
    look(&state).await;
    let back = if form.text("back").as_deref() == Some("setup") { "/admin/settings/setup" } else { HERE };
    page.go_to(back, "Looked at everything again.")
}
