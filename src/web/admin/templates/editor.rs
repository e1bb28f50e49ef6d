//! The editor of a template: its form, and the phone beside it, which follows as one types.

use actix_web::web::Data;
use minijinja::{Value, context};
use serde_json::{Map, Value as Json, json};

use super::super::Answer;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::super::segments::fit_for;
use super::super::uses::{USES, shown_uses};
use super::look::{self, Message, Reader};
use super::{VERSIONS, may_change};
use crate::domain::phone::{Channel, Phone};
use crate::domain::segment::Definition;
use crate::domain::template::{ContentVariables, Template};
use crate::store::reports::uses;
use crate::store::segment_sql::compile;
use crate::store::templates::{self, TemplateRow};
use crate::store::users::{self, User, UserKey};
use crate::store::{Connection, StoreError, attributes, content_templates, frequency};
use crate::web::State;
use crate::web::api::templates as api;

/// Variables that are offered as buttons.
const BUTTONS: usize = 16;
/// People who are tried for somebody who has every variable.
const TRIED: usize = 50;
/// Content templates to choose from.
const CONTENTS: usize = 100;

/// What a form of the editor says, as the API takes it.
pub(super) fn body_of(form: &Form) -> Json {
    let mut body = form.json(&["name", "channel", "locale", "content_sid"]);
    // Blanks at the ends of a text are the author's.
    body.insert("body".to_owned(), json!(form.raw("body").unwrap_or_default()));
    let media: Vec<&str> = form.raw("media_urls").unwrap_or_default().split_whitespace().collect();
    body.insert("media_urls".to_owned(), json!(media));
    let variables: Map<String, Json> = form
        .pairs()
        .filter_map(|(key, value)| Some((key.strip_prefix("content_variables.")?, value.trim())))
        .filter(|(_, value)| !value.is_empty() && body.contains_key("content_sid"))
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect();
    body.insert("content_variables".to_owned(), Json::Object(variables));
    Json::Object(body)
}

/// A template as the values of its form.
pub(super) fn filled(row: &TemplateRow) -> Filled {
    let text = &row.text;
    let mut filled = Filled::with([
        ("name", row.name.clone()),
        ("channel", text.channel.as_str().to_owned()),
        ("locale", text.locale.clone().unwrap_or_default()),
        ("body", text.body.clone()),
        ("media_urls", text.media_urls.join("\n")),
        ("content_sid", text.content_sid.clone().unwrap_or_default()),
    ]);
    for (name, value) in &text.content_variables {
        filled.set(&format!("content_variables.{name}"), value.as_str().unwrap_or_default().to_owned());
    }
    filled
}

/// The text that a form holds, whether it could be kept or not.
#[derive(Clone, Debug, Default)]
struct Draft {
    channel: Option<Channel>,
    body: String,
    has_media: bool,
    locale: Option<String>,
    content_sid: Option<String>,
    content_variables: Map<String, Json>,
}

impl Draft {
    fn of(value: impl Fn(&str) -> Option<String>, pairs: Vec<(String, String)>) -> Draft {
        let filled = |name: &str| value(name).filter(|text| !text.trim().is_empty());
        let variables = pairs.into_iter().filter_map(|(key, text)| {
            let name = key.strip_prefix("content_variables.")?;
            (!text.trim().is_empty()).then(|| (name.to_owned(), json!(text.trim())))
        });
        Draft {
            channel: value("channel").and_then(|word| word.parse().ok()),
            body: value("body").unwrap_or_default(),
            has_media: filled("media_urls").is_some(),
            locale: filled("locale"),
            content_sid: filled("content_sid"),
            content_variables: variables.collect(),
        }
    }

    fn posted(form: &Form) -> Draft {
        let pairs = form.pairs().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Draft::of(|name| form.raw(name).map(str::to_owned), pairs)
    }

    fn filled(form: &Filled) -> Draft {
        Draft::of(|name| form.get(name).map(str::to_owned), form.pairs())
    }

    fn of_row(row: &TemplateRow) -> Draft {
        Draft::filled(&filled(row))
    }

