//! What each column of a draft is taken for, and what else an import has to know.

use actix_web::web::{Data, Path};
use minijinja::context;
use serde_json::{Map, Value, json};

use super::super::Answer;
use super::super::failure::Failure;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::super::render::values;
use super::{find, find_draft, refusal, survey_of, with_import};
use crate::import::{self, Column, Options, OptionsError, Survey};
use crate::store::StoreError;
use crate::store::imports::{self, ImportRow};
use crate::store::{attributes, topics};
use crate::web::State;
use crate::web::error::{FieldError, Problem};
use crate::web::reply::Reply;

/// What a column may be taken for; everything else is an attribute.
const FIELDS: [&str; 4] = ["phone", "consent", "topics", "timezone"];
/// Names of attributes that are suggested: those that most people have.
const OFFERED: usize = 100;
/// Encodings that are offered when the guess is wrong, with what they are called.
pub(super) const ENCODINGS: &[(&str, &str)] = &[
    ("UTF-8", "UTF-8"),
    ("windows-1252", "Western European (Windows-1252)"),
    ("ISO-8859-15", "Western European (ISO-8859-15)"),
    ("windows-1250", "Central European (Windows-1250)"),
    ("windows-1251", "Cyrillic (Windows-1251)"),
    ("windows-1253", "Greek (Windows-1253)"),
    ("windows-1254", "Turkish (Windows-1254)"),
    ("windows-1255", "Hebrew (Windows-1255)"),
    ("windows-1256", "Arabic (Windows-1256)"),
    ("UTF-16LE", "UTF-16, little-endian"),
    ("UTF-16BE", "UTF-16, big-endian"),
    ("Shift_JIS", "Japanese (Shift_JIS)"),
    ("GBK", "Chinese (GBK)"),
    ("EUC-KR", "Korean (EUC-KR)"),
];

/// Shows the columns of a draft.
pub(in crate::web::admin) async fn show(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let draft = match find_draft(&page, &state, *id).await? {
        Ok(draft) => draft,
        Err(elsewhere) => return elsewhere,
    };
    let survey = survey_of(&state, &draft).await?;
    let filled = filled(&draft, &survey);
    render(&page, &state, (&draft, &survey), &filled).await
}

async fn render(
    page: &Page,
    state: &State,
    (draft, survey): (&ImportRow, &Survey),
    filled: &Filled,
) -> Answer {
    let fingerprint = survey.fingerprint();
    let (topics, remembered, known) = state
        .store
        .read(move |conn| {
            let known = attributes::list(conn, OFFERED, 0)?;
            Ok::<_, StoreError>((topics::list(conn)?, imports::remembered(conn, &fingerprint)?, known))
        })
        .await?;
    let known: Vec<&str> = known.iter().map(|attribute| attribute.name.as_str()).collect();
    let columns: Vec<Value> = survey.columns.iter().enumerate().map(|(at, c)| column(at, c, draft)).collect();
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let encodings: Vec<Value> =
        ENCODINGS.iter().map(|(value, label)| json!({"value": value, "label": label})).collect();
    page.show_as(
        filled.status(),
        "imports/columns.html",
        with_import(
            draft,
            context! {
                form => filled.value(),
                survey => values(survey),
                columns => values(columns),
                topics => values(names),
                encodings => values(encodings),
                attributes => values(known),
                remembered => remembered.map(|found| context! {
                    file_name => found.file_name, used_at => found.used_at,
                }),
            },
        ),
    )
}

fn column(at: usize, column: &Column, draft: &ImportRow) -> Value {
    let told = draft.options.get("mapping").and_then(|mapping| mapping.get(column.name.trim()));
    let now = told.map_or_else(|| column.guess.clone(), |target| target.as_str().map(str::to_owned));
    json!({
        "at": at,
        "name": column.name,
        "examples": column.examples,
        "kind": column.kind,
        "filled": column.filled,
        "is_guess": now == column.guess,
    })
}

