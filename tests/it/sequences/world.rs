//! A small world: a real file, the handlers of API and webhooks called in this process, the simulator over
//! real HTTP, a clock moved by hand, and a process that may die at any moment.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use actix_web::test::TestRequest;
use actix_web::{App, test};
use event_stream_engine::app;
use event_stream_engine::campaign::{self, Setup};
use event_stream_engine::clock::Clock;
use event_stream_engine::config::Config;
use event_stream_engine::delivery::{
    self, Dispatcher, Poller, Reconciler, SenderLimits, Settings, UncertainRules,
};
use event_stream_engine::domain::consent::{KeywordTable, Replies};
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::domain::rules::Rules;
use event_stream_engine::import;
use event_stream_engine::inbound;
use event_stream_engine::live::Live;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::simulator::{Faults, MessageRecord, Simulator};
use event_stream_engine::store::api_keys::{self, Scope};
use event_stream_engine::store::campaigns::{self, CampaignPlan};
use event_stream_engine::store::outcomes::RetryPolicy;
use event_stream_engine::store::templates::{self, TemplateText};
use event_stream_engine::store::{Store, StoreError, StorePaths, segments, senders, topics};
use event_stream_engine::twilio::client::{Client, Credentials};
use event_stream_engine::twilio::signature::sign;
use event_stream_engine::web::{self, State};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::step::PEOPLE;
use crate::support::probe::SEQUENCES;
use crate::support::{NOON, SENDER, WHATSAPP_SENDER, quick_simulator};

/// The address that callbacks are signed for; nothing listens there.
pub(super) const BASE: &str = "http://127.0.0.1:9";
const MAX_ATTEMPTS: u32 = 3;

type Answer = Pin<Box<dyn Future<Output = (u16, String)>>>;
/// The whole application, as a function from request to answer.
type Server = Box<dyn Fn(TestRequest) -> Answer>;

/// What dies in a crash.
pub(super) struct Process {
    pub(super) store: Store,
    pub(super) dispatcher: Dispatcher,
    reconciler: Reconciler,
    poller: Poller,
    server: Server,
}

pub(super) struct World {
    pub(super) process: Option<Process>,
    pub(super) clock: Clock,
    pub(super) simulator: Rc<Simulator>,
    pub(super) campaigns: Vec<i64>,
    /// Since when each person is in `stop`, as far as anybody was told.
    pub(super) stopped: HashMap<String, Instant>,
    pub(super) setup: Setup,
    pub(super) texts: Cell<u64>,
    /// Milliseconds that the clock was moved on by.
    passed: Cell<i64>,
    pub(super) key: String,
    client: Client,
    first_message: i64,
    account_sid: String,
    token: String,
    dir: tempfile::TempDir,
}

/// Twilio, and who speaks to it: for several worlds, because certificates take longer to read than a world
/// lives.
pub(super) struct Stage {
    simulator: Rc<Simulator>,
    client: Client,
    account_sid: String,
    token: String,
}

impl Stage {
    pub(super) async fn set() -> Stage {
        let mut options = quick_simulator();
        // Callbacks are ours to make.
        options.faults = silent();
        let (account_sid, token) = (options.account_sid.clone(), options.auth_token.clone());
        let simulator = Rc::new(Simulator::start(options).await.unwrap());
        let client = Client::new(Credentials {
            account_sid: account_sid.clone(),
            user: account_sid.clone(),
            password: token.clone().into(),
            api_base: simulator.base_url().parse().unwrap(),
        })
        .unwrap();
        Stage { simulator, client, account_sid, token }
    }

    pub(super) async fn clear(self) {
        self.simulator.stop().await;
    }
}

/// Cases so far: the messages of each have ids of their own.
static CASES: AtomicI64 = AtomicI64::new(0);

impl World {
    /// People of every consent, three campaigns, nothing launched.
    pub(super) async fn new(stage: &Stage) -> World {
        let mut world = World {
            process: None,
            clock: Clock::manual(NOON.parse().unwrap()),
            simulator: Rc::clone(&stage.simulator),
            campaigns: Vec::new(),
            stopped: HashMap::new(),
            setup: Setup { problem: None, is_simulated: true },
            texts: Cell::new(0),
            passed: Cell::new(0),
            key: String::new(),
            client: stage.client.clone(),
            first_message: SEQUENCES + CASES.fetch_add(1, Ordering::SeqCst) * 1_000_000,
            account_sid: stage.account_sid.clone(),
            token: stage.token.clone(),
            dir: tempfile::tempdir().unwrap(),
        };
        world.simulator.set_faults(silent());
        world.simulator.set_clock_ahead(0);
        world.process = Some(world.open().await);
        world.populate().await;
        world
    }

    /// Time passes for Twilio as well. A clock that is set back is ours alone.
    pub(super) fn let_pass(&self, millis: i64) {
        self.clock.advance(millis);
        self.passed.set(self.passed.get() + millis.max(0));
        self.simulator.set_clock_ahead(self.passed.get());
    }

    pub(super) fn store(&self) -> &Store {
        &self.process.as_ref().expect("it lives between two steps").store
    }

