//! Twilio's side of the webhooks (signed requests as bytes), the product's side (the real handlers on a real
//! store), and the bare side (the same signature check, then rows).

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine;
use event_stream_engine::app;
use event_stream_engine::config::Config;
use event_stream_engine::domain::consent::Replies;
use event_stream_engine::domain::rules::Rules;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::store::Store;
use event_stream_engine::twilio::signature::verify_form;
use event_stream_engine::twilio::webhook::{Params, parse_form};
use event_stream_engine::web::configure;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::bare::Group;
use super::{ACCOUNT, SENDER, TOKEN, people};

/// Threads that serve HTTP, as in the product.
const WORKERS: usize = 2;

fn sign(text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(TOKEN.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

fn post(address: SocketAddr, path: &str, signature: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n\
         I-Twilio-Idempotency-Token: 0f2b8b1e-6b1a-4b8e-9f0e-3a5c5a5f0001\r\n\
         X-Twilio-Signature: {signature}\r\nContent-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A message from one of `people` known people; each has its own SID.
pub fn inbound_request(address: SocketAddr, n: u64, people: u64) -> Vec<u8> {
    inbound_request_as(address, n, &format!("SM{n:032x}"), n % people)
}

/// A message from this person, under this SID.
pub fn inbound_request_as(address: SocketAddr, n: u64, sid: &str, person: u64) -> Vec<u8> {
    let (phone, sender) = (people::phone(person), &SENDER[1..]);
    let number = &phone[1..];
    let signature = sign(&format!(
        "http://{address}/webhooks/twilio/inboundAccountSid{ACCOUNT}ApiVersion2010-04-01\
         BodyIs offer {n} still open? I would come by tomorrow.From{phone}FromCityNEW YORKFromCountryUS\
         FromStateNYFromZip10001MessageSid{sid}NumMedia0NumSegments1SmsMessageSid{sid}SmsSid{sid}\
         SmsStatusreceivedTo{SENDER}ToCitySAN FRANCISCOToCountryUSToStateCAToZip94105"
    ));
    let body = format!(
        "ToCountry=US&ToState=CA&SmsMessageSid={sid}&NumMedia=0&ToCity=SAN+FRANCISCO&FromZip=10001&SmsSid={sid}\
         &FromState=NY&SmsStatus=received&FromCity=NEW+YORK\
         &Body=Is+offer+{n}+still+open%3F+I+would+come+by+tomorrow.&FromCountry=US&To=%2B{sender}&ToZip=94105\
         &NumSegments=1&MessageSid={sid}&AccountSid={ACCOUNT}&From=%2B{number}&ApiVersion=2010-04-01"
    );
    post(address, "/webhooks/twilio/inbound", &signature, &body)
}

/// The SID of message `id`, as [`crate`]'s prepared rows have it.
pub fn message_sid(id: u64) -> String {
    format!("SM{id:032x}")
}

/// The news that message `id`, first attempt, is `status` now.
pub fn status_request(address: SocketAddr, id: u64, status: &str) -> Vec<u8> {
    let (sid, phone, sender) = (message_sid(id), people::phone(id - 1), &SENDER[1..]);
    let number = &phone[1..];
    let path = format!("/webhooks/twilio/status?message={id}&attempt=1");
    let signature = sign(&format!(
        "http://{address}{path}AccountSid{ACCOUNT}ApiVersion2010-04-01From{SENDER}MessageSid{sid}\
         MessageStatus{status}SmsSid{sid}SmsStatus{status}To{phone}"
    ));
    let body = format!(
        "SmsSid={sid}&SmsStatus={status}&MessageStatus={status}&To=%2B{number}&MessageSid={sid}\
         &AccountSid={ACCOUNT}&From=%2B{sender}&ApiVersion=2010-04-01"
    );
    post(address, &path, &signature, &body)
}

/// A server that is measured.
pub struct Server {
    pub address: SocketAddr,
    handle: ServerHandle,
}

impl Server {
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

/// The product's handlers on `store`.
pub fn product(store: &Store) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let base_url = format!("http://{address}");
    let environment = [
        ("ESE_SERVER__PUBLIC_BASE_URL", base_url.as_str()),
        ("ESE_TWILIO__ACCOUNT_SID", ACCOUNT),
        ("ESE_TWILIO__AUTH_TOKEN", TOKEN),
    ];
    let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let loaded = Config::load(None, environment).unwrap();
    let (state, _) = app::state(store.clone(), loaded, people::setup(), Metrics::default()).unwrap();
    state.rules.set(Rules { replies: Arc::new(Replies::default()), ..(*state.rules.get()).clone() });
    let server = HttpServer::new(move || App::new().configure(configure(state.clone())))
        .workers(WORKERS)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
    let handle = server.handle();
    tokio::spawn(server);
    Server { address, handle }
}

/// What a bare server writes for a status callback.
#[derive(Clone)]
struct Bare {
    group: Group,
    base_url: String,
}

/// Bare actix: the signature check, then one row for a message; for a status callback the four rows that any
/// program has to write (receipt, attempt, message, event).
pub fn bare(group: Group) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let state = Bare { group, base_url: format!("http://{address}") };
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(state.clone()))
            .route("/webhooks/twilio/inbound", web::post().to(bare_inbound))
            .route("/webhooks/twilio/status", web::post().to(bare_status))
    })
    .workers(WORKERS)
    .disable_signals()
    .listen(listener)
    .unwrap()
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    Server { address, handle }
}

