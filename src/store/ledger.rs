//! The consent ledger: every change of a person's consent, for good, and the hash chain over it.

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::events::{self, NewEvent};
use super::{StoreError, StoreKey, Tx};
use crate::clock::Millis;
use crate::domain::consent::Consent;
use crate::domain::event::EventType;

/// A change of consent about to be recorded: who, when, where from, and in which words.
#[derive(Clone, Debug)]
pub struct ConsentChange<'a> {
    /// The new state.
    pub state: Consent,
    /// Where it came from: `keyword`, `import`, `api`, `operator`, `twilio`, `demo` …
    pub source: &'a str,
    /// Who recorded it: `user`, `key:3`, `import:5`, `operator:1`, `twilio`.
    pub actor: &'a str,
    /// The words or the document that show it.
    pub evidence: Option<&'a str>,
    /// When the person said so, if not now.
    pub obtained_at: Option<Millis>,
}

/// One row of the ledger.
#[derive(Clone, Debug)]
pub struct LedgerRow {
    /// Ascending, in order of recording.
    pub id: i64,
    /// The state before.
    pub previous: String,
    /// The state after.
    pub state: String,
    /// Where it came from.
    pub source: String,
    /// Who recorded it.
    pub actor: String,
    /// The words, unless they were erased.
    pub evidence: Option<String>,
    /// When the person said so, if told.
    pub obtained_at: Option<Millis>,
    /// When it was recorded.
    pub at: Millis,
}

/// Writes the ledger row, the person's new state and the event. Recording the state that a person is in
/// already is allowed: it adds fresh evidence.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn record(
    tx: &Tx<'_>,
    user_id: i64,
    previous: Consent,
    change: &ConsentChange<'_>,
) -> Result<(), StoreError> {
    if previous != change.state {
        let is_counted: bool = tx
            .conn
            .prepare_cached(
                "UPDATE users SET consent = ?2, updated_at = ?3 WHERE id = ?1 RETURNING erased_at IS NULL",
            )?
            .query_row((user_id, change.state.as_str(), tx.now), |row| row.get(0))?;
        // Late news of somebody who was erased changes no count: they are in none.
        if is_counted {
            let mut effects = tx.effects.borrow_mut();
            *effects.users.entry(previous).or_default() -= 1;
            *effects.users.entry(change.state).or_default() += 1;
        }
    }
    append(tx, user_id, previous, change)?;
    let is_open = |consent| matches!(consent, Consent::OptIn | Consent::Unknown);
    if is_open(previous) && !is_open(change.state) {
        events::count(tx, OPT_OUT);
    }
    events::append(
        tx,
        EventType::ConsentChanged,
        NewEvent {
            user_id: Some(user_id),
            data: Some(json!({"state": change.state.as_str(), "previous": previous.as_str(),
                              "source": change.source, "actor": change.actor})),
            ..NewEvent::default()
        },
    )?;
    Ok(())
}

/// What `daily_counts` calls a person we knew who opts out or says STOP.
pub const OPT_OUT: &str = "opt_out";

