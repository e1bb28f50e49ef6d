//! A strict local stand-in for Twilio: REST in, signed callbacks out.
//!
//! It answers the calls that this product makes (messages, content, the account) with the shapes,
//! errors and delays of the real thing, plays the people at the other end, and can be told to go
//! wrong. It knows nothing of our store. What it shares with the sending side are the signature,
//! which published vectors prove, the count of SMS parts, and the titles of error codes.
//!
//! [`Simulator`] runs one inside a process; `ese simulate` runs one from the command line. The
//! control API (`/_control/…`) and the phone page (`/`) are served beside Twilio's paths.

mod callbacks;
mod chance;
mod content;
mod control;
mod errors;
mod faults;
mod inbound;
mod life;
mod message;
mod options;
mod phone;
mod requests;
mod rest;
mod state;
mod twiml;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use jiff::Timestamp;
use tokio::sync::Notify;

pub use callbacks::CallbackRecord;
pub use content::{ContentRecord, Judgement};
pub use control::MessageRecord;
pub use faults::{ErrorFault, Faults};
pub use inbound::{Inbound, InboundResult};
pub use message::{Direction, Status};
pub use options::Options;
pub use requests::RequestRecord;

/// Largest request body, in bytes; a message needs far less.
const LARGEST_BODY: usize = 256 * 1024;

/// How long an idle connection is kept: longer than clients pool theirs for a burst, so that none
/// of them finds it closed in the middle of a request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, or the address is not ours.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The address can be reached from outside, and nobody said that this is meant.
    #[error("{0} can be reached by other machines; the simulator asks for no password")]
    Remote(SocketAddr),
    /// Not `AC` and 32 hex digits.
    #[error("{0:?} is no account SID: it needs AC and 32 hex digits")]
    AccountSid(String),
}

/// A running simulator. It ends with [`Simulator::stop`], or with the runtime it was started on.
#[derive(Debug)]
pub struct Simulator {
    inner: Arc<Inner>,
    server: ServerHandle,
}

impl Simulator {
    /// Starts serving. Must be called within a Tokio runtime, which then also runs the lives of
    /// messages and their callbacks.
    pub async fn start(options: Options) -> Result<Simulator, StartError> {
        if !is_account_sid(&options.account_sid) {
            return Err(StartError::AccountSid(options.account_sid));
        }
        let listen = options.listen;
        if !listen.ip().is_loopback() && !options.allow_remote {
            return Err(StartError::Remote(listen));
        }
        let workers = options.workers.max(1);
        let inner = Arc::new(Inner::new(options));
        let data = web::Data::from(Arc::clone(&inner));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(LARGEST_BODY))
                .app_data(control::json_config())
                .configure(rest::routes)
                .configure(content::routes)
                .configure(control::routes)
                .configure(phone::routes)
                .default_service(web::to(rest::not_found))
        })
        .on_connect(rest::remember_connection)
        .keep_alive(KEEP_ALIVE)
        .workers(workers)
        .disable_signals()
        .bind(listen)
        .map_err(|error| StartError::Listen(listen, error))?;
        let address = server.addrs().first().copied().unwrap_or(listen);
        let _ = inner.address.set(address);
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Simulator { inner, server: handle })
    }

    /// Where it listens, as Twilio's clients want it: `http://127.0.0.1:9010`, for both the
    /// messages and the content API. The phone page is there too.
    pub fn base_url(&self) -> String {
        self.inner.base_url()
    }

    /// The page on which one reads what `number` received and answers as that person.
    pub fn phone_url(&self, number: &str) -> String {
        format!("{}/phone/{}", self.base_url(), phone::path_of(number))
    }

    /// Sets where inbound messages are announced, for a receiver that starts later.
    pub fn set_inbound_url(&self, url: &str) {
        *lock(&self.inner.inbound_url) = Some(url.to_owned());
    }

    /// All messages that the REST API accepted, oldest first.
    pub fn messages(&self) -> Vec<MessageRecord> {
        control::accepted(&self.inner, None)
    }

    /// The messages accepted for `number`, with or without its channel, oldest first.
    pub fn messages_to(&self, number: &str) -> Vec<MessageRecord> {
        control::accepted(&self.inner, Some(number))
    }

    /// How many messages the REST API accepted per number, without its channel.
    pub fn counts(&self) -> HashMap<String, u64> {
        let state = self.inner.state();
        let counts = state.counts();
        counts.map(|(number, n)| (number.to_owned(), n)).collect()
    }

    /// Webhooks sent so far, one entry per attempt, oldest first. Only the newest
    /// [`Options::callback_log`] are kept.
    pub fn callbacks(&self) -> Vec<CallbackRecord> {
        self.inner.courier.log()
    }

    /// All templates of the account, in order of creation.
    pub fn contents(&self) -> Vec<ContentRecord> {
        content::records(&self.inner)
    }

    /// Lets WhatsApp judge a template otherwise.
    ///
    /// # Errors
    /// A sentence, when there is no such template or status.
    pub fn judge(&self, sid: &str, status: &str, reason: &str) -> Result<(), String> {
        let judgement =
            Judgement { sid: sid.to_owned(), status: status.to_owned(), reason: reason.to_owned() };
        content::judge(&self.inner, &judgement)
    }

    /// Sets how far its clock is ahead of this machine's, in milliseconds: what it makes from now on is dated so, and
    /// so are its answers.
    pub fn set_clock_ahead(&self, ahead: i64) {
        self.inner.ahead.store(ahead, Ordering::SeqCst);
    }

    /// Replaces what goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.inner.state().faults.replace(faults);
    }

    /// What goes wrong, with what is left of counts.
    pub fn faults(&self) -> Faults {
        self.inner.state().faults.faults().clone()
    }

    /// Writes `body` as the person at `from` to our number `to`, and waits for the webhook's
    /// answer.
    pub async fn inbound(&self, from: &str, to: &str, body: &str) -> InboundResult {
        self.inbound_message(Inbound::text(from, to, body)).await
    }

    /// Writes a message with media, buttons or a profile name, or one whose webhook is lost.
    pub async fn inbound_message(&self, inbound: Inbound) -> InboundResult {
        inbound::receive(&self.inner, inbound).await
    }

    /// Returns when no message has a status or a callback ahead of it.
    pub async fn wait_until_quiet(&self) {
        self.inner.wait_until_quiet().await;
    }

    /// Closes its port, forgets the requests under way, and sends no further callback.
    pub async fn stop(&self) {
        self.inner.is_stopped.store(true, Ordering::SeqCst);
        self.server.stop(false).await;
    }
}

