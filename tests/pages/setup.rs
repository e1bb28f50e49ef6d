//! From an empty file to messages that go out, by forms alone and without a restart; demo data, and why it never
//! meets a real account.

use std::path::Path;

use event_stream_engine::app::App;
use event_stream_engine::clock::Clock;
use event_stream_engine::config::{Config, Loaded};
use event_stream_engine::simulator::{Options, Simulator};
use event_stream_engine::store::api_keys::{self, Scope};
use event_stream_engine::store::{StoreError, demo, settings};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::desk::{Desk, until};
use crate::support::api::TestApp;

const SID: &str = "AC00000000000000000000000000000001";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const SENDER: &str = "+15005550006";

/// A configuration that says only where things lie.
fn bare(dir: &Path, more: &[(&str, &str)]) -> Loaded {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    drop(listener);
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let usual = [
        ("ESE_SERVER__LISTEN", listen),
        ("ESE_STORE__PATH", path("ese.db")),
        ("ESE_STORE__KEY_FILE", path("ese.key")),
    ];
    let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
    let environment = usual.into_iter().chain(more).map(|(key, value)| (key.to_owned(), value));
    Config::load(None, environment).unwrap()
}

async fn simulator(token: &str) -> Simulator {
    let options = Options { account_sid: SID.to_owned(), auth_token: token.to_owned(), ..Options::default() };
    Simulator::start(options).await.unwrap()
}

/// A server with its loops, and a key of its API.
struct Running {
    app: App,
    base: String,
    key: String,
    client: reqwest::Client,
}

impl Running {
    async fn start(loaded: Loaded) -> Running {
        let app = App::start(loaded, Clock::system()).await.unwrap();
        let base = format!("http://{}", app.address);
        let key = app
            .store
            .write::<_, _, StoreError>(|tx| api_keys::insert(tx, "test", &Scope::ALL, None, "test"))
            .await
            .unwrap()
            .1;
        Running { app, base, key: key.expose_secret().to_owned(), client: reqwest::Client::new() }
    }

    async fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request =
            self.client.request(method, format!("{}/api/v1{path}", self.base)).bearer_auth(&self.key);
        request.json(body).send().await.unwrap().json().await.unwrap_or_default()
    }

    /// Sends a transactional text, and waits until the simulator has it and its receipt is in.
    async fn sends_through(&self, simulator: &Simulator, to: &str) {
        self.api("POST", "/users", &json!({"phone": to, "consent": "opt_in"})).await;
        let message = json!({"to": to, "channel": "sms", "kind": "transactional", "body": "Hi"});
        let sent = self.api("POST", "/messages", &message).await;
        let id = sent["id"].as_i64().unwrap_or_else(|| panic!("{sent}"));
        until("the message to be delivered", async || {
            self.api("GET", &format!("/messages/{id}"), &Value::Null).await["status"] == "delivered"
        })
        .await;
        assert_eq!(simulator.messages_to(to).len(), 1);
    }
}

/// Everything that lies in the folder.
fn bytes_of(dir: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(dir).unwrap().flatten().filter(|entry| entry.path().is_file());
    files.flat_map(|entry| std::fs::read(entry.path()).unwrap()).collect()
}

