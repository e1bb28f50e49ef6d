//! The stand-in for Twilio, over real HTTP.

mod callbacks;
pub(crate) mod clients;
mod content;
mod faults;
mod inbound;
mod lookup;
mod phone;
mod rest;

use std::sync::{Arc, Mutex};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use event_stream_engine::simulator::{Options, Simulator};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

const ALICE: &str = "+14155550101";
const SENDER: &str = "+15005550006";
const WHATSAPP_ALICE: &str = "whatsapp:+94771234567";
const WHATSAPP_SENDER: &str = "whatsapp:+14155238886";
const SERVICE: &str = "MG00000000000000000000000000000001";

/// A simulator and a client with its credentials.
struct Twilio {
    simulator: Simulator,
    client: Client,
    options: Options,
}

impl Twilio {
    async fn start() -> Twilio {
        Twilio::with(Options::default()).await
    }

    async fn with(options: Options) -> Twilio {
        let simulator = Simulator::start(options.clone()).await.unwrap();
        Twilio { simulator, client: Client::builder().no_proxy().build().unwrap(), options }
    }

    fn url(&self, tail: &str) -> String {
        format!("{}/2010-04-01/Accounts/{}{tail}", self.simulator.base_url(), self.options.account_sid)
    }

    fn signed_in(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request.basic_auth(&self.options.account_sid, Some(&self.options.auth_token))
    }

    async fn post(&self, tail: &str, form: &[(&str, &str)]) -> Response {
        let request = self.client.post(self.url(tail)).form(form);
        self.signed_in(request).send().await.unwrap()
    }

    async fn create(&self, form: &[(&str, &str)]) -> Response {
        self.post("/Messages.json", form).await
    }

    /// Creates a message that is accepted, and answers its resource.
    async fn accepted(&self, form: &[(&str, &str)]) -> Value {
        let response = self.create(form).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        response.json().await.unwrap()
    }

    async fn text(&self, to: &str, body: &str) -> Value {
        self.accepted(&[("To", to), ("From", SENDER), ("Body", body)]).await
    }

    async fn get(&self, tail: &str) -> Response {
        self.get_url(&self.url(tail)).await
    }

    async fn get_url(&self, url: &str) -> Response {
        self.signed_in(self.client.get(url)).send().await.unwrap()
    }

    /// The resource of a message as it is now.
    async fn fetch(&self, message: &Value) -> Value {
        let sid = message["sid"].as_str().unwrap();
        let response = self.get(&format!("/Messages/{sid}.json")).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    /// The code of a refusal, checked to be Twilio's error JSON.
    async fn code(response: Response) -> u64 {
        let status = response.status();
        let error: Value = response.json().await.unwrap();
        let code = error["code"].as_u64().unwrap();
        assert_eq!(error["status"], status.as_u16());
        assert_eq!(error["more_info"], format!("https://www.twilio.com/docs/errors/{code}"));
        assert!(!error["message"].as_str().unwrap().is_empty());
        code
    }
}

/// A request that a [`Receiver`] got.
#[derive(Clone, Debug)]
struct Received {
    /// Path and query.
    target: String,
    signature: String,
    token: String,
    params: Vec<(String, String)>,
}

impl Received {
    fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// The side that Twilio calls: writes down what comes and answers as it is told.
struct Receiver {
    base: String,
    received: Arc<Mutex<Vec<Received>>>,
    server: ServerHandle,
}

/// What a [`Receiver`] answers: status, content type, body.
type Script = fn(usize) -> (u16, &'static str, &'static str);

impl Receiver {
    async fn start(script: Script) -> Receiver {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let shared = Arc::clone(&received);
        let server = HttpServer::new(move || {
            let shared = Arc::clone(&shared);
            App::new().default_service(web::to(move |request: HttpRequest, body: web::Bytes| {
                let shared = Arc::clone(&shared);
                async move {
                    let header = |name: &str| {
                        let value = request.headers().get(name);
                        value.map_or(String::new(), |v| v.to_str().unwrap().to_owned())
                    };
                    let number = {
                        let mut received = shared.lock().unwrap();
                        received.push(Received {
                            target: request.uri().to_string(),
                            signature: header("x-twilio-signature"),
                            token: header("i-twilio-idempotency-token"),
                            params: form_urlencoded::parse(&body).into_owned().collect(),
                        });
                        received.len()
                    };
                    let (status, content_type, body) = script(number);
                    HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap())
                        .content_type(content_type)
                        .body(body)
                }
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
        Receiver { base, received, server: handle }
    }

    /// One that answers everything with 200 and nothing.
    async fn content() -> Receiver {
        Receiver::start(|_| (200, "text/plain", "")).await
    }

    fn url(&self, tail: &str) -> String {
        format!("{}{tail}", self.base)
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The statuses that were called back, in the order of arrival.
    fn statuses(&self) -> Vec<String> {
        self.received().iter().map(|one| one.param("MessageStatus").to_owned()).collect()
    }

    async fn stop(&self) {
        self.server.stop(false).await;
    }
}