/// Writes the ledger row alone: for a person who is inserted with this state.
pub(super) fn append(
    tx: &Tx<'_>,
    user_id: i64,
    previous: Consent,
    change: &ConsentChange<'_>,
) -> Result<(), StoreError> {
    let evidence_hash = change.evidence.map(|words| tx.key.hash(words));
    let digest = digest(&Digested {
        user_id,
        previous: previous.as_str(),
        state: change.state.as_str(),
        source: change.source,
        actor: change.actor,
        evidence_hash: evidence_hash.as_ref().map(|hash| hash.as_slice()),
        obtained_at: change.obtained_at,
        at: tx.now,
    });
    let id = tx
        .conn
        .prepare_cached(
            "INSERT INTO consent_ledger (user_id, previous, state, source, actor, evidence,
                                         evidence_hash, obtained_at, at, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .insert((
            user_id,
            previous.as_str(),
            change.state.as_str(),
            change.source,
            change.actor,
            change.evidence,
            evidence_hash,
            change.obtained_at,
            tx.now,
            digest,
        ))?;
    tx.effects.borrow_mut().ledger.push((id, digest));
    Ok(())
}

/// A person's ledger, newest first, below id `before`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(
    conn: &Connection,
    user_id: i64,
    before: i64,
    limit: usize,
) -> Result<Vec<LedgerRow>, StoreError> {
    let rows = conn
        .prepare_cached(
            "SELECT id, previous, state, source, actor, evidence, obtained_at, at
             FROM consent_ledger WHERE user_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
        )?
        .query_map((user_id, before, limit as i64), |row| {
            Ok(LedgerRow {
                id: row.get(0)?,
                previous: row.get(1)?,
                state: row.get(2)?,
                source: row.get(3)?,
                actor: row.get(4)?,
                evidence: row.get(5)?,
                obtained_at: row.get(6)?,
                at: row.get(7)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// When a person's consent was last loosened by their own words, and when it was last tightened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// When they said that they want to hear from us.
    pub loosened_at: Option<Millis>,
    /// When they said, or somebody recorded, that they do not.
    pub tightened_at: Option<Millis>,
}

/// The last turns of a person's consent. A person's own words count from when they were said, what others
/// recorded from when they did.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn turns(conn: &Connection, user_id: i64) -> Result<Turns, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT max(said_at) FILTER (WHERE state = 'opt_in' AND actor = 'user'),
                    max(said_at) FILTER (WHERE state IN ('opt_out', 'stop'))
             FROM (SELECT state, actor, CASE actor WHEN 'user' THEN coalesce(obtained_at, at) ELSE at END
                     AS said_at
                   FROM consent_ledger WHERE user_id = ?1)",
        )?
        .query_row([user_id], |row| Ok(Turns { loosened_at: row.get(0)?, tightened_at: row.get(1)? }))?)
}

/// The state that the ledger had recorded for a person by `at`; `None` when it had none.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn state_at(conn: &Connection, user_id: i64, at: Millis) -> Result<Option<String>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT state FROM consent_ledger WHERE user_id = ?1 AND at <= ?2 ORDER BY id DESC LIMIT 1",
        )?
        .query_row((user_id, at), |row| row.get(0))
        .optional()?)
}

struct Digested<'a> {
    user_id: i64,
    previous: &'a str,
    state: &'a str,
    source: &'a str,
    actor: &'a str,
    evidence_hash: Option<&'a [u8]>,
    obtained_at: Option<i64>,
    at: i64,
}

