//! `/admin/segments/attributes`: what attributes people have, and what builder and editor suggest of it.

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::{Value, context};

use super::super::Answer;
use super::super::format;
use super::super::page::Page;
use crate::domain::phone::Phone;
use crate::store::StoreError;
use crate::store::attributes::{self, AttributeRow};
use crate::web::State;
use crate::web::page::Query;

/// Rows of a page, and frequent values of a row.
const ROWS: usize = 50;
const VALUES: usize = 5;
/// Names and values that are suggested at once.
pub(super) const SUGGESTED: usize = 20;

pub(in crate::web::admin) async fn catalogue(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let sought = query.text("q").unwrap_or_default().trim().to_owned();
    let number = query.integer("page").unwrap_or(1).clamp(1, 1_000) as usize;
    query.finish()?;
    let part = sought.clone();
    let (standing, mut rows) = state
        .store
        .read(move |conn| {
            let standing = attributes::standing(conn)?;
            let rows = if part.is_empty() {
                attributes::list(conn, ROWS + 1, (number - 1) * ROWS)?
            } else {
                let found = attributes::names(conn, &part, ROWS)?;
                let rows = found.iter().filter_map(|(name, ..)| attributes::find(conn, name).transpose());
                rows.collect::<Result<_, _>>()?
            };
            Ok::<_, StoreError>((standing, rows))
        })
        .await?;
    let has_more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let is_masked = page.is_masked();
    let values = context! {
        title => "Attributes",
        section => "segments",
        q => sought,
        number,
        has_more,
        standing => context! {
            as_of => standing.as_of,
            people => standing.people,
            behind => standing.behind,
            is_cut => standing.is_cut,
        },
        rows => rows.iter().map(|row| shown(row, standing.people, is_masked)).collect::<Vec<_>>(),
    };
    if page.is_htmx {
        page.part("segments/_attributes.html", values)
    } else {
        page.show("segments/attributes.html", values)
    }
}

fn shown(row: &AttributeRow, people: i64, is_masked: bool) -> Value {
    let total = row.kinds.seen().iter().map(|(_, n)| *n).sum::<u64>().max(1);
    let kinds: Vec<Value> = row
        .kinds
        .seen()
        .into_iter()
        .map(|(word, n)| context! { word, share => n * 100 / total, is_only => n == total })
        .collect();
    context! {
        name => row.name.clone(),
        people => row.people,
        of => people,
        is_exact => row.is_exact,
        is_varied => row.is_varied,
        kinds,
        examples => row.examples.iter().map(|value| fit_for(value, is_masked)).collect::<Vec<_>>(),
        values => row.values.iter().take(VALUES).map(|(value, n)| context! { value => fit_for(value, is_masked), n => *n })
            .collect::<Vec<_>>(),
        more_values => row.values.len().saturating_sub(VALUES),
    }
}

/// A value as the viewer may see it: a number of somebody is masked wherever it stands.
pub(in crate::web::admin) fn fit_for(value: &str, is_masked: bool) -> String {
    if is_masked && Phone::parse(value, None).is_ok() { format::phone(value, true) } else { value.to_owned() }
}

/// Options for names that have what was typed in them.
pub(in crate::web::admin) async fn names(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let typed = of_row(&request, "name")?;
    let found = state.store.read(move |conn| attributes::names(conn, &typed, SUGGESTED)).await?;
    let options: Vec<Value> = found
        .iter()
        .map(|(name, kinds, people)| context! { value => name.clone(), label => kinds.main().as_str(), people => *people })
        .collect();
    page.part("segments/_options.html", context! { options })
}

/// Options for values of one attribute that begin with what was typed.
pub(in crate::web::admin) async fn values(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let (name, typed) = (of_row(&request, "name")?, of_row(&request, "value")?);
    let found = state.store.read(move |conn| attributes::values(conn, &name, &typed, SUGGESTED)).await?;
    let is_masked = page.is_masked();
    let options: Vec<Value> =
        found.iter().map(|value| context! { value => fit_for(value, is_masked) }).collect();
    page.part("segments/_options.html", context! { options })
}

/// A field of the one row that asks: `rules.3.name`.
fn of_row(request: &HttpRequest, field: &str) -> Result<String, crate::web::error::Problem> {
    let mut query = Query::of(request)?;
    let fields = query.prefixed("rules.");
    let found = fields.into_iter().find(|(key, _)| key.rsplit('.').next() == Some(field));
    Ok(found.map(|(_, value)| value).unwrap_or_default())
}
