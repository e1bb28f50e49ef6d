//! `content_templates`: what Twilio showed of its templates and of WhatsApp's judgement. A judgement that stops a
//! template stops the campaigns that send it, in the same transaction.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value, json};

use super::events::{self, NewEvent};
use super::{StoreError, Tx, campaigns};
use crate::clock::Millis;
use crate::domain::content::{Approval, KnownContent};
use crate::domain::event::EventType;

/// A template as Twilio shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenContent {
    /// `HX…`.
    pub sid: String,
    /// For people.
    pub friendly_name: String,
    /// Such as `en`.
    pub language: String,
    /// Twilio's types with their texts.
    pub types: Value,
    /// Names and samples.
    pub variables: Map<String, Value>,
    /// Names of all variables.
    pub names: Vec<String>,
    /// Twilio's word; `None` before the submission.
    pub category: Option<String>,
    /// Twilio's word.
    pub status: String,
    /// Why WhatsApp said no.
    pub rejection_reason: Option<String>,
}

/// A template that was asked for, before Twilio gave it a SID.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedContent {
    /// For people.
    pub friendly_name: String,
    /// Such as `en`.
    pub language: String,
    /// Twilio's types with their texts.
    pub types: Value,
    /// Names and samples.
    pub variables: Map<String, Value>,
    /// What it shall be submitted as.
    pub category: Option<String>,
}

/// A template as kept.
#[derive(Clone, Debug)]
pub struct ContentRow {
    /// Key; orders lists.
    pub id: i64,
    /// `HX…`; `None` while nobody knows whether Twilio made it.
    pub sid: Option<String>,
    /// For people.
    pub friendly_name: String,
    /// Such as `en`.
    pub language: String,
    /// Twilio's types with their texts.
    pub types: Value,
    /// Names and samples.
    pub variables: Value,
    /// Twilio's word, or the one wanted.
    pub category: Option<String>,
    /// Twilio's word.
    pub status: String,
    /// Why WhatsApp said no.
    pub rejection_reason: Option<String>,
    /// When Twilio showed it last.
    pub synced_at: Option<Millis>,
    /// When it was noticed that Twilio has it no more.
    pub deleted_at: Option<Millis>,
    /// When it came here.
    pub created_at: Millis,
}

impl ContentRow {
    /// The judgement; `None` for a word that this release does not know.
    pub fn approval(&self) -> Option<Approval> {
        Approval::parse(&self.status)
    }
}

const COLUMNS: &str =
    "id, sid, friendly_name, language, types, variables, category, status, rejection_reason,
   synced_at, deleted_at, created_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<ContentRow> {
    let (types, variables): (String, String) = (row.get(4)?, row.get(5)?);
    Ok(ContentRow {
        id: row.get(0)?,
        sid: row.get(1)?,
        friendly_name: row.get(2)?,
        language: row.get(3)?,
        types: serde_json::from_str(&types).unwrap_or_default(),
        variables: serde_json::from_str(&variables).unwrap_or_default(),
        category: row.get(6)?,
        status: row.get(7)?,
        rejection_reason: row.get(8)?,
        synced_at: row.get(9)?,
        deleted_at: row.get(10)?,
        created_at: row.get(11)?,
    })
}

/// What is known of the template `sid` from the columns `status, rejection_reason, category, names, deleted_at,
/// synced_at` at `at`, which are all null when nothing is.
pub(super) fn known(row: &Row<'_>, sid: &str, at: usize) -> rusqlite::Result<Option<KnownContent>> {
    let (Some(status), names) = (row.get::<_, Option<String>>(at)?, row.get::<_, Option<String>>(at + 3)?)
    else {
        return Ok(None);
    };
    let deleted_at: Option<Millis> = row.get(at + 4)?;
    Ok(Some(KnownContent {
        sid: sid.to_owned(),
        status,
        reason: row.get(at + 1)?,
        category: row.get(at + 2)?,
        variables: names.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        is_deleted: deleted_at.is_some(),
        synced_at: row.get(at + 5)?,
    }))
}

/// What is known of one template.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_known(conn: &Connection, sid: &str) -> Result<Option<KnownContent>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT status, rejection_reason, category, names, deleted_at, synced_at
             FROM content_templates WHERE sid = ?1",
        )?
        .query_row([sid], |row| known(row, sid, 0))
        .optional()?
        .flatten())
}

