//! What tests stand on: a real store in a temporary folder, the simulator over real HTTP, real webhooks,
//! and a clock that is moved by hand.

pub mod api;
pub mod contract;
pub(crate) mod probe;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use event_stream_engine::app;
use event_stream_engine::campaign::{self, House, Setup};
use event_stream_engine::clock::Clock;
use event_stream_engine::config::Config;
use event_stream_engine::delivery::{Dispatcher, SenderLimits, Settings, UncertainRules};
use event_stream_engine::domain::consent::Replies;
use event_stream_engine::domain::consent::{Consent, KeywordTable};
use event_stream_engine::domain::forecast::{Limits, SenderLimit};
use event_stream_engine::domain::phone::{Channel, Phone};
use event_stream_engine::domain::quiet_hours::Presets;
use event_stream_engine::domain::rules::Rules;
use event_stream_engine::inbound::CatchUp;
use event_stream_engine::live::Live;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::simulator::{Options, Simulator};
use event_stream_engine::store::campaigns::{self, CampaignPlan, CampaignRow};
use event_stream_engine::store::ledger::ConsentChange;
use event_stream_engine::store::templates::{self, TemplateText};
use event_stream_engine::store::users::{self, NewUser};
use event_stream_engine::store::{Store, StoreError, StorePaths, segments, senders};
use event_stream_engine::twilio::client::{Client, Credentials};
use event_stream_engine::twilio::signature::sign;
use event_stream_engine::web;
use serde_json::{Map, Value, json};

/// Our number in tests.
pub const SENDER: &str = "+14155550100";
/// Our WhatsApp number in tests.
pub const WHATSAPP_SENDER: &str = "whatsapp:+14155550100";
/// A Monday noon in New York: nobody in the tests is in quiet hours then.
pub const NOON: &str = "2026-11-23T17:00:00Z";

/// A whole engine but for its timers: a test ticks it by hand.
pub struct Engine {
    pub store: Store,
    pub clock: Clock,
    pub simulator: Simulator,
    pub dispatcher: Dispatcher,
    pub base_url: String,
    pub setup: Setup,
    pub metrics: Metrics,
    /// What the dispatcher goes by; see [`Engine::rule`].
    settings: Live<Settings>,
    wanted: Wanted,
    server: ServerHandle,
    dir: tempfile::TempDir,
}

/// What a test wants otherwise than usual.
#[derive(Clone)]
pub struct Wanted {
    pub simulator: Options,
    pub rate: f64,
    pub recipients_per_day: Option<i64>,
    pub replies: Replies,
    pub max_in_flight: usize,
    /// The password that the client sends; `None`: the right one.
    pub password: Option<String>,
    /// Configuration of the webhooks beside the usual one, as environment variables.
    pub environment: Vec<(&'static str, String)>,
    /// Where the clock starts; `None`: at [`NOON`].
    pub now: Option<jiff::Timestamp>,
    /// Senders beside the two usual ones, with their kinds.
    pub senders: Vec<(&'static str, &'static str)>,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            simulator: quick_simulator(),
            rate: 10_000.0,
            recipients_per_day: None,
            replies: Replies { stop: "You are out.".to_owned(), ..Replies::default() },
            max_in_flight: 64,
            password: None,
            environment: Vec::new(),
            now: None,
            senders: Vec::new(),
        }
    }
}

pub fn quick_simulator() -> Options {
    Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        callback_delay_ms: 1,
        fail_percent: 0.0,
        seed: 1,
        ..Options::default()
    }
}

impl Engine {
    pub async fn start() -> Engine {
        Engine::start_with(Wanted::default()).await
    }

    pub async fn start_with(wanted: Wanted) -> Engine {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(wanted.now.unwrap_or_else(|| NOON.parse().unwrap()));
        let simulator = Simulator::start(wanted.simulator.clone()).await.unwrap();
        Engine::open(dir, clock, simulator, wanted).await
    }

