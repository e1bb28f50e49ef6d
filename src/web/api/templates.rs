//! `/templates`: what messages say. An edit adds a version; what went out keeps its own.

use crate::store::{Connection, Tx};
use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde_json::{Map, Value, json};

use super::{Answer, users};
use crate::domain::content::KnownContent;
use crate::domain::encoding;
use crate::domain::phone::Channel;
use crate::domain::plan::Introduction;
use crate::domain::template::{ContentVariables, RenderError, Template, warnings};
use crate::store::content_templates;
use crate::store::frequency;
use crate::store::templates::{self, TemplateRow, TemplateText};
use crate::web::State;
use crate::web::auth::{Read, Scoped, Write};
use crate::web::body::{Body, Fields};
use crate::web::error::{FieldError, Problem};
use crate::web::etag::IfMatch;
use crate::web::idempotency::Post;
use crate::web::openapi::shapes::{Page, Paging, templates as shapes};
use crate::web::page::{NoQuery, Query};
use crate::web::reply::{Reply, time, time_or_null};

/// Longest name and locale, in characters.
const MAX_NAME: usize = 200;
const MAX_LOCALE: usize = 35;
/// Attachments of one message that Twilio takes
/// (<https://www.twilio.com/docs/messaging/api/message-resource>), and the length of an address.
pub(super) const MAX_MEDIA: usize = 10;
const MAX_URL: usize = 2_000;
/// The channels by name.
pub(super) const CHANNELS: [&str; 2] = ["sms", "whatsapp"];
/// Where SMS would be cut into more parts than carriers like.
const MANY_CHARACTERS: usize = crate::domain::plan::MAX_BODY;

/// Said in a preview for somebody who has had no marketing message yet.
const FIRST_MESSAGE: &str = "the first marketing message to this person: it says what [first_message] adds; a transactional one does not";

/// A template as the contract shows it.
pub(in crate::web) fn shape(template: &TemplateRow) -> Value {
    let text = &template.text;
    let count = encoding::count(&text.body);
    json!({
        "id": template.id,
        "name": template.name,
        "channel": text.channel.as_str(),
        "locale": text.locale,
        "body": text.body,
        "media_urls": text.media_urls,
        "content_sid": text.content_sid,
        "content_variables": text.content_variables,
        "variables": variables(text),
        "warnings": warnings_of(text),
        "approval": text.known.as_ref().map(approval),
        "encoding": count.encoding.as_str(),
        "parts": parts(text.channel, &text.body),
        "characters": count.characters,
        "version": template.version,
        "created_at": time(template.created_at),
        "updated_at": time(template.updated_at),
    })
}

/// What is known of the template at Twilio.
fn approval(known: &KnownContent) -> Value {
    json!({
        "status": if known.is_deleted { "deleted" } else { known.status.as_str() },
        "reason": known.reason,
        "category": known.category,
        "synced_at": time_or_null(known.synced_at),
    })
}

fn parts(channel: Channel, body: &str) -> u32 {
    match channel {
        Channel::Sms => encoding::count(body).parts.max(1),
        Channel::Whatsapp => 1,
    }
}

