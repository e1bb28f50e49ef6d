//! `campaigns`: plans, as they are made, found and changed. What becomes of them is in `life`, how many people
//! are where in `counts`.

mod counts;
mod life;
pub mod pace;

use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde_json::{Value, json};

use super::{StoreError, Tx, templates, topics};
use crate::clock::Millis;
use crate::domain::campaign::CampaignStatus;
use crate::domain::event::EventType;
use crate::domain::message::Kind;
use crate::domain::phone::Channel;
use crate::domain::plan::{Closings, Plan, Text, TopicRule};
use crate::domain::quiet_hours::{Policy, Presets};

pub use counts::{CampaignCount, CampaignSums, counts, credit_reply, recount, sums};
pub use life::{
    Added, Chunk, Freeze, Rest, add_people, begin_launch, finish, freeze_chunk, go_on, move_to, note, pause,
    pause_all, pause_by, reopen, rest, rest_marketing, stay_paused,
};

/// What a person plans: everything that may be edited. Checked before it comes here.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignPlan {
    /// For people.
    pub name: String,
    /// Marketing or transactional.
    pub kind: Kind,
    /// Over which channel.
    pub channel: Channel,
    /// Wire address; `None`: the first configured one of the channel.
    pub sender: Option<String>,
    /// About what.
    pub topic_id: Option<i64>,
    /// What it says.
    pub template_id: i64,
    /// To whom; `None` for a triggered one.
    pub segment_id: Option<i64>,
    /// To whom not.
    pub exclude_segment_ids: Vec<i64>,
    /// Started by business events of this type.
    pub trigger_type: Option<String>,
    /// Civil time and zone, as given.
    pub schedule: Option<(String, String)>,
    /// The civil time counts where each person is.
    pub is_local_to_recipient: bool,
    /// The schedule as an instant; with local time, the earliest on earth.
    pub starts_at: Option<Millis>,
    /// `send`, `skip` or `ask`.
    pub if_missed: String,
    /// How late `send` may be.
    pub late_hours: f64,
    /// Parts per second.
    pub rate_limit_per_second: Option<f64>,
    /// `null`, `"off"`, a window or a preset.
    pub quiet_hours: Value,
    /// Deadline from the launch on.
    pub expires_after_hours: Option<f64>,
    /// Refuses to launch for more people than this.
    pub max_recipients: Option<i64>,
    /// What it may cost, in millionths of the price table's currency.
    pub spend_cap_micros: Option<i64>,
}

impl CampaignPlan {
    /// SMS marketing to a segment at once, at the sender's pace and within the house hours: what a plan says
    /// that says nothing else.
    pub fn new(name: &str, segment_id: i64, template_id: i64) -> CampaignPlan {
        CampaignPlan {
            name: name.to_owned(),
            kind: Kind::Marketing,
            channel: Channel::Sms,
            sender: None,
            topic_id: None,
            template_id,
            segment_id: Some(segment_id),
            exclude_segment_ids: Vec::new(),
            trigger_type: None,
            schedule: None,
            is_local_to_recipient: false,
            starts_at: None,
            if_missed: "send".to_owned(),
            late_hours: 4.0,
            rate_limit_per_second: None,
            quiet_hours: Value::Null,
            expires_after_hours: None,
            max_recipients: None,
            spend_cap_micros: None,
        }
    }

    /// Its quiet hours; what can't be read any more is the house preset.
    pub fn policy(&self) -> Policy {
        Policy::parse(&self.quiet_hours).unwrap_or_default()
    }

    /// The zone of its schedule, which decides where a number does not.
    pub fn zone(&self) -> Option<TimeZone> {
        self.schedule.as_ref().and_then(|(_, zone)| TimeZone::get(zone).ok())
    }

    /// The civil time of its schedule, if that counts where each person is.
    pub fn local_start(&self) -> Option<DateTime> {
        let (at, _) = self.schedule.as_ref().filter(|_| self.is_local_to_recipient)?;
        at.parse().ok()
    }

