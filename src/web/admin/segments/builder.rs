//! The builder: a definition as rows of a form or as JSON, both ways. Every change is posted and answered with the
//! builder again, so it works without scripts; with them only the part that changed is exchanged.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use minijinja::{Value, context};
use tokio::sync::Semaphore;

use super::super::Answer;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::page::Page;
use super::super::uses::{USES, shown_uses};
use super::attributes::fit_for;
use super::draft::{Draft, Faults};
use super::may_change;
use super::offers::{Offers, nodes};
use crate::domain::segment::Definition;
use crate::domain::segment::form::What;
use crate::store::StoreError;
use crate::store::reports::preview::Preview;
use crate::store::reports::uses;
use crate::store::users::User;
use crate::web::State;
use crate::web::api::segments as api;
use crate::web::error::Problem;

/// Counts at a time: each may hold a reader for a second and a half, and there are four.
static COUNTS: Semaphore = Semaphore::const_new(2);

/// What became of messages, in words.
const ENGAGEMENTS: [(&str, &str); 5] = [
    ("read", "read a message"),
    ("delivered", "got a message"),
    ("sent", "was sent a message"),
    ("replied", "replied"),
    ("failed", "could not be reached by a message"),
];
const UNITS: [(&str, &str); 4] = [("m", "minutes"), ("h", "hours"), ("d", "days"), ("w", "weeks")];
const SUBJECTS: [(&str, &str); 11] = [
    ("attribute", "Attribute"),
    ("consent", "Consent"),
    ("topic", "Topics"),
    ("engagement", "Messages"),
    ("last_inbound_at", "Wrote to us"),
    ("trigger", "Event"),
    ("country", "Country"),
    ("phone", "Phone number"),
    ("created_at", "Added"),
    ("sample", "Random share"),
    ("json", "Other, as JSON"),
];

impl Draft {
    /// The page, with everything that it offers.
    pub(super) async fn show(
        mut self,
        page: &Page,
        state: &State,
        faults: &Faults,
        counted: Option<Value>,
    ) -> Answer {
        let id = self.id;
        let is_masked = page.is_masked();
        let (offers, draft) = state
            .store
            .read(move |conn| {
                let offers = Offers::read(conn, &mut self, is_masked)?;
                Ok::<_, StoreError>((offers, self))
            })
            .await?;
        let used = match id {
            Some(id) => state.store.read(move |conn| uses::of_segment(conn, id, USES)).await?,
            None => Vec::new(),
        };
        let title = match id {
            Some(_) if !draft.name.trim().is_empty() => draft.name.trim().to_owned(),
            Some(_) => "Segment".to_owned(),
            None => "New segment".to_owned(),
        };
        let values = context! {
            title,
            section => "segments",
            editor => draft.value(&offers, faults, may_change(page)),
            uses => shown_uses(&used),
            counted,
        };
        page.show_as(faults.status.unwrap_or(StatusCode::OK), "segments/edit.html", values)
    }

    fn value(&self, offers: &Offers, faults: &Faults, may_change: bool) -> Value {
        let nodes = nodes(&self.rows, offers, faults);
        context! {
            id => self.id,
            version => self.version,
            name => self.name.clone(),
            is_json => self.is_json,
            json => if self.is_json { self.json.clone() } else { String::new() },
            json_lines => self.json.lines().count().clamp(12, 40),
            tree => nodes,
            names => offers.names.clone(),
            subjects => pairs(&SUBJECTS),
            engagements => pairs(&ENGAGEMENTS),
            units => pairs(&UNITS),
            campaigns => offers.campaigns.clone(),
            may_change,
            summary => faults.summary.clone(),
            name_error => faults.name.clone(),
            lines => faults.lines.iter().map(|(line, message)| context! { line => *line, message => message.clone() }).collect::<Vec<_>>(),
            faulty => faults.rows.len() + faults.lines.len(),
        }
    }
}

fn pairs(words: &[(&'static str, &'static str)]) -> Vec<Value> {
    words.iter().map(|(key, words)| context! { key => *key, words => *words }).collect()
}

