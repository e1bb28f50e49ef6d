//! One file per subcommand of `ese`. Commands are second writers on the same file: they may run beside the
//! server, which notices within a second.

mod backup;
mod campaign;
mod check;
mod demo;
mod drill;
mod hours;
mod import;
mod key;
mod openapi;
mod operator;
mod progress;
mod proof;
mod replay;
mod report;
mod serve;
pub mod simulate;
mod verify;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::app;
use crate::clock::Clock;
use crate::config::{Config, Loaded, LogFormat};
use crate::store::{Store, settings};

/// WhatsApp and SMS campaigns over Twilio: one process, one SQLite file.
#[derive(Debug, Parser)]
#[command(name = "ese", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// Configuration file, over the built-in defaults and below the environment (ESE_SECTION__KEY).
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: API, webhooks, scheduler and dispatcher, until SIGTERM or Ctrl-C.
    Serve,
    Demo(demo::Args),
    Drill(drill::Args),
    Simulate(Box<simulate::Args>),
    /// Import people from a CSV, XLSX, JSON or NDJSON file.
    Import(import::Args),
    /// Launch, pause, resume or cancel a campaign, or print its report.
    #[command(subcommand)]
    Campaign(campaign::Action),
    /// Manage the people who may log in.
    #[command(subcommand)]
    Operator(operator::Action),
    /// Manage API keys.
    #[command(subcommand)]
    Key(key::Action),
    /// Look at configuration, file, account, senders and public address, and say what to mend.
    Check,
    /// Print the configuration in force, secrets redacted.
    Config,
    /// Print the quiet hours by country and US state with their sources, or those of one number.
    Hours(hours::Args),
    /// Print the description of the API, OpenAPI 3.1.
    Openapi,
    /// Try again webhooks whose effect failed; with --since, read all since then anew.
    Replay(replay::Args),
    /// Copy the data file while the server runs, and check the copy.
    Backup(backup::Args),
    /// Put a copy into the place of the data file, in safe hold: nothing is sent until `ese release`.
    Restore(backup::RestoreArgs),
    /// Let a restored file send again.
    Release(backup::ReleaseArgs),
    /// Print what a person agreed to and got, with evidence, for a complaint.
    Proof(proof::Args),
    /// Verify the consent chain, the counts and the file itself.
    Verify,
}

/// Runs one command.
///
/// # Errors
/// A sentence for the person at the terminal.
pub async fn run(cli: Cli) -> Result<()> {
    // What stands in for Twilio needs no configuration.
    match cli.command {
        Command::Simulate(args) => {
            log_to_stderr("warn", LogFormat::Text);
            simulate::run(*args).await
        }
        Command::Demo(args) => {
            log_to_stderr("error", LogFormat::Text);
            demo::run(args).await
        }
        Command::Drill(args) => {
            log_to_stderr("error", LogFormat::Text);
            drill::run(args).await
        }
        Command::Openapi => openapi::run(),
        command => {
            let loaded = Config::load(cli.config.as_deref(), std::env::vars())?;
            // A file that can't be read is told about by whoever needs it.
            let loaded = match settings::peek(&loaded.config.store.path, &loaded.config.store.key_file) {
                Ok(rows) => app::with_settings(&loaded, rows)?,
                Err(_) => loaded,
            };
            run_configured(command, loaded).await
        }
    }
}

async fn run_configured(command: Command, loaded: Loaded) -> Result<()> {
    let config = loaded.config.clone();
    // A command answers on standard output; its log is for what goes wrong.
    let level = if matches!(command, Command::Serve) { config.log.level.as_str() } else { "error" };
    log_to_stderr(level, config.log.format);
    match command {
        Command::Serve => serve::run(loaded).await,
        Command::Simulate(args) => simulate::run(*args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Drill(args) => drill::run(args).await,
        Command::Import(args) => import::run(config, args).await,
        Command::Campaign(action) => campaign::run(config, action).await,
        Command::Operator(action) => operator::run(config, action).await,
        Command::Key(action) => key::run(config, action).await,
        Command::Check => check::run(config).await,
        Command::Config => print_config(&loaded),
        Command::Hours(args) => hours::run(&config, &args),
        Command::Replay(args) => replay::run(config, args).await,
        Command::Backup(args) => backup::run(config, args).await,
        Command::Restore(args) => backup::restore(config, args).await,
        Command::Release(args) => backup::release(config, args).await,
        Command::Proof(args) => proof::run(config, args).await,
        Command::Openapi => openapi::run(),
        Command::Verify => verify::run(config).await,
    }
}

fn print_config(loaded: &Loaded) -> Result<()> {
    Ok(write!(std::io::stdout(), "{}", loaded.describe())?)
}

fn open(config: &Config) -> Result<Store> {
    app::open_store(config, Clock::system())
}

/// Who acts, as the ledger and the events name them.
fn actor() -> String {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    format!("command:{}", user.unwrap_or_else(|_| "unknown".to_owned()))
}

/// Logs go to standard error; standard output is for answers.
fn log_to_stderr(level: &str, format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    // The HTTP library tells of its threads at this level; who wants that names it.
    let filter = EnvFilter::try_new(format!("actix_server=warn,{level}"))
        .unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn"));
    let is_coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A line that can't be written (the log lies on the disk that is full, or nobody reads the pipe) is lost:
    // telling of it on standard error would panic in whoever has something to say.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_coloured)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    // A process that set its own subscriber (a test) keeps it.
    let _ = match format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.with_target(false).try_init(),
    };
}
