//! Reads a campaign's plan from JSON, and checks what it names against the store and the configuration.

use crate::store::Connection;
use serde_json::Value;

use super::templates::CHANNELS;
use crate::campaign::resolve_start;
use crate::config::Config;
use crate::domain::message::Kind;
use crate::domain::phone::Channel;
use crate::domain::price::micros;
use crate::domain::quiet_hours::Policy;
use crate::domain::trigger::{MAX_TYPE, check_type};
use crate::store::campaigns::CampaignPlan;
use crate::store::{StoreError, segments, senders, templates, topics};
use crate::web::body::Fields;
use crate::web::error::Problem;

/// Longest name, in characters.
const MAX_NAME: usize = 200;
/// Segments that one campaign leaves out.
const MAX_EXCLUDED: usize = 50;
const KINDS: [&str; 2] = ["marketing", "transactional"];
const IF_MISSED: [&str; 3] = ["send", "skip", "ask"];
/// A start that comes later than this many hours is late by default.
const LATE_HOURS: f64 = 4.0;
/// Ten years, in hours: no deadline is further, so that no sum overflows.
const MAX_HOURS: f64 = 87_600.0;

/// Reads a plan, and checks what it names against the store and the configuration.
pub(in crate::web) fn read_plan(
    conn: &Connection,
    config: &Config,
    mut fields: Fields,
) -> Result<CampaignPlan, Problem> {
    let name = fields.required_name("name", MAX_NAME);
    let kind = fields.choice("kind", |word| KINDS.contains(&word).then(|| Kind::parse(word))?, &KINDS);
    let kind = kind.unwrap_or(Kind::Marketing);
    let channel = fields.choice("channel", |word| word.parse().ok(), &CHANNELS);
    if channel.is_none() && !fields.has_error("channel") {
        fields.error("channel", "missing: sms or whatsapp");
    }
    let topic_id = read_topic(conn, &mut fields)?;
    let template_id = read_template(conn, &mut fields, channel)?;
    let sender = read_sender(conn, &mut fields, channel)?;
    let (segment_id, trigger_type) = read_audience(conn, &mut fields)?;
    let exclude_segment_ids = read_excluded(conn, &mut fields)?;
    let schedule = read_schedule(&mut fields);
    if schedule.is_some() && trigger_type.is_some() {
        fields.error("schedule", "does not go with a trigger");
    }
    let if_missed = fields.choice("if_missed", |w| IF_MISSED.contains(&w).then(|| w.to_owned()), &IF_MISSED);
    let late_hours = fields.not_negative("late_hours");
    let rate_limit_per_second = fields.positive("rate_limit_per_second");
    let quiet_hours = read_quiet_hours(config, &mut fields);
    let expires_after_hours = fields.positive("expires_after_hours");
    for (field, hours) in [("late_hours", late_hours), ("expires_after_hours", expires_after_hours)] {
        if hours.is_some_and(|hours| hours > MAX_HOURS) {
            fields.error(field, format!("at most {MAX_HOURS}"));
        }
    }
    let max_recipients = fields.id("max_recipients");
    let spend_cap_micros = read_spend_cap(&mut fields);
    fields.finish()?;
    let starts_at = match &schedule {
        Some(schedule) => Some(resolve_start(&schedule.at, &schedule.zone, schedule.is_local)?),
        None => None,
    };
    Ok(CampaignPlan {
        name,
        kind,
        channel: channel.unwrap_or(Channel::Sms),
        sender,
        topic_id,
        template_id,
        segment_id,
        exclude_segment_ids,
        trigger_type,
        is_local_to_recipient: schedule.as_ref().is_some_and(|schedule| schedule.is_local),
        schedule: schedule.map(|schedule| (schedule.at, schedule.zone)),
        starts_at,
        if_missed: if_missed.unwrap_or_else(|| "send".to_owned()),
        late_hours: late_hours.unwrap_or(LATE_HOURS),
        rate_limit_per_second,
        quiet_hours,
        expires_after_hours,
        max_recipients,
        spend_cap_micros,
    })
}

/// An amount of the price table's currency, in millionths.
pub(super) fn read_spend_cap(fields: &mut Fields) -> Option<i64> {
    let cap = fields.positive("spend_cap")?;
    let micros = micros(cap).filter(|micros| *micros > 0);
    if micros.is_none() {
        fields.error("spend_cap", "must be an amount of at least 0.000001");
    }
    micros
}