    /// What it says, to whom it may and when, ready to be judged.
    fn ready(&self, topic: Option<TopicRule>, text: Text) -> Plan {
        Plan {
            kind: self.kind,
            channel: self.channel,
            topic,
            text: Arc::new(text),
            policy: self.policy(),
            zone: self.zone(),
            local_start: self.local_start(),
        }
    }

    /// When the windows of its people end.
    pub fn closings(&self, presets: &Arc<Presets>) -> Closings {
        Closings::new(self.kind, self.policy(), (self.zone(), self.local_start()), Arc::clone(presets))
    }
}

/// A campaign as kept.
#[derive(Clone, Debug)]
pub struct CampaignRow {
    /// Key.
    pub id: i64,
    /// The plan.
    pub plan: CampaignPlan,
    /// Where it stands.
    pub status: CampaignStatus,
    /// Why it is paused.
    pub pause_reason: Option<String>,
    /// When it goes on by itself.
    pub paused_until: Option<Millis>,
    /// The text that it sends, frozen at launch.
    pub template_version: Option<i64>,
    /// `{"include", "exclude"}`: definitions frozen at launch.
    pub definition: Option<Value>,
    /// Deadline of its messages.
    pub expires_at: Option<Millis>,
    /// People up to this id are frozen …
    pub frozen_through: Option<i64>,
    /// … of those up to this id.
    pub frozen_last: Option<i64>,
    /// Counts the edits.
    pub version: i64,
    /// When it was made.
    pub created_at: Millis,
    /// When it began.
    pub launched_at: Option<Millis>,
    /// When nobody was left.
    pub finished_at: Option<Millis>,
}

const COLUMNS: &str = "id, name, status, pause_reason, kind, channel, sender, topic_id, template_id,
   template_version, segment_id, exclude_segment_ids, definition, trigger_type, schedule_at,
   schedule_timezone, local_to_recipient, starts_at, if_missed, late_hours, rate_limit_per_second,
   quiet_hours, expires_after_hours, expires_at, max_recipients, frozen_through, frozen_last, version,
   created_at, launched_at, finished_at, spend_cap_micros, paused_until";

fn from_row(row: &Row<'_>) -> rusqlite::Result<CampaignRow> {
    let (status, kind, channel): (String, String, String) = (row.get(2)?, row.get(4)?, row.get(5)?);
    let (excluded, definition): (String, Option<String>) = (row.get(11)?, row.get(12)?);
    let (at, zone): (Option<String>, Option<String>) = (row.get(14)?, row.get(15)?);
    let quiet_hours: Option<String> = row.get(21)?;
    Ok(CampaignRow {
        id: row.get(0)?,
        plan: CampaignPlan {
            name: row.get(1)?,
            kind: Kind::parse(&kind).unwrap_or(Kind::Marketing),
            channel: if channel == "whatsapp" { Channel::Whatsapp } else { Channel::Sms },
            sender: row.get(6)?,
            topic_id: row.get(7)?,
            template_id: row.get(8)?,
            segment_id: row.get(10)?,
            exclude_segment_ids: serde_json::from_str(&excluded).unwrap_or_default(),
            trigger_type: row.get(13)?,
            schedule: at.zip(zone),
            is_local_to_recipient: row.get(16)?,
            starts_at: row.get(17)?,
            if_missed: row.get(18)?,
            late_hours: row.get(19)?,
            rate_limit_per_second: row.get(20)?,
            quiet_hours: quiet_hours.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null),
            expires_after_hours: row.get(22)?,
            max_recipients: row.get(24)?,
            spend_cap_micros: row.get(31)?,
        },
        status: CampaignStatus::parse(&status).unwrap_or(CampaignStatus::Paused),
        pause_reason: row.get(3)?,
        paused_until: row.get(32)?,
        template_version: row.get(9)?,
        definition: definition.and_then(|text| serde_json::from_str(&text).ok()),
        expires_at: row.get(23)?,
        frozen_through: row.get(25)?,
        frozen_last: row.get(26)?,
        version: row.get(27)?,
        created_at: row.get(28)?,
        launched_at: row.get(29)?,
        finished_at: row.get(30)?,
    })
}

