//! `/content-templates`: templates that live at Twilio, how WhatsApp judges them, and the way to have one approved.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Map, Value, json};

use super::Answer;
use super::templates;
use crate::content::{OwnSubmission, Submission};
use crate::domain::content::{Approval, Category, faults};
use crate::store::content_templates::{self as contents, ContentRow, WantedContent};
use crate::store::{Connection, StoreError};
use crate::web::State;
use crate::web::auth::{Read, Scoped, Write};
use crate::web::body::Fields;
use crate::web::error::Problem;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::templates::Template as TemplateShape;
use crate::web::openapi::shapes::{Page, Paging, content_templates as shapes};
use crate::web::page::Query;
use crate::web::reply::{Reply, time, time_or_null};

/// Longest name and text, in characters.
const MAX_NAME: usize = 200;
const MAX_BODY: usize = 1_600;
/// Longest name that WhatsApp takes.
const MAX_WHATSAPP_NAME: usize = 512;

/// A template of Twilio's as the contract shows it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub(in crate::web) fn shape(conn: &Connection, row: &ContentRow) -> Result<Value, StoreError> {
    let used_by = match &row.sid {
        Some(sid) => contents::templates_of(conn, sid)?,
        None => Vec::new(),
    };
    Ok(json!({
        "sid": row.sid,
        "name": row.friendly_name,
        "language": row.language,
        "body": body_of(&row.types),
        "types": row.types,
        "variables": row.variables,
        "category": row.category,
        "status": if row.deleted_at.is_some() { "deleted" } else { row.status.as_str() },
        "rejection_reason": row.rejection_reason,
        "templates": used_by,
        "created_at": time(row.created_at),
        "synced_at": time_or_null(row.synced_at),
        "deleted_at": time_or_null(row.deleted_at),
    }))
}

/// The text of the first type that has one.
fn body_of(types: &Value) -> Option<&str> {
    types.as_object()?.values().find_map(|kind| kind["body"].as_str())
}

/// The template with this SID.
///
/// # Errors
/// 404.
pub(in crate::web) fn find(conn: &Connection, sid: &str) -> Result<ContentRow, Problem> {
    contents::find(conn, sid)?.ok_or_else(|| {
        Problem::not_found(format!("There is no content template {sid}. Sync to see what is new at Twilio."))
    })
}

/// Lists the templates that Twilio has.
#[utoipa::path(get, path = "/content-templates", operation_id = "list_content_templates",
    params(Paging, ("status" = Option<shapes::ContentStatus>, Query, description = "Judged so.")),
    responses((status = 200, body = Page<shapes::ContentTemplate>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("content_templates");
    let status = query.choice("status", Approval::parse, &Approval::ALL.map(Approval::as_str));
    query.finish()?;
    let body = state
        .store
        .read(move |conn| {
            let rows = contents::list(conn, status.map(Approval::as_str), page.before, page.fetch())?;
            let shown: Vec<(i64, Value)> =
                rows.iter().map(|row| Ok((row.id, shape(conn, row)?))).collect::<Result<_, StoreError>>()?;
            Ok::<_, StoreError>(page.answer(shown, |(id, _)| *id, |(_, row)| row.clone()))
        })
        .await?;
    Ok(Reply::ok(body))
}

/// Shows a template of Twilio's.
///
/// One that Twilio has no more is shown with `deleted_at`.
#[utoipa::path(get, path = "/content-templates/{sid}", operation_id = "get_content_template",
    responses((status = 200, body = shapes::ContentTemplate)))]
pub(super) async fn show(
    _: Scoped<Read>,
    state: Data<State>,
    sid: Path<String>,
    request: HttpRequest,
) -> Answer {
    Query::of(&request)?.finish()?;
    let shown = state
        .store
        .read(move |conn| {
            let row = find(conn, &sid)?;
            Ok::<_, Problem>(shape(conn, &row)?)
        })
        .await?;
    Ok(Reply::ok(shown))
}

