//! `ese backup`, `ese restore` and `ese release`: a copy of the data file while the server runs, the way back, and the
//! word that lets a restored file send again.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::{actor, open, progress};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::backup::{self, BackupError};
use crate::store::hold::{self, Release, Terms};
use crate::store::{StoreError, StorePaths};

/// Messages cancelled in one write.
const CHUNK: usize = 500;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the copy goes: one file, readable by this user alone.
    file: PathBuf,
    /// Replace a file that is there already.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(config: Config, args: Args) -> Result<()> {
    let store = open(&config)?;
    let shown = progress::bar("Copy", 100);
    let told =
        |done: u64, total: u64| shown.update(done * 100 / total.max(1), &format!("{done} of {total} pages"));
    let made = backup::back_up(&store, &args.file, args.force, told).await;
    shown.finish();
    let bytes = match made {
        Err(BackupError::Exists(path)) => bail!("{} is there already; --force replaces it", path.display()),
        made => made?,
    };
    store.close().await?;
    writeln!(
        std::io::stdout(),
        "{}: {bytes} bytes, whole.\nThe key {} is not in it: keep a copy of the key elsewhere. Without it the file can't be restored.",
        args.file.display(),
        config.store.key_file.display()
    )?;
    Ok(())
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// A copy that `ese backup` made.
    file: PathBuf,
}

pub(super) async fn restore(config: Config, args: RestoreArgs) -> Result<()> {
    let paths = StorePaths { path: config.store.path.clone(), key_file: config.store.key_file.clone() };
    let shown = progress::bar("Restore", 100);
    let told =
        |done: u64, total: u64| shown.update(done * 100 / total.max(1), &format!("{done} of {total} pages"));
    let restored = backup::restore(&args.file, &paths, Clock::system(), &actor(), told).await;
    shown.finish();
    let restored = restored?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} is restored, in safe hold: nothing is sent.", paths.path.display())?;
    if let Some(aside) = restored.set_aside {
        writeln!(out, "The file that was there is {} now.", aside.display())?;
    }
    writeln!(
        out,
        "Start the server: it takes webhooks and fetches what people wrote since the copy was made, their STOPs among it. Campaigns that ran are paused. Then `ese release`."
    )?;
    Ok(())
}

#[derive(Debug, clap::Args)]
pub(super) struct ReleaseArgs {
    /// Send the single messages that waited when the copy was made; some may have been sent already.
    #[arg(long, conflicts_with = "cancel_waiting")]
    send_waiting: bool,
    /// Cancel them.
    #[arg(long)]
    cancel_waiting: bool,
    /// Don't wait until the server has asked Twilio for what people wrote since the copy was made.
    #[arg(long)]
    without_catch_up: bool,
}

pub(super) async fn release(config: Config, args: ReleaseArgs) -> Result<()> {
    let store = open(&config)?;
    let (terms, by) =
        (Terms { without_catch_up: args.without_catch_up, sends_waiting: args.send_waiting }, actor());
    let mut released = {
        let by = by.clone();
        store.write::<_, _, StoreError>(move |tx| hold::release(tx, terms, &by)).await?
    };
    let mut cancelled = 0;
    if let (Release::Waiting(_), true) = (released, args.cancel_waiting) {
        loop {
            let n = store.write(|tx| hold::cancel_waiting(tx, CHUNK)).await?;
            cancelled += n;
            if n < CHUNK {
                break;
            }
        }
        released = store.write::<_, _, StoreError>(move |tx| hold::release(tx, terms, &by)).await?;
    }
    let said = match released {
        Release::Released => format!(
            "Released: messages go out again. {cancelled} that waited were cancelled. Paused campaigns stay so until they are resumed."
        ),
        Release::NotHeld => "Nothing is held.".to_owned(),
        Release::NotCaughtUp => bail!(
            "what people wrote since the copy was made was not fetched yet, so their STOPs may be missing. Run the server until it has asked Twilio (GET /readyz tells), or say --without-catch-up"
        ),
        Release::Waiting(n) => bail!(
            "{n} single messages wait from before the copy was made, and may have been sent since. Say --send-waiting or --cancel-waiting"
        ),
    };
    writeln!(std::io::stdout(), "{said}")?;
    Ok(())
}
