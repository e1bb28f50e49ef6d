//! `ese campaign`: what the API does with a campaign, from the terminal.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::{actor, open};
use crate::app;
use crate::campaign;
use crate::config::Config;
use crate::store::campaigns::{self, CampaignRow};

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
    }
    Ok(())
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
