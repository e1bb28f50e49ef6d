//! The steps of the wizard: what each form shows, and what it says as a patch of the API. A form that was refused is
//! shown as it was typed.

use minijinja::{Value as Shown, context};
use serde_json::{Map, Value, json};

use crate::store::campaigns::CampaignRow;
use crate::web::admin::form::{Filled, Form};
use crate::web::error::Problem;

/// The steps that write the plan, in their order; the review follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Audience,
    Message,
    Schedule,
}

impl Step {
    const ALL: [Step; 3] = [Step::Audience, Step::Message, Step::Schedule];

    /// The last part of its address.
    pub(super) fn word(self) -> &'static str {
        match self {
            Step::Audience => "audience",
            Step::Message => "message",
            Step::Schedule => "schedule",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Step::Audience => "Audience",
            Step::Message => "Message",
            Step::Schedule => "When and how fast",
        }
    }

    /// The question that it answers.
    pub(super) fn question(self) -> &'static str {
        match self {
            Step::Audience => "Who gets it?",
            Step::Message => "What do they read?",
            Step::Schedule => "When does it go out, and how fast?",
        }
    }

    pub(super) fn template(self) -> &'static str {
        match self {
            Step::Audience => "campaigns/audience.html",
            Step::Message => "campaigns/message.html",
            Step::Schedule => "campaigns/schedule.html",
        }
    }

    /// Where Next leads.
    pub(super) fn next(self, id: i64) -> String {
        let word = match self {
            Step::Audience => "message",
            Step::Message => "schedule",
            Step::Schedule => "review",
        };
        format!("/admin/campaigns/{id}/{word}")
    }

    /// What its form says, as a merge patch of the API.
    pub(super) fn patch(self, form: &Form) -> Map<String, Value> {
        match self {
            Step::Audience => audience(form),
            Step::Message => message(form),
            Step::Schedule => schedule(form),
        }
    }

    /// What stands in its form.
    pub(super) fn filled(self, campaign: &CampaignRow, topic: Option<&str>) -> Filled {
        let mut values = vec![("version", campaign.version.to_string())];
        let plan = &campaign.plan;
        let mut add = |name: &'static str, value: Option<String>| {
            values.extend(value.map(|value| (name, value)));
        };
        match self {
            Step::Audience => {
                add("name", Some(plan.name.clone()));
                add("kind", Some(plan.kind.as_str().to_owned()));
                add("segment_id", plan.segment_id.map(|id| id.to_string()));
                add("topic", topic.map(str::to_owned));
                for id in &plan.exclude_segment_ids {
                    add("exclude_segment_ids", Some(id.to_string()));
                }
            }
            Step::Message => {
                add("template_id", Some(plan.template_id.to_string()));
                add("sender", plan.sender.clone());
            }
            Step::Schedule => fill_schedule(campaign, &mut add),
        }
        Filled::with(values)
    }
}

