//! `/users/{person}/consent`: the ledger of a person, and changes to it. Out of `stop` leads only the
//! person's own START: nobody can loosen it here.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::{Answer, users};
use crate::clock::Millis;
use crate::domain::consent::Consent;
use crate::store::ledger::{self, ConsentChange, LedgerRow};
use crate::store::users::User;
use crate::store::{Tx, Withdrawal, messages};
use crate::web::State;
use crate::web::auth::{Read, Scoped, Write};
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::{Page, Paging, users as shapes};
use crate::web::page::Query;
use crate::web::reply::{Reply, time, time_or_null};

/// The states by name.
const STATES: [&str; 4] = ["opt_in", "unknown", "opt_out", "stop"];
/// Longest source and evidence, in characters.
const MAX_SOURCE: usize = 100;
const MAX_EVIDENCE: usize = 4_000;

/// A consent that a caller tells of.
#[derive(Clone, Debug)]
pub(in crate::web) struct Wish {
    state: Consent,
    source: String,
    evidence: Option<String>,
    obtained_at: Option<Millis>,
}

impl Wish {
    /// The same for the ledger.
    pub(super) fn change<'a>(&'a self, actor: &'a str) -> ConsentChange<'a> {
        ConsentChange {
            state: self.state,
            source: &self.source,
            actor,
            evidence: self.evidence.as_deref(),
            obtained_at: self.obtained_at,
        }
    }
}

/// Reads the field `consent`: a state, or an object with where it comes from.
pub(super) fn read_wish(fields: &mut Fields, now: Millis) -> Option<Wish> {
    match fields.take("consent")? {
        Value::String(word) => match word.parse() {
            Ok(state) => Some(Wish { state, source: "api".to_owned(), evidence: None, obtained_at: None }),
            Err(_) => {
                fields.error("consent", format!("must be one of {}", STATES.join(", ")));
                None
            }
        },
        Value::Object(map) => {
            let mut inner = Fields::inside("consent", map);
            let wish = read_object(&mut inner, now);
            fields.absorb(inner);
            wish
        }
        _ => {
            fields.error("consent", "must be a state, or an object with a state");
            None
        }
    }
}

/// Reads `{"state","source","evidence","obtained_at"}`.
pub(in crate::web) fn read_object(fields: &mut Fields, now: Millis) -> Option<Wish> {
    let state = fields.choice("state", |word| word.parse().ok(), &STATES);
    if state.is_none() && !fields.has_error("state") {
        fields.error("state", "missing");
    }
    let source = fields.text("source", MAX_SOURCE).filter(|source| !source.trim().is_empty());
    let evidence = fields.text("evidence", MAX_EVIDENCE);
    let obtained_at = fields.time("obtained_at");
    if obtained_at.is_some_and(|at| at > now) {
        fields.error("obtained_at", "lies in the future");
    }
    Some(Wish { state: state?, source: source.unwrap_or_else(|| "api".to_owned()), evidence, obtained_at })
}

/// Records a change. `stop` takes back all that waits for the person, in the same transaction and before
/// the caller is answered.
pub(in crate::web) fn change(tx: &Tx<'_>, user: &User, wish: &Wish, actor: &str) -> Result<(), Problem> {
    if user.consent == Consent::Stop && wish.state != Consent::Stop {
        let detail = "This person said STOP. Only their own START leads out of it.";
        return Err(Problem::conflict(detail).with_code("stopped"));
    }
    ledger::record(tx, user.id, user.consent, &wish.change(actor))?;
    if wish.state == Consent::Stop {
        messages::cancel_of_user(tx, user.id, "stop")?;
        tx.withdraw(Withdrawal::User(user.id));
    }
    Ok(())
}

/// A row of the ledger as the contract shows it.
pub(super) fn shape(row: &LedgerRow) -> Value {
    json!({
        "id": row.id,
        "state": row.state,
        "previous": row.previous,
        "source": row.source,
        "actor": row.actor,
        "evidence": row.evidence,
        "obtained_at": time_or_null(row.obtained_at),
        "at": time(row.at),
    })
}

/// Lists what a person said about being written to, newest first.
#[utoipa::path(get, path = "/users/{person}/consent", operation_id = "list_consent", params(Paging),
    responses((status = 200, body = Page<shapes::ConsentEntry>)))]
pub(super) async fn list(
    _: Scoped<Read>,
    state: Data<State>,
    person: Path<String>,
    request: HttpRequest,
) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("consent");
    query.finish()?;
    let rows = state
        .store
        .read(move |conn| {
            let user = users::find(conn, &person)?;
            Ok::<_, Problem>(ledger::list(conn, user.id, page.before, page.fetch())?)
        })
        .await?;
    Ok(Reply::ok(page.answer(rows, |row| row.id, shape)))
}

/// Records a consent.
#[utoipa::path(post, path = "/users/{person}/consent", operation_id = "record_consent",
    request_body = shapes::NewConsent,
    responses((status = 201, body = shapes::ConsentEntry), (status = 409, description = "The person said STOP.")))]
pub(super) async fn record(
    caller: Scoped<Write>,
    state: Data<State>,
    person: Path<String>,
    post: Post,
) -> Answer {
    let mut fields = post.body.fields()?;
    let wish = read_object(&mut fields, state.store.clock().now());
    fields.finish()?;
    let wish = wish.ok_or_else(|| Problem::field("state", "missing"))?;
    let actor = caller.actor();
    post.once
        .write(&state.store, move |tx| {
            let user = users::find(tx.conn(), &person)?;
            change(tx, &user, &wish, &actor)?;
            let row = ledger::list(tx.conn(), user.id, i64::MAX, 1)?;
            let shown = row.first().map_or(Value::Null, shape);
            Ok(Reply::created(format!("/api/v1/users/{}/consent", user.id), shown))
        })
        .await
}
