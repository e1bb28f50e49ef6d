//! `senders` and `account`: who may send now, and whom each has written to today.

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::events::{self, NewEvent};
use super::{StoreError, Tx, Withdrawal};
use crate::clock::Millis;
use crate::domain::event::EventType;
use crate::domain::phone::Channel;

/// A sender as rows know it.
#[derive(Clone, Debug)]
pub struct SenderRow {
    /// Key.
    pub id: i64,
    /// `+1…`, `whatsapp:+…` or `MG…`.
    pub address: String,
    /// `long_code`, `whatsapp` …
    pub kind: String,
    /// Named by the configuration in force.
    pub is_configured: bool,
    /// Why it stands still.
    pub pause_reason: Option<String>,
    /// Until when; `None` with a reason: until somebody resumes.
    pub paused_until: Option<Millis>,
}

/// The reason of a pause that an operator asked for: no restart and no resumed campaign ends it.
pub const BY_OPERATOR: &str = "Paused by an operator.";

impl SenderRow {
    /// The channel that it serves.
    pub fn channel(&self) -> Channel {
        match self.kind.as_str() {
            "whatsapp" | "sandbox" => Channel::Whatsapp,
            _ => Channel::Sms,
        }
    }

    /// True while it may not send.
    pub fn is_paused(&self, now: Millis) -> bool {
        self.pause_reason.is_some() && self.paused_until.is_none_or(|until| now < until)
    }
}

/// Makes the table agree with the configuration: `configured` are addresses with their kind.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn synchronize(tx: &Tx<'_>, configured: &[(String, String)]) -> Result<(), StoreError> {
    tx.conn.execute("UPDATE senders SET is_configured = 0", [])?;
    for (address, kind) in configured {
        tx.conn.execute(
            "INSERT INTO senders (address, kind, created_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (address) DO UPDATE SET kind = excluded.kind, is_configured = 1",
            (address, kind, tx.now),
        )?;
    }
    tx.change_plan();
    Ok(())
}

/// Every sender that was ever configured, in order of first appearance.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection) -> Result<Vec<SenderRow>, StoreError> {
    let rows = conn
        .prepare_cached(
            "SELECT id, address, kind, is_configured, pause_reason, paused_until FROM senders ORDER BY id",
        )?
        .query_map([], |row| {
            Ok(SenderRow {
                id: row.get(0)?,
                address: row.get(1)?,
                kind: row.get(2)?,
                is_configured: row.get(3)?,
                pause_reason: row.get(4)?,
                paused_until: row.get(5)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// The configured sender of `channel` with the address `wanted`, or the first one without a wish.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn choose(
    conn: &Connection,
    channel: Channel,
    wanted: Option<&str>,
) -> Result<Option<SenderRow>, StoreError> {
    let fits = |sender: &SenderRow| {
        sender.is_configured
            && sender.channel() == channel
            && wanted.is_none_or(|address| sender.address == address)
    };
    Ok(list(conn)?.into_iter().find(fits))
}

/// Stops a sender. Returns whether it was running.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn pause(tx: &Tx<'_>, id: i64, reason: &str, until: Option<Millis>) -> Result<bool, StoreError> {
    tx.change_plan();
    let changed = tx.conn.execute(
        "UPDATE senders SET pause_reason = ?2, paused_until = ?3
         WHERE id = ?1 AND (pause_reason IS NULL OR paused_until <= ?4)",
        (id, reason, until, tx.now),
    )?;
    Ok(changed > 0)
}

/// Why and until when the whole account stands still, if it does.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn account_pause(conn: &Connection, now: Millis) -> Result<Option<(String, Option<Millis>)>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT pause_reason, paused_until FROM account
             WHERE pause_reason IS NOT NULL AND (paused_until IS NULL OR paused_until > ?1)",
        )?
        .query_row([now], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Stops the account. Returns whether it was running.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn pause_account(tx: &Tx<'_>, reason: &str, until: Option<Millis>) -> Result<bool, StoreError> {
    tx.change_plan();
    let changed = tx.conn.execute(
        "UPDATE account SET pause_reason = ?1, paused_until = ?2
         WHERE pause_reason IS NULL OR paused_until <= ?3",
        (reason, until, tx.now),
    )?;
    Ok(changed > 0)
}

/// Whether a claim may be made now: the file is not in safe hold, neither account nor sender is paused, and the campaign, if it is one's,
/// sends.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn may_send(
    conn: &Connection,
    sender_id: i64,
    campaign_id: Option<i64>,
    now: Millis,
) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT NOT EXISTS (SELECT 1 FROM store_identity WHERE safe_hold = 1)
                AND NOT EXISTS (SELECT 1 FROM account
                                WHERE pause_reason IS NOT NULL AND (paused_until IS NULL OR paused_until > ?3))
                AND NOT EXISTS (SELECT 1 FROM senders
                                WHERE id = ?1 AND pause_reason IS NOT NULL
                                  AND (paused_until IS NULL OR paused_until > ?3))
                AND (?2 IS NULL OR EXISTS (SELECT 1 FROM campaigns
                                           WHERE id = ?2 AND status IN ('launching', 'running')))",
        )?
        .query_row((sender_id, campaign_id, now), |row| row.get(0))?)
}

