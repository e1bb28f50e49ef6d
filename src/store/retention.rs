//! Taking away what is over, by class, in steps of some milliseconds. A walk goes along ids, so a step costs what
//! it looks at; its place is kept in `cursors`, in the step's own transaction. What can't go yet when it is passed
//! (a message that still waits, a webhook whose effect is still tried) is walked to again, a day later.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{StoreError, Tx, cursors, events, idempotency};
use crate::clock::Millis;

/// A step that took this long ends: webhooks wait for it.
const LONGEST: Duration = Duration::from_millis(6);
/// Rows between two looks at the time.
const PAGE: usize = 64;
/// How long until what was passed over is walked to again, in milliseconds.
const AGAIN_AFTER: Millis = 86_400_000;

/// What is taken away at once and counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Raw parameters of webhooks.
    RawWebhooks,
    /// Texts and words.
    Bodies,
    /// `data` of triggers.
    TriggerData,
    /// Rows of imports.
    ImportIssues,
    /// What imports changed.
    ImportChanges,
    /// Events.
    Events,
    /// Answers kept for repeated requests.
    Answers,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 7] = [
        Class::RawWebhooks,
        Class::Bodies,
        Class::TriggerData,
        Class::ImportIssues,
        Class::ImportChanges,
        Class::Events,
        Class::Answers,
    ];

    /// The word in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::RawWebhooks => "raw_webhooks",
            Class::Bodies => "bodies",
            Class::TriggerData => "trigger_data",
            Class::ImportIssues => "import_issues",
            Class::ImportChanges => "import_changes",
            Class::Events => "events",
            Class::Answers => "answers",
        }
    }

    /// The walks that it takes, by number.
    pub fn walks(self) -> std::ops::Range<usize> {
        match self {
            Class::RawWebhooks | Class::Bodies => 0..2,
            _ => 0..1,
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Rows from which something was taken.
    pub removed: u64,
    /// Nothing is left that is old enough.
    pub is_done: bool,
}

/// A walk along the rows of a table.
struct Walk {
    name: &'static str,
    /// `id, age, is there anything, may it not go yet`, behind id ?1, ?2 of them; ?3 is the moment that divides old
    /// from young.
    look: &'static str,
    /// Takes it from row ?1 at ?2.
    take: &'static str,
}

const RAW: [Walk; 2] = [
    Walk {
        name: "inbound.params",
        look: "SELECT id, received_at, params IS NOT NULL, state = 'pending' AND ?3 IS NOT NULL
               FROM inbound WHERE id > ?1 ORDER BY id LIMIT ?2",
        take: "UPDATE inbound SET params = NULL, params_removed_at = ?2,
                 from_address = CASE WHEN user_id IS NULL THEN NULL ELSE from_address END WHERE id = ?1",
    },
    Walk {
        name: "receipts.params",
        look: "SELECT id, received_at, params IS NOT NULL, state = 'pending' AND ?3 IS NOT NULL
               FROM receipts WHERE id > ?1 ORDER BY id LIMIT ?2",
        take: "UPDATE receipts SET params = NULL, params_removed_at = ?2 WHERE id = ?1",
    },
];

const BODIES: [Walk; 2] = [
    Walk {
        name: "inbound.body",
        look:
            "SELECT id, received_at, body IS NOT NULL OR media <> '[]', state = 'pending' AND ?3 IS NOT NULL
               FROM inbound WHERE id > ?1 ORDER BY id LIMIT ?2",
        take: "UPDATE inbound SET body = NULL, media = '[]', body_removed_at = ?2 WHERE id = ?1",
    },
    // Old by when it was queued, over since it was last heard of: what was sent late is young.
    Walk {
        name: "messages.body",
        look: "SELECT id, created_at, body IS NOT NULL OR variables IS NOT NULL OR media_urls IS NOT NULL
                 OR status IN ('queued', 'sending', 'uncertain'),
               status IN ('queued', 'sending', 'uncertain')
                 OR max(due_at, coalesce(accepted_at, 0), coalesce(read_at, delivered_at, sent_at, 0)) >= ?3
               FROM messages WHERE id > ?1 ORDER BY id LIMIT ?2",
        take: "UPDATE messages SET body = NULL, variables = NULL, media_urls = NULL, body_removed_at = ?2
               WHERE id = ?1",
    },
];

const TRIGGERS: [Walk; 1] = [Walk {
    name: "triggers.data",
    look: "SELECT t.rowid, t.received_at, t.data <> '{}',
             coalesce(t.send_at, 0) >= ?3
             OR EXISTS (SELECT 1 FROM messages m WHERE m.user_id = t.user_id AND m.occasion = t.id
                          AND m.status IN ('queued', 'sending', 'uncertain'))
             OR EXISTS (SELECT 1 FROM trigger_audiences a WHERE a.trigger_id = t.id AND (a.is_open = 1
                          OR EXISTS (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m.lane = a.campaign_id)))
           FROM triggers t WHERE t.rowid > ?1 ORDER BY t.rowid LIMIT ?2",
    take: "UPDATE triggers SET data = '{}' WHERE rowid = ?1 AND ?2 IS NOT NULL",
}];

/// One step of the walk `number` of `class`: takes what is older than `before`. Never longer than some
/// milliseconds, whatever there is.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn step(tx: &Tx<'_>, class: Class, number: usize, before: Millis) -> Result<Step, StoreError> {
    let walks: &[Walk] = match class {
        Class::RawWebhooks => &RAW,
        Class::Bodies => &BODIES,
        Class::TriggerData => &TRIGGERS,
        Class::ImportIssues => return remove_issues(tx, before),
        Class::ImportChanges => return remove_changes(tx, before),
        Class::Events => return remove_events(tx, before),
        Class::Answers => return remove_answers(tx),
    };
    walks.get(number).map_or(Ok(Step { removed: 0, is_done: true }), |walk| walk.step(tx, before))
}

