//! What a row brings about: decided on any connection, so that a dry run counts what a real one would do,
//! then carried out in a write.
//!
//! The rule of consent: a file says what it says about somebody new; about somebody known it only
//! tightens, unless the options loosen with evidence; nobody leaves `stop` by a file.

use crate::store::Connection;
use serde_json::{Map, Value};

use super::options::{Mode, Options};
use super::row::{Person, Reading, RowReader, Said};
use crate::domain::consent::Consent;
use crate::domain::user::{check_attributes, merge_patch};
use crate::store::imports::{self, Known, MAX_ISSUES, NewIssue, NewPerson, Rehearsal, Tally};
use crate::store::ledger::{self, ConsentChange};
use crate::store::{StoreError, StoreKey, Tx, Withdrawal, suppressions};

/// An import at work.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: i64,
    /// `import:5`, in ledgers and lists.
    pub(super) actor: String,
    pub(super) file_name: String,
    pub(super) options: Options,
    pub(super) reader: RowReader,
}

/// Where decisions look things up.
pub(super) struct Ground<'a> {
    pub(super) conn: &'a Connection,
    pub(super) key: &'a StoreKey,
    /// In a dry run, what stood in the file before.
    pub(super) seen: Option<&'a Rehearsal>,
}

/// What is counted, and what is kept beside it.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) tally: Tally,
    /// Issues kept so far, in the table.
    pub(super) issues: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Created,
    Updated,
    Unchanged,
    Duplicate,
    Rejected,
}

/// What is to be written for a row.
#[derive(Debug)]
enum Action {
    Nothing,
    Add { consent: Option<Consent> },
    Change(Change),
    Suppress { user_id: Option<i64> },
}

#[derive(Debug)]
struct Change {
    user_id: i64,
    attributes: Option<String>,
    consent: Option<(Consent, Consent)>,
    topics: Vec<i64>,
    /// Signed: negative when this import added the person.
    row: i64,
}

#[derive(Debug)]
struct Verdict {
    outcome: Outcome,
    action: Action,
    issues: Vec<NewIssue>,
}

impl Verdict {
    fn new(outcome: Outcome, action: Action) -> Verdict {
        Verdict { outcome, action, issues: Vec::new() }
    }
}

/// Takes in the rows of one chunk.
pub(super) fn apply(
    tx: &Tx<'_>,
    job: &Job,
    rows: &[Reading],
    progress: &mut Progress,
) -> Result<(), StoreError> {
    let ground = Ground { conn: tx.conn(), key: tx.key(), seen: None };
    let hand = Hand { tx, job, is_list_empty: !imports::has_suppressions(tx.conn())? };
    // People who are new come in rows: one who follows such a one is added without being looked for.
    let mut is_likely_new = progress.tally.updated + progress.tally.unchanged == 0;
    for reading in rows {
        let row = row_of(reading);
        let added = match &reading.person {
            Some(person) if is_likely_new && job.options.mode != Mode::Suppress => {
                hand.try_add(person, row)?
            }
            _ => None,
        };
        let verdict = match added {
            Some(verdict) => verdict,
            None => {
                let verdict = decide(&ground, job, reading)?;
                if let Some(person) = &reading.person {
                    hand.carry_out(person, row, &verdict.action)?;
                }
                verdict
            }
        };
        is_likely_new = matches!(verdict.outcome, Outcome::Created | Outcome::Rejected);
        for issue in count(progress, reading, verdict) {
            imports::insert_issue(tx, job.id, &issue)?;
        }
    }
    Ok(())
}

