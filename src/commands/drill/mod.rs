//! `ese drill`: the whole product as real processes, killed again and again while everything goes wrong,
//! and in the end both sides compared. What it shows in minutes, an operator would learn in years.

mod campaigns;
mod cast;
mod children;
mod client;
mod compare;
mod crowd;
mod dice;
mod gather;
mod kills;
mod record;
mod report;
mod settle;
mod stage;
mod weather;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::progress;
use cast::PLANS;
use children::{Pace, Place};
use client::{Api, Control};
use kills::Rhythm;
use record::{Meant, Script};
use report::Outcome;
use stage::Stage;

/// Seconds that the server lives between two kills, on average.
const LIFE: f64 = 2.4;
/// Seconds that a kill and a start cost beside.
const START: f64 = 0.6;
/// How much of the time the sending may fill at full speed: faults slow it down.
const FILLED: f64 = 0.5;
/// Slowest and fastest sending, in messages a second.
const RATES: (f64, f64) = (20.0, 400.0);

/// Kill the server again and again in the middle of campaigns, and compare in the end what it wrote down
/// with what a stand-in for Twilio saw: nothing is really sent.
///
/// The drill writes its own configuration; --config and ESE_… variables are not read.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How often the server is killed.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kills: u32,
    /// How many people are written to, each of them several times.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(50..=20_000))]
    people: u32,
    /// Decides who is who, what goes wrong and when the kills come. Another one each time if left out.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where its files go; a temporary folder if left out. Kept if a check fails.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write a report in Markdown.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Spread the kills over so many minutes.
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
}

/// How large the drill is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) people: u32,
    pub(super) kills: u32,
    pub(super) seed: u64,
    /// Seconds between a start and the next kill.
    pub(super) life: f64,
}

impl Scale {
    fn of(args: &Args) -> Result<Scale> {
        let life = match args.minutes {
            None => LIFE,
            Some(minutes) if minutes > 0.0 && minutes <= 24.0 * 60.0 => {
                (minutes * 60.0 / f64::from(args.kills) - START).max(0.2)
            }
            Some(_) => bail!("--minutes: more than 0, and a day at most"),
        };
        let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        Ok(Scale { people: args.people, kills: args.kills, seed, life })
    }

    /// So fast that the sending lasts as long as the kills.
    fn pace(self, people: &[cast::Person]) -> Pace {
        let seconds = f64::from(self.kills) * self.life * FILLED;
        let messages = |channel: &str| -> f64 {
            let plans = PLANS.iter().filter(|plan| plan.channel == channel);
            let n: usize =
                plans.map(|plan| people.iter().filter(|person| plan.may_reach(person)).count()).sum();
            (n as f64 / seconds).clamp(RATES.0, RATES.1)
        };
        Pace { sms: messages("sms"), whatsapp: messages("whatsapp") }
    }
}

pub(super) async fn run(args: Args) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let scale = Scale::of(&args)?;
    let temporary = match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("{} can't be made", dir.display()))?;
            if dir.join("ese.db").exists() {
                bail!("{} holds a data file already; a drill needs a folder of its own", dir.display());
            }
            None
        }
        None => Some(tempfile::Builder::new().prefix("ese-drill-").tempdir()?),
    };
    let dir = args.dir.clone().or_else(|| temporary.as_ref().map(|dir| dir.path().to_owned()));
    let dir = dir.context("there is a folder, given or temporary")?;
    let dir = std::path::absolute(dir)?;
    let outcome = tokio::select! {
        outcome = play(&dir, scale) => outcome,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    };
    let told = outcome.and_then(|outcome| tell(&outcome, args.report.as_deref()));
    if told.is_err() {
        // What went wrong can be looked at.
        let kept = temporary.map_or_else(|| dir.clone(), tempfile::TempDir::keep);
        say(&format!("\nThe files of this drill are in {}\n", kept.display()))?;
    }
    told
}

fn tell(outcome: &Outcome, path: Option<&Path>) -> Result<()> {
    say(&format!("\n{}", outcome.lines()))?;
    if let Some(path) = path {
        std::fs::write(path, outcome.markdown())
            .with_context(|| format!("{} can't be written", path.display()))?;
        say(&format!("\nReport: {}\n", path.display()))?;
    }
    let failed = outcome.checks.iter().filter(|check| !check.passed()).count();
    if failed > 0 {
        bail!(
            "{failed} of {} checks failed; try again with --seed {}",
            outcome.checks.len(),
            outcome.scale.seed
        );
    }
    say(&format!("\nAll {} checks hold.\n", outcome.checks.len()))
}