/// The form as the draft's options have it.
fn filled(draft: &ImportRow, survey: &Survey) -> Filled {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mapping = draft.options.get("mapping").and_then(Value::as_object);
    for (at, column) in survey.columns.iter().enumerate() {
        let told = mapping.and_then(|mapping| mapping.get(column.name.trim()));
        let target = told.map_or_else(|| column.guess.clone(), |value| value.as_str().map(str::to_owned));
        let (used, name) = match target.as_deref() {
            None => ("skip", import_name(column)),
            Some(field) if FIELDS.contains(&field) => (field, import_name(column)),
            Some(name) => ("attribute", name.to_owned()),
        };
        pairs.push((format!("as.{at}"), used.to_owned()));
        pairs.push((format!("name.{at}"), name));
    }
    let text = |path: &str| draft.options.pointer(path).and_then(Value::as_str).map(str::to_owned);
    for (name, path) in [
        ("default_region", "/default_region"),
        ("mode", "/mode"),
        ("consent.state", "/consent/state"),
        ("consent.source", "/consent/source"),
        ("consent.evidence", "/consent/evidence"),
        ("consent.obtained_at", "/consent/obtained_at"),
    ] {
        // The field asks for a day.
        let value = text(path).map(|value| match name {
            "consent.obtained_at" => value.chars().take(10).collect(),
            _ => value,
        });
        pairs.extend(value.map(|value| (name.to_owned(), value)));
    }
    if draft.options.pointer("/consent/loosen").and_then(Value::as_bool) == Some(true) {
        pairs.push(("consent.loosen".to_owned(), "1".to_owned()));
    }
    let joined = draft.options.get("topics").and_then(Value::as_array);
    pairs.extend(
        joined.into_iter().flatten().filter_map(Value::as_str).map(|t| ("topics".to_owned(), t.to_owned())),
    );
    Filled::with(pairs.iter().map(|(name, value)| (name.as_str(), value.clone())))
}

/// The name that a column would have as an attribute.
fn import_name(column: &Column) -> String {
    match column.guess.as_deref() {
        Some(name) if !FIELDS.contains(&name) => name.to_owned(),
        _ => import::attribute_name(&column.name),
    }
}

/// The options that a form of this page says.
fn options_of(form: &Form, survey: &Survey, draft: &ImportRow) -> Result<Options, Problem> {
    let mut mapping = Map::new();
    let mut errors = Vec::new();
    for (at, column) in survey.columns.iter().enumerate() {
        let used = form.text(&format!("as.{at}")).unwrap_or_else(|| "skip".to_owned());
        let target = match used.as_str() {
            "skip" => Value::Null,
            "attribute" => match form.text(&format!("name.{at}")) {
                Some(name) => Value::from(name),
                None => {
                    let message = "say how the attribute is called, or leave the column out";
                    errors.push(FieldError { field: format!("name.{at}"), message: message.to_owned() });
                    continue;
                }
            },
            field if FIELDS.contains(&field) => Value::from(field),
            _ => return Err(Problem::field(format!("as.{at}"), "choose one of the list")),
        };
        mapping.insert(column.name.trim().to_owned(), target);
    }
    if !mapping.values().any(|target| target.as_str() == Some("phone")) {
        let message = "say which column holds the phone number";
        errors.push(FieldError { field: "as.0".to_owned(), message: message.to_owned() });
    }
    let mut json = form.json(&["default_region", "mode"]);
    json.insert("mapping".to_owned(), Value::Object(mapping));
    json.insert("encoding".to_owned(), draft.options.get("encoding").cloned().unwrap_or_default());
    json.insert("topics".to_owned(), json!(form.all("topics")));
    json.insert("consent".to_owned(), consent_of(form, form.is_on("consent.loosen")));
    let options = Options::parse(&Value::Object(json)).map_err(|refused| named(refused, survey));
    match (options, errors.is_empty()) {
        (Ok(options), true) => Ok(options),
        (Ok(_), false) => Err(Problem::fields(errors)),
        (Err(problem), _) => {
            errors.extend(problem.into_fields());
            Err(Problem::fields(errors))
        }
    }
}

