//! `templates` and `template_versions`: a text that went out is never changed, an edit adds a version. What is
//! known of a text's Content template at Twilio is read with it, so that nobody sends without it.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value};

use super::{StoreError, Tx, content_templates};
use crate::clock::Millis;
use crate::domain::content::KnownContent;
use crate::domain::phone::Channel;
use crate::domain::plan::Text;
use crate::domain::template::{ContentVariables, Template, TemplateError};

/// What a template says. Checked before it comes here.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateText {
    /// Over which channel.
    pub channel: Channel,
    /// BCP 47, for people.
    pub locale: Option<String>,
    /// With `{name}` placeholders.
    pub body: String,
    /// At most 10.
    pub media_urls: Vec<String>,
    /// `HX…`.
    pub content_sid: Option<String>,
    /// Twilio's variable to our text.
    pub content_variables: Map<String, Value>,
    /// What was last seen of it at Twilio; read, never written.
    pub known: Option<KnownContent>,
}

impl TemplateText {
    /// Words alone.
    pub fn plain(channel: Channel, body: &str) -> TemplateText {
        TemplateText {
            channel,
            locale: None,
            body: body.to_owned(),
            media_urls: Vec::new(),
            content_sid: None,
            content_variables: Map::new(),
            known: None,
        }
    }

    /// The text, ready to be rendered.
    ///
    /// # Errors
    /// When a stored template does not parse: a defect, since it was checked before it was stored.
    pub fn parse(&self) -> Result<Text, StoreError> {
        let broken =
            |error: TemplateError| StoreError::Internal(format!("a stored template does not parse: {error}"));
        let content = match &self.content_sid {
            Some(sid) => {
                Some((sid.clone(), ContentVariables::parse(&self.content_variables).map_err(broken)?))
            }
            None => None,
        };
        Ok(Text::Template {
            body: Template::parse(&self.body).map_err(broken)?,
            media_urls: self.media_urls.clone(),
            content,
            known: self.known.clone().map(Box::new),
        })
    }
}

/// A template with one of its versions.
#[derive(Clone, Debug)]
pub struct TemplateRow {
    /// Key.
    pub id: i64,
    /// Unique.
    pub name: String,
    /// The version that `text` is.
    pub version: i64,
    /// The text.
    pub text: TemplateText,
    /// When the template was made.
    pub created_at: Millis,
    /// When it was last edited.
    pub updated_at: Millis,
}

const COLUMNS: &str = "t.id, t.name, v.version, v.channel, v.locale, v.body, v.media_urls, v.content_sid,
   v.content_variables, t.created_at, t.updated_at, c.status, c.rejection_reason, c.category, c.names,
   c.deleted_at, c.synced_at";
/// What is known at Twilio of the template that a version names.
const KNOWN: &str = "LEFT JOIN content_templates c ON c.sid = v.content_sid";

fn from_row(row: &Row<'_>) -> rusqlite::Result<TemplateRow> {
    let channel: String = row.get(3)?;
    let media_urls: String = row.get(6)?;
    let content_variables: String = row.get(8)?;
    let content_sid: Option<String> = row.get(7)?;
    let known = match &content_sid {
        Some(sid) => content_templates::known(row, sid, 11)?,
        None => None,
    };
    Ok(TemplateRow {
        id: row.get(0)?,
        name: row.get(1)?,
        version: row.get(2)?,
        text: TemplateText {
            channel: if channel == "whatsapp" { Channel::Whatsapp } else { Channel::Sms },
            locale: row.get(4)?,
            body: row.get(5)?,
            media_urls: serde_json::from_str(&media_urls).unwrap_or_default(),
            content_sid,
            content_variables: serde_json::from_str(&content_variables).unwrap_or_default(),
            known,
        },
        created_at: row.get(9)?,
        updated_at: row.get(10)?,
    })
}

