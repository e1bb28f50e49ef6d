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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::Clock;
    use crate::store::bulk::NewBulk;
    use crate::store::users::NewUser;
    use crate::store::{Connection, StorePaths};

    /// Twenty people of Galle: person 1 said STOP, 2 opted out, 3 left `news`; then three of Kandy.
    async fn shop() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock).unwrap();
        store
            .write::<_, _, StoreError>(|tx| {
                topics::insert(tx, "news", false)?;
                let news = topics::find(tx.conn(), "news")?.unwrap();
                for i in 1..=23 {
                    let city =
                        json!({"name": format!("P{i}"), "city": if i > 20 { "Kandy" } else { "Galle" }});
                    let state = match i {
                        1 => Consent::Stop,
                        2 => Consent::OptOut,
                        _ => Consent::OptIn,
                    };
                    let change = ConsentChange {
                        state,
                        source: "test",
                        actor: "test",
                        evidence: None,
                        obtained_at: None,
                    };
                    let new = NewUser {
                        phone: Some(&format!("+9477000{i:04}")),
                        channel_address: None,
                        country: Some("LK"),
                        attributes: city.as_object().unwrap(),
                        consent: Some(change),
                        actor: "test",
                        import: None,
                    };
                    let id = users::insert(tx, &new)?;
                    if i == 3 {
                        topics::set(tx, id, &news, false, "user")?;
                    }
                }
                Ok(())
            })
            .await
            .unwrap();
        (dir, store)
    }

    async fn begin(store: &Store, filter: &[(&str, &str)], action: BulkAction) -> i64 {
        let filter: Vec<(String, String)> =
            filter.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        store
            .write(move |tx| {
                let new = NewBulk {
                    filter: &filter,
                    action: &action.to_json(),
                    reason: "asked at the counter",
                    actor: "operator:1",
                };
                bulk::insert(tx, &new)
            })
            .await
            .unwrap()
    }

    fn read<T>(store: &Store, run: impl FnOnce(&Connection) -> T) -> T {
        store.read_here::<_, _, StoreError>(|conn| Ok(run(conn))).unwrap()
    }

    fn value<T: rusqlite::types::FromSql>(store: &Store, sql: &str) -> T {
        read(store, |conn| conn.query_row(sql, [], |row| row.get(0)).unwrap())
    }

    /// Goes on and on in writes of three people, each as after a restart.
    async fn finish(store: &Store, id: i64) -> BulkRow {
        for _ in 0..50 {
            let pace = BulkPace { people: 3, chunks: Some(1), ..BulkPace::default() };
            run_bulk(store, &pace).await.unwrap();
            let row = read(store, |conn| bulk::find(conn, id).unwrap().unwrap());
            if row.state != "running" {
                return row;
            }
        }
        panic!("it never ends");
    }

    fn tally(changed: i64, unchanged: i64, refused: &[(&str, i64)]) -> BulkTally {
        let refused = refused.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect();
        BulkTally { changed, unchanged, refused }
    }

    #[tokio::test]
    async fn everybody_who_fits_is_done_once_over_any_number_of_restarts() {
        let (_dir, store) = shop().await;
        let galle = &[("attribute.city", "Galle")];
        for (action, expected) in [
            (BulkAction::Set("vip".to_owned(), json!(true)), tally(20, 0, &[])),
            (BulkAction::Set("vip".to_owned(), json!(true)), tally(0, 20, &[])),
            (BulkAction::Remove("vip".to_owned()), tally(20, 0, &[])),
            (BulkAction::Join("news".to_owned()), tally(19, 0, &[("left_topic", 1)])),
            (BulkAction::Join("news".to_owned()), tally(0, 19, &[("left_topic", 1)])),
            (BulkAction::Leave("news".to_owned()), tally(19, 1, &[])),
            (BulkAction::Suppress, tally(20, 0, &[])),
        ] {
            let id = begin(&store, galle, action.clone()).await;
            let row = finish(&store, id).await;
            assert_eq!((row.state.as_str(), row.tally), ("finished", expected), "{action:?}");
            assert_eq!(value::<i64>(&store, "SELECT count(*) FROM events WHERE type = 'people.changed'"), id);
        }
        assert_eq!(value::<i64>(&store, "SELECT count(*) FROM users WHERE suppressed = 1"), 20);
        let told: String =
            value(&store, "SELECT data FROM events WHERE type = 'people.changed' ORDER BY id LIMIT 1");
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (&told["actor"], &told["reason"], &told["changed"]),
            (&json!("operator:1"), &json!("asked at the counter"), &json!(20))
        );
    }

    #[tokio::test]
    async fn nobody_is_led_out_of_stop_and_every_change_of_consent_stands_in_the_ledger() {
        let (_dir, store) = shop().await;
        let id = begin(&store, &[], BulkAction::Consent(Consent::OptOut)).await;
        assert_eq!(finish(&store, id).await.tally, tally(21, 1, &[("stop", 1)]));
        let id = begin(&store, &[], BulkAction::Consent(Consent::OptIn)).await;
        assert_eq!(finish(&store, id).await.tally, tally(22, 0, &[("stop", 1)]));
        assert_eq!(value::<String>(&store, "SELECT consent FROM users WHERE id = 1"), "stop");
        let rows = "SELECT count(*) FROM consent_ledger WHERE actor = 'operator:1'
                      AND source = 'operator' AND evidence = 'asked at the counter'";
        assert_eq!(value::<i64>(&store, rows), 43);
    }

    #[tokio::test]
    async fn who_says_stop_while_it_works_and_who_fits_no_more_are_left_alone() {
        let (_dir, store) = shop().await;
        let id = begin(&store, &[("consent", "opt_in")], BulkAction::Consent(Consent::Unknown)).await;
        let pace = BulkPace { people: 3, chunks: Some(1), ..BulkPace::default() };
        run_bulk(&store, &pace).await.unwrap();
        store
            .write::<_, _, StoreError>(|tx| {
                let change = ConsentChange {
                    state: Consent::Stop,
                    source: "keyword",
                    actor: "user",
                    evidence: None,
                    obtained_at: None,
                };
                ledger::record(tx, 10, Consent::OptIn, &change)
            })
            .await
            .unwrap();
        assert_eq!(finish(&store, id).await.tally, tally(20, 0, &[]));
        assert_eq!(value::<String>(&store, "SELECT consent FROM users WHERE id = 10"), "stop");
    }

    #[tokio::test]
    async fn an_action_that_is_cancelled_stops_and_one_whose_topic_is_gone_says_so() {
        let (_dir, store) = shop().await;
        let id = begin(&store, &[], BulkAction::Suppress).await;
        let pace = BulkPace { people: 3, chunks: Some(2), ..BulkPace::default() };
        run_bulk(&store, &pace).await.unwrap();
        assert!(store.write(move |tx| bulk::end(tx, id, "cancelled", None)).await.unwrap());
        assert!(!store.write(move |tx| bulk::end(tx, id, "cancelled", None)).await.unwrap());
        run_bulk(&store, &BulkPace::default()).await.unwrap();
        assert_eq!(value::<i64>(&store, "SELECT count(*) FROM users WHERE suppressed = 1"), 6);
        let id = begin(&store, &[], BulkAction::Join("gone".to_owned())).await;
        let row = finish(&store, id).await;
        assert_eq!(row.state, "failed");
        assert!(row.error.unwrap().contains("gone"));
    }
}
