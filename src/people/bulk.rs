//! One action on everybody who fits a filter: who is next is looked for on a snapshot, each is looked at again in
//! the write that changes them, and the place moves in the same write. So a crash repeats nothing and leaves nobody
//! out, and a STOP that comes in between holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::domain::bulk::BulkAction;
use crate::domain::consent::Consent;
use crate::domain::people::PeopleFilter;
use crate::domain::user::check_attributes;
use crate::store::bulk::{self, BulkRow, BulkTally};
use crate::store::ledger::{self, ConsentChange};
use crate::store::reports::people::{self, Budget, Order, Wanted, WantedError};
use crate::store::topics::{self, Topic};
use crate::store::users::{self, User, UserKey};
use crate::store::{Store, StoreError, Tx, Withdrawal, suppressions};

/// Most people of one write.
const MOST: usize = 500;
/// A write ends after this time, wherever it stands.
const CHUNK_TIME: Duration = Duration::from_millis(15);
/// Between two writes the writer is left to others.
const REST: Duration = Duration::from_millis(5);

/// How far one call may go.
#[derive(Clone, Debug)]
pub struct BulkPace {
    /// Set on shutdown: the action stops after the write at hand and goes on after the next start.
    pub stop: Arc<AtomicBool>,
    /// Most people of one write.
    pub people: usize,
    /// Most writes of one call.
    pub chunks: Option<u64>,
}

impl Default for BulkPace {
    fn default() -> BulkPace {
        BulkPace { stop: Arc::default(), people: MOST, chunks: None }
    }
}

/// Carries on with every action at work, the oldest first, until none is left or the pace is used up.
///
/// # Errors
/// A transient [`StoreError`]: the next call goes on.
pub async fn run_bulk(store: &Store, pace: &BulkPace) -> Result<(), StoreError> {
    let mut left = pace.chunks;
    let mut after = 0;
    while let Some(row) = store.read(move |conn| bulk::next_running(conn, after)).await? {
        after = row.id;
        let Some(plan) = Plan::of(&row) else {
            fail(store, row.id, "This release does not know the action.").await?;
            continue;
        };
        let plan = Arc::new(plan);
        let mut place = row.place;
        let mut tally = row.tally;
        loop {
            if pace.stop.load(Ordering::SeqCst) || left == Some(0) {
                return Ok(());
            }
            left = left.map(|chunks| chunks - 1);
            match chunk(store, &plan, (place, tally.clone()), pace.people).await {
                Ok(Some((reached, sums))) => (place, tally) = (reached, sums),
                Ok(None) | Err(ChunkError::Elsewhere) => break,
                Err(ChunkError::Wanted(WantedError::Missing(_, message))) => {
                    fail(store, plan.id, &message).await?;
                    break;
                }
                Err(ChunkError::Wanted(WantedError::Store(error))) if error.is_transient() => {
                    return Err(error);
                }
                Err(ChunkError::Wanted(WantedError::Store(error))) => {
                    tracing::error!(bulk.id = plan.id, error = %error, "an action on many people failed");
                    fail(store, plan.id, "A change could not be stored; the log says why.").await?;
                    break;
                }
            }
            tokio::time::sleep(REST).await;
        }
    }
    Ok(())
}

async fn fail(store: &Store, id: i64, reason: &str) -> Result<(), StoreError> {
    let reason = reason.to_owned();
    store.write(move |tx| bulk::end(tx, id, "failed", Some(&reason)).map(drop)).await
}

/// What is done, to whom, in whose name.
struct Plan {
    id: i64,
    filter: PeopleFilter,
    action: BulkAction,
    reason: String,
    actor: String,
    /// Spans such as "in the last 7 days" count from here on, however long the action takes.
    asked_at: i64,
}

impl Plan {
    fn of(row: &BulkRow) -> Option<Plan> {
        Some(Plan {
            id: row.id,
            filter: PeopleFilter::read(&row.filter).ok()?,
            action: BulkAction::from_json(&row.action)?,
            reason: row.reason.clone(),
            actor: row.actor.clone(),
            asked_at: row.created_at,
        })
    }
}

/// Why a chunk was not kept.
enum ChunkError {
    /// Cancelled, or another process is at it: what was done here is undone with the write.
    Elsewhere,
    Wanted(WantedError),
}

impl From<StoreError> for ChunkError {
    fn from(error: StoreError) -> ChunkError {
        ChunkError::Wanted(error.into())
    }
}

impl From<WantedError> for ChunkError {
    fn from(error: WantedError) -> ChunkError {
        ChunkError::Wanted(error)
    }
}

/// The next people and what becomes of them. `None`: it is over.
async fn chunk(
    store: &Store,
    plan: &Arc<Plan>,
    (place, tally): (i64, BulkTally),
    most: usize,
) -> Result<Option<(i64, BulkTally)>, ChunkError> {
    let looking = Arc::clone(plan);
    let found = store
        .read(move |conn| {
            let wanted = Wanted::of(conn, &looking.filter, looking.asked_at)?;
            Ok::<_, WantedError>(people::walk(conn, &wanted, (Order::Newest, place), most, Budget::PAGE)?)
        })
        .await?;
    // Either the page is full, or the budget was, or everybody was looked at.
    let ids: Vec<i64> = found.people.iter().map(|(_, id)| *id).collect();
    let reached = match (ids.len() >= most, found.reached) {
        (true, _) => ids.last().copied().unwrap_or(0),
        (false, Some(reached)) => reached,
        (false, None) => 0,
    };
    let doing = Arc::clone(plan);
    store
        .write(move |tx| {
            let (place_now, tally) = apply(tx, &doing, &ids, (reached, tally))?;
            if !bulk::advance(tx, doing.id, (place, place_now), &tally)? {
                return Err(ChunkError::Elsewhere);
            }
            if place_now == 0 {
                bulk::end(tx, doing.id, "finished", None)?;
            }
            Ok((place_now > 0).then_some((place_now, tally)))
        })
        .await
}

