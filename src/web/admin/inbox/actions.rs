//! What operators do with a conversation: answer, read, assign, close, and decide whether somebody opted out.

use actix_web::web::{Data, Path};
use serde_json::{Map, Value};

use super::thread::{View, show_thread};
use super::{Tab, operator_id};
use crate::campaign::{self, Answer as Words, CampaignError};
use crate::domain::gate::Reason;
use crate::domain::message::Status;
use crate::domain::plan::MAX_BODY;
use crate::inbound::{self, Judgement, ReviewError};
use crate::store::conversations;
use crate::store::operators::{self, Role};
use crate::store::users::{self, UserKey};
use crate::store::{Connection, Tx};
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::form::{Filled, Form};
use crate::web::admin::page::Page;
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::reply::Reply;

/// Longest reason of a decision, in characters.
const MAX_REASON: usize = 1_000;

fn tab(form: &Form) -> Tab {
    form.text("filter").as_deref().and_then(Tab::parse).unwrap_or(Tab::Open)
}

/// What is answered with, as the form says it: `body`, or `template_id` with `var.{id}.{name}` for what the person
/// lacks.
fn read_words(form: &Form) -> Result<campaign::Words, Problem> {
    if let Some(id) = form.text("template_id") {
        let id: i64 = id.parse().map_err(|_| Problem::field("template_id", "choose a template"))?;
        let prefix = format!("var.{id}.");
        let variables: Map<String, Value> = form
            .pairs()
            .filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?.to_owned(), value.trim())))
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, Value::from(value)))
            .collect();
        crate::domain::user::check_attributes(&variables)
            .map_err(|error| Problem::field("template_id", error.message))?;
        return Ok(campaign::Words::Template { id, variables });
    }
    if form.raw("body").is_none() {
        return Err(Problem::field("template_id", "choose a template"));
    }
    // By the reader of the API: both take and refuse the same.
    let mut fields = Fields::of(Value::Object(form.json(&["body"])))?;
    let body = fields.text("body", MAX_BODY);
    if body.is_none() && !fields.has_error("body") {
        fields.error("body", "write something");
    }
    fields.finish()?;
    Ok(campaign::Words::Text(body.unwrap_or_default()))
}

/// Sends an answer, once however often the button is pressed.
pub(in crate::web::admin) async fn reply(
    page: Page,
    state: Data<State>,
    user_id: Path<i64>,
    form: Form,
) -> Answer {
    let (user_id, tab) = (*user_id, tab(&form));
    let words = match read_words(&form) {
        Ok(words) => words,
        Err(problem) => return refused(&page, &state, user_id, &form, problem).await,
    };
    let answer = Words { user_id, words, operator_id: operator_id(&page) };
    let (rules, setup) = (state.rules.get(), state.setup.get());
    let outcome = form
        .once
        .clone()
        .write(&state.store, move |tx| {
            refuse_erased(tx.conn(), user_id)?;
            let standing = campaign::reply(tx, &answer, &rules, &setup).map_err(why)?;
            debug_assert_eq!(standing.status, Status::Queued);
            Ok(Reply::no_content().with_location(tab.href_of(user_id)))
        })
        .await;
    match outcome {
        Ok(_) => page.go_to(&format!("{}#last", tab.href_of(user_id)), ""),
        Err(problem) => refused(&page, &state, user_id, &form, problem).await,
    }
}

/// The page again, with the words still in the box.
async fn refused(page: &Page, state: &State, user_id: i64, form: &Form, problem: Problem) -> Answer {
    let filled = Filled::refused(form, problem)?;
    show_thread(page, state, user_id, View::of(tab(form)), &filled).await
}

/// What the gate says, in the words of somebody who just wrote an answer.
fn why(error: CampaignError) -> Problem {
    match error {
        CampaignError::Refused(reason) => {
            let next = match reason {
                Reason::OutsideWhatsappWindow | Reason::ReplyWindowClosed => "Send a template instead.",
                other => other.what_to_do(),
            };
            Problem::conflict(format!("Not sent. {} {next}", reason.says())).with_code("refused")
        }
        error => error.into(),
    }
}

fn refuse_erased(conn: &Connection, user_id: i64) -> Result<(), Problem> {
    match users::find(conn, &UserKey::Id(user_id))? {
        Some(user) if user.erased_at.is_none() => Ok(()),
        Some(_) => Err(Problem::not_found(format!("Person {user_id} was erased."))),
        None => Err(Problem::not_found(format!("There is no person {user_id}."))),
    }
}