fn fill_schedule(campaign: &CampaignRow, add: &mut impl FnMut(&'static str, Option<String>)) {
    let plan = &campaign.plan;
    let number = |number: f64| super::shown::plain(number);
    let when = match (&plan.trigger_type, &plan.schedule) {
        (Some(_), _) => "event",
        (None, Some(_)) if plan.is_local_to_recipient => "local",
        (None, Some(_)) => "at",
        (None, None) => "now",
    };
    add("when", Some(when.to_owned()));
    add("trigger.type", plan.trigger_type.clone());
    if let Some((at, zone)) = &plan.schedule {
        add("schedule.at", Some(at.clone()));
        add("schedule.timezone", Some(zone.clone()));
    }
    add("if_missed", Some(plan.if_missed.clone()));
    add("late_hours", Some(number(plan.late_hours)));
    add("rate_limit_per_second", plan.rate_limit_per_second.map(number));
    add("expires_after_hours", plan.expires_after_hours.map(number));
    add("max_recipients", plan.max_recipients.map(|most| most.to_string()));
    add("spend_cap", plan.spend_cap_micros.map(crate::domain::price::amount));
    let quiet = match &plan.quiet_hours {
        Value::Object(window) if window.contains_key("preset") => {
            format!("preset:{}", window.get("preset").and_then(Value::as_str).unwrap_or_default())
        }
        Value::Object(window) => {
            for (name, key) in [("quiet_hours.start", "start"), ("quiet_hours.end", "end")] {
                add(name, window.get(key).and_then(Value::as_str).map(str::to_owned));
            }
            "window".to_owned()
        }
        Value::String(word) => word.clone(),
        _ => "house".to_owned(),
    };
    add("quiet", Some(quiet));
}

/// The steps with where they lead; a campaign that is not there yet has no other than the first.
pub(super) fn shown(id: Option<i64>, here: Option<Step>) -> Vec<Shown> {
    let at = here.and_then(|here| Step::ALL.iter().position(|step| *step == here)).unwrap_or(Step::ALL.len());
    let mut rows: Vec<Shown> = Step::ALL
        .iter()
        .enumerate()
        .map(|(n, step)| {
            let href = id.map(|id| format!("/admin/campaigns/{id}/{}", step.word()));
            context! { label => step.label(), href, is_here => n == at, is_done => n < at }
        })
        .collect();
    let href = id.map(|id| format!("/admin/campaigns/{id}/review"));
    rows.push(context! { label => "Review", href, is_here => at == Step::ALL.len(), is_done => false });
    rows
}

/// A number as typed, so that the reader of the API can say what is wrong with it; null when nothing was.
pub(super) fn number(form: &Form, name: &str) -> Value {
    let Some(text) = form.text(name) else {
        return Value::Null;
    };
    let bare = text.replace([',', ' ', '\u{202f}', '\u{a0}'], "");
    match (bare.parse::<i64>(), bare.parse::<f64>()) {
        (Ok(whole), _) => json!(whole),
        (_, Ok(number)) if number.is_finite() => json!(number),
        _ => json!(text),
    }
}

fn text(form: &Form, name: &str) -> Value {
    form.text(name).map_or(Value::Null, Value::String)
}

/// The fields that a merge patch takes; the audience of everybody is put in by who has the store.
fn audience(form: &Form) -> Map<String, Value> {
    let mut patch = Map::new();
    for name in ["name", "kind", "topic"] {
        patch.insert(name.to_owned(), text(form, name));
    }
    // One that events start has no segment, and its form does not ask.
    if form.raw("segment_id").is_some() {
        patch.insert("segment_id".to_owned(), number(form, "segment_id"));
    }
    let excluded = form.all("exclude_segment_ids");
    let excluded: Vec<Value> =
        excluded.iter().map(|id| id.parse::<i64>().map_or_else(|_| json!(id), |id| json!(id))).collect();
    patch.insert("exclude_segment_ids".to_owned(), Value::Array(excluded));
    patch
}

fn message(form: &Form) -> Map<String, Value> {
    let mut patch = Map::new();
    patch.insert("template_id".to_owned(), number(form, "template_id"));
    patch.insert("sender".to_owned(), text(form, "sender"));
    patch
}

fn schedule(form: &Form) -> Map<String, Value> {
    let mut patch = Map::new();
    let mut set = |name: &str, value: Value| patch.insert(name.to_owned(), value);
    let when = form.text("when").unwrap_or_default();
    let is_local = when == "local";
    set(
        "schedule",
        match when.as_str() {
            "at" | "local" => json!({
                "at": text(form, "schedule.at"),
                "timezone": text(form, "schedule.timezone"),
                "local_to_recipient": is_local,
            }),
            _ => Value::Null,
        },
    );
    if when == "event" {
        set("trigger", json!({"type": text(form, "trigger.type")}));
        set("segment_id", Value::Null);
    } else {
        set("trigger", Value::Null);
        // Only a campaign that events started until now asks anew whom it goes to.
        if form.raw("segment_id").is_some() {
            set("segment_id", number(form, "segment_id"));
        }
    }
    for name in ["rate_limit_per_second", "expires_after_hours", "max_recipients", "spend_cap", "late_hours"]
    {
        set(name, number(form, name));
    }
    set("if_missed", text(form, "if_missed"));
    let quiet = form.text("quiet").unwrap_or_default();
    set(
        "quiet_hours",
        match quiet.split_once(':') {
            Some(("preset", name)) => json!({"preset": name}),
            _ if quiet == "off" => json!("off"),
            _ if quiet == "window" => {
                json!({"start": text(form, "quiet_hours.start"), "end": text(form, "quiet_hours.end")})
            }
            _ => Value::Null,
        },
    );
    patch
}

/// Faults by the names that the form's fields have: parts of a list belong to the list.
pub(super) fn by_field(problem: Problem) -> Problem {
    problem.map_fields(|field| {
        let name = field.split('[').next().unwrap_or_default();
        if name == "channel" { "template_id".to_owned() } else { name.to_owned() }
    })
}
