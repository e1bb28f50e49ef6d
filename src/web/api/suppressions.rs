//! `/suppressions`: numbers never to be sent to, whether we hold the person or not. The list keeps keyed
//! hashes, so it can be asked about a number, and can't be read out.

use actix_web::HttpRequest;
use actix_web::web::Data;
use serde_json::{Value, json};

use super::{Answer, users};
use crate::domain::phone::Phone;
use crate::store::suppressions::{self, REASONS, Suppression};
use crate::store::{StoreError, Tx};
use crate::web::State;
use crate::web::auth::{Read, Scoped, Write};
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::suppressions as shapes;
use crate::web::openapi::shapes::{Page, Paging};
use crate::web::page::Query;
use crate::web::reply::{Reply, time, time_or_null};

/// Numbers of one request; longer lists come as an import with `mode: suppress`.
const MAX_PHONES: usize = 200;
/// Longest `source`, in characters.
const MAX_SOURCE: usize = 200;
/// Bytes of a hash that are shown: enough to tell rows apart.
const SHOWN: usize = 6;
/// Reasons that a caller may give.
const GIVEN: [&str; 3] = ["do_not_contact", "opted_out_elsewhere", "complaint"];

fn shape(row: &Suppression) -> Value {
    let prefix: String = row.address_hash.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    json!({
        "id": row.id,
        "hash": prefix,
        "reason": row.reason,
        "source": row.source,
        "phone": row.phone,
        "user_id": row.user_id,
        "erased_at": time_or_null(row.erased_at),
        "created_at": time(row.created_at),
    })
}

/// Lists numbers never to be sent to, newest first.
///
/// The list keeps keyed hashes: it can be asked about a number, and can't be read out.
#[utoipa::path(get, path = "/suppressions", operation_id = "list_suppressions",
    params(Paging, shapes::SuppressionFilters), responses((status = 200, body = Page<shapes::Suppression>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("suppressions");
    let phone = users::read_phone(&mut query);
    let known = |word: &str| REASONS.into_iter().find(|reason| *reason == word);
    let reason = query.choice("reason", known, &REASONS);
    query.finish()?;
    let key = state.store.key().clone();
    let rows = state
        .store
        .read(move |conn| {
            let Some(phone) = phone else {
                return suppressions::list(conn, reason, page.before, page.fetch());
            };
            let found = suppressions::find(conn, &key, phone.as_str())?;
            let fits =
                |row: &Suppression| row.id < page.before && reason.is_none_or(|reason| row.reason == reason);
            Ok::<_, StoreError>(found.into_iter().filter(fits).collect())
        })
        .await?;
    Ok(Reply::ok(page.answer(rows, |row| row.id, shape)))
}

/// What a POST wants.
struct Wanted {
    phones: Vec<Phone>,
    reason: &'static str,
    source: Option<String>,
}

fn read_new(mut fields: Fields) -> Result<Wanted, Problem> {
    let mut texts: Vec<(String, String)> = Vec::new();
    match (fields.has("phone"), fields.has("phones")) {
        (true, true) => {
            drop((fields.take("phone"), fields.take("phones")));
            fields.error("phones", "give either phone or phones");
        }
        (false, false) => fields.error("phone", "missing; give phone, or phones for several"),
        (true, false) => texts.push(("phone".to_owned(), fields.required_text("phone", 100))),
        (false, true) => {
            let many = fields.texts("phones", MAX_PHONES);
            if many.is_empty() && !fields.has_error("phones") {
                fields.error("phones", format!("1 to {MAX_PHONES} numbers; more come as an import"));
            }
            texts.extend(many.into_iter().enumerate().map(|(n, text)| (format!("phones[{n}]"), text)));
        }
    }
    let mut phones: Vec<Phone> = Vec::with_capacity(texts.len());
    for (field, text) in texts {
        match Phone::parse(&text, None) {
            Ok(phone) if phones.contains(&phone) => {}
            Ok(phone) => phones.push(phone),
            Err(_) if fields.has_error(&field) => {}
            Err(error) => fields.error(&field, error.to_string()),
        }
    }
    let known = |word: &str| GIVEN.into_iter().find(|reason| *reason == word);
    let reason = fields.choice("reason", known, &GIVEN).unwrap_or("do_not_contact");
    let source = fields.text("source", MAX_SOURCE).filter(|source| !source.trim().is_empty());
    fields.finish()?;
    Ok(Wanted { phones, reason, source })
}

/// Puts numbers on the list of those never to be sent to, whether we hold the person or not.
///
/// 201 when a number joined the list, 200 when all stood there. From the answer on no request to one of them begins;
/// what waited is cancelled. Longer lists come as an import with `mode: suppress`.
#[utoipa::path(post, path = "/suppressions", operation_id = "create_suppressions",
    request_body = shapes::NewSuppressions,
    responses((status = 201, body = shapes::Suppressed), (status = 200, body = shapes::Suppressed)))]
pub(super) async fn create(caller: Scoped<Write>, state: Data<State>, post: Post) -> Answer {
    let wanted = read_new(post.body.fields()?)?;
    let actor = caller.actor();
    post.once.write(&state.store, move |tx| insert(tx, &wanted, &actor)).await
}

fn insert(tx: &Tx<'_>, wanted: &Wanted, actor: &str) -> Answer {
    let source = wanted.source.as_deref().unwrap_or(actor);
    let (mut added, mut shown) = (0, Vec::with_capacity(wanted.phones.len()));
    for phone in &wanted.phones {
        let is_new = suppressions::insert_by(tx, phone.as_str(), (wanted.reason, source), actor)?;
        added += usize::from(is_new);
        let row = suppressions::find(tx.conn(), tx.key(), phone.as_str())?;
        shown.push(row.as_ref().map_or(Value::Null, shape));
    }
    let body = json!({"added": added, "unchanged": shown.len() - added, "data": shown});
    Ok(if added > 0 { Reply::created("/api/v1/suppressions", body) } else { Reply::ok(body) })
}

/// Takes a number off the list.
///
/// What was cancelled stays so.
#[utoipa::path(delete, path = "/suppressions", operation_id = "delete_suppression",
    params(("phone" = String, Query, description = "Which number.", example = "+14155550101")),
    responses((status = 204), (status = 404, description = "The number is not on the list."),
        (status = 409, description = "The person was erased and promised to be left alone: only their own START leads back.")))]
pub(super) async fn remove(caller: Scoped<Write>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let phone = users::read_phone(&mut query);
    query.finish()?;
    let phone = phone.ok_or_else(|| Problem::field("phone", "missing: which number to take off the list"))?;
    let actor = caller.actor();
    state
        .store
        .write(move |tx| {
            let found = suppressions::find(tx.conn(), tx.key(), phone.as_str())?
                .ok_or_else(|| Problem::not_found("This number is not on the list."))?;
            if found.erased_at.is_some() {
                let detail = "The person with this number was erased and promised to be left alone. Only their own START leads back.";
                return Err(Problem::conflict(detail).with_code("erased"));
            }
            suppressions::remove(tx, phone.as_str(), &actor)?;
            Ok::<_, Problem>(())
        })
        .await?;
    Ok(Reply::no_content())
}