    /// Everything in this process begins anew over the same file and the same Twilio, as after a crash:
    /// what was under way is forgotten without a word.
    pub async fn restart(self) -> Engine {
        let Engine { dispatcher, server, clock, simulator, wanted, dir, store, .. } = self;
        server.stop(false).await;
        drop((dispatcher, store));
        Engine::open(dir, clock, simulator, wanted).await
    }

    async fn open(dir: tempfile::TempDir, clock: Clock, simulator: Simulator, wanted: Wanted) -> Engine {
        let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
        let listed: Vec<(&str, &str)> = [(SENDER, "long_code"), (WHATSAPP_SENDER, "whatsapp")]
            .into_iter()
            .chain(wanted.senders.iter().copied())
            .collect();
        let configured: Vec<(String, String)> =
            listed.iter().map(|(address, kind)| ((*address).to_owned(), (*kind).to_owned())).collect();
        store.write::<_, _, StoreError>(move |tx| senders::synchronize(tx, &configured)).await.unwrap();
        let metrics = Metrics::default();
        let (server, base_url) = webhooks_server(&store, &metrics, &wanted);
        simulator.set_inbound_url(&format!("{base_url}/webhooks/twilio/inbound"));
        let limits =
            SenderLimits { rate_per_second: wanted.rate, recipients_per_day: wanted.recipients_per_day };
        let settings = Settings {
            account_rate_per_second: 100_000.0,
            max_in_flight: wanted.max_in_flight,
            max_attempts: 3,
            uncertain: UncertainRules { after: 600_000, resends: false },
            public_base_url: base_url.clone(),
            senders: listed.iter().map(|(address, _)| ((*address).to_owned(), limits)).collect(),
            rules: Arc::new(Rules { introduction: None, ..rules_of(&wanted.environment) }),
        };
        let settings = Live::new(settings);
        let password = wanted.password.as_deref().unwrap_or(&wanted.simulator.auth_token);
        let client = client(&simulator.base_url(), &wanted.simulator.account_sid, password);
        let dispatcher = Dispatcher::new(store.clone(), client, settings.clone(), metrics.clone());
        let setup = Setup { problem: None, is_simulated: true };
        Engine {
            store,
            clock,
            simulator,
            dispatcher,
            base_url,
            setup,
            metrics,
            settings,
            wanted,
            server,
            dir,
        }
    }

    /// Changes the rules of the house while the engine runs, as an operator may. An engine begins without
    /// words around first messages: most tests look at their own text.
    pub fn rule(&self, change: impl FnOnce(&mut Rules)) {
        let mut settings = Settings::clone(&self.settings.get());
        let mut rules = Rules::clone(&settings.rules);
        change(&mut rules);
        settings.rules = Arc::new(rules);
        self.settings.set(settings);
    }