fn has(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[actix_web::test]
async fn an_empty_file_sends_after_three_forms_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = bare(dir.path(), &[]);
    let running = Running::start(loaded.clone()).await;
    let desk = Desk::new(&running.app.store, &running.base, "admin").await;
    desk.get("/settings/setup")
        .await
        .is(200)
        .says("2 of 8 done")
        .says("Twilio account")
        .says("Load the demo data");
    let twilio = simulator(TOKEN).await;
    let simulated = twilio.base_url();
    let account = |token| {
        [
            ("twilio.account_sid", SID),
            ("twilio.auth_token", token),
            ("twilio.api_base", simulated.as_str()),
            ("twilio.content_base", simulated.as_str()),
            ("server.public_base_url", running.base.as_str()),
        ]
    };
    // What Twilio refuses never comes into force; the input stays, but for the secret.
    let refused = desk.post("/settings/twilio", &account("a-wrong-token-of-31-characters-")).await;
    refused.is(422).says("20003").says(SID).lacks("a-wrong-token");
    assert!(running.app.setup.get().problem.is_some());
    desk.post("/settings/twilio", &account(TOKEN)).await.is(303);
    desk.get("/settings/setup").await.says("Number, or MG").says("SIMULATOR").says("leads here").lacks(TOKEN);
    let sender = [("address", "+1 500 555 0006"), ("kind", "long_code"), ("rate_per_second", "50")];
    desk.post("/settings/setup/sender", &sender).await.is(303);
    assert_eq!(running.app.setup.get().problem, None);
    running.sends_through(&twilio, "+12125550101").await;

    // Another token, at another Twilio: what is sent from now on goes there.
    let (other_token, other) =
        ("fedcba9876543210fedcba9876543210", simulator("fedcba9876543210fedcba9876543210").await);
    let base = other.base_url();
    let moved = [("twilio.account_sid", SID), ("twilio.api_base", &base), ("twilio.content_base", &base)];
    let unseen = desk.post("/settings/twilio", &moved).await;
    unseen.is(422).says("not sent to another address unseen");
    let moved =
        [&moved[..], &[("twilio.auth_token", other_token), ("server.public_base_url", &running.base)]]
            .concat();
    desk.post("/settings/twilio", &moved).await.is(303);
    running.sends_through(&other, "+12125550102").await;
    assert_eq!(twilio.messages().len(), 1);

    // Nobody who has the files or the events has a secret, and a restart finds everything.
    let trail: String = running
        .app
        .store
        .read_here(|conn| {
            let all = "SELECT coalesce(group_concat(data, ' '), '') FROM events";
            Ok::<_, StoreError>(conn.query_row(all, [], |row| row.get(0))?)
        })
        .unwrap();
    for secret in [TOKEN, other_token] {
        assert!(!has(&bytes_of(dir.path()), secret) && !trail.contains(secret));
    }
    assert!(trail.contains("twilio.auth_token") && trail.contains("(set, not shown)"));
    running.app.stop().await;
    let again = Running::start(loaded).await;
    assert_eq!(again.app.setup.get().problem, None);
    again.sends_through(&other, "+12125550103").await;
    again.app.stop().await;
    let kept = settings::peek(&dir.path().join("ese.db"), &dir.path().join("ese.key")).unwrap();
    assert_eq!(kept.values["twilio.auth_token"], other_token);
    assert_eq!(kept.values[&format!("senders.{SENDER}.kind")], "long_code");
    for simulator in [twilio, other] {
        simulator.stop().await;
    }
}

#[actix_web::test]
async fn an_account_that_is_fixed_is_shown_locked_and_stays() {
    let app = TestApp::start().await;
    let desk = Desk::new(&app.store, &app.base, "admin").await;
    let page = desk.get("/settings/twilio").await;
    page.is(200).says("set in config.toml").says("disabled").lacks("\"token\"");
    let fields =
        [("twilio.account_sid", "AC00000000000000000000000000000002"), ("twilio.auth_token", "other")];
    desk.post("/settings/twilio", &fields).await;
    assert_eq!(app.state.config.get().twilio.account_sid, SID);
    assert_eq!(app.state.config.get().twilio.auth_token.expose_secret(), "token");
    desk.get("/settings/senders").await.says("+1 500 555 0006").says("set in config.toml");
    desk.post("/settings/senders/1/remove", &[]).await.is(409).says("fixed by the file");
}

#[actix_web::test]
async fn another_account_waits_until_nothing_of_the_last_is_under_way() {
    let app = TestApp::with_config(
        "[twilio]\nauth_token = 't'\napi_base = 'http://127.0.0.1:1'\n[[senders]]\naddress = '+15005550006'\nkind = 'long_code'",
    )
    .await;
    let desk = Desk::new(&app.store, &app.base, "admin").await;
    let set = async |sid: &str| desk.post("/settings/twilio", &[("twilio.account_sid", sid)]).await;
    set(SID).await.is(303);
    app.add_user("+12125550101", "opt_in").await;
    let message = json!({"to": "+12125550101", "channel": "sms", "kind": "transactional", "body": "Hi"});
    let id = app.post("/messages", &message).await.expect(202)["id"].as_i64().unwrap();
    let lost = move |tx: &event_stream_engine::store::Tx<'_>| {
        tx.conn().execute(
            "INSERT INTO attempts (message_id, number, sender_id, outcome, started_at) VALUES (?1, 1, 1, 'uncertain', 1)",
            [id],
        )?;
        Ok::<_, StoreError>(())
    };
    app.store.write(lost).await.unwrap();
    let other = "AC00000000000000000000000000000002";
    set(other).await.is(409).says("1 messages are under way or uncertain");
    assert_eq!(app.state.config.get().twilio.account_sid, SID);
    let settle = |tx: &event_stream_engine::store::Tx<'_>| {
        Ok::<_, StoreError>(tx.conn().execute("UPDATE attempts SET outcome = 'given_up'", [])?)
    };
    app.store.write(settle).await.unwrap();
    set(other).await.is(303);
    assert_eq!(app.state.twilio.get().as_ref().as_ref().unwrap().account_sid(), other);
}