/// The campaign with this id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find(conn: &Connection, id: i64) -> Result<Option<CampaignRow>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM campaigns WHERE id = ?1"))?
        .query_row([id], from_row)
        .optional()?)
}

/// A campaign's plan as the gate judges it: with the text that was frozen, or before the launch with today's.
/// `None` when its template is gone.
///
/// # Errors
/// [`StoreError`] from SQLite, or when the text does not parse.
pub fn ready_plan(conn: &Connection, campaign: &CampaignRow) -> Result<Option<Plan>, StoreError> {
    let plan = &campaign.plan;
    let template = match campaign.template_version {
        Some(version) => templates::find_version(conn, plan.template_id, version)?,
        None => templates::find(conn, plan.template_id)?,
    };
    let Some(template) = template else {
        return Ok(None);
    };
    let topics = topics::list(conn)?;
    let topic = plan.topic_id.and_then(|id| topics.iter().find(|topic| topic.id == id));
    let rule = topic.map(|topic| TopicRule { is_open_to_opted_in: topic.is_open_to_opted_in });
    Ok(Some(plan.ready(rule, template.text.parse()?)))
}

/// A page of campaigns, newest first, below id `before`; in one state only, if given.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(
    conn: &Connection,
    status: Option<CampaignStatus>,
    before: i64,
    limit: usize,
) -> Result<Vec<CampaignRow>, StoreError> {
    let rows = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM campaigns WHERE id < ?1 AND (?2 IS NULL OR status = ?2)
             ORDER BY id DESC LIMIT ?3"
        ))?
        .query_map((before, status.map(CampaignStatus::as_str), limit as i64), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Campaigns that the process has to look after: everything but drafts and what is over.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn live(conn: &Connection) -> Result<Vec<CampaignRow>, StoreError> {
    let rows = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM campaigns
             WHERE status IN ('scheduled', 'launching', 'running', 'paused') ORDER BY id"
        ))?
        .query_map([], from_row)?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Campaigns that events of this type start: those that run, and those that stand still and will go on.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn started_by(conn: &Connection, trigger_type: &str) -> Result<Vec<CampaignRow>, StoreError> {
    let rows = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM campaigns
             WHERE status IN ('scheduled', 'launching', 'running', 'paused') AND trigger_type = ?1
               AND launched_at IS NOT NULL ORDER BY id"
        ))?
        .query_map([trigger_type], from_row)?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Cancelled campaigns of which something still waits: what a crash in the middle of a cancel leaves, or a
/// request that was under way then.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn cancelled_with_messages(conn: &Connection) -> Result<Vec<i64>, StoreError> {
    let ids = conn
        .prepare_cached(
            "SELECT c.id FROM campaigns c WHERE c.status = 'cancelled'
               AND EXISTS (SELECT 1 FROM messages m WHERE m.status = 'queued' AND m.lane = c.id)",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(ids)
}

/// Adds a draft and returns its id.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn insert(tx: &Tx<'_>, plan: &CampaignPlan) -> Result<i64, StoreError> {
    let id = tx
        .conn
        .prepare_cached(
            "INSERT INTO campaigns (name, kind, channel, sender, topic_id, template_id, segment_id,
               exclude_segment_ids, trigger_type, schedule_at, schedule_timezone, local_to_recipient,
               starts_at, if_missed, late_hours, rate_limit_per_second, quiet_hours, expires_after_hours,
               max_recipients, spend_cap_micros, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
               ?19, ?20, ?21, ?21)",
        )?
        .insert(params_from_iter(plan_values(plan).into_iter().chain([SqlValue::from(tx.now)])))?;
    Ok(id)
}