/// Asks Twilio now which templates there are.
///
/// It is asked by itself too, every `content_sync_minutes`. A campaign whose template may not be sent any more is
/// paused before this answers.
#[utoipa::path(post, path = "/content-templates/sync", operation_id = "sync_content_templates",
    responses((status = 200, body = shapes::Synced),
        (status = 409, description = "No account is configured, or Twilio refuses."),
        (status = 503, description = "Twilio or the data file can't answer right now.")))]
pub(super) async fn sync(_: Scoped<Write>, state: Data<State>, post: Post) -> Answer {
    post.body.expect_nothing()?;
    let effect = async {
        let synced = state.contents.sync().await?;
        Ok(Reply::ok(json!({
            "seen": synced.seen,
            "changed": synced.changed,
            "deleted": synced.deleted,
            "synced_at": time(synced.at),
        })))
    };
    post.once.around(&state.store, effect).await
}

fn read_category(fields: &mut Fields) -> Option<Category> {
    let parse = |word: &str| Category::parse(word).filter(|category| category.as_str() == word);
    fields.choice("category", parse, &Category::WORDS)
}

/// A language as Twilio names it: `en`, `pt_BR`.
fn read_language(fields: &mut Fields) -> Option<String> {
    let text = fields.text("language", 10)?;
    let (language, country) = text.split_once('_').unwrap_or((&text, "XX"));
    let is_fit = (2..=3).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_lowercase())
        && country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase());
    if !is_fit && !fields.has_error("language") {
        fields.error("language", "must be a language such as en or pt_BR");
    }
    Some(text)
}

/// Names and samples; faults are noted.
fn read_samples(fields: &mut Fields) -> BTreeMap<String, String> {
    let mut samples = BTreeMap::new();
    for (name, value) in fields.map("variables").unwrap_or_default() {
        match value {
            Value::String(text) if !text.contains('\0') => {
                samples.insert(name, text);
            }
            _ => {
                fields.error("variables", format!("{name}: must be a text, an example of what stands there"))
            }
        }
    }
    samples
}

/// Reads a template to be made at Twilio.
///
/// # Errors
/// 422 with every fault.
pub(in crate::web) fn read_wanted(mut fields: Fields) -> Result<WantedContent, Problem> {
    let friendly_name = fields.required_name("name", MAX_NAME);
    let language = read_language(&mut fields);
    if language.is_none() && !fields.has_error("language") {
        fields.error("language", "missing: such as en or pt_BR");
    }
    let body = fields.required_text("body", MAX_BODY);
    let samples = read_samples(&mut fields);
    let category = read_category(&mut fields);
    if !fields.has_error("body") && !fields.has_error("variables") {
        for (field, message) in faults(&body, &samples) {
            fields.error(&field, message);
        }
    }
    fields.finish()?;
    Ok(WantedContent {
        friendly_name,
        language: language.unwrap_or_default(),
        types: json!({"twilio/text": {"body": body}}),
        variables: samples.into_iter().map(|(name, sample)| (name, Value::String(sample))).collect(),
        category: category.map(|category| category.as_str().to_owned()),
    })
}

/// Makes a template at Twilio.
///
/// What is asked for is kept before Twilio is asked, and creations go one by one: a repetition looks whether Twilio
/// made it, and makes none twice, with an `Idempotency-Key` or without.
#[utoipa::path(post, path = "/content-templates", operation_id = "create_content_template",
    request_body = shapes::NewContentTemplate,
    responses((status = 201, body = shapes::ContentTemplate),
        (status = 409, description = "The name is taken, no account is configured, or Twilio refuses."),
        (status = 503, description = "Twilio or the data file can't answer right now.")))]