/// Variables of the text, then those that only the provider's template has.
pub(in crate::web) fn variables(text: &TemplateText) -> Vec<String> {
    let mut names: Vec<String> =
        Template::parse(&text.body).map(|template| template.variables().to_vec()).unwrap_or_default();
    if let Ok(content) = ContentVariables::parse(&text.content_variables) {
        for name in content.variables() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// What a template may say but probably should not.
pub(in crate::web) fn warnings_of(text: &TemplateText) -> Vec<String> {
    let mut found = warnings(&text.body);
    if text.body.chars().count() > MANY_CHARACTERS {
        found.push(format!("longer than {MANY_CHARACTERS} characters: Twilio refuses such a text"));
    }
    if let Some(known) = &text.known {
        found.extend(known.refusal().map(|refusal| refusal.to_string()));
        found.extend(known.unfilled(text.content_variables.keys()));
    }
    found
}

/// The template with this id.
///
/// # Errors
/// 404.
pub(in crate::web) fn find(conn: &Connection, id: i64) -> Result<TemplateRow, Problem> {
    templates::find(conn, id)?.ok_or_else(|| Problem::not_found(format!("There is no template {id}.")))
}

/// Reads addresses of attachments.
pub(super) fn read_media(fields: &mut Fields, channel: Option<Channel>) -> Vec<String> {
    let urls = fields.texts("media_urls", MAX_MEDIA);
    for (index, text) in urls.iter().enumerate() {
        let is_fit = text.len() <= MAX_URL
            && url::Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.host().is_some());
        if !is_fit {
            fields.error(&format!("media_urls[{index}]"), "must be an https address");
        }
    }
    if channel == Some(Channel::Whatsapp) && urls.len() > 1 {
        fields.error("media_urls", "WhatsApp takes one");
    }
    urls
}

/// Reads name and text.
///
/// # Errors
/// 422 with every fault.
pub(in crate::web) fn read(mut fields: Fields) -> Result<(String, TemplateText), Problem> {
    let name = fields.required_name("name", MAX_NAME);
    let channel = fields.choice("channel", |word| word.parse().ok(), &CHANNELS);
    if channel.is_none() && !fields.has_error("channel") {
        fields.error("channel", "missing: sms or whatsapp");
    }
    let locale = fields.text("locale", MAX_LOCALE);
    let body = fields.text("body", crate::domain::template::MAX_BODY).unwrap_or_default();
    let media_urls = read_media(&mut fields, channel);
    let content_sid = read_content_sid(&mut fields);
    let content_variables = fields.map("content_variables").unwrap_or_default();
    if body.trim().is_empty() && content_sid.is_none() && media_urls.is_empty() && !fields.has_error("body") {
        fields.error("body", "missing; a template without a text needs a content_sid or media_urls");
    }
    if let Err(error) = Template::parse(&body)
        && !fields.has_error("body")
    {
        fields.error("body", error.to_string());
    }
    if let Err(error) = ContentVariables::parse(&content_variables) {
        fields.error("content_variables", error.to_string());
    }
    if content_sid.is_none() && !content_variables.is_empty() {
        fields.error("content_variables", "go with a content_sid");
    }
    fields.finish()?;
    let channel = channel.unwrap_or(Channel::Sms);
    Ok((
        name,
        TemplateText { channel, locale, body, media_urls, content_sid, content_variables, known: None },
    ))
}

fn read_content_sid(fields: &mut Fields) -> Option<String> {
    let sid = fields.text("content_sid", 34)?;
    let is_sid = sid.len() == 34
        && sid.strip_prefix("HX").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    if !is_sid && !fields.has_error("content_sid") {
        fields.error("content_sid", "must be HX and 32 hexadecimal digits");
    }
    Some(sid)
}

/// Lists templates, newest first.
#[utoipa::path(get, path = "/templates", operation_id = "list_templates", params(Paging),
    responses((status = 200, body = Page<shapes::Template>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("templates");
    query.finish()?;
    let rows = state.store.read(move |conn| templates::list(conn, page.before, page.fetch())).await?;
    Ok(Reply::ok(page.answer(rows, |row| row.id, shape)))
}

/// Adds a template.
#[utoipa::path(post, path = "/templates", operation_id = "create_template", request_body = shapes::NewTemplate,
    responses((status = 201, body = shapes::Template), (status = 409, description = "The name is taken.")))]
pub(super) async fn create(_: Scoped<Write>, state: Data<State>, post: Post) -> Answer {
    let (name, text) = read(post.body.fields()?)?;
    post.once
        .write(&state.store, move |tx| {
            let template = insert(tx, &name, &text)?;
            let reply = Reply::created(format!("/api/v1/templates/{}", template.id), shape(&template));
            Ok(reply.with_version(template.version))
        })
        .await
}

/// Adds what was read.
///
/// # Errors
/// 409 for a taken name, 422 for a variable that Twilio's template does not have.
pub(in crate::web) fn insert(tx: &Tx<'_>, name: &str, text: &TemplateText) -> Result<TemplateRow, Problem> {
    refuse_taken(tx.conn(), name, None)?;
    refuse_unknown_variables(tx.conn(), text)?;
    let id = templates::insert(tx, name, text)?;
    find(tx.conn(), id)
}

