//! `/admin/settings/operators`: who may log in, and what they may do. New ones set their password by a link that is
//! shown once; nobody knows the password of another.

use actix_web::web::{Data, Path};
use minijinja::{Value, context};
use serde_json::json;

use super::form::{Filled, Form};
use super::page::Page;
use super::{Answer, proof, setup_link};
use crate::domain::operator::read_email;
use crate::store::operators::{self, Change, MOST_OPERATORS, NewOperator, Operator, Role};
use crate::store::{Connection, Tx, one_time_links, second_factors, sessions};
use crate::web::State;
use crate::web::error::{FieldError, Problem};
use crate::web::reply::Reply;

const LIST: &str = "/admin/settings/operators";

/// What each role may do, in a sentence.
fn roles() -> Vec<Value> {
    let row = |role: Role, says: &str| {
        let word = role.as_str();
        context! { value => word, label => format!("{}: {says}", capital(word)) }
    };
    vec![
        row(Role::Viewer, "looks at everything, phone numbers are masked"),
        row(Role::Operator, "works with people, templates, campaigns and the inbox"),
        row(Role::Admin, "sets everything up, and says who may log in"),
    ]
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// The state of an account, as `words` has it.
fn state_of(operator: &Operator) -> &'static str {
    match (operator.is_enabled(), operator.has_password) {
        (false, _) => "disabled",
        (true, false) => "invited",
        (true, true) => "active",
    }
}

fn shape(operator: &Operator) -> Value {
    context! {
        id => operator.id,
        email => operator.email.clone(),
        role => operator.role.as_str(),
        state => state_of(operator),
        is_enabled => operator.is_enabled(),
        has_password => operator.has_password,
        password_changed_at => operator.password_changed_at,
        totp_enabled_at => operator.totp_enabled_at,
        created_at => operator.created_at,
        last_login_at => operator.last_login_at,
        disabled_at => operator.disabled_at,
    }
}

pub(super) async fn list(page: Page, state: Data<State>) -> Answer {
    let all = state.store.read(operators::list).await?;
    let without = all.iter().filter(|one| state_of(one) == "active" && one.totp_enabled_at.is_none());
    let values = context! {
        title => "Operators",
        section => "settings",
        area => "operators",
        active => all.iter().filter(|one| state_of(one) == "active").count(),
        without_second_factor => without.count(),
        rows => all.iter().map(shape).collect::<Vec<_>>(),
    };
    page.show("settings/operators/list.html", values)
}

pub(super) async fn new(page: Page) -> Answer {
    edit(&page, &Filled::default())
}

fn edit(page: &Page, filled: &Filled) -> Answer {
    let values = context! {
        title => "New operator",
        section => "settings",
        area => "operators",
        form => filled.value(),
        roles => roles(),
    };
    page.show_as(filled.status(), "settings/operators/new.html", values)
}

fn read_new(form: &Form) -> Result<NewOperator, Problem> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, message: &str| {
        faults.push(FieldError { field: field.to_owned(), message: message.to_owned() });
    };
    let email = read_email(&form.text("email").unwrap_or_default());
    let email = email.map_err(|why| fault("email", why)).unwrap_or_default();
    let role = form.text("role").as_deref().and_then(Role::parse);
    if role.is_none() {
        fault("role", "choose one");
    }
    match role {
        Some(role) if faults.is_empty() => Ok(NewOperator { email, password_hash: None, role }),
        _ => Err(Problem::fields(faults)),
    }
}

pub(super) async fn create(page: Page, state: Data<State>, form: Form) -> Answer {
    if let Some(answer) = proof::ask(&page, &state, &form).await? {
        return Ok(answer);
    }
    let actor = page.actor();
    let outcome = match read_new(&form) {
        Ok(new) => form.once.clone().write(&state.store, move |tx| invite(tx, &new, &actor)).await,
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(reply) => {
            let email = form.text("email").unwrap_or_default();
            setup_link::shown(&page, ("Send this link", &email), reply.secret())
        }
        Err(problem) => edit(&page, &Filled::refused(&form, problem)?),
    }
}

fn invite(tx: &Tx<'_>, new: &NewOperator, actor: &str) -> Result<Reply, Problem> {
    if operators::count(tx.conn())? >= MOST_OPERATORS {
        return Err(Problem::conflict(format!("There are {MOST_OPERATORS} operators already.")));
    }
    let id = operators::add(tx, new, actor)?;
    let id = id.ok_or_else(|| Problem::field("email", "there is an operator with this address already"))?;
    let token = one_time_links::insert(tx, Some(id))?;
    Ok(Reply::created(format!("{LIST}/{id}"), json!({ "id": id })).with_secret(token))
}

fn find(conn: &Connection, id: i64) -> Result<Operator, Problem> {
    operators::find(conn, id)?.ok_or_else(|| Problem::not_found(format!("There is no operator {id}.")))
}