impl Walk {
    fn step(&self, tx: &Tx<'_>, before: Millis) -> Result<Step, StoreError> {
        let started = Instant::now();
        let name = format!("retention.{}", self.name);
        let begun = cursors::get(tx.conn, &name)?.unwrap_or(0);
        let (mut at, mut step) = (begun, Step::default());
        while !step.is_done && started.elapsed() < LONGEST {
            let rows = self.page(tx.conn, at, before)?;
            step.is_done = rows.len() < PAGE;
            for (id, age, is_full, is_open) in rows {
                if age >= before {
                    step.is_done = true;
                    break;
                }
                if is_full && is_open {
                    // The first of those that were passed over: a later walk begins there.
                    cursors::begin(tx, &format!("{name}.again"), id)?;
                } else if is_full {
                    tx.conn.prepare_cached(self.take)?.execute((id, tx.now))?;
                    step.removed += 1;
                }
                at = id;
            }
        }
        if step.is_done {
            at = self.again(tx, &name)?.unwrap_or(at);
        }
        if at != begun {
            cursors::set(tx, &name, at)?;
        }
        Ok(step)
    }

    fn page(
        &self,
        conn: &Connection,
        at: i64,
        before: Millis,
    ) -> Result<Vec<(i64, Millis, bool, bool)>, StoreError> {
        Ok(conn
            .prepare_cached(self.look)?
            .query_map((at, PAGE as i64, before), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect::<Result<_, _>>()?)
    }

    /// Where the next walk begins, if something was passed over and a day has gone by since it last did.
    fn again(&self, tx: &Tx<'_>, name: &str) -> Result<Option<i64>, StoreError> {
        let (passed, since) = (format!("{name}.again"), format!("{name}.since"));
        let Some(id) = cursors::get(tx.conn, &passed)? else {
            return Ok(None);
        };
        if cursors::get(tx.conn, &since)?.is_some_and(|at| tx.now - at < AGAIN_AFTER) {
            return Ok(None);
        }
        cursors::remove(tx, &passed, id)?;
        cursors::set(tx, &since, tx.now)?;
        Ok(Some(id - 1))
    }
}

/// Rows of imports that ended before `before`; what each import counted stays.
fn remove_issues(tx: &Tx<'_>, before: Millis) -> Result<Step, StoreError> {
    const NAME: &str = "retention.import_issues";
    let started = Instant::now();
    let mut step = Step::default();
    let mut at = cursors::get(tx.conn, NAME)?.unwrap_or(0);
    while started.elapsed() < LONGEST {
        let next: Option<(i64, Option<Millis>)> = tx
            .conn
            .prepare_cached("SELECT id, finished_at FROM imports WHERE id > ?1 ORDER BY id LIMIT 1")?
            .query_map([at], |row| Ok((row.get(0)?, row.get(1)?)))?
            .next()
            .transpose()?;
        let Some((id, _)) = next.filter(|(_, ended)| ended.is_some_and(|ended| ended < before)) else {
            step.is_done = true;
            break;
        };
        let removed = tx
            .conn
            .prepare_cached(
                "DELETE FROM import_issues WHERE import_id = ?1 AND (row, reason) IN (
                   SELECT row, reason FROM import_issues WHERE import_id = ?1 ORDER BY row, reason LIMIT ?2)",
            )?
            .execute((id, PAGE as i64))?;
        step.removed += removed as u64;
        if removed < PAGE {
            at = id;
            cursors::set(tx, NAME, at)?;
        }
    }
    Ok(step)
}

