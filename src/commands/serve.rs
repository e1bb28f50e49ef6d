//! `ese serve`: the server, until SIGTERM or Ctrl-C.

use std::io::Write;

use anyhow::Result;
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::store::{StoreError, hold, one_time_links, operators};

pub(super) async fn run(loaded: Loaded) -> Result<()> {
    // Signals count from here on: one that comes during the start stops it after the start.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let public = loaded.config.server.public_base_url.clone();
    let path = loaded.config.store.path.display().to_string();
    let app = App::start(loaded, Clock::system()).await?;
    // Nobody has to listen: a closed standard output is no reason to end.
    let link = setup_link(&app).await?;
    if let Err(error) = greet(&app, public.as_str(), &path, link.as_ref()) {
        tracing::debug!(error = %error, "the greeting was not read");
    }
    tracing::info!(address = %app.address, "serving");
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: no new messages, waiting for answers in flight"),
        _ = interrupt.recv() => tracing::info!("interrupted: no new messages, waiting for answers in flight"),
    }
    app.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// The token of a new link that makes the first admin, while there is no operator.
pub(super) async fn setup_link(app: &App) -> Result<Option<SecretString>> {
    let made = app.store.write::<_, _, StoreError>(|tx| match operators::is_any(tx.conn())? {
        true => Ok(None),
        false => one_time_links::insert(tx, None).map(Some),
    });
    Ok(made.await?)
}

/// Where the pages are reached on this machine.
pub(super) fn local(app: &App) -> String {
    match app.address.ip().is_unspecified() {
        true => format!("http://localhost:{}", app.address.port()),
        false => format!("http://{}", app.address),
    }
}

fn greet(app: &App, public: &str, path: &str, link: Option<&SecretString>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let public = public.trim_end_matches('/');
    writeln!(out, "Event Stream Engine {} is serving.", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  Pages     {}/admin", local(app))?;
    writeln!(out, "  API       http://{}/api/v1", app.address)?;
    writeln!(out, "  Webhooks  {public}/webhooks/twilio/inbound  (set this in the Twilio console)")?;
    writeln!(out, "  Data      {path}")?;
    if let Some(token) = link.map(ExposeSecret::expose_secret) {
        writeln!(out, "  Nobody can log in yet. This link makes the first admin, once and within 24 hours:")?;
        writeln!(out, "            {}/admin/setup/{token}", local(app))?;
        if public != local(app) {
            writeln!(out, "            {public}/admin/setup/{token}")?;
        }
    }
    let setup = app.setup.get();
    if setup.is_simulated {
        writeln!(out, "  SIMULATOR: nothing is really sent.")?;
    }
    if app.store.read_here(hold::since)?.is_some() {
        writeln!(out, "  SAFE HOLD: restored from a copy. Nothing is sent until `ese release`.")?;
    }
    if let Some(problem) = &setup.problem {
        writeln!(out, "  Not ready to send: {problem}")?;
    }
    if app.uncertain > 0 {
        writeln!(
            out,
            "  {} messages were under way when the last run ended. Twilio is asked for them; they are not sent again blindly.",
            app.uncertain
        )?;
    }
    Ok(out.flush()?)
}