    fn is_whatsapp(&self) -> bool {
        self.channel == Some(Channel::Whatsapp)
    }

    /// Every variable that it asks for.
    fn variables(&self) -> Vec<String> {
        let mut names = Template::parse(&self.body).map(|text| text.variables().to_vec()).unwrap_or_default();
        if let Ok(content) = ContentVariables::parse(&self.content_variables) {
            names.extend(
                content.variables().into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>(),
            );
        }
        names
    }

    fn can_render(&self, context: &Map<String, Json>) -> bool {
        let body = Template::parse(&self.body).is_ok_and(|text| text.render(context).is_ok());
        let content =
            ContentVariables::parse(&self.content_variables).is_ok_and(|c| c.render(context).is_ok());
        body && (content || self.content_sid.is_none())
    }
}

/// Which person a preview is for.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// This one.
    id: Option<i64>,
    /// The next one behind that.
    is_another: bool,
    /// Whoever has this number.
    phone: Option<String>,
}

fn context_of(user: &User) -> Map<String, Json> {
    let mut context = user.attributes.clone();
    if let Some(phone) = &user.phone {
        context.insert("phone".to_owned(), json!(phone));
    }
    context
}

fn reader_of(conn: &Connection, user: &User) -> Result<Reader, StoreError> {
    Ok(Reader {
        id: Some(user.id),
        phone: user.phone.as_deref().and_then(Phone::from_e164),
        country: user.country.clone(),
        context: context_of(user),
        is_first: frequency::is_first(conn, user.id)?,
    })
}

/// The person for a preview, and what was wrong with the wish. Without one it is the newest who lacks nothing.
fn find_reader(
    conn: &Connection,
    wanted: &Wanted,
    draft: &Draft,
) -> Result<(Option<User>, Reader, Option<String>), StoreError> {
    let mut fault = None;
    if let Some(typed) = &wanted.phone {
        match Phone::parse(typed, None) {
            Ok(phone) => match users::find(conn, &UserKey::Phone(phone.as_str().to_owned()))? {
                Some(user) => return Ok((Some(user.clone()), reader_of(conn, &user)?, None)),
                None => fault = Some("Nobody has this number.".to_owned()),
            },
            Err(error) => fault = Some(error.to_string()),
        }
    }
    if let (Some(id), false) = (wanted.id, wanted.is_another)
        && let Some(user) = users::find(conn, &UserKey::Id(id))?.filter(|user| user.erased_at.is_none())
    {
        let reader = reader_of(conn, &user)?;
        return Ok((Some(user), reader, fault));
    }
    let everybody = Definition::parse(&json!({"all": []})).ok().map(|all| compile(&all, 0));
    let before = if wanted.is_another { wanted.id.unwrap_or(i64::MAX) } else { i64::MAX };
    let mut people = match &everybody {
        Some(everybody) => users::list(conn, everybody, before, TRIED)?,
        None => Vec::new(),
    };
    if people.is_empty()
        && let Some(everybody) = everybody.filter(|_| before < i64::MAX)
    {
        people = users::list(conn, &everybody, i64::MAX, TRIED)?;
    }
    let fitting = people.iter().position(|user| draft.can_render(&context_of(user)));
    let index = if wanted.is_another { 0 } else { fitting.unwrap_or(0) };
    Ok(match people.into_iter().nth(index) {
        Some(user) => {
            let reader = reader_of(conn, &user)?;
            (Some(user), reader, fault)
        }
        None => (None, made_up(draft), fault),
    })
}

/// Somebody whose every attribute is its own name, while there are no people.
fn made_up(draft: &Draft) -> Reader {
    let context = draft.variables().into_iter().map(|name| (name.clone(), json!(format!("[{name}]"))));
    Reader { context: context.collect(), ..Reader::default() }
}

/// How many people have what the text asks for, by the catalogue.
fn holders(conn: &Connection, draft: &Draft) -> Result<Vec<Value>, StoreError> {
    let people = attributes::standing(conn)?.people;
    let mut found = Vec::new();
    for name in draft.variables().into_iter().filter(|name| name != "phone").take(BUTTONS) {
        let known = attributes::find(conn, &name)?;
        found.push(context! { name, people => known.map_or(0, |known| known.people), of => people });
    }
    Ok(found)
}

