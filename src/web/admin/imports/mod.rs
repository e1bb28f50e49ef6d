//! `/admin/imports`: what would this file do? A file is dropped (`upload`), its columns are told (`columns`), a dry
//! run is looked at (`review`), and then it comes in; `report` shows how far it got, what became of it, and undoes
//! it. Each step has its own address and can be left and come back to.

mod columns;
mod report;
mod review;
mod rows;
mod upload;

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::{Value, context};
use serde_json::json;

use super::Answer;
use super::failure::Failure;
use super::page::Page;
use super::render::values;
use crate::import::{self, DraftError, QueueError, Survey};
use crate::store::StoreError;
use crate::store::imports::{self, ImportRow};
use crate::web::State;
use crate::web::error::Problem;
use crate::web::page::Query;

pub(super) use columns::{guess, read_again, save, show as columns};
pub(super) use report::{ask_undo, live, sheet, show, undo};
pub(super) use review::{discard, run, show as review};
pub(super) use upload::{new, upload};

/// What the list, the review and the report say of an import.
fn shape(import: &ImportRow) -> serde_json::Value {
    let tally = &import.tally;
    json!({
        "id": import.id,
        "state": import.state.as_str(),
        "revision": import.revision,
        "file_name": import.file_name,
        "format": import.format,
        "encoding": import.encoding,
        "bytes": import.bytes,
        "is_dry_run": import.is_dry_run(),
        "is_draft": import.state.is_draft(),
        "is_suppression": import.options.get("mode").and_then(|mode| mode.as_str()) == Some("suppress"),
        "options": import.options,
        "actor": import.actor,
        "rows": tally.rows,
        "created": tally.created,
        "updated": tally.updated,
        "unchanged": tally.unchanged,
        "duplicates": tally.duplicates,
        "rejected": tally.rejected,
        "details": tally.details,
        "only_same": tally.unchanged.saturating_sub(tally.details.only_kept),
        "reasons": by_count(&tally.reasons),
        "progress": import.progress(),
        "error": import.error,
        "created_at": import.created_at,
        "started_at": import.started_at,
        "checked_at": import.checked_at,
        "finished_at": import.finished_at,
        "href": href(import),
    })
}

/// The most frequent reason first.
fn by_count(reasons: &std::collections::BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut counted: Vec<(&str, u64)> = reasons.iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
    counted.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    counted
}

/// The page where an import stands.
fn href(import: &ImportRow) -> String {
    let id = import.id;
    match (import.state, import.checked_at) {
        (imports::ImportState::Draft, None) => format!("/admin/imports/{id}/columns"),
        (imports::ImportState::Draft | imports::ImportState::Checking, _) => {
            format!("/admin/imports/{id}/review")
        }
        _ => format!("/admin/imports/{id}"),
    }
}

async fn find(state: &State, id: i64) -> Result<ImportRow, Failure> {
    let found = state.store.read(move |conn| imports::find(conn, id)).await?;
    found.ok_or_else(|| {
        Failure::not_found(format!(
            "There is no import {id}. A file that nobody ran is removed after {} days.",
            import::DRAFT_DAYS
        ))
    })
}

/// The draft, or `Err` with the way to where it stands now.
async fn find_draft(page: &Page, state: &State, id: i64) -> Result<Result<ImportRow, Answer>, Failure> {
    let import = find(state, id).await?;
    if import.state.is_draft() {
        return Ok(Ok(import));
    }
    Ok(Err(page.go_to(&href(&import), "This file was run already.")))
}

/// The survey of a draft, from beside its file.
async fn survey_of(state: &State, draft: &ImportRow) -> Result<Survey, Failure> {
    let path = draft.spool_path.clone().unwrap_or_default();
    let (encoding, regions) = (draft.encoding.clone(), regions(state));
    let loaded =
        tokio::task::spawn_blocking(move || import::load_survey(&path, encoding.as_deref(), &regions));
    let loaded = loaded.await.map_err(|error| StoreError::Internal(error.to_string()))?;
    loaded.map_err(|error| {
        Problem::new(actix_web::http::StatusCode::GONE, format!("{error} Discard this draft.")).into()
    })
}

/// Countries of our own senders: those of numbers without a country code are tried first.
fn regions(state: &State) -> Vec<String> {
    let config = state.config.get();
    let mut regions = Vec::new();
    for sender in &config.senders {
        let bare = sender.address.strip_prefix("whatsapp:").unwrap_or(&sender.address);
        let country = crate::domain::phone::Phone::from_e164(bare).and_then(|phone| phone.country());
        if let Some(country) = country.filter(|country| !regions.iter().any(|known| known == country)) {
            regions.push(country.to_owned());
        }
    }
    regions
}

/// What refuses an option names it as the API does.
fn refusal(error: DraftError) -> Problem {
    match error {
        DraftError::Moved => Problem::conflict(format!("{error} Open it again.")),
        DraftError::Refused(QueueError::Options(error)) => Problem::field(error.field, error.message),
        DraftError::Refused(QueueError::Store(error)) | DraftError::Store(error) => error.into(),
    }
}

/// Lists imports and drafts, newest first.
pub(in crate::web::admin) async fn list(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let paging = query.page("admin_imports");
    query.finish()?;
    let rows = state.store.read(move |conn| imports::list_all(conn, paging.before, paging.fetch())).await?;
    let listed = paging.answer(rows, |row| row.id, shape);
    page.show(
        "imports/list.html",
        context! {
            title => "Imports", section => "imports",
            imports => values(listed.get("data")),
            next => listed.get("next_cursor").and_then(|cursor| cursor.as_str())
                .map(|cursor| format!("/admin/imports?cursor={cursor}")),
        },
    )
}

/// What every page of one import has.
fn with_import(import: &ImportRow, more: Value) -> Value {
    context! { section => "imports", title => import.file_name.clone(), import => values(shape(import)), ..more }
}
