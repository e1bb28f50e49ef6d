//! `/admin/campaigns`: what is out, what comes, what is stuck. Each page reads the small tables of counts and writes
//! by the readers and flows of the API.
//!
//! - `list`, `compare`: many at once
//! - `plan`: the three steps that say who, what and when; `preview`: the text on somebody's phone
//! - `review`: the fourth step, with the `waterfall` of its audience; `launch`: the launch, and tests before it
//! - `watch`: one that runs or is over; `act`: what is done with it; `people`: person by person
//! - `figures` adds up, `shown` and `reasons` put in words, `look` keeps what the walk over an audience found

pub(super) mod act;
pub(super) mod compare;
mod figures;
pub(super) mod launch;
pub(super) mod list;
mod look;
pub(super) mod people;
pub(super) mod plan;
pub(super) mod preview;
mod reasons;
pub(super) mod review;
mod shown;
mod steps;
pub(super) mod watch;
mod waterfall;

use std::collections::HashMap;

use super::failure::Failure;
use super::form::Form;
use crate::clock::Millis;
use crate::store::reports::campaigns::{self as reports, CampaignView};
use crate::store::{Connection, Store, operators};
use crate::web::error::Problem;
use crate::web::etag::IfMatch;

pub use look::Looks;

/// From so many people on, a launch asks to type their number.
const CONFIRM_FROM: i64 = 1_000;

/// One campaign with its progress.
async fn find(store: &Store, id: i64, now: Millis) -> Result<CampaignView, Failure> {
    Ok(store.read(move |conn| view(conn, id, now)).await?)
}

fn view(conn: &Connection, id: i64, now: Millis) -> Result<CampaignView, Problem> {
    let found = reports::find(conn, id, now)?.map(|view| named(conn, view));
    found.ok_or_else(|| Problem::not_found(format!("There is no campaign {id}. It may have been deleted.")))
}

/// The same with who paused it by their address.
fn named(conn: &Connection, mut view: CampaignView) -> CampaignView {
    view.campaign.pause_reason = view.campaign.pause_reason.map(|reason| with_names(conn, &reason));
    view
}

/// A sentence that names `operator:3`, with that operator's address instead.
fn with_names(conn: &Connection, sentence: &str) -> String {
    const OPERATOR: &str = "operator:";
    let Some((before, rest)) = sentence.split_once(OPERATOR) else {
        return sentence.to_owned();
    };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    let found = digits.parse().ok().and_then(|id| operators::find(conn, id).ok().flatten());
    let name = found.map_or_else(|| format!("{OPERATOR}{digits}"), |operator| operator.email);
    format!("{before}{name}{after}")
}

/// The version that a form was made from: an edit of an older one is refused with all that was typed kept.
fn version_of(form: &Form) -> IfMatch {
    IfMatch::of_version(form.text("version").and_then(|text| text.parse().ok()))
}

/// Somebody else was faster: what was typed stays, and saving it once more is meant.
fn stale(problem: Problem) -> Problem {
    let detail = "Somebody changed this campaign while you had it open. Nothing of yours was saved yet: look at it, and save again to keep what stands here.";
    Problem::new(problem.status(), detail)
}

/// Where a campaign's page is.
fn home(id: i64) -> String {
    format!("/admin/campaigns/{id}")
}

/// Names of people as pages show them, by id.
type Names = HashMap<i64, String>;