    /// Changes what delivery goes by while the engine runs, as an operator may.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings::clone(&self.settings.get());
        change(&mut settings);
        self.settings.set(settings);
        self.store.plan_changed();
    }

    /// What delivery goes by.
    pub fn settings(&self) -> Live<Settings> {
        self.settings.clone()
    }

    /// The rules in force.
    pub fn rules(&self) -> Live<Rules> {
        Live::new(Rules::clone(&self.settings.get().rules))
    }

    /// What fetches missed messages. From now on marketing waits for its first look.
    pub fn catch_up(&self) -> CatchUp {
        self.catch_up_from(&self.simulator.base_url())
    }

    /// The same with another Twilio.
    pub fn catch_up_from(&self, base: &str) -> CatchUp {
        let password = self.wanted.password.as_deref().unwrap_or(&self.wanted.simulator.auth_token);
        let sid = &self.wanted.simulator.account_sid;
        let client = client(base, sid, password);
        CatchUp::new(self.store.clone(), client, Live::new(KeywordTable::default()), self.metrics.clone())
    }

    /// Restarts with the right password: what an operator does about 20003.
    pub async fn restart_with_right_password(mut self) -> Engine {
        self.wanted.password = None;
        self.restart().await
    }

    /// Where the data file lies.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Freezes, sends and finishes until nothing is due any more, moving the clock a little each round.
    pub async fn drain(&mut self) {
        // What wakes the dispatcher's own loop: it looks at every lane again.
        self.store.plan_changed();
        let mut idle = 0;
        for _ in 0..2_000 {
            campaign::freeze_all(&self.store, &presets(), true).await.unwrap();
            let tick = self.dispatcher.tick().await.unwrap();
            self.dispatcher.settle().await;
            self.clock.advance(50);
            idle = if tick.claimed + tick.refused == 0 { idle + 1 } else { 0 };
            // Lanes without work sleep a second of the clock; give them that.
            if idle > 25 {
                break;
            }
        }
        campaign::tick(&self.store, &self.setup).await.unwrap();
    }

    /// Moves the clock, then drains.
    pub async fn drain_after(&mut self, seconds: i64) {
        self.clock.advance(seconds * 1_000);
        self.drain().await;
    }

    /// Drains, lets every callback arrive, and drains what they caused.
    pub async fn settle(&mut self) {
        self.drain().await;
        self.simulator.wait_until_quiet().await;
        self.drain().await;
    }

    /// Adds somebody with this consent.
    pub async fn add(&self, phone: &str, consent: Consent, attributes: Value) -> i64 {
        let phone = Phone::parse(phone, None).unwrap();
        let attributes: Map<String, Value> = attributes.as_object().unwrap().clone();
        self.store
            .write::<_, _, StoreError>(move |tx| {
                let change = ConsentChange {
                    state: consent,
                    source: "test",
                    actor: "test",
                    evidence: Some("said so"),
                    obtained_at: None,
                };
                users::insert(
                    tx,
                    &NewUser {
                        phone: Some(phone.as_str()),
                        channel_address: None,
                        country: phone.country(),
                        attributes: &attributes,
                        consent: (consent != Consent::Unknown).then_some(change),
                        actor: "test",
                        import: None,
                    },
                )
            })
            .await
            .unwrap()
    }

    /// Adds `n` opted-in people: +14155550101 and so on, 99 to an area code.
    pub async fn add_many(&self, n: usize) -> Vec<i64> {
        let mut ids = Vec::new();
        for number in 0..n {
            ids.push(self.add(&phone(number), Consent::OptIn, json!({"name": format!("P{number}")})).await);
        }
        ids
    }

    /// A draft for everybody: SMS, marketing, "Hi {name}".
    pub async fn draft(&self, change: impl FnOnce(&mut CampaignPlan) + Send + 'static) -> i64 {
        self.draft_saying("Hi {name|default(\"you\")}", change).await
    }

    pub async fn draft_saying(
        &self,
        body: &str,
        change: impl FnOnce(&mut CampaignPlan) + Send + 'static,
    ) -> i64 {
        let text = TemplateText::plain(Channel::Sms, body);
        self.draft_with(text, change).await
    }

    pub async fn draft_with(
        &self,
        text: TemplateText,
        change: impl FnOnce(&mut CampaignPlan) + Send + 'static,
    ) -> i64 {
        self.store
            .write::<_, _, StoreError>(move |tx| {
                let unique = rand::random::<u32>();
                let channel = text.channel;
                let template_id = templates::insert(tx, &format!("t{unique}"), &text)?;
                let segment_id = segments::insert(tx, &format!("everybody{unique}"), &json!({"all": []}))?;
                let mut plan = CampaignPlan { channel, ..CampaignPlan::new("Test", segment_id, template_id) };
                change(&mut plan);
                campaigns::insert(tx, &plan)
            })
            .await
            .unwrap()
    }

    pub async fn launch(&self, id: i64) -> CampaignRow {
        let setup = self.setup.clone();
        self.store.write(move |tx| campaign::launch(tx, id, &setup)).await.unwrap()
    }

    /// What the configuration says about sending, as the dispatcher of this engine has it.
    pub fn house(&self) -> House {
        let limit = SenderLimit {
            rate_per_second: self.wanted.rate,
            recipients_per_day: self.wanted.recipients_per_day,
        };
        let usual = [SENDER, WHATSAPP_SENDER].into_iter();
        let addresses = usual.chain(self.wanted.senders.iter().map(|(address, _)| *address));
        let limits = Limits {
            account_rate_per_second: 100_000.0,
            senders: addresses.map(|address| (address.to_owned(), limit)).collect(),
        };
        House { rules: self.rules().get(), limits: Arc::new(limits), setup: self.setup.clone() }
    }

    pub fn campaign(&self, id: i64) -> CampaignRow {
        self.store.read_here(|conn| campaigns::find(conn, id)).unwrap().unwrap()
    }

    /// How many rows of a campaign are in each state, as the pages show it.
    pub fn counts(&self, id: i64) -> HashMap<String, i64> {
        let mut counts = HashMap::new();
        for count in self.store.read_here(|conn| campaigns::counts(conn, id)).unwrap() {
            *counts.entry(count.status).or_default() += count.n;
        }
        counts
    }

    /// The same with the reason or code: `skipped:stop`, `failed:30003`.
    pub fn reasons(&self, id: i64) -> HashMap<String, i64> {
        let mut counts = HashMap::new();
        for count in self.store.read_here(|conn| campaigns::counts(conn, id)).unwrap() {
            let why = if count.error_code == 0 { count.reason } else { count.error_code.to_string() };
            *counts.entry(format!("{}:{why}", count.status)).or_default() += count.n;
        }
        counts
    }

    /// Status, reason and code of the only message that `condition` (SQL over messages `m` and their users
    /// `u`) picks.
    pub fn message(&self, condition: &str) -> (String, String, i64) {
        let sql = format!(
            "SELECT m.status, coalesce(m.reason, ''), coalesce(m.error_code, 0)
             FROM messages m JOIN users u ON u.id = m.user_id WHERE {condition}"
        );
        self.store
            .read_here(|conn| {
                let mut rows: Vec<(String, String, i64)> = conn
                    .prepare(&sql)?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect::<Result<_, _>>()?;
                assert_eq!(rows.len(), 1, "{condition}");
                Ok::<_, StoreError>(rows.remove(0))
            })
            .unwrap()
    }

    /// The message to the `n`th person.
    pub fn message_to(&self, n: usize) -> (String, String, i64) {
        self.message(&format!("u.phone = '{}'", phone(n)))
    }

    /// A person's consent.
    pub fn consent(&self, phone: &str) -> String {
        self.value(&format!("SELECT consent FROM users WHERE phone = '{phone}'"))
    }

    /// How many events of this type there are.
    pub fn events(&self, kind: &str) -> i64 {
        self.value(&format!("SELECT count(*) FROM events WHERE type = '{kind}'"))
    }

    /// Posts a form to a webhook as Twilio would, signed for `url` with the account's own token. Returns
    /// status and body.
    pub async fn post(&self, path: &str, params: &[(&str, &str)]) -> (u16, String) {
        let url = format!("{}{path}", self.base_url);
        self.post_signed(path, &url, &self.wanted.simulator.auth_token, params).await
    }

    /// The same, signed for another URL or with another token.
    pub async fn post_signed(
        &self,
        path: &str,
        signed_url: &str,
        token: &str,
        params: &[(&str, &str)],
    ) -> (u16, String) {
        let pairs: Vec<(String, String)> =
            params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let signature = sign(token, signed_url, &pairs);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        self.post_raw(path, Some(&signature), body.into_bytes()).await
    }

    /// Posts a body as it is.
    pub async fn post_raw(&self, path: &str, signature: Option<&str>, body: Vec<u8>) -> (u16, String) {
        let mut request = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .post(format!("{}{path}", self.base_url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        if let Some(signature) = signature {
            request = request.header("x-twilio-signature", signature);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// A status callback about attempt `attempt` of message `message`, signed.
    pub async fn callback(&self, message: i64, attempt: u32, params: &[(&str, &str)]) -> u16 {
        let path = format!("/webhooks/twilio/status?message={message}&attempt={attempt}");
        let sid = self.wanted.simulator.account_sid.clone();
        let params: Vec<(&str, &str)> =
            [("AccountSid", sid.as_str())].iter().chain(params).copied().collect();
        self.post(&path, &params).await.0
    }

    /// The account's SID.
    pub fn account_sid(&self) -> &str {
        &self.wanted.simulator.account_sid
    }

    /// Reads one value with plain SQL.
    pub fn value<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.store.read_here(|conn| Ok::<_, StoreError>(conn.query_row(sql, [], |row| row.get(0))?)).unwrap()
    }

    /// Runs a change with plain SQL.
    pub async fn change(&self, sql: &str) {
        let sql = sql.to_owned();
        self.store.write::<_, _, StoreError>(move |tx| Ok(tx.conn().execute_batch(&sql)?)).await.unwrap();
    }

    /// Waits until `condition` holds, at most ten seconds.
    pub async fn until(&self, what: &str, condition: impl Fn(&Engine) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !condition(self) {
            assert!(Instant::now() < end, "{what} did not come about");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What has to hold at the end of every test.
    pub async fn check_and_stop(self) {
        let key = self.store.key().clone();
        let problems = self
            .store
            .read_here(|conn| {
                let mut problems = event_stream_engine::store::verify::count_problems(conn)?;
                problems.extend(event_stream_engine::store::verify::file_problems(conn)?);
                problems.extend(event_stream_engine::store::ledger::verify(conn, &key)?.problems);
                Ok::<_, StoreError>(problems)
            })
            .unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        let claimed: i64 = self.value("SELECT count(*) FROM messages WHERE status = 'sending'");
        assert_eq!(claimed, 0, "claimed rows were left behind");
        let pending: i64 = self.value(
            "SELECT (SELECT count(*) FROM inbound WHERE state = 'pending')
                  + (SELECT count(*) FROM receipts WHERE state = 'pending')",
        );
        assert_eq!(pending, 0, "webhooks were kept whose effect failed");
        self.server.stop(false).await;
        self.simulator.stop().await;
    }
}

/// The rules of the built-in configuration.
pub fn rules() -> Rules {
    rules_of(&[])
}

fn rules_of(environment: &[(&'static str, String)]) -> Rules {
    let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    app::rules(&Config::load(None, environment).unwrap().config)
}

/// Its hours.
pub fn presets() -> Arc<Presets> {
    rules().presets
}

/// The `n`th person's number.
pub fn phone(n: usize) -> String {
    const AREAS: [u16; 12] = [212, 415, 312, 617, 206, 303, 404, 512, 619, 702, 813, 919];
    format!("+1{}555{:04}", AREAS[n / 99 % AREAS.len()], 101 + n % 99)
}

fn client(base: &str, sid: &str, password: &str) -> Client {
    Client::new(Credentials {
        account_sid: sid.to_owned(),
        user: sid.to_owned(),
        password: password.to_owned().into(),
        api_base: base.parse().unwrap(),
    })
    .unwrap()
}

fn webhooks_server(store: &Store, metrics: &Metrics, wanted: &Wanted) -> (ServerHandle, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let usual = [
        ("ESE_SERVER__PUBLIC_BASE_URL", base_url.clone()),
        ("ESE_TWILIO__ACCOUNT_SID", wanted.simulator.account_sid.clone()),
        ("ESE_TWILIO__AUTH_TOKEN", wanted.simulator.auth_token.clone()),
        ("ESE_DELIVERY__MAX_ATTEMPTS", "3".to_owned()),
    ];
    let environment = usual.into_iter().chain(wanted.environment.iter().cloned());
    let environment = environment.map(|(key, value)| (key.to_owned(), value));
    let loaded = Config::load(None, environment).unwrap();
    let setup = Setup { problem: None, is_simulated: true };
    let (state, _) = app::state(store.clone(), loaded, setup, metrics.clone()).unwrap();
    state.rules.set(Rules { replies: Arc::new(wanted.replies.clone()), ..(*state.rules.get()).clone() });
    let server = HttpServer::new(move || App::new().configure(web::configure(state.clone())))
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
    let handle = server.handle();
    tokio::spawn(server);
    (handle, base_url)
}
