//! The REST API of 2010-04-01: its doors, its headers, and what every request passes first.

mod account;
mod create;
mod item;
mod list;
pub(super) mod media;
mod parameters;

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use actix_web::dev::Extensions;
use actix_web::http::header::{AUTHORIZATION, Date};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::errors::ApiError;
use super::{Inner, Options, chance};

/// Twilio's paths. Without `.json` the 2010 API speaks XML, which nobody here reads.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let account = "/2010-04-01/Accounts/{account}";
    config
        .service(
            web::resource(format!("{account}/Messages.json"))
                .route(web::post().to(create::create))
                .route(web::get().to(list::list))
                .default_service(web::to(method_not_allowed)),
        )
        .service(
            web::resource(format!("{account}/Messages/{{sid}}/Media.json"))
                .route(web::get().to(media::list))
                .default_service(web::to(method_not_allowed)),
        )
        .service(
            web::resource(format!("{account}/Messages/{{sid}}/Media/{{media:ME[0-9a-f]+}}"))
                .route(web::get().to(media::fetch))
                .default_service(web::to(method_not_allowed)),
        )
        .service(web::resource("/_media/{message}/{number}").route(web::get().to(media::store)))
        .service(
            web::resource(format!("{account}/Messages/{{sid}}.json"))
                .route(web::get().to(item::fetch))
                .route(web::post().to(item::update))
                .route(web::delete().to(item::delete))
                .default_service(web::to(method_not_allowed)),
        )
        .service(
            web::resource("/2010-04-01/Accounts/{account}.json")
                .route(web::get().to(account::fetch))
                .default_service(web::to(method_not_allowed)),
        )
        .service(web::resource("/2010-04-01/{tail:.*}").to(no_xml));
}

async fn method_not_allowed() -> Result<HttpResponse, ApiError> {
    Err(ApiError::of(20004))
}

async fn no_xml(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    if request.path().ends_with(".json") {
        return Err(ApiError::of(20404));
    }
    Err(ApiError::saying(
        20404,
        format!(
            "{} would answer XML at Twilio, which this simulator does not speak: add .json to the path",
            request.path()
        ),
    ))
}

/// Any other path.
pub(super) async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::of(20404))
}

/// The headers that let a request in.
pub(super) fn credentials(options: &Options) -> Vec<String> {
    let basic =
        |user: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let account = basic(&options.account_sid, &options.auth_token);
    let key = options.api_key.iter().map(|(sid, secret)| basic(sid, secret));
    std::iter::once(account).chain(key).collect()
}

/// A request that passed the door. Counts as concurrent until dropped.
pub(super) struct Pass<'a> {
    inner: &'a Inner,
    number: u64,
    concurrent: usize,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.inner.concurrent.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pass<'_> {
    /// A response with the headers that Twilio sends.
    pub(super) fn answer(&self, mut response: HttpResponseBuilder) -> HttpResponseBuilder {
        add_headers(&mut response, Some(self));
        response
    }
}

/// Takes time, then checks credentials, concurrency and the account of the path.
pub(super) async fn enter<'a>(inner: &'a Inner, request: &HttpRequest) -> Result<Pass<'a>, ApiError> {
    let concurrent = inner.concurrent.fetch_add(1, Ordering::Relaxed) + 1;
    let pass = Pass { inner, number: inner.requests.fetch_add(1, Ordering::Relaxed), concurrent };
    let latency = inner.options.latency_ms;
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !given.is_some_and(|given| inner.credentials.iter().any(|known| known == given)) {
        return Err(ApiError::of(20003));
    }
    let limit = inner.options.concurrency_limit;
    if limit.is_some_and(|limit| concurrent > limit) {
        return Err(ApiError::of(20429));
    }
    match request.match_info().get("account") {
        Some(account) if account != inner.options.account_sid => Err(ApiError::of(20404)),
        _ => Ok(pass),
    }
}

/// As [`enter`], for requests that only read: they meet the faults of reads.
pub(super) async fn enter_to_read<'a>(inner: &'a Inner, request: &HttpRequest) -> Result<Pass<'a>, ApiError> {
    let pass = enter(inner, request).await?;
    let met = inner.state().faults.meet_read(inner.options.seed);
    met.map_or(Ok(pass), |code| Err(ApiError::of(code)))
}

/// Headers seen on real answers.
pub(super) fn add_headers(response: &mut HttpResponseBuilder, pass: Option<&Pass<'_>>) {
    if let Some(pass) = pass {
        let id = chance::identity(pass.inner.options.seed ^ 0x5251, pass.number);
        response
            .insert_header(("Twilio-Request-Id", format!("RQ{id:032x}")))
            .insert_header(("Twilio-Concurrent-Requests", pass.concurrent.to_string()));
        let now = u64::try_from(pass.inner.now()).unwrap_or(0);
        response.insert_header(Date((UNIX_EPOCH + Duration::from_millis(now)).into()));
    }
    response
        .insert_header(("X-Home-Region", "us1"))
        .insert_header(("X-Powered-By", "AT-5000"))
        .insert_header(("X-Shenanigans", "none"));
}

/// A second handle on the client's socket, to close it without an answer.
struct Connection(TcpStream);

/// Called by the server for each new connection.
pub(super) fn remember_connection(io: &dyn Any, data: &mut Extensions) {
    let Some(stream) = io.downcast_ref::<actix_web::rt::net::TcpStream>() else {
        return;
    };
    #[cfg(unix)]
    let copy = {
        use std::os::fd::AsFd;
        stream.as_fd().try_clone_to_owned().map(TcpStream::from)
    };
    #[cfg(windows)]
    let copy = {
        use std::os::windows::io::AsSocket;
        stream.as_socket().try_clone_to_owned().map(TcpStream::from)
    };
    if let Ok(copy) = copy {
        data.insert(Connection(copy));
    }
}

/// Cuts the connection. What the handler then answers reaches nobody.
pub(super) fn hang_up(request: &HttpRequest) -> HttpResponse {
    if let Some(connection) = request.conn_data::<Connection>() {
        // Fails only if the client has gone already.
        let _ = connection.0.shutdown(Shutdown::Both);
    }
    HttpResponse::InternalServerError().finish()
}