/// The template in its current version.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<TemplateRow>, StoreError> {
    Ok(conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM templates t
               JOIN template_versions v ON v.template_id = t.id AND v.version = t.version {KNOWN}
             WHERE t.id = ?1 AND t.deleted_at IS NULL"
        ))?
        .query_row([id], from_row)
        .optional()?)
}

/// The template as it was in `version`, deleted or not.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_version(conn: &Connection, id: i64, version: i64) -> Result<Option<TemplateRow>, StoreError> {
    Ok(conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM templates t JOIN template_versions v ON v.template_id = t.id {KNOWN}
             WHERE t.id = ?1 AND v.version = ?2"
        ))?
        .query_row((id, version), from_row)
        .optional()?)
}

/// Versions of a template, the newest first: number, when it was made, text.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn versions(conn: &Connection, id: i64, limit: usize) -> Result<Vec<(i64, Millis, String)>, StoreError> {
    let rows = conn
        .prepare_cached(
            "SELECT version, created_at, body FROM template_versions WHERE template_id = ?1
             ORDER BY version DESC LIMIT ?2",
        )?
        .query_map((id, limit as i64), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// A page of templates, newest first, below id `before`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(conn: &Connection, before: i64, limit: usize) -> Result<Vec<TemplateRow>, StoreError> {
    let rows = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM templates t
               JOIN template_versions v ON v.template_id = t.id AND v.version = t.version {KNOWN}
             WHERE t.id < ?1 AND t.deleted_at IS NULL ORDER BY t.id DESC LIMIT ?2"
        ))?
        .query_map((before, limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// True when another template has this name.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_name_taken(conn: &Connection, name: &str, but: Option<i64>) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM templates WHERE name = ?1 AND id IS NOT ?2")?
        .exists((name, but))?)
}

/// Adds a template in version 1 and returns its id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, name: &str, text: &TemplateText) -> Result<i64, StoreError> {
    let id = tx
        .conn
        .prepare_cached("INSERT INTO templates (name, created_at, updated_at) VALUES (?1, ?2, ?2)")?
        .insert((name, tx.now))?;
    insert_version(tx, id, 1, text)?;
    Ok(id)
}

/// Adds the next version and makes it the current one. Returns its number.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn update(tx: &Tx<'_>, id: i64, name: &str, text: &TemplateText) -> Result<i64, StoreError> {
    let version: i64 = tx
        .conn
        .prepare_cached(
            "UPDATE templates SET name = ?2, version = version + 1, updated_at = ?3 WHERE id = ?1
             RETURNING version",
        )?
        .query_row((id, name, tx.now), |row| row.get(0))?;
    insert_version(tx, id, version, text)?;
    tx.change_plan();
    Ok(version)
}

fn insert_version(tx: &Tx<'_>, id: i64, version: i64, text: &TemplateText) -> Result<(), StoreError> {
    let media_urls = serde_json::to_string(&text.media_urls).unwrap_or_default();
    let content_variables = serde_json::to_string(&text.content_variables).unwrap_or_default();
    tx.conn
        .prepare_cached(
            "INSERT INTO template_versions (template_id, version, channel, locale, body, media_urls,
                                            content_sid, content_variables, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            id,
            version,
            text.channel.as_str(),
            &text.locale,
            &text.body,
            media_urls,
            &text.content_sid,
            content_variables,
            tx.now,
        ))?;
    Ok(())
}

/// Takes a template out of use; messages keep the versions that they were made from. Its name is free again.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn delete(tx: &Tx<'_>, id: i64) -> Result<(), StoreError> {
    tx.conn.execute(
        "UPDATE templates SET deleted_at = ?2, name = name || ' (deleted ' || id || ')' WHERE id = ?1",
        (id, tx.now),
    )?;
    Ok(())
}

/// Names of campaigns that are not over and use the template.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn users_of(conn: &Connection, id: i64) -> Result<Vec<String>, StoreError> {
    let names = conn
        .prepare_cached(
            "SELECT name FROM campaigns
             WHERE template_id = ?1 AND status NOT IN ('finished', 'cancelled') ORDER BY id LIMIT 20",
        )?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(names)
}