/// The phone and its figures.
async fn look_at(
    page: &Page,
    state: &State,
    draft: Draft,
    wanted: Wanted,
) -> Result<Value, super::super::failure::Failure> {
    let rules = state.rules.get();
    let (user, reader, fault, holders, draft) = state
        .store
        .read(move |conn| {
            let (user, reader, fault) = find_reader(conn, &wanted, &draft)?;
            let holders = holders(conn, &draft)?;
            Ok::<_, StoreError>((user, reader, fault, holders, draft))
        })
        .await?;
    let message = Message {
        channel: draft.channel.unwrap_or(Channel::Sms),
        body: &draft.body,
        has_media: draft.has_media,
        has_content: draft.content_sid.is_some(),
    };
    let seen = look::look(message, &reader, rules.introduction.as_deref(), &rules.prices);
    let is_masked = page.is_masked();
    let name = user.as_ref().and_then(|user| {
        let name =
            ["name", "first_name", "firstname", "full_name"].iter().find_map(|key| user.attributes.get(*key));
        name.and_then(Json::as_str).map(|name| fit_for(name, is_masked))
    });
    Ok(context! {
        seen,
        is_whatsapp => draft.is_whatsapp(),
        has_content => draft.content_sid.is_some(),
        has_media => draft.has_media,
        locale => draft.locale.clone(),
        warnings => crate::domain::template::warnings(&draft.body),
        holders,
        person => user.map(|user| context! {
            id => user.id,
            name,
            phone => user.phone.or(user.channel_address),
        }),
        person_fault => fault,
        is_made_up => reader.id.is_none(),
    })
}

/// What the editor offers: variables and Content templates.
async fn offers(
    state: &State,
    chosen: Option<String>,
) -> Result<(Vec<Value>, Vec<Value>, Option<Value>), StoreError> {
    state
        .store
        .read(move |conn| {
            let is_writable = |name: &str| Template::parse(&format!("{{{name}}}")).is_ok();
            let names: Vec<Value> = attributes::names(conn, "", BUTTONS * 2)?
                .into_iter()
                .filter(|(name, kinds, _)| is_writable(name) && kinds.object == 0)
                .take(BUTTONS)
                .map(|(name, _, people)| context! { name, people })
                .collect();
            let contents: Vec<Value> = content_templates::list(conn, None, i64::MAX, CONTENTS)?
                .into_iter()
                .map(|row| {
                    context! { sid => row.sid, name => row.friendly_name, language => row.language, status => row.status }
                })
                .collect();
            let content = match chosen {
                Some(sid) => Some(chosen_content(conn, &sid)?),
                None => None,
            };
            Ok((names, contents, content))
        })
        .await
}

/// The Content template that is chosen, with its variables; one that nobody saw yet has none.
fn chosen_content(conn: &Connection, sid: &str) -> Result<Value, StoreError> {
    let row = content_templates::find(conn, sid)?;
    let known = content_templates::find_known(conn, sid)?;
    let texts = row.as_ref().and_then(|row| row.types.as_object()).map(|types| types.values());
    let body = texts.and_then(|mut types| types.find_map(|kind| kind["body"].as_str().map(str::to_owned)));
    Ok(context! {
        sid,
        is_known => row.is_some(),
        name => row.as_ref().map(|row| row.friendly_name.clone()),
        status => row.as_ref().map(|row| row.status.clone()),
        reason => row.as_ref().and_then(|row| row.rejection_reason.clone()),
        body,
        variables => known.map(|known| known.variables),
    })
}

