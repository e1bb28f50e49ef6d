//! The box in which an answer is written: what can be answered now, and with which texts.

use minijinja::{Value, context};
use serde_json::{Map, Value as Json, json};

use super::thread::{View, Whole};
use super::with_query;
use crate::campaign::CampaignError;
use crate::domain::gate::{Reason, Verdict};
use crate::domain::phone::Channel;
use crate::domain::plan::MAX_BODY;
use crate::domain::template::{ContentVariables, RenderError, Template};
use crate::store::templates::TemplateRow;
use crate::store::users::User;
use crate::web::admin::format;
use crate::web::admin::page::Page;
use crate::web::api::templates::variables;

/// What can be answered now, and with what.
pub(super) fn compose(page: &Page, whole: &Whole, view: View) -> Value {
    let footing = match &whole.footing {
        Ok(footing) => footing,
        Err(error) => {
            let text = match error {
                CampaignError::SetupIncomplete(problem) => problem.clone(),
                error => error.to_string(),
            };
            return context! { mode => "blocked", says => text };
        }
    };
    let left = footing.window_ends_at.map(|end| end - page.now()).filter(|left| *left > 0);
    let (mode, reason) = match &footing.verdict {
        Verdict::Send { .. } | Verdict::Defer { .. } => ("text", None),
        Verdict::Skip(Reason::Stop) => ("stop", None),
        Verdict::Skip(Reason::OutsideWhatsappWindow | Reason::ReplyWindowClosed) => ("template", None),
        Verdict::Skip(reason) | Verdict::Expire(reason) => ("blocked", Some(*reason)),
    };
    let waits = match &footing.verdict {
        Verdict::Defer { until, reason, .. } => {
            Some(context! { until => until, is_night => *reason == Reason::QuietHours })
        }
        _ => None,
    };
    let values = values_of(&whole.user);
    let canned = whole.canned.iter().map(|reply| {
        let here = view.tab.href_of(whole.user.id);
        context! {
            id => reply.id, name => reply.name.clone(),
            href => with_query(&here, "canned", &reply.id.to_string()),
            text => format!("/admin/inbox/{}/canned/{}", whole.user.id, reply.id),
        }
    });
    let chosen = whole.canned.iter().find(|reply| Some(reply.id) == view.canned);
    let templates = whole.templates.iter().filter(|template| {
        mode == "text" || footing.channel == Channel::Sms || template.text.content_sid.is_some()
    });
    context! {
        mode,
        says => reason.map(Reason::says), what_to_do => reason.map(Reason::what_to_do),
        is_whatsapp => footing.channel == Channel::Whatsapp,
        window_ends_at => footing.window_ends_at,
        left => left.map(format::duration),
        is_short => left.is_some_and(|left| left < 3_600_000),
        waits,
        canned => canned.collect::<Vec<_>>(),
        draft => chosen.map(|reply| rendered(&reply.body, &values).0),
        templates => templates.map(|template| offered(template, &values)).collect::<Vec<_>>(),
        most => MAX_BODY,
    }
}

/// What a text may name of a person.
pub(super) fn values_of(user: &User) -> Map<String, Json> {
    let mut values = user.attributes.clone();
    values.insert("phone".to_owned(), json!(user.phone));
    values
}

/// The text for a person, and what it lacks: then it is shown as it was written.
pub(super) fn rendered(body: &str, values: &Map<String, Json>) -> (String, bool) {
    match Template::parse(body).map(|template| template.render(values)) {
        Ok(Ok(text)) => (text, true),
        _ => (body.to_owned(), false),
    }
}

/// A template in the picker, with fields for what the person lacks.
fn offered(template: &TemplateRow, values: &Map<String, Json>) -> Value {
    let is_there = |name: &str| {
        let mut found = values.get(name.split('.').next().unwrap_or(name));
        for part in name.split('.').skip(1) {
            found = found.and_then(|value| value.get(part));
        }
        found.is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
    };
    let unknown = variables(&template.text).into_iter().filter(|name| !is_there(name) && !name.contains('.'));
    // What has a fallback needs no field: it is filled in without one.
    let (mut lacks, mut shown) = (Vec::new(), values.clone());
    for name in unknown {
        let mut without = values.clone();
        without.insert(name.clone(), Json::Null);
        if !fills(template, &without, &name) {
            shown.insert(name.clone(), json!(format!("[{name}]")));
            lacks.push(name);
        }
    }
    let (text, _) = rendered(&template.text.body, &shown);
    let known = template.text.known.as_ref();
    context! {
        id => template.id,
        name => template.name.clone(),
        text,
        lacks,
        approval => known.map(|known| known.status.clone()),
        is_content => template.text.content_sid.is_some(),
        locale => template.text.locale.clone(),
    }
}

/// Whether the template can be filled in without `name`, as far as that goes.
fn fills(template: &TemplateRow, values: &Map<String, Json>, name: &str) -> bool {
    let lacks_it = |missing: &[String]| missing.iter().any(|one| one == name);
    let is_missing_in_body = match Template::parse(&template.text.body).map(|body| body.render(values)) {
        Ok(Err(RenderError::Missing(missing))) => lacks_it(&missing),
        _ => false,
    };
    let is_missing_in_content = match ContentVariables::parse(&template.text.content_variables) {
        Ok(content) => match content.render(values) {
            Err(RenderError::Missing(missing)) => lacks_it(&missing),
            _ => false,
        },
        Err(_) => false,
    };
    !is_missing_in_body && !is_missing_in_content
}
