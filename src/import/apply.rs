//! Carries rows out in a write. What was made out on a snapshot is taken over where it still holds, and
//! decided anew where something came in between; a dry run decides and counts only.

use super::decide::{
    Action, Change, Ground, Job, Membership, Outcome, Plan, Planned, Verdict, consent_of_new, decide, row_of,
};
use super::row::{Person, Reading};
use super::samples::Samples;
use crate::domain::consent::Consent;
use crate::store::imports::{self, Details, MAX_ISSUES, NewIssue, NewPerson, Rows, Tally};
use crate::store::ledger::{self, ConsentChange};
use crate::store::{StoreError, Tx, Withdrawal, suppressions};

/// What is counted, and what is kept beside it.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) tally: Tally,
    /// Issues kept so far, in the table.
    pub(super) issues: u64,
}

/// Takes in the rows of one chunk. Returns how many plans did not hold.
pub(super) fn apply(
    tx: &Tx<'_>,
    job: &Job,
    rows: &mut [Planned],
    progress: &mut Progress,
) -> Result<usize, StoreError> {
    let ground = Ground { conn: tx.conn(), key: tx.key(), seen: None };
    let is_list_empty = !imports::has_suppressions(tx.conn())?;
    let mut hand = Hand { tx, job, rows: Rows::new(tx)?, is_list_empty, changes: 0 };
    let mut overtaken = 0;
    for Planned { reading, plan } in rows {
        let was_planned = !matches!(plan, Plan::Open);
        let verdict = match hand.take_over(reading, std::mem::replace(plan, Plan::Open))? {
            Some(verdict) => verdict,
            None => {
                overtaken += usize::from(was_planned);
                let mut verdict = decide(&ground, job, reading)?;
                let action = std::mem::replace(&mut verdict.action, Action::Nothing);
                hand.carry_out(reading, action)?;
                verdict
            }
        };
        for issue in count(progress, reading, verdict) {
            imports::insert_issue(tx, job.id, &issue)?;
        }
    }
    progress.tally.details.changes += hand.changes;
    Ok(overtaken)
}

/// Counts the rows of one chunk as [`apply`] would, and returns the issues to keep.
pub(super) fn rehearse(
    ground: &Ground<'_>,
    job: &Job,
    rows: &[Planned],
    (progress, samples): (&mut Progress, &mut Samples),
) -> Result<Vec<NewIssue>, StoreError> {
    let mut issues = Vec::new();
    for Planned { reading, .. } in rows {
        let verdict = decide(ground, job, reading)?;
        samples.take(ground, reading, &verdict)?;
        issues.extend(count(progress, reading, verdict));
    }
    Ok(issues)
}

fn count(progress: &mut Progress, reading: &Reading, verdict: Verdict) -> Vec<NewIssue> {
    let tally = &mut progress.tally;
    tally.rows += 1;
    *match verdict.outcome {
        Outcome::Created => &mut tally.created,
        Outcome::Updated => &mut tally.updated,
        Outcome::Unchanged => &mut tally.unchanged,
        Outcome::Duplicate => &mut tally.duplicates,
        Outcome::Rejected => &mut tally.rejected,
    } += 1;
    count_details(&mut tally.details, &verdict);
    let mut kept = Vec::new();
    for issue in reading.issues.iter().cloned().chain(verdict.issues) {
        *tally.reasons.entry(issue.reason.to_owned()).or_default() += 1;
        if progress.issues < MAX_ISSUES {
            progress.issues += 1;
            kept.push(issue);
        }
    }
    kept
}

fn count_details(details: &mut Details, verdict: &Verdict) {
    let facts = &verdict.facts;
    let is = |outcome| verdict.outcome == outcome;
    if let Some(consent) = facts.new_consent.filter(|_| is(Outcome::Created)) {
        *match consent {
            Consent::OptIn => &mut details.new_opt_in,
            Consent::Unknown => &mut details.new_unknown,
            Consent::OptOut => &mut details.new_opt_out,
            Consent::Stop => &mut details.new_stop,
        } += 1;
    }
    if is(Outcome::Updated) {
        details.attributes += u64::from(facts.has_attributes);
        details.consent += u64::from(facts.consent.is_some());
        details.topics += u64::from(facts.has_topics);
    }
    if facts.kept.is_some() && (is(Outcome::Updated) || is(Outcome::Unchanged)) {
        details.consent_kept += 1;
        details.only_kept += u64::from(is(Outcome::Unchanged));
    }
}