/// Makes what was read the next version.
///
/// # Errors
/// 404, 412, those of [`insert`], and 409 when a template in use would change its channel.
pub(in crate::web) fn change(
    tx: &Tx<'_>,
    id: i64,
    if_match: &IfMatch,
    (name, text): (&str, &TemplateText),
) -> Result<TemplateRow, Problem> {
    let present = find(tx.conn(), id)?;
    if_match.check(present.version)?;
    refuse_taken(tx.conn(), name, Some(id))?;
    refuse_unknown_variables(tx.conn(), text)?;
    if present.text.channel != text.channel {
        refuse_used(tx.conn(), id, "Its channel can't change")?;
    }
    templates::update(tx, id, name, text)?;
    find(tx.conn(), id)
}

/// Takes a template out of use that nothing uses.
///
/// # Errors
/// 404, 409.
pub(in crate::web) fn delete(tx: &Tx<'_>, id: i64) -> Result<(), Problem> {
    let template = find(tx.conn(), id)?;
    refuse_used(tx.conn(), template.id, "It can't be deleted")?;
    Ok(templates::delete(tx, template.id)?)
}

/// Variables that Twilio's template does not have would fail every message (63028).
fn refuse_unknown_variables(conn: &Connection, text: &TemplateText) -> Result<(), Problem> {
    let Some(sid) = &text.content_sid else {
        return Ok(());
    };
    let known = content_templates::find_known(conn, sid)?;
    let unknown = |name: &&String| known.as_ref().is_some_and(|known| !known.variables.contains(name));
    let errors: Vec<FieldError> = text
        .content_variables
        .keys()
        .filter(unknown)
        .map(|name| FieldError {
            field: format!("content_variables.{name}"),
            message: format!("{sid} has no such variable at Twilio (63028)"),
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::fields(errors)) }
}

fn refuse_taken(conn: &Connection, name: &str, but: Option<i64>) -> Result<(), Problem> {
    if templates::is_name_taken(conn, name, but)? {
        return Err(
            Problem::conflict(format!("There is a template {name:?} already.")).with_code("duplicate")
        );
    }
    Ok(())
}

/// Shows a template.
#[utoipa::path(get, path = "/templates/{id}", operation_id = "get_template",
    responses((status = 200, body = shapes::Template)))]
pub(super) async fn show(_: Scoped<Read>, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    Query::of(&request)?.finish()?;
    let template = state.store.read(move |conn| find(conn, *id)).await?;
    Ok(Reply::ok(shape(&template)).with_version(template.version))
}

/// Replaces a template.
///
/// It becomes the next version; what went out keeps its own.
#[utoipa::path(put, path = "/templates/{id}", operation_id = "replace_template", request_body = shapes::NewTemplate,
    responses((status = 200, body = shapes::Template),
        (status = 409, description = "The name is taken, or the channel of a used template would change.")))]
pub(super) async fn replace(
    _: Scoped<Write>,
    state: Data<State>,
    id: Path<i64>,
    if_match: IfMatch,
    body: Body,
) -> Answer {
    let (name, text) = read(body.fields()?)?;
    state
        .store
        .write(move |tx| {
            let template = change(tx, *id, &if_match, (&name, &text))?;
            Ok(Reply::ok(shape(&template)).with_version(template.version))
        })
        .await
}

/// Deletes a template that nothing uses.
#[utoipa::path(delete, path = "/templates/{id}", operation_id = "delete_template",
    responses((status = 204), (status = 409, description = "Something uses it; `used_by` names it.")))]
pub(super) async fn remove(_: Scoped<Write>, state: Data<State>, id: Path<i64>, _: NoQuery) -> Answer {
    state.store.write(move |tx| delete(tx, *id)).await?;
    Ok(Reply::no_content())
}

fn refuse_used(conn: &Connection, id: i64, what: &str) -> Result<(), Problem> {
    let used_by = templates::users_of(conn, id)?;
    if used_by.is_empty() {
        return Ok(());
    }
    let detail = format!("{what}: the template is used by {}.", used_by.join(", "));
    Err(Problem::conflict(detail).with_code("in_use").with("used_by", json!(used_by)))
}