/// The page of a new template, or of one that is kept.
pub(super) async fn show(page: &Page, state: &State, row: Option<TemplateRow>, form: Filled) -> Answer {
    let draft = Draft::filled(&form);
    let (variables, contents, content) = offers(state, draft.content_sid.clone()).await?;
    let looked = look_at(page, state, draft, Wanted::default()).await?;
    let id = row.as_ref().map(|row| row.id);
    let (used, versions) = match id {
        Some(id) => {
            state
                .store
                .read(move |conn| {
                    Ok::<_, StoreError>((
                        uses::of_template(conn, id, USES)?,
                        templates::versions(conn, id, VERSIONS)?,
                    ))
                })
                .await?
        }
        None => (Vec::new(), Vec::new()),
    };
    let versions: Vec<Value> = versions
        .into_iter()
        .map(|(version, created_at, body)| context! { version, created_at, body })
        .collect();
    let values = context! {
        title => row.as_ref().map_or_else(|| "New template".to_owned(), |row| row.name.clone()),
        section => "templates",
        id,
        template => row.as_ref().map(shown),
        form => form.value(),
        variables,
        contents,
        content,
        view => looked,
        uses => shown_uses(&used),
        versions,
        may_change => may_change(page),
    };
    page.show_as(form.status(), "templates/edit.html", values)
}

/// What is known of a template that is kept.
fn shown(row: &TemplateRow) -> Value {
    context! {
        id => row.id,
        name => row.name.clone(),
        version => row.version,
        channel => row.text.channel.as_str(),
        content_sid => row.text.content_sid.clone(),
        approval => super::approval(row),
        reason => row.text.known.as_ref().and_then(|known| known.reason.clone()),
        category => row.text.known.as_ref().and_then(|known| known.category.clone()),
        synced_at => row.text.known.as_ref().and_then(|known| known.synced_at),
        warnings => api::warnings_of(&row.text),
        variables => api::variables(&row.text),
        locale => row.text.locale.clone(),
        updated_at => row.updated_at,
    }
}

/// A template that is kept, as one person would read it.
pub(super) async fn preview(page: &Page, state: &State, row: &TemplateRow, person: Option<i64>) -> Answer {
    let wanted = Wanted { id: person, ..Wanted::default() };
    let looked = look_at(page, state, Draft::of_row(row), wanted).await?;
    let values = context! {
        title => row.name.clone(),
        section => "templates",
        template => shown(row),
        view => looked,
        may_change => may_change(page),
    };
    page.show("templates/preview.html", values)
}

/// What follows the typing: the phone, or the fields of the Content template that was chosen. Without scripts the
/// whole page, with nothing lost.
pub(in crate::web::admin) async fn draft(page: Page, state: Data<State>, posted: Form) -> Answer {
    let action = posted.text("do").unwrap_or_default();
    let number = |name: &str| posted.text(name).and_then(|text| text.parse::<i64>().ok());
    let row = match number("id") {
        Some(id) => Some(state.store.read(move |conn| api::find(conn, id)).await?),
        None => None,
    };
    // Fields that may not be changed are not posted: then it is the text that is kept.
    let draft = match &row {
        Some(row) if posted.raw("body").is_none() => Draft::of_row(row),
        _ => Draft::posted(&posted),
    };
    if !page.is_htmx {
        let form = Filled::with(posted.pairs().map(|(name, value)| (name, value.to_owned())));
        return show(&page, &state, row, form).await;
    }
    if action == "content" {
        let (_, contents, content) = offers(&state, draft.content_sid.clone()).await?;
        let form = Filled::with(posted.pairs().map(|(name, value)| (name, value.to_owned())));
        let values = context! { form => form.value(), contents, content, may_change => may_change(&page),
        is_whatsapp => draft.is_whatsapp() };
        return page.part("templates/_content.html", values);
    }
    let wanted = Wanted {
        id: number("person"),
        is_another: action == "another",
        phone: posted.text("who").filter(|_| action == "who"),
    };
    let looked = look_at(&page, &state, draft, wanted).await?;
    page.part("templates/_look.html", context! { view => looked })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(body: &str) -> Draft {
        let body = body.to_owned();
        Draft::of(|name| (name == "body").then(|| body.clone()), vec![])
    }

    #[test]
    fn somebody_made_up_has_every_variable() {
        let draft = draft("Hi {name}, {city|default(\"x\")}");
        let reader = made_up(&draft);
        assert!(draft.can_render(&reader.context));
        assert_eq!(reader.context["name"], json!("[name]"));
        assert!(!draft.can_render(&Map::new()));
    }
}
