//! `/settings`: the configuration as it is in force, and what of it can be changed while the server runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::Data;
use serde_json::{Map, Value, json};

use super::Answer;
use super::senders::refuse_removal;
use crate::config::{Faults, Loaded, Setter, Settings, Shown, is_secret, is_section};
use crate::store::outcomes::lookups;
use crate::store::settings::{self, Change};
use crate::store::{StoreError, Tx, senders};
use crate::web::State;
use crate::web::auth::{Admin, Read, Scoped};
use crate::web::body::Body;
use crate::web::error::{FieldError, Problem};
use crate::web::etag::IfMatch;
use crate::web::openapi::shapes::settings as shapes;
use crate::web::page::Query;
use crate::web::reply::Reply;

/// Keys of one change, at most.
const MAX_KEYS: usize = 100;
/// How often a change is made anew because somebody else was faster.
const TRIES: usize = 5;

/// Values by the path of their key; null takes a setting away.
pub(in crate::web) type Patch = BTreeMap<String, Value>;

fn shape(loaded: &Loaded) -> Value {
    let entry = |shown: Shown| {
        let value = json!({
            "value": shown.value,
            "default": shown.default,
            "origin": shown.origin.as_str(),
            "locked_by": shown.locked_by(),
            "settable": shown.is_settable,
            "secret": shown.is_secret,
            "needs_restart": shown.needs_restart,
            "description": shown.description,
        });
        (shown.key, value)
    };
    let entries: Map<String, Value> = loaded.shown().into_iter().map(entry).collect();
    json!({"version": loaded.settings.version, "settings": entries})
}

/// Shows the configuration in force, with the origin of each value.
#[utoipa::path(get, path = "/settings", operation_id = "get_settings",
    responses((status = 200, body = shapes::Settings)))]
pub(super) async fn show(_: Scoped<Read>, state: Data<State>, request: HttpRequest) -> Answer {
    Query::of(&request)?.finish()?;
    let loaded = state.in_force.get();
    Ok(Reply::ok(shape(&loaded)).with_version(loaded.settings.version))
}

/// Changes settings: what neither file nor environment fixes.
///
/// A merge patch: keys by their path or nested as in the file, null takes a setting away. The whole is checked
/// before anything is written, and takes effect at once but for keys that say `needs_restart`.
#[utoipa::path(patch, path = "/settings", operation_id = "update_settings", request_body = shapes::SettingsPatch,
    responses((status = 200, body = shapes::Settings),
        (status = 409, description = "`locked`: file or environment fixes a key; `changed_meanwhile`.")))]
pub(super) async fn update(
    caller: Scoped<Admin>,
    state: Data<State>,
    if_match: IfMatch,
    body: Body,
) -> Answer {
    let mut patch = Patch::new();
    collect("", Value::Object(body.object()?), &mut patch);
    if patch.len() > MAX_KEYS {
        return Err(Problem::field("", format!("At most {MAX_KEYS} keys at once.")));
    }
    let loaded = change(&state, &By::key(caller.actor()), if_match, patch, None).await?;
    Ok(Reply::ok(shape(&loaded)).with_version(loaded.settings.version))
}

fn collect(path: &str, value: Value, patch: &mut Patch) {
    match value {
        Value::Object(entries) if path.is_empty() || is_section(path) => {
            for (name, value) in entries {
                let key = if path.is_empty() { name } else { format!("{path}.{name}") };
                collect(&key, value, patch);
            }
        }
        value => {
            patch.insert(path.to_owned(), value);
        }
    }
}

/// Who changes settings, and the name of that in the trail.
pub(in crate::web) struct By {
    setter: Setter,
    actor: String,
}

impl By {
    /// A key of the API.
    pub(in crate::web) fn key(actor: String) -> By {
        By { setter: Setter::Key, actor }
    }

    /// An operator at the pages.
    pub(in crate::web) fn operator(actor: String) -> By {
        By { setter: Setter::Operator, actor }
    }
}

