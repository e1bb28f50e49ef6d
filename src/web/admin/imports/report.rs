//! An import on its way and at its end: how far, what became of it, which rows had to stay out, and its undo.

use std::time::Duration;

use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use minijinja::context;
use serde_json::Value;

use super::super::Answer;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::happenings;
use super::super::live::{self, Part, Topic};
use super::super::page::Page;
use super::super::render::values;
use super::rows::{column_of, of_issue};
use super::{find, href, with_import};
use crate::import::{self, UndoError, Undoable, rejected_csv_header, rejected_csv_lines};
use crate::store::imports::{self, ImportRow, ImportState, Wanted};
use crate::store::{Store, StoreError};
use crate::web::State;
use crate::web::error::Problem;
use crate::web::page::Query;
use crate::web::reply::Reply;

/// Rows of one page.
const ROWS: usize = 50;
/// Between two looks at how far it is.
const EVERY: Duration = Duration::from_millis(500);
/// Rows of one read while a sheet is written.
const SHEET_PAGE: usize = 1_000;

/// The undo of an import, as templates read it.
async fn undo_of(state: &State, import: &ImportRow) -> Result<minijinja::Value, Failure> {
    let id = import.id;
    let asked = state.store.read(move |conn| imports::find_undo(conn, id)).await?;
    let days = state.config.get().retention.import_changes_days;
    let now = state.store.clock().now();
    Ok(match import::undoable(import, asked, days, now) {
        Undoable::Until(until) => context! { can => true, until },
        Undoable::NotYet | Undoable::Nothing => context! { can => false },
        Undoable::TooLate => context! { can => false, is_late => true, days },
        Undoable::Asked(undo) => context! {
            can => false, is_asked => true, restored => undo.restored, kept => undo.kept,
            asked_at => undo.asked_at, finished_at => undo.finished_at,
        },
    })
}

/// Whether anything moves that a viewer would want to see moving.
fn is_moving(import: &ImportRow, undo: &minijinja::Value) -> bool {
    let is_asked = undo.get_attr("is_asked").is_ok_and(|value| value.is_true());
    let is_undoing = is_asked && undo.get_attr("finished_at").is_ok_and(|value| value.is_none());
    matches!(import.state, ImportState::Checking | ImportState::Queued | ImportState::Running) || is_undoing
}