/// What imports that ended before `before` changed. Changes lie by person, so the whole table is walked, and only
/// when another import became old enough.
fn remove_changes(tx: &Tx<'_>, before: Millis) -> Result<Step, StoreError> {
    const THROUGH: &str = "retention.import_changes.through";
    const WALKED: &str = "retention.import_changes";
    let started = Instant::now();
    let mut step = Step::default();
    let through = cursors::get(tx.conn, THROUGH)?.unwrap_or(0);
    let last = last_import_before(tx.conn, through, before)?;
    if last <= through {
        return Ok(Step { removed: 0, is_done: true });
    }
    let mut at = cursors::get(tx.conn, WALKED)?.unwrap_or(0);
    while started.elapsed() < LONGEST {
        // Whole people: a page ends where the next person begins.
        let end: Option<i64> = tx
            .conn
            .prepare_cached(
                "SELECT user_id FROM import_changes WHERE user_id > ?1 ORDER BY user_id, import_id
                 LIMIT 1 OFFSET ?2",
            )?
            .query_map((at, PAGE as i64), |row| row.get(0))?
            .next()
            .transpose()?;
        let removed = tx
            .conn
            .prepare_cached(
                "DELETE FROM import_changes WHERE user_id > ?1 AND user_id <= ?2 AND import_id <= ?3",
            )?
            .execute((at, end.unwrap_or(i64::MAX), last))?;
        step.removed += removed as u64;
        let Some(end) = end else {
            cursors::set(tx, WALKED, 0)?;
            cursors::set(tx, THROUGH, last)?;
            step.is_done = true;
            return Ok(step);
        };
        at = end;
    }
    cursors::set(tx, WALKED, at)?;
    Ok(step)
}

/// The last of the imports behind `through` that ended before `before`, up to the first that did not.
fn last_import_before(conn: &Connection, through: i64, before: Millis) -> Result<i64, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT id FROM imports WHERE id > ?1 AND (finished_at IS NULL OR finished_at >= ?2)
         ORDER BY id LIMIT 1",
    )?;
    let young: Option<i64> = statement.query_map((through, before), |row| row.get(0))?.next().transpose()?;
    if let Some(young) = young {
        return Ok(young - 1);
    }
    let newest = conn
        .prepare_cached("SELECT max(id) FROM imports")?
        .query_row([], |row| row.get::<_, Option<i64>>(0))?;
    Ok(newest.unwrap_or(0))
}

/// Events from the oldest end, as far as [`events::may_prune_through`] lets, and never the newest: readers know by
/// the oldest id that is left what they missed.
fn remove_events(tx: &Tx<'_>, before: Millis) -> Result<Step, StoreError> {
    let started = Instant::now();
    let mut step = Step::default();
    let bound = events::may_prune_through(tx.conn)?;
    while !step.is_done && started.elapsed() < LONGEST {
        let rows: Vec<(i64, Millis)> = tx
            .conn
            .prepare_cached("SELECT id, at FROM events ORDER BY id LIMIT ?1")?
            .query_map([PAGE as i64 + 1], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let old = rows
            .iter()
            .take(rows.len().saturating_sub(1))
            .take_while(|(id, at)| *at < before && *id <= bound)
            .map(|(id, _)| *id);
        let (count, last) = old.fold((0, None), |(n, _), id| (n + 1, Some(id)));
        step.is_done = count < PAGE;
        let Some(upto) = last else { break };
        let conn = tx.conn;
        conn.prepare_cached("INSERT OR REPLACE INTO guards (name, upto) VALUES ('retention', ?1)")?
            .execute([upto])?;
        conn.prepare_cached("DELETE FROM events WHERE id <= ?1")?.execute([upto])?;
        conn.prepare_cached("DELETE FROM guards WHERE name = 'retention'")?.execute([])?;
        conn.prepare_cached("DELETE FROM audit WHERE event_id <= ?1")?.execute([upto])?;
        step.removed += count as u64;
    }
    Ok(step)
}

fn remove_answers(tx: &Tx<'_>) -> Result<Step, StoreError> {
    let removed = idempotency::forget(tx, PAGE)?;
    // Long ones make a page shorter.
    Ok(Step { removed: removed as u64, is_done: removed == 0 })
}
