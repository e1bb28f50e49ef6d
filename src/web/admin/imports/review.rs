//! The dry run of a draft as a difference: new, changed, unchanged, consent kept, rejected; and the button that
//! lets it come in.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use minijinja::context;
use serde_json::Value;

use super::super::Answer;
use super::super::failure::Failure;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::super::render::values;
use super::columns::consent_of;
use super::rows::{column_of, kind_of, of_issue, of_sample, some_of_each};
use super::{find, find_draft, refusal, survey_of, with_import};
use crate::import::{self, MAX_SAMPLES, Options, Sample, SampleKind};
use crate::store::StoreError;
use crate::store::imports::{self, ImportRow, ImportState, Wanted};
use crate::web::State;
use crate::web::error::Problem;
use crate::web::page::Query;
use crate::web::reply::Reply;

/// Rows of one page.
const ROWS: usize = 50;
/// Behind every reason of a row.
const BEHIND: &str = "~";

/// Which rows are looked at.
struct Look {
    show: String,
    /// Samples passed over, or the row of the file behind which rejected ones begin.
    from: i64,
}

impl Look {
    fn of(request: &HttpRequest) -> Result<Look, Problem> {
        const WORDS: [&str; 5] = ["all", "new", "changed", "kept", "rejected"];
        let mut query = Query::of(request)?;
        let known = |word: &str| WORDS.contains(&word).then(|| word.to_owned());
        let show = query.choice("show", known, &WORDS).unwrap_or_else(|| "all".to_owned());
        let from = query.integer("from").unwrap_or(0);
        query.finish()?;
        Ok(Look { show, from })
    }
}