/// Writes what was decided.
struct Hand<'a> {
    tx: &'a Tx<'a>,
    job: &'a Job,
    rows: Rows<'a>,
    /// No number was suppressed when the chunk began, and no row of this mode suppresses one.
    is_list_empty: bool,
    /// People of whom it was noted what changed.
    changes: u64,
}

impl Hand<'_> {
    /// Carries out what was made out before, if it still holds; else it writes nothing.
    fn take_over(&mut self, reading: &Reading, plan: Plan) -> Result<Option<Verdict>, StoreError> {
        let Some(person) = &reading.person else {
            return Ok(None);
        };
        match plan {
            Plan::Add { attributes, address_hash } => {
                let is_added = self.add(person, row_of(reading), &attributes, address_hash)?;
                Ok(is_added.then(|| Verdict::added(self.job, reading, Action::Nothing)))
            }
            Plan::Change(mut verdict) => {
                let Action::Change(change) = std::mem::replace(&mut verdict.action, Action::Nothing) else {
                    return Ok(None);
                };
                let is_changed = self.change(person, &change)?;
                Ok(is_changed.then_some(*verdict))
            }
            Plan::Open => Ok(None),
        }
    }

    /// What was decided in this write holds.
    fn carry_out(&mut self, reading: &Reading, action: Action) -> Result<(), StoreError> {
        let Some(person) = &reading.person else {
            return Ok(());
        };
        match action {
            Action::Nothing => {}
            Action::Add => {
                let attributes = imports::jsonb(self.tx.conn(), &person.json)?;
                self.add(person, row_of(reading), &attributes, None)?;
            }
            Action::Change(change) => {
                if !self.change(person, &change)? {
                    return Err(StoreError::Internal("a person changed within a write".to_owned()));
                }
            }
            Action::Suppress => {
                suppressions::insert(self.tx, person.phone.as_str(), "do_not_contact", &self.job.actor)?;
            }
        }
        Ok(())
    }

    /// Returns false when the number is known.
    fn add(
        &mut self,
        person: &Person,
        row: i64,
        attributes: &[u8],
        address_hash: Option<[u8; 32]>,
    ) -> Result<bool, StoreError> {
        let consent = consent_of_new(&self.job.options, person.consent);
        let words = consent.map(|_| evidence(self.job, row)).unwrap_or_default();
        let suppressed = if self.is_list_empty {
            None
        } else {
            let hash = address_hash.unwrap_or_else(|| self.tx.key().hash(person.phone.as_str()));
            imports::suppressed_by(self.tx.conn(), &hash)?.map(|_| hash)
        };
        let new = NewPerson {
            names: &person.names,
            phone: person.phone.as_str(),
            country: person.country,
            attributes,
            consent: consent.map(|state| consent_change(self.job, state, &words)),
            import: (self.job.id, row),
            suppressed,
        };
        let Some(user_id) = self.rows.insert(&new)? else {
            return Ok(false);
        };
        person.topics.iter().try_for_each(|topic| imports::join(self.tx, user_id, *topic))?;
        Ok(true)
    }

    /// Returns false, and writes nothing, when the person no longer stands as the decision found them.
    fn change(&mut self, person: &Person, change: &Change) -> Result<bool, StoreError> {
        let id = change.known.id;
        for Membership { topic_id, found, .. } in &change.topics {
            if imports::membership(self.tx.conn(), id, *topic_id)? != *found {
                return Ok(false);
            }
        }
        let marker = (self.job.id, change.row);
        let phone = person.phone.as_str();
        let attributes = change.attributes.as_ref().map(|(json, names)| (json.as_slice(), names.as_str()));
        if !self.rows.update(phone, &change.known, attributes, marker)? {
            return Ok(false);
        }
        if let Some(difference) = &change.difference {
            let is_again = change.known.import_id == Some(self.job.id);
            let is_first = imports::note_change(self.tx, (self.job.id, id), difference, is_again)?;
            self.changes += u64::from(is_first);
        }
        if let Some(next) = change.consent {
            let now = change.known.consent;
            let words = evidence(self.job, change.row.abs());
            ledger::record(self.tx, id, now, &consent_change(self.job, next, &words))?;
            if Consent::tightens(now, next) {
                // Whatever was claimed under the old consent passes the gate again.
                self.tx.withdraw(Withdrawal::User(id));
            }
        }
        for membership in change.topics.iter().filter(|membership| membership.joins) {
            imports::join(self.tx, id, membership.topic_id)?;
        }
        Ok(true)
    }
}