/// The template with this SID, also when Twilio has it no more.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, sid: &str) -> Result<Option<ContentRow>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM content_templates WHERE sid = ?1"))?
        .query_row([sid], from_row)
        .optional()?)
}

/// A page of what Twilio has, newest first, below id `before`; of one status only, if given.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(
    conn: &Connection,
    status: Option<&str>,
    before: i64,
    limit: usize,
) -> Result<Vec<ContentRow>, StoreError> {
    let rows = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM content_templates
             WHERE id < ?1 AND sid IS NOT NULL AND deleted_at IS NULL AND (?2 IS NULL OR status = ?2)
             ORDER BY id DESC LIMIT ?3"
        ))?
        .query_map((before, status, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// The template of this name and language that Twilio has, or that was asked for.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_named(conn: &Connection, name: &str, language: &str) -> Result<Option<ContentRow>, StoreError> {
    Ok(conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM content_templates
             WHERE friendly_name = ?1 AND language = ?2 AND deleted_at IS NULL ORDER BY id LIMIT 1"
        ))?
        .query_row((name, language), from_row)
        .optional()?)
}

/// Keeps what is about to be asked of Twilio, before it is asked. Returns the row's id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert_wanted(tx: &Tx<'_>, wanted: &WantedContent) -> Result<i64, StoreError> {
    let names: Vec<&String> = wanted.variables.keys().collect();
    Ok(tx
        .conn
        .prepare_cached(
            "INSERT INTO content_templates (friendly_name, language, types, variables, names, category, status,
               told_at, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'unsubmitted', ?7, ?7)",
        )?
        .insert((
            &wanted.friendly_name,
            &wanted.language,
            wanted.types.to_string(),
            json!(wanted.variables).to_string(),
            json!(names).to_string(),
            &wanted.category,
            tx.now,
        ))?)
}

/// Twilio made what the row `id` asks for, under this SID. A sync may have seen it first: then that row stays.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_sid(tx: &Tx<'_>, id: i64, sid: &str) -> Result<(), StoreError> {
    if find(tx.conn, sid)?.is_some() {
        let wanted: Option<String> = tx
            .conn
            .query_row(
                "DELETE FROM content_templates WHERE id = ?1 AND sid IS NULL RETURNING category",
                [id],
                |row| row.get(0),
            )
            .optional()?
            .flatten();
        tx.conn.execute(
            "UPDATE content_templates SET category = coalesce(category, ?2) WHERE sid = ?1",
            (sid, wanted),
        )?;
        return Ok(());
    }
    tx.conn
        .prepare_cached("UPDATE content_templates SET sid = ?2, synced_at = ?3, told_at = ?3 WHERE id = ?1")?
        .execute((id, sid, tx.now))?;
    Ok(())
}

/// Twilio refused to make what the row `id` asks for: nothing is left to wait for.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn drop_wanted(tx: &Tx<'_>, id: i64) -> Result<(), StoreError> {
    tx.conn.execute("DELETE FROM content_templates WHERE id = ?1 AND sid IS NULL", [id])?;
    Ok(())
}

/// Takes over what Twilio showed at `asked_at`. What was told of the status since then is newer and stays.
/// Returns whether the status changed.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn see(tx: &Tx<'_>, seen: &SeenContent, asked_at: Millis) -> Result<bool, StoreError> {
    let before: Option<(String, Millis, bool)> = tx
        .conn
        .prepare_cached(
            "SELECT status, told_at, deleted_at IS NOT NULL FROM content_templates WHERE sid = ?1",
        )?
        .query_row([&seen.sid], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let is_older = before.as_ref().is_some_and(|(_, told_at, _)| *told_at > asked_at);
    tx.conn
        .prepare_cached(
            "INSERT INTO content_templates (sid, friendly_name, language, types, variables, names, category, status,
               rejection_reason, told_at, synced_at, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?10)
             ON CONFLICT (sid) DO UPDATE SET friendly_name = excluded.friendly_name,
               language = excluded.language, types = excluded.types, variables = excluded.variables,
               names = excluded.names, category = coalesce(excluded.category, category),
               status = CASE WHEN ?11 THEN status ELSE excluded.status END,
               rejection_reason = CASE WHEN ?11 THEN rejection_reason ELSE excluded.rejection_reason END,
               told_at = CASE WHEN ?11 THEN told_at ELSE excluded.told_at END,
               deleted_at = CASE WHEN ?11 THEN deleted_at END,
               synced_at = excluded.synced_at",
        )?
        .execute((
            &seen.sid,
            &seen.friendly_name,
            &seen.language,
            seen.types.to_string(),
            json!(seen.variables).to_string(),
            json!(seen.names).to_string(),
            &seen.category,
            &seen.status,
            &seen.rejection_reason,
            tx.now,
            is_older,
        ))?;
    let previous =
        before.map(|(status, _, is_deleted)| if is_deleted { "deleted".to_owned() } else { status });
    // What is seen for the first time has not changed.
    let has_changed = !is_older && previous.as_ref().is_some_and(|previous| *previous != seen.status);
    if has_changed {
        note(tx, &seen.sid, previous.as_deref().unwrap_or_default(), &seen.status)?;
    }
    stop_senders(tx, &seen.sid)?;
    Ok(has_changed)
}