/// Replaces the plan of a draft or a scheduled campaign.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn update(tx: &Tx<'_>, id: i64, plan: &CampaignPlan) -> Result<(), StoreError> {
    let values = plan_values(plan).into_iter().chain([SqlValue::from(tx.now), SqlValue::from(id)]);
    tx.conn
        .prepare_cached(
            "UPDATE campaigns SET name = ?1, kind = ?2, channel = ?3, sender = ?4, topic_id = ?5,
               template_id = ?6, segment_id = ?7, exclude_segment_ids = ?8, trigger_type = ?9,
               schedule_at = ?10, schedule_timezone = ?11, local_to_recipient = ?12, starts_at = ?13,
               if_missed = ?14, late_hours = ?15, rate_limit_per_second = ?16, quiet_hours = ?17,
               expires_after_hours = ?18, max_recipients = ?19, spend_cap_micros = ?20, updated_at = ?21,
               version = version + 1
             WHERE id = ?22",
        )?
        .execute(params_from_iter(values))?;
    tx.change_plan();
    Ok(())
}

fn plan_values(plan: &CampaignPlan) -> Vec<SqlValue> {
    let text = |value: &Option<String>| value.clone().map_or(SqlValue::Null, SqlValue::Text);
    let integer = |value: Option<i64>| value.map_or(SqlValue::Null, SqlValue::Integer);
    let real = |value: Option<f64>| value.map_or(SqlValue::Null, SqlValue::Real);
    let excluded = serde_json::to_string(&plan.exclude_segment_ids).unwrap_or_default();
    let (at, zone) = plan.schedule.clone().unzip();
    let quiet_hours = (!plan.quiet_hours.is_null()).then(|| plan.quiet_hours.to_string());
    vec![
        SqlValue::Text(plan.name.clone()),
        SqlValue::Text(plan.kind.as_str().to_owned()),
        SqlValue::Text(plan.channel.as_str().to_owned()),
        text(&plan.sender),
        integer(plan.topic_id),
        SqlValue::Integer(plan.template_id),
        integer(plan.segment_id),
        SqlValue::Text(excluded),
        text(&plan.trigger_type),
        text(&at),
        text(&zone),
        SqlValue::Integer(plan.is_local_to_recipient.into()),
        integer(plan.starts_at),
        SqlValue::Text(plan.if_missed.clone()),
        SqlValue::Real(plan.late_hours),
        real(plan.rate_limit_per_second),
        text(&quiet_hours),
        real(plan.expires_after_hours),
        integer(plan.max_recipients),
        integer(plan.spend_cap_micros),
    ]
}

/// Changes the pace of a campaign, also while it runs.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_rate(tx: &Tx<'_>, id: i64, rate: Option<f64>, actor: &str) -> Result<(), StoreError> {
    tx.conn.execute(
        "UPDATE campaigns SET rate_limit_per_second = ?2, updated_at = ?3, version = version + 1 WHERE id = ?1",
        (id, rate, tx.now),
    )?;
    note(tx, id, EventType::CampaignRateChanged, json!({"rate_limit_per_second": rate, "actor": actor}))?;
    tx.change_plan();
    Ok(())
}

/// Changes what a campaign may cost, also while it runs or is paused.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn set_spend_cap(tx: &Tx<'_>, id: i64, micros: Option<i64>, actor: &str) -> Result<(), StoreError> {
    tx.conn.execute(
        "UPDATE campaigns SET spend_cap_micros = ?2, updated_at = ?3, version = version + 1 WHERE id = ?1",
        (id, micros, tx.now),
    )?;
    let cap = micros.map(|micros| micros as f64 / 1e6);
    note(tx, id, EventType::CampaignSpendCapChanged, json!({"spend_cap": cap, "actor": actor}))?;
    tx.change_plan();
    Ok(())
}

/// Removes a draft. Its test sends stay, as messages of no campaign.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn delete(tx: &Tx<'_>, id: i64) -> Result<(), StoreError> {
    tx.conn.execute("UPDATE messages SET campaign_id = NULL WHERE campaign_id = ?1", [id])?;
    tx.conn.execute("DELETE FROM campaigns WHERE id = ?1", [id])?;
    Ok(())
}
