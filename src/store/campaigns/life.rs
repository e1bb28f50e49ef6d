//! The life of a campaign: from one state to the next, and the freezing of its audience.

use rusqlite::params_from_iter;
use rusqlite::types::Value as SqlValue;
use serde_json::{Value, json};

use super::super::closings::{self, SharedClosings};
use super::super::effects::{CountKey, Withdrawal};
use super::super::events::{self, NewEvent};
use super::super::segment_sql::Predicate;
use super::super::{StoreError, Tx};
use super::{CampaignRow, live};
use crate::clock::Millis;
use crate::domain::campaign::CampaignStatus;
use crate::domain::event::EventType;
use crate::domain::message::Kind;
use crate::store::messages::rfc3339;

/// Writes an event about a campaign.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note(tx: &Tx<'_>, id: i64, kind: EventType, data: Value) -> Result<(), StoreError> {
    let event = NewEvent { campaign_id: Some(id), data: Some(data), ..NewEvent::default() };
    events::append(tx, kind, event)?;
    Ok(())
}

/// Moves a campaign from one of `from` to `to`. Returns whether it moved.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn move_to(
    tx: &Tx<'_>,
    id: i64,
    from: &[CampaignStatus],
    to: CampaignStatus,
    pause_reason: Option<&str>,
) -> Result<bool, StoreError> {
    let from: Vec<&str> = from.iter().map(|status| status.as_str()).collect();
    let is_over = matches!(to, CampaignStatus::Finished | CampaignStatus::Cancelled);
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE campaigns SET status = ?2, pause_reason = ?3, paused_until = NULL, updated_at = ?4,
               finished_at = CASE WHEN ?5 THEN ?4 ELSE NULL END
             WHERE id = ?1 AND status IN (SELECT value FROM json_each(?6))",
        )?
        .execute((id, to.as_str(), pause_reason, tx.now, is_over, json!(from).to_string()))?;
    if changed > 0 {
        tx.change_plan();
    }
    Ok(changed > 0)
}

/// Lets a finished campaign run again, because one of its messages failed late and waits for another try:
/// finished means that nobody waits.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn reopen(tx: &Tx<'_>, id: i64, reason: &str) -> Result<(), StoreError> {
    use CampaignStatus as S;
    if move_to(tx, id, &[S::Finished], S::Running, None)? {
        note(tx, id, EventType::CampaignRetried, json!({"reason": reason}))?;
    }
    Ok(())
}

/// Stops a campaign by itself, with the line that mends it: an alert. Claimed messages whose request has not
/// begun are withdrawn. Nothing happens to one that does not run.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn pause(tx: &Tx<'_>, id: i64, reason: &str) -> Result<(), StoreError> {
    if stop_sending(tx, id, reason)? {
        alert(tx, id, EventType::AlertCampaignPaused, json!({"reason": reason}))?;
    }
    Ok(())
}

/// A paused campaign stays so until somebody resumes it, whatever it rested for, with the line that mends it: an
/// alert. Nothing happens to one that is not paused.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn stay_paused(tx: &Tx<'_>, id: i64, reason: &str) -> Result<(), StoreError> {
    use CampaignStatus as S;
    if move_to(tx, id, &[S::Paused], S::Paused, Some(reason))? {
        note(tx, id, EventType::CampaignPaused, json!({"reason": reason}))?;
        tx.withdraw(Withdrawal::Campaign(id));
        alert(tx, id, EventType::AlertCampaignPaused, json!({"reason": reason}))?;
    }
    Ok(())
}

/// The same because somebody wanted it, who needs no alert.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn pause_by(tx: &Tx<'_>, id: i64, reason: &str) -> Result<(), StoreError> {
    stop_sending(tx, id, reason).map(drop)
}

fn stop_sending(tx: &Tx<'_>, id: i64, reason: &str) -> Result<bool, StoreError> {
    use CampaignStatus as S;
    let is_paused = move_to(tx, id, &[S::Launching, S::Running, S::Scheduled], S::Paused, Some(reason))?;
    if is_paused {
        note(tx, id, EventType::CampaignPaused, json!({"reason": reason}))?;
        tx.withdraw(Withdrawal::Campaign(id));
    }
    Ok(is_paused)
}

