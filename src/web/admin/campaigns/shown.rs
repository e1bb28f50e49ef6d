//! Campaigns in words: rows of lists, and what a plan says, setting by setting.

use jiff::tz::TimeZone;
use minijinja::{Value, context};

use super::figures::{Figures, cost_at_end, eta, moment, next_fact, per_second};
use crate::clock::Millis;
use crate::domain::campaign::{Action, CampaignStatus as State};
use crate::domain::message::Kind;
use crate::domain::phone::Channel;
use crate::domain::quiet_hours::Policy;
use crate::store::campaigns::CampaignPlan;
use crate::store::reports::campaigns::CampaignView;
use crate::web::admin::format;

/// The channel as people say it.
pub(super) fn channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Sms => "SMS",
        Channel::Whatsapp => "WhatsApp",
    }
}

/// Whom it goes to.
pub(super) fn audience(view: &CampaignView) -> String {
    match (&view.campaign.plan.trigger_type, &view.segment) {
        (Some(kind), _) => format!("on event {kind}"),
        (None, Some(name)) => name.clone(),
        (None, None) => "no audience".to_owned(),
    }
}

/// A row of the list, and the head of a campaign's page.
pub(super) fn row(view: &CampaignView, zone: &TimeZone, now: Millis) -> Value {
    let campaign = &view.campaign;
    let figures = Figures::of(&view.counts);
    let may = |action: Action| action.check(campaign.status).is_ok();
    let is_draft = campaign.status == State::Draft;
    context! {
        id => campaign.id,
        name => campaign.plan.name.clone(),
        status => campaign.status.as_str(),
        version => campaign.version,
        channel => channel(campaign.plan.channel),
        kind => campaign.plan.kind.as_str(),
        audience => audience(view),
        template => view.template.clone(),
        template_id => campaign.plan.template_id,
        segment_id => campaign.plan.segment_id,
        is_draft => is_draft,
        is_before => campaign.launched_at.is_none(),
        is_sending => campaign.status.is_sending(),
        is_over => matches!(campaign.status, State::Finished | State::Cancelled),
        is_triggered => campaign.plan.trigger_type.is_some(),
        trigger => campaign.plan.trigger_type.clone(),
        figures => figures.value(),
        next => next_fact(view, zone, now),
        opt_outs => view.sums.opt_outs,
        replies => view.sums.replies,
        pause_reason => campaign.pause_reason.clone(),
        paused_until => campaign.paused_until,
        launched_at => campaign.launched_at,
        finished_at => campaign.finished_at,
        starts_at => campaign.plan.starts_at,
        updated_at => view.updated_at,
        when => when(view, zone, now),
        can_edit => may(Action::Edit),
        can_pause => may(Action::Pause) && campaign.status != State::Paused,
        can_resume => campaign.status == State::Paused,
        can_cancel => may(Action::Cancel) && campaign.status != State::Cancelled,
        can_retry => may(Action::RetryFailed) && figures.failed > 0,
        can_change_rate => may(Action::ChangeRate),
        can_delete => may(Action::Delete),
    }
}

/// The time of a row: when it began, will begin, or was written.
fn when(view: &CampaignView, zone: &TimeZone, now: Millis) -> String {
    let campaign = &view.campaign;
    match (campaign.launched_at, campaign.plan.starts_at) {
        (Some(at), _) if campaign.plan.trigger_type.is_some() => format!("since {}", day(at, zone, now)),
        (Some(at), _) => moment(at, zone, now),
        (None, Some(at)) if campaign.status != State::Draft => moment(at, zone, now),
        _ => format!("edited {}", moment(view.updated_at, zone, now)),
    }
}

fn day(at: Millis, zone: &TimeZone, now: Millis) -> String {
    format::time(at, zone, now, format::Fineness::Day)
}

