//! Events to webhook endpoints: a receiver over real HTTP, the API over real HTTP, and a publisher that is
//! ticked by hand under a clock that is moved by hand.

mod alerts;
mod clients;
mod documentation;
mod endpoints;
mod guard;
mod retries;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use event_stream_engine::domain::event::EventType;
use event_stream_engine::domain::webhook::address::Policy;
use event_stream_engine::live::Live;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::publish::{Publisher, Settings};
use event_stream_engine::store::events::{self, NewEvent};
use event_stream_engine::store::{Store, StoreError};
use serde_json::{Value, json};

use crate::support::api::TestApp;

/// Private addresses are allowed: everything is on this machine.
const CONFIG: &str = "[webhooks]\nallow_private = true\n";

/// One request to the receiver.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) body: String,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What the receiver answers.
#[derive(Clone, Debug)]
enum Say {
    Status(u16),
    RetryAfter(u16, u64),
    Redirect(String),
    /// Nothing, for as long as anybody waits.
    Silence,
}

type Script = Box<dyn Fn(&Received) -> Say + Send>;

/// A server that keeps what it gets.
struct Receiver {
    base: String,
    received: Arc<Mutex<Vec<Received>>>,
    script: Arc<Mutex<Script>>,
    server: ServerHandle,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

impl Receiver {
    async fn start() -> Receiver {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(|_| Say::Status(200))));
        let (kept, says) = (Arc::clone(&received), Arc::clone(&script));
        let server = HttpServer::new(move || {
            let (kept, says) = (Arc::clone(&kept), Arc::clone(&says));
            App::new().default_service(web::to(move |request: HttpRequest, body: web::Bytes| {
                let header = |name: &str| {
                    request.headers().get(name).map_or(String::new(), |v| v.to_str().unwrap().to_owned())
                };
                let one = Received {
                    path: request.uri().to_string(),
                    id: header("webhook-id"),
                    timestamp: header("webhook-timestamp"),
                    signature: header("webhook-signature"),
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                kept.lock().unwrap().push(one.clone());
                let say = (says.lock().unwrap())(&one);
                answer(say)
            }))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let base = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Receiver { base, received, script, server: handle }
    }

    fn say(&self, script: impl Fn(&Received) -> Say + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The ids of the messages, in the order of arrival.
    fn ids(&self) -> Vec<String> {
        self.received().into_iter().map(|one| one.id).collect()
    }

    fn forget(&self) {
        self.received.lock().unwrap().clear();
    }
}

async fn answer(say: Say) -> HttpResponse {
    match say {
        Say::Status(status) => HttpResponse::build(StatusCode::from_u16(status).unwrap()).finish(),
        Say::RetryAfter(status, seconds) => HttpResponse::build(StatusCode::from_u16(status).unwrap())
            .insert_header(("retry-after", seconds.to_string()))
            .finish(),
        Say::Redirect(to) => HttpResponse::Found().insert_header(("location", to)).finish(),
        Say::Silence => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            HttpResponse::Ok().finish()
        }
    }
}

fn settings() -> Settings {
    Settings {
        policy: Policy { allow_private: true, ..Policy::default() },
        in_flight_per_endpoint: 1,
        timeout: Duration::from_millis(500),
    }
}

fn publisher(store: &Store) -> Publisher {
    Publisher::new(store.clone(), Live::new(settings()), Metrics::default()).unwrap()
}

/// An app with a receiver and an endpoint that leads there.
struct World {
    app: TestApp,
    receiver: Receiver,
    publisher: Publisher,
}

impl World {
    async fn start() -> World {
        let app = TestApp::with_config(CONFIG).await;
        let publisher = publisher(&app.store);
        World { receiver: Receiver::start().await, publisher, app }
    }

    /// Adds an endpoint; answers its id and its secret.
    async fn add(&self, more: Value) -> (i64, String) {
        let mut body = json!({"url": format!("{}/hook", self.receiver.base)});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.app.post("/webhook-endpoints", &body).await.expect(201);
        (made["id"].as_i64().unwrap(), made["secret"].as_str().unwrap().to_owned())
    }

    async fn endpoint(&self, id: i64) -> Value {
        self.app.get(&format!("/webhook-endpoints/{id}")).await.expect(200)
    }

    async fn deliveries(&self, id: i64, query: &str) -> Vec<Value> {
        let page = self.app.get(&format!("/webhook-endpoints/{id}/deliveries{query}")).await.expect(200);
        page["data"].as_array().unwrap().clone()
    }

    /// Writes `n` events and answers their ids.
    async fn happen(&self, n: usize) -> Vec<i64> {
        happen(&self.app.store, EventType::UserUpdated, n).await
    }

    /// Ticks until nothing is left to do at this moment.
    async fn publish(&self) {
        publish(&self.publisher).await;
    }

    async fn publish_after(&self, seconds: i64) {
        self.app.clock.advance(seconds * 1_000);
        self.publish().await;
    }

    /// Events of a type, as their data.
    async fn told(&self, kind: &str) -> Vec<Value> {
        let page = self.app.get(&format!("/events?types={kind}&limit=200")).await.expect(200);
        page["data"].as_array().unwrap().iter().map(|event| event["data"].clone()).collect()
    }
}

async fn publish(publisher: &Publisher) {
    while publisher.tick().await.unwrap() > 0 {
        publisher.settle().await;
    }
}

async fn happen(store: &Store, kind: EventType, n: usize) -> Vec<i64> {
    store
        .write::<_, _, StoreError>(move |tx| {
            (0..n).map(|_| events::append(tx, kind, NewEvent::default())).collect()
        })
        .await
        .unwrap()
}

fn evt(ids: &[i64]) -> Vec<String> {
    ids.iter().map(|id| format!("evt_{id}")).collect()
}