/// Shows an import.
pub(in crate::web::admin) async fn show(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Answer {
    let mut query = Query::of(&request)?;
    let (after, reason) = (query.text("after").unwrap_or_default(), query.text("reason"));
    query.finish()?;
    // Where the last page ended: row and reason.
    let (row, last) = after.split_once('.').unwrap_or(("0", ""));
    let after = (row.parse::<i64>().unwrap_or(0), last.to_owned());
    let import = find(&state, *id).await?;
    if import.state.is_draft() {
        return page.go_to(&href(&import), "");
    }
    let undo = undo_of(&state, &import).await?;
    let (id, wanted) = (import.id, Wanted { only_rejected: false, reason: reason.clone() });
    let issues = state
        .store
        .read(move |conn| imports::issues_of(conn, id, &wanted, (after.0, &after.1), ROWS + 1))
        .await?;
    let column = column_of(&import, "phone").or_else(|| Some("phone".to_owned()));
    let next = issues.get(ROWS - 1).filter(|_| issues.len() > ROWS).map(|last| {
        let place = format!("{}.{}", last.row, last.reason);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(reason.iter().map(|reason| ("reason", reason)));
        format!("/admin/imports/{id}?{}", query.append_pair("after", &place).finish())
    });
    let rows: Vec<Value> =
        issues.iter().take(ROWS).map(|issue| of_issue(issue, column.as_deref(), &page)).collect();
    let more = context! {
        is_moving => is_moving(&import, &undo),
        undo,
        rows => values(rows),
        reason,
        next,
        consent_column => column_of(&import, "consent"),
        actor => actor_of(&page, &import),
        took => import.finished_at.zip(import.started_at).map(|(end, start)| end - start),
    };
    page.show("imports/show.html", with_import(&import, more))
}

/// Who asked for it, in words.
fn actor_of(page: &Page, import: &ImportRow) -> String {
    let own = page.viewer.as_ref().filter(|_| import.actor == page.actor());
    own.map_or_else(|| happenings::actor(&import.actor), |viewer| viewer.operator.email.clone())
}

/// How far it is, told to all who look. At its end the part says so, and `imports.js` loads the page again, which
/// has another shape then.
pub(in crate::web::admin) async fn live(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let id = *id;
    find(&state, id).await?;
    let topic = Topic::every(format!("import:{id}"), EVERY);
    live::stream(&page, &state, topic, move |state: Data<State>| async move {
        let import = find(&state, id).await?;
        let undo = undo_of(&state, &import).await?;
        Ok(move |page: &Page| {
            let is_moving = is_moving(&import, &undo);
            let values = with_import(&import, context! { undo => undo.clone(), is_moving });
            Ok(vec![Part::new("progress", page.part_text("imports/_progress.html", values)?)])
        })
    })
}

/// Asks whether the changes of an import should be undone.
pub(in crate::web::admin) async fn ask_undo(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let import = find(&state, *id).await?;
    let undo = undo_of(&state, &import).await?;
    if !undo.get_attr("can").is_ok_and(|value| value.is_true()) {
        return page.go_to(&href(&import), "");
    }
    page.show("imports/undo.html", with_import(&import, context! { undo }))
}

/// Begins the undo.
pub(in crate::web::admin) async fn undo(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let days = state.config.get().retention.import_changes_days;
    let (id, actor) = (*id, page.actor());
    let reply = form
        .once
        .write(&state.store, move |tx| {
            import::undo(tx, id, days, &actor).map_err(|error| match error {
                UndoError::Unknown(_) => Problem::not_found(error.to_string()),
                UndoError::Store(error) => error.into(),
                other => Problem::conflict(other.to_string()),
            })?;
            Ok(Reply::created(format!("/admin/imports/{id}"), Value::Null))
        })
        .await?;
    page.go(&reply, "")
}

/// The rows that were not taken, as a file: their cells as they stood, and why.
pub(in crate::web::admin) async fn sheet(state: Data<State>, id: Path<i64>) -> Result<HttpResponse, Failure> {
    let import = find(&state, *id).await?;
    let id = import.id;
    let columns = state.store.read(move |conn| imports::issue_columns(conn, id)).await?;
    let name = format!("attachment; filename=\"import-{id}-rejected.csv\"");
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header(("content-disposition", name))
        .streaming(lines(state.store.clone(), id, columns)))
}

/// All rejected rows as one stream, page by page.
fn lines(
    store: Store,
    id: i64,
    columns: Vec<String>,
) -> impl futures_util::Stream<Item = Result<Bytes, StoreError>> {
    let first = Bytes::from(rejected_csv_header(&columns));
    let pages = stream::unfold(Some((0, String::new())), move |after| {
        let (store, columns) = (store.clone(), columns.clone());
        async move {
            let after = after?;
            let wanted = Wanted { only_rejected: true, reason: None };
            let read = store
                .read(move |conn| imports::issues_of(conn, id, &wanted, (after.0, &after.1), SHEET_PAGE));
            match read.await {
                Ok(rows) => {
                    let next = rows.last().filter(|_| rows.len() == SHEET_PAGE);
                    let next = next.map(|row| (row.row, row.reason.clone()));
                    Some((Ok(Bytes::from(rejected_csv_lines(&columns, &rows))), next))
                }
                // The answer breaks off, so that nobody takes half a sheet for a whole one.
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    futures_util::StreamExt::chain(stream::iter([Ok(first)]), pages)
}