/// Stops a sender for an operator, until one resumes it, whatever it stood still for before.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn pause_by_operator(tx: &Tx<'_>, id: i64, actor: &str) -> Result<(), StoreError> {
    let changed = tx.conn.execute(
        "UPDATE senders SET pause_reason = ?2, paused_until = NULL WHERE id = ?1 AND pause_reason IS NOT ?2",
        (id, BY_OPERATOR),
    )?;
    if changed > 0 {
        let data = Some(json!({"sender_id": id, "reason": BY_OPERATOR, "until": null, "actor": actor}));
        events::append(tx, EventType::SenderPaused, NewEvent { data, ..NewEvent::default() })?;
    }
    tx.change_plan();
    tx.withdraw(Withdrawal::Sender(id));
    Ok(())
}

/// Lets one sender go on that waits for somebody to say so. A rest that ends by itself is kept.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn resume(tx: &Tx<'_>, id: i64, actor: &str) -> Result<(), StoreError> {
    let changed = tx.conn.execute(
        "UPDATE senders SET pause_reason = NULL, paused_until = NULL
         WHERE id = ?1 AND pause_reason IS NOT NULL AND paused_until IS NULL",
        [id],
    )?;
    if changed > 0 {
        let data = Some(json!({"sender_id": id, "actor": actor}));
        events::append(tx, EventType::SenderResumed, NewEvent { data, ..NewEvent::default() })?;
    }
    tx.change_plan();
    Ok(())
}

/// How many messages wait in a queue of single ones, counted up to `most`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn waiting_in(conn: &Connection, lane: i64, most: i64) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM messages WHERE lane = ?1 AND status = 'queued' LIMIT ?2)",
        )?
        .query_row((lane, most), |row| row.get(0))?)
}

/// Lets the account and every sender go on: somebody says that what stopped them is mended. If it is not,
/// the first message stops them again. A rest that ends by itself is kept, and so is a pause that an operator
/// asked for.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn resume_all(tx: &Tx<'_>, actor: &str) -> Result<(), StoreError> {
    let account = tx.conn.execute(
        "UPDATE account SET pause_reason = NULL, paused_until = NULL
         WHERE pause_reason IS NOT NULL AND paused_until IS NULL",
        [],
    )?;
    if account > 0 {
        let data = Some(json!({"actor": actor}));
        events::append(tx, EventType::AccountResumed, NewEvent { data, ..NewEvent::default() })?;
    }
    let resumed: Vec<i64> = tx
        .conn
        .prepare(
            "UPDATE senders SET pause_reason = NULL, paused_until = NULL
             WHERE pause_reason IS NOT NULL AND paused_until IS NULL AND pause_reason <> ?1 RETURNING id",
        )?
        .query_map([BY_OPERATOR], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in resumed {
        let data = Some(json!({"sender_id": id, "actor": actor}));
        events::append(tx, EventType::SenderResumed, NewEvent { data, ..NewEvent::default() })?;
    }
    tx.change_plan();
    Ok(())
}