/// Does it to these people, as far as time allows. Returns the place behind the last of them.
fn apply(
    tx: &Tx<'_>,
    plan: &Plan,
    ids: &[i64],
    (reached, mut tally): (i64, BulkTally),
) -> Result<(i64, BulkTally), ChunkError> {
    let started = Instant::now();
    let wanted = Wanted::of(tx.conn(), &plan.filter, plan.asked_at)?;
    let topic = match &plan.action {
        BulkAction::Join(name) | BulkAction::Leave(name) => {
            Some(topics::find(tx.conn(), name)?.ok_or_else(|| {
                WantedError::Missing("topic", format!("There is no topic “{name}” any more."))
            })?)
        }
        _ => None,
    };
    for id in ids {
        let found = users::find(tx.conn(), &UserKey::Id(*id))?.filter(|user| user.erased_at.is_none());
        // Whoever was looked for a moment ago may not fit any more.
        if let Some(user) = found
            && users::satisfies(tx.conn(), *id, wanted.predicate())?
        {
            match act(tx, plan, &user, topic.as_ref())? {
                Done::Changed => tally.changed += 1,
                Done::Unchanged => tally.unchanged += 1,
                Done::Refused(reason) => *tally.refused.entry(reason.to_owned()).or_default() += 1,
            }
        }
        if started.elapsed() >= CHUNK_TIME {
            return Ok((*id, tally));
        }
    }
    Ok((reached, tally))
}

/// What became of one person.
enum Done {
    Changed,
    Unchanged,
    Refused(&'static str),
}

fn act(tx: &Tx<'_>, plan: &Plan, user: &User, topic: Option<&Topic>) -> Result<Done, StoreError> {
    match (&plan.action, topic) {
        (BulkAction::Consent(state), _) => change_consent(tx, plan, user, *state),
        (BulkAction::Join(_), Some(topic)) => {
            if topics::left_at(tx.conn(), user.id, topic.id)?.is_some() {
                return Ok(Done::Refused("left_topic"));
            }
            set_topic(tx, plan, user, (topic, true))
        }
        (BulkAction::Leave(_), Some(topic)) => set_topic(tx, plan, user, (topic, false)),
        (BulkAction::Set(name, value), _) => {
            if user.attributes.get(name) == Some(value) {
                return Ok(Done::Unchanged);
            }
            let mut attributes = user.attributes.clone();
            attributes.insert(name.clone(), value.clone());
            if check_attributes(&attributes).is_err() {
                return Ok(Done::Refused("too_much"));
            }
            users::set_attributes(tx, user.id, &attributes, &plan.actor)?;
            Ok(Done::Changed)
        }
        (BulkAction::Remove(name), _) => {
            let mut attributes = user.attributes.clone();
            if attributes.shift_remove(name).is_none() {
                return Ok(Done::Unchanged);
            }
            users::set_attributes(tx, user.id, &attributes, &plan.actor)?;
            Ok(Done::Changed)
        }
        (BulkAction::Suppress, _) => suppress(tx, plan, user),
        (BulkAction::Join(_) | BulkAction::Leave(_), None) => Ok(Done::Unchanged),
    }
}

/// As an import has it: nobody is led out of `stop`, and what is claimed passes the gate again.
fn change_consent(tx: &Tx<'_>, plan: &Plan, user: &User, state: Consent) -> Result<Done, StoreError> {
    if user.consent == Consent::Stop {
        return Ok(Done::Refused("stop"));
    }
    if user.consent == state {
        return Ok(Done::Unchanged);
    }
    let change = ConsentChange {
        state,
        source: "operator",
        actor: &plan.actor,
        evidence: Some(&plan.reason),
        obtained_at: None,
    };
    ledger::record(tx, user.id, user.consent, &change)?;
    if Consent::tightens(user.consent, state) {
        tx.withdraw(Withdrawal::User(user.id));
    }
    Ok(Done::Changed)
}

fn set_topic(
    tx: &Tx<'_>,
    plan: &Plan,
    user: &User,
    (topic, joins): (&Topic, bool),
) -> Result<Done, StoreError> {
    let is_in = users::topics(tx.conn(), user.id, user.consent)?.contains(&topic.name);
    topics::set(tx, user.id, topic, joins, &plan.actor)?;
    Ok(if is_in == joins { Done::Unchanged } else { Done::Changed })
}

fn suppress(tx: &Tx<'_>, plan: &Plan, user: &User) -> Result<Done, StoreError> {
    let Some(address) = user.phone.as_deref().or(user.channel_address.as_deref()) else {
        return Ok(Done::Unchanged);
    };
    let why = ("do_not_contact", plan.reason.as_str());
    let is_new = suppressions::insert_by(tx, address, why, &plan.actor)?;
    Ok(if is_new { Done::Changed } else { Done::Unchanged })
}
