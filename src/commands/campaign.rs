//! `ese campaign`: what the API does with a campaign, from the terminal.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::{actor, open};
use crate::app;
use crate::campaign;
use crate::config::Config;
use crate::domain::encoding::count;
use crate::domain::forecast::{Ahead, DailyLimit, Forecast, Group, Pace, forecast};
use crate::domain::phone::Channel;
use crate::store::campaigns::{self, CampaignCount, CampaignRow};
use crate::store::{Connection, StoreError, senders, templates};

/// The span that a sender's limit on people is about, in milliseconds.
const DAY: i64 = 86_400_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Start a campaign, or let it wait for its schedule.
    Launch {
        /// The campaign's id.
        id: i64,
    },
    /// Let a campaign stand still.
    Pause {
        /// The campaign's id.
        id: i64,
    },
    /// Let a paused campaign go on.
    Resume {
        /// The campaign's id.
        id: i64,
    },
    /// End a campaign: nobody who waits gets it any more.
    Cancel {
        /// The campaign's id.
        id: i64,
    },
    /// Print what became of everybody.
    Report {
        /// The campaign's id.
        id: i64,
    },
}

pub(super) async fn run(config: Config, action: Action) -> Result<()> {
    let store = open(&config)?;
    if !matches!(action, Action::Report { .. }) {
        app::synchronize_senders(&store, &config).await?;
    }
    let setup = app::setup(&config);
    let actor = actor();
    let campaign = match action {
        Action::Launch { id } => store.write(move |tx| campaign::launch(tx, id, &setup)).await?,
        Action::Pause { id } => store.write(move |tx| campaign::pause(tx, id, &actor)).await?,
        Action::Resume { id } => store.write(move |tx| campaign::resume(tx, id, &setup, &actor)).await?,
        Action::Cancel { id } => campaign::cancel(&store, id, actor).await?,
        Action::Report { id } => {
            let text = store.read_here(|conn| super::report::text(conn, id))?;
            return Ok(write!(std::io::stdout(), "{text}")?);
        }
    };
    tell(&campaign)?;
    if campaign.status.is_sending() {
        // Without a server beside it nobody would freeze the audience.
        let presets = Arc::new(config.quiet_hours.clone());
        campaign::freeze_all(&store, &presets, app::setup(&config).is_simulated).await?;
        let id = campaign.id;
        let counts = store.read_here(|conn| campaigns::counts(conn, id))?;
        let people: i64 = counts.iter().map(|count| count.n).sum();
        writeln!(
            std::io::stdout(),
            "{people} people. A running server sends to them; else start `ese serve`."
        )?;
        let now = store.clock().now();
        if let Some(outlook) = store.read_here(|conn| outlook(conn, (&config, &campaign), &counts, now))? {
            writeln!(std::io::stdout(), "{outlook}")?;
        }
    }
    Ok(())
}

/// How long those who wait will take at the rates and the daily limit, in a sentence; quiet hours come on top.
fn outlook(
    conn: &Connection,
    (config, campaign): (&Config, &CampaignRow),
    counts: &[CampaignCount],
    now: i64,
) -> Result<Option<String>, StoreError> {
    let plan = &campaign.plan;
    let waiting: i64 = counts.iter().filter(|count| count.status == "queued").map(|count| count.n).sum();
    let chosen = senders::choose(conn, plan.channel, plan.sender.as_deref())?;
    let configured =
        chosen.as_ref().and_then(|row| config.senders.iter().find(|one| one.address == row.address));
    let (Some(row), Some(sender)) = (chosen, configured) else {
        return Ok(None);
    };
    let daily = match sender.recipients_per_day() {
        Some(most) => {
            let used = senders::recipients_by_hour(conn, row.id, now - DAY)?;
            Some(DailyLimit { most, used })
        }
        None => None,
    };
    let template =
        templates::find_version(conn, plan.template_id, campaign.template_version.unwrap_or_default())?;
    let parts = template.map_or(1, |template| count(&template.text.body).parts.max(1));
    let rates = [
        Some(sender.rate_per_second()),
        Some(config.delivery.account_rate_per_second),
        plan.rate_limit_per_second,
    ];
    let pace = Pace {
        parts_per_second: rates.into_iter().flatten().fold(f64::INFINITY, f64::min),
        parts_per_message: if plan.channel == Channel::Sms { f64::from(parts) } else { 1.0 },
        daily,
        expires_at: campaign.expires_at,
        ahead: Ahead::default(),
    };
    let groups = [Group { people: waiting, open: &|at| Some((at, i64::MAX)), takes_place: true }];
    Ok(sentence(waiting, &pace, &forecast(now, &groups, &pace)))
}

/// "8,000 people at 250 a day: until 25 December 2026 at the earliest."
fn sentence(people: i64, pace: &Pace, seen: &Forecast) -> Option<String> {
    let last = jiff::Timestamp::from_millisecond(seen.last?).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    let speed = match &pace.daily {
        Some(daily) if people > daily.most => format!("{} a day", daily.most),
        _ => format!("{} SMS parts a second", pace.parts_per_second),
    };
    let last = last.strftime("%-d %B %Y, %H:%M UTC");
    let late = match seen.would_expire {
        0 => String::new(),
        n => format!(" For {n} of them that would be too late."),
    };
    Some(format!("{people} wait, at {speed}: until {last} at the earliest; quiet hours come on top.{late}"))
}

fn tell(campaign: &CampaignRow) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let name = &campaign.plan.name;
    writeln!(out, "Campaign {} ({name}) is {}.", campaign.id, campaign.status.as_str())?;
    if let Some(reason) = &campaign.pause_reason {
        writeln!(out, "{reason}")?;
    }
    out.flush().context("standard output is closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_says_until_when_the_daily_limit_stretches_it() {
        let start = "2026-11-23T17:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let daily = DailyLimit { most: 250, used: vec![(start - DAY / 2, 125)] };
        let pace = Pace {
            parts_per_second: 80.0,
            parts_per_message: 1.0,
            daily: Some(daily),
            expires_at: None,
            ahead: Ahead::default(),
        };
        let groups = [Group { people: 8_000, open: &|at| Some((at, i64::MAX)), takes_place: true }];
        let said = sentence(8_000, &pace, &forecast(start, &groups, &pace)).unwrap();
        assert!(said.starts_with("8000 wait, at 250 a day: until 25 December 2026"), "{said}");
        let soon = Pace { daily: None, expires_at: Some(start + 50_000), ..pace };
        let said = sentence(8_000, &soon, &forecast(start, &groups, &soon)).unwrap();
        assert!(said.contains("at 80 SMS parts a second") && said.contains("For 4000 of them"), "{said}");
    }
}
