//! A server on a free port of this machine, with a real file in a folder of its own, a clock moved by hand,
//! and a client that speaks to it over real HTTP.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer};
use event_stream_engine::app;
use event_stream_engine::campaign::Setup;
use event_stream_engine::clock::Clock;
use event_stream_engine::config::Config;
use event_stream_engine::delivery::Settings;
use event_stream_engine::domain::rules::Rules;
use event_stream_engine::live::Live;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::store::api_keys::{self, Scope};
use event_stream_engine::store::{Store, StoreError, StorePaths, senders};
use event_stream_engine::web::admin::live::Watchers;
use event_stream_engine::web::streams::Streams;
use event_stream_engine::web::{self, State};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::contract;

/// Senders for both channels, and an account on this machine: nothing is missing.
const READY: &str = r#"
[server]
metrics_token = "metrics-token"
api_requests_per_second = 0.0
wrong_keys_per_minute = 0
[twilio]
account_sid = "AC00000000000000000000000000000001"
auth_token = "token"
api_base = "http://127.0.0.1:1"
[[senders]]
address = "+15005550006"
kind = "long_code"
[[senders]]
address = "whatsapp:+14155238886"
kind = "sandbox"
"#;

/// A running server. The folder goes when it is dropped.
pub(crate) struct TestApp {
    pub(crate) base: String,
    pub(crate) store: Store,
    pub(crate) streams: Streams,
    pub(crate) clock: Clock,
    /// What the handlers work with, and what delivery would.
    pub(crate) state: State,
    pub(crate) delivery: Live<Settings>,
    /// A key with every scope.
    pub(crate) key: String,
    pub(crate) dir: tempfile::TempDir,
    client: reqwest::Client,
    server: actix_web::dev::ServerHandle,
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // The first poll tells the server to stop; nobody waits for the rest.
        drop(self.server.stop(false));
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The JSON of an answer with this status.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// A problem of this status, checked for its shape.
    pub(crate) fn problem(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        let body = self.json();
        for member in ["type", "title", "detail", "request_id"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body}");
        }
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        body
    }

    /// A 422, and the fields that it names.
    pub(crate) fn fields(self) -> Vec<String> {
        let body = self.problem(422);
        body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| {
                assert!(!error["message"].as_str().unwrap().is_empty());
                error["field"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl TestApp {
    /// A server on which everything is set up.
    pub(crate) async fn start() -> TestApp {
        TestApp::with_config(READY).await
    }

    /// A server with this configuration file.
    pub(crate) async fn with_config(toml: &str) -> TestApp {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, toml).unwrap();
        let loaded = Config::load(Some(&file), []).unwrap();
        let config = &loaded.config;
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
        let configured: Vec<(String, String)> =
            config.senders.iter().map(|s| (s.address.clone(), s.kind.as_str().to_owned())).collect();
        store.write(move |tx| senders::synchronize(tx, &configured)).await.unwrap();
        // Quick enough for tests that wait for a comment or for the end of a key.
        let streams = Streams::new(Duration::from_millis(200), Duration::from_millis(100));
        let setup = Setup { problem: config.setup_problem(), is_simulated: true };
        let (mut state, delivery) = app::state(store.clone(), loaded, setup, Metrics::default()).unwrap();
        state.rules.set(Rules { replies: Arc::default(), ..(*state.rules.get()).clone() });
        state.streams = streams.clone();
        state.watchers = Watchers::new(Duration::from_millis(200), Duration::from_millis(100));
        let served = state.clone();
        let server = HttpServer::new(move || App::new().configure(web::configure(served.clone())))
            .workers(2)
            .disable_signals()
            .bind("127.0.0.1:0")
            .unwrap();
        let base = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        let mut app = TestApp {
            base,
            streams,
            store,
            clock,
            state,
            delivery,
            key: String::new(),
            dir,
            client: reqwest::Client::new(),
            server: handle,
        };
        app.key = app.add_key(&Scope::ALL, None).await;
        app
    }

    /// A new key, by its secret.
    pub(crate) async fn add_key(&self, scopes: &[Scope], expires_at: Option<i64>) -> String {
        let scopes = scopes.to_vec();
        let (_, secret) = self
            .store
            .write(move |tx| api_keys::insert(tx, "test", &scopes, expires_at, "test"))
            .await
            .map_err(|error: StoreError| error)
            .unwrap();
        secret.expose_secret().to_owned()
    }

    /// A request to a path of the API, not yet sent, without a key.
    pub(crate) fn bare(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// A request below `/api/v1` with the key of every scope.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.bare(method, &format!("/api/v1{path}")).bearer_auth(&self.key)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request("GET", path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.request("DELETE", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request("POST", path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        send(self.request("PUT", path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        send(self.request("PATCH", path).json(body)).await
    }

    /// A person with this number and consent; answers the id.
    pub(crate) async fn add_user(&self, phone: &str, consent: &str) -> i64 {
        let body = serde_json::json!({"phone": phone, "consent": consent});
        self.post("/users", &body).await.expect(201)["id"].as_i64().unwrap()
    }

    /// A text for SMS; answers the id.
    pub(crate) async fn add_template(&self, name: &str, body: &str) -> i64 {
        let body = serde_json::json!({"name": name, "channel": "sms", "body": body});
        self.post("/templates", &body).await.expect(201)["id"].as_i64().unwrap()
    }

    /// A segment; answers the id.
    pub(crate) async fn add_segment(&self, name: &str, definition: Value) -> i64 {
        let body = serde_json::json!({"name": name, "definition": definition});
        self.post("/segments", &body).await.expect(201)["id"].as_i64().unwrap()
    }

    /// A draft to everybody; answers the id.
    pub(crate) async fn add_campaign(&self, name: &str) -> i64 {
        let template = self.add_template(&format!("{name} text"), "Hi {name|default(\"there\")}").await;
        let segment = self.add_segment(&format!("{name} people"), serde_json::json!({"all": []})).await;
        let body = serde_json::json!({"name": name, "channel": "sms", "template_id": template,
            "segment_id": segment, "quiet_hours": "off"});
        self.post("/campaigns", &body).await.expect(201)["id"].as_i64().unwrap()
    }
}

/// Sends a request, reads the answer, and holds it against the description of the API.
pub(crate) async fn send(request: reqwest::RequestBuilder) -> Answer {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    contract::check(method.as_str(), &path, status, &headers, &text);
    Answer { status, headers, text }
}