/// What requests, lives and the handle share.
#[derive(Debug)]
struct Inner {
    options: Options,
    /// What SIDs are drawn from.
    identity: u64,
    /// Values of the `Authorization` header that are let in.
    credentials: Vec<String>,
    inbound_url: Mutex<Option<String>>,
    /// Where it listens, once it does.
    address: OnceLock<SocketAddr>,
    state: Mutex<state::State>,
    courier: callbacks::Courier,
    runtime: tokio::runtime::Handle,
    webhooks: AtomicU64,
    requests: AtomicU64,
    concurrent: AtomicUsize,
    /// How far its clock is ahead of this machine's, in milliseconds.
    ahead: AtomicI64,
    lives: Arc<Lives>,
    is_stopped: AtomicBool,
}

impl Inner {
    fn new(options: Options) -> Inner {
        Inner {
            credentials: rest::credentials(&options),
            inbound_url: Mutex::new(options.inbound_url.clone()),
            address: OnceLock::new(),
            state: Mutex::new(state::State::new(&options)),
            courier: callbacks::Courier::new(&options),
            runtime: tokio::runtime::Handle::current(),
            webhooks: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            concurrent: AtomicUsize::new(0),
            ahead: AtomicI64::new(0),
            lives: Arc::default(),
            is_stopped: AtomicBool::new(false),
            identity: options.identity.unwrap_or_else(rand::random),
            options,
        }
    }

    fn state(&self) -> MutexGuard<'_, state::State> {
        lock(&self.state)
    }

    /// The simulator plays an outside system, so it goes by a clock of its own: this machine's, unless it was set
    /// otherwise.
    fn now(&self) -> i64 {
        now_millis() + self.ahead.load(Ordering::SeqCst)
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    fn base_url(&self) -> String {
        format!("http://{}", self.address.get().unwrap_or(&self.options.listen))
    }

    fn next_webhook(&self) -> u64 {
        self.webhooks.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts as under way until dropped.
    fn busy(&self) -> Busy {
        self.lives.running.fetch_add(1, Ordering::SeqCst);
        Busy(Arc::clone(&self.lives))
    }

    async fn wait_until_quiet(&self) {
        loop {
            // Listen before looking, so that the last one's call is not missed.
            let ended = self.lives.ended.notified();
            if self.lives.running.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// How many messages have something ahead of them.
#[derive(Debug, Default)]
struct Lives {
    running: AtomicUsize,
    ended: Notify,
}

struct Busy(Arc<Lives>);

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The real clock, as this machine has it.
fn now_millis() -> i64 {
    Timestamp::now().as_millisecond()
}

fn is_account_sid(text: &str) -> bool {
    is_sid(text, "AC")
}

/// Two letters and 32 hex digits.
fn is_sid(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