/// Counts the rows of one chunk as [`apply`] would, and returns the issues to keep.
pub(super) fn rehearse(
    ground: &Ground<'_>,
    job: &Job,
    rows: &[Reading],
    progress: &mut Progress,
) -> Result<Vec<NewIssue>, StoreError> {
    let mut issues = Vec::new();
    for reading in rows {
        let verdict = decide(ground, job, reading)?;
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

fn row_of(reading: &Reading) -> i64 {
    i64::try_from(reading.raw.number).unwrap_or(i64::MAX)
}

fn decide(ground: &Ground<'_>, job: &Job, reading: &Reading) -> Result<Verdict, StoreError> {
    let Some(person) = &reading.person else {
        return Ok(Verdict::new(Outcome::Rejected, Action::Nothing));
    };
    let known = imports::find_known(ground.conn, person.phone.as_str())?;
    let rehearsed = match ground.seen {
        Some(seen) => seen.note(person.phone.as_str(), row_of(reading))?,
        None => None,
    };
    if job.options.mode == Mode::Suppress {
        let user_id = known.map(|known| known.id);
        return decide_suppression(ground, job, reading, (user_id, rehearsed));
    }
    let (mut verdict, earlier) = match &known {
        None => {
            let consent = consent_of_new(&job.options, person.consent);
            (Verdict::new(Outcome::Created, Action::Add { consent }), rehearsed)
        }
        Some(known) => {
            let marked = known.import_row.filter(|_| known.import_id == Some(job.id));
            let verdict = decide_known(ground, job, reading, (known, marked))?;
            (verdict, marked.or(rehearsed))
        }
    };
    if let Some(earlier) = earlier
        && verdict.outcome != Outcome::Rejected
    {
        verdict.outcome = Outcome::Duplicate;
        let message =
            format!("The number stood in row {} already; this row replaced that one.", earlier.abs());
        verdict.issues.push(job.reader.note(reading, "duplicate_in_file", message, false));
    }
    Ok(verdict)
}

/// The person is known: from before, or (`marked`) from an earlier row of this file.
fn decide_known(
    ground: &Ground<'_>,
    job: &Job,
    reading: &Reading,
    (known, marked): (&Known, Option<i64>),
) -> Result<Verdict, StoreError> {
    let Some(person) = &reading.person else {
        return Ok(Verdict::new(Outcome::Rejected, Action::Nothing));
    };
    let was_added_here = marked.is_some_and(|row| row < 0);
    let row = if was_added_here { -row_of(reading) } else { row_of(reading) };
    let mut change = Change { user_id: known.id, attributes: None, consent: None, topics: Vec::new(), row };
    if job.options.mode == Mode::SkipExisting && !was_added_here {
        return Ok(Verdict::new(Outcome::Unchanged, Action::Change(change)));
    }
    match merged(job.options.mode, person, known) {
        Ok(attributes) => change.attributes = attributes,
        Err(message) => {
            let mut verdict = Verdict::new(Outcome::Rejected, Action::Nothing);
            verdict.issues.push(job.reader.note(reading, "attributes_invalid", message, true));
            return Ok(verdict);
        }
    }
    let may_restate = was_added_here && imports::is_ledger_of(ground.conn, known.id, &job.actor)?;
    let next = if may_restate {
        consent_restated(person.consent, known.consent)
    } else {
        consent_of_known(&job.options, person.consent, known.consent)
    };
    change.consent = next.map(|next| (known.consent, next));
    let mut issues = Vec::new();
    for topic in &person.topics {
        match imports::membership(ground.conn, known.id, *topic)? {
            Some(true) => {}
            Some(false) if !job.options.consent.loosen => {
                let message = "The person left this topic; an import does not bring them back.".to_owned();
                issues.push(job.reader.note(reading, "topic_left", message, false));
            }
            Some(false) | None => change.topics.push(*topic),
        }
    }
    let is_changed = change.attributes.is_some() || change.consent.is_some() || !change.topics.is_empty();
    let outcome = if is_changed { Outcome::Updated } else { Outcome::Unchanged };
    Ok(Verdict { outcome, action: Action::Change(change), issues })
}

fn decide_suppression(
    ground: &Ground<'_>,
    job: &Job,
    reading: &Reading,
    (user_id, rehearsed): (Option<i64>, Option<i64>),
) -> Result<Verdict, StoreError> {
    let phone = reading.person.as_ref().map_or("", |person| person.phone.as_str());
    let source = imports::suppressed_by(ground.conn, ground.key, phone)?;
    if rehearsed.is_some() || source.as_ref() == Some(&job.actor) {
        let mut verdict = Verdict::new(Outcome::Duplicate, Action::Nothing);
        let message = "The number stood in an earlier row already.".to_owned();
        verdict.issues.push(job.reader.note(reading, "duplicate_in_file", message, false));
        return Ok(verdict);
    }
    Ok(match (source, user_id) {
        (Some(_), _) => Verdict::new(Outcome::Unchanged, Action::Nothing),
        (None, Some(_)) => Verdict::new(Outcome::Updated, Action::Suppress { user_id }),
        (None, None) => Verdict::new(Outcome::Created, Action::Suppress { user_id }),
    })
}

/// The attributes as they are to be, or `None` when they are that already.
fn merged(mode: Mode, person: &Person, known: &Known) -> Result<Option<String>, String> {
    if person.json == known.attributes {
        return Ok(None);
    }
    let kept: Map<String, Value> = serde_json::from_str(&known.attributes).unwrap_or_default();
    if mode == Mode::Replace {
        return Ok((person.attributes != kept).then(|| person.json.clone()));
    }
    let mut merged = kept;
    if !merge_patch(&mut merged, &person.attributes) {
        return Ok(None);
    }
    check_attributes(&merged).map_err(|error| format!("{}: {}.", error.field, error.message))?;
    Ok(serde_json::to_string(&merged).ok())
}

/// The consent of somebody who comes in by this row; `None` is `unknown`.
fn consent_of_new(options: &Options, said: Said) -> Option<Consent> {
    let state = match said {
        Said::Clearly(state) => Some(state),
        Said::Unclear => None,
        Said::Nothing => options.consent.state,
    };
    state.filter(|state| *state != Consent::Unknown)
}

/// What a row makes of the consent of somebody known; `None`: it stays.
fn consent_of_known(options: &Options, said: Said, now: Consent) -> Option<Consent> {
    let next = match said {
        Said::Clearly(state) => state,
        Said::Unclear => return None,
        // That nothing is known of the people in the file says nothing against what we know.
        Said::Nothing => options.consent.state.filter(|state| *state != Consent::Unknown)?,
    };
    let is_allowed = Consent::tightens(now, next) || options.consent.loosen;
    (now != Consent::Stop && next != now && is_allowed).then_some(next)
}

/// The last row wins about somebody whom this file brought and about whose consent nobody else said
/// anything since.
fn consent_restated(said: Said, now: Consent) -> Option<Consent> {
    let next = match said {
        Said::Clearly(state) => state,
        Said::Unclear => Consent::Unknown,
        Said::Nothing => return None,
    };
    (now != Consent::Stop && next != now).then_some(next)
}

/// Writes what was decided.
struct Hand<'a> {
    tx: &'a Tx<'a>,
    job: &'a Job,
    /// No number was suppressed when the chunk began, and no row of this mode suppresses one.
    is_list_empty: bool,
}

impl Hand<'_> {
    fn carry_out(&self, person: &Person, row: i64, action: &Action) -> Result<(), StoreError> {
        match action {
            Action::Nothing => Ok(()),
            Action::Add { consent } => self.add(person, row, *consent).map(drop),
            Action::Change(change) => self.change(change),
            Action::Suppress { user_id } => {
                suppressions::insert(self.tx, person.phone.as_str(), "do_not_contact", &self.job.actor)?;
                if let Some(user_id) = user_id {
                    self.tx.withdraw(Withdrawal::User(*user_id));
                }
                Ok(())
            }
        }
    }

    /// Adds the person, or does nothing when the number is known.
    fn try_add(&self, person: &Person, row: i64) -> Result<Option<Verdict>, StoreError> {
        let consent = consent_of_new(&self.job.options, person.consent);
        let is_added = self.add(person, row, consent)?;
        Ok(is_added.then(|| Verdict::new(Outcome::Created, Action::Nothing)))
    }

    /// Returns false when the number is known.
    fn add(&self, person: &Person, row: i64, consent: Option<Consent>) -> Result<bool, StoreError> {
        let words = consent.map(|_| evidence(self.job, row)).unwrap_or_default();
        let new = NewPerson {
            phone: person.phone.as_str(),
            country: person.country,
            attributes: &person.json,
            consent: consent.map(|state| consent_change(self.job, state, &words)),
            import: (self.job.id, row),
            is_list_empty: self.is_list_empty,
        };
        let Some(user_id) = imports::insert_person(self.tx, &new)? else {
            return Ok(false);
        };
        person.topics.iter().try_for_each(|topic| imports::join(self.tx, user_id, *topic))?;
        Ok(true)
    }

    fn change(&self, change: &Change) -> Result<(), StoreError> {
        let marker = (self.job.id, change.row);
        match &change.attributes {
            Some(attributes) => imports::update_person(self.tx, change.user_id, attributes, marker)?,
            None => imports::touch(self.tx, change.user_id, marker)?,
        }
        if let Some((now, next)) = change.consent {
            let words = evidence(self.job, change.row.abs());
            ledger::record(self.tx, change.user_id, now, &consent_change(self.job, next, &words))?;
            if Consent::tightens(now, next) {
                // Whatever was claimed under the old consent passes the gate again.
                self.tx.withdraw(Withdrawal::User(change.user_id));
            }
        }
        change.topics.iter().try_for_each(|topic| imports::join(self.tx, change.user_id, *topic))
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
    use super::super::options::ConsentOptions;
    use super::*;
    use Consent::{OptIn, OptOut, Stop, Unknown};
    use Said::{Clearly, Nothing, Unclear};

    fn options(state: Option<Consent>, loosen: bool) -> Options {
        Options { consent: ConsentOptions { state, loosen, ..Default::default() }, ..Default::default() }
    }

    #[test]
    fn somebody_new_has_the_consent_that_the_row_clearly_says() {
        for (state, said, expected) in [
            (None, Nothing, None),
            (None, Clearly(OptIn), Some(OptIn)),
            (None, Clearly(Unknown), None),
            (None, Unclear, None),
            (Some(OptIn), Nothing, Some(OptIn)),
            (Some(OptIn), Unclear, None),
            (Some(OptIn), Clearly(Unknown), None),
            (Some(OptIn), Clearly(Stop), Some(Stop)),
            (Some(Unknown), Nothing, None),
        ] {
            assert_eq!(consent_of_new(&options(state, false), said), expected, "{state:?} {said:?}");
        }
    }

    #[test]
    fn for_somebody_known_a_file_only_tightens_unless_told_and_never_leaves_stop() {
        for loosen in [false, true] {
            for now in Consent::ALL {
                for said in [Nothing, Unclear].into_iter().chain(Consent::ALL.map(Clearly)) {
                    let next = consent_of_known(&options(None, loosen), said, now);
                    let expected = match said {
                        Clearly(said) if now != Stop && said != now && (loosen || said > now) => Some(said),
                        _ => None,
                    };
                    assert_eq!(next, expected, "loosen {loosen}, {now} and {said:?}");
                }
            }
        }
        assert_eq!(consent_of_known(&options(Some(OptIn), false), Nothing, Unknown), None);
        assert_eq!(consent_of_known(&options(Some(OptIn), true), Nothing, Unknown), Some(OptIn));
        assert_eq!(consent_of_known(&options(Some(OptIn), true), Nothing, Stop), None);
        assert_eq!(consent_of_known(&options(Some(OptOut), false), Nothing, OptIn), Some(OptOut));
        assert_eq!(consent_of_known(&options(Some(Unknown), true), Nothing, OptIn), None);
    }

    #[test]
    fn the_last_row_wins_but_for_stop() {
        assert_eq!(consent_restated(Clearly(OptIn), OptOut), Some(OptIn));
        assert_eq!(consent_restated(Unclear, OptIn), Some(Unknown));
        assert_eq!(consent_restated(Nothing, OptIn), None);
        assert_eq!(consent_restated(Clearly(OptIn), Stop), None);
    }
}