pub(super) async fn create(_: Scoped<Write>, state: Data<State>, post: Post) -> Answer {
    let wanted = read_wanted(post.body.fields()?)?;
    let _turn = state.contents.turn().await;
    let effect = async {
        let (row, is_new) = state.contents.make(wanted).await?;
        let sid = row.sid.clone().unwrap_or_default();
        if !is_new {
            let detail = format!("There is a content template {:?} already: {sid}.", row.friendly_name);
            return Err(Problem::conflict(detail).with_code("duplicate").with("sid", json!(sid)));
        }
        let shown = state.store.read(move |conn| shape(conn, &row)).await?;
        Ok(Reply::created(format!("/api/v1/content-templates/{sid}"), shown))
    };
    post.once.around(&state.store, effect).await
}

/// Reads category and name; faults are noted.
fn read_submission(fields: &mut Fields) -> Submission {
    let category = read_category(fields);
    let name = fields.text("name", MAX_WHATSAPP_NAME);
    let is_fit = |name: &String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if name.as_ref().is_some_and(|name| !is_fit(name)) && !fields.has_error("name") {
        fields.error("name", "small letters, digits and _ alone");
    }
    Submission { category, name }
}

/// Asks WhatsApp to approve a template.
///
/// One that was submitted already is answered as it stands.
#[utoipa::path(post, path = "/content-templates/{sid}/submit", operation_id = "submit_content_template",
    request_body = shapes::Submission,
    responses((status = 202, body = shapes::ContentTemplate),
        (status = 409, description = "It was rejected, paused or disabled; no account is configured; or Twilio refuses."),
        (status = 503, description = "Twilio or the data file can't answer right now.")))]
pub(super) async fn submit(_: Scoped<Write>, state: Data<State>, sid: Path<String>, post: Post) -> Answer {
    let submission = read_whole_submission(post.body.fields()?)?;
    let _turn = state.contents.turn().await;
    let effect = async {
        let row = state.contents.submit(&sid, &submission).await?;
        let shown = state.store.read(move |conn| shape(conn, &row)).await?;
        Ok(Reply::accepted(shown))
    };
    post.once.around(&state.store, effect).await
}

/// Reads how a template of ours is submitted.
///
/// # Errors
/// 422 with every fault.
pub(in crate::web) fn read_own_submission(mut fields: Fields) -> Result<OwnSubmission, Problem> {
    let submission = read_submission(&mut fields);
    let language = read_language(&mut fields);
    let example = read_example(&mut fields);
    fields.finish()?;
    Ok(OwnSubmission { submission, language, example })
}

/// Reads how a template is submitted.
///
/// # Errors
/// 422 with every fault.
pub(in crate::web) fn read_whole_submission(mut fields: Fields) -> Result<Submission, Problem> {
    let submission = read_submission(&mut fields);
    fields.finish()?;
    Ok(submission)
}

fn read_example(fields: &mut Fields) -> Map<String, Value> {
    fields.map("example").unwrap_or_default()
}

/// Has a template approved by WhatsApp.
///
/// If it has no `content_sid`, one is made of its text: `{name}` becomes `{{1}}`, and the template gets a version that
/// is sent by it.
#[utoipa::path(post, path = "/templates/{id}/submit", operation_id = "submit_template",
    request_body = shapes::OwnSubmission,
    responses((status = 202, body = TemplateShape),
        (status = 409, description = "It is for SMS, was edited meanwhile, or WhatsApp said no; no account is configured; or Twilio refuses."),
        (status = 503, description = "Twilio or the data file can't answer right now.")))]
pub(super) async fn submit_own(_: Scoped<Write>, state: Data<State>, id: Path<i64>, post: Post) -> Answer {
    let wanted = read_own_submission(post.body.fields()?)?;
    let _turn = state.contents.turn().await;
    let effect = async {
        let template = state.contents.submit_own(*id, &wanted).await?;
        Ok(Reply::accepted(templates::shape(&template)).with_version(template.version))
    };
    post.once.around(&state.store, effect).await
}