/// What is written together with a change of settings.
pub(in crate::web) type Also = Arc<dyn Fn(&Tx<'_>) -> Result<(), Problem> + Send + Sync>;

/// Changes settings, each with its event, and puts them in force. Nothing is written unless everything can be.
///
/// # Errors
/// 409 for a key that file or environment fixes, 412 for a stale version, 422 that names each key at fault.
pub(in crate::web) async fn change(
    state: &State,
    by: &By,
    if_match: IfMatch,
    patch: Patch,
    also: Option<Also>,
) -> Result<Arc<Loaded>, Problem> {
    refuse_locked(&state.in_force.get(), patch.keys())?;
    for _ in 0..TRIES {
        let plan = plan(state, by.setter, if_match.clone(), patch.clone()).await?;
        if plan.changes.is_empty() && also.is_none() {
            return Ok(Arc::new(plan.before));
        }
        let (also, actor, base) = (also.clone(), by.actor.clone(), plan.before.settings.version);
        let is_other_account = is_other_account(&plan.before, &plan.after);
        let (after, changes, is_same) = (plan.after, plan.changes.clone(), plan.changes.is_empty());
        let removed = removed_senders(&plan.before, &after);
        let named = (after.config.named_senders() != plan.before.config.named_senders())
            .then(|| after.config.named_senders());
        let is_written = state
            .store
            .write(move |tx| {
                if let Some(also) = also {
                    also(tx)?;
                }
                if is_other_account {
                    refuse_while_under_way(tx)?;
                }
                refuse_removal(tx.conn(), &removed)?;
                let is_written = changes.is_empty() || settings::write(tx, base, &changes, &actor)?;
                if let Some(named) = named.filter(|_| is_written) {
                    senders::synchronize(tx, &named)?;
                }
                // What was written beside it is undone with the error, and done again in the next try.
                if is_written { Ok(true) } else { Err(Problem::conflict(LATE).with_code(LATE_CODE)) }
            })
            .await;
        match is_written {
            Err(problem) if problem.has_code(LATE_CODE) => continue,
            outcome => outcome?,
        };
        if is_same {
            return Ok(Arc::new(plan.before));
        }
        state.in_force.put(after);
        return Ok(state.in_force.get());
    }
    Err(Problem::conflict(LATE).with_code(LATE_CODE))
}

fn removed_senders(before: &Loaded, after: &Loaded) -> Vec<String> {
    let stays = |address: &String| after.config.senders.iter().any(|sender| sender.address == *address);
    let before = before.config.senders.iter().map(|sender| sender.address.clone());
    before.filter(|address| !stays(address)).collect()
}

fn is_other_account(before: &Loaded, after: &Loaded) -> bool {
    let (before, after) = (&before.config.twilio.account_sid, &after.config.twilio.account_sid);
    !before.is_empty() && before != after
}

/// What became of messages under way only the account knows that they were handed to: asked of another one they would
/// look lost, and be sent again.
fn refuse_while_under_way(tx: &Tx<'_>) -> Result<(), Problem> {
    match lookups::count_open(tx.conn())? {
        0 => Ok(()),
        n => Err(Problem::conflict(format!(
            "{n} messages are under way or uncertain, and only the account that they were given to can say what became of them. Wait until they are settled, then change the account."
        ))
        .with_code("under_way")),
    }
}

const LATE: &str = "Others change the settings all the time. Try again.";
const LATE_CODE: &str = "changed_meanwhile";

fn refuse_locked<'a>(loaded: &Loaded, keys: impl Iterator<Item = &'a String>) -> Result<(), Problem> {
    for key in keys {
        if let Some(by) = loaded.locked_by(key) {
            return Err(Problem::conflict(format!("{key} is fixed by the {by}: change it there."))
                .with_code("locked")
                .with("field", json!(key))
                .with("locked_by", json!(by)));
        }
    }
    Ok(())
}

/// A change as it would be written.
struct Plan {
    before: Loaded,
    after: Loaded,
    changes: Vec<Change>,
}

/// Reads the settings as they stand, on a thread where nobody waits, and works the change out.
async fn plan(state: &State, setter: Setter, if_match: IfMatch, patch: Patch) -> Result<Plan, Problem> {
    let loaded = state.in_force.get();
    let rows = state.store.read(settings::all).await?.opened(state.store.key());
    if_match.check(rows.version)?;
    let work = move || {
        let settings = Settings { version: rows.version, values: rows.values };
        let (before, _) =
            loaded.with_usable_settings(settings).map_err(|error| StoreError::Internal(error.to_string()))?;
        let after = before.patched(&patch, setter).map_err(faulty)?;
        let changed = patch
            .into_iter()
            .filter(|(key, value)| before.settings.values.get(key).unwrap_or(&Value::Null) != value);
        let changes = changed
            .map(|(key, value)| {
                let from_to = (before.value_of(&key), after.value_of(&key));
                let is_secret = is_secret(&key);
                Change { key, value, is_secret, from_to }
            })
            .collect();
        Ok(Plan { before, after, changes })
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Internal(error.to_string()))?
}

/// 422 that names every key at fault.
pub(in crate::web) fn faulty(faults: Faults) -> Problem {
    Problem::fields(faults.into_iter().map(|(field, message)| FieldError { field, message }).collect())
}