/// The builder again, after a button or a change.
pub(in crate::web::admin) async fn build(page: Page, state: Data<State>, posted: Form) -> Answer {
    let mut draft = Draft::posted(&posted)?;
    let action = posted.text("do").unwrap_or_default();
    draft.adapts = action == "look";
    let faults = draft.act(&action);
    if !page.is_htmx {
        let counted = match action.as_str() {
            "count" => Some(counted(&page, &state, &draft).await?),
            _ => None,
        };
        return draft.show(&page, &state, &faults, counted).await;
    }
    let is_masked = page.is_masked();
    let (offers, draft) = state
        .store
        .read(move |conn| {
            let offers = Offers::read(conn, &mut draft, is_masked)?;
            Ok::<_, StoreError>((offers, draft))
        })
        .await?;
    page.part(
        "segments/_builder.html",
        context! { editor => draft.value(&offers, &faults, may_change(&page)) },
    )
}

/// How many people the draft means, and ten of them.
pub(in crate::web::admin) async fn count(page: Page, state: Data<State>, posted: Form) -> Answer {
    let mut draft = Draft::posted(&posted)?;
    if !may_change(&page)
        && let Some(id) = draft.id
    {
        // Fields that may not be changed are not posted.
        let row = state.store.read(move |conn| api::find(conn, id)).await?;
        draft = Draft::of(None, &row.name, &row.definition);
    }
    let counted = counted(&page, &state, &draft).await?;
    page.part("segments/_count.html", context! { counted })
}

/// The count as a template has it; for a draft that is not finished, what it lacks.
async fn counted(page: &Page, state: &State, draft: &Draft) -> Result<Value, Failure> {
    let people = state.store.read(|conn| {
        Ok::<_, StoreError>(crate::store::users::counts(conn)?.into_iter().map(|(_, n)| n).sum::<i64>())
    });
    if draft.is_untouched() {
        return Ok(context! { is_untouched => true, people => people.await? });
    }
    let definition = match draft.definition() {
        Ok(definition) => definition,
        Err(faults) => return Ok(unfinished(&faults)),
    };
    let read: Result<Definition, Problem> = api::parse("definition", &definition);
    let outcome = match read {
        Err(problem) => Err(problem),
        Ok(read) => {
            let Ok(_permit) = COUNTS.try_acquire() else {
                return Ok(context! { is_busy => true });
            };
            api::count(state, read).await
        }
    };
    let (found, elapsed_ms) = match outcome {
        Ok(found) => found,
        Err(problem) => return Ok(unfinished(&draft.refused(problem)?)),
    };
    Ok(shown_count(page, &found, (people.await?, elapsed_ms), draft))
}

fn shown_count(page: &Page, found: &Preview, (people, elapsed_ms): (i64, u64), draft: &Draft) -> Value {
    let mut used: Vec<&str> = Vec::new();
    let named = draft
        .rows
        .iter()
        .filter(|row| row.what == What::Attribute && !row.name.contains('.'))
        .map(|row| row.name.as_str());
    for name in named {
        if !used.contains(&name) {
            used.push(name);
        }
    }
    let is_masked = page.is_masked();
    let sample: Vec<Value> = found.sample.iter().map(|user| shown_person(user, &used, is_masked)).collect();
    context! {
        count => found.count,
        is_whole => found.is_whole,
        looked_at => found.looked_at as i64,
        people,
        elapsed_ms,
        sample,
    }
}

/// A person with a name, if they have one, and what the rules ask about.
fn shown_person(user: &User, used: &[&str], is_masked: bool) -> Value {
    let text = |name: &str| {
        let value = user.attributes.get(name)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(fit_for(&text.chars().take(60).collect::<String>(), is_masked))
    };
    let name = ["name", "first_name", "firstname", "full_name"].iter().find_map(|key| text(key));
    let facts: Vec<String> = used.iter().take(3).filter_map(|key| text(key)).collect();
    context! {
        id => user.id,
        phone => user.phone.as_ref().or(user.channel_address.as_ref()),
        name,
        consent => user.consent.as_str(),
        facts => facts.join(", "),
    }
}

fn unfinished(faults: &Faults) -> Value {
    debug_assert!(!faults.is_empty(), "a draft without faults can be counted");
    let plain = faults.rows.values().flatten().chain(&faults.summary).map(|message| (None, message));
    let lines = faults.lines.iter().map(|(line, message)| (*line, message));
    let messages: Vec<Value> = plain
        .chain(lines)
        .take(5)
        .map(|(line, message)| context! { line, message => message.clone() })
        .collect();
    context! { is_unfinished => true, messages }
}
