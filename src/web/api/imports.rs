//! `/imports`: files of people on their way in. An upload goes to disk piece by piece and is queued; the
//! answer is 202, and how far it got is looked up by its id.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::Connection;
use actix_multipart::{Field, Multipart};
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, Responder};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Answer;
use crate::import::{
    self, NewImport, Options, QueueError, Spool, SpoolError, Spooled, issues_csv_header, issues_csv_lines,
    spool_dir,
};
use crate::store::imports::{self, ImportRow, Issue};
use crate::store::{Store, StoreError, Tx};
use crate::web::State;
use crate::web::auth::{Read, Scoped, Write};
use crate::web::error::{FieldError, Problem};
use crate::web::idempotency::Once;
use crate::web::openapi::shapes::{Page, Paging, imports as shapes};
use crate::web::openapi::shapes::{Sheet, SheetFormat};
use crate::web::page::{Query, encode, paged};
use crate::web::reply::{Reply, time, time_or_null};

/// Longest `options`, in bytes.
const MAX_OPTIONS: usize = 256 * 1024;
/// Longest name of a file that is read, in characters.
const MAX_FILE_NAME: usize = 255;
/// Issues of one read while a sheet is written.
const SHEET_PAGE: usize = 1_000;
/// What a file may be sent as on its own. What it really is, its content says.
const FILE_TYPES: [&str; 9] = [
    "text/csv",
    "application/csv",
    "text/plain",
    "text/tab-separated-values",
    "application/json",
    "application/x-ndjson",
    "application/vnd.ms-excel",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/octet-stream",
];

fn shape(import: &ImportRow) -> Value {
    let mut shown = import.report();
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("created_at".to_owned(), time(import.created_at));
        shown.insert("started_at".to_owned(), time_or_null(import.started_at));
        shown.insert("finished_at".to_owned(), time_or_null(import.finished_at));
    }
    shown
}

fn issue_shape(issue: &Issue) -> Value {
    json!({
        "row": issue.row,
        "reason": issue.reason,
        "rejected": issue.is_rejected,
        "column": issue.column,
        "message": issue.message,
        "cells": issue.cells,
    })
}

fn find(conn: &Connection, id: i64) -> Result<ImportRow, Problem> {
    // What somebody only looks at on a page is no import yet.
    let found = imports::find(conn, id)?.filter(|import| !import.state.is_draft());
    found.ok_or_else(|| Problem::not_found(format!("There is no import {id}.")))
}

/// Lists imports, newest first.
#[utoipa::path(get, path = "/imports", operation_id = "list_imports", params(Paging),
    responses((status = 200, body = Page<shapes::Import>)))]
pub(super) async fn list(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let page = query.page("imports");
    query.finish()?;
    let rows = state.store.read(move |conn| imports::list(conn, page.before, page.fetch())).await?;
    Ok(Reply::ok(page.answer(rows, |row| row.id, shape)))
}

/// Shows an import and how far it got.
#[utoipa::path(get, path = "/imports/{id}", operation_id = "get_import",
    responses((status = 200, body = shapes::Import)))]
pub(super) async fn show(_: Scoped<Read>, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    Query::of(&request)?.finish()?;
    let import = state.store.read(move |conn| find(conn, *id)).await?;
    Ok(Reply::ok(shape(&import)))
}

/// A file on its way in, with what was said about it.
struct Upload {
    spool: Spool,
    digest: Sha256,
    file_name: Option<String>,
    has_file: bool,
    options: Option<Vec<u8>>,
}

impl Upload {
    fn begin(dir: PathBuf, limit: u64) -> Result<Upload, Problem> {
        let spool = Spool::create(&dir, limit).map_err(refused)?;
        Ok(Upload { spool, digest: Sha256::new(), file_name: None, has_file: false, options: None })
    }

