//! A section that is a plain form: shown from the table of sections, saved as settings.

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::{Value, context};

use super::super::Answer;
use super::super::failure::Failure;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::fields::{Change, Field, Kind, keys};
use super::sections::{self, Section};
use crate::config::Loaded;
use crate::web::State;
use crate::web::api::settings::{Also, By, change};
use crate::web::error::Problem;
use crate::web::etag::IfMatch;

pub(in crate::web::admin) async fn show(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let section = find(&request)?;
    let loaded = state.in_force.get();
    let fields: Vec<Field> = fields_of(section);
    render(&page, &loaded, section, &filled(&fields, &loaded))
}

pub(in crate::web::admin) async fn save(
    page: Page,
    state: Data<State>,
    request: HttpRequest,
    form: Form,
) -> Answer {
    let section = find(&request)?;
    match save_fields(&page, &state, &fields_of(section), &form, None).await {
        Ok(()) => page.go_to(&format!("/admin/settings/{}", section.path), "Saved. It holds from now on."),
        Err(problem) => {
            let loaded = state.in_force.get();
            let refused = refill(Filled::refused(&form, problem)?, &fields_of(section), &loaded);
            render(&page, &loaded, section, &refused)
        }
    }
}

/// The last part of the path names it.
fn find(request: &HttpRequest) -> Result<&'static Section, Failure> {
    let name = request.path().rsplit('/').next().unwrap_or_default();
    sections::find(name).ok_or_else(|| Failure::not_found("There is no such section of settings."))
}

fn fields_of(section: &Section) -> Vec<Field> {
    section.groups.iter().flat_map(|group| group.fields).copied().collect()
}

/// The values in force.
pub(super) fn filled(fields: &[Field], loaded: &Loaded) -> Filled {
    let keys = keys(loaded);
    Filled::with(fields.iter().map(|field| (field.key, field.text(&keys))))
}

/// A refused form with what it did not bring: values that are locked, but no box that was left empty.
pub(super) fn refill(mut refused: Filled, fields: &[Field], loaded: &Loaded) -> Filled {
    let is_missing = |field: &&Field| field.kind != Kind::Switch || loaded.locked_by(field.key).is_some();
    let missing: Vec<Field> = fields.iter().filter(is_missing).copied().collect();
    refused.fill(filled(&missing, loaded));
    refused
}

/// What templates need of these fields.
pub(super) fn values(fields: &[Field], loaded: &Loaded) -> Vec<Value> {
    let keys = keys(loaded);
    fields.iter().map(|field| field.value(loaded, &keys)).collect()
}

/// Reads and writes the fields of a form as settings, with what is written beside them.
///
/// # Errors
/// 422 with every field at fault, 409 for what is locked or can't be changed now.
pub(super) async fn save_fields(
    page: &Page,
    state: &State,
    fields: &[Field],
    form: &Form,
    also: Option<Also>,
) -> Result<(), Problem> {
    let mut read = Change::read(fields, form, &state.in_force.get());
    if !read.faults.is_empty() {
        return Err(Problem::fields(read.faults));
    }
    let patch = std::mem::take(&mut read.patch);
    let by = By::operator(page.actor());
    let changed = change(state, &by, IfMatch::of_version(None), patch, also).await;
    changed.map(drop).map_err(|problem| problem.map_fields(|key| read.field_of(key)))
}

fn render(page: &Page, loaded: &Loaded, section: &Section, filled: &Filled) -> Answer {
    let groups: Vec<Value> = section
        .groups
        .iter()
        .map(|group| {
            context! { title => group.title, lead => group.lead, fields => values(group.fields, loaded) }
        })
        .collect();
    let values = context! {
        title => section.title,
        section => "settings",
        area => section.path,
        lead => section.lead,
        action => format!("/admin/settings/{}", section.path),
        groups => groups,
        form => filled.value(),
    };
    page.show_as(filled.status(), "settings/section.html", values)
}
