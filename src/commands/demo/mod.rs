//! `ese demo`: the whole product against the simulator, from a spreadsheet to a report, in one process. What
//! it does, an operator does with his own account: only addresses and credentials differ.

mod again;
mod campaign;
mod story;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{SignalKind, signal};

use super::import::{finish, queue, tell};
use super::{report, serve};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, Loaded};
use crate::import::Options as ImportOptions;
use crate::simulator::{ErrorFault, Faults, Options as SimulatorOptions, Simulator};
use crate::store::api_keys::{self, Scope};
use crate::store::{Store, StoreError};

/// The shipped list: 1,000 made-up people with fictional numbers, as a shop's sheet looks.
const PEOPLE: &str = include_str!("people.csv");
/// Where the demo listens if the port is free.
const USUAL_PORT: u16 = 8080;
/// Codes and how many in a hundred meet them. None of them is tried again later: a demo ends.
const FINAL_ERRORS: [(u32, f64); 2] = [(30005, 2.0), (30007, 1.0)];
/// The number that the demo sends from: fictional, like all its numbers.
pub(super) const SENDER: &str = "+18885550100";

/// Watch a campaign run from spreadsheet to report, against a simulator: nothing is really sent.
///
/// The demo writes its own configuration; --config and ESE_… variables are not read.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Rehearse your own sheet instead of the shipped list of 1,000 people.
    file: Option<PathBuf>,
    /// End after the report, with exit code 0 only if everything added up.
    #[arg(long)]
    exit: bool,
    /// Where the demo's files go; a temporary folder if left out.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Country of numbers without one in your sheet.
    #[arg(long, value_name = "COUNTRY", default_value = "US")]
    region: String,
}

pub(super) async fn run(args: Args) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let temporary = match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("{} can't be made", dir.display()))?;
            None
        }
        None => Some(tempfile::Builder::new().prefix("ese-demo-").tempdir()?),
    };
    let dir = args.dir.clone().or_else(|| temporary.as_ref().map(|dir| dir.path().to_owned()));
    let dir = dir.context("there is a folder, given or temporary")?;
    let story = tokio::select! {
        outcome = tell_story(&args, &dir) => outcome?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    };
    if args.exit {
        story.app.stop().await;
        story.simulator.stop().await;
        if !story.problems.is_empty() {
            bail!("the numbers do not add up: {}", story.problems.join("; "));
        }
        return Ok(());
    }
    let link = serve::setup_link(&story.app).await?;
    story.say_where(&dir, link.as_ref())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    story.app.stop().await;
    story.simulator.stop().await;
    Ok(())
}

/// What is left when the campaign is over: everything still runs.
struct Story {
    app: App,
    simulator: Simulator,
    key: String,
    example: Option<String>,
    problems: Vec<String>,
}

/// From the beginning, or from where a demo in this folder was cut short.
async fn tell_story(args: &Args, dir: &Path) -> Result<Story> {
    if again::is_demo(dir) { again::play(args, dir).await } else { play(args, dir).await }
}

async fn play(args: &Args, dir: &Path) -> Result<Story> {
    say("Event Stream Engine, demo. SIMULATOR: nothing is really sent.\n\n")?;
    let (simulator, loaded) = start_simulator(dir).await?;
    let max_bytes = loaded.config.import.max_bytes;
    let app = App::start(loaded, Clock::system()).await?;
    simulator.set_inbound_url(&format!("http://{}/webhooks/twilio/inbound", app.address));
    let key = add_key(&app.store).await?;
    say(&format!(
        "1. Server on http://{}, a stand-in for Twilio on {}\n\n",
        app.address,
        simulator.base_url()
    ))?;

    let options = serde_json::json!({"default_region": args.region});
    let options = ImportOptions::parse(&options).map_err(|errors| {
        anyhow::anyhow!("{}", errors.first().map(ToString::to_string).unwrap_or_default())
    })?;
    let import_id = match &args.file {
        Some(file) => {
            let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            let source =
                std::fs::File::open(file).with_context(|| format!("{} can't be read", file.display()))?;
            queue(&app.store, source, &name, options, max_bytes).await?
        }
        None => queue(&app.store, PEOPLE.as_bytes(), "people.csv", options, max_bytes).await?,
    };
    say("2. Import of people\n\n")?;
    tell(&finish(&app.store, import_id).await?)?;

    say("\n3. A segment, a template, a campaign\n\n")?;
    let campaign_id = campaign::prepare(&app.store, args.file.is_none()).await?;
    campaign::launch(&app, campaign_id).await?;
    let replies = campaign::watch(&app, &simulator, campaign_id).await?;

    say("\n4. What became of everybody\n\n")?;
    say(&app.store.read_here(|conn| report::text(conn, campaign_id))?)?;
    if let Some(user_id) = replies.stopped {
        say("\n5. One person's story\n\n")?;
        say(&app.store.read_here(|conn| report::person(conn, user_id))?)?;
    }
    let problems = story::check(&app.store, &simulator, import_id, campaign_id)?;
    for problem in &problems {
        say(&format!("DOES NOT ADD UP: {problem}\n"))?;
    }
    if problems.is_empty() {
        say(
            "\nEverything adds up: every count equals a recount, nobody got it twice, the consent chain is whole.\n",
        )?;
    }
    Ok(Story { app, simulator, key, example: replies.example, problems })
}