/// Marks what Twilio did not show in a whole look that began at `began` as gone. Returns how many.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn forget_unseen(tx: &Tx<'_>, began: Millis) -> Result<usize, StoreError> {
    let gone: Vec<(String, String)> = tx
        .conn
        .prepare_cached(
            "UPDATE content_templates SET deleted_at = ?2, told_at = ?2
             WHERE sid IS NOT NULL AND deleted_at IS NULL AND synced_at < ?1 RETURNING sid, status",
        )?
        .query_map((began, tx.now), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (sid, status) in &gone {
        note(tx, sid, status, "deleted")?;
        stop_senders(tx, sid)?;
    }
    Ok(gone.len())
}

/// Twilio told of a judgement at sending: it stops the template's campaigns. A template that was never seen is
/// left unknown, since nobody would ever tell that it is approved again.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn judged(tx: &Tx<'_>, sid: &str, approval: Approval) -> Result<(), StoreError> {
    let Some(before) = find(tx.conn, sid)? else {
        return Ok(());
    };
    tx.conn
        .prepare_cached("UPDATE content_templates SET status = ?2, told_at = ?3 WHERE sid = ?1")?
        .execute((sid, approval.as_str(), tx.now))?;
    if before.status != approval.as_str() {
        note(tx, sid, &before.status, approval.as_str())?;
    }
    stop_senders(tx, sid)
}

/// Writes the event, and lets everybody read the judgement anew.
fn note(tx: &Tx<'_>, sid: &str, previous: &str, status: &str) -> Result<(), StoreError> {
    let row = find(tx.conn, sid)?;
    let data = json!({
        "sid": sid,
        "friendly_name": row.as_ref().map(|row| row.friendly_name.as_str()),
        "status": status,
        "previous": previous,
        "reason": row.as_ref().and_then(|row| row.rejection_reason.as_deref()),
        "category": row.as_ref().and_then(|row| row.category.as_deref()),
    });
    events::append(
        tx,
        EventType::ContentStatusChanged,
        NewEvent { data: Some(data), ..NewEvent::default() },
    )?;
    tx.change_plan();
    Ok(())
}

/// Pauses the campaigns that send the template, if it may not be sent; what they claimed is withdrawn.
fn stop_senders(tx: &Tx<'_>, sid: &str) -> Result<(), StoreError> {
    let Some(refusal) = find_known(tx.conn, sid)?.and_then(|known| known.refusal()) else {
        return Ok(());
    };
    let sending: Vec<i64> = tx
        .conn
        .prepare_cached(
            "SELECT c.id FROM campaigns c JOIN template_versions v
               ON v.template_id = c.template_id AND v.version = c.template_version
             WHERE c.status IN ('launching', 'running') AND v.content_sid = ?1 ORDER BY c.id",
        )?
        .query_map([sid], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in sending {
        campaigns::pause(tx, id, &format!("{refusal} Then resume."))?;
    }
    Ok(())
}

/// Names of templates of ours that are made from this one, at most 20.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn templates_of(conn: &Connection, sid: &str) -> Result<Vec<String>, StoreError> {
    let names = conn
        .prepare_cached(
            "SELECT t.name FROM templates t
               JOIN template_versions v ON v.template_id = t.id AND v.version = t.version
             WHERE v.content_sid = ?1 AND t.deleted_at IS NULL ORDER BY t.id LIMIT 20",
        )?
        .query_map([sid], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(names)
}
