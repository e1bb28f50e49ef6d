//! What the interleavings run on: store with its writer thread, webhooks and API over HTTP, a dispatcher that
//! never rests, and a provider that notes when requests come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use actix_web::dev::{ServerHandle, Service};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{App, HttpServer};
use event_stream_engine::app;
use event_stream_engine::campaign::Setup;
use event_stream_engine::clock::Clock;
use event_stream_engine::config::Config;
use event_stream_engine::delivery::{Dispatcher, Outbox, SenderLimits, Settings, UncertainRules};
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::domain::quiet_hours::Presets;
use event_stream_engine::domain::rules::Rules;
use event_stream_engine::live::Live;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::store::api_keys::{self, Scope};
use event_stream_engine::store::templates::{self, TemplateText};
use event_stream_engine::store::{Store, StoreError, StorePaths, ledger, senders, verify};
use event_stream_engine::twilio::client::{Client, Credentials};
use event_stream_engine::twilio::signature::sign;
use event_stream_engine::web;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::dice::Dice;
use super::provider::Provider;
use crate::support::{NOON, SENDER};

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const TOKEN: &str = "token";
/// Permits a second: never in the way, and asked all the same.
const RATE: f64 = 5_000.0;
/// Set by the server when an answer leaves the handler, in nanoseconds since [`EPOCH`].
const ANSWERED: &str = "x-answered";

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// An answer, and the moment at which the server had it.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) at: Instant,
}

pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) setup: Setup,
    pub(super) provider: Provider,
    pub(super) template_id: i64,
    pub(super) presets: Arc<Presets>,
    outbox: Arc<Outbox>,
    base_url: String,
    http: reqwest::Client,
    key: String,
    server: ServerHandle,
    stop: Arc<AtomicBool>,
    driver: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// Starts everything; ids of messages begin above `first_message`. The dispatcher works on threads of its
    /// own: those are held up.
    pub(super) async fn start(first_message: i64, seed: u64, threads: &Handle) -> Bench {
        LazyLock::force(&EPOCH);
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOON.parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
        let (template_id, key) = store
            .write::<_, _, StoreError>(move |tx| {
                senders::synchronize(tx, &[(SENDER.to_owned(), "long_code".to_owned())])?;
                let first = "INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', ?1)";
                tx.conn().execute(first, [first_message])?;
                let template = templates::insert(tx, "text", &TemplateText::plain(Channel::Sms, "Hi"))?;
                let (_, key) = api_keys::insert(tx, "test", &Scope::ALL, None, "test")?;
                Ok((template, key.expose_secret().to_owned()))
            })
            .await
            .unwrap();
        let (server, base_url) = serve(&store);
        let provider = Provider::start(seed).await;
        let dispatcher = dispatcher(&store, &provider, &base_url);
        let (outbox, stop) = (dispatcher.outbox(), Arc::new(AtomicBool::new(false)));
        let driver = threads.spawn(drive(dispatcher, clock, Arc::clone(&stop), Dice::new(seed)));
        Bench {
            store,
            setup: Setup { problem: None, is_simulated: true },
            provider,
            template_id,
            presets: house_rules().presets,
            outbox,
            base_url,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            key,
            server,
            stop,
            driver,
            _dir: dir,
        }
    }

    /// A text message from `phone`, by the webhook.
    pub(super) async fn inbound(&self, phone: &str, text: &str, sid: &str) -> Answered {
        let url = format!("{}/webhooks/twilio/inbound", self.base_url);
        let pairs: Vec<(String, String)> =
            [("AccountSid", ACCOUNT), ("MessageSid", sid), ("From", phone), ("To", SENDER), ("Body", text)]
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
        let signature = sign(TOKEN, &url, &pairs);
        answered(self.http.post(&url).header("x-twilio-signature", signature).form(&pairs)).await
    }

    /// A POST to the API.
    pub(super) async fn api(&self, path: &str, body: Option<&Value>) -> Answered {
        let request = self.http.post(format!("{}/api/v1{path}", self.base_url)).bearer_auth(&self.key);
        answered(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    /// Stops the dispatcher, then recounts everything.
    pub(super) async fn check_and_stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.driver.await.unwrap();
        assert!(self.outbox.is_empty(), "claims were left in the outbox");
        let key = self.store.key().clone();
        let problems = self.store.read_here(|conn| {
            let mut problems = verify::count_problems(conn)?;
            problems.extend(verify::file_problems(conn)?);
            problems.extend(ledger::verify(conn, &key)?.problems);
            Ok::<_, StoreError>(problems)
        });
        assert_eq!(problems.unwrap(), Vec::<String>::new());
        self.server.stop(false).await;
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Answered {
    let answer = request.send().await.unwrap();
    let nanos = answer.headers()[ANSWERED].to_str().unwrap().parse().unwrap();
    let status = answer.status().as_u16();
    assert!(status < 500, "{status}: {}", answer.text().await.unwrap());
    // Read to its end, so that the connection is used again.
    answer.bytes().await.unwrap();
    Answered { status, at: *EPOCH + Duration::from_nanos(nanos) }
}

fn house_rules() -> Rules {
    app::rules(&Config::load(None, []).unwrap().config)
}

fn serve(store: &Store) -> (ServerHandle, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let environment = [
        ("ESE_SERVER__PUBLIC_BASE_URL", base_url.as_str()),
        ("ESE_TWILIO__ACCOUNT_SID", ACCOUNT),
        ("ESE_TWILIO__AUTH_TOKEN", TOKEN),
    ];
    let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let loaded = Config::load(None, environment).unwrap();
    let setup = Setup { problem: None, is_simulated: true };
    let (state, _) = app::state(store.clone(), loaded, setup, Metrics::default()).unwrap();
    state.rules.set(Rules { replies: Arc::default(), ..(*state.rules.get()).clone() });
    let server = HttpServer::new(move || {
        App::new()
            .wrap_fn(|request, service| {
                let answer = service.call(request);
                async move {
                    let mut answer = answer.await?;
                    let nanos = EPOCH.elapsed().as_nanos().to_string();
                    let value = HeaderValue::from_str(&nanos).unwrap();
                    answer.headers_mut().insert(HeaderName::from_static(ANSWERED), value);
                    Ok(answer)
                }
            })
            .configure(web::configure(state.clone()))
    })
    .workers(2)
    .disable_signals()
    .listen(listener)
    .unwrap()
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    (handle, base_url)
}

fn dispatcher(store: &Store, provider: &Provider, base_url: &str) -> Dispatcher {
    let client = Client::new(Credentials {
        account_sid: ACCOUNT.to_owned(),
        user: ACCOUNT.to_owned(),
        password: TOKEN.to_owned().into(),
        api_base: provider.base_url.parse().unwrap(),
    })
    .unwrap();
    let limits = SenderLimits { rate_per_second: RATE, recipients_per_day: None };
    let settings = Settings {
        account_rate_per_second: RATE,
        max_in_flight: 64,
        max_attempts: 3,
        uncertain: UncertainRules { after: 120_000, resends: true },
        public_base_url: base_url.to_owned(),
        senders: [(SENDER.to_owned(), limits)].into(),
        rules: Arc::new(house_rules()),
    };
    Dispatcher::new(store.clone(), client, Live::new(settings), Metrics::default())
}

/// Ticks without rest. The clock runs ahead of the system's, so that retries come soon.
async fn drive(mut dispatcher: Dispatcher, clock: Clock, stop: Arc<AtomicBool>, mut dice: Dice) {
    while !stop.load(Ordering::SeqCst) {
        let tick = dispatcher.tick().await.unwrap();
        let is_busy = tick.claimed + tick.refused > 0;
        let most = if is_busy { 10 } else { u64::try_from(tick.wait.as_millis()).unwrap().clamp(10, 300) };
        clock.advance(i64::try_from(dice.below(most)).unwrap() + 1);
        match dice.below(3) {
            0 => tokio::time::sleep(Duration::from_micros(dice.below(1_000))).await,
            _ => tokio::task::yield_now().await,
        }
    }
    dispatcher.settle().await;
}