pub(super) async fn show(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    one(&page, &state, *id, &Filled::default()).await
}

async fn one(page: &Page, state: &State, id: i64, filled: &Filled) -> Answer {
    let now = page.now();
    let read = state.store.read::<_, _, Problem>(move |conn| {
        Ok((find(conn, id)?, sessions::list(conn, id, now)?.len(), second_factors::codes_left(conn, id)?))
    });
    let (operator, places, codes_left) = read.await?;
    let is_own = page.viewer.as_ref().is_some_and(|viewer| viewer.operator.id == id);
    let values = context! {
        title => operator.email.clone(),
        section => "settings",
        area => "operators",
        operator => shape(&operator),
        is_own,
        places,
        codes_left,
        form => filled.value(),
        roles => roles(),
    };
    page.show_as(filled.status(), "settings/operators/show.html", values)
}

/// What came of a change, for the page.
fn told(change: Change, id: i64) -> Result<Reply, Problem> {
    match change {
        Change::Made => Ok(Reply::no_content()),
        Change::Unknown => Err(Problem::not_found(format!("There is no operator {id}."))),
        Change::LastAdmin => {
            let detail = "This is the last admin who can log in. Make another operator an admin first.";
            Err(Problem::conflict(detail).with_code("last_admin"))
        }
    }
}

/// Changes an account of somebody else, and goes back to it.
async fn change<F>((page, state, form): (&Page, &State, &Form), id: i64, notice: &str, effect: F) -> Answer
where
    F: FnOnce(&Tx<'_>, &str) -> Result<Reply, Problem> + Send + 'static,
{
    if let Some(answer) = proof::ask(page, state, form).await? {
        return Ok(answer);
    }
    let actor = page.actor();
    let outcome = match page.viewer.as_ref().is_some_and(|viewer| viewer.operator.id == id) {
        true => Err(Problem::conflict("This is your own account. Another admin has to do that.")),
        false => state.store.write(move |tx| effect(tx, &actor)).await,
    };
    match outcome {
        Ok(_) => page.go_to(&format!("{LIST}/{id}"), notice),
        Err(problem) => one(page, state, id, &Filled::refused(form, problem)?).await,
    }
}

pub(super) async fn set_role(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let Some(role) = form.text("role").as_deref().and_then(Role::parse) else {
        let problem = Problem::field("role", "choose one");
        return one(&page, &state, id, &Filled::refused(&form, problem)?).await;
    };
    let notice = format!("Is {} from now on, and has to log in again.", role.as_str());
    let effect = move |tx: &Tx<'_>, actor: &str| told(operators::set_role(tx, id, role, actor)?, id);
    change((&page, &state, &form), id, &notice, effect).await
}

pub(super) async fn disable(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let effect = move |tx: &Tx<'_>, actor: &str| told(operators::set_enabled(tx, id, false, actor)?, id);
    change((&page, &state, &form), id, "Disabled, and logged out everywhere.", effect).await
}

pub(super) async fn enable(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let effect = move |tx: &Tx<'_>, actor: &str| told(operators::set_enabled(tx, id, true, actor)?, id);
    change((&page, &state, &form), id, "May log in again.", effect).await
}

pub(super) async fn sign_out(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let id = *id;
    let effect = move |tx: &Tx<'_>, actor: &str| told(operators::sign_out(tx, id, actor)?, id);
    change((&page, &state, &form), id, "Logged out everywhere.", effect).await
}

pub(super) async fn remove_second_factor(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let id = *id;
    let effect = move |tx: &Tx<'_>, actor: &str| {
        // Who could log in with less than before logs in anew.
        sessions::end_all(tx, id)?;
        told(second_factors::remove(tx, id, actor)?, id)
    };
    let notice = "The second factor is removed. The password alone lets them in now.";
    change((&page, &state, &form), id, notice, effect).await
}

/// Makes a link with which an operator sets a password, and shows it this once.
pub(super) async fn link(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    if let Some(answer) = proof::ask(&page, &state, &form).await? {
        return Ok(answer);
    }
    let (id, actor) = (*id, page.actor());
    let made = form.once.clone().write(&state.store, move |tx| {
        let operator = find(tx.conn(), id)?;
        if !operator.is_enabled() {
            return Err(Problem::conflict("This operator is disabled. Let them log in again first."));
        }
        operators::note_link(tx, id, &actor)?;
        let token = one_time_links::insert(tx, Some(id))?;
        Ok(Reply::ok(json!({ "email": operator.email })).with_secret(token))
    });
    match made.await {
        Ok(reply) => {
            let email = reply.body().and_then(|body| body["email"].as_str()).unwrap_or_default();
            setup_link::shown(&page, ("Send this link", email), reply.secret())
        }
        Err(problem) => one(&page, &state, id, &Filled::refused(&form, problem)?).await,
    }
}