    async fn take_file<E>(
        &mut self,
        mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), Problem> {
        self.has_file = true;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Problem::unreadable("The upload ended early."))?;
            self.digest.update(&piece);
            self.spool.write(&piece).map_err(refused)?;
        }
        Ok(())
    }

    async fn take_form(&mut self, mut form: Multipart) -> Result<(), Problem> {
        while let Some(field) = form.next().await {
            let mut field =
                field.map_err(|error| Problem::unreadable(format!("The form can't be read: {error}.")))?;
            match field.name().unwrap_or_default() {
                "file" if self.has_file => return Err(Problem::field("file", "given twice")),
                "file" => {
                    self.file_name = field
                        .content_disposition()
                        .and_then(|about| about.get_filename())
                        .map(|name| name.chars().take(MAX_FILE_NAME).collect());
                    self.take_file(&mut field).await?;
                }
                "options" if self.options.is_some() => return Err(Problem::field("options", "given twice")),
                "options" => self.options = Some(text_of(&mut field).await?),
                other => {
                    let name: String = other.chars().take(100).collect();
                    return Err(Problem::field(name, "unknown field; there are file and options"));
                }
            }
        }
        Ok(())
    }

    /// The options, and the digest by which a repeated request is known.
    fn settle(&mut self) -> Result<(Options, [u8; 32]), Problem> {
        if !self.has_file {
            return Err(Problem::field("file", "missing"));
        }
        let given = self.options.take().unwrap_or_else(|| b"{}".to_vec());
        let value: Value = serde_json::from_slice(&given)
            .map_err(|error| Problem::field("options", format!("is not JSON: {error}")))?;
        let options = Options::parse(&value).map_err(|errors| {
            let named = |error: import::OptionsError| FieldError {
                field: within_options(&error.field),
                message: error.message,
            };
            Problem::fields(errors.into_iter().map(named).collect())
        })?;
        // The file before it, however long, is told apart by the length that follows.
        self.digest.update((given.len() as u64).to_be_bytes());
        self.digest.update(&given);
        Ok((options, self.digest.clone().finalize().into()))
    }
}

fn within_options(field: &str) -> String {
    if field == "options" { field.to_owned() } else { format!("options.{field}") }
}

async fn text_of(field: &mut Field) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    while let Some(piece) = field.next().await {
        let piece = piece.map_err(|_| Problem::unreadable("The upload ended early."))?;
        if text.len() + piece.len() > MAX_OPTIONS {
            return Err(Problem::field("options", format!("at most {MAX_OPTIONS} bytes")));
        }
        text.extend_from_slice(&piece);
    }
    Ok(text)
}

fn refused(error: SpoolError) -> Problem {
    match error {
        SpoolError::TooLarge { .. } => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        SpoolError::Io(error) => StoreError::Unavailable(format!("the spool: {error}")).into(),
    }
}

/// 413 for what says itself that it is too long, before any of it is read. What a form has around its file is
/// let pass here.
fn refuse_announced(request: &HttpRequest, most: u64) -> Result<(), Problem> {
    let around = 2 * MAX_OPTIONS as u64;
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match announced.and_then(|text| text.parse::<u64>().ok()) {
        Some(length) if length > most.saturating_add(around) => {
            Err(refused(SpoolError::TooLarge { limit: most }))
        }
        _ => Ok(()),
    }
}

/// Takes a file of people.
///
/// A form with `file` and `options`, or the file alone as the body, with `options` and `file_name` in the query.
#[utoipa::path(post, path = "/imports", operation_id = "create_import",
    params(("options" = Option<String>, Query, description = "What is told about the file, as JSON."),
        ("file_name" = Option<String>, Query, description = "What the file is called.")),
    request_body(content((shapes::ImportForm = "multipart/form-data"), (shapes::CsvFile = "text/csv"),
        (shapes::JsonFile = "application/json"))),
    responses((status = 202, body = shapes::Import)))]