    pub(super) fn dispatcher(&mut self) -> &mut Dispatcher {
        &mut self.process.as_mut().expect("it lives between two steps").dispatcher
    }

    async fn populate(&mut self) {
        let first_message = self.first_message;
        let made = self.store().write(move |tx| {
            tx.conn().execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', ?1)",
                [first_message],
            )?;
            let (_, key) = api_keys::insert(tx, "test", &Scope::ALL, None, "test")?;
            topics::insert(tx, "news", false)?;
            let general = topics::find(tx.conn(), "general")?.map(|topic| topic.id);
            let segment = segments::insert(tx, "everybody", &json!({"all": []}))?;
            let sms = templates::insert(
                tx,
                "sms",
                &TemplateText::plain(Channel::Sms, "Hi {name|default(\"you\")}"),
            )?;
            let whatsapp = TemplateText {
                content_sid: Some("HX00000000000000000000000000000001".to_owned()),
                ..TemplateText::plain(Channel::Whatsapp, "Hello")
            };
            let whatsapp = templates::insert(tx, "whatsapp", &whatsapp)?;
            let mut ids = Vec::new();
            let usual = CampaignPlan { topic_id: general, ..CampaignPlan::new("usual", segment, sms) };
            ids.push(campaigns::insert(tx, &usual)?);
            let mut short =
                CampaignPlan { quiet_hours: "off".into(), ..CampaignPlan::new("short", segment, sms) };
            short.expires_after_hours = Some(3.0);
            ids.push(campaigns::insert(tx, &short)?);
            let other =
                CampaignPlan { channel: Channel::Whatsapp, ..CampaignPlan::new("other", segment, whatsapp) };
            ids.push(campaigns::insert(tx, &other)?);
            Ok::<_, StoreError>((ids, key.expose_secret().to_owned()))
        });
        (self.campaigns, self.key) = made.await.unwrap();
        for (n, consent) in ["opt_in", "opt_in", "opt_in", "opt_in", "opt_out", "stop"].iter().enumerate() {
            let body = json!({"phone": self.phone(n), "consent": consent});
            assert_eq!(self.api(Method::POST, "/users", Some(body)).await.0, 201);
        }
        const { assert!(PEOPLE > 6, "some come only by import or by what they write") }
    }

    /// Starts the process over the file, as `App::start` does.
    async fn open(&self) -> Process {
        let store = Store::open(StorePaths::inside(self.dir.path()), self.clock.clone()).unwrap();
        let listed = [(SENDER, "long_code"), (WHATSAPP_SENDER, "whatsapp")];
        let configured = listed.map(|(address, kind)| (address.to_owned(), kind.to_owned()));
        store.write::<_, _, StoreError>(move |tx| senders::synchronize(tx, &configured)).await.unwrap();
        delivery::rescue_pending(&store).await.unwrap();
        import::sweep_spool(&store).await.unwrap();
        campaign::close_removed_senders(&store).await.unwrap();
        store.write::<_, _, StoreError>(|tx| senders::resume_all(tx, "restart")).await.unwrap();
        let environment = [
            ("ESE_SERVER__PUBLIC_BASE_URL", BASE),
            ("ESE_TWILIO__ACCOUNT_SID", &self.account_sid),
            ("ESE_TWILIO__AUTH_TOKEN", &self.token),
            ("ESE_DELIVERY__MAX_ATTEMPTS", "3"),
            // Many steps within no time of the clock.
            ("ESE_SERVER__API_REQUESTS_PER_SECOND", "0"),
        ];
        let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let loaded = Config::load(None, environment).unwrap();
        let limits = SenderLimits { rate_per_second: 500.0, recipients_per_day: None };
        let few = SenderLimits { rate_per_second: 500.0, recipients_per_day: Some(4) };
        let settings = Settings {
            account_rate_per_second: 1_000.0,
            max_in_flight: 16,
            max_attempts: MAX_ATTEMPTS,
            // Bold on purpose: what Twilio does not show is sent again.
            uncertain: UncertainRules { after: 600_000, resends: true },
            public_base_url: BASE.to_owned(),
            senders: [(SENDER.to_owned(), limits), (WHATSAPP_SENDER.to_owned(), few)].into(),
            rules: Arc::new(app::rules(&loaded.config)),
        };
        let (client, settings) = (&self.client, Live::new(settings));
        let dispatcher = Dispatcher::new(store.clone(), client.clone(), settings.clone(), Metrics::default());
        let reconciler = Reconciler::new(store.clone(), client.clone(), settings.clone(), Metrics::default());
        let poller = Poller::new(store.clone(), client.clone(), settings, Metrics::default());
        let replies = Replies { stop: "You are out.".to_owned(), ..Replies::default() };
        let (state, _) = app::state(store.clone(), loaded, self.setup.clone(), Metrics::default()).unwrap();
        state.rules.set(Rules { replies: Arc::new(replies), ..(*state.rules.get()).clone() });
        Process { store, dispatcher, reconciler, poller, server: server(state).await }
    }

    /// A person's number, of this world alone: the list of Twilio tells no equal text of another world's from ours.
    pub(super) fn phone(&self, person: usize) -> String {
        let world = usize::try_from((self.first_message - SEQUENCES) / 1_000_000).unwrap();
        let n = world * 20 + person;
        format!("+1212{}{:04}", 220 + n / 9_000, 1_000 + n % 9_000)
    }

    /// Whatever was on its way to the simulator is read there before this is answered: its workers take turns.
    async fn fence(&self) {
        for _ in 0..4 {
            let asked = reqwest::Client::builder().no_proxy().build().unwrap();
            asked.get(format!("{}/_control/counts", self.simulator.base_url())).send().await.unwrap();
        }
        self.simulator.wait_until_quiet().await;
    }

    /// The process is gone from one moment to the next, and another begins over the same file.
    pub(super) async fn crash(&mut self) {
        drop(self.process.take());
        // Tasks that were aborted are dropped at their next turn, and with them whatever they had queued.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        // What was on its way to Twilio arrives, or does not.
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.fence().await;
        // A transaction that was under way ends before another process may write.
        let path = StorePaths::inside(self.dir.path()).path;
        let conn = rusqlite::Connection::open(path).unwrap();
        conn.busy_timeout(Duration::from_secs(10)).unwrap();
        conn.execute_batch("BEGIN IMMEDIATE; ROLLBACK").unwrap();
        drop(conn);
        self.process = Some(self.open().await);
    }

    /// A call of the API.
    pub(super) async fn api(&self, method: Method, path: &str, body: Option<Value>) -> (u16, String) {
        let mut request = TestRequest::default()
            .method(method)
            .uri(&format!("/api/v1{}", path.replace('+', "%2B")))
            .insert_header(("authorization", format!("Bearer {}", self.key)));
        if let Some(body) = body {
            request = request.set_json(body);
        }
        self.call(request, path).await
    }

    /// A form from Twilio.
    pub(super) async fn webhook(&self, path: &str, params: &[(&str, &str)]) -> (u16, String) {
        let mut pairs = vec![("AccountSid".to_owned(), self.account_sid.clone())];
        pairs.extend(params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let signature = sign(&self.token, &format!("{BASE}{path}"), &pairs);
        let request = TestRequest::post().uri(path).insert_header(("x-twilio-signature", signature));
        self.call(request.set_form(pairs), path).await
    }

    async fn call(&self, request: TestRequest, path: &str) -> (u16, String) {
        let process = self.process.as_ref().expect("it lives between two steps");
        let (status, body) = (process.server)(request).await;
        assert!(status < 500, "{path} was answered with {status}: {body}");
        (status, body)
    }

    /// What was taken at Twilio, with our message and attempt, oldest first.
    pub(super) fn taken(&self) -> Vec<(i64, u32, MessageRecord)> {
        let ours = |record: MessageRecord| {
            let url: url::Url = record.status_callback.as_ref()?.parse().ok()?;
            let named: HashMap<String, String> = url.query_pairs().into_owned().collect();
            Some((named["message"].parse().ok()?, named["attempt"].parse().ok()?, record))
        };
        let of_this_world = |taken: &(i64, u32, MessageRecord)| taken.0 > self.first_message;
        self.simulator.messages().into_iter().filter_map(ours).filter(of_this_world).collect()
    }

    /// The loops that look after what was left behind.
    pub(super) async fn look_after(&mut self) {
        let outbox = self.dispatcher().outbox();
        delivery::rescue_orphans(self.store(), &outbox).await.unwrap();
        let process = self.process.as_ref().expect("it lives between two steps");
        process.reconciler.tick().await.unwrap();
        process.poller.tick().await.unwrap();
        let replay = self.store().write(|tx| {
            let policy =
                RetryPolicy { random: 0.5, ..RetryPolicy::of(&crate::support::rules(), MAX_ATTEMPTS) };
            inbound::replay(tx, None, (0, 0), &KeywordTable::default(), &policy)
        });
        replay.await.map_err(|error: StoreError| error).unwrap();
    }

    /// Whatever a value of SQL says.
    pub(super) fn values<T: rusqlite::types::FromSql>(&self, sql: &str) -> Vec<T> {
        self.store()
            .read_here(|conn| {
                let mut query = conn.prepare_cached(sql)?;
                let rows = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<T>, _>>()?;
                Ok::<_, StoreError>(rows)
            })
            .unwrap()
    }
}

/// No callback comes by itself.
pub(super) fn silent() -> Faults {
    Faults { callbacks_missing_percent: 100.0, ..Faults::default() }
}

async fn server(state: State) -> Server {
    let service = Rc::new(test::init_service(App::new().configure(web::configure(state))).await);
    Box::new(move |request| {
        let service = Rc::clone(&service);
        Box::pin(async move {
            let answer = test::call_service(&*service, request.to_request()).await;
            let status = answer.status().as_u16();
            let body = test::read_body(answer).await;
            (status, String::from_utf8_lossy(&body).into_owned())
        })
    })
}
