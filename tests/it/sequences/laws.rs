//! What holds after every step, whatever came before.

use std::collections::HashMap;

use event_stream_engine::store::{StoreError, ledger, verify};

use super::world::World;
use crate::support::probe::probe;

/// Rows that must not be there: what is wrong with them, and the query that finds them.
const NEVER: [(&str, &str); 9] = [
    (
        "a finished campaign has an open message",
        "SELECT m.id FROM messages m JOIN campaigns c ON c.id = m.campaign_id
         WHERE c.status IN ('finished', 'draft') AND m.status IN ('queued', 'sending', 'uncertain')
           AND m.occasion NOT GLOB 'test:*'",
    ),
    (
        "a message is under way though nobody works",
        "SELECT id FROM messages WHERE status = 'sending'",
    ),
    (
        "an attempt is pending though nobody works",
        "SELECT message_id FROM attempts WHERE outcome = 'pending'",
    ),
    (
        "a message counts other attempts than there are",
        "SELECT m.id FROM messages m WHERE m.attempts <>
           (SELECT count(*) FROM attempts a WHERE a.message_id = m.id)
         OR m.attempts <> (SELECT coalesce(max(a.number), 0) FROM attempts a WHERE a.message_id = m.id)",
    ),
    (
        "an uncertain message has no uncertain attempt",
        "SELECT m.id FROM messages m WHERE m.status = 'uncertain' AND NOT EXISTS
           (SELECT 1 FROM attempts a WHERE a.message_id = m.id AND a.number = m.attempts
              AND a.outcome = 'uncertain')",
    ),
    (
        "the ledger's last word is not the person's consent",
        "SELECT u.id FROM users u WHERE u.erased_at IS NULL AND u.consent <> coalesce(
           (SELECT l.state FROM consent_ledger l WHERE l.user_id = u.id ORDER BY l.id DESC LIMIT 1), 'unknown')",
    ),
    (
        "the sum of accepted messages differs from a recount",
        "SELECT c.id FROM campaigns c WHERE
           coalesce((SELECT s.accepted FROM campaign_sums s WHERE s.campaign_id = c.id), 0) <>
           (SELECT count(*) FROM messages m WHERE m.campaign_id = c.id AND m.accepted_at IS NOT NULL
              AND m.occasion NOT GLOB 'test:*')",
    ),
    (
        "the events of a day were counted wrong",
        "SELECT e.day FROM (SELECT at / 86400000 AS day, type, count(*) AS n FROM events GROUP BY 1, 2) e
           LEFT JOIN daily_counts d ON d.day = e.day AND d.type = e.type WHERE d.n IS NOT e.n",
    ),
    (
        "a webhook was kept whose effect failed",
        "SELECT id FROM inbound WHERE state = 'pending' UNION ALL SELECT id FROM receipts WHERE state = 'pending'",
    ),
];

/// Which event may be the last about a message in each state.
fn ends_in(status: &str, reason: &str, event: Option<&str>) -> bool {
    let waits = matches!(event, None | Some("message.deferred" | "message.retried" | "message.withdrawn"));
    match status {
        "queued" => waits,
        // One event of the campaign tells of all its messages.
        "cancelled" if reason == "campaign_cancelled" => waits || event == Some("message.cancelled"),
        state => event.is_some_and(|event| event.strip_prefix("message.") == Some(state)),
    }
}

impl World {
    /// Everything that is wrong, in words.
    pub(super) fn broken(&mut self) -> Vec<String> {
        let mut broken = Vec::new();
        for (law, sql) in NEVER {
            let rows: Vec<i64> = self.values(sql);
            if !rows.is_empty() {
                broken.push(format!("{law}: {rows:?}"));
            }
        }
        if !self.dispatcher().outbox().is_empty() {
            broken.push("claims were left in the outbox".to_owned());
        }
        broken.extend(self.store().read_here(verify::count_problems).unwrap());
        broken.extend(self.sent_twice());
        broken.extend(self.begun_after_stop());
        broken.extend(self.store().read_here(chains).unwrap());
        broken
    }

    /// What takes longer and is looked at once: the chain of the ledger and the file itself.
    pub(super) fn broken_for_good(&self) -> Vec<String> {
        let key = self.store().key().clone();
        let problems = self.store().read_here(|conn| {
            let mut problems = verify::file_problems(conn)?;
            problems.extend(ledger::verify(conn, &key)?.problems);
            Ok::<_, StoreError>(problems)
        });
        problems.unwrap()
    }

    /// One person gets one message for one occasion, but for those that Twilio itself gave up. Of two equal
    /// messages to one person either may stand for the other: then it is their number that counts.
    fn sent_twice(&self) -> Vec<String> {
        let mut arrived: HashMap<i64, Vec<String>> = HashMap::new();
        for (message, attempt, record) in self.taken() {
            if !matches!(record.status.as_str(), "failed" | "undelivered") {
                arrived.entry(message).or_default().push(format!("{attempt}: {}", record.status.as_str()));
            }
        }
        let twice = arrived.iter().filter(|(_, attempts)| attempts.len() > 1);
        let too_many = twice.filter(|(message, _)| {
            let accepted: Vec<i64> = self.values(&format!(
                "SELECT id FROM messages WHERE accepted_at IS NOT NULL
                   AND user_id = (SELECT user_id FROM messages WHERE id = {message})"
            ));
            let together: usize = accepted.iter().filter_map(|id| arrived.get(id)).map(Vec::len).sum();
            together > accepted.len()
        });
        too_many
            .map(|(message, attempts)| format!("message {message} went out twice: {attempts:?}"))
            .collect()
    }

    fn begun_after_stop(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (phone, since) in &self.stopped {
            let ids: Vec<i64> = self.values(&format!(
                "SELECT m.id FROM messages m JOIN users u ON u.id = m.user_id WHERE u.phone = '{phone}'"
            ));
            let late = ids.iter().filter(|id| probe().seen(**id).begun.iter().any(|begun| begun > since));
            broken.extend(late.map(|id| format!("message {id} began after the STOP of {phone}")));
        }
        broken
    }
}

/// Every message has all its events in one chain, newest first, and the newest tells its state.
fn chains(conn: &rusqlite::Connection) -> Result<Vec<String>, StoreError> {
    let mut broken = Vec::new();
    let mut messages = conn.prepare_cached(
        "SELECT m.id, m.status, coalesce(m.reason, ''), m.last_event_id,
           (SELECT count(*) FROM events e WHERE e.message_id = m.id) FROM messages m",
    )?;
    let mut event = conn.prepare_cached("SELECT type, message_id, previous_id FROM events WHERE id = ?1")?;
    let mut rows = messages.query([])?;
    while let Some(row) = rows.next()? {
        let (id, status, reason): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (mut next, events): (Option<i64>, i64) = (row.get(3)?, row.get(4)?);
        let (mut newest, mut length) = (None, 0);
        while let Some(at) = next {
            let (kind, message, previous): (String, i64, Option<i64>) =
                event.query_row([at], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            if message != id || previous.is_some_and(|previous| previous >= at) {
                broken.push(format!("the chain of message {id} leads astray at event {at}"));
                break;
            }
            if newest.is_none() && kind != "receipt.unknown" {
                newest = Some(kind);
            }
            length += 1;
            next = previous;
        }
        if length != events {
            broken.push(format!("message {id} has {events} events and {length} of them in its chain"));
        }
        if !ends_in(&status, &reason, newest.as_deref()) {
            broken.push(format!("message {id} is {status} ({reason}), and its last event is {newest:?}"));
        }
    }
    Ok(broken)
}