/// Notes that a sender wrote to a person of its own accord, who was not among those of
/// [`recipients`] in the same transaction.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note_recipient(tx: &Tx<'_>, sender_id: i64, user_id: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO sender_recipients (sender_id, user_id, at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET at = excluded.at",
        )?
        .execute((sender_id, user_id, tx.now))?;
    tx.conn
        .prepare_cached("UPDATE senders SET recipients = recipients + 1 WHERE id = ?1")?
        .execute([sender_id])?;
    Ok(())
}

/// Whether the sender wrote to this person since `since`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn has_written_to(
    conn: &Connection,
    sender_id: i64,
    user_id: i64,
    since: Millis,
) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM sender_recipients WHERE sender_id = ?1 AND user_id = ?2 AND at > ?3")?
        .exists((sender_id, user_id, since))?)
}

/// How many people the sender wrote to since `since`. The count is kept beside the rows, and only those are
/// read that left the window since it was last asked for: an answer costs the same at a limit of 250 and of
/// 100,000 a day.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn recipients(conn: &Connection, sender_id: i64, since: Millis) -> Result<i64, StoreError> {
    let (kept, after): (i64, Millis) = conn
        .prepare_cached("SELECT recipients, recipients_after FROM senders WHERE id = ?1")?
        .query_row([sender_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .unwrap_or_default();
    if since < after {
        // The clock was set back.
        return count_recipients(conn, sender_id, since, Millis::MAX);
    }
    Ok(kept - count_recipients(conn, sender_id, after, since)?)
}

/// Moves the kept count of [`recipients`] on to `since`, and answers it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn settle_recipients(tx: &Tx<'_>, sender_id: i64, since: Millis) -> Result<i64, StoreError> {
    let used = recipients(tx.conn, sender_id, since)?;
    tx.conn
        .prepare_cached(
            "UPDATE senders SET recipients = ?2, recipients_after = ?3 WHERE id = ?1 AND recipients <> ?2",
        )?
        .execute((sender_id, used, since))?;
    Ok(used)
}

fn count_recipients(
    conn: &Connection,
    sender_id: i64,
    after: Millis,
    through: Millis,
) -> Result<i64, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT count(*) FROM sender_recipients WHERE sender_id = ?1 AND at > ?2 AND at <= ?3",
        )?
        .query_row((sender_id, after, through), |row| row.get(0))?)
}

/// Whom the sender wrote to since `since`, by the hour: when the first was and how many.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn recipients_by_hour(
    conn: &Connection,
    sender_id: i64,
    since: Millis,
) -> Result<Vec<(Millis, i64)>, StoreError> {
    let rows = conn
        .prepare_cached(
            "SELECT min(at), count(*) FROM sender_recipients WHERE sender_id = ?1 AND at > ?2
             GROUP BY at / 3600000 ORDER BY 1",
        )?
        .query_map((sender_id, since), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// When the sender wrote to the first person after `after`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn oldest_recipient(
    conn: &Connection,
    sender_id: i64,
    after: Millis,
) -> Result<Option<Millis>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT min(at) FROM sender_recipients WHERE sender_id = ?1 AND at > ?2")?
        .query_row((sender_id, after), |row| row.get(0))?)
}

/// Whether a rest of the sender ended between `begun` and `now`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn rested_since(
    conn: &Connection,
    sender_id: i64,
    begun: Millis,
    now: Millis,
) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM senders WHERE id = ?1 AND paused_until > ?2 AND paused_until <= ?3")?
        .exists((sender_id, begun, now))?)
}

/// The same of the account.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn account_rested_since(conn: &Connection, begun: Millis, now: Millis) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM account WHERE paused_until > ?1 AND paused_until <= ?2")?
        .exists((begun, now))?)
}
