//! `ese campaign`: what the API does with a campaign, from the terminal.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::{actor, open};
use crate::app;
use crate::campaign::{self, House, Waterfall};
use crate::config::Config;
use crate::domain::campaign::CampaignStatus;
use crate::store::Store;
use crate::store::campaigns::{self, CampaignRow};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Start a campaign, or let it wait for its schedule.
    Launch {
        /// The campaign's id.
        id: i64,
        /// Launch although some would wait until it is too late for them.
        #[arg(long)]
        accept_would_expire: bool,
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
    let mut told = None;
    let campaign = match action {
        Action::Launch { id, accept_would_expire } => {
            let (campaign, said) = launch(&store, &config, id, accept_would_expire).await?;
            told = said;
            campaign
        }
        Action::Pause { id } => store.write(move |tx| campaign::pause(tx, id, &actor)).await?,
        Action::Resume { id } => store.write(move |tx| campaign::resume(tx, id, &setup, &actor)).await?,
        Action::Cancel { id } => campaign::cancel(&store, id, actor).await?,
        Action::Report { id } => {
            let text = store.read_here(|conn| super::report::text(conn, id))?;
            return Ok(write!(std::io::stdout(), "{text}")?);
        }
    };
    tell(&campaign)?;
    if let Some(outlook) = told {
        writeln!(std::io::stdout(), "{outlook}")?;
    }
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
    }
    Ok(())
}

/// Looks at the audience of a draft, then launches it. Also says what comes of it.
async fn launch(
    store: &Store,
    config: &Config,
    id: i64,
    accept_would_expire: bool,
) -> Result<(CampaignRow, Option<String>)> {
    let house = House {
        rules: Arc::new(app::rules(config)),
        limits: Arc::new(config.limits()),
        setup: app::setup(config),
    };
    let draft = store.read_here(|conn| campaigns::find(conn, id))?;
    let is_draft = draft.is_some_and(|campaign| {
        campaign.status == CampaignStatus::Draft && campaign.plan.trigger_type.is_none()
    });
    let said = match is_draft {
        true => outlook(&campaign::look_at_audience(store, &house, id, 0).await?),
        false => None,
    };
    let clearance = campaign::clear(store, &house, id, accept_would_expire).await?;
    let launched = store.write(move |tx| campaign::launch_cleared(tx, id, &house.setup, &clearance)).await?;
    Ok((launched, said))
}

/// What comes of it, in a sentence; `None` without anybody to send to, or without a sender.
fn outlook(seen: &Waterfall) -> Option<String> {
    let forecast = seen.forecast?;
    let date = |at: i64| {
        let at = jiff::Timestamp::from_millisecond(at).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
        Some(at.strftime("%-d %B %Y, %H:%M UTC").to_string())
    };
    let people = seen.would_send();
    let first = date(forecast.first?)?;
    let last = forecast.last.and_then(date).map_or_else(
        || "the last one later than can be said".to_owned(),
        |last| format!("the last one by {last}"),
    );
    let late = match seen.would_expire {
        0 => String::new(),
        n => format!(" For {n} of them it will be too late."),
    };
    Some(format!("{people} will get it: the first one from {first} on, {last}, as far as can be said.{late}"))
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
    use crate::domain::forecast::Forecast;

    #[test]
    fn a_launch_says_until_when_and_for_how_many_it_is_too_late() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let forecast = Forecast {
            first: Some(at("2026-11-24T14:00:00Z")),
            last: Some(at("2026-12-25T17:00:20Z")),
            would_expire: 0,
        };
        let seen = Waterfall {
            version: 1,
            through: 8_000,
            at: at("2026-11-23T17:00:00Z"),
            expires_at: None,
            people: 8_000,
            excluded: Vec::new(),
            exits: Vec::new(),
            now: campaign::Bucket { people: 8_000, sample: Vec::new() },
            parts: 8_000,
            parts_by_encoding: Vec::new(),
            cost: Default::default(),
            currency: app::rules(&Config::load(None, []).unwrap().config).prices.currency(),
            missing: Default::default(),
            zones: Vec::new(),
            forecast: Some(forecast),
            would_expire: 0,
            queue_ahead: 0,
            obstacles: Vec::new(),
        };
        assert_eq!(
            outlook(&seen).unwrap(),
            "8000 will get it: the first one from 24 November 2026, 14:00 UTC on, the last one by \
             25 December 2026, 17:00 UTC, as far as can be said."
        );
        let late = Waterfall { would_expire: 4_000, ..seen.clone() };
        assert!(outlook(&late).unwrap().ends_with("For 4000 of them it will be too late."));
        assert_eq!(outlook(&Waterfall { forecast: None, ..seen }), None);
    }
}