fn evidence(job: &Job, row: i64) -> String {
    match &job.options.consent.evidence {
        Some(words) => words.clone(),
        None => format!("import {}, row {row}, file {}", job.id, job.file_name),
    }
}

fn consent_change<'a>(job: &'a Job, state: Consent, evidence: &'a str) -> ConsentChange<'a> {
    ConsentChange {
        state,
        source: job.options.consent.source.as_deref().unwrap_or("import"),
        actor: &job.actor,
        evidence: Some(evidence),
        obtained_at: job.options.consent.obtained_at.map(|at| at.as_millisecond()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::columns::Field;
    use super::super::decide::foresee;
    use super::super::file::{Cell, RawRow};
    use super::super::options::{ConsentOptions, Options};
    use super::super::row::RowReader;
    use super::*;
    use crate::clock::Clock;
    use crate::store::users::{self, NewUser, User, UserKey};
    use crate::store::{Store, StorePaths, erasure, topics};

    const PHONE: &str = "+94771100001";

    struct Shop {
        _dir: tempfile::TempDir,
        store: Store,
        job: std::sync::Arc<Job>,
        topic_id: i64,
    }

    /// A file with the columns phone, name and consent that lets everybody join a topic.
    async fn shop(loosen: bool) -> Shop {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock).unwrap();
        let topic_id = store.write(|tx| topics::insert(tx, "news", false)).await.unwrap().unwrap();
        let consent = ConsentOptions { loosen, ..ConsentOptions::default() };
        let id = store
            .write(|tx| {
                let options = serde_json::json!({});
                let queued = imports::QueuedImport {
                    file_name: "people.csv",
                    spool_path: "",
                    bytes: 1,
                    options: &options,
                    actor: "key:1",
                };
                imports::insert(tx, &queued)
            })
            .await
            .unwrap();
        let job = Job {
            id,
            actor: format!("import:{id}"),
            file_name: "people.csv".to_owned(),
            options: Options { consent, ..Options::default() },
            reader: RowReader {
                header: ["phone", "name", "consent"].map(str::to_owned).to_vec(),
                fields: vec![Field::Phone, Field::Attribute("name".to_owned()), Field::Consent],
                phone_column: 0,
                default_region: None,
                topics: HashMap::new(),
                joined: vec![topic_id],
            },
        };
        Shop { _dir: dir, store, job: std::sync::Arc::new(job), topic_id }
    }

    fn add(tx: &Tx<'_>) -> Result<i64, StoreError> {
        let attributes = serde_json::json!({"name": "Ana", "city": "Kandy"});
        users::insert(
            tx,
            &NewUser {
                phone: Some(PHONE),
                channel_address: None,
                country: Some("LK"),
                attributes: attributes.as_object().unwrap(),
                consent: None,
                actor: "key:1",
                import: None,
            },
        )
    }

    fn user(conn: &crate::store::Connection) -> User {
        users::find(conn, &UserKey::Phone(PHONE.to_owned())).unwrap().unwrap()
    }

    fn stop(tx: &Tx<'_>) {
        let person = user(tx.conn());
        let change = ConsentChange {
            state: Consent::Stop,
            source: "keyword",
            actor: "user",
            evidence: None,
            obtained_at: None,
        };
        ledger::record(tx, person.id, person.consent, &change).unwrap();
    }

    /// Plans one row, lets `between` happen, takes the row in. Returns the outcome counts and the overtaken.
    async fn take_in(
        shop: &Shop,
        number: u64,
        is_likely_new: bool,
        between: impl FnOnce(&Tx<'_>) + Send + 'static,
    ) -> (Tally, usize) {
        let cells = [PHONE, "Bo", "yes"].map(|text| Cell::Text(text.to_owned())).to_vec();
        let reading = shop.job.reader.read(RawRow { number, cells, problem: None });
        let (job, key) = (shop.job.clone(), shop.store.key().clone());
        let planned = shop
            .store
            .read::<_, _, StoreError>(move |conn| {
                let plan = foresee(&Ground { conn, key: &key, seen: None }, &job, &reading, is_likely_new)?;
                assert!(!matches!(plan, Plan::Open), "{plan:?}");
                Ok(Planned { reading, plan })
            })
            .await
            .unwrap();
        shop.store
            .write::<_, _, StoreError>(move |tx| {
                between(tx);
                Ok(())
            })
            .await
            .unwrap();
        let job = shop.job.clone();
        shop.store
            .write::<_, _, StoreError>(move |tx| {
                let mut progress = Progress { tally: Tally::default(), issues: 0 };
                let overtaken = apply(tx, &job, &mut [planned], &mut progress)?;
                Ok((progress.tally, overtaken))
            })
            .await
            .unwrap()
    }

    async fn person(shop: &Shop) -> (Consent, serde_json::Value) {
        shop.store
            .read::<_, _, StoreError>(|conn| {
                let user = user(conn);
                Ok((user.consent, serde_json::Value::Object(user.attributes)))
            })
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_stop_between_plan_and_write_is_respected() {
        let shop = shop(true).await;
        shop.store.write(add).await.unwrap();
        let (tally, overtaken) = take_in(&shop, 2, false, stop).await;
        let expected = serde_json::json!({"name": "Bo", "city": "Kandy"});
        assert_eq!(person(&shop).await, (Consent::Stop, expected));
        assert_eq!((tally.updated, overtaken), (1, 1));
        let (tally, overtaken) = take_in(&shop, 3, true, |_| {}).await;
        assert_eq!((tally.duplicates, overtaken), (1, 1));
        assert_eq!(person(&shop).await.0, Consent::Stop);
    }

    #[tokio::test]
    async fn a_stranger_who_says_stop_between_plan_and_write_stays_stopped() {
        let shop = shop(true).await;
        let come_and_stop = |tx: &Tx<'_>| {
            add(tx).unwrap();
            stop(tx);
        };
        let (tally, overtaken) = take_in(&shop, 2, false, come_and_stop).await;
        assert_eq!((tally.created, tally.updated, overtaken), (0, 1, 1));
        assert_eq!(person(&shop).await.0, Consent::Stop);
    }

    #[tokio::test]
    async fn attributes_that_change_between_plan_and_write_are_merged() {
        let shop = shop(true).await;
        shop.store.write(add).await.unwrap();
        let change = |tx: &Tx<'_>| {
            let galle = serde_json::json!({"city": "Galle"});
            users::set_attributes(tx, user(tx.conn()).id, galle.as_object().unwrap(), "key:1").unwrap();
        };
        let (_, overtaken) = take_in(&shop, 2, false, change).await;
        assert_eq!(overtaken, 1);
        let expected = serde_json::json!({"city": "Galle", "name": "Bo"});
        assert_eq!(person(&shop).await, (Consent::OptIn, expected));
    }

    #[tokio::test]
    async fn a_topic_that_is_left_between_plan_and_write_stays_left() {
        let shop = shop(false).await;
        let id = shop.store.write(add).await.unwrap();
        let topic_id = shop.topic_id;
        let leave = move |tx: &Tx<'_>| {
            let topic = topics::find(tx.conn(), "news").unwrap().unwrap();
            topics::set(tx, id, &topic, false, "user").unwrap();
        };
        let (tally, overtaken) = take_in(&shop, 2, false, leave).await;
        assert_eq!((tally.reasons.get("topic_left"), overtaken), (Some(&1), 1));
        let found = shop.store.read(move |conn| imports::membership(conn, id, topic_id)).await.unwrap();
        assert_eq!(found, Some(false));
    }

    #[tokio::test]
    async fn somebody_erased_between_plan_and_write_comes_in_anew_and_suppressed() {
        let shop = shop(true).await;
        let id = shop.store.write(add).await.unwrap();
        let erase = |tx: &Tx<'_>| erasure::erase(tx, &user(tx.conn()), "operator:1").unwrap();
        let (tally, overtaken) = take_in(&shop, 2, false, erase).await;
        assert_eq!((tally.created, overtaken), (1, 1));
        let found = shop.store.read::<_, _, StoreError>(|conn| Ok(user(conn))).await.unwrap();
        assert!(found.is_suppressed && found.id != id);
    }

    #[tokio::test]
    async fn a_number_suppressed_between_plan_and_write_comes_in_suppressed() {
        let shop = shop(true).await;
        let suppress = |tx: &Tx<'_>| {
            suppressions::insert(tx, PHONE, "do_not_contact", "key:1").unwrap();
        };
        let (tally, overtaken) = take_in(&shop, 2, true, suppress).await;
        assert_eq!((tally.created, overtaken), (1, 0));
        let is_suppressed = shop.store.read::<_, _, StoreError>(|conn| Ok(user(conn).is_suppressed)).await;
        assert!(is_suppressed.unwrap());
    }
}