/// Runs one small change, then goes to `location`.
async fn change<F>(
    page: Page,
    state: Data<State>,
    form: Form,
    (location, said): (String, &str),
    run: F,
) -> Answer
where
    F: FnOnce(&Tx<'_>, &str) -> Result<(), Problem> + Send + 'static,
{
    let actor = page.actor();
    form.once
        .write(&state.store, move |tx| {
            run(tx, &actor)?;
            Ok(Reply::no_content())
        })
        .await?;
    page.go_to(&location, said)
}

/// Marks what is shown as read.
pub(in crate::web::admin) async fn mark_read(
    page: Page,
    state: Data<State>,
    user_id: Path<i64>,
    form: Form,
) -> Answer {
    let upto = form.text("upto").and_then(|text| text.parse().ok()).unwrap_or(0);
    let to = tab(&form).href_of(*user_id);
    change(page, state, form, (to, ""), move |tx, _| Ok(conversations::mark_read(tx, *user_id, upto)?)).await
}

/// Marks a conversation as unread, for later or for somebody else.
pub(in crate::web::admin) async fn mark_unread(
    page: Page,
    state: Data<State>,
    user_id: Path<i64>,
    form: Form,
) -> Answer {
    let to = tab(&form).href().to_owned();
    change(page, state, form, (to, "Marked as unread."), move |tx, _| {
        conversations::mark_unread(tx, *user_id)?;
        Ok(())
    })
    .await
}

/// Closes a conversation until the person writes again.
pub(in crate::web::admin) async fn close(
    page: Page,
    state: Data<State>,
    user_id: Path<i64>,
    form: Form,
) -> Answer {
    let to = tab(&form).href().to_owned();
    change(page, state, form, (to, "Closed. It opens again when they write."), move |tx, actor| {
        conversations::close(tx, *user_id, actor)?;
        Ok(())
    })
    .await
}

/// Opens a closed conversation.
pub(in crate::web::admin) async fn reopen(
    page: Page,
    state: Data<State>,
    user_id: Path<i64>,
    form: Form,
) -> Answer {
    let to = Tab::Open.href_of(*user_id);
    change(page, state, form, (to, "Open again."), move |tx, actor| {
        conversations::reopen(tx, *user_id, actor)?;
        Ok(())
    })
    .await
}

/// Gives a conversation to somebody who may answer, or to nobody.
pub(in crate::web::admin) async fn assign(
    page: Page,
    state: Data<State>,
    user_id: Path<i64>,
    form: Form,
) -> Answer {
    let wanted = form.text("operator_id");
    let wanted: Option<i64> = match wanted.as_deref() {
        None => None,
        Some("me") => Some(operator_id(&page)),
        Some(id) => Some(id.parse().map_err(|_| Problem::field("operator_id", "is no operator"))?),
    };
    let to = tab(&form).href_of(*user_id);
    change(page, state, form, (to, ""), move |tx, actor| {
        let able = operators::able(tx.conn(), Role::Operator)?;
        if wanted.is_some_and(|id| able.iter().all(|operator| operator.id != id)) {
            return Err(Problem::conflict("This operator may not answer any more. Choose somebody else."));
        }
        conversations::assign(tx, *user_id, wanted, actor)?;
        Ok(())
    })
    .await
}

/// Records whether what a person wrote is an opt-out.
pub(in crate::web::admin) async fn judge(
    page: Page,
    state: Data<State>,
    user_id: Path<i64>,
    form: Form,
) -> Answer {
    let user_id = *user_id;
    let given = form.text("judgement");
    let judgement = given
        .as_deref()
        .and_then(Judgement::parse)
        .ok_or_else(|| Problem::field("judgement", "must be opt_out or not_opt_out"))?;
    let reason = match read_reason(&form) {
        Ok(reason) => reason,
        Err(problem) => return refused(&page, &state, user_id, &form, problem).await,
    };
    let actor = page.actor();
    let outcome = form
        .once
        .clone()
        .write(&state.store, move |tx| match inbound::judge(tx, user_id, judgement, &reason, &actor) {
            Ok(()) => Ok(Reply::no_content()),
            Err(ReviewError::NotFound(id)) => Err(Problem::not_found(format!("There is no person {id}."))),
            Err(ReviewError::Decided) => {
                Err(Problem::conflict("Nothing waits for a decision here any more."))
            }
            Err(ReviewError::Store(error)) => Err(Problem::from(error)),
        })
        .await;
    let said = match judgement {
        Judgement::OptOut => "Recorded as STOP. Nothing more is sent to them.",
        Judgement::NotOptOut => "Not an opt-out. Their consent stays as it was.",
    };
    match outcome {
        Ok(_) => page.go_to(Tab::Review.href(), said),
        Err(problem) => refused(&page, &state, user_id, &form, problem).await,
    }
}

fn read_reason(form: &Form) -> Result<String, Problem> {
    let mut fields = Fields::of(Value::Object(form.json(&["reason"])))?;
    let reason = fields.text("reason", MAX_REASON);
    if reason.is_none() && !fields.has_error("reason") {
        fields.error("reason", "say in a few words why: the ledger keeps it");
    }
    fields.finish()?;
    Ok(reason.unwrap_or_default())
}
