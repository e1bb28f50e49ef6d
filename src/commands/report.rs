//! A campaign's report and a person's timeline as text, for terminals.

use std::fmt::Write;

use crate::store::Connection;
use anyhow::{Context, Result};

use crate::domain::message::Status;
use crate::store::campaigns;
use crate::store::reports::timeline::{self, Entry, Place};
use crate::store::users::{self, UserKey};
use crate::twilio::error::explain;

/// What became of everybody whom a campaign was for.
pub(super) fn text(conn: &Connection, id: i64) -> Result<String> {
    let campaign = campaigns::find(conn, id)?.with_context(|| format!("there is no campaign {id}"))?;
    let (counts, sums) = (campaigns::counts(conn, id)?, campaigns::sums(conn, id)?);
    let total: i64 = counts.iter().map(|count| count.n).sum();
    let mut text = String::new();
    writeln!(text, "Campaign {id}, {}: {}", campaign.plan.name, campaign.status.as_str())?;
    if let Some(reason) = &campaign.pause_reason {
        writeln!(text, "  {reason}")?;
    }
    writeln!(text, "  {total:>7}  people")?;
    for status in Status::ALL {
        let rows: Vec<_> = counts.iter().filter(|count| count.status == status.as_str()).collect();
        let n: i64 = rows.iter().map(|count| count.n).sum();
        if n == 0 {
            continue;
        }
        writeln!(text, "  {n:>7}  {}", status.as_str())?;
        for row in rows.iter().filter(|row| row.error_code != 0 || !row.reason.is_empty()) {
            let why = match row.error_code {
                0 => row.reason.replace('_', " "),
                code => format!("{code} {}", explain(code).text),
            };
            writeln!(text, "           {:>7}  {why}", row.n)?;
        }
    }
    let plural = |n: i64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let (replies, opt_outs) =
        (plural(sums.replies, "reply", "replies"), plural(sums.opt_outs, "opt-out", "opt-outs"));
    let parts = if sums.parts == 1 { "SMS part" } else { "SMS parts" };
    writeln!(text, "  {:>7}  {parts}, {replies}, {opt_outs}", sums.parts)?;
    if let (Some(first), Some(last)) = (sums.first_accepted_at, sums.last_accepted_at)
        && sums.accepted > 1
    {
        let seconds = (last - first).max(1_000) as f64 / 1_000.0;
        // The first opens the span and is not counted.
        let pace = (sums.accepted - 1) as f64 / seconds;
        writeln!(text, "  {pace:>7.1}  messages a second, over {seconds:.1} s")?;
    }
    Ok(text)
}

/// Everything about one person, oldest first.
pub(super) fn person(conn: &Connection, user_id: i64) -> Result<String> {
    let user =
        users::find(conn, &UserKey::Id(user_id))?.with_context(|| format!("there is no person {user_id}"))?;
    let mut text = String::new();
    let name = user.attributes.get("name").and_then(serde_json::Value::as_str).unwrap_or("Somebody");
    let phone = user.phone.as_deref().unwrap_or("(no number)");
    writeln!(text, "{name}, {phone}: consent {}", user.consent.as_str())?;
    let mut lines: Vec<(i64, String)> = Vec::new();
    let (entries, _) = timeline::page(conn, user_id, Place::START, 100)?;
    for entry in entries {
        lines.extend(sentences(entry));
    }
    lines.sort_by_key(|(at, _)| *at);
    for (at, line) in lines {
        let at = jiff::Timestamp::from_millisecond(at)?.to_zoned(jiff::tz::TimeZone::UTC);
        writeln!(text, "  {}  {line}", at.strftime("%H:%M:%S%.3f UTC"))?;
    }
    Ok(text)
}

/// An entry as dated lines; a message has one for each thing that became of it.
fn sentences(entry: Entry) -> Vec<(i64, String)> {
    match entry {
        Entry::Message(message, events) => {
            let body: String = message.body.unwrap_or_default().chars().take(60).collect();
            let queued = (message.created_at, format!("{} {} queued", message.channel, message.kind));
            let news = events.into_iter().map(move |event| {
                let what = event.kind.trim_start_matches("message.").replace('_', " ");
                let why = event.data.get("reason").and_then(serde_json::Value::as_str);
                let code = event.data.get("error_code").and_then(serde_json::Value::as_i64);
                let detail = match (code, why) {
                    (Some(code), _) => format!(": {code} {}", explain(code).text),
                    (None, Some(why)) => format!(": {}", why.replace('_', " ")),
                    (None, None) if what == "accepted" => format!(" by Twilio: {body:?}"),
                    (None, None) => String::new(),
                };
                (event.at, format!("  message {what}{detail}"))
            });
            std::iter::once(queued).chain(news).collect()
        }
        Entry::Inbound(inbound) => {
            let body = inbound.body.unwrap_or_default();
            let kind = inbound.kind.unwrap_or_default();
            vec![(inbound.received_at, format!("wrote {body:?} (understood as {kind})"))]
        }
        Entry::Consent(row) => {
            let line = format!("consent {} → {} by {} ({})", row.previous, row.state, row.actor, row.source);
            vec![(row.at, line)]
        }
        Entry::Event(event) => vec![(event.at, event.kind.replace('.', " "))],
    }
}