fn read_topic(conn: &Connection, fields: &mut Fields) -> Result<Option<i64>, StoreError> {
    let Some(name) = fields.text("topic", 64) else {
        return Ok(None);
    };
    let topic = topics::find(conn, &name)?;
    if topic.is_none() {
        fields.error("topic", format!("there is no topic {name:?}"));
    }
    Ok(topic.map(|topic| topic.id))
}

fn read_template(
    conn: &Connection,
    fields: &mut Fields,
    channel: Option<Channel>,
) -> Result<i64, StoreError> {
    let Some(id) = fields.id("template_id") else {
        if !fields.has_error("template_id") {
            fields.error("template_id", "missing");
        }
        return Ok(0);
    };
    match templates::find(conn, id)? {
        None => fields.error("template_id", format!("there is no template {id}")),
        Some(template) if channel.is_some_and(|channel| channel != template.text.channel) => {
            fields.error("template_id", format!("template {id} is for {}", template.text.channel.as_str()));
        }
        Some(_) => {}
    }
    Ok(id)
}

fn read_sender(
    conn: &Connection,
    fields: &mut Fields,
    channel: Option<Channel>,
) -> Result<Option<String>, StoreError> {
    let Some(address) = fields.text("sender", 100) else {
        return Ok(None);
    };
    if let Some(channel) = channel
        && senders::choose(conn, channel, Some(&address))?.is_none()
    {
        fields.error("sender", format!("is not configured for {}", channel.as_str()));
    }
    Ok(Some(address))
}

/// Either a segment or a trigger.
fn read_audience(
    conn: &Connection,
    fields: &mut Fields,
) -> Result<(Option<i64>, Option<String>), StoreError> {
    let segment_id = fields.id("segment_id");
    let mut trigger_type = None;
    if let Some(mut trigger) = fields.child("trigger") {
        let kind = trigger.required_name("type", MAX_TYPE);
        if let Err(message) = check_type(&kind)
            && !trigger.has_error("type")
        {
            trigger.error("type", message);
        }
        trigger_type = Some(kind);
        fields.absorb(trigger);
    }
    match (segment_id, &trigger_type) {
        (Some(_), Some(_)) => fields.error("trigger", "give either segment_id or trigger"),
        (None, None) if !fields.has_error("segment_id") && !fields.has_error("trigger") => {
            fields.error("segment_id", "missing; everybody is a segment with {\"all\":[]}");
        }
        _ => {}
    }
    if let Some(id) = segment_id
        && segments::find(conn, id)?.is_none()
    {
        fields.error("segment_id", format!("there is no segment {id}"));
    }
    Ok((segment_id, trigger_type))
}

fn read_excluded(conn: &Connection, fields: &mut Fields) -> Result<Vec<i64>, StoreError> {
    let ids = fields.ids("exclude_segment_ids", MAX_EXCLUDED);
    for (index, id) in ids.iter().enumerate() {
        if segments::find(conn, *id)?.is_none() {
            fields.error(&format!("exclude_segment_ids[{index}]"), format!("there is no segment {id}"));
        }
    }
    Ok(ids)
}

struct Schedule {
    at: String,
    zone: String,
    is_local: bool,
}

fn read_schedule(fields: &mut Fields) -> Option<Schedule> {
    let mut inner = fields.child("schedule")?;
    let at = inner.required_text("at", 40);
    let zone = inner.required_text("timezone", 60);
    let is_local = inner.boolean("local_to_recipient").unwrap_or(false);
    // Each part is tried with a good one in place of the other, so that both faults are told at once.
    if let Err(error) = resolve_start(&at, "UTC", false)
        && !inner.has_error("at")
    {
        inner.error("at", message_of(error));
    }
    if let Err(error) = resolve_start("2026-01-01T00:00:00", &zone, false)
        && !inner.has_error("timezone")
    {
        inner.error("timezone", message_of(error));
    }
    fields.absorb(inner);
    Some(Schedule { at, zone, is_local })
}

fn message_of(error: crate::campaign::CampaignError) -> String {
    match error {
        crate::campaign::CampaignError::Invalid { message, .. } => message,
        other => other.to_string(),
    }
}

fn read_quiet_hours(config: &Config, fields: &mut Fields) -> Value {
    let value = fields.take("quiet_hours").unwrap_or_default();
    let checked = Policy::parse(&value).and_then(|policy| {
        config.quiet_hours.check(&policy)?;
        Ok(policy)
    });
    match checked {
        Ok(policy) => policy.to_json(),
        Err(error) => {
            fields.error_at(error.field, error.message);
            Value::Null
        }
    }
}