/// The six figures of a campaign that runs or is over.
pub(super) fn progress(view: &CampaignView, currency: &str, zone: &TimeZone, now: Millis) -> Value {
    let figures = Figures::of(&view.counts);
    let sums = &view.sums;
    let mean = sums.first_accepted_at.zip(sums.last_accepted_at).filter(|(first, last)| last > first);
    let mean = mean.map(|(first, last)| (sums.accepted - 1) as f64 * 1_000.0 / (last - first) as f64);
    let is_other = sums.price_unit.as_ref().is_some_and(|unit| unit != currency);
    let cost = if is_other { None } else { view.spent.total() };
    context! {
        figures => figures.value(),
        rate_now => view.rate_now.map(per_second),
        rate_mean => mean.map(per_second),
        limit => view.campaign.plan.rate_limit_per_second.map(plain),
        eta => eta(view, &figures, now).map(|at| moment(at, zone, now)),
        next_due => view.next_due.filter(|due| *due > now).map(|at| moment(at, zone, now)),
        replies => sums.replies,
        opt_outs => sums.opt_outs,
        parts => sums.parts,
        accepted => sums.accepted,
        cost => cost,
        cost_known => view.spent.known_micros,
        unpriced => view.spent.unknown,
        cost_at_end => cost_at_end(view, &figures).filter(|_| figures.open() > 0 && !is_other),
        currency => currency,
        other_currency => sums.price_unit.as_ref().filter(|_| is_other),
        as_of => now,
    }
}

/// A number without zeros behind its point.
pub(super) fn plain(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What a plan says, as pairs of a word and a sentence.
pub(super) fn settings(view: &CampaignView, currency: &str, zone: &TimeZone, now: Millis) -> Vec<Value> {
    let plan = &view.campaign.plan;
    let mut rows: Vec<(&str, String)> = Vec::new();
    let topic = view.topic.as_ref().map(|topic| format!(", topic “{topic}”")).unwrap_or_default();
    let kind = if plan.kind == Kind::Marketing { "Marketing" } else { "Transactional" };
    rows.push(("Kind", format!("{kind}{topic}")));
    let from = plan.sender.as_deref().map(|address| format!(" from {}", format::phone(address, false)));
    rows.push(("Channel", format!("{}{}", channel(plan.channel), from.unwrap_or_default())));
    rows.push(("Starts", starts(plan, zone, now)));
    rows.push(("Quiet hours", quiet_hours(plan)));
    let rate = plan.rate_limit_per_second.map(|rate| format!("{} parts a second at most", plain(rate)));
    rows.push(("Rate", rate.unwrap_or_else(|| "As fast as the sender may".to_owned())));
    if plan.schedule.is_some() {
        rows.push(("If missed", if_missed(plan)));
    }
    let expiry = plan.expires_after_hours.map(|hours| format!("{} h after its start", plain(hours)));
    rows.push(("Expires", expiry.unwrap_or_else(|| "Never".to_owned())));
    if let Some(most) = plan.max_recipients {
        rows.push(("People", format!("{} at most", format::number(most))));
    }
    if let Some(cap) = plan.spend_cap_micros {
        rows.push(("Cost", format!("{} at most", format::money(cap, currency))));
    }
    rows.into_iter().map(|(word, text)| context! { word, text }).collect()
}

/// When it begins, in a sentence.
pub(super) fn starts(plan: &CampaignPlan, zone: &TimeZone, now: Millis) -> String {
    if let Some(kind) = &plan.trigger_type {
        return format!("On each event {kind}");
    }
    match (&plan.schedule, plan.starts_at) {
        (Some((at, _)), _) if plan.is_local_to_recipient => {
            format!("{} on each person’s own clock", format::wall_clock(at, zone, now))
        }
        (Some(_), Some(at)) => format::time(at, zone, now, format::Fineness::Minute),
        _ => "Now, at the launch".to_owned(),
    }
}

fn quiet_hours(plan: &CampaignPlan) -> String {
    match plan.policy() {
        Policy::House => "The house’s own, in each person’s zone".to_owned(),
        Policy::Off => "None: at any hour".to_owned(),
        Policy::Preset(name) => format!("Preset {name}, in each person’s zone"),
        Policy::Window { start, end, .. } => format!("Not from {start} to {end}, in each person’s zone"),
    }
}

fn if_missed(plan: &CampaignPlan) -> String {
    let hours = plain(plan.late_hours);
    match plan.if_missed.as_str() {
        "skip" => "Skip it".to_owned(),
        "ask" => "Ask first".to_owned(),
        _ => format!("Send up to {hours} h late, then ask"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_said_without_zeros_at_its_end() {
        for (number, said) in [(10.0, "10"), (0.33, "0.33"), (2.5, "2.5"), (100.0, "100")] {
            assert_eq!(plain(number), said);
        }
    }
}
