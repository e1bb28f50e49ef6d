//! A demo that was cut short, taken up where it stood: what a crash leaves, and what becomes of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Args, Story, add_key, say, simulator};
use crate::app::App;
use crate::clock::Clock;
use crate::commands::{progress, report};
use crate::config::Config;
use crate::domain::campaign::CampaignStatus;
use crate::store::{Store, StoreError, campaigns, ledger, verify};

/// How long the last receipts may take.
const LAST_RECEIPTS: Duration = Duration::from_secs(3);

/// Whether a demo was played in this folder.
pub(super) fn is_demo(dir: &Path) -> bool {
    dir.join("ese.db").exists() && dir.join("config.toml").exists()
}

/// Goes on with the campaign of the folder. The stand-in for Twilio is a new one: it knows nothing of what was
/// sent before, so receipts that were on their way are lost, as they can be in life.
pub(super) async fn play(args: &Args, dir: &Path) -> Result<Story> {
    if args.file.is_some() {
        bail!("{} holds a demo already; choose another --dir for your own sheet", dir.display());
    }
    say("Event Stream Engine, demo. SIMULATOR: nothing is really sent.\n\n")?;
    // The simulator of this run has never seen what the last one took: its list would call everything lost.
    let policy = ("ESE_DELIVERY__UNCERTAIN_POLICY".to_owned(), "hold".to_owned());
    let loaded = Config::load(Some(&dir.join("config.toml")), [policy])?;
    let port =
        loaded.config.twilio.api_base.port().context("the demo's file names no port of a simulator")?;
    let (simulator, _) = simulator(port).await?;
    let app = App::start(loaded, Clock::system()).await?;
    simulator.set_inbound_url(&format!("http://{}/webhooks/twilio/inbound", app.address));
    let key = add_key(&app.store).await?;
    say(&format!("1. {} holds a demo: going on with it\n\n", dir.display()))?;
    let newest =
        app.store.read(|conn| Ok::<_, StoreError>(campaigns::list(conn, None, i64::MAX, 1)?.pop())).await?;
    let Some(campaign) = newest else {
        bail!("it was cut short before its campaign; choose another --dir");
    };
    say(&format!(
        "   {} messages were under way when it ended. The simulator that could tell whether they arrived ended with\n   \
         it, so they are held as uncertain and not sent again.\n",
        app.uncertain
    ))?;
    let uncertain = finish(&app.store, campaign.id).await?;
    tokio::time::sleep(LAST_RECEIPTS).await;
    simulator.wait_until_quiet().await;

    say("\n2. What became of everybody\n\n")?;
    say(&app.store.read_here(|conn| report::text(conn, campaign.id))?)?;
    if uncertain > 0 {
        say(&format!("\n   Listed by: GET /api/v1/messages?campaign_id={}&status=uncertain\n", campaign.id))?;
    }
    let mut problems = check(&app.store)?;
    if let Some((number, n)) = simulator.counts().iter().find(|(_, n)| **n > 1) {
        problems.push(format!("{number} got it {n} times"));
    }
    for problem in &problems {
        say(&format!("DOES NOT ADD UP: {problem}\n"))?;
    }
    if problems.is_empty() {
        say("\nEverything adds up: every count equals a recount, the consent chain is whole.\n")?;
    }
    let example = simulator.messages().first().map(|message| message.to.clone());
    Ok(Story { app, simulator, key, example, problems })
}

/// Shows progress until nothing but uncertain messages is left. Returns how many those are.
async fn finish(store: &Store, id: i64) -> Result<i64> {
    let bar = progress::bar("campaign", 1_000);
    loop {
        let (row, counts) = store
            .read(move |conn| Ok::<_, StoreError>((campaigns::find(conn, id)?, campaigns::counts(conn, id)?)))
            .await?;
        let row = row.context("the campaign is gone")?;
        let sum = |states: &[&str]| -> i64 {
            counts.iter().filter(|count| states.contains(&count.status.as_str())).map(|count| count.n).sum()
        };
        let total: i64 = counts.iter().map(|count| count.n).sum();
        let waiting = sum(&["queued", "sending"]);
        bar.update(
            u64::try_from((total - waiting) * 1_000 / total.max(1)).unwrap_or(0),
            &format!("{waiting} to go, {} uncertain", sum(&["uncertain"])),
        );
        if row.status == CampaignStatus::Paused {
            bail!("the campaign was paused: {}", row.pause_reason.unwrap_or_default());
        }
        if waiting == 0 && row.status != CampaignStatus::Launching {
            bar.finish();
            return Ok(sum(&["uncertain"]));
        }
        tokio::time::sleep(progress::STEP).await;
    }
}

fn check(store: &Store) -> Result<Vec<String>> {
    let key = store.key().clone();
    Ok(store.read_here(|conn| {
        let mut problems = verify::count_problems(conn)?;
        problems.extend(ledger::verify(conn, &key)?.problems);
        Ok::<_, StoreError>(problems)
    })?)
}