fn verified(state: &Bare, request: &HttpRequest, body: &[u8]) -> Option<Params> {
    let params = parse_form(body);
    let signature = request.headers().get("x-twilio-signature")?.to_str().ok()?;
    let path = request.uri().path_and_query()?.as_str();
    verify_form(&[TOKEN], &format!("{}{path}", state.base_url), &params, signature).then_some(params)
}

fn get(params: &Params, name: &str) -> String {
    params.iter().find(|(key, _)| key == name).map_or_else(String::new, |(_, value)| value.clone())
}

async fn bare_inbound(state: Data<Bare>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let Some(params) = verified(&state, &request, &body) else {
        return HttpResponse::Forbidden().finish();
    };
    let raw = serde_json::to_string(&params).unwrap();
    let row = ["MessageSid", "From", "To", "Body"].map(|name| get(&params, name));
    let write = state.group.write(move |conn| {
        let [sid, from, to, text] = &row;
        conn.prepare_cached(
            "INSERT INTO inbound (message_sid, state, source, from_address, to_address, channel, kind, body, params,
                                  received_at)
             VALUES (?1, 'done', 'webhook', ?2, ?3, 'sms', 'message', ?4, ?5, 0)",
        )
        .unwrap()
        .execute((sid, from, to, text, &raw))
        .unwrap();
    });
    write.await;
    HttpResponse::Ok()
        .content_type("text/xml; charset=utf-8")
        .body(r#"<?xml version="1.0" encoding="UTF-8"?><Response/>"#)
}

async fn bare_status(state: Data<Bare>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let Some(params) = verified(&state, &request, &body) else {
        return HttpResponse::Forbidden().finish();
    };
    let raw = serde_json::to_string(&params).unwrap();
    let (sid, status) = (get(&params, "MessageSid"), get(&params, "MessageStatus"));
    let query: Params = parse_form(request.query_string().as_bytes());
    let id: i64 = get(&query, "message").parse().unwrap();
    let write = state.group.write(move |conn| {
        let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
            conn.prepare_cached(sql).unwrap().execute(params).unwrap();
        };
        run(
            "INSERT INTO receipts (sid, status, error_code, state, message_id, attempt, params, received_at)
             VALUES (?1, ?2, 0, 'done', ?3, 1, ?4, 0)",
            &[&sid, &status, &id, &raw],
        );
        run("UPDATE attempts SET status = ?2 WHERE message_id = ?1 AND number = 1", &[&id, &status]);
        run(
            "INSERT INTO events (type, at, user_id, campaign_id, message_id, data)
             VALUES ('message.sent', 0, ?1, 1, ?1, '{}')",
            &[&id],
        );
        let event = conn.last_insert_rowid();
        run(
            "UPDATE messages SET status = ?2, last_event_id = ?3, sent_at = coalesce(sent_at, 0) WHERE id = ?1",
            &[&id, &status, &event],
        );
    });
    write.await;
    HttpResponse::Ok().finish()
}
