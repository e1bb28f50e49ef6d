//! Puts the process together: opens the store, builds the client, starts HTTP and loops, and stops them in
//! order. The loops are in `background`, what the configuration means for each part in `configured`.

mod background;
mod configured;

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App as HttpApp, HttpServer};
use anyhow::{Context, Result, bail};
use secrecy::ExposeSecret;
use tokio::task::JoinHandle;

use crate::campaign::{self, Setup};
use crate::clock::Clock;
use crate::config::{Config, Loaded};
use crate::delivery;
use crate::import;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::stand_in::StandIn;
use crate::store::{Serving, Store, StoreError, demo, senders, settings};
use crate::ticker::{self, StopHandle};
use crate::twilio::client::is_loopback;
use crate::web::admin::live::Watchers;
use crate::web::streams::Streams;
use crate::web::{self, State};

pub use configured::{
    client, delivery_settings, open_store, publish_settings, rules, setup, state, synchronize_senders,
    take_up_settings, with_settings,
};

/// Threads that serve HTTP.
const HTTP_WORKERS: usize = 2;
/// A stop that takes longer than this ends anyway: what is not written is found at the next start.
const STOP_LIMIT: Duration = Duration::from_secs(9);

/// A process at work.
pub struct App {
    /// The data file.
    pub store: Store,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether anything can be sent.
    pub setup: Live<Setup>,
    /// Attempts that the last end of the process left in the dark.
    pub uncertain: usize,
    server: ServerHandle,
    streams: Streams,
    stand_in: StandIn,
    watchers: Watchers,
    stop: StopHandle,
    tasks: Vec<JoinHandle<()>>,
    serving: Serving,
}

impl App {
    /// Starts everything. Returns once HTTP is listening.
    ///
    /// # Errors
    /// A file, a port or a setting that can't be used, and what to do.
    pub async fn start(loaded: Loaded, clock: Clock) -> Result<App> {
        let listen = loaded.config.server.listen.clone();
        let socket = std::net::TcpListener::bind(&listen).with_context(|| {
            format!(
                "can't listen on {listen}. Is another program on that port? Set [server] listen to a free one"
            )
        })?;
        let address = socket.local_addr()?;
        let mut loaded = loaded;
        let mut public = loaded.config.server.public_base_url.clone();
        if public.port() == Some(0) && public.set_port(Some(address.port())).is_ok() {
            // Port 0 is whichever is free: the public address follows it.
            loaded = loaded.with_found("server", "public_base_url", public.as_str())?;
        }
        let store = open_store(&loaded.config, clock)?;
        // Before anything is changed: what another server has under way would look like the trace of a crash.
        let serving = store.serve()?;
        loaded = with_settings(&loaded, store.read(settings::all).await?.opened(store.key()))?;
        refuse_real_account(&store, &loaded.config).await?;
        synchronize_senders(&store, &loaded.config).await?;
        let uncertain = delivery::rescue_pending(&store).await?;
        import::sweep_spool(&store).await?;
        campaign::close_removed_senders(&store).await?;
        try_again(&store).await?;
        let setup = setup(&loaded.config);
        let (state, delivery) = state(store.clone(), loaded, setup, Metrics::default())?;
        let (stop, stopped) = ticker::stop();
        stand_in(&state).await;
        let mut tasks = background::background(&state, delivery, &stopped)?;
        let served = state.clone();
        let server = HttpServer::new(move || HttpApp::new().configure(web::configure(served.clone())))
            .workers(HTTP_WORKERS)
            .shutdown_timeout(3)
            .disable_signals()
            .listen(socket)?
            .run();
        let handle = server.handle();
        tasks.push(tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(error = %error, "the HTTP server ended");
            }
        }));
        let (streams, watchers) = (state.streams.clone(), state.watchers.clone());
        let (setup, stand_in) = (state.setup.clone(), state.stand_in.clone());
        Ok(App {
            store,
            address,
            setup,
            uncertain,
            server: handle,
            streams,
            watchers,
            stand_in,
            stop,
            tasks,
            serving,
        })
    }

    /// Stops in order: no new claims and no new requests, answers in flight written down, loops ended.
    pub async fn stop(self) {
        self.stop.pull();
        self.streams.close();
        self.watchers.close();
        let ended = async {
            self.server.stop(true).await;
            for task in self.tasks {
                let _ = task.await;
            }
            self.stand_in.stop().await;
        };
        if tokio::time::timeout(STOP_LIMIT, ended).await.is_err() {
            tracing::warn!("the process ends with requests in flight; the next start looks after them");
            // They go on until the process is gone, and so does its hold on the file: the system ends both.
            std::mem::forget(self.serving);
            let _ = self.store.close().await;
            return;
        }
        if let Err(error) = self.store.close().await {
            tracing::warn!(error = %error, "the log stays beside the data file");
        }
        drop(self.serving);
    }
}

/// Demo data and a real account never meet: the file or the environment may name one since the data was loaded.
async fn refuse_real_account(store: &Store, config: &Config) -> Result<()> {
    let twilio = &config.twilio;
    let is_real = !twilio.account_sid.is_empty() && !is_loopback(&twilio.api_base);
    if is_real && store.read(demo::loaded_at).await?.is_some() {
        bail!(
            "{} holds demo data, and [twilio] names a real account. Give [store] path another file, or take the account out, start, and remove the demo data under Settings",
            config.store.path.display()
        );
    }
    Ok(())
}

/// Starts the simulator of this process where the settings say so. Without it nothing is sent, and the rest works.
async fn stand_in(state: &State) {
    let config = state.config.get();
    if !config.twilio.simulator {
        return;
    }
    let base = config.server.public_base_url.as_str().trim_end_matches('/').to_owned();
    let (port, token) = (config.twilio.api_base.port().unwrap_or_default(), &config.twilio.auth_token);
    let inbound = format!("{base}/webhooks/twilio/inbound");
    if let Err(error) = state.stand_in.start(port, token.expose_secret(), &inbound).await {
        tracing::error!(error = %error, "the simulator of this process did not start");
    }
}

/// A start counts as mended, as a resume does: what stopped the account or a sender is tried again, and
/// stops it again at the first message if it is not. Campaigns stay paused until somebody resumes them.
async fn try_again(store: &Store) -> Result<()> {
    let now = store.clock().now();
    let is_paused = store
        .read(move |conn| {
            let sender = senders::list(conn)?.iter().any(|sender| sender.is_paused(now));
            Ok::<_, StoreError>(sender || senders::account_pause(conn, now)?.is_some())
        })
        .await?;
    if is_paused {
        store.write::<_, _, StoreError>(|tx| senders::resume_all(tx, "restart")).await?;
    }
    Ok(())
}
