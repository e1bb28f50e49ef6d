//! What a row brings about, decided on any connection: on a snapshot ahead of the writer, so that the writer
//! has little left to do, or in the write itself. A dry run decides alike and so counts what a real one
//! would do.
//!
//! The rule of consent: a file says what it says about somebody new; about somebody known it only
//! tightens, unless the options loosen with evidence; nobody leaves `stop` by a file.

use serde_json::{Map, Value};

use super::options::{Mode, Options};
use super::row::{Person, Reading, RowReader, Said};
use crate::domain::consent::Consent;
use crate::domain::user::{checked_text, merge_patch, names};
use crate::store::imports::{self, Known, NewIssue, Rehearsal};
use crate::store::{Connection, StoreError, StoreKey};

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    Updated,
    Unchanged,
    Duplicate,
    Rejected,
}

/// What is to be written for a row.
#[derive(Debug)]
pub(super) enum Action {
    Nothing,
    Add,
    Change(Box<Change>),
    Suppress,
}

#[derive(Debug)]
pub(super) struct Change {
    /// As the decision found the person. It holds only for a person who stands so still.
    pub(super) known: Known,
    /// JSONB, and what the person is called in them.
    pub(super) attributes: Option<(Vec<u8>, String)>,
    /// With them, for the undo: what differs, as it stood and as it is to be, as JSON.
    pub(super) difference: Option<(String, String)>,
    pub(super) consent: Option<Consent>,
    /// Topics of the row, with what the decision found of them, and whether to join.
    pub(super) topics: Vec<Membership>,
    /// Signed: negative when this import added the person.
    pub(super) row: i64,
}

/// A topic that a row names, for somebody known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    pub(super) topic_id: i64,
    pub(super) found: Option<bool>,
    pub(super) joins: bool,
}

/// What a verdict is made of, for the counts and for whoever looks at a dry run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Of somebody new: the consent that they come in with.
    pub(super) new_consent: Option<Consent>,
    pub(super) has_attributes: bool,
    /// The consent that a known person has, and the one that they get.
    pub(super) consent: Option<(Consent, Consent)>,
    pub(super) has_topics: bool,
    /// The consent that a known person keeps, and the looser one that the file says.
    pub(super) kept: Option<(Consent, Consent)>,
}

#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) action: Action,
    pub(super) facts: Facts,
    pub(super) issues: Vec<NewIssue>,
}

impl Verdict {
    pub(super) fn new(outcome: Outcome, action: Action) -> Verdict {
        Verdict { outcome, action, facts: Facts::default(), issues: Vec::new() }
    }

    /// Of somebody who comes in by this row.
    pub(super) fn added(job: &Job, reading: &Reading, action: Action) -> Verdict {
        let said = reading.person.as_ref().map_or(Said::Nothing, |person| person.consent);
        let consent = consent_of_new(&job.options, said).unwrap_or(Consent::Unknown);
        let facts = Facts { new_consent: Some(consent), ..Facts::default() };
        Verdict { facts, ..Verdict::new(Outcome::Created, action) }
    }
}

/// What was made out about a row before its write.
#[derive(Debug)]
pub(super) enum Plan {
    /// Nobody has the number, as far as is known; the attributes as JSONB, and the number's hash if there is
    /// a list of suppressed ones. Whether it is so, the insert finds out.
    Add { attributes: Vec<u8>, address_hash: Option<[u8; 32]> },
    /// Somebody has it; the action is [`Action::Change`]. Holds while [`Change::known`] and the memberships do.
    Change(Box<Verdict>),
    /// Nothing: the row is to be decided in the write.
    Open,
}

/// A row and what was made out about it.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) reading: Reading,
    pub(super) plan: Plan,
}

/// Makes out what can be before the write. With `is_likely_new` nobody is looked up.
pub(super) fn foresee(
    ground: &Ground<'_>,
    job: &Job,
    reading: &Reading,
    is_likely_new: bool,
) -> Result<Plan, StoreError> {
    let Some(person) = &reading.person else {
        return Ok(Plan::Open);
    };
    if job.options.mode == Mode::Suppress {
        return Ok(Plan::Open);
    }
    let known = match is_likely_new {
        true => None,
        false => imports::find_known(ground.conn, person.phone.as_str())?,
    };
    let Some(known) = known else {
        let attributes = imports::jsonb(ground.conn, &person.json)?;
        let address_hash =
            imports::has_suppressions(ground.conn)?.then(|| ground.key.hash(person.phone.as_str()));
        return Ok(Plan::Add { attributes, address_hash });
    };
    if known.import_id == Some(job.id) {
        // The number stands in the file before: what follows hangs on more than the person's row.
        return Ok(Plan::Open);
    }
    let verdict = decide_known(ground, job, reading, (known, None))?;
    Ok(match verdict.action {
        Action::Change(_) => Plan::Change(Box::new(verdict)),
        _ => Plan::Open,
    })
}

pub(super) fn row_of(reading: &Reading) -> i64 {
    i64::try_from(reading.raw.number).unwrap_or(i64::MAX)
}