/// Starts the stand-in on `port`, 0 for any.
async fn simulator(port: u16) -> Result<(Simulator, SimulatorOptions)> {
    let options = SimulatorOptions {
        listen: std::net::SocketAddr::from(([127, 0, 0, 1], port)),
        latency_ms: 15,
        callback_delay_ms: 250,
        fail_percent: 0.0,
        seed: 7,
        faults: Faults { errors: FINAL_ERRORS.map(fault).to_vec(), ..Faults::default() },
        ..SimulatorOptions::default()
    };
    let simulator = Simulator::start(options.clone()).await.context("the simulator did not start")?;
    Ok((simulator, options))
}

async fn start_simulator(dir: &Path) -> Result<(Simulator, Loaded)> {
    let (simulator, options) = simulator(0).await?;
    let (account_sid, auth_token) = (options.account_sid, options.auth_token);
    let port = free_port()?;
    let address = |port: u16| format!("127.0.0.1:{port}");
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let own = dir.join("config.toml");
    let text = format!(
        "# Written by `ese demo`: the same file serves a real account, once addresses and credentials are its own.\n\
         [server]\nlisten = {listen:?}\npublic_base_url = \"http://{listen}\"\n\n\
         [store]\npath = {db:?}\nkey_file = {key:?}\n\n\
         [twilio]\naccount_sid = {account_sid:?}\nauth_token = {auth_token:?}\n\
         api_base = {base:?}\ncontent_base = {base:?}\n\n\
         [[senders]]\naddress = {SENDER:?}\nkind = \"toll_free\"\nrate_per_second = 90.0\n",
        listen = address(port),
        db = path("ese.db"),
        key = path("ese.key"),
        base = simulator.base_url(),
    );
    std::fs::write(&own, text).with_context(|| format!("{} can't be written", own.display()))?;
    let loaded = Config::load(Some(&own), [])?;
    Ok((simulator, loaded))
}

fn fault((code, percent): (u32, f64)) -> ErrorFault {
    ErrorFault { code, percent, to: None, count: None }
}

/// The usual port, or a free one when another program has it. The file that the demo writes names it, so that
/// `ese serve` finds the same place later.
fn free_port() -> Result<u16> {
    if std::net::TcpListener::bind(("127.0.0.1", USUAL_PORT)).is_ok() {
        return Ok(USUAL_PORT);
    }
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

async fn add_key(store: &Store) -> Result<String> {
    let (_, secret) = store
        .write::<_, _, StoreError>(|tx| {
            let scopes = [Scope::Read, Scope::Write, Scope::Send, Scope::Admin];
            api_keys::insert(tx, "demo", &scopes, None, "command:demo")
        })
        .await?;
    Ok(secret.expose_secret().to_owned())
}

/// Writes to standard output at once, so that a pipe sees it too.
fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

impl Story {
    fn say_where(&self, dir: &Path, link: Option<&SecretString>) -> Result<()> {
        let base = serve::local(&self.app);
        let pages = match link {
            Some(token) => format!("{base}/admin/setup/{}   make your login, once", token.expose_secret()),
            None => format!("{base}/admin"),
        };
        let phone = self
            .example
            .as_ref()
            .map_or_else(|| self.simulator.base_url(), |number| self.simulator.phone_url(number));
        say(&format!(
            "\nStill serving, until Ctrl-C:\n  \
             Pages      {pages}\n  \
             API        {base}/api/v1\n  \
             Phones     {phone}   read what a number received, answer as that person\n  \
             Files      {}\n  \
             API key    {}\n\nTry:  curl -H 'Authorization: Bearer {}' {base}/api/v1/campaigns\n",
            dir.display(),
            self.key,
            self.key
        ))
    }
}