/// Writes an alert about a campaign, with its name.
fn alert(tx: &Tx<'_>, id: i64, kind: EventType, mut data: Value) -> Result<(), StoreError> {
    let name: String = tx
        .conn
        .prepare_cached("SELECT name FROM campaigns WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    if let Some(members) = data.as_object_mut() {
        members.insert("name".to_owned(), Value::String(name));
    }
    note(tx, id, kind, data)
}

/// Ends a campaign that has nobody left. Returns whether it ended now.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn finish(tx: &Tx<'_>, id: i64) -> Result<bool, StoreError> {
    let is_finished = move_to(tx, id, &[CampaignStatus::Running], CampaignStatus::Finished, None)?;
    if is_finished {
        note(tx, id, EventType::CampaignFinished, json!({}))?;
        alert(tx, id, EventType::AlertCampaignFinished, json!({}))?;
    }
    Ok(is_finished)
}

/// Why a campaign takes no further messages for now.
#[derive(Clone, Copy, Debug)]
pub struct Rest<'a> {
    /// The line that mends it.
    pub reason: &'a str,
    /// It goes on by itself then; `None`: when somebody resumes it.
    pub until: Option<Millis>,
}

/// Pauses a campaign that has used something up. Unlike [`pause`], what was claimed before goes out: there was
/// enough for that.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn rest(tx: &Tx<'_>, id: i64, rest: &Rest<'_>) -> Result<(), StoreError> {
    use CampaignStatus as S;
    if move_to(tx, id, &[S::Launching, S::Running], S::Paused, Some(rest.reason))? {
        tx.conn.execute("UPDATE campaigns SET paused_until = ?2 WHERE id = ?1", (id, rest.until))?;
        let until = rest.until.map(rfc3339);
        let data = json!({"reason": rest.reason, "until": until});
        note(tx, id, EventType::CampaignPaused, data.clone())?;
        alert(tx, id, EventType::AlertCampaignPaused, data)?;
    }
    Ok(())
}

/// The same of every marketing campaign that runs.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn rest_marketing(tx: &Tx<'_>, why: &Rest<'_>) -> Result<(), StoreError> {
    let running = live(tx.conn)?;
    for campaign in running.iter().filter(|campaign| campaign.plan.kind == Kind::Marketing) {
        rest(tx, campaign.id, why)?;
    }
    Ok(())
}

/// A paused campaign that was launched goes on where it stood. Returns whether it did.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn go_on(tx: &Tx<'_>, campaign: &CampaignRow) -> Result<bool, StoreError> {
    use CampaignStatus as S;
    let is_frozen = campaign.plan.trigger_type.is_some() || campaign.frozen_through >= campaign.frozen_last;
    let to = if is_frozen { S::Running } else { S::Launching };
    move_to(tx, campaign.id, &[S::Paused], to, None)
}

/// Stops every campaign that runs.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn pause_all(tx: &Tx<'_>, reason: &str) -> Result<(), StoreError> {
    for campaign in live(tx.conn)?.iter().filter(|campaign| campaign.status.is_sending()) {
        pause(tx, campaign.id, reason)?;
    }
    Ok(())
}

/// What a launch freezes.
#[derive(Clone, Debug)]
pub struct Freeze<'a> {
    /// The version of the template in force.
    pub template_version: i64,
    /// `{"include", "exclude"}`.
    pub definition: &'a Value,
    /// Deadline of the messages.
    pub expires_at: Option<Millis>,
}

/// Begins a launch: the audience are the people of this moment.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn begin_launch(tx: &Tx<'_>, id: i64, freeze: &Freeze<'_>) -> Result<(), StoreError> {
    tx.conn.execute(
        "UPDATE campaigns SET status = 'launching', pause_reason = NULL, template_version = ?2,
           definition = ?3, expires_at = ?4, frozen_through = 0,
           frozen_last = (SELECT coalesce(max(id), 0) FROM users), launched_at = ?5, updated_at = ?5
         WHERE id = ?1",
        (id, freeze.template_version, freeze.definition.to_string(), freeze.expires_at, tx.now),
    )?;
    note(tx, id, EventType::CampaignLaunched, json!({"template_version": freeze.template_version}))?;
    tx.change_plan();
    Ok(())
}