#[actix_web::test]
async fn demo_data_runs_a_campaign_and_goes_again_and_never_meets_a_real_account() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = bare(dir.path(), &[]);
    let running = Running::start(loaded.clone()).await;
    let desk = Desk::new(&running.app.store, &running.base, "admin").await;
    desk.post("/settings/demo", &[]).await.is(303);
    desk.get("/settings/setup").await.says("SIMULATOR").says("Remove the demo data");
    until("the people to be there", async || {
        let imports = running.api("GET", "/imports", &Value::Null).await;
        imports["data"][0]["state"] == "finished" || imports["data"][0]["status"] == "finished"
    })
    .await;
    running.api("POST", "/campaigns/1/launch", &json!({})).await;
    until("messages to be delivered", async || {
        let found = running.api("GET", "/messages?campaign_id=1&status=delivered", &Value::Null).await;
        found["data"].as_array().is_some_and(|rows| !rows.is_empty())
    })
    .await;
    // A second time, and a real account beside it: neither.
    desk.post("/settings/demo", &[]).await.is(409).says("an account already");
    let real = [("twilio.account_sid", "AC00000000000000000000000000000002"), ("twilio.auth_token", TOKEN)];
    desk.post("/settings/twilio", &real).await.is(409).says("Remove the demo data first");
    running.app.stop().await;
    let fixed = bare(
        dir.path(),
        &[
            ("ESE_TWILIO__ACCOUNT_SID", "AC00000000000000000000000000000002"),
            ("ESE_TWILIO__AUTH_TOKEN", TOKEN),
            ("ESE_TWILIO__API_BASE", "https://api.twilio.com"),
        ],
    );
    let refused = App::start(fixed, Clock::system()).await.err().unwrap().to_string();
    assert!(refused.contains("holds demo data"), "{refused}");
    // It goes on after a restart, and goes when it is asked to.
    let running = Running::start(loaded).await;
    assert!(running.app.setup.get().is_simulated);
    let desk = Desk::new(&running.app.store, &running.base, "operator").await;
    desk.post("/settings/demo/remove", &[]).await.is(403);
    let token = Desk::new(&running.app.store, &running.base, "admin").await;
    token.get("/settings/demo").await.says("people of this file go");
    token.post("/settings/demo/remove", &[]).await.is(303);
    let left = running.api("GET", "/users", &Value::Null).await;
    assert_eq!(left["data"].as_array().map(Vec::len), Some(0), "{left}");
    assert_eq!(running.app.store.read(demo::loaded_at).await.unwrap(), None);
    assert!(running.app.setup.get().problem.is_some() && !running.app.setup.get().is_simulated);
    let key = running.app.store.key().clone();
    let problems = running
        .app
        .store
        .read_here(|conn| {
            let mut problems = event_stream_engine::store::verify::count_problems(conn)?;
            problems.extend(event_stream_engine::store::verify::file_problems(conn)?);
            problems.extend(event_stream_engine::store::ledger::verify(conn, &key)?.problems);
            Ok::<_, StoreError>(problems)
        })
        .unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    running.app.stop().await;
}

#[actix_web::test]
async fn demo_data_goes_only_into_an_empty_file() {
    let app = TestApp::with_config("").await;
    let desk = Desk::new(&app.store, &app.base, "admin").await;
    app.add_user("+12125550101", "opt_in").await;
    desk.get("/settings/setup").await.lacks("Load the demo data");
    desk.post("/settings/demo", &[]).await.is(409).says("only into an empty file");
    assert!(app.state.config.get().twilio.account_sid.is_empty());
    assert_eq!(app.state.stand_in.phone_url("+12125550101").await, None);
    desk.post("/settings/demo/remove", &[]).await.is(303);
    assert_eq!(app.get("/users").await.expect(200)["data"].as_array().unwrap().len(), 1);
}