/// For whom a preview is.
enum Reader {
    Known(String),
    Made(Map<String, Value>),
}

fn read_reader(mut fields: Fields) -> Result<Reader, Problem> {
    let phone = fields.text("phone", 100);
    let attributes = fields.map("attributes");
    if phone.is_some() == attributes.is_some()
        && !fields.has_error("phone")
        && !fields.has_error("attributes")
    {
        fields.error("phone", "give either phone or attributes");
    }
    fields.finish()?;
    Ok(phone.map_or_else(|| Reader::Made(attributes.unwrap_or_default()), Reader::Known))
}

/// Shows what one person would get.
#[utoipa::path(post, path = "/templates/{id}/preview", operation_id = "preview_template",
    request_body = shapes::PreviewReader, responses((status = 200, body = shapes::TemplatePreview)))]
pub(super) async fn preview(_: Scoped<Read>, state: Data<State>, id: Path<i64>, body: Body) -> Answer {
    let reader = read_reader(body.fields()?)?;
    let introduction = state.rules.get().introduction.clone();
    let shown = state
        .store
        .read(move |conn| {
            let template = find(conn, *id)?;
            let mut is_first = false;
            let context = match reader {
                Reader::Made(attributes) => attributes,
                Reader::Known(phone) => {
                    let user =
                        users::find(conn, &phone).map_err(|problem| match problem.status().as_u16() {
                            404 => Problem::field("phone", "nobody has this number"),
                            _ => problem,
                        })?;
                    is_first = frequency::is_first(conn, user.id)?;
                    let mut context = user.attributes;
                    if let Some(phone) = user.phone {
                        context.insert("phone".to_owned(), json!(phone));
                    }
                    context
                }
            };
            rendered(&template.text, &context, introduction.as_deref().filter(|_| is_first))
        })
        .await?;
    Ok(Reply::ok(shown))
}

/// The text for one person; without a value for each variable there is none, as that person gets none. What a
/// first marketing message says beside it is put around it, as it will go out.
///
/// # Errors
/// 500 for a text that was not checked.
pub(in crate::web) fn rendered(
    text: &TemplateText,
    context: &Map<String, Value>,
    introduction: Option<&Introduction>,
) -> Result<Value, Problem> {
    let broken = |error: crate::domain::template::TemplateError| {
        crate::store::StoreError::Internal(format!("a stored template does not parse: {error}"))
    };
    let mut missing: Vec<String> = Vec::new();
    let mut warnings = warnings_of(text);
    let body =
        settle(Template::parse(&text.body).map_err(broken)?.render(context), &mut missing, &mut warnings);
    let content = match text.content_sid {
        Some(_) => settle(
            ContentVariables::parse(&text.content_variables).map_err(broken)?.render(context),
            &mut missing,
            &mut warnings,
        ),
        None => None,
    };
    let introduction = introduction.filter(|_| text.content_sid.is_none());
    let body = body.filter(|_| missing.is_empty()).map(|body| match introduction {
        Some(introduction) => introduction.around(&body),
        None => body,
    });
    if introduction.is_some() {
        warnings.push(FIRST_MESSAGE.to_owned());
        if body.as_ref().is_some_and(|body| body.chars().count() > MANY_CHARACTERS) {
            warnings.push(format!(
                "longer than {MANY_CHARACTERS} characters with it: Twilio refuses such a text"
            ));
        }
    }
    let count = body.as_deref().map(encoding::count);
    Ok(json!({
        "body": body,
        "encoding": count.map(|count| count.encoding.as_str()),
        "parts": body.as_deref().map(|body| parts(text.channel, body)),
        "characters": count.map(|count| count.characters),
        "content_variables": content.and_then(|text| serde_json::from_str::<Value>(&text).ok()),
        "missing": missing,
        "warnings": warnings,
    }))
}

fn settle(
    outcome: Result<String, RenderError>,
    missing: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Option<String> {
    match outcome {
        Ok(text) => return Some(text),
        Err(RenderError::Missing(names)) => {
            for name in names {
                if !missing.contains(&name) {
                    missing.push(name);
                }
            }
        }
        Err(error) => warnings.push(error.to_string()),
    }
    None
}