/// Shows the dry run of a draft.
pub(in crate::web::admin) async fn show(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Answer {
    let look = Look::of(&request)?;
    let draft = match find_draft(&page, &state, *id).await? {
        Ok(draft) => draft,
        Err(elsewhere) => return elsewhere,
    };
    if draft.state == ImportState::Checking {
        return page.show("imports/checking.html", with_import(&draft, context! { is_moving => true }));
    }
    if draft.checked_at.is_none() {
        return page.go_to(&format!("/admin/imports/{}/columns", draft.id), "");
    }
    render(&page, &state, (&draft, &look), &filled(&draft)).await
}

/// What was said about consent so far.
fn filled(draft: &ImportRow) -> Filled {
    let text = |path: &str| draft.options.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let day = |text: String| text.chars().take(10).collect::<String>();
    let pairs = [
        ("consent.source", text("/consent/source")),
        ("consent.evidence", text("/consent/evidence")),
        ("consent.obtained_at", text("/consent/obtained_at").map(day)),
    ];
    Filled::with(pairs.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

async fn render(page: &Page, state: &State, (draft, look): (&ImportRow, &Look), filled: &Filled) -> Answer {
    let samples = samples_of(draft).await?;
    let (rows, next) = rows(page, state, (draft, look), &samples).await?;
    page.show_as(
        filled.status(),
        "imports/review.html",
        with_import(
            draft,
            context! {
                form => filled.value(),
                show => look.show.clone(),
                rows => values(rows),
                next => next.map(|from| {
                    format!("/admin/imports/{}/review?show={}&from={from}", draft.id, look.show)
                }),
                // Counted as far as samples are kept; the figures above have the whole.
                most => MAX_SAMPLES,
                sheet => survey_of(state, draft).await.ok().and_then(|survey| survey.sheet),
                consent_column => column_of(draft, "consent"),
                took => draft.checked_at.zip(draft.started_at).map(|(end, start)| end - start),
                coming => draft.tally.created + draft.tally.updated,
            },
        ),
    )
}

async fn samples_of(draft: &ImportRow) -> Result<Vec<Sample>, Failure> {
    let path = draft.spool_path.clone().unwrap_or_default();
    let loaded = tokio::task::spawn_blocking(move || import::samples(&path)).await;
    Ok(loaded.map_err(|error| StoreError::Internal(error.to_string()))?)
}

/// The rows of a page, and where the next one begins.
async fn rows(
    page: &Page,
    state: &State,
    (draft, look): (&ImportRow, &Look),
    samples: &[Sample],
) -> Result<(Vec<Value>, Option<i64>), Failure> {
    if let Some(kind) = kind_of(&look.show) {
        return Ok(of_kind(samples, kind, look.from));
    }
    let (id, from) = (draft.id, look.from);
    let wanted = Wanted { only_rejected: true, reason: None };
    let issues =
        state.store.read(move |conn| imports::issues_of(conn, id, &wanted, (from, BEHIND), ROWS + 1)).await?;
    let column = column_of(draft, "phone");
    let next = issues.get(ROWS - 1).filter(|_| issues.len() > ROWS).map(|issue| issue.row);
    let shown: Vec<Value> =
        issues.iter().take(ROWS).map(|issue| of_issue(issue, column.as_deref(), page)).collect();
    match look.show.as_str() {
        "rejected" => Ok((shown, next)),
        _ => Ok((some_of_each(samples, shown), None)),
    }
}

fn of_kind(samples: &[Sample], kind: SampleKind, from: i64) -> (Vec<Value>, Option<i64>) {
    let skipped = usize::try_from(from).unwrap_or(usize::MAX);
    let mut found = samples.iter().filter(|sample| sample.kind == kind).skip(skipped);
    let rows: Vec<Value> = found.by_ref().take(ROWS).map(of_sample).collect();
    let next = found.next().map(|_| from.saturating_add(ROWS as i64));
    (rows, next)
}

/// The options of the draft with what this form says about consent.
fn options_of(draft: &ImportRow, form: &Form) -> Result<Options, Problem> {
    let mut options = draft.options.clone();
    if form.is_on("tells_consent")
        && let Some(options) = options.as_object_mut()
    {
        let state = options.get("consent").and_then(|consent| consent.get("state")).cloned();
        let loosen =
            options.get("consent").and_then(|consent| consent.get("loosen")) == Some(&Value::Bool(true));
        let mut consent = consent_of(form, loosen);
        if let (Some(consent), Some(state)) = (consent.as_object_mut(), state) {
            consent.insert("state".to_owned(), state);
        }
        options.insert("consent".to_owned(), consent);
    }
    Options::parse(&options).map_err(|errors| {
        let named = |error: import::OptionsError| crate::web::error::FieldError {
            field: error.field,
            message: error.message,
        };
        Problem::fields(errors.into_iter().map(named).collect())
    })
}

/// Lets a draft come in, as it was looked at.
pub(in crate::web::admin) async fn run(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let draft = find(&state, *id).await?;
    let once = form.once.clone();
    let revision = form.text("revision").and_then(|text| text.parse::<i64>().ok()).unwrap_or(-1);
    let ran = match options_of(&draft, &form) {
        Ok(options) => {
            // A second click comes when the file is gone: what is remembered of its columns was kept by the first.
            let fingerprint = survey_of(&state, &draft).await.map_or([0; 32], |survey| survey.fingerprint());
            let (id, actor) = (draft.id, page.actor());
            once.write(&state.store, move |tx| {
                import::run_draft(tx, (id, revision), &options, &fingerprint, &actor).map_err(refusal)?;
                Ok(Reply::created(format!("/admin/imports/{id}"), Value::Null))
            })
            .await
        }
        Err(problem) => Err(problem),
    };
    match ran {
        Ok(reply) => page.go(&reply, ""),
        Err(problem) if draft.state != ImportState::Draft || draft.checked_at.is_none() => {
            Err(problem.into())
        }
        Err(problem) => {
            let look = Look { show: "all".to_owned(), from: 0 };
            let filled = Filled::refused(&form, problem)?;
            render(&page, &state, (&draft, &look), &filled).await
        }
    }
}

/// Removes a draft and its file.
pub(in crate::web::admin) async fn discard(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    _form: Form,
) -> Answer {
    let draft = find(&state, *id).await?;
    if !import::discard_draft(&state.store, &draft).await? {
        let detail = "This file was run already. Its attribute changes can be undone.";
        return Err(Problem::conflict(detail).into());
    }
    page.go_to("/admin/imports", &format!("Discarded {}. Nothing of it was saved.", draft.file_name))
}