/// What a form says about consent, as the API takes it.
pub(super) fn consent_of(form: &Form, loosen: bool) -> Value {
    let mut consent = Map::new();
    for name in ["state", "source", "evidence", "obtained_at"] {
        if let Some(text) = form.text(&format!("consent.{name}")) {
            consent.insert(name.to_owned(), Value::from(text));
        }
    }
    consent.insert("loosen".to_owned(), Value::from(loosen));
    Value::Object(consent)
}

/// Faults by the fields of the form: a column's is the field for its name.
fn named(refused: Vec<OptionsError>, survey: &Survey) -> Problem {
    let field = |error: &OptionsError| {
        let column = error.field.strip_prefix("mapping.")?;
        let at = survey.columns.iter().position(|known| known.name.trim() == column)?;
        Some(format!("name.{at}"))
    };
    let errors = refused.into_iter().map(|error| FieldError {
        field: field(&error).unwrap_or_else(|| error.field.clone()),
        message: error.message,
    });
    Problem::fields(errors.collect())
}

/// Keeps what was said and lets the dry run begin.
pub(in crate::web::admin) async fn save(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let draft = match find_draft(&page, &state, *id).await? {
        Ok(draft) => draft,
        Err(elsewhere) => return elsewhere,
    };
    let survey = survey_of(&state, &draft).await?;
    let once = form.once.clone();
    let saved = match options_of(&form, &survey, &draft) {
        Ok(options) => {
            let id = draft.id;
            once.write(&state.store, move |tx| {
                import::check(tx, id, &options).map_err(refusal)?;
                Ok(Reply::created(format!("/admin/imports/{id}/review"), Value::Null))
            })
            .await
        }
        Err(problem) => Err(problem),
    };
    match saved {
        Ok(reply) => page.go(&reply, ""),
        Err(problem) => {
            let filled = Filled::refused(&form, problem)?;
            render(&page, &state, (&draft, &survey), &filled).await
        }
    }
}

/// Begins again with what the columns look like, whatever was remembered or said.
pub(in crate::web::admin) async fn guess(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let draft = find(&state, *id).await?;
    let survey = survey_of(&state, &draft).await?;
    read_as(&page, &state, (&draft, survey), form, "The columns are as they look.").await
}

/// Reads the file in another encoding.
pub(in crate::web::admin) async fn read_again(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let draft = find(&state, *id).await?;
    let label = form.text("encoding").unwrap_or_default();
    let Some((encoding, called)) = ENCODINGS.iter().find(|(value, _)| *value == label) else {
        return Err(Problem::field("encoding", "choose one of the list").into());
    };
    let path = draft.spool_path.clone().unwrap_or_default();
    let regions = super::regions(&state);
    let read = tokio::task::spawn_blocking(move || {
        let survey = import::survey_file(&path, Some(encoding), &regions)?;
        import::keep_survey(&path, &survey)?;
        Ok::<_, import::FileError>(survey)
    });
    match read.await.map_err(|error| StoreError::Internal(error.to_string()))? {
        Ok(survey) => {
            let notice = format!("Read again as {called}.");
            read_as(&page, &state, (&draft, survey), form, &notice).await
        }
        Err(error) => {
            let survey = survey_of(&state, &draft).await?;
            let fault = Problem::field("encoding", format!("{called} does not fit: {error}"));
            let mut shown = filled(&draft, &survey);
            shown.refuse(fault);
            render(&page, &state, (&draft, &survey), &shown).await
        }
    }
}

async fn read_as(
    page: &Page,
    state: &State,
    (draft, survey): (&ImportRow, Survey),
    form: Form,
    notice: &str,
) -> Result<actix_web::HttpResponse, Failure> {
    let id = draft.id;
    let reply = form
        .once
        .write(&state.store, move |tx| {
            import::read_again(tx, id, &survey).map_err(refusal)?;
            Ok(Reply::created(format!("/admin/imports/{id}/columns"), Value::Null))
        })
        .await?;
    page.go(&reply, notice)
}