/// SHA-256 over the fields, each behind its length, so that no two rows share a form.
fn digest(row: &Digested<'_>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(row.user_id.to_be_bytes());
    for text in [row.previous, row.state, row.source, row.actor] {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
    let evidence = row.evidence_hash.unwrap_or_default();
    hasher.update((evidence.len() as u64).to_be_bytes());
    hasher.update(evidence);
    hasher.update([u8::from(row.obtained_at.is_some())]);
    hasher.update(row.obtained_at.unwrap_or(0).to_be_bytes());
    hasher.update(row.at.to_be_bytes());
    hasher.finalize().into()
}

fn link_hash(previous: &[u8], first: i64, last: i64, digests: &[[u8; 32]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(first.to_be_bytes());
    hasher.update(last.to_be_bytes());
    for digest in digests {
        hasher.update(digest);
    }
    hasher.finalize().into()
}

/// Closes a write transaction's part of the ledger with one link.
pub(super) fn append_link(
    conn: &Connection,
    rows: &[(i64, [u8; 32])],
    now: Millis,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(());
    };
    let previous: Vec<u8> = conn
        .prepare_cached("SELECT hash FROM consent_links ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?
        .unwrap_or_default();
    let digests: Vec<[u8; 32]> = rows.iter().map(|(_, digest)| *digest).collect();
    let hash = link_hash(&previous, first.0, last.0, &digests);
    conn.prepare_cached("INSERT INTO consent_links (first_id, last_id, hash, at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((first.0, last.0, hash, now))?;
    Ok(())
}

/// What a walk along the whole chain found.
#[derive(Debug, Default)]
pub struct ChainReport {
    /// Rows looked at.
    pub rows: u64,
    /// Links looked at.
    pub links: u64,
    /// Every break, in words; empty when the chain is whole.
    pub problems: Vec<String>,
}

/// Recomputes every digest and every link.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn verify(conn: &Connection, key: &StoreKey) -> Result<ChainReport, StoreError> {
    let mut report = ChainReport::default();
    let mut previous_hash: Vec<u8> = Vec::new();
    let mut expected_first = 1;
    let mut links = conn.prepare("SELECT id, first_id, last_id, hash FROM consent_links ORDER BY id")?;
    let mut links = links.query([])?;
    while let Some(link) = links.next()? {
        let (id, first, last): (i64, i64, i64) = (link.get(0)?, link.get(1)?, link.get(2)?);
        let hash: Vec<u8> = link.get(3)?;
        let digests = recompute(conn, key, (first, last), &mut report)?;
        if first != expected_first || digests.len() as i64 != last - first + 1 {
            report.problems.push(format!("link {id}: rows between {expected_first} and {last} are missing"));
        }
        if link_hash(&previous_hash, first, last, &digests) != hash.as_slice() {
            report.problems.push(format!("link {id}: the hash over rows {first} to {last} does not hold"));
        }
        report.links += 1;
        expected_first = last + 1;
        previous_hash = hash;
    }
    let unlinked: i64 =
        conn.query_row("SELECT count(*) FROM consent_ledger WHERE id >= ?1", [expected_first], |row| {
            row.get(0)
        })?;
    if unlinked > 0 {
        report.problems.push(format!("{unlinked} rows from {expected_first} on belong to no link"));
    }
    Ok(report)
}

/// Walks over one person's rows and the links that hold them: as long as the person's own history, not as the
/// whole chain. That the links before them hold is for [`verify`] to say.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn verify_person(conn: &Connection, key: &StoreKey, user_id: i64) -> Result<ChainReport, StoreError> {
    let mut report = ChainReport::default();
    let own: Vec<i64> = conn
        .prepare_cached("SELECT id FROM consent_ledger WHERE user_id = ?1 ORDER BY id")?
        .query_map([user_id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut seen_through = 0;
    for id in &own {
        if *id <= seen_through {
            continue;
        }
        let Some((link, first, last)) = link_of(conn, *id)? else {
            report.problems.push(format!("row {id}: it belongs to no link"));
            continue;
        };
        let stored: Vec<u8> = hash_of(conn, link)?.unwrap_or_default();
        let previous = hash_of(conn, link - 1)?.unwrap_or_default();
        let digests = recompute(conn, key, (first, last), &mut report)?;
        if link_hash(&previous, first, last, &digests) != stored.as_slice() {
            report.problems.push(format!("link {link}: the hash over rows {first} to {last} does not hold"));
        }
        report.links += 1;
        seen_through = last;
    }
    report.rows = own.len().try_into().unwrap_or(0);
    Ok(report)
}

/// The link that holds ledger row `id`, by halves: links and their rows ascend together.
fn link_of(conn: &Connection, id: i64) -> Result<Option<(i64, i64, i64)>, StoreError> {
    let mut at = conn.prepare_cached("SELECT first_id, last_id FROM consent_links WHERE id = ?1")?;
    let newest: Option<i64> = conn.query_row("SELECT max(id) FROM consent_links", [], |row| row.get(0))?;
    let (mut low, mut high) = (1, newest.unwrap_or(0));
    while low <= high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> =
            at.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((first, last)) if first <= id && id <= last => return Ok(Some((middle, first, last))),
            Some((first, _)) if id < first => high = middle - 1,
            Some(_) => low = middle + 1,
            None => return Ok(None),
        }
    }
    Ok(None)
}

fn hash_of(conn: &Connection, link: i64) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT hash FROM consent_links WHERE id = ?1")?
        .query_row([link], |row| row.get(0))
        .optional()?)
}

fn recompute(
    conn: &Connection,
    key: &StoreKey,
    (first, last): (i64, i64),
    report: &mut ChainReport,
) -> Result<Vec<[u8; 32]>, StoreError> {
    let mut digests = Vec::new();
    let mut rows = conn.prepare_cached(
        "SELECT id, user_id, previous, state, source, actor, evidence, evidence_hash, obtained_at, at,
                digest
         FROM consent_ledger WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
    )?;
    let mut rows = rows.query((first, last))?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let evidence: Option<String> = row.get(6)?;
        let evidence_hash: Option<Vec<u8>> = row.get(7)?;
        if let Some(words) = evidence
            && evidence_hash.as_deref() != Some(key.hash(&words).as_slice())
        {
            report.problems.push(format!("row {id}: the evidence is not what was recorded"));
        }
        let (previous, state): (String, String) = (row.get(2)?, row.get(3)?);
        let (source, actor): (String, String) = (row.get(4)?, row.get(5)?);
        let computed = digest(&Digested {
            user_id: row.get(1)?,
            previous: &previous,
            state: &state,
            source: &source,
            actor: &actor,
            evidence_hash: evidence_hash.as_deref(),
            obtained_at: row.get(8)?,
            at: row.get(9)?,
        });
        let stored: Vec<u8> = row.get(10)?;
        if stored != computed {
            report.problems.push(format!("row {id}: it was changed after it was recorded"));
        }
        report.rows += 1;
        digests.push(computed);
    }
    Ok(digests)
}