/// The whole drill, to the comparison. Whatever way it ends, no process of it is left.
async fn play(dir: &Path, scale: Scale) -> Result<Outcome> {
    say(&format!(
        "Drill: {} kills, {} people, seed {}. SIMULATOR: nothing is really sent.\n\n",
        scale.kills, scale.people, scale.seed
    ))?;
    let people = cast::people(scale.people as usize, scale.seed)?;
    let (place, simulator) = Place::set_up(dir, scale.seed, scale.pace(&people))?;
    let api = Api::new(&place.server_url(), &campaigns::key(&place).await?)?;
    let control = Control::new(place.simulator_url())?;
    let stage = Stage::new(place, api, control, people, scale.seed);
    stage.spawn()?;
    stage.ready().await?;
    campaigns::topic(&stage.api).await?;
    campaigns::import(&stage.place, &stage.people).await?;
    let meant = campaigns::make(&stage.api, &stage.people).await?;
    say(&format!("1. {} people imported, {} campaigns made\n", stage.people.len(), meant.len()))?;

    say("2. Campaigns run, everything goes wrong, and the server is killed\n")?;
    let began = Instant::now();
    act(&stage, scale, &meant).await?;
    let killing = began.elapsed().as_secs_f64();
    say("3. Nothing goes wrong any more: everything comes to its end\n")?;
    let ids: Vec<i64> = meant.iter().map(|meant| meant.id).collect();
    settle::settle(&stage, &ids).await?;
    let settling = began.elapsed().as_secs_f64() - killing;
    stage.stop().await?;

    say("4. Both sides are compared\n")?;
    let twilio = gather::twilio(&stage.control).await?;
    drop(simulator);
    let log = std::mem::take(&mut *stage.log());
    let mut script = Script {
        people: stage.people.clone(),
        campaigns: meant,
        singles: log.singles.clone(),
        words: log.words.clone(),
        starts: log.starts.clone(),
        kills: log.kills.clone(),
        late_lists: log.late_lists.clone(),
    };
    gather::answers(&mut script, &twilio);
    let ours = gather::ours(&stage.place, &script).await?;
    let checks = compare::compare(&script, &twilio, &ours);
    Ok(Outcome { scale, script, twilio, ours, checks, log, seconds: (killing, settling) })
}

/// The kills, and everybody who acts meanwhile. Returns when the last start is ready and everybody else
/// has come to an end.
async fn act(stage: &Stage, scale: Scale, meant: &[Meant]) -> Result<()> {
    let ids: Vec<i64> = meant.iter().map(|meant| meant.id).collect();
    let rhythm =
        Rhythm { kills: scale.kills, life: scale.life, words: (stage.people.len() / 150).clamp(2, 12) };
    let seconds = f64::from(scale.kills) * (scale.life + START);
    let total: usize = meant.iter().map(|meant| meant.may_reach.len()).sum();
    // At least two rounds of all weathers, if the drill is long enough for it.
    let weather = (seconds / 20.0).clamp(0.5, 4.0);
    tokio::try_join!(
        kills::run(stage, rhythm),
        weather::change(stage, weather),
        crowd::words(stage, seconds / (stage.people.len() as f64 * 0.25)),
        crowd::singles(stage, seconds / (stage.people.len() as f64 * 0.1)),
        crowd::operate(stage, &ids, 1.0),
        show(stage, scale, total),
    )?;
    Ok(())
}

/// Shows how far it is.
async fn show(stage: &Stage, scale: Scale, total: usize) -> Result<()> {
    let bar = progress::bar("drill", u64::from(scale.kills));
    while !stage.is_over() {
        let kills = stage.log().kills.len() as u64;
        let (out, _) = stage.control.progress().await?;
        bar.update(kills, &format!("kill {kills} of {}, {out} of about {total} out", scale.kills));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    bar.finish();
    Ok(())
}

/// Writes to standard output at once, so that a pipe sees it too.
fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
