//! `/admin/campaigns`: all of them, what is paused first of all.

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::{Value, context};

use super::{named, shown};
use crate::domain::campaign::CampaignStatus as State;
use crate::store::reports::campaigns::{self as reports, CampaignView};
use crate::store::{Connection, StoreError, templates, users};
use crate::web;
use crate::web::admin::Answer;
use crate::web::admin::page::Page;
use crate::web::error::Problem;
use crate::web::page::Query;

/// Notes about paused campaigns, at most.
const NOTES: usize = 5;

/// What the pills ask for: word in the address, label, states.
const GROUPS: [(&str, &str, &[State]); 5] = [
    ("running", "Running", &[State::Launching, State::Running]),
    ("scheduled", "Scheduled", &[State::Scheduled]),
    ("paused", "Paused", &[State::Paused]),
    ("draft", "Drafts", &[State::Draft]),
    ("done", "Done", &[State::Finished, State::Cancelled]),
];

fn states(group: &str) -> Option<&'static [State]> {
    GROUPS.iter().find(|(word, ..)| *word == group).map(|(_, _, states)| *states)
}

struct Found {
    rows: Vec<CampaignView>,
    paused: Vec<CampaignView>,
    live: std::collections::HashMap<State, i64>,
    is_any: bool,
    people: i64,
    has_template: bool,
}

pub(in crate::web::admin) async fn show(page: Page, state: Data<web::State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let place = query.page("campaigns");
    let words: Vec<&str> = GROUPS.iter().map(|(word, ..)| *word).collect();
    let group = query.choice("status", |word| states(word).map(|_| word.to_owned()), &words);
    query.finish()?;
    let wanted = group.as_deref().and_then(states).unwrap_or_default();
    let now = page.now();
    let (before, limit) = (place.before, place.fetch());
    let found = state.store.read(move |conn| find(conn, wanted, (before, limit), now)).await?;
    let rows: Vec<(i64, serde_json::Value)> =
        found.rows.iter().map(|view| (view.campaign.id, serde_json::Value::Null)).collect();
    let next = place.answer(rows, |(id, _)| *id, |(_, row)| row.clone());
    let zone = &page.zone;
    let row = |view: &CampaignView| shown::row(view, zone, now);
    let live = |states: &[State]| -> i64 { states.iter().filter_map(|state| found.live.get(state)).sum() };
    let pills: Vec<Value> = GROUPS
        .iter()
        .map(|(word, label, states)| {
            let n = live(states);
            context! { word => *word, label => *label, n => (n > 0).then_some(n), is_here => group.as_deref() == Some(word) }
        })
        .collect();
    let values = context! {
        title => "Campaigns",
        section => "campaigns",
        rows => found.rows.iter().take(place.limit).map(row).collect::<Vec<_>>(),
        paused => found.paused.iter().map(row).collect::<Vec<_>>(),
        running => live(&[State::Launching, State::Running]),
        scheduled => live(&[State::Scheduled]),
        waits_for_you => live(&[State::Paused]),
        pills,
        group,
        is_any => found.is_any,
        people => found.people,
        has_template => found.has_template,
        next => next.get("next_cursor").and_then(|cursor| cursor.as_str()),
        is_first => before == i64::MAX,
    };
    page.show("campaigns/list.html", values)
}

fn find(
    conn: &Connection,
    states: &[State],
    (before, limit): (i64, usize),
    now: crate::clock::Millis,
) -> Result<Found, Problem> {
    let list = |states: &[State], before, limit| -> Result<Vec<CampaignView>, StoreError> {
        let rows = reports::list(conn, states, (before, limit), now)?;
        Ok(rows.into_iter().map(|row| named(conn, row)).collect())
    };
    let rows = list(states, before, limit)?;
    // The notes stand on the first page alone.
    let paused = if before == i64::MAX { list(&[State::Paused], i64::MAX, NOTES)? } else { Vec::new() };
    let is_any = !rows.is_empty() || reports::is_any(conn)?;
    Ok(Found {
        rows,
        paused,
        live: reports::live(conn)?,
        is_any,
        people: if is_any { 0 } else { users::counts(conn)?.iter().map(|(_, n)| n).sum() },
        has_template: is_any || !templates::list(conn, i64::MAX, 1)?.is_empty(),
    })
}