pub(super) async fn create(
    caller: Scoped<Write>,
    state: Data<State>,
    request: HttpRequest,
    payload: Payload,
) -> Answer {
    let once = Once::of(&request)?;
    let mut query = Query::of(&request)?;
    let (options, file_name) = (query.text("options"), query.text("file_name"));
    query.finish()?;
    refuse_announced(&request, state.config.get().import.max_bytes)?;
    let mut upload = Upload::begin(spool_dir(state.store.paths()), state.config.get().import.max_bytes)?;
    let content_type = request.content_type().to_ascii_lowercase();
    if content_type == "multipart/form-data" {
        upload.take_form(Multipart::new(request.headers(), payload)).await?;
    } else if FILE_TYPES.contains(&content_type.as_str()) {
        upload.take_file(payload).await?;
    } else {
        let detail = format!("Send multipart/form-data, or a file as one of {}.", FILE_TYPES.join(", "));
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    upload.options = upload.options.or(options.map(String::into_bytes));
    let (options, digest) = upload.settle()?;
    let file_name = upload.file_name.or(file_name).unwrap_or_else(|| "upload".to_owned());
    let spool = upload.spool;
    // Waits for the disk, so beside the threads that serve requests.
    let file = tokio::task::spawn_blocking(move || spool.finish())
        .await
        .map_err(|error| StoreError::Internal(error.to_string()))?
        .map_err(refused)?;
    let new = NewImport { file_name, file: file.clone(), options, actor: caller.actor() };
    queue(&state.store, once.with_digest(digest), new, &file).await
}

/// Queues the file; it is removed if that is refused, or was done before under the same key.
async fn queue(store: &Store, once: Once, new: NewImport, file: &Spooled) -> Answer {
    let is_taken = Arc::new(AtomicBool::new(false));
    let taken = is_taken.clone();
    let answer = once
        .write(store, move |tx| {
            let reply = insert(tx, &new)?;
            taken.store(true, Ordering::SeqCst);
            Ok(reply)
        })
        .await;
    // When the store gave no answer the row may still come to be: such a file is left to the sweep.
    let is_unsure = answer.as_ref().is_err_and(|problem| problem.status().is_server_error());
    if !is_unsure && !is_taken.load(Ordering::SeqCst) {
        import::discard(file);
    }
    answer
}

fn insert(tx: &Tx<'_>, new: &NewImport) -> Answer {
    let id = import::queue(tx, new).map_err(|error| match error {
        QueueError::Options(error) => Problem::field(within_options(&error.field), error.message),
        QueueError::Store(error) => error.into(),
    })?;
    let shown = shape(&find(tx.conn(), id)?);
    Ok(Reply::accepted(shown).with_location(format!("/api/v1/imports/{id}")))
}

const ISSUES: &str = "import_issues";

/// Lists rows of an import with something to say about them, in the order of the file.
///
/// `format=csv` gives all of them at once, with the cells as they stood there.
#[utoipa::path(get, path = "/imports/{id}/issues", operation_id = "list_import_issues",
    params(Paging, ("format" = Option<SheetFormat>, Query, description = "`json` if left out.")),
    responses((status = 200, content((Page<shapes::ImportIssue> = "application/json"), (Sheet = "text/csv")))))]
pub(super) async fn issues(
    _: Scoped<Read>,
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let mut query = Query::of(&request)?;
    let format = query.choice(
        "format",
        |word| ["json", "csv"].contains(&word).then(|| word.to_owned()),
        &["json", "csv"],
    );
    let limit = query.limit();
    let after = read_place(&mut query);
    query.finish()?;
    let id = *id;
    state.store.read(move |conn| find(conn, id)).await?;
    if format.as_deref() == Some("csv") {
        let columns = state.store.read(move |conn| imports::issue_columns(conn, id)).await?;
        return Ok(sheet(state.store.clone(), id, columns));
    }
    let rows =
        state.store.read(move |conn| imports::issues(conn, id, (after.0, &after.1), limit + 1)).await?;
    let cursor = |issue: &Issue| encode(ISSUES, &[json!(issue.row), json!(issue.reason)]);
    let body = paged(rows, limit, cursor, issue_shape);
    Ok(Reply::ok(body).respond_to(&request).map_into_boxed_body())
}

fn read_place(query: &mut Query) -> (i64, String) {
    match query.cursor(ISSUES).as_deref() {
        None => (0, String::new()),
        Some([Value::Number(row), Value::String(reason)]) if row.is_i64() => {
            (row.as_i64().unwrap_or_default(), reason.clone())
        }
        Some(_) => {
            query.error("cursor", "is not a cursor of this list; start again without it");
            (0, String::new())
        }
    }
}

/// All issues as one stream, page by page.
fn sheet(store: Store, id: i64, columns: Vec<String>) -> HttpResponse {
    let columns = Arc::new(columns);
    let first = stream::iter([Ok(Bytes::from(issues_csv_header(&columns)))]);
    let pages = stream::unfold(Some((0, String::new())), move |after| {
        let (store, columns) = (store.clone(), columns.clone());
        async move {
            let after = after?;
            let read = store.read(move |conn| imports::issues(conn, id, (after.0, &after.1), SHEET_PAGE));
            match read.await {
                Ok(rows) => {
                    let next = rows
                        .last()
                        .filter(|_| rows.len() == SHEET_PAGE)
                        .map(|row| (row.row, row.reason.clone()));
                    Some((Ok(Bytes::from(issues_csv_lines(&columns, &rows))), next))
                }
                // The answer breaks off, so that nobody takes half a sheet for a whole one.
                Err(error) => {
                    tracing::error!(%error, "a sheet broke off");
                    Some((Err(Problem::from(error)), None))
                }
            }
        }
    });
    let name = format!("attachment; filename=\"import-{id}-issues.csv\"");
    HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .streaming::<_, Problem>(first.chain(pages))
}