/// One chunk of an audience.
#[derive(Clone, Debug)]
pub struct Chunk<'a> {
    /// Who is meant.
    pub predicate: &'a Predicate,
    /// Behind this `users.id` …
    pub after: i64,
    /// … and up to this one …
    pub through: i64,
    /// … at most so many people.
    pub rows: i64,
    /// '' of a launch, or a trigger's id.
    pub occasion: &'a str,
    /// Not before.
    pub due_at: Millis,
    /// The deadline.
    pub expires_at: Option<Millis>,
    /// Nothing is really sent.
    pub is_simulated: bool,
    /// When the windows of these people end.
    pub closings: &'a SharedClosings,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// How many people became rows.
    pub rows: usize,
    /// Everybody up to this `users.id` is looked at.
    pub through: i64,
}

/// The people of a launch's next chunk become queued rows, and the campaign knows how far it came. Repeating a
/// chunk adds nothing.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn freeze_chunk(tx: &Tx<'_>, campaign: &CampaignRow, chunk: &Chunk<'_>) -> Result<Added, StoreError> {
    let added = add_people(tx, campaign, chunk)?;
    tx.conn
        .prepare_cached("UPDATE campaigns SET frozen_through = ?2 WHERE id = ?1")?
        .execute((campaign.id, added.through))?;
    Ok(added)
}

/// The people of a chunk become queued rows, each with the end of the person's window. Repeating a chunk
/// adds nothing.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn add_people(tx: &Tx<'_>, campaign: &CampaignRow, chunk: &Chunk<'_>) -> Result<Added, StoreError> {
    let (mut added, mut met) = insert_people(tx, campaign, chunk, chunk.rows)?;
    if added == 0 && met as i64 >= chunk.rows {
        // All of them were there before: nothing tells where they end, and passing over the rest costs little.
        (added, met) = insert_people(tx, campaign, chunk, NO_LIMIT)?;
    }
    let key = CountKey { campaign_id: campaign.id, status: "queued", reason: String::new(), error_code: 0 };
    *tx.effects.borrow_mut().counts.entry(key).or_default() += added as i64;
    tx.wake_delivery();
    let through = if added > 0 && met as i64 >= chunk.rows {
        tx.conn
            .prepare_cached("SELECT user_id FROM messages WHERE id = ?1")?
            .query_row([tx.conn.last_insert_rowid()], |row| row.get(0))?
    } else {
        chunk.through
    };
    Ok(Added { rows: added, through })
}

/// SQLite's word for it.
const NO_LIMIT: i64 = -1;

/// Returns how many rows were added, and how many people were met in the order of their ids, `limit` at most.
fn insert_people(
    tx: &Tx<'_>,
    campaign: &CampaignRow,
    chunk: &Chunk<'_>,
    limit: i64,
) -> Result<(usize, usize), StoreError> {
    let plan = &campaign.plan;
    let sql = format!(
        "INSERT INTO messages (campaign_id, user_id, occasion, status, kind, channel, lane, due_at,
           expires_at, topic_id, template_id, template_version, is_simulated, created_at, closes_at)
         SELECT ?, u.id, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {}
         FROM users u WHERE u.id > ? AND u.id <= ? AND u.erased_at IS NULL AND {}
         ORDER BY u.id LIMIT ?
         ON CONFLICT DO NOTHING",
        closings::expression(chunk.closings),
        chunk.predicate.sql
    );
    let optional = |value: Option<i64>| value.map_or(SqlValue::Null, SqlValue::Integer);
    let mut values = vec![
        SqlValue::from(campaign.id),
        SqlValue::Text(chunk.occasion.to_owned()),
        SqlValue::Text(plan.kind.as_str().to_owned()),
        SqlValue::Text(plan.channel.as_str().to_owned()),
        SqlValue::from(campaign.id),
        SqlValue::from(chunk.due_at),
        optional(chunk.expires_at),
        optional(plan.topic_id),
        SqlValue::from(plan.template_id),
        optional(campaign.template_version),
        SqlValue::from(i64::from(chunk.is_simulated)),
        SqlValue::from(tx.now),
        SqlValue::from(chunk.after),
        SqlValue::from(chunk.through),
    ];
    values.extend(chunk.predicate.params.iter().cloned());
    values.push(SqlValue::from(limit));
    closings::with(chunk.closings, chunk.due_at, || {
        Ok(tx.conn.prepare_cached(&sql)?.execute(params_from_iter(values))?)
    })
}