/// Decides a row by what is on the ground now.
pub(super) fn decide(ground: &Ground<'_>, job: &Job, reading: &Reading) -> Result<Verdict, StoreError> {
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
    let (mut verdict, earlier) = match known {
        None => (Verdict::added(job, reading, Action::Add), rehearsed),
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

/// The consent that a row tells, or the import for all its rows.
fn said(job: &Job, person: &Person) -> Option<Consent> {
    match person.consent {
        Said::Clearly(said) => Some(said),
        Said::Unclear => None,
        Said::Nothing => job.options.consent.state,
    }
}

/// The person is known: from before, or (`marked`) from an earlier row of this file.
fn decide_known(
    ground: &Ground<'_>,
    job: &Job,
    reading: &Reading,
    (known, marked): (Known, Option<i64>),
) -> Result<Verdict, StoreError> {
    let Some(person) = &reading.person else {
        return Ok(Verdict::new(Outcome::Rejected, Action::Nothing));
    };
    let was_added_here = marked.is_some_and(|row| row < 0);
    let row = if was_added_here { -row_of(reading) } else { row_of(reading) };
    let mut change = Box::new(Change {
        known,
        attributes: None,
        difference: None,
        consent: None,
        topics: Vec::new(),
        row,
    });
    if job.options.mode == Mode::SkipExisting && !was_added_here {
        return Ok(Verdict::new(Outcome::Unchanged, Action::Change(change)));
    }
    match merged(job.options.mode, person, &change.known) {
        Ok(Some(merged)) => {
            change.attributes = Some((imports::jsonb(ground.conn, &merged.json)?, merged.names));
            // Whom this import brought has nothing to go back to.
            change.difference = merged.difference.filter(|_| !was_added_here);
        }
        Ok(None) => {}
        Err(message) => {
            let mut verdict = Verdict::new(Outcome::Rejected, Action::Nothing);
            verdict.issues.push(job.reader.note(reading, "attributes_invalid", message, true));
            return Ok(verdict);
        }
    }
    let now = change.known.consent;
    let may_restate = was_added_here && imports::is_ledger_of(ground.conn, change.known.id, &job.actor)?;
    change.consent = if may_restate {
        consent_restated(person.consent, now)
    } else {
        consent_of_known(&job.options, person.consent, now)
    };
    let mut issues = Vec::new();
    for &topic_id in &person.topics {
        let found = imports::membership(ground.conn, change.known.id, topic_id)?;
        let joins = found.is_none() || found == Some(false) && job.options.consent.loosen;
        if found == Some(false) && !joins {
            let message = "The person left this topic; an import does not bring them back.".to_owned();
            issues.push(job.reader.note(reading, "topic_left", message, false));
        }
        change.topics.push(Membership { topic_id, found, joins });
    }
    let said = said(job, person).filter(|said| change.consent.is_none() && *said < now);
    let kept = said.map(|said| (now, said));
    let facts = Facts {
        new_consent: None,
        has_attributes: change.attributes.is_some(),
        consent: change.consent.map(|next| (now, next)),
        has_topics: change.topics.iter().any(|membership| membership.joins),
        kept,
    };
    let is_changed = facts.has_attributes || facts.consent.is_some() || facts.has_topics;
    let outcome = if is_changed { Outcome::Updated } else { Outcome::Unchanged };
    Ok(Verdict { outcome, action: Action::Change(change), facts, issues })
}

fn decide_suppression(
    ground: &Ground<'_>,
    job: &Job,
    reading: &Reading,
    (user_id, rehearsed): (Option<i64>, Option<i64>),
) -> Result<Verdict, StoreError> {
    let phone = reading.person.as_ref().map_or("", |person| person.phone.as_str());
    let source = imports::suppressed_by(ground.conn, &ground.key.hash(phone))?;
    if rehearsed.is_some() || source.as_ref() == Some(&job.actor) {
        let mut verdict = Verdict::new(Outcome::Duplicate, Action::Nothing);
        let message = "The number stood in an earlier row already.".to_owned();
        verdict.issues.push(job.reader.note(reading, "duplicate_in_file", message, false));
        return Ok(verdict);
    }
    Ok(match (source, user_id) {
        (Some(_), _) => Verdict::new(Outcome::Unchanged, Action::Nothing),
        (None, Some(_)) => Verdict::new(Outcome::Updated, Action::Suppress),
        (None, None) => Verdict::new(Outcome::Created, Action::Suppress),
    })
}

/// Attributes as they are to be.
struct Merged {
    json: String,
    /// What the person is called in them.
    names: String,
    /// What differs, as it stood and as it is to be, as JSON.
    difference: Option<(String, String)>,
}

/// The attributes as they are to be, or `None` when they are that already.
fn merged(mode: Mode, person: &Person, known: &Known) -> Result<Option<Merged>, String> {
    if person.json == known.attributes {
        return Ok(None);
    }
    let kept: Map<String, Value> = serde_json::from_str(&known.attributes).unwrap_or_default();
    let text = |map: &Map<String, Value>| serde_json::to_string(map).unwrap_or_default();
    let difference = |new: &Map<String, Value>| {
        imports::Change::between(&kept, new).map(|change| (text(&change.before), text(&change.after)))
    };
    if mode == Mode::Replace {
        let is_other = person.attributes != kept;
        return Ok(is_other.then(|| Merged {
            json: person.json.clone(),
            names: person.names.clone(),
            difference: difference(&person.attributes),
        }));
    }
    let mut merged = kept.clone();
    if !merge_patch(&mut merged, &person.attributes) {
        return Ok(None);
    }
    let json = checked_text(&merged).map_err(|error| format!("{}: {}.", error.field, error.message))?;
    Ok(Some(Merged { json, names: names(&merged), difference: difference(&merged) }))
}

/// The consent of somebody who comes in by this row; `None` is `unknown`.
pub(super) fn consent_of_new(options: &Options, said: Said) -> Option<Consent> {
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
